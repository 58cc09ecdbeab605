"""PyTorch's own calls: `F.conv{1,2,3}d`, `F.conv_transpose{1,2,3}d` and `nn.Conv{1,2,3}d`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from multiconv.core.geometry import Geometry
from multiconv.core.types import Array
from multiconv.guest.own_calls import Call, OwnCalls, is_same, symmetric


def service() -> OwnCalls:
    """Return what the worker serves."""
    return OwnCalls("multiconv.backends.torch:TorchBackend", forward, conv_transpose, layer, COMPILED)


def forward(g: Geometry, x: Array, w: Array, bias: Array | None) -> Array:
    """Call `F.conv2d`, or the same in 1-D or 3-D."""
    call: Any = (functional.conv1d, functional.conv2d, functional.conv3d)[g.ndim - 1]
    return call(x, w, bias, g.stride, _padding(g), g.dilation, g.groups)


def conv_transpose(g: Geometry, y: Array, w: Array, bias: Array | None) -> Array:
    """Call `F.conv_transpose2d`, or the same in 1-D or 3-D."""
    call: Any = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[g.ndim - 1]
    return call(y, w, bias, g.stride, symmetric(g) or g.pads, g.output_padding, g.groups, g.dilation)


def layer(g: Geometry, x: Array, w: Array, bias: Array | None) -> Array:
    """Call `nn.Conv2d`, or the same in 1-D or 3-D."""
    kind: Any = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[g.ndim - 1]
    module = kind(
        g.in_channels, g.out_channels, g.kernel, g.stride, _padding(g), g.dilation, g.groups, bias is not None
    )
    module.weight, module.bias = nn.Parameter(w), None if bias is None else nn.Parameter(bias)
    return module(x)


def _compile(correlate: Call, g: Geometry, w: Array) -> Call:
    torch.compiler.reset()  # else torch gives up after eight shapes and runs eagerly

    def forward(x: Array) -> Array:
        return correlate(x, w, None)

    return torch.compile(forward)


COMPILED = {"torch.compile": _compile}


def _padding(g: Geometry) -> Any:
    """Return one number per axis if the padding is symmetric, else the word for it, else pairs."""
    return symmetric(g) or ("same" if is_same(g) else g.pads)
