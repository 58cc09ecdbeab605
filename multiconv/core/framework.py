"""A backend of a framework: what its author writes, and what is composed around that.

An author states as class data what is data, and writes what differs: arrays, the framework's own calls, and autodiff.
The order of the axes and padding that the framework lacks are composed here, once for all.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import numpy as np

from multiconv.core.backend import REMEMBERED, Backend
from multiconv.core.spec import ConvSpec, Geometry
from multiconv.core.types import Array, Host, Operation


class FrameworkBackend(Backend):
    """A backend that computes by a framework in this process.

    Attributes
    ----------
    kernel_layout : str
        The order of the kernel's axes in the framework's own call, ``"OIHW"`` or ``"HWIO"``.
    layouts : tuple of str
        The orders of the input's axes that the framework's own call takes: ``"channels_first"``, ``"channels_last"``
        or both.
    strided : bool
        Whether the framework's arrays can lie in memory in another order than that of their axes.
    """

    kernel_layout: ClassVar[str] = "OIHW"
    layouts: ClassVar[tuple[str, ...]] = ("channels_first",)
    strided: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self._plans: dict[tuple[str, Geometry, str], Operation] = {}

    # ---- What a framework's backend writes: arrays

    @abc.abstractmethod
    def is_array(self, value: Any) -> bool:
        """Whether this is an array of the framework."""

    @abc.abstractmethod
    def from_numpy(self, host: Host) -> Array:
        """A contiguous NumPy array as one of the framework, of the same dtype; it may share memory with it."""

    @abc.abstractmethod
    def to_numpy(self, array: Array) -> Host:
        """An array of the framework as a NumPy array, once it is computed."""

    @abc.abstractmethod
    def transpose(self, array: Array, axes: Sequence[int]) -> Array:
        """The array with its axes in this order."""

    @abc.abstractmethod
    def flip(self, array: Array, axes: Sequence[int]) -> Array:
        """The array reversed along these axes."""

    @abc.abstractmethod
    def pad(self, array: Array, widths: Sequence[tuple[int, int]]) -> Array:
        """The array with zeros (before, after) each axis."""

    @abc.abstractmethod
    def stack(self, arrays: Sequence[Array]) -> Array:
        """Arrays of one shape along a new first axis."""

    # ---- What a framework's backend writes: convolution

    @abc.abstractmethod
    def native_corr2d(self, X: Array, K: Array) -> Array:
        """Compute d2l 7.2's nested loop in the framework's idiom: for each output a window times the kernel, summed.

        The arrays have been checked, and are the framework's own.
        """

    @abc.abstractmethod
    def native_cross_correlate(self, g: Geometry) -> Operation:
        """A function (x, w, bias or None) -> y for this geometry, of arrays in the framework's own layouts."""

    @abc.abstractmethod
    def native_conv_transpose(self, g: Geometry) -> Operation:
        """A function (y, w, bias or None) -> x for this geometry, of arrays in the framework's own layouts."""

    @abc.abstractmethod
    def native_layer(self, spec: ConvSpec, w: Host, bias: Host | None) -> Callable[[Array], Array]:
        """The framework's own module with these weights, in OIHW."""

    def pads_natively(self, g: Geometry) -> bool:
        """Whether the framework's own call takes this geometry's padding."""
        return g.symmetric

    # ---- What a framework's backend writes: running

    @abc.abstractmethod
    def vjp(self, function: Operation, primals: Sequence[Array], cotangent: Array) -> tuple[Array, ...]:
        """The vector-Jacobian product by the framework's autodiff: a gradient for each primal.

        Examples
        --------
        >>> import multiconv as mc
        >>> numpy = mc.backend("numpy")
        >>> numpy.vjp(abs, (1.0,), 1.0)
        Traceback (most recent call last):
        multiconv.UnsupportedError: numpy has no autodiff: it has the gradients of its own cross-correlation only
        """

    def scope(self, dtype: str) -> AbstractContextManager[Any]:
        """What must hold while the framework works in this dtype, and no longer."""
        return nullcontext()

    def stage(self, function: Operation, dtype: str) -> Operation:
        """The function made ready to be called often: compiled, where that is how the framework is used."""
        return function

    @abc.abstractmethod
    def block(self, array: Array) -> Array:
        """Wait until the array is computed, and return it."""

    @abc.abstractmethod
    def devices(self) -> list[str]:
        """The devices that the framework sees, such as ``["cpu"]``."""

    # ---- What is composed of that

    def asarray(self, array: Array) -> Array:
        """Return a NumPy array as one of the framework, of the same dtype; arrays of the framework unchanged."""
        if not isinstance(array, np.ndarray):
            return array
        plain = type(array) is np.ndarray and array.dtype.isnative and array.flags.writeable
        # What is reversed along an axis of one element is still contiguous to NumPy, and torch refuses it.
        if plain and array.flags.c_contiguous and min(array.strides, default=0) >= 0:
            return self.from_numpy(array)
        return self.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C", subok=False))

    def plan(self, operation: str, g: Geometry, dtype: str) -> Operation:
        """Return the function of the framework's arrays for an operation on a batch that is not empty, made once."""
        key = operation, g, dtype
        if key not in self._plans:
            if len(self._plans) >= REMEMBERED:
                self._plans.clear()
            self._plans[key] = self._build(operation, g, dtype)
        return self._plans[key]

    def plan_layer(self, spec: ConvSpec, w: Host, bias: Host | None) -> Callable[[Array], Array]:
        """Return the framework's own module with these weights, in OIHW."""
        return self.native_layer(spec, w, bias)

    def loop(self, operation: str, X: Array, K: Array) -> Array:
        """Compute one of d2l's loops of `native_corr2d`: itself, summed over channels, or for each output channel."""
        if operation == "corr2d":
            return self.native_corr2d(X, K)
        with self.scope(self.dtype(X)):
            if operation == "corr2d_multi_in_out":
                return self.stack([self.loop("corr2d_multi_in", X, K[out]) for out in range(K.shape[0])])
            Y = self.native_corr2d(X[0], K[0])
            for channel in range(1, X.shape[0]):
                Y = Y + self.native_corr2d(X[channel], K[channel])
            return Y

    def _build(self, operation: str, g: Geometry, dtype: str) -> Operation:
        if operation == "conv_transpose":
            return self.stage(self._conv_transpose(g), dtype)
        if operation == "convolve":
            correlate = self.plan("cross_correlate", g, dtype)
            flip = self.stage(lambda w: self.flip(w, range(2, 2 + g.ndim)), dtype)
            return lambda x, w, bias=None: correlate(x, flip(w), bias)
        forward = self._cross_correlate(g)
        if operation == "cross_correlate":
            return self.stage(forward, dtype)

        def gradients(x: Array, w: Array, bias: Array | None, dy: Array) -> tuple[Array, Array, Array | None]:
            primals = (x, w) if bias is None else (x, w, bias)
            dx, dw, *dbias = self.vjp(forward, primals, dy)
            return dx, dw, dbias[0] if dbias else None

        return self.stage(gradients, dtype)

    def _cross_correlate(self, g: Geometry) -> Operation:
        """The framework's own call, with what it lacks around it."""
        x_axes, y_axes, w_axes, own = self._orders(g)
        widths = None
        if not self.pads_natively(own):
            widths = ((0, 0), *own.pads, (0, 0)) if own.channels_last else ((0, 0), (0, 0), *own.pads)
            own = own.without_padding()
        native = self.native_cross_correlate(own)
        if x_axes is None and w_axes is None and widths is None:
            return native

        def composed(x: Array, w: Array, bias: Array | None = None) -> Array:
            if x_axes is not None:
                x = self.transpose(x, x_axes)
            if widths is not None:
                x = self.pad(x, widths)
            if w_axes is not None:
                w = self.transpose(w, w_axes)
            y = native(x, w, bias)
            return y if y_axes is None else self.transpose(y, y_axes)

        return composed

    def _conv_transpose(self, g: Geometry) -> Operation:
        """The framework's own call, with what it lacks around it."""
        y_axes, x_axes, w_axes, own = self._orders(g)
        inside = None
        if not self.pads_natively(own):
            cut = [slice(before, before + n) for n, (before, _) in zip(own.size, own.pads)]
            whole = slice(None)
            inside = (whole, *cut, whole) if own.channels_last else (whole, whole, *cut)
            own = own.without_padding()
        native = self.native_conv_transpose(own)
        if y_axes is None and w_axes is None and inside is None:
            return native

        def composed(y: Array, w: Array, bias: Array | None = None) -> Array:
            if y_axes is not None:
                y = self.transpose(y, y_axes)
            if w_axes is not None:
                w = self.transpose(w, w_axes)
            x = native(y, w, bias)
            if inside is not None:
                x = x[inside]
            return x if x_axes is None else self.transpose(x, x_axes)

        return composed

    def _orders(self, g: Geometry) -> tuple[Sequence[int] | None, Sequence[int] | None, Sequence[int] | None, Geometry]:
        """How to permute input, output and kernel (None: not at all), and the geometry in between."""
        w_axes = (*range(2, 2 + g.ndim), 1, 0) if self.kernel_layout == "HWIO" else None
        if ("channels_last" if g.channels_last else "channels_first") in self.layouts:
            return None, None, w_axes, g
        to_last, to_first = (0, *range(2, 2 + g.ndim), 1), (0, 1 + g.ndim, *range(1, 1 + g.ndim))
        if g.channels_last:
            return to_first, to_last, w_axes, g.with_layout(channels_last=False)
        return to_last, to_first, w_axes, g.with_layout(channels_last=True)
