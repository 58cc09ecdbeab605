"""The scripts that show a disagreement: they run, pass where the framework is right, and fail where it is not."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from multiconv import ConvSpec, registry
from multiconv.check.scripts import script
from multiconv.oracle.judgement import Judgement
from multiconv.oracle.problem import DIRECTIONS
from multiconv.oracle.values import VALUES, seeded
from multiconv.testing.drawing import draw_problems
from multiconv.testing.problem_values import given_values, with_values

FRAMEWORKS = ("torch", "jax", "tensorflow", "mxnet")
BACKENDS = ("numpy", *FRAMEWORKS)
RIGHT = Judgement(0.0)

DRIVER = """
import contextlib, io, json, os, runpy, sys, traceback

outcomes = {}
for name in sorted(os.listdir(sys.argv[1])):
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            runpy.run_path(os.path.join(sys.argv[1], name), run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code
    except BaseException:
        status = traceback.format_exc()
    outcomes[name] = status, printed.getvalue()
print(json.dumps({"outcomes": outcomes, "multiconv": "multiconv" in sys.modules}))
"""


def seeded_problem(spec, x_shape, w_shape, dtype, bias, values):
    return with_values("test", spec, spec.resolve(x_shape, w_shape), dtype, bias=bias, values=values, seed=5)


@cache
def problems():
    """A problem for each way in which the templates branch."""
    asymmetric, same = ConvSpec(2, ((2, 1),), layout="NWC"), ConvSpec(2, "same")
    strided_and_dilated = ConvSpec((2, 1), ((2, 1), (0, 3)), (2, 3))
    grouped = ConvSpec(2, 1, groups=2)
    return {
        "plain": seeded_problem(ConvSpec(), (1, 1, 4), (1, 1, 2), "float32", False, "integers"),
        "symmetric": seeded_problem(ConvSpec(padding=1), (2, 3, 5, 4), (4, 3, 3, 3), "float32", True, "integers"),
        "asymmetric, channels last": seeded_problem(asymmetric, (2, 8, 2), (3, 2, 3), "float32", True, "normal"),
        "grouped 3-D": seeded_problem(grouped, (1, 4, 4, 3, 4), (2, 2, 2, 2, 3), "float32", True, "integers"),
        "grouped 3-D, float64": seeded_problem(grouped, (1, 2, 4, 4, 4), (4, 1, 2, 2, 2), "float64", False, "normal"),
        "stride and dilation": seeded_problem(strided_and_dilated, (1, 2, 7, 6), (2, 2, 3, 2), "float64", True, "wide"),
        "dilation, channels last": seeded_problem(
            ConvSpec(1, 2, 2, 2, "NHWC"), (1, 5, 6, 4), (2, 2, 3, 2), "float32", True, "normal"
        ),
        "same": seeded_problem(same, (1, 2, 5, 6), (3, 2, 3, 3), "float32", False, "normal"),
        "same_lower": seeded_problem(ConvSpec(padding="same_lower"), (1, 2, 7), (2, 2, 4), "float64", True, "integers"),
        "depthwise": seeded_problem(ConvSpec(2, 1, groups=3), (1, 3, 6, 5), (3, 1, 3, 3), "float64", True, "normal"),
        "large": seeded_problem(ConvSpec(padding=2), (1, 8, 24, 24), (8, 8, 5, 5), "float32", True, "normal"),
    }


def directions(problem):
    return [d for d in DIRECTIONS if d != "bias gradient" or problem.bias is not None]


@cache
def run(backend):
    """Every direction of every problem as a script, and one with the kernel not flipped, in one process."""
    texts = {f"{name}, {d}": script(backend, p, d, RIGHT) for name, p in problems().items() for d in directions(p)}
    flipped, as_it_is = FLIP[backend]
    assert texts["symmetric, convolve"].count(flipped) == 1
    texts["not flipped"] = texts["symmetric, convolve"].replace(flipped, as_it_is)
    return run_all(backend, texts)


FLIP = {
    "numpy": ("backend.convolve(", "backend.cross_correlate("),
    "torch": (".flip(2, 3)", ""),
    "jax": ("lax.rev(w, (2, 3))", "w"),
    "tensorflow": ("tf.reverse(tf.constant(w), (2, 3))", "tf.constant(w)"),
    "mxnet": ("nd.reverse(nd.array(w), axis=(2, 3))", "nd.array(w)"),
}


def run_all(backend, texts):
    """The exit status, or the traceback, and what is printed, of each script in the backend's Python."""
    with tempfile.TemporaryDirectory() as folder:
        names = {f"{i:04}.py": name for i, name in enumerate(texts)}
        for file, name in names.items():
            (Path(folder) / file).write_text(texts[name], encoding="utf-8")
        command = [str(registry.locate(backend).python), "-I", "-c", DRIVER, folder]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    said = json.loads(ran.stdout.splitlines()[-1])
    return {names[file]: outcome for file, outcome in said["outcomes"].items()}, said["multiconv"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_right_framework_passes(backend):
    outcomes, _ = run(backend)
    failed = {name: outcome for name, outcome in outcomes.items() if outcome[0] != 0}
    assert list(failed) == ["not flipped"], failed
    assert all("are right" in printed for name, (_, printed) in outcomes.items() if name not in failed)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_wrong_call_fails(backend):
    status, printed = run(backend)[0]["not flipped"]
    assert status == 1
    assert re.search(r"\nelement \[0, 0, 0, 0\] is \S+, right is \S+, error allowed 0\n", printed)
    assert printed.endswith("elements are wrong\n")


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_the_generic_script_needs_multiconv(backend):
    assert run(backend)[1] == (backend == "numpy")


@pytest.mark.parametrize("backend", BACKENDS)
def test_scripts_are_python_3_8(backend):
    for problem in problems().values():
        for direction in directions(problem):
            text = script(backend, problem, direction, RIGHT)
            ast.parse(text, feature_version=(3, 8))
            assert max(map(len, text.splitlines())) <= 120
            assert "\n\n\n\n" not in text
            assert not re.search(r"[ \t]\n", text)
            assert text.endswith(")\n")


# ---- The comparison, with answers made up


def executed(text, capsys):
    """The exit status and what is printed, of a script run here."""
    status = 0
    try:
        exec(compile(text, "script", "exec"), {})
    except SystemExit as end:
        status = end.code
    return status, capsys.readouterr().out


def changed(problem, change, direction="forward", judgement=RIGHT):
    """The NumPy backend's script with its answer changed by a statement."""
    text = script("numpy", problem, direction, judgement)
    assert text.count("\ngot = answer()\n") == 1
    return text.replace("\ngot = answer()\n", f"\ngot = answer().copy()\n{change}\n")


@pytest.mark.parametrize("number", range(40))
def test_the_definition_on_drawn_problems(number, drawn, capsys):
    problem = drawn[number]
    for direction in directions(problem):
        if direction != "layer" or problem.geometry.batch:
            status, printed = executed(script("numpy", problem, direction, RIGHT), capsys)
            assert status == 0, (problem.describe(), direction, printed)


@pytest.fixture(scope="module")
def drawn():
    return draw_problems(40, seed=3)


def test_integers_must_be_exact(capsys):
    assert executed(changed(problems()["symmetric"], "pass"), capsys)[0] == 0
    status, printed = executed(changed(problems()["symmetric"], "got[1, 3, 4, 0] += 1"), capsys)
    assert status == 1
    assert "\nelement [1, 3, 4, 0] is " in printed
    assert "error allowed 0\n1 of the 160 elements are wrong" in printed


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_what_is_not_finite_is_wrong(value, capsys):
    status, printed = executed(changed(problems()["same"], f"got[0, 0, 0, 0] = {value!r}"), capsys)
    assert status == 1
    assert f"\nelement [0, 0, 0, 0] is {value}, " in printed


@pytest.mark.parametrize(("change", "said"), [
    ("got = got[:1]", "of shape (1, 4, 5, 4) and dtype float32, but (2, 4, 5, 4) and float32 are right"),
    ("got = got.astype('float64')", "of shape (2, 4, 5, 4) and dtype float64, but (2, 4, 5, 4) and float32 are right"),
])  # fmt: skip
def test_shape_and_dtype_come_first(change, said, capsys):
    status, printed = executed(changed(problems()["symmetric"], change), capsys)
    assert status == 1
    assert printed.endswith(said + "\n")


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("factor", "status"), [(0.9, 0), (1.2, 1)])
def test_the_error_allowed_is_that_of_the_check(direction, factor, status, capsys):
    problem = problems()["stride and dilation"]
    expected = problem.expectations()[direction]
    index = (0,) * expected.value.ndim
    answer = float(expected.value[index] + factor * expected.bound[index])
    assert executed(changed(problem, f"got[{index}] = {answer!r}", direction), capsys)[0] == status


def test_ten_wrong_elements_are_shown(capsys):
    _, printed = executed(changed(problems()["symmetric"], "got += 1"), capsys)
    assert printed.count("\nelement") == 10
    assert "160 of the 160 elements are wrong" in printed


def test_of_many_elements_the_worst_is_looked_at(capsys):
    judgement = Judgement(9.0, "element [0, 3, 11, 5] is wrong", (0, 3, 11, 5))
    status, printed = executed(changed(problems()["large"], "got[0, 3, 11, 5] += 1", judgement=judgement), capsys)
    assert status == 1
    assert "1 of the 8 elements checked are wrong" in printed
    assert executed(changed(problems()["large"], "pass", judgement=judgement), capsys)[0] == 0


# ---- Arrays


def array_of(text, name):
    """An array as the script makes it."""
    body = text[text.index('"""\n\nimport sys') + 3 : text.index("\n\n\n")]
    names = {}
    exec(body, names)
    return names[name]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_literals_are_read_as_the_same_bits(dtype):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**63, 290, dtype="uint64").astype("uint32" if dtype == "float32" else "uint64").view(dtype)
    x = np.where(np.isfinite(bits), bits, np.finfo(dtype).smallest_subnormal)
    x[:5] = -0.0, 0.0, 3.0, 1 / 3, -(2.0**24)
    x = x.reshape(1, 1, -1)
    problem = given_values("test", ConvSpec(), x, np.ones((1, 1, 1), dtype))
    text = script("numpy", problem, "forward", RIGHT)
    assert array_of(text, "x").tobytes() == x.tobytes()
    assert "np.array([\n    -0.0, 0, 3, 0.3333333" in text
    assert "rng" not in text


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("values", VALUES)
def test_large_arrays_are_drawn_anew(values, dtype):
    spec = ConvSpec()
    problem = seeded_problem(spec, (1, 2, 20, 20), (2, 2, 2, 2), dtype, True, values)
    text = script("torch", problem, "kernel gradient", RIGHT)
    assert len(text) < 6000
    for name in ("x", "w", "bias", "dy"):
        assert array_of(text, name).tobytes() == getattr(problem, name).tobytes()
    with pytest.raises(AssertionError, match="draws another x than NumPy"):
        array_of(text.replace("default_rng([5, 0])", "default_rng([6, 0])"), "x")


def test_a_large_array_from_elsewhere_is_a_literal():
    x = seeded((1, 1, 400), "float32", "normal", 5, 0)
    x[0, 0, 7] = 0
    problem = given_values("test", ConvSpec(), x, np.ones((1, 1, 1), "float32"), seed=5)
    text = script("torch", problem, "forward", RIGHT)
    assert "rng" not in text
    assert array_of(text, "x").tobytes() == x.tobytes()


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_the_arrays_needed(backend):
    needed = {"forward": "x w bias", "convolve": "x w bias", "layer": "x w bias", "conv_transpose": "dy w x_bias"}
    for direction in DIRECTIONS:
        text = script(backend, problems()["symmetric"], direction, RIGHT)
        made = re.findall(r"^(x|w|bias|dy|x_bias) = ", text, re.MULTILINE)
        assert sorted(made) == sorted(needed.get(direction, "x w bias dy").split())


# ---- What is said


@pytest.mark.parametrize("backend", FRAMEWORKS)
def test_nothing_needless_is_said(backend):
    for direction in directions(problems()["plain"]):
        text = script(backend, problems()["plain"], direction, RIGHT)
        answer = text[text.index("import sys") : text.index("def terms")].replace("dilated", "")
        for word in ("F.pad", "tf.pad", "nd.pad", "stride=", "dilat", "group", "permute", "float64", "x64", "assert"):
            assert word not in answer, (direction, word)


def test_the_docstring():
    fault = 'ValueError: "\\d" is """no""" \x00 number, \\'
    text = script("torch@2.5.1", problems()["symmetric"], "input gradient", Judgement(np.inf, fault + "\nand more"))
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring.splitlines()[0] == "PyTorch, input gradient: 2-D cross-correlation in float32."
    assert "ValueError: \"\\d\" is '''no''' ? number, \\\n" in docstring
    assert "Needs only NumPy and PyTorch." in docstring
    assert "and more" not in text


def test_layers_name_what_they_are_from():
    for backend, needs in [("jax", "NumPy, JAX and Flax."), ("tensorflow", "NumPy, TensorFlow and Keras.")]:
        assert f"Needs only {needs}" in script(backend, problems()["plain"], "layer", RIGHT)


@pytest.mark.parametrize(("backend", "batch"), [("theirs", 1), ("theirs@1.2", 1), ("torch@2.5.1", 0)])
def test_multiconv_is_asked_where_no_framework_is(backend, batch):
    problem = seeded_problem(ConvSpec(2, "same"), (batch, 1, 4), (1, 1, 2), "float32", False, "integers")
    text = script(backend, problem, "conv_transpose", RIGHT)
    assert f'mc.backend("{backend}")' in text
    assert 'backend.conv_transpose(dy, w, stride=2, padding="same")' in text
