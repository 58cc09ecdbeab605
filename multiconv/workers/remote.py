"""A `Backend` that runs in another Python. Its arrays are NumPy arrays, which cross to the worker and back."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import count
from typing import Any

from multiconv.core.backend import Backend
from multiconv.core.errors import UnsupportedError
from multiconv.core.geometry import Geometry
from multiconv.core.layer import InputCheck
from multiconv.core.spec import ConvSpec
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
        self.numbers = count()  # of layers: none is used twice, as the worker may start again before it drops one
        self.dropped: list[int] = []
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

    def compute(self, method: str, *arrays: Host | None, **arguments: Any) -> list[Host | None]:
        """Call a method of the worker that returns arrays, after dropping the layers that are gone."""
        if self.dropped:  # told here, as garbage may be collected in the middle of a request
            self.worker.call("drop_layers", numbers=[self.dropped.pop() for _ in range(len(self.dropped))])
        return self.worker.compute(method, *arrays, **arguments)

    # ---- Convolution

    def plan(self, operation: str, g: Geometry, dtype: str) -> Operation:
        fields = asdict(g)

        def ask(*arrays: Array) -> Any:
            results = self.compute("compute", *arrays, operation=operation, dtype=dtype, geometry=fields)
            return tuple(results) if operation == "cross_correlate_vjp" else results[0]

        return ask

    def loop(self, operation: str, X: Array, K: Array) -> Array:
        return self.compute("loop", X, K, name=operation)[0]

    def build_layer(self, spec: ConvSpec, w: Host, bias: Host | None) -> Callable[[Array], Array]:
        return RemoteLayer(self, spec, w, bias)

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
        return tuple(self.compute("loop_vjp", *primals, cotangent, name=name))

    def devices(self) -> list[str]:
        return list(self.worker.call("devices"))


class RemoteLayer:
    """A layer that lives in a worker. If the worker starts again, the layer is created again."""

    def __init__(self, backend: RemoteBackend, spec: ConvSpec, w: Host, bias: Host | None) -> None:
        self.backend, self.spec, self.weight, self.bias = backend, spec, w, bias
        self.check = InputCheck(backend, spec, w.shape, w.dtype.name)
        self._number = next(backend.numbers)
        weakref.finalize(self, backend.dropped.append, self._number).atexit = False
        with backend.worker.lock:
            self._make()

    def __call__(self, x: Host) -> Host:
        x = self.check(x, self.check.dtype)
        with self.backend.worker.lock:
            if self.backend.worker.ready() != self._made_in:
                self._make()
            y = self.backend.compute("call_layer", x, number=self._number)[0]
        assert y is not None
        return y

    def _make(self) -> None:
        self.backend.worker.call("make_layer", self.weight, self.bias, number=self._number, spec=self.spec)
        self._made_in = self.backend.worker.starts
