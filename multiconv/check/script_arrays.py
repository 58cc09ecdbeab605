"""Arrays as Python code that reproduces the same bits, for the scripts."""

from __future__ import annotations

import textwrap
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from multiconv.check.script_text import WIDTH, join
from multiconv.core.bounds import finfo
from multiconv.core.types import Host
from multiconv.oracle.values import (
    VALUES,
    half_of_digits,
    large,
    largest_integer,
    seeded,
    smallest_normal,
)

NARROW = ("float16", "bfloat16")
SEEDED_AS = ("x", "w", "dy", "bias", "x_bias")
FEW_VALUES = 300


@dataclass(frozen=True)
class Source:
    """The code that creates an array in a script, with a checksum if the array is drawn again."""

    name: str
    source: str
    crc: int | None = None


def array_source(name: str, array: Host, seed: int | None) -> Source:
    """Return the code that creates an array: its values, or for many values how they were drawn.

    Examples
    --------
    >>> print(array_source("w", np.ones((1, 1, 2), "float32"), seed=None).source)
    w = np.array([1, 1], "float32").reshape(1, 1, 2)
    """
    drawn = None if seed is None or array.size <= FEW_VALUES else _drawn(name, array, seed)
    if drawn is not None:
        return Source(name, drawn, zlib.crc32(array.tobytes()))
    return Source(name, _literal(name, array))


def _drawn(name: str, array: Host, seed: int) -> str | None:
    """Return code that draws the array as `multiconv.oracle.values.seeded` does, or None if that did not draw it."""
    dtype, shape, which = array.dtype.name, array.shape, SEEDED_AS.index(name)
    kinds = (v for v in (*VALUES, "largest") if np.array_equal(array, seeded(shape, dtype, v, seed, which)))
    kind = next(kinds, None)
    if kind is None or dtype in NARROW:
        return None
    normal, signs = f"rng.standard_normal({shape})", f"rng.choice([-1.0, 1.0], {shape})"
    subnormal = f"rng.uniform(-1, 1, {shape})" if name == "w" else f"{normal} * {smallest_normal(dtype)!r}"
    largest = largest_integer(dtype)
    integers = f"rng.integers({-largest}, {largest + 1}, {shape})"
    half = 2 ** (half_of_digits(dtype) - 1)
    scale = 2.0 if name in ("w", "dy") else float(finfo(dtype).max)
    smallest = f"{smallest_normal(dtype)!r} * rng.integers(1, 4, {shape})"
    source = {
        "integers": integers,
        "smallest": f"({f'rng.uniform(1, 2, {shape}) * {large(dtype)!r}' if name == 'w' else smallest}) * {signs}",
        "zeros": f"{integers} * rng.choice([1.0, 0.0, -0.0], {shape})",
        "ties": f"(2 * rng.integers({half // 2}, {half}, {shape}) + 1) * {signs}",
        "largest": f"2.0 ** -rng.integers(0, 4, {shape}) * rng.uniform(0.5, 1, {shape}) * {signs} * {scale!r}",
        "normal": f"{normal}",
        "wide": f"np.exp(2 * {normal}) * {signs}",
        "cancelling": f"({large(dtype)!r} + {normal}) * {signs}",
        "subnormal": subnormal,
    }[kind]
    return f'rng = np.random.default_rng([{seed}, {which}])\n{name} = ({source}).astype("{dtype}")'


def _literal(name: str, array: Host) -> str:
    """Return the array as Python text that reproduces the same bits."""
    end = f'], "{array.dtype.name}")' + ("" if array.ndim == 1 and array.size else f".reshape({join(*array.shape)})")
    values = join(*_texts(array))
    line = f"{name} = np.array([{values}{end}"
    if len(line) <= WIDTH:
        return line
    body = textwrap.fill(values, WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    return f"{name} = np.array([\n{body},\n{end}"


def _texts(array: Host) -> list[str]:
    """Return the shortest text of each value, or the text of its float64 if the shortest does not keep the bits."""
    texts = [_number(value, str(value)) for value in array.flat]
    if np.array([float(text.replace("np.", "")) for text in texts]).astype(array.dtype).tobytes() == array.tobytes():
        return texts
    return [_number(value, repr(float(value))) for value in array.flat]


def _number(value: Any, text: str) -> str:
    """Write a whole number as an integer, except for negative zero, which integers lack."""
    if not np.isfinite(value):
        return text.replace("nan", "np.nan").replace("inf", "np.inf")
    return str(int(value)) if float(value).is_integer() and abs(value) <= 2**24 and text != "-0.0" else text
