"""TensorFlow: `tf.nn.conv{1,2,3}d`, channels last, with workarounds for what its CPU kernels lack.

On a CPU, TensorFlow supports only channels last, and explicit pads only in 2-D. It has no gradient for explicit pads
with groups or dilation, no dilation together with a stride in 1-D and 3-D, and no groups in 3-D. It has gradients for
groups or dilation only in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any, cast

import tensorflow as tf

from multiconv.core.errors import UnsupportedError
from multiconv.core.framework import FrameworkBackend
from multiconv.core.geometry import Geometry
from multiconv.core.layer import InputCheck, rebuilt
from multiconv.core.partial_shapes import PartialShape, spatial
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Array, Host, Operation, Shape


class TensorflowBackend(FrameworkBackend):
    """TensorFlow in eager mode."""

    name = "tensorflow"
    dtypes = ("float16", "bfloat16", "float32", "float64")
    kernel_layout = "HWIO"
    layouts = ("channels_last",)
    layer_layouts = ("channels_last",)
    multiplies_zeros = True
    survives_fork = False

    # ---- Arrays

    @property
    def version(self) -> str:
        return str(tf.__version__)

    def is_array(self, value: Any) -> bool:
        return isinstance(value, (tf.Tensor, tf.Variable))

    def dtype(self, array: Array) -> str:
        return str(array.dtype.name)

    def from_numpy(self, host: Host) -> Array:
        return tf.constant(host)

    def to_numpy(self, array: Array) -> Host:
        host: Host = array.numpy()
        return host

    def transpose(self, array: Array, axes: Sequence[int]) -> Array:
        return tf.raw_ops.Transpose(x=array, perm=_constant(tuple(axes)))  # twice as fast as tf.transpose

    def flip(self, array: Array, axes: Sequence[int]) -> Array:
        return tf.reverse(array, axes)

    def pad(self, array: Array, widths: Sequence[tuple[int, int]]) -> Array:
        return tf.pad(array, widths)

    def stack(self, arrays: Sequence[Array]) -> Array:
        return tf.stack(arrays)

    # ---- Convolution

    def native_corr2d(self, X: Array, K: Array) -> Array:
        h, w = K.shape
        Y = tf.zeros((X.shape[0] - h + 1, X.shape[1] - w + 1), X.dtype)
        for i in range(Y.shape[0]):
            for j in range(Y.shape[1]):
                Y = tf.tensor_scatter_nd_update(Y, [[i, j]], [tf.reduce_sum(X[i : i + h, j : j + w] * K)])
        return Y

    def native_cross_correlate(self, g: Geometry) -> Operation:
        conv = (tf.nn.conv1d, tf.nn.conv2d, tf.nn.conv3d)[g.ndim - 1]
        dilation, data_format = (1, *g.dilation, 1), f"N{'DHW'[3 - g.ndim :]}C"
        # oneDNN misplaces outputs if it strides along an axis of one output, and writes past its memory's end in the
        # gradient of a strided one-pixel kernel. So these get only the pixels that they see, at stride 1.
        pointwise, axes = max(g.kernel) == 1, list(zip(g.out, g.extent, g.stride))
        seen = [slice(None, None, s) if pointwise else slice(e if o == 1 else None) for o, e, s in axes]
        stride = (1, *(1 if pointwise or o == 1 else s for o, _, s in axes), 1)
        window = (slice(None), *seen)
        cut = any(s > 1 and (pointwise or o == 1) for o, _, s in axes)
        padding = [(0, 0), *g.pads, (0, 0)] if any(map(any, g.pads)) else "VALID"
        dilated = max(g.dilation) > 1
        every_stride = (slice(None), *(slice(None, None, s) for s in stride[1:-1]))

        def one_group(x: Array, w: Array) -> Array:
            if dilated and x.dtype != tf.float32:
                y = tf.nn.convolution(x, w, padding="VALID", data_format=data_format, dilations=g.dilation)
                return y[every_stride]
            return conv(x, w, stride, padding, data_format=data_format, dilations=dilation)

        def cross_correlate(x: Array, w: Array, bias: Array | None = None) -> Array:
            x = x[window] if cut else x
            if g.groups > 1 and (g.ndim == 3 or x.dtype != tf.float32):
                of_groups = zip(tf.split(x, g.groups, -1), tf.split(w, g.groups, -1))
                y = tf.concat([one_group(x_part, w_part) for x_part, w_part in of_groups], -1)
            else:
                y = one_group(x, w)
            return y if bias is None else tf.nn.bias_add(y, bias)

        return cross_correlate

    def native_conv_transpose(self, g: Geometry) -> Operation:
        conv = (tf.nn.conv1d_transpose, tf.nn.conv2d_transpose, tf.nn.conv3d_transpose)[g.ndim - 1]
        stride = (1, *g.stride, 1)
        padding = [(0, 0), *g.pads, (0, 0)] if any(map(any, g.pads)) else "VALID"
        plain = g.groups == 1 and max(g.dilation) == 1
        forward = self.native_cross_correlate(g)

        def conv_transpose(y: Array, w: Array, bias: Array | None = None) -> Array:
            # The batch size is unknown while a function for every batch is traced, and `g` then has an example.
            x_shape = g.x_shape if y.shape[0] is not None else (tf.shape(y)[0], *g.x_shape[1:])
            if plain:
                x = conv(y, w, x_shape, stride, padding)
            else:
                (x,) = self.vjp(lambda x: forward(x, w), (tf.zeros(x_shape, y.dtype),), y)
            return x if bias is None else tf.nn.bias_add(x, bias)

        return conv_transpose

    def plan_any_size(self, operation: str, spec: ConvSpec, g: Geometry) -> Operation:
        # With two outputs along each axis, no call needs a workaround for its size.
        size, none = tuple(e + s for e, s in zip(g.extent, g.stride)), ((0, 0),) * g.ndim
        correlate = self._cross_correlate(replace(g, size=size, pads=none, out=(2,) * g.ndim).within_reach())

        def around(values: Sequence[Any], rest: Any) -> tuple[Any, ...]:
            return (rest, *values, rest) if spec.channels_last else (rest, rest, *values)

        def forward(x: Array, w: Array, bias: Array | None = None) -> Array:
            x = _large_enough(x, spec, g.kernel)
            pads = self.pads_of(x, spec, g.kernel)
            out = [(n + sum(pair) - e) // s + 1 for n, pair, e, s in zip(_size(x, spec), pads, g.extent, g.stride)]
            room = [tf.where(o == 1, s, 0) if s > 1 else 0 for o, s in zip(out, g.stride)]
            x = self.pad(x, around([(before, after + n) for (before, after), n in zip(pads, room)], (0, 0)))
            return correlate(x, w, bias)[around([slice(o) for o in out], slice(None))]

        if operation == "convolve":
            return lambda x, w, bias=None: forward(x, self.flip(w, range(2, 2 + g.ndim)), bias)
        return forward if operation == "cross_correlate" else self._gradients(forward)

    def pads_of(self, x: Array, spec: ConvSpec, kernel: Shape) -> Sequence[tuple[Any, Any]]:
        fixed = spec.fixed_pads(kernel)
        if fixed is not None or None not in x.shape:
            return fixed or super().pads_of(x, spec, kernel)
        stride, dilation = spec.each(len(kernel))
        of_axes = zip(_size(x, spec), stride, kernel, dilation)
        totals = [tf.maximum((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0) for n, s, k, d in of_axes]
        halves = [(total // 2, total - total // 2) for total in totals]
        return [(more, less) for less, more in halves] if spec.padding == "same_lower" else halves

    def with_shape(self, array: Array, shape: PartialShape) -> Array:
        return tf.ensure_shape(array, shape) if None in array.shape else array

    def native_layer(self, spec: ConvSpec, w: Host, bias: Host | None) -> Any:
        import keras

        if keras.backend.backend() != "tensorflow":
            raise UnsupportedError(
                f"Keras runs on {keras.backend.backend()} here, so its layers are not TensorFlow's: "
                "set KERAS_BACKEND=tensorflow"
            )
        kernel = w.shape[2:]
        stride, dilation = spec.each(len(kernel))
        strides_after, strides_before, apart = _by_hand(spec, w)
        layer = _checked((keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)[len(kernel) - 1])(
            w.shape[0],
            kernel,
            strides=1 if strides_after or strides_before else stride,
            padding="same" if spec.padding in ("same", "same_upper") else "valid",
            data_format="channels_last",
            dilation_rate=dilation,
            groups=spec.groups,
            use_bias=bias is not None,
            kernel_initializer="zeros",
            dtype=w.dtype.name,
        )
        layer.build((*[None] * (1 + len(kernel)), w.shape[1] * spec.groups))
        layer.set_weights([w.transpose(*range(2, w.ndim), 1, 0), *([] if bias is None else [bias])])
        every_stride = (slice(None), *(slice(None, None, s) for s in stride))
        if strides_before:
            return _steps()([lambda x: x[every_stride], layer])
        if strides_after:
            return _steps()([layer, lambda y: y[every_stride]])
        return _steps()([_with_two_outputs(layer)], layer) if apart else layer

    def assemble(
        self, before: Sequence[Operation], layer: Any, after: Sequence[Operation], check: InputCheck
    ) -> Callable[[Array], Array]:
        module = _steps()([*before, layer, *after]) if before or after else layer
        module.check = check
        return cast("Callable[[Array], Array]", module)

    def pads_natively(self, g: Geometry) -> bool:
        if not any(map(any, g.pads)):
            return True
        # oneDNN accesses memory out of bounds in bfloat16 if a pad is as large as the kernel. A call that gets only the
        # pixels that it sees must take them from the padded image.
        fits = all(max(pair) < e for pair, e in zip(g.pads, g.extent))
        plain = g.ndim == 2 and g.groups == 1 and max(g.dilation) == 1
        return fits and plain and not any(o == 1 and s > 1 for o, s in zip(g.out, g.stride))

    def layer_pads_natively(self, spec: ConvSpec, w: Host) -> bool:
        kernel = w.shape[2:]
        if spec.padding not in ("same", "same_upper"):
            return spec.fixed_pads(kernel) == ((0, 0),) * len(kernel)
        stride, _ = spec.each(len(kernel))
        # "same" is wrong in 3-D if a stride exceeds the kernel, and in the bfloat16 kernel gradient with any stride.
        wrong = any(s > k for s, k in zip(stride, kernel)) or (max(stride) > 1 and w.dtype.name == "bfloat16")
        return not wrong and not any(_by_hand(spec, w))

    # ---- Running

    def vjp(self, function: Operation, primals: Sequence[Array], cotangent: Array) -> tuple[Array, ...]:
        with tf.GradientTape() as tape:
            tape.watch(primals)
            y = function(*primals)
        return tuple(tape.gradient(y, primals, cotangent))

    def block(self, array: Array) -> Array:
        if "GPU" in array.device:
            array.numpy()
        return array

    def devices(self) -> list[str]:
        return [d.name.removeprefix("/device:").lower() for d in tf.config.list_logical_devices()]


def _size(x: Array, spec: ConvSpec) -> list[Any]:
    """Return the size of each spatial axis: a tensor if it is unknown while a function is traced."""
    sizes = zip(x.shape, tf.unstack(tf.shape(x)))
    return list(spatial([dynamic if n is None else n for n, dynamic in sizes], spec))


def _large_enough(x: Array, spec: ConvSpec, kernel: Shape) -> Array:
    """Return the input, refused when it is computed if the kernel is larger along an axis whose size is unknown."""
    _, dilation = spec.each(len(kernel))
    pads = spec.fixed_pads(kernel)
    checks = []
    for axis, n in enumerate(_size(x, spec)):
        extent = (kernel[axis] - 1) * dilation[axis] + 1
        least = 1 if pads is None else max(extent - sum(pads[axis]), 1)
        if not isinstance(n, int):
            message = f"the kernel is larger than the padded input: along spatial axis {axis} it spans {extent} pixels"
            checks.append(tf.debugging.assert_greater_equal(n, least, f"{message}, so the size must be >= {least}"))
    with tf.control_dependencies(checks):
        return tf.identity(x) if checks else x


def _by_hand(spec: ConvSpec, w: Host) -> tuple[bool, bool, bool]:
    """Return whether a layer needs a stride after its call, a stride before it, or room for a second output."""
    stride, dilation = spec.each(w.ndim - 2)
    if max(stride) == 1:
        return False, False, False
    if max(w.shape[2:]) == 1:
        return False, True, False  # oneDNN writes past its memory's end in the gradient of a strided one-pixel kernel
    if max(dilation) > 1:
        return True, False, False  # Keras has no stride with a dilation
    return False, False, spec.groups == 1 and w.shape[1] == 1  # oneDNN misplaces what has one output along an axis


def _with_two_outputs(layer: Any) -> Operation:
    """Return a function that calls a layer with room for a second output along each axis, and cuts that output off."""
    extent, stride = layer.kernel_size, layer.strides

    def with_two_outputs(x: Array) -> Array:
        if all(n is not None and n >= e + s for n, e, s in zip(x.shape[1:-1], extent, stride)):
            return layer(x)
        size = tf.unstack(tf.shape(x)[1:-1])
        room = [tf.maximum(e + s - n, 0) for n, e, s in zip(size, extent, stride)]
        y = layer(tf.pad(x, [(0, 0), *((0, n) for n in room), (0, 0)]))
        return y[(slice(None), *(slice(tf.maximum(n - e + s, 0) // s) for n, e, s in zip(size, extent, stride)))]

    return with_two_outputs


@cache
def _checked(module: Any) -> Any:
    """Return a subclass of one of Keras's classes that checks its input. Keras saves and loads it as its own class."""
    import keras

    class Checked(module):  # type: ignore[misc]
        check: InputCheck | None = None

        def __call__(self, x: Array, *args: Any, **options: Any) -> Array:
            if self.check is None:
                return super().__call__(x, *args, **options)
            if isinstance(x, keras.KerasTensor):  # while a model is built
                self.check.shape(x.shape)
                return super().__call__(x, *args, **options)
            dtype = self.weights[0].dtype
            x = self.check(x, dtype)
            if None in x.shape:
                x = _large_enough(x, self.check.spec, self.check.w_shape[2:])
            y = self.check.empty(x, dtype)
            return super().__call__(x, *args, **options) if y is None else y

        def __reduce__(self) -> Any:
            return rebuilt, (self.check, *self.get_weights())

    Checked.__name__ = Checked.__qualname__ = module.__name__
    Checked.__module__ = module.__module__
    return Checked


@cache
def _steps() -> Any:
    """Return the class of a layer with the steps before and after it."""
    import keras

    class Steps(keras.Model):  # type: ignore[misc]
        def __init__(self, steps: Sequence[Operation], *inner: Any) -> None:
            layers = [*inner, *(step for step in steps if isinstance(step, keras.layers.Layer))]
            super().__init__(dtype=layers[0].dtype)
            self.inner, self.steps = layers, tuple(steps)

        def call(self, x: Array) -> Array:
            for step in self.steps:
                x = step(x)
            return x

    return _checked(Steps)


@lru_cache(maxsize=256)
def _constant(axes: tuple[int, ...]) -> Array:
    """Return a permutation as a tensor, cached because creating one is slower than transposing a small image."""
    with tf.init_scope():
        return tf.constant(axes)
