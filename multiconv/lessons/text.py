"""Lessons as they are written: one text, and five scripts in the plain idiom of their frameworks.

A lesson is a folder in ``multiconv/data/lessons``. It has a ``text.md``, in MyST Markdown, and a script for each
backend. All scripts have the same named cells. The text names a cell where its code and output belong, and the values
to draw in pictures. The answer to an exercise stands between ``:::{answer} N`` and ``:::``, and is shown on demand. The
front matter of the text says which values the five scripts must agree on, and how closely.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import tomllib

from multiconv.lessons import digits

CELL = re.compile(r"^# %% (?P<name>[\w-]+)\n", re.MULTILINE)
BLOCK = re.compile(
    r"^(?P<fence>`{3,})\{(?P<kind>cell|picture)\}[ ]*(?P<argument>[^\n]*)\n(?P<body>.*?)^(?P=fence)[ ]*$\n?",
    re.MULTILINE | re.DOTALL,
)
ANSWER = re.compile(r"^:::\{answer\} (?P<exercise>\d+)\n(?P<body>.*?)^:::$\n?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Cell:
    """A named part of a script.

    Attributes
    ----------
    name : str
    first_line : int
        Line of the script at which the code begins.
    code : str
    """

    name: str
    first_line: int
    code: str


@dataclass(frozen=True)
class CellPlace:
    """The place in the text for a cell and its output."""

    name: str


@dataclass(frozen=True)
class Picture:
    """The place in the text for a picture.

    Attributes
    ----------
    values : tuple of str
        Names of variables in the scripts.
    kind : str
        ``"images"``: side by side, of two axes each. ``"curves"``: of one axis each. ``"bars"``.
    caption : str
    each : bool
        Whether each backend has its own picture. Otherwise one picture shows all backends.
    titles : tuple of str
        A title for each value. ``{}`` in it is the number of the image in a stack. Default: the names of the values.
    """

    values: tuple[str, ...]
    kind: str = "images"
    caption: str = ""
    each: bool = False
    titles: tuple[str, ...] = ()

    def title(self, number: int, *, stacked: bool = False) -> str:
        """Return the title of a value, with ``{}`` for the number of an image if the value is a stack.

        Examples
        --------
        >>> Picture(("first_kernel",)).title(0)
        'first kernel'
        >>> Picture(("first_kernel",)).title(0, stacked=True)
        'first kernel {}'
        """
        if self.titles:
            return self.titles[number]
        words = self.values[number].replace("_", " ")
        return f"{words} {{}}" if stacked else words


@dataclass(frozen=True)
class Answer:
    """The answer to an exercise, which is shown on demand.

    Attributes
    ----------
    exercise : int
        Number of the exercise.
    parts : tuple
        The text, cells and pictures of the answer.
    """

    exercise: int
    parts: tuple[str | CellPlace | Picture, ...]


Part = str | CellPlace | Picture | Answer


@dataclass(frozen=True)
class Lesson:
    """A lesson: its text and its scripts.

    Attributes
    ----------
    name : str
        Name of the folder.
    folder : Path
    """

    name: str
    folder: Path

    @cached_property
    def _front_matter(self) -> tuple[dict[str, Any], str]:
        _, front, text = self.folder.joinpath("text.md").read_text().split("+++\n", 2)
        return tomllib.loads(front), text

    @property
    def title(self) -> str:
        """Return the title."""
        return str(self._front_matter[0]["title"])

    @property
    def order(self) -> int:
        """Return the position among the lessons."""
        return int(self._front_matter[0]["order"])

    @property
    def compare(self) -> dict[str, Any]:
        """Return the values that the backends must agree on, by name of the variable.

        ``"exact"``: the same numbers on every backend. ``"N roundings"``: within N roundings of float32 of the largest
        number. Numbers: exactly these.
        """
        return dict(self._front_matter[0].get("compare", {}))

    @cached_property
    def parts(self) -> list[Part]:
        """Return the text in pieces: Markdown, places of cells, pictures, and answers to exercises."""
        parts: list[Part] = []
        text, end = self._front_matter[1], 0
        for answer in ANSWER.finditer(text):
            parts.extend(_without_answers(text[end : answer.start()]))
            parts.append(Answer(int(answer["exercise"]), tuple(_without_answers(answer["body"]))))
            end = answer.end()
        parts.extend(_without_answers(text[end:]))
        return parts

    @property
    def all_parts(self) -> list[str | CellPlace | Picture]:
        """Return the pieces of the text in order, with those of each answer in place of the answer."""
        return [piece for part in self.parts for piece in (part.parts if isinstance(part, Answer) else [part])]

    def script(self, backend: str) -> Path:
        """Return the path of a backend's script."""
        return self.folder / f"{backend.partition('@')[0]}.py"

    def cells(self, backend: str) -> list[Cell]:
        """Return the cells of a backend's script, in order."""
        source = self.script(backend).read_text()
        markers = list(CELL.finditer(source))
        ends = [*(m.start() for m in markers[1:]), len(source)]
        return [
            Cell(m["name"], source.count("\n", 0, m.end()) + 1, source[m.end() : end].strip("\n") + "\n")
            for m, end in zip(markers, ends)
        ]

    @property
    def reads_digits(self) -> bool:
        """Return whether a script reads the digits from its working directory."""
        return any(digits.FILE in script.read_text() for script in self.folder.glob("*.py"))

    @property
    def values(self) -> list[str]:
        """Return the names of the variables that are compared or drawn."""
        drawn = (name for part in self.all_parts if isinstance(part, Picture) for name in part.values)
        return list(dict.fromkeys([*self.compare, *drawn]))


def _without_answers(text: str) -> Iterator[str | CellPlace | Picture]:
    end = 0
    for block in BLOCK.finditer(text):
        if between := text[end : block.start()].strip("\n"):
            yield between
        yield _part(block)
        end = block.end()
    if rest := text[end:].strip("\n"):
        yield rest


def _part(block: re.Match[str]) -> CellPlace | Picture:
    if block["kind"] == "cell":
        return CellPlace(block["argument"].strip())
    options = dict(re.findall(r"^:(\w+):[ ]*(.*)$", block["body"], re.MULTILINE))
    return Picture(
        tuple(block["argument"].split()),
        options.get("kind", "images"),
        options.get("caption", ""),
        options.get("each", "no") == "yes",
        tuple(title.strip() for title in options["titles"].split("|")) if "titles" in options else (),
    )
