"""The process that serves a backend in another Python.

The process is separate, so that its framework can't disturb this one, even by crashing. A crash, a hang or an invalid
answer becomes an exception that states the request and the last output of the worker. The next call starts a new
worker.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np

from multiconv.core import errors
from multiconv.core.errors import BackendCrashed, BackendError, BackendTimeout, BackendUnavailable
from multiconv.core.spec import ConvSpec, Geometry
from multiconv.core.types import Host
from multiconv.core.wire import Garbled, Wire, anonymous_file

PACKAGE = Path(__file__).parents[1]
TIMEOUT = 300.0
START_TIMEOUT = 120.0
GRACE = 2.0
# For workers that share cores: idle threads sleep, and leave the cores to others.
PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "OPENBLAS_THREAD_TIMEOUT": "4"}
FILLED_MEMORY = {"MALLOC_PERTURB_": "85"}
"""glibc fills new and freed memory with nonzero bytes, so a result that depends on either is wrong in every run."""
KEPT_STDERR = 1 << 20
SHOWN_STDERR = 4000
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
        self.name, self.entry_point, self.places, self.python, self.timeout = name, entry_point, places, python, timeout
        self.environment, self.arguments = environment or {}, list(arguments)
        if search_path is None:
            search_path = [p for p in sys.path if p] if _same_python(python) else []
        self.search_path = list(search_path)
        self.hello: dict[str, Any] = {}
        self.starts = 0
        self.lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        _workers.add(self)

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
            try:
                self._wire.send({"method": method, "arguments": plain}, arrays, as_they_lie=True)
                answer, results = self._receive(self.timeout)
                if "value" not in answer and "error" not in answer:
                    raise Garbled(f"it has neither a value nor an error: {answer}")
                results = [None if r is None else np.array(r) for r in results]
            except (Garbled, EOFError, OSError, TimeoutError) as error:
                self._give_up(error, self._described(method, plain, arrays))
            except BaseException:
                self.interrupt()
                self.stop()  # an answer may still arrive, and would be taken for the next one
                raise
            self._trim_stderr()
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
        """
        ours, theirs = socket.socketpair()
        lifeline, ours_lifeline = os.pipe()
        requests, answers = anonymous_file(), anonymous_file()
        self._stderr: IO[bytes] = tempfile.TemporaryFile("a+b")  # noqa: SIM115
        setup = {
            "connection": theirs.fileno(),
            "lifeline": lifeline,
            "requests": requests,
            "answers": answers,
            "entry_point": self.entry_point,
            "places": self.places,
            "arguments": self.arguments,
            "path": self.search_path,
        }
        command = [
            str(self.python),
            "-I",
            "-X",
            "faulthandler",
            str(PACKAGE / "guest" / "serve.py"),
            json.dumps(setup),
        ]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._stderr,
                stderr=self._stderr,
                pass_fds=(theirs.fileno(), lifeline, requests, answers),
                start_new_session=True,
                env={**os.environ, **self.environment},
            )
        except OSError as error:
            for fd in (ours.detach(), ours_lifeline, requests, answers):
                os.close(fd)
            raise BackendUnavailable(f"{self.name} can't run in {self.python}: {error.strerror or error}") from None
        finally:
            theirs.close()
            os.close(lifeline)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            ours.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", max(1, int(self.timeout)), 0))
        connection: Connection[Any, Any] = Connection(ours.detach())
        self._wire = Wire(connection, mine=requests, theirs=answers)
        self._process = process
        self.starts += 1
        self._stop = weakref.finalize(self, _stop, process, self._wire, ours_lifeline)
        try:
            answer, _ = self._receive(START_TIMEOUT)
            if "error" in answer:
                described = answer["error"]
                raise BackendUnavailable(
                    f"{self.name} can't be loaded in {self.python}: {described['type']}: {described['message']}"
                )
            self.hello = answer["hello"]
        except (Garbled, EOFError, OSError, TimeoutError) as error:
            how = self._how_it_ended(error)
            raise BackendUnavailable(
                f"{self.name} can't be loaded in {self.python}: the process {how}{self._tail()}"
            ) from None
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process once it has answered. The next request starts a new one."""
        with self.lock:
            if self._process is not None:
                self._stop()
                self._process = None

    def interrupt(self) -> None:
        """Kill the process at once. A request that another thread waits for raises BackendCrashed."""
        process = self._process
        if process is not None:
            process.kill()

    def let_go(self) -> None:
        """Leave the process to the parent, in a fork of it. The next request starts the fork's own process."""
        self.lock = threading.RLock()  # a thread that does not exist in the fork may have held the old one
        stop = self._stop.detach()
        if stop is not None:
            _hang_up(*stop[2][1:])
        self._process = None

    def _receive(self, timeout: float) -> tuple[dict[str, Any], list[Host | None]]:
        if not self._wire.connection.poll(timeout):
            raise TimeoutError
        return self._wire.receive()

    def _give_up(self, error: Exception, problem: dict[str, Any]) -> NoReturn:
        late = isinstance(error, (TimeoutError, BlockingIOError))
        how = f"took longer than its {self.timeout:g} s and was killed" if late else self._how_it_ended(error)
        self.interrupt()
        self.stop()
        kind = BackendTimeout if late else BackendCrashed
        raise kind(
            f"{self.name} in {self.python} {how}, on {json.dumps(problem)}{self._tail()}",
            backend=self.name,
            problem=problem,
            stderr=self._written(),
        ) from None

    def _how_it_ended(self, error: Exception) -> str:
        """Describe how the process ended, after it is gone."""
        process = self._process
        assert process is not None
        if isinstance(error, Garbled):
            self.interrupt()
            self.stop()
            return f"sent what is no answer ({error})"
        if isinstance(error, TimeoutError):
            self.interrupt()
            self.stop()
            return "did not start in time"
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            self.stop()
            return "closed its connection"
        self.stop()
        if process.returncode < 0:
            return f"was killed by {signal.Signals(-process.returncode).name}"
        return f"ended with exit status {process.returncode}"

    def _raise(self, described: dict[str, str], problem: dict[str, Any]) -> NoReturn:
        known = getattr(errors, described["type"], None)
        if isinstance(known, type) and issubclass(known, errors.UsageError):
            raise known(described["message"])
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

    def _written(self) -> str:
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - SHOWN_STDERR))
        return self._stderr.read().decode(errors="replace").strip()

    def _tail(self) -> str:
        written = self._written()
        return f"; it wrote:\n{written}" if written else ""

    def _trim_stderr(self) -> None:
        fd = self._stderr.fileno()
        if os.fstat(fd).st_size > KEPT_STDERR:
            os.truncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)  # the worker shares this position, and writes on from here


def source_places(entry_point: str) -> dict[str, str]:
    """Return the location of the source that a worker for this entry point needs, by package."""
    from importlib.util import find_spec

    places = {"multiconv": str(PACKAGE)}
    for name in ("multiconv.backends", entry_point.partition(":")[0].partition(".")[0]):
        spec = None if name in places else find_spec(name)
        if spec is not None and spec.origin:
            places[name] = str(Path(spec.origin).parent) if spec.submodule_search_locations else spec.origin
    return places


def _stop(process: subprocess.Popen[bytes], wire: Wire, lifeline: int) -> None:
    """Let an idle worker exit, so that its framework removes its temporary files, and kill any other."""
    wire.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    os.close(lifeline)
    process.kill()
    process.wait()


def _hang_up(wire: Wire, lifeline: int) -> None:
    wire.close()
    os.close(lifeline)


def _after_fork() -> None:
    for worker in _workers:
        worker.let_go()


_workers: weakref.WeakSet[Worker] = weakref.WeakSet()
os.register_at_fork(after_in_child=_after_fork)


def _same_python(python: Path) -> bool:
    """Return whether this is the running Python, whose search path a worker then shares."""
    return os.path.abspath(python) == os.path.abspath(sys.executable)
