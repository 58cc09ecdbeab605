"""Which cases a check runs, on which backends, and in what order."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from multiconv.backends.numpy import NumpyBackend

from multiconv import d2l, layers
from multiconv.check.cases import Audience, BookExample, Draws, Turn, turns_of
from multiconv.core.memory import ARRANGEMENTS
from multiconv.oracle.problem import Problem
from multiconv.survey.dispatch_problems import Sketch
from multiconv.testing.kernel_problems import kernel_problems
from multiconv.testing.network_layers import layer_problem

FEW = Draws(examples=40, candidate_examples=40)
BACKENDS = {Audience.EAGER, Audience.COMPILING}


def problems(turns: list[Turn], who: Audience, source: str = "") -> list[Problem]:
    """The problems of a group whose source begins so."""
    cases = [turn.make() for turn in turns if who in turn.audience]
    return [case for case in cases if isinstance(case, Problem) and case.source.startswith(source)]


def test_a_check_draws_200_problems_for_a_backend_and_400_for_a_candidate() -> None:
    turns = turns_of(Draws(networks=False), set(Audience))
    counts = [len(problems(turns, who, "drawn")) for who in Audience]
    assert dict(zip(Audience, counts)) == {Audience.EAGER: 200, Audience.COMPILING: 200, Audience.CANDIDATE: 400}


def test_what_compiles_gets_32_shapes_and_the_others_one_for_each_problem() -> None:
    turns = turns_of(Draws(networks=False), BACKENDS)
    compiled, eager = (
        len({(p.spec, p.x.shape, p.w.shape) for p in problems(turns, who, "drawn")})
        for who in (Audience.COMPILING, Audience.EAGER)
    )
    assert compiled == 32
    assert eager > 190


def test_the_parameters_of_a_check_stay_as_they_are() -> None:
    assert Draws().networks
    with pytest.raises(FrozenInstanceError):
        Draws().seed = 1  # type: ignore[misc]


def test_networks_are_for_backends_and_reduced_ones_for_candidates() -> None:
    turns = turns_of(FEW, {Audience.CANDIDATE})
    assert all(Audience.CANDIDATE in turn.audience for turn in turns)
    assert not problems(turns, Audience.EAGER, "resnet50")
    assert problems(turns, Audience.CANDIDATE, "resnet50")
    assert not problems(turns_of(Draws(40, 40, networks=False), BACKENDS), Audience.EAGER, "resnet50")


def test_shapes_of_rare_kernels_are_for_backends_in_the_first_dtype() -> None:
    expected = [Sketch.of(problem) for problem in kernel_problems("float64", 5)]
    turns = turns_of(Draws(8, 8, seed=5, dtypes=("float64", "float32")), set(Audience))
    for who in BACKENDS:
        assert [Sketch.of(problem) for problem in problems(turns, who, "kernels: ")] == expected
    assert not problems(turns, Audience.CANDIDATE, "kernels: ")
    assert not problems(turns_of(Draws(8, networks=False), BACKENDS), Audience.EAGER, "kernels: ")


@pytest.mark.parametrize(("dtypes", "most"), [(("float64", "float32"), 500_000), (("float32",), 2_000_000)])
def test_networks_are_checked_in_the_first_dtype_with_so_many_products(dtypes: tuple[str, ...], most: int) -> None:
    turns = turns_of(Draws(20, 20, dtypes=dtypes), set(Audience))
    for network in layers.networks():
        drawn = {p.source: p for p in problems(turns, Audience.EAGER, network)}
        expected = [layer_problem(layer, dtypes[0], "integers", 0, most) for layer in layers.layers(network)]
        assert [p.geometry for p in drawn.values()] == [p.geometry for p in expected]
        assert {p.dtype for p in drawn.values()} == {dtypes[0]}
        assert {p.dtype for p in problems(turns, Audience.CANDIDATE, network)} == {dtypes[0]}


def test_integers_run_on_each_layer_of_a_network_and_reals_on_every_other() -> None:
    kinds: dict[str, list[str]] = {}
    for problem in problems(turns_of(FEW, BACKENDS), Audience.EAGER, "vgg19"):
        kinds.setdefault(problem.source, []).append(problem.values)
    assert list(kinds.values()) == [
        ["integers", "normal"] if number % 2 == 0 else ["integers"] for number in range(len(layers.layers("vgg19")))
    ]


def test_no_group_waits_for_another() -> None:
    """Every tenth of the turns has about a tenth of the networks' layers, and of each group's drawn problems."""
    turns = [turn for turn in turns_of(Draws(), BACKENDS) if turn.audience != frozenset(Audience)]
    for kind in (frozenset(BACKENDS), frozenset({Audience.EAGER}), frozenset({Audience.COMPILING})):
        places = [number / len(turns) for number, turn in enumerate(turns) if turn.audience == kind]
        assert np.allclose(places, np.linspace(0, 1, len(places), endpoint=False), atol=0.05)


def test_the_book_comes_first_and_is_for_all() -> None:
    first = turns_of(FEW, BACKENDS)[: 2 * len(d2l.EXAMPLES) + 1]
    assert {turn.audience for turn in first} == {frozenset(Audience)}
    assert isinstance(first[0].make(), BookExample)
    identity = first[-1].make()
    assert isinstance(identity, Problem)
    assert (identity.source, identity.dtype) == ("identity", "float32")


def test_a_candidate_gets_no_empty_batch_and_channels_first() -> None:
    drawn = problems(turns_of(Draws(40, 300), {Audience.CANDIDATE}), Audience.CANDIDATE, "drawn")
    assert min(p.geometry.batch for p in drawn) == 1
    assert not any(p.geometry.channels_last for p in drawn)
    assert any(p.geometry.batch == 0 for p in problems(turns_of(Draws(300, 40), BACKENDS), Audience.EAGER, "drawn"))


@pytest.mark.parametrize("who", Audience)
def test_every_arrangement_in_memory_is_drawn(who: Audience) -> None:
    drawn = problems(turns_of(Draws(networks=False), {who}), who, "drawn")
    assert {p.arrangement for p in drawn} == set(ARRANGEMENTS)


# ---- The book's examples


class Raises(NumpyBackend):
    def plan(self, *arguments: Any) -> Any:
        raise RuntimeError("not today")

    loop = plan


@pytest.mark.parametrize("example", d2l.EXAMPLES, ids=lambda e: e.name)
def test_an_example_of_the_book(example: Any) -> None:
    case = BookExample(example)
    X, K = (list(array.shape) for array in example.arrays)
    assert case.describe() == {"source": f"d2l {example.name}", "X": X, "K": K, **dict(example.options)}
    ((operation, answer),) = case.answers(NumpyBackend())
    assert operation == example.operation
    (expected,) = case.expectations().values()
    assert answer.shape == expected.value.shape
    if example.expected is None:
        assert expected.bound == np.inf
    else:
        assert expected.bound == 0
        assert np.array_equal(answer, expected.value)
    ((operation, error),) = case.answers(Raises())
    assert (operation, str(error)) == (example.operation, "not today")
    assert not list(case.answers(NumpyBackend(), "no direction"))
