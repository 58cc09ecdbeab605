"""A worker that also makes a framework's own calls, with nothing of multiconv around them."""

from __future__ import annotations

from importlib.util import find_spec

from multiconv import registry
from multiconv.core.targets import plain_name
from multiconv.workers.process import Worker, source_places
from multiconv.workers.remote import RemoteBackend


def native_worker(name: str, timeout: float, environment: dict[str, str] | None = None) -> RemoteBackend:
    """A backend in a worker of its own, which the caller closes, with the framework's own calls where they are known.

    They are requests like a backend's operations, named as `multiconv.guest.own_calls.Native.plan` has it.

    Parameters
    ----------
    name : str
        As `multiconv.backend` takes it.
    timeout : float
        Seconds that an answer may take.
    environment : dict, optional
        Environment variables to set there.

    Raises
    ------
    BackendUnavailable
        If it is not available.

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
    entry_point = f"multiconv.guest.own_calls_{plain}:native"
    return RemoteBackend(Worker(plain, entry_point, source_places(entry_point), place.python, timeout, environment))


def has_native_calls(name: str) -> bool:
    """Whether multiconv knows the framework's own calls. NumPy has no convolution of channels to call.

    Examples
    --------
    >>> has_native_calls("torch@2.5.1"), has_native_calls("numpy")
    (True, False)
    """
    return find_spec(f"multiconv.guest.own_calls_{plain_name(name)}") is not None
