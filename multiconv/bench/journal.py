"""A file that records the progress of a benchmark, so that an interrupted one can continue."""

from __future__ import annotations

import fcntl
import json
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from multiconv.bench.results import Measurement
from multiconv.core.errors import UsageError
from multiconv.core.files import naming


class Journal:
    """A log in lines of JSON: the requested settings, then worker descriptions and measurements as they come.

    The file is locked until `close`. A file that is refused is not changed.

    Parameters
    ----------
    path : path or None
        The file, whose entries are read. With None, nothing is kept when the process ends.
    settings : dict
        The settings requested now.

    Attributes
    ----------
    measurements : dict
        Measurements, by title of the entry and process number.
    workers : dict
        Worker descriptions, by label of the variant, number of threads and process number.

    Raises
    ------
    UsageError
        If the file is not a journal, is that of another benchmark, or is in use by another process.

    Examples
    --------
    >>> journal = Journal(None, {"seed": 0})
    >>> journal.add(Measurement("a layer", 0, seconds=[0.5]))
    >>> journal.has("a layer", 0), journal.has("a layer", 1)
    (True, False)
    """

    def __init__(self, path: Path | None, settings: dict[str, Any]) -> None:
        self.measurements: dict[tuple[str, int], Measurement] = {}
        self.workers: dict[tuple[str, int, int], dict[str, Any]] = {}
        self._file: BinaryIO | None = None
        if path is None:
            return
        self._file = _locked(path)
        try:
            text = self._file.read()
            if not text:
                self._write({"settings": settings})
                return
            lines, _, unfinished = text.rpartition(b"\n")
            self._read(path, lines, settings)
            if unfinished:  # the process ended while writing it
                self._file.truncate(len(lines) + 1)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file, which unlocks it."""
        if self._file is not None:
            with naming(self._file.name):  # closing writes the rest, which fails on a full disk
                self._file.close()

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

    def _read(self, path: Path, lines: bytes, settings: dict[str, Any]) -> None:
        try:
            first, *rest = [_entry(line) for line in lines.split(b"\n")]
            before = dict(first["settings"])
            for entry in rest:
                if "worker" in entry:
                    worker = entry["worker"]
                    self.workers[worker["variant"], worker["threads"], worker["process"]] = worker
                else:
                    measurement = Measurement(**entry["measurement"])
                    self.measurements[measurement.title, measurement.process] = measurement
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise UsageError(f"{path} is not the journal of a benchmark, or is damaged: name another file") from None
        now = json.loads(json.dumps(settings))
        differing = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
        if differing:
            raise UsageError(f"{path} is the journal of another benchmark, with different {', '.join(differing)}")

    def _write(self, entry: dict[str, Any]) -> None:
        if self._file is not None:
            with naming(self._file.name):
                self._file.write(json.dumps({**entry, "checksum": _checksum(entry)}).encode() + b"\n")
                self._file.flush()


def _locked(path: Path) -> BinaryIO:
    """Open a file to read and to append, and lock it."""
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} can't keep a journal: it is not a regular file")
    file = path.open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise UsageError(f"{path} is in use by another benchmark: wait until that ends, or name another file") from None
    file.seek(0)
    return file


def _entry(line: bytes) -> dict[str, Any]:
    """Parse a line, and check its checksum."""
    entry: dict[str, Any] = json.loads(line)
    if entry.pop("checksum") != _checksum(entry):
        raise ValueError("the checksum differs")
    return entry


def _checksum(entry: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(entry).encode())
