"""NumPy: the algorithms of `multiconv.algorithms.choice`, with hand-written gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from multiconv.algorithms.choice import ALGORITHMS, POLICIES, CrossCorrelation, choose, normwise_constant
from multiconv.core.errors import UnsupportedError, UsageError
from multiconv.core.framework import FrameworkBackend
from multiconv.core.geometry import Geometry
from multiconv.core.layer import InputCheck
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Array, Host, Ints, Operation, Padding, Shape


class NumpyBackend(FrameworkBackend):
    """Vectorised convolution, written for this project, that needs only NumPy.

    Parameters
    ----------
    algorithm : str
        ``"direct"``: sums of products only; ``"fast"``: Winograd's algorithm and the FFT too, which round more; or the
        name of one of `multiconv.algorithms.choice.ALGORITHMS`, which raises an error for what it can't compute.

    Raises
    ------
    UsageError
        If there is no such algorithm. A call also raises it if the algorithm can't compute the requested convolution.
    """

    name = "numpy"
    layouts = ("channels_first", "channels_last")
    layer_layouts = ("channels_first", "channels_last")
    empty_batch = True

    def __init__(self, algorithm: str = "direct") -> None:
        super().__init__()
        if algorithm not in (*POLICIES, *ALGORITHMS):
            raise UsageError(f"algorithm must be one of {', '.join((*POLICIES, *ALGORITHMS))}, not {algorithm!r}")
        self._wanted = algorithm

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

    def native_corr2d(self, X: Array, K: Array) -> Array:
        h, w = K.shape
        Y = np.zeros((X.shape[0] - h + 1, X.shape[1] - w + 1), X.dtype)
        for i in range(Y.shape[0]):
            for j in range(Y.shape[1]):
                Y[i, j] = (X[i : i + h, j : j + w] * K).sum()
        return Y

    def native_cross_correlate(self, g: Geometry) -> Operation:
        return CrossCorrelation(g, self._wanted)

    def native_conv_transpose(self, g: Geometry) -> Operation:
        forward = CrossCorrelation(g, self._wanted)

        def conv_transpose(y: Array, w: Array, bias: Array | None = None) -> Array:
            x = forward.input_gradient(y, w)
            return x if bias is None else x + forward.along_channels(bias)

        return conv_transpose

    def native_layer(self, spec: ConvSpec, w: Host, bias: Host | None) -> Conv:
        return Conv(self, spec, w, bias)

    def assemble(self, before: Sequence[Operation], layer: Any, after: Sequence[Operation], check: InputCheck) -> Conv:
        return cast("Conv", layer)  # which calls `cross_correlate`, and that checks the input

    def pads_natively(self, g: Geometry) -> bool:
        return True

    def layer_pads_natively(self, spec: ConvSpec, w: Host) -> bool:
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

    # ---- Algorithms

    def algorithm(
        self,
        x_shape: Shape,
        w_shape: Shape,
        direction: str = "forward",
        *,
        stride: Ints = 1,
        padding: Padding = 0,
        dilation: Ints = 1,
        groups: int = 1,
        layout: str | None = None,
    ) -> str:
        """Return the name of the algorithm that computes a direction for arrays of these shapes.

        Parameters
        ----------
        x_shape, w_shape : tuple of int
            The shapes of the arrays, as for `cross_correlate`.
        direction : str
            ``"forward"``, ``"input gradient"`` or ``"kernel gradient"``.
        stride, padding, dilation, groups, layout
            As in `multiconv.ConvSpec`.

        Raises
        ------
        ConvError
            If these are not the shapes of a valid convolution, or if the chosen algorithm can't compute it.

        Examples
        --------
        >>> import multiconv as mc
        >>> mc.backend("numpy").algorithm((8, 64, 56, 56), (64, 64, 3, 3), padding=1)
        'im2col'
        """
        g = ConvSpec(stride, padding, dilation, groups, layout).resolve(x_shape, w_shape)
        return choose(g.within_reach(), direction, self._wanted)

    def normwise_constant(self, g: Geometry, direction: str, dtype: str) -> float | None:
        """Return the constant c of `multiconv.core.bounds.normwise` for a direction, or None where sums are direct.

        Parameters
        ----------
        g : Geometry
        direction : str
            One of `multiconv.oracle.problem.DIRECTIONS`.
        dtype : str

        Examples
        --------
        >>> import multiconv as mc
        >>> g = mc.ConvSpec(padding=1).resolve((8, 64, 56, 56), (64, 64, 3, 3))
        >>> mc.backend("numpy").normwise_constant(g, "forward", "float32") is None
        True
        >>> mc.backend("numpy", algorithm="fast").normwise_constant(g, "forward", "float32") > 1
        True
        """
        return normwise_constant(g.within_reach(), direction, self._wanted, dtype)


class Conv:
    """A layer: a kernel, a bias and options, applied to each input.

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
