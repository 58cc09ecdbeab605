"""``multiconv lesson`` and ``multiconv describe-kernel``."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from multiconv.cli.options import canonical, check_writable, json_option, write_json
from multiconv.core.targets import plain_name


def _complete_lesson(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from multiconv.lessons.run import lessons

    return [lesson.name for lesson in lessons() if lesson.name.startswith(incomplete)]


@click.group(short_help="List, run and export the lessons.")
def lesson() -> None:
    """List, run and export the lessons: every example of d2l's chapter on convolution, in five frameworks."""


_lesson_backends = click.option(
    "--backend", "names", metavar="BACKEND", multiple=True, help="Run on this backend; repeatable, default all."
)
_mnist_option = click.option(
    "--mnist",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Read the digits from MNIST's files in DIR.",
)


@lesson.command("list")
def lesson_list() -> None:
    """List the lessons."""
    from multiconv.cli.console import Console
    from multiconv.lessons.report import print_lessons
    from multiconv.lessons.run import lessons

    print_lessons(lessons(), Console())


@lesson.command("run", short_help="Run a lesson, and say whether the frameworks agree.")
@click.argument("name", shell_complete=_complete_lesson)
@_lesson_backends
@_mnist_option
@click.pass_context
def lesson_run(ctx: click.Context, name: str, names: tuple[str, ...], mnist: Path | None) -> None:
    """Run a lesson, show its text, code and output, and say whether the frameworks agree.

    Without --backend, it runs on all installed backends and shows the code for NumPy.

    Exit status: 0 all agree, 1 a disagreement or a failure, 2 bad usage, 3 a named backend is not available.
    """
    from rich.text import Text

    from multiconv.cli.console import Console
    from multiconv.lessons import run as lessons
    from multiconv.lessons.report import print_lesson

    chosen = _lesson(name)
    names = canonical(names)
    for backend in names:
        _check_has_lessons(backend)
    backends = list(dict.fromkeys(names)) or lessons.available()
    console, notes = Console(), Console(err=True)
    doing = Text(f"running {name} in {', '.join(backends)}")
    with notes.status(doing) if notes.is_terminal else nullcontext():
        tabs = lessons.run([chosen], backends, mnist=mnist)[name]
    compared = lessons.comparisons(chosen, tabs)
    print_lesson(chosen, tabs, list(names) or backends[:1], compared, console)
    wrong = any(c.fault for c in compared) or any(tab.error for tab in tabs.values())
    ctx.exit(int(wrong))


@lesson.command("export", short_help="Write a lesson as a Jupyter notebook.")
@click.argument("name", shell_complete=_complete_lesson)
@click.option(
    "--backend", metavar="BACKEND", default="numpy", show_default=True, help="Write the code for this backend."
)
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the notebook to FILE.",
)
@_mnist_option
@click.option("--force", is_flag=True, help="Overwrite digits.npz even if it has other digits.")
def lesson_export(name: str, backend: str, file: Path, mnist: Path | None, force: bool) -> None:
    """Write a lesson as a Jupyter notebook. If it reads digits, also write digits.npz into the same folder."""
    from multiconv.lessons.notebooks import export

    chosen = _lesson(name)
    (backend,) = canonical((backend,))
    _check_has_lessons(backend)
    check_writable(str(file), "--output")
    for written in export(chosen, backend, file, mnist, force=force):
        click.echo(f"wrote {written}", err=True)


@click.command("describe-kernel", short_help="Describe what a kernel does.")
@click.argument("text", metavar="KERNEL")
@json_option
def describe_kernel(text: str, json_file: str | None) -> None:
    """Describe what a kernel does: its frequencies, derivatives and smoothing, and how it is built.

    KERNEL is a list of numbers or of rows, such as "[[-1,0,1],[-2,0,2],[-1,0,1]]". A number may be a fraction, 1/9.
    """
    from rich.table import Table

    from multiconv.cli import report
    from multiconv.cli.console import Console
    from multiconv.lessons import kernels

    check_writable(json_file)
    described = kernels.describe(kernels.parse(text))
    table = Table(box=None, pad_edge=False, show_header=False, collapse_padding=True)
    for row in kernels.table(described):
        table.add_row(*row)
    console = Console(err=json_file == "-")
    write_json(json_file, report.as_json({"schema": 1, **described.asdict()}))
    console.print(described.sentence, soft_wrap=True)
    console.print(table)


def _lesson(name: str) -> Any:
    from multiconv.lessons import run as lessons

    return lessons.lesson(name)


def _check_has_lessons(backend: str) -> None:
    from multiconv.lessons import run as lessons

    if plain_name(backend) not in lessons.BACKENDS:
        raise click.UsageError(f"there are no lessons for {backend!r}, only for {', '.join(lessons.BACKENDS)}")
