"""Problems to test a convolution with: given, seeded or drawn.

`draw_problems` begins with the `SITUATIONS`: cases for which frameworks have special code, or which are easy to get
wrong. It goes on with a design that covers pairs of levels (`multiconv.testing.coverage`). Each problem has its own
shape. For a framework that compiles each shape, the problems share a few shapes.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st

from multiconv.core.dtypes import dtype_named
from multiconv.core.memory import ARRANGEMENTS
from multiconv.core.spec import LAYOUTS, PADDING_WORDS, ConvSpec, Geometry
from multiconv.core.types import Host, Shape
from multiconv.oracle.problem import Problem
from multiconv.oracle.values import ALL_VALUES, VALUES, seeded
from multiconv.testing.coverage import Coverage, Drawn, design
from multiconv.testing.fixed_options import settled
from multiconv.testing.levels import BATCHES, LAYOUT_LEVELS, NOTHING, Row, Signature, levels_of
from multiconv.testing.settling import Picks

Integers = st.SearchStrategy[int]

DTYPES = ("float32", "float64")


def given_values(
    source: str,
    spec: ConvSpec,
    x: Host,
    w: Host,
    dy: Host | None = None,
    bias: Host | None = None,
    x_bias: Host | None = None,
    seed: int | None = None,
) -> Problem:
    """Return a problem with the given arrays.

    A missing cotangent is filled with small integers. So is a missing bias of the transposed result, if the result has
    a bias.

    Examples
    --------
    >>> given_values("mine", ConvSpec(), np.ones((1, 1, 3)), np.ones((1, 1, 2))).dy.shape
    (1, 1, 2)
    """
    g = spec.resolve(x.shape, w.shape)
    if dy is None:
        dy = _cycle(g.y_shape, x.dtype.name)
    if bias is not None and x_bias is None:
        x_bias = _cycle((g.in_channels,), x.dtype.name)
    arrays = [a for a in (x, w, dy, bias, x_bias) if a is not None]
    values = "integers" if all(map(_small_integers, arrays)) else "given"
    return Problem(source, spec, x, w, dy, bias, x_bias, values, seed)


def identity(dtype: str) -> Problem:
    """Return a problem whose result is its input: the kernel has one tap, equal to 1.

    Examples
    --------
    >>> identity("float32").w
    array([[[[1.]]]], dtype=float32)
    """
    x = np.arange(1, 7).reshape(1, 1, 2, 3).astype(dtype_named(dtype))
    return given_values("identity", ConvSpec(), x, np.ones((1, 1, 1, 1), x.dtype))


def with_values(
    source: str,
    spec: ConvSpec,
    g: Geometry,
    dtype: str,
    *,
    bias: bool,
    values: str,
    seed: int,
    arrangement: str = "contiguous",
) -> Problem:
    """Return a problem of this geometry with values from NumPy's default generator.

    Parameters
    ----------
    source : str
    spec : ConvSpec
    g : Geometry
        The geometry to which `spec` resolves.
    dtype : str
    bias : bool
    values : str
        The kind of values, as in `multiconv.oracle.values.seeded`.
    seed : int
    arrangement : str
        The memory layout of the arrays: one of `multiconv.core.memory.ARRANGEMENTS`.

    Examples
    --------
    >>> spec = ConvSpec()
    >>> g = spec.resolve((1, 1, 3), (1, 1, 2))
    >>> with_values("mine", spec, g, "float32", bias=False, values="integers", seed=0).x
    array([[[3., 1., 0.]]], dtype=float32)
    """
    shapes = (g.x_shape, g.w_shape, g.y_shape, (g.out_channels,), (g.in_channels,))
    x, w, dy, b, x_b = (seeded(shape, dtype, values, seed, i) for i, shape in enumerate(shapes))
    return Problem(source, spec, x, w, dy, b if bias else None, x_b if bias else None, values, seed, arrangement)


def _ints(least: int, most: int) -> Integers:
    return st.integers(least, most)


_EVEN = {"kernel": st.sampled_from([2, 4]), "stride": st.just(1), "dilation": st.just(1)}
_ASYMMETRIC = st.sampled_from([(0, 1), (1, 0), (2, 1), (0, 3)])

SITUATIONS: dict[str, dict[str, Any]] = {
    "anything": {},
    "one row": {"batch": st.just(1), "out_group": _ints(2, 3)},
    "many rows": {"batch": st.sampled_from([16, 17]), "extra": st.just(3)},
    "no rows": {"batch": st.just(0)},
    "one pixel in": {"extra": st.just(0), "padding": st.sampled_from(["same", "same_lower", "full"])},
    "one pixel out": {"extra": st.just(0), "padding": st.sampled_from([0, "valid"]), "kernel": _ints(2, 3)},
    "one channel, full": {
        "groups": st.just(1),
        "in_group": st.just(1),
        "out_group": st.just(1),
        "kernel": _ints(2, 4),
        "padding": st.just("full"),
        "ndim": st.just(2),
    },
    "depthwise": {"groups": st.sampled_from([3, 5]), "in_group": st.just(1), "out_group": st.just(1)},
    "depthwise, several out": {"groups": st.sampled_from([2, 3]), "in_group": st.just(1), "out_group": _ints(2, 3)},
    "groups": {"groups": st.sampled_from([2, 3]), "in_group": _ints(2, 3), "out_group": _ints(2, 3)},
    "1x1 kernel, strided": {"kernel": st.just(1), "stride": st.just(2), "extra": st.just(5), "ndim": st.just(2)},
    "1x1 kernel, as many channels as columns": {
        "kernel": st.just(1),
        "stride": st.just(1),
        "padding": st.just("valid"),
        "groups": st.just(1),
        "in_group": st.just(3),
        "out_group": st.just(3),
        "extra": st.just(2),
    },
    "3x3 kernel, an odd number of outputs": {  # the last tile of Winograd's algorithm is not full
        "ndim": st.just(2),
        "kernel": st.just(3),
        "stride": st.just(1),
        "dilation": st.just(1),
        "groups": st.just(1),
        "padding": st.sampled_from([0, 1, "same"]),
        "extra": st.sampled_from([2, 4, 6]),
    },
    "even kernel, same": {**_EVEN, "padding": st.sampled_from(["same", "same_upper"])},
    "even kernel, same_lower": {**_EVEN, "padding": st.just("same_lower")},
    "strided, same": {
        "kernel": st.just(3),
        "stride": st.just(2),
        "dilation": st.just(1),
        "padding": st.just("same"),
        "extra": st.sampled_from([3, 5]),
        "ndim": st.just(2),
    },
    "asymmetric pads": {"pads": _ASYMMETRIC, "kernel": _ints(2, 3)},
    "stride beyond the kernel": {"kernel": _ints(1, 2), "stride": _ints(3, 4), "extra": _ints(4, 8)},
    "dilation beyond the input": {
        "kernel": _ints(2, 3),
        "dilation": _ints(3, 5),
        "extra": _ints(0, 2),
        "padding": st.sampled_from(["same", "full"]),
    },
    "stride and dilation": {"kernel": _ints(2, 3), "stride": st.just(2), "dilation": st.just(2), "extra": _ints(3, 6)},
    "many channels": {
        "ndim": st.just(2),
        "groups": st.just(1),
        "in_group": st.sampled_from([15, 16, 17, 31, 32, 33]),
        "out_group": st.sampled_from([15, 16, 17, 31, 32, 33]),
        "batch": st.just(2),
    },
    "large image": {
        "ndim": st.just(2),
        "groups": st.just(1),
        "in_group": st.just(1),
        "batch": st.just(1),
        "kernel": st.just(3),
        "dilation": st.just(1),
        "extra": st.sampled_from([140, 142]),  # x has more or fewer elements than torch's threshold of 20480
    },
    "padding beyond the kernel before": {
        "ndim": st.just(2),
        "groups": st.just(1),
        "in_group": st.sampled_from([4, 8, 16]),
        "out_group": st.just(8),
        "kernel": (st.just(1), _ints(2, 3)),
        "stride": st.just(1),
        "dilation": st.just(1),
        "pads": (st.sampled_from([(0, 0), (1, 1), (3, 0)]), st.sampled_from([(3, 0), (4, 0)])),
        "extra": _ints(3, 8),
        "dtype": st.just(0),
    },
    "padding beyond the kernel before, on both axes": {
        "ndim": st.just(2),
        "groups": st.just(1),
        "in_group": st.sampled_from([4, 8, 16]),
        "out_group": st.just(8),
        "kernel": st.just(2),
        "stride": st.just(1),
        "dilation": st.just(1),
        "pads": st.sampled_from([(3, 0), (2, 0)]),
        "extra": _ints(3, 8),
        "dtype": st.just(0),
    },
    "padding beyond the kernel after": {"kernel": _ints(1, 3), "pads": st.sampled_from([(0, 3), (0, 4), (1, 5)])},
    "only padding seen": {
        "kernel": _ints(1, 2),
        "stride": st.just(9),
        "dilation": st.just(1),
        "pads": st.sampled_from([(2, 2), (3, 2), (2, 3)]),
        "extra": st.just(0),
    },
    "one output, pixels left over": {
        "ndim": st.just(2),
        "batch": st.sampled_from([2, 3]),
        "groups": st.just(1),
        "in_group": st.just(1),
        "kernel": (_ints(1, 3), _ints(2, 3)),
        "stride": (st.just(1), st.just(3)),
        "dilation": st.just(1),
        "padding": st.just(0),
        "extra": (_ints(1, 3), _ints(1, 2)),
        "dtype": st.just(0),
    },
    "one output of three axes, pixels left over": {
        "ndim": st.just(3),
        "groups": st.sampled_from([1, 3]),
        "in_group": st.just(1),
        "kernel": (_ints(1, 2), _ints(1, 3), _ints(2, 3)),
        "stride": (st.just(3), st.just(1), st.just(3)),
        "dilation": st.just(1),
        "padding": st.just(0),
        "extra": (_ints(1, 2), _ints(1, 3), _ints(1, 2)),
        "dtype": st.just(0),
    },
    "one axis": {"ndim": st.just(1), "kernel": _ints(2, 4)},
    "three axes": {"ndim": st.just(3), "kernel": _ints(1, 3)},
    "channels last": {"layout": st.just("channels_last"), "in_group": _ints(2, 3)},
}
"""For each named situation, the options that are not drawn as usual, with their strategies.

The options are `batch`, `ndim`, `groups`, `padding` and `layout`; the channels per group, `in_group` and `out_group`;
along each axis `kernel`, `stride`, `dilation`, `pads` and `extra`, the number of pixels beyond the smallest input; and
`dtype`, the number of a dtype. A tuple has one strategy per axis.
"""


@st.composite
def specs(
    draw: st.DrawFn, situation: str = "anything", fixed: Mapping[str, Any] = NOTHING
) -> tuple[ConvSpec, Shape, Shape]:
    """Draw a convolution's options, and the shapes of an input and a kernel that match them.

    Parameters
    ----------
    situation : str
        One of `SITUATIONS`.
    fixed : mapping
        Options that are not drawn: any of ``"stride"``, ``"padding"``, ``"dilation"``, ``"groups"`` and ``"layout"`` as
        `multiconv.ConvSpec` takes them; ``"kernel"``, one int or one per axis; and ``"ndim"``, the number of axes.

    Examples
    --------
    >>> spec, x_shape, w_shape = specs("depthwise").example()  # doctest: +SKIP
    """
    special = SITUATIONS[situation]

    def some(what: str, usual: st.SearchStrategy[Any]) -> Any:
        return fixed[what] if what in fixed else draw(special.get(what, usual))

    def along_axes(what: str, usual: st.SearchStrategy[Any]) -> Any:
        if what in fixed:
            return fixed[what] if isinstance(fixed[what], tuple) else (fixed[what],) * ndim
        each = special.get(what, usual)
        return draw(st.tuples(*(each if isinstance(each, tuple) else [each] * ndim)))

    ndim = some("ndim", st.sampled_from([2, 2, 1, 3]))
    kernel = along_axes("kernel", _ints(1, 4 if ndim < 3 else 3))
    stride = along_axes("stride", draw(st.sampled_from([st.just(1), _ints(1, 4 if ndim < 3 else 3)])))
    dilation = along_axes("dilation", draw(st.sampled_from([st.just(1), _ints(1, 3)])))
    pairs = "pads" in special and "padding" not in fixed
    padding = along_axes("pads", st.nothing()) if pairs else some("padding", _paddings(ndim))
    groups = some("groups", st.sampled_from([1, 1, 2, 3]))
    in_channels = groups * some("in_group", _ints(1, 3))
    out_channels = groups * some("out_group", _ints(1, 3))
    batch = some("batch", st.sampled_from([1, 2, 3, 1, 2, 17]))
    of_rank = [layout for layout, (axes, _) in LAYOUTS.items() if axes == ndim]
    last = [layout for layout in of_rank if ConvSpec(layout=layout).channels_last]
    layout = fixed.get("layout", draw(st.sampled_from(last if "layout" in special else [None, *of_rank])))
    spec = ConvSpec(stride, padding, dilation, groups, layout)
    w_shape = (out_channels, in_channels // groups, *kernel)
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    pads = spec.fixed_pads(kernel)
    least = [1 if pads is None else max(1, e - sum(pads[axis])) for axis, e in enumerate(extents)]
    size = tuple(n + extra for n, extra in zip(least, along_axes("extra", _ints(0, 8 if ndim < 3 else 4))))
    x_shape = (batch, *size, in_channels) if spec.channels_last else (batch, in_channels, *size)
    return spec, x_shape, w_shape


def _paddings(ndim: int) -> st.SearchStrategy[Any]:
    side = _ints(0, 3)
    pairs = st.tuples(*[st.tuples(side, side)] * ndim)
    return st.one_of(st.sampled_from(PADDING_WORDS), pairs, side, st.tuples(*[side] * ndim), pairs)


def problems(
    signatures: Sequence[Signature], source: str = "drawn", values: Sequence[str] = VALUES
) -> st.SearchStrategy[Problem]:
    """Return a strategy for problems from a pool of signatures, with values of any of the given kinds.

    A signature has the options, the shapes of x and w, the dtype, and whether there is a bias.

    Examples
    --------
    >>> pool = [(ConvSpec(), (1, 1, 3), (1, 1, 2), "float32", True)]
    >>> problems(pool).example().w.shape  # doctest: +SKIP
    (1, 1, 2)
    """

    def build(signature: Signature, kind: str, seed: int) -> Problem:
        spec, x_shape, w_shape, dtype, bias = signature
        g = spec.resolve(x_shape, w_shape)
        return with_values(source, spec, g, dtype, bias=bias, values=kind, seed=seed)

    kinds = ["integers"] * 3 + list(values) if "integers" in values else list(values)
    return st.builds(build, st.sampled_from(signatures), st.sampled_from(kinds), _ints(0, 2**32 - 1))


def draw_all(strategy: st.SearchStrategy[Any], count: int, seed: int) -> list[Any]:
    """Draw `count` examples of a strategy; the same seed gives the same examples.

    Examples
    --------
    >>> draw_all(st.integers(), 3, seed=0) == draw_all(st.integers(), 3, seed=0)
    True
    """
    drawn: list[Any] = []

    @hypothesis_seed(seed)
    @settings(
        max_examples=max(count, 1),
        phases=[Phase.generate],
        database=None,
        deadline=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(example: Any) -> None:
        drawn.append(example)

    if count:
        collect()
    return drawn[:count]


def draw_signatures(count: int, seed: int, dtypes: Sequence[str] = DTYPES) -> list[Signature]:
    """Draw options and shapes of one situation after the other, with each dtype and with and without a bias.

    Examples
    --------
    >>> len(draw_signatures(3, seed=0))
    3
    """
    shuffled = random.Random(seed)
    situations: list[str] = []
    while len(situations) < count:
        situations += shuffled.sample(sorted(SITUATIONS), len(SITUATIONS))
    signatures = []
    for number, situation in enumerate(situations[:count]):
        spec, x, w = _last_drawn(specs(situation), seed + number)
        dtype = dtypes[0 if "dtype" in SITUATIONS[situation] else number % len(dtypes)]
        bias = number // len(dtypes) % 2 == 0 or max(w[2:]) == 1
        signatures.append((spec, x, w, dtype, bias))
    return signatures


def _last_drawn(strategy: st.SearchStrategy[Any], seed: int) -> Any:
    """Draw one example. It is not the first, since Hypothesis makes that the simplest."""
    return draw_all(strategy, 3, seed)[-1]


def draw_problems(
    count: int,
    seed: int,
    dtypes: Sequence[str] = DTYPES,
    shapes: int | None = None,
    values: Sequence[str] = VALUES,
    fixed: Mapping[str, Any] = NOTHING,
    arrangements: Sequence[str] = ("contiguous",),
    layouts: Sequence[str] = LAYOUT_LEVELS,
    batches: Sequence[str] = tuple(BATCHES),
) -> list[Problem]:
    """Draw problems: first the situations, then a design that covers pairs of levels.

    Parameters
    ----------
    count : int
    seed : int
    dtypes : sequence of str
    shapes : int, optional
        Number of different shapes, for a framework that compiles each shape. By default each problem has its own shape.
    values : sequence of str
        The kinds of values, as in `multiconv.oracle.values.seeded`.
    fixed : mapping
        Options that are not drawn, by name: ``"stride"``, ``"padding"``, ``"dilation"``, ``"groups"`` and ``"layout"``
        as `multiconv.ConvSpec` takes them; ``"kernel"`` and ``"size"``, one int or a tuple with one per axis;
        ``"ndim"``, ``"batch"``, ``"in_channels"``, ``"out_channels"`` and ``"bias"``. If any option is fixed, no
        situations are drawn.
    arrangements : sequence of str
        Memory layouts of the arrays: names of `multiconv.core.memory.ARRANGEMENTS`.
    layouts : sequence of str
        Either or both of ``"channels first"`` and ``"channels last"``.
    batches : sequence of str
        Any of the levels of `multiconv.testing.coverage.BATCHES`.

    Raises
    ------
    ConvError
        If a fixed option does not exist, its value is invalid, or no convolution matches all fixed options.

    Examples
    --------
    >>> len(draw_problems(5, seed=0))
    5
    """
    fixed = settled(fixed)
    pick, coverage = Picks(seed), Coverage(dtypes, values, arrangements, layouts, batches)
    usual = [*values, *["integers"] * 3] if "integers" in values else list(values)
    drawn: list[Drawn] = []
    different = count if shapes is None else min(shapes, count)
    situations = [] if fixed else draw_signatures(min(different, len(SITUATIONS)), seed, dtypes)
    plain = [kind for kind in ("integers", "normal") if kind in values] or usual
    for signature in situations:
        one = Drawn(signature, pick("plain values", plain), pick("memory", arrangements))
        levels = levels_of(*one)
        if levels["layout"] in layouts and levels["batch"] in batches:
            drawn.append(one)
            coverage.add(levels)
    drawn += design(different - len(drawn), seed, coverage, fixed)
    signatures = [d.signature for d in drawn]
    while len(drawn) < count:
        drawn.append(Drawn(signatures[len(drawn) % different], pick("values", usual), pick("memory", arrangements)))
    seeds = np.random.default_rng([seed, count]).integers(2**32, size=count)
    return [_problem(d, int(seed)) for d, seed in zip(drawn, seeds)]


def share_covered(
    problems: Sequence[Problem],
    dtypes: Sequence[str] = DTYPES,
    values: Sequence[str] = ALL_VALUES,
    arrangements: Sequence[str] = tuple(ARRANGEMENTS),
    layouts: Sequence[str] = LAYOUT_LEVELS,
    batches: Sequence[str] = tuple(BATCHES),
) -> float:
    """Return the share of the possible pairs of levels that problems cover.

    Examples
    --------
    >>> share_covered(draw_problems(40, 0)) < share_covered(draw_problems(80, 0)) < 1
    True
    """
    coverage = Coverage(dtypes, values, arrangements, layouts, batches)
    for problem in problems:
        coverage.add(problem_levels(problem))
    return coverage.share


def problem_levels(problem: Problem) -> Row:
    """Return a problem's level of each factor of `multiconv.testing.coverage`.

    Examples
    --------
    >>> problem_levels(given_values("mine", ConvSpec(), np.ones((1, 1, 3)), np.ones((1, 1, 2))))["padding"]
    'none'
    """
    signature = (problem.spec, problem.x.shape, problem.w.shape, problem.dtype, problem.bias is not None)
    return levels_of(signature, problem.values, problem.arrangement)


def _problem(drawn: Drawn, seed: int) -> Problem:
    spec, x_shape, w_shape, dtype, bias = drawn.signature
    g = spec.resolve(x_shape, w_shape)
    return with_values(
        "drawn", spec, g, dtype, bias=bias, values=drawn.values, seed=seed, arrangement=drawn.arrangement
    )


def _cycle(shape: Shape, dtype: str) -> Host:
    """Return an array of 1, 2, -1, 3, -2, repeated: small integers that differ from their neighbours."""
    return np.resize(np.array([1, 2, -1, 3, -2], dtype_named(dtype)), shape)


def _small_integers(array: Host) -> bool:
    return bool(np.all(array == np.rint(array)) and np.all(np.abs(array) <= 2**6))
