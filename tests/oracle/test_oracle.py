"""The oracle against loops in plain Python, in exact arithmetic, written down from the definition."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import defaultdict
from fractions import Fraction
from itertools import product
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from multiconv import oracle
from multiconv.core import bounds, geometry
from multiconv.core.errors import ConvError
from multiconv.core.spec import ConvSpec
from multiconv.oracle import definition, exact
from multiconv.oracle.values import seeded
from multiconv.testing.strategies import specs

MOST_PRODUCTS = 20_000


def terms(g):
    """The definition: which element of the output has which of the input times which of the kernel in its sum.

    Each tap j of the kernel, applied for output i, lies on pixel i * stride + j * dilation of the padded input.
    """
    out_per_group, in_per_group = g.out_channels // g.groups, g.in_channels // g.groups
    for n, o, c in product(range(g.batch), range(g.out_channels), range(in_per_group)):
        channel = o // out_per_group * in_per_group + c
        for i in product(*map(range, g.out)):
            for j in product(*map(range, g.kernel)):
                pixel = [a * s + b * d - pad[0] for a, b, s, d, pad in zip(i, j, g.stride, g.dilation, g.pads)]
                if all(0 <= p < size for p, size in zip(pixel, g.size)):
                    yield (n, o, *i), (n, channel, *pixel), (o, c, *j)


def table(array, number=int):
    """An array as a dictionary of exact numbers."""
    return {index: number(float(value)) for index, value in np.ndenumerate(array)}


def cross_correlate(x, w, bias, g):
    y = defaultdict(
        int, {index: bias[index[1],] if bias else 0 for index in np.ndindex(g.batch, g.out_channels, *g.out)}
    )
    for at_y, at_x, at_w in terms(g):
        y[at_y] += x[at_x] * w[at_w]
    return y


def convolve(x, w, bias, g):
    backwards = {(o, c, *(k - 1 - b for k, b in zip(g.kernel, j))): value for (o, c, *j), value in w.items()}
    return cross_correlate(x, backwards, bias, g)


def input_gradient(dy, w, g):
    dx = defaultdict(int)
    for at_y, at_x, at_w in terms(g):
        dx[at_x] += dy[at_y] * w[at_w]
    return dx


def kernel_gradient(x, dy, g):
    dw = defaultdict(int)
    for at_y, at_x, at_w in terms(g):
        dw[at_w] += dy[at_y] * x[at_x]
    return dw


def bias_gradient(dy):
    dbias = defaultdict(int)
    for (_, o, *_), value in dy.items():
        dbias[o,] += value
    return dbias


def conv_transpose(y, w, bias, g):
    """Each pixel of y paints the kernel, as often as large as it is, into a canvas that is then cut to size."""
    canvas = defaultdict(int)
    out_per_group, in_per_group = g.out_channels // g.groups, g.in_channels // g.groups
    for (n, o, *i), value in y.items():
        for c in range(in_per_group):
            for j in product(*map(range, g.kernel)):
                at = [a * s + b * d for a, b, s, d in zip(i, j, g.stride, g.dilation)]
                canvas[(n, o // out_per_group * in_per_group + c, *at)] += value * w[(o, c, *j)]
    shape = (g.batch, g.in_channels, *g.size)
    befores = [before for before, _ in g.pads]
    return {
        (n, c, *p): canvas[(n, c, *(a + before for a, before in zip(p, befores)))] + (bias[c,] if bias else 0)
        for n, c, *p in np.ndindex(shape)
    }


@st.composite
def small(draw, most=MOST_PRODUCTS):
    """Options and geometries, channels first, with few enough products for plain Python."""
    spec, x_shape, w_shape = draw(specs())
    first = ConvSpec(spec.stride, spec.padding, spec.dilation, spec.groups)
    size = x_shape[1:-1] if spec.channels_last else x_shape[2:]
    size = tuple(draw(st.integers(max(n - 6, least(first, w_shape, axis)), n)) for axis, n in enumerate(size))
    g = first.resolve((min(x_shape[0], 2), w_shape[1] * spec.groups, *size), w_shape)
    assume(g.batch * g.products <= most)
    return first, g


def least(spec, w_shape, axis):
    """The smallest size along one axis that the kernel fits in."""
    for n in range(1, 100):
        size = [50] * (len(w_shape) - 2)
        size[axis] = n
        try:
            spec.resolve((1, w_shape[1] * spec.groups, *size), w_shape)
        except ConvError:
            continue
        return n
    raise AssertionError


def values(shape, seed, which, kind="integers"):
    return seeded(shape, "float32", kind, seed, which)


def assert_is(result, naive, shape):
    """To the bit."""
    assert result.shape == shape
    for index in np.ndindex(shape):
        assert result[index] == naive[index]


# ---- Integers, to the bit

EVERY_SEED = st.integers(0, 2**32 - 1)


@given(small(), EVERY_SEED, st.booleans())
def test_cross_correlation_and_convolution_are_the_definitions(drawn, seed, biased):
    _, g = drawn
    x, w, b = values(g.x_shape, seed, 0), values(g.w_shape, seed, 1), values((g.out_channels,), seed, 2)
    bias = b if biased else None
    for ours, naive in ((oracle.cross_correlate, cross_correlate), (oracle.convolve, convolve)):
        right = naive(table(x), table(w), table(b) if biased else None, g)
        assert_is(ours(x.astype("float64"), w.astype("float64"), bias, g), right, g.y_shape)


@given(small(), EVERY_SEED)
def test_the_gradients_are_those_of_the_definition(drawn, seed):
    _, g = drawn
    x, w, dy = (values(shape, seed, i).astype("float64") for i, shape in enumerate((g.x_shape, g.w_shape, g.y_shape)))
    assert_is(oracle.input_gradient(dy, w, g), input_gradient(table(dy), table(w), g), g.x_shape)
    assert_is(oracle.kernel_gradient(x, dy, g), kernel_gradient(table(x), table(dy), g), g.w_shape)
    assert_is(oracle.bias_gradient(dy), bias_gradient(table(dy)), (g.out_channels,))


@given(small(), EVERY_SEED, st.booleans(), st.data())
def test_transposed_convolution_is_the_definition(drawn, seed, biased, data):
    spec, forward = drawn
    stride, _ = spec.each(forward.ndim)
    extra = tuple(0 if "same" in str(spec.padding) else data.draw(st.integers(0, s - 1)) for s in stride)
    try:
        g = spec.resolve_transpose(forward.y_shape, forward.w_shape, extra)
    except ConvError:
        assume(False)
    y, w, b = values(g.y_shape, seed, 0), values(g.w_shape, seed, 1), values((g.in_channels,), seed, 2)
    right = conv_transpose(table(y), table(w), table(b) if biased else None, g)
    assert_is(oracle.conv_transpose(y.astype("float64"), w, b if biased else None, g), right, g.x_shape)


# ---- Reals, within the oracle's own rounding


@given(
    small(most=2000),
    EVERY_SEED,
    st.sampled_from(["float16", "bfloat16", "float32", "float64"]),
    st.sampled_from(["normal", "wide", "cancelling", "subnormal"]),
    st.sampled_from([np.longdouble, np.float64]),
)
def test_the_oracle_lies_within_its_own_error_of_the_exact_sum(drawn, seed, dtype, kind, longdouble):
    """In every direction, and where longdouble is no wider than float64."""
    _, g = drawn
    shapes = (g.x_shape, g.w_shape, g.y_shape, (g.out_channels,), (g.in_channels,))
    arrays = [seeded(shape, dtype, kind, seed, i) for i, shape in enumerate(shapes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(definition.np, "longdouble", longdouble)
        wide = [oracle.widen(array) for array in arrays]
    assert wide[0].dtype == (longdouble if dtype == "float64" else np.float64)
    u = Fraction(bounds.unit_roundoff(wide[0].dtype))
    smallest = Fraction(*np.finfo(wide[0].dtype).smallest_subnormal.as_integer_ratio())
    for direction in ("forward", "convolve", "conv_transpose", "input gradient", "kernel gradient", "bias gradient"):
        results = exact.by_definition(direction, *operands(direction, wide), g)
        right = exact.sums(direction, *operands(direction, arrays), g)
        magnitudes = exact.sums(direction, *operands(direction, [np.abs(a) for a in arrays]), g)
        n = oracle.contraction(direction, g, bias="gradient" not in direction)
        gamma = n * u / (1 - n * u)
        for result, total, magnitude in zip(results.flat, right.integers.flat, magnitudes.integers.flat):
            allowed = gamma * magnitude * Fraction(2) ** magnitudes.exponent + n * smallest
            error = Fraction(*result.as_integer_ratio()) - total * Fraction(2) ** right.exponent
            assert abs(error) <= allowed


def operands(direction, arrays):
    x, w, dy, b, x_b = arrays
    return x, w, x_b if direction == "conv_transpose" else b, dy


@given(small(most=2000), st.booleans())
def test_no_sum_has_more_terms_than_contraction_says(drawn, biased):
    _, g = drawn
    counts = {"forward": defaultdict(int), "input gradient": defaultdict(int), "kernel gradient": defaultdict(int)}
    for places in terms(g):
        for count, place in zip(counts.values(), places):
            count[place] += 1
    for direction, count in counts.items():
        assert max(count.values(), default=0) <= oracle.contraction(direction, g)
    assert oracle.contraction("bias gradient", g) == g.batch * np.prod(g.out)
    for direction in ("forward", "convolve", "layer", "conv_transpose"):
        assert oracle.contraction(direction, g, bias=biased) == oracle.contraction(direction, g) + biased


def test_contraction_is_reached_where_the_input_is_large_enough():
    g = ConvSpec(groups=2).resolve((3, 4, 7, 7), (6, 2, 3, 2))
    assert oracle.contraction("forward", g) == 2 * 6
    assert oracle.contraction("input gradient", g) == oracle.contraction("conv_transpose", g) == 3 * 6
    assert oracle.contraction("convolve", g) == oracle.contraction("layer", g) == 2 * 6
    assert oracle.contraction("kernel gradient", g) == 3 * 5 * 6


# ---- Integers of any dtype, exactly

INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]


@given(small(most=400), EVERY_SEED, st.sampled_from(INTEGERS), st.booleans(), st.booleans())
def test_integers_of_any_size_are_exact_widened_or_not(drawn, seed, dtype, extreme, widened):
    _, g = drawn
    rng, info = np.random.default_rng(seed), np.iinfo(dtype)
    shapes = (g.x_shape, g.w_shape, g.y_shape, (g.out_channels,), (g.in_channels,))
    if extreme:
        arrays = [rng.choice(np.array([info.min, info.max], dtype), shape) for shape in shapes]
    else:
        arrays = [rng.integers(info.min, info.max, shape, dtype, endpoint=True) for shape in shapes]
    x, w, dy, b, x_b = (oracle.widen(array) if widened else array for array in arrays)
    X, W, DY, B, X_B = ({at: int(value) for at, value in np.ndenumerate(array)} for array in arrays)
    assert_is(oracle.cross_correlate(x, w, b, g), cross_correlate(X, W, B, g), g.y_shape)
    assert_is(oracle.convolve(x, w, b, g), convolve(X, W, B, g), g.y_shape)
    assert_is(oracle.conv_transpose(dy, w, x_b, g), conv_transpose(DY, W, X_B, g), g.x_shape)
    assert_is(oracle.input_gradient(dy, w, g), input_gradient(DY, W, g), g.x_shape)
    assert_is(oracle.kernel_gradient(x, dy, g), kernel_gradient(X, DY, g), g.w_shape)
    assert_is(oracle.bias_gradient(dy), bias_gradient(DY), (g.out_channels,))


@pytest.mark.parametrize(
    ("pixels", "tap", "bias", "right", "dtype"),
    [
        ([2**31, 2**31], 2**31 - 1, 0, 2**63 - 2**32, "int64"),
        ([2**31, 2**31], 2**31, 0, 2**63, "object"),
        ([-(2**31), -(2**31)], 2**31, 0, -(2**63), "object"),
        ([2**62, 2**62 - 1], 1, 0, 2**63 - 1, "object"),
        ([2**61, 2**61], 1, 2**62, 2**63, "object"),
        ([2**61, 2**61], 1, 2**62 - 1, 2**63 - 1, "int64"),
        ([-(2**63), 0], 1, -1, -(2**63) - 1, "object"),
    ],
)
def test_sums_that_int64_might_not_hold_are_pythons(pixels, tap, bias, right, dtype):
    x, w = np.array([[pixels]]), np.array([[[tap, tap]]])
    result = oracle.cross_correlate(x, w, np.array([bias]), ConvSpec().resolve(x.shape, w.shape))
    assert (result.dtype, result.tolist()) == (dtype, [[[right]]])


@pytest.mark.parametrize(
    ("pixel", "tap", "bias", "dtype"),
    [
        (2**63 - 1, 1, None, "int64"),
        (2**63 - 1, 1, 0, "int64"),
        (2**63 - 1, 1, 1, "object"),
        (-(2**63) + 1, 1, -1, "object"),
        (2**62, 2, None, "object"),
        (2**62, 1, None, "int64"),
    ],
)
def test_one_product_is_held_by_int64_up_to_its_largest_number(pixel, tap, bias, dtype):
    x, w = np.array([[[pixel]]]), np.array([[[tap]]])
    biases = None if bias is None else np.array([bias])
    result = oracle.cross_correlate(x, w, biases, ConvSpec().resolve(x.shape, w.shape))
    assert (result.dtype, result.tolist()) == (dtype, [[[pixel * tap + (bias or 0)]]])


def test_zero_times_an_integer_past_int64_is_zero():
    x, w = oracle.widen(np.uint64([[[2**63]]])), oracle.widen(np.int64([[[0]]]))
    assert oracle.cross_correlate(x, w, None, ConvSpec().resolve(x.shape, w.shape)).tolist() == [[[0]]]


@pytest.mark.parametrize(
    ("product", "dtype", "sums"),
    [(2**60, "int64", 7 * 2**60), (2**60, "object", 8 * 2**60), (2**59, "object", 16 * 2**59)],
)
def test_sums_of_gradients_that_int64_might_not_hold_are_pythons(product, dtype, sums):
    """Of as many equal products as one, whatever the channels: those of the outputs, the images and the pixels."""
    terms = sums // product

    def came(result):
        return result.dtype, {int(number) for number in result.flat}

    one = np.ones((), "int64")
    dy, w = np.full((1, terms, 1), product), np.broadcast_to(one, (terms, 1, 1))
    assert came(oracle.input_gradient(dy, w, ConvSpec().resolve((1, 1, 1), w.shape))) == (dtype, {sums})
    assert came(oracle.conv_transpose(dy, w, None, ConvSpec().resolve((1, 1, 1), w.shape))) == (dtype, {sums})
    for batch, size in ((terms, 1), (1, terms)):
        x, dy = np.broadcast_to(one, (batch, 1, size)), np.full((batch, 3, size), product)
        g = ConvSpec().resolve(x.shape, (3, 1, 1))
        assert came(oracle.kernel_gradient(x, dy, g)) == (dtype, {sums})
        assert came(oracle.bias_gradient(dy)) == (dtype, {sums})


@pytest.mark.parametrize(("product", "dtype"), [(2**60, "object"), (2**59, "int64")])
def test_the_products_of_a_gradient_are_those_of_all_pixels_of_all_images(product, dtype):
    x, dy = np.ones((3, 1, 3), "int64"), np.full((3, 2, 3), product)
    g = ConvSpec().resolve(x.shape, (2, 1, 1))
    for result in (oracle.kernel_gradient(x, dy, g), oracle.bias_gradient(dy)):
        assert (result.dtype, result.ravel().tolist()) == (dtype, [9 * product] * 2)


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.int8([-128]), "int64"),
        (np.uint64([2**63 - 1]), "int64"),
        (np.uint64([2**63]), "object"),
        (np.int64([-(2**63)]), "object"),
        (np.zeros(0, "uint64"), "int64"),
    ],
)
def test_widened_integers_have_a_magnitude_in_their_format(array, dtype):
    widened = oracle.widen(array)
    assert widened.dtype == dtype
    assert np.abs(widened).tolist() == [abs(int(value)) for value in array]


# ---- What tells convolution from cross-correlation


@pytest.mark.parametrize("tap", list(np.ndindex(2, 3)))
def test_a_delta_kernel_moves_the_image_the_way_it_lies_by_convolution_and_the_other_way_by_cross_correlation(tap):
    x = np.arange(1.0, 21).reshape(1, 1, 4, 5)
    w = np.zeros((1, 1, 2, 3))
    w[(0, 0, *tap)] = 1
    g = ConvSpec(padding="full").resolve(x.shape, w.shape)
    (down, right), canvas = tap, np.zeros((5, 7))
    canvas[down : down + 4, right : right + 5] = x[0, 0]
    np.testing.assert_array_equal(oracle.convolve(x, w, None, g)[0, 0], canvas)
    mirrored = np.zeros((5, 7))
    mirrored[1 - down : 5 - down, 2 - right : 7 - right] = x[0, 0]
    np.testing.assert_array_equal(oracle.cross_correlate(x, w, None, g)[0, 0], mirrored)


@given(small(), EVERY_SEED)
def test_convolution_is_cross_correlation_with_the_kernel_turned_round(drawn, seed):
    _, g = drawn
    x, w = values(g.x_shape, seed, 0), values(g.w_shape, seed, 1)
    turned = np.flip(w, range(2, 2 + g.ndim))
    np.testing.assert_array_equal(oracle.convolve(x, w, None, g), oracle.cross_correlate(x, turned, None, g))


def test_convolution_commutes():
    x, w = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[1.0, 10.0, 100.0, 1000.0]]])
    there, back = (ConvSpec(padding="full").resolve(a.shape, b.shape) for a, b in ((x, w), (w, x)))
    both = oracle.convolve(x, w, None, there), oracle.convolve(w, x, None, back)
    np.testing.assert_array_equal(both[0], [[[1, 12, 123, 1230, 2300, 3000]]])  # 1111 * 321, digit by digit
    np.testing.assert_array_equal(*both)


@pytest.mark.parametrize("factors", [(123, 4567), (99, 99), (908_070_605, 31_415_926_535)])
def test_convolution_multiplies_numbers_digit_by_digit(factors):
    """Kronecker's substitution backwards: the product of two numbers is the convolution of their digits, carried."""
    x, w = (np.array([[[float(digit) for digit in str(factor)]]]) for factor in factors)
    digits = oracle.convolve(x, w, None, ConvSpec(padding="full").resolve(x.shape, w.shape)).ravel()
    assert sum(int(digit) * 10**place for place, digit in enumerate(digits[::-1])) == factors[0] * factors[1]


# ---- Its format, and that it stands alone


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (np.dtype("float16"), "float64"),
        (np.dtype(ml_dtypes.bfloat16), "float64"),
        (np.dtype("float32"), "float64"),
        (np.dtype("float64"), "longdouble"),
    ],
    ids=str,
)
def test_each_format_is_widened(narrow, wide):
    widened = oracle.widen(np.array([1 / 3], narrow))
    assert widened.dtype == wide
    assert widened == np.array([1 / 3], narrow)
    assert bounds.unit_roundoff(wide) < bounds.unit_roundoff(narrow)


@pytest.mark.parametrize("dtype", ["float64", "longdouble"])
def test_results_are_in_the_format_of_the_arrays(dtype):
    x, w, dy = (np.ones(shape, dtype) for shape in ((1, 2, 3), (4, 2, 2), (1, 4, 2)))
    g = ConvSpec().resolve(x.shape, w.shape)
    for result in (
        oracle.cross_correlate(x, w, None, g),
        oracle.convolve(x, w, np.ones(4, dtype), g),
        oracle.input_gradient(dy, w, g),
        oracle.conv_transpose(dy, w, np.ones(2, dtype), g),
        oracle.kernel_gradient(x, dy, g),
        oracle.bias_gradient(dy),
    ):
        assert result.dtype == dtype


def test_the_oracle_modifies_nothing():
    x, w, dy = (values(shape, 0, i) for i, shape in enumerate(((1, 2, 3), (4, 2, 2), (1, 4, 4))))
    before = [array.copy() for array in (x, w, dy)]
    g = ConvSpec(padding=1).resolve(x.shape, w.shape)
    for result in (
        oracle.cross_correlate(x, w, None, g),
        oracle.input_gradient(dy, w, g),
        oracle.kernel_gradient(x, dy, g),
    ):
        result[...] = 0
    for array, was in zip((x, w, dy), before):
        np.testing.assert_array_equal(array, was)


def test_the_oracle_knows_nothing_of_multiconv_but_shapes():
    def imported(module):
        tree = ast.parse(Path(module).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                yield node.module

    here = Path(definition.__file__)
    core = Path(geometry.__file__).parent
    ours = {name for name in imported(here) if name.startswith("multiconv")}
    assert ours == {"multiconv.core.geometry"}
    assert {name for name in imported(core / "geometry.py") if "multiconv" in name} == {
        "multiconv.core.errors",
        "multiconv.core.types",
    }
    for name in ("errors.py", "types.py"):
        assert not {imports for imports in imported(core / name) if "multiconv" in imports}
    others = {name.partition(".")[0] for name in imported(here)} - {"multiconv"}
    assert others <= sys.stdlib_module_names | {"numpy"}


def test_the_oracle_loads_no_framework_and_no_backend():
    script = "import json, sys, multiconv.oracle; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)
    assert "multiconv.oracle" in loaded
    assert not {name.partition(".")[0] for name in loaded} & {"torch", "jax", "tensorflow", "keras", "mxnet", "scipy"}
    assert not [name for name in loaded if name.startswith("multiconv.backends.")]
