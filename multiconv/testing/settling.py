"""Find a convolution that has the levels of a row: its sizes and options.

One or two sizes of a problem can be large, but not all, so that it stays fast.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

import numpy as np

from multiconv.core.geometry import Geometry
from multiconv.core.spec import LAYOUTS, ConvSpec
from multiconv.core.types import Shape
from multiconv.testing.levels import (
    BATCHES,
    CHANNELS,
    FAR,
    GROUPS,
    KERNELS,
    NOTHING,
    OUTPUTS,
    SHAPE_FACTORS,
    WITHIN,
    Row,
    Signature,
    levels_of,
)

MOST_PRODUCTS = 300_000
"""Maximum number of multiplications in a forward pass. One or two sizes of a problem can be large, but not all."""
MOST_ELEMENTS = 100_000
"""Maximum number of elements of the padded input, the kernel or the result."""
MOST_TAPS = 12
"""Maximum number of taps of a kernel with equal axes, counted over all axes but one."""
LARGE_OUTPUTS = {1: ((1025,), (1056,), (1203,)), 2: ((33, 32), (31, 35), (9, 130)), 3: ((11, 10, 10), (4, 9, 33))}
"""Outputs of at least 1024 elements, by the number of axes."""
OTHER_OUTPUTS = (1, 2, 3, 4, 5)


class Picks:
    """A random picker that returns every option once, in random order, before it repeats any."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._left: dict[tuple[str, tuple[Any, ...]], list[Any]] = {}

    def __call__(self, what: str, options: Iterable[Any]) -> Any:
        """Return one of the options.

        Examples
        --------
        >>> pick = Picks(0)
        >>> sorted(pick("batch", (1, 2, 3)) for _ in range(3))
        [1, 2, 3]
        """
        options = tuple(options)
        left = self._left.setdefault((what, options), [])
        if not left:
            left += self.random.sample(options, len(options))
        return left.pop()


def settle(row: Row, pick: Picks, fixed: Mapping[str, Any] = NOTHING, *, large: bool = False) -> Signature | None:
    """Return a convolution with the levels of a row, or None if this try found none.

    Parameters
    ----------
    row : dict
    pick : Picks
    fixed : mapping
        As in `multiconv.testing.drawing.draw_problems`. Fixed options may have other levels than the row.
    large : bool
        Whether the convolution may exceed `MOST_PRODUCTS` and `MOST_ELEMENTS`.

    Raises
    ------
    ConvError
        If the fixed options contradict each other or the row.
    """
    ndim = fixed.get("ndim", int(row["axes"]))
    kernel = _along(fixed["kernel"], ndim) if "kernel" in fixed else _kernel(row["kernel"], ndim, pick)
    stride = _along(fixed["stride"], ndim) if "stride" in fixed else _stride(row["stride"], kernel, pick)
    dilation = _along(fixed["dilation"], ndim) if "dilation" in fixed else _dilation(row["dilation"], kernel, pick)
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
    padding = fixed["padding"] if "padding" in fixed else _padding(row["padding"], extent, pick)
    channels = _channels(row, pick, fixed)
    if channels is None:
        return None
    groups, in_channels, out_channels = channels
    batch = fixed["batch"] if "batch" in fixed else pick("batch", BATCHES[row["batch"]])
    layout = fixed["layout"] if "layout" in fixed else _layout(row["layout"], ndim, pick)
    spec = ConvSpec(stride, padding, dilation, groups, layout)
    w_shape = (out_channels, in_channels // groups, *kernel)
    spec.check_kernel(w_shape)
    size = _along(fixed["size"], ndim) if "size" in fixed else _size(row["output"], spec, kernel, extent, pick)
    if size is None:
        return None
    x_shape = (batch, *size, in_channels) if spec.channels_last else (batch, in_channels, *size)
    bias = fixed["bias"] if "bias" in fixed else row["bias"] == "yes"
    signature = (spec, x_shape, w_shape, row["dtype"], bias)
    g = spec.resolve(x_shape, w_shape)
    if not fixed and any(levels_of(signature, "", "")[factor] != row[factor] for factor in SHAPE_FACTORS):
        return None
    return None if _is_large(g) and not large else signature


def _is_large(g: Geometry) -> bool:
    batch = max(g.batch, 1)
    elements = max(batch * g.in_channels * prod(g.padded), prod(g.w_shape), batch * g.out_channels * prod(g.out))
    return batch * g.products > MOST_PRODUCTS or elements > MOST_ELEMENTS


def _along(value: Any, ndim: int) -> Shape:
    return value if isinstance(value, tuple) else (value,) * ndim


def _kernel(level: str, ndim: int, pick: Picks) -> Shape:
    longest = pick("kernel", KERNELS[level])
    if pick("cube", (True, False)) and longest ** (ndim - 1) <= MOST_TAPS:
        return (longest,) * ndim
    others = sorted({1, min(2, longest), min(3, longest), *([longest] if ndim == 2 else [])})
    kernel = [pick("shorter kernel", others) for _ in range(ndim - 1)]
    kernel.insert(pick("long axis", range(ndim)), longest)
    return tuple(kernel)


def _stride(level: str, kernel: Shape, pick: Picks) -> Shape:
    if level == "1":
        return (1,) * len(kernel)
    axis = int(np.argmax(kernel)) if level == WITHIN else pick("strided axis", range(len(kernel)))
    stride = [pick("stride", range(1, min(k, 3) + 1)) for k in kernel]
    if level == WITHIN:
        stride[axis] = pick("stride within", range(2, max(min(kernel[axis], 5), 2) + 1))
    else:
        stride[axis] = kernel[axis] + pick("stride beyond", (1, 2, 4))
    return tuple(stride)


def _dilation(level: str, kernel: Shape, pick: Picks) -> Shape:
    most = {"1": 1, "2": 2}.get(level) or pick("dilation", (3, 4, 5))
    dilation = [pick("other dilation", sorted({1, min(2, most), most})) for _ in kernel]
    dilation[int(np.argmax(kernel))] = most
    return tuple(dilation)


def _padding(level: str, extent: Shape, pick: Picks) -> Any:
    if level in ("same", "same_lower", "full"):
        return pick("same", ("same", "same_upper")) if level == "same" else level
    if level == "none":
        return pick("none", (0, "valid"))
    pads: list[tuple[int, int]] = [(pick("pad", range(min(e, 3))),) * 2 for e in extent]
    axis = pick("padded axis", range(len(extent)))
    e = extent[axis]
    within = range(min(e, 4))
    if level in ("symmetric", "pairs"):
        axis = int(np.argmax(extent))
        before = pick("pad before", range(min(extent[axis], 4)))
        after = before if level == "symmetric" else pick("pad after", range(min(extent[axis], 4)))
        pads[axis] = before, after
        same = len(set(pads)) == 1 and pads[0][0] == pads[0][1]
        return pads[0][0] if same and level == "symmetric" else tuple(pads)
    beyond = min(e + pick("pad beyond", (0, 1)), FAR * e - 1)
    if level == "far beyond the kernel":
        far = FAR * e + pick("pad far beyond", (0, 1, 5))
        return (*pads[:axis], pick("sides", ((far, 0), (0, far), (far, far))), *pads[axis + 1 :])
    before = pick("pad before", within) if level.endswith("after") else beyond
    after = pick("pad after", within) if level.endswith("before") else beyond
    return (*pads[:axis], (before, after), *pads[axis + 1 :])


def _channels(row: Row, pick: Picks, fixed: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """Return the numbers of groups, input and output channels, or None if the fixed ones do not fit the row."""
    totals = [fixed[name] for name in ("in_channels", "out_channels") if name in fixed]
    able = [n for n in GROUPS[row["groups"]] if all(total % n == 0 for total in totals)]
    if "groups" not in fixed and not able:
        return None
    groups = fixed["groups"] if "groups" in fixed else pick("groups", able)
    channels = [
        fixed[name] if name in fixed else groups * pick(factor, CHANNELS[row[factor]])
        for name, factor in (("in_channels", "C_in/groups"), ("out_channels", "C_out/groups"))
    ]
    return groups, channels[0], channels[1]


def _layout(level: str, ndim: int, pick: Picks) -> str | None:
    last = level == "channels last"
    named = [name for name, (axes, is_last) in LAYOUTS.items() if axes == ndim and is_last == last]
    return pick("layout", named if last else [None, *named])  # type: ignore[no-any-return]


def _size(level: str, spec: ConvSpec, kernel: Shape, extent: Shape, pick: Picks) -> Shape | None:
    """Return the size of an input whose output has this level, or None if there is none."""
    ndim = len(kernel)
    if level == "1024 and more":
        outputs = list(pick("large outputs", LARGE_OUTPUTS[ndim]))
    else:
        outputs = [pick("other outputs", OTHER_OUTPUTS) for _ in range(ndim - 1)] + [pick("outputs", OUTPUTS[level])]
    left_over = -1
    if level == "one, pixels left over":
        strided = [axis for axis, s in enumerate(spec.each(ndim)[0]) if s > 1]
        if not strided:
            return None
        left_over = pick("axis with pixels left over", strided)
        outputs[left_over] = 1
    pads = spec.fixed_pads(kernel)
    size = []
    for axis, (out, s, e) in enumerate(zip(outputs, spec.each(ndim)[0], extent)):
        if pads is None:  # SAME with a stride: the padding depends on the size
            least, most = (out - 1) * s + 1, out * s
            whole = min((out - 1) * s + e, most)
        else:
            padding = sum(pads[axis])
            first = (out - 1) * s + e - padding
            out += max(0, -(-(1 - (first + s - 1)) // s))  # large padding alone can give more outputs
            least = whole = (out - 1) * s + e - padding
            most = least + s - 1
        if axis == left_over:
            least = whole + 1
        elif out == 1:
            most = max(whole, 1)
        least = max(least, 1)
        if least > most:
            return None
        size.append(pick("pixels", range(least, min(most, least + 5) + 1)))
    return tuple(size)
