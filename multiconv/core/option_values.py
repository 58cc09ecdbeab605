"""The options of a convolution as a caller gives them, checked one by one."""

from __future__ import annotations

import operator
from typing import Any

from multiconv.core.errors import ConvError
from multiconv.core.geometry import LARGEST
from multiconv.core.types import Ints, Padding

SAME = ("same", "same_upper", "same_lower")
PADDING_WORDS = ("valid", *SAME, "full")


def checked_int(name: str, value: Any, least: int) -> int:
    """Return an option as an int of at least `least`. NumPy's integers are valid; bools and floats are not.

    Examples
    --------
    >>> checked_int("groups", 0, least=1)
    Traceback (most recent call last):
    multiconv.ConvError: groups must be at least 1, not 0
    """
    truth = isinstance(value, bool) or "bool" in str(getattr(value, "dtype", ""))
    try:
        number = None if truth or getattr(value, "shape", ()) != () else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise ConvError(f"{name} must be an int, not {_shown(value)}")
    if number < least:
        raise ConvError(f"{name} must be at least {least}, not {_digits(number)}")
    if number > LARGEST:
        raise ConvError(f"{name} must be at most 2^31 - 1, not {_digits(number)}")
    return number


def checked_ints(name: str, value: Any, least: int) -> Ints:
    """Return an option as one int, or as a tuple with one int per axis.

    Examples
    --------
    >>> checked_ints("stride", [1, 2], least=1)
    (1, 2)
    """
    if isinstance(value, (tuple, list)):
        return tuple(checked_int(f"{name}[{axis}]", v, least) for axis, v in enumerate(value))
    return checked_int(name, value, least)


def checked_padding(value: Any) -> Padding:
    """Return the padding: a word, one int, or a tuple with an int or a (before, after) pair per axis.

    Examples
    --------
    >>> checked_padding([1, (0, 2)])
    (1, (0, 2))
    """
    if isinstance(value, str):
        if value not in PADDING_WORDS:
            raise ConvError(
                f"padding must be a number, one number or (before, after) pair per axis, or one of "
                f"{', '.join(PADDING_WORDS)}, not {value!r}"
            )
        return value
    if isinstance(value, (tuple, list)):
        return tuple(
            _pair(axis, v) if isinstance(v, (tuple, list)) else checked_int(f"padding[{axis}]", v, 0)
            for axis, v in enumerate(value)
        )
    return checked_int("padding", value, 0)


def _pair(axis: int, value: Any) -> tuple[int, int]:
    if len(value) != 2:
        raise ConvError(f"padding[{axis}] must be a number or a (before, after) pair, not {_shown(value)}")
    before, after = (checked_int(f"padding[{axis}][{side}]", v, 0) for side, v in enumerate(value))
    return before, after


def _digits(number: int) -> str:
    """Return a number, or its length in bits: Python refuses to print one of thousands of digits."""
    return str(number) if number.bit_length() <= 256 else f"a number of {number.bit_length()} bits"


def _shown(value: Any) -> str:
    """Return a value and its type, short enough for an error message."""
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '...'} ({type(value).__name__})"
