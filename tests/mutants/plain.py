"""Mutants that are wrong on most problems of some common kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from math import prod

import ml_dtypes
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

# ---- The kernel is read the wrong way, and its gradient comes back the same way


@mutant("the kernel is flipped along every axis", *OF_WINDOWS)
def kernel_flipped(call: Call) -> Host:
    return with_kernel(call, lambda w: np.flip(w, range(2, w.ndim)))


@mutant("the kernel is flipped along the first spatial axis", *OF_WINDOWS)
def kernel_upside_down(call: Call) -> Host:
    return with_kernel(call, lambda w: np.flip(w, 2))


@mutant("the kernel is flipped along the last spatial axis", *OF_WINDOWS)
def kernel_mirrored(call: Call) -> Host:
    return with_kernel(call, lambda w: np.flip(w, -1))


@mutant("the kernel's spatial axes are in reverse order, where it is square", *OF_WINDOWS)
def kernel_transposed(call: Call) -> Host:
    square = len(set(call.g.kernel)) == 1
    return with_kernel(call, lambda w: w.transpose(0, 1, *range(w.ndim - 1, 1, -1)) if square else w)


@mutant("the kernel's channel axes are swapped, where they are as long", *OF_WINDOWS)
def kernel_channels_swapped(call: Call) -> Host:
    return with_kernel(call, lambda w: w.swapaxes(0, 1) if w.shape[0] == w.shape[1] else w)


@mutant("the input channels of each group are in reverse order, as from BGR to RGB", *OF_WINDOWS)
def kernel_channels_reversed(call: Call) -> Host:
    return with_kernel(call, lambda w: np.flip(w, 1))


@mutant("the last input channel of each group is dropped", *OF_WINDOWS)
def last_input_channel_dropped(call: Call) -> Host:
    return with_kernel(call, lambda w: first_channels(w, w.shape[1] - 1))


@mutant("channels are taken in pairs, and the odd one is left out", *OF_WINDOWS)
def odd_input_channel_left_out(call: Call) -> Host:
    return with_kernel(call, lambda w: first_channels(w, w.shape[1] // 2 * 2))


@mutant("the last column of a kernel wider than 1 is left out", *OF_WINDOWS)
def last_tap_left_out(call: Call) -> Host:
    width = call.g.kernel[-1]
    return with_kernel(call, lambda w: w * (np.arange(width) < max(width - 1, 1)).astype(w.dtype))


@mutant("the centre tap of a kernel with an odd number of taps counts twice", *OF_WINDOWS)
def centre_tap_twice(call: Call) -> Host:
    weights = np.ones(prod(call.g.kernel))
    if weights.size % 2:
        weights[weights.size // 2] = 2
    return with_kernel(call, lambda w: w * weights.reshape(call.g.kernel).astype(w.dtype))


# ---- The strict convolution


@mutant("the kernel is not flipped", "convolve")
def convolve_correlates(call: Call) -> Host:
    return right(replace(call, direction="forward"))


@mutant("the kernel is flipped along the last axis only", "convolve")
def convolve_flips_one_axis(call: Call) -> Host:
    return right(replace(call, direction="forward", w=np.flip(call.w, -1)))


@mutant("the kernel is flipped along the channels too", "convolve")
def convolve_flips_channels(call: Call) -> Host:
    return right(replace(call, direction="forward", w=np.flip(call.w)))


# ---- Padding


@mutant("begin and end of a pad are swapped", *OF_WINDOWS)
def pads_swapped(call: Call) -> Host:
    return right(call.read_as(pads=tuple((after, before) for before, after in call.g.pads)))


@mutant("SAME pads by half the kernel on both sides, as torch users write it", *OF_WINDOWS)
def same_as_in_torch(call: Call) -> Host:
    if "same" not in str(call.padding):
        return right(call)
    return right(call.read_as(pads=tuple(((e - 1) // 2,) * 2 for e in call.g.extent)))


@mutant("same_lower has the odd pixel at the end", *OF_WINDOWS)
def same_lower_is_upper(call: Call) -> Host:
    return pads_swapped(call) if call.padding == "same_lower" else right(call)


@mutant("same has the odd pixel at the start", *OF_WINDOWS)
def same_is_lower(call: Call) -> Host:
    return pads_swapped(call) if call.padding in ("same", "same_upper") else right(call)


@mutant("full padding is one short on both sides", *FORWARD)
def full_one_short(call: Call) -> Host:
    if call.padding != "full":
        return right(call)
    return right(call.resized(pads=tuple((max(before - 1, 0), max(after - 1, 0)) for before, after in call.g.pads)))


@mutant("the pads of the axes are in reverse order, as torch.nn.functional.pad takes them", *FORWARD)
def pads_last_axis_first(call: Call) -> Host:
    return right(call.resized(pads=call.g.pads[::-1]))


@mutant("the input is padded with ones", *OF_INPUT)
def padded_with_ones(call: Call) -> Host:
    return right(call.padded(constant_values=1))


@mutant("the input is padded with its border", *OF_INPUT)
def padded_with_edge(call: Call) -> Host:
    return right(call.padded(mode="edge") if call.x.size else call)


@mutant("the input is padded with its mirror image", *OF_INPUT)
def padded_with_reflection(call: Call) -> Host:
    return right(call.padded(mode="symmetric") if call.x.size else call)


@mutant("the input is padded with its other end", *OF_INPUT)
def padded_circularly(call: Call) -> Host:
    return right(call.padded(mode="wrap") if call.x.size else call)


# ---- Stride and dilation


@mutant("with a stride, every window starts a pixel late", *OF_INPUT)
def stride_phase(call: Call) -> Host:
    return right(call.shifted(tuple(int(s > 1) for s in call.g.stride)))


@mutant("the windows end with the input, where they should start with it", *OF_INPUT)
def windows_aligned_with_end(call: Call) -> Host:
    return right(call.shifted(call.g.output_padding))


@mutant("the stride of the first axis is used for all", *FORWARD)
def stride_of_first_axis(call: Call) -> Host:
    return right(call.resized(stride=call.g.stride[:1] * call.g.ndim))


@mutant("a stride beyond the kernel is cut to the kernel", *OF_WINDOWS)
def stride_cut_to_kernel(call: Call) -> Host:
    return right(call.read_as(stride=tuple(min(s, k) for s, k in zip(call.g.stride, call.g.kernel))))


@mutant("a kernel of one tap takes the first pixels whatever the stride", *FORWARD)
def stride_ignored_by_1x1(call: Call) -> Host:
    return right(call.read_as(stride=(1,) * call.g.ndim) if prod(call.g.kernel) == 1 else call)


@mutant("the dilation is ignored", *OF_WINDOWS)
def dilation_ignored(call: Call) -> Host:
    return right(call.read_as(dilation=(1,) * call.g.ndim))


@mutant("the dilation of the first axis is used for all", *FORWARD)
def dilation_of_first_axis(call: Call) -> Host:
    return right(call.resized(dilation=call.g.dilation[:1] * call.g.ndim))


@mutant("with a stride and a dilation, the input is subsampled before the kernel is dilated", *OF_INPUT)
def subsampled_before_dilation(call: Call) -> Host:
    each = zip(call.g.stride, call.g.dilation)
    return right(call.read_as(dilation=tuple(d * s if d > 1 else d for s, d in each)))


# ---- Groups


@mutant("the input channels are dealt to the groups in turn", *OF_INPUT)
def groups_interleaved(call: Call) -> Host:
    return right(call.but(x=dealt(call.x, call.g.groups)))


@mutant("the output channels of the groups are interleaved", *FORWARD)
def groups_interleaved_in_output(call: Call) -> Host:
    return dealt(right(call), call.g.out_channels // call.g.groups)


@mutant("depthwise, the channel multiplier is the slower axis of the output channels", *FORWARD)
def channel_multiplier_first(call: Call) -> Host:
    depthwise = call.g.groups == call.g.in_channels
    return dealt(right(call), call.g.out_channels // call.g.groups) if depthwise else right(call)


@mutant("every group sees the channels of the first", *OF_INPUT)
def groups_see_first(call: Call) -> Host:
    g = call.g
    first = call.x[:, : g.in_channels // g.groups]
    return right(call.but(x=np.concatenate([first] * g.groups, axis=1)))


@mutant("groups after the first are zero", *FORWARD)
def groups_after_first_zero(call: Call) -> Host:
    y = right(call)
    y[:, call.g.out_channels // call.g.groups :] = 0
    return y


# ---- Bias


@mutant("the bias is dropped", *FORWARD)
def bias_dropped(call: Call) -> Host:
    return right(call.but(bias=None))


@mutant("the bias is added twice", *FORWARD)
def bias_twice(call: Call) -> Host:
    return biased(right(call), call.bias)


@mutant("the bias is subtracted", *FORWARD)
def bias_subtracted(call: Call) -> Host:
    return right(call.but(bias=None if call.bias is None else -call.bias))


@mutant("the bias is added along the last axis, where it is as long", *FORWARD)
def bias_along_last_axis(call: Call) -> Host:
    if call.bias is None or call.g.out[-1] != call.g.out_channels:
        return right(call)
    return right(call.but(bias=None)) + call.bias


@mutant("the first channel's bias is used for all", *FORWARD)
def bias_of_first_channel(call: Call) -> Host:
    return right(call.but(bias=None if call.bias is None else np.repeat(call.bias[:1], call.g.out_channels)))


@mutant("the bias is added only where the whole window is inside the input", *FORWARD)
def bias_inside_only(call: Call) -> Host:
    g = call.g
    y = right(call.but(bias=None))
    starts = [np.arange(o) * s - before for o, s, (before, _) in zip(g.out, g.stride, g.pads)]
    inside = [(start >= 0) & (start + e <= n) for start, e, n in zip(starts, g.extent, g.size)]
    return np.where(reduce(np.logical_and.outer, inside), biased(y, call.bias), y)


@mutant("the bias is dropped", "conv_transpose")
def transposed_bias_dropped(call: Call) -> Host:
    return right(call.but(bias=None))


# ---- Batch, channels and pixels


@mutant("every image's result is the first one's", *FORWARD)
def first_image_for_all(call: Call) -> Host:
    y = right(call)
    return np.repeat(y[:1], len(y), axis=0)


@mutant("the last image's result is zero", *FORWARD)
def last_image_zero(call: Call) -> Host:
    y = right(call)
    y[-1:] = 0
    return y


@mutant("the last column is zero", *FORWARD)
def last_column_zero(call: Call) -> Host:
    y = right(call)
    y[..., -1] = 0
    return y


@mutant("the last row is zero", *FORWARD)
def last_row_zero(call: Call) -> Host:
    y = right(call)
    y[:, :, -1] = 0
    return y


@mutant("every odd output channel is the one before it", *FORWARD)
def odd_output_channels(call: Call) -> Host:
    y = right(call)
    y[:, 1::2] = y[:, : y.shape[1] // 2 * 2 : 2]
    return y


@mutant("a kernel of one tap that keeps the shape returns its input", *FORWARD)
def one_tap_is_identity(call: Call) -> Host:
    y = right(call)
    return call.x.copy() if prod(call.g.kernel) == 1 and call.x.shape == y.shape else y


@mutant("channels last, the result is reshaped where it should be transposed", *FORWARD)
def reshaped_to_channels_last(call: Call) -> Host:
    y = right(call)
    g = call.g
    return np.moveaxis(y.reshape(g.batch, *g.out, g.out_channels), -1, 1) if call.channels_last else y


@mutant("the result has a row more than it should", *FORWARD)
def row_too_many(call: Call) -> Host:
    y = right(call)
    return np.concatenate([y, y[:, :, -1:]], axis=2)


@mutant("a batch of one loses its axis", *FORWARD)
def batch_of_one_squeezed(call: Call) -> Host:
    y = right(call)
    return y[0] if len(y) == 1 and not call.channels_last else y


@mutant("a batch of none comes out as a batch of one", "forward", "convolve")
def empty_batch_of_one(call: Call) -> Host:
    y = right(call)
    return y if len(y) else np.zeros((1, *y.shape[1:]), y.dtype)


@mutant("the result is the last call's, where that has its shape", *FORWARD)
def result_of_last_call(call: Call) -> Host:
    y = right(call)
    last = call.memory.get("last", y)
    call.memory["last"] = y
    return last if last.shape == y.shape else y


# ---- The last column is missing, but seldom


@mutant("the last column is zero at batch 1", *FORWARD)
def wrong_at_batch_1(call: Call) -> Host:
    return without_last_column(call, when=call.g.batch == 1)


@mutant("the last column is zero from batch 16 on", *FORWARD)
def wrong_from_batch_16(call: Call) -> Host:
    return without_last_column(call, when=call.g.batch >= 16)


@mutant("the last column is zero where an image has more than 64 outputs", *FORWARD)
def wrong_above_a_size(call: Call) -> Host:
    return without_last_column(call, when=prod(call.g.out) > 64)


@mutant("an output of one pixel is zero", *FORWARD)
def wrong_for_one_pixel(call: Call) -> Host:
    return without_last_column(call, when=prod(call.g.out) == 1)


@mutant("the last column is zero where the kernel is even along an axis", *FORWARD)
def wrong_for_even_kernels(call: Call) -> Host:
    return without_last_column(call, when=any(k % 2 == 0 for k in call.g.kernel))


@mutant("the last column is zero in 1-D", *FORWARD)
def wrong_in_1d(call: Call) -> Host:
    return without_last_column(call, when=call.g.ndim == 1)


@mutant("the last column is zero in 3-D", *FORWARD)
def wrong_in_3d(call: Call) -> Host:
    return without_last_column(call, when=call.g.ndim == 3)


@mutant("the last column is zero channels last", *FORWARD)
def wrong_channels_last(call: Call) -> Host:
    return without_last_column(call, when=call.channels_last)


@mutant("the last column is zero in float64", *FORWARD)
def wrong_in_float64(call: Call) -> Host:
    return without_last_column(call, when=call.w.dtype == np.float64)


@mutant("the last column is zero in a depthwise convolution", *FORWARD)
def wrong_depthwise(call: Call) -> Host:
    return without_last_column(call, when=call.g.groups == call.g.in_channels > 1)


# ---- Precision and values


def narrowed(call: Call, narrow: Callable[[Host], Host]) -> Host:
    """The answer for an input and a kernel that have been through a narrower format."""
    with np.errstate(over="ignore", invalid="ignore"):
        x, w = (narrow(a).astype(a.dtype) for a in (call.x, call.w))
        return right(call.but(x=x, w=w))


@mutant("the arrays go through float16", *OF_INPUT)
def float16_inside(call: Call) -> Host:
    return narrowed(call, lambda a: a.astype(np.float16))


@mutant("the arrays go through bfloat16", *OF_INPUT)
def bfloat16_inside(call: Call) -> Host:
    return narrowed(call, lambda a: a.astype(ml_dtypes.bfloat16))


@mutant("float32 goes through tf32", *OF_INPUT)
def tf32_inside(call: Call) -> Host:
    return narrowed(call, tf32) if call.x.dtype == np.float32 else right(call)


@mutant("float64 is summed in float32", *FORWARD)
def float64_summed_in_float32(call: Call) -> Host:
    bias = None if call.bias is None else call.bias.astype(np.float32)
    narrow = call.but(x=call.x.astype(np.float32), w=call.w.astype(np.float32), bias=bias)
    return right(narrow).astype(call.x.dtype) if call.x.dtype == np.float64 else right(call)


@mutant("float32 comes out as float64", *FORWARD)
def result_in_float64(call: Call) -> Host:
    return right(call).astype(np.float64)


@mutant("the sums are rounded to integers", *FORWARD)
def rounded_to_integers(call: Call) -> Host:
    return np.rint(right(call))


@mutant("the sums lose their sign", *FORWARD)
def absolute_values(call: Call) -> Host:
    return np.abs(right(call))


@mutant("an activation is left in: negative sums are zero", *FORWARD)
def relu_left_in(call: Call) -> Host:
    return np.maximum(right(call), 0)


@mutant("the sums saturate as int8 does", *FORWARD)
def saturated(call: Call) -> Host:
    return np.clip(right(call), -128, 127)


@mutant("a result of zero comes out as NaN, as from a division by it", *FORWARD)
def zero_is_nan(call: Call) -> Host:
    y = right(call)
    return np.where(y == 0, np.nan, y).astype(y.dtype)


# ---- One gradient


@mutant("the dilation is ignored", "input gradient")
def input_gradient_ignores_dilation(call: Call) -> Host:
    return dilation_ignored(call)


@mutant("the kernel is flipped once too often", "input gradient")
def input_gradient_flipped(call: Call) -> Host:
    return kernel_flipped(call)


@mutant("the padding is not cut off at the start", "input gradient")
def input_gradient_keeps_padding(call: Call) -> Host:
    return right(call.read_as(pads=tuple((0, before + after) for before, after in call.g.pads)))


@mutant("the pixels that no window reaches stand at the start", "input gradient")
def input_gradient_remainder_at_start(call: Call) -> Host:
    return np.roll(right(call), call.g.output_padding, range(2, 2 + call.g.ndim))


@mutant("where windows overlap, the last one is kept and not added", "input gradient")
def input_gradient_overwritten(call: Call) -> Host:
    dx = np.zeros_like(call.x)
    for tap in np.ndindex(*call.g.kernel):
        one = np.zeros(call.g.kernel, call.w.dtype)
        one[tap] = 1
        touched = right(call.but(w=np.broadcast_to(one, call.w.shape), dy=np.ones_like(call.dy))) != 0
        dx = np.where(touched, right(call.but(w=call.w * one)), dx)
    return dx


@mutant("it is the mean over the batch, not the sum", "kernel gradient")
def kernel_gradient_mean_over_batch(call: Call) -> Host:
    return right(call) / np.asarray(max(call.g.batch, 1), call.w.dtype)


@mutant("only the first image counts", "kernel gradient")
def kernel_gradient_of_first_image(call: Call) -> Host:
    return right(call.but(x=call.x[:1], dy=call.dy[:1]).read_as(batch=min(call.g.batch, 1)))


@mutant("the stride is ignored", "kernel gradient")
def kernel_gradient_ignores_stride(call: Call) -> Host:
    return right(call.read_as(stride=(1,) * call.g.ndim))


@mutant("the padding is swapped", "kernel gradient")
def kernel_gradient_pads_swapped(call: Call) -> Host:
    return pads_swapped(call)


@mutant("it is the mean over the pixels, not the sum", "bias gradient")
def bias_gradient_mean(call: Call) -> Host:
    return right(call) / np.asarray(prod(call.g.out), call.w.dtype)


@mutant("only the first image counts", "bias gradient")
def bias_gradient_of_first_image(call: Call) -> Host:
    return right(call.but(dy=call.dy[:1]))


@mutant("there is none, as where nothing depends on the bias", "bias gradient")
def bias_gradient_missing(call: Call) -> None:
    return None


# ---- The transposed convolution


@mutant("the kernel is flipped", "conv_transpose")
def transposed_flipped(call: Call) -> Host:
    return kernel_flipped(call)


@mutant("the pixels of output_padding stand at the start", "conv_transpose")
def output_padding_at_start(call: Call) -> Host:
    return np.roll(right(call), call.g.output_padding, range(2, 2 + call.g.ndim))


@mutant("begin and end of the padding that is cut off are swapped", "conv_transpose")
def transposed_pads_swapped(call: Call) -> Host:
    return pads_swapped(call)


@mutant("the groups are given to the output channels in turn", "conv_transpose")
def transposed_groups_interleaved(call: Call) -> Host:
    return dealt(right(call), call.g.in_channels // call.g.groups)


# ---- The layer


@mutant("the padding is left at its default, none", "layer")
def layer_padding_default(call: Call) -> Host:
    return right(call.resized(pads=((0, 0),) * call.g.ndim))


@mutant("the stride is left at its default, one", "layer")
def layer_stride_default(call: Call) -> Host:
    return right(call.resized(stride=(1,) * call.g.ndim))


@mutant("the bias is ignored", "layer")
def layer_bias_ignored(call: Call) -> Host:
    return right(call.but(bias=None))


@mutant("the kernel is reshaped to HWIO where it should be transposed", "layer")
def layer_kernel_reshaped(call: Call) -> Host:
    out, channels, *kernel = call.w.shape
    hwio = call.w.reshape(*kernel, channels, out)
    return right(call.but(w=hwio.transpose(-1, -2, *range(call.g.ndim))))
