"""A service that times a backend: it prepares calls, repeats them, and reports how long they took.

It runs in other Python environments and imports only the standard library, NumPy, and multiconv's modules up to the
backend.
"""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from multiconv.core.dtypes import dtype_named
from multiconv.core.errors import UnsupportedError
from multiconv.core.geometry import Geometry
from multiconv.core.options import with_options
from multiconv.core.types import Array, Host
from multiconv.guest.service import Arrays, Service

Call = Callable[..., Array]

LEAST_NANOSECONDS = 5_000_000
MATRIX = 1024
STREAM_BYTES = 1 << 26
RATE_CALLS = 10
SEED = 0


class Framework:
    """The interface that timing needs from a framework beyond its backend. This base class is for an unknown framework.

    Attributes
    ----------
    channels_last : bool
        Whether the framework's own image layout is channels last.
    modes : tuple of str
        How its calls can be made: ``"eager"``, and the ways in which it compiles.
    """

    channels_last = False
    modes: tuple[str, ...] = ("eager",)

    def __init__(self, backend: Any) -> None:
        self.backend = backend

    def set_threads(self, threads: int) -> None:
        """Set the framework's number of threads, where affinity and environment variables are not enough."""

    def threads(self) -> int | None:
        """Return the number of threads that the framework reports, or None if it reports none."""
        return None

    def matmul(self, a: Array, b: Array) -> Array:
        """Compute the matrix product with the framework."""
        return a @ b

    def forward(self, function: Call, x: Array, w: Array, mode: str) -> Call:
        """Return a function without arguments that computes ``function(x, w)``."""
        return lambda: function(x, w)

    def gradient(self, function: Call, primals: tuple[Array, Array], which: int, dy: Array, mode: str) -> Call:
        """Return a function without arguments that computes the gradient of one primal only, without a forward pass."""
        raise UnsupportedError(f"{self.backend.name} is not known to compute one gradient alone")

    def with_other_fixed(self, function: Call, primals: tuple[Array, Array], which: int) -> Call:
        """Return the function of one primal, with the other fixed."""
        x, w = primals
        return (lambda w: function(x, w)) if which else (lambda x: function(x, w))


class TimedCall(NamedTuple):
    """A call that can be timed.

    Attributes
    ----------
    direction : str
        ``"forward"``, ``"input gradient"`` or ``"kernel gradient"``.
    mode : str
        One of the framework's modes.
    layout : str
        ``"native"``, for the framework's own call in its own layouts, or else through the backend's interface.
    geometry : Geometry
        Channels first.
    dtype : str
    """

    direction: str
    mode: str
    layout: str
    geometry: Geometry
    dtype: str


class Timed(Service):
    """A service that times a backend. The keywords of its methods are the fields of a `TimedCall`.

    Parameters
    ----------
    backend : str
        ``"module:class"``.
    options : str
        The keyword arguments of the backend's class, as JSON.
    threads : str
        Number of cores that it may use. The affinity is set before the framework is imported.
    """

    served = (
        *("check", "prepare", "loop", "forget"),
        *("normwise_constant", "matmul_rate", "stream_rate", "settings"),
    )

    def __init__(self, backend: str, options: str, threads: str) -> None:
        pin(int(threads))
        module, _, name = backend.partition(":")
        made = getattr(import_module(module), name)
        super().__init__(with_options(made.name, made, json.loads(options)))
        self.framework = framework_of(self.backend)
        self.framework.set_threads(int(threads))
        gc.freeze()  # else the garbage collection before each loop scans the whole framework
        self.calls: dict[TimedCall, Call] = {}
        self.arrays: dict[tuple[Geometry, str, bool], list[Array]] = {}

    # ---- What is served

    def check(self, x: Host, w: Host, dy: Host, **fields: Any) -> Arrays:
        """Return the result of a call for arrays with channels first."""
        timed = TimedCall(**fields)
        with self.backend.scope(timed.dtype):
            answer = self._call(timed, self._laid_out(timed.layout, (np.array(x), np.array(w), np.array(dy))))()
            host = self.backend.to_numpy(self.backend.block(answer))
        if timed.direction == "kernel gradient":
            hwio = self._in_own_layout(timed.layout) and self.backend.kernel_layout == "HWIO"
            return Arrays([np.moveaxis(host, (-1, -2), (0, 1)) if hwio else host])
        return Arrays([np.moveaxis(host, -1, 1) if self._channels_last(timed.layout) else host])

    def prepare(self, **fields: Any) -> dict[str, float]:
        """Return the seconds of the first call, and the number of calls in a loop."""
        timed = TimedCall(**fields)
        g, dtype = timed.geometry, timed.dtype
        key = g, dtype, self._in_own_layout(timed.layout)
        if key not in self.arrays:
            rng = np.random.default_rng(SEED)
            shapes = (g.x_shape, g.w_shape, g.y_shape)
            drawn = [rng.standard_normal(s, dtype="float32").astype(dtype_named(dtype)) for s in shapes]
            self.arrays[key] = self._laid_out(timed.layout, drawn)
        began = time.perf_counter()
        with self.backend.scope(dtype):
            call = self._call(timed, self.arrays[key])
            self.backend.block(call())
        first = time.perf_counter() - began
        self.calls[timed] = call
        count = 1
        while (wall := self._time(call, count, dtype)["wall"] * 1e9) < LEAST_NANOSECONDS:
            count = max(2 * count, min(100 * count, int(count * LEAST_NANOSECONDS / wall)))
        return {"first_call": first, "loops": count}

    def loop(self, *, loops: int, **fields: Any) -> dict[str, float]:
        """Repeat a prepared call; return the seconds of wall time and of processor time."""
        timed = TimedCall(**fields)
        return self._time(self.calls[timed], loops, timed.dtype)

    def forget(self) -> None:
        """Discard what was prepared."""
        self.calls.clear()
        self.arrays.clear()
        gc.collect()

    def normwise_constant(self, *, direction: str, geometry: Geometry, dtype: str) -> float | None:
        """Return the constant of `multiconv.core.bounds.normwise`, or None if sums are direct."""
        declared = getattr(self.backend, "normwise_constant", None)
        constant = None if declared is None else declared(geometry, direction, dtype)
        return None if constant is None else float(constant)

    def matmul_rate(self, *, dtype: str) -> float:
        """Return the operations per second of the framework's matrix product."""
        rng = np.random.default_rng(SEED)
        square = (MATRIX, MATRIX)
        a, b = (self.backend.asarray(rng.standard_normal(square).astype(dtype_named(dtype))) for _ in range(2))
        return 2 * MATRIX**3 / self._least_seconds(lambda: self.framework.matmul(a, b), dtype)

    def stream_rate(self) -> float:
        """Return the bytes per second of the framework's addition of long vectors."""
        a, b = (self.backend.asarray(np.ones(STREAM_BYTES // 4, "float32")) for _ in range(2))
        return 3 * STREAM_BYTES / self._least_seconds(lambda: a + b, "float32")

    def settings(self) -> dict[str, Any]:
        """Return the affinity, threads, libraries and environment variables of this process."""
        names = (
            *("OMP_", "OPENBLAS_", "MKL_", "KMP_", "GOMP_", "MXNET_", "XLA_", "MALLOC_", "NPROC"),
            *(
                "TF_CPP_",
                "TF_ENABLE_",
                "TF_NUM_",
                "TF_XLA_",
            ),  # other TF_ variables, such as TF_CLI_ARGS, are Terraform's
        )
        return {
            "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
            "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(names)},
            "threads": self.framework.threads(),
            "modes": self.framework.modes,
            "libraries": libraries(),
        }

    # ---- Timing

    def _time(self, call: Call, loops: int, dtype: str) -> dict[str, float]:
        block = self.backend.block
        gc.collect()
        gc.disable()
        try:
            with self.backend.scope(dtype):
                wall, processor = time.perf_counter_ns(), time.process_time_ns()
                for _ in range(loops):
                    block(call())
                processor, wall = time.process_time_ns() - processor, time.perf_counter_ns() - wall
        finally:
            gc.enable()
        return {"wall": wall * 1e-9, "processor": processor * 1e-9}

    def _least_seconds(self, call: Call, dtype: str) -> float:
        """Return the shortest time of several calls, the first of which may compile."""
        return min(self._time(call, 1, dtype)["wall"] for _ in range(RATE_CALLS))

    # ---- The calls

    def _call(self, timed: TimedCall, arrays: list[Array]) -> Call:
        """Return the function without arguments that is timed."""
        direction, mode, layout, g, _ = timed
        if mode not in self.framework.modes:
            raise UnsupportedError(
                f"{self.backend.name} has no mode {mode!r}: it has {', '.join(self.framework.modes)}"
            )
        function = self._own_function(g) if self._in_own_layout(layout) else self._through_interface(g)
        x, w, dy = arrays
        if direction == "forward":
            return self.framework.forward(function, x, w, mode)
        return self.framework.gradient(function, (x, w), int(direction == "kernel gradient"), dy, mode)

    def _own_function(self, g: Geometry) -> Call:
        """Return the framework's call on arrays in its own layouts."""
        own = g.with_layout(channels_last=self._channels_last("native"))
        if self.backend.pads_natively(own):
            native: Call = self.backend.native_cross_correlate(own)
            return native
        inside = self.backend.native_cross_correlate(own.without_padding())
        widths = ((0, 0), *own.pads, (0, 0)) if own.channels_last else ((0, 0), (0, 0), *own.pads)
        return lambda x, w: inside(self.backend.pad(x, widths), w)

    def _through_interface(self, g: Geometry) -> Call:
        options = {"stride": g.stride, "padding": g.pads, "dilation": g.dilation, "groups": g.groups}
        return lambda x, w: self.backend.cross_correlate(x, w, **options)

    def _laid_out(self, layout: str, arrays: Any) -> list[Array]:
        """Convert to arrays of the backend, in the framework's own layouts if the calls take those."""
        x, w, dy = arrays
        if self._channels_last(layout):
            x, dy = np.moveaxis(x, 1, -1), np.moveaxis(dy, 1, -1)
        if self._in_own_layout(layout) and self.backend.kernel_layout == "HWIO":
            w = np.moveaxis(w, (0, 1), (-1, -2))
        return [self.backend.asarray(np.ascontiguousarray(a)) for a in (x, w, dy)]

    def _in_own_layout(self, layout: str) -> bool:
        return layout == "native"

    def _channels_last(self, layout: str) -> bool:
        return self._in_own_layout(layout) and (
            self.framework.channels_last or "channels_first" not in self.backend.layouts
        )


def pin(threads: int) -> None:
    """Pin this process, including the threads that NumPy has started in it, to the first `threads` of its cores."""
    if not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))[:threads]
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            os.sched_setaffinity(int(task.name), cores)


def framework_of(backend: Any) -> Framework:
    """Return the `Framework` for the framework of a backend."""
    name = f"multiconv.guest.timed_{backend.name}"
    kind: type[Framework] = Framework if find_spec(name) is None else import_module(name).TimedFramework
    return kind(backend)


def libraries() -> list[dict[str, Any]]:
    """Return the threading and linear algebra libraries in this process, if threadpoolctl is installed."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return []
    kept = ("internal_api", "version", "num_threads", "architecture", "threading_layer")
    return [{k: lib[k] for k in kept if k in lib} for lib in threadpool_info()]
