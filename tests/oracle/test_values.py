"""The numbers that problems are made of: each kind is what it says, for every dtype and many seeds."""

from __future__ import annotations

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from multiconv.check import script_arrays
from multiconv.core.bounds import finfo
from multiconv.oracle import values
from multiconv.oracle.values import ALL_VALUES, BIAS, DY, EXTREME, VALUES, X_BIAS, W, X, seeded

NAMES = ("float16", "bfloat16", "float32", "float64")
SHAPE = (40, 50)
OPERANDS = (X, W, DY)
ARRAYS = (X, W, DY, BIAS, X_BIAS)
DIGITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}


def drawn(dtype, kind, which=X, seed=0, shape=SHAPE):
    array = seeded(shape, dtype, kind, seed, which)
    assert array.dtype == (ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    assert array.shape == shape
    return array


def wide(array):
    return array.astype(np.longdouble)


def both_signs(array):
    return np.any(np.signbit(array)) and not np.all(np.signbit(array))


@pytest.mark.parametrize("dtype", NAMES)
@pytest.mark.parametrize("kind", ALL_VALUES)
def test_a_seed_says_what_is_drawn_and_each_array_has_its_own(kind, dtype):
    first = [drawn(dtype, kind, which).tobytes() for which in ARRAYS]
    assert first == [drawn(dtype, kind, which).tobytes() for which in ARRAYS]
    assert len(set(first)) == len(ARRAYS)
    assert not set(first) & {drawn(dtype, kind, which, seed=1).tobytes() for which in ARRAYS}


@pytest.mark.parametrize("dtype", NAMES)
@pytest.mark.parametrize("kind", ALL_VALUES)
def test_every_kind_has_numbers_of_both_signs_in_every_array(kind, dtype):
    assert all(both_signs(drawn(dtype, kind, which)) for which in ARRAYS)


@pytest.mark.parametrize("dtype", NAMES)
@pytest.mark.parametrize("kind", VALUES)
def test_the_usual_kinds_are_finite(kind, dtype):
    assert all(np.isfinite(drawn(dtype, kind, which)).all() for which in ARRAYS)


def test_the_kinds_are_told_apart():
    assert VALUES == ("integers", "zeros", "normal", "wide", "cancelling", "ties", "smallest", "subnormal")
    assert EXTREME == ("largest", "nonfinite")
    assert (*VALUES, *EXTREME) == ALL_VALUES
    for kind in ALL_VALUES:
        assert f'``"{kind}"``' in seeded.__doc__


@pytest.mark.parametrize(("dtype", "largest"), [("float16", 2), ("bfloat16", 1), ("float32", 4), ("float64", 4)])
@pytest.mark.parametrize("kind", ["integers", "zeros"])
def test_integers_are_all_the_small_ones(kind, dtype, largest):
    for which in ARRAYS:
        assert set(wide(drawn(dtype, kind, which)).ravel()) == set(range(-largest, largest + 1))


@pytest.mark.parametrize("dtype", NAMES)
def test_zeros_are_most_and_of_both_signs(dtype):
    for which in ARRAYS:
        array = drawn(dtype, "zeros", which)
        assert (array == 0).mean() > 0.6
        assert both_signs(array[array == 0])


@pytest.mark.parametrize("dtype", NAMES)
def test_normal_numbers_have_mean_zero_and_deviation_one(dtype):
    array = wide(drawn(dtype, "normal"))
    assert abs(array.mean()) < 0.1
    assert array.std() == pytest.approx(1, abs=0.1)
    assert len(np.unique(array)) > 100


@pytest.mark.parametrize(("dtype", "spread"), [("float16", 1), ("bfloat16", 2), ("float32", 2), ("float64", 2)])
def test_wide_numbers_span_orders_of_magnitude(dtype, spread):
    logarithms = np.log(np.abs(wide(drawn(dtype, "wide"))))
    assert abs(logarithms.mean()) < 0.2
    assert logarithms.std() == pytest.approx(spread, rel=0.1)


@pytest.mark.parametrize(("dtype", "large"), [("float16", 8), ("bfloat16", 4), ("float32", 256), ("float64", 2**17)])
def test_cancelling_numbers_are_a_large_one_and_a_normal_one(dtype, large):
    assert values.large(dtype) == large
    rests = np.abs(wide(drawn(dtype, "cancelling"))) - large
    assert abs(rests.mean()) < 0.15
    assert rests.std() == pytest.approx(1, abs=0.1)
    assert (drawn(dtype, "cancelling") > 0).mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("dtype", NAMES)
def test_products_of_ties_lie_halfway_between_two_numbers(dtype):
    assert values.half_of_digits(dtype) == -(-(DIGITS[dtype] + 1) // 2)
    kind = drawn(dtype, "ties").dtype
    pairs = zip(drawn(dtype, "ties", X).ravel(), drawn(dtype, "ties", W).ravel())
    halfway = 0
    for a, b in list(pairs)[:500]:
        assert float(a) % 2 == float(b) % 2 == 1
        product = int(a) * int(b)
        digits = product.bit_length() if product > 0 else (-product).bit_length()
        halfway += digits == DIGITS[dtype] + 1
        if digits == DIGITS[dtype] + 1:
            spacing = 2 ** (digits - DIGITS[dtype])
            below, above = (np.array(float(product + side * spacing // 2), kind) for side in (-1, 1))
            assert Fraction(float(below)) + Fraction(float(above)) == 2 * product
            assert np.nextafter(below, above) == above
    assert halfway > 100


@pytest.mark.parametrize("dtype", NAMES)
def test_the_smallest_numbers_are_normal_and_so_are_their_products_with_the_kernel(dtype):
    tiny, large = float(finfo(dtype).tiny), values.large(dtype)
    kernel = np.abs(wide(drawn(dtype, "smallest", W)))
    assert kernel.min() >= large
    assert kernel.max() <= 2 * large
    assert kernel.std() > 0.2 * large
    for which in (X, DY, BIAS, X_BIAS):
        array = np.abs(wide(drawn(dtype, "smallest", which)))
        assert set((array / np.longdouble(tiny)).ravel()) == {1, 2, 3}
        assert (array * kernel).min() >= tiny


@pytest.mark.parametrize("dtype", NAMES)
def test_subnormal_numbers_are_around_the_smallest_normal_one(dtype):
    tiny = float(finfo(dtype).tiny)
    kernel = wide(drawn(dtype, "subnormal", W))
    assert 0.9 < np.abs(kernel).max() <= 1
    assert kernel.std() == pytest.approx(1 / 3**0.5, rel=0.05)
    for which in (X, DY, BIAS, X_BIAS):
        array = wide(drawn(dtype, "subnormal", which)) / np.longdouble(tiny)
        assert ((np.abs(array) < 1) & (array != 0)).mean() > 0.5
        assert (np.abs(array) > 1).mean() > 0.2
        assert np.abs(array).max() < 6


@pytest.mark.parametrize("dtype", NAMES)
def test_sums_of_the_largest_numbers_overflow_in_either_direction(dtype):
    largest = float(finfo(dtype).max)
    for which in (X, BIAS, X_BIAS):
        shares = np.abs(wide(drawn(dtype, "largest", which))) / np.longdouble(largest)
        assert shares.min() >= 1 / 16
        assert 0.95 < shares.max() <= 1
        assert (shares < 0.25).any()
    for which in (W, DY):
        factors = np.abs(wide(drawn(dtype, "largest", which)))
        assert factors.min() >= 1 / 8
        assert 1.9 < factors.max() <= 2
    assert np.isfinite(wide(drawn(dtype, "largest"))).all()
    sums = (wide(drawn(dtype, "largest", X)) * wide(drawn(dtype, "largest", W))).sum(axis=0)
    assert (sums > largest).any()
    assert (sums < -largest).any()
    assert (np.abs(sums) < largest).any()


# ---- Numbers that are not finite


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_over_many_seeds_each_array_has_nan_and_both_infinities(dtype):
    seen = {which: set() for which in ARRAYS}
    finite = dict.fromkeys(ARRAYS, 0)
    for seed in range(300):
        for which in ARRAYS:
            array = drawn(dtype, "nonfinite", which, seed, (3, 4))
            some = [str(number) for number in array[~np.isfinite(array)]]
            assert len(some) in (0, 2)
            assert not some or "nan" in some
            seen[which] |= set(some)
            finite[which] += not some
    assert all(some == {"nan", "inf", "-inf"} for some in seen.values())
    assert all(100 < n < 290 for n in finite.values())


def test_mostly_one_operand_alone_is_not_finite():
    """The numbers of two would hide each other; and some seeds have two, a factor and a bias among them."""
    together = {}
    for seed in range(400):
        some = tuple(w for w in (X, W, DY, BIAS) if not np.isfinite(drawn("float32", "nonfinite", w, seed, (9,))).all())
        together[some] = together.get(some, 0) + 1
        biases = [np.isfinite(drawn("float32", "nonfinite", w, seed, (9,))).all() for w in (BIAS, X_BIAS)]
        assert biases[0] == biases[1]
    assert set(together) == {(X,), (W,), (DY,), (BIAS,), (X, BIAS), (W, BIAS), (W, DY)}
    assert min(together.values()) > 30


@pytest.mark.parametrize("shape", [(0,), (2, 0), (1,), (3,)])
def test_a_small_array_has_at_most_one_number_that_is_not_finite(shape):
    counts = {np.count_nonzero(~np.isfinite(drawn("float32", "nonfinite", X, seed, shape))) for seed in range(60)}
    assert counts == ({0, 1} if np.prod(shape) else {0})
    assert not any(np.isfinite(drawn("float32", "nonfinite", X, seed, (4,))).sum() == 3 for seed in range(60))


def test_a_quarter_of_the_numbers_beside_them_are_zero():
    array = drawn("float32", "nonfinite", shape=(200, 50))
    assert (array == 0).mean() == pytest.approx(0.25, abs=0.03)
    assert array[np.isfinite(array) & (array != 0)].std() == pytest.approx(1, abs=0.05)


# ---- The same numbers from a script that has no multiconv


@pytest.mark.parametrize("shape", [(401,), (20, 21), (7, 8, 9)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [*VALUES, "largest"])
def test_a_script_draws_the_same_numbers(kind, dtype, shape):
    for which, name in enumerate(script_arrays.SEEDED_AS):
        for seed in (3, 2**32 - 1):
            array = drawn(dtype, kind, which, seed, shape)
            source = script_arrays.array_source(name, array, seed)
            assert "default_rng" in source.source
            scope = {"np": np}
            exec(source.source, scope)
            assert scope[name].dtype == array.dtype
            assert scope[name].tobytes() == array.tobytes()


@pytest.mark.parametrize(("dtype", "kind"), [("float16", "normal"), ("bfloat16", "wide"), ("float32", "nonfinite")])
def test_what_a_script_does_not_draw_it_writes_down(dtype, kind):
    array = drawn(dtype, kind, shape=(401,))
    assert "default_rng" not in script_arrays.array_source("x", array, 0).source
