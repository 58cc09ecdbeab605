"""The statistics of errors: what they count, and that they are those of the errors."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from multiconv import backend
from multiconv.core.spec import ConvSpec
from multiconv.oracle import definition
from multiconv.oracle.accuracy import LEAST_PRODUCTS, Accuracy, Errors, Sums, spacing
from multiconv.oracle.definition import product_counts
from multiconv.oracle.problem import DIRECTIONS, Problem
from multiconv.testing.drawing import draw_problems
from multiconv.testing.problem_values import with_values

PROBLEMS = draw_problems(60, seed=4)


# ---- The number of products


@pytest.mark.parametrize("direction", [d for d in DIRECTIONS if d != "layer"])
def test_products_are_counted_as_the_sum_of_ones_that_the_definition_gives(direction: str) -> None:
    for problem in PROBLEMS:
        g, t = problem.geometry, problem.transposed
        x, w, dy = (
            np.ones(shape)
            for shape in (
                (g.batch, g.in_channels, *g.size), g.w_shape, (g.batch, g.out_channels, *g.out),
            )
        )  # fmt: skip
        right = {
            "forward": lambda x=x, w=w, g=g: definition.cross_correlate(x, w, None, g),
            "convolve": lambda x=x, w=w, g=g: definition.convolve(x, w, None, g),
            "input gradient": lambda dy=dy, w=w, g=g: definition.input_gradient(dy, w, g),
            "kernel gradient": lambda x=x, dy=dy, g=g: definition.kernel_gradient(x, dy, g),
            "bias gradient": lambda dy=dy: definition.bias_gradient(dy),
            "conv_transpose": lambda dy=dy, w=w, t=t: definition.conv_transpose(dy, w, None, t),
        }[direction]()
        counts = product_counts(direction, t if direction == "conv_transpose" else g)
        assert np.array_equal(np.broadcast_to(counts, right.shape), right)


def test_a_layer_counts_as_the_forward_direction() -> None:
    g = ConvSpec(2, 1, 2).resolve((2, 3, 9, 8), (4, 3, 3, 2))
    assert np.array_equal(product_counts("layer", g), product_counts("forward", g))


# ---- Statistics of errors


def test_quantiles_are_exact_to_half_a_bin() -> None:
    numbers = np.exp(np.random.default_rng(0).normal(0, 3, 10_001))
    errors = Errors()
    for part in np.split(numbers, [10, 4000, 4001]):
        errors.add(part)
    assert errors.count == numbers.size
    assert errors.largest == numbers.max()
    assert errors.root_mean_square == pytest.approx(np.sqrt(np.mean(numbers**2)), rel=1e-12)
    for share in (0.01, 0.5, 0.9, 0.99):
        assert errors.quantile(share) == pytest.approx(np.quantile(numbers, share, method="inverted_cdf"), rel=0.0111)


def test_errors_of_zero_count() -> None:
    errors = Errors()
    errors.add(np.array([0.0] * 6 + [8.0] * 4))
    assert (errors.count, errors.quantile(0.5), errors.quantile(0.6), errors.largest) == (10, 0.0, 0.0, 8.0)
    assert errors.quantile(0.61) == pytest.approx(8.0, rel=0.0111)
    assert errors.quantile(1.0) <= 8.0
    assert errors.root_mean_square == pytest.approx(np.sqrt(4 * 64 / 10))
    nothing = Errors()
    assert (nothing.quantile(0.5), nothing.root_mean_square, nothing.largest) == (0.0, 0.0, 0.0)


def test_errors_beyond_the_bins_are_in_the_outermost_ones() -> None:
    errors = Errors()
    errors.add(np.array([1e-30, 1e30]))
    assert errors.count == errors.bins.sum() == 2
    assert errors.bins[0] == errors.bins[-1] == 1
    assert errors.largest == 1e30


def test_merged_statistics_are_those_of_all_errors() -> None:
    numbers = np.random.default_rng(1).exponential(1, 100) * (np.arange(100) % 3 > 0)
    whole, first, second = Errors(), Errors(), Errors()
    whole.add(numbers)
    first.add(numbers[:30])
    second.add(numbers[30:])
    first.merge(second)
    assert (first.count, first.zeros, first.largest) == (whole.count, whole.zeros, whole.largest)
    assert first.squares == pytest.approx(whole.squares, rel=1e-12)
    assert np.array_equal(first.bins, whole.bins)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_spacing_is_the_distance_to_the_next_number_of_the_dtype(dtype: str) -> None:
    rng = np.random.default_rng(2)
    numbers = np.concatenate([rng.normal(0, 1, 50), 2.0 ** np.arange(-12, 12), [0.0, 1e-300]]).astype(dtype)
    if dtype == "bfloat16":
        right = np.float64(np.nextafter(np.abs(numbers), np.array(np.inf, ml_dtypes.bfloat16))) - np.abs(
            np.float64(numbers)
        )
    else:
        right = np.spacing(np.abs(numbers)).astype("float64")
    normal = np.abs(numbers.astype("float64")) >= float(ml_dtypes.finfo(dtype).tiny)
    got = spacing(np.where(np.arange(numbers.size) % 2, -1, 1) * numbers.astype("float64"), dtype)
    assert np.array_equal(got[normal], right[normal])
    assert set(got[~normal]) <= {float(ml_dtypes.finfo(dtype).smallest_subnormal)}


# ---- The accuracy of answers


def problem(n: int, dtype: str = "float32", values: str = "normal", seed: int = 0, **options: object) -> Problem:
    spec = ConvSpec(**options)  # type: ignore[arg-type]
    g = spec.resolve((2, n, 6), (3, n // spec.groups, 2))
    return with_values("mine", spec, g, dtype, bias=False, values=values, seed=seed)


def test_an_error_is_measured_in_both_units() -> None:
    """Against fractions, of a result whose errors are put in by hand."""
    p = problem(12)
    expected = p.expectations(["forward"])["forward"]
    assert expected.sums is not None
    answer = (
        expected.value * (1 + np.linspace(-3e-6, 3e-6, expected.value.size).reshape(expected.value.shape))
    ).astype("float32")
    accuracy = Accuracy()
    accuracy.add("forward", answer, expected.value, expected.sums(), expected.bound)
    of_magnitude, ulps = [], []
    for n, o, i in np.ndindex(answer.shape):
        products = [
            Fraction(float(p.x[n, c, i + j])) * Fraction(float(p.w[o, c, j])) for c in range(12) for j in range(2)
        ]
        error = abs(Fraction(float(answer[n, o, i])) - sum(products))
        of_magnitude.append(float(error / sum(map(abs, products)) * 2**24))
        ulps.append(float(error) / np.spacing(np.float32(abs(float(sum(products))))))
    (row, total) = accuracy.rows()
    assert (row.direction, row.dtype, row.products_from, row.products_to, row.sums) == (
        "forward",
        "float32",
        16,
        31,
        30,
    )
    assert replace(row, products_to=0) == total
    assert row.largest == pytest.approx(max(of_magnitude), rel=1e-6)
    assert row.largest_ulps == pytest.approx(max(ulps), rel=1e-6)
    assert row.root_mean_square == pytest.approx(np.sqrt(np.mean(np.square(of_magnitude))), rel=1e-6)
    assert row.median == pytest.approx(sorted(of_magnitude)[14], rel=0.0112)
    assert row.median_ulps == pytest.approx(sorted(ulps)[14], rel=0.0112)
    assert row.percentile_99 == pytest.approx(max(of_magnitude), rel=0.0112)
    assert row.percentile_99_ulps == pytest.approx(max(ulps), rel=0.0112)
    shares = np.abs(answer - expected.value) / expected.bound
    assert accuracy.share_of_bound == shares.max()


def test_short_sums_underflow_and_infinities_are_left_out() -> None:
    accuracy = Accuracy()
    sums = Sums(np.full((1, 6), 10.0), np.array([[15, 16, 31, 32, 40, 50]]), np.array([[1, 1, 1, 1, 0, 1]], bool))
    answer = np.float32([[9, 1, 1, 1, 9, np.inf]])
    accuracy.add("forward", answer, np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]), sums, np.full((1, 6), 8.0))
    assert [(r.products_from, r.products_to, r.sums) for r in accuracy.rows()] == [(16, 31, 2), (32, 63, 1), (16, 0, 3)]
    assert accuracy.share_of_bound == 3 / 8
    nothing = Accuracy()
    nothing.add(
        "forward", answer[:, :1], np.ones((1, 1)), Sums(np.ones((1, 1)), np.array([[15]]), np.ones((1, 1), bool))
    )
    assert nothing.rows() == []
    assert nothing.share_of_bound == 0


def test_rows_are_by_direction_dtype_and_length_with_the_totals_last() -> None:
    accuracy = Accuracy()
    one = np.ones(1)
    for direction in ("forward", "convolve"):
        for dtype in ("float64", "float32"):
            for n in (100, 20):
                accuracy.add(direction, one.astype(dtype), one, Sums(one, np.array([n]), np.ones(1, bool)))
    keys = [(r.direction, r.dtype, r.products_from, r.products_to) for r in accuracy.rows()]
    assert keys[:8] == sorted(keys[:8])
    assert keys[8:] == [(d, t, 16, 0) for d in ("convolve", "forward") for t in ("float32", "float64")]
    assert {k[2:] for k in keys[:8]} == {(16, 31), (64, 127)}


@pytest.mark.parametrize("values", ["integers", "wide", "subnormal", "nonfinite"])
def test_only_problems_of_normally_distributed_numbers_are_measured(values: str) -> None:
    assert all(e.sums is None for e in problem(12, values=values).expectations().values())


@pytest.mark.parametrize("layout", [None, "NWC"])
def test_sums_are_in_the_layout_of_the_result(layout: str | None) -> None:
    spec = ConvSpec(padding=((3, 0),), layout=layout)
    shape = (2, 5, 9) if layout is None else (2, 9, 5)
    p = with_values("mine", spec, spec.resolve(shape, (4, 5, 4)), "float32", bias=True, values="normal", seed=0)
    for direction, expected in p.expectations().items():
        assert expected.sums is not None
        sums = expected.sums()
        assert sums.magnitude.shape == sums.counted.shape == expected.value.shape
        assert np.broadcast_shapes(sums.products.shape, expected.value.shape) == expected.value.shape
        if direction == "forward":
            along = sums.products.reshape(-1, 9)[0] if layout is None else sums.products[0, :, 0]
            assert list(along) == [5, 10, 15, 20, 20, 20, 20, 20, 20]
        assert sums.counted.all()
        assert sums is expected.sums()


def test_a_sum_in_a_narrow_format_is_seen() -> None:
    """A product of matrices in float32, and one whose operands have 11 bits, as TF32 has."""
    p = problem(64)
    numpy = backend("numpy")
    expected = p.expectations(["forward"])["forward"]
    assert expected.sums is not None
    found = {}
    for name, scale in (("float32", 0.0), ("tf32", 2.0**13 + 1)):

        def rounded(a: np.ndarray, scale: float = scale) -> np.ndarray:
            big = a * np.float32(scale)
            return a if not scale else big - (big - a)

        accuracy = Accuracy()
        accuracy.add("forward", numpy.cross_correlate(rounded(p.x), rounded(p.w)), expected.value, expected.sums())
        found[name] = accuracy.rows()[-1].root_mean_square
    assert 0.1 < found["float32"] < 0.7
    assert found["tf32"] > 100 * found["float32"]


def test_the_shortest_sums_counted_have_sixteen_products() -> None:
    assert LEAST_PRODUCTS == 16
