"""PyTorch: eager, and with `torch.compile`."""

from __future__ import annotations

import torch

from multiconv.core.types import Array
from multiconv.guest.timed import Call, Framework


class TimedFramework(Framework):
    """PyTorch."""

    modes = ("eager", "compiled")

    def set_threads(self, threads: int) -> None:
        """Set the number of threads within an operation, and run one operation at a time."""
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)

    def threads(self) -> int:
        """Return the number of threads within an operation."""
        return torch.get_num_threads()

    def forward(self, function: Call, x: Array, w: Array, mode: str) -> Call:
        """Return a call of the function without autograd, as for inference."""
        run = torch.no_grad()(_compiled(function) if mode == "compiled" else function)
        return lambda: run(x, w)

    def gradient(self, function: Call, primals: tuple[Array, Array], which: int, dy: Array, mode: str) -> Call:
        """Return a call of the backward pass of a graph that is kept, or of one compiled without the forward pass."""
        function_of_one, primal = self.with_other_fixed(function, primals, which), primals[which]
        if mode == "compiled":
            pullback = _compiled(lambda primal, dy: torch.func.vjp(function_of_one, primal)[1](dy)[0])
            return lambda: pullback(primal, dy)
        leaf = primal.detach().requires_grad_()
        y = function_of_one(leaf)
        return lambda: torch.autograd.grad(y, leaf, dy, retain_graph=True)[0]


def _compiled(function: Call) -> Call:
    torch.compiler.reset()  # else torch gives up after eight shapes and runs eagerly
    compiled: Call = torch.compile(function)
    return compiled
