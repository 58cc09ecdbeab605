"""Mistakes in stride and dilation, and in the size of a transposed convolution's result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from multiconv.core.types import Host
from multiconv.oracle.mistakes.question import OF_WINDOWS, Mistake, Question

REMAINDER = ("conv_transpose", "input gradient")
"""The directions in which pixels may be left over at the end, that no window reaches."""


def _options(id: str, says: str, fix: str, change: Callable[[Question], dict[str, Any]], **code: str) -> Mistake:
    def alter(q: Question) -> Question | None:
        changes = change(q)
        return None if all(getattr(q.g, name) == value for name, value in changes.items()) else q.windowed(**changes)

    return Mistake(id, says, fix, OF_WINDOWS, alter, code=code)


def _late(pixels: Callable[[Question], tuple[int, ...]]) -> Callable[[Question], Question | None]:
    """Let every window start so many pixels later along each axis."""

    def alter(q: Question) -> Question | None:
        late = pixels(q)
        if not any(late):
            return None
        pads = tuple((before - n, after + n) for (before, after), n in zip(q.g.pads, late))
        return q.windowed(pads=pads)

    return alter


def _at_start(q: Question, y: Host) -> Host | None:
    """Move the pixels that no window reaches from the end to the start."""
    rest = q.g.output_padding
    return np.roll(y, rest, tuple(range(2, y.ndim))) if any(rest) else None


def _cut_off(q: Question, y: Host) -> Host | None:
    """Return the result without the pixels of output_padding."""
    rest = q.g.output_padding
    if not any(rest) or any(r >= n for r, n in zip(rest, y.shape[2:])):
        return None
    return y[(slice(None), slice(None), *(slice(0, n - r) for n, r in zip(y.shape[2:], rest)))]


def _rest_empty(q: Question, y: Host) -> Host | None:
    """Return the result with zeros in the pixels of output_padding."""
    kept = _cut_off(q, y)
    if kept is None:
        return None
    return np.pad(kept, [(0, n - m) for n, m in zip(y.shape, kept.shape)])


STEPS = (
    _options("stride-ignored", "the stride is ignored", "Pass the stride on.",
             lambda q: {"stride": (1,) * q.g.ndim}, torch="F.conv2d(x, w, stride={stride})"),
    _options("stride-axes-reversed", "the strides of the axes are in reverse order",
             "Reverse the strides: the first is that of the first spatial axis.",
             lambda q: {"stride": q.g.stride[::-1]}),
    _options("stride-of-first-axis", "the stride of the first spatial axis is used for all",
             "Pass one stride for each axis.", lambda q: {"stride": q.g.stride[:1] * q.g.ndim}),
    _options("stride-of-last-axis", "the stride of the last spatial axis is used for all",
             "Pass one stride for each axis.", lambda q: {"stride": q.g.stride[-1:] * q.g.ndim}),
    _options("stride-cut-to-kernel", "a stride beyond the kernel is cut to the kernel",
             "Leave pixels out between windows if the stride is larger than the kernel.",
             lambda q: {"stride": tuple(map(min, q.g.stride, q.g.kernel))}),
    Mistake(
        "stride-phase-one-late", "with a stride, every window starts a pixel late",
        "Start the first window at the first pixel of the padded input, y[..., ::stride].",
        OF_WINDOWS, _late(lambda q: tuple(int(s > 1) for s in q.g.stride)),
    ),
    Mistake(
        "stride-phase-last", "with a stride, the last pixel of each step is taken, not the first",
        "Take y[..., ::stride] of the result at stride 1, not y[..., stride - 1::stride].",
        OF_WINDOWS, _late(lambda q: tuple(s - 1 for s in q.g.stride)),
    ),
    Mistake(
        "stride-phase-middle", "with a stride, the middle pixel of each step is taken, not the first",
        "Take y[..., ::stride] of the result at stride 1, not y[..., stride // 2::stride].",
        OF_WINDOWS, _late(lambda q: tuple(s // 2 for s in q.g.stride)),
    ),
    Mistake(
        "windows-end-with-input", "the windows end with the input, where they should start with it",
        "Leave the pixels that remain at the end: the first window starts at the first pixel.",
        OF_WINDOWS, _late(lambda q: q.g.output_padding if q.direction not in REMAINDER else (0,)),
    ),
    _options("dilation-ignored", "the dilation is ignored", "Pass the dilation on.",
             lambda q: {"dilation": (1,) * q.g.ndim}, torch="F.conv2d(x, w, dilation={dilation})"),
    _options("dilation-axes-reversed", "the dilations of the axes are in reverse order",
             "Reverse the dilations: the first is that of the first spatial axis.",
             lambda q: {"dilation": q.g.dilation[::-1]}),
    _options("dilation-of-first-axis", "the dilation of the first spatial axis is used for all",
             "Pass one dilation for each axis.", lambda q: {"dilation": q.g.dilation[:1] * q.g.ndim}),
    _options("dilation-of-last-axis", "the dilation of the last spatial axis is used for all",
             "Pass one dilation for each axis.", lambda q: {"dilation": q.g.dilation[-1:] * q.g.ndim}),
    _options("dilation-counts-holes", "the dilation is taken for the number of holes between two taps",
             "Put dilation - 1 zeros between two taps, not dilation.",
             lambda q: {"dilation": tuple(d + 1 for d in q.g.dilation)}),
    _options("dilation-one-less", "the dilation is one less than asked",
             "Put dilation - 1 zeros between two taps, not dilation - 2.",
             lambda q: {"dilation": tuple(max(d - 1, 1) for d in q.g.dilation)}),
    _options("dilation-times-stride", "the input is subsampled before the kernel is dilated",
             "Dilate in pixels of the input, not of the output.",
             lambda q: {"dilation": tuple(d * s if d > 1 else d for d, s in zip(q.g.dilation, q.g.stride))}),
    _options("stride-and-dilation-exchanged", "stride and dilation are exchanged", "Exchange them.",
             lambda q: {"stride": q.g.dilation, "dilation": q.g.stride}),
    _options("stride-and-dilation-ignored", "both stride and dilation are ignored", "Pass them on.",
             lambda q: {"stride": (1,) * q.g.ndim, "dilation": (1,) * q.g.ndim}),
    Mistake(
        "output-padding-ignored", "output_padding is ignored: the result is the smallest possible",
        "Pass output_padding, or the size of the result.", ("conv_transpose",), finish=_cut_off,
        code={"torch": "F.conv_transpose2d(x, w, output_padding={output_padding})"},
    ),
    Mistake(
        "output-padding-at-start", "the pixels of output_padding stand at the start",
        "Add them at the end of each axis.", REMAINDER, finish=_at_start,
    ),
    Mistake(
        "output-padding-of-zeros", "the pixels of output_padding are zero",
        "Compute them like all others: windows and the bias may reach them.", ("conv_transpose",), finish=_rest_empty,
    ),
)  # fmt: skip
