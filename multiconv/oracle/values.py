"""The values of test problems: several kinds, each drawn from a seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from multiconv.core.bounds import finfo
from multiconv.core.dtypes import dtype_named
from multiconv.core.types import Host, Shape

VALUES = ("integers", "zeros", "normal", "wide", "cancelling", "ties", "smallest", "subnormal")
"""The kinds that have finite values only, and whose sums do not overflow."""
EXTREME = ("largest", "nonfinite")
ALL_VALUES = (*VALUES, *EXTREME)
LARGEST_INTEGER = {"float16": 2, "bfloat16": 1}
X, W, DY, BIAS, X_BIAS = range(5)
"""The numbers that identify the arrays of a problem in `seeded`."""


def seeded(shape: Shape, dtype: str, values: str, seed: int, which: int) -> Host:
    """Return the values of one array of a problem.

    Parameters
    ----------
    shape : tuple of int
    dtype : str
    values : str
        The kind of values.

        - ``"integers"``: small integers of either sign;
        - ``"zeros"``: the same, but most are zeros of either sign;
        - ``"normal"``: normally distributed;
        - ``"wide"``: log-normal with either sign, over several orders of magnitude;
        - ``"cancelling"``: large numbers that nearly cancel in sums;
        - ``"ties"``: odd integers with enough digits that their products lie halfway between two numbers of the dtype;
        - ``"smallest"``: the smallest normal numbers in the input and the cotangent, large numbers in the kernel;
        - ``"subnormal"``: numbers around the smallest normal number in the input and the cotangent;
        - ``"largest"``: numbers near the largest number in the input and the biases, so that sums overflow;
        - ``"nonfinite"``: normally distributed numbers and zeros, with NaN and infinities in one or more of the input,
          the kernel, the cotangent and the biases.
    seed : int
    which : int
        The array: 0 for x, 1 for w, 2 for dy, 3 for the bias, 4 for the bias of the transposed convolution.

    Examples
    --------
    >>> seeded((3,), "float32", "integers", 0, 0)
    array([3., 1., 0.], dtype=float32)
    """
    rng = np.random.default_rng([seed, which])
    signs = (-1.0, 1.0)
    if values in ("integers", "zeros"):
        largest = largest_integer(dtype)
        drawn: Any = rng.integers(-largest, largest + 1, shape)
        if values == "zeros":
            drawn = drawn * rng.choice([1.0, 0.0, -0.0], shape)
    elif values == "wide":
        spread = 1.0 if dtype == "float16" else 2.0  # the largest float16 is 65504
        drawn = np.exp(spread * rng.standard_normal(shape)) * rng.choice(signs, shape)
    elif values == "cancelling":
        drawn = (large(dtype) + rng.standard_normal(shape)) * rng.choice(signs, shape)
    elif values == "ties":
        half = 2 ** (half_of_digits(dtype) - 1)
        drawn = (2 * rng.integers(half // 2, half, shape) + 1) * rng.choice(signs, shape)
    elif values == "smallest":
        if which == W:
            drawn = rng.uniform(1, 2, shape) * large(dtype) * rng.choice(signs, shape)
        else:
            drawn = smallest_normal(dtype) * rng.integers(1, 4, shape) * rng.choice(signs, shape)
    elif values == "subnormal":
        # w is at most 1 in magnitude, since it multiplies the error of an x that is flushed to zero.
        drawn = rng.uniform(-1, 1, shape) if which == W else rng.standard_normal(shape) * smallest_normal(dtype)
    elif values == "largest":
        drawn = 2.0 ** -rng.integers(0, 4, shape) * rng.uniform(0.5, 1, shape) * rng.choice(signs, shape)
        drawn = drawn * (2.0 if which in (W, DY) else float(finfo(dtype).max))
    else:
        drawn = np.asarray(rng.standard_normal(shape))
        if values == "nonfinite":
            _make_some_nonfinite(drawn, rng, seed, which)
    return np.asarray(drawn).astype(dtype_named(dtype))


def values_for(algorithm: str) -> tuple[str, ...]:
    """Return the kinds of values to test an algorithm with.

    Fast algorithms spread infinities and NaN to other elements, so they are tested only with finite kinds.

    Examples
    --------
    >>> set(values_for("direct")) - set(values_for("fft")) == {"largest", "nonfinite"}
    True
    """
    return ALL_VALUES if algorithm == "direct" else VALUES


def _make_some_nonfinite(drawn: Host, rng: np.random.Generator, seed: int, which: int) -> None:
    drawn[rng.random(drawn.shape) < 0.25] = 0
    # One bit each for x, w, dy and the biases; mostly a single one, since the NaN of one array hides another's.
    operands = np.random.default_rng(seed).choice([0b0001, 0b0010, 0b0100, 0b1000, 0b1001, 0b1010, 0b0110])
    if drawn.size and operands >> min(which, BIAS) & 1:
        places = rng.choice(drawn.size, size=1 if drawn.size < 4 else 2, replace=False)
        drawn.flat[places] = rng.permutation([np.nan, rng.choice([np.inf, -np.inf])])[: len(places)]


def largest_integer(dtype: str) -> int:
    """Return the largest of the small integers used in problems of a dtype.

    Examples
    --------
    >>> largest_integer("float32"), largest_integer("bfloat16")
    (4, 1)
    """
    return LARGEST_INTEGER.get(dtype, 4)


def large(dtype: str) -> float:
    """Return a number large enough that only two thirds of the digits remain after it cancels.

    Examples
    --------
    >>> large("float32")
    256.0
    """
    return float(2 ** (_digits(dtype) // 3))


def half_of_digits(dtype: str) -> int:
    """Return the number of binary digits of two factors whose product has one digit more than the dtype holds.

    Examples
    --------
    >>> half_of_digits("float32"), half_of_digits("float64")
    (13, 27)
    """
    return (_digits(dtype) + 2) // 2


def smallest_normal(dtype: str) -> float:
    """Return the smallest normal number of a dtype.

    Examples
    --------
    >>> smallest_normal("float16") == 2.0**-14
    True
    """
    return float(finfo(dtype).tiny)


def _digits(dtype: str) -> int:
    return int(finfo(dtype).nmant) + 1
