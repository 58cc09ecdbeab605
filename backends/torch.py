"""PyTorch: `torch.nn.functional.conv{1,2,3}d`, which supports only symmetric padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain
from threading import Lock
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from multiconv.core import onednn
from multiconv.core.dtypes import dtype_named
from multiconv.core.framework import FrameworkBackend
from multiconv.core.geometry import Geometry
from multiconv.core.layer import InputCheck
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Array, Host, Operation


class TorchBackend(FrameworkBackend):
    """PyTorch. Channels last is a view of channels first with other strides, which PyTorch accepts directly.

    Parameters
    ----------
    device : str
        The device for NumPy arrays. Tensors stay where they are. On CUDA, TF32 is off within a call. cuDNN may still
        choose a fast algorithm, and some of its float16 kernels overflow to 0: docs/gpu.md says what was found.
    """

    name = "torch"
    dtypes = ("float16", "bfloat16", "float32", "float64")
    empty_batch = True
    strided = True
    survives_fork = False

    def __init__(self, device: str = "cpu") -> None:
        super().__init__()
        self.device = device

    # ---- Arrays

    @property
    def version(self) -> str:
        return str(torch.__version__)

    def is_array(self, value: Any) -> bool:
        return isinstance(value, torch.Tensor)

    def dtype(self, array: Array) -> str:
        return str(array.dtype).removeprefix("torch.")

    def device_of(self, array: Array) -> str:
        return self.device if isinstance(array, np.ndarray) else str(array.device)

    def storage_of(self, array: Array) -> str:
        if isinstance(array, np.ndarray) or (array.layout == torch.strided and not array.is_nested):
            return "dense"
        return "nested" if array.is_nested else str(array.layout).removeprefix("torch.").strip("_")

    def from_numpy(self, host: Host) -> Array:
        if host.dtype.name == "bfloat16":
            return torch.from_numpy(host.view(np.int16)).view(torch.bfloat16).to(self.device)
        return torch.from_numpy(host).to(self.device)

    def to_numpy(self, array: Array) -> Host:
        array = array.detach().cpu()
        if array.dtype == torch.bfloat16:
            bits: Host = array.view(torch.int16).numpy()
            return bits.view(dtype_named("bfloat16"))
        host: Host = array.numpy()
        return host

    def transpose(self, array: Array, axes: Sequence[int]) -> Array:
        return array.permute(*axes)

    def flip(self, array: Array, axes: Sequence[int]) -> Array:
        return array.flip(tuple(axes))

    def pad(self, array: Array, widths: Sequence[tuple[int, int]]) -> Array:
        return F.pad(array, list(chain.from_iterable(reversed(widths))))

    def stack(self, arrays: Sequence[Array]) -> Array:
        return torch.stack(tuple(arrays))

    # ---- Convolution

    def native_corr2d(self, X: Array, K: Array) -> Array:
        h, w = K.shape
        Y = torch.zeros((X.shape[0] - h + 1, X.shape[1] - w + 1), dtype=X.dtype, device=X.device)
        for i in range(Y.shape[0]):
            for j in range(Y.shape[1]):
                Y[i, j] = (X[i : i + h, j : j + w] * K).sum()
        return Y

    def native_cross_correlate(self, g: Geometry) -> Operation:
        conv = (F.conv1d, F.conv2d, F.conv3d)[g.ndim - 1]
        # An axis of one element may have any stride: torch then mixes up a channels-last kernel's groups or refuses it.
        any_stride = 1 in g.w_shape
        dilation, groups = _fewest(g.dilation), g.groups
        padding = _fewest([before for before, _ in g.pads])
        # oneDNN misplaces outputs if it strides along an axis of one output, where the stride has no effect.
        stride = _fewest([1 if o == 1 else s for o, s in zip(g.out, g.stride)])
        reach = [(o - 1) * s + e for o, s, e in zip(g.out, g.stride, g.extent)]
        window = (..., *(slice(r) for r in reach))
        left_over = [s > 1 and n > r for s, n, r in zip(g.stride, g.padded, reach)]
        cut = any(o == 1 and left for o, left in zip(g.out, left_over))
        writes_past_end = g.kernel == (1, 1) and any(left_over) and not any(map(any, g.pads))

        def plain(x: Array, w: Array, bias: Array | None = None) -> Array:
            ordered = w.contiguous() if any_stride else w
            y = conv(x, ordered, bias, stride, padding, dilation, groups)
            if y.dtype is x.dtype and not w.is_meta and (bias is None or not bias.is_meta):
                return y  # the same as `call`, in less time
            return call(conv, x, ordered, bias, stride, padding, dilation, groups)

        def on_windows(x: Array, w: Array, bias: Array | None = None) -> Array:
            return plain(x[window], w, bias)

        def on_seen_pixels(x: Array, w: Array, bias: Array | None = None) -> Array:
            if lies_channels_first(x, w):
                return plain(x, w, bias)
            every = (..., *(slice(None, None, s) for s in g.stride))
            return call(conv, x[every], w, bias, 1, 0, 1, groups)

        def on_copy(x: Array, w: Array, bias: Array | None = None) -> Array:
            return uncopied(x.contiguous() if x.dtype == torch.bfloat16 else x, w, bias)

        # In bfloat16, oneDNN reads out of bounds of a channels-last view if one-channel groups have a stride. In
        # channels-last memory, its gradient of a 1x1 kernel writes out of bounds if the stride leaves pixels over.
        uncopied = on_windows if cut else on_seen_pixels if writes_past_end else plain
        cross_correlate = on_copy if g.groups > 1 and g.in_channels == g.groups and max(g.stride) > 1 else uncopied

        def on_any_device(x: Array, w: Array, bias: Array | None = None) -> Array:
            with full_precision() if x.is_cuda else nullcontext():
                return cross_correlate(x, w, bias)

        return on_any_device if torch.cuda.is_available() else cross_correlate

    def native_conv_transpose(self, g: Geometry) -> Operation:
        conv = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[g.ndim - 1]
        padding = tuple(before for before, _ in g.pads)
        any_stride = 1 in g.w_shape  # as in `native_cross_correlate`
        # Its gradient writes out of bounds as there, so the pixels without a product are added here.
        writes_past_end = g.kernel == (1, 1) and not any(padding)
        added = g.output_padding if writes_past_end else (0,) * g.ndim
        output_padding = tuple(n - m for n, m in zip(g.output_padding, added))

        def conv_transpose(y: Array, w: Array, bias: Array | None = None) -> Array:
            with full_precision() if y.is_cuda else nullcontext():
                ordered = w.contiguous() if any_stride else w
                return call(conv, y, ordered, bias, g.stride, padding, output_padding, g.groups, g.dilation)

        def with_zeros(y: Array, w: Array, bias: Array | None = None) -> Array:
            x = self.pad(conv_transpose(y, w), ((0, 0), (0, 0), *((0, n) for n in added)))
            return x if bias is None else x + bias.reshape(-1, 1, 1)

        return with_zeros if any(added) else conv_transpose

    def native_layer(self, spec: ConvSpec, w: Host, bias: Host | None) -> nn.Module:
        kernel = w.shape[2:]
        stride, dilation = spec.each(len(kernel))
        # oneDNN crashes on a dilation along an axis with one tap.
        dilation = tuple(1 if k == 1 else d for k, d in zip(kernel, dilation))
        padding = spec.symmetric_padding(kernel) or (0,) * len(kernel)
        conv: Any = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(kernel) - 1],
            w.shape[1] * spec.groups,
            w.shape[0],
            kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=spec.groups,
            bias=bias is not None,
            dtype=getattr(torch, w.dtype.name),
            device=self.device,
        )
        with torch.no_grad():
            conv.weight.copy_(self.from_numpy(w))
            if conv.bias is not None and bias is not None:
                conv.bias.copy_(self.from_numpy(bias))
        if max(stride) > 1 and spec.groups > 1 and w.shape[1] == 1:
            conv.register_forward_pre_hook(in_order)
        if kernel == (1, 1) and max(stride) > 1 and not any(padding):
            conv.register_forward_pre_hook(without_pixels_left_over)
        return WithTwoOutputs(conv) if strides_over_one_channel(spec, w) else conv

    def assemble(
        self, before: Sequence[Operation], layer: Any, after: Sequence[Operation], check: InputCheck
    ) -> nn.Module:
        steps = (*map(Apply, before), layer, *map(Apply, after))
        module: nn.Module = nn.Sequential(*steps) if len(steps) > 1 else layer
        module.register_forward_pre_hook(CheckInput(check, module), prepend=True, with_kwargs=True)
        return module

    def pads_natively(self, g: Geometry) -> bool:
        if not any(map(any, g.pads)):
            return True
        # oneDNN accesses memory out of bounds in bfloat16 if the kernel is larger than the unpadded image.
        fits = all(e <= n for e, n in zip(g.extent, g.size))
        one_output = any(o == 1 and s > 1 for o, s in zip(g.out, g.stride))
        return fits and g.symmetric and not one_output and not onednn.misplaces_kernel_gradient(g.stride, g.pads)

    def layer_pads_natively(self, spec: ConvSpec, w: Host) -> bool:
        kernel = w.shape[2:]
        padding = spec.symmetric_padding(kernel)
        if padding is None or not any(padding):
            return padding is not None
        # oneDNN accesses memory out of bounds in bfloat16 if the kernel is larger than the unpadded image.
        if strides_over_one_channel(spec, w) or w.dtype.name == "bfloat16":
            return False
        stride, _ = spec.each(len(kernel))
        return not onednn.misplaces_kernel_gradient(stride, tuple(zip(padding, padding)))

    # ---- Running

    def traces(self) -> bool:
        return torch.compiler.is_compiling()

    def vjp(self, function: Operation, primals: Sequence[Array], cotangent: Array) -> tuple[Array, ...]:
        arrays = (*primals, cotangent)
        if torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling():
            # Here, the result of torch.func would not be a tensor of the exported program.
            leaves = [p if p.requires_grad else p.view_as(p).requires_grad_() for p in primals]
            with torch.enable_grad():
                return torch.autograd.grad(function(*leaves), leaves, cotangent, create_graph=True)
        followed = (
            torch.compiler.is_dynamo_compiling()
            or any(map(torch._C._functorch.is_functorch_wrapped_tensor, arrays))
            or (torch.is_grad_enabled() and any(array.requires_grad for array in arrays))
        )
        with full_precision() if cotangent.is_cuda else nullcontext():
            if followed or torch.is_inference_mode_enabled() or any(array.is_inference() for array in arrays):
                # It takes longer, but works within torch's transforms, and its result can be differentiated again.
                pullback = torch.func.vjp(function, *primals)[1]
                return cast("tuple[Array, ...]", pullback(cotangent))
            leaves = [p.detach().requires_grad_() for p in primals]
            with torch.enable_grad():
                return torch.autograd.grad(function(*leaves), leaves, cotangent)

    def block(self, array: Array) -> Array:
        if array.is_cuda:
            torch.cuda.synchronize(array.device)
        return array

    def devices(self) -> list[str]:
        return ["cpu", *(f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count()))]


def _fewest(per_axis: Sequence[int]) -> int | tuple[int, ...]:
    """Return a single number if all axes have the same one, because torch reads a tuple more slowly."""
    return per_axis[0] if len(set(per_axis)) == 1 else tuple(per_axis)


def call(conv: Operation, x: Array, w: Array, bias: Array | None, *options: Any) -> Array:
    """Call one of torch's convolutions, but never without values and never in another dtype.

    With weights on the device "meta", which have no values, torch returns uninitialised memory of the input's device.
    Under autocast, it computes in another dtype.
    """
    if w.is_meta is not x.is_meta or (bias is not None and bias.is_meta is not x.is_meta):
        raise RuntimeError(
            "x, w and bias are not all on the device meta"
        )  # `Backend.check_places` then raises the error for the user
    y = conv(x, w, bias, *options)
    if y.dtype is not x.dtype:
        with torch.autocast(x.device.type, enabled=False):
            return conv(x, w, bias, *options)
    return y


def lies_channels_first(x: torch.Tensor, w: torch.Tensor) -> bool:
    """Return whether torch computes with a 1x1 kernel in channels-first memory. The strides of both decide."""
    return x.is_contiguous() and not x.is_contiguous(memory_format=torch.channels_last) and w.stride(-1) == 1


_counting = Lock()
_settings_before: list[Any] = []
"""The setting before the first thread entered, once for each thread that is inside."""


@contextmanager
def full_precision() -> Iterator[None]:
    """Turn off TF32 in cuDNN, where it is on by default, until the last thread has left.

    Since torch 2.9, the setting has another name.
    """
    cudnn: Any = torch.backends.cudnn
    owner, name, off = (
        (cudnn.conv, "fp32_precision", "ieee") if hasattr(cudnn, "conv") else (cudnn, "allow_tf32", False)
    )
    with _counting:
        if not _settings_before:
            before = getattr(owner, name)
            setattr(owner, name, off)
        else:
            before = _settings_before[-1]
        _settings_before.append(before)
    try:
        yield
    finally:
        with _counting:
            before = _settings_before.pop()
            if not _settings_before:
                setattr(owner, name, before)


def strides_over_one_channel(spec: ConvSpec, w: Host) -> bool:
    """Return whether oneDNN misplaces the outputs of a layer on an image where an axis has one output."""
    return max(spec.each(w.ndim - 2)[0]) > 1 and spec.groups == 1 and w.shape[1] == 1


class WithTwoOutputs(nn.Module):
    """A layer without padding, called with room for a second output along each axis, which is then cut off."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        extent = [(k - 1) * d + 1 for k, d in zip(self.layer.kernel_size, self.layer.dilation)]
        along = list(zip(x.shape[2:], extent, self.layer.stride))
        room = [max(e + s - n, 0) for n, e, s in along]
        y = self.layer(F.pad(x, [n for after in reversed(room) for n in (0, after)]) if any(room) else x)
        outputs: Any = (..., *(slice(max(n - e + s, 0) // s) for n, e, s in along))
        return cast("torch.Tensor", y[outputs])


class Apply(nn.Module):
    """A module that calls a function, for use before or after a layer."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


class CheckInput:
    """A hook that checks the input of a layer, and converts a NumPy array."""

    def __init__(self, check: InputCheck, layer: nn.Module) -> None:
        self.check, self.conv = check, next(m for m in layer.modules() if hasattr(m, "weight"))

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any], Any]:
        (x,) = (*inputs, *named.values())
        weight: Any = self.conv.weight
        if weight.is_meta:
            self.check.backend.check_places(x=x, w=weight)
        # Under autocast, x may have another dtype than the weights: torch casts both.
        kind = weight.device.type
        casts = torch.is_tensor(x) and torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
        dtype = x.dtype if casts else weight.dtype
        return (self.check(x, str(dtype).removeprefix("torch.")),), {}


def in_order(_: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """Copy a view before a layer with one channel per group: oneDNN reads out of bounds in channels-last memory."""
    return (inputs[0].contiguous(),)


def without_pixels_left_over(layer: Any, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """Cut off the pixels that a strided 1x1 layer does not reach, as oneDNN writes past its memory's end otherwise."""
    (x,) = inputs
    if lies_channels_first(x, layer.weight):
        return (x,)
    reached: Any = (..., *(slice((n - 1) // s * s + 1) for n, s in zip(x.shape[2:], layer.stride)))
    return (x[reached],)
