"""`mc.identify` is exact on drawn convolutions: options, weights and bias to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from subjects.identified import assert_is

import multiconv as mc
from multiconv.core.types import Host
from multiconv.oracle.problem import Problem
from multiconv.testing.drawing import draw_problems

NUMPY = mc.backend("numpy")
MOST_WEIGHTS, MOST_CHANNELS = 400, 12


def small(problem: Problem) -> bool:
    return problem.w.size <= MOST_WEIGHTS and problem.geometry.in_channels <= MOST_CHANNELS


DRAWN = [p for p in draw_problems(900, 21, ("float32",), values=["normal"]) if small(p)][:260]
F64 = [p for p in draw_problems(120, 22, ("float64",), values=["normal"]) if small(p)]


def identified(problem: Problem) -> mc.Identification:
    def box(x: Host) -> Host:
        return np.asarray(NUMPY.cross_correlate(x, problem.w, problem.bias, **problem.options))

    layout = {} if problem.spec.layout is None else {"layout": problem.spec.layout}
    return mc.identify(box, in_channels=problem.geometry.in_channels, ndim=problem.w.ndim - 2, **layout)


def test_there_are_enough_drawn_problems() -> None:
    assert len(DRAWN) >= 250


@pytest.mark.parametrize("problem", DRAWN, ids=lambda p: f"{p.w.shape} {p.spec}")
def test_a_drawn_convolution_is_identified_to_the_bit(problem: Problem) -> None:
    assert_is(identified(problem), problem.spec, problem.w, problem.bias)


@pytest.mark.parametrize("problem", F64, ids=lambda p: f"{p.w.shape} {p.spec}")
def test_a_drawn_convolution_in_float64(problem: Problem) -> None:
    def box(x: Host) -> Host:
        return np.asarray(NUMPY.cross_correlate(x.astype("float64"), problem.w, problem.bias, **problem.options))

    layout = {} if problem.spec.layout is None else {"layout": problem.spec.layout}
    found = mc.identify(box, in_channels=problem.geometry.in_channels, ndim=problem.w.ndim - 2, **layout)
    assert found.fixed["dtype"] == "float64"
    assert_is(found, problem.spec, problem.w, problem.bias)
