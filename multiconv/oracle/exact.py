"""Correctly rounded convolution and gradients: the exact sum, rounded once.

Every finite floating-point number is an integer times a power of two. So each array is scaled to Python integers with
one common exponent, the integers are summed exactly, and only the result is rounded. Two independent methods compute
the sums: `by_definition` runs the index arithmetic of `multiconv.oracle` on Python integers, and
`multiconv.oracle.kronecker.by_kronecker` multiplies polynomials.

All arrays are channels first; the layout of a `Geometry` is ignored.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from multiconv.core import bounds
from multiconv.core.errors import ConvError
from multiconv.core.geometry import Geometry
from multiconv.core.types import Host, Integers
from multiconv.oracle import definition

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
        raise ConvError(f"{name} is {wide[index]} at {list(index)}: exact sums need finite numbers")
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
        `by_definition` or `multiconv.oracle.kronecker.by_kronecker`.

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


def _nearest(number: int, exponent: int, last_place: int) -> int:
    """Round ``number * 2**exponent`` to the nearest multiple of ``2**last_place``, ties to even.

    The result is in units of ``2**last_place``.
    """
    shift = last_place - exponent
    if shift <= 0:
        return number << -shift
    floor, rest, half = number >> shift, number & (1 << shift) - 1, 1 << shift - 1
    return floor + (rest > half or (rest == half and floor % 2 == 1))
