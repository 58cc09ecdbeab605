"""Measure how well the checks and the laws find wrong convolutions: the mutants of `tests/mutants`.

`multiconv check` runs on each mutant as it does on a backend by default. Mutants that are wrong in the forward
direction are also checked as a candidate. Each law also runs alone. The matrix is printed and written to
`docs/kill-matrix.md`. The exit status is 1 if a check finds a mutant with fewer than nine of ten seeds, or if anything
finds a fault in NumPy's own backend.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table
from threadpoolctl import threadpool_limits

from multiconv import backend
from multiconv.check.cases import Audience, Case, Draws, Turn, turns_of
from multiconv.core.backend import Backend
from multiconv.oracle.judgement import Expected
from multiconv.oracle.laws import LAWS, Law
from multiconv.oracle.problem import DIRECTIONS, Problem, judged
from multiconv.testing.candidate import Candidate
from multiconv.testing.drawing import draw_problems

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from mutants import MUTANTS, NOT_ASKED_OF_CANDIDATES, OUT_OF_REACH, Mutant, as_function, wrong_directions

PAGE = Path(__file__).parents[1] / "docs" / "kill-matrix.md"
SEEDS = range(10)
ENOUGH = 9
"""The number of seeds with which a mutant must be found."""
LAW_PROBLEMS = 60
WIDTH = 180  # columns: lines stay whole in a file and on a narrower terminal
METHODS = dict.fromkeys(DIRECTIONS, "cross_correlate_vjp") | {
    "forward": "cross_correlate",
    "convolve": "convolve",
    "conv_transpose": "conv_transpose",
    "layer": "layer",
}

Advance = Callable[[], None]


@dataclass(eq=False)
class Row:
    """The results of one backend.

    Attributes
    ----------
    backend : Backend
    says : str
        Description of its fault.
    directions : tuple of str
        Directions in which it is wrong; empty for a correct backend.
    drawn, check : int
        Number of seeds with which the drawn problems alone, and the whole check of a backend, find it.
    candidate : int or None
        Number of seeds with which the check finds it as a candidate; None if it is right in the forward direction.
    laws : dict of str to bool or None
        Whether the law of this name finds it; None if the law uses no direction in which the backend is wrong.
    """

    backend: Backend
    says: str
    directions: tuple[str, ...]
    drawn: int = 0
    check: int = 0
    candidate: int | None = None
    laws: dict[str, bool | None] = field(default_factory=dict)

    @property
    def as_it_should_be(self) -> bool:
        """Return whether enough seeds find a mutant, or nothing finds a fault in a correct backend."""
        if not self.directions:
            return not (self.check or self.candidate or any(self.laws.values()))
        if self.backend.name in OUT_OF_REACH:
            return True
        as_candidate = (
            self.candidate is None or self.backend.name in NOT_ASKED_OF_CANDIDATES or self.candidate >= ENOUGH
        )
        return self.check >= ENOUGH and as_candidate

    def reset(self) -> None:
        """Let a mutant forget all earlier calls."""
        if isinstance(self.backend, Mutant):
            self.backend.reset()


def put_to_check(rows: list[Row], seed: int, advance: Advance) -> None:
    """Check each backend with one seed, by the drawn problems first, until it is found wrong."""
    surviving = list(rows)
    for row in rows:
        row.reset()
    turns = [turn for turn in turns_of(Draws(seed=seed), {Audience.EAGER}) if Audience.EAGER in turn.audience]
    for case in drawn_first(turns):
        expected = case.expectations()
        found = [row for row in surviving if any(wrong_directions(row.backend, case, expected))]
        for row in found:
            surviving.remove(row)
            row.check += 1
            row.drawn += is_drawn(case)
        advance()


def put_to_check_of_candidates(rows: list[Row], seed: int, advance: Advance) -> None:
    """Check each backend as a candidate with one seed, until it is found wrong."""
    surviving = {}
    for row in rows:
        if not row.directions or "forward" in row.directions:
            row.candidate = row.candidate or 0
            row.reset()
            surviving[row.backend.name] = row, Candidate(as_function(row.backend))
    turns = [turn for turn in turns_of(Draws(seed=seed), {Audience.CANDIDATE}) if Audience.CANDIDATE in turn.audience]
    for case in drawn_first(turns):
        if isinstance(case, Problem):
            expected = case.expectations(["forward"])
            found = [name for name, (_, candidate) in surviving.items() if is_wrong(candidate, case, expected)]
            for name in found:
                row, _ = surviving.pop(name)
                row.candidate = (row.candidate or 0) + 1
        advance()


def drawn_first(turns: list[Turn]) -> list[Case]:
    return sorted((turn.make() for turn in turns), key=lambda case: not is_drawn(case))


def is_drawn(case: Case) -> bool:
    return isinstance(case, Problem) and case.source == "drawn"


def is_wrong(candidate: Candidate, problem: Problem, expected: dict[str, Expected]) -> bool:
    return any(judgement.fault is not None for _, _, judgement in judged(problem, candidate, expected, "forward"))


def put_to_law(row: Row, law: Law, problems: list[Problem]) -> None:
    """Test a law on each problem until one breaks it."""
    row.reset()
    asked = {METHODS[direction] for direction in row.directions or DIRECTIONS} & law.uses
    row.laws[law.name] = any(breaks(law, row.backend, problem) for problem in problems) if asked else None


def breaks(law: Law, backend: Backend, problem: Problem) -> bool:
    try:
        judgement = law.judge(backend, problem)
    except Exception:
        return True
    return judgement is not None and judgement.fault is not None


def kill_matrix(console: Console) -> list[Row]:
    """Run all checks and laws on the correct backend, and on every mutant."""
    rows = [Row(backend("numpy"), "nothing", ()), *(Row(m, m.says, m.directions) for m in MUTANTS)]
    with threadpool_limits(1), np.errstate(all="ignore"):  # overflow of float16 is expected
        for put, who in ((put_to_check, Audience.EAGER), (put_to_check_of_candidates, Audience.CANDIDATE)):
            asked = sum(who in turn.audience for turn in turns_of(Draws(), {who}))
            with steps(console, f"check, {who.name.lower()}", len(SEEDS) * asked) as advance:
                for seed in SEEDS:
                    put(rows, seed, advance)
        problems = draw_problems(LAW_PROBLEMS, seed=0)
        with steps(console, "laws", len(LAWS) * len(rows)) as advance:
            for law in LAWS:
                for row in rows:
                    put_to_law(row, law, problems)
                    advance()
    return rows


@contextmanager
def steps(console: Console, doing: str, total: int) -> Iterator[Advance]:
    """Show a progress bar of `total` steps, if `console` is a terminal."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(doing, total=total)
        yield lambda: progress.advance(task)


# ---- Output


def name(row: Row) -> str:
    return row.backend.name if row.directions else "(right)"


def cells(row: Row) -> list[str]:
    marks = {None: "", True: "x", False: "·"}
    candidate = "" if row.candidate is None else str(row.candidate)
    return [str(row.drawn), str(row.check), candidate, *(marks[row.laws[law.name]] for law in LAWS)]


def found_by(law: Law, rows: list[Row]) -> int:
    return sum(row.laws[law.name] is True for row in rows)


def summary(rows: list[Row]) -> str:
    mutants = [row for row in rows if row.directions]
    found = sum(row.check >= ENOUGH for row in mutants)
    candidates = [row.candidate for row in mutants if row.candidate is not None]
    by_laws = sum(any(row.laws.values()) for row in mutants)
    as_candidates = sum(seeds >= ENOUGH for seeds in candidates)
    return (
        f"With at least {ENOUGH} of {len(SEEDS)} seeds, the check finds {found} of {len(mutants)} mutants as backends, "
        f"and {as_candidates} of {len(candidates)} as candidates, where only those with a wrong forward direction "
        f"count. {by_laws} break at least one of {len(LAWS)} laws on {LAW_PROBLEMS} problems."
    )


def print_matrix(rows: list[Row], console: Console) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("mutant", no_wrap=True)
    for heading in ("drawn", "check", "candidate"):
        table.add_column(heading, justify="right", no_wrap=True)
    for number in range(1, len(LAWS) + 1):
        table.add_column("\n".join(f"{number:2}"), no_wrap=True)  # one digit wide, to fit the line
    for row in rows:
        table.add_row(escape(name(row)), *cells(row), style="" if row.as_it_should_be else "bold red")
    console.print(table)
    console.print("\nlaw  finds")
    for number, law in enumerate(LAWS, 1):
        line = f"{number:3}  {found_by(law, rows):5}  {law.name}: {law.statement}"
        console.print(escape(line), highlight=False, soft_wrap=True)
    console.print(f"\n{summary(rows)}", highlight=False, soft_wrap=True)


def page(rows: list[Row]) -> str:
    """Return the matrix as a Markdown page."""
    headings = ["mutant", "drawn", "check", "candidate", *(str(number) for number in range(1, len(LAWS) + 1))]
    table = [headings, ["---", *["--:"] * (len(headings) - 1)], *([name(row), *cells(row)] for row in rows)]
    lines = [f"| {' | '.join(line)} |" for line in table]
    laws = [
        f"{number}. {law.name}, finds {found_by(law, rows)}: `{law.statement}`" for number, law in enumerate(LAWS, 1)
    ]
    catalogue = [f"- **{name(row)}**: {row.says} ({', '.join(row.directions)})" for row in rows if row.directions]
    out_of_reach = [f"- **{mutant}**: {why}" for mutant, why in {**OUT_OF_REACH, **NOT_ASKED_OF_CANDIDATES}.items()]
    lists = [*lines, "", NOT_FOUND, *out_of_reach, "", LEGEND, *laws, "", CATALOGUE, *catalogue, ""]
    return "\n".join([INTRODUCTION, summary(rows), "", *lists])


INTRODUCTION = f"""\
# The kill matrix

`make mutants` writes this page: which tool finds which wrong convolution.

A mutant is the NumPy backend with one fault that a person could make; `tests/mutants/` defines them. The first three
columns count the seeds, out of {len(SEEDS)}, with which `multiconv check` finds the mutant: *drawn*, by its drawn
problems alone; *check*, by all problems for a backend, including the book's examples and the networks' layers;
*candidate*, when the mutant is checked as a candidate, a function with the forward direction only. The other columns
are the laws, each alone on the same {LAW_PROBLEMS} drawn problems: `x` if the law finds the mutant, `·` if it does
not, blank if the law does not use the faulty operation. *(right)* is the backend without a fault, in which nothing may
be found.
"""
NOT_FOUND = """\
## What the check does not find, and why
"""
LEGEND = """\
## The laws

C is `cross_correlate`, K `convolve`, T `conv_transpose`; `multiconv/oracle/laws/__init__.py` has the rest.
"""
CATALOGUE = """\
## The mutants

What is wrong with each, and in which directions.
"""


def main() -> None:
    rows = kill_matrix(Console(stderr=True))
    print_matrix(rows, Console(width=WIDTH))
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(rows), encoding="utf-8")
    sys.exit(not all(row.as_it_should_be for row in rows))


if __name__ == "__main__":
    main()
