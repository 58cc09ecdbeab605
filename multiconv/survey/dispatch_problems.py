"""The problems in which kernels are listened to: those of the check, the layer sets, and a wide random search.

Which kernel runs does not depend on the values, so that problems are kept without them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from multiconv import d2l, layers
from multiconv.core.errors import ConvError
from multiconv.core.geometry import Geometry
from multiconv.core.memory import ARRANGEMENTS
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Shape
from multiconv.oracle.problem import Problem
from multiconv.oracle.values import ALL_VALUES
from multiconv.testing.drawing import draw_problems
from multiconv.testing.kernel_problems import kernel_problems
from multiconv.testing.network_layers import layer_problem
from multiconv.testing.problem_values import given_values, identity, with_values

CHECK_EXAMPLES, CHECK_SHAPES, CHECK_PRODUCTS, CHECK_OTHER_PRODUCTS = 200, 32, 2_000_000, 500_000
"""As in `multiconv.check.cases`, which a test compares."""
LAYER_PRODUCTS = 2_000_000
LAYER_IMAGES = 8
"""Maximum number of images of a layer of a benchmark, whose own batch may be hundreds."""
SEARCH_PRODUCTS = 2_000_000
SEARCH_ELEMENTS = 500_000
LAYOUTS = (None, "NWC", "NHWC", "NDHWC")


@dataclass(frozen=True)
class Sketch:
    """A problem without its values.

    Attributes
    ----------
    source : str
        Where it comes from. Sketches are equal whatever their source is.
    spec : ConvSpec
    x, w : tuple of int
        Shapes of the input and of the kernel.
    dtype : str
    bias : bool
    memory : str
        The memory layout of the arrays: one of `multiconv.core.memory.ARRANGEMENTS`.
    """

    source: str = field(compare=False)
    spec: ConvSpec
    x: Shape
    w: Shape
    dtype: str
    bias: bool
    memory: str = "contiguous"

    @classmethod
    def of(cls, problem: Problem) -> Sketch:
        """Return the sketch of a problem.

        Examples
        --------
        >>> import numpy as np
        >>> Sketch.of(given_values("mine", ConvSpec(), np.ones((1, 1, 3)), np.ones((1, 1, 2)))).x
        (1, 1, 3)
        """
        return cls(
            problem.source, problem.spec, problem.x.shape, problem.w.shape,
            problem.dtype, problem.bias is not None, problem.arrangement,
        )  # fmt: skip

    @property
    def geometry(self) -> Geometry:
        """Return the geometry."""
        return self.spec.resolve(self.x, self.w)

    def problem(self) -> Problem:
        """Return the problem, with normally distributed values.

        Examples
        --------
        >>> Sketch("mine", ConvSpec(), (1, 1, 3), (1, 1, 2), "float32", bias=False).problem().describe()["x"]
        [1, 1, 3]
        """
        return with_values(
            self.source, self.spec, self.geometry, self.dtype,
            bias=self.bias, values="normal", seed=0, arrangement=self.memory,
        )  # fmt: skip

    def describe(self) -> dict[str, Any]:
        """Describe the problem for JSON, as `sketched` takes it.

        Examples
        --------
        >>> sketch = Sketch("mine", ConvSpec(padding=((0, 1),)), (1, 1, 3), (1, 1, 2), "float32", bias=False)
        >>> sketched(sketch.describe()) == sketch
        True
        """
        return {
            "source": self.source,
            "dtype": self.dtype,
            "memory": self.memory,
            "x": list(self.x),
            "w": list(self.w),
            "bias": self.bias,
            **vars(self.spec),
        }

    @property
    def text(self) -> str:
        """Return the description in one line, without what is the default.

        Examples
        --------
        >>> Sketch("mine", ConvSpec(2), (1, 1, 8), (1, 1, 2), "float32", bias=False).text
        'x=1,1,8 w=1,1,2 stride=2 float32'
        """
        options = {name: _shortest(value) for name, value in vars(self.spec).items()}
        options = {name: value for name, value in options.items() if value != getattr(ConvSpec(), name)}
        words = [f"x={','.join(map(str, self.x))}", f"w={','.join(map(str, self.w))}"]
        words += [f"{name}={str(value).replace(' ', '')}" for name, value in options.items()]
        words += [self.dtype, *["bias"] * self.bias, *([] if self.memory == "contiguous" else [self.memory])]
        return " ".join(words)


def _shortest(option: Any) -> Any:
    """Return one number for an option that is the same on each axis and side."""
    while isinstance(option, tuple) and option and len(set(option)) == 1:
        option = option[0]
    return option


def sketched(described: dict[str, Any]) -> Sketch:
    """Return the sketch that `Sketch.describe` described, also after a way through JSON."""

    def tuples(value: Any) -> Any:
        return tuple(map(tuples, value)) if isinstance(value, (list, tuple)) else value

    names = ("stride", "padding", "dilation", "groups", "layout")
    spec = ConvSpec(**{name: tuples(described[name]) for name in names})
    x, w = tuples(described["x"]), tuples(described["w"])
    return Sketch(described["source"], spec, x, w, described["dtype"], described["bias"], described["memory"])


def problems_of_check(examples: int, seed: int, dtypes: Sequence[str], *, compiles: bool) -> list[Sketch]:
    """Return the problems that `multiconv check` runs on a backend with these arguments, each once.

    Parameters
    ----------
    examples : int
    seed : int
    dtypes : sequence of str
    compiles : bool
        Whether the backend compiles each shape, so that its problems share a few.

    Examples
    --------
    >>> len(problems_of_check(10, 0, ["float32"], compiles=False)) > 50
    True
    """
    found = [_of_book(example) for example in d2l.EXAMPLES]
    found.append(Sketch.of(identity(dtypes[0])))
    products = CHECK_PRODUCTS if dtypes[0] == "float32" else CHECK_OTHER_PRODUCTS
    for network in layers.networks():
        for layer in layers.layers(network):
            found.append(Sketch.of(layer_problem(layer, dtypes[0], "zeros", seed, products)))
    found += map(Sketch.of, kernel_problems(dtypes[0], seed))
    drawn = draw_problems(
        examples, seed, dtypes, CHECK_SHAPES if compiles else None, ALL_VALUES, arrangements=tuple(ARRANGEMENTS)
    )
    found += map(Sketch.of, drawn)
    if compiles:  # it copies its arrays, so that their arrangement decides nothing
        found = [replace(sketch, memory="contiguous") for sketch in found]
    return list(dict.fromkeys(found))


def problems_of_layers(dtype: str, *, compiles: bool) -> list[Sketch]:
    """Return the layers of all layer sets on smaller images, channels first and last, each once.

    Parameters
    ----------
    dtype : str
    compiles : bool
        Whether the backend compiles each shape: then only channels first, as its compiler chooses the layout.

    Examples
    --------
    >>> len(problems_of_layers("float32", compiles=True)) > 100
    True
    """
    found = []
    for name in layers.layer_sets():
        for layer in layers.layer_set(name).layers:
            small = layer.reduced(LAYER_PRODUCTS)
            g = small.geometry(min(small.batch, LAYER_IMAGES))
            found.append(Sketch(f"{name} {layer.name}", small.spec, g.x_shape, g.w_shape, dtype, small.bias))
            if not compiles:
                last = g.with_layout(channels_last=True)
                spec = replace(small.spec, layout="NHWC")
                found.append(Sketch(f"{name} {layer.name}", spec, last.x_shape, g.w_shape, dtype, small.bias))
    return list(dict.fromkeys(found))


def problems_of_search(count: int, seed: int, dtypes: Sequence[str]) -> Iterator[Sketch]:
    """Yield problems drawn at random, wider than those of the check and without its design.

    Examples
    --------
    >>> [sketch.source for sketch in problems_of_search(2, 0, ["float32"])]
    ['search', 'search']
    """
    rng = random.Random(seed)
    for _ in range(count):
        sketch = None
        while sketch is None:
            sketch = _searched(rng, dtypes)
        yield sketch


def _searched(rng: random.Random, dtypes: Sequence[str]) -> Sketch | None:
    """Draw a problem, or return None if it is none or too large."""
    ndim = rng.choice((1, 2, 2, 2, 3))
    groups = rng.choice((1, 1, 1, 1, 2, 3, 4, 8, 16, 32, 48, 64))
    depthwise = groups > 1 and rng.random() < 0.5
    channels = [1 if depthwise else _log_uniform(rng, 1, 160) for _ in range(2)]
    usual = rng.choice((1, 2, 3, 3, 3, 5, 7, 11))
    kernel = tuple(rng.choice((usual, usual, rng.randint(1, 7))) for _ in range(ndim))
    size = tuple(_log_uniform(rng, 1, 96) for _ in range(ndim))
    stride = rng.choice((1, 1, 1, 2, tuple(rng.randint(1, 4) for _ in range(ndim))))
    dilation = rng.choice((1, 1, 1, 2, tuple(rng.randint(1, 3) for _ in range(ndim))))
    padding = rng.choice(
        (0, 1, usual // 2, "same", "same_lower", "full", rng.randint(0, 4),
         tuple((rng.randint(0, 3), rng.randint(0, 3)) for _ in range(ndim)))
    )  # fmt: skip
    layout = rng.choice((None, LAYOUTS[ndim]))
    spec = ConvSpec(stride, padding, dilation, groups, layout)
    batch = rng.choice((1, 1, 2, 2, 3, 4, 8, 16, 32))
    image = (*size, channels[0] * groups) if layout else (channels[0] * groups, *size)
    w = (channels[1] * groups, channels[0], *kernel)
    try:
        g = spec.resolve((batch, *image), w)
    except ConvError:
        return None
    if g.products > SEARCH_PRODUCTS or max(map(prod, (g.x_shape, g.w_shape, g.y_shape))) > SEARCH_ELEMENTS:
        return None
    memory = rng.choice(("contiguous", "contiguous", rng.choice(tuple(ARRANGEMENTS))))
    return Sketch("search", spec, g.x_shape, g.w_shape, rng.choice(dtypes), rng.random() < 0.5, memory)


def _log_uniform(rng: random.Random, least: int, most: int) -> int:
    """Draw an integer with a uniform logarithm; half of the time one that is a multiple of 8, if it is that large."""
    drawn = int(least * (most / least) ** rng.random() + 0.5)
    return drawn // 8 * 8 if drawn >= 8 and rng.random() < 0.5 else drawn


def _of_book(example: d2l.Example) -> Sketch:
    """Return one of the book's examples as a problem with four axes."""
    X, K = example.arrays
    x = X.reshape((1,) * (4 - X.ndim) + X.shape)
    w = K.reshape((1,) * (4 - K.ndim) + K.shape)
    return Sketch.of(given_values(f"d2l {example.name}", ConvSpec(**example.options), x, w))
