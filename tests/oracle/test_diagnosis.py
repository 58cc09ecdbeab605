"""A diagnosis names the mistake that is made, with the count of problems, and names none that is not exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mutants import MUTANTS
from wrong_functions import WRONG, conv

from multiconv.core.spec import ConvSpec
from multiconv.oracle.diagnosis import Diagnosis, diagnose, diagnose_over
from multiconv.oracle.mistakes import MISTAKES, answer_of, question
from multiconv.oracle.problem import Problem
from multiconv.testing.drawing import draw_problems
from multiconv.testing.levels import CHANNELS_FIRST, NON_EMPTY_BATCHES
from multiconv.testing.problem_values import given_values

PROBLEMS = draw_problems(
    300, 0, ["float32"], values=["integers", "normal"], layouts=CHANNELS_FIRST, batches=NON_EMPTY_BATCHES
)
SAME_AS = {
    "stride-ignored and dilation-ignored": {"stride-and-dilation-ignored"},
}
"""Other names under which a mistake is right."""


def asker(function: Callable[..., Any]) -> Callable[[Problem], Any]:
    def ask(problem: Problem) -> Any:
        g = problem.geometry
        options = {"stride": g.stride, "padding": g.pads, "dilation": g.dilation, "groups": g.groups}
        try:
            return function(problem.x, problem.w, problem.bias, **options)
        except Exception as error:  # such as a window larger than the input
            return error

    return ask


def diagnosed(function: Callable[..., Any]) -> Diagnosis | None:
    """Diagnose a function on the first problem whose answer is wrong, as a check does."""
    ask = asker(function)
    for problem in PROBLEMS:
        answer, expected = ask(problem), problem.expectations(["forward"])["forward"]
        if not isinstance(answer, np.ndarray):
            continue
        value = expected.value
        if answer.shape != value.shape or (np.abs(answer - value) > expected.bound).any():
            found = diagnose_over(ask, "forward", problem, seconds=30)
            if found is not None:
                assert_exact(found, ask)
            return found
    return None


def assert_exact(found: Diagnosis, ask: Callable[[Problem], Any]) -> None:
    assert found.exact == found.problems > 0


def test_most_mistakes_put_in_by_hand_are_named() -> None:
    names = {}
    for name, function in WRONG:
        found = diagnosed(function)
        names[name] = "nothing" if found is None else " and ".join(sorted(found.mistakes))
    assert len(names) >= 75
    right = {
        name for name, named in names.items()
        if named == " and ".join(sorted(name.split(" and "))) or named in SAME_AS.get(name, ())
    }  # fmt: skip
    missed = {name: named for name, named in names.items() if name not in right}
    assert len(right) >= 55 / 60 * len(names), missed


OF_DIRECTIONS = {
    "convolve correlates": ("convolve", "kernel-flipped"),
    "convolve flips channels": ("convolve", "kernel-channels-reversed"),
    "input gradient ignores dilation": ("input gradient", "dilation-ignored"),
    "input gradient flipped": ("input gradient", "kernel-flipped"),
    "input gradient remainder at start": ("input gradient", "output-padding-at-start"),
    "input gradient overwritten": ("input gradient", "overlaps-overwritten"),
    "kernel gradient mean over batch": ("kernel gradient", "mean-over-batch"),
    "kernel gradient of first image": ("kernel gradient", "first-image-only"),
    "kernel gradient ignores stride": ("kernel gradient", "stride-ignored"),
    "kernel gradient pads swapped": ("kernel gradient", "pads-swapped"),
    "bias gradient mean": ("bias gradient", "mean-over-pixels"),
    "bias gradient of first image": ("bias gradient", "first-image-only"),
    "transposed flipped": ("conv_transpose", "kernel-flipped"),
    "transposed bias dropped": ("conv_transpose", "bias-dropped"),
    "output padding at start": ("conv_transpose", "output-padding-at-start"),
    "transposed pads swapped": ("conv_transpose", "pads-swapped"),
    "transposed groups interleaved": ("conv_transpose", "output-channels-interleaved"),
    "layer padding default": ("layer", "padding-ignored"),
    "layer stride default": ("layer", "stride-ignored"),
    "layer bias ignored": ("layer", "bias-dropped"),
    "layer kernel reshaped": ("layer", "kernel-oihw-read-as-hwio"),
}
ALL_LAYOUTS = draw_problems(60, 0, ["float32"], values=["integers"])


@pytest.mark.parametrize("name", OF_DIRECTIONS)
def test_mistakes_in_other_directions_and_layouts_are_named(name: str) -> None:
    direction, mistake = OF_DIRECTIONS[name]
    mutant = next(m for m in MUTANTS if m.name == name)

    def ask(problem: Problem) -> Any:
        return next((answer for _, answer in problem.answers(mutant, direction)), None)

    for problem in ALL_LAYOUTS:
        answer = ask(problem)
        expected = problem.expectations([direction]).get(direction)
        if expected is None or not isinstance(answer, np.ndarray) or np.array_equal(answer, expected.value):
            continue
        found = diagnose_over(ask, direction, problem, seconds=30)
        assert found is not None
        assert found.mistakes == (mistake,)
        assert_exact(found, ask)
        return
    raise AssertionError("no problem shows the mistake")


def problem_of(spec: ConvSpec | None = None) -> Problem:
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-9, 10, shape).astype("float32") for shape in ((2, 2, 5, 6), (3, 2, 3, 3)))
    return given_values("mine", spec or ConvSpec(), x, w, bias=np.float32([1, 2, 3]))


def test_no_mistake_is_named_that_is_not_exact() -> None:
    problem = problem_of()
    answer = question(problem, "convolve").right()
    found = diagnose(problem, answer)
    assert found is not None
    assert (found.mistakes, found.within_rounding) == (("kernel-flipped",), False)
    off = answer.copy()
    off[1, 2, 0, 3] += 1
    assert diagnose(problem, off) is None
    assert diagnose(problem, answer[:, :, :-1]) is None


def test_a_fault_of_one_shape_is_said_to_be_of_that_shape() -> None:
    problem = problem_of()

    def seldom(x: Any, w: Any, bias: Any = None, **o: Any) -> Any:
        y = conv(x, w, bias, **o)
        if x.shape == problem.x.shape:
            y[..., -1] = 0
        return y

    found = diagnose_over(asker(seldom), "forward", problem)
    assert found is not None
    assert found.mistakes == ("last-column-zero",)
    assert found.evidence == "equal to the bit on 10 of 10 problems of this shape"


def test_fixed_options_are_not_varied() -> None:
    problem = problem_of(ConvSpec(2, 1))
    seen = set()

    def ask(p: Problem) -> Any:
        seen.add((p.spec.stride, p.spec.padding, p.w.shape[2:], p.x.shape[2:]))
        return question(p, "convolve").right()

    diagnose_over(ask, "forward", problem, fixed={"stride": 2, "padding": 1, "kernel": 3, "size": (5, 6)})
    assert seen == {(2, 1, (3, 3), (5, 6)), ((2, 2), 1, (3, 3), (5, 6))}


def test_real_values_are_equal_within_rounding_and_it_is_said() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 2, 6, 6)).astype("float32"), rng.standard_normal((2, 2, 3, 3)).astype("float32")
    problem = given_values("mine", ConvSpec(), x, w)
    found = diagnose(problem, question(problem, "convolve").right().astype("float32"))
    assert found is not None
    assert found.mistakes == ("kernel-flipped",)
    assert found.within_rounding
    assert found.evidence == "equal within rounding on this problem"
    assert diagnose(problem, question(problem, "forward").right().astype("float32")) is None


def test_the_code_has_the_right_options() -> None:
    problem = problem_of(ConvSpec(1, ((0, 1), (2, 0))))
    q = question(problem, "forward")
    found = diagnose(problem, MISTAKES["pads-swapped"].answer(q))
    assert found is not None
    assert found.code["torch"].startswith("x = F.pad(x, (2, 0, 0, 1))")
    assert "padding ((1, 0), (0, 2)) instead of ((0, 1), (2, 0))" in str(found)


def test_two_mistakes_compose_in_order() -> None:
    q = question(problem_of(), "forward")
    pair = (MISTAKES["bias-dropped"], MISTAKES["doubled"])
    assert np.array_equal(answer_of(pair, q), 2 * q.but(bias=None).right())


def test_a_right_function_has_no_diagnosis() -> None:
    for problem in PROBLEMS[:40]:
        assert diagnose_over(asker(conv), "forward", problem) is None
        if problem.integers:
            assert diagnose(problem, asker(conv)(problem)) is None
