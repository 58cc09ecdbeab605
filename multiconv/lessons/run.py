"""Run lessons: five scripts for each text, each in its framework's own Python, and compare their values."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from multiconv import registry
from multiconv.core import bounds
from multiconv.core.errors import BackendUnavailable, UsageError, suggestion
from multiconv.core.types import Host
from multiconv.lessons import digits
from multiconv.lessons.text import Lesson
from multiconv.workers import compile_cache
from multiconv.workers.process import PATIENT_THREADS, is_this_python

PACKAGE = Path(__file__).parents[1]
FOLDER = PACKAGE / "data" / "lessons"
RUNNER = PACKAGE / "guest" / "lesson_tab.py"
BACKENDS = ("numpy", "torch", "jax", "tensorflow", "mxnet")
REFERENCE = "numpy"
TIMEOUT = 300.0

ROUNDINGS = re.compile(r"(\d+) roundings?")


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
