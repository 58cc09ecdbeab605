"""Every snippet of `mc.explain` is run in its framework and compared with the oracle to the bit."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import multiconv as mc
from multiconv.core.types import Host
from multiconv.oracle.exact import correctly_rounded
from multiconv.registry import locate
from multiconv.subjects.snippets import Snippet

CASES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 9), (4, 3, 3), {}),
    ((2, 3, 9), (4, 3, 4), {"padding": "same", "bias": True}),
    ((2, 3, 10), (4, 3, 4), {"padding": "same_lower", "stride": 3}),
    ((1, 4, 9), (6, 2, 3), {"padding": ((2, 1),), "groups": 2, "bias": True}),
    ((1, 4, 12), (6, 4, 3), {"padding": 1, "stride": 2, "dilation": 3}),
    ((2, 3, 9, 8), (4, 3, 3, 2), {"padding": "same", "bias": True}),
    ((2, 3, 10, 11), (4, 3, 7, 7), {"padding": "same", "stride": 2}),
    ((2, 3, 10, 11), (4, 3, 5, 4), {"padding": ((2, 1), (0, 3)), "stride": (2, 3), "bias": True}),
    ((1, 4, 9, 9), (6, 2, 3, 3), {"padding": (1, 2), "groups": 2}),
    ((1, 4, 9, 9), (8, 1, 3, 3), {"padding": "same", "groups": 4, "bias": True}),
    ((1, 4, 12, 11), (6, 4, 3, 2), {"padding": 2, "stride": 2, "dilation": (1, 3)}),
    ((1, 4, 12, 11), (6, 4, 3, 2), {"padding": "full", "dilation": 2}),
    ((1, 2, 5, 6, 7), (3, 2, 2, 3, 2), {"padding": "same", "bias": True}),
    ((1, 2, 5, 6, 7), (3, 2, 2, 3, 2), {"padding": ((1, 0), (0, 2), (1, 1)), "stride": (1, 2, 2)}),
    ((1, 4, 5, 6, 7), (4, 2, 2, 3, 2), {"padding": 1, "groups": 2}),
    ((1, 2, 7, 6, 7), (3, 2, 2, 3, 2), {"padding": 1, "stride": 2, "dilation": 2}),
]
TRANSPOSED: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 4, 5), (4, 3, 3), {"stride": 2, "output_padding": 1, "bias": True}),
    ((2, 4, 5), (4, 3, 4), {"stride": 3, "padding": ((2, 1),)}),
    ((2, 4, 4), (4, 3, 3), {"stride": 2, "padding": 1}),  # SAME's pads, but 7 pixels and not 8
    ((2, 4, 5), (4, 2, 3), {"stride": 3, "padding": 1, "groups": 2, "dilation": 2}),
    ((2, 4, 5, 4), (4, 3, 3, 3), {"stride": 2, "padding": "same", "bias": True}),
    ((2, 4, 5, 4), (4, 3, 2, 3), {"stride": 4, "padding": "same"}),
    ((2, 4, 5, 4), (4, 3, 4, 3), {"stride": 2, "padding": (1, 1), "output_padding": (0, 1), "bias": True}),
    ((2, 4, 5, 4), (4, 3, 4, 3), {"stride": (2, 3), "padding": ((2, 1), (0, 1)), "output_padding": 1}),
    ((1, 4, 5, 4), (4, 1, 3, 3), {"padding": 1, "groups": 4, "bias": True}),
    ((1, 4, 5, 4), (4, 3, 3, 3), {"dilation": 2, "padding": 1}),
    ((1, 2, 3, 4, 3), (2, 3, 2, 3, 2), {"stride": 2, "padding": ((1, 0), (1, 1), (0, 0)), "bias": True}),
]
PROBLEMS = [("forward", *case) for case in CASES] + [("conv_transpose", *case) for case in TRANSPOSED]


def numbered(shape: tuple[int, ...], seed: int) -> Host:
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float32)


def to_layout(array: Host, layout: str) -> Host:
    """Transpose from NCHW or OIHW."""
    first = ("NC" if "N" in layout else "OI") + layout.replace("N", "").replace("C", "").replace("O", "").replace(
        "I", ""
    )
    return np.ascontiguousarray(array.transpose([first.index(axis) for axis in layout]))


def from_layout(array: Host, layout: str) -> Host:
    first = "NC" + layout.replace("N", "").replace("C", "")
    return array.transpose([layout.index(axis) for axis in first])


def asked(direction: str, x_shape: Any, w_shape: Any, options: Any) -> tuple[mc.Explanation, dict[str, Host], Host]:
    """The explanation, the arrays x, w and b, and the right result."""
    of = mc.explain(x_shape, w_shape, direction=direction, **options)
    g = of.geometry
    arrays = {"x": numbered(x_shape, 1), "w": numbered(w_shape, 2)}
    if of.bias:
        arrays["b"] = numbered((g.out_channels if direction == "forward" else g.in_channels,), 3)
    x, dy = (arrays["x"], None) if direction == "forward" else (None, arrays["x"])
    return of, arrays, correctly_rounded(direction, x, arrays["w"], arrays.get("b"), dy, g)


def ran(snippet: Snippet, arrays: dict[str, Host], names: dict[str, Any], convert: Callable[[Host], Any]) -> Host:
    x, w = to_layout(arrays["x"], snippet.x_layout), to_layout(arrays["w"], snippet.w_layout)
    within = {**names, "x": convert(x), "w": convert(w)} | {n: convert(a) for n, a in arrays.items() if n == "b"}
    exec(snippet.code, within)
    return from_layout(np.asarray(within["y"]), snippet.x_layout)


def frameworks(name: str) -> tuple[dict[str, Any], Callable[[Host], Any]]:
    if name == "torch":
        import torch

        return {"F": torch.nn.functional}, torch.from_numpy
    if name == "jax":
        from jax import lax
        from jax import numpy as jnp

        return {"lax": lax, "jnp": jnp}, jnp.asarray
    import keras
    import tensorflow as tf

    return {"tf": tf, "keras": keras}, tf.constant if name == "tensorflow" else np.asarray


@pytest.mark.parametrize("name", ["torch", "jax", "tensorflow", "keras"])
@pytest.mark.parametrize(("direction", "x_shape", "w_shape", "options"), PROBLEMS)
def test_the_code_computes_it(name: str, direction: str, x_shape: Any, w_shape: Any, options: Any) -> None:
    of, arrays, right = asked(direction, x_shape, w_shape, options)
    snippet = of.code[name]
    if not snippet.code:
        groups, dilated, ndim = of.spec.groups > 1, of.spec.dilation != 1, len(w_shape) - 2
        assert name in ("tensorflow", "keras")
        assert "has no" in snippet.note or "takes no" in snippet.note
        transposed = direction == "conv_transpose" and (groups or dilated)
        assert transposed or (groups and ndim == 3) or (name == "keras" and dilated and of.spec.stride != 1)
        return
    y = ran(snippet, arrays, *frameworks(name))
    assert (y.shape, y.dtype) == (right.shape, right.dtype)
    assert np.array_equal(y, right)


MXNET = """
import json, sys
import numpy as np
from mxnet import nd

for number, code in enumerate(json.load(open("codes.json"))):
    arrays = {name: nd.array(a, dtype=a.dtype) for name, a in np.load(f"{number}.npz").items()}
    within = {"nd": nd, **arrays}
    exec(code, within)
    np.save(f"{number}.npy", within["y"].asnumpy())
"""


def test_the_code_of_mxnet_computes_it(tmp_path: Path) -> None:
    problems = [asked(*problem) for problem in PROBLEMS]
    for number, (_, arrays, _) in enumerate(problems):
        np.savez(tmp_path / f"{number}.npz", **arrays)  # type: ignore[arg-type]
    (tmp_path / "codes.json").write_text(json.dumps([of.code["mxnet"].code for of, _, _ in problems]))
    subprocess.run([str(locate("mxnet").python), "-I", "-c", MXNET], cwd=tmp_path, check=True, timeout=120)
    for number, (of, _, right) in enumerate(problems):
        assert np.array_equal(np.load(tmp_path / f"{number}.npy"), right), of.code["mxnet"].code


@pytest.mark.parametrize(("direction", "x_shape", "w_shape", "options"), PROBLEMS)
def test_the_attributes_of_onnx_say_the_same(direction: str, x_shape: Any, w_shape: Any, options: Any) -> None:
    """By the formulas of ONNX's Conv and ConvTranspose for the size, and pads in its order."""
    of, _, _ = asked(direction, x_shape, w_shape, options)
    node, g = of.code["onnx"].code, of.geometry
    attributes = eval(node.replace("ConvTranspose(", "dict(").replace("Conv(", "dict("))
    ones = [1] * g.ndim
    pads, strides = attributes.get("pads", [0] * 2 * g.ndim), attributes.get("strides", ones)
    assert tuple(zip(pads[: g.ndim], pads[g.ndim :])) == g.pads
    assert (tuple(strides), tuple(attributes.get("dilations", ones))) == (g.stride, g.dilation)
    assert (tuple(attributes["kernel_shape"]), attributes.get("group", 1)) == (g.kernel, g.groups)
    extra = attributes.get("output_padding", [0] * g.ndim)
    if direction == "conv_transpose":
        sizes = zip(strides, g.out, extra, g.extent, g.pads)
        assert g.size == tuple(s * (n - 1) + p + e - sum(pad) for s, n, p, e, pad in sizes)


def test_padding_that_has_no_equal_is_put_before_and_said() -> None:
    code = mc.explain((1, 3, 9, 9), (4, 3, 3, 3), padding=((0, 1), (2, 2))).code
    assert code["torch"].code.startswith("x = F.pad(x, (2, 2, 0, 1))\n")
    assert code["torch"].note == "torch has no asymmetric padding, so F.pad comes first"
    assert code["keras"].code.startswith("x = keras.layers.ZeroPadding2D(((0, 1), (2, 2)))(x)\n")
    assert code["tensorflow"].note == ""  # tf.nn.conv2d takes pads in numbers
    assert "[[0, 0], " not in code["tensorflow"].code
