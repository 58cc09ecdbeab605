"""Problems drawn near another: with new values, other sizes, and other options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from multiconv.core import bounds
from multiconv.core.dtypes import dtype_named
from multiconv.core.errors import ConvError
from multiconv.core.geometry import Geometry
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Shape
from multiconv.oracle.definition import contraction
from multiconv.oracle.problem import Problem

RINGS = ("of this shape", "with these options", "near it")
"""How far a problem may be from the first: new values only, other sizes too, other options too."""
MOST_CHANNELS = 10
"""Number of channels of a group up to which problems with other sizes are drawn."""
MOST_PIXELS = 9
"""The number of pixels along an axis, beyond the kernel's extent."""
MOST_PRODUCTS = 300_000
"""Number of products up to which a problem keeps its shape."""
DIGITS = 13
"""Number of significant bits of numbers that show roundings: more than TF32, bfloat16 and float16 have."""
FAR = {False: (12,), True: (12, 28)}
"""Exponents of numbers such as 3 * 2^12 + 1, whose sums are exact in a short format too, once it has dropped the 1; for
dtypes without and with the digits of float64."""
FRACTION = -3
"""An exponent of numbers that are no integers."""
SMALL = -30
"""An exponent of numbers that are subnormal in float16, and not in TF32."""


def nearby(
    problem: Problem,
    rng: np.random.Generator,
    ring: str,
    values: str = "integers",
    fixed: Mapping[str, Any] | None = None,
) -> Problem | None:
    """Draw a problem near another one, or return None if what was drawn is not a valid convolution.

    Parameters
    ----------
    problem : Problem
    rng : numpy.random.Generator
    ring : str
        One of `RINGS`.
    values : str
        ``"integers"``, or ``"digits"`` for numbers that short formats do not hold.
    fixed : mapping, optional
        Options to keep.

    Examples
    --------
    >>> from multiconv.testing.problem_values import given_values
    >>> problem = given_values("mine", ConvSpec(), np.ones((1, 1, 3)), np.ones((1, 1, 2)))
    >>> nearby(problem, np.random.default_rng(0), "of this shape").x.shape
    (1, 1, 3)
    """
    fixed = fixed or {}
    g, spec = problem.geometry, problem.spec
    bias = problem.bias is not None
    if ring == RINGS[0] and g.products * g.batch <= MOST_PRODUCTS:
        sizes = g.batch, g.in_channels // g.groups, g.out_channels // g.groups, g.size, g.kernel
    else:
        if ring == RINGS[2]:
            spec, bias = _other_options(g, spec, bias, rng, fixed)
        sizes = _other_sizes(g, spec, rng, fixed, kernels=ring == RINGS[2])
    batch, c_in, c_out, size, kernel = sizes
    channels = c_in * spec.groups
    x_shape = (batch, *size, channels) if spec.channels_last else (batch, channels, *size)
    try:
        drawn = spec.resolve(x_shape, (c_out * spec.groups, c_in, *kernel))
        return _with_values(problem, spec, drawn, rng, values, bias=bias)
    except ConvError:
        return None


def _other_options(
    g: Geometry, spec: ConvSpec, bias: bool, rng: np.random.Generator, fixed: Mapping[str, Any]
) -> tuple[ConvSpec, bool]:
    def numbers(name: str, own: Shape, most: int) -> Shape:
        if name in fixed:
            return own
        return tuple(int(rng.integers(1, most + 1)) for _ in own)

    padding = spec.padding
    if "padding" not in fixed and (not isinstance(padding, str) or rng.random() < 0.5):
        padding = tuple((int(b), int(a)) for b, a in rng.integers(0, 4, (g.ndim, 2)))
    groups = g.groups
    if not {"groups", "in_channels", "out_channels"} & set(fixed):
        groups = int(rng.choice([1, 2, 3, min(g.groups, MOST_CHANNELS)]))
    options = ConvSpec(numbers("stride", g.stride, 4), padding, numbers("dilation", g.dilation, 3), groups, spec.layout)
    return options, bias if "bias" in fixed else bool(rng.random() < 0.7)


def _other_sizes(
    g: Geometry, spec: ConvSpec, rng: np.random.Generator, fixed: Mapping[str, Any], *, kernels: bool
) -> tuple[int, int, int, Shape, Shape]:
    def number(name: str, own: int, most: int, least: int = 1) -> int:
        return own if name in fixed else int(rng.integers(least, max(least, most) + 1))

    kernel = g.kernel
    if kernels and "kernel" not in fixed:
        side = int(rng.integers(1, 5))  # often equal sides: some mistakes need a square
        kernel = (side,) * g.ndim if rng.random() < 0.5 else tuple(int(rng.integers(1, 5)) for _ in kernel)
    dilation = spec.each(g.ndim)[1]
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
    most = MOST_PIXELS if g.ndim < 3 else MOST_PIXELS // 2
    size = g.size
    if "size" not in fixed:
        size = tuple(int(rng.integers(min(e, 40), min(e, 40) + most)) for e in extent)
        size = (max(size),) * g.ndim if rng.random() < 0.25 else size
    c_in, c_out = g.in_channels // g.groups, g.out_channels // g.groups
    c_in = c_in if "in_channels" in fixed else min(c_in, MOST_CHANNELS)
    c_out = c_out if "out_channels" in fixed else min(c_out, MOST_CHANNELS)
    if kernels or rng.random() < 0.5:  # as many channels as the problem has, or nearly
        c_in = number("in_channels", c_in, min(c_in + 2, MOST_CHANNELS))
        c_out = (
            c_in if rng.random() < 0.25 and "out_channels" not in fixed else number("out_channels", c_out, c_out + 2)
        )
    return number("batch", g.batch, 3), c_in, c_out, size, kernel


def _with_values(
    problem: Problem, spec: ConvSpec, g: Geometry, rng: np.random.Generator, values: str, *, bias: bool
) -> Problem:
    terms = max(contraction(d, g, bias=True) for d in ("forward", "input gradient", "kernel gradient"))
    most = largest_exact(problem.dtype, terms)
    shapes: dict[str, Shape] = {
        "x": g.x_shape, "w": g.w_shape, "dy": g.y_shape, "bias": (g.out_channels,), "x_bias": (g.in_channels,),
    }  # fmt: skip
    if values == "integers":
        arrays: dict[str, Any] = {name: rng.integers(-most, most + 1, shape) for name, shape in shapes.items()}
    else:
        digits = int(bounds.finfo(problem.dtype).nmant)
        draw = _far(rng, FAR[digits > 50]) if digits > 50 or rng.random() < 0.5 else _long(rng, small=digits > 20)
        # One operand has the digits, so that products of two operands are exact.
        long = (str(rng.choice(["x", "w", "dy"])), "bias", "x_bias")
        arrays = {name: draw(shape) if name in long else rng.integers(-3, 4, shape) for name, shape in shapes.items()}
    if not bias:
        arrays["bias"] = arrays["x_bias"] = None
    dtype = dtype_named(problem.dtype)
    held: list[Any] = [None if a is None else a.astype(dtype) for a in arrays.values()]
    x, w, dy, own, other = held
    return Problem("nearby", spec, x, w, dy, own, other, values="integers")


Draw = Callable[[Shape], Any]


def _long(rng: np.random.Generator, *, small: bool) -> Draw:
    """Draw numbers of `DIGITS` bits. Float32 sums up to 2^9 products of them and small integers exactly."""
    scale = 2.0 ** int(rng.choice([0, FRACTION, SMALL] if small else [0, FRACTION]))
    return lambda shape: rng.integers(-(2**DIGITS), 2**DIGITS + 1, shape) * scale


def _far(rng: np.random.Generator, exponents: tuple[int, ...]) -> Draw:
    """Draw sums of a small integer and a few times a much larger power of two."""
    far, scale = 2.0 ** int(rng.choice(exponents)), 2.0 ** int(rng.choice([0, FRACTION]))
    return lambda shape: (rng.choice([-3, -2, -1, 1, 2, 3], shape) * far + rng.integers(-3, 4, shape)) * scale


def largest_exact(dtype: str, terms: int) -> int:
    """Return the largest integer whose products a dtype sums exactly, in any order, in sums of so many terms.

    Examples
    --------
    >>> largest_exact("float32", 64), largest_exact("float16", 64)
    (30, 5)
    """
    digits = int(bounds.finfo(dtype).nmant) + 1
    return max(1, min(30, int((2**digits / max(terms, 1)) ** 0.5)))
