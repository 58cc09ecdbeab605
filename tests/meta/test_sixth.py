"""A sixth backend in a package of its own, ``tests/sixth``: installed, found by its entry point, and checked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import FIVE, TESTS

from multiconv.core.spec import ConvSpec

SIXTH = TESTS / "sixth"
PIP_INSTALL = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-build-isolation")


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A function that runs a Python in which the package is installed."""
    source, site, elsewhere = (tmp_path_factory.mktemp(name) for name in ("source", "site", "elsewhere"))
    shutil.copytree(SIXTH, source, dirs_exist_ok=True)  # as building leaves litter
    subprocess.run([sys.executable, *PIP_INSTALL, "--target", site, source], check=True)

    def run(*arguments, status=0):
        ran = subprocess.run(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(site)},
            cwd=elsewhere,
            timeout=200,
            check=False,
        )
        assert ran.returncode == status
        return ran.stdout.decode()

    return run


def test_it_is_listed_after_the_five(python):
    listed = json.loads(python("-m", "multiconv", "backends", "--probe", "--json", "-"))["backends"]
    assert [info["name"] for info in listed] == [*FIVE, "loops", "trouble", "wrong"]
    assert listed[5] == {
        "name": "loops",
        "version": "1.0",
        "where": "this process",
        "python": sys.executable,
        "dtypes": ["float32", "float64"],
        "devices": ["cpu"],
        "reason": None,
        "install": None,
    }


BOTH = """
import multiconv as mc, numpy as np
x, w = np.arange(9.0).reshape(1, 1, 3, 3), np.arange(4.0).reshape(1, 1, 2, 2)
for backend in mc.backend("loops"), mc.backend("loops", worker=True):
    print(type(backend).__name__, backend.name, backend.version, backend.cross_correlate(x, w).ravel().tolist())
"""


def test_it_works_in_this_process_and_in_a_worker(python):
    assert python("-c", BOTH).splitlines() == [
        "LoopsBackend loops 1.0 [19.0, 25.0, 37.0, 43.0]",
        "RemoteBackend loops 1.0 [19.0, 25.0, 37.0, 43.0]",
    ]


def test_it_agrees_with_the_oracle(python):
    assert "loops agrees with the exact oracle" in python("-m", "multiconv", "check", "loops", "--examples", "20")


def test_a_wrong_one_is_found_out_and_its_fault_shown_in_small(python, tmp_path):
    report = json.loads(python("-m", "multiconv", "check", "wrong", "--examples", "60", "--json", "-", status=1))
    (wrong,) = report["backends"]
    assert (wrong["name"], wrong["verdict"], report["agrees"]) == ("wrong", "disagrees", False)
    found = {d["direction"]: d for d in wrong["disagreements"]}
    assert "forward" in found
    assert "conv_transpose" not in found  # which is right, as it has a loop of its own
    problem = found["forward"]["problem"]
    options = {name: problem[name] for name in ("stride", "padding", "dilation", "groups", "layout")}
    geometry = ConvSpec(**options).resolve(problem["x"], problem["w"])
    assert not geometry.symmetric
    assert np.prod(geometry.y_shape) <= 4
    script = tmp_path / "script.py"
    script.write_text(found["forward"]["script"])
    assert "are wrong" in python(script, status=1)
    script.write_text(found["forward"]["script"].replace('"wrong"', '"loops"'))
    assert "elements are right" in python(script)
