"""The catalogue of known faults: one TOML file per framework in ``data/known``, and one for all other projects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import tomllib

from multiconv import registry
from multiconv.core.errors import ConvError, UsageError, suggestion
from multiconv.core.files import naming
from multiconv.core.targets import ORDER, parse_target
from multiconv.oracle.problem import DIRECTIONS
from multiconv.survey.known import DOES, GENERATORS, REPORTED, VERDICTS, Fault, Handling, Operand, Reported, Right

FILES = (*ORDER, "elsewhere")
"""The files of the catalogue, in the order of the page. The last has the projects that multiconv has no backend for."""


@cache
def catalogue() -> tuple[Fault, ...]:
    """Return all faults, in the order of the frameworks, then those of other projects.

    Examples
    --------
    >>> catalogue()[0].source
    'numpy#20090'
    """
    folder = files("multiconv.data").joinpath("known")
    texts = ((name, folder.joinpath(f"{name}.toml").read_text(encoding="utf-8")) for name in FILES)
    return tuple(fault for name, text in texts for fault in parse(text, f"{name}.toml"))


def load(file: str) -> tuple[Fault, ...]:
    """Read the faults of a TOML file.

    Raises
    ------
    UsageError
        If the file can't be read, or is not a catalogue of faults.

    Examples
    --------
    >>> load("nowhere.toml")
    Traceback (most recent call last):
    multiconv.UsageError: nowhere.toml can't be read: No such file or directory
    """
    try:
        with naming(file):
            text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        words = (error.strerror if isinstance(error, OSError) else None) or error
        raise UsageError(f"{file} can't be read: {words}") from None
    return tuple(parse(text, file))


def select(ids: Sequence[str] = (), faults: Sequence[Fault] | None = None) -> list[Fault]:
    """Return the faults with these ids (default all).

    Raises
    ------
    UsageError
        If there is no such fault. The message suggests similar ids.

    Examples
    --------
    >>> select(["numpy-20009"])
    Traceback (most recent call last):
    multiconv.UsageError: there is no known fault 'numpy-20009' (did you mean 'numpy-20090'?)
    """
    there = catalogue() if faults is None else faults
    known = [f.id for f in there]
    for wanted in ids:
        if wanted not in known:
            raise UsageError(f"there is no known fault {wanted!r}{suggestion(wanted, known)}")
    return [f for f in there if not ids or f.id in ids]


def ids_and_backends(names: Sequence[str], faults: Sequence[Fault]) -> tuple[list[str], list[str]]:
    """Tell apart ids of faults and names of backends.

    Raises
    ------
    UsageError
        If a name is neither. The message suggests similar ones.

    Examples
    --------
    >>> ids_and_backends(["numpy-20090", "torch@2.5.1"], catalogue())
    (['numpy-20090'], ['torch@2.5.1'])
    """
    known = {f.id for f in faults}
    ids = [name for name in names if name in known]
    others = [name for name in names if name not in known]
    for name in others:
        if parse_target(name).backend not in registry.names():
            hint = suggestion(name, [*sorted(known), *registry.names()])
            raise UsageError(f"there is no known fault and no backend {name!r}{hint}")
    return ids, others


def parse(text: str, file: str) -> Iterator[Fault]:
    """Parse the text of a catalogue.

    Raises
    ------
    UsageError
        If the text is not a catalogue of faults. The message names the file, the fault and the key.

    Examples
    --------
    >>> list(parse("[faults.mine]", "mine.toml"))
    Traceback (most recent call last):
    multiconv.UsageError: mine.toml: fault mine: 'source' is missing
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file} is not TOML: {error}") from None
    whole = {"framework": str(data.pop("framework", "")), "version": str(data.pop("version", ""))}
    faults = data.pop("faults", None)
    if not isinstance(faults, dict) or data:
        wrong = f"{next(iter(data))!r} is not a key of a catalogue" if data else "it has no table [faults]"
        raise UsageError(f"{file}: {wrong}; the keys are framework, version and faults")
    for name, table in faults.items():
        try:
            fault = _fault({"id": name, **whole, **table})
            _validate(fault)
        except (ConvError, TypeError, ValueError) as error:
            raise UsageError(f"{file}: fault {name}: {error}") from None
        yield fault


NESTED = {"x": Operand, "w": Operand, "dy": Operand, "right": Right, "reported": Reported, "multiconv": Handling}


def _fault(table: dict[str, Any]) -> Fault:
    parts = {key: _made(NESTED[key], value, f"{key}.") if key in NESTED else value for key, value in table.items()}
    made: Fault = _made(Fault, parts)
    return made


def _made(cls: type[Any], table: Any, prefix: str = "") -> Any:
    """Return an object of a dataclass from a table of TOML, where arrays are tuples."""
    if not isinstance(table, dict):
        raise ValueError(f"{prefix.rstrip('.')!r} must be a table, not {table!r}")
    allowed = {f.name: f for f in fields(cls)}
    for key in table:
        if key not in allowed:
            raise ValueError(f"{prefix + key!r} is not a key{suggestion(key, list(allowed))}")
    for key, f in allowed.items():
        if key not in table and f.default is MISSING and f.default_factory is MISSING:
            raise ValueError(f"{prefix + key!r} is missing")
    return cls(**{key: _tuples(value) for key, value in table.items()})


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(v) for key, v in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _validate(fault: Fault) -> None:
    """Raise a ValueError if a value is not allowed, or if the arrays don't fit the problem."""
    for key, value, allowed in (
        ("direction", fault.direction, DIRECTIONS),
        ("reported.kind", fault.reported.kind, REPORTED),
        ("multiconv.does", fault.multiconv.does, DOES),
        ("here", fault.here, VERDICTS if fault.script else ("",)),
        ("framework", fault.framework, ORDER if fault.script else ("", *ORDER)),
    ):
        if value not in allowed:
            hint = suggestion(value, allowed) or f": they are {', '.join(map(repr, allowed))}"
            raise ValueError(f"{key} must not be {value!r}{hint}")
    for name in ("x", "w", "dy"):
        operand = getattr(fault, name)
        if operand is None:
            continue
        values = operand.values
        if isinstance(values, str) and values not in GENERATORS and not _is_cycle(values):
            raise ValueError(f"{name}.values must be integers, 'cycle N' or one of {GENERATORS}, not {values!r}")
        if values == "eye" and (
            len(operand.shape) < 2 or operand.shape != (operand.shape[0],) * 2 + (1,) * (len(operand.shape) - 2)
        ):
            raise ValueError(f"{name} is not square, which 'eye' needs: its shape is {operand.shape}")
        if not isinstance(values, str) and len(values) != np.prod(operand.shape):
            raise ValueError(f"{name} has {len(values)} values for the shape {operand.shape}")
    if fault.multiconv.does == "is right" and not fault.right.error:
        fault.problem  # noqa: B018  (raises if the shapes or options are wrong)


def _is_cycle(values: str) -> bool:
    word, _, number = values.partition(" ")
    return word == "cycle" and number.isdecimal() and int(number) > 0
