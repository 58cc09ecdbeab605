"""JAX: `jax.lax.conv_general_dilated`, jitted. 64-bit mode is on only within the calls that need it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from multiconv.core.framework import FrameworkBackend
from multiconv.core.geometry import Geometry
from multiconv.core.layer import InputCheck, rebuilt
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Array, Host, Operation, Shape


class JaxBackend(FrameworkBackend):
    """JAX, which supports asymmetric padding and both layouts."""

    name = "jax"
    dtypes = ("float16", "bfloat16", "float32", "float64")
    layouts = ("channels_first", "channels_last")
    layer_layouts = ("channels_last",)
    empty_batch = True
    compiles = True
    multiplies_zeros = True
    survives_fork = False

    # ---- Arrays

    @property
    def version(self) -> str:
        return jax.__version__

    def is_array(self, value: Any) -> bool:
        return isinstance(value, jax.Array)

    def dtype(self, array: Array) -> str:
        return str(array.dtype)

    def from_numpy(self, host: Host) -> Array:
        with self.scope(host.dtype.name):
            return jax.device_put(np.array(host, order="C"))  # a copy, because the array may share its memory

    def to_numpy(self, array: Array) -> Host:
        host: Host = jax.device_get(array)
        return host

    def transpose(self, array: Array, axes: Sequence[int]) -> Array:
        return jnp.transpose(array, axes)

    def flip(self, array: Array, axes: Sequence[int]) -> Array:
        return lax.rev(array, tuple(axes))

    def pad(self, array: Array, widths: Sequence[tuple[int, int]]) -> Array:
        return jnp.pad(array, widths)

    def stack(self, arrays: Sequence[Array]) -> Array:
        return jnp.stack(arrays)

    # ---- Convolution

    def native_corr2d(self, X: Array, K: Array) -> Array:
        h, w = K.shape
        with self.scope(self.dtype(X)):
            Y = jnp.zeros((X.shape[0] - h + 1, X.shape[1] - w + 1), X.dtype)
            for i in range(Y.shape[0]):
                for j in range(Y.shape[1]):
                    Y = Y.at[i, j].set((X[i : i + h, j : j + w] * K).sum())
        return Y

    def native_cross_correlate(self, g: Geometry) -> Operation:
        along_channels = (-1, *[1] * (0 if g.channels_last else g.ndim))

        def cross_correlate(x: Array, w: Array, bias: Array | None = None) -> Array:
            y = lax.conv_general_dilated(
                x, w, g.stride, g.pads,
                rhs_dilation=g.dilation,
                dimension_numbers=dimension_numbers(g),
                feature_group_count=g.groups,
                precision=lax.Precision.HIGHEST,
            )  # fmt: skip
            return y if bias is None else y + bias.reshape(along_channels)

        return cross_correlate

    def native_conv_transpose(self, g: Geometry) -> Operation:
        along_channels = (-1, *[1] * (0 if g.channels_last else g.ndim))
        pads = [
            (e - 1 - before, n + before - (o - 1) * s - 1)
            for e, (before, _), n, o, s in zip(g.extent, g.pads, g.size, g.out, g.stride)
        ]

        def conv_transpose(y: Array, w: Array, bias: Array | None = None) -> Array:
            # The kernel has its channels swapped within each group, (C_in, C_out / groups, *kernel), and is reversed.
            swapped = w.reshape(g.groups, -1, *w.shape[1:]).swapaxes(1, 2).reshape(g.in_channels, -1, *g.kernel)
            x = lax.conv_general_dilated(
                y, self.flip(swapped, range(2, 2 + g.ndim)), (1,) * g.ndim, pads,
                lhs_dilation=g.stride,
                rhs_dilation=g.dilation,
                dimension_numbers=dimension_numbers(g),
                feature_group_count=g.groups,
                precision=lax.Precision.HIGHEST,
            )  # fmt: skip
            return x if bias is None else x + bias.reshape(along_channels)

        return conv_transpose

    def native_layer(self, spec: ConvSpec, w: Host, bias: Host | None) -> Any:
        from flax import nnx

        kernel = w.shape[2:]
        stride, dilation = spec.each(len(kernel))
        words = {"same": "SAME", "same_upper": "SAME", "same_lower": "SAME_LOWER"}
        with self.scope(w.dtype.name):
            return _checked(nnx.Conv)(
                w.shape[1] * spec.groups,
                w.shape[0],
                kernel,
                strides=stride,
                padding=spec.fixed_pads(kernel) or words[str(spec.padding)],
                kernel_dilation=dilation,
                feature_group_count=spec.groups,
                use_bias=bias is not None,
                param_dtype=w.dtype,
                precision=lax.Precision.HIGHEST,
                conv_general_dilated=_conv_general_dilated,
                kernel_init=lambda *_: self.from_numpy(w.transpose(*range(2, w.ndim), 1, 0)),
                bias_init=lambda *_: self.asarray(bias),
                rngs=nnx.Rngs(0),
            )

    def assemble(
        self, before: Sequence[Operation], layer: Any, after: Sequence[Operation], check: InputCheck
    ) -> Callable[[Array], Array]:
        from flax import nnx

        module: Any = _checked(nnx.Sequential)(*before, layer, *after) if before or after else layer
        module.check = check
        return cast("Callable[[Array], Array]", module)

    def pads_natively(self, g: Geometry) -> bool:
        return _pads_safely(g.kernel, g.stride, g.dilation, g.pads, g.out)

    def layer_pads_natively(self, spec: ConvSpec, w: Host) -> bool:
        return True

    # ---- Running

    def vjp(self, function: Operation, primals: Sequence[Array], cotangent: Array) -> tuple[Array, ...]:
        with self.scope(self.dtype(cotangent)):
            _, pullback = jax.vjp(function, *primals)
            gradients: tuple[Array, ...] = pullback(cotangent)
        return gradients

    def scope(self, dtype: str) -> AbstractContextManager[Any]:
        return jax.enable_x64(True) if dtype == "float64" else nullcontext()

    def stage(self, function: Operation, dtype: str) -> Operation:
        jitted: Operation = jax.jit(function)
        return partial(_in_scope, self.scope, dtype, jitted) if dtype == "float64" else jitted

    def block(self, array: Array) -> Array:
        return array.block_until_ready()

    def devices(self) -> list[str]:
        return [f"{d.platform}:{d.id}" + ("" if d.platform == "cpu" else f" {d.device_kind}") for d in jax.devices()]


def _in_scope(scope: Any, dtype: str, function: Operation, *arrays: Array) -> Any:
    with scope(dtype):
        return function(*arrays)


@cache
def _checked(module: Any) -> Any:
    """Return a subclass of one of Flax's modules that checks its input, and computes in 64-bit mode where it has to.

    It is created once, because Flax keeps every module class forever.
    """

    class Checked(module):  # type: ignore[misc]
        check: InputCheck | None = None

        def __call__(self, x: Array, **options: Any) -> Array:
            if self.check is None:
                return super().__call__(x, **options)
            dtype = str(_own_conv(self).kernel.dtype)
            backend: Any = self.check.backend
            with backend.scope(dtype):
                y: Array = super().__call__(self.check(x, dtype), **options)
            return y

        def __reduce__(self) -> Any:
            conv = _own_conv(self)
            bias = None if conv.bias is None else np.asarray(conv.bias[...])
            return rebuilt, (self.check, np.asarray(conv.kernel[...]), bias)

    Checked.__name__ = Checked.__qualname__ = module.__name__
    return Checked


def _own_conv(module: Any) -> Any:
    """Return the module that has the weights: this one, or one of its steps."""
    return next(step for step in (module, *getattr(module, "layers", ())) if hasattr(step, "kernel"))


def _pads_safely(kernel: Shape, stride: Shape, dilation: Shape, pads: Sequence[tuple[int, int]], out: Shape) -> bool:
    """Return whether XLA's CPU compiler is correct for a convolution with these pads and its gradients of any order.

    A gradient is itself a convolution. Its pads are those of this one, or the extent of the kernel or of the outputs
    less those pads. XLA reads out of bounds if the pad before an axis is negative and the pad after it is positive
    (openxla/xla#48713).
    """
    for k, s, d, pair, o in zip(kernel, stride, dilation, pads, out):
        if max(pair) > min((k - 1) * d, (o - 1) * s):
            return False
        # XLA mistakes an axis of a gradient for groups and aborts the process (0.10.2: "algebraic_simplifier.cc:
        # Window dimensions do not match RHS shape").
        if k == s == 2 and d == pair[0] == 1:
            return False
    return True


def _conv_general_dilated(
    x: Array, w: Array, stride: Shape, padding: str | Sequence[tuple[int, int]], **options: Any
) -> Array:
    """Call `lax.conv_general_dilated` for a layer of Flax, but pad explicitly where XLA gets the padding wrong."""
    size, kernel, dilation = x.shape[1:-1], w.shape[:-2], options["rhs_dilation"]
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    pads = lax.padtype_to_pads(size, extent, stride, padding) if isinstance(padding, str) else padding
    out = tuple((n + sum(pair) - e) // s + 1 for n, pair, e, s in zip(size, pads, extent, stride))
    if not _pads_safely(kernel, stride, dilation, pads, out):
        x, pads = jnp.pad(x, ((0, 0), *pads, (0, 0))), [(0, 0)] * len(kernel)
    return lax.conv_general_dilated(x, w, stride, pads, **options)


def dimension_numbers(g: Geometry) -> tuple[str, str, str]:
    """Return the orders of the axes in the notation of `lax`."""
    spatial = "DHW"[3 - g.ndim :]
    data = f"N{spatial}C" if g.channels_last else f"NC{spatial}"
    return data, f"OI{spatial}", data
