"""A convolution with its numbers, what it should come to, and whether a backend's answer is that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from multiconv import bounds, oracle
from multiconv.backend import Backend
from multiconv.spec import ConvSpec, Geometry

Host = npt.NDArray[Any]

OPERANDS = {
    "input gradient": ("dy", "w"),
    "conv_transpose": ("dy", "w"),
    "kernel gradient": ("x", "dy"),
    "bias gradient": ("dy", "dy"),
}
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
    alarm_ratio : float
        The error, in units of the bound, up to which none is a sign of lost precision.
    alarm : callable or None
        The error, element by element, above which precision was lost though the bound holds.
    """

    value: Host
    bound: Host
    dtype: str
    alarm_ratio: float = np.inf
    alarm: Callable[[], Host] | None = None


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
    imprecise : bool
        Whether it is right, but by far not as precise as its dtype allows: as if its operands had been rounded to TF32.
    """

    ratio: float
    fault: str | None = None
    index: tuple[int, ...] | None = None
    imprecise: bool = False


@dataclass(frozen=True, eq=False)
class Problem:
    """Arrays and options for every direction of one convolution.

    Attributes
    ----------
    source : str
        Where the problem comes from, such as ``"resnet50 conv3_1"``.
    spec : ConvSpec
    x, w, dy : array
        Input, kernel and cotangent; `dy` is also what is transposed-convolved.
    bias, x_bias : array or None
        For the C_out channels of the result, and for the C_in channels of the transposed convolution's; both or none.
    values : str
        What `multiconv.drawing.with_values` calls their kind, or ``"given"``.
    seed : int or None
        From what `with_values` drew the values; None if they were given.
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
    geometry: Geometry = field(init=False)
    transposed: Geometry = field(init=False)

    def __post_init__(self) -> None:
        g = self.spec.resolve(self.x.shape, self.w.shape)
        object.__setattr__(self, "geometry", g)
        object.__setattr__(self, "transposed", self.spec.resolve_transpose(g.y_shape, g.w_shape, self.output_padding))

    @property
    def output_padding(self) -> tuple[int, ...]:
        """What makes the transposed convolution's result as large as `x`, where the padding leaves a choice."""
        g = self.spec.resolve(self.x.shape, self.w.shape)
        return (0,) * g.ndim if "same" in str(self.spec.padding) else g.output_padding

    @property
    def integers(self) -> bool:
        """Whether all values are small integers. What sums of them the dtype holds must be exact to the bit."""
        return self.values == "integers"

    @property
    def dtype(self) -> str:
        """The dtype of every array."""
        return self.x.dtype.name

    @property
    def options(self) -> dict[str, Any]:
        """The options as keyword arguments of a backend's methods."""
        s = self.spec
        return {
            "stride": s.stride,
            "padding": s.padding,
            "dilation": s.dilation,
            "groups": s.groups,
            "layout": s.layout,
        }

    def describe(self) -> dict[str, Any]:
        """The problem in words for JSON, without its values.

        Examples
        --------
        >>> from multiconv.drawing import given_values
        >>> given_values("mine", ConvSpec(stride=2), np.ones((1, 1, 3)), np.ones((1, 1, 2))).describe()["x"]
        [1, 1, 3]
        """
        return {
            "source": self.source,
            "dtype": self.dtype,
            "values": self.values,
            "x": list(self.x.shape),
            "w": list(self.w.shape),
            "bias": self.bias is not None,
            **self.options,
        }

    def answers(self, backend: Backend, *directions: str) -> Iterator[tuple[str, Any]]:
        """What a backend makes of it: each direction, or one, and its answer or the exception that came instead.

        A layer is the framework's own, called without the core around it, and so not asked about a batch of zero, of
        which some frameworks get the shape wrong.

        Examples
        --------
        >>> from multiconv import backend
        >>> from multiconv.drawing import given_values
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

    def expectations(self, directions: Collection[str] = DIRECTIONS) -> dict[str, Expected]:
        """What each direction should come to.

        Parameters
        ----------
        directions : collection of str

        Examples
        --------
        >>> from multiconv.drawing import given_values
        >>> problem = given_values("mine", ConvSpec(), np.array([[[1.0, 2.0, 3.0]]]), np.array([[[1.0, 10.0]]]))
        >>> problem.expectations()["forward"].value
        array([[[21., 32.]]])
        """
        wide = {name: self._wide(getattr(self, name)) for name in ("x", "w", "dy", "bias", "x_bias")}
        sizes = {name: None if a is None else np.abs(a) for name, a in wide.items()}
        normal = self._without_subnormals(sizes)
        expected: dict[str, Expected] = {}
        for direction in directions:
            if direction == "bias gradient" and self.bias is None:
                continue
            if direction == "layer" and "forward" in expected:
                expected[direction] = expected["forward"]
                continue
            with np.errstate(invalid="ignore"):  # of numbers that are not finite
                value, terms = self._sum(direction, **wide), self._terms(direction)
                value = self._laid_out(direction, value)
                if self._is_exact(direction, terms, sizes):
                    expected[direction] = Expected(value, np.zeros(()), self.dtype)
                    continue
                magnitude = self._laid_out(direction, self._sum(direction, **sizes))
                flushed = (
                    0.0 if normal is sizes else magnitude - self._laid_out(direction, self._sum(direction, **normal))
                )
                bound = bounds.componentwise(magnitude, terms, self.dtype, flushed=flushed)
            alarm = partial(bounds.alarm, magnitude, terms, self.dtype, flushed=flushed)
            expected[direction] = Expected(value, bound, self.dtype, bounds.alarm_ratio(terms, self.dtype), alarm)
        return expected

    def _without_subnormals(self, sizes: dict[str, Any]) -> dict[str, Any]:
        """The same where there are none."""
        tiny = float(bounds.finfo(self.dtype).tiny)
        if self.integers or not any(a is not None and np.any((a > 0) & (a < tiny)) for a in sizes.values()):
            return sizes
        return {name: None if a is None else np.where(a < tiny, 0, a) for name, a in sizes.items()}

    def _sum(self, direction: str, x: Any, w: Any, dy: Any, bias: Any, x_bias: Any) -> Host:
        """The oracle's answer, channels first."""
        g = self.geometry
        if direction == "input gradient":
            return oracle.input_gradient(dy, w, g)
        if direction == "kernel gradient":
            return oracle.kernel_gradient(x, dy, g)
        if direction == "bias gradient":
            return oracle.bias_gradient(dy)
        if direction == "conv_transpose":
            return oracle.conv_transpose(dy, w, x_bias, self.transposed)
        return (oracle.convolve if direction == "convolve" else oracle.cross_correlate)(x, w, bias, g)

    def _terms(self, direction: str) -> int:
        g = self.transposed if direction == "conv_transpose" else self.geometry
        return oracle.contraction(direction, g, bias=self.bias is not None and not direction.endswith("gradient"))

    def _is_exact(self, direction: str, terms: int, sizes: dict[str, Any]) -> bool:
        """Whether every partial sum is an integer that the dtype holds, in any order of summation."""
        if not self.integers:
            return False
        largest = {name: 1.0 if a is None else float(a.max(initial=1)) for name, a in sizes.items()}
        left, right = OPERANDS.get(direction, ("x", "w"))
        bias = largest["x_bias" if direction == "conv_transpose" else "bias"]
        return (terms * largest[left] * largest[right] + bias) * bounds.unit_roundoff(self.dtype) <= 1

    def _wide(self, array: Host | None) -> Any:
        """In the oracle's format and channels first."""
        if array is None:
            return None
        wide = array.astype(np.float64) if self.integers else oracle.widen(array)  # the faster, and exact
        return np.moveaxis(wide, -1, 1) if self.spec.channels_last and array.ndim > 1 and array is not self.w else wide

    def _laid_out(self, direction: str, array: Host) -> Host:
        """From channels first to the problem's layout."""
        data = direction not in ("kernel gradient", "bias gradient")
        return np.moveaxis(array, 1, -1) if self.spec.channels_last and data else array


def judge(answer: Host, expected: Expected) -> Judgement:
    """Compare shape and dtype, then values.

    Parameters
    ----------
    answer : array
    expected : Expected

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
        return Judgement(np.inf, f"its shape is {answer.shape}, but {right.shape} is right")
    if answer.dtype.name != expected.dtype:
        return Judgement(np.inf, f"its dtype is {answer.dtype.name}, but {expected.dtype} is right")
    if not answer.size:
        return Judgement(0.0)
    ratios = bounds.ratios(answer, right, expected.bound)
    index = tuple(int(i) for i in np.unravel_index(np.argmax(ratios), ratios.shape))
    ratio = float(ratios[index])
    if ratio <= 1:
        if ratio <= expected.alarm_ratio or expected.alarm is None:
            return Judgement(ratio)
        return Judgement(ratio, imprecise=bool(np.any(bounds.ratios(answer, right, expected.alarm()) > 1)))
    bound = float(np.broadcast_to(expected.bound, right.shape)[index])
    allowed = f"an error of {bound:.3g} is allowed" if bound else "it must be exact"
    return Judgement(
        ratio, f"element {list(index)} is {answer[index]!s}, but {right[index]!s} is right, and {allowed}", index
    )
