"""The frameworks' own layers: they are theirs, hold the weights given, can be trained, and compute what is right."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from flax import nnx

import multiconv as mc
from multiconv.core.spec import ConvSpec
from multiconv.oracle.judgement import judge
from multiconv.oracle.values import seeded
from multiconv.testing.problem_values import given_values, with_values
from multiconv.workers.process import source_places

EVERY_DTYPE = pytest.mark.parametrize("dtype", ["float32", "float64"])
EVERY_RANK = pytest.mark.parametrize("ndim", [1, 2, 3])
FIRST, LAST = ("NCW", "NCHW", "NCDHW"), ("NWC", "NHWC", "NDHWC")


def weights(ndim=2, dtype="float32", kernel=3, channels=(4, 2), bias=True):
    w = seeded((*channels, *[kernel] * ndim), dtype, "integers", 0, 1)
    return w, seeded(channels[:1], dtype, "integers", 0, 2) if bias else None


def expected(x, w, bias, **options):
    """The oracle's result, which integers must equal to the bit."""
    return given_values("given", ConvSpec(**options), x, w, bias=bias).expectations()["layer"]


# ---- They are the framework's own


@EVERY_RANK
def test_torchs_is_torchs(five, ndim):
    own = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)[ndim - 1]
    for padding in (0, 1, (1,) * ndim, ((2, 2),) * ndim, "valid", "same", "same_lower", "full"):
        for options in ({}, {"dilation": 2}, {"groups": 2}, {"layout": FIRST[ndim - 1]}):
            layer = five["torch"].layer(*weights(ndim), padding=padding, **options)
            assert type(layer) is own
    assert type(five["torch"].layer(*weights(ndim), stride=2, padding=1)) is own
    composed = five["torch"].layer(*weights(ndim), padding=((0, 1),) * ndim, layout=LAST[ndim - 1])
    assert type(composed) is torch.nn.Sequential
    assert sum(type(module) is own for module in composed.modules()) == 1


@EVERY_RANK
def test_keras_is_keras(five, ndim):
    own = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)[ndim - 1]
    last = LAST[ndim - 1]
    for options in (
        {},
        {"padding": "same"},
        {"padding": "same_upper"},
        {"padding": "same", "stride": 2},
        {"padding": "same", "dilation": 2},
        {"padding": "valid", "stride": 2},
        {"groups": 2},
    ):
        assert isinstance(five["tensorflow"].layer(*weights(ndim), layout=last, **options), own)
    composed = five["tensorflow"].layer(*weights(ndim), padding=1, layout=last)
    assert isinstance(composed, keras.Model)
    assert sum(isinstance(layer, own) for layer in composed._flatten_layers()) == 1


@EVERY_RANK
def test_flaxs_is_flaxs(five, ndim):
    last = LAST[ndim - 1]
    for padding in (0, 1, ((0, 1),) * ndim, "valid", "same", "same_upper", "same_lower", "full"):
        for options in ({}, {"stride": 2}, {"dilation": 2}, {"stride": 2, "dilation": 2}, {"groups": 2}):
            assert isinstance(five["jax"].layer(*weights(ndim), padding=padding, layout=last, **options), nnx.Conv)
    composed = five["jax"].layer(*weights(ndim))
    assert isinstance(composed, nnx.Sequential)
    assert sum(isinstance(node, nnx.Conv) for _, node in nnx.iter_graph(composed)) == 1


@EVERY_RANK
def test_numpys_is_a_small_class_of_its_own(five, ndim):
    w, bias = weights(ndim)
    layer = five["numpy"].layer(w, bias, stride=2, padding="same")
    assert (type(layer).__module__, type(layer).__name__) == ("multiconv.backends.numpy", "Conv")
    assert layer.spec == ConvSpec(2, "same")
    np.testing.assert_array_equal(layer.weight, w)
    np.testing.assert_array_equal(layer.bias, bias)


IN_MXNET = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("serve", sys.argv[1])
serve = importlib.util.module_from_spec(spec)
spec.loader.exec_module(serve)
sys.meta_path.insert(0, serve.Source(json.loads(sys.argv[2])))

import numpy as np
from mxnet import autograd, nd
from multiconv.backends.mxnet import MxnetBackend

found = {}
backend = MxnetBackend()
for ndim, last in ((1, "NWC"), (2, "NHWC"), (3, "NDHWC")):
    x = nd.ones((2, 2) + (5,) * ndim)
    w, bias = np.ones((4, 2) + (3,) * ndim, "float32"), np.ones(4, "float32")
    layer = backend.layer(w, bias, padding=1, stride=2, dilation=1)
    before = layer(x).asnumpy()
    w[...], bias[...] = 9, 9
    kept = bool((layer(x).asnumpy() == before).all())
    with autograd.record():
        y = layer(x)
    y.backward()
    parameters = layer.collect_params().values()
    found[ndim] = {
        "plain": type(layer).__module__ + "." + type(layer).__name__,
        "composed": type(backend.layer(w, bias, padding="same", stride=2, layout=last)).__name__,
        "within": [type(b).__name__ for b in backend.layer(w, bias, padding="same", stride=2, layout=last)],
        "kept": kept,
        "parameters": sorted((list(p.shape), p.grad_req, bool(p.grad().asnumpy().any())) for p in parameters),
        "without bias": len(list(backend.layer(w).collect_params().keys())),
    }
print(json.dumps(found))
"""


def test_gluons_is_gluons_and_can_be_trained(five):
    places = source_places("multiconv.backends.mxnet:MxnetBackend")
    serve = f"{places['multiconv']}/guest/serve.py"
    command = [str(five["mxnet"].python), "-I", "-c", IN_MXNET, serve, json.dumps(places)]
    asked = subprocess.run(command, capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    for ndim, found in json.loads(asked.stdout.splitlines()[-1]).items():
        own = f"Conv{ndim}D"
        assert found == {
            "plain": f"mxnet.gluon.nn.conv_layers.{own}",
            "composed": "Sequential",
            "within": ["Lambda", "Lambda", own, "Lambda"],
            "kept": True,
            "parameters": [[[4], "write", True], [[4, 2, *[3] * int(ndim)], "write", True]],
            "without bias": 1,
        }


# ---- They hold the weights given


CONFIGURATIONS = [
    {},
    {"padding": ((0, 1), (1, 0)), "layout": "NHWC"},
    {"padding": "same", "stride": 2, "layout": "NCHW"},
]


@EVERY_DTYPE
@pytest.mark.parametrize("options", CONFIGURATIONS)
def test_changing_an_array_afterwards_changes_no_layer(backend, options, dtype):
    w, bias = weights(dtype=dtype)
    x = seeded((2, 5, 6, 2) if options.get("layout") == "NHWC" else (2, 2, 5, 6), dtype, "integers", 0, 0)
    right = expected(x, w, bias, **options)
    for asarray in (np.array, backend.asarray):
        given = [asarray(w.copy()), asarray(bias.copy())]
        layer = backend.layer(*given, **options)
        assert judge(backend.to_numpy(layer(backend.asarray(x))), right).fault is None
        for array in given:
            if isinstance(array, (np.ndarray, torch.Tensor)):  # the others can't be changed
                array[...] = 99
        assert judge(backend.to_numpy(layer(backend.asarray(x))), right).fault is None


@EVERY_DTYPE
@pytest.mark.parametrize("options", CONFIGURATIONS)
def test_training_a_layer_changes_no_array(five, options, dtype):
    w, bias = weights(dtype=dtype)
    before = w.copy(), bias.copy()
    layer = five["torch"].layer(w, bias, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 1
    five["tensorflow"].layer(w, bias, **options).set_weights([np.zeros((3, 3, 2, 4)), np.zeros(4)])
    np.testing.assert_array_equal(w, before[0])
    np.testing.assert_array_equal(bias, before[1])


def shapes(dtype, bias):
    return sorted([((4,), dtype)] * bias + [((4, 2, 3, 3), dtype)])


@EVERY_DTYPE
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("options", CONFIGURATIONS)
def test_torchs_parameters_are_the_weights(five, options, bias, dtype):
    w, b = weights(dtype=dtype, bias=bias)
    parameters = dict(five["torch"].layer(w, b, **options).named_parameters())
    assert sorted((tuple(p.shape), str(p.dtype).removeprefix("torch.")) for p in parameters.values()) == shapes(
        dtype, bias
    )
    assert all(p.requires_grad and p.is_leaf for p in parameters.values())
    for name, parameter in parameters.items():
        np.testing.assert_array_equal(parameter.detach(), w if name.endswith("weight") else b)


@EVERY_DTYPE
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("options", CONFIGURATIONS)
def test_keras_trainable_weights_are_the_weights(five, options, bias, dtype):
    w, b = weights(dtype=dtype, bias=bias)
    layer = five["tensorflow"].layer(w, b, **options)
    kernel, *biases = layer.trainable_weights
    assert layer.non_trainable_weights == []
    assert [kernel.dtype, *(v.dtype for v in biases)] == [dtype] * (1 + bias)
    np.testing.assert_array_equal(kernel.numpy().transpose(3, 2, 0, 1), w)
    assert len(biases) == bias
    for variable in biases:
        np.testing.assert_array_equal(variable.numpy(), b)


@EVERY_DTYPE
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("options", CONFIGURATIONS)
def test_flaxs_parameters_are_the_weights(five, options, bias, dtype):
    w, b = weights(dtype=dtype, bias=bias)
    layer = five["jax"].layer(w, b, **options)
    parameters = {path[-1]: value[...] for path, value in nnx.to_flat_state(nnx.state(layer, nnx.Param))}
    assert set(parameters) == {"kernel", "bias"} if bias else {"kernel"}
    assert {value.dtype.name for value in parameters.values()} == {dtype}
    np.testing.assert_array_equal(np.asarray(parameters["kernel"]).transpose(3, 2, 0, 1), w)
    if bias:
        np.testing.assert_array_equal(parameters["bias"], b)


# ---- They can be trained


def trained(dtype, options):
    """A problem, and the gradients of kernel and bias that it should give."""
    spec = ConvSpec(**options)
    x_shape = (2, 5, 6, 2) if spec.channels_last else (2, 2, 5, 6)
    g = spec.resolve(x_shape, (4, 2, 3, 3))
    problem = with_values("trained", spec, g, dtype, bias=True, values="integers", seed=3)
    right = problem.expectations()
    return problem, right["kernel gradient"], right["bias gradient"]


@EVERY_DTYPE
@pytest.mark.parametrize("options", CONFIGURATIONS)
def test_torchs_layer_gets_its_gradients(five, options, dtype):
    p, dw, db = trained(dtype, options)
    layer = five["torch"].layer(p.w, p.bias, **options)
    layer(torch.from_numpy(p.x)).backward(torch.from_numpy(p.dy))
    got = {name: parameter.grad.numpy() for name, parameter in layer.named_parameters()}
    for name, gradient in got.items():
        assert judge(gradient, dw if name.endswith("weight") else db).fault is None


@EVERY_DTYPE
@pytest.mark.parametrize("options", CONFIGURATIONS)
def test_keras_layer_gets_its_gradients(five, options, dtype):
    p, dw, db = trained(dtype, options)
    layer = five["tensorflow"].layer(p.w, p.bias, **options)
    with tf.GradientTape() as tape:
        y = layer(tf.constant(p.x))
    kernel, bias = tape.gradient(y, [v.value for v in layer.trainable_weights], p.dy)
    assert judge(kernel.numpy().transpose(3, 2, 0, 1), dw).fault is None
    assert judge(bias.numpy(), db).fault is None


@EVERY_DTYPE
@pytest.mark.parametrize("options", CONFIGURATIONS)
def test_flaxs_layer_gets_its_gradients(five, options, dtype):
    p, dw, db = trained(dtype, options)
    layer = five["jax"].layer(p.w, p.bias, **options)
    with jax.enable_x64(dtype == "float64"):
        x, dy = jnp.asarray(p.x), jnp.asarray(p.dy)
        state = nnx.grad(lambda layer: (layer(x) * dy).sum())(layer)
        gradients = {path[-1]: np.asarray(value[...]) for path, value in nnx.to_flat_state(state)}
    assert judge(gradients["kernel"].transpose(3, 2, 0, 1), dw).fault is None
    assert judge(gradients["bias"], db).fault is None


def test_keras_composed_layer_can_be_compiled_and_fitted(five):
    p, *_ = trained("float32", CONFIGURATIONS[1])
    layer = five["tensorflow"].layer(p.w, p.bias, **CONFIGURATIONS[1])
    layer.compile(keras.optimizers.SGD(1.0), keras.losses.MeanSquaredError())
    layer.fit(p.x, p.expectations()["layer"].value.astype("float32"), epochs=1, verbose=0)
    kernel, bias = layer.get_weights()  # right from the start, so that there is nothing to learn
    np.testing.assert_array_equal(kernel.transpose(3, 2, 0, 1), p.w)
    np.testing.assert_array_equal(bias, p.bias)


# ---- They compute what is right

PADDINGS = {
    1: [0, 2, (1,), ((0, 2),), ((3, 1),), "valid", "same", "same_lower", "full"],
    2: [0, 1, (2, 1), ((0, 2), (1, 0)), (1, (0, 2)), "valid", "same", "same_upper", "same_lower", "full"],
    3: [0, 1, (0, 2, 1), ((0, 2), (1, 0), (0, 0)), "same", "same_lower", "full"],
}
STEPS = [{}, {"stride": 2}, {"dilation": 2}, {"stride": 2, "dilation": 2}, {"groups": 2}, {"stride": 2, "groups": 4}]
FORMS = [
    # Each step meets both orders of the axes and both dtypes, at one padding or another.
    (ndim, (i + j + j // 3) % 3, ("float32", "float64")[(i + j // 2) % 2], {"padding": padding, **step})
    for ndim, paddings in PADDINGS.items()
    for i, padding in enumerate(paddings)
    for j, step in enumerate(STEPS)
    if j % 2 == i // 2 % 2
]


@pytest.mark.parametrize(("ndim", "layout", "dtype", "options"), FORMS, ids=str)
def test_every_form_of_every_option_gives_what_the_oracle_does(backend, ndim, layout, dtype, options):
    spec = ConvSpec(**options, layout=(None, LAST[ndim - 1], FIRST[ndim - 1])[layout])
    spatial, kernel = (7, 8, 6)[:ndim], (3, 2, 3)[:ndim]
    x_shape = (2, *spatial, 4) if spec.channels_last else (2, 4, *spatial)
    g = spec.resolve(x_shape, (4, 4 // spec.groups, *kernel))
    problem = with_values("form", spec, g, dtype, bias="stride" in options, values="integers", seed=layout)
    ((_, answer),) = problem.answers(backend, "layer")
    if isinstance(answer, Exception):
        raise answer
    assert judge(answer, problem.expectations()["layer"]).fault is None


@pytest.mark.parametrize(
    "options",
    [
        {"padding": "same", "stride": 2},
        {"padding": "same", "stride": 2, "dilation": 2, "layout": "NHWC"},
        {"padding": "same_lower", "stride": 3},
        {"padding": ((0, 1), (2, 0)), "stride": 2, "layout": "NHWC"},
    ],
)
def test_one_layer_takes_inputs_of_several_sizes(backend, options):
    w, bias = weights(kernel=2)
    layer = backend.layer(w, bias, **options)
    for batch, *size in ((1, 5, 6), (2, 6, 5), (3, 9, 4), (1, 5, 6)):
        x_shape = (batch, *size, 2) if options.get("layout") == "NHWC" else (batch, 2, *size)
        x = seeded(x_shape, "float32", "integers", batch, 0)
        assert judge(backend.to_numpy(layer(backend.asarray(x))), expected(x, w, bias, **options)).fault is None


def test_two_layers_keep_apart(backend):
    (w, bias), x = weights(), seeded((1, 2, 5, 5), "float32", "integers", 0, 0)
    one, other = backend.layer(w, bias), backend.layer(2 * w, None, padding=1)
    for _ in range(2):
        assert judge(backend.to_numpy(one(backend.asarray(x))), expected(x, w, bias)).fault is None
        right = expected(x, 2 * w, None, padding=1)
        assert judge(backend.to_numpy(other(backend.asarray(x))), right).fault is None


@EVERY_DTYPE
def test_a_layer_gives_arrays_of_its_own_framework_in_its_own_dtype(backend, dtype):
    w, bias = weights(dtype=dtype)
    x = backend.asarray(seeded((1, 2, 5, 5), dtype, "integers", 0, 0))
    y = backend.layer(w, bias)(x)
    assert backend.is_array(y)
    assert backend.dtype(y) == dtype


# ---- They can be copied and saved


@pytest.mark.parametrize("options", CONFIGURATIONS)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "tensorflow"])
def test_a_layer_that_was_called_can_be_copied_and_pickled(five, name, copied, options):
    backend, (w, bias) = five[name], weights()
    layer = backend.layer(w, bias, **options)
    x = seeded((2, 5, 6, 2) if options.get("layout") == "NHWC" else (2, 2, 5, 6), "float32", "integers", 0, 0)
    layer(x)
    again = copied(layer)
    assert judge(backend.to_numpy(again(x)), expected(x, w, bias, **options)).fault is None
    with pytest.raises(mc.ConvError, match="nothing is cast silently"):
        again(x.astype("float64"))


@pytest.mark.parametrize("options", CONFIGURATIONS)
def test_torch_saves_and_loads_a_layer(five, options, tmp_path):
    w, bias = weights()
    layer = five["torch"].layer(w, bias, **options)
    torch.save(layer, tmp_path / "layer.pt")
    torch.save(layer.state_dict(), tmp_path / "weights.pt")
    x = seeded((2, 5, 6, 2) if options.get("layout") == "NHWC" else (2, 2, 5, 6), "float32", "integers", 0, 0)
    loaded = torch.load(tmp_path / "layer.pt", weights_only=False)
    filled = five["torch"].layer(np.zeros_like(w), np.zeros_like(bias), **options)
    filled.load_state_dict(torch.load(tmp_path / "weights.pt"))
    for again in (loaded, filled):
        assert judge(again(x).detach().numpy(), expected(x, w, bias, **options)).fault is None


def test_keras_saves_a_layer_and_loads_it_as_its_own(five, tmp_path):
    w, bias = weights()
    model = keras.Sequential([keras.Input((5, 6, 2)), five["tensorflow"].layer(w, bias, layout="NHWC")])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[0]) is keras.layers.Conv2D
    x = seeded((2, 5, 6, 2), "float32", "integers", 0, 0)
    assert judge(loaded(x).numpy(), expected(x, w, bias, layout="NHWC")).fault is None


@pytest.mark.parametrize("options", CONFIGURATIONS)
def test_keras_loads_the_weights_of_a_composed_layer(five, options, tmp_path):
    w, bias = weights()
    x = seeded((2, 5, 6, 2) if options.get("layout") == "NHWC" else (2, 2, 5, 6), "float32", "integers", 0, 0)
    layer = five["tensorflow"].layer(w, bias, **options)
    layer(x)
    layer.save_weights(tmp_path / "layer.weights.h5")
    filled = five["tensorflow"].layer(np.zeros_like(w), np.zeros_like(bias), **options)
    filled(x)
    filled.load_weights(tmp_path / "layer.weights.h5")
    assert judge(filled(x).numpy(), expected(x, w, bias, **options)).fault is None


@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "tensorflow"])
def test_a_backend_that_was_called_can_be_copied(five, name):
    x, (w, bias) = seeded((1, 2, 5, 5), "float32", "integers", 0, 0), weights()
    five[name].cross_correlate(x, w, bias)
    for again in (copy.deepcopy(five[name]), pickle.loads(pickle.dumps(five[name]))):
        answer = again.to_numpy(again.cross_correlate(x, w, bias))
        assert judge(answer, expected(x, w, bias)).fault is None
