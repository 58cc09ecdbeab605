"""`mc.explain` and ``multiconv explain``: the numbers, against counting by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import ROOT

import multiconv as mc
from multiconv.cli.main import main
from multiconv.subjects.explain import LARGEST_AXIS
from multiconv.subjects.pages import symmetric_sentence
from multiconv.subjects.pictures import rows
from multiconv.subjects.words import parse_words
from multiconv.testing.drawing import draw_problems

SPECS = [(p.spec, p.x.shape, p.w.shape) for p in draw_problems(150, 4)]


def outputs_of(g: mc.Geometry, axis: int) -> list[list[int]]:
    """The pixels that each output sees along an axis; negative or too large on the padding."""
    return [
        [i * g.stride[axis] + j * g.dilation[axis] - g.pads[axis][0] for j in range(g.kernel[axis])]
        for i in range(g.out[axis])
    ]


@pytest.mark.parametrize(("spec", "x_shape", "w_shape"), SPECS)
def test_the_numbers_are_those_that_counting_gives(
    spec: mc.ConvSpec, x_shape: tuple[int, ...], w_shape: tuple[int, ...]
) -> None:
    of = mc.explain(x_shape, w_shape, bias=True, dtype="float64", **vars(spec))
    g = spec.resolve(x_shape, w_shape)
    on_pixels = g.batch * w_shape[0] * w_shape[1]
    for number, axis in enumerate(of.axes):
        windows = outputs_of(g, number)
        seen = {pixel for window in windows for pixel in window}
        unseen = [pixel for pixel in range(g.size[number]) if pixel not in seen]
        assert [pixel for a, b in axis.unseen for pixel in range(a, b + 1)] == unseen
        assert axis.unseen_pixels == len(unseen)
        on_pixels *= sum(0 <= pixel < g.size[number] for window in windows for pixel in window)
        left, _, right = axis.formula.rpartition(" = ")
        assert eval(left) == int(right) == g.out[number]
    assert of.multiply_adds_on_pixels == on_pixels
    assert of.multiply_adds == g.batch * g.products
    assert of.parameters == np.prod(w_shape) + w_shape[0]
    assert of.bytes == {
        "x": 8 * np.prod(x_shape), "w": 8 * np.prod(w_shape), "bias": 8 * w_shape[0], "y": 8 * np.prod(g.y_shape)
    }  # fmt: skip
    assert of.im2col_bytes == 8 * g.batch * g.in_channels * np.prod(g.kernel) * np.prod(g.out)


@pytest.mark.parametrize("word", ["same", "same_lower"])
@pytest.mark.parametrize("stride", range(1, 6))
@pytest.mark.parametrize("kernel", range(1, 9))
def test_one_number_of_padding_is_right_at_the_sizes_that_are_said(word: str, stride: int, kernel: int) -> None:
    def windows(size: int, padding: object) -> list[list[int]]:
        spec = mc.ConvSpec(stride=stride, padding=padding)  # type: ignore[arg-type]
        return outputs_of(spec.resolve((1, 1, size), (1, 1, kernel)), 0)

    axis = mc.explain((1, 1, 17), (1, 1, kernel), stride=stride, padding=word).axes[0]
    sizes = range(10, 40)
    right = {p: {n for n in sizes if windows(n, word) == windows(n, p)} for p in range(8)}
    said = {n for n in sizes if n % stride in axis.right_for}
    if axis.symmetric is None:
        assert not any(right.values())
    else:
        assert right[axis.symmetric] == said
        assert len({n % stride for n in said}) == max(len({n % stride for n in of}) for of in right.values())
    assert axis.right_here == (axis.symmetric is not None and 17 in right[axis.symmetric])


def test_the_pads_are_shown_until_they_repeat() -> None:
    axis = mc.explain((1, 3, 224, 224), (64, 3, 7, 7), stride=2, padding="same").axes[0]
    assert [(row.size, row.pads, row.out) for row in axis.sizes] == [(224, (2, 3), 112), (225, (3, 3), 113)]
    assert symmetric_sentence(axis) == "padding=3 in torch or MXNet is right for odd sizes only"


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "sentence"),
    [
        (20, 2, 1, "same", "no single number of padding, as torch and MXNet take it, is right at any size"),
        (20, 3, 2, "same_lower", "padding=1 in torch or MXNet is right at every size"),
        (20, 2, 2, "same", "padding=0 in torch or MXNet is right for even sizes only"),
        (20, 5, 3, "same", "padding=1 in torch or MXNet is right only for sizes n with n % 3 = 0"),
        (19, 5, 3, "same", "padding=2 in torch or MXNet is right only for sizes n with n % 3 = 1"),
    ],
)
def test_what_one_number_of_padding_does_is_said(
    size: int, kernel: int, stride: int, padding: str, sentence: str
) -> None:
    axis = mc.explain((1, 1, size), (1, 1, kernel), stride=stride, padding=padding).axes[0]
    assert symmetric_sentence(axis) == sentence


def test_a_transposed_convolution_has_pixels_without_a_product() -> None:
    of = mc.explain((1, 4, 6), (4, 2, 3), stride=3, padding=((1, 0),), dilation=2, direction="conv_transpose")
    assert (of.x_shape, of.y_shape) == ((1, 4, 6), (1, 2, 19))
    ones = mc.backend("numpy").conv_transpose(np.ones((1, 4, 6)), np.ones((4, 2, 3)), stride=3, padding=((1, 0),),
                                              dilation=2)  # fmt: skip
    assert [p for a, b in of.axes[0].unseen for p in range(a, b + 1)] == np.flatnonzero(ones[0, 0] == 0).tolist()
    assert of.axes[0].formula == "(6 - 1) * 3 + 5 - 1 - 0 = 19"
    padded = mc.explain((1, 1, 3), (1, 1, 2), stride=2, output_padding=1, direction="conv_transpose")
    assert padded.axes[0].formula == "(3 - 1) * 2 + 2 - 0 - 0 + 1 = 7"


def test_the_picture_has_a_tap_where_an_output_sees_a_pixel() -> None:
    axis = mc.explain((1, 1, 9), (1, 1, 2), stride=3, dilation=2, padding=((1, 0),)).axes[0]
    shown = rows(axis, transposed=False)
    assert [row.label for row in shown] == ["x", "y[0]", "y[1]", "y[2]"]
    assert ["".join(str(m) for m in row.marks) for row in shown] == [
        "0x--x--x-x", "* *       ", "   * *    ", "      * * ",
    ]  # fmt: skip


def test_a_long_axis_is_shown_by_its_ends() -> None:
    axis = mc.explain((1, 1, 1000), (1, 1, 3)).axes[0]
    shown = rows(axis, transposed=False, widest=10)
    assert "".join("_" if m is None else m for m in shown[-1].marks) == "     _  ***"
    assert [row.label for row in shown] == ["x", "y[0]", "y[1]", "y[2]", "y[996]", "y[997]"]


# ---- The command


def explained(*words: str) -> str:
    ran = CliRunner().invoke(main, ["explain", *words])
    assert ran.exit_code == 0, ran.output
    return ran.output


def test_the_command_says_what_a_person_asks() -> None:
    text = explained("x=1,3,224,224 w=64,3,7,7 stride=2 padding=same")
    assert "Spatial axes 0 and 1: (224 + 2 + 3 - 7) // 2 + 1 = 112\n" in text
    assert "  padding by size: at 224: (2, 3); at 225: (3, 3)\n" in text
    assert "Multiply-adds: 118,013,952, 1.5% of them with zeros of the padding\n" in text
    assert "    x = F.pad(x, (2, 3, 2, 3))\n    y = F.conv2d(x, w, stride=2)\n" in text
    assert explained("x=1,3,224,224", "w=64,3,7,7", "stride=2", "padding=SAME") == text


def test_the_page_shows_what_the_command_prints() -> None:
    page = (ROOT / "docs" / "explain.md").read_text(encoding="utf-8")
    assert explained("x=1,3,224,224 w=64,3,7,7 stride=2 padding=same") in page


def test_what_the_floor_drops_is_said_for_each_size() -> None:
    text = explained("x=1,1,8 w=1,1,2 stride=3")
    assert "  2 of 8 pixels of the input are seen by no output: 2, 5\n" in text
    assert "pixels left over at the end, by size: 8: 0, 9: 1, 10: 2\n" in text


def test_a_layer_by_name_and_by_its_descriptor() -> None:
    assert explained("resnet50", "conv1").startswith("x (1, 3, 224, 224) and w (64, 3, 7, 7) give y (1, 64, 112, 112).")
    assert "y (2, 64, 28, 28)" in explained("mb2ic64ih56oc64oh28kh3sh2ph0")


def test_json_and_svg_go_to_files(tmp_path: Path) -> None:
    json_file, svg = tmp_path / "x.json", tmp_path / "x.svg"
    explained("x=1,1,9,5 w=1,1,2,2 stride=3,1", "--json", str(json_file), "--svg", str(svg))
    of = mc.explain((1, 1, 9, 5), (1, 1, 2, 2), stride=(3, 1))
    assert json.loads(json_file.read_text()) == json.loads(json.dumps(of.asdict()))
    drawn = ElementTree.fromstring(svg.read_text())
    taps = sum(row.marks.count("*") for axis in of.axes for row in rows(axis, transposed=False))
    assert len([r for r in drawn.iter("{http://www.w3.org/2000/svg}rect") if r.get("fill") == "#0072b2"]) == taps + 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("x=1,1,4 w=1,1,3 stide=2", "there is no option 'stide' (did you mean 'stride'?): a convolution is given as"),
        ("x=1,1,4 w=1,1,3 stride=", "stride has no value: write stride=..., without a space"),
        ("x=1,1,4 w=1,1,3 x=1,1,5", "x is given twice"),
        ("x=1,1,4", "the shape of w is missing: write w=... with a number per axis"),
        ("x=1,1,4 w=1,1,-3", "w must have whole numbers from 0, not '-3'"),
        ("x=1,1,4 w=1,1,3 bias=yes", "bias must be true or false, not 'yes'"),
        ("x=1,1,4 w=1,1,3 padding=sane", "padding must be a number, one number or (before, after) pair per axis, or"),
        ("x=1,1,4 w=1,1,3 dtype=float31", "did you mean 'float32'?"),
        ("x=1,1,4 w=1,1,3 output_padding=1", "output_padding is an option of a transposed convolution"),
        ("x=1,1,2 w=1,1,3", "the kernel is larger than the padded input"),
        (f"x=1,1,{LARGEST_AXIS + 1} w=1,1,3", "explain takes at most 1048576"),
        ("resnet50 conv99", "resnet50 has no layer 'conv99'"),
    ],
)
def test_wrong_words_get_one_sentence(words: str, sentence: str) -> None:
    ran = CliRunner().invoke(main, ["explain", words])
    assert ran.exit_code == 2
    assert sentence in ran.stderr
    assert len(re.findall("Error: ", ran.stderr)) == 1


def test_wrong_arguments_get_one_sentence() -> None:
    with pytest.raises(mc.UsageError, match=r"the shape of x must be a tuple of ints, not '1,1,4'"):
        mc.explain("1,1,4", (1, 1, 3))  # type: ignore[arg-type]
    with pytest.raises(mc.UsageError, match=r"did you mean 'conv_transpose'"):
        mc.explain((1, 1, 4), (1, 1, 3), direction="transpose")
    with pytest.raises(mc.UsageError, match=r"must not have negative numbers"):
        mc.explain((1, 1, -4), (1, 1, 3))
    with pytest.raises(mc.UsageError, match=r"bias must be True or False, not 1"):
        mc.explain((1, 1, 4), (1, 1, 3), bias=1)  # type: ignore[arg-type]


def test_pads_in_words() -> None:
    assert parse_words("x=1,1,4,4 w=1,1,3,3 padding=2:3,1")["padding"] == ((2, 3), 1)
    assert parse_words("x=1,1,4 w=1,1,3 padding=2")["padding"] == 2
    assert parse_words("x=1,1,4 w=1,1,3 padding=0:1 bias=True layout=nwc") == {
        "x_shape": (1, 1, 4), "w_shape": (1, 1, 3), "padding": ((0, 1),), "bias": True, "layout": "NWC"
    }  # fmt: skip
