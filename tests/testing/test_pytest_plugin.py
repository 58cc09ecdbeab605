"""The pytest plugin, as a stranger's tests see it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TEST = """
import numpy as np


def test_one(backend):
    assert (backend.to_numpy(backend.cross_correlate(np.ones((1, 1, 3)), np.ones((1, 1, 2)))) == 2).all()
"""

OWN = """
import pytest


@pytest.fixture
def backend():
    return 3


def test_own(backend):
    assert backend == 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "test_mine.py").write_text(TEST)
    return tmp_path


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_test_runs_on_each_backend_that_is_named(folder: Path) -> None:
    ran = run(folder, "--multiconv-backends", "numpy, mxnet")
    assert ran.returncode == 0, ran.stdout
    assert "test_one[numpy] PASSED" in ran.stdout
    assert "test_one[mxnet] PASSED" in ran.stdout
    assert "2 passed" in ran.stdout
    assert "multiconv: numpy 2" in ran.stdout
    assert "mxnet 1.9.1 in a worker" in ran.stdout


def test_without_the_option_all_that_can_be_had(folder: Path) -> None:
    ran = run(folder, "--collect-only", "-q")
    for name in ("numpy", "torch", "jax", "tensorflow", "mxnet"):
        assert f"test_one[{name}]" in ran.stdout


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("numpy,caffe", "there is no backend 'caffe': the backends are numpy"),
        ("torch@0.1.2", "install it with: multiconv env create torch@0.1.2"),
        (",", "names no backend"),
    ],
)
def test_one_that_can_not_be_had_ends_the_run_before_it_begins(folder: Path, named: str, words: str) -> None:
    ran = run(folder, "--multiconv-backends", named)
    assert ran.returncode == pytest.ExitCode.USAGE_ERROR
    assert words in ran.stderr
    assert "test_one" not in ran.stdout


def test_a_fixture_of_the_same_name_is_left_alone(folder: Path) -> None:
    (folder / "test_mine.py").write_text(OWN)
    ran = run(folder)
    assert ran.returncode == 0, ran.stdout
    assert "1 passed" in ran.stdout


CONFORMS = """
import multiconv as mc
from multiconv.testing import assert_conforms


def flipped(x, w, bias, **options):
    return mc.backend("numpy").convolve(x, w, bias, **options)


def broken(x, w, bias, **options):
    return 1 / 0


def test_wrong():
    assert_conforms(flipped, examples=5)


def test_exception():
    assert_conforms(broken, examples=5)


def test_option():
    assert_conforms(flipped, strides=2)


def test_dtype():
    assert_conforms(flipped, dtypes=["int8"])


def test_examples():
    assert_conforms(flipped, examples=0)
"""


def test_a_failure_of_assert_conforms_shows_the_lines_of_the_test_only(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(CONFORMS)
    ran = run(tmp_path, "-o", "addopts=", "--tb=short")
    shown = re.findall(r"^(\S+\.py):\d+: in (\w+)$", ran.stdout, re.MULTILINE)
    tests = ["test_wrong", "broken", "test_exception", "test_option", "test_dtype", "test_examples"]
    assert shown == [("test_mine.py", name) for name in tests]
    assert "AssertionError: flipped is not a cross-correlation." in ran.stdout
