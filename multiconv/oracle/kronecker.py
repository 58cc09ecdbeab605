"""Exact sums of products of integers by Kronecker substitution, with no array arithmetic.

An array is a polynomial with one variable per axis, and a convolution is a product of polynomials. Kronecker
substitution [1]_ evaluates both polynomials at powers of two, far enough apart that the coefficients of the product do
not overlap. The two large integers are multiplied once, and the digits of their product are the sums. Stride, padding,
dilation and groups only select the coefficients to put in and to read out.

So the sums share nothing with the index arithmetic of `multiconv.oracle.definition`, and each can test the other. All
arrays are channels first.

References
----------
.. [1] D. Harvey, "Faster polynomial multiplication via multipoint Kronecker substitution", Journal of Symbolic
   Computation 44 (2009), section 1; L. Kronecker, "Grundzüge einer arithmetischen Theorie der algebraischen Grössen",
   Crelle 92 (1882), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from multiconv.core.geometry import Geometry
from multiconv.core.types import Integers, Shape


def by_kronecker(direction: str, x: Any, w: Any, bias: Any, dy: Any, g: Geometry) -> Integers:
    """Compute the sums of integer arrays as coefficients of products of polynomials.

    The parameters are those of `multiconv.oracle.exact.sums`, as arrays of Python integers (dtype object).

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
