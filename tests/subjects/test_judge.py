"""Who is right of several answers, by how much the others are wrong, where, and why."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import multiconv as mc
from multiconv.oracle import exact
from multiconv.subjects.picture import picture

RNG = np.random.default_rng(0)
NUMPY = mc.backend("numpy")


def drawn(*shape: int, dtype: str = "float32") -> Any:
    return RNG.standard_normal(shape).astype(dtype)


def test_the_right_answer_is_named_and_the_wrong_one_is_explained() -> None:
    x, w, bias = drawn(2, 3, 7, 9), drawn(4, 3, 3, 3), drawn(4)
    right = NUMPY.cross_correlate(x, w, bias, stride=2, padding=1)
    wrong = NUMPY.convolve(x, w, bias, stride=2, padding=1)
    found = mc.judge(x, w, {"torch": right, "mine": wrong}, bias=bias, stride=2, padding=1)
    assert (found.right, found.wrong) == (("torch",), ("mine",))
    assert found.summary == "torch is right. mine is wrong."
    verdict = found["mine"]
    assert verdict.ratio > 1
    assert verdict.ulps is not None
    assert verdict.ulps > 100
    assert verdict.wrong > 0.9 * right.size
    assert verdict.diagnosis is not None
    assert verdict.diagnosis.mistakes == ("kernel-flipped",)
    assert "why: the kernel is flipped along every spatial axis: equal within rounding" in str(found)
    assert found["torch"].diagnosis is None
    assert 0 < found["torch"].ratio <= 1


def test_answers_that_differ_by_rounding_are_both_right() -> None:
    x, w = drawn(1, 8, 5, 5), drawn(4, 8, 3, 3)
    once = exact.correctly_rounded("forward", x, w, None, None, mc.ConvSpec().resolve(x.shape, w.shape))
    found = mc.judge(x, w, once, np.nextafter(once, np.float32(np.inf)))
    assert found.wrong == ()
    assert found.differ == 1
    assert found.summary == "answer 1 and answer 2 are right: they differ by rounding only, by at most 1 ulp."
    assert mc.judge(x, w, once, once).summary == "answer 1 and answer 2 are right, and equal."


def test_the_picture_shows_where() -> None:
    x, w = drawn(2, 3, 6, 7), drawn(4, 3, 3, 3)
    right = NUMPY.cross_correlate(x, w, padding=1)
    wrong = right.copy()
    wrong[1, 2:, :, 6] = 0
    verdict = mc.judge(x, w, right, wrong, padding=1)["answer 2"]
    assert verdict.wrong == 12
    assert verdict.picture.splitlines() == [
        "12 of 336 elements are wrong: images: 1 of 0-1; channels: 2-3 of 0-3", *["......+"] * 6
    ]  # fmt: skip
    assert verdict.diagnosis is None


def test_a_large_picture_is_drawn_in_blocks() -> None:
    wrong = np.zeros((1, 1, 96, 96), bool)
    wrong[..., :48] = True
    lines = picture(wrong).splitlines()
    assert "each sign stands for up to 6x2 pixels" in lines[0]
    assert len(lines) == 17
    assert set(lines[1:]) == {"#" * 24 + "." * 24}


@pytest.mark.parametrize("direction", ["convolve", "conv_transpose", "input gradient", "kernel gradient"])
def test_every_direction_and_layout(direction: str) -> None:
    x, w, dy = drawn(2, 6, 5, 4), drawn(6, 2, 3, 2), drawn(2, 3, 3, 6)
    options: dict[str, Any] = {"stride": 2, "padding": "same", "groups": 2, "layout": "NHWC"}
    x_bias = None
    if direction == "convolve":
        right = NUMPY.convolve(x, w, **options)
    elif direction == "conv_transpose":
        x, x_bias = drawn(2, 3, 2, 6), drawn(4)
        right = NUMPY.conv_transpose(x, w, x_bias, **options)
    else:
        right = NUMPY.cross_correlate_vjp(x, w, None, dy, **options)[direction == "kernel gradient"]
    wrong = 2 * right
    found = mc.judge(
        x, w, right, wrong, bias=x_bias, dy=dy if "grad" in direction else None, direction=direction, **options
    )
    assert found.right == ("answer 1",)
    assert found["answer 2"].diagnosis is not None
    assert found["answer 2"].diagnosis.mistakes == ("doubled",)


def test_the_bias_gradient() -> None:
    x, w, dy = drawn(2, 1, 4, 4), drawn(3, 1, 2, 2), drawn(2, 3, 3, 3)
    right = NUMPY.cross_correlate_vjp(x, w, np.zeros(3, "float32"), dy)[2]
    found = mc.judge(x, w, right, right / 9, dy=dy, direction="bias gradient")
    assert found.right == ("answer 1",)
    assert found["answer 2"].diagnosis is not None
    assert found["answer 2"].diagnosis.mistakes == ("mean-over-pixels",)


def test_integers_must_be_exact() -> None:
    x, w = RNG.integers(-128, 128, (1, 3, 5, 5), np.int8), RNG.integers(-128, 128, (2, 3, 3, 3), np.int8)
    right = NUMPY.cross_correlate(x.astype("float64"), w.astype("float64")).astype(np.int32)
    found = mc.judge(x, w, right, right + 1, right.astype(np.int8))
    assert found.right == ("answer 1",)
    assert found["answer 2"].ulps == 1
    assert found["answer 3"].diagnosis is not None
    assert found["answer 3"].diagnosis.mistakes == ("wraps-as-int8",)
    assert not found["answer 3"].diagnosis.within_rounding


def test_an_answer_in_another_dtype_is_judged_by_its_values() -> None:
    x, w = drawn(1, 3, 5, 5), drawn(2, 3, 3, 3)
    right = NUMPY.cross_correlate(x, w)
    found = mc.judge(x, w, right.astype("float64"), right.astype("float16"))
    assert found.right == ("answer 1",)
    assert "(the answer is float16, the arrays are float32)" in str(found["answer 2"].fault)


def test_an_answer_of_another_shape_is_explained() -> None:
    x, w = drawn(1, 3, 5, 5), drawn(2, 3, 3, 3)
    found = mc.judge(x, w, NUMPY.cross_correlate(x, w, padding=1), NUMPY.cross_correlate(x, w), padding=1)
    verdict = found["answer 2"]
    assert (verdict.ulps, verdict.picture) == (None, "")
    assert verdict.diagnosis is not None
    assert verdict.diagnosis.mistakes == ("padding-ignored",)


X, W = np.ones((1, 2, 4, 4), "float32"), np.ones((2, 2, 3, 3), "float32")
Y = np.full((1, 2, 2, 2), 18, "float32")


@pytest.mark.parametrize(
    ("answers", "options", "said"),
    [
        ((Y,), {}, "there must be at least two answers to judge, not 1"),
        (({},), {}, "there must be at least two answers to judge, not 0"),
        ((Y, Y), {"strides": 2}, "there is no option 'strides' (did you mean 'stride'?)"),
        ((Y, Y), {"stride": 0}, "stride must be at least 1, not 0"),
        ((Y, Y), {"direction": "foward"}, "not 'foward' (did you mean 'forward'?)"),
        ((Y, Y), {"direction": "input gradient"}, "the input gradient needs dy, the gradient of the result"),
        (
            (Y, Y),
            {"direction": "kernel gradient", "dy": Y[:, :1]},
            "dy must have the shape of the result, (1, 2, 2, 2)",
        ),
        ((Y, Y), {"bias": np.ones(3, "float32")}, "bias must have shape (2,), not (3,)"),
        ((Y, Y), {"bias": np.ones(2)}, "x is float32, w is float32, bias is float64: convert them"),
        ((Y, Y), {"output_padding": 1}, "output_padding is an option of direction='conv_transpose' only"),
        ((Y, Y.astype(complex)), {}, "answer 2 is complex128: answers are judged in integers and"),
        ((Y, [[1], [2, 3]]), {}, "answer 2 can't be converted to a NumPy array: ValueError"),
    ],
)
def test_bad_usage_is_one_sentence(answers: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(mc.UsageError) as raised:
        mc.judge(X, W, *answers, **options)
    assert said in str(raised.value)


def test_large_integers_are_refused() -> None:
    with pytest.raises(mc.UsageError, match=r"x has integers beyond 2\^18"):
        mc.judge(np.full((1, 1, 3), 2**18 + 1), np.ones((1, 1, 2), int), Y, Y)


def test_importing_multiconv_does_not_import_it() -> None:
    said = "import multiconv, sys; print('multiconv.subjects' in sys.modules, multiconv.judge.__name__)"
    assert subprocess.run([sys.executable, "-c", said], capture_output=True, text=True).stdout == "False judge\n"
    with pytest.raises(AttributeError, match="no attribute 'jugde'"):
        mc.jugde  # noqa: B018
