"""Workers that time a backend, with the requested threads and settings."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from multiconv import registry
from multiconv.core.geometry import Geometry
from multiconv.core.targets import parse_target, plain_name
from multiconv.core.types import Host
from multiconv.guest.timed import TimedCall
from multiconv.workers.process import Worker, source_places

# By default glibc returns large arrays to the system, and each call faults their pages in again.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}
THREAD_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
SETTLE_SECONDS = 1.0
SETTLE_STEP = 0.005
IDLE = 0.1


@dataclass(frozen=True)
class Variant:
    """A backend with its own options and environment variables.

    Attributes
    ----------
    label : str
        The text that `parse_variant` read.
    name : str
        Name as for `multiconv.backend`.
    options : tuple of (str, str)
        Keyword arguments of the backend's class.
    environment : tuple of (str, str)
    """

    label: str
    name: str
    options: tuple[tuple[str, str], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def plain_name(self) -> str:
        """Return the backend's name, without its version or interpreter."""
        return plain_name(self.name)


def parse_variant(text: str) -> Variant:
    """Parse a variant of a backend: its name, then ``+NAME=VALUE`` for each environment variable or option.

    A name in capitals is an environment variable. Any other name is a keyword argument of the backend's class.

    Raises
    ------
    UsageError
        If a part has no ``=``.

    Examples
    --------
    >>> parse_variant("numpy+algorithm=fast+OPENBLAS_CORETYPE=SkylakeX")
    Variant(label='numpy+algorithm=fast+OPENBLAS_CORETYPE=SkylakeX', name='numpy', options=(('algorithm', 'fast'),), \
environment=(('OPENBLAS_CORETYPE', 'SkylakeX'),))
    """
    target = parse_target(text)
    return Variant(text, target.name, tuple(target.options.items()), tuple(target.environment.items()))


class TimedWorker:
    """A worker that runs and times a variant of a backend.

    Parameters
    ----------
    variant : Variant
    threads : int
        Number of cores and threads that it may use.
    timeout : float
        Time limit for a request, in seconds.

    Raises
    ------
    BackendUnavailable
        If the backend is not available.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> worker = TimedWorker(parse_variant("numpy"), threads=1, timeout=60)
    >>> g = ConvSpec(padding=1).resolve((1, 1, 8, 8), (1, 1, 3, 3))
    >>> call = TimedCall("forward", "eager", "native", g, "float32")
    >>> first_call, loops = worker.prepare(call)
    >>> wall, processor = worker.loop(call, loops)
    >>> worker.close()
    """

    def __init__(self, variant: Variant, threads: int, timeout: float) -> None:
        self.variant, self.threads = variant, threads
        target = entry_point(variant.plain_name)
        timed = "multiconv.guest.timed:Timed"
        self.worker = Worker(
            variant.label,
            timed,
            {**source_places(target), **source_places(timed)},
            registry.locate(variant.name).python,
            timeout,
            environment(variant, threads),
            arguments=[target, json.dumps(dict(variant.options)), str(threads)],
        )
        self._prepared_in: dict[TimedCall, int] = {}

    @property
    def version(self) -> str:
        """Return the framework's version."""
        return str(self.worker.hello["version"])

    @property
    def python_version(self) -> str:
        """Return the version of the worker's Python."""
        return str(self.worker.hello["python"])

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Return the dtypes that the backend computes in."""
        return tuple(self.worker.hello["dtypes"])

    def answer(self, call: TimedCall, arrays: Sequence[Host]) -> Host:
        """Return the result of the timed call for (x, w, dy), channels first."""
        (answer,) = self.worker.compute("check", *arrays, **call._asdict())
        assert answer is not None
        return answer

    def normwise_constant(self, direction: str, g: Geometry, dtype: str) -> float | None:
        """Return the backend's constant for `multiconv.core.bounds.normwise`; None if its sums are direct."""
        constant: float | None = self.worker.call("normwise_constant", direction=direction, geometry=g, dtype=dtype)
        return constant

    def prepare(self, call: TimedCall) -> tuple[float, int]:
        """Prepare a call; return the seconds of its first run, and the number of calls in a loop."""
        prepared = self.worker.call("prepare", **call._asdict())
        self._prepared_in[call] = self.worker.starts
        return prepared["first_call"], prepared["loops"]

    def loop(self, call: TimedCall, loops: int) -> tuple[float, float]:
        """Run the call `loops` times; return the wall-clock and the processor seconds."""
        if self._prepared_in[call] != self.worker.ready():
            self.prepare(call)
        seconds = self.worker.call("loop", loops=loops, **call._asdict())
        return seconds["wall"], seconds["processor"]

    def forget(self) -> None:
        """Discard the prepared calls."""
        self._prepared_in.clear()
        self.worker.call("forget")

    def matmul_rate(self, dtype: str) -> float:
        """Return the operations per second of the framework's own matrix product."""
        return float(self.worker.call("matmul_rate", dtype=dtype))

    def stream_rate(self) -> float:
        """Return the bytes per second of the framework's own addition of vectors larger than the caches."""
        return float(self.worker.call("stream_rate"))

    def settings(self) -> dict[str, Any]:
        """Return the affinity, threads, libraries and environment variables that the worker reports."""
        settings: dict[str, Any] = self.worker.call("settings")
        return settings

    def settle(self) -> None:
        """Wait until the worker's threads stop spinning, at most one second."""
        until = time.monotonic() + SETTLE_SECONDS
        clock = (~int(self.worker.hello["pid"]) << 3) | 2  # clock_getcpuclockid(3) on Linux
        with suppress(OSError):  # the worker has ended
            busy = True
            while busy and time.monotonic() < until:
                before = time.clock_gettime(clock)
                time.sleep(SETTLE_STEP)
                busy = time.clock_gettime(clock) - before > IDLE * SETTLE_STEP

    def close(self) -> None:
        """Stop the worker."""
        self.worker.stop()


def environment(variant: Variant, threads: int) -> dict[str, str]:
    """Return the environment variables of a variant's worker: a common set, and the variant's own.

    Examples
    --------
    >>> environment(parse_variant("numpy"), threads=2)["OMP_NUM_THREADS"]
    '2'
    """
    counts = dict.fromkeys(THREAD_COUNTS, str(threads))
    return {**ALLOCATOR, **counts, "TF_CPP_MIN_LOG_LEVEL": "2", **dict(variant.environment)}


def entry_point(name: str) -> str:
    """Return the entry point of a backend: ``"module:class"``.

    Raises
    ------
    BackendUnavailable
        If there is no backend of this name.

    Examples
    --------
    >>> entry_point("torch")
    'multiconv.backends.torch:TorchBackend'
    """
    found = [e.value for e in entry_points(group=registry.GROUP) if e.name == name]
    if not found:
        raise registry.unknown_backend(name)
    return found[0]
