"""TensorFlow: eager, with `tf.function`, and with `tf.function(jit_compile=True)`."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from multiconv.core.types import Array
from multiconv.guest.timed import Call, Framework


class TimedFramework(Framework):
    """TensorFlow."""

    channels_last = True
    modes = ("eager", "compiled", "xla")

    def set_threads(self, threads: int) -> None:
        """Set the number of threads within an operation, and run one operation at a time."""
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)

    def threads(self) -> int:
        """Return the number of threads within an operation."""
        return int(tf.config.threading.get_intra_op_parallelism_threads())

    def forward(self, function: Call, x: Array, w: Array, mode: str) -> Call:
        """Return a call of the function, unchanged or as a graph."""
        run = _staged(function, mode)
        return lambda: run(x, w)

    def gradient(self, function: Call, primals: tuple[Array, Array], which: int, dy: Array, mode: str) -> Call:
        """Return a call of a tape that is kept, or of a graph that is pruned to what the gradient needs."""
        function_of_one, primal = self.with_other_fixed(function, primals, which), primals[which]
        if mode == "eager":
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(primal)
                y = function_of_one(primal)
            return lambda: tape.gradient(y, primal, dy)

        def gradient(primal: Array, dy: Array) -> Array:
            with tf.GradientTape() as tape:
                tape.watch(primal)
                y = function_of_one(primal)
            return tape.gradient(y, primal, dy)

        run = _staged(gradient, mode)
        return lambda: run(primal, dy)


def _staged(function: Call, mode: str) -> Any:
    if mode == "eager":
        return function
    return tf.function(function, jit_compile=mode == "xla")
