"""JAX: operation by operation, and with `jax.jit`."""

from __future__ import annotations

import jax

from multiconv.core.types import Array
from multiconv.guest.timed import Call, Framework


class TimedFramework(Framework):
    """JAX, with as many threads as the affinity has cores. Flax's layout is channels last."""

    channels_last = True
    modes = ("eager", "compiled")

    def forward(self, function: Call, x: Array, w: Array, mode: str) -> Call:
        """Return a call of the function, unchanged or jitted."""
        run = jax.jit(function) if mode == "compiled" else function
        return lambda: run(x, w)

    def gradient(self, function: Call, primals: tuple[Array, Array], which: int, dy: Array, mode: str) -> Call:
        """Return a call of the pullback, which skips the forward pass of a linear function."""
        function_of_one, primal = self.with_other_fixed(function, primals, which), primals[which]
        if mode == "compiled":
            pullback = jax.jit(lambda primal, dy: jax.vjp(function_of_one, primal)[1](dy)[0])
            return lambda: pullback(primal, dy)
        _, kept = jax.vjp(function_of_one, primal)
        return lambda: kept(dy)[0]
