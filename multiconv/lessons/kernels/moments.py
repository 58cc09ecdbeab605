"""The moments of a kernel: the derivative that it takes, and the spread of its weights."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import atan2, degrees, hypot, sqrt

import numpy as np

from multiconv.lessons.kernels.entries import Rows


def derivative(rows: Rows, slack: Fraction) -> tuple[int | None, str | None, float | None, float | None]:
    """Return the order, the name, the direction and the gain of the derivative."""
    for order in range(len(rows) + len(rows[0]) - 1):
        found = [_moment(rows, order - q, q) for q in range(order + 1)]
        moments = [m if abs(m) > slack * magnitude else Fraction(0) for m, magnitude in found]
        if any(moments):
            break
    else:
        return None, None, None, None
    if order == 0:
        return 0, None, None, None
    if order == 1:
        x, y = float(moments[0]), float(moments[1])
        return 1, "first derivative", round(degrees(atan2(y, x)), 9) % 360, hypot(x, y)
    if order == 2:
        return 2, *_second(moments, [magnitude for _, magnitude in found], slack)
    return order, f"derivative of order {order}", None, None


def _second(
    moments: Sequence[Fraction], magnitudes: Sequence[Fraction], slack: Fraction
) -> tuple[str, float | None, float]:
    """Classify a second derivative by the matrix of its second moments.

    The error of each moment is at most its magnitude times the slack.
    """
    xx, xy, yy = moments
    error_xx, error_xy, error_yy = (slack * magnitude for magnitude in magnitudes)
    if xy == 0 and abs(xx - yy) <= error_xx + error_yy:
        return "Laplacian", None, float(xx + yy) / 4
    values, vectors = np.linalg.eigh(np.array([[float(xx), float(xy)], [float(xy), float(yy)]]))
    if abs(xx * yy - xy * xy) <= error_xx * abs(yy) + error_yy * abs(xx) + 2 * error_xy * abs(xy):
        name, principal = "second derivative", int(np.argmax(np.abs(values)))
    elif abs(xx + yy) <= error_xx + error_yy:
        name, principal = "mixed second derivative", 1
    else:
        name, principal = "unequal second derivatives", int(np.argmax(np.abs(values)))
    line = degrees(atan2(vectors[1, principal], vectors[0, principal]))
    return name, round(line, 9) % 180, float(values[principal]) / 2


def standard_deviations(rows: Rows) -> tuple[float, float]:
    """Return the standard deviations of the weights along the columns and along the rows, in pixels."""
    total, x, y = (float(_moment(rows, p, q)[0]) for p, q in ((0, 0), (1, 0), (0, 1)))
    xx, yy = float(_moment(rows, 2, 0)[0]), float(_moment(rows, 0, 2)[0])
    return sqrt(max(0.0, yy / total - (y / total) ** 2)), sqrt(max(0.0, xx / total - (x / total) ** 2))


def _moment(rows: Rows, p: int, q: int) -> tuple[Fraction, Fraction]:
    """Return ``sum K x^p y^q`` about the middle, with y upwards, and the sum of the terms' magnitudes."""
    x0, y0 = Fraction(len(rows[0]) - 1, 2), Fraction(len(rows) - 1, 2)
    terms = [k * (b - x0) ** p * (y0 - a) ** q for a, row in enumerate(rows) for b, k in enumerate(row)]
    return sum(terms, Fraction(0)), sum(map(abs, terms), Fraction(0))
