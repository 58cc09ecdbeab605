"""A stranger's function as a backend, so that it can be put to the same problems."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from multiconv.backend import Array, Operation
from multiconv.errors import ConvError
from multiconv.host import HostBackend
from multiconv.spec import Geometry
from multiconv.worker import TIMEOUT, RemoteBackend, Worker, source_places

DIRECTIONS = ("forward",)


class Candidate(HostBackend):
    """A function that should be a cross-correlation.

    It is called as ``f(x, w, bias, *, stride, padding, dilation, groups)``: x (N, C_in, \\*spatial), w (C_out, C_in /
    groups, \\*kernel) and bias (C_out,) or None as NumPy arrays of one dtype, padding as one (before, after) pair an
    axis, stride and dilation as one int an axis. It must return a NumPy array of that dtype and leave its arguments as
    they are. It is not asked about a batch of zero.

    Parameters
    ----------
    function : callable or str
        The function, or ``"package.module:function"``.

    Raises
    ------
    ConvError
        If it is neither.
    ImportError, AttributeError
        If there is no such module, or no such function in it.

    Examples
    --------
    >>> def wrong(x, w, bias, *, stride, padding, dilation, groups):
    ...     return np.zeros((1, 1, 2), x.dtype)
    >>> Candidate(wrong).cross_correlate(np.ones((1, 1, 3)), np.ones((1, 1, 2)))
    array([[[0., 0.]]])
    """

    dtypes = ("float16", "bfloat16", "float32", "float64")

    def __init__(self, function: Callable[..., Any] | str) -> None:
        super().__init__()
        self.function = load(function) if isinstance(function, str) else function
        if not callable(self.function):
            raise ConvError(f"a candidate must be a function, not {function!r}")
        self.name = function if isinstance(function, str) else getattr(function, "__name__", repr(function))

    @property
    def version(self) -> str:
        """The version that the function's package states, or a dash."""
        package = str(getattr(self.function, "__module__", "")).partition(".")[0]
        return str(getattr(sys.modules.get(package), "__version__", "-"))

    def pads_natively(self, g: Geometry) -> bool:
        """Whatever it be."""
        return True

    def devices(self) -> list[str]:
        """None that could be known."""
        return []

    def native_cross_correlate(self, g: Geometry) -> Operation:
        """The function, watched."""
        options = {"stride": g.stride, "padding": g.pads, "dilation": g.dilation, "groups": g.groups}

        def cross_correlate(x: Array, w: Array, bias: Array | None = None) -> Array:
            given = [None if a is None else a.copy() for a in (x, w, bias)]
            y = self.function(*given, **options)
            if not isinstance(y, np.ndarray):
                raise TypeError(f"it returned {_named(type(y))}, not a NumPy array")
            for name, before, after in zip(("x", "w", "bias"), (x, w, bias), given):
                if before is not None and after is not None and before.tobytes() != after.tobytes():
                    raise ValueError(f"it changed its argument {name}")
            return y

        return cross_correlate


def load(target: str) -> Callable[..., Any]:
    """The function that ``"package.module:function"`` names.

    Raises
    ------
    ConvError
        If it has not that form.
    ImportError, AttributeError
        If there is no such module, or no such function in it.

    Examples
    --------
    >>> load("math:sqrt")(4)
    2.0
    """
    module, _, attribute = target.partition(":")
    if not (module and attribute):
        raise ConvError(f"a candidate is named as package.module:function, not as {target!r}")
    found: Callable[..., Any] = attrgetter(attribute)(importlib.import_module(module))
    return found


def in_worker(target: str, timeout: float = TIMEOUT, environment: dict[str, str] | None = None) -> RemoteBackend:
    """A candidate in a process of its own, where it may crash or hang.

    It is imported as a Python started here would: from the working directory, then from this process's own search path;
    the environment variables are this process's.

    Parameters
    ----------
    target : str
        ``"package.module:function"``.
    timeout : float
        Seconds that an answer may take.
    environment : dict, optional
        Environment variables to set there.

    Raises
    ------
    BackendUnavailable
        If it can't be imported.

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
