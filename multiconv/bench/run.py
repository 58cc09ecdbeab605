"""Find out which backend is faster, and whether the difference is real.

Each variant of a backend runs in its own worker, which times it. A round goes over all variants in random order, so
that a slowdown of the machine affects all of them. Ratios are taken between times of the same round. Everything is
repeated in fresh processes. The oracle judges an answer before it is timed.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import groupby
from math import prod
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from multiconv import registry
from multiconv.bench.cases import DIRECTIONS, Case, usual_mode
from multiconv.bench.journal import Journal
from multiconv.bench.results import MEASURED, Entry, Measurement, Report, Row
from multiconv.bench.workers import TimedWorker, Variant
from multiconv.core import bounds
from multiconv.core.errors import (
    BackendCrashed,
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    ConvError,
    UnsupportedError,
    UsageError,
)
from multiconv.core.geometry import Geometry
from multiconv.core.types import Progress, no_progress
from multiconv.layers import Layer
from multiconv.oracle.judgement import Expected, judge
from multiconv.oracle.problem import Problem
from multiconv.running import Workers, available
from multiconv.testing.problem_values import with_values

CHECKED_WINDOWS = 1 << 25  # most numbers that the oracle gathers: 256 MB, one or two seconds
CHECKED_PRODUCTS = {"float64": 1 << 24}  # computed in longdouble, for which there is no BLAS
MOST_PRODUCTS = 1 << 31


def bench(
    variants: Sequence[Variant],
    layers: Sequence[Layer],
    *,
    directions: Sequence[str] = DIRECTIONS,
    batches: Sequence[int] = (),
    dtypes: Sequence[str] = ("float32",),
    threads: Sequence[int] = (1,),
    layouts: Sequence[str] = ("native",),
    modes: Sequence[str] = (),
    rounds: int = 5,
    processes: int = 2,
    reference: str | None = None,
    optional: bool = False,
    seed: int = 0,
    timeout: float = 60.0,
    journal: Path | None = None,
    progress: Progress = no_progress,
) -> Report:
    """Time layers on variants of backends.

    Parameters
    ----------
    variants : sequence of Variant
    layers : sequence of Layer
    directions : sequence of str
        Elements of `multiconv.bench.cases.DIRECTIONS`.
    batches : sequence of int
        Batch sizes; default the one of the layer's source.
    dtypes, threads, layouts : sequence
        Each layer is timed in every combination; `multiconv.bench.cases.Case` explains the values.
    modes : sequence of str
        Elements of `multiconv.bench.cases.MODES`, as far as the backend has them; default its usual mode.
    rounds, processes : int
        Number of rounds in a process, and number of fresh processes.
    reference : str, optional
        Label of the variant to compare with; default torch, or else the first.
    optional : bool
        Whether to leave out and report variants that are not available.
    seed : int
        Random seed of the order within rounds, and of the values for the check.
    timeout : float
        Time limit for a request to a worker, in seconds.
    journal : path, optional
        File that records finished measurements. Those that it already has are not repeated.
    progress : callable, optional

    Returns
    -------
    Report

    Raises
    ------
    BackendUnavailable
        If a variant is not available and `optional` is not set, or if no variant is available.
    UsageError
        If no variant has one of the modes, or if the journal's file is not a journal, is that of another benchmark, or
        is in use by another process.

    Examples
    --------
    >>> from multiconv.bench.workers import parse_variant
    >>> from multiconv.layers import parse_layer
    >>> layer = parse_layer("x=1,1,8,8 w=1,1,3,3")
    >>> report = bench([parse_variant("numpy")], [layer], directions=["forward"], rounds=2, processes=1)
    >>> report.rows[0].status, len(report.rows[0].samples[0])
    ('measured', 2)
    """
    began = time.monotonic()
    by_label = {variant.label: variant for variant in variants}
    found, missing = available(by_label, lambda label: registry.locate(by_label[label].name), required=not optional)
    labels = [label for label, _ in found]
    variants = [by_label[label] for label in labels]
    settings = {
        "variants": labels,
        "layers": [asdict(layer) for layer in layers],
        "directions": list(directions),
        "batches": list(batches),
        "dtypes": list(dtypes),
        "threads": list(threads),
        "layouts": list(layouts),
        "modes": list(modes),
        "rounds": rounds,
        "processes": processes,
        "reference": reference or ("torch" if "torch" in labels else labels[0]),
        "seed": seed,
        "timeout": timeout,
    }
    groups = [
        [Case(layer, n, d, dtype, t, layout) for d in directions for layout in layouts]
        for t in threads
        for dtype in dtypes
        for layer in layers
        for n in (batches or [layer.batch])
    ]
    with closing(Journal(journal, settings)) as log:
        run = _Run(variants, settings, log, (processes + 1) * len(groups), progress)
        for of_threads in (list(g) for _, g in groupby(groups, key=lambda group: group[0].threads)):
            for process in range(processes):
                run.process(process, of_threads)
    rows = run.rows([entry for group in groups for entry in run.entries(group)])
    if not rows:
        raise UsageError(f"--mode: {' and '.join(labels)} can't be timed in the mode {' or '.join(modes)}")
    twins = [(a, b) for a, b in (run.rows(run.twins(group)) for group in groups) if a.samples and b.samples]
    return Report(rows, twins, list(log.workers.values()), missing, settings, time.monotonic() - began)


class _Run:
    """A benchmark run over groups of cases.

    The cases of a group share a layer, a batch size, a dtype and a number of threads.
    """

    def __init__(
        self, variants: list[Variant], settings: dict[str, Any], journal: Journal, total: int, progress: Progress
    ) -> None:
        self.variants, self.settings, self.journal, self.progress = variants, settings, journal, progress
        self.random = random.Random(settings["seed"])
        self.done, self.total = 0, total

    def entries(self, group: list[Case]) -> list[Entry]:
        """Return the entries of a group. The workers must have reported their modes before."""
        wanted = self.settings["modes"]
        return [
            Entry(case, variant, mode)
            for case in group
            for variant in self.variants
            for mode in self._modes(variant)
            if mode in (wanted or [usual_mode(variant.name)])
        ]

    def twins(self, group: list[Case]) -> list[Entry]:
        """Return the reference's first entry of a group, twice."""
        variant = next(v for v in self.variants if v.label == self.settings["reference"])
        return [Entry(group[0], variant, usual_mode(variant.name), twin) for twin in ("A", "A again")]

    def rows(self, entries: list[Entry]) -> list[Row]:
        """Return a row for each entry, with its measurements in the journal."""
        found = self.journal.measurements
        processes = range(self.settings["processes"])
        return [Row(e, [found[e.title, p] for p in processes if (e.title, p) in found]) for e in entries]

    def process(self, process: int, groups: list[list[Case]]) -> None:
        """Measure groups with the same number of threads, in fresh processes."""
        threads = groups[0][0].threads
        described = [(v.label, threads, process) in self.journal.workers for v in self.variants]
        if all(described) and all(self._is_done(self._all(g, process), process) for g in groups):
            self._advance(len(groups) * (2 if process == 0 else 1), "")
            return
        load = os.getloadavg()[0]
        self.progress("bench", self.done, self.total, f"starting {len(self.variants)} workers")
        with self._workers(self.variants, threads) as workers:
            for worker in workers.values():
                self._describe(worker, process, load)
            if process == 0:
                self._twins(groups, workers)
            for group in groups:
                self._advance(1, f"{group[0].title}, process {process + 1}")
                entries = self.entries(group)
                if not self._is_done(entries, process):
                    self._measure([(e, workers[e.variant.label]) for e in entries], process)

    def _all(self, group: list[Case], process: int) -> list[Entry]:
        return [*self.entries(group), *(self.twins(group) if process == 0 else [])]

    def _twins(self, groups: list[list[Case]], workers: dict[str, TimedWorker]) -> None:
        """Measure the reference against itself, for the noise floor."""
        first = workers[self.settings["reference"]]
        with self._workers([first.variant], first.threads) as again:
            for group in groups:
                self._advance(1, f"{group[0].title}, {first.variant.label} against itself")
                pair = self.twins(group)
                if not self._is_done(pair, 0):
                    self._measure(list(zip(pair, [first, again[first.variant.label]])), 0)

    def _measure(self, pairs: list[tuple[Entry, TimedWorker]], process: int) -> None:
        """Check and prepare each entry, then time all of them in rounds."""
        measurements = [Measurement(e.title, process, matmul_rate=self._matmul_rate(e, process)) for e, _ in pairs]
        jobs = [_Job(entry, worker, m) for (entry, worker), m in zip(pairs, measurements)]
        for job in jobs:
            earlier = self.journal.measurements.get((job.entry.title, process - 1))
            if earlier is not None and earlier.status != MEASURED:
                job.measurement = replace(earlier, process=process)
            else:
                job.prepare(self.settings["seed"], check=earlier is None)
        for _ in range(self.settings["rounds"]):
            by_worker = [[job for job in jobs if job.worker is worker] for worker in {j.worker: 0 for j in jobs}]
            for of_worker in self.random.sample(by_worker, len(by_worker)):
                for job in self.random.sample(of_worker, len(of_worker)):
                    job.loop()
                of_worker[0].worker.settle()
        for job in jobs:
            self.journal.add(job.concluded())
        for worker in {job.worker: 0 for job in jobs}:
            with suppress(BackendError, BackendUnavailable):
                worker.forget()

    def _is_done(self, entries: list[Entry], process: int) -> bool:
        return all(self.journal.has(entry.title, process) for entry in entries)

    def _describe(self, worker: TimedWorker, process: int, load: float) -> None:
        """Record a worker's versions, settings and rates."""
        dtypes = [dtype for dtype in self.settings["dtypes"] if dtype in worker.dtypes]
        worker.settle()
        self.journal.add_worker(
            {
                "variant": worker.variant.label,
                "threads": worker.threads,
                "process": process,
                "load": load,
                "version": worker.version,
                "python": worker.python_version,
                "settings": worker.settings(),
                "matmul_rate": {dtype: worker.matmul_rate(dtype) for dtype in dtypes},
                "stream_rate": worker.stream_rate(),
            }
        )
        worker.settle()

    def _modes(self, variant: Variant) -> list[str]:
        found = [w for (label, _, _), w in self.journal.workers.items() if label == variant.label]
        return list(found[0]["settings"]["modes"])

    def _matmul_rate(self, entry: Entry, process: int) -> float:
        worker = self.journal.workers[entry.variant.label, entry.case.threads, process]
        return float(worker["matmul_rate"].get(entry.case.dtype, 0.0))

    @contextmanager
    def _workers(self, variants: list[Variant], threads: int) -> Iterator[dict[str, TimedWorker]]:
        """Start a worker for each variant, and stop all of them at the end."""
        by_label = {variant.label: variant for variant in variants}

        def start(label: str) -> TimedWorker:
            return workers.start(lambda: TimedWorker(by_label[label], threads, self.settings["timeout"]))

        with Workers[TimedWorker]() as workers:
            started, _ = available(by_label, start, required=True)
            yield dict(started)

    def _advance(self, steps: int, doing: str) -> None:
        self.progress("bench", self.done, self.total, doing)
        self.done += steps


@dataclass
class _Job:
    """An entry, its worker and its measurement. A failure ends this job only."""

    entry: Entry
    worker: TimedWorker
    measurement: Measurement
    processor: float = 0.0

    def prepare(self, seed: int, *, check: bool) -> None:
        """Check the answer, then prepare the call."""
        case, m = self.entry.case, self.measurement
        with self._noting_failure():
            if case.dtype not in self.worker.dtypes:
                has = ", ".join(self.worker.dtypes)
                raise UnsupportedError(f"{self.entry.variant.label} does not compute in {case.dtype}: it has {has}")
            checked = _checked(case.layer, case.batch, case.direction, case.dtype)
            size = "x".join(map(str, checked.size))
            m.checked = "whole" if checked == case.geometry else f"at {size}"
            if check and (fault := self._fault(seed)):
                m.status, m.reason = "wrong", fault
                return
            m.first_call, m.loops = self.worker.prepare(self.entry.call)
            self.worker.settle()

    def loop(self) -> None:
        """Time one round."""
        m = self.measurement
        if m.status != MEASURED:
            return
        with self._noting_failure():
            wall, processor = self.worker.loop(self.entry.call, m.loops)
            m.seconds.append(wall / m.loops)
            self.processor += processor

    def concluded(self) -> Measurement:
        """Return the measurement; its times are kept only if no round failed."""
        m = self.measurement
        if m.status != MEASURED:
            m.seconds = []
        elif m.seconds:
            m.processor = self.processor / (sum(m.seconds) * m.loops)
        return m

    def _fault(self, seed: int) -> str | None:
        """Return the fault of the answer, or None."""
        case = self.entry.case
        problem, expected = _problem(case.layer, case.batch, case.direction, case.dtype, seed)
        g, arrays = problem.geometry, (problem.x, problem.w, problem.dy)
        constant = self.worker.normwise_constant(case.direction, g, case.dtype)
        if constant is not None:
            bound = bounds.normwise(case.direction, problem.x, problem.w, None, problem.dy, g, constant, case.dtype)
            expected = Expected(expected.value, bound, expected.dtype)
        return judge(self.worker.answer(self.entry.call._replace(geometry=g), arrays), expected).fault

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except (BackendError, BackendUnavailable, ConvError) as error:
            kinds = {BackendTimeout: "timed out", BackendCrashed: "crashed", BackendUnavailable: "crashed"}
            unsupported = "unsupported" if isinstance(error, ConvError) else "failed"
            self.measurement.status = kinds.get(type(error), unsupported)
            self.measurement.reason = str(error)


@lru_cache(maxsize=64)
def _checked(layer: Layer, batch: int, direction: str, dtype: str) -> Geometry:
    """Return the geometry to check the answer on: a smaller image if the oracle would take long."""
    # Each number of a window is multiplied once for each channel of the result.
    uses: float = layer.out_channels // layer.groups
    if direction == "input gradient":
        uses = layer.in_channels // layer.groups / prod(layer.spec.each(2)[0])
    products = min(int(CHECKED_WINDOWS * uses), CHECKED_PRODUCTS.get(dtype, MOST_PRODUCTS))
    return layer.reduced(products // max(batch, 1)).geometry(batch)


@lru_cache(maxsize=8)
def _problem(layer: Layer, batch: int, direction: str, dtype: str, seed: int) -> tuple[Problem, Expected]:
    """Return the problem to check an answer on, and the expected result."""
    g = _checked(layer, batch, direction, dtype)
    problem = with_values(layer.name, layer.spec, g, dtype, bias=False, values="normal", seed=seed)
    with threadpool_limits(1):
        return problem, problem.expectations([direction])[direction]
