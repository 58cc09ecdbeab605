"""The accuracy of backends side by side: which errs least, and how errors grow with the length of a sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from multiconv.check.results import Report
from multiconv.oracle.accuracy import LEAST_PRODUCTS, Row
from multiconv.oracle.problem import DIRECTIONS

FEWEST_SUMS = 100
"""Number of sums below which a root mean square says little."""
RANGES = ((LEAST_PRODUCTS, 255), (256, 1023), (1024, 1 << 62))
"""Ranges of the number of products, for the terminal."""


@dataclass(frozen=True)
class Comparison:
    """The errors of several backends in one direction and dtype, for sums of similar length.

    Attributes
    ----------
    direction, dtype : str
    products_from, products_to : int
        The smallest and the largest number of products in a sum.
    errors : dict
        The root mean square of each backend's errors, in units of ``u * sum |x| |w|``. A backend with few such sums is
        left out.
    """

    direction: str
    dtype: str
    products_from: int
    products_to: int
    errors: dict[str, float]

    @property
    def best(self) -> str | None:
        """Return the backend with the smallest errors, or None if there are fewer than two."""
        return min(self.errors, key=lambda name: self.errors[name]) if len(self.errors) > 1 else None

    @property
    def length(self) -> str:
        """Return the range of the number of products in words."""
        return f"{self.products_from}+" if self.products_to >= 1 << 30 else f"{self.products_from}-{self.products_to}"


def comparisons(report: Report, ranges: Sequence[tuple[int, int]] = RANGES) -> list[Comparison]:
    """Compare the backends of a report, for each direction, dtype and range of the number of products.

    Examples
    --------
    >>> from multiconv.check.results import BackendReport
    >>> row = Row("forward", "float32", 16, 31, 1000, 0.2, 1.4, 3.0, 0.45, 1.0, 30.0, 99.0)
    >>> numpy = BackendReport("numpy", "2.4.6", "3.11.7", "here", accuracy=[row])
    >>> comparisons(Report([numpy], [], 9, 0, ["float32"]))[0].errors
    {'numpy': 0.45}
    """
    found = []
    for dtype in report.dtypes:
        for direction in DIRECTIONS:
            for least, most in ranges:
                errors = {}
                for b in report.backends:
                    rows = [r for r in _lengths(b.accuracy, direction, dtype) if least <= r.products_from <= most]
                    if sum(r.sums for r in rows) >= FEWEST_SUMS:
                        errors[b.name] = _root_mean_square(rows)
                if errors:
                    found.append(Comparison(direction, dtype, least, most, errors))
    return found


def by_length(report: Report) -> list[Comparison]:
    """Compare the backends of a report, for each direction, dtype and power of two of the number of products."""
    lengths = {(r.products_from, r.products_to) for b in report.backends for r in b.accuracy if r.products_to}
    return comparisons(report, sorted(lengths))


def _lengths(rows: Sequence[Row], direction: str, dtype: str) -> list[Row]:
    """Return the rows of a direction and dtype, without the one over all lengths."""
    return [r for r in rows if (r.direction, r.dtype) == (direction, dtype) and r.products_to]


def _root_mean_square(rows: Sequence[Row]) -> float:
    return sqrt(sum(r.root_mean_square**2 * r.sums for r in rows) / sum(r.sums for r in rows))
