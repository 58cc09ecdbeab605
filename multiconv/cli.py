"""How people run it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from multiconv.errors import BackendUnavailable

UNAVAILABLE = 3
INTERRUPTED = 130


class Group(click.Group):
    """A group whose commands end with the same exit statuses for the same things."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, and turn what it can't have into an exit status."""
        try:
            return super().invoke(ctx)
        except BackendUnavailable as error:
            click.echo(f"multiconv: {error}", err=True)
            ctx.exit(UNAVAILABLE)
        except KeyboardInterrupt:
            click.echo("multiconv: interrupted", err=True)
            ctx.exit(INTERRUPTED)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="multiconv")
def main() -> None:
    """One convolution interface over NumPy, PyTorch, JAX, TensorFlow and MXNet, with proof where they agree."""


@main.command()
@click.argument("names", metavar="[BACKEND]...", nargs=-1)
@click.option(
    "--examples", metavar="N", type=click.IntRange(0), default=200, show_default=True, help="How many problems to draw."
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
    type=click.Choice(["float32", "float64"]),
    default=("float32", "float64"),
    help="What to draw them in; may be given twice. By default both; layers of networks are then in float32.",
)
@click.option(
    "--timeout", metavar="SECONDS", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True,
    help="How long an answer may take.",
)  # fmt: skip
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    help="Write the report to FILE too; with - to standard output, and nothing else there.",
)
@click.pass_context
def check(
    ctx: click.Context,
    names: tuple[str, ...],
    examples: int,
    seed: int,
    dtypes: tuple[str, ...],
    timeout: float,
    json_file: str | None,
) -> None:
    """Check that backends compute what they should: forward, gradients, transposed, layers.

    BACKEND is a name such as torch, a version such as torch@2.5.1, or torch@/path/to/python. By default all that can
    be had.

    Exit status: 0 all agree, 1 a disagreement, 2 bad usage, 3 a backend that was named can't be had.
    """
    from multiconv import report
    from multiconv.check import check as run

    _check_names(names)
    _check_writable(json_file)
    with report.check_progress(_console(err=True)) as progress:
        found = run(
            names, examples=examples, seed=seed, dtypes=list(dict.fromkeys(dtypes)), timeout=timeout, progress=progress
        )
    report.print_check(found, _console(err=json_file == "-"))
    _write_json(json_file, report.as_json(found.asdict()))
    ctx.exit(0 if found.agrees else 1)


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


def _check_writable(json_file: str | None) -> None:
    """Before minutes of work, not after."""
    if json_file is None or json_file == "-":
        return
    path = Path(json_file)
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise click.UsageError(f"--json: {json_file!r} can't be written to")


def _write_json(json_file: str | None, text: str) -> None:
    if json_file == "-":
        click.echo(text)
    elif json_file is not None:
        Path(json_file).write_text(text + "\n")


if __name__ == "__main__":
    main()
