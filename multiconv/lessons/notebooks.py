"""A lesson in one framework as a Jupyter notebook that runs from top to bottom."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import nbformat

from multiconv.core.errors import UsageError
from multiconv.core.files import naming
from multiconv.core.targets import plain_name
from multiconv.lessons import digits
from multiconv.lessons.text import Answer, CellPlace, Lesson, Picture

jupyter: Any = nbformat  # nbformat has no type annotations
# How each framework converts an array to NumPy, for matplotlib.
TO_NUMPY = {
    "numpy": "np.asarray({})",
    "torch": "torch.as_tensor({}).detach().numpy()",
    "jax": "np.asarray({})",
    "tensorflow": "np.asarray({})",
    "mxnet": "({0}.asnumpy() if hasattr({0}, 'asnumpy') else np.asarray({0}))",
}
# A function for each kind of picture, so that its variables do not overwrite the lesson's.
DRAWINGS = {
    "images": """
        def draw_images(values, titles, caption):
            images = []
            for value, title in zip(values, titles):
                stack = value.reshape(-1, *value.shape[-2:])
                images += [(title.format(number), image, value) for number, image in enumerate(stack)]
            columns = min(len(images), 6)
            rows = -(-len(images) // columns)
            figure, axes = plt.subplots(
                rows, columns, figsize=(2 * columns, 2.4 * rows), squeeze=False, layout="constrained"
            )
            for axis in axes.flat:
                axis.axis("off")
            for axis, (title, image, value) in zip(axes.flat, images):
                most = abs(value).max() or 1
                if value.min() < 0:  # red is positive, blue is negative, white is 0
                    axis.imshow(image, cmap="RdBu_r", vmin=-most, vmax=most)
                else:
                    axis.imshow(image, cmap="gray", vmin=0, vmax=most)
                axis.set_title(title, fontsize=9, wrap=True)
            figure.suptitle(caption, wrap=True)
        """,
    "curves": """
        def draw_curves(values, titles, caption):
            figure, axes = plt.subplots(1, len(values), squeeze=False, layout="constrained")
            for axis, value, title in zip(axes[0], values, titles):
                axis.plot(value)
                axis.set_title(title)
            figure.suptitle(caption, wrap=True)
        """,
    "bars": """
        def draw_bars(values, titles, caption):
            figure, axes = plt.subplots(1, len(values), squeeze=False, layout="constrained")
            for axis, value, title in zip(axes[0], values, titles):
                axis.bar(range(len(value)), value)
                axis.set_title(title)
            figure.suptitle(caption, wrap=True)
        """,
}


def notebook(of: Lesson, backend: str) -> Any:
    """Return a notebook with a lesson's text and the cells of one backend, in the order of the text.

    The answers to exercises are collapsed: a click opens them.

    Parameters
    ----------
    of : Lesson
    backend : str

    Returns
    -------
    nbformat.NotebookNode

    Examples
    --------
    >>> from multiconv.lessons.run import lesson
    >>> "import torch" in notebook(lesson("cross-correlation"), "torch").cells[1].source
    True
    """
    code = {cell.name: cell.code for cell in of.cells(backend)}
    cells = []
    for part in of.parts:
        if isinstance(part, Answer):
            cells.extend(_collapsed(part, code, backend))
        else:
            cells.append(_cell(part, code, backend))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # nbformat's own ids are random: each export would differ
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return jupyter.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def export(of: Lesson, backend: str, file: Path, mnist: Path | None = None, *, force: bool = False) -> list[Path]:
    """Write a lesson as a notebook, and a file with the digits beside it if the lesson reads them.

    A file that `file` names is overwritten.

    Parameters
    ----------
    of : Lesson
    backend : str
    file : Path
    mnist : Path, optional
        Folder with MNIST's files, as for `multiconv.lessons.digits.load`.
    force : bool
        Whether to overwrite a file of digits that has others.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    UsageError
        If the digits' file exists with other contents and `force` is not set, or if the notebook has its name.
    """
    contents = {file: jupyter.writes(notebook(of, backend)).encode()}
    if of.reads_digits:
        beside = file.parent / digits.FILE
        if beside == file:
            raise UsageError(f"{file} is where the digits go that the notebook reads: give the notebook another name")
        contents[beside] = digits.load(mnist).as_npz()
        if beside.exists() and not force and beside.read_bytes() != contents[beside]:
            raise UsageError(
                f"{beside} exists, and is not the file of digits that the notebook would read: write the notebook to "
                "another folder, or overwrite that file with --force"
            )
    for path, content in contents.items():
        with naming(path):
            path.write_bytes(content)
    return list(contents)


def _cell(part: str | CellPlace | Picture, code: Mapping[str, str], backend: str) -> Any:
    if isinstance(part, CellPlace):
        return jupyter.v4.new_code_cell(code[part.name].rstrip("\n"))
    if isinstance(part, Picture):
        return jupyter.v4.new_code_cell(_drawing(part, backend))
    return jupyter.v4.new_markdown_cell(part)


def _collapsed(answer: Answer, code: Mapping[str, str], backend: str) -> list[Any]:
    """Return the cells of an answer: text in ``<details>``, code and its output hidden until a click."""
    cells = [_cell(part, code, backend) for part in answer.parts]
    for cell in cells:
        if cell.cell_type == "code":
            cell.metadata.update(jupyter={"source_hidden": True, "outputs_hidden": True})
        else:
            summary = f"<summary>Answer to exercise {answer.exercise}</summary>"
            # Markdown inside <details> is rendered only between blank lines.
            cell.source = f"<details>{summary}\n\n{cell.source}\n\n</details>"
    return cells


def _drawing(picture: Picture, backend: str) -> str:
    values = ", ".join(TO_NUMPY[plain_name(backend)].format(name) for name in picture.values)
    titles = [picture.title(number) for number in range(len(picture.values))]
    function = dedent(DRAWINGS[picture.kind]).strip("\n")
    call = f"draw_{picture.kind}([{values}], {titles}, {picture.caption!r})"
    return f"import matplotlib.pyplot as plt\nimport numpy as np\n\n\n{function}\n\n\n{call}\nplt.show()"
