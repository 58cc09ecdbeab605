"""The results of a check: a report on each backend, and each disagreement with the smallest problem that shows it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any


@dataclass
class Disagreement:
    """A direction in which a backend is wrong.

    Attributes
    ----------
    direction : str
        ``"forward"``, ``"input gradient"``, ``"kernel gradient"``, ``"bias gradient"``, ``"convolve"``,
        ``"conv_transpose"``, ``"layer"``, or the method that one of the book's examples calls.
    fault : str
        What is wrong with the answer to the smallest problem.
    problem : dict
        The smallest problem found.
    found_in : dict
        The problem in which it was first seen.
    times : int
        In how many problems this direction is wrong.
    symptom : str
        The kind of fault, as `multiconv.oracle.problem.Judgement.symptom` has it.
    script : str or None
        A Python script that shows it in the framework's own API.
    """

    direction: str
    fault: str
    problem: dict[str, Any]
    found_in: dict[str, Any]
    times: int
    symptom: str
    script: str | None


@dataclass
class BackendReport:
    """What the check says of a backend.

    Attributes
    ----------
    name, version, python, where : str
        `python` is the version of the Python it runs in, `where` its path.
    problems : int
        How many were put to it.
    integer_problems, exact : int
        How many of them are of integers, and in how many of those every answer agrees to the bit.
    worst_bound_ratio : float or None
        The largest error in units of its bound, over the problems of reals; None if an answer is no number or has
        another shape.
    imprecise : int
        In how many problems an answer is within its bound, but has lost precision that its dtype would have held.
    overflowed : int
        In how many problems a sum overflows on the way to a finite result, and the answer is what comes of that.
    pairs_covered : float
        The share of the pairs of levels of `multiconv.testing.coverage` that its problems have, of those that can
        occur.
    verdict : str
        ``"agrees"``, ``"disagrees"``, ``"crashes"``, or ``"imprecise"`` if precision was lost and nothing is wrong.
    disagreements : list of Disagreement
    """

    name: str
    version: str
    python: str
    where: str
    problems: int = 0
    integer_problems: int = 0
    exact: int = 0
    worst_bound_ratio: float | None = 0.0
    imprecise: int = 0
    overflowed: int = 0
    pairs_covered: float = 0.0
    verdict: str = "agrees"
    disagreements: list[Disagreement] = field(default_factory=list)


@dataclass
class Report:
    """What a check found.

    Attributes
    ----------
    backends : list of BackendReport
    missing : list of dict
        The backends that were not available: name, reason and the command that gets it.
    examples, seed : int
        How many problems were drawn for each backend, or each candidate if there are only candidates, and from what.
    dtypes : list of str
    seconds : float
    """

    backends: list[BackendReport]
    missing: list[dict[str, Any]]
    examples: int
    seed: int
    dtypes: list[str]
    seconds: float = 0.0

    @property
    def agrees(self) -> bool:
        """Whether every backend agrees with the oracle everywhere."""
        return all(b.verdict == "agrees" for b in self.backends)

    def asdict(self) -> dict[str, Any]:
        """For JSON."""
        return {"schema": 1, "multiconv": version("multiconv"), "agrees": self.agrees, **asdict(self)}
