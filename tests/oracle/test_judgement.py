"""What is said of an answer: sums that overflow on the way, leaves, symptoms."""

from __future__ import annotations

import copy
import dataclasses
from itertools import permutations

import ml_dtypes
import numpy as np
import pytest

from multiconv.core import bounds
from multiconv.core.spec import ConvSpec
from multiconv.oracle.judgement import Expected, Judgement, Leave, Rounding, judge
from multiconv.testing.problem_values import given_values, with_values

INF, NAN = np.inf, np.nan


# ---- Sums that overflow on the way


def bracketings(terms):
    """Every way to add terms that stay in their order."""
    if len(terms) == 1:
        return [terms[0]]
    return [a + b for cut in range(1, len(terms)) for a in bracketings(terms[:cut]) for b in bracketings(terms[cut:])]


def dot(dtype, x, w):
    """A problem with one sum as its result."""
    x, w = (np.array(numbers, ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype) for numbers in (x, w))
    return given_values("sum", ConvSpec(), x[None, None], w[None, None])


def allowed(problem):
    expected = problem.expectations(["forward"])["forward"]
    if expected.leave is None:
        return expected, set()
    leaves = {"inf": expected.leave.plus, "-inf": expected.leave.minus, "nan": expected.leave.nan}
    return expected, {name for name, mask in leaves.items() if mask.any()}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_what_comes_of_a_sum_in_any_order_is_allowed_and_hardly_more(dtype):
    rng = np.random.default_rng(0)
    largest = float(bounds.finfo(dtype).max)
    counts = dict.fromkeys(["inf", "-inf", "nan", "finite"], 0)
    for _ in range(150):
        n = int(rng.integers(2, 5))
        x = rng.choice([1, 0.5, 0.25, 0.99, 0.125], n) * largest * rng.choice([-1, 1], n)
        w = rng.choice([1, 1, 2, 0.5, 0.25], n)
        problem = dot(dtype, x, w)
        expected, names = allowed(problem)
        with np.errstate(over="ignore", invalid="ignore"):
            products = (problem.x * problem.w).ravel()
            seen = {total.tobytes(): total for order in permutations(products) for total in bracketings(list(order))}
        came = set()
        for total in seen.values():
            judgement = judge(np.array([[[total]]], products.dtype), expected)
            assert judgement.fault is None
            assert not judgement.overflowed or not np.isfinite(total)
            came.add("finite" if np.isfinite(total) else str(total))
        exact = [float(a) * float(b) for a, b in zip(problem.x.ravel(), problem.w.ravel())]
        up, down = sum(p for p in exact if p > 0), -sum(p for p in exact if p < 0)
        # In some order all of one sign come first: within rounding of the largest number or beyond it.
        margin = 1 - 8 * bounds.unit_roundoff(dtype)
        assert ("inf" in names) <= (up >= margin * largest)
        assert ("-inf" in names) <= (down >= margin * largest)
        assert ("nan" in names) == ({"inf", "-inf"} <= names)
        for name in came:
            counts[name] += 1
    assert min(counts.values()) > 5


@pytest.mark.parametrize(("answer", "right"), [(0, True), (INF, True), (-INF, True), (NAN, True), (1e38, False)])
def test_a_sum_of_zero_whose_parts_overflow(answer, right):
    expected = dot("float32", [3e38, 3e38, -3e38, -3e38], [1] * 4).expectations(["forward"])["forward"]
    judgement = judge(np.float32([[[answer]]]), expected)
    assert (judgement.fault is None) == right
    assert judgement.overflowed == (not np.isfinite(answer))
    assert judgement.symptom == (None if right else "values")


@pytest.mark.parametrize(
    ("x", "names"),
    [
        ([3e38, 3e38, -3e38], {"inf"}),
        ([-3e38, -3e38, 3e38], {"-inf"}),
        ([3e38, -3e38, 1], set()),
        ([1e38, 1e38, 1e38, -1e38], set()),
        ([1.7014118e38, 1.7014118e38, -3e38], {"inf"}),  # together the number past the largest one
        ([1.7e38, 1.7e38, -3e38], set()),
        ([2e38, 2e38, -2e38, -1e38], {"inf"}),
        ([2e38, 2e38, -2e38, -2e38], {"inf", "-inf", "nan"}),
    ],
)
def test_infinity_of_a_sign_is_right_only_where_the_products_of_that_sign_overflow(x, names):
    expected, got = allowed(dot("float32", x, [1] * len(x)))
    assert got == names
    for name in ("inf", "-inf", "nan"):
        assert (judge(np.float32([[[float(name)]]]), expected).fault is None) == (name in names)


def test_an_infinite_sum_must_be_infinite():
    """The largest number in its place is an answer that was cut off."""
    expected, _ = allowed(dot("float32", [3e38, 3e38], [1, 1]))
    largest = np.finfo("float32").max
    assert judge(np.float32([[[INF]]]), expected).fault is None
    assert not judge(np.float32([[[INF]]]), expected).overflowed
    for wrong in (largest, -largest, -INF, NAN, 1):
        judgement = judge(np.float32([[[wrong]]]), expected)
        assert judgement.symptom == "values"
        assert not judgement.overflowed


def test_beside_a_sum_that_overflows_others_must_be_right():
    x = np.float32([[[3e38, 3e38, -3e38, -3e38]], [[1, 2, 3, 4]]])
    expected = given_values("two", ConvSpec(), x, np.ones((1, 1, 4), "float32")).expectations(["forward"])["forward"]
    assert judge(np.float32([[[NAN]], [[10]]]), expected).fault is None
    for wrong in (INF, NAN, 11):
        judgement = judge(np.float32([[[NAN]], [[wrong]]]), expected)
        assert judgement.symptom == "values"
        assert judgement.index == (1, 0, 0)


@pytest.mark.parametrize("layout", [None, "NHWC"])
@pytest.mark.parametrize("direction", ["forward", "input gradient", "kernel gradient", "conv_transpose"])
def test_what_may_overflow_lies_where_the_result_does(direction, layout):
    spec = ConvSpec(padding=1, layout=layout)
    g = spec.resolve((2, 5, 4, 3) if layout else (2, 3, 5, 4), (4, 3, 3, 3))
    problem = with_values("large", spec, g, "float32", bias=True, values="largest", seed=1)
    expected = problem.expectations([direction])[direction]
    if expected.leave is not None:
        assert expected.leave.plus.shape == expected.value.shape
    with np.errstate(over="ignore"):
        assert judge(expected.value.astype("float32"), expected).fault is None


# ---- Leaves, in hand-made expectations

VALUE, BOUND = np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.5, 0.5])


def test_each_leave_is_for_one_answer_in_one_place():
    masks = [np.arange(3) == place for place in range(3)]
    for overflow in (True, False):
        expected = Expected(VALUE, BOUND, "float32", Leave(*masks, overflow=overflow))
        for place, own in enumerate((INF, -INF, NAN)):
            for number in (INF, -INF, NAN):
                answer = VALUE.astype("float32")
                answer[place] = number
                judgement = judge(answer, expected)
                same = str(number) == str(own)
                assert (judgement.fault is None) == same
                assert judgement.overflowed == (same and overflow)
                loosely = judge(answer, expected, multiplies_zeros=True)
                assert (loosely.fault is None) == (same or (np.isnan(number) and not overflow))
        assert not judge(VALUE.astype("float32"), expected).overflowed
        assert judge((VALUE + 0.25).astype("float32"), expected).ratio == 0.5


def test_zeros_that_are_multiplied_excuse_no_nan_where_all_factors_are_finite():
    expected = Expected(VALUE, BOUND, "float32")
    assert judge(np.float32([NAN, 2, 3]), expected, multiplies_zeros=True).symptom == "values"


@pytest.mark.parametrize(
    ("answer", "symptom"),
    [
        (np.float32([1, 2]), "shape"),
        (np.float64([1, 2, 3]), "dtype"),
        (np.float32([1, 2, 4]), "values"),
        (np.float32([1, 2, 3.5]), None),
    ],
)
def test_each_fault_has_its_symptom(answer, symptom):
    judgement = judge(answer, Expected(VALUE, BOUND, "float32"))
    assert judgement.symptom == symptom
    assert (judgement.fault is None) == (symptom is None)
    assert not judgement.imprecise
    assert Judgement.of_error(ValueError("no")).symptom == "raises"


# ---- What it says


@pytest.mark.parametrize(
    "value",
    [
        Judgement(0.5),
        Expected(np.zeros(1), np.zeros(1), "float32"),
        Leave(*[np.zeros(1, bool)] * 3, overflow=False),
        Rounding(np.ones(1), np.ones(1, bool), lambda: 1.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_do_not_change_and_are_told_apart_by_identity(value):
    """Equality by fields would compare arrays, and their truth is ambiguous."""
    assert value == value
    assert value != copy.copy(value)
    name = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, getattr(value, name))


def test_an_empty_answer_has_no_error():
    assert judge(np.zeros((0, 2), "float32"), Expected(np.zeros((0, 2)), np.zeros((0, 2)), "float32")).ratio == 0


@pytest.mark.parametrize(
    ("right", "words"),
    [
        (2.0, "element [0] is 3.0, but 2.0 is right, and it must be exact"),
        (1e39, "element [0] is 3.0, but 1e+39, beyond float32, is right, and it must be exact"),
        (np.inf, "element [0] is 3.0, but inf is right, and it must be exact"),
    ],
)
def test_a_number_that_the_dtype_can_not_hold_is_said_to_be_beyond_it(right, words):
    assert judge(np.float32([3]), Expected(np.array([right]), np.zeros(1), "float32")).fault == words


def rounded(error, deviation=1e-3, elements=400, leave=None):
    """An answer of zeros with errors, which are within the bound of 1, and what was expected."""
    answer = np.full(elements, error)
    expected = Expected(
        np.zeros(elements), np.ones(elements), "float64", leave,
        rounding=lambda: Rounding(np.full(elements, deviation), np.ones(elements, bool), lambda: 1.0),
    )  # fmt: skip
    return answer, expected


def test_errors_far_above_roundings_are_a_loss_of_precision():
    assert judge(*rounded(0.5)).imprecise
    assert judge(*rounded(1e-3)).fault is None
    assert "root mean square over 400 elements" in str(judge(*rounded(0.5)).fault)


def test_a_loss_in_a_single_sum_is_of_one_element():
    answer, expected = rounded(0.5, deviation=1e-9, elements=1)
    assert "root mean square over 1 element, " in str(judge(answer, expected).fault)


def test_an_answer_without_any_error_is_not_asked_for_its_rounding():
    def rounding():
        raise AssertionError("asked")

    assert judge(np.zeros(3), Expected(np.zeros(3), np.ones(3), "float64", rounding=rounding)).fault is None


def test_an_answer_that_overflowed_may_have_lost_precision_too():
    first = np.arange(400) == 0
    answer, expected = rounded(0.5, leave=Leave(first, ~first & first, ~first & first, overflow=True))
    answer[0] = np.inf
    judgement = judge(answer, expected)
    assert judgement.imprecise
    assert judgement.overflowed


@pytest.mark.parametrize(("error", "hinted"), [(2.0, True), (2.5, False)])
def test_the_hint_of_a_fast_algorithm_goes_as_far_as_its_bound(error, hinted):
    expected = Expected(np.zeros(1), np.ones(1), "float64", fast=lambda: np.full(1, 2.0))
    assert ("algorithm=" in str(judge(np.array([error]), expected).fault)) == hinted
