"""Correctly rounded convolution and gradients: the exact sum, rounded once.

Every finite floating-point number is an integer times a power of two. So each array is scaled to Python integers with
one common exponent, the integers are summed exactly, and only the result is rounded. Two independent methods compute
the sums:

- `by_definition` runs the index arithmetic of `multiconv.oracle` on Python integers.
- `by_kronecker` uses no array arithmetic. An array is a polynomial with one variable per axis, and a convolution is a
  product of polynomials. Kronecker substitution [1]_ evaluates both polynomials at powers of two, far enough apart that
  the coefficients of the product do not overlap. The two large integers are multiplied once, and the digits of their
  product are the sums. Stride, padding, dilation and groups only select the coefficients to put in and to read out.

All arrays are channels first; the layout of a `Geometry` is ignored.

References
----------
.. [1] D. Harvey, "Faster polynomial multiplication via multipoint Kronecker substitution", Journal of Symbolic
   Computation 44 (2009), section 1; L. Kronecker, "Grundzüge einer arithmetischen Theorie der algebraischen Grössen",
   Crelle 92 (1882), section 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from multiconv.core import bounds
from multiconv.core.errors import ConvError
from multiconv.core.spec import Geometry
from multiconv.core.types import Host, Shape
from multiconv.oracle import definition

Integers = npt.NDArray[np.object_]
"""An array of Python integers."""
Derivation = Callable[..., Integers]

FLOATS = ("float16", "bfloat16", "float32", "float64")
FACTORS = {
    "forward": ("x", "w"),
    "layer": ("x", "w"),
    "convolve": ("x", "w"),
    "conv_transpose": ("dy", "w"),
    "input gradient": ("dy", "w"),
    "kernel gradient": ("x", "dy"),
    "bias gradient": ("dy",),
}
"""For each direction, the arrays whose products it sums."""


@dataclass(frozen=True, eq=False)
class Scaled:
    """Exact numbers: ``integers * 2**exponent``.

    Attributes
    ----------
    integers : array of Python integers
    exponent : int
    """

    integers: Integers
    exponent: int


def scaled(array: Host, name: str = "the array") -> Scaled:
    """Convert an array to integers times one power of two, exactly.

    Parameters
    ----------
    array : array
        Its dtype is float16, bfloat16, float32, float64 or an integer dtype.
    name : str
        Name of the array in error messages.

    Raises
    ------
    ConvError
        If a number is NaN or infinite, or the dtype is not supported.

    Examples
    --------
    >>> half = scaled(np.float32([0.5, 3, 0]))
    >>> half.integers.tolist(), half.exponent
    ([1, 6, 0], -1)
    """
    if array.dtype.kind in "iu":
        return Scaled(array.astype(object), 0)
    if array.dtype.name not in FLOATS:
        raise ConvError(f"{name} is {array.dtype.name}: exact sums are for integers, {', '.join(FLOATS)}")
    wide = array.astype(np.float64)
    if not np.isfinite(wide).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(wide))[0])
        raise ConvError(f"{name} is {wide[index]} at {list(index)}: no exact sum has a NaN or an infinity in it")
    fractions, exponents = np.frexp(wide)
    significands = np.ldexp(fractions, 53).astype(np.int64)
    nonzero = significands != 0
    trailing_zeros = np.where(nonzero, np.frexp(significands & -significands)[1] - 1, 0)
    exponents = exponents - 53 + trailing_zeros
    exponent = int(exponents[nonzero].min()) if nonzero.any() else 0
    shifts = np.where(nonzero, exponents - exponent, 0)
    return Scaled(np.asarray((significands >> trailing_zeros).astype(object) << shifts.astype(object)), exponent)


def round_to(exact: Scaled, dtype: npt.DTypeLike) -> Host:
    """Round exact numbers once, to the nearest number of a dtype, ties to even.

    Parameters
    ----------
    exact : Scaled
    dtype : str or dtype
        A floating-point format or an integer dtype. In a floating-point format, numbers that are too large become
        infinite, and numbers that are too small become subnormal or zero.

    Returns
    -------
    array
        Has this dtype. If an integer dtype does not hold every number, the result has Python integers (dtype object)
        instead. Nothing wraps or saturates. Use `fits` to check beforehand.

    References
    ----------
    IEEE 754-2019, sections 4.3.1 and 7.4.

    Examples
    --------
    >>> round_to(Scaled(np.array([2**24 + 1, 2**24 + 3], object), 0), "float32")
    array([1.6777216e+07, 1.6777220e+07], dtype=float32)
    >>> round_to(Scaled(np.array([128], object), 0), "int8")
    array([128], dtype=object)
    """
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name not in FLOATS:
        integers = np.asarray(np.frompyfunc(lambda number: _nearest(number, exact.exponent, 0), 1, 1)(exact.integers))
        return integers.astype(dtype) if fits(integers, dtype) else integers
    info = bounds.finfo(dtype)
    precision = int(info.nmant) + 1
    lowest = int(info.minexp) - int(info.nmant)
    largest = (1 << precision) - 1 << int(info.maxexp) - precision

    def rounded(number: int) -> float:
        """Return the rounded number as a float64, which holds every number of the format."""
        last_place = max(number.bit_length() + exact.exponent - precision, lowest)
        significand = _nearest(abs(number), exact.exponent, last_place)
        too_large = last_place > 0 and significand << last_place > largest
        magnitude = math.inf if too_large else math.ldexp(significand, last_place)
        return -magnitude if number < 0 else magnitude

    return np.asarray(np.frompyfunc(rounded, 1, 1)(exact.integers)).astype(np.float64).astype(info.dtype)


def fits(integers: Integers, dtype: npt.DTypeLike) -> bool:
    """Return whether an integer dtype holds every number of an array.

    Examples
    --------
    >>> fits(np.array([-128, 127], object), "int8"), fits(np.array([128], object), "int8")
    (True, False)
    """
    info = np.iinfo(np.dtype(dtype))
    return bool(info.min <= integers.min(initial=0) and integers.max(initial=0) <= info.max)


def by_definition(direction: str, x: Any, w: Any, bias: Any, dy: Any, g: Geometry) -> Integers:
    """Compute the sums of integer arrays by the index arithmetic of `multiconv.oracle`.

    The parameters are those of `sums`, as arrays of Python integers (dtype object).

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> x, w = np.array([[[1, 2, 3]]], object), np.array([[[1, 10]]], object)
    >>> by_definition("forward", x, w, None, None, ConvSpec().resolve(x.shape, w.shape))
    array([[[21, 32]]], dtype=object)
    """
    if direction == "convolve":
        return definition.convolve(x, w, bias, g)
    if direction == "conv_transpose":
        return definition.conv_transpose(dy, w, bias, g)
    if direction == "input gradient":
        return definition.input_gradient(dy, w, g)
    if direction == "kernel gradient":
        return definition.kernel_gradient(x, dy, g)
    if direction == "bias gradient":
        return definition.bias_gradient(dy)
    return definition.cross_correlate(x, w, bias, g)


def by_kronecker(direction: str, x: Any, w: Any, bias: Any, dy: Any, g: Geometry) -> Integers:
    """Compute the sums of integer arrays as coefficients of products of polynomials.

    The parameters are those of `sums`, as arrays of Python integers (dtype object).

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> x, w = np.array([[[1, 2, 3]]], object), np.array([[[1, 10]]], object)
    >>> by_kronecker("forward", x, w, None, None, ConvSpec().resolve(x.shape, w.shape))
    array([[[21, 32]]], dtype=object)
    """
    if direction == "bias gradient":
        return _sum_of_coefficients(dy)
    if direction == "kernel gradient":
        return _kernel_gradient(x, dy, g)
    if direction in ("input gradient", "conv_transpose"):
        result = _input_gradient(dy, w, g)
    else:
        result = _weighted(x, w if direction == "convolve" else np.flip(w, tuple(range(2, w.ndim))), g)
    if bias is not None:
        result += bias.reshape(-1, *[1] * g.ndim)
    return result


def sums(
    direction: str,
    x: Host | None,
    w: Host | None,
    bias: Host | None,
    dy: Host | None,
    g: Geometry,
    derivation: Derivation = by_definition,
) -> Scaled:
    """Compute the exact result, before any rounding.

    Parameters
    ----------
    direction : str
        ``"forward"`` (or ``"layer"``), ``"convolve"``, ``"conv_transpose"``, ``"input gradient"``, ``"kernel
        gradient"`` or ``"bias gradient"``.
    x : array, shape (N, C_in, \\*spatial)
    w : array, shape (C_out, C_in / groups, \\*kernel)
    bias : array or None
        One value per channel of the result: (C_out,), or (C_in,) for ``"conv_transpose"``. The gradients ignore it.
    dy : array, shape (N, C_out, \\*out)
        The cotangent, or the input of the transposed convolution.
    g : Geometry
    derivation : callable
        `by_definition` or `by_kronecker`.

    Returns
    -------
    Scaled

    Raises
    ------
    ConvError
        If the direction is unknown, or if an array that it uses has a NaN, an infinity or an unsupported dtype.

    Notes
    -----
    Only the arrays that the direction uses are read; the others may be None.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> x, w = np.float32([[[0.5, 1, 2]]]), np.float32([[[1, 0.25]]])
    >>> result = sums("forward", x, w, None, None, ConvSpec().resolve(x.shape, w.shape))
    >>> result.integers.tolist(), result.exponent
    ([[[6, 12]]], -3)
    """
    if direction not in FACTORS:
        raise ConvError(f"direction must be one of {', '.join(FACTORS)}, not {direction!r}")
    arrays = {"x": x, "w": w, "dy": dy}
    factors = {name: scaled(np.asarray(arrays[name]), name) for name in FACTORS[direction]}
    integers = {name: factor.integers for name, factor in factors.items()}
    exponent = sum(factor.exponent for factor in factors.values())
    if bias is not None and not direction.endswith("gradient"):
        added = scaled(bias, "bias")
        lower = max(exponent - added.exponent, 0)
        exponent -= lower
        first = FACTORS[direction][0]
        integers[first] = factors[first].integers << lower
        integers["bias"] = added.integers << added.exponent - exponent
    x, w, bias, dy = (integers.get(name) for name in ("x", "w", "bias", "dy"))
    return Scaled(derivation(direction, x, w, bias, dy, g), exponent)


def correctly_rounded(
    direction: str, x: Host | None, w: Host | None, bias: Host | None, dy: Host | None, g: Geometry
) -> Host:
    """Compute the exact result and round it once, to the nearest number of the arrays' dtype.

    The parameters and errors are those of `sums`. All arrays must have the same dtype.

    Returns
    -------
    array
        Has the arrays' dtype. If that does not hold every integer, it has Python integers, as in `round_to`.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> x, w = np.float32([[[2**24, 1, 2**24]]]), np.float32([[[1, 1, -1]]])
    >>> correctly_rounded("forward", x, w, None, None, ConvSpec().resolve(x.shape, w.shape))
    array([[[1.]]], dtype=float32)
    """
    exact = sums(direction, x, w, bias, dy, g)
    first = {"x": x, "w": w, "dy": dy}[FACTORS[direction][0]]
    return round_to(exact, np.asarray(first).dtype)


# ---- By Kronecker substitution


def _weighted(x: Integers, w: Integers, g: Geometry) -> Integers:
    """Compute the forward sums from ``x(z) w(z**dilation)``, read at each stride.

    An extra variable pairs each channel with itself.
    """
    w = _spread(w, g.dilation)
    wanted = [
        np.arange(out) * stride + extent - 1 - before
        for out, stride, extent, (before, _) in zip(g.out, g.stride, g.extent, g.pads)
    ]
    in_group, out_group = g.in_channels // g.groups, g.out_channels // g.groups
    y = np.zeros((g.batch, g.out_channels, *g.out), object)
    for ins, outs in zip(_groups(g.groups, in_group), _groups(g.groups, out_group)):
        read = [np.arange(out_group), np.array([in_group - 1]), *wanted]
        y[:, outs] = _products(x[:, None, ins], w[outs, ::-1], read)[:, :, 0]
    return y


def _input_gradient(dy: Integers, w: Integers, g: Geometry) -> Integers:
    """Compute the input gradient from ``dy(z**stride) w(z**dilation)``, read without the padding.

    An extra variable pairs each output channel with itself.
    """
    dy, w = _spread(dy, g.stride), _spread(w, g.dilation)
    wanted = [np.arange(size) + before for size, (before, _) in zip(g.size, g.pads)]
    in_group, out_group = g.in_channels // g.groups, g.out_channels // g.groups
    dx = np.zeros((g.batch, g.in_channels, *g.size), object)
    for ins, outs in zip(_groups(g.groups, in_group), _groups(g.groups, out_group)):
        read = [np.arange(in_group), np.array([out_group - 1]), *wanted]
        dx[:, ins] = _products(dy[:, None, outs], w[outs].swapaxes(0, 1)[:, ::-1], read)[:, :, 0]
    return dx


def _kernel_gradient(x: Integers, dy: Integers, g: Geometry) -> Integers:
    """Compute the kernel gradient from ``x(z) dy(z**-stride)``, read at each dilation.

    An extra variable pairs each image with itself.
    """
    reversed_dy = np.flip(_spread(dy, g.stride), tuple(range(2, dy.ndim))).swapaxes(0, 1)[:, ::-1]
    wanted = [
        np.arange(kernel) * dilation + (out - 1) * stride - before
        for kernel, dilation, out, stride, (before, _) in zip(g.kernel, g.dilation, g.out, g.stride, g.pads)
    ]
    in_group, out_group = g.in_channels // g.groups, g.out_channels // g.groups
    dw = np.zeros(g.w_shape, object)
    for ins, outs in zip(_groups(g.groups, in_group), _groups(g.groups, out_group)):
        read = [np.arange(in_group), np.array([g.batch - 1]), *wanted]
        dw[outs] = _products(reversed_dy[outs, None], x[:, ins].swapaxes(0, 1), read)[:, :, 0]
    return dw


def _sum_of_coefficients(dy: Integers) -> Integers:
    """Compute the bias gradient: the middle coefficient of ``dy(z)`` times a polynomial with as many terms, all 1."""
    outputs = dy.swapaxes(0, 1).reshape(dy.shape[1], dy.size // dy.shape[1])
    count = outputs.shape[1]
    return _products(outputs, np.ones(count, object), [np.array([count - 1])])[:, 0]


def _groups(groups: int, channels: int) -> list[slice]:
    return [slice(group * channels, (group + 1) * channels) for group in range(groups)]


def _spread(array: Integers, steps: Shape) -> Integers:
    """Substitute ``z**step`` for z in the polynomials, along each spatial axis."""
    spatial = [(size - 1) * step + 1 for size, step in zip(array.shape[2:], steps)]
    wide = np.zeros((*array.shape[:2], *spatial), object)
    wide[(slice(None), slice(None), *(slice(None, None, step) for step in steps))] = array
    return wide


def _products(each: Integers, other: Integers, wanted: Sequence[npt.NDArray[np.intp]]) -> Integers:
    """Return coefficients of the products of several polynomials with one other.

    The first axis of `each` counts the polynomials. For each variable, `wanted` lists the powers to read. Powers that
    the product lacks have the coefficient 0.
    """
    result = np.zeros((len(each), *map(len, wanted)), object)
    if not each.size or not other.size:
        return result
    powers = tuple(a + b - 1 for a, b in zip(each.shape[1:], other.shape))
    largest = min(each[0].size, other.size) * _largest(each) * _largest(other)
    width = largest.bit_length() // 8 + 1  # bytes per digit, with room for the sign
    in_product = [(power >= 0) & (power < end) for power, end in zip(wanted, powers)]
    read = np.ix_(*in_product)
    kept = np.ix_(*(power[inside] for power, inside in zip(wanted, in_product)))
    places = np.asarray(np.ravel_multi_index(kept, powers))
    factor = _pack(other, powers, width)
    for polynomial, coefficients in zip(each, result):
        coefficients[read] = _unpack(_pack(polynomial, powers, width) * factor, prod(powers), width, places)
    return result


def _pack(polynomial: Integers, powers: Shape, width: int) -> int:
    """Evaluate a polynomial at powers of ``256**width``, so that each coefficient has its own digit."""
    half = 1 << 8 * width - 1
    digits = np.full(powers, half, object)
    digits[tuple(map(slice, polynomial.shape))] += polynomial
    count = int(np.ravel_multi_index([size - 1 for size in polynomial.shape], powers)) + 1
    packed = b"".join(digit.to_bytes(width, "little") for digit in digits.flat[:count])
    return int.from_bytes(packed, "little") - _halves(count, width)


def _unpack(number: int, count: int, width: int, places: npt.NDArray[np.intp]) -> Integers:
    """Return the signed digits at `places` of a number with `count` digits."""
    half = 1 << 8 * width - 1
    digits = (number + _halves(count, width)).to_bytes(count * width, "little")

    def digit(place: int) -> int:
        return int.from_bytes(digits[place * width : (place + 1) * width], "little") - half

    return np.asarray(np.frompyfunc(digit, 1, 1)(places), object)


def _halves(count: int, width: int) -> int:
    """Return a number with `count` digits, each half the base. Adding it makes every signed digit non-negative."""
    return int.from_bytes((bytes(width - 1) + b"\x80") * count, "little")


def _largest(integers: Integers) -> int:
    return max(int(np.abs(integers).max()), 1)


# ---- Rounding


def _nearest(number: int, exponent: int, last_place: int) -> int:
    """Round ``number * 2**exponent`` to the nearest multiple of ``2**last_place``, ties to even.

    The result is in units of ``2**last_place``.
    """
    shift = last_place - exponent
    if shift <= 0:
        return number << -shift
    floor, rest, half = number >> shift, number & (1 << shift) - 1, 1 << shift - 1
    return floor + (rest > half or (rest == half and floor % 2 == 1))
