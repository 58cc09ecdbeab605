"""Distinguish lost precision from rounding: errors in units of their standard deviation.

An answer can lie within its a-priori bound and still have lost precision, for example through operands rounded to TF32
or sums kept in half precision. The bound grows with n, the number of products in a sum, while the roundings of a
correct sum mostly cancel.

Take a sum of products p_1 .. p_n, added one after the other in a format with unit roundoff u. Assume that the error of
each operation with result v is uniform between -u|v| and u|v|, with variance ``u^2 v^2 / 3``, and independent of the
others ([1]_, section 2; [2]_). Then the variance of the total error is ``u^2 / 3`` times the sum of the squares of all
intermediate results: the products, ``|p|^2 = sum p_i^2``, and the partial sums s_2 .. s_n. If every order of the
products is equally likely, ``E[s_k^2] = (k / n) |p|^2 + k (k - 1) / (n (n - 1)) (S^2 - |p|^2)``, where S is the whole
sum. Adding these up over the partial sums before the last, with ``S^2`` for the last, gives the variance

``u^2 / 3 * (|p|^2 + (n - 1) (S^2 / 3 + |p|^2 / 6) + S^2)``

This is too large by ``u^2 / 3 * ((S^2 - |p|^2) / 3 + |p|^2 / n)``, about one part in n. Let z be an error divided by
the square root of this variance. The root mean square of z is about 1 for a sequential sum (0.5 to 0.9 measured), and
less for a sum in blocks or in a wider format. With operands rounded to TF32 it is 100 or more.

Roundings are not independent where products repeat: a sum of equal numbers is rounded in the same direction again and
again. There z carries no information, and `independent` returns False.

References
----------
.. [1] N. J. Higham, T. Mary, "A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41 (2019)
   A2815-A2835.
.. [2] P. Henrici, "Discrete Variable Methods in Ordinary Differential Equations", Wiley 1962, section 1.5: local
   rounding errors as independent random variables.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]

MANY = 2.0
"""The root mean square of z over many elements above which precision is lost. Correct sums have at most 0.9."""
ONE = 12.0
"""The same limit for a single element. The largest z of 2 million correct sums was 8.3."""


@dataclass(frozen=True)
class Loss:
    """A loss of precision in part of an answer.

    Attributes
    ----------
    times : float
        The root mean square of z over that part.
    elements : int
        The number of elements in that part.
    where : str
        The part, such as ``"the whole result"`` or ``"index 3 of axis 1"``.
    """

    times: float
    elements: int
    where: str


def deviation(squares: Floats, value: Floats, n: int, u: float) -> Floats:
    """Estimate the standard deviation of the rounding error of sums of n products, to an order of magnitude.

    Parameters
    ----------
    squares : array
        The sum of the squares of the products, for each element.
    value : array
        The sum of the products, for each element.
    n : int
        The number of products in each sum.
    u : float
        The unit roundoff of the format of the sums.

    Examples
    --------
    >>> round(float(deviation(np.array(1.0), np.array(1.0), 1, 3.0)), 3)
    2.449
    """
    variance = squares + (n - 1) * (value**2 / 3 + squares / 6) + value**2
    return np.asarray(u / sqrt(3) * np.sqrt(variance))


def lost(z: Floats, counted: npt.NDArray[np.bool_], distinct: float = 1.0) -> Loss | None:
    """Return where errors are too large for roundings, or None if they are not.

    The root mean square of z is computed over the whole result, and over each index of each axis separately. So the
    rest of the result cannot hide a loss in a single channel or in the last column.

    Parameters
    ----------
    z : array
        Errors in units of their `deviation`.
    counted : array of bool
        The elements to include.
    distinct : float
        The share of elements that are different sums; equal sums have equal errors.

    Examples
    --------
    >>> lost(np.ones((4, 4)), np.ones((4, 4), bool)) is None
    True
    >>> z = np.ones((4, 4))
    >>> z[:, 3] = 40.0
    >>> lost(z, np.ones((4, 4), bool))
    Loss(times=40.0, elements=4, where='index 3 of axis 1')
    """
    squares = np.where(counted, z**2, 0.0)
    if squares.max(initial=0) <= MANY**2:  # no part can be beyond its limit, which is at least MANY
        return None
    worst, found = 1.0, None
    for axis in (None, *range(z.ndim)):
        others = None if axis is None else tuple(a for a in range(z.ndim) if a != axis)
        number = np.atleast_1d(counted.sum(axis=others))
        times = np.atleast_1d(np.sqrt(squares.sum(axis=others) / np.maximum(number, 1)))
        beyond = times / (MANY + (ONE - MANY) / np.sqrt(np.maximum(number * distinct, 1)))
        index = int(beyond.argmax())
        if beyond[index] > worst:
            where = "the whole result" if axis is None else f"index {index} of axis {axis}"
            worst, found = float(beyond[index]), Loss(float(times[index]), int(number[index]), where)
    return found


def independent(n: int, *operands: Floats | None) -> bool:
    """Return whether operands have enough different values for the roundings of their products to be independent.

    The values are counted over the half of each operand's elements with the most frequent values. If one value is
    nearly everywhere, nearly all products are equal.

    Parameters
    ----------
    n : int
        The number of products in a sum.
    *operands : array or None

    Examples
    --------
    >>> independent(9, np.ones(100), np.ones(9)), independent(9, np.ones(100), np.arange(9.0))
    (False, True)
    """
    different = 1
    for operand in operands:
        if operand is not None:
            _, counts = np.unique(np.abs(operand), return_counts=True)
            common = int(np.searchsorted(np.cumsum(np.sort(counts)[::-1]), operand.size / 2)) + 1
            different *= min(2 * common, counts.size)
    return different >= n
