"""Sums of products whose factors may be infinite or NaN.

IEEE 754 defines the result, in any order of summation. It is NaN if a factor is NaN, if infinity is multiplied by zero,
or if the products have infinities of both signs. If they have infinities of one sign only, it is that infinity.

IEEE 754 does not define whether a product exists at all. Where a tap lies on the padding, the definition has no
product. An implementation that multiplies the zeros of the padding has one: zero times NaN, which is NaN. Both are
correct.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from multiconv.core.types import Mask

Wide = npt.NDArray[Any]
SumOfProducts = Callable[[Wide, Wide], Wide]
"""A function that sums products of two arrays, such as `multiconv.oracle.cross_correlate` of x and w."""


class Special(NamedTuple):
    """Sums of products of numbers that may be infinite or NaN.

    Attributes
    ----------
    value : array
        The sums of the products in the definition.
    on_padding : array of bool
        Where an infinite or NaN element of the second factor lies on the padding, so that no element of the first
        factor multiplies it. NaN is as correct as `value` there.
    """

    value: Wide
    on_padding: Mask


def sums(sum_products: SumOfProducts, left: Wide, right: Wide, taps: Callable[[Wide], Wide]) -> Special:
    """Return sums of products of numbers that may be infinite or NaN.

    Parameters
    ----------
    sum_products : callable
        Returns the sums of the products of two arrays.
    left, right : array
        Floating-point arrays.
    taps : callable
        Takes an array like `right` in which some elements are marked with 1. Returns the number of marked elements in
        each sum, including those on the padding. Its result must broadcast with the sums.

    Examples
    --------
    >>> pair = lambda a, b: np.array([a[0] * b[0] + a[1] * b[1], a[1] * b[0]])  # the last tap is on the padding
    >>> sums(pair, np.array([1.0, 2.0]), np.array([3.0, np.nan]), lambda b: b.sum())
    Special(value=array([nan,  6.]), on_padding=array([False,  True]))
    """

    def count(some: Mask, others: Mask) -> Wide:
        return (
            sum_products(some.astype(left.dtype), others.astype(right.dtype)) if some.any() and others.any() else none
        )

    none = np.zeros((), left.dtype)
    everywhere, anywhere = np.ones(left.shape, bool), np.ones(right.shape, bool)
    positive = (left > 0, right > 0)
    negative = (left < 0, right < 0)
    infinite = (np.isinf(left), np.isinf(right))
    up = (left == np.inf, right == np.inf)
    down = (left == -np.inf, right == -np.inf)

    invalid = count(np.isnan(left), anywhere) + count(everywhere, np.isnan(right))
    invalid = invalid + count(infinite[0], right == 0) + count(left == 0, infinite[1])
    plus = count(up[0], positive[1]) + count(down[0], negative[1])
    plus = plus + count(positive[0], up[1]) + count(negative[0], down[1])
    minus = count(up[0], negative[1]) + count(down[0], positive[1])
    minus = minus + count(positive[0], down[1]) + count(negative[0], up[1])

    finite = sum_products(*(np.where(np.isfinite(a), a, 0) for a in (left, right)))
    value = np.where(plus > 0, np.inf, np.where(minus > 0, -np.inf, finite))
    value = np.where((invalid > 0) | ((plus > 0) & (minus > 0)), np.nan, value).astype(left.dtype)
    unbounded = ~np.isfinite(right)
    on_padding = taps(unbounded.astype(right.dtype)) > count(everywhere, unbounded)
    return Special(value, np.broadcast_to(on_padding, value.shape))
