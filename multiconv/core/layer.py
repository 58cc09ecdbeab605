"""The steps around a framework's own layer: the check of its input, transposes, and a pad.

They are objects of named classes, not closures, so that a layer that holds them can be copied and pickled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from multiconv.core.backend import REMEMBERED, Backend
from multiconv.core.partial_shapes import completed, shape_of
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Array, Host, Shape

if TYPE_CHECKING:
    from multiconv.core.framework import FrameworkBackend


@dataclass(frozen=True)
class InputCheck:
    """Refuses the inputs that `cross_correlate` would refuse, in the same words.

    Attributes
    ----------
    backend : Backend
    spec : ConvSpec
    w_shape : tuple of int
        Shape of the weights, (C_out, C_in / groups, \\*kernel).
    dtype : str
        Dtype of the weights that the layer was built with. A framework may convert them later.
    """

    backend: Backend
    spec: ConvSpec
    w_shape: Shape
    dtype: str
    _passed: set[Any] = field(default_factory=set, init=False, compare=False, repr=False)

    def __call__(self, x: Array, dtype: str) -> Array:
        """Check the input of a layer whose weights now have this dtype, and convert it to an array of the backend.

        Raises
        ------
        ConvError, UnsupportedError
            As in `multiconv.Backend.cross_correlate`.
        BackendUnavailable
            As in `multiconv.Backend.check_process`.
        """
        self.backend.check_process()
        x_dtype = self.backend.dtype_of("x", x)
        shape = shape_of("x", x)
        key = x.__class__, shape, x_dtype, dtype
        if key in self._passed:
            return x
        self.backend.check_dtypes({"x": x_dtype, "w": dtype})
        self.backend.check_places(x=x)
        self.shape(shape)
        own = self.backend.asarray(x)
        if own is x and not self.backend.traces():
            if len(self._passed) >= REMEMBERED:
                self._passed.clear()
            self._passed.add(key)
        return own

    def shape(self, x_shape: Sequence[int | None]) -> None:
        """Check the shape of an input. A size that is None is not known yet, and passes."""
        self.spec.resolve(completed(tuple(x_shape), self.w_shape, self.spec), self.w_shape)

    def empty(self, x: Array, dtype: str) -> Array | None:
        """Return the result for a batch of size 0 if the framework's own result may be wrong, else None."""
        if self.backend.empty_batch or x.shape[0] != 0:
            return None
        return self.backend.empty("cross_correlate", self.spec.resolve(tuple(x.shape), self.w_shape), dtype)(x, None)


def rebuilt(check: InputCheck, kernel: Host, bias: Host | None = None) -> Callable[[Array], Array]:
    """Return the layer of this check with other weights, whose kernel is in HWIO order. Unpickling a layer calls it."""
    return check.backend.build_layer(check.spec, kernel.transpose(-1, -2, *range(kernel.ndim - 2)), bias)


@dataclass(frozen=True)
class Transpose:
    """Returns an array with its axes in this order."""

    backend: FrameworkBackend
    axes: tuple[int, ...]

    def __call__(self, x: Array) -> Array:
        """Transpose an array."""
        return self.backend.transpose(x, self.axes)


@dataclass(frozen=True)
class Pad:
    """Pads an input with the zeros that the spec has for its size."""

    backend: FrameworkBackend
    spec: ConvSpec
    kernel: Shape

    def __call__(self, x: Array) -> Array:
        """Pad an input."""
        pads = self.backend.pads_of(x, self.spec, self.kernel)
        whole = (0, 0)
        return self.backend.pad(x, (whole, *pads, whole) if self.spec.channels_last else (whole, whole, *pads))
