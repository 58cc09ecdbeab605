"""The structure of a kernel: its symmetries and its factors."""

from __future__ import annotations

import sys
from fractions import Fraction
from math import gcd, lcm

import numpy as np

from multiconv.lessons.kernels.entries import Floats, Number, Rows, simplified

Factors = tuple[tuple[Number, ...], tuple[Number, ...]]


def without_zero_edges(rows: Rows, slack: Fraction) -> tuple[Rows, tuple[int, int]]:
    """Return the kernel without the zero rows and columns at its edges, and the position of its first entry."""
    inside = [(a, b) for a, row in enumerate(rows) for b, k in enumerate(row) if abs(k) > slack]
    top, bottom = min(a for a, _ in inside), max(a for a, _ in inside)
    left, right = min(b for _, b in inside), max(b for _, b in inside)
    return [row[left : right + 1] for row in rows[top : bottom + 1]], (top, left)


def symmetries(core: Rows, slack: Fraction) -> tuple[str, str, str]:
    """Return the symmetry under a half turn, a mirror from left to right and a mirror from top to bottom."""
    upside_down, mirrored = core[::-1], [row[::-1] for row in core]
    half_turned = [row[::-1] for row in upside_down]
    return _parity(core, half_turned, slack), _parity(core, mirrored, slack), _parity(core, upside_down, slack)


def _parity(core: Rows, other: Rows, slack: Fraction) -> str:
    if _same(core, other, slack):
        return "symmetric"
    return "antisymmetric" if _same(core, [[-k for k in row] for row in other], slack) else "neither"


def isotropic(core: Rows, slack: Fraction) -> bool:
    """Return whether a quarter turn and transposition leave the kernel unchanged."""
    transposed = [list(column) for column in zip(*core)]
    return _same(core, transposed, slack) and _same(core, transposed[::-1], slack)


def _same(left: Rows, right: Rows, slack: Fraction) -> bool:
    """Compare two kernels entry by entry; the largest magnitude of each is 1."""
    if (len(left), len(left[0])) != (len(right), len(right[0])):
        return False
    return all(abs(a - b) <= 2 * slack for left_row, right_row in zip(left, right) for a, b in zip(left_row, right_row))


def factors(rows: Rows, slack: Fraction) -> Factors | None:
    """Return the column and the row whose product is the kernel; None if its rank is not 1."""
    if slack:
        return _nearest_factors(rows, float(slack))
    basis = next(row for row in rows if any(row))
    pivot = next(b for b, k in enumerate(basis) if k)
    column = [row[pivot] / basis[pivot] for row in rows]
    if any(k != c * r for row, c in zip(rows, column) for k, r in zip(row, basis)):
        return None
    common = Fraction(gcd(*(c.numerator for c in column)), lcm(*(c.denominator for c in column)))
    return tuple(simplified(c / common) for c in column), tuple(simplified(r * common) for r in basis)


def _nearest_factors(rows: Rows, slack: float) -> Factors | None:
    kernel = np.array([[float(k) for k in row] for row in rows])
    u, values, v = np.linalg.svd(kernel)
    rounding = max(kernel.shape) * sys.float_info.epsilon
    if len(values) > 1 and values[1] > (slack + rounding) * np.linalg.norm(kernel):
        return None
    largest = u[np.argmax(np.abs(u[:, 0])), 0]
    column, row = u[:, 0] / largest, v[0] * values[0] * largest
    return _rounded_off(column, slack + rounding), _rounded_off(row, slack + rounding)


def _rounded_off(factor: Floats, slack: float) -> tuple[float, ...]:
    """Replace rounding errors by 0."""
    smallest = slack * np.abs(factor).max()
    return tuple(float(k) if abs(k) > smallest else 0.0 for k in factor)
