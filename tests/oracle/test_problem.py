"""What a problem asks of a backend, with which arrays and options, and what it makes of the answers."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
from multiconv.backends.numpy import NumpyBackend

from multiconv.core.spec import ConvSpec
from multiconv.oracle.judgement import Judgement
from multiconv.oracle.problem import DIRECTIONS, first_fault, judged
from multiconv.testing.problem_values import given_values, with_values

SPEC = ConvSpec((2, 1), ((1, 0), (0, 2)), (1, 2), 2, "NHWC")
OPTIONS = {"stride": (2, 1), "padding": ((1, 0), (0, 2)), "dilation": (1, 2), "groups": 2, "layout": "NHWC"}


def problem(bias=True, spec=SPEC, dtype="float32", values="normal"):
    g = spec.resolve((2, 5, 6, 4), (6, 2, 2, 3))
    return with_values("mine", spec, g, dtype, bias=bias, values=values, seed=1)


class Recorder:
    """A backend that notes each call and answers with its number."""

    compiles = False

    def __init__(self, fails=()):
        self.calls, self.fails = [], fails

    def asarray(self, array):
        return array

    def to_numpy(self, array):
        return np.asarray(array)

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)

        def called(*arrays, **options):
            if name == "layer":
                return lambda *inputs: called_layer(arrays, inputs, options)
            self.calls.append((name, arrays, options))
            if name in self.fails:
                raise RuntimeError(name)
            number = float(len(self.calls))
            return (number, number + 0.25, number + 0.5) if name == "cross_correlate_vjp" else number

        def called_layer(weights, inputs, options):
            self.calls.append(("layer", (*inputs, *weights), options))
            return float(len(self.calls))

        return called


def same(arrays, others):
    return len(arrays) == len(others) and all(a is b for a, b in zip(arrays, others))


def test_it_is_described_in_full():
    assert problem().describe() == {
        "source": "mine", "dtype": "float32", "values": "normal", "memory": "contiguous",
        "x": [2, 5, 6, 4], "w": [6, 2, 2, 3], "bias": True, **OPTIONS,
    }  # fmt: skip
    assert problem(bias=False).describe()["bias"] is False


def test_it_does_not_change_and_is_told_apart_by_identity():
    one = problem()
    assert one != copy.copy(one)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.values = "given"


def test_each_method_gets_its_arrays_and_all_options():
    p, backend = problem(), Recorder()
    answers = dict(p.answers(backend))
    asked = {name: (arrays, options) for name, arrays, options in backend.calls}
    for name, arrays in (
        ("cross_correlate", (p.x, p.w, p.bias)),
        ("cross_correlate_vjp", (p.x, p.w, p.bias, p.dy)),
        ("convolve", (p.x, p.w, p.bias)),
        ("layer", (p.x, p.w, p.bias)),
    ):
        assert same(asked[name][0], arrays), name
        assert asked[name][1] == OPTIONS, name
    assert same(asked["conv_transpose"][0], (p.dy, p.w, p.x_bias))
    assert asked["conv_transpose"][1] == {**OPTIONS, "output_padding": p.output_padding}
    assert tuple(answers) == DIRECTIONS
    assert list(answers.values()) == [1, 2, 2.25, 2.5, 3, 4, 5]


def test_only_the_wanted_directions_are_asked():
    for direction in DIRECTIONS:
        backend = Recorder()
        assert [name for name, _ in problem().answers(backend, direction)] == [direction]
        assert len(backend.calls) == 1
    both = dict(problem().answers(Recorder(), "kernel gradient", "convolve"))
    assert both == {"kernel gradient": 1.25, "convolve": 2.0}


def test_without_a_bias_there_is_no_gradient_of_one():
    assert "bias gradient" not in dict(problem(bias=False).answers(Recorder()))


def test_an_exception_is_the_answer_of_the_first_direction_that_was_wanted_and_the_others_are_still_asked():
    answers = dict(problem().answers(Recorder(fails=["cross_correlate_vjp"])))
    assert str(answers["input gradient"]) == "cross_correlate_vjp"
    assert "kernel gradient" not in answers
    assert answers["layer"] == 5
    (name, error), *_ = problem().answers(Recorder(fails=["cross_correlate_vjp"]), "bias gradient", "kernel gradient")
    assert (name, str(error)) == ("kernel gradient", "cross_correlate_vjp")


def test_a_missing_gradient_is_a_type_error():
    backend = Recorder()
    backend.cross_correlate_vjp = lambda *arrays, **options: (1.0, None)
    answers = dict(problem().answers(backend))
    for direction in ("kernel gradient", "bias gradient"):
        assert str(answers[direction]) == f"there is no {direction}"


def test_it_is_asked_again_with_the_same_and_with_negated_weights_and_after_other_padding():
    p, backend = problem(), Recorder()
    answers = dict(p.again(backend))
    (_, first, o1), (_, negated, o2), (_, _, swapped), (_, last, o4) = backend.calls
    assert same(first, (p.x, p.w, p.bias))
    assert same(last, (p.x, p.w, p.bias))
    np.testing.assert_array_equal(negated[1], -p.w)
    np.testing.assert_array_equal(negated[2], -p.bias)
    assert o1 == o2 == o4 == OPTIONS
    assert swapped == {**OPTIONS, "padding": ((0, 1), (2, 0))}
    assert list(answers.values()) == [1, -2, 4]


def test_the_layer_has_the_expectation_of_the_forward_direction_and_others_come_after_it():
    expected = problem().expectations(["forward", "layer", "convolve", "bias gradient", "conv_transpose"])
    assert expected["layer"] is expected["forward"]
    assert set(expected) == {"forward", "layer", "convolve", "bias gradient", "conv_transpose"}
    assert expected["convolve"] is not expected["forward"]
    assert set(problem(bias=False).expectations(["bias gradient", "forward"])) == {"forward"}


def given(x, w, dy=None, bias=None, dtype="float32"):
    x, w, dy = (None if a is None else np.array(a, dtype)[None, None] for a in (x, w, dy))
    bias = None if bias is None else np.array(bias, dtype)
    return given_values("given", ConvSpec(), x, w, dy=dy, bias=bias)


# ---- The first fault


class Answers:
    """A backend that answers the forward direction from a list, call by call."""

    compiles, multiplies_zeros = True, False

    def __init__(self, *answers):
        self.answers = list(answers)

    def to_numpy(self, array):
        return array

    def cross_correlate(self, x, w, bias, **options):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        right = answer(x) if callable(answer) else np.array([[answer]], "float32")
        return right if w.sum() > 0 else -right

    def cross_correlate_vjp(self, x, w, bias, dy, **options):
        return x, w, None


def test_the_first_fault_is_the_first_wrong_answer_or_else_the_first_answer():
    p = given([1, 2, 3], [1, 10])
    answer, judgement = first_fault(p, Answers([21, 32]), "forward")
    assert (answer.tolist(), judgement.fault, judgement.ratio) == ([[[21.0, 32.0]]], None, 0)
    answer, judgement = first_fault(p, Answers([21, 99]), "forward")
    assert (answer.tolist(), judgement.symptom) == ([[[21.0, 99.0]]], "values")
    answer, judgement = first_fault(p, Answers([21, 32], [21, 98]), "forward")
    assert (answer.tolist(), judgement.symptom) == ([[[21.0, 98.0]]], "values")
    error = RuntimeError("no")
    assert first_fault(p, Answers(error), "forward")[0] is error


def test_a_direction_that_has_no_answer_has_no_fault():
    answer, judgement = first_fault(given([1, 2], [1]), Answers([1, 2]), "bias gradient")
    assert (answer, judgement.fault, judgement.ratio) == (None, None, 0)


def test_a_result_that_shares_memory_is_a_fault():
    x = np.ones((1, 1, 2), "float32")
    p = given_values("given", ConvSpec(), x, np.ones((1, 1, 1), "float32"))
    found = list(judged(p, Answers(lambda x: x), p.expectations(["forward"]), "forward"))
    assert [(d, j.symptom) for d, _, j in found if j.fault] == [("forward", "memory")]
    assert all(isinstance(j, Judgement) for _, _, j in found)


@pytest.mark.parametrize("name", ["x", "w", "dy", "bias", "x_bias"])
def test_every_array_lies_in_memory_as_the_arrangement_says(name):
    plain = problem()
    reversed_one = dataclasses.replace(plain, arrangement="reversed")
    array, as_before = getattr(reversed_one, name), getattr(plain, name)
    assert min(array.strides) < 0 < min(as_before.strides)
    assert np.array_equal(array, as_before)


class Rewrites(NumpyBackend):
    """Returns the same memory in every call, so that a later call changes an earlier result."""

    def __init__(self):
        super().__init__()
        self.memory = None

    def cross_correlate(self, x, w, bias=None, **options):
        y = super().cross_correlate(x, w, bias, **options)
        if self.memory is None:
            self.memory = y
        self.memory[...] = y
        return self.memory


def test_a_result_that_a_later_call_changes_is_a_fault():
    given = problem()
    found = list(judged(given, Rewrites(), given.expectations(["forward"]), "forward"))
    assert ("forward", "a later call changed its result") in [(direction, j.fault) for direction, _, j in found]
    assert {type(answer) for _, answer, _ in found} == {np.ndarray}
