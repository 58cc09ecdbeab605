"""Problems from the layers of well-known networks: the usual sizes, and only those that have what is fixed."""

from __future__ import annotations

import pytest

from multiconv.core.spec import ConvSpec
from multiconv.layers import layers, networks
from multiconv.testing.network_layers import CANDIDATE_PRODUCTS, layer_problem, layer_problems


def test_the_layers_of_networks_are_those_that_are_small_enough():
    problems = layer_problems("float32", ["integers", "normal", "wide"], 0)
    assert len(problems) > 15
    assert {p.source.split()[0] for p in problems} == {"resnet50", "vgg19", "mobilenet_v1"}
    assert all(p.geometry.products <= CANDIDATE_PRODUCTS for p in problems)
    assert [p.values for p in problems[:4]] == ["integers", "normal", "integers", "normal"]
    assert len(layer_problems("float32", ["normal"], 0, products=4 * CANDIDATE_PRODUCTS)) > len(problems)
    assert all(p.spec.layout == {"vgg19": "NCHW"}.get(p.source.split()[0], "NHWC") for p in problems)
    assert {p.dtype for p in layer_problems("float64", ["normal"], 0)} == {"float64"}
    assert {p.values for p in layer_problems("float32", ["ties", "wide"], 0)} == {"ties"}


def test_a_name_says_the_size_of_a_layer_that_was_made_smaller():
    of_their_own = {f"{network} {layer.name}": layer.size for network in networks() for layer in layers(network)}
    smaller = 0
    for problem in layer_problems("float32", ["normal"], 0):
        name, at, size = problem.source.partition(" at ")
        assert bool(at) == (problem.geometry.size != of_their_own[name])
        assert not at or size == "x".join(map(str, problem.geometry.size))
        smaller += bool(at)
    assert smaller > 10


@pytest.mark.parametrize(
    ("fixed", "count"),
    [
        ({"kernel": 3}, None),
        ({"kernel": (3, 3), "stride": 2}, None),
        ({"padding": "same", "stride": 1}, None),
        ({"padding": 1, "kernel": 3}, None),
        ({"padding": ((1, 1), (1, 1)), "kernel": 3}, None),
        ({"bias": False}, None),
        ({"bias": True}, None),
        ({"ndim": 2}, None),
        ({"batch": 1}, None),
        ({"groups": 32}, None),
        ({"in_channels": 3}, None),
        ({"out_channels": 64}, None),
        ({"dilation": 1}, None),
        ({"padding": 5}, 0),
        ({"ndim": 1}, 0),
        ({"batch": 2}, 0),
        ({"dilation": 2}, 0),
        ({"size": 17}, 0),
    ],
    ids=str,
)
def test_only_layers_that_have_all_that_is_fixed_are_asked(fixed, count):
    every = layer_problems("float32", ["normal"], 0)
    some = layer_problems("float32", ["normal"], 0, fixed)
    assert len(some) == count if count is not None else 0 < len(some) <= len(every)
    for problem in some:
        g = problem.geometry
        for name, value in fixed.items():
            if name == "bias":
                assert (problem.bias is not None) == value
            elif name == "padding":
                assert problem.spec.padding == value
                assert g.pads == ConvSpec(problem.spec.stride, value).pads(g.size, g.kernel)
            else:
                assert getattr(g, name) in (value, (value,) * g.ndim)
    wanted = {p.source for p in every if all(has(p, name, value) for name, value in fixed.items())}
    assert {p.source for p in some} == wanted


def has(problem, name, value):
    """Whether a layer has this, by its own numbers."""
    g = problem.geometry
    if name == "bias":
        return True
    if name == "padding":
        return ConvSpec(problem.spec.stride, value).pads(g.size, g.kernel) == g.pads
    return getattr(g, name) in (value, (value,) * g.ndim)


def test_a_layer_of_its_own_size_has_no_size_in_its_name():
    layer = layers("mobilenet_v1")[-2]
    problem = layer_problem(layer, "float32", "normal", 3, 10**12)
    assert problem.source == f"mobilenet_v1 {layer.name}"
    assert problem.x.shape == (1, *layer.size, layer.in_channels)
    assert problem.w.shape[0] == layer.out_channels
    assert (problem.seed, problem.values, problem.dtype) == (3, "normal", "float32")


def test_each_layer_keeps_its_options():
    asked = {p.source.rsplit(" at ")[0]: p for p in layer_problems("float32", ["normal"], 0)}
    for network in ("resnet50", "vgg19", "mobilenet_v1"):
        for layer in layers(network):
            problem = asked.get(f"{network} {layer.name}")
            assert (problem is None) == (layer.reduced(CANDIDATE_PRODUCTS).geometry().products > CANDIDATE_PRODUCTS)
            if problem is not None:
                g, own = problem.geometry, layer.geometry()
                for name in ("kernel", "stride", "dilation", "groups", "in_channels", "out_channels", "pads"):
                    assert getattr(g, name) == getattr(own, name)
                assert (problem.bias is not None) == layer.bias
