"""NumPy: the hand-written gradients of its backend."""

from __future__ import annotations

from typing import Any

from multiconv.core.errors import UnsupportedError
from multiconv.core.types import Array
from multiconv.guest.timed import Call, Framework


class TimedFramework(Framework):
    """NumPy, whose OpenBLAS threads are set by the environment."""

    def gradient(self, function: Any, primals: tuple[Array, Array], which: int, dy: Array, mode: str) -> Call:
        """Return a call of the gradient method of the backend's own operation."""
        x, w = primals
        if not hasattr(function, "input_gradient"):
            raise UnsupportedError("the interface of numpy has no gradient alone: time it in the native layout")
        return (lambda: function.kernel_gradient(x, dy)) if which else (lambda: function.input_gradient(dy, w))
