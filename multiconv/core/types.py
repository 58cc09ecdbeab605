"""Types that several modules share."""

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
Integers = npt.NDArray[np.object_]
"""An array of Python integers."""

Shape = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]
"""Number of zeros before and after the image along each axis."""
Ints = int | tuple[int, ...]
"""One number for all axes, or one number per axis."""
Padding = int | str | tuple[int | tuple[int, int], ...]

Operation = Callable[..., Any]
"""A function on arrays of the framework."""
Progress = Callable[[str, int, int, str], None]
"""Called with a name, such as a backend's, the steps done, the number of steps, and a description of the next step."""


def no_progress(name: str, done: int, total: int, doing: str) -> None:
    """Ignore the progress of a run."""
