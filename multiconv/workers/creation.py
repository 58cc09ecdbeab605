"""Create the Python environment of a backend: a venv, what pip installs into it, and a first import."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from multiconv.core.errors import BackendUnavailable, UsageError, suggestion
from multiconv.workers.environments import (
    MARKER,
    Announce,
    Environment,
    delete,
    directory,
    find,
    ignore,
    locked,
    parse_name,
    python_variable,
    root,
)
from multiconv.workers.interpreters import clean_environment, interpreters, none_found
from multiconv.workers.recipes import RECIPES, Recipe

TAIL = 15
IMPORT_TIMEOUT = 300.0

# --no-user, because a configured --user is an error in a venv.
PIP_INSTALL = ("-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-user")
STDERR = 2


def create(name: str, *, progress: Announce = ignore, cuda: bool = False, show_pip: bool = False) -> Environment:
    """Create an environment, unless it exists already.

    If two processes ask for the same environment, the second waits for the first. If the creation fails or is
    interrupted, nothing is left behind.

    Parameters
    ----------
    name : str
        ``"mxnet"``, or ``"torch@2.5.1"``.
    progress : callable, optional
        Called with a message about each step.
    cuda : bool
        Whether to install the build with CUDA, which takes gigabytes. The default is the one for the CPU, where there
        is one.
    show_pip : bool
        Whether pip writes to standard error what it does, with a progress bar if that is a terminal.

    Returns
    -------
    Environment

    Raises
    ------
    UsageError
        If the name is invalid, if there is no build with CUDA, or if the environment exists without it.
    BackendUnavailable
        If multiconv can't create it. The message has the end of pip's output, and what to try.

    Examples
    --------
    >>> create("mxnet", progress=print).version  # doctest: +SKIP
    making an environment in /home/ada/.local/share/multiconv/environments/mxnet with /usr/bin/python3.11
    installing mxnet==1.9.1 numpy==1.23.5
    importing mxnet
    '1.9.1'
    >>> create("torch@latest")
    Traceback (most recent call last):
    multiconv.UsageError: 'torch@latest' is not the name of an environment: a version follows the @, as in torch@2.13.0
    """
    backend, asked = parse_name(name)
    if backend not in RECIPES:
        raise UsageError(
            f"multiconv can't create an environment for {backend!r}{suggestion(backend, RECIPES)}: "
            f"it can make those of {', '.join(RECIPES)}"
        )
    recipe = RECIPES[backend]
    requirements_of = recipe.cuda if cuda else recipe.requirements
    if requirements_of is None:
        raise UsageError(f"multiconv does not know of a build of {backend} with CUDA")
    requirements = requirements_of(asked or recipe.version)
    found = _finished(name, cuda)
    if found is not None:
        return found
    try:
        with locked(name, progress) as lock:
            # The previous holder of the lock may have created it.
            return _finished(name, cuda) or _make(name, backend, requirements, lock, progress, cuda, show_pip)
    except OSError as error:
        raise BackendUnavailable(
            f"the environment {name} can't be made in {root()}: {error}; "
            f"MULTICONV_HOME can name another directory for environments"
        ) from error


def _finished(name: str, cuda: bool) -> Environment | None:
    found = find(name)
    if found is not None and cuda and not found.cuda:
        raise UsageError(f"the environment {name} exists, without CUDA; first: multiconv env remove {name}")
    return found


# ---- The steps of a creation


def _make(
    name: str,
    backend: str,
    requirements: list[str],
    lock: int,
    progress: Announce,
    cuda: bool,
    show_pip: bool,
) -> Environment:
    recipe = RECIPES[backend]
    base = next(interpreters(recipe.pythons), None)
    if base is None:
        raise BackendUnavailable(none_found(backend, recipe.pythons))
    path = directory(name)
    python = path / "bin" / "python"
    other_pythons = f"another Python ({', '.join(recipe.pythons)}) in MULTICONV_BASE_PYTHON"
    delete(path)
    try:
        progress(f"making an environment in {path} with {base}")
        _step(
            [base, "-I", "-m", "venv", path],
            lock,
            f"{base} could not create the environment {name} in {path}. Try {other_pythons}",
        )
        if requirements:
            progress(f"installing {' '.join(requirements)}")
            _step(
                [python, *PIP_INSTALL, *requirements] if show_pip else [python, *PIP_INSTALL, "--quiet", *requirements],
                lock,
                f"pip could not install {' '.join(requirements)} for {name}. If the network failed, try again, or "
                f"PIP_INDEX_URL for a mirror; else another version, or {other_pythons}",
                shown=show_pip,
            )
        progress(f"importing {recipe.module}")
        _step(
            [python, "-I", "-c", f"import {recipe.module}"],
            lock,
            f"{recipe.module} can't be imported where {' '.join(requirements)} was installed for {name}. "
            f"Try another version, {other_pythons}, or a Python of your own in {python_variable(backend)}",
            timeout=IMPORT_TIMEOUT,
        )
        environment = Environment(name, backend, _installed(path, recipe), python, path, cuda)
        _mark(environment, requirements)
    except BaseException:
        with suppress(OSError):
            delete(path)
        raise
    return environment


def _mark(environment: Environment, requirements: list[str]) -> None:
    """Mark the environment as finished, in one atomic step."""
    (site,) = _site_packages(environment.path)
    marker = {
        "backend": environment.backend,
        "version": environment.version,
        "requirements": requirements,
        "cuda": environment.cuda,
        "python": site.parent.name.removeprefix("python"),
    }
    draft = environment.path / f"{MARKER}.draft"
    draft.write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
    draft.replace(environment.path / MARKER)


def _site_packages(path: Path) -> list[Path]:
    return list(path.glob("lib/python*/site-packages"))


def _installed(path: Path, recipe: Recipe) -> str:
    """Return the version of the framework in an environment, from the metadata that pip wrote."""
    places = [str(site) for site in _site_packages(path)]
    for name in recipe.distributions:
        for distribution in importlib.metadata.distributions(name=name, path=places):
            return distribution.version
    raise BackendUnavailable(
        f"pip installed none of {', '.join(recipe.distributions)} into {path}: "
        f"see `pip config list` for a setting such as target or prefix that sends packages elsewhere"
    )


def _step(
    command: Sequence[str | Path], lock: int, failure: str, timeout: float | None = None, *, shown: bool = False
) -> None:
    """Run a program to its end, or raise an error that says how it failed. If `shown`, it writes to standard error."""
    # The program inherits the lock, so that it stays locked while it writes even if this process is killed.
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=STDERR if shown else subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=clean_environment(),
        pass_fds=[lock],
        start_new_session=True,
    ) as child:
        try:
            output, _ = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            _end(child)
            output = (child.communicate()[0] or "") + f"\nstopped after {timeout:g} s"
        except BaseException:
            _end(child)
            raise
    if child.returncode:
        lines = [line for line in (output or "see the output above").splitlines() if line.strip()][-TAIL:]
        raise BackendUnavailable("\n".join([f"{failure}. It ended with:", *lines]))


def _end(child: subprocess.Popen[str]) -> None:
    """End a program and all that it started: first like Ctrl-C, so that pip can clean up, then by force."""
    for number, patience in ((signal.SIGINT, 5), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(patience)
