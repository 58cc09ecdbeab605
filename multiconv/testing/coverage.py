"""Pairwise coverage of the space of convolutions: its factors, their levels, and problems that cover pairs of levels.

A fault often needs two conditions at once, such as depthwise groups and a stride, or an odd number of channels and the
tail of a row. A factor is a property of a problem, such as its number of axes. A level is a class of its values. The
levels split where libraries switch to another kernel (4, 8, 16, 32 and 64 channels, whole vectors and tails, padding
beyond the kernel). A design is a list of problems. Each is chosen in turn for the pairs of levels that it adds ([1]_).

The levels are those of the problem itself (`levels_of`), not those for which it was drawn. The share of pairs covered
is therefore a fact about the problems.

References
----------
.. [1] D. M. Cohen, S. R. Dalal, M. L. Fredman, G. C. Patton, "The AETG system: an approach to testing based on
   combinatorial design", IEEE Trans. Softw. Eng. 23 (1997) 437-444.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from multiconv.core.errors import ConvError
from multiconv.core.memory import ARRANGEMENTS
from multiconv.oracle.problem import Problem
from multiconv.oracle.values import ALL_VALUES
from multiconv.testing.levels import (
    BATCHES,
    DTYPES,
    EMPTY_BATCH,
    FACTORS,
    IMPOSSIBLE,
    LAYOUT_LEVELS,
    NOTHING,
    USUAL,
    Row,
    Signature,
    levels_of,
    problem_levels,
)
from multiconv.testing.settling import Picks, settle


class Drawn(NamedTuple):
    """A problem of a design, without its numbers."""

    signature: Signature
    values: str
    arrangement: str


# ---- A convolution for a row of levels


# ---- A design


@dataclass
class Coverage:
    """The pairs of levels that problems have covered so far.

    Parameters
    ----------
    dtypes, values, arrangements, layouts, batches : sequence of str
        The levels of these factors that can occur.
    """

    dtypes: Sequence[str]
    values: Sequence[str]
    arrangements: Sequence[str] = tuple(ARRANGEMENTS)
    layouts: Sequence[str] = LAYOUT_LEVELS
    batches: Sequence[str] = tuple(BATCHES)

    def __post_init__(self) -> None:
        limited = {"dtype": self.dtypes, "values": self.values, "memory": self.arrangements}
        limited |= {"layout": self.layouts, "batch": self.batches}
        names = {f: tuple(x for x in levels if x in limited.get(f, levels)) for f, levels in FACTORS.items()}
        self.levels = [(factor, level) for factor in names for level in names[factor]]
        self.number = {level: number for number, level in enumerate(self.levels)}
        self.of_factor = [[self.number[factor, level] for level in names[factor]] for factor in names]
        self.can_meet = _can_meet(tuple(self.levels))
        self.open = self.can_meet.copy()
        self.possible = int(self.can_meet.sum())

    def add(self, row: Row) -> None:
        """Count a problem with these levels.

        An empty batch has no values that could show a fault of two other levels. So only the pairs that include the
        empty batch count.
        """
        numbers = sorted(self.number[level] for level in row.items() if level in self.number)
        empty = self.number.get(EMPTY_BATCH)
        for a, b in combinations(numbers, 2):
            if empty not in numbers or empty in (a, b):
                self.open[a, b] = False

    @property
    def share(self) -> float:
        """Return the share of the possible pairs that have been covered.

        Examples
        --------
        >>> Coverage(["float32"], ["normal"], ["contiguous"]).share
        0.0
        """
        return 1 - int(self.open.sum()) / self.possible if self.possible else 1.0


@cache
def _can_meet(levels: tuple[tuple[str, str], ...]) -> npt.NDArray[np.bool_]:
    """Return which pairs of levels can occur together, as a matrix indexed by their numbers, the lower one first."""
    possible = np.zeros((len(levels), len(levels)), bool)
    for a, b in combinations(range(len(levels)), 2):
        first, second = levels[a], levels[b]
        apart = first[0] != second[0]
        possible[a, b] = apart and (first, second) not in IMPOSSIBLE and (second, first) not in IMPOSSIBLE
    return possible


TRIES = 24
"""Number of rows that are compared for each problem."""
ATTEMPTS = 200
"""Number of times that `TRIES` rows are tried before a problem is given up."""


def design(count: int, seed: int, coverage: Coverage, fixed: Mapping[str, Any] = NOTHING) -> list[Drawn]:
    """Return problems that cover new pairs of levels, each with its own shape.

    Parameters
    ----------
    count : int
    seed : int
    coverage : Coverage
        The pairs covered so far. The problems are added to it.
    fixed : mapping
        As in `multiconv.testing.drawing.draw_problems`.

    Raises
    ------
    ConvError
        If no convolution matches the fixed options.

    Examples
    --------
    >>> coverage = Coverage(["float32"], ["integers", "normal"])
    >>> drawn = design(150, 0, coverage)
    >>> len(drawn), coverage.share > 0.9
    (150, True)
    """
    pick, rng = Picks(seed), np.random.default_rng(seed)
    weights = np.array([USUAL.get(level, 1.0) for level in coverage.levels])
    drawn: list[Drawn] = []
    while len(drawn) < count:
        drawn.append(_next(coverage, weights, pick, rng, fixed))
        coverage.add(levels_of(*drawn[-1]))
    return drawn


def _next(
    coverage: Coverage, weights: npt.NDArray[Any], pick: Picks, rng: np.random.Generator, fixed: Mapping[str, Any]
) -> Drawn:
    refused: ConvError | None = None
    for attempt in range(ATTEMPTS):
        for numbers in _rows(coverage, weights, rng):
            row = dict(coverage.levels[n] for n in numbers)
            try:
                signature = settle(row, pick, fixed, large=bool(fixed) and attempt > ATTEMPTS // 10)
            except ConvError as error:
                refused = error
                continue
            if signature is not None:
                return Drawn(signature, row["values"], row["memory"])
    reason = f": {refused}" if refused is not None else ""
    named = ", ".join(f"{name}={value!r}" for name, value in fixed.items())
    raise ConvError(f"no convolution found with {named}{reason}") from None


def _rows(coverage: Coverage, weights: npt.NDArray[Any], rng: np.random.Generator) -> list[list[int]]:
    """Return rows of levels, those that cover the most new pairs first.

    Three quarters of the rows are drawn around a pair that has not been covered.
    """
    rows = np.empty((TRIES, len(coverage.of_factor)), int)
    for factor, numbers in enumerate(coverage.of_factor):
        share = weights[numbers] / weights[numbers].sum()
        rows[:, factor] = rng.choice(numbers, TRIES, p=share)
    factor_of = np.repeat(np.arange(len(coverage.of_factor)), [len(n) for n in coverage.of_factor])
    first, second = np.nonzero(coverage.open)
    if len(first):
        for row in rows[: TRIES * 3 // 4]:
            pair = rng.integers(len(first))
            for number in (first[pair], second[pair]):
                row[factor_of[number]] = number
    a, b = np.triu_indices(rows.shape[1], 1)
    possible = np.asarray(coverage.can_meet[rows[:, a], rows[:, b]].all(axis=1))
    adds = coverage.open[rows[:, a], rows[:, b]]
    empty = coverage.number.get(EMPTY_BATCH)
    in_empty = (rows == empty).any(axis=1, keepdims=True)
    gains = (adds & (~in_empty | (rows[:, a] == empty) | (rows[:, b] == empty))).sum(axis=1)
    order = np.argsort(-gains, kind="stable")
    return [rows[n].tolist() for n in order if possible[n]]


def share_covered(
    problems: Sequence[Problem],
    dtypes: Sequence[str] = DTYPES,
    values: Sequence[str] = ALL_VALUES,
    arrangements: Sequence[str] = tuple(ARRANGEMENTS),
    layouts: Sequence[str] = LAYOUT_LEVELS,
    batches: Sequence[str] = tuple(BATCHES),
) -> float:
    """Return the share of the possible pairs of levels that problems cover.

    Examples
    --------
    >>> from multiconv.testing.drawing import draw_problems
    >>> share_covered(draw_problems(40, 0)) < share_covered(draw_problems(80, 0)) < 1
    True
    """
    coverage = Coverage(dtypes, values, arrangements, layouts, batches)
    for problem in problems:
        coverage.add(problem_levels(problem))
    return coverage.share
