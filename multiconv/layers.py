"""The convolution layers of well-known networks and benchmarks: real shapes to check and to time.

The networks are in ``data/layers.json`` and the lists of benchmarks in ``data/layer_sets.json``, each with its source.
A shape that occurs several times is one layer with a `count`, under the name of the first occurrence.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from math import lcm
from typing import Any

from multiconv.core.errors import UsageError, suggestion
from multiconv.core.geometry import Geometry
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Ints, Padding

LAPTOP_SOURCE = "One layer of each kind from the other sets; chosen for multiconv."
LAPTOP = (
    ("resnet50", "conv1"),
    ("resnet50", "conv2_1/2"),
    ("resnet50", "conv4_1/3"),
    ("vgg19", "conv4_2"),
    ("mobilenet_v1", "conv4/dw"),
    ("single_channel", "mb1ic1ih512oc1oh512kh11ph5"),
)
ENTRY = re.compile(r"([a-z]+)(\d+)")
SHAPES = ("x", "w", "stride", "padding", "dilation", "groups")


@dataclass(frozen=True)
class Layer:
    """A convolution layer of a network.

    Attributes
    ----------
    name : str
        The name of the layer in the network; if several layers have this shape, the name of the first.
    network : str
    count : int
        Number of layers of this shape in the network.
    in_channels, out_channels : int
    size, kernel : tuple of int
        Height and width of the input, without padding, and of the kernel.
    stride, padding, groups
        As in `multiconv.ConvSpec`.
    bias : bool
        Whether the layer has a bias.
    dilation
        As in `multiconv.ConvSpec`.
    batch : int
        The batch size in its source; 1 if the source leaves it open.

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
    dilation: Ints = 1
    batch: int = 1

    @property
    def spec(self) -> ConvSpec:
        """Return the options of the layer.

        Examples
        --------
        >>> layers("mobilenet_v1")[1].spec
        ConvSpec(stride=1, padding=1, dilation=1, groups=32, layout=None)
        """
        return ConvSpec(self.stride, self.padding, self.dilation, self.groups)

    def geometry(self, batch: int | None = None) -> Geometry:
        """Compute the geometry of the layer for a batch size. The default is the batch size of its source.

        Raises
        ------
        UsageError
            If the layer is not a valid convolution, such as one whose groups don't divide its channels.

        Examples
        --------
        >>> g = layers("resnet50")[0].geometry(batch=8)
        >>> g.x_shape, g.w_shape, g.y_shape
        ((8, 3, 224, 224), (64, 3, 7, 7), (8, 64, 112, 112))
        """
        spec = self.spec
        w_shape = (self.out_channels, self.in_channels // self.groups, *self.kernel)
        images = self.batch if batch is None else batch
        return spec.resolve((images, self.in_channels, *self.size), w_shape)

    def reduced(self, products: int) -> Layer:
        """Return the same layer with a smaller input, so that an image takes at most this many multiplications.

        Each axis keeps its parity and its remainder modulo the stride, so that the last window ends as far from the
        border as before. No axis becomes smaller than what the kernel spans.

        Parameters
        ----------
        products : int
            The maximum number of multiplications per image, as `Geometry.products` counts them.

        Returns
        -------
        Layer
            The largest such layer, or the smallest possible one if even that takes more. A layer that is small enough
            is returned unchanged.

        Examples
        --------
        >>> stem = layers("resnet50")[0]
        >>> stem.geometry().products
        118013952
        >>> small = stem.reduced(1_000_000)
        >>> small.size, small.geometry().products
        ((20, 20), 940800)
        """
        strides, dilations = self.spec.each(2)
        extent = [(k - 1) * d + 1 for k, d in zip(self.kernel, dilations)]
        layer = self
        while layer.geometry().products > products:
            height, width = (n - lcm(2, s) if n - lcm(2, s) >= e else n for n, e, s in zip(layer.size, extent, strides))
            if (height, width) == layer.size:
                break
            layer = replace(layer, size=(height, width))
        return layer


def networks() -> list[str]:
    """Return the names of the networks whose layers are known.

    Examples
    --------
    >>> from multiconv.layers import networks
    >>> networks()
    ['resnet50', 'vgg19', 'mobilenet_v1']
    """
    return list(_networks())


def layers(network: str) -> tuple[Layer, ...]:
    """Return the convolution layers of a network, from input to output, one for each distinct shape.

    Raises
    ------
    UsageError
        If there is no such network.

    Examples
    --------
    >>> from multiconv.layers import layers
    >>> len(layers("vgg19")), sum(layer.count for layer in layers("vgg19"))
    (9, 16)
    """
    return _layers(_known(network))


def source(network: str) -> str:
    """Return the source of the layers of a network: the paper, and which variant.

    Raises
    ------
    UsageError
        If there is no such network.

    Examples
    --------
    >>> from multiconv.layers import source
    >>> source("vgg19").partition(":")[0]
    'VGG-19'
    """
    text: str = _networks()[_known(network)]["source"]
    return text


@dataclass(frozen=True)
class LayerSet:
    """Layers that are timed together.

    Attributes
    ----------
    name : str
    source : str
        Where they come from.
    layers : tuple of Layer
    """

    name: str
    source: str
    layers: tuple[Layer, ...]


def layer_sets() -> list[str]:
    """Return the names of all sets of layers, including the networks.

    Examples
    --------
    >>> layer_sets()
    ['resnet50', 'vgg19', 'mobilenet_v1', 'convnet_benchmarks', 'single_channel', 'deepbench_training', ...]
    """
    return [*networks(), *_layer_sets(), "laptop"]


def layer_set(name: str) -> LayerSet:
    """Return a set of layers by name.

    Raises
    ------
    UsageError
        If there is no set of this name.

    Examples
    --------
    >>> [layer.kernel for layer in layer_set("single_channel").layers]
    [(3, 3), (11, 11), (31, 31)]
    >>> sum(layer.count for layer in layer_set("deepbench_training").layers)
    94
    """
    if name in networks():
        return LayerSet(name, source(name), layers(name))
    if name == "laptop":
        return LayerSet(name, LAPTOP_SOURCE, tuple(_named(*chosen) for chosen in LAPTOP))
    if name not in _layer_sets():
        known = layer_sets()
        raise UsageError(f"the set of layers must be one of {', '.join(known)}, not {name!r}{suggestion(name, known)}")
    entry = _layer_sets()[name]
    counts = Counter(entry["layers"])
    chosen = (replace(parse_layer(text), network=name, count=count) for text, count in counts.items())
    return LayerSet(name, entry["source"], tuple(chosen))


def parse_layer(text: str) -> Layer:
    """Parse a layer: a benchdnn descriptor, shapes and options, or the names of its set and of the layer.

    In a descriptor, a missing width equals the height. If ``oh`` takes more pixels than the padding gives, the rest is
    padded after the image. ``dh`` counts the pixels between taps. The default batch size is 2.

    Parameters
    ----------
    text : str
        ``"mb1ic64ih56oc64oh56kh3ph1"``, ``"x=1,64,56,56 w=64,64,3,3 stride=1 padding=1 dilation=1 groups=1"`` or
        ``"resnet50 conv2_1/2"``.

    Raises
    ------
    UsageError
        If it is none of these, or not a valid convolution with two spatial axes.

    References
    ----------
    oneDNN, tests/benchdnn/doc/driver_conv.md and knobs_desc.md; the defaults are those of tests/benchdnn/conv.

    Examples
    --------
    >>> layer = parse_layer("mb1ic64ih56oc64oh28kh3sh2ph0")
    >>> layer.size, layer.stride, layer.padding
    ((56, 56), (2, 2), ((0, 1), (0, 1)))
    >>> parse_layer("x=8,3,224,224 w=64,3,7,7 stride=2 padding=3").geometry().y_shape
    (8, 64, 112, 112)
    >>> parse_layer("resnet50 conv2_1/2").out_channels
    64
    """
    if "=" in text:
        layer = _from_shapes(text)
    elif " " in text.strip():
        layer = _named(*text.split(maxsplit=1))
    else:
        layer = _from_descriptor(text)
    layer.geometry()
    return layer


def descriptor(layer: Layer, batch: int | None = None) -> str:
    """Return the layer as a benchdnn descriptor, in the short form for square layers where possible.

    Examples
    --------
    >>> descriptor(parse_layer("resnet50 conv1"))
    'mb1ic3ih224oc64oh112kh7sh2ph3'
    >>> descriptor(parse_layer("mobilenet_v1 conv2/dw"), batch=8)
    'g32mb8ic32ih112oc32oh112kh3ph1'
    """
    g = layer.geometry(batch)
    along = {
        "i": g.size,
        "o": g.out,
        "k": g.kernel,
        "s": g.stride,
        "p": tuple(before for before, _ in g.pads),
        "d": tuple(d - 1 for d in g.dilation),
    }
    square = all(height == width for height, width in along.values())
    parts = {
        what: "".join(f"{what}{axis}{n}" for axis, n in zip("h" if square else "hw", sizes))
        for what, sizes in along.items()
        if what in "iokp" or set(sizes) != {1 if what == "s" else 0}
    }
    groups = f"g{g.groups}" if g.groups > 1 else ""
    rest = "".join(text for what, text in parts.items() if what not in "io")
    return f"{groups}mb{g.batch}ic{g.in_channels}{parts['i']}oc{g.out_channels}{parts['o']}{rest}"


def _named(set_name: str, name: str) -> Layer:
    found = [layer for layer in layer_set(set_name).layers if layer.name == name]
    if not found:
        names = ", ".join(layer.name for layer in layer_set(set_name).layers)
        raise UsageError(f"{set_name} has no layer {name!r}: its layers are {names}")
    return found[0]


def _from_shapes(text: str) -> Layer:
    options: dict[str, Any] = {}
    for word in text.split():
        name, _, value = word.partition("=")
        if name not in SHAPES or not value:
            raise UsageError(
                f"a layer is written as {' '.join(f'{s}=...' for s in SHAPES)}: {word!r} has no place in it"
            )
        numbers = value.split(",")
        if not all(n.isdecimal() for n in numbers):
            if name != "padding":
                raise UsageError(f"{name} of a layer must be ints, not {value!r}")
            options[name] = value
        else:
            options[name] = tuple(map(int, numbers)) if name in "xw" or len(numbers) > 1 else int(numbers[0])
    x, w = options.pop("x", ()), options.pop("w", ())
    if len(x) != 4 or len(w) != 4:
        raise UsageError(f"a layer needs x=N,C_in,H,W and w=C_out,C_in/groups,H,W, but {text!r} has x={x} and w={w}")
    layer = Layer(text, "", 1, x[1], w[0], x[2:], w[2:], batch=x[0], **options)
    layer.spec.resolve(x, w)
    return layer


def _from_descriptor(text: str) -> Layer:
    """Parse a descriptor by the rules of benchdnn's str2desc."""
    body, _, _ = text.partition("n") if 'n"' in text else (text, "", "")
    body = body.replace("_", "")
    entries = {what: int(number) for what, number in ENTRY.findall(body)}
    known = {"g", "mb", "ic", "oc"} | {what + axis for what in "iokspd" for axis in "hw"}
    if "".join(f"{a}{b}" for a, b in ENTRY.findall(body)) != body or not {"ic", "oc", "ih", "kh"} <= set(entries):
        raise UsageError(f"a layer's descriptor is written as mb1ic64ih56oc64oh56kh3ph1, not as {text!r}")
    if not set(entries) <= known:
        strange = ", ".join(sorted(set(entries) - known))
        raise UsageError(f"a layer's descriptor has two spatial axes, h and w, but {text!r} has {strange}")

    def along(axis: str) -> tuple[int, int, int, int, tuple[int, int]]:
        """Return size, kernel, stride, dilation and pads along an axis."""
        n, k, s, d = (
            entries.get(what + axis, entries.get(what + "h", default)) for what, default in zip("iksd", (0, 0, 1, 0))
        )
        extent = (k - 1) * (d + 1) + 1
        out = entries.get("o" + axis, entries.get("oh"))
        before = entries.get("p" + axis, entries.get("ph"))
        if out is None:
            before = before or 0
            return n, k, s, d + 1, (before, before)
        total = (out - 1) * s - n + extent
        before = max(total // 2, 0) if before is None else before
        symmetric = (n + 2 * before - extent) // s + 1 == out
        return n, k, s, d + 1, (before, before if symmetric else max(total - before, 0))

    height, width = along("h"), along("w")
    layer = Layer(
        body,
        "",
        1,
        entries["ic"],
        entries["oc"],
        size=(height[0], width[0]),
        kernel=(height[1], width[1]),
        stride=(height[2], width[2]),
        padding=(height[4], width[4]),
        groups=entries.get("g", 1),
        dilation=(height[3], width[3]),
        batch=entries.get("mb", 2),
    )
    wanted = tuple(entries.get("o" + axis, entries.get("oh", out)) for axis, out in zip("hw", layer.geometry().out))
    if layer.geometry().out != wanted:
        raise UsageError(f"{text!r} states an output of {wanted}, but its other sizes give {layer.geometry().out}")
    return layer


@cache
def _layer_sets() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(files("multiconv.data").joinpath("layer_sets.json").read_text(encoding="utf-8"))
    return data


def _known(network: str) -> str:
    if network not in networks():
        raise UsageError(f"network must be one of {', '.join(networks())}, not {network!r}")
    return network


@cache
def _networks() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(files("multiconv.data").joinpath("layers.json").read_text(encoding="utf-8"))
    return data


@cache
def _layers(network: str) -> tuple[Layer, ...]:
    return tuple(_layer(network, entry) for entry in _networks()[network]["layers"])


def _layer(network: str, entry: dict[str, Any]) -> Layer:
    """Create a layer from its JSON, which has lists instead of tuples."""
    size, kernel = tuple(entry["size"]), tuple(entry["kernel"])
    return Layer(**{**entry, "network": network, "size": size, "kernel": kernel})
