"""The smallest problem that fails in the same way: what is fixed stays, and answers that change are counted."""

from __future__ import annotations

import copy
import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

import multiconv as mc
from multiconv.core.spec import ConvSpec
from multiconv.oracle.judgement import Judgement, judge
from multiconv.oracle.values import ALL_VALUES, largest_integer
from multiconv.testing.candidate import Candidate
from multiconv.testing.problem_values import given_values, with_values
from multiconv.testing.shrinking import REPEATS, Finding, _cost, no_larger, reduced, simpler_values

LONG = 30.0


@np.errstate(over="ignore", invalid="ignore")
def right(x, w, bias=None, **options):
    return np.asarray(mc.backend("numpy").cross_correlate(x, w, bias, **options))


def asking(function):
    """What reduced takes: it asks the function and judges its answer."""
    candidate = Candidate(function)

    def ask(problem):
        expected = problem.expectations(["forward"])["forward"]
        (_, answer), *_ = problem.answers(candidate, "forward")
        return answer, Judgement.of_error(answer) if isinstance(answer, Exception) else judge(answer, expected)

    return ask


def start(values="integers", spec=None, arrangement="contiguous", bias=True, dtype="float32"):
    spec = spec or ConvSpec((2, 3), ((1, 2), (2, 0)), (2, 1), 2)
    g = spec.resolve((3, 9, 10, 6) if spec.channels_last else (3, 6, 9, 10), (4, 3, 3, 3))
    return with_values("start", spec, g, dtype, bias=bias, values=values, seed=1, arrangement=arrangement)


def shrunk(function, problem=None, **how):
    problem = start() if problem is None else problem
    ask = asking(function)
    return reduced(problem, ask(problem), ask, seed=0, seconds=LONG, **how)


def wrong(x, w, bias, **options):
    return right(x, w, bias, **options) + 1


def far_off(x, w, bias, **options):
    """Wrong for numbers of any kind."""
    return -right(x, w, bias, **options) - 1


# ---- How small


def test_what_is_always_wrong_shrinks_to_nearly_nothing():
    found = shrunk(wrong)
    g = found.problem.geometry
    assert (g.x_shape, g.w_shape, found.problem.bias) == ((1, 1, 1, 1), (1, 1, 1, 1), None)
    assert (g.stride, g.dilation, g.groups, g.pads) == ((1, 1), (1, 1), 1, ((0, 0), (0, 0)))
    assert found.problem.x.item() == found.problem.w.item() == 0
    assert found.answer.tolist() == [[[[1]]]]
    assert found.judgement.symptom == "values"
    assert (found.wrong, found.repeats) == (REPEATS, REPEATS)
    assert found.fault == found.judgement.fault == "element [0, 0, 0, 0] is 1.0, but 0.0 is right, and it must be exact"


def test_what_makes_it_fail_is_kept():
    def wrong_where_strided(x, w, bias, *, stride, **options):
        return right(x, w, bias, stride=stride, **options) + (stride[1] == 3)

    found = shrunk(wrong_where_strided)
    g = found.problem.geometry
    assert g.stride == (1, 3)
    assert found.problem.x.size < 10
    assert (g.dilation, g.groups, g.pads) == ((1, 1), 1, ((0, 0), (0, 0)))


@pytest.mark.parametrize("seed", [2, 3, 4, 5])
def test_a_pad_that_it_does_not_need_goes(seed):
    """Of pads swapped on every axis, one pad alone shows it."""

    def swapped(x, w, bias, *, padding, **options):
        return right(x, w, bias, padding=tuple((after, before) for before, after in padding), **options)

    spec = ConvSpec(padding=((0, 2), (0, 3)))
    g = spec.resolve((1, 1, 1, 1), (1, 1, 1, 1))
    problem = with_values("start", spec, g, "float32", bias=False, values="integers", seed=seed)
    assert problem.x.item() * problem.w.item() != 0
    assert sorted(shrunk(swapped, problem).problem.geometry.pads) == [(0, 0), (0, 1)]


@pytest.mark.parametrize("arrangement", ["reversed", "read_only"])
def test_the_arrangement_is_kept_only_where_it_makes_it_fail(arrangement):
    def wrong_for_views(x, w, bias, **options):
        return right(x, w, bias, **options) + (not x.flags.writeable or min(x.strides) < 0)

    problem = start(arrangement=arrangement)
    assert shrunk(wrong_for_views, problem).problem.arrangement == arrangement
    assert shrunk(wrong, problem).problem.arrangement == "contiguous"


# ---- What is fixed

SPEC = ConvSpec((2, 3), ((1, 2), (2, 0)), (2, 1), 2)
FIXED = {
    "stride": (2, 3), "padding": ((1, 2), (2, 0)), "dilation": (2, 1), "groups": 2, "kernel": 3, "size": (9, 10),
    "batch": 3, "in_channels": 6, "out_channels": 4, "ndim": 2, "bias": True,
}  # fmt: skip


def own(problem):
    g = problem.geometry
    numbers = {name: getattr(g, name) for name in ("stride", "dilation", "groups", "kernel", "size", "batch", "ndim")}
    numbers |= {"in_channels": g.in_channels, "out_channels": g.out_channels, "bias": problem.bias is not None}
    return numbers | {"padding": problem.spec.padding, "layout": problem.spec.layout}


@pytest.mark.parametrize("name", FIXED)
def test_each_option_that_is_fixed_stays(name):
    found = shrunk(wrong, fixed={name: FIXED[name]})
    got = own(found.problem)
    assert got[name] in (FIXED[name], (FIXED[name],) * 2)
    assert found.problem.x.size < start().x.size or name in ("size", "batch", "in_channels")
    smaller = own(shrunk(wrong).problem)
    assert smaller[name] != got[name] or name == "ndim"


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_a_layout_that_is_fixed_stays(layout):
    problem = start(spec=ConvSpec((2, 3), ((1, 2), (2, 0)), (2, 1), 2, layout))
    assert shrunk(wrong, problem, fixed={"layout": layout}).problem.spec.layout == layout
    assert shrunk(wrong, problem).problem.spec.layout is None


def test_everything_may_be_fixed_at_once():
    found = shrunk(wrong, fixed=FIXED)
    assert own(found.problem) | FIXED | {"kernel": (3, 3)} == own(found.problem)


def test_no_bias_that_is_fixed_stays_none():
    assert shrunk(wrong, start(bias=False), fixed={"bias": False}).problem.bias is None


@pytest.mark.parametrize("padding", ["same", "full"])
def test_a_padding_in_words_that_is_fixed_stays(padding):
    problem = start(spec=ConvSpec(1, padding, 1, 2))
    assert shrunk(wrong, problem, fixed={"padding": padding}).problem.spec.padding == padding
    assert shrunk(wrong, problem).problem.spec.padding == 0


# ---- Kinds of values


@pytest.mark.parametrize("values", [kind for kind in ALL_VALUES if kind not in ("integers", "zeros")])
def test_a_kind_of_values_that_is_the_only_one_stays(values):
    found = shrunk(far_off, start(values), values=(values,))
    assert found.problem.values == values
    assert found.judgement.symptom == "values"


@pytest.mark.parametrize("values", ["normal", "wide", "zeros", "subnormal"])
def test_other_values_become_integers_where_these_are_allowed(values):
    assert shrunk(far_off, start(values)).problem.values == "integers"
    only = shrunk(far_off, start(values), values=(values, "cancelling")).problem.values
    assert only in (values, "cancelling")


@pytest.mark.parametrize("values", ["largest", "nonfinite"])
def test_extreme_values_stay_what_they_are(values):
    def wrong_for_large_numbers(x, w, bias, **options):
        y = right(x, w, bias, **options)
        return np.where(np.isfinite(y), y, 7).astype(y.dtype)

    found = shrunk(wrong_for_large_numbers, start(values, ConvSpec(padding=1, groups=2)))
    assert found.problem.values == values
    assert found.judgement.symptom == "values"


@pytest.mark.parametrize("values", ["largest", "nonfinite"])
def test_extreme_values_become_integers_where_these_show_the_fault_too(values):
    found = shrunk(far_off, start(values, ConvSpec(padding=1, groups=2)))
    assert found.problem.values == "integers"
    assert int(np.prod(found.problem.x.shape)) == 1
    assert shrunk(far_off, start(values), values=(values, "normal")).problem.values == values


# ---- The same symptom


def test_a_wrong_value_does_not_shrink_to_an_exception():
    """It raises for integers, but what was found is a wrong value of normal numbers with a stride."""

    def raises_or_is_wrong(x, w, bias, *, stride, **options):
        if np.all(x == np.rint(x)):
            raise ValueError("no integers")
        return right(x, w, bias, stride=stride, **options) * (2 if stride[0] == 2 else 1)

    found = shrunk(raises_or_is_wrong, start("normal"))
    assert found.judgement.symptom == "values"
    assert found.problem.geometry.stride == (2, 1)
    assert isinstance(found.answer, np.ndarray)
    assert found.problem.x.size < 10


def test_an_exception_does_not_shrink_to_a_wrong_value():
    def raises_or_is_wrong(x, w, bias, **options):
        if w.shape[2] == 3:
            raise ValueError("no such kernel")
        return right(x, w, bias, **options) + 1

    found = shrunk(raises_or_is_wrong)
    assert found.judgement.symptom == "raises"
    assert found.fault == "ValueError: no such kernel"
    assert found.problem.w.shape[2] == 3
    assert isinstance(found.answer, ValueError)


# ---- Answers that change from call to call


@pytest.mark.parametrize("every", [2, 3, 5])
def test_an_answer_that_changes_is_counted_and_raises_nothing(every):
    calls = itertools.count(1)

    def flaky(x, w, bias, **options):
        return right(x, w, bias, **options) + (next(calls) % every == 0)

    ask, problem = asking(flaky), start()
    first = next(answered for answered in (ask(problem) for _ in range(9)) if answered[1].fault)
    found = reduced(problem, first, ask, seed=0, seconds=LONG)
    assert found.repeats == REPEATS
    assert found.wrong in (REPEATS // every, REPEATS // every + 1)
    assert found.fault.endswith(f"; wrong in {found.wrong} of 20 repeats: the answer changes from call to call")
    assert found.fault.startswith("element [")
    assert found.problem is problem
    assert found.answer is first[0]


def test_an_answer_that_is_never_wrong_again_is_that_of_the_first_call():
    ask, problem = asking(right), start()
    first = problem.w, Judgement(np.inf, "it was wrong once", symptom="values")
    found = reduced(problem, first, ask, seed=0, seconds=LONG)
    assert (found.wrong, found.repeats) == (0, REPEATS)
    assert found.fault == "it was wrong once; wrong in 0 of 20 repeats: the answer changes from call to call"
    assert found.answer is problem.w
    assert found.problem is problem


def test_a_smaller_problem_that_fails_only_now_and_then_gives_way_to_the_one_that_was_found():
    calls = itertools.count(1)

    def flaky_when_small(x, w, bias, **options):
        return right(x, w, bias, **options) + (x.size > 100 or next(calls) % 2 == 0)

    found = shrunk(flaky_when_small)
    assert found.problem.x.size > 100
    assert (found.wrong, found.repeats) == (REPEATS, REPEATS)


def test_a_smaller_problem_that_is_never_wrong_again_gives_way_to_the_one_that_was_found():
    """The function is right from the sixth smaller problem on."""
    problem, broken = start(), asking(wrong)
    first = broken(problem)
    sizes = []

    def ask(candidate):
        sizes.append(candidate.x.size)
        smaller = sum(size < problem.x.size for size in sizes)
        return broken(candidate) if smaller < 6 else asking(right)(candidate)

    found = reduced(problem, first, ask, seed=0, seconds=LONG)
    assert min(sizes) < problem.x.size
    assert found.problem is problem
    assert (found.answer, found.judgement, found.wrong, found.repeats) == (*first, 0, REPEATS)


def test_without_time_the_problem_is_asked_once_more():
    asked = []
    ask = asking(wrong)

    def counted(problem):
        asked.append(problem)
        return ask(problem)

    problem = start()
    found = reduced(problem, ask(problem), counted, seed=0, seconds=-1.0)
    assert found.problem is problem
    assert asked == [problem]
    assert (found.wrong, found.repeats) == (1, 1)


def test_a_finding_that_is_always_wrong_says_nothing_of_repeats():
    judgement = Judgement(np.inf, "bad", symptom="values")
    assert Finding(start(), None, judgement, 20, 20).fault == "bad"
    assert Finding(start(), None, judgement, 19, 20).fault.startswith("bad; wrong in 19 of 20 repeats")


# ---- What is drawn on the way


def drawn(strategy, count=400):
    """Problems that a strategy draws."""
    problems = []

    @settings(max_examples=count, database=None, derandomize=True, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(strategy)
    def collect(problem):
        problems.append(problem)

    collect()
    return problems


def test_each_number_is_small_or_half_or_the_same():
    spec = ConvSpec(stride=5, padding=((8, 9),), dilation=4, groups=8)
    g = spec.resolve((12, 8 * 10, 30), (8 * 9, 10, 7))
    problem = with_values("start", spec, g, "float32", bias=True, values="integers", seed=1, arrangement="reversed")
    geometries = [p.geometry for p in drawn(no_larger(problem), 1500)]
    assert {g.batch for g in geometries} == {1, 2, 3, 6, 12}
    assert {g.kernel[0] for g in geometries} == {1, 2, 3, 7}
    assert {g.stride[0] for g in geometries} <= {1, 2, 3, 5}
    assert {g.groups for g in geometries} == {1, 2, 8}
    assert {g.in_channels // g.groups for g in geometries} == {1, 2, 3, 5, 10}
    assert {g.out_channels // g.groups for g in geometries} == {1, 2, 3, 4, 9}
    assert {g.pads[0][0] for g in geometries} == {0, 1, 2, 3, 4, 8}
    assert {g.pads[0][1] for g in geometries} == {0, 1, 2, 3, 4, 9}


def test_what_is_drawn_differs_in_its_values_and_in_its_memory_and_has_a_transposed_convolution():
    spec = ConvSpec(padding=((9, 9),))
    problem = with_values("start", spec, spec.resolve((1, 1, 3), (1, 1, 2)), "float32", arrangement="reversed",
                          bias=False, values="integers", seed=1)  # fmt: skip
    problems = drawn(no_larger(problem))
    assert {p.arrangement for p in problems} == {"contiguous", "reversed"}
    assert len({p.seed for p in problems}) > 20
    assert all(p.transposed.products for p in problems)


def test_simpler_values_are_small_integers_in_the_same_memory():
    problem = start(arrangement="reversed")
    problems = drawn(simpler_values(problem))
    assert {p.arrangement for p in problems} == {"reversed"}
    largest = max(int(np.abs(p.x).max()) for p in problems)
    assert 3 < largest <= largest_integer("float32")
    assert all(p.bias is not None and p.x_bias is not None for p in problems)


def test_the_cost_of_a_problem_is_the_amount_to_read():
    def cost(x, w, dy, bias=None):
        x, w, dy, bias = (None if a is None else np.array(a, "float32") for a in (x, w, dy, bias))
        x, w, dy = (a[None, None] for a in (x, w, dy))
        return _cost(given_values("given", ConvSpec(), x, w, dy=dy, bias=bias))

    assert cost([1, -2], [3, 0], [4]) == (5, 10)
    assert cost([1, -2], [3, 0], [4], [5]) == (6, 15)
    assert cost([1, 2, 3], [1], [0, 0, 0]) > cost([9, 9], [9], [9, 9])
    assert cost([np.nan, 2], [3, 0], [4])[1] > cost([1e30, 2], [3, 0], [4])[1]


def test_a_finding_does_not_change_and_is_told_apart_by_identity():
    found = shrunk(wrong)
    assert found != copy.copy(found)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.wrong = 0
