"""``multiconv quirks``, ``known``, ``capabilities``, ``properties`` and ``dispatch``."""

from __future__ import annotations

from typing import Any

import click

from multiconv.cli.options import (
    canonical,
    check_writable,
    complete_backend,
    dtypes_option,
    json_option,
    markdown_option,
    seed_option,
    write,
    write_json,
)
from multiconv.core.targets import plain_name


def _complete_quirk(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from multiconv.survey.quirks import catalogue

    return sorted({quirk.id for quirk in catalogue() if quirk.id.startswith(incomplete)})


@click.command(short_help="Show surprising behaviour of the frameworks.")
@click.argument("ids", metavar="[ID]...", nargs=-1, shell_complete=_complete_quirk)
@click.option("--framework", metavar="NAME", help="Show only this framework, such as torch or torch@2.5.1.")
@click.option("--run/--no-run", default=False, help="Run the scripts and compare; by default, only show.")
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
    """Show surprising behaviour of the frameworks. With --run, test whether it is still there.

    With an ID, show the whole quirk: its script, the expected and the actual output, and what multiconv does instead.

    Exit status: 0 no quirk has changed, 1 a quirk has changed, 2 bad usage, 3 a named framework is not available.
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


@click.command(short_help="Test which features each backend supports.")
@click.argument("names", metavar="[BACKEND]...", nargs=-1, shell_complete=complete_backend)
@click.option(
    "--dtype",
    "dtypes",
    metavar="DTYPE",
    multiple=True,
    type=click.Choice(["float16", "bfloat16", "float32", "float64", "int8", "int32", "complex64"]),
    default=("float32", "float64"),
    help="Dtype; repeatable, default float32 and float64.",
)
@json_option
@markdown_option
def capabilities(
    names: tuple[str, ...], dtypes: tuple[str, ...], json_file: str | None, markdown_file: str | None
) -> None:
    """Test which features each backend supports natively, by a composed call, or not at all.

    BACKEND is a name such as torch, a version such as torch@2.5.1, or torch@/path/to/python. The default is all
    installed backends. The dtypes are float16, bfloat16, float32, float64, int8, int32 and complex64.

    Exit status: 0 tested, 2 bad usage, 3 a named backend is not available.
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


@click.command(short_help="Measure each backend's numerical behaviour.")
@click.argument("names", metavar="[BACKEND]...", nargs=-1, shell_complete=complete_backend)
@json_option
@markdown_option
def properties(names: tuple[str, ...], json_file: str | None, markdown_file: str | None) -> None:
    """Measure numerical behaviour: repeats, batches, threads, compilation, NaN and subnormal numbers. Takes minutes.

    BACKEND is a name such as torch, a version such as torch@2.5.1, or torch@/path/to/python. The default is all
    installed backends.

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


@click.command(short_help="List which kernels of the libraries compute a convolution.")
@click.argument("names", metavar="[BACKEND]...", nargs=-1, shell_complete=complete_backend)
@click.option(
    "--examples", metavar="N", type=click.IntRange(0), default=200, show_default=True, help="Draw N problems."
)
@click.option(
    "--search", metavar="N", type=click.IntRange(0), default=0, show_default=True, help="Search N more at random."
)
@seed_option
@dtypes_option
@click.option("--no-layers", "layers", is_flag=True, default=True, flag_value=False, help="Leave out the layer sets.")
@json_option
@markdown_option
def dispatch(
    names: tuple[str, ...],
    examples: int,
    search: int,
    seed: int,
    dtypes: tuple[str, ...],
    layers: bool,
    json_file: str | None,
    markdown_file: str | None,
) -> None:
    """List which kernels of the libraries compute the check's problems and the layer sets. Takes minutes.

    The table has each kernel that was heard to run, in how many problems, and the smallest of them, which was run
    again. The share of the kernels that the check reaches follows: of those that compute the layer sets, and the
    problems of a random search, which are wider than the check's.

    DTYPE is float16, bfloat16, float32 or float64, and may be repeated. The layer sets use the first.

    BACKEND is a name such as torch, a version such as torch@2.5.1, or torch@/path/to/python. The default is all that
    are installed.

    Exit status: 0 listed, 2 bad usage, 3 a named backend is not available.
    """
    from multiconv.cli import report
    from multiconv.cli.console import Console
    from multiconv.survey import dispatch_pages as pages
    from multiconv.survey.dispatch import dispatch as listen

    names = canonical(names)
    check_writable(json_file)
    check_writable(markdown_file, "--markdown")
    with report.progress_bars(Console(err=True)) as progress:
        found = listen(
            names,
            examples=examples,
            search=search,
            seed=seed,
            dtypes=list(dict.fromkeys(dtypes)),
            layers=layers,
            progress=progress,
        )
    write_json(json_file, report.as_json(found.asdict()))
    if markdown_file is not None:
        write(markdown_file, pages.markdown(found))
    pages.print_dispatch(found, Console(err=json_file == "-"))
