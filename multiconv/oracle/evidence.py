"""The evidence for a mistake: whether it gives an answer to the bit, or within rounding where values are real."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from multiconv.core import bounds
from multiconv.core.types import Host
from multiconv.oracle.definition import contraction
from multiconv.oracle.exact import FLOATS
from multiconv.oracle.mistakes import Mistake, Question, answer_of, question
from multiconv.oracle.mistakes.question import finished
from multiconv.oracle.problem import Problem

ONE_IMAGE_PRODUCTS = 4_000_000
"""Number of products from which on one image of a batch is tried before the whole batch."""
STRIP_ROWS = 2
"""Number of rows of that image that are tried before the whole image."""
CLEARER = 4.0
"""How much nearer to an imprecise answer a mistake must be than the right answer, root mean square."""


@dataclass(frozen=True, eq=False)
class Answered:
    """A question, its right answer, the answer given, and the error allowed where values are real."""

    q: Question
    right: Host
    given: Host
    exact: bool

    @property
    def wrong(self) -> bool:
        """Return whether the answer is not the right one."""
        return not self._equal(self.right)

    def _equal(self, predicted: Host) -> bool:
        if predicted.shape != self.given.shape:
            return False
        if self.given.dtype.kind in "iu":
            return bool(np.array_equal(predicted, self.given))
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = predicted.astype(self.given.dtype)
        return bool(np.array_equal(rounded, self.given, equal_nan=True))

    def explained_by(self, mistakes: tuple[Mistake, ...]) -> bool | None:
        """Return whether these mistakes give the answer; None if it is right, and right with them."""
        with np.errstate(all="ignore"):
            predicted = answer_of(mistakes, self.q, self.right)
            if predicted is None:
                predicted = self.right
            if not self.exact:
                return self._within_rounding(mistakes, predicted)
            if not self._equal(predicted):
                return False
            return True if self.wrong else None

    def _within_rounding(self, mistakes: tuple[Mistake, ...], predicted: Host) -> bool:
        """Return whether the answer is this one within rounding, and nearer to it than to the right one."""
        if predicted.shape != self.given.shape:
            return False
        if self.right.shape == predicted.shape and np.array_equal(
            predicted.astype(self.given.dtype), self.right.astype(self.given.dtype)
        ):
            return False  # such as a rounding to the dtype itself
        given = self.given.astype(predicted.dtype)
        error = np.linalg.norm(given - predicted)
        if self.right.shape == given.shape and not CLEARER * error < np.linalg.norm(given - self.right):
            return False
        sizes = {name: None if (a := getattr(self.q, name)) is None else np.abs(a) for name in ("x", "w", "dy", "bias")}
        magnitude = answer_of(mistakes, self.q.but(**sizes))
        if magnitude is None or magnitude.shape != predicted.shape:
            return False
        terms = contraction(self.q.direction, self.q.g, bias=self.q.bias is not None) + 1
        bound = bounds.componentwise(np.abs(magnitude), terms, self.q.dtype, if_finite=True)
        return bool((np.abs(given - predicted) <= bound).all())


def answered(problem: Problem, answer: Any, direction: str, *, exact: bool | None = None) -> Answered | None:
    """Return a problem with its right answer and the answer given, channels first; None if that is no array.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> from multiconv.testing.problem_values import given_values
    >>> problem = given_values("mine", ConvSpec(), np.ones((1, 1, 3)), np.ones((1, 1, 2)))
    >>> answered(problem, np.array([[[2.0, 2.0]]]), "forward").wrong
    False
    """
    if not isinstance(answer, np.ndarray) or not answer.size:
        return None
    if answer.dtype.kind not in "iu" and answer.dtype.name not in FLOATS:
        return None
    of_images = direction not in ("kernel gradient", "bias gradient")
    if problem.spec.channels_last and of_images and answer.ndim == problem.geometry.ndim + 2:
        answer = np.moveaxis(answer, -1, 1)
    q = question(problem, direction, answer.shape)
    return Answered(q, q.right(), answer, problem.integers if exact is None else exact)


def shows(mistake: Mistake, asked: Answered) -> bool:
    """Return whether a mistake would change the right answer."""
    with np.errstate(all="ignore"):
        alone = mistake.answer(asked.q)
    return alone is not None and not np.array_equal(alone, asked.right)


def one_image(asked: Answered) -> Answered | None:
    """Return the question for the first image that is wrong, if the problem is large."""
    q = asked.q
    same = asked.right.shape == asked.given.shape
    if q.direction in ("kernel gradient", "bias gradient") or not same or q.g.batch < 2:
        return None
    if q.g.products * q.g.batch < ONE_IMAGE_PRODUCTS:
        return None
    error = np.abs(asked.given.astype(asked.right.dtype) - asked.right)
    first = int(np.argmax(np.nan_to_num(error, nan=np.inf).reshape(q.g.batch, -1).max(axis=1)))
    chosen = slice(first, first + 1)
    g = replace(q.g, batch=1)
    shape = (1, *asked.given.shape[1:])
    one = q.but(x=None if q.x is None else q.x[chosen], dy=None if q.dy is None else q.dy[chosen], g=g, shape=shape)
    return Answered(one, asked.right[chosen], asked.given[chosen], asked.exact)


def refuted(mistake: Mistake, probe: Answered) -> bool:
    """Return whether one image shows that the answer is not from this mistake."""
    if not mistake.within_image:
        return False
    altered = mistake.alter(probe.q)
    if altered is None:
        return True
    if altered is probe.q or mistake.finish is not finished:
        return not probe.explained_by((mistake,))
    if altered.answer_shape != probe.given.shape:
        return True
    # A few rows at the worst element are enough to refute most mistakes, and far cheaper than an image.
    error = np.abs(probe.given.astype(probe.right.dtype) - probe.right)
    worst = int(np.argmax(np.nan_to_num(error, nan=np.inf).max(axis=(0, 1, *range(3, error.ndim)))))
    first = max(0, min(worst - STRIP_ROWS // 2, error.shape[2] - STRIP_ROWS))
    rows = (slice(None), slice(None), slice(first, first + STRIP_ROWS))
    predicted = altered.strip(first, probe.given[rows].shape[2]).right()
    given = probe.given[rows].astype(predicted.dtype)
    distance = np.linalg.norm(given - predicted)
    return bool(distance > 0 and not CLEARER * distance < np.linalg.norm(given - probe.right[rows]))
