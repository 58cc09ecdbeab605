"""How fast the NumPy backend is, relative to torch: layer by layer, and the geometric mean of each set.

NumPy, by each policy, and torch take turns in random order in one process with the same number of threads. A layer's
figure is the median, over the rounds, of torch's time divided by NumPy's in the same round: above 1 NumPy is faster.

    python benchmarks/numpy_backend.py                                  # everything
    python benchmarks/numpy_backend.py --quick --layers single vgg19    # a few rounds of two sets
    OPENBLAS_CORETYPE=SkylakeX python benchmarks/numpy_backend.py       # with OpenBLAS's code for AVX-512
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

SETS = ("resnet50", "vgg19", "single", "mobilenet_v1")
DIRECTIONS = ("forward", "input gradient", "kernel gradient")
POLICIES = ("direct", "fast")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--directions", nargs="+", choices=DIRECTIONS, default=["forward"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="3 rounds, batch 1")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.batch = 3, [1]
    return options


def main() -> None:
    options = parsed()
    # OpenBLAS and OpenMP read it when they are loaded.
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import torch
    from threadpoolctl import threadpool_info

    torch.set_num_threads(options.threads)
    kernels = ", ".join(f"{i['version']} {i['architecture']}" for i in threadpool_info() if i["user_api"] == "blas")
    print(f"OpenBLAS {kernels}, torch {torch.__version__}, {options.threads} threads, {options.rounds} rounds")
    for batch in options.batch:
        for direction in options.directions:
            of_sets = {name: measured_set(name, batch, direction, options.rounds) for name in options.layers}
            dense = [r for name, rows in of_sets.items() if name != "mobilenet_v1" for r in rows]
            for name, rows in [*of_sets.items(), ("all but mobilenet_v1", dense)]:
                if rows:
                    means = "  ".join(f"{p} {statistics.geometric_mean(r[p] for r in rows):.2f}" for p in POLICIES)
                    print(f"{direction}, batch {batch}, {name}: geometric mean over torch: {means}", flush=True)


def geometries(name: str, batch: int) -> list[tuple[str, Any]]:
    """The layers of a set, by name."""
    from multiconv import ConvSpec
    from multiconv.layers import layers

    if name != "single":
        return [
            (layer.name, layer.geometry(batch))
            for layer in layers(name)
            if (name != "mobilenet_v1" or layer.groups > 1)
        ]
    return [(f"kernel {k}", ConvSpec(padding=k // 2).resolve((batch, 1, 512, 512), (1, 1, k, k))) for k in (3, 11, 31)]


def measured_set(name: str, batch: int, direction: str, rounds: int) -> list[dict[str, float]]:
    """Each layer's ratios, which it prints with the medians of the times."""
    ratios = []
    for layer, g in geometries(name, batch):
        times = measured(g, direction, rounds)
        ratio = {p: statistics.median(t / n for t, n in zip(times["torch"], times[p])) for p in POLICIES}
        ratios.append(ratio)
        shown = "  ".join(f"{p} {statistics.median(t) / 1e6:9.3f} ms" for p, t in times.items())
        of_torch = "  ".join(f"{p} {r:5.2f}" for p, r in ratio.items())
        print(f"{name:13} {layer:17} {g.x_shape!s:20} {g.w_shape!s:18} {shown}   {of_torch}", flush=True)
    return ratios


def measured(g: Any, direction: str, rounds: int) -> dict[str, list[int]]:
    """Nanoseconds of each round, by policy and for torch, after a call whose results are compared."""
    import numpy as np

    from multiconv import bounds

    rng = np.random.default_rng(0)
    x, w, dy = (rng.standard_normal(s).astype("float32") for s in (g.x_shape, g.w_shape, g.y_shape))
    calls = {"torch": in_torch(g, direction, x, w, dy)}
    calls.update({policy: in_numpy(g, direction, policy, x, w, dy) for policy in POLICIES})
    right = np.asarray(calls["torch"]())
    allowed = bounds.normwise(direction, x, w, None, dy, g, 10_000.0, "float32")
    for name, call in calls.items():
        if not (np.abs(np.asarray(call()) - right) <= allowed).all():
            sys.exit(f"{name} and torch do not agree on {direction} of {g}")
    times: dict[str, list[int]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name in random.sample(list(calls), len(calls)):
            began = time.perf_counter_ns()
            calls[name]()
            times[name].append(time.perf_counter_ns() - began)
    return times


def in_numpy(g: Any, direction: str, policy: str, x: Any, w: Any, dy: Any) -> Callable[[], Any]:
    """A direction by the backend's own operator, without the interface."""
    import multiconv as mc

    correlate: Any = mc.backend("numpy", algorithm=policy).native_cross_correlate(g)
    if direction == "forward":
        return lambda: correlate(x, w)
    if direction == "input gradient":
        return lambda: correlate.input_gradient(dy, w)
    return lambda: correlate.kernel_gradient(x, dy)


def in_torch(g: Any, direction: str, x: Any, w: Any, dy: Any) -> Callable[[], Any]:
    """A direction by torch's own calls."""
    import torch

    x, w, dy = (torch.from_numpy(a) for a in (x, w, dy))
    padding = tuple(before for before, _ in g.pads)
    if direction == "forward":
        return lambda: torch.nn.functional.conv2d(x, w, None, g.stride, padding, g.dilation, g.groups)
    wanted = (direction == "input gradient", direction == "kernel gradient", False)

    def backward() -> Any:
        zeros = [0] * g.ndim
        results = torch.ops.aten.convolution_backward(
            dy, x, w, None, g.stride, padding, g.dilation, False, zeros, g.groups, wanted
        )
        return next(result for result in results if result is not None)

    return backward


if __name__ == "__main__":
    main()
