"""No framework is left to compute in less precision than the dtype has: TF32 is off in torch, and JAX is told so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from jax import lax
from multiconv.backends.jax import JaxBackend
from multiconv.backends.torch import TorchBackend, full_precision

from multiconv.core.spec import ConvSpec

# ---- torch


class OnCuda(torch.Tensor):
    """A tensor of this machine that says that it lies on a CUDA device, as do all that are computed from it."""

    @property
    def is_cuda(self) -> bool:
        return True


def on_cuda(array: Any) -> Any:
    return torch.from_numpy(array).as_subclass(OnCuda)


def tf32() -> str:
    """Whether cuDNN's convolutions may use it: "tf32", or "ieee" where they may not."""
    settings: Any = torch.backends.cudnn.conv
    return str(settings.fp32_precision)


@pytest.fixture
def settings_seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is set while each convolution of torch runs, and each of its gradients; TF32 is on around them."""
    seen: list[str] = []

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            seen.append(tf32())
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"):
        monkeypatch.setattr(F, name, watched(getattr(F, name)))
    monkeypatch.setattr(torch.autograd, "grad", watched(torch.autograd.grad))
    settings: Any = torch.backends.cudnn.conv
    before, settings.fp32_precision = settings.fp32_precision, "tf32"
    try:
        yield seen
    finally:
        settings.fp32_precision = before


OPERATIONS: dict[str, Callable[..., Any]] = {
    "cross_correlate": lambda backend, x, w, dy: backend.cross_correlate(x, w),
    "cross_correlate, padded": lambda backend, x, w, dy: backend.cross_correlate(x, w, padding="same_lower"),
    "convolve": lambda backend, x, w, dy: backend.convolve(x, w),
    "conv_transpose": lambda backend, x, w, dy: backend.conv_transpose(dy, w),
    "cross_correlate_vjp": lambda backend, x, w, dy: backend.cross_correlate_vjp(x, w, None, dy),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_tf32_is_off_while_torch_computes_on_a_cuda_device_and_on_again_after_it(
    operation: str, ndim: int, settings_seen: list[str]
) -> None:
    x, w, dy = (np.ones((2, 2, *[n] * ndim), "float32") for n in (5, 2, 4))
    backend = TorchBackend()
    for _ in range(2):
        OPERATIONS[operation](backend, *map(on_cuda, (x, w, dy)))
        assert tf32() == "tf32"
    assert set(settings_seen) == {"ieee"}
    assert len(settings_seen) >= (4 if operation == "cross_correlate_vjp" else 2)


def test_tf32_is_on_again_after_a_call_that_fails(settings_seen: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        settings_seen.append(tf32())
        raise RuntimeError("out of memory")

    monkeypatch.setattr(F, "conv2d", fails)
    x, w = (on_cuda(np.ones((1, 1, n, n), "float32")) for n in (3, 2))
    with pytest.raises(RuntimeError, match="out of memory"):
        TorchBackend().cross_correlate(x, w)
    assert (settings_seen, tf32()) == (["ieee"], "tf32")


def test_tf32_stays_off_until_the_last_of_two_threads_has_left(settings_seen: list[str]) -> None:
    first_inside, second_inside, first_left = Event(), Event(), Event()

    def first() -> None:
        with full_precision():
            first_inside.set()
            assert second_inside.wait(10)
        first_left.set()

    def second() -> None:
        assert first_inside.wait(10)
        with full_precision():
            second_inside.set()
            assert first_left.wait(10)
            settings_seen.append(tf32())

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(first), pool.submit(second)]:
            done.result()
    assert (settings_seen, tf32()) == (["ieee"], "tf32")


def test_on_the_cpu_no_setting_is_touched(settings_seen: list[str]) -> None:
    TorchBackend().cross_correlate(np.ones((1, 1, 3), "float32"), np.ones((1, 1, 2), "float32"))
    assert settings_seen == ["tf32"]


# ---- JAX


def convolutions(jaxpr: Any) -> Iterator[Any]:
    """Those of a traced function, and of all that it calls."""
    for equation in jaxpr.eqns:
        if equation.primitive is lax.conv_general_dilated_p:
            yield equation
        for parameter in equation.params.values():
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                yield from convolutions(inner)


def precisions(function: Callable[..., Any], *arrays: Any) -> list[Any]:
    return [equation.params["precision"] for equation in convolutions(jax.make_jaxpr(function)(*arrays).jaxpr)]


HIGHEST = (lax.Precision.HIGHEST, lax.Precision.HIGHEST)


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_jax_is_asked_for_its_highest_precision(ndim: int, layout: str) -> None:
    name = {"first": (None, None, None), "last": ("NWC", "NHWC", "NDHWC")}[layout][ndim - 1]
    backend, options = JaxBackend(), {"layout": name, "stride": 1, "groups": 2}
    g = ConvSpec(**options).resolve((2, *[4] * (ndim + 1)), (4, 2, *[2] * ndim))
    x, w, dy, bias = (jnp.ones(shape) for shape in (g.x_shape, g.w_shape, g.y_shape, (4,)))

    def gradients(x: Any, w: Any, bias: Any, dy: Any) -> Any:
        return backend.cross_correlate_vjp(x, w, bias, dy, **options)

    assert precisions(lambda x, w, b: backend.cross_correlate(x, w, b, **options), x, w, bias) == [HIGHEST]
    assert precisions(lambda x, w, b: backend.convolve(x, w, b, **options), x, w, bias) == [HIGHEST]
    assert precisions(lambda dy, w, b: backend.conv_transpose(dy, w, b, **options), dy, w, bias) == [HIGHEST]
    assert precisions(backend.layer(np.asarray(w), np.asarray(bias), **options), x) == [HIGHEST]
    of_gradients = precisions(gradients, x, w, bias, dy)
    assert len(of_gradients) >= 2
    assert set(of_gradients) == {HIGHEST}


@pytest.mark.parametrize("padding", ["same", "same_lower", ((0, 1), (1, 0))])
def test_jaxs_layer_is_asked_for_the_highest_precision_with_any_padding(padding: Any) -> None:
    layer = JaxBackend().layer(np.ones((2, 2, 2, 2), "float32"), stride=2, padding=padding)
    assert precisions(layer, jnp.ones((1, 2, 6, 6))) == [HIGHEST]
