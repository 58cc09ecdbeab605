"""Mistakes in the values of a result: factors, activations, integer formats, and sums of gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np

from multiconv.core.types import Host
from multiconv.oracle.mistakes.question import ALL, FORWARD, OF_OUTPUT, Mistake, Question

GRADIENTS = ("kernel gradient", "bias gradient")


def _value(id: str, says: str, fix: str, change: Callable[[Host], Host], directions: tuple[str, ...] = ALL) -> Mistake:
    return Mistake(id, says, fix, directions, finish=lambda q, y: change(y))


def _clipped(dtype: str) -> Mistake:
    info = np.iinfo(dtype)
    return _value(f"saturates-as-{dtype}", f"sums are cut to the range of {dtype}",
                  f"Sum in a wider format than {dtype}, such as int32.",
                  lambda y: np.clip(y, info.min, info.max))  # fmt: skip


def _wrapped(dtype: str) -> Mistake:
    info = np.iinfo(dtype)
    span = info.max - info.min + 1
    return _value(f"wraps-as-{dtype}", f"sums wrap around as {dtype} does",
                  f"Convert the operands to a wider format than {dtype} before they are multiplied.",
                  lambda y: (y - info.min) % span + info.min)  # fmt: skip


def _one_image(index: int) -> Callable[[Question], Question | None]:
    """Return the question for one image of the batch."""

    def alter(q: Question) -> Question | None:
        if q.g.batch < 2:
            return None
        chosen = slice(index, index + 1) if index >= 0 else slice(-1, None)
        x, dy = q.x[chosen], q.dy[chosen]
        return q.but(x=x, dy=dy, g=replace(q.g, batch=1))

    return alter


def _summed(id: str, says: str, fix: str, over: Callable[[Question], int]) -> Mistake:
    return Mistake(id, says, fix, GRADIENTS, finish=lambda q, y: y / max(over(q), 1), within_image=False)


def _last_kept(q: Question, y: Host) -> Host:
    """Return the last of the windows that overlap at each pixel, where they should be added."""
    dx = np.zeros_like(y)
    g = q.g
    for tap in np.ndindex(*g.kernel):
        one = np.zeros_like(q.w)
        one[(slice(None), slice(None), *tap)] = 1
        touched = q.but(w=one, dy=np.ones_like(q.dy), bias=None).right() != 0
        dx = np.where(touched, q.but(w=q.w * one, bias=None).right(), dx)
    return dx if q.bias is None else dx + q.bias.reshape(-1, *[1] * (y.ndim - 2))


def _batch_dropped(q: Question, y: Host) -> Host | None:
    """Return the kernel gradient without the first two axes of a kernel of one channel each."""
    return y[0, 0] if y.shape[:2] == (1, 1) else None


RESULTS = (
    _value("negated", "the result is negated", "Change the sign.", lambda y: -y),
    _value("doubled", "the result is twice as large", "Leave out the factor 2.", lambda y: 2 * y),
    _value("halved", "the result is half as large", "Leave out the factor 1/2.", lambda y: y / 2),
    _value("relu-left-in", "an activation is left in: negative results are zero (ReLU)", "Leave out the ReLU.",
           lambda y: np.maximum(y, 0), OF_OUTPUT),
    _value("absolute-values", "results lose their sign", "Leave out the absolute value.", np.abs),
    _clipped("int8"), _clipped("uint8"), _wrapped("int8"), _wrapped("uint8"),
    _summed("mean-over-batch", "the gradient is the mean over the batch, not the sum", "Sum over the batch.",
            lambda q: q.g.batch),
    _summed("mean-over-pixels", "the gradient is the mean over the pixels, not the sum", "Sum over the pixels.",
            lambda q: prod(q.g.out)),
    _summed("mean-over-batch-and-pixels", "the gradient is the mean over batch and pixels, not the sum",
            "Sum over the batch and the pixels.", lambda q: q.g.batch * prod(q.g.out)),
    Mistake("first-image-only", "only the first image of the batch counts", "Sum over the whole batch.",
            GRADIENTS, _one_image(0), within_image=False),
    Mistake("last-image-only", "only the last image of the batch counts: the gradient is overwritten, not added",
            "Add up the gradients of the images.", GRADIENTS, _one_image(-1), within_image=False),
    Mistake("overlaps-overwritten", "where windows overlap, the last one is kept and not added",
            "Add the windows up, as np.add.at does.", ("input gradient", "conv_transpose"), finish=_last_kept),
    Mistake("kernel-gradient-squeezed", "the kernel gradient lacks its axes of one channel", "Keep both axes.",
            ("kernel gradient",), finish=_batch_dropped),
    Mistake("input-returned", "the input is returned", "Compute the convolution, also for a kernel of one tap.",
            FORWARD, finish=lambda q, y: q.x.copy() if q.x.shape == y.shape else None),
    Mistake("zeros-returned", "the result is zero everywhere", "Return the sums, not the array that was allocated.",
            ALL, finish=lambda q, y: np.zeros_like(y)),
)  # fmt: skip
