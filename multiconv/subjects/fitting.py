"""From which outputs see which pixels to stride, dilation, taps and padding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import gcd

import numpy as np

from multiconv.core.option_values import SAME
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Mask


@dataclass(frozen=True)
class AxisFit:
    """One axis of a convolution, at one size.

    Attributes
    ----------
    size, out : int
        Of the input and of the output; for a transposed convolution, which is fitted backwards, the other way round.
    stride, kernel, dilation : int
    before : int
        Zeros before, or for a transposed convolution pixels cut off.
    after : int
        The least number of zeros after; up to ``stride - 1`` more change nothing at this size.
    exceptions : tuple of int
        The outputs that see other pixels than the rest says.
    interior : bool
        Whether the window of one of these lies within the image.
    """

    size: int
    out: int
    stride: int
    kernel: int
    dilation: int
    before: int
    after: int
    exceptions: tuple[int, ...] = ()
    interior: bool = False

    @property
    def extent(self) -> int:
        """Return the number of pixels that the kernel spans."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def settled(self) -> bool:
        """Return whether the size was large enough: three outputs have their window within the image."""
        first = -(-self.before // self.stride) if self.before > 0 else 0
        last = min(self.out - 1, (self.size + self.before - self.extent) // self.stride)
        return last - first >= 2


def fit_axis(seen: Mask) -> AxisFit | None:
    """Fit one axis, or return None if no stride explains what is seen.

    Parameters
    ----------
    seen : array of bool, shape (size, out)
        Whether output i sees pixel p, as [p, i].

    Examples
    --------
    >>> g = ConvSpec(stride=2, padding=1)
    >>> pixels, outputs = np.arange(9)[:, None], np.arange(5)
    >>> fit = fit_axis(abs(pixels - 2 * outputs) <= 1)
    >>> fit.stride, fit.kernel, fit.before, fit.after, fit.exceptions
    (2, 3, 1, 1, ())
    """
    size, out = seen.shape
    windows = [np.flatnonzero(seen[:, i]) for i in range(out)]
    steps: Counter[int] = Counter()
    shapes: Counter[tuple[int, tuple[int, ...]]] = Counter()
    for i, (window, following) in enumerate(pairwise(windows)):
        if len(window) and len(window) == len(following) and len(set(following - window)) == 1:
            step = int(following[0] - window[0])
            if step > 0:
                steps[step] += 1
                shapes[step, tuple(int(p) - i * step for p in window)] += 1
    if not steps:
        return None
    stride = max(steps, key=lambda s: (steps[s], -s))
    offsets = max((o for s, o in shapes if s == stride), key=lambda o: (shapes[stride, o], len(o)))
    dilation = gcd(*(b - a for a, b in pairwise(offsets))) or 1
    kernel = (offsets[-1] - offsets[0]) // dilation + 1
    exceptions = [
        i for i, window in enumerate(windows)
        if [i * stride + o for o in offsets if 0 <= i * stride + o < size] != window.tolist()
    ]  # fmt: skip
    interior = any(i * stride + offsets[0] >= 0 and i * stride + offsets[-1] < size for i in exceptions)
    extent = offsets[-1] - offsets[0] + 1
    after = (out - 1) * stride + extent - size + offsets[0]
    return AxisFit(size, out, stride, kernel, dilation, -offsets[0], after, tuple(exceptions), interior)


def with_taps(fit: AxisFit, front: int, back: int) -> AxisFit:
    """Return the same axis with zero taps in front of the kernel and behind it."""
    return replace(
        fit, kernel=fit.kernel + front + back, before=fit.before + front * fit.dilation,
        after=fit.after + back * fit.dilation,
    )  # fmt: skip


def missing_taps(fits: Sequence[AxisFit]) -> tuple[int, int]:
    """Return the zero taps in front and behind without which a padding would be negative, at some size."""
    d, s = fits[0].dilation, fits[0].stride
    front = max(-(-max(-fit.before, 0) // d) for fit in fits)
    back = max(-(-max(-(fit.after + s - 1), 0) // d) for fit in fits)
    return front, back


@dataclass(frozen=True)
class Rule:
    """The rule behind the padding of one axis.

    Attributes
    ----------
    words : tuple of str
        All that fit: ``"fixed"``, ``"same_upper"`` and ``"same_lower"``.
    pads : tuple of int or None
        The numbers, if the padding is fixed.
    """

    words: tuple[str, ...]
    pads: tuple[int, int] | None


def rule_of(fits: Sequence[AxisFit]) -> Rule:
    """Find the rule that gives the padding of one axis at each size.

    Examples
    --------
    >>> fits = [AxisFit(8, 4, 2, 3, 1, 0, 0), AxisFit(9, 5, 2, 3, 1, 1, 1)]
    >>> rule_of(fits)
    Rule(words=('same_upper',), pads=None)
    """
    words, pads = [], None
    lowest, highest = max(f.after for f in fits), min(f.after + f.stride - 1 for f in fits)
    if len({f.before for f in fits}) == 1 and lowest <= highest:
        before = fits[0].before
        pads = (before, min(max(before, lowest, 0), highest))
        words.append("fixed")
    words += [word for word in SAME[1:] if all(_is_same(fit, word) for fit in fits)]
    return Rule(tuple(words), pads)


def _is_same(fit: AxisFit, word: str) -> bool:
    spec = ConvSpec(fit.stride, word, fit.dilation)
    before, after = spec.pads((fit.size,), (fit.kernel,))[0]
    fits = fit.extent <= fit.size + before + after
    return fits and before == fit.before and (fit.size + before + after - fit.extent) // fit.stride + 1 == fit.out


def named(pads: tuple[int, int], kernel: int, dilation: int) -> str:
    """Return the usual word for a padding of fixed numbers.

    Examples
    --------
    >>> named((2, 0), 3, 1), named((0, 0), 3, 1), named((1, 2), 3, 1)
    ('causal', 'valid', 'fixed')
    """
    whole = (kernel - 1) * dilation
    if pads == (0, 0):
        return "valid"
    return {(whole, 0): "causal", (whole, whole): "full"}.get(pads, "fixed")
