"""The main job: whether backends compute what they should.

Every backend runs in a worker, so that none shares a process with another and none can end the run. The problems and
what they should come to are worked out once, here, while the workers compute.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from enum import Enum
from importlib.metadata import version
from queue import Queue
from threading import Event, Lock
from typing import Any, Protocol

import numpy as np
from threadpoolctl import threadpool_limits

from multiconv import candidate, compiled, d2l, layers, registry
from multiconv.backend import Backend
from multiconv.coverage import BATCHES, CHANNELS_FIRST, LAYOUT_LEVELS, NON_EMPTY_BATCHES, Coverage
from multiconv.drawing import DTYPES, draw_problems, given_values, identity, problem_levels
from multiconv.errors import BackendCrashed, BackendTimeout, BackendUnavailable
from multiconv.memory import ARRANGEMENTS
from multiconv.network_layers import layer_problem, layer_problems
from multiconv.problem import DIRECTIONS, Expected, Judgement, Problem, first_fault, judge, judged
from multiconv.scripts import script
from multiconv.shrinking import Answered, reduced
from multiconv.spec import ConvSpec
from multiconv.values import ALL_VALUES, values_for
from multiconv.worker import PATIENT_THREADS, RemoteBackend

EXAMPLES = 200
CANDIDATE_EXAMPLES = 400
"""More than a backend is asked, as a candidate has one direction."""
LAYER_PRODUCTS = {"float32": 2_000_000}
OTHER_LAYER_PRODUCTS = 500_000
POOL_SHAPES = 32
"""How many shapes are drawn for a backend that compiles each."""
AHEAD = 64
"""How many cases wait for a worker at most."""
WORKERS = {"jax": 2}  # it compiles each shape, and the others would wait for one
CRASHES = 5
"""How many crashes end the run of a backend."""
SHRUNK_DIRECTIONS = 3
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

    def expectations(self, directions: Collection[str] = DIRECTIONS, algorithm: str = "direct") -> dict[str, Expected]:
        """What each direction should come to, and what an algorithm may err by."""


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

    def expectations(self, directions: Collection[str] = DIRECTIONS, algorithm: str = "direct") -> dict[str, Expected]:
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
    symptom : str
        The kind of fault, as `multiconv.problem.Judgement.symptom` has it.
    script : str or None
        A Python script that shows it in the framework's own API.
    """

    direction: str
    fault: str
    problem: dict[str, Any]
    found_in: dict[str, Any]
    times: int
    symptom: str
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
    overflowed : int
        In how many problems a sum overflows on the way to a finite result, and the answer is what comes of that.
    pairs_covered : float
        The share of the pairs of levels of `multiconv.coverage` that its problems have, of those that can occur.
    verdict : str
        ``"agrees"``, ``"disagrees"``, ``"crashes"``, or ``"imprecise"`` if precision was lost and nothing is wrong.
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
    overflowed: int = 0
    pairs_covered: float = 0.0
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
        How many problems were drawn for each backend, or each candidate if there are only candidates, and from what.
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
    examples: int | None = None,
    seed: int = 0,
    dtypes: Sequence[str] = DTYPES,
    values: Sequence[str] | None = None,
    networks: bool = True,
    algorithm: str = "direct",
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
    examples : int, optional
        How many problems to draw: by default `EXAMPLES` for a backend and `CANDIDATE_EXAMPLES` for a candidate.
    seed : int
    dtypes : sequence of str
        What to draw problems in. The networks' layers are checked in the first. A backend is asked only about those
        that it has.
    values : sequence of str, optional
        The kinds of values to draw, as in `multiconv.values.seeded`. By default all, or, where `algorithm` is not
        direct, those in which sums are finite.
    networks : bool
        Whether to ask the networks' layers too. Candidates get them on smaller images, as they may be slow.
    algorithm : str
        How candidates compute: ``"direct"``, ``"fft"`` or ``"winograd"``, as `multiconv.problem.Problem.expectations`
        has it. Backends are judged as direct.
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
    if values is None:
        values = values_for(algorithm)
    draws = Draws(
        EXAMPLES if examples is None else examples,
        CANDIDATE_EXAMPLES if examples is None else examples,
        seed, tuple(dtypes), tuple(values), networks, algorithm,
    )  # fmt: skip
    drawn = draws.examples if wanted else draws.candidate_examples
    report = Report([], missing, drawn, seed, list(dtypes))
    try:
        runs = [_Run(name, workers, draws, progress) for name, workers in started]
        with threadpool_limits(1):  # the oracle's, as the workers want the cores more
            _run_all(runs, _cases(draws, {run.audience for run in runs}))
        report.backends = [run.report for run in runs]
    finally:
        _close(started)
    report.seconds = time.monotonic() - began
    return report


@dataclass(frozen=True)
class Draws:
    """What `check` was asked to draw; its parameters have these names."""

    examples: int = EXAMPLES
    candidate_examples: int = CANDIDATE_EXAMPLES
    seed: int = 0
    dtypes: tuple[str, ...] = DTYPES
    values: tuple[str, ...] = ALL_VALUES
    networks: bool = True
    algorithm: str = "direct"


class Audience(Enum):
    """Who is asked the same problems."""

    EAGER = "backends that compile nothing: each problem has a shape of its own"
    COMPILING = "backends that compile each shape: problems of a few shapes"
    CANDIDATE = "strangers' functions: channels first, and views of every kind"


def _start(
    names: list[str], timeout: float, progress: Progress
) -> tuple[list[tuple[str, list[RemoteBackend]]], list[dict[str, Any]]]:
    """The workers of each backend, and what is to be said of those that can't be had."""

    def start(name: str) -> list[RemoteBackend] | dict[str, Any]:
        progress(name, 0, 0, "starting")
        try:
            if ":" in name:
                return [candidate.in_worker(name, timeout, PATIENT_THREADS)]
            environment = PATIENT_THREADS | compiled.environment(name, registry.locate(name).version)
            count = WORKERS.get(name.partition("@")[0], 1)
            return [registry.new_worker(name, timeout, environment) for _ in range(count)]
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


@dataclass(frozen=True)
class Turn:
    """A case whose turn will come, made only then, as some are large.

    Attributes
    ----------
    make : callable
    audience : frozenset of Audience
        Whom to ask.
    """

    make: Callable[[], Case]
    audience: frozenset[Audience]


def _cases(draws: Draws, audience: Collection[Audience]) -> list[Turn]:
    """What to ask, in an order in which nobody waits long for a turn."""
    books: list[Callable[[], Case]] = [lambda e=e: BookExample(e) for e in d2l.EXAMPLES]  # type: ignore[misc]
    books += [lambda e=e: _book_problem(e) for e in d2l.EXAMPLES]  # type: ignore[misc]
    books.append(lambda: identity(draws.dtypes[0]))
    lists: list[tuple[list[Callable[[], Case]], frozenset[Audience]]] = []
    backends = frozenset({Audience.EAGER, Audience.COMPILING})
    if draws.networks and backends & set(audience):
        lists.append((_network_cases(draws), backends))
    lists += [(_drawn_cases(draws, who), frozenset({who})) for who in Audience if who in audience]
    placed = [(number / len(makes), Turn(make, who)) for makes, who in lists for number, make in enumerate(makes)]
    first = [Turn(make, frozenset(Audience)) for make in books]
    return first + [turn for _, turn in sorted(placed, key=lambda place: place[0])]


def _network_cases(draws: Draws) -> list[Callable[[], Case]]:
    dtype = draws.dtypes[0]
    products = LAYER_PRODUCTS.get(dtype, OTHER_LAYER_PRODUCTS)
    return [
        lambda layer=layer, kind=kind: layer_problem(layer, dtype, kind, draws.seed, products)  # type: ignore[misc]
        for network in layers.networks()
        for number, layer in enumerate(layers.layers(network))
        for kind in ("integers", "normal")[: 2 - number % 2]  # reals in every other layer: each costs as much again
    ]


def _drawn_cases(draws: Draws, who: Audience) -> list[Callable[[], Case]]:
    of_candidate = who is Audience.CANDIDATE
    problems = draw_problems(
        draws.candidate_examples if of_candidate else draws.examples,
        draws.seed,
        draws.dtypes,
        POOL_SHAPES if who is Audience.COMPILING else None,
        draws.values,
        arrangements=tuple(ARRANGEMENTS),
        layouts=CHANNELS_FIRST if of_candidate else LAYOUT_LEVELS,
        batches=NON_EMPTY_BATCHES if of_candidate else tuple(BATCHES),
    )
    if of_candidate and draws.networks:
        problems += layer_problems(draws.dtypes[0], draws.values, draws.seed)
    return [lambda p=p: p for p in problems]  # type: ignore[misc]


def _book_problem(example: d2l.Example) -> Problem:
    """An example's arrays in every direction."""
    X, K = example.arrays
    x = X.reshape((1,) * (4 - X.ndim) + X.shape)
    w = K.reshape((1,) * (4 - K.ndim) + K.shape)
    return given_values(f"d2l {example.name}", ConvSpec(**example.options), x, w)


Asked = tuple[int, Case, dict[str, Expected]]
"""The number of a case, the case, and what it should come to."""


def _run_all(runs: list[_Run], turns: list[Turn]) -> None:
    """Hand each case to every backend that it is for, some ahead of the slowest."""
    queues: dict[tuple[_Run, int], Queue[Asked | None]]
    queues = {(run, worker): Queue(AHEAD) for run in runs for worker in range(len(run.workers))}
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

    for run in runs:
        run.total = sum(run.audience in turn.audience for turn in turns)
    with ThreadPoolExecutor(len(queues)) as pool:
        done = [pool.submit(consume, run, worker, queue) for (run, worker), queue in queues.items()]
        try:
            for number, turn in enumerate(turns):
                asked = [run for run in runs if run.audience in turn.audience]
                if not asked:
                    continue
                case = turn.make()
                expected = {run.expects: case.expectations(*run.expects) for run in asked}
                for run in asked:
                    queues[run, _hash(case) % len(run.workers)].put((number, case, expected[run.expects]))
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

    def __init__(self, name: str, workers: Sequence[RemoteBackend], draws: Draws, progress: Progress) -> None:
        self.workers, self.draws, self.progress = workers, draws, progress
        first = workers[0]
        self.report = BackendReport(name, first.version, first.python_version, str(first.python))
        self.audience = Audience.COMPILING if first.compiles else Audience.EAGER
        self.directions: tuple[str, ...] = ()
        layouts, batches, algorithm = LAYOUT_LEVELS, tuple(BATCHES), "direct"
        if ":" in name:
            self.audience, self.directions = Audience.CANDIDATE, candidate.DIRECTIONS
            layouts, batches, algorithm = CHANNELS_FIRST, NON_EMPTY_BATCHES, draws.algorithm
        self.expects = (self.directions or DIRECTIONS, algorithm)
        dtypes = [dtype for dtype in draws.dtypes if dtype in first.dtypes]
        self.coverage = Coverage(dtypes, draws.values, tuple(ARRANGEMENTS), layouts, batches)
        self.total = self.done = self.crashes = 0
        self.first: dict[str, tuple[int, Case, Answered]] = {}
        self.times: dict[str, int] = {}
        self.lock = Lock()

    def put(self, number: int, case: Case, expected: dict[str, Expected], worker: int = 0) -> None:
        """Put a case to the backend and judge its answers."""
        judgements: list[tuple[str, Answered]] = []
        if self.crashes < CRASHES and case.dtype in self.workers[worker].dtypes:
            judgements = list(self._judged(case, expected, worker))
        with self.lock:
            self.done += 1
            self.progress(self.report.name, self.done, self.total, "")
            if judgements:
                self._note(number, case, judgements)

    def _judged(self, case: Case, expected: dict[str, Expected], worker: int) -> Iterator[tuple[str, Answered]]:
        backend = self.workers[worker]
        if isinstance(case, Problem):
            for direction, answer, judgement in judged(case, backend, expected, *self.directions):
                self.crashes += isinstance(answer, (BackendCrashed, BackendTimeout))
                yield direction, (answer, judgement)
            return
        for direction, answer in case.answers(backend, *self.directions):
            wrong = isinstance(answer, Exception)
            yield direction, (answer, Judgement.of_error(answer) if wrong else judge(answer, expected[direction]))

    def _note(self, number: int, case: Case, judgements: list[tuple[str, Answered]]) -> None:
        report = self.report
        report.problems += 1
        report.integer_problems += case.integers
        report.imprecise += any(judgement.imprecise for _, (_, judgement) in judgements)
        report.overflowed += any(judgement.overflowed for _, (_, judgement) in judgements)
        report.exact += case.integers and all(judgement.fault is None for _, (_, judgement) in judgements)
        if isinstance(case, Problem):
            self.coverage.add(problem_levels(case))
        for direction in dict.fromkeys(d for d, (_, judgement) in judgements if judgement.fault is not None):
            self.times[direction] = self.times.get(direction, 0) + 1
            if direction not in self.first or number < self.first[direction][0]:
                answered = next(a for d, a in judgements if d == direction and a[1].fault is not None)
                self.first[direction] = number, case, answered
        if not case.integers and report.worst_bound_ratio is not None:
            worst = max(report.worst_bound_ratio, *(judgement.ratio for _, (_, judgement) in judgements))
            report.worst_bound_ratio = worst if np.isfinite(worst) else None

    def conclude(self) -> None:
        """Say what is wrong, with the smallest problem that shows it."""
        self.report.pairs_covered = self.coverage.share
        if self.first:
            symptoms = {judgement.symptom for _, _, (_, judgement) in self.first.values()}
            self.report.verdict = "imprecise" if symptoms == {"precision"} else "disagrees"
            if self.crashes:
                self.report.verdict = "crashes"
        for number, direction in enumerate(sorted(self.first, key=lambda d: self.first[d][0])):
            self.progress(self.report.name, self.done, self.total, f"shrinking {direction}")
            self.report.disagreements.append(self._disagreement(direction, shrink=number < SHRUNK_DIRECTIONS))
        self.progress(self.report.name, self.done, self.total, self.report.verdict)

    def _disagreement(self, direction: str, *, shrink: bool) -> Disagreement:
        _, case, answered = self.first[direction]
        small, judgement, text = case, answered[1], None
        fault = str(judgement.fault)
        if isinstance(case, Problem):
            if shrink:
                found = reduced(
                    case,
                    answered,
                    lambda problem: first_fault(problem, self.workers[0], direction, self.expects[1]),
                    seed=self.draws.seed,
                    seconds=SHRINK_SECONDS,
                    values=self.draws.values,
                )
                case, judgement, fault = found.problem, found.judgement, found.fault
            small, text = case, script(self.report.name, case, direction, judgement)
        found_in = self.first[direction][1].describe()
        return Disagreement(
            direction, fault, small.describe(), found_in, self.times[direction], str(judgement.symptom), text
        )
