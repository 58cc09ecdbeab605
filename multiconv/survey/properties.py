"""Measure how each backend computes: repeats, batches, threads, compilation, NaN, infinity and subnormal numbers.

No property says whether an answer is right: two answers that differ in a bit may both lie within the error bound. The
properties say what a user can rely on: whether bits stay the same, and whether NaN and infinity reach only the outputs
that depend on them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np

from multiconv import oracle, registry
from multiconv.core.errors import BackendError, UsageError, suggestion
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Host, Progress, Shape, no_progress
from multiconv.running import Missing, available
from multiconv.survey.own_calls import native_worker
from multiconv.workers.remote import RemoteBackend

DTYPES = ("float32", "float64")
REPEATS = 20
BATCH = 17
TIMEOUT = 300.0
SAME = "same bits"
COMPILED = {
    "torch": ("torch.compile",),
    "jax": ("jax.jit",),
    "tensorflow": ("tf.function", "tf.function(jit_compile=True)"),
    "mxnet": ("hybridize",),
}


@dataclass(frozen=True)
class Case:
    """Options and shapes with their own code path in a framework.

    Attributes
    ----------
    name : str
    spec : ConvSpec
    x_shape, w_shape : tuple of int
        Shapes of input and kernel; `x_shape` has no batch axis.
    """

    name: str
    spec: ConvSpec
    x_shape: Shape
    w_shape: Shape

    def arrays(self, dtype: str, batch: int = 2) -> tuple[Host, Host, Host]:
        """Return normally distributed x, w and dy.

        Examples
        --------
        >>> CASES[0].arrays("float32")[0].shape
        (2, 16, 28, 28)
        """
        rng = np.random.default_rng(0)
        g = self.spec.resolve((batch, *self.x_shape), self.w_shape)
        x, w, dy = (rng.standard_normal(shape).astype(dtype) for shape in (g.x_shape, g.w_shape, g.y_shape))
        return x, w, dy


CASES = (
    Case("3x3", ConvSpec(padding=1), (16, 28, 28), (32, 16, 3, 3)),
    Case("1x1", ConvSpec(), (64, 14, 14), (64, 64, 1, 1)),
    Case("7x7 stride 2", ConvSpec(2, 3), (3, 56, 56), (32, 3, 7, 7)),
    Case("one channel", ConvSpec(), (1, 28, 28), (6, 1, 5, 5)),
    Case("depthwise", ConvSpec(padding=1, groups=32), (32, 28, 28), (32, 1, 3, 3)),
    Case("dilated", ConvSpec(padding=2, dilation=2), (8, 28, 28), (8, 8, 3, 3)),
    Case("1-D", ConvSpec(), (8, 200), (16, 8, 5)),
    Case("3-D", ConvSpec(), (4, 10, 10, 10), (8, 4, 3, 3, 3)),
)


@dataclass
class BackendProperties:
    """The measured properties of a backend.

    Attributes
    ----------
    name, version : str
    properties : dict
        Measured values, in words, by dtype and property.
    """

    name: str
    version: str
    properties: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass
class Properties:
    """The measured properties of backends, and the backends that are not available.

    Attributes
    ----------
    backends : list of BackendProperties
    missing : list of Missing
    """

    backends: list[BackendProperties]
    missing: list[Missing]

    def asdict(self) -> dict[str, Any]:
        """Return a dictionary for JSON.

        Examples
        --------
        >>> Properties([], []).asdict()["schema"]
        1
        """
        return {"schema": 1, "multiconv": version("multiconv"), **asdict(self)}


def properties(
    names: Sequence[str] = (),
    *,
    dtypes: Sequence[str] = DTYPES,
    wanted: Sequence[str] = (),
    progress: Progress = no_progress,
) -> Properties:
    """Measure how backends compute.

    Parameters
    ----------
    names : sequence of str
        Names as for `multiconv.backend`; default all installed backends.
    dtypes : sequence of str
    wanted : sequence of str
        Keys of `PROPERTIES`; default all.
    progress : callable, optional

    Returns
    -------
    Properties

    Raises
    ------
    BackendUnavailable
        If a named backend is not available.
    UsageError
        If there is no property of a wanted name.

    Examples
    --------
    >>> found = properties(["numpy"], dtypes=["float32"], wanted=["small results"])
    >>> found.backends[0].properties
    {'float32': {'small results': 'kept'}}
    """
    for name in wanted:
        if name not in PROPERTIES:
            known = ", ".join(PROPERTIES)
            raise UsageError(f"there is no property {name!r}{suggestion(name, PROPERTIES)}: the properties are {known}")
    measured, missing = available(
        names or registry.names(),
        lambda name: _measure(name, dtypes, wanted or list(PROPERTIES), progress),
        required=bool(names),
        threads=1,  # each uses all cores
    )
    return Properties([found for _, found in measured], missing)


def _measure(name: str, dtypes: Sequence[str], wanted: Sequence[str], progress: Progress) -> BackendProperties:
    with _on_cores(name, os.cpu_count() or 1) as backend:
        of_dtype: dict[str, dict[str, str]] = {}
        for number, dtype in enumerate(dtypes):
            of_dtype[dtype] = {}
            for done, what in enumerate(wanted, number * len(wanted)):
                progress(name, done, len(wanted) * len(dtypes), what)
                of_dtype[dtype].update(PROPERTIES[what](backend, dtype, what))
        return BackendProperties(name, backend.version, of_dtype)


@contextmanager
def _on_cores(name: str, cores: int) -> Iterator[RemoteBackend]:
    """Run a backend in a worker with `cores` cores and as many threads."""
    environment = {"OMP_NUM_THREADS": str(cores), "OMP_WAIT_POLICY": "PASSIVE"}

    def start() -> RemoteBackend:
        # A process inherits the cores of the thread that starts it. This thread then ends.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
        return native_worker(name, TIMEOUT, environment)

    with ThreadPoolExecutor(1) as thread:
        backend = thread.submit(start).result()
    try:
        yield backend
    finally:
        backend.close()


# ---- Reproducible bits


def _answers(backend: RemoteBackend, case: Case, x: Host, w: Host, dy: Host) -> list[Host]:
    """Return the result and the gradients."""
    options = asdict(case.spec)
    dx, dw, _ = backend.cross_correlate_vjp(x, w, None, dy, **options)
    return [backend.cross_correlate(x, w, **options), dx, dw]


def _differences(differ: Callable[[Case], bool]) -> str:
    cases = [case.name for case in CASES if differ(case)]
    return f"differ: {', '.join(cases)}" if cases else SAME


def _same(these: Sequence[Host], those: Sequence[Host]) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(these, those, strict=True))


def _repeats(backend: RemoteBackend, dtype: str, what: str) -> dict[str, str]:
    """Compare the result and the gradients of repeated calls."""

    def differ(case: Case) -> bool:
        arrays = case.arrays(dtype)
        first = _answers(backend, case, *arrays)
        return not all(_same(_answers(backend, case, *arrays), first) for _ in range(REPEATS - 1))

    return {what: _differences(differ)}


def _batch(backend: RemoteBackend, dtype: str, what: str) -> dict[str, str]:
    """Compare the result and the input gradient of one or two rows with the same rows in a larger batch."""

    def differ(case: Case) -> bool:
        x, w, dy = case.arrays(dtype, BATCH)
        together = _answers(backend, case, x, w, dy)[:2]
        parts = [slice(0, 1), slice(5, 6), slice(BATCH - 1, BATCH), slice(3, 5)]
        return not all(_same(_answers(backend, case, x[p], w, dy[p])[:2], [a[p] for a in together]) for p in parts)

    return {what: _differences(differ)}


def _threads(backend: RemoteBackend, dtype: str, what: str) -> dict[str, str]:
    """Compare the result and the gradients on one core with one thread, and on all cores."""
    if len(os.sched_getaffinity(0)) < 2:
        return {what: "not measured: there is one core"}
    with _on_cores(f"{backend.name}@{backend.python}", 1) as on_one:

        def differ(case: Case) -> bool:
            arrays = case.arrays(dtype)
            return not _same(_answers(backend, case, *arrays), _answers(on_one, case, *arrays))

        return {what: _differences(differ)}


def _compiled(backend: RemoteBackend, dtype: str, what: str) -> dict[str, str]:
    """Compare the result and the input gradient of the framework's own call, eager and compiled."""

    def ask(way: str | None, case: Case) -> list[Host]:
        x, w, dy = case.arrays(dtype)
        g = case.spec.resolve(x.shape, w.shape)
        if backend.name == "tensorflow":  # its own call takes channels last
            x, dy, g = np.moveaxis(x, 1, -1), np.moveaxis(dy, 1, -1), g.with_layout(channels_last=True)
        answers = backend.worker.compute("own_with_input_gradient", x, w, dy, way=way, geometry=g, dtype=dtype)
        return [a for a in answers if a is not None]

    eager: dict[Case, list[Host]] = {}
    for case in CASES:
        with suppress(BackendError):  # the framework's own call has no gradient for this case
            eager[case] = ask(None, case)

    def compare(way: str) -> str:
        try:
            same = [case for case in eager if _same(eager[case], ask(way, case))]
        except BackendError as error:
            return f"not available: {str(error).splitlines()[0]}"
        return _differences(lambda case: case in eager and case not in same)

    return {f"{what}, {way}": compare(way) for way in COMPILED.get(backend.name, ())}


# ---- Propagation of NaN and infinity

POLICY_SPECS = (ConvSpec(), ConvSpec(padding=1), ConvSpec(2, 2), ConvSpec(padding=((0, 2), (1, 0))))
POLICY_BATCHES = (1, 16)


def _correlate(backend: RemoteBackend, x: Host, w: Host, spec: ConvSpec) -> Host:
    return np.asarray(backend.cross_correlate(x, w, stride=spec.stride, padding=spec.padding))


def _spread(backend: RemoteBackend, dtype: str, what: str) -> dict[str, str]:
    """Test whether one NaN or Inf in the input reaches exactly the outputs that depend on it."""
    value = np.nan if what.startswith("NaN") else np.inf
    found = set()
    for spec in POLICY_SPECS:
        for batch in POLICY_BATCHES:
            x, w = np.ones((batch, 4, 9, 9), dtype), np.ones((4, 4, 3, 3), dtype)
            seen = np.zeros(x.shape)
            seen[0, 1, 4, 5] = 1
            x[0, 1, 4, 5] = value
            sees = oracle.cross_correlate(seen, w.astype(np.float64), None, spec.resolve(x.shape, w.shape)) > 0
            found.add(_reach(~np.isfinite(_correlate(backend, x, w, spec)), sees))
    return {what: " or ".join(sorted(found))}


def _reach(reached: Host, sees: Host) -> str:
    if np.array_equal(reached, sees):
        return "the outputs that see it"
    return "others too" if (reached & ~sees).any() else "not all that see it"


def _zero_times_inf(backend: RemoteBackend, dtype: str, what: str) -> dict[str, str]:
    """Test the product of a zero tap and an infinite pixel, which is NaN by IEEE 754."""
    x, w = np.ones((1, 2, 7, 7), dtype), np.zeros((2, 2, 3, 3), dtype)
    x[0, 0, 3, 3] = np.inf
    y = _correlate(backend, x, w, ConvSpec())
    near = y[0, :, 1:4, 1:4]
    return {what: "NaN" if np.isnan(near).all() else "0" if (near == 0).all() else "NaN or 0"}


def _nan_in_kernel(backend: RemoteBackend, dtype: str, what: str) -> dict[str, str]:
    """Test whether a NaN tap also reaches outputs for which it lies on the padding, as NaN * 0 is NaN."""
    found = set()
    for channels in (1, 16):
        for before, after in ((1, 1), (1, 2)):
            x, w = np.ones((1, channels, 8, 8), dtype), np.ones((channels, channels, 3, 3), dtype)
            w[0, 0, 0, 0] = np.nan
            is_nan = np.isnan(_correlate(backend, x, w, ConvSpec(padding=((before, after),) * 2))[0, 0])
            if is_nan.all():
                found.add("every output")
            elif is_nan[before:, before:].all():
                found.add("not where it lies on the padding")
            else:
                found.add("not all that see it")
    return {what: " or ".join(sorted(found))}


# ---- Subnormal numbers, signed zeros and overflow

SIZES = (((1, 1, 5, 5), (1, 1, 3, 3)), ((2, 16, 12, 12), (16, 16, 3, 3)))


def _one_tap(
    backend: RemoteBackend, dtype: str, pixel: Callable[[Any], float], tap: Callable[[Any], float]
) -> set[float]:
    """Return the products of pixels and one tap, for kernels of several sizes."""
    info = np.finfo(dtype)
    products: set[float] = set()
    for x_shape, w_shape in SIZES:
        x, w = np.full(x_shape, pixel(info), dtype), np.zeros(w_shape, dtype)
        w[:, 0, 1, 1] = tap(info)
        products |= set(_correlate(backend, x, w, ConvSpec()).ravel().tolist())
    return products


def _small_inputs(backend: RemoteBackend, dtype: str, what: str) -> dict[str, str]:
    """Multiply a subnormal pixel by a power of two that makes it normal."""
    products = _one_tap(backend, dtype, lambda info: float(info.tiny) / 4, lambda info: 1024.0)
    return {what: _kept(products)}


def _small_results(backend: RemoteBackend, dtype: str, what: str) -> dict[str, str]:
    """Multiply a normal pixel by a power of two that makes it subnormal."""
    products = _one_tap(backend, dtype, lambda info: float(info.tiny), lambda info: 0.25)
    return {what: _kept(products)}


def _kept(products: set[float]) -> str:
    flushed, kept = 0.0 in products, any(products)
    return "kept or flushed" if flushed and kept else "flushed to 0" if flushed else "kept"


def _negative_zero(backend: RemoteBackend, dtype: str, what: str) -> dict[str, str]:
    """Sum negative zeros: -0 by IEEE 754, unless the sum starts from +0."""
    found = set()
    for x_shape, w_shape in SIZES:
        y = _correlate(backend, np.full(x_shape, -0.0, dtype), np.ones(w_shape, dtype), ConvSpec())
        found |= {"-0" if negative else "0" for negative in np.signbit(y).ravel().tolist()}
    return {what: " or ".join(sorted(found))}


def _overflow(backend: RemoteBackend, dtype: str, what: str) -> dict[str, str]:
    """Multiply the largest number and its negative by two."""
    found = _one_tap(backend, dtype, lambda info: float(info.max), lambda info: 2.0)
    found |= _one_tap(backend, dtype, lambda info: -float(info.max), lambda info: 2.0)
    return {what: "-inf, inf" if found == {np.inf, -np.inf} else ", ".join(sorted(map(str, found)))}


PROPERTIES: dict[str, Callable[[RemoteBackend, str, str], dict[str, str]]] = {
    "repeated": _repeats,
    "in a batch": _batch,
    "threads": _threads,
    "compiled": _compiled,
    "NaN in the input": _spread,
    "Inf in the input": _spread,
    "0 times Inf": _zero_times_inf,
    "NaN in the kernel": _nan_in_kernel,
    "small inputs": _small_inputs,
    "small results": _small_results,
    "-0 summed": _negative_zero,
    "overflow": _overflow,
}


# ---- Tables for the terminal and for Markdown
