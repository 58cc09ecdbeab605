"""The worker's side: a script that loads one backend in another Python and answers until its parent is gone.

That Python need not have multiconv, because the parent names the folders of the source. It is started in isolated mode
(``-I``), so that nothing of the parent's environment leaks in.
"""

from __future__ import annotations

import fcntl
import importlib
import importlib.abc
import importlib.util
import json
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiconv.core.framework import FrameworkBackend
    from multiconv.core.types import Host


class Source(importlib.abc.MetaPathFinder):
    """Finds the packages whose location the parent named, before any that this Python has itself."""

    def __init__(self, places: dict[str, str]) -> None:
        self.places = places

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        """Return the spec of a package or module that the parent named, else None."""
        place = self.places.get(fullname)
        if place is None:
            return None
        if place.endswith(".py"):
            return importlib.util.spec_from_file_location(fullname, place)
        init = os.path.join(place, "__init__.py")
        return importlib.util.spec_from_file_location(fullname, init, submodule_search_locations=[place])


class Server:
    """Answers the parent's requests to one backend."""

    def __init__(self, backend: FrameworkBackend) -> None:
        self.backend = backend
        self.layers: dict[int, Any] = {}

    def hello(self) -> dict[str, Any]:
        """Return what the parent needs to know about this side."""
        import numpy

        return {
            "version": self.backend.version,
            "dtypes": self.backend.dtypes,
            # The served object need not be a `Backend`: the benchmark's is not.
            "compiles": getattr(self.backend, "compiles", False),
            "multiplies_zeros": getattr(self.backend, "multiplies_zeros", False),
            "python": sys.version.split()[0],
            "numpy": numpy.__version__,
            "pid": os.getpid(),
        }

    def answer(self, header: dict[str, Any], arrays: list[Host | None]) -> tuple[Any, list[Host | None]]:
        """Answer a request with a value for JSON and with arrays."""
        for dropped in header["drop"]:
            self.layers.pop(dropped, None)
        own = [None if a is None else self._own(a) for a in arrays]
        do = header["do"]
        if do == "plan":
            from multiconv.core.spec import Geometry

            plan = self.backend.plan(header["operation"], Geometry(**_tuples(header["geometry"])), header["dtype"])
            return None, self._hosts(plan(*own))
        if do in ("corr2d", "corr2d_multi_in", "corr2d_multi_in_out"):
            return None, self._hosts(getattr(self.backend, do)(*own))
        if do == "vjp":
            *primals, cotangent = own
            return None, self._hosts(self.backend.vjp(getattr(self.backend, header["of"]), primals, cotangent))
        if do == "layer":
            from multiconv.core.spec import ConvSpec

            w, bias = arrays
            assert w is not None
            copies = (w.copy(), None if bias is None else bias.copy())
            self.layers[header["layer"]] = self.backend.build_layer(ConvSpec(**_tuples(header["spec"])), *copies)
            return None, []
        if do == "call layer":
            return None, self._hosts(self.layers[header["layer"]](own[0]))
        if do == "devices":
            return self.backend.devices(), []
        raise ValueError(f"no such request: {do!r}")

    def _own(self, host: Host) -> Any:
        """Convert to an array of the framework, with the same order of the axes in memory where it supports that."""
        if not getattr(self.backend, "strided", False) or host.flags.c_contiguous:
            return self.backend.asarray(host)
        outermost_first = sorted(range(host.ndim), key=lambda axis: -abs(host.strides[axis]))
        own = self.backend.asarray(host.transpose(outermost_first))
        return self.backend.transpose(own, [outermost_first.index(axis) for axis in range(host.ndim)])

    def _hosts(self, result: Any) -> list[Host | None]:
        results = result if isinstance(result, (tuple, list)) else (result,)
        return [None if r is None else self.backend.to_numpy(r) for r in results]


def die_with_parent(lifeline: int) -> None:
    """Have this process killed when the parent's end of a pipe closes, even while it hangs in foreign code."""
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def main() -> None:
    """Load the backend that the parent names and serve it."""
    setup = json.loads(sys.argv[1])
    die_with_parent(setup["lifeline"])
    sys.path[:] = setup["path"] or sys.path
    sys.meta_path.insert(0, Source(setup["places"]))

    from multiprocessing.connection import Connection

    from multiconv.core.wire import Wire

    wire = Wire(Connection(setup["connection"]), mine=setup["answers"], theirs=setup["requests"])
    try:
        module, _, attribute = setup["backend"].partition(":")
        server = Server(getattr(importlib.import_module(module), attribute)(*setup["arguments"]))
        wire.send({"hello": server.hello()})
    except Exception as error:
        wire.send({"error": _described(error)})
        return
    while True:
        try:
            header, arrays = wire.receive()
        except EOFError:
            return
        try:
            value, results = server.answer(header, arrays)
            wire.send({"value": value}, results)
        except Exception as error:
            wire.send({"error": _described(error)})


def _described(error: Exception) -> dict[str, str]:
    return {"type": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()}


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """Convert the lists of JSON back to tuples."""

    def tuples(value: Any) -> Any:
        return tuple(map(tuples, value)) if isinstance(value, list) else value

    return {name: tuples(value) for name, value in fields.items()}


if __name__ == "__main__":
    main()
