"""A backend with options of its class, such as NumPy's fast algorithms, served in a worker."""

from __future__ import annotations

import json
from importlib import import_module

from multiconv.core.options import with_options
from multiconv.guest.service import BackendService


def service(entry_point: str, options: str) -> BackendService:
    """Create the service of a backend with options.

    Parameters
    ----------
    entry_point : str
        The backend's class: ``"module:class"``.
    options : str
        Its keyword arguments, as JSON.

    Raises
    ------
    UsageError
        If the class has no such option or value.

    Examples
    --------
    >>> service("multiconv.backends.numpy:NumpyBackend", '{"algorithm": "fast"}').backend.name
    'numpy'
    """
    module, _, name = entry_point.partition(":")
    backend_class = getattr(import_module(module), name)
    return BackendService(with_options(backend_class.name, backend_class, json.loads(options)))
