"""Show known faults: a table for a terminal, docs/known.md, and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

from multiconv.survey.framework_scripts import print_script
from multiconv.survey.known import VERDICTS, Fault
from multiconv.survey.known_runs import Tried

if TYPE_CHECKING:
    from rich.console import Console

COLOURS = {"as reported": "yellow", "right": "green", "refused": "green"}
HEADING = """# Known faults of convolutions

Public reports of convolutions that some project computed wrongly, refused or crashed on. Each is a problem of small
integers, so that the right result is exact. The value here is the report's own, or was counted by hand from the
definition; a test holds that it is what multiconv's oracle computes. `multiconv known --run` tries all faults again and
says which have changed; `multiconv known --run torch@2.5.1` tries another version. This page is written by
`multiconv known --markdown FILE`.

What a report says of its versions and devices is repeated here, and not checked. "Here" is a CPU with AVX-512, with
"""
WORDS = """
- **as reported**: the fault shows here. **right**: the exact result. **refused**: an exception, which is right where
  the arguments are not a convolution. **other wrong**, **crashes**: something else than reported.
- multiconv **is right**: the oracle confirms the answer of every backend that has the dtype. It **refuses**: it raises
  the same error on every backend, before the framework is called.
"""


def as_dict(faults: Sequence[Fault], tried: Sequence[Tried], missing: dict[str, str]) -> dict[str, Any]:
    """Return a dictionary for JSON: each fault, and what came of it here if it was tried.

    Examples
    --------
    >>> from multiconv.survey.known_catalogue import select
    >>> as_dict(select(["numpy-20090"]), [], {})["faults"][0]["source"]
    'numpy#20090'
    """
    came = {t.fault.id: t for t in tried}
    rows = []
    for fault in faults:
        row = asdict(fault)
        here = came.get(fault.id)
        if here is not None:
            row["tried"] = {
                "changed": here.changed,
                "here": {name: asdict(outcome) for name, outcome in here.here.items()},
                "multiconv": {name: asdict(handled) for name, handled in here.multiconv.items()},
            }
        rows.append(row)
    return {"schema": 1, "faults": rows, "missing": missing}


def as_markdown(faults: Sequence[Fault]) -> str:
    """Return the catalogue as a Markdown page.

    Examples
    --------
    >>> from multiconv.survey.known_catalogue import catalogue
    >>> as_markdown(catalogue()).splitlines()[0]
    '# Known faults of convolutions'
    """
    versions = {f.framework: f.version for f in faults if f.framework}
    lines = [f"{HEADING}{', '.join(f'{name} {version}' for name, version in versions.items())}.", WORDS]
    lines += ["| fault | reported | here | multiconv |", "|---|---|---|---|"]
    lines += [f"| [{f.source}]({f.link}) | {_cell(f.title)} | {f.here or '-'} | {f.multiconv.does} |" for f in faults]
    for framework, group in groupby(faults, lambda f: f.framework):
        lines += ["", f"## {framework or 'Other projects'}"]
        for fault in group:
            lines += _section(fault)
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _section(f: Fault) -> Iterator[str]:
    yield from ("", f"### {f.title}", "", f"`{f.id}`: [{f.source}]({f.link}), {f.date}", "")
    yield from (f"- {name}: {line}" for name, line in _facts(f).items())
    if f.script:
        yield from ("", "```python", f.whole_script.rstrip(), "```")


def _facts(f: Fault) -> dict[str, str]:
    problem = f"{f.direction}, x {_shape(f.x.shape)}, w {_shape(f.w.shape)}"
    if f.dy is not None:
        problem += f", dy {_shape(f.dy.shape)}"
    options = "".join(f", {name}={value}" for name, value in f.options.items())
    return {
        "Problem": f"{problem}, {f.dtype}{options}",
        "Reported for": f"{f.versions}; {f.device}",
        "Reported": f.seen,
        "Right": f"{'an error: ' * f.right.error}{f.right.how}",
        "Here": f.here or "multiconv has no backend for this project; the problem is run on those that it has",
        "multiconv": f.multiconv.describe().removeprefix("multiconv "),
    }


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def print_known(
    faults: Sequence[Fault],
    tried: Sequence[Tried],
    missing: dict[str, str],
    console: Console,
    *,
    whole: bool = False,
) -> None:
    """Print faults, as a table or in full, and what came of those that were tried.

    Parameters
    ----------
    faults : sequence of Fault
    tried : sequence of Tried
        Empty if none was tried.
    missing : dict
        Reason why a backend was left out, by name.
    console : rich.console.Console
    whole : bool
        Whether to print problems and scripts.

    Examples
    --------
    >>> from rich.console import Console
    >>> from multiconv.survey.known_catalogue import select
    >>> print_known(select(["numpy-6316"]), [], {}, Console(width=100))
    fault      date       what was reported
    numpy-6316 2015-09-15 np.convolve(x, w, "same") is as long as the longer of the two, not as x
    """
    from rich.table import Table
    from rich.text import Text

    if whole:
        for fault in faults:
            _print_fault(fault, console)
    if tried or not whole:
        columns = ["fault", "here", "multiconv"] if tried else ["fault", "date", "what was reported"]
        table = Table(*columns, box=None, pad_edge=False, header_style="bold", collapse_padding=True)
        for t in tried:
            table.add_row(t.fault.id, _verdicts(t), Text(_handled(t), "bold red" if t.wrong else ""))
        for fault in [] if tried else faults:
            table.add_row(fault.id, fault.date, Text(fault.title))
        console.print(table)
    for t in tried:
        for line in t.describe():
            console.print(Text(f"\n{line}", "bold red"), soft_wrap=True)
    for name, reason in missing.items():
        console.print(Text(f"\n{name} was left out: {reason}"), soft_wrap=True)
    if tried:
        console.print(Text(f"\n{summary(tried)}"), soft_wrap=True)


def summary(tried: Sequence[Tried]) -> str:
    """Return the counts of a run in a few sentences.

    Examples
    --------
    >>> from multiconv.survey.known_catalogue import select
    >>> from multiconv.survey.known_runs import Handled, Here
    >>> here, handled = {"numpy": Here("2.4.6", "as reported", "")}, {"numpy": Handled("refuses", "...")}
    >>> summary([Tried(select(["numpy-20090"])[0], here, handled)])
    '1 fault was tried. Scripts: 1 as reported, 0 right, 0 other wrong, 0 crashes, 0 refused; 0 changed. multiconv: 0
    right, 1 refused, 0 wrong.'
    """
    scripts = Counter(here.verdict for t in tried for here in t.here.values())
    counted = ", ".join(f"{scripts[verdict]} {verdict}" for verdict in VERDICTS)
    handled = Counter(h.verdict for t in tried for h in t.multiconv.values())
    wrong = handled.total() - handled["right"] - handled["refuses"]
    were = "1 fault was" if len(tried) == 1 else f"{len(tried)} faults were"
    return (
        f"{were} tried. Scripts: {counted}; {sum(t.changed for t in tried)} changed. "
        f"multiconv: {handled['right']} right, {handled['refuses']} refused, {wrong} wrong."
    )


def _verdicts(tried: Tried) -> Any:
    from rich.text import Text

    if not tried.here:
        return Text("no such framework here" if not tried.fault.framework else "not run", "dim")
    words = [f"{here.verdict} ({name} {here.version})" for name, here in tried.here.items()]
    (verdict, *others) = {here.verdict for here in tried.here.values()}
    return Text("; ".join(words), "" if others else COLOURS.get(verdict, "bold red"))


def _handled(tried: Tried) -> str:
    """Return what multiconv did, such as ``"right on numpy, jax; refuses on mxnet"``."""
    if not tried.multiconv:
        return tried.fault.multiconv.does
    names: dict[str, list[str]] = {}
    for name, handled in tried.multiconv.items():
        names.setdefault(handled.verdict, []).append(name)
    return "; ".join(f"{verdict} on {', '.join(on)}" for verdict, on in names.items())


def _print_fault(f: Fault, console: Console) -> None:
    from rich.text import Text

    console.rule(Text(f"{f.source}, {f.date}: {f.title}", "bold"), align="left")
    console.print(Text(f"{f.id}, {f.link}\n"), soft_wrap=True)
    for name, line in _facts(f).items():
        console.print(Text(f"{name}: {line}"), soft_wrap=True)
    if f.script:
        print_script(f"\n{f.whole_script}", console)
