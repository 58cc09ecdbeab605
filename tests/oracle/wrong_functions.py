"""Wrong convolutions written with NumPy alone, as a person would write them, and the mistake that each of them is.

Each is a function ``f(x, w, bias, *, stride, padding, dilation, groups)`` with padding in pairs. None of them uses the
records of `multiconv.oracle.mistakes` or the oracle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Host = Any
WRONG: list[tuple[str, Callable[..., Host]]] = []
"""The id of each mistake, and the function that makes it."""


def wrong(*ids: str) -> Callable[[Callable[..., Host]], Callable[..., Host]]:
    """Enter a function, with the id that a diagnosis has to give, or the ids of a pair."""

    def enter(function: Callable[..., Host]) -> Callable[..., Host]:
        WRONG.append((" and ".join(ids), function))
        return function

    return enter


def conv(x: Host, w: Host, bias: Host, stride: Any, padding: Any, dilation: Any, groups: int, **how: Any) -> Host:
    """Cross-correlate, by a product over windows: the right function, from which the wrong ones are made."""
    ndim = w.ndim - 2
    x = np.pad(x, ((0, 0), (0, 0), *padding), **how)
    extent = tuple((k - 1) * d + 1 for k, d in zip(w.shape[2:], dilation))
    windows = sliding_window_view(x, extent, tuple(range(2, 2 + ndim)))
    windows = windows[(slice(None), slice(None), *(slice(None, None, s) for s in stride))]
    windows = windows[(..., *(slice(None, None, d) for d in dilation))]
    n, c, *out = windows.shape[: 2 + ndim]
    windows = windows.reshape(n, groups, c // groups, *out, -1)
    kernel = w.reshape(groups, w.shape[0] // groups, c // groups, -1)
    y = np.einsum("ngc...k,gock->ngo...", windows, kernel).reshape(n, w.shape[0], *out)
    return y.astype(x.dtype) if bias is None else add(y.astype(x.dtype), bias)


def add(y: Host, bias: Host) -> Host:
    return y if bias is None else y + bias.reshape(-1, *[1] * (y.ndim - 2))


def on_kernel(change: Callable[[Host], Host]) -> Callable[..., Host]:
    return lambda x, w, bias=None, **o: conv(x, change(w), bias, **o)


def on_input(change: Callable[[Host, int], Host]) -> Callable[..., Host]:
    return lambda x, w, bias=None, **o: conv(change(x, o["groups"]), w, bias, **o)


def on_output(change: Callable[[Host], Host]) -> Callable[..., Host]:
    return lambda x, w, bias=None, **o: np.ascontiguousarray(change(conv(x, w, bias, **o)))


def on_pads(change: Callable[[int, int], tuple[int, int]]) -> Callable[..., Host]:
    def function(x: Host, w: Host, bias: Host = None, *, padding: Any, **o: Any) -> Host:
        return conv(x, w, bias, padding=tuple(change(*pair) for pair in padding), **o)

    return function


def zeroed(*where: Any) -> Callable[[Host], Host]:
    def change(y: Host) -> Host:
        y = y.copy()
        y[where] = 0
        return y

    return change


def filled(**how: Any) -> Callable[..., Host]:
    return lambda x, w, bias=None, **o: conv(x, w, bias, **o, **how)


def narrow(dtype: Any) -> Callable[[Host], Host]:
    return lambda a: a.astype(dtype).astype(a.dtype)


ALL, END = slice(None), slice(-1, None)
SIMPLE = {
    # the kernel
    "kernel-flipped": on_kernel(lambda w: w[(ALL, ALL, *[slice(None, None, -1)] * (w.ndim - 2))]),
    "kernel-flipped-first-axis": on_kernel(lambda w: w[:, :, ::-1] if w.ndim > 3 else w),
    "kernel-flipped-last-axis": on_kernel(lambda w: w[..., ::-1] if w.ndim > 3 else w),
    "kernel-flipped-with-channels": on_kernel(np.flip),
    "kernel-channels-reversed": on_kernel(lambda w: w[::-1, ::-1]),
    "kernel-hwio-read-as-oihw": on_kernel(lambda w: np.moveaxis(w, (0, 1), (-1, -2)).reshape(w.shape)),
    "kernel-oihw-read-as-hwio": on_kernel(
        lambda w: np.moveaxis(w.reshape(*w.shape[2:], w.shape[1], w.shape[0]), (-1, -2), (0, 1))
    ),
    "kernel-ohwi-read-as-oihw": on_kernel(lambda w: np.moveaxis(w, 1, -1).reshape(w.shape)),
    "kernel-oihw-read-as-ohwi": on_kernel(lambda w: np.moveaxis(w.reshape(len(w), *w.shape[2:], -1), -1, 1)),
    "kernel-iohw-read-as-oihw": on_kernel(
        lambda w: w.reshape(w.shape[1], w.shape[0], *w.shape[2:]).swapaxes(0, 1)
    ),
    "kernel-input-channels-reversed": on_kernel(lambda w: w[:, ::-1]),
    "last-tap-column-missing": on_kernel(lambda w: zeroed(..., -1)(w) if w.shape[-1] > 1 else w),
    "first-tap-column-missing": on_kernel(lambda w: zeroed(..., 0)(w) if w.shape[-1] > 1 else w),
    "last-tap-row-missing": on_kernel(lambda w: zeroed(ALL, ALL, -1)(w) if w.shape[2] > 1 else w),
    "first-tap-row-missing": on_kernel(lambda w: zeroed(ALL, ALL, 0)(w) if w.shape[2] > 1 else w),
    "last-input-channel-missing": on_kernel(zeroed(ALL, -1)),
    "first-input-channel-missing": on_kernel(zeroed(ALL, 0)),
    "input-channels-beyond-blocks-of-2-missing": on_kernel(
        lambda w: zeroed(ALL, slice(w.shape[1] // 2 * 2, None))(w)
    ),
    # padding
    "pads-swapped": on_pads(lambda b, a: (a, b)),
    "pads-symmetric-smaller": on_pads(lambda b, a: (min(b, a), min(b, a))),
    "pads-symmetric-larger": on_pads(lambda b, a: (max(b, a), max(b, a))),
    "pads-before-on-both": on_pads(lambda b, a: (b, b)),
    "pads-after-on-both": on_pads(lambda b, a: (a, a)),
    "padding-twice": on_pads(lambda b, a: (2 * b, 2 * a)),
    "padding-total-for-side": on_pads(lambda b, a: (a + b, a + b)),
    "pads-all-before": on_pads(lambda b, a: (a + b, 0)),
    "pads-all-after": on_pads(lambda b, a: (0, a + b)),
    "pads-one-more": on_pads(lambda b, a: (b + 1, a + 1)),
    "padding-of-ones": filled(constant_values=1),
    "padding-replicate": filled(mode="edge"),
    "padding-symmetric": filled(mode="symmetric"),
    "padding-circular": filled(mode="wrap"),
    # channels and images
    "input-channels-reversed": on_input(lambda x, groups: x[:, ::-1]),
    "output-channels-reversed": on_output(lambda y: y[:, ::-1]),
    "input-channels-dealt": on_input(
        lambda x, groups: np.concatenate([x[:, i::groups] for i in range(groups)], axis=1)
    ),
    "groups-see-first": on_input(
        lambda x, groups: np.concatenate([x[:, : x.shape[1] // groups]] * groups, axis=1)
    ),
    "nhwc-read-as-nchw": on_input(lambda x, groups: np.moveaxis(x, 1, -1).reshape(x.shape)),
    "nchw-read-as-nhwc": on_input(
        lambda x, groups: np.moveaxis(x.reshape(len(x), *x.shape[2:], x.shape[1]), -1, 1)
    ),
    "output-nhwc-read-as-nchw": on_output(lambda y: np.moveaxis(y, 1, -1).reshape(y.shape)),
    "output-nchw-read-as-nhwc": on_output(
        lambda y: np.moveaxis(y.reshape(len(y), *y.shape[2:], y.shape[1]), -1, 1)
    ),
    "last-column-zero": on_output(zeroed(..., -1)),
    "first-column-zero": on_output(zeroed(..., 0)),
    "last-row-zero": on_output(zeroed(ALL, ALL, -1)),
    "last-output-channel-zero": on_output(zeroed(ALL, -1)),
    "last-image-zero": on_output(zeroed(-1)),
    "odd-output-channels-repeat": on_output(lambda y: y[:, np.arange(y.shape[1]) // 2 * 2 if y.shape[1] % 2 == 0 else [
        *(np.arange(y.shape[1] - 1) // 2 * 2), y.shape[1] - 1]]),
    "images-after-first-zero": on_output(zeroed(slice(1, None))),
    # the bias
    "bias-dropped": lambda x, w, bias=None, **o: conv(x, w, None, **o),
    "bias-twice": lambda x, w, bias=None, **o: add(conv(x, w, bias, **o), bias),
    "bias-subtracted": lambda x, w, bias=None, **o: conv(x, w, None if bias is None else -bias, **o),
    "bias-reversed": lambda x, w, bias=None, **o: conv(x, w, None if bias is None else bias[::-1], **o),
    "bias-of-first-channel": lambda x, w, bias=None, **o: conv(x, w, None if bias is None else 0 * bias + bias[0], **o),
    # values
    "negated": on_output(lambda y: -y),
    "doubled": on_output(lambda y: 2 * y),
    "relu-left-in": on_output(lambda y: np.maximum(y, 0)),
    "absolute-values": on_output(np.abs),
    "saturates-as-int8": on_output(lambda y: np.clip(y, -128, 127)),
    "wraps-as-int8": on_output(lambda y: y.astype(np.int64).astype(np.int8).astype(y.dtype)),
    "wraps-as-uint8": on_output(lambda y: y.astype(np.int64).astype(np.uint8).astype(y.dtype)),
    # roundings
    "operands-in-bfloat16": lambda x, w, bias=None, **o: conv(
        narrow(ml_dtypes.bfloat16)(x), narrow(ml_dtypes.bfloat16)(w), bias, **o
    ),
    "operands-in-float16": lambda x, w, bias=None, **o: conv(narrow("f2")(x), narrow("f2")(w), bias, **o),
    "input-in-float16": lambda x, w, bias=None, **o: conv(narrow("f2")(x), w, bias, **o),
    "result-in-bfloat16": on_output(narrow(ml_dtypes.bfloat16)),
}  # fmt: skip
WRONG += SIMPLE.items()


@wrong("kernel-transposed")
def kernel_transposed(x: Host, w: Host, bias: Host = None, **o: Any) -> Host:
    square = w.ndim > 3 and w.shape[2] == w.shape[-1]
    return conv(x, w.swapaxes(2, -1) if square else w, bias, **o)


@wrong("kernel-channels-swapped")
def kernel_channels_swapped(x: Host, w: Host, bias: Host = None, **o: Any) -> Host:
    return conv(x, w.swapaxes(0, 1) if w.shape[0] == w.shape[1] else w, bias, **o)


@wrong("first-group-for-all")
def first_group_for_all(x: Host, w: Host, bias: Host = None, *, groups: int, **o: Any) -> Host:
    return conv(x, np.concatenate([w[: len(w) // groups]] * groups), bias, groups=groups, **o)


@wrong("padding-ignored")
def padding_ignored(x: Host, w: Host, bias: Host = None, *, padding: Any, **o: Any) -> Host:
    return conv(x, w, bias, padding=((0, 0),) * len(padding), **o)


@wrong("pads-axes-reversed")
def pads_axes_reversed(x: Host, w: Host, bias: Host = None, *, padding: Any, **o: Any) -> Host:
    return conv(x, w, bias, padding=padding[::-1], **o)


@wrong("stride-ignored")
def stride_ignored(x: Host, w: Host, bias: Host = None, *, stride: Any, **o: Any) -> Host:
    return conv(x, w, bias, stride=(1,) * len(stride), **o)


@wrong("stride-axes-reversed")
def stride_axes_reversed(x: Host, w: Host, bias: Host = None, *, stride: Any, **o: Any) -> Host:
    return conv(x, w, bias, stride=stride[::-1], **o)


@wrong("stride-of-first-axis")
def stride_of_first_axis(x: Host, w: Host, bias: Host = None, *, stride: Any, **o: Any) -> Host:
    return conv(x, w, bias, stride=stride[:1] * len(stride), **o)


@wrong("dilation-ignored")
def dilation_ignored(x: Host, w: Host, bias: Host = None, *, dilation: Any, **o: Any) -> Host:
    return conv(x, w, bias, dilation=(1,) * len(dilation), **o)


@wrong("dilation-axes-reversed")
def dilation_axes_reversed(x: Host, w: Host, bias: Host = None, *, dilation: Any, **o: Any) -> Host:
    return conv(x, w, bias, dilation=dilation[::-1], **o)


@wrong("output-channels-interleaved")
def output_channels_interleaved(x: Host, w: Host, bias: Host = None, *, groups: int, **o: Any) -> Host:
    y = conv(x, w, bias, groups=groups, **o)
    n, c, *out = y.shape
    return np.ascontiguousarray(y.reshape(n, groups, c // groups, *out).swapaxes(1, 2)).reshape(y.shape)


@wrong("depthwise-multiplier-order")
def depthwise_multiplier_order(x: Host, w: Host, bias: Host = None, *, groups: int, **o: Any) -> Host:
    y = conv(x, w, bias, groups=groups, **o)
    n, c, *out = y.shape
    if groups != x.shape[1] or groups == 1:
        return y
    return np.ascontiguousarray(y.reshape(n, groups, c // groups, *out).swapaxes(1, 2)).reshape(y.shape)


@wrong("first-image-for-all")
def first_image_for_all(x: Host, w: Host, bias: Host = None, **o: Any) -> Host:
    return np.concatenate([conv(x[:1], w, bias, **o)] * len(x))


@wrong("kernel-flipped", "bias-dropped")
def flipped_without_bias(x: Host, w: Host, bias: Host = None, **o: Any) -> Host:
    return conv(x, w[(ALL, ALL, *[slice(None, None, -1)] * (w.ndim - 2))], None, **o)


@wrong("pads-swapped", "input-channels-reversed")
def pads_swapped_and_bgr(x: Host, w: Host, bias: Host = None, *, padding: Any, **o: Any) -> Host:
    return conv(x[:, ::-1], w, bias, padding=tuple(pair[::-1] for pair in padding), **o)


@wrong("stride-ignored", "dilation-ignored")
def strides_and_dilation_ignored(x: Host, w: Host, bias: Host = None, *, stride: Any, dilation: Any, **o: Any) -> Host:
    return conv(x, w, bias, stride=(1,) * len(stride), dilation=(1,) * len(dilation), **o)


@wrong("nhwc-read-as-nchw", "bias-subtracted")
def nhwc_and_bias_subtracted(x: Host, w: Host, bias: Host = None, **o: Any) -> Host:
    return conv(np.moveaxis(x, 1, -1).reshape(x.shape), w, None if bias is None else -bias, **o)
