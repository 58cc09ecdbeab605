"""Mistakes in precision: operands, sums or results kept in a short format. Numbers of many digits show them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from multiconv.core.dtypes import dtype_named
from multiconv.core.types import Host
from multiconv.oracle.mistakes.question import ALL, FORWARD, Mistake, Question

Narrow = Callable[[Host], Host]
LARGEST_LOOP = 256
"""Number of terms up to which a sum in a short format is followed term by term."""
LARGEST_OUTPUT = 4096
"""Number of elements up to which it is."""


def through(dtype: str) -> Narrow:
    """Return a function that rounds to a format and back.

    Examples
    --------
    >>> through("bfloat16")(np.array([257.0]))
    array([256.])
    """

    def narrow(array: Host) -> Host:
        with np.errstate(over="ignore", invalid="ignore"):
            return array.astype(np.float64).astype(dtype_named(dtype)).astype(array.dtype)

    return narrow


def tf32(array: Host) -> Host:
    """Round to the 11 significant bits of TF32, to nearest, ties to even.

    Examples
    --------
    >>> tf32(np.array([2049.0, 2051.0]))
    array([2048., 2052.])
    """
    with np.errstate(over="ignore", invalid="ignore"):
        fraction, exponent = np.frexp(array)
        return np.asarray(np.ldexp(np.rint(np.ldexp(fraction, 11)), exponent - 11))


def cut(bits: int) -> Narrow:
    """Return a function that cuts numbers off after so many significant bits.

    Examples
    --------
    >>> cut(8)(np.array([511.0]))
    array([510.])
    """

    def narrow(array: Host) -> Host:
        fraction, exponent = np.frexp(array)
        return np.asarray(np.ldexp(np.trunc(np.ldexp(fraction, bits)), exponent - bits))

    return narrow


def _rounded(narrow: Narrow, names: tuple[str, ...]) -> Callable[[Question], Question | None]:
    def alter(q: Question) -> Question | None:
        changed: dict[str, Any] = {}
        for name in names:
            array = getattr(q, q.data if name == "x" else name)
            if array is not None:
                changed[q.data if name == "x" else name] = narrow(array)
        if q.direction == "kernel gradient" and names != ("x",):
            changed["dy"] = narrow(q.dy)
        return q.but(**changed)

    return alter


def _summed(narrow: Narrow, *, taps_first: bool) -> Callable[[Question, Host], Host | None]:
    """Add term by term, and round each partial sum."""

    def finish(q: Question, y: Host) -> Host | None:
        if q.w[0].size > LARGEST_LOOP or y.size > LARGEST_OUTPUT:
            return None
        channels, taps = range(q.w.shape[1]), list(np.ndindex(*q.w.shape[2:]))
        terms = ((c, tap) for tap, c in product(taps, channels)) if taps_first else product(channels, taps)
        total = np.zeros_like(y)
        for channel, tap in terms:
            w = np.zeros_like(q.w)
            where = (slice(None), channel, *tap)
            w[where] = q.w[where]
            total = narrow(total + narrow(q.but(w=w, bias=None).right()))
        return total if q.bias is None else narrow(total + narrow(q.bias).reshape(-1, *[1] * (y.ndim - 2)))

    return finish


FORMATS: dict[str, Narrow] = {
    "TF32": tf32,
    "bfloat16": through("bfloat16"),
    "float16": through("float16"),
    "float32": through("float32"),
}
"""The short formats, and how to round to them."""
FULL = {
    "TF32": {
        "torch": "torch.backends.cudnn.allow_tf32 = False",
        "jax": "precision=lax.Precision.HIGHEST",
        "tensorflow": "tf.config.experimental.enable_tensor_float_32_execution(False)",
    },
    "bfloat16": {"torch": "torch.set_float32_matmul_precision('highest'); no torch.autocast"},
    "float16": {"torch": "no torch.autocast(..., dtype=torch.float16)"},
    "float32": {"jax": "jax.config.update('jax_enable_x64', True)"},
}


def _mistakes(name: str) -> tuple[Mistake, ...]:
    narrow, id, code = FORMATS[name], name.lower(), FULL[name]
    fix = f"Compute in the dtype of the arrays, without a conversion to {name}."
    of = {"values": "digits", "code": code}
    short: tuple[Mistake, ...] = ()
    if name != "TF32":
        short = (
            Mistake(f"sums-in-{id}", f"sums are kept in {name}, rounded after each term, channel by channel",
                    "Keep the sums in the dtype of the arrays, or wider.", FORWARD,
                    finish=_summed(narrow, taps_first=False), **of),  # type: ignore[arg-type]
            Mistake(f"sums-in-{id}-tap-by-tap", f"sums are kept in {name}, rounded after each term, tap by tap",
                    "Keep the sums in the dtype of the arrays, or wider.", FORWARD,
                    finish=_summed(narrow, taps_first=True), **of),  # type: ignore[arg-type]
        )  # fmt: skip
    return (
        Mistake(f"operands-in-{id}", f"input and kernel are rounded to {name}", fix, ALL,
                _rounded(narrow, ("x", "w")), **of),  # type: ignore[arg-type]
        Mistake(f"operands-and-bias-in-{id}", f"input, kernel and bias are rounded to {name}", fix, ALL,
                _rounded(narrow, ("x", "w", "bias")), **of),  # type: ignore[arg-type]
        Mistake(f"input-in-{id}", f"the input is rounded to {name}, the kernel is not", fix, ALL,
                _rounded(narrow, ("x",)), **of),  # type: ignore[arg-type]
        Mistake(f"kernel-in-{id}", f"the kernel is rounded to {name}, the input is not", fix, ALL,
                _rounded(narrow, ("w",)), **of),  # type: ignore[arg-type]
        Mistake(f"result-in-{id}", f"the result is rounded to {name}", fix, ALL,
                finish=lambda q, y: narrow(y), **of),  # type: ignore[arg-type]
        *short,
    )  # fmt: skip


ROUNDINGS = (
    *(mistake for name in FORMATS for mistake in _mistakes(name)),
    Mistake("operands-cut-to-bfloat16", "input and kernel are cut to bfloat16, not rounded",
            "Compute in the dtype of the arrays.", ALL, _rounded(cut(8), ("x", "w")), values="digits"),
    Mistake("operands-cut-to-tf32", "input and kernel are cut to TF32, not rounded",
            "Compute in the dtype of the arrays.", ALL, _rounded(cut(11), ("x", "w")), values="digits"),
    Mistake("result-cut-to-bfloat16", "the result is cut to bfloat16, not rounded",
            "Round the result to nearest.", ALL, finish=lambda q, y: cut(8)(y), values="digits"),
    Mistake("result-rounded-to-integers", "results are rounded to integers",
            "Leave out the conversion to integers.", ALL, finish=lambda q, y: np.rint(y), values="digits"),
    Mistake("result-cut-to-integers", "results are cut to integers",
            "Leave out the conversion to integers.", ALL, finish=lambda q, y: np.trunc(y), values="digits"),
)  # fmt: skip
