"""Factors that are NaN or infinite, against loops in Python's floats over small random convolutions."""

from __future__ import annotations

from itertools import product
from math import inf, isfinite, nan

import ml_dtypes
import numpy as np
import pytest

from multiconv.core.errors import ConvError
from multiconv.core.spec import ConvSpec
from multiconv.oracle import nonfinite
from multiconv.oracle.judgement import judge
from multiconv.testing.problem_values import given_values

DIRECTIONS = ("forward", "layer", "convolve", "input gradient", "kernel gradient", "bias gradient", "conv_transpose")
NUMBERS = [nan, inf, -inf, 0.0, -0.0, 1.0, -1.0, 2.0, -3.0]


def random_problem(seed, dtype="float32"):
    """A small convolution, some of whose numbers are not finite."""
    rng = np.random.default_rng(seed)
    while True:
        ndim, groups = int(rng.integers(1, 4)), int(rng.integers(1, 3))
        several = [tuple(rng.integers(1, 4 if ndim < 3 else 3, ndim).tolist()) for _ in range(4)]
        kernel, stride, dilation, size = several
        pads = tuple((int(rng.integers(0, 3)), int(rng.integers(0, 3))) for _ in range(ndim))
        channels, out_channels = (groups * int(rng.integers(1, 3)) for _ in range(2))
        last = {1: "NWC", 2: "NHWC", 3: "NDHWC"}[ndim]
        spec = ConvSpec(stride, pads, dilation, groups, last if rng.random() < 0.3 else None)
        batch = int(rng.integers(1, 3))
        x_shape = (batch, *size, channels) if spec.channels_last else (batch, channels, *size)
        try:
            g = spec.resolve(x_shape, (out_channels, channels // groups, *kernel))
        except ConvError:
            continue
        break
    # Few of them, in one operand or in several, or each sum would be NaN.
    special = [float(rng.choice([0, 0, 0.1, 0.3])) for _ in range(5)]

    def numbers(shape, share):
        ordinary = rng.choice(NUMBERS[5:], shape)
        zero = np.where(rng.random(shape) < 0.2, rng.choice([0.0, -0.0], shape), ordinary)
        kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
        return np.where(rng.random(shape) < share, rng.choice(NUMBERS[:3], shape), zero).astype(kind)

    shapes = (g.x_shape, g.w_shape, g.y_shape, (g.out_channels,), (g.in_channels,))
    x, w, dy, bias, x_bias = (numbers(shape, share) for shape, share in zip(shapes, special))
    biased = rng.random() < 0.5
    return given_values("random", spec, x, w, dy, bias if biased else None, x_bias if biased else None)


def channels_first(problem, name):
    array = getattr(problem, name).astype(float)
    return np.moveaxis(array, -1, 1) if problem.spec.channels_last else array


def meetings(problem, direction):
    """Each product of the definition: the element of the result that it belongs to, and its two factors.

    A factor that meets padding, or no output, comes with None in the place of the first.
    """
    g = problem.geometry
    x, w, dy = channels_first(problem, "x"), problem.w.astype(float), channels_first(problem, "dy")
    in_group, out_group = g.in_channels // g.groups, g.out_channels // g.groups
    for n, o, c, i, j in product(
        range(g.batch), range(g.out_channels), range(in_group), np.ndindex(*g.out), np.ndindex(*g.kernel)
    ):
        taps = [k - 1 - t for k, t in zip(g.kernel, j)] if direction == "convolve" else j
        steps = zip(i, taps, g.stride, g.dilation, g.pads)
        pixel = tuple(a * s + t * d - before for a, t, s, d, (before, _) in steps)
        inside = all(0 <= p < size for p, size in zip(pixel, g.size))
        channel = o // out_group * in_group + c
        if direction in ("forward", "layer", "convolve"):
            yield (n, o, *i), x[(n, channel, *pixel)] if inside else None, w[(o, c, *j)]
        elif direction == "kernel gradient":
            yield (o, c, *j), x[(n, channel, *pixel)] if inside else None, dy[(n, o, *i)]
        elif inside:
            yield (n, channel, *pixel), dy[(n, o, *i)], w[(o, c, *j)]


def brute_force(problem, direction):
    """The sums, and where a factor that is not finite meets nothing."""
    g = problem.geometry
    data = {"input gradient": (g.batch, g.in_channels, *g.size), "kernel gradient": g.w_shape}
    data["conv_transpose"] = data["input gradient"]
    shape = data.get(direction, (g.batch, g.out_channels, *g.out))
    value, on_padding = np.zeros(shape), np.zeros(shape, bool)
    met = dict.fromkeys(np.ndindex(*shape), 0)
    for index, first, second in meetings(problem, direction):
        if first is None:
            on_padding[index] |= not isfinite(second)
        else:
            value[index] += first * second
            met[index] += not isfinite(second)
    if direction in ("input gradient", "conv_transpose"):
        w, in_group, out_group = problem.w.astype(float), g.in_channels // g.groups, g.out_channels // g.groups
        for index in met:
            group, c = divmod(index[1], in_group)
            taps = w[group * out_group : (group + 1) * out_group, c]
            on_padding[index] = np.count_nonzero(~np.isfinite(taps)) > met[index]
    bias = {"conv_transpose": problem.x_bias}.get(direction, problem.bias)
    if bias is not None and not direction.endswith("gradient"):
        value += bias.astype(float).reshape(-1, *[1] * g.ndim)
    last = problem.spec.channels_last and direction != "kernel gradient"
    return tuple(np.moveaxis(a, 1, -1) if last else a for a in (value, on_padding))


@pytest.mark.parametrize("direction", [d for d in DIRECTIONS if d != "bias gradient"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_values_and_padding_are_those_of_a_loop_in_floats(dtype, direction):
    seen = {"nan": 0, "inf": 0, "-inf": 0, "finite": 0, "on padding": 0, "finite or on padding": 0, "free of it": 0}
    for seed in range(40):
        problem = random_problem(seed, dtype)
        expected = problem.expectations([direction])[direction]
        with np.errstate(invalid="ignore"):
            value, on_padding = brute_force(problem, direction)
        np.testing.assert_array_equal(expected.value.astype(float), value)
        if expected.leave is None or expected.leave.overflow:  # at most a bias is not finite
            operands = {"forward": "xw", "layer": "xw", "convolve": "xw", "kernel gradient": "xd"}.get(direction, "wd")
            names = {"x": "x", "w": "w", "d": "dy"}
            assert all(np.isfinite(getattr(problem, names[letter])).all() for letter in operands)
            assert not on_padding.any()
            if expected.leave is not None:
                for allowed, infinity in ((expected.leave.plus, inf), (expected.leave.minus, -inf)):
                    assert not (allowed & (expected.value != infinity)).any()
                assert not expected.leave.nan.any()
            seen["free of it"] += 1
        else:
            np.testing.assert_array_equal(np.broadcast_to(expected.leave.nan, value.shape), on_padding)
            assert not expected.leave.plus.any()
            assert not expected.leave.minus.any()
        for name in ("nan", "inf", "-inf"):
            seen[name] += np.count_nonzero([str(number) == name for number in value.flat])
        seen["finite"] += np.count_nonzero(np.isfinite(value))
        seen["on padding"] += np.count_nonzero(on_padding)
        seen["finite or on padding"] += np.count_nonzero(np.isfinite(value) & on_padding)
    assert min(seen.values()) > 3


def test_the_gradient_of_the_bias_is_a_sum_of_the_cotangent_alone():
    for seed in range(40):
        problem = random_problem(seed)
        if problem.bias is None:
            continue
        dy = channels_first(problem, "dy")
        expected = problem.expectations(["bias gradient"])["bias gradient"]
        with np.errstate(invalid="ignore"):
            right = dy.sum(axis=(0, *range(2, dy.ndim)))
        np.testing.assert_array_equal(expected.value, right)
        assert expected.leave is None or expected.leave.overflow


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_judging_takes_the_right_answer_and_nan_on_the_padding_and_nothing_else(direction):
    taken = refused = 0
    for seed in range(40):
        problem = random_problem(seed)
        expected = problem.expectations([direction]).get(direction)
        if expected is None:
            continue
        right = expected.value.astype("float32")
        assert judge(right, expected).fault is None
        leave = np.zeros(right.shape, bool)
        factors_are_not = expected.leave is not None and not expected.leave.overflow  # finite
        if factors_are_not:
            leave = np.broadcast_to(expected.leave.nan, right.shape)
        for index in list(np.ndindex(right.shape))[:12]:
            for other in (nan, inf, -inf, 1.0):
                answer = right.copy()
                answer[index] = other
                same = np.array_equal(answer, right, equal_nan=True)
                may = same or (other != other and leave[index])
                judgement = judge(answer, expected)
                assert (judgement.fault is None) == may
                assert not judgement.overflowed
                taken, refused = taken + (may and not same), refused + (not may)
                # A framework that multiplies zeros may make NaN of any sum with a factor that is not finite.
                loosely = judge(answer, expected, multiplies_zeros=True)
                assert (loosely.fault is None) == (may or (other != other and factors_are_not))
    assert refused > 100
    assert taken > 10 or direction == "bias gradient"


def test_a_number_is_refused_where_nan_or_infinity_is_right_even_with_zeros_multiplied():
    problem = given_values("nan", ConvSpec(), np.float32([[[nan, 1, inf]]]), np.float32([[[1]]]))
    expected = problem.expectations(["forward"])["forward"]
    assert judge(np.float32([[[nan, 1, inf]]]), expected).fault is None
    for wrong in ([5, 1, inf], [nan, 1, 5], [nan, 1, -inf], [nan, 2, inf]):
        assert judge(np.float32([[wrong]]), expected).fault is not None
        assert judge(np.float32([[wrong]]), expected, multiplies_zeros=True).fault is not None


def test_a_number_beside_nan_on_the_padding_may_be_rounded_and_no_more():
    x, w = np.float32([[[0.1, 0.7, 0.4]]]), np.float32([[[np.nan, 0.3, 0.9]]])
    problem = given_values("nan", ConvSpec(padding=1), x, w)
    expected = problem.expectations(["forward"])["forward"]
    right = expected.value.astype("float32")
    assert np.isfinite(right).ravel().tolist() == [True, False, False]
    assert judge(right, expected).fault is None
    beside = np.nextafter(right, np.float32(2))
    assert judge(beside, expected).fault is None
    for wrong in (right * np.float32(1.001), right * 0):
        assert judge(np.where(np.isnan(right), right, wrong), expected).symptom == "values"


# ---- Sums alone


@pytest.mark.parametrize("left", NUMBERS)
@pytest.mark.parametrize("right", NUMBERS)
def test_sums_of_two_products_are_those_of_floats(left, right):
    """Each number times each, added to each other product."""
    others = [inf, -inf, 5.0, 0.0]
    x, w = np.array([left, *[left] * len(others)]), np.array([right] + [right] * len(others))
    of = lambda a, b: a * b  # noqa: E731
    got = nonfinite.sums(of, x, w, lambda b: b)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(got.value, x * w)
    assert not got.on_padding.any()
    for other in others:
        first, second = np.array([left, other]), np.array([right, 1.0])
        got = nonfinite.sums(lambda a, b: np.asarray(a @ b), first, second, lambda b: b.sum())
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(got.value, np.float64(left) * right + other)
        assert got.value.dtype == "float64"


def test_the_taps_on_the_padding_are_told_from_those_that_are_not():
    of = lambda a, b: np.array([a[0] * b[0], a[0] * b[0] + a[1] * b[1]])  # noqa: E731
    for right, on_padding in (([1, nan], [True, False]), ([1, -inf], [True, False]), ([inf, 1], [False, False])):
        got = nonfinite.sums(of, np.array([1.0, 2.0]), np.array(right), lambda b: b.sum())
        assert got.on_padding.tolist() == on_padding
    got = nonfinite.sums(of, np.array([nan, 2.0]), np.array([1.0, 1.0]), lambda b: b.sum())
    assert got.on_padding.tolist() == [False, False]
    assert got.on_padding.shape == got.value.shape


def test_a_sum_that_overflows_on_its_own_is_no_infinity_of_a_factor():
    """What of returns for finite numbers is the value where nothing else says otherwise."""
    with np.errstate(over="ignore"):
        got = nonfinite.sums(lambda a, b: a * b, np.array([1e308, nan]), np.array([1e308, 1.0]), lambda b: b)
    assert got.value[0] == inf
