"""Draw problems for tests, the same for the same seed.

`draw_problems` begins with the situations of `multiconv.testing.situations`. It goes on with a design that covers pairs
of levels (`multiconv.testing.coverage`). Each problem has its own shape. For a framework that compiles each shape, the
problems share a few shapes.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st

from multiconv.oracle.problem import Problem
from multiconv.oracle.values import VALUES
from multiconv.testing.coverage import Coverage, Drawn, design
from multiconv.testing.fixed_options import settled
from multiconv.testing.levels import BATCHES, DTYPES, LAYOUT_LEVELS, NOTHING, Signature, levels_of
from multiconv.testing.problem_values import with_values
from multiconv.testing.settling import Picks
from multiconv.testing.situations import SITUATIONS
from multiconv.testing.strategies import specs


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
        Any of the levels of `multiconv.testing.levels.BATCHES`.

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
    weighted = [*values, *["integers"] * 3] if "integers" in values else list(values)
    drawn: list[Drawn] = []
    num_shapes = count if shapes is None else min(shapes, count)
    situations = [] if fixed else draw_signatures(min(num_shapes, len(SITUATIONS)), seed, dtypes)
    plain = [kind for kind in ("integers", "normal") if kind in values] or weighted
    for signature in situations:
        problem = Drawn(signature, pick("plain values", plain), pick("memory", arrangements))
        levels = levels_of(*problem)
        if levels["layout"] in layouts and levels["batch"] in batches:
            drawn.append(problem)
            coverage.add(levels)
    drawn += design(num_shapes - len(drawn), seed, coverage, fixed)
    signatures = [d.signature for d in drawn]
    while len(drawn) < count:
        drawn.append(Drawn(signatures[len(drawn) % num_shapes], pick("values", weighted), pick("memory", arrangements)))
    seeds = np.random.default_rng([seed, count]).integers(2**32, size=count)
    return [_problem(d, int(seed)) for d, seed in zip(drawn, seeds)]


def _problem(drawn: Drawn, seed: int) -> Problem:
    spec, x_shape, w_shape, dtype, bias = drawn.signature
    g = spec.resolve(x_shape, w_shape)
    return with_values(
        "drawn", spec, g, dtype, bias=bias, values=drawn.values, seed=seed, arrangement=drawn.arrangement
    )
