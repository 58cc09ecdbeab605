"""For other people's tests: problems to draw, and an assertion that a function is a cross-correlation.

`specs`, `problems` and `draw_problems` are Hypothesis strategies and draws; `assert_conforms` puts drawn problems to a
function and judges the answers by the exact oracle and by what rounding allows, so that no tolerance has to be chosen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from multiconv.candidate import Candidate
from multiconv.drawing import DTYPES, SITUATIONS, VALUES, draw_problems, given_values, problems, specs, with_values
from multiconv.problem import Judgement, Problem, judge
from multiconv.shrinking import smallest

__all__ = [
    "SITUATIONS",
    "VALUES",
    "assert_conforms",
    "draw_problems",
    "given_values",
    "problems",
    "specs",
    "with_values",
]

SHRINK_TRIES = 300
SHRINK_SECONDS = 30.0
SHOWN_VALUES = 64


def assert_conforms(
    function: Callable[..., Any],
    *,
    examples: int = 200,
    seed: int = 0,
    dtypes: Sequence[str] = DTYPES,
    values: Sequence[str] = VALUES,
    **fixed: Any,
) -> None:
    """Assert that a function is a cross-correlation, exactly where it can be and within rounding elsewhere.

    Parameters
    ----------
    function : callable
        ``f(x, w, bias, *, stride, padding, dilation, groups)``: x (N, C_in, \\*spatial), w (C_out, C_in / groups,
        \\*kernel) and bias (C_out,) or None are NumPy arrays of one dtype; padding is one (before, after) pair an axis,
        stride and dilation one int an axis. It must return a NumPy array of that dtype.
    examples, seed : int
        How many problems to draw, and from what.
    dtypes, values : sequence of str
        As in `draw_problems`.
    **fixed
        What a function takes for granted, as a layer does, and which is therefore not drawn: ``stride``, ``padding``,
        ``dilation``, ``groups``, ``kernel`` or ``ndim``, the number of spatial axes. ``padding="same"`` gives the pairs
        that it comes to.

    Raises
    ------
    AssertionError
        If an answer is wrong. The message has the smallest problem found, as Python text, and what is wrong.

    Examples
    --------
    >>> import multiconv as mc
    >>> assert_conforms(mc.backend("numpy").cross_correlate)
    >>> def flipped(x, w, bias, **options):
    ...     return mc.backend("numpy").convolve(x, w, bias, **options)
    >>> assert_conforms(flipped, padding="same", ndim=2)
    Traceback (most recent call last):
    AssertionError: flipped is no cross-correlation. The smallest problem found that shows it:
    ...
    """
    candidate = Candidate(function)

    def judged(problem: Problem) -> tuple[Any, Judgement]:
        ((_, answer),) = problem.answers(candidate, "forward")
        if isinstance(answer, Exception):
            return answer, Judgement(np.inf, f"{type(answer).__name__}: {answer}")
        return answer, judge(answer, problem.expectations(["forward"])["forward"])

    drawn = draw_problems(examples, seed, dtypes, values=values, fixed=fixed)
    failing = next((problem for problem in drawn if judged(problem)[1].fault is not None), None)
    if failing is None:
        return
    until = time.monotonic() + SHRINK_SECONDS
    small = smallest(
        failing,
        lambda problem: judged(problem)[1].fault is not None,
        tries=SHRINK_TRIES,
        seed=seed,
        enough=lambda: time.monotonic() > until,
        fixed=fixed,
    )
    answer, judgement = judged(small)
    raise AssertionError(_words(candidate.name, small, answer, judgement)) from (
        answer if isinstance(answer, Exception) else None
    )


def _words(name: str, problem: Problem, answer: Any, judgement: Judgement) -> str:
    """The problem as Python text, channels first, the answer, and what is right."""
    g = problem.geometry.with_layout(channels_last=False)
    x = np.moveaxis(problem.x, -1, 1) if problem.spec.channels_last else problem.x
    right = problem.expectations(["forward"])["forward"].value
    if problem.spec.channels_last:
        right = np.moveaxis(right, -1, 1)
        answer = np.moveaxis(answer, -1, 1) if np.ndim(answer) == right.ndim else answer
    called = f"{name}(x, w, bias, stride={g.stride}, padding={g.pads}, dilation={g.dilation}, groups={g.groups})"
    gives = "raises" if isinstance(answer, Exception) else f"gives {_shown(answer)}"
    return "\n".join(
        [
            f"{name} is no cross-correlation. The smallest problem found that shows it:",
            f"    x = {_shown(x)}",
            f"    w = {_shown(problem.w)}",
            f"    bias = {None if problem.bias is None else _shown(problem.bias)}",
            f"    {called}",
            f"{gives}",
            f"but right is {_shown(right.astype(x.dtype))}",
            str(judgement.fault),
        ]
    )


def _shown(array: Any) -> str:
    """The array as Python text, if it is small."""
    array = np.asarray(array)
    if array.size > SHOWN_VALUES:
        return f"an array of shape {array.shape}, {array.dtype.name}"
    values = np.array2string(array, separator=", ", floatmode="unique", max_line_width=10**6).replace("\n", "")
    return f"np.array({values}, '{array.dtype.name}')"
