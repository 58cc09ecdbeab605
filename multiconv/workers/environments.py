"""Create, find and remove the Python environments of backends that can't be imported in this Python.

An environment is a venv in `home`. The command ``multiconv env create mxnet`` creates one; a name such as
``torch@2.5.1`` asks for a version other than the default. pip reads its usual configuration and ``PIP_*`` variables, so
mirrors and certificates work as usual. Three variables are multiconv's own:

- ``MULTICONV_HOME``: the directory of the environments;
- ``MULTICONV_BASE_PYTHON``: the Python to create them with, instead of the one that multiconv finds;
- ``MULTICONV_<BACKEND>_PYTHON``: an existing Python to run a backend in, instead of an environment created here.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from multiconv.core.errors import BackendUnavailable, UsageError, suggestion
from multiconv.core.targets import plain_name
from multiconv.workers.interpreters import clean_environment, full_path, interpreters, none_found
from multiconv.workers.recipes import RECIPES, Recipe

MARKER = "multiconv.json"
TAIL = 15
IMPORT_TIMEOUT = 300.0

# --no-user, because a configured --user is an error in a venv.
PIP_INSTALL = ("-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-user")
STDERR = 2

# Both are used as a directory name, and the version as an argument of pip: no odd characters, and not too long.
PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,60}")
VERSION = re.compile(
    r"(?=.{1,40}\Z)[0-9]+(\.[0-9]+)*((a|b|rc)[0-9]+)?(\.post[0-9]+)?(\.dev[0-9]+)?(\+[a-z0-9]+(\.[a-z0-9]+)*)?"
)

Announce = Callable[[str], None]


@dataclass(frozen=True)
class Environment:
    """A finished environment.

    Attributes
    ----------
    label : str
        The name that it was created by, which is also the name of its directory: ``"mxnet"`` or ``"torch@2.5.1"``.
    backend : str
    version : str
        The installed version of the framework.
    python, path : Path
        Its interpreter and its directory.
    cuda : bool
        Whether the build with CUDA was asked for.
    """

    label: str
    backend: str
    version: str
    python: Path
    path: Path
    cuda: bool = False

    def size(self) -> int:
        """Compute its size on disk in bytes, by a walk over all its files.

        Examples
        --------
        >>> create("mxnet").size() / 2**20  # doctest: +SKIP
        295.2
        """
        # POSIX counts blocks of 512 bytes, whatever the file system's own.
        return sum(file.lstat().st_blocks * 512 for file in self.path.rglob("*"))


def ignore(message: str) -> None:
    """Ignore a progress message.

    Examples
    --------
    >>> ignore("installing mxnet==1.9.1")
    """


# ---- Finding environments


def home() -> Path:
    """Return the directory of what multiconv creates: ``$MULTICONV_HOME``, else the user's data directory.

    Raises
    ------
    BackendUnavailable
        If the user has no home folder, as in some containers, and no variable names one.

    Examples
    --------
    >>> home()  # doctest: +SKIP
    PosixPath('/home/ada/.local/share/multiconv')
    """
    named = os.environ.get("MULTICONV_HOME")
    if named:
        return full_path(named)
    try:
        return Path(platformdirs.user_data_dir("multiconv")).expanduser()
    except RuntimeError:
        raise BackendUnavailable(
            "this user has no home folder for environments: set MULTICONV_HOME to a folder for them"
        ) from None


def find(name: str) -> Environment | None:
    """Return a finished environment, or None. This reads one small file.

    Parameters
    ----------
    name : str
        ``"mxnet"``, or ``"torch@2.5.1"``.

    Raises
    ------
    UsageError
        If that is not a valid name of an environment.

    Examples
    --------
    >>> find("torch@0.0.1") is None
    True
    """
    _parse(name)
    return _read(_directory(name))


def listing() -> list[Environment]:
    """Return all finished environments, sorted by name.

    Examples
    --------
    >>> [environment.label for environment in listing()]  # doctest: +SKIP
    ['mxnet', 'torch@2.5.1']
    """
    found = (_read(marker.parent) for marker in sorted(_root().glob(f"*/{MARKER}")))
    return [environment for environment in found if environment is not None]


def override(backend: str) -> Path | None:
    """Return the Python that ``MULTICONV_<BACKEND>_PYTHON`` names, or None.

    Raises
    ------
    BackendUnavailable
        If the variable is set, but not to an executable file.

    Examples
    --------
    >>> override("caffe") is None
    True
    """
    variable = _variable(backend)
    named = os.environ.get(variable)
    if not named:
        return None
    # Not resolved: a venv's python is a symlink, and its target does not know the venv.
    python = full_path(named)
    if not (python.is_file() and os.access(python, os.X_OK)):
        what = "does not exist" if not python.exists() else "is not an executable file"
        raise BackendUnavailable(
            f"{variable} is {named!r}, which {what}: set it to a Python that has {backend}, such as ~/env/bin/python, "
            f"or unset it"
        )
    return python


# ---- Creating and removing environments


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
    multiconv.UsageError: 'torch@latest' names no environment: the @ wants a version, as in torch@2.13.0
    """
    backend, asked = _parse(name)
    if backend not in RECIPES:
        raise UsageError(
            f"multiconv can't make an environment for {backend!r}{suggestion(backend, RECIPES)}: "
            f"it can for {', '.join(RECIPES)}"
        )
    recipe = RECIPES[backend]
    requirements_of = recipe.cuda if cuda else recipe.requirements
    if requirements_of is None:
        raise UsageError(f"multiconv knows no build of {backend} with CUDA")
    requirements = requirements_of(asked or recipe.version)
    found = _finished(name, cuda)
    if found is not None:
        return found
    try:
        with _locked(name, progress) as lock:
            # The previous holder of the lock may have created it.
            return _finished(name, cuda) or _make(name, backend, requirements, lock, progress, cuda, show_pip)
    except OSError as error:
        raise BackendUnavailable(
            f"the environment {name} can't be made in {_root()}: {error}; "
            f"MULTICONV_HOME can name another directory for environments"
        ) from error


def _finished(name: str, cuda: bool) -> Environment | None:
    found = find(name)
    if found is not None and cuda and not found.cuda:
        raise UsageError(f"the environment {name} exists, without CUDA; first: multiconv env remove {name}")
    return found


def remove(name: str, *, progress: Announce = ignore) -> Path:
    """Remove an environment, finished or not. Of a symbolic link, only the link is removed.

    Parameters
    ----------
    name : str
        ``"mxnet"``, or ``"torch@2.5.1"``.
    progress : callable, optional
        Called with a message about each step.

    Returns
    -------
    Path
        The directory that was removed.

    Raises
    ------
    BackendUnavailable
        If there is no environment of this name.

    Examples
    --------
    >>> remove("torch@2.5.1")  # doctest: +SKIP
    PosixPath('/home/ada/.local/share/multiconv/environments/torch@2.5.1')
    """
    _parse(name)
    path = _directory(name)
    if not (path.is_dir() or path.is_symlink()):
        made = ", ".join(environment.label for environment in listing()) or "none"
        raise BackendUnavailable(f"there is no environment {name} to remove in {_root()}; finished are: {made}")
    with _locked(name, progress):
        _delete(path)
    return path


# ---- Names and places


def _parse(name: str) -> tuple[str, str | None]:
    """Parse a name into the backend and the version, or None for the default version."""
    plain, at, version = name.partition("@")
    if not PLAIN.fullmatch(plain):
        raise UsageError(f"{name!r} names no environment; such as mxnet and torch@2.5.1 do")
    backend = plain_name(plain)
    if at and not VERSION.fullmatch(version):
        example = RECIPES[backend].version if backend in RECIPES else "1.2.3"
        raise UsageError(f"{name!r} names no environment: the @ wants a version, as in {backend}@{example}")
    return backend, version or None


def _root() -> Path:
    return home() / "environments"


def _directory(name: str) -> Path:
    return _root() / name


def _variable(backend: str) -> str:
    return f"MULTICONV_{backend.upper().replace('-', '_')}_PYTHON"


def _read(path: Path) -> Environment | None:
    """Return the environment in a directory if it was finished and the Python that it was created with still exists."""
    try:
        marker = json.loads((path / MARKER).read_text(encoding="utf-8"))
        python = path / "bin" / "python"
        backend, version = marker["backend"], marker["version"]
        environment = Environment(path.name, backend, version, python, path, marker.get("cuda", False))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return environment if environment.python.exists() else None


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


def _delete(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
        return
    # The marker is removed first, so that a half-removed environment counts as unfinished.
    (path / MARKER).unlink(missing_ok=True)
    if path.exists():
        shutil.rmtree(path)


@contextmanager
def _locked(name: str, progress: Announce) -> Iterator[int]:
    """Hold the lock on a name, and yield its file descriptor."""
    _root().mkdir(parents=True, exist_ok=True)
    with (_root() / f".{name}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"waiting for another process that is at work on {name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


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
    path = _directory(name)
    python = path / "bin" / "python"
    other_pythons = f"another Python ({', '.join(recipe.pythons)}) in MULTICONV_BASE_PYTHON"
    _delete(path)
    try:
        progress(f"making an environment in {path} with {base}")
        _step(
            [base, "-I", "-m", "venv", path],
            lock,
            f"{base} could make no environment for {name} in {path}. Try {other_pythons}",
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
            f"Try another version, {other_pythons}, or a Python of your own in {_variable(backend)}",
            timeout=IMPORT_TIMEOUT,
        )
        environment = Environment(name, backend, _installed(path, recipe), python, path, cuda)
        _mark(environment, requirements)
    except BaseException:
        with suppress(OSError):
            _delete(path)
        raise
    return environment


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
        lines = [line for line in (output or "what is written above").splitlines() if line.strip()][-TAIL:]
        raise BackendUnavailable("\n".join([f"{failure}. It ended with:", *lines]))


def _end(child: subprocess.Popen[str]) -> None:
    """End a program and all that it started: first like Ctrl-C, so that pip can clean up, then by force."""
    for number, patience in ((signal.SIGINT, 5), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(patience)


# ---- Finding Pythons
