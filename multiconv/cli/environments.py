"""``multiconv backends`` and ``multiconv env``: the installed backends and their environments."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import click

from multiconv.cli.options import Group, check_writable, json_option, write_json


@click.command(short_help="List the backends and where each runs.")
@click.option("--probe", is_flag=True, help="Load each backend, and list its dtypes and devices.")
@json_option
def backends(probe: bool, json_file: str | None) -> None:
    """List the backends, with the version of each, where it runs, and how to install a missing one.

    This does not load any backend and takes less than a second. With --probe, each backend is loaded to test that it
    works.
    """
    from multiconv.cli import report
    from multiconv.cli.console import Console
    from multiconv.registry import backends as listed

    check_writable(json_file)
    console = Console(err=True)
    waiting = probe and console.is_terminal
    with console.status("Asking each backend ...") if waiting else nullcontext():
        infos = listed(probe=probe)
    write_json(json_file, report.as_json({"schema": 1, "backends": [info.asdict() for info in infos]}))
    report.print_backends(infos, Console(err=json_file == "-"))


@click.group(cls=Group, short_help="Create, list and remove environments.")
def env() -> None:
    """Create, list and remove environments for backends that can't be imported here."""


@env.command("create")
@click.argument("name", metavar="BACKEND[@VERSION]")
@click.option("--cuda", is_flag=True, help="Install the CUDA build, for NVIDIA GPUs (gigabytes).")
def create_environment(name: str, cuda: bool) -> None:
    """Create the environment of a backend, such as mxnet or torch@2.5.1.

    The default is the CPU build where there is one: torch's comes from torch's own index, the others from PyPI.
    """
    from multiconv.workers.creation import create

    with _signals_exit():
        made = create(name, progress=lambda text: click.echo(text, err=True), cuda=cuda, show_pip=sys.stderr.isatty())
    click.echo(f"{made.backend} {made.version} in {made.python}, {made.size() / 1e6:.0f} MB on disk")


@contextmanager
def _signals_exit() -> Iterator[None]:
    """Let a signal that ends this process raise SystemExit, so that no partial environment and no child is left."""

    def leave(number: int, frame: object) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)  # a second signal would interrupt the clean-up
        raise SystemExit(128 + number)

    ends = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    before = {number: signal.getsignal(number) for number in ends if signal.getsignal(number) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@env.command("list")
@json_option
def list_environments(json_file: str | None) -> None:
    """List the environments."""
    from rich.table import Table

    from multiconv.cli import report
    from multiconv.cli.console import Console
    from multiconv.workers import environments

    check_writable(json_file)
    found = environments.listing()
    rows = [
        {"name": e.label, "backend": e.backend, "version": e.version, "python": str(e.python), "bytes": e.size()}
        for e in found
    ]
    write_json(json_file, report.as_json({"schema": 1, "environments": rows}))
    if not found:
        where = f"There are no environments in {environments.home()}. Create one with: multiconv env create mxnet"
        click.echo(where, err=json_file == "-")
        return
    table = Table("environment", "version", "python", "size", box=None, pad_edge=False, header_style="bold")
    for e in found:
        table.add_row(e.label, e.version, str(e.python), f"{e.size() / 1e6:.0f} MB")
    Console(err=json_file == "-").print(table)


@env.command("remove")
@click.argument("name", metavar="BACKEND[@VERSION]")
def remove_environment(name: str) -> None:
    """Remove an environment."""
    from multiconv.workers import environments

    click.echo(f"removed {environments.remove(name)}")
