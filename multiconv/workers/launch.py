"""One process that serves: how it is started, talked to and ended, with nothing left behind.

It leads a process group, so that it is killed together with the children that a framework may have started. A pipe ties
it to this process: if this process dies, the pipe closes, and the system kills the worker.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any

from multiconv.core.errors import BackendUnavailable, ResourceError
from multiconv.core.types import Host
from multiconv.core.wire import Wire, anonymous_file

SERVE = Path(__file__).parents[1] / "guest" / "serve.py"
GRACE_SECONDS = 2.0
KEPT_STDERR_BYTES = 1 << 20
SHOWN_STDERR_BYTES = 4000
NO_PYTHON = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""What the system says of a file that it can't run. Any other error is of this process."""


class Process:
    """A running ``guest/serve.py``.

    Parameters
    ----------
    name : str
        The backend's name, for messages.
    python : path
        The Python to run it with.
    setup : dict
        What it serves, for JSON: ``entry_point``, ``places``, ``arguments`` and ``path``.
    environment : dict
        Environment variables to set in addition to those of this process.
    timeout : float
        Time limit for each part of a frame, in seconds.

    Raises
    ------
    BackendUnavailable
        If the Python can't be run.
    ResourceError
        If this process lacks descriptors, memory or a place for temporary files.
    """

    def __init__(
        self, name: str, python: Path, setup: dict[str, Any], environment: dict[str, str], timeout: float
    ) -> None:
        self._descriptors: list[int] = []
        self._wire: Wire | None = None
        _processes.add(self)
        try:
            with _fork_lock, ExitStack() as undo:
                self._start(undo, name, python, setup, environment, timeout)
                undo.pop_all()
        except OSError as error:
            raise ResourceError(f"a worker for {name} can't be started: {error.strerror or error}") from error

    def _start(
        self,
        undo: ExitStack,
        name: str,
        python: Path,
        setup: dict[str, Any],
        environment: dict[str, str],
        timeout: float,
    ) -> None:
        def own(descriptor: int) -> int:
            self._descriptors.append(descriptor)
            return descriptor

        undo.callback(self.hang_up)
        ours, theirs = (sock.detach() for sock in socket.socketpair())
        own(ours)
        with ExitStack() as passed:
            passed.callback(os.close, theirs)
            lifeline, self._lifeline = os.pipe()
            passed.callback(os.close, lifeline)
            own(self._lifeline)
            requests, answers = own(anonymous_file()), own(anonymous_file())
            self._stderr: IO[bytes] = undo.enter_context(tempfile.TemporaryFile("a+b"))
            descriptors = {"connection": theirs, "lifeline": lifeline, "requests": requests, "answers": answers}
            command = [str(python), "-I", "-X", "faulthandler", str(SERVE), json.dumps({**setup, **descriptors})]
            try:
                self._popen = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=self._stderr,
                    stderr=self._stderr,
                    pass_fds=tuple(descriptors.values()),
                    start_new_session=True,
                    env={**os.environ, **environment},
                )
            except (OSError, ValueError) as error:
                if isinstance(error, OSError) and error.errno not in NO_PYTHON:
                    raise
                words = (isinstance(error, OSError) and error.strerror) or error
                raise BackendUnavailable(f"{name} can't run in {python}: {words}") from None
        undo.callback(self._kill_and_reap)
        self._exited = own(os.pidfd_open(self._popen.pid)) if hasattr(os, "pidfd_open") else None
        limit = struct.pack("ll", max(1, int(timeout)), 0)
        with socket.socket(fileno=os.dup(ours)) as same:
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                same.setsockopt(socket.SOL_SOCKET, option, limit)
        connection: Connection[Any, Any] = Connection(ours)
        self._wire = Wire(connection, mine=requests, theirs=answers)  # which closes these three
        self._descriptors = [d for d in self._descriptors if d not in (ours, requests, answers)]

    @property
    def wire(self) -> Wire:
        """The connection, once the process is started."""
        assert self._wire is not None
        return self._wire

    def receive(self, timeout: float) -> tuple[dict[str, Any], list[Host | None]]:
        """Receive a frame.

        Raises
        ------
        TimeoutError
            If none came in time.
        EOFError
            If the process ended, even if a child of it still has its end of the connection.
        Garbled, OSError
            As in `multiconv.core.wire.Wire.receive`.
        """
        sources: Sequence[Any] = [self.wire.connection, *([] if self._exited is None else [self._exited])]
        ready = wait(sources, timeout)
        if not ready:
            raise TimeoutError
        if self.wire.connection not in ready and not self.wire.connection.poll(0):
            raise EOFError
        return self.wire.receive()

    def kill(self) -> None:
        """Kill the process and its children at once."""
        if self._popen.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)

    def end(self) -> None:
        """Let it exit if it is idle, so that its framework removes its temporary files, and kill it otherwise."""
        try:
            with _fork_lock:
                self.wire.connection.close()
            self._await_exit(GRACE_SECONDS)
        finally:
            self._kill_and_reap()
            self.hang_up()
            self._last_words = self.written()
            self._stderr.close()

    def hang_up(self) -> None:
        """Close the descriptors. A fork of this process does so too, so that it does not keep the worker alive."""
        with _fork_lock:
            wire, self._wire = self._wire, None
            if wire is not None:
                wire.close()
            while self._descriptors:
                os.close(self._descriptors.pop())

    def how_it_ended(self) -> str:
        """Describe how the process ended, or that it did not."""
        if not self._await_exit(5):
            return "closed its connection"
        status = self._kill_and_reap()
        if status >= 0:
            return f"ended with exit status {status}"
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-status).name}"
        return f"was killed by signal {-status}"

    def written(self) -> str:
        """Return the end of its standard output and error."""
        if self._stderr.closed:
            return self._last_words
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - SHOWN_STDERR_BYTES))
        return self._stderr.read().decode(errors="replace").strip()

    def trim_stderr(self) -> None:
        """Discard its output if it is long."""
        descriptor = self._stderr.fileno()
        if os.fstat(descriptor).st_size > KEPT_STDERR_BYTES:
            os.truncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)  # the worker shares this position, and writes on from here

    def _await_exit(self, seconds: float) -> bool:
        """Wait until the process has exited, and return whether it has. It stays a zombie, which keeps its number."""
        if self._popen.returncode is not None:
            return True
        if self._exited is not None:
            return bool(wait([self._exited], seconds))
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(seconds)
        return self._popen.returncode is not None

    def _kill_and_reap(self) -> int:
        """Kill what is left of the process group, and return the exit status of the process."""
        self.kill()
        return self._popen.wait()


def _after_fork() -> None:
    for process in _processes:
        process.hang_up()
    _fork_lock.release()


_processes: weakref.WeakSet[Process] = weakref.WeakSet()
_fork_lock = threading.RLock()
"""Held while descriptors are opened or closed, so that a fork by another thread finds each one known or closed."""
os.register_at_fork(before=_fork_lock.acquire, after_in_parent=_fork_lock.release, after_in_child=_after_fork)
