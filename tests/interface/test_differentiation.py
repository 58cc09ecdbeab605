"""Gradients of what an operation returns: through the framework's own autodiff, and a second time."""

from __future__ import annotations

import json
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf
import torch

from multiconv.core.spec import ConvSpec
from multiconv.oracle.judgement import judge
from multiconv.oracle.values import seeded
from multiconv.testing.problem_values import given_values
from multiconv.workers.process import source_places

OPTIONS = [{}, {"stride": 2, "padding": ((1, 0), (2, 1))}, {"dilation": 2, "groups": 2, "padding": 2, "stride": 2}]
EVERY_OPTION = pytest.mark.parametrize("options", OPTIONS, ids=str)


def problem(options, dtype="float64"):
    """x, w, dy of small integers, the gradient of a penalty of dw in x, and that of one of dx in w.

    The penalty is half the sum of squares of dw. As dw is linear in x, its gradient is the input gradient of dy with dw
    as the kernel, and that of the penalty of dx in w is the kernel gradient with dx as the input.
    """
    x_shape, w_shape = (2, 4, 6, 7), (4, 4 // options.get("groups", 1), 3, 2)
    spec = ConvSpec(**options)
    g = spec.resolve(x_shape, w_shape)
    x, w, dy = (seeded(s, dtype, "integers", 0, n) for n, s in enumerate((x_shape, w_shape, g.y_shape)))
    right = given_values("given", spec, x, w, dy=dy).expectations()
    dx, dw = right["input gradient"].value.astype(dtype), right["kernel gradient"].value.astype(dtype)
    of_dw = given_values("penalty", spec, x, dw, dy=dy).expectations()["input gradient"]
    of_dx = given_values("penalty", spec, dx, w, dy=dy).expectations()["kernel gradient"]
    return (x, w, dy), (of_dw, of_dx)


@EVERY_OPTION
@pytest.mark.parametrize("name", ["torch", "jax", "tensorflow"])
def test_a_penalty_of_a_gradient_has_a_gradient(five, name, options):
    (x, w, dy), rights = problem(options)
    answers = SECOND_GRADIENTS[name](five[name], x, w, dy, options)
    for answer, right in zip(answers, rights):
        assert judge(answer, right).fault is None


def torchs_second_gradients(backend, x, w, dy, options):
    x, w = (torch.from_numpy(a).requires_grad_() for a in (x, w))
    dx, dw, _ = backend.cross_correlate_vjp(x, w, None, torch.from_numpy(dy), **options)
    of_dw = torch.autograd.grad(dw.square().sum() / 2, x, retain_graph=True)[0]
    return of_dw.numpy(), torch.autograd.grad(dx.square().sum() / 2, w)[0].numpy()


def jaxs_second_gradients(backend, x, w, dy, options):
    def penalty(which, x, w):
        return (backend.cross_correlate_vjp(x, w, None, jnp.asarray(dy), **options)[which] ** 2).sum() / 2

    with jax.enable_x64(True):
        x, w = jnp.asarray(x), jnp.asarray(w)
        of_dw, of_dx = jax.grad(lambda x: penalty(1, x, w))(x), jax.grad(lambda w: penalty(0, x, w))(w)
        return np.asarray(of_dw), np.asarray(of_dx)


def tensorflows_second_gradients(backend, x, w, dy, options):
    x, w, dy = map(tf.constant, (x, w, dy))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch((x, w))
        dx, dw, _ = backend.cross_correlate_vjp(x, w, None, dy, **options)
        of_dw, of_dx = (tf.reduce_sum(d**2) / 2 for d in (dw, dx))
    return tape.gradient(of_dw, x).numpy(), tape.gradient(of_dx, w).numpy()


SECOND_GRADIENTS = {
    "torch": torchs_second_gradients,
    "jax": jaxs_second_gradients,
    "tensorflow": tensorflows_second_gradients,
}


# ---- torch's other modes


def torchs_problem(options):
    (x, w, dy), _ = problem(options, "float32")
    right = given_values("given", ConvSpec(**options), x, w, dy=dy).expectations()
    return [torch.from_numpy(a) for a in (x, w, dy)], right


def assert_gradients_are_right(gradients, right):
    for answer, name in zip(gradients, ("input gradient", "kernel gradient")):
        assert judge(answer.numpy(force=True), right[name]).fault is None


@EVERY_OPTION
def test_torchs_inference_mode_has_gradients(five, options):
    (x, w, dy), right = torchs_problem(options)
    with torch.inference_mode():
        inside = [a.clone() for a in (x, w, dy)]
        gradients = five["torch"].cross_correlate_vjp(*inside[:2], None, inside[2], **options)[:2]
    assert_gradients_are_right(gradients, right)
    assert_gradients_are_right(five["torch"].cross_correlate_vjp(*inside[:2], None, inside[2], **options)[:2], right)


@EVERY_OPTION
def test_torchs_transforms_go_through_the_gradients(five, options):
    (x, w, dy), right = torchs_problem(options)

    def gradients(x):
        return five["torch"].cross_correlate_vjp(x, w, None, dy, **options)[:2]

    assert_gradients_are_right((torch.vmap(lambda x: gradients(x)[0])(x[None])[0],), right)
    (wide, *_), (of_dw, _) = problem(options)
    penalty = torch.func.grad(
        lambda x: five["torch"].cross_correlate_vjp(x, w.double(), None, dy.double(), **options)[1].square().sum() / 2
    )
    assert judge(penalty(torch.from_numpy(wide)).numpy(), of_dw).fault is None


@EVERY_OPTION
def test_autocast_changes_no_dtype_and_no_bit(five, options):
    (x, w, dy), right = torchs_problem(options)
    with torch.autocast("cpu", torch.bfloat16):
        y = five["torch"].cross_correlate(x, w, **options)
        back = five["torch"].conv_transpose(dy, w, **options)
        gradients = five["torch"].cross_correlate_vjp(x, w, None, dy, **options)[:2]
    assert {a.dtype for a in (y, back, *gradients)} == {torch.float32}
    assert judge(y.numpy(), right["forward"]).fault is None
    assert_gradients_are_right(gradients, right)


def test_gradients_that_nobody_follows_have_no_graph(five):
    (x, w, dy), _ = torchs_problem({})
    x.requires_grad_()
    with torch.no_grad():
        assert not any(a.requires_grad for a in five["torch"].cross_correlate_vjp(x, w, None, dy)[:2])
    assert x.grad is None


# ---- MXNet's tape

IN_MXNET = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("serve", sys.argv[1])
serve = importlib.util.module_from_spec(spec)
spec.loader.exec_module(serve)
sys.meta_path.insert(0, serve.Source(json.loads(sys.argv[2])))

import numpy as np
from mxnet import autograd, nd
from multiconv.backends.mxnet import MxnetBackend

backend, rng, found = MxnetBackend(), np.random.default_rng(0), []
for options, y_shape, w_shape in json.loads(sys.argv[3]):
    y, w = (nd.array(rng.integers(-3, 4, shape), dtype="float32") for shape in (y_shape, w_shape))
    for array in (y, w):
        array.attach_grad()
        array.grad[:] = 7
    before = backend.conv_transpose(y, w, **options)
    kept = float(w.grad.min().asscalar()) == 7
    with autograd.record():
        x = backend.conv_transpose(y, w, **options)
    dx = nd.array(rng.integers(-3, 4, x.shape), dtype="float32")
    x.backward(dx)
    found.append([a.asnumpy().tolist() for a in (y, w, dx, y.grad, w.grad)] + [kept])
print(json.dumps(found))
"""

TRANSPOSED = [
    ({"stride": 2, "dilation": 2}, (1, 3, 3, 4), (3, 2, 2, 2)),
    ({"stride": 2}, (2, 4, 2, 3, 2), (4, 1, 2, 1, 2)),
    ({"groups": 2, "stride": 2, "padding": 1}, (2, 4, 3, 3), (4, 1, 3, 3)),
]


def test_mxnets_transposed_convolution_stays_on_the_tape(five):
    places = source_places("multiconv.backends.mxnet:MxnetBackend")
    serve = f"{places['multiconv']}/guest/serve.py"
    command = [str(five["mxnet"].python), "-I", "-c", IN_MXNET, serve, json.dumps(places), json.dumps(TRANSPOSED)]
    asked = subprocess.run(command, capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    for (options, _, _), (*arrays, kept) in zip(TRANSPOSED, json.loads(asked.stdout.splitlines()[-1]), strict=True):
        y, w, dx, dy, dw = (np.array(a, "float32") for a in arrays)
        # The transposed convolution is the adjoint: its gradient in y is the convolution of dx, that in w the kernel's.
        right = given_values("adjoint", ConvSpec(**options), dx, w, dy=y).expectations()
        assert judge(dy, right["forward"]).fault is None
        assert judge(dw, right["kernel gradient"]).fault is None
        assert kept, "a call outside of the tape wrote to a gradient"
