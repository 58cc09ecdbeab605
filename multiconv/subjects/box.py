"""A black box: calls with checked answers, and what no convolution may do."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from multiconv.core.bounds import unit_roundoff
from multiconv.core.dtypes import dtype_named
from multiconv.core.types import Host, Mask, Shape
from multiconv.subjects.forms import Subject, WrongForm

CHUNK_BYTES = 2**25
"""The most bytes of input in one call."""
AMPLITUDES = {"float16": 2.0**5, "bfloat16": 2.0**20, "float32": 2.0**20, "float64": 2.0**40}
"""The size of test values: large, so that no bias hides them."""
IMPULSES = {
    "float16": (2.0**14, 2.0**12, 2.0**8, 2.0**4, 1.0),
    "bfloat16": (2.0**40, 2.0**70, 2.0**10, 1.0),
    "float32": (2.0**40, 2.0**70, 2.0**10, 1.0),
    "float64": (2.0**100, 2.0**300, 2.0**10, 1.0),
}
"""The sizes of impulses that weights are read from, in the order in which they are tried."""
PAIRS = 12


class Refused(Exception):
    """The box is not a convolution.

    Attributes
    ----------
    kind : str
        The reason in two or three words.
    counterexample : dict of str to array
    """

    def __init__(self, kind: str, reason: str, **counterexample: Any) -> None:
        super().__init__(reason)
        self.kind, self.counterexample = kind, counterexample


class Box:
    """A subject as a function of x alone.

    Parameters
    ----------
    subject : Subject
    dtype : str
    channels : int
    w, bias : array or None
        The kernel and bias of a function that takes them.
    options : dict
    """

    def __init__(
        self,
        subject: Subject,
        dtype: str,
        channels: int,
        w: Host | None = None,
        bias: Host | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.subject, self.dtype, self.channels = subject, dtype, channels
        self.w, self.bias, self.options = w, bias, dict(options or {})
        self.calls = 0

    def raw(self, x: Host) -> Host:
        """Call the subject once."""
        self.calls += 1
        return self.subject.answer(x.astype(dtype_named(self.dtype)), self.w, self.bias, **self.options)

    def __call__(self, x: Host) -> Host:
        """Call the subject, in several calls if the batch is large, and check its answer.

        Raises
        ------
        Refused
            If the answer is not a finite array of this dtype with a batch, channels and spatial axes.
        """
        each = max(1, CHUNK_BYTES // max(prod(x.shape[1:]) * 8, 1))
        answers = []
        for start in range(0, len(x), each):
            part = x[start : start + each]
            with np.errstate(all="ignore"):
                try:
                    y = self.raw(part)
                except (WrongForm, MemoryError):
                    raise
                except Exception as error:
                    raise Refused("raises", f"it raised {_line(error)} on x of shape {part.shape}") from error
            self._check(part, y)
            answers.append(y)
        return np.concatenate(answers)

    def _check(self, x: Host, y: Host) -> None:
        if y.ndim != x.ndim or y.shape[0] != x.shape[0]:
            right = f"({x.shape[0]}, C_out, {', '.join(['n'] * (x.ndim - 2))})"
            raise Refused(
                "wrong shape", f"its result for x of shape {x.shape} has the shape {y.shape}, not {right}", x=x
            )
        if y.dtype.name != self.dtype:
            raise Refused("wrong dtype", f"its result for x in {self.dtype} is in {y.dtype.name}", x=x)
        if not np.isfinite(y.astype(np.float64)).all():
            raise Refused("not finite", "its result has NaN or infinity where x is finite", x=x, y=y)

    def zeros(self, count: int, size: Shape) -> Host:
        """Return zeros as an input."""
        return np.zeros((count, self.channels, *size), dtype_named(self.dtype))

    # ---- What no convolution may do

    def bias_at(self, size: Shape) -> Host:
        """Return the answer to zeros, one number per channel.

        Raises
        ------
        Refused
            If it is not the same everywhere.
        """
        zeros = self.zeros(1, size)
        y = self(zeros)[0]
        per_channel = y.reshape(len(y), -1)
        if not per_channel.size:
            raise Refused("wrong shape", f"its result for x of shape {zeros.shape} is empty", x=zeros)
        if (per_channel != per_channel[:, :1]).any():
            spread = float(np.ptp(per_channel.astype(np.float64), axis=1).max())
            size_of = float(abs(per_channel.astype(np.float64)).max())
            raise Refused(
                "not shift-equivariant", f"its answer to zeros is not the same at every position: it differs by up to "
                f"{spread:.3g}, where it is up to {size_of:.3g}", x=zeros, y=y,
            )  # fmt: skip
        return np.array(per_channel[:, 0])

    def check_repeats(self, size: Shape) -> None:
        """Check that the same input gets the same answer, whatever else was asked, and whatever is in its batch."""
        rng = np.random.default_rng(0)
        x = rng.standard_normal((2, self.channels, *size)).astype(dtype_named(self.dtype))
        first, second = self(x), self(x)
        if first.shape != second.shape or first.tobytes() != second.tobytes():
            raise Refused("not deterministic", "the same input got different answers", x=x, y=first, again=second)
        if "batch" in self.subject.fixed:
            return
        other = np.stack([x[0], 3 * x[1] + 1]).astype(x.dtype)
        with_other = self(other)
        if first[0].tobytes() != with_other[0].tobytes():
            raise Refused(
                "depends on the batch", "the answer to an image depends on the other images of its batch",
                x=x, y=first, other_x=other, other_y=with_other,
            )  # fmt: skip

    def check_linear(self, size: Shape, bias: Host) -> None:
        """Check that negating, doubling and adding inputs does the same to the answers.

        The inputs have one or two pixels, so that an answer has at most three terms, whose rounding is known.
        """
        rng = np.random.default_rng(1)
        a, b = self._pixels(rng, size), self._pixels(rng, size)
        near = np.roll(a, 1, axis=-1) * a.dtype.type(0.5)
        y, of_b, of_near = self(a), self(b), self(near)
        constant = bias.reshape(1, -1, *[1] * len(size)).astype(np.float64)

        def centred(answer: Host) -> Host:
            return np.asarray(answer.astype(np.float64) - constant)

        u = unit_roundoff(self.dtype)
        tests = [
            ("negated", -a, -centred(y), y),
            ("doubled", 2 * a, 2 * centred(y), y),
            ("added to another", a + b, centred(y) + centred(of_b), abs(y.astype(float)) + abs(of_b.astype(float))),
            ("added to another", a + near, centred(y) + centred(of_near),
             abs(y.astype(float)) + abs(of_near.astype(float))),
        ]  # fmt: skip
        for what, x, expected, sizes in tests:
            found = self(x)
            allowed = 16 * u * (abs(found.astype(np.float64)) + 2 * abs(sizes.astype(np.float64)) + 4 * abs(constant))
            wrong = abs(centred(found) - expected) > allowed
            if wrong.any():
                n = int(np.argwhere(wrong)[0][0])
                off = float(abs(centred(found) - expected).max() / max(abs(expected).max(), abs(found).max(), 1e-300))
                raise Refused(
                    "not linear", f"with an input {what}, its answer is not what linearity says: it is off by "
                    f"{off:.2g} times the largest value",
                    x=a[n], y=y[n], x_changed=x[n], y_changed=found[n],
                )  # fmt: skip

    def _pixels(self, rng: np.random.Generator, size: Shape) -> Host:
        """Return images with one pixel each."""
        x = self.zeros(PAIRS, size)
        for image in x:
            place = tuple(int(rng.integers(n)) for n in image.shape)
            image[place] = rng.uniform(1, 2) * rng.choice([-1, 1]) * AMPLITUDES.get(self.dtype, 1)
        return x

    # ---- Which outputs see which pixels

    def seen(self, size: Shape, bias: Host) -> list[Mask]:
        """Return for each axis which outputs see which pixels, as [pixel, output].

        An image has random numbers on one line across the axis, and zeros elsewhere.
        """
        rng = np.random.default_rng(2)
        images = []
        amplitude = AMPLITUDES.get(self.dtype, 1)
        for axis, n in enumerate(size):
            for pixel in range(n):
                x = self.zeros(1, size)[0]
                line = [slice(None)] * x.ndim
                line[axis + 1] = slice(pixel, pixel + 1)
                shape = x[tuple(line)].shape
                x[tuple(line)] = rng.uniform(1, 2, shape) * rng.choice([-1, 1], shape) * amplitude
                images.append(x)
        y = self(np.stack(images))
        differs = (y != bias.reshape(1, -1, *[1] * len(size))).any(axis=1)
        masks, start = [], 0
        for axis, n in enumerate(size):
            others = tuple(1 + other for other in range(len(size)) if other != axis)
            masks.append(differs[start : start + n].any(axis=others))
            start += n
        return masks

    def impulse_responses(self, places: list[tuple[int, ...]], size: Shape, bias: Host) -> tuple[Host, Mask]:
        """Return for each place the answer to one pixel of 1 there without the bias, and where that is exact.

        An impulse is so large that it drowns the bias, where the dtype permits it: the answers to it and to its
        negative are then each other's negatives, and the weight is the answer divided by the impulse, exactly.
        """
        values: Host | None = None
        exact = np.zeros((), bool)
        for amplitude in IMPULSES.get(self.dtype, (1.0,)):
            x = self.zeros(len(places), size)
            for image, place in zip(x, places):
                image[place] = amplitude
            up, down = self._wide(x), self._wide(-x)
            constant = bias.astype(np.float64).reshape(1, -1, *[1] * len(size))
            with np.errstate(all="ignore"):
                drowned = np.isfinite(up) & (up == -down) & ((up != 0) | (constant == 0))
                unseen = (up == constant) & (down == constant)
                found = np.where(unseen, 0.0, up / amplitude)
                rough = (up - down) / (2 * amplitude)
            here = drowned | unseen
            if values is None:
                values, exact = np.where(here, found, rough), here
            else:
                values = np.where(exact, values, np.where(here, found, values))
                exact = exact | here
            if exact.all():
                break
        assert values is not None
        return values.astype(dtype_named(self.dtype)), exact

    def _wide(self, x: Host) -> Host:
        each = max(1, CHUNK_BYTES // max(prod(x.shape[1:]) * 8, 1))
        with np.errstate(all="ignore"):
            return np.concatenate([self.raw(x[i : i + each]).astype(np.float64) for i in range(0, len(x), each)])


def _line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    first = text[0] if text else ""
    return f"{type(error).__name__}: {first}" if len(first) <= 160 else f"{type(error).__name__}: {first[:157]}..."
