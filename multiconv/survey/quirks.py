"""Behaviour of the frameworks that a user would not expect: a catalogue of small scripts and their outcomes.

The catalogue is in ``data/quirks``, one file per framework. A script uses the framework's own API, without multiconv.
Its outcome is its output and how it ends. `run` checks whether the outcome is still the same on the installed versions.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Any

import tomllib

from multiconv import registry
from multiconv.core.errors import UsageError, suggestion
from multiconv.core.targets import ORDER
from multiconv.core.types import Progress, no_progress
from multiconv.survey.framework_scripts import locate_each, run_scripts


@dataclass(frozen=True)
class Instead:
    """How multiconv handles a quirk of a framework.

    Attributes
    ----------
    does : str
        ``"refuses"``: it raises a `ConvError`. ``"never meets it"``: its interface has no such feature. ``"is right"``:
        `multiconv.oracle` confirms its answer.
    how : str
        Explanation, in words.
    refusal : str
        Message of the `ConvError`.
    direction : str
        One of `multiconv.oracle.problem.DIRECTIONS`.
    x, w : tuple of int
        Shapes of input and kernel.
    dtype : str
    values : str
        Kind of values, as for `multiconv.testing.with_values`.
    scale : float
        Factor for the values.
    options : dict
        Stride, padding and other options.
    """

    does: str
    how: str = ""
    refusal: str = ""
    direction: str = "forward"
    x: tuple[int, ...] = ()
    w: tuple[int, ...] = ()
    dtype: str = "float32"
    values: str = "integers"
    scale: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)

    def describe(self) -> str:
        """Describe it in one sentence.

        Examples
        --------
        >>> Instead("refuses", refusal="w has no channels").describe()
        'multiconv refuses it: "w has no channels".'
        """
        does = "refuses it" if self.does == "refuses" else self.does
        how = f'"{self.refusal}"' if self.refusal else self.how
        return f"multiconv {does}{': ' * bool(how)}{how}."


@dataclass(frozen=True)
class Quirk:
    """Behaviour of a framework that a user would not expect.

    Attributes
    ----------
    id : str
        Unique within a framework. Several frameworks may share an id, each with its own script.
    framework : str
    version : str
        Version of the framework for which the outcome was measured.
    title : str
    kind : str
        Category, such as ``"wrong shape"`` or ``"abort"``.
    script : str
        Python code that uses the framework's own API.
    expected, comes : str
        Expected and actual behaviour of the script, in words.
    outcome : str
        Output of the script. If an exception or a signal ends it, the last line says which.
    multiconv : Instead
    why, link : str
        The cause, and an issue of the framework about this behaviour. Empty if unknown.
    """

    id: str
    framework: str
    version: str
    title: str
    kind: str
    script: str
    expected: str
    comes: str
    outcome: str
    multiconv: Instead
    why: str = ""
    link: str = ""


@dataclass(frozen=True)
class Found:
    """The outcome of a quirk's script on this machine.

    Attributes
    ----------
    quirk : Quirk
    version : str
        Version of the framework.
    outcome : str
    stderr : str
        The end of the script's standard error.
    """

    quirk: Quirk
    version: str
    outcome: str
    stderr: str = ""

    @property
    def changed(self) -> bool:
        """Return whether the outcome differs from the catalogue's."""
        return self.outcome != self.quirk.outcome

    def describe(self) -> str:
        """Describe the outcome for a maintainer.

        Examples
        --------
        >>> numpy = catalogue()[0]
        >>> Found(numpy, "3.0.0", "raises ValueError").describe()
        "quirk correlate-swaps-its-arguments of numpy changed: was '[8 5] [5 8]' with 2.4.6, is 'raises ValueError'
        with 3.0.0: update the catalogue"
        """
        q = self.quirk
        if not self.changed:
            return f"quirk {q.id} of {q.framework} is as measured"
        return (
            f"quirk {q.id} of {q.framework} changed: was {q.outcome!r} with {q.version}, "
            f"is {self.outcome!r} with {self.version}: update the catalogue"
        )


@cache
def catalogue() -> tuple[Quirk, ...]:
    """Return all quirks, in the order of the frameworks.

    Examples
    --------
    >>> catalogue()[0].title
    'np.correlate swaps its arguments if the second is longer, and then reverses the result'
    """
    return tuple(quirk for framework in ORDER for quirk in _read(framework))


def select(ids: Sequence[str] = (), framework: str | None = None) -> list[Quirk]:
    """Return the quirks with these ids (default all), of one framework or of all.

    Raises
    ------
    ValueError
        If there is no such quirk. The message suggests similar ids.

    Examples
    --------
    >>> [quirk.framework for quirk in select(["int8-wraps"])]
    ['numpy', 'torch', 'jax']
    >>> select(["int8-warps"], "torch")
    Traceback (most recent call last):
    multiconv.UsageError: torch has no quirk 'int8-warps' (did you mean 'int8-wraps'?)
    """
    there = [q for q in catalogue() if framework in (None, q.framework)]
    known = list(dict.fromkeys(q.id for q in there))
    for wanted in ids:
        if wanted not in known:
            who = "no framework has a" if framework is None else f"{framework} has no"
            rest = suggestion(wanted, known) or f": the quirks are {', '.join(known)}"
            raise UsageError(f"{who} quirk {wanted!r}{rest}")
    return [q for q in there if not ids or q.id in ids]


def run(quirks: Iterable[Quirk], places: dict[str, registry.Place], progress: Progress = no_progress) -> list[Found]:
    """Run the scripts of quirks, each in its own process, on a CPU.

    Parameters
    ----------
    quirks : iterable of Quirk
        Quirks in the order of the catalogue.
    places : dict
        Where each framework is installed, from `multiconv.registry.locate`.
    progress : callable, optional

    Returns
    -------
    list of Found
        One for each quirk, in the same order.

    Raises
    ------
    BackendCrashed
        If a framework can't be imported.

    Examples
    --------
    >>> quirks = select(framework="numpy")
    >>> [found.changed for found in run(quirks, {"numpy": registry.locate("numpy")})]
    [False, False, False, False, False]
    """
    by_framework = [(name, list(group)) for name, group in groupby(quirks, lambda q: q.framework)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = pool.map(lambda item: list(_run(item[1], places[item[0]], progress)), by_framework)
        return [found for framework in runs for found in framework]


def locate(
    quirks: Iterable[Quirk], name: str | None = None, *, optional: bool = True
) -> tuple[dict[str, registry.Place], dict[str, str]]:
    """Find where the frameworks of quirks are installed, and why some are not available.

    Parameters
    ----------
    quirks : iterable of Quirk
    name : str, optional
        Locate only this framework, named as for `multiconv.backend`, such as ``"torch@2.5.1"``. It must be available.
    optional : bool
        Whether a framework may be missing if `name` is not given.

    Returns
    -------
    places : dict
        Place of each framework, as for `run`.
    missing : dict
        Reason why a framework is not available, by framework.

    Raises
    ------
    BackendUnavailable
        If a required framework is not available.

    Examples
    --------
    >>> places, missing = locate(select(framework="numpy"))
    >>> places["numpy"].here, missing
    (True, {})
    """
    frameworks = list(dict.fromkeys(q.framework for q in quirks))
    if name is None:
        return locate_each(frameworks, optional=optional)
    return {framework: registry.locate(name) for framework in frameworks}, {}


def as_dict(quirks: Sequence[Quirk], found: Sequence[Found], missing: dict[str, str]) -> dict[str, Any]:
    """Return a dictionary for JSON: each quirk, and its outcome here if it was run.

    Examples
    --------
    >>> as_dict(select(framework="numpy"), [], {})["quirks"][0]["outcome"]
    '[8 5] [5 8]'
    """
    came = {(f.quirk.framework, f.quirk.id): f for f in found}
    rows = []
    for q in quirks:
        row = asdict(q)
        here = came.get((q.framework, q.id))
        if here is not None:
            row["here"] = {
                "version": here.version, "outcome": here.outcome, "changed": here.changed, "stderr": here.stderr
            }  # fmt: skip
        rows.append(row)
    return {"schema": 1, "quirks": rows, "missing": missing}


def as_markdown(quirks: Sequence[Quirk]) -> str:
    """Return the catalogue as a Markdown page.

    Examples
    --------
    >>> as_markdown(select(framework="numpy")).splitlines()[0]
    '# Quirks of the frameworks'
    """
    versions = {q.framework: q.version for q in quirks}
    lines = [
        "# Quirks of the frameworks",
        "",
        "Surprising behaviour of the frameworks themselves in a convolution. Each script uses the framework's own API",
        "and can go into a bug report unchanged. `multiconv quirks --run` runs the scripts again and reports changes.",
        f"Measured with {', '.join(f'{name} {version}' for name, version in versions.items())},",
        "on a CPU with AVX-512. `multiconv quirks --markdown FILE` wrote this page.",
    ]
    for name, group in groupby(quirks, lambda q: q.framework):
        lines += ["", f"## {name}"]
        for q in group:
            lines += ["", f"### {q.title}", "", f"`{q.id}`, {q.kind}", "", "```python", q.script.rstrip(), "```", ""]
            lines += [f"- Expected: {q.expected}", f"- Actual: {q.comes}", *[f"- Why: {q.why}"] * bool(q.why)]
            lines += [*[f"- Upstream: <{q.link}>"] * bool(q.link), f"- {q.multiconv.describe()}"]
            lines += ["", "```text", q.outcome, "```"]
    return "\n".join(lines) + "\n"


def _read(framework: str) -> Iterator[Quirk]:
    text = files("multiconv.data").joinpath("quirks", f"{framework}.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    for name, quirk in data["quirks"].items():
        instead = {key: _tuples(value) for key, value in quirk.pop("multiconv").items()}
        outcome = quirk.pop("outcome").rstrip("\n")
        yield Quirk(name, framework, data["version"], **quirk, outcome=outcome, multiconv=Instead(**instead))


def _tuples(value: Any) -> Any:
    """Convert lists to tuples, also inside dictionaries: TOML has arrays where multiconv has tuples."""
    if isinstance(value, dict):
        return {key: _tuples(v) for key, v in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _run(quirks: Sequence[Quirk], place: registry.Place, progress: Progress) -> Iterator[Found]:
    """Run the scripts of one framework, one after another."""
    by_id = {q.id: q for q in quirks}
    scripts = {q.id: q.script for q in quirks}
    for name, ended in run_scripts(quirks[0].framework, scripts, place, progress):
        yield Found(by_id[name], place.version or "", ended.outcome, ended.stderr)
