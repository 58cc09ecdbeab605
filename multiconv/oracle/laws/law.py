"""A law: a relation between answers, with the problems that it applies to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from multiconv.core.backend import Backend
from multiconv.oracle.judgement import Judgement, judge
from multiconv.oracle.laws.bounded import Comparisons, NoBound
from multiconv.oracle.laws.trial import Trial, WrongAnswer
from multiconv.oracle.problem import Problem

ALWAYS = "always"
INTEGERS = "small integers"


@dataclass(frozen=True, eq=False)
class Law:
    """A relation that must hold between the answers of a correct backend.

    Attributes
    ----------
    name : str
    statement : str
        The formula.
    uses : frozenset of str
        The methods of `Backend` that it calls, besides `asarray` and `to_numpy`.
    exact : str
        `ALWAYS` if both sides must be exactly equal for all values. `INTEGERS` if they must be exactly equal where
        every sum is one of integers that the format holds; elsewhere they may differ by the sum of their bounds.
    applies : callable
        Returns whether the law applies to a problem, given its options, shapes and values.
    compare : callable
        Yields the comparisons of the law.

    Examples
    --------
    >>> from multiconv.oracle.laws import LAWS
    >>> law = next(law for law in LAWS if law.name == "dilated kernel")
    >>> law.statement, law.exact, sorted(law.uses)
    ('C(x, w; d) = C(x, w with d - 1 zeros between its taps; 1)', 'small integers', ['cross_correlate'])
    """

    name: str
    statement: str
    uses: frozenset[str]
    exact: str
    applies: Callable[[Problem], bool]
    compare: Callable[[Trial], Comparisons]

    def judge(self, backend: Backend, problem: Problem) -> Judgement | None:
        """Judge whether the law holds for a backend on a problem.

        Parameters
        ----------
        backend : Backend
        problem : Problem

        Returns
        -------
        Judgement or None
            The worst of its comparisons. Its index is that of an array with its channels first, or of an inner product.
            The result is None if the law does not apply to the options, if a value is infinite or NaN, if a sum could
            overflow, or if a sum has too many terms for its format to have a bound.

        Raises
        ------
        Exception
            Any exception that the backend raises.

        Examples
        --------
        >>> from multiconv import ConvSpec, backend
        >>> from multiconv.oracle.laws import LAWS
        >>> from multiconv.testing.problem_values import given_values
        >>> problem = given_values("mine", ConvSpec(dilation=2), np.ones((1, 1, 5)), np.ones((1, 1, 2)))
        >>> law = next(law for law in LAWS if law.name == "dilated kernel")
        >>> law.judge(backend("numpy"), problem).ratio
        0.0
        >>> law.judge(backend("numpy"), given_values("mine", ConvSpec(), problem.x, problem.w)) is None
        True
        """
        if not self.applies(problem):
            return None
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # overflowed values are not compared
                judgements = [judge(left, right) for left, right in self.compare(Trial(backend, problem))]
        except NoBound:
            return None
        except WrongAnswer as wrong:
            judgements = [wrong.judgement]
        worst = max(judgements, key=lambda judgement: (judgement.fault is not None, judgement.ratio))
        return worst if worst.fault is None else replace(worst, fault=f"{self.statement}: {worst.fault}")


def _anywhere(problem: Problem) -> bool:
    return True


def has_images(problem: Problem) -> bool:
    """Return whether the batch has an image."""
    return problem.geometry.batch > 0


def has_bias(problem: Problem) -> bool:
    """Return whether there is a bias."""
    return problem.bias is not None


def has_groups(problem: Problem) -> bool:
    """Return whether there is more than one group."""
    return problem.geometry.groups > 1


def law(
    statement: str, *uses: str, exact: str = INTEGERS, where: Callable[[Problem], bool] = _anywhere
) -> Callable[[Callable[[Trial], Comparisons]], Law]:
    """Make a law from a function that yields comparisons; the law takes the function's name."""

    def make(compare: Callable[[Trial], Comparisons]) -> Law:
        name = compare.__name__.strip("_").replace("_", " ")
        return Law(name, statement, frozenset(uses), exact, where, compare)

    return make
