"""NumPy: the gradients that its backend has by hand."""

from __future__ import annotations

from typing import Any

from multiconv.core.errors import UnsupportedError
from multiconv.core.types import Array
from multiconv.guest.timed import Call, Framework


class TimedFramework(Framework):
    """Threads are OpenBLAS's, set by the environment."""

    def gradient(self, function: Any, primals: tuple[Array, Array], which: int, dy: Array, mode: str) -> Call:
        """By the method of the backend's own operation."""
        x, w = primals
        if not hasattr(function, "input_gradient"):
            raise UnsupportedError("the interface of numpy has no gradient alone: time it in the native layout")
        return (lambda: function.kernel_gradient(x, dy)) if which else (lambda: function.input_gradient(dy, w))
