"""Functions that keep something of an earlier call, and results that share memory: what asking again shows."""

from __future__ import annotations

import numpy as np
import pytest

import multiconv as mc
from multiconv.core.spec import ConvSpec
from multiconv.oracle.problem import Problem, judged
from multiconv.testing.candidate import Candidate
from multiconv.testing.problem_values import given_values, with_values


@np.errstate(over="ignore", invalid="ignore")
def right(x, w, bias=None, **options):
    return np.asarray(mc.backend("numpy").cross_correlate(x, w, bias, **options))


def faults(function, problem, **how):
    """The symptoms and the faults of the forward direction."""
    expected = problem.expectations(["forward"])
    found = judged(problem, Candidate(function), expected, "forward", **how)
    return [(judgement.symptom, judgement.fault) for _, _, judgement in found if judgement.fault is not None]


SPEC = ConvSpec(1, ((2, 0), (1, 1)))


def some_problem(values="integers", spec=SPEC, arrangement="contiguous", bias=True):
    g = spec.resolve((2, 3, 5, 6), (4, 3, 2, 3))
    return with_values("some", spec, g, "float32", bias=bias, values=values, seed=2, arrangement=arrangement)


@pytest.mark.parametrize("values", ["integers", "normal", "wide", "nonfinite", "largest", "subnormal"])
@pytest.mark.parametrize("bias", [False, True])
def test_a_right_function_has_no_fault(values, bias):
    assert faults(right, some_problem(values, bias=bias)) == []
    assert faults(right, some_problem(values, ConvSpec(padding=1), "reversed", bias)) == []


def test_a_function_that_is_wrong_on_every_second_call():
    calls = []

    def flaky(x, w, bias, **options):
        calls.append(1)
        return right(x, w, bias, **options) + (len(calls) % 2 == 0)

    (symptom, fault), *_ = faults(flaky, some_problem())
    assert symptom == "values"
    assert fault.startswith("called again at once: element")
    calls.clear()
    assert faults(flaky, some_problem(), again=False) == []


def test_a_function_that_keeps_the_kernel_of_an_earlier_call():
    kept = {}

    def remembers(x, w, bias, **options):
        return right(x, kept.setdefault(w.shape, w.copy()), bias, **options)

    (symptom, fault), *others = faults(remembers, some_problem())
    assert symptom == "values"
    assert fault.startswith("with w and bias negated, and so the result: element")
    assert others == []


def test_a_function_that_keeps_the_bias_of_an_earlier_call():
    kept = []

    def remembers(x, w, bias, **options):
        kept.append(bias)
        return right(x, w, kept[0].copy(), **options)

    (symptom, fault), *_ = faults(remembers, some_problem())
    assert symptom == "values"
    assert fault.startswith("with w and bias negated")


def test_a_function_that_keeps_the_padding_of_the_call_before():
    last = [None]

    def remembers(x, w, bias, *, padding, **options):
        used = last[0] or padding
        last[0] = padding
        return right(x, w, bias, padding=used, **options)

    (symptom, fault), *others = faults(remembers, some_problem())
    assert symptom == "values"
    assert fault.startswith("called after the same with its padding swapped: element")
    assert others == []
    last[0] = None
    assert faults(remembers, some_problem(spec=ConvSpec(padding=1))) == []


def test_no_call_has_its_padding_swapped_where_that_would_compile_anew_or_be_the_same():
    paddings = []

    def asked(x, w, bias, *, padding, **options):
        paddings.append(padding)
        return right(x, w, bias, padding=padding, **options)

    candidate = Candidate(asked)
    others = (ConvSpec(padding=1), ConvSpec(padding=((1, 1), (2, 2))), ConvSpec(padding="same"))
    for spec, compiles, swaps in ((SPEC, False, True), (SPEC, True, False), *((spec, False, False) for spec in others)):
        candidate.compiles = compiles
        paddings.clear()
        problem = some_problem(spec=spec)
        list(judged(problem, candidate, problem.expectations(["forward"]), "forward"))
        assert (((0, 2), (1, 1)) in paddings) == swaps
        assert len(paddings) == (5 if swaps else 3)


def test_only_the_forward_direction_is_asked_again(monkeypatch):
    asked = []
    monkeypatch.setattr(Problem, "again", lambda problem, backend: asked.append(problem) or iter(()))
    problem = some_problem()
    found = list(judged(problem, mc.backend("numpy"), problem.expectations()))
    assert len(found) == 7
    assert asked == [problem]


@pytest.mark.parametrize("multiplies_zeros", [False, True])
def test_nan_beside_the_sums_of_a_factor_that_is_not_finite_is_excused_where_the_backend_says_so(multiplies_zeros):
    problem = given_values("nan", ConvSpec(), np.float32([[[np.nan, 1, 2, 3]]]), np.float32([[[1, 1]]]))
    candidate = Candidate(lambda x, w, bias, **options: right(x, w, bias, **options) * np.float32(np.nan))
    candidate.multiplies_zeros = multiplies_zeros
    found = judged(problem, candidate, problem.expectations(["forward"]), "forward")
    assert any(judgement.fault for *_, judgement in found) is not multiplies_zeros


def test_an_exception_in_a_later_call_is_a_fault():
    calls = []

    def once(x, w, bias, **options):
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("only once")
        return right(x, w, bias, **options)

    found = faults(once, some_problem())
    assert found[0] == ("raises", "called again at once: RuntimeError: only once")


def test_negated_operands_lie_in_memory_as_the_originals():
    strides = []

    def watched(x, w, bias, **options):
        strides.append((x.strides, w.strides, bias.strides))
        return right(x, w, bias, **options)

    assert faults(watched, some_problem(arrangement="reversed", spec=ConvSpec(padding=1))) == []
    assert len(strides) == 3
    assert len(set(strides)) == 1
    assert min(strides[0][1]) < 0


# ---- Memory that is shared, by a backend that nothing watches


class Careless(mc.Backend):
    """A backend whose results lie in one buffer, or in its argument."""

    name = "careless"
    version = "0"

    def __init__(self, result):
        super().__init__()
        self.result = result

    def plan(self, operation, g, dtype):
        options = {"stride": g.stride, "padding": g.pads, "dilation": g.dilation, "groups": g.groups}
        return lambda x, w, bias=None: self.result(x, right(x, w, bias, **options))


def test_a_result_that_a_later_call_changes():
    buffer = {}

    def in_one_buffer(x, y):
        buffer.setdefault(y.shape, np.empty_like(y))[...] = y
        return buffer[y.shape]

    problem = some_problem(spec=ConvSpec(padding=1))
    expected = problem.expectations(["forward"])
    found = [j for *_, j in judged(problem, Careless(in_one_buffer), expected, "forward") if j.fault]
    assert [(j.symptom, j.fault) for j in found] == [("memory", "a later call changed its result")]
    assert all(j.fault is None for *_, j in judged(problem, Careless(lambda x, y: y), expected, "forward"))


def test_a_result_that_shares_memory_with_x():
    x = np.float32([[[1, 2, 3]]])
    problem = given_values("mine", ConvSpec(), x, np.ones((1, 1, 1), "float32"))
    expected = problem.expectations(["forward"])
    in_place = Careless(lambda x, y: x if np.array_equal(x, y) else y)
    found = [j for *_, j in judged(problem, in_place, expected, "forward") if j.fault]
    assert [(j.symptom, j.fault) for j in found] == [("memory", "its result shares memory with x")]
    assert [j.ratio for j in found] == [np.inf]
