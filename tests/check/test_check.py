"""The check: what agrees, what doesn't, and what breaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FIVE
from multiconv.backends.numpy import NumpyBackend

import multiconv as mc
from multiconv import d2l
from multiconv.check.cases import BookExample, Draws
from multiconv.check.results import Report
from multiconv.check.run import CRASHES, HANGS, _Run, check
from multiconv.core.geometry import Geometry
from multiconv.oracle.judgement import judge
from multiconv.oracle.problem import DIRECTIONS, Problem
from multiconv.testing.drawing import draw_problems
from multiconv.testing.kernel_problems import SHAPES


class Lent(NumpyBackend):
    """NumPy's backend in this process, with what the check asks of one in a worker."""

    python_version, python = "3.11", Path("/usr/bin/python3")


class PadsTheWrongSide(Lent):
    """Takes the pad before an axis for the one after it."""

    def native_cross_correlate(self, g: Geometry) -> Any:
        from dataclasses import replace

        return super().native_cross_correlate(replace(g, pads=tuple((after, before) for before, after in g.pads)))


class RoundsToHalf(Lent):
    """A loss of precision that no comparison of integers sees."""

    def native_cross_correlate(self, g: Geometry) -> Any:
        native = super().native_cross_correlate(g)

        def rounded(x: Any, w: Any, bias: Any = None) -> Any:
            with np.errstate(over="ignore", invalid="ignore"):
                return native(x.astype("float16").astype(x.dtype), w, bias)

        return rounded

    def vjp(self, function: Any, primals: Any, cotangent: Any) -> Any:
        raise RuntimeError("no gradient today")


class Crashes(Lent):
    def plan(self, operation: str, g: Geometry, dtype: str) -> Any:
        raise mc.BackendCrashed("it was killed by SIGSEGV")


class Hangs(Lent):
    """Exceeds the time limit in every call, but for the errors given, which come first."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors, self.calls = list(errors), 0

    def plan(self, operation: str, g: Geometry, dtype: str) -> Any:
        self.calls += 1
        raise self.errors.pop() if self.errors else mc.BackendTimeout("it took longer than its 1 s")


def test_a_disagreement_says_why() -> None:
    found = {d.direction: d for d in run(PadsTheWrongSide(), draw_problems(20, 0)).disagreements}["forward"]
    assert found.diagnosis is not None
    assert found.diagnosis["mistakes"] == ["pads-swapped"]
    assert found.diagnosis["exact"] == found.diagnosis["problems"] > 20
    assert found.why is not None
    assert found.why.startswith("the padding before and after each axis is swapped (padding ")
    [half] = [d for d in run(RoundsToHalf(), draw_problems(20, 0)).disagreements if d.direction == "forward"]
    assert half.diagnosis is not None
    assert half.diagnosis["mistakes"] == ["input-in-float16"]


def run(backend: Any, problems: list[Problem]) -> Any:
    """What the check says of a backend in this process."""
    run = _Run(backend.name, [backend], Draws(), lambda *_: None)
    for number, problem in enumerate(problems):
        run.put(number, problem, problem.expectations())
    run.conclude()
    return run.report


def test_all_five_agree_with_the_oracle_in_every_problem() -> None:
    report = check(FIVE, examples=40, seed=11)
    assert report.agrees
    assert [(b.name, b.verdict, b.disagreements) for b in report.backends] == [(name, "agrees", []) for name in FIVE]
    for b in report.backends:
        assert b.problems == 2 * len(d2l.EXAMPLES) + 1 + 51 + 27 + len(SHAPES) + 40
        assert b.exact == b.integer_problems > 51
        assert 0 < b.share_of_bound <= 1
        assert {r.direction for r in b.accuracy} == set(DIRECTIONS)


def test_a_pad_on_the_wrong_side_is_found_and_shrunk() -> None:
    report = run(PadsTheWrongSide(), draw_problems(100, 0))
    assert report.verdict == "disagrees"
    forward = next(d for d in report.disagreements if d.direction == "forward")
    assert forward.times > 1
    assert int(np.prod(forward.problem["x"])) <= 4
    assert "element" in forward.fault
    compile(forward.script, "script", "exec")


def test_a_loss_of_precision_is_found_in_reals_only() -> None:
    report = run(RoundsToHalf(), draw_problems(60, 0))
    forward = next(d for d in report.disagreements if d.direction == "forward")
    assert forward.problem["values"] != "integers"
    assert {r.direction for r in report.accuracy}.isdisjoint({"input gradient", "kernel gradient"})  # which raised
    gradient = next(d for d in report.disagreements if d.direction == "input gradient")
    assert "no gradient today" in gradient.fault


def test_a_backend_that_keeps_crashing_is_given_up() -> None:
    report = run(Crashes(), draw_problems(30, 0))
    assert report.verdict == "crashes"
    assert report.problems <= CRASHES
    assert any("SIGSEGV" in d.fault for d in report.disagreements)


def test_a_backend_that_keeps_hanging_is_given_up_after_the_second_time() -> None:
    backend = Hangs()
    report = run(backend, draw_problems(30, 0))
    assert report.verdict == "hangs"
    assert backend.calls == HANGS == 2
    assert [(d.direction, d.symptom) for d in report.disagreements] == [
        ("forward", "raises"),
        ("input gradient", "raises"),
    ]
    assert report.disagreements[0].problem == report.disagreements[0].found_in


def test_a_backend_that_crashes_and_hangs_crashes() -> None:
    backend = Hangs(mc.BackendCrashed("it was killed by SIGSEGV"))
    assert run(backend, draw_problems(30, 0)).verdict == "crashes"
    assert backend.calls > HANGS


def test_a_report_is_json_whatever_it_says() -> None:
    for backend in (Lent(), RoundsToHalf(), Crashes()):
        report = Report([run(backend, draw_problems(20, 0))], [], 20, 0, ["float32"])
        again = json.loads(json.dumps(report.asdict(), allow_nan=False))
        assert again["schema"] == 1
        assert {
            "name",
            "version",
            "python",
            "where",
            "problems",
            "exact",
            "share_of_bound",
            "accuracy",
            "verdict",
        } <= set(again["backends"][0])


@pytest.mark.parametrize("example", d2l.EXAMPLES, ids=lambda e: e.name)
def test_the_book_is_right_on_every_backend(backend: mc.Backend, example: d2l.Example) -> None:
    case = BookExample(example)
    ((name, answer),) = case.answers(backend)
    assert judge(answer, case.expectations()[name]).fault is None


def test_a_backend_that_is_named_must_be_had() -> None:
    with pytest.raises(mc.BackendUnavailable, match=r"torch@9\.9\.9.*multiconv env create torch@9\.9\.9"):
        check(["numpy", "torch@9.9.9"], examples=0)


def test_a_backend_that_is_not_named_may_be_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MULTICONV_HOME", str(tmp_path))
    monkeypatch.delenv("MULTICONV_MXNET_PYTHON", raising=False)
    monkeypatch.setattr("multiconv.registry.names", lambda: ["numpy", "mxnet"])
    monkeypatch.setattr("multiconv.check.run.turns_of", lambda *_: [])
    report = check(examples=0)
    assert [b.name for b in report.backends] == ["numpy"]
    assert [m.install for m in report.missing] == ["multiconv env create mxnet"]
