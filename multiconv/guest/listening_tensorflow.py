"""TensorFlow: it logs to standard error which operators it executes."""

from __future__ import annotations

import re
from typing import ClassVar

import tensorflow as tf

from multiconv.guest.listening import Listening

EXECUTED = re.compile(r"Executing op (\S+) in device")


class TensorflowListening(Listening):
    """Listens to TensorFlow."""

    descriptors: ClassVar[tuple[int, ...]] = (1, 2)

    def __init__(self, name: str, entry_point: str, folder: str) -> None:
        super().__init__(name, entry_point, folder)
        tf.debugging.set_log_device_placement(True)

    def operators_written(self, written: str) -> list[str]:
        """Return the names of the operators that it logged."""
        return EXECUTED.findall(written)


service = TensorflowListening
