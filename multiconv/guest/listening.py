"""A backend's service that also tells which kernels its calls ran.

Between the requests ``listen`` and ``heard`` it keeps what the process writes to its standard output, where oneDNN
says what it runs, and the programs that XLA writes to a folder. A framework's own way to tell which operators ran is in
``listening_<framework>.py``.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any, ClassVar

from multiconv.guest.service import BackendService

AFTER = "_after_optimizations.txt"
OBJECT, OBJECT_END = ".obj-file.", ".o"


class Capture:
    """Keeps what any library of this process writes to some of its descriptors.

    Parameters
    ----------
    descriptors : sequence of int
        1 for standard output, 2 for standard error.

    Examples
    --------
    >>> capture = Capture([1])
    >>> capture.start()
    >>> _ = os.write(1, b"from any library")
    >>> capture.stop()
    'from any library'
    """

    def __init__(self, descriptors: Sequence[int]) -> None:
        self.descriptors = tuple(descriptors)
        self._file: IO[bytes] | None = None
        self._saved: list[int] = []

    def start(self) -> None:
        """Keep from now on what is written. What was kept before is dropped."""
        self.stop()
        self._flush()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._saved = [os.dup(descriptor) for descriptor in self.descriptors]
        for descriptor in self.descriptors:
            os.dup2(self._file.fileno(), descriptor)

    def stop(self) -> str:
        """Let it go where it went before, and return what was kept."""
        if self._file is None:
            return ""
        self._flush()
        for descriptor, saved in zip(self.descriptors, self._saved):
            os.dup2(saved, descriptor)
            os.close(saved)
        with self._file as file:
            self._file = None
            file.seek(0)
            return file.read().decode(errors="replace")

    def _flush(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        ctypes.CDLL(None).fflush(None)  # oneDNN writes through C's buffers


class Listening(BackendService):
    """A backend's service that tells what its calls ran.

    Parameters
    ----------
    name : str
        The name of the backend.
    entry_point : str
        ``"module:class"`` of the backend.
    folder : str
        A folder of its own for temporary files. XLA writes its programs there.
    """

    served: ClassVar[tuple[str, ...]] = (*BackendService.served, "listen", "heard")
    descriptors: ClassVar[tuple[int, ...]] = (1,)

    def __init__(self, name: str, entry_point: str, folder: str) -> None:
        module, _, attribute = entry_point.partition(":")
        super().__init__(getattr(import_module(module), attribute)())
        self.name, self.folder = name, folder
        self.capture = Capture(self.descriptors)
        self.algorithms: list[tuple[str, str]] = []

    def listen(self) -> None:
        """Listen from now on. What was heard before is forgotten."""
        self._programs()
        self.algorithms.clear()
        self.capture.start()
        self.start()

    def heard(self) -> dict[str, Any]:
        """Stop listening, and return what was heard.

        Returns
        -------
        dict
            ``"library"``: the name of the backend. ``"written"``: what its libraries wrote. ``"operators"``: names of
            the framework's operators that ran. ``"programs"``: what XLA compiled, as
            `multiconv.guest.hlo.read_programs` takes it. ``"algorithms"``: direction and name of each algorithm that
            the backend chose.
        """
        try:
            operators = self.stop()
        finally:
            written = self.capture.stop()
        return {
            "library": self.name,
            "written": written,
            "operators": [*operators, *self.operators_written(written)],
            "programs": self._programs(),
            "algorithms": list(self.algorithms),
        }

    def start(self) -> None:
        """Start the framework's own way to tell which operators run."""

    def stop(self) -> list[str]:
        """Stop it, and return their names."""
        return []

    def operators_written(self, written: str) -> list[str]:
        """Return the names of operators that the framework wrote."""
        return []

    def _programs(self) -> list[dict[str, Any]]:
        """Return the programs that XLA has written since the last time, and remove them."""
        files = sorted(Path(self.folder).iterdir())
        programs = []
        for file in files:
            if file.name.endswith(AFTER):
                module = file.name.removesuffix(AFTER).rpartition(".")[0]
                objects = [f.name for f in files if f.name.startswith(module + OBJECT)]
                names = [name.removeprefix(module + OBJECT).removesuffix(OBJECT_END) for name in objects]
                programs.append({"hlo": file.read_text(errors="replace"), "objects": names})
        for file in files:
            if file.is_dir():
                shutil.rmtree(file)
            else:
                file.unlink()
        return programs


service = Listening
"""What the worker of a backend serves whose framework has no module of its own here."""
