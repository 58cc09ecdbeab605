"""Mistakes in reading the kernel. The kernel gradient then comes back in the same wrong order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np

from multiconv.core.types import Host
from multiconv.oracle.mistakes.question import FORWARD, OF_WINDOWS, Mistake, Question

Order = Callable[[Host, Question], "Host | None"]


def _kernel(id: str, says: str, fix: str, order: Order, **code: str) -> Mistake:
    def alter(q: Question) -> Question | None:
        if q.direction == "kernel gradient":
            return q
        w = order(q.w, q)
        return None if w is None else q.but(w=w)

    def finish(q: Question, y: Host) -> Host | None:
        return order(y, q) if q.direction == "kernel gradient" else y

    return Mistake(id, says, fix, OF_WINDOWS, alter, finish, code)


def _spatial(w: Host) -> tuple[int, ...]:
    return tuple(range(2, w.ndim))


def _spatially_transposed(w: Host, q: Question) -> Host | None:
    turned = w.transpose(0, 1, *_spatial(w)[::-1])
    return turned if turned.shape == w.shape else None


def _channels_swapped(w: Host, q: Question) -> Host | None:
    return w.swapaxes(0, 1) if w.shape[0] == w.shape[1] else None


def _rotated(w: Host, q: Question) -> Host | None:
    return np.rot90(w, axes=(2, 3)) if w.ndim == 4 and w.shape[2] == w.shape[3] else None


def _read_as(w: Host, *order: int) -> Host:
    """Read the memory of an OIHW kernel as if its axes were in this order, and return it as OIHW."""
    shape = tuple(w.shape[axis] for axis in order)
    return w.reshape(shape).transpose(np.argsort(order))


def _written_as(w: Host, *order: int) -> Host:
    """Transpose an OIHW kernel to this order, and read its memory as OIHW."""
    return np.ascontiguousarray(w.transpose(order)).reshape(w.shape)


def _without(axis: int, index: int) -> Order:
    """Return the kernel with zeros at one index of an axis."""

    def order(w: Host, q: Question) -> Host | None:
        if axis >= w.ndim or (axis != 1 and w.shape[axis] == 1):
            return None
        w = w.copy()
        w[(slice(None),) * (axis % w.ndim) + (index,)] = 0
        return w

    return order


def _channels_below(block: int) -> Order:
    """Return the kernel with zeros in the input channels beyond the last whole block."""

    def order(w: Host, q: Question) -> Host | None:
        kept = w.shape[1] // block * block
        if kept == w.shape[1]:
            return None
        w = w.copy()
        w[:, kept:] = 0
        return w

    return order


def _centre(factor: float) -> Order:
    def order(w: Host, q: Question) -> Host | None:
        if any(k % 2 == 0 for k in w.shape[2:]):
            return None
        w = w.copy()
        w[(slice(None), slice(None), *(k // 2 for k in w.shape[2:]))] *= factor
        return w

    return order


def _of_first_group(w: Host, q: Question) -> Host | None:
    if q.g.groups == 1:
        return None
    return np.concatenate([w[: q.g.out_channels // q.g.groups]] * q.g.groups)


def _transposed_instead(q: Question) -> Question | None:
    """Return the transposed convolution with the same kernel, where a cross-correlation was asked for."""
    g = q.g
    if g.groups != 1:
        return None
    size = tuple((n - 1) * s + e - sum(p) for n, s, e, p in zip(g.size, g.stride, g.extent, g.pads))
    if min(size) < 1:
        return None
    g = replace(g, in_channels=g.out_channels, out_channels=g.in_channels, out=g.size, size=size)
    return q.but(direction="conv_transpose", g=g, dy=q.x, w=q.w.swapaxes(0, 1))


def _correlated_instead(q: Question) -> Question | None:
    """Return the cross-correlation with the same kernel, where a transposed convolution was asked for."""
    g = q.g
    if g.groups != 1:
        return None
    out = tuple((n + sum(p) - e) // s + 1 for n, p, e, s in zip(g.out, g.pads, g.extent, g.stride))
    if min(out) < 1:
        return None
    g = replace(g, in_channels=g.out_channels, out_channels=g.in_channels, size=g.out, out=out)
    return q.but(direction="forward", g=g, x=q.dy, w=q.w.swapaxes(0, 1))


KERNELS = (
    _kernel(
        "kernel-flipped",
        "the kernel is flipped along every spatial axis",
        "Flip the kernel once more, or not at all: cross-correlation and convolution differ by this flip.",
        lambda w, q: np.flip(w, _spatial(w)),
        torch="w = w.flip(tuple(range(2, w.ndim)))",
        jax="w = jnp.flip(w, tuple(range(2, w.ndim)))",
        tensorflow="w = tf.reverse(w, axis=list(range(w.ndim - 2)))  # HWIO",
        numpy="w = np.flip(w, tuple(range(2, w.ndim)))",
    ),
    _kernel(
        "kernel-flipped-first-axis",
        "the kernel is flipped along the first spatial axis only",
        "Leave the rows of the kernel in their order.",
        lambda w, q: np.flip(w, 2) if w.ndim > 3 else None,
        torch="w = w.flip(2)",
        numpy="w = np.flip(w, 2)",
    ),
    _kernel(
        "kernel-flipped-last-axis",
        "the kernel is flipped along the last spatial axis only",
        "Leave the columns of the kernel in their order.",
        lambda w, q: np.flip(w, -1) if w.ndim > 3 else None,
        torch="w = w.flip(-1)",
        numpy="w = np.flip(w, -1)",
    ),
    _kernel(
        "kernel-transposed",
        "the spatial axes of the kernel are in reverse order, such as W, H for H, W",
        "Transpose the kernel's spatial axes.",
        _spatially_transposed,
        torch="w = w.transpose(-1, -2)",
        numpy="w = w.swapaxes(-1, -2)",
    ),
    _kernel(
        "kernel-rotated",
        "the kernel is rotated by a quarter turn",
        "Leave the kernel as it is: convolution rotates it by half a turn, cross-correlation not at all.",
        _rotated,
        numpy="w = np.rot90(w, -1, axes=(2, 3))",
    ),
    _kernel(
        "kernel-channels-swapped",
        "the kernel's input and output channels are swapped (IOHW for OIHW)",
        "Swap the first two axes of the kernel.",
        _channels_swapped,
        torch="w = w.transpose(0, 1)",
        numpy="w = w.swapaxes(0, 1)",
    ),
    _kernel(
        "kernel-flipped-with-channels",
        "the kernel is flipped along all its axes, the channels too",
        "Flip spatial axes only: np.flip(w) without axes also reverses the channels.",
        lambda w, q: np.flip(w),
        numpy="w = np.flip(w, tuple(range(2, w.ndim)))",
    ),
    _kernel(
        "kernel-channels-reversed",
        "the channels of the kernel are in reverse order, input and output",
        "Leave the channels of the kernel in their order.",
        lambda w, q: np.flip(w, (0, 1)),
    ),
    _kernel(
        "kernel-hwio-read-as-oihw",
        "the kernel is transposed to HWIO, and its memory then read as OIHW",
        "Transpose the kernel back to OIHW; a reshape does not move the axes.",
        lambda w, q: _written_as(w, *range(2, w.ndim), 1, 0),
        numpy="w = w.transpose(3, 2, 0, 1)",
        torch="w = w.permute(3, 2, 0, 1)",
    ),
    _kernel(
        "kernel-oihw-read-as-hwio",
        "the memory of the OIHW kernel is read as HWIO",
        "Transpose the kernel to HWIO; a reshape does not move the axes.",
        lambda w, q: _read_as(w, *range(2, w.ndim), 1, 0),
        numpy="w = w.transpose(2, 3, 1, 0)  # not w.reshape(kh, kw, c_in, c_out)",
        tensorflow="w = tf.transpose(w, (2, 3, 1, 0))",
        jax="w = jnp.transpose(w, (2, 3, 1, 0))",
    ),
    _kernel(
        "kernel-ohwi-read-as-oihw",
        "the kernel is transposed to OHWI, and its memory then read as OIHW",
        "Transpose the kernel back to OIHW; a reshape does not move the axes.",
        lambda w, q: _written_as(w, 0, *range(2, w.ndim), 1),
        numpy="w = w.transpose(0, 3, 1, 2)",
    ),
    _kernel(
        "kernel-oihw-read-as-ohwi",
        "the memory of the OIHW kernel is read as OHWI",
        "Transpose the kernel to OHWI; a reshape does not move the axes.",
        lambda w, q: _read_as(w, 0, *range(2, w.ndim), 1),
        numpy="w = w.transpose(0, 2, 3, 1)",
    ),
    _kernel(
        "kernel-iohw-read-as-oihw",
        "the memory of the OIHW kernel is read as IOHW",
        "Swap the first two axes by a transpose; a reshape does not move them.",
        lambda w, q: _read_as(w, 1, 0, *_spatial(w)),
        numpy="w = w.swapaxes(0, 1)",
    ),
    _kernel(
        "kernel-input-channels-reversed",
        "the input channels of each group meet the kernel in reverse order, as RGB for BGR",
        "Reverse the channels of the image or of the kernel.",
        lambda w, q: np.flip(w, 1),
        numpy="x = x[:, ::-1]",
        torch="x = x.flip(1)",
    ),
    _kernel(
        "first-group-for-all",
        "the kernel of the first group is used for all groups",
        "Use each group's own part of the kernel, w[i * c_out // groups : (i + 1) * c_out // groups].",
        _of_first_group,
    ),
    _kernel("last-tap-column-missing", "the last column of the kernel is left out",
            "Let the loop over the kernel's columns end one later.", _without(-1, -1)),
    _kernel("first-tap-column-missing", "the first column of the kernel is left out",
            "Let the loop over the kernel's columns start at 0.", _without(-1, 0)),
    _kernel("last-tap-row-missing", "the last index of the kernel's first spatial axis is left out",
            "Let the loop over the kernel's rows end one later.", _without(2, -1)),
    _kernel("first-tap-row-missing", "the first index of the kernel's first spatial axis is left out",
            "Let the loop over the kernel's rows start at 0.", _without(2, 0)),
    _kernel("last-input-channel-missing", "the last input channel of each group is left out",
            "Let the loop over the input channels end one later.", _without(1, -1)),
    _kernel("first-input-channel-missing", "the first input channel of each group is left out",
            "Let the loop over the input channels start at 0.", _without(1, 0)),
    *(
        _kernel(
            f"input-channels-beyond-blocks-of-{block}-missing",
            f"input channels are taken {block} at a time, and those left over are left out",
            f"Also sum the channels after the last whole block of {block}.",
            _channels_below(block),
        )
        for block in (2, 4, 8)
    ),
    _kernel("centre-tap-missing", "the centre tap of the kernel is left out",
            "Include the centre tap: its offset is 0.", _centre(0)),
    _kernel("centre-tap-twice", "the centre tap of the kernel counts twice",
            "Add the centre tap once.", _centre(2)),
    Mistake(
        "kernel-mean",
        "the kernel is divided by its number of taps, as for an average",
        "Leave out the division: a convolution sums.",
        (*FORWARD, "conv_transpose", "input gradient", "kernel gradient"),
        finish=lambda q, y: y / prod(q.g.kernel) if q.bias is None else None,
    ),
    Mistake(
        "transposed-for-correlation",
        "it is the transposed convolution with this kernel",
        "Call the convolution, not its transpose.",
        ("forward", "layer"),
        _transposed_instead,
        code={"torch": "F.conv2d(x, w, ...)  # not F.conv_transpose2d"},
    ),
    Mistake(
        "correlation-for-transposed",
        "it is the cross-correlation with this kernel, not the transposed convolution",
        "Call the transposed convolution.",
        ("conv_transpose",),
        _correlated_instead,
        code={"torch": "F.conv_transpose2d(x, w, ...)  # not F.conv2d"},
    ),
)  # fmt: skip
