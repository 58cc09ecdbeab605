"""Mutants that are wrong only for some arrays in memory, or only after other calls."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from mutants.machinery import FORWARD, OF_INPUT, OF_WINDOWS, Call, Host, mutant, right, without_last_column

OF_VIEWS = ("forward", "convolve", "kernel gradient")
"""Where the input may be any view. A layer is given a copy of a view: `asarray` makes it."""

# ---- Views, as a kernel reads them that takes a pointer and ignores strides


def reads_x(call: Call, read: Callable[[Host], Host]) -> Host:
    """The answer with the input read in another way, which sees it in the layout that the caller gave it."""
    if not call.channels_last:
        return right(call.but(x=read(call.x)))
    return right(call.but(x=np.moveaxis(read(np.moveaxis(call.x, 1, -1)), -1, 1)))


def dense_strides(array: Host) -> tuple[int, ...]:
    """The strides that the array would have in C order without gaps."""
    return tuple(prod(array.shape[axis + 1 :]) * array.itemsize for axis in range(array.ndim))


def in_memory_order(array: Host) -> Host:
    """The elements from the lowest address to the highest."""
    forward = array[tuple(slice(None, None, -1 if stride < 0 else 1) for stride in array.strides)]
    return forward.ravel(order="K").reshape(array.shape)


def from_pointer(array: Host) -> Host:
    """The array read as if it were in C order without gaps, never beyond its own memory."""
    if not array.size or array.flags.c_contiguous:
        return array
    span = array.itemsize + sum((n - 1) * stride for n, stride in zip(array.shape, array.strides))
    if min(array.strides) < 0:
        return in_memory_order(array)
    if span < array.nbytes:  # some stride is 0: zeros stand for what lies beyond
        own = as_strided(array, (span // array.itemsize,), (array.itemsize,), writeable=False)
        return np.resize(np.concatenate([own, np.zeros(array.size - own.size, array.dtype)]), array.shape)
    return as_strided(array, strides=dense_strides(array), writeable=False)


@mutant("input, kernel and gradient are read from their pointers as if in C order without gaps", *OF_WINDOWS)
def strides_ignored(call: Call) -> Host:
    call = call.but(w=from_pointer(call.w))
    if call.direction in ("input gradient", "kernel gradient"):
        dy = np.moveaxis(call.dy, 1, -1) if call.channels_last else call.dy
        dy = from_pointer(dy)
        call = call.but(dy=np.moveaxis(dy, -1, 1) if call.channels_last else dy)
    return reads_x(call, from_pointer)


@mutant("gaps between the input's channels are not skipped", *OF_VIEWS)
def channel_gaps_ignored(call: Call) -> Host:
    axis = -1 if call.channels_last else 1

    def read(x: Host) -> Host:
        dense = dense_strides(x)
        between_rows = not call.channels_last and x.strides[2:] != dense[2:]
        if not x.size or x.strides[axis] <= dense[axis] or x.shape[axis] == 1 or between_rows:
            return x
        strides = list(x.strides)
        strides[axis] = dense[axis]
        return as_strided(x, strides=strides, writeable=False)

    return reads_x(call, read)


@mutant("gaps between the rows of a crop are not skipped", *OF_VIEWS)
def row_pitch_ignored(call: Call) -> Host:
    if call.g.ndim != 2:
        return right(call)
    axis = 1 if call.channels_last else 2

    def read(x: Host) -> Host:
        dense = dense_strides(x)
        if not x.size or x.strides[axis] <= dense[axis] or x.strides[axis + 1] != dense[axis + 1]:
            return x
        strides = list(x.strides)
        strides[axis] = dense[axis]
        return as_strided(x, strides=strides, writeable=False)

    return reads_x(call, read)


def unreversed(array: Host) -> Host:
    """The array with every axis of a negative stride read forwards."""
    return array[tuple(slice(None, None, -1 if stride < 0 else 1) for stride in array.strides)]


@mutant("a reversed view of the input is read forwards", *OF_VIEWS)
def reversed_input_read_forwards(call: Call) -> Host:
    return right(call.but(x=unreversed(call.x)))


@mutant("a reversed view of the kernel is read forwards", *FORWARD, "input gradient", "conv_transpose")
def reversed_kernel_read_forwards(call: Call) -> Host:
    return right(call.but(w=unreversed(call.w)))


@mutant("an input in Fortran order is read as if in C order", *OF_VIEWS)
def fortran_order_ignored(call: Call) -> Host:
    def read(x: Host) -> Host:
        fortran = x.flags.f_contiguous and not x.flags.c_contiguous
        return x.ravel(order="K").reshape(x.shape) if fortran else x

    return reads_x(call, read)


@mutant("an unaligned input is read from the next aligned address", *OF_INPUT)
def unaligned_input_misread(call: Call) -> Host:
    def read(x: Host) -> Host:
        if x.flags.aligned or not x.size:
            return x
        missed = -x.ctypes.data % x.dtype.alignment or 1
        found = np.frombuffer(x.tobytes()[missed:] + bytes(missed), np.uint8)
        return found.view(x.dtype).reshape(x.shape)

    return reads_x(call, read)


@mutant("an input in the other byte order is read in the machine's", *OF_VIEWS)
def byte_order_ignored(call: Call) -> Host:
    return right(call.but(x=call.x.view(call.x.dtype.newbyteorder("="))))


@mutant("of an input repeated along an axis with stride 0, only the first is read, and the others are zero", *OF_VIEWS)
def broadcast_input_misread(call: Call) -> Host:
    x = call.x.copy()
    for axis, stride in enumerate(call.x.strides):
        if stride == 0 and x.shape[axis] > 1 and x.size:
            x[(slice(None),) * axis + (slice(1, None),)] = 0
    return right(call.but(x=x))


@mutant("a read-only input is refused", "forward", "convolve")
def read_only_input_refused(call: Call) -> Host:
    if not call.x.flags.writeable:
        raise ValueError("buffer source array is read-only")
    return right(call)


# ---- Series of calls


def count(call: Call) -> int:
    """The number of this call in its direction, from 1."""
    call.memory[call.direction] = number = call.memory.get(call.direction, 0) + 1
    return number


def shapes(call: Call) -> tuple[Any, ...]:
    """The key of a plan, without the options that someone forgot."""
    return call.w.dtype, call.channels_last, call.x.shape, call.w.shape, call.g.out


@mutant("the last column is zero in the second call of each method", *FORWARD)
def second_call_wrong(call: Call) -> Host:
    return without_last_column(call, when=count(call) == 2)


@mutant("the last column is zero in every 30th call of each method", *FORWARD)
def every_30th_call_wrong(call: Call) -> Host:
    return without_last_column(call, when=count(call) % 30 == 0)


@mutant("when a call is repeated at once, its sums are added to those of the first", *FORWARD)
def repeated_call_accumulates(call: Call) -> Host:
    y = right(call)
    arrays = tuple(None if a is None else a.tobytes() for a in (call.x, call.w, call.bias))
    repeated = call.memory.get(call.direction) == (call.g, arrays)
    call.memory[call.direction] = call.g, arrays
    return y + y if repeated else y


@mutant("a call with the shapes of an earlier one has the stride, padding and dilation of that", *FORWARD)
def options_of_earlier_call(call: Call) -> Host:
    g = call.memory.setdefault(shapes(call), call.g)
    return right(call.read_as(stride=g.stride, pads=g.pads, dilation=g.dilation))


@mutant("a call with the shapes of an earlier one has the kernel of that", *FORWARD)
def kernel_of_earlier_call(call: Call) -> Host:
    return right(call.but(w=call.memory.setdefault(shapes(call), call.w.copy())))


@mutant("the padded input is kept for the next call of its shape, and the border is not cleared", *FORWARD)
def border_of_earlier_call(call: Call) -> Host:
    g = call.g
    shape = (g.batch, g.in_channels, *g.padded)
    padded = call.memory.setdefault((shape, call.x.dtype), np.zeros(shape, call.x.dtype))
    padded[(..., *(slice(before, before + n) for (before, _), n in zip(g.pads, g.size)))] = call.x
    return right(call.but(x=padded).read_as(size=g.padded, pads=((0, 0),) * g.ndim))


@mutant("all results share one buffer, which the next call overwrites", *FORWARD)
def results_share_buffer(call: Call) -> Host:
    y = right(call)
    buffer = call.memory.get("buffer", np.empty(0, np.uint8))
    if buffer.size < y.nbytes:
        call.memory["buffer"] = buffer = np.empty(y.nbytes, np.uint8)
    shared = buffer[: y.nbytes].view(y.dtype).reshape(y.shape)
    shared[:] = y
    return shared


@mutant("a kernel of one tap that is the identity returns the input itself, not a copy", *FORWARD)
def identity_returns_input(call: Call) -> Host:
    g = call.g
    one_tap = prod(g.kernel + g.stride) == 1 and g.size == g.out and g.groups == 1 and call.bias is None
    same = one_tap and g.in_channels == g.out_channels and not np.any(np.array(g.pads))
    identity = same and np.array_equal(call.w.reshape(g.w_shape[:2]), np.eye(g.in_channels, dtype=call.w.dtype))
    return call.x if identity else right(call)
