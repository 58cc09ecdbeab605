"""Why a backend is wrong: the named mistake that gives its answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from multiconv.core.backend import Backend
from multiconv.oracle.diagnosis import Diagnosis, diagnose_over
from multiconv.oracle.problem import Problem
from multiconv.testing.levels import NOTHING
from multiconv.testing.shrinking import Finding

DIAGNOSED = ("values", "shape", "precision")
"""The symptoms that a mistake may have."""
SECONDS = 10.0


def why_wrong(
    backend: Backend,
    direction: str,
    found: Finding,
    *,
    seed: int = 0,
    fixed: Mapping[str, Any] = NOTHING,
    values: Collection[str] = ("integers",),
) -> Diagnosis | None:
    """Return the mistake that gives a backend's wrong answers, or None if none of the known ones does.

    Parameters
    ----------
    backend : Backend
    direction : str
        One of `multiconv.oracle.problem.DIRECTIONS`.
    found : Finding
        A problem on which it is wrong, and the judgement on its answer.
    seed : int
    fixed : mapping
        Options to keep, as in `multiconv.testing.assert_conforms`.
    values : collection of str
        The kinds of values to ask. A mistake is proven on integers, so it is None if they are not among these.
    """
    if "integers" not in values:
        return None
    if found.judgement.symptom not in DIAGNOSED or found.wrong != found.repeats:
        return None

    def ask(problem: Problem) -> Any:
        return next((answer for _, answer in problem.answers(backend, direction)), None)

    return diagnose_over(ask, direction, found.problem, seed=seed, fixed=fixed, seconds=SECONDS)
