"""NumPy's algorithms, each forced: against the oracle over all options, their choice, and their memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import multiconv as mc
from multiconv.algorithms import depthwise, im2col, tiling, winograd
from multiconv.algorithms.choice import ALGORITHMS, METHODS, POLICIES, CrossCorrelation, adjoint, by_adjoint, choose
from multiconv.algorithms.tiling import tiles
from multiconv.algorithms.winograd import kronecker_squares
from multiconv.core import bounds
from multiconv.core.errors import BackendUnavailable, ConvError, UsageError
from multiconv.core.spec import ConvSpec
from multiconv.oracle.judgement import judge
from multiconv.oracle.problem import DIRECTIONS
from multiconv.oracle.values import seeded
from multiconv.testing.drawing import draw_all
from multiconv.testing.levels import DTYPES
from multiconv.testing.problem_values import with_values
from multiconv.testing.situations import SITUATIONS
from multiconv.testing.strategies import problems, specs

FAST = {"winograd", "fft"}
DIRECT = [name for name in ALGORITHMS if name not in FAST]
MEGABYTE = 2**20

# What each algorithm is for, so that enough of the drawn problems are problems that it can compute.
FIXED = {
    "matmul": {"kernel": 1, "stride": 1, "padding": 0},
    "im2col": {},
    "taps": {"ndim": 2},
    "depthwise": {"ndim": 2},
    "toeplitz": {"ndim": 2, "stride": 1, "dilation": 1, "groups": 1},
    "winograd": {"ndim": 2, "kernel": 3, "stride": 1, "dilation": 1, "groups": 1},
    "fft": {"ndim": 2, "stride": 1, "dilation": 1, "groups": 1},
}
ALIKE = {
    "taps": ("depthwise", "depthwise, several out"),
    "depthwise": ("depthwise", "depthwise, several out"),
    **dict.fromkeys(["toeplitz", "fft"], ("one channel, full", "large image")),
}


def pool(name):
    """Options and shapes, with each dtype, with and without a bias."""
    situations = ALIKE.get(name, ("anything", "groups", "many channels", "three axes", "one axis", "many rows"))
    if "ndim" in FIXED[name]:
        situations = [s for s in situations if s not in ("three axes", "one axis")]
    shapes = [s for situation in situations for s in draw_all(specs(situation, FIXED[name]), 12, seed=0)]
    return [(*shape, DTYPES[i % 2], i % 4 < 2) for i, shape in enumerate(shapes)]


POOLS = {name: pool(name) for name in ALGORITHMS}


def able(name, g, direction):
    """Whether an algorithm can compute a direction, `choose` being asked."""
    direction = {"conv_transpose": "input gradient"}.get(direction, direction)
    try:
        return choose(g.within_reach(), direction if direction in METHODS else "forward", name) == name
    except ConvError:
        return False


def computed(name, problem):
    """By a backend that takes one algorithm, what each direction gives that the algorithm has."""
    backend, p, g = mc.backend("numpy", algorithm=name), problem, problem.geometry
    for direction in ("forward", "convolve", "layer"):
        if able(name, g, direction) and (g.batch or direction != "layer"):
            yield from p.answers(backend, direction)
    if able(name, p.transposed, "conv_transpose"):
        yield from p.answers(backend, "conv_transpose")
    correlate = CrossCorrelation(g.within_reach(), name)
    if able(name, g, "input gradient"):
        yield "input gradient", correlate.input_gradient(p.dy, p.w)
    if able(name, g, "kernel gradient"):
        yield "kernel gradient", correlate.kernel_gradient(p.x, p.dy)


@pytest.mark.parametrize("name", DIRECT)
@given(data=st.data())
def test_a_direct_algorithm_agrees_with_the_oracle(name, data):
    problem = data.draw(problems(POOLS[name]))
    answers = dict(computed(name, problem))
    assume(answers)
    expected = problem.expectations(answers)
    for direction, answer in answers.items():
        assert judge(answer, expected[direction]).fault is None, direction


@pytest.mark.parametrize("name", sorted(FAST))
@given(data=st.data())
def test_a_fast_algorithm_errs_less_than_it_declares(name, data):
    problem = data.draw(problems(POOLS[name], values=("normal", "wide", "cancelling")))
    answers = dict(computed(name, problem))
    assume(answers)
    for direction, answer in answers.items():
        assert worst(name, problem, direction, answer) <= 1, direction


def worst(name, problem, direction, answer):
    """The largest error in units of the normwise bound that the backend declares."""
    p, g = problem, problem.transposed if direction == "conv_transpose" else problem.geometry
    right = p.expectations([direction])[direction].value
    assert answer.shape == right.shape
    assert answer.dtype == p.dtype
    if not right.size:
        return 0
    c = mc.backend("numpy", algorithm=name).normwise_constant(g, direction, p.dtype)
    first = [np.moveaxis(a, -1, 1) if p.spec.channels_last else a for a in (p.x, p.dy, answer, right)]
    bias = {"conv_transpose": p.x_bias, "input gradient": None}.get(direction, p.bias)
    bound = bounds.normwise(direction, first[0], p.w, bias, first[1], g, c, p.dtype)
    error = np.abs(first[2] - first[3])
    return float((error[error > 0] / np.broadcast_to(bound, error.shape)[error > 0]).max(initial=0))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_drawn_problems_reach_what_the_algorithm_can_do(name):
    geometries = [spec.resolve(x, w) for spec, x, w, *_ in POOLS[name]]
    reached = [g for g in geometries if able(name, g, "forward")]
    assert len(reached) >= 10
    assert {g.channels_last for g in reached} == {False, True}
    assert any(g.batch > 1 for g in reached)
    directions = {d for g in geometries for d in METHODS if able(name, g, d)}
    assert directions == set(METHODS) - ({"kernel gradient"} if name in {*FAST, "taps"} else set())
    if name == "im2col":
        assert len(reached) == len(geometries)
        assert {g.ndim for g in reached} == {1, 2, 3}
        assert {by_adjoint(g) for g in reached} == {False, True}
        assert any(min(map(min, adjoint(g).pads)) < 0 for g in reached if by_adjoint(g))


# With room for little at a time: several tiles, blocks, parts of a kernel, and images together or one by one.
CUT = [
    ("im2col", ConvSpec(1, 1), (2, 16, 20, 21), (8, 16, 3, 3)),
    ("im2col", ConvSpec(2, "same", 2, 2), (3, 16, 20, 21), (8, 8, 3, 5)),
    ("im2col", ConvSpec(1, 40), (1, 2, 1000), (2, 2, 81)),
    ("im2col", ConvSpec(1, 1), (2, 4, 7, 8, 9), (2, 4, 3, 3, 3)),
    ("im2col", ConvSpec(2), (19, 8, 9, 9), (300, 8, 1, 1)),
    ("matmul", ConvSpec(groups=2), (3, 64, 30, 31), (256, 32, 1, 1)),
    ("depthwise", ConvSpec(1, 1, 1, 40), (2, 40, 12, 13), (40, 1, 3, 3)),
    ("depthwise", ConvSpec((2, 3), (2, (0, 3)), (3, 2), 40), (2, 40, 21, 20), (80, 1, 5, 3)),
    ("depthwise", ConvSpec(1, (1, 3), (2, 1), 5), (3, 5, 20, 21), (15, 1, 3, 2)),
    ("depthwise", ConvSpec((3, 1), 7, (1, 4), 3), (1, 3, 40, 41), (3, 1, 4, 2)),
    ("depthwise", ConvSpec((2, 1), ((1, 0), (2, 5)), 1, 5), (7, 5, 8, 7), (10, 1, 3, 4)),
    ("depthwise", ConvSpec(1, "same", 1, 4), (5, 4, 3, 2), (4, 1, 3, 7)),
    ("taps", ConvSpec(1, 1, 1, 40), (2, 40, 12, 13), (40, 1, 3, 3)),
    ("taps", ConvSpec((2, 3), (2, (0, 3)), (3, 2), 40), (2, 40, 21, 20), (80, 1, 5, 3)),
    ("taps", ConvSpec((3, 1), 7, (1, 4), 3), (1, 3, 40, 41), (3, 1, 4, 2)),
    ("taps", ConvSpec((2, 1), ((1, 0), (2, 5)), 1, 5), (7, 5, 8, 7), (10, 1, 3, 4)),
    ("taps", ConvSpec(1, "same", 1, 4), (5, 4, 3, 2), (4, 1, 3, 7)),
    ("toeplitz", ConvSpec(1, "same"), (2, 1, 90, 61), (1, 1, 5, 4)),
    ("toeplitz", ConvSpec(1, ((4, 0), (2, 6))), (1, 1, 90, 91), (1, 1, 5, 5)),
    ("winograd", ConvSpec(1, 1), (9, 33, 14, 15), (34, 33, 3, 3)),
    ("winograd", ConvSpec(1, ((0, 2), (3, 1))), (2, 8, 37, 38), (40, 8, 3, 3)),
    ("fft", ConvSpec(1, ((0, 2), (9, 1))), (2, 1, 37, 50), (3, 1, 4, 7)),
    ("fft", ConvSpec(1, "full"), (1, 1, 90, 7), (1, 1, 5, 6)),
    # Parts that see nothing but padding.
    ("im2col", ConvSpec(5, 40), (2, 16, 9, 8), (8, 16, 3, 3)),
    ("toeplitz", ConvSpec(1, 40), (2, 1, 5, 4), (1, 1, 3, 3)),
    ("winograd", ConvSpec(1, 40), (2, 8, 5, 4), (8, 8, 3, 3)),
    ("fft", ConvSpec(1, 40), (2, 1, 5, 4), (2, 1, 3, 4)),
    ("depthwise", ConvSpec(5, 40, 1, 16), (2, 16, 9, 8), (16, 1, 3, 3)),
    ("taps", ConvSpec(5, 40, 1, 16), (2, 16, 9, 8), (16, 1, 3, 3)),
]


@pytest.fixture
def _little_room(monkeypatch):
    monkeypatch.setattr(tiling, "TILE_ELEMENTS", 2**15)
    monkeypatch.setattr(depthwise, "BLOCK_ELEMENTS", 2**12)
    monkeypatch.setattr(depthwise, "ONE_PRODUCT_OUTPUTS", 200)
    monkeypatch.setattr(im2col, "TILE_OUTPUTS", 32)
    monkeypatch.setattr(winograd, "KERNEL_BYTES", 2**14)
    monkeypatch.setattr(winograd, "BLOCK_BYTES", 2**17)


@pytest.mark.usefixtures("_little_room")
@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("case", CUT, ids=lambda case: f"{case[0]} {case[2]} {case[3]}")
def test_what_is_cut_into_parts_is_right(case, layout):
    name, spec, x_shape, w_shape = case
    if layout == "last":
        spec = replace(spec, layout=("NWC", "NHWC", "NDHWC")[len(x_shape) - 3])
        x_shape = (x_shape[0], *x_shape[2:], x_shape[1])
    problem = with_values(
        "cut",
        spec,
        spec.resolve(x_shape, w_shape),
        "float32",
        bias=True,
        values=("integers", "normal")[name in FAST],
        seed=0,
    )
    g, correlate = problem.geometry, CrossCorrelation(problem.geometry, name)
    answers = {"forward": correlate(problem.x, problem.w, problem.bias)}
    if able(name, g, "input gradient"):
        answers["input gradient"] = correlate.input_gradient(problem.dy, problem.w)
    if able(name, g, "kernel gradient"):
        answers["kernel gradient"] = correlate.kernel_gradient(problem.x, problem.dy)
    expected = problem.expectations(answers)
    for direction, answer in answers.items():
        if name in FAST:
            assert worst(name, problem, direction, answer) <= 1, direction
        else:
            assert judge(answer, expected[direction]).fault is None, direction


def test_tiles_are_all_outputs_in_order_each_once_and_no_larger_than_asked():
    g = ConvSpec((2, 1, 3), 2, (1, 2, 1)).resolve((1, 3, 9, 10, 11), (1, 3, 3, 2, 3))
    for limit in (1, 500, 5000, 10**6):
        cut = tiles(g, limit)
        assert [tile.run.start for tile in cut] == [0, *(tile.run.stop for tile in cut[:-1])]
        assert cut[-1].run.stop == np.prod(g.out)
        for tile in cut:
            elements = 3 * (18 * np.prod(tile.shape) + np.prod(tile.box.shape))
            assert elements <= limit or tile.shape == (1, 1, 1)


def test_arrays_may_lie_in_memory_in_any_way_once_a_signature_is_known():
    backend = mc.backend("numpy")
    x, w = seeded((2, 3, 9, 8), "float32", "integers", 0, 0), seeded((4, 3, 3, 3), "float32", "integers", 0, 1)
    right = backend.cross_correlate(x, w, padding=1)
    strange = [
        np.asfortranarray(x),
        np.repeat(x, 2, axis=3)[..., ::2],
        np.ascontiguousarray(x[..., ::-1])[..., ::-1],
        np.broadcast_to(x, x.shape),
    ]
    for array in strange:
        np.testing.assert_array_equal(backend.cross_correlate(array, w, padding=1), right)
        np.testing.assert_array_equal(backend.cross_correlate(x, np.asfortranarray(w), padding=1), right)


# ---- The choice


CHOSEN = [
    # x, w, options, and the choice for forward, input gradient and kernel gradient; the same but fast for the first two
    ((8, 64, 56, 56), (256, 64, 1, 1), {}, ("matmul", "matmul", "im2col"), ("matmul", "matmul")),
    ((1, 64, 56, 56), (256, 64, 1, 1), {}, ("matmul", "matmul", "matmul"), ("matmul", "matmul")),
    ((1, 64, 56, 56), (64, 64, 1, 1), {"stride": 2}, ("im2col", "im2col", "im2col"), ("im2col", "im2col")),
    ((1, 64, 56, 56), (64, 64, 3, 3), {"padding": 1}, ("im2col", "im2col", "im2col"), ("winograd", "winograd")),
    ((1, 512, 7, 7), (512, 512, 3, 3), {"padding": 1}, ("im2col", "im2col", "im2col"), ("im2col", "im2col")),
    ((1, 3, 224, 224), (64, 3, 3, 3), {"padding": 1}, ("im2col", "im2col", "im2col"), ("im2col", "im2col")),
    ((1, 1, 512, 512), (1, 1, 3, 3), {}, ("depthwise", "depthwise", "depthwise"), ("depthwise", "depthwise")),
    ((1, 1, 512, 512), (1, 1, 11, 11), {}, ("toeplitz", "toeplitz", "toeplitz"), ("toeplitz", "toeplitz")),
    ((1, 64, 56, 56), (64, 1, 3, 3), {"groups": 64}, ("depthwise",) * 3, ("depthwise",) * 2),
    ((1, 64, 14, 14), (64, 1, 3, 3), {"groups": 64}, ("taps", "taps", "depthwise"), ("taps", "taps")),
    ((1, 64, 14, 14), (64, 1, 5, 5), {"groups": 64}, ("depthwise",) * 3, ("depthwise",) * 2),
    ((1, 64, 56, 56), (64, 1, 3, 3), {"groups": 64, "stride": 2}, ("taps", *["depthwise"] * 2), ("taps", "depthwise")),
    ((1, 1, 8, 8), (1, 1, 3, 3), {}, ("im2col",) * 3, ("im2col",) * 2),
    ((1, 1, 512, 512), (1, 1, 31, 31), {"padding": 15}, ("toeplitz",) * 3, ("fft", "fft")),
    ((1, 32, 9), (32, 1, 3), {"groups": 32}, ("im2col",) * 3, ("im2col",) * 2),
]


@pytest.mark.parametrize("case", CHOSEN, ids=lambda case: f"{case[0]} {case[1]}")
def test_the_choice(case):
    x, w, options, by_default, if_fast = case
    for chosen, algorithm in ((by_default, "direct"), (if_fast, "fast")):
        backend = mc.backend("numpy", algorithm=algorithm)
        assert tuple(backend.algorithm(x, w, d, **options) for d in list(METHODS)[: len(chosen)]) == chosen


@given(st.sampled_from(sorted(SITUATIONS)), st.data())
def test_the_default_takes_direct_sums_only_and_every_choice_can_compute_what_it_is_chosen_for(situation, data):
    spec, x, w = data.draw(specs(situation))
    g = spec.resolve(x, w).within_reach()
    for policy in POLICIES:
        for direction, method in METHODS.items():
            chosen = choose(g, direction, policy)
            of = adjoint(g) if direction == "input gradient" and by_adjoint(g) else g
            assert ALGORITHMS[chosen].takes(of)
            assert hasattr(ALGORITHMS[chosen], "forward" if of is not g else method)
            assert policy == "fast" or chosen in DIRECT


def test_what_an_algorithm_cannot_do_is_refused_with_the_reason():
    x, w, dy = np.ones((1, 1, 8, 8)), np.ones((1, 1, 3, 3)), np.ones((1, 1, 6, 6))
    matmul, winograd = mc.backend("numpy", algorithm="matmul"), mc.backend("numpy", algorithm="winograd")
    with pytest.raises(
        ConvError, match="matmul can't compute this: it needs a kernel of one pixel, stride 1 and no pad"
    ):
        matmul.cross_correlate(x, w)
    with pytest.raises(ConvError, match="winograd can't compute this: it has no kernel gradient of its own"):
        winograd.cross_correlate_vjp(x, w, None, dy)
    with pytest.raises(UsageError, match=r"algorithm must be one of direct, fast, matmul, im2col, .*, not 'gemm'"):
        mc.backend("numpy", algorithm="gemm")


def test_each_set_of_options_is_a_backend_of_its_own():
    assert mc.backend("numpy", algorithm="im2col") is mc.backend("numpy", algorithm="im2col")
    assert mc.backend("numpy", algorithm="im2col") is not mc.backend("numpy")
    with pytest.raises(UsageError, match=r"the numpy backend has no option 'speed': its options are algorithm"):
        mc.backend("numpy", speed=2)
    with pytest.raises(BackendUnavailable, match="would run in a worker, which takes no options"):
        mc.backend("numpy", worker=True, algorithm="fast")


# ---- Fast algorithms


def test_winograds_matrices_compute_a_correlation():
    output, kernel, data = kronecker_squares()
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((6, 6)), rng.standard_normal((3, 3))
    y = (output @ ((kernel @ w.ravel()) * (data @ x.ravel()))).reshape(4, 4)
    right = [[(x[i : i + 3, j : j + 3] * w).sum() for j in range(4)] for i in range(4)]
    np.testing.assert_allclose(y, right, rtol=0, atol=1e-12)


POINTS = (0, 3 / 4, -3 / 4, 3 / 2, -3 / 2)


def growth_of_winograd():
    """By Lagrange's formula: the largest sum of the products of entries of the three matrices for one axis."""
    whole = np.poly(POINTS)[::-1]  # the polynomial that vanishes at all points, lowest power first
    lagrange = [
        np.poly([q for q in POINTS if q != p])[::-1] / np.prod([p - q for q in POINTS if q != p]) for p in POINTS
    ]
    of_data = [np.abs(row).sum() for row in (*lagrange, whole)]
    of_output = [[abs(p) ** i for p in POINTS] + [float(i == 3)] for i in range(4)]
    of_kernel = [[abs(p) ** tap for tap in range(3)] for p in POINTS] + [[0, 0, 1]]
    return max(
        sum(of_output[i][k] * of_kernel[k][tap] * of_data[k] for k in range(6)) for i in range(4) for tap in range(3)
    )


@pytest.mark.parametrize(("channels", "roundings"), [(1, 54), (8, 61), (64, 117)])
def test_the_constant_of_winograd_is_that_of_its_matrices(channels, roundings):
    """An output sums 25 products, a kernel's point 9 and a pixel's 16: with one more for each, 53, and the channels."""
    g = ConvSpec(padding=1).resolve((1, channels, 20, 20), (4, channels, 3, 3))
    c = mc.backend("numpy", algorithm="winograd").normwise_constant(g, "forward", "float64")
    assert c == pytest.approx(growth_of_winograd() ** 2 * roundings, rel=1e-9)


@pytest.mark.parametrize("direction", ["input gradient", "conv_transpose"])
def test_the_constant_of_a_gradient_is_that_of_the_channels_it_sums(direction):
    g = ConvSpec(padding=1).resolve((1, 8, 20, 20), (4, 8, 3, 3))
    c = mc.backend("numpy", algorithm="winograd").normwise_constant(g, direction, "float64")
    assert c == pytest.approx(growth_of_winograd() ** 2 * 57, rel=1e-9)


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "size"),
    [
        ((1, 1, 512, 70), (1, 1, 31, 31), (128, 128)),
        ((1, 1, 512, 50), (2, 1, 31, 31), (128, 64)),
        ((2, 1, 8, 8), (1, 1, 1, 3), (4, 8)),
    ],
)
def test_the_constant_of_the_fft_is_that_of_its_size(x_shape, w_shape, size):
    """To first order it is ``sqrt(L) (3 log2 L (1 + 4 sqrt 2) + 2 sqrt 2 + 1)`` for L pixels."""
    c = mc.backend("numpy", algorithm="fft").normwise_constant(
        ConvSpec().resolve(x_shape, w_shape), "forward", "float32"
    )
    pixels = np.prod(size)
    right = np.sqrt(pixels) * (3 * np.log2(pixels) * (1 + 4 * np.sqrt(2)) + 2 * np.sqrt(2) + 1)
    assert c == pytest.approx(right, rel=1e-4)


def test_only_what_is_fast_declares_a_constant():
    g = ConvSpec(padding=1).resolve((2, 64, 20, 20), (64, 64, 3, 3))
    backend = mc.backend("numpy", algorithm="fast")
    declared = {d: backend.normwise_constant(g, d, "float32") for d in DIRECTIONS}
    assert {d for d, c in declared.items() if c is None} == {"kernel gradient", "bias gradient"}
    assert {mc.backend("numpy").normwise_constant(g, d, "float32") for d in DIRECTIONS} == {None}


def test_an_output_that_is_missing_lies_outside_the_declared_bound():
    spec = ConvSpec(padding=1)
    g = spec.resolve((1, 32, 16, 16), (32, 32, 3, 3))
    problem = with_values("one", spec, g, "float32", bias=False, values="normal", seed=0)
    ((_, answer),) = problem.answers(mc.backend("numpy", algorithm="winograd"), "forward")
    assert 0 < worst("winograd", problem, "forward", answer) <= 1
    missing = answer.copy()
    missing.flat[np.abs(answer).argmax()] = 0
    assert worst("winograd", problem, "forward", missing) > 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["toeplitz", "winograd", "fft"])
def test_what_is_not_finite_goes_where_it_is_seen_and_nowhere_else(name, value):
    x, w = np.ones((1, 1, 20, 21), "float32"), np.ones((1, 1, 3, 3), "float32")
    x[0, 0, 7, 8] = value
    y = mc.backend("numpy", algorithm=name).cross_correlate(x, w)
    sees = np.zeros(y.shape, bool)
    sees[..., 5:8, 6:9] = True
    np.testing.assert_array_equal(np.isfinite(y), ~sees)


# ---- Memory


LARGE = [
    ("direct", ConvSpec(1, 1), (1, 64, 224, 224), (8, 64, 3, 3)),
    ("direct", ConvSpec(1, 2), (1, 1, 2000, 2000), (2, 1, 5, 5)),
    ("direct", ConvSpec(2, 3), (8, 3, 224, 224), (64, 3, 7, 7)),
    ("direct", ConvSpec(1, 50), (1, 1, 1_000_000), (1, 1, 101)),
    ("direct", ConvSpec(1, 1), (1, 8, 20, 100, 100), (4, 8, 3, 3, 3)),
    ("direct", ConvSpec(1, 1, 1, 16), (1, 16, 500, 500), (16, 1, 3, 3)),
    ("direct", ConvSpec(1, "same"), (1, 1, 1000, 1000), (1, 1, 31, 31)),
    ("direct", ConvSpec(2), (2, 2048, 60, 60), (64, 2048, 1, 1)),
    ("fast", ConvSpec(1, 1), (1, 64, 224, 224), (64, 64, 3, 3)),
    ("fast", ConvSpec(1, 1), (2, 512, 28, 28), (512, 512, 3, 3)),
    ("fast", ConvSpec(1, 60), (1, 1, 2000, 100), (1, 1, 101, 101)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", LARGE, ids=lambda case: f"{case[0]} {case[2]} {case[3]}")
def test_temporary_memory_is_at_most_64_megabytes(case, dtype):
    algorithm, spec, x_shape, w_shape = case
    g = spec.resolve(x_shape, w_shape)
    x, w, dy = np.ones(g.x_shape, dtype), np.ones(g.w_shape, dtype), np.ones(g.y_shape, dtype)
    correlate = CrossCorrelation(g, algorithm)
    calls = [lambda: correlate(x, w), lambda: correlate.input_gradient(dy, w), lambda: correlate.kernel_gradient(x, dy)]
    tracemalloc.start()
    try:
        for call in calls:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            result = call()
            assert tracemalloc.get_traced_memory()[1] - before - result.nbytes <= 64 * MEGABYTE
            del result
    finally:
        tracemalloc.stop()
