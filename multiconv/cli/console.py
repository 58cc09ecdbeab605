"""The console that every command prints on."""

from __future__ import annotations

import re
from typing import Any

import rich.console

LOG_WIDTH = 200  # columns


class Console(rich.console.Console):
    """A console that does not interpret rich's markup and emoji codes, because names and paths may contain them.

    If it is not a terminal, lines do not end in blanks, and it is wide, so that paths in a log are not folded.

    Parameters
    ----------
    err : bool
        Whether it is standard error.

    Examples
    --------
    >>> Console().print("numpy@/a[/b]/python  ")
    numpy@/a[/b]/python
    """

    def __init__(self, *, err: bool = False) -> None:
        super().__init__(stderr=err, highlight=False, markup=False, emoji=False)
        if not self.is_terminal:
            self.width = LOG_WIDTH

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does, without blanks at line ends if this is not a terminal."""
        if self.is_terminal:
            super().print(*objects, **options)
            return
        with self.capture() as printed:
            super().print(*objects, **options)
        self.file.write(re.sub(r" +$", "", printed.get(), flags=re.MULTILINE))
        self.file.flush()
