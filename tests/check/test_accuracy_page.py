"""The comparison of backends by their errors, in the terminal and on the page."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from multiconv.check.accuracy import Comparison, by_length, comparisons
from multiconv.check.html import as_html
from multiconv.check.results import BackendReport, Disagreement, Report
from multiconv.cli.main import main
from multiconv.cli.report import print_check
from multiconv.oracle.accuracy import Row
from multiconv.running import Missing


def row(products: int, error: float, sums: int = 1000, direction: str = "forward", dtype: str = "float32") -> Row:
    longest = max(2 * products - 1, 0)
    return Row(direction, dtype, products, longest, sums, error / 2, 3 * error, 9 * error, error, 1.0, 9.0, 99.0)


def report(**errors: list[Row]) -> Report:
    backends = [BackendReport(name, "1.0", "3.11", "/python", accuracy=rows) for name, rows in errors.items()]
    return Report(backends, [], 20, 0, ["float32"])


def test_ranges_put_lengths_together_by_their_sums() -> None:
    found = report(a=[row(16, 3.0, 100), row(128, 4.0, 300), row(256, 0.5), row(16, 9.0, dtype="float64")])
    assert comparisons(found) == [
        Comparison("forward", "float32", 16, 255, {"a": pytest.approx(((900 + 4800) / 400) ** 0.5)}),
        Comparison("forward", "float32", 256, 1023, {"a": 0.5}),
    ]


def test_the_row_over_all_lengths_is_in_no_range() -> None:
    total = Row("forward", "float32", 16, 0, 1000, 1, 1, 1, 7.0, 1, 1, 1)
    assert comparisons(report(a=[row(16, 2.0), total])) == [Comparison("forward", "float32", 16, 255, {"a": 2.0})]


def test_the_best_has_the_smallest_error_of_at_least_two() -> None:
    (both,) = comparisons(report(a=[row(16, 0.5)], b=[row(16, 0.4)], few=[row(16, 0.1, sums=99)]))
    assert (both.best, both.errors, both.length) == ("b", {"a": 0.5, "b": 0.4}, "16-255")
    (alone,) = comparisons(report(a=[row(1024, 0.5)]))
    assert (alone.best, alone.length) == (None, "1024+")


def test_lengths_are_compared_one_by_one() -> None:
    found = by_length(report(a=[row(64, 0.5), row(16, 0.4)], b=[row(32, 0.1)]))
    assert [(c.products_from, c.errors) for c in found] == [(16, {"a": 0.4}), (32, {"b": 0.1}), (64, {"a": 0.5})]


def test_a_chart_needs_a_line_of_each_backend() -> None:
    two = [row(16, 0.5), row(64, 0.4)]
    page = as_html(report(a=two, b=two, c=[]), "All agree.")
    assert "<svg" not in page
    page = as_html(report(a=two, b=[row(16, 0.3), row(64, 0.2)]), "All agree.")
    assert page.count("<svg") == 1
    assert page.count("<polyline") == 2
    assert page.count("<circle") == 4
    assert "b, 64-127 products: 0.200" in page


def test_the_page_has_the_verdict_the_faults_and_no_address() -> None:
    found = report(a=[row(16, 0.5)])
    found.backends[0].verdict = "disagrees"
    found.backends[0].disagreements = [
        Disagreement("forward", "element [0] is <3>", {}, {}, 4, "values", "print('<script>')", why="it <flips>")
    ]
    found.missing = [Missing("mxnet", "it is not <there>")]
    page = as_html(found, "Not every backend is right: a.")
    assert "Not every backend is right: a." in page
    assert "element [0] is &lt;3&gt;" in page
    assert "Why: it &lt;flips&gt;" in page
    assert "print(&#39;&lt;script&gt;&#39;)" in page
    assert "mxnet was left out: it is not &lt;there&gt;" in page
    assert not re.search(r"https?://|src=|@import|url\(", page)


def test_the_terminal_shows_the_errors_side_by_side() -> None:
    text = io.StringIO()
    rows = {"a": [row(16, 0.5), row(16, 0.1, direction="convolve")], "b": [row(16, 0.25)]}
    print_check(report(**rows), Console(file=text, width=100))
    assert re.search(r"direction +dtype +products +a +b\nforward +float32 +16-255 +0\.500 +0\.250\n", text.getvalue())
    assert "convolve" not in text.getvalue()
    without = io.StringIO()
    print_check(report(a=[]), Console(file=without, width=100))
    assert "Accuracy" not in without.getvalue()


def test_the_command_writes_the_page_and_the_same_numbers_as_json(tmp_path: Path) -> None:
    files = {"--json": tmp_path / "check.json", "--html": tmp_path / "check.html"}
    arguments = ["check", "numpy", "--examples", "30", *(str(a) for pair in files.items() for a in pair)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    (numpy,) = json.loads(files["--json"].read_text())["backends"]
    page = files["--html"].read_text()
    forward = [r for r in numpy["accuracy"] if r["direction"] == "forward" and r["products_to"]]
    assert len(forward) > 3
    for r in forward:
        assert 0 < r["median"] < r["root_mean_square"] < r["largest"]
        assert f"<td>{r['root_mean_square']:.3f}</td>" in page


def test_a_page_that_can_not_be_written_is_refused_before_anything_is_run(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["check", "numpy", "--html", str(tmp_path / "none" / "x.html")])
    assert result.exit_code == 2
    assert "--html" in result.output
    assert "can't be written to" in result.output
