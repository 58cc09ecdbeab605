"""Shrinking: the smallest problem that still fails, and whether it always fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.extra import numpy as hnp

from multiconv.core.errors import ConvError
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Host, Padding
from multiconv.oracle.judgement import Judgement
from multiconv.oracle.problem import Problem
from multiconv.oracle.values import ALL_VALUES, EXTREME, largest_integer
from multiconv.testing.levels import NOTHING
from multiconv.testing.problem_values import with_values

TRIES = 300
"""Number of problems to try before shrinking."""
REPEATS = 20
"""Number of times that a failing problem is run again, to see whether it always fails."""
FEW_VALUES = 64
"""Maximum number of elements of an array that is shrunk element by element."""


@st.composite
def no_larger(
    draw: st.DrawFn, problem: Problem, fixed: Mapping[str, Any] = NOTHING, values: Sequence[str] = ALL_VALUES
) -> Problem:
    """Draw a problem of the same kind that is no larger in any size and keeps the fixed options.

    Each number is small, half of the problem's number, or the same. This is likely to keep the cause of the failure.
    """
    g, spec = problem.geometry, problem.spec
    own: dict[str, Any] = {"kernel": g.kernel, "stride": g.stride, "dilation": g.dilation, "size": g.size}
    groups_fixed = "groups" in fixed or {"in_channels", "out_channels"} & set(fixed)

    def some(most: int, least: int = 1, what: str = "") -> int:
        if what in fixed:
            return most
        return draw(st.sampled_from(sorted(n for n in {least, 1, 2, 3, most // 2, most} if least <= n <= most)))

    def along_axes(what: str) -> tuple[int, ...]:
        return own[what] if what in fixed else tuple(some(n) for n in own[what])

    kernel, stride, dilation, size = (along_axes(what) for what in ("kernel", "stride", "dilation", "size"))
    pairs = tuple((some(before, 0), some(after, 0)) for before, after in g.pads)
    # Padding given as numbers is covered by the pairs. Kept as numbers, it would not shrink any more.
    words = [spec.padding] if isinstance(spec.padding, str) else []
    paddings: list[Padding] = [0, pairs, *words]
    padding = spec.padding if "padding" in fixed else draw(st.sampled_from(paddings))
    groups = g.groups if groups_fixed else draw(st.sampled_from(sorted({1, min(2, g.groups), g.groups})))
    in_group = some(g.in_channels // g.groups, what="in_channels")
    out_group = some(g.out_channels // g.groups, what="out_channels")
    batch = some(g.batch, min(1, g.batch), "batch")
    layout = spec.layout if "layout" in fixed else draw(st.sampled_from([None, spec.layout]))
    channels = in_group * groups
    try:
        smaller = ConvSpec(stride, padding, dilation, groups, layout)
        x_shape = (batch, *size, channels) if smaller.channels_last else (batch, channels, *size)
        geometry = smaller.resolve(x_shape, (out_group * groups, in_group, *kernel))
        smaller.resolve_transpose(geometry.y_shape, geometry.w_shape)
    except ConvError:
        assume(False)
    bias = problem.bias is not None and ("bias" in fixed or draw(st.booleans()))
    return with_values(
        "drawn",
        smaller,
        geometry,
        problem.dtype,
        bias=bias,
        values=draw(st.sampled_from(_kinds(problem, values))),
        seed=draw(st.integers(0, 99)),
        arrangement=draw(st.sampled_from(["contiguous", problem.arrangement])),
    )


def _kinds(problem: Problem, values: Sequence[str]) -> list[str]:
    """Return the kinds of values to shrink to, with integers first because they are easier to read."""
    if problem.integers:
        return ["integers"] if "integers" in values else [problem.values]
    if problem.values in EXTREME:
        return [problem.values]
    return [kind for kind in ALL_VALUES if kind in values and kind not in EXTREME]


@st.composite
def simpler_values(draw: st.DrawFn, problem: Problem) -> Problem:
    """Draw small integers for the same problem.

    Each is drawn separately, so that it shrinks separately. Most are 0.
    """
    largest = largest_integer(problem.dtype)

    def array(like: Host) -> Host:
        elements = st.integers(-largest, largest)
        drawn: Host = draw(hnp.arrays(np.int8, like.shape, elements=elements, fill=st.just(0)))
        return drawn.astype(like.dtype)

    x, w, dy = array(problem.x), array(problem.w), array(problem.dy)
    bias, x_bias = (None if b is None else array(b) for b in (problem.bias, problem.x_bias))
    return Problem("drawn", problem.spec, x, w, dy, bias, x_bias, "integers", arrangement=problem.arrangement)


Answered = tuple[Any, Judgement]
"""An answer, or the exception raised instead, and the judgement on it."""


@dataclass(frozen=True, eq=False)
class Finding:
    """A fault, with the smallest problem that shows it.

    Attributes
    ----------
    problem : Problem
        The smallest problem found. If the answer changes from call to call, the problem in which the fault was first
        seen.
    answer : array or Exception
    judgement : Judgement
    wrong, repeats : int
        Number of wrong answers, and number of times that the problem was run again.
    """

    problem: Problem
    answer: Any
    judgement: Judgement
    wrong: int
    repeats: int

    @property
    def fault(self) -> str:
        """Return a description of the fault, and how often it occurs if not always."""
        if self.wrong == self.repeats:
            return str(self.judgement.fault)
        return (
            f"{self.judgement.fault}; wrong in {self.wrong} of {self.repeats} repeats: "
            "the answer changes from call to call"
        )


def reduced(
    problem: Problem,
    answered: Answered,
    ask: Callable[[Problem], Answered],
    *,
    seed: int,
    seconds: float,
    fixed: Mapping[str, Any] = NOTHING,
    values: Sequence[str] = ALL_VALUES,
) -> Finding:
    """Reduce a failing problem to the smallest that fails in the same way, and run it again a few times.

    Parameters
    ----------
    problem : Problem
    answered : tuple
        The answer and the judgement on it, as first seen.
    ask : callable
        Runs a problem and returns the answer and the judgement on it.
    seed : int
    seconds : float
        Time limit, in seconds.
    fixed, values
        As in `smallest`.

    Returns
    -------
    Finding
    """
    until = time.monotonic() + seconds
    symptom = answered[1].symptom

    def fails(candidate: Problem) -> bool:
        return ask(candidate)[1].symptom == symptom

    def out_of_time() -> bool:
        return time.monotonic() > until

    start = _with_integers(problem) if problem.values in EXTREME and "integers" in values else problem
    start = start if start is problem or fails(start) else problem
    small = smallest(start, fails, tries=TRIES, seed=seed, should_stop=out_of_time, fixed=fixed, values=values)
    found = _repeated(small, answered if small is problem else None, ask, symptom, out_of_time)
    if found.wrong == found.repeats or small is problem:
        return found
    return _repeated(problem, answered, ask, symptom, out_of_time)


def _with_integers(problem: Problem) -> Problem:
    """Return the problem with small integers as values: a fault that they show too is easier to read."""
    return with_values(
        "drawn",
        problem.spec,
        problem.geometry,
        problem.dtype,
        bias=problem.bias is not None,
        values="integers",
        seed=0,
        arrangement=problem.arrangement,
    )


def _repeated(
    problem: Problem,
    answered: Answered | None,
    ask: Callable[[Problem], Answered],
    symptom: str | None,
    out_of_time: Callable[[], bool],
) -> Finding:
    """Run a problem again. The finding has the answer that was first seen, or else the first wrong one."""
    wrong = repeats = 0
    while repeats < REPEATS and not (repeats and out_of_time()):
        answer, judgement = ask(problem)
        repeats += 1
        if judgement.symptom == symptom:
            wrong += 1
            answered = answered or (answer, judgement)
    answer, judgement = answered or (answer, judgement)
    return Finding(problem, answer, judgement, wrong, repeats)


def smallest(
    problem: Problem,
    fails: Callable[[Problem], bool],
    *,
    tries: int,
    seed: int,
    should_stop: Callable[[], bool],
    fixed: Mapping[str, Any] = NOTHING,
    values: Sequence[str] = ALL_VALUES,
) -> Problem:
    """Find the smallest problem that also fails, and is no larger than this one, with Hypothesis.

    The shape is shrunk first, then the values.

    Parameters
    ----------
    problem : Problem
        A problem that fails.
    fails : callable
        Returns whether a problem fails.
    tries : int
        Number of problems to try before shrinking.
    seed : int
    should_stop : callable
        Called before each try. Returns whether to stop with the smallest problem so far.
    fixed : mapping
        Options to keep, as in `multiconv.testing.drawing.draw_problems`.
    values : sequence of str
        The kinds of values to use.

    Returns
    -------
    Problem
    """
    found = _simplest(no_larger(problem, fixed, values), problem, fails, tries, seed, should_stop)
    if found.integers and "integers" in values and max(found.x.size, found.w.size, found.dy.size) <= FEW_VALUES:
        found = _simplest(simpler_values(found), found, fails, tries, seed, should_stop)
    return found


def _simplest(
    strategy: st.SearchStrategy[Problem],
    found: Problem,
    fails: Callable[[Problem], bool],
    tries: int,
    seed: int,
    should_stop: Callable[[], bool],
) -> Problem:
    """Return the problem to which Hypothesis shrinks a failure, or the simplest found when time is up."""

    class OutOfTime(Exception):
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
        if should_stop():
            raise OutOfTime
        if fails(candidate):
            if _cost(candidate) <= _cost(found):
                found = candidate
            raise AssertionError

    with suppress(AssertionError, OutOfTime, Flaky):  # an answer may change from call to call
        search()
    return found


def _cost(problem: Problem) -> tuple[int, float]:
    """Return the amount to read in a problem: the number of elements, then the sum of their magnitudes."""
    arrays = [a for a in (problem.x, problem.w, problem.dy, problem.bias) if a is not None]
    sizes = [np.abs(np.nan_to_num(a.astype(np.float64), nan=np.inf)) for a in arrays]
    with np.errstate(over="ignore"):
        return sum(a.size for a in arrays), float(sum(a.sum() for a in sizes))
