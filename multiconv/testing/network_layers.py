"""Problems from the convolution layers of well-known networks, so that common sizes are always tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from multiconv import layers
from multiconv.oracle.problem import Problem
from multiconv.testing.levels import NOTHING
from multiconv.testing.problem_values import with_values

LAYOUTS = {"resnet50": "NHWC", "vgg19": "NCHW", "mobilenet_v1": "NHWC"}
"""The layout in which each network was published."""
CANDIDATE_PRODUCTS = 250_000
"""Maximum number of multiplications in a layer for a third-party function, which may be a loop in Python."""


def layer_problem(layer: layers.Layer, dtype: str, values: str, seed: int, products: int) -> Problem:
    """Return a network's layer as a problem, on an image small enough for about `products` multiplications.

    Parameters
    ----------
    layer : Layer
    dtype, values : str
    seed : int
    products : int
        Number of multiplications, as in `multiconv.layers.Layer.reduced`.

    Examples
    --------
    >>> layer_problem(layers.layers("resnet50")[0], "float32", "normal", 0, 10**6).source
    'resnet50 conv1 at 20x20'
    """
    small = layer.reduced(products)
    spec = replace(small.spec, layout=LAYOUTS[layer.network])
    g = small.geometry().with_layout(channels_last=spec.channels_last)
    resized = "" if small.size == layer.size else f" at {small.size[0]}x{small.size[1]}"
    return with_values(
        f"{layer.network} {layer.name}{resized}", spec, g, dtype, bias=small.bias, values=values, seed=seed
    )


def layer_problems(
    dtype: str, values: Sequence[str], seed: int, fixed: Mapping[str, Any] = NOTHING, products: int = CANDIDATE_PRODUCTS
) -> list[Problem]:
    """Return the networks' layers as problems: those that match the fixed options and are small enough.

    Parameters
    ----------
    dtype : str
    values : sequence of str
        The kinds of values to use. If both integers and normal values are among them, these two alternate.
    seed : int
    fixed : mapping
        As in `multiconv.testing.drawing.draw_problems`.
    products : int
        Maximum number of multiplications in a layer, on a smaller image.

    Examples
    --------
    >>> {p.geometry.kernel for p in layer_problems("float32", ["integers"], 0, {"kernel": 7})}
    {(7, 7)}
    """
    kinds = [kind for kind in ("integers", "normal") if kind in values] or list(values[:1])
    found: list[Problem] = []
    for layer in (layer for network in layers.networks() for layer in layers.layers(network)):
        small = layer.reduced(products)
        if small.geometry().products <= products and _has(small, fixed):
            named = replace(layer, padding=fixed.get("padding", layer.padding), bias=fixed.get("bias", layer.bias))
            found.append(layer_problem(named, dtype, kinds[len(found) % len(kinds)], seed, products))
    return found


def _has(layer: layers.Layer, fixed: Mapping[str, Any]) -> bool:
    """Return whether a layer matches the fixed options. The bias is ignored, as every layer works with or without."""
    g = layer.geometry()
    own: dict[str, Any] = {
        "ndim": g.ndim, "batch": g.batch, "groups": g.groups, "in_channels": g.in_channels,
        "out_channels": g.out_channels, "kernel": g.kernel, "size": g.size, "stride": g.stride, "dilation": g.dilation,
    }  # fmt: skip
    if "padding" in fixed and replace(layer.spec, padding=fixed["padding"]).pads(g.size, g.kernel) != g.pads:
        return False
    return all(own[name] in (value, (value,) * g.ndim) for name, value in fixed.items() if name in own)
