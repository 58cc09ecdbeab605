"""The command line, as a shell sees it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from multiconv.cli.main import main
from multiconv.oracle.values import ALL_VALUES
from multiconv.testing.levels import FACTORS


def multiconv(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "multiconv", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=300)


def test_a_check_prints_a_table_writes_json_and_draws_nothing_where_there_is_no_terminal(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    ran = multiconv("check", "numpy", "--examples", "5", "--json", str(file))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.search(r"^numpy +2\.\S+ +Python \S+, \S+ +\d+ +(\d+) of \1 +[01]\.\d+ +agrees", ran.stdout, re.MULTILINE)
    assert "\x1b" not in ran.stdout
    assert json.loads(file.read_text())["agrees"] is True


def test_json_on_standard_output_is_alone_there() -> None:
    ran = multiconv("check", "numpy", "--examples", "3", "--seed", "5", "--dtype", "float64", "--json", "-")
    report = json.loads(ran.stdout)
    assert ran.returncode == 0
    assert (report["schema"], report["seed"], report["dtypes"]) == (1, 5, ["float64"])
    (numpy,) = report["backends"]
    assert (numpy["name"], numpy["verdict"], numpy["disagreements"]) == ("numpy", "agrees", [])
    assert numpy["python"] == sys.version.split()[0]
    assert "numpy" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("check", "caffe"), "there is no backend 'caffe': the backends are numpy, torch, jax, tensorflow, mxnet"),
        (("check", "torhc"), "there is no backend 'torhc' (did you mean 'torch'?)"),
        (("check", "torch@"), "'torch@' has no version after the @, as in torch@1.2.3, and no path"),
        (("check", "numpy", "--dtype", "bfloat16"), "numpy does not compute in bfloat16: it has float32, float64"),
        (
            ("check", "--candidate", "conv"),
            "--candidate must be package.module:function or path/file.py:function, not 'conv'",
        ),
        (("bench", "caffe"), "there is no backend 'caffe'"),
        (("bench", "numpy+fast"), "a variant is written as numpy+NAME=VALUE, not as 'numpy+fast'"),
        (("bench", "--set", "resnet5"), "not 'resnet5' (did you mean 'resnet50'?)"),
        (("capabilities", "keers"), "there is no backend 'keers'"),
        (("dispatch", "jaxx"), "there is no backend 'jaxx' (did you mean 'jax'?)"),
        (("properties", "jaxx"), "there is no backend 'jaxx' (did you mean 'jax'?)"),
        (("quirks", "--framework", "mxnt"), "there is no backend 'mxnt' (did you mean 'mxnet'?)"),
        (("known", "--framework", "mxnt"), "there is no backend 'mxnt' (did you mean 'mxnet'?)"),
        (("lesson", "run", "paddng"), "there is no lesson 'paddng' (did you mean 'padding-and-stride'?)"),
        (("lesson", "export", "channel", "-o", "x.ipynb"), "there is no lesson 'channel' (did you mean 'channels'?)"),
        (
            ("env", "create", "caffe"),
            "multiconv can't create an environment for 'caffe': it can make those of numpy, torch",
        ),
        (("env", "create", "torhc"), "multiconv can't create an environment for 'torhc' (did you mean 'torch'?)"),
        (("check", "--examples", "-1"), "-1 is not in the range"),
        (("check", "--examples", "many"), "'many' is not a valid integer"),
        (("check", "--dtype", "int8"), "'int8' is not one of"),
        (("check", "--timeout", "0"), "0.0 is not in the range"),
        (("check", "numpy", "--json", "/nowhere/report.json"), "can't be written to"),
        (("check", "numpy", "--json", "/"), "can't be written to"),
        (("chekc",), "No such command"),
    ],
)
def test_bad_usage_exits_with_2_and_says_why(arguments: tuple[str, ...], words: str) -> None:
    ran = multiconv(*arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("check", "torch@9.9.9"), "multiconv env create torch@9.9.9"),
        (("check", "torch@/nowhere/python"), "torch can't run in /nowhere/python: No such file or directory"),
        (("check", "torch@/bin/ls"), "it is not a working Python interpreter"),
        (("env", "remove", "jax@0.0.1"), "jax@0.0.1"),
    ],
)
def test_what_cannot_be_had_exits_with_3_and_says_what_to_type(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    ran = multiconv(*arguments, MULTICONV_HOME=str(tmp_path))
    assert (ran.returncode, ran.stdout) == (3, "")
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr


def test_backends_lists_the_five_with_dtypes_and_devices() -> None:
    ran = multiconv("backends", "--probe", "--json", "-")
    listed = {b["name"]: b for b in json.loads(ran.stdout)["backends"]}
    assert ran.returncode == 0
    assert list(listed)[:5] == ["numpy", "torch", "jax", "tensorflow", "mxnet"]
    for backend in list(listed.values())[:5]:
        assert backend["reason"] is None
        assert set(backend["dtypes"]) >= {"float32", "float64"}
        assert any("cpu" in device for device in backend["devices"])
    assert listed["mxnet"]["version"] == "1.9.1"


def test_backends_are_listed_from_what_is_installed_and_loads_none() -> None:
    script = """
import sys
from click.testing import CliRunner
from multiconv.cli.main import main
from multiconv.oracle.values import ALL_VALUES
from multiconv.testing.levels import FACTORS
ran = CliRunner().invoke(main, ["backends"])
print(ran.output)
assert ran.exit_code == 0
assert not {"torch", "jax", "tensorflow", "mxnet"} & set(sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    for name in ("numpy", "torch", "jax", "tensorflow", "mxnet"):
        assert re.search(rf"^{name} +\d", ran.stdout, re.MULTILINE)
    assert "dtypes" not in ran.stdout


@pytest.mark.parametrize("name", ["np", "NumPy"])
def test_an_alias_is_taken_for_the_name(name: str) -> None:
    ran = multiconv("check", name, "--examples", "0", "--json", "-")
    assert [b["name"] for b in json.loads(ran.stdout)["backends"]] == ["numpy"]


COMMANDS = [
    (), ("check",), ("bench",), ("backends",), ("env",), ("env", "create"), ("env", "list"), ("env", "remove"),
    ("quirks",), ("known",), ("capabilities",), ("properties",), ("dispatch",), ("lesson",), ("lesson", "list"),
    ("lesson", "run"), ("lesson", "export"), ("describe-kernel",), ("explain",), ("identify",), ("judge",),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_help_fits_eighty_columns_and_no_summary_is_cut(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*command, "--help"], terminal_width=80)
    assert shown.exit_code == 0
    assert max(map(len, shown.output.splitlines())) <= 80
    assert "..." not in shown.output.replace("]...", "").replace("[ARGS]...", "")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_option_is_explained_in_one_line(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*command, "--help"], terminal_width=80).output
    options = shown.partition("\nOptions:\n")[2].partition("\n\n")[0].splitlines()
    assert options
    for line in options:
        assert re.match(r"  -.*\S  +\S", line), f"this continues an option, or explains none: {line}"


def test_the_help_of_check_names_every_dtype_and_kind_of_values() -> None:
    shown = set(re.findall(r"\w+", CliRunner().invoke(main, ["check", "--help"], terminal_width=80).output))
    assert shown >= {*ALL_VALUES, *FACTORS["dtype"]}


def test_json_means_a_file_or_standard_output_in_every_command(tmp_path: Path) -> None:
    for command in (
        ["backends"],
        ["env", "list"],
        ["quirks", "int8-wraps"],
        ["known", "mlx-548"],
        ["describe-kernel", "[1, 2]"],
    ):
        file = tmp_path / "x.json"
        to_file = CliRunner().invoke(main, [*command, "--json", str(file)])
        alone = CliRunner().invoke(main, [*command, "--json", "-"])
        assert to_file.exit_code == alone.exit_code == 0
        assert json.loads(file.read_text()) == json.loads(alone.stdout)
        assert to_file.stdout
        assert not to_file.stdout.lstrip().startswith("{")


def test_backends_says_how_to_get_one_that_is_missing(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "MULTICONV_MXNET_PYTHON"}
    command = [sys.executable, "-m", "multiconv", "backends"]
    environment["MULTICONV_HOME"] = str(tmp_path)
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert ran.returncode == 0
    assert "multiconv env create mxnet" in ran.stdout


def test_environments_are_listed_where_there_are_none(tmp_path: Path) -> None:
    ran = multiconv("env", "list", MULTICONV_HOME=str(tmp_path))
    assert ran.returncode == 0
    assert f"There are no environments in {tmp_path}. Create one with: multiconv env create mxnet" in ran.stdout
    assert (
        json.loads(multiconv("env", "list", "--json", "-", MULTICONV_HOME=str(tmp_path)).stdout)["environments"] == []
    )


def test_a_kernel_is_described_in_words_and_in_json() -> None:
    ran = multiconv("describe-kernel", "[[-1,0,1],[-2,0,2],[-1,0,1]]")
    assert ran.returncode == 0
    assert "first derivative from left to right" in ran.stdout.splitlines()[0]
    assert re.search(r"(?m)^DC gain +0 *$", ran.stdout)
    ran = multiconv("describe-kernel", "[[1/9,1/9,1/9],[1/9,1/9,1/9],[1/9,1/9,1/9]]", "--json", "-")
    described = json.loads(ran.stdout)
    assert (described["band"], described["smoothing"], described["dc_gain"]) == ("low-pass", True, 1)
    assert "low-pass" in ran.stderr


@pytest.mark.parametrize("text", ["", "[]", "[[1,2],[3]]", "[[[1]]]", "Sobel", "[[1, NaN]]", "[[1,"])
def test_what_is_no_kernel_is_refused(text: str) -> None:
    ran = multiconv("describe-kernel", text)
    assert ran.returncode == 2
    assert "Error: " in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("multiconv check to", "torch"),
        ("multiconv bench --set resn", "resnet50"),
        ("multiconv lesson run padd", "padding-and-stride"),
        ("multiconv quirks int8-w", "int8-wraps"),
        ("multiconv known numpy-6", "numpy-6316"),
        ("multiconv capab", "capabilities"),
    ],
)
def test_the_shell_completes_names(typed: str, completed: str) -> None:
    words = {"_MULTICONV_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    ran = CliRunner().invoke(main, prog_name="multiconv", env=words)
    assert ran.output.splitlines() == [f"plain,{completed}"]
