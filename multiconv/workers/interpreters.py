"""Find the Python interpreters on this machine that an environment can be created with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from multiconv.core.errors import BackendUnavailable

# These would expose this Python's packages or standard library to another Python.
LEAKS = ("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__")
PROBE_TIMEOUT = 60.0


def interpreters(minors: Sequence[str]) -> Iterator[Path]:
    """Find the Pythons on this machine that an environment can be created with, the best first.

    The order is: ``$MULTICONV_BASE_PYTHON``, and no other if it is set; the running one; then, for each minor version,
    those on PATH, of pyenv, of uv, and in the usual directories. Each has been run, and its version is confirmed.

    Parameters
    ----------
    minors : sequence of str
        The supported minor versions, the best first, such as ``("3.11", "3.10")``.

    Raises
    ------
    BackendUnavailable
        If ``$MULTICONV_BASE_PYTHON`` is set, but is not suitable.

    Examples
    --------
    >>> next(interpreters(["3.11"]))  # doctest: +SKIP
    PosixPath('/usr/bin/python3.11')
    """
    named = os.environ.get("MULTICONV_BASE_PYTHON")
    if named:
        python = Path(shutil.which(os.path.expanduser(named)) or named)
        why = unfit(python, minors)
        if why is not None:
            raise BackendUnavailable(
                f"MULTICONV_BASE_PYTHON is {named!r}, which {why}: "
                f"set it to a Python {' or '.join(minors)}, or unset it"
            )
        yield python
        return
    yield from (python for python in _candidates(minors) if unfit(python, minors) is None)


PROBE = """
import sys
print(sys.implementation.name, ".".join(map(str, sys.version_info[:2])), flush=True)
import venv, ensurepip
"""


def _candidates(minors: Sequence[str]) -> Iterator[Path]:
    """Yield every Python that may be suitable, once."""
    running = getattr(sys, "_base_executable", None) or sys.executable
    paths = [Path(running)] if running else []
    usual = [Path("/usr/bin"), Path("/usr/local/bin"), Path("/opt/homebrew/bin")]
    for minor in minors:
        places = [*map(Path, os.get_exec_path()), *_pyenv(minor), *_uv(minor), *usual]
        paths += [place / f"python{minor}" for place in places if place.is_absolute()]
    seen = set()
    for path in paths:
        with suppress(OSError):  # a folder on PATH that can't be read
            if path.exists() and path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def _pyenv(minor: str) -> list[Path]:
    root = Path(os.path.expanduser(os.environ.get("PYENV_ROOT") or "~/.pyenv"))
    return _newest_first(root / "versions", f"{minor}.*/bin")


def _uv(minor: str) -> list[Path]:
    root = Path(os.path.expanduser(os.environ.get("UV_PYTHON_INSTALL_DIR") or "~/.local/share/uv/python"))
    return _newest_first(root, f"cpython-{minor}.*/bin")


def _newest_first(root: Path, pattern: str) -> list[Path]:
    def numbers(path: Path) -> list[int]:
        return [int(n) for n in re.findall("[0-9]+", path.parent.name)]

    return sorted(root.glob(pattern), key=numbers, reverse=True)


def unfit(python: Path, minors: Sequence[str]) -> str | None:
    """Return why no environment can be created with a Python, as the end of a sentence, or None if one can."""
    try:
        probed = subprocess.run(
            [python, "-I", "-c", PROBE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=clean_environment(),
            timeout=PROBE_TIMEOUT,
            check=False,
        )
    except OSError as error:
        return f"can't be run ({error.strerror or error})"
    except subprocess.TimeoutExpired:
        return f"did not answer within {PROBE_TIMEOUT:g} s"
    implementation, _, minor = probed.stdout.strip().partition(" ")
    if not minor:
        said = probed.stderr.strip().splitlines()[:1] or ["it printed nothing"]
        return f"does not run ({said[0]})"
    if implementation != "cpython" or minor not in minors:
        return f"is {implementation.replace('cpython', 'Python')} {minor}"
    if probed.returncode:
        return f"lacks venv or ensurepip (on Debian and Ubuntu: apt install python{minor}-venv)"
    return None


def none_found(backend: str, minors: Sequence[str]) -> str:
    """Return the message for a backend that no Python found here can run, with why each is unfit."""
    found = [f"{python} {unfit(python, minors)}" for python in _candidates(minors)]
    return (
        f"an environment for {backend} needs Python {' or '.join(minors)}, and none was found "
        f"({'; '.join(found) or 'there is no Python at all'}). Install one, such as by `uv python install {minors[0]}` "
        f"or `pyenv install {minors[0]}`, or name one: MULTICONV_BASE_PYTHON=/path/to/python{minors[0]}"
    )


def full_path(text: str) -> Path:
    """Return an absolute path; a leading ~ stands for the home folder.

    Raises
    ------
    BackendUnavailable
        If there is no such home folder.

    Examples
    --------
    >>> full_path("/a/python")
    PosixPath('/a/python')
    """
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise BackendUnavailable(f"{text!r} names a home folder that can't be found: give the whole path") from None


def clean_environment() -> dict[str, str]:
    """Return this process's environment variables without those that would leak its packages to another Python."""
    return {name: value for name, value in os.environ.items() if name not in LEAKS}
