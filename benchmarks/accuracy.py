"""Compute the accuracy of backends from exact fractions, and compare it with what the check computes.

`multiconv.oracle.accuracy` takes its errors from a sum in a wider format, and its quantiles from bins. This script
shares no code with it: each product is a fraction of Python's, and the quantiles are those of the sorted errors. It
draws 200 problems of normally distributed numbers, and prints both figures of each direction and dtype. The exit status
is 1 if they differ by more than `ALLOWED`: by a bin (2.2 %) in the quantiles, and by one part in a million in the
largest error and the root mean square in float32.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from fractions import Fraction
from itertools import product
from math import sqrt
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from multiconv import backend
from multiconv.core.geometry import Geometry
from multiconv.oracle.accuracy import Accuracy
from multiconv.oracle.problem import Problem
from multiconv.testing.drawing import draw_problems

LEAST, MOST_TERMS = 16, 200_000
SIGNIFICANDS = {"float32": 24, "float64": 53}
SMALLEST = {"float32": -126, "float64": -1022}
BIN = 0.022
ALLOWED = {
    "float32": (BIN, BIN, 1e-6, 1e-6, BIN, BIN, 1e-6),
    # The check sums float64 in long doubles, which themselves err by a thousandth of a rounding in float64.
    "float64": (BIN, BIN, 1e-3, 1e-4, BIN, BIN, 5e-3),
}
"""The relative differences allowed in each figure."""
Sums = dict[tuple[int, ...], list[Fraction]]
"""The products behind each element of a result, channels first."""


def forward(p: Problem) -> Sums:
    """Return the products of the cross-correlation, by the indices of its definition."""
    g, x, w = p.geometry, first(p.x, p.geometry), exact(p.w)
    sums: Sums = {}
    for n, o, *i in np.ndindex(g.batch, g.out_channels, *g.out):
        group = o // (g.out_channels // g.groups)
        terms = sums[(n, o, *i)] = []
        for c, *j in np.ndindex(g.in_channels // g.groups, *g.kernel):
            at = pixel(i, j, g)
            if at is not None:
                terms.append(x[(n, group * (g.in_channels // g.groups) + c, *at)] * w[(o, c, *j)])
    return sums


def gradients(p: Problem) -> tuple[Sums, Sums]:
    """Return the products of the gradients: every product of the forward direction is one of each."""
    g, x, w, dy = p.geometry, first(p.x, p.geometry), exact(p.w), first(p.dy, p.geometry)
    of_input: Sums = {index: [] for index in np.ndindex(g.batch, g.in_channels, *g.size)}
    of_kernel: Sums = {index: [] for index in np.ndindex(*g.w_shape)}
    ins = g.in_channels // g.groups
    for n, o, *i in np.ndindex(g.batch, g.out_channels, *g.out):
        group = o // (g.out_channels // g.groups)
        for c, *j in np.ndindex(ins, *g.kernel):
            at = pixel(i, j, g)
            if at is not None:
                of_input[(n, group * ins + c, *at)].append(dy[(n, o, *i)] * w[(o, c, *j)])
                of_kernel[(o, c, *j)].append(dy[(n, o, *i)] * x[(n, group * ins + c, *at)])
    return of_input, of_kernel


def pixel(i: list[int], j: list[int], g: Geometry) -> tuple[int, ...] | None:
    """Return the pixel that a tap of an output sees, or None if it lies on the padding."""
    at = tuple(a * s + b * d - before for a, b, s, d, (before, _) in zip(i, j, g.stride, g.dilation, g.pads))
    return at if all(0 <= a < n for a, n in zip(at, g.size)) else None


def exact(array: Any) -> dict[tuple[int, ...], Fraction]:
    """Return an array as fractions, by index."""
    return {index: Fraction(float(value)) for index, value in np.ndenumerate(array)}


def first(array: Any, g: Geometry) -> dict[tuple[int, ...], Fraction]:
    """Return an array of images as fractions, channels first."""
    return exact(np.moveaxis(array, -1, 1) if g.channels_last else array)


def exponent(value: Fraction) -> int:
    """Return the largest e with 2^e not above the absolute value."""
    e = abs(value.numerator).bit_length() - value.denominator.bit_length()
    return e if abs(value) >= Fraction(2) ** e else e - 1


def errors(answer: Any, sums: Sums, bias: dict[int, Fraction], dtype: str) -> list[tuple[float, float]]:
    """Return the error of each element with at least 16 products, in both units."""
    bits, found = SIGNIFICANDS[dtype], []
    for index, terms in sums.items():
        if len(terms) < LEAST:
            continue
        more = [bias[index[1]]] if bias else []
        right = sum(terms + more, Fraction(0))
        error = abs(Fraction(float(answer[index])) - right)
        magnitude = sum(map(abs, terms + more))
        ulp = Fraction(2) ** (max(exponent(right), SMALLEST[dtype]) - bits + 1)
        found.append((float(error / magnitude * 2**bits), float(error / ulp)))
    return found


def figures(pairs: list[tuple[float, float]]) -> list[float]:
    """Return the median, the 99th percentile, the largest and the root mean square, then the first three in ulps."""
    values = np.array(pairs)
    of_magnitude, ulps = values[:, 0], values[:, 1]
    quantiles = [
        float(np.quantile(v, share, method="inverted_cdf")) for v, share in product((of_magnitude, ulps), (0.5, 0.99))
    ]
    root_mean_square = sqrt(float(np.mean(of_magnitude**2)))
    return [*quantiles[:2], float(of_magnitude.max()), root_mean_square, *quantiles[2:], float(ulps.max())]


def main() -> int:
    """Compare the figures of the check with those from fractions."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", default=["numpy", "torch"], metavar="BACKEND")
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    problems = draw_problems(asked.problems, asked.seed, ("float32", "float64"), values=("normal",))
    small = [p for p in problems if p.geometry.batch * p.geometry.products <= MOST_TERMS]
    exactly = [(p, forward(p), *gradients(p)) for p in small]
    columns = ("median", "99 %", "largest", "rms", "median ulps", "99 % ulps", "largest ulps")
    table = Table("backend", "direction", "dtype", "sums", "from", *columns, box=None)
    agree = True
    for name in asked.names:
        tested, accuracy = backend(name), Accuracy()
        pairs: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        for p, *sums in exactly:
            expected, directions = p.expectations(), ("forward", "input gradient", "kernel gradient")
            for direction, answer in p.answers(tested, *directions):
                right = expected[direction]
                assert right.sums is not None
                accuracy.add(direction, answer, right.value, right.sums())
                images = direction != "kernel gradient" and p.geometry.channels_last
                biased = direction == "forward" and p.bias is not None
                pairs[direction, p.dtype] += errors(
                    np.moveaxis(answer, -1, 1) if images else answer,
                    sums[directions.index(direction)],
                    {c: Fraction(float(v)) for c, v in enumerate(p.bias)} if biased and p.bias is not None else {},
                    p.dtype,
                )
        for row in (r for r in accuracy.rows() if not r.products_to):
            from_check = [
                row.median, row.percentile_99, row.largest, row.root_mean_square,
                row.median_ulps, row.percentile_99_ulps, row.largest_ulps,
            ]  # fmt: skip
            exact_figures = figures(pairs[row.direction, row.dtype])
            both = {"the check": from_check, "fractions": exact_figures}
            count = len(pairs[row.direction, row.dtype])
            close = (
                np.abs(np.array(from_check) - exact_figures) <= np.multiply(ALLOWED[row.dtype], exact_figures) + 1e-12
            )
            agree = agree and bool(close.all()) and count == row.sums
            for source, numbers in both.items():
                sums_counted = row.sums if source == "the check" else count
                table.add_row(
                    name, row.direction, row.dtype, str(sums_counted), source, *(f"{number:.4f}" for number in numbers)
                )
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    print(f"{len(small)} of {len(problems)} problems (the rest have more than {MOST_TERMS:,} products); they ", end="")
    print("agree" if agree else "DIFFER")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
