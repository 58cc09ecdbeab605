"""How an array lies in memory: the arrangements that people pass to a convolution, and copies that keep them.

Two arrays with the same values may differ in strides, alignment and in whether they can be written. A function that
takes the pointer and ignores the strides is right on one and wrong on the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from multiconv.core.types import Host

ALIGNMENT_BYTES = 64
LONGEST_REACH_BYTES = 2**34
"""The most memory that an array may reach over with its strides: more is taken for garbage."""

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
"""By name, the NumPy expression that arranges an array of two or more axes."""


def arranged(array: Host, arrangement: str) -> Host:
    """Return the same values, arranged in memory in one of the `ARRANGEMENTS`.

    Parameters
    ----------
    array : array
        Any number of axes; an array of one axis is arranged along that axis.
    arrangement : str
        ``"contiguous"``: C order, returned unchanged if it already is; ``"Fortran"``: the first axis varies fastest;
        ``"channels_last"``: axis 1 varies fastest; ``"reversed"``: negative strides along every axis; ``"cropped"``:
        the inside of an array that is larger by one on every side; ``"gaps"``: every other channel of an array with
        twice as many; ``"unaligned"``: one byte past an aligned address; ``"read_only"``: it can't be written.

    Raises
    ------
    KeyError
        If there is no such arrangement.

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
    """Return a copy with the same strides, the same alignment, and as writable as the original.

    Bytes between the elements are filled with ones, which makes NaN of floating-point numbers.

    Examples
    --------
    >>> view = np.arange(6.0).reshape(2, 3)[:, ::2]
    >>> copied(view).strides == view.strides
    True
    """
    return placed(array, described(array))


def described(array: Host) -> dict[str, Any]:
    """Return, for JSON, how an array lies in memory: `placed` makes a copy that lies so.

    Examples
    --------
    >>> described(np.zeros((2, 3))[:, ::2])["strides"]
    (24, 16)
    """
    offset = array.ctypes.data % ALIGNMENT_BYTES if array.size else 0
    return {"strides": array.strides, "offset": offset, "writeable": array.flags.writeable}


def placed(array: Host, how: dict[str, Any]) -> Host:
    """Return a copy of an array that lies in memory as another one was `described`.

    Parameters
    ----------
    array : array
    how : dict
        ``"strides"`` in bytes, one for each axis; ``"offset"``, the bytes from an aligned address to the first element;
        and whether it is ``"writeable"``.

    Raises
    ------
    ValueError
        If there are not as many strides as axes, or if they reach over more than `LONGEST_REACH_BYTES`.

    Examples
    --------
    >>> placed(np.arange(3.0), {"strides": (-8,), "offset": 4, "writeable": True}).flags.aligned
    False
    """
    strides = tuple(how["strides"])
    if len(strides) != array.ndim:
        raise ValueError(f"an array of {array.ndim} axes has not {len(strides)} strides")
    reach = [step * max(n - 1, 0) for step, n in zip(strides, array.shape)]
    before, after = -sum(r for r in reach if r < 0), sum(r for r in reach if r > 0)
    if before + after > LONGEST_REACH_BYTES:
        raise ValueError(f"strides of {strides} reach over {before + after} bytes, more than {LONGEST_REACH_BYTES}")
    buffer = np.full(before + after + array.itemsize + 2 * ALIGNMENT_BYTES, 0xFF, np.uint8)
    first = before + (how["offset"] - before - buffer.ctypes.data) % ALIGNMENT_BYTES
    copy: Host = np.ndarray(array.shape, array.dtype, buffer, first, strides)
    copy[...] = array
    copy.flags.writeable = how["writeable"]
    return copy
