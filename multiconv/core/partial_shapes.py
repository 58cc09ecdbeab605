"""Shapes with sizes that a framework does not know yet, as while it traces a function for every batch size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from multiconv.core.errors import ConvError
from multiconv.core.geometry import Geometry
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Array, Shape

PartialShape = tuple[Any, ...]
"""One number per axis, or None where the size is not known yet."""


def shape_of(name: str, array: Array) -> PartialShape:
    """Return the shape of an array. A size that is None or a symbol is not known yet.

    Examples
    --------
    >>> import numpy as np
    >>> shape_of("x", np.zeros((2, 3)))
    (2, 3)
    """
    try:
        return tuple(n if isinstance(n, int) else None for n in array.shape)
    except ValueError as error:  # from TensorFlow
        raise ConvError(f"the number of axes of {name} is not known: set its shape, as with tf.ensure_shape") from error


def completed(x_shape: PartialShape, w_shape: Shape, spec: ConvSpec) -> Shape:
    """Return the shape of an input with the smallest valid size in place of each one that is not known yet.

    Examples
    --------
    >>> completed((None, 3, None, 8), (16, 3, 3, 3), ConvSpec(dilation=2))
    (1, 3, 5, 8)
    """
    _, dilation = spec.each(len(w_shape) - 2)
    fits = [(k - 1) * d + 1 for k, d in zip(w_shape[2:], dilation)]
    return _filled(x_shape, w_shape[1] * spec.groups, fits, spec)


def resolve(operation: str, spec: ConvSpec, shapes: dict[str, PartialShape], output_padding: Any) -> Geometry:
    """Compute the geometry of a convolution with a valid size in place of each one that is not known yet.

    Raises
    ------
    ConvError
        If the known sizes are not those of a valid convolution, or if a size must be known: any size of the kernel, and
        those of the spatial axes of a transposed convolution.
    """
    x_shape, w_shape = shapes["x"], shapes["w"]
    if None in w_shape:
        raise ConvError(f"every size of w must be known, but its shape is {w_shape}")
    ndim = spec.check_kernel(w_shape)
    if operation != "conv_transpose":
        return spec.resolve(completed(x_shape, w_shape, spec), w_shape)
    if None in spatial(x_shape, spec):
        raise ConvError(f"conv_transpose needs the size of every spatial axis of x, but its shape is {x_shape}")
    return spec.resolve_transpose(_filled(x_shape, w_shape[0], [1] * ndim, spec), w_shape, output_padding)


def spatial(shape: Sequence[Any], spec: ConvSpec) -> Sequence[Any]:
    """Return the sizes along the spatial axes."""
    return shape[1:-1] if spec.channels_last else shape[2:]


def agree(shape: PartialShape, right: PartialShape) -> bool:
    """Return whether two shapes are equal as far as both are known."""
    return len(shape) == len(right) and all(None in pair or pair[0] == pair[1] for pair in zip(shape, right))


def _filled(x_shape: PartialShape, channels: int, size: Sequence[int], spec: ConvSpec) -> Shape:
    valid = (1, *size, channels) if spec.channels_last else (1, channels, *size)
    if len(x_shape) != len(valid):
        valid = (1,) * len(x_shape)  # `ConvSpec.resolve` refuses it
    return tuple(fit if n is None else n for n, fit in zip(x_shape, valid))
