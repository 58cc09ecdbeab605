"""The backend interface: one convolution API over every framework.

`Backend` is the class that users call. It validates the arguments, with the same errors on every backend, and caches
one function per call signature. A subclass implements `plan`, which returns the function for an operation, a geometry
and a dtype. `multiconv.core.framework.FrameworkBackend` gets it from a framework in this process,
`multiconv.workers.remote.RemoteBackend` from a worker. The file is long because it documents the whole interface.
"""

from __future__ import annotations

import abc
import sys
from collections.abc import Callable
from typing import Any, ClassVar, cast

import numpy as np

from multiconv.core.arrays import ArrayRules
from multiconv.core.errors import BackendUnavailable, ConvError, UnsupportedError
from multiconv.core.geometry import Geometry
from multiconv.core.partial_shapes import PartialShape, agree, resolve, shape_of, spatial
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Array, Host, Ints, Operation, Padding, Shape

REMEMBERED = 4096
# What looking up a call raises: the key is new, or an argument has no such attribute, or one without a hash or a size.
NOT_REMEMBERED = (KeyError, TypeError, AttributeError, ValueError, RuntimeError)


class Backend(ArrayRules, abc.ABC):
    """A framework's convolutions behind one interface.

    Methods take NumPy arrays or arrays of the backend, and return arrays of the backend. There are one, two or three
    spatial axes. The shape of the input is (N, C_in, \\*spatial), or (N, \\*spatial, C_in) if `layout` is channels
    last. The shape of the kernel is (C_out, C_in / groups, \\*kernel) in every layout. All arrays of a call have the
    same dtype, which is also the dtype of the result.

    Attributes
    ----------
    name : str
    dtypes : tuple of str
        Supported dtypes.
    empty_batch : bool
        Whether the functions that `plan` returns are correct for a batch of size 0.
    compiles : bool
        Whether the backend compiles again for each new shape. If so, many problems of a few shapes run faster than
        problems of many shapes.
    multiplies_zeros : bool
        Whether the framework multiplies by zeros that are not in the definition, as XLA does between groups. Zero times
        NaN is NaN, so a single non-finite factor may turn any result into NaN.
    forked : bool
        Whether the framework has computed before this process was forked. Its threads do not exist in the fork, so it
        would wait for them forever.
    """

    empty_batch: ClassVar[bool] = False
    compiles: bool = False
    multiplies_zeros: bool = False
    forked: ClassVar[bool] = False

    def __init__(self) -> None:
        self._ready: dict[Any, Operation] = {}

    def __repr__(self) -> str:
        return f"<multiconv backend {self.name} {self.version}, in this process>"

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy needs: all but the cached functions, which can't be pickled."""
        return {**vars(self), "_ready": {}}

    # ---- For subclasses to implement

    @property
    @abc.abstractmethod
    def version(self) -> str:
        """Return the version of the framework."""

    @abc.abstractmethod
    def plan(self, operation: str, g: Geometry, dtype: str) -> Operation:
        """Return a function on arrays of the backend that computes an operation.

        The batch size is at least 1, unless `empty_batch` is True.

        Parameters
        ----------
        operation : str
            ``"cross_correlate"``, ``"convolve"``, ``"conv_transpose"`` or ``"cross_correlate_vjp"``.
        g : Geometry
        dtype : str

        Raises
        ------
        UnsupportedError
            If the backend does not support this operation.
        """

    def build_layer(self, spec: ConvSpec, w: Host, bias: Host | None) -> Callable[[Array], Array]:
        """Return a layer with these weights, copies in OIHW order that it may keep.

        Raises
        ------
        UnsupportedError
            If the backend has no layers. This is the default.
        """
        raise UnsupportedError(f"the {self.name} backend has no layers")

    def loop(self, operation: str, X: Array, K: Array) -> Array:
        """Compute ``"corr2d"``, ``"corr2d_multi_in"`` or ``"corr2d_multi_in_out"`` of arrays that have been validated.

        Raises
        ------
        UnsupportedError
            If the backend has no such loops. This is the default.
        """
        raise UnsupportedError(f"the {self.name} backend has no {operation}")

    def traces(self) -> bool:
        """Return whether the framework follows the Python code itself now, so that it must not write to a cache."""
        return False

    def plan_any_size(self, operation: str, spec: ConvSpec, g: Geometry) -> Operation:
        """Return a function that computes an operation for every size along the spatial axes, unknown while traced.

        The sizes of the geometry are examples. By default, the size must be known.
        """
        raise ConvError(
            f"{operation} needs the size of every spatial axis of x: "
            f"the {self.name} backend has no function for unknown sizes"
        )

    def with_shape(self, array: Array, shape: PartialShape) -> Array:
        """Return an array whose shape is checked when it is computed, if the framework does not know it yet."""
        return array

    def devices(self) -> list[str]:
        """Return the devices that the backend can use, such as ``["cpu"]``, as far as they are known."""
        return []

    # ---- For users to call

    def cross_correlate(
        self,
        x: Array,
        w: Array,
        bias: Array | None = None,
        *,
        stride: Ints = 1,
        padding: Padding = 0,
        dilation: Ints = 1,
        groups: int = 1,
        layout: str | None = None,
    ) -> Array:
        """Compute the cross-correlation, which the frameworks call convolution.

        ``y[n, o, i] = bias[o] + sum over c, j of x[n, c, i * stride + j * dilation - before] * w[o, c, j]``, where
        ``i`` and ``j`` run over all spatial axes, and ``c`` runs over the input channels of the group of ``o``. Outside
        its bounds, x is zero.

        Parameters
        ----------
        x : array, shape (N, C_in, \\*spatial) or, with channels last, (N, \\*spatial, C_in)
        w : array, shape (C_out, C_in / groups, \\*kernel)
        bias : array, shape (C_out,), optional
        stride, padding, dilation, groups, layout
            As in `multiconv.ConvSpec`.

        Returns
        -------
        array, shape (N, C_out, \\*out) or (N, \\*out, C_out)
            An array of the backend with the dtype of `x`.

        Raises
        ------
        ConvError
            If the arguments do not describe a valid convolution. The message is the same on every backend.
        UnsupportedError
            If the backend does not support this dtype.

        References
        ----------
        I. Goodfellow et al., "Deep Learning", eq. 9.6; d2l, section 7.1.

        Examples
        --------
        >>> import multiconv as mc, numpy as np
        >>> x, w = np.arange(9.0).reshape(1, 1, 3, 3), np.arange(4.0).reshape(1, 1, 2, 2)
        >>> mc.backend("numpy").cross_correlate(x, w)
        array([[[[19., 25.],
                 [37., 43.]]]])
        """
        signature = None
        # Fast path for the most common call.
        if bias is None and stride.__class__ is padding.__class__ is dilation.__class__ is groups.__class__ is int:
            try:
                signature = (
                    x.__class__, x.shape, x.dtype, w.__class__, w.shape, w.dtype,
                    stride, padding, dilation, groups, layout,
                )  # fmt: skip
                function = self._ready[signature]
            except NOT_REMEMBERED:
                pass
            else:
                try:
                    return function(x, w)
                except Exception:
                    self.check_places(x=x, w=w)  # which the key does not tell
                    raise
        return self._call(
            "cross_correlate", x, w, bias, None, stride, padding, dilation, groups, layout, signature=signature
        )

    def convolve(
        self,
        x: Array,
        w: Array,
        bias: Array | None = None,
        *,
        stride: Ints = 1,
        padding: Padding = 0,
        dilation: Ints = 1,
        groups: int = 1,
        layout: str | None = None,
    ) -> Array:
        """Compute the convolution in the strict sense: the kernel is reversed along every spatial axis.

        Parameters, return value and errors are those of `cross_correlate`.

        References
        ----------
        I. Goodfellow et al., "Deep Learning", eq. 9.4.

        Examples
        --------
        >>> import multiconv as mc, numpy as np
        >>> x, w = np.array([[[1.0, 0.0, 0.0]]]), np.array([[[1.0, 2.0, 3.0]]])
        >>> mc.backend("numpy").convolve(x, w, padding="full")
        array([[[1., 2., 3., 0., 0.]]])
        """
        return self._call("convolve", x, w, bias, None, stride, padding, dilation, groups, layout)

    def conv_transpose(
        self,
        x: Array,
        w: Array,
        bias: Array | None = None,
        *,
        stride: Ints = 1,
        padding: Padding = 0,
        dilation: Ints = 1,
        groups: int = 1,
        layout: str | None = None,
        output_padding: Ints = 0,
    ) -> Array:
        """Compute the transposed convolution: the adjoint of `cross_correlate` with the same kernel and options.

        Parameters
        ----------
        x : array, shape (N, C_out, \\*out) or (N, \\*out, C_out)
        w : array, shape (C_out, C_in / groups, \\*kernel)
            The same kernel as for `cross_correlate`.
        bias : array, shape (C_in,), optional
        stride, padding, dilation, groups, layout
            The same options as for `cross_correlate`; see `multiconv.ConvSpec`.
        output_padding : int or tuple of int
            Selects the size of the result. `cross_correlate` maps `stride` different input sizes to the size of `x`; 0
            selects the smallest of them.

        Returns
        -------
        array, shape (N, C_in, \\*spatial) or (N, \\*spatial, C_in)
            The size per axis is ``(out - 1) * stride + (kernel - 1) * dilation + 1 - before - after + output_padding``,
            or ``out * stride`` with ``"same"`` padding.

        Raises
        ------
        ConvError, UnsupportedError
            As in `cross_correlate`.

        Examples
        --------
        >>> import multiconv as mc, numpy as np
        >>> x, w = np.array([[[1.0, 2.0]]]), np.array([[[1.0, 10.0, 100.0]]])
        >>> mc.backend("numpy").conv_transpose(x, w, stride=2)
        array([[[  1.,  10., 102.,  20., 200.]]])
        """
        return self._call("conv_transpose", x, w, bias, None, stride, padding, dilation, groups, layout, output_padding)

    def cross_correlate_vjp(
        self,
        x: Array,
        w: Array,
        bias: Array | None,
        dy: Array,
        *,
        stride: Ints = 1,
        padding: Padding = 0,
        dilation: Ints = 1,
        groups: int = 1,
        layout: str | None = None,
    ) -> tuple[Array, Array, Array | None]:
        """Compute the gradients of `cross_correlate` with the framework's own autodiff (hand-written for NumPy).

        Parameters
        ----------
        x, w, bias
            As in `cross_correlate`.
        dy : array
            The cotangent, with the shape of the result of `cross_correlate`.
        stride, padding, dilation, groups, layout
            As in `multiconv.ConvSpec`.

        Returns
        -------
        dx, dw, dbias : arrays
            The gradients of `x`, `w` and `bias`, with their shapes; `dbias` is None if `bias` is None.

        Raises
        ------
        ConvError, UnsupportedError
            As in `cross_correlate`, or if `dy` does not have the shape of the result.

        Examples
        --------
        >>> import multiconv as mc, numpy as np
        >>> x, w, dy = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[1.0, 10.0]]]), np.array([[[1.0, 1.0]]])
        >>> dx, dw, _ = mc.backend("numpy").cross_correlate_vjp(x, w, None, dy)
        >>> dx, dw
        (array([[[ 1., 11., 10.]]]), array([[[3., 5.]]]))
        """
        return cast(
            "tuple[Array, Array, Array | None]",
            self._call("cross_correlate_vjp", x, w, bias, dy, stride, padding, dilation, groups, layout),
        )

    def layer(
        self,
        w: Array,
        bias: Array | None = None,
        *,
        stride: Ints = 1,
        padding: Padding = 0,
        dilation: Ints = 1,
        groups: int = 1,
        layout: str | None = None,
    ) -> Callable[[Array], Array]:
        """Return the framework's own convolution layer with these weights.

        If the layer does not support the padding or the layout, a pad or a transpose before or after it is added in the
        framework's own sequential container. The layer holds copies of the weights and can be trained like any other.
        A call refuses the inputs that `cross_correlate` refuses, in the same words.

        Parameters
        ----------
        w, bias, stride, padding, dilation, groups, layout
            As in `cross_correlate`.

        Returns
        -------
        callable
            ``torch.nn.Conv2d``, ``flax.nnx.Conv``, ``keras.layers.Conv2D``, ``mxnet.gluon.nn.Conv2D`` or a container
            of one; for NumPy, a small class of the backend. It takes a NumPy array or an array of the backend in
            `layout`.

        Raises
        ------
        ConvError, UnsupportedError
            As in `cross_correlate`.

        Examples
        --------
        >>> import multiconv as mc, numpy as np
        >>> edge = mc.backend("numpy").layer(np.array([[[[1.0, -1.0]]]]))
        >>> edge(np.array([[[[1.0, 1.0, 0.0, 0.0]]]]))
        array([[[[0., 1., 0.]]]])
        """
        spec = ConvSpec(stride, padding, dilation, groups, layout)
        self._check_arrays(w=w, bias=bias)
        spec.check_kernel(tuple(w.shape))
        if bias is not None:
            _check_bias(tuple(bias.shape), w.shape[0])
        return self.build_layer(spec, self._host(w), None if bias is None else self._host(bias))

    def corr2d(self, X: Array, K: Array) -> Array:
        """Compute d2l 7.2's nested loop in the framework's idiom: each output is the sum of a window times the kernel.

        Parameters
        ----------
        X : array, shape (H, W)
        K : array, shape (h, w)

        Returns
        -------
        array, shape (H - h + 1, W - w + 1)

        Raises
        ------
        ConvError
            If the arrays are not 2-D or differ in dtype, or if the kernel is larger than the input.

        References
        ----------
        A. Zhang et al., "Dive into Deep Learning", section 7.2.

        Examples
        --------
        >>> import multiconv as mc, numpy as np
        >>> X, K = np.arange(9.0).reshape(3, 3), np.arange(4.0).reshape(2, 2)
        >>> mc.backend("numpy").corr2d(X, K)
        array([[19., 25.],
               [37., 43.]])
        """
        return self.loop("corr2d", *self._loop_arrays(X, K))

    def corr2d_multi_in(self, X: Array, K: Array) -> Array:
        """Compute d2l 7.4's sum of `corr2d` over the input channels.

        Parameters
        ----------
        X : array, shape (C, H, W)
        K : array, shape (C, h, w)

        Returns
        -------
        array, shape (H - h + 1, W - w + 1)

        Raises
        ------
        ConvError
            As in `corr2d`, or if the arrays are not 3-D or differ in the number of channels.

        References
        ----------
        d2l, section 7.4.

        Examples
        --------
        >>> import multiconv as mc, numpy as np
        >>> X, K = np.arange(9.0).reshape(3, 3), np.arange(4.0).reshape(2, 2)
        >>> mc.backend("numpy").corr2d_multi_in(np.stack([X, X + 1]), np.stack([K, K + 1]))
        array([[ 56.,  72.],
               [104., 120.]])
        """
        return self.loop("corr2d_multi_in", *self._loop_arrays(X, K, X_axes=3, K_axes=3))

    def corr2d_multi_in_out(self, X: Array, K: Array) -> Array:
        """Compute d2l 7.4's `corr2d_multi_in` for each output channel.

        Parameters
        ----------
        X : array, shape (C, H, W)
        K : array, shape (O, C, h, w)

        Returns
        -------
        array, shape (O, H - h + 1, W - w + 1)

        Raises
        ------
        ConvError
            As in `corr2d_multi_in`.

        References
        ----------
        d2l, section 7.4.

        Examples
        --------
        >>> import multiconv as mc, numpy as np
        >>> X, K = np.ones((2, 3, 3)), np.ones((3, 2, 2, 2))
        >>> mc.backend("numpy").corr2d_multi_in_out(X, K).shape
        (3, 2, 2)
        """
        return self.loop("corr2d_multi_in_out", *self._loop_arrays(X, K, X_axes=3, K_axes=4))

    def check_process(self) -> None:
        """Check that the framework can compute in this process.

        Raises
        ------
        BackendUnavailable
            If it computed before this process was forked.
        """
        if self.forked:
            raise BackendUnavailable(
                f"{self.name} computed in this process before it was forked, and would hang now: start processes "
                f'with multiprocessing\'s "spawn" or "forkserver" method, or use '
                f'multiconv.backend("{self.name}", worker=True)'
            )

    # ---- Functions cached by call signature

    def _call(
        self,
        operation: str,
        x: Array,
        w: Array,
        bias: Array | None,
        dy: Array | None,
        stride: Ints,
        padding: Padding,
        dilation: Ints,
        groups: int,
        layout: str | None,
        output_padding: Ints = 0,
        signature: Any = None,
    ) -> Any:
        try:
            dtype = x.dtype
            # True == 1 == 1.0, so options that are not plain ints are cached by their repr, which tells them apart.
            key = signature or (
                operation,
                x.__class__,
                x.shape,
                dtype,
                w.__class__,
                w.shape,
                w.dtype is dtype or w.dtype,  # the same object, as a rule, and then not hashed again
                bias if bias is None else (bias.__class__, bias.shape, bias.dtype),
                dy if dy is None else (dy.__class__, dy.shape, dy.dtype),
                stride if stride.__class__ is int else repr(stride),
                padding if padding.__class__ is int else repr(padding),
                dilation if dilation.__class__ is int else repr(dilation),
                groups if groups.__class__ is int else repr(groups),
                layout,
                output_padding if output_padding.__class__ is int else repr(output_padding),
            )
            function = self._ready[key]
        except NOT_REMEMBERED:
            pass
        else:
            try:
                if dy is not None:
                    return function(x, w, bias, dy)
                return function(x, w) if bias is None else function(x, w, bias)
            except Exception:
                self.check_places(x=x, w=w, bias=bias, dy=dy)  # which the key does not tell
                raise
        arrays = _held(x), _held(w), _held(bias), _held(dy)
        if any(held is not array for held, array in zip(arrays, (x, w, bias, dy))):
            return self._call(
                operation, *arrays, stride, padding, dilation, groups, layout, output_padding=output_padding
            )
        spec = ConvSpec(stride, padding, dilation, groups, layout)
        named = {"x": x, "w": w, "bias": bias}
        if operation == "cross_correlate_vjp":
            named["dy"] = dy
        dtype = self._check_arrays(**named)
        shapes = {name: shape_of(name, a) for name, a in named.items() if a is not None}
        if any(None in shape for shape in shapes.values()):
            return self._call_with_unknown_sizes(operation, spec, named, shapes, output_padding, dtype)
        g = _resolve(operation, spec, shapes, output_padding)
        function = self._prepare(operation, g, dtype)
        own = tuple(None if a is None else self.asarray(a) for a in named.values())
        if all(a is b for a, b in zip(named.values(), own)) and not self.traces():
            if len(self._ready) >= REMEMBERED:
                self._ready.clear()
            self._ready[key] = function
        return function(*own)

    def _call_with_unknown_sizes(
        self,
        operation: str,
        spec: ConvSpec,
        named: dict[str, Array | None],
        shapes: dict[str, PartialShape],
        output_padding: Ints,
        dtype: str,
    ) -> Any:
        """Compute an operation whose sizes the framework does not all know yet, as while it traces a function."""
        g = resolve(operation, spec, shapes, output_padding)
        x_shape, y_shape = (g.y_shape, g.x_shape) if operation == "conv_transpose" else (g.x_shape, g.y_shape)
        channels = len(x_shape) - 1 if spec.channels_last else 1
        open_axes = [n is None and axis != channels for axis, n in enumerate(shapes["x"])]
        right = {
            "x": tuple(None if is_open else n for is_open, n in zip(open_axes, x_shape)),
            "w": g.w_shape,
            "bias": (y_shape[channels],),
            "dy": tuple(None if is_open else n for is_open, n in zip(open_axes, y_shape)),
        }
        _check_results(shapes, right)
        if None in spatial(shapes["x"], spec):
            function = self.plan_any_size(operation, spec, g)
        else:
            function = self.plan(operation, g.within_reach(), dtype)
        return function(
            *(None if a is None else self.with_shape(self.asarray(a), right[name]) for name, a in named.items())
        )

    def _prepare(self, operation: str, g: Geometry, dtype: str) -> Operation:
        """Return the function on arrays of the backend for this operation and geometry."""
        if g.batch == 0 and not self.empty_batch:
            return self.empty(operation, g, dtype)
        return self.plan(operation, g.within_reach(), dtype)

    def empty(self, operation: str, g: Geometry, dtype: str) -> Operation:
        """Return a function for a batch of size 0, on which some frameworks fail or return a wrong shape."""

        def zeros(shape: Shape) -> Array:
            return self.asarray(np.zeros(shape, dtype))

        if operation == "conv_transpose":
            return lambda x, w, bias=None: zeros(g.x_shape)
        if operation == "cross_correlate_vjp":
            return lambda x, w, bias, dy: (
                zeros(g.x_shape),
                zeros(g.w_shape),
                None if bias is None else zeros((g.out_channels,)),
            )
        return lambda x, w, bias=None: zeros(g.y_shape)


def _resolve(operation: str, spec: ConvSpec, shapes: dict[str, Shape], output_padding: Ints) -> Geometry:
    if operation == "conv_transpose":
        g = spec.resolve_transpose(shapes["x"], shapes["w"], output_padding)
        _check_results(shapes, {"bias": (g.in_channels,)})
    else:
        g = spec.resolve(shapes["x"], shapes["w"])
        _check_results(shapes, {"bias": (g.out_channels,), "dy": g.y_shape})
    return g


def _check_results(shapes: dict[str, PartialShape], right: dict[str, PartialShape]) -> None:
    """Check the shapes of the bias and of the cotangent, if there are any, as far as they are known."""
    if "bias" in shapes and not agree(shapes["bias"], right["bias"]):
        _check_bias(shapes["bias"], right["bias"][0])
    if "dy" in shapes and not agree(shapes["dy"], right["dy"]):
        raise ConvError(f"dy must have the shape of the result, {right['dy']}, not {shapes['dy']}")


def _held(array: Any) -> Any:
    """Return the array that a `keras.Variable` holds, of the framework that Keras runs on; anything else unchanged."""
    keras = sys.modules.get("keras")
    return array.value if keras is not None and isinstance(array, keras.Variable) else array


def _check_bias(shape: Shape, channels: int) -> None:
    if shape != (channels,):
        raise ConvError(f"bias must have the shape ({channels},), one number per output channel, not {shape}")
