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
from typing import Any


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


def die_with_parent(lifeline: int) -> None:
    """Have this process group killed when the parent's end of a pipe closes, even while it hangs in foreign code."""
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def main() -> None:
    """Load the backend or the service that the parent names, and serve it."""
    setup = json.loads(sys.argv[1])
    die_with_parent(setup["lifeline"])
    sys.path[:] = setup["path"] or sys.path
    sys.meta_path.insert(0, Source(setup["places"]))

    from multiprocessing.connection import Connection

    from multiconv.core.wire import Wire
    from multiconv.guest.service import BackendService, Service

    for descriptor in (setup["connection"], setup["lifeline"], setup["requests"], setup["answers"]):
        os.set_inheritable(
            descriptor, False
        )  # otherwise, a child of this process would keep the connection open after this process ends
    wire = Wire(Connection(setup["connection"]), mine=setup["answers"], theirs=setup["requests"])
    try:
        module, _, attribute = setup["entry_point"].partition(":")
        made = getattr(importlib.import_module(module), attribute)(*setup["arguments"])
        service = made if isinstance(made, Service) else BackendService(made)
        wire.send({"value": service.hello(), "number": 0})
    except Exception as error:
        wire.send({"error": _described(error), "number": 0})
        return
    while True:
        try:
            request, arrays = wire.receive()
        except EOFError:
            return
        try:
            value, results = service.answer(request, arrays)
            wire.send({"value": value, "number": request["number"]}, results)
        except Exception as error:
            wire.send({"error": _described(error), "number": request["number"]})


def _described(error: Exception) -> dict[str, str]:
    return {"type": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()}


if __name__ == "__main__":
    main()
