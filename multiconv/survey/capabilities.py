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
from math import isqrt
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import numpy as np

from multiconv import oracle, registry
from multiconv.core.dtypes import dtype_named
from multiconv.core.errors import BackendCrashed, BackendError, BackendTimeout, UnsupportedError
from multiconv.core.spec import ConvSpec, Geometry
from multiconv.core.types import Host, Progress, Shape, no_progress
from multiconv.oracle.judgement import Expected, judge
from multiconv.oracle.problem import Problem
from multiconv.running import Missing, Workers, available
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
SIZES = {1: (9,), 2: (7, 9), 3: (5, 7, 5)}
IN_CHANNELS = 4
TIMEOUT = 60.0
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    # JAX spends most of the time compiling: optimize less, and cache what is compiled.
    "XLA_FLAGS": "--xla_backend_optimization_level=0",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
SIGNIFICAND_BITS = {
    "float16": 11,
    "bfloat16": 8,
    "float32": 24,
    "float64": 53,
    "int8": 7,
    "int32": 31,
    "complex64": 24,
}

Layout = bool
Cells = dict[str, dict[str, dict[str, dict[str, str]]]]
"""Support by dtype, direction, number of axes (``"1-D"``, ``"2-D"`` or ``"3-D"``) and feature."""


@dataclass(frozen=True)
class Feature:
    """A row of the table: options of a convolution.

    A number such as `stride` applies to every axis.

    Attributes
    ----------
    name : str
    stride, dilation, groups, kernel, batch, out_channels : int
    padding : int, str or (int, int)
    bias : bool
    even : bool
        Whether the input has one more pixel along each axis.
    layouts : tuple of bool
        Layouts to try: True for channels last, False for channels first. The feature is native if the framework's own
        call supports it in one of them.
    """

    name: str
    stride: int = 1
    padding: int | str | tuple[int, int] = 0
    dilation: int = 1
    groups: int = 1
    kernel: int = 3
    batch: int = 2
    out_channels: int = 6
    bias: bool = False
    even: bool = False
    layouts: tuple[Layout, ...] = (False, True)

    def problem(self, ndim: int, dtype: str, *, channels_last: Layout) -> Problem:
        """Return the problem with integer values that tests this feature.

        Examples
        --------
        >>> FEATURES[2].problem(1, "float32", channels_last=False).spec.stride
        2
        """
        padding: Any = (self.padding,) * ndim if isinstance(self.padding, tuple) else self.padding
        layout = ("NWC", "NHWC", "NDHWC")[ndim - 1] if channels_last else None
        spec = ConvSpec(self.stride, padding, self.dilation, self.groups, layout)
        size = tuple(n + self.even for n in SIZES[ndim])
        x_shape = (self.batch, *size, IN_CHANNELS) if channels_last else (self.batch, IN_CHANNELS, *size)
        g = spec.resolve(x_shape, (self.out_channels, IN_CHANNELS // self.groups, *(self.kernel,) * ndim))
        x, w, dy, bias, x_bias = _values(g, dtype)
        return Problem(
            self.name, spec, x, w, dy, bias if self.bias else None, x_bias if self.bias else None, "integers"
        )


FEATURES = (
    Feature("plain"),
    Feature("bias", bias=True),
    Feature("stride", stride=2),
    Feature("stride, a pixel left over", stride=2, even=True),
    Feature("symmetric padding", padding=2),
    Feature("asymmetric padding", padding=(2, 1)),
    Feature("same, odd kernel", padding="same"),
    Feature("same, even kernel", padding="same", kernel=4),
    Feature("same, stride", padding="same", stride=2, even=True),
    Feature("same_lower, even kernel", padding="same_lower", kernel=4),
    Feature("dilation", dilation=2),
    Feature("stride and dilation", stride=2, dilation=2),
    Feature("padding and dilation", padding=1, dilation=2),
    Feature("groups", groups=2),
    Feature("groups and padding", groups=2, padding=2),
    Feature("depthwise", groups=4, out_channels=4),
    Feature("all of these", stride=2, padding=(2, 1), dilation=2, groups=2),
    Feature("batch of zero", batch=0),
    Feature("channels first", layouts=(False,)),
    Feature("channels last", layouts=(True,)),
)


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
            raise UnsupportedError("there is no such call")
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


def _values(g: Geometry, dtype: str) -> list[Host]:
    """Return integers for x, w, dy, the bias of y and the bias of x.

    They are as large as possible while every sum stays exact in the dtype. A sum in a less precise format therefore
    gives a wrong answer.
    """
    directions = ("forward", "input gradient", "kernel gradient")
    terms = 1 + max(oracle.contraction(direction, g) for direction in directions)
    largest = max(1, isqrt(2 ** SIGNIFICAND_BITS[dtype] // terms))
    kept = 1.0 if terms <= 2 ** SIGNIFICAND_BITS[dtype] else 0.25
    rng = np.random.default_rng(0)
    shapes: list[Shape] = [g.x_shape, g.w_shape, g.y_shape, (g.out_channels,), (g.in_channels,)]
    numbers = [rng.integers(-largest, largest + 1, shape) * (rng.random(shape) < kept) for shape in shapes]
    return [n.astype(dtype_named(dtype)) for n in numbers]


# ---- Tables for the terminal and for Markdown


def grouped(cells: Cells) -> list[tuple[list[str], dict[str, dict[str, dict[str, str]]]]]:
    """Group the dtypes that have the same table.

    Examples
    --------
    >>> grouped({"int8": {"layer": {}}, "int32": {"layer": {}}})
    [(['int8', 'int32'], {'layer': {}})]
    """
    tables: list[tuple[list[str], dict[str, dict[str, dict[str, str]]]]] = []
    for dtype, table in cells.items():
        for dtypes, other in tables:
            if other == table:
                dtypes.append(dtype)
                break
        else:
            tables.append(([dtype], table))
    return tables


def is_unsupported(table: dict[str, dict[str, dict[str, str]]]) -> bool:
    """Return whether no cell of a dtype's table is supported.

    Examples
    --------
    >>> is_unsupported({"layer": {"1-D": {"plain": "unsupported"}}})
    True
    """
    return all(kind == UNSUPPORTED for by_axes in table.values() for row in by_axes.values() for kind in row.values())
