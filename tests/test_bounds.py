"""The bound against exact arithmetic: what is right lies within it, what is wrong does not."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiconv import bounds
from multiconv.problem import judge
from multiconv.spec import ConvSpec
from multiconv.testing import draw_problems, given_values, seeded, with_values

U32, U64 = 2.0**-24, 2.0**-53
REALS = ("normal", "wide")


# ---- gamma


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble"])
def test_the_unit_roundoff_is_the_largest_that_one_plus_it_is_rounded_to_one(dtype):
    one, u = np.ones((), dtype), np.array(bounds.unit_roundoff(dtype), dtype)
    assert one + u == one
    assert one + np.nextafter(u, one) > one


@given(n=st.integers(1, 2**24 - 1), u=st.sampled_from([U32, U64]))
def test_gamma_is_n_u_over_one_less_n_u(n, u):
    exact = Fraction(n) * Fraction(u) / (1 - Fraction(n) * Fraction(u))
    # n * u is exact, as u is a power of two; the subtraction and the division each round once.
    assert abs(Fraction(bounds.gamma(n, u)) / exact - 1) <= Fraction(2 + 2 * U64) * Fraction(U64)


@pytest.mark.parametrize(("n", "u"), [(2**24, U32), (2**25, U32), (2**53, U64), (4, 0.25), (10**30, U64)])
def test_where_n_u_reaches_one_there_is_no_gamma(n, u):
    with pytest.raises(ValueError, match="has no bound: "):
        bounds.gamma(n, u)


def test_just_below_that_there_is_one():
    assert bounds.gamma(2**24 - 1, U32) == 2**24 - 1


@given(n=st.integers(1, 2**20))
def test_each_term_more_allows_more(n):
    assert 0 < bounds.gamma(n, U32) < bounds.gamma(n + 1, U32)


# ---- What is right lies within

SUMS = st.tuples(st.integers(1, 200), st.sampled_from(REALS), st.integers(0, 2**32 - 1))


def drawn(n, kind, seed, dtype="float32"):
    x, w = (seeded((n,), dtype, kind, seed, which) for which in (0, 1))
    products = [Fraction(float(a)) * Fraction(float(b)) for a, b in zip(x, w)]
    return x, w, sum(products), sum(map(abs, products))


def ratio(result, x, w):
    """Of a sum of products to the oracle's, in units of the bound."""
    wide = np.longdouble if x.dtype == "float64" else np.float64
    expected = np.dot(x.astype(wide), w.astype(wide))
    magnitude = np.dot(np.abs(x.astype(wide)), np.abs(w.astype(wide)))
    return float(bounds.ratios(np.asarray(result, x.dtype), expected, bounds.componentwise(magnitude, len(x), x.dtype)))


@given(SUMS)
def test_a_correctly_rounded_sum_lies_within(drawing):
    x, w, exact, _ = drawn(*drawing)
    assert ratio(float(exact), x, w) <= 1


@given(SUMS, st.sampled_from(["float32", "float64"]), st.randoms(use_true_random=False))
def test_a_sum_in_any_order_lies_within(drawing, dtype, shuffler):
    x, w, *_ = drawn(*drawing, dtype)
    products = list(x * w)
    shuffler.shuffle(products)
    one_by_one = products[0]
    for product in products[1:]:
        one_by_one += product
    assert ratio(one_by_one, x, w) <= 1
    assert ratio(np.sum(products), x, w) <= 1  # pairwise


@given(SUMS)
def test_the_bound_covers_the_worst_error_that_the_theorem_allows_and_hardly_more(drawing):
    x, w, exact, magnitude = drawn(*drawing)
    n = len(x)
    theorem = Fraction(n, 2**24 - n) * magnitude
    of_oracle = Fraction(n, 2**53 - n) * magnitude
    wide = np.dot(np.abs(x.astype("float64")), np.abs(w.astype("float64")))
    bound = Fraction(float(bounds.componentwise(wide, n, "float32")))
    assert bound >= theorem + of_oracle
    assert bound <= (theorem + of_oracle) * (1 + Fraction(2) ** -40) + 3 * n * Fraction(2) ** -126
    assert abs(Fraction(float(np.dot(x.astype("float64"), w.astype("float64")))) - exact) <= of_oracle


def test_products_that_a_framework_flushes_to_zero_are_allowed_for():
    x, w = np.full(3, 1e-20, "float32"), np.full(3, 1e-19, "float32")
    assert float(x[0] * w[0]) < np.finfo("float32").tiny
    assert ratio(0.0, x, w) <= 1


def test_where_there_is_nothing_to_sum_no_error_is_allowed():
    assert bounds.componentwise(np.zeros(2), 9, "float32").tolist() == [0, 0]
    assert ratio(1e-45, np.zeros(3, "float32"), np.ones(3, "float32")) == np.inf
    assert ratio(0.0, np.zeros(3, "float32"), np.ones(3, "float32")) == 0


# ---- What is wrong does not

TYPICAL = [
    with_values("typical", spec, spec.resolve((2, 4, 8, 8), (4, 4, 3, 3)), dtype, bias=True, values="normal", seed=seed)
    for spec in (ConvSpec(padding=1), ConvSpec(stride=2))
    for dtype in ("float32", "float64")
    for seed in range(5)
]


@pytest.mark.parametrize("problem", TYPICAL, ids=lambda p: f"{p.dtype}-stride {p.spec.stride}-{p.seed}")
def test_each_tap_that_is_dropped_from_a_typical_problem_is_seen(problem):
    """In every direction that the tap has a part in."""
    expected = problem.expectations()
    for tap in np.ndindex(problem.w.shape):
        dropped = problem.w.copy()
        dropped[tap] = 0
        got = replace(problem, w=dropped).expectations()
        for direction in ("forward", "convolve", "input gradient", "conv_transpose"):
            answer = got[direction].value.astype(problem.dtype)
            assert judge(answer, expected[direction]).ratio > 1


def test_each_output_pixel_that_is_dropped_from_the_kernel_gradient_is_seen():
    problem = TYPICAL[0]
    expected = problem.expectations()
    for pixel in np.ndindex(problem.dy.shape):
        dropped = problem.dy.copy()
        dropped[pixel] = 0
        got = replace(problem, dy=dropped).expectations()
        for direction in ("kernel gradient", "bias gradient"):
            assert judge(got[direction].value.astype(problem.dtype), expected[direction]).ratio > 1


def test_a_bias_that_is_forgotten_is_seen():
    for problem in TYPICAL:
        expected = problem.expectations()
        got = replace(problem, bias=None, x_bias=None).expectations()
        for direction in ("forward", "convolve", "conv_transpose"):
            assert judge(got[direction].value.astype(problem.dtype), expected[direction]).ratio > 1


def cut(array, bits):
    """With only so many bits of the mantissa left, as a processor's fast modes have it."""
    return (array.view("uint32") & np.uint32(2**32 - 2 ** (23 - bits))).view("float32")


@pytest.mark.parametrize(("mode", "bits"), [("tf32", 10), ("bfloat16", 7)])
def test_inputs_that_are_rounded_are_seen_in_most_problems(mode, bits):
    problems = [p for p in draw_problems(300, seed=0, dtypes=("float32",)) if not p.integers and p.geometry.batch][:100]
    assert len(problems) == 100
    caught = 0
    for problem in problems:
        expected = problem.expectations()["forward"]
        rounded = replace(problem, x=cut(problem.x, bits), w=cut(problem.w, bits)).expectations()["forward"]
        caught += judge(rounded.value.astype("float32"), expected).ratio > 1
    assert caught > 50


def test_what_float32_makes_of_float64_is_seen():
    for problem in TYPICAL:
        if problem.dtype == "float64":
            narrow = {name: getattr(problem, name).astype("float32") for name in ("x", "w", "dy", "bias", "x_bias")}
            got = replace(problem, **narrow).expectations()
            for direction, expected in problem.expectations().items():
                assert judge(got[direction].value.astype("float64"), expected).ratio > 1


# ---- Ratios


@pytest.mark.parametrize(
    ("result", "expected", "bound", "right"),
    [
        (1.0, 1.0, 0.0, 0.0),
        (-0.0, 0.0, 0.0, 0.0),
        (1.5, 1.0, 0.5, 1.0),
        (1.0, 1.5, 0.25, 2.0),
        (1.0, 0.0, 0.0, np.inf),
        (np.nan, 1.0, 1.0, np.inf),
        (np.nan, 0.0, 0.0, np.inf),
        (np.inf, 1.0, 1.0, np.inf),
        (-np.inf, 1.0, 1.0, np.inf),
        (np.inf, 0.0, 0.0, np.inf),
        (1.0, np.nan, 1.0, np.inf),
        (1.0, np.inf, np.inf, np.inf),
    ],
)
def test_ratios(result, expected, bound, right):
    with np.errstate(all="raise"):
        assert bounds.ratios(np.float32([result]), np.array([expected]), np.array([bound])).tolist() == [right]


def test_one_bound_may_be_for_all_elements():
    assert bounds.ratios(np.float32([1, 2]), np.array([1.0, 4.0]), np.array(4.0)).tolist() == [0, 0.5]


# ---- Judging


def judged(answer, **options):
    problem = given_values("mine", ConvSpec(**options), np.float32([[[1, 2, 3]]]), np.float32([[[1, 10]]]))
    return judge(answer, problem.expectations()["forward"])


def test_a_right_answer_has_no_fault():
    judgement = judged(np.float32([[[21, 32]]]))
    assert (judgement.ratio, judgement.fault, judgement.index) == (0, None, None)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (np.float32([[21, 32]]), "its shape is (1, 2), but (1, 1, 2) is right"),
        (np.float32([[[21, 32, 0]]]), "its shape is (1, 1, 3), but (1, 1, 2) is right"),
        (np.float64([[[21, 32]]]), "its dtype is float64, but float32 is right"),
        (np.float32([[[21, 33]]]), "element [0, 0, 1] is 33.0, but 32.0 is right, and it must be exact"),
        (np.float32([[[np.nan, 32]]]), "element [0, 0, 0] is nan, but 21.0 is right, and it must be exact"),
        (np.float32([[[21, np.inf]]]), "element [0, 0, 1] is inf, but 32.0 is right, and it must be exact"),
    ],
)
def test_a_wrong_answer_has_a_fault(answer, fault):
    judgement = judged(answer)
    assert judgement.fault == fault
    assert judgement.ratio == np.inf


def test_the_next_number_to_an_integer_is_wrong():
    assert judged(np.nextafter(np.float32([[[21, 32]]]), np.float32(np.inf))).ratio == np.inf


def test_an_empty_answer_is_right():
    problem = given_values("none", ConvSpec(), np.zeros((0, 1, 3), "float32"), np.ones((1, 1, 2), "float32"))
    assert judge(np.zeros((0, 1, 2), "float32"), problem.expectations()["forward"]).fault is None
    assert judge(np.zeros((0, 1, 3), "float32"), problem.expectations()["forward"]).fault is not None
