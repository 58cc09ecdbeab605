"""The arrays of a backend: what they are, how they convert, and which of them can be combined in a call.

Every backend refuses the same arrays with the same words. A backend of a framework overrides the first section.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from multiconv.core.errors import ConvError, UnsupportedError
from multiconv.core.geometry import check_count
from multiconv.core.types import Array, Host


class ArrayRules:
    """The arrays of a backend. Here they are NumPy arrays.

    Attributes
    ----------
    name : str
        The name of the backend.
    dtypes : tuple of str
        Supported dtypes.
    """

    name: str
    dtypes: tuple[str, ...] = ("float32", "float64")

    # ---- NumPy arrays, unless a subclass overrides these methods

    def is_array(self, value: Any) -> bool:
        """Return whether this is an array of the backend."""
        return isinstance(value, np.ndarray)

    def dtype(self, array: Array) -> str:
        """Return NumPy's name for the dtype of the array."""
        return str(np.dtype(array.dtype).name)

    def device_of(self, array: Array) -> str:
        """Return the device of an array, if arrays on two devices can't be combined; else an empty string."""
        return ""

    def storage_of(self, array: Array) -> str:
        """Return how an array is stored, such as ``"sparse_coo"``. Only ``"dense"`` arrays can be convolved."""
        return "dense"

    def to_numpy(self, array: Array) -> Host:
        """Convert an array of the backend to a NumPy array, after waiting until it is computed."""
        return np.asarray(array)

    def asarray(self, array: Array) -> Array:
        """Convert a NumPy array to an array of the backend with the same dtype.

        ArrayRules of the backend are returned unchanged.

        Parameters
        ----------
        array : array
            In any memory layout: reversed, sliced, read-only, or of either byte order. The result may share its memory.

        Raises
        ------
        ConvError
            If it is neither, or has a mask.
        UnsupportedError
            If the backend has no arrays of this dtype.

        Examples
        --------
        >>> import multiconv as mc, numpy as np
        >>> mc.backend("numpy").asarray(np.arange(3.0, dtype=">f8")[::-1]).dtype.isnative
        True
        """
        if type(array) is not np.ndarray:
            self.dtype_of("array", array)
            if not isinstance(array, np.ndarray):
                return array
        elif array.dtype.isnative:
            return array
        return np.array(array, dtype=array.dtype.newbyteorder("="), order="C", subok=False)

    # ---- Validation

    def _check_arrays(self, **arrays: Any) -> str:
        """Check that these are dense arrays on one device, of a single supported dtype, and return that dtype."""
        dtype = self.check_dtypes(
            {name: self.dtype_of(name, a) for name, a in arrays.items() if not (a is None and name == "bias")}
        )
        self.check_places(**arrays)
        return dtype

    def check_places(self, **arrays: Any) -> None:
        """Check that these are dense arrays on one device. An argument that is None is left out."""
        given = {name: array for name, array in arrays.items() if array is not None}
        for name, array in given.items():
            storage = self.storage_of(array)
            if storage != "dense":
                raise ConvError(f"{name} is a {storage} array; convert it to a dense one first")
        devices = {name: self.device_of(array) for name, array in given.items()}
        first, device = next(iter(devices.items()))
        for name, other in devices.items():
            if other != device:
                raise ConvError(
                    f"{name} is on {other} but {first} is on {device}: nothing is moved silently, so move one of them"
                )

    def check_dtypes(self, dtypes: dict[str, str]) -> str:
        """Check that all arguments have the same supported dtype, and return it."""
        first, dtype = next(iter(dtypes.items()))
        for name, other in dtypes.items():
            if other != dtype:
                raise ConvError(
                    f"{name} is {other} but {first} is {dtype}: nothing is cast silently, so convert one of them"
                )
        if dtype not in self.dtypes:
            raise UnsupportedError(
                f"{first} is {dtype}, which the {self.name} backend does not compute: it has {', '.join(self.dtypes)}"
            )
        return dtype

    def dtype_of(self, name: str, array: Any) -> str:
        """Return the dtype of an argument, which must be a NumPy array without a mask or an array of the backend."""
        if isinstance(array, np.ma.MaskedArray):
            raise ConvError(f"{name} is a masked array; its mask would be lost, so fill it first")
        if isinstance(array, np.ndarray):
            return str(array.dtype.name)
        if self.is_array(array):
            return self.dtype(array)
        kind = type(array)
        own = "" if self.name == "numpy" else f" or an array of {self.name}"
        raise ConvError(f"{name} must be a NumPy array{own}, not {kind.__module__}.{kind.__qualname__}")

    def _host(self, array: Array) -> Host:
        """Copy an array to a new contiguous NumPy array in native byte order."""
        host = array if isinstance(array, np.ndarray) else self.to_numpy(array)
        return np.array(host, dtype=host.dtype.newbyteorder("="), order="C", subok=False)

    def _loop_arrays(self, X: Array, K: Array, X_axes: int = 2, K_axes: int = 2) -> tuple[Array, Array]:
        """Validate the arrays of `corr2d` and its variants, and convert them to arrays of the backend."""
        self._check_arrays(X=X, K=K)
        for name, array, axes in (("X", X, X_axes), ("K", K, K_axes)):
            if len(array.shape) != axes:
                raise ConvError(f"{name} must have {axes} axes, but its shape is {tuple(array.shape)}")
            if 0 in tuple(array.shape):
                raise ConvError(f"{name} is empty: its shape is {tuple(array.shape)}")
            check_count(name, prod(array.shape))
        if X_axes == 3 and X.shape[0] != K.shape[-3]:
            raise ConvError(
                f"X of shape {tuple(X.shape)} has {X.shape[0]} channels, "
                f"but K of shape {tuple(K.shape)} has {K.shape[-3]}"
            )
        if X.shape[-2] < K.shape[-2] or X.shape[-1] < K.shape[-1]:
            raise ConvError(
                f"the kernel is larger than the input: K has the shape {tuple(K.shape)}, X {tuple(X.shape)}"
            )
        return self.asarray(X), self.asarray(K)
