"""Describe what kernels do, from their numbers."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from multiconv.core.errors import UsageError
from multiconv.lessons.kernels import frequency, moments, structure
from multiconv.lessons.kernels.description import KernelDescription
from multiconv.lessons.kernels.entries import as_array, entries, simplified

ROUNDINGS = 8
"""Roundings of an entry computed by a formula: a function, a product, a sum and a quotient, times two."""


def describe(kernel: Any, *, tolerance: float = 0.0) -> KernelDescription:
    """Describe what a kernel does, from its numbers.

    `multiconv.lessons.kernels` says how each part is decided.

    Parameters
    ----------
    kernel : array-like of real numbers, shape (w,) or (h, w)
        Integers, fractions and floats.
    tolerance : float
        For a measured or learned kernel: a sum also vanishes if it is at most this fraction of the sum of its terms'
        magnitudes.

    Returns
    -------
    KernelDescription

    Raises
    ------
    UsageError
        If `kernel` is not such an array, is empty, or has an element that is not finite; or if `tolerance` is not in
        [0, 1).

    Examples
    --------
    >>> sobel = describe([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    >>> sobel.band, sobel.order, sobel.direction, sobel.derivative_gain, sobel.dc_gain
    ('band-pass', 1, 0.0, 8.0, 0)
    >>> sobel.factors
    ((1, 2, 1), (-1, 0, 1))
    >>> describe([[0, 1, 0], [1, -4, 1], [0, 1, 0]]).derivative
    'Laplacian'
    """
    if not 0 <= tolerance < 1:
        raise UsageError(f"tolerance must be in [0, 1), not {tolerance!r}")
    given, u = entries(kernel)
    slack = max(Fraction(tolerance), Fraction(ROUNDINGS * u / (1 - ROUNDINGS * u)))
    largest = max(abs(k) for row in given for k in row)
    shape = (len(given), len(given[0]))
    if largest == 0:
        return KernelDescription(shape)
    rows = [[k / largest for k in row] for row in given]
    core, (top, left) = structure.without_zero_edges(rows, slack)
    scale = float(largest)
    dc_gain = sum((k for row in given for k in row), Fraction(0))
    magnitudes = frequency.magnitudes(rows)
    single = len(core) == len(core[0]) == 1
    shift = (float(top - Fraction(shape[0] - 1, 2)), float(left - Fraction(shape[1] - 1, 2))) if single else None
    order, derivative, direction, gain = moments.derivative(rows, slack)
    half_turn, left_right, up_down = structure.symmetries(core, slack)
    smoothing = not single and all(k >= -slack for row in rows for k in row)
    factors = structure.factors(given, slack)
    return KernelDescription(
        shape=shape,
        dc_gain=float(dc_gain) if u else simplified(dc_gain),
        band=frequency.band(frequency.power_profile(core, magnitudes)),
        peak_gain=float(magnitudes.max()) * scale,
        peak_frequency=frequency.peak_frequency(magnitudes),
        order=order,
        derivative=derivative,
        direction=direction,
        derivative_gain=None if gain is None else gain * scale,
        smoothing=smoothing,
        spread=moments.standard_deviations(rows) if smoothing else None,
        sharpening=order == 0 and dc_gain > 0 and half_turn == "symmetric" and frequency.exceeds_mean(magnitudes),
        shift=shift,
        identity=shift == (0, 0) and abs(dc_gain - 1) <= slack,
        isotropic=structure.isotropic(core, slack),
        anisotropy=frequency.anisotropy(magnitudes),
        separable=factors is not None,
        factors=factors,
        half_turn=half_turn,
        left_right=left_right,
        up_down=up_down,
        exact=slack == 0,
    )


def describe_all(kernels: Any, *, tolerance: float = 0.0) -> list[KernelDescription]:
    """Describe each kernel of a stack, such as the weight of a layer.

    Parameters
    ----------
    kernels : array-like of real numbers, shape (..., h, w)
    tolerance : float
        As for `describe`.

    Raises
    ------
    UsageError
        If `kernels` has fewer than three axes or is empty, or if an element of the stack is not a valid kernel.

    Examples
    --------
    >>> [d.band for d in describe_all([[[1, 1]], [[-1, 1]]])]
    ['low-pass', 'high-pass']
    """
    stack = as_array(kernels)
    if stack.ndim < 3 or stack.size == 0:
        raise UsageError(
            f"a stack of kernels must have at least three axes, none of them empty, but its shape is {stack.shape}"
        )
    return [describe(kernel, tolerance=tolerance) for kernel in stack.reshape(-1, *stack.shape[-2:])]
