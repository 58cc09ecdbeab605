"""The protocol between a worker and its parent: a JSON header, and arrays as bytes. Nothing is pickled.

Small arrays travel in the frame itself. Larger ones travel through an `Arena`: memory without a name that both
processes map, so that nothing is left in any file system, however either process ends. Each side writes to its own
arena and reads the other's.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import struct
import tempfile
from collections.abc import Sequence
from math import prod
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from multiconv.core import memory
from multiconv.core.dtypes import dtype_named
from multiconv.core.errors import ResourceError
from multiconv.core.types import Host

INLINE = 64 * 1024
KEPT_BYTES = 256 * 1024 * 1024
"""Number of bytes that an arena keeps after a call. A multiple of the page size."""
LONGEST_FRAME = 16 * 1024 * 1024
ALIGNMENT = 64
LENGTH = struct.Struct("<I")


class Garbled(Exception):
    """A malformed frame."""


class Arena:
    """Memory that is shared with the other process, which has the same file open."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map: mmap.mmap | None = None
        self._used = 0

    def grow(self, size: int) -> mmap.mmap:
        """Return at least `size` bytes to write to. The file never shrinks, or a reader of its end would be killed."""
        if os.fstat(self.fd).st_size < size:
            os.ftruncate(self.fd, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
        return self.map(size)

    def map(self, size: int) -> mmap.mmap:
        """Map at least `size` bytes, or all bytes if there are fewer."""
        if self._map is None or len(self._map) < size:
            self._map = mmap.mmap(self.fd, os.fstat(self.fd).st_size)
        self._used = max(self._used, size)
        return self._map

    def release(self) -> None:
        """Give memory back to the system, all but `KEPT_BYTES`, once no array uses it. The file keeps its size."""
        if self._map is not None and self._used > KEPT_BYTES and hasattr(mmap, "MADV_REMOVE"):
            self._map.madvise(mmap.MADV_REMOVE, KEPT_BYTES, len(self._map) - KEPT_BYTES)
            self._used = KEPT_BYTES

    def close(self) -> None:
        """Close the file, whose memory is released once no array uses it."""
        self._map = None
        os.close(self.fd)


def anonymous_file() -> int:
    """Open a file that has no name and disappears with the last process that has it open; return its descriptor.

    On Linux, neither process can make it shorter, which would kill the other one as it reads.
    """
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("multiconv", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
        return fd
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Wire:
    """One end of the connection: frames and arenas.

    Parameters
    ----------
    connection : multiprocessing.connection.Connection
    mine, theirs : int
        The file descriptors of the arena that this side writes and of the arena that it reads.
    """

    def __init__(self, connection: Connection[Any, Any], mine: int, theirs: int) -> None:
        self.connection = connection
        self.mine, self.theirs = Arena(mine), Arena(theirs)

    def send(self, header: dict[str, Any], arrays: Sequence[Host | None] = (), *, keep_strides: bool = False) -> None:
        """Send what `framed` returns for the same arguments."""
        self.connection.send_bytes(self.framed(header, arrays, keep_strides=keep_strides))

    def framed(self, header: dict[str, Any], arrays: Sequence[Host | None], *, keep_strides: bool = False) -> bytes:
        """Return a frame of a header and arrays, some of which may be None. Large arrays are put into the arena.

        Parameters
        ----------
        header : dict
        arrays : sequence of array or None
        keep_strides : bool
            Whether arrays keep their strides, alignment and read-only flag. By default they arrive in C order.

        Raises
        ------
        TypeError
            If an array holds Python objects, whose bytes mean nothing in another process.
        ValueError
            If the header and the small arrays together exceed `LONGEST_FRAME`, which the other side would refuse.
        OSError, MemoryError
            If there is not enough memory for the arena.
        """
        entries: list[dict[str, Any] | None] = []
        inline: list[bytes] = []
        inline_end = arena_end = 0
        shared: list[tuple[int, Host]] = []
        for array in arrays:
            if array is None:
                entries.append(None)
                continue
            if array.dtype.hasobject:
                raise TypeError(f"an array of {array.dtype} can't be sent: its elements are Python objects")
            entry: dict[str, Any] = {"dtype": _name(array.dtype), "shape": array.shape}
            if keep_strides and not memory.is_plain(array):
                entry |= memory.described(array)
            if array.nbytes <= INLINE:
                entry["inline"] = inline_end
                inline.append(array.tobytes())
                inline_end += array.nbytes
            else:
                entry["arena"] = arena_end
                shared.append((arena_end, array))
                arena_end += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
            entries.append(entry)
        if shared:
            arena = self.mine.grow(arena_end)
            for start, array in shared:
                np.ndarray(array.shape, array.dtype, arena, start)[...] = array
        text = json.dumps({**header, "arrays": entries, "arena": arena_end}).encode()
        frame = b"".join((LENGTH.pack(len(text)), text, *inline))
        if len(frame) > LONGEST_FRAME:
            raise ValueError(f"a frame of {len(frame)} bytes can't be sent, only {LONGEST_FRAME}: send fewer arrays")
        return frame

    def receive(self) -> tuple[dict[str, Any], list[Host | None]]:
        """Receive the other side's next header and arrays.

        Large arrays are views of its arena, valid until it sends again.

        Raises
        ------
        EOFError, OSError
            If the other side is gone.
        Garbled
            If the frame is malformed.
        ResourceError
            If this process lacks the memory to read the arrays.
        """
        try:
            frame = self.connection.recv_bytes(LONGEST_FRAME)
        except OSError as error:
            if error.args == ("bad message length",):
                raise Garbled("the length of the frame is impossible") from None
            raise
        try:
            (length,) = LENGTH.unpack_from(frame)
            header = json.loads(frame[LENGTH.size : LENGTH.size + length])
            arena = self._mapped(header["arena"]) if header["arena"] else None
            start = LENGTH.size + length
            return header, [None if entry is None else _array(entry, frame, start, arena) for entry in header["arrays"]]
        except (struct.error, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise Garbled(f"{type(error).__name__}: {error}; it begins {frame[:60]!r}") from error

    def _mapped(self, size: int) -> mmap.mmap:
        try:
            return self.theirs.map(size)
        except OSError as error:
            raise ResourceError(f"{size} bytes of an answer can't be mapped into memory: {error}") from error

    def release(self) -> None:
        """Give memory back after a large call, once neither side uses its arrays."""
        for arena in (self.mine, self.theirs):
            arena.release()

    def close(self) -> None:
        """Close the connection and release the memory."""
        self.connection.close()
        self.mine.close()
        self.theirs.close()


def _name(dtype: np.dtype[Any]) -> str:
    """Return the name that `dtype_named` takes, with the byte order if NumPy knows it."""
    return dtype.name if dtype.kind == "V" else dtype.str


def _array(entry: dict[str, Any], frame: bytes, start: int, arena: mmap.mmap | None) -> Host:
    shape, dtype = tuple(entry["shape"]), dtype_named(entry["dtype"])
    if any(n < 0 for n in shape):
        raise ValueError(f"an array can't have the shape {shape}")
    # Unlike numpy.ndarray, frombuffer checks that the bytes exist, and that the elements are not pointers.
    if "inline" in entry:
        array = np.frombuffer(frame, dtype, prod(shape), start + entry["inline"]).reshape(shape)
    elif arena is None:
        raise ValueError("an array is said to be in an arena of size 0")
    else:
        array = np.frombuffer(arena, dtype, prod(shape), entry["arena"]).reshape(shape)
    if "strides" in entry:
        return memory.placed(array, entry)
    return array.copy() if "inline" in entry else array
