"""What a mutant is, the catalogue, and parts that several mutants share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from multiconv.backends.numpy import NumpyBackend

from multiconv import oracle
from multiconv.check.cases import Case
from multiconv.core.geometry import Geometry
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Padding
from multiconv.oracle.judgement import Expected, judge
from multiconv.oracle.problem import Problem, judged

Host = npt.NDArray[Any]

FORWARD = ("forward", "convolve", "layer")
OF_INPUT = (*FORWARD, "kernel gradient")
"""Where the input's windows are read."""
OF_WINDOWS = (*OF_INPUT, "input gradient", "conv_transpose")
"""Everywhere but in the bias's gradient."""


@dataclass(frozen=True, eq=False)
class Call:
    """What a backend is asked for in one direction, channels first.

    `x` is what goes in, in the transposed convolution too; `padding` is as the caller gave it. The arrays are views of
    the caller's, never copies. `memory` is the mutant's, and outlives the call.
    """

    direction: str
    g: Geometry
    padding: Padding
    channels_last: bool
    x: Host | None
    w: Host
    bias: Host | None
    dy: Host | None = None
    memory: dict[Any, Any] = field(default_factory=dict)

    def but(self, **arrays: Host | None) -> Call:
        """The same call with other arrays."""
        return replace(self, **arrays)

    def read_as(self, **options: Any) -> Call:
        """The same call with other options, and as many outputs; a window may reach past the padding, into zeros."""
        return replace(self, g=replace(self.g, **options))

    def resized(self, **options: Any) -> Call:
        """The same call with other options, and as many outputs as fit; as it is if none does."""
        g = replace(self.g, **options)
        out = tuple((n - e) // s + 1 for n, e, s in zip(g.padded, g.extent, g.stride))
        return replace(self, g=replace(g, out=out)) if min(out) > 0 else self

    def padded(self, **how: Any) -> Call:
        """The same call with an input that holds its padding, made by `numpy.pad`."""
        x = np.pad(self.x, ((0, 0), (0, 0), *self.g.pads), **how)
        return replace(self, x=x, g=self.g.without_padding())

    def shifted(self, pixels: tuple[int, ...]) -> Call:
        """The same call with windows that start so many pixels later along each axis."""
        return self.read_as(pads=tuple((before - n, after) for (before, after), n in zip(self.g.pads, pixels)))


def right(call: Call) -> Host:
    """The right answer, by the definition, in the format of the arrays."""
    arrays = {name: getattr(call, name) for name in ("x", "w", "bias", "dy")}
    if any(a is not None and a.dtype == ml_dtypes.bfloat16 for a in arrays.values()):  # NumPy has no sums in it
        wide = {name: None if a is None else a.astype(np.float32) for name, a in arrays.items()}
        return right(call.but(**wide)).astype(ml_dtypes.bfloat16)
    if call.direction == "convolve":
        return oracle.convolve(call.x, call.w, call.bias, call.g)
    if call.direction == "conv_transpose":
        return oracle.conv_transpose(call.x, call.w, call.bias, call.g)
    if call.direction == "input gradient":
        return oracle.input_gradient(call.dy, call.w, call.g)
    if call.direction == "kernel gradient":
        return oracle.kernel_gradient(call.x, call.dy, call.g)
    if call.direction == "bias gradient":
        return oracle.bias_gradient(call.dy)
    return oracle.cross_correlate(call.x, call.w, call.bias, call.g)


Wrong = Callable[[Call], Host | None]


class Mutant(NumpyBackend):
    """NumPy's backend, wrong in one way.

    Attributes
    ----------
    name : str
    says : str
        What is wrong with it.
    directions : tuple of str
        Where it is wrong, as `multiconv.oracle.problem.DIRECTIONS` has them.
    memory : dict
        What it remembers from one call to the next. Most mutants remember nothing.
    """

    def __init__(self, name: str, says: str, directions: tuple[str, ...], wrong: Wrong) -> None:
        super().__init__()
        self.name, self.says, self.directions, self.wrong = name, says, directions, wrong
        self.memory: dict[Any, Any] = {}

    def reset(self) -> None:
        """Forget all earlier calls. Call it before each series of problems, so that each gives the same answers."""
        self.memory.clear()

    def cross_correlate(self, x: Host, w: Host, bias: Host | None = None, **options: Any) -> Host:
        return self._answer("forward", ConvSpec(**options), x, w, bias)

    def convolve(self, x: Host, w: Host, bias: Host | None = None, **options: Any) -> Host:
        return self._answer("convolve", ConvSpec(**options), x, w, bias)

    def conv_transpose(
        self, x: Host, w: Host, bias: Host | None = None, *, output_padding: Any = 0, **options: Any
    ) -> Host:
        spec = ConvSpec(**options)
        g = spec.resolve_transpose(x.shape, w.shape, output_padding)
        return self._answer("conv_transpose", spec, x, w, bias, g=g)

    def cross_correlate_vjp(self, x: Host, w: Host, bias: Host | None, dy: Host, **options: Any) -> Any:
        spec = ConvSpec(**options)
        dx, dw = (self._answer(f"{of} gradient", spec, x, w, bias, dy) for of in ("input", "kernel"))
        return dx, dw, None if bias is None else self._answer("bias gradient", spec, x, w, bias, dy)

    def layer(self, w: Host, bias: Host | None = None, **options: Any) -> Callable[[Host], Host]:
        return lambda x: self._answer("layer", ConvSpec(**options), x, w, bias)

    def _answer(
        self,
        direction: str,
        spec: ConvSpec,
        x: Host,
        w: Host,
        bias: Host | None,
        dy: Host | None = None,
        g: Geometry | None = None,
    ) -> Host:
        g = (g or spec.resolve(x.shape, w.shape)).with_layout(channels_last=False).within_reach()
        if spec.channels_last:
            x, dy = np.moveaxis(x, -1, 1), None if dy is None else np.moveaxis(dy, -1, 1)
        call = Call(direction, g, spec.padding, spec.channels_last, x, w, bias, dy, self.memory)
        answer = self.wrong(call) if direction in self.directions else right(call)
        an_image = direction not in ("kernel gradient", "bias gradient")
        return np.moveaxis(answer, 1, -1) if spec.channels_last and an_image else answer


MUTANTS: list[Mutant] = []


def mutant(says: str, *directions: str) -> Callable[[Wrong], Wrong]:
    """Enter a function into the catalogue under its own name."""

    def enter(wrong: Wrong) -> Wrong:
        MUTANTS.append(Mutant(wrong.__name__.replace("_", " "), says, directions, wrong))
        return wrong

    return enter


def wrong_directions(
    backend: NumpyBackend, case: Case, expected: dict[str, Expected], *, again: bool = True
) -> Iterator[str]:
    """The directions in which a backend's answers to a case are not what they should be.

    With `again`, the forward direction is asked more than once, as the check does.
    """
    if isinstance(case, Problem):
        answers = judged(case, backend, expected, again=again)
        yield from (direction for direction, _, judgement in answers if judgement.fault is not None)
        return
    for direction, answer in case.answers(backend):
        if isinstance(answer, Exception) or judge(answer, expected[direction]).fault is not None:
            yield direction


def as_function(mutant: Mutant) -> Callable[..., Host]:
    """Return the mutant's cross-correlation as a plain function, as `multiconv.testing.candidate.Candidate` takes one.

    The function is called as ``f(x, w, bias, *, stride, padding, dilation, groups)``, channels first. Only a mutant
    that is wrong in the direction ``"forward"`` gives a wrong function.
    """

    def cross_correlate(x: Host, w: Host, bias: Host | None = None, **options: Any) -> Host:
        return mutant.cross_correlate(x, w, bias, **options)

    cross_correlate.__name__ = cross_correlate.__qualname__ = mutant.name.replace(" ", "_")
    return cross_correlate


# ---- Parts of wrong answers


def with_kernel(call: Call, order: Callable[[Host], Host]) -> Host:
    """The answer with the kernel in another order, or with other weights, which must be its own adjoint."""
    return order(right(call)) if call.direction == "kernel gradient" else right(call.but(w=order(call.w)))


def first_channels(w: Host, count: int) -> Host:
    """The kernel with zeros for the input channels after these."""
    return np.concatenate([w[:, :count], np.zeros_like(w[:, count:])], axis=1)


def dealt(array: Host, into: int) -> Host:
    """The channels as cards are dealt: 0 1 2 3 4 5 into two are 0 2 4 1 3 5."""
    return np.concatenate([array[:, first::into] for first in range(into)], axis=1)


def biased(y: Host, bias: Host | None) -> Host:
    """The result with a bias for each channel."""
    return y if bias is None else y + bias.reshape(-1, *[1] * (y.ndim - 2))


def without_last_column(call: Call, *, when: bool) -> Host:
    """The answer, with zeros in the last column where a condition holds."""
    y = right(call)
    if when:
        y[..., -1] = 0
    return y


def tf32(array: Host) -> Host:
    """Float32 rounded to the ten bits of mantissa that tensor cores take."""
    bits = np.ascontiguousarray(array).view(np.uint32)
    return ((bits + 0xFFF + (bits >> 13 & 1)) & 0xFFFFE000).view(np.float32)
