"""What an answer should be and how far from it it may lie, and the judgement on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from multiconv.core import bounds
from multiconv.core.types import Host, Mask
from multiconv.oracle import precision


@dataclass(frozen=True, eq=False)
class Leave:
    """Where an answer that is not finite is within rounding, element by element, though `Expected.value` is finite.

    Attributes
    ----------
    plus, minus, nan : array of bool
        Where infinity, minus infinity and NaN are.
    overflow : bool
        Whether sums overflow on the way; else factors that are not finite lie on the padding.
    """

    plus: Mask
    minus: Mask
    nan: Mask
    overflow: bool

    def taken(self, answer: Host) -> Mask:
        """Return where an answer takes this leave."""
        plus, minus = self.plus & (answer == np.inf), self.minus & (answer == -np.inf)
        return np.asarray(plus | minus | (self.nan & np.isnan(answer)))


@dataclass(frozen=True, eq=False)
class Rounding:
    """What the errors of right answers look like, as `multiconv.oracle.precision` has it.

    Attributes
    ----------
    deviation : array
        Their standard deviation, element by element.
    counted : array of bool
        The elements in which rounding outweighs underflow.
    variety : callable
        Returns the share of elements that are different sums; 0 where products repeat, so that errors say nothing.
    """

    deviation: Host
    counted: Mask
    variety: Callable[[], float]


@dataclass(frozen=True, eq=False)
class Expected:
    """A right result, and how far from it an answer may lie.

    Attributes
    ----------
    value : array
        In the oracle's format, in the problem's layout.
    bound : array
        The largest error allowed, element by element. Zero where the answer must agree to the bit.
    dtype : str
        What the answer must be in.
    leave : Leave or None
        Where an answer need not be finite.
    rounding : callable or None
        Returns the `Rounding` of right answers, by which lost precision is told.
    fast : callable or None
        Returns what an FFT or Winograd algorithm may err by, element by element.
    """

    value: Host
    bound: Host
    dtype: str
    leave: Leave | None = None
    rounding: Callable[[], Rounding] | None = None
    fast: Callable[[], Host] | None = None


@dataclass(frozen=True, eq=False)
class Judgement:
    """What is to be said of an answer.

    Attributes
    ----------
    ratio : float
        The largest error in units of its bound; 0 where the answer is exact, infinity where any error is too much.
    fault : str or None
        What is wrong with it, in words; None if it is right.
    index : tuple of int or None
        Where it is worst.
    symptom : str or None
        The kind of fault: ``"raises"``, ``"shape"``, ``"dtype"``, ``"values"``, ``"precision"`` or ``"memory"``; None
        if it is right.
    overflowed : bool
        Whether it is right, but not finite where another order of summation gives a number.
    """

    ratio: float
    fault: str | None = None
    index: tuple[int, ...] | None = None
    symptom: str | None = None
    overflowed: bool = False

    @property
    def imprecise(self) -> bool:
        """Whether it lies within its bound, but its errors are too large for roundings: precision was lost."""
        return self.symptom == "precision"

    @classmethod
    def of_error(cls, error: Exception) -> Judgement:
        """The judgement on an exception that came instead of an answer.

        Examples
        --------
        >>> Judgement.of_error(TypeError("no")).fault
        'TypeError: no'
        """
        return cls(np.inf, f"{type(error).__name__}: {error}", symptom="raises")


def judge(answer: Host, expected: Expected, *, multiplies_zeros: bool = False) -> Judgement:
    """Compare shape and dtype, then values.

    Parameters
    ----------
    answer : array
    expected : Expected
    multiplies_zeros : bool
        As `multiconv.Backend.multiplies_zeros`: whether a factor that is not finite may make NaN of any result.

    Returns
    -------
    Judgement

    Examples
    --------
    >>> expected = Expected(np.array([1.0, 2.0]), np.array([0.0, 0.5]), "float32")
    >>> judge(np.float32([1, 2.25]), expected).ratio
    0.5
    >>> judge(np.float32([1, 3]), expected).fault
    'element [1] is 3.0, but 2.0 is right, and an error of 0.5 is allowed'
    >>> judge(np.ones((1, 2), "float32"), expected).fault
    'its shape is (1, 2), but (2,) is right'
    """
    right = expected.value
    if answer.shape != right.shape:
        fault = f"its shape is {answer.shape}, but {right.shape} is right"
        return Judgement(np.inf, fault, symptom="shape")
    if answer.dtype.name != expected.dtype:
        fault = f"its dtype is {answer.dtype.name}, but {expected.dtype} is right"
        return Judgement(np.inf, fault, symptom="dtype")
    if not answer.size:
        return Judgement(0.0)
    ratios = bounds.ratios(answer, right, expected.bound)
    overflowed = False
    if expected.leave is not None:
        taken = expected.leave.taken(answer)
        if multiplies_zeros and not expected.leave.overflow:
            taken = taken | np.isnan(answer)
        taken = taken & (ratios > 0)
        ratios = np.where(taken, 0.0, ratios)
        overflowed = expected.leave.overflow and bool(taken.any())
    index = tuple(int(i) for i in np.unravel_index(np.argmax(ratios), ratios.shape))
    ratio = float(ratios[index])
    if ratio <= 1:
        loss = _loss(answer, expected) if ratio > 0 else None
        if loss is None:
            return Judgement(ratio, overflowed=overflowed)
        return Judgement(ratio, _loss_in_words(loss), index, "precision", overflowed)
    bound = float(np.broadcast_to(expected.bound, right.shape)[index])
    allowed = f"an error of {bound:.3g} is allowed" if bound else "it must be exact"
    with np.errstate(over="ignore"):
        beyond = np.isfinite(right[index]) and not np.isfinite(right[index].astype(answer.dtype))
    value = f"{right[index]!s}, beyond {expected.dtype}," if beyond else f"{right[index]!s}"
    fault = f"element {list(index)} is {answer[index]!s}, but {value} is right, and {allowed}"
    return Judgement(ratio, fault + _hint(answer, expected), index, "values")


def _loss(answer: Host, expected: Expected) -> precision.Loss | None:
    if expected.rounding is None:
        return None
    rounding = expected.rounding()
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (answer.astype(expected.value.dtype) - expected.value) / rounding.deviation
    counted = rounding.counted & np.isfinite(z)
    if precision.lost(z, counted) is None:
        return None
    variety = rounding.variety()
    return precision.lost(z, counted, variety) if variety else None


def _loss_in_words(loss: precision.Loss) -> str:
    elements = "1 element" if loss.elements == 1 else f"{loss.elements} elements"
    return (
        f"it lost precision: its errors are within the bound, but {loss.times:.3g} times as large as roundings make "
        f"them (root mean square over {elements}, {loss.where}), as from operands or sums in a narrower format"
    )


def _hint(answer: Host, expected: Expected) -> str:
    """What to try where only rounding is beyond the bound of a direct sum."""
    if expected.fast is None or expected.leave is not None or not np.isfinite(answer).all():
        return ""
    if (bounds.ratios(answer, expected.value, expected.fast()) > 1).any():
        return ""
    return (
        "; only rounding is beyond what a direct sum may err by: if it uses an FFT or Winograd's algorithm, "
        'judge it by their bound, with algorithm="fft" or algorithm="winograd"'
    )
