"""``multiconv judge``: the table, the exit status, JSON, and each bad file in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import multiconv as mc
from multiconv.cli.main import main

RNG = np.random.default_rng(0)
X, W = RNG.integers(-9, 10, (2, 3, 7, 8)).astype("float32"), RNG.integers(-9, 10, (4, 3, 3, 3)).astype("float32")
NUMPY = mc.backend("numpy")
KERAS = NUMPY.cross_correlate(X, W, stride=2, padding="same")
TORCH = NUMPY.cross_correlate(X, W, stride=2, padding=1)


def saved(path: Path, **arrays: Any) -> str:
    np.savez(path / "answers.npz", **arrays)
    return str(path / "answers.npz")


def judged(*words: str) -> Result:
    ran = CliRunner().invoke(main, ["judge", *words])
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    return ran


def test_the_wrong_one_is_named_with_its_mistake(tmp_path: Path) -> None:
    file = saved(tmp_path, x=X, w=W, keras=KERAS, torch=TORCH)
    ran = judged(file, "--stride", "2", "--padding", "same")
    assert ran.exit_code == 1
    assert "keras is right. torch is wrong.\n" in ran.stdout
    assert (
        "why: the padding is half the kernel on both sides (padding ((1, 1), (1, 1)) instead of ((1, 1), (0, 1)))"
        in (ran.stdout)
    )
    assert "torch: x = F.pad(x, (0, 1, 1, 1))" in ran.stdout


@pytest.mark.parametrize("padding", ["1:1,0:1", "same", "same_upper"])
def test_all_right_is_status_0(tmp_path: Path, padding: str) -> None:
    file = saved(tmp_path, x=X, w=W, a=KERAS, b=KERAS)
    ran = judged(file, "--stride", "2,2", "--padding", padding, "--json", "-")
    assert ran.exit_code == 0
    assert json.loads(ran.stdout)["right"] == ["a", "b"]


def test_a_padding_of_one_number_an_axis(tmp_path: Path) -> None:
    answer = NUMPY.cross_correlate(X, W, padding=(0, 2), dilation=(1, 2))
    file = saved(tmp_path, x=X, w=W, a=answer, b=answer)
    assert judged(file, "--padding", "0,2", "--dilation", "1,2").exit_code == 0


def test_gradients_biases_and_transposed(tmp_path: Path) -> None:
    dx = NUMPY.cross_correlate_vjp(X, W, None, KERAS, stride=2, padding="same")[0]
    file = saved(tmp_path, x=X, w=W, dy=KERAS, a=dx, b=dx)
    assert judged(file, "--stride", "2", "--padding", "same", "--direction", "input gradient").exit_code == 0
    bias = np.float32([1, 2, 3])
    y = NUMPY.conv_transpose(KERAS, W, bias, stride=2, output_padding=1)
    file = saved(tmp_path, x=KERAS, w=W, bias=bias, a=y, b=y)
    words = ("--stride", "2", "--direction", "conv_transpose", "--output-padding")
    assert judged(file, *words, "1").exit_code == 0
    assert judged(file, *words, "0").exit_code == 1


def test_bad_files_end_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("x = 1")
    (tmp_path / "zip.npz").write_bytes(b"PK\x03\x04" + b"\0" * 60)
    np.save(tmp_path / "one.npy", X)
    hostile = np.array([print], object)
    for words, said in {
        (str(tmp_path / "missing.npz"),): "there is no file ",
        (str(tmp_path),): "is a folder, not a file",
        (str(tmp_path / "text.npz"),): "is not a valid .npz file of arrays",
        (str(tmp_path / "zip.npz"),): "is not a valid .npz file of arrays",
        (str(tmp_path / "one.npy"),): "has a single array",
        (saved(tmp_path, x=X, w=W, a=hostile, b=KERAS),): "has an array of Python objects, which is not read",
    }.items():
        ran = judged(*words)
        assert (ran.exit_code, ran.stdout) == (2, ""), words
        assert said in ran.stderr


@pytest.mark.parametrize(
    ("arrays", "words", "said"),
    [
        ({"w": W, "a": KERAS, "b": KERAS}, (), "there is no array x: it has a, b"),
        ({"x": X, "a": KERAS, "b": KERAS}, (), "there is no array w"),
        ({"x": X, "w": W, "a": KERAS}, (), "at least two answers are needed"),
        ({"x": X, "w": W}, (), "it has none"),
        ({"x": X[0], "w": W, "a": KERAS, "b": KERAS}, (), "x must have 4 axes"),
        ({"x": X, "w": W, "a": KERAS, "b": KERAS}, ("--groups", "0"), "groups must be at least 1, not 0"),
        ({"x": X, "w": W, "a": KERAS, "b": KERAS}, ("--stride", "2.5"), "'2.5' is not a number"),
        ({"x": X, "w": W, "a": KERAS, "b": KERAS}, ("--padding", "1:"), "'1:' is not a number"),
        ({"x": X, "w": W, "a": KERAS, "b": KERAS}, ("--direction", "kernel gradient"), "needs dy"),
    ],
)
def test_bad_arrays_end_in_one_sentence(tmp_path: Path, arrays: Any, words: tuple[str, ...], said: str) -> None:
    ran = judged(saved(tmp_path, **arrays), *words)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert said in ran.stderr
