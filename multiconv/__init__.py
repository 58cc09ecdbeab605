"""One convolution interface over NumPy, PyTorch, JAX, TensorFlow and MXNet.

>>> import multiconv as mc, numpy as np
>>> be = mc.backend("numpy")
>>> be.cross_correlate(np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)))
array([[[[4., 4.],
         [4., 4.]]]])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    # Before the function of the same name: a submodule takes its name in the package when it is first imported.
    import_module("multiconv.backends")
except ModuleNotFoundError as error:
    if error.name != "multiconv.backends":
        raise
    raise ImportError(
        f"multiconv was found at {__path__[0]}, a checkout, where its backends lie beside it and not within: "
        "run `pip install -e .` there, or start Python from another folder"
    ) from None

from multiconv.core.backend import Backend
from multiconv.core.errors import (
    BackendCrashed,
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    ConvError,
    MulticonvError,
    ResourceError,
    UnsupportedError,
    UsageError,
)
from multiconv.core.framework import FrameworkBackend
from multiconv.core.spec import ConvSpec, Geometry
from multiconv.core.types import Array, Host, Operation
from multiconv.registry import BackendInfo, backend, backends

if TYPE_CHECKING:
    from multiconv.subjects.judging import judge

__version__ = "0.1.0"
LAZY = {"judge": "multiconv.subjects.judging"}
"""The modules of what is imported when it is first used."""


def __getattr__(name: str) -> Any:
    """Import what is imported when it is first used."""
    if name in LAZY:
        return getattr(import_module(LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Array",
    "Backend",
    "BackendCrashed",
    "BackendError",
    "BackendInfo",
    "BackendTimeout",
    "BackendUnavailable",
    "ConvError",
    "ConvSpec",
    "FrameworkBackend",
    "Geometry",
    "Host",
    "MulticonvError",
    "Operation",
    "ResourceError",
    "UnsupportedError",
    "UsageError",
    "backend",
    "backends",
    "judge",
]
