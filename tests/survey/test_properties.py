"""How the backends compute: what is held on every machine, and that what is measured tells one from another.

Not held, as they depend on the machine: "in a batch", "threads", "compiled" and "NaN in the kernel".
"""

from __future__ import annotations

import io
import os
from functools import cache

import numpy as np
import pytest
from conftest import FIVE, ROOT
from rich.console import Console

import multiconv as mc
from multiconv.core.errors import UsageError
from multiconv.running import Missing
from multiconv.survey import properties as measured
from multiconv.survey import property_pages
from multiconv.survey.properties import CASES, DTYPES, PROPERTIES, BackendProperties, Properties, properties
from multiconv.survey.property_pages import EXPECTED, MACHINE_DEPENDENT, markdown, print_properties, surprises

pytestmark = pytest.mark.xdist_group("properties")  # so that what takes long is done in one process

PAGE = ROOT / "docs" / "properties.md"
HELD = [what for what in PROPERTIES if what not in MACHINE_DEPENDENT]


@cache
def found(name):
    return properties([name], wanted=HELD)


def page():
    """The cells of docs/properties.md, by backend and property."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    heading, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    names = [cell.split()[0] for cell in heading[1:]]
    return {(name, row[0]): cell for row in rows for name, cell in zip(names, row[1:], strict=True)}


# ---- What is measured now


@pytest.mark.parametrize("name", FIVE)
def test_the_page_says_what_is_measured(name):
    written = page()
    changed = [
        f"{name}, {what}: the page has {written[name, what]!r}, now it is {cell!r}"
        for what, (cell,) in property_pages._table(found(name))
        if written[name, what] != cell
    ]
    assert not changed, "\n".join(["docs/properties.md is out of date:", *changed])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FIVE)
def test_what_every_backend_has(name, dtype):
    has = found(name).backends[0].properties[dtype]
    for what in ("repeated", "NaN in the input", "Inf in the input", "0 times Inf", "overflow", "-0 summed"):
        assert has[what] == EXPECTED[what], what


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FIVE)
def test_subnormal_numbers_are_flushed_by_jax_and_tensorflow_alone(name, dtype):
    has = found(name).backends[0].properties[dtype]
    wanted = "flushed to 0" if name in ("jax", "tensorflow") else "kept"
    assert has["small inputs"] == has["small results"] == wanted


def test_the_page_has_every_property_of_every_backend():
    rows = {f"{what} *" if what in MACHINE_DEPENDENT else what for what in PROPERTIES}
    assert set(page()) == {(name, row) for name in FIVE for row in rows}


# ---- What is measured tells one from another


class Odd:
    """NumPy's backend, whose answers a function spoils."""

    name = "odd"

    def __init__(self, spoil):
        self.backend, self.spoil, self.calls = mc.backend("numpy"), spoil, 0

    def cross_correlate(self, x, w, bias=None, **options):
        self.calls += 1
        with np.errstate(all="ignore"):
            return self.spoil(self, x, w, self.backend.cross_correlate(x, w, bias, **options))

    def cross_correlate_vjp(self, *arrays, **options):
        return self.backend.cross_correlate_vjp(*arrays, **options)


def says(what, spoil):
    return PROPERTIES[what](Odd(spoil), "float32", what)[what]


def flushed(odd, x, w, y):
    return np.where(np.abs(y) < np.finfo("float32").tiny, np.float32(0), y)


def everywhere(odd, x, w, y):
    return y if np.isfinite(y).all() else np.full_like(y, np.nan)


def nowhere(odd, x, w, y):
    return np.nan_to_num(y)


def of_this_call(odd, x, w, y):
    return y + np.float32(odd.calls % 2)


def of_the_batch(odd, x, w, y):
    return y + np.float32(len(x) == 1)


def negative(odd, x, w, y):
    return np.where(y == 0, np.float32(-0.0), y)


def not_on_the_padding(odd, x, w, y):
    y = y.copy()
    y[..., 0, :] = 0
    return y


@pytest.mark.parametrize(
    ("what", "spoil", "said"),
    [
        ("repeated", of_this_call, f"differ: {', '.join(case.name for case in CASES)}"),
        ("in a batch", of_the_batch, f"differ: {', '.join(case.name for case in CASES)}"),
        ("NaN in the input", everywhere, "others too"),
        ("NaN in the input", nowhere, "not all that see it"),
        ("Inf in the input", everywhere, "others too"),
        ("0 times Inf", nowhere, "0"),
        ("NaN in the kernel", not_on_the_padding, "not where it lies on the padding"),
        ("NaN in the kernel", nowhere, "not all that see it"),
        ("small results", flushed, "flushed to 0"),
        ("-0 summed", negative, "-0"),
        ("overflow", nowhere, "-3.4028234663852886e+38, 3.4028234663852886e+38"),
    ],
)
def test_another_backend_is_told_apart(what, spoil, said):
    assert says(what, lambda odd, x, w, y: y) == EXPECTED[what]
    assert says(what, spoil) == said


def test_flushed_inputs_are_told_apart():
    odd = Odd(lambda odd, x, w, y: y)
    kept = odd.cross_correlate
    odd.cross_correlate = lambda x, w, **options: kept(flushed(odd, None, None, x), w, **options)
    assert PROPERTIES["small inputs"](odd, "float32", "small inputs") == {"small inputs": "flushed to 0"}


def test_a_worker_on_one_core_has_one_core():
    before = os.sched_getaffinity(0)
    with measured._on_cores("torch", 1) as torch:
        assert len(os.sched_getaffinity(torch.worker.hello["pid"])) == 1
    assert os.sched_getaffinity(0) == before


# ---- What is read of it


TWO = Properties(
    [
        BackendProperties("a", "1", {"float32": {"-0 summed": "-0"}, "float64": {"-0 summed": "0"}}),
        BackendProperties("b", "2", {
            "float32": {"compiled, jit": "differ: 3x3"},
            "float64": {"compiled, jit": "same bits"},
        }),
    ],
    [Missing("c", "why")],
)  # fmt: skip


def test_what_surprises_is_said_in_a_sentence():
    assert surprises(TWO) == [
        (
            "compiled: The compiled call gives other bits than the eager one, or is not available.",
            ["b, jit, float32: differ: 3x3"],
        ),
        ("-0 summed: The sum does not begin with 0.", ["a, float32: -0"]),
    ]


def test_the_table_says_where_dtypes_differ():
    text = io.StringIO()
    print_properties(TWO, Console(file=text, width=120))
    assert "float32: -0; float64: 0" in text.getvalue()
    assert "c was left out: why" in text.getvalue()
    assert "| compiled * | - | float32: jit: differ; float64: jit: same bits |" in markdown(TWO)


def test_json_has_its_schema():
    document = properties(["numpy"], dtypes=["float64"], wanted=["overflow"]).asdict()
    assert document["schema"] == 1
    assert document["backends"][0]["properties"] == {"float64": {"overflow": "-inf, inf"}}


def test_a_property_that_there_is_not_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(
        UsageError, match=r"no property 'repeats' \(did you mean 'repeated'\?\): the properties are repeated, in a"
    ):
        measured.properties(["numpy"], wanted=["repeats"])
