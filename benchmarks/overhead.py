"""Time the interface: `cross_correlate` on a backend's own arrays against the framework's own calls.

Each backend has its own process, in the Python where it runs. Rounds of the two ways to call alternate in this process.
The result is the median difference of a round. "The framework's own calls" do the same work by hand, with the same
options. If a framework lacks the public layout, they are its own transposes and its own convolution. For JAX they are a
jitted function with the options built in.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROUNDS, CALLS = 400, 200


def by_hand(name: str, x: Any, w: Any) -> Callable[[], Any]:
    """Return the same convolution, written without multiconv."""
    if name == "numpy":
        from multiconv import ConvSpec, backend

        numpy: Any = backend("numpy")
        native = numpy.native_cross_correlate(ConvSpec(padding=1).resolve(x.shape, w.shape))
        return lambda: native(x, w, None)
    if name == "torch":
        from torch.nn.functional import conv2d

        return lambda: conv2d(x, w, stride=1, padding=1, dilation=1, groups=1)
    if name == "jax":
        import jax
        from jax import lax

        conv = jax.jit(
            lambda x, w: lax.conv_general_dilated(x, w, (1, 1), ((1, 1), (1, 1)), precision=lax.Precision.HIGHEST)
        )
        return lambda: conv(x, w)
    if name == "tensorflow":
        import tensorflow as tf

        pads = ((0, 0), (1, 1), (1, 1), (0, 0))
        to_last, to_first, to_hwio = (tf.constant(axes) for axes in ((0, 2, 3, 1), (0, 3, 1, 2), (2, 3, 1, 0)))

        def in_tensorflow() -> Any:
            y = tf.nn.conv2d(tf.transpose(x, to_last), tf.transpose(w, to_hwio), (1, 1), pads)
            return tf.transpose(y, to_first)

        return in_tensorflow
    from mxnet import nd

    return lambda: nd.Convolution(x, w, kernel=(3, 3), pad=(1, 1), num_filter=1, no_bias=True)


def measure(backend: Any) -> dict[str, float]:
    """Return the microseconds per call by hand and through multiconv, and the median difference."""
    import numpy as np

    rng = np.random.default_rng(0)
    x, w = (backend.asarray(rng.standard_normal(s).astype("float32")) for s in ((1, 1, 8, 8), (1, 1, 3, 3)))
    own = by_hand(backend.name, x, w)

    def through() -> Any:
        return backend.cross_correlate(x, w, stride=1, padding=1, dilation=1, groups=1)

    assert (backend.to_numpy(own()) == backend.to_numpy(through())).all()
    rounds = [(timed(own, backend), timed(through, backend)) for _ in range(ROUNDS)]
    return {
        "by_hand": statistics.median(a for a, _ in rounds),
        "through": statistics.median(b for _, b in rounds),
        "overhead": statistics.median(b - a for a, b in rounds),
    }


def timed(call: Callable[[], Any], backend: Any) -> float:
    began = time.perf_counter_ns()
    for _ in range(CALLS):
        y = call()
    backend.block(y)
    return (time.perf_counter_ns() - began) / CALLS / 1e3


def in_its_python(name: str) -> dict[str, float]:
    """Run `measure` in the backend's Python, with the source of multiconv given by path."""
    from multiconv import registry
    from multiconv.workers.process import source_places

    entry_point = f"multiconv.backends.{name}:{name.capitalize()}Backend"
    setup = {"places": source_places(entry_point), "entry_point": entry_point, "here": str(Path(__file__).parent)}
    command = [str(registry.locate(name).python), "-c", REMOTE, json.dumps(setup)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"{name}: {ran.stderr[-2000:]}")
    result: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return result


REMOTE = """
import importlib, json, runpy, sys
setup = json.loads(sys.argv[1])
Source = runpy.run_path(setup["places"]["multiconv"] + "/guest/serve.py")["Source"]
sys.meta_path.insert(0, Source(setup["places"]))
sys.path.insert(0, setup["here"])
from overhead import measure
module, _, attribute = setup["entry_point"].partition(":")
print(json.dumps(measure(getattr(importlib.import_module(module), attribute)())))
"""


def main() -> None:
    names = sys.argv[1:] or ["numpy", "torch", "jax", "tensorflow", "mxnet"]
    print(
        f"{'backend':12}{'by hand':>10}{'multiconv':>12}{'overhead':>11}   us a call, (1,1,8,8) * (1,1,3,3), padding 1"
    )
    for name in names:
        r = in_its_python(name)
        print(f"{name:12}{r['by_hand']:10.1f}{r['through']:12.1f}{r['overhead']:11.2f}", flush=True)


if __name__ == "__main__":
    main()
