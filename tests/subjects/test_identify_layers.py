"""`mc.identify` on layers of torch, Keras, Flax and Gluon: drawn ones."""

from __future__ import annotations

import pytest
from subjects.identified import assert_is

import multiconv as mc
from multiconv.oracle.problem import Problem
from multiconv.testing.drawing import draw_problems

FRAMEWORKS = ("torch", "tensorflow", "jax", "mxnet")
COUNT = {"torch": 40, "tensorflow": 14, "jax": 6, "mxnet": 20}
DRAWN = [
    p for p in draw_problems(300, 31, ("float32",), values=["normal"])
    if p.w.size <= 200 and p.geometry.in_channels <= 8 and p.w.ndim < 5 and max(p.geometry.extent) < 20
]  # fmt: skip
CASES = [(name, p) for name in FRAMEWORKS for p in DRAWN[: COUNT[name]]]


@pytest.mark.parametrize(("name", "problem"), CASES, ids=lambda v: v if isinstance(v, str) else f"{v.w.shape} {v.spec}")
def test_a_drawn_layer_is_identified_to_the_bit(name: str, problem: Problem) -> None:
    layer = mc.backend(name).layer(problem.w, problem.bias, **problem.options)
    layout = {"layout": problem.spec.layout or ("NCW", "NCHW")[problem.w.ndim - 3]}
    found = mc.identify(layer, in_channels=problem.geometry.in_channels, ndim=problem.w.ndim - 2, **layout)
    assert_is(found, problem.spec, problem.w, problem.bias)
