"""What a mistake alters: one direction of one problem, and the answer to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from multiconv.core.geometry import Geometry
from multiconv.core.types import Host, Shape
from multiconv.oracle.exact import by_definition
from multiconv.oracle.problem import Problem

FORWARD = ("forward", "layer", "convolve")
OF_INPUT = (*FORWARD, "kernel gradient")
"""The directions that read windows of the input."""
OF_OUTPUT = (*FORWARD, "conv_transpose", "input gradient")
"""The directions whose answer is a batch of images."""
OF_WINDOWS = (*OF_INPUT, "conv_transpose", "input gradient")
"""The directions in which the kernel's windows matter: all but the bias gradient."""
ALL = (*OF_WINDOWS, "bias gradient")


@dataclass(frozen=True, eq=False)
class Question:
    """One direction of a problem, channels first.

    Attributes
    ----------
    direction : str
        One of `multiconv.oracle.problem.DIRECTIONS`.
    g : Geometry
        The geometry of the cross-correlation; for ``"conv_transpose"`` that of which it is the adjoint.
    x, w, bias, dy : array or None
        In the oracle's wide format. The input of the transposed convolution is `dy`.
    dtype : str
        The dtype that the problem is computed in.
    shape : tuple of int or None
        The shape of the answer to explain. Where an option changes the size of the result, and the answer has the right
        size all the same, its windows reach past the padding into zeros, or are cut.
    """

    direction: str
    g: Geometry
    x: Any
    w: Any
    bias: Any
    dy: Any
    dtype: str = "float32"
    shape: Shape | None = None

    def but(self, **changes: Any) -> Question:
        """Return the same question with other arrays or options."""
        return replace(self, **changes)

    def right(self) -> Host:
        """Compute the right answer."""
        return by_definition(self.direction, self.x, self.w, self.bias, self.dy, self.g)

    @property
    def data(self) -> str:
        """Return the name of the array of images that comes in."""
        return "dy" if self.direction in ("conv_transpose", "input gradient", "bias gradient") else "x"

    def windowed(self, **changes: Any) -> Question | None:
        """Return the question with other options, and a result as large as they make it.

        If the answer has another size than that, and the right one, the options are changed and the size is kept.
        Returns None if there is no such convolution.
        """
        g = replace(self.g, **changes)
        if self.direction not in OF_OUTPUT or self.direction == "input gradient":
            return self.but(g=g)
        resized = self._resized(g)
        result = None if resized is None else self.but(g=resized)
        if self.shape == self.answer_shape and (result is None or result.answer_shape != self.shape):
            return self.but(g=g)
        return result

    def strip(self, first: int, count: int) -> Question:
        """Return the question for these rows of the answer only, along its first spatial axis.

        It is for directions whose answer is a batch of images. The input keeps its size.
        """
        g = self.g
        (before, after), *others = g.pads
        if self.direction in ("conv_transpose", "input gradient"):
            cut = replace(g, size=(count, *g.size[1:]), pads=((before + first, after), *others))
        else:
            cut = replace(g, out=(count, *g.out[1:]), pads=((before - first * g.stride[0], after), *others))
        return self.but(g=cut)

    @property
    def answer_shape(self) -> Shape:
        """Return the shape of the right answer, if that is a batch of images."""
        transposed = self.direction in ("conv_transpose", "input gradient")
        g = self.g
        return (g.batch, g.in_channels, *g.size) if transposed else (g.batch, g.out_channels, *g.out)

    def _resized(self, g: Geometry) -> Geometry | None:
        """Return the geometry with the size of result that its options give."""
        if self.direction == "conv_transpose":
            size = tuple(
                (o - 1) * s + e - before - after + more
                for o, s, e, (before, after), more in zip(g.out, g.stride, g.extent, g.pads, self.g.output_padding)
            )
            return replace(g, size=size) if min(size) > 0 else None
        out = tuple((n - e) // s + 1 for n, e, s in zip(g.padded, g.extent, g.stride))
        return replace(g, out=out) if min(out) > 0 else None


def question(problem: Problem, direction: str, shape: Shape | None = None) -> Question:
    """Return one direction of a problem as a question.

    Parameters
    ----------
    problem : Problem
    direction : str
    shape : tuple of int, optional
        The shape of the answer to explain, channels first.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> from multiconv.testing.problem_values import given_values
    >>> asked = given_values("mine", ConvSpec(), np.array([[[1.0, 2.0, 3.0]]]), np.array([[[1.0, 10.0]]]))
    >>> question(asked, "convolve").right()
    array([[[12., 23.]]])
    """
    transposed = direction == "conv_transpose"
    g = problem.transposed if transposed else problem.geometry
    last = problem.spec.channels_last
    wide: dict[str, Any] = {}
    for name in ("x", "w", "dy", "bias", "x_bias"):
        array = getattr(problem, name)
        if array is not None:
            exact = problem.integers or array.dtype != np.float64
            array = array.astype(np.float64 if exact else np.longdouble)
            array = np.moveaxis(array, -1, 1) if last and name in ("x", "dy") else array
        wide[name] = array
    bias = wide["x_bias" if transposed else "bias"]
    if direction.endswith("gradient"):
        bias = None
    g = g.with_layout(channels_last=False)
    return Question(direction, g, wide["x"], wide["w"], bias, wide["dy"], problem.dtype, shape)


Alter = Callable[[Question], "Question | None"]
Finish = Callable[[Question, Host], "Host | None"]


def as_it_is(q: Question) -> Question:
    """Return the question unchanged."""
    return q


def finished(q: Question, y: Host) -> Host:
    """Return the answer unchanged."""
    return y


@dataclass(frozen=True, eq=False)
class Mistake:
    """A mistake that a person or a library makes, and the answer that it gives.

    Attributes
    ----------
    id : str
    says : str
        What is done, as a sentence without a full stop.
    fix : str
        What to do instead, as a sentence.
    directions : tuple of str
    alter : callable
        Returns the question that is answered instead, or None where the mistake can't be made.
    finish : callable
        Returns the answer that is given instead, from the *original* question and the answer to the altered one.
    code : mapping
        The fix in the code of a framework, by its name.
    values : str
        ``"integers"`` if small integers show the mistake, ``"digits"`` if numbers of many digits do.
    within_image : bool
        Whether each image's answer depends on that image only.
    """

    id: str
    says: str
    fix: str
    directions: tuple[str, ...]
    alter: Alter = as_it_is
    finish: Finish = finished
    code: Mapping[str, str] = field(default_factory=dict)
    values: str = "integers"
    within_image: bool = True

    def answer(self, q: Question) -> Host | None:
        """Return the answer that the mistake gives, or None where it can't be made.

        Examples
        --------
        >>> from multiconv import ConvSpec
        >>> from multiconv.oracle.mistakes import MISTAKES
        >>> from multiconv.testing.problem_values import given_values
        >>> asked = given_values("mine", ConvSpec(), np.array([[[1.0, 2.0, 3.0]]]), np.array([[[1.0, 10.0]]]))
        >>> MISTAKES["kernel-flipped"].answer(question(asked, "forward"))
        array([[[12., 23.]]])
        """
        return answer_of((self,), q)

    def sentence(self, q: Question) -> str:
        """Return what is done, with the options that it changes."""
        altered = self.alter(q)
        if altered is None or altered.direction != q.direction or altered.x is not q.x or altered.dy is not q.dy:
            return self.says
        options = (("padding", "pads"), ("stride", "stride"), ("dilation", "dilation"))
        changed = [
            f"{name} {getattr(altered.g, option)} instead of {getattr(q.g, option)}"
            for name, option in options
            if getattr(altered.g, option) != getattr(q.g, option)
        ]
        return f"{self.says} ({', '.join(changed)})" if changed else self.says

    def code_for(self, q: Question) -> dict[str, str]:
        """Return the fix in code, with the right options of a question.

        Examples
        --------
        >>> from multiconv import ConvSpec
        >>> from multiconv.oracle.mistakes import MISTAKES
        >>> from multiconv.testing.problem_values import given_values
        >>> asked = given_values("mine", ConvSpec(padding=((0, 1),)), np.ones((1, 1, 3)), np.ones((1, 1, 2)))
        >>> MISTAKES["pads-swapped"].code_for(question(asked, "forward"))["torch"]
        'x = F.pad(x, (0, 1)), then padding=0  # last axis first'
        """
        g = q.g
        values = {
            "pads": list(g.pads), "pads_in_list": str(list(g.pads))[1:-1],
            "torch_pads": tuple(n for pair in g.pads[::-1] for n in pair),
            "padding": tuple(before for before, _ in g.pads),
            "stride": g.stride, "dilation": g.dilation, "output_padding": g.output_padding,
        }  # fmt: skip
        return {framework: line.format(**values) for framework, line in self.code.items()}


def answer_of(mistakes: tuple[Mistake, ...], q: Question, right: Host | None = None) -> Host | None:
    """Return the answer that several mistakes give together, or None if none of them can be made.

    One that can't be made, such as swapped pads where they are equal, changes nothing.

    Parameters
    ----------
    mistakes : tuple of Mistake
    q : Question
    right : array, optional
        The right answer, if it has been computed before.
    """
    altered, made = q, []
    for mistake in mistakes:
        after = mistake.alter(altered)
        if after is not None:
            altered = after
            made.append(mistake)
    if not made:
        return None
    y = right if right is not None and altered is q else altered.right()
    changed = altered is not q
    for mistake in made:
        after_it = mistake.finish(q, y)
        if after_it is not None:
            y, changed = after_it, True
        elif mistake.alter is not as_it_is:
            return None
    return y if changed else None
