"""Problems to test a convolution with: given, seeded, or drawn by Hypothesis.

Shapes are drawn apart from values, and come from a pool in each run, because JAX compiles anew for each shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from multiconv.errors import ConvError
from multiconv.problem import Problem
from multiconv.spec import LAYOUTS, PADDING_WORDS, ConvSpec, Geometry, Shape

Host = npt.NDArray[Any]

LARGEST_INTEGER = 4
VALUES = ("integers", "normal", "wide")
DTYPES = ("float32", "float64")
FEW_VALUES = 64


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
    return Problem(source, spec, x, w, dy, bias, x_bias, all(map(_small_integers, arrays)), seed)


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
        ``"integers"`` from -4 to 4; ``"normal"``; or ``"wide"``, log-normal with either sign, over several orders of
        magnitude.
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
    return Problem(source, spec, x, w, dy, b if bias else None, x_b if bias else None, values == "integers", seed)


def seeded(shape: Shape, dtype: str, values: str, seed: int, which: int) -> Host:
    """The values of array number `which` of a seeded problem.

    Examples
    --------
    >>> seeded((3,), "float32", "integers", 0, 0)
    array([3., 1., 0.], dtype=float32)
    """
    rng = np.random.default_rng([seed, which])
    if values == "integers":
        return rng.integers(-LARGEST_INTEGER, LARGEST_INTEGER + 1, shape).astype(dtype)
    if values == "normal":
        return np.asarray(rng.standard_normal(shape), dtype)
    return np.asarray(np.exp(2 * rng.standard_normal(shape)) * rng.choice([-1.0, 1.0], shape), dtype)


@st.composite
def specs(draw: st.DrawFn) -> tuple[ConvSpec, Shape, Shape]:
    """A convolution's options and the shapes of an input and a kernel that go with them.

    Examples
    --------
    >>> spec, x_shape, w_shape = specs().example()  # doctest: +SKIP
    """
    ndim = draw(st.sampled_from([2, 2, 1, 3]))
    most = 4 if ndim < 3 else 3
    per_axis = st.tuples(*[st.integers(1, most)] * ndim)
    kernel = draw(per_axis)
    stride = draw(st.one_of(st.just((1,) * ndim), per_axis))
    dilation = draw(st.one_of(st.just((1,) * ndim), st.tuples(*[st.integers(1, 3)] * ndim)))
    side = st.integers(0, 3)
    pairs = st.tuples(*[st.tuples(side, side)] * ndim)
    padding = draw(st.one_of(st.sampled_from(PADDING_WORDS), pairs, side, st.tuples(*[side] * ndim), pairs))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    in_channels = groups * draw(st.integers(1, 3))
    out_channels = groups * draw(st.integers(1, 3))
    batch = draw(st.sampled_from([1, 2, 3, 1, 2, 17, 0]))
    layouts = [layout for layout, (axes, _) in LAYOUTS.items() if axes == ndim]
    spec = ConvSpec(stride, padding, dilation, groups, draw(st.sampled_from([None, *layouts])))
    w_shape = (out_channels, in_channels // groups, *kernel)
    pads = spec.fixed_pads(kernel) or ((0, 0),) * ndim
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    same = spec.fixed_pads(kernel) is None or "same" in str(padding)
    least = [1 if same else max(1, e - before - after) for e, (before, after) in zip(extents, pads)]
    size = tuple(draw(st.integers(n, n + (8 if ndim < 3 else 4))) for n in least)
    x_shape = (batch, *size, in_channels) if spec.channels_last else (batch, in_channels, *size)
    return spec, x_shape, w_shape


def problems(
    signatures: Sequence[tuple[ConvSpec, Shape, Shape, str, bool]], source: str = "drawn"
) -> st.SearchStrategy[Problem]:
    """Problems from a pool of options, shapes of x and w, dtype and whether there is a bias, with values of any kind.

    Examples
    --------
    >>> pool = [(ConvSpec(), (1, 1, 3), (1, 1, 2), "float32", True)]
    >>> problems(pool).example().w.shape  # doctest: +SKIP
    (1, 1, 2)
    """

    def build(signature: tuple[ConvSpec, Shape, Shape, str, bool], values: str, seed: int) -> Problem:
        spec, x_shape, w_shape, dtype, bias = signature
        g = spec.resolve(x_shape, w_shape)
        return with_values(source, spec, g, dtype, bias=bias, values=values, seed=seed)

    return st.builds(
        build, st.sampled_from(signatures), st.sampled_from(("integers", *VALUES)), st.integers(0, 2**32 - 1)
    )


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


def draw_problems(count: int, seed: int, dtypes: Sequence[str] = DTYPES, shapes: int = 20) -> list[Problem]:
    """Problems from a pool of as many shapes, with each dtype in turn.

    Parameters
    ----------
    count : int
    seed : int
    dtypes : sequence of str
    shapes : int
        The size of the pool.

    Examples
    --------
    >>> len(draw_problems(5, seed=0))
    5
    """
    if not count:
        return []
    drawn = draw_all(specs(), min(shapes, count), seed)
    pool = [(*shapes_of, dtypes[i % len(dtypes)], i % 4 < 2) for i, shapes_of in enumerate(drawn)]
    # Each at least once, the rest as Hypothesis likes.
    each = [draw_all(problems([shape]), 1, seed + i)[0] for i, shape in enumerate(pool)]
    return (each + draw_all(problems(pool), max(count - len(each), 0), seed))[:count]


@st.composite
def no_larger(draw: st.DrawFn, problem: Problem) -> Problem:
    """Problems like this one in kind, none larger in anything.

    Each number is small, half of the problem's or the problem's own, so that what makes it fail is likely to be kept.
    """
    g, spec = problem.geometry, problem.spec

    def some(most: int, least: int = 1) -> int:
        return draw(st.sampled_from(sorted(n for n in {least, 1, 2, 3, most // 2, most} if least <= n <= most)))

    kernel = tuple(some(k) for k in g.kernel)
    stride = tuple(some(s) for s in g.stride)
    dilation = tuple(some(d) for d in g.dilation)
    size = tuple(some(n) for n in g.size)
    pairs = tuple((some(before, 0), some(after, 0)) for before, after in g.pads)
    padding = draw(st.sampled_from([0, pairs, spec.padding]))
    groups = draw(st.sampled_from(sorted({1, min(2, g.groups), g.groups})))
    in_group = some(g.in_channels // g.groups)
    out_group = some(g.out_channels // g.groups)
    batch = some(g.batch, min(1, g.batch))
    layout = draw(st.sampled_from([None, spec.layout]))
    channels = in_group * groups
    try:
        smaller = ConvSpec(stride, padding, dilation, groups, layout)
        x_shape = (batch, *size, channels) if smaller.channels_last else (batch, channels, *size)
        geometry = smaller.resolve(x_shape, (out_group * groups, in_group, *kernel))
        smaller.resolve_transpose(geometry.y_shape, geometry.w_shape)
    except ConvError:
        assume(False)
    bias = draw(st.booleans()) if problem.bias is not None else False
    values = "integers" if problem.integers else draw(st.sampled_from(VALUES[1:]))
    seed = draw(st.integers(0, 99))
    return with_values("drawn", smaller, geometry, problem.dtype, bias=bias, values=values, seed=seed)


@st.composite
def simpler_values(draw: st.DrawFn, problem: Problem) -> Problem:
    """The same problem with small integers, each drawn on its own, so that they shrink on their own; most are 0."""

    def array(like: Host) -> Host:
        elements = st.integers(-LARGEST_INTEGER, LARGEST_INTEGER)
        drawn: Host = draw(hnp.arrays(np.int8, like.shape, elements=elements, fill=st.just(0)))
        return drawn.astype(like.dtype)

    x, w, dy = array(problem.x), array(problem.w), array(problem.dy)
    bias, x_bias = (None if b is None else array(b) for b in (problem.bias, problem.x_bias))
    return Problem("drawn", problem.spec, x, w, dy, bias, x_bias, integers=True)


def smallest(
    problem: Problem, fails: Callable[[Problem], bool], *, tries: int, seed: int, enough: Callable[[], bool]
) -> Problem:
    """The smallest problem no larger than this one that Hypothesis finds to fail too: first in shape, then in values.

    Parameters
    ----------
    problem : Problem
        One that fails.
    fails : callable
        Whether a problem fails.
    tries : int
        How many problems to try before shrinking.
    seed : int
    enough : callable
        Asked before each try whether to stop with what there is.

    Returns
    -------
    Problem
    """
    found = _simplest(no_larger(problem), problem, fails, tries, seed, enough)
    if found.integers and max(found.x.size, found.w.size, found.dy.size) <= FEW_VALUES:
        found = _simplest(simpler_values(found), found, fails, tries, seed, enough)
    return found


def _simplest(
    strategy: st.SearchStrategy[Problem],
    found: Problem,
    fails: Callable[[Problem], bool],
    tries: int,
    seed: int,
    enough: Callable[[], bool],
) -> Problem:
    """What Hypothesis shrinks a failure to, or the simplest on its way there."""

    class Enough(Exception):
        """Time is up."""

    @hypothesis_seed(seed)
    @settings(
        max_examples=tries,
        phases=[Phase.generate, Phase.shrink],
        database=None,
        deadline=None,
        derandomize=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def search(candidate: Problem) -> None:
        nonlocal found
        if enough():
            raise Enough
        if fails(candidate):
            if _cost(candidate) <= _cost(found):
                found = candidate
            raise AssertionError

    with suppress(AssertionError, Enough):
        search()
    return found


def _cost(problem: Problem) -> tuple[int, float]:
    """How much there is to read in a problem: its elements, then its values."""
    arrays = [a for a in (problem.x, problem.w, problem.dy, problem.bias) if a is not None]
    return sum(a.size for a in arrays), sum(float(np.abs(a).sum()) for a in arrays)


def _cycle(shape: Shape, dtype: str) -> Host:
    """1, 2, -1, 3, -2, 1, ...: small integers that tell neighbours apart."""
    return np.resize(np.array([1, 2, -1, 3, -2], dtype), shape)


def _small_integers(array: Host) -> bool:
    return bool(np.all(array == np.rint(array)) and np.all(np.abs(array) <= 2**6))
