"""A lesson in one framework as a Jupyter notebook that runs from top to bottom."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import nbformat

from multiconv.core.errors import UsageError
from multiconv.core.files import naming
from multiconv.core.targets import plain_name
from multiconv.lessons import digits
from multiconv.lessons.run import CellPlace, Lesson, Picture

jupyter: Any = nbformat  # nbformat has no type annotations
# How each framework converts an array to NumPy, for matplotlib.
TO_NUMPY = {
    "numpy": "np.asarray({})",
    "torch": "torch.as_tensor({}).detach().numpy()",
    "jax": "np.asarray({})",
    "tensorflow": "np.asarray({})",
    "mxnet": "({0}.asnumpy() if hasattr({0}, 'asnumpy') else np.asarray({0}))",
}
DRAWINGS = {
    "images": """
        images = [image for value in values for image in value.reshape(-1, *value.shape[-2:])]
        figure, axes = plt.subplots(1, len(images), squeeze=False)
        for axis, image in zip(axes[0], images):
            axis.imshow(image, cmap="gray")
            axis.axis("off")
        """,
    "curves": """
        for value in values:
            plt.plot(value)
        """,
    "bars": """
        for value in values:
            plt.bar(range(len(value)), value)
        """,
}


def notebook(of: Lesson, backend: str) -> Any:
    """Return a notebook with a lesson's text and the cells of one backend, in the order of the text.

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
        if isinstance(part, CellPlace):
            cells.append(jupyter.v4.new_code_cell(code[part.name].rstrip("\n")))
        elif isinstance(part, Picture):
            cells.append(jupyter.v4.new_code_cell(_drawing(part, backend)))
        else:
            cells.append(jupyter.v4.new_markdown_cell(part))
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


def _drawing(picture: Picture, backend: str) -> str:
    values = ", ".join(TO_NUMPY[plain_name(backend)].format(name) for name in picture.values)
    head = f"import matplotlib.pyplot as plt\nimport numpy as np\n\nvalues = [{values}]\n"
    return head + dedent(DRAWINGS[picture.kind]).strip("\n") + f"\nplt.suptitle({picture.caption!r})\nplt.show()"
