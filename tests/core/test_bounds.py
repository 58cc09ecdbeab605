"""The bound against exact arithmetic: what is right lies within it, what is wrong does not."""

from __future__ import annotations

import warnings
from dataclasses import replace
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orders import pairwise, sequential

from multiconv import oracle
from multiconv.core import bounds
from multiconv.core.spec import ConvSpec
from multiconv.oracle.judgement import judge
from multiconv.oracle.problem import DIRECTIONS
from multiconv.oracle.values import seeded
from multiconv.testing.drawing import draw_problems
from multiconv.testing.problem_values import given_values, with_values

U32, U64 = 2.0**-24, 2.0**-53
REALS = ("normal", "wide")


# ---- gamma


BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = [np.dtype("float16"), BFLOAT16, np.dtype("float32"), np.dtype("float64")]


@pytest.mark.parametrize("dtype", [*FLOATS, np.dtype("longdouble")], ids=str)
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


ACCUMULATIONS = [(dtype, dtype) for dtype in FLOATS] + [
    (FLOATS[0], np.dtype("float32")),
    (BFLOAT16, np.dtype("float32")),
    (np.dtype("float32"), np.dtype("float64")),
]


def blocked(terms):
    return sequential(np.stack([sequential(terms[start : start + 8]) for start in range(0, len(terms), 8)]))


ORDERS = {
    "sequential": sequential,
    "reversed": lambda terms: sequential(terms[::-1]),
    "shuffled": lambda terms: sequential(np.random.default_rng(0).permutation(terms)),
    "by magnitude": lambda terms: sequential(np.sort(terms, axis=0)),
    "pairwise": pairwise,
    "blocked": blocked,
}


def many(shape, dtype, kind, seed):
    """Factors of many sums at once, one in each column."""
    return [seeded(shape, dtype.name, kind, seed, which) for which in (0, 1)]


def wide_sums(x, w):
    X, W = oracle.widen(x), oracle.widen(w)
    return (X * W).sum(axis=0), np.abs(X * W).sum(axis=0)


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("kind", ["normal", "wide", "cancelling", "subnormal", "positive"])
@pytest.mark.parametrize(("dtype", "accumulation"), ACCUMULATIONS, ids=lambda d: d.name)
def test_sums_in_any_order_lie_within(dtype, accumulation, kind, order):
    for n in (1, 2, 9, 100, 700):
        x, w = many((n, 200), dtype, "normal" if kind == "positive" else kind, n)
        if kind == "positive":
            x, w = np.abs(x), np.abs(w)
        with np.errstate(over="ignore", invalid="ignore"):
            result = order(x.astype(accumulation) * w.astype(accumulation)).astype(dtype)
        assert result.dtype == dtype
        expected, magnitude = wide_sums(x, w)
        bound = bounds.componentwise(magnitude, n, dtype, accumulation, gradual_underflow=True)
        assert bounds.ratios(result, expected, bound).max() <= 1
        assert np.all(bound <= bounds.componentwise(magnitude, n, dtype, accumulation))
        assert np.all(
            bounds.componentwise(magnitude, n, dtype, accumulation) <= bounds.componentwise(magnitude, n, dtype)
        )


@pytest.mark.parametrize("dtype", FLOATS[:2], ids=str)
def test_operations_that_are_rounded_twice_lie_within(dtype):
    """A fused multiply-add in float32, rounded to a narrow format each time."""
    for n in (1, 2, 9, 100):
        x, w = many((n, 500), dtype, "normal", n)
        total = np.zeros(500, dtype)
        for a, b in zip(x, w):
            total = (a.astype("float32") * b.astype("float32") + total.astype("float32")).astype(dtype)
        expected, magnitude = wide_sums(x, w)
        assert bounds.ratios(total, expected, bounds.componentwise(magnitude, n, dtype)).max() <= 1


@given(SUMS, st.sampled_from(["float32", "float64"]), st.randoms(use_true_random=False))
def test_a_sum_in_any_order_lies_within(drawing, dtype, shuffler):
    x, w, *_ = drawn(*drawing, dtype)
    products = list(x * w)
    shuffler.shuffle(products)
    assert ratio(sequential(products), x, w) <= 1
    assert ratio(np.sum(products), x, w) <= 1  # pairwise


@given(SUMS)
def test_the_bound_covers_the_worst_error_that_the_theorem_allows_and_hardly_more(drawing):
    x, w, exact, magnitude = drawn(*drawing)
    n = len(x)
    theorem = Fraction(n, 2**24 - n) * magnitude
    of_oracle = Fraction(n + 2, 2**53 - n - 2) * magnitude
    wide = np.dot(np.abs(x.astype("float64")), np.abs(w.astype("float64")))
    bound = Fraction(float(bounds.componentwise(wide, n, "float32")))
    assert bound >= theorem + of_oracle
    assert bound <= (theorem + of_oracle) * (1 + Fraction(2) ** -40) + 3 * n * Fraction(2) ** -126
    assert abs(Fraction(float(np.dot(x.astype("float64"), w.astype("float64")))) - exact) <= of_oracle


def flush(array):
    """Subnormal numbers as zero."""
    return np.where(np.abs(array) < bounds.finfo(array.dtype).tiny, 0, array).astype(array.dtype)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("scale", [0.01, 1, 1000])
def test_what_is_flushed_to_zero_is_allowed_for(dtype, scale):
    """Subnormal operands times large ones, and each product and sum, as processors do it to save time."""
    for n in (1, 3, 40, 200):
        x, w = many((n, 300), dtype, "normal", n)
        x = (x.astype("float64") * float(bounds.finfo(dtype).tiny)).astype(dtype)
        w = (w.astype("float64") * scale).astype(dtype)
        total = flush(flush(x[0]) * flush(w[0]))
        for a, b in zip(x[1:], w[1:]):
            total = flush(total + flush(flush(a) * flush(b)))
        expected, magnitude = wide_sums(x, w)
        _, kept = wide_sums(flush(x), flush(w))
        bound = bounds.componentwise(magnitude, n, dtype, flushed=magnitude - kept)
        assert bounds.ratios(total, expected, bound).max() <= 1
        if scale == 1000 and n == 1:
            assert bounds.ratios(total, expected, bounds.componentwise(magnitude, n, dtype)).max() > 1
        if scale == 0.01 and n == 1:
            gradual = bounds.componentwise(magnitude, n, dtype, gradual_underflow=True)
            assert bounds.ratios(total, expected, gradual).max() > 1


def test_each_product_may_be_flushed_to_zero():
    x, w = np.full((100, 1), 0.99, "float32"), np.full((100, 1), 2.0**-126, "float32")
    expected, magnitude = wide_sums(x, w)
    result = sequential(flush(x * w))
    assert result == 0
    assert 0.4 < bounds.ratios(result, expected, bounds.componentwise(magnitude, 100, "float32")) <= 1


def test_gradual_underflow_is_allowed_for():
    """Half the smallest subnormal number for each product."""
    x, w = np.full((50, 1), 2.0**-75, "float32"), np.full((50, 1), 2.0**-75, "float32")
    expected, magnitude = wide_sums(x, w)
    result = sequential(x * w)
    assert result == 0
    assert (
        0.9
        < bounds.ratios(result, expected, bounds.componentwise(magnitude, 50, "float32", gradual_underflow=True))
        <= 1
    )


# ---- Where nothing is promised


@pytest.mark.parametrize(("dtype", "n"), [("float16", 2048), ("bfloat16", 256), ("float32", 2**24)])
def test_where_n_u_reaches_one_the_bound_is_infinite(dtype, n):
    magnitude = np.array([0.0, 1.0])
    assert bounds.componentwise(magnitude, n, dtype).tolist() == [0, np.inf]
    assert np.isfinite(bounds.componentwise(magnitude, n - 1, dtype)).all()
    assert np.isfinite(bounds.componentwise(magnitude, n, dtype, "float64")).all()


def test_where_partial_sums_may_overflow_the_bound_is_infinite():
    magnitude = np.array([60000.0, 65000.0, 120000.0])
    assert np.isfinite(bounds.componentwise(magnitude, 16, "float16")).tolist() == [True, False, False]
    assert np.isfinite(bounds.componentwise(magnitude, 16, "float16", "float32")).all()
    x = np.float16([60000, 60000, -60000])
    with np.errstate(over="ignore"):
        assert sequential(x) == np.inf
    assert (
        bounds.ratios(sequential(x[::-1]), np.array(60000.0), bounds.componentwise(np.array(180000.0), 3, "float16"))
        == 0
    )


def test_a_finite_result_has_a_bound_even_where_partial_sums_may_overflow():
    magnitude = np.array([0.0, 60000.0, 65000.0, 120000.0])
    always = bounds.componentwise(magnitude, 16, "float16", if_finite=True)
    assert np.isfinite(always).all()
    assert np.all(np.diff(always) > 0)
    assert always[1] == bounds.componentwise(magnitude, 16, "float16")[1]
    assert np.isinf(bounds.componentwise(magnitude, 2048, "float16", if_finite=True)).tolist() == [False, *[True] * 3]


# The least number that float16 rounds to infinity is 65520; the sum of two errs by at most 2 u / (1 - 2 u) = 0.000977.
@pytest.mark.parametrize(
    ("magnitude", "value", "up", "down"),
    [
        (65400.0, 65400.0, False, False),
        (65460.0, 65460.0, True, False),
        (65460.0, -65460.0, False, True),
        (130800.0, 0.0, False, False),
        (130920.0, 0.0, True, True),
        (131000.0, 200.0, True, False),
        (131000.0, -200.0, False, True),
        (200000.0, 0.0, True, True),
        (131300.0, 250.0, True, True),
        (0.0, 0.0, False, False),
    ],
)
def test_a_sum_overflows_where_its_products_of_one_sign_do(magnitude, value, up, down):
    got = bounds.overflow(np.array([magnitude]), np.array([value]), 2, "float16")
    assert [mask.tolist() for mask in got] == [[up], [down]]


def test_longer_sums_overflow_earlier():
    magnitude = value = np.array([61000.0])
    assert [bool(bounds.overflow(magnitude, value, n, "float16")[0][0]) for n in (2, 100, 200)] == [False, False, True]


def test_underflow_takes_the_smallest_normal_number_from_each_product_and_each_sum():
    tiny = {"float16": 2.0**-14, "float32": 2.0**-126}
    for dtype, least in tiny.items():
        for n in (1, 7):
            assert bounds.underflow(n, dtype) == (2 * n + 1) * least
    assert bounds.underflow(7, "float16", "float32") == 14 * 2.0**-126 + 2.0**-14
    assert bounds.underflow(7, "float32", gradual=True) == (4 + 1) * 2.0**-149
    assert bounds.underflow(8, "float32", gradual=True) == (4 + 1) * 2.0**-149
    assert bounds.underflow(9, "float16", "float32", gradual=True) == 5 * 2.0**-149 + 2.0**-24


def test_what_underflow_loses_in_a_bound_is_that_of_the_format_of_the_sums():
    lost = bounds.componentwise(np.array(2.0**-60), 100, "float16", "float32")
    assert 2.0**-14 <= lost < 2.0**-13


def test_a_sum_without_a_bound_is_told_why():
    with pytest.raises(
        ValueError, match=r"^a sum of 4 terms with unit roundoff 0\.25 has no bound: n \* u is 1\.0, not"
    ):
        bounds.gamma(4, 0.25)


def test_numbers_that_are_not_finite_have_no_bound():
    assert bounds.componentwise(np.array([np.inf, np.nan]), 3, "float32").tolist() == [np.inf, np.inf]


def test_integers_must_be_exact():
    assert bounds.componentwise(np.array([100, 0]), 9, "int8").tolist() == [0, 0]
    result, expected = np.array([1, 2]), np.array([1, 2**70], object)
    assert bounds.ratios(result, expected, np.zeros(2)).tolist() == [0, np.inf]
    assert bounds.ratios(np.uint64([2**63]), np.array([2**63], object), np.zeros(1)).tolist() == [0]


def test_an_empty_sum():
    assert bounds.componentwise(np.zeros(2), 0, "float32").tolist() == [0, 0]


def test_a_wider_accumulation_allows_less():
    magnitude = np.array(1.0)
    narrow, wide = (float(bounds.componentwise(magnitude, 100, "bfloat16", a)) for a in (None, "float32"))
    assert wide == pytest.approx(2.0**-8 + 100 * 2.0**-24, rel=1e-4)
    assert narrow == pytest.approx(100 / 156)
    same = bounds.componentwise(magnitude, 100, "float32", "float32")
    assert same == bounds.componentwise(magnitude, 100, "float32")


# ---- Where there is nothing to sum


def test_where_there_is_nothing_to_sum_no_error_is_allowed():
    assert bounds.componentwise(np.zeros(2), 9, "float32").tolist() == [0, 0]
    assert ratio(1e-45, np.zeros(3, "float32"), np.ones(3, "float32")) == np.inf
    assert ratio(0.0, np.zeros(3, "float32"), np.ones(3, "float32")) == 0


# ---- What is wrong does not

TYPICAL = [
    with_values("typical", spec, spec.resolve((2, 4, 8, 8), (4, 4, 3, 3)), dtype, bias=True, values="normal", seed=seed)
    for spec in (ConvSpec(padding=1), ConvSpec(stride=2))
    for dtype in ("float32", "float64")
    for seed in range(2)
]


@pytest.mark.parametrize("problem", TYPICAL, ids=lambda p: f"{p.dtype}-stride {p.spec.stride}-{p.seed}")
def test_each_tap_that_is_dropped_from_a_typical_problem_is_seen(problem):
    """In every direction that the tap has a part in."""
    expected = problem.expectations()
    for tap in np.ndindex(problem.w.shape):
        dropped = problem.w.copy()
        dropped[tap] = 0
        got = replace(problem, w=dropped).expectations(("forward", "convolve", "input gradient", "conv_transpose"))
        for direction, wrong in got.items():
            assert judge(wrong.value.astype(problem.dtype), expected[direction]).ratio > 1


def test_each_output_pixel_that_is_dropped_from_the_kernel_gradient_is_seen():
    problem = TYPICAL[0]
    expected = problem.expectations()
    for pixel in np.ndindex(problem.dy.shape):
        dropped = problem.dy.copy()
        dropped[pixel] = 0
        got = replace(problem, dy=dropped).expectations(("kernel gradient", "bias gradient"))
        for direction, wrong in got.items():
            assert judge(wrong.value.astype(problem.dtype), expected[direction]).ratio > 1


def test_a_bias_that_is_forgotten_is_seen():
    for problem in TYPICAL:
        expected = problem.expectations()
        got = replace(problem, bias=None, x_bias=None).expectations()
        for direction in ("forward", "convolve", "conv_transpose"):
            assert judge(got[direction].value.astype(problem.dtype), expected[direction]).ratio > 1


# ---- What has lost precision


def cut(array, bits):
    """With only so many bits of the mantissa left, as a processor's fast modes have it."""
    return (array.view("uint32") & np.uint32(2**32 - 2 ** (23 - bits))).view("float32")


FLOAT32 = [
    p
    for p in draw_problems(400, seed=0, dtypes=("float32",), values=REALS)
    if p.geometry.batch and p.geometry.products * p.geometry.batch < 100_000
][:100]


@pytest.mark.parametrize("bits", [10, 7], ids=["tf32", "bfloat16"])
def test_inputs_that_are_rounded_are_seen_in_every_problem_that_sees_more_than_padding(bits):
    assert len(FLOAT32) == 100
    seen = 0
    for problem in FLOAT32:
        expected = problem.expectations(["forward"])["forward"]
        rounded = replace(problem, x=cut(problem.x, bits), w=cut(problem.w, bits))
        answer = rounded.expectations(["forward"])["forward"].value.astype("float32")
        judgement = judge(answer, expected)
        assert judgement.symptom in ("values", "precision") or judgement.ratio == 0
        seen += judgement.symptom is not None
        assert judge(expected.value.astype("float32"), expected).symptom is None
    assert seen >= 90


def test_what_float32_makes_of_float64_is_seen():
    for problem in TYPICAL:
        if problem.dtype == "float64":
            narrow = {name: getattr(problem, name).astype("float32") for name in ("x", "w", "dy", "bias", "x_bias")}
            got = replace(problem, **narrow).expectations()
            for direction, expected in problem.expectations().items():
                assert judge(got[direction].value.astype("float64"), expected).ratio > 1


# ---- Fast algorithms

WINOGRAD = {
    "F(2,3)": (
        [[1, 1, 1, 0], [0, 1, -1, -1]],
        [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
    ),
    "F(4,3)": (
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ],
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ],
    ),
}


def winograd(x, w, matrices):
    """One tile in two dimensions: x (C, t, t), w (O, C, 3, 3), in float32."""
    A_T, G, B_T = (np.array(matrix, "float32") for matrix in matrices)
    products = (G @ w @ G.T) * (B_T @ x @ B_T.T)
    return A_T @ sequential(products.swapaxes(0, 1)) @ A_T.T


def fft(x, w):
    """By complex64 transforms: x (C, n, n), w (O, C, k, k)."""
    size = x.shape[1:]
    transformed = np.fft.fft2(x.astype("complex64")) * np.conj(np.fft.fft2(w.astype("complex64"), size))
    assert transformed.dtype == "complex64"
    full = np.fft.ifft2(sequential(transformed.swapaxes(0, 1))).real
    return full[:, : size[0] - w.shape[2] + 1, : size[1] - w.shape[3] + 1]


@pytest.mark.parametrize("algorithm", ["F(2,3)", "F(4,3)", "FFT"])
@pytest.mark.parametrize("channels", [1, 8])
def test_a_fast_algorithm_lies_within_the_normwise_bound_and_breaks_the_componentwise_one(algorithm, channels):
    size = {"F(2,3)": 4, "F(4,3)": 6, "FFT": 16}[algorithm]
    x_shape, w_shape = (1, channels, size, size), (3, channels, 3, 3)
    g = ConvSpec().resolve(x_shape, w_shape)
    if algorithm == "FFT":
        c = bounds.fft_constant((size, size), channels, "float32")
    else:
        c = bounds.winograd_constant(*WINOGRAD[algorithm], ndim=2, channels=channels, dtype="float32")
    worst = {"normwise": 0.0, "componentwise": 0.0}
    for seed in range(200):
        x, w, dy = (seeded(shape, "float32", "wide", seed, i) for i, shape in enumerate((x_shape, w_shape, g.y_shape)))
        result = (fft(x[0], w) if algorithm == "FFT" else winograd(x[0], w, WINOGRAD[algorithm]))[None]
        assert result.dtype == "float32"
        X, W = x.astype("float64"), w.astype("float64")
        expected, magnitude = oracle.cross_correlate(X, W, None, g), oracle.cross_correlate(abs(X), abs(W), None, g)
        normwise = bounds.normwise("forward", x, w, None, dy, g, c, "float32")
        componentwise = bounds.componentwise(magnitude, oracle.contraction("forward", g), "float32")
        for name, bound in (("normwise", normwise), ("componentwise", componentwise)):
            worst[name] = max(worst[name], bounds.ratios(result, expected, np.broadcast_to(bound, g.y_shape)).max())
    assert worst["normwise"] <= 1
    assert worst["componentwise"] > 1


@pytest.mark.parametrize(("ndim", "channels", "c"), [(1, 1, 4 * 12), (1, 8, 4 * 19), (2, 1, 16 * 23), (3, 8, 64 * 41)])
def test_the_constant_of_winograds_smallest_algorithm(ndim, channels, c):
    """An output adds three products, of two pixels each, with a tap times 1, 1/2 and 1/2: 4 = 2 + 2/2 + 2/2."""
    constant = bounds.winograd_constant(*WINOGRAD["F(2,3)"], ndim=ndim, channels=channels, dtype="float64")
    assert constant == pytest.approx(c, rel=1e-12)


@pytest.mark.parametrize(
    ("size", "channels", "c"),
    [
        ((1,), 1, 1 + 2 * 2**0.5),  # no transform: a complex product and the sum over one channel
        ((1, 1), 3, 3 + 2 * 2**0.5),
        ((2,), 1, 2**0.5 * (3 * (1 + 4 * 2**0.5) + 2 * 2**0.5 + 1)),  # three transforms of one stage
        ((4, 2), 5, 8**0.5 * (9 * (1 + 4 * 2**0.5) + 2 * 2**0.5 + 5)),
        ((8, 8), 1, 8 * (18 * (1 + 4 * 2**0.5) + 2 * 2**0.5 + 1)),
    ],
)
def test_the_constant_of_the_fft_to_first_order(size, channels, c):
    assert bounds.fft_constant(size, channels, "float64") == pytest.approx(c, rel=1e-12)
    assert bounds.fft_constant(size, channels, "float32") == pytest.approx(c, rel=1e-4)


def test_the_normwise_bound_is_for_each_channel_of_each_direction():
    g = ConvSpec(groups=2).resolve((2, 4, 3), (6, 2, 2))
    x, w, dy = np.ones(g.x_shape), np.ones(g.w_shape), np.ones(g.y_shape)
    x[0, 0, 0], w[3], dy[1, 4, 0] = -5, -10, -7
    u = 2.0**-24

    def normwise(direction, bias=None):
        return (bounds.normwise(direction, x, w, bias, dy, g, 3.0, "float32") / (3 * u)).squeeze().tolist()

    by_output = [20, 20, 20, 200, 20, 20]
    for direction in ("forward", "convolve", "layer"):
        assert normwise(direction) == by_output
        assert normwise(direction, -np.ones(6)) == [bound + 1 for bound in by_output]
    for direction in ("input gradient", "conv_transpose"):
        assert normwise(direction) == [42, 42, 7 * 24, 7 * 24]
    assert normwise("kernel gradient") == [20, 20, 20, 20, 50, 20]
    assert normwise("bias gradient") == [4, 4, 4, 4, 10, 4]
    shapes = {
        "forward": g.y_shape,
        "input gradient": g.x_shape,
        "kernel gradient": g.w_shape,
        "bias gradient": (6,),
    }
    for direction, shape in shapes.items():
        bound = bounds.normwise(direction, x, w, None, dy, g, 1.0, "float32")
        assert np.broadcast_shapes(bound.shape, shape) == shape


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_normwise_bound_of_small_numbers_is_as_much_smaller_and_of_none_is_zero(direction):
    def normwise(batch, scale):
        g = ConvSpec().resolve((batch, 2, 5), (3, 2, 2))
        x, w, dy = (np.full(shape, scale) for shape in (g.x_shape, g.w_shape, g.y_shape))
        return bounds.normwise(direction, x, w, None, dy, g, 1.0, "float32")

    factors = 1 if direction == "bias gradient" else 2
    assert (normwise(1, 2.0**-10) == normwise(1, 1.0) * 2.0 ** (-10 * factors)).all()
    assert (normwise(0, 1.0) == 0).all()


def test_a_bound_beyond_the_largest_number_is_no_reason_for_a_warning():
    largest = np.array([np.finfo("float64").max])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bounds.componentwise(largest, 5, "float64") == np.inf
        assert bounds.componentwise(largest, 5, "float64", if_finite=True) < np.inf


def test_the_constant_of_winograd_counts_the_terms_of_rows():
    """A row of the output has three terms, one of the kernel and of the data one each; columns have one each."""
    output, kernel, data = np.ones((1, 3)), np.array([[1.0], [0], [0]]), np.eye(3)
    constant = bounds.winograd_constant(output, kernel, data, ndim=1, channels=1, dtype="float64")
    assert constant == pytest.approx(3 + 1 + 1 + 3 + 1, rel=1e-12)


@pytest.mark.parametrize("size", [(6, 8), (0,), (8, -8)])
def test_of_an_fft_of_another_length_nothing_is_known(size):
    with pytest.raises(ValueError, match="must be powers of two"):
        bounds.fft_constant(size, 1, "float32")


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
        (np.nan, np.nan, np.inf, 0.0),
        (np.inf, np.inf, np.nan, 0.0),
        (-np.inf, np.inf, np.inf, np.inf),
        (np.nan, 1.0, np.inf, 0.0),
        (np.inf, 2.0**128, 0.0, 0.0),
        (np.inf, 2.0**128 - 2.0**103, 0.0, 0.0),
        (np.inf, 2.0**128 - 2.0**104, 2.0**104, 0.5),
        (np.inf, 2.0**128 - 2.0**104, 2.0**102, np.inf),
        (-np.inf, 2.0**128, 2.0**104, np.inf),
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


# Sums of ones that bfloat16 holds exactly, up to 256, until the bias comes to them.
ONES = {"x": np.ones((1, 1, 200), BFLOAT16), "w": np.ones((1, 1, 200), BFLOAT16), "dy": np.ones((1, 1, 1), BFLOAT16)}


@pytest.mark.parametrize("direction", ["forward", "convolve", "layer"])
def test_a_sum_that_only_its_bias_takes_past_what_the_dtype_holds_need_not_be_exact(direction):
    """200 + 63 is not a number of bfloat16."""
    problem = given_values("ones", ConvSpec(), **ONES, bias=np.full(1, 63, BFLOAT16), x_bias=np.zeros(1, BFLOAT16))
    expected = problem.expectations([direction])[direction]
    assert expected.value.tolist() == [[[263]]]
    assert judge(np.array([[[264]]], BFLOAT16), expected).fault is None
    assert judge(np.array([[[262]]], BFLOAT16), expected).fault is None


def test_a_sum_that_only_the_bias_of_its_transposed_convolution_takes_past_what_the_dtype_holds_need_not_be_exact():
    x, w, dy = (np.ones(shape, BFLOAT16) for shape in ((1, 1, 1), (200, 1, 1), (1, 200, 1)))
    bias, x_bias = np.zeros(200, BFLOAT16), np.full(1, 63, BFLOAT16)
    expected = given_values("ones", ConvSpec(), x, w, dy, bias, x_bias).expectations(["conv_transpose"])
    assert expected["conv_transpose"].value.tolist() == [[[263]]]
    assert judge(np.array([[[264]]], BFLOAT16), expected["conv_transpose"]).fault is None


@pytest.mark.parametrize(("bias", "exact"), [(None, True), (1, True), (63, False)])
def test_a_sum_of_integers_that_the_dtype_holds_with_its_bias_must_be_exact(bias, exact):
    given_bias = None if bias is None else np.full(1, bias, BFLOAT16)
    expected = given_values("ones", ConvSpec(), **ONES, bias=given_bias).expectations(["forward"])["forward"]
    right = 200 + (bias or 0)
    beside = np.array([[[right + 2]]], BFLOAT16)
    assert (judge(beside, expected).fault is None) is not exact
    assert np.any(expected.bound) != exact


@pytest.mark.parametrize(
    ("direction", "x_shape", "w_shape"),
    [
        ("forward", (1, 512, 4, 4), (512, 512, 3, 3)),
        ("input gradient", (1, 512, 4, 4), (512, 512, 3, 3)),
        ("kernel gradient", (8, 24, 30, 30), (24, 24, 3, 3)),
    ],
)
def test_an_answer_that_has_lost_precision_is_within_its_bound_but_imprecise(direction, x_shape, w_shape):
    """Of operands cut to TF32's ten bits, in sums so long that they still lie within the bound."""
    g = ConvSpec().resolve(x_shape, w_shape)
    problem = with_values("long", ConvSpec(), g, "float32", bias=False, values="normal", seed=0)
    cut_down = replace(problem, **{name: cut(getattr(problem, name), 10) for name in ("x", "w", "dy")})
    expected, lost = (p.expectations([direction])[direction] for p in (problem, cut_down))
    right, imprecise = judge(expected.value.astype("float32"), expected), judge(lost.value.astype("float32"), expected)
    assert (right.fault, right.imprecise) == (None, False)
    assert (imprecise.symptom, imprecise.imprecise) == ("precision", True)
    assert imprecise.ratio <= 1
    assert imprecise.fault.startswith("it lost precision: its errors are within the bound, but ")
    wrong = judge(-expected.value.astype("float32"), expected)
    assert (wrong.fault is None, wrong.imprecise) == (False, False)


def test_an_answer_whose_subnormal_operands_were_flushed_to_zero_is_not_imprecise():
    x, w = np.full((1, 1, 100), 0.9 * 2.0**-126, "float32"), np.full((1, 1, 100), 1000, "float32")
    expected = given_values("flushed", ConvSpec(), x, w).expectations(["forward"])["forward"]
    judgement = judge(np.zeros((1, 1, 1), "float32"), expected)
    assert judgement.ratio > 0.9
    assert (judgement.fault, judgement.imprecise) == (None, False)


NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 3.0, 1e-320, -1e308, 1e308]) | st.floats(allow_nan=False)


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS.map(abs)), min_size=1, max_size=6))
def test_the_ratio_of_an_element_does_not_depend_on_the_others(elements):
    result, expected, bound = (np.array(column) for column in zip(*elements))
    together = bounds.ratios(result, expected, bound)
    beside_a_nan = bounds.ratios(np.append(result, np.nan), np.append(expected, np.nan), np.append(bound, 1.0))
    np.testing.assert_array_equal(together, beside_a_nan[:-1])
