"""``multiconv quirks``, ``known``, ``capabilities`` and ``properties``."""

from __future__ import annotations

from typing import Any

import click

from multiconv.cli.options import (
    canonical,
    check_writable,
    complete_backend,
    json_option,
    markdown_option,
    write,
    write_json,
)
from multiconv.core.targets import plain_name


def _complete_quirk(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from multiconv.survey.quirks import catalogue

    return sorted({quirk.id for quirk in catalogue() if quirk.id.startswith(incomplete)})


@click.command(short_help="Show what frameworks do that a user would not expect.")
@click.argument("ids", metavar="[ID]...", nargs=-1, shell_complete=_complete_quirk)
@click.option("--framework", metavar="NAME", help="Only this framework; with --run, a version such as torch@2.5.1.")
@click.option("--run/--no-run", default=False, help="Run the scripts and compare; default only show them.")
@json_option
@markdown_option
@click.pass_context
def quirks(
    ctx: click.Context,
    ids: tuple[str, ...],
    framework: str | None,
    run: bool,
    json_file: str | None,
    markdown_file: str | None,
) -> None:
    """Show what the frameworks do that a user would not expect, and whether they still do.

    With an ID, show the whole quirk: its script, the expected and the actual output, and what multiconv does.

    Exit status: 0 as the catalogue says, 1 a quirk has changed, 2 bad usage, 3 a named framework is not available.
    """
    from multiconv.cli import report
    from multiconv.cli.console import Console
    from multiconv.survey import quirks as catalogue

    if framework is not None:
        (framework,) = canonical((framework,))
    check_writable(json_file)
    chosen = catalogue.select(ids, framework and plain_name(framework))
    check_writable(markdown_file, "--markdown")
    if markdown_file is not None:
        write(markdown_file, catalogue.as_markdown(chosen))
    found: list[Any] = []
    missing: dict[str, str] = {}
    if run:
        places, missing = catalogue.locate(chosen, framework, optional=not ids)
        with report.progress_bars(Console(err=True)) as progress:
            found = catalogue.run([q for q in chosen if q.framework in places], places, progress)
    write_json(json_file, report.as_json(catalogue.as_dict(chosen, found, missing)))
    report.print_quirks(chosen, found, missing, Console(err=json_file == "-"), whole=bool(ids))
    ctx.exit(1 if any(f.changed for f in found) else 0)


def _complete_fault(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from multiconv.survey.known_catalogue import catalogue

    faults = [fault.id for fault in catalogue() if fault.id.startswith(incomplete)]
    return faults + complete_backend(ctx, param, incomplete)


@click.command(short_help="Try public faults of convolutions.")
@click.argument("names", metavar="[ID or BACKEND]...", nargs=-1, shell_complete=_complete_fault)
@click.option("--framework", "frameworks", metavar="NAME", multiple=True, help="The same as BACKEND. Repeatable.")
@click.option("--run/--no-run", default=False, help="Try the faults here; default only show them.")
@click.option("--catalogue", "file", metavar="TOML", help="Read the faults of this file instead. It may hold code.")
@json_option
@markdown_option
@click.pass_context
def known(
    ctx: click.Context,
    names: tuple[str, ...],
    frameworks: tuple[str, ...],
    run: bool,
    file: str | None,
    json_file: str | None,
    markdown_file: str | None,
) -> None:
    """Show public faults of convolutions, and whether they show here.

    ID is a fault, such as pytorch-18948: it is shown whole. BACKEND is a name such as torch, or with --run a version
    such as torch@2.5.1: only the faults of its framework, and of projects that multiconv has no backend for.

    Exit status: 0 as the catalogue says, 1 a fault has changed or multiconv is wrong, 2 bad usage, 3 a named backend is
    not available.
    """
    from multiconv.cli import report
    from multiconv.cli.console import Console
    from multiconv.survey import known_catalogue as catalogue
    from multiconv.survey import known_pages as pages
    from multiconv.survey import known_runs as runs

    faults = catalogue.load(file) if file is not None else catalogue.catalogue()
    ids, others = catalogue.ids_and_backends(names, faults)
    backends = canonical((*others, *frameworks))
    for name in backends:
        if not run and name != plain_name(name):
            raise click.UsageError(f"{name} names a place to try the faults in, which needs --run")
    check_writable(json_file)
    check_writable(markdown_file, "--markdown")
    chosen = catalogue.select(ids, faults)
    if not ids:
        chosen = runs.concerned(chosen, backends)
    if markdown_file is not None:
        write(markdown_file, pages.as_markdown(chosen))
    tried: list[Any] = []
    missing: dict[str, str] = {}
    if run:
        places, missing = runs.locate(backends)
        with report.progress_bars(Console(err=True)) as progress:
            tried = runs.run(chosen, places, progress)
    write_json(json_file, report.as_json(pages.as_dict(chosen, tried, missing)))
    pages.print_known(chosen, tried, missing, Console(err=json_file == "-"), whole=bool(ids))
    ctx.exit(1 if any(t.changed or t.wrong for t in tried) else 0)


@click.command(short_help="Try what each backend can do.")
@click.argument("names", metavar="[BACKEND]...", nargs=-1, shell_complete=complete_backend)
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    type=click.Choice(["float16", "bfloat16", "float32", "float64", "int8", "int32", "complex64"]),
    default=("float32", "float64"),
    help="Repeatable; default float32 and float64.",
)
@json_option
@markdown_option
def capabilities(
    names: tuple[str, ...], dtypes: tuple[str, ...], json_file: str | None, markdown_file: str | None
) -> None:
    """Try what each backend can do: natively, by a composed call, or not at all.

    BACKEND is a name such as torch, a version such as torch@2.5.1, or torch@/path/to/python. The default is all that
    are installed.

    Exit status: 0 tried, 2 bad usage, 3 a named backend is not available.
    """
    from multiconv.cli import report
    from multiconv.cli.console import Console
    from multiconv.survey import capability_pages as pages
    from multiconv.survey.capabilities import capabilities as try_each

    names = canonical(names)
    check_writable(json_file)
    check_writable(markdown_file, "--markdown")
    with report.progress_bars(Console(err=True)) as progress:
        found = try_each(names, dtypes=list(dict.fromkeys(dtypes)), progress=progress)
    write_json(json_file, report.as_json(found.asdict()))
    if markdown_file is not None:
        write(markdown_file, pages.markdown(found))
    pages.print_capabilities(found, Console(err=json_file == "-"))


@click.command(short_help="Measure how each backend computes.")
@click.argument("names", metavar="[BACKEND]...", nargs=-1, shell_complete=complete_backend)
@json_option
@markdown_option
def properties(names: tuple[str, ...], json_file: str | None, markdown_file: str | None) -> None:
    """Measure how each backend computes: repeats, batches, threads, compilation, NaN, subnormal numbers. Takes minutes.

    BACKEND is a name such as torch, a version such as torch@2.5.1, or torch@/path/to/python. The default is all that
    are installed.

    Exit status: 0 measured, 2 bad usage, 3 a named backend is not available.
    """
    from multiconv.cli import report
    from multiconv.cli.console import Console
    from multiconv.survey import property_pages as pages
    from multiconv.survey.properties import properties as measure

    names = canonical(names)
    check_writable(json_file)
    check_writable(markdown_file, "--markdown")
    with report.progress_bars(Console(err=True)) as progress:
        found = measure(names, progress=progress)
    write_json(json_file, report.as_json(found.asdict()))
    if markdown_file is not None:
        write(markdown_file, pages.markdown(found))
    pages.print_properties(found, Console(err=json_file == "-"))
