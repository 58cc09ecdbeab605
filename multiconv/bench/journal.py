"""A file that records the progress of a benchmark, so that an interrupted one can continue."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from multiconv.bench.results import Measurement
from multiconv.core.errors import UsageError


class Journal:
    """A log in lines of JSON: the requested settings, then worker descriptions and measurements as they come.

    Parameters
    ----------
    path : path or None
        The file, whose entries are read. With None, nothing is kept when the process ends.
    settings : dict
        The settings requested now.

    Raises
    ------
    UsageError
        If the file is not a journal, or is that of another benchmark.

    Attributes
    ----------
    measurements : dict
        Measurements, by title of the entry and process number.
    workers : dict
        Worker descriptions, by label of the variant, number of threads and process number.

    Examples
    --------
    >>> journal = Journal(None, {"seed": 0})
    >>> journal.add(Measurement("a layer", 0, seconds=[0.5]))
    >>> journal.has("a layer", 0), journal.has("a layer", 1)
    (True, False)
    """

    def __init__(self, path: Path | None, settings: dict[str, Any]) -> None:
        self.path = path
        self.measurements: dict[tuple[str, int], Measurement] = {}
        self.workers: dict[tuple[str, int, int], dict[str, Any]] = {}
        if path is None or not path.exists() or not path.stat().st_size:
            self._write({"settings": settings})
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        if not lines[-1].endswith("\n"):  # the process ended while writing it
            path.write_text("".join(lines[:-1]), encoding="utf-8")
            lines.pop()
        self._read(lines, settings)

    def has(self, title: str, process: int) -> bool:
        """Return whether an entry was measured in this process."""
        return (title, process) in self.measurements

    def add(self, measurement: Measurement) -> None:
        """Record a measurement."""
        self.measurements[measurement.title, measurement.process] = measurement
        self._write({"measurement": asdict(measurement)})

    def add_worker(self, worker: dict[str, Any]) -> None:
        """Record the description of a worker."""
        self.workers[worker["variant"], worker["threads"], worker["process"]] = worker
        self._write({"worker": worker})

    def _read(self, lines: list[str], settings: dict[str, Any]) -> None:
        try:
            first, *rest = [json.loads(line) for line in lines]
            before = first["settings"]
            for line in rest:
                if "worker" in line:
                    worker = line["worker"]
                    self.workers[worker["variant"], worker["threads"], worker["process"]] = worker
                else:
                    measurement = Measurement(**line["measurement"])
                    self.measurements[measurement.title, measurement.process] = measurement
        except (ValueError, KeyError, TypeError):
            raise UsageError(f"{self.path} is no journal of a benchmark") from None
        now = json.loads(json.dumps(settings))
        differing = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
        if differing:
            raise UsageError(f"{self.path} is the journal of another benchmark: it differs in {', '.join(differing)}")

    def _write(self, line: dict[str, Any]) -> None:
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
