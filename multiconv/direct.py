"""Cross-correlation by direct sums, in NumPy: each output is the sum of its products, in some order.

So each algorithm here is exact where integers are, and within `multiconv.bounds.componentwise` elsewhere. They differ
in how the sums become matrix products, and in what they copy for that:

- `Matmul`: a kernel of one pixel; nothing is copied;
- `Im2col`: any convolution; each pixel is copied for each output that sees it;
- `Taps`: one channel a group, in two dimensions; each pixel is copied for each output that sees it, most of them as a
  moved copy of all;
- `Depthwise`: one channel a group, in two dimensions; each pixel is copied once for each column of the kernel;
- `Toeplitz`: one channel, in two dimensions; each pixel is copied a few times, and zeros are multiplied too.

Arrays are channels first and may be views: input and output of a geometry in either layout. An algorithm writes into
the result that it is given. Temporary arrays are bounded however large the image is: some tens of megabytes, or what a
single output sees if that is more.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np

from multiconv.spec import Geometry, Shape

Array = Any
Slices = tuple[slice, ...]

TILE = 2**22
"""The most elements that a temporary array has."""
FEW = 2**19
"""What a tile of `Im2col` may have in any case."""
COLUMNS = 1024
"""How many outputs a tile of `Im2col` has, so that packing the kernel for each tile costs little."""
AT_ONCE = 2**20
"""How many elements a block of `Taps` or `Depthwise` has."""
LARGE = 2**12
"""From how many outputs on `Depthwise` takes one product for all rows of the kernel."""
PAGE = 4096
"""The bytes at whose distance a processor takes two addresses for the same, and waits."""
CACHE_LINE = 64
"""Bytes that a processor reads at once."""
BLOCK = 8
"""How many outputs, along either axis, `Toeplitz` has in a row of its matrix."""


class Box(NamedTuple):
    """The pixels of an image, with padding, that a box of outputs sees.

    Attributes
    ----------
    shape : tuple of int
        How many pixels along each axis.
    seen : tuple of slice
        Those of the image.
    at : tuple of slice
        Where they lie in the box; around them is padding.
    padded : bool
    """

    shape: Shape
    seen: Slices
    at: Slices
    padded: bool


class Tap(NamedTuple):
    """What a tap of the kernel sees along one axis.

    Attributes
    ----------
    pixels : slice
        Those of the image, for the outputs that see any.
    outputs : slice
        These outputs. The others see padding.
    other : int
        A tap that sees what this one does, for other outputs.
    by : int
        How many outputs later it does; 0 where there is no such tap.
    """

    pixels: slice
    outputs: slice
    other: int
    by: int


class Copies:
    """What taps see of images: those of one that others see too are copied from the image, and the others' moved.

    No two copies lie whole pages apart.

    Parameters
    ----------
    rows, columns : list of Tap
    shape : tuple of int
        Of the images that are taken at once: (\\*leading, outputs down, outputs across).
    dtype : dtype

    Attributes
    ----------
    flat : array, shape (rows, columns, prod(shape))
        What each tap sees.

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
        beyond = max(PAGE // (prod(many) + 1) // CACHE_LINE, 1) * CACHE_LINE
        between = (beyond - size * itemsize) % PAGE // itemsize
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
        self._moves = across + down  # what is moved down may have been moved across before

    def fill(self, images: Array) -> None:
        """Copy what the taps see of so many images, or fewer."""
        some = [slice(n) for n in images.shape[:-2]]
        for plane, row, column in self._copied:
            plane[(*some, row.outputs, column.outputs)] = images[..., row.pixels, column.pixels]
        for to, of, zeros in self._moves:
            to[...] = of
            zeros[...] = 0

    def _moved(self, to: tuple[int, int], of: tuple[int, int], by: int) -> tuple[Array, Array]:
        """Where to write and what, so that the copy of one tap is that of another, so much further on."""
        return (self.flat[to][:-by], self.flat[of][by:]) if by > 0 else (self.flat[to][-by:], self.flat[of][:by])


class Tile(NamedTuple):
    """Outputs that are computed together: a run of the flattened outputs, and a box of theirs."""

    run: slice
    first: Shape
    shape: Shape
    box: Box


def box_of(g: Geometry, first: Shape, shape: Shape) -> Box:
    """The pixels that a box of outputs sees. Where a padding is negative, the image is cut.

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
    """The outputs of an image in boxes whose columns, with the pixels they see, have at most `limit` elements.

    The first axis is cut first, and the next where one of the first is still too much, so that a box is always a run
    of the flattened outputs. A single output is not cut.

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
    """A view (\\*leading, \\*kernel, \\*outputs) of images (\\*leading, \\*pixels): what each tap of the kernel sees.

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


class Matmul:
    """A kernel of one pixel, stride 1, no padding: the product of the kernel and each image, both as they lie.

    ``C_in / groups * C_out`` products a pixel, and no copy.
    """

    needs = "a kernel of one pixel, stride 1 and no padding"

    @staticmethod
    def takes(g: Geometry) -> bool:
        """Whether it can compute this."""
        return prod(g.kernel) == 1 and set(g.stride) == {1} and not any(map(any, g.pads))

    def __init__(self, g: Geometry) -> None:
        self.g = g
        self.matrix = (g.groups, g.out_channels // g.groups, g.in_channels // g.groups)

    def forward(self, x: Array, w: Array, y: Array) -> None:
        """Write the cross-correlation of x and w into y."""
        np.matmul(w.reshape(self.matrix), self._grouped(x), out=self._grouped(y))

    def kernel_gradient(self, x: Array, dy: Array, dw: Array) -> None:
        """Write dy @ x.T, summed over the images, into dw."""
        dw = dw.reshape(self.matrix)
        for number, (image, dy_image) in enumerate(zip(self._grouped(x), self._grouped(dy))):
            add_product(dy_image, image.swapaxes(1, 2), dw, first=number == 0)

    def _grouped(self, array: Array) -> Array:
        return grouped(array, self.g.groups)


class Im2col:
    """The windows of a tile of outputs as the columns of a matrix; then the output is ``w @ columns``.

    ``C_in / groups * C_out * prod(kernel)`` products an output, and ``C_in * prod(kernel)`` elements copied. The kernel
    gradient is ``dy @ columns.T``, and the input gradient ``w.T @ dy``, each row of it added to the pixels that its tap
    of the kernel saw (col2im).
    """

    needs = "nothing"

    @staticmethod
    def takes(g: Geometry) -> bool:
        """Whether it can compute this."""
        return True

    def __init__(self, g: Geometry) -> None:
        self.g = g
        self.rows = g.in_channels // g.groups * prod(g.kernel)
        self.matrix = (g.groups, g.out_channels // g.groups, self.rows)
        limit = min(max(FEW, g.in_channels * prod(g.kernel) * COLUMNS), TILE)
        self.tiles = tiles(g, limit)
        largest = self.tiles[0]
        elements = g.in_channels * (prod(g.kernel) * prod(largest.shape) + prod(largest.box.shape))
        together = limit // (elements + g.out_channels * prod(largest.shape))
        self.images = max(1, min(g.batch, together))

    def forward(self, x: Array, w: Array, y: Array) -> None:
        """Write the cross-correlation of x and w into y."""
        g = self.g
        kernel, y = contiguous(w, self.matrix), grouped(y, g.groups)
        for tile in self.tiles:
            columns = np.empty((self.images, g.in_channels, *g.kernel, *tile.shape), x.dtype)
            matrix = columns.reshape(self.images, g.groups, self.rows, -1)
            for some, seen in self._seen(x, tile):
                count = len(seen)
                columns[:count] = seen
                np.matmul(kernel, matrix[:count], out=y[some, ..., tile.run])

    def kernel_gradient(self, x: Array, dy: Array, dw: Array) -> None:
        """Write dy @ columns.T, summed over the images, into dw."""
        g = self.g
        dy, dw = grouped(dy, g.groups), dw.reshape(self.matrix)
        first = True
        for tile in self.tiles:
            for some, seen in self._seen(x, tile):
                columns = np.moveaxis(seen, 0, 1 + g.ndim).reshape(g.groups, self.rows, -1)
                outputs = np.moveaxis(dy[some, ..., tile.run], 0, 2).reshape(g.groups, -1, columns.shape[2])
                add_product(outputs, columns.swapaxes(1, 2), dw, first=first)
                first = False

    def input_gradient(self, dy: Array, w: Array, dx: Array) -> None:
        """Write w.T @ dy, each row added to the pixels that its tap saw, into dx."""
        g = self.g
        kernel, dy = contiguous(w, self.matrix).swapaxes(1, 2), grouped(dy, g.groups)
        dx[...] = 0
        for tile in self.tiles:
            taps = list(self._taps(tile))
            for begin in range(0, g.batch, self.images):
                some = slice(begin, begin + self.images)
                seen = np.matmul(kernel, dy[some, ..., tile.run])
                seen = seen.reshape(len(seen), g.in_channels, prod(g.kernel), *tile.shape)
                for tap, (pixels, outputs) in enumerate(taps):
                    dx[(some, slice(None), *pixels)] += seen[(slice(None), slice(None), tap, *outputs)]

    def _seen(self, x: Array, tile: Tile) -> Iterator[tuple[slice, Array]]:
        """Some images at a time, what each tap of the kernel sees of them: (images, C_in, \\*kernel, \\*outputs)."""
        g, (shape, seen, at, padded) = self.g, tile.box
        whole = (slice(None), slice(None))
        box = np.zeros((self.images, g.in_channels, *shape), x.dtype) if padded else None
        for begin in range(0, g.batch, self.images):
            some = slice(begin, begin + self.images)
            images = x[(some, slice(None), *seen)]
            if box is not None:
                box[: len(images)][whole + at] = images
                images = box[: len(images)]
            yield some, windows(images, g, tile.shape)

    def _taps(self, tile: Tile) -> Iterator[tuple[Slices, Slices]]:
        """For each tap of the kernel the pixels that it sees, and the outputs, within the tile, that see them."""
        g = self.g
        for tap in np.ndindex(*g.kernel):
            both = [
                pixels_seen(n, size, s, f * s + t * d - before)
                for t, f, n, size, s, d, (before, _) in zip(
                    tap, tile.first, tile.shape, g.size, g.stride, g.dilation, g.pads
                )
            ]
            yield tuple(pixels for pixels, _ in both), tuple(outputs for _, outputs in both)


class Taps:
    """One channel a group, in two dimensions: what each tap of the kernel sees as a row of a matrix, and one product.

    As `Im2col`, but what a tap sees is, where it can be, a moved copy of what another sees: that is faster than to copy
    it from the image pixel by pixel where rows are short or the stride is not 1. Worth it for small kernels only:
    ``C_in * prod(kernel)`` elements are copied an output.
    """

    needs = "two spatial axes, one input channel a group, and channels that are not too large"

    @staticmethod
    def takes(g: Geometry) -> bool:
        """Whether it can compute this."""
        return g.ndim == 2 and g.in_channels == g.groups and prod(g.kernel) * prod(g.out) <= TILE

    def __init__(self, g: Geometry) -> None:
        self.g = g
        self.matrix = (g.groups, g.out_channels // g.groups, prod(g.kernel))
        self.rows, self.columns = taps_along(g, 0), taps_along(g, 1)
        channels = max(1, AT_ONCE // (prod(g.kernel) * prod(g.out)))
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
    """One channel a group, in two dimensions: for each row of the kernel, a product with moved copies of the channel.

    A channel is copied once for each column of the kernel, moved by as many pixels. Then the outputs of a row of the
    kernel are one product of its taps and of these copies, from that row on: ``C_out * prod(kernel)`` products an
    output, and ``C_in * kernel width`` elements copied. Channels are taken in blocks. For large images at stride 1 all
    rows of the kernel are one product, with all rows of pixels, and what an output needs of it is added up.
    The input gradient adds up what each tap adds.
    """

    needs = "two spatial axes, one input channel a group, and channels that are not too large"

    @staticmethod
    def takes(g: Geometry) -> bool:
        """Whether it can compute this."""
        return g.ndim == 2 and g.in_channels == g.groups and Depthwise(g).elements <= TILE

    def __init__(self, g: Geometry) -> None:
        self.g = g
        (k, width), (s, _) = g.kernel, g.stride
        self.many = g.out_channels // g.groups
        self.matrix = (g.groups, self.many, *g.kernel)
        self.rows = g.out[0] + (g.extent[0] - 1) // s
        self.pixels, self.outputs = self.rows * g.out[1], prod(g.out)
        self.one_product = s == 1 and k > 1 and self.outputs >= LARGE
        self.room = (k * self.many, self.pixels) if self.one_product else (self.many, self.outputs)
        self.elements = width * s * self.pixels + prod(self.room) + self.many * self.outputs
        self.block = max(1, min(g.groups, AT_ONCE // self.elements))

    @cached_property
    def starts(self) -> list[tuple[int, int]]:
        """Where each row of the kernel begins to see every s-th row of the input: (phase, pixel)."""
        (s, _), (d, _), (_, across) = self.g.stride, self.g.dilation, self.g.out
        return [(i * d % s, i * d // s * across) for i in range(self.g.kernel[0])]

    @cached_property
    def down(self) -> list[Tap]:
        """The rows of the input of each phase of the stride."""
        (height, _), (s, _), ((before, _), _) = self.g.size, self.g.stride, self.g.pads
        return [Tap(*pixels_seen(self.rows, height, s, phase - before), phase, 0) for phase in range(s)]

    @cached_property
    def columns(self) -> list[Tap]:
        """The columns of the input that each column of the kernel sees."""
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
        """Write what each tap of the kernel adds to the pixels that it saw into dx."""
        g, kernel = self.g, contiguous(w, self.matrix)
        dy = dy.reshape(g.batch, g.groups, self.many, *g.out)
        # The pixels of each phase of the stride apart, so that those that a tap saw lie side by side.
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
        with np.errstate(over="ignore", invalid="ignore"):  # also of what no output needs
            np.matmul(kernel.reshape(*room.shape[:2], -1), copies[0], out=room)
            rows = room.reshape(len(room), self.many, -1, self.pixels)
            first, second, *others = (rows[:, :, i, at : at + self.outputs] for i, (_, at) in enumerate(self.starts))
            np.add(first, second, out=total)
            for row in others:
                total += row

    def _blocks(self) -> Iterator[tuple[int, slice]]:
        """Each image, and each block of channels."""
        for number, begin in product(range(self.g.batch), range(0, self.g.groups, self.block)):
            yield number, slice(begin, min(begin + self.block, self.g.groups))

    def _copies(self, x: Array) -> Iterator[tuple[int, slice, Array]]:
        """For each image and block what columns of the kernel see: (phases of rows, channels, kernel width, pixels)."""
        copies = Copies(self.down, self.columns, (self.block, self.rows, self.g.out[1]), x.dtype)
        by_channel = copies.flat.reshape(*copies.flat.shape[:2], self.block, -1).swapaxes(1, 2)
        for number, some in self._blocks():
            copies.fill(x[number, some])
            yield number, some, by_channel[:, : some.stop - some.start]


class Toeplitz:
    """One channel, stride 1, in two dimensions: a product with a Toeplitz matrix of the kernel.

    A row of the left matrix is a square of pixels, a row of the product the `BLOCK` by `BLOCK` outputs that see nothing
    else. The matrix between them has a copy of the kernel in each column, moved by a pixel, and else zeros:
    ``((BLOCK + k - 1) / k)^2`` times the products that there are, but ``(BLOCK + k - 1)^2 / BLOCK^2`` elements copied
    an output in place of ``k^2``. The kernel gradient is that of the matrix, summed along its diagonals.

    A zero times what is not finite is NaN where there should be nothing: then `Im2col` does it once more.
    """

    needs = "two spatial axes, one input channel, stride 1, dilation 1, and a kernel that is not too large"

    @staticmethod
    def takes(g: Geometry) -> bool:
        """Whether it can compute this."""
        if g.ndim != 2 or g.in_channels != 1 or {*g.stride, *g.dilation} != {1}:
            return False
        square = (BLOCK + g.kernel[0] - 1) * (BLOCK + g.kernel[1] - 1)
        return square * max(2 * g.out_channels * BLOCK**2, 4 * -(-g.out[1] // BLOCK)) <= TILE

    def __init__(self, g: Geometry) -> None:
        self.g = g
        self.square = (BLOCK + g.kernel[0] - 1, BLOCK + g.kernel[1] - 1)
        self.across = -(-g.out[1] // BLOCK)
        down = -(-g.out[0] // BLOCK)
        self.down = max(1, min(down, TILE // 4 // (self.across * prod(self.square))))
        self.rows = range(0, g.out[0], self.down * BLOCK)

    def forward(self, x: Array, w: Array, y: Array) -> None:
        """Write the cross-correlation of x and w into y."""
        g = self.g
        matrix = np.zeros((*self.square, g.out_channels, BLOCK, BLOCK), x.dtype)
        self._diagonals(matrix)[...] = w.reshape(1, 1, g.out_channels, *g.kernel)
        matrix = matrix.reshape(prod(self.square), -1)
        with np.errstate(invalid="ignore", over="ignore"):
            for number, row, squares in self._squares(x):
                blocks = squares @ matrix
                if not np.isfinite(blocks.sum()):
                    break
                blocks = blocks.reshape(-1, self.across, g.out_channels, BLOCK, BLOCK).transpose(2, 0, 3, 1, 4)
                image = blocks.reshape(g.out_channels, -1, self.across * BLOCK)
                into = y[number, :, row : row + self.down * BLOCK]
                into[...] = image[:, : into.shape[1], : g.out[1]]
            else:
                return
        Im2col(g).forward(x, w, y)

    def kernel_gradient(self, x: Array, dy: Array, dw: Array) -> None:
        """Write the gradient of the matrix, summed along its diagonals, into dw."""
        g = self.g
        matrix = np.zeros((prod(self.square), g.out_channels * BLOCK * BLOCK), x.dtype)
        with np.errstate(invalid="ignore", over="ignore"):
            for number, row, squares in self._squares(x):
                seen = dy[number, :, row : row + self.down * BLOCK]
                image = np.zeros((g.out_channels, len(squares) // self.across * BLOCK, self.across * BLOCK), x.dtype)
                image[:, : seen.shape[1], : g.out[1]] = seen
                blocks = image.reshape(g.out_channels, -1, BLOCK, self.across, BLOCK).transpose(1, 3, 0, 2, 4)
                matrix += squares.T @ blocks.reshape(len(squares), -1)
            matrix = matrix.reshape(*self.square, g.out_channels, BLOCK, BLOCK)
            dw[...] = self._diagonals(matrix).sum(axis=(0, 1)).reshape(dw.shape)
            finite = np.isfinite(dw.sum())
        if not finite:
            Im2col(g).kernel_gradient(x, dy, dw)

    def _diagonals(self, matrix: Array) -> Array:
        """A view (BLOCK, BLOCK, C_out, \\*kernel) of the matrix: where each output of a block meets each tap."""
        down, right, channel, row, column = matrix.strides
        return np.lib.stride_tricks.as_strided(
            matrix,
            (BLOCK, BLOCK, self.g.out_channels, *self.g.kernel),
            (down + row, right + column, channel, down, right),
        )

    def _squares(self, x: Array) -> Iterator[tuple[int, int, Array]]:
        """For each image and row of some blocks the pixels that they see: (blocks, pixels of a square)."""
        g = self.g
        for row in self.rows:
            down = min(self.down, -(-(g.out[0] - row) // BLOCK))
            box = box_of(g, (row, 0), (down * BLOCK, self.across * BLOCK))
            image = np.zeros(box.shape, x.dtype)
            rows, columns = image.strides
            squares = np.ndarray(
                (down, self.across, *self.square), x.dtype, image, 0, (rows * BLOCK, columns * BLOCK, rows, columns)
            )
            for number in range(g.batch):
                image[box.at] = x[(number, 0, *box.seen)]
                yield number, row, squares.reshape(down * self.across, -1)


def contiguous(w: Array, shape: Shape) -> Array:
    """The kernel in this shape, as it lies or copied: of one that lies backwards NumPy's products are slow.

    Examples
    --------
    >>> contiguous(np.arange(3.0)[::-1], (3, 1)).strides
    (8, 8)
    """
    return np.ascontiguousarray(w.reshape(shape))


def grouped(array: Array, groups: int) -> Array:
    """A view (N, groups, C / groups, pixels) of an array (N, C, \\*spatial), also of one that lies channels last.

    Examples
    --------
    >>> grouped(np.zeros((2, 6, 4, 5)), 3).shape
    (2, 3, 2, 20)
    """
    batch, channels, *spatial = array.shape
    return array.reshape(batch, groups, channels // groups, prod(spatial))


def pixels_seen(outputs: int, size: int, stride: int, begin: int) -> tuple[slice, slice]:
    """Of outputs that see the pixels `begin`, ``begin + stride``, ...: the pixels inside the image, and who sees them.

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


def taps_along(g: Geometry, axis: int) -> list[Tap]:
    """What each tap sees along an axis, and which other tap sees all of that for other outputs.

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
    of_phase = {tap * dilation % stride: tap for tap in by_reach}  # of each phase the one that sees most
    found = []
    for tap, (pixels, outputs) in enumerate(seen):
        other = of_phase[tap * dilation % stride]
        by, most = (tap - other) * dilation // stride, seen[other][1]
        if outputs != slice(max(most.start - by, 0), min(most.stop - by, out)):
            other, by = tap, 0
        found.append(Tap(pixels, outputs, other, by))
    return found


def _left(by: int) -> slice:
    """The places that what is moved by so much leaves."""
    return slice(-by, None) if by > 0 else slice(-by)


def clear_around(images: Array, rows: slice, columns: slice) -> None:
    """Write zeros into images, all but these rows and columns.

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


def add_product(left: Array, right: Array, result: Array, *, first: bool) -> None:
    """Add left @ right to a result, which is written to if this is the first; never more than a tile at a time.

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
    step = max(1, TILE // (groups * columns))
    for begin in range(0, rows, step):
        some = slice(begin, begin + step)
        result[:, some] += np.matmul(left[:, some], right)
