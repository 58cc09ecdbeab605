"""What the check counts and reports, of backends whose answers are known beforehand."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from multiconv.backends.numpy import NumpyBackend

from multiconv import d2l, oracle
from multiconv.check.cases import CANDIDATE_EXAMPLES, EXAMPLES, Audience, Draws, Turn, turns_of
from multiconv.check.results import BackendReport, Interrupted
from multiconv.check.run import ENVIRONMENT, SHRUNK_DIRECTIONS, _hash, check
from multiconv.core import bounds
from multiconv.core.memory import ARRANGEMENTS
from multiconv.core.spec import ConvSpec
from multiconv.oracle.accuracy import Accuracy
from multiconv.oracle.problem import Problem
from multiconv.oracle.values import ALL_VALUES
from multiconv.testing.coverage import Coverage
from multiconv.testing.drawing import draw_problems
from multiconv.testing.levels import BATCHES, DTYPES, LAYOUT_LEVELS, problem_levels
from multiconv.testing.network_layers import layer_problems
from multiconv.testing.problem_values import with_values
from multiconv.testing.shrinking import Finding

LONG = 50
PLAIN = ("integers", "normal")
BOOK = 2 * len(d2l.EXAMPLES) + 1
"""The book's examples, these in every direction, and the identity."""


def drawn_by_check(count: int, seed: int, values: tuple[str, ...] = ALL_VALUES) -> list[Problem]:
    """What the check draws for a backend that compiles nothing."""
    return draw_problems(count, seed, values=values, arrangements=tuple(ARRANGEMENTS))


class Fake(NumpyBackend):
    """The NumPy backend in this process, where the check expects one in a worker.

    The book's examples, which name only the options that they have, are answered rightly; of a problem, which names all
    of them, `spoil` makes the forward answer.
    """

    python_version, python = "3.11", Path("/usr/bin/python3")

    def __init__(self, spoil: Callable[..., Any] = lambda y, x, w, **options: y) -> None:
        super().__init__()
        self.spoil, self.problems = spoil, 0
        self.worker = SimpleNamespace(interrupt=lambda: None)

    def close(self) -> None:
        """Stop the worker that it has not."""

    def cross_correlate(self, x: Any, w: Any, bias: Any = None, **options: Any) -> Any:
        y = super().cross_correlate(x, w, bias, **options)
        if "layout" not in options:
            return y
        self.problems += 1
        return self.spoil(y, x, w, bias=bias, **options)


@pytest.fixture
def report_on(monkeypatch: pytest.MonkeyPatch) -> Callable[..., BackendReport]:
    """The check's report on one fake, or on several that are the workers of one backend."""

    def run(*fakes: Fake, name: str = "numpy", **options: Any) -> BackendReport:
        waiting = list(fakes)
        monkeypatch.setattr("multiconv.registry.new_worker", lambda *_: waiting.pop(0))
        monkeypatch.setattr("multiconv.testing.candidate.in_worker", lambda *_: waiting.pop(0))
        named = {"candidates": [name]} if ":" in name else {"names": [name], "networks": False}
        (report,) = check(**named, **options).backends
        assert not waiting
        return report

    return run


def whole(*arrays: Any) -> bool:
    return all(bool(np.all(a == np.rint(a))) for a in arrays if a is not None)


def off_by_one_in_whole_numbers(y: Any, x: Any, w: Any, bias: Any, **options: Any) -> Any:
    return y + np.ones((), y.dtype) if whole(x, w, bias) else y


def near_the_bound(y: Any, x: Any, w: Any, bias: Any, **options: Any) -> Any:
    """An error of 0.9 of the bound in long sums of numbers that are not whole."""
    n = oracle.contraction("forward", ConvSpec(**options).resolve(x.shape, w.shape), bias=bias is not None)
    if n < LONG or not y.size or whole(x, w, bias):
        return y
    arrays = [None if a is None else np.abs(a.astype("float64")) for a in (x, w, bias)]
    magnitude = NumpyBackend().cross_correlate(*arrays, **options)
    return (y + 0.9 * bounds.gamma(n, bounds.unit_roundoff(y.dtype)) * magnitude).astype(y.dtype)


def terms(problem: Problem) -> int:
    return oracle.contraction("forward", problem.geometry, bias=problem.bias is not None)


def sees_something(problem: Problem) -> bool:
    """Return whether a window reaches beyond the padding, in a batch that is not empty."""
    return bool(problem.expectations(["forward"])["forward"].value.any())


# ---- Counts


def test_answers_that_have_lost_precision_are_counted_once_a_problem(report_on: Callable[..., BackendReport]) -> None:
    """The layer and the forward direction both have."""
    drawn = {seed: drawn_by_check(60, seed, ("normal",)) for seed in range(8)}
    long = {seed: sum(terms(p) >= LONG and sees_something(p) for p in drawn[seed]) for seed in drawn}
    seed = max(long, key=lambda seed: long[seed])
    assert long[seed] > 1
    options: dict[str, Any] = {"examples": 60, "seed": seed, "values": ("normal",)}
    counted = report_on(Fake(near_the_bound), **options)
    assert counted.verdict == "imprecise"
    assert counted.imprecise == long[seed]
    assert 0.85 < counted.share_of_bound <= 1
    assert report_on(Fake(), **options).imprecise == 0


def test_every_problem_is_counted_and_what_is_exact(report_on: Callable[..., BackendReport]) -> None:
    right = report_on(Fake(), examples=50, seed=3, values=PLAIN)
    wrong = report_on(Fake(off_by_one_in_whole_numbers), examples=50, seed=3, values=PLAIN)
    integers = [p for p in drawn_by_check(50, 3, PLAIN) if p.integers]
    for report in (right, wrong):
        assert report.problems == BOOK + 50
        assert report.integer_problems == BOOK + len(integers)
    assert right.exact == right.integer_problems
    empty = [p for p in integers if not p.geometry.batch]
    assert wrong.exact == len(d2l.EXAMPLES) + len(empty)  # a batch of zero has no numbers to be wrong
    (forward,) = [d for d in wrong.disagreements if d.direction == "forward"]
    assert forward.times == wrong.integer_problems - wrong.exact


def test_accuracy_is_that_of_long_sums_of_normally_distributed_numbers(
    report_on: Callable[..., BackendReport],
) -> None:
    """A wrong answer to another problem changes nothing in it."""
    accuracy = Accuracy()
    for problem in drawn_by_check(50, 3, ("normal", "integers", "wide")):
        expected = problem.expectations()
        for direction, answer in problem.answers(NumpyBackend()):
            if problem.values == "normal":
                right = expected[direction]
                assert right.sums is not None
                accuracy.add(direction, answer, right.value, right.sums(), right.bound)
    assert 0 < accuracy.share_of_bound <= 1
    for fake in (Fake(), Fake(off_by_one_in_whole_numbers)):
        report = report_on(fake, examples=50, seed=3, values=("normal", "integers", "wide"))
        assert report.share_of_bound == accuracy.share_of_bound
        assert [(r.direction, r.dtype, r.products_from, r.sums) for r in report.accuracy] == [
            (r.direction, r.dtype, r.products_from, r.sums) for r in accuracy.rows()
        ]
        assert [r.root_mean_square for r in report.accuracy] == pytest.approx(
            [r.root_mean_square for r in accuracy.rows()]
        )


def test_answers_that_lost_precision_are_measured_and_wrong_ones_are_not(
    report_on: Callable[..., BackendReport],
) -> None:
    options: dict[str, Any] = {"examples": 60, "seed": 3, "values": ("normal",)}
    right, imprecise, wrong = (
        {(r.direction, r.products_from): r for r in report_on(Fake(spoil), **options).accuracy if r.products_to}
        for spoil in (lambda y, *_, **o: y, near_the_bound, lambda y, *_, **o: y + np.ones((), y.dtype))
    )
    long = [key for key in right if key[0] == "forward" and key[1] >= 64]
    assert long
    assert all(imprecise[key].root_mean_square > 5 * right[key].root_mean_square for key in long)
    missing = {direction for direction, _ in right} - {direction for direction, _ in wrong}
    assert missing == {"forward", "layer"}  # a layer of this backend is its forward direction


# ---- What is reported of a failure


def test_a_failure_is_found_in_the_first_problem_even_if_a_later_one_is_answered_sooner(
    report_on: Callable[..., BackendReport],
) -> None:
    """The worker that has the first problem waits until the other has failed on several."""
    first = d2l.EXAMPLES[0]
    x_shape, w_shape = ((1, 1, *array.shape) for array in first.arrays)
    other_failed, in_time = Event(), []

    def spoiled_by(fake: Fake) -> Callable[..., Any]:
        def spoil(y: Any, x: Any, w: Any, padding: Any, **options: Any) -> Any:
            if (x.shape, w.shape, padding) == (x_shape, w_shape, 0) and not in_time:
                in_time.append(other_failed.wait(60))
            elif fake.problems > 3:  # by now an answer before this one has been judged
                other_failed.set()
            return y + np.ones((), y.dtype)

        return spoil

    fakes = Fake(), Fake()
    for fake in fakes:
        fake.spoil = spoiled_by(fake)
    report = report_on(*fakes, name="jax", examples=30)
    assert in_time == [True]
    forward = next(d for d in report.disagreements if d.direction == "forward")
    assert forward.found_in["source"] == f"d2l {first.name}"


def fails_on(*numbers: int) -> Callable[..., Any]:
    """Wrong for these calls, counted from 1, and right ever after."""
    asked = 0

    def spoil(y: Any, *_: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        return y + np.full((), 100 * asked, y.dtype) if asked in numbers else y

    return spoil


def test_a_failure_that_does_not_come_again_is_reported_as_it_was_first_seen(
    report_on: Callable[..., BackendReport],
) -> None:
    report = report_on(Fake(fails_on(1)), examples=5)
    (failure,) = report.disagreements
    assert (report.verdict, failure.direction, failure.times) == ("disagrees", "forward", 1)
    assert failure.problem == failure.found_in
    assert failure.found_in["source"] == f"d2l {d2l.EXAMPLES[0].name}"
    assert failure.fault == (
        "element [0, 0, 0, 0] is 119.0, but 19.0 is right, and it must be exact; "
        "wrong in 0 of 20 repeats: the answer changes from call to call"
    )


def test_a_failure_is_shrunk_to_values_of_the_kind_that_was_asked(report_on: Callable[..., BackendReport]) -> None:
    report = report_on(Fake(lambda y, x, w, **o: y if whole(x) else y + np.ones((), y.dtype)), values=("wide",))
    forward = next(d for d in report.disagreements if d.direction == "forward")
    assert forward.found_in["values"] == forward.problem["values"] == "wide"


@pytest.mark.parametrize("spoil", [lambda y, *_, **o: y, off_by_one_in_whole_numbers], ids=["right", "wrong"])
def test_an_interrupted_check_reports_what_was_done(
    report_on: Callable[..., BackendReport], monkeypatch: pytest.MonkeyPatch, spoil: Callable[..., Any]
) -> None:
    """Ctrl-C while the 31st problem is drawn."""

    def interrupted() -> Problem:
        raise KeyboardInterrupt

    def thirty(*arguments: Any) -> list[Turn]:
        turns = turns_of(*arguments)
        return [*turns[:30], Turn(interrupted, turns[30].audience), *turns[31:]]

    monkeypatch.setattr("multiconv.check.run.turns_of", thirty)
    with pytest.raises(Interrupted) as caught:
        report_on(Fake(spoil), examples=50, seed=3, values=PLAIN)
    report = caught.value.report
    assert report.interrupted
    (numpy,) = report.backends
    assert 0 <= numpy.problems <= 30
    assert numpy.verdict == ("disagrees" if numpy.disagreements else "agrees")
    assert {d.symptom for d in numpy.disagreements} <= {"values"}


# ---- What a run does


def test_an_error_in_the_check_itself_is_raised_and_no_more_problems_are_run(
    report_on: Callable[..., BackendReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []

    def broken(case: Problem, *_: Any) -> Any:
        judged.append(case.source)
        raise ZeroDivisionError("in the check")

    monkeypatch.setattr("multiconv.check.run.judged", broken)
    with pytest.raises(ZeroDivisionError, match="in the check"):
        report_on(Fake(), examples=20)
    assert len(judged) == 1


def test_workers_start_with_the_cache_of_what_their_framework_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[Any, ...]] = []
    shown: list[tuple[Any, ...]] = []

    def start(*arguments: Any) -> Fake:
        started.append(arguments)
        return Fake()

    monkeypatch.setattr("multiconv.registry.new_worker", start)
    monkeypatch.setattr("multiconv.workers.compile_cache.environment", lambda name, version: {name: version})
    check(["numpy"], examples=1, networks=False, timeout=7.0, progress=lambda *step: shown.append(step))
    assert started == [("numpy", 7.0, ENVIRONMENT | {"numpy": np.__version__})]
    assert shown[0] == ("numpy", 0, 0, "starting")


def test_the_report_says_what_was_drawn_and_how_long_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[Any, ...]] = []

    def start(*arguments: Any) -> Fake:
        started.append(arguments)
        return Fake()

    monkeypatch.setattr("multiconv.registry.new_worker", start)
    monkeypatch.setattr("multiconv.testing.candidate.in_worker", start)
    monkeypatch.setattr("multiconv.check.run.turns_of", lambda *_: [])
    began = time.monotonic()
    of_backend, of_candidate = check(["numpy"]), check(candidates=["module:f"], timeout=9.0)
    assert (of_backend.examples, of_candidate.examples) == (EXAMPLES, CANDIDATE_EXAMPLES)
    assert check(["numpy"], candidates=["module:f"]).examples == EXAMPLES
    assert started[1] == ("module:f", 9.0, ENVIRONMENT)
    assert 0 <= of_backend.seconds + of_candidate.seconds <= time.monotonic() - began


def test_the_pairs_covered_are_those_of_the_problems_that_were_run(report_on: Callable[..., BackendReport]) -> None:
    draws = Draws(30, 0, 3, DTYPES, PLAIN, networks=False, algorithm="direct")
    coverage = Coverage(DTYPES, PLAIN, tuple(ARRANGEMENTS), LAYOUT_LEVELS, tuple(BATCHES))
    for turn in turns_of(draws, {Audience.EAGER}):
        case = turn.make()
        if isinstance(case, Problem):
            coverage.add(problem_levels(case))
    assert report_on(Fake(), examples=30, seed=3, values=PLAIN).pairs_covered == coverage.share > 0.4


def test_cases_that_compile_to_the_same_code_go_to_the_same_worker() -> None:
    spec = ConvSpec(padding=1)
    g = spec.resolve((1, 2, 5), (3, 2, 3))
    one, *others = (
        with_values(source, spec, g, dtype, bias=bias, values=values, seed=0)
        for source, dtype, bias, values in (
            ("a", "float32", True, "normal"),
            ("b", "float32", True, "integers"),
            ("a", "float64", True, "normal"),
            ("a", "float32", False, "normal"),
        )
    )
    assert [_hash(other) == _hash(one) for other in others] == [True, False, False]


def a_little_beyond_the_bound(y: Any, x: Any, w: Any, bias: Any, **options: Any) -> Any:
    """An error of 1.5 of the bound, where near_the_bound has 0.9."""
    near = near_the_bound(y, x, w, bias, **options)
    return (y + (near.astype("float64") - y) * (1.5 / 0.9)).astype(y.dtype)


def test_answers_beyond_the_bound_are_not_measured(report_on: Callable[..., BackendReport]) -> None:
    options: dict[str, Any] = {"examples": 60, "seed": 3, "values": ("normal",)}
    wrong = report_on(Fake(a_little_beyond_the_bound), **options)
    assert wrong.verdict == "disagrees"
    assert wrong.share_of_bound < 0.5
    assert max(r.products_from for r in wrong.accuracy if r.direction == "forward" and r.products_to) <= LONG


@pytest.mark.parametrize("interrupted", [True, False])
def test_only_the_first_directions_of_a_check_that_ended_are_shrunk(
    report_on: Callable[..., BackendReport], monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    """Every direction of this backend is wrong."""
    shrunk: list[str] = []

    def keep(problem: Problem, answered: Any, ask: Any, **_: Any) -> Finding:
        shrunk.append(problem.source)
        return Finding(problem, *answered, 1, 1)

    def stop(problem: Problem) -> Problem:
        raise KeyboardInterrupt

    class Negates(Fake):
        def plan(self, *arguments: Any) -> Any:
            function = super().plan(*arguments)

            def negated(*arrays: Any) -> Any:
                result = function(*arrays)
                parts = result if isinstance(result, tuple) else (result,)
                wrong = tuple(None if a is None else -a - 1 for a in parts)
                return wrong if isinstance(result, tuple) else wrong[0]

            return negated

    def with_an_end(*arguments: Any) -> list[Turn]:
        turns = turns_of(*arguments)
        return [*turns, Turn(lambda: stop(turns[0].make()), turns[0].audience)] if interrupted else turns

    monkeypatch.setattr("multiconv.check.run.reduced", keep)
    monkeypatch.setattr("multiconv.check.run.turns_of", with_an_end)
    if interrupted:
        with pytest.raises(Interrupted) as caught:
            report_on(Negates(), examples=30, values=("integers",))
        assert not shrunk
        assert len(caught.value.report.backends[0].disagreements) > SHRUNK_DIRECTIONS
    else:
        report = report_on(Negates(), examples=30, values=("integers",))
        assert 0 < len(shrunk) <= SHRUNK_DIRECTIONS < len(report.disagreements)


# ---- What is asked


def test_each_network_is_asked_about_in_the_layout_in_which_it_was_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the shape of the kernel of each network's first layer, and whether it has a bias."""
    asked: dict[str, set[Any]] = {"resnet50": set(), "vgg19": set(), "mobilenet_v1": set(), "depthwise": set()}

    def note(y: Any, x: Any, w: Any, bias: Any, **options: Any) -> Any:
        stems = {
            (64, 3, 7, 7): "resnet50",
            (64, 3, 3, 3): "vgg19" if bias is not None else "",
            (32, 3, 3, 3): "mobilenet_v1",
        }
        network = "depthwise" if options["groups"] == x.shape[-1] > 16 else stems.get(w.shape)
        if network:
            asked[network].add((options["layout"], x.shape[1] if options["layout"] == "NCHW" else x.shape[-1]))
        return y

    monkeypatch.setattr("multiconv.registry.new_worker", lambda *_: Fake(note))
    report = check(["numpy"], examples=0)
    assert report.backends[0].verdict == "agrees"
    depthwise = asked.pop("depthwise")
    assert asked == {"resnet50": {("NHWC", 3)}, "vgg19": {("NCHW", 3)}, "mobilenet_v1": {("NHWC", 3)}}
    assert {layout for layout, _ in depthwise} == {"NHWC"}


@pytest.mark.parametrize("examples", [0, 7])
@pytest.mark.parametrize("networks", [True, False])
def test_a_candidate_is_asked_about_the_networks_unless_it_is_told_not_to(
    report_on: Callable[..., BackendReport], examples: int, networks: bool
) -> None:
    totals = set()

    def note(name: str, done: int, of: int, doing: str) -> None:
        if done:
            totals.add(of)

    options = {"examples": examples, "networks": networks, "progress": note}
    report = report_on(Fake(), name="somebody:conv", **options)
    layers = len(layer_problems("float32", ALL_VALUES, 0)) if networks else 0
    assert (layers > 10) == networks
    assert totals == {BOOK + examples + layers}
    assert report.verdict == "agrees"


def test_a_problem_in_a_dtype_that_a_backend_lacks_is_not_put_to_it(report_on: Callable[..., BackendReport]) -> None:
    fake = Fake()
    fake.dtypes = ("float32",)
    in_float32 = [p for p in drawn_by_check(40, 0) if p.dtype == "float32"]
    assert 0 < len(in_float32) < 40
    assert report_on(fake, examples=40).problems == BOOK + len(in_float32)


def test_the_expected_results_are_computed_once_for_all_backends_that_run_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computed: list[str] = []
    expectations = Problem.expectations

    def counted(problem: Problem, *args: Any) -> Any:
        computed.append(problem.source)
        return expectations(problem, *args)

    monkeypatch.setattr(Problem, "expectations", counted)
    monkeypatch.setattr("multiconv.registry.new_worker", lambda *_: Fake())
    monkeypatch.setattr("multiconv.registry.locate", lambda name: SimpleNamespace(version="2.0"))
    report = check(["numpy", "numpy@2.0"], networks=False, examples=3)
    assert [backend.problems for backend in report.backends] == [BOOK + 3, BOOK + 3]
    assert computed.count("drawn") == 3


@pytest.mark.parametrize(("warm", "workers"), [(False, 2), (True, 1)])
def test_jax_has_a_second_worker_while_nothing_that_it_compiled_is_cached(
    report_on: Callable[..., BackendReport], monkeypatch: pytest.MonkeyPatch, warm: bool, workers: int
) -> None:
    monkeypatch.setattr("multiconv.workers.compile_cache.is_warm", lambda variables: warm)
    assert report_on(*(Fake() for _ in range(workers)), name="jax", examples=1).problems == BOOK + 1
