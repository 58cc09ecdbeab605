"""MXNet: its operator Convolution, which supports only symmetric padding and channels first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import mxnet as mx
import numpy as np
from mxnet import autograd, nd

from multiconv.core import onednn
from multiconv.core.errors import ConvError
from multiconv.core.framework import FrameworkBackend
from multiconv.core.geometry import Geometry
from multiconv.core.layer import InputCheck
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Array, Host, Operation, Pads, Shape


class MxnetBackend(FrameworkBackend):
    """MXNet."""

    name = "mxnet"

    # ---- Arrays

    @property
    def version(self) -> str:
        return str(mx.__version__)

    def is_array(self, value: Any) -> bool:
        return isinstance(value, nd.NDArray) and not isinstance(value, mx.np.ndarray)

    def dtype_of(self, name: str, array: Any) -> str:
        if isinstance(array, mx.sym.Symbol):
            raise ConvError(
                f"{name} is a Symbol, as in a hybridized block, and has no shape: "
                "use the backend's layer() there, or don't hybridize this block"
            )
        return super().dtype_of(name, array)

    def device_of(self, array: Array) -> str:
        return "cpu(0)" if isinstance(array, np.ndarray) else str(array.context)

    def storage_of(self, array: Array) -> str:
        stored = "default" if isinstance(array, np.ndarray) else array.stype
        return "dense" if stored == "default" else f"sparse ({stored})"

    def from_numpy(self, host: Host) -> Array:
        return nd.array(host, dtype=host.dtype)

    def to_numpy(self, array: Array) -> Host:
        host: Host = array.asnumpy()
        return host

    def transpose(self, array: Array, axes: Sequence[int]) -> Array:
        return nd.transpose(array, axes)

    def flip(self, array: Array, axes: Sequence[int]) -> Array:
        return nd.reverse(array, tuple(axes))

    def pad(self, array: Array, widths: Sequence[tuple[int, int]]) -> Array:
        if array.ndim == 3:  # nd.pad takes 4 or 5 axes
            return self.pad(array.expand_dims(2), (*widths[:2], (0, 0), widths[2])).squeeze(2)
        return nd.pad(array, mode="constant", pad_width=tuple(n for pair in widths for n in pair))

    def stack(self, arrays: Sequence[Array]) -> Array:
        return nd.stack(*arrays)

    # ---- Convolution

    def native_corr2d(self, X: Array, K: Array) -> Array:
        h, w = K.shape
        # Nested lists, because autograd can't record an assignment into an array.
        rows = [
            nd.concat(*[(X[i : i + h, j : j + w] * K).sum() for j in range(X.shape[1] - w + 1)], dim=0)
            for i in range(X.shape[0] - h + 1)
        ]
        return nd.stack(*rows)

    def native_cross_correlate(self, g: Geometry) -> Operation:
        return _operation(mx.sym.Convolution, _options(g, num_filter=g.out_channels))

    def native_conv_transpose(self, g: Geometry) -> Operation:
        deconvolution = _operation(mx.sym.Deconvolution, _options(g, num_filter=g.in_channels, adj=g.output_padding))
        forward = self.native_cross_correlate(g)
        # nd.Deconvolution is silently wrong in float64 with stride and dilation on one axis. In 3-D it supports neither
        # float64 nor dilation.
        strided_and_dilated = any(s > 1 and d > 1 for s, d in zip(g.stride, g.dilation))
        plain = g.ndim < 3 and not strided_and_dilated

        def conv_transpose(y: Array, w: Array, bias: Array | None = None) -> Array:
            if plain:
                return deconvolution(y, w, bias)
            x = Adjoint(self, forward, g.x_shape)(y, w)
            return x if bias is None else x + bias.reshape((1, -1, *[1] * g.ndim))

        return conv_transpose

    def native_layer(self, spec: ConvSpec, w: Host, bias: Host | None) -> Any:
        from mxnet.gluon import nn

        kernel = w.shape[2:]
        stride, dilation = spec.each(len(kernel))
        conv: Any = (nn.Conv1D, nn.Conv2D, nn.Conv3D)[len(kernel) - 1](
            w.shape[0],
            kernel,
            strides=stride,
            padding=spec.symmetric_padding(kernel),
            dilation=dilation,
            groups=spec.groups,
            use_bias=bias is not None,
            in_channels=w.shape[1] * spec.groups,
        )
        conv.cast(w.dtype.name)
        conv.initialize(init=mx.init.Zero())
        conv.weight.set_data(self.from_numpy(w))
        if bias is not None:
            conv.bias.set_data(self.from_numpy(bias))
        return conv

    def assemble(
        self, before: Sequence[Operation], layer: Any, after: Sequence[Operation], check: InputCheck
    ) -> Callable[[Array], Array]:
        from mxnet.gluon import nn

        block: Any = layer
        if before or after:
            block = nn.Sequential()
            block.add(*map(nn.Lambda, before), layer, *map(nn.Lambda, after))
        unchecked = block.forward

        def forward(x: Array) -> Array:
            if isinstance(x, mx.sym.Symbol):  # of a hybridized parent
                return unchecked(x)
            dtype = np.dtype(layer.weight.dtype).name
            x = check(x, dtype)
            y = check.empty(x, dtype)
            return unchecked(x) if y is None else y

        block.forward = forward
        return cast("Callable[[Array], Array]", block)

    def pads_natively(self, g: Geometry) -> bool:
        return g.symmetric and not _gradient_is_wrong(g.stride, g.pads)

    def layer_pads_natively(self, spec: ConvSpec, w: Host) -> bool:
        kernel = w.shape[2:]
        padding = spec.symmetric_padding(kernel)
        if padding is None or w.shape[0] % 16:
            return padding is not None
        return not _gradient_is_wrong(spec.each(len(kernel))[0], tuple(zip(padding, padding)))

    # ---- Running

    def vjp(self, function: Operation, primals: Sequence[Array], cotangent: Array) -> tuple[Array, ...]:
        if autograd.is_recording():
            raise ConvError(
                "MXNet can't record cross_correlate_vjp, so its results would have no gradient: "
                "call it outside of autograd.record(), or within autograd.pause()"
            )
        leaves = [p.detach() for p in primals]
        for leaf in leaves:
            leaf.attach_grad()
        with autograd.record():
            y = function(*leaves)
        y.backward(cotangent)
        return tuple(leaf.grad for leaf in leaves)

    def block(self, array: Array) -> Array:
        array.wait_to_read()
        return array

    def devices(self) -> list[str]:
        return ["cpu", *(f"gpu:{i}" for i in range(mx.context.num_gpus()))]


class Adjoint(autograd.Function):  # type: ignore[misc]
    """The transposed convolution as the input gradient of the convolution, recorded so that it has gradients itself."""

    def __init__(self, backend: MxnetBackend, convolution: Operation, x_shape: Shape) -> None:
        super().__init__()
        self.backend, self.convolution, self.x_shape = backend, convolution, x_shape

    def forward(self, y: Array, w: Array) -> Array:
        """Compute the input gradient, for the cotangent y."""
        y, w = y.detach(), w.detach()  # or the gradients attached to them would be overwritten here
        self.save_for_backward(y, w)
        zeros = nd.zeros(self.x_shape, dtype=y.dtype)
        return self.backend.vjp(lambda x: self.convolution(x, w), (zeros,), y)[0]

    def backward(self, dx: Array) -> tuple[Array, Array]:
        """Compute the gradients of y and w."""
        y, w = self.saved_tensors
        return self.convolution(dx, w), self.backend.vjp(lambda w: self.convolution(dx, w), (w,), y)[0]


def _gradient_is_wrong(stride: Sequence[int], pads: Pads) -> bool:
    """Return whether the kernel gradient may be wrong: in 3-D, oneDNN reads out of bounds on a padded, strided axis."""
    in_3d = len(stride) == 3 and any(s > 1 and max(both) > 0 for s, both in zip(stride, pads))
    return in_3d or onednn.misplaces_kernel_gradient(stride, pads)


def _operation(operator: Callable[..., Any], options: dict[str, Any]) -> Operation:
    """Return the operator with its options converted to strings once, not at each call, as Gluon's hybridize does."""
    inputs = [mx.sym.var(name) for name in ("x", "w", "bias")]
    plain = nd.CachedOp(operator(*inputs[:2], no_bias=True, **options))
    biased = nd.CachedOp(operator(*inputs, no_bias=False, **options))

    def operation(x: Array, w: Array, bias: Array | None = None) -> Array:
        return plain(x, w) if bias is None else biased(x, w, bias)

    return operation


def _options(g: Geometry, **more: Any) -> dict[str, Any]:
    """Return MXNet's keyword arguments, without those that have their default value."""
    options = {"stride": g.stride, "dilate": g.dilation, "pad": tuple(before for before, _ in g.pads), **more}
    defaults = {"stride": (1,) * g.ndim, "dilate": (1,) * g.ndim, "pad": (0,) * g.ndim, "adj": (0,) * g.ndim}
    options = {name: value for name, value in options.items() if value != defaults.get(name)}
    return {"kernel": g.kernel, **options, **({} if g.groups == 1 else {"num_group": g.groups})}
