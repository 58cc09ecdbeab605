"""The table of capabilities: that it is what is found by trying, and that trying tells right from wrong."""

from __future__ import annotations

import io
import re
from functools import cache

import numpy as np
import pytest
from conftest import FIVE, ROOT
from rich.console import Console

from multiconv import registry
from multiconv.core.errors import BackendUnavailable
from multiconv.oracle.problem import Problem
from multiconv.running import Missing
from multiconv.survey import capabilities as tried
from multiconv.survey import transforms
from multiconv.survey.capabilities import (
    DEFAULT_DTYPES,
    DIRECTIONS,
    DTYPES,
    UNSUPPORTED,
    Capabilities,
    capabilities,
)
from multiconv.survey.capability_pages import LETTERS, markdown, print_capabilities
from multiconv.survey.features import FEATURES, SIGNIFICAND_BITS
from multiconv.workers.process import Worker, source_places
from multiconv.workers.remote import RemoteBackend

pytestmark = pytest.mark.xdist_group("capabilities")  # so that what takes long is done in one process

PAGE = ROOT / "docs" / "capabilities.md"
KINDS = {letter: kind for kind, letter in LETTERS.items()}
SAMPLE = ("plain", "stride", "asymmetric padding", "groups", "all of these", "batch of zero")


# ---- The page is what is found


@cache
def page():
    """The cells of docs/capabilities.md, by backend, dtype, direction, dimensions and feature."""
    cells = {}
    for section in PAGE.read_text().split("\n## ")[1:]:
        backend = section.split()[0]
        for dtype in re.findall(r"\w+", "".join(re.findall(r"^Unsupported: (.*)$", section, re.MULTILINE))):
            for direction in DIRECTIONS:
                for dimensions in ("1-D", "2-D", "3-D"):
                    for feature in FEATURES:
                        cells[backend, dtype, direction, dimensions, feature.name] = UNSUPPORTED
        for table in section.split("\n### ")[1:]:
            dtypes, *lines = table.splitlines()
            rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
            for feature, *letters in rows[1:]:
                for direction, by_axes in zip(rows[0][1:], letters, strict=True):
                    for dimensions, letter in zip(("1-D", "2-D", "3-D"), by_axes.split(), strict=True):
                        for dtype in dtypes.split(", "):
                            cells[backend, dtype, direction, dimensions, feature] = KINDS[letter]
    return cells


def flat(found):
    return {
        (backend.name, dtype, direction, dimensions, feature): kind
        for backend in found.backends
        for dtype, table in backend.cells.items()
        for direction, by_axes in table.items()
        for dimensions, row in by_axes.items()
        for feature, kind in row.items()
    }


NOT_JAX = [name for name in FIVE if name != "jax"]  # which compiles for long
RUNS = {
    "float32 and float64": lambda: capabilities(NOT_JAX, dtypes=DEFAULT_DTYPES),
    "JAX in 2-D": lambda: capabilities(["jax"], dtypes=DEFAULT_DTYPES, dimensions=[2]),
    "a sample of the rest": lambda: capabilities(
        FIVE,
        dtypes=[d for d in DTYPES if d not in DEFAULT_DTYPES],
        dimensions=[2],
        features=[f for f in FEATURES if f.name in SAMPLE],
    ),
}


@cache
def found(run):
    return RUNS[run]()


@pytest.mark.parametrize("run", RUNS)
def test_the_page_says_what_is_found_by_trying(run):
    changed = [
        f"{', '.join(cell)}: the page has {page()[cell]}, tried it is {kind}"
        for cell, kind in flat(found(run)).items()
        if page()[cell] != kind
    ]
    assert not changed, "\n".join(["docs/capabilities.md is out of date:", *changed])


def test_the_page_has_every_cell():
    wanted = len(FIVE) * len(DTYPES) * len(DIRECTIONS) * 3 * len(FEATURES)
    assert len(page()) == wanted


def test_what_a_framework_answers_wrongly_in_silence_is_found():
    surprises = {
        (b.name, s.direction, s.dimensions, s.feature)
        for b in found("float32 and float64").backends
        for s in b.surprises
    }
    assert ("tensorflow", "forward", "2-D", "batch of zero") in surprises
    assert ("mxnet", "conv_transpose", "2-D", "stride and dilation") in surprises
    assert "batch of zero: gave a wrong answer in forward" in PAGE.read_text()


# ---- Trying tells right from wrong


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "complex64"])
@pytest.mark.parametrize("feature", FEATURES, ids=lambda f: f.name)
def test_every_sum_is_exact_in_the_dtype_and_not_all_are_alike(feature, dtype):
    for ndim in (1, 2, 3):
        p = feature.problem(ndim, dtype, channels_last=False)
        numbers = [None if a is None else a.astype("float64") for a in (p.x, p.w, p.dy, p.bias, p.x_bias)]
        sizes = [None if a is None else np.abs(a) for a in numbers]
        largest = Problem("sizes", p.spec, *sizes, "integers").expectations()
        assert max(float(e.value.max(initial=0)) for e in largest.values()) <= 2 ** SIGNIFICAND_BITS[dtype]
        right = Problem("right", p.spec, *numbers, "integers").expectations()
        assert not feature.batch or all(len(np.unique(e.value)) > 2 for e in right.values())


DIES = """
import os
from multiconv.guest.own_calls import OwnCalls

def forward(g, x, w, bias):
    if max(g.stride) > 1:
        os.abort()
    if max(g.dilation) > 1:
        raise ValueError("no dilation")
    y = native.backend.native_cross_correlate(g)(x, w, bias)
    return y + 1 if any(map(any, g.pads)) else y

def refuse(*arguments):
    raise ValueError("there is none")

def make():
    global native
    native = OwnCalls("multiconv.backends.numpy:NumpyBackend", forward, refuse, refuse, {})
    kept = native.backend.native_conv_transpose
    native.backend.native_conv_transpose = lambda g: lambda y, w, bias: kept(g)(y, w, bias) * (g.groups == 1)
    return native
"""


@pytest.fixture
def dies(monkeypatch, tmp_path):
    """A backend that is wrong with groups transposed, and whose own calls are wrong, refuse, or abort."""
    module = tmp_path / "dies.py"
    module.write_text(DIES)

    def worker(name, timeout, environment):
        places = {**source_places("multiconv:x"), "dies": str(module)}
        return RemoteBackend(Worker(name, "dies:make", places, registry.locate(name).python, timeout, environment))

    monkeypatch.setattr(tried, "native_worker", worker)
    monkeypatch.setattr(tried, "has_native_calls", lambda name: True)
    (backend,) = capabilities(["numpy"], dtypes=["float32"], dimensions=[1]).backends
    return backend


def test_each_answer_has_its_letter(dies):
    forward, transposed = dies.cells["float32"]["forward"]["1-D"], dies.cells["float32"]["conv_transpose"]["1-D"]
    assert forward["plain"] == forward["bias"] == forward["groups"] == "native"
    assert forward["dilation"] == forward["symmetric padding"] == forward["stride"] == "composed"
    assert transposed["plain"] == "composed"
    assert transposed["groups"] == transposed["depthwise"] == "unsupported"
    assert set(dies.cells["float32"]["convolve"]["1-D"].values()) == {"composed"}


def test_a_crash_costs_one_cell_and_is_told(dies):
    faults = {s.feature: s.fault for s in dies.surprises if s.direction == "forward"}
    assert faults["stride"] == "the process was killed by SIGABRT"
    assert faults["symmetric padding"].startswith("element [0, 0, 0] is")
    assert "dilation" not in faults
    assert "plain" not in faults


# ---- What is read of it


def test_the_table_is_compact():
    text = io.StringIO()
    cells = {d: {"forward": {"1-D": {"plain": "native"}, "2-D": {"plain": kind}}} for d, kind in
             [("float32", "composed"), ("float64", "composed"), ("float16", "unsupported")]}  # fmt: skip
    backend = tried.BackendCapabilities(
        "torch", "2", cells, [tried.Surprise("float32", "forward", "2-D", "plain", "x")]
    )
    print_capabilities(Capabilities([backend], [Missing("mxnet", "why")]), Console(file=text, width=80))
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    assert "torch 2, float32, float64" in lines
    assert "torch 2, float16" in lines
    assert [line.split() for line in lines].count(["plain", "N", "C"]) == 1
    assert "plain: gave a wrong answer in forward 2-D float32" in lines
    assert "mxnet was left out: why" in lines


def test_what_is_unsupported_takes_one_line():
    found_now = capabilities(["numpy"], dtypes=["int8", "complex64"], dimensions=[2])
    assert "Unsupported: int8, complex64." in markdown(found_now)
    assert set(flat(found_now).values()) == {"unsupported"}


def test_it_is_told_what_is_missing():
    with pytest.raises(BackendUnavailable, match=r"torch@0\.0\.1 is not available"):
        capabilities(["torch@0.0.1"], dtypes=["float32"])


def test_json_has_its_schema():
    document = capabilities(["numpy"], dtypes=["float32"], directions=["forward"], dimensions=[1]).asdict()
    assert document["schema"] == 1
    assert document["backends"][0]["cells"]["float32"]["forward"]["1-D"]["plain"] == "composed"
    assert document["missing"] == []


def test_progress_is_told_of_every_cell():
    told = []
    capabilities(
        ["numpy"], dtypes=["float32"], directions=["forward"], dimensions=[1], progress=lambda *said: told.append(said)
    )
    assert told[-1] == ("numpy", len(FEATURES), len(FEATURES), "")
    assert len(told) == len(FEATURES)


def test_the_page_says_where_a_users_model_may_call_multiconv():
    assert transforms.markdown() in markdown(Capabilities([], []))
    assert transforms.markdown() in PAGE.read_text()
