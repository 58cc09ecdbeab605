"""`mc.identify` on the layers of ResNet-50, VGG-19 and MobileNet v1, as layers of torch, Keras, Flax and Gluon."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from subjects.identified import assert_is

import multiconv as mc
from multiconv import layers
from multiconv.core.types import Host
from multiconv.layers import Layer


def distinct_layers() -> list[Layer]:
    """The layers of the networks with a few channels, each kind once."""
    found: dict[Any, Layer] = {}
    for network in layers.networks():
        for layer in layers.layers(network):
            depthwise = layer.groups > 1
            channels = 4 if depthwise else min(layer.in_channels, 4 + layer.in_channels % 3)
            small = replace(
                layer,
                in_channels=channels,
                out_channels=channels if depthwise else 6,
                groups=channels if depthwise else 1,
            )
            found.setdefault((network, small.kernel, small.spec, channels, small.bias), small)
    return list(found.values())


LAYERS = distinct_layers()


def test_every_network_has_layers() -> None:
    assert {layer.network for layer in LAYERS} == {"resnet50", "vgg19", "mobilenet_v1"}
    assert {(layer.kernel, layer.stride) for layer in LAYERS} >= {((7, 7), 2), ((3, 3), 1), ((1, 1), 1), ((3, 3), 2)}


def weights(layer: Layer) -> tuple[Host, Host | None]:
    rng = np.random.default_rng(0)
    w = rng.standard_normal((layer.out_channels, layer.in_channels // layer.groups, *layer.kernel)).astype("float32")
    return w, rng.standard_normal(layer.out_channels).astype("float32") if layer.bias else None


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: f"{layer.network} {layer.name}")
def test_a_layer_of_a_network_as_torch_s_own(layer: Layer) -> None:
    import torch

    w, bias = weights(layer)
    module = torch.nn.Conv2d(
        layer.in_channels, layer.out_channels, layer.kernel, layer.stride, layer.padding,  # type: ignore[arg-type]
        groups=layer.groups, bias=layer.bias,
    )  # fmt: skip
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(w))
        if bias is not None and module.bias is not None:
            module.bias.copy_(torch.from_numpy(bias))
    found = mc.identify(module)
    assert_is(found, layer.spec, w, bias)
    assert found.known_by["in_channels"] == "read"
    assert np.array_equal(mc.subject(module).reading.w, w)  # type: ignore[arg-type]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: f"{layer.network} {layer.name}")
def test_a_layer_of_a_network_as_keras_s_own(layer: Layer) -> None:
    import keras

    w, bias = weights(layer)
    pads = layer.padding
    conv: Any
    if layer.groups > 1:
        conv = keras.layers.DepthwiseConv2D(layer.kernel, strides=layer.stride, use_bias=layer.bias)
        kernel = w.transpose(2, 3, 0, 1)
    else:
        conv = keras.layers.Conv2D(layer.out_channels, layer.kernel, strides=layer.stride, use_bias=layer.bias)
        kernel = w.transpose(2, 3, 1, 0)
    net = keras.Sequential([keras.Input((None, None, layer.in_channels)), keras.layers.ZeroPadding2D(pads), conv])
    conv.set_weights([kernel, *([] if bias is None else [bias])])
    assert_is(mc.identify(net), layer.spec, w, bias)
    assert np.array_equal(mc.subject(net).reading.w, w)  # type: ignore[arg-type]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: f"{layer.network} {layer.name}")
def test_a_layer_of_a_network_as_flax_s_own(layer: Layer) -> None:
    import jax.numpy as jnp
    from flax import nnx

    w, bias = weights(layer)
    padding = layer.padding
    module = nnx.Conv(
        layer.in_channels, layer.out_channels, layer.kernel, strides=layer.stride,
        padding=padding if isinstance(padding, int) else [p if isinstance(p, tuple) else (p, p) for p in padding],
        feature_group_count=layer.groups, use_bias=layer.bias, rngs=nnx.Rngs(0),
    )  # fmt: skip
    module.kernel[...] = jnp.asarray(w.transpose(2, 3, 1, 0))
    if bias is not None:
        module.bias[...] = jnp.asarray(bias)
    assert_is(mc.identify(module), layer.spec, w, bias)
    assert np.array_equal(mc.subject(module).reading.w, w)  # type: ignore[arg-type]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: f"{layer.network} {layer.name}")
def test_a_layer_of_a_network_as_a_gluon_block_in_mxnet_s_python(layer: Layer) -> None:
    w, bias = weights(layer)
    block = mc.backend("mxnet").layer(w, bias, **vars(layer.spec))
    found = mc.identify(block)
    assert_is(found, layer.spec, w, bias)
    assert found.form == "multiconv layer"
