"""What frameworks get wrong and multiconv works around, each as small as it was found.

All problems are of small integers, so that every answer must be exact to the bit.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf
import torch
from flax import nnx

import multiconv as mc
from multiconv import oracle, registry
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Pads, Shape
from multiconv.oracle.judgement import judge
from multiconv.oracle.problem import Problem
from multiconv.testing.problem_values import with_values

HALVES = ("float16", "bfloat16")
MANY_CALLS = 1000
"""So many that a fault in memory shows, as a crash or as other numbers."""

# Padding that reaches past the kernel before the image but not after it.
AHEAD = [
    pytest.param(ConvSpec(1, ((2, 0),)), (2, 8, 9), (8, 8, 2), id="pads ahead: 1-D"),
    pytest.param(ConvSpec(1, ((0, 0), (2, 0))), (1, 8, 15, 6), (8, 8, 1, 2), id="pads ahead: 2-D"),
    pytest.param(ConvSpec(1, ((3, 1), (1, 1))), (2, 4, 6, 5), (16, 4, 3, 3), id="pads ahead: both sides"),
    pytest.param(ConvSpec(1, ((0, 0), (2, 0)), 1, 4), (1, 16, 9, 6), (16, 4, 1, 2), id="pads ahead: groups"),
    pytest.param(ConvSpec(1, ((2, 0), (0, 0)), layout="NHWC"), (1, 7, 6, 4), (4, 4, 2, 1), id="pads ahead: NHWC"),
]
# An axis of one output and a stride that is not taken, whose window leaves pixels over or not.
ONE_OUTPUT = [
    pytest.param(ConvSpec((1, 2), layout="NHWC"), (2, 5, 3, 1), (1, 1, 2, 2), id="one output: a pixel over"),
    pytest.param(ConvSpec((1, 2), layout="NHWC"), (3, 3, 3, 1), (4, 1, 1, 3), id="one output: no pixel over"),
    pytest.param(ConvSpec((1, 4)), (2, 1, 6, 4), (3, 1, 3, 3), id="one output: channels first"),
    pytest.param(ConvSpec((1, 4), (0, 1)), (2, 1, 5, 2), (8, 1, 2, 3), id="one output: padding"),
    pytest.param(ConvSpec((1, 1, 2), ((0, 0), (0, 0), (1, 0))), (2, 1, 1, 2, 2), (1, 1, 1, 1, 2), id="one output: 3-D"),
    pytest.param(ConvSpec((2, 1, 4)), (3, 1, 3, 2, 3), (2, 1, 2, 1, 2), id="one output: 3-D, strides on two axes"),
    pytest.param(ConvSpec((1, 2), layout="NHWC"), (3, 5, 3, 1), (8, 1, 2, 2), id="one output: three images"),
    pytest.param(ConvSpec((1, 2), layout="NHWC"), (3, 4, 3, 1), (8, 1, 1, 3), id="one output: three images, all seen"),
    pytest.param(ConvSpec((1, 4), (0, 1)), (2, 1, 5, 3), (8, 1, 2, 3), id="one output: padding and a pixel over"),
    pytest.param(ConvSpec((1, 2), "same"), (2, 1, 4, 2), (1, 1, 2, 3), id="one output: same"),
]
# Outputs, or a whole tile of them, that see nothing but padding.
PADDING_ONLY = [
    pytest.param(ConvSpec(3, 1), (1, 1, 1), (1, 1, 1), id="padding only: the stride lands in it"),
    pytest.param(ConvSpec(1, 5), (2, 2, 3, 4), (3, 2, 2, 2), id="padding only: beyond the kernel"),
    pytest.param(ConvSpec(7, ((2, 9), (9, 2))), (1, 2, 3, 3), (2, 1, 2, 1), id="padding only: beyond the image"),
    pytest.param(ConvSpec((4, 1), ((3, 0), (0, 0))), (1, 3, 2, 5), (3, 1, 1, 2), id="padding only: one axis"),
    pytest.param(ConvSpec(9, 4), (1, 1, 1, 1, 1), (1, 1, 2, 1, 3), id="padding only: 3-D"),
]


# Groups of one channel in a channels-last view, with a stride.
GROUPS_OF_ONE = [
    pytest.param(ConvSpec((1, 6), (0, 2), (2, 1), layout="NHWC"), (1, 1, 5, 3), (48, 1, 1, 3), id="groups of one"),
    pytest.param(ConvSpec((1, 4), "same", layout="NHWC"), (2, 9, 1, 2), (16, 1, 3, 3), id="groups of one: same"),
    pytest.param(
        ConvSpec((2, 6, 3), (1, 0, 8), (1, 1, 3), layout="NDHWC"), (3, 1, 22, 1, 2), (32, 1, 2, 5, 3),
        id="groups of one: 3-D",
    ),
]  # fmt: skip
# A pad of 15 to 28 pixels, a stride, and 29 to 55 outputs along the last axis, in more than one image.
WIDE_PAD = [
    pytest.param(ConvSpec(2, 15, 5), (2, 3, 53), (16, 3, 4), id="wide pad: 1-D"),
    pytest.param(ConvSpec(5, "same", 5, layout="NWC"), (3, 164, 3), (64, 3, 10), id="wide pad: as the soak found it"),
    pytest.param(ConvSpec((1, 3), (0, 24), (1, 6)), (2, 1, 2, 156), (16, 1, 1, 10), id="wide pad: 2-D"),
]


def integers(spec: ConvSpec, x_shape: Shape, w_shape: Shape, dtype: str) -> Problem:
    groups = (x_shape[-1] if spec.channels_last else x_shape[1]) // w_shape[1]
    spec = ConvSpec(spec.stride, spec.padding, spec.dilation, groups, spec.layout)
    return with_values("found", spec, spec.resolve(x_shape, w_shape), dtype, bias=True, values="integers", seed=0)


def assert_right(backend: mc.Backend, problem: Problem) -> None:
    expected = problem.expectations()
    answers = dict(problem.answers(backend))
    assert set(answers) == set(expected)
    for direction, answer in answers.items():
        assert not isinstance(answer, Exception), (direction, answer)
        assert judge(answer, expected[direction]).fault is None, direction


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("spec", "x_shape", "w_shape"),
    [
        pytest.param(ConvSpec(2, 1), (1, 2, 4, 4), (4, 2, 2, 3), id="XLA aborts on the gradient: k=2, stride 2, pad 1"),
        pytest.param(ConvSpec(2, 1), (1, 2, 4, 3, 4), (4, 1, 2, 2, 3), id="XLA aborts: the same in groups"),
        pytest.param(ConvSpec(3, 1, 2), (2, 3, 7), (3, 3, 3), id="MXNet's Deconvolution: stride and dilation"),
        pytest.param(ConvSpec(1, 1, 2), (1, 2, 5, 5, 5), (2, 2, 3, 3, 3), id="MXNet's Deconvolution: 3-D and dilation"),
        pytest.param(ConvSpec(2, 1, 2), (2, 4, 7, 7), (4, 2, 3, 3), id="TensorFlow's gradient: groups and dilation"),
        pytest.param(ConvSpec(), (1, 4, 4, 4, 4), (2, 2, 2, 2, 2), id="TensorFlow's conv3d: groups"),
        pytest.param(
            ConvSpec((1, 4, 3), "same"), (3, 4, 2, 3, 1), (3, 4, 2, 1, 2), id="Keras's Conv3D: same, stride 4"
        ),
        pytest.param(
            ConvSpec((1, 2), (0, 1), (1, 2), layout="NHWC"), (2, 1, 1, 8), (1, 8, 1, 1), id="torch crashes: dilated tap"
        ),
        *AHEAD,
        *ONE_OUTPUT,
        *PADDING_ONLY,
        *GROUPS_OF_ONE,
        *WIDE_PAD,
    ],
)
def test_every_backend_gets_it_right(
    backend: mc.Backend, spec: ConvSpec, x_shape: Shape, w_shape: Shape, dtype: str
) -> None:
    assert_right(backend, integers(spec, x_shape, w_shape, dtype))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ["torch", "jax", "tensorflow"])
@pytest.mark.parametrize(
    ("spec", "x_shape", "w_shape"),
    [
        *AHEAD,
        *ONE_OUTPUT,
        pytest.param(ConvSpec(4), (1, 1, 2, 2), (3, 1, 2, 1), id="oneDNN's gradient: one output, strided both ways"),
        pytest.param(ConvSpec(1, (2, 1, 0)), (2, 2, 1, 1, 1), (16, 2, 3, 2, 1), id="kernel larger than the image"),
        pytest.param(ConvSpec(4, ((2, 1), (2, 1))), (1, 4, 1, 11), (3, 4, 3, 3), id="one output: many channels"),
    ],
)
def test_half_precision_too(
    five: dict[str, mc.Backend], name: str, spec: ConvSpec, x_shape: Shape, w_shape: Shape, dtype: str
) -> None:
    assert_right(five[name], integers(spec, x_shape, w_shape, dtype))


@pytest.mark.parametrize(
    ("name", "direction", "spec", "x_shape", "w_shape", "dtype"),
    [
        # Pads as large as the kernel.
        ("tensorflow", "forward", ConvSpec((1, 2), ((1, 0), (1, 3))), (3, 8, 1, 1), (1, 8, 2, 1), "bfloat16"),
        ("tensorflow", "forward", ConvSpec(1, ((0, 1), (2, 3))), (1, 2, 2, 1), (8, 2, 3, 1), "bfloat16"),
        ("torch", "kernel gradient", ConvSpec(2, 1), (2, 16, 1), (32, 16, 3), "bfloat16"),
        # A kernel of one pixel that strides.
        ("tensorflow", "kernel gradient", ConvSpec((2, 1)), (3, 8, 12, 8), (5, 8, 1, 1), "float32"),
        ("tensorflow", "kernel gradient", ConvSpec(2), (3, 8, 12, 8), (5, 8, 1, 1), "float32"),
    ],
)
def test_no_other_memory_is_read_or_written(
    five: dict[str, mc.Backend], name: str, direction: str, spec: ConvSpec, x_shape: Shape, w_shape: Shape, dtype: str
) -> None:
    problem = integers(spec, x_shape, w_shape, dtype)
    right = problem.expectations([direction])[direction]
    for _ in range(MANY_CALLS):
        ((_, answer),) = problem.answers(five[name], direction)
        assert judge(answer, right).fault is None


FILLED = {
    "LD_PRELOAD": "libc_malloc_debug.so.0", "MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "85", "OMP_NUM_THREADS": "1",
}  # fmt: skip
"""On Linux, new memory is filled with other than zeros, so that reading it shows in the first call."""


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(("spec", "x_shape", "w_shape"), GROUPS_OF_ONE)
def test_torch_reads_no_new_memory(spec: ConvSpec, x_shape: Shape, w_shape: Shape, dtype: str) -> None:
    torch = registry.new_worker("torch", 60, FILLED)
    try:
        assert_right(torch, integers(spec, x_shape, w_shape, dtype))
    finally:
        torch.close()


GRADIENTS_OF_POINTWISE_KERNELS = """
import torch
from multiconv.backends.torch import TorchBackend

torch.manual_seed(0)
backend, last = TorchBackend(), torch.channels_last
image, small = torch.randn(3, 12, 6, 30), torch.ones(3, 15, 3, 15).to(memory_format=last)
right = image[..., ::2, ::2].double().sum((0, 2, 3)).expand(15, 12)
# The strides of both kernels are those of a contiguous one, but torch takes the second one as channels last.
for x, strides in ((image.to(memory_format=last), (12, 1, 1, 1)), (image, (12, 1, 12, 12))):
    w = torch.randn(15, 12, 1, 1).as_strided((15, 12, 1, 1), strides).requires_grad_()
    layer = backend.layer(w.detach().numpy(), stride=2)
    (weight,) = layer.parameters()
    weight.data = w.detach()
    for _ in range(50):
        for leaf, y in ((w, backend.cross_correlate(x, w, stride=2)), (weight, layer(x))):
            (dw,) = torch.autograd.grad(y, leaf, torch.ones_like(y))
            assert torch.allclose(dw[..., 0, 0].double(), right, atol=1e-3)
        y = backend.conv_transpose(small, w, stride=2, output_padding=1)
        torch.autograd.grad(y, w, torch.ones_like(y).to(memory_format=last))
"""


def test_kernel_gradients_of_strided_pointwise_kernels_write_to_no_other_memory() -> None:
    """By torch's autograd, with several threads, if the stride leaves pixels over in channels-last memory."""
    done = subprocess.run(
        [sys.executable, "-c", GRADIENTS_OF_POINTWISE_KERNELS],
        env={**os.environ, **FILLED, "OMP_NUM_THREADS": "2"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("transposed", [False, True])
def test_strides_of_an_axis_of_one_element_mean_nothing_to_torch(
    five: dict[str, mc.Backend], groups: int, transposed: bool
) -> None:
    rng = np.random.default_rng(0)
    w = torch.from_numpy(rng.integers(-4, 5, (2, 2, 2, 1)).astype("float32"))
    w = w.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    channels = 2 if transposed else 2 * groups
    x = torch.from_numpy(rng.integers(-4, 5, (1, channels, 3, 4)).astype("float32")).to(
        memory_format=torch.channels_last
    )
    operation = five["torch"].conv_transpose if transposed else five["torch"].cross_correlate
    right = operation(x.double(), w.double(), groups=groups)
    for stride in (1, 2, 7):  # of the last axis, which has one element
        same = w.as_strided(w.shape, (*w.stride()[:3], stride)).requires_grad_()
        y = operation(x, same, groups=groups)
        assert torch.equal(y.double(), right), stride
        torch.autograd.grad(y, same, torch.ones_like(y))  # torch refuses some of these kernels here


@pytest.mark.parametrize(("spec", "x_shape", "w_shape"), WIDE_PAD)
def test_the_kernel_gradient_of_torchs_layer_is_right_with_a_wide_pad(
    five: dict[str, mc.Backend], spec: ConvSpec, x_shape: Shape, w_shape: Shape
) -> None:
    problem = integers(spec, x_shape, w_shape, "float32")
    layer: Any = five["torch"].layer(problem.w, problem.bias, **problem.options)
    x, dy = (five["torch"].asarray(array) for array in (problem.x, problem.dy))
    (dw,) = torch.autograd.grad(layer(x), [next(layer.parameters())], dy)
    assert judge(five["torch"].to_numpy(dw), problem.expectations(["kernel gradient"])["kernel gradient"]).fault is None


@pytest.mark.parametrize(
    ("spec", "x_shape", "w_shape"),
    [
        (ConvSpec((3, 1, 1), (1, 0, 0)), (1, 2, 4, 1, 9), (16, 2, 3, 1, 5)),
        (ConvSpec((3, 1, 1), (1, 0, 0), (1, 3, 2), layout="NDHWC"), (1, 4, 1, 9, 2), (16, 2, 3, 1, 5)),
        (ConvSpec((4, 2, 2), "full", (1, 2, 3)), (1, 1, 2, 5, 1), (16, 1, 4, 1, 3)),
    ],
)
def test_mxnet_reads_no_new_memory(spec: ConvSpec, x_shape: Shape, w_shape: Shape) -> None:
    """In the kernel gradient, if it strides along a padded axis in 3-D."""
    mxnet = registry.new_worker("mxnet", 60, FILLED)
    try:
        assert_right(mxnet, integers(spec, x_shape, w_shape, "float32"))
    finally:
        mxnet.close()


# ---- Users who differentiate themselves

SMALL: list[tuple[Pads, Shape, Shape]] = [
    (((0, 0), (2, 0)), (1, 8, 15, 6), (8, 8, 1, 2)),
    (((3, 1), (0, 0)), (2, 4, 6, 3), (4, 4, 3, 1)),
    # Two outputs and a wide pad before: right at first order, but not at second.
    (((3, 0), (0, 0)), (4, 8, 2, 1), (16, 8, 4, 1)),
]


def differentiated(function: Callable[..., Any], problem: Problem) -> tuple[list[Any], list[Any]]:
    """Return the gradients of x and w, and those of x, w and dy of a sum weighted with other integers of these two."""
    a, b = problem.x[..., ::-1] + 1, problem.w[..., ::-1] - 1

    def first(x: Any, w: Any, dy: Any) -> Any:
        return jax.grad(lambda x, w: (function(x, w) * dy).sum(), (0, 1))(x, w)

    def weighted(x: Any, w: Any, dy: Any) -> Any:
        dx, dw = first(x, w, dy)
        return (dx * a).sum() + (dw * b).sum()

    arrays = [jnp.asarray(array) for array in (problem.x, problem.w, problem.dy)]
    return list(first(*arrays)), list(jax.grad(weighted, (0, 1, 2))(*arrays))


def assert_gradients_right(got: tuple[list[Any], list[Any]], problem: Problem) -> None:
    g = problem.geometry
    x, w, dy = (array.astype(np.float64) for array in (problem.x, problem.w, problem.dy))
    a, b = x[..., ::-1] + 1, w[..., ::-1] - 1
    first = [oracle.input_gradient(dy, w, g), oracle.kernel_gradient(x, dy, g)]
    of_dy = oracle.cross_correlate(a, w, None, g) + oracle.cross_correlate(x, b, None, g)
    second = [oracle.input_gradient(dy, b, g), oracle.kernel_gradient(a, dy, g), of_dy]
    for gradients, right in zip(got, (first, second)):
        for gradient, expected in zip(gradients, right):
            np.testing.assert_array_equal(np.asarray(gradient), expected)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize(("pads", "x_shape", "w_shape"), SMALL)
def test_jax_grad_is_right_at_first_and_second_order(
    five: dict[str, mc.Backend], pads: Pads, x_shape: Shape, w_shape: Shape, groups: int
) -> None:
    problem = integers(ConvSpec(1, pads), x_shape, (w_shape[0], w_shape[1] // groups, *w_shape[2:]), "float32")
    options = problem.options
    got = differentiated(lambda x, w: five["jax"].cross_correlate(x, w, **options), problem)
    assert_gradients_right(got, problem)


@pytest.mark.parametrize(("pads", "x_shape", "w_shape"), SMALL)
def test_jax_grad_of_flaxs_layer_is_right_at_first_and_second_order(
    five: dict[str, mc.Backend], pads: Pads, x_shape: Shape, w_shape: Shape
) -> None:
    problem = integers(ConvSpec(1, pads), x_shape, w_shape, "float32")
    graph, state = nnx.split(five["jax"].layer(problem.w, **problem.options))

    def function(x: Any, w: Any) -> Any:
        return nnx.merge(graph, jax.tree.map(lambda _: w.transpose(2, 3, 1, 0), state))(x)

    assert_gradients_right(differentiated(jax.jit(function), problem), problem)


def test_the_gradient_of_flaxs_layer_does_not_abort(five: dict[str, mc.Backend]) -> None:
    problem = integers(ConvSpec(2, 1), (1, 2, 4, 4), (4, 2, 2, 3), "float32")
    layer = five["jax"].layer(problem.w, **problem.options)
    dx = jax.grad(lambda x: (layer(x) * problem.dy).sum())(jnp.asarray(problem.x))
    assert judge(np.asarray(dx), problem.expectations()["input gradient"]).fault is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("spec", "x_shape", "w_shape"), ONE_OUTPUT)
def test_gradients_of_keras_layer_are_right_where_it_strides_along_one_output(
    five: dict[str, mc.Backend], spec: ConvSpec, x_shape: Shape, w_shape: Shape, dtype: str
) -> None:
    problem = integers(spec, x_shape, w_shape, dtype)
    layer: Any = five["tensorflow"].layer(problem.w, **problem.options)
    x = tf.constant(problem.x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    dx, dw = tape.gradient(y, [x, layer.trainable_weights[0].value], tf.constant(problem.dy))
    expected = problem.expectations(["input gradient", "kernel gradient"])
    assert judge(dx.numpy(), expected["input gradient"]).fault is None
    n = problem.geometry.ndim
    assert judge(dw.numpy().transpose(n + 1, n, *range(n)), expected["kernel gradient"]).fault is None


@pytest.mark.parametrize(
    ("spec", "x_shape", "w_shape", "dtype"),
    [
        (ConvSpec(3, "same"), (2, 8, 1), (8, 8, 3), "bfloat16"),
        (ConvSpec((2, 1)), (3, 8, 12, 8), (5, 8, 1, 1), "float32"),
    ],
)
def test_the_kernel_gradient_of_keras_layer_touches_no_other_memory(
    five: dict[str, mc.Backend], spec: ConvSpec, x_shape: Shape, w_shape: Shape, dtype: str
) -> None:
    problem = integers(spec, x_shape, w_shape, dtype)
    layer: Any = five["tensorflow"].layer(problem.w, problem.bias, **problem.options)
    right = problem.expectations(["kernel gradient"])["kernel gradient"]
    n = problem.geometry.ndim
    for _ in range(MANY_CALLS):
        with tf.GradientTape() as tape:
            y = layer(tf.constant(problem.x))
        dw = tape.gradient(y, layer.trainable_weights[0].value, tf.constant(problem.dy))
        assert judge(dw.numpy().transpose(n + 1, n, *range(n)), right).fault is None


def test_the_kernel_gradient_of_torchs_layer_reads_no_other_memory(five: dict[str, mc.Backend]) -> None:
    problem = integers(ConvSpec(2, 1), (2, 16, 1), (32, 16, 3), "bfloat16")
    layer: Any = five["torch"].layer(problem.w, problem.bias, **problem.options)
    x, dy = (five["torch"].asarray(array) for array in (problem.x, problem.dy))
    right = problem.expectations(["kernel gradient"])["kernel gradient"]
    for _ in range(MANY_CALLS):
        (dw,) = torch.autograd.grad(layer(x), [next(layer.parameters())], dy)
        assert judge(five["torch"].to_numpy(dw), right).fault is None


def test_keras_layer_takes_images_of_unknown_size(five: dict[str, mc.Backend]) -> None:
    problem = integers(ConvSpec((1, 2), layout="NHWC"), (2, 5, 3, 1), (4, 1, 2, 2), "float32")
    layer = five["tensorflow"].layer(problem.w, problem.bias, **problem.options)
    traced = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 1))])
    assert judge(traced(problem.x).numpy(), problem.expectations()["layer"]).fault is None
