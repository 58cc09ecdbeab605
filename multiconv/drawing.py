"""Problems to test a convolution with: given, seeded, or drawn by Hypothesis.

Shapes are drawn apart from values, and come from a pool in each run, because JAX compiles anew for each shape. A pool
goes through the `SITUATIONS`: what frameworks have code of their own for, and what people get wrong.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st

from multiconv.dtypes import dtype_named
from multiconv.problem import Problem
from multiconv.spec import LAYOUTS, PADDING_WORDS, ConvSpec, Geometry, Shape

Host = npt.NDArray[Any]
Integers = st.SearchStrategy[int]
Signature = tuple[ConvSpec, Shape, Shape, str, bool]
"""Options, the shapes of x and w, a dtype, and whether there is a bias."""

LARGEST_INTEGER = {"float16": 2, "bfloat16": 1}
VALUES = ("integers", "normal", "wide", "cancelling", "subnormal")
WITH_NONFINITE = ("nonfinite",)
DTYPES = ("float32", "float64")
NOTHING: Mapping[str, Any] = MappingProxyType({})


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
    """A problem with these arrays; a cotangent and a bias for the transposed result are made up where there are none.

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


def with_values(source: str, spec: ConvSpec, g: Geometry, dtype: str, *, bias: bool, values: str, seed: int) -> Problem:
    """A problem of this geometry with values from NumPy's default generator.

    Parameters
    ----------
    source : str
    spec : ConvSpec
    g : Geometry
        What `spec` resolves to.
    dtype : str
    bias : bool
    values : str
        ``"integers"``, small ones of either sign; ``"normal"``; ``"wide"``, log-normal with either sign, over several
        orders of magnitude; ``"cancelling"``, large ones that nearly cancel in sums; ``"subnormal"``, an input and a
        cotangent about the smallest normal number; or ``"nonfinite"``, an input with one NaN and one infinity.
    seed : int

    Examples
    --------
    >>> spec = ConvSpec()
    >>> g = spec.resolve((1, 1, 3), (1, 1, 2))
    >>> with_values("mine", spec, g, "float32", bias=False, values="integers", seed=0).x
    array([[[3., 1., 0.]]], dtype=float32)
    """
    shapes = (g.x_shape, g.w_shape, g.y_shape, (g.out_channels,), (g.in_channels,))
    x, w, dy, b, x_b = (seeded(shape, dtype, values, seed, i) for i, shape in enumerate(shapes))
    return Problem(source, spec, x, w, dy, b if bias else None, x_b if bias else None, values, seed)


def seeded(shape: Shape, dtype: str, values: str, seed: int, which: int) -> Host:
    """The values of array number `which` of a seeded problem: 0 for x, then w, dy, bias and the other bias.

    Examples
    --------
    >>> seeded((3,), "float32", "integers", 0, 0)
    array([3., 1., 0.], dtype=float32)
    """
    rng = np.random.default_rng([seed, which])
    if values == "integers":
        largest = largest_integer(dtype)
        return rng.integers(-largest, largest + 1, shape).astype(dtype_named(dtype))
    if values == "wide":
        spread = 1.0 if dtype == "float16" else 2.0  # whose largest number is 65504
        drawn = np.exp(spread * rng.standard_normal(shape)) * rng.choice([-1.0, 1.0], shape)
    elif values == "cancelling":
        drawn = (large(dtype) + rng.standard_normal(shape)) * rng.choice([-1.0, 1.0], shape)
    elif values == "subnormal":
        # Where subnormal numbers are flushed to zero, what is lost of x is multiplied by w.
        drawn = rng.uniform(-1, 1, shape) if which == 1 else rng.standard_normal(shape) * smallest_normal(dtype)
    else:
        drawn = np.asarray(rng.standard_normal(shape))
        if values == "nonfinite" and which == 0 and drawn.size:
            drawn.flat[rng.integers(drawn.size, size=2)] = np.nan, np.inf
    return np.asarray(drawn, dtype_named(dtype))


def largest_integer(dtype: str) -> int:
    """The largest of the small integers that problems in this dtype are made of.

    Examples
    --------
    >>> largest_integer("float32"), largest_integer("bfloat16")
    (4, 1)
    """
    return LARGEST_INTEGER.get(dtype, 4)


def large(dtype: str) -> float:
    """So much larger than 1 that two thirds of the digits remain once it has cancelled.

    Examples
    --------
    >>> large("float32")
    256.0
    """
    return float(2 ** ({"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}[dtype] // 3))


def smallest_normal(dtype: str) -> float:
    """The smallest number that is not subnormal.

    Examples
    --------
    >>> smallest_normal("float16") == 2.0**-14
    True
    """
    return {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126, "float64": 2.0**-1022}[dtype]


def _ints(least: int, most: int) -> Integers:
    return st.integers(least, most)


_EVEN = {"kernel": st.sampled_from([2, 4]), "stride": st.just(1), "dilation": st.just(1)}
_ASYMMETRIC = st.sampled_from([(0, 1), (1, 0), (2, 1), (0, 3)])

SITUATIONS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
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
        "extra": st.sampled_from([140, 142]),  # x has more or fewer than torch's threshold of 20480 elements
    },
    "one axis": {"ndim": st.just(1), "kernel": _ints(2, 4)},
    "three axes": {"ndim": st.just(3), "kernel": _ints(1, 3)},
    "channels last": {"layout": st.just("channels_last"), "in_group": _ints(2, 3)},
}
"""By name, what is drawn otherwise than usual: `batch`, `ndim`, `groups`, `padding`, `layout`, the channels `in_group`
and `out_group`, and along each axis `kernel`, `stride`, `dilation`, `pads` and the pixels `extra` to the fewest."""


SHAPES = len(SITUATIONS)


@st.composite
def specs(
    draw: st.DrawFn, situation: str = "anything", fixed: Mapping[str, Any] = NOTHING
) -> tuple[ConvSpec, Shape, Shape]:
    """A convolution's options and the shapes of an input and a kernel that go with them.

    Parameters
    ----------
    situation : str
        One of `SITUATIONS`.
    fixed : mapping
        What is not drawn: any of ``"stride"``, ``"padding"``, ``"dilation"``, ``"groups"``, ``"layout"`` as
        `multiconv.ConvSpec` takes them, ``"kernel"``, one int or one an axis, and the number of axes ``"ndim"``.

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
        return draw(st.tuples(*[special.get(what, usual)] * ndim))

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
    """Problems from a pool of options, shapes of x and w, dtype and whether there is a bias, with values of any kind.

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
    """As many examples as asked, the same for the same seed.

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


def draw_signatures(
    count: int, seed: int, dtypes: Sequence[str] = DTYPES, fixed: Mapping[str, Any] = NOTHING
) -> list[Signature]:
    """A pool of options and shapes, one situation after the other, with each dtype and with and without a bias.

    Examples
    --------
    >>> len(draw_signatures(3, seed=0))
    3
    """
    shuffled = random.Random(seed)
    situations: list[str] = []
    while len(situations) < count:
        situations += shuffled.sample(sorted(SITUATIONS), len(SITUATIONS))
    shapes = [_last_drawn(specs(situation, fixed), seed + i) for i, situation in enumerate(situations[:count])]
    return [
        (spec, x, w, dtypes[i % len(dtypes)], i // len(dtypes) % 2 == 0 or max(w[2:]) == 1)
        for i, (spec, x, w) in enumerate(shapes)
    ]


def _last_drawn(strategy: st.SearchStrategy[Any], seed: int) -> Any:
    """One example; not the first, which Hypothesis makes the simplest."""
    return draw_all(strategy, 3, seed)[-1]


def draw_problems(
    count: int,
    seed: int,
    dtypes: Sequence[str] = DTYPES,
    shapes: int = SHAPES,
    values: Sequence[str] = VALUES,
    fixed: Mapping[str, Any] = NOTHING,
) -> list[Problem]:
    """Problems from a pool of as many shapes, with each dtype in turn.

    Parameters
    ----------
    count : int
    seed : int
    dtypes : sequence of str
    shapes : int
        The size of the pool.
    values : sequence of str
        The kinds of values, as in `with_values`.
    fixed : mapping
        As in `specs`.

    Examples
    --------
    >>> len(draw_problems(5, seed=0))
    5
    """
    if not count:
        return []
    pool = draw_signatures(min(shapes, count), seed, dtypes, fixed)
    # Each at least once, the rest as Hypothesis likes.
    each = [_last_drawn(problems([signature], values=values), seed + i) for i, signature in enumerate(pool)]
    return (each + draw_all(problems(pool, values=values), max(count - len(each), 0), seed))[:count]


def _cycle(shape: Shape, dtype: str) -> Host:
    """1, 2, -1, 3, -2, 1, ...: small integers that tell neighbours apart."""
    return np.resize(np.array([1, 2, -1, 3, -2], dtype_named(dtype)), shape)


def _small_integers(array: Host) -> bool:
    return bool(np.all(array == np.rint(array)) and np.all(np.abs(array) <= 2**6))
