"""The convolution layers of well-known networks: real shapes to check and to time.

They lie in ``data/layers.json``, each network with its source. A shape that a network has several times is one layer
with a `count`, under the name of its first.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from math import lcm
from typing import Any

from multiconv.errors import ConvError
from multiconv.spec import ConvSpec, Geometry, Ints, Padding


@dataclass(frozen=True)
class Layer:
    """A convolution layer of a network.

    Attributes
    ----------
    name : str
        The layer's name in the network; where several have this shape, the first one's.
    network : str
    count : int
        How many layers of this shape the network has.
    in_channels, out_channels : int
    size, kernel : tuple of int
        Height and width of the input, without padding, and of the kernel.
    stride, padding, groups
        As in `multiconv.ConvSpec`.
    bias : bool
        Whether the layer has a bias.

    Examples
    --------
    >>> from multiconv.layers import layers
    >>> stem = layers("resnet50")[0]
    >>> stem.name, stem.in_channels, stem.out_channels, stem.size, stem.kernel, stem.stride
    ('conv1', 3, 64, (224, 224), (7, 7), 2)
    """

    name: str
    network: str
    count: int
    in_channels: int
    out_channels: int
    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: Ints = 1
    padding: Padding = 0
    groups: int = 1
    bias: bool = False

    @property
    def spec(self) -> ConvSpec:
        """The layer's options.

        Examples
        --------
        >>> layers("mobilenet_v1")[1].spec
        ConvSpec(stride=1, padding=1, dilation=1, groups=32, layout=None)
        """
        return ConvSpec(self.stride, self.padding, groups=self.groups)

    def geometry(self, batch: int = 1) -> Geometry:
        """The layer's convolution of this many images.

        Raises
        ------
        ConvError
            If the layer is no convolution, such as one whose groups don't divide its channels.

        Examples
        --------
        >>> g = layers("resnet50")[0].geometry(batch=8)
        >>> g.x_shape, g.w_shape, g.y_shape
        ((8, 3, 224, 224), (64, 3, 7, 7), (8, 64, 112, 112))
        """
        spec = self.spec
        w_shape = (self.out_channels, self.in_channels // self.groups, *self.kernel)
        return spec.resolve((batch, self.in_channels, *self.size), w_shape)

    def reduced(self, products: int) -> Layer:
        """The same layer with an input as much smaller as it takes for so few multiplications an image.

        Each axis keeps its parity and its remainder by the stride, so that the last window ends as far from the border
        as it did, and does not get smaller than the kernel.

        Parameters
        ----------
        products : int
            The most multiplications that an image may take, as `Geometry.products` counts them.

        Returns
        -------
        Layer
            The largest such; the smallest possible if even that takes more; the layer itself if it is small enough.

        Examples
        --------
        >>> stem = layers("resnet50")[0]
        >>> stem.geometry().products
        118013952
        >>> small = stem.reduced(1_000_000)
        >>> small.size, small.geometry().products
        ((20, 20), 940800)
        """
        strides, _ = self.spec.each(2)
        layer = self
        while layer.geometry().products > products:
            height, width = (
                n - lcm(2, s) if n - lcm(2, s) >= k else n for n, k, s in zip(layer.size, self.kernel, strides)
            )
            if (height, width) == layer.size:
                break
            layer = replace(layer, size=(height, width))
        return layer


def networks() -> list[str]:
    """The networks whose layers are known.

    Examples
    --------
    >>> from multiconv.layers import networks
    >>> networks()
    ['resnet50', 'vgg19', 'mobilenet_v1']
    """
    return list(_networks())


def layers(network: str) -> tuple[Layer, ...]:
    """The convolution layers of a network, from input to output, one for each distinct shape.

    Raises
    ------
    ConvError
        If there is no such network.

    Examples
    --------
    >>> from multiconv.layers import layers
    >>> len(layers("vgg19")), sum(layer.count for layer in layers("vgg19"))
    (9, 16)
    """
    return _layers(_known(network))


def source(network: str) -> str:
    """Where the layers of a network are from: the paper, and which variant.

    Raises
    ------
    ConvError
        If there is no such network.

    Examples
    --------
    >>> from multiconv.layers import source
    >>> source("vgg19").partition(":")[0]
    'VGG-19'
    """
    text: str = _networks()[_known(network)]["source"]
    return text


def _known(network: str) -> str:
    if network not in networks():
        raise ConvError(f"network must be one of {', '.join(networks())}, not {network!r}")
    return network


@cache
def _networks() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(files("multiconv.data").joinpath("layers.json").read_text(encoding="utf-8"))
    return data


@cache
def _layers(network: str) -> tuple[Layer, ...]:
    return tuple(_layer(network, entry) for entry in _networks()[network]["layers"])


def _layer(network: str, entry: dict[str, Any]) -> Layer:
    """A layer from its JSON, which has lists for tuples."""
    size, kernel = tuple(entry["size"]), tuple(entry["kernel"])
    return Layer(**{**entry, "network": network, "size": size, "kernel": kernel})
