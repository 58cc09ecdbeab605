"""How people run it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from multiconv.errors import BackendUnavailable, ConvError
from multiconv.fast_bounds import ALGORITHMS
from multiconv.values import ALL_VALUES

Command = TypeVar("Command", bound=Callable[..., Any])

UNAVAILABLE = 3
INTERRUPTED = 130
LESSONS_NEED = ("matplotlib", "nbformat", "sklearn", "yaml")


class Group(click.Group):
    """A group whose commands end with the same exit statuses for the same things."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, and turn what it can't have into an exit status."""
        try:
            return super().invoke(ctx)
        except BackendUnavailable as error:
            click.echo(f"multiconv: {error}", err=True)
            ctx.exit(UNAVAILABLE)
        except ModuleNotFoundError as error:
            if error.name not in LESSONS_NEED:
                raise
            click.echo(f"multiconv: lessons need {error.name}: pip install 'multiconv[lessons]'", err=True)
            ctx.exit(UNAVAILABLE)
        except KeyboardInterrupt:
            click.echo("multiconv: interrupted", err=True)
            ctx.exit(INTERRUPTED)


def _json_option(what: str) -> Callable[[Command], Command]:
    """``--json FILE`` for a command that prints something for people too."""
    return click.option(
        "--json",
        "json_file",
        metavar="FILE",
        help=f"Write {what} to FILE too; with - to standard output, and nothing else there.",
    )


_markdown_option = click.option("--markdown", "markdown_file", metavar="FILE", help="Write it to FILE as a page too.")


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="multiconv")
def main() -> None:
    """One convolution interface over NumPy, PyTorch, JAX, TensorFlow and MXNet, with proof where they agree."""


@main.command()
@click.argument("names", metavar="[BACKEND]...", nargs=-1)
@click.option(
    "--candidate",
    "candidates",
    metavar="MODULE:FUNCTION",
    multiple=True,
    help="Check this function f(x, w, bias, *, stride, padding, dilation, groups), found as Python would import it "
    "from here; may be given more than once. Backends are then checked only if they are named.",
)
@click.option(
    "--examples",
    metavar="N",
    type=click.IntRange(0),
    help="Number of problems to draw; 200 by default, 400 for a candidate.",
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="What to draw them from.",
)
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    type=click.Choice(["float16", "bfloat16", "float32", "float64"]),
    default=("float32", "float64"),
    help="What to draw them in; may be given more than once. By default float32 and float64. Layers of networks are in "
    "the first; a backend is asked about those that it has.",
)
@click.option(
    "--values",
    multiple=True,
    type=click.Choice(ALL_VALUES),
    help="Kind of values to draw them with; may be given more than once. By default all.",
)
@click.option(
    "--algorithm",
    type=click.Choice(ALGORITHMS),
    default="direct",
    show_default=True,
    help="How a candidate computes; an FFT or Winograd's algorithm is allowed the larger errors that it has.",
)
@click.option(
    "--timeout", metavar="SECONDS", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True,
    help="How long an answer may take.",
)  # fmt: skip
@_json_option("the report")
@click.pass_context
def check(
    ctx: click.Context,
    names: tuple[str, ...],
    candidates: tuple[str, ...],
    examples: int | None,
    seed: int,
    dtypes: tuple[str, ...],
    values: tuple[str, ...],
    algorithm: str,
    timeout: float,
    json_file: str | None,
) -> None:
    """Check that backends compute what they should: forward, gradients, transposed, layers.

    BACKEND is a name such as torch, a version such as torch@2.5.1, or torch@/path/to/python. By default all that can
    be had.

    Exit status: 0 all agree, 1 a disagreement, 2 bad usage, 3 a backend or candidate that was named can't be had.
    """
    from multiconv import report
    from multiconv.check import check as run

    _check_names(names)
    for candidate in candidates:
        if not all(candidate.partition(":")):
            raise click.UsageError(f"--candidate: it is named as package.module:function, not as {candidate!r}")
    _check_writable(json_file)
    with report.check_progress(_console(err=True)) as progress:
        found = run(
            names,
            candidates=candidates,
            examples=examples,
            seed=seed,
            dtypes=list(dict.fromkeys(dtypes)),
            values=values or None,
            algorithm=algorithm,
            timeout=timeout,
            progress=progress,
        )
    report.print_check(found, _console(err=json_file == "-"))
    _write_json(json_file, report.as_json(found.asdict()))
    ctx.exit(0 if found.agrees else 1)


@main.command()
@click.argument("names", metavar="[BACKEND]...", nargs=-1)
@click.option(
    "--set", "sets", metavar="SET", multiple=True, help="Time a set of layers; by default laptop. See --list."
)
@click.option(
    "--layer",
    "descriptors",
    metavar="LAYER",
    multiple=True,
    help="Time this layer: as benchdnn has it, mb1ic64ih56oc64oh56kh3ph1; in shapes, 'x=1,64,56,56 w=64,64,3,3 "
    "stride=1 padding=1'; or by name, 'resnet50 conv2_1/2'.",
)
@click.option("--list", "list_sets", is_flag=True, help="List the sets of layers and where they are from, and end.")
@click.option(
    "--direction",
    "directions",
    multiple=True,
    type=click.Choice(["forward", "input gradient", "kernel gradient"]),
    default=("forward", "input gradient", "kernel gradient"),
    help="By default all three, each alone.",
)
@click.option(
    "--batch", "batches", metavar="N", multiple=True, type=click.IntRange(1), help="By default the layer's own."
)
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    type=click.Choice(["float16", "bfloat16", "float32", "float64"]),
    default=("float32",),
    help="By default float32.",
)
@click.option("--threads", metavar="N", multiple=True, type=click.IntRange(1), help="By default one for each core.")
@click.option(
    "--layout",
    "layouts",
    multiple=True,
    type=click.Choice(["native", "interface"]),
    default=("native",),
    help="native, the default: arrays as the framework has them; interface: channels first through multiconv.",
)
@click.option(
    "--mode",
    "modes",
    multiple=True,
    type=click.Choice(["eager", "compiled", "xla"]),
    help="By default compiled for JAX, eager for the others; a backend is timed in those that it has.",
)
@click.option("--rounds", metavar="N", type=click.IntRange(1), default=5, show_default=True, help="In each process.")
@click.option("--processes", metavar="N", type=click.IntRange(1), default=2, show_default=True, help="Fresh ones.")
@click.option(
    "--relative-to", "reference", metavar="BACKEND", help="What to compare with; by default torch, or the first."
)
@click.option(
    "--seed", metavar="N", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of order and values."
)
@click.option(
    "--timeout", metavar="SECONDS", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True,
    help="How long a request to a worker may take.",
)  # fmt: skip
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    help="Write what pyperf reads to FILE; with - to standard output, and nothing else there.",
)
@click.option("--html", "html_file", metavar="FILE", help="Write a page with figures to FILE; it needs no network.")
@click.option(
    "--resume",
    "journal",
    metavar="FILE",
    help="Keep what is done in FILE, and don't measure again what it has.",
)
@click.pass_context
def bench(
    ctx: click.Context,
    /,
    names: tuple[str, ...],
    sets: tuple[str, ...],
    descriptors: tuple[str, ...],
    list_sets: bool,
    threads: tuple[int, ...],
    json_file: str | None,
    html_file: str | None,
    journal: str | None,
    **options: Any,
) -> None:
    """Time layers on backends, and say which is faster and whether the difference is real.

    BACKEND is as in check; numpy+OPENBLAS_CORETYPE=SkylakeX+algorithm=fast is a variant of one, with an environment
    variable and an option of its class. By default all that can be had.

    Exit status: 0 all that is supported was measured, 1 an answer was wrong or a backend failed, 2 bad usage, 3 a
    backend that was named can't be had.
    """
    from multiconv import bench_html, bench_report, layers, registry
    from multiconv.bench import bench as run
    from multiconv.bench_workers import parse_variant

    if list_sets:
        for name in layers.layer_sets():
            click.echo(f"{name}: {len(layers.layer_set(name).layers)} layers. {layers.layer_set(name).source}")
        return
    for option, file in (("--json", json_file), ("--html", html_file), ("--resume", journal)):
        _check_writable(file, option)
    try:
        variants = [parse_variant(name) for name in dict.fromkeys(names or registry.names())]
        _check_names(tuple(v.name for v in variants))
        wanted = [
            layer for name in sets or (() if descriptors else ("laptop",)) for layer in layers.layer_set(name).layers
        ]
        wanted += [layers.parse_layer(text) for text in descriptors]
        if options["reference"] not in (None, *(v.label for v in variants)):
            raise click.UsageError(f"--relative-to: {options['reference']!r} is none of the backends that are timed")
        with bench_report.bench_progress(_console(err=True)) as progress:
            report = run(
                variants,
                wanted,
                threads=threads or (len(os.sched_getaffinity(0)),),
                journal=None if journal is None else Path(journal),
                optional=not names,
                progress=progress,
                **options,
            )
    except ConvError as error:
        raise click.UsageError(str(error)) from None
    bench_report.print_bench(report, _console(err=json_file == "-"))
    if report.measured:
        _write_json(json_file, bench_report.as_pyperf_json(report))
    if html_file is not None:
        Path(html_file).write_text(bench_html.as_html(report), encoding="utf-8")
    ctx.exit(1 if report.failed else 0)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output, and nothing else there.")
def backends(as_json: bool) -> None:
    """List the backends: version, where each runs, dtypes, devices; how to get those that are missing."""
    from multiconv import report
    from multiconv.registry import backends as listed

    console = _console(err=True)
    with console.status("Asking each backend ...") if console.is_terminal else _nothing():
        infos = listed(probe=True)
    if as_json:
        click.echo(report.as_json({"schema": 1, "backends": [info.asdict() for info in infos]}))
    else:
        report.print_backends(infos, _console())


@main.group(cls=Group)
def env() -> None:
    """Environments of their own, for backends that can't be imported here."""


@env.command("create")
@click.argument("name", metavar="BACKEND[@VERSION]")
def create_environment(name: str) -> None:
    """Make the environment of a backend, such as mxnet or torch@2.5.1, if it is not there."""
    from multiconv import environments

    console = _console(err=True)
    status = console.status(f"Making the environment of {name} ...") if console.is_terminal else _nothing()
    with status as shown:
        made = environments.create(
            name, progress=shown.update if shown is not None else lambda text: click.echo(text, err=True)
        )
    click.echo(f"{made.backend} {made.version} in {made.python}")


@env.command("list")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def list_environments(as_json: bool) -> None:
    """List the environments."""
    from rich.table import Table

    from multiconv import environments, report

    found = environments.listing()
    if as_json:
        rows = [
            {"name": e.label, "backend": e.backend, "version": e.version, "python": str(e.python), "bytes": e.size()}
            for e in found
        ]
        click.echo(report.as_json({"schema": 1, "environments": rows}))
        return
    if not found:
        click.echo(f"There are none in {environments.home()}. Make one with: multiconv env create mxnet")
        return
    table = Table("environment", "version", "python", "size", box=None, pad_edge=False, header_style="bold")
    for e in found:
        table.add_row(e.label, e.version, str(e.python), f"{e.size() / 1e6:.0f} MB")
    _console().print(table)


@env.command("remove")
@click.argument("name", metavar="BACKEND[@VERSION]")
def remove_environment(name: str) -> None:
    """Remove an environment."""
    from multiconv import environments

    click.echo(f"removed {environments.remove(name)}")


@main.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--framework", metavar="NAME", help="Of this one only; a version, such as torch@2.5.1, to --run there.")
@click.option("--run/--no-run", default=False, help="Run the scripts and compare; by default only show them.")
@_json_option("the quirks")
@click.option("--markdown", is_flag=True, help="Print a page of docs, with all that is known of each.")
@click.pass_context
def quirks(
    ctx: click.Context, ids: tuple[str, ...], framework: str | None, run: bool, json_file: str | None, markdown: bool
) -> None:
    """Show what the frameworks themselves do that a user would not expect, and whether they still do.

    With an ID, the whole quirk: its script, what one would expect, what comes, and what multiconv does.

    Exit status: 0 as the catalogue says, 1 a quirk has changed, 2 bad usage, 3 a framework that was named can't be had.
    """
    from multiconv import quirks as catalogue
    from multiconv import report

    if framework is not None:
        _check_names((framework,))
    _check_writable(json_file)
    try:
        chosen = catalogue.select(ids, framework and framework.partition("@")[0])
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if markdown:
        click.echo(catalogue.as_markdown(chosen), nl=False)
        return
    found: list[Any] = []
    missing: dict[str, str] = {}
    if run:
        places, missing = catalogue.locate(chosen, framework, optional=not ids)
        with report.check_progress(_console(err=True)) as progress:
            found = catalogue.run([q for q in chosen if q.framework in places], places, progress)
    report.print_quirks(chosen, found, missing, _console(err=json_file == "-"), whole=bool(ids))
    _write_json(json_file, report.as_json(catalogue.as_dict(chosen, found, missing)))
    ctx.exit(1 if any(f.changed for f in found) else 0)


@main.command()
@click.argument("names", metavar="[BACKEND]...", nargs=-1)
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    type=click.Choice(["float16", "bfloat16", "float32", "float64", "int8", "int32", "complex64"]),
    default=("float32", "float64"),
    help="What to try; may be given several times. By default float32 and float64.",
)
@_json_option("the table")
@_markdown_option
def capabilities(
    names: tuple[str, ...], dtypes: tuple[str, ...], json_file: str | None, markdown_file: str | None
) -> None:
    """Try what each backend can do, and what of it is its framework's own call and what is composed.

    BACKEND is a name such as torch, a version such as torch@2.5.1, or torch@/path/to/python. By default all that can
    be had.

    Exit status: 0 tried, 2 bad usage, 3 a backend that was named can't be had.
    """
    from multiconv import capabilities as table
    from multiconv import report

    _check_names(names)
    _check_writable(json_file)
    _check_writable(markdown_file, "--markdown")
    with report.check_progress(_console(err=True)) as progress:
        found = table.capabilities(names, dtypes=list(dict.fromkeys(dtypes)), progress=progress)
    table.print_capabilities(found, _console(err=json_file == "-"))
    _write_json(json_file, report.as_json(found.asdict()))
    if markdown_file is not None:
        Path(markdown_file).write_text(table.markdown(found))


@main.command()
@click.argument("names", metavar="[BACKEND]...", nargs=-1)
@_json_option("what was measured")
@_markdown_option
def properties(names: tuple[str, ...], json_file: str | None, markdown_file: str | None) -> None:
    """Measure how each backend computes: repeats, batches, threads, compilation, NaN, subnormal numbers. Takes minutes.

    BACKEND is a name such as torch, a version such as torch@2.5.1, or torch@/path/to/python. By default all that can
    be had.

    Exit status: 0 measured, 2 bad usage, 3 a backend that was named can't be had.
    """
    from multiconv import properties as measured
    from multiconv import report

    _check_names(names)
    _check_writable(json_file)
    _check_writable(markdown_file, "--markdown")
    with report.check_progress(_console(err=True)) as progress:
        found = measured.properties(names, progress=progress)
    measured.print_properties(found, _console(err=json_file == "-"))
    _write_json(json_file, report.as_json(found.asdict()))
    if markdown_file is not None:
        Path(markdown_file).write_text(measured.markdown(found))


@main.group()
def lesson() -> None:
    """The lessons: every example of d2l's chapter on convolution, in five frameworks."""


_lesson_backends = click.option(
    "--backend", "names", metavar="BACKEND", multiple=True, help="May be given more than once; by default all."
)
_mnist_option = click.option(
    "--mnist",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Take the digits from MNIST's files in DIR, not scikit-learn's.",
)


@lesson.command("list")
def lesson_list() -> None:
    """Name the lessons."""
    from multiconv.lesson_report import print_lessons
    from multiconv.lessons import lessons

    print_lessons(lessons(), _console())


@lesson.command("run")
@click.argument("name")
@_lesson_backends
@_mnist_option
@click.pass_context
def lesson_run(ctx: click.Context, name: str, names: tuple[str, ...], mnist: Path | None) -> None:
    """Run a lesson, show its text, code and output, and say whether the frameworks agree.

    Without --backend it runs in all that can be had, and shows NumPy's code.

    Exit status: 0 all agree, 1 a disagreement or a failure, 2 bad usage, 3 a backend that was named can't be had.
    """
    from multiconv import lessons
    from multiconv.lesson_report import print_lesson

    of = _lesson(name)
    _check_names(names)
    for backend in names:
        _check_has_lessons(backend)
    backends = list(dict.fromkeys(names)) or lessons.available()
    console, notes = _console(), _console(err=True)
    with (
        _as_usage(),
        notes.status(f"running {name} in {', '.join(backends)}") if notes.is_terminal else _nothing(),
    ):
        tabs = lessons.run([of], backends, mnist=mnist)[name]
    compared = lessons.comparisons(of, tabs)
    print_lesson(of, tabs, list(names) or backends[:1], compared, console)
    wrong = any(c.fault for c in compared) or any(tab.error for tab in tabs.values())
    ctx.exit(int(wrong))


@lesson.command("export")
@click.argument("name")
@click.option("--backend", metavar="BACKEND", default="numpy", show_default=True, help="Whose code.")
@click.option("-o", "--output", "file", metavar="FILE", required=True, type=click.Path(dir_okay=False, path_type=Path))
@_mnist_option
def lesson_export(name: str, backend: str, file: Path, mnist: Path | None) -> None:
    """Write a lesson as a Jupyter notebook, with the digits beside it if it reads them."""
    from multiconv.notebooks import export

    of = _lesson(name)
    _check_names((backend,))
    _check_has_lessons(backend)
    _check_writable(str(file), "--output")
    with _as_usage():
        for written in export(of, backend, file, mnist):
            click.echo(f"wrote {written}", err=True)


@main.command("describe-kernel")
@click.argument("text", metavar="KERNEL")
@_json_option("the description")
def describe_kernel(text: str, json_file: str | None) -> None:
    """Say what a kernel does: what it passes, which derivative it takes, whether it smooths, how it is built.

    KERNEL is a list of numbers, or of rows of them, such as "[[-1,0,1],[-2,0,2],[-1,0,1]]"; 1/9 is a number too.
    """
    from rich.table import Table

    from multiconv import kernels, report

    _check_writable(json_file)
    with _as_usage():
        described = kernels.describe(kernels.parse(text))
    table = Table(box=None, pad_edge=False, show_header=False, collapse_padding=True)
    for row in kernels.table(described):
        table.add_row(*row)
    console = _console(err=json_file == "-")
    console.print(described.sentence, soft_wrap=True, markup=False)
    console.print(table)
    _write_json(json_file, report.as_json(described.asdict()))


def _lesson(name: str) -> Any:
    from multiconv import lessons

    with _as_usage():
        return lessons.lesson(name)


@contextmanager
def _as_usage() -> Iterator[None]:
    """What is wrong with the input is bad usage."""
    try:
        yield
    except ConvError as error:
        raise click.UsageError(str(error)) from None


def _check_has_lessons(backend: str) -> None:
    from multiconv import lessons

    if backend.partition("@")[0] not in lessons.BACKENDS:
        raise click.UsageError(f"there are no lessons in {backend!r}, but in {', '.join(lessons.BACKENDS)}")


def _console(*, err: bool = False) -> Any:
    """A rich console; as wide as a line needs where it is no terminal, so that no path is folded in a log."""
    from rich.console import Console

    console = Console(stderr=err, highlight=False)
    return console if console.is_terminal else Console(stderr=err, highlight=False, width=200)


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()


def _check_names(names: tuple[str, ...]) -> None:
    """A backend that doesn't exist is bad usage; one that can't be had is not."""
    from multiconv import registry

    known = registry.names()
    for name in names:
        if name.partition("@")[0] not in known:
            raise click.UsageError(f"there is no backend {name!r}: the backends are {', '.join(known)}")


def _check_writable(file: str | None, option: str = "--json") -> None:
    """Before minutes of work, not after."""
    if file is None or file == "-":
        return
    path = Path(file)
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise click.UsageError(f"{option}: {file!r} can't be written to")


def _write_json(json_file: str | None, text: str) -> None:
    if json_file == "-":
        click.echo(text)
    elif json_file is not None:
        Path(json_file).write_text(text + "\n")


if __name__ == "__main__":
    main()
