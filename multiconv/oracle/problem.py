"""Test problems: a convolution with its arrays, run on a backend, and its answers judged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from multiconv.core import memory
from multiconv.core.backend import Backend
from multiconv.core.geometry import Geometry
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Host
from multiconv.oracle.expectations import Oracle
from multiconv.oracle.judgement import Expected, Judgement, judge

INTEGER_VALUES = ("integers", "zeros")
"""The kinds of values that are small integers."""
DIRECTIONS = (
    "forward",
    "input gradient",
    "kernel gradient",
    "bias gradient",
    "convolve",
    "conv_transpose",
    "layer",
)


@dataclass(frozen=True, eq=False)
class Problem:
    """Arrays and options for every direction of one convolution.

    Attributes
    ----------
    source : str
        Where the problem comes from, such as ``"resnet50 conv3_1"``.
    spec : ConvSpec
    x, w, dy : array
        Input, kernel and cotangent. `dy` is also the input of the transposed convolution.
    bias, x_bias : array or None
        Biases for the C_out channels of the result and for the C_in channels of the transposed convolution's result.
        Either both are arrays or both are None.
    values : str
        The kind of values, as in `multiconv.testing.problem_values.with_values`, or ``"given"``.
    seed : int or None
        The seed from which `with_values` drew the values; None if they were given.
    arrangement : str
        The memory layout of the arrays: one of `multiconv.core.memory.ARRANGEMENTS`.
    """

    source: str
    spec: ConvSpec
    x: Host
    w: Host
    dy: Host
    bias: Host | None
    x_bias: Host | None
    values: str = "given"
    seed: int | None = None
    arrangement: str = "contiguous"
    geometry: Geometry = field(init=False)
    transposed: Geometry = field(init=False)

    def __post_init__(self) -> None:
        g = self.spec.resolve(self.x.shape, self.w.shape)
        object.__setattr__(self, "geometry", g)
        for name in ("x", "w", "dy", "bias", "x_bias"):
            array = getattr(self, name)
            if array is not None:
                object.__setattr__(self, name, memory.arranged(array, self.arrangement))
        object.__setattr__(self, "transposed", self.spec.resolve_transpose(g.y_shape, g.w_shape, self.output_padding))

    @property
    def output_padding(self) -> tuple[int, ...]:
        """Return the output padding that makes the transposed convolution's result as large as `x`.

        It is zero for the "same" paddings, which leave no choice of size.
        """
        g = self.spec.resolve(self.x.shape, self.w.shape)
        return (0,) * g.ndim if "same" in str(self.spec.padding) else g.output_padding

    @property
    def integers(self) -> bool:
        """Return whether all values are small integers. Sums of them that the dtype holds must be exact."""
        return self.values in INTEGER_VALUES

    @property
    def dtype(self) -> str:
        """Return the dtype of the arrays."""
        return self.x.dtype.name

    @property
    def options(self) -> dict[str, Any]:
        """Return the options as keyword arguments of a backend's methods."""
        return dict(vars(self.spec))

    def describe(self) -> dict[str, Any]:
        """Describe the problem for JSON, without its values.

        Examples
        --------
        >>> from multiconv.testing.problem_values import given_values
        >>> given_values("mine", ConvSpec(stride=2), np.ones((1, 1, 3)), np.ones((1, 1, 2))).describe()["x"]
        [1, 1, 3]
        """
        return {
            "source": self.source,
            "dtype": self.dtype,
            "values": self.values,
            "memory": self.arrangement,
            "x": list(self.x.shape),
            "w": list(self.w.shape),
            "bias": self.bias is not None,
            **self.options,
        }

    def answers(self, backend: Backend, *directions: str) -> Iterator[tuple[str, Any]]:
        """Yield each direction with the backend's answer, or with the exception raised instead.

        By default all directions are run. ``"layer"`` calls the framework's own layer, without multiconv's core around
        it. It is left out for an empty batch, because some frameworks then return a wrong shape.

        Examples
        --------
        >>> from multiconv import backend
        >>> from multiconv.testing.problem_values import given_values
        >>> problem = given_values("mine", ConvSpec(), np.ones((1, 1, 3)), np.ones((1, 1, 2)))
        >>> dict(problem.answers(backend("numpy"), "forward"))
        {'forward': array([[[2., 2.]]])}
        """
        x, w, bias, dy, options = self.x, self.w, self.bias, self.dy, self.options
        calls: dict[tuple[str, ...], Callable[[], tuple[Any, ...]]] = {
            ("forward",): lambda: (backend.cross_correlate(x, w, bias, **options),),
            DIRECTIONS[1:4]: lambda: backend.cross_correlate_vjp(x, w, bias, dy, **options),
            ("convolve",): lambda: (backend.convolve(x, w, bias, **options),),
            ("conv_transpose",): lambda: (
                backend.conv_transpose(dy, w, self.x_bias, **options, output_padding=self.output_padding),
            ),
        }
        if self.geometry.batch:
            calls["layer",] = lambda: (backend.layer(w, bias, **options)(backend.asarray(x)),)
        for of_call, call in calls.items():
            wanted = [d for d in of_call if not directions or d in directions]
            if not wanted:
                continue
            try:
                results = [None if r is None else backend.to_numpy(r) for r in call()]
            except Exception as error:
                yield wanted[0], error
                continue
            for number, direction in enumerate(of_call):
                if direction not in wanted or (direction == "bias gradient" and bias is None):
                    continue
                given = results[number] if number < len(results) else None
                yield direction, TypeError(f"there is no {direction}") if given is None else given

    def again(self, backend: Backend) -> Iterator[tuple[str, Any]]:
        """Run the forward direction a few more times, and yield a description of each call with its answer.

        The direction is called

        - again at once;
        - with kernel and bias negated, which negates the result, since rounding to nearest is symmetric;
        - after a call with its padding swapped, if the padding is asymmetric and the backend does not compile.

        Each answer must match `expectations`. A function that keeps data of an earlier call fails in one of them.

        Examples
        --------
        >>> from multiconv import backend
        >>> from multiconv.testing.problem_values import given_values
        >>> problem = given_values("mine", ConvSpec(), np.ones((1, 1, 3)), np.ones((1, 1, 2)))
        >>> for what, answer in problem.again(backend("numpy")):
        ...     print(what, answer)
        called again at once [[[2. 2.]]]
        with w and bias negated, and so the result [[[2. 2.]]]
        """

        def called(w: Host, bias: Host | None, sign: int = 1) -> Any:
            try:
                answer = backend.to_numpy(backend.cross_correlate(self.x, w, bias, **self.options))
                return answer if sign > 0 else -answer
            except Exception as error:
                return error

        yield "called again at once", called(self.w, self.bias)
        negated = None if self.bias is None else memory.arranged(-self.bias, self.arrangement)
        yield (
            "with w and bias negated, and so the result",
            called(memory.arranged(-self.w, self.arrangement), negated, -1),
        )
        if isinstance(self.spec.padding, tuple) and not self.geometry.symmetric and not backend.compiles:
            swapped = tuple((after, before) for before, after in self.geometry.pads)
            with suppress(Exception):
                backend.cross_correlate(self.x, self.w, self.bias, **{**self.options, "padding": swapped})
            yield "called after the same with its padding swapped", called(self.w, self.bias)

    def expectations(self, directions: Collection[str] = DIRECTIONS, algorithm: str = "direct") -> dict[str, Expected]:
        """Return the expected result of each direction.

        Parameters
        ----------
        directions : collection of str
        algorithm : str
            The algorithm whose bound applies. ``"direct"`` sums the products of the definition, and is exact for
            integers. ``"fft"``, ``"winograd"``, and ``"fast"`` for either of them, have errors that are small only
            relative to the largest element (`multiconv.core.bounds.normwise`).

        Examples
        --------
        >>> from multiconv.testing.problem_values import given_values
        >>> problem = given_values("mine", ConvSpec(), np.array([[[1.0, 2.0, 3.0]]]), np.array([[[1.0, 10.0]]]))
        >>> problem.expectations()["forward"].value
        array([[[21., 32.]]])
        """
        oracle = Oracle(self, algorithm)
        expected: dict[str, Expected] = {}
        for direction in directions:
            if direction == "bias gradient" and self.bias is None:
                continue
            if direction == "layer" and "forward" in expected:
                expected[direction] = expected["forward"]
            else:
                expected[direction] = oracle.expected(direction)
        return expected


def judged(
    problem: Problem, backend: Backend, expected: dict[str, Expected], *directions: str, again: bool = True
) -> Iterator[tuple[str, Any, Judgement]]:
    """Run a problem on a backend and judge every answer.

    Parameters
    ----------
    problem : Problem
    backend : Backend
    expected : dict
        The result of `Problem.expectations`, at least for these directions.
    *directions : str
        The directions to run; by default all.
    again : bool
        Whether to run the forward direction more than once.

    Yields
    ------
    direction : str
    answer : array or Exception
    judgement : Judgement

    Examples
    --------
    >>> from multiconv import backend
    >>> from multiconv.testing.problem_values import given_values
    >>> problem = given_values("mine", ConvSpec(), np.ones((1, 1, 3)), np.ones((1, 1, 2)))
    >>> all(j.fault is None for _, _, j in judged(problem, backend("numpy"), problem.expectations()))
    True
    """
    for direction, answer in problem.answers(backend, *directions):
        judgement = _judged(answer, expected[direction], backend)
        yield direction, answer, judgement
        if not again or direction != "forward" or judgement.fault is not None:
            continue
        before, changed = answer.tobytes(), False
        for what, answer_again in problem.again(backend):
            judgement = _judged(answer_again, expected[direction], backend)
            if judgement.fault is not None:
                yield direction, answer_again, replace(judgement, fault=f"{what}: {judgement.fault}")
            changed = changed or answer.tobytes() != before
        if changed:
            yield direction, answer, Judgement(np.inf, "a later call changed its result", symptom="memory")
        if np.may_share_memory(answer, problem.x):
            yield direction, answer, Judgement(np.inf, "its result shares memory with x", symptom="memory")


def _judged(answer: Any, expected: Expected, backend: Backend) -> Judgement:
    if isinstance(answer, Exception):
        return Judgement.of_error(answer)
    return judge(answer, expected, multiplies_zeros=backend.multiplies_zeros)


def first_fault(problem: Problem, backend: Backend, direction: str, algorithm: str = "direct") -> tuple[Any, Judgement]:
    """Run one direction of a problem on a backend, and return the first wrong answer, or else the first answer.

    Parameters
    ----------
    problem : Problem
    backend : Backend
    direction : str
        One of `DIRECTIONS`.
    algorithm : str
        As in `Problem.expectations`.

    Returns
    -------
    answer : array, Exception or None
        None if the problem lacks the direction, for example the bias gradient of a problem without a bias.
    judgement : Judgement

    Examples
    --------
    >>> from multiconv import backend
    >>> from multiconv.testing.problem_values import given_values
    >>> problem = given_values("mine", ConvSpec(), np.ones((1, 1, 3)), np.ones((1, 1, 2)))
    >>> first_fault(problem, backend("numpy"), "forward")[1].fault is None
    True
    """
    expected = problem.expectations([direction], algorithm)
    answers = [(answer, j) for _, answer, j in judged(problem, backend, expected, direction)]
    return next((a for a in answers if a[1].fault is not None), answers[0] if answers else (None, Judgement(0.0)))
