"""The results of a check: a report on each backend, and its disagreements, each with the smallest problem found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

from multiconv.oracle.accuracy import Row
from multiconv.running import Missing


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
        Number of problems in which this direction is wrong.
    symptom : str
        The kind of fault, as in `multiconv.oracle.problem.Judgement.symptom`.
    script : str or None
        A Python script that shows the fault in the framework's own API.
    diagnosis : dict or None
        The mistake that gives the wrong answers, as in `multiconv.oracle.diagnosis.Diagnosis.asdict`.
    why : str or None
        The same as a sentence.
    """

    direction: str
    fault: str
    problem: dict[str, Any]
    found_in: dict[str, Any]
    times: int
    symptom: str
    script: str | None
    diagnosis: dict[str, Any] | None = None
    why: str | None = None


@dataclass
class BackendReport:
    """The results of a check for one backend.

    Attributes
    ----------
    name, version, python, where : str
        `python` is the version of the Python that it runs in, and `where` the path of that Python.
    problems : int
        Number of problems that it ran.
    integer_problems, exact : int
        Number of integer problems, and number of those in which every answer is exact.
    share_of_bound : float
        The largest error of a correct answer in units of its bound, over sums of at least 16 products of normally
        distributed numbers. Where there are fewer products, the bound leaves little room, and any answer comes near it.
    accuracy : list of Row
        The errors of the answers to problems with normally distributed numbers, as in `multiconv.oracle.accuracy`.
    imprecise : int
        Number of problems in which an answer is within its bound, but lost precision that its dtype could hold.
    overflowed : int
        Number of problems in which a sum overflows on the way to a finite result, so that the answer is infinite or
        NaN.
    pairs_covered : float
        The share of the possible pairs of levels of `multiconv.testing.coverage` that its problems cover.
    verdict : str
        ``"agrees"``, ``"disagrees"``, ``"crashes"``, ``"hangs"`` if it exceeds the time limit but never crashes, or
        ``"imprecise"`` if precision was lost but nothing is wrong.
    disagreements : list of Disagreement
    """

    name: str
    version: str
    python: str
    where: str
    problems: int = 0
    integer_problems: int = 0
    exact: int = 0
    share_of_bound: float = 0.0
    accuracy: list[Row] = field(default_factory=list)
    imprecise: int = 0
    overflowed: int = 0
    pairs_covered: float = 0.0
    verdict: str = "agrees"
    disagreements: list[Disagreement] = field(default_factory=list)


@dataclass
class Report:
    """The results of a check.

    Attributes
    ----------
    backends : list of BackendReport
    missing : list of Missing
        The backends that are not available.
    examples, seed : int
        Number of problems drawn for each backend, or for each candidate if there are only candidates; and the random
        seed.
    dtypes : list of str
    seconds : float
    interrupted : bool
        Whether the check was interrupted, so that these are the problems until then.
    """

    backends: list[BackendReport]
    missing: list[Missing]
    examples: int
    seed: int
    dtypes: list[str]
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def agrees(self) -> bool:
        """Return whether every backend agrees with the oracle everywhere."""
        return all(b.verdict == "agrees" for b in self.backends)

    def asdict(self) -> dict[str, Any]:
        """Return the report as a dictionary for JSON."""
        return {"schema": 1, "multiconv": version("multiconv"), "agrees": self.agrees, **asdict(self)}


class Interrupted(KeyboardInterrupt):
    """A check was interrupted. `report` has the results until then."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.report = report
