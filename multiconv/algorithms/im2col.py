"""Cross-correlation as one matrix product: with the image itself (`Matmul`), or with copied windows (`Im2col`).

Each output is the sum of its products. So integers are exact, and floating-point numbers are within
`multiconv.core.bounds.componentwise`. An algorithm writes its result into an array that the caller passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from multiconv.algorithms import tiling
from multiconv.algorithms.tiling import Slices, Tile, add_product, contiguous, grouped, pixels_seen, tiles, windows
from multiconv.core.geometry import Geometry
from multiconv.core.types import Array

LEAST_TILE_ELEMENTS = 2**19
"""Number of elements that a tile of `Im2col` may always have."""
TILE_OUTPUTS = 1024
"""Number of outputs in a tile of `Im2col`: enough that packing the kernel again for each tile costs little."""


class Matmul:
    """A kernel of one pixel with stride 1 and no padding: the product of the kernel and each image, without a copy.

    It takes ``C_in / groups * C_out`` products per pixel.
    """

    needs = "a kernel of one pixel, stride 1 and no padding"

    @staticmethod
    def takes(g: Geometry) -> bool:
        """Return whether the algorithm supports this geometry."""
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
    """A product ``w @ columns``, where the columns are the windows of a tile of outputs.

    It takes ``C_in / groups * C_out * prod(kernel)`` products and copies ``C_in * prod(kernel)`` elements per output.
    The kernel gradient is ``dy @ columns.T``. The input gradient is ``w.T @ dy``, where each row is added to the pixels
    that its tap of the kernel saw (col2im).
    """

    needs = "nothing"

    @staticmethod
    def takes(g: Geometry) -> bool:
        """Return whether the algorithm supports this geometry."""
        return True

    def __init__(self, g: Geometry) -> None:
        self.g = g
        self.rows = g.in_channels // g.groups * prod(g.kernel)
        self.matrix = (g.groups, g.out_channels // g.groups, self.rows)
        limit = min(max(LEAST_TILE_ELEMENTS, g.in_channels * prod(g.kernel) * TILE_OUTPUTS), tiling.TILE_ELEMENTS)
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
        """Yield, for some images at a time, what each tap of the kernel sees: (images, C_in, \\*kernel, \\*outputs)."""
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
        """Yield, for each tap of the kernel, the pixels that it sees and the outputs within the tile that see them."""
        g = self.g
        for tap in np.ndindex(*g.kernel):
            both = [
                pixels_seen(n, size, s, f * s + t * d - before)
                for t, f, n, size, s, d, (before, _) in zip(
                    tap, tile.first, tile.shape, g.size, g.stride, g.dilation, g.pads
                )
            ]
            yield tuple(pixels for pixels, _ in both), tuple(outputs for _, outputs in both)
