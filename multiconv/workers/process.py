"""The process that serves a backend in another Python.

The process is separate, so that its framework can't disturb this one, even by crashing. A crash, a hang or an invalid
answer becomes an exception that states the request and the last output of the worker. The next call starts a new
worker.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import weakref
from collections.abc import Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from multiconv.core import errors
from multiconv.core.errors import (
    BackendCrashed,
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    ResourceError,
    UsageError,
)
from multiconv.core.geometry import Geometry
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Host
from multiconv.core.wire import Garbled
from multiconv.workers.launch import Process

PACKAGE = Path(__file__).parents[1]
TIMEOUT = 300.0
START_TIMEOUT = 120.0
LONGEST_TIMEOUT = 14 * 24 * 3600.0
"""In milliseconds, a longer one may not fit into 31 bits."""
# For workers that share cores: idle threads sleep, and leave the cores to others.
PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "OPENBLAS_THREAD_TIMEOUT": "4"}
FILLED_MEMORY = {"MALLOC_PERTURB_": "85"}
"""glibc fills new and freed memory with nonzero bytes, so a result that depends on either is wrong in every run."""
SHOWN_VALUES = 256


class Worker:
    """A process that serves one backend.

    Parameters
    ----------
    name : str
        The backend's name, for messages.
    entry_point : str
        ``"module:class"`` of the backend, or of a `multiconv.guest.service.Service`.
    places : dict
        The location of the source of multiconv and of the backend, by package.
    python : path
        The Python to run it with.
    timeout : float
        Time limit for an answer, in seconds.
    environment : dict, optional
        Environment variables to set in addition to those of this process.
    arguments : sequence of str
        The arguments of the backend's class.
    search_path : sequence of str, optional
        Where it finds modules. The default is the path of its own Python, or of this process if it is the same Python.
    """

    def __init__(
        self,
        name: str,
        entry_point: str,
        places: dict[str, str],
        python: Path,
        timeout: float,
        environment: dict[str, str] | None = None,
        *,
        arguments: Sequence[str] = (),
        search_path: Sequence[str] | None = None,
    ) -> None:
        self.name, self.entry_point, self.places, self.python = name, entry_point, places, python
        self.timeout = checked_timeout(timeout)
        self.environment, self.arguments = environment or {}, list(arguments)
        if search_path is None:
            search_path = [p for p in sys.path if p] if is_this_python(python) else []
        self.search_path = list(search_path)
        self.hello: dict[str, Any] = {}
        self.starts = 0
        self.lock = threading.RLock()
        self._process: Process | None = None
        _workers.add(self)
        self.start()

    def call(self, method: str, *arrays: Host | None, **arguments: Any) -> Any:
        """Call a method of the service, and return its value.

        Parameters
        ----------
        method : str
            One of the methods that the service declares.
        *arrays : array or None
        **arguments
            For JSON; a geometry or a spec is converted.

        Raises
        ------
        BackendCrashed, BackendTimeout, BackendError
            As in `compute`.
        """
        return self._request(method, arrays, arguments)[0]

    def compute(self, method: str, *arrays: Host | None, **arguments: Any) -> list[Host | None]:
        """Call a method of the service that returns arrays, and return these.

        Raises
        ------
        BackendCrashed, BackendTimeout
            If no valid answer came. The next request starts a new worker.
        BackendError
            If the framework raised an exception.
        """
        return self._request(method, arrays, arguments)[1]

    def _request(
        self, method: str, arrays: Sequence[Host | None], arguments: dict[str, Any]
    ) -> tuple[Any, list[Host | None]]:
        plain = {name: asdict(a) if isinstance(a, (Geometry, ConvSpec)) else a for name, a in arguments.items()}
        with self.lock:
            self.ready()
            number = next(self._numbers)
            request = {"method": method, "arguments": plain, "number": number}
            try:
                frame = self._running.wire.framed(request, arrays, keep_strides=True)
            except (OSError, MemoryError) as error:
                raise ResourceError(f"the arrays for {self.name} can't be shared with its worker: {error}") from error
            try:
                self._running.wire.connection.send_bytes(frame)
                answer, results = self._receive(self.timeout, number)
                results = [None if r is None else np.array(r) for r in results]
            except ResourceError:  # the answer has arrived, but this process can't map it
                raise
            except (Garbled, EOFError, OSError) as error:
                self._give_up(error, self._described(method, plain, arrays))
            except BaseException:
                self.interrupt()
                self.stop()  # an answer may still arrive
                raise
            self._running.wire.release()
            self._running.trim_stderr()
        if "error" in answer:
            self._raise(answer["error"], self._described(method, plain, arrays))
        return answer["value"], results

    def ready(self) -> int:
        """Start the process if there is none, and return how often it has been started."""
        if self._process is None:
            self.start()
        return self.starts

    def start(self) -> None:
        """Start the process and wait until it has loaded the backend.

        Raises
        ------
        BackendUnavailable
            If it can't be started, or can't load the backend.
        UsageError
            If the backend refuses the arguments with which it is loaded.
        ResourceError
            If this process lacks descriptors, memory or a place for temporary files.
        """
        setup = {
            "entry_point": self.entry_point, "places": self.places,
            "arguments": self.arguments, "path": self.search_path,
        }  # fmt: skip
        process = Process(self.name, self.python, setup, self.environment, self.timeout)
        self._process, self._numbers = process, count(1)
        self._finalizer = weakref.finalize(self, process.end)
        self.starts += 1
        try:
            answer, _ = self._receive(START_TIMEOUT, 0)
            if "value" in answer and not _is_greeting(answer["value"]):
                raise Garbled(f"it does not describe itself: {answer['value']!r}")
        except (Garbled, EOFError, OSError) as error:
            how = self._how_it_ended(error)
            raise BackendUnavailable(
                f"{self.name} can't be loaded in {self.python}: the process {how}{_tail(process)}"
            ) from None
        except BaseException:
            self.stop()
            raise
        if "error" in answer:
            self.stop()
            described = answer["error"]
            _raise_usage(described)
            raise BackendUnavailable(
                f"{self.name} can't be loaded in {self.python}: {described['type']}: {described['message']}"
            )
        self.hello = answer["value"]

    def stop(self) -> None:
        """End the process once it has answered. The next request starts a new one."""
        with self.lock:
            process, self._process = self._process, None
            if process is not None:
                self._finalizer.detach()
                process.end()

    def interrupt(self) -> None:
        """Kill the process at once. A request that another thread waits for raises BackendCrashed."""
        process = self._process
        if process is not None:
            process.kill()

    def let_go(self) -> None:
        """Leave the process to the parent, in a fork of it. The next request starts the fork's own process."""
        self.lock = threading.RLock()  # a thread that does not exist in the fork may have held the old one
        if self._process is not None:
            self._finalizer.detach()
            self._process = None

    @property
    def _running(self) -> Process:
        assert self._process is not None
        return self._process

    def _receive(self, timeout: float, number: int) -> tuple[dict[str, Any], list[Host | None]]:
        """Receive the answer to the request of this number; 0 is the greeting after the start."""
        answer, arrays = self._running.receive(timeout)
        if answer.get("number") != number or not ("value" in answer or "error" in answer):
            raise Garbled(f"it does not answer request {number}: {answer}")
        if "error" in answer and not _is_error(answer["error"]):
            raise Garbled(f"it does not describe its error: {answer['error']!r}")
        return answer, arrays

    def _give_up(self, error: Exception, problem: dict[str, Any]) -> NoReturn:
        process = self._running
        late = isinstance(error, (TimeoutError, BlockingIOError))
        how = f"took longer than its {self.timeout:g} s and was killed" if late else self._how_it_ended(error)
        self.interrupt()
        self.stop()
        kind = BackendTimeout if late else BackendCrashed
        raise kind(
            f"{self.name} in {self.python} {how}, on {json.dumps(problem)}{_tail(process)}",
            backend=self.name,
            problem=problem,
            stderr=process.written(),
        ) from None

    def _how_it_ended(self, error: Exception) -> str:
        """End the process and describe how it ended."""
        process = self._running
        try:
            if isinstance(error, Garbled):
                return f"sent an invalid answer ({error})"
            if isinstance(error, TimeoutError):
                return "did not start in time"
            return process.how_it_ended()
        finally:
            self.interrupt()
            self.stop()

    def _raise(self, described: dict[str, str], problem: dict[str, Any]) -> NoReturn:
        _raise_usage(described)
        raise BackendError(
            f"{self.name} raised {described['type']}: {described['message']}",
            backend=self.name,
            problem=problem,
            stderr=described["traceback"],
        )

    def _described(self, method: str, arguments: dict[str, Any], arrays: Sequence[Host | None]) -> dict[str, Any]:
        """Describe a request, for JSON."""

        def shown(a: Host) -> bool:
            return a.size <= SHOWN_VALUES and a.dtype.kind in "biuf"

        described = [
            None
            if a is None
            else {"dtype": a.dtype.name, "shape": a.shape, **({"values": a.tolist()} if shown(a) else {})}
            for a in arrays
        ]
        version = self.hello.get("version")
        return {"backend": self.name, "version": version, "method": method, **arguments, "arrays": described}


def source_places(entry_point: str) -> dict[str, str]:
    """Return the location of the source that a worker for this entry point needs, by package."""
    from importlib.util import find_spec

    places = {"multiconv": str(PACKAGE)}
    for name in ("multiconv.backends", entry_point.partition(":")[0].partition(".")[0]):
        spec = None if name in places else find_spec(name)
        if spec is not None and spec.origin:
            places[name] = str(Path(spec.origin).parent) if spec.submodule_search_locations else spec.origin
    return places


def _raise_usage(described: dict[str, str]) -> None:
    """Raise an error of the worker that is the caller's own mistake, with the same type and words."""
    known = getattr(errors, described["type"], None)
    if isinstance(known, type) and issubclass(known, errors.UsageError):
        raise known(described["message"])


def _tail(process: Process) -> str:
    written = process.written()
    return f"; it wrote:\n{written}" if written else ""


def _is_error(described: Any) -> bool:
    fields = ("type", "message", "traceback")
    return isinstance(described, dict) and all(isinstance(described.get(field), str) for field in fields)


def _is_greeting(described: Any) -> bool:
    """Return whether this is what `multiconv.guest.service.Service.hello` returns."""
    fields = {"version", "dtypes", "compiles", "multiplies_zeros", "python", "pid"}
    return isinstance(described, dict) and fields <= described.keys()


def checked_timeout(seconds: Any) -> float:
    """Return a time limit that the system's functions take.

    Raises
    ------
    UsageError
        If it is not a number above 0.

    Examples
    --------
    >>> checked_timeout(60), checked_timeout(float("inf")) == LONGEST_TIMEOUT
    (60.0, True)
    """
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not number or not seconds > 0:
        raise UsageError(f"timeout must be a number of seconds above 0, not {seconds!r}")
    return float(min(seconds, LONGEST_TIMEOUT))


def _after_fork() -> None:
    for worker in _workers:
        worker.let_go()


_workers: weakref.WeakSet[Worker] = weakref.WeakSet()
os.register_at_fork(after_in_child=_after_fork)


def is_this_python(python: Path) -> bool:
    """Return whether this is the running Python, whose search path a worker then shares."""
    return os.path.abspath(python) == os.path.abspath(sys.executable)
