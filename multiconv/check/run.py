"""The check: run the cases on every backend, and report the results.

Every backend runs in worker processes of its own, so that no two backends share a process and none can end the run. The
problems and their expected results are computed once, in this process, while the workers compute.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from threading import Event, Lock

from threadpoolctl import threadpool_limits

from multiconv import registry
from multiconv.check.cases import CANDIDATE_EXAMPLES, EXAMPLES, Audience, Case, Draws, Turn, turns_of
from multiconv.check.results import BackendReport, Disagreement, Interrupted, Report
from multiconv.check.scripts import script
from multiconv.core.errors import BackendCrashed, BackendTimeout, UnsupportedError
from multiconv.core.memory import ARRANGEMENTS
from multiconv.core.targets import parse_target, plain_name
from multiconv.core.types import Progress, no_progress
from multiconv.oracle.accuracy import Accuracy
from multiconv.oracle.judgement import Expected, Judgement, judge
from multiconv.oracle.problem import DIRECTIONS, Problem, first_fault, judged
from multiconv.oracle.values import EXTREME, values_for
from multiconv.running import Workers, available
from multiconv.testing import candidate
from multiconv.testing.coverage import Coverage
from multiconv.testing.diagnosing import why_wrong
from multiconv.testing.levels import BATCHES, CHANNELS_FIRST, DTYPES, LAYOUT_LEVELS, NON_EMPTY_BATCHES, problem_levels
from multiconv.testing.shrinking import Answered, reduced
from multiconv.workers import compile_cache
from multiconv.workers.process import FILLED_MEMORY, PATIENT_THREADS
from multiconv.workers.remote import RemoteBackend

AHEAD = 64
"""Maximum number of cases that wait for a worker."""
WORKERS = {"jax": 2}
"""Number of workers of a backend that compiles each shape, so that the others don't wait for it. With a warm cache of
compilations a second one costs more than it saves."""
ENVIRONMENT = PATIENT_THREADS | FILLED_MEMORY
CRASHES = 5
"""Number of crashes that ends the run of a backend."""
HANGS = 2
"""The same for hangs, each of which takes the whole time limit."""
NORMWISE = ("fast", "fft", "winograd")
"""The values of a backend's option `algorithm` that are judged by their own bound, as in `Problem.expectations`."""
SHRUNK_DIRECTIONS = 3
SHRINK_SECONDS = 20.0


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
    progress: Progress = no_progress,
) -> Report:
    """Run the book's examples, the networks' layers and drawn problems on backends, and judge every answer.

    Parameters
    ----------
    names : sequence of str
        Backends and variants, as `multiconv.registry.new_worker` takes them. By default all installed backends, or none
        if there are candidates.
    candidates : sequence of str
        Functions named ``"package.module:function"``, as in `multiconv.testing.candidate.Candidate`. Only their forward
        direction is run.
    examples : int, optional
        Number of problems to draw. The default is `EXAMPLES` for a backend and `CANDIDATE_EXAMPLES` for a candidate.
    seed : int
    dtypes : sequence of str
        Dtypes of the drawn problems. The networks' layers are checked in the first one. A backend runs only the
        problems in dtypes that it supports.
    values : sequence of str, optional
        The kinds of values to draw, as in `multiconv.oracle.values.seeded`. By default all kinds; if `algorithm` is not
        direct, the kinds with finite sums.
    networks : bool
        Whether to run the networks' layers too. Candidates run them on smaller images, as they may be slow.
    algorithm : str
        The algorithm of the candidates: ``"direct"``, ``"fft"`` or ``"winograd"``, as in
        `multiconv.oracle.problem.Problem.expectations`. Backends are judged as direct.
    timeout : float
        Time limit for an answer, in seconds.
    progress : callable, optional

    Returns
    -------
    Report

    Raises
    ------
    BackendUnavailable
        If a named backend or candidate is not available.
    UnsupportedError
        If a named backend or candidate supports none of the dtypes, or if no backend does.
    Interrupted
        If Ctrl-C is pressed: a KeyboardInterrupt with the report until then.

    Examples
    --------
    >>> report = check(["numpy"], examples=10)  # doctest: +SKIP
    >>> report.backends[0].verdict  # doctest: +SKIP
    'agrees'
    """
    began = time.monotonic()
    wanted = list(dict.fromkeys(names)) or ([] if candidates else registry.names())
    if values is None:
        values = values_for(algorithm)
    draws = Draws(
        EXAMPLES if examples is None else examples,
        CANDIDATE_EXAMPLES if examples is None else examples,
        seed, tuple(dtypes), tuple(values), networks, algorithm,
    )  # fmt: skip
    drawn = draws.examples if wanted else draws.candidate_examples
    with Workers[RemoteBackend]() as workers:
        started, missing = available(
            [*wanted, *candidates],
            lambda name: _start(name, workers, dtypes, timeout, progress),
            required=bool(names or candidates),
        )
        report = Report([], missing, drawn, seed, list(dtypes))
        runs = [_Run(name, of_backend, draws, progress) for name, of_backend in started]
        try:
            with threadpool_limits(1):  # for the oracle: the workers need the cores more
                _run_all(runs, turns_of(draws, {run.audience for run in runs}))
        except KeyboardInterrupt:
            report.interrupted = True
            for run in runs:
                run.conclude(shrink=False)
    report.backends = [run.report for run in runs]
    report.seconds = time.monotonic() - began
    if report.interrupted:
        raise Interrupted(report)
    return report


def _start(
    name: str, workers: Workers[RemoteBackend], dtypes: Sequence[str], timeout: float, progress: Progress
) -> list[RemoteBackend]:
    """Start the workers of a backend or candidate, which must support at least one of the dtypes."""
    progress(name, 0, 0, "starting")
    if parse_target(name).function:
        started = [workers.start(lambda: candidate.in_worker(name, timeout, ENVIRONMENT))]
    else:
        cache = compile_cache.environment(name, registry.locate(name).version)
        count = 1 if compile_cache.is_warm(cache) else WORKERS.get(plain_name(name), 1)
        environment = ENVIRONMENT | cache
        started = [workers.start(lambda: registry.new_worker(name, timeout, environment)) for _ in range(count)]
    has = started[0].dtypes
    if not set(dtypes) & set(has):
        raise UnsupportedError(f"{name} does not compute in {' or '.join(dtypes)}: it has {', '.join(has)}")
    return started


Asked = tuple[int, Case, dict[str, Expected]]
"""The number of a case, the case, and its expected results."""


def _run_all(runs: list[_Run], turns: list[Turn]) -> None:
    """Send each case to every backend that it is for, a limited number of cases ahead of the slowest."""
    queues: dict[tuple[_Run, int], Queue[Asked | None]]
    queues = {(run, worker): Queue(AHEAD) for run in runs for worker in range(len(run.workers))}

    def consume(run: _Run, worker: int, queue: Queue[Asked | None]) -> None:
        failure: Exception | None = None
        while (item := queue.get()) is not None:  # always drain the queue, or its producer would block for ever
            if failure is None and not run.abandoned.is_set():
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
                case = turn.make()
                expected = {expects: case.expectations(*expects) for expects in {run.expects for run in asked}}
                for run in asked:
                    queues[run, _hash(case) % len(run.workers)].put((number, case, expected[run.expects]))
            for queue in queues.values():
                queue.put(None)
            for future in done:
                future.result()
        except BaseException:
            for run in runs:
                run.abandoned.set()
                for backend in run.workers:
                    backend.worker.interrupt()
            for queue in queues.values():
                queue.put(None)
            raise
        list(pool.map(_Run.conclude, runs))


def _hash(case: Case) -> int:
    """Return a hash that is equal for cases for which a framework compiles the same code."""
    described = case.describe()
    return zlib.crc32(repr([described[key] for key in sorted(described) if key not in ("source", "values")]).encode())


class _Run:
    """One backend's run through the problems, in one or more workers."""

    def __init__(self, name: str, workers: Sequence[RemoteBackend], draws: Draws, progress: Progress) -> None:
        self.workers, self.draws, self.progress = workers, draws, progress
        first = workers[0]
        self.report = BackendReport(name, first.version, first.python_version, str(first.python))
        self.audience = Audience.COMPILING if first.compiles else Audience.EAGER
        self.directions: tuple[str, ...] = ()
        target = parse_target(name)
        wanted = target.options.get("algorithm", "direct")
        algorithm = wanted if wanted in NORMWISE else "direct"
        layouts, batches = LAYOUT_LEVELS, tuple(BATCHES)
        if target.function:
            self.audience, self.directions = Audience.CANDIDATE, candidate.DIRECTIONS
            layouts, batches, algorithm = CHANNELS_FIRST, NON_EMPTY_BATCHES, draws.algorithm
        self.expects = (self.directions or DIRECTIONS, algorithm)
        dtypes = [dtype for dtype in draws.dtypes if dtype in first.dtypes]
        values = draws.values if algorithm == "direct" else [kind for kind in draws.values if kind not in EXTREME]
        self.coverage = Coverage(dtypes, values, tuple(ARRANGEMENTS), layouts, batches)
        self.accuracy = Accuracy()
        self.total = self.done = self.crashes = self.hangs = 0
        self.first: dict[str, tuple[int, Case, Answered]] = {}
        self.times: dict[str, int] = {}
        self.lock = Lock()
        self.abandoned = Event()

    @property
    def given_up(self) -> bool:
        """Return whether the backend has crashed or hung so often that it runs no more problems."""
        return self.crashes >= CRASHES or self.hangs >= HANGS

    def put(self, number: int, case: Case, expected: dict[str, Expected], worker: int = 0) -> None:
        """Run a case on the backend and judge its answers."""
        judgements: list[tuple[str, Answered]] = []
        if not self.given_up and self._takes(case):
            judgements = list(self._judged(case, expected, worker))
        if self.abandoned.is_set():  # what failed may have failed because its worker was stopped
            return
        with self.lock:
            self.done += 1
            self.progress(self.report.name, self.done, self.total, "")
            if judgements:
                self._note(number, case, judgements, expected)

    def _takes(self, case: Case) -> bool:
        """Return whether the backend runs a case. It must have its dtype, and a fast algorithm needs finite sums."""
        has_bound = self.expects[1] == "direct" or not isinstance(case, Problem) or case.values not in EXTREME
        return has_bound and case.dtype in self.workers[0].dtypes

    def _judged(self, case: Case, expected: dict[str, Expected], worker: int) -> Iterator[tuple[str, Answered]]:
        backend = self.workers[worker]
        if isinstance(case, Problem):
            for direction, answer, judgement in judged(case, backend, expected, *self.directions):
                self.crashes += isinstance(answer, BackendCrashed)
                self.hangs += isinstance(answer, BackendTimeout)
                yield direction, (answer, judgement)
                if self.given_up:
                    return
            return
        for direction, answer in case.answers(backend, *self.directions):
            wrong = isinstance(answer, Exception)
            yield direction, (answer, Judgement.of_error(answer) if wrong else judge(answer, expected[direction]))

    def _note(
        self, number: int, case: Case, judgements: list[tuple[str, Answered]], expected: dict[str, Expected]
    ) -> None:
        report = self.report
        report.problems += 1
        report.integer_problems += case.integers
        report.imprecise += any(judgement.imprecise for _, (_, judgement) in judgements)
        self._measure(judgements, expected)
        report.overflowed += any(judgement.overflowed for _, (_, judgement) in judgements)
        report.exact += case.integers and all(judgement.fault is None for _, (_, judgement) in judgements)
        if isinstance(case, Problem):
            self.coverage.add(problem_levels(case))
        for direction in dict.fromkeys(d for d, (_, judgement) in judgements if judgement.fault is not None):
            self.times[direction] = self.times.get(direction, 0) + 1
            if direction not in self.first or number < self.first[direction][0]:
                answered = next(a for d, a in judgements if d == direction and a[1].fault is not None)
                self.first[direction] = number, case, answered

    def _measure(self, judgements: list[tuple[str, Answered]], expected: dict[str, Expected]) -> None:
        """Add the errors of the answers within their bounds to the statistics."""
        for direction, (answer, judgement) in judgements:
            right = expected[direction]
            if judgement.ratio <= 1 and right.sums is not None:
                self.accuracy.add(direction, answer, right.value, right.sums(), right.bound)

    def conclude(self, *, shrink: bool = True) -> None:
        """Complete the report with the verdict, and with the smallest problem that shows each disagreement."""
        self.report.pairs_covered = self.coverage.share
        self.report.accuracy = self.accuracy.rows()
        self.report.share_of_bound = self.accuracy.share_of_bound
        self.report.disagreements = []
        if self.first:
            symptoms = {judgement.symptom for _, _, (_, judgement) in self.first.values()}
            self.report.verdict = "imprecise" if symptoms == {"precision"} else "disagrees"
            if self.crashes or self.hangs:
                self.report.verdict = "crashes" if self.crashes else "hangs"
        for number, direction in enumerate(sorted(self.first, key=lambda d: self.first[d][0])):
            self.progress(self.report.name, self.done, self.total, f"shrinking {direction}")
            self.report.disagreements.append(
                self._disagreement(direction, shrink=shrink and number < SHRUNK_DIRECTIONS)
            )
        self.progress(self.report.name, self.done, self.total, self.report.verdict)

    def _disagreement(self, direction: str, *, shrink: bool) -> Disagreement:
        _, case, answered = self.first[direction]
        small, judgement, text = case, answered[1], None
        fault, why = str(judgement.fault), None
        if isinstance(case, Problem):
            if shrink and not isinstance(answered[0], BackendTimeout):  # each smaller problem might take the time limit
                found = reduced(
                    case,
                    answered,
                    lambda problem: first_fault(problem, self.workers[0], direction, self.expects[1]),
                    seed=self.draws.seed,
                    seconds=SHRINK_SECONDS,
                    values=self.draws.values,
                )
                case, judgement, fault = found.problem, found.judgement, found.fault
                why = why_wrong(self.workers[0], direction, found, seed=self.draws.seed, values=self.draws.values)
            small, text = case, script(self.report.name, case, direction, judgement)
        found_in = self.first[direction][1].describe()
        diagnosis, sentence = (None, None) if why is None else (why.asdict(), str(why))
        return Disagreement(
            direction, fault, small.describe(), found_in, self.times[direction], str(judgement.symptom), text,
            diagnosis, sentence,
        )  # fmt: skip
