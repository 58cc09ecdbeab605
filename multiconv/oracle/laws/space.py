"""Laws of the spatial axes: translation, stride, dilation, padding, symmetry and locality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from multiconv.core.geometry import Geometry
from multiconv.core.types import Host
from multiconv.oracle.laws.arrays import (
    Index,
    crop,
    every,
    flipped,
    full_padding,
    index_of_largest,
    leading,
    outputs_that_see,
    padded,
    spatial_axes,
)
from multiconv.oracle.laws.bounded import Bounded, Comparisons, equal, error_free, sum_bound, widened
from multiconv.oracle.laws.law import has_images, law
from multiconv.oracle.laws.trial import Trial


@law("C(x moved by s)[i + 1] = C(x)[i]", "cross_correlate", where=lambda p: any(_movable(p.geometry)))
def _translation_by_the_stride(t: Trial) -> Comparisons:
    # Pixels that would move out of the input are set to zero.
    steps = [s if movable else 0 for s, movable in zip(t.g.stride, _movable(t.g))]
    kept = padded(t.x[leading(tuple(n - s for n, s in zip(t.g.size, steps)))], [(0, s) for s in steps])
    moved = np.roll(kept, steps, spatial_axes(t.x))
    later = (slice(None), slice(None), *(slice(bool(s), None) for s in steps))
    earlier = leading(tuple(o - bool(s) for o, s in zip(t.g.out, steps)))
    y, y_moved = (t.cross_correlate(x, t.w, t.bias) for x in (kept, moved))
    yield equal(y_moved.map(lambda a: a[later]), y.map(lambda a: a[earlier]))


def _movable(g: Geometry) -> list[bool]:
    return [s < n and o > 1 for s, n, o in zip(g.stride, g.size, g.out)]


@law("C(x, w; s) = every s-th of C(x, w; 1)", "cross_correlate", where=lambda p: max(p.geometry.stride) > 1)
def _stride_is_subsampling(t: Trial) -> Comparisons:
    dense = t.cross_correlate(t.x, t.w, t.bias, stride=1)
    yield equal(t.y, dense.map(lambda y: y[every(t.g.stride)]))


@law(
    "C(x, w; d) = C(x, w with d - 1 zeros between its taps; 1)",
    "cross_correlate",
    where=lambda p: any(d > 1 and k > 1 for d, k in zip(p.geometry.dilation, p.geometry.kernel)),
)
def _dilated_kernel(t: Trial) -> Comparisons:
    spread = np.zeros((*t.w.shape[:2], *t.g.extent), t.w.dtype)
    spread[every(t.g.dilation)] = t.w
    yield equal(t.y, t.cross_correlate(t.x, spread, t.bias, dilation=1))


@law("C(x, w) = C(x, w with a zero after its last tap; d more zeros after x)", "cross_correlate")
def _zero_tap(t: Trial) -> Comparisons:
    longer = padded(t.w, [(0, 1)] * t.g.ndim)
    pads = tuple((before, after + d) for (before, after), d in zip(t.g.pads, t.g.dilation))
    yield equal(t.y, t.cross_correlate(t.x, longer, t.bias, padding=pads))


@law(
    "C(x, w; p) = C(x with its zeros around it, w; 0)",
    "cross_correlate",
    where=lambda p: any(map(any, p.geometry.pads)),
)
def _padded_input(t: Trial) -> Comparisons:
    yield equal(t.y, t.cross_correlate(padded(t.x, t.g.pads), t.w, t.bias, padding=0))


@law(
    "C(x, w; a number or a word) = C(x, w; the pairs that it stands for)",
    "cross_correlate",
    where=lambda p: p.spec.padding != p.geometry.pads,
)
def _padding_in_other_words(t: Trial) -> Comparisons:
    yield equal(t.cross_correlate(t.x, t.w, t.bias, padding=t.problem.spec.padding), t.y)


@law(
    "C(x, w; s = 1, p) = the inside of C(x, w; s = 1, full)",
    "cross_correlate",
    where=lambda p: all(max(pads) < e for pads, e in zip(p.geometry.pads, p.geometry.extent)),
)
def _full_holds_every_padding(t: Trial) -> Comparisons:
    full, some = (
        t.cross_correlate(t.x, t.w, t.bias, stride=1, padding=pads) for pads in (full_padding(t.g.extent), t.g.pads)
    )
    inside = crop(some.value.shape[2:], [e - 1 - before for e, (before, _) in zip(t.g.extent, t.g.pads)])
    yield equal(some, full.map(lambda y: y[inside]))


@law("C(x, u v^T) = C(C(x, u), v^T), of one channel", "cross_correlate", where=lambda p: p.geometry.ndim > 1)
def _separable_kernel(t: Trial) -> Comparisons:
    g, x = t.g, t.x[:, :1]
    lines = [_line(t.w[:1, :1], axis) for axis in range(g.ndim)]
    passed = error_free(x)
    for axis, line in enumerate(lines):

        def along(values: Sequence[Any], neutral: Any, axis: int = axis) -> tuple[Any, ...]:
            return tuple(value if other == axis else neutral for other, value in enumerate(values))

        stride, pads, dilation = along(g.stride, 1), along(g.pads, (0, 0)), along(g.dilation, 1)
        passed = t.cross_correlate(passed, line, stride=stride, padding=pads, dilation=dilation, groups=1)
    yield equal(t.cross_correlate(x, _outer(lines), groups=1), passed)


def _line(kernel: Host, axis: int) -> Host:
    """Return the taps along an axis through the largest tap."""
    through: Index = tuple(
        slice(None) if a == 2 + axis else slice(i, i + 1) for a, i in enumerate(index_of_largest(kernel))
    )
    return kernel[through]


def _outer(lines: Sequence[Host]) -> Bounded:
    product, dtype = lines[0], lines[0].dtype
    error = np.zeros(())
    for line in lines[1:]:
        left, right = widened(product), widened(line)
        rounding = sum_bound(1, dtype, np.multiply, left, right)
        product, error = (left * right).astype(dtype), error * np.abs(right) + rounding
    return Bounded(product, error)


@law("C(x^T, w^T) = C(x, w)^T, spatial axes in reverse order", "cross_correlate", where=lambda p: p.geometry.ndim > 1)
def _spatial_transposition(t: Trial) -> Comparisons:
    g = t.g

    def transposed(array: Host) -> Host:
        return array.transpose(0, 1, *reversed(spatial_axes(array)))

    options = {"stride": g.stride[::-1], "padding": g.pads[::-1], "dilation": g.dilation[::-1]}
    yield equal(t.cross_correlate(transposed(t.x), transposed(t.w), t.bias, **options), t.y.map(transposed))


@law("C(x backwards, w backwards) = C(x, w) backwards, where every pixel is seen", "cross_correlate")
def _reflection(t: Trial) -> Comparisons:
    g = t.g
    seen = tuple((o - 1) * s + e for o, s, e in zip(g.out, g.stride, g.extent))
    x = padded(t.x, g.pads)[leading(seen)]
    yield equal(t.cross_correlate(flipped(x), flipped(t.w), t.bias, padding=0), t.y.map(flipped))


@law("C(x, w) is the same where it does not see a pixel, whatever that pixel is", "cross_correlate", where=has_images)
def _locality(t: Trial) -> Comparisons:
    place = index_of_largest(t.x)
    changed = t.x.copy()
    changed[place] = 0 if t.x[place] else 1
    elsewhere = ~outputs_that_see(t.g, place)
    yield equal(t.cross_correlate(changed, t.w, t.bias).map(lambda y: y[elsewhere]), t.y.map(lambda y: y[elsewhere]))
