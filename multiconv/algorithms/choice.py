"""The choice of the algorithm that computes a convolution in NumPy, and the convolution that uses it.

`choose` makes the whole choice. It is a pure function of the geometry.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from multiconv.algorithms import tiling
from multiconv.algorithms.depthwise import Depthwise, Taps
from multiconv.algorithms.fft import FFT
from multiconv.algorithms.im2col import Im2col, Matmul
from multiconv.algorithms.toeplitz import Toeplitz
from multiconv.algorithms.winograd import Winograd
from multiconv.core.errors import ConvError
from multiconv.core.geometry import Geometry
from multiconv.core.types import Array

ALGORITHMS: dict[str, Any] = {
    "matmul": Matmul,
    "im2col": Im2col,
    "taps": Taps,
    "depthwise": Depthwise,
    "toeplitz": Toeplitz,
    "winograd": Winograd,
    "fft": FFT,
}
POLICIES = ("direct", "fast")
METHODS = {"forward": "forward", "input gradient": "input_gradient", "kernel gradient": "kernel_gradient"}


def choose(g: Geometry, direction: str = "forward", wanted: str = "direct") -> str:
    """Return the name of the algorithm that computes one direction of a geometry.

    If `by_adjoint` is true, the input gradient is the forward direction of `adjoint` and uses the algorithm of that.

    Parameters
    ----------
    g : Geometry
    direction : str
        ``"forward"``, ``"input gradient"`` or ``"kernel gradient"``.
    wanted : str
        ``"direct"``: sums of products only; ``"fast"``: Winograd's algorithm and the FFT too; or the name of one
        algorithm.

    Raises
    ------
    ConvError
        If the named algorithm can't compute this.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> g = ConvSpec(padding=1).resolve((1, 64, 56, 56), (64, 64, 3, 3))
    >>> choose(g), choose(g, wanted="fast"), choose(g, "kernel gradient", "fast")
    ('im2col', 'winograd', 'im2col')
    >>> choose(g, wanted="matmul")
    Traceback (most recent call last):
    multiconv.ConvError: matmul can't compute this: it needs a kernel of one pixel, stride 1 and no padding
    """
    if direction == "input gradient" and by_adjoint(g):
        return choose(adjoint(g), "forward", wanted)
    able = [name for name, a in ALGORITHMS.items() if hasattr(a, METHODS[direction]) and a.takes(g)]
    if wanted not in POLICIES:
        if wanted not in able:
            raise ConvError(_refusal(wanted, direction))
        return wanted
    channels, squares = min(g.in_channels, g.out_channels), max(g.batch, 1) * prod(g.out) // 16
    if wanted == "fast" and "winograd" in able and channels >= 32 and squares >= 48:
        return "winograd"
    if wanted == "fast" and "fft" in able and min(g.kernel) >= 24 and prod(g.out) >= 2**17:
        return "fft"
    if "matmul" in able and (direction == "forward" or g.batch == 1):
        return "matmul"
    if "toeplitz" in able and min(g.kernel) >= 9 and prod(g.out) >= 1024:
        return "toeplitz"
    if "depthwise" in able and g.groups * prod(g.out) >= 4096:
        small = prod(g.kernel) <= 9 and (g.stride[1] > 1 or prod(g.out) <= 256)
        return "taps" if small and "taps" in able else "depthwise"
    return "im2col"


def normwise_constant(g: Geometry, direction: str, wanted: str, dtype: str) -> float | None:
    """Return the constant c of `multiconv.core.bounds.normwise` for the algorithm that `choose` returns.

    It is None for an algorithm that sums products directly.

    Parameters
    ----------
    g : Geometry
    direction : str
        One of `multiconv.oracle.problem.DIRECTIONS`.
    wanted : str
        As in `choose`.
    dtype : str

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> g = ConvSpec(padding=1).resolve((1, 64, 56, 56), (64, 64, 3, 3))
    >>> normwise_constant(g, "forward", "fast", "float32") > 1
    True
    >>> normwise_constant(g, "kernel gradient", "fast", "float32") is None
    True
    """
    if direction == "bias gradient":
        return None
    direction = {"conv_transpose": "input gradient"}.get(direction, direction)
    direction = direction if direction in METHODS else "forward"
    algorithm = ALGORITHMS[choose(g, direction, wanted)]
    if not hasattr(algorithm, "normwise_constant"):
        return None
    constant: float = algorithm.normwise_constant(adjoint(g) if direction == "input gradient" else g, dtype)
    return constant


def by_adjoint(g: Geometry) -> bool:
    """Return whether to compute the input gradient as a cross-correlation.

    The stride must be 1. The cross-correlation copies the kernel, and copies each output once per tap. Its alternative,
    col2im, adds up each pixel once per tap. So the cross-correlation is slower for a large kernel, and for many more
    output channels than input channels.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> by_adjoint(ConvSpec(stride=2).resolve((1, 1, 8), (1, 1, 2)))
    False
    """
    if set(g.stride) != {1}:
        return False
    return (Matmul.takes(g) and g.groups == 1) or (
        prod(g.w_shape) <= tiling.TILE_ELEMENTS and g.out_channels <= 2 * g.in_channels
    )


def adjoint(g: Geometry) -> Geometry:
    """Return the cross-correlation of the cotangent that gives the input gradient of a cross-correlation of stride 1.

    Its kernel is the result of `turned`. Its padding is negative where the original padding exceeds the reach of the
    kernel.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> g = adjoint(ConvSpec(padding=1).resolve((1, 4, 8, 8), (6, 4, 3, 2)))
    >>> g.x_shape, g.w_shape, g.pads, g.y_shape
    ((1, 6, 8, 9), (4, 6, 3, 2), ((1, 1), (0, 0)), (1, 4, 8, 8))
    """
    pads = tuple((e - 1 - before, e - 1 - after) for e, (before, after) in zip(g.extent, g.pads))
    return replace(g, in_channels=g.out_channels, out_channels=g.in_channels, size=g.out, out=g.size, pads=pads)


def turned(w: Array, groups: int) -> Array:
    """Return the kernel of the adjoint: reversed along every spatial axis, with input and output channels exchanged.

    Examples
    --------
    >>> turned(np.arange(6.0).reshape(1, 2, 3), 1)
    array([[[2., 1., 0.]],
    <BLANKLINE>
           [[5., 4., 3.]]])
    """
    outputs, inputs, *kernel = w.shape
    grouped = w.reshape(groups, outputs // groups, inputs, *kernel).swapaxes(1, 2)
    flipped = np.flip(grouped, tuple(range(3, grouped.ndim))) if prod(kernel) > 1 else grouped
    return flipped.reshape(groups * inputs, outputs // groups, *kernel)


class CrossCorrelation:
    """The cross-correlation of one geometry and its gradients, by the algorithms that `choose` returns.

    Parameters
    ----------
    g : Geometry
    wanted : str
        As in `choose`.
    """

    def __init__(self, g: Geometry, wanted: str) -> None:
        self.g, self.wanted = g, wanted

    def __call__(self, x: Array, w: Array, bias: Array | None = None) -> Array:
        """Compute the cross-correlation of x and w, plus the bias."""
        y = np.empty(self.g.y_shape, x.dtype)
        self._forward.forward(self._channels_first(x), w, self._channels_first(y))
        if bias is not None:
            y += self.along_channels(bias)
        return y

    def input_gradient(self, dy: Array, w: Array) -> Array:
        """Compute the gradient of x."""
        dx = np.empty(self.g.x_shape, dy.dtype)
        into, dy = self._channels_first(dx), self._channels_first(dy)
        if by_adjoint(self.g):
            self._adjoint.forward(dy, turned(w, self.g.groups), into)
        else:
            self._input_gradient.input_gradient(dy, w, into)
        return dx

    def kernel_gradient(self, x: Array, dy: Array) -> Array:
        """Compute the gradient of w."""
        if self.g.batch == 0:
            return np.zeros(self.g.w_shape, dy.dtype)
        dw = np.empty(self.g.w_shape, dy.dtype)
        self._kernel_gradient.kernel_gradient(self._channels_first(x), self._channels_first(dy), dw)
        return dw

    def bias_gradient(self, dy: Array) -> Array:
        """Compute the gradient of the bias: the sum of dy over all axes but the channels."""
        return self._channels_first(dy).sum(axis=(0, *range(2, 2 + self.g.ndim)))

    def along_channels(self, bias: Array) -> Array:
        """Return the bias in a shape that broadcasts over the spatial axes in the layout of the geometry."""
        return bias if self.g.channels_last else bias.reshape(-1, *[1] * self.g.ndim)

    @cached_property
    def _forward(self) -> Any:
        return ALGORITHMS[choose(self.g, "forward", self.wanted)](self.g)

    @cached_property
    def _adjoint(self) -> Any:
        return ALGORITHMS[choose(self.g, "input gradient", self.wanted)](adjoint(self.g))

    @cached_property
    def _input_gradient(self) -> Any:
        return ALGORITHMS[choose(self.g, "input gradient", self.wanted)](self.g)

    @cached_property
    def _kernel_gradient(self) -> Any:
        return ALGORITHMS[choose(self.g, "kernel gradient", self.wanted)](self.g)

    def _channels_first(self, array: Array) -> Array:
        return np.moveaxis(array, -1, 1) if self.g.channels_last else array


def _refusal(name: str, direction: str) -> str:
    if hasattr(ALGORITHMS[name], METHODS[direction]):
        return f"{name} can't compute this: it needs {ALGORITHMS[name].needs}"
    return f"{name} can't compute this: it has no {direction} of its own"
