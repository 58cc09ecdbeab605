"""JAX's own calls: `lax.conv_general_dilated`, `lax.conv_transpose` and `flax.nnx.Conv`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from multiconv.core.geometry import Geometry
from multiconv.core.types import Array
from multiconv.guest.own_calls import Call, OwnCalls


def service() -> OwnCalls:
    """Return what the worker serves."""
    return OwnCalls("multiconv.backends.jax:JaxBackend", forward, conv_transpose, layer, COMPILED)


def forward(g: Geometry, x: Array, w: Array, bias: Array | None) -> Array:
    """Call `lax.conv_general_dilated`."""
    call: Any = lax.conv_general_dilated
    return call(
        x, w, g.stride, g.pads,
        rhs_dilation=g.dilation,
        dimension_numbers=_dimension_numbers(g),
        feature_group_count=g.groups,
        precision=lax.Precision.HIGHEST,
        **_given(bias=bias),
    )  # fmt: skip


def conv_transpose(g: Geometry, y: Array, w: Array, bias: Array | None) -> Array:
    """Call `lax.conv_transpose`, whose padding applies to the input after the stride has stretched it."""
    call: Any = lax.conv_transpose
    pads = [
        (e - 1 - before, n + before - (o - 1) * s - 1)
        for e, (before, _), n, o, s in zip(g.extent, g.pads, g.size, g.out, g.stride)
    ]
    return call(
        y, w, g.stride, pads,
        rhs_dilation=g.dilation,
        dimension_numbers=_dimension_numbers(g),
        transpose_kernel=True,
        precision=lax.Precision.HIGHEST,
        **_given(bias=bias, feature_group_count=None if g.groups == 1 else g.groups),
    )  # fmt: skip


def layer(g: Geometry, x: Array, w: Array, bias: Array | None) -> Array:
    """Call `nnx.Conv`."""
    module = nnx.Conv(
        g.in_channels,
        g.out_channels,
        g.kernel,
        strides=g.stride,
        padding=g.pads,
        kernel_dilation=g.dilation,
        feature_group_count=g.groups,
        use_bias=bias is not None,
        param_dtype=w.dtype,
        precision=lax.Precision.HIGHEST,
        kernel_init=lambda *_: jnp.transpose(w, (*range(2, w.ndim), 1, 0)),
        bias_init=lambda *_: bias,
        rngs=nnx.Rngs(0),
    )
    return module(x)


def _jit(correlate: Call, g: Geometry, w: Array) -> Call:
    jitted: Call = jax.jit(lambda x: correlate(x, w, None))
    return jitted


COMPILED = {"jax.jit": _jit}


def _dimension_numbers(g: Geometry) -> tuple[str, str, str]:
    spatial = "DHW"[3 - g.ndim :]
    data = f"N{spatial}C" if g.channels_last else f"NC{spatial}"
    return data, f"OI{spatial}", data


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
