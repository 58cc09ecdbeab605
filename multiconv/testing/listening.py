"""Ask a backend which kernels of its libraries computed a problem.

The backend runs in a worker of its own, started with the environment in which its libraries say what they run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import Any

from multiconv import registry
from multiconv.core.errors import BackendCrashed, BackendTimeout
from multiconv.core.targets import plain_name
from multiconv.core.types import Host
from multiconv.guest.kernels import CALLS, Kernel, kernels_by_direction
from multiconv.guest.verbose_lines import VARIABLES, read_versions
from multiconv.oracle.problem import DIRECTIONS, Problem
from multiconv.workers.process import PATIENT_THREADS, Worker, source_places
from multiconv.workers.remote import RemoteBackend

HEARD = ("compute", "call_layer")
"""The methods of a worker that compute a convolution."""
XLA = ("jax", "tensorflow")
"""The backends in which XLA may compile."""
DIRECTIONS_OF = {"gradients": DIRECTIONS[1:4]}
"""The directions that come from one call."""


class ListeningBackend(RemoteBackend):
    """A backend in a worker that tells what each call ran.

    Attributes
    ----------
    heard : list of dict
        What was heard in the last calls, as `multiconv.guest.listening.Listening.heard` returns it.
    libraries : list of str
        What oneDNN has said of itself: its version, and the instructions that it may use.
    """

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker)
        self.heard: list[dict[str, Any]] = []
        self.libraries: list[str] = []

    def compute(self, method: str, *arrays: Host | None, **arguments: Any) -> list[Host | None]:
        """Call a method of the worker that returns arrays, and keep what was heard."""
        if method not in HEARD:
            return super().compute(method, *arrays, **arguments)
        self.worker.call("listen")
        try:
            results = super().compute(method, *arrays, **arguments)
        except (BackendCrashed, BackendTimeout):
            raise
        except Exception:
            self.worker.call("heard")
            raise
        heard = self.worker.call("heard")
        self.heard.append(heard)
        self.libraries += [v for v in read_versions(heard["written"]) if v not in self.libraries]
        return results


@contextmanager
def listening(name: str, timeout: float = 60.0) -> Iterator[ListeningBackend]:
    """Run a backend in a worker that tells which kernels its calls ran.

    Parameters
    ----------
    name : str
        Name as for `multiconv.backend`.
    timeout : float
        Time limit for an answer, in seconds.

    Raises
    ------
    BackendUnavailable
        If the backend is not available.

    Examples
    --------
    >>> with listening("numpy") as numpy:
    ...     numpy.name
    'numpy'
    """
    plain, place = plain_name(name), registry.locate(name)
    target = {point.name: point.value for point in entry_points(group=registry.GROUP)}[plain]
    module = f"multiconv.guest.listening_{plain}"
    module = module if find_spec(module) else "multiconv.guest.listening"
    with TemporaryDirectory() as folder:
        environment = {**PATIENT_THREADS, **VARIABLES, **(_of_xla(folder) if plain in XLA else {})}
        backend = ListeningBackend(
            Worker(
                plain, f"{module}:service", source_places(target) | source_places(module),
                place.python, timeout, environment, arguments=[plain, target, folder],
            )
        )  # fmt: skip
        try:
            yield backend
        finally:
            backend.close()


def _of_xla(folder: str) -> dict[str, str]:
    """Return the variables with which XLA writes each program to a folder, and takes none from a cache on disk."""
    flags = {
        "XLA_FLAGS": f"--xla_dump_to={folder} --xla_dump_hlo_as_text",
        "TF_XLA_FLAGS": "--tf_xla_persistent_cache_directory=",
    }
    extended = {name: f"{os.environ.get(name, '')} {more}".strip() for name, more in flags.items()}
    return {**extended, "JAX_ENABLE_COMPILATION_CACHE": "false", "TF_CPP_MIN_LOG_LEVEL": "0"}


def computed_by(
    backend: ListeningBackend, problem: Problem, calls: Sequence[str] = CALLS
) -> dict[str, tuple[Kernel, ...]]:
    """Run a problem on a backend, and return the kernels that computed each direction.

    Parameters
    ----------
    backend : ListeningBackend
    problem : Problem
    calls : sequence of str
        Any of `multiconv.guest.kernels.CALLS`.

    Returns
    -------
    dict
        Kernels by direction, as `multiconv.guest.kernels.kernels_by_direction` returns them. A direction is missing if
        the backend raised an error, or needed no call of its framework, as for an empty batch.

    Examples
    --------
    >>> import numpy as np
    >>> from multiconv import ConvSpec
    >>> from multiconv.testing import given_values
    >>> problem = given_values("mine", ConvSpec(), np.ones((1, 1, 3)), np.ones((1, 1, 2)))
    >>> with listening("numpy") as numpy:
    ...     computed_by(numpy, problem, ["forward"])["forward"][0].label
    'numpy im2col'
    """
    found: dict[str, tuple[Kernel, ...]] = {}
    for call in calls:
        backend.heard.clear()
        answers = list(problem.answers(backend, *DIRECTIONS_OF.get(call, (call,))))
        if backend.heard and not any(isinstance(answer, Exception) for _, answer in answers):
            found.update(kernels_by_direction(backend.heard, call))
    return found
