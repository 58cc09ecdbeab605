"""A framework's own calls with nothing around them, served by a worker beside the operations of its backend.

It runs in other Python environments and imports only the standard library, NumPy, and multiconv's modules up to the
backend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from multiconv.core.spec import ConvSpec, Geometry
from multiconv.core.types import Array

Call = Callable[..., Array]


class Native:
    """A backend that also has the framework's own calls, as operations such as ``"own forward"``.

    Parameters
    ----------
    backend : str
        ``"module:class"`` of the framework's backend. Its arrays, scope and autodiff are used.
    forward, conv_transpose : callable
        Functions (g, x, w, bias or None) -> y that make the framework's own call for this geometry and do nothing else.
    layer : callable
        The same with the framework's own layer.
    compiled : dict of str to callable
        The ways in which the framework compiles: functions (call, g, w) -> compiled function of x.
    """

    def __init__(
        self, backend: str, forward: Call, conv_transpose: Call, layer: Call, compiled: dict[str, Callable[..., Call]]
    ) -> None:
        module, _, name = backend.partition(":")
        self.backend = getattr(import_module(module), name)()
        self.forward, self.conv_transpose, self.layer, self.compiled = forward, conv_transpose, layer, compiled

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def plan(self, operation: str, g: Geometry, dtype: str) -> Call:
        """Return the function for an operation: ``"own forward"`` and the like, or one of the backend's operations."""
        own, _, what = operation.partition(" ")
        if own == "eager":
            return self._in_scope(dtype, self._eager(g))
        if own == "compiled":
            return self._in_scope(dtype, self._compiled(g, what))
        if own != "own":
            return self.backend.plan(operation, g, dtype)  # type: ignore[no-any-return]
        calls = {
            "forward": self._with_own_kernel(g, self.forward),
            "gradients": self._gradients(g),
            "conv_transpose": self._with_own_kernel(g, self.conv_transpose),
        }
        if what == "layer":
            return self._in_scope(dtype, lambda x, w, bias: self.layer(g, x, w, bias))
        return self.backend.stage(calls[what], dtype)  # type: ignore[no-any-return]

    def _with_own_kernel(self, g: Geometry, call: Call) -> Call:
        """Return the call for a kernel in OIHW, with its axes permuted to the framework's order."""
        axes = (*range(2, 2 + g.ndim), 1, 0)
        hwio = self.backend.kernel_layout == "HWIO"

        def cross_correlate(x: Array, w: Array, bias: Array | None) -> Array:
            return call(g, x, self.backend.transpose(w, axes) if hwio else w, bias)

        return cross_correlate

    def _gradients(self, g: Geometry) -> Call:
        forward = self._with_own_kernel(g, self.forward)

        def gradients(x: Array, w: Array, bias: Array | None, dy: Array) -> Sequence[Array]:
            if bias is None:
                return self.backend.vjp(lambda x, w: forward(x, w, None), (x, w), dy)  # type: ignore[no-any-return]
            return self.backend.vjp(forward, (x, w, bias), dy)  # type: ignore[no-any-return]

        return gradients

    def _eager(self, g: Geometry) -> Call:
        forward = self._with_own_kernel(g, self.forward)

        def answer(x: Array, w: Array, dy: Array) -> tuple[Array, Array]:
            (dx,) = self.backend.vjp(lambda x: forward(x, w, None), (x,), dy)
            return forward(x, w, None), dx

        return answer

    def _compiled(self, g: Geometry, way: str) -> Call:
        def answer(x: Array, w: Array, dy: Array) -> tuple[Array, Array]:
            forward = self.compiled[way](self._with_own_kernel(g, self.forward), g, w)
            (dx,) = self.backend.vjp(forward, (x,), dy)
            return forward(x), dx

        return answer

    def _in_scope(self, dtype: str, function: Call) -> Call:
        def scoped(*arrays: Array) -> Any:
            with self.backend.scope(dtype):
                return function(*arrays)

        return scoped


def symmetric(g: Geometry) -> tuple[int, ...] | None:
    """Return the padding as one number per axis, or None if it is asymmetric.

    Examples
    --------
    >>> symmetric(ConvSpec(padding=1).resolve((1, 1, 5), (1, 1, 3)))
    (1,)
    """
    return tuple(before for before, _ in g.pads) if g.symmetric else None


def is_same(g: Geometry) -> bool:
    """Return whether the padding is the one that the word "same" means.

    Examples
    --------
    >>> is_same(ConvSpec(padding=((0, 1),)).resolve((1, 1, 5), (1, 1, 2)))
    True
    """
    return ConvSpec(g.stride, "same", g.dilation).pads(g.size, g.kernel) == g.pads
