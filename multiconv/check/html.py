"""A check as one HTML page with charts of the errors, which needs no network access."""

from __future__ import annotations

from itertools import groupby

from multiconv.charts import COLOURS, Figure, line, log_scale, page
from multiconv.check.accuracy import Comparison, by_length, comparisons
from multiconv.check.results import Report

SEQUENTIAL = 0.45
"""Root mean square of the error of a sequential sum of normally distributed products, at every length."""


def as_html(report: Report, summary: str) -> str:
    """Return the report as an HTML page.

    Parameters
    ----------
    report : Report
    summary : str
        The verdict in one sentence.

    Returns
    -------
    str
        HTML with embedded style and charts.

    Examples
    --------
    >>> as_html(Report([], [], 0, 0, ["float32"]), "Nothing was checked.")[:15]
    '<!DOCTYPE html>'
    """
    names = [b.name for b in report.backends]
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    return page(
        "check",
        summary=summary,
        report=report,
        series=[{"label": name, "colour": colour} for name, colour in colours.items()],
        figures=_figures(report, colours),
        compared=[_row(c, names) for c in comparisons(report)],
        names=names,
        sequential=SEQUENTIAL,
    )


def _row(c: Comparison, names: list[str]) -> dict[str, object]:
    return {
        "what": f"{c.direction}, {c.dtype}",
        "length": c.length,
        "errors": [(f"{c.errors[name]:.3f}" if name in c.errors else "-", name == c.best) for name in names],
    }


def _figures(report: Report, colours: dict[str, str]) -> list[Figure]:
    """Return a chart for each direction and dtype in which every backend has a line."""
    lengths = by_length(report)
    if not lengths:
        return []
    errors = [error for c in lengths for error in c.errors.values() if error]
    figures = []
    for (dtype, direction), group in groupby(lengths, key=lambda c: (c.dtype, c.direction)):
        points = list(group)
        if min(sum(name in c.errors for c in points) for name in colours) < 2:  # a line needs two points
            continue
        f = Figure(f"{direction}, {dtype}", 340, 250, 46, "products in a sum", "root mean square error")
        x = log_scale([c.products_from for c in lengths], f.left, f.right)
        y = log_scale([*errors, SEQUENTIAL], f.bottom, f.top)
        f.x_ticks = [
            {"at": x(n), "label": str(n)} for n in sorted({c.products_from for c in points}) if n.bit_length() % 2
        ]
        f.y_ticks, f.one = y.ticks(), y(SEQUENTIAL)
        for name, colour in colours.items():
            of_backend = [c for c in points if c.errors.get(name)]
            f.lines.append(
                line(
                    name,
                    colour,
                    [(x(c.products_from), y(c.errors[name])) for c in of_backend],
                    [f"{name}, {c.length} products: {c.errors[name]:.3f}" for c in of_backend],
                )
            )
        figures.append(f)
    return figures
