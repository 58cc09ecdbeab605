"""Metamorphic laws: relations that must hold between a backend's own answers. They need no oracle.

A law runs a backend on a problem and on variants of it, and compares the answers. For example, a kernel with zeros
between its taps must give the same result as a dilation. The statements of the laws use these symbols:

- C is `cross_correlate`, K is `convolve` and T is `conv_transpose`.
- dx, dw and db are the results of `cross_correlate_vjp`.
- k is the kernel's size.
- s, d and p are the stride, the dilation and the number of zeros before the input.
- b is the bias. Where C has no b, it is called without a bias.

Each answer comes with the a-priori bound of `multiconv.core.bounds`. Two answers that should be equal may differ by the
sum of their bounds. A bound contains ``sum |x| |w|``. This sum is estimated from above, with NumPy alone, by the
largest pixel of each channel times the sum of its taps. Sums of integers that the format holds must be exact, so their
bound is zero.

References
----------
T. Y. Chen et al., "Metamorphic testing: a review of challenges and opportunities", ACM Computing Surveys 51(1), 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from multiconv.core import bounds
from multiconv.core.backend import Backend
from multiconv.core.spec import LAYOUTS, ConvSpec, Geometry
from multiconv.core.types import Host, Shape
from multiconv.oracle.judgement import Expected, Judgement, judge
from multiconv.oracle.problem import Problem

Index = tuple[Any, ...]

ALWAYS = "always"
INTEGERS = "small integers"

LARGEST_SWAPPED = 8


@dataclass(frozen=True, eq=False)
class Law:
    """A relation that must hold between the answers of a correct backend.

    Attributes
    ----------
    name : str
    statement : str
        The formula.
    uses : frozenset of str
        The methods of `Backend` that it calls, besides `asarray` and `to_numpy`.
    exact : str
        `ALWAYS` if both sides must be exactly equal for all values. `INTEGERS` if they must be exactly equal where
        every sum is one of integers that the format holds; elsewhere they may differ by the sum of their bounds.
    applies : callable
        Returns whether the law applies to a problem, given its options, shapes and values.
    compare : callable
        Yields the comparisons of the law.

    Examples
    --------
    >>> law = next(law for law in LAWS if law.name == "dilated kernel")
    >>> law.statement, law.exact, sorted(law.uses)
    ('C(x, w; d) = C(x, w with d - 1 zeros between its taps; 1)', 'small integers', ['cross_correlate'])
    """

    name: str
    statement: str
    uses: frozenset[str]
    exact: str
    applies: Callable[[Problem], bool]
    compare: Callable[[_Trial], Iterator[tuple[Host, Expected]]]

    def judge(self, backend: Backend, problem: Problem) -> Judgement | None:
        """Judge whether the law holds for a backend on a problem.

        Parameters
        ----------
        backend : Backend
        problem : Problem

        Returns
        -------
        Judgement or None
            The worst of its comparisons. Its index is that of an array with its channels first, or of an inner product.
            The result is None if the law does not apply to the options, if a value is infinite or NaN, if a sum could
            overflow, or if a sum has too many terms for its format to have a bound.

        Raises
        ------
        Exception
            Any exception that the backend raises.

        Examples
        --------
        >>> from multiconv import ConvSpec, backend
        >>> from multiconv.testing.strategies import given_values
        >>> problem = given_values("mine", ConvSpec(dilation=2), np.ones((1, 1, 5)), np.ones((1, 1, 2)))
        >>> law = next(law for law in LAWS if law.name == "dilated kernel")
        >>> law.judge(backend("numpy"), problem).ratio
        0.0
        >>> law.judge(backend("numpy"), given_values("mine", ConvSpec(), problem.x, problem.w)) is None
        True
        """
        if not self.applies(problem):
            return None
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # overflowed values are not compared
                judgements = [judge(left, right) for left, right in self.compare(_Trial(backend, problem))]
        except _NothingPromised:
            return None
        except _Wrong as wrong:
            judgements = [wrong.judgement]
        worst = max(judgements, key=lambda judgement: (judgement.fault is not None, judgement.ratio))
        return worst if worst.fault is None else replace(worst, fault=f"{self.statement}: {worst.fault}")


class _NothingPromised(Exception):
    """No bound holds: a sum could overflow or has too many terms for its format, or an operand is infinite or NaN."""


class _Wrong(Exception):
    """An answer is wrong by itself: it has the wrong shape or dtype, or it is infinite or NaN."""

    def __init__(self, judgement: Judgement) -> None:
        self.judgement = judgement


# ---- Answers with their bounds


@dataclass(frozen=True, eq=False)
class _Bounded:
    """Numbers, each with a bound on its distance from the exact one."""

    value: Host
    bound: Host

    def map(self, function: Callable[[Host], Host]) -> _Bounded:
        """Apply the same rearrangement to the numbers and to their bounds."""
        return _Bounded(function(self.value), function(np.broadcast_to(self.bound, self.value.shape)))


class _Trial:
    """A backend run on a problem: arrays are channels first, padding is in pairs, and answers have their bounds."""

    def __init__(self, backend: Backend, problem: Problem) -> None:
        self.backend, self.problem = backend, problem
        self.g = g = problem.geometry.with_layout(channels_last=False).within_reach()
        self.spec = replace(problem.spec, stride=g.stride, padding=g.pads, dilation=g.dilation)
        self.x, self.dy = (_channels_first(a, problem.spec) for a in (problem.x, problem.dy))
        self.w, self.bias, self.x_bias = problem.w, problem.bias, problem.x_bias

    @cached_property
    def y(self) -> _Bounded:
        """Return the answer to the problem itself."""
        return self.cross_correlate(self.x, self.w, self.bias)

    def cross_correlate(
        self, x: Host | _Bounded, w: Host | _Bounded, bias: Host | None = None, **changes: Any
    ) -> _Bounded:
        return self._weighted(self.backend.cross_correlate, x, w, bias, replace(self.spec, **changes))

    def convolve(self, x: Host | _Bounded, w: Host | _Bounded, bias: Host | None = None, **changes: Any) -> _Bounded:
        return self._weighted(self.backend.convolve, x, w, bias, replace(self.spec, **changes))

    def layer(self, x: Host, w: Host, bias: Host | None, spec: ConvSpec) -> _Bounded:
        def call(x: Host, w: Host, bias: Host | None, **options: Any) -> Any:
            return self.backend.layer(w, bias, **options)(self.backend.asarray(x))

        return self._weighted(call, x, w, bias, spec)

    def conv_transpose(self, y: Host, w: Host, bias: Host | None = None) -> _Bounded:
        g = self.g
        bound = _forward_bound(y, _channels_swapped(w, g.groups), bias, g.groups)
        answer = self.backend.conv_transpose(
            _laid_out(y, self.spec), w, bias, **_options(self.spec), output_padding=g.output_padding
        )
        return _Bounded(self._checked(answer, g.x_shape, self.spec), bound)

    def gradients(self, dy: Host) -> tuple[_Bounded, _Bounded, _Bounded]:
        """Return dx, dw and db; db is empty if there is no bias."""
        g, dtype, bias = self.g, self.problem.dtype, self.bias
        terms = g.batch * prod(g.out)
        dx_bound = _forward_bound(dy, _channels_swapped(self.w, g.groups), None, g.groups)
        dw_bound = _bound(terms, dtype, lambda dy, x: _kernel_magnitude(dy, x, g), dy, self.x)
        db_bound = _bound(terms, dtype, lambda dy, one: (dy * one).sum(axis=(0, *_spatial(dy))), dy, np.ones(()))
        dx, dw, db = self.backend.cross_correlate_vjp(
            _laid_out(self.x, self.spec), self.w, bias, _laid_out(dy, self.spec), **_options(self.spec)
        )
        return (
            _Bounded(self._checked(dx, g.x_shape, self.spec), dx_bound),
            _Bounded(self._checked(dw, g.w_shape), dw_bound),
            _Bounded(np.zeros(0, dtype), np.zeros(0))
            if bias is None
            else _Bounded(self._checked(db, bias.shape), db_bound),
        )

    def unbounded(self, x: Host) -> Host:
        """Return the answer to the problem with another input, which may be infinite or NaN."""
        answer = self.backend.cross_correlate(_laid_out(x, self.spec), self.w, self.bias, **_options(self.spec))
        return self._formed(answer, self.g.y_shape, self.spec)

    def _weighted(
        self, call: Callable[..., Any], x: Host | _Bounded, w: Host | _Bounded, bias: Host | None, spec: ConvSpec
    ) -> _Bounded:
        """Return an answer with its bound: its own rounding plus the propagated errors of its operands."""
        pixels, taps = (a.map(lambda b: b) if isinstance(a, _Bounded) else _given(a) for a in (x, w))
        bound = _forward_bound(pixels.value, taps.value, bias, spec.groups)
        if np.any(pixels.bound):
            bound = bound + _magnitude(pixels.bound, np.abs(_wide(taps.value)), spec.groups)
        if np.any(taps.bound):
            bound = bound + _magnitude(np.abs(_wide(pixels.value)) + pixels.bound, taps.bound, spec.groups)
        shape = replace(spec, layout=None).resolve(pixels.value.shape, taps.value.shape).y_shape
        answer = call(
            _laid_out(pixels.value, spec), _plain(taps.value), None if bias is None else _plain(bias), **_options(spec)
        )
        return _Bounded(self._checked(answer, shape, spec), bound)

    def _checked(self, answer: Any, shape: Shape, spec: ConvSpec | None = None) -> Host:
        """Return the answer of `_formed` if it is finite, which it must be where no sum can overflow."""
        host = self._formed(answer, shape, spec)
        if not np.all(np.isfinite(host)):
            index = tuple(int(i) for i in np.argwhere(~np.isfinite(host))[0])
            fault = f"element {list(index)} is {host[index]!s}, but no sum can overflow"
            raise _Wrong(Judgement(np.inf, fault, index))
        return host

    def _formed(self, answer: Any, shape: Shape, spec: ConvSpec | None = None) -> Host:
        """Return the answer as a NumPy array, channels first, if it has this shape and the problem's dtype.

        `spec` gives the layout of a data array. It is None for weights.
        """
        host = self.backend.to_numpy(answer)
        if spec is not None and spec.channels_last:
            shape = (shape[0], *shape[2:], shape[1])
        if host.shape != shape or host.dtype.name != self.problem.dtype:
            raise _Wrong(judge(host, Expected(np.zeros(shape), np.zeros(()), self.problem.dtype)))
        return host if spec is None else _channels_first(host, spec)


def _forward_bound(x: Host, w: Host, bias: Host | None, groups: int) -> Host:
    """Return the error bound of each element of ``C(x, w, b)``."""
    terms = prod(w.shape[1:]) + (bias is not None)
    added = None if bias is None else bias.reshape(-1, *[1] * (x.ndim - 2))
    return _bound(terms, x.dtype, lambda x, w: _magnitude(x, w, groups), x, w, added)


def _magnitude(x: Host, w: Host, groups: int) -> Host:
    """Return an upper bound of ``sum x w`` for each image and output channel, for non-negative numbers."""
    largest, taps = x.max(axis=_spatial(x)), w.sum(axis=_spatial(w))
    batch, (out_channels, in_group) = len(x), taps.shape
    sums: Host = np.einsum(
        "ngc,goc->ngo",
        largest.reshape(batch, groups, in_group),
        taps.reshape(groups, out_channels // groups, in_group),
    )
    return sums.reshape(batch, out_channels, *[1] * (x.ndim - 2))


def _kernel_magnitude(dy: Host, x: Host, g: Geometry) -> Host:
    """Return an upper bound of ``sum dy x`` for each pair of channels of a group, for non-negative numbers."""
    totals = dy.sum(axis=_spatial(dy)).reshape(g.batch, g.groups, g.out_channels // g.groups)
    largest = x.max(axis=_spatial(x)).reshape(g.batch, g.groups, g.in_channels // g.groups)
    sums: Host = np.einsum("ngo,ngc->goc", totals, largest)
    return sums.reshape(*g.w_shape[:2], *[1] * g.ndim)


def _bound(
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
    a, b, c = (np.abs(_wide(operand)) for operand in operands)
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
        raise _NothingPromised
    return allowed


def _wide(array: Host) -> Host:
    """Convert to a format wide enough for comparisons."""
    return array.astype(np.longdouble if array.dtype.itemsize >= 8 else np.float64)


def _given(array: Host) -> _Bounded:
    return _Bounded(array, np.zeros(array.shape))


def _equal(left: _Bounded, right: _Bounded) -> tuple[Host, Expected]:
    """Compare two sides that must be equal within the sum of their bounds."""
    return left.value, Expected(_wide(right.value), left.bound + right.bound, left.value.dtype.name)


def _exactly(left: _Bounded, right: Host) -> tuple[Host, Expected]:
    """Compare a left side that has no rounding; only subnormal numbers may have been flushed to zero."""
    tiny = float(bounds.finfo(left.value.dtype).tiny)
    value = _wide(right)
    return left.value, Expected(value, np.where(np.abs(value) < tiny, np.abs(value), 0), left.value.dtype.name)


def _identical(left: Host, right: Host) -> tuple[Host, Expected]:
    """Compare two sides that are rounded alike, and so must be exactly equal."""
    return left, Expected(_wide(right), np.zeros(()), left.dtype.name)


def _plus(a: _Bounded, b: _Bounded, dtype: npt.DTypeLike | None = None) -> _Bounded:
    """Return the sum, in a wide format or in `dtype`."""
    left, right = _wide(a.value), _wide(b.value)
    total = (left + right).astype(dtype or left.dtype)
    rounding = _bound(1, total.dtype, lambda one, a: one * a, np.ones((), left.dtype), left, right)
    return _Bounded(total, a.bound + b.bound + rounding)


def _sum(a: _Bounded, axes: tuple[int, ...]) -> _Bounded:
    return _inner(np.ones_like(a.value), a, axes)


def _inner(exact: Host, a: _Bounded, axes: tuple[int, ...]) -> _Bounded:
    """Return the inner product over these axes, in a wide format."""
    left, right = _wide(exact), _wide(a.value)
    terms = prod(left.shape[axis] for axis in axes)
    rounding = _bound(terms, right.dtype, lambda a, b: (a * b).sum(axis=axes), left, right)
    return _Bounded((left * right).sum(axis=axes), (np.abs(left) * a.bound).sum(axis=axes) + rounding)


# ---- Arrays and options


def _options(spec: ConvSpec) -> dict[str, Any]:
    return {
        "stride": spec.stride,
        "padding": spec.padding,
        "dilation": spec.dilation,
        "groups": spec.groups,
        "layout": spec.layout,
    }


def _channels_first(array: Host, spec: ConvSpec) -> Host:
    return np.moveaxis(array, -1, 1) if spec.channels_last else array


def _laid_out(array: Host, spec: ConvSpec) -> Host:
    return _plain(np.moveaxis(array, 1, -1) if spec.channels_last else array)


def _plain(array: Host) -> Host:
    """Return a copy with the strides of a new array.

    Torch chooses its code path by the strides of axes of length 1, or raises an error because of them.
    """
    return array.copy()


def _channels_swapped(w: Host, groups: int) -> Host:
    """Reorder (C_out, C_in / groups, \\*kernel) to (C_in, C_out / groups, \\*kernel)."""
    out_channels, in_group, *kernel = w.shape
    grouped = w.reshape(groups, out_channels // groups, in_group, *kernel).swapaxes(1, 2)
    return grouped.reshape(groups * in_group, out_channels // groups, *kernel)


def _spatial(array: Host) -> tuple[int, ...]:
    return tuple(range(2, array.ndim))


def _flipped(array: Host) -> Host:
    return np.flip(array, _spatial(array))


def _padded(x: Host, pads: Sequence[tuple[int, int]]) -> Host:
    return np.pad(x, ((0, 0), (0, 0), *pads))


def _every(steps: Shape) -> Index:
    """Return the index of every ``step``-th pixel along each spatial axis."""
    return (slice(None), slice(None), *(slice(None, None, step) for step in steps))


def _first(sizes: Shape) -> Index:
    """Return the index of the first ``size`` pixels along each spatial axis."""
    return (slice(None), slice(None), *map(slice, sizes))


def _largest(array: Host) -> Index:
    """Return the index of the element with the largest magnitude. The values of a problem choose it."""
    return tuple(int(i) for i in np.unravel_index(np.argmax(np.abs(array)), array.shape))


def _inside(sizes: Shape, starts: Sequence[int]) -> Index:
    """Return the index of ``size`` pixels from ``start`` on, along each spatial axis."""
    return (slice(None), slice(None), *(slice(start, start + n) for n, start in zip(sizes, starts)))


def _one_hot(shape: Shape, where: Index, dtype: npt.DTypeLike) -> Host:
    array = np.zeros(shape, dtype)
    array[where] = 1
    return array


def _seen_by(tap: Index, g: Geometry) -> Index:
    """Return the index of the padded input's pixels that a tap sees, one per output."""
    return tuple(slice(j * d, j * d + (o - 1) * s + 1, s) for j, d, o, s in zip(tap, g.dilation, g.out, g.stride))


def _tapped(w: Host) -> Host:
    """Return a kernel with a single 1 for each output channel, where the kernel is largest."""
    return np.stack([_one_hot(kernel.shape, _largest(kernel), w.dtype) for kernel in w])


def _picked(t: _Trial, tap_of: Callable[[Index], Index]) -> Host:
    """Return, for each output channel, the pixels that a tap sees in the input channel where the kernel is largest."""
    padded, g = _padded(t.x, t.g.pads), t.g
    channels = []
    for out_channel, kernel in enumerate(t.w):
        channel, *tap = _largest(kernel)
        group = out_channel // (g.out_channels // g.groups)
        channels.append(padded[(slice(None), group * len(kernel) + channel, *_seen_by(tap_of(tuple(tap)), g))])
    return np.stack(channels, axis=1)


def _full(extent: Shape) -> tuple[tuple[int, int], ...]:
    return tuple((e - 1, e - 1) for e in extent)


def _one_group(t: _Trial, group: int) -> tuple[slice, slice]:
    """Return the input and the output channels of a group."""
    ins, outs = t.g.in_channels // t.g.groups, t.g.out_channels // t.g.groups
    return slice(group * ins, (group + 1) * ins), slice(group * outs, (group + 1) * outs)


def _window(output: Sequence[int], g: Geometry) -> Index:
    """Return the index of the padded input's pixels that an output sees."""
    return tuple(slice(i * s, i * s + e, d) for i, s, e, d in zip(output, g.stride, g.extent, g.dilation))


def _sees(g: Geometry, pixel: Index) -> Host:
    """Return which outputs see a pixel of the input."""
    seeing: Host = np.ones((), bool)
    for axis, p in enumerate(pixel):
        from_first = p + g.pads[axis][0] - np.arange(g.out[axis]) * g.stride[axis]
        d = g.dilation[axis]
        inside = (from_first >= 0) & (from_first <= (g.kernel[axis] - 1) * d) & (from_first % d == 0)
        seeing = seeing[..., None] & inside
    return seeing


def _outputs_that_see(t: _Trial, place: Index) -> Host:
    image, channel, *pixel = place
    seeing = np.zeros(t.g.y_shape, bool)
    outs = _one_group(t, channel // (t.g.in_channels // t.g.groups))[1]
    seeing[image, outs] = _sees(t.g, tuple(pixel))
    return seeing


def _reversed_within_groups(array: Host, groups: int, axis: int) -> Host:
    size = array.shape[axis] // groups
    return np.take(array, [group * size + i for group in range(groups) for i in reversed(range(size))], axis)


def _far_from_underflow(problem: Problem) -> bool:
    """Return whether every sum of products, rounded anywhere, is zero or a normal number."""
    eps, tiny = float(bounds.finfo(problem.dtype).eps), float(bounds.finfo(problem.dtype).tiny)

    def step(array: Host | None) -> float:
        """Return a power of two that divides all numbers, or up to twice as much."""
        if array is None or problem.integers or not np.any(array):
            return 1.0
        return float(np.abs(array[array != 0]).min()) * eps

    return step(problem.x) * step(problem.w) >= tiny and step(problem.bias) >= tiny


# ---- Where a law applies


def _anywhere(problem: Problem) -> bool:
    return True


def _has_images(problem: Problem) -> bool:
    return problem.geometry.batch > 0


def _has_bias(problem: Problem) -> bool:
    return problem.bias is not None


def _has_groups(problem: Problem) -> bool:
    return problem.geometry.groups > 1


# ---- The laws

_Comparisons = Iterator[tuple[Host, Expected]]
_registered: list[Law] = []


def _law(
    statement: str, *uses: str, exact: str = INTEGERS, where: Callable[[Problem], bool] = _anywhere
) -> Callable[[Callable[[_Trial], _Comparisons]], Law]:
    """Make a law from a function that yields comparisons; the law takes the function's name."""

    def make(compare: Callable[[_Trial], _Comparisons]) -> Law:
        name = compare.__name__.strip("_").replace("_", " ")
        law = Law(name, statement, frozenset(uses), exact, where, compare)
        _registered.append(law)
        return law

    return make


# -- A kernel or an input with a single 1: unlike most laws, these detect a kernel that is flipped everywhere


@_law("C(x, 1 at tap j)[i] = x[i s + j d - p]", "cross_correlate", exact=ALWAYS)
def _delta_kernel(t: _Trial) -> _Comparisons:
    yield _exactly(t.cross_correlate(t.x, _tapped(t.w)), _picked(t, lambda tap: tap))


@_law("C(x, 1 at tap j; s = 1, j d zeros before, (k - 1 - j) d after) = x", "cross_correlate", exact=ALWAYS)
def _identity_kernel(t: _Trial) -> _Comparisons:
    g = t.g
    _, *tap = _largest(t.w[0])
    in_group = g.in_channels // g.groups
    kernel = np.zeros((g.in_channels, in_group, *g.kernel), t.w.dtype)
    for channel in range(g.in_channels):
        kernel[(channel, channel % in_group, *tap)] = 1
    pads = tuple((j * d, (k - 1 - j) * d) for j, k, d in zip(tap, g.kernel, g.dilation))
    yield _exactly(t.cross_correlate(t.x, kernel, stride=1, padding=pads), t.x)


@_law("C(1 at pixel p, w; full, s = 1)[p + j d] = w[k - 1 - j]", "cross_correlate", exact=ALWAYS, where=_has_images)
def _impulse_response(t: _Trial) -> _Comparisons:
    g = t.g
    image, channel, *pixel = _largest(t.x)
    impulse = _one_hot(t.x.shape, (image, channel, *pixel), t.x.dtype)
    y = t.cross_correlate(impulse, t.w, stride=1, padding=_full(g.extent))
    response = np.zeros_like(y.value)
    _, outs = _one_group(t, channel // t.w.shape[1])
    there: Index = tuple(slice(p, p + e, d) for p, e, d in zip(pixel, g.extent, g.dilation))
    response[(image, outs, *there)] = _flipped(t.w[outs, channel % t.w.shape[1]][:, None])[:, 0]
    yield _exactly(y, response)


@_law("K(x, 1 at tap j)[i] = x[i s + (k - 1 - j) d - p]", "convolve", exact=ALWAYS)
def _convolution_with_a_delta(t: _Trial) -> _Comparisons:
    def mirrored(tap: Index) -> Index:
        return tuple(k - 1 - j for j, k in zip(tap, t.g.kernel))

    yield _exactly(t.convolve(t.x, _tapped(t.w)), _picked(t, mirrored))


@_law("T(1 at output i, w)[i s + j d - p] = w[j]", "conv_transpose", exact=ALWAYS, where=_has_images)
def _transposed_impulse(t: _Trial) -> _Comparisons:
    place = _largest(t.dy)
    yield _exactly(t.conv_transpose(_one_hot(t.dy.shape, place, t.dy.dtype), t.w), _scattered(t, place))


@_law(
    "dy = 1 at output i: dx[i s + j d - p] = w[j], dw[j] = x[i s + j d - p], db = 1",
    "cross_correlate_vjp",
    exact=ALWAYS,
    where=_has_images,
)
def _gradients_of_one_output(t: _Trial) -> _Comparisons:
    image, channel, *output = place = _largest(t.dy)
    dx, dw, db = t.gradients(_one_hot(t.dy.shape, place, t.dy.dtype))
    ins, _ = _one_group(t, channel // (t.g.out_channels // t.g.groups))
    kernel_gradient = np.zeros_like(t.w)
    kernel_gradient[channel] = _padded(t.x, t.g.pads)[(image, ins, *_window(output, t.g))]
    yield _exactly(dx, _scattered(t, place))
    yield _exactly(dw, kernel_gradient)
    if t.bias is not None:
        yield _exactly(db, _one_hot(t.bias.shape, (channel,), t.bias.dtype))


def _scattered(t: _Trial, place: tuple[int, ...]) -> Host:
    """Return the kernel of one output, placed where that output sees the input."""
    g = t.g
    image, channel, *output = place
    padded = np.zeros((g.batch, g.in_channels, *g.padded), t.w.dtype)
    ins, _ = _one_group(t, channel // (g.out_channels // g.groups))
    padded[(image, ins, *_window(output, g))] = t.w[channel]
    return padded[_inside(g.size, [before for before, _ in g.pads])]


# -- The algebra of full convolution: these detect a flipped kernel too


@_law("C(w, x; full) = C(x, w; full) backwards", "cross_correlate", where=_has_images)
def _input_and_kernel_exchanged(t: _Trial) -> _Comparisons:
    x, w = _images_and_kernels(t)
    one, other = (_of_full(t.cross_correlate, a, b) for a, b in ((x, w), (w, x)))
    yield _equal(one, other.map(lambda y: _flipped(y.swapaxes(0, 1))))


@_law("K(w, x; full) = K(x, w; full)", "convolve", where=_has_images)
def _commutativity(t: _Trial) -> _Comparisons:
    x, w = _images_and_kernels(t)
    one, other = (_of_full(t.convolve, a, b) for a, b in ((x, w), (w, x)))
    yield _equal(one, other.map(lambda y: y.swapaxes(0, 1)))


@_law("K(K(x, w), v) = K(x, K(w, v)), full, of one channel", "convolve")
def _associativity(t: _Trial) -> _Comparisons:
    x, w, v = t.x[:, :1], t.w[:1, :1], _another(t.w)[:1, :1]
    yield _equal(
        _of_full(t.convolve, _of_full(t.convolve, x, w), v), _of_full(t.convolve, x, _of_full(t.convolve, w, v))
    )


@_law("C(C(x, w), v) = C(x, C(w, v backwards)), full, of one channel", "cross_correlate")
def _associativity_of_correlation(t: _Trial) -> _Comparisons:
    x, w, v = t.x[:, :1], t.w[:1, :1], _another(t.w)[:1, :1]
    correlate = t.cross_correlate
    yield _equal(
        _of_full(correlate, _of_full(correlate, x, w), v),
        _of_full(correlate, x, _of_full(correlate, w, _flipped(v))),
    )


def _images_and_kernels(t: _Trial) -> tuple[Host, Host]:
    """Return the channels of the first group, with images small enough to serve as kernels."""
    ins, outs = _one_group(t, 0)
    return t.x[(slice(LARGEST_SWAPPED), ins, *[slice(LARGEST_SWAPPED)] * t.g.ndim)], t.w[outs]


def _of_full(operation: Callable[..., _Bounded], x: Host | _Bounded, w: Host | _Bounded) -> _Bounded:
    """Run an operation with full padding, for every output that touches the input, and no other option."""
    sizes = (w.value if isinstance(w, _Bounded) else w).shape[2:]
    return operation(x, w, stride=1, padding=_full(sizes), dilation=1, groups=1)


def _another(array: Host) -> Host:
    """Return another array of the same shape and kind."""
    return np.roll(array.reshape(-1)[::-1], 1).reshape(array.shape)


@_law("K(x, w, b) = C(x, w backwards, b)", "convolve", "cross_correlate")
def _convolution_flips_the_kernel(t: _Trial) -> _Comparisons:
    yield _equal(t.convolve(t.x, t.w, t.bias), t.cross_correlate(t.x, _flipped(t.w), t.bias))


# -- Linearity


@_law("C(x + x', w) = C(x, w) + C(x', w)", "cross_correlate")
def _additivity_in_the_input(t: _Trial) -> _Comparisons:
    x, other = t.x, _another(t.x)
    both = _plus(_given(x), _given(other), x.dtype)
    yield _equal(t.cross_correlate(both, t.w), _plus(t.cross_correlate(x, t.w), t.cross_correlate(other, t.w)))


@_law("C(x, w + w') = C(x, w) + C(x, w')", "cross_correlate")
def _additivity_in_the_kernel(t: _Trial) -> _Comparisons:
    w, other = t.w, _another(t.w)
    both = _plus(_given(w), _given(other), w.dtype)
    yield _equal(t.cross_correlate(t.x, both), _plus(t.cross_correlate(t.x, w), t.cross_correlate(t.x, other)))


@_law("C(3 x, w) = 3 C(x, w)", "cross_correlate")
def _homogeneity(t: _Trial) -> _Comparisons:
    thrice = _plus(_given(t.x), _given(t.x * 2), t.x.dtype)
    y = t.cross_correlate(t.x, t.w)
    yield _equal(t.cross_correlate(thrice, t.w), _plus(y, _Bounded(y.value * 2, y.bound * 2)))


@_law("C(2 x, 4 w, 8 b) = 8 C(x, w, b)", "cross_correlate", exact=ALWAYS, where=_far_from_underflow)
def _power_of_two_scaling(t: _Trial) -> _Comparisons:
    scaled = t.cross_correlate(t.x * 2, t.w * 4, None if t.bias is None else t.bias * 8)
    yield _identical(scaled.value, t.y.value * 8)


@_law("C(-x, w, -b) = -C(x, w, b) = C(x, -w, -b)", "cross_correlate", exact=ALWAYS)
def _sign_symmetry(t: _Trial) -> _Comparisons:
    bias = None if t.bias is None else -t.bias
    negated = -t.y.value
    yield _identical(t.cross_correlate(-t.x, t.w, bias).value, negated)
    yield _identical(t.cross_correlate(t.x, -t.w, bias).value, negated)


@_law("C(0, w, b) = b", "cross_correlate", exact=ALWAYS)
def _zero_input(t: _Trial) -> _Comparisons:
    yield _exactly(t.cross_correlate(np.zeros_like(t.x), t.w, t.bias), _constant(t.bias, t.g.y_shape))


@_law("C(x, 0, b) = b", "cross_correlate", exact=ALWAYS)
def _zero_kernel(t: _Trial) -> _Comparisons:
    yield _exactly(t.cross_correlate(t.x, np.zeros_like(t.w), t.bias), _constant(t.bias, t.g.y_shape))


@_law("T(0, w, b) = b", "conv_transpose", exact=ALWAYS)
def _transposed_zero_input(t: _Trial) -> _Comparisons:
    yield _exactly(t.conv_transpose(np.zeros_like(t.dy), t.w, t.x_bias), _constant(t.x_bias, t.g.x_shape))


@_law("C(x, w, b) = C(x, w) + b", "cross_correlate", where=_has_bias)
def _bias_added_to_each_channel(t: _Trial) -> _Comparisons:
    yield _equal(t.y, _plus(t.cross_correlate(t.x, t.w), _given(_constant(t.bias, t.g.y_shape))))


@_law("sum of C(x, w; full, s = 1) = sum over c of (sum of x[c]) (sum of w[c])", "cross_correlate")
def _checksum(t: _Trial) -> _Comparisons:
    y = t.cross_correlate(t.x, t.w, stride=1, padding=_full(t.g.extent))
    yield _equal(_sum(y, _spatial(t.x)), _product_of_sums(t.x, t.w, t.g.groups))


def _product_of_sums(x: Host, w: Host, groups: int) -> _Bounded:
    def product(pixels: Host, taps: Host) -> Host:
        sums = pixels.sum(axis=_spatial(x)).reshape(len(x), groups, w.shape[1])
        totals = taps.sum(axis=_spatial(w)).reshape(groups, -1, w.shape[1])
        products: Host = np.einsum("ngc,goc->ngo", sums, totals)
        return products.reshape(len(x), len(w))

    pixels, taps = _wide(x), _wide(w)
    roundings = prod(x.shape[2:]) + prod(w.shape[1:])
    return _Bounded(product(pixels, taps), _bound(roundings, pixels.dtype, product, pixels, taps))


def _constant(bias: Host | None, shape: Shape) -> Host:
    """Return a result that equals its bias everywhere."""
    return np.zeros(shape) if bias is None else np.broadcast_to(bias.reshape(-1, *[1] * (len(shape) - 2)), shape)


# -- Gradients and the transposed convolution


@_law("<dy, C(x, w)> = <dx, x> for each image", "cross_correlate", "cross_correlate_vjp")
def _adjoint_of_the_input_gradient(t: _Trial) -> _Comparisons:
    axes = tuple(range(1, t.x.ndim))
    dx, _, _ = t.gradients(t.dy)
    yield _equal(_inner(t.dy, t.cross_correlate(t.x, t.w), axes), _inner(t.x, dx, axes))


@_law("<dy[o], C(x, w)[o]> = <dw[o], w[o]> for each output channel", "cross_correlate", "cross_correlate_vjp")
def _adjoint_of_the_kernel_gradient(t: _Trial) -> _Comparisons:
    _, dw, _ = t.gradients(t.dy)
    of_outputs = _inner(t.dy, t.cross_correlate(t.x, t.w), (0, *_spatial(t.x)))
    yield _equal(of_outputs, _inner(t.w, dw, tuple(range(1, t.w.ndim))))


@_law("db[o] = sum of dy[o]", "cross_correlate_vjp", where=_has_bias)
def _bias_gradient(t: _Trial) -> _Comparisons:
    _, _, db = t.gradients(t.dy)
    yield _equal(db, _sum(_given(t.dy), (0, *_spatial(t.dy))))


@_law("dx = T(dy, w)", "cross_correlate_vjp", "conv_transpose")
def _input_gradient_is_the_transposed_convolution(t: _Trial) -> _Comparisons:
    dx, _, _ = t.gradients(t.dy)
    yield _equal(dx, t.conv_transpose(t.dy, t.w))


@_law(
    "dw = C(x, dy; s and d exchanged), images for channels", "cross_correlate_vjp", "cross_correlate", where=_has_images
)
def _kernel_gradient_is_a_correlation(t: _Trial) -> _Comparisons:
    g = t.g
    _, dw, _ = t.gradients(t.dy)
    ins, outs = _one_group(t, 0)
    images, kernels = t.x[:, ins].swapaxes(0, 1), t.dy[:, outs].swapaxes(0, 1)
    y = t.cross_correlate(images, kernels, stride=g.dilation, dilation=g.stride, groups=1)
    yield _equal(dw.map(lambda a: a[outs]), y.map(lambda a: a[_first(g.kernel)].swapaxes(0, 1)))


@_law("<T(dy, w), x> = <dy, C(x, w)> for each image", "conv_transpose", "cross_correlate")
def _transposition_is_the_adjoint(t: _Trial) -> _Comparisons:
    axes = tuple(range(1, t.x.ndim))
    yield _equal(_inner(t.x, t.conv_transpose(t.dy, t.w), axes), _inner(t.dy, t.cross_correlate(t.x, t.w), axes))


# -- Space


@_law("C(x moved by s)[i + 1] = C(x)[i]", "cross_correlate", where=lambda p: any(_movable(p.geometry)))
def _translation_by_the_stride(t: _Trial) -> _Comparisons:
    # Pixels that would move out of the input are set to zero.
    steps = [s if movable else 0 for s, movable in zip(t.g.stride, _movable(t.g))]
    kept = _padded(t.x[_first(tuple(n - s for n, s in zip(t.g.size, steps)))], [(0, s) for s in steps])
    moved = np.roll(kept, steps, _spatial(t.x))
    later = (slice(None), slice(None), *(slice(bool(s), None) for s in steps))
    earlier = _first(tuple(o - bool(s) for o, s in zip(t.g.out, steps)))
    y, y_moved = (t.cross_correlate(x, t.w, t.bias) for x in (kept, moved))
    yield _equal(y_moved.map(lambda a: a[later]), y.map(lambda a: a[earlier]))


def _movable(g: Geometry) -> list[bool]:
    return [s < n and o > 1 for s, n, o in zip(g.stride, g.size, g.out)]


@_law("C(x, w; s) = every s-th of C(x, w; 1)", "cross_correlate", where=lambda p: max(p.geometry.stride) > 1)
def _stride_is_subsampling(t: _Trial) -> _Comparisons:
    dense = t.cross_correlate(t.x, t.w, t.bias, stride=1)
    yield _equal(t.y, dense.map(lambda y: y[_every(t.g.stride)]))


@_law(
    "C(x, w; d) = C(x, w with d - 1 zeros between its taps; 1)",
    "cross_correlate",
    where=lambda p: any(d > 1 and k > 1 for d, k in zip(p.geometry.dilation, p.geometry.kernel)),
)
def _dilated_kernel(t: _Trial) -> _Comparisons:
    spread = np.zeros((*t.w.shape[:2], *t.g.extent), t.w.dtype)
    spread[_every(t.g.dilation)] = t.w
    yield _equal(t.y, t.cross_correlate(t.x, spread, t.bias, dilation=1))


@_law("C(x, w) = C(x, w with a zero after its last tap; d more zeros after x)", "cross_correlate")
def _zero_tap(t: _Trial) -> _Comparisons:
    longer = _padded(t.w, [(0, 1)] * t.g.ndim)
    pads = tuple((before, after + d) for (before, after), d in zip(t.g.pads, t.g.dilation))
    yield _equal(t.y, t.cross_correlate(t.x, longer, t.bias, padding=pads))


@_law(
    "C(x, w; p) = C(x with its zeros around it, w; 0)",
    "cross_correlate",
    where=lambda p: any(map(any, p.geometry.pads)),
)
def _padded_input(t: _Trial) -> _Comparisons:
    yield _equal(t.y, t.cross_correlate(_padded(t.x, t.g.pads), t.w, t.bias, padding=0))


@_law(
    "C(x, w; a number or a word) = C(x, w; the pairs that it stands for)",
    "cross_correlate",
    where=lambda p: p.spec.padding != p.geometry.pads,
)
def _padding_in_other_words(t: _Trial) -> _Comparisons:
    yield _equal(t.cross_correlate(t.x, t.w, t.bias, padding=t.problem.spec.padding), t.y)


@_law(
    "C(x, w; s = 1, p) = the inside of C(x, w; s = 1, full)",
    "cross_correlate",
    where=lambda p: all(max(pads) < e for pads, e in zip(p.geometry.pads, p.geometry.extent)),
)
def _full_holds_every_padding(t: _Trial) -> _Comparisons:
    full, some = (t.cross_correlate(t.x, t.w, t.bias, stride=1, padding=pads) for pads in (_full(t.g.extent), t.g.pads))
    inside = _inside(some.value.shape[2:], [e - 1 - before for e, (before, _) in zip(t.g.extent, t.g.pads)])
    yield _equal(some, full.map(lambda y: y[inside]))


@_law("C(x, u v^T) = C(C(x, u), v^T), of one channel", "cross_correlate", where=lambda p: p.geometry.ndim > 1)
def _separable_kernel(t: _Trial) -> _Comparisons:
    g, x = t.g, t.x[:, :1]
    lines = [_line(t.w[:1, :1], axis) for axis in range(g.ndim)]
    passed = _given(x)
    for axis, line in enumerate(lines):

        def along(values: Sequence[Any], neutral: Any, axis: int = axis) -> tuple[Any, ...]:
            return tuple(value if other == axis else neutral for other, value in enumerate(values))

        stride, pads, dilation = along(g.stride, 1), along(g.pads, (0, 0)), along(g.dilation, 1)
        passed = t.cross_correlate(passed, line, stride=stride, padding=pads, dilation=dilation, groups=1)
    yield _equal(t.cross_correlate(x, _outer(lines), groups=1), passed)


def _line(kernel: Host, axis: int) -> Host:
    """Return the taps along an axis through the largest tap."""
    through: Index = tuple(slice(None) if a == 2 + axis else slice(i, i + 1) for a, i in enumerate(_largest(kernel)))
    return kernel[through]


def _outer(lines: Sequence[Host]) -> _Bounded:
    product, dtype = lines[0], lines[0].dtype
    error = np.zeros(())
    for line in lines[1:]:
        left, right = _wide(product), _wide(line)
        rounding = _bound(1, dtype, np.multiply, left, right)
        product, error = (left * right).astype(dtype), error * np.abs(right) + rounding
    return _Bounded(product, error)


@_law("C(x^T, w^T) = C(x, w)^T, spatial axes in reverse order", "cross_correlate", where=lambda p: p.geometry.ndim > 1)
def _spatial_transposition(t: _Trial) -> _Comparisons:
    g = t.g

    def transposed(array: Host) -> Host:
        return array.transpose(0, 1, *reversed(_spatial(array)))

    options = {"stride": g.stride[::-1], "padding": g.pads[::-1], "dilation": g.dilation[::-1]}
    yield _equal(t.cross_correlate(transposed(t.x), transposed(t.w), t.bias, **options), t.y.map(transposed))


@_law("C(x backwards, w backwards) = C(x, w) backwards, where every pixel is seen", "cross_correlate")
def _reflection(t: _Trial) -> _Comparisons:
    g = t.g
    seen = tuple((o - 1) * s + e for o, s, e in zip(g.out, g.stride, g.extent))
    x = _padded(t.x, g.pads)[_first(seen)]
    yield _equal(t.cross_correlate(_flipped(x), _flipped(t.w), t.bias, padding=0), t.y.map(_flipped))


@_law("C(x, w) is the same where it does not see a pixel, whatever that pixel is", "cross_correlate", where=_has_images)
def _locality(t: _Trial) -> _Comparisons:
    place = _largest(t.x)
    changed = t.x.copy()
    changed[place] = 0 if t.x[place] else 1
    elsewhere = ~_outputs_that_see(t, place)
    yield _equal(t.cross_correlate(changed, t.w, t.bias).map(lambda y: y[elsewhere]), t.y.map(lambda y: y[elsewhere]))


# -- Batch and channels


@_law("C(x[::-1]) = C(x)[::-1] over the batch", "cross_correlate", where=lambda p: p.geometry.batch > 1)
def _batch_permutation(t: _Trial) -> _Comparisons:
    yield _equal(t.cross_correlate(t.x[::-1], t.w, t.bias), t.y.map(lambda y: y[::-1]))


@_law("C(x[n]) = C(x)[n], the last image alone", "cross_correlate", where=lambda p: p.geometry.batch > 1)
def _one_image_alone(t: _Trial) -> _Comparisons:
    yield _equal(t.cross_correlate(t.x[-1:], t.w, t.bias), t.y.map(lambda y: y[-1:]))


@_law(
    "C(x, w) with the input channels of each group reversed in x and w = C(x, w)",
    "cross_correlate",
    where=lambda p: p.w.shape[1] > 1,
)
def _input_channel_permutation(t: _Trial) -> _Comparisons:
    yield _equal(t.cross_correlate(_reversed_within_groups(t.x, t.g.groups, 1), t.w[:, ::-1], t.bias), t.y)


@_law(
    "C(x, w reversed, b reversed) = C(x, w, b) reversed, over the output channels of each group",
    "cross_correlate",
    where=lambda p: p.geometry.out_channels > p.geometry.groups,
)
def _output_channel_permutation(t: _Trial) -> _Comparisons:
    def permuted(array: Host, axis: int = 0) -> Host:
        return _reversed_within_groups(array, t.g.groups, axis)

    bias = None if t.bias is None else permuted(t.bias)
    yield _equal(t.cross_correlate(t.x, permuted(t.w), bias), t.y.map(lambda y: permuted(y, 1)))


@_law(
    "C(x, w, b) with all channels reversed = C(x, w, b) with its channels reversed",
    "cross_correlate",
    where=_has_groups,
)
def _group_permutation(t: _Trial) -> _Comparisons:
    bias = None if t.bias is None else t.bias[::-1]
    yield _equal(t.cross_correlate(t.x[:, ::-1], t.w[::-1, ::-1], bias), t.y.map(lambda y: y[:, ::-1]))


@_law(
    "C(x, w[o], b[o]) = C(x, w, b)[o], the last output channel alone", "cross_correlate", where=lambda p: len(p.w) > 1
)
def _one_output_channel_alone(t: _Trial) -> _Comparisons:
    ins, _ = _one_group(t, t.g.groups - 1)
    bias = None if t.bias is None else t.bias[-1:]
    yield _equal(t.cross_correlate(t.x[:, ins], t.w[-1:], bias, groups=1), t.y.map(lambda y: y[:, -1:]))


@_law("C(x, w; groups) = C(x, block-diagonal w; 1)", "cross_correlate", where=_has_groups)
def _groups_are_blocks(t: _Trial) -> _Comparisons:
    blocks = np.zeros((t.g.out_channels, t.g.in_channels, *t.g.kernel), t.w.dtype)
    for group in range(t.g.groups):
        ins, outs = _one_group(t, group)
        blocks[outs, ins] = t.w[outs]
    yield _equal(t.y, t.cross_correlate(t.x, blocks, t.bias, groups=1))


@_law("C(x, w; groups) = C(x[g], w[g]; 1) for the first and the last group", "cross_correlate", where=_has_groups)
def _groups_are_apart(t: _Trial) -> _Comparisons:
    y = t.y
    for group in (0, t.g.groups - 1):
        ins, outs = _one_group(t, group)
        alone = t.cross_correlate(t.x[:, ins], t.w[outs], None if t.bias is None else t.bias[outs], groups=1)
        yield _equal(_Bounded(y.value[:, outs], y.bound[:, outs]), alone)


@_law("C(x, w, b; kernel of one pixel) = w x[i s] + b, a matrix times the channels", "cross_correlate")
def _one_pixel_kernel(t: _Trial) -> _Comparisons:
    _, _, *tap = _largest(t.w)
    w = t.w[(slice(None), slice(None), *(slice(j, j + 1) for j in tap))]
    y = t.cross_correlate(t.x, w, t.bias, padding=0)
    yield _equal(y, _mixed_channels(t.x[_every(t.g.stride)], w, t.bias, t.g.groups))


def _mixed_channels(x: Host, w: Host, bias: Host | None, groups: int) -> _Bounded:
    """Multiply the channels by the matrix of a one-pixel kernel, in a wide format."""
    pixels, matrix = _wide(x), _wide(w)
    added = np.zeros(()) if bias is None else _wide(bias).reshape(-1, *[1] * (x.ndim - 2))

    def product(pixels: Host, matrix: Host) -> Host:
        columns = pixels.reshape(len(x), groups, w.shape[1], prod(x.shape[2:]))
        y: Host = np.matmul(matrix.reshape(groups, len(w) // groups, w.shape[1]), columns)
        return y.reshape(len(x), len(w), *x.shape[2:])

    bound = _bound(w.shape[1] + 1, pixels.dtype, product, pixels, matrix, added)
    return _Bounded(product(pixels, matrix) + added, bound)


@_law("C(x with its channels moved; the other layout) = C(x) with its channels moved", "cross_correlate")
def _layout(t: _Trial) -> _Comparisons:
    wanted = (t.g.ndim, not t.spec.channels_last)
    other = next(layout for layout, kind in LAYOUTS.items() if kind == wanted)
    yield _equal(t.cross_correlate(t.x, t.w, t.bias, layout=other), t.y)


@_law("layer(w, b)(x) = C(x, w, b)", "layer", "cross_correlate", where=_has_images)
def _layer(t: _Trial) -> _Comparisons:
    yield _equal(t.layer(t.x, t.w, t.bias, t.problem.spec), t.y)


LAWS: tuple[Law, ...] = tuple(_registered)
"""The laws of finite numbers, grouped by subject."""


def _nan_stays_local(t: _Trial) -> _Comparisons:
    place = _largest(t.x)
    poisoned = t.x.copy()
    poisoned[place] = np.nan
    seeing = _outputs_that_see(t, place)
    y, plain = t.unbounded(poisoned), t.y
    yield _identical(np.isnan(y).astype(y.dtype), seeing)
    yield _equal(_Bounded(y, plain.bound).map(lambda a: a[~seeing]), plain.map(lambda a: a[~seeing]))


NAN_STAYS_LOCAL = Law(
    "nan stays local",
    "C(x with one NaN, w) is NaN where it sees that pixel, and C(x, w) elsewhere",
    frozenset({"cross_correlate"}),
    INTEGERS,
    _has_images,
    _nan_stays_local,
)
"""The law of NaN. It is not one of `LAWS`, since a correct algorithm that works in tiles may break it."""
