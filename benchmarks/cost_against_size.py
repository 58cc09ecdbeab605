"""Time the oracle and the check against the size of their problems. (round_trip.py times a worker's transfer.)

The oracle: one image through a 3x3 kernel with 64 input and 64 output channels, in milliseconds, next to the NumPy
backend on the same arrays. The check: NumPy alone, with more and more drawn problems, so that most of the time is spent
in the check itself.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import multiconv as mc
from multiconv.check.run import check
from multiconv.testing.problem_values import with_values

SIDES = (7, 14, 28, 56)
VALUES = (("float32", "integers"), ("float32", "normal"), ("float64", "normal"))
EXAMPLES = (0, 100, 200, 400, 800)
ROUNDS = 5


def milliseconds(call: Callable[[], object]) -> float:
    """Return the median time of several calls after the first."""
    times = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times[1:])


def oracle() -> None:
    numpy = mc.backend("numpy")
    print(f"{'image':8}{'products':>12}   ms in all directions: the NumPy backend, and the oracle with its bounds")
    spec = mc.ConvSpec(padding=1)
    for side in SIDES:
        g = spec.resolve((1, 64, side, side), (64, 64, 3, 3))
        columns = []
        for dtype, values in VALUES:
            problem = with_values("", spec, g, dtype, bias=True, values=values, seed=0)
            computed = milliseconds(lambda p=problem: list(p.answers(numpy)))  # type: ignore[misc]
            columns.append(f"{dtype} {values}: {computed:.1f}, {milliseconds(problem.expectations):.1f}")
        print(f"{side}x{side:<5}{64 * 64 * 9 * side * side:12,}   {'   '.join(columns)}", flush=True)


def checks() -> None:
    print(f"{'drawn problems':16}{'seconds':>8}   multiconv check numpy, without the networks' layers")
    for examples in EXAMPLES:
        print(f"{examples:<16}{check(['numpy'], examples=examples, networks=False).seconds:8.1f}", flush=True)


if __name__ == "__main__":
    oracle()
    checks()
