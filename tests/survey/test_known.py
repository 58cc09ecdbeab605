"""Known faults: each has the oracle's value, is here as recorded, and multiconv is right or refuses."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import ROOT

import multiconv as mc
from multiconv.cli.main import main
from multiconv.survey import known_catalogue, known_pages, known_runs
from multiconv.survey.framework_scripts import Ended
from multiconv.survey.known import Fault, Handling, Operand, Reported, Right
from multiconv.survey.known_runs import Handled, Here, Tried, as_verdict, through_multiconv

pytestmark = pytest.mark.xdist_group("known")  # so that what takes long is done in one process

CATALOGUE = known_catalogue.catalogue()
EACH = [pytest.param(fault, id=fault.id) for fault in CATALOGUE]
WITH_VALUES = [pytest.param(fault, id=fault.id) for fault in CATALOGUE if not fault.right.error]
WITH_SCRIPTS = [pytest.param(fault, id=fault.id) for fault in CATALOGUE if fault.script]
# Which backends lack the dtype, and so may refuse what the catalogue says is right.
WITHOUT = {"bfloat16": {"numpy", "mxnet"}}


@pytest.fixture(scope="module")
def tried() -> dict[str, Tried]:
    places, missing = known_runs.locate([])
    assert not missing
    return {t.fault.id: t for t in known_runs.run(CATALOGUE, places)}


# ---- The catalogue


def test_there_are_at_least_forty_of_many_projects_and_directions() -> None:
    assert len(CATALOGUE) >= 40
    assert len({fault.id for fault in CATALOGUE}) == len(CATALOGUE)
    assert len({fault.source.partition("#")[0] for fault in CATALOGUE}) >= 10
    assert Counter(fault.direction for fault in CATALOGUE).keys() >= {
        "forward", "input gradient", "kernel gradient", "bias gradient", "convolve", "conv_transpose",
    }  # fmt: skip


@pytest.mark.parametrize("fault", EACH)
def test_the_entry_is_whole(fault: Fault) -> None:
    project, _, number = fault.source.partition("#")
    assert project
    assert re.fullmatch(rf"https://github\.com/[\w.-]+/[\w.-]+/(issues|pull)/{number}", fault.link)
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", fault.date)
    assert all((fault.title, fault.versions, fault.device, fault.seen, fault.right.how))
    assert bool(fault.framework) == bool(fault.script) == bool(fault.here) == bool(fault.version)
    assert bool(fault.multiconv.refusal) == (fault.multiconv.does == "refuses")
    assert (fault.multiconv.does == "is right") == (not fault.right.error)


@pytest.mark.parametrize("fault", WITH_SCRIPTS)
def test_the_script_is_in_the_frameworks_own_api(fault: Fault) -> None:
    imported = {
        name.name.partition(".")[0]
        for node in ast.walk(ast.parse(fault.whole_script))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (node.names if isinstance(node, ast.Import) else [ast.alias(node.module or "")])
    }
    assert "multiconv" not in imported
    assert imported & {fault.framework, "flax", "keras"} or fault.framework == "numpy"
    assert max(map(len, fault.script.splitlines())) <= 120


@pytest.mark.parametrize("fault", WITH_VALUES)
def test_the_value_of_the_report_is_that_of_the_oracle(fault: Fault) -> None:
    assert fault.value is not None
    assert fault.right.differs_from(fault.value) is None
    right = fault.right
    assert right.values or right.constant is not None or right.sum is not None or 0 in right.shape


@pytest.mark.parametrize("fault", WITH_VALUES)
def test_another_value_does_not_agree_with_the_oracle(fault: Fault) -> None:
    assert fault.value is not None
    assert fault.right.differs_from(fault.value[None]) is not None
    if fault.value.size:
        wrong = fault.value.copy()
        wrong.flat[0] += 1
        assert fault.right.differs_from(wrong) is not None


def test_each_kind_of_right_value_is_compared() -> None:
    array = np.array([1, 2, 3])
    assert Right("", shape=(3,), values=(1, 2, 3)).differs_from(array) is None
    assert Right("", shape=(3,), values=(1, 2, 4)).differs_from(array) == "the values are [1, 2, 4], not [1, 2, 3]"
    assert Right("", shape=(3,), constant=1).differs_from(array) == "each value is 1, not one of [1, 2, 3]"
    assert Right("", shape=(3,), sum=7).differs_from(array) == "the sum is 7, not 6"
    assert Right("", shape=(3,), at=(((1,), 5),)).differs_from(array) == "element [1] is 5, not 2"
    assert Right("", shape=(2,)).differs_from(array) == "the shape is (2,), not (3,)"


@pytest.mark.parametrize("values", ["zeros", "ones", "count", "cycle 5", (3, 1, 4, -1, 5, 9) * 4])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_script_has_the_arrays_of_the_problem(values: Any, dtype: str) -> None:
    operand = Operand((4, 6), values)
    written = eval(operand.code(dtype), {"np": np})
    assert written.dtype == "float32"
    assert np.array_equal(written, operand.array(dtype).astype("float32"))


def test_a_kernel_that_copies_is_the_identity() -> None:
    operand = Operand((3, 3, 1, 1), "eye")
    assert np.array_equal(operand.array("float32"), eval(operand.code("float32"), {"np": np}))
    assert np.array_equal(operand.array("float32")[:, :, 0, 0], np.eye(3))


def test_the_page_is_that_of_the_catalogue() -> None:
    page = (ROOT / "docs" / "known.md").read_text(encoding="utf-8")
    assert page == known_pages.as_markdown(CATALOGUE), "run: multiconv known --markdown docs/known.md"


# ---- Tried here


@pytest.mark.parametrize("fault", WITH_SCRIPTS)
def test_the_script_ends_as_recorded(fault: Fault, tried: dict[str, Tried]) -> None:
    t = tried[fault.id]
    ((name, here),) = t.here.items()
    assert name == fault.framework
    assert not t.changed, f"{t.describe()}\n{here.stderr}"
    assert here.version.partition("+")[0] == fault.version, "recorded with another version: update the catalogue"


@pytest.mark.parametrize("fault", EACH)
def test_multiconv_is_right_or_refuses(fault: Fault, tried: dict[str, Tried]) -> None:
    handled = tried[fault.id].multiconv
    if fault.multiconv.does == "never meets it":
        assert not handled
        return
    assert set(handled) == set(mc.registry.ORDER)
    for name, h in handled.items():
        if fault.multiconv.does == "refuses":
            assert h.verdict == "refuses", (name, h)
            assert fault.multiconv.refusal in h.words
        elif name in WITHOUT.get(fault.dtype, ()):
            assert h.verdict == "refuses", (name, h)
            assert f"which the {name} backend does not compute" in h.words
        else:
            assert h.verdict == "right", (name, h)


# ---- Verdicts

WRONG_VALUES = known_catalogue.select(["pytorch-18948"])[0]  # 3 is right, and 1 was reported
CRASH = known_catalogue.select(["mxnet-19921"])[0]  # an error is right
WRONG_SHAPE = known_catalogue.select(["jax-17618"])[0]  # (1, 3, 20, 20) of 2 is right, (1, 3, 14, 14) was reported
RAISES = known_catalogue.select(["pytorch-13008"])[0]
NO_ERROR = known_catalogue.select(["numpy-20090"])[0]


def answered(*shape: int, value: float = 1.0) -> str:
    return json.dumps({"shape": shape, "values": [value] * int(np.prod(shape))})


@pytest.mark.parametrize(
    ("fault", "outcome", "verdict"),
    [
        (WRONG_VALUES, answered(1, 1, 1, 1, value=3), "right"),
        (WRONG_VALUES, "a warning\n" + answered(1, 1, 1, 1, value=3), "right"),
        (WRONG_VALUES, answered(1, 1, 1, 1, value=1), "as reported"),
        (WRONG_VALUES, answered(1, 1, 1, 1, value=2), "other wrong"),
        (WRONG_VALUES, answered(1, 1, 1, value=1), "other wrong"),
        (WRONG_VALUES, '{"shape": [1, 1, 1, 1], "values": [NaN]}', "other wrong"),
        (WRONG_VALUES, "raises RuntimeError", "refused"),
        (WRONG_VALUES, "killed by SIGSEGV", "crashes"),
        (WRONG_VALUES, "exit status 3", "crashes"),
        (WRONG_VALUES, "", "crashes"),
        (WRONG_SHAPE, answered(1, 3, 20, 20, value=2), "right"),
        (WRONG_SHAPE, answered(1, 3, 14, 14), "as reported"),
        (WRONG_SHAPE, answered(1, 3, 20, 20, value=1), "other wrong"),
        (WRONG_SHAPE, answered(1, 3, 13, 13), "other wrong"),
        (RAISES, "raises ValueError", "as reported"),
        (RAISES, answered(1, 1, 5, 5), "other wrong"),
        (CRASH, "killed by SIGFPE", "as reported"),
        (CRASH, "raises MXNetError", "refused"),
        (CRASH, answered(1, 1, 1), "other wrong"),
        (NO_ERROR, '{"shape": [1, 1, 5], "values": [11, 9, 7, 5, 3]}', "as reported"),
        (NO_ERROR, '{"shape": [1, 1, 5], "values": [3, 5, 7, 9, 11]}', "other wrong"),
        (NO_ERROR, "raises ValueError", "refused"),
    ],
)
def test_a_verdict_compares_with_the_right_result_and_the_report(fault: Fault, outcome: str, verdict: str) -> None:
    assert as_verdict(fault, Ended(outcome, "")).verdict == verdict


def stub(cross_correlate: Callable[..., Any]) -> Any:
    return SimpleNamespace(cross_correlate=cross_correlate, to_numpy=np.asarray)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (mc.ConvError("no"), "refuses"),
        (mc.BackendCrashed("gone"), "crashes"),
        (mc.BackendTimeout("late"), "crashes"),
        (mc.BackendError("no"), "fails"),
        (TypeError("no"), "fails"),
    ],
)
def test_what_multiconv_raises_is_told_apart(error: Exception, verdict: str) -> None:
    def raises(*arrays: Any, **options: Any) -> Any:
        raise error

    handled = through_multiconv(WRONG_VALUES, stub(raises))
    assert handled.verdict == verdict
    assert str(error) in handled.words
    assert Tried(WRONG_VALUES, {}, {"stub": handled}).wrong == ["stub"] * (verdict != "refuses")


def test_a_wrong_answer_of_multiconv_is_found() -> None:
    numpy = mc.backend("numpy")
    off_by_one = stub(lambda *arrays, **options: numpy.cross_correlate(*arrays, **options) + 1)
    handled = through_multiconv(WRONG_VALUES, off_by_one)
    assert handled.verdict == "wrong"
    assert "element [0, 0, 0, 0] is 4.0, but 3.0 is right" in handled.words
    accepted = replace(WRONG_VALUES, right=Right("it must be refused", error=True))
    assert (
        through_multiconv(accepted, off_by_one).words == "it answers with shape [1, 1, 1, 1], where an error is right"
    )


def test_a_change_says_what_was_and_what_is() -> None:
    t = Tried(WRONG_VALUES, {"torch@9.9": Here("9.9", "as reported", "1")}, {"torch@9.9": Handled("wrong", "it is 1")})
    assert t.describe() == [
        f"fault pytorch-18948 changed: was 'right' with torch {WRONG_VALUES.version}, "
        "is 'as reported' with torch@9.9 9.9 (1)",
        "multiconv's torch@9.9 on pytorch-18948: it is 1",
    ]


# ---- Files

GOOD = """
framework = "numpy"
version = "2.4.6"
[faults.mine]
source = "mine#1"
date = "2026-01-01"
title = "A sum of two ones"
link = "https://github.com/me/mine/issues/1"
versions = "1"
device = "CPU"
seen = "3"
x = { shape = [1, 1, 2] }
w = { shape = [1, 1, 2] }
right = { how = "1 + 1", shape = [1, 1, 1], values = [2] }
reported = { kind = "values", values = [3] }
multiconv = { does = "is right" }
here = "right"
script = "answer = np.correlate(x[0, 0], w[0, 0])[None, None]"
"""


def command(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["known", *arguments])


def test_a_catalogue_of_ones_own_is_run(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(GOOD)
    ran = command("--catalogue", str(file), "numpy", "--run", "--json", "-")
    assert ran.exit_code == 0, ran.output
    (fault,) = json.loads(ran.stdout)["faults"]
    assert fault["tried"]["here"]["numpy"]["verdict"] == "right"
    assert fault["tried"]["multiconv"] == {"numpy": {"verdict": "right", "words": ""}}


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('here = "right"', 'here = "as reported"', "fault mine changed: was 'as reported' with numpy 2.4.6"),
        ("np.correlate", "1 + np.correlate", "fault mine changed: was 'right' with numpy 2.4.6, is 'as reported'"),
        ("answer =", "import os; os.abort(); answer =", "is 'crashes' with numpy"),
        ("values = [2] }", "error = true }", "it answers with shape [1, 1, 1], where an error is right"),
    ],
)
def test_an_injected_change_ends_with_1(old: str, new: str, line: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    assert old in GOOD
    file.write_text(GOOD.replace(old, new, 1))
    ran = command("--catalogue", str(file), "numpy", "--run")
    assert ran.exit_code == 1, ran.output
    assert line in ran.stdout


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"numpy"', '"numpy', "is not TOML: Illegal character"),
        ("[faults.mine]", "[fault.mine]", "'fault' is not a key of a catalogue; the keys are framework, version"),
        ('date = "2026-01-01"', "", "fault mine: 'date' is missing"),
        ("seen", "sean", "fault mine: 'sean' is not a key (did you mean 'seen'?)"),
        ("x = {", "x = 3 # {", "fault mine: 'x' must be a table, not 3"),
        ("x = { shape", "x = { shapes", "fault mine: 'x.shapes' is not a key (did you mean 'shape'?)"),
        ('kind = "values"', 'kind = "value"', "reported.kind must not be 'value' (did you mean 'values'?)"),
        ('does = "is right"', 'does = "is fine"', "multiconv.does must not be 'is fine'"),
        ('here = "right"', 'here = "rihgt"', "here must not be 'rihgt' (did you mean 'right'?)"),
        ('here = "right"', 'here = "right"\ndirection = "back"', "direction must not be 'back'"),
        ('framework = "numpy"', 'framework = "caffe"', "framework must not be 'caffe'"),
        (
            "x = { shape = [1, 1, 2]",
            'x = { shape = [1, 1, 2], values = "two"',
            "x.values must be integers, 'cycle N' or one of",
        ),
        ("x = { shape = [1, 1, 2]", 'x = { shape = [1, 2, 2], values = "eye"', "x is not square, which 'eye' needs"),
        ("x = { shape = [1, 1, 2]", "x = { shape = [1, 1, 2], values = [1]", "x has 1 values for the shape (1, 1, 2)"),
        ("x = { shape = [1, 1, 2]", "x = { shape = [1, 1, 1]", "the kernel is larger than the padded input"),
        ("x = { shape = [1, 1, 2]", 'x = { shape = "big"', "fault mine: "),
        ("reported =", "options = { strides = 2 }\nreported =", "fault mine: "),
        ("[faults.mine]", "faults = 3\n[mine]", "is not a key of a catalogue"),
        (GOOD, "", "it has no table [faults]"),
    ],
)
def test_a_bad_file_ends_in_one_sentence(old: str, new: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    assert old in GOOD
    file.write_text(GOOD.replace(old, new, 1))
    ran = command("--catalogue", str(file))
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "Traceback" not in ran.stderr
    assert f"Error: {file}" in ran.stderr
    assert sentence in ran.stderr


# ---- The command


def test_the_command_lists_them_without_running_any() -> None:
    ran = command()
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert all(fault.id in ran.stdout for fault in CATALOGUE)


def test_the_command_shows_one_whole() -> None:
    ran = command("pytorch-18948")
    assert ran.exit_code == 0
    for part in (WRONG_VALUES.title, WRONG_VALUES.whole_script, WRONG_VALUES.seen, WRONG_VALUES.right.how):
        assert part in ran.stdout


def test_the_command_runs_one_backend_and_ends_in_a_table() -> None:
    ran = command("numpy", "--run")
    assert ran.exit_code == 0, ran.output
    assert re.search(r"(?m)^numpy-20090 +as reported \(numpy [\d.]+\) +refuses on numpy *$", ran.stdout)
    assert re.search(r"(?m)^mlx-833 +no such framework here +right on numpy *$", ran.stdout)
    assert "pytorch-18948" not in ran.stdout
    assert ran.stdout.splitlines()[-1].endswith("0 changed. multiconv: 29 right, 5 refused, 0 wrong.")


def test_a_framework_and_a_backend_are_the_same() -> None:
    assert command("--framework", "mxnet").stdout == command("mxnet").stdout
    assert "mxnet-11203" in command("mxnet").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pytorch-18984",), "no known fault and no backend 'pytorch-18984' (did you mean 'pytorch-18948'?)"),
        (("torhc",), "there is no known fault and no backend 'torhc' (did you mean 'torch'?)"),
        (("--framework", "caffe"), "there is no backend 'caffe'"),
        (("torch@2.5.1",), "torch@2.5.1 names a place to try the faults in, which needs --run"),
        (("--json", "/nowhere/known.json"), "can't be written to"),
        (("--catalogue", "/nowhere/known.toml"), "/nowhere/known.toml can't be read: No such file or directory"),
    ],
)
def test_bad_usage_ends_with_2(arguments: tuple[str, ...], words: str) -> None:
    ran = command(*arguments)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert words in ran.stderr


def test_a_backend_that_was_named_and_is_not_available_ends_with_3(tmp_path: Path) -> None:
    environment = {**os.environ, "MULTICONV_HOME": str(tmp_path)}
    line = [sys.executable, "-m", "multiconv", "known", "--run", "torch@9.9.9"]
    ran = subprocess.run(line, capture_output=True, text=True, env=environment, timeout=120)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert "multiconv env create torch@9.9.9" in ran.stderr


def test_a_backend_that_is_missing_is_left_out_with_its_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MULTICONV_HOME", str(tmp_path))
    monkeypatch.delenv("MULTICONV_MXNET_PYTHON", raising=False)
    places, missing = known_runs.locate([])
    assert "mxnet" not in places
    assert "multiconv env create mxnet" in missing["mxnet"]


def test_handling_is_described_in_one_sentence() -> None:
    assert Handling("is right", how="it pads by hand").describe() == "multiconv is right: it pads by hand."
    assert Handling("never meets it", how="no such option").describe() == "multiconv never meets it: no such option."
    assert Reported("crash").values == ()
