"""What the commands print and write: names of users as they are, no blanks at line ends, files before tables."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

NAME = "[/x]"  # to rich, the end of a style that was never begun
LAYER = ("--layer", "x=1,1,5,5 w=1,1,3,3", "--direction", "forward", "--rounds", "1", "--processes", "1")

CONVS = f"""
import multiconv

__version__ = {NAME!r}

def conv(x, w, bias, **options):
    return multiconv.backend("numpy").cross_correlate(x, w, bias, **options)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder ``[/x]``, with a Python and a function whose package has the version ``[/x]``."""
    found = tmp_path_factory.mktemp("names") / NAME
    package = found / "convs"
    package.mkdir(parents=True)
    python = found / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (package / "__init__.py").write_text(CONVS)
    environment = found / "environments" / "numpy"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(python)
    (environment / "multiconv.json").write_text(json.dumps({"backend": "numpy", "version": NAME}))
    return found


def multiconv(
    folder: Path,
    *arguments: str,
    stdout: int | IO[str] = subprocess.PIPE,
    cwd: Path | None = None,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run a command in which {} stands for the folder."""
    return subprocess.run(
        [sys.executable, "-m", "multiconv", *(argument.replace("{}", str(folder)) for argument in arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]),
            "MULTICONV_HOME": str(folder),
            "MULTICONV_NUMPY_PYTHON": str(folder / "python"),
            **environment,
        },
        cwd=cwd or folder,
        timeout=300,
    )


COMMANDS = [
    ("backends",),
    ("backends", "--probe"),
    ("env", "list"),
    ("check", "numpy@{}/python", "--examples", "0"),
    ("check", "--candidate", "convs:conv", "--examples", "2"),
    ("check", "--candidate", "{}/convs/__init__.py:conv", "--examples", "2"),
    ("bench", "numpy@{}/python", *LAYER, "--html", "{}/page.html"),
    ("bench", "numpy+NAME=[/x]", *LAYER, "--html", "{}/page.html"),
    ("capabilities", "numpy@{}/python", "--markdown", "{}/page.md"),
    ("properties", "numpy@{}/python", "--markdown", "{}/page.md"),
    ("dispatch", "numpy@{}/python", "--examples", "0", "--no-layers", "--markdown", "{}/page.md"),
    ("quirks", "--framework", "numpy", "--markdown", "{}/page.md"),
    ("quirks", "int8-wraps", "--framework", "numpy@{}/python", "--run"),
    ("known", "numpy-6316", "numpy@{}/python", "--run"),
    ("known", "numpy", "--markdown", "{}/page.md"),
    ("lesson", "list"),
    ("lesson", "run", "cross-correlation", "--backend", "numpy@{}/python"),
    ("lesson", "export", "cross-correlation", "-o", "{}/lesson.ipynb"),
    ("describe-kernel", "[[1/9,1/9,1/9],[1/9,1/9,1/9],[1/9,1/9,1/9]]"),
    ("identify", "numpy:negative", "in_channels=2"),
    ("explain", "x=1,4,9 w=4,2,3 stride=3 groups=2"),
]
NAMELESS = (
    "quirks",
    "known numpy ",
    "lesson list",
    "describe-kernel",
    "explain",
    "identify",
)  # what these print has no name of the user's in it


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_names_are_shown_as_they_are_no_line_ends_in_blanks_and_nothing_is_left(
    command: tuple[str, ...], folder: Path, tmp_path: Path
) -> None:
    ran = multiconv(folder, *command, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert (ran.returncode, re.findall("(?m)^.* $", ran.stdout + ran.stderr)) == (0, [])
    if not " ".join(command).startswith(NAMELESS):
        assert NAME in ran.stdout + ran.stderr


SLOW = {"properties", "--probe"}


@pytest.mark.parametrize("command", [c for c in COMMANDS if not SLOW & set(c)], ids=" ".join)
def test_names_are_shown_as_they_are_on_a_terminal(command: tuple[str, ...], folder: Path) -> None:
    ran = multiconv(folder, *command, FORCE_COLOR="1", COLUMNS="400")
    assert ran.returncode == 0, ran.stderr
    if not " ".join(command).startswith(NAMELESS):
        assert NAME in re.sub("\x1b\\[[0-9;]*m", "", ran.stdout + ran.stderr)


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if c[-1].startswith("{}/page") and not SLOW & set(c)], ids=" ".join
)
def test_files_are_written_before_the_table_is_printed(command: tuple[str, ...], folder: Path, tmp_path: Path) -> None:
    command = tuple(word.replace("{}/page", f"{tmp_path}/page") for word in command)
    with Path("/dev/full").open("w") as full:
        ran = multiconv(folder, *command, "--json", f"{tmp_path}/x.json", stdout=full)
    assert (ran.returncode, ran.stderr) == (1, "multiconv: No space left on device\n")
    assert json.loads((tmp_path / "x.json").read_text())
    assert Path(command[-1]).stat().st_size
