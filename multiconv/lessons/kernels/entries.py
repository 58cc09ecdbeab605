"""Read a kernel from text or from an array, as rows of fractions."""

from __future__ import annotations

import json
import re
import reprlib
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from multiconv.core.errors import UsageError

Number = int | Fraction | float
Rows = list[list[Fraction]]
Floats = npt.NDArray[np.float64]

LARGEST_SUM = 10**300
"""Largest allowed sum of a kernel's magnitudes, so that no moment overflows."""
_NUMBER = re.compile(r"[+-]?(\d{1,400}/\d{1,400}|(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,3})?)")


def parse(text: str) -> npt.NDArray[np.object_]:
    """Parse a kernel from nested JSON lists of numbers or fractions, with or without quotation marks.

    Decimals are exact: ``0.1`` is one tenth, not the nearest float.

    Returns
    -------
    array of Fraction
        ``.astype(float)`` converts it to floats.

    Raises
    ------
    UsageError
        If the text is not a list of numbers, or its rows have different lengths.

    Examples
    --------
    >>> parse("[[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]").astype(int)
    array([[-1,  0,  1],
           [-2,  0,  2],
           [-1,  0,  1]])
    >>> sum(parse('[1/9, "1/9", 0.1]'))
    Fraction(29, 90)
    >>> parse("[[1, 2], [3]]")
    Traceback (most recent call last):
    multiconv.UsageError: the rows of a kernel must have the same length: [[1, 2], [3]]
    """
    quoted = re.sub(r"[^\[\],\s][^\[\],]*", lambda m: json.dumps(m[0].strip()), text.replace('"', ""))
    try:
        lists = json.loads(quoted)
    except (json.JSONDecodeError, RecursionError):
        lists = None
    if not isinstance(lists, list):
        raise UsageError(
            f"a kernel must be a list such as [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], not {reprlib.repr(text)}"
        )
    try:
        words = np.array(lists, dtype=object)
    except ValueError:
        raise UsageError(f"the rows of a kernel must have the same length: {text.strip()}") from None
    if words.size == 0 or any(isinstance(word, list) for word in words.flat):
        raise UsageError(f"the rows of a kernel must have the same length and not be empty: {text.strip()}")
    numbers = np.array([_fraction(word) for word in words.flat], dtype=object)
    return numbers.reshape(words.shape)


def entries(kernel: Any) -> tuple[Rows, float]:
    """Return the rows unchanged, and the unit roundoff of their format; 0 for rational numbers."""
    array = as_array(kernel)
    if array.ndim not in (1, 2):
        raise UsageError(
            f"a kernel must have one or two axes, but its shape is {array.shape}; "
            "use multiconv.lessons.kernels.describe_all for a stack of kernels"
        )
    if array.size == 0:
        raise UsageError(f"a kernel must have at least one element, but its shape is {array.shape}")
    rows = [[_fraction(value) for value in row] for row in np.atleast_2d(array).tolist()]
    if sum(abs(k) for row in rows for k in row) > LARGEST_SUM:
        raise UsageError(
            f"the magnitudes of a kernel's entries must not sum to more than 1e300: {reprlib.repr(array.tolist())}"
        )
    if all(k.denominator == 1 for row in rows for k in row):
        return rows, 0.0
    if array.dtype.kind == "f":
        return rows, float(np.finfo(array.dtype).eps) / 2
    rounded = array.dtype.kind == "O" and any(isinstance(value, (float, np.floating)) for value in array.flat)
    return rows, sys.float_info.epsilon / 2 if rounded else 0.0


def as_array(kernel: Any) -> npt.NDArray[Any]:
    """Convert to an array of real numbers, or of objects that may be fractions."""
    if isinstance(kernel, (str, bytes)):
        raise UsageError(
            f"a kernel must be an array of numbers, not the text {reprlib.repr(kernel)}; "
            "multiconv.lessons.kernels.parse reads text"
        )
    try:
        array = np.asarray(kernel)
    except ValueError:
        raise UsageError(f"the rows of a kernel must have the same length: {reprlib.repr(kernel)}") from None
    if array.dtype.kind not in "biufO":
        raise UsageError(f"a kernel must consist of real numbers, not of {array.dtype}: {reprlib.repr(array.tolist())}")
    return array


def _fraction(value: Any) -> Fraction:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise UsageError(f"{reprlib.repr(value)} is not a number; write 2, -0.5, 1e-3 or 1/9")
    try:
        return Fraction(value)
    except ZeroDivisionError:
        raise UsageError(f"{reprlib.repr(value)} divides by zero") from None
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"an entry of a kernel must be a finite real number, not {reprlib.repr(value)}") from None


def simplified(value: Fraction) -> Number:
    """Convert a whole fraction to an int."""
    return int(value) if value.denominator == 1 else value
