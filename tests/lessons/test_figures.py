"""The pictures of lessons."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from multiconv.core.errors import UsageError
from multiconv.lessons.figures import KINDS, draw
from multiconv.lessons.run import BACKENDS, Tab
from multiconv.lessons.text import Picture

VALUES = {
    "losses": np.geomspace(10, 0.1, 10).astype("float32"),
    "image": np.arange(12, dtype="float32").reshape(3, 4),
    "signed": np.array([[1, -1], [0, 2]]),
    "stack": np.arange(2 * 9).reshape(2, 3, 3),
    "batch": np.arange(8 * 9).reshape(8, 1, 3, 3) % 2 == 0,
    "time": np.array(3.5),
    "zeros": np.zeros((2, 2)),
}


def tabs(*names):
    return {name: Tab(name, values=VALUES) for name in names}


@pytest.mark.parametrize(
    ("kind", "values", "images"),
    [
        ("images", ("image",), 1),
        ("images", ("image", "signed", "zeros"), 3),
        ("images", ("stack", "image"), 3),
        ("images", ("image", "batch"), 9),
        ("curves", ("losses",), 0),
        ("curves", ("losses", "losses"), 0),
        ("bars", ("losses",), 0),
        ("bars", ("time", "time"), 0),
        ("bars", ("time", "losses"), 0),
    ],
)
def test_each_kind_is_an_svg_in_the_colour_of_the_text_and_the_same_each_time(kind, values, images):
    picture = Picture(values, kind, 'A "caption" & <more>')
    svg = draw(picture, tabs(*BACKENDS))
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("aria-label") == 'A "caption" & <more>'
    assert svg.count("<image") == images
    assert "currentColor" in svg
    assert not re.search(r"#000000|#ffffff(?! *;)", svg.lower().replace("fill: #ffffff", "")), "black or white lines"
    assert draw(picture, tabs(*BACKENDS)) == svg


def test_two_pictures_in_a_page_share_no_id():
    first, second = (
        set(re.findall(r'\bid="([^"]*)"', draw(Picture((name,), kind), tabs("numpy"))))
        for name, kind in (("image", "images"), ("losses", "curves"))
    )
    assert not first & second


def test_all_backends_have_a_curve_of_their_own_colour_and_a_name():
    svg = draw(Picture(("losses",), "curves"), tabs(*BACKENDS))
    assert all(name in svg for name in BACKENDS)
    assert len(set(re.findall(r"stroke: (#[0-9a-f]{6})", svg))) >= len(BACKENDS)


def test_images_are_the_references_and_those_of_another_where_there_is_none():
    other = Tab("torch", values={**VALUES, "image": VALUES["image"] + 1})
    picture = Picture(("image",))
    assert "0 to 11" in draw(picture, {"torch": other, **tabs("numpy")})
    assert "1 to 12" in draw(picture, {"torch": other})


def test_titles_are_in_words():
    svg = draw(Picture(("stack", "image"), titles=("kernel {}", "the input")), tabs("numpy"))
    assert [words for words in re.findall(r">([^<>]+)</text>", svg) if " to " not in words] == [
        "kernel 0",
        "kernel 1",
        "the input",
    ]
    assert ">the losses</text>" in draw(Picture(("losses",), "curves", titles=("the losses",)), tabs("numpy"))
    assert ">the times</text>" in draw(Picture(("losses",), "bars", titles=("the times",)), tabs("numpy"))
    assert ">seconds</text>" in draw(Picture(("time",), "bars", titles=("seconds",)), tabs("numpy"))


def test_a_long_title_wraps():
    svg = draw(Picture(("image",), titles=("what the framework's operator gives",)), tabs("numpy"))
    assert ">what the framework's</text>" in svg
    assert ">operator gives</text>" in svg


@pytest.mark.parametrize(
    ("picture", "of", "words"),
    [
        (
            Picture(("image",), "pie"),
            ("numpy",),
            "there is no picture of kind 'pie': the kinds are images, curves, bars",
        ),
        (Picture(("image",)), (), "needs the values of a backend"),
        (Picture(("image",), titles=("a", "b")), ("numpy",), "2 titles for the 1 values: give each value one"),
        (Picture(("nothing",)), ("numpy",), "numpy has no value nothing to draw"),
        (Picture(("losses",)), ("numpy",), r"losses of shape \(10,\) is no image"),
        (Picture(("image",), "curves"), ("numpy",), r"image of shape \(3, 4\) is no row of numbers"),
    ],
)
def test_what_can_not_be_drawn_is_refused(picture, of, words):
    with pytest.raises(UsageError, match=words):
        draw(picture, tabs(*of))


def test_the_kinds_are_those_of_the_lessons():
    assert tuple(KINDS) == ("images", "curves", "bars")
