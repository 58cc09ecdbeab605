"""Laws of the algebra of full convolution: commutativity and associativity. They detect a flipped kernel too."""

from __future__ import annotations

from collections.abc import Callable

from multiconv.core.types import Host
from multiconv.oracle.laws.arrays import channels_of_group, flipped, full_padding, rearranged
from multiconv.oracle.laws.bounded import Bounded, Comparisons, equal
from multiconv.oracle.laws.law import has_images, law
from multiconv.oracle.laws.trial import Trial

MAX_KERNEL_SIZE = 8
"""Images that serve as kernels are cut to this many pixels along each axis, and batches to this many images."""


@law("C(w, x; full) = C(x, w; full) backwards", "cross_correlate", where=has_images)
def _input_and_kernel_exchanged(t: Trial) -> Comparisons:
    x, w = _images_and_kernels(t)
    left, right = (_with_full_padding(t.cross_correlate, a, b) for a, b in ((x, w), (w, x)))
    yield equal(left, right.map(lambda y: flipped(y.swapaxes(0, 1))))


@law("K(w, x; full) = K(x, w; full)", "convolve", where=has_images)
def _commutativity(t: Trial) -> Comparisons:
    x, w = _images_and_kernels(t)
    left, right = (_with_full_padding(t.convolve, a, b) for a, b in ((x, w), (w, x)))
    yield equal(left, right.map(lambda y: y.swapaxes(0, 1)))


@law("K(K(x, w), v) = K(x, K(w, v)), full, of one channel", "convolve")
def _associativity(t: Trial) -> Comparisons:
    x, w, v = t.x[:, :1], t.w[:1, :1], rearranged(t.w)[:1, :1]
    yield equal(
        _with_full_padding(t.convolve, _with_full_padding(t.convolve, x, w), v),
        _with_full_padding(t.convolve, x, _with_full_padding(t.convolve, w, v)),
    )


@law("C(C(x, w), v) = C(x, C(w, v backwards)), full, of one channel", "cross_correlate")
def _associativity_of_correlation(t: Trial) -> Comparisons:
    x, w, v = t.x[:, :1], t.w[:1, :1], rearranged(t.w)[:1, :1]
    correlate = t.cross_correlate
    yield equal(
        _with_full_padding(correlate, _with_full_padding(correlate, x, w), v),
        _with_full_padding(correlate, x, _with_full_padding(correlate, w, flipped(v))),
    )


def _images_and_kernels(t: Trial) -> tuple[Host, Host]:
    """Return the channels of the first group, with images small enough to serve as kernels."""
    ins, outs = channels_of_group(t.g, 0)
    return t.x[(slice(MAX_KERNEL_SIZE), ins, *[slice(MAX_KERNEL_SIZE)] * t.g.ndim)], t.w[outs]


def _with_full_padding(operation: Callable[..., Bounded], x: Host | Bounded, w: Host | Bounded) -> Bounded:
    """Run an operation with full padding, for every output that touches the input, and no other option."""
    sizes = (w.value if isinstance(w, Bounded) else w).shape[2:]
    return operation(x, w, stride=1, padding=full_padding(sizes), dilation=1, groups=1)


@law("K(x, w, b) = C(x, w backwards, b)", "convolve", "cross_correlate")
def _convolution_flips_the_kernel(t: Trial) -> Comparisons:
    yield equal(t.convolve(t.x, t.w, t.bias), t.cross_correlate(t.x, flipped(t.w), t.bias))
