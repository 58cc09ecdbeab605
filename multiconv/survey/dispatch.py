"""List which kernels of the libraries compute the problems of the check, the layer sets and a random search.

Each kernel has a problem that runs it again. The kernels that the search and the layer sets reach, and the check does
not, are code that the check never tests on this machine.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

from multiconv import registry
from multiconv.core.errors import UnsupportedError
from multiconv.core.types import Progress, no_progress
from multiconv.guest.kernels import CALLS, GRADIENTS, KNOWN, Kernel
from multiconv.running import Missing, available
from multiconv.survey.dispatch_problems import (
    CHECK_EXAMPLES,
    Sketch,
    problems_of_check,
    problems_of_layers,
    problems_of_search,
    sketched,
)
from multiconv.testing.levels import DTYPES
from multiconv.testing.listening import ListeningBackend, computed_by, listening

SOURCES = ("check", "layers", "search")
CALLS_OF = {"search": ("forward", "gradients", "conv_transpose")}
"""The search leaves out two calls, which run the kernels of the forward call."""
ORDER = ("forward", *GRADIENTS, "gradients", *CALLS[2:])
"""The order of the directions in a table."""


@dataclass
class Use:
    """A kernel that computes a direction.

    Attributes
    ----------
    direction : str
        ``"forward"``, ``"input gradient"``, ``"kernel gradient"``, ``"convolve"``, ``"conv_transpose"`` or ``"layer"``;
        ``"gradients"`` if its library does not say which gradient it computes.
    kernel : Kernel
    problems : dict
        Number of problems in which it was heard, by their source: ``"check"``, ``"layers"``, ``"search"``.
    example : Sketch
        The smallest of these problems.
    again : bool
        Whether the example ran it again, when it was made anew from its description.
    """

    direction: str
    kernel: Kernel
    problems: dict[str, int]
    example: Sketch
    again: bool = False

    def asdict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        kernel = {name: value for name, value in asdict(self.kernel).items() if name != "problem"}
        kernel["label"] = self.kernel.label
        example = {**self.example.describe(), "library_problem": self.kernel.problem}
        return {
            "direction": self.direction,
            "kernel": kernel,
            "problems": self.problems,
            "example": example,
            "again": self.again,
        }


@dataclass
class BackendKernels:
    """The kernels of a backend's libraries.

    Attributes
    ----------
    name, version : str
    libraries : list of str
        What oneDNN says of itself: its version, and the instructions that it may use.
    problems : dict
        Number of problems that were run, by their source.
    uses : list of Use
    """

    name: str
    version: str
    libraries: list[str] = field(default_factory=list)
    problems: dict[str, int] = field(default_factory=dict)
    uses: list[Use] = field(default_factory=list)

    @property
    def kernels(self) -> list[str]:
        """Return the labels of the known kernels, each once, whatever direction they compute."""
        return sorted({use.kernel.label for use in self.uses if use.kernel.status == KNOWN})

    @property
    def by_others(self) -> list[Kernel]:
        """Return the known kernels that the layer sets and the search reach, each once, whatever call ran it."""
        return list(dict.fromkeys(use.kernel for use in self.uses if use.kernel.status == KNOWN and _of_others(use)))

    @property
    def unreached(self) -> list[Use]:
        """Return a use of each of them that no problem of the check reaches."""
        by_check = {use.kernel for use in self.uses if use.problems["check"]}
        of_kernel = {use.kernel: use for use in reversed(self.uses)}
        return [of_kernel[kernel] for kernel in self.by_others if kernel not in by_check]

    @property
    def share(self) -> float | None:
        """Return the share of them that the check reaches, or None if there are none."""
        return 1 - len(self.unreached) / len(self.by_others) if self.by_others else None

    def asdict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return {
            "name": self.name,
            "version": self.version,
            "libraries": self.libraries,
            "problems": self.problems,
            "uses": [use.asdict() for use in self.uses],
            "reached_by_others": len(self.by_others),
            "reached_by_check": len(self.by_others) - len(self.unreached),
        }


@dataclass
class Dispatch:
    """The kernels of all backends.

    Attributes
    ----------
    backends : list of BackendKernels
    missing : list of Missing
    seed : int
    dtypes : list of str
    processor : str
        The processor, which decides which kernels run.
    """

    backends: list[BackendKernels]
    missing: list[Missing]
    seed: int = 0
    dtypes: list[str] = field(default_factory=lambda: list(DTYPES))
    processor: str = ""

    def asdict(self) -> dict[str, Any]:
        """Return a dictionary for JSON.

        Examples
        --------
        >>> Dispatch([], []).asdict()["schema"]
        1
        """
        return {
            "schema": 1,
            "multiconv": version("multiconv"),
            "processor": self.processor,
            "seed": self.seed,
            "dtypes": self.dtypes,
            "backends": [backend.asdict() for backend in self.backends],
            "missing": [asdict(m) for m in self.missing],
        }


def dispatch(
    names: Sequence[str] = (),
    *,
    examples: int = CHECK_EXAMPLES,
    search: int = 0,
    seed: int = 0,
    dtypes: Sequence[str] = DTYPES,
    layers: bool = True,
    progress: Progress = no_progress,
) -> Dispatch:
    """List the kernels that compute the problems of the check, the layer sets and a random search.

    Parameters
    ----------
    names : sequence of str
        Names as for `multiconv.backend`; default all installed backends.
    examples : int
        Number of problems that the check draws.
    search : int
        Number of problems of the random search.
    seed : int
    dtypes : sequence of str
        Dtypes of the drawn problems. The layers use the first. A backend runs only the problems in dtypes that it
        supports.
    layers : bool
        Whether to run the layer sets.
    progress : callable, optional

    Returns
    -------
    Dispatch

    Raises
    ------
    BackendUnavailable
        If a named backend is not available.
    UnsupportedError
        If a named backend supports none of the dtypes.

    Examples
    --------
    >>> found = dispatch(["numpy"], examples=0, dtypes=["float32"], layers=False)
    >>> found.backends[0].kernels
    ['numpy depthwise', 'numpy im2col', 'numpy matmul', 'numpy taps', 'numpy toeplitz']
    """

    def listen(name: str) -> BackendKernels:
        progress(name, 0, 0, "starting")
        with listening(name) as backend:
            if not set(dtypes) & set(backend.dtypes):
                raise UnsupportedError(
                    f"{name} does not compute in {' or '.join(dtypes)}: it has {', '.join(backend.dtypes)}"
                )
            problems = _problems(backend, examples, search, seed, dtypes, layers)
            total = search + sum(len(sketches) for sketches in problems.values() if isinstance(sketches, list))
            return _listen(name, backend, problems, total, progress)

    heard, missing = available(names or registry.names(), listen, required=bool(names), threads=1)
    return Dispatch([found for _, found in heard], missing, seed, list(dtypes), processor())


def processor() -> str:
    """Return the model of the processor and the number of cores.

    Examples
    --------
    >>> processor().endswith(("core", "cores"))
    True
    """
    model = platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text(errors="replace").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    cores = os.cpu_count() or 1
    return f"{model}, {cores} {'core' if cores == 1 else 'cores'}"


def _problems(
    backend: ListeningBackend, examples: int, search: int, seed: int, dtypes: Sequence[str], layers: bool
) -> dict[str, Iterable[Sketch]]:
    """Return the problems of each source in the dtypes of the backend."""
    of_check = problems_of_check(examples, seed, dtypes, compiles=backend.compiles)
    of_layers = problems_of_layers(dtypes[0], compiles=backend.compiles) if layers else []
    able = [dtype for dtype in dtypes if dtype in backend.dtypes]
    return {
        "check": [sketch for sketch in of_check if sketch.dtype in able],
        "layers": [sketch for sketch in of_layers if sketch.dtype in able],
        "search": problems_of_search(search, seed, able),
    }


def _listen(
    name: str, backend: ListeningBackend, problems: dict[str, Iterable[Sketch]], total: int, progress: Progress
) -> BackendKernels:
    """Run all problems on a backend, of which there are `total`, then each kernel's example once more."""
    found = BackendKernels(name, backend.version, problems=dict.fromkeys(SOURCES, 0))
    uses: dict[tuple[str, Kernel], Use] = {}
    every = chain.from_iterable(((source, s) for s in sketches) for source, sketches in problems.items())
    for done, (source, sketch) in enumerate(every):
        progress(name, done, total, source)
        found.problems[source] += 1
        for direction, kernels in computed_by(backend, sketch.problem(), CALLS_OF.get(source, CALLS)).items():
            for kernel in kernels:
                use = uses.setdefault((direction, kernel), Use(direction, kernel, dict.fromkeys(SOURCES, 0), sketch))
                use.problems[source] += 1
                if _cost(sketch) < _cost(use.example):
                    use.example, use.kernel = sketch, kernel
    found.uses = sorted(uses.values(), key=lambda use: (ORDER.index(use.direction), use.kernel.label))
    _run_again(name, backend, found.uses, progress)
    found.libraries = list(backend.libraries)
    return found


def _run_again(name: str, backend: ListeningBackend, uses: Sequence[Use], progress: Progress) -> None:
    """Make each example anew from its description, run it, and note whether the kernel is heard again."""
    calls = {use.direction: "gradients" if use.direction in GRADIENTS else use.direction for use in uses}
    for done, use in enumerate(uses):
        progress(name, done, len(uses), "examples again")
        sketch = sketched(json.loads(json.dumps(use.example.describe())))
        heard = computed_by(backend, sketch.problem(), [calls[use.direction]])
        use.example, use.again = replace(sketch, source=use.example.source), use.kernel in heard.get(use.direction, ())
    progress(name, len(uses), len(uses), "")


def _of_others(use: Use) -> bool:
    """Return whether a kernel was heard outside of the check's problems."""
    return bool(use.problems["layers"] or use.problems["search"])


def _cost(sketch: Sketch) -> tuple[bool, int, int]:
    """Return what makes an example large: an arrangement of its memory, its products, its options."""
    return sketch.memory != "contiguous", sketch.geometry.products, len(sketch.text)
