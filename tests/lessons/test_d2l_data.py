"""The book's numbers, each computed again by plain loops."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from multiconv.d2l import EXAMPLES, Example

EVERY_EXAMPLE = pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.name)


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def convolve_in_loops(example: Example) -> list:
    """(O, H, W) in Python integers, for X as (C, H, W) and K as (O, C, h, w), whatever the operation calls them."""
    X, K = (array.astype(int).tolist() for array in example.arrays)
    if example.operation == "corr2d":
        X, K = [X], [[K]]
    elif example.operation == "corr2d_multi_in":
        K = [K]
    elif example.operation == "cross_correlate":
        (X,) = X
    (above, left), (down, right) = pair(example.options.get("padding", 0)), pair(example.options.get("stride", 1))
    H, W, h, w = len(X[0]), len(X[0][0]), len(K[0][0]), len(K[0][0][0])

    def pixel(c, i, j):
        return X[c][i - above][j - left] if 0 <= i - above < H and 0 <= j - left < W else 0

    return [
        [
            [
                sum(pixel(c, i + a, j + b) * kernel[c][a][b] for c, a, b in product(range(len(X)), range(h), range(w)))
                for j in range(0, W + 2 * left - w + 1, right)
            ]
            for i in range(0, H + 2 * above - h + 1, down)
        ]
        for kernel in K
    ]


@EVERY_EXAMPLE
def test_the_numbers_are_those_of_plain_loops(example):
    Y = np.array(convolve_in_loops(example))
    if example.operation in ("corr2d", "corr2d_multi_in"):
        (Y,) = Y
    elif example.operation == "cross_correlate":
        Y = Y[None]
    assert Y.shape == example.expected_shape
    if example.expected is not None:
        assert Y.tolist() == example.expected.tolist()


@EVERY_EXAMPLE
def test_arrays_are_integers_in_float32_and_stay_as_they_are(example):
    expected = () if example.expected is None else (example.expected,)
    for array in (*example.arrays, *expected):
        assert array.dtype == np.float32
        assert np.array_equal(array, array.round())
        assert not array.flags.writeable
    assert all(array.any() for array in example.arrays)


@EVERY_EXAMPLE
def test_options_are_for_cross_correlate_only(example):
    assert example.operation in ("corr2d", "corr2d_multi_in", "corr2d_multi_in_out", "cross_correlate")
    assert set(example.options) <= ({"padding", "stride"} if example.operation == "cross_correlate" else set())


def named(name: str) -> Example:
    (example,) = (e for e in EXAMPLES if e.name == name)
    return example


def test_names_cite_sections_in_order_and_are_distinct():
    sections = [e.name.split()[0] for e in EXAMPLES]
    assert sections == sorted(sections)
    assert set(sections) == {"7.2.1", "7.2.3", "7.3.1", "7.3.2", "7.4.1", "7.4.2", "7.4.3"}
    assert len({e.name for e in EXAMPLES}) == len(EXAMPLES)


def test_shapes_as_printed():
    shape_only = [e for e in EXAMPLES if e.expected is None]
    shapes = {e.name: (e.arrays[0].shape[2:], e.arrays[1].shape[2:], e.expected_shape[2:]) for e in shape_only}
    assert shapes == {
        "7.3.1 padding 1, a 3x3 kernel": ((8, 8), (3, 3), (8, 8)),
        "7.3.1 padding (2, 1), a 5x3 kernel": ((8, 8), (5, 3), (8, 8)),
        "7.3.2 stride 2": ((8, 8), (3, 3), (4, 4)),
        "7.3.2 stride (3, 4), padding (0, 1)": ((8, 8), (3, 5), (2, 2)),
    }


def test_edges_as_printed():
    upright, transposed = named("7.2.3 edges"), named("7.2.3 edges, the image transposed")
    assert upright.arrays[0].tolist() == [[1, 1, 0, 0, 0, 0, 1, 1]] * 6
    assert upright.expected.tolist() == [[0, 1, 0, 0, 0, -1, 0]] * 6
    assert np.array_equal(transposed.arrays[0], upright.arrays[0].T)
    assert transposed.expected.tolist() == [[0] * 5] * 8


def test_a_flipped_kernel_would_be_noticed():
    """Each example with numbers, except the two that a flip can't change, tells cross-correlation from convolution."""
    for example in EXAMPLES:
        X, K = example.arrays
        flipped = Example(example.name, example.operation, (X, K[..., ::-1, ::-1]), (), options=example.options)
        same = convolve_in_loops(flipped) == convolve_in_loops(example)
        assert same == (example.name in ("7.2.3 edges, the image transposed", "7.4.3 a 1x1 kernel as a matrix product"))
