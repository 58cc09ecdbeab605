"""The errors that multiconv raises, and the words that several of them share."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from typing import Any


class MulticonvError(Exception):
    """The root of all errors of multiconv."""


class UsageError(MulticonvError, ValueError):
    """A name, an option or a file is wrong. The message says with which value, and what to do about it."""


class ConvError(UsageError):
    """The input does not describe a convolution.

    Raised by multiconv itself, in the same words for every backend, before a framework sees the input.
    """


class UnsupportedError(ConvError):
    """The input describes a convolution that this backend does not compute, such as one in an integer dtype."""


class BackendUnavailable(MulticonvError, RuntimeError):
    """A backend that was asked for is not available here. The message says why and what to type to get it."""


class BackendError(MulticonvError, RuntimeError):
    """A backend in a worker failed on a problem.

    Raised itself when the framework raised an exception of its own; the worker lives on. Its subclasses say
    that the worker is gone; the next call starts a new one.

    Attributes
    ----------
    backend : str
        The name of the backend, such as ``"mxnet"``.
    problem : dict or None
        What the worker was asked to do, ready for :func:`json.dumps`: the operation, its options, and each array's
        dtype and shape (and its values, where they are few).
    stderr : str
        The end of what the worker wrote to its standard output and error, such as a traceback.
    """

    def __init__(self, message: str, *, backend: str = "", problem: dict[str, Any] | None = None, stderr: str = ""):
        super().__init__(message)
        self.backend = backend
        self.problem = problem
        self.stderr = stderr


class BackendCrashed(BackendError):
    """A worker died, or answered with something that is no answer."""


class BackendTimeout(BackendError, TimeoutError):
    """A worker took longer than it was given, and was killed."""


def suggestion(word: Any, possible: Collection[str]) -> str:
    """Return words that suggest the closest of the possible names, or nothing if none is close.

    A name is close if it, or a part of it between dashes, has most letters of the word.

    Examples
    --------
    >>> suggestion("strides", ("stride", "padding"))
    " (did you mean 'stride'?)"
    >>> suggestion("Paddng", ("channels", "padding-and-stride"))
    " (did you mean 'padding-and-stride'?)"
    """
    parts = {part: name for name in reversed(list(possible)) for part in name.lower().split("-")}
    names = parts | {name.lower(): name for name in possible}
    close = get_close_matches(str(word).lower(), names, n=1)
    return f" (did you mean {names[close[0]]!r}?)" if close else ""
