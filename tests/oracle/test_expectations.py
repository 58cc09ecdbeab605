"""The expected result of a direction: when it is exact, how large its bound is, and what counts as rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from multiconv.core import bounds
from multiconv.core.spec import ConvSpec
from multiconv.oracle import fast_bounds
from multiconv.oracle.expectations import Oracle
from multiconv.oracle.problem import Problem
from multiconv.testing.problem_values import given_values

TINY = float(np.finfo("float32").tiny)


def one_tap(x: list[float], w: float = 1.0, bias: float | None = None, dtype: str = "float32") -> Problem:
    """Multiply each pixel by `w`."""
    b = None if bias is None else np.array([bias], dtype)
    given = given_values("mine", ConvSpec(), np.array([[x]], dtype), np.array([[[w]]], dtype), bias=b, x_bias=b)
    return replace(given, values="given")


@pytest.mark.parametrize(("bias", "terms"), [(None, 1), (0.25, 2)])
def test_a_bias_is_one_term_more(bias: float | None, terms: int) -> None:
    expected = Oracle(one_tap([3.5], 0.5, bias), "direct").expected("forward")
    magnitude = np.array(1.75 + (bias or 0))
    assert expected.value.item() == magnitude
    assert expected.bound.item() == bounds.componentwise(magnitude, terms, "float32", if_finite=True)


def test_a_gradient_has_no_term_for_the_bias() -> None:
    with_bias, without = (Oracle(one_tap([3.5], 0.5, bias), "direct") for bias in (0.25, None))
    for direction in ("input gradient", "kernel gradient"):
        assert with_bias.expected(direction).bound.item() == without.expected(direction).bound.item()


def test_what_is_lost_with_a_subnormal_factor_is_allowed_where_it_is_a_factor_only() -> None:
    flushed, normal = Oracle(one_tap([TINY / 2, 1.5], 1.25), "direct").expected("forward").bound.ravel()
    without = Oracle(one_tap([TINY, 1.5], 1.25), "direct").expected("forward").bound.ravel()
    assert normal == without[1]
    assert 0.5 < (flushed - without[0]) / (TINY / 2 * 1.25) < 1.5


def test_the_smallest_normal_number_is_not_flushed() -> None:
    oracle = Oracle(one_tap([TINY]), "direct")
    assert oracle.normal_sizes is oracle.sizes
    oracle = Oracle(one_tap([np.nextafter(np.float32(TINY), np.float32(0))]), "direct")
    assert oracle.normal_sizes["x"].item() == 0


def integers(x: list[float], bias: float | None = None, x_bias: float | None = None) -> Oracle:
    """The oracle of one tap of 1 in float16, which holds each integer up to 2048. A bias counts, absent or not."""
    problem = one_tap(x, dtype="float16")
    if bias is not None and x_bias is not None:
        problem = replace(problem, bias=np.float16([bias]), x_bias=np.float16([x_bias]))
    return Oracle(replace(problem, values="integers"), "direct")


@pytest.mark.parametrize(
    ("oracle", "direction", "exact"),
    [
        (integers([2047]), "forward", True),
        (integers([2048]), "forward", False),
        (integers([1000], bias=48, x_bias=2000), "forward", True),
        (integers([1000], bias=49, x_bias=0), "forward", False),
        (integers([1], bias=2048, x_bias=0), "conv_transpose", True),
        (integers([1], bias=0, x_bias=2048), "conv_transpose", False),
    ],
)
def test_integers_are_exact_while_every_partial_sum_fits(oracle: Oracle, direction: str, exact: bool) -> None:
    assert bool(oracle.expected(direction).bound.any()) != exact


def test_a_sum_of_ones_is_exact_while_the_format_counts_them() -> None:
    def ones(count: int) -> Oracle:
        x = np.ones((1, count, 1), "float16")
        return Oracle(given_values("mine", ConvSpec(), x, x), "direct")

    assert not ones(2047).expected("forward").bound.any()
    assert ones(2048).expected("forward").bound.any()


def rounding_of(x: np.ndarray, w: np.ndarray) -> float:
    problem = replace(given_values("mine", ConvSpec(), x, w), values="given")
    rounding = Oracle(problem, "direct").expected("forward").rounding
    assert rounding is not None
    return rounding().variety()


def test_the_variety_of_sums_is_the_share_of_different_ones() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 1, 10, 10)).astype("f"), rng.standard_normal((1, 1, 3, 3)).astype("f")
    assert rounding_of(x, w) == 1
    assert rounding_of(np.concatenate([x, x]), w) == 0.5
    assert rounding_of(x, np.ones_like(w)) == 1  # the operands differ enough, as one of them does
    assert rounding_of(np.ones_like(x), w) < 1  # nine equal pixels and nine weights: one sum
    assert rounding_of(np.ones_like(x), np.ones_like(w)) == 0


def test_the_bound_of_a_fast_transposed_convolution_is_that_of_its_own_size() -> None:
    """With "same" padding, the transposed convolution of 1 output with stride 3 has 3 pixels, not the input's 2."""
    spec = ConvSpec(stride=3, padding="same")
    problem = replace(given_values("mine", spec, np.ones((1, 1, 2), "f"), np.ones((1, 1, 1), "f")), values="given")
    constant, other = (
        fast_bounds.normwise_constant(g, "conv_transpose", "fft", "float32")
        for g in (problem.transposed, problem.geometry)
    )
    assert constant > 2 * other
    wide = [a.astype("float64") for a in (problem.x, problem.w, problem.dy)]
    allowed = bounds.normwise("conv_transpose", *wide[:2], None, wide[2], problem.transposed, constant, "float32")
    bound = Oracle(problem, "fft").expected("conv_transpose").bound
    assert bound.max() == allowed.max()


def test_the_bias_gradient_is_exact_by_its_cotangent_alone() -> None:
    x, w, dy = np.full((1, 1, 4), 2000, "float16"), np.ones((1, 1, 1), "float16"), np.ones((1, 1, 4), "float16")
    problem = given_values("mine", ConvSpec(), x, w, dy, np.ones(1, "float16"), np.ones(1, "float16"))
    oracle = Oracle(replace(problem, values="integers"), "direct")
    assert not oracle.expected("bias gradient").bound.any()
    assert oracle.expected("kernel gradient").bound.any()


@pytest.mark.parametrize("algorithm", ["direct", "fft"])
def test_where_nan_lies_on_padding_nan_may_be_the_answer_by_any_algorithm(algorithm: str) -> None:
    x, w = np.ones((1, 1, 2), "float32"), np.float32([[[np.nan, 1, 1]]])
    problem = replace(given_values("mine", ConvSpec(padding=((1, 1),)), x, w), values="given")
    leave = Oracle(problem, algorithm).expected("forward").leave
    assert leave is not None
    assert leave.nan.ravel().tolist() == [True, False]
