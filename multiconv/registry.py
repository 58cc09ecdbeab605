"""The registry of backends: which exist, where each runs, and how to install one. Backends are imported on demand.

A backend is an entry point of the group ``multiconv.backends``: its name, and ``"module:class"``. The project's own
five backends are found in the same way as third-party ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from multiconv.core.errors import BackendUnavailable, MulticonvError, UsageError, suggestion
from multiconv.core.options import with_options
from multiconv.core.targets import ORDER, parse_target, plain_name

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from multiconv.core.backend import Backend
    from multiconv.workers.remote import RemoteBackend

GROUP = "multiconv.backends"
_one_at_a_time = RLock()


@dataclass(frozen=True)
class BackendInfo:
    """A backend, as `backends` lists it.

    Attributes
    ----------
    name : str
    version : str or None
        The version of the framework.
    where : str or None
        ``"this process"`` or ``"worker"``; None if it is not available.
    python : str or None
        The path of the Python that it runs in.
    dtypes, devices : tuple of str or None
        The dtypes and devices that it supports; None if it was not probed.
    reason, install : str or None
        Why it is not available, and the command that installs it.
    """

    name: str
    version: str | None = None
    where: str | None = None
    python: str | None = None
    dtypes: tuple[str, ...] | None = None
    devices: tuple[str, ...] | None = None
    reason: str | None = None
    install: str | None = None

    def asdict(self) -> dict[str, Any]:
        """Convert to a dict, for JSON.

        Examples
        --------
        >>> BackendInfo("numpy", "2.4.6").asdict()["version"]
        '2.4.6'
        """
        return asdict(self)


@dataclass(frozen=True)
class Place:
    """Where a backend runs: a Python, and the framework's version there."""

    python: Path
    version: str | None
    here: bool


def names() -> list[str]:
    """Return the names of all backends, the project's own five first.

    Examples
    --------
    >>> names()[:2]
    ['numpy', 'torch']
    """
    found = _entry_points()
    return [n for n in ORDER if n in found] + sorted(set(found) - set(ORDER))


def backend(name: str, *, worker: bool = False, timeout: float | None = None, **options: Any) -> Backend:
    """Return a backend by name.

    It runs in this process if its framework can be imported here, else in a worker in an environment of its own
    (``multiconv env create``). Calls with the same arguments return the same object.

    Parameters
    ----------
    name : str
        ``"torch"``; ``"torch@2.5.1"``, a version in an environment of its own; or ``"torch@/path/to/python"``, an
        existing environment, which need not have multiconv. The variable ``MULTICONV_TORCH_PYTHON`` names an existing
        environment for plain ``"torch"``.
    worker : bool
        Whether to run it in a worker even if it could run in this process.
    timeout : float, optional
        Time limit for a call in a worker, in seconds; 300 by default.
    **options
        Arguments of the backend's own class, such as ``algorithm="im2col"`` for NumPy; only in this process.

    Returns
    -------
    Backend

    Raises
    ------
    BackendUnavailable
        If it is not available. The message says why, and what to type.
    UsageError
        If there is no backend of this name, or if the backend has no such option or value.

    Examples
    --------
    >>> backend("numpy").name
    'numpy'
    >>> backend("numpy", algorithm="im2col") is backend("numpy", algorithm="im2col")
    True
    >>> backend("caffe")
    Traceback (most recent call last):
    multiconv.UsageError: there is no backend 'caffe': the backends are numpy, torch, ...
    """
    if not isinstance(name, str):
        raise UsageError(f"the name of a backend must be a string such as 'torch', not {name!r}")
    if timeout is not None:
        from multiconv.workers.process import checked_timeout

        timeout = checked_timeout(timeout)
    target = parse_target(name)
    if target.environment:
        variable = next(iter(target.environment))
        raise UsageError(f"{variable} of {name!r} can't be set for this process: set it before Python starts")
    options = target.options | options
    place = locate(name)
    with _one_at_a_time:  # otherwise, several threads would each make one
        if place.here and not worker:
            return _in_process(plain_name(name), *sorted(options.items()))
        if options:
            raise BackendUnavailable(f"{name} would run in a worker, which takes no options: leave out {options}")
        return _in_worker(plain_name(name), place.python, timeout)


def new_worker(name: str, timeout: float | None = None, environment: dict[str, str] | None = None) -> RemoteBackend:
    """Start a backend in a worker of its own, which the caller closes.

    Parameters
    ----------
    name : str
        As in `backend`, or a variant: ``"numpy+algorithm=fast"``, with an option of the backend's class, or
        ``"torch+OMP_NUM_THREADS=1"``, with an environment variable.
    timeout
        As in `backend`.
    environment : dict, optional
        Environment variables to set there. Those of a variant come first.

    Raises
    ------
    BackendUnavailable, UsageError
        As in `backend`.

    Examples
    --------
    >>> numpy = new_worker("numpy")
    >>> numpy.devices()
    ['cpu']
    >>> numpy.close()
    """
    from multiconv.workers.process import TIMEOUT, Worker, source_places
    from multiconv.workers.remote import RemoteBackend

    target, python = parse_target(name), locate(name).python
    if not target.settings:
        return _worker(target.backend, python, timeout, environment)
    variables = (environment or {}) | target.environment
    seconds = TIMEOUT if timeout is None else timeout
    entry_point, service = _entry_points()[target.backend].value, "multiconv.guest.variant:service"
    places = source_places(entry_point) | source_places(service)
    arguments = [entry_point, json.dumps(target.options)]
    return RemoteBackend(Worker(target.label, service, places, python, seconds, variables, arguments=arguments))


def backends(*, probe: bool = False) -> list[BackendInfo]:
    """List all backends with their versions, and where each runs or why it is not available.

    Parameters
    ----------
    probe : bool
        Whether to start each in a worker, to check that it loads and to ask for its dtypes and devices. This takes
        seconds.

    Returns
    -------
    list of BackendInfo

    Examples
    --------
    >>> backends()[0].where
    'this process'
    """
    infos = [describe(name) for name in names()]
    if not probe:
        return infos
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(_probe, infos))


def describe(name: str) -> BackendInfo:
    """Describe one backend as `backends` lists it, without loading it.

    Examples
    --------
    >>> describe("numpy").where
    'this process'
    """
    try:
        place = locate(name)
    except BackendUnavailable as error:
        return BackendInfo(name, reason=str(error), install=install_command(name))
    return BackendInfo(name, place.version, "this process" if place.here else "worker", str(place.python))


def locate(name: str) -> Place:
    """Find where a backend runs, without loading it.

    Raises
    ------
    BackendUnavailable
        If it is not available.

    Examples
    --------
    >>> locate("numpy").here
    True
    """
    from multiconv.workers import environments
    from multiconv.workers.interpreters import full_path

    target = parse_target(name)
    plain, where, name = target.backend, target.place, target.name
    if plain not in _entry_points():
        raise unknown_backend(plain or target.function)
    if target.is_path:
        return _elsewhere(plain, full_path(where))
    if not where:
        named = environments.override(plain)
        if named is not None:
            return _elsewhere(plain, named)
    here = _version_here(plain)
    if here is not None and where in ("", here, here.partition("+")[0]):
        return Place(Path(sys.executable), here, here=True)
    environment = environments.find(name)
    if environment is not None:
        return Place(environment.python, environment.version, here=False)
    has = f"has {plain} {here}" if here else f"has no {plain}"
    raise BackendUnavailable(
        f"{name} is not available: this Python ({sys.executable}) {has}, and there is no environment for {name}; "
        f"install it with: {install_command(name)}"
    )


def unknown_backend(name: str) -> UsageError:
    """Return the error for a name that no backend has.

    Examples
    --------
    >>> str(unknown_backend("torhc"))
    "there is no backend 'torhc' (did you mean 'torch'?): the backends are numpy, torch, jax, tensorflow, mxnet"
    """
    return UsageError(f"there is no backend {name!r}{suggestion(name, names())}: the backends are {', '.join(names())}")


def install_command(name: str) -> str:
    """Return the command that installs a backend.

    Examples
    --------
    >>> install_command("mxnet")
    'multiconv env create mxnet'
    """
    from multiconv.workers.recipes import RECIPES

    target = parse_target(name)
    plain, wanted = target.backend, target.place
    if plain in RECIPES:
        return f"multiconv env create {name}"
    distribution = _entry_points()[plain].dist
    return f"pip install {distribution.name if distribution else plain}{'==' * bool(wanted)}{wanted}"


@lru_cache(maxsize=1)
def _entry_points() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {e.name: e for e in entry_points(group=GROUP)}


@cache
def _in_process(name: str, *options: tuple[str, Any]) -> Backend:
    try:
        loaded = _entry_points()[name].load()
        made: Backend = with_options(name, loaded, dict(options)) if options else loaded()
    except MulticonvError:
        raise
    except Exception as error:
        raise BackendUnavailable(
            f"{name} can't be loaded in {sys.executable}: {type(error).__name__}: {error}; "
            f"give it an environment of its own with: {install_command(name)}, or name one: {name}@/path/to/python"
        ) from error
    return made


@cache
def _in_worker(name: str, python: Path, timeout: float | None) -> RemoteBackend:
    return _worker(name, python, timeout)


def _worker(name: str, python: Path, timeout: float | None, environment: dict[str, str] | None = None) -> RemoteBackend:
    from multiconv.workers.process import TIMEOUT, Worker, source_places
    from multiconv.workers.remote import RemoteBackend

    target = _entry_points()[name].value
    seconds = TIMEOUT if timeout is None else timeout
    return RemoteBackend(Worker(name, target, source_places(target), python, seconds, environment))


def _probe(info: BackendInfo) -> BackendInfo:
    from dataclasses import replace

    if info.python is None:
        return info
    try:
        asked = _worker(info.name, Path(info.python), None)
    except BackendUnavailable as error:
        return BackendInfo(info.name, reason=str(error), install=install_command(info.name))
    try:
        return replace(info, version=asked.version, dtypes=asked.dtypes, devices=tuple(asked.devices()))
    finally:
        asked.close()


def _version_here(name: str) -> str | None:
    """Return the version of the framework in this Python, from its metadata, without importing it."""
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    from multiconv.workers.recipes import RECIPES

    recipe = RECIPES.get(name)
    if recipe is None:
        distribution = _entry_points()[name].dist
        return distribution.version if distribution is not None else None
    if find_spec(recipe.module) is None:
        return None
    for distribution_name in recipe.distributions:
        try:
            return version(distribution_name)
        except PackageNotFoundError:
            continue
    return None


OLDEST_WORKER = (3, 10)
"""The oldest Python that `multiconv.guest` runs in."""
VERSION_PROBE = """
import json, sys
found = []
if sys.version_info >= (3, 8):
    from importlib.metadata import PackageNotFoundError, version
    for name in json.loads(sys.argv[1]):
        try:
            found.append(version(name))
        except PackageNotFoundError:
            pass
print(json.dumps({"python": sys.version_info[:2], "versions": found}))
"""


def _elsewhere(name: str, python: Path) -> Place:
    """Find a backend in another Python, which is asked for the version without importing a framework."""
    from multiconv.workers.recipes import RECIPES

    recipe = RECIPES.get(name)
    distributions = recipe.distributions if recipe is not None else ()
    command = [str(python), "-I", "-c", VERSION_PROBE, json.dumps(distributions)]
    try:
        asked = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, ValueError) as error:
        words = (isinstance(error, OSError) and error.strerror) or error
        raise BackendUnavailable(f"{name} can't run in {python}: {words}") from None
    except subprocess.TimeoutExpired:
        raise BackendUnavailable(f"{name} can't run in {python}: it did not answer within 60 s") from None
    try:
        answer = json.loads(asked.stdout)
        minor, versions = tuple(answer["python"]), answer["versions"]
    except (ValueError, TypeError, KeyError):
        end = (asked.stderr or asked.stdout).strip()[-500:]
        raise BackendUnavailable(
            f"{name} can't run in {python}: it is not a working Python interpreter; it wrote: {end!r}"
        ) from None
    if minor < OLDEST_WORKER:
        is_old, oldest = (".".join(map(str, numbers)) for numbers in (minor, OLDEST_WORKER))
        raise BackendUnavailable(
            f"{name} can't run in {python}: it is Python {is_old}, and a worker needs {oldest} or later"
        )
    if distributions and not versions:
        raise BackendUnavailable(f"{name} can't run in {python}: that Python has no {' or '.join(distributions)}")
    return Place(python, versions[0] if versions else None, here=False)
