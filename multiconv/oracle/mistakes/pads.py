"""Mistakes in padding: how much, on which side, and with which values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from multiconv.core.types import Pads
from multiconv.oracle.mistakes.question import OF_INPUT, OF_WINDOWS, Mistake, Question

PadsOf = Callable[[Question], "Pads | None"]


def _pads(id: str, says: str, fix: str, pads_of: PadsOf, **code: str) -> Mistake:
    def alter(q: Question) -> Question | None:
        pads = pads_of(q)
        return None if pads is None or pads == q.g.pads else q.windowed(pads=pads)

    return Mistake(id, says, fix, OF_WINDOWS, alter, code=code)


def _each(change: Callable[[int, int], tuple[int, int]]) -> PadsOf:
    """Change the (before, after) pair of each axis in the same way."""
    return lambda q: tuple(change(before, after) for before, after in q.g.pads)


def _same(q: Question, *, strided: bool = True, dilated: bool = True, more: int = 0) -> Pads | None:
    """Return the pads of SAME, computed without the stride, without the dilation or for another size.

    It is None if the problem's own pads are not those of SAME.
    """
    pads = []
    for n, k, s, d, own in zip(q.g.size, q.g.kernel, q.g.stride, q.g.dilation, q.g.pads):
        total = _total(n, k, s, d)
        lower = own == (total - total // 2, total // 2) and total % 2 == 1
        if own != (total // 2, total - total // 2) and not lower:
            return None
        total = _total(max(n + more, 1), k, s if strided else 1, d if dilated else 1)
        halves = (total // 2, total - total // 2)
        pads.append(halves[::-1] if lower else halves)
    return tuple(pads)


def _total(n: int, k: int, s: int, d: int) -> int:
    return max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)


def _filled(id: str, says: str, fix: str, code: dict[str, str], **how: Any) -> Mistake:
    """Fill the padding with other values than zeros."""

    def alter(q: Question) -> Question | None:
        if not q.x.size or not any(map(any, q.g.pads)) or min(min(p) for p in q.g.pads) < 0:
            return None
        if how.get("mode") == "reflect" and any(max(p) >= n for p, n in zip(q.g.pads, q.g.size)):
            return None
        x = np.pad(q.x, ((0, 0), (0, 0), *q.g.pads), **how)
        return q.but(x=x, g=q.g.without_padding())

    return Mistake(id, says, fix, OF_INPUT, alter, code=code)


def _input_padded(q: Question) -> Question | None:
    """Return the question with the transposed convolution's input padded, where its result should be cropped."""
    g = q.g
    if not any(map(any, g.pads)):
        return None
    dy = np.pad(q.dy, ((0, 0), (0, 0), *g.pads))
    out = dy.shape[2:]
    size = tuple((o - 1) * s + e + more for o, s, e, more in zip(out, g.stride, g.extent, g.output_padding))
    padded = q.but(dy=dy, g=replace(g, out=out, size=size, pads=((0, 0),) * g.ndim))
    if q.shape is not None and q.shape[2:] == g.size:
        return padded.but(g=replace(padded.g, size=g.size))
    return padded


def _sized(q: Question, more: int) -> Pads | None:
    if all(s == 1 for s in q.g.stride):
        return None
    return _same(q, more=more)


PAD_IN_TORCH = "x = F.pad(x, {torch_pads}), then padding=0  # last axis first"
PAD_IN_TENSORFLOW = "x = tf.pad(x, [(0, 0), {pads_in_list}, (0, 0)]), then padding='VALID'  # channels last"

PADS = (
    _pads(
        "pads-symmetric",
        "the padding is half the kernel on both sides",
        "Pad by (before, after), which differ for even kernels and with a stride.",
        lambda q: tuple(((e - 1) // 2,) * 2 for e in q.g.extent),
        torch=PAD_IN_TORCH,
    ),
    _pads(
        "pads-swapped",
        "the padding before and after each axis is swapped",
        "Put the padding on the other side: the odd pixel of SAME comes after, in ONNX, TensorFlow and JAX.",
        _each(lambda before, after: (after, before)),
        torch=PAD_IN_TORCH,
        jax="padding={pads}",
        tensorflow=PAD_IN_TENSORFLOW,
    ),
    _pads(
        "pads-symmetric-smaller",
        "the padding is the smaller of before and after, on both sides",
        "Pad by (before, after); one number for both sides loses the odd pixel.",
        _each(lambda before, after: (min(before, after),) * 2),
        torch=PAD_IN_TORCH,
    ),
    _pads(
        "pads-symmetric-larger",
        "the padding is the larger of before and after, on both sides",
        "Pad by (before, after); one number for both sides adds a pixel and shifts the windows.",
        _each(lambda before, after: (max(before, after),) * 2),
        torch=PAD_IN_TORCH,
    ),
    _pads(
        "pads-before-on-both",
        "the padding before each axis is used on both sides",
        "Also pass the padding after each axis.",
        _each(lambda before, after: (before, before)),
    ),
    _pads(
        "pads-after-on-both",
        "the padding after each axis is used on both sides",
        "Also pass the padding before each axis.",
        _each(lambda before, after: (after, after)),
    ),
    _pads(
        "padding-ignored",
        "the padding is ignored",
        "Pass the padding on.",
        _each(lambda before, after: (0, 0)),
        torch="x = F.pad(x, {torch_pads}), or padding={padding} in the call",
    ),
    _pads(
        "padding-twice",
        "the padding is applied twice",
        "Pad once: either the input, or in the call.",
        _each(lambda before, after: (2 * before, 2 * after)),
    ),
    _pads(
        "padding-total-for-side",
        "the total of the padding of an axis is used on each side",
        "Divide the total among the two sides.",
        _each(lambda before, after: (before + after,) * 2),
    ),
    _pads(
        "padding-side-for-total",
        "the padding of a side is taken for the total, and halved",
        "Pad by this number on each side.",
        _each(lambda before, after: (before // 2, after // 2)),
    ),
    _pads(
        "pads-all-before",
        "all the padding of an axis is before it",
        "Split the padding into before and after; all before is causal.",
        _each(lambda before, after: (before + after, 0)),
    ),
    _pads(
        "pads-all-after",
        "all the padding of an axis is after it",
        "Split the padding into before and after.",
        _each(lambda before, after: (0, before + after)),
    ),
    _pads(
        "padding-causal",
        "the padding is causal: the kernel's extent less 1 before each axis, none after",
        "Pad by (before, after) as asked; with padding='causal' a window never sees what comes after it.",
        lambda q: tuple((e - 1, 0) for e in q.g.extent),
        tensorflow="keras.layers.Conv1D(..., padding='same')  # not 'causal'",
    ),
    _pads(
        "pads-only-before",
        "the padding after each axis is missing",
        "Also pad after each axis.",
        _each(lambda before, after: (before, 0)),
    ),
    _pads(
        "pads-only-after",
        "the padding before each axis is missing",
        "Also pad before each axis.",
        _each(lambda before, after: (0, after)),
    ),
    _pads(
        "pads-axes-reversed",
        "the padding of the axes is in reverse order, as torch.nn.functional.pad takes it",
        "Reverse the order of the pads: F.pad takes the last axis first.",
        lambda q: q.g.pads[::-1],
        torch=PAD_IN_TORCH,
    ),
    _pads(
        "pads-of-first-axis",
        "the padding of the first spatial axis is used for all",
        "Pass one pair for each axis.",
        lambda q: q.g.pads[:1] * q.g.ndim,
    ),
    _pads(
        "pads-one-less",
        "the padding is one pixel less on each side",
        "Pad by one pixel more.",
        _each(lambda before, after: (max(before - 1, 0), max(after - 1, 0))),
    ),
    _pads(
        "pads-one-more",
        "the padding is one pixel more on each side",
        "Pad by one pixel less.",
        _each(lambda before, after: (before + 1, after + 1)),
    ),
    _pads(
        "padding-full",
        "the padding is the kernel's extent less 1 on each side ('full')",
        "Ask for the padding, not for mode='full'.",
        lambda q: tuple((e - 1, e - 1) for e in q.g.extent),
        numpy="scipy.signal.correlate(x, w, mode='same')  # not mode='full'",
    ),
    _pads(
        "same-without-stride",
        "SAME is computed as if the stride were 1",
        "Compute the total from the stride: (ceil(n / stride) - 1) * stride + extent - n, at least 0.",
        lambda q: _same(q, strided=False),
        torch=PAD_IN_TORCH,
    ),
    _pads(
        "same-without-dilation",
        "SAME is computed from the kernel without its dilation",
        "Compute the total from the dilated kernel, (k - 1) * dilation + 1.",
        lambda q: _same(q, dilated=False),
    ),
    _pads(
        "same-of-size-above",
        "SAME is computed for a size of one pixel more, of the other parity",
        "Compute the pads from the size of this input: with a stride they change with it.",
        lambda q: _sized(q, 1),
        torch=PAD_IN_TORCH,
    ),
    _pads(
        "same-of-size-below",
        "SAME is computed for a size of one pixel less, of the other parity",
        "Compute the pads from the size of this input: with a stride they change with it.",
        lambda q: _sized(q, -1),
        torch=PAD_IN_TORCH,
    ),
    _filled("padding-of-ones", "the input is padded with ones", "Pad with zeros.",
            {"numpy": "np.pad(x, pads)  # constant_values=0"}, constant_values=1),
    _filled("padding-replicate", "the input is padded with its border (replicate)", "Pad with zeros.",
            {"torch": "F.pad(x, pads)  # mode='constant'"}, mode="edge"),
    _filled("padding-reflect", "the input is padded with its mirror image (reflect)", "Pad with zeros.",
            {"torch": "F.pad(x, pads)  # mode='constant'"}, mode="reflect"),
    _filled("padding-symmetric", "the input is padded with its mirror image, border included (symmetric)",
            "Pad with zeros.", {"tensorflow": "tf.pad(x, pads)  # mode='CONSTANT'"}, mode="symmetric"),
    _filled("padding-circular", "the input is padded with its other end (circular)", "Pad with zeros.",
            {"torch": "padding_mode='zeros'"}, mode="wrap"),
    Mistake(
        "input-padded-not-output-cropped",
        "the input of the transposed convolution is padded, and its result is not cropped",
        "Crop the result: padding takes pixels off the result of a transposed convolution.",
        ("conv_transpose",),
        _input_padded,
        code={"torch": "F.conv_transpose2d(x, w, padding={padding})"},
    ),
)  # fmt: skip
