"""Tell lost precision from rounding: errors in units of their standard deviation.

An answer may lie within its a-priori bound and still have lost precision, as from operands rounded to TF32 or from
sums kept in half precision: the bound grows with n, the number of products in a sum, while the roundings of a right
sum mostly cancel.

Take a sum of products p_1 .. p_n in a format with unit roundoff u, one after the other. Let each operation on a result
v err by an amount that is uniform between -u|v| and u|v|, with variance ``u^2 v^2 / 3``, independently of the others
([1]_, section 2; [2]_). Then the variance of the error is ``u^2 / 3`` times the sum of the squares of all intermediate
results: the products, ``|p|^2 = sum p_i^2``, and the partial sums s_2 .. s_n. If every order of the products is as
likely, ``E[s_k^2] = (k / n) |p|^2 + k (k - 1) / (n (n - 1)) (S^2 - |p|^2)``, with S the whole sum. Summed over the
partial sums before the last and with ``S^2`` for the last, the variance is

``u^2 / 3 * (|p|^2 + (n - 1) (S^2 / 3 + |p|^2 / 6) + S^2)``

of which ``u^2 / 3 * ((S^2 - |p|^2) / 3 + |p|^2 / n)`` is too much, about a part in n. An error divided by the root of
it is called z. The root mean square of z is about 1 for a sequential sum (0.5 to 0.9 measured) and less for one in
blocks or in a wider format; operands rounded to TF32 make it 100 and more.

Roundings are not independent where products repeat: a sum of equal numbers is rounded in the same direction over and
over. There z says nothing, and `independent` says so.

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
"""The root mean square of z, over many elements, above which precision is lost: right sums have 0.9 at most."""
ONE = 12.0
"""The same for a single element: the largest z of 2 million right sums was 8.3."""


@dataclass(frozen=True)
class Loss:
    """Where an answer has lost precision.

    Attributes
    ----------
    times : float
        The root mean square of z there.
    elements : int
        The number of elements it was taken over.
    where : str
        Which elements, such as ``"the whole result"`` or ``"index 3 of axis 1"``.
    """

    times: float
    elements: int
    where: str


def deviation(squares: Floats, value: Floats, n: int, u: float) -> Floats:
    """Return the standard deviation of the rounding error of sums of n products, in order of magnitude.

    Parameters
    ----------
    squares : array
        The sum of the squares of the products, for each element.
    value : array
        The sum of the products.
    n : int
        The number of products of each sum.
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

    The root mean square of z is taken over the whole result, and over each index of each axis alone: so a loss in a
    single channel or in the last column is not hidden by the rest.

    Parameters
    ----------
    z : array
        Errors in units of their `deviation`.
    counted : array of bool
        The elements to take into account.
    distinct : float
        The share of elements that are different sums: equal sums have equal errors.

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
    """Return whether operands have values enough for the roundings of their products to be independent.

    Half of the elements must have as many different values as it takes: one value that is nearly everywhere makes
    nearly all products equal.

    Parameters
    ----------
    n : int
        The number of products of a sum.
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
