"""Numbers with a bound on their error, sums of them, and comparisons of two sides of an equation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from multiconv.core import bounds
from multiconv.core.geometry import Geometry
from multiconv.core.types import Host
from multiconv.oracle.judgement import Expected
from multiconv.oracle.laws.arrays import spatial_axes

Comparisons = Iterator[tuple[Host, Expected]]
"""What a law yields: pairs of a left side and what it must equal."""


class NoBound(Exception):
    """No bound holds: a sum could overflow or has too many terms for its format, or an operand is infinite or NaN."""


@dataclass(frozen=True, eq=False)
class Bounded:
    """Numbers, each with a bound on its distance from the exact one."""

    value: Host
    bound: Host

    def map(self, function: Callable[[Host], Host]) -> Bounded:
        """Apply the same rearrangement to the numbers and to their bounds."""
        return Bounded(function(self.value), function(np.broadcast_to(self.bound, self.value.shape)))


def forward_bound(x: Host, w: Host, bias: Host | None, groups: int) -> Host:
    """Return the error bound of each element of ``C(x, w, b)``."""
    terms = prod(w.shape[1:]) + (bias is not None)
    added = None if bias is None else bias.reshape(-1, *[1] * (x.ndim - 2))
    return sum_bound(terms, x.dtype, lambda x, w: forward_magnitude(x, w, groups), x, w, added)


def forward_magnitude(x: Host, w: Host, groups: int) -> Host:
    """Return an upper bound of ``sum x w`` for each image and output channel, for non-negative numbers."""
    largest, taps = x.max(axis=spatial_axes(x)), w.sum(axis=spatial_axes(w))
    batch, (out_channels, in_group) = len(x), taps.shape
    sums: Host = np.einsum(
        "ngc,goc->ngo",
        largest.reshape(batch, groups, in_group),
        taps.reshape(groups, out_channels // groups, in_group),
    )
    return sums.reshape(batch, out_channels, *[1] * (x.ndim - 2))


def kernel_magnitude(dy: Host, x: Host, g: Geometry) -> Host:
    """Return an upper bound of ``sum dy x`` for each pair of channels of a group, for non-negative numbers."""
    totals = dy.sum(axis=spatial_axes(dy)).reshape(g.batch, g.groups, g.out_channels // g.groups)
    largest = x.max(axis=spatial_axes(x)).reshape(g.batch, g.groups, g.in_channels // g.groups)
    sums: Host = np.einsum("ngo,ngc->goc", totals, largest)
    return sums.reshape(*g.w_shape[:2], *[1] * g.ndim)


def sum_bound(
    terms: int,
    dtype: npt.DTypeLike,
    magnitude_of: Callable[[Host, Host], Host],
    left: Host,
    right: Host,
    added: Host | None = None,
) -> Host:
    """Return the error bound of sums of products of these operands; zero if all are integers with exact sums.

    `added`, such as a bias, counts as the last of the terms.
    """
    operands = [left, right, np.zeros((), left.dtype) if added is None else added]
    a, b, c = (np.abs(widened(operand)) for operand in operands)
    magnitude = magnitude_of(a, b) + c
    if np.all(magnitude <= 1 / bounds.unit_roundoff(dtype)) and all(np.all(o == np.rint(o)) for o in operands):
        return np.zeros(magnitude.shape)
    tiny = float(bounds.finfo(dtype).tiny)
    small = [np.where(operand < tiny, operand, 0) for operand in (a, b, c)]
    flushed: Host | float = 0.0
    if any(map(np.any, small)):
        flushed = magnitude_of(small[0], b) + magnitude_of(a, small[1]) + small[2]
    allowed: Host = bounds.componentwise(magnitude, terms, dtype, flushed=flushed)
    if not np.all(np.isfinite(allowed)):
        raise NoBound
    return allowed


def widened(array: Host) -> Host:
    """Convert to a format wide enough for comparisons."""
    return array.astype(np.longdouble if array.dtype.itemsize >= 8 else np.float64)


def error_free(array: Host) -> Bounded:
    """Return given numbers, which have no error."""
    return Bounded(array, np.zeros(array.shape))


def equal(left: Bounded, right: Bounded) -> tuple[Host, Expected]:
    """Compare two sides that must be equal within the sum of their bounds."""
    return left.value, Expected(widened(right.value), left.bound + right.bound, left.value.dtype.name)


def exactly(left: Bounded, right: Host) -> tuple[Host, Expected]:
    """Compare a left side that has no rounding; only subnormal numbers may have been flushed to zero."""
    tiny = float(bounds.finfo(left.value.dtype).tiny)
    value = widened(right)
    return left.value, Expected(value, np.where(np.abs(value) < tiny, np.abs(value), 0), left.value.dtype.name)


def identical(left: Host, right: Host) -> tuple[Host, Expected]:
    """Compare two sides that are rounded alike, and so must be exactly equal."""
    return left, Expected(widened(right), np.zeros(()), left.dtype.name)


def add(a: Bounded, b: Bounded, dtype: npt.DTypeLike | None = None) -> Bounded:
    """Return the sum, in a wide format or in `dtype`."""
    left, right = widened(a.value), widened(b.value)
    total = (left + right).astype(dtype or left.dtype)
    rounding = sum_bound(1, total.dtype, np.multiply, np.ones((), left.dtype), left, right)
    return Bounded(total, a.bound + b.bound + rounding)


def sum_over(a: Bounded, axes: tuple[int, ...]) -> Bounded:
    """Return the sum over these axes, in a wide format."""
    return inner_product(np.ones_like(a.value), a, axes)


def inner_product(given: Host, a: Bounded, axes: tuple[int, ...]) -> Bounded:
    """Return the inner product over these axes, in a wide format."""
    left, right = widened(given), widened(a.value)
    terms = prod(left.shape[axis] for axis in axes)
    rounding = sum_bound(terms, right.dtype, lambda a, b: (a * b).sum(axis=axes), left, right)
    return Bounded((left * right).sum(axis=axes), (np.abs(left) * a.bound).sum(axis=axes) + rounding)
