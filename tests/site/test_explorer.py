"""The explorer's arithmetic, in the browser, against the NumPy backend's."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from browser import chromium, watched
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

import multiconv as mc
from multiconv.lessons import run as lessons

SCRIPT = ROOT / "site" / "_static" / "explorer.js"
WORDS = ("valid", "same", "same_upper", "same_lower", "full")

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("explorer")]


@pytest.fixture(scope="module")
def explorer():
    """A function of the explorer, by name: its result, or the words in which it refuses."""
    with chromium() as browser, watched(browser) as (page, faults):
        page.add_script_tag(path=SCRIPT)

        def call(function, *arguments):
            return page.evaluate(
                """([name, given]) => {
                    const { ConvError, ...functions } = window.multiconvExplorer;
                    try {
                        return { result: functions[name](...given) };
                    } catch (error) {
                        if (!(error instanceof ConvError)) throw error;
                        return { refusal: error.message };
                    }
                }""",
                [function, arguments],
            )

        yield call
        assert faults == []


def right(function, *arguments, **options):
    """What the function returns, or the words in which it refuses, as `explorer` has it."""
    try:
        return {"result": function(*arguments, **options)}
    except mc.ConvError as error:
        return {"refusal": str(error)}


def each(numbers):
    return st.one_of(numbers, st.tuples(numbers, numbers))


pads = st.integers(0, 3)
paddings = st.one_of(st.sampled_from(WORDS), each(pads), st.tuples(st.tuples(pads, pads), st.tuples(pads, pads)))


@st.composite
def drawn(draw):
    """An input, a kernel and options that may not fit each other."""
    groups = draw(st.integers(1, 3))
    per_group, outputs = draw(st.integers(1, 2)), draw(st.integers(1, 2)) * groups + draw(st.sampled_from([0, 0, 0, 1]))
    channels = per_group * groups + draw(st.sampled_from([0, 0, 0, 1]))
    size, kernel = draw(st.tuples(*[st.integers(1, 7)] * 2)), draw(st.tuples(*[st.integers(1, 4)] * 2))
    options = {"stride": draw(each(st.integers(1, 4))), "dilation": draw(each(st.integers(1, 3)))}
    options |= {"padding": draw(paddings), "groups": groups}
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.integers(-9, 10, (1, channels, *size)).astype("float64")
    w = rng.integers(-9, 10, (outputs, per_group, *kernel)).astype("float64")
    return x, w, options


@given(drawn(), st.booleans())
def test_it_computes_what_the_numpy_backend_computes_and_refuses_in_the_same_words(explorer, problem, flip):
    x, w, options = problem
    numpy = mc.backend("numpy")
    operation = numpy.convolve if flip else numpy.cross_correlate
    answer = explorer("crossCorrelate", x[0].tolist(), w.tolist(), {**options, "flip": flip})
    assert answer == right(lambda: operation(x, w, **options)[0].tolist())


@given(drawn(), st.booleans(), st.data())
def test_the_products_of_an_output_are_its_own(explorer, problem, flip, data):
    x, w, options = problem
    try:
        g = mc.ConvSpec(**options).resolve(x.shape, w.shape)
    except mc.ConvError:
        return
    place = [data.draw(st.integers(0, n - 1)) for n in g.y_shape[1:]]
    terms = explorer("products", x[0].tolist(), w.tolist(), {**options, "flip": flip}, place)["result"]
    numpy = mc.backend("numpy")
    y = (numpy.convolve if flip else numpy.cross_correlate)(x, w, **options)[0]
    assert sum(t["product"] for t in terms) == y[tuple(place)]
    assert sorted(t["tap"] for t in terms) == [[place[0], *index] for index in np.ndindex(*w.shape[1:])]
    for t in terms:
        channel, *pixel = t["at"]
        assert t["inside"] == all(0 <= p < n for p, n in zip(pixel, g.size))
        assert t["pixel"] == (x[(0, channel, *pixel)] if t["inside"] else 0)
        assert t["weight"] == w[tuple(t["tap"])]
        assert t["product"] == t["pixel"] * t["weight"]


@given(drawn())
def test_its_shapes_are_those_of_the_specification(explorer, problem):
    x, w, options = problem
    answer = explorer("geometry", x.shape, w.shape, options)
    expected = right(mc.ConvSpec(**options).resolve, x.shape, w.shape)
    if g := expected.get("result"):
        result = answer["result"]
        for name in ("size", "kernel", "stride", "dilation", "extent", "padded", "out"):
            assert tuple(result[name]) == getattr(g, name), name
        assert tuple(map(tuple, result["pads"])) == g.pads
        assert tuple(result["dropped"]) == g.output_padding
    else:
        assert answer == expected


@pytest.mark.parametrize("word", WORDS)
def test_the_words_for_padding_mean_the_same_for_every_small_shape(explorer, word):
    for size, kernel, stride, dilation in product(range(1, 7), range(1, 4), range(1, 4), range(1, 3)):
        options = {"stride": stride, "dilation": dilation, "padding": word}
        shapes = (1, 1, size, 5), (1, 1, kernel, 2)
        expected = right(mc.ConvSpec(**options).resolve, *shapes)
        if "result" in expected:
            expected = {"pads": [list(pair) for pair in expected["result"].pads]}
        answer = explorer("geometry", *shapes, options)
        answer = {"pads": answer["result"]["pads"]} if "result" in answer else answer
        assert answer == expected, (options, shapes)


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 0},
        {"stride": -1},
        {"stride": 1.5},
        {"stride": "two"},
        {"stride": (1, 0)},
        {"stride": (1, 2, 3)},
        {"dilation": 0},
        {"dilation": (2, 0.5)},
        {"dilation": 2**31},
        {"dilation": (1,)},
        {"padding": -1},
        {"padding": "circular"},
        {"padding": ((1, 2), (0, -3))},
        {"padding": ((1, 0.5), 0)},
        {"padding": (1, 2, 3)},
        {"groups": 0},
        {"groups": 2},
        {"groups": 2.5},
        {"dilation": 5},
    ],
    ids=str,
)
def test_what_is_no_convolution_is_refused_in_the_words_of_conv_error(explorer, options):
    with pytest.raises(mc.ConvError) as refused:
        mc.ConvSpec(**options).resolve((1, 2, 5, 6), (3, 2, 3, 3))
    assert explorer("geometry", (1, 2, 5, 6), (3, 2, 3, 3), options) == {"refusal": str(refused.value)}


CODED = [
    ((1, 1, 6, 6), (1, 1, 3, 3), {}),
    ((1, 2, 6, 5), (2, 2, 3, 2), {"stride": 2, "padding": 1}),
    ((1, 2, 6, 5), (4, 1, 3, 2), {"stride": (2, 1), "padding": (1, 0), "groups": 2, "flip": True}),
    ((1, 1, 7, 6), (1, 1, 3, 3), {"stride": 2, "padding": "same"}),
    ((1, 1, 7, 6), (2, 1, 2, 2), {"stride": 2, "padding": "same_lower", "flip": True}),
    ((1, 2, 7, 6), (2, 1, 2, 3), {"dilation": 2, "padding": "same", "groups": 2}),
    ((1, 1, 6, 6), (1, 1, 2, 3), {"padding": ((0, 2), (1, 0)), "flip": True}),
    ((1, 2, 6, 6), (2, 1, 3, 3), {"padding": ((1, 2), (3, 0)), "groups": 2, "stride": 2}),
    ((1, 1, 5, 5), (1, 1, 3, 3), {"padding": "full", "dilation": (1, 2)}),
    ((1, 1, 8, 8), (1, 1, 3, 3), {"dilation": 2, "stride": 2, "padding": 2}),
]


def test_the_code_that_it_shows_runs_in_every_framework_and_gives_its_numbers(explorer, tmp_path):
    rng = np.random.default_rng(0)
    scripts = dict.fromkeys(lessons.BACKENDS, "")
    compare = ""
    for number, (x_shape, w_shape, options) in enumerate(CODED):
        x, w = (rng.integers(-9, 10, shape).tolist() for shape in (x_shape, w_shape))
        y = explorer("crossCorrelate", x[0], w, options)["result"]
        compare += f"y{number} = {[y]}\n"
        for name in scripts:
            scripts[name] += f"# %% c{number}\n{explorer('code', name, x[0], w, options)['result']}y{number} = y\n\n"
    for name, script in scripts.items():
        (tmp_path / f"{name}.py").write_text(script)
    (tmp_path / "text.md").write_text(f'+++\ntitle = "Code"\norder = 1\n\n[compare]\n{compare}+++\n')
    lesson = lessons.Lesson("code", tmp_path)
    tabs = lessons.run([lesson])["code"]
    assert {name: tab.error for name, tab in tabs.items()} == dict.fromkeys(lessons.BACKENDS)
    found = lessons.comparisons(lesson, tabs)
    assert len(found) == len(CODED) * len(lessons.BACKENDS)
    assert [c for c in found if c.fault] == []
