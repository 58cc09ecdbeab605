"""Show kernels: tables for a terminal, and docs/dispatch.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from multiconv.guest.kernels import KNOWN
from multiconv.survey.dispatch import SOURCES, BackendKernels, Dispatch, Use

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS = ("direction", "library kernel", "problems", "example")
HEADING = """# Which kernels compute it

Written by `multiconv dispatch --markdown FILE`. The processor, the number of threads and the versions decide which
kernels run, so another machine has another page. This one was made on: PROCESSOR.

A library has many implementations of a convolution and chooses one for each problem. The table lists those that were
heard to run, with the number of problems of the check, the layer sets and the search in which each ran, and the
smallest of these problems. Each example was made anew from its description and ran the kernel again, unless it says
otherwise.

- **oneDNN** writes what it runs. The names are its own: `jit`, `brgconv` and so on, then the instructions.
- **torch**, **tensorflow** and **mxnet** name the operator where the framework computes without oneDNN.
- **XLA**: the instructions that are left in the compiled program. A *runtime call* goes to a routine of XLA's own
  library; a *compiled loop* was compiled for this problem.
- **numpy**: the algorithm that multiconv chooses.
- *not known*: nothing was heard. A line of a library that could not be read is listed as it is.
- **gradients**: the library does not say for which gradient it ran.
"""


def print_dispatch(found: Dispatch, console: Console) -> None:
    """Print a table for each backend, then the share of the kernels that the check reaches.

    Examples
    --------
    >>> from rich.console import Console
    >>> print_dispatch(Dispatch([BackendKernels("numpy", "2.4")], []), Console(width=80))
    numpy 2.4...
    """
    from rich.table import Table
    from rich.text import Text

    for backend in found.backends:
        console.print(Text(_title(backend), "bold"), soft_wrap=True)
        table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
        for column in COLUMNS:
            table.add_column(column, overflow="fold", justify="right" if column == "problems" else "left")
        for use in backend.uses:
            colour = "" if use.kernel.status == KNOWN else "yellow"
            direction, kernel, problems, example = _cells(use)
            table.add_row(direction, Text(kernel, colour), problems, Text(example))
        console.print(table)
        console.print()
    for backend in found.backends:
        for sentence in sentences(backend):
            console.print(Text(sentence), soft_wrap=True)
    console.print(Text(summary(found)), soft_wrap=True)
    for m in found.missing:
        console.print(Text(str(m)), soft_wrap=True)


def markdown(found: Dispatch) -> str:
    """Return the tables as a Markdown page.

    Examples
    --------
    >>> "## numpy 2.4" in markdown(Dispatch([BackendKernels("numpy", "2.4")], []))
    True
    """
    lines = [HEADING.replace("PROCESSOR", found.processor), summary(found), ""]
    for backend in found.backends:
        told, *named = sentences(backend)
        lines += [f"## {_title(backend)}", "", told, "", *(f"- {sentence}" for sentence in named), *[""] * bool(named)]
        lines += [_row(COLUMNS), "|" + "---|" * len(COLUMNS)]
        for use in backend.uses:
            direction, kernel, problems, example = _cells(use)
            lines.append(_row([direction, f"`{kernel}`", problems, f"`{example}`"]))
        lines.append("")
    return "\n".join(lines)


def sentences(backend: BackendKernels) -> list[str]:
    """Return sentences on what the check reaches of a backend's kernels, and an example of each that it does not.

    Examples
    --------
    >>> sentences(BackendKernels("numpy", "2.4", problems={"check": 7, "layers": 0, "search": 0}))
    ['numpy: 7 problems of the check.']
    """
    counts = [f"{backend.problems[s]} problems of the {NAMES[s]}" for s in SOURCES if backend.problems.get(s)]
    told = [f"{backend.name}: {', '.join(counts)}."]
    if backend.share is not None:
        wanted = len(backend.by_others)
        reached = wanted - len(backend.unreached)
        others = " and ".join(f"the {NAMES[s]}" for s in SOURCES[1:] if backend.problems[s])
        told[0] += (
            f" Of the {wanted} kernels, by what they compute, that were heard in {others}, the check reaches {reached} "
            f"({backend.share:.1%})."
        )
        told += [f"Not reached: {use.direction}, {use.kernel.label}: {use.example.text}" for use in backend.unreached]
    lost = [use for use in backend.uses if not use.again]
    told += [f"Not heard again: {use.direction}, {use.kernel.label}: {use.example.text}" for use in lost]
    return told


NAMES = {"check": "check", "layers": "layer sets", "search": "search"}


def summary(found: Dispatch) -> str:
    """Return sentences that count the kernels, and the share of them that the check reaches on all backends.

    Examples
    --------
    >>> summary(Dispatch([BackendKernels("numpy", "2.4")], []))
    'Kernels: numpy 0; 0 different ones.'
    """
    counts = ", ".join(f"{backend.name} {len(backend.kernels)}" for backend in found.backends)
    different = len({label for backend in found.backends for label in backend.kernels})
    told = f"Kernels: {counts or 'none'}; {different} different ones."
    wanted = sum(len(backend.by_others) for backend in found.backends)
    if not wanted:
        return told
    reached = wanted - sum(len(backend.unreached) for backend in found.backends)
    return f"{told} The check reaches {reached} of {wanted} that were heard elsewhere ({reached / wanted:.1%})."


def _title(backend: BackendKernels) -> str:
    return " ".join(
        [backend.name, backend.version, *(["with", ", ".join(backend.libraries)] if backend.libraries else [])]
    )


def _cells(use: Use) -> list[str]:
    example = use.example.text if use.again else f"{use.example.text} (not heard again)"
    return [use.direction, use.kernel.label, str(sum(use.problems.values())), example]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
