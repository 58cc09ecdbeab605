"""The cases of a check, in order: the book's examples, the networks' layers, shapes of rare kernels, drawn problems."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import numpy as np

from multiconv import d2l, layers
from multiconv.core.backend import Backend
from multiconv.core.memory import ARRANGEMENTS
from multiconv.core.spec import ConvSpec
from multiconv.oracle.judgement import Expected
from multiconv.oracle.problem import DIRECTIONS, Problem
from multiconv.oracle.values import ALL_VALUES
from multiconv.testing.drawing import draw_problems
from multiconv.testing.kernel_problems import kernel_problems
from multiconv.testing.levels import BATCHES, CHANNELS_FIRST, DTYPES, LAYOUT_LEVELS, NON_EMPTY_BATCHES
from multiconv.testing.network_layers import layer_problem, layer_problems
from multiconv.testing.problem_values import given_values, identity

EXAMPLES = 200
CANDIDATE_EXAMPLES = 400
"""More than for a backend, as a candidate has only one direction."""
LAYER_PRODUCTS = {"float32": 2_000_000}
OTHER_LAYER_PRODUCTS = 500_000
POOL_SHAPES = 32
"""Number of shapes drawn for a backend that compiles each shape."""


class Case(Protocol):
    """A test case to run on each backend: a `Problem`, or one of the book's examples."""

    @property
    def integers(self) -> bool:
        """Return whether the answers must be exact."""

    def describe(self) -> dict[str, Any]:
        """Describe the case for JSON."""

    @property
    def dtype(self) -> str:
        """Return the dtype of its arrays."""

    def answers(self, backend: Backend, *directions: str) -> Iterator[tuple[str, Any]]:
        """Yield each direction, or each of those named, with the answer or the exception raised instead."""

    def expectations(self, directions: Collection[str] = DIRECTIONS, algorithm: str = "direct") -> dict[str, Expected]:
        """Return the expected result of each direction, with the error that the algorithm may make."""


@dataclass(frozen=True)
class BookExample:
    """One of d2l's worked examples, as in the book."""

    example: d2l.Example
    integers: bool = True
    dtype: str = "float32"

    def describe(self) -> dict[str, Any]:
        """Describe the example for JSON."""
        X, K = self.example.arrays
        options = dict(self.example.options)
        return {"source": f"d2l {self.example.name}", "X": list(X.shape), "K": list(K.shape), **options}

    def answers(self, backend: Backend, *directions: str) -> Iterator[tuple[str, Any]]:
        """Yield the answer of the example's method, or the exception raised instead."""
        if directions and self.example.operation not in directions:
            return
        try:
            result = getattr(backend, self.example.operation)(*self.example.arrays, **self.example.options)
            yield self.example.operation, backend.to_numpy(result)
        except Exception as error:
            yield self.example.operation, error

    def expectations(self, directions: Collection[str] = DIRECTIONS, algorithm: str = "direct") -> dict[str, Expected]:
        """Return the result printed in the book: numbers, which must be exact, or a shape."""
        if self.example.expected is None:
            right, allowed = np.zeros(self.example.expected_shape), np.inf
        else:
            right, allowed = self.example.expected.astype(np.float64), 0.0
        return {self.example.operation: Expected(right, np.array(allowed), "float32")}


@dataclass(frozen=True)
class Draws:
    """The parameters of `check` that determine the cases, under the same names."""

    examples: int = EXAMPLES
    candidate_examples: int = CANDIDATE_EXAMPLES
    seed: int = 0
    dtypes: tuple[str, ...] = DTYPES
    values: tuple[str, ...] = ALL_VALUES
    networks: bool = True
    algorithm: str = "direct"


class Audience(Enum):
    """The groups of backends that run the same problems."""

    EAGER = "backends that compile nothing: each problem has its own shape"
    COMPILING = "backends that compile each shape: problems of a few shapes"
    CANDIDATE = "third-party functions: channels first, and views of every kind"


@dataclass(frozen=True)
class Turn:
    """A case to run later, and created only then, as some cases are large.

    Attributes
    ----------
    make : callable
        Creates the case.
    audience : frozenset of Audience
        The groups of backends that run it.
    """

    make: Callable[[], Case]
    audience: frozenset[Audience]


def turns_of(draws: Draws, audience: Collection[Audience]) -> list[Turn]:
    """Return the cases to run, ordered so that no group of backends waits long."""
    books: list[Callable[[], Case]] = [lambda e=e: BookExample(e) for e in d2l.EXAMPLES]  # type: ignore[misc]
    books += [lambda e=e: _book_problem(e) for e in d2l.EXAMPLES]  # type: ignore[misc]
    books.append(lambda: identity(draws.dtypes[0]))
    lists: list[tuple[list[Callable[[], Case]], frozenset[Audience]]] = []
    backends = frozenset({Audience.EAGER, Audience.COMPILING})
    if draws.networks and backends & set(audience):
        lists.append((_network_cases(draws), backends))
        lists.append((_kernel_cases(draws), backends))
    lists += [(_drawn_cases(draws, who), frozenset({who})) for who in Audience if who in audience]
    placed = [(number / len(makes), Turn(make, who)) for makes, who in lists for number, make in enumerate(makes)]
    first = [Turn(make, frozenset(Audience)) for make in books]
    return first + [turn for _, turn in sorted(placed, key=lambda place: place[0])]


def _network_cases(draws: Draws) -> list[Callable[[], Case]]:
    dtype = draws.dtypes[0]
    products = LAYER_PRODUCTS.get(dtype, OTHER_LAYER_PRODUCTS)
    return [
        lambda layer=layer, kind=kind: layer_problem(layer, dtype, kind, draws.seed, products)  # type: ignore[misc]
        for network in layers.networks()
        for number, layer in enumerate(layers.layers(network))
        for kind in ("integers", "normal")[: 2 - number % 2]  # reals only in every other layer, as they double the cost
    ]


def _kernel_cases(draws: Draws) -> list[Callable[[], Case]]:
    return [lambda p=p: p for p in kernel_problems(draws.dtypes[0], draws.seed)]  # type: ignore[misc]


def _drawn_cases(draws: Draws, who: Audience) -> list[Callable[[], Case]]:
    of_candidate = who is Audience.CANDIDATE
    problems = draw_problems(
        draws.candidate_examples if of_candidate else draws.examples,
        draws.seed,
        draws.dtypes,
        POOL_SHAPES if who is Audience.COMPILING else None,
        draws.values,
        arrangements=tuple(ARRANGEMENTS),
        layouts=CHANNELS_FIRST if of_candidate else LAYOUT_LEVELS,
        batches=NON_EMPTY_BATCHES if of_candidate else tuple(BATCHES),
    )
    if of_candidate and draws.networks:
        problems += layer_problems(draws.dtypes[0], draws.values, draws.seed)
    return [lambda p=p: p for p in problems]  # type: ignore[misc]


def _book_problem(example: d2l.Example) -> Problem:
    """Return an example's arrays as a problem, which is run in every direction."""
    X, K = example.arrays
    x = X.reshape((1,) * (4 - X.ndim) + X.shape)
    w = K.reshape((1,) * (4 - K.ndim) + K.shape)
    return given_values(f"d2l {example.name}", ConvSpec(**example.options), x, w)
