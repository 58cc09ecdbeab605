"""What a benchmark has done so far, kept in a file so that an interrupted one goes on where it was."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from multiconv.bench.results import Measurement
from multiconv.core.errors import UsageError


class Journal:
    """Lines of JSON: first what was asked for, then each worker's description and each measurement as it comes.

    Parameters
    ----------
    path : path or None
        The file. What it has is read; without one, nothing outlasts the process.
    settings : dict
        What is asked for now.

    Raises
    ------
    UsageError
        If the file is no journal, or another benchmark's.

    Attributes
    ----------
    measurements : dict
        By an entry's title and the number of the process.
    workers : dict
        What is known of a variant's worker, by its label, threads and the number of the process.

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
        if not lines[-1].endswith("\n"):  # it was being written when the process ended
            path.write_text("".join(lines[:-1]), encoding="utf-8")
            lines.pop()
        self._read(lines, settings)

    def has(self, title: str, process: int) -> bool:
        """Whether this was measured."""
        return (title, process) in self.measurements

    def add(self, measurement: Measurement) -> None:
        """Keep a measurement."""
        self.measurements[measurement.title, measurement.process] = measurement
        self._write({"measurement": asdict(measurement)})

    def add_worker(self, worker: dict[str, Any]) -> None:
        """Keep the description of a worker."""
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
