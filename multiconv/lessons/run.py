"""Lessons: one text and five scripts, each in the plain idiom of its framework, run and compared.

A lesson is a folder in ``multiconv/data/lessons``. It has a ``text.md``, in MyST Markdown, and a script for each
backend. All scripts have the same named cells. The text names a cell where its code and output belong, and the values
to draw in pictures. The answer to an exercise stands between ``:::{answer} N`` and ``:::``, and is shown on demand. The
front matter of the text says which values the five scripts must agree on, and how closely.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tomllib

from multiconv import registry
from multiconv.core import bounds
from multiconv.core.errors import BackendUnavailable, UsageError, suggestion
from multiconv.core.types import Host
from multiconv.lessons import digits
from multiconv.workers import compile_cache
from multiconv.workers.process import PATIENT_THREADS, is_this_python

PACKAGE = Path(__file__).parents[1]
FOLDER = PACKAGE / "data" / "lessons"
RUNNER = PACKAGE / "guest" / "lesson_tab.py"
BACKENDS = ("numpy", "torch", "jax", "tensorflow", "mxnet")
REFERENCE = "numpy"
TIMEOUT = 300.0

CELL = re.compile(r"^# %% (?P<name>[\w-]+)\n", re.MULTILINE)
BLOCK = re.compile(
    r"^(?P<fence>`{3,})\{(?P<kind>cell|picture)\}[ ]*(?P<argument>[^\n]*)\n(?P<body>.*?)^(?P=fence)[ ]*$\n?",
    re.MULTILINE | re.DOTALL,
)
ANSWER = re.compile(r"^:::\{answer\} (?P<exercise>\d+)\n(?P<body>.*?)^:::$\n?", re.MULTILINE | re.DOTALL)
ROUNDINGS = re.compile(r"(\d+) roundings?")


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


@dataclass
class Tab:
    """The results of a lesson's script on one backend.

    Attributes
    ----------
    backend : str
    outputs : dict of str to str
        Printed output of each cell.
    values : dict of str to array
    error : str or None
        What failed, and where.
    """

    backend: str
    outputs: dict[str, str] = field(default_factory=dict)
    values: dict[str, Host] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class Comparison:
    """The comparison of a backend's variable with what the lesson declares.

    Attributes
    ----------
    backend, name : str
    ratio : float
        Largest error in units of the allowed error. 0 if exact; infinity if it must be exact and is not.
    fault : str or None
    """

    backend: str
    name: str
    ratio: float
    fault: str | None = None


def lessons() -> list[Lesson]:
    """Return all lessons, in order.

    Examples
    --------
    >>> lessons()[0].title
    'Cross-correlation'
    """
    found = [Lesson(folder.name, folder) for folder in FOLDER.iterdir() if (folder / "text.md").exists()]
    return sorted(found, key=lambda lesson: lesson.order)


def lesson(name: str) -> Lesson:
    """Return the lesson with this name.

    Raises
    ------
    UsageError
        If there is no such lesson.

    Examples
    --------
    >>> lesson("cross-correlation").order
    1
    """
    for one in lessons():
        if one.name == name:
            return one
    known = [one.name for one in lessons()]
    raise UsageError(f"there is no lesson {name!r}{suggestion(name, known)}: the lessons are {', '.join(known)}")


def available() -> list[str]:
    """Return the names of the installed backends.

    Examples
    --------
    >>> available()[0]
    'numpy'
    """
    return [info.name for info in registry.backends() if info.where is not None and info.name in BACKENDS]


def run(
    of: Sequence[Lesson],
    backends: Iterable[str] = BACKENDS,
    *,
    mnist: Path | None = None,
    timeout: float = TIMEOUT,
    progress: Callable[[str, int, int], None] = lambda backend, done, of: None,
) -> dict[str, dict[str, Tab]]:
    """Run lessons, all scripts of a backend in one process of its own Python.

    If the process dies, a new one runs the remaining lessons.

    Parameters
    ----------
    of : sequence of Lesson
    backends : iterable of str
        Names as for `multiconv.backend`.
    mnist : Path, optional
        Folder with MNIST's files, as for `multiconv.lessons.digits.load`.
    timeout : float
        Time limit for the scripts of a backend, in seconds.
    progress : callable, optional
        Called with a backend, the number of its scripts that have run, and their total number.

    Returns
    -------
    dict of str to dict of str to Tab
        Tabs by lesson and by backend.

    Raises
    ------
    BackendUnavailable
        If a backend is not available.

    Examples
    --------
    >>> tabs = run([lesson("cross-correlation")], ["numpy"])
    >>> tabs["cross-correlation"]["numpy"].values["Y"].tolist()
    [[19.0, 25.0], [37.0, 43.0]]
    """
    backends = list(backends)
    pythons = {backend: registry.locate(backend).python for backend in backends}
    with tempfile.TemporaryDirectory(prefix="multiconv-lessons-") as folder, ThreadPoolExecutor(2) as pool:
        images = digits.load(mnist) if mnist or any(one.reads_digits for one in of) else None

        def all_of(backend: str) -> list[Tab]:
            here = Path(folder, backend.replace("/", "_"))
            here.mkdir()
            if images is not None:
                images.save(here / digits.FILE)
            return _run_backend(of, backend, pythons[backend], here, timeout, progress)

        columns = dict(zip(backends, pool.map(all_of, backends)))
    return {one.name: {b: columns[b][number] for b in backends} for number, one in enumerate(of)}


def comparisons(of: Lesson, tabs: Mapping[str, Tab]) -> list[Comparison]:
    """Compare the values of a lesson's tabs with what the lesson declares.

    Where the lesson states no numbers, the values are compared with the reference's, or with the first tab's.

    Examples
    --------
    >>> one = lesson("cross-correlation")
    >>> {c.fault for c in comparisons(one, run([one], ["numpy"])["cross-correlation"])}
    {None}
    """
    sound = {backend: tab for backend, tab in tabs.items() if tab.error is None}
    if not sound:
        return []
    reference = sound.get(REFERENCE) or next(iter(sound.values()))
    return [
        _compare(backend, name, tab.values[name], how, reference.values[name])
        for backend, tab in sound.items()
        for name, how in of.compare.items()
    ]


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


def _run_backend(
    of: Sequence[Lesson],
    backend: str,
    python: Path,
    here: Path,
    timeout: float,
    progress: Callable[[str, int, int], None],
) -> list[Tab]:
    """Return a tab for each lesson.

    If the process dies, only its current lesson fails.
    """
    tabs: list[Tab] = []
    while len(tabs) < len(of):
        left = of[len(tabs) :]
        request = {
            "tabs": [
                {
                    "lesson": one.name,
                    "script": str(one.script(backend)),
                    "cells": [[cell.name, cell.first_line, cell.code] for cell in one.cells(backend)],
                    "values": one.values,
                }
                for one in left
            ]
        }
        how = _run_process(python, request, here, timeout)
        for one in left:
            tab = _tab(backend, here, one)
            tabs.append(tab or Tab(backend, error=how or "it ended without an answer"))
            progress(backend, len(tabs), len(of))
            if tab is None:
                break
    return tabs


def _run_process(python: Path, request: dict[str, Any], here: Path, timeout: float) -> str | None:
    """Run tabs in a process; return how it failed, or None."""
    isolated = [] if is_this_python(python) else ["-I"]  # PYTHONPATH is of this Python's packages
    environment = os.environ | PATIENT_THREADS | compile_cache.environment("jax") | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        ran = subprocess.run(
            [str(python), *isolated, str(RUNNER)], input=json.dumps(request), capture_output=True, text=True,
            cwd=here, env=environment, timeout=timeout, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"it took longer than {timeout:g} s and was killed"
    except OSError as error:
        raise BackendUnavailable(f"{python} can't be run: {error}") from None
    if ran.returncode == 0:
        return None
    how = f"was killed by signal {-ran.returncode}" if ran.returncode < 0 else f"ended with status {ran.returncode}"
    return f"the process {how}\n{ran.stderr[-2000:]}"


def _tab(backend: str, here: Path, of: Lesson) -> Tab | None:
    """Return the tab that a process has written for a lesson, or None."""
    report = here / f"{of.name}.json"
    if not report.exists():
        return None
    ended = json.loads(report.read_text())
    if ended["error"] is not None:
        cell, trace = ended["error"]
        return Tab(backend, ended["outputs"], error=f"in cell {cell!r}:\n{trace}")
    with np.load(here / f"{of.name}.npz") as values:
        return Tab(backend, ended["outputs"], dict(values))


def _compare(backend: str, name: str, value: Host, how: Any, reference: Host) -> Comparison:
    roundings = ROUNDINGS.fullmatch(how) if isinstance(how, str) else None
    expected = reference if isinstance(how, str) else np.asarray(how)
    if isinstance(how, str) and roundings is None and how != "exact":
        raise UsageError(f"text.md says that {name} must be {how!r}: it may be exact, N roundings, or numbers")
    if value.shape != expected.shape:
        return Comparison(backend, name, np.inf, f"its shape is {value.shape}, not {expected.shape}")
    wide, right = value.astype(np.float64), expected.astype(np.float64)
    allowed = 0.0
    if roundings is not None:
        relative = bounds.gamma(int(roundings[1]), bounds.unit_roundoff("float32"))
        allowed = relative * float(np.abs(right).max(initial=0))
    ratios = bounds.ratios(wide, right, np.asarray(allowed))
    worst = float(ratios.max(initial=0))
    if worst <= 1:
        return Comparison(backend, name, worst)
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(ratios)), ratios.shape))
    error = abs(wide[index] - right[index])
    limit = f"an error of {allowed:.3g} is allowed" if allowed else "it must be exact"
    return Comparison(
        backend, name, worst, f"element {list(index)} is {wide[index]}, not {right[index]} ({error:.3g} apart; {limit})"
    )
