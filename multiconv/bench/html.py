"""A benchmark as one HTML page with figures, which needs no network access."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from typing import Any

from multiconv.bench.cases import Case
from multiconv.bench.report import last_line, means, shown_ratio, totals
from multiconv.bench.results import MEASURED, Report, Row
from multiconv.charts import BOTTOM_MARGIN, COLOURS, Figure, log_scale, page, polyline
from multiconv.charts import line as draw_line

ROW_HEIGHT = 13


def as_html(report: Report) -> str:
    """Return the report as an HTML page.

    Parameters
    ----------
    report : Report

    Returns
    -------
    str
        HTML with embedded style and figures.

    Examples
    --------
    >>> from multiconv.bench.run import bench
    >>> from multiconv.bench.workers import parse_variant
    >>> from multiconv.layers import parse_layer
    >>> layer = parse_layer("x=1,1,8,8 w=1,1,3,3")
    >>> report = bench([parse_variant("numpy")], [layer], directions=["forward"], rounds=1, processes=1)
    >>> as_html(report)[:15]
    '<!DOCTYPE html>'
    """
    colours = _colours(report)
    measured = bool(report.measured)
    return page(
        "bench",
        summary=last_line(report).strip(),
        failures=[f"{r.entry.title}: {r.status}: {r.reason.splitlines()[0]}" for r in report.rows if r.reason],
        series=[{"label": label, "colour": colour} for label, colour in colours.items()],
        reference=report.settings["reference"],
        noise=f"{report.noise:.1%}" if report.twins else "not measured",
        ratios=_ratio_figures(report, colours),
        roofline=_roofline(report, colours) if measured else None,
        first=_first_calls(report, colours) if measured else None,
        scalings=_scalings(report, colours),
        means=means(report),
        totals=totals(report),
        rows=_table(report),
        environment=_environment(report),
    )


def _words(report: Report, case: Case) -> str:
    """Name a case by its layer and the settings that vary between cases, without its direction."""
    cases = [row.entry.case for row in report.rows]
    said = {
        "batch": f"batch {case.batch}",
        "dtype": case.dtype,
        "threads": f"{case.threads} thread{'s' * (case.threads > 1)}",
        "layout": case.layout,
    }
    varying = [text for name, text in said.items() if len({getattr(c, name) for c in cases}) > 1]
    return ", ".join([f"{case.layer.network} {case.layer.name}".strip(), *varying])


def _series(row: Row) -> str:
    return f"{row.entry.variant.label} {row.entry.mode}"


def _colours(report: Report) -> dict[str, str]:
    labels = dict.fromkeys(_series(row) for row in report.rows)
    return {label: COLOURS[number % len(COLOURS)] for number, label in enumerate(labels)}


def _ratio_figures(report: Report, colours: dict[str, str]) -> list[Figure]:
    """Return a figure for each direction, with its cases from top to bottom."""
    compared = [(row, ratio) for row in report.rows if (ratio := report.ratio(row)) is not None]
    if not compared:
        return []
    left, width = 430.0, 1060.0
    extremes = [edge for _, ratio in compared for edge in (ratio.low, ratio.high)]
    scale = log_scale([*extremes, 1 + report.noise, 1 / (1 + report.noise)], left, width - 14)
    figures = []
    for direction in dict.fromkeys(row.entry.case.direction for row, _ in compared):
        of_direction = [(row, ratio) for row, ratio in compared if row.entry.case.direction == direction]
        cases = dict.fromkeys(row.entry.case for row, _ in of_direction)
        f = Figure(direction, width, 0, left, f"times as fast as {report.settings['reference']}", x_ticks=scale.ticks())
        y = f.top + ROW_HEIGHT / 2
        for case in cases:
            of_case = [(row, ratio) for row, ratio in of_direction if row.entry.case == case]
            words = _words(report, case)
            f.y_ticks.append({"at": y + ROW_HEIGHT * (len(of_case) - 1) / 2, "label": words})
            for row, ratio in of_case:
                title = f"{row.entry.title}: {shown_ratio(ratio)}"
                x, low, high = scale(ratio.value), scale(ratio.low), scale(ratio.high)
                f.points.append(
                    {"x": x, "low": low, "high": high, "y": y, "colour": colours[_series(row)], "title": title}
                )
                y += ROW_HEIGHT
            y += ROW_HEIGHT / 2
        f.height = y + BOTTOM_MARGIN
        f.one = scale(1)
        start, end = scale(1 / (1 + report.noise)), scale(1 + report.noise)
        f.noise = {"at": start, "size": end - start}
        figures.append(f)
    return figures


def _roofline(report: Report, colours: dict[str, str]) -> Figure:
    rows = report.measured
    peak = max(rate for worker in report.workers for rate in worker["matmul_rate"].values()) / 1e9
    stream = max(worker["stream_rate"] for worker in report.workers) / 1e9
    f = Figure("", 1060, 460, 70, "operations per byte", "GFLOP/s")
    x = log_scale([peak / stream, *(r.entry.case.intensity for r in rows)], f.left, f.right)
    y = log_scale([peak, *(r.rate / 1e9 for r in rows)], f.bottom, f.top)
    f.x_ticks, f.y_ticks = x.ticks(), y.ticks()
    ridge = peak / stream
    lowest = max(x.low, y.low / stream)
    corners = [(lowest, lowest * stream), (ridge, peak), (x.high, peak)]
    f.roof = polyline([(x(a), y(b)) for a, b in corners])
    f.points = [
        {
            "x": x(r.entry.case.intensity),
            "y": y(r.rate / 1e9),
            "colour": colours[_series(r)],
            "title": f"{r.entry.title}: {r.rate / 1e9:.1f} GFLOP/s",
        }
        for r in rows
    ]
    return f


def _first_calls(report: Report, colours: dict[str, str]) -> Figure:
    rows = report.measured
    f = Figure("", 1060, 460, 70, "later calls, median ms", "first call, ms")
    x = log_scale([1e3 * r.median for r in rows], f.left, f.right)
    y = log_scale([1e3 * r.first_call for r in rows], f.bottom, f.top)
    f.x_ticks, f.y_ticks = x.ticks(), y.ticks()
    ends = max(x.low, y.low), min(x.high, y.high)
    f.diagonal = polyline([(x(v), y(v)) for v in ends]) if ends[0] < ends[1] else ""
    f.points = [
        {
            "x": x(1e3 * r.median),
            "y": y(1e3 * r.first_call),
            "colour": colours[_series(r)],
            "compiled": r.compilation is not None,
            "title": f"{r.entry.title}: {1e3 * r.first_call:.1f} ms, then {1e3 * r.median:.3f} ms",
        }
        for r in rows
    ]
    return f


def _scalings(report: Report, colours: dict[str, str]) -> list[dict[str, Any]]:
    """Return figures for threads and for batch, where more than one value was measured."""
    found = []
    for name, words in (
        ("threads", "Images per second against the number of threads."),
        ("batch", "Images per second against the batch size."),
    ):
        if len({getattr(row.entry.case, name) for row in report.measured}) > 1:
            panels = _scaling_panels(report.measured, name, colours)
            found.append({"title": f"{name.capitalize()} scaling", "words": words, "panels": panels})
    return found


def _scaling_panels(rows: list[Row], name: str, colours: dict[str, str]) -> list[Figure]:
    """Return a panel for each case apart from the scaled setting, with a line for each backend."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        c = row.entry.case
        fixed = {"threads": f"{c.threads} threads", "batch": f"batch {c.batch}"}
        fixed.pop(name)
        groups.setdefault(f"{c.layer.name}, {c.direction}, {', '.join(fixed.values())}", []).append(row)
    panels = []
    for title, of_group in groups.items():
        f = Figure(title, 340, 240, 56, name, "images/s")
        number: Callable[[Row], int] = lambda row: getattr(row.entry.case, name)  # noqa: E731
        speed: Callable[[Row], float] = lambda row: row.entry.case.batch / row.median  # noqa: E731
        x = log_scale([number(r) for r in of_group], f.left, f.right)
        y = log_scale([speed(r) for r in of_group], f.bottom, f.top)
        f.x_ticks = [{"at": x(n), "label": str(n)} for n in sorted({number(r) for r in of_group})]
        f.y_ticks = y.ticks()
        for label in dict.fromkeys(_series(r) for r in of_group):
            line = sorted((r for r in of_group if _series(r) == label), key=number)
            marks = [(x(number(r)), y(speed(r))) for r in line]
            f.lines.append(draw_line(label, colours[label], marks))
        panels.append(f)
    return panels


def _table(report: Report) -> list[dict[str, Any]]:
    rows, before = [], None
    for row in report.rows:
        case = row.entry.case
        rows.append(
            {
                "first": case != before,
                "case": f"{_words(report, case)}, {case.direction}",
                "backend": _series(row),
                "figures": _figures(report, row) if row.status == MEASURED else [],
                "checked": row.checked,
                "status": row.status,
            }
        )
        before = case
    return rows


def _figures(report: Report, row: Row) -> list[dict[str, str]]:
    low, median, high = (1e3 * q for q in row.quartiles)
    ratio = report.ratio(row)
    real = ratio is not None and ratio.is_real(report.noise)
    kind = ("faster" if ratio.value > 1 else "slower") if ratio is not None and real else ""
    compilation = "" if row.compilation is None else f"{1e3 * row.compilation:.1f}"
    texts = [
        (f"{median:.3f}", ""),
        (f"{low:.3f} - {high:.3f}", ""),
        (f"{row.rate / 1e9:.1f}", ""),
        (f"{row.rate_without_padding / 1e9:.1f}", ""),
        (f"{row.fraction_of_matmul:.0%}", ""),
        (shown_ratio(ratio), kind),
        (f"{1e3 * row.first_call:.1f}", ""),
        (compilation, ""),
        (f"{row.processor:.2f}" + (" more than given" if row.exceeds_threads else ""), "mark" * row.exceeds_threads),
    ]
    return [{"text": text, "kind": kind} for text, kind in texts]


def _environment(report: Report) -> str:
    """Return the requested settings and the environment of each worker, as JSON."""
    asked = {name: value for name, value in report.settings.items() if name != "layers"}
    workers = [
        {k: w[k] for k in ("variant", "version", "python", "threads", "matmul_rate", "stream_rate", "settings")}
        for w in report.workers
        if w["process"] == 0
    ]
    return json.dumps({"machine": platform.platform(), "asked": asked, "workers": workers}, indent=1)
