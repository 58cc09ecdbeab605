"""Output of a benchmark: tables for the terminal, and pyperf's JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from multiconv.bench.results import MEASURED, Measurement, Report, Row
from multiconv.bench.statistics import Ratio, geometric_mean
from multiconv.layers import layer_set, networks

STATUS_COLOURS = {"unsupported": "yellow"}


def print_bench(report: Report, console: Console) -> None:
    """Print the table of a benchmark, its means, totals and noise floor, and the rows that were not measured.

    Examples
    --------
    >>> from multiconv.bench.run import bench
    >>> from multiconv.bench.workers import parse_variant
    >>> from multiconv.layers import parse_layer
    >>> layer = parse_layer("x=1,1,8,8 w=1,1,3,3")
    >>> report = bench([parse_variant("numpy")], [layer], directions=["forward"], rounds=1, processes=1)
    >>> print_bench(report, Console(width=200))
    layer...direction...backend...
    """
    console.print(_rows_table(report))
    console.print(_summary_table(report))
    for row in report.rows:
        if row.status != MEASURED:
            reason = row.reason.partition("\n")[0]
            colour = STATUS_COLOURS.get(row.status, "bold red")
            console.print(Text(f"{row.entry.title}: {row.status}: {reason}", colour), soft_wrap=True)
        elif row.exceeds_threads:
            used = f"{row.entry.title} used {row.processor:.2f} cores, but was given {row.entry.case.threads}"
            console.print(Text(f"{used}: its time can't be compared with the others", "yellow"), soft_wrap=True)
    for m in report.missing:
        console.print(Text(str(m)), soft_wrap=True)
    console.print(Text(f"\n{last_line(report)}"), soft_wrap=True)


def shown_ratio(ratio: Ratio | None) -> str:
    """Format a ratio with its interval, or None as a dash.

    Examples
    --------
    >>> shown_ratio(Ratio(1.234, 1.1, 1.3)), shown_ratio(None)
    ('1.23 [1.10, 1.30]', '-')
    """
    return "-" if ratio is None else f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def means(report: Report) -> list[tuple[str, str, str, float, int]]:
    """Return the geometric mean of the ratios and the number of cases, by variant, mode and direction."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for row in report.rows:
        ratio = report.ratio(row)
        if ratio is not None:
            e = row.entry
            found.setdefault((e.variant.label, e.mode, e.case.direction), []).append(ratio.value)
    return [(*key, geometric_mean(values), len(values)) for key, values in found.items()]


def totals(report: Report) -> list[tuple[str, str, str, str, float]]:
    """Return the seconds of all layers of each fully measured network, by variant, mode and direction."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in report.rows:
        e, c = row.entry, row.entry.case
        key = (c.layer.network, c.batch, c.dtype, c.threads, c.layout, e.variant.label, e.mode, c.direction)
        found.setdefault(key, []).append(row)
    sizes = {network: len(layer_set(network).layers) for network in networks()}
    return [
        (_conditions(*key[:5]), *key[5:], sum(r.entry.case.layer.count * r.median for r in rows))
        for key, rows in found.items()
        if len(rows) == sizes.get(key[0]) and all(r.status == MEASURED for r in rows)
    ]


def _conditions(network: str, batch: int, dtype: str, threads: int, layout: str) -> str:
    return f"{network}, batch {batch}, {dtype}, {threads} thread{'s' * (threads > 1)}, {layout}"


def as_pyperf_json(report: Report) -> str:
    """Return the measured rows as pyperf's JSON, with a run for each process.

    At least one row must be measured.

    Examples
    --------
    >>> from multiconv.bench.run import bench
    >>> from multiconv.bench.workers import parse_variant
    >>> from multiconv.layers import parse_layer
    >>> layer = parse_layer("x=1,1,8,8 w=1,1,3,3")
    >>> report = bench([parse_variant("numpy")], [layer], directions=["forward"], rounds=2, processes=1)
    >>> import pyperf
    >>> (benchmark,) = pyperf.BenchmarkSuite.loads(as_pyperf_json(report))
    >>> len(benchmark.get_values())
    2
    """
    import pyperf  # an optional dependency, needed only here

    machine = pyperf.Run([1.0]).get_metadata()
    workers = {(w["variant"], w["threads"], w["process"]): w for w in report.workers}

    def run(row: Row, m: Measurement) -> Any:
        worker = workers[row.entry.variant.label, row.entry.case.threads, m.process]
        metadata = {**machine, **_metadata(row, worker), "loops": m.loops, "first_call": m.first_call}
        return pyperf.Run(m.seconds, metadata=metadata, collect_metadata=False)

    benchmarks = [pyperf.Benchmark([run(row, m) for m in row.measurements]) for row in report.measured]
    text = StringIO()
    pyperf.BenchmarkSuite(benchmarks).dump(text)
    return text.getvalue()


def last_line(report: Report) -> str:
    """Return a line about the noise floor and how the numbers were measured."""
    s = report.settings
    rounds = f"{s['rounds']} rounds in each of {s['processes']} processes, seed {s['seed']}, {report.seconds:.0f} s"
    if report.workers:
        rounds += f". Load average when it began: {report.workers[0]['load']:.1f}"
    if not report.twins:
        return f"{rounds}. The reference was not measured against itself, so there is no noise floor."
    noise = (
        f"Noise floor: two runs of {s['reference']} differ by up to {report.noise:.1%} on {len(report.twins)} layers"
    )
    return f"{noise}. A ratio in colour differs from 1 by more than that over its whole interval. {rounds}."


def _metadata(row: Row, worker: dict[str, Any]) -> dict[str, Any]:
    """Return pyperf's metadata for a row."""
    c, report = row.entry.case, worker["settings"]
    return {
        "name": row.entry.title,
        "unit": "second",
        "backend": f"{row.entry.variant.label} {worker['version']}",
        "backend_python": worker["python"],
        "backend_settings": json.dumps({k: report[k] for k in ("affinity", "threads", "environment")}),
        "blas": json.dumps(report["libraries"]),
        "checked": row.checked,
        "flops": c.flops,
        "flops_without_padding": c.flops_without_padding,
        "intensity": c.intensity,
        "matmul_flops_per_second": worker["matmul_rate"][c.dtype],
        "processor_per_wall": row.processor,
        "exceeds_threads": str(row.exceeds_threads),
    }


def _rows_table(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    cases = [row.entry.case for row in report.rows]
    varying: list[tuple[str, Callable[[Row], str]]] = [
        ("batch", lambda r: str(r.entry.case.batch)),
        ("dtype", lambda r: r.entry.case.dtype),
        ("threads", lambda r: str(r.entry.case.threads)),
        ("layout", lambda r: r.entry.case.layout),
    ]
    shown = [(name, text_of) for name, text_of in varying if len({getattr(c, name) for c in cases}) > 1]
    table.add_column("layer")
    table.add_column("direction")
    for name, _ in shown:
        table.add_column(name)
    table.add_column("backend")
    reference = report.settings["reference"]
    for heading in ("ms", "quartiles", "GFLOP/s", "unpadded", "of matmul", f"speed / {reference}", "first ms", "cores"):
        table.add_column(heading, justify="right")
    table.add_column("checked")
    before = None
    for row in report.rows:
        e, c = row.entry, row.entry.case
        if before is not None and before != c:
            table.add_row()
        first = ["", ""] if before == c else [f"{c.layer.network} {c.layer.name}".strip(), c.direction]
        before = c
        settings = [text_of(row) for _, text_of in shown]
        table.add_row(*first, *settings, f"{e.variant.label} {e.mode}", *_figures(report, row))
    return table


def _figures(report: Report, row: Row) -> list[str | Text]:
    if row.status != MEASURED:
        return [Text(row.status, STATUS_COLOURS.get(row.status, "bold red"))]
    low, median, high = (1e3 * q for q in row.quartiles)
    ratio = report.ratio(row)
    colour = "" if ratio is None or not ratio.is_real(report.noise) else "green" if ratio.value > 1 else "red"
    return [
        f"{median:.3f}",
        f"{low:.3f} {high:.3f}",
        f"{row.rate / 1e9:.1f}",
        f"{row.rate_without_padding / 1e9:.1f}",
        f"{row.fraction_of_matmul:.0%}",
        Text(shown_ratio(ratio), colour),
        f"{1e3 * row.first_call:.1f}",
        Text(f"{row.processor:.2f}", "yellow" if row.exceeds_threads else ""),
        row.checked,
    ]


def _summary_table(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    for heading in ("", "backend", "direction"):
        table.add_column(heading)
    table.add_column("", justify="right")
    for label, mode, direction, mean, count in means(report):
        title = f"geometric mean of speed / {report.settings['reference']}, {count} cases"
        table.add_row(title, f"{label} {mode}", direction, f"{mean:.3f}")
    for network, label, mode, direction, seconds in totals(report):
        table.add_row(f"all layers of {network}", f"{label} {mode}", direction, f"{1e3 * seconds:.1f} ms")
    return table
