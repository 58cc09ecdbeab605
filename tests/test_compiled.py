"""What JAX has compiled is kept for the next check, within limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from multiconv import compiled, registry
from multiconv.compiled import VARIABLE
from multiconv.drawing import draw_problems


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MULTICONV_HOME", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)


def test_jax_compiles_once_for_two_workers(tmp_path: Path) -> None:
    (problem,) = draw_problems(1, 0, ("float32",))
    kept = []
    for _ in range(2):
        worker = registry.new_worker("jax", 60, compiled.environment())
        assert not any(isinstance(answer, Exception) for _, answer in problem.answers(worker))
        worker.close()
        kept.append({path.name for path in Path(compiled.environment()[VARIABLE]).glob("*-cache")})
    assert kept[0]
    assert kept[1] == kept[0]


def test_the_callers_own_place_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/elsewhere")
    assert compiled.environment() == {}


def test_another_processor_has_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    here = compiled.environment()[VARIABLE]
    monkeypatch.setattr(compiled, "_processor", lambda: "flags: avx1024")
    assert compiled.environment()[VARIABLE] != here


def test_it_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(compiled.environment()[VARIABLE])
    folder.mkdir(parents=True)
    (folder / "entry").write_bytes(b"12345")
    monkeypatch.setattr(compiled, "LARGEST", 5)
    compiled.environment()
    assert (folder / "entry").exists()
    monkeypatch.setattr(compiled, "LARGEST", 4)
    compiled.environment()
    assert not folder.exists()
