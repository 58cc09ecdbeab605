"""What can be read from a framework's layer: its options, channels, dtype, layout and weights.

No framework is imported. A layer is recognised by the names of its classes, and its attributes are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from multiconv.core.types import Host, Pads

CONV = ("Conv1d", "Conv2d", "Conv3d")
CONV_TRANSPOSE = ("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")
KERAS_CONV = ("Conv1D", "Conv2D", "Conv3D")
KERAS_TRANSPOSE = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
KERAS_DEPTHWISE = ("DepthwiseConv1D", "DepthwiseConv2D")
KERAS_SEPARABLE = ("SeparableConv1D", "SeparableConv2D")


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read from a layer. None stands for what could not be read.

    Attributes
    ----------
    direction : str or None
        ``"forward"`` or ``"conv_transpose"``; None if the thing is not a single convolution.
    ndim, in_channels, out_channels, groups : int or None
    kernel, stride, dilation : tuple of int or None
    padding : int, str, tuple or None
        As in `multiconv.ConvSpec`.
    channels_last : bool or None
    dtype : str or None
    size : tuple of int or None
        The only size that the thing takes.
    batch : int or None
        The only batch size that the thing takes.
    w, bias : array or None
        The weights in OIHW.
    """

    direction: str | None = None
    ndim: int | None = None
    in_channels: int | None = None
    out_channels: int | None = None
    groups: int | None = None
    kernel: tuple[int, ...] | None = None
    stride: tuple[int, ...] | None = None
    padding: Any = None
    dilation: tuple[int, ...] | None = None
    channels_last: bool | None = None
    dtype: str | None = None
    size: tuple[int, ...] | None = None
    batch: int | None = None
    w: Host | None = None
    bias: Host | None = None

    def asdict(self) -> dict[str, Any]:
        """Return what was read, by name, without the weights."""
        return {k: v for k, v in vars(self).items() if v is not None and k not in ("w", "bias")}


def is_a(thing: Any, package: str, *names: str) -> str:
    """Return the name of the first class of a thing that is one of a package's, or an empty string.

    Parameters
    ----------
    thing : object
    package : str
        Such as ``"torch"``.
    *names : str
        Names of classes.

    Examples
    --------
    >>> from fractions import Fraction
    >>> is_a(Fraction(1), "fractions", "Fraction"), is_a(1, "fractions", "Fraction")
    ('Fraction', '')
    """
    for kind in type(thing).__mro__:
        if kind.__module__.partition(".")[0] == package and kind.__name__ in names:
            return kind.__name__
    return ""


def read(thing: Any, form: str) -> Reading:
    """Return what can be read from a thing of one of the forms of `multiconv.subjects.forms`."""
    reader = _READERS.get(form)
    return Reading() if reader is None else reader(thing)


def host(array: Any) -> Host:
    """Convert an array or a variable of a framework to a NumPy array, by its own method.

    Examples
    --------
    >>> host([1.5, 2])
    array([1.5, 2. ])
    """
    if hasattr(array, "asnumpy"):
        return np.asarray(array.asnumpy())
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        if "bfloat16" in str(array.dtype):
            from multiconv.core.dtypes import dtype_named

            return np.asarray(array.float().numpy()).astype(dtype_named("bfloat16"))
        return np.asarray(array.numpy())
    if hasattr(array, "numpy") and not isinstance(array, np.ndarray):
        return np.asarray(array.numpy())
    return np.asarray(array)


# ---- torch


def _torch(module: Any) -> Reading:
    if is_a(module, "torch", "Sequential"):
        return _chain(list(module), _torch, _torch_pads)
    transposed = is_a(module, "torch", *CONV_TRANSPOSE)
    if not transposed and not is_a(module, "torch", *CONV):
        return _first(module.modules(), module, _torch)
    padding = module.padding if isinstance(module.padding, str) else tuple(module.padding)
    plain = getattr(module, "padding_mode", "zeros") == "zeros"
    return Reading(
        ("conv_transpose" if transposed else "forward") if plain else None,
        len(module.kernel_size), module.in_channels, module.out_channels, module.groups, tuple(module.kernel_size),
        tuple(module.stride), padding, tuple(module.dilation), False, str(module.weight.dtype).partition(".")[2],
        w=host(module.weight),
        bias=None if module.bias is None else host(module.bias),
    )  # fmt: skip


def _torch_pads(module: Any) -> Pads | None:
    kind = is_a(
        module, "torch", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d"
    )
    if not kind or getattr(module, "value", 0) != 0:
        return None
    numbers = tuple(module.padding)
    return tuple(zip(numbers[::2], numbers[1::2]))[::-1]


# ---- Keras


def _keras(layer: Any) -> Reading:
    if is_a(layer, "keras", "Sequential", "Functional", "Model") and not _keras_kind(layer):
        layers = [part for part in layer.layers if not is_a(part, "keras", "InputLayer")]
        found = _chain(layers, _keras, _keras_pads)
        shape = getattr(layer, "input_shape", None)
        if isinstance(shape, tuple) and len(shape) > 2:
            last = found.channels_last is not False
            sizes = shape[1:-1] if last else shape[2:]
            known = None if None in sizes else tuple(sizes)
            found = replace(
                found,
                size=known,
                batch=shape[0],
                ndim=len(sizes),
                in_channels=shape[-1 if last else 1],
                channels_last=last,
            )
        return found
    kind = _keras_kind(layer)
    if not kind:
        return Reading(channels_last=getattr(layer, "data_format", "channels_last") == "channels_last")
    last = layer.data_format == "channels_last"
    ndim = int(kind.replace("Transpose", "")[-2])
    found = Reading(
        None, ndim, None, getattr(layer, "filters", None), None, tuple(layer.kernel_size), tuple(layer.strides),
        layer.padding, tuple(layer.dilation_rate), last, str(layer.compute_dtype),
    )  # fmt: skip
    if not layer.built:
        return found
    bias = host(layer.bias) if layer.use_bias else None
    to_oihw = (ndim + 1, ndim, *range(ndim))
    if kind in KERAS_SEPARABLE:
        return replace(found, in_channels=int(layer.depthwise_kernel.shape[ndim]))
    if kind in KERAS_DEPTHWISE:
        kernel = host(layer.kernel)
        channels = kernel.shape[ndim]
        w = kernel.reshape(*kernel.shape[:ndim], 1, -1).transpose(to_oihw)
        padding = _keras_word(layer.padding, found.kernel, found.dilation)
        return replace(
            found, direction="forward", in_channels=channels, out_channels=len(w), groups=channels, padding=padding,
            w=w, bias=bias,
        )  # fmt: skip
    w = host(layer.kernel).transpose(to_oihw)
    if kind in KERAS_TRANSPOSE:
        return replace(found, direction="conv_transpose", in_channels=w.shape[0], groups=1, w=w, bias=bias)
    padding = _keras_word(layer.padding, found.kernel, found.dilation)
    channels = w.shape[1] * layer.groups
    return replace(
        found, direction="forward", in_channels=channels, groups=layer.groups, padding=padding, w=w, bias=bias
    )


def _keras_kind(layer: Any) -> str:
    return is_a(layer, "keras", *KERAS_CONV, *KERAS_TRANSPOSE, *KERAS_DEPTHWISE, *KERAS_SEPARABLE)


def _keras_word(padding: str, kernel: Any, dilation: Any) -> Any:
    """Return a Keras padding as `multiconv.ConvSpec` takes it."""
    return (((kernel[0] - 1) * dilation[0], 0),) if padding == "causal" else padding


def _keras_pads(layer: Any) -> Pads | None:
    if not is_a(layer, "keras", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"):
        return None
    pads = layer.padding
    return (tuple(pads),) if isinstance(pads[0], int) else tuple((int(a), int(b)) for a, b in pads)


# ---- Flax nnx and Gluon


def _flax(module: Any) -> Reading:
    if is_a(module, "flax", "Sequential"):
        return _chain(list(module.layers), _flax, lambda _: None)
    transposed = is_a(module, "flax", "ConvTranspose")
    if not transposed and not is_a(module, "flax", "Conv"):
        return Reading(channels_last=True)
    kernel = host(module.kernel[...])
    ndim = kernel.ndim - 2
    w = kernel.transpose(ndim + 1, ndim, *range(ndim))
    stride, dilation = (_each(v, ndim) for v in (module.strides, module.kernel_dilation))
    padding = {"SAME": "same", "SAME_LOWER": "same_lower", "VALID": "valid"}.get(str(module.padding), module.padding)
    if padding == "CAUSAL":
        padding = (((w.shape[2] - 1) * dilation[0], 0),)
    groups = 1 if transposed else module.feature_group_count
    return Reading(
        "conv_transpose" if transposed else "forward", ndim, module.in_features, module.out_features, groups,
        w.shape[2:], stride, padding, dilation, True, str(kernel.dtype),
        w=None if transposed else w,
        bias=None if module.bias is None else host(module.bias[...]),
    )  # fmt: skip


def _gluon(block: Any) -> Reading:
    if is_a(block, "mxnet", "Sequential", "HybridSequential"):
        return _chain(list(block), _gluon, lambda _: None)
    kind = is_a(block, "mxnet", "Conv1D", "Conv2D", "Conv3D", *KERAS_TRANSPOSE)
    if not kind:
        return Reading(channels_last=False)
    options, w = block._kwargs, host(block.weight.data())
    transposed = kind in KERAS_TRANSPOSE
    groups = options["num_group"]
    channels = (w.shape[0], w.shape[1] * groups) if transposed else (w.shape[1] * groups, w.shape[0])
    return Reading(
        "conv_transpose" if transposed else "forward", w.ndim - 2, *channels, groups, tuple(options["kernel"]),
        tuple(options["stride"]), tuple(options["pad"]), tuple(options["dilate"]), False, w.dtype.name,
        w=w,
        bias=None if block.bias is None else host(block.bias.data()),
    )  # fmt: skip


def _multiconv(layer: Any) -> Reading:
    """Read a layer in a worker."""
    spec, w = layer.spec, layer.weight
    stride, dilation = spec.each(w.ndim - 2)
    return Reading(
        "forward", w.ndim - 2, w.shape[1] * spec.groups, w.shape[0], spec.groups, w.shape[2:], stride, spec.padding,
        dilation, spec.channels_last, w.dtype.name, w=w, bias=layer.bias,
    )  # fmt: skip


# ---- Chains


def _chain(layers: Sequence[Any], one: Callable[[Any], Reading], pads_of: Callable[[Any], Pads | None]) -> Reading:
    """Read layers in a row: pads, then one convolution. What else there is leaves only its input readable."""
    before: Pads | None = None
    parts = [part for part in layers if type(part).__name__ not in ("Identity", "Dropout")]
    readings: list[Reading] = []
    for part in parts:
        pads = pads_of(part)
        if pads is not None and not readings:
            before = pads if before is None else tuple((a + c, b + d) for (a, b), (c, d) in zip(before, pads))
        else:
            readings.append(one(part))
    found = next((r for r in readings if r.ndim is not None), readings[0] if readings else Reading())
    if len(readings) != 1 or found.direction != "forward":
        alone = len(readings) == 1 and before is None
        return found if alone else replace(found, direction=None, padding=None, w=None, bias=None, out_channels=None)
    if before is None:
        return found
    own = found.padding
    numbers = _numbers(own, found.ndim or len(before))
    if numbers is None:
        return replace(found, direction=None, padding=None, w=None, bias=None)
    return replace(found, padding=tuple((a + c, b + d) for (a, b), (c, d) in zip(before, numbers)))


def _numbers(padding: Any, ndim: int) -> Pads | None:
    """Return a padding as a pair per axis, or None if it is a word that depends on the kernel."""
    if isinstance(padding, str):
        return ((0, 0),) * ndim if padding == "valid" else None
    each = (padding,) * ndim if isinstance(padding, int) else tuple(padding)
    return tuple((p, p) if isinstance(p, int) else tuple(p) for p in each)


def _first(modules: Iterator[Any], itself: Any, one: Callable[[Any], Reading]) -> Reading:
    """Read the input of the first convolution within a module."""
    for module in modules:
        if module is not itself and not list(module.children()):
            found = one(module)
            if found.ndim is not None:
                return replace(found, direction=None, padding=None, w=None, bias=None, out_channels=None)
    return Reading(channels_last=False)


def _each(value: Any, ndim: int) -> tuple[int, ...]:
    if value is None:
        return (1,) * ndim
    return (value,) * ndim if isinstance(value, int) else tuple(map(int, value))


_READERS: dict[str, Callable[[Any], Reading]] = {
    "torch.nn.Module": _torch,
    "Keras layer": _keras,
    "Flax nnx module": _flax,
    "Gluon block": _gluon,
    "multiconv layer": _multiconv,
}
