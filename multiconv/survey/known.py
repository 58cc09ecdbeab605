"""Known faults: convolutions that a public bug report says some project computed wrongly.

Each fault is a problem with small integers, so that the right result is exact. It is computed twice: by the oracle, and
by the report's own numbers or by hand, whose value is written down with the fault. `known_catalogue` reads the faults,
and `known_runs` tries them here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from typing import Any

import numpy as np

from multiconv.core.dtypes import dtype_named
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Host, Shape
from multiconv.oracle.problem import Problem
from multiconv.testing.problem_values import given_values

DOES = ("is right", "refuses", "never meets it")
GENERATORS = ("zeros", "ones", "count", "eye")
REPORTED = ("values", "shape", "error", "crash", "no error")
VERDICTS = ("as reported", "right", "other wrong", "crashes", "refused")
EPILOGUE = """
answer = np.asarray(answer, "float64")
print(json.dumps({"shape": answer.shape, "values": answer.ravel().tolist()}))
"""


@dataclass(frozen=True)
class Operand:
    """An array of a fault's problem.

    Attributes
    ----------
    shape : tuple of int
    values : str or tuple of int
        The elements in order, or a generator: ``"zeros"``; ``"ones"``; ``"count"`` for 1, 2, 3, ...; ``"eye"`` for a
        kernel that copies each channel; or ``"cycle N"`` for the N integers around 0, repeated.
    """

    shape: Shape
    values: str | tuple[int, ...] = "ones"

    def array(self, dtype: str) -> Host:
        """Return the array.

        Examples
        --------
        >>> Operand((2, 4), "cycle 3").array("float32")
        array([[-1.,  0.,  1., -1.],
               [ 0.,  1., -1.,  0.]], dtype=float32)
        """
        size = int(np.prod(self.shape))
        if not isinstance(self.values, str):
            return np.array(self.values, dtype_named(dtype)).reshape(self.shape)
        numbers = np.arange(size)
        if self.values == "eye":
            numbers = np.eye(self.shape[0], dtype=int).ravel()
        elif self.values.startswith("cycle "):
            period = int(self.values.removeprefix("cycle "))
            numbers = numbers % period - period // 2
        else:
            numbers = {"zeros": 0 * numbers, "ones": 0 * numbers + 1, "count": numbers + 1}[self.values]
        return numbers.reshape(self.shape).astype(dtype_named(dtype))

    def code(self, dtype: str) -> str:
        """Return Python code for the array. A bfloat16 array is float32 in it, since NumPy has no bfloat16.

        Examples
        --------
        >>> print(Operand((2, 4), "cycle 3").code("float32"))
        (np.arange(8) % 3 - 1).reshape(2, 4).astype("float32")
        """
        size, dtype = int(np.prod(self.shape)), "float32" if dtype == "bfloat16" else dtype
        shape = ", ".join(map(str, self.shape))
        if not isinstance(self.values, str):
            return f'np.array({list(self.values)}, "{dtype}").reshape({shape})'
        if self.values in ("zeros", "ones"):
            return f'np.{self.values}(({shape}), "{dtype}")'
        if self.values == "eye":
            return f'np.eye({self.shape[0]}, dtype="{dtype}").reshape({shape})'
        if self.values == "count":
            return f'np.arange(1, {size + 1}).reshape({shape}).astype("{dtype}")'
        period = int(self.values.removeprefix("cycle "))
        return f'(np.arange({size}) % {period} - {period // 2}).reshape({shape}).astype("{dtype}")'


@dataclass(frozen=True)
class Right:
    """The right result, as it follows from the report.

    Attributes
    ----------
    how : str
        How it is derived, in words.
    error : bool
        Whether an error is right, because the arguments are not a valid convolution.
    shape : tuple of int
    values : tuple of int
        The elements in order. For a larger result, it is empty, and these are given instead:
    constant : int or None
        The value of every element.
    sum : int or None
        The sum of the elements.
    at : tuple
        Some elements: pairs of an index and a value.
    """

    how: str
    error: bool = False
    shape: Shape = ()
    values: tuple[int, ...] = ()
    constant: int | None = None
    sum: int | None = None
    at: tuple[tuple[tuple[int, ...], int], ...] = ()

    def differs_from(self, array: Host) -> str | None:
        """Return how an array differs from this result; None if it agrees.

        Examples
        --------
        >>> Right("2 and 3 by hand", shape=(2,), values=(2, 3)).differs_from(np.array([2, 4]))
        'the values are [2, 3], not [2, 4]'
        """
        if array.shape != self.shape:
            return f"the shape is {self.shape}, not {array.shape}"
        flat = [int(value) for value in array.ravel()]
        if self.values and list(self.values) != flat:
            return f"the values are {list(self.values)}, not {flat}"
        if self.constant is not None and set(flat) - {self.constant}:
            return f"each value is {self.constant}, not one of {sorted(set(flat))[:9]}"
        if self.sum is not None and sum(flat) != self.sum:
            return f"the sum is {self.sum}, not {sum(flat)}"
        for index, value in self.at:
            if array[index] != value:
                return f"element {list(index)} is {value}, not {int(array[index])}"
        return None


@dataclass(frozen=True)
class Reported:
    """The wrong outcome that was reported.

    Attributes
    ----------
    kind : str
        ``"values"``: wrong values of the right shape. ``"shape"``: a wrong shape. ``"error"``: an exception.
        ``"crash"``: the end of the process. ``"no error"``: a result, where an error is right.
    values, shape : tuple of int
        The reported values or shape. If they are empty, all wrong values or shapes count as reported.
    """

    kind: str
    values: tuple[float, ...] = ()
    shape: Shape = ()


@dataclass(frozen=True)
class Handling:
    """How multiconv handles the problem.

    Attributes
    ----------
    does : str
        ``"is right"``: the oracle confirms its answer. ``"refuses"``: it raises a `ConvError`. ``"never meets it"``:
        its interface has no such feature.
    how : str
        Explanation, in words.
    refusal : str
        Part of the message of the `ConvError`.
    """

    does: str
    how: str = ""
    refusal: str = ""

    def describe(self) -> str:
        """Describe it in one sentence.

        Examples
        --------
        >>> Handling("refuses", refusal="w has no channels").describe()
        'multiconv refuses it: "w has no channels".'
        """
        does = "refuses it" if self.does == "refuses" else self.does
        how = f'"{self.refusal}"' if self.refusal else self.how
        return f"multiconv {does}{': ' * bool(how)}{how}."


@dataclass(frozen=True)
class Fault:
    """A fault of a convolution in a public bug report.

    Attributes
    ----------
    id, source, date, title, link : str
        The source is ``"project#number"``, and the date that of the report.
    versions, device : str
        The versions and the devices for which it was reported.
    seen : str
        The reported outcome, in words.
    x, w : Operand
    right : Right
    reported : Reported
    multiconv : Handling
    framework, version : str
        The framework whose API the script uses, and its version for which `here` was recorded. Empty if multiconv has
        no backend for the project; the problem is then only run through multiconv.
    script : str
        Code in the framework's API. It computes ``answer`` from the arrays ``x``, ``w`` and ``dy``.
    here : str
        The verdict on the script with that version, one of `VERDICTS`.
    direction : str
        One of `multiconv.oracle.problem.DIRECTIONS`.
    dy : Operand or None
        The cotangent, or the input of a transposed convolution. By default all ones.
    dtype : str
    bias : bool
        Whether there is a bias, of zeros.
    options : dict
        Stride, padding and other options.
    """

    id: str
    source: str
    date: str
    title: str
    link: str
    versions: str
    device: str
    seen: str
    x: Operand
    w: Operand
    right: Right
    reported: Reported
    multiconv: Handling
    framework: str = ""
    version: str = ""
    script: str = ""
    here: str = ""
    direction: str = "forward"
    dy: Operand | None = None
    dtype: str = "float32"
    bias: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def problem(self) -> Problem:
        """Return the problem. Raise a `ConvError` if an error is right."""
        spec = ConvSpec(**self.options)
        g = spec.resolve(self.x.shape, self.w.shape)
        dy = (self.dy or Operand(g.y_shape)).array(self.dtype)
        bias = np.zeros(g.out_channels, dtype_named(self.dtype)) if self.bias else None
        return given_values(self.id, spec, self.x.array(self.dtype), self.w.array(self.dtype), dy, bias)

    @cached_property
    def value(self) -> Host | None:
        """Return the right result by the exact oracle, as float64; None if an error is right."""
        if self.right.error:
            return None
        value = self.problem.expectations([self.direction])[self.direction].value
        return np.asarray(value).astype("float64")

    @property
    def whole_script(self) -> str:
        """Return the script with the arrays that it needs. Its last line of output is its answer as JSON."""
        used = [n for n in ("x", "w", "dy") if getattr(self, n) is not None]
        arrays = [f"{name} = {getattr(self, name).code(self.dtype)}" for name in used]
        lines = self.script.strip().splitlines()
        imports = list(takewhile(lambda line: line.startswith(("import ", "from ")), lines))
        rest = "\n".join(lines[len(imports) :]).strip()
        blank = [""] * (2 if rest.startswith(("def ", "@")) else 1)
        head = ["import json", "", "import numpy as np", *imports, ""]
        return "\n".join([*head, *arrays, *blank, rest, EPILOGUE])
