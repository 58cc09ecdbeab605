"""MXNet: its profiler tells which operators ran."""

from __future__ import annotations

import json
import os

import mxnet as mx

from multiconv.guest.listening import Listening


class MxnetListening(Listening):
    """Listens to MXNet."""

    def __init__(self, name: str, entry_point: str, folder: str) -> None:
        super().__init__(name, entry_point, folder)
        profile = os.path.join(folder, "profile.json")  # MXNet removes this file at its end, and writes a new one
        mx.profiler.set_config(profile_imperative=True, profile_symbolic=True, aggregate_stats=True, filename=profile)

    def start(self) -> None:
        """Start the profiler."""
        mx.profiler.set_state("run")

    def stop(self) -> list[str]:
        """Return the names of the operators that ran."""
        mx.nd.waitall()
        mx.profiler.set_state("stop")
        times = json.loads(mx.profiler.dumps(reset=True, format="json"))["Time"]
        return list(times.get("operator", ()))


service = MxnetListening
