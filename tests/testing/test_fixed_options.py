"""What is drawn keeps what is fixed, and a few shapes or many as asked."""

from __future__ import annotations

import pytest

from multiconv.core.errors import UsageError
from multiconv.core.memory import ARRANGEMENTS
from multiconv.oracle.values import ALL_VALUES, VALUES
from multiconv.testing import settling
from multiconv.testing.coverage import share_covered
from multiconv.testing.drawing import draw_problems
from multiconv.testing.levels import DTYPES, LAYOUT_LEVELS, problem_levels
from multiconv.testing.situations import SITUATIONS


def signatures(problems):
    return {(p.spec, p.x.shape, p.w.shape, p.dtype, p.bias is not None) for p in problems}


def same_problem(a, b):
    pairs = [(getattr(a, name), getattr(b, name)) for name in ("x", "w", "dy", "bias", "x_bias")]
    return a.describe() == b.describe() and all(
        x is y is None or (x.strides, x.tobytes()) == (y.strides, y.tobytes()) for x, y in pairs
    )


def test_1000_problems_cover_all_pairs_and_each_has_a_shape_of_its_own():
    problems = draw_problems(1000, 0, values=ALL_VALUES, arrangements=tuple(ARRANGEMENTS))
    assert len(problems) == 1000
    assert share_covered(problems) == 1
    assert len(signatures(problems)) > 990
    assert all(max(p.x.size, p.w.size, p.dy.size) <= settling.MOST_ELEMENTS for p in problems)
    assert len({p.seed for p in problems}) == 1000


def test_with_few_shapes_there_are_no_others():
    problems = draw_problems(200, 0, shapes=24, values=ALL_VALUES, arrangements=tuple(ARRANGEMENTS))
    assert len(problems) == 200
    assert len(signatures(problems)) == 24
    assert signatures(problems[:24]) == signatures(problems[24:48]) == signatures(problems)
    assert {p.values for p in problems[24:]} == set(ALL_VALUES)
    assert {p.arrangement for p in problems[24:]} == set(ARRANGEMENTS)
    assert len({p.x.tobytes() for p in problems if p.values == "normal"}) > 10
    assert len(signatures(draw_problems(10, 0, shapes=24))) == 10


def test_the_situations_come_first():
    problems = draw_problems(60, 0, values=ALL_VALUES)
    assert {p.values for p in problems[: len(SITUATIONS)]} == {"integers", "normal"}
    assert {p.values for p in problems[len(SITUATIONS) :]} > {"ties", "largest", "nonfinite"}


def test_the_same_seed_draws_the_same_problems_and_another_draws_others():
    first, again, other = (draw_problems(60, seed, values=ALL_VALUES) for seed in (5, 5, 6))
    assert all(map(same_problem, first, again))
    assert len(signatures(first) & signatures(other)) < 3


@pytest.mark.parametrize("layout", LAYOUT_LEVELS)
def test_only_the_layouts_arrangements_values_and_dtypes_asked_for_are_drawn(layout):
    few = {"dtypes": ("float16", "float64"), "values": ("wide", "ties"), "arrangements": ("gaps", "reversed")}
    problems = draw_problems(80, 0, **few, layouts=(layout,))
    assert {problem_levels(p)["layout"] for p in problems[len(SITUATIONS) :]} == {layout}
    assert {p.dtype for p in problems} == set(few["dtypes"])
    assert {p.values for p in problems} == set(few["values"])
    assert {p.arrangement for p in problems} == set(few["arrangements"])
    assert problem_levels(problems[0])["layout"] in (layout, "channels first")
    if layout == "channels first":
        assert not any(p.spec.channels_last for p in problems)


def test_what_is_covered_counts_only_what_could_have_been_drawn():
    problems = draw_problems(150, 0)
    of_drawn = share_covered(problems, DTYPES, VALUES, ("contiguous",))
    assert share_covered(problems) < of_drawn
    assert share_covered(problems, DTYPES, VALUES, ("contiguous",), ("channels first",)) >= of_drawn - 0.02


FIXED = [
    *({"stride": s} for s in (1, 3, (2, 1), (1, 2, 3))),
    *({"padding": p} for p in (0, 3, "same", "same_lower", "full", "valid", (1, 0), ((1, 2),), ((0, 1), (9, 0)))),
    *({"dilation": d} for d in (1, 4, (1, 3))),
    *({"groups": n} for n in (1, 6, 7, 40)),
    *({"layout": name} for name in (None, "NCW", "NHWC", "NCDHW")),
    *({"kernel": k} for k in (1, 3, 12, (1, 5), (2, 3, 1))),
    *({"size": n} for n in (9, (7, 8), (4, 5, 6))),
    *({"ndim": n} for n in (1, 2, 3)),
    *({"batch": n} for n in (0, 1, 4, 33)),
    *({"in_channels": n} for n in (1, 12, 7)),
    *({"out_channels": n} for n in (1, 10)),
    *({"bias": b} for b in (False, True)),
    {"groups": 4, "in_channels": 8, "out_channels": 12},
    {"in_channels": 7, "out_channels": 6},
    {"kernel": 5, "size": 3, "padding": "full", "stride": 2},
    {"kernel": (3, 2), "padding": ((2, 0), (0, 1)), "layout": "NHWC", "bias": True, "batch": 2},
    {"size": 200, "in_channels": 64, "out_channels": 64, "kernel": 3, "ndim": 2, "batch": 1, "padding": 0},
]


@pytest.mark.parametrize("fixed", FIXED, ids=str)
def test_what_is_fixed_is_kept_and_all_else_is_drawn(fixed):
    problems = draw_problems(12, 0, fixed=fixed)
    assert len(problems) == 12
    for problem in problems:
        g, spec = problem.geometry, problem.spec
        own = {"ndim": g.ndim, "batch": g.batch, "groups": g.groups, "kernel": g.kernel, "size": g.size}
        own |= {"in_channels": g.in_channels, "out_channels": g.out_channels, "bias": problem.bias is not None}
        own |= {"padding": spec.padding, "layout": spec.layout, "stride": g.stride, "dilation": g.dilation}
        for name, value in fixed.items():
            each = (value,) * g.ndim if name in ("kernel", "size", "stride", "dilation") else value
            assert own[name] in (value, each)
    for name in {"stride", "dilation", "kernel", "size", "batch"} - set(fixed):
        assert len({getattr(p.geometry, name) for p in problems}) > 1


CONTRADICTIONS = [
    ({"stride": (2, 1), "ndim": 3}, r"stride=\(2, 1\) is for 2 spatial axes, but .* has 3"),
    ({"dilation": (2, 1), "ndim": 1}, r"dilation=\(2, 1\) is for 2 spatial axes, but .* has 1"),
    ({"padding": ((1, 2),), "ndim": 2}, r"padding=\(\(1, 2\),\) is for 1 spatial axis, but .* has 2"),
    ({"padding": (1, 2), "ndim": 3}, r"padding=\(1, 2\) is for 2 spatial axes, but .* has 3"),
    ({"groups": 5, "in_channels": 12}, "has 12 channels, but w .* with groups=5 takes"),
    ({"groups": 7, "out_channels": 15}, "groups=7 does not divide the 15 output channels"),
    ({"kernel": 5, "size": 3, "padding": 0}, "the kernel is larger than the padded input"),
    ({"layout": "NHWC", "ndim": 1}, "layout NHWC has 2 spatial axes"),
    ({"layout": "NHWC", "kernel": (3,)}, "layout NHWC has 2 spatial axes"),
    ({"layout": "channels"}, "layout must be one of NCW"),
    ({"stride": 0}, "stride must be an int of at least 1, not 0"),
    ({"padding": "sum"}, "padding must be a number"),
    ({"size": 0}, "size must be an int of at least 1, not 0"),
    ({"in_channels": 0}, "in_channels must be an int of at least 1, not 0"),
    ({"ndim": 4}, "ndim must be an int from 1 to 3, not 4"),
    ({"batch": -1}, "batch must be an int of at least 0, not -1"),
    ({"kernels": 3}, r"there is no option 'kernels' \(did you mean 'kernel'\?\)"),
]


@pytest.mark.parametrize(("fixed", "words"), CONTRADICTIONS, ids=str)
def test_what_no_convolution_has_is_refused_in_words(fixed, words):
    with pytest.raises(UsageError, match=words):
        draw_problems(5, 0, fixed=fixed)
