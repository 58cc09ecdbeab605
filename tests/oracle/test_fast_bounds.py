"""FFT and Winograd convolutions of somebody else, judged by the bound of their kind."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

from multiconv.core import bounds
from multiconv.core.spec import ConvSpec
from multiconv.oracle import fast_bounds
from multiconv.oracle.fast_bounds import ALGORITHMS, POINTS, normwise_constant, toom_cook
from multiconv.oracle.judgement import judge
from multiconv.testing.drawing import draw_problems
from multiconv.testing.problem_values import given_values, with_values

HINT = 'judge it by the bound of that, with algorithm="fft" or algorithm="winograd"'


def padded(problem):
    g = problem.geometry
    return np.pad(problem.x, ((0, 0), (0, 0), *g.pads))


def by_fft(problem, w=None):
    """A convolution by transforms in the problem's own precision, of the smallest power of two that holds it."""
    g, x = problem.geometry, padded(problem)
    w = problem.w if w is None else w
    axes = tuple(range(2, x.ndim))
    size = [1 << (n + e - 2).bit_length() for n, e in zip(g.padded, g.extent)]
    dilated = np.zeros((*w.shape[:2], *g.extent), w.dtype)
    dilated[(..., *(slice(None, None, d) for d in g.dilation))] = w
    spectrum = np.conj(scipy.fft.rfftn(dilated, size, axes))
    windows = scipy.fft.rfftn(x, size, axes).reshape(g.batch, g.groups, -1, *scipy.fft.rfftn(x, size, axes).shape[2:])
    spectrum = spectrum.reshape(g.groups, -1, *spectrum.shape[1:])
    y = scipy.fft.irfftn(np.einsum("ngc...,goc...->ngo...", windows, spectrum), size, tuple(a + 1 for a in axes))
    y = y.reshape(g.batch, g.out_channels, *size)[
        (..., *(slice(0, (o - 1) * s + 1, s) for o, s in zip(g.out, g.stride)))
    ]
    if problem.bias is not None:
        y = y + problem.bias.reshape(-1, *[1] * g.ndim)
    return y.astype(problem.dtype)


def matrices(outputs, taps=3):
    """Of F(outputs, taps), at as many of the usual points as it takes."""
    points, n = POINTS[: outputs + taps - 2], outputs + taps - 1

    def evaluation(terms):
        return np.concatenate([np.vander(points, terms, increasing=True), np.eye(terms)[-1:]])

    return evaluation(outputs).T, evaluation(taps), np.linalg.inv(evaluation(n)).T


def by_winograd(problem, outputs, w=None):
    """Tiles of so many outputs along both axes, in float32."""
    g, w = problem.geometry, problem.w if w is None else w
    tiles = [-(-o // outputs) for o in g.out]
    x = padded(problem)
    x = np.pad(x, ((0, 0), (0, 0), *((0, t * outputs + 2 - n) for t, n in zip(tiles, x.shape[2:]))))
    output, kernel, data = (m.astype("float32") for m in matrices(outputs))
    y = np.zeros((g.batch, g.out_channels, *(t * outputs for t in tiles)), "float32")
    in_group, out_group = g.in_channels // g.groups, g.out_channels // g.groups
    transformed = kernel @ w @ kernel.T
    for i, j in np.ndindex(*tiles):
        tile = x[:, :, i * outputs : (i + 1) * outputs + 2, j * outputs : (j + 1) * outputs + 2]
        seen = (data @ tile @ data.T).reshape(g.batch, g.groups, in_group, outputs + 2, outputs + 2)
        of_group = transformed.reshape(g.groups, out_group, in_group, outputs + 2, outputs + 2)
        products = np.einsum("ngcij,gocij->ngoij", seen, of_group).reshape(g.batch, g.out_channels, *seen.shape[3:])
        y[:, :, i * outputs : (i + 1) * outputs, j * outputs : (j + 1) * outputs] = output @ products @ output.T
    y = y[:, :, : g.out[0], : g.out[1]]
    return y if problem.bias is None else y + problem.bias.reshape(-1, 1, 1)


def shifted(problem):
    """The kernel turned by one tap, which is wrong."""
    return np.roll(problem.w, 1, axis=-1)


DRAWN = [
    p
    for p in draw_problems(120, 0, values=("normal", "wide", "integers"), layouts=("channels first",))
    if p.geometry.batch and not p.spec.channels_last
]
WINOGRAD = [
    with_values("w", spec, spec.resolve(x, w), "float32", bias=bias, values=values, seed=seed)
    for seed, (spec, x, w, bias) in enumerate(
        [
            (ConvSpec(padding=1), (2, 3, 14, 15), (4, 3, 3, 3), True),
            (ConvSpec(), (1, 8, 12, 9), (8, 8, 3, 3), False),
            (ConvSpec(padding=2, groups=2), (1, 64, 9, 9), (4, 32, 3, 3), True),
        ]
    )
    for values in ("normal", "wide")
]


def forward(problem, algorithm):
    return problem.expectations(["forward"], algorithm)["forward"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_fft_is_within_its_bound_and_a_shifted_kernel_is_not(dtype):
    wrong = several = 0
    for problem in DRAWN:
        if problem.dtype != dtype:
            continue
        assert judge(by_fft(problem), forward(problem, "fft")).fault is None
        if problem.geometry.kernel[-1] > 1 and problem.geometry.products < 10_000:
            several += 1
            wrong += judge(by_fft(problem, shifted(problem)), forward(problem, "fft")).fault is not None
    assert several > 10
    assert wrong >= several - 2  # but where only padding is seen


@pytest.mark.parametrize("outputs", [2, 4, 6])
@pytest.mark.parametrize("problem", WINOGRAD, ids=lambda p: f"{p.values}-{p.geometry.in_channels}")
def test_winograd_is_within_its_bound_and_a_shifted_kernel_is_not(problem, outputs):
    expected = forward(problem, "winograd")
    assert judge(by_winograd(problem, outputs), expected).fault is None
    assert judge(by_winograd(problem, outputs, shifted(problem)), expected).symptom == "values"


@pytest.mark.parametrize("algorithm", ["fft", "winograd"])
def test_a_direct_sum_is_within_the_bound_of_any_algorithm(algorithm):
    for problem in DRAWN[:40]:
        right = forward(problem, "direct").value.astype(problem.dtype)
        assert judge(right, forward(problem, algorithm)).fault is None


def test_by_the_bound_of_an_fft_integers_need_not_be_exact_and_no_loss_is_told():
    problem = next(p for p in DRAWN if p.integers and p.dtype == "float32" and p.geometry.products > 1000)
    assert not forward(problem, "direct").bound.any()
    expected = forward(problem, "fft")
    assert expected.bound.min() > 0
    assert expected.rounding is expected.fast is None
    assert np.all(expected.bound >= fast_bound(problem, "fft"))


def fast_bound(problem, algorithm):
    g, dtype = problem.geometry, problem.dtype
    c = normwise_constant(g, "forward", algorithm, dtype)
    return bounds.normwise("forward", problem.x, problem.w, problem.bias, problem.dy, g, c, dtype)


# ---- The words that say what to do


def large_beside_small():
    """An image one of whose pixels is so large that transforms lose the others."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 2, 12, 12)).astype("float32"), rng.standard_normal((3, 2, 3, 3)).astype("float32")
    x[0, 0, 0, 0] = 1e5
    return given_values("mine", ConvSpec(), x, w)


@pytest.mark.parametrize("algorithm", ["fft", "winograd"])
def test_judged_as_direct_the_words_say_how_to_judge_a_fast_algorithm(algorithm):
    problem = large_beside_small()
    answer = by_fft(problem) if algorithm == "fft" else by_winograd(problem, 6)
    judgement = judge(answer, forward(problem, "direct"))
    assert judgement.symptom == "values"
    assert judgement.fault.endswith(HINT)
    assert judge(answer, forward(problem, algorithm)).fault is None


def test_they_say_it_of_integers_too():
    x = np.random.default_rng(0).integers(-4, 5, (1, 4, 12, 12)).astype("float32")
    problem = given_values("mine", ConvSpec(), x, np.ones((2, 4, 3, 3), "float32"))
    answer = by_fft(problem)
    assert np.any(answer != np.rint(answer))
    assert judge(answer, forward(problem, "direct")).fault.endswith(HINT)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_they_are_not_said_of_a_wrong_answer(algorithm):
    problem = large_beside_small()
    expected = forward(problem, algorithm)
    right = expected.value.astype("float32")
    for wrong in (by_fft(problem, shifted(problem)), -right, np.where(right == right[0, 0, 3, 3], np.nan, right)):
        judgement = judge(wrong, expected)
        assert judgement.symptom == "values"
        assert "algorithm" not in judgement.fault
    assert "algorithm" not in str(judge(right.astype("float64"), expected).fault)
    assert judge(right, expected).fault is None


def test_an_answer_with_one_wrong_element_among_those_of_an_fft_gets_no_hint():
    problem = large_beside_small()
    answer = by_fft(problem)
    answer[0, 1, 5, 5] += 1e6
    assert "algorithm" not in judge(answer, forward(problem, "direct")).fault


# ---- The constants


@pytest.mark.parametrize("taps", range(2, 8))
def test_toom_cook_makes_a_correlation(taps):
    rng = np.random.default_rng(taps)
    output, kernel, data = toom_cook(taps)
    x, w = rng.standard_normal(8), rng.standard_normal(taps)
    right = np.correlate(x, w, "valid")
    assert output.shape == (9 - taps, 8)
    np.testing.assert_allclose(output @ ((kernel @ w) * (data @ x)), right, atol=1e-12)


def constant(direction="forward", algorithm="direct", x=(3, 4, 14, 9), w=(6, 2, 3, 3), dtype="float32", **options):
    return normwise_constant(ConvSpec(groups=x[1] // w[1], **options).resolve(x, w), direction, algorithm, dtype)


@pytest.mark.parametrize(
    ("direction", "terms"),
    [
        *(("forward", 2), ("convolve", 2), ("layer", 2), ("input gradient", 3), ("conv_transpose", 3)),
        *(("kernel gradient", 3), ("bias gradient", 1)),
    ],
)
def test_the_constants_are_those_of_the_transform_or_the_tile(direction, terms):
    of_fft = bounds.fft_constant((16, 16), terms, "float32")
    of_winograd = bounds.winograd_constant(*toom_cook(3), ndim=2, channels=terms, dtype="float32")
    assert constant(direction, "fft") == of_fft
    assert constant(direction, "winograd") == of_winograd
    assert constant(direction, "direct") == max(of_fft, of_winograd)
    assert constant(direction, "direct", dtype="float64") > 0


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"x": (1, 2, 14, 14), "w": (2, 2, 3, 3)}, (16, 16)),
        ({"x": (1, 2, 15, 14), "w": (2, 2, 3, 3)}, (32, 16)),
        ({"x": (1, 2, 14, 14), "w": (2, 2, 3, 3), "padding": ((0, 0), (0, 1))}, (16, 32)),
        ({"x": (1, 2, 12, 12), "w": (2, 2, 3, 3), "dilation": (2, 1)}, (16, 16)),
        ({"x": (1, 2, 13, 12), "w": (2, 2, 3, 3), "dilation": (2, 1)}, (32, 16)),
        ({"x": (1, 2, 1), "w": (2, 2, 1)}, (1,)),
    ],
)
def test_a_transform_is_as_large_as_the_padded_image_and_the_kernel(options, size):
    assert constant(algorithm="fft", **options) == bounds.fft_constant(size, 2, "float32")


@pytest.mark.parametrize(
    ("kernel", "taps", "ndim"), [((3, 3), 3, 2), ((1, 5), 5, 1), ((7, 2), 7, 2), ((8, 3), 3, 1), ((1, 1), 2, 0)]
)
def test_tiles_are_along_the_axes_whose_kernel_has_2_to_7_taps(kernel, taps, ndim):
    got = constant(algorithm="winograd", x=(1, 2, 14, 14), w=(2, 2, *kernel))
    assert got == bounds.winograd_constant(*toom_cook(taps), ndim=ndim, channels=2, dtype="float32")


def test_the_points_are_those_of_the_largest_tile_in_use():
    assert len(set(POINTS)) == 7
    assert fast_bounds.ALGORITHMS == ("direct", "fft", "winograd")
