"""Try known faults here: their scripts in the framework's own API, and their problems through multiconv."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from multiconv import registry
from multiconv.core.backend import Backend
from multiconv.core.errors import BackendCrashed, BackendTimeout, ConvError
from multiconv.core.targets import ORDER, plain_name
from multiconv.core.types import Progress, no_progress
from multiconv.oracle.judgement import judge
from multiconv.survey.framework_scripts import Ended, locate_each, run_scripts
from multiconv.survey.known import Fault
from multiconv.workers import compile_cache

TIMEOUT = 60.0
SHOWN_VALUES = 12
FINE = ("right", "refuses")
"""What multiconv may do with a problem: each other verdict is a fault of multiconv."""


@dataclass(frozen=True)
class Here:
    """The outcome of a fault's script on this machine.

    Attributes
    ----------
    version : str
        Version of the framework.
    verdict : str
        One of `multiconv.survey.known.VERDICTS`.
    outcome : str
        The answer or the error, in words.
    stderr : str
    """

    version: str
    verdict: str
    outcome: str
    stderr: str = ""


@dataclass(frozen=True)
class Handled:
    """What a backend of multiconv did with a fault's problem.

    Attributes
    ----------
    verdict : str
        ``"right"``, ``"refuses"``, ``"wrong"``, ``"crashes"`` or ``"fails"``.
    words : str
        The message or the disagreement. Empty if it is right.
    """

    verdict: str
    words: str = ""


@dataclass(frozen=True)
class Tried:
    """A fault that was tried on this machine.

    Attributes
    ----------
    fault : Fault
    here : dict
        The outcome of its script for each backend named, such as ``"torch@2.5.1"``, whose framework it is of.
    multiconv : dict
        What each backend named did with its problem. Empty if multiconv's interface has no such feature.
    """

    fault: Fault
    here: dict[str, Here] = field(default_factory=dict)
    multiconv: dict[str, Handled] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Return whether a script's verdict differs from the catalogue's."""
        return any(here.verdict != self.fault.here for here in self.here.values())

    @property
    def wrong(self) -> list[str]:
        """Return the backends of multiconv that did something else than the right result or a refusal."""
        return [name for name, handled in self.multiconv.items() if handled.verdict not in FINE]

    def describe(self) -> list[str]:
        """Describe for a maintainer what has changed and what multiconv does wrongly.

        Examples
        --------
        >>> from multiconv.survey.known_catalogue import select
        >>> fault = select(["numpy-20090"])[0]
        >>> Tried(fault, {"numpy": Here("3.0.0", "refused", "raises ValueError")}).describe()
        ["fault numpy-20090 changed: was 'as reported' with numpy 2.4.6, is 'refused' with numpy 3.0.0 (raises
        ValueError)"]
        """
        f = self.fault
        lines = [
            f"fault {f.id} changed: was {f.here!r} with {f.framework} {f.version}, is {here.verdict!r} with "
            f"{name} {here.version} ({here.outcome})"
            for name, here in self.here.items()
            if here.verdict != f.here
        ]
        return lines + [f"multiconv's {n} on {f.id}: {self.multiconv[n].words}" for n in self.wrong]


def locate(names: Sequence[str]) -> tuple[dict[str, registry.Place], dict[str, str]]:
    """Find the named backends, or all five that are installed. Named ones must be available.

    Examples
    --------
    >>> places, missing = locate(["numpy"])
    >>> list(places), missing
    (['numpy'], {})
    """
    return locate_each(names or ORDER, optional=not names)


def concerned(faults: Sequence[Fault], names: Sequence[str]) -> list[Fault]:
    """Return the faults of these backends' frameworks, and those of projects that multiconv has no backend for.

    Examples
    --------
    >>> from multiconv.survey.known_catalogue import catalogue
    >>> {fault.framework for fault in concerned(catalogue(), ["numpy"])} == {"numpy", ""}
    True
    """
    frameworks = {plain_name(name) for name in names} | {""}
    return [f for f in faults if not names or f.framework in frameworks]


def run(faults: Sequence[Fault], places: dict[str, registry.Place], progress: Progress = no_progress) -> list[Tried]:
    """Try faults on backends: each script in its own process, and each problem through multiconv in a worker.

    Parameters
    ----------
    faults : sequence of Fault
    places : dict
        Where each backend is installed, from `locate`.
    progress : callable, optional

    Returns
    -------
    list of Tried
        One for each fault, in the same order.

    Raises
    ------
    BackendCrashed
        If a framework can't be imported.

    Examples
    --------
    >>> from multiconv.survey.known_catalogue import select
    >>> (tried,) = run(select(["numpy-20090"]), locate(["numpy"])[0])
    >>> tried.here["numpy"].verdict, tried.multiconv["numpy"].verdict
    ('as reported', 'refuses')
    """
    tried = [Tried(fault) for fault in faults]
    for fault in faults:  # computed here once, as several threads need it
        _ = fault.value

    def on(item: tuple[str, registry.Place]) -> tuple[str, dict[str, Here], dict[str, Handled]]:
        return item[0], _scripts(faults, *item, progress), _problems(faults, *item, progress)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, here, handled in pool.map(on, places.items()):
            for t in tried:
                if t.fault.id in here:
                    t.here[name] = here[t.fault.id]
                if t.fault.id in handled:
                    t.multiconv[name] = handled[t.fault.id]
    return tried


def as_verdict(fault: Fault, ended: Ended, version: str = "") -> Here:
    """Compare the outcome of a script with the right result and with the report.

    Examples
    --------
    >>> from multiconv.survey.known_catalogue import select
    >>> as_verdict(select(["numpy-20090"])[0], Ended("raises ValueError", "")).verdict
    'refused'
    """
    last = ended.outcome.splitlines()[-1] if ended.outcome else ""
    if last.startswith(("killed by", "exit status")) or not last:
        verdict = "as reported" if fault.reported.kind == "crash" else "crashes"
        return Here(version, verdict, last or "no output", ended.stderr)
    if last.startswith("raises "):
        verdict = "as reported" if fault.reported.kind == "error" else "refused"
        return Here(version, verdict, last, ended.stderr)
    found = json.loads(last)
    answer = np.array(found["values"], "float64").reshape(found["shape"])
    return Here(version, _compared(fault, answer), _in_words(answer), ended.stderr)


def _compared(fault: Fault, answer: Any) -> str:
    reported, right = fault.reported, fault.value
    if right is not None and answer.shape == right.shape and np.array_equal(answer, right):
        return "right"
    same_shape = right is not None and answer.shape == right.shape
    if reported.kind in ("shape", "no error"):
        matches = not same_shape and (not reported.shape or answer.shape == reported.shape)
    else:
        matches = reported.kind == "values" and same_shape
    if reported.values:
        matches = matches and np.array_equal(answer.ravel(), reported.values)
    return "as reported" if matches else "other wrong"


def _in_words(answer: Any) -> str:
    values = [f"{value:g}" for value in answer.ravel()[:SHOWN_VALUES]]
    more = ", ..." if answer.size > SHOWN_VALUES else ""
    return f"shape {list(answer.shape)}, values {', '.join(values)}{more}"


def _scripts(faults: Sequence[Fault], name: str, place: registry.Place, progress: Progress) -> dict[str, Here]:
    own = {f.id: f for f in faults if f.framework == plain_name(name) and f.script}
    scripts = {key: f.whole_script for key, f in own.items()}
    if not scripts:
        return {}
    ended = run_scripts(plain_name(name), scripts, place, progress)
    return {key: as_verdict(own[key], end, place.version or "") for key, end in ended}


def _problems(faults: Sequence[Fault], name: str, place: registry.Place, progress: Progress) -> dict[str, Handled]:
    """Run the problems through multiconv, in a worker, which a crash can't end."""
    met = [f for f in faults if f.multiconv.does != "never meets it"]
    if not met:
        return {}
    worker = registry.new_worker(name, TIMEOUT, compile_cache.environment(name, place.version))
    handled = {}
    try:
        for number, fault in enumerate(met, 1):
            handled[fault.id] = through_multiconv(fault, worker)
            progress(name, number, len(met), fault.id)
    finally:
        worker.close()
    return handled


def through_multiconv(fault: Fault, backend: Backend) -> Handled:
    """Run a fault's problem on a backend of multiconv, and judge the answer by the exact oracle.

    Examples
    --------
    >>> from multiconv import backend
    >>> from multiconv.survey.known_catalogue import select
    >>> through_multiconv(select(["numpy-20090"])[0], backend("numpy")).verdict
    'refuses'
    """
    try:
        answer = _answer(fault, backend)
    except ConvError as error:
        return Handled("refuses", str(error))
    except (BackendCrashed, BackendTimeout) as error:
        return Handled("crashes", str(error))
    except Exception as error:
        return Handled("fails", f"{type(error).__name__}: {error}")
    if fault.right.error:
        return Handled("wrong", f"it answers with shape {list(answer.shape)}, where an error is right")
    judgement = judge(answer, fault.problem.expectations([fault.direction])[fault.direction])
    return Handled("right") if judgement.fault is None else Handled("wrong", judgement.fault)


def _answer(fault: Fault, backend: Backend) -> Any:
    """Return the backend's answer, or raise what it raises."""
    if fault.right.error:
        dtype = fault.dtype
        if fault.direction == "conv_transpose":
            dy = (fault.dy or fault.x).array(dtype)
            return backend.to_numpy(backend.conv_transpose(dy, fault.w.array(dtype), **fault.options))
        return backend.to_numpy(backend.cross_correlate(fault.x.array(dtype), fault.w.array(dtype), **fault.options))
    ((_, answer),) = fault.problem.answers(backend, fault.direction)
    if isinstance(answer, Exception):
        raise answer
    return answer
