"""Cross-correlation with one channel in two dimensions, as a product with a Toeplitz matrix of the kernel.

Each output is the sum of its products and of zeros. So integers are exact, and floating-point numbers are within
`multiconv.core.bounds.componentwise`.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from multiconv.algorithms import tiling
from multiconv.algorithms.im2col import Im2col
from multiconv.algorithms.tiling import box_of
from multiconv.core.geometry import Geometry
from multiconv.core.types import Array

SIDE = 8
"""Number of outputs along either axis in one row of the product of `Toeplitz`."""


class Toeplitz:
    """One channel and stride 1 in two dimensions: a product with a Toeplitz matrix of the kernel.

    Each row of the left matrix is a square of pixels. Each row of the product is the `SIDE` by `SIDE` outputs that see
    only these pixels. Each column of the Toeplitz matrix contains a copy of the kernel, shifted by a pixel, and zeros
    elsewhere. This takes ``((SIDE + k - 1) / k)^2`` times as many products as the definition, but copies only
    ``(SIDE + k - 1)^2 / SIDE^2`` elements per output instead of ``k^2``. The kernel gradient is the gradient of the
    matrix, summed along its diagonals.

    Zero times a non-finite value is NaN where the definition has no product. If any output is not finite, `Im2col`
    computes the result again.
    """

    needs = "two spatial axes, one input channel, stride 1, dilation 1, and a kernel that is not too large"

    @staticmethod
    def takes(g: Geometry) -> bool:
        """Return whether the algorithm supports this geometry."""
        if g.ndim != 2 or g.in_channels != 1 or {*g.stride, *g.dilation} != {1}:
            return False
        square = (SIDE + g.kernel[0] - 1) * (SIDE + g.kernel[1] - 1)
        return square * max(2 * g.out_channels * SIDE**2, 4 * -(-g.out[1] // SIDE)) <= tiling.TILE_ELEMENTS

    def __init__(self, g: Geometry) -> None:
        self.g = g
        self.square = (SIDE + g.kernel[0] - 1, SIDE + g.kernel[1] - 1)
        self.across = -(-g.out[1] // SIDE)
        down = -(-g.out[0] // SIDE)
        self.down = max(1, min(down, tiling.TILE_ELEMENTS // 4 // (self.across * prod(self.square))))
        self.rows = range(0, g.out[0], self.down * SIDE)

    def forward(self, x: Array, w: Array, y: Array) -> None:
        """Write the cross-correlation of x and w into y."""
        g = self.g
        matrix = np.zeros((*self.square, g.out_channels, SIDE, SIDE), x.dtype)
        self._diagonals(matrix)[...] = w.reshape(1, 1, g.out_channels, *g.kernel)
        matrix = matrix.reshape(prod(self.square), -1)
        with np.errstate(invalid="ignore", over="ignore"):
            for number, row, squares in self._squares(x):
                blocks = squares @ matrix
                if not np.isfinite(blocks.sum()):
                    break
                blocks = blocks.reshape(-1, self.across, g.out_channels, SIDE, SIDE).transpose(2, 0, 3, 1, 4)
                image = blocks.reshape(g.out_channels, -1, self.across * SIDE)
                into = y[number, :, row : row + self.down * SIDE]
                into[...] = image[:, : into.shape[1], : g.out[1]]
            else:
                return
        Im2col(g).forward(x, w, y)

    def kernel_gradient(self, x: Array, dy: Array, dw: Array) -> None:
        """Write the gradient of the matrix, summed along its diagonals, into dw."""
        g = self.g
        matrix = np.zeros((prod(self.square), g.out_channels * SIDE * SIDE), x.dtype)
        with np.errstate(invalid="ignore", over="ignore"):
            for number, row, squares in self._squares(x):
                seen = dy[number, :, row : row + self.down * SIDE]
                image = np.zeros((g.out_channels, len(squares) // self.across * SIDE, self.across * SIDE), x.dtype)
                image[:, : seen.shape[1], : g.out[1]] = seen
                blocks = image.reshape(g.out_channels, -1, SIDE, self.across, SIDE).transpose(1, 3, 0, 2, 4)
                matrix += squares.T @ blocks.reshape(len(squares), -1)
            matrix = matrix.reshape(*self.square, g.out_channels, SIDE, SIDE)
            dw[...] = self._diagonals(matrix).sum(axis=(0, 1)).reshape(dw.shape)
            finite = np.isfinite(dw.sum())
        if not finite:
            Im2col(g).kernel_gradient(x, dy, dw)

    def _diagonals(self, matrix: Array) -> Array:
        """Return a view (SIDE, SIDE, C_out, \\*kernel) of the matrix: where each output of a block meets each tap."""
        down, right, channel, row, column = matrix.strides
        return np.lib.stride_tricks.as_strided(
            matrix,
            (SIDE, SIDE, self.g.out_channels, *self.g.kernel),
            (down + row, right + column, channel, down, right),
        )

    def _squares(self, x: Array) -> Iterator[tuple[int, int, Array]]:
        """Yield, for each image and run of block rows, the pixels that they see: (blocks, pixels of a square)."""
        g = self.g
        for row in self.rows:
            down = min(self.down, -(-(g.out[0] - row) // SIDE))
            box = box_of(g, (row, 0), (down * SIDE, self.across * SIDE))
            image = np.zeros(box.shape, x.dtype)
            rows, columns = image.strides
            squares = np.ndarray(
                (down, self.across, *self.square),
                x.dtype,
                image,
                0,
                (rows * SIDE, columns * SIDE, rows, columns),
            )
            for number in range(g.batch):
                image[box.at] = x[(number, 0, *box.seen)]
                yield number, row, squares.reshape(down * self.across, -1)
