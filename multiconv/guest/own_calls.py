"""A framework's own calls with nothing around them, served by a worker beside the operations of its backend.

It runs in other Python environments and imports only the standard library, NumPy, and multiconv's modules up to the
backend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, ClassVar

from multiconv.core.geometry import Geometry
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Array, Host
from multiconv.guest.service import Arrays, BackendService

Call = Callable[..., Array]


class OwnCalls(BackendService):
    """A backend's service that also runs the framework's own calls.

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

    served: ClassVar[tuple[str, ...]] = (*BackendService.served, "own", "own_with_input_gradient")

    def __init__(
        self, backend: str, forward: Call, conv_transpose: Call, layer: Call, compiled: dict[str, Callable[..., Call]]
    ) -> None:
        module, _, name = backend.partition(":")
        super().__init__(getattr(import_module(module), name)())
        self.forward, self.conv_transpose, self.layer, self.compiled = forward, conv_transpose, layer, compiled

    def own(self, *arrays: Host | None, direction: str, geometry: Geometry, dtype: str) -> Arrays:
        """Make the framework's own call for a direction.

        Parameters
        ----------
        *arrays : array
            Input, kernel, bias or None, and for the gradients the cotangent, which takes the place of the input for
            ``"conv_transpose"``.
        direction : str
            ``"forward"``, ``"gradients"``, ``"conv_transpose"`` or ``"layer"``.
        geometry : Geometry
        dtype : str
        """
        own = map(self.to_own, arrays)
        if direction == "layer":
            with self.backend.scope(dtype):
                return self.hosts(self.layer(geometry, *own))
        calls = {
            "forward": self._with_own_kernel(geometry, self.forward),
            "gradients": self._gradients(geometry),
            "conv_transpose": self._with_own_kernel(geometry, self.conv_transpose),
        }
        return self.hosts(self.backend.stage(calls[direction], dtype)(*own))

    def own_with_input_gradient(
        self, x: Host, w: Host, dy: Host, *, way: str | None, geometry: Geometry, dtype: str
    ) -> Arrays:
        """Make the framework's own call, and compute its input gradient, eagerly or compiled in one of its ways."""
        x, w, dy = map(self.to_own, (x, w, dy))
        forward = self._with_own_kernel(geometry, self.forward)
        with self.backend.scope(dtype):
            of_x: Any = (lambda x: forward(x, w, None)) if way is None else self.compiled[way](forward, geometry, w)
            (dx,) = self.backend.vjp(of_x, (x,), dy)
            return self.hosts((of_x(x), dx))

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
