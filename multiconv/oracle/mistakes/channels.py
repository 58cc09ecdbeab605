"""Mistakes in the order of channels, groups, images and axes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from multiconv.core.types import Host
from multiconv.oracle.mistakes.question import FORWARD, OF_OUTPUT, OF_WINDOWS, Mistake, Question

Order = Callable[[Host, Question], "Host | None"]


def _of_input(id: str, says: str, fix: str, order: Order, *, within_image: bool = True, **code: str) -> Mistake:
    def alter(q: Question) -> Question | None:
        data = order(getattr(q, q.data), q)
        return None if data is None else q.but(**{q.data: data})

    return Mistake(id, says, fix, OF_WINDOWS, alter, code=code, within_image=within_image)


def _of_output(id: str, says: str, fix: str, order: Order, *, within_image: bool = True, **code: str) -> Mistake:
    return Mistake(
        id, says, fix, OF_OUTPUT, finish=lambda q, y: order(y, q), code=code, within_image=within_image
    )  # fmt: skip


def dealt(array: Host, into: int) -> Host:
    """Return the channels as cards are dealt: 0 1 2 3 4 5 into two piles are 0 2 4 1 3 5.

    Examples
    --------
    >>> dealt(np.arange(6)[None], 2)
    array([[0, 2, 4, 1, 3, 5]])
    """
    return np.concatenate([array[:, first::into] for first in range(into)], axis=1)


def _grouped(order: Order) -> Order:
    return lambda a, q: order(a, q) if q.g.groups > 1 else None


def _depthwise(order: Order) -> Order:
    return lambda a, q: order(a, q) if q.g.groups == q.g.in_channels > 1 else None


def _per_group(y: Host, q: Question) -> int:
    return int(y.shape[1]) // q.g.groups


def _first_group_seen(a: Host, q: Question) -> Host:
    return np.concatenate([a[:, : a.shape[1] // q.g.groups]] * q.g.groups, axis=1)


def _axes_reversed(a: Host, q: Question) -> Host | None:
    turned = a.transpose(0, 1, *range(a.ndim - 1, 1, -1))
    return turned if a.ndim > 3 and turned.shape == a.shape else None


def _zero(axis: int, index: int | slice) -> Order:
    def order(y: Host, q: Question) -> Host | None:
        if not y.size:
            return None
        y = y.copy()
        y[(slice(None),) * (axis % y.ndim) + (index,)] = 0
        return y

    return order


def _beyond_blocks(axis: int, block: int) -> Order:
    """Set to zero what lies beyond the last whole block of an axis."""

    def order(y: Host, q: Question) -> Host | None:
        whole = y.shape[axis] // block * block
        return None if whole == y.shape[axis] else _zero(axis, slice(whole, None))(y, q)

    return order


def _odd_repeat(y: Host, q: Question) -> Host | None:
    y = y.copy()
    y[:, 1::2] = y[:, : y.shape[1] // 2 * 2 : 2]
    return y


def _last_repeats(y: Host, q: Question) -> Host | None:
    if y.shape[-1] < 2:
        return None
    y = y.copy()
    y[..., -1] = y[..., -2]
    return y


def _biased(y: Host, bias: Host) -> Host:
    return y + bias.reshape(-1, *[1] * (y.ndim - 2))


def _bias(id: str, says: str, fix: str, change: Callable[[Host, Question], Host | None], **code: str) -> Mistake:
    def alter(q: Question) -> Question | None:
        return None if q.bias is None else q.but(bias=change(q.bias, q))

    return Mistake(id, says, fix, (*FORWARD, "conv_transpose"), alter, code=code)


def _bias_inside(q: Question, y: Host) -> Host | None:
    """Add the bias only where a whole window is inside the input."""
    if q.bias is None:
        return None
    g = q.g
    inside = np.ones(g.out, bool)
    for axis, (o, s, (before, _), e, n) in enumerate(zip(g.out, g.stride, g.pads, g.extent, g.size)):
        start = np.arange(o) * s - before
        inside &= ((start >= 0) & (start + e <= n)).reshape(-1, *[1] * (g.ndim - 1 - axis))
    return np.where(inside, _biased(y, q.bias), y) if inside.shape == y.shape[2:] else None


def _bias_along_last(q: Question, y: Host) -> Host | None:
    return None if q.bias is None or y.shape[-1] != q.bias.size else y + q.bias


def _without_bias(q: Question) -> Question | None:
    return None if q.bias is None else q.but(bias=None)


LAST = "Let the loop end one later."
BIASES = (
    _bias("bias-dropped", "the bias is dropped", "Add the bias.", lambda b, q: None, torch="F.conv2d(x, w, bias)"),
    _bias("bias-twice", "the bias is added twice", "Add the bias once.", lambda b, q: 2 * b),
    _bias("bias-subtracted", "the bias is subtracted", "Add the bias.", lambda b, q: -b),
    _bias("bias-of-first-channel", "the first channel's bias is used for all", "Add each channel's own bias.",
          lambda b, q: np.repeat(b[:1], b.size)),
    _bias("bias-reversed", "the biases of the channels are in reverse order", "Reverse the bias.",
          lambda b, q: b[::-1]),
    _bias("bias-of-first-group", "every group is given the bias of the first", "Give each group its own biases.",
          lambda b, q: np.tile(b[: b.size // q.g.groups], q.g.groups)),
    _bias("bias-for-each-channel-in", "the bias is added once for each input channel of a group",
          "Add the bias once, after the sum over the channels.", lambda b, q: b * (q.w.shape[1])),
    Mistake("bias-along-last-axis", "the bias is added along the last axis, not the channels",
            "Reshape the bias to (1, C, 1, 1) before adding it.", (*FORWARD, "conv_transpose"),
            _without_bias, _bias_along_last, {"numpy": "y + bias.reshape(-1, 1, 1)"}),
    Mistake("bias-inside-only", "the bias is added only where the whole window is inside the input",
            "Add the bias to every output.", FORWARD, _without_bias, _bias_inside),
)  # fmt: skip

CHANNELS = (
    *BIASES,
    _of_output("depthwise-multiplier-order",
               "depthwise, the channel multiplier is the slower axis of the output channels",
               "Order the output channels by input channel first: c * multiplier + m.",
               _depthwise(lambda y, q: dealt(y, _per_group(y, q)) if _per_group(y, q) > 1 else None),
               tensorflow="y = tf.reshape(y, (n, h, w, multiplier, c)); y = tf.einsum('nhwmc->nhwcm', y)"),
    _of_output("output-channels-interleaved", "the output channels of the groups are interleaved",
               "Put the output channels of each group side by side.",
               _grouped(lambda y, q: dealt(y, _per_group(y, q)))),
    _of_output("output-channels-dealt", "the output channels are dealt to the groups in turn",
               "Put the output channels of each group side by side.", _grouped(lambda y, q: dealt(y, q.g.groups))),
    _of_input("input-channels-dealt", "the input channels are dealt to the groups in turn",
              "Give each group channels that lie side by side.", _grouped(lambda a, q: dealt(a, q.g.groups))),
    _of_input("input-channels-interleaved", "the input channels of the groups are interleaved",
              "Give each group channels that lie side by side.",
              _grouped(lambda a, q: dealt(a, a.shape[1] // q.g.groups))),
    _of_input("groups-see-first", "every group sees the channels of the first",
              "Give group i the channels i * c_in // groups and on.", _grouped(_first_group_seen)),
    _of_output("groups-after-first-zero", "the groups after the first are zero", "Loop over all groups.",
               _grouped(lambda y, q: _zero(1, slice(_per_group(y, q), None))(y, q))),
    _of_input("input-channels-reversed", "the channels of the input are in reverse order, as RGB for BGR",
              "Reverse the channels of the input.", lambda a, q: a[:, ::-1], numpy="x = x[:, ::-1]"),
    _of_output("output-channels-reversed", "the channels of the output are in reverse order",
               "Reverse the channels of the output.", lambda y, q: y[:, ::-1], numpy="y = y[:, ::-1]"),
    _of_input("nhwc-read-as-nchw", "the input is transposed to NHWC, and its memory then read as NCHW",
              "Transpose the input back; a reshape does not move the axes.",
              lambda a, q: np.ascontiguousarray(np.moveaxis(a, 1, -1)).reshape(a.shape),
              numpy="x = x.transpose(0, 3, 1, 2)", torch="x = x.permute(0, 3, 1, 2)"),
    _of_input("nchw-read-as-nhwc", "the memory of the NCHW input is read as NHWC",
              "Transpose the input to NHWC; a reshape does not move the axes.",
              lambda a, q: np.moveaxis(a.reshape(a.shape[0], *a.shape[2:], a.shape[1]), -1, 1),
              numpy="x = x.transpose(0, 2, 3, 1)", tensorflow="x = tf.transpose(x, (0, 2, 3, 1))"),
    _of_output("output-nhwc-read-as-nchw", "the output is transposed to NHWC, and its memory then read as NCHW",
               "Transpose the output back; a reshape does not move the axes.",
               lambda y, q: np.ascontiguousarray(np.moveaxis(y, 1, -1)).reshape(y.shape),
               numpy="y = y.transpose(0, 3, 1, 2)"),
    _of_output("output-nchw-read-as-nhwc", "the memory of the NCHW output is read as NHWC",
               "Transpose the output to NHWC; a reshape does not move the axes.",
               lambda y, q: np.moveaxis(y.reshape(y.shape[0], *y.shape[2:], y.shape[1]), -1, 1),
               numpy="y = y.transpose(0, 2, 3, 1)"),
    _of_input("input-axes-reversed", "the spatial axes of the input are in reverse order, such as W, H for H, W",
              "Transpose the spatial axes of the input.", _axes_reversed),
    _of_output("output-axes-reversed", "the spatial axes of the output are in reverse order, such as W, H for H, W",
               "Transpose the spatial axes of the output.", _axes_reversed),
    _of_input("input-flipped", "the input is flipped along every spatial axis", "Leave the input as it is.",
              lambda a, q: np.flip(a, tuple(range(2, a.ndim)))),
    _of_output("output-flipped", "the output is flipped along every spatial axis", "Leave the output as it is.",
               lambda y, q: np.flip(y, tuple(range(2, y.ndim)))),
    _of_output("last-column-zero", "the last column of the output is missing (zero)", LAST, _zero(-1, -1)),
    _of_output("first-column-zero", "the first column of the output is missing (zero)",
               "Let the loop start at 0.", _zero(-1, 0)),
    _of_output("last-row-zero", "the last index of the output's first spatial axis is missing (zero)",
               LAST, _zero(2, -1)),
    _of_output("first-row-zero", "the first index of the output's first spatial axis is missing (zero)",
               "Let the loop start at 0.", _zero(2, 0)),
    _of_output("last-output-channel-zero", "the last output channel is missing (zero)", LAST, _zero(1, -1)),
    _of_output("first-output-channel-zero", "the first output channel is missing (zero)",
               "Let the loop start at 0.", _zero(1, 0)),
    *(
        _of_output(f"output-{name}-beyond-blocks-of-{block}-zero",
                   f"{name} of the output are computed {block} at a time, and those left over are missing (zero)",
                   f"Also compute what remains after the last whole block of {block}.", _beyond_blocks(axis, block))
        for name, axis in (("channels", 1), ("columns", -1))
        for block in (2, 4, 8)
    ),
    _of_output("odd-output-channels-repeat", "every odd output channel is the one before it",
               "Compute each output channel from its own part of the kernel.", _odd_repeat),
    _of_output("last-column-repeats", "the last column of the output repeats the one before",
               "Compute the last column from its own window.", _last_repeats),
    _of_output("last-image-zero", "the last image of the batch is missing (zero)", LAST, _zero(0, -1),
               within_image=False),
    _of_output("first-image-zero", "the first image of the batch is missing (zero)", "Let the loop start at 0.",
               _zero(0, 0), within_image=False),
    _of_output("first-image-for-all", "every image's result is the first one's",
               "Index the input by the image.", lambda y, q: np.repeat(y[:1], len(y), axis=0), within_image=False),
    _of_output("batch-reversed", "the images of the batch are in reverse order", "Reverse the batch.",
               lambda y, q: y[::-1], within_image=False),
    _of_output("images-after-first-zero", "the images after the first are missing (zero)",
               "Loop over the whole batch.", _zero(0, slice(1, None)), within_image=False),
    _of_output("batch-axis-missing", "the batch axis of a batch of one is missing", "Keep the batch axis.",
               lambda y, q: y[0] if len(y) == 1 else None, within_image=False),
)  # fmt: skip
