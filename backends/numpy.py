"""NumPy: im2col and a matrix product, with gradients by hand."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from multiconv.backend import Array, Backend, Host, Operation
from multiconv.errors import UnsupportedError
from multiconv.spec import ConvSpec, Geometry


class NumpyBackend(Backend):
    """Convolution written for this project, vectorised; it needs nothing but NumPy."""

    name = "numpy"
    layouts = ("channels_first", "channels_last")
    empty_batch = True

    # ---- Arrays

    @property
    def version(self) -> str:
        return np.__version__

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
        if not any(map(any, widths)):
            return array
        padded = np.zeros([before + n + after for n, (before, after) in zip(array.shape, widths)], array.dtype)
        padded[tuple(slice(before, before + n) for n, (before, _) in zip(array.shape, widths))] = array
        return padded

    def stack(self, arrays: Sequence[Array]) -> Array:
        return np.stack(arrays)

    # ---- Convolution

    def corr2d(self, X: Array, K: Array) -> Array:
        X, K = self._own_loop_arrays(X, K)
        h, w = K.shape
        Y = np.zeros((X.shape[0] - h + 1, X.shape[1] - w + 1), X.dtype)
        for i in range(Y.shape[0]):
            for j in range(Y.shape[1]):
                Y[i, j] = (X[i : i + h, j : j + w] * K).sum()
        return Y

    def native_cross_correlate(self, g: Geometry) -> Operation:
        return CrossCorrelation(self, g)

    def native_conv_transpose(self, g: Geometry) -> Operation:
        forward = CrossCorrelation(self, g)

        def conv_transpose(y: Array, w: Array, bias: Array | None = None) -> Array:
            x = forward.input_gradient(y, w)
            return x if bias is None else x + forward.along_channels(bias)

        return conv_transpose

    def native_layer(self, spec: ConvSpec, w: Host, bias: Host | None) -> Conv:
        return Conv(self, spec, w, bias)

    def pads_natively(self, g: Geometry) -> bool:
        return True

    # ---- Running

    def vjp(self, function: Operation, primals: Sequence[Array], cotangent: Array) -> tuple[Array, ...]:
        if not isinstance(function, CrossCorrelation):
            raise UnsupportedError("numpy has no autodiff: it has the gradients of its own cross-correlation only")
        x, w, *bias = primals
        gradients = [function.input_gradient(cotangent, w), function.kernel_gradient(x, cotangent)]
        return (*gradients, *(function.bias_gradient(cotangent) for _ in bias))

    def block(self, array: Array) -> Array:
        return array

    def devices(self) -> list[str]:
        return ["cpu"]


class CrossCorrelation:
    """Cross-correlation of one geometry and its gradients, one image at a time to bound the memory.

    An image's windows, the columns of im2col, are a matrix for each group: C_in / groups * kernel rows, a column an
    output. Then the output is ``w @ columns``, the kernel gradient ``dy @ columns.T``, and the input gradient ``w.T @
    dy`` put back where the windows were.
    """

    def __init__(self, backend: NumpyBackend, g: Geometry) -> None:
        self._pad = backend.pad
        self.g = g
        self.rows = g.in_channels // g.groups * prod(g.kernel)
        self.matrix = (g.groups, g.out_channels // g.groups, self.rows)
        self.widths = ((0, 0), *g.pads)
        self.no_copy = prod(g.kernel) == 1 and set(g.stride) == {1}
        span = [(o - 1) * s + 1 for o, s in zip(g.out, g.stride)]
        self.taps = [
            (slice(None), *(slice(i * d, i * d + n, s) for i, d, n, s in zip(tap, g.dilation, span, g.stride)))
            for tap in np.ndindex(*g.kernel)
        ]

    def __call__(self, x: Array, w: Array, bias: Array | None = None) -> Array:
        g = self.g
        kernel = w.reshape(self.matrix)
        y = np.empty((g.batch, g.groups, g.out_channels // g.groups, prod(g.out)), x.dtype)
        for image, out in zip(self._channels_first(x), y):
            np.matmul(kernel, self._columns(image), out=out)
        y = y.reshape(g.batch, g.out_channels, *g.out)
        if bias is not None:
            y += bias.reshape(-1, *[1] * g.ndim)
        return self._from_channels_first(y)

    def input_gradient(self, dy: Array, w: Array) -> Array:
        """dx = w.T @ dy, each row added back to the pixels that its tap of the kernel saw."""
        g = self.g
        kernel = w.reshape(self.matrix).transpose(0, 2, 1)
        dx = np.empty((g.batch, g.in_channels, *g.size), dy.dtype)
        inside = (slice(None), *(slice(before, before + n) for n, (before, _) in zip(g.size, g.pads)))
        for image, out in zip(self._channels_first(dy), dx):
            windows = kernel @ image.reshape(g.groups, -1, prod(g.out))
            windows = windows.reshape(g.in_channels, prod(g.kernel), *g.out)
            padded = np.zeros((g.in_channels, *g.padded), dy.dtype)
            for tap, seen in enumerate(self.taps):
                padded[seen] += windows[:, tap]
            out[...] = padded[inside]
        return self._from_channels_first(dx)

    def kernel_gradient(self, x: Array, dy: Array) -> Array:
        """dw = dy @ columns.T, summed over the images."""
        g = self.g
        dw = np.zeros(self.matrix, dy.dtype)
        for image, dy_image in zip(self._channels_first(x), self._channels_first(dy)):
            dw += dy_image.reshape(g.groups, -1, prod(g.out)) @ self._columns(image).transpose(0, 2, 1)
        return dw.reshape(g.w_shape)

    def bias_gradient(self, dy: Array) -> Array:
        """dbias = dy summed over everything but the channels."""
        return self._channels_first(dy).sum(axis=(0, *range(2, 2 + self.g.ndim)))

    def along_channels(self, bias: Array) -> Array:
        """The bias in a shape that broadcasts over the spatial axes of the geometry's layout."""
        return bias if self.g.channels_last else bias.reshape(-1, *[1] * self.g.ndim)

    def _columns(self, image: Array) -> Array:
        """The windows of a (C_in, \\*spatial) image as (groups, C_in / groups * kernel, out)."""
        g = self.g
        padded = self._pad(image, self.widths)
        if self.no_copy:
            return padded.reshape(g.groups, self.rows, -1)
        channel, *steps = padded.strides
        windows = np.lib.stride_tricks.as_strided(
            padded,
            (g.in_channels, *g.kernel, *g.out),
            (
                channel,
                *(d * step for d, step in zip(g.dilation, steps)),
                *(s * step for s, step in zip(g.stride, steps)),
            ),
            writeable=False,
        )
        return windows.reshape(g.groups, self.rows, -1)

    def _channels_first(self, array: Array) -> Array:
        return np.moveaxis(array, -1, 1) if self.g.channels_last else array

    def _from_channels_first(self, array: Array) -> Array:
        return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if self.g.channels_last else array


class Conv:
    """A layer: a kernel, a bias and options, applied to whatever it is called with.

    Attributes
    ----------
    weight : numpy.ndarray, shape (C_out, C_in / groups, \\*kernel)
    bias : numpy.ndarray, shape (C_out,), or None
    spec : ConvSpec
    """

    def __init__(self, backend: NumpyBackend, spec: ConvSpec, weight: Host, bias: Host | None) -> None:
        self._cross_correlate = backend.cross_correlate
        self.spec, self.weight, self.bias = spec, weight, bias

    def __call__(self, x: Host) -> Host:
        s = self.spec
        y: Host = self._cross_correlate(
            x, self.weight, self.bias,
            stride=s.stride, padding=s.padding, dilation=s.dilation, groups=s.groups, layout=s.layout,
        )  # fmt: skip
        return y
