"""Find out by trial which features each backend supports, and which of them are native to its framework.

Each cell of the table stands for a dtype, a direction, a number of spatial axes and a feature. To fill it, one small
problem with integer values runs on the backend, and on the framework's own call (such as ``F.conv2d``) with the same
options and nothing around it. The integers are as large as possible while every sum stays exact in the dtype. Both run
in a worker process, because a framework's own call may crash the process. A crash costs one cell.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from itertools import zip_longest
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from multiconv import registry
from multiconv.core.errors import BackendCrashed, BackendError, BackendTimeout, UnsupportedError
from multiconv.core.types import Host, Progress, no_progress
from multiconv.oracle.judgement import Expected, judge
from multiconv.oracle.problem import Problem
from multiconv.running import Missing, Workers, available
from multiconv.survey.features import FEATURES, Feature
from multiconv.survey.own_calls import has_native_calls, native_worker
from multiconv.workers.remote import RemoteBackend

NATIVE, COMPOSED, UNSUPPORTED = "native", "composed", "unsupported"


DTYPES = ("float16", "bfloat16", "float32", "float64", "int8", "int32", "complex64")
DEFAULT_DTYPES = ("float32", "float64")
DIMENSIONS = (1, 2, 3)
RESULTS = {
    "forward": ("forward",),
    "gradients": ("input gradient", "kernel gradient", "bias gradient"),
    "convolve": ("convolve",),
    "conv_transpose": ("conv_transpose",),
    "layer": ("layer",),
}
DIRECTIONS = tuple(RESULTS)
TIMEOUT = 60.0
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    # JAX spends most of the time compiling: optimize less, and cache what is compiled.
    "XLA_FLAGS": "--xla_backend_optimization_level=0",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}

Cells = dict[str, dict[str, dict[str, dict[str, str]]]]
"""Support by dtype, direction, number of axes (``"1-D"``, ``"2-D"`` or ``"3-D"``) and feature."""


@dataclass
class Surprise:
    """A framework's own call that accepted options, and then returned a wrong answer or crashed the process.

    Attributes
    ----------
    dtype, direction, dimensions, feature : str
    fault : str
        Description of the fault.
    """

    dtype: str
    direction: str
    dimensions: str
    feature: str
    fault: str


@dataclass
class BackendCapabilities:
    """The capabilities of a backend.

    Attributes
    ----------
    name, version : str
    cells : dict
        ``"native"``, ``"composed"`` or ``"unsupported"``, by dtype, direction, number of axes (such as ``"1-D"``) and
        feature.
    surprises : list of Surprise
    """

    name: str
    version: str
    cells: Cells = field(default_factory=dict)
    surprises: list[Surprise] = field(default_factory=list)


@dataclass
class Capabilities:
    """The capabilities of backends, and the backends that are not available.

    Attributes
    ----------
    backends : list of BackendCapabilities
    missing : list of Missing
    """

    backends: list[BackendCapabilities]
    missing: list[Missing]

    def asdict(self) -> dict[str, Any]:
        """Return a dictionary for JSON.

        Examples
        --------
        >>> Capabilities([], []).asdict()["schema"]
        1
        """
        return {"schema": 1, "multiconv": version("multiconv"), **asdict(self)}


def capabilities(
    names: Sequence[str] = (),
    *,
    dtypes: Sequence[str] = DEFAULT_DTYPES,
    directions: Sequence[str] = DIRECTIONS,
    dimensions: Sequence[int] = DIMENSIONS,
    features: Sequence[Feature] = FEATURES,
    progress: Progress = no_progress,
) -> Capabilities:
    """Try features on backends and on their frameworks' own calls.

    Parameters
    ----------
    names : sequence of str
        Names as for `multiconv.backend`; default all installed backends.
    dtypes, directions, dimensions, features
        What to try: elements of `DTYPES`, `DIRECTIONS`, `DIMENSIONS` and `FEATURES`.
    progress : callable, optional

    Returns
    -------
    Capabilities
        A cell is ``"unsupported"`` if the backend raises an error or answers wrongly. It is ``"native"`` if one of the
        framework's own calls accepts the options unchanged and answers exactly: its convolution, the gradient of this
        by autodiff, its transposed convolution or its layer. It is ``"composed"`` if only the backend answers exactly.

    Raises
    ------
    BackendUnavailable
        If a named backend is not available.

    Examples
    --------
    >>> found = capabilities(["numpy"], dtypes=["float32"], directions=["forward"], dimensions=[2])
    >>> found.backends[0].cells["float32"]["forward"]["2-D"]["asymmetric padding"]
    'composed'
    """
    with (
        TemporaryDirectory() as cache,
        Workers[RemoteBackend]() as workers,
        ThreadPoolExecutor(os.cpu_count()) as threads,
    ):
        environment = {**WORKER_ENVIRONMENT, "JAX_COMPILATION_CACHE_DIR": cache}
        pools, missing = available(
            names or registry.names(),
            lambda name: _Pool(name, lambda: workers.start(lambda: native_worker(name, TIMEOUT, environment))),
            required=bool(names),
            threads=os.cpu_count(),
        )
        tables = [_Table(pool, directions, dimensions, features, progress, len(dtypes)) for _, pool in pools]
        for filled in [threads.submit(table.fill, dtype) for table in tables for dtype in dtypes]:
            filled.result()
    return Capabilities([table.found(dtypes) for table in tables], missing)


class _Pool:
    """The workers of one backend: one at first, more on demand."""

    def __init__(self, name: str, start: Callable[[], RemoteBackend]) -> None:
        self.name = name
        self._start = start
        self._idle = [start()]

    def take(self) -> RemoteBackend:
        """Return an idle worker; start one if all are busy."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._start()

    def give_back(self, worker: RemoteBackend) -> None:
        """Make a worker idle again."""
        self._idle.append(worker)


class _Table:
    """The cells of one backend."""

    def __init__(
        self,
        pool: _Pool,
        directions: Sequence[str],
        dimensions: Sequence[int],
        features: Sequence[Feature],
        progress: Progress,
        dtypes: int,
    ) -> None:
        self.pool, self.progress = pool, progress
        self.directions, self.dimensions, self.features = directions, dimensions, features
        self.total = dtypes * len(directions) * len(dimensions) * len(features)
        self.done = 0
        self.version = ""
        self.cells: Cells = {}
        self.surprises: list[Surprise] = []
        self._lock = Lock()

    def found(self, dtypes: Sequence[str]) -> BackendCapabilities:
        """Return all cells, in the order of `dtypes`."""
        surprises = sorted(self.surprises, key=lambda s: dtypes.index(s.dtype))
        return BackendCapabilities(self.pool.name, self.version, {d: self.cells[d] for d in dtypes}, surprises)

    def fill(self, dtype: str) -> None:
        """Try every cell of a dtype."""
        worker = self.pool.take()
        self.version = worker.version
        cells: dict[str, dict[str, dict[str, str]]] = {d: {} for d in self.directions}
        for ndim in self.dimensions:
            rows: dict[str, dict[str, str]] = {d: {} for d in self.directions}
            for feature in self.features:
                tried = [_Tried(worker, feature.problem(ndim, dtype, channels_last=last)) for last in feature.layouts]
                for direction in self.directions:
                    rows[direction][feature.name] = _support(tried, direction)
                    self._note(tried, dtype, direction, f"{ndim}-D", feature.name)
            for direction in self.directions:
                cells[direction][f"{ndim}-D"] = rows[direction]
        self.cells[dtype] = cells
        self.pool.give_back(worker)

    def _note(self, tried: list[_Tried], dtype: str, direction: str, dimensions: str, feature: str) -> None:
        faults = [f for t in tried if (f := t.own_surprise(direction)) is not None]
        with self._lock:
            self.surprises += [Surprise(dtype, direction, dimensions, feature, fault) for fault in faults[:1]]
            self.done += 1
            self.progress(self.pool.name, self.done, self.total, "")


def _support(tried: list[_Tried], direction: str) -> str:
    """Return the support of a feature, from its trials in each layout."""
    if not tried[0].backend_is_right(direction):
        return UNSUPPORTED
    native = any(t.own_is_right(direction) and t.backend_is_right(direction) for t in tried)
    return NATIVE if native else COMPOSED


class _Tried:
    """A problem, and the answers of the backend and of the framework's own call."""

    def __init__(self, worker: RemoteBackend, problem: Problem) -> None:
        self.worker, self.problem = worker, problem
        self._backend: dict[str, str | None] = {}
        self._own: dict[str, str | None] = {}
        self._refused: dict[str, bool] = {}

    def backend_is_right(self, direction: str) -> bool:
        """Return whether the backend answers exactly."""
        if direction not in self._backend:
            self._backend[direction] = self._fault(direction, _attempt(lambda: self._ask_backend(direction)))
        return self._backend[direction] is None

    def own_is_right(self, direction: str) -> bool:
        """Return whether the framework's own call answers exactly."""
        if direction not in self._own:
            answers = _attempt(lambda: self._ask_framework(direction))
            self._own[direction] = self._fault(direction, answers)
            self._refused[direction] = type(answers) in (BackendError, UnsupportedError)
        return self._own[direction] is None

    def own_surprise(self, direction: str) -> str | None:
        """Return the fault of the framework's own call; None if it is right, refused or was not called."""
        return None if self._refused.get(direction, True) else self._own[direction]

    def _ask_backend(self, direction: str) -> Sequence[Host | None]:
        p, backend = self.problem, self.worker
        if direction == "gradients":
            return backend.cross_correlate_vjp(p.x, p.w, p.bias, p.dy, **p.options)
        if direction == "conv_transpose":
            return (backend.conv_transpose(p.dy, p.w, p.x_bias, **p.options, output_padding=p.output_padding),)
        if direction == "layer":
            return (backend.layer(p.w, p.bias, **p.options)(p.x),)
        method = backend.convolve if direction == "convolve" else backend.cross_correlate
        return (method(p.x, p.w, p.bias, **p.options),)

    def _ask_framework(self, direction: str) -> Sequence[Host | None]:
        p, g = self.problem, self.problem.geometry
        if not has_native_calls(self.worker.name) or direction == "convolve":
            raise UnsupportedError("the framework has no such call")
        arrays = [p.x, p.w, p.bias]
        if direction == "gradients":
            arrays.append(p.dy)
        if direction == "conv_transpose":
            g, arrays = p.transposed, [p.dy, p.w, p.x_bias]
        return self.worker.worker.compute("own", *arrays, direction=direction, geometry=g, dtype=p.dtype)

    def _fault(self, direction: str, answers: Sequence[Host | None] | Exception) -> str | None:
        if isinstance(answers, BackendCrashed | BackendTimeout):
            # The path of the interpreter, the problem and the stack would make the table too long.
            return f"the process {str(answers).partition(', on ')[0].partition(f'{self.worker.python} ')[2]}"
        if isinstance(answers, Exception):
            return str(answers)
        for name, answer in zip_longest(RESULTS[direction], answers):
            if name in self._expected:
                fault = "there is none" if answer is None else judge(answer, self._expected[name]).fault
                if fault is not None:
                    return fault if len(RESULTS[direction]) == 1 else f"{name}: {fault}"
        return None

    @cached_property
    def _expected(self) -> dict[str, Expected]:
        return self.problem.expectations()


def _attempt(ask: Callable[[], Sequence[Host | None]]) -> Sequence[Host | None] | Exception:
    """Return the answers, or the exception raised instead."""
    try:
        return ask()
    except Exception as error:
        return error
