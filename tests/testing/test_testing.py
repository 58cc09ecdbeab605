"""Problems: drawn, seeded and shrunk."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiconv.core.spec import ConvSpec
from multiconv.core.types import Shape
from multiconv.oracle.judgement import judge
from multiconv.oracle.problem import Problem
from multiconv.oracle.values import VALUES
from multiconv.testing.drawing import draw_problems
from multiconv.testing.problem_values import given_values, with_values
from multiconv.testing.shrinking import no_larger, smallest
from multiconv.testing.strategies import specs


@given(specs())
def test_drawn_options_and_shapes_are_those_of_a_convolution(drawn: tuple[ConvSpec, Shape, Shape]) -> None:
    spec, x_shape, w_shape = drawn
    g = spec.resolve(x_shape, w_shape)
    assert (g.x_shape, g.w_shape) == (x_shape, w_shape)
    assert min(g.out) >= 1


def test_the_same_seed_draws_the_same_problems() -> None:
    first, again, other = (draw_problems(20, seed) for seed in (3, 3, 4))
    assert [p.describe() for p in first] == [p.describe() for p in again] != [p.describe() for p in other]
    assert all((p.x == q.x).all() and (p.w == q.w).all() for p, q in zip(first, again))


def test_drawn_problems_reach_what_matters() -> None:
    problems = draw_problems(200, 0)
    assert len(problems) == 200
    geometries = [p.geometry for p in problems]
    assert {g.ndim for g in geometries} == {1, 2, 3}
    assert {p.dtype for p in problems} == {"float32", "float64"}
    assert {p.integers for p in problems} == {p.bias is None for p in problems} == {True, False}
    assert {p.spec.channels_last for p in problems} == {True, False}
    assert any(not g.symmetric for g in geometries)
    assert any(max(g.stride) > 1 and max(g.dilation) > 1 for g in geometries)
    assert any(g.groups > 1 for g in geometries)
    assert {str, int, tuple} <= {type(p.spec.padding) for p in problems}


def test_shapes_come_from_a_pool() -> None:
    problems = draw_problems(200, 1, shapes=10)
    assert len({(p.spec, p.x.shape, p.w.shape, p.dtype, p.bias is None) for p in problems}) <= 10


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_seeded_values_are_what_they_are_called(values: str, dtype: str) -> None:
    spec = ConvSpec(padding=1)
    problem = with_values("seeded", spec, spec.resolve((2, 2, 5), (2, 2, 3)), dtype, bias=True, values=values, seed=7)
    integers = all((a == np.rint(a)).all() for a in (problem.x, problem.w, problem.dy))
    assert problem.integers == (values in ("integers", "zeros"))
    assert integers == (values in ("integers", "zeros", "ties"))
    assert {a.dtype.name for a in (problem.x, problem.w, problem.dy, problem.bias) if a is not None} == {dtype}


def test_integers_given_are_seen_to_be_integers_and_reals_are_not() -> None:
    x, w = np.arange(4.0).reshape(1, 1, 4), np.array([[[1.0, 2.0]]])
    assert given_values("mine", ConvSpec(), x, w).integers
    assert not given_values("mine", ConvSpec(), x + 0.5, w).integers


@given(st.data())
def test_no_problem_to_shrink_to_is_larger(data: st.DataObject) -> None:
    problem = data.draw(st.sampled_from(PROBLEMS))
    g, small = problem.geometry, data.draw(no_larger(problem)).geometry
    for name in ("batch", "in_channels", "out_channels", "groups"):
        assert getattr(small, name) <= getattr(g, name)
    for name in ("size", "kernel", "stride", "dilation"):
        assert all(a <= b for a, b in zip(getattr(small, name), getattr(g, name)))


def test_a_failure_that_needs_an_asymmetric_pad_shrinks_to_a_small_one() -> None:
    def fails(candidate: Problem) -> bool:
        return not candidate.geometry.symmetric

    spec = ConvSpec(stride=2, padding=((2, 0), (1, 3)), groups=2)
    g = spec.resolve((3, 6, 9, 9), (4, 3, 3, 3))
    problem = with_values("large", spec, g, "float32", bias=True, values="integers", seed=0)
    small = smallest(problem, fails, tries=300, seed=0, should_stop=lambda: False)
    assert fails(small)
    assert small.x.size + small.w.size <= 6


def test_a_failure_that_nothing_smaller_shows_stays_as_it_is() -> None:
    problem = PROBLEMS[0]
    found = smallest(problem, lambda candidate: candidate is problem, tries=50, seed=0, should_stop=lambda: False)
    assert found is problem


def test_shrinking_stops_when_there_has_been_enough() -> None:
    asked = iter(range(1000))
    problem = PROBLEMS[0]
    smallest(problem, lambda candidate: True, tries=300, seed=0, should_stop=lambda: next(asked) >= 10)
    assert next(asked) <= 12


def test_an_answer_of_another_shape_or_dtype_is_wrong_whatever_its_values() -> None:
    expected = given_values("mine", ConvSpec(), np.ones((1, 1, 3)), np.ones((1, 1, 2))).expectations()["forward"]
    assert judge(np.full((1, 1, 2), 2.0), expected).fault is None
    assert "shape" in str(judge(np.full((1, 2), 2.0), expected).fault)
    assert "dtype" in str(judge(np.full((1, 1, 2), 2.0, "float32"), expected).fault)
    assert "element [0, 0, 1]" in str(judge(np.array([[[2.0, 2.5]]]), expected).fault)
    assert judge(np.array([[[2.0, np.nan]]]), expected).ratio == np.inf


PROBLEMS = draw_problems(30, 0)
