"""For multiconv's tests: a backend that misbehaves when told to, and one that is wrong."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from enum import IntEnum
from typing import Any

import numpy as np

from multiconv import Array, ConvError, ConvSpec, Geometry, Host, Operation
from multiconv_loops import LoopsBackend


class TroubleBackend(LoopsBackend):
    """Right, but for a `corr2d` that does first what the value of ``X[0, 0]`` stands for."""

    name = "trouble"

    def __init__(self) -> None:
        super().__init__()
        self.layers: weakref.WeakSet[Any] = weakref.WeakSet()

    def native_corr2d(self, X: Array, K: Array) -> Array:
        if X[0, 0] == Trouble.COUNT_LAYERS:
            return np.array([[len(self.layers)]], X.dtype)
        result = TROUBLES.get(float(X[0, 0]), lambda: None)()
        return super().native_corr2d(X, K) if result is None else result

    def native_layer(self, spec: ConvSpec, w: Host, bias: Host | None) -> Callable[[Array], Array]:
        layer = super().native_layer(spec, w, bias)
        self.layers.add(layer)
        return layer


class WrongBackend(LoopsBackend):
    """Takes the zeros before an axis for those after it, and the other way round."""

    name = "wrong"

    def native_cross_correlate(self, g: Geometry) -> Operation:
        return super().native_cross_correlate(replace(g, pads=tuple((after, before) for before, after in g.pads)))


def _raise(error: Exception) -> None:
    raise error


def _send(data: bytes) -> None:
    os.write(json.loads(sys.argv[1])["connection"], data)


def _send_half() -> None:
    _send(struct.pack("!i", 1000) + b"not as many bytes as that")
    time.sleep(1000)


def _send_answer(**fields: Any) -> None:
    text = json.dumps({"arrays": [], "arena": 0, **fields}).encode()
    _send(struct.pack("!i", 4 + len(text)) + struct.pack("<I", len(text)) + text)


def _request_number() -> int:
    """Return the number of the request that is being answered, which only the server's loop knows."""
    frame = sys._getframe()
    while "request" not in frame.f_locals:
        assert frame.f_back is not None
        frame = frame.f_back
    return int(frame.f_locals["request"]["number"])


def _have_a_child() -> None:
    child = os.fork()
    if child == 0:
        time.sleep(1000)
    print(f"child {child}", file=sys.stderr, flush=True)


def _list_descriptors() -> None:
    listed = subprocess.run(["ls", "-l", "/proc/self/fd"], close_fds=False, capture_output=True, text=True, check=True)
    print(listed.stdout, file=sys.stderr, flush=True)


def _die_before_a_child() -> None:
    _have_a_child()
    os.kill(os.getpid(), signal.SIGKILL)


def _shrink_the_shared_memory() -> None:
    setup = json.loads(sys.argv[1])
    for arena in ("requests", "answers"):
        os.ftruncate(setup[arena], 0)


def _print() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.write("noise\n" * 200_000)
        stream.flush()


class Trouble(IntEnum):
    """What ``X[0, 0]`` may ask for."""

    SEGFAULT = 1
    KILL = 2
    HANG = 3
    HANG_WITH_GIL = 4
    RAISE = 5
    SEND_GARBAGE = 6
    PRINT = 7
    EXIT = 8
    MEMORY_ERROR = 9
    NO_ARRAY = 10
    CONV_ERROR = 11
    SEND_HALF = 12
    SEND_NO_ANSWER = 13
    NAP = 14
    COUNT_LAYERS = 15
    HAVE_A_CHILD = 16
    DIE_BEFORE_A_CHILD = 17
    SHRINK_THE_SHARED_MEMORY = 18
    SEND_AN_ANSWER_MORE = 19
    SIGNAL_35 = 20
    LIST_DESCRIPTORS = 21
    SEND_MALFORMED_ERROR = 22


TROUBLES: dict[float, Callable[[], Any]] = {
    Trouble.SEGFAULT: lambda: ctypes.string_at(0),
    Trouble.KILL: lambda: os.kill(os.getpid(), signal.SIGKILL),
    Trouble.HANG: lambda: time.sleep(1000),
    Trouble.HANG_WITH_GIL: lambda: ctypes.PyDLL(None).sleep(1000),
    Trouble.RAISE: lambda: _raise(RuntimeError("no such luck")),
    Trouble.SEND_GARBAGE: lambda: _send(b"Segmentation fault (not really)\n"),
    Trouble.PRINT: _print,
    Trouble.EXIT: lambda: os._exit(7),
    Trouble.MEMORY_ERROR: lambda: _raise(MemoryError("none left")),
    Trouble.NO_ARRAY: object,
    Trouble.CONV_ERROR: lambda: _raise(ConvError("no convolution")),
    Trouble.SEND_HALF: _send_half,
    Trouble.SEND_NO_ANSWER: _send_answer,
    Trouble.SEND_MALFORMED_ERROR: lambda: _send_answer(number=_request_number(), error={"type": "OSError"}),
    Trouble.NAP: lambda: time.sleep(0.5),
    Trouble.HAVE_A_CHILD: _have_a_child,
    Trouble.DIE_BEFORE_A_CHILD: _die_before_a_child,
    Trouble.SHRINK_THE_SHARED_MEMORY: _shrink_the_shared_memory,
    Trouble.SEND_AN_ANSWER_MORE: lambda: _send_answer(number=0, value=None),
    Trouble.LIST_DESCRIPTORS: _list_descriptors,
    Trouble.SIGNAL_35: lambda: os.kill(os.getpid(), 35),
}
