"""Cross-correlation with one channel and a large kernel by the fast Fourier transform, tile by tile.

The results are sums of numbers other than the products of the definition, so an error may be large relative to its own
output. They are within `multiconv.core.bounds.normwise` with the constant that the algorithm declares, and integers are
rounded. A non-finite value spreads to outputs that do not see it. If any output is not finite, `Im2col` computes the
result again.
"""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np

from multiconv.algorithms.im2col import Im2col
from multiconv.algorithms.tiling import box_of
from multiconv.core import bounds
from multiconv.core.geometry import Geometry
from multiconv.core.types import Array

SPECTRUM_ELEMENTS = 2**19
"""Maximum number of elements in the transforms of an image and of a kernel."""


class FFT:
    """One channel and stride 1 in two dimensions: the product of the Fourier transforms of the image and of the kernel.

    The image is cut into tiles whose sides are powers of two, about four times the kernel. The tiles overlap by the
    reach of the kernel (overlap-save). Of each tile, the outputs that did not wrap around its edge are kept. The number
    of products per output is ``log2`` of the pixels in a tile, for a kernel of any size.
    """

    needs = "two spatial axes, one input channel, stride 1, dilation 1, and a kernel that is not too large"

    def __init__(self, g: Geometry) -> None:
        self.g = g
        self.size = transform_size(g)
        self.whole = tuple(n - k + 1 for n, k in zip(self.size, g.kernel))

    @staticmethod
    def takes(g: Geometry) -> bool:
        """Return whether the algorithm supports this geometry."""
        if g.ndim != 2 or g.in_channels != 1 or {*g.stride, *g.dilation} != {1}:
            return False
        return prod(transform_size(g)) * (1 + g.out_channels) <= SPECTRUM_ELEMENTS

    @staticmethod
    def normwise_constant(g: Geometry, dtype: str) -> float:
        """Return the constant c of `multiconv.core.bounds.normwise` for this algorithm."""
        return bounds.fft_constant(transform_size(g), channels=1, dtype=dtype)

    def forward(self, x: Array, w: Array, y: Array) -> None:
        """Write the cross-correlation of x and w into y."""
        g = self.g
        with np.errstate(invalid="ignore", over="ignore"):
            spectra = np.fft.rfft2(w[:, 0], self.size).conj()
            for first in product(*(range(0, n, step) for n, step in zip(g.out, self.whole))):
                box = box_of(g, first, self.whole)
                pixels = np.zeros(box.shape, x.dtype)
                kept = tuple(slice(0, min(step, n - f)) for step, n, f in zip(self.whole, g.out, first))
                into = tuple(slice(f, f + k.stop) for f, k in zip(first, kept))
                for number in range(g.batch):
                    pixels[box.at] = x[(number, 0, *box.seen)]
                    outputs = np.fft.irfft2(np.fft.rfft2(pixels) * spectra, self.size)[(slice(None), *kept)]
                    if not np.isfinite(outputs.sum()):
                        Im2col(g).forward(x, w, y)
                        return
                    y[(number, slice(None), *into)] = outputs


def transform_size(g: Geometry) -> tuple[int, ...]:
    """Return, for each axis, the power of two that is about four times the kernel or holds the whole image.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> transform_size(ConvSpec().resolve((1, 1, 512, 70), (1, 1, 31, 31)))
    (128, 128)
    >>> transform_size(ConvSpec().resolve((1, 1, 512, 50), (1, 1, 31, 31)))
    (128, 64)
    """
    return tuple(1 << (min(4 * k, n + k - 1) - 1).bit_length() for n, k in zip(g.out, g.kernel))
