"""Cross-correlation with a 3 x 3 kernel by Winograd's algorithm, which takes a quarter of the products.

The results are sums of numbers other than the products of the definition, so an error may be large relative to its own
output. They are within `multiconv.core.bounds.normwise` with the constant that the algorithm declares, and integers are
rounded. A non-finite value spreads to outputs that do not see it. If any output is not finite, `Im2col` computes the
result again.

References
----------
.. [1] A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, arXiv:1509.09308.
.. [2] B. Barabasz, A. Anderson, K. M. Soodhalter, D. Gregg, "Error analysis and improving the accuracy of Winograd
   convolution for deep neural networks", ACM Trans. Math. Softw. 46 (2020) 37.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cache

import numpy as np

from multiconv.algorithms.im2col import Im2col
from multiconv.algorithms.tiling import box_of
from multiconv.core import bounds
from multiconv.core.geometry import Geometry
from multiconv.core.types import Array

POINTS = (Fraction(0), Fraction(3, 4), Fraction(-3, 4), Fraction(3, 2), Fraction(-3, 2))
OUTPUTS, TAPS = 4, 3
SQUARE = OUTPUTS + TAPS - 1
KERNEL_BYTES = 36 * 2**20
"""Maximum size of a transformed kernel, in bytes. A larger kernel is processed in parts."""
BLOCK_BYTES = 2**22
"""Maximum size of each of the other temporary arrays, in bytes."""
SQUARES_TOGETHER = 128
"""Number of squares of outputs that are computed together, unless that takes too much memory."""


class Winograd:
    """A 3 x 3 kernel by F(4 x 4, 3 x 3): 36 products for 16 outputs, where the definition has 144.

    This is the transposed Toom-Cook algorithm, ``A^T [(G w) * (B^T x)]`` along either axis [1]_. Squares of 6 x 6
    pixels and the kernel are evaluated at the points 0, 3/4, -3/4, 3/2, -3/2 and infinity, which have smaller errors
    than integer points [2]_. At each of the 36 pairs of points, the sum over the channels is a matrix product. Both
    axes are transformed at once, by products with Kronecker squares of the three matrices.
    """

    needs = "a 3 x 3 kernel, stride 1, dilation 1 and one group"

    def __init__(self, g: Geometry) -> None:
        self.g = g
        self.down, self.across = (-(-n // OUTPUTS) for n in g.out)

    @staticmethod
    def takes(g: Geometry) -> bool:
        """Return whether the algorithm supports this geometry."""
        return g.kernel == (TAPS, TAPS) and {*g.stride, *g.dilation, g.groups} == {1}

    @staticmethod
    def normwise_constant(g: Geometry, dtype: str) -> float:
        """Return the constant c of `multiconv.core.bounds.normwise` for this algorithm."""
        return bounds.winograd_constant(*kronecker_squares(), ndim=1, channels=g.in_channels, dtype=dtype)

    def forward(self, x: Array, w: Array, y: Array) -> None:
        """Write the cross-correlation of x and w into y."""
        g = self.g
        step = max(1, KERNEL_BYTES // (SQUARE**2 * g.in_channels * x.itemsize))
        with np.errstate(invalid="ignore", over="ignore"):
            for begin in range(0, g.out_channels, step):
                some = slice(begin, begin + step)
                if not self._some_channels(x, w[some], y[:, some]):
                    break
            else:
                return
        Im2col(g).forward(x, w, y)

    def _some_channels(self, x: Array, w: Array, y: Array) -> bool:
        """Write some channels of the result, and return whether all values are finite."""
        g, channels = self.g, len(w)
        output, kernel, data = (matrix.astype(x.dtype) for matrix in kronecker_squares())
        taps = (kernel @ w.reshape(-1, TAPS**2).T).reshape(SQUARE**2, channels, g.in_channels)
        four = np.dtype((np.void, OUTPUTS * x.itemsize))
        for some, top, rows, squares in self._squares(x):
            points = (data @ squares.reshape(SQUARE**2, -1)).reshape(SQUARE**2, g.in_channels, -1)
            products = (taps @ points).reshape(SQUARE**2, -1)
            outputs = products.T @ output.T
            if not np.isfinite(outputs.sum()):
                return False
            # The shape is (C_out, images, rows, across, 4, 4); the last axis is moved as one element.
            runs = outputs.view(four).reshape(channels, -1, rows, self.across, OUTPUTS).transpose(1, 0, 2, 4, 3)
            image = (
                np.ascontiguousarray(runs).view(x.dtype).reshape(-1, channels, rows * OUTPUTS, self.across * OUTPUTS)
            )
            into = y[some, :, top * OUTPUTS : (top + rows) * OUTPUTS]
            into[...] = image[:, :, : into.shape[2], : g.out[1]]
        return True

    def _squares(self, x: Array) -> Iterator[tuple[slice, int, int, Array]]:
        """Yield some images at a time with the pixels that some rows of squares see.

        The items are the images, the first row of squares, the number of rows, and the pixels: (SQUARE, SQUARE, C_in,
        images, rows, across).
        """
        g = self.g
        each = SQUARE**2 * max(g.in_channels, g.out_channels)
        together = min(max(BLOCK_BYTES // 4, each * SQUARES_TOGETHER * x.itemsize), BLOCK_BYTES) // (each * x.itemsize)
        most_rows = max(1, min(self.down, together // self.across))
        most_images = max(1, min(g.batch, together // (self.down * self.across)))
        for top in range(0, self.down, most_rows):
            rows = min(most_rows, self.down - top)
            box = box_of(g, (top * OUTPUTS, 0), (rows * OUTPUTS, self.across * OUTPUTS))
            pixels = np.zeros((most_images, g.in_channels, *box.shape), x.dtype)
            image, channel, down, right = pixels.strides
            strides = (down, right, channel, image, down * OUTPUTS, right * OUTPUTS)
            for begin in range(0, g.batch, most_images):
                some = slice(begin, min(begin + most_images, g.batch))
                count = some.stop - begin
                pixels[:count][(slice(None), slice(None), *box.at)] = x[(some, slice(None), *box.seen)]
                shape = (SQUARE, SQUARE, g.in_channels, count, rows, self.across)
                yield some, top, rows, np.ndarray(shape, x.dtype, pixels, 0, strides)


@cache
def kronecker_squares() -> tuple[Array, Array, Array]:
    """Return ``A^T``, ``G`` and ``B^T`` of F(4 x 4, 3 x 3) for both axes at once, in float64.

    Their shapes are 16 x 36, 36 x 9 and 36 x 36.

    For a product of polynomials, evaluation at the points is a Vandermonde matrix V, and interpolation is its inverse.
    Transposed, that is a correlation: ``A^T = V_4^T``, ``G = V_3`` and ``B^T = V_6^-T`` [1]_. The entries are rational
    numbers, rounded once.

    Examples
    --------
    >>> output, kernel, data = kronecker_squares()
    >>> x, w = np.arange(36.0).reshape(6, 6), np.ones((3, 3))
    >>> np.round(output @ ((kernel @ w.ravel()) * (data @ x.ravel())), 9).reshape(4, 4)[0]
    array([63., 72., 81., 90.])
    """
    output, kernel = _transposed(_vandermonde(OUTPUTS)), _vandermonde(TAPS)
    data = _transposed(_inverse(_vandermonde(SQUARE)))
    A, G, B = (np.array(_kronecker_square(matrix), np.float64) for matrix in (output, kernel, data))
    return A, G, B


def _vandermonde(terms: int) -> list[list[Fraction]]:
    """Return the matrix that evaluates a polynomial of this many terms at the points and at infinity.

    At infinity, only the last term counts.
    """
    infinity = [Fraction(int(power == terms - 1)) for power in range(terms)]
    return [*([point**power for power in range(terms)] for point in POINTS), infinity]


def _transposed(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """Return the transpose of a matrix."""
    return [list(column) for column in zip(*matrix)]


def _inverse(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """Compute the exact inverse of a matrix by Gauss-Jordan elimination."""
    n = len(matrix)
    rows = [[*row, *(Fraction(int(i == j)) for j in range(n))] for i, row in enumerate(matrix)]
    for i in range(n):
        pivot = next(j for j in range(i, n) if rows[j][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [entry / rows[i][i] for entry in rows[i]]
        for j in range(n):
            if j != i:
                rows[j] = [entry - rows[j][i] * other for entry, other in zip(rows[j], rows[i])]
    return [row[n:] for row in rows]


def _kronecker_square(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """Compute the Kronecker product of the matrix with itself."""
    return [[a * b for a in row for b in other] for row in matrix for other in matrix]
