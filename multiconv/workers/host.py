"""Backends whose arrays, on this side, are NumPy's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from multiconv.core.backend import Backend
from multiconv.core.errors import UnsupportedError
from multiconv.core.spec import ConvSpec, Geometry
from multiconv.core.types import Array, Host, Operation


class HostBackend(Backend):
    """What all of them have in common. What only a framework's own arrays can do, none of them has."""

    def is_array(self, value: Any) -> bool:
        """Whether it is NumPy's."""
        return isinstance(value, np.ndarray)

    def asarray(self, array: Array) -> Array:
        """The array itself, as it lies in memory, but in native byte order."""
        if type(array) is np.ndarray and array.dtype.isnative:
            return array
        return super().asarray(array)

    def from_numpy(self, host: Host) -> Array:
        """The array itself."""
        return host

    def to_numpy(self, array: Array) -> Host:
        """The array itself."""
        return np.asarray(array)

    def transpose(self, array: Array, axes: Sequence[int]) -> Array:
        """By NumPy."""
        return np.transpose(array, axes)

    def flip(self, array: Array, axes: Sequence[int]) -> Array:
        """By NumPy."""
        return np.flip(array, tuple(axes))

    def pad(self, array: Array, widths: Sequence[tuple[int, int]]) -> Array:
        """By NumPy."""
        return np.pad(array, widths)

    def stack(self, arrays: Sequence[Array]) -> Array:
        """By NumPy."""
        return np.stack(arrays)

    def block(self, array: Array) -> Array:
        """The array itself, as it is always computed."""
        return array

    def native_cross_correlate(self, g: Geometry) -> Operation:
        """Not to be had."""
        raise UnsupportedError(self._lacks("the framework's own calls"))

    def native_conv_transpose(self, g: Geometry) -> Operation:
        """Not to be had."""
        raise UnsupportedError(self._lacks("a transposed convolution of its own"))

    def native_layer(self, spec: ConvSpec, w: Host, bias: Host | None) -> Callable[[Array], Array]:
        """Not to be had."""
        raise UnsupportedError(self._lacks("a layer of its own"))

    def corr2d(self, X: Array, K: Array) -> Array:
        """Not to be had."""
        raise UnsupportedError(self._lacks("a loop of its own"))

    def vjp(self, function: Operation, primals: Sequence[Array], cotangent: Array) -> tuple[Array, ...]:
        """Not to be had."""
        raise UnsupportedError(self._lacks("an autodiff"))

    def _lacks(self, what: str) -> str:
        return f"{self.name} has not {what} here"
