"""The errors that multiconv raises, and the suggestions that several messages share."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from typing import Any


class MulticonvError(Exception):
    """The base class of all errors of multiconv."""


class UsageError(MulticonvError, ValueError):
    """An invalid name, option or file. The message states the value and how to correct it."""


class ConvError(UsageError):
    """The arguments do not describe a valid convolution.

    multiconv itself raises this error, with the same message on every backend, before it calls a framework.
    """


class UnsupportedError(ConvError):
    """The arguments describe a convolution that this backend does not support, such as one in an integer dtype."""


class BackendUnavailable(MulticonvError, RuntimeError):
    """A backend that was asked for is not available here. The message says why, and what to type to install it."""


class ResourceError(MulticonvError, OSError):
    """Memory, file descriptors or a temporary folder are missing in this process itself. No backend is to blame."""


class BackendError(MulticonvError, RuntimeError):
    """A backend in a worker failed on a problem.

    This class itself means that the framework raised an exception; the worker keeps running. A subclass means that the
    worker is gone; the next call starts a new one.

    Attributes
    ----------
    backend : str
        The name of the backend, such as ``"mxnet"``.
    problem : dict or None
        The request, ready for :func:`json.dumps`: the operation, its options, and the dtype and shape of each array.
        Small arrays also have their values.
    stderr : str
        The end of the worker's standard output and error, such as a traceback.
    """

    def __init__(self, message: str, *, backend: str = "", problem: dict[str, Any] | None = None, stderr: str = ""):
        super().__init__(message)
        self.backend = backend
        self.problem = problem
        self.stderr = stderr


class BackendCrashed(BackendError):
    """A worker crashed, or sent an invalid answer."""


class BackendTimeout(BackendError, TimeoutError):
    """A worker exceeded its time limit and was killed."""


def suggestion(word: Any, possible: Collection[str]) -> str:
    """Return a phrase that suggests the closest of the possible names, or an empty string if none is close.

    A name is close if it shares most letters with the word. So is a name of several parts, joined by dashes, if one of
    its parts does.

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
