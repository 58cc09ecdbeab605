"""Show properties: a table for a terminal, and docs/properties.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from multiconv.survey.properties import CASES, PROPERTIES, SAME, BackendProperties, Properties

if TYPE_CHECKING:
    from rich.console import Console


EXPECTED = {
    "repeated": SAME,
    "in a batch": SAME,
    "threads": SAME,
    "compiled": SAME,
    "NaN in the input": "the outputs that see it",
    "Inf in the input": "the outputs that see it",
    "0 times Inf": "NaN",
    "NaN in the kernel": "every output",
    "small inputs": "kept",
    "small results": "kept",
    "-0 summed": "0",
    "overflow": "-inf, inf",
}
SURPRISES = {
    "repeated": "The same call does not give the same bits each time.",
    "in a batch": "The bits of an image's result depend on the batch size.",
    "threads": "The bits depend on the number of cores and threads.",
    "compiled": "The compiled call gives other bits than the eager one, or is not available.",
    "NaN in the input": "Outputs that do not see it become NaN, or some that see it do not.",
    "Inf in the input": "Outputs that do not see it become infinite or NaN, or some that see it do not.",
    "0 times Inf": "A zero tap is skipped, although 0 times Inf is NaN.",
    "NaN in the kernel": "A tap on the padding is skipped, although NaN times 0 is NaN.",
    "small inputs": "Subnormal pixels count as 0.",
    "small results": "Results below the smallest normal number become 0.",
    "-0 summed": "The sum does not begin with 0.",
    "overflow": "Results that are too large for the dtype do not become infinite.",
}
MACHINE_DEPENDENT = ("in a batch", "threads", "compiled", "NaN in the kernel")
HEADING = """# How each backend computes

`multiconv properties --markdown FILE` wrote this page from measurements. A test checks every row except those marked *,
which depend on the machine: its instruction set, its cores and its compiler.
"""
ROWS = """
- **repeated**: the result and the gradients of a call, 20 times.
- **in a batch** *: one or two images alone, and the same images in a batch of 17.
- **threads** *: one core with one thread, and all cores of the machine.
- **compiled** *: the framework's own call and, if there is one, its gradient, eager and compiled. NumPy compiles
  nothing.
- **NaN in the input**, **Inf in the input**: the outputs that one such pixel changes.
- **0 times Inf**: the product of a zero tap and an infinite pixel.
- **NaN in the kernel** *: the outputs that one such tap changes, with padding.
- **small inputs**: a subnormal pixel times a number that makes the product normal. **small results**: a normal pixel
  times a number that makes the product subnormal.
- **-0 summed**: the sign of a sum of negative zeros. **overflow**: the largest number times 2 and -2.

"same bits" means the same bits for all tested shapes: SHAPES.
"""


def surprises(found: Properties) -> list[tuple[str, list[str]]]:
    """Return a sentence for each property with unexpected values, and where they occur.

    Examples
    --------
    >>> surprises(Properties([BackendProperties("numpy", "2.4", {"float32": {"small inputs": "flushed to 0"}})], []))
    [('small inputs: Subnormal pixels count as 0.', ['numpy, float32: flushed to 0'])]
    """
    told = []
    for what in PROPERTIES:
        where: dict[str, list[str]] = {}
        for backend in found.backends:
            for dtype, measured in backend.properties.items():
                for name, value in measured.items():
                    if name.partition(", ")[0] == what and value != EXPECTED[what]:
                        where.setdefault(f"{backend.name}{name.removeprefix(what)}, DTYPES: {value}", []).append(dtype)
        if where:
            cells = [cell.replace("DTYPES", " and ".join(dtypes), 1) for cell, dtypes in where.items()]
            told.append((f"{what}: {SURPRISES[what]}", cells))
    return told


def print_properties(found: Properties, console: Console) -> None:
    """Print a table with a column for each backend, then a sentence for each unexpected property.

    Examples
    --------
    >>> from rich.console import Console
    >>> numpy = BackendProperties("numpy", "2.4", {"float32": {"small inputs": "flushed to 0"}})
    >>> print_properties(Properties([numpy], []), Console(width=120))
    property...numpy 2.4
    small inputs...flushed to 0
    ...
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("property", *_headings(found)):
        table.add_column(column, overflow="fold")
    for what, cells in _table(found):
        colours = ["" if value == EXPECTED[what] or value == "-" else "yellow" for value in cells]
        table.add_row(what, *(Text(value, colour) for value, colour in zip(cells, colours)))
    console.print(table)
    console.print()
    for sentence, cells in surprises(found):
        console.print(Text(sentence, "bold"), soft_wrap=True)
        for cell in cells:
            console.print(Text(f"  {cell}"), soft_wrap=True)
    for m in found.missing:
        console.print(Text(str(m)), soft_wrap=True)


def markdown(found: Properties) -> str:
    """Return the table as a Markdown page.

    Examples
    --------
    >>> page = markdown(Properties([BackendProperties("numpy", "2.4", {"float32": {"-0 summed": "0"}})], []))
    >>> "| -0 summed | 0 |" in page
    True
    """
    headings = ["property", *_headings(found)]
    lines = [HEADING, _row(headings), "|" + "---|" * len(headings)]
    lines += [_row([f"{what} *" if what in MACHINE_DEPENDENT else what, *cells]) for what, cells in _table(found)]
    lines += [ROWS.replace("SHAPES", ", ".join(case.name for case in CASES)), "## Unexpected results", ""]
    for sentence, cells in surprises(found):
        lines += [f"**{sentence.replace(': ', '.** ', 1)}", "", *(f"- {cell}" for cell in cells), ""]
    return "\n".join(lines)


def _headings(found: Properties) -> list[str]:
    return [f"{backend.name} {backend.version}" for backend in found.backends]


def _table(found: Properties) -> Iterator[tuple[str, list[str]]]:
    """Yield a row of short values for each property; `surprises` has the full sentences."""
    for what in PROPERTIES:
        rows = [_cell(backend, what) for backend in found.backends]
        if any(cell != "-" for cell in rows):
            yield what, rows


def _cell(backend: BackendProperties, what: str) -> str:
    by_value: dict[str, list[str]] = {}
    for dtype, measured in backend.properties.items():
        for name, value in measured.items():
            if name.partition(",")[0] == what:
                way = name.partition(", ")[2]
                short = value.partition(": ")[0]
                by_value.setdefault(f"{way}: {short}" if way else short, []).append(dtype)
    of_all = len(backend.properties)
    return "; ".join(v if len(d) == of_all else f"{', '.join(d)}: {v}" for v, d in by_value.items()) or "-"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
