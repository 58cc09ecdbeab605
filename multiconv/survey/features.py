"""The features that a capability table tries, each with a small problem of integers."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np

from multiconv import oracle
from multiconv.core.dtypes import dtype_named
from multiconv.core.geometry import Geometry
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Host, Shape
from multiconv.oracle.problem import Problem

SIZES = {1: (9,), 2: (7, 9), 3: (5, 7, 5)}
IN_CHANNELS = 4
SIGNIFICAND_BITS = {
    "float16": 11,
    "bfloat16": 8,
    "float32": 24,
    "float64": 53,
    "int8": 7,
    "int32": 31,
    "complex64": 24,
}

Layout = bool


@dataclass(frozen=True)
class Feature:
    """A row of the table: options of a convolution.

    A number such as `stride` applies to every axis.

    Attributes
    ----------
    name : str
    stride, dilation, groups, kernel, batch, out_channels : int
    padding : int, str or (int, int)
    bias : bool
    even : bool
        Whether the input has one more pixel along each axis.
    layouts : tuple of bool
        Layouts to try: True for channels last, False for channels first. The feature is native if the framework's own
        call supports it in one of them.
    """

    name: str
    stride: int = 1
    padding: int | str | tuple[int, int] = 0
    dilation: int = 1
    groups: int = 1
    kernel: int = 3
    batch: int = 2
    out_channels: int = 6
    bias: bool = False
    even: bool = False
    layouts: tuple[Layout, ...] = (False, True)

    def problem(self, ndim: int, dtype: str, *, channels_last: Layout) -> Problem:
        """Return the problem with integer values that tests this feature.

        Examples
        --------
        >>> FEATURES[2].problem(1, "float32", channels_last=False).spec.stride
        2
        """
        padding: Any = (self.padding,) * ndim if isinstance(self.padding, tuple) else self.padding
        layout = ("NWC", "NHWC", "NDHWC")[ndim - 1] if channels_last else None
        spec = ConvSpec(self.stride, padding, self.dilation, self.groups, layout)
        size = tuple(n + self.even for n in SIZES[ndim])
        x_shape = (self.batch, *size, IN_CHANNELS) if channels_last else (self.batch, IN_CHANNELS, *size)
        g = spec.resolve(x_shape, (self.out_channels, IN_CHANNELS // self.groups, *(self.kernel,) * ndim))
        x, w, dy, bias, x_bias = _values(g, dtype)
        return Problem(
            self.name, spec, x, w, dy, bias if self.bias else None, x_bias if self.bias else None, "integers"
        )


FEATURES = (
    Feature("plain"),
    Feature("bias", bias=True),
    Feature("stride", stride=2),
    Feature("stride, a pixel left over", stride=2, even=True),
    Feature("symmetric padding", padding=2),
    Feature("asymmetric padding", padding=(2, 1)),
    Feature("same, odd kernel", padding="same"),
    Feature("same, even kernel", padding="same", kernel=4),
    Feature("same, stride", padding="same", stride=2, even=True),
    Feature("same_lower, even kernel", padding="same_lower", kernel=4),
    Feature("dilation", dilation=2),
    Feature("stride and dilation", stride=2, dilation=2),
    Feature("padding and dilation", padding=1, dilation=2),
    Feature("groups", groups=2),
    Feature("groups and padding", groups=2, padding=2),
    Feature("depthwise", groups=4, out_channels=4),
    Feature("all of these", stride=2, padding=(2, 1), dilation=2, groups=2),
    Feature("batch of zero", batch=0),
    Feature("channels first", layouts=(False,)),
    Feature("channels last", layouts=(True,)),
)


def _values(g: Geometry, dtype: str) -> list[Host]:
    """Return integers for x, w, dy, the bias of y and the bias of x.

    They are as large as possible while every sum stays exact in the dtype. A sum in a less precise format therefore
    gives a wrong answer.
    """
    directions = ("forward", "input gradient", "kernel gradient")
    terms = 1 + max(oracle.contraction(direction, g) for direction in directions)
    largest = max(1, isqrt(2 ** SIGNIFICAND_BITS[dtype] // terms))
    kept = 1.0 if terms <= 2 ** SIGNIFICAND_BITS[dtype] else 0.25
    rng = np.random.default_rng(0)
    shapes: list[Shape] = [g.x_shape, g.w_shape, g.y_shape, (g.out_channels,), (g.in_channels,)]
    numbers = [rng.integers(-largest, largest + 1, shape) * (rng.random(shape) < kept) for shape in shapes]
    return [n.astype(dtype_named(dtype)) for n in numbers]
