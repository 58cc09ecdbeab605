"""Pairwise coverage of the space of convolutions: its factors, their levels, and problems that cover pairs of levels.

A fault often needs two conditions at once, such as depthwise groups and a stride, or an odd number of channels and the
tail of a row. A factor is a property of a problem, such as its number of axes. A level is a class of its values. The
levels split where libraries switch to another kernel (4, 8, 16, 32 and 64 channels, whole vectors and tails, padding
beyond the kernel). A design is a list of problems. Each is chosen in turn for the pairs of levels that it adds ([1]_).

The levels are those of the problem itself (`levels_of`), not those for which it was drawn. The share of pairs covered
is therefore a fact about the problems.

References
----------
.. [1] D. M. Cohen, S. R. Dalal, M. L. Fredman, G. C. Patton, "The AETG system: an approach to testing based on
   combinatorial design", IEEE Trans. Softw. Eng. 23 (1997) 437-444.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import prod
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from multiconv.core.errors import ConvError
from multiconv.core.memory import ARRANGEMENTS
from multiconv.core.spec import LAYOUTS, ConvSpec, Geometry
from multiconv.core.types import Shape
from multiconv.oracle.values import ALL_VALUES

Signature = tuple[ConvSpec, Shape, Shape, str, bool]
"""Options, the shapes of x and w, a dtype, and whether there is a bias."""
Row = dict[str, str]
"""A level for each factor."""
NOTHING: Mapping[str, Any] = MappingProxyType({})

MOST_PRODUCTS = 300_000
"""Maximum number of multiplications in a forward pass. One or two sizes of a problem can be large, but not all."""
MOST_ELEMENTS = 100_000
"""Maximum number of elements of the padded input, the kernel or the result."""

MOST_TAPS = 12
"""Maximum number of taps of a kernel with equal axes, counted over all axes but one."""

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
LARGE_OUTPUTS = {1: ((1025,), (1056,), (1203,)), 2: ((33, 32), (31, 35), (9, 130)), 3: ((11, 10, 10), (4, 9, 33))}
"""Outputs of at least 1024 elements, by the number of axes."""
OTHER_OUTPUTS = (1, 2, 3, 4, 5)
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


class Drawn(NamedTuple):
    """A problem of a design, without its numbers."""

    signature: Signature
    values: str
    arrangement: str


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


# ---- A convolution for a row of levels


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
        As in `multiconv.testing.strategies.draw_problems`. Fixed options may have other levels than the row.
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


# ---- A design


@dataclass
class Coverage:
    """The pairs of levels that problems have covered so far.

    Parameters
    ----------
    dtypes, values, arrangements, layouts, batches : sequence of str
        The levels of these factors that can occur.
    """

    dtypes: Sequence[str]
    values: Sequence[str]
    arrangements: Sequence[str] = tuple(ARRANGEMENTS)
    layouts: Sequence[str] = LAYOUT_LEVELS
    batches: Sequence[str] = tuple(BATCHES)

    def __post_init__(self) -> None:
        limited = {"dtype": self.dtypes, "values": self.values, "memory": self.arrangements}
        limited |= {"layout": self.layouts, "batch": self.batches}
        names = {f: tuple(x for x in levels if x in limited.get(f, levels)) for f, levels in FACTORS.items()}
        self.levels = [(factor, level) for factor in names for level in names[factor]]
        self.number = {level: number for number, level in enumerate(self.levels)}
        self.of_factor = [[self.number[factor, level] for level in names[factor]] for factor in names]
        self.can_meet = _can_meet(tuple(self.levels))
        self.open = self.can_meet.copy()
        self.possible = int(self.can_meet.sum())

    def add(self, row: Row) -> None:
        """Count a problem with these levels.

        An empty batch has no values that could show a fault of two other levels. So only the pairs that include the
        empty batch count.
        """
        numbers = sorted(self.number[level] for level in row.items() if level in self.number)
        empty = self.number.get(EMPTY_BATCH)
        for a, b in combinations(numbers, 2):
            if empty not in numbers or empty in (a, b):
                self.open[a, b] = False

    @property
    def share(self) -> float:
        """Return the share of the possible pairs that have been covered.

        Examples
        --------
        >>> Coverage(["float32"], ["normal"], ["contiguous"]).share
        0.0
        """
        return 1 - int(self.open.sum()) / self.possible if self.possible else 1.0


@cache
def _can_meet(levels: tuple[tuple[str, str], ...]) -> npt.NDArray[np.bool_]:
    """Return which pairs of levels can occur together, as a matrix indexed by their numbers, the lower one first."""
    possible = np.zeros((len(levels), len(levels)), bool)
    for a, b in combinations(range(len(levels)), 2):
        first, second = levels[a], levels[b]
        apart = first[0] != second[0]
        possible[a, b] = apart and (first, second) not in IMPOSSIBLE and (second, first) not in IMPOSSIBLE
    return possible


TRIES = 24
"""Number of rows that are compared for each problem."""
ATTEMPTS = 200
"""Number of times that `TRIES` rows are tried before a problem is given up."""


def design(count: int, seed: int, coverage: Coverage, fixed: Mapping[str, Any] = NOTHING) -> list[Drawn]:
    """Return problems that cover new pairs of levels, each with its own shape.

    Parameters
    ----------
    count : int
    seed : int
    coverage : Coverage
        The pairs covered so far. The problems are added to it.
    fixed : mapping
        As in `multiconv.testing.strategies.draw_problems`.

    Raises
    ------
    ConvError
        If no convolution matches the fixed options.

    Examples
    --------
    >>> coverage = Coverage(["float32"], ["integers", "normal"])
    >>> drawn = design(150, 0, coverage)
    >>> len(drawn), coverage.share > 0.9
    (150, True)
    """
    pick, rng = Picks(seed), np.random.default_rng(seed)
    weights = np.array([USUAL.get(level, 1.0) for level in coverage.levels])
    drawn: list[Drawn] = []
    while len(drawn) < count:
        drawn.append(_next(coverage, weights, pick, rng, fixed))
        coverage.add(levels_of(*drawn[-1]))
    return drawn


def _next(
    coverage: Coverage, weights: npt.NDArray[Any], pick: Picks, rng: np.random.Generator, fixed: Mapping[str, Any]
) -> Drawn:
    refused: ConvError | None = None
    for attempt in range(ATTEMPTS):
        for numbers in _rows(coverage, weights, rng):
            row = dict(coverage.levels[n] for n in numbers)
            try:
                signature = settle(row, pick, fixed, large=bool(fixed) and attempt > ATTEMPTS // 10)
            except ConvError as error:
                refused = error
                continue
            if signature is not None:
                return Drawn(signature, row["values"], row["memory"])
    reason = f": {refused}" if refused is not None else ""
    named = ", ".join(f"{name}={value!r}" for name, value in fixed.items())
    raise ConvError(f"no convolution was found that has {named}{reason}") from None


def _rows(coverage: Coverage, weights: npt.NDArray[Any], rng: np.random.Generator) -> list[list[int]]:
    """Return rows of levels, those that cover the most new pairs first.

    Three quarters of the rows are drawn around a pair that has not been covered.
    """
    rows = np.empty((TRIES, len(coverage.of_factor)), int)
    for factor, numbers in enumerate(coverage.of_factor):
        share = weights[numbers] / weights[numbers].sum()
        rows[:, factor] = rng.choice(numbers, TRIES, p=share)
    factor_of = np.repeat(np.arange(len(coverage.of_factor)), [len(n) for n in coverage.of_factor])
    first, second = np.nonzero(coverage.open)
    if len(first):
        for row in rows[: TRIES * 3 // 4]:
            pair = rng.integers(len(first))
            for number in (first[pair], second[pair]):
                row[factor_of[number]] = number
    a, b = np.triu_indices(rows.shape[1], 1)
    possible = np.asarray(coverage.can_meet[rows[:, a], rows[:, b]].all(axis=1))
    adds = coverage.open[rows[:, a], rows[:, b]]
    empty = coverage.number.get(EMPTY_BATCH)
    in_empty = (rows == empty).any(axis=1, keepdims=True)
    gains = (adds & (~in_empty | (rows[:, a] == empty) | (rows[:, b] == empty))).sum(axis=1)
    order = np.argsort(-gains, kind="stable")
    return [rows[n].tolist() for n in order if possible[n]]
