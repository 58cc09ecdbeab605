"""Design kernels: derivatives along a direction, and blurs."""

from __future__ import annotations

from fractions import Fraction
from math import comb, cos, radians, sin

import numpy as np

from multiconv.core.errors import UsageError
from multiconv.lessons.kernels.entries import Floats


def directional_edge(angle: float, size: int = 3) -> Floats:
    """Return the kernel of a first derivative in a direction, smoothed across it.

    Its response to a slope of 1 that rises in this direction is 1.

    The kernel is ``cos(angle) s d^T + sin(angle) d s^T``. Here ``s`` is the row of Pascal's triangle divided by its
    sum, and ``d`` the difference of the row before it. For size 3 these are Sobel's two kernels, steered as in [5]_ for
    a Gaussian's.

    Parameters
    ----------
    angle : float
        Direction in degrees, counter-clockwise from "left to right".
    size : int
        Length of both axes, at least 2.

    Raises
    ------
    UsageError
        If the size is not an integer of at least 2, or the angle is not finite.

    Examples
    --------
    >>> directional_edge(0) * 8
    array([[-1.,  0.,  1.],
           [-2.,  0.,  2.],
           [-1.,  0.,  1.]])
    >>> from multiconv.lessons.kernels import describe
    >>> describe(directional_edge(30, size=5)).direction
    30.0
    """
    _require_size(size, 2)
    s, d = _binomial(size), np.convolve([-1.0, 1.0], _binomial(size - 1))
    along, up = _unit_vector(angle)
    return along * np.outer(s, d) + up * np.outer(-d, s)


def second_derivative(angle: float, size: int = 3) -> Floats:
    """Return the kernel of a second derivative along a line, smoothed across it.

    Its response to the parabola ``x^2 / 2`` along the line is 1.

    The kernel is ``cos^2 Kxx + 2 cos sin Kxy + sin^2 Kyy``. Its three kernels are built as in `directional_edge` and
    steered as in [5]_.

    Parameters
    ----------
    angle : float
        Angle of the line in degrees: 0 is along the rows (axis 1), 90 along the columns (axis 0).
    size : int
        Length of both axes, at least 3.

    Raises
    ------
    UsageError
        If the size is not an integer of at least 3, or the angle is not finite.

    Examples
    --------
    >>> second_derivative(90) * 4
    array([[ 1.,  2.,  1.],
           [-2., -4., -2.],
           [ 1.,  2.,  1.]])
    >>> from multiconv.lessons.kernels import describe
    >>> describe(second_derivative(0) + second_derivative(90)).derivative
    'Laplacian'
    """
    _require_size(size, 3)
    s, d = _binomial(size), np.convolve([-1.0, 1.0], _binomial(size - 1))
    dd = np.convolve([1.0, -2.0, 1.0], _binomial(size - 2))
    along, up = _unit_vector(angle)
    return along**2 * np.outer(s, dd) + 2 * along * up * np.outer(-d, d) + up**2 * np.outer(dd, s)


def blur(size: int, sigma: float | None = None) -> Floats:
    """Return a weighted mean of the neighbours: binomial or sampled Gaussian weights, whose sum is 1.

    Binomial weights of ``size`` entries have variance ``(size - 1) / 4`` and approach a Gaussian ([2]_, section 11.4).

    Parameters
    ----------
    size : int
        Length of both axes, at least 1.
    sigma : float, optional
        Standard deviation of the Gaussian in pixels; default binomial weights.

    Raises
    ------
    UsageError
        If the size is not an integer of at least 1, or sigma is not positive and finite.

    Examples
    --------
    >>> blur(3) * 16
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    >>> blur(5, sigma=1)[2].round(3)
    array([0.022, 0.098, 0.162, 0.098, 0.022])
    """
    _require_size(size, 1)
    if sigma is None:
        return np.outer(_binomial(size), _binomial(size))
    if not 0 < sigma < float("inf"):
        raise UsageError(f"sigma must be positive and finite, not {sigma!r}")
    squares = (np.arange(size) - (size - 1) / 2) ** 2
    weights = np.exp((squares.min() - squares) / (2 * sigma**2))
    return np.outer(weights / weights.sum(), weights / weights.sum())


def _require_size(size: int, least: int) -> None:
    if not isinstance(size, int) or isinstance(size, bool) or size < least:
        raise UsageError(f"size must be an integer of at least {least}, not {size!r}")


def _binomial(size: int) -> Floats:
    """Return a row of Pascal's triangle divided by its sum."""
    return np.array([float(Fraction(comb(size - 1, k), 2 ** (size - 1))) for k in range(size)])


def _unit_vector(angle: float) -> tuple[float, float]:
    """Return the components to the right and up, exact for multiples of 90 degrees."""
    if not abs(angle) < float("inf"):
        raise UsageError(f"angle must be finite, not {angle!r}")
    quarters, rest = divmod(angle % 360, 90)
    right, up = cos(radians(rest)), sin(radians(rest))
    return [(right, up), (-up, right), (-right, -up), (up, -right)][int(quarters) % 4]
