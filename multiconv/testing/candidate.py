"""A third-party function as a backend, so that it can run the same problems."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from multiconv.core import memory
from multiconv.core.backend import Backend
from multiconv.core.errors import UnsupportedError, UsageError
from multiconv.core.geometry import Geometry
from multiconv.core.types import Array, Host, Operation
from multiconv.workers.process import TIMEOUT, Worker, source_places
from multiconv.workers.remote import RemoteBackend

DIRECTIONS = ("forward",)


class Candidate(Backend):
    """A function that should be a cross-correlation.

    It is called as ``f(x, w, bias, *, stride, padding, dilation, groups)``. The arrays x (N, C_in, \\*spatial), w
    (C_out, C_in / groups, \\*kernel) and bias (C_out,) or None are NumPy arrays of one dtype. Padding is one (before,
    after) pair per axis; stride and dilation are one int per axis.

    It must return a NumPy array of that dtype and must not change its arguments. The result must not share memory with
    an argument, and no later call may write to it. Arguments may be views with any strides, unaligned or read-only. The
    function is not called with an empty batch.

    Parameters
    ----------
    function : callable or str
        The function, or ``"package.module:function"``.
    takes_views : bool
        Whether it must accept arguments that are not contiguous, aligned and writable. By default it may raise an
        exception for them, and is then called with copies. It must never return a wrong answer for them.

    Raises
    ------
    UsageError
        If `function` is neither a callable nor a valid name.
    ImportError, AttributeError
        If the module, or the function in it, does not exist.

    Examples
    --------
    >>> def wrong(x, w, bias, *, stride, padding, dilation, groups):
    ...     return np.zeros((1, 1, 2), x.dtype)
    >>> Candidate(wrong).cross_correlate(np.ones((1, 1, 3)), np.ones((1, 1, 2)))
    array([[[0., 0.]]])
    """

    dtypes = ("float16", "bfloat16", "float32", "float64")
    multiplies_zeros = True  # a function may dilate the kernel with zeros

    def __init__(self, function: Callable[..., Any] | str, *, takes_views: bool = False) -> None:
        super().__init__()
        self.function = load(function) if isinstance(function, str) else function
        if not callable(self.function):
            raise UsageError(f"a candidate must be a function, not {function!r}")
        self.name = function if isinstance(function, str) else getattr(function, "__name__", repr(function))
        self.takes_views = takes_views
        self._last: tuple[Host, bytes] | None = None

    @property
    def version(self) -> str:
        """Return the version that the function's package states, or a dash."""
        package = str(getattr(self.function, "__module__", "")).partition(".")[0]
        return str(getattr(sys.modules.get(package), "__version__", "-"))

    def plan(self, operation: str, g: Geometry, dtype: str) -> Operation:
        """Return the function with a check that it does not change its arguments or earlier results.

        Raises
        ------
        UnsupportedError
            If the operation is not ``"cross_correlate"``.
        """
        if operation != "cross_correlate":
            raise UnsupportedError(f"{self.name} is a function for the forward direction only: it has no {operation}")
        options = {"stride": g.stride, "padding": g.pads, "dilation": g.dilation, "groups": g.groups}

        def cross_correlate(x: Array, w: Array, bias: Array | None = None) -> Array:
            x = np.moveaxis(x, -1, 1) if g.channels_last else x
            given = [None if a is None else memory.copied(a) for a in (x, w, bias)]
            try:
                y = self.function(*given, **options)
            except Exception:
                if self.takes_views or all(a is None or memory.is_plain(a) for a in given):
                    raise
                given = [None if a is None else np.array(a, order="C") for a in (x, w, bias)]
                y = self.function(*given, **options)
            if not isinstance(y, np.ndarray):
                raise TypeError(f"it returned {_named(type(y))}, not a NumPy array")
            self._watch(dict(zip(("x", "w", "bias"), zip((x, w, bias), given))), y)
            return np.moveaxis(y, 1, -1) if g.channels_last else y

        return cross_correlate

    def _watch(self, arguments: dict[str, tuple[Host | None, Host | None]], y: Host) -> None:
        """Check that a call changed neither its arguments nor earlier results, and that its result shares no memory.

        Raises
        ------
        ValueError
            If a check fails.
        """
        last, self._last = self._last, (y, y.tobytes())
        for name, (before, given) in arguments.items():
            if before is None or given is None:
                continue
            if before.tobytes() != given.tobytes():
                raise ValueError(f"it changed its argument {name}")
            if np.may_share_memory(y, given):
                raise ValueError(f"its result shares memory with its argument {name}")
        if last is not None and last[0].tobytes() != last[1]:
            raise ValueError("it changed the result of an earlier call: the two share memory")


def load(target: str) -> Callable[..., Any]:
    """Return the function that ``"package.module:function"`` or ``"path/file.py:function"`` names.

    Raises
    ------
    UsageError
        If the name does not have that form, or the file does not exist.
    ImportError, AttributeError
        If the module, or the function in it, does not exist.

    Examples
    --------
    >>> load("math:sqrt")(4)
    2.0
    """
    module, _, attribute = target.rpartition(":")
    if not (module and attribute):
        raise UsageError(f"a candidate must be package.module:function or path/file.py:function, not {target!r}")
    imported = _module_at(Path(module)) if module.endswith(".py") else importlib.import_module(module)
    found: Callable[..., Any] = attrgetter(attribute)(imported)
    return found


def _module_at(path: Path) -> ModuleType:
    """Import a file as Python would run it, with its folder first on the search path."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    sys.path.insert(0, str(path.parent.absolute()))
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def in_worker(target: str, timeout: float = TIMEOUT, environment: dict[str, str] | None = None) -> RemoteBackend:
    """Start a candidate in its own process, where it may crash or hang.

    The process imports it from the working directory, then from the search path of the calling process. It inherits the
    environment variables of the calling process.

    Parameters
    ----------
    target : str
        ``"package.module:function"``.
    timeout : float
        Time limit for an answer, in seconds.
    environment : dict, optional
        Environment variables to set in the new process.

    Raises
    ------
    BackendUnavailable
        If the candidate cannot be imported.

    Examples
    --------
    >>> sqrt = in_worker("math:sqrt")
    >>> sqrt.name
    'math:sqrt'
    >>> sqrt.close()
    """
    entry_point = f"{__name__}:{Candidate.__name__}"
    search_path = [os.getcwd(), *(p for p in sys.path if p)]
    worker = Worker(
        target, entry_point, source_places(entry_point), Path(sys.executable), timeout, environment,
        arguments=[target], search_path=search_path,
    )  # fmt: skip
    return RemoteBackend(worker)


def _named(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
