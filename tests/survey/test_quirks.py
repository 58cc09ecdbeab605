"""The catalogue of quirks: each script still comes out as it says, and multiconv passes none of them on."""

from __future__ import annotations

import ast
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT

import multiconv as mc
from multiconv import registry
from multiconv.oracle.judgement import judge
from multiconv.oracle.problem import DIRECTIONS
from multiconv.oracle.values import seeded
from multiconv.survey import framework_scripts, quirks
from multiconv.survey.quirks import Found, Quirk
from multiconv.testing.problem_values import given_values

pytestmark = pytest.mark.xdist_group("quirks")  # so that what takes long is done in one process

CATALOGUE = quirks.catalogue()


def each(does: str) -> list[Any]:
    return [pytest.param(q, id=f"{q.framework}-{q.id}") for q in CATALOGUE if does in (q.multiconv.does, "anything")]


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], Found]:
    places, missing = quirks.locate(CATALOGUE)
    assert not missing
    return {(f.quirk.framework, f.quirk.id): f for f in quirks.run(CATALOGUE, places)}


@pytest.fixture(scope="module")
def workers() -> Iterator[dict[str, Any]]:
    """All five in workers, so that what would kill a process is an exception."""
    made = {name: registry.new_worker(name, 60, {}) for name in registry.ORDER}
    yield made
    for worker in made.values():
        worker.close()


# ---- The catalogue


@pytest.mark.parametrize("quirk", each("anything"))
def test_the_script_comes_out_as_the_catalogue_says(quirk: Quirk, found: dict[tuple[str, str], Found]) -> None:
    here = found[quirk.framework, quirk.id]
    assert not here.changed, f"{here.describe()}\n{here.stderr}"
    assert here.version.partition("+")[0] == quirk.version, "measured with another version: update the catalogue"


@pytest.mark.parametrize("quirk", each("anything"))
def test_the_entry_is_whole(quirk: Quirk) -> None:
    imported = {
        name.name.partition(".")[0]
        for node in ast.walk(ast.parse(quirk.script))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (node.names if isinstance(node, ast.Import) else [ast.alias(node.module or "")])
    }
    assert "multiconv" not in imported
    assert imported & {quirk.framework, "flax"}
    lines = quirk.script.splitlines()
    assert len(lines) <= 15
    assert max(map(len, lines)) <= 120
    assert all((quirk.title, quirk.kind, quirk.expected, quirk.comes, quirk.outcome))
    instead = quirk.multiconv
    assert instead.does in ("refuses", "is right", "never meets it")
    assert instead.direction in DIRECTIONS
    assert bool(instead.refusal) == (instead.does == "refuses")
    assert instead.how or instead.does != "never meets it"


def test_there_are_at_least_thirty_and_the_page_has_them() -> None:
    assert len(CATALOGUE) >= 30
    page = (ROOT / "docs" / "quirks.md").read_text(encoding="utf-8")
    assert page == quirks.as_markdown(CATALOGUE), "run: multiconv quirks --markdown docs/quirks.md"


# ---- multiconv passes none on


@pytest.mark.parametrize("quirk", each("refuses"))
def test_multiconv_refuses_it(quirk: Quirk, workers: dict[str, Any]) -> None:
    instead = quirk.multiconv
    x, w = np.ones(instead.x, instead.dtype), np.ones(instead.w, instead.dtype)
    with pytest.raises(mc.ConvError) as refusal:
        workers[quirk.framework].cross_correlate(x, w, **instead.options)
    assert instead.refusal in str(refusal.value)


@pytest.mark.parametrize("quirk", each("is right"))
def test_multiconv_is_right(quirk: Quirk, workers: dict[str, Any]) -> None:
    instead = quirk.multiconv
    shapes = enumerate((instead.x, instead.w))
    x, w = (seeded(shape, instead.dtype, instead.values, 0, i) for i, shape in shapes)
    scale = np.array(instead.scale, instead.dtype)
    problem = given_values(quirk.id, mc.ConvSpec(**instead.options), x * scale, w)
    answer = dict(problem.answers(workers[quirk.framework], instead.direction))[instead.direction]
    assert not isinstance(answer, Exception), answer
    assert judge(answer, problem.expectations()[instead.direction]).fault is None


def test_a_nan_reaches_only_the_outputs_that_see_it(workers: dict[str, Any]) -> None:
    x, w = np.ones((16, 1, 12, 12), "float32"), np.ones((1, 1, 3, 3), "float32")
    x[0, 0, 6, 6] = np.nan
    for worker in workers.values():
        assert np.isnan(worker.to_numpy(worker.cross_correlate(x, w))).sum() == 9


def test_a_layer_leaves_the_random_generators_alone() -> None:
    import torch

    backends = [mc.backend(name) for name in ("torch", "tensorflow")]  # to import TensorFlow moves `random` too
    before = random.getstate(), torch.get_rng_state()
    for backend in backends:
        backend.layer(np.ones((1, 1, 3, 3), "float32"))
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


# ---- Running


def ends(script: str, **changes: Any) -> Found:
    quirk = replace(quirks.select(["int8-wraps"], "numpy")[0], script=script, **changes)
    (found,) = quirks.run([quirk], {"numpy": registry.locate("numpy")})
    return found


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ("print(1)\nprint(2)", "1\n2"),
        ("print(1)\n1 / 0", "1\nraises ZeroDivisionError"),
        ("raise SystemExit(3)", "raises SystemExit"),
        ("print(1)\nimport os\nos.abort()", "1\nkilled by SIGABRT"),
        ("import os\nos._exit(3)", "exit status 3"),
        ("import os\nprint(sorted(os.listdir()))", "['stderr', 'stdout']"),
    ],
)
def test_an_outcome_is_what_a_script_prints_and_how_it_ends(script: str, outcome: str) -> None:
    found = ends(script, outcome="1")
    assert found.outcome == outcome
    assert found.changed


def test_a_script_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framework_scripts, "SCRIPT_TIMEOUT", 1)
    assert ends("while True: pass").outcome == "killed by SIGALRM"


def test_a_script_does_not_see_the_callers_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    assert ends("import os\nprint(os.environ.get('JAX_ENABLE_X64'))").outcome == "None"


def test_a_change_says_what_was_and_what_is() -> None:
    found = ends("print('another')")
    assert found.describe() == (
        f"quirk int8-wraps of numpy changed: was '[64]' with {found.quirk.version}, "
        f"is 'another' with {found.version}: update the catalogue"
    )


def test_a_framework_that_cannot_be_imported_is_no_outcome(tmp_path: Path) -> None:
    place = replace(registry.locate("numpy"), python=Path(os.path.realpath(sys.executable)))
    with pytest.raises(mc.BackendCrashed, match="mxnet could not be asked"):
        quirks.run(quirks.select(framework="mxnet"), {"mxnet": place})


# ---- The command


def multiconv(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "multiconv", "quirks", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=120)


def test_the_command_lists_them_without_running_any() -> None:
    ran = multiconv()
    assert (ran.returncode, ran.stderr) == (0, "")
    assert all(q.id in ran.stdout for q in CATALOGUE)


def test_the_command_shows_one_whole() -> None:
    ran = multiconv("gradient-aborts")
    quirk = quirks.select(["gradient-aborts"])[0]
    assert ran.returncode == 0
    for part in (quirk.title, quirk.script, quirk.expected, quirk.comes, quirk.outcome, quirk.multiconv.describe()):
        assert part in ran.stdout


def test_the_command_runs_and_compares() -> None:
    ran = multiconv("--run", "--framework", "numpy", "--json", "-")
    report = json.loads(ran.stdout)
    assert ran.returncode == 0
    assert [q["here"]["changed"] for q in report["quirks"]] == [False] * 5
    assert "5 scripts were run: 5 as measured, 0 changed." in ran.stderr


CHANGED = """
import sys
from dataclasses import replace
from multiconv.cli.main import main as cli
from multiconv.survey import framework_scripts, quirks
there = quirks.catalogue()
quirks.catalogue = lambda: (replace(there[0], outcome="something else"), *there[1:])
sys.argv = ["multiconv", "quirks", "--run", "--framework", "numpy"]
cli.main()
"""


def test_the_command_ends_with_1_if_one_has_changed() -> None:
    ran = subprocess.run([sys.executable, "-c", CHANGED], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 1, ran.stderr
    assert "quirk correlate-swaps-its-arguments of numpy changed: was 'something else'" in ran.stdout
    assert "5 scripts were run: 4 as measured, 1 changed." in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("int8-warps",), "no framework has a quirk 'int8-warps' (did you mean 'int8-wraps'?)"),
        (("gradient-aborts", "--framework", "torch"), "torch has no quirk 'gradient-aborts'"),
        (("--framework", "caffe"), "there is no backend 'caffe'"),
        (("--json", "/nowhere/quirks.json"), "can't be written to"),
    ],
)
def test_bad_usage_ends_with_2(arguments: tuple[str, ...], words: str) -> None:
    ran = multiconv(*arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert words in ran.stderr


def test_a_framework_that_was_named_and_cannot_be_had_ends_with_3(tmp_path: Path) -> None:
    ran = multiconv("--run", "--framework", "torch@9.9.9", MULTICONV_HOME=str(tmp_path))
    assert (ran.returncode, ran.stdout) == (3, "")
    assert "multiconv env create torch@9.9.9" in ran.stderr
