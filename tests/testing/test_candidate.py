"""A stranger's function: in this process, in a worker, and from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from scipy.signal import correlate

import multiconv as mc
from multiconv.testing import assert_conforms
from multiconv.testing.candidate import Candidate, in_worker

X, W = np.ones((1, 1, 3, 3), "float32"), np.ones((1, 1, 2, 2), "float32")

SCIPY = '''
import numpy as np
from scipy.signal import correlate


def conv(x, w, bias, *, stride, padding, dilation, groups):
    """Cross-correlation by SciPy, direct."""
    x = np.pad(x, ((0, 0), (0, 0), *padding))
    spread = np.zeros((*w.shape[:2], *((k - 1) * d + 1 for k, d in zip(w.shape[2:], dilation))), w.dtype)
    spread[(..., *(slice(None, None, d) for d in dilation))] = w
    each = [
        [
            sum(
                correlate(row[c + o // (len(w) // groups) * w.shape[1]], kernel[c], "valid", method="direct")
                for c in range(w.shape[1])
            )
            for o, kernel in enumerate(spread)
        ]
        for row in x
    ]
    y = np.array(each)[(..., *(slice(None, None, s) for s in stride))]
    return y if bias is None else y + bias.reshape(-1, *[1] * (x.ndim - 2))
'''

SAME_AS_TORCH_PADS = SCIPY.replace(
    "    x = np.pad(x, ((0, 0), (0, 0), *padding))\n",
    "    x = np.pad(x, ((0, 0), (0, 0), *((sum(p) // 2, sum(p) - sum(p) // 2)[::-1] for p in padding)))\n",
)


def function(source: str) -> Any:
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    return namespace["conv"]


def multiconv(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "multiconv", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, **options)


def test_what_scipy_correlates_conforms() -> None:
    assert_conforms(function(SCIPY), examples=100)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_what_sums_in_double_precision_and_rounds_once_conforms_in_half_precision(dtype: str) -> None:
    conv = function(SCIPY)

    def rounded(x: Any, w: Any, bias: Any, **options: Any) -> Any:
        wide = [None if a is None else a.astype("float64") for a in (x, w, bias)]
        return conv(*wide, **options).astype(x.dtype)

    assert_conforms(rounded, examples=60, dtypes=[dtype])


def test_a_pad_on_the_wrong_side_is_shrunk_to_a_few_pixels() -> None:
    with pytest.raises(AssertionError, match="is not a cross-correlation") as caught:
        assert_conforms(function(SAME_AS_TORCH_PADS), padding="same")
    namespace: dict[str, Any] = {"np": np, "conv": function(SAME_AS_TORCH_PADS)}
    problem = str(caught.value).partition("\ngives")[0]
    lines = [line.strip() for line in problem.splitlines() if line.startswith("    ")]
    exec("\n".join([*lines[:-1], f"y = {lines[-1]}"]), namespace)
    assert namespace["y"].size <= 4
    assert namespace["x"].size <= 8


def test_what_is_fixed_is_not_drawn_and_stays_when_it_shrinks() -> None:
    seen = set()

    def wrong(x: Any, w: Any, bias: Any, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
        seen.add((x.ndim, stride, dilation, groups, w.shape[2:]))
        return np.zeros(1, x.dtype)

    with pytest.raises(AssertionError):
        assert_conforms(wrong, stride=2, dilation=(1, 3), groups=2, kernel=3, ndim=2)
    assert seen == {(4, (2, 2), (1, 3), 2, (3, 3))}


@pytest.mark.parametrize(
    ("returns", "words"),
    [
        (lambda x, y: y.astype("float16"), "its dtype is float16, but float32 is right"),
        (lambda x, y: y[0], "its shape is"),
        (lambda x, y: y.tolist(), "it returned builtins.list, not a NumPy array"),
        (lambda x, y: np.full_like(y, np.nan), "is nan"),
        (lambda x, y: x.fill(7) or y, "it changed its argument x"),
        (lambda x, y: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
    ids=["dtype", "shape", "list", "NaN", "in place", "raises"],
)
def test_what_is_wrong_is_said(returns: Any, words: str) -> None:
    right = mc.backend("numpy")

    def conv(x: Any, w: Any, bias: Any, **options: Any) -> Any:
        return returns(x, right.cross_correlate(x, w, bias, **options))

    with pytest.raises(AssertionError, match=words):
        assert_conforms(conv, dtypes=["float32"], examples=40)


def test_a_candidate_has_one_direction_only() -> None:
    candidate = Candidate(function(SCIPY))
    assert candidate.cross_correlate(X, W).shape == (1, 1, 2, 2)
    with pytest.raises(
        mc.UnsupportedError, match="conv is a function for the forward direction only: it has no cross_correlate_vjp"
    ):
        candidate.cross_correlate_vjp(X, W, None, X[..., :2, :2])
    with pytest.raises(mc.UsageError, match="must be a function, not 3"):
        Candidate(3)  # type: ignore[arg-type]
    with pytest.raises(mc.UsageError, match=r"must be package\.module:function or path/file\.py:function, not 'conv'"):
        Candidate("conv")


def test_a_candidate_is_found_as_its_caller_would_import_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the working directory; and its environment is the caller's."""
    (tmp_path / "ported.py").write_text("import os\nassert os.environ['PORTED'] == 'yes'\n" + SCIPY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORTED", "yes")
    backend = in_worker("ported:conv")
    try:
        assert (backend.cross_correlate(X, W) == 4).all()
        assert backend.name == "ported:conv"
    finally:
        backend.close()
    with pytest.raises(mc.BackendUnavailable, match="AttributeError: module 'ported' has no attribute 'absent'"):
        in_worker("ported:absent")
    with pytest.raises(mc.BackendUnavailable, match="ModuleNotFoundError: No module named 'no_such_module'"):
        in_worker("no_such_module:conv")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "right.py").write_text(SCIPY)
    for wrong in ("wrong.py", "elsewhere/wrong.py", "elsewhere/a port.py"):
        (tmp_path / wrong).write_text(SAME_AS_TORCH_PADS)
    dies, hangs = "def dies(*a, **o):\n    ctypes.string_at(0)\n", "def hangs(*a, **o):\n    time.sleep(99)\n"
    deadly = f"import ctypes, time\n\n\n{dies}\n\n{hangs}"
    (tmp_path / "deadly.py").write_text(deadly)
    return tmp_path


def test_the_command_passes_a_right_one(folder: Path) -> None:
    """Found by PYTHONPATH, as the caller's Python would find it."""
    environment = {"PYTHONPATH": str(folder / "elsewhere"), "PATH": "/usr/bin:/bin"}
    ran = multiconv("check", "--candidate", "right:conv", "--json", "-", cwd=folder, env=environment)
    assert ran.returncode == 0, ran.stderr
    (only,) = json.loads(ran.stdout)["backends"]
    assert (only["name"], only["verdict"]) == ("right:conv", "agrees")
    assert only["problems"] > 200
    assert only["exact"] == only["integer_problems"] > 100


@pytest.mark.parametrize("target", ["wrong:conv", "elsewhere/wrong.py:conv", "elsewhere/a port.py:conv"])
def test_the_command_shrinks_a_wrong_one_to_a_script_that_shows_it(folder: Path, target: str) -> None:
    ran = multiconv("check", "--candidate", target, "--examples", "60", "--json", "report.json", cwd=folder)
    assert ran.returncode == 1, ran.stderr
    assert target in ran.stdout
    (only,) = json.loads((folder / "report.json").read_text())["backends"]
    (disagreement,) = only["disagreements"]
    assert disagreement["direction"] == "forward"
    (folder / "shows.py").write_text(disagreement["script"])
    shown = subprocess.run([sys.executable, "shows.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert shown.returncode == 1, shown.stderr
    assert "wrong" in shown.stdout
    assert "multiconv" not in "".join(line for line in disagreement["script"].splitlines() if "import" in line)


@pytest.mark.parametrize(
    ("name", "words", "verdict"), [("dies", "SIGSEGV", "crashes"), ("hangs", "took longer than its 1 s", "hangs")]
)
def test_the_command_survives_a_crash_and_a_hang(folder: Path, name: str, words: str, verdict: str) -> None:
    ran = multiconv("check", "--candidate", f"deadly:{name}", "--examples", "5", "--timeout", "1", cwd=folder)
    assert ran.returncode == 1, ran.stderr
    assert words in ran.stdout
    assert verdict in ran.stdout


def test_the_command_finds_what_takes_new_memory_for_zeros(folder: Path) -> None:
    """The operating system's memory is zero, so that such a fault is rare until memory is filled."""
    unwritten = "    y = y + np.empty(1 << 26, 'uint8').view(y.dtype)[:y.size].reshape(y.shape)\n    return y"
    (folder / "unwritten.py").write_text(SCIPY.replace("    return y", unwritten))
    ran = multiconv("check", "--candidate", "unwritten:conv", "--examples", "5", cwd=folder)
    assert ran.returncode == 1, ran.stderr


def test_the_command_says_what_it_can_not_have(folder: Path) -> None:
    absent = multiconv("check", "--candidate", "absent:conv", cwd=folder)
    assert (absent.returncode, "No module named 'absent'" in absent.stderr) == (3, True)
    no_file = multiconv("check", "--candidate", "absent.py:conv", cwd=folder)
    assert (no_file.returncode, "there is no file absent.py" in no_file.stderr) == (2, True)
    unnamed = multiconv("check", "--candidate", "conv", cwd=folder)
    assert (unnamed.returncode, "package.module:function" in unnamed.stderr) == (2, True)


def test_scipy_is_what_it_is_taken_for() -> None:
    """The oracle of these tests, on numbers worked out by hand."""
    assert correlate(np.array([1.0, 2, 3]), np.array([1.0, 10]), "valid").tolist() == [21.0, 32.0]


def test_the_example_of_the_readme_finds_the_bug(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    start = readme.index("```python\n# test_port.py") + len("```python\n")
    (tmp_path / "test_port.py").write_text(textwrap.dedent(readme[start : readme.index("```", start)]))
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 1, ran.stdout
    assert "is not a cross-correlation" in ran.stdout
