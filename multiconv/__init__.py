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

if TYPE_CHECKING:
    from multiconv.subjects.explain import Explanation, explain
    from multiconv.subjects.forms import Subject, subject
    from multiconv.subjects.identification import Identification
    from multiconv.subjects.identify import identify
    from multiconv.subjects.judging import judge

__version__ = "0.1.0"

_LATER = {
    "Explanation": "explain",
    "Identification": "identification",
    "Subject": "forms",
    "explain": "explain",
    "identify": "identify",
    "judge": "judging",
    "subject": "forms",
}
"""What is imported when it is first asked for, with its module in `multiconv.subjects`."""

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
    "Explanation",
    "FrameworkBackend",
    "Geometry",
    "Host",
    "Identification",
    "MulticonvError",
    "Operation",
    "ResourceError",
    "Subject",
    "UnsupportedError",
    "UsageError",
    "backend",
    "backends",
    "explain",
    "identify",
    "judge",
    "subject",
]


def __getattr__(name: str) -> Any:
    """Import what is not imported with the package."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"multiconv.subjects.{_LATER[name]}"), name)
    return value


def __dir__() -> list[str]:
    """Return all public names, also those not yet imported."""
    return sorted({*globals(), *__all__})
