"""PyTorch: its profiler tells which operators ran."""

from __future__ import annotations

from typing import Any

from torch.profiler import ProfilerActivity, profile

from multiconv.guest.kernels import NAMES_A_CONVOLUTION
from multiconv.guest.listening import Listening


class TorchListening(Listening):
    """Listens to PyTorch."""

    profiler: Any = None

    def start(self) -> None:
        """Start the profiler."""
        self.profiler = profile(activities=[ProfilerActivity.CPU])
        self.profiler.start()

    def stop(self) -> list[str]:
        """Return the names of convolution operators that call no other convolution operator."""
        if self.profiler is None:
            return []
        profiler, self.profiler = self.profiler, None
        profiler.stop()
        events = [event for event in profiler.events() if NAMES_A_CONVOLUTION.search(event.name)]
        outer = set()
        for event in events:
            parent = event.cpu_parent
            while parent is not None:
                outer.add(id(parent))
                parent = parent.cpu_parent
        return [event.name for event in events if id(event) not in outer]


service = TorchListening
