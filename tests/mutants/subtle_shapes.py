"""Mutants that are wrong only for some shapes and options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from math import prod

import numpy as np

from mutants.machinery import (
    FORWARD,
    OF_INPUT,
    OF_WINDOWS,
    Call,
    Host,
    biased,
    dealt,
    first_channels,
    mutant,
    right,
    tf32,
    with_kernel,
    without_last_column,
)
from mutants.subtle_values import through_bfloat16

Pad = tuple[int, int]


def channels_of_a_group(call: Call) -> int:
    return call.g.in_channels // call.g.groups


def outputs_of_a_group(call: Call) -> int:
    return call.g.out_channels // call.g.groups


# ---- Channels


@mutant("the last input channel is left out where a group has exactly 5", *OF_WINDOWS)
def wrong_for_5_channels(call: Call) -> Host:
    return with_kernel(call, lambda w: first_channels(w, 4) if w.shape[1] == 5 else w)


@mutant("the last input channel counts twice where a group has 4 to 14", *OF_WINDOWS)
def wrong_for_4_to_14_channels(call: Call) -> Host:
    return with_kernel(call, lambda w: w + (w - first_channels(w, w.shape[1] - 1)) if 4 <= w.shape[1] <= 14 else w)


@mutant("the last 16 input channels are left out where a group has a multiple of 64", *OF_WINDOWS)
def last_16_of_64_channels_dropped(call: Call) -> Host:
    return with_kernel(call, lambda w: w if w.shape[1] % 64 else first_channels(w, w.shape[1] - 16))


@mutant("the last 16 output channels are rounded to bfloat16 where there is a multiple of 64", *FORWARD)
def last_16_of_64_outputs_rounded(call: Call) -> Host:
    y = right(call)
    if call.g.out_channels % 64 == 0:
        y[:, -16:] = through_bfloat16(y[:, -16:])
    return y


@mutant("output channel 32, the first of the second block of 32, is zero", *FORWARD)
def first_output_of_second_block_zero(call: Call) -> Host:
    y = right(call)
    y[:, 32:33] = 0
    return y


@mutant("the bias is added twice where there is one output channel", *FORWARD)
def bias_twice_for_one_output_channel(call: Call) -> Host:
    return biased(right(call), call.bias if call.g.out_channels == 1 else None)


# ---- Groups


@mutant("with groups, the last output channel of each is zero where a group has a multiple of 8", *FORWARD)
def last_output_of_groups_of_8_zero(call: Call) -> Host:
    y = right(call)
    each = outputs_of_a_group(call)
    if call.g.groups > 1 and each % 8 == 0:
        y[:, each - 1 :: each] = 0
    return y


@mutant("the output channels of the groups are interleaved where a group has not as many as input channels", *FORWARD)
def unequal_groups_interleaved(call: Call) -> Host:
    unequal = outputs_of_a_group(call) != channels_of_a_group(call)
    return dealt(right(call), outputs_of_a_group(call)) if unequal else right(call)


@mutant("depthwise with two outputs a channel, all first outputs come before all second ones", *FORWARD)
def channel_multiplier_2_first(call: Call) -> Host:
    depthwise = call.g.groups == call.g.in_channels and outputs_of_a_group(call) == 2
    return dealt(right(call), 2) if depthwise else right(call)


@mutant("every group is given the bias of the first", *FORWARD)
def bias_of_first_group(call: Call) -> Host:
    first = None if call.bias is None else call.bias[: outputs_of_a_group(call)]
    return right(call.but(bias=None if first is None else np.tile(first, call.g.groups)))


# ---- Batch


@mutant("in a batch of exactly 8 the last image's result is the first one's", *FORWARD)
def wrong_for_batch_8(call: Call) -> Host:
    y = right(call)
    if len(y) == 8:
        y[7] = y[0]
    return y


@mutant("the images after the 16th are zero", *FORWARD)
def images_after_16th_zero(call: Call) -> Host:
    y = right(call)
    y[16:] = 0
    return y


@mutant("images are taken in pairs, and the last of an odd number above 1 is zero", *FORWARD)
def odd_image_zero(call: Call) -> Host:
    y = right(call)
    if len(y) > 1:
        y[len(y) // 2 * 2 :] = 0
    return y


@mutant("with a stride, a batch of 3 or more loses its last image", "kernel gradient")
def strided_kernel_gradient_loses_image(call: Call) -> Host:
    if call.g.batch < 3 or max(call.g.stride) == 1:
        return right(call)
    return right(call.but(x=call.x[:-1], dy=call.dy[:-1]).read_as(batch=call.g.batch - 1))


# ---- The image's size


@mutant("rows are computed 8 outputs at a time, and in what is left over the last input channel is missing", *FORWARD)
def vector_tail_loses_channel(call: Call) -> Host:
    y = right(call)
    whole = call.g.out[-1] // 8 * 8
    if whole:
        y[..., whole:] = with_kernel(call, lambda w: first_channels(w, w.shape[1] - 1))[..., whole:]
    return y


@mutant("the last column is zero where an image is wider than 32", *FORWARD)
def wrong_above_width_32(call: Call) -> Host:
    return without_last_column(call, when=call.g.size[-1] > 32)


@mutant("output 1024 of a channel, the first that a second block of threads computes, is zero", *FORWARD)
def first_pixel_of_second_block_zero(call: Call) -> Host:
    y = right(call)
    flat = y.reshape(*y.shape[:2], prod(call.g.out)).copy()
    flat[..., 1024:1025] = 0
    return flat.reshape(y.shape)


@mutant("height and width are swapped where the kernel is square and the image is not", *OF_INPUT)
def height_and_width_swapped(call: Call) -> Host:
    g = call.g
    if g.ndim != 2 or g.kernel[0] != g.kernel[1] or g.size[0] == g.size[1]:
        return right(call)
    return right(call.but(x=call.x.reshape(*call.x.shape[:2], *g.size[::-1]).swapaxes(2, 3)))


@mutant("in 3-D depth and width are swapped where the sizes differ", *OF_INPUT)
def depth_and_width_swapped(call: Call) -> Host:
    if call.g.ndim != 3 or len(set(call.g.size)) == 1:
        return right(call)
    return right(call.but(x=call.x.reshape(*call.x.shape[:2], *call.g.size[::-1]).swapaxes(2, 4)))


@mutant("in 1-D channels last, the input is reshaped where it should be transposed", *OF_INPUT)
def reshaped_from_nwc(call: Call) -> Host:
    if call.g.ndim != 1 or not call.channels_last:
        return right(call)
    return right(call.but(x=np.moveaxis(call.x, 1, -1).reshape(call.x.shape)))


@mutant("in 2-D an image of one row has all its padding of rows at the end", *OF_WINDOWS)
def one_row_padded_at_end(call: Call) -> Host:
    if call.g.ndim != 2 or call.g.size[0] > 1:
        return right(call)
    rows, columns = call.g.pads
    return right(call.read_as(pads=((0, sum(rows)), columns)))


@mutant("channels last, it sums as if they were first", "bias gradient")
def bias_gradient_of_other_layout(call: Call) -> Host:
    if not call.channels_last:
        return right(call)
    return right(call.but(dy=np.moveaxis(call.dy, 1, -1).reshape(call.dy.shape)))


# ---- Kernels


@mutant("a row of a kernel is read 8 taps at a time, and every eighth tap is left out", *OF_WINDOWS)
def eighth_tap_left_out(call: Call) -> Host:
    taps = np.arange(call.g.kernel[-1]) % 8 != 7
    return with_kernel(call, lambda w: np.where(taps, w, np.zeros_like(w)))


@mutant("a kernel larger than half the image wraps around, as from a short FFT", *OF_INPUT)
def large_kernel_wraps_around(call: Call) -> Host:
    large = any(2 * e > n for e, n in zip(call.g.extent, call.g.size))
    return right(call.padded(mode="wrap") if large and call.x.size else call)


@mutant("a kernel of one tap has no bias where it sees padding", *FORWARD)
def one_tap_padding_without_bias(call: Call) -> Host:
    y, g = right(call), call.g
    if prod(g.kernel) > 1:
        return y
    return np.where(reduce(np.logical_or.outer, blind_outputs(call)), right(call.but(bias=None)), y)


@mutant("3x3 by Winograd: where an axis has an odd number of outputs, the last is taken a pixel too far", *FORWARD)
def winograd_last_tile(call: Call) -> Host:
    g, y = call.g, right(call)
    if g.kernel != (3, 3) or g.groups > 1 or max(g.stride + g.dilation) > 1:
        return y
    if g.out[0] % 2:
        y[:, :, -1] = right(call.shifted((1, 0)))[:, :, -1]
    if g.out[1] % 2:
        y[..., -1] = right(call.shifted((0, 1)))[..., -1]
    return y


# ---- Stride and dilation


def turned(each: tuple[int, ...]) -> tuple[int, ...]:
    """The options of the axes, each given to the axis before."""
    return each[1:] + each[:1]


@mutant("strides that differ are given to the wrong axes", *OF_WINDOWS)
def unequal_strides_swapped(call: Call) -> Host:
    return right(call.read_as(stride=turned(call.g.stride)))


@mutant("dilations that differ are given to the wrong axes", *OF_WINDOWS)
def unequal_dilations_swapped(call: Call) -> Host:
    return right(call.read_as(dilation=turned(call.g.dilation)))


@mutant("with a stride of 3 or more, every window starts a pixel late", *OF_WINDOWS)
def phase_of_stride_3(call: Call) -> Host:
    return right(call.shifted(tuple(int(s >= 3) for s in call.g.stride)))


@mutant("a dilation above 2 is cut to 2", *OF_WINDOWS)
def dilation_cut_to_2(call: Call) -> Host:
    return right(call.read_as(dilation=tuple(min(d, 2) for d in call.g.dilation)))


@mutant("the only window of an axis with a stride stands at the end, where pixels are left over", *OF_WINDOWS)
def only_output_at_end(call: Call) -> Host:
    g = call.g
    each = zip(g.out, g.stride, g.output_padding)
    return right(call.shifted(tuple(left if o == 1 and s > 1 else 0 for o, s, left in each)))


@mutant("with stride 2 and an odd number of pixels, the last column repeats the one before", *FORWARD)
def last_column_repeated_at_stride_2(call: Call) -> Host:
    y = right(call)
    if call.g.stride[-1] == 2 and call.g.padded[-1] % 2 and call.g.out[-1] > 1:
        y[..., -1] = y[..., -2]
    return y


@mutant("with a stride beyond the kernel, the padding at the start is skipped", *OF_WINDOWS)
def padding_skipped_by_large_stride(call: Call) -> Host:
    return with_pads(call, lambda axis, pad: (0, pad[1]) if call.g.stride[axis] > call.g.extent[axis] else pad)


@mutant("stride and dilation are exchanged where both are above 1", "kernel gradient")
def kernel_gradient_exchanges_stride_and_dilation(call: Call) -> Host:
    g = call.g
    both = [s > 1 and d > 1 for s, d in zip(g.stride, g.dilation)]
    stride = tuple(d if exchange else s for s, d, exchange in zip(g.stride, g.dilation, both))
    dilation = tuple(s if exchange else d for s, d, exchange in zip(g.stride, g.dilation, both))
    return right(call.read_as(stride=stride, dilation=dilation))


# ---- Padding


def with_pads(call: Call, pad_of: Callable[[int, Pad], Pad]) -> Host:
    """The answer with other pads, each made of its axis and its pad."""
    return right(call.read_as(pads=tuple(pad_of(axis, pad) for axis, pad in enumerate(call.g.pads))))


def blind_outputs(call: Call) -> list[Host]:
    """For each axis and output, whether all taps are on padding."""
    g = call.g
    blind = []
    for axis in range(g.ndim):
        starts = np.arange(g.out[axis]) * g.stride[axis] - g.pads[axis][0]
        pixels = starts + np.arange(g.kernel[axis])[:, None] * g.dilation[axis]
        blind.append(~((pixels >= 0) & (pixels < g.size[axis])).any(axis=0))
    return blind


@mutant("padding before an axis is cut to the kernel's extent less one", *OF_INPUT)
def padding_before_cut_to_kernel(call: Call) -> Host:
    return with_pads(call, lambda axis, pad: (min(pad[0], call.g.extent[axis] - 1), pad[1]))


@mutant("the last pixel of an axis is lost where the padding after it is at least the kernel's extent", *OF_INPUT)
def pixel_lost_before_long_padding(call: Call) -> Host:
    x = call.x.copy()
    for axis, (_, after) in enumerate(call.g.pads):
        if after >= call.g.extent[axis]:
            x[(slice(None),) * (2 + axis) + (-1,)] = 0
    return right(call.but(x=x))


@mutant("begin and end of a pad are swapped where only one is at least the kernel's extent", *OF_WINDOWS)
def one_sided_long_padding_swapped(call: Call) -> Host:
    def swapped(axis: int, pad: Pad) -> Pad:
        return pad[::-1] if min(pad) < call.g.extent[axis] <= max(pad) else pad

    return with_pads(call, swapped)


@mutant("same padding is computed from the kernel without its dilation", *OF_WINDOWS)
def same_ignores_dilation(call: Call) -> Host:
    if "same" not in str(call.padding):
        return right(call)

    def short(axis: int, pad: Pad) -> Pad:
        g = call.g
        total = max((g.out[axis] - 1) * g.stride[axis] + g.kernel[axis] - g.size[axis], 0)
        less, more = total // 2, total - total // 2
        return pad if g.dilation[axis] == 1 else (more, less) if call.padding == "same_lower" else (less, more)

    return with_pads(call, short)


@mutant("where a window sees only padding, the result is what was in memory", *FORWARD)
def garbage_where_only_padding(call: Call) -> Host:
    y = right(call)
    y[..., reduce(np.logical_or.outer, blind_outputs(call))] = -12345.67
    return y


@mutant("there is an error where a tile of two outputs sees only padding", *FORWARD)
def error_where_tile_sees_only_padding(call: Call) -> Host:
    for blind in blind_outputs(call):
        tiles = np.append(blind, True)[: (len(blind) + 1) // 2 * 2].reshape(-1, 2)
        if tiles.all(axis=1).any():
            raise TypeError("'NoneType' object is not subscriptable")
    return right(call)


def crop_cut_to_zero(call: Call) -> Host:
    """The adjoint as a convolution with ``extent - 1 - before`` zeros, or none where that is negative."""
    return with_pads(
        call,
        lambda axis, pad: (call.g.extent[axis] - 1, pad[1]) if pad[0] >= call.g.extent[axis] > pad[1] + 1 else pad,
    )


@mutant("it is shifted where the padding is beyond the kernel before an axis, and not after it", "input gradient")
def input_gradient_shifted_by_long_padding(call: Call) -> Host:
    return crop_cut_to_zero(call)


@mutant("it is shifted where the padding is beyond the kernel before an axis, and not after it", "conv_transpose")
def transposed_shifted_by_long_padding(call: Call) -> Host:
    return crop_cut_to_zero(call)


# ---- Pixels that no window reaches


def unreached(call: Call) -> Host:
    """Where the input gradient, or the transposed convolution, has nothing to add."""
    y = "x" if call.direction == "conv_transpose" else "dy"
    reach = call.but(w=np.ones_like(call.w), bias=None, **{y: np.ones_like(getattr(call, y))})
    return right(reach) == 0


@mutant("pixels that no window reaches hold what was in memory", "input gradient")
def input_gradient_garbage(call: Call) -> Host:
    return np.where(unreached(call), -12345.67, right(call)).astype(call.w.dtype)


@mutant("pixels that no tap reaches have no bias", "conv_transpose")
def transposed_bias_where_reached_only(call: Call) -> Host:
    return np.where(unreached(call), right(call.but(bias=None)), right(call))


@mutant("the pixels of output_padding have no bias", "conv_transpose")
def output_padding_without_bias(call: Call) -> Host:
    y, unbiased = right(call), right(call.but(bias=None))
    for axis, extra in enumerate(call.g.output_padding):
        end = (slice(None),) * (2 + axis) + (slice(y.shape[2 + axis] - extra, None),)
        y[end] = unbiased[end]
    return y


# ---- Precision, for some shapes only


@mutant("float32 goes through tf32 from 128 input channels on", *OF_INPUT)
def tf32_from_128_channels(call: Call) -> Host:
    if channels_of_a_group(call) < 128 or call.x.dtype != np.float32:
        return right(call)
    return right(call.but(x=tf32(call.x), w=tf32(call.w), dy=None if call.dy is None else tf32(call.dy)))


@mutant("float32 goes through tf32", "kernel gradient")
def tf32_in_kernel_gradient(call: Call) -> Host:
    return right(call.but(x=tf32(call.x), dy=tf32(call.dy)) if call.x.dtype == np.float32 else call)


@mutant("float64 is summed in float32 from 16 input channels on", *FORWARD)
def float64_in_float32_from_16_channels(call: Call) -> Host:
    if call.x.dtype != np.float64 or channels_of_a_group(call) < 16:
        return right(call)
    x, w, bias = (None if a is None else a.astype(np.float32) for a in (call.x, call.w, call.bias))
    return right(call.but(x=x, w=w, bias=bias)).astype(np.float64)


def of_channels(call: Call, first: int, end: int) -> Call:
    """The same call for these input channels of each group alone, without the bias."""
    g = call.g
    x = call.x.reshape(g.batch, g.groups, channels_of_a_group(call), *g.size)[:, :, first:end]
    count = g.groups * (end - first)
    part = replace(g, in_channels=count)
    return replace(call, g=part, x=x.reshape(g.batch, count, *g.size), w=call.w[:, first:end], bias=None)


@mutant("the sum is kept in bfloat16 from the 32nd input channel on", *FORWARD)
def bfloat16_from_32nd_channel(call: Call) -> Host:
    channels = channels_of_a_group(call)
    if channels < 32:
        return right(call)
    y = right(of_channels(call, 0, 31))
    for channel in range(31, channels):
        y = through_bfloat16(y + right(of_channels(call, channel, channel + 1)))
    return biased(y, call.bias)


@mutant("the last 4 of 8 or more input channels are summed in float16", *FORWARD)
def float16_in_last_channels(call: Call) -> Host:
    channels = channels_of_a_group(call)
    if channels < 8:
        return right(call)
    with np.errstate(over="ignore"):
        last = right(of_channels(call, channels - 4, channels)).astype(np.float16).astype(call.x.dtype)
    return biased(right(of_channels(call, 0, channels - 4)) + last, call.bias)
