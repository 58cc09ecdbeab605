"""The layer sets against the architectures, walked through block by block, and against published totals."""

from __future__ import annotations

from collections import Counter
from dataclasses import FrozenInstanceError

import pytest

from multiconv.core.errors import UsageError
from multiconv.core.spec import ConvSpec
from multiconv.layers import Layer, layers, networks, source

ALL = [layer for network in networks() for layer in layers(network)]
EVERY_LAYER = pytest.mark.parametrize("layer", ALL, ids=lambda layer: f"{layer.network}-{layer.name}")
EVERY_NETWORK = pytest.mark.parametrize("network", ["resnet50", "vgg19", "mobilenet_v1"])


class Walk:
    """A walk through a network: the feature map at hand, and every convolution met, with its cost."""

    def __init__(self, bias):
        self.channels, self.size, self.bias = 3, 224, bias
        self.met, self.multiply_adds, self.parameters = [], 0, 0

    def conv(self, out, kernel, stride=1, groups=1):
        padding = {1: 0, 3: 1, 7: 3}[kernel]
        self.met.append((self.channels, out, self.size, kernel, stride, padding, groups, self.bias))
        weights = out * (self.channels // groups) * kernel * kernel
        self.size = (self.size + 2 * padding - kernel) // stride + 1
        self.multiply_adds += weights * self.size**2
        self.parameters += weights + out * self.bias
        self.channels = out


def resnet50():
    walk = Walk(bias=False)
    walk.conv(64, 7, 2)
    walk.size //= 2  # the 3x3 max pooling of stride 2
    for stage, (blocks, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)]):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            channels, size = walk.channels, walk.size
            walk.conv(width, 1)
            walk.conv(width, 3, stride)
            walk.conv(4 * width, 1)
            after = walk.channels, walk.size
            if block == 0:  # the projection shortcut; in the other blocks the shortcut is the identity
                walk.channels, walk.size = channels, size
                walk.conv(4 * width, 1, stride)
                channels, size = walk.channels, walk.size
            assert after == (channels, size)
    assert (walk.channels, walk.size) == (2048, 7)
    return walk


def vgg19():
    walk = Walk(bias=True)
    for out, convolutions in [(64, 2), (128, 2), (256, 4), (512, 4), (512, 4)]:
        for _ in range(convolutions):
            walk.conv(out, 3)
        walk.size //= 2
    assert (walk.channels, walk.size) == (512, 7)
    return walk


def mobilenet_v1():
    walk = Walk(bias=False)
    walk.conv(32, 3, 2)
    first = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    for out, stride in [*first, *[(512, 1)] * 5, (1024, 2), (1024, 1)]:
        walk.conv(walk.channels, 3, stride, groups=walk.channels)
        walk.conv(out, 1)
    assert (walk.channels, walk.size) == (1024, 7)
    return walk


WALKS = {"resnet50": resnet50, "vgg19": vgg19, "mobilenet_v1": mobilenet_v1}


def as_met(layer):
    (height, width), (rows, columns) = layer.size, layer.kernel
    assert height == width
    assert rows == columns
    return (layer.in_channels, layer.out_channels, height, rows, layer.stride, layer.padding, layer.groups, layer.bias)


def test_networks():
    assert networks() == list(WALKS)


@EVERY_NETWORK
def test_layers_are_those_of_the_architecture(network):
    listed = Counter()
    for layer in layers(network):
        listed[as_met(layer)] += layer.count
    assert listed == Counter(WALKS[network]().met)


@EVERY_NETWORK
def test_layers_come_in_the_order_in_which_a_shape_is_first_met(network):
    assert [as_met(layer) for layer in layers(network)] == list(dict.fromkeys(WALKS[network]().met))


@pytest.mark.parametrize(
    ("network", "convolutions", "multiply_adds", "parameters"),
    [
        # The parameters are those of the whole published network less those of batch normalisation and of what is fully
        # connected: 25 557 032 - 53 120 - 2 049 000, 143 667 240 - 123 642 856 and 4 253 864 - 43 776 - 1 025 000.
        ("resnet50", 53, 4_087_136_256, 23_454_912),
        ("vgg19", 16, 19_508_428_800, 20_024_384),
        ("mobilenet_v1", 27, 567_716_352, 3_185_088),
    ],
)
def test_totals(network, convolutions, multiply_adds, parameters):
    walk = WALKS[network]()
    assert (len(walk.met), walk.multiply_adds, walk.parameters) == (convolutions, multiply_adds, parameters)
    assert sum(layer.count for layer in layers(network)) == convolutions
    assert sum(layer.count * layer.geometry().products for layer in layers(network)) == multiply_adds


@EVERY_NETWORK
def test_each_output_is_the_input_of_a_layer_and_each_input_the_output(network):
    """Or half of it, where a pooling lies between: after ResNet-50's first layer, and after each group of VGG-19."""
    inputs = {(layer.in_channels, layer.size[0]) for layer in layers(network)}
    outputs = set()
    for layer in layers(network):
        (size, _) = layer.geometry().out
        halves = {"resnet50": layer.name == "conv1", "vgg19": layer.in_channels == layer.out_channels}.get(network)
        reached = {(layer.out_channels, size), (layer.out_channels, size // 2 if halves else size)}
        outputs |= reached
        assert reached & inputs
    assert inputs - outputs == {(3, 224)}


@EVERY_NETWORK
def test_names_are_distinct(network):
    assert len({layer.name for layer in layers(network)}) == len(layers(network))
    assert {layer.network for layer in layers(network)} == {network}


def test_the_stride_of_resnet50_v1_5_is_on_the_3x3():
    named = {layer.name: layer for layer in layers("resnet50")}
    for stage in ("conv3_1", "conv4_1", "conv5_1"):
        assert [named[f"{stage}/{part}"].stride for part in (1, 2, 3, "shortcut")] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("network", "paper"), [("resnet50", "1512.03385"), ("vgg19", "1409.1556"), ("mobilenet_v1", "1704.04861")]
)
def test_source_cites_the_paper(network, paper):
    assert f"arXiv:{paper}" in source(network)


@pytest.mark.parametrize("function", [layers, source])
@pytest.mark.parametrize("network", ["resnet", "", None, ["vgg19"]])
def test_unknown_network(function, network):
    with pytest.raises(UsageError, match="network must be one of resnet50, vgg19, mobilenet_v1, not "):
        function(network)


@EVERY_LAYER
def test_geometry(layer):
    g = layer.geometry(batch=5)
    assert g.x_shape == (5, layer.in_channels, *layer.size)
    assert g.w_shape == (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel)
    assert (g.stride, g.groups) == ((layer.stride, layer.stride), layer.groups)
    assert layer.geometry().batch == 1
    assert layer.spec == ConvSpec(stride=layer.stride, padding=layer.padding, groups=layer.groups)


@pytest.mark.parametrize("groups", [0, 2])
def test_a_layer_that_is_no_convolution(groups):
    with pytest.raises(UsageError):
        Layer("wrong", "none", 1, 3, 4, size=(8, 8), kernel=(3, 3), groups=groups).geometry()


def test_layers_are_values():
    assert len(set(ALL)) == len(ALL)
    with pytest.raises(FrozenInstanceError):
        ALL[0].size = (1, 1)


def sizes_to_try(layer):
    """Every size that `reduced` may choose of a square layer, the largest first."""
    (size, _), (kernel, _) = layer.size, layer.kernel
    return [n for n in range(size, 0, -2) if n >= kernel]


@EVERY_LAYER
@pytest.mark.parametrize("products", [0, 10_000, 1_000_000, 30_000_000, 10**10])
def test_reduced_is_the_largest_that_is_small_enough(layer, products):
    small = layer.reduced(products)
    weights = layer.in_channels // layer.groups * layer.out_channels * layer.kernel[0] ** 2
    outputs = {n: (n + 2 * layer.padding - layer.kernel[0]) // layer.stride + 1 for n in sizes_to_try(layer)}
    costs = {n: weights * out**2 for n, out in outputs.items()}
    fitting = [n for n in costs if costs[n] <= products]
    wanted = fitting[0] if fitting else min(costs)
    assert small.size == (wanted, wanted)
    assert small.geometry().products == costs[wanted]
    assert (small is layer) == (wanted == layer.size[0])


@EVERY_LAYER
def test_reduced_changes_only_the_size_and_no_phase(layer):
    small = layer.reduced(1_000_000)
    assert [n % 2 for n in small.size] == [n % 2 for n in layer.size]
    assert small.geometry().output_padding == layer.geometry().output_padding
    assert small.reduced(1_000_000) is small
    assert Layer(**{**vars(small), "size": layer.size}) == layer


def test_reduced_of_a_layer_that_is_not_square():
    layer = Layer("wide", "none", 1, 1, 1, size=(11, 40), kernel=(3, 5), stride=(3, 1), padding=(0, 2))
    assert layer.geometry().out == (3, 40)
    assert layer.reduced(3 * 40 * 15) is layer
    assert layer.reduced(3 * 40 * 15 - 1).size == (5, 38)  # stride 3: by six, to keep 11 % 3 and 11 % 2
    assert layer.reduced(0).size == (5, 6)


def test_reduced_leaves_an_input_smaller_than_its_kernel_alone():
    layer = Layer("padded", "none", 1, 1, 1, size=(2, 2), kernel=(3, 3), padding=1)
    assert layer.reduced(0) is layer
