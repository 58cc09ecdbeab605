"""MXNet's own calls: `nd.Convolution`, `nd.Deconvolution` and `gluon.nn.Conv{1,2,3}D`."""

from __future__ import annotations

from typing import Any

import mxnet as mx
from mxnet import nd
from mxnet.gluon import nn

from multiconv.core.geometry import Geometry
from multiconv.core.types import Array
from multiconv.guest.own_calls import Call, OwnCalls, symmetric


def service() -> OwnCalls:
    """Return what the worker serves."""
    return OwnCalls("multiconv.backends.mxnet:MxnetBackend", forward, conv_transpose, layer, COMPILED)


def forward(g: Geometry, x: Array, w: Array, bias: Array | None) -> Array:
    """Call `nd.Convolution`."""
    return nd.Convolution(x, w, bias, no_bias=bias is None, num_filter=g.out_channels, **_options(g))


def conv_transpose(g: Geometry, y: Array, w: Array, bias: Array | None) -> Array:
    """Call `nd.Deconvolution`."""
    options = {**_options(g), "adj": g.output_padding, "num_filter": g.in_channels}
    return nd.Deconvolution(y, w, bias, no_bias=bias is None, **options)


def layer(g: Geometry, x: Array, w: Array, bias: Array | None) -> Array:
    """Call `gluon.nn.Conv2D`, or the same in 1-D or 3-D."""
    return _block(g, w, bias)(x)


def _block(g: Geometry, w: Array, bias: Array | None) -> Any:
    block = (nn.Conv1D, nn.Conv2D, nn.Conv3D)[g.ndim - 1](
        g.out_channels,
        g.kernel,
        strides=g.stride,
        padding=symmetric(g) or g.pads,
        dilation=g.dilation,
        groups=g.groups,
        layout=_layout(g),
        use_bias=bias is not None,
        in_channels=g.in_channels,
    )
    block.cast(w.dtype)
    block.initialize(init=mx.init.Zero())
    block.weight.set_data(w)
    if bias is not None:
        block.bias.set_data(bias)
    return block


def _hybridize(correlate: Call, g: Geometry, w: Array) -> Call:
    block: Call = _block(g, w, None)
    block.hybridize()  # type: ignore[attr-defined]
    return block


COMPILED = {"hybridize": _hybridize}


def _options(g: Geometry) -> dict[str, Any]:
    return {
        "kernel": g.kernel,
        "stride": g.stride,
        "dilate": g.dilation,
        "pad": symmetric(g) or g.pads,
        "num_group": g.groups,
        "layout": _layout(g),
    }


def _layout(g: Geometry) -> str:
    spatial = "DHW"[3 - g.ndim :]
    return f"N{spatial}C" if g.channels_last else f"NC{spatial}"
