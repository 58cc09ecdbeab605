"""Laws of a kernel, an input or a cotangent with a single 1.

Unlike most laws, they detect a kernel that is flipped in every operation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from multiconv.core.geometry import Geometry
from multiconv.core.types import Host, Shape
from multiconv.oracle.laws.arrays import Index, channels_of_group, crop, flipped, full_padding, index_of_largest, padded
from multiconv.oracle.laws.bounded import Comparisons, exactly
from multiconv.oracle.laws.law import ALWAYS, has_images, law
from multiconv.oracle.laws.trial import Trial


@law("C(x, 1 at tap j)[i] = x[i s + j d - p]", "cross_correlate", exact=ALWAYS)
def _delta_kernel(t: Trial) -> Comparisons:
    yield exactly(t.cross_correlate(t.x, _one_tap_kernel(t.w)), _pixels_at_taps(t, lambda tap: tap))


@law("C(x, 1 at tap j; s = 1, j d zeros before, (k - 1 - j) d after) = x", "cross_correlate", exact=ALWAYS)
def _identity_kernel(t: Trial) -> Comparisons:
    g = t.g
    _, *tap = index_of_largest(t.w[0])
    in_group = g.in_channels // g.groups
    kernel = np.zeros((g.in_channels, in_group, *g.kernel), t.w.dtype)
    for channel in range(g.in_channels):
        kernel[(channel, channel % in_group, *tap)] = 1
    pads = tuple((j * d, (k - 1 - j) * d) for j, k, d in zip(tap, g.kernel, g.dilation))
    yield exactly(t.cross_correlate(t.x, kernel, stride=1, padding=pads), t.x)


@law("C(1 at pixel p, w; full, s = 1)[p + j d] = w[k - 1 - j]", "cross_correlate", exact=ALWAYS, where=has_images)
def _impulse_response(t: Trial) -> Comparisons:
    g = t.g
    image, channel, *pixel = index_of_largest(t.x)
    impulse = _one_hot(t.x.shape, (image, channel, *pixel), t.x.dtype)
    y = t.cross_correlate(impulse, t.w, stride=1, padding=full_padding(g.extent))
    response = np.zeros_like(y.value)
    _, outs = channels_of_group(t.g, channel // t.w.shape[1])
    there: Index = tuple(slice(p, p + e, d) for p, e, d in zip(pixel, g.extent, g.dilation))
    response[(image, outs, *there)] = flipped(t.w[outs, channel % t.w.shape[1]][:, None])[:, 0]
    yield exactly(y, response)


@law("K(x, 1 at tap j)[i] = x[i s + (k - 1 - j) d - p]", "convolve", exact=ALWAYS)
def _convolution_with_a_delta(t: Trial) -> Comparisons:
    def mirrored(tap: Index) -> Index:
        return tuple(k - 1 - j for j, k in zip(tap, t.g.kernel))

    yield exactly(t.convolve(t.x, _one_tap_kernel(t.w)), _pixels_at_taps(t, mirrored))


@law("T(1 at output i, w)[i s + j d - p] = w[j]", "conv_transpose", exact=ALWAYS, where=has_images)
def _transposed_impulse(t: Trial) -> Comparisons:
    place = index_of_largest(t.dy)
    yield exactly(t.conv_transpose(_one_hot(t.dy.shape, place, t.dy.dtype), t.w), _kernel_of_output(t, place))


@law(
    "dy = 1 at output i: dx[i s + j d - p] = w[j], dw[j] = x[i s + j d - p], db = 1",
    "cross_correlate_vjp",
    exact=ALWAYS,
    where=has_images,
)
def _gradients_of_one_output(t: Trial) -> Comparisons:
    image, channel, *output = place = index_of_largest(t.dy)
    dx, dw, db = t.gradients(_one_hot(t.dy.shape, place, t.dy.dtype))
    ins, _ = channels_of_group(t.g, channel // (t.g.out_channels // t.g.groups))
    kernel_gradient = np.zeros_like(t.w)
    kernel_gradient[channel] = padded(t.x, t.g.pads)[(image, ins, *_seen_by_output(output, t.g))]
    yield exactly(dx, _kernel_of_output(t, place))
    yield exactly(dw, kernel_gradient)
    if t.bias is not None:
        yield exactly(db, _one_hot(t.bias.shape, (channel,), t.bias.dtype))


def _kernel_of_output(t: Trial, place: tuple[int, ...]) -> Host:
    """Return the kernel of one output, placed where that output sees the input."""
    g = t.g
    image, channel, *output = place
    x = np.zeros((g.batch, g.in_channels, *g.padded), t.w.dtype)
    ins, _ = channels_of_group(t.g, channel // (g.out_channels // g.groups))
    x[(image, ins, *_seen_by_output(output, g))] = t.w[channel]
    return x[crop(g.size, [before for before, _ in g.pads])]


def _one_hot(shape: Shape, where: Index, dtype: npt.DTypeLike) -> Host:
    array = np.zeros(shape, dtype)
    array[where] = 1
    return array


def _one_tap_kernel(w: Host) -> Host:
    """Return a kernel with a single 1 for each output channel, where the kernel is largest."""
    return np.stack([_one_hot(kernel.shape, index_of_largest(kernel), w.dtype) for kernel in w])


def _pixels_at_taps(t: Trial, tap_of: Callable[[Index], Index]) -> Host:
    """Return, for each output channel, the pixels that a tap sees in the input channel where the kernel is largest."""
    x, g = padded(t.x, t.g.pads), t.g
    channels = []
    for out_channel, kernel in enumerate(t.w):
        channel, *tap = index_of_largest(kernel)
        group = out_channel // (g.out_channels // g.groups)
        channels.append(x[(slice(None), group * len(kernel) + channel, *_seen_by_tap(tap_of(tuple(tap)), g))])
    return np.stack(channels, axis=1)


def _seen_by_tap(tap: Index, g: Geometry) -> Index:
    """Return the index of the padded input's pixels that a tap sees, one per output."""
    return tuple(slice(j * d, j * d + (o - 1) * s + 1, s) for j, d, o, s in zip(tap, g.dilation, g.out, g.stride))


def _seen_by_output(output: Sequence[int], g: Geometry) -> Index:
    """Return the index of the padded input's pixels that an output sees."""
    return tuple(slice(i * s, i * s + e, d) for i, s, e, d in zip(output, g.stride, g.extent, g.dilation))
