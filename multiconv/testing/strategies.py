"""Hypothesis strategies for the options and shapes of a convolution, and for problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from multiconv.core.option_values import PADDING_WORDS
from multiconv.core.spec import LAYOUTS, ConvSpec
from multiconv.core.types import Shape
from multiconv.oracle.problem import Problem
from multiconv.oracle.values import VALUES
from multiconv.testing.levels import NOTHING, Signature
from multiconv.testing.problem_values import with_values
from multiconv.testing.situations import SITUATIONS


@st.composite
def specs(
    draw: st.DrawFn, situation: str = "anything", fixed: Mapping[str, Any] = NOTHING
) -> tuple[ConvSpec, Shape, Shape]:
    """Draw a convolution's options, and the shapes of an input and a kernel that match them.

    Parameters
    ----------
    situation : str
        A key of `multiconv.testing.SITUATIONS`.
    fixed : mapping
        Options that are not drawn: any of ``"stride"``, ``"padding"``, ``"dilation"``, ``"groups"`` and ``"layout"`` as
        `multiconv.ConvSpec` takes them; ``"kernel"``, one int or one per axis; and ``"ndim"``, the number of axes.

    Examples
    --------
    >>> spec, x_shape, w_shape = specs("depthwise").example()  # doctest: +SKIP
    """
    special = SITUATIONS[situation]

    def option(name: str, default: st.SearchStrategy[Any]) -> Any:
        return fixed[name] if name in fixed else draw(special.get(name, default))

    def along_axes(name: str, default: st.SearchStrategy[Any]) -> Any:
        if name in fixed:
            return fixed[name] if isinstance(fixed[name], tuple) else (fixed[name],) * ndim
        each = special.get(name, default)
        return draw(st.tuples(*(each if isinstance(each, tuple) else [each] * ndim)))

    ndim = option("ndim", st.sampled_from([2, 2, 1, 3]))
    kernel = along_axes("kernel", st.integers(1, 4 if ndim < 3 else 3))
    stride = along_axes("stride", draw(st.sampled_from([st.just(1), st.integers(1, 4 if ndim < 3 else 3)])))
    dilation = along_axes("dilation", draw(st.sampled_from([st.just(1), st.integers(1, 3)])))
    pairs = "pads" in special and "padding" not in fixed
    padding = along_axes("pads", st.nothing()) if pairs else option("padding", _paddings(ndim))
    groups = option("groups", st.sampled_from([1, 1, 2, 3]))
    in_channels = groups * option("in_group", st.integers(1, 3))
    out_channels = groups * option("out_group", st.integers(1, 3))
    batch = option("batch", st.sampled_from([1, 2, 3, 1, 2, 17]))
    layouts = [layout for layout, (axes, _) in LAYOUTS.items() if axes == ndim]
    channels_last = [layout for layout in layouts if ConvSpec(layout=layout).channels_last]
    layout = fixed.get("layout", draw(st.sampled_from(channels_last if "layout" in special else [None, *layouts])))
    spec = ConvSpec(stride, padding, dilation, groups, layout)
    w_shape = (out_channels, in_channels // groups, *kernel)
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    pads = spec.fixed_pads(kernel)
    smallest = [1 if pads is None else max(1, e - sum(pads[axis])) for axis, e in enumerate(extents)]
    size = tuple(n + extra for n, extra in zip(smallest, along_axes("extra", st.integers(0, 8 if ndim < 3 else 4))))
    x_shape = (batch, *size, in_channels) if spec.channels_last else (batch, in_channels, *size)
    return spec, x_shape, w_shape


def _paddings(ndim: int) -> st.SearchStrategy[Any]:
    side = st.integers(0, 3)
    pairs = st.tuples(*[st.tuples(side, side)] * ndim)
    return st.one_of(st.sampled_from(PADDING_WORDS), pairs, side, st.tuples(*[side] * ndim))


def problems(
    signatures: Sequence[Signature], source: str = "drawn", values: Sequence[str] = VALUES
) -> st.SearchStrategy[Problem]:
    """Return a strategy for problems from a pool of signatures, with values of any of the given kinds.

    A signature has the options, the shapes of x and w, the dtype, and whether there is a bias.

    Examples
    --------
    >>> pool = [(ConvSpec(), (1, 1, 3), (1, 1, 2), "float32", True)]
    >>> problems(pool).example().w.shape  # doctest: +SKIP
    (1, 1, 2)
    """

    def build(signature: Signature, kind: str, seed: int) -> Problem:
        spec, x_shape, w_shape, dtype, bias = signature
        g = spec.resolve(x_shape, w_shape)
        return with_values(source, spec, g, dtype, bias=bias, values=kind, seed=seed)

    kinds = ["integers"] * 3 + list(values) if "integers" in values else list(values)
    return st.builds(build, st.sampled_from(signatures), st.sampled_from(kinds), st.integers(0, 2**32 - 1))
