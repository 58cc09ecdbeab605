"""Benchmark cases: a layer in one direction, and its numbers of operations and bytes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from multiconv.core.dtypes import dtype_named
from multiconv.core.geometry import Geometry
from multiconv.core.targets import plain_name
from multiconv.layers import Layer

DIRECTIONS = ("forward", "input gradient", "kernel gradient")
LAYOUTS = ("native", "interface")
MODES = ("eager", "compiled", "xla")
USUAL_MODES = {"jax": "compiled"}


@dataclass(frozen=True)
class Case:
    """A layer to time in one direction.

    Attributes
    ----------
    layer : Layer
    batch : int
    direction : str
        One of `DIRECTIONS`.
    dtype : str
    threads : int
    layout : str
        ``"native"``: arrays in the framework's own layout. ``"interface"``: channels first, by
        `Backend.cross_correlate`; the time includes layout conversions.
    """

    layer: Layer
    batch: int
    direction: str
    dtype: str
    threads: int
    layout: str

    @property
    def geometry(self) -> Geometry:
        """Return the geometry of the convolution, channels first."""
        return self.layer.geometry(self.batch)

    @property
    def flops(self) -> int:
        """Return the number of operations, including those on padding: the usual count.

        Examples
        --------
        >>> from multiconv.layers import parse_layer
        >>> Case(parse_layer("resnet50 conv2_1/2"), 1, "forward", "float32", 1, "native").flops
        231211008
        """
        return 2 * self.batch * self.geometry.products

    @property
    def flops_without_padding(self) -> int:
        """Return the number of operations, excluding those on padding.

        Examples
        --------
        >>> from multiconv.layers import parse_layer
        >>> Case(parse_layer("resnet50 conv2_1/2"), 1, "forward", "float32", 1, "native").flops_without_padding
        225738752
        """
        g = self.geometry
        taps: int = prod(
            sum(0 <= o * s + k * d - before < n for o in range(out) for k in range(kernel))
            for n, kernel, s, d, (before, _), out in zip(g.size, g.kernel, g.stride, g.dilation, g.pads, g.out)
        )
        return 2 * g.batch * g.out_channels * (g.in_channels // g.groups) * taps

    @property
    def intensity(self) -> float:
        """Return the operations per byte, if input, kernel and output are each transferred once.

        Examples
        --------
        >>> from multiconv.layers import parse_layer
        >>> Case(parse_layer("x=1,1,2,2 w=1,1,1,1"), 1, "forward", "float64", 1, "native").intensity
        0.1111111111111111
        """
        g = self.geometry
        elements = sum(map(prod, (g.x_shape, g.w_shape, g.y_shape)))
        return self.flops / (elements * dtype_named(self.dtype).itemsize)

    @property
    def title(self) -> str:
        """Return a description in words.

        Examples
        --------
        >>> from multiconv.layers import parse_layer
        >>> Case(parse_layer("resnet50 conv1"), 8, "forward", "float32", 2, "native").title
        'resnet50 conv1, forward, batch 8, float32, 2 threads, native'
        """
        name = f"{self.layer.network} {self.layer.name}".strip()
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        return f"{name}, {self.direction}, batch {self.batch}, {self.dtype}, {threads}, {self.layout}"


def usual_mode(name: str) -> str:
    """Return the usual mode of a framework: compiled for JAX, eager for the others.

    Examples
    --------
    >>> usual_mode("jax@0.10.2"), usual_mode("torch")
    ('compiled', 'eager')
    """
    return USUAL_MODES.get(plain_name(name), "eager")
