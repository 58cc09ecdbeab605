"""Helpers of the algorithms: boxes of outputs and the pixels that they see, windows, and products of bounded size.

Arrays are channels first and may be views, so that inputs and outputs may have either layout. The size of temporary
arrays does not depend on the size of the image. It is some tens of megabytes, or the pixels that a single output sees
if those are more.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np

from multiconv.core.geometry import Geometry
from multiconv.core.types import Array, Shape

Slices = tuple[slice, ...]
TILE_ELEMENTS = 2**22
"""Maximum number of elements in a temporary array."""


class Box(NamedTuple):
    """The pixels of an image, including padding, that a box of outputs sees.

    Attributes
    ----------
    shape : tuple of int
        Number of pixels along each axis.
    seen : tuple of slice
        The pixels that are inside the image.
    at : tuple of slice
        The position of those pixels in the box; around them is padding.
    padded : bool
        Whether there is any padding.
    """

    shape: Shape
    seen: Slices
    at: Slices
    padded: bool


class Tile(NamedTuple):
    """Outputs that are computed together: a run of the flattened outputs that is also a box of outputs."""

    run: slice
    first: Shape
    shape: Shape
    box: Box


def box_of(g: Geometry, first: Shape, shape: Shape) -> Box:
    """Return the pixels that a box of outputs sees.

    Where the padding is negative, the image is cropped.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> g = ConvSpec(padding=1).resolve((1, 1, 5), (1, 1, 3))
    >>> box_of(g, (0,), (2,))
    Box(shape=(4,), seen=(slice(0, 3, None),), at=(slice(1, 4, None),), padded=True)
    """
    pixels = tuple((n - 1) * s + e for n, s, e in zip(shape, g.stride, g.extent))
    begin = [f * s - before for f, s, (before, _) in zip(first, g.stride, g.pads)]
    inside = [(max(b, 0), min(b + p, n)) for b, p, n in zip(begin, pixels, g.size)]
    seen = tuple(slice(lo, max(lo, hi)) for lo, hi in inside)
    at = tuple(slice(s.start - b, s.stop - b) if s.start < s.stop else slice(0, 0) for s, b in zip(seen, begin))
    return Box(pixels, seen, at, any(a.stop - a.start < p for a, p in zip(at, pixels)))


def tiles(g: Geometry, limit: int) -> list[Tile]:
    """Split the outputs of an image into boxes that need at most `limit` elements for their columns and pixels.

    The first axis is split first. The next axis is split only if a single index of the first is still too much, so that
    a box is always a run of the flattened outputs. A single output is not split.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> g = ConvSpec().resolve((1, 1, 8, 8), (1, 1, 3, 3))
    >>> [tile.run for tile in tiles(g, 250)]
    [slice(0, 18, None), slice(18, 36, None)]
    """
    shape = list(g.out)

    def elements() -> int:
        return g.in_channels * (prod(g.kernel) * prod(shape) + prod(box_of(g, (0,) * g.ndim, tuple(shape)).shape))

    for axis in range(g.ndim):
        while shape[axis] > 1 and elements() > limit:
            shape[axis] = -(-shape[axis] // 2)
    made, end = [], 0
    for first in product(*(range(0, n, step) for n, step in zip(g.out, shape))):
        size = tuple(min(step, n - f) for step, n, f in zip(shape, g.out, first))
        made.append(Tile(slice(end, end + prod(size)), first, size, box_of(g, first, size)))
        end += prod(size)
    return made


def windows(box: Array, g: Geometry, shape: Shape) -> Array:
    """Return what each tap sees, as a view (\\*leading, \\*kernel, \\*outputs) of images (\\*leading, \\*pixels).

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> windows(np.arange(4.0), ConvSpec().resolve((1, 1, 4), (1, 1, 2)), (3,))
    array([[0., 1., 2.],
           [1., 2., 3.]])
    """
    leading, steps = box.strides[: -g.ndim], box.strides[-g.ndim :]
    taps = [d * step for d, step in zip(g.dilation, steps)]
    outputs = [s * step for s, step in zip(g.stride, steps)]
    all_shape, all_strides = (*box.shape[: -g.ndim], *g.kernel, *shape), (*leading, *taps, *outputs)
    if box.flags.c_contiguous:  # as_strided takes longer than the convolution of a small image
        return np.ndarray(all_shape, box.dtype, box, 0, all_strides)
    return np.lib.stride_tricks.as_strided(box, all_shape, all_strides, writeable=False)


def pixels_seen(outputs: int, size: int, stride: int, begin: int) -> tuple[slice, slice]:
    """Return the pixels inside the image that some outputs see, and the outputs that see one.

    The outputs see the pixels `begin`, ``begin + stride``, ..., one each.

    Examples
    --------
    >>> pixels_seen(5, 6, 2, -1)
    (slice(1, 6, 2), slice(1, 4, None))
    """
    first = max(0, -(begin // stride))
    last = min(outputs, (size - 1 - begin) // stride + 1)
    if first >= last:
        return slice(0, 0), slice(0, 0)
    return slice(begin + first * stride, begin + (last - 1) * stride + 1, stride), slice(first, last)


def contiguous(w: Array, shape: Shape) -> Array:
    """Return the kernel in this shape, copied if it is not contiguous.

    NumPy's products are slow on an array with negative strides.

    Examples
    --------
    >>> contiguous(np.arange(3.0)[::-1], (3, 1)).strides
    (8, 8)
    """
    return np.ascontiguousarray(w.reshape(shape))


def grouped(array: Array, groups: int) -> Array:
    """Return a view (N, groups, C / groups, pixels) of an array (N, C, \\*spatial), in either memory layout.

    Examples
    --------
    >>> grouped(np.zeros((2, 6, 4, 5)), 3).shape
    (2, 3, 2, 20)
    """
    batch, channels, *spatial = array.shape
    return array.reshape(batch, groups, channels // groups, prod(spatial))


def add_product(left: Array, right: Array, result: Array, *, first: bool) -> None:
    """Add left @ right to a result, or write it if it is the first, with no more than a tile of temporary elements.

    Examples
    --------
    >>> result = np.ones((1, 1, 1))
    >>> add_product(np.full((1, 1, 2), 3.0), np.ones((1, 2, 1)), result, first=False)
    >>> result
    array([[[7.]]])
    """
    if first:
        np.matmul(left, right, out=result)
        return
    groups, rows, columns = result.shape
    step = max(1, TILE_ELEMENTS // (groups * columns))
    for begin in range(0, rows, step):
        some = slice(begin, begin + step)
        result[:, some] += np.matmul(left[:, some], right)
