"""A convolution with all options resolved: its shapes, and the arithmetic on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from multiconv.core.errors import ConvError
from multiconv.core.types import Pads, Shape

LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Geometry:
    """A convolution with all options resolved. `ConvSpec.resolve` creates it.

    Attributes
    ----------
    batch, in_channels, out_channels, groups : int
    size, kernel, stride, dilation, out : tuple of int
        One number per spatial axis. `size` is the size of the input without padding, `out` the size of the output.
    pads : tuple of (int, int)
        Zeros before and after each spatial axis.
    channels_last : bool
        Whether the channels are the last axis of input and output.
    """

    batch: int
    in_channels: int
    out_channels: int
    groups: int
    size: Shape
    kernel: Shape
    stride: Shape
    dilation: Shape
    pads: Pads
    out: Shape
    channels_last: bool = False

    @property
    def ndim(self) -> int:
        """Return the number of spatial axes."""
        return len(self.kernel)

    @property
    def x_shape(self) -> Shape:
        """Return the shape of the input, in its layout."""
        return self._shape(self.in_channels, self.size)

    @property
    def w_shape(self) -> Shape:
        """Return the shape of the kernel, (C_out, C_in / groups, \\*kernel)."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    @property
    def y_shape(self) -> Shape:
        """Return the shape of the output, in its layout."""
        return self._shape(self.out_channels, self.out)

    @property
    def extent(self) -> Shape:
        """Compute the number of pixels that the dilated kernel spans along each axis."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation))

    @property
    def padded(self) -> Shape:
        """Compute the size of the input including its padding."""
        return tuple(n + before + after for n, (before, after) in zip(self.size, self.pads))

    @property
    def symmetric(self) -> bool:
        """Return whether the padding before and after is equal on each axis."""
        return all(before == after for before, after in self.pads)

    @property
    def output_padding(self) -> Shape:
        """Compute the number of pixels at the end of each padded axis that no output sees."""
        return tuple(n - (o - 1) * s - e for n, o, s, e in zip(self.padded, self.out, self.stride, self.extent))

    @property
    def products(self) -> int:
        """Compute the number of multiplications per image, the usual measure of a layer's cost."""
        return prod(self.out) * prod(self.w_shape)

    def within_reach(self) -> Geometry:
        """Return an equivalent geometry without strides and dilations that have no effect.

        Some frameworks fail on them. They are strides and dilations that pass the end of the input, and the dilation of
        an axis on which the kernel has one tap.

        Examples
        --------
        >>> from multiconv import ConvSpec
        >>> ConvSpec(stride=2**31 - 1).resolve((1, 1, 5), (1, 1, 2)).within_reach().stride
        (5,)
        >>> ConvSpec(dilation=3).resolve((1, 1, 5, 5), (1, 1, 2, 1)).within_reach().dilation
        (3, 1)
        """
        return replace(
            self,
            stride=tuple(min(s, n) for s, n in zip(self.stride, self.padded)),
            dilation=tuple(1 if k == 1 else min(d, n) for k, d, n in zip(self.kernel, self.dilation, self.padded)),
        )

    def without_padding(self) -> Geometry:
        """Return the geometry with the same outputs for an input that already contains its padding."""
        return replace(self, size=self.padded, pads=((0, 0),) * self.ndim)

    def with_layout(self, *, channels_last: bool) -> Geometry:
        """Return the geometry of the same convolution in this layout."""
        return replace(self, channels_last=channels_last)

    def check_size(self) -> None:
        """Check that neither the padded input nor the result has more than 2^31 - 1 elements.

        Frameworks use 32-bit indices in places. Beyond them, some abort and some give wrong answers.

        Raises
        ------
        ConvError
        """
        batch = max(self.batch, 1)
        check_count("the padded input", batch * self.in_channels * prod(self.padded))
        check_count("the result", batch * self.out_channels * prod(self.out))

    def _shape(self, channels: int, spatial: Shape) -> Shape:
        return (self.batch, *spatial, channels) if self.channels_last else (self.batch, channels, *spatial)


def check_count(what: str, count: int) -> None:
    """Refuse an array of more than 2^31 - 1 elements."""
    if count > LARGEST:
        raise ConvError(f"{what} would have {count} elements, more than 2^31 - 1")
