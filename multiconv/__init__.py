"""One convolution interface over NumPy, PyTorch, JAX, TensorFlow and MXNet.

>>> import multiconv as mc, numpy as np
>>> be = mc.backend("numpy")
>>> be.cross_correlate(np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)))
array([[[[4., 4.],
         [4., 4.]]]])
"""

from __future__ import annotations

from importlib import import_module

try:
    # Before the function of the same name: a submodule takes its name in the package when it is first imported.
    import_module("multiconv.backends")
except ModuleNotFoundError as error:
    if error.name != "multiconv.backends":
        raise
    raise ImportError(
        f"multiconv was imported from {__path__[0]}, a checkout without an installation, which has no backends: "
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
from multiconv.core.geometry import Geometry
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Array, Host, Operation
from multiconv.registry import BackendInfo, backend, backends

__version__ = "0.1.0"

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
]
