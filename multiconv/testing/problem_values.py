"""Build problems from given arrays, or with values drawn from a seed."""

from __future__ import annotations

import numpy as np

from multiconv.core.dtypes import dtype_named
from multiconv.core.geometry import Geometry
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Host, Shape
from multiconv.oracle.problem import Problem
from multiconv.oracle.values import seeded


def given_values(
    source: str,
    spec: ConvSpec,
    x: Host,
    w: Host,
    dy: Host | None = None,
    bias: Host | None = None,
    x_bias: Host | None = None,
    seed: int | None = None,
) -> Problem:
    """Return a problem with the given arrays.

    A missing cotangent is filled with small integers. So is a missing bias of the transposed result, if the result has
    a bias.

    Examples
    --------
    >>> given_values("mine", ConvSpec(), np.ones((1, 1, 3)), np.ones((1, 1, 2))).dy.shape
    (1, 1, 2)
    """
    g = spec.resolve(x.shape, w.shape)
    if dy is None:
        dy = _cycle(g.y_shape, x.dtype.name)
    if bias is not None and x_bias is None:
        x_bias = _cycle((g.in_channels,), x.dtype.name)
    arrays = [a for a in (x, w, dy, bias, x_bias) if a is not None]
    values = "integers" if all(map(_small_integers, arrays)) else "given"
    return Problem(source, spec, x, w, dy, bias, x_bias, values, seed)


def identity(dtype: str) -> Problem:
    """Return a problem whose result is its input: the kernel has one tap, equal to 1.

    Examples
    --------
    >>> identity("float32").w
    array([[[[1.]]]], dtype=float32)
    """
    x = np.arange(1, 7).reshape(1, 1, 2, 3).astype(dtype_named(dtype))
    return given_values("identity", ConvSpec(), x, np.ones((1, 1, 1, 1), x.dtype))


def with_values(
    source: str,
    spec: ConvSpec,
    g: Geometry,
    dtype: str,
    *,
    bias: bool,
    values: str,
    seed: int,
    arrangement: str = "contiguous",
) -> Problem:
    """Return a problem of this geometry with values from NumPy's default generator.

    Parameters
    ----------
    source : str
    spec : ConvSpec
    g : Geometry
        The geometry to which `spec` resolves.
    dtype : str
    bias : bool
    values : str
        The kind of values, as in `multiconv.oracle.values.seeded`.
    seed : int
    arrangement : str
        The memory layout of the arrays: one of `multiconv.core.memory.ARRANGEMENTS`.

    Examples
    --------
    >>> spec = ConvSpec()
    >>> g = spec.resolve((1, 1, 3), (1, 1, 2))
    >>> with_values("mine", spec, g, "float32", bias=False, values="integers", seed=0).x
    array([[[3., 1., 0.]]], dtype=float32)
    """
    shapes = (g.x_shape, g.w_shape, g.y_shape, (g.out_channels,), (g.in_channels,))
    x, w, dy, b, x_b = (seeded(shape, dtype, values, seed, i) for i, shape in enumerate(shapes))
    return Problem(source, spec, x, w, dy, b if bias else None, x_b if bias else None, values, seed, arrangement)


def _cycle(shape: Shape, dtype: str) -> Host:
    """Return an array of 1, 2, -1, 3, -2, repeated: small integers that differ from their neighbours."""
    return np.resize(np.array([1, 2, -1, 3, -2], dtype_named(dtype)), shape)


def _small_integers(array: Host) -> bool:
    return bool(np.all(array == np.rint(array)) and np.all(np.abs(array) <= 2**6))
