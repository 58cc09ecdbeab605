"""multiconv within a user's model: traced, compiled and transformed, forward and backward, with sizes unknown."""

from __future__ import annotations

import json
import subprocess

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

import multiconv as mc
from multiconv.core.spec import ConvSpec
from multiconv.oracle.judgement import judge
from multiconv.oracle.values import seeded
from multiconv.testing.problem_values import given_values
from multiconv.workers.process import source_places

OPTIONS = [
    {},
    {"padding": "same", "stride": 2},
    {"padding": "same_lower", "stride": (2, 3), "layout": "NHWC"},
    {"padding": ((1, 0), (2, 2)), "stride": 2, "dilation": 2, "groups": 2},
]
EVERY_OPTION = pytest.mark.parametrize("options", OPTIONS, ids=str)
OPERATIONS = ("cross_correlate", "convolve", "conv_transpose", "cross_correlate_vjp", "layer")
EVERY_OPERATION = pytest.mark.parametrize("operation", OPERATIONS)
KEYS = {
    "cross_correlate": ["forward"],
    "convolve": ["convolve"],
    "conv_transpose": ["conv_transpose"],
    "cross_correlate_vjp": ["input gradient", "kernel gradient"],
    "layer": ["forward"],
}


def problem(options, size=(8, 9)):
    """Return x, w, dy of small integers, and the oracle's results."""
    spec = ConvSpec(**options)
    x_shape = (2, *size, 4) if spec.channels_last else (2, 4, *size)
    w_shape = (4, 4 // spec.groups, 3, 2)
    y_shape = spec.resolve(x_shape, w_shape).y_shape
    x, w, dy = (seeded(s, "float32", "integers", 0, n) for n, s in enumerate((x_shape, w_shape, y_shape)))
    return (x, w, dy), given_values("given", spec, x, w, dy=dy).expectations()


def function(backend, operation, w, options):
    """Return the operation as a function of x, w and dy, whose results are in a tuple."""
    if operation == "layer":
        layer = backend.layer(w, **options)
        return lambda x, w, dy: (layer(x),)
    if operation == "cross_correlate_vjp":
        return lambda x, w, dy: tuple(backend.cross_correlate_vjp(x, w, None, dy, **options)[:2])
    call = getattr(backend, operation)
    if operation == "conv_transpose":
        return lambda x, w, dy: (call(dy, w, **options),)
    return lambda x, w, dy: (call(x, w, **options),)


def assert_right(answers, right, operation):
    for answer, key in zip(answers, KEYS[operation], strict=True):
        assert judge(np.asarray(answer), right[key]).fault is None


def assert_gradients_right(gradients, right):
    for gradient, key in zip(gradients, ("input gradient", "kernel gradient"), strict=True):
        assert judge(np.asarray(gradient), right[key]).fault is None


# ---- TensorFlow: tf.function, Dataset.map, Keras


def unknown(array, *, spatial, channels_last):
    """Return the signature of an array with an unknown batch size, and unknown spatial sizes if these are."""
    shape = [None] * 4 if spatial else [None, *array.shape[1:]]
    channel = 3 if channels_last else 1
    shape[channel] = array.shape[channel]
    return tf.TensorSpec(shape)


@EVERY_OPTION
@EVERY_OPERATION
@pytest.mark.parametrize("spatial", [False, True], ids=["batch", "every size"])
def test_tf_function_of_unknown_sizes(five, operation, options, spatial):
    (x, w, dy), right = problem(options)
    call = function(five["tensorflow"], operation, w, options)
    last = options.get("layout") == "NHWC"
    signature = [unknown(a, spatial=spatial, channels_last=last) for a in (x, dy)]
    traced = tf.function(lambda x, dy: call(x, tf.constant(w), dy), input_signature=signature)
    if operation == "conv_transpose" and spatial:
        with pytest.raises(Exception, match=r"conv_transpose needs the size of every spatial axis of x, but its shape"):
            traced(x, dy)
    else:
        assert_right(traced(x, dy), right, operation)


@EVERY_OPTION
@pytest.mark.parametrize("size", [(8, 9), (5, 3)], ids=["large", "one output"])
def test_tf_function_of_unknown_sizes_has_gradients(five, options, size):
    (x, w, dy), right = problem(options, size)
    kernel = tf.Variable(w)

    def gradients(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = five["tensorflow"].cross_correlate(x, kernel, **options)
        return (y, *tape.gradient(y, [x, kernel], dy))

    signature = [unknown(a, spatial=True, channels_last=options.get("layout") == "NHWC") for a in (x, dy)]
    y, *found = tf.function(gradients, input_signature=signature)(x, dy)
    assert judge(y.numpy(), right["forward"]).fault is None
    assert_gradients_right(found, right)


@pytest.mark.parametrize("operation", ["cross_correlate", "layer"])
def test_tf_function_refuses_at_run_time_what_it_did_not_know(five, operation):
    w = np.ones((2, 2, 3, 3), "float32")
    call = function(five["tensorflow"], operation, w, {"layout": "NHWC"})
    traced = tf.function(lambda x: call(x, w, None)[0], input_signature=[tf.TensorSpec((None, None, None, 2))])
    assert traced(np.ones((1, 3, 4, 2), "float32")).shape == (1, 1, 2, 2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="spatial axis 0 it spans 3 pixels, so the size must be"):
        traced(np.ones((1, 2, 4, 2), "float32"))
    with pytest.raises(tf.errors.InvalidArgumentError, match="spatial axis 1"):
        traced(np.ones((1, 4, 1, 2), "float32"))


def test_tf_function_checks_unknown_channels_at_run_time(five):
    w = np.ones((4, 2, 1, 1), "float32")
    traced = tf.function(
        lambda x: five["tensorflow"].cross_correlate(x, w), input_signature=[tf.TensorSpec([None] * 4)]
    )
    assert traced(np.ones((1, 2, 3, 3), "float32")).shape == (1, 4, 3, 3)
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match="not compatible with expected shape"):
        traced(np.ones((1, 4, 3, 3), "float32"))


@pytest.mark.parametrize(
    ("x", "w", "message"),
    [
        ((None, 3, 5, 5), (4, 2, 3, 3), "has 3 channels, but w"),
        ((None, 2, 2, None), (4, 2, 3, 3), "the kernel is larger than the padded input: along spatial axis 0"),
        ((None, 2, None), (4, 2, 3, 3), "x must have 4 axes"),
        ((1, 2, 5, 5), (None, 2, 3, 3), "every size of w must be known"),
        (None, (4, 2, 3, 3), "the number of axes of x is not known"),
    ],
    ids=str,
)
def test_tf_function_refuses_what_is_known(five, x, w, message):
    traced = tf.function(lambda x, w: five["tensorflow"].cross_correlate(x, w))
    with pytest.raises(Exception, match=message):
        traced.get_concrete_function(tf.TensorSpec(x), tf.TensorSpec(w))


def test_a_dataset_maps_batches_of_unknown_size(five):
    (x, w, _), right = problem({"padding": 1})
    images = tf.data.Dataset.from_tensor_slices(x).batch(2)
    (y,) = images.map(lambda x: five["tensorflow"].cross_correlate(x, w, padding=1))
    assert judge(y.numpy(), right["forward"]).fault is None


def test_a_keras_model_trains_a_layer_that_calls_multiconv(five):
    (x, w, _), right = problem({"padding": 1})

    class Correlate(keras.layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=w.shape, initializer=lambda *_, **__: tf.constant(w))

        def call(self, x):
            return five["tensorflow"].cross_correlate(x, self.kernel, padding=1)

    model = keras.Sequential([keras.Input(x.shape[1:]), Correlate()])
    assert model.output_shape == (None, 4, 8, 10)
    assert judge(model.predict(x, verbose=0), right["forward"]).fault is None
    model.compile(keras.optimizers.SGD(0.5), "mse")
    model.fit(x, np.zeros((2, 4, 8, 10), "float32"), verbose=0)
    assert not np.array_equal(model.get_weights()[0], w)


def test_a_keras_variable_is_the_array_that_it_holds(five):
    (x, w, _), right = problem({})
    kernel = keras.Variable(w)
    with tf.GradientTape() as tape:
        y = five["tensorflow"].cross_correlate(x, kernel)
    assert judge(y.numpy(), right["forward"]).fault is None
    assert tape.gradient(y, kernel.value) is not None
    with pytest.raises(mc.ConvError, match="w must be a NumPy array or an array of torch"):
        five["torch"].cross_correlate(torch.from_numpy(x), kernel)


# ---- PyTorch: torch.compile, torch.export


@EVERY_OPTION
@EVERY_OPERATION
def test_torch_compile_has_no_graph_break(five, operation, options):
    (x, w, dy), right = problem(options)
    call = function(five["torch"], operation, w, options)
    torch.compiler.reset()
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    arrays = [torch.from_numpy(a) for a in (x, w, dy)]
    assert_right((a.detach() for a in compiled(*arrays)), right, operation)


@EVERY_OPTION
def test_torch_compile_has_gradients(five, options):
    (x, w, dy), right = problem(options)
    torch.compiler.reset()
    compiled = torch.compile(
        lambda x, w: five["torch"].cross_correlate(x, w, **options), fullgraph=True, backend="aot_eager"
    )
    x, w = (torch.from_numpy(a).requires_grad_() for a in (x, w))
    assert_gradients_right(torch.autograd.grad(compiled(x, w), (x, w), torch.from_numpy(dy)), right)


class TorchModel(torch.nn.Module):
    """One operation, with its kernel as a parameter."""

    def __init__(self, backend, operation, w, options):
        super().__init__()
        self.w = torch.nn.Parameter(torch.from_numpy(w))
        self.layer = backend.layer(w, **options) if operation == "layer" else None
        self.operation = function(backend, operation, w, options)

    def forward(self, x, dy):
        return (self.layer(x),) if self.layer is not None else self.operation(x, self.w, dy)


@EVERY_OPTION
@EVERY_OPERATION
def test_torch_exports_a_model_of_any_batch_size(five, operation, options):
    (x, w, dy), right = problem(options)
    model = TorchModel(five["torch"], operation, w, options)
    batch = torch.export.Dim("batch", min=2, max=64)
    example = [torch.from_numpy(np.concatenate([a, a[:1]])) for a in (x, dy)]
    exported = torch.export.export(model, tuple(example), dynamic_shapes=({0: batch}, {0: batch})).module()
    assert_right((a.detach() for a in exported(*map(torch.from_numpy, (x, dy)))), right, operation)
    if operation == "cross_correlate":
        x = torch.from_numpy(x).requires_grad_()
        (y,) = exported(x, torch.from_numpy(dy))
        weights = [p for p in exported.parameters() if p.shape == w.shape]
        assert_gradients_right(torch.autograd.grad(y, (x, *weights), torch.from_numpy(dy)), right)


# ---- JAX: jit, vmap, grad, scan

TRANSFORMS = {
    "jit": lambda call, x, w, dy: jax.jit(call)(x, w, dy),
    "vmap": lambda call, x, w, dy: [a[0] for a in jax.vmap(call, (0, None, 0))(x[None], w, dy[None])],
    "scan": lambda call, x, w, dy: [
        a[0] for a in jax.lax.scan(lambda _, x: (None, call(x[0], w, x[1])), None, (x[None], dy[None]))[1]
    ],
}


@EVERY_OPTION
@EVERY_OPERATION
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_jax_transforms(five, transform, operation, options):
    (x, w, dy), right = problem(options)
    call = function(five["jax"], operation, w, options)
    assert_right(TRANSFORMS[transform](call, *map(jnp.asarray, (x, w, dy))), right, operation)


@EVERY_OPTION
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_jax_transforms_have_gradients(five, transform, options):
    (x, w, dy), right = problem(options)
    call = function(five["jax"], "cross_correlate", w, options)

    def loss(x, w):
        return (TRANSFORMS[transform](call, x, w, dy)[0] * dy).sum()

    assert_gradients_right(jax.grad(loss, (0, 1))(jnp.asarray(x), jnp.asarray(w)), right)


# ---- MXNet: autograd.record, hybridize

IN_MXNET = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("serve", sys.argv[1])
serve = importlib.util.module_from_spec(spec)
spec.loader.exec_module(serve)
sys.meta_path.insert(0, serve.Source(json.loads(sys.argv[2])))

import mxnet as mx
import numpy as np
from mxnet import autograd, nd
from mxnet.gluon import HybridBlock
from multiconv.backends.mxnet import MxnetBackend
from multiconv.core.errors import ConvError

backend = MxnetBackend()
x, w, dy = (nd.array(np.array(a, "float32")) for a in json.loads(sys.argv[3]))

def refusal(call):
    try:
        call()
    except ConvError as error:
        return str(error)

x.attach_grad()
w.attach_grad()
with autograd.record():
    y = backend.cross_correlate(x, w, padding=1)
    on_tape = refusal(lambda: backend.cross_correlate_vjp(x, w, None, dy, padding=1))
    with autograd.pause():
        paused = backend.cross_correlate_vjp(x, w, None, dy, padding=1)
y.backward(dy)

class Correlate(HybridBlock):
    def hybrid_forward(self, F, x):
        return backend.cross_correlate(x, w, padding=1)

plain, hybrid = Correlate(), Correlate()
hybrid.hybridize()
layer = backend.layer(w, padding=1)
layer.hybridize()
arrays = [y, x.grad, w.grad, *paused[:2], plain(x), layer(x)]
print(json.dumps([[a.asnumpy().tolist() for a in arrays], on_tape, refusal(lambda: hybrid(x))]))
"""


def test_mxnet_records_or_refuses(five):
    given, right = problem({"padding": 1})
    places = source_places("multiconv.backends.mxnet:MxnetBackend")
    serve = f"{places['multiconv']}/guest/serve.py"
    values = json.dumps([a.tolist() for a in given])
    command = [str(five["mxnet"].python), "-I", "-c", IN_MXNET, serve, json.dumps(places), values]
    asked = subprocess.run(command, capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    arrays, on_tape, hybrid = json.loads(asked.stdout.splitlines()[-1])
    y, dx, dw, dx_paused, dw_paused, plain, layer = (np.array(a, "float32") for a in arrays)
    for answer in (y, plain, layer):
        assert judge(answer, right["forward"]).fault is None
    assert_gradients_right((dx, dw), right)
    assert_gradients_right((dx_paused, dw_paused), right)
    assert "call it outside of autograd.record(), or within autograd.pause()" in on_tape
    assert "x is a Symbol, as in a hybridized block" in hybrid
