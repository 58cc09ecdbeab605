"""Find and remove the Python environments of backends that can't be imported in this Python.

An environment is a venv in `home`. The command ``multiconv env create mxnet`` creates one; a name such as
``torch@2.5.1`` asks for a version other than the default. pip reads its usual configuration and ``PIP_*`` variables, so
mirrors and certificates work as usual. Three variables are multiconv's own:

- ``MULTICONV_HOME``: the directory of the environments;
- ``MULTICONV_BASE_PYTHON``: the Python to create them with, instead of the one that multiconv finds;
- ``MULTICONV_<BACKEND>_PYTHON``: an existing Python to run a backend in, instead of an environment created here.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from multiconv.core.errors import BackendUnavailable, UsageError
from multiconv.core.targets import plain_name
from multiconv.workers.interpreters import full_path
from multiconv.workers.recipes import RECIPES

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
    parse_name(name)
    return _read(directory(name))


def listing() -> list[Environment]:
    """Return all finished environments, sorted by name.

    Examples
    --------
    >>> [environment.label for environment in listing()]  # doctest: +SKIP
    ['mxnet', 'torch@2.5.1']
    """
    found = (_read(marker.parent) for marker in sorted(root().glob(f"*/{MARKER}")))
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
    variable = python_variable(backend)
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


# ---- Removing environments


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
    parse_name(name)
    path = directory(name)
    if not (path.is_dir() or path.is_symlink()):
        made = ", ".join(environment.label for environment in listing()) or "none"
        raise BackendUnavailable(f"there is no environment {name} to remove in {root()}; the finished ones are: {made}")
    with locked(name, progress):
        delete(path)
    return path


# ---- Names and places


def parse_name(name: str) -> tuple[str, str | None]:
    """Parse a name into the backend and the version, or None for the default version.

    Raises
    ------
    UsageError
        If that is not a valid name of an environment.

    Examples
    --------
    >>> parse_name("torch@2.5.1")
    ('torch', '2.5.1')
    """
    plain, at, version = name.partition("@")
    if not PLAIN.fullmatch(plain):
        raise UsageError(f"{name!r} is not the name of an environment: names are such as mxnet and torch@2.5.1")
    backend = plain_name(plain)
    if at and not VERSION.fullmatch(version):
        example = RECIPES[backend].version if backend in RECIPES else "1.2.3"
        raise UsageError(
            f"{name!r} is not the name of an environment: a version follows the @, as in {backend}@{example}"
        )
    return backend, version or None


def root() -> Path:
    """Return the directory of all environments.

    Examples
    --------
    >>> root().name
    'environments'
    """
    return home() / "environments"


def directory(name: str) -> Path:
    """Return the directory of an environment.

    Examples
    --------
    >>> directory("torch@2.5.1").name
    'torch@2.5.1'
    """
    return root() / name


def python_variable(backend: str) -> str:
    """Return the name of the variable that names an existing Python to run a backend in.

    Examples
    --------
    >>> python_variable("mxnet")
    'MULTICONV_MXNET_PYTHON'
    """
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


def delete(path: Path) -> None:
    """Delete an environment, finished or not. Of a symbolic link, only the link is deleted."""
    if path.is_symlink():
        path.unlink()
        return
    # The marker is removed first, so that a half-removed environment counts as unfinished.
    (path / MARKER).unlink(missing_ok=True)
    if path.exists():
        shutil.rmtree(path)


@contextmanager
def locked(name: str, progress: Announce) -> Iterator[int]:
    """Hold the lock on a name, and yield its file descriptor."""
    root().mkdir(parents=True, exist_ok=True)
    with (root() / f".{name}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"waiting for another process that is at work on {name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()
