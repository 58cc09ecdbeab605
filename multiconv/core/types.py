"""The types that several modules share, each once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = Any
"""An array of a framework's own type."""
Host = npt.NDArray[Any]
"""A NumPy array."""
Mask = npt.NDArray[np.bool_]

Shape = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]
"""How many zeros before and after the image, along each axis."""
Ints = int | tuple[int, ...]
"""One number for all axes, or one for each."""
Padding = int | str | tuple[int | tuple[int, int], ...]

Operation = Callable[..., Any]
"""A function of arrays of the framework."""
Progress = Callable[[str, int, int, str], None]
"""Called with what is at work, such as a backend's name, how many steps are done, of how many, and what comes next."""


def no_progress(name: str, done: int, of: int, doing: str) -> None:
    """Tell nobody how far it is."""
