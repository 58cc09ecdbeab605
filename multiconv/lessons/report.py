"""Terminal output of a lesson: its text, code and output, and whether the frameworks agree."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.markdown import Markdown
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from multiconv.lessons.run import Comparison, Tab
from multiconv.lessons.text import Answer, CellPlace, Lesson, Picture

NARROW = 100
"""Width in columns below which the output is printed under the code, not beside it."""


def print_lessons(of: Sequence[Lesson], console: Console) -> None:
    """Print the names and titles of lessons.

    Examples
    --------
    >>> from multiconv.lessons.run import lesson
    >>> print_lessons([lesson("cross-correlation")], Console(width=80))
    cross-correlation Cross-correlation
    """
    table = Table(box=None, pad_edge=False, show_header=False, collapse_padding=True)
    for one in of:
        table.add_row(Text(one.name, "bold"), one.title)
    console.print(table)


def print_lesson(
    of: Lesson, tabs: Mapping[str, Tab], shown: Sequence[str], comparisons: Sequence[Comparison], console: Console
) -> None:
    """Print a lesson with the code and output of some backends, and the comparison of all of them.

    The answers to the exercises are printed after the text.

    Parameters
    ----------
    of : Lesson
    tabs : dict of str to Tab
        Tabs of all backends that ran it.
    shown : sequence of str
        Backends whose code to print.
    comparisons : sequence of Comparison
    console : rich.console.Console
    """
    code = {backend: {cell.name: cell.code for cell in of.cells(backend)} for backend in shown}

    def show(part: str | CellPlace | Picture) -> None:
        if isinstance(part, CellPlace):
            for backend in shown:
                printed = tabs[backend].outputs.get(part.name, "")
                console.print(_cell(backend, code[backend][part.name], printed, console.width))
        elif isinstance(part, Picture):
            console.print(Text(f"[picture] {part.caption}\n", "dim"))
        else:
            console.print(Markdown(_formulas_as_code(part)))
            console.print()

    for part in of.parts:
        if not isinstance(part, Answer):
            show(part)
    for part in of.parts:
        if isinstance(part, Answer):
            show(f"### Answer to exercise {part.exercise}")
            for piece in part.parts:
                show(piece)
    for backend, tab in tabs.items():
        if tab.error is not None:
            console.print(Text(f"{backend} failed {tab.error}", "bold red"))
    if comparisons:
        console.print(_compared(of, tabs, comparisons))


def _formulas_as_code(text: str) -> str:
    """Mark formulas as code: a terminal can't set mathematics, and Markdown would drop backslashes."""
    displayed = re.sub(r"\$\$(.+?)\$\$", lambda m: f"\n```\n{m[1].strip()}\n```\n", text, flags=re.DOTALL)
    return re.sub(r"(?<![\\$\w])\$([^$\n]+)\$(?!\w)", r"`\1`", displayed)


def _cell(backend: str, code: str, printed: str, width: int) -> Panel:
    left = Syntax(code.rstrip("\n"), "python", background_color="default", word_wrap=True)
    right = Text(printed.rstrip("\n"))
    if width < NARROW:
        shown: RenderableType = Group(left, Text(""), right) if printed else left
    else:
        shown = columns = Table.grid(expand=True, padding=(0, 2))
        columns.add_column(ratio=3)
        columns.add_column(ratio=2)
        columns.add_row(left, right)
    return Panel(shown, title=Text(backend), title_align="left")


def _compared(of: Lesson, tabs: Mapping[str, Tab], comparisons: Sequence[Comparison]) -> Table:
    """Return a table with a row for each value and a column for each backend.

    A cell is "exact", or the share of the allowed error that was used.
    """
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    backends = [backend for backend, tab in tabs.items() if tab.error is None]
    for column in ("value", "must be", *backends):
        table.add_column(column, overflow="fold")
    found = {(c.name, c.backend): c for c in comparisons}
    for name, how in of.compare.items():
        row = [found[name, backend] for backend in backends]
        must = "as stated" if not isinstance(how, str) else how if how == "exact" else f"within {how}"
        table.add_row(name, must, *map(_verdict, row))
    return table


def _verdict(comparison: Comparison) -> Text:
    if comparison.fault is not None:
        return Text(comparison.fault, "bold red")
    return Text("exact" if comparison.ratio == 0 else f"{100 * comparison.ratio:.2g}% of the limit", "green")
