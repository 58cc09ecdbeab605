"""What the strategies draw: every option that they promise, within its limits, and nothing else."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from multiconv.core.option_values import PADDING_WORDS, SAME
from multiconv.core.spec import LAYOUTS, ConvSpec
from multiconv.testing.drawing import draw_all
from multiconv.testing.strategies import problems, specs

DRAWN = draw_all(specs(), 1500, seed=0)
BY_NDIM = {
    ndim: [(spec, x_shape, w_shape) for spec, x_shape, w_shape in DRAWN if len(w_shape) == ndim + 2]
    for ndim in (1, 2, 3)
}
EVERY_NDIM = pytest.mark.parametrize("ndim", BY_NDIM)
SIGNATURES = [
    (ConvSpec(stride=2), (1, 1, 5), (1, 1, 2), "float32", True),
    (ConvSpec(), (2, 3, 4, 4), (2, 3, 2, 2), "float64", False),
]


def share(values: list[Any], wanted: Any) -> float:
    return Counter(values)[wanted] / len(values)


def test_two_axes_are_drawn_half_of_the_time_and_the_others_a_quarter() -> None:
    for ndim, expected in ((1, 0.25), (2, 0.5), (3, 0.25)):
        assert abs(len(BY_NDIM[ndim]) / len(DRAWN) - expected) < 0.1


@EVERY_NDIM
def test_kernels_strides_and_dilations_reach_their_limits(ndim: int) -> None:
    largest = 3 if ndim == 3 else 4
    kernels, strides, dilations = (set() for _ in range(3))
    for spec, _, w_shape in BY_NDIM[ndim]:
        stride, dilation = spec.each(ndim)
        kernels |= set(w_shape[2:])
        strides |= set(stride)
        dilations |= set(dilation)
    assert kernels == strides == set(range(1, largest + 1))
    assert dilations == {1, 2, 3}


@EVERY_NDIM
def test_half_of_the_strides_and_of_the_dilations_are_all_1(ndim: int) -> None:
    for number in (0, 1):
        ones = [set(spec.each(ndim)[number]) == {1} for spec, _, _ in BY_NDIM[ndim]]
        assert 0.4 < sum(ones) / len(ones) < 0.85


def test_groups_channels_and_batches() -> None:
    channels_of = [(x[-1] if spec.channels_last else x[1], w, spec.groups) for spec, x, w in DRAWN]
    assert all(channels == w[1] * groups for channels, w, groups in channels_of)
    groups = [groups for _, _, groups in channels_of]
    assert set(groups) == {1, 2, 3}
    assert share(groups, 1) > share(groups, 2) + 0.1
    assert {w[1] for _, w, _ in channels_of} == {w[0] // groups for _, w, groups in channels_of} == {1, 2, 3}
    batches = [x_shape[0] for _, x_shape, _ in DRAWN]
    assert set(batches) == {1, 2, 3, 17}
    assert min(share(batches, 1), share(batches, 2)) > max(share(batches, 3), share(batches, 17)) + 0.05


@EVERY_NDIM
def test_the_input_has_up_to_8_more_pixels_than_the_kernel_needs_or_4_in_three_dimensions(ndim: int) -> None:
    extra = set()
    for spec, x_shape, w_shape in BY_NDIM[ndim]:
        size = x_shape[1:-1] if spec.channels_last else x_shape[2:]
        pads = spec.fixed_pads(w_shape[2:])
        extents = [(k - 1) * d + 1 for k, d in zip(w_shape[2:], spec.each(ndim)[1])]
        least = [1 if pads is None else max(1, e - sum(pads[axis])) for axis, e in enumerate(extents)]
        extra |= {n - smallest for n, smallest in zip(size, least)}
    assert extra == set(range((4 if ndim == 3 else 8) + 1))


@EVERY_NDIM
def test_every_layout_and_every_form_of_padding(ndim: int) -> None:
    drawn = [spec for spec, _, _ in BY_NDIM[ndim]]
    assert {spec.layout for spec in drawn} == {None, *(name for name, (axes, _) in LAYOUTS.items() if axes == ndim)}
    paddings = [spec.padding for spec in drawn]
    assert {p for p in paddings if isinstance(p, str)} == set(PADDING_WORDS)
    assert {p for p in paddings if isinstance(p, int)} == {0, 1, 2, 3}
    tuples = [p for p in paddings if isinstance(p, tuple)]
    pairs = [p for p in tuples if isinstance(p[0], tuple)]
    assert 0.1 < len(pairs) / len(drawn) < len(tuples) / len(drawn) < 0.75
    assert {side for p in pairs for pair in p for side in pair} == {0, 1, 2, 3}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("fixed", "seen"),
    [
        ({"ndim": 3, "kernel": 2}, lambda spec, w: w[2:] == (2, 2, 2)),
        ({"ndim": 2, "kernel": (1, 3)}, lambda spec, w: w[2:] == (1, 3)),
        ({"ndim": 2, "stride": 3}, lambda spec, w: spec.stride == (3, 3)),
        ({"ndim": 1, "padding": "same_lower"}, lambda spec, w: spec.padding == "same_lower"),
        ({"ndim": 2, "layout": "NHWC"}, lambda spec, w: spec.layout == "NHWC"),
    ],
)
def test_what_is_fixed_is_not_drawn(fixed: dict[str, Any], seen: Any) -> None:
    drawn = draw_all(specs(fixed=fixed), 30, seed=0)
    assert all(len(w) == fixed["ndim"] + 2 and seen(spec, w) for spec, _, w in drawn)
    assert len({w for _, _, w in drawn}) > 3


def test_a_problem_is_one_of_the_pool_with_values_of_a_seed() -> None:
    drawn = draw_all(problems(SIGNATURES, "mine"), 200, seed=0)
    assert {(p.spec, p.x.shape, p.w.shape, p.dtype, p.bias is not None) for p in drawn} == set(SIGNATURES)
    assert {p.source for p in drawn} == {"mine"}
    seeds = [p.seed for p in drawn]
    assert all(0 <= seed < 2**32 for seed in seeds if seed is not None)
    assert max(seed or 0 for seed in seeds) > 2**31
    assert len(set(seeds)) > 100
    assert any(not np.array_equal(a.x, b.x) for a, b in pairwise(drawn) if a.x.shape == b.x.shape)


def test_integers_are_drawn_more_often_than_the_other_kinds_that_are_asked_for() -> None:
    kinds = [p.values for p in draw_all(problems(SIGNATURES, values=("integers", "normal")), 200, seed=0)]
    assert share(kinds, "integers") > share(kinds, "normal") + 0.2
    assert set(kinds) == {"integers", "normal"}
    assert {p.values for p in draw_all(problems(SIGNATURES, values=("wide", "normal")), 60, seed=0)} == {
        "wide",
        "normal",
    }


def test_same_needs_one_pixel_only() -> None:
    """With a stride, its pads depend on the input."""
    strided = [
        x[1:-1] if spec.channels_last else x[2:]
        for spec, x, w in DRAWN
        if spec.padding in SAME and spec.fixed_pads(w[2:]) is None
    ]
    assert min(min(size) for size in strided) == 1
