"""No words that a user types end in a traceback: every command, with every dtype and backend, and with wrong words."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from conftest import FIVE

from multiconv.cli.main import main

LAYER = ("--layer", "x=1,1,5,5 w=1,1,3,3", "--direction", "forward", "--rounds", "1", "--processes", "1")
STATUSES = {0, 1, 2, 3}  # docs: 0 is well, 1 wrong or failed, 2 bad usage, 3 not available
ANSWERS = Path(__file__).with_name("answers.npz")
"""Two right answers of one convolution, as ``multiconv judge`` takes them: ones, 1x1x5, and a kernel of 3 ones."""
ABLE = {"float16": FIVE[1:4], "bfloat16": FIVE[1:4], "float32": FIVE, "float64": FIVE}


def ended(*words: str) -> Result:
    """Run a command, which has to end by itself and with a status of its own."""
    ran = CliRunner().invoke(main, words)
    assert ran.exception is None or isinstance(ran.exception, SystemExit), (words, ran.exception)
    assert "Traceback" not in ran.output
    assert ran.exit_code in STATUSES
    return ran


# ---- Every dtype and backend


@pytest.mark.parametrize("dtype", ABLE)
def test_bench_times_what_a_backend_computes_in(dtype: str, tmp_path: Path) -> None:
    page, results = tmp_path / "page.html", tmp_path / "results.json"
    ran = ended("bench", *FIVE, *LAYER, "--dtype", dtype, "--html", str(page), "--json", str(results))
    assert ran.exit_code == 0
    timed = {run["metadata"]["backend"].split()[0] for run in json.loads(results.read_text())["benchmarks"]}
    assert timed == set(ABLE[dtype])
    for name in set(FIVE) - timed:
        assert f"unsupported: {name} does not compute in {dtype}: it has float32, float64" in ran.output


def test_bench_says_that_there_is_no_json_if_nothing_was_measured(tmp_path: Path) -> None:
    ran = ended("bench", "numpy", *LAYER, "--dtype", "float16", "--json", str(tmp_path / "results.json"))
    assert (ran.exit_code, list(tmp_path.iterdir())) == (0, [])
    assert "multiconv: nothing was measured, so there is no JSON\n" in ran.stderr


@pytest.mark.parametrize("dtype", ABLE)
def test_check_runs_in_each_dtype(dtype: str) -> None:
    for name in set(FIVE) - set(ABLE[dtype]):
        ran = ended("check", name, "--dtype", dtype)
        assert ran.exit_code == 2
        assert f"Error: {name} does not compute in {dtype}: it has float32, float64\n" in ran.stderr
    assert ended("check", "torch", "--dtype", dtype, "--examples", "0", "--values", "zeros").exit_code == 0


def test_capabilities_are_tried_in_each_dtype() -> None:
    dtypes = ("float16", "bfloat16", "float32", "float64", "int8", "int32", "complex64")
    assert (
        ended("capabilities", "numpy", "mxnet", *(word for dtype in dtypes for word in ("--dtype", dtype))).exit_code
        == 0
    )


# ---- Devices, modes and options that are not there


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("torch+device=cuda:99",), 1, "multiconv: torch+device=cuda:99 raised "),
        (("numpy+algorithm=nope",), 2, "Error: algorithm must be one of direct, "),
        (("numpy+algoritm=fft",), 2, "Error: the numpy backend has no option 'algoritm' (did you mean 'algorithm'?)"),
        (("jax+device=cuda",), 2, "Error: the jax backend has no option 'device': it has no options\n"),
        (("numpy", "--mode", "xla"), 2, "Error: --mode: numpy can't be timed in the mode xla\n"),
    ],
)
def test_bench_of_what_is_not_there(words: tuple[str, ...], status: int, sentence: str) -> None:
    ran = ended("bench", *words, *LAYER)
    assert (ran.exit_code, ran.stdout) == (status, "")
    assert sentence in ran.stderr


def test_bench_misses_pyperf_before_it_measures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyperf", None)
    ran = ended("bench", "numpy", "--json", str(tmp_path / "results.json"), "--resume", str(tmp_path / "journal"))
    assert (ran.exit_code, list(tmp_path.iterdir())) == (3, [])
    assert ran.stderr == "multiconv: this needs pyperf: pip install 'multiconv[bench]'\n"


# ---- Wrong words


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that is no group, and the words that name it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


WRONG = (
    "", "nonsense", "-1", "nan", "inf", "1e300", "9" * 6000, "a" * 5000, "\udcff", "[/x]", "--", ".", "/", ":", "a:b",
    "@1.0", "torch@", "torch@~nobody1/python", "numpy@/dev/null", "numpy@.", "numpy@/" + "x" * 5000, "+", "numpy+",
    "/dev/null:f", "/tmp:f", "1/0", "[[1/0]]", "[" * 5000, "x=1,1,1 w=1", "mb1ic", "resnet50 nope",
)  # fmt: skip
# What a command needs before a wrong word, so that it ends soon if the word turns out to be right.
BEFORE = {
    "bench": ("numpy", *LAYER, "--dtype", "float16"),
    "check": ("numpy", "--dtype", "float16"),
    "capabilities": ("nonsense",),
    "properties": ("nonsense",),
    "dispatch": ("nonsense",),
    "quirks": ("int8-wraps",),
    "known": ("numpy-6316",),
    "env create": ("nonsense",),
    "env remove": ("nonsense",),
    "lesson run": ("cross-correlation", "--backend", "numpy"),
    "lesson export": ("cross-correlation", "-o", "lesson.ipynb"),
    "describe-kernel": ("[1, 2]",),
    "explain": ("x=1,1,4 w=1,1,3",),
    "identify": ("numpy:negative", "in_channels=1"),
    "judge": (str(ANSWERS),),
}
PLACES = [
    (path, parameter)
    for path, command in leaves(main)
    for parameter in command.params
    if isinstance(parameter, click.Argument) or (isinstance(parameter, click.Option) and not parameter.is_flag)
]


@pytest.mark.parametrize(
    ("path", "parameter"), PLACES, ids=lambda of: " ".join(of) if isinstance(of, tuple) else of.name
)
def test_wrong_words_end_in_a_sentence(
    path: tuple[str, ...], parameter: click.Parameter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MULTICONV_HOME", str(tmp_path))
    before = BEFORE.get(" ".join(path), ())
    for word in WRONG:
        if isinstance(parameter, click.Argument):
            options = before[1:] if path[0] in ("bench", "check") else before[1:3]
            ran = ended(*path, *options, "--", word)
            assert ran.exit_code in (2, 3), (word, ran.output)
        else:
            ran = ended(*path, *before, parameter.opts[-1], word)
        assert ran.exit_code == 0 or ran.stderr.count("rror: ") + ran.stderr.count("multiconv: ") >= 1


# ---- Files that can't be written

RIGHT = {
    "backends": (),
    "env list": (),
    "bench": ("numpy", *LAYER),
    "check": ("numpy", "--examples", "0", "--values", "zeros"),
    "capabilities": ("numpy", "--dtype", "float32"),
    "properties": ("numpy",),
    "dispatch": ("numpy", "--examples", "0", "--no-layers"),
    "quirks": ("int8-wraps",),
    "known": ("numpy-6316",),
    "lesson export": ("cross-correlation",),
    "describe-kernel": ("[1, 2]",),
    "explain": ("x=1,1,4 w=1,1,3",),
    "identify": ("numpy:negative",),
    "judge": (str(ANSWERS),),
}
FILES = [
    (path, option.opts[-1])
    for path, option in PLACES
    if isinstance(option, click.Option) and option.make_metavar(click.Context(main)) == "FILE"
]


@pytest.mark.parametrize(("path", "option"), FILES)
def test_a_full_disk_ends_in_one_sentence(path: tuple[str, ...], option: str) -> None:
    ran = ended(*path, *RIGHT[" ".join(path)], option, "/dev/full")
    if option == "--resume":
        assert (ran.exit_code, ran.stdout) == (2, "")
        assert "Error: /dev/full can't keep a journal: it is not a regular file\n" in ran.stderr
    else:
        assert (ran.exit_code, ran.output) == (1, "multiconv: /dev/full: No space left on device\n")
