"""Kernels in words and numbers: known ones are called what signal processing calls them, and laws hold for all."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from itertools import product

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given

from multiconv.core.errors import UsageError
from multiconv.lessons.kernels import blur, describe, describe_all, directional_edge, parse, second_derivative, table
from multiconv.lessons.kernels.frequency import CIRCLES, DIRECTIONS, magnitudes

SOBEL_X = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
SOBEL_Y = [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]
PREWITT_X = [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]]
LAPLACIAN_4 = [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
LAPLACIAN_8 = [[1, 1, 1], [1, -8, 1], [1, 1, 1]]
BOX = [[Fraction(1, 9)] * 3] * 3
BINOMIAL = [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
IDENTITY = [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
SHIFT = [[0, 0, 0], [0, 0, 1], [0, 0, 0]]
SHARPEN = [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]
ROBERTS = [[1, 0], [0, -1]]
DIAGONAL_MEAN = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def coordinates(size: int) -> tuple[np.ndarray, np.ndarray]:
    steps = np.arange(size) - (size - 1) / 2
    return np.meshgrid(steps, -steps)


def gabor(size: int, frequency: float, sigma: float) -> np.ndarray:
    x, y = coordinates(size)
    return np.exp(-(x**2 + y**2) / (2 * sigma**2)) * np.cos(2 * np.pi * frequency * x)


def laplacian_of_gaussian(size: int, sigma: float) -> np.ndarray:
    x, y = coordinates(size)
    q = (x**2 + y**2) / (2 * sigma**2)
    sampled = (q - 1) * np.exp(-q)
    return sampled - sampled.mean()


BANDS = [
    ("low-pass", BOX),
    ("low-pass", BINOMIAL),
    ("low-pass", [[1, 1]]),
    ("low-pass", [[1], [2], [1]]),
    ("low-pass", DIAGONAL_MEAN),
    ("high-pass", [[1, -1]]),
    ("high-pass", [[1, -2, 1]]),
    ("high-pass", LAPLACIAN_4),
    ("high-pass", LAPLACIAN_8),
    ("high-pass", SHARPEN),
    ("high-pass", ROBERTS),
    ("band-pass", [[-1, 0, 1]]),
    ("band-pass", [[-1], [0], [1]]),
    ("band-pass", SOBEL_X),
    ("band-pass", SOBEL_Y),
    ("band-pass", PREWITT_X),
    ("band-pass", gabor(11, 0.25, 2)),
    ("band-pass", laplacian_of_gaussian(9, 1.4)),
    ("band-stop", [[1, 0, 1]]),
    ("band-stop", [[1], [0], [1]]),
    ("all-pass", IDENTITY),
    ("all-pass", SHIFT),
    ("all-pass", [[3]]),
    ("none", [[0, 0], [0, 0]]),
]


@pytest.mark.parametrize(("band", "kernel"), BANDS)
def test_bands(band, kernel):
    assert describe(kernel).band == band


def test_what_a_band_pass_leaves_is_a_band_stop():
    band_pass = laplacian_of_gaussian(13, 1.4)
    identity = np.pad([[1.0]], 6)
    found = describe(identity + band_pass / describe(band_pass).peak_gain)  # a Laplacian's response is negative
    assert (found.band, found.isotropic) == ("band-stop", True)
    assert found.dc_gain == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("kernel", "derivative", "direction", "gain"),
    [
        (SOBEL_X, "first derivative", 0, 8),
        (SOBEL_Y, "first derivative", 270, 8),
        (np.negative(SOBEL_Y), "first derivative", 90, 8),
        (PREWITT_X, "first derivative", 0, 6),
        ([[1, -1]], "first derivative", 180, 1),
        ([[1], [-1]], "first derivative", 90, 1),
        (ROBERTS, "first derivative", 135, 2**0.5),
        (LAPLACIAN_4, "Laplacian", None, 1),
        (np.negative(LAPLACIAN_4), "Laplacian", None, -1),
        (LAPLACIAN_8, "Laplacian", None, 3),
        (laplacian_of_gaussian(9, 1.4), "Laplacian", None, None),
        ([[1, -2, 1]], "second derivative", 0, 1),
        ([[-1], [2], [-1]], "second derivative", 90, -1),
        ([[-1, 2, -1]] * 3, "second derivative", 0, -3),
        ([[1, -1], [-1, 1]], "mixed second derivative", 135, 0.5),
        ([[0, 1, 0], [2, -6, 2], [0, 1, 0]], "unequal second derivatives", 0, 2),
        ([[-1, 3, -3, 1]], "derivative of order 3", None, None),
        ([[1, -4, 6, -4, 1]], "derivative of order 4", None, None),
        (BOX, None, None, None),
        (SHARPEN, None, None, None),
    ],
)
def test_derivatives(kernel, derivative, direction, gain):
    found = describe(kernel)
    assert found.derivative == derivative
    assert found.direction == direction
    if gain is not None or derivative is None or "order" in derivative:
        assert found.derivative_gain == (None if gain is None else pytest.approx(gain, rel=1e-14))


def test_the_gain_is_what_a_slope_and_a_parabola_become():
    x, y = coordinates(3)
    for kernel, image in ((SOBEL_X, x), (SOBEL_Y, -y), (LAPLACIAN_4, (x**2 + y**2) / 4), ([[-1, 2, -1]] * 3, x**2 / 2)):
        assert describe(kernel).derivative_gain == pytest.approx((np.array(kernel) * image).sum(), rel=1e-14)


def test_smoothing_sharpening_shift_and_identity():
    flags = {
        name: (d.smoothing, d.sharpening, d.shift, d.identity)
        for name, d in (
            (name, describe(kernel))
            for name, kernel in {
                "box": BOX, "binomial": BINOMIAL, "sharpen": SHARPEN, "identity": IDENTITY, "shift": SHIFT,
                "even shift": [[1, 0]], "amplifier": [[2]], "laplacian": LAPLACIAN_4, "sobel": SOBEL_X,
                "log": laplacian_of_gaussian(9, 1.4), "unsharp mask": np.pad([[2.0]], 2) - blur(5),
            }.items()
        )
    }  # fmt: skip
    assert flags == {
        "box": (True, False, None, False),
        "binomial": (True, False, None, False),
        "sharpen": (False, True, None, False),
        "identity": (False, False, (0, 0), True),
        "shift": (False, False, (0, 1), False),
        "even shift": (False, False, (0, -0.5), False),
        "amplifier": (False, False, (0, 0), False),
        "laplacian": (False, False, None, False),
        "sobel": (False, False, None, False),
        "log": (False, False, None, False),
        "unsharp mask": (False, True, None, False),
    }


@pytest.mark.parametrize(
    ("kernel", "along"),
    [
        (SOBEL_X, "the columns"),
        (np.negative(SOBEL_X), "the columns"),
        (np.array(SOBEL_X) / 3, "the columns"),
        (SOBEL_Y, "the rows"),
        (second_derivative(0), "the columns"),
        ([[1, -1]], None),
        ([[0, 0, 0], [-1, 0, 1], [0, 0, 0]], None),
        ([[1, -1], [-1, 1]], None),
        (ROBERTS, None),
        (LAPLACIAN_4, None),
        (BINOMIAL, None),
        (SHIFT, None),
        ([[0, 0], [0, 0]], None),
    ],
)
def test_an_edge_kernel_smooths_along_its_edge(kernel, along):
    found = describe(kernel)
    assert found.smooths_along == along
    assert f"and smooths along {along}" in found.sentence or along is None
    assert ("smooths along" in found.sentence) == (along is not None)


def test_spread_is_the_standard_deviation_of_the_weights():
    assert describe(BOX).spread == pytest.approx(((2 / 3) ** 0.5,) * 2, rel=1e-14)
    assert describe([[1, 4, 6, 4, 1]]).spread == (0, 1)
    assert describe(blur(15, sigma=1.5)).spread == pytest.approx((1.5, 1.5), rel=1e-4)


def test_isotropy_and_its_degree():
    isotropic = {
        "4": LAPLACIAN_4, "8": LAPLACIAN_8, "box": BOX, "gaussian": blur(9, sigma=1.2), "identity": IDENTITY,
    }  # fmt: skip
    found = {name: describe(kernel) for name, kernel in isotropic.items()}
    assert all(d.isotropic for d in found.values())
    assert found["identity"].anisotropy == 0
    assert found["gaussian"].anisotropy < 0.005 < found["box"].anisotropy
    others = [describe(kernel) for kernel in (SOBEL_X, ROBERTS, DIAGONAL_MEAN, [[1, 2, 1]], [[1, -1], [-1, 1]])]
    assert not any(d.isotropic for d in others)
    assert min(d.anisotropy for d in others) > 2 * max(d.anisotropy for d in found.values())


def test_factors():
    assert describe(SOBEL_X).factors == ((1, 2, 1), (-1, 0, 1))
    assert describe(BOX).factors == ((1, 1, 1), (Fraction(1, 9),) * 3)
    assert describe(LAPLACIAN_4).factors is None
    assert describe(np.array(BOX, float)).separable
    column, row = describe(blur(5, sigma=1)).factors
    assert np.outer(column, row) == pytest.approx(blur(5, sigma=1), rel=1e-14)


def test_rank_of_floats_is_decided_at_their_rounding():
    product_of_two = np.outer([0.1, 0.7, 0.3], [0.2, 0.9, 0.4])
    for dtype in ("float16", "float32", "float64"):
        nearly = product_of_two.astype(dtype)
        assert describe(nearly).separable
        nearly[1, 1] += 64 * np.finfo(dtype).eps
        assert not describe(nearly).separable


def test_symmetries():
    found = describe(SOBEL_X)
    assert (found.half_turn, found.left_right, found.up_down) == ("antisymmetric", "antisymmetric", "symmetric")
    found = describe(DIAGONAL_MEAN)
    assert (found.half_turn, found.left_right, found.up_down) == ("symmetric", "neither", "neither")
    found = describe([[1, 2]])
    assert (found.half_turn, found.left_right, found.up_down) == ("neither", "neither", "symmetric")


def test_the_circles_sample_the_dft_of_the_zero_padded_kernel():
    kernel = np.random.default_rng(0).integers(-4, 5, (3, 4))
    size = 2 * CIRCLES
    dft = np.abs(np.fft.fft2(kernel, (size, size)))
    rows = [[Fraction(int(k)) for k in row] for row in kernel]
    circles = magnitudes(rows)
    assert circles[:, 0] == pytest.approx(dft[0, : CIRCLES + 1], abs=1e-12)
    assert circles[:, DIRECTIONS // 2] == pytest.approx(dft[: CIRCLES + 1, 0], abs=1e-12)


def test_a_tolerance_sees_through_noise():
    noise = np.random.default_rng(0).uniform(-0.02, 0.02, (3, 3))
    assert describe(SOBEL_X + noise).order == 0
    found = describe(SOBEL_X + noise, tolerance=0.05)
    assert (found.order, found.separable, found.half_turn) == (1, True, "antisymmetric")
    assert found.direction == pytest.approx(0, abs=1) or found.direction == pytest.approx(360, abs=1)


def test_a_stack():
    found = describe_all(np.array([[SOBEL_X], [LAPLACIAN_8]]))
    assert [d.derivative for d in found] == ["first derivative", "Laplacian"]


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_floats_that_were_rounded_are_described_as_what_they_stand_for(name):
    for kernel in (
        BOX,
        [[Fraction(k, 7) for k in row] for row in SOBEL_X],
        [[Fraction(k, 3) for k in row] for row in SHARPEN],
    ):
        exact, rounded = describe(kernel), describe(np.array(kernel, float).astype(name))
        assert (exact.exact, rounded.exact) == (True, False)
        for field in ("band", "order", "derivative", "direction", "smoothing", "sharpening", "isotropic", "separable"):
            assert getattr(rounded, field) == getattr(exact, field), field


@pytest.mark.parametrize("kernel", [kernel for _, kernel in BANDS])
def test_every_description_can_be_read_and_written(kernel):
    found = describe(kernel)
    assert found.sentence.endswith(".")
    assert found.sentence.count(found.band) >= (found.band != "none")
    assert json.loads(json.dumps(found.asdict())) == found.asdict()
    assert all(isinstance(text, str) for row in table(found) for text in row)


def test_sentences():
    assert describe(SOBEL_Y).sentence == (
        "A band-pass kernel of 3 x 3 that takes the first derivative from top to bottom (270 degrees), times 8, "
        "and smooths along the rows; "
        "DC gain 0; separable: the column (1, 0, -1) times the row (-1, -2, -1); antisymmetric under a half turn, not "
        "isotropic (anisotropy 0.48)."
    )
    assert "that moves the image 1 to the left" in describe(SHIFT).sentence
    assert "that moves the image 1 down and 0.5 to the left" in describe([[0, 1], [0, 0], [0, 0]]).sentence
    assert "along the falling diagonal (135 degrees)" in describe([[1, -1], [-1, 1]]).sentence
    assert "at 30 degrees" in describe(directional_edge(30)).sentence
    assert dict(table(describe(IDENTITY)))["shift"] == "none: the identity"


# What the design functions make is recognised.

angles = st.integers(0, 359)


@given(angles, st.integers(2, 7))
def test_an_edge_has_its_direction(angle, size):
    found = describe(directional_edge(angle, size))
    assert (found.order, found.half_turn) == (1, "antisymmetric")
    assert abs((found.direction - angle + 180) % 360 - 180) < 1e-6
    assert found.derivative_gain == pytest.approx(1, rel=1e-12)
    assert found.separable == (angle % 90 == 0)


@given(angles, st.integers(3, 7))
def test_a_second_derivative_has_its_line(angle, size):
    found = describe(second_derivative(angle, size))
    assert (found.derivative, found.half_turn) == ("second derivative", "symmetric")
    assert abs((found.direction - angle + 90) % 180 - 90) < 1e-6
    assert found.derivative_gain == pytest.approx(1, rel=1e-12)


@given(st.integers(2, 9), st.none() | st.floats(0.7, 4))
def test_a_blur_smooths(size, sigma):
    found = describe(blur(size, sigma))
    assert (found.smoothing, found.isotropic, found.separable, found.half_turn) == (True, True, True, "symmetric")
    assert found.dc_gain == pytest.approx(1, rel=1e-14)
    assert found.band == "low-pass"
    if sigma is None:
        assert found.spread == pytest.approx(((size - 1) ** 0.5 / 2,) * 2, rel=1e-12)


# Laws.

entries = st.integers(-4, 4)
shapes = st.tuples(st.integers(1, 4), st.integers(1, 4))


@st.composite
def integer_kernels(draw):
    height, width = draw(shapes)
    rows = st.lists(st.lists(entries, min_size=width, max_size=width), min_size=height, max_size=height)
    return np.array(draw(rows))


def signed(angle, by):
    """The distance between two angles, one or both of which may be missing."""
    assert (angle is None) == (by is None)
    return 0 if angle is None else angle - by


def unchanged(one, other):
    for field in (
        "band",
        "order",
        "derivative",
        "smoothing",
        "sharpening",
        "identity",
        "isotropic",
        "separable",
        "half_turn",
    ):
        assert getattr(one, field) == getattr(other, field), field
    for field in ("peak_gain", "anisotropy", "derivative_gain"):
        known = [getattr(found, field) or 0 for found in (one, other)]
        assert known[0] == pytest.approx(known[1], rel=1e-9, abs=1e-8), field


@given(integer_kernels())
def test_dc_gain_is_the_sum(kernel):
    assert describe(kernel).dc_gain == kernel.sum()


@given(integer_kernels(), st.fractions(Fraction(1, 50), 50))
def test_a_positive_factor_changes_gains_alone(kernel, factor):
    rational = [[int(k) * factor for k in row] for row in kernel]
    one, other = describe(kernel), describe(rational)
    assert other.dc_gain == one.dc_gain * factor
    assert other.peak_gain == pytest.approx(one.peak_gain * float(factor), rel=1e-12)
    if one.derivative_gain is not None:
        assert other.derivative_gain == pytest.approx(one.derivative_gain * float(factor), rel=1e-12)
    if one.factors:
        assert other.factors == (one.factors[0], tuple(k * factor for k in one.factors[1]))
    gains = {name: getattr(one, name) for name in ("dc_gain", "peak_gain", "derivative_gain", "factors", "identity")}
    assert replace(other, **gains) == one


@given(integer_kernels())
def test_a_quarter_turn_turns_the_direction(kernel):
    one, other = describe(kernel), describe(np.rot90(kernel))
    assert other.shape == one.shape[::-1]
    turn = signed(other.direction, one.direction)
    if one.order == 1:
        assert (turn - 90 + 1) % 360 == pytest.approx(1, abs=1e-6)
    elif one.derivative == "second derivative":
        assert (turn - 90 + 1) % 180 == pytest.approx(1, abs=1e-6)
    assert (other.left_right, other.up_down) == (one.up_down, one.left_right)
    unchanged(other, one)


@given(integer_kernels())
def test_transposing_swaps_the_directions(kernel):
    one, other = describe(kernel), describe(kernel.T)
    both = None if one.direction is None else one.direction + other.direction
    if one.order == 1:
        assert (both - 270 + 1) % 360 == pytest.approx(1, abs=1e-6)
    elif one.derivative == "second derivative":
        assert (both - 90 + 1) % 180 == pytest.approx(1, abs=1e-6)
    assert (other.left_right, other.up_down) == (one.up_down, one.left_right)
    unchanged(other, one)


@given(integer_kernels())
def test_the_other_sign_turns_a_first_derivative_round(kernel):
    one, other = describe(kernel), describe(-kernel)
    assert (other.band, other.order, other.separable) == (one.band, one.order, one.separable)
    if one.order == 1:
        assert (other.direction - one.direction) % 360 == pytest.approx(180, abs=1e-6)


@given(integer_kernels(), st.integers(0, 2), st.integers(0, 2))
def test_a_margin_of_zeros_changes_the_shift_alone(kernel, above, left):
    assume(kernel.any())
    one, other = describe(kernel), describe(np.pad(kernel, ((above, 0), (left, 0))))
    unchanged(replace(other, identity=one.identity), one)


@given(integer_kernels())
def test_separable_is_every_minor_of_two_vanishing(kernel):
    height, width = kernel.shape
    minors = [
        int(kernel[a, c] * kernel[b, d] - kernel[a, d] * kernel[b, c])
        for a, b, c, d in product(range(height), range(height), range(width), range(width))
    ]
    found = describe(kernel)
    assert found.separable == (kernel.any() and not any(minors))
    if found.separable:
        column, row = found.factors
        assert [[c * r for r in row] for c in column] == kernel.tolist()


@given(integer_kernels())
def test_moments_below_the_order_vanish_wherever_the_origin_is(kernel):
    found = describe(kernel)
    assume(found.order is not None)
    columns, rows = np.meshgrid(np.arange(kernel.shape[1]) + 7, np.arange(kernel.shape[0]) - 3)
    for p, q in product(range(found.order), repeat=2):
        if p + q < found.order:
            assert (kernel * columns**p * rows**q).sum() == 0
    assert any((kernel * columns**p * rows ** (found.order - p)).sum() for p in range(found.order + 1))


@given(integer_kernels(), st.sampled_from(["plain", "quoted", "ninths"]))
def test_parse_reads_what_was_written(kernel, form):
    written = {"plain": "{}", "quoted": '"{}"', "ninths": "{}/9"}[form]
    text = str([[written.format(k) for k in row] for row in kernel.tolist()]).replace("'", "")
    assert (parse(text) * (9 if form == "ninths" else 1) == kernel).all()


# Refusals.


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        ([], r"at least one element, .* \(0,\)"),
        ([[], []], r"at least one element, .* \(2, 0\)"),
        (5, r"one or two axes, .* \(\)"),
        (np.zeros((2, 3, 3)), r"one or two axes, .* \(2, 3, 3\)"),
        ([[1, float("nan")]], "finite real number, not nan"),
        ([[1, float("-inf")]], "finite real number, not -inf"),
        ([[1, 2], [3]], r"the same length: \[\[1, 2\], \[3\]\]"),
        ("[[1, 2]]", r"not the text '\[\[1, 2\]\]'"),
        ([["a"]], r"real numbers, not of <U1: \[\['a'\]\]"),
        ([[1j]], "real numbers, not of complex128"),
        ([[None]], "finite real number, not None"),
        ([[1e308, 1e308]], r"more than 1e300: \[\[1e\+308, 1e\+308\]\]"),
    ],
)
def test_what_is_no_kernel_is_refused(kernel, words):
    with pytest.raises(UsageError, match=words):
        describe(kernel)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be a list such as .*, not ''"),
        ("edges", "must be a list such as .*, not 'edges'"),
        ("5", "must be a list such as .*, not '5'"),
        ("[[1, 2]", "must be a list such as"),
        ("[" * 100_000, "must be a list such as"),
        ('{"a": [1]}', "must be a list such as"),
        ("[[1, 2], [3]]", r"the same length.*: \[\[1, 2\], \[3\]\]"),
        ("[[1], 2]", r"the same length.*: \[\[1\], 2\]"),
        ("[[], []]", "not be empty"),
        ("[[1, NaN]]", "'NaN' is not a number"),
        ("[[true]]", "'true' is not a number"),
        ("[1 2]", "'1 2' is not a number"),
        ("[1/0]", "'1/0' divides by zero"),
        ("[1e999999999]", "'1e999999999' is not a number"),
    ],
)
def test_what_is_no_text_of_a_kernel_is_refused(text, words):
    with pytest.raises(UsageError, match=words):
        parse(text)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: blur(0), "at least 1, not 0"),
        (lambda: blur(3, sigma=0), "positive and finite, not 0"),
        (lambda: directional_edge(0, 1), "at least 2, not 1"),
        (lambda: directional_edge(float("nan")), "finite, not nan"),
        (lambda: second_derivative(0, 2), "at least 3, not 2"),
        (lambda: second_derivative(0, 3.0), "at least 3, not 3.0"),
        (lambda: describe([[1]], tolerance=-1), r"\[0, 1\), not -1"),
        (lambda: describe_all(SOBEL_X), r"at least three axes.* \(3, 3\)"),
    ],
)
def test_what_cannot_be_made_is_refused(make, words):
    with pytest.raises(UsageError, match=words):
        make()
