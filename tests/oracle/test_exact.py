"""Exact sums by two derivations, and their rounding against numbers that are known to be right."""

from __future__ import annotations

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from multiconv.core import bounds
from multiconv.core.errors import ConvError
from multiconv.core.spec import ConvSpec
from multiconv.oracle import definition, exact, kronecker
from multiconv.oracle.exact import Scaled, by_definition, correctly_rounded, round_to, scaled, sums
from multiconv.oracle.kronecker import by_kronecker
from multiconv.testing.strategies import specs

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = [np.dtype(t) for t in ("float16", BFLOAT16, "float32", "float64")]
INTEGERS = [np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)]
DIRECTIONS = tuple(exact.FACTORS)
BITS = {2: np.uint16, 4: np.uint32, 8: np.uint64}
MOST_PRODUCTS = 5000


def values(shape, dtype, kind, seed):
    """Of any magnitude that the dtype has, or of one; or, of integers, all the largest."""
    rng = np.random.default_rng(seed)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        if kind == "largest":
            return rng.choice(np.array([info.min, info.max], dtype), shape)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    if kind == "normal":
        return rng.standard_normal(shape).astype(dtype)
    info = bounds.finfo(dtype)
    if kind == "largest":
        return rng.choice([-1.0, 1.0], shape).astype(dtype) * info.max
    drawn = rng.integers(0, 2 ** (8 * dtype.itemsize), shape, BITS[dtype.itemsize]).view(dtype)
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(drawn.astype("float64")), drawn, info.smallest_subnormal).astype(dtype)


@st.composite
def problems(draw, dtypes=(*FLOATS, *INTEGERS)):
    """Arrays, channels first, and their geometry."""
    spec, x_shape, w_shape = draw(specs())
    if spec.channels_last:
        x_shape = (x_shape[0], x_shape[-1], *x_shape[1:-1])
    spec = ConvSpec(spec.stride, spec.padding, spec.dilation, spec.groups)
    g = spec.resolve(x_shape, w_shape)
    assume(g.batch * g.products <= MOST_PRODUCTS)
    dtype, kind = draw(st.sampled_from(dtypes)), draw(st.sampled_from(["bits", "normal", "largest"]))
    seed = draw(st.integers(0, 2**32 - 1))
    x, w, dy, b, x_b = (
        values(shape, dtype, kind, [seed, i])
        for i, shape in enumerate((g.x_shape, g.w_shape, g.y_shape, (g.out_channels,), (g.in_channels,)))
    )
    return g, x, w, dy, *((b, x_b) if draw(st.booleans()) else (None, None))


def operands(problem, direction):
    """As `sums` takes them."""
    g, x, w, dy, b, x_b = problem
    return direction, x, w, x_b if direction == "conv_transpose" else b, dy, g


# ---- The two derivations


@given(problems())
def test_both_derivations_come_to_the_same_in_every_direction(problem):
    for direction in DIRECTIONS:
        one, other = (sums(*operands(problem, direction), way) for way in (by_definition, by_kronecker))
        assert one.exponent == other.exponent
        assert one.integers.shape == other.integers.shape
        assert np.array_equal(one.integers, other.integers)


@given(problems(FLOATS))
def test_the_sums_are_those_of_fractions(problem):
    """What is scaled, and how a bias is brought to the same exponent, loses nothing."""
    fractions = [None if a is None else fraction(a) for a in problem[1:]]
    for direction in DIRECTIONS:
        result = sums(*operands(problem, direction))
        right = by_definition(*operands((problem[0], *fractions), direction))
        assert np.array_equal(result.integers * Fraction(2) ** result.exponent, right)


def fraction(array):
    return np.frompyfunc(Fraction, 1, 1)(array.astype("float64"))


def test_neither_derivation_uses_the_other(monkeypatch):
    def gone(*_):
        raise AssertionError

    x, w, dy = np.full((2, 2, 4), 3, object), np.full((4, 1, 2), 2, object), np.full((2, 4, 3), 1, object)
    g = ConvSpec(groups=2).resolve(x.shape, w.shape)
    right = {d: by_definition(d, x, w, None, dy, g).tolist() for d in DIRECTIONS}
    with monkeypatch.context() as patch:
        patch.setattr(kronecker, "_products", gone)
        assert {d: by_definition(d, x, w, None, dy, g).tolist() for d in DIRECTIONS} == right
    for name, value in vars(definition).copy().items():
        if callable(value) and getattr(value, "__module__", None) == definition.__name__:
            monkeypatch.setattr(definition, name, gone)
    with pytest.raises(AssertionError):
        by_definition("forward", x, w, None, dy, g)
    for name in ("matmul", "dot", "convolve", "correlate", "einsum", "tensordot"):
        monkeypatch.setattr(np, name, gone)
    assert {d: by_kronecker(d, x, w, None, dy, g).tolist() for d in DIRECTIONS} == right


@pytest.mark.parametrize("derivation", [by_definition, by_kronecker])
def test_worked_by_hand(derivation):
    def whole(*numbers):
        return np.array([[numbers]], object)

    def came(direction, g, **arrays):
        x, w, bias, dy = (arrays.get(name) for name in ("x", "w", "bias", "dy"))
        return derivation(direction, x, w, bias, dy, g).tolist()

    plain = ConvSpec().resolve((1, 1, 3), (1, 1, 2))
    three = np.array([3], object)
    assert came("forward", plain, x=whole(1, 2, 3), w=whole(1, 10)) == [[[21, 32]]]
    assert came("forward", plain, x=whole(1, 2, 3), w=whole(1, 10), bias=three) == [[[24, 35]]]
    assert came("convolve", plain, x=whole(1, 2, 3), w=whole(1, 10)) == [[[12, 23]]]
    assert came("input gradient", plain, dy=whole(1, 2), w=whole(1, 10)) == [[[1, 12, 20]]]
    assert came("kernel gradient", plain, x=whole(1, 2, 3), dy=whole(1, 10)) == [[[21, 32]]]
    assert came("bias gradient", plain, dy=whole(1, 10)) == [11]
    strided = ConvSpec(stride=2).resolve_transpose((1, 1, 2), (1, 1, 3))
    assert came("conv_transpose", strided, dy=whole(1, 2), w=whole(1, 10, 100)) == [[[1, 10, 102, 20, 200]]]
    padded = ConvSpec(stride=2, padding=((1, 2),), dilation=2).resolve((1, 1, 3), (1, 1, 2))
    assert came("forward", padded, x=whole(1, 2, 3), w=whole(1, 10)) == [[[20, 2]]]
    assert came("convolve", padded, x=whole(1, 2, 3), w=whole(1, 10)) == [[[2, 20]]]


@pytest.mark.parametrize("derivation", [by_definition, by_kronecker])
def test_a_batch_of_zero(derivation):
    x, w, dy = np.zeros((0, 2, 4), object), np.ones((3, 2, 2), object), np.zeros((0, 3, 3), object)
    g = ConvSpec().resolve(x.shape, w.shape)
    assert derivation("forward", x, w, None, dy, g).shape == (0, 3, 3)
    assert derivation("input gradient", x, w, None, dy, g).shape == (0, 2, 4)
    assert derivation("kernel gradient", x, w, None, dy, g).tolist() == [[[0, 0]] * 2] * 3
    assert derivation("bias gradient", x, w, None, dy, g).tolist() == [0, 0, 0]


# ---- Scaling


@given(st.sampled_from(FLOATS), st.sampled_from(["bits", "normal", "largest"]), st.integers(0, 2**32 - 1))
def test_scaling_is_exact_and_takes_the_largest_exponent_there_is(dtype, kind, seed):
    array = values((7,), dtype, kind, seed)
    result = scaled(array)
    assert np.array_equal(result.integers * Fraction(2) ** result.exponent, fraction(array))
    assert any(integer % 2 for integer in result.integers)


def test_zeros_have_the_exponent_0():
    result = scaled(np.zeros(2, "float32"))
    assert (result.integers.tolist(), result.exponent) == ([0, 0], 0)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.float32([[1, np.nan]]), "x is nan at [0, 1]: exact sums need finite numbers"),
        (np.array([-np.inf], BFLOAT16), "x is -inf at [0]: exact sums need finite numbers"),
        (
            np.complex64([1]),
            "x is complex64: exact sums are for integers, float16, bfloat16, float32, float64",
        ),
        (np.array([True]), "x is bool: exact sums are for integers, float16, bfloat16, float32, float64"),
    ],
)
def test_what_cannot_be_scaled_is_refused(array, words):
    with pytest.raises(ConvError) as refusal:
        scaled(array, "x")
    assert str(refusal.value) == words


def test_each_array_that_is_not_finite_is_refused_by_name_where_it_has_a_part():
    g = ConvSpec().resolve((1, 1, 3), (1, 1, 2))
    good = {"x": np.ones((1, 1, 3)), "w": np.ones((1, 1, 2)), "bias": np.ones(1), "dy": np.ones((1, 1, 2))}
    for direction in DIRECTIONS:
        for name, array in good.items():
            has_a_part = name in exact.FACTORS[direction] or (name == "bias" and "gradient" not in direction)
            arrays = good | {name: np.full(array.shape, np.nan)}
            if has_a_part:
                with pytest.raises(ConvError, match=f"^{name} is nan at "):
                    sums(direction, **arrays, g=g)
            else:
                sums(direction, **arrays, g=g)


def test_an_unknown_direction_is_refused():
    with pytest.raises(ConvError, match=r"direction must be one of forward, layer, .*, not 'sideways'"):
        sums("sideways", None, None, None, None, ConvSpec().resolve((1, 1, 3), (1, 1, 2)))


# ---- Rounding


def every(dtype):
    """All finite numbers of a 16-bit format that are not negative, in order."""
    with np.errstate(invalid="ignore"):
        numbers = np.arange(2**15, dtype=np.uint16).view(dtype).astype("float64")
    return numbers[np.isfinite(numbers)]


def same(result, right):
    """To the bit."""
    assert result.dtype == right.dtype
    assert result.tobytes() == right.tobytes()


@pytest.mark.parametrize("dtype", FLOATS[:2], ids=str)
def test_each_number_of_a_16_bit_format_is_rounded_to_itself(dtype):
    numbers = every(dtype)
    same(round_to(scaled(numbers), dtype), numbers.astype(dtype))
    same(round_to(scaled(-numbers[1:]), dtype), -numbers[1:].astype(dtype))


@pytest.mark.parametrize("dtype", FLOATS[:2], ids=str)
def test_halfway_between_two_numbers_of_a_16_bit_format_is_rounded_to_the_even_one(dtype):
    numbers = every(dtype)
    beyond = 2 * numbers[-1] - numbers[-2]
    middles = scaled((numbers + np.append(numbers[1:], beyond)) / 2)
    lower = np.arange(len(numbers), dtype=np.uint16)
    same(round_to(middles, dtype), (lower + lower % 2).view(dtype))  # of the last, infinity
    nudged = {step: Scaled(middles.integers * 2**60 + step, middles.exponent - 60) for step in (-1, 1)}
    same(round_to(nudged[-1], dtype), lower.view(dtype))
    same(round_to(nudged[1], dtype), (lower + np.uint16(1)).view(dtype))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False).filter(bool), min_size=1, max_size=9))
def test_float64_is_rounded_as_numpy_casts_it(numbers):
    numbers = np.array(numbers)
    with np.errstate(over="ignore", under="ignore"):
        for dtype in ("float16", "float32", "float64"):
            same(round_to(scaled(numbers), dtype), numbers.astype(dtype))


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False).filter(bool), min_size=1, max_size=9))
def test_float32_is_rounded_to_bfloat16_as_ml_dtypes_casts_it(numbers):
    numbers = np.float32(numbers)
    with np.errstate(over="ignore"):
        same(round_to(scaled(numbers), BFLOAT16), numbers.astype(BFLOAT16))


@given(st.integers(-(2**200), 2**200).filter(bool), st.integers(0, 1300))
def test_to_float64_as_python_divides(numerator, places):
    """The quotient of two of Python's integers is correctly rounded."""
    right = np.float64([numerator / 2**places])
    same(round_to(Scaled(np.array([numerator], object), -places), "float64"), right)


@pytest.mark.parametrize(
    ("number", "exponent", "dtype", "right"),
    [
        (2**24 + 1, 0, "float32", 2.0**24),
        (2**24 + 3, 0, "float32", 2.0**24 + 4),
        (-(2**24 + 3), 0, "float32", -(2.0**24) - 4),
        (2**128 - 2**103, 0, "float32", np.inf),
        (2**128 - 2**103 - 1, 0, "float32", np.finfo("float32").max),
        (2**1024 - 2**970, 0, "float64", np.inf),
        (-(2**1024) + 2**970, 0, "float64", -np.inf),
        (2**1024 - 2**970 - 1, 0, "float64", np.finfo("float64").max),
        (1, 5000, "float64", np.inf),
        (1, -149, "float32", 2.0**-149),
        (1, -150, "float32", 0.0),
        (2**40 + 1, -190, "float32", 2.0**-149),
        (3, -150, "float32", 2.0**-148),
        (2**24 - 1, -150, "float32", 2.0**-126),
        (1, -1075, "float64", 0.0),
        (-1, -1075, "float64", -0.0),
        (3, -1075, "float64", 2.0**-1073),
        (1, -9999, "float64", 0.0),
        (0, 9999, "float16", 0.0),
        (65519, 0, "float16", 65504.0),
        (65520, 0, "float16", np.inf),
        (257, 0, "bfloat16", 256.0),
        (259, 0, "bfloat16", 260.0),
    ],
)
def test_known_roundings(number, exponent, dtype, right):
    dtype = BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype)
    same(round_to(Scaled(np.array([number], object), exponent), dtype), np.array([right], dtype))


def test_rounding_once_is_not_rounding_twice():
    """1 + 2^-11 + 2^-30 is above the middle of two float16 numbers; float32 would bring it down to the middle."""
    number = 2**30 + 2**19 + 1
    assert float(np.float32(number / 2**30).astype("float16")) == 1
    assert float(round_to(Scaled(np.array([number], object), -30), "float16")[0]) == 1 + 2**-10


# ---- Results, rounded


@given(problems(FLOATS))
def test_no_other_number_is_closer(problem):
    for direction in DIRECTIONS:
        result = correctly_rounded(*operands(problem, direction))
        total = sums(*operands(problem, direction))
        finite = np.isfinite(result.astype("float64"))
        assert (result.shape, result.dtype) == (total.integers.shape, problem[1].dtype)
        for number, integer in zip(result[finite], total.integers[finite]):
            right, error = Fraction(integer) * Fraction(2) ** total.exponent, Fraction(float(number))
            error = abs(error - right)
            for neighbour in (-np.inf, np.inf):
                with np.errstate(over="ignore"):
                    other = float(np.nextafter(number, number.dtype.type(neighbour)))
                assert np.isinf(other) or error <= abs(Fraction(other) - right)


def test_what_cancels_leaves_the_small_behind():
    x, w = np.float32([[[1e30, 1, -1e30, 3]]]), np.float32([[[1, 1, 1, 1]]])
    g = ConvSpec().resolve(x.shape, w.shape)
    assert correctly_rounded("forward", x, w, None, None, g).tolist() == [[[4]]]
    assert correctly_rounded("convolve", x, w, np.float32([-4]), None, g).tolist() == [[[0]]]
    assert correctly_rounded("bias gradient", None, None, None, x, g).tolist() == [4]


def test_a_bias_far_above_or_below_the_products():
    x, w = np.ones((1, 1, 1)), np.ones((1, 1, 1))
    g = ConvSpec().resolve(x.shape, w.shape)
    tiny = np.array([5e-324])
    assert correctly_rounded("forward", x * tiny, w * tiny, np.array([1.0]), None, g).tolist() == [[[1]]]
    above_the_middle = 1 + 2.0**-52
    assert correctly_rounded("forward", x, w, np.array([2.0**-53]), None, g).tolist() == [[[1]]]
    x[...] = above_the_middle
    assert correctly_rounded("forward", x, w, np.array([2.0**-53]), None, g).tolist() == [[[1 + 2.0**-51]]]


def test_a_sum_that_overflows_on_the_way_does_not():
    x, w = np.float16([[[60000, 60000, -60000]]]), np.float16([[[1, 1, 1]]])
    g = ConvSpec().resolve(x.shape, w.shape)
    assert correctly_rounded("forward", x, w, None, None, g).tolist() == [[[60000]]]
    assert correctly_rounded("forward", abs(x), w, None, None, g).tolist() == [[[np.inf]]]


# ---- Integers


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integers_that_fit_are_of_their_dtype_and_others_are_pythons(dtype):
    info = np.iinfo(dtype)
    g = ConvSpec().resolve((1, 1, 2), (1, 1, 1))
    x, one = np.array([[[info.min, info.max]]], dtype), np.ones((1, 1, 1), dtype)
    result = correctly_rounded("forward", x, one, None, None, g)
    assert result.dtype == dtype
    assert result.tolist() == x.tolist()
    beyond = correctly_rounded("forward", x, one, np.array([1], dtype), None, g)
    assert beyond.dtype == object
    assert beyond.tolist() == [[[int(info.min) + 1, int(info.max) + 1]]]
    assert not exact.fits(beyond, dtype)
    square = correctly_rounded("forward", x[..., 1:], x[..., 1:], None, None, ConvSpec().resolve((1, 1, 1), (1, 1, 1)))
    assert square.tolist() == [[[int(info.max) ** 2]]]


def test_int8_does_not_wrap():
    x, w = np.full((1, 1, 4), 100, "int8"), np.full((1, 1, 4), 100, "int8")
    g = ConvSpec().resolve(x.shape, w.shape)
    assert correctly_rounded("forward", x, w, None, None, g).tolist() == [[[40000]]]


@given(st.integers(-(2**70), 2**70), st.integers(-70, 3))
def test_to_an_integer_as_python_rounds(number, exponent):
    result = round_to(Scaled(np.array([number], object), exponent), "int64")
    assert result.tolist() == [round(Fraction(number) * Fraction(2) ** exponent)]
    assert (result.dtype == "int64") == (-(2**63) <= result[0] < 2**63)
