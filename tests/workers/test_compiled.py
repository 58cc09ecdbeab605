"""What frameworks have compiled is kept for the next check, within limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multiconv import registry
from multiconv.core.spec import ConvSpec
from multiconv.testing.problem_values import given_values
from multiconv.workers import compile_cache
from multiconv.workers.compile_cache import JAX, TENSORFLOW


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MULTICONV_HOME", str(tmp_path))
    for variable in (JAX, TENSORFLOW):
        monkeypatch.delenv(variable, raising=False)


def folder(name: str, version: str | None = None) -> Path:
    (value,) = (v for k, v in compile_cache.environment(name, version).items() if k in (JAX, TENSORFLOW))
    return Path(value.removeprefix("--tf_xla_persistent_cache_directory="))


@pytest.mark.parametrize(("name", "entries"), [("jax", "*-cache"), ("tensorflow", "*.pb")])
def test_two_workers_compile_once(name: str, entries: str) -> None:
    """Keras compiles a convolution with groups."""
    version = registry.locate(name).version
    problem = given_values("groups", ConvSpec(groups=2), np.ones((1, 4, 3, 3), "f"), np.ones((2, 2, 2, 2), "f"))
    kept = []
    for _ in range(2):
        worker = registry.new_worker(name, 60, compile_cache.environment(name, version))
        assert not any(isinstance(answer, Exception) for _, answer in problem.answers(worker))
        worker.close()
        kept.append({path: path.stat().st_mtime_ns for path in folder(name, version).glob(entries)})
    assert kept[0]
    assert kept[1] == kept[0]


def test_the_cache_is_warm_once_something_is_compiled() -> None:
    assert not compile_cache.is_warm(compile_cache.environment("jax"))
    worker = registry.new_worker("jax", 60, compile_cache.environment("jax"))
    worker.cross_correlate(np.ones((1, 1, 3), "f"), np.ones((1, 1, 2), "f"))
    worker.close()
    assert compile_cache.is_warm(compile_cache.environment("jax"))


@pytest.mark.parametrize(("name", "variable"), [("jax", JAX), ("tensorflow", TENSORFLOW)])
def test_the_callers_own_place_is_left_alone(name: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "/elsewhere")
    assert compile_cache.environment(name, "1.0") == {}


@pytest.mark.parametrize("name", ["jax", "tensorflow"])
def test_another_processor_has_a_folder_of_its_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = folder(name, "1.0")
    monkeypatch.setattr(compile_cache, "_processor", lambda: "flags: avx1024")
    assert folder(name, "1.0") != here


def test_another_tensorflow_has_a_folder_of_its_own_and_an_unknown_one_none() -> None:
    """TensorFlow does not compare versions itself."""
    assert folder("tensorflow", "2.18.1") != folder("tensorflow@2.21.0", "2.21.0") == folder("tensorflow", "2.21.0")
    assert compile_cache.environment("tensorflow") == {}


@pytest.mark.parametrize("name", ["numpy", "torch", "mxnet"])
def test_frameworks_that_compile_nothing_keep_nothing(name: str) -> None:
    assert compile_cache.environment(name, "1.0") == {}


def test_it_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    here = folder("jax")
    here.mkdir(parents=True)
    (here / "entry").write_bytes(b"12345")
    monkeypatch.setattr(compile_cache, "LARGEST", 5)
    compile_cache.environment("jax")
    assert (here / "entry").exists()
    monkeypatch.setattr(compile_cache, "LARGEST", 4)
    compile_cache.environment("jax")
    assert not here.exists()
