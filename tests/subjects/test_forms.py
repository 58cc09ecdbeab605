"""`mc.subject`: each form is taken as it is, what is fixed is read, and a wrong signature is called that."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from multiconv.backends import numpy as numpy_backend

import multiconv as mc
from multiconv.core.types import Host
from multiconv.registry import locate
from multiconv.subjects.forms import WrongForm

NUMPY = mc.backend("numpy")
X = np.random.default_rng(0).integers(-4, 5, (2, 3, 9, 8)).astype("float32")
W = np.random.default_rng(1).integers(-4, 5, (4, 3, 3, 2)).astype("float32")
B = np.float32([1, -2, 3, 4])
RIGHT = NUMPY.cross_correlate(X, W, B)


def of_x(x: Host) -> Host:
    return np.asarray(NUMPY.cross_correlate(x, W, B))


def hwc(x: Host) -> Host:
    assert x.ndim == 3
    return np.asarray(NUMPY.cross_correlate(x[None], W, B, layout="NHWC"))[0]


def hwio(x: Host, k: Host, bias: Host) -> Host:
    return np.asarray(NUMPY.cross_correlate(x, k.transpose(3, 2, 0, 1), bias, layout="NHWC"))


FUNCTIONS: list[tuple[str, Callable[..., Any], dict[str, Any], tuple[str, ...]]] = [
    ("x", of_x, {}, ("x",)),
    ("x as H, W, C", hwc, {"layout": "HWC"}, ("x",)),
    ("x, w", lambda x, w: NUMPY.cross_correlate(x, w) + B.reshape(-1, 1, 1), {}, ("x", "w")),
    ("x, w, bias", lambda x, w, bias: NUMPY.cross_correlate(x, w, bias), {}, ("x", "w", "bias")),
    ("x, w, b=None", lambda x, w, b=None: NUMPY.cross_correlate(x, w, b), {}, ("x", "w", "bias")),
    ("NHWC and HWIO", hwio, {"layout": "NHWC", "kernel_layout": "HWIO"}, ("x", "w", "bias")),
    ("a tuple", lambda x: (of_x(x),), {}, ("x",)),
    ("a list of one", lambda x: [of_x(x)], {}, ("x",)),
    ("nested lists", lambda x: np.asarray(of_x(x)).tolist(), {}, ("x",)),
    ("a batch of 2 only", lambda x: of_x(x) if len(x) == 2 else None, {"batch": 2}, ("x",)),
]


@pytest.mark.parametrize(("name", "function", "taken", "takes"), FUNCTIONS, ids=[f[0] for f in FUNCTIONS])
def test_a_function_is_called_as_it_is(name: str, function: Any, taken: dict[str, Any], takes: tuple[str, ...]) -> None:
    of = mc.subject(function, **taken)
    assert (of.form, of.takes) == ("function", takes)
    given = dict(zip(("w", "bias"), (W, B))) if len(takes) > 2 else {"w": W} if "w" in takes else {}
    assert np.array_equal(of.answer(X, **given), RIGHT)


def test_a_batch_of_another_size_is_filled_up() -> None:
    of = mc.subject(lambda x: of_x(x) if len(x) == 4 else None, batch=4)
    six = np.concatenate([X, 2 * X, 3 * X])
    assert np.array_equal(of.answer(six), of_x(six))
    assert np.array_equal(of.answer(X), RIGHT)


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (
            lambda x, w, stride=1, padding=0: NUMPY.cross_correlate(x, w, stride=stride, padding=padding),
            "stride padding",
        ),
        (lambda x, w, strides, pads: NUMPY.cross_correlate(x, w, stride=strides, padding=pads), "strides pads"),
        (lambda x, w, **options: NUMPY.cross_correlate(x, w, **options), "stride padding"),
    ],
)
def test_options_have_the_names_that_people_give_them(function: Any, options: str) -> None:
    of = mc.subject(function)
    assert {of.options["stride"], of.options["padding"]} == set(options.split())
    right = NUMPY.cross_correlate(X, W, stride=2, padding=1)
    assert np.array_equal(of.answer(X, W, stride=2, padding=1), right)


# ---- Frameworks


def test_layers_of_torch_and_what_is_read_from_them() -> None:
    import torch
    from torch import nn

    conv = nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 0), bias=False).double()
    of = mc.subject(conv)
    assert of.form == "torch.nn.Module"
    wanted = {"ndim": 2, "in_channels": 3, "out_channels": 4, "groups": 1, "kernel": (3, 2), "stride": (2, 1),
              "padding": (1, 0), "dilation": (1, 1), "dtype": "float64", "layout": "NCHW", "bias": False}  # fmt: skip
    assert wanted.items() <= of.fixed.items()
    assert set(of.known_by.values()) == {"read"}
    assert np.array_equal(of.reading.w, conv.weight.detach().numpy())  # type: ignore[arg-type]
    assert of.answer(X.astype("float64")).shape == (2, 4, 5, 7)
    padded = mc.subject(nn.Sequential(nn.ZeroPad2d((1, 2, 3, 4)), nn.ZeroPad2d(1), nn.Conv2d(3, 4, 3, padding=(1, 0))))
    assert padded.fixed["padding"] == ((5, 6), (2, 3))
    transposed = mc.subject(nn.ConvTranspose1d(2, 6, 3, groups=2))
    assert (transposed.reading.direction, transposed.fixed["out_channels"]) == ("conv_transpose", 6)
    other = mc.subject(nn.Sequential(nn.Conv2d(5, 4, 3), nn.ReLU()))
    assert (other.reading.direction, other.fixed["in_channels"], other.reading.w) == (None, 5, None)
    bfloat = mc.subject(nn.Conv2d(3, 4, 3).bfloat16())
    assert bfloat.answer(X.astype(bfloat.reading.w.dtype)).dtype.name == "bfloat16"  # type: ignore[union-attr]
    assert not torch.is_grad_enabled() or conv.weight.grad is None


def test_layers_of_keras_and_what_is_read_from_them() -> None:
    import keras

    causal = keras.layers.Conv1D(4, 3, padding="causal", dilation_rate=2)
    assert mc.subject(causal).fixed.get("in_channels") is None
    causal.build((None, None, 2))
    of = mc.subject(causal)
    assert (of.form, of.fixed["padding"], of.fixed["layout"]) == ("Keras layer", ((4, 0),), "NWC")
    assert of.answer(X[:, :2, :, 0].copy()).shape == (2, 4, 9)
    depthwise = keras.layers.DepthwiseConv2D(3, depth_multiplier=2)
    depthwise.build((None, None, None, 3))
    depthwise.set_weights([W[:3, :, :, :1].repeat(3, 3).transpose(2, 3, 1, 0)[..., :2], np.zeros(6)])
    read = mc.subject(depthwise).reading
    right = NUMPY.cross_correlate(X, read.w, groups=3)  # type: ignore[arg-type]
    assert np.array_equal(mc.subject(depthwise).answer(X), right)
    net = keras.Sequential(
        [keras.Input((28, 28, 1)), keras.layers.ZeroPadding2D(((1, 2), (0, 3))), keras.layers.Conv2D(2, 3)]
    )
    fixed = mc.subject(net).fixed
    assert (fixed["size"], fixed["in_channels"], fixed["padding"]) == ((28, 28), 1, ((1, 2), (0, 3)))


def test_the_only_batch_of_a_keras_model_is_read_and_kept_to() -> None:
    import keras

    net = keras.Sequential([keras.Input((9, 8, 3), batch_size=2), keras.layers.Conv2D(2, 3)])
    of = mc.subject(net)
    assert (of.fixed["batch"], of.fixed["size"]) == (2, (9, 8))
    assert of.answer(np.concatenate([X, X[:1]])).shape == (3, 2, 7, 6)
    found = mc.identify(net)
    assert (found.kind, found.exact, found.rules) == ("cross-correlation", True, ("valid", "valid"))


def test_flax_jitted_and_tf_functions() -> None:
    import jax
    import tensorflow as tf
    from flax import nnx
    from jax import lax

    of = mc.subject(nnx.Conv(3, 4, (3, 3), strides=2, padding="SAME", rngs=nnx.Rngs(0)))
    assert (of.form, of.fixed["padding"], of.fixed["stride"]) == ("Flax nnx module", "same", (2, 2))
    assert of.answer(X).shape == (2, 4, 5, 4)
    jitted = mc.subject(jax.jit(lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "VALID")))
    assert (jitted.form, jitted.takes) == ("jitted JAX function", ("x", "w"))
    assert np.array_equal(jitted.answer(X, W), NUMPY.cross_correlate(X, W))
    kernel = W.transpose(2, 3, 1, 0)
    graph = mc.subject(tf.function(lambda x: tf.nn.conv2d(x, kernel, 1, "VALID")), layout="NHWC")
    assert graph.form == "tf.function"
    assert np.array_equal(graph.answer(X), NUMPY.cross_correlate(X, W))
    found = mc.identify(tf.function(lambda x: tf.nn.conv2d(x, kernel, 2, "SAME")), in_channels=3)
    assert (found.fixed["layout"], found.known_by["layout"], found.rules[0]) == ("NHWC", "tried", "same_upper")


def test_a_function_of_torch_s_tensors_is_found_by_trying() -> None:
    import torch

    weight = torch.from_numpy(W)
    found = mc.identify(lambda x: torch.nn.functional.conv2d(x, weight), in_channels=3)
    assert (found.fixed["arrays"], found.known_by["arrays"]) == ("torch", "tried")
    assert np.array_equal(found.w, W)  # type: ignore[arg-type]


GLUON = """
import importlib.abc, importlib.util, json, os, sys

# In a checkout they are beside the package; once installed, they are within it.
class Backends(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "multiconv.backends":
            return None
        file = os.path.join(sys.argv[2], "__init__.py")
        return importlib.util.spec_from_file_location(name, file, submodule_search_locations=[sys.argv[2]])

sys.path.insert(0, sys.argv[1])
sys.meta_path.insert(0, Backends())
import numpy as np
import mxnet as mx
from mxnet.gluon import nn
import multiconv as mc

found = []
for block in [
    nn.Conv2D(6, 3, strides=2, padding=1, groups=3, in_channels=6),
    nn.Conv1D(4, 3, dilation=2, use_bias=False, in_channels=2),
    nn.Conv2DTranspose(3, 3, strides=2, padding=1, output_padding=1, in_channels=2),
    nn.MaxPool2D(2),
]:
    if not isinstance(block, nn.MaxPool2D):
        block.initialize(mx.init.Normal(1))
    of = mc.identify(block)
    w = None if of.w is None else bool(np.array_equal(of.w, block.weight.data().asnumpy()))
    found.append([of.form, of.kind, w, of.spec and [of.spec.stride, of.spec.dilation, of.spec.groups]])
print(json.dumps(found))
"""


def test_gluon_blocks_in_mxnet_s_own_python() -> None:
    places = [str(Path(mc.__file__).parents[1]), str(Path(str(numpy_backend.__file__)).parent)]
    ran = subprocess.run(
        [str(locate("mxnet").python), "-c", GLUON, *places], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == [
        ["Gluon block", "cross-correlation", True, [[2, 2], [1, 1], 3]],
        ["Gluon block", "cross-correlation", True, [[1], [2], 1]],
        ["Gluon block", "transposed convolution", True, [[2, 2], [1, 1], 1]],
        ["Gluon block", "not linear", None, None],
    ]


def test_a_function_of_numpy_brings_in_no_framework() -> None:
    script = (
        "import sys, numpy as np, multiconv as mc; assert mc.identify(lambda x: 2 * x).convolution; "
        "mc.explain((1, 1, 4), (1, 1, 3)); "
        "print(sorted({'torch', 'jax', 'tensorflow', 'keras', 'flax', 'mxnet'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


# ---- What is called wrong


def four(a: Host, b: Host, c: Host, d: Host) -> Host:
    return a


@pytest.mark.parametrize(
    ("thing", "taken", "sentence"),
    [
        (3, {}, "3 is of type int, which can't be called"),
        (dict, {}, "dict is a class, not an object: create one, and give that"),
        (
            four,
            {},
            r"the signature of four is not that of a convolution: \(a: 'Host', b: 'Host', c: 'Host', d: 'Host'\)",
        ),
        (lambda x, *, magic: x, {}, r"the signature of <lambda> is not that of a convolution: \(x, \*, magic\)"),
        (of_x, {"strides": 2}, r"there is no option 'strides' \(did you mean 'stride'\?\)"),
        (of_x, {"layout": "NHCW"}, "layout must be one of NCW, NCHW, NCDHW"),
        (of_x, {"kernel_layout": "IOWH"}, r"kernel_layout must be one of OIHW, HWIO, IOHW, OHWI, not 'IOWH'"),
        (of_x, {"dtype": "float31"}, "dtype must be the name of one, such as float32, not 'float31'"),
    ],
)
def test_a_wrong_form_is_called_that(thing: Any, taken: dict[str, Any], sentence: str) -> None:
    with pytest.raises(mc.UsageError, match=sentence):
        mc.subject(thing, **taken)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda x: None, "f returned None, not an array"),
        (lambda x: {"y": x}, "not an array"),
        (lambda x: (x, x), "f returned a tuple of 2, not one array"),
        (lambda x: object(), "f returned object, not an array of numbers"),
    ],
)
def test_a_result_that_is_no_array_is_called_that(function: Any, sentence: str) -> None:
    with pytest.raises(WrongForm, match=sentence):
        mc.subject(function, name="f").answer(X)


def test_an_argument_that_a_thing_does_not_take_is_refused() -> None:
    with pytest.raises(WrongForm, match=r"f takes \(x\), so it can't be given w"):
        mc.subject(of_x, name="f").answer(X, W)
    with pytest.raises(WrongForm, match=r"f takes \(x, w\), so it needs w"):
        mc.subject(lambda x, w: x, name="f").answer(X)
    with pytest.raises(WrongForm, match=r"f has no parameter for 'stride': it takes \(x\)"):
        mc.subject(of_x, name="f").answer(X, stride=2)


def test_what_is_told_must_not_contradict_what_is_read() -> None:
    import torch

    with pytest.raises(mc.UsageError, match="Conv2d has in_channels=3, not 4"):
        mc.subject(torch.nn.Conv2d(3, 4, 3), in_channels=4)
