"""Output of the commands: progress bars, tables for the terminal, and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from multiconv import registry
from multiconv.check.accuracy import comparisons
from multiconv.check.results import BackendReport, Disagreement, Report
from multiconv.core.types import Progress
from multiconv.survey import quirks
from multiconv.survey.framework_scripts import print_script

COMPARED = {False: Text("as measured", "green"), True: Text("changed", "bold red")}
ACCURACY_DIRECTIONS = ("forward", "input gradient", "kernel gradient")
"""The directions of the table of accuracy; `check --html` has all."""
COLOURS = {"agrees": "green"} | dict.fromkeys(("disagrees", "imprecise", "crashes", "hangs"), "bold red")


@contextmanager
def progress_bars(console: Console) -> Iterator[Progress]:
    """Show a progress bar for each backend, if `console` is a terminal."""
    columns = (
        TextColumn("{task.description:12}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[doing]}", markup=False),
    )
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def show(name: str, done: int, total: int, doing: str) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=None, doing="")
            bars.update(tasks[name], completed=done, total=total or None, doing=doing)

        yield show


def print_check(report: Report, console: Console) -> None:
    """Print the table of a check, the disagreements, and the backends that are not available.

    Examples
    --------
    >>> from multiconv.check.results import BackendReport, Report
    >>> numpy = BackendReport("numpy", "2.4.6", "3.11.7", "/usr/bin/python3", 9, 5, 5, 0.5)
    >>> report = Report([numpy], [], 9, 0, ["float32"])
    >>> print_check(report, Console(width=100))  # doctest: +ELLIPSIS
    backend...numpy...2.4.6...agrees...
    """
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    table.add_column("backend")
    table.add_column("version")
    table.add_column("runs in", overflow="fold")
    table.add_column("problems", justify="right")
    table.add_column("exact", justify="right")
    table.add_column("share of bound", justify="right")
    table.add_column("verdict")
    for b in report.backends:
        table.add_row(
            b.name,
            b.version,
            f"Python {b.python}, {_short(b.where)}",
            str(b.problems),
            f"{b.exact} of {b.integer_problems}",
            f"{b.share_of_bound:.3f}",
            Text(b.verdict, COLOURS[b.verdict]),
        )
    console.print(table)
    for b in report.backends:
        if b.imprecise:
            console.print(Text(f"\n{b.name} lost precision in {b.imprecise} of {b.problems} problems.", "yellow"))
    for b in report.backends:
        for d in b.disagreements:
            _print_disagreement(b, d, console)
    for m in report.missing:
        console.print(Text(f"\n{m}"), soft_wrap=True)
    _print_accuracy(report, console)
    console.print(Text(f"\n{summary(report)}"), soft_wrap=True)
    overflowed = [f"{b.name} {b.overflowed}" for b in report.backends if b.overflowed]
    if overflowed:
        console.print(
            Text(
                f"Problems in which a sum may overflow, depending on the order of its terms: {', '.join(overflowed)}."
            ),
            soft_wrap=True,
        )
    console.print(Text(_covered(report)), soft_wrap=True)


def print_backends(infos: Sequence[registry.BackendInfo], console: Console) -> None:
    """Print the table of backends.

    Examples
    --------
    >>> print_backends([registry.BackendInfo("numpy", "2.4.6", "this process", "/usr/bin/python3")], Console(width=100))
    backend...
    """
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    probed = any(info.dtypes for info in infos)
    for column in ("backend", "version", "runs in", *(("dtypes", "devices") if probed else ())):
        table.add_column(column, overflow="fold")
    for info in infos:
        if info.where is None:
            table.add_row(info.name, "-", Text("not available, see below", "yellow"))
            continue
        table.add_row(
            info.name,
            info.version,
            info.where if info.where == "this process" else f"worker, {_short(info.python or '')}",
            *([", ".join(info.dtypes or ()), ", ".join(info.devices or ())] if probed else []),
        )
    console.print(table)
    for info in infos:
        if info.reason is not None:
            how = "" if str(info.install) in info.reason else f"\nInstall it with: {info.install}"
            console.print(Text(f"\n{info.name}: {info.reason}{how}"), soft_wrap=True)


def as_json(value: Any) -> str:
    """Return indented JSON, without NaN or infinity.

    Examples
    --------
    >>> print(as_json({"schema": 1}))
    {
      "schema": 1
    }
    """
    return json.dumps(value, indent=2, allow_nan=False)


def _print_disagreement(b: BackendReport, d: Disagreement, console: Console) -> None:
    console.print()
    console.rule(Text(f"{b.name} {b.version}: {d.direction}", "bold red"), align="left")
    console.print(Text(f"In {d.times} of {b.problems} problems; first in: {json.dumps(d.found_in)}"), soft_wrap=True)
    console.print(Text(f"Smallest found: {json.dumps(d.problem)}"), soft_wrap=True)
    console.print(Text(d.fault), soft_wrap=True)
    if d.why is not None:
        console.print(Text(f"why: {d.why}"), soft_wrap=True)
    if d.script is not None:
        console.print("\nThis script shows it:\n")
        print_script(d.script, console)


def _print_accuracy(report: Report, console: Console) -> None:
    """Print the root mean square errors of the backends side by side, the smallest in bold."""
    compared = [c for c in comparisons(report) if c.direction in ACCURACY_DIRECTIONS]
    if not compared:
        return
    names = [b.name for b in report.backends]
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    for column in ("direction", "dtype", "products"):
        table.add_column(column)
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    for c in compared:
        cells = [Text(f"{c.errors[n]:.3f}" if n in c.errors else "-", "bold" * (n == c.best)) for n in names]
        table.add_row(c.direction, c.dtype, c.length, *cells)
    console.print(
        "\nAccuracy: root mean square error in units of u * sum |x||w|, by the number of products in a sum\n"
        "(a plain sequential sum of normally distributed products has about 0.45)",
        soft_wrap=True,
        highlight=False,
    )
    console.print(table)


def summary(report: Report) -> str:
    """Return the verdict on all backends in one sentence.

    Examples
    --------
    >>> summary(Report([BackendReport("numpy", "2.4.6", "3.11.7", "here")], [], 9, 0, ["float32"], seconds=1.0))
    'numpy agrees with the exact oracle. 9 drawn problems (seed 0, float32), 1 s.'
    """
    bad = [b.name for b in report.backends if b.verdict != "agrees"]
    seen = f"{report.examples} drawn problems (seed {report.seed}, {', '.join(report.dtypes)}), {report.seconds:.0f} s"
    if report.interrupted:
        seen = f"Interrupted after {report.seconds:.0f} s; the table has only the problems until then"
    if bad:
        return f"Not every backend is right: {', '.join(bad)}. {seen}."
    agree = "agrees" if len(report.backends) == 1 else "agree"
    return f"{', '.join(b.name for b in report.backends)} {agree} with the exact oracle. {seen}."


def _covered(report: Report) -> str:
    """Return the share of pairs of levels that each backend's problems cover."""
    backends: dict[str, list[str]] = {}
    for b in report.backends:
        backends.setdefault(f"{b.pairs_covered:.1%} of pairs covered", []).append(b.name)
    if len(backends) < 2:
        return "".join(f"{share}." for share in backends)
    return "; ".join(f"{', '.join(names)}: {share}" for share, names in backends.items()) + "."


def _short(path: str) -> str:
    """Abbreviate the home folder of a path to ~."""
    from pathlib import Path

    try:
        return str(Path("~") / Path(path).relative_to(Path.home()))
    except (ValueError, RuntimeError):
        return path


def print_quirks(
    chosen: Sequence[quirks.Quirk],
    found: Sequence[quirks.Found],
    missing: dict[str, str],
    console: Console,
    *,
    whole: bool = False,
) -> None:
    """Print quirks, as a table or in full, and the outcomes of those that were run.

    Parameters
    ----------
    chosen : sequence of Quirk
    found : sequence of Found
        Empty if no script was run.
    missing : dict
        Reason why a framework was left out, by name.
    console : rich.console.Console
    whole : bool
        Whether to print scripts and outcomes.

    Examples
    --------
    >>> print_quirks(quirks.select(["int8-wraps"]), [], {}, Console(width=100))
    framework id         kind             what a user would not expect
    numpy     int8-wraps integer overflow np.convolve sums int8 in int8, and wraps around without a warning
    torch     int8-wraps integer overflow int8 is summed in int8, and wraps around
    jax       int8-wraps integer overflow int8 is summed in int8, and wraps around
    """
    outcomes = {(f.quirk.framework, f.quirk.id): f for f in found}
    if whole:
        for q in chosen:
            _print_quirk(q, console)
    else:
        columns = ["framework", "id", "kind", "what a user would not expect", *["here"] * bool(found)]
        table = Table(*columns, box=None, pad_edge=False, header_style="bold", collapse_padding=True)
        for q in chosen:
            here = outcomes.get((q.framework, q.id))
            verdict = Text("not run") if here is None else COMPARED[here.changed]
            table.add_row(q.framework, q.id, q.kind, Text(q.title), *[verdict] * bool(found))
        console.print(table)
    for f in found:
        if f.changed:
            console.print(Text(f"\n{f.describe()}", "bold red"), soft_wrap=True)
    for name, reason in missing.items():
        console.print(Text(f"\n{name} was left out: {reason}"), soft_wrap=True)
    if found:
        changed = sum(f.changed for f in found)
        console.print(f"\n{len(found)} scripts were run: {len(found) - changed} as measured, {changed} changed.")


def _print_quirk(q: quirks.Quirk, console: Console) -> None:
    console.rule(Text(f"{q.framework} {q.version}: {q.title}", "bold"), align="left")
    console.print(Text(f"{q.id}, {q.kind}\n"))
    print_script(q.script, console)
    lines = {"Expected": q.expected, "Actual": q.comes, "Why": q.why, "Upstream": q.link}
    for name, line in lines.items():
        if line:
            console.print(Text(f"{name}: {line}"), soft_wrap=True)
    console.print(Text(f"Instead: {q.multiconv.describe()}\n"), soft_wrap=True)
    console.print(Text(f"{q.outcome}\n"), soft_wrap=True)
