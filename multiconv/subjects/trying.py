"""What a thing takes, found by trying calls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from multiconv.core.dtypes import dtype_named
from multiconv.core.errors import UsageError
from multiconv.core.spec import LAYOUTS
from multiconv.core.types import Host, Shape
from multiconv.subjects.box import Box
from multiconv.subjects.forms import UNBATCHED, Subject, WrongForm

SIZES = {1: ((17,), (64,)), 2: ((9, 10), (32, 32), (28, 28), (64, 64)), 3: ((7, 8, 9), (16, 16, 16), (32, 32, 32))}
"""The sizes of an image that are tried, by the number of axes."""
CHANNELS = (3, 1, 4, 2, 6, 8, 16, 5, 12, 32, 64)
"""The numbers of input channels that are tried."""
KERNEL = (2, 3, 2)
OUT_CHANNELS = 4
MOST_CALLS = 400


@dataclass(frozen=True)
class Guess:
    """One way to call a thing: the shapes of x and w, layouts, the kind of array and the dtype."""

    size: Shape
    channels: int
    w_shape: Shape | None
    layout: str
    kernel_layout: str
    arrays: str
    dtype: str


def settle(subject: Subject) -> tuple[Box, Shape]:
    """Find what is not known of a thing by trying calls, and return it as a function of x, with a size that it takes.

    What was found is added to `Subject.fixed`, with ``"tried"`` in `Subject.known_by`.

    Raises
    ------
    UsageError
        If no call works. The message has the first error.
    """
    first: Exception | None = None
    with_shape: tuple[Box, Guess] | None = None
    for number, guess in enumerate(_guesses(subject)):
        if number >= MOST_CALLS:
            break
        box = _box(subject, guess)
        try:
            y = box.raw(np.zeros((1, guess.channels, *guess.size), dtype_named(guess.dtype)))
        except Exception as error:
            first = first or error
            continue
        if y.ndim == len(guess.size) + 2 and y.shape[0] == 1 and y.size and _has_channels(y, guess, subject):
            if y.dtype.name == "float64" and guess.dtype == "float32" and "dtype" not in subject.fixed:
                guess = replace(guess, dtype="float64")
                box = _box(subject, guess)
            return _keep(subject, box, guess), guess.size
        with_shape = with_shape or (box, guess)
    if with_shape is not None:
        return _keep(subject, *with_shape), with_shape[1].size
    if isinstance(first, WrongForm):
        raise first
    raise UsageError(
        f"{subject.name} raised an exception for every input that was tried, at first {type(first).__name__}: "
        f"{_first_line(first)}. Say what it takes by in_channels, ndim, size, dtype, layout or arrays"
    )


def _has_channels(y: Host, guess: Guess, subject: Subject) -> bool:
    """Return whether the answer has the output channels of the kernel, which it has not if the kernel is misread."""
    if guess.w_shape is None:
        return True
    groups = subject.fixed.get("groups", 1) if "groups" in subject.options else 1
    return y.shape[1] in (guess.w_shape[0], guess.w_shape[1] * groups * (guess.w_shape[0] == guess.channels))


def _guesses(subject: Subject) -> Iterator[Guess]:
    """Yield ways to call a thing, the most common first. What is known is in all of them."""
    fixed = subject.fixed
    layout = fixed.get("layout")
    ndims = (int(fixed["ndim"]),) if fixed.get("ndim") else _ndims(layout)
    kernel = fixed.get("kernel")
    arrays = (fixed["arrays"],) if subject.form != "function" or subject.known_by.get("arrays") == "told" else _arrays()
    dtypes = (fixed["dtype"],) if fixed.get("dtype") else ("float32", "float64")
    groups = fixed.get("groups", 1)
    groups = groups if "groups" in subject.options else 1
    channels: tuple[int, ...] = (int(fixed["in_channels"]),) if fixed.get("in_channels") else CHANNELS
    if "w" in subject.takes and not fixed.get("in_channels"):
        channels = (3 * groups, OUT_CHANNELS * groups)
    for dtype, ndim, kind in product(dtypes, ndims, arrays):
        layouts = (layout,) if layout else [n for n, k in LAYOUTS.items() if k[0] == ndim]
        sizes = (_per_axis(fixed["size"], ndim),) if fixed.get("size") else _sizes(subject, ndim)
        for size, of_x, of_w, count in product(sizes, layouts, _kernel_layouts(subject), channels):
            shapes: tuple[Shape | None, ...] = (None,)
            if "w" in subject.takes:
                taps = _per_axis(kernel, ndim) if kernel else KERNEL[:ndim]
                out = int(fixed.get("out_channels") or OUT_CHANNELS * groups)
                shapes = ((out, count // groups, *taps), (count, 3, *taps))
            for w_shape in shapes:
                yield Guess(size, count, w_shape, of_x, of_w, kind, dtype)


def _ndims(layout: Any) -> tuple[int, ...]:
    if layout is None:
        return (2, 1, 3)
    return (LAYOUTS[UNBATCHED.get(layout, layout)][0],)


def _arrays() -> tuple[str, ...]:
    """Return NumPy, then the frameworks that are imported already."""
    import sys

    return ("numpy", *(name for name in ("torch", "jax", "tensorflow", "mxnet") if name in sys.modules))


def _kernel_layouts(subject: Subject) -> tuple[str, ...]:
    told = subject.fixed.get("kernel_layout")
    if told or "w" not in subject.takes:
        return (str(told or "OIHW"),)
    return ("OIHW", "HWIO")


def _sizes(subject: Subject, ndim: int) -> tuple[Shape, ...]:
    """Return sizes to try: large enough for the kernel and the stride that were read or told."""
    fixed = subject.fixed
    least = [
        (k - 1) * d + 1 + 3 * s
        for k, s, d in zip(*(_per_axis(fixed.get(name, 1), ndim) for name in ("kernel", "stride", "dilation")))
    ]
    if subject.reading.direction == "conv_transpose":
        least = [5] * ndim
    return tuple(tuple(max(n, m) for n, m in zip(size, least)) for size in SIZES[ndim])


def _per_axis(value: Any, ndim: int) -> Shape:
    return (int(value),) * ndim if isinstance(value, (int, np.integer)) else tuple(map(int, value))


def _box(subject: Subject, guess: Guess) -> Box:
    tried = replace(
        subject,
        fixed={**subject.fixed, "layout": guess.layout, "kernel_layout": guess.kernel_layout, "arrays": guess.arrays},
    )
    w = bias = None
    if guess.w_shape is not None:
        w = numbered(guess.w_shape, guess.dtype)
        told = subject.fixed.get("bias")
        if "bias" in subject.takes and told is not False:
            bias = np.arange(1, guess.w_shape[0] + 1).astype(dtype_named(guess.dtype))
            if guess.w_shape[0] == guess.channels and guess.w_shape[0] != OUT_CHANNELS:
                bias = np.arange(1, guess.w_shape[1] + 1).astype(dtype_named(guess.dtype))
    return Box(tried, guess.dtype, guess.channels, w, bias, _options(subject, len(guess.size)))


def numbered(shape: Shape, dtype: str) -> Host:
    """Return different small integers, none of them 0, in a random order.

    Examples
    --------
    >>> numbered((1, 1, 3), "float32")
    array([[[ 2.,  1., -1.]]], dtype=float32)
    """
    count = int(np.prod(shape))
    numbers = np.array([n for pair in zip(range(1, count + 1), range(-1, -count - 1, -1)) for n in pair][:count])
    return np.random.default_rng(0).permutation(numbers).reshape(shape).astype(dtype_named(dtype))


def _options(subject: Subject, ndim: int) -> dict[str, Any]:
    """Return the options to call a function with: those that were told, and the plainest of those without a default."""
    import inspect

    defaults: dict[str, Any] = {
        "stride": (1,) * ndim, "padding": ((0, 0),) * ndim, "dilation": (1,) * ndim, "groups": 1
    }  # fmt: skip
    if not subject.options:
        return {}
    parameters = inspect.signature(subject.thing).parameters
    chosen = {}
    for name, spelling in subject.options.items():
        parameter = parameters.get(spelling)
        if name in subject.fixed:
            chosen[name] = subject.fixed[name]
        elif parameter is None or parameter.default is parameter.empty:
            chosen[name] = defaults[name]
    return chosen


def _keep(subject: Subject, box: Box, guess: Guess) -> Box:
    """Write down what was found."""
    found = {
        "ndim": len(guess.size), "in_channels": guess.channels, "layout": guess.layout, "dtype": guess.dtype,
        "arrays": guess.arrays,
    }  # fmt: skip
    if guess.w_shape is not None:
        found["kernel_layout"] = guess.kernel_layout
    for name, value in found.items():
        if subject.fixed.get(name) is None or (name == "arrays" and subject.known_by.get(name) != "told"):
            subject.known_by[name] = "tried" if subject.form == "function" or name != "arrays" else "read"
            subject.fixed[name] = value
    return Box(subject, box.dtype, box.channels, box.w, box.bias, box.options)


def _first_line(error: Exception | None) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else ""
