"""What the drawn problems contain, seed by seed and over several seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import multiconv as mc
from multiconv.oracle.problem import Problem
from multiconv.oracle.values import VALUES
from multiconv.testing import assert_conforms
from multiconv.testing.drawing import draw_problems

NUMPY = mc.backend("numpy")
SEEDS = range(8)
DRAWN = {seed: draw_problems(200, seed) for seed in SEEDS}
EVERY_SEED = pytest.mark.parametrize("seed", SEEDS)
ONEDNN_ELEMENTS = 20480  # torch convolves larger images by oneDNN, smaller ones by a product of its own


def channels(problems: list[Problem]) -> set[int]:
    return {n for p in problems for n in (p.geometry.in_channels, p.geometry.out_channels)}


@EVERY_SEED
def test_a_large_image_in_two_dimensions_is_drawn(seed: int) -> None:
    assert max(p.x.size for p in DRAWN[seed] if p.geometry.ndim == 2) > 0.9 * ONEDNN_ELEMENTS


def test_large_images_are_drawn_with_more_elements_than_a_threshold_of_torch() -> None:
    assert any(p.geometry.ndim == 2 and p.x.size > ONEDNN_ELEMENTS for drawn in DRAWN.values() for p in drawn)


@EVERY_SEED
def test_a_number_of_channels_about_a_multiple_of_sixteen_is_drawn(seed: int) -> None:
    """Processors take so many numbers at once."""
    assert {15, 16, 17, 31, 32, 33} & channels(DRAWN[seed])


@pytest.mark.parametrize("multiple", [16, 32])
def test_channel_numbers_about_each_multiple_are_drawn(multiple: int) -> None:
    drawn = {n for problems in DRAWN.values() for n in channels(problems)}
    assert drawn & {multiple - 1, multiple, multiple + 1}
    assert len(drawn & {15, 16, 17, 31, 32, 33}) >= 4


@EVERY_SEED
def test_every_kind_of_values_is_drawn_in_each_dtype(seed: int) -> None:
    kinds = {(p.values, p.dtype) for p in DRAWN[seed]}
    assert kinds == {(values, dtype) for values in VALUES for dtype in ("float32", "float64")}
    assert {"integers", "normal", "wide", "cancelling", "subnormal"} <= set(VALUES)


@EVERY_SEED
def test_drawn_values_are_what_their_kind_says(seed: int) -> None:
    of_kind: dict[str, list[Problem]] = {values: [] for values in VALUES}
    for p in DRAWN[seed]:
        if p.x.size > 10:
            of_kind[p.values].append(p)
    assert all(whole(a) for p in of_kind["integers"] for a in (p.x, p.w, p.dy))
    of_whole_numbers = {"integers", "zeros", "ties"}
    assert not any(whole(p.x) for values in set(VALUES) - of_whole_numbers for p in of_kind[values])
    subnormal = [np.abs(p.x[p.x != 0]) < np.finfo(p.dtype).tiny for p in of_kind["subnormal"]]
    assert any(small.any() for small in subnormal)
    assert any(not small.all() for small in subnormal)
    assert all(np.abs(p.w).max() > 1e-3 for p in of_kind["subnormal"])
    for p in of_kind["cancelling"]:  # all of nearly one magnitude, of either sign, and much larger than their spread
        sizes = np.abs(p.x)
        assert sizes.min() > 16 * sizes.std() > 0
        assert p.x.min() < 0 < p.x.max()
    magnitudes = np.concatenate([np.log(np.abs(p.x)).ravel() for p in of_kind["wide"]])
    assert magnitudes.std() > 1.5  # 2 by definition, and 1.1 of normal numbers


def whole(array: Any) -> bool:
    return bool(np.all(array == np.rint(array)))


@EVERY_SEED
def test_what_frameworks_have_code_of_their_own_for_is_drawn(seed: int) -> None:
    geometries = [p.geometry for p in DRAWN[seed]]
    assert {g.ndim for g in geometries} == {1, 2, 3}
    assert {g.channels_last for g in geometries} == {False, True}
    assert {0, 1} < {g.batch for g in geometries}
    assert any(g.batch >= 16 for g in geometries)
    assert any(g.groups == g.in_channels == g.out_channels > 1 for g in geometries)
    assert any(g.groups == g.in_channels < g.out_channels and g.groups > 1 for g in geometries)
    assert any(1 < g.groups < g.in_channels for g in geometries)
    assert any(not g.symmetric for g in geometries)
    assert any(set(g.kernel) == {1} and max(g.stride) > 1 for g in geometries)
    assert any(s > k for g in geometries for s, k in zip(g.stride, g.kernel))
    assert any(d > n and k > 1 for g in geometries for d, n, k in zip(g.dilation, g.size, g.kernel))
    assert any(s > 1 < d for g in geometries for s, d in zip(g.stride, g.dilation))
    assert any(o == 1 for g in geometries for o in g.out)
    assert {str(p.spec.padding) for p in DRAWN[seed]} >= {"valid", "same", "same_lower", "full"}


# ---- What is fixed


FIXED: list[dict[str, Any]] = [
    {"padding": ((1, 2), (0, 3)), "ndim": 2},
    {"padding": 2, "ndim": 1},
    {"padding": "valid"},
    {"padding": "full", "kernel": 3, "dilation": 2, "ndim": 1},
    {"padding": "same_lower", "kernel": 4, "stride": 1, "dilation": 1},
    {"stride": 3},
    {"stride": (3, 2), "ndim": 2},
    {"dilation": 3},
    {"groups": 3},
    {"kernel": (3, 4), "ndim": 2},
    {"kernel": 2},
    {"ndim": 3},
]


@pytest.mark.parametrize("fixed", FIXED, ids=str)
def test_what_is_fixed_is_neither_drawn_nor_changed_when_a_failure_is_shrunk(fixed: dict[str, Any]) -> None:
    """Of a function that is wrong in its first number, where there are several."""
    asked: list[dict[str, Any]] = []

    def wrong(x: Any, w: Any, bias: Any, **options: Any) -> Any:
        padded = [n + before + after for n, (before, after) in zip(x.shape[2:], options["padding"])]
        asked.append(options | {"kernel": w.shape[2:], "ndim": x.ndim - 2, "padded": padded})
        y = NUMPY.cross_correlate(x, w, bias, **options)
        y.flat[: y.size > 1] += np.ones((), x.dtype)
        return y

    with pytest.raises(AssertionError, match="is not a cross-correlation"):
        assert_conforms(wrong, examples=100, **fixed)
    assert len(asked) > 4
    words = {"valid": (0, 0), "full": (4, 4), "same_lower": (2, 1), 2: (2, 2)}
    for call in asked:
        ndim = call["ndim"]
        for name, value in fixed.items():
            if name == "padding":
                right: Any = value if isinstance(value, tuple) else (words[value],) * ndim
            elif name in ("stride", "dilation"):  # past the end of the input they are cut to it
                each = value if isinstance(value, tuple) else (value,) * ndim
                right = tuple(min(step, n) for step, n in zip(each, call["padded"]))
                if name == "dilation":  # and one tap has none
                    right = tuple(1 if k == 1 else d for d, k in zip(right, call["kernel"]))
            else:
                right = (value,) * ndim if name == "kernel" and isinstance(value, int) else value
            assert call[name] == right
