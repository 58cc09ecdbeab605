"""The expected result of each direction of a problem: its value, its error bound, and where more is allowed."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from multiconv.core import bounds
from multiconv.core.geometry import Geometry
from multiconv.core.types import Host
from multiconv.oracle import definition, fast_bounds, nonfinite, precision
from multiconv.oracle.accuracy import Sums
from multiconv.oracle.judgement import Expected, Leave, Rounding

if TYPE_CHECKING:
    from multiconv.oracle.problem import Problem

OPERANDS = {
    "input gradient": ("dy", "w"),
    "conv_transpose": ("dy", "w"),
    "kernel gradient": ("x", "dy"),
    "bias gradient": ("dy", "dy"),
}
"""The two arrays whose products a direction sums, where these are not x and w."""


class Oracle:
    """Compute the expected results of a problem, by the definition of convolution.

    Parameters
    ----------
    problem : Problem
    algorithm : str
        The algorithm whose bound applies, as in `Problem.expectations`.
    """

    def __init__(self, problem: Problem, algorithm: str) -> None:
        self.problem, self.algorithm = problem, algorithm
        self.wide = {name: self._wide(getattr(problem, name)) for name in ("x", "w", "dy", "bias", "x_bias")}
        self.sizes = {
            name: None if a is None else np.abs(np.where(np.isfinite(a), a, 0)) for name, a in self.wide.items()
        }
        self.normal_sizes = self._without_subnormals(self.sizes)

    def expected(self, direction: str) -> Expected:
        """Return the expected result of a direction."""
        with np.errstate(invalid="ignore", over="ignore"):  # infinite, NaN or very large values
            return self._expected(direction)

    def _expected(self, direction: str) -> Expected:
        terms, dtype = self._terms(direction), self.problem.dtype
        value, leave = self._value(direction)
        fast = partial(self._fast_bound, direction)
        if self.algorithm == "direct" and self._is_exact(direction, terms):
            return Expected(value, np.zeros(()), dtype, leave, fast=fast)
        magnitude = self._laid_out(direction, self._sum(direction, **self.sizes))
        flushed: Any = 0.0
        if self.normal_sizes is not self.sizes:
            flushed = magnitude - self._laid_out(direction, self._sum(direction, **self.normal_sizes))
        bound = bounds.componentwise(magnitude, terms, dtype, flushed=flushed, if_finite=True)
        if leave is None and terms * bounds.unit_roundoff(dtype) < 1:
            finite = np.isfinite(value)  # a bias may be infinite or NaN
            up, down = (m & finite for m in bounds.overflow(magnitude, np.where(finite, value, 0), terms, dtype))
            leave = Leave(up, down, up & down, overflow=True) if up.any() or down.any() else None
        if self.algorithm != "direct":
            return Expected(value, np.maximum(bound, fast()), dtype, leave)
        if leave is not None:
            return Expected(value, bound, dtype, leave, None, fast)
        rounding = cache(partial(self._rounding, direction, value, flushed))
        is_normal = self.problem.values == "normal"
        sums = cache(partial(self._sums, direction, magnitude, terms)) if is_normal else None
        return Expected(value, bound, dtype, None, rounding, fast, sums)

    def _value(self, direction: str) -> tuple[Host, Leave | None]:
        """Return the oracle's answer, and where NaN is as correct as a number."""
        left, right = OPERANDS.get(direction, ("x", "w"))
        if direction == "bias gradient" or all(np.isfinite(self.wide[name]).all() for name in (left, right)):
            return self._laid_out(direction, self._sum(direction, **self.wide)), None
        special = nonfinite.sums(
            partial(self._products, direction), self.wide[left], self.wide[right], partial(self._taps, direction)
        )
        bias = self.wide["x_bias" if direction == "conv_transpose" else "bias"]
        value = special.value
        if bias is not None and not direction.endswith("gradient"):
            value = value + bias.reshape(-1, *[1] * self.problem.geometry.ndim)
        value, on_padding = (self._laid_out(direction, a) for a in (value, special.on_padding))
        nowhere = np.zeros((), bool)
        return value, Leave(nowhere, nowhere, on_padding, overflow=False)

    def _products(self, direction: str, left: Any, right: Any) -> Host:
        """Compute the sums of products of these two operands, channels first, without a bias."""
        operands = dict.fromkeys(("x", "w", "dy", "bias", "x_bias"))
        operands.update(zip(OPERANDS.get(direction, ("x", "w")), (left, right)))
        return self._sum(direction, **operands)

    def _taps(self, direction: str, marked: Host) -> Host:
        """Count the marked elements of the second operand in each sum, including those on the padding."""
        g = self.problem.geometry
        if direction == "kernel gradient":
            return np.asarray(marked.sum(axis=(0, *range(2, marked.ndim))).reshape(-1, *[1] * (g.ndim + 1)))
        if direction in ("input gradient", "conv_transpose"):
            by_group = marked.reshape(g.groups, g.out_channels // g.groups, g.in_channels // g.groups, -1)
            return np.asarray(by_group.sum(axis=(1, 3)).reshape(1, -1, *[1] * g.ndim))
        return np.asarray(marked.reshape(g.out_channels, -1).sum(axis=1).reshape(1, -1, *[1] * g.ndim))

    def _rounding(self, direction: str, value: Host, flushed: Any) -> Rounding:
        """Return the expected rounding errors of correct answers."""
        terms, u = self._terms(direction), bounds.unit_roundoff(self.problem.dtype)
        squares = {name: None if a is None else a**2 for name, a in self.wide.items()}
        of_products = self._laid_out(direction, self._sum(direction, **squares))
        deviation = precision.deviation(of_products, value, terms, u)
        lost = bounds.underflow(terms, self.problem.dtype) + flushed
        counted = np.asarray((deviation > 100 * lost) & np.isfinite(deviation))
        operands = [self.wide[name] for name in dict.fromkeys(OPERANDS.get(direction, ("x", "w")))]

        def variety() -> float:
            return np.unique(value).size / value.size if precision.independent(terms, *operands) else 0.0

        return Rounding(deviation, counted, variety)

    def _sums(self, direction: str, magnitude: Host, terms: int) -> Sums:
        """Return the sums behind the elements of a result."""
        dtype = self.problem.dtype
        products = self._laid_out(direction, definition.product_counts(direction, self._geometry(direction)))
        counted = bounds.unit_roundoff(dtype) * magnitude > 100 * bounds.underflow(terms, dtype)
        return Sums(magnitude, products, np.asarray(counted))

    def _fast_bound(self, direction: str) -> Host:
        """Return the error bound of an FFT or Winograd algorithm; for ``"direct"``, the larger of the two."""
        g = self._geometry(direction)
        x, w, dy, bias, x_bias = self.wide.values()
        bias = x_bias if direction == "conv_transpose" else None if direction.endswith("gradient") else bias
        constant = fast_bounds.normwise_constant(g, direction, self.algorithm, self.problem.dtype)
        allowed = bounds.normwise(direction, x, w, bias, dy, g, constant, self.problem.dtype)
        of_images = direction not in ("kernel gradient", "bias gradient")
        return self._laid_out(direction, allowed[None] if of_images else allowed)

    def _without_subnormals(self, sizes: dict[str, Any]) -> dict[str, Any]:
        """Set subnormal numbers to zero. If there are none, `sizes` is returned unchanged."""
        tiny = float(bounds.finfo(self.problem.dtype).tiny)
        if self.problem.integers or not any(a is not None and np.any((a > 0) & (a < tiny)) for a in sizes.values()):
            return sizes
        return {name: None if a is None else np.where(a < tiny, 0, a) for name, a in sizes.items()}

    def _sum(self, direction: str, x: Any, w: Any, dy: Any, bias: Any, x_bias: Any) -> Host:
        """Return the oracle's answer, channels first."""
        g = self.problem.geometry
        if direction == "input gradient":
            return definition.input_gradient(dy, w, g)
        if direction == "kernel gradient":
            return definition.kernel_gradient(x, dy, g)
        if direction == "bias gradient":
            return definition.bias_gradient(dy)
        if direction == "conv_transpose":
            return definition.conv_transpose(dy, w, x_bias, self.problem.transposed)
        return (definition.convolve if direction == "convolve" else definition.cross_correlate)(x, w, bias, g)

    def _geometry(self, direction: str) -> Geometry:
        return self.problem.transposed if direction == "conv_transpose" else self.problem.geometry

    def _terms(self, direction: str) -> int:
        g = self._geometry(direction)
        return definition.contraction(
            direction, g, bias=self.problem.bias is not None and not direction.endswith("gradient")
        )

    def _is_exact(self, direction: str, terms: int) -> bool:
        """Return whether every partial sum, in any order of summation, is an integer that the dtype holds."""
        if not self.problem.integers:
            return False
        largest = {name: 1.0 if a is None else float(a.max(initial=1)) for name, a in self.sizes.items()}
        left, right = OPERANDS.get(direction, ("x", "w"))
        bias = largest["x_bias" if direction == "conv_transpose" else "bias"]
        return (terms * largest[left] * largest[right] + bias) * bounds.unit_roundoff(self.problem.dtype) <= 1

    def _wide(self, array: Host | None) -> Any:
        """Convert an array to the oracle's format, channels first."""
        if array is None:
            return None
        wide = array.astype(np.float64) if self.problem.integers else definition.widen(array)  # faster, and exact
        data = array.ndim > 1 and array is not self.problem.w
        return np.moveaxis(wide, -1, 1) if self.problem.spec.channels_last and data else wide

    def _laid_out(self, direction: str, array: Host) -> Host:
        """Convert from channels first to the problem's layout."""
        data = direction not in ("kernel gradient", "bias gradient")
        return np.moveaxis(array, 1, -1) if self.problem.spec.channels_last and data else array
