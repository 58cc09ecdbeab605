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
    from multiconv.testing.drawing import draw_problems
    from multiconv.testing.problem_values import given_values, with_values
    from multiconv.testing.situations import SITUATIONS
    from multiconv.testing.strategies import problems, specs

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

_MODULES = {
    "ALL_VALUES": "multiconv.oracle.values",
    "SITUATIONS": "multiconv.testing.situations",
    "VALUES": "multiconv.oracle.values",
    "assert_conforms": "multiconv.testing.conformance",
    "draw_problems": "multiconv.testing.drawing",
    "given_values": "multiconv.testing.problem_values",
    "problems": "multiconv.testing.strategies",
    "specs": "multiconv.testing.strategies",
    "with_values": "multiconv.testing.problem_values",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
