"""How good the judgement is: which of it finds which wrong convolution of `tests/mutants.py`.

Each mutant is put to the oracle on drawn problems, to all that `multiconv check` asks by default, and to each law
alone. The matrix is printed and written to `docs/kill-matrix.md`. The exit status is 1 if a check finds a mutant right
with any seed, or if anything finds NumPy's own backend wrong.
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
from multiconv.backend import Backend
from multiconv.check import Case, _cases
from multiconv.drawing import DTYPES, draw_problems
from multiconv.laws import LAWS, Law
from multiconv.problem import DIRECTIONS, Problem

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from mutants import MUTANTS, wrong_directions

PAGE = Path(__file__).parents[1] / "docs" / "kill-matrix.md"
SEEDS = range(10)
EXAMPLES = 200
LAW_PROBLEMS = 60
WIDTH = 180  # whole in a file, and where the terminal is narrower
METHODS = dict.fromkeys(DIRECTIONS, "cross_correlate_vjp") | {
    "forward": "cross_correlate",
    "convolve": "convolve",
    "conv_transpose": "conv_transpose",
    "layer": "layer",
}

Advance = Callable[[], None]


@dataclass(eq=False)
class Row:
    """What found a backend wrong.

    Attributes
    ----------
    backend : Backend
    says : str
        What is wrong with it.
    directions : tuple of str
        In what; none for a right backend.
    oracle, check : int
        With how many seeds the drawn problems alone, and all that the check asks, find it.
    laws : dict of str to bool or None
        Whether the law of this name finds it; None where it asks for nothing in which the backend is wrong.
    """

    backend: Backend
    says: str
    directions: tuple[str, ...]
    oracle: int = 0
    check: int = 0
    laws: dict[str, bool | None] = field(default_factory=dict)

    @property
    def as_it_should_be(self) -> bool:
        """Whether the check finds a mutant with every seed, or nothing finds anything in a right backend."""
        if self.directions:
            return self.check == len(SEEDS)
        return not (self.oracle or self.check or any(self.laws.values()))


def put_to_check(rows: list[Row], seed: int, advance: Advance) -> None:
    """All that the check asks with this seed, the drawn problems first; who is found wrong is asked no more."""
    surviving = list(rows)
    for make in reversed(_cases(EXAMPLES, seed, DTYPES)):
        case = make()
        expected = case.expectations()
        found = [row for row in surviving if any(wrong_directions(row.backend, case, expected))]
        for row in found:
            surviving.remove(row)
            row.check += 1
            row.oracle += is_drawn(case)
        advance()


def is_drawn(case: Case) -> bool:
    return isinstance(case, Problem) and case.source == "drawn"


def put_to_law(row: Row, law: Law, problems: list[Problem]) -> None:
    """The law on each problem until one breaks it."""
    asked = {METHODS[direction] for direction in row.directions or DIRECTIONS} & law.uses
    row.laws[law.name] = any(breaks(law, row.backend, problem) for problem in problems) if asked else None


def breaks(law: Law, backend: Backend, problem: Problem) -> bool:
    try:
        judgement = law.judge(backend, problem)
    except Exception:
        return True
    return judgement is not None and judgement.fault is not None


def kill_matrix(console: Console) -> list[Row]:
    """Every mutant, and first the backend that is right, put to everything."""
    rows = [Row(backend("numpy"), "nothing", ()), *(Row(m, m.says, m.directions) for m in MUTANTS)]
    with threadpool_limits(1), np.errstate(all="ignore"):  # float16 overflows, as it would
        with steps(console, "check", len(SEEDS) * len(_cases(EXAMPLES, 0, DTYPES))) as advance:
            for seed in SEEDS:
                put_to_check(rows, seed, advance)
        problems = draw_problems(LAW_PROBLEMS, seed=0, shapes=LAW_PROBLEMS)
        with steps(console, "laws", len(LAWS) * len(rows)) as advance:
            for law in LAWS:
                for row in rows:
                    put_to_law(row, law, problems)
                    advance()
    return rows


@contextmanager
def steps(console: Console, doing: str, total: int) -> Iterator[Advance]:
    """A bar of so many steps, where `console` is a terminal; else nothing."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(doing, total=total)
        yield lambda: progress.advance(task)


# ---- What is to be read


def name(row: Row) -> str:
    return row.backend.name if row.directions else "(right)"


def cells(row: Row) -> list[str]:
    marks = {None: "", True: "x", False: "·"}
    return [str(row.oracle), str(row.check), *(marks[row.laws[law.name]] for law in LAWS)]


def found_by(law: Law, rows: list[Row]) -> int:
    return sum(row.laws[law.name] is True for row in rows)


def summary(rows: list[Row]) -> str:
    mutants = [row for row in rows if row.directions]
    with_every_seed = sum(row.check == len(SEEDS) for row in mutants)
    by_laws = sum(any(row.laws.values()) for row in mutants)
    return (
        f"{len(mutants)} mutants: the check finds {with_every_seed} with each of {len(SEEDS)} seeds, "
        f"and {by_laws} break at least one of {len(LAWS)} laws on {LAW_PROBLEMS} problems."
    )


def print_matrix(rows: list[Row], console: Console) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("mutant", no_wrap=True)
    for heading in ("oracle", "check"):
        table.add_column(heading, justify="right", no_wrap=True)
    for number in range(1, len(LAWS) + 1):
        table.add_column("\n".join(f"{number:2}"), no_wrap=True)  # one digit wide
    for row in rows:
        table.add_row(escape(name(row)), *cells(row), style="" if row.as_it_should_be else "bold red")
    console.print(table)
    console.print("\nlaw  finds")
    for number, law in enumerate(LAWS, 1):
        line = f"{number:3}  {found_by(law, rows):5}  {law.name}: {law.statement}"
        console.print(escape(line), highlight=False, soft_wrap=True)
    console.print(f"\n{summary(rows)}", highlight=False, soft_wrap=True)


def page(rows: list[Row]) -> str:
    """The matrix in Markdown."""
    headings = ["mutant", "oracle", "check", *(str(number) for number in range(1, len(LAWS) + 1))]
    table = [headings, ["---", *["--:"] * (len(headings) - 1)], *([name(row), *cells(row)] for row in rows)]
    lines = [f"| {' | '.join(line)} |" for line in table]
    laws = [
        f"{number}. {law.name}, finds {found_by(law, rows)}: `{law.statement}`" for number, law in enumerate(LAWS, 1)
    ]
    catalogue = [f"- **{name(row)}**: {row.says} ({', '.join(row.directions)})" for row in rows if row.directions]
    return "\n".join([INTRODUCTION, summary(rows), "", *lines, "", LEGEND, *laws, "", CATALOGUE, *catalogue, ""])


INTRODUCTION = f"""\
# The kill matrix

Which judgement finds which wrong convolution. `make mutants` makes this page.

A mutant is NumPy's backend with one fault that a person could make; `tests/mutants.py` has them. *Oracle*: with how
many of {len(SEEDS)} seeds the comparison with the oracle finds it in the {EXAMPLES} drawn problems of a check. *Check*:
with how many seeds `multiconv check` finds it, which asks the book's examples and the networks' layers too. The other
columns are the laws, each alone on the same {LAW_PROBLEMS} drawn problems: `x` where it finds the mutant, `·` where it
does not, blank where it asks for nothing in which the mutant is wrong. *(right)* is the backend without a fault, in
which nothing may be found.
"""
LEGEND = """\
## The laws

C is `cross_correlate`, K `convolve`, T `conv_transpose`; `multiconv/laws.py` has the rest.
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
