"""The options of a backend's class, such as NumPy's `algorithm`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from multiconv.core.backend import Backend
from multiconv.core.errors import UsageError, suggestion


def with_options(name: str, backend_class: Callable[..., Backend], options: Mapping[str, Any]) -> Backend:
    """Create a backend with these options.

    Raises
    ------
    UsageError
        If its class has no such option. The class itself checks the value.

    Examples
    --------
    >>> import multiconv as mc
    >>> mc.backend("jax", device="cuda")
    Traceback (most recent call last):
    multiconv.UsageError: the jax backend has no option 'device': it has no options
    """
    known = list(inspect.signature(backend_class).parameters)
    for option in options:
        if option not in known:
            own = f"its options are {', '.join(known)}" if known else "it has no options"
            raise UsageError(f"the {name} backend has no option {option!r}{suggestion(option, known)}: {own}")
    return backend_class(**options)
