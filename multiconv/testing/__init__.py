"""Tools for testing your own code: problems to draw, and an assertion that a function is a cross-correlation.

`specs`, `problems` and `draw_problems` are Hypothesis strategies and draws. `assert_conforms` runs a function on drawn
problems and on the layers of well-known networks. It judges the answers by the exact oracle and by rounding bounds, so
you need not choose a tolerance.

Exported names are imported on first use, so that a worker can load a candidate without Hypothesis.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiconv.oracle.values import ALL_VALUES, VALUES
    from multiconv.testing.conformance import assert_conforms
    from multiconv.testing.strategies import (
        SITUATIONS,
        draw_problems,
        given_values,
        problems,
        specs,
        with_values,
    )

__all__ = [
    "ALL_VALUES",
    "SITUATIONS",
    "VALUES",
    "assert_conforms",
    "draw_problems",
    "given_values",
    "problems",
    "specs",
    "with_values",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from_values = name in ("ALL_VALUES", "VALUES")
    of = (
        "multiconv.oracle.values"
        if from_values
        else f"{__name__}.{'conformance' if name == 'assert_conforms' else 'strategies'}"
    )
    return getattr(import_module(of), name)
