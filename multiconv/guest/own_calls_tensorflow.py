"""TensorFlow's own calls: `tf.nn.conv{1,2,3}d`, `tf.nn.conv{1,2,3}d_transpose` and `keras.layers.Conv{1,2,3}D`."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from multiconv.core.geometry import Geometry
from multiconv.core.types import Array
from multiconv.guest.own_calls import Call, OwnCalls, is_same


def service() -> OwnCalls:
    """Return what the worker serves."""
    return OwnCalls("multiconv.backends.tensorflow:TensorflowBackend", forward, conv_transpose, layer, COMPILED)


def forward(g: Geometry, x: Array, w: Array, bias: Array | None) -> Array:
    """Call `tf.nn.conv2d`, or the same in 1-D or 3-D. It infers the groups from the shapes."""
    call = (tf.nn.conv1d, tf.nn.conv2d, tf.nn.conv3d)[g.ndim - 1]
    return call(x, w, _axes(g, g.stride), _padding(g), _data_format(g), _axes(g, g.dilation), **_given(bias=bias))


def conv_transpose(g: Geometry, y: Array, w: Array, bias: Array | None) -> Array:
    """Call `tf.nn.conv2d_transpose`, or the same in 1-D or 3-D."""
    call = (tf.nn.conv1d_transpose, tf.nn.conv2d_transpose, tf.nn.conv3d_transpose)[g.ndim - 1]
    return call(
        y, w, g.x_shape, _axes(g, g.stride), _padding(g), _data_format(g), _axes(g, g.dilation), **_given(bias=bias)
    )


def layer(g: Geometry, x: Array, w: Array, bias: Array | None) -> Array:
    """Call `keras.layers.Conv2D`, or the same in 1-D or 3-D."""
    data_format = "channels_last" if g.channels_last else "channels_first"
    words = {"SAME": "same", "VALID": "valid"}
    padding = _padding(g)
    module = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)[g.ndim - 1](
        g.out_channels,
        g.kernel,
        strides=g.stride,
        padding=words[padding] if isinstance(padding, str) else padding,
        data_format=data_format,
        dilation_rate=g.dilation,
        groups=g.groups,
        use_bias=bias is not None,
        dtype=w.dtype.name,
    )
    module.build(g.x_shape)
    kernel = tf.transpose(w, (*range(2, 2 + g.ndim), 1, 0))
    module.set_weights([kernel, *([] if bias is None else [bias])])
    return module(x)


def _function(correlate: Call, g: Geometry, w: Array) -> Call:
    function: Call = tf.function(lambda x: correlate(x, w, None))
    return function


def _xla(correlate: Call, g: Geometry, w: Array) -> Call:
    function: Call = tf.function(lambda x: correlate(x, w, None), jit_compile=True)
    return function


COMPILED = {"tf.function": _function, "tf.function(jit_compile=True)": _xla}


def _padding(g: Geometry) -> Any:
    """Return the word for the padding if there is one, else a pair for each axis."""
    if not any(map(any, g.pads)):
        return "VALID"
    if is_same(g):
        return "SAME"
    return [(0, 0), *g.pads, (0, 0)] if g.channels_last else [(0, 0), (0, 0), *g.pads]


def _data_format(g: Geometry) -> str:
    spatial = "DHW"[3 - g.ndim :]
    return f"N{spatial}C" if g.channels_last else f"NC{spatial}"


def _axes(g: Geometry, numbers: tuple[int, ...]) -> tuple[int, ...]:
    return (1, *numbers, 1) if g.channels_last else (1, 1, *numbers)


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
