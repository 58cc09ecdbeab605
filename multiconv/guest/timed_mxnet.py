"""MXNet: its operators as `CachedOp`, which is what `hybridize` creates."""

from __future__ import annotations

from mxnet import autograd, nd

from multiconv.core.types import Array
from multiconv.guest.timed import Call, Framework


class TimedFramework(Framework):
    """MXNet, whose OpenMP threads are set by the environment."""

    def matmul(self, a: Array, b: Array) -> Array:
        """Compute the matrix product with `nd.dot`, because MXNet's arrays have no ``@``."""
        return nd.dot(a, b)

    def gradient(self, function: Call, primals: tuple[Array, Array], which: int, dy: Array, mode: str) -> Call:
        """Return a call of the backward pass of a graph that is kept."""
        leaf = primals[which].detach()
        leaf.attach_grad()
        with autograd.record():
            y = self.with_other_fixed(function, primals, which)(leaf)

        def gradient() -> Array:
            y.backward(dy, retain_graph=True)
            return leaf.grad

        return gradient
