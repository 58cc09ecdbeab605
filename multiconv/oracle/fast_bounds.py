"""Error bounds for third-party FFT and Winograd convolutions.

multiconv's own algorithms declare their constants (`multiconv.algorithms`). Of a third-party algorithm only the name
is known. The bounds here assume the largest transform or tile in use.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from multiconv.core import bounds
from multiconv.core.geometry import Geometry

Floats = npt.NDArray[Any]

ALGORITHMS = ("direct", "fft", "winograd")
"""The algorithms whose bounds can be applied to a third-party function."""
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)
"""The finite points of Winograd's F(6, 3), the largest tile in common use. One more point lies at infinity."""


def normwise_constant(g: Geometry, direction: str, algorithm: str, dtype: str) -> float:
    """Return the constant c of `multiconv.core.bounds.normwise` for a fast algorithm.

    Parameters
    ----------
    g : Geometry
    direction : str
        One of `multiconv.oracle.problem.DIRECTIONS`.
    algorithm : str
        - ``"fft"``: the size of the transforms is the next power of two that holds the padded image and the kernel.
        - ``"winograd"``: the tiles have eight pixels along each axis on which the kernel has 2 to 7 taps.
        - ``"fast"`` or ``"direct"``: the larger of the two constants.
    dtype : str

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> g = ConvSpec(padding=1).resolve((1, 16, 14, 14), (8, 16, 3, 3))
    >>> normwise_constant(g, "forward", "winograd", "float32") < normwise_constant(g, "forward", "fft", "float32")
    False
    """
    terms = {"kernel gradient": g.batch, "bias gradient": 1}
    across = g.out_channels if direction in ("input gradient", "conv_transpose") else g.in_channels
    channels = terms.get(direction, across // g.groups)
    constants = []
    if algorithm != "winograd":
        size = tuple(1 << (n + e - 2).bit_length() for n, e in zip(g.padded, g.extent))
        constants.append(bounds.fft_constant(size, channels, dtype))
    if algorithm != "fft":
        taps = [k for k in g.kernel if 2 <= k <= len(POINTS)]
        matrices = toom_cook(max(taps, default=2))
        constants.append(bounds.winograd_constant(*matrices, ndim=len(taps), channels=channels, dtype=dtype))
    return max(constants)


@cache
def toom_cook(taps: int) -> tuple[Floats, Floats, Floats]:
    """Return ``A^T``, ``G`` and ``B^T`` of Winograd's algorithm for a given number of taps and a tile of 8 pixels.

    A Vandermonde matrix V evaluates a polynomial at the points, and its inverse interpolates. Transposed, their product
    is a correlation: ``A^T = V_m^T``, ``G = V_r``, ``B^T = V_n^-T``.

    Parameters
    ----------
    taps : int
        Number of taps of the kernel, from 2 to 7.

    References
    ----------
    A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, arXiv:1509.09308.

    Examples
    --------
    >>> output, kernel, data = toom_cook(3)
    >>> x, w = np.arange(8.0), np.array([1.0, 10.0, 100.0])
    >>> np.round(output @ ((kernel @ w) * (data @ x)), 9)
    array([210., 321., 432., 543., 654., 765.])
    """
    pixels = len(POINTS) + 1
    output, kernel, data = (_evaluation(terms) for terms in (pixels - taps + 1, taps, pixels))
    return output.T, kernel, np.linalg.inv(data).T


def _evaluation(terms: int) -> Floats:
    """Return the matrix that evaluates a polynomial with this many terms at the points and at infinity.

    At infinity, only the last term counts.
    """
    at_infinity = np.eye(terms)[-1:]
    return np.concatenate([np.vander(POINTS, terms, increasing=True), at_infinity])
