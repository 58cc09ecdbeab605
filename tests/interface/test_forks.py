"""A fork of a process in which a framework has computed: refused where it would hang, and right elsewhere."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import os, signal, sys
import numpy as np
import multiconv as mc

name, before = sys.argv[1], sys.argv[2] == "before"
x, w = np.random.rand(4, 16, 64, 64).astype("f"), np.random.rand(32, 16, 3, 3).astype("f")
here = mc.backend(name)
kind = type(here)
if before:
    layer = here.layer(w)
    right = here.to_numpy(here.cross_correlate(x, w))
    own_x, own_w = here.asarray(x), here.asarray(w)
    here.cross_correlate(own_x, own_w)  # remembered by now

def ways():
    yield lambda: here.cross_correlate(x, w)
    yield lambda: here.corr2d(x[0, 0], w[0, 0])
    yield lambda: here.cross_correlate_vjp(x, w, None, np.ones((4, 32, 62, 62), "f"))[0]
    yield lambda: here.layer(w)(x)
    yield lambda: kind().cross_correlate(x, w)
    if before:
        yield lambda: here.cross_correlate(own_x, own_w)
        yield lambda: layer(x)

child = os.fork()
if child == 0:
    signal.alarm(60)
    for number, way in enumerate(ways()):
        try:
            here.to_numpy(way())
            print("computed", flush=True)
        except mc.BackendUnavailable as error:
            print(error, flush=True)
    if before:
        worker = mc.backend(name, worker=True)
        assert np.allclose(worker.cross_correlate(x, w), right, rtol=1e-4)
        worker.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
if before:
    assert np.array_equal(here.to_numpy(here.cross_correlate(own_x, own_w)), right)  # in the parent, nothing changes
"""


def in_a_fork(name: str, when: str) -> list[str]:
    command = [sys.executable, "-c", SCRIPT, name, when]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@pytest.mark.parametrize("name", ["torch", "jax", "tensorflow"])
def test_a_framework_that_would_hang_is_refused_in_every_way_to_compute(name: str) -> None:
    assert in_a_fork(name, "before") == 7 * [
        f"{name} computed in this process before it was forked, and would hang now: start processes with "
        f'multiprocessing\'s "spawn" or "forkserver" method, or use multiconv.backend("{name}", worker=True)'
    ]


@pytest.mark.parametrize(
    ("name", "when"), [("numpy", "before"), *((name, "never") for name in ("torch", "jax", "tensorflow"))]
)
def test_numpy_survives_a_fork_and_so_does_what_has_not_computed(name: str, when: str) -> None:
    assert in_a_fork(name, when) == ["computed"] * (7 if when == "before" else 5)
