"""The numbers that problems are made of: kinds of values, each from a seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from multiconv.core.bounds import finfo
from multiconv.core.dtypes import dtype_named
from multiconv.core.types import Host, Shape

VALUES = ("integers", "zeros", "normal", "wide", "cancelling", "ties", "smallest", "subnormal")
"""The kinds of values whose sums neither overflow nor begin with a number that is not finite."""
EXTREME = ("largest", "nonfinite")
ALL_VALUES = (*VALUES, *EXTREME)
LARGEST_INTEGER = {"float16": 2, "bfloat16": 1}
X, W, DY, BIAS, X_BIAS = range(5)
"""The numbers by which `seeded` tells the arrays of a problem apart."""


def seeded(shape: Shape, dtype: str, values: str, seed: int, which: int) -> Host:
    """Return the values of one array of a problem.

    Parameters
    ----------
    shape : tuple of int
    dtype : str
    values : str
        The kind of values.

        - ``"integers"``: small, of either sign;
        - ``"zeros"``: the same, most of them zeros of either sign;
        - ``"normal"``: normally distributed;
        - ``"wide"``: log-normal with either sign, over several orders of magnitude;
        - ``"cancelling"``: large numbers that nearly cancel in sums;
        - ``"ties"``: odd integers with so many digits that their products lie halfway between two numbers;
        - ``"smallest"``: an input and a cotangent of the smallest normal numbers, and a kernel of large ones;
        - ``"subnormal"``: an input and a cotangent around the smallest normal number;
        - ``"largest"``: an input and biases near the largest number, so that sums overflow;
        - ``"nonfinite"``: normal with zeros among them, and NaN and infinities in the input, the kernel, the cotangent
          and biases, or in some of these.
    seed : int
    which : int
        The array: 0 for x, then w, dy, bias and the bias of the transposed convolution.

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
        spread = 1.0 if dtype == "float16" else 2.0  # whose largest number is 65504
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
        # Where subnormal numbers are flushed to zero, what is lost of x is multiplied by w.
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
    """Return the kinds of values to judge an algorithm by: fast ones spread what is not finite, and are not asked it.

    Examples
    --------
    >>> set(values_for("direct")) - set(values_for("fft")) == {"largest", "nonfinite"}
    True
    """
    return ALL_VALUES if algorithm == "direct" else VALUES


def _make_some_nonfinite(drawn: Host, rng: np.random.Generator, seed: int, which: int) -> None:
    drawn[rng.random(drawn.shape) < 0.25] = 0
    # One bit for x, w, dy and the biases. Mostly one alone, as the numbers of the others would hide its own.
    operands = np.random.default_rng(seed).choice([0b0001, 0b0010, 0b0100, 0b1000, 0b1001, 0b1010, 0b0110])
    if drawn.size and operands >> min(which, BIAS) & 1:
        places = rng.choice(drawn.size, size=1 if drawn.size < 4 else 2, replace=False)
        drawn.flat[places] = rng.permutation([np.nan, rng.choice([np.inf, -np.inf])])[: len(places)]


def largest_integer(dtype: str) -> int:
    """Return the largest of the small integers that problems in this dtype are made of.

    Examples
    --------
    >>> largest_integer("float32"), largest_integer("bfloat16")
    (4, 1)
    """
    return LARGEST_INTEGER.get(dtype, 4)


def large(dtype: str) -> float:
    """Return a number so much larger than 1 that two thirds of the digits remain once it has cancelled.

    Examples
    --------
    >>> large("float32")
    256.0
    """
    return float(2 ** (_digits(dtype) // 3))


def half_of_digits(dtype: str) -> int:
    """Return how many binary digits two factors need so that their product has one more than the dtype holds.

    Examples
    --------
    >>> half_of_digits("float32"), half_of_digits("float64")
    (13, 27)
    """
    return (_digits(dtype) + 2) // 2


def smallest_normal(dtype: str) -> float:
    """Return the smallest number that is not subnormal.

    Examples
    --------
    >>> smallest_normal("float16") == 2.0**-14
    True
    """
    return float(finfo(dtype).tiny)


def _digits(dtype: str) -> int:
    return int(finfo(dtype).nmant) + 1
