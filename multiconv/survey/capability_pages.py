"""Show capabilities: a table for a terminal, and docs/capabilities.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from multiconv.survey import transforms
from multiconv.survey.capabilities import (
    COMPOSED,
    NATIVE,
    UNSUPPORTED,
    BackendCapabilities,
    Capabilities,
    Cells,
)

if TYPE_CHECKING:
    from rich.console import Console


LETTERS = {NATIVE: "N", COMPOSED: "C", UNSUPPORTED: "-"}
COLOURS = {NATIVE: "green", COMPOSED: "yellow", UNSUPPORTED: "red"}
LEGEND = "N native, C composed, - unsupported; in each cell 1-D, 2-D and 3-D"


def print_capabilities(found: Capabilities, console: Console) -> None:
    """Print a table for each backend and each group of dtypes with the same support.

    Examples
    --------
    >>> from rich.console import Console
    >>> cells = {"float32": {"layer": {"1-D": {"plain": "native"}, "2-D": {"plain": "composed"}}}}
    >>> print_capabilities(Capabilities([BackendCapabilities("torch", "2.13", cells)], []), Console(width=80))
    torch 2.13, float32
    ...
    plain...N C...
    """
    from rich.table import Table
    from rich.text import Text

    for backend in found.backends:
        for dtypes, table in grouped(backend.cells):
            title = f"{backend.name} {backend.version}, {', '.join(dtypes)}"
            if is_unsupported(table):
                console.print(Text(f"{title}: unsupported\n", "bold"))
                continue
            console.print(Text(title, "bold"))
            shown = Table("feature", *table, box=None, pad_edge=False, header_style="bold")
            for feature in _features(table):
                kinds = [[row[feature] for row in by_axes.values()] for by_axes in table.values()]
                cells = [Text(" ").join(Text(LETTERS[kind], COLOURS[kind]) for kind in row) for row in kinds]
                shown.add_row(feature, *cells)
            console.print(shown)
            console.print()
        for line in _surprises(backend):
            console.print(Text(line), soft_wrap=True)
        if backend.surprises:
            console.print()
    for m in found.missing:
        console.print(Text(f"{m}\n"), soft_wrap=True)
    console.print(Text(LEGEND + "."))


HEADING = """# What each backend can do

`multiconv capabilities --markdown FILE` wrote this page; a test checks that it is current. Each letter is the outcome
of a small integer problem, which ran on the backend and in the framework's own call with the same options:

- **N**, native: the framework's own single call (`F.conv2d`, `lax.conv_general_dilated`, `tf.nn.conv2d`,
  `nd.Convolution`) takes the options unchanged and is exact. For gradients, this is its autodiff of that call; for
  `conv_transpose` and layers, its own transposed call and its own layer.
- **C**, composed: the framework's own call does not take the options, but the backend is exact.
- **-**, unsupported: the backend refuses.

The three letters of a cell are for one, two and three spatial axes. A feature is native if the framework's own call
takes it in at least one of the two layouts; the last two rows show which. The kernel's axes are in each framework's
own order. No framework's call computes convolution in the strict sense, with a reversed kernel, and NumPy has no
convolution over channels, so all of these are composed. Measured on a CPU.
"""


def markdown(found: Capabilities) -> str:
    """Return the tables as a Markdown page.

    Examples
    --------
    >>> cells = {"float32": {"layer": {"1-D": {"plain": "native"}, "2-D": {"plain": "composed"}}}}
    >>> page = markdown(Capabilities([BackendCapabilities("torch", "2.13", cells)], []))
    >>> print(page[page.index("## torch") :])
    ## torch 2.13
    <BLANKLINE>
    ### float32
    <BLANKLINE>
    | feature | layer |
    |---|---|
    | plain | N C |
    <BLANKLINE>
    """
    lines = [HEADING, transforms.markdown()]
    for backend in found.backends:
        lines += [f"## {backend.name} {backend.version}", ""]
        for dtypes, table in grouped(backend.cells):
            if is_unsupported(table):
                lines += [f"Unsupported: {', '.join(dtypes)}.", ""]
                continue
            lines += [f"### {', '.join(dtypes)}", "", _row(["feature", *table]), "|" + "---|" * (1 + len(table))]
            for feature in _features(table):
                kinds = [[LETTERS[row[feature]] for row in by_axes.values()] for by_axes in table.values()]
                lines.append(_row([feature, *map(" ".join, kinds)]))
            lines.append("")
        surprises = _surprises(backend)
        if surprises:
            lines += [*surprises[:1], "", *(f"- {line}" for line in surprises[1:]), ""]
    return "\n".join(lines)


def _features(table: dict[str, dict[str, dict[str, str]]]) -> Iterable[str]:
    by_axes = next(iter(table.values()))
    return next(iter(by_axes.values()))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _surprises(backend: BackendCapabilities) -> list[str]:
    """List the faults of the framework's own calls by feature, after a heading; empty if there are none."""
    where: dict[tuple[str, str], list[str]] = {}
    for s in backend.surprises:
        what = "crashed the process" if s.fault.startswith("the process ") else "gave a wrong answer"
        where.setdefault((s.feature, what), []).append(f"{s.direction} {s.dimensions} {s.dtype}")
    lines = [f"{feature}: {what} in {', '.join(places)}" for (feature, what), places in where.items()]
    heading = f"{backend.name}'s own calls accepted these options, but gave wrong answers or crashed:"
    return [heading, *lines] if lines else []


def grouped(cells: Cells) -> list[tuple[list[str], dict[str, dict[str, dict[str, str]]]]]:
    """Group the dtypes that have the same table.

    Examples
    --------
    >>> grouped({"int8": {"layer": {}}, "int32": {"layer": {}}})
    [(['int8', 'int32'], {'layer': {}})]
    """
    tables: list[tuple[list[str], dict[str, dict[str, dict[str, str]]]]] = []
    for dtype, table in cells.items():
        for dtypes, other in tables:
            if other == table:
                dtypes.append(dtype)
                break
        else:
            tables.append(([dtype], table))
    return tables


def is_unsupported(table: dict[str, dict[str, dict[str, str]]]) -> bool:
    """Return whether no cell of a dtype's table is supported.

    Examples
    --------
    >>> is_unsupported({"layer": {"1-D": {"plain": "unsupported"}}})
    True
    """
    return all(kind == UNSUPPORTED for by_axes in table.values() for row in by_axes.values() for kind in row.values())
