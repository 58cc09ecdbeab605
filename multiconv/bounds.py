"""How far apart right results may be.

A sum of n products, in any order, with or without fused multiply-add, of inputs that are exact in a format with unit
roundoff u, differs from the exact one by at most ``gamma_n * sum |x| |w|``, ``gamma_n = n u / (1 - n u)``: [1]_, eq.
3.5. No tolerance is guessed.

References
----------
.. [1] N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., SIAM 2002, section 3.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]


def unit_roundoff(dtype: npt.DTypeLike) -> float:
    """Half the distance from 1 to the next number.

    Examples
    --------
    >>> unit_roundoff("float32") == 2.0**-24
    True
    """
    return float(np.finfo(dtype).eps) / 2


def gamma(n: int, u: float) -> float:
    """``n u / (1 - n u)``.

    Parameters
    ----------
    n : int
        The number of terms.
    u : float
        The unit roundoff.

    Raises
    ------
    ValueError
        If ``n u >= 1``, where nothing can be said.

    Examples
    --------
    >>> gamma(1, 0.25)
    0.3333333333333333
    """
    if n * u >= 1:
        raise ValueError(f"a sum of {n} terms with unit roundoff {u} has no bound: n * u is {n * u}, not below 1")
    return n * u / (1 - n * u)


def componentwise(magnitude: Floats, n: int, dtype: npt.DTypeLike) -> Floats:
    """The largest error that a right result of sums of n products may have against the oracle.

    Parameters
    ----------
    magnitude : array
        ``sum |x| |w|`` for each element, in the oracle's format.
    n : int
        The number of terms of each sum.
    dtype : str or dtype
        The format of the result.

    Returns
    -------
    array
        The rounding of the result and of the oracle, and ``2 n`` times the smallest normal number, which is what
        products and sums can lose where subnormal numbers are flushed to zero.

    Examples
    --------
    >>> round(float(componentwise(np.array(1.0), 1, "float32") * 2**24), 6)
    1.0
    """
    oracle = gamma(n, unit_roundoff(magnitude.dtype))
    allowed = (gamma(n, unit_roundoff(dtype)) + oracle) * (1 + oracle) * magnitude
    return np.asarray(np.where(magnitude == 0, 0, allowed + 2 * n * float(np.finfo(dtype).tiny)))


def ratios(result: Floats, expected: Floats, bound: Floats) -> Floats:
    """The errors in units of their bounds; infinity where none is allowed, and where a number should be and none is.

    Examples
    --------
    >>> ratios(np.array([1.0, 3.0, np.nan]), np.array([1.0, 2.0, 1.0]), np.array([0.0, 4.0, 1.0]))
    array([0.  , 0.25,  inf])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.abs(result.astype(expected.dtype) - expected)
        ratio = np.where(error == 0, 0, error / bound)
    return np.asarray(np.where(np.isnan(ratio), np.inf, ratio))
