"""Memory layouts of arrays: the layouts that users pass to a convolution, and copies that preserve them.

Two arrays with the same values may differ in strides, alignment and writability. A function that takes the pointer and
ignores the strides is right for one of them and wrong for the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from multiconv.core.types import Host

ALIGNMENT_BYTES = 64
LONGEST_REACH_BYTES = 2**34
"""The most bytes that the strides of an array may span. Strides that span more are considered garbage."""

ARRANGEMENTS = {
    "contiguous": "{0}",
    "Fortran": "np.asfortranarray({0})",
    "channels_last": "np.moveaxis(np.moveaxis({0}, 1, -1).copy(), -1, 1)",
    "reversed": "np.flip(np.flip({0}).copy())",
    "cropped": "np.pad({0}, 1)[(slice(1, -1),) * {0}.ndim]",
    "gaps": "np.repeat({0}, 2, axis=1)[:, ::2]",
    "unaligned": 'np.frombuffer(b"-" + {0}.tobytes(), {0}.dtype, offset=1).reshape({0}.shape)',
    "read_only": "np.broadcast_to({0}, {0}.shape)",
}
"""For each name, the NumPy expression that arranges an array of two or more axes."""


def arranged(array: Host, arrangement: str) -> Host:
    """Return an array of the same values in one of the `ARRANGEMENTS`.

    Parameters
    ----------
    array : array
        Any number of axes; an array of one axis is arranged along that axis.
    arrangement : str
        ``"contiguous"``: C order, returned unchanged if it already is; ``"Fortran"``: the first axis varies fastest;
        ``"channels_last"``: axis 1 varies fastest; ``"reversed"``: negative strides along every axis; ``"cropped"``:
        the inside of an array that is larger by one on every side; ``"gaps"``: every other channel of an array with
        twice as many; ``"unaligned"``: one byte past an aligned address; ``"read_only"``: not writable.

    Raises
    ------
    KeyError
        If the arrangement is unknown.

    Examples
    --------
    >>> arranged(np.arange(4.0).reshape(2, 2), "reversed").strides
    (-16, -8)
    """
    if arrangement not in ARRANGEMENTS:
        raise KeyError(arrangement)
    if arrangement == "Fortran":
        return np.asfortranarray(array)
    if arrangement == "channels_last" and array.ndim > 1:
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)
    if arrangement == "reversed":
        return np.flip(np.flip(array).copy())
    if arrangement == "cropped":
        return np.pad(array, 1)[(slice(1, -1),) * array.ndim]
    if arrangement == "gaps":
        channels = min(1, array.ndim - 1)
        return np.repeat(array, 2, axis=channels)[(slice(None),) * channels + (slice(None, None, 2),)]
    if arrangement == "unaligned":
        return np.frombuffer(b"-" + array.tobytes(), array.dtype, offset=1).reshape(array.shape)
    if arrangement == "read_only":
        return np.broadcast_to(np.ascontiguousarray(array), array.shape)
    return np.ascontiguousarray(array)


def is_plain(array: Host) -> bool:
    """Return whether an array is contiguous in C order, aligned and writable.

    Examples
    --------
    >>> is_plain(np.zeros((2, 3))), is_plain(np.zeros((2, 3)).T)
    (True, False)
    """
    return bool(array.flags.c_contiguous and array.flags.aligned and array.flags.writeable)


def copied(array: Host) -> Host:
    """Return a copy with the same strides, alignment and writability as the original.

    Bytes between the elements are set to 0xFF, which is NaN in every floating-point format.

    Examples
    --------
    >>> view = np.arange(6.0).reshape(2, 3)[:, ::2]
    >>> copied(view).strides == view.strides
    True
    """
    return placed(array, described(array))


def described(array: Host) -> dict[str, Any]:
    """Return the memory layout of an array, as a dict for JSON. `placed` makes a copy with such a layout.

    Examples
    --------
    >>> described(np.zeros((2, 3))[:, ::2])["strides"]
    (24, 16)
    """
    offset = array.ctypes.data % ALIGNMENT_BYTES if array.size else 0
    return {"strides": array.strides, "offset": offset, "writeable": array.flags.writeable}


def placed(array: Host, how: dict[str, Any]) -> Host:
    """Return a copy of an array in the memory layout that `described` returned for another one.

    Parameters
    ----------
    array : array
    how : dict
        ``"strides"``: bytes, one number per axis; ``"offset"``: bytes from an aligned address to the first element;
        ``"writeable"``: whether the copy can be written to.

    Raises
    ------
    ValueError
        If the number of strides differs from the number of axes, or if the strides span more than
        `LONGEST_REACH_BYTES`.

    Examples
    --------
    >>> placed(np.arange(3.0), {"strides": (-8,), "offset": 4, "writeable": True}).flags.aligned
    False
    """
    strides = tuple(how["strides"])
    if len(strides) != array.ndim:
        raise ValueError(f"strides must have one number per axis, but an array of shape {array.shape} got {strides}")
    reach = [step * max(n - 1, 0) for step, n in zip(strides, array.shape)]
    before, after = -sum(r for r in reach if r < 0), sum(r for r in reach if r > 0)
    if before + after > LONGEST_REACH_BYTES:
        raise ValueError(f"strides of {strides} span {before + after} bytes, more than {LONGEST_REACH_BYTES}")
    buffer = np.full(before + after + array.itemsize + 2 * ALIGNMENT_BYTES, 0xFF, np.uint8)
    first = before + (how["offset"] - before - buffer.ctypes.data) % ALIGNMENT_BYTES
    copy: Host = np.ndarray(array.shape, array.dtype, buffer, first, strides)
    copy[...] = array
    copy.flags.writeable = how["writeable"]
    return copy
