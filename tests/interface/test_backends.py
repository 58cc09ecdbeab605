"""Every backend in every direction: against the oracle, against the others, and against itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import multiconv as mc
from multiconv.core.geometry import LARGEST
from multiconv.core.spec import ConvSpec
from multiconv.oracle.judgement import judge
from multiconv.oracle.problem import DIRECTIONS
from multiconv.oracle.values import seeded
from multiconv.testing.drawing import draw_signatures
from multiconv.testing.levels import DTYPES
from multiconv.testing.problem_values import with_values
from multiconv.testing.situations import SITUATIONS
from multiconv.testing.strategies import problems

POOL = draw_signatures(max(len(SITUATIONS), settings().max_examples // 4), seed=0)
EVERY_PROBLEM = given(problem=problems(POOL))


def answers(backend, problem):
    """In NumPy, by direction; the exception, if any came instead of one."""
    given_back = dict(problem.answers(backend))
    for answer in given_back.values():
        if isinstance(answer, Exception):
            raise answer
    return given_back


def integers(*shape, dtype="float32", which=0):
    return seeded(shape, dtype, "integers", 0, which)


# ---- Against the oracle


@EVERY_PROBLEM
def test_every_direction_agrees_with_the_oracle(backend, problem):
    expected = problem.expectations()
    answered = answers(backend, problem)
    empty = set() if problem.geometry.batch else {"layer"}
    assert set(answered) == set(expected) - empty
    for direction, answer in answered.items():
        assert judge(answer, expected[direction]).fault is None, direction


# Where a framework's own call lacks most: every option at once, in each dtype and number of axes.
CORNERS = [
    ConvSpec(2, "full", 2, 2),
    ConvSpec(2, "same_lower", 1, 2),
    ConvSpec(1, "same", 2, 4),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "spec", CORNERS, ids=lambda spec: f"{spec.stride}-{spec.padding}-{spec.dilation}-{spec.groups}"
)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_options_may_be_put_together(backend, ndim, spec, dtype):
    g = spec.resolve((2, 4, *[7, 6, 5][:ndim]), (4, 4 // spec.groups, *[2, 3, 2][:ndim]))
    problem = with_values("corner", spec, g, dtype, bias=True, values="integers", seed=0)
    expected, answered = problem.expectations(), answers(backend, problem)
    assert set(answered) == set(expected)
    for direction, answer in answered.items():
        assert judge(answer, expected[direction]).fault is None, direction


def test_the_problems_try_every_direction_and_every_kind_of_option():
    assert {d for spec, x, w, dtype, bias in POOL for d in (DIRECTIONS if bias else DIRECTIONS[:3])} == set(DIRECTIONS)
    geometries = [spec.resolve(x, w) for spec, x, w, *_ in POOL]
    assert {g.ndim for g in geometries} == {1, 2, 3}
    assert {g.channels_last for g in geometries} == {False, True}
    assert {g.groups > 1 for g in geometries} == {False, True}
    assert {g.symmetric for g in geometries} == {False, True}
    assert any(max(g.stride) > 1 < max(g.dilation) for g in geometries)
    assert any(g.batch == 0 for g in geometries)
    assert {(dtype, bias) for *_, dtype, bias in POOL} == {(dtype, bias) for dtype in DTYPES for bias in (False, True)}


# ---- Convolution in the strict sense


@EVERY_PROBLEM
def test_convolution_is_cross_correlation_with_the_kernel_turned_round(backend, problem):
    assume(problem.integers)
    p = problem
    turned = np.flip(p.w, range(2, p.w.ndim)).copy()
    ours = backend.to_numpy(backend.convolve(p.x, p.w, p.bias, **p.options))
    np.testing.assert_array_equal(ours, backend.to_numpy(backend.cross_correlate(p.x, turned, p.bias, **p.options)))


@pytest.mark.parametrize("tap", [(0, 0), (0, 2), (1, 1), (1, 0)])
def test_a_delta_kernel_moves_the_image_to_where_it_lies(backend, tap):
    x, w = integers(1, 1, 4, 5), np.zeros((1, 1, 2, 3), "float32")
    w[(0, 0, *tap)] = 1
    (down, right), canvas = tap, np.zeros((1, 1, 5, 7), "float32")
    canvas[..., down : down + 4, right : right + 5] = x
    np.testing.assert_array_equal(backend.to_numpy(backend.convolve(x, w, padding="full")), canvas)


def test_a_delta_image_becomes_the_kernel_by_convolution_and_the_kernel_turned_round_by_cross_correlation(backend):
    x, w = np.zeros((1, 1, 3, 5), "float32"), integers(1, 1, 3, 5)
    x[0, 0, 1, 2] = 1
    np.testing.assert_array_equal(backend.to_numpy(backend.convolve(x, w, padding="same")), w)
    np.testing.assert_array_equal(backend.to_numpy(backend.cross_correlate(x, w, padding="same")), w[..., ::-1, ::-1])


@pytest.mark.parametrize("factors", [(1234, 567), (99999, 99999)])
def test_convolution_multiplies_numbers_digit_by_digit(backend, factors):
    x, w = (np.float64([[[int(digit) for digit in str(factor)]]]) for factor in factors)
    digits = backend.to_numpy(backend.convolve(x, w, padding="full")).ravel()
    assert sum(int(digit) * 10**place for place, digit in enumerate(digits[::-1])) == math.prod(factors)


# ---- Against each other


@EVERY_PROBLEM
def test_all_five_agree_on_integers_to_the_bit(five, problem):
    assume(problem.integers)
    first, *others = (answers(backend, problem) for backend in five.values())
    for other in others:
        assert set(other) == set(first)
        for direction, answer in other.items():
            np.testing.assert_array_equal(answer, first[direction], direction, strict=True)


# ---- Against itself


def dot(a, b):
    """In Python's integers."""
    return sum(int(m) * int(n) for m, n in zip(a.ravel(), b.ravel(), strict=True))


@EVERY_PROBLEM
def test_transposed_convolution_is_the_adjoint(backend, problem):
    assume(problem.integers)
    p, g = problem, problem.transposed
    x = seeded(g.x_shape, p.dtype, "integers", p.seed, 9)
    there = backend.to_numpy(backend.cross_correlate(x, p.w, **p.options))
    back = backend.to_numpy(backend.conv_transpose(p.dy, p.w, **p.options, output_padding=p.output_padding))
    assert dot(there, p.dy) == dot(x, back)


@EVERY_PROBLEM
def test_the_gradients_are_the_adjoint_of_the_result_in_each_argument(backend, problem):
    """The result is linear in each, so its product with a cotangent is that of the argument with its gradient."""
    assume(problem.integers)
    p = problem
    y = backend.to_numpy(backend.cross_correlate(p.x, p.w, **p.options))
    dx, dw, dbias = (None if d is None else backend.to_numpy(d) for d in gradients(backend, p))
    assert dot(y, p.dy) == dot(p.x, dx) == dot(p.w, dw)
    if p.bias is not None:
        channels_last = np.moveaxis(p.dy, 1, -1) if not p.spec.channels_last else p.dy
        assert dot(p.bias, dbias) == dot(np.broadcast_to(p.bias, channels_last.shape), channels_last)


def gradients(backend, p):
    return backend.cross_correlate_vjp(p.x, p.w, p.bias, p.dy, **p.options)


IN_BOTH_LAYOUTS = [
    with_values(layouts, spec, spec.resolve(x, w), dtype, bias=True, values="integers", seed=2)
    for layouts, spec, x, w, dtype in [
        ("NCW NWC", ConvSpec(2, ((0, 1),), 2, 2, "NCW"), (2, 4, 9), (4, 2, 3), "float32"),
        ("NCHW NHWC", ConvSpec((1, 2), "same", 1, 1, "NCHW"), (2, 3, 5, 6), (4, 3, 3, 2), "float64"),
        ("NCHW NHWC", ConvSpec(1, 1, 2, 2, "NCHW"), (2, 4, 6, 5), (6, 2, 2, 3), "float32"),
        ("NCDHW NDHWC", ConvSpec(2, (1, 0, (0, 1)), 1, 1, "NCDHW"), (2, 2, 4, 3, 5), (3, 2, 2, 3, 2), "float32"),
    ]
]


@pytest.mark.parametrize("problem", IN_BOTH_LAYOUTS, ids=lambda p: f"{p.source} {p.dtype}")
def test_one_layout_gives_what_the_other_gives(backend, problem):
    p, (first, last) = problem, problem.source.split()

    def moved(array, source, target):
        return np.moveaxis(array, source, target)

    def both(operation, *arrays, **options):
        """What comes out channels first, and channels last with the arrays' axes moved there and back."""
        options = {**p.options, **options}
        one = operation(*arrays, **{**options, "layout": first})
        data = [a if a is p.w or a.ndim == 1 else moved(a, 1, -1).copy() for a in arrays]
        return one, operation(*data, **{**options, "layout": last})

    for operation in (backend.cross_correlate, backend.convolve):
        y_first, y_last = both(operation, p.x, p.w, p.bias)
        np.testing.assert_array_equal(backend.to_numpy(y_first), moved(backend.to_numpy(y_last), -1, 1))
    x_first, x_last = both(backend.conv_transpose, p.dy, p.w, p.x_bias, output_padding=p.output_padding)
    np.testing.assert_array_equal(backend.to_numpy(x_first), moved(backend.to_numpy(x_last), -1, 1))
    (dx, dw, db), (dx_last, dw_last, db_last) = both(backend.cross_correlate_vjp, p.x, p.w, p.bias, p.dy)
    np.testing.assert_array_equal(backend.to_numpy(dx), moved(backend.to_numpy(dx_last), -1, 1))
    np.testing.assert_array_equal(backend.to_numpy(dw), backend.to_numpy(dw_last))
    np.testing.assert_array_equal(backend.to_numpy(db), backend.to_numpy(db_last))


FORMS = [
    # padding, and the zeros it stands for around 6 x 5 pixels, with a kernel of 2 x 3 and a stride of 1 and of 2
    (0, ((0, 0), (0, 0)), ((0, 0), (0, 0))),
    (2, ((2, 2), (2, 2)), ((2, 2), (2, 2))),
    ((2, 1), ((2, 2), (1, 1)), ((2, 2), (1, 1))),
    (((0, 2), (3, 1)), ((0, 2), (3, 1)), ((0, 2), (3, 1))),
    ((1, (0, 2)), ((1, 1), (0, 2)), ((1, 1), (0, 2))),
    ("valid", ((0, 0), (0, 0)), ((0, 0), (0, 0))),
    ("same", ((0, 1), (1, 1)), ((0, 0), (1, 1))),
    ("same_upper", ((0, 1), (1, 1)), ((0, 0), (1, 1))),
    ("same_lower", ((1, 0), (1, 1)), ((0, 0), (1, 1))),
    ("full", ((1, 1), (2, 2)), ((1, 1), (2, 2))),
]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: str(form[0]))
def test_each_form_of_padding_is_an_input_with_zeros_around_it(backend, form, stride):
    padding, pads = form[0], form[stride]
    x, w = integers(2, 2, 6, 5), integers(3, 2, 2, 3, which=1)
    padded = np.pad(x, ((0, 0), (0, 0), *pads))
    y = backend.cross_correlate(x, w, stride=stride, padding=padding)
    np.testing.assert_array_equal(
        backend.to_numpy(y), backend.to_numpy(backend.cross_correlate(padded, w, stride=stride)), strict=True
    )


@pytest.mark.parametrize("padding", [((0, 2),), ((3, 1),), "same", "same_lower", "full"])
@pytest.mark.parametrize("ndim", [1, 3])
def test_padding_in_one_and_three_axes_is_zeros_around_the_input(backend, ndim, padding):
    x, w = integers(2, 2, *[4, 3, 5][:ndim]), integers(3, 2, *[2, 2, 3][:ndim], which=1)
    padding = padding * ndim if isinstance(padding, tuple) else padding
    pads = ConvSpec(2, padding).resolve(x.shape, w.shape).pads
    y = backend.cross_correlate(x, w, stride=2, padding=padding)
    padded = np.pad(x, ((0, 0), (0, 0), *pads))
    np.testing.assert_array_equal(
        backend.to_numpy(y), backend.to_numpy(backend.cross_correlate(padded, w, stride=2)), strict=True
    )


@pytest.mark.parametrize(("multiplier", "dtype"), [(1, "float32"), (2, "float64")])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_depthwise_is_each_channel_on_its_own(backend, ndim, dtype, multiplier):
    x, w = integers(2, 3, *[5] * ndim, dtype=dtype), integers(3 * multiplier, 1, *[2] * ndim, dtype=dtype, which=1)
    together = backend.to_numpy(backend.cross_correlate(x, w, groups=3, padding=1))
    for channel in range(3):
        outputs = slice(channel * multiplier, (channel + 1) * multiplier)
        alone = backend.cross_correlate(x[:, channel : channel + 1], w[outputs], padding=1)
        np.testing.assert_array_equal(together[:, outputs], backend.to_numpy(alone), strict=True)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_a_kernel_of_one_pixel_is_a_matrix_product(backend, ndim):
    x, w = integers(2, 3, *[4] * ndim), integers(5, 3, *[1] * ndim, which=1)
    right = np.einsum("nc...,oc->no...", x, w.reshape(5, 3))
    np.testing.assert_array_equal(backend.to_numpy(backend.cross_correlate(x, w)), right, strict=True)


# ---- Past every edge


@pytest.fixture(scope="module", params=["numpy", "torch", "jax", "tensorflow", "mxnet"])
def apart(request):
    """Each of the five in a process of its own, as a framework that fails here may take its process with it."""
    return mc.backend(request.param, worker=True, timeout=60)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stride", [2**15, LARGEST])
def test_a_stride_past_the_input_leaves_one_output(apart, stride, dtype):
    for shapes in (((2, 2, 7), (2, 2, 3)), ((2, 2, 5, 7), (2, 2, 2, 3)), ((2, 2, 3, 4, 5), (2, 2, 2, 2, 3))):
        check(apart, ConvSpec(stride), shapes, dtype)
    check(apart, ConvSpec(stride, "full"), ((2, 2, 7), (2, 2, 3)), dtype)
    check(apart, ConvSpec(stride, ((0, 1), (2, 0))), ((2, 2, 5, 7), (2, 2, 2, 3)), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dilation", [2**16, LARGEST])
def test_the_dilation_of_a_kernel_of_one_pixel_is_nothing(apart, dilation, dtype):
    for shapes in (((2, 2, 7), (2, 2, 1)), ((2, 2, 5, 7), (2, 2, 1, 1)), ((2, 2, 3, 4, 5), (2, 2, 1, 1, 1))):
        check(apart, ConvSpec(1, 0, dilation), shapes, dtype)
        check(apart, ConvSpec(2, 1, dilation), shapes, dtype)
    check(apart, ConvSpec(1, "full", dilation, groups=2), ((2, 2, 5, 7), (2, 1, 1, 1)), dtype)


def check(backend, spec, shapes, dtype):
    """All but the layer, which is the framework's own and has its limits."""
    problem = with_values("edge", spec, spec.resolve(*shapes), dtype, bias=True, values="integers", seed=0)
    expected = problem.expectations()
    for direction in DIRECTIONS[:-1]:
        ((_, answer),) = problem.answers(backend, direction)
        assert not isinstance(answer, Exception), f"{direction} of {spec}: {answer}"
        assert judge(answer, expected[direction]).fault is None, f"{direction} of {spec}"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_stays_where_it_is_seen(backend, value):
    x, w = integers(1, 1, 6, 7), integers(1, 1, 3, 3, which=1)
    w[w == 0] = 1
    clean = backend.to_numpy(backend.cross_correlate(x, w))
    x[0, 0, 2, 4] = value
    poisoned = backend.to_numpy(backend.cross_correlate(x, w))
    sees = np.zeros_like(clean, bool)
    sees[0, 0, 0:3, 2:5] = True
    np.testing.assert_array_equal(poisoned[~sees], clean[~sees])
    assert not np.isfinite(poisoned[sees]).any()


# ---- In a worker


@given(st.sampled_from(range(len(POOL))), st.sampled_from(["integers", "normal", "wide"]), st.integers(0, 99))
@settings(max_examples=min(50, settings().max_examples))
def test_torch_in_a_worker_gives_the_bits_of_torch_in_this_process(which, values, seed):
    spec, x_shape, w_shape, dtype, bias = POOL[which]
    problem = with_values("drawn", spec, spec.resolve(x_shape, w_shape), dtype, bias=bias, values=values, seed=seed)
    here, there = answers(mc.backend("torch"), problem), answers(mc.backend("torch", worker=True), problem)
    assert set(here) == set(there)
    for direction, answer in here.items():
        np.testing.assert_array_equal(there[direction], answer, direction, strict=True)


def test_each_backend_says_where_it_runs(five):
    for name, backend in five.items():
        assert backend.name == name
        assert backend.version in repr(backend)
        assert ("in a worker" if name == "mxnet" else "in this process") in repr(backend)
        assert backend.devices()
