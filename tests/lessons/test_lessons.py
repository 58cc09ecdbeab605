"""Every lesson in every framework: it runs, its tabs agree, and a line that is wrong shows."""

from __future__ import annotations

import ast
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import nbclient
import nbformat
import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from multiconv.cli.main import main
from multiconv.core.errors import BackendUnavailable, UsageError
from multiconv.lessons import run as lessons
from multiconv.lessons.notebooks import export, notebook
from multiconv.lessons.report import print_lesson
from multiconv.lessons.run import BACKENDS, Comparison, Tab, comparisons, lesson, run
from multiconv.lessons.text import Answer, CellPlace, Lesson, Picture

ALL = lessons.lessons()
NAMES = [one.name for one in ALL]
EXERCISE = re.compile(r"^\*\*(\d+)\.", re.MULTILINE)


def written(folder: Path, name: str, compare: str, **scripts: str) -> Lesson:
    """A lesson made up for a test."""
    (folder / name).mkdir()
    (folder / name / "text.md").write_text(
        f"+++\ntitle = 'T'\norder = 1\ncompare = {compare}\n+++\n```{{cell}} a\n```\n"
    )
    for backend, script in scripts.items():
        (folder / name / f"{backend}.py").write_text(script)
    return Lesson(name, folder / name)


# ---- The lessons


@pytest.mark.parametrize("one", ALL, ids=NAMES)
def test_the_five_have_the_same_cells_and_the_text_places_each_once(one: Lesson) -> None:
    placed = [part.name for part in one.all_parts if isinstance(part, CellPlace)]
    assert len(placed) == len(set(placed))
    for backend in BACKENDS:
        assert [cell.name for cell in one.cells(backend)] == placed, backend
        assert one.script(backend).read_text().startswith("# %% "), backend
        assert "multiconv" not in one.script(backend).read_text()
    assert one.compare
    assert {part.kind for part in one.all_parts if isinstance(part, Picture)} <= {"images", "curves", "bars"}


@pytest.mark.parametrize("one", ALL, ids=NAMES)
def test_every_exercise_is_followed_by_its_answer_folded_away(one: Lesson) -> None:
    pairs = list(zip(one.parts, one.parts[1:]))
    asked = [(int(n), after) for part, after in pairs if isinstance(part, str) for n in EXERCISE.findall(part)]
    assert [number for number, _ in asked] == list(range(1, len(asked) + 1)) != []
    for number, answer in asked:
        assert isinstance(answer, Answer), number
        assert answer.exercise == number
        assert isinstance(answer.parts[0], str), number
    assert sum(isinstance(part, Answer) for part in one.parts) == len(asked)


@pytest.mark.parametrize("one", ALL, ids=NAMES)
def test_pictures_speak_in_words(one: Lesson) -> None:
    for part in one.all_parts:
        if isinstance(part, Picture):
            assert part.caption
            assert len(part.titles) == len(part.values), part.values
            assert not re.search(r"\w_\w|\w\[", " ".join([part.caption, *part.titles])), part


def test_they_are_in_an_order() -> None:
    assert [one.order for one in ALL] == list(range(1, len(ALL) + 1))


@pytest.mark.xdist_group("lessons")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("one", ALL, ids=NAMES)
def test_it_runs_and_agrees(one: Lesson, backend: str, lesson_tabs: dict[str, dict[str, Tab]]) -> None:
    tab = lesson_tabs[one.name][backend]
    assert tab.error is None, tab.error
    assert [c for c in comparisons(one, lesson_tabs[one.name]) if c.backend == backend and c.fault] == []
    assert any(tab.outputs.values())


# A line of a tab, and what somebody could have written in its place.
WRONG = {
    "cross-correlation": ("X[i : i + h, j : j + w] * K", "X[i : i + h, j : j + w] * K.flip(0)"),
    "learning-a-kernel": ("rate=0.03, steps=10", "rate=0.0301, steps=10"),
    "convolution": ("K.flip(0, 1)", "K.flip(1)"),
    "padding-and-stride": ("pad(X, (0, 1, 0, 1))", "pad(X, (1, 0, 1, 0))"),
    "channels": ("[K, K + 1, K + 2]", "[K, K + 2, K + 1]"),
    "receptive-field": ("(kernel - 1) * dilation * step", "(kernel - 1) * step"),
    "filters-on-digits": ("layer.bias[:] = 0", "layer.bias[:] = 1"),
    "how-filters-take-shape": ("lr=0.01", "lr=0.0101"),
    "what-a-kernel-does": ("identity - laplacian", "identity + laplacian"),
    "gradients": ("K.flip(0, 1)", "K.flip(0)"),
}


@pytest.mark.xdist_group("lessons")
def test_a_wrong_line_in_one_tab_shows(tmp_path: Path, lesson_tabs: dict[str, dict[str, Tab]]) -> None:
    assert set(WRONG) == set(NAMES)
    broken = []
    for name, (right, wrong) in WRONG.items():
        shutil.copytree(lesson(name).folder, tmp_path / name)
        script = tmp_path / name / "torch.py"
        assert script.read_text().count(right) >= 1, (name, right)
        script.write_text(script.read_text().replace(right, wrong, 1))
        broken.append(Lesson(name, tmp_path / name))
    of_torch = run(broken, ["torch"])
    for one in broken:
        tab = of_torch[one.name]["torch"]
        found = comparisons(one, lesson_tabs[one.name] | {"torch": tab})
        assert tab.error or any(c.fault for c in found if c.backend == "torch"), one.name
        assert not any(c.fault for c in found if c.backend != "torch"), one.name


# ---- The runner


def test_what_is_printed_and_what_the_values_are(tmp_path: Path) -> None:
    script = "# %% a\nimport numpy as np\nv = [1, 2]\nprint('one')\nprint('two')\n"
    one = written(tmp_path, "x", "{v = [1, 2]}", numpy=script)
    tab = run([one], ["numpy"])["x"]["numpy"]
    assert tab.outputs == {"a": "one\ntwo\n"}
    np.testing.assert_array_equal(tab.values["v"], [1, 2])
    assert comparisons(one, {"numpy": tab}) == [Comparison("numpy", "v", 0.0)]


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("# %% a\nv = 1\n\nprint('so far')\nv / 0\n", r"(?s)in cell 'a'.*numpy\.py\", line 5.*ZeroDivisionError"),
        ("# %% a\nv = 1 +\n", r"(?s)in cell 'a'.*SyntaxError"),
        ("# %% a\nw = 1\n", "there is no v"),
        ("# %% a\nimport os\nos.abort()\n", "the process was killed by signal 6"),
        ("# %% a\nimport os\nos._exit(7)\n", "the process ended with status 7"),
        ("# %% a\nimport time\ntime.sleep(60)\n", "it took longer than 5 s and was killed"),
    ],
    ids=["raises", "no Python", "no value", "dies", "ends", "hangs"],
)
def test_a_tab_that_breaks_costs_its_own_lesson_alone(tmp_path: Path, script: str, error: str) -> None:
    first = written(tmp_path, "first", "{v = 1}", numpy="# %% a\nv = 1\n")
    broken = written(tmp_path, "broken", "{v = 1}", numpy=script)
    last = written(tmp_path, "last", "{v = 1}", numpy="# %% a\nv = 1\n")
    ran = run([first, broken, last], ["numpy"], timeout=5)
    assert re.search(error, ran["broken"]["numpy"].error or "")
    assert comparisons(broken, ran["broken"]) == []
    for one in (first, last):
        assert comparisons(one, ran[one.name]) == [Comparison("numpy", "v", 0.0)]


def test_packages_on_pythonpath_are_not_another_pythons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('a NumPy for another Python')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    tab = run([lesson("cross-correlation")], ["mxnet"])["cross-correlation"]["mxnet"]
    assert tab.error is None
    assert tab.values["Y"].tolist() == [[19, 25], [37, 43]]


def test_a_backend_that_cannot_be_had_is_said() -> None:
    with pytest.raises(BackendUnavailable, match=r"torch@9\.9\.9"):
        run(ALL[:1], ["torch@9.9.9"])


def test_a_lesson_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match="there is no lesson 'nonsense': the lessons are cross-correlation"):
        lesson("nonsense")


# ---- What they must agree on


def compared(compare: object, numpy: object, torch: object, tmp_path: Path) -> Comparison:
    one = written(tmp_path, "x", f"{{v = {json.dumps(compare)}}}")
    found = comparisons(one, {b: Tab(b, values={"v": np.asarray(v)}) for b, v in (("numpy", numpy), ("torch", torch))})
    assert found[0].backend == "numpy"
    return found[1]


def test_stated_numbers_are_exact(tmp_path: Path) -> None:
    assert compared([1, 2], [1, 2], [1.0, 2.0], tmp_path) == Comparison("torch", "v", 0.0)
    shutil.rmtree(tmp_path / "x")
    fault = compared([1, 2], [1, 2], np.float32([1, 2.0000002]), tmp_path).fault
    assert fault is not None
    assert "element [1]" in fault
    assert "it must be exact" in fault


def test_roundings_allow_so_many_and_no_more(tmp_path: Path) -> None:
    u, right = 2.0**-24, np.float64([1.0, -4.0])
    within, beyond = right + np.array([0, 8 * u]), right + np.array([0, 8.1 * u])
    assert compared("2 roundings", right, within, tmp_path).ratio == pytest.approx(1, rel=1e-6)
    shutil.rmtree(tmp_path / "x")
    assert compared("2 roundings", right, beyond, tmp_path).fault is not None


@pytest.mark.parametrize("how", ["exact", "5 roundings"])
def test_another_shape_or_no_number_is_never_right(tmp_path: Path, how: str) -> None:
    assert "its shape is (1, 2), not (2,)" in str(compared(how, [1.0, 2.0], [[1.0, 2.0]], tmp_path).fault)
    shutil.rmtree(tmp_path / "x")
    assert compared(how, [1.0, 2.0], [1.0, np.nan], tmp_path).fault is not None


def test_what_a_lesson_declares_must_be_understood(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"text\.md says that v must be 'about right'"):
        compared("about right", [1.0], [1.0], tmp_path)


# ---- Answers to exercises

WITH_AN_ANSWER = """+++
title = 'T'
order = 1
compare = {v = 1}
+++
**1.** How much?

:::{answer} 1
So much:

```{cell} b
```

```{picture} v
:kind: bars
:titles: how much
```
:::

After it.

```{cell} a
```
"""


@pytest.fixture
def with_an_answer(tmp_path: Path) -> Lesson:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "text.md").write_text(WITH_AN_ANSWER)
    (tmp_path / "x" / "numpy.py").write_text("# %% b\nv = 1\nprint('solved')\n# %% a\nprint('went on')\n")
    return Lesson("x", tmp_path / "x")


def test_an_answer_holds_its_text_cells_and_pictures(with_an_answer: Lesson) -> None:
    solution = Picture(("v",), "bars", titles=("how much",))
    answer = Answer(1, ("So much:", CellPlace("b"), solution))
    assert with_an_answer.parts == ["**1.** How much?", answer, "After it.", CellPlace("a")]
    assert with_an_answer.all_parts == ["**1.** How much?", *answer.parts, "After it.", CellPlace("a")]
    assert with_an_answer.values == ["v"]


def test_an_answer_is_collapsed_in_a_notebook(with_an_answer: Lesson) -> None:
    question, text, code, drawing, after, last = notebook(with_an_answer, "numpy").cells
    assert text.source == "<details><summary>Answer to exercise 1</summary>\n\nSo much:\n\n</details>"
    for hidden in (code, drawing):
        assert hidden.metadata["jupyter"] == {"source_hidden": True, "outputs_hidden": True}
    assert "details" not in question.source + after.source
    assert "jupyter" not in last.metadata


def test_a_terminal_prints_the_answers_after_the_text(
    with_an_answer: Lesson, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lessons, "FOLDER", tmp_path)
    ran = CliRunner().invoke(main, ["lesson", "run", "x", "--backend", "numpy"])
    places = [ran.output.index(words) for words in ("How much?", "went on", "Answer to exercise 1", "solved")]
    assert places == sorted(places)


# ---- Notebooks


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax", "tensorflow"])
def test_a_notebook_runs_from_top_to_bottom(tmp_path: Path, backend: str) -> None:
    name = "filters-on-digits" if backend in ("numpy", "tensorflow") else "cross-correlation"
    files = export(lesson(name), backend, tmp_path / "lesson.ipynb")
    assert [file.name for file in files] == ["lesson.ipynb", *(["digits.npz"] if "digits" in name else [])]
    made = nbformat.read(tmp_path / "lesson.ipynb", as_version=4)
    done = nbclient.NotebookClient(made, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = [o for cell in done.cells if cell.cell_type == "code" for o in cell.outputs]
    assert any(o.output_type == "stream" and o.text.strip() for o in printed)
    assert any("image/png" in o.get("data", {}) for o in printed)


def test_a_notebook_draws_positive_red_and_negative_blue_and_titles_in_words(tmp_path: Path) -> None:
    script = "# %% a\nimport numpy as np\ns = np.array([[[1, -2]], [[0, 4]]])\ng = np.array([[0, 3]])\n"
    one = written(tmp_path, "x", "{}", numpy=script)
    text = one.folder / "text.md"
    text.write_text(text.read_text() + "```{picture} s g\n:titles: kernel {} | the image\n:caption: C\n```\n")
    code, drawing = (cell.source for cell in notebook(one, "numpy").cells)
    with plt.ioff():
        exec(code + "\n" + drawing.replace("plt.show()", ""), {})  # as a notebook runs it
    figure = plt.gcf()
    drawn = [(ax.get_title(), *ax.images[0].get_clim(), ax.images[0].get_cmap().name) for ax in figure.axes]
    assert drawn == [("kernel 0", -4, 4, "RdBu_r"), ("kernel 1", -4, 4, "RdBu_r"), ("the image", 0, 3, "gray")]
    assert figure.get_suptitle() == "C"
    plt.close(figure)


@pytest.mark.parametrize("one", ALL, ids=NAMES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_drawing_in_a_notebook_overwrites_no_variable_of_the_lesson(one: Lesson, backend: str) -> None:
    used = {node.id for node in ast.walk(ast.parse(one.script(backend).read_text())) if isinstance(node, ast.Name)}
    drawings = [cell.source for cell in notebook(one, backend).cells if "plt.show()" in cell.source]
    for statement in ast.parse("\n".join(drawings)).body:
        if isinstance(statement, ast.Import):
            assert ast.unparse(statement) in ("import matplotlib.pyplot as plt", "import numpy as np")
        elif isinstance(statement, ast.FunctionDef):
            assert statement.name not in used
        else:
            assert isinstance(statement, ast.Expr)  # a call, which binds no name


@pytest.mark.parametrize("one", ALL, ids=NAMES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_notebook_has_all_cells_and_is_the_same_each_time(one: Lesson, backend: str) -> None:
    made = notebook(one, backend)
    nbformat.validate(made)
    code = [cell.source for cell in made.cells if cell.cell_type == "code"]
    assert [c for c in code if "plt." not in c] == [cell.code.rstrip("\n") for cell in one.cells(backend)]
    assert made == notebook(one, backend)


def test_a_version_of_a_framework_has_its_notebook() -> None:
    assert notebook(ALL[0], "torch@2.5.1") == notebook(ALL[0], "torch")


def test_a_file_of_digits_that_is_somebody_elses_is_not_overwritten_unless_forced(tmp_path: Path) -> None:
    digits, file = tmp_path / "digits.npz", tmp_path / "lesson.ipynb"
    digits.write_bytes(b"years of work")
    with pytest.raises(UsageError, match=r"digits\.npz exists, and is not .* overwrite that file with --force"):
        export(lesson("filters-on-digits"), "numpy", file)
    assert (digits.read_bytes(), file.exists()) == (b"years of work", False)
    export(lesson("filters-on-digits"), "numpy", file, force=True)
    assert np.load(digits)["images"].shape == (256, 28, 28)


def test_lessons_in_one_folder_share_the_file_of_digits(tmp_path: Path) -> None:
    for backend in ("numpy", "torch"):
        export(lesson("filters-on-digits"), backend, tmp_path / f"{backend}.ipynb")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["digits.npz", "numpy.ipynb", "torch.ipynb"]


def test_a_notebook_is_not_named_like_its_digits(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give the notebook another name"):
        export(lesson("filters-on-digits"), "numpy", tmp_path / "digits.npz")
    assert not list(tmp_path.iterdir())


# ---- The commands


def test_the_list_names_them_all() -> None:
    ran = CliRunner().invoke(main, ["lesson", "list"])
    assert [line.split()[0] for line in ran.output.splitlines()] == NAMES


def test_a_lesson_is_shown_with_code_and_output() -> None:
    ran = CliRunner().invoke(main, ["lesson", "run", "cross-correlation", "--backend", "numpy"])
    assert ran.exit_code == 0
    assert "def corr2d(X, K):" in ran.output
    assert "[[19. 25.]" in ran.output
    assert re.search(r"\nY +as stated +exact", ran.output)


def test_the_table_shows_how_much_of_the_limit_was_used(tmp_path: Path) -> None:
    one = written(tmp_path, "x", "{v = '2 roundings'}", numpy="# %% a\nv = 4.0\n", torch="# %% a\nv = 4.0\n")
    of = {
        "numpy": Tab("numpy", values={"v": np.array(4.0)}),
        "torch": Tab("torch", values={"v": np.array(4 + 2.0**-22)}),
    }
    console = Console(width=120, record=True, file=io.StringIO())
    print_lesson(one, of, [], comparisons(one, of), console)
    assert re.search(r"\nv +within 2 roundings +exact +50% of the limit", console.export_text())


def test_a_disagreement_is_shown_and_is_the_exit_status(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written(tmp_path, "x", "{v = 1}", numpy="# %% a\nv = 2\n")
    monkeypatch.setattr(lessons, "FOLDER", tmp_path)
    ran = CliRunner().invoke(main, ["lesson", "run", "x", "--backend", "numpy"])
    assert ran.exit_code == 1
    assert "it must be exact" in ran.output
    (tmp_path / "x" / "numpy.py").write_text("# %% a\nv = 1 / 0\n")
    ran = CliRunner().invoke(main, ["lesson", "run", "x", "--backend", "numpy"])
    assert ran.exit_code == 1
    assert "ZeroDivisionError" in ran.output


def test_what_is_not_mnist_is_bad_usage(tmp_path: Path) -> None:
    for arguments in (["run"], ["export", "-o", str(tmp_path / "x.ipynb")]):
        ran = CliRunner().invoke(main, ["lesson", *arguments, "filters-on-digits", "--mnist", str(tmp_path)])
        assert ran.exit_code == 2
        assert "train-images-idx3-ubyte" in ran.output


def test_without_what_lessons_need_it_is_said_how_to_get_it() -> None:
    script = "import sys; sys.modules['nbformat'] = None; from multiconv.cli.main import main; main()"
    command = [sys.executable, "-c", script, "lesson", "export", "cross-correlation", "-o", "/tmp/never.ipynb"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 3
    assert ran.stderr == "multiconv: this needs nbformat: pip install 'multiconv[lessons]'\n"


def test_the_list_needs_no_extra() -> None:
    absent = "for name in ('matplotlib', 'nbformat', 'sklearn', 'yaml', 'pyperf'): sys.modules[name] = None"
    script = f"import sys\n{absent}\nfrom multiconv.cli.main import main; main()"
    ran = subprocess.run([sys.executable, "-c", script, "lesson", "list"], capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in ran.stdout.splitlines()] == [one.name for one in lessons.lessons()]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["run", "nonsense"], 2, "there is no lesson 'nonsense': the lessons are"),
        (["run", "cross-correlation", "--backend", "caffe"], 2, "there is no backend 'caffe'"),
        (["run", "cross-correlation", "--backend", "torch@9.9.9"], 3, "multiconv env create torch@9.9.9"),
        (["run", "cross-correlation", "--mnist", "/nowhere"], 2, "/nowhere"),
        (["export", "nonsense", "-o", "x.ipynb"], 2, "there is no lesson 'nonsense'"),
        (["export", "cross-correlation", "-o", "/nowhere/x.ipynb"], 2, "can't be written to"),
        (["export", "cross-correlation"], 2, "--output"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_usage_is_said(arguments: list[str], status: int, words: str) -> None:
    ran = CliRunner().invoke(main, ["lesson", *arguments])
    assert ran.exit_code == status
    assert words in ran.output
