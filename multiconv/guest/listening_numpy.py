"""NumPy: the backend itself says which algorithm it chooses for a geometry."""

from __future__ import annotations

from multiconv.core.geometry import Geometry
from multiconv.core.types import Host
from multiconv.guest.kernels import FORWARD, GRADIENTS, INPUT_GRADIENT
from multiconv.guest.listening import Listening
from multiconv.guest.service import Arrays

DIRECTIONS = {"cross_correlate_vjp": GRADIENTS, "conv_transpose": (INPUT_GRADIENT,)}


class NumpyListening(Listening):
    """Listens to the NumPy backend."""

    def compute(self, *arrays: Host | None, operation: str, geometry: Geometry, dtype: str) -> Arrays:
        """Compute an operation, and note the algorithm of each direction."""
        for direction in DIRECTIONS.get(operation, (FORWARD,)):
            self._note(geometry, direction)
        return super().compute(*arrays, operation=operation, geometry=geometry, dtype=dtype)

    def call_layer(self, x: Host, *, number: int) -> Arrays:
        """Call a layer, and note the algorithm."""
        layer = self.layers[number]
        self._note(layer.spec.resolve(x.shape, layer.weight.shape), FORWARD)
        return super().call_layer(x, number=number)

    def _note(self, g: Geometry, direction: str) -> None:
        layout = f"N{'DHW'[3 - g.ndim :]}C" if g.channels_last else None
        name = self.backend.algorithm(
            g.x_shape, g.w_shape, direction,
            stride=g.stride, padding=g.pads, dilation=g.dilation, groups=g.groups, layout=layout,
        )  # fmt: skip
        self.algorithms.append((direction, name))


service = NumpyListening
