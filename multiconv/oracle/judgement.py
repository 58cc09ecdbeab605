"""The expected result of a problem, the error allowed in an answer, and the judgement on the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from multiconv.core import bounds
from multiconv.core.types import Host, Mask
from multiconv.oracle import precision
from multiconv.oracle.accuracy import Sums


@dataclass(frozen=True, eq=False)
class Leave:
    """The elements in which an infinite or NaN answer is within rounding, although `Expected.value` is finite.

    Attributes
    ----------
    plus, minus, nan : array of bool
        Where infinity, minus infinity and NaN are allowed.
    overflow : bool
        Whether the reason is that partial sums overflow. Otherwise, infinite or NaN factors lie on the padding.
    """

    plus: Mask
    minus: Mask
    nan: Mask
    overflow: bool

    def taken(self, answer: Host) -> Mask:
        """Return the elements in which an answer is infinite or NaN and this is allowed."""
        plus, minus = self.plus & (answer == np.inf), self.minus & (answer == -np.inf)
        return np.asarray(plus | minus | (self.nan & np.isnan(answer)))


@dataclass(frozen=True, eq=False)
class Rounding:
    """The expected rounding errors of correct answers, as in `multiconv.oracle.precision`.

    Attributes
    ----------
    deviation : array
        The standard deviation of the error, element by element.
    counted : array of bool
        The elements in which rounding outweighs underflow.
    variety : callable
        Returns the share of elements that are different sums. It is 0 where products repeat, because the errors then
        carry no information.
    """

    deviation: Host
    counted: Mask
    variety: Callable[[], float]


@dataclass(frozen=True, eq=False)
class Expected:
    """A correct result and the error allowed in an answer.

    Attributes
    ----------
    value : array
        The result, in the oracle's format and the problem's layout.
    bound : array
        The largest error allowed, element by element; zero where the answer must be exact.
    dtype : str
        The dtype that the answer must have.
    leave : Leave or None
        Where an answer may be infinite or NaN.
    rounding : callable or None
        Returns the `Rounding` of correct answers, which is used to detect lost precision.
    fast : callable or None
        Returns the largest error allowed in an FFT or Winograd algorithm, element by element.
    sums : callable or None
        Returns the `Sums` that tell how accurate an answer is. None if the values are not normally distributed.
    """

    value: Host
    bound: Host
    dtype: str
    leave: Leave | None = None
    rounding: Callable[[], Rounding] | None = None
    fast: Callable[[], Host] | None = None
    sums: Callable[[], Sums] | None = None


@dataclass(frozen=True, eq=False)
class Judgement:
    """The judgement on an answer.

    Attributes
    ----------
    ratio : float
        The largest error in units of its bound. It is 0 if the answer is exact, and infinity if there is an error where
        none is allowed.
    fault : str or None
        A description of the fault; None if the answer is correct.
    index : tuple of int or None
        The index of the worst element.
    symptom : str or None
        The kind of fault: ``"raises"``, ``"shape"``, ``"dtype"``, ``"values"``, ``"precision"`` or ``"memory"``; None
        if the answer is correct.
    overflowed : bool
        Whether the answer is correct, but infinite or NaN where another order of summation gives a finite number.
    """

    ratio: float
    fault: str | None = None
    index: tuple[int, ...] | None = None
    symptom: str | None = None
    overflowed: bool = False

    @property
    def imprecise(self) -> bool:
        """Return whether the answer lost precision: its errors are within the bound, but too large for roundings."""
        return self.symptom == "precision"

    @classmethod
    def of_error(cls, error: Exception) -> Judgement:
        """Return the judgement on an exception raised instead of an answer.

        Examples
        --------
        >>> Judgement.of_error(TypeError("no")).fault
        'TypeError: no'
        """
        return cls(np.inf, f"{type(error).__name__}: {error}", symptom="raises")


def judge(answer: Host, expected: Expected, *, multiplies_zeros: bool = False) -> Judgement:
    """Compare an answer with the expected shape and dtype, then with the expected values.

    Parameters
    ----------
    answer : array
    expected : Expected
    multiplies_zeros : bool
        As in `multiconv.Backend.multiplies_zeros`: whether an infinite or NaN factor may turn any result into NaN.

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
        z = ((answer.astype(expected.value.dtype) - expected.value) / rounding.deviation).astype(np.float64)
    counted = rounding.counted & np.isfinite(z)
    if precision.lost(z, counted) is None:
        return None
    variety = rounding.variety()
    return precision.lost(z, counted, variety) if variety else None


def _loss_in_words(loss: precision.Loss) -> str:
    elements = "1 element" if loss.elements == 1 else f"{loss.elements} elements"
    return (
        f"it lost precision: its errors are within the bound, but {loss.times:.3g} times as large as rounding explains "
        f"(root mean square over {elements}, {loss.where}); a cause may be operands or sums in a narrower format"
    )


def _hint(answer: Host, expected: Expected) -> str:
    """Return a hint for an answer that exceeds the bound of a direct sum but not that of a fast algorithm."""
    if expected.fast is None or expected.leave is not None or not np.isfinite(answer).all():
        return ""
    if (bounds.ratios(answer, expected.value, expected.fast()) > 1).any():
        return ""
    return (
        "; the error exceeds the bound of a direct sum only: if the function uses an FFT or Winograd's algorithm, "
        'judge it by the bound of that, with algorithm="fft" or algorithm="winograd"'
    )
