"""The proof of an identification: fresh inputs of several sizes, compared with the exact oracle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from multiconv.core import bounds
from multiconv.core.dtypes import dtype_named
from multiconv.core.errors import ConvError
from multiconv.core.geometry import Geometry
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Host, Shape
from multiconv.oracle import definition
from multiconv.oracle.exact import scaled
from multiconv.subjects.box import Box, Refused
from multiconv.subjects.fitting import AxisFit

LARGEST = 4
"""The largest integer of an input."""
BATCH = 2
MODES = {"circular": "wrap", "reflect": "reflect", "replicate": "edge", "symmetric": "symmetric"}
"""Border modes, with the mode of `numpy.pad`."""


@dataclass(frozen=True)
class Proof:
    """One fresh input and the answer to it.

    Attributes
    ----------
    size : tuple of int
    exact : bool
        Whether the answer is equal to the oracle's to the bit.
    must_be_exact : bool
        Whether every partial sum is a number of the dtype, so that any order of summation is exact.
    ratio : float
        The largest error in units of the bound on rounding; 0 if it is exact.
    """

    size: Shape
    exact: bool
    must_be_exact: bool
    ratio: float


def prove(
    box: Box, spec: ConvSpec, w: Host, bias: Host | None, sizes: Sequence[Shape], output_padding: Shape | None
) -> tuple[Proof, ...]:
    """Compare the box with the oracle on fresh integers of each size.

    Parameters
    ----------
    box : Box
    spec : ConvSpec
    w, bias : array or None
    sizes : sequence of tuple of int
    output_padding : tuple of int or None
        Of a transposed convolution; None for a cross-correlation.

    Raises
    ------
    Refused
        If an answer is not the oracle's.
    """
    return tuple(_proof(box, spec, w, bias, size, output_padding, seed) for seed, size in enumerate(sizes))


def _proof(
    box: Box, spec: ConvSpec, w: Host, bias: Host | None, size: Shape, output_padding: Shape | None, seed: int
) -> Proof:
    rng = np.random.default_rng([7, seed])
    x = rng.integers(-LARGEST, LARGEST + 1, (BATCH, box.channels, *size)).astype(dtype_named(box.dtype))
    first = spec.with_layout(len(size), channels_last=False)
    compute: Callable[..., Any]
    if output_padding is None:
        g = first.resolve(x.shape, w.shape)
        direction, compute = "forward", definition.cross_correlate
    else:
        g = first.resolve_transpose(x.shape, w.shape, output_padding)
        direction, compute = "conv_transpose", definition.conv_transpose
    return _compared(box, x, w, bias, g, direction, compute)


def _compared(
    box: Box, x: Host, w: Host, bias: Host | None, g: Geometry, direction: str, compute: Callable[..., Any]
) -> Proof:
    size = x.shape[2:]
    y = box(x)
    wide = [None if a is None else definition.widen(a) for a in (x, w, bias)]
    right = compute(*wide, g)
    if y.shape != right.shape:
        raise Refused("depends on the size", f"for {size} its result is {y.shape[2:]}, not {right.shape[2:]}", x=x, y=y)
    terms = definition.contraction(direction, g, bias=bias is not None)
    must = _holds(w, bias, terms, int(abs(x.astype(np.float64)).max()), box.dtype)
    magnitude = compute(*(None if a is None else abs(a) for a in wide), g)
    bound = np.zeros(()) if must else bounds.componentwise(magnitude, terms, box.dtype, if_finite=True)
    ratio = float(bounds.ratios(y, right, bound).max())
    if ratio > 1:
        raise Refused(
            "not a convolution", f"on fresh integers of {size} its answer is not that of the convolution that its "
            "impulses show", x=x, y=y, expected=right.astype(y.dtype), wrong=bounds.ratios(y, right, bound) > 1,
        )  # fmt: skip
    exact = bool((y == right.astype(y.dtype)).all())
    return Proof(tuple(size), exact, must, 0.0 if exact else ratio)


def _holds(w: Host, bias: Host | None, terms: int, largest: int, dtype: str) -> bool:
    """Return whether every sum is a multiple of one power of two that the dtype holds."""
    try:
        parts = [scaled(a) for a in (w, bias) if a is not None and a.any()]
    except ConvError:
        return False
    if not parts:
        return True
    exponent = min(p.exponent for p in parts)
    sizes = [max(abs(int(i)) << p.exponent - exponent for i in p.integers.flat) for p in parts]
    total = terms * largest * sizes[0] + (sizes[1] if len(sizes) > 1 else 0)
    return bool(total * bounds.unit_roundoff(dtype) <= 1)


def border_mode(
    box: Box,
    fits: Sequence[AxisFit],
    size: Shape,
    bias: Host,
    weights: Callable[[Sequence[AxisFit]], tuple[Host, bool]],
) -> str:
    """Return which border mode explains what the box does at its border, or an empty string."""
    w, _ = weights(fits)
    rng = np.random.default_rng(8)
    x = rng.integers(-LARGEST, LARGEST + 1, (1, box.channels, *size)).astype(dtype_named(box.dtype))
    y = box(x)
    pads = [(max(f.before, 0), max(f.after, 0)) for f in fits]
    spec = ConvSpec(tuple(f.stride for f in fits), 0, tuple(f.dilation for f in fits))
    for mode, of_numpy in MODES.items():
        if of_numpy == "reflect" and any(max(p) >= n for p, n in zip(pads, size)):
            continue
        padded = np.pad(x, [(0, 0), (0, 0), *pads], mode=of_numpy)  # type: ignore[call-overload]
        try:
            g = spec.resolve(padded.shape, w.shape)
        except ConvError:
            continue
        of_x, of_w, of_bias = (definition.widen(a) for a in (padded, w, bias))
        right = definition.cross_correlate(of_x, of_w, of_bias, g)
        if right.shape != y.shape:
            continue
        magnitude = definition.cross_correlate(abs(of_x), abs(of_w), abs(of_bias), g)
        terms = definition.contraction("forward", g, bias=True)
        if (bounds.ratios(y, right, bounds.componentwise(magnitude, terms, box.dtype, if_finite=True)) <= 1).all():
            return mode
    return ""
