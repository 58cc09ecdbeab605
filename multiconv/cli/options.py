"""Code that the commands share: options, consoles, and validation of arguments."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from multiconv.core.errors import BackendError, BackendUnavailable, UsageError
from multiconv.core.targets import parse_target

Command = TypeVar("Command", bound=Callable[..., Any])
FAILED = 1
UNAVAILABLE = 3
INTERRUPTED = 130
EXTRAS = {"matplotlib": "lessons", "nbformat": "lessons", "sklearn": "lessons", "pyperf": "bench"}
"""The extra that installs each optional module."""


class Group(click.Group):
    """A group of commands that reports each multiconv error as one sentence and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except BackendUnavailable as error:
            click.echo(f"multiconv: {error}", err=True)
            ctx.exit(UNAVAILABLE)
        except UsageError as error:
            raise click.UsageError(str(error)) from None
        except BackendError as error:
            click.echo(f"multiconv: {error}", err=True)
            ctx.exit(FAILED)
        except ModuleNotFoundError as error:
            if error.name not in EXTRAS:
                raise
            click.echo(f"multiconv: this needs {error.name}: pip install 'multiconv[{EXTRAS[error.name]}]'", err=True)
            ctx.exit(UNAVAILABLE)
        except KeyboardInterrupt:
            click.echo("multiconv: interrupted", err=True)
            ctx.exit(INTERRUPTED)


json_option = click.option(
    "--json", "json_file", metavar="FILE", help="Also write JSON to FILE; - writes it to standard output, alone."
)
markdown_option = click.option("--markdown", "markdown_file", metavar="FILE", help="Also write a page to FILE.")


def open_console(*, err: bool = False) -> Any:
    """Return a rich console.

    If it is not a terminal, it is as wide as a line needs, so that a log has no folded paths.
    """
    from rich.console import Console

    console = Console(stderr=err, highlight=False)
    return console if console.is_terminal else Console(stderr=err, highlight=False, width=200)


def complete_backend(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the backends whose names begin so, for completion in a shell."""
    from multiconv import registry

    return [name for name in registry.names() if name.startswith(incomplete)]


def canonical(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of backends as multiconv spells them, each once.

    Raises
    ------
    UsageError
        If a name is not that of a backend.
    """
    from multiconv import registry

    found = []
    for name in names:
        target = parse_target(name)
        if target.backend not in registry.names():
            raise registry.unknown_backend(target.backend or target.function)
        found.append(target.name)
    return tuple(dict.fromkeys(found))


def check_writable(file: str | None, option: str = "--json") -> None:
    """Raise a usage error if a file can't be written: before minutes of work, not after."""
    if file is None or file == "-":
        return
    path = Path(file)
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise click.UsageError(f"{option}: {file!r} can't be written to")


def write_json(json_file: str | None, text: str) -> None:
    """Write JSON to a file, or to standard output if the file is ``-``."""
    if json_file == "-":
        click.echo(text)
    elif json_file is not None:
        Path(json_file).write_text(text + "\n")
