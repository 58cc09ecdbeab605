"""The main job: whether backends compute what they should.

Every backend runs in a worker, so that none shares a process with another and none can end the run. The problems and
what they should come to are worked out once, here, while the workers compute.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from queue import Queue
from threading import Event, Lock
from typing import Any, Protocol

import numpy as np
from threadpoolctl import threadpool_limits

from multiconv import candidate, compiled, d2l, layers, registry
from multiconv.backend import Backend
from multiconv.drawing import DTYPES, VALUES, draw_problems, given_values, with_values
from multiconv.errors import BackendCrashed, BackendTimeout, BackendUnavailable
from multiconv.problem import DIRECTIONS, Expected, Judgement, Problem, judge
from multiconv.scripts import script
from multiconv.shrinking import smallest
from multiconv.spec import ConvSpec
from multiconv.worker import PATIENT_THREADS, RemoteBackend

LAYER_PRODUCTS = {"float32": 2_000_000, "float64": 500_000}
LAYOUTS = {"resnet50": "NHWC", "vgg19": "NCHW", "mobilenet_v1": "NHWC"}  # as each was published
AHEAD = 16
WORKERS = {"jax": 2}  # it compiles each shape, and the others would wait for one
CRASHES = 5
SHRUNK_DIRECTIONS = 3
SHRINK_TRIES = 300
SHRINK_SECONDS = 20.0

Progress = Callable[[str, int, int, str], None]
"""Called with a backend's name, how many problems it has done, of how many, and what it is doing."""


class Case(Protocol):
    """What is asked of each backend: a `Problem`, or one of the book's examples."""

    @property
    def integers(self) -> bool:
        """Whether the answers must agree to the bit."""

    def describe(self) -> dict[str, Any]:
        """For JSON."""

    @property
    def dtype(self) -> str:
        """The dtype of its arrays."""

    def answers(self, backend: Backend, *directions: str) -> Iterator[tuple[str, Any]]:
        """Each direction, or each of these, and the answer or the exception that came instead."""

    def expectations(self, directions: Collection[str] = DIRECTIONS) -> dict[str, Expected]:
        """What each direction should come to."""


@dataclass(frozen=True)
class BookExample:
    """One of d2l's worked examples, as the book has it."""

    example: d2l.Example
    integers: bool = True
    dtype: str = "float32"

    def describe(self) -> dict[str, Any]:
        """For JSON."""
        X, K = self.example.arrays
        options = dict(self.example.options)
        return {"source": f"d2l {self.example.name}", "X": list(X.shape), "K": list(K.shape), **options}

    def answers(self, backend: Backend, *directions: str) -> Iterator[tuple[str, Any]]:
        """The answer of the method that the example is about, or the exception that came instead."""
        if directions and self.example.operation not in directions:
            return
        try:
            result = getattr(backend, self.example.operation)(*self.example.arrays, **self.example.options)
            yield self.example.operation, backend.to_numpy(result)
        except Exception as error:
            yield self.example.operation, error

    def expectations(self, directions: Collection[str] = DIRECTIONS) -> dict[str, Expected]:
        """What the book prints: numbers, which must be exact, or a shape."""
        if self.example.expected is None:
            right, allowed = np.zeros(self.example.expected_shape), np.inf
        else:
            right, allowed = self.example.expected.astype(np.float64), 0.0
        return {self.example.operation: Expected(right, np.array(allowed), "float32")}


@dataclass
class Disagreement:
    """A direction in which a backend is wrong.

    Attributes
    ----------
    direction : str
        ``"forward"``, ``"input gradient"``, ``"kernel gradient"``, ``"bias gradient"``, ``"convolve"``,
        ``"conv_transpose"``, ``"layer"``, or the method that one of the book's examples calls.
    fault : str
        What is wrong with the answer to the smallest problem.
    problem : dict
        The smallest problem found.
    found_in : dict
        The problem in which it was first seen.
    times : int
        In how many problems this direction is wrong.
    script : str or None
        A Python script that shows it in the framework's own API.
    """

    direction: str
    fault: str
    problem: dict[str, Any]
    found_in: dict[str, Any]
    times: int
    script: str | None


@dataclass
class BackendReport:
    """What the check says of a backend.

    Attributes
    ----------
    name, version, python, where : str
        `python` is the version of the Python it runs in, `where` its path.
    problems : int
        How many were put to it.
    integer_problems, exact : int
        How many of them are of integers, and in how many of those every answer agrees to the bit.
    worst_bound_ratio : float or None
        The largest error in units of its bound, over the problems of reals; None if an answer is no number or has
        another shape.
    imprecise : int
        In how many problems an answer is within its bound, but has lost precision that its dtype would have held.
    verdict : str
        ``"agrees"``, ``"disagrees"`` or ``"crashes"``.
    disagreements : list of Disagreement
    """

    name: str
    version: str
    python: str
    where: str
    problems: int = 0
    integer_problems: int = 0
    exact: int = 0
    worst_bound_ratio: float | None = 0.0
    imprecise: int = 0
    verdict: str = "agrees"
    disagreements: list[Disagreement] = field(default_factory=list)


@dataclass
class Report:
    """What a check found.

    Attributes
    ----------
    backends : list of BackendReport
    missing : list of dict
        The backends that could not be had: name, reason and the command that gets it.
    examples, seed : int
    dtypes : list of str
    seconds : float
    """

    backends: list[BackendReport]
    missing: list[dict[str, Any]]
    examples: int
    seed: int
    dtypes: list[str]
    seconds: float = 0.0

    @property
    def agrees(self) -> bool:
        """Whether every backend agrees with the oracle everywhere."""
        return all(b.verdict == "agrees" for b in self.backends)

    def asdict(self) -> dict[str, Any]:
        """For JSON."""
        return {"schema": 1, "multiconv": version("multiconv"), "agrees": self.agrees, **asdict(self)}


def check(
    names: Sequence[str] = (),
    *,
    candidates: Sequence[str] = (),
    examples: int = 200,
    seed: int = 0,
    dtypes: Sequence[str] = DTYPES,
    values: Sequence[str] = VALUES,
    networks: bool = True,
    timeout: float = 60.0,
    progress: Progress = lambda name, done, of, doing: None,
) -> Report:
    """Put the book's examples, the networks' layers and drawn problems to backends, and judge every answer.

    Parameters
    ----------
    names : sequence of str
        As `multiconv.backend` takes them; by default all that can be had, or none if there are candidates.
    candidates : sequence of str
        Functions as ``"package.module:function"``, as `multiconv.candidate.Candidate` takes them, of which only the
        forward direction is asked.
    examples : int
        How many problems to draw.
    seed : int
    dtypes : sequence of str
        What to draw problems in. The networks' layers are checked in the first. A backend is asked only about those
        that it has.
    values : sequence of str
        The kinds of values to draw, as in `multiconv.drawing.with_values`.
    networks : bool
        Whether to put the networks' layers too. Where there are only candidates, who may be slow, they are left out.
    timeout : float
        Seconds that an answer may take.
    progress : callable, optional

    Returns
    -------
    Report

    Raises
    ------
    BackendUnavailable
        If a backend or a candidate that was named can't be had.

    Examples
    --------
    >>> report = check(["numpy"], examples=10)  # doctest: +SKIP
    >>> report.backends[0].verdict  # doctest: +SKIP
    'agrees'
    """
    began = time.monotonic()
    wanted = list(dict.fromkeys(names)) or ([] if candidates else registry.names())
    started, missing = _start([*wanted, *dict.fromkeys(candidates)], timeout, progress)
    if (names or candidates) and missing:
        _close(started)
        raise BackendUnavailable("; ".join(m["reason"] for m in missing))
    report = Report([], missing, examples, seed, list(dtypes))
    try:
        runs = [_Run(name, workers, seed, progress) for name, workers in started]
        with threadpool_limits(1):  # the oracle's, as the workers want the cores more
            _run_all(runs, _cases(examples, seed, dtypes, values, networks=networks and bool(wanted)))
        report.backends = [run.report for run in runs]
    finally:
        _close(started)
    report.seconds = time.monotonic() - began
    return report


def _start(
    names: list[str], timeout: float, progress: Progress
) -> tuple[list[tuple[str, list[RemoteBackend]]], list[dict[str, Any]]]:
    """The workers of each backend, and what is to be said of those that can't be had."""
    kept = PATIENT_THREADS | compiled.environment()

    def start(name: str) -> list[RemoteBackend] | dict[str, Any]:
        progress(name, 0, 0, "starting")
        new, environment = (candidate.in_worker, PATIENT_THREADS) if ":" in name else (registry.new_worker, kept)
        try:
            return [new(name, timeout, environment) for _ in range(WORKERS.get(name.partition("@")[0], 1))]
        except BackendUnavailable as error:
            if ":" in name:
                return {"name": name, "reason": str(error), "install": None}
            return {"name": name, "reason": str(error), "install": registry.install_command(name)}

    with ThreadPoolExecutor(len(names)) as pool:
        outcomes = list(zip(names, pool.map(start, names)))
    started = [(name, outcome) for name, outcome in outcomes if isinstance(outcome, list)]
    return started, [outcome for _, outcome in outcomes if isinstance(outcome, dict)]


def _close(started: list[tuple[str, list[RemoteBackend]]]) -> None:
    closing = [worker for _, workers in started for worker in workers]
    with ThreadPoolExecutor(len(closing) or 1) as pool:  # each has its framework to take down
        list(pool.map(RemoteBackend.close, closing))


def _cases(
    examples: int, seed: int, dtypes: Sequence[str], values: Sequence[str] = VALUES, *, networks: bool = True
) -> list[Callable[[], Case]]:
    """What to ask, each made only when its turn has come, as some are large."""
    cases: list[Callable[[], Case]] = [lambda e=e: BookExample(e) for e in d2l.EXAMPLES]  # type: ignore[misc]
    cases += [lambda e=e: _book_problem(e) for e in d2l.EXAMPLES]  # type: ignore[misc]
    cases += [
        lambda layer=layer, kind=kind: _layer_problem(layer, dtypes[0], kind, seed)  # type: ignore[misc]
        for network in (layers.networks() if networks else ())
        for number, layer in enumerate(layers.layers(network))
        for kind in ("integers", "normal")[: 2 - number % 2]  # reals in every other layer: each costs as much again
    ]
    cases += [lambda p=p: p for p in draw_problems(examples, seed, dtypes, values=values)]  # type: ignore[misc]
    return cases


def _book_problem(example: d2l.Example) -> Problem:
    """An example's arrays in every direction."""
    X, K = example.arrays
    x = X.reshape((1,) * (4 - X.ndim) + X.shape)
    w = K.reshape((1,) * (4 - K.ndim) + K.shape)
    return given_values(f"d2l {example.name}", ConvSpec(**example.options), x, w)


def _layer_problem(layer: layers.Layer, dtype: str, values: str, seed: int) -> Problem:
    small = layer.reduced(LAYER_PRODUCTS[dtype])
    spec = replace(small.spec, layout=LAYOUTS[layer.network])
    g = small.geometry().with_layout(channels_last=spec.channels_last)
    source = f"{layer.network} {layer.name}" + (
        "" if small.size == layer.size else f" at {small.size[0]}x{small.size[1]}"
    )
    return with_values(source, spec, g, dtype, bias=small.bias, values=values, seed=seed)


Asked = tuple[int, Case, dict[str, Expected]]
"""The number of a case, the case, and what it should come to."""


def _run_all(runs: list[_Run], cases: list[Callable[[], Case]]) -> None:
    """Hand each case to every backend, a few ahead of the slowest."""
    queues: dict[tuple[_Run, int], Queue[Asked | None]]
    queues = {(run, worker): Queue(AHEAD) for run in runs for worker in range(len(run.workers))}
    directions = DIRECTIONS if any(not run.directions for run in runs) else candidate.DIRECTIONS
    abandoned = Event()

    def consume(run: _Run, worker: int, queue: Queue[Asked | None]) -> None:
        failure: Exception | None = None
        while (item := queue.get()) is not None:  # to the end whatever happens, or whoever fills it would wait for ever
            if failure is None and not abandoned.is_set():
                try:
                    run.put(*item, worker)
                except Exception as error:
                    failure = error
        if failure is not None:
            raise failure

    with ThreadPoolExecutor(len(queues)) as pool:
        done = [pool.submit(consume, run, worker, queue) for (run, worker), queue in queues.items()]
        try:
            for number, make in enumerate(cases):
                case = make()
                expected = case.expectations(directions)
                for run in runs:
                    run.total = len(cases)
                    queues[run, _hash(case) % len(run.workers)].put((number, case, expected))
        except BaseException:
            abandoned.set()
            for run in runs:
                for backend in run.workers:
                    backend.worker.interrupt()
            raise
        finally:
            for queue in queues.values():
                queue.put(None)
        for future in done:
            future.result()
        list(pool.map(_Run.conclude, runs))


def _hash(case: Case) -> int:
    """The same for cases for which a framework compiles the same."""
    described = case.describe()
    return zlib.crc32(repr([described[key] for key in sorted(described) if key not in ("source", "values")]).encode())


class _Run:
    """One backend's way through the problems, in one worker or more."""

    def __init__(self, name: str, workers: Sequence[RemoteBackend], seed: int, progress: Progress) -> None:
        self.workers, self.seed, self.progress = workers, seed, progress
        first = workers[0]
        self.report = BackendReport(name, first.version, first.python_version, str(first.python))
        self.directions = candidate.DIRECTIONS if ":" in name else ()
        self.total = self.done = self.crashes = 0
        self.first: dict[str, tuple[int, Case, Judgement]] = {}
        self.times: dict[str, int] = {}
        self.lock = Lock()

    def put(self, number: int, case: Case, expected: dict[str, Expected], worker: int = 0) -> None:
        """Put a case to the backend and judge its answers."""
        backend, judgements = self.workers[worker], []
        if self.crashes < CRASHES and case.dtype in backend.dtypes:
            judgements = [(d, self._judge(a, expected[d])) for d, a in case.answers(backend, *self.directions)]
        with self.lock:
            self.done += 1
            self.progress(self.report.name, self.done, self.total, "")
            if judgements:
                self._note(number, case, judgements)

    def _note(self, number: int, case: Case, judgements: list[tuple[str, Judgement]]) -> None:
        report = self.report
        report.problems += 1
        report.integer_problems += case.integers
        report.imprecise += any(judgement.imprecise for _, judgement in judgements)
        report.exact += case.integers and all(judgement.fault is None for _, judgement in judgements)
        for direction, judgement in judgements:
            if judgement.fault is not None:
                if direction not in self.first or number < self.first[direction][0]:
                    self.first[direction] = number, case, judgement
                self.times[direction] = self.times.get(direction, 0) + 1
            if not case.integers and report.worst_bound_ratio is not None:
                worst = max(report.worst_bound_ratio, judgement.ratio)
                report.worst_bound_ratio = worst if np.isfinite(worst) else None

    def conclude(self) -> None:
        """Say what is wrong, with the smallest problem that shows it."""
        if self.first:
            self.report.verdict = "crashes" if self.crashes else "disagrees"
        for number, direction in enumerate(sorted(self.first, key=lambda d: self.first[d][0])):
            _, case, judgement = self.first[direction]
            self.progress(self.report.name, self.done, self.total, f"shrinking {direction}")
            small, text = case, None
            if isinstance(case, Problem):
                problem = case
                if number < SHRUNK_DIRECTIONS:
                    problem, judgement = self._shrink(case, direction, judgement)
                small, text = problem, script(self.report.name, problem, direction, judgement)
            fault, times = str(judgement.fault), self.times[direction]
            self.report.disagreements.append(
                Disagreement(direction, fault, small.describe(), case.describe(), times, text)
            )
        self.progress(self.report.name, self.done, self.total, self.report.verdict)

    def _judge(self, answer: Any, expected: Expected) -> Judgement:
        if not isinstance(answer, Exception):
            return judge(answer, expected)
        self.crashes += isinstance(answer, (BackendCrashed, BackendTimeout))
        return Judgement(np.inf, f"{type(answer).__name__}: {answer}")

    def _judge_one(self, problem: Problem, direction: str) -> Judgement:
        expected = problem.expectations([direction])
        judgements = [self._judge(a, expected[d]) for d, a in problem.answers(self.workers[0], direction)]
        return judgements[0] if judgements else Judgement(0.0)

    def _shrink(self, problem: Problem, direction: str, judgement: Judgement) -> tuple[Problem, Judgement]:
        """The smallest problem that Hypothesis finds to fail in this direction, and what is wrong there."""
        until = time.monotonic() + SHRINK_SECONDS
        small = smallest(
            problem,
            lambda candidate: self._judge_one(candidate, direction).fault is not None,
            tries=SHRINK_TRIES,
            seed=self.seed,
            enough=lambda: time.monotonic() > until,
        )
        again = self._judge_one(small, direction)
        # What fails only sometimes is reported as it was first seen.
        return (small, again) if again.fault is not None else (problem, judgement)
