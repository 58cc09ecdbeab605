"""Depthwise convolution in two dimensions, with one input channel per group: direct sums over copies of the image.

Most of the copies are shifted copies of another copy.

- `Taps` copies each pixel once for each output that sees it;
- `Depthwise` copies each pixel once for each column of the kernel.

Each output is the sum of its products. So integers are exact, and floating-point numbers are within
`multiconv.core.bounds.componentwise`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np

from multiconv.algorithms import tiling
from multiconv.algorithms.tiling import contiguous, pixels_seen
from multiconv.core.geometry import Geometry
from multiconv.core.types import Array, Shape

BLOCK_ELEMENTS = 2**20
"""Number of elements in a block of `Taps` or `Depthwise`."""
ONE_PRODUCT_OUTPUTS = 2**12
"""Minimum number of outputs for which `Depthwise` computes all rows of the kernel in one product."""
PAGE_BYTES = 4096
"""Distance in bytes at which a processor mistakes two addresses for the same one, and waits."""
CACHE_LINE_BYTES = 64
"""Number of bytes that a processor reads at once."""


class Tap(NamedTuple):
    """The pixels that one tap of the kernel sees along one axis.

    Attributes
    ----------
    pixels : slice
        The pixels inside the image, for the outputs that see any.
    outputs : slice
        Those outputs. The other outputs see padding.
    other : int
        A tap that sees the same pixels for other outputs.
    by : int
        How many outputs later the other tap sees them (negative: earlier); 0 if there is no such tap.
    """

    pixels: slice
    outputs: slice
    other: int
    by: int


class Copies:
    """Copies of the pixels that each tap of the kernel sees.

    Where several taps see the same pixels, one copy is made from the image, and the others are shifted copies of it. No
    two copies lie a whole number of pages apart.

    Parameters
    ----------
    rows, columns : list of Tap
    shape : tuple of int
        The shape of the images that are copied at once: (\\*leading, outputs down, outputs across).
    dtype : dtype

    Attributes
    ----------
    flat : array, shape (rows, columns, prod(shape))
        The pixels that each tap sees.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> g = ConvSpec(padding=((0, 0), (1, 0))).resolve((1, 1, 2, 3), (1, 1, 1, 2))
    >>> copies = Copies(taps_along(g, 0), taps_along(g, 1), g.out, np.float64)
    >>> copies.fill(np.arange(1.0, 7.0).reshape(2, 3))
    >>> copies.flat
    array([[[0., 1., 2., 0., 4., 5.],
            [1., 2., 3., 4., 5., 6.]]])
    """

    def __init__(self, rows: list[Tap], columns: list[Tap], shape: Shape, dtype: Any) -> None:
        many, size, itemsize = (len(rows), len(columns)), prod(shape), np.dtype(dtype).itemsize
        beyond = max(PAGE_BYTES // (prod(many) + 1) // CACHE_LINE_BYTES, 1) * CACHE_LINE_BYTES
        between = (beyond - size * itemsize) % PAGE_BYTES // itemsize
        self.flat = np.empty((*many, size + between), dtype)[..., :size]
        planes = self.flat.reshape(*many, *shape)
        self._copied, across, down = [], [], []
        for (i, row), (j, column) in product(enumerate(rows), enumerate(columns)):
            if row.by:
                to, of = self._moved((i, j), (row.other, j), row.by * shape[-1])
                down.append((to, of, planes[i, j, ..., _left(row.by), :]))
            elif column.by:
                to, of = self._moved((i, j), (i, column.other), column.by)
                across.append((to, of, planes[i, j, ..., _left(column.by)]))
            else:
                clear_around(planes[i, j], row.outputs, column.outputs)
                self._copied.append((planes[i, j], row, column))
        self._moves = across + down  # in this order: the source of a move down may need a move across

    def fill(self, images: Array) -> None:
        """Copy the pixels that the taps see of these images, which may be fewer than `shape` has room for."""
        some = [slice(n) for n in images.shape[:-2]]
        for plane, row, column in self._copied:
            plane[(*some, row.outputs, column.outputs)] = images[..., row.pixels, column.pixels]
        for to, of, zeros in self._moves:
            to[...] = of
            zeros[...] = 0

    def _moved(self, to: tuple[int, int], of: tuple[int, int], by: int) -> tuple[Array, Array]:
        """Return destination and source of a move that copies one tap from another, shifted by this many outputs."""
        return (self.flat[to][:-by], self.flat[of][by:]) if by > 0 else (self.flat[to][-by:], self.flat[of][:by])


class Taps:
    """Depthwise convolution in two dimensions: one matrix product, with the pixels that each tap sees as a row.

    It works like `Im2col`, but copies the pixels of a tap from those of another tap where it can, with a shift. That is
    faster than copying them from the image one by one if rows are short or the stride is not 1. It is worth it for
    small kernels only, because it copies ``C_in * prod(kernel)`` elements per output.
    """

    needs = "two spatial axes, one input channel a group, and channels that are not too large"

    @staticmethod
    def takes(g: Geometry) -> bool:
        """Return whether the algorithm supports this geometry."""
        return g.ndim == 2 and g.in_channels == g.groups and prod(g.kernel) * prod(g.out) <= tiling.TILE_ELEMENTS

    def __init__(self, g: Geometry) -> None:
        self.g = g
        self.matrix = (g.groups, g.out_channels // g.groups, prod(g.kernel))
        self.rows, self.columns = taps_along(g, 0), taps_along(g, 1)
        channels = max(1, BLOCK_ELEMENTS // (prod(g.kernel) * prod(g.out)))
        self.block = (max(1, min(g.batch, channels // g.groups)), min(g.groups, channels))

    def forward(self, x: Array, w: Array, y: Array) -> None:
        """Write the cross-correlation of x and w into y."""
        g, kernel, outputs = self.g, contiguous(w, self.matrix), prod(self.g.out)
        y = y.reshape(g.batch, *self.matrix[:2], outputs)
        copies = Copies(self.rows, self.columns, (*self.block, *g.out), x.dtype)
        matrix = copies.flat.reshape(-1, *self.block, outputs).transpose(1, 2, 0, 3)
        images, channels = self.block
        for image, channel in product(range(0, g.batch, images), range(0, g.groups, channels)):
            seen = x[image : image + images, channel : channel + channels]
            some = (slice(seen.shape[0]), slice(seen.shape[1]))
            copies.fill(seen)
            into = y[image : image + images, channel : channel + channels]
            if into.flags.c_contiguous:
                np.matmul(kernel[channel : channel + channels], matrix[some], out=into)
            else:
                into[...] = np.matmul(kernel[channel : channel + channels], matrix[some])


class Depthwise:
    """Depthwise convolution in two dimensions: per row of the kernel, a product with shifted copies of the channel.

    Each channel is copied once for each column of the kernel, shifted by that many pixels. Each row of the kernel then
    adds to the outputs the product of its taps and of these copies, from that row on. That is ``C_out * prod(kernel)``
    products and ``C_in * kernel width`` copied elements per output. Channels are processed in blocks. For large images
    at stride 1, one product covers all rows of the kernel and all rows of pixels; the parts that an output needs are
    then added up. The input gradient adds up what each tap contributes.
    """

    needs = "two spatial axes, one input channel a group, and channels that are not too large"

    @staticmethod
    def takes(g: Geometry) -> bool:
        """Return whether the algorithm supports this geometry."""
        return g.ndim == 2 and g.in_channels == g.groups and Depthwise(g).elements <= tiling.TILE_ELEMENTS

    def __init__(self, g: Geometry) -> None:
        self.g = g
        (k, width), (s, _) = g.kernel, g.stride
        self.many = g.out_channels // g.groups
        self.matrix = (g.groups, self.many, *g.kernel)
        self.rows = g.out[0] + (g.extent[0] - 1) // s
        self.pixels, self.outputs = self.rows * g.out[1], prod(g.out)
        self.one_product = s == 1 and k > 1 and self.outputs >= ONE_PRODUCT_OUTPUTS
        self.room = (k * self.many, self.pixels) if self.one_product else (self.many, self.outputs)
        self.elements = width * s * self.pixels + prod(self.room) + self.many * self.outputs
        self.block = max(1, min(g.groups, BLOCK_ELEMENTS // self.elements))

    @cached_property
    def starts(self) -> list[tuple[int, int]]:
        """Compute where each row of the kernel begins to see every s-th row of the input: (phase, pixel)."""
        (s, _), (d, _), (_, across) = self.g.stride, self.g.dilation, self.g.out
        return [(i * d % s, i * d // s * across) for i in range(self.g.kernel[0])]

    @cached_property
    def down(self) -> list[Tap]:
        """Return the rows of the input in each phase of the stride."""
        (height, _), (s, _), ((before, _), _) = self.g.size, self.g.stride, self.g.pads
        return [Tap(*pixels_seen(self.rows, height, s, phase - before), phase, 0) for phase in range(s)]

    @cached_property
    def columns(self) -> list[Tap]:
        """Return the columns of the input that each column of the kernel sees."""
        return taps_along(self.g, 1)

    def forward(self, x: Array, w: Array, y: Array) -> None:
        """Write the cross-correlation of x and w into y."""
        g, kernel = self.g, contiguous(w, self.matrix)
        y = y.reshape(g.batch, g.groups, self.many, self.outputs)
        whole = np.empty((self.block, self.many, self.outputs), x.dtype)
        room = np.empty((self.block, *self.room), x.dtype)
        compute = self._in_one_product if self.one_product else self._row_by_row
        for number, some, copies in self._copies(x):
            into, count = y[number, some], copies.shape[1]
            total = into if into.flags.c_contiguous else whole[:count]
            compute(kernel[some], copies, room[:count], total)
            if total is not into:
                into[...] = total

    def kernel_gradient(self, x: Array, dy: Array, dw: Array) -> None:
        """Write the products of dy and the copies, summed over the images, into dw."""
        dw = dw.reshape(self.matrix)
        dw[...] = 0
        dy = dy.reshape(self.g.batch, self.g.groups, self.many, self.outputs)
        for number, some, copies in self._copies(x):
            for i, (phase, start) in enumerate(self.starts):
                seen = copies[phase, ..., start : start + self.outputs]
                dw[some, :, i] += np.matmul(dy[number, some], seen.swapaxes(1, 2))

    def input_gradient(self, dy: Array, w: Array, dx: Array) -> None:
        """Write the input gradient into dx: the sum of what each tap adds to the pixels that it saw."""
        g, kernel = self.g, contiguous(w, self.matrix)
        dy = dy.reshape(g.batch, g.groups, self.many, *g.out)
        # Pixels are grouped by the phase of the stride, so that the pixels that a tap saw are adjacent.
        far = [
            max(n + (e - 1) // s, -(-(size + before) // s))
            for n, e, s, size, (before, _) in zip(g.out, g.extent, g.stride, g.size, g.pads)
        ]
        taps = [
            [(t, t * d % s, slice(t * d // s, t * d // s + n)) for t in range(k)]
            for k, d, s, n in zip(g.kernel, g.dilation, g.stride, g.out)
        ]
        pixels = [
            [(phase, *pixels_seen(n, size, s, phase - before)) for phase in range(s)]
            for n, size, s, (before, _) in zip(far, g.size, g.stride, g.pads)
        ]
        phases = np.empty((*g.stride, self.block, *far), dy.dtype)
        part = np.empty((self.block, *g.out), dy.dtype)
        for number, some in self._blocks():
            count = some.stop - some.start
            phases[...] = 0
            for (i, down, row), (j, right, column) in product(*taps):
                into = phases[down, right, :count, row, column]
                for output in range(self.many):
                    weights = kernel[some, output, i, j].reshape(-1, 1, 1)
                    into += np.multiply(weights, dy[number, some, output], out=part[:count])
            for (down, to, row), (right, across, column) in product(*pixels):
                dx[number, some, to, across] = phases[down, right, :count, row, column]

    def _row_by_row(self, kernel: Array, copies: Array, room: Array, total: Array) -> None:
        for i, (phase, start) in enumerate(self.starts):
            seen = copies[phase, ..., start : start + self.outputs]
            if i == 0:
                np.matmul(kernel[:, :, i], seen, out=total)
            else:
                total += np.matmul(kernel[:, :, i], seen, out=room)

    def _in_one_product(self, kernel: Array, copies: Array, room: Array, total: Array) -> None:
        with np.errstate(over="ignore", invalid="ignore"):  # values that no output needs may overflow
            np.matmul(kernel.reshape(*room.shape[:2], -1), copies[0], out=room)
            rows = room.reshape(len(room), self.many, -1, self.pixels)
            first, second, *others = (rows[:, :, i, at : at + self.outputs] for i, (_, at) in enumerate(self.starts))
            np.add(first, second, out=total)
            for row in others:
                total += row

    def _blocks(self) -> Iterator[tuple[int, slice]]:
        """Yield each image with each block of channels."""
        for number, begin in product(range(self.g.batch), range(0, self.g.groups, self.block)):
            yield number, slice(begin, min(begin + self.block, self.g.groups))

    def _copies(self, x: Array) -> Iterator[tuple[int, slice, Array]]:
        """Yield, per image and block, what kernel columns see: (phases of rows, channels, kernel width, pixels)."""
        copies = Copies(self.down, self.columns, (self.block, self.rows, self.g.out[1]), x.dtype)
        by_channel = copies.flat.reshape(*copies.flat.shape[:2], self.block, -1).swapaxes(1, 2)
        for number, some in self._blocks():
            copies.fill(x[number, some])
            yield number, some, by_channel[:, : some.stop - some.start]


def taps_along(g: Geometry, axis: int) -> list[Tap]:
    """Return what each tap sees along an axis, and which other tap sees all of it for other outputs.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> for tap in taps_along(ConvSpec(padding=1).resolve((1, 1, 6), (1, 1, 3)), 0):
    ...     print(tap)
    Tap(pixels=slice(0, 5, 1), outputs=slice(1, 6, None), other=1, by=-1)
    Tap(pixels=slice(0, 6, 1), outputs=slice(0, 6, None), other=1, by=0)
    Tap(pixels=slice(1, 6, 1), outputs=slice(0, 5, None), other=1, by=1)
    """
    out, size, stride, dilation, before = g.out[axis], g.size[axis], g.stride[axis], g.dilation[axis], g.pads[axis][0]
    seen = [pixels_seen(out, size, stride, tap * dilation - before) for tap in range(g.kernel[axis])]
    by_reach = sorted(range(len(seen)), key=lambda tap: seen[tap][1].stop - seen[tap][1].start)
    of_phase = {tap * dilation % stride: tap for tap in by_reach}  # for each phase, the tap that sees the most pixels
    found = []
    for tap, (pixels, outputs) in enumerate(seen):
        other = of_phase[tap * dilation % stride]
        by, most = (tap - other) * dilation // stride, seen[other][1]
        if outputs != slice(max(most.start - by, 0), min(most.stop - by, out)):
            other, by = tap, 0
        found.append(Tap(pixels, outputs, other, by))
    return found


def _left(by: int) -> slice:
    """Return the positions that a shift by this many outputs leaves empty."""
    return slice(-by, None) if by > 0 else slice(-by)


def clear_around(images: Array, rows: slice, columns: slice) -> None:
    """Write zeros into images everywhere outside of these rows and columns.

    Examples
    --------
    >>> image = np.ones((3, 4))
    >>> clear_around(image, slice(1, 3), slice(0, 3))
    >>> image
    array([[0., 0., 0., 0.],
           [1., 1., 1., 0.],
           [1., 1., 1., 0.]])
    """
    height, width = images.shape[-2:]
    for outside in ((0, rows.start), (rows.stop, height)):
        if outside[0] < outside[1]:
            images[..., slice(*outside), :] = 0
    for outside in ((0, columns.start), (columns.stop, width)):
        if outside[0] < outside[1]:
            images[..., slice(*outside)] = 0
