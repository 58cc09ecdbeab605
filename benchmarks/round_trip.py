"""Time a worker's transfer: a float32 array there and back, through a backend that returns its input.

Only the transfer is timed, in the form of a real call: header, validation, array out, array back.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from multiconv.backends.numpy import NumpyBackend

from multiconv.workers.process import Worker, source_places
from multiconv.workers.remote import RemoteBackend

SIZES = {"1 KB": (1, 1, 16, 16), "64 KB": (1, 1, 128, 128), "1 MB": (1, 1, 512, 512), "25 MB": (1, 1, 2560, 2560)}
ROUNDS = 50


class EchoBackend(NumpyBackend):
    """A backend whose cross-correlation returns its input."""

    name = "echo"

    def native_cross_correlate(self, g: Any) -> Any:
        return lambda x, w, bias=None: x


def main() -> None:
    places = source_places("multiconv.backends.numpy:NumpyBackend") | {"round_trip": str(Path(__file__))}
    echo = RemoteBackend(Worker("echo", "round_trip:EchoBackend", places, Path(sys.executable), 60.0))
    w = np.ones((1, 1, 1, 1), "float32")
    print(f"{'array':8}{'median':>10}{'quartiles':>20}   ms there and back, {ROUNDS} rounds")
    for size, shape in SIZES.items():
        x = np.random.default_rng(0).standard_normal(shape).astype("float32")
        times = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            y = echo.cross_correlate(x, w)
            times.append((time.perf_counter() - began) * 1e3)
        assert (y == x).all()
        low, median, high = statistics.quantiles(times, n=4)
        print(f"{size:8}{median:10.3f}{low:12.3f}{high:8.3f}", flush=True)
    echo.close()


if __name__ == "__main__":
    main()
