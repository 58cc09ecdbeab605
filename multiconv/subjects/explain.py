"""A convolution in numbers: its output size, its pads, its cost, and the code for each framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import numpy as np

from multiconv.core.dtypes import dtype_named
from multiconv.core.errors import UsageError, suggestion
from multiconv.core.geometry import Geometry
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Ints, Shape
from multiconv.subjects.snippets import Snippet, snippets

DIRECTIONS = ("forward", "conv_transpose")
DTYPES = ("float16", "bfloat16", "float32", "float64", "int8", "uint8", "int32")
OPTIONS = ("stride", "padding", "dilation", "groups", "layout", "output_padding", "bias", "dtype")
LARGEST_AXIS = 2**20
"""The most pixels of an axis: each is looked at."""
MOST_SIZES = 16
"""The most input sizes that a table lists."""
MOST_REMAINDERS = 1024
"""The most remainders of a size modulo the stride that are looked at."""


@dataclass(frozen=True)
class SizeRow:
    """The pads and the output for another input size.

    Attributes
    ----------
    size, out : int
    pads : tuple of int
        Zeros before and after.
    left_over : int
        Pixels at the end of the padded axis that no output sees.
    """

    size: int
    pads: tuple[int, int]
    out: int
    left_over: int


@dataclass(frozen=True)
class Axis:
    """One spatial axis, explained.

    Attributes
    ----------
    size, kernel, stride, dilation, extent, out : int
        Of the cross-correlation. A transposed convolution goes from `out` to `size`.
    pads : tuple of int
        Zeros before and after; for a transposed convolution, pixels cut off there.
    output_padding : int
        Of a transposed convolution.
    formula : str
        The result's size with its numbers filled in.
    unseen : tuple of (int, int)
        First and last pixel of each run of pixels that no output sees; for a transposed convolution, pixels of the
        result without a product.
    unseen_pixels : int
    sizes : tuple of SizeRow
        This size and the next ones, until the pads repeat. Empty if neither the pads nor what is left over change.
    symmetric : int or None
        The one number of padding on both sides that gives the same outputs, at most sizes that any number does.
    right_for : tuple of int
        The remainders of the size modulo the stride for which `symmetric` is right.
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    extent: int
    pads: tuple[int, int]
    out: int
    output_padding: int
    formula: str
    unseen: tuple[tuple[int, int], ...]
    unseen_pixels: int
    sizes: tuple[SizeRow, ...]
    symmetric: int | None
    right_for: tuple[int, ...]

    @property
    def right_here(self) -> bool:
        """Return whether `symmetric` is right for this size."""
        return self.symmetric is not None and self.size % self.stride in self.right_for


@dataclass(frozen=True)
class Explanation:
    """A convolution in numbers. `explain` creates it.

    Attributes
    ----------
    direction : str
        ``"forward"`` or ``"conv_transpose"``.
    spec : ConvSpec
    geometry : Geometry
        Of the cross-correlation; for a transposed convolution, of the one whose adjoint it is.
    dtype : str
    bias : bool
    axes : tuple of Axis
    parameters : int
        Number of weights and biases.
    multiply_adds : int
        Of the whole batch, products with a zero of the padding included.
    multiply_adds_on_pixels : int
        The same without the products with a zero of the padding.
    bytes : dict of str to int
        Of x, w, bias and y.
    im2col_bytes : int
        Of the matrix that holds one column per output pixel, for the whole batch.
    code : dict of str to Snippet
        The same computation in each framework.
    computed_by : dict of str to list of str, optional
        The kernels of the libraries that compute it here, by backend: see `multiconv.subjects.kernels`.
    """

    direction: str
    spec: ConvSpec
    geometry: Geometry
    dtype: str
    bias: bool
    axes: tuple[Axis, ...]
    parameters: int
    multiply_adds: int
    multiply_adds_on_pixels: int
    bytes: Mapping[str, int]
    im2col_bytes: int
    code: Mapping[str, Snippet]
    computed_by: Mapping[str, list[str]] | None = None

    @property
    def x_shape(self) -> Shape:
        """Return the shape of the input."""
        return self.geometry.x_shape if self.direction == "forward" else self.geometry.y_shape

    @property
    def y_shape(self) -> Shape:
        """Return the shape of the result."""
        return self.geometry.y_shape if self.direction == "forward" else self.geometry.x_shape

    @property
    def receptive_field(self) -> Shape:
        """Return the number of pixels that the dilated kernel spans along each axis."""
        return self.geometry.extent

    def text(self) -> str:
        """Return the explanation as lines of text.

        Examples
        --------
        >>> print(explain((1, 3, 8, 8), (4, 3, 3, 3), padding=1).text().splitlines()[0])
        x (1, 3, 8, 8) and w (4, 3, 3, 3) give y (1, 4, 8, 8).
        """
        from multiconv.subjects.pages import as_text

        return as_text(self)

    def svg(self) -> str:
        """Return a picture of each axis as SVG.

        Examples
        --------
        >>> explain((1, 1, 5), (1, 1, 3)).svg()[:4]
        '<svg'
        """
        from multiconv.subjects.pictures import as_svg

        return as_svg(self)

    def asdict(self) -> dict[str, Any]:
        """Return everything as a dict for JSON."""
        return {
            "schema": 1,
            "direction": self.direction,
            "x": list(self.x_shape),
            "w": list(self.geometry.w_shape),
            "y": list(self.y_shape),
            "options": asdict(self.spec),
            "dtype": self.dtype,
            "bias": self.bias,
            "receptive_field": list(self.receptive_field),
            "axes": [asdict(axis) for axis in self.axes],
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "multiply_adds_on_pixels": self.multiply_adds_on_pixels,
            "bytes": dict(self.bytes),
            "im2col_bytes": self.im2col_bytes,
            "code": {name: asdict(snippet) for name, snippet in self.code.items()},
            "computed_by": None if self.computed_by is None else dict(self.computed_by),
        }


def explain(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    *,
    direction: str = "forward",
    output_padding: Ints = 0,
    bias: bool = False,
    dtype: str = "float32",
    **options: Any,
) -> Explanation:
    """Explain a convolution: its output size, its pads, its cost, and the code for each framework.

    Parameters
    ----------
    x_shape : tuple of int
        The shape of the input.
    w_shape : tuple of int
        The shape of the kernel, (C_out, C_in / groups, \\*kernel). For a transposed convolution, C_out is the number of
        channels of its input.
    direction : str
        ``"forward"`` or ``"conv_transpose"``.
    output_padding : int or tuple of int
        Of a transposed convolution.
    bias : bool
        Whether there is a bias.
    dtype : str
        For the number of bytes.
    **options
        ``stride``, ``padding``, ``dilation``, ``groups`` and ``layout``, as in `multiconv.ConvSpec`.

    Raises
    ------
    UsageError
        If an option does not exist, or the shapes are not those of a valid convolution.

    Examples
    --------
    >>> import multiconv as mc
    >>> of = mc.explain((1, 3, 224, 224), (64, 3, 7, 7), stride=2, padding="same")
    >>> of.axes[0].formula
    '(224 + 2 + 3 - 7) // 2 + 1 = 112'
    >>> of.y_shape, of.multiply_adds
    ((1, 64, 112, 112), 118013952)
    >>> mc.explain((1, 3, 8), (4, 3, 3), strides=2)
    Traceback (most recent call last):
    multiconv.UsageError: there is no option 'strides' (did you mean 'stride'?): ...
    """
    for name in options:
        if name not in OPTIONS:
            raise UsageError(f"there is no option {name!r}{suggestion(name, OPTIONS)}: there are {', '.join(OPTIONS)}")
    _one_of("direction", direction, DIRECTIONS)
    _one_of("dtype", dtype, DTYPES)
    if not isinstance(bias, bool):
        raise UsageError(f"bias must be True or False, not {bias!r}")
    transposed = direction == "conv_transpose"
    if not transposed and output_padding != 0:
        raise UsageError("output_padding is an option of a transposed convolution: use direction='conv_transpose'")
    spec = ConvSpec(**options)
    shapes = _shape("x", x_shape), _shape("w", w_shape)
    g = spec.resolve_transpose(*shapes, output_padding) if transposed else spec.resolve(*shapes)
    if max(g.padded) > LARGEST_AXIS:
        raise UsageError(f"an axis has {max(g.padded)} pixels with its padding: explain takes at most {LARGEST_AXIS}")
    channels = g.in_channels if transposed else g.out_channels
    itemsize = dtype_named(dtype).itemsize
    counts = {"x": prod(g.x_shape), "w": prod(g.w_shape), "bias": channels * bias, "y": prod(g.y_shape)}
    if transposed:
        counts["x"], counts["y"] = counts["y"], counts["x"]
    per_output = g.batch * g.out_channels * (g.in_channels // g.groups)
    return Explanation(
        direction=direction,
        spec=spec,
        geometry=g,
        dtype=dtype,
        bias=bias,
        axes=tuple(_axis(spec, g, number, transposed=transposed) for number in range(g.ndim)),
        parameters=prod(g.w_shape) + channels * bias,
        multiply_adds=g.batch * g.products,
        multiply_adds_on_pixels=per_output * prod(_pairs(g, axis) for axis in range(g.ndim)),
        bytes={name: count * itemsize for name, count in counts.items()},
        im2col_bytes=g.batch * g.in_channels * prod(g.kernel) * prod(g.out) * itemsize,
        code=snippets(g, bias=bias, transposed=transposed),
    )


def _one_of(name: str, value: Any, possible: Sequence[str]) -> None:
    if value not in possible:
        raise UsageError(f"{name} must be one of {', '.join(possible)}, not {value!r}{suggestion(value, possible)}")


def _shape(name: str, shape: Any) -> Shape:
    numbers = tuple(shape) if isinstance(shape, (tuple, list)) else None
    if numbers is None or not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in numbers):
        raise UsageError(f"the shape of {name} must be a tuple of ints, not {shape!r}")
    if any(n < 0 for n in numbers):
        raise UsageError(f"the shape of {name} must not have negative numbers: {shape!r}")
    return tuple(int(n) for n in numbers)


def _axis(spec: ConvSpec, g: Geometry, number: int, *, transposed: bool) -> Axis:
    n, k, s, d = g.size[number], g.kernel[number], g.stride[number], g.dilation[number]
    e, o, (before, after) = g.extent[number], g.out[number], g.pads[number]
    extra = g.output_padding[number]
    unseen = _unseen(g, number)
    along = ConvSpec(s, spec.padding if isinstance(spec.padding, str) else (g.pads[number],), d)
    symmetric, right_for = _symmetric(along, n, k, s, e)
    cut = "".join(f" - {p}" for p in (before, after))
    if not transposed:
        formula = f"({n} + {before} + {after} - {e}) // {s} + 1 = {o}"
    else:
        formula = f"({o} - 1) * {s} + {e}{cut}" + f" + {extra}" * (extra > 0) + f" = {n}"
    return Axis(
        n, k, s, d, e, (before, after), o, extra if transposed else 0, formula,
        unseen=_runs(unseen),
        unseen_pixels=len(unseen),
        sizes=() if transposed or s == 1 else _sizes(along, n, k),
        symmetric=None if transposed else symmetric,
        right_for=() if transposed else right_for,
    )  # fmt: skip


def _sizes(along: ConvSpec, first: int, kernel: int) -> tuple[SizeRow, ...]:
    """Return the pads for `first` and the next sizes, until they repeat."""
    stride, _ = along.each(1)
    rows = []
    for size in range(first, first + min(stride[0], MOST_SIZES)):
        g = along.resolve((1, 1, size), (1, 1, kernel))
        rows.append(SizeRow(size, g.pads[0], g.out[0], g.output_padding[0]))
    return tuple(rows)


def _symmetric(along: ConvSpec, n: int, k: int, s: int, e: int) -> tuple[int | None, tuple[int, ...]]:
    """Return the padding of equal sides that is right at most sizes, and the remainders of these sizes.

    Pads of fixed numbers are the same for every size. Those of SAME depend on the remainder modulo the stride only.
    """
    right: dict[int, list[int]] = {}
    for remainder in sorted({*range(min(s, MOST_REMAINDERS)), n % s}):
        size = remainder + s * -(-e // s)
        before, after = along.pads((size,), (k,))[0]
        out = (size + before + after - e) // s + 1
        if (size + 2 * before - e) // s + 1 == out:
            right.setdefault(before, []).append(remainder)
    if not right:
        return None, ()
    best = max(right, key=lambda p: (len(right[p]), n % s in right[p]))
    return best, tuple(right[best])


def _unseen(g: Geometry, axis: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Return the pixels of an axis that no output sees."""
    seen = np.zeros(g.padded[axis], bool)
    s, d, o = g.stride[axis], g.dilation[axis], g.out[axis]
    if g.kernel[axis] < o:
        for tap in range(g.kernel[axis]):
            seen[tap * d : tap * d + (o - 1) * s + 1 : s] = True
    else:
        for output in range(o):
            seen[output * s : output * s + g.extent[axis] : d] = True
    before = g.pads[axis][0]
    return np.flatnonzero(~seen[before : before + g.size[axis]])


def _runs(pixels: np.ndarray[Any, np.dtype[np.intp]]) -> tuple[tuple[int, int], ...]:
    """Return the first and last pixel of each run of neighbours.

    Examples
    --------
    >>> _runs(np.array([1, 2, 5]))
    ((1, 2), (5, 5))
    """
    if not len(pixels):
        return ()
    breaks = np.flatnonzero(np.diff(pixels) > 1)
    firsts, lasts = pixels[[0, *(breaks + 1)]], pixels[[*breaks, -1]]
    return tuple((int(a), int(b)) for a, b in zip(firsts, lasts))


def _pairs(g: Geometry, axis: int) -> int:
    """Count the pairs of an output and a tap that meet on a pixel of the input."""
    s, d, o, n, before = g.stride[axis], g.dilation[axis], g.out[axis], g.size[axis], g.pads[axis][0]
    taps = np.arange(g.kernel[axis]) * d
    first = np.maximum(0, -((taps - before) // s))
    last = np.minimum(o - 1, (n - 1 + before - taps) // s)
    return int(np.maximum(0, last - first + 1).sum())
