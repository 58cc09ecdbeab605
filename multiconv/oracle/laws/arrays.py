"""Rearrange arrays, and index them by spatial axes and by channels. All arrays have their channels first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from multiconv.core.geometry import Geometry
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Host, Pads, Shape

Index = tuple[Any, ...]


def channels_first(array: Host, spec: ConvSpec) -> Host:
    """Move the channels from where the layout has them to axis 1."""
    return np.moveaxis(array, -1, 1) if spec.channels_last else array


def laid_out(array: Host, spec: ConvSpec) -> Host:
    """Copy an array with its channels first to the layout of the options."""
    return fresh_copy(np.moveaxis(array, 1, -1) if spec.channels_last else array)


def fresh_copy(array: Host) -> Host:
    """Return a copy with the strides of a new array.

    Torch chooses its code path by the strides of axes of length 1, or raises an error because of them.
    """
    return array.copy()


def channels_swapped(w: Host, groups: int) -> Host:
    """Reorder (C_out, C_in / groups, \\*kernel) to (C_in, C_out / groups, \\*kernel)."""
    out_channels, in_group, *kernel = w.shape
    grouped = w.reshape(groups, out_channels // groups, in_group, *kernel).swapaxes(1, 2)
    return grouped.reshape(groups * in_group, out_channels // groups, *kernel)


def channels_of_group(g: Geometry, group: int) -> tuple[slice, slice]:
    """Return the input and the output channels of a group."""
    ins, outs = g.in_channels // g.groups, g.out_channels // g.groups
    return slice(group * ins, (group + 1) * ins), slice(group * outs, (group + 1) * outs)


def spatial_axes(array: Host) -> tuple[int, ...]:
    """Return the numbers of the spatial axes."""
    return tuple(range(2, array.ndim))


def flipped(array: Host) -> Host:
    """Reverse every spatial axis."""
    return np.flip(array, spatial_axes(array))


def padded(x: Host, pads: Sequence[tuple[int, int]]) -> Host:
    """Add zeros around the spatial axes."""
    return np.pad(x, ((0, 0), (0, 0), *pads))


def full_padding(extent: Shape) -> Pads:
    """Return the padding that gives an output wherever a window of this extent touches the input."""
    return tuple((e - 1, e - 1) for e in extent)


def every(steps: Shape) -> Index:
    """Return the index of every ``step``-th pixel along each spatial axis."""
    return (slice(None), slice(None), *(slice(None, None, step) for step in steps))


def leading(sizes: Shape) -> Index:
    """Return the index of the first ``size`` pixels along each spatial axis."""
    return (slice(None), slice(None), *map(slice, sizes))


def crop(sizes: Shape, starts: Sequence[int]) -> Index:
    """Return the index of ``size`` pixels from ``start`` on, along each spatial axis."""
    return (slice(None), slice(None), *(slice(start, start + n) for n, start in zip(sizes, starts)))


def index_of_largest(array: Host) -> Index:
    """Return the index of the element with the largest magnitude. The values of a problem choose it."""
    return tuple(int(i) for i in np.unravel_index(np.argmax(np.abs(array)), array.shape))


def rearranged(array: Host) -> Host:
    """Return the same numbers in another order."""
    return np.roll(array.reshape(-1)[::-1], 1).reshape(array.shape)


def _sees(g: Geometry, pixel: Index) -> Host:
    """Return which outputs of a channel have a window with a tap on this pixel of the input."""
    seeing: Host = np.ones((), bool)
    for axis, p in enumerate(pixel):
        from_first = p + g.pads[axis][0] - np.arange(g.out[axis]) * g.stride[axis]
        d = g.dilation[axis]
        inside = (from_first >= 0) & (from_first <= (g.kernel[axis] - 1) * d) & (from_first % d == 0)
        seeing = seeing[..., None] & inside
    return seeing


def outputs_that_see(g: Geometry, element: Index) -> Host:
    """Return a mask of the outputs that depend on an element of the input."""
    image, channel, *pixel = element
    seeing = np.zeros(g.y_shape, bool)
    _, outs = channels_of_group(g, channel // (g.in_channels // g.groups))
    seeing[image, outs] = _sees(g, tuple(pixel))
    return seeing
