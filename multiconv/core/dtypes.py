"""Dtypes by name, including bfloat16, which NumPy lacks."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from multiconv.core.errors import UnsupportedError


def dtype_named(name: str) -> np.dtype[Any]:
    """Return the NumPy dtype of this name.

    bfloat16 comes from the package ml_dtypes, which is imported only when bfloat16 is first asked for.

    Raises
    ------
    UnsupportedError
        If the name is bfloat16 and this Python has no ml_dtypes.

    Examples
    --------
    >>> dtype_named("float32")
    dtype('float32')
    >>> dtype_named("bfloat16").itemsize
    2
    """
    if name != "bfloat16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError:
        raise UnsupportedError(
            f"bfloat16 needs the package ml_dtypes, which is not installed in {sys.executable}: pip install ml_dtypes"
        ) from None
    bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return bfloat16
