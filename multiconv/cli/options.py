"""Code that the commands share: options, files to write, and validation of arguments."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable
from math import isnan
from pathlib import Path
from typing import Any, TypeVar

import click

from multiconv.core.errors import BackendError, BackendUnavailable, UsageError
from multiconv.core.files import naming
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
        except OSError as error:
            if error.errno == errno.EPIPE:  # click ends the command without a message
                raise
            named = f"{error.filename}: " if error.filename else ""
            click.echo(f"multiconv: {named}{error.strerror or error}", err=True)
            _give_up_output()
            ctx.exit(FAILED)
        except KeyboardInterrupt:
            click.echo("multiconv: interrupted", err=True)
            ctx.exit(INTERRUPTED)


def _give_up_output() -> None:
    """Discard output that can't be written. Python would otherwise try again at exit, and exit with 120."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Seconds(click.FloatRange):
    """A number of seconds above 0 and up to some days, because the operating system accepts no infinity."""

    def __init__(self) -> None:
        super().__init__(0, 1_000_000, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert the text that the user typed."""
        seconds = float(super().convert(value, param, ctx))
        if isnan(seconds):
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        return seconds


json_option = click.option(
    "--json", "json_file", metavar="FILE", help="Write JSON to FILE too; - writes only JSON to stdout."
)
seed_option = click.option(
    "--seed", metavar="N", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Random seed."
)
dtypes_option = click.option(
    "--dtype",
    "dtypes",
    metavar="DTYPE",
    multiple=True,
    type=click.Choice(["float16", "bfloat16", "float32", "float64"]),
    default=("float32", "float64"),
    help="Dtype of the arrays; default float32 and float64.",
)
markdown_option = click.option(
    "--markdown", "markdown_file", metavar="FILE", help="Also write a Markdown page to FILE."
)


def complete_backend(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the backends whose names begin with this text, for completion in a shell."""
    from multiconv import registry

    return [name for name in registry.names() if name.startswith(incomplete)]


def canonical(names: Iterable[str], *, variants: bool = False) -> tuple[str, ...]:
    """Return the names of backends without aliases and without repetitions.

    Raises
    ------
    UsageError
        If a name is not that of a backend, or if it is that of a variant, which not all commands can run.
    """
    from multiconv import registry

    found = []
    for name in names:
        target = parse_target(name)
        if target.backend not in registry.names():
            raise registry.unknown_backend(target.backend or target.function)
        if target.settings and not variants:
            raise UsageError(f"{name!r} is a variant, which only check and bench run: leave out what follows the +")
        found.append(target.label)
    return tuple(dict.fromkeys(found))


def check_writable(file: str | None, option: str = "--json") -> None:
    """Raise a usage error if a file can't be written, before minutes of work instead of after."""
    if file is None or file == "-":
        return
    path = Path(file)
    try:
        writable = not path.is_dir() and os.access(path if path.exists() else path.parent, os.W_OK)
    except OSError:  # such as a name that is too long
        writable = False
    if not writable:
        raise click.UsageError(f"{option}: {file!r} can't be written to")


def write_json(json_file: str | None, text: str) -> None:
    """Write JSON to a file, or to standard output if the file is ``-``."""
    if json_file == "-":
        click.echo(text)
    elif json_file is not None:
        write(json_file, text + "\n")


def write(file: str, content: str) -> None:
    """Write a file in UTF-8. Characters that are not valid, as in some file names, are escaped."""
    with naming(file):
        Path(file).write_text(content, encoding="utf-8", errors="backslashreplace")
