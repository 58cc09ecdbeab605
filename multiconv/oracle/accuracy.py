"""How accurate answers are: statistics of their errors, which say more than that the errors are within a bound.

An error is measured in two units. One is ``u * sum |x| |w|``, where u is the unit roundoff of the dtype, and the sum is
over the products behind the element. In this unit, the error of a sum does not depend on the size of its terms. A
sequential sum of n normally distributed products has a root mean square of about 0.45 at every n, and a sum in blocks
or in a wider format has less. The other unit is the spacing of the dtype's numbers at the correct result (ulp). There a
result that is small by cancellation has a large error.

Sums of fewer than 16 products are left out. Their errors are one or two roundings, on every framework.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from multiconv.core import bounds
from multiconv.core.types import Host, Mask

LEAST_PRODUCTS = 16
BINS_PER_OCTAVE = 32
"""A quantile is exact to half a bin, 1.1 %."""
SMALLEST_EXPONENT, LARGEST_EXPONENT = -40, 70


@dataclass(frozen=True, eq=False)
class Sums:
    """The sums behind the elements of a result.

    Attributes
    ----------
    magnitude : array
        The sum of the absolute values of the products (and of the bias), element by element.
    products : array of int
        The number of products, without those on the padding. It can be broadcast to the result.
    counted : array of bool
        The elements whose error is due to rounding. Elsewhere, underflow may matter as much.
    """

    magnitude: Host
    products: npt.NDArray[np.int_]
    counted: Mask


class Errors:
    """Statistics of errors, which can be added to and merged. They take the same memory for any number of errors.

    Examples
    --------
    >>> errors = Errors()
    >>> errors.add(np.array([0.0, 0.5, 0.5, 2.0]))
    >>> errors.count, errors.largest, round(errors.root_mean_square, 3)
    (4, 2.0, 1.061)
    >>> round(errors.quantile(0.5), 1)
    0.5
    """

    def __init__(self) -> None:
        self.count = 0
        self.zeros = 0
        self.largest = 0.0
        self.squares = 0.0
        self.bins = np.zeros((LARGEST_EXPONENT - SMALLEST_EXPONENT) * BINS_PER_OCTAVE, np.int64)

    def add(self, errors: npt.NDArray[np.float64]) -> None:
        """Add absolute errors, all finite."""
        positive = errors[errors > 0]
        self.count += errors.size
        self.zeros += errors.size - positive.size
        if positive.size:
            self.largest = max(self.largest, float(positive.max()))
            self.squares += float(np.square(positive).sum())
            number = (np.log2(positive) - SMALLEST_EXPONENT) * BINS_PER_OCTAVE
            self.bins += np.bincount(number.clip(0, self.bins.size - 1).astype(np.intp), minlength=self.bins.size)

    def merge(self, other: Errors) -> None:
        """Add all errors of another object."""
        self.count += other.count
        self.zeros += other.zeros
        self.largest = max(self.largest, other.largest)
        self.squares += other.squares
        self.bins += other.bins

    @property
    def root_mean_square(self) -> float:
        """Return the root of the mean of the squared errors."""
        return sqrt(self.squares / self.count) if self.count else 0.0

    def quantile(self, share: float) -> float:
        """Return the error that this share of the errors does not exceed, to 1.1 %."""
        rank = share * self.count - self.zeros
        if rank <= 0:
            return 0.0
        number = int(np.searchsorted(np.cumsum(self.bins), rank))
        return min(float(2 ** (SMALLEST_EXPONENT + (number + 0.5) / BINS_PER_OCTAVE)), self.largest)


class Class(NamedTuple):
    """The answers whose errors are put together."""

    direction: str
    dtype: str
    products: int
    """The largest power of two that is not above the number of products."""


@dataclass(frozen=True)
class Row:
    """The accuracy of the answers in one direction and dtype, for sums of similar length.

    Errors are in units of ``u * sum |x| |w|``; those that end in ``ulps`` are in units of the spacing of the dtype's
    numbers at the correct result.

    Attributes
    ----------
    direction, dtype : str
    products_from, products_to : int
        The smallest and the largest number of products in a sum. The upper end is 0 in the row over all lengths.
    sums : int
        Number of sums, which are elements of results.
    median, percentile_99, largest, root_mean_square : float
    median_ulps, percentile_99_ulps, largest_ulps : float
    """

    direction: str
    dtype: str
    products_from: int
    products_to: int
    sums: int
    median: float
    percentile_99: float
    largest: float
    root_mean_square: float
    median_ulps: float
    percentile_99_ulps: float
    largest_ulps: float


class Accuracy:
    """The errors of a backend's answers, by direction, dtype and number of products.

    Examples
    --------
    >>> accuracy = Accuracy()
    >>> sums = Sums(np.full(3, 100.0), np.array([20, 20, 2]), np.ones(3, bool))
    >>> accuracy.add("forward", np.float32([1, 2, 3]), np.array([1.0, 2.0, 4.0]), sums)
    >>> accuracy.rows()[0].sums, accuracy.share_of_bound
    (2, 0.0)
    """

    def __init__(self) -> None:
        self.errors: dict[Class, tuple[Errors, Errors]] = {}
        self.share_of_bound = 0.0

    def add(self, direction: str, answer: Host, right: Host, sums: Sums, bound: Any = inf) -> None:
        """Add the errors of an answer that was judged to be correct.

        Parameters
        ----------
        direction : str
        answer : array
        right : array
            The correct result, in a wider format.
        sums : Sums
        bound : array or float
            The largest error allowed.
        """
        products = np.broadcast_to(sums.products, right.shape)
        counted = sums.counted & (products >= LEAST_PRODUCTS) & np.isfinite(answer)
        if not counted.any():
            return
        products, right = products[counted], right[counted]
        error = np.abs(answer[counted].astype(right.dtype) - right)
        share = error / np.broadcast_to(bound, counted.shape)[counted]
        self.share_of_bound = max(self.share_of_bound, float(share.max()))
        dtype = answer.dtype.name
        of_magnitude = error / (bounds.unit_roundoff(dtype) * sums.magnitude[counted])
        ulps = error / spacing(right, dtype)
        exponents = np.frexp(products)[1] - 1
        for exponent in np.unique(exponents):
            where = exponents == exponent
            key = Class(direction, dtype, 2 ** int(exponent))
            both = self.errors.setdefault(key, (Errors(), Errors()))
            both[0].add(of_magnitude[where].astype(np.float64))
            both[1].add(ulps[where].astype(np.float64))

    def rows(self) -> list[Row]:
        """Return the statistics by number of products, and after these the ones over all."""
        totals: dict[Class, tuple[Errors, Errors]] = {}
        for key, both in self.errors.items():
            total = totals.setdefault(key._replace(products=0), (Errors(), Errors()))
            for whole, part in zip(total, both):
                whole.merge(part)
        return [_row(key, *self.errors[key]) for key in sorted(self.errors)] + [
            _row(key, *totals[key]) for key in sorted(totals)
        ]


def spacing(right: Host, dtype: str) -> Host:
    """Return the distance between numbers of a dtype at the correct results, in the format of the results.

    Examples
    --------
    >>> spacing(np.array([1.0, 1.5, 2.0]), "float32") * 2.0**23
    array([1., 1., 2.])
    """
    info = bounds.finfo(dtype)
    exponent = np.where(right == 0, info.minexp, np.frexp(right)[1] - 1)
    return np.asarray(np.ldexp(np.ones_like(right), np.maximum(exponent, info.minexp) - info.nmant))


def _row(key: Class, errors: Errors, ulps: Errors) -> Row:
    return Row(
        key.direction, key.dtype, key.products or LEAST_PRODUCTS, max(2 * key.products - 1, 0), errors.count,
        *(errors.quantile(0.5), errors.quantile(0.99), errors.largest, errors.root_mean_square),
        *(ulps.quantile(0.5), ulps.quantile(0.99), ulps.largest),
    )  # fmt: skip
