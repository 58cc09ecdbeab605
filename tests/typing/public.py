"""What a user's type checker should say of the public API: `test_typing.py` runs mypy on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, assert_type

import numpy as np

import multiconv as mc
from multiconv.testing import assert_conforms, draw_problems

backend = mc.backend("numpy")
assert_type(backend, mc.Backend)
assert_type(mc.backends(), list[mc.BackendInfo])

x, w = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))
backend.cross_correlate(x, w, stride=(1, 2), padding=((0, 1), (2, 3)), dilation=1, groups=1, layout="NCHW")
backend.cross_correlate(x, w, padding="same")
backend.cross_correlate(x, w, strides=2)  # type: ignore[call-arg]
backend.cross_correlate(x, w, stride="2")  # type: ignore[arg-type]
dx, dw, db = backend.cross_correlate_vjp(x, w, None, np.ones((1, 1, 2, 2)))
assert_type(backend.layer(w), Callable[[Any], Any])

geometry = mc.ConvSpec(stride=2).resolve((1, 1, 3, 3), (1, 1, 2, 2))
assert_type(geometry, mc.Geometry)
assert_type(geometry.y_shape, tuple[int, ...])

error: type[ValueError] = mc.ConvError
errors: tuple[type[mc.MulticonvError], ...] = (mc.UsageError, mc.BackendUnavailable, mc.BackendError)


def port(x: mc.Host, w: mc.Host, bias: mc.Host | None, **options: Any) -> mc.Host:
    """Return anything."""
    return x


assert_conforms(port, padding="same", stride=2, ndim=2)
assert_type([p.x for p in draw_problems(3, seed=0)], list[mc.Host])


class Mine(mc.Backend):
    """A backend that is a plan alone."""

    name = "mine"

    @property
    def version(self) -> str:
        """Return the version."""
        return "1"

    def plan(self, operation: str, g: mc.Geometry, dtype: str) -> mc.Operation:
        """Return a function of arrays."""
        return lambda x, w, bias=None: x


class Framework(mc.FrameworkBackend):
    """A backend that lacks most of what it must write."""

    name = "framework"

    def transpose(self, array: mc.Array, axes: Sequence[int]) -> mc.Array:
        """Return the array."""
        return array


Mine()
Framework()  # type: ignore[abstract]
