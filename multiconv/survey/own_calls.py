"""Workers that also run a framework's own calls, without multiconv's code around them."""

from __future__ import annotations

from importlib.util import find_spec

from multiconv import registry
from multiconv.core.targets import plain_name
from multiconv.workers.process import Worker, source_places
from multiconv.workers.remote import RemoteBackend


def native_worker(name: str, timeout: float, environment: dict[str, str] | None = None) -> RemoteBackend:
    """Start a backend in a new worker, with the framework's own calls where multiconv knows them.

    The caller closes the worker. `multiconv.guest.own_calls.OwnCalls` says how the framework's own calls are requested.

    Parameters
    ----------
    name : str
        Name as for `multiconv.backend`.
    timeout : float
        Time limit for an answer, in seconds.
    environment : dict, optional
        Environment variables of the worker.

    Raises
    ------
    BackendUnavailable
        If the backend is not available.

    Examples
    --------
    >>> numpy = native_worker("numpy", timeout=60)
    >>> numpy.devices()
    ['cpu']
    >>> numpy.close()
    """
    if not has_native_calls(name):
        return registry.new_worker(name, timeout, environment)
    plain, place = plain_name(name), registry.locate(name)
    entry_point = f"multiconv.guest.own_calls_{plain}:service"
    return RemoteBackend(Worker(plain, entry_point, source_places(entry_point), place.python, timeout, environment))


def has_native_calls(name: str) -> bool:
    """Return whether multiconv knows the framework's own calls.

    It knows none for NumPy, which has no convolution with channels.

    Examples
    --------
    >>> has_native_calls("torch@2.5.1"), has_native_calls("numpy")
    (True, False)
    """
    return find_spec(f"multiconv.guest.own_calls_{plain_name(name)}") is not None
