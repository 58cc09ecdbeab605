"""Bounds on how far a correct result may be from the oracle. Every tolerance is derived; none is guessed.

Take a sum of n products whose factors are exact in a format with unit roundoff u. The computed sum differs from the
exact one by at most ``gamma_n * sum |x| |w|``, where ``gamma_n = n u / (1 - n u)`` ([1]_, eq. 3.5). This holds in any
order, in blocks or not, with or without fused multiply-add. Each term passes through at most n roundings; an algorithm
that sums in blocks only has fewer ([2]_). If the sum is kept in a wider format and rounded once to the result's format,
``gamma_n`` is that of the wider format, and the last rounding adds one factor ``1 + u`` of the result's format ([3]_).
An operation may also be rounded twice, first to a format of at least twice the precision. Its error is then at most
``u + u^2 < u / (1 - u)``, which ``gamma_n`` covers too, since ``(1 - u)^-n <= 1 / (1 - n u)``.

Below the smallest normal number, errors are absolute. A product can lose half the smallest subnormal number. If
subnormal numbers are flushed to zero, each product and each partial sum can lose the smallest normal number, and a
subnormal operand is lost together with all its products.

A partial sum may overflow even if the whole sum does not. Let P be the sum of the positive products, and N the sum of
the absolute values of the negative ones. In any order, no partial sum exceeds P or falls below -N. So plus infinity is
within rounding only if P overflows, minus infinity only if N does, and NaN only if both do (`overflow`). A finite
result must be within the bound even then, because nothing overflowed on the way to it.

These bounds are worst cases. `multiconv.oracle.precision` says which errors are likely.

A fast algorithm, such as Winograd's or the FFT, does not sum the products of the definition. It only guarantees that
errors are small relative to the largest element of the data: `normwise`.

References
----------
.. [1] N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., SIAM 2002, sections 3.1, 3.6, 24.1.
.. [2] P. Blanchard, N. J. Higham, T. Mary, "A class of fast and accurate summation algorithms", SIAM J. Sci. Comput.
   42 (2020) A1541-A1557.
.. [3] P. Blanchard, N. J. Higham, F. Lopez, T. Mary, S. Pranesh, "Mixed precision block fused multiply-add: error
   analysis and application to GPU tensor cores", SIAM J. Sci. Comput. 42 (2020) C124-C141.
.. [4] B. Barabasz, A. Anderson, K. M. Soodhalter, D. Gregg, "Error analysis and improving the accuracy of Winograd
   convolution for deep neural networks", ACM Trans. Math. Softw. 46 (2020) 37.
"""

from __future__ import annotations

from math import expm1, inf, log1p, log2, prod, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from multiconv.core.dtypes import dtype_named
from multiconv.core.geometry import Geometry
from multiconv.core.types import Mask

Floats = npt.NDArray[Any]


def finfo(dtype: npt.DTypeLike) -> Any:
    """Return the limits of a floating-point format, as `numpy.finfo` does.

    For bfloat16, which NumPy lacks, they come from ml_dtypes.

    Examples
    --------
    >>> finfo("bfloat16").nmant
    7
    """
    named = _dtype(dtype)
    if named.kind == "V":  # which is faster to ask than the name
        import ml_dtypes

        return ml_dtypes.finfo(named)  # type: ignore[no-untyped-call]
    return np.finfo(named)


def unit_roundoff(dtype: npt.DTypeLike) -> float:
    """Return half the distance from 1 to the next larger number.

    Examples
    --------
    >>> unit_roundoff("float32") == 2.0**-24
    True
    """
    return float(finfo(dtype).eps) / 2


def gamma(n: int, u: float) -> float:
    """Compute ``n u / (1 - n u)``.

    Parameters
    ----------
    n : int
        Number of terms.
    u : float
        Unit roundoff.

    Raises
    ------
    ValueError
        If ``n u >= 1``, in which case there is no bound.

    Examples
    --------
    >>> gamma(1, 0.25)
    0.3333333333333333
    """
    if n * u >= 1:
        raise ValueError(f"a sum of {n} terms with unit roundoff {u} has no bound: n * u is {n * u}, not below 1")
    return n * u / (1 - n * u)


def componentwise(
    magnitude: Floats,
    n: int,
    dtype: npt.DTypeLike,
    accumulation: npt.DTypeLike | None = None,
    *,
    flushed: Floats | float = 0.0,
    gradual_underflow: bool = False,
    if_finite: bool = False,
) -> Floats:
    """Compute the largest error that a correct result of sums of n products may have against the oracle.

    Parameters
    ----------
    magnitude : array
        ``sum |x| |w|`` for each element, in the oracle's format.
    n : int
        Number of terms of each sum.
    dtype : str or dtype
        The format of the operands and of the result.
    accumulation : str or dtype, optional
        The format in which the sums are kept before the result is rounded. The default is `dtype` itself, the weakest
        guarantee.
    flushed : array or float
        The part of `magnitude` whose products have a subnormal factor that may be flushed to zero.
    gradual_underflow : bool
        Whether subnormal numbers are kept. By default they may be flushed to zero.
    if_finite : bool
        Whether to bound only the error of finite results, which is possible even where partial sums may overflow.

    Returns
    -------
    array
        The bound: the rounding of the sums, of the result and of the oracle, plus the loss by underflow. It is zero
        where there is nothing to sum, and for integers. It is infinite where nothing is guaranteed: where ``n u >= 1``,
        and where partial sums may overflow.

    Examples
    --------
    >>> round(float(componentwise(np.array(1.0), 1, "float32") * 2**24), 6)
    1.0
    >>> componentwise(np.array([1.0, 0.0]), 2048, "float16")
    array([inf,  0.])
    >>> round(float(componentwise(np.array(1.0), 2048, "float16", "float32", gradual_underflow=True) * 2**11), 2)
    1.25
    """
    if _dtype(dtype).kind in "iu":
        return np.zeros(magnitude.shape)
    relative = _relative(n, dtype, accumulation)
    if relative == inf:
        return np.where(magnitude == 0, 0, inf)
    # Two more roundings: of the expressions below, and of the comparison.
    oracle = gamma(n + 2, unit_roundoff(magnitude.dtype))
    lost = underflow(n, dtype, accumulation, gradual=gradual_underflow) * (1 + relative)
    lost = lost + n * float(finfo(magnitude.dtype).smallest_subnormal)
    with np.errstate(over="ignore", invalid="ignore"):
        allowed = (relative + oracle) * (1 + oracle) * magnitude + flushed * (1 + oracle) + lost
        if not if_finite:
            largest = float(finfo(accumulation or dtype).max)
            allowed = np.where((1 + relative) * (1 + oracle) * magnitude + lost <= largest, allowed, inf)
    return np.where(magnitude == 0, 0, allowed)


def underflow(
    n: int, dtype: npt.DTypeLike, accumulation: npt.DTypeLike | None = None, *, gradual: bool = False
) -> float:
    """Compute the largest loss by underflow in a sum of n products whose factors are normal numbers.

    Parameters
    ----------
    n, dtype, accumulation
        As in `componentwise`.
    gradual : bool
        Whether subnormal numbers are kept. By default they may be flushed to zero.

    Examples
    --------
    >>> underflow(1, "float32") == 3 * 2.0**-126
    True
    """
    summation, result = finfo(accumulation or dtype), finfo(dtype)
    if gradual:
        halves = float(summation.smallest_subnormal) * ((n + 1) // 2)  # float64 can't hold half its smallest number
        return halves + float(result.smallest_subnormal)
    return 2 * n * float(summation.tiny) + float(result.tiny)


def overflow(magnitude: Floats, value: Floats, n: int, dtype: npt.DTypeLike) -> tuple[Mask, Mask]:
    """Return where a partial sum may overflow, upwards and downwards, in some order of the products.

    Parameters
    ----------
    magnitude : array
        ``sum |x| |w|`` for each element, in the oracle's format.
    value : array
        ``sum x w``.
    n : int
        Number of terms of each sum.
    dtype : str or dtype
        The format of the sums.

    Returns
    -------
    up, down : array of bool

    Examples
    --------
    >>> overflow(np.array([6e38, 6e38]), np.array([0.0, 6e38]), 2, "float32")
    (array([False,  True]), array([False, False]))
    >>> overflow(np.array([8e38]), np.array([0.0]), 4, "float32")
    (array([ True]), array([ True]))
    """
    largest = _overflow(_dtype(dtype), magnitude.dtype)
    worst = 1 + _worst_relative(n, unit_roundoff(dtype)) + gamma(n + 2, unit_roundoff(magnitude.dtype))
    up, down = ((magnitude + sign * value) / 2 * worst >= largest for sign in (1, -1))
    return up, down


def normwise(
    direction: str,
    x: Floats,
    w: Floats,
    bias: Floats | None,
    dy: Floats,
    g: Geometry,
    c: float,
    dtype: npt.DTypeLike,
) -> Floats:
    """Compute the largest error of a fast algorithm: ``c u (max |x| * sum |w| + |bias|)`` per channel of the result.

    Parameters
    ----------
    direction : str
        One of `multiconv.oracle.problem.DIRECTIONS`. In the gradients and in ``"conv_transpose"``, `dy` takes the place
        of `x` or `w`.
    x, w : array
        Input and kernel, with channels first.
    bias : array or None
        One number per channel of the result.
    dy : array
        The cotangent, with channels first.
    g : Geometry
    c : float
        The constant that the backend declares for its algorithm, such as `winograd_constant` or `fft_constant`.
    dtype : str or dtype

    Returns
    -------
    array
        One bound per channel, in a shape that broadcasts with the result's. Underflow and overflow are not included.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> x, w = np.array([[[1.0, -4.0, 2.0]]]), np.array([[[1.0, 10.0]], [[0.5, 0.0]]])
    >>> g = ConvSpec().resolve(x.shape, w.shape)
    >>> (normwise("forward", x, w, None, np.zeros((1, 2, 2)), g, 3.0, "float32") * 2**24).ravel()
    array([132.,   6.])
    """
    x, w, dy = (np.abs(array.astype(np.float64)) for array in (x, w, dy))
    if direction == "kernel gradient":
        allowed = x.max(initial=0) * dy.sum(axis=(0, *range(2, dy.ndim)))
    elif direction == "bias gradient":
        allowed = dy.sum(axis=(0, *range(2, dy.ndim)))
    elif direction in ("input gradient", "conv_transpose"):
        taps = w.reshape(g.groups, g.out_channels // g.groups, g.in_channels // g.groups, -1)
        allowed = dy.max(initial=0) * taps.sum(axis=(1, 3)).ravel()
    else:
        allowed = x.max(initial=0) * w.sum(axis=tuple(range(1, w.ndim)))
    if bias is not None:
        allowed = allowed + np.abs(bias.astype(np.float64))
    following = {"bias gradient": 0, "kernel gradient": g.ndim + 1}.get(direction, g.ndim)
    return np.asarray(c * unit_roundoff(dtype) * allowed.reshape(-1, *[1] * following))


def winograd_constant(
    output: Floats, kernel: Floats, data: Floats, ndim: int, channels: int, dtype: npt.DTypeLike
) -> float:
    """Compute the constant c in `normwise` of Winograd's (Toom-Cook) algorithm, ``A^T [(G h) * (B^T d)]`` per tile.

    The error is at most ``gamma_N |A^T| [(|G| |h|) * (|B^T| |d|)]``, where N is the largest number of roundings on any
    path ([4]_, theorem 1). With ``|d| <= max |x|``, that is at most ``gamma_N max |x| sum |h|`` times the largest
    ``sum over k of |A^T|[i, k] |G|[k, l] sum |B^T|[k]``. For an algorithm that is nested over several axes, raise that
    number to the power of the number of axes.

    Parameters
    ----------
    output, kernel, data : array
        The matrices ``A^T``, ``G`` and ``B^T``. Their entries may be rounded.
    ndim : int
        Number of spatial axes.
    channels : int
        Number of channels that are summed.
    dtype : str or dtype

    Examples
    --------
    >>> A_T = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])
    >>> G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    >>> B_T = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
    >>> round(winograd_constant(A_T, G, B_T, ndim=1, channels=1, dtype="float32"), 3)
    48.0
    """
    output, kernel, data = np.abs(output), np.abs(kernel), np.abs(data)
    growth = float((output @ (kernel * data.sum(axis=1, keepdims=True))).max())
    longest = [int((matrix != 0).sum(axis=1).max()) for matrix in (output, kernel, data)]
    roundings = ndim * (sum(longest) + 3) + channels  # one more per matrix, because its entries are rounded
    u = unit_roundoff(dtype)
    return growth**ndim * gamma(roundings, u) / u


def fft_constant(size: tuple[int, ...], channels: int, dtype: npt.DTypeLike) -> float:
    """Compute the constant c in `normwise` of a convolution by the FFT of this size.

    A transform of length ``L = 2^t`` errs by at most ``eps = t eta / (1 - t eta)`` in the 2-norm, where
    ``eta = mu + gamma_4 (sqrt(2) + mu)`` and the weights err by ``mu = u`` ([1]_, theorem 24.2). Add up two transforms,
    a complex product (``sqrt(2) gamma_2``, [1]_, lemma 3.5), the sum over the channels and the inverse transform.
    Together they err by at most ``(1 + eps)^3 (1 + sqrt(2) gamma_2) (1 + gamma_channels) - 1`` times
    ``norm2(x) norm1(w)``, where ``norm2(x) <= sqrt(L) max |x|``.

    Parameters
    ----------
    size : tuple of int
        The length of the transform along each axis, a power of two.
    channels : int
        Number of channels that are summed.
    dtype : str or dtype

    Raises
    ------
    ValueError
        If a length is not a power of two, for which no bound is known here.

    Examples
    --------
    >>> round(fft_constant((8, 8), 1, "float32"))
    989
    """
    length = prod(size)
    if any(n < 1 or n & (n - 1) for n in size):
        raise ValueError(f"the lengths of the transform must be powers of two, but its size is {size}")
    u = unit_roundoff(dtype)
    stages = log2(length)
    eta = u + gamma(4, u) * (sqrt(2) + u)
    transform = stages * eta / (1 - stages * eta)
    # The product minus 1, by logarithms: in float64 its terms are about as small as the rounding error of 1.
    total = expm1(3 * log1p(transform) + log1p(sqrt(2) * gamma(2, u)) + log1p(gamma(channels, u)))
    return sqrt(length) * total / u


def ratios(result: Floats, expected: Floats, bound: Floats) -> Floats:
    """Compute the errors in units of their bounds.

    The ratio is infinity for an error where the bound is zero, and for a NaN where a number is expected. An infinite
    result stands for any number that rounds to infinity. A NaN is correct where a NaN is expected. Where the bound is
    infinite, nothing is guaranteed, so any result is correct.

    Examples
    --------
    >>> ratios(np.array([1.0, 3.0, np.nan]), np.array([1.0, 2.0, 1.0]), np.array([0.0, 4.0, 1.0]))
    array([0.  , 0.25,  inf])
    >>> ratios(np.float16([np.inf]), np.array([70000.0]), np.array([1.0]))
    array([0.])
    """
    if expected.dtype.kind in "iuO":
        return np.where(result == expected, 0.0, np.inf)
    with np.errstate(all="ignore"):
        answer = result.astype(expected.dtype)
        error = np.abs(answer - expected)
        largest = error.max(initial=0)
        if largest == 0:
            return np.asarray(error)
        if np.isfinite(largest):  # the usual case, with fewer passes over the arrays
            return np.asarray(np.divide(error, bound, out=np.zeros_like(error), where=error != 0))
        overflowed = np.isinf(answer) & np.isfinite(expected) & (np.sign(answer) == np.sign(expected))
        short_of_overflow = np.maximum(_overflow(result.dtype, expected.dtype) - np.abs(expected), 0)
        error = np.where(overflowed, short_of_overflow, error)
        error = np.where((answer == expected) | (np.isnan(answer) & np.isnan(expected)), 0, error)
        ratio = np.where(error == 0, 0, error / bound)
        ratio = np.where(np.isnan(ratio) | (np.isinf(answer) & (ratio > 1)), np.inf, ratio)
    return np.asarray(np.where(np.isinf(bound) & np.isfinite(expected), 0, ratio))


def _dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    return dtype_named(dtype) if isinstance(dtype, str) else np.dtype(dtype)


def _worst_relative(n: int, u: float) -> float:
    return gamma(n, u) if n * u < 1 else inf


def _relative(n: int, dtype: npt.DTypeLike, accumulation: npt.DTypeLike | None) -> float:
    """Return the relative error of a sum that is kept in one format and rounded to another."""
    u = unit_roundoff(dtype)
    if accumulation is None or _dtype(accumulation) == _dtype(dtype):
        return _worst_relative(n, u)
    return (1 + _worst_relative(n, unit_roundoff(accumulation))) * (1 + u) - 1


def _overflow(dtype: npt.DTypeLike, wide: np.dtype[Any]) -> Any:
    """Return the smallest number that a format rounds to infinity, in a wider format.

    It is infinity if the wider format can't hold it either.
    """
    info = finfo(dtype)
    return np.ldexp(wide.type(1) - wide.type(info.eps) / 4, int(info.maxexp))
