"""A spatial axis and the windows of its outputs as a picture: text for a terminal, and SVG."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiconv.subjects.explain import Axis, Explanation

WIDEST = 72
"""The most pixels that a row of text shows."""
CELL, GAP, LEFT, ROW = 11, 2, 64, 16
INK, PAD, PIXEL, UNSEEN, TAP = "#767676", "#d9d9d9", "#56b4e9", "#d55e00", "#0072b2"


@dataclass(frozen=True)
class Row:
    """A row of a picture: its label and one mark for each position, with None where pixels are left out."""

    label: str
    marks: tuple[str | None, ...]


def rows(axis: Axis, *, transposed: bool, widest: int = WIDEST) -> list[Row]:
    """Return the rows of the picture of an axis: its pixels, and the windows of the first and last outputs.

    The marks are ``0`` for a zero of the padding, ``-`` for a pixel, ``x`` for a pixel that no output sees, ``*`` for a
    tap and a blank elsewhere.

    Examples
    --------
    >>> from multiconv.subjects.explain import explain
    >>> axis = explain((1, 1, 5), (1, 1, 3), stride=2, padding=((1, 0),)).axes[0]
    >>> for row in rows(axis, transposed=False):
    ...     print(row.label, "".join(row.marks))
    x 0----x
    y[0] ***
    y[1]   ***
    """
    before, after = axis.pads
    shown = _shown(axis.size + before + after, widest)
    ends = [range(a + before, b + before + 1) for a, b in axis.unseen]

    def pixel(at: int) -> str:
        if not before <= at < before + axis.size:
            return "0"
        return "x" if any(at in run for run in ends) else "-"

    def taps(output: int) -> Row:
        first = output * axis.stride
        marks = (
            None if at is None
            else "*" if 0 <= at - first < axis.extent and (at - first) % axis.dilation == 0
            else " "
            for at in shown
        )  # fmt: skip
        return Row(f"{'x' if transposed else 'y'}[{output}]", tuple(marks))

    outputs = sorted({n for n in (0, 1, 2, axis.out - 2, axis.out - 1) if 0 <= n < axis.out})
    windows = [row for row in map(taps, outputs) if "*" in row.marks]
    whole = Row("y" if transposed else "x", tuple(None if at is None else pixel(at) for at in shown))
    return [whole, *windows]


def _shown(length: int, widest: int) -> list[int | None]:
    """Return the positions that a picture shows: all, or both ends with None between them."""
    if length <= widest:
        return list(range(length))
    half = widest // 2
    return [*range(half), None, *range(length - half, length)]


def as_lines(axis: Axis, *, transposed: bool) -> list[str]:
    """Return the picture of an axis as lines of text, with a legend."""
    of_axis = rows(axis, transposed=transposed)
    width = max(len(row.label) for row in of_axis)
    lines = [
        f"{row.label:{width}}  " + "".join(" ... " if mark is None else mark for mark in row.marks) for row in of_axis
    ]
    marks = {mark for row in of_axis for mark in row.marks}
    words = _legend(transposed=transposed)
    legend = ", ".join(f"{mark} {word}" for mark, word in words.items() if mark in marks)
    return [*(line.rstrip() for line in lines), f"{'':{width}}  ({legend})"]


def _legend(*, transposed: bool) -> dict[str, str]:
    if transposed:
        return {"0": "cut off", "-": "pixel of y", "x": "pixel of y without a product", "*": "tap"}
    return {"0": "padding", "-": "pixel", "x": "pixel that no output sees", "*": "tap"}


def as_svg(of: Explanation) -> str:
    """Return the pictures of all different axes, one below the other, as SVG."""
    transposed = of.direction == "conv_transpose"
    body: list[str] = []
    y, width = 0, 0
    for axis in dict.fromkeys(of.axes):
        body.append(f'<text x="0" y="{y + 12}">{escape(axis.formula)}</text>')
        y += 22
        for row in rows(axis, transposed=transposed):
            body.append(f'<text x="0" y="{y + 10}">{escape(row.label)}</text>')
            body += _cells(row, y)
            width = max(width, LEFT + len(row.marks) * (CELL + GAP))
            y += ROW
        y += ROW
    for mark, words in _legend(transposed=transposed).items():
        body.append(_cell(mark, 0, y))
        body.append(f'<text x="{CELL + 6}" y="{y + 10}">{words}</text>')
        y += ROW
    title = escape(f"{of.x_shape} and {of.geometry.w_shape} give {of.y_shape}")
    width = max(width, 420)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" viewBox="0 0 {width} {y}" role="img" '
        f'font-family="sans-serif" font-size="12" fill="{INK}"><title>{title}</title>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _cells(row: Row, y: int) -> list[str]:
    return [
        f'<text x="{LEFT + number * (CELL + GAP)}" y="{y + 10}">...</text>'
        if mark is None
        else _cell(mark, LEFT + number * (CELL + GAP), y)
        for number, mark in enumerate(row.marks)
        if mark != " "
    ]


def _cell(mark: str, x: int, y: int) -> str:
    fill = {"0": PAD, "-": PIXEL, "x": UNSEEN, "*": TAP}[mark]
    return f'<rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" fill="{fill}"/>'
