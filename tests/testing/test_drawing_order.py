"""In which order, from which seeds and with which shares problems are drawn."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from multiconv.core.memory import ARRANGEMENTS
from multiconv.oracle.problem import Problem
from multiconv.oracle.values import ALL_VALUES, VALUES
from multiconv.testing import drawing
from multiconv.testing.drawing import draw_all, draw_problems, draw_signatures
from multiconv.testing.levels import BATCHES, LAYOUT_LEVELS, problem_levels
from multiconv.testing.situations import SITUATIONS

COUNT = len(SITUATIONS)
DTYPES = ("float32", "float64", "float16")


def signature(problem: Problem) -> tuple[Any, ...]:
    return problem.spec, problem.x.shape, problem.w.shape, problem.dtype, problem.bias is not None


def same(these: list[Problem], those: list[Problem]) -> bool:
    """Return whether problems have the same options and the same numbers."""
    return len(these) == len(those) and all(
        signature(a) == signature(b) and a.x.tobytes() == b.x.tobytes() and a.w.tobytes() == b.w.tobytes()
        for a, b in zip(these, those)
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the situations that are drawn."""
    names: list[str] = []
    real = drawing.specs

    def specs(situation: str) -> Any:
        names.append(situation)
        return real(situation)

    monkeypatch.setattr(drawing, "specs", specs)
    return names


# ---- One strategy


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_as_many_examples_are_drawn_as_are_asked_for(count: int) -> None:
    assert len(draw_all(st.integers(), count, seed=0)) == count


def test_examples_follow_from_the_seed() -> None:
    first, again, other = (draw_all(st.integers(0, 2**60), 5, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first)) > 1


def test_an_example_that_is_hard_to_find_is_drawn_all_the_same() -> None:
    rare = st.integers().filter(lambda n: n % 16 == 1)
    assert all(n % 16 == 1 for n in draw_all(rare, 3, seed=0))


# ---- Situations


def test_every_situation_comes_once_before_one_comes_again(asked: list[str]) -> None:
    draw_signatures(COUNT + 3, seed=5)
    assert sorted(asked[:COUNT]) == sorted(SITUATIONS)
    assert len(asked) == COUNT + 3


def test_the_order_of_the_situations_follows_from_the_seed(asked: list[str]) -> None:
    for seed in (5, 5, 6):
        draw_signatures(8, seed)
    assert asked[:8] == asked[8:16] != asked[16:]


def test_a_situation_has_its_own_numbers_in_each_problem_of_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(
        drawing, "draw_all", lambda strategy, n, seed: (seeds.append(seed), draw_all(strategy, n, seed))[1]
    )
    draw_signatures(4, seed=30)
    assert seeds == [30, 31, 32, 33]


def test_the_first_example_is_not_taken_as_it_is_the_simplest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "draw_all", lambda strategy, count, seed: list(range(count)))
    assert drawing._last_drawn(st.integers(), 0) == 2


def test_dtypes_take_turns_except_in_situations_of_the_first_dtype(asked: list[str]) -> None:
    drawn = draw_signatures(COUNT, seed=2, dtypes=DTYPES)
    for number, (situation, (*_, dtype, _)) in enumerate(zip(asked, drawn)):
        assert dtype == (DTYPES[0] if "dtype" in SITUATIONS[situation] else DTYPES[number % 3]), situation
    assert {dtype for *_, dtype, _ in drawn} == set(DTYPES)


def test_every_other_round_of_dtypes_has_a_bias_and_so_has_a_kernel_of_one_tap() -> None:
    drawn = draw_signatures(COUNT, seed=2, dtypes=DTYPES)
    for number, (_, _, w, _, bias) in enumerate(drawn):
        assert bias == (number // 3 % 2 == 0 or all(k == 1 for k in w[2:]))
    assert {bias for *_, bias in drawn} == {True, False}


# ---- Problems


def test_problems_follow_from_the_seed() -> None:
    first, again, other = (draw_problems(12, seed) for seed in (3, 3, 4))
    assert same(first, again)
    assert not any(same([a], [b]) for a, b in zip(first, other))


def test_the_situations_come_first_and_as_often_as_there_is_room(asked: list[str]) -> None:
    draw_problems(5, seed=0)
    assert len(asked) == 5
    asked.clear()
    problems = draw_problems(COUNT + 10, seed=0)
    assert sorted(asked) == sorted(SITUATIONS)
    assert [signature(p) for p in problems[:COUNT]] == draw_signatures(COUNT, seed=0)


def test_no_situation_is_drawn_where_an_option_is_fixed(asked: list[str]) -> None:
    problems = draw_problems(10, seed=0, fixed={"stride": 2})
    assert not asked
    assert len(problems) == 10
    assert all(set(p.spec.each(p.geometry.ndim)[0]) == {2} for p in problems)


def test_situations_have_plain_values_where_these_are_asked_for() -> None:
    kinds = Counter(p.values for p in draw_problems(COUNT, seed=0, values=ALL_VALUES))
    assert set(kinds) == {"integers", "normal"}
    assert min(kinds.values()) > COUNT / 5
    assert {p.values for p in draw_problems(COUNT, seed=0, values=("wide", "normal"))} == {"normal"}
    assert {p.values for p in draw_problems(COUNT, seed=0, values=("wide", "ties"))} == {"wide", "ties"}


def test_a_pool_of_shapes_is_taken_in_turn_with_new_numbers() -> None:
    problems = draw_problems(40, seed=1, shapes=7)
    assert [signature(p) for p in problems[7:]] == [signature(p) for p in problems[:33]]
    assert len({signature(p) for p in problems}) == 7
    numbers = [p.x.tobytes() for p in problems if p.x.size > 20 and p.values == "normal"]
    assert len(set(numbers)) == len(numbers) > 3


def test_a_pool_is_no_larger_than_the_number_of_problems() -> None:
    assert len({signature(p) for p in draw_problems(4, seed=1, shapes=50)}) == 4


def test_without_a_pool_every_problem_has_its_own_shape() -> None:
    problems = draw_problems(COUNT + 20, seed=1)
    assert len({(p.geometry, p.dtype, p.bias is not None) for p in problems}) == len(problems)


@pytest.mark.parametrize(("values", "share"), [(("integers", "normal", "wide"), 4 / 6), (("normal", "wide"), 0.0)])
def test_integers_come_four_times_as_often_as_another_kind_in_the_turns_of_a_pool(
    values: tuple[str, ...], share: float
) -> None:
    problems = draw_problems(250, seed=1, shapes=5, values=values)[5:]
    integers = sum(p.values == "integers" for p in problems) / len(problems)
    assert abs(integers - share) < 0.02
    others = Counter(p.values for p in problems if p.values != "integers")
    assert max(others.values()) - min(others.values()) <= 3


@pytest.mark.parametrize("layout", LAYOUT_LEVELS)
def test_only_the_layouts_that_are_asked_for_are_drawn(layout: str) -> None:
    problems = draw_problems(COUNT + 10, seed=0, layouts=(layout,))
    assert len(problems) == COUNT + 10
    assert {problem_levels(p)["layout"] for p in problems} == {layout}


@pytest.mark.parametrize("batch", BATCHES)
def test_only_the_batches_that_are_asked_for_are_drawn(batch: str) -> None:
    problems = draw_problems(COUNT + 10, seed=0, batches=(batch,))
    assert len(problems) == COUNT + 10
    assert {problem_levels(p)["batch"] for p in problems} == {batch}


def test_every_memory_layout_that_is_asked_for_comes_about_as_often() -> None:
    arrangements = tuple(ARRANGEMENTS)
    for shapes in (None, 6):
        problems = draw_problems(8 * len(arrangements), seed=0, shapes=shapes, arrangements=arrangements)
        counts = Counter(p.arrangement for p in problems)
        assert set(counts) == set(arrangements)
    assert {p.arrangement for p in draw_problems(20, seed=0)} == {"contiguous"}


def test_what_is_drawn_counts_for_the_design_that_follows() -> None:
    """The design would begin with the same problem in each check if the situations did not count."""
    after = {seed: draw_problems(COUNT + 1, seed)[-1] for seed in range(2)}
    covered = {seed: draw_problems(COUNT, seed) for seed in after}
    for seed, last in after.items():
        levels = problem_levels(last)
        old = {pair for p in covered[seed] for pair in pairs(problem_levels(p))}
        assert len(set(pairs(levels)) - old) > 5


def pairs(levels: dict[str, str]) -> list[frozenset[tuple[str, str]]]:
    items = sorted(levels.items())
    return [frozenset((a, b)) for number, a in enumerate(items) for b in items[:number]]


def test_numbers_differ_between_problems_and_between_checks_of_another_size() -> None:
    five, six = draw_problems(5, seed=0), draw_problems(6, seed=0)
    assert [signature(p) for p in five] == [signature(p) for p in six[:5]]
    assert not any(np.array_equal(a.w, b.w) for a, b in zip(five, six) if a.w.size > 4 and a.values == b.values)


def test_a_problem_says_what_it_was_drawn_from() -> None:
    for p in draw_problems(6, seed=0, values=VALUES):
        assert p.source == "drawn"
        assert p.seed is not None
        assert p.values in VALUES
