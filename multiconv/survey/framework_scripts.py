"""Run scripts in a framework's own API, without multiconv: each in its own process, on a CPU.

The framework is imported once in its own Python; a process is then forked for each script, so that a script may crash.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from multiconv import registry
from multiconv.core.errors import BackendCrashed
from multiconv.core.types import Progress, no_progress
from multiconv.running import available

if TYPE_CHECKING:
    from rich.console import Console

SCRIPT_TIMEOUT = 60
SHOWN_STDERR = 2000
# Imported once, before a process is forked for each script: an import takes longer than a script.
MODULES = {"torch": ["torch"], "jax": ["jax", "flax.nnx"], "tensorflow": ["tensorflow"], "mxnet": ["mxnet"]}
KEPT_VARIABLES = ("PATH", "TMPDIR", "LD_LIBRARY_PATH")
ON_CPU = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}


@dataclass(frozen=True)
class Ended:
    """How a script ended.

    Attributes
    ----------
    outcome : str
        Its output. If an exception or a signal ended it, the last line says which.
    stderr : str
        The end of its standard error.
    """

    outcome: str
    stderr: str


def run_scripts(
    framework: str, scripts: Mapping[str, str], place: registry.Place, progress: Progress = no_progress
) -> Iterator[tuple[str, Ended]]:
    """Run scripts of one framework, one after another, and yield each name with how the script ended.

    Raises
    ------
    BackendCrashed
        If the framework can't be imported.

    Examples
    --------
    >>> for name, ended in run_scripts("numpy", {"sum": "print(1 + 1)"}, registry.locate("numpy")):
    ...     print(name, ended.outcome)
    sum 2
    """
    task = {
        "modules": MODULES.get(framework, [framework]),
        "scripts": dict(scripts),
        "timeout": SCRIPT_TIMEOUT,
    }
    progress(framework, 0, len(scripts), "importing")
    variables = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    with (
        tempfile.TemporaryDirectory() as folder,
        as_file(files("multiconv.guest") / "run_scripts.py") as program,
        Path(folder, "stderr").open("w+b") as stderr,
        subprocess.Popen(
            [place.python, "-I", "-X", "faulthandler", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**variables, **ON_CPU, "HOME": folder},
            cwd=folder,
        ) as runner,
    ):
        questions, answers = cast("IO[str]", runner.stdin), cast("IO[str]", runner.stdout)
        try:
            with questions:
                json.dump(task, questions)
            for number, (name, line) in enumerate(zip(scripts, answers), 1):
                answer = json.loads(line)
                progress(framework, number, len(scripts), name)
                yield name, Ended(answer["outcome"], answer["stderr"])
        except BaseException:
            runner.kill()
            raise
        if runner.wait():
            stderr.seek(0)
            end = stderr.read().decode(errors="replace").strip()[-SHOWN_STDERR:]
            raise BackendCrashed(f"{framework} could not be asked in {place.python}; it wrote: {end}", stderr=end)


def locate_each(names: Iterable[str], *, optional: bool) -> tuple[dict[str, registry.Place], dict[str, str]]:
    """Find where each of the named backends is installed, and why some are not available.

    Parameters
    ----------
    names : iterable of str
        Named as for `multiconv.backend`, such as ``"torch@2.5.1"``.
    optional : bool
        Whether one of them may be missing.

    Returns
    -------
    places : dict
        Place of each backend, by name.
    missing : dict
        Reason why a backend is not available, by name.

    Raises
    ------
    BackendUnavailable
        If one is not available that must be, or if none is.

    Examples
    --------
    >>> places, missing = locate_each(["numpy"], optional=False)
    >>> places["numpy"].here, missing
    (True, {})
    """
    places, missing = available(names, registry.locate, required=not optional)
    return dict(places), {m.name: m.reason for m in missing}


def print_script(script: str, console: Console) -> None:
    """Print a script: in colour on a terminal, elsewhere as text that can be pasted.

    Examples
    --------
    >>> from rich.console import Console
    >>> print_script("print(1)", Console(width=80))
    print(1)
    """
    from rich.syntax import Syntax
    from rich.text import Text

    if console.is_terminal:
        console.print(Syntax(script, "python", background_color="default"))
    else:
        console.print(Text(script), soft_wrap=True)
