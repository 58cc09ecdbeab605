"""The smallest problem that still fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from multiconv.drawing import NOTHING, VALUES, WITH_NONFINITE, largest_integer, with_values
from multiconv.errors import ConvError
from multiconv.problem import Problem
from multiconv.spec import ConvSpec

Host = npt.NDArray[Any]

FEW_VALUES = 64


@st.composite
def no_larger(draw: st.DrawFn, problem: Problem, fixed: Mapping[str, Any] = NOTHING) -> Problem:
    """Problems like this one in kind, none larger in anything, and with the same options where they are fixed.

    Each number is small, half of the problem's or the problem's own, so that what makes it fail is likely to be kept.
    """
    g, spec = problem.geometry, problem.spec
    own: dict[str, Any] = {"kernel": g.kernel, "stride": g.stride, "dilation": g.dilation, "groups": g.groups}
    own |= {"padding": spec.padding, "layout": spec.layout}

    def some(most: int, least: int = 1) -> int:
        return draw(st.sampled_from(sorted(n for n in {least, 1, 2, 3, most // 2, most} if least <= n <= most)))

    def along_axes(what: str) -> tuple[int, ...]:
        return own[what] if what in fixed else tuple(some(n) for n in own[what])

    kernel, stride, dilation = along_axes("kernel"), along_axes("stride"), along_axes("dilation")
    size = tuple(some(n) for n in g.size)
    pairs = tuple((some(before, 0), some(after, 0)) for before, after in g.pads)
    padding = spec.padding if "padding" in fixed else draw(st.sampled_from([0, pairs, spec.padding]))
    groups = g.groups if "groups" in fixed else draw(st.sampled_from(sorted({1, min(2, g.groups), g.groups})))
    in_group = some(g.in_channels // g.groups)
    out_group = some(g.out_channels // g.groups)
    batch = some(g.batch, min(1, g.batch))
    layout = spec.layout if "layout" in fixed else draw(st.sampled_from([None, spec.layout]))
    channels = in_group * groups
    try:
        smaller = ConvSpec(stride, padding, dilation, groups, layout)
        x_shape = (batch, *size, channels) if smaller.channels_last else (batch, channels, *size)
        geometry = smaller.resolve(x_shape, (out_group * groups, in_group, *kernel))
        smaller.resolve_transpose(geometry.y_shape, geometry.w_shape)
    except ConvError:
        assume(False)
    bias = draw(st.booleans()) if problem.bias is not None else False
    of_a_kind = problem.values in ("integers", *WITH_NONFINITE)
    values = problem.values if of_a_kind else draw(st.sampled_from(VALUES))  # integers first: they are easier to read
    seed = draw(st.integers(0, 99))
    return with_values("drawn", smaller, geometry, problem.dtype, bias=bias, values=values, seed=seed)


@st.composite
def simpler_values(draw: st.DrawFn, problem: Problem) -> Problem:
    """The same problem with small integers, each drawn on its own, so that they shrink on their own; most are 0."""
    largest = largest_integer(problem.dtype)

    def array(like: Host) -> Host:
        elements = st.integers(-largest, largest)
        drawn: Host = draw(hnp.arrays(np.int8, like.shape, elements=elements, fill=st.just(0)))
        return drawn.astype(like.dtype)

    x, w, dy = array(problem.x), array(problem.w), array(problem.dy)
    bias, x_bias = (None if b is None else array(b) for b in (problem.bias, problem.x_bias))
    return Problem("drawn", problem.spec, x, w, dy, bias, x_bias, "integers")


def smallest(
    problem: Problem,
    fails: Callable[[Problem], bool],
    *,
    tries: int,
    seed: int,
    enough: Callable[[], bool],
    fixed: Mapping[str, Any] = NOTHING,
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
    fixed : mapping
        The options that must stay, as in `multiconv.drawing.specs`.

    Returns
    -------
    Problem
    """
    found = _simplest(no_larger(problem, fixed), problem, fails, tries, seed, enough)
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
