"""The factors of the space of convolutions, and their levels.

A factor is a property of a problem, such as its number of axes. A level is a class of its values. The levels split
where libraries switch to another kernel: 4, 8, 16, 32 and 64 channels, whole vectors and tails, padding beyond the
kernel. They are those of the problem itself, not those for which it was drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import Any

from multiconv.core.geometry import Geometry
from multiconv.core.memory import ARRANGEMENTS
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Shape
from multiconv.oracle.problem import Problem
from multiconv.oracle.values import ALL_VALUES

Signature = tuple[ConvSpec, Shape, Shape, str, bool]
"""Options, the shapes of x and w, a dtype, and whether there is a bias."""
Row = dict[str, str]
"""A level for each factor."""
NOTHING: Mapping[str, Any] = MappingProxyType({})
DTYPES = ("float32", "float64")
"""The dtypes that are drawn by default."""
CHANNELS = {
    "1": (1,),
    "2-3": (2, 3),
    "4-7": (4, 5, 6, 7),
    "8-15": (8, 9, 12, 15),
    "16-31": (16, 17, 24, 31),
    "32-63": (32, 33, 48, 63),
    "64 and more": (64, 65, 128),
}
BATCHES = {"0": (0,), "1": (1,), "2-7": (2, 3, 5), "8-16": (8, 15, 16), "17 and more": (17, 32)}
GROUPS = {"1": (1,), "2": (2,), "3-8": (3, 4, 5, 6, 7, 8), "9 and more": (9, 12, 16, 24, 32)}
KERNELS = {"1": (1,), "2-3": (2, 3), "4-7": (4, 5, 6, 7), "8 and more": (8, 9, 10, 11)}
OUTPUTS = {
    "one": (1,),
    "one, pixels left over": (1,),
    "2-7": (2, 3, 4, 5, 6, 7),
    "multiple of 8": (8, 16, 24, 32),
    "tail": (9, 10, 11, 12, 13, 14, 15, 17, 19, 23, 30, 31, 33, 35),
    "1024 and more": (),
}
WITHIN, BEYOND = "within the kernel", "beyond the kernel"
PADDINGS = (
    "none",
    "symmetric",
    "pairs",
    "same",
    "same_lower",
    "full",
    "beyond the kernel before",
    "beyond the kernel after",
    "beyond the kernel on both sides",
    "far beyond the kernel",
)
FAR = 3
"""Padding of at least this many times the kernel's extent is far beyond the kernel."""
CHANNELS_FIRST: tuple[str, ...] = ("channels first",)
LAYOUT_LEVELS: tuple[str, ...] = (*CHANNELS_FIRST, "channels last")
FACTORS: dict[str, tuple[str, ...]] = {
    "axes": ("1", "2", "3"),
    "batch": tuple(BATCHES),
    "C_in/groups": tuple(CHANNELS),
    "C_out/groups": tuple(CHANNELS),
    "groups": tuple(GROUPS),
    "kernel": tuple(KERNELS),
    "stride": ("1", WITHIN, BEYOND),
    "dilation": ("1", "2", "3 and more"),
    "padding": PADDINGS,
    "output": tuple(OUTPUTS),
    "layout": LAYOUT_LEVELS,
    "dtype": ("float16", "bfloat16", "float32", "float64"),
    "bias": ("no", "yes"),
    "values": ALL_VALUES,
    "memory": tuple(ARRANGEMENTS),
}
"""The levels of each factor."""
SHAPE_FACTORS = tuple(FACTORS)[:11]
EMPTY_BATCH = ("batch", "0")
NON_EMPTY_BATCHES = tuple(BATCHES)[1:]
USUAL = {
    ("axes", "2"): 2,
    ("batch", "0"): 0.5,
    ("groups", "1"): 4,
    ("stride", "1"): 2,
    ("dilation", "1"): 3,
    ("values", "integers"): 4,
    ("values", "normal"): 2,
    ("memory", "contiguous"): 3,
}
"""The weight with which each of these levels is tried where it adds no pair. All other levels have weight 1."""
IMPOSSIBLE = {
    (("kernel", "1"), ("stride", WITHIN)): "a stride above 1 is beyond a kernel of one tap",
    (("kernel", "1"), ("padding", "symmetric")): "padding is beyond a kernel of one tap",
    (("kernel", "1"), ("padding", "pairs")): "padding is beyond a kernel of one tap",
    (("stride", "1"), ("output", "one, pixels left over")): "a stride of 1 leaves no pixels over",
}
"""Pairs of levels that no convolution has, with the reason."""


def levels_of(signature: Signature, values: str, arrangement: str) -> Row:
    """Return a problem's level of each factor.

    Parameters
    ----------
    signature : tuple
    values : str
        A kind of values, or ``"given"``, which is not a level.
    arrangement : str

    Examples
    --------
    >>> signature = (ConvSpec(padding=2), (17, 3, 5), (4, 3, 2), "float32", True)
    >>> row = levels_of(signature, "normal", "contiguous")
    >>> row["batch"], row["padding"], row["output"]
    ('17 and more', 'beyond the kernel on both sides', 'multiple of 8')
    """
    spec, x_shape, w_shape, dtype, bias = signature
    g = spec.resolve(x_shape, w_shape)
    row = {
        "axes": str(g.ndim),
        "batch": _class_of(g.batch, BATCHES),
        "C_in/groups": _class_of(g.in_channels // g.groups, CHANNELS),
        "C_out/groups": _class_of(g.out_channels // g.groups, CHANNELS),
        "groups": _class_of(g.groups, GROUPS),
        "kernel": _class_of(max(g.kernel), KERNELS),
        "stride": _stride_level(g),
        "dilation": {1: "1", 2: "2"}.get(max(g.dilation), "3 and more"),
        "padding": _padding_level(spec, g),
        "output": _output_level(g),
        "layout": "channels last" if spec.channels_last else "channels first",
        "dtype": dtype,
        "bias": "yes" if bias else "no",
        "values": values,
        "memory": arrangement,
    }
    return {factor: level for factor, level in row.items() if level in FACTORS[factor]}


def _class_of(number: int, classes: Mapping[str, Sequence[int]]) -> str:
    return [name for name, members in classes.items() if members[0] <= number][-1]


def _stride_level(g: Geometry) -> str:
    if max(g.stride) == 1:
        return "1"
    return BEYOND if any(s > k for s, k in zip(g.stride, g.kernel)) else WITHIN


def _padding_level(spec: ConvSpec, g: Geometry) -> str:
    if isinstance(spec.padding, str) and spec.padding != "valid":
        return "same" if spec.padding == "same_upper" else spec.padding
    if any(max(pair) >= FAR * e for pair, e in zip(g.pads, g.extent)):
        return "far beyond the kernel"
    before, after = (any(pair[side] >= e for pair, e in zip(g.pads, g.extent)) for side in (0, 1))
    if before or after:
        return "beyond the kernel " + ("on both sides" if before and after else "before" if before else "after")
    if not any(map(any, g.pads)):
        return "none"
    return "symmetric" if g.symmetric else "pairs"


def _output_level(g: Geometry) -> str:
    if any(o == 1 and s > 1 and left for o, s, left in zip(g.out, g.stride, g.output_padding)):
        return "one, pixels left over"
    width = g.out[-1]
    if prod(g.out) >= 1024:
        return "1024 and more"
    if width < 8:
        return "one" if width == 1 else "2-7"
    return "tail" if width % 8 else "multiple of 8"


def problem_levels(problem: Problem) -> Row:
    """Return a problem's level of each factor.

    Examples
    --------
    >>> import numpy as np
    >>> from multiconv.testing.problem_values import given_values
    >>> problem_levels(given_values("mine", ConvSpec(), np.ones((1, 1, 3)), np.ones((1, 1, 2))))["padding"]
    'none'
    """
    signature = (problem.spec, problem.x.shape, problem.w.shape, problem.dtype, problem.bias is not None)
    return levels_of(signature, problem.values, problem.arrangement)
