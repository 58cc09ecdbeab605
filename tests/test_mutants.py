"""The catalogue of wrong convolutions: each is wrong where it says and nowhere else, and the oracle finds it."""

from __future__ import annotations

import pytest
from multiconv.backends.numpy import NumpyBackend
from mutants import MUTANTS, Mutant, right, wrong_directions

from multiconv.drawing import draw_problems
from multiconv.problem import DIRECTIONS, Expected, Problem, judge

DEFAULT_EXAMPLES = 200
Judged = list[tuple[Problem, dict[str, Expected]]]


@pytest.fixture(scope="module")
def drawn() -> Judged:
    """The drawn problems of a check with its defaults, and what each should come to."""
    return [(problem, problem.expectations()) for problem in draw_problems(DEFAULT_EXAMPLES, 0)]


def test_there_are_many_and_each_has_its_own_name() -> None:
    assert len(MUTANTS) >= 45
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert len({(mutant.says, mutant.directions) for mutant in MUTANTS}) == len(MUTANTS)
    assert all(mutant.directions for mutant in MUTANTS)
    assert {direction for mutant in MUTANTS for direction in mutant.directions} == set(DIRECTIONS)


@pytest.mark.parametrize(
    "backend", [NumpyBackend(), Mutant("none", "nothing", DIRECTIONS, right)], ids=lambda b: b.name
)
def test_what_is_right_is_found_right(backend: NumpyBackend, drawn: Judged) -> None:
    for problem, expected in drawn:
        assert list(wrong_directions(backend, problem, expected)) == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_the_oracle_finds_a_mutant_in_every_direction_in_which_it_is_wrong(mutant: Mutant, drawn: Judged) -> None:
    unseen = set(mutant.directions)
    for problem, expected in drawn:
        unseen -= set(wrong_directions(mutant, problem, expected))
        if not unseen:
            break
    assert not unseen


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_a_mutant_answers_always_and_is_right_in_all_other_directions(mutant: Mutant, drawn: Judged) -> None:
    for problem, expected in drawn[::4]:
        for direction, answer in problem.answers(mutant):
            assert direction in mutant.directions or not isinstance(answer, Exception), answer
            if direction not in mutant.directions:
                assert judge(answer, expected[direction]).fault is None
