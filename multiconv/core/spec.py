"""The definition of a convolution, shared by all backends: its options, and the sizes that follow from them.

`ConvSpec` holds the options as the caller gives them. `ConvSpec.resolve` combines them with the shapes of an input and
a kernel into a `Geometry`. In a `Geometry`, no word such as "same" is left, every option has one number per axis, and
the shapes fit. A backend only ever sees a `Geometry`.

The sizes follow [1]_. An axis of ``n`` pixels, with padding of ``b`` before and ``a`` after, a kernel of ``k``, stride
``s`` and dilation ``d``, has ``(n + b + a - (k - 1) d - 1) // s + 1`` outputs.

References
----------
.. [1] V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

from multiconv.core.errors import ConvError
from multiconv.core.geometry import Geometry, check_count
from multiconv.core.option_values import SAME, checked_int, checked_ints, checked_padding
from multiconv.core.types import Ints, Padding, Pads, Shape

LAYOUTS = {
    "NCW": (1, False),
    "NCHW": (2, False),
    "NCDHW": (3, False),
    "NWC": (1, True),
    "NHWC": (2, True),
    "NDHWC": (3, True),
}


@dataclass(frozen=True)
class ConvSpec:
    """The options of a convolution.

    Parameters
    ----------
    stride : int or tuple of int
        The step from one output to the next, in pixels of the input: one number, or one per axis.
    padding : int, str or tuple
        Zeros around the input: one number; one number per axis; a ``(before, after)`` pair per axis; or a word:

        - ``"valid"``: no padding;
        - ``"same"`` or ``"same_upper"``: ``ceil(n / stride)`` outputs, with the odd pixel at the end, as in ONNX,
          TensorFlow and JAX;
        - ``"same_lower"``: the same, with the odd pixel at the start;
        - ``"full"``: ``(kernel - 1) * dilation`` on both sides, for every output that touches the input.
    dilation : int or tuple of int
        The distance between two taps of the kernel, in pixels of the input.
    groups : int
        Number of groups of channels. Each group is convolved separately.
    layout : str, optional
        ``"NCW"``, ``"NCHW"``, ``"NCDHW"``, ``"NWC"``, ``"NHWC"`` or ``"NDHWC"``. The default is the one of the first
        three that has the right number of spatial axes. The kernel is OIHW in every layout.

    Raises
    ------
    ConvError
        If an option is invalid: a bool or a float as a stride, a number below its minimum or above 2^31 - 1, a negative
        padding, or an unknown word.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> ConvSpec(stride=2, padding="same").resolve((1, 3, 8, 8), (16, 3, 3, 3)).y_shape
    (1, 16, 4, 4)
    >>> ConvSpec(stride=0)
    Traceback (most recent call last):
    multiconv.ConvError: stride must be at least 1, not 0
    """

    stride: Ints = 1
    padding: Padding = 0
    dilation: Ints = 1
    groups: int = 1
    layout: str | None = None

    def __post_init__(self) -> None:
        settle = object.__setattr__
        settle(self, "stride", checked_ints("stride", self.stride, least=1))
        settle(self, "padding", checked_padding(self.padding))
        settle(self, "dilation", checked_ints("dilation", self.dilation, least=1))
        settle(self, "groups", checked_int("groups", self.groups, least=1))
        if self.layout is not None and (not isinstance(self.layout, str) or self.layout not in LAYOUTS):
            raise ConvError(f"layout must be one of {', '.join(LAYOUTS)}, not {self.layout!r}")

    def each(self, ndim: int) -> tuple[Shape, Shape]:
        """Return stride and dilation, with one number per axis.

        Examples
        --------
        >>> ConvSpec(stride=2).each(3)
        ((2, 2, 2), (1, 1, 1))
        """
        return _each(self.stride, ndim), _each(self.dilation, ndim)

    def resolve(self, x_shape: Shape, w_shape: Shape) -> Geometry:
        """Compute the geometry of this convolution for an input and a kernel of these shapes.

        Parameters
        ----------
        x_shape : tuple of int
            The shape of the input, in `layout`.
        w_shape : tuple of int
            The shape of the kernel: (C_out, C_in / groups, \\*kernel).

        Returns
        -------
        Geometry

        Raises
        ------
        ConvError
            If the shapes are not those of a valid convolution with these options.

        Examples
        --------
        >>> ConvSpec(padding=(1, 2)).resolve((1, 3, 8, 8), (16, 3, 3, 3)).pads
        ((1, 1), (2, 2))
        """
        return _resolve(self, tuple(x_shape), tuple(w_shape))

    def resolve_transpose(self, x_shape: Shape, w_shape: Shape, output_padding: Ints = 0) -> Geometry:
        """Compute the geometry of a transposed convolution of these shapes.

        The result is the geometry of the cross-correlation whose adjoint is this transposed convolution. The input of
        the transposed convolution has the shape ``y_shape``, and its result has the shape ``x_shape``.

        Parameters
        ----------
        x_shape : tuple of int
            The shape of the transposed convolution's input. Its number of channels is the first number of `w_shape`.
        w_shape : tuple of int
            The shape of the kernel, as for the cross-correlation.
        output_padding : int or tuple of int
            Selects the size of the result. The cross-correlation maps `stride` different input sizes to the size of
            `x_shape`; 0 selects the smallest of them. With ``"same"``, the size is ``n * stride``, and `output_padding`
            must be 0.

        Returns
        -------
        Geometry

        Raises
        ------
        ConvError
            If the shapes are not those of a valid transposed convolution with these options.

        Examples
        --------
        >>> ConvSpec(stride=2, padding=1).resolve_transpose((1, 16, 4, 4), (16, 3, 3, 3), 1).x_shape
        (1, 3, 8, 8)
        """
        return _resolve_transpose(
            self, tuple(x_shape), tuple(w_shape), checked_ints("output_padding", output_padding, least=0)
        )

    def check_kernel(self, w_shape: Shape) -> int:
        """Validate the shape of a kernel, and return the number of its spatial axes.

        Examples
        --------
        >>> ConvSpec().check_kernel((16, 3, 5, 5))
        2
        """
        ndim = len(w_shape) - 2
        if ndim not in (1, 2, 3):
            raise ConvError(f"w must have 3, 4 or 5 axes, (C_out, C_in/groups, *kernel), but its shape is {w_shape}")
        if self.layout is not None and LAYOUTS[self.layout][0] != ndim:
            raise ConvError(
                f"layout {self.layout} has {_axes(LAYOUTS[self.layout][0])}, but w of shape {w_shape} has {_axes(ndim)}"
            )
        for name, size in zip(("C_out", "C_in/groups"), w_shape):
            if size == 0:
                raise ConvError(f"w has no channels: {name} is 0 in its shape {w_shape}")
        if 0 in w_shape:
            raise ConvError(f"w has a spatial axis of size 0: its shape is {w_shape}")
        check_count("w", prod(w_shape))
        if w_shape[0] % self.groups:
            raise ConvError(
                f"groups={self.groups} does not divide the {w_shape[0]} output channels of w of shape {w_shape}"
            )
        for name in ("stride", "padding", "dilation"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != ndim:
                raise ConvError(
                    f"{name}={value} is for {_axes(len(value))}, but w of shape {w_shape} has {_axes(ndim)}"
                )
        return ndim

    @property
    def channels_last(self) -> bool:
        """Return whether `layout` has the channels last."""
        return self.layout is not None and LAYOUTS[self.layout][1]

    def with_layout(self, ndim: int, *, channels_last: bool) -> ConvSpec:
        """Return the same options for inputs of this layout.

        Examples
        --------
        >>> ConvSpec(layout="NHWC").with_layout(2, channels_last=False).layout
        'NCHW'
        """
        return replace(self, layout=next(name for name, kind in LAYOUTS.items() if kind == (ndim, channels_last)))

    def fixed_pads(self, kernel: Shape) -> Pads | None:
        """Return the zeros (before, after) each axis, or None if they depend on the size of the input.

        Examples
        --------
        >>> ConvSpec(padding="same").fixed_pads((3, 2))
        ((1, 1), (0, 1))
        >>> ConvSpec(padding="same", stride=2).fixed_pads((3, 2)) is None
        True
        """
        if self.padding in SAME and any(s > 1 for s in self.each(len(kernel))[0]):
            return None
        return self.pads(kernel, kernel)

    def symmetric_padding(self, kernel: Shape) -> Shape | None:
        """Return the padding as one number per axis, or None if it is asymmetric or depends on the size of the input.

        Examples
        --------
        >>> ConvSpec(padding="same").symmetric_padding((3, 5))
        (1, 2)
        >>> ConvSpec(padding="same").symmetric_padding((2, 5)) is None
        True
        """
        pads = self.fixed_pads(kernel)
        if pads is None or any(before != after for before, after in pads):
            return None
        return tuple(before for before, _ in pads)

    def pads(self, size: Shape, kernel: Shape) -> Pads:
        """Compute the zeros (before, after) each axis for an input of this size.

        Examples
        --------
        >>> ConvSpec(stride=2, padding="same").pads((8, 7), (3, 3))
        ((0, 1), (1, 1))
        """
        ndim = len(kernel)
        stride, dilation = self.each(ndim)
        extents = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
        if self.padding in SAME:
            totals = (max((-(-n // s) - 1) * s + e - n, 0) for n, s, e in zip(size, stride, extents))
            return tuple(_halves(total, upper=self.padding != "same_lower") for total in totals)
        if self.padding == "full":
            return tuple((e - 1, e - 1) for e in extents)
        if isinstance(self.padding, str):
            return ((0, 0),) * ndim
        if isinstance(self.padding, int):
            return ((self.padding, self.padding),) * ndim
        return tuple((p, p) if isinstance(p, int) else p for p in self.padding)


@lru_cache(maxsize=4096)
def _resolve(spec: ConvSpec, x_shape: Shape, w_shape: Shape) -> Geometry:
    ndim = spec.check_kernel(w_shape)
    batch, channels, size = _split(x_shape, ndim, w_shape, spec.channels_last)
    if channels != w_shape[1] * spec.groups:
        raise ConvError(
            f"x of shape {x_shape} has {channels} channels, but w of shape {w_shape} with groups={spec.groups} takes "
            f"{w_shape[1]} * {spec.groups} = {w_shape[1] * spec.groups}"
        )
    kernel = w_shape[2:]
    stride, dilation = spec.each(ndim)
    pads = spec.pads(size, kernel)
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
    padded = tuple(n + before + after for n, (before, after) in zip(size, pads))
    for axis, (e, n) in enumerate(zip(extent, padded)):
        if e > n:
            raise ConvError(
                f"the kernel is larger than the padded input: along spatial axis {axis} it spans {e} pixels "
                f"(kernel {kernel[axis]}, dilation {dilation[axis]}), "
                f"the input {n} (size {size[axis]}, padding {pads[axis]})"
            )
    out = tuple((n - e) // s + 1 for n, e, s in zip(padded, extent, stride))
    g = Geometry(
        batch, channels, w_shape[0], spec.groups, size, kernel, stride, dilation, pads, out, spec.channels_last
    )
    g.check_size()
    return g


@lru_cache(maxsize=4096)
def _resolve_transpose(spec: ConvSpec, x_shape: Shape, w_shape: Shape, output_padding: Ints) -> Geometry:
    ndim = spec.check_kernel(w_shape)
    if isinstance(output_padding, tuple) and len(output_padding) != ndim:
        raise ConvError(
            f"output_padding={output_padding} is for {_axes(len(output_padding))}, "
            f"but w of shape {w_shape} has {_axes(ndim)}"
        )
    batch, channels, out = _split(x_shape, ndim, w_shape, spec.channels_last)
    if channels != w_shape[0]:
        raise ConvError(
            f"x of shape {x_shape} has {channels} channels, but the transposed convolution with w of shape {w_shape} "
            f"takes {w_shape[0]}: w is the kernel of the cross-correlation whose adjoint this is"
        )
    kernel = w_shape[2:]
    stride, dilation = spec.each(ndim)
    extra = _each(output_padding, ndim)
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
    if spec.padding in SAME:
        if any(extra):
            raise ConvError(
                f"with padding={spec.padding!r} the result has n * stride pixels, so output_padding must be 0"
            )
        size = tuple(o * s for o, s in zip(out, stride))
        pads = spec.pads(size, kernel)
    else:
        pads = spec.pads(out, kernel)
        for axis, (p, s) in enumerate(zip(extra, stride)):
            if p >= s:
                raise ConvError(
                    f"output_padding must be less than the stride: along spatial axis {axis} it is {p}, the stride {s}"
                )
        size = tuple(
            (o - 1) * s + e - before - after + p
            for o, s, e, (before, after), p in zip(out, stride, extent, pads, extra)
        )
        for axis, n in enumerate(size):
            if n < 1:
                raise ConvError(
                    f"the padding {pads[axis]} leaves nothing of the result: "
                    f"along spatial axis {axis} its size would be {n}"
                )
    in_channels = w_shape[1] * spec.groups
    g = Geometry(
        batch, in_channels, w_shape[0], spec.groups, size, kernel, stride, dilation, pads, out, spec.channels_last
    )
    g.check_size()
    return g


def _split(shape: Shape, ndim: int, w_shape: Shape, channels_last: bool) -> tuple[int, int, Shape]:
    """Split the shape of x into batch size, number of channels and spatial sizes."""
    form = "(N, *spatial, C)" if channels_last else "(N, C, *spatial)"
    if len(shape) != ndim + 2:
        raise ConvError(
            f"x must have {ndim + 2} axes, {form}, as w of shape {w_shape} has {_axes(ndim)}, but its shape is {shape}"
        )
    batch, rest = shape[0], shape[1:]
    channels, size = (rest[-1], rest[:-1]) if channels_last else (rest[0], rest[1:])
    if channels == 0:
        raise ConvError(f"x has no channels: its shape is {shape}, {form}")
    if 0 in size:
        raise ConvError(f"x has a spatial axis of size 0: its shape is {shape}, {form}")
    return batch, channels, size


def _halves(total: int, *, upper: bool) -> tuple[int, int]:
    less, more = total // 2, total - total // 2
    return (less, more) if upper else (more, less)


def _each(value: Ints, ndim: int) -> Shape:
    return (value,) * ndim if isinstance(value, int) else value


def _axes(count: int) -> str:
    return f"{count} spatial ax{'is' if count == 1 else 'es'}"
