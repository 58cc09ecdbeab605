"""Backends that time themselves, each in a worker of its own, with the threads and settings that were asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from math import isnan
from typing import Any

import numpy as np

from multiconv import registry
from multiconv.core.spec import ConvSpec, Geometry
from multiconv.core.targets import parse_target, plain_name
from multiconv.core.types import Host
from multiconv.workers.process import Worker, source_places

# glibc gives large arrays back to the system and faults their pages in again with each call, unless told not to.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}
THREAD_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
SETTLE_SECONDS = 1.0
SETTLE_STEP = 0.005
IDLE = 0.1
NOTHING = ConvSpec().resolve((1, 1, 1), (1, 1, 1))


@dataclass(frozen=True)
class Variant:
    """A backend with options and environment variables of its own.

    Attributes
    ----------
    label : str
        As it was asked for.
    name : str
        As `multiconv.backend` takes it.
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
        """The backend's name, without where it runs."""
        return plain_name(self.name)


def parse_variant(text: str) -> Variant:
    """A variant of a backend from text: its name, then ``+NAME=VALUE`` for each environment variable or option.

    What is in capitals is an environment variable, anything else a keyword argument of the backend's class.

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
    """A variant of a backend in a worker that times it.

    Parameters
    ----------
    variant : Variant
    threads : int
        How many cores and threads it may use.
    timeout : float
        Seconds that a request may take.

    Raises
    ------
    BackendUnavailable
        If it is not available.

    Examples
    --------
    >>> worker = TimedWorker(parse_variant("numpy"), threads=1, timeout=60)
    >>> g = ConvSpec(padding=1).resolve((1, 1, 8, 8), (1, 1, 3, 3))
    >>> first_call, loops = worker.prepare("forward/eager/native", g, "float32")
    >>> wall, processor = worker.loop("forward/eager/native", g, "float32", loops)
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
        self._loops: dict[tuple[str, Geometry, str], tuple[int, int]] = {}

    @property
    def version(self) -> str:
        """The framework's version."""
        return str(self.worker.hello["version"])

    @property
    def python_version(self) -> str:
        """The version of the worker's Python."""
        return str(self.worker.hello["python"])

    @property
    def dtypes(self) -> tuple[str, ...]:
        """What the backend computes in."""
        return tuple(self.worker.hello["dtypes"])

    def answer(self, how: str, g: Geometry, dtype: str, arrays: Sequence[Host]) -> Host:
        """What the call that is to be timed makes of (x, w, dy), channels first.

        Parameters
        ----------
        how : str
            ``"DIRECTION/MODE/LAYOUT"``.
        g : Geometry
        dtype : str
        arrays : sequence of array
        """
        return self._ask(f"check/{how}", g, dtype, arrays)

    def normwise_constant(self, direction: str, g: Geometry, dtype: str) -> float | None:
        """The constant of `multiconv.core.bounds.normwise` that the backend declares; None if its sums are direct."""
        constant = float(self._ask(f"normwise/{direction}", g, dtype))
        return None if isnan(constant) else constant

    def prepare(self, how: str, g: Geometry, dtype: str) -> tuple[float, int]:
        """Make a call ready and return the seconds of its first time, and how many calls make a loop."""
        first_call, loops = self._ask(f"prepare/{how}", g, dtype).tolist()
        self._loops[how, g, dtype] = self.worker.starts, int(loops)
        return first_call, int(loops)

    def loop(self, how: str, g: Geometry, dtype: str, loops: int) -> tuple[float, float]:
        """Seconds of so many calls, by the wall's clock and by the processor's."""
        if self._loops[how, g, dtype][0] != self.worker.ready():
            self.prepare(how, g, dtype)
        wall, processor = self._ask(f"loop/{how}", g, dtype, [np.array(loops)]).tolist()
        return wall, processor

    def forget(self) -> None:
        """Let go of what was prepared."""
        self._loops.clear()
        self._ask("forget")

    def matmul_rate(self, dtype: str) -> float:
        """Operations a second of the framework's own matrix product."""
        return float(self._ask("matmul", dtype=dtype))

    def stream_rate(self) -> float:
        """Bytes a second of the framework's own addition of vectors larger than the caches."""
        return float(self._ask("stream"))

    def settings(self) -> dict[str, Any]:
        """Affinity, threads, libraries and environment variables, as the worker finds them."""
        settings: dict[str, Any] = json.loads(self._ask("settings").tobytes())
        return settings

    def settle(self) -> None:
        """Wait until its threads have stopped spinning, at most a second."""
        until = time.monotonic() + SETTLE_SECONDS
        clock = (~int(self.worker.hello["pid"]) << 3) | 2  # as clock_getcpuclockid(3) makes it on Linux
        with suppress(OSError):  # it is gone
            busy = True
            while busy and time.monotonic() < until:
                before = time.clock_gettime(clock)
                time.sleep(SETTLE_STEP)
                busy = time.clock_gettime(clock) - before > IDLE * SETTLE_STEP

    def close(self) -> None:
        """End the worker."""
        self.worker.stop()

    def _ask(self, operation: str, g: Geometry = NOTHING, dtype: str = "float32", arrays: Sequence[Host] = ()) -> Host:
        header = {"do": "plan", "operation": operation, "dtype": dtype, "geometry": asdict(g)}
        (answer,) = self.worker.request(header, arrays)[1]
        assert answer is not None
        return answer


def environment(variant: Variant, threads: int) -> dict[str, str]:
    """The environment variables that a variant's worker gets: the same for all, but for its own.

    Examples
    --------
    >>> environment(parse_variant("numpy"), threads=2)["OMP_NUM_THREADS"]
    '2'
    """
    counts = dict.fromkeys(THREAD_COUNTS, str(threads))
    return {**ALLOCATOR, **counts, "TF_CPP_MIN_LOG_LEVEL": "2", **dict(variant.environment)}


def entry_point(name: str) -> str:
    """The ``"module:class"`` of a backend.

    Raises
    ------
    BackendUnavailable
        If there is none of this name.

    Examples
    --------
    >>> entry_point("torch")
    'multiconv.backends.torch:TorchBackend'
    """
    found = [e.value for e in entry_points(group=registry.GROUP) if e.name == name]
    if not found:
        raise registry.unknown_backend(name)
    return found[0]
