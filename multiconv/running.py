"""Run several backends: start them in parallel, report those that are not available, and stop all at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Protocol, TypeVar

from multiconv import registry
from multiconv.core.errors import BackendUnavailable, UnsupportedError
from multiconv.core.targets import parse_target


class Closable(Protocol):
    """A worker, or anything else that has to be closed."""

    def close(self) -> None:
        """Stop the worker."""


W = TypeVar("W", bound=Closable)
T = TypeVar("T")


@dataclass(frozen=True)
class Missing:
    """A backend that is not available.

    Attributes
    ----------
    name : str
    reason : str
    install : str or None
        The command that installs the backend. None for a function, or if the backend is installed.
    """

    name: str
    reason: str
    install: str | None = None

    def __str__(self) -> str:
        return f"{self.name} was left out: {self.reason}"


def available(
    names: Iterable[str], find: Callable[[str], T], *, required: bool, threads: int | None = None
) -> tuple[list[tuple[str, T]], list[Missing]]:
    """Find or start backends, and report those that are not available.

    Parameters
    ----------
    names : iterable of str
        Backends, variants or functions, as `multiconv.core.targets.parse_target` takes them.
    find : callable
        Takes a name. Raises `BackendUnavailable`, or `UnsupportedError` if the backend can't do what is asked of it.
    required : bool
        Whether all of them must be available.
    threads : int, optional
        Number of backends to find at a time. The default is all of them.

    Returns
    -------
    found : list of (str, result of `find`)
    missing : list of Missing

    Raises
    ------
    BackendUnavailable, UnsupportedError
        If one of the backends is not available and `required` is set, or if none is available. The message has all
        reasons.

    Examples
    --------
    >>> found, missing = available(["numpy", "torch@0.1"], registry.locate, required=False)
    >>> [name for name, place in found], missing[0].install
    (['numpy'], 'multiconv env create torch@0.1')
    """

    def attempt(name: str) -> tuple[list[T], BackendUnavailable | UnsupportedError | None]:
        try:
            return [find(name)], None
        except (BackendUnavailable, UnsupportedError) as error:
            return [], error

    wanted = list(dict.fromkeys(names))
    with ThreadPoolExecutor(threads or len(wanted) or 1) as pool:
        outcomes = list(zip(wanted, pool.map(attempt, wanted)))
    found = [(name, result) for name, (results, _) in outcomes for result in results]
    errors = {name: error for name, (_, error) in outcomes if error is not None}
    if errors and (required or not found):
        is_unsupported = all(isinstance(error, UnsupportedError) for error in errors.values())
        raise (UnsupportedError if is_unsupported else BackendUnavailable)("; ".join(map(str, errors.values())))
    return found, [Missing(name, str(error), _install(name, error)) for name, error in errors.items()]


def _install(name: str, error: BackendUnavailable | UnsupportedError) -> str | None:
    target = parse_target(name)
    return None if target.function or isinstance(error, UnsupportedError) else registry.install_command(target.name)


class Workers(Generic[W]):
    """A context that stops every worker that was started in it, whatever ends it.

    Examples
    --------
    >>> with Workers() as workers:
    ...     numpy = workers.start(lambda: registry.new_worker("numpy"))
    ...     numpy.devices()
    ['cpu']
    """

    def __init__(self) -> None:
        self._started: list[W] = []

    def start(self, start: Callable[[], W]) -> W:
        """Start a worker, in any thread, and return it."""
        worker = start()
        self._started.append(worker)
        return worker

    def close(self) -> None:
        """Stop all workers in parallel, because each takes time to shut down its framework."""
        with ThreadPoolExecutor(len(self._started) or 1) as pool:
            list(pool.map(lambda worker: worker.close(), self._started))
        self._started.clear()

    def __enter__(self) -> Workers[W]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
