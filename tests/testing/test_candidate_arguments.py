"""A candidate that changes an argument is caught, whichever it is and however little it changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import multiconv as mc
from multiconv.testing import assert_conforms
from multiconv.testing.candidate import Candidate

RIGHT = mc.backend("numpy").cross_correlate
X, W, BIAS = np.ones((1, 1, 3), "float32"), np.zeros((2, 1, 2), "float32"), np.zeros(2, "float32")


def add_one_to_the_last(array: Any) -> None:
    array.flat[-1:] += np.ones((), array.dtype)


def negate_zeros(array: Any) -> None:
    np.copyto(array, np.where(array == 0, -array, array))


def changing(which: int, how: Callable[[Any], None]) -> Callable[..., Any]:
    """A right cross-correlation that then changes one of x, w and bias."""

    def conv(*arrays: Any, **options: Any) -> Any:
        y = RIGHT(*arrays, **options)
        if arrays[which] is not None:
            how(arrays[which])
        return y

    return conv


@pytest.mark.parametrize(("which", "name"), [*enumerate(["x", "w", "bias"])])
def test_a_change_of_an_argument_is_refused(which: int, name: str) -> None:
    with pytest.raises(ValueError, match=f"it changed its argument {name}$"):
        Candidate(changing(which, add_one_to_the_last)).cross_correlate(X, W, BIAS)


@pytest.mark.parametrize(("which", "name"), [(1, "w"), (2, "bias")])
def test_a_change_of_the_sign_of_zero_is_refused(which: int, name: str) -> None:
    with pytest.raises(ValueError, match=f"it changed its argument {name}$"):
        Candidate(changing(which, negate_zeros)).cross_correlate(X, W, BIAS)


@pytest.mark.parametrize(("which", "name"), [*enumerate(["x", "w", "bias"])])
def test_a_function_that_changes_an_argument_does_not_conform(which: int, name: str) -> None:
    with pytest.raises(AssertionError, match=f"it changed its argument {name}"):
        assert_conforms(changing(which, add_one_to_the_last), examples=40)


@pytest.mark.parametrize("bias", [None, BIAS])
def test_the_callers_arrays_are_not_those_that_a_candidate_changes(bias: Any) -> None:
    before = [None if a is None else a.copy() for a in (X, W, bias)]
    for which in range(3):
        candidate = Candidate(changing(which, add_one_to_the_last))
        if which < 2 or bias is not None:
            with pytest.raises(ValueError, match="it changed its argument"):
                candidate.cross_correlate(X, W, bias)
    for array, was in zip((X, W, bias), before):
        np.testing.assert_array_equal(array, was)


def test_a_candidate_that_changes_nothing_is_not_refused() -> None:
    y = Candidate(lambda *arrays, **options: RIGHT(*arrays, **options)).cross_correlate(X, W, BIAS)
    np.testing.assert_array_equal(y, RIGHT(X, W, BIAS))
