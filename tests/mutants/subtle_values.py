"""Mutants that are wrong only for some values, or lose precision in one place."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import numpy.typing as npt

from mutants.machinery import FORWARD, OF_INPUT, Call, Host, biased, mutant, right


def through(array: Host, dtype: npt.DTypeLike) -> Host:
    """The array after a conversion to another format and back."""
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(dtype).astype(array.dtype)


def through_bfloat16(array: Host) -> Host:
    return through(array, ml_dtypes.bfloat16)


def without_nan(array: Host | None) -> Host | None:
    return None if array is None else np.where(np.isnan(array), np.zeros_like(array), array)


# ---- NaN and infinity


@mutant("a NaN weight counts as zero", *FORWARD, "input gradient", "conv_transpose")
def nan_weight_dropped(call: Call) -> Host:
    return right(call.but(w=without_nan(call.w)))


@mutant("a NaN bias counts as zero", *FORWARD, "conv_transpose")
def nan_bias_dropped(call: Call) -> Host:
    return right(call.but(bias=without_nan(call.bias)))


@mutant("a NaN pixel counts as zero", *OF_INPUT, "conv_transpose")
def nan_pixel_dropped(call: Call) -> Host:
    return right(call.but(x=without_nan(call.x)))


@mutant("a NaN in the gradient of the result counts as zero", "input gradient", "kernel gradient", "bias gradient")
def nan_gradient_dropped(call: Call) -> Host:
    return right(call.but(dy=without_nan(call.dy)))


@mutant("weights of zero are skipped, and with them the NaN that comes of infinity or NaN times zero", *FORWARD)
def zero_weights_skipped(call: Call) -> Host:
    if np.isfinite(call.x).all() or call.w.all():
        return right(call)
    finite = np.isfinite(call.x)
    skipped = right(call.but(x=np.where(finite, call.x, np.zeros_like(call.x))))
    seen = right(call.but(x=(~finite).astype(np.float32), w=(call.w != 0).astype(np.float32), bias=None))
    return np.where(seen == 0, skipped, right(call))


@mutant("an infinite sum comes out as the largest number", *FORWARD)
def infinity_is_largest(call: Call) -> Host:
    y = right(call)
    return np.where(np.isinf(y), np.copysign(ml_dtypes.finfo(y.dtype).max, y), y).astype(y.dtype)


# ---- Large and small numbers


@mutant("sums of products beyond float16's range come out infinite", *FORWARD)
def overflow_as_in_float16(call: Call) -> Host:
    y = right(call)
    size = right(call.but(x=np.abs(call.x), w=np.abs(call.w), bias=None))
    with np.errstate(invalid="ignore"):
        return np.where(size > 65504, np.copysign(np.asarray(np.inf, y.dtype), y), y)


@mutant("the smallest normal number counts as subnormal, and so as zero", *FORWARD)
def smallest_normal_flushed(call: Call) -> Host:
    smallest = ml_dtypes.finfo(call.x.dtype).smallest_normal
    x, w = (np.where(np.abs(a) <= smallest, np.zeros_like(a), a) for a in (call.x, call.w))
    return right(call.but(x=x, w=w))


@mutant("numbers below 2^-24, too small for float16, count as zero", *FORWARD)
def small_numbers_flushed(call: Call) -> Host:
    x, w = (np.where(np.abs(a) < 2.0**-24, np.zeros_like(a), a) for a in (call.x, call.w))
    return right(call.but(x=x, w=w))


@mutant("all results share the exponent of the largest, as in block floating point", *FORWARD)
def shared_exponent(call: Call) -> Host:
    y = right(call).astype(np.float64)
    largest = np.abs(y).max(initial=0)
    if not np.isfinite(largest):
        return right(call)
    step = float(ml_dtypes.finfo(call.x.dtype).eps) * 8 * largest or 1.0
    return (np.rint(y / step) * step).astype(call.x.dtype)


# ---- Rounding


@mutant("with a bias, the result is rounded to bfloat16 after the bias is added", *FORWARD)
def rounded_after_bias(call: Call) -> Host:
    return right(call) if call.bias is None else through_bfloat16(right(call))


@mutant("the last four bits of a float32 result are cut off", *FORWARD)
def last_bits_cut_off(call: Call) -> Host:
    y = right(call)
    if y.dtype != np.float32:
        return y
    return (np.ascontiguousarray(y).view(np.uint32) & 0xFFFFFFF0).view(np.float32)


@mutant("bfloat16 results are cut to their format, not rounded", *FORWARD)
def bfloat16_cut_off(call: Call) -> Host:
    if call.x.dtype != ml_dtypes.bfloat16:
        return right(call)
    x, w = (a.astype(np.float32) for a in (call.x, call.w))
    y = biased(right(call.but(x=x, w=w, bias=None)), None if call.bias is None else call.bias.astype(np.float32))
    cut = np.ascontiguousarray(y).view(np.uint32) & 0xFFFF0000
    return cut.view(np.float32).astype(ml_dtypes.bfloat16)


@mutant("it is summed in float16", "bias gradient")
def bias_gradient_in_float16(call: Call) -> Host:
    with np.errstate(over="ignore", invalid="ignore"):
        return right(call.but(dy=call.dy.astype(np.float16))).astype(call.dy.dtype)
