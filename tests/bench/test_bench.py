"""The benchmark: its harness end to end on tiny layers, its statistics by known values; no time is asserted."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyperf
import pytest
from click.testing import CliRunner
from conftest import FIVE, TESTS
from rich.console import Console

from multiconv import oracle, registry
from multiconv.bench import statistics as bench_statistics
from multiconv.bench.cases import DIRECTIONS, Case
from multiconv.bench.html import as_html
from multiconv.bench.journal import Journal
from multiconv.bench.report import as_pyperf_json, last_line, means, print_bench, totals
from multiconv.bench.results import Entry, Measurement, Report, Row
from multiconv.bench.run import bench
from multiconv.bench.statistics import Ratio
from multiconv.bench.workers import TimedWorker, parse_variant
from multiconv.charts import Scale
from multiconv.cli.main import main
from multiconv.core.errors import BackendUnavailable, UsageError
from multiconv.layers import Layer, descriptor, layer_set, layer_sets, layers, parse_layer

# ---- Statistics


def test_quartiles_are_interpolated():
    assert bench_statistics.quartiles([4.0, 1.0, 3.0, 2.0]) == (1.75, 2.5, 3.25)


def test_the_ratio_is_the_median_of_the_pairs_not_the_ratio_of_the_medians():
    reference, samples = [[1.0, 10.0, 100.0]], [[2.0, 5.0, 50.0]]
    assert bench_statistics.speed_ratio(reference, samples).value == pytest.approx(2.0)
    assert np.median(reference) / np.median(samples) == 2.0
    assert bench_statistics.speed_ratio(reference, [[50.0, 5.0, 2.0]]).value == pytest.approx(2.0)
    assert bench_statistics.speed_ratio([[1.0, 2.0, 3.0]], [[1.0, 1.0, 6.0]]).value == pytest.approx(1.0)


def test_what_slows_both_of_a_pair_leaves_the_interval_alone():
    slowdown = np.array([1.0, 7.0, 2.0, 30.0, 1.5])
    ratio = bench_statistics.speed_ratio([3 * slowdown], [2 * slowdown])
    assert (ratio.low, ratio.value, ratio.high) == pytest.approx((1.5, 1.5, 1.5))


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        reference = np.exp(rng.normal(0.3, 0.2, (2, 15)))
        ratio = bench_statistics.speed_ratio(reference, np.ones((2, 15)), seed)
        held += ratio.low <= np.exp(0.3) <= ratio.high
    assert 180 <= held <= 199  # of a binomial of 200 and 0.95, all but 1 in 10^4


def test_rounds_without_a_partner_are_left_out():
    assert bench_statistics.speed_ratio([[2.0, 2.0, 9.0], [4.0]], [[1.0, 1.0]]).value == pytest.approx(2.0)
    with pytest.raises(ValueError, match="no round"):
        bench_statistics.speed_ratio([[1.0]], [])


def test_noise_floor_is_the_largest_deviation_either_way():
    assert bench_statistics.noise_floor([Ratio(1.1, 1, 1), Ratio(0.8, 1, 1)]) == pytest.approx(0.25)
    assert bench_statistics.noise_floor([]) == 0


@pytest.mark.parametrize(
    ("ratio", "noise", "real"),
    [
        (Ratio(2, 1.5, 3), 0.4, True),
        (Ratio(2, 1.3, 3), 0.4, False),
        (Ratio(0.5, 0.4, 0.7), 0.4, True),
        (Ratio(0.5, 0.4, 0.72), 0.4, False),
    ],
)
def test_a_difference_is_real_if_its_interval_leaves_out_the_noise(ratio, noise, real):
    assert ratio.is_real(noise) == real


def test_geometric_mean():
    assert bench_statistics.geometric_mean([4.0, 1.0, 2.0]) == pytest.approx(2.0)


# ---- Layers


@pytest.mark.parametrize(
    ("text", "x", "w", "pads", "stride", "dilation"),
    [
        ("mb1ic64ih56oc64oh56kh3ph1", (1, 64, 56, 56), (64, 64, 3, 3), ((1, 1), (1, 1)), (1, 1), (1, 1)),
        ("ic3ih227iw227_oc96oh55ow55_kh11kw11_sh4sw4ph0pw0_n\"alexnet:conv1\"", (2, 3, 227, 227), (96, 3, 11, 11),
         ((0, 0), (0, 0)), (4, 4), (1, 1)),
        ("g32mb8ic32ih112oc64oh112kh3ph1", (8, 32, 112, 112), (64, 1, 3, 3), ((1, 1), (1, 1)), (1, 1), (1, 1)),
        ("mb1ic1ih9oc1kh3", (1, 1, 9, 9), (1, 1, 3, 3), ((0, 0), (0, 0)), (1, 1), (1, 1)),
        ("mb1ic1ih9oc1oh9kh3", (1, 1, 9, 9), (1, 1, 3, 3), ((1, 1), (1, 1)), (1, 1), (1, 1)),
        ("mb1ic1ih8oc1oh4kh3sh2ph0", (1, 1, 8, 8), (1, 1, 3, 3), ((0, 1), (0, 1)), (2, 2), (1, 1)),
        ("mb1ic1ih9iw20oc1oh5ow20kh3kw5ph0pw2dh1dw0", (1, 1, 9, 20), (1, 1, 3, 5), ((0, 0), (2, 2)), (1, 1), (2, 1)),
    ],
)  # fmt: skip
def test_descriptors(text, x, w, pads, stride, dilation):
    g = parse_layer(text).geometry()
    assert (g.x_shape, g.w_shape, g.pads, g.stride, g.dilation) == (x, w, pads, stride, dilation)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "resnet50",
        "ic64",
        "mb1ic64ih56oc64kh",
        "mb1ic64id5ih56oc64kh3kd3",
        "mb1xx3ic64ih56oc64kh3",
        "mb1ic64ih56oc64kh3 ph1",
        "mb1ic1ih9oc1oh3kh3ph0",
        "g3mb1ic64ih56oc64kh3",
        "resnet50 conv9",
        "nonet conv1",
        "x=1,2,3 w=1,2,3",
        "x=1,2,8,8",
        "x=1,2,8,8 w=4,3,3,3",
        "x=1,2,8,8 w=4,2,3,3 strides=2",
        "x=1,2,8,8 w=4,2,3,3 stride=two",
    ],
)
def test_what_is_no_layer(text):
    with pytest.raises(UsageError):
        parse_layer(text)


def test_a_layer_from_shapes():
    layer = parse_layer("x=2,6,9,20 w=4,3,3,5 stride=2,1 padding=same dilation=1 groups=2")
    g = layer.geometry()
    assert (g.batch, g.groups, g.out, g.stride) == (2, 2, (5, 20), (2, 1))


@pytest.mark.parametrize("name", layer_sets())
def test_a_descriptor_says_all_of_a_layer(name):
    for layer in layer_set(name).layers:
        assert parse_layer(descriptor(layer)).geometry() == layer.geometry()


@pytest.mark.parametrize(
    ("name", "distinct", "convolutions"),
    [
        ("convnet_benchmarks", 5, 5),
        ("single_channel", 3, 3),
        ("deepbench_training", 90, 94),
        ("deepbench_server", 103, 107),
        ("deepbench_device", 15, 16),
    ],
)
def test_sets_have_as_many_layers_as_their_sources(name, distinct, convolutions):
    of = layer_set(name).layers
    assert (len(of), sum(layer.count for layer in of)) == (distinct, convolutions)
    assert {layer.network for layer in of} == {name}


def test_convnet_benchmarks_take_the_operations_that_were_published():
    """As GFLOP/s times seconds, the figures of cuda-convnet in its README."""
    published = [
        (944.68789645199, 0.1314902305603),
        (1260.782333477, 0.42252349853516),
        (1259.195897222, 0.15540826320648),
        (1204.6621963356, 0.017060458660126),
        (983.54876028249, 0.041795969009399),
    ]
    for layer, (rate, seconds) in zip(layer_set("convnet_benchmarks").layers, published):
        g = layer.geometry()
        assert 2e-9 * g.batch * g.products == pytest.approx(rate * seconds)


def test_the_first_of_deepbench():
    g = layer_set("deepbench_training").layers[0].geometry()
    assert (g.x_shape, g.w_shape, g.stride) == ((4, 1, 161, 700), (32, 1, 5, 20), (2, 2))


def test_laptop_is_of_layers_of_other_sets():
    assert {layer.network for layer in layer_set("laptop").layers} <= set(layer_sets()) - {"laptop"}


def test_no_such_set():
    with pytest.raises(UsageError, match=r"must be one of resnet50, .*, laptop, not 'desktop'"):
        layer_set("desktop")


# ---- What is timed


@pytest.mark.parametrize(
    "text",
    [
        "x=2,4,9,7 w=6,2,3,3 stride=2 padding=1 groups=2",
        "x=1,1,5,5 w=1,1,2,4 padding=full dilation=2",
        "x=2,2,9,8 w=4,1,3,3 stride=1 padding=2 dilation=2 groups=2",
        "x=1,3,11,12 w=2,3,3,2 stride=2 padding=1 dilation=3",
        "x=1,2,8,8 w=2,2,1,1",
    ],
)
def test_operations_without_padding_are_those_on_pixels_that_are_there(text):
    case = Case(parse_layer(text), 2, "forward", "float32", 1, "native")
    g = case.geometry
    of_ones = oracle.cross_correlate(np.ones(g.x_shape), np.ones(g.w_shape), None, g)
    assert case.flops_without_padding == 2 * of_ones.sum()
    unpadded = np.ones((g.batch, g.in_channels, *g.padded))
    of_padded = oracle.cross_correlate(unpadded, np.ones(g.w_shape), None, g.without_padding())
    assert case.flops == 2 * of_padded.sum()


TINY = "x=2,4,7,6 w=4,2,3,3 stride=2 padding=same groups=2"
MODES = {"torch": ("eager",), "jax": ("eager", "compiled"), "tensorflow": ("eager", "compiled", "xla")}


@pytest.mark.parametrize("name", FIVE)
def test_each_backend_is_right_and_timed_in_each_mode_and_direction(name):
    modes = MODES.get(name, ("eager",))
    layouts = ("native",) if name == "numpy" else ("native", "interface")
    report = bench([parse_variant(name)], [parse_layer(TINY)], modes=modes, layouts=layouts, rounds=1, processes=1)
    assert [(row.entry.title, row.status, row.reason) for row in report.rows if row.status != "measured"] == []
    assert len(report.rows) == len(modes) * len(layouts) * len(DIRECTIONS)
    assert {row.checked for row in report.rows} == {"whole"}


def test_torch_compiles():
    layer = parse_layer("x=1,1,5,5 w=1,1,3,3")
    report = bench([parse_variant("torch")], [layer], directions=["forward"], modes=["compiled"], rounds=1, processes=1)
    (row,) = report.rows
    assert (row.status, row.reason) == ("measured", "")
    assert row.compilation > 0


def test_a_worker_has_the_cores_and_settings_that_were_asked_for():
    worker = TimedWorker(parse_variant("numpy+OPENBLAS_CORETYPE=Haswell"), threads=1, timeout=60)
    try:
        settings = worker.settings()
        assert len(settings["affinity"]) == 1
        assert settings["environment"]["OMP_NUM_THREADS"] == "1"
        assert settings["environment"]["MALLOC_TRIM_THRESHOLD_"] == str(2**32)
        assert settings["environment"]["OPENBLAS_CORETYPE"] == "Haswell"
        assert {lib["num_threads"] for lib in settings["libraries"]} == {1}
    finally:
        worker.close()
    worker.settle()  # there is nothing left to wait for


def test_a_fast_algorithm_is_held_to_the_bound_that_it_declares():
    layer = parse_layer("x=1,32,32,32 w=32,32,3,3 padding=1")
    variants = [parse_variant("numpy+algorithm=fast"), parse_variant("numpy")]
    report = bench(variants, [layer], directions=["forward"], rounds=1, processes=1)
    assert [(row.status, row.reason) for row in report.rows] == [("measured", "")] * 2
    worker = TimedWorker(variants[0], threads=1, timeout=60)
    try:
        assert worker.normwise_constant("forward", layer.geometry(), "float32") > 1
        assert worker.normwise_constant("kernel gradient", layer.geometry(), "float32") is None
    finally:
        worker.close()


@pytest.mark.parametrize("text", ["numpy+", "numpy+a", "numpy+=1"])
def test_what_is_no_variant(text):
    with pytest.raises(UsageError, match="a variant is written as"):
        parse_variant(text)


# ---- Backends that fail

FLAKY = """
import ctypes, time
from multiconv_loops import LoopsBackend

class FlakyBackend(LoopsBackend):
    name = "flaky"

    def native_cross_correlate(self, g):
        right = super().native_cross_correlate(g)

        def cross_correlate(x, w, bias=None):
            {13: lambda: ctypes.string_at(0), 17: lambda: time.sleep(1000), 19: lambda: 1 / 0}.get(
                g.in_channels, lambda: None)()
            return right(x, w, bias) + (g.in_channels == 23)

        return cross_correlate
"""
ENDS = {13: "crashed", 17: "timed out", 19: "failed", 23: "wrong", 2: "measured"}


@pytest.fixture
def flaky(tmp_path, monkeypatch):
    """A backend that comes to different ends with different numbers of channels."""
    (tmp_path / "flaky.py").write_text(FLAKY)
    installed = tmp_path / "flaky-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: flaky\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[multiconv.backends]\nflaky = flaky:FlakyBackend\n")
    for place in (TESTS / "sixth", tmp_path):
        monkeypatch.syspath_prepend(str(place))
    registry._entry_points.cache_clear()
    yield parse_variant("flaky")
    registry._entry_points.cache_clear()


def of_channels(channels):
    return parse_layer(f"x=1,{channels},4,4 w=1,{channels},3,3")


def test_a_failure_costs_its_row_alone(flaky):
    variants = [parse_variant("numpy"), flaky]
    wanted = [of_channels(channels) for channels in ENDS]
    report = bench(variants, wanted, directions=["forward"], rounds=2, processes=2, timeout=3)
    of = {(row.entry.variant.label, row.entry.case.layer.in_channels): row for row in report.rows}
    assert {channels: of["flaky", channels].status for channels in ENDS} == ENDS
    for channels in ENDS:
        assert [len(seconds) for seconds in of["numpy", channels].samples] == [2, 2]
    assert [len(seconds) for seconds in of["flaky", 2].samples] == [2, 2]
    assert "SIGSEGV" in of["flaky", 13].reason
    assert "ZeroDivisionError" in of["flaky", 19].reason
    assert "is right" in of["flaky", 23].reason
    assert {row.status for row in report.failed} == set(ENDS.values()) - {"measured"}
    assert [report.ratio(of["flaky", channels]) is None for channels in ENDS] == [True, True, True, True, False]
    shown = Console(width=250, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    print_bench(report, shown)
    text = shown.export_text()
    assert all(status in text for status in ENDS.values() if status != "measured")
    assert all(status in as_html(report) for status in ENDS.values() if status != "measured")
    assert len(pyperf.BenchmarkSuite.loads(as_pyperf_json(report))) == 6


def test_what_a_backend_does_not_compute_is_no_failure(flaky):
    report = bench([flaky], [of_channels(2)], rounds=1, processes=1)
    assert [row.status for row in report.rows] == ["measured", "unsupported", "unsupported"]
    assert report.failed == []


def test_a_variant_that_can_not_be_had():
    wanted = [parse_variant("numpy"), parse_variant("torch@0.0.1")]
    with pytest.raises(BackendUnavailable, match=r"torch@0\.0\.1 is not available"):
        bench(wanted, [of_channels(2)])
    report = bench(wanted, [of_channels(2)], directions=["forward"], rounds=1, processes=1, optional=True)
    assert [row.status for row in report.rows] == ["measured"]
    assert [m.name for m in report.missing] == ["torch@0.0.1"]


# ---- Interrupted and resumed


def interrupted_at(step):
    def progress(name, done, of, doing):
        if done == step:
            raise KeyboardInterrupt

    return progress


def test_an_interrupted_benchmark_goes_on_where_it_was(tmp_path):
    journal = tmp_path / "journal"
    wanted = [of_channels(channels) for channels in (1, 2, 3)]
    options = {"directions": ["forward"], "rounds": 2, "processes": 2, "journal": journal}
    seen = {}
    for step in (2, 4, 7):  # while the reference is measured against itself, in the first process, in the second
        with pytest.raises(KeyboardInterrupt):
            bench([parse_variant("numpy")], wanted, **options, progress=interrupted_at(step))
        found = measurements(journal)
        assert {key: found[key] for key in seen} == seen
        assert len(found) > len(seen)
        seen = found
    report = bench([parse_variant("numpy")], wanted, **options)
    assert [len(row.samples) for row in report.rows] == [2, 2, 2]
    assert len(report.twins) == 3
    found = measurements(journal)
    assert {key: found[key] for key in seen} == seen
    length = journal.stat().st_size
    again = bench([parse_variant("numpy")], wanted, **options)
    assert journal.stat().st_size == length
    assert [row.samples for row in again.rows] == [row.samples for row in report.rows]


def measurements(journal):
    """Every measurement that a journal has, none of them twice."""
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    found = [line["measurement"] for line in lines if "measurement" in line]
    by_key = {(m["title"], m["process"]): m for m in found}
    assert len(by_key) == len(found)
    return by_key


SETTINGS = {"seed": 0, "rounds": 5}


def test_a_line_that_was_not_finished_is_dropped(tmp_path):
    path = tmp_path / "journal"
    with closing(Journal(path, SETTINGS)) as journal:
        journal.add(Measurement("one", 0, seconds=[1.0]))
    with path.open("ab") as file:
        file.write(b'{"measurement": {"title": "two", "pro\xff')
    with closing(Journal(path, SETTINGS)) as journal:
        assert list(journal.measurements) == [("one", 0)]
        journal.add(Measurement("two", 0))
    with closing(Journal(path, SETTINGS)) as journal:
        assert set(journal.measurements) == {("one", 0), ("two", 0)}


def journal_of_one_measurement(path):
    with closing(Journal(path, SETTINGS)) as journal:
        journal.add(Measurement("one", 0, seconds=[1.0]))
    return path.read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        b"something else\n",
        b"{}",  # a file of results of one line
        b"{}\n",
        b"\n",
        b"5\n",
        b"null\n",
        b'"settings"\n',
        b'["settings"]\n',
        b'{"settings": {"seed": 0, "rounds": 5}}\n',
        b'{"settings": {"se',
        b"\xff\xfe\n",
        b"[" * 100_000 + b"\n",
    ],
    ids=lambda text: repr(text[:20]),
)
def test_what_is_no_journal_is_refused_and_left_as_it_is(text, tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(text)
    with pytest.raises(UsageError, match="is not the journal of a benchmark, or is damaged"):
        Journal(path, SETTINGS)
    assert path.read_bytes() == text


@pytest.mark.parametrize(
    ("written", "damaged"),
    [
        (b"[1.0]", b"[2.0]"),
        (b"[1.0]", b'"abc"'),
        (b'"process": 0', b'"process": null'),
        (b'"one"', b'"o\xffe"'),
        (b'"measurement"', b'"worker"'),
        (b'{"measurement"', b'{"measure\n"'),
        (b'"checksum": ', b'"checksum": 1'),
    ],
)
def test_a_damaged_journal_is_refused_and_left_as_it_is(written, damaged, tmp_path):
    path = tmp_path / "journal"
    text = journal_of_one_measurement(path).replace(written, damaged)
    path.write_bytes(text)
    with pytest.raises(UsageError, match="is not the journal of a benchmark, or is damaged"):
        Journal(path, SETTINGS)
    assert path.read_bytes() == text


def test_another_benchmarks_journal_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "journal"
    text = journal_of_one_measurement(path) + b'{"measurement": '
    path.write_bytes(text)
    with pytest.raises(UsageError, match="another benchmark, with different seed"):
        Journal(path, {**SETTINGS, "seed": 1})
    assert path.read_bytes() == text


def test_a_journal_in_use_is_refused_until_it_is_closed(tmp_path):
    path = tmp_path / "journal"
    with closing(Journal(path, SETTINGS)), pytest.raises(UsageError, match="is in use by another benchmark"):
        Journal(path, SETTINGS)
    Journal(path, SETTINGS).close()


def test_a_refused_journal_is_not_held(tmp_path):
    path = tmp_path / "journal"
    journal_of_one_measurement(path)
    with pytest.raises(UsageError) as held:  # the traceback keeps the refused journal alive
        Journal(path, {})
    Journal(path, SETTINGS).close()
    del held


def test_a_journal_that_can_not_be_written_is_named(tmp_path):
    path = tmp_path / "journal"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: .*journal"):
            Journal(path, SETTINGS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_device_keeps_no_journal():
    with pytest.raises(UsageError, match="/dev/null can't keep a journal: it is not a regular file"):
        Journal(Path("/dev/null"), SETTINGS)


# ---- What comes out


def made_up(times, *, processor=0.5, mode="eager", reference="torch", noise=()):
    """A report in which torch and numpy took these seconds for some layers of VGG-19."""

    def row(layer, label, seconds, twin=""):
        case = Case(layer, 1, "forward", "float32", 1, "native")
        entry = Entry(case, parse_variant(label), mode, twin)
        measured = Measurement(entry.title, 0, "measured", "", "whole", seconds, processor, 5.0, 1, 1e9)
        return Row(entry, [measured])

    rows = [row(layer, label, seconds) for layer, of in times.items() for label, seconds in of.items()]
    first = next(iter(times))
    twins = [(row(first, reference, [1.0], "A"), row(first, reference, [n], "A again")) for n in noise]
    worker = {"threads": 1, "process": 0, "load": 0.5, "version": "1", "python": "3", "matmul_rate": {"float32": 1e9}}
    settings = {"affinity": [0], "threads": 1, "environment": {}, "libraries": [], "modes": ["eager"]}
    workers = [{**worker, "variant": v, "stream_rate": 1e9, "settings": settings} for v in ("torch", "numpy")]
    asked = {"reference": reference, "rounds": 1, "processes": 1, "seed": 0, "layers": []}
    return Report(rows, twins, workers, [], asked)


def printed(report):
    console = Console(width=250, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    print_bench(report, console)
    return console.export_text()


def test_figures_of_a_row():
    layer = Layer("one", "none", 1, 1, 1, (1, 1), (1, 1))
    report = made_up({layer: {"torch": [2e-9, 4e-9, 6e-9], "numpy": [1e-9, 2e-9, 12e-9]}})
    torch, numpy = report.rows
    assert (torch.median, torch.rate, torch.fraction_of_matmul) == pytest.approx((4e-9, 0.5e9, 0.5))
    assert (torch.compilation, torch.first_call) == (None, 5.0)
    assert report.reference(numpy) is torch
    assert report.ratio(torch) is None
    assert report.ratio(numpy).value == pytest.approx(2.0)


def test_what_is_compiled_says_how_long_that_took():
    report = made_up({of_channels(1): {"torch": [1.0]}}, mode="compiled")
    assert report.rows[0].compilation == 4.0


def test_noise_comes_from_the_same_measured_twice():
    report = made_up({of_channels(1): {"torch": [1.0], "numpy": [1.1]}}, noise=(1.1, 0.96))
    assert report.noise == pytest.approx(0.1)
    assert not report.ratio(report.rows[1]).is_real(report.noise)
    assert "differ by up to 10.0% on 2 layers" in last_line(report)
    assert "no noise floor" in last_line(made_up({of_channels(1): {"torch": [1.0]}}))


def test_a_row_that_used_more_threads_than_asked_is_marked():
    times = {of_channels(1): {"torch": [1.0]}}
    marked, equal = (printed(made_up(times, processor=p)) for p in (1.5, 1.0))
    assert "used 1.50 cores, but was given 1" in marked
    assert "but was given" not in equal
    assert "more than given" in as_html(made_up(times, processor=1.5))


@pytest.mark.parametrize(("milliseconds", "processor", "marked"), [(5, 1.8, False), (5, 2.0, True), (200, 1.1, True)])
def test_what_the_clock_of_the_processor_may_be_off_marks_no_row(milliseconds, processor, marked):
    (row,) = made_up({of_channels(1): {"torch": [milliseconds * 1e-3] * 3}}, processor=processor).rows
    assert row.exceeds_threads == marked


def test_means_and_totals():
    report = made_up({layer: {"torch": [2.0], "numpy": [1.0 if n else 4.0]} for n, layer in enumerate(layers("vgg19"))})
    ((label, mode, direction, mean, count),) = means(report)
    assert (label, mode, direction, count) == ("numpy", "eager", "forward", 9)
    assert mean == pytest.approx((0.5 * 2**8) ** (1 / 9))
    assert totals(report) == [
        ("vgg19, batch 1, float32, 1 thread, native", "torch", "eager", "forward", 32.0),
        ("vgg19, batch 1, float32, 1 thread, native", "numpy", "eager", "forward", 19.0),
    ]
    report.rows.pop()
    assert [total[1] for total in totals(report)] == ["torch"]


def test_pyperf_reads_and_compares_it(tmp_path):
    files = []
    for name, seconds in (("before", 2.0), ("after", 1.0)):
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(as_pyperf_json(made_up({of_channels(1): {"torch": [seconds] * 3}})))
    (benchmark,) = pyperf.BenchmarkSuite.load(str(files[0]))
    assert benchmark.get_name().endswith("forward, batch 1, float32, 1 thread, native, torch eager")
    assert benchmark.get_values() == (2.0, 2.0, 2.0)
    metadata = benchmark.get_metadata()
    assert (metadata["backend"], metadata["checked"], metadata["first_call"]) == ("torch 1", "whole", 5.0)
    command = [sys.executable, "-m", "pyperf", "compare_to", *map(str, files)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "2.00x faster" in ran.stdout


def test_the_page_is_whole_and_needs_no_network():
    times = {layer: {"torch": [2.0, 2.1], "numpy": [1.0, 1.2]} for layer in layers("vgg19")}
    page = as_html(made_up(times, noise=(1.1,)))
    assert not re.search(r"https?:|src=|href=|url\(|@import|<script", page)
    figures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(figures) == 3
    for figure in figures:
        ElementTree.fromstring(figure)
        assert "nan" not in figure
    dots = [len(re.findall("<circle", figure)) for figure in figures]
    assert dots == [9, 18, 18]
    assert all(layer.name in page for layer in layers("vgg19"))


def test_an_axis():
    scale = Scale(1.0, 100.0, 0.0, 200.0)
    assert [scale(v) for v in (1.0, 10.0, 100.0)] == [0.0, 100.0, 200.0]
    assert [tick["label"] for tick in scale.ticks()] == ["1", "2", "5", "10", "20", "50", "100"]


# ---- The command


def test_the_command(tmp_path):
    page, journal, results = (tmp_path / name for name in ("page.html", "journal", "results.json"))
    command = ["bench", "numpy", "--layer", "x=1,1,5,5 w=1,1,3,3", "--rounds", "2"]
    command += ["--threads", "1", "--batch", "1", "--batch", "2", "--html", str(page), "--resume", str(journal)]
    ran = CliRunner().invoke(main, [*command, "--json", str(results)])
    assert ran.exit_code == 0, ran.output
    assert "GFLOP/s" in ran.output
    assert "Noise floor" in ran.output
    assert "Batch scaling" in page.read_text()
    assert len(pyperf.BenchmarkSuite.load(str(results))) == 2 * len(DIRECTIONS)
    again = CliRunner().invoke(main, [*command, "--json", "-"])
    assert again.exit_code == 0
    resumed, first = (pyperf.BenchmarkSuite.loads(text) for text in (again.stdout, results.read_text()))
    assert [b.get_values() for b in resumed] == [b.get_values() for b in first]


def test_the_command_lists_its_sets():
    ran = CliRunner().invoke(main, ["bench", "--list"])
    assert ran.exit_code == 0
    assert [line.partition(":")[0] for line in ran.output.splitlines()] == layer_sets()


@pytest.mark.parametrize(
    "arguments",
    [
        ["caffe"],
        ["numpy+x"],
        ["numpy", "--set", "desktop"],
        ["numpy", "--layer", "nothing"],
        ["numpy", "--relative-to", "torch"],
        ["numpy", "--html", "/no/such/folder/page.html"],
        ["numpy", "--resume", "/no/such/folder/journal"],
    ],
)
def test_bad_usage(arguments):
    assert CliRunner().invoke(main, ["bench", *arguments]).exit_code == 2


def test_a_file_of_results_given_as_the_journal_ends_in_one_sentence_and_is_kept(tmp_path):
    results = tmp_path / "results.json"
    results.write_text('{"benchmarks": []}')
    ran = CliRunner().invoke(main, ["bench", "numpy", "--layer", "x=1,1,5,5 w=1,1,3,3", "--resume", str(results)])
    assert ran.exit_code == 2
    assert f"Error: {results} is not the journal of a benchmark, or is damaged: name another file" in ran.stderr
    assert results.read_text() == '{"benchmarks": []}'


def test_a_failure_ends_the_command_with_1(flaky):
    layer = ["--layer", "x=1,23,4,4 w=1,23,3,3", "--direction", "forward", "--rounds", "1", "--processes", "1"]
    ran = CliRunner().invoke(main, ["bench", "flaky", *layer])
    assert ran.exit_code == 1
    assert "wrong" in ran.output
