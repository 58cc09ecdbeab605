"""A disagreement as a script for the framework's maintainers, in the framework's own API and without multiconv.

The text of a script comes from templates. ``data/script.py.jinja`` has the parts common to all scripts, and
``data/script_terms.jinja`` has the definitions. One template per framework writes the backend's calls in the
framework's API. This module computes the values that fill the templates.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multiconv import oracle
from multiconv.check.script_arrays import array_source
from multiconv.check.script_text import WIDTH, call, each, join, linear, quoted
from multiconv.core.geometry import Geometry
from multiconv.core.memory import ARRANGEMENTS
from multiconv.core.spec import ConvSpec
from multiconv.core.targets import Target, parse_target
from multiconv.core.types import Pads, Shape
from multiconv.oracle.judgement import Judgement
from multiconv.oracle.problem import Problem
from multiconv.oracle.values import EXTREME

if TYPE_CHECKING:
    from jinja2 import Environment


TITLES = {"torch": "PyTorch", "jax": "JAX", "tensorflow": "TensorFlow", "mxnet": "MXNet"}
LAYERS_NEED = {"jax": "Flax", "tensorflow": "Keras"}
WHAT = {
    "convolve": "convolution, its kernel flipped,",
    "conv_transpose": "transposed convolution",
    "layer": "cross-correlation by a layer",
}
GRADIENTS = {"input gradient": "dx", "kernel gradient": "dw", "bias gradient": "dbias"}
FEW_TERMS = 100_000
SAMPLES = 7


def script(backend: str, problem: Problem, direction: str, judgement: Judgement) -> str:
    """Return a Python script that runs a problem in a framework's own API and compares the answer with the definition.

    The script needs NumPy and the framework. It needs multiconv only if the backend is NumPy's or a third party's, if
    the batch is empty (frameworks are not called with one), or if the dtype is bfloat16 (NumPy lacks it). It exits with
    1 if the answer is wrong and with 0 if it is correct.

    Parameters
    ----------
    backend : str
        As `multiconv.backend` takes it, or a candidate's ``"package.module:function"``.
    problem : Problem
    direction : str
        One of `multiconv.oracle.problem.DIRECTIONS`.
    judgement : Judgement
        The judgement on the backend's answer, with the fault and its index.

    Returns
    -------
    str

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> from multiconv.testing.problem_values import given_values
    >>> problem = given_values("mine", ConvSpec(), np.ones((1, 1, 3)), np.ones((1, 1, 2)))
    >>> text = script("torch", problem, "forward", Judgement(0.0))
    >>> print(text[text.index("def correlate") : text.index("def answer")])
    def correlate(x, w):
        y = F.conv1d(x, w)
        return y
    """
    target = parse_target(backend)
    name = target.backend or target.function
    framework = _template(target, problem)
    g = problem.transposed if direction == "conv_transpose" else problem.geometry
    return (
        _templates()
        .get_template(f"script_{framework}.jinja")
        .render(
            backend=backend,
            **_imported(target),
            arranged=[f"{a} = {ARRANGEMENTS[problem.arrangement].format(a)}" for a in ("x", "w")]
            if problem.arrangement != "contiguous"
            else [],
            direction=direction,
            fault=_in_docstring(judgement.fault),
            g=g,
            **_headings(name, framework, direction, g, problem.dtype),
            **_numbers(problem, direction, g),
            **_checked(problem, direction, g, judgement.index),
            **_expressions(direction, g),
            **_options(framework, direction, problem, g),
        )
    )


def _imported(target: Target) -> dict[str, Any]:
    """Return the candidate's module, the folder to import it from if it is a file, and the function in it."""
    module, _, function = target.function.rpartition(":")
    path = Path(module)
    if path.suffix == ".py":
        return {"module": path.stem, "folder": str(path.parent), "function": function}
    return {"module": module, "folder": "", "function": function}


def _template(target: Target, problem: Problem) -> str:
    """Return the name of the template: ``"candidate"``, the framework's or ``"multiconv"``.

    The multiconv template serves bfloat16 (NumPy lacks it), empty batches (frameworks are not called with one) and
    backends without their own template.
    """
    name = target.backend
    if target.function:
        return "candidate"
    return name if name in TITLES and problem.geometry.batch and problem.dtype != "bfloat16" else "multiconv"


@cache
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("multiconv", "data"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.globals.update(call=call, each=each, join=join, quoted=quoted)
    return templates


# ---- The texts of the script, and the arrays that it needs


def _in_docstring(fault: str | None) -> str | None:
    """Return the first line of a fault, escaped for use between triple quotes."""
    if not fault:
        return None
    line = "".join(c if c.isprintable() else "?" for c in fault.splitlines()[0])
    return textwrap.fill(line.replace("\\", "\\\\").replace('"""', "'''"), WIDTH)


def _headings(name: str, framework: str, direction: str, g: Geometry, dtype: str) -> dict[str, Any]:
    needs = ["NumPy", name.rpartition(":")[0] if framework == "candidate" else TITLES.get(framework, framework)]
    if direction == "layer" and framework in LAYERS_NEED:
        needs.append(LAYERS_NEED[framework])
    return {
        "title": TITLES.get(name, name),
        "what": f"{g.ndim}-D {WHAT.get(direction, 'cross-correlation')}",
        "needs": " and ".join([", ".join(needs[:-1]), needs[-1]]),
        "numpy": np.__version__,
        "dtype": dtype,
    }


def _numbers(problem: Problem, direction: str, g: Geometry) -> dict[str, Any]:
    """Return the arrays that the direction needs, and the names of those that its function takes."""
    primals = ["dy", "w", "x_bias"] if direction == "conv_transpose" else ["x", "w", "bias"]
    if problem.bias is None:
        primals.pop()
    needed = [*primals, "dy"] if direction in GRADIENTS else primals
    return {
        "primals": primals,
        "biased": problem.bias is not None,
        "arrays": [array_source(name, getattr(problem, name), problem.seed) for name in needed],
        "gradient": GRADIENTS.get(direction),
        "gradient_number": list(GRADIENTS).index(direction) if direction in GRADIENTS else None,
    }


# ---- The correct result, and the elements to check


def _checked(problem: Problem, direction: str, g: Geometry, worst: Shape | None) -> dict[str, Any]:
    """Return the shape of the result, the numbers in its bound, and the indices to check; None means all."""
    biased = problem.bias is not None and direction not in GRADIENTS
    n = oracle.contraction(direction, g, bias=biased)
    shapes = {"input gradient": g.x_shape, "kernel gradient": g.w_shape, "bias gradient": (g.out_channels,)}
    shape = g.x_shape if direction == "conv_transpose" else shapes.get(direction, g.y_shape)
    info = np.finfo(problem.dtype)
    return {
        "integers": problem.integers,
        "extreme": problem.values in EXTREME,
        "shape": shape,
        "n": n,
        "u": 1 + info.nmant,
        "tiny": -int(info.minexp),
        "indices": _indices(problem, shape, n, worst),
    }


def _indices(problem: Problem, shape: Shape, n: int, worst: Shape | None) -> list[Shape] | None:
    """Return the indices to check; None means all."""
    if problem.values in EXTREME and worst is not None:  # elsewhere sums may overflow in one order and not in another
        return [worst]
    return None if prod(shape) * n <= FEW_TERMS else _sample(shape, worst)


def _sample(shape: Shape, worst: Shape | None) -> list[Shape]:
    """Return the worst index and a few others, spread over the shape."""
    spread = [prod(shape) * sample // SAMPLES for sample in range(SAMPLES)]
    indices = [tuple(int(i) for i in np.unravel_index(flat, shape)) for flat in spread]
    return list(dict.fromkeys([*([] if worst is None else [worst]), *indices]))


def _expressions(direction: str, g: Geometry) -> dict[str, Any]:
    """Return the parts of the definition: the names of the indices, and the expressions that use them."""
    i, j, p, rest = (_names(letter, g.ndim) for letter in ("i", "j", "p", "rest"))
    c_in, c_out = g.in_channels // g.groups, g.out_channels // g.groups
    axes = range(g.ndim)

    def at(n: str, channel: str, positions: Sequence[str]) -> str:
        return join(n, *positions, channel) if g.channels_last else join(n, channel, *positions)

    def pixel(axis: int) -> str:
        tap = f"({g.kernel[axis] - 1} - {j[axis]})" if direction == "convolve" else j[axis]
        return linear((g.stride[axis], i[axis]), (g.dilation[axis], tap), constant=-g.pads[axis][0])

    def from_first(axis: int) -> str:
        return linear((1, p[axis]), (-g.dilation[axis], j[axis]), constant=g.pads[axis][0])

    whole = [f"{rest[a]} == 0" for a in axes if g.stride[a] > 1]
    return {
        "i": i,
        "j": j,
        "p": p,
        "rest": rest,
        "c_in": c_in,
        "c_out": c_out,
        "at": at,
        "pixel": pixel,
        "from_first": from_first,
        "first_in": linear((c_in, "o" if c_out == 1 else f"o // {c_out}")),
        "first_out": linear((c_out, "c" if c_in == 1 else f"c // {c_in}")),
        "x_channel": "c" if g.groups == 1 else "first + c",
        "y_channel": "o" if g.groups == 1 else "first + o",
        "w_channel": "c" if g.groups == 1 else f"c % {c_in}",
        "inside_x": " and ".join(f"0 <= {p[a]} < {g.size[a]}" for a in axes if any(g.pads[a])),
        "inside_y": " and ".join([*whole, *(f"0 <= {i[a]} < {g.out[a]}" for a in axes)]),
    }


def _names(letter: str, ndim: int) -> list[str]:
    return [letter] if ndim == 1 else [f"{letter}{axis}" for axis in range(ndim)]


# ---- How the framework is called


def _options(framework: str, direction: str, problem: Problem, g: Geometry) -> dict[str, Any]:
    """Return the options of the framework's own call (None for its defaults), and the values for the code around it."""
    own, to_own, from_own = _in_own_layout(framework, direction, g)
    own, widths, cut = _with_own_padding(framework, direction, problem, own)
    ndim, spatial = g.ndim, tuple(range(2, 2 + g.ndim))
    zeros, ones = (0,) * ndim, (1,) * ndim
    return {
        "own": own,
        "ones": ones,
        "spatial": spatial,
        "hwd": "DHW"[3 - ndim :],
        "to_own": to_own,
        "from_own": from_own,
        "to_hwio": (*spatial, 1, 0),
        "widths": widths,
        "cut": cut,
        "stride": None if own.stride == ones else own.stride,
        "padding": None if not _any(own.pads) else tuple(before for before, _ in own.pads),
        "dilation": None if own.dilation == ones else own.dilation,
        "groups": None if own.groups == 1 else own.groups,
        "output_padding": None if own.output_padding == zeros else own.output_padding,
        "adjoint_pads": _adjoint_pads(own),
        "strided_and_dilated": any(s > 1 and d > 1 for s, d in zip(g.stride, g.dilation)),
        "subsampled": max(g.stride) > 1 and max(g.dilation) > 1,
        "same": _same(problem),
        "keywords": _keywords(problem, direction),
    }


def _in_own_layout(
    framework: str, direction: str, g: Geometry
) -> tuple[Geometry, tuple[int, ...] | None, tuple[int, ...] | None]:
    """Return the geometry in the layout that the framework takes, and the permutations of the axes there and back."""
    takes_either = framework == "multiconv" or (framework == "jax" and direction != "layer")
    channels_last = g.channels_last if takes_either else framework in ("jax", "tensorflow")
    if channels_last == g.channels_last:
        return g, None, None
    to_last, to_first = (0, *range(2, 2 + g.ndim), 1), (0, 1 + g.ndim, *range(1, 1 + g.ndim))
    there, back = (to_last, to_first) if channels_last else (to_first, to_last)
    return g.with_layout(channels_last=channels_last), there, back


def _with_own_padding(
    framework: str, direction: str, problem: Problem, g: Geometry
) -> tuple[Geometry, Pads | None, str | None]:
    """Return the geometry with the framework's padding, the widths to pad before, and the slices to cut after.

    Where the framework does not support the padding, the script itself pads or cuts.
    """
    if not _any(g.pads) or _pads_natively(framework, direction, problem, g):
        return g, None, None
    if direction == "conv_transpose":
        inside = [f"{before}:{before + n}" for n, (before, _) in zip(g.size, g.pads)]
        return g.without_padding(), None, join(":", *inside, ":") if g.channels_last else join(":", ":", *inside)
    widths = ((0, 0), *g.pads, (0, 0)) if g.channels_last else ((0, 0), (0, 0), *g.pads)
    return g.without_padding(), widths, None


def _pads_natively(framework: str, direction: str, problem: Problem, g: Geometry) -> bool:
    """Return whether the framework's backend leaves this padding to the framework's own call or layer."""
    if framework in ("jax", "multiconv", "candidate"):
        return True
    if framework == "tensorflow":
        if direction == "layer":
            return problem.spec.padding in ("same", "same_upper") and not (max(g.stride) > 1 and max(g.dilation) > 1)
        return g.ndim == 2 and g.groups == 1 and max(g.dilation) == 1
    return g.symmetric and not (direction == "layer" and problem.spec.fixed_pads(g.kernel) is None)


def _adjoint_pads(g: Geometry) -> Pads:
    """Return the padding with which the adjoint is a cross-correlation of its input, spread out by the stride."""
    return tuple(
        (e - 1 - before, n + before - (o - 1) * s - 1)
        for e, (before, _), n, o, s in zip(g.extent, g.pads, g.size, g.out, g.stride)
    )


def _same(problem: Problem) -> str | None:
    """Return JAX's word for a padding that depends on the size of the input, or None for other paddings."""
    if problem.spec.fixed_pads(problem.geometry.kernel) is not None:
        return None
    return "SAME_LOWER" if problem.spec.padding == "same_lower" else "SAME"


def _keywords(problem: Problem, direction: str) -> dict[str, str]:
    """Return the options of a backend's method that differ from its defaults."""
    defaults = ConvSpec()
    given = {
        name: quoted(value) if isinstance(value, str) else repr(value)
        for name, value in problem.options.items()
        if value != getattr(defaults, name)
    }
    if direction == "conv_transpose" and any(problem.output_padding):
        given["output_padding"] = repr(problem.output_padding)
    return given


def _any(pads: Pads) -> bool:
    return any(map(any, pads))
