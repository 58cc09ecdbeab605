"""Problems of given arrays, and of values drawn from a seed."""

from __future__ import annotations

import numpy as np
import pytest

from multiconv.core.spec import ConvSpec
from multiconv.oracle.values import seeded
from multiconv.testing.problem_values import given_values, identity, with_values

SPEC = ConvSpec(stride=2, groups=2)
X, W = np.ones((2, 4, 5), "float32"), np.ones((6, 2, 2), "float32")
DY_SHAPE, BIAS, X_BIAS = (2, 6, 2), np.arange(6, dtype="float32"), np.arange(4, dtype="float32")


def test_a_missing_cotangent_is_made_of_small_integers_that_differ_from_their_neighbours() -> None:
    dy = given_values("mine", SPEC, X, W).dy
    assert dy.shape == DY_SHAPE
    assert dy.dtype == "float32"
    assert dy.ravel()[:7].tolist() == [1, 2, -1, 3, -2, 1, 2]


def test_a_bias_comes_with_one_of_the_transposed_result() -> None:
    x_bias = given_values("mine", SPEC, X, W, bias=BIAS).x_bias
    assert x_bias is not None
    assert x_bias.tolist() == [1, 2, -1, 3]
    without = given_values("mine", SPEC, X, W)
    assert without.bias is None
    assert without.x_bias is None


def test_what_is_given_is_kept() -> None:
    dy = np.full(DY_SHAPE, 7, "float32")
    problem = given_values("mine", SPEC, X, W, dy, BIAS, X_BIAS, seed=3)
    assert (problem.source, problem.spec, problem.seed) == ("mine", SPEC, 3)
    for kept, given in (
        (problem.x, X),
        (problem.w, W),
        (problem.dy, dy),
        (problem.bias, BIAS),
        (problem.x_bias, X_BIAS),
    ):
        assert kept is not None
        assert np.array_equal(kept, given)
    assert given_values("mine", SPEC, X, W).seed is None


@pytest.mark.parametrize(
    ("number", "kind"), [(64, "integers"), (-64, "integers"), (65, "given"), (-65, "given"), (0.5, "given")]
)
@pytest.mark.parametrize("name", ["x", "w", "dy", "bias", "x_bias"])
def test_values_are_integers_if_all_are_small_and_whole(number: float, kind: str, name: str) -> None:
    arrays = {"x": X, "w": W, "dy": np.zeros(DY_SHAPE, "float32"), "bias": BIAS, "x_bias": X_BIAS}
    arrays[name] = arrays[name].copy()
    arrays[name].flat[-1] = number
    assert given_values("mine", SPEC, **arrays).values == kind


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_the_identity_is_six_pixels_and_one_tap(dtype: str) -> None:
    problem = identity(dtype)
    assert problem.x.astype(float).tolist() == [[[[1, 2, 3], [4, 5, 6]]]]
    assert problem.w.astype(float).tolist() == [[[[1]]]]
    assert problem.dtype == problem.w.dtype.name == dtype
    assert problem.expectations()["forward"].value.tolist() == problem.x.astype(float).tolist()


@pytest.mark.parametrize("bias", [False, True])
def test_each_array_has_values_of_its_own_from_the_seed(bias: bool) -> None:
    g = SPEC.resolve(X.shape, W.shape)
    problem = with_values("mine", SPEC, g, "float64", bias=bias, values="normal", seed=5, arrangement="Fortran")
    assert (problem.source, problem.values, problem.seed, problem.arrangement) == ("mine", "normal", 5, "Fortran")
    shapes = (g.x_shape, g.w_shape, g.y_shape, (g.out_channels,), (g.in_channels,))
    drawn = [seeded(shape, "float64", "normal", 5, number) for number, shape in enumerate(shapes)]
    arrays = (problem.x, problem.w, problem.dy, problem.bias, problem.x_bias)
    for array, values in zip(arrays[: 5 if bias else 3], drawn):
        assert array is not None
        assert np.array_equal(array, values)
    assert (problem.bias is not None) == (problem.x_bias is not None) == bias
    assert not np.array_equal(problem.x.ravel()[:20], problem.dy.ravel()[:20])
