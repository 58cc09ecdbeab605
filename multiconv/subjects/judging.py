"""Judge answers that somebody holds: which of them is the convolution, within rounding, and why another is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from multiconv.core import bounds
from multiconv.core.errors import ConvError, UsageError, suggestion
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Host
from multiconv.oracle.diagnosis import Diagnosis, diagnose
from multiconv.oracle.exact import FLOATS
from multiconv.oracle.judgement import Expected, Judgement
from multiconv.oracle.judgement import judge as judge_answer
from multiconv.oracle.problem import DIRECTIONS, Problem
from multiconv.subjects.picture import picture

OPTIONS = ("stride", "padding", "dilation", "groups", "layout", "output_padding")
DIAGNOSIS_SECONDS = 10.0
"""Time limit for the diagnosis of one answer."""
SMALL_INTEGER = 2**18
"""The largest magnitude of values that are judged as integers, if their sums are exact too."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """The judgement on one answer.

    Attributes
    ----------
    name : str
    right : bool
        Whether every element is within the bound of rounding.
    fault : str or None
        What is wrong, in words.
    ratio : float
        The largest error in units of its bound.
    ulps : float or None
        The error of the worst element in units in the last place of its dtype; None if the shapes differ.
    wrong, elements : int
        Number of elements beyond the bound, and number of elements.
    index : tuple of int or None
        The index of the worst element.
    dtype : str
    picture : str
        A picture of where the wrong elements are, or an empty string.
    diagnosis : Diagnosis or None
        The mistake that gives this answer.
    """

    name: str
    right: bool
    fault: str | None
    ratio: float
    ulps: float | None
    wrong: int
    elements: int
    index: tuple[int, ...] | None
    dtype: str
    picture: str = ""
    diagnosis: Diagnosis | None = None

    def asdict(self) -> dict[str, Any]:
        """Return the verdict as a dictionary for JSON. An infinite number is None."""
        return {
            "name": self.name, "right": self.right, "fault": self.fault, "ratio": _finite(self.ratio),
            "ulps": _finite(self.ulps), "wrong": self.wrong, "elements": self.elements,
            "index": None if self.index is None else list(self.index), "dtype": self.dtype,
            "diagnosis": None if self.diagnosis is None else self.diagnosis.asdict(),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Verdicts:
    """The judgements on several answers to one problem.

    Attributes
    ----------
    verdicts : tuple of Verdict
    problem : dict
        The problem, without its values.
    direction : str
    differ : float
        The largest difference between two right answers, in units in the last place.
    """

    verdicts: tuple[Verdict, ...]
    problem: dict[str, Any]
    direction: str
    differ: float = 0.0

    @property
    def right(self) -> tuple[str, ...]:
        """Return the names of the right answers."""
        return tuple(v.name for v in self.verdicts if v.right)

    @property
    def wrong(self) -> tuple[str, ...]:
        """Return the names of the wrong answers."""
        return tuple(v.name for v in self.verdicts if not v.right)

    @property
    def summary(self) -> str:
        """Return who is right, as a sentence."""
        if not self.right:
            return "None of them is right."
        if self.wrong:
            return f"{_and(self.right)} right. {_and(self.wrong)} wrong."
        if self.differ:
            return f"{_and(self.right)} right: they differ by rounding only, by at most {self.differ:.3g} ulp."
        return f"{_and(self.right)} right, and equal."

    def __str__(self) -> str:
        parts = [self.summary]
        for verdict in self.verdicts:
            if not verdict.right:
                parts.append(f"\n{verdict.name}: {verdict.fault}")
                parts += [verdict.picture] if verdict.picture else []
                parts += [f"why: {verdict.diagnosis}"] if verdict.diagnosis else []
        return "\n".join(parts)

    def __getitem__(self, name: str) -> Verdict:
        """Return the verdict on the answer of this name."""
        return next(v for v in self.verdicts if v.name == name)

    def asdict(self) -> dict[str, Any]:
        """Return the verdicts as a dictionary for JSON."""
        from importlib.metadata import version

        return {
            "schema": 1, "multiconv": version("multiconv"), "direction": self.direction, "problem": self.problem,
            "right": list(self.right), "wrong": list(self.wrong), "summary": self.summary,
            "differ_ulps": _finite(self.differ), "verdicts": [v.asdict() for v in self.verdicts],
        }  # fmt: skip


def judge(
    x: Any,
    w: Any,
    *answers: Any,
    bias: Any = None,
    dy: Any = None,
    direction: str = "forward",
    **options: Any,
) -> Verdicts:
    """Say which of several answers to a convolution is right, by how much the others are wrong, where, and why.

    Parameters
    ----------
    x : array
        The input. For ``direction="conv_transpose"``, the input of the transposed convolution.
    w : array, shape (C_out, C_in / groups, \\*kernel)
    *answers : array or mapping
        At least two answers, or one mapping of their names to them.
    bias : array, optional
    dy : array, optional
        The gradient of the result, for the gradients.
    direction : str
        ``"forward"``, ``"convolve"``, ``"conv_transpose"``, ``"input gradient"``, ``"kernel gradient"`` or ``"bias
        gradient"``.
    **options
        ``stride``, ``padding``, ``dilation``, ``groups`` and ``layout``, as in `multiconv.ConvSpec`; and
        ``output_padding`` of a transposed convolution.

    Returns
    -------
    Verdicts

    Raises
    ------
    UsageError
        If there are fewer than two answers, or an option does not exist.
    ConvError
        If the arrays and options are not those of a valid convolution.

    Examples
    --------
    >>> import multiconv as mc
    >>> x, w = np.float32([[[1, 2, 4]]]), np.float32([[[1, 10]]])
    >>> print(mc.judge(x, w, {"mine": np.float32([[[12, 24]]]), "theirs": np.float32([[[21, 42]]])}).summary)
    theirs is right. mine is wrong.
    """
    named = _named(answers)
    problem = _problem(_array("x", x), _array("w", w), bias, dy, direction, options)
    expected = problem.expectations([direction])[direction]
    if problem.integers and np.any(expected.bound):  # sums that the dtype does not hold
        problem = replace(problem, values="given")
        expected = problem.expectations([direction])[direction]
    verdicts = tuple(_verdict(name, answer, problem, direction, expected) for name, answer in named.items())
    exact = [named[v.name] for v in verdicts if v.right]
    differ = max((_ulps(a, exact[0]) for a in exact[1:]), default=0.0)
    described = {
        name: value for name, value in problem.describe().items() if name not in ("source", "values", "memory")
    }
    return Verdicts(verdicts, described, direction, differ)


def _named(answers: tuple[Any, ...]) -> dict[str, Host]:
    if len(answers) == 1 and isinstance(answers[0], Mapping):
        named = {str(name): _array(str(name), answer) for name, answer in answers[0].items()}
    else:
        named = {f"answer {n}": _array(f"answer {n}", answer) for n, answer in enumerate(answers, 1)}
    if len(named) < 2:
        raise UsageError(f"there must be at least two answers to judge, not {len(named)}")
    return named


def _array(name: str, value: Any) -> Host:
    """Convert to a NumPy array of a dtype that can be judged."""
    try:
        array = np.asarray(value)
    except Exception as error:
        raise UsageError(f"{name} can't be converted to a NumPy array: {type(error).__name__}: {error}") from None
    if array.dtype.kind not in "iu" and array.dtype.name not in FLOATS:
        raise UsageError(f"{name} is {array.dtype.name}: answers are judged in integers and {', '.join(FLOATS)}")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _problem(x: Host, w: Host, bias: Any, dy: Any, direction: str, options: dict[str, Any]) -> Problem:
    """Return the problem that was answered."""
    if direction not in DIRECTIONS or direction == "layer":
        known = [d for d in DIRECTIONS if d != "layer"]
        raise UsageError(
            f"direction must be one of {', '.join(known)}, not {direction!r}{suggestion(direction, known)}"
        )
    for option in options:
        if option not in OPTIONS:
            raise UsageError(f"there is no option {option!r}{suggestion(option, OPTIONS)}: {', '.join(OPTIONS)}")
    output_padding = options.pop("output_padding", 0)
    spec = ConvSpec(**options)
    arrays = {"x": x, "w": w}
    arrays |= {name: _array(name, value) for name, value in (("bias", bias), ("dy", dy)) if value is not None}
    dtype = _one_dtype(arrays)
    arrays = {name: array.astype(dtype, copy=False) for name, array in arrays.items()}
    x, w, bias, dy = (arrays.get(name) for name in ("x", "w", "bias", "dy"))  # type: ignore[assignment]
    if direction == "conv_transpose":
        g = spec.resolve_transpose(x.shape, w.shape, output_padding)
        x, dy = np.zeros(g.x_shape, dtype), x
    else:
        if output_padding:
            raise UsageError("output_padding is an option of direction='conv_transpose' only")
        g = spec.resolve(x.shape, w.shape)
    if direction.endswith("gradient") and dy is None:
        raise UsageError(f"the {direction} needs dy, the gradient of the result")
    if dy is not None and dy.shape != g.y_shape:
        raise ConvError(f"dy must have the shape of the result, {g.y_shape}, not {dy.shape}")
    return _with_biases(spec, x, w, dy, bias, direction, arrays)


def _with_biases(
    spec: ConvSpec, x: Host, w: Host, dy: Host | None, bias: Host | None, direction: str, arrays: dict[str, Host]
) -> Problem:
    """Complete a problem: it has both biases or none, and a cotangent."""
    g = spec.resolve(x.shape, w.shape)
    transposed = direction == "conv_transpose"
    channels = g.in_channels if transposed else g.out_channels
    if bias is not None and bias.shape != (channels,):
        raise ConvError(f"bias must have shape ({channels},), not {bias.shape}")
    if direction == "bias gradient" and bias is None:
        bias = np.zeros(channels, x.dtype)
    other = None if bias is None else np.zeros(g.out_channels if transposed else g.in_channels, x.dtype)
    of_result, of_input = (other, bias) if transposed else (bias, other)
    dy = np.zeros(g.y_shape, x.dtype) if dy is None else dy
    integers = all(_small_integers(array) for array in arrays.values())
    return Problem("given", spec, x, w, dy, of_result, of_input, "integers" if integers else "given")


def _one_dtype(arrays: dict[str, Host]) -> Any:
    """Return the dtype of the arrays. Integers are summed exactly, in float64."""
    kinds = {name: array.dtype for name, array in arrays.items()}
    if all(dtype.kind in "iu" for dtype in kinds.values()):
        for name, array in arrays.items():
            if max(int(array.max(initial=0)), -int(array.min(initial=0))) > SMALL_INTEGER:
                raise UsageError(
                    f"{name} has integers beyond 2^18, whose sums are not judged: scale them, or use floats"
                )
        return np.dtype(np.float64)
    if len(set(kinds.values())) > 1:
        said = ", ".join(f"{name} is {dtype.name}" for name, dtype in kinds.items())
        raise UsageError(f"the arrays must have one dtype, but {said}: convert them")
    return next(iter(kinds.values()))


def _small_integers(array: Host) -> bool:
    """Return whether all values are integers of moderate size, so that their sums may be exact."""
    wide = array.astype(np.float64)
    return bool(np.all(wide == np.rint(wide)) and np.all(np.abs(wide) <= SMALL_INTEGER))


def _verdict(name: str, answer: Host, problem: Problem, direction: str, expected: Expected) -> Verdict:
    # An answer in another dtype than the arrays' is judged by its values, and by the arrays' bound.
    own = Expected(expected.value, expected.bound, answer.dtype.name, expected.leave, expected.rounding, expected.fast)
    judgement = judge_answer(answer, own)
    fault = judgement.fault
    if fault is None:
        units = _ulps(answer, expected.value)
        return Verdict(name, True, None, judgement.ratio, units, 0, answer.size, judgement.index, answer.dtype.name)
    if answer.dtype.name != problem.dtype and answer.dtype.kind not in "iu":
        fault += f" (the answer is {answer.dtype.name}, the arrays are {problem.dtype})"
    wrong, drawn, ulps = _where(answer, own, judgement, problem, direction)
    with np.errstate(all="ignore"):
        why = diagnose(problem, answer, direction, seconds=DIAGNOSIS_SECONDS)
    return Verdict(
        name, False, fault, judgement.ratio, ulps, wrong, answer.size, judgement.index, answer.dtype.name, drawn, why
    )


def _where(
    answer: Host, expected: Expected, judgement: Judgement, problem: Problem, direction: str
) -> tuple[int, str, float | None]:
    """Return the number of wrong elements, a picture of them, and the error of the worst in ulps."""
    if judgement.symptom != "values":
        return answer.size, "", None
    wrong = bounds.ratios(answer, expected.value, expected.bound) > 1
    images = direction not in ("kernel gradient", "bias gradient")
    last = problem.spec.channels_last and images
    at = judgement.index
    return (
        int(wrong.sum()),
        picture(np.moveaxis(wrong, -1, 1) if last else wrong, direction),
        _ulps(answer[at], expected.value[at]),
    )


def _ulps(answer: Any, right: Any) -> float:
    """Return the largest difference in units in the last place of the answer's dtype."""
    answer = np.asarray(answer)
    difference = np.abs(answer.astype(np.longdouble) - np.asarray(right).astype(np.longdouble))
    if answer.dtype.kind in "iu":
        return float(difference.max(initial=0))
    info = bounds.finfo(answer.dtype)
    largest = np.maximum(np.abs(np.asarray(right).astype(np.float64)), float(info.tiny))
    with np.errstate(all="ignore"):
        exponent = np.frexp(largest)[1] - 1
        units = difference / np.ldexp(np.longdouble(1), exponent - int(info.nmant))
    return float(np.nan_to_num(units, nan=np.inf, posinf=np.inf).max(initial=0))


def _finite(number: float | None) -> float | None:
    return number if number is not None and np.isfinite(number) else None


def _and(names: tuple[str, ...]) -> str:
    """Return names as the subject of a sentence, with its verb."""
    if len(names) == 1:
        return f"{names[0]} is"
    return f"{', '.join(names[:-1])} and {names[-1]} are"


__all__ = ["Verdict", "Verdicts", "judge"]
