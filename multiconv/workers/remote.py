"""A `Backend` that runs in another Python. Its arrays are NumPy arrays, which cross to the worker and back."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from multiconv.core.backend import Backend
from multiconv.core.errors import UnsupportedError
from multiconv.core.layer import InputCheck
from multiconv.core.spec import ConvSpec, Geometry
from multiconv.core.types import Array, Host, Operation
from multiconv.workers.process import Worker


class RemoteBackend(Backend):
    """A backend in a worker. Its arrays are NumPy arrays, which cross to the worker and back with each call.

    Parameters
    ----------
    worker : Worker

    Attributes
    ----------
    python : Path
        The Python interpreter that it runs in.
    """

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self.worker = worker
        self.name = worker.name
        self.python = worker.python
        self.dtypes = tuple(worker.hello["dtypes"])
        self.compiles = bool(worker.hello["compiles"])
        self.multiplies_zeros = bool(worker.hello["multiplies_zeros"])

    def __repr__(self) -> str:
        return f"<multiconv backend {self.name} {self.version}, in a worker: {self.python}>"

    def close(self) -> None:
        """End the worker. A later call starts another one."""
        self.worker.stop()

    @property
    def version(self) -> str:
        return str(self.worker.hello["version"])

    @property
    def python_version(self) -> str:
        """Return the version of the worker's Python."""
        return str(self.worker.hello["python"])

    # ---- Convolution

    def plan(self, operation: str, g: Geometry, dtype: str) -> Operation:
        header = {"do": "plan", "operation": operation, "dtype": dtype, "geometry": asdict(g)}

        def ask(*arrays: Array) -> Any:
            _, results = self.worker.request(header, arrays)
            return tuple(results) if operation == "cross_correlate_vjp" else results[0]

        return ask

    def loop(self, operation: str, X: Array, K: Array) -> Array:
        return self.worker.request({"do": operation}, (X, K))[1][0]

    def build_layer(self, spec: ConvSpec, w: Host, bias: Host | None) -> Callable[[Array], Array]:
        return RemoteLayer(self.worker, spec, w, bias, InputCheck(self, spec, w.shape, w.dtype.name))

    # ---- Running

    def vjp(self, function: Operation, primals: Sequence[Array], cotangent: Array) -> tuple[Array, ...]:
        """Return the gradients of one of the backend's own loops, computed in the worker.

        Raises
        ------
        UnsupportedError
            If it is any other function, because a worker can't be given a function of this process.
        """
        name = getattr(function, "__name__", "")
        if getattr(function, "__self__", None) is not self or not name.startswith("corr2d"):
            raise UnsupportedError(
                f"{self.name} runs in a worker, which can't be given a function of this process: "
                "only the backend's own corr2d, corr2d_multi_in and corr2d_multi_in_out"
            )
        return tuple(self.worker.request({"do": "vjp", "of": name}, (*primals, cotangent))[1])

    def devices(self) -> list[str]:
        return list(self.worker.request({"do": "devices"})[0])


class RemoteLayer:
    """A layer that lives in a worker. If the worker starts again, the layer is created again."""

    def __init__(self, worker: Worker, spec: ConvSpec, w: Host, bias: Host | None, check: InputCheck) -> None:
        self.worker, self.spec, self.weight, self.bias, self.check = worker, spec, w, bias, check
        self._number = next(worker.numbers)
        # Told with the next request, since garbage may be collected in the middle of one. By then the worker may have
        # started again, so no number is used twice.
        weakref.finalize(self, worker.dropped.append, self._number).atexit = False
        with worker.lock:
            self._make()

    def __call__(self, x: Host) -> Host:
        x = self.check(x, self.check.dtype)
        with self.worker.lock:
            if self.worker.ready() != self._made_in:
                self._make()
            y = self.worker.request({"do": "call layer", "layer": self._number}, (x,))[1][0]
        assert y is not None
        return y

    def _make(self) -> None:
        header = {"do": "layer", "layer": self._number, "spec": asdict(self.spec)}
        self.worker.request(header, (self.weight, self.bias))
        self._made_in = self.worker.starts
