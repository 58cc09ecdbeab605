"""The records of mistakes: complete, each with an effect, and the page on them current."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import ROOT

from multiconv.core.spec import ConvSpec
from multiconv.oracle.mistakes import MISTAKES, question
from multiconv.oracle.mistakes.roundings import cut, tf32, through
from multiconv.oracle.nearby import RINGS, nearby
from multiconv.oracle.problem import DIRECTIONS
from multiconv.subjects.told_apart import page
from multiconv.testing.problem_values import given_values


def test_there_are_enough_and_each_is_complete() -> None:
    assert len(MISTAKES) >= 60
    for name, mistake in MISTAKES.items():
        assert name == mistake.id == name.lower().replace(" ", "-")
        assert not mistake.says.endswith(".")
        assert mistake.fix.endswith(".")
        assert set(mistake.directions) <= set(DIRECTIONS)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_mistake_answers_or_declines_in_each_of_its_directions(direction: str) -> None:
    rng = np.random.default_rng(0)
    start = given_values("mine", ConvSpec(2, "same", 1, 2), np.ones((2, 4, 6, 6)), np.ones((4, 2, 3, 3)))
    drawn = [problem for _ in range(8) if (problem := nearby(start, rng, RINGS[2])) is not None]
    for mistake in MISTAKES.values():
        if direction not in mistake.directions:
            continue
        for problem in drawn:
            q = question(problem, direction)
            before = [a.copy() for a in (q.x, q.w, q.dy)]
            with np.errstate(all="ignore"):
                answer = mistake.answer(q)
            assert answer is None or isinstance(answer, np.ndarray)
            assert all(map(np.array_equal, before, (q.x, q.w, q.dy))), mistake.id
            assert mistake.sentence(q).startswith(mistake.says)
            assert all("{" not in line for line in mistake.code_for(q).values())


def test_short_formats_round_to_nearest_even() -> None:
    numbers = np.array([2049.0, 2051.0, -257.0, 2.0**-25])
    assert tf32(numbers).tolist() == [2048, 2052, -257, 2.0**-25]
    assert through("bfloat16")(numbers).tolist() == [2048, 2048, -256, 2.0**-25]
    assert through("float16")(numbers).tolist() == [2048, 2052, -257, 0]
    assert cut(8)(np.array([511.0, -511.0])).tolist() == [510, -510]


def test_the_page_is_current() -> None:
    assert (ROOT / "docs" / "mistakes.md").read_text() == page(), "run python benchmarks/mistakes.py"
