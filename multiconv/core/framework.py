"""A backend of a framework: the methods that its author writes, and the operations that are composed from them.

An author declares facts as class attributes and writes the methods that differ between frameworks: arrays, the
framework's own calls, and autodiff. Axis orders and padding that a framework does not support are composed here, once
for all frameworks.
"""

from __future__ import annotations

import abc
import os
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from multiconv.core.backend import REMEMBERED, Backend
from multiconv.core.errors import UnsupportedError
from multiconv.core.geometry import Geometry
from multiconv.core.layer import InputCheck, Pad, Transpose
from multiconv.core.partial_shapes import spatial
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Array, Host, Operation, Shape

_computing: weakref.WeakSet[FrameworkBackend] = weakref.WeakSet()
"""The backends that have computed in this process and do not survive a fork."""
NO_ARRAYS = "array is {dtype}, and the {backend} backend has no {dtype} arrays: nothing is cast silently, so convert it"


class FrameworkBackend(Backend):
    """A backend that computes with a framework in this process.

    Attributes
    ----------
    kernel_layout : str
        The order of the kernel's axes in the framework's own call, ``"OIHW"`` or ``"HWIO"``.
    layouts : tuple of str
        The orders of the input's axes that the framework's own call takes: ``"channels_first"``, ``"channels_last"``
        or both.
    layer_layouts : tuple of str
        The same for the framework's own layer.
    strided : bool
        Whether the order of the framework's arrays in memory can differ from the order of their axes.
    survives_fork : bool
        Whether the framework still computes in a fork of a process in which it has computed.
    """

    kernel_layout: ClassVar[str] = "OIHW"
    layouts: ClassVar[tuple[str, ...]] = ("channels_first",)
    layer_layouts: ClassVar[tuple[str, ...]] = ("channels_first",)
    strided: ClassVar[bool] = False
    survives_fork: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self._plans: dict[tuple[str, Geometry, str], Operation] = {}
        self._kept_dtypes: set[np.dtype[Any]] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy needs: all but the cached functions, which can't be pickled."""
        return {**super().__getstate__(), "_plans": {}}

    # ---- For the author of a backend: arrays

    @abc.abstractmethod
    def is_array(self, value: Any) -> bool:
        """Return whether this is an array of the framework."""

    @abc.abstractmethod
    def from_numpy(self, host: Host) -> Array:
        """Convert a contiguous NumPy array to an array of the framework of the same dtype. They may share memory."""

    @abc.abstractmethod
    def to_numpy(self, array: Array) -> Host:
        """Convert an array of the framework to a NumPy array, after waiting until it is computed."""

    @abc.abstractmethod
    def transpose(self, array: Array, axes: Sequence[int]) -> Array:
        """Return the array with its axes in this order."""

    @abc.abstractmethod
    def flip(self, array: Array, axes: Sequence[int]) -> Array:
        """Return the array reversed along these axes."""

    @abc.abstractmethod
    def pad(self, array: Array, widths: Sequence[tuple[int, int]]) -> Array:
        """Pad the array with zeros, given as (before, after) for each axis."""

    @abc.abstractmethod
    def stack(self, arrays: Sequence[Array]) -> Array:
        """Stack arrays of the same shape along a new first axis."""

    # ---- For the author of a backend: convolution

    @abc.abstractmethod
    def native_corr2d(self, X: Array, K: Array) -> Array:
        """Compute d2l 7.2's nested loop in the framework's idiom: each output is the sum of a window times the kernel.

        The arrays have been validated and converted to arrays of the framework.
        """

    @abc.abstractmethod
    def native_cross_correlate(self, g: Geometry) -> Operation:
        """Return a function (x, w, bias or None) -> y for this geometry, on arrays in the framework's own layouts."""

    @abc.abstractmethod
    def native_conv_transpose(self, g: Geometry) -> Operation:
        """Return a function (y, w, bias or None) -> x for this geometry, on arrays in the framework's own layouts."""

    @abc.abstractmethod
    def native_layer(self, spec: ConvSpec, w: Host, bias: Host | None) -> Callable[[Array], Array]:
        """Return the framework's own layer with these weights, which are in OIHW order.

        The layout is one of `layer_layouts`, and the padding is one that the layer supports, or 0.
        """

    def assemble(
        self,
        before: Sequence[Operation],
        layer: Callable[[Array], Array],
        after: Sequence[Operation],
        check: InputCheck,
    ) -> Callable[[Array], Array]:
        """Return the layer with the steps before and after it, as a module of the framework that checks its input.

        Without steps, it should be the layer itself. By default, it is a function.
        """
        dtype = check.dtype

        def assembled(x: Array) -> Array:
            x = check(x, dtype)
            y = check.empty(x, dtype)
            if y is not None:
                return y
            for step in (*before, layer, *after):
                x = step(x)
            return x

        return assembled

    def pads_natively(self, g: Geometry) -> bool:
        """Return whether the framework's own call supports the padding of this geometry."""
        return g.symmetric

    def pads_of(self, x: Array, spec: ConvSpec, kernel: Shape) -> Sequence[tuple[Any, Any]]:
        """Return the zeros (before, after) each spatial axis of this input. Symbols are allowed where it is traced."""
        return spec.pads(tuple(spatial(x.shape, spec)), kernel)

    def layer_pads_natively(self, spec: ConvSpec, w: Host) -> bool:
        """Return whether the framework's own layer with these weights supports this padding."""
        return spec.symmetric_padding(w.shape[2:]) is not None

    # ---- For the author of a backend: running

    @abc.abstractmethod
    def vjp(self, function: Operation, primals: Sequence[Array], cotangent: Array) -> tuple[Array, ...]:
        """Compute the vector-Jacobian product with the framework's autodiff: one gradient per primal.

        Examples
        --------
        >>> import multiconv as mc
        >>> numpy = mc.backend("numpy")
        >>> numpy.vjp(abs, (1.0,), 1.0)
        Traceback (most recent call last):
        multiconv.UnsupportedError: numpy has no autodiff: it has the gradients of its own cross-correlation only
        """

    def scope(self, dtype: str) -> AbstractContextManager[Any]:
        """Return a context manager for the settings under which the framework computes in this dtype."""
        return nullcontext()

    def stage(self, function: Operation, dtype: str) -> Operation:
        """Prepare a function for repeated calls, such as by compiling it. By default, it is returned unchanged."""
        return function

    @abc.abstractmethod
    def block(self, array: Array) -> Array:
        """Wait until the array is computed, and return it."""

    @abc.abstractmethod
    def devices(self) -> list[str]:
        """Return the devices that the framework sees, such as ``["cpu"]``."""

    # ---- Composed from these methods

    def asarray(self, array: Array) -> Array:
        """Convert a NumPy array to one of the framework with the same dtype; see `multiconv.Backend.asarray`."""
        if type(array) is not np.ndarray:
            self.dtype_of("array", array)
            if not isinstance(array, np.ndarray):
                return array
        plain = type(array) is np.ndarray and array.dtype.isnative and array.flags.writeable
        # NumPy calls an array contiguous even if an axis of one element has a negative stride, which torch rejects.
        if plain and array.flags.c_contiguous and min(array.strides, default=0) >= 0:
            return self._from_numpy(array)
        return self._from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C", subok=False))

    def _from_numpy(self, host: Host) -> Array:
        """Convert a contiguous NumPy array, and refuse a dtype that the framework lacks or casts."""
        if host.dtype in self._kept_dtypes:
            return self.from_numpy(host)
        dtype = host.dtype.name
        try:
            own = self.from_numpy(host)
            same = self.dtype(own) == dtype
        except Exception as error:
            if dtype in self.dtypes:
                raise
            raise UnsupportedError(NO_ARRAYS.format(dtype=dtype, backend=self.name)) from error
        if not same:
            raise UnsupportedError(NO_ARRAYS.format(dtype=dtype, backend=self.name))
        if dtype in self.dtypes:  # support for other dtypes may depend on a mode of the framework
            self._kept_dtypes.add(host.dtype)
        return own

    def plan(self, operation: str, g: Geometry, dtype: str) -> Operation:
        """Return a function on arrays of the framework that computes an operation. It is built once and cached."""
        if self.traces():
            return self._build(operation, g, dtype)
        self._start_computing()
        key = operation, g, dtype
        function = self._plans.get(key)
        if function is None:
            function = self._build(operation, g, dtype)
            if len(self._plans) >= REMEMBERED:
                self._plans.clear()  # another thread may do this at any time
            self._plans[key] = function
        return function

    def build_layer(self, spec: ConvSpec, w: Host, bias: Host | None) -> Callable[[Array], Array]:
        """Return the framework's own layer, with a pad and transposes around it where it needs them."""
        self._start_computing()
        ndim = w.ndim - 2
        own = spec
        before: list[Operation] = []
        after: list[Operation] = []
        if ("channels_last" if spec.channels_last else "channels_first") not in self.layer_layouts:
            there, back = _to_first(ndim), _to_last(ndim)
            if not spec.channels_last:
                there, back = back, there
            before.append(Transpose(self, there))
            after.append(Transpose(self, back))
            own = spec.with_layout(ndim, channels_last=not spec.channels_last)
        if not self.layer_pads_natively(own, w):
            before.append(Pad(self, own, w.shape[2:]))
            own = replace(own, padding=0)
        check = InputCheck(self, spec, w.shape, w.dtype.name)
        return self.assemble(before, self.native_layer(own, w, bias), after, check)

    def loop(self, operation: str, X: Array, K: Array) -> Array:
        """Compute one of d2l's loops with `native_corr2d`: on its own, summed over channels, or per output channel."""
        self._start_computing()
        if operation == "corr2d":
            return self.native_corr2d(X, K)
        with self.scope(self.dtype(X)):
            if operation == "corr2d_multi_in_out":
                return self.stack([self.loop("corr2d_multi_in", X, K[out]) for out in range(K.shape[0])])
            Y = self.native_corr2d(X[0], K[0])
            for channel in range(1, X.shape[0]):
                Y = Y + self.native_corr2d(X[channel], K[channel])
            return Y

    def _start_computing(self) -> None:
        """Check that the framework can compute in this process, and remember that it does."""
        self.check_process()
        if not self.survives_fork and not self.traces():
            _computing.add(self)

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

        return self.stage(self._gradients(forward), dtype)

    def _gradients(self, forward: Operation) -> Operation:
        def gradients(x: Array, w: Array, bias: Array | None, dy: Array) -> tuple[Array, Array, Array | None]:
            primals = (x, w) if bias is None else (x, w, bias)
            dx, dw, *dbias = self.vjp(forward, primals, dy)
            return dx, dw, dbias[0] if dbias else None

        return gradients

    def _cross_correlate(self, g: Geometry) -> Operation:
        """Return the framework's own call, with a pad and transposes around it where it needs them."""
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
        """Return the framework's own call, with a crop and transposes around it where it needs them."""
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
        """Return the permutations of input, output and kernel (None: no change), and the geometry of the call."""
        w_axes = (*range(2, 2 + g.ndim), 1, 0) if self.kernel_layout == "HWIO" else None
        if ("channels_last" if g.channels_last else "channels_first") in self.layouts:
            return None, None, w_axes, g
        to_last, to_first = _to_last(g.ndim), _to_first(g.ndim)
        if g.channels_last:
            return to_first, to_last, w_axes, g.with_layout(channels_last=False)
        return to_last, to_first, w_axes, g.with_layout(channels_last=True)


def _after_fork() -> None:
    for backend in _computing:
        type(backend).forked = True
        backend._ready.clear()  # a cached function would not check for a fork


os.register_at_fork(after_in_child=_after_fork)


def _to_last(ndim: int) -> tuple[int, ...]:
    """Return the permutation from channels first to channels last."""
    return (0, *range(2, 2 + ndim), 1)


def _to_first(ndim: int) -> tuple[int, ...]:
    """Return the permutation from channels last to channels first."""
    return (0, 1 + ndim, *range(1, 1 + ndim))
