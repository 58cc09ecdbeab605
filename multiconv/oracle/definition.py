"""The reference results: convolution and its gradients by their definition, with index arithmetic.

This module is independent of every framework and of ``backends/numpy.py``. Each result is a gather, with indices taken
from the definition, followed by a sum of products in a wider format:

- Float16, bfloat16 and float32 are summed in float64.
- Float64 is summed in ``numpy.longdouble``, which is no wider than float64 on some platforms.
- Integers are always exact. They are summed in int64 if int64 provably holds every sum, and otherwise as Python
  integers (an array of dtype object).

The bounds of `multiconv.core.bounds` include the rounding error of these sums. `multiconv.oracle.exact` is exact for
every format, but slower.

All arrays are channels first; the layout of a `Geometry` is ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from multiconv.core.geometry import Geometry

Wide = npt.NDArray[Any]
Index = npt.NDArray[np.intp]

LARGEST_INT64 = 2**63 - 1


def widen(array: npt.NDArray[Any]) -> Wide:
    """Convert an array to a wider format.

    Float16, bfloat16 and float32 become float64, float64 becomes longdouble, and integers become int64. Integers too
    large for int64 become Python integers, in an array of dtype object.

    Examples
    --------
    >>> widen(np.float32([0.5])).dtype
    dtype('float64')
    >>> widen(np.uint64([2**63]))
    array([9223372036854775808], dtype=object)
    """
    if array.dtype.kind in "iu":
        return array.astype(np.int64 if _largest(array) <= LARGEST_INT64 else object)
    return array.astype(np.longdouble if array.dtype.itemsize >= 8 else np.float64)


def cross_correlate(x: Wide, w: Wide, bias: Wide | None, g: Geometry) -> Wide:
    """Compute the cross-correlation.

    ``y[n, o, i] = bias[o] + sum over c, j of x[n, c, i * stride + j * dilation - before] * w[o, c, j]``.

    Parameters
    ----------
    x : array, shape (N, C_in, \\*spatial)
    w : array, shape (C_out, C_in / groups, \\*kernel)
    bias : array, shape (C_out,), or None
    g : Geometry

    Returns
    -------
    array, shape (N, C_out, \\*out)
        Has the dtype of `x`. Integers of any dtype become int64, or Python integers if a sum might exceed int64.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> x, w = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[1.0, 10.0]]])
    >>> cross_correlate(x, w, None, ConvSpec().resolve(x.shape, w.shape))
    array([[[21., 32.]]])
    """
    return _weigh(_windows(x, g, _seen), w, bias, g)


def convolve(x: Wide, w: Wide, bias: Wide | None, g: Geometry) -> Wide:
    """Compute the convolution.

    ``y[n, o, i] = bias[o] + sum over c, j of x[n, c, i * stride + (k - 1 - j) * dilation - before] * w[o, c, j]``.

    The kernel array is not flipped. Instead its indices run backwards, as in the definition of convolution.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> x, w = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[1.0, 10.0]]])
    >>> convolve(x, w, None, ConvSpec().resolve(x.shape, w.shape))
    array([[[12., 23.]]])
    """
    return _weigh(_windows(x, g, _seen_backwards), w, bias, g)


def input_gradient(dy: Wide, w: Wide, g: Geometry) -> Wide:
    """Compute the input gradient.

    ``dx[n, c, p] = sum over o, j of dy[n, o, i] * w[o, c, j]``, where ``i * stride + j * dilation - before = p``.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> dy, w = np.array([[[1.0, 2.0]]]), np.array([[[1.0, 10.0]]])
    >>> input_gradient(dy, w, ConvSpec().resolve((1, 1, 3), w.shape))
    array([[[ 1., 12., 20.]]])
    """
    windows = _windows(dy, g, _seeing)
    channels = g.in_channels // g.groups
    # from (C_out, C_in / groups, *kernel) to (groups, C_in / groups, C_out / groups * kernel)
    kernel = w.reshape(g.groups, -1, channels, prod(g.kernel)).swapaxes(1, 2).reshape(g.groups, channels, -1)
    kernel, windows = _holding(kernel.shape[-1], kernel, windows)
    return np.asarray(np.matmul(kernel, windows)).reshape(g.batch, g.in_channels, *g.size)


def conv_transpose(y: Wide, w: Wide, bias: Wide | None, g: Geometry) -> Wide:
    """Compute the transposed convolution: the adjoint of `cross_correlate`, plus a bias.

    The bias has one value for each of the C_in output channels.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> y, w = np.array([[[1.0, 2.0]]]), np.array([[[1.0, 10.0, 100.0]]])
    >>> conv_transpose(y, w, None, ConvSpec(stride=2).resolve_transpose(y.shape, w.shape))
    array([[[  1.,  10., 102.,  20., 200.]]])
    """
    return _plus(input_gradient(y, w, g), bias)


def kernel_gradient(x: Wide, dy: Wide, g: Geometry) -> Wide:
    """Compute the kernel gradient.

    ``dw[o, c, j] = sum over n, i of dy[n, o, i] * x[n, c, i * stride + j * dilation - before]``.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> x, dy = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[1.0, 10.0]]])
    >>> kernel_gradient(x, dy, ConvSpec().resolve(x.shape, (1, 1, 2)))
    array([[[21., 32.]]])
    """
    windows = _windows(x, g, _seen)
    outputs = dy.reshape(g.batch, g.groups, g.out_channels // g.groups, prod(g.out))
    outputs, windows = _holding(g.batch * prod(g.out), outputs, windows)
    return np.asarray(np.matmul(outputs, windows.swapaxes(2, 3)).sum(axis=0)).reshape(g.w_shape)


def bias_gradient(dy: Wide) -> Wide:
    """Compute the bias gradient.

    ``dbias[o] = sum over n, i of dy[n, o, i]``.

    Examples
    --------
    >>> bias_gradient(np.array([[[1.0, 10.0]]]))
    array([11.])
    """
    (outputs,) = _holding(dy.size // dy.shape[1], dy)
    return np.asarray(outputs.sum(axis=(0, *range(2, dy.ndim))))


def _seen(g: Geometry, axis: int) -> Index:
    """Return, as [j, i], the pixel that tap j of output i sees; out of range where it sees padding."""
    j, i = np.arange(g.kernel[axis])[:, None], np.arange(g.out[axis])
    return i * g.stride[axis] + j * g.dilation[axis] - g.pads[axis][0]


def _seen_backwards(g: Geometry, axis: int) -> Index:
    """Return, as [j, i], the pixel that tap j of output i sees if the kernel runs backwards."""
    j, i = np.arange(g.kernel[axis])[:, None], np.arange(g.out[axis])
    return i * g.stride[axis] + (g.kernel[axis] - 1 - j) * g.dilation[axis] - g.pads[axis][0]


def _seeing(g: Geometry, axis: int) -> Index:
    """Return, as [j, p], the output whose tap j sees pixel p; out of range, such as -1, where there is none."""
    j, p = np.arange(g.kernel[axis])[:, None], np.arange(g.size[axis])
    from_first = p + g.pads[axis][0] - j * g.dilation[axis]
    return np.where(from_first % g.stride[axis] == 0, from_first // g.stride[axis], -1)


def _windows(array: Wide, g: Geometry, index_of: Callable[[Geometry, int], Index]) -> Wide:
    """Gather (N, C, \\*spatial) by one index [j, i] per axis into (N, groups, C / groups * kernel, positions)."""
    positions = []
    for axis in range(g.ndim):
        index = index_of(g, axis)
        where = 2 + 2 * axis  # each axis before this one has become two
        inside = (index >= 0) & (index < array.shape[where])
        array = np.take(array, np.where(inside, index, 0), axis=where)
        array[(slice(None),) * where + (~inside,)] = 0
        positions.append(index.shape[1])
    taps_first = (0, 1, *range(2, 2 + 2 * g.ndim, 2), *range(3, 3 + 2 * g.ndim, 2))
    batch, channels = array.shape[:2]
    return array.transpose(taps_first).reshape(batch, g.groups, channels // g.groups * prod(g.kernel), prod(positions))


def _weigh(windows: Wide, w: Wide, bias: Wide | None, g: Geometry) -> Wide:
    kernel = w.reshape(g.groups, g.out_channels // g.groups, -1)
    kernel, windows = _holding(kernel.shape[-1], kernel, windows)
    return _plus(np.matmul(kernel, windows).reshape(g.batch, g.out_channels, *g.out), bias)


def _plus(sums: Wide, bias: Wide | None) -> Wide:
    """Add a bias to each channel."""
    if bias is None:
        return sums
    if sums.dtype.kind == "i" and _largest(sums) + _largest(bias) > LARGEST_INT64:
        sums = sums.astype(object)
    return np.asarray(sums + bias.astype(sums.dtype).reshape(-1, *[1] * (sums.ndim - 2)))


def _holding(terms: int, *factors: Wide) -> tuple[Wide, ...]:
    """Convert integer factors to a dtype that holds any sum of `terms` of their products.

    The dtype is int64 if it suffices, and otherwise object (Python integers). Other factors are returned unchanged.
    """
    if any(factor.dtype.kind not in "iu" for factor in factors):
        return factors
    largest = max(terms, 1) * prod(max(_largest(factor), 1) for factor in factors)
    return tuple(factor.astype(np.int64 if largest <= LARGEST_INT64 else object) for factor in factors)


def _largest(integers: Wide) -> int:
    """Return the largest magnitude as a Python int, since the array's own dtype may not hold it."""
    return max(int(integers.max(initial=0)), -int(integers.min(initial=0)))


def contraction(direction: str, g: Geometry, *, bias: bool = False) -> int:
    """Return the largest number of terms in the sum behind one element of a result.

    Parameters
    ----------
    direction : str
        ``"forward"``, ``"convolve"``, ``"layer"``, ``"conv_transpose"``, ``"input gradient"``, ``"kernel gradient"``
        or ``"bias gradient"``.
    g : Geometry
    bias : bool
        Whether a bias is added, which is one more term.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> contraction("forward", ConvSpec().resolve((1, 3, 8, 8), (4, 3, 3, 3)), bias=True)
    28
    """
    if direction in ("kernel gradient", "bias gradient"):
        return g.batch * prod(g.out)
    channels = g.out_channels if direction in ("input gradient", "conv_transpose") else g.in_channels
    return channels // g.groups * prod(g.kernel) + bias


def product_counts(direction: str, g: Geometry) -> Index:
    """Count the products in the sum behind each element of a result, without those on the padding.

    Parameters
    ----------
    direction : str
        As in `contraction`.
    g : Geometry

    Returns
    -------
    array of int64
        Channels first. It has size 1 along the axes on which the count does not depend.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> product_counts("forward", ConvSpec(padding=1).resolve((1, 2, 4), (5, 2, 3)))
    array([[[4, 6, 6, 4]]])
    """
    if direction == "bias gradient":
        return np.array([g.batch * prod(g.out)])
    of_axis = []
    for n, k, s, d, o, (before, _) in zip(g.size, g.kernel, g.stride, g.dilation, g.out, g.pads):
        pixels = np.arange(o)[:, None] * s + np.arange(k) * d - before
        seen = (pixels >= 0) & (pixels < n)
        if direction == "kernel gradient":
            of_axis.append(seen.sum(axis=0))
        elif direction in ("input gradient", "conv_transpose"):
            of_axis.append(np.bincount(pixels[seen], minlength=n))
        else:
            of_axis.append(seen.sum(axis=1))
    channels = {"kernel gradient": g.batch}.get(direction)
    if channels is None:
        of_output = direction in ("input gradient", "conv_transpose")
        channels = (g.out_channels if of_output else g.in_channels) // g.groups
    counts = np.array(channels)
    for along in of_axis:
        counts = counts[..., None] * along
    return counts[None, None]
