"""Laws of linearity: sums, multiples, zeros, the bias and the checksum."""

from __future__ import annotations

from math import prod

import numpy as np

from multiconv.core import bounds
from multiconv.core.types import Host, Shape
from multiconv.oracle.laws.arrays import full_padding, rearranged, spatial_axes
from multiconv.oracle.laws.bounded import (
    Bounded,
    Comparisons,
    add,
    equal,
    error_free,
    exactly,
    identical,
    sum_bound,
    sum_over,
    widened,
)
from multiconv.oracle.laws.law import ALWAYS, has_bias, law
from multiconv.oracle.laws.trial import Trial
from multiconv.oracle.problem import Problem


@law("C(x + x', w) = C(x, w) + C(x', w)", "cross_correlate")
def _additivity_in_the_input(t: Trial) -> Comparisons:
    x, other = t.x, rearranged(t.x)
    both = add(error_free(x), error_free(other), x.dtype)
    yield equal(t.cross_correlate(both, t.w), add(t.cross_correlate(x, t.w), t.cross_correlate(other, t.w)))


@law("C(x, w + w') = C(x, w) + C(x, w')", "cross_correlate")
def _additivity_in_the_kernel(t: Trial) -> Comparisons:
    w, other = t.w, rearranged(t.w)
    both = add(error_free(w), error_free(other), w.dtype)
    yield equal(t.cross_correlate(t.x, both), add(t.cross_correlate(t.x, w), t.cross_correlate(t.x, other)))


@law("C(3 x, w) = 3 C(x, w)", "cross_correlate")
def _homogeneity(t: Trial) -> Comparisons:
    thrice = add(error_free(t.x), error_free(t.x * 2), t.x.dtype)
    y = t.cross_correlate(t.x, t.w)
    yield equal(t.cross_correlate(thrice, t.w), add(y, Bounded(y.value * 2, y.bound * 2)))


def _far_from_underflow(problem: Problem) -> bool:
    """Return whether every sum of products, rounded anywhere, is zero or a normal number."""
    eps, tiny = float(bounds.finfo(problem.dtype).eps), float(bounds.finfo(problem.dtype).tiny)

    def step(array: Host | None) -> float:
        """Return a power of two that divides all numbers, or up to twice as much."""
        if array is None or problem.integers or not np.any(array):
            return 1.0
        return float(np.abs(array[array != 0]).min()) * eps

    return step(problem.x) * step(problem.w) >= tiny and step(problem.bias) >= tiny


@law("C(2 x, 4 w, 8 b) = 8 C(x, w, b)", "cross_correlate", exact=ALWAYS, where=_far_from_underflow)
def _power_of_two_scaling(t: Trial) -> Comparisons:
    scaled = t.cross_correlate(t.x * 2, t.w * 4, None if t.bias is None else t.bias * 8)
    yield identical(scaled.value, t.y.value * 8)


@law("C(-x, w, -b) = -C(x, w, b) = C(x, -w, -b)", "cross_correlate", exact=ALWAYS)
def _sign_symmetry(t: Trial) -> Comparisons:
    bias = None if t.bias is None else -t.bias
    negated = -t.y.value
    yield identical(t.cross_correlate(-t.x, t.w, bias).value, negated)
    yield identical(t.cross_correlate(t.x, -t.w, bias).value, negated)


@law("C(0, w, b) = b", "cross_correlate", exact=ALWAYS)
def _zero_input(t: Trial) -> Comparisons:
    yield exactly(t.cross_correlate(np.zeros_like(t.x), t.w, t.bias), _bias_everywhere(t.bias, t.g.y_shape))


@law("C(x, 0, b) = b", "cross_correlate", exact=ALWAYS)
def _zero_kernel(t: Trial) -> Comparisons:
    yield exactly(t.cross_correlate(t.x, np.zeros_like(t.w), t.bias), _bias_everywhere(t.bias, t.g.y_shape))


@law("T(0, w, b) = b", "conv_transpose", exact=ALWAYS)
def _transposed_zero_input(t: Trial) -> Comparisons:
    yield exactly(t.conv_transpose(np.zeros_like(t.dy), t.w, t.x_bias), _bias_everywhere(t.x_bias, t.g.x_shape))


@law("C(x, w, b) = C(x, w) + b", "cross_correlate", where=has_bias)
def _bias_added_to_each_channel(t: Trial) -> Comparisons:
    yield equal(t.y, add(t.cross_correlate(t.x, t.w), error_free(_bias_everywhere(t.bias, t.g.y_shape))))


@law("sum of C(x, w; full, s = 1) = sum over c of (sum of x[c]) (sum of w[c])", "cross_correlate")
def _checksum(t: Trial) -> Comparisons:
    y = t.cross_correlate(t.x, t.w, stride=1, padding=full_padding(t.g.extent))
    yield equal(sum_over(y, spatial_axes(t.x)), _product_of_sums(t.x, t.w, t.g.groups))


def _product_of_sums(x: Host, w: Host, groups: int) -> Bounded:
    def product(pixels: Host, taps: Host) -> Host:
        sums = pixels.sum(axis=spatial_axes(x)).reshape(len(x), groups, w.shape[1])
        totals = taps.sum(axis=spatial_axes(w)).reshape(groups, -1, w.shape[1])
        products: Host = np.einsum("ngc,goc->ngo", sums, totals)
        return products.reshape(len(x), len(w))

    pixels, taps = widened(x), widened(w)
    roundings = prod(x.shape[2:]) + prod(w.shape[1:])
    return Bounded(product(pixels, taps), sum_bound(roundings, pixels.dtype, product, pixels, taps))


def _bias_everywhere(bias: Host | None, shape: Shape) -> Host:
    """Return a result that equals its bias everywhere."""
    return np.zeros(shape) if bias is None else np.broadcast_to(bias.reshape(-1, *[1] * (len(shape) - 2)), shape)
