"""The names that users type: a backend, a version of it, a Python interpreter, a variant, or a function.

=====================================  ======================================================
``torch``                              a backend, wherever it is installed
``torch@2.5.1``                        a version, in an environment of its own
``torch@/path/to/python``              an existing environment
``numpy+algorithm=fast+OMP_NUM_THREADS=1``  a variant: options of its class, and environment variables in capitals
``package.module:function``            a function, as Python would import it
=====================================  ======================================================
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from multiconv.core.errors import UsageError

ORDER = ("numpy", "torch", "jax", "tensorflow", "mxnet")
"""The project's own backends, in the order in which they are listed."""
ALIASES = {"np": "numpy", "pytorch": "torch", "flax": "jax", "tf": "tensorflow", "keras": "tensorflow", "mx": "mxnet"}
"""Other names that people use for the backends."""
SETTING = re.compile(r"\+(?=\w+=)")


@dataclass(frozen=True)
class Target:
    """A parsed name.

    Attributes
    ----------
    backend : str
        The backend's own name, such as ``"torch"``; empty for a function.
    place : str
        The part after the ``@``: a version, a path to a Python interpreter, or an empty string.
    settings : tuple of (str, str)
        The parts after each ``+``: name and value of an option or of an environment variable.
    function : str
        ``"package.module:function"``, or an empty string.
    """

    backend: str = ""
    place: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    function: str = ""

    @property
    def name(self) -> str:
        """Return the backend with its place, or the function, as `multiconv.backend` and the reports name it."""
        return self.function or self.backend + "@" * bool(self.place) + self.place

    @property
    def label(self) -> str:
        """Return the name with its settings."""
        return self.name + "".join(f"+{name}={value}" for name, value in self.settings)

    @property
    def is_path(self) -> bool:
        """Return whether the place is a path to a Python interpreter."""
        return os.sep in self.place

    @property
    def options(self) -> dict[str, str]:
        """Return the options of the backend's class."""
        return {name: value for name, value in self.settings if not name.isupper()}

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables."""
        return {name: value for name, value in self.settings if name.isupper()}


def parse_target(text: str) -> Target:
    """Parse a name. Aliases of the five backends, in any case, are replaced by the backend's own name.

    Parameters
    ----------
    text : str

    Raises
    ------
    UsageError
        If there is nothing after the ``@``, or a setting is not NAME=VALUE.

    Examples
    --------
    >>> parse_target("PyTorch@2.5.1").name
    'torch@2.5.1'
    >>> parse_target("torch@2.13.0+cpu").place
    '2.13.0+cpu'
    >>> parse_target("numpy+algorithm=fast").options
    {'algorithm': 'fast'}
    >>> parse_target("scipy.signal:correlate").function
    'scipy.signal:correlate'
    """
    head, *settings = SETTING.split(text)
    if ":" in head and "@" not in head:
        return Target(function=text)
    plain, at, place = head.partition("@")
    if at and not place:
        raise UsageError(
            f"{text!r} has no version after the @, as in {plain}@1.2.3, and no path, as in {plain}@/a/python"
        )
    if "+" in plain:  # a version may contain a +, as in 2.13.0+cpu
        raise UsageError(f"a variant is written as {plain.partition('+')[0]}+NAME=VALUE, not as {text!r}")
    lower = plain.lower()
    known = ALIASES.get(lower, lower if lower in ORDER else plain)
    return Target(known, place, tuple((name, value) for name, _, value in (s.partition("=") for s in settings)))


def plain_name(name: str) -> str:
    """Return the backend's own name, without a version or a path.

    Examples
    --------
    >>> plain_name("torch@2.5.1"), plain_name("tf")
    ('torch', 'tensorflow')
    """
    return parse_target(name).backend
