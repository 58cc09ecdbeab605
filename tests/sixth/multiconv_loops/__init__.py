"""A sixth backend: NumPy's arrays and plain Python loops. All that a backend outside multiconv needs is here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from multiconv import Array, ConvSpec, FrameworkBackend, Geometry, Host, Operation, UnsupportedError

__version__ = "1.0"


class LoopsBackend(FrameworkBackend):
    """A loop over the taps of the kernel, each of which sees some of the padded input's pixels."""

    name = "loops"
    layouts = ("channels_first", "channels_last")

    # ---- Arrays

    @property
    def version(self) -> str:
        return __version__

    def is_array(self, value: Any) -> bool:
        return isinstance(value, np.ndarray)

    def from_numpy(self, host: Host) -> Array:
        return host

    def to_numpy(self, array: Array) -> Host:
        return np.asarray(array)

    def transpose(self, array: Array, axes: Sequence[int]) -> Array:
        return np.transpose(array, axes)

    def flip(self, array: Array, axes: Sequence[int]) -> Array:
        return np.flip(array, tuple(axes))

    def pad(self, array: Array, widths: Sequence[tuple[int, int]]) -> Array:
        return np.pad(array, widths)

    def stack(self, arrays: Sequence[Array]) -> Array:
        return np.stack(arrays)

    # ---- Convolution

    def native_corr2d(self, X: Array, K: Array) -> Array:
        Y = np.zeros((X.shape[0] - K.shape[0] + 1, X.shape[1] - K.shape[1] + 1), X.dtype)
        for i, j in np.ndindex(Y.shape):
            for a, b in np.ndindex(K.shape):
                Y[i, j] += X[i + a, j + b] * K[a, b]
        return Y

    def native_cross_correlate(self, g: Geometry) -> Operation:
        return Loop(g)

    def native_conv_transpose(self, g: Geometry) -> Operation:
        loop = Loop(g)

        def conv_transpose(y: Array, w: Array, bias: Array | None = None) -> Array:
            x = loop.input_gradient(y, w)
            return x if bias is None else x + loop.along_channels(bias)

        return conv_transpose

    def native_layer(self, spec: ConvSpec, w: Host, bias: Host | None) -> Callable[[Array], Array]:
        return lambda x: self.cross_correlate(x, w, bias, **vars(spec))

    # ---- Running

    def vjp(self, function: Operation, primals: Sequence[Array], cotangent: Array) -> tuple[Array, ...]:
        if not isinstance(function, Loop):
            raise UnsupportedError("loops has no autodiff: it has the gradients of its own cross-correlation only")
        x, w, *bias = primals
        gradients = [function.input_gradient(cotangent, w), function.kernel_gradient(x, cotangent)]
        return (*gradients, *(function.bias_gradient(cotangent) for _ in bias))

    def pads_natively(self, g: Geometry) -> bool:
        return True

    def block(self, array: Array) -> Array:
        return array

    def devices(self) -> list[str]:
        return ["cpu"]


class Loop:
    """The cross-correlation of one geometry, and its gradients.

    Channels are two axes, the group and the channel within it, and spatial axes one, so that each tap of the kernel is
    a matrix for each group.
    """

    def __init__(self, g: Geometry) -> None:
        self.g = g

    def __call__(self, x: Array, w: Array, bias: Array | None = None) -> Array:
        g, padded = self.g, self.padded(x)
        y = np.zeros((g.batch, g.groups, g.out_channels // g.groups, prod(g.out)), x.dtype)
        for tap in np.ndindex(*g.kernel):
            y += self.matrix(w, tap) @ self.grouped(padded[self.seen(tap)])
        y = self.laid_out(y.reshape(g.batch, g.out_channels, *g.out))
        return y if bias is None else y + self.along_channels(bias)

    def input_gradient(self, dy: Array, w: Array) -> Array:
        """To each pixel what the taps that see it have of `dy`."""
        g, dy = self.g, self.grouped(self.channels_first(dy))
        dx = np.zeros((g.batch, g.in_channels, *g.padded), dy.dtype)
        for tap in np.ndindex(*g.kernel):
            part = self.matrix(w, tap).swapaxes(1, 2) @ dy
            dx[self.seen(tap)] += part.reshape(g.batch, g.in_channels, *g.out)
        inside: Any = (..., *(slice(before, before + n) for n, (before, _) in zip(g.size, g.pads)))
        return self.laid_out(dx[inside])

    def kernel_gradient(self, x: Array, dy: Array) -> Array:
        """To each tap the sum of `dy` times what it sees."""
        padded, dy, dw = self.padded(x), self.grouped(self.channels_first(dy)), np.empty(self.g.w_shape, dy.dtype)
        for tap in np.ndindex(*self.g.kernel):
            part = dy @ self.grouped(padded[self.seen(tap)]).swapaxes(2, 3)
            dw[(..., *tap)] = part.sum(axis=0).reshape(self.g.w_shape[:2])
        return dw

    def bias_gradient(self, dy: Array) -> Array:
        """The sum of `dy` over all but the channels."""
        return self.grouped(self.channels_first(dy)).sum(axis=(0, 3)).ravel()

    def padded(self, x: Array) -> Array:
        """The input with its zeros, channels first."""
        return np.pad(self.channels_first(x), ((0, 0), (0, 0), *self.g.pads))

    def seen(self, tap: tuple[int, ...]) -> Any:
        """Where the padded input has the pixels that a tap sees."""
        starts = [i * d for i, d in zip(tap, self.g.dilation)]
        return (..., *(slice(a, a + (o - 1) * s + 1, s) for a, o, s in zip(starts, self.g.out, self.g.stride)))

    def matrix(self, w: Array, tap: tuple[int, ...]) -> Array:
        """A tap's weights as (groups, C_out / groups, C_in / groups)."""
        return w[(..., *tap)].reshape(self.g.groups, -1, w.shape[1])

    def grouped(self, array: Array) -> Array:
        r"""(N, channels, \*out) as (N, groups, channels / groups, out)."""
        return array.reshape(self.g.batch, self.g.groups, array.shape[1] // self.g.groups, -1)

    def along_channels(self, bias: Array) -> Array:
        """The bias in a shape that broadcasts in the geometry's layout."""
        return bias if self.g.channels_last else bias.reshape(-1, *[1] * self.g.ndim)

    def channels_first(self, array: Array) -> Array:
        """From the geometry's layout."""
        return np.moveaxis(array, -1, 1) if self.g.channels_last else array

    def laid_out(self, array: Array) -> Array:
        """In the geometry's layout."""
        return np.moveaxis(array, 1, -1) if self.g.channels_last else array
