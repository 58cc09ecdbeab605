"""Errors of file operations that name the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike


@contextmanager
def naming(path: str | PathLike[str]) -> Iterator[None]:
    """Add a file's name to every OSError. Python does not if a write fails, for example on a full disk.

    Examples
    --------
    >>> with naming("/dev/full"), open("/dev/full", "w") as file:
    ...     _ = file.write("text")
    Traceback (most recent call last):
    OSError: [Errno 28] No space left on device: '/dev/full'
    """
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
