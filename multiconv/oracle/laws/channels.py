"""Laws of the batch, the channels, the groups, the layout and the layer."""

from __future__ import annotations

from math import prod

import numpy as np

from multiconv.core.spec import LAYOUTS
from multiconv.core.types import Host
from multiconv.oracle.laws.arrays import channels_of_group, every, index_of_largest
from multiconv.oracle.laws.bounded import Bounded, Comparisons, equal, sum_bound, widened
from multiconv.oracle.laws.law import has_groups, has_images, law
from multiconv.oracle.laws.trial import Trial


@law("C(x[::-1]) = C(x)[::-1] over the batch", "cross_correlate", where=lambda p: p.geometry.batch > 1)
def _batch_permutation(t: Trial) -> Comparisons:
    yield equal(t.cross_correlate(t.x[::-1], t.w, t.bias), t.y.map(lambda y: y[::-1]))


@law("C(x[n]) = C(x)[n], the last image alone", "cross_correlate", where=lambda p: p.geometry.batch > 1)
def _one_image_alone(t: Trial) -> Comparisons:
    yield equal(t.cross_correlate(t.x[-1:], t.w, t.bias), t.y.map(lambda y: y[-1:]))


@law(
    "C(x, w) with the input channels of each group reversed in x and w = C(x, w)",
    "cross_correlate",
    where=lambda p: p.w.shape[1] > 1,
)
def _input_channel_permutation(t: Trial) -> Comparisons:
    yield equal(t.cross_correlate(_reversed_within_groups(t.x, t.g.groups, 1), t.w[:, ::-1], t.bias), t.y)


@law(
    "C(x, w reversed, b reversed) = C(x, w, b) reversed, over the output channels of each group",
    "cross_correlate",
    where=lambda p: p.geometry.out_channels > p.geometry.groups,
)
def _output_channel_permutation(t: Trial) -> Comparisons:
    def permuted(array: Host, axis: int = 0) -> Host:
        return _reversed_within_groups(array, t.g.groups, axis)

    bias = None if t.bias is None else permuted(t.bias)
    yield equal(t.cross_correlate(t.x, permuted(t.w), bias), t.y.map(lambda y: permuted(y, 1)))


@law(
    "C(x, w, b) with all channels reversed = C(x, w, b) with its channels reversed",
    "cross_correlate",
    where=has_groups,
)
def _group_permutation(t: Trial) -> Comparisons:
    bias = None if t.bias is None else t.bias[::-1]
    yield equal(t.cross_correlate(t.x[:, ::-1], t.w[::-1, ::-1], bias), t.y.map(lambda y: y[:, ::-1]))


@law("C(x, w[o], b[o]) = C(x, w, b)[o], the last output channel alone", "cross_correlate", where=lambda p: len(p.w) > 1)
def _one_output_channel_alone(t: Trial) -> Comparisons:
    ins, _ = channels_of_group(t.g, t.g.groups - 1)
    bias = None if t.bias is None else t.bias[-1:]
    yield equal(t.cross_correlate(t.x[:, ins], t.w[-1:], bias, groups=1), t.y.map(lambda y: y[:, -1:]))


@law("C(x, w; groups) = C(x, block-diagonal w; 1)", "cross_correlate", where=has_groups)
def _groups_are_blocks(t: Trial) -> Comparisons:
    blocks = np.zeros((t.g.out_channels, t.g.in_channels, *t.g.kernel), t.w.dtype)
    for group in range(t.g.groups):
        ins, outs = channels_of_group(t.g, group)
        blocks[outs, ins] = t.w[outs]
    yield equal(t.y, t.cross_correlate(t.x, blocks, t.bias, groups=1))


@law("C(x, w; groups) = C(x[g], w[g]; 1) for the first and the last group", "cross_correlate", where=has_groups)
def _groups_are_apart(t: Trial) -> Comparisons:
    y = t.y
    for group in (0, t.g.groups - 1):
        ins, outs = channels_of_group(t.g, group)
        alone = t.cross_correlate(t.x[:, ins], t.w[outs], None if t.bias is None else t.bias[outs], groups=1)
        yield equal(Bounded(y.value[:, outs], y.bound[:, outs]), alone)


@law("C(x, w, b; kernel of one pixel) = w x[i s] + b, a matrix times the channels", "cross_correlate")
def _one_pixel_kernel(t: Trial) -> Comparisons:
    _, _, *tap = index_of_largest(t.w)
    w = t.w[(slice(None), slice(None), *(slice(j, j + 1) for j in tap))]
    y = t.cross_correlate(t.x, w, t.bias, padding=0)
    yield equal(y, _mixed_channels(t.x[every(t.g.stride)], w, t.bias, t.g.groups))


def _mixed_channels(x: Host, w: Host, bias: Host | None, groups: int) -> Bounded:
    """Multiply the channels by the matrix of a one-pixel kernel, in a wide format."""
    pixels, matrix = widened(x), widened(w)
    added = np.zeros(()) if bias is None else widened(bias).reshape(-1, *[1] * (x.ndim - 2))

    def product(pixels: Host, matrix: Host) -> Host:
        columns = pixels.reshape(len(x), groups, w.shape[1], prod(x.shape[2:]))
        y: Host = np.matmul(matrix.reshape(groups, len(w) // groups, w.shape[1]), columns)
        return y.reshape(len(x), len(w), *x.shape[2:])

    bound = sum_bound(w.shape[1] + 1, pixels.dtype, product, pixels, matrix, added)
    return Bounded(product(pixels, matrix) + added, bound)


@law("C(x with its channels moved; the other layout) = C(x) with its channels moved", "cross_correlate")
def _layout(t: Trial) -> Comparisons:
    wanted = (t.g.ndim, not t.spec.channels_last)
    other = next(layout for layout, kind in LAYOUTS.items() if kind == wanted)
    yield equal(t.cross_correlate(t.x, t.w, t.bias, layout=other), t.y)


@law("layer(w, b)(x) = C(x, w, b)", "layer", "cross_correlate", where=has_images)
def _layer(t: Trial) -> Comparisons:
    yield equal(t.layer(t.x, t.w, t.bias, t.problem.spec), t.y)


def _reversed_within_groups(array: Host, groups: int, axis: int) -> Host:
    size = array.shape[axis] // groups
    return np.take(array, [group * size + i for group in range(groups) for i in reversed(range(size))], axis)
