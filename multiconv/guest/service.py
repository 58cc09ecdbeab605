"""What a worker serves: named methods with JSON arguments and arrays.

A request names a method that the service declares in `served`. Its JSON arguments are keywords, its arrays are
positional. The method returns a value for JSON, or `Arrays`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from multiconv.core.geometry import Geometry
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Array, Host


class Arrays(tuple[Any, ...]):
    """NumPy arrays that a method returns. Any of them may be None."""


class Service:
    """The base class: it describes itself and answers requests.

    Parameters
    ----------
    backend : Backend
        The backend that the methods use.

    Attributes
    ----------
    served : tuple of str
        Names of the methods that may be requested.
    """

    served: ClassVar[tuple[str, ...]] = ()

    def __init__(self, backend: Any) -> None:
        self.backend = backend

    def hello(self) -> dict[str, Any]:
        """Return what the parent needs to know about this side."""
        return {
            "version": self.backend.version,
            "dtypes": self.backend.dtypes,
            "compiles": self.backend.compiles,
            "multiplies_zeros": self.backend.multiplies_zeros,
            "python": sys.version.split()[0],
            "numpy": np.__version__,
            "pid": os.getpid(),
        }

    def answer(self, request: dict[str, Any], arrays: Sequence[Host | None]) -> tuple[Any, Sequence[Host | None]]:
        """Run the requested method, and return its value and its arrays."""
        if request["method"] not in self.served:
            raise ValueError(f"there is no method {request['method']!r}: the methods are {', '.join(self.served)}")
        method = getattr(self, request["method"])
        result = method(*arrays, **{name: _decoded(name, value) for name, value in request["arguments"].items()})
        return (None, result) if isinstance(result, Arrays) else (result, ())


class BackendService(Service):
    """A backend's operations, loops and layers. Arrays are NumPy's on the way in and out."""

    served: ClassVar[tuple[str, ...]] = (
        "compute",
        "loop",
        "loop_vjp",
        "make_layer",
        "call_layer",
        "drop_layers",
        "devices",
    )

    def __init__(self, backend: Any) -> None:
        super().__init__(backend)
        self.layers: dict[int, Any] = {}

    def compute(self, *arrays: Host | None, operation: str, geometry: Geometry, dtype: str) -> Arrays:
        """Compute an operation of the backend, as `multiconv.Backend.plan` names it."""
        return self.hosts(self.backend.plan(operation, geometry, dtype)(*map(self.to_own, arrays)))

    def loop(self, X: Host, K: Host, *, name: str) -> Arrays:
        """Compute one of the book's loops."""
        return self.hosts(self.backend.loop(name, self.to_own(X), self.to_own(K)))

    def loop_vjp(self, *arrays: Host, name: str) -> Arrays:
        """Compute the gradients of one of the book's loops. The last array is the cotangent."""
        *primals, cotangent = map(self.to_own, arrays)
        return self.hosts(self.backend.vjp(partial(self.backend.loop, name), primals, cotangent))

    def make_layer(self, w: Host, bias: Host | None, *, number: int, spec: ConvSpec) -> None:
        """Make a layer, which `call_layer` calls by its number."""
        self.layers[number] = self.backend.build_layer(spec, w.copy(), None if bias is None else bias.copy())

    def call_layer(self, x: Host, *, number: int) -> Arrays:
        """Call a layer."""
        return self.hosts(self.layers[number](self.to_own(x)))

    def drop_layers(self, *, numbers: Sequence[int]) -> None:
        """Forget layers that the parent no longer has."""
        for number in numbers:
            self.layers.pop(number, None)

    def devices(self) -> list[str]:
        """Return the devices that the backend sees."""
        devices: list[str] = self.backend.devices()
        return devices

    def to_own(self, host: Host | None) -> Any:
        """Convert to an array of the framework, with the same order of the axes in memory where it supports that."""
        if host is None:
            return None
        if not getattr(self.backend, "strided", False) or host.flags.c_contiguous:
            return self.backend.asarray(host)
        outermost_first = sorted(range(host.ndim), key=lambda axis: -abs(host.strides[axis]))
        own = self.backend.asarray(host.transpose(outermost_first))
        return self.backend.transpose(own, [outermost_first.index(axis) for axis in range(host.ndim)])

    def hosts(self, result: Array | Sequence[Array | None]) -> Arrays:
        """Convert a result, or several, to NumPy arrays."""
        results = result if isinstance(result, (tuple, list)) else (result,)
        return Arrays(None if r is None else self.backend.to_numpy(r) for r in results)


def _decoded(name: str, value: Any) -> Any:
    """Return an argument as it was before JSON, by its name."""
    if name == "geometry":
        return Geometry(**_tuples(value))
    return ConvSpec(**_tuples(value)) if name == "spec" else value


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """Convert the lists of JSON back to tuples."""

    def tuples(value: Any) -> Any:
        return tuple(map(tuples, value)) if isinstance(value, list) else value

    return {name: tuples(value) for name, value in fields.items()}
