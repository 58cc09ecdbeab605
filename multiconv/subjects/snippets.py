"""A convolution as code in each framework, with the pad that a framework needs where it has no equal.

A snippet computes ``y`` from ``x``, ``w`` and, if there is one, ``b``: arrays of the framework in the snippet's own
layouts. Tests run every snippet and compare it with the oracle to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from multiconv.core.geometry import Geometry
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Pads

SPATIAL = {1: "W", 2: "HW", 3: "DHW"}


@dataclass(frozen=True)
class Snippet:
    """A convolution in a framework's own code.

    Attributes
    ----------
    code : str
        Python text, or for ONNX the node's attributes; empty if the framework has no equal.
    x_layout, w_layout : str
        The order of the axes of x and y, such as ``"NHWC"``, and of w, such as ``"HWIO"``.
    note : str
        Why the code is not a single call, or why there is none; else empty.
    """

    code: str
    x_layout: str
    w_layout: str
    note: str = ""


@dataclass(frozen=True)
class Parts:
    """A geometry, with the questions that the snippets of all frameworks ask of it."""

    g: Geometry
    bias: bool

    @property
    def ndim(self) -> int:
        """Return the number of spatial axes."""
        return self.g.ndim

    @property
    def symmetric(self) -> tuple[int, ...] | None:
        """Return the padding as one number per axis, or None if it is asymmetric."""
        return tuple(before for before, _ in self.g.pads) if self.g.symmetric else None

    @property
    def padded(self) -> bool:
        """Return whether there is any padding."""
        return any(map(any, self.g.pads))

    @property
    def strided(self) -> bool:
        """Return whether a stride is above 1."""
        return max(self.g.stride) > 1

    @property
    def dilated(self) -> bool:
        """Return whether a dilation is above 1."""
        return max(self.g.dilation) > 1

    @property
    def is_same(self) -> bool:
        """Return whether the padding is the one that the word SAME means."""
        return self.padded and ConvSpec(self.g.stride, "same", self.g.dilation).pads(self.g.size, self.g.kernel) == (
            self.g.pads
        )

    def first(self, last: bool) -> str:
        """Return the layout of x: channels first or last."""
        return f"N{SPATIAL[self.ndim]}C" if last else f"NC{SPATIAL[self.ndim]}"

    def w_layout(self, *, last: bool) -> str:
        """Return the layout of w: OIHW or HWIO, or the same in 1-D or 3-D."""
        return f"{SPATIAL[self.ndim]}IO" if last else f"OI{SPATIAL[self.ndim]}"


def snippets(g: Geometry, *, bias: bool, transposed: bool = False) -> dict[str, Snippet]:
    """Return the code of a convolution, or of a transposed one, in each framework.

    Examples
    --------
    >>> g = ConvSpec(stride=2, padding="same").resolve((1, 3, 224, 224), (64, 3, 7, 7))
    >>> print(snippets(g, bias=False)["torch"].code)
    x = F.pad(x, (2, 3, 2, 3))
    y = F.conv2d(x, w, stride=2)
    """
    parts = Parts(g, bias)
    writers = _TRANSPOSED if transposed else _FORWARD
    return {name: write(parts) for name, write in writers.items()}


def call(function: str, *positional: Any, **keywords: Any) -> str:
    """Write a call as Python text, without the arguments that are None.

    Examples
    --------
    >>> call("F.conv2d", "x", "w", None, stride=2, padding=None)
    'F.conv2d(x, w, stride=2)'
    """
    arguments = [str(a) for a in positional if a is not None]
    arguments += [f"{name}={value}" for name, value in keywords.items() if value is not None]
    return f"{function}({', '.join(arguments)})"


def short(numbers: Sequence[int], default: int | None = None) -> Any:
    """Return a number for equal ones, a tuple for others, and None if all are the default.

    Examples
    --------
    >>> short((2, 2)), short((1, 2)), short((1, 1), 1)
    (2, (1, 2), None)
    """
    if all(n == default for n in numbers):
        return None
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)


def _pads_last_first(pads: Pads) -> tuple[int, ...]:
    """Return pads as `torch.nn.functional.pad` takes them: the last axis first."""
    return tuple(n for pair in reversed(pads) for n in pair)


def _around(pads: Pads, *, last: bool) -> list[tuple[int, int]]:
    """Return pads for all axes of x."""
    whole = (0, 0)
    return [whole, *pads, whole] if last else [whole, whole, *pads]


def _cropped(parts: Parts, *, last: bool) -> str:
    """Return the index that cuts the pads off the result of a transposed convolution."""
    cuts = [f"{before or ''}:{before + n}" for n, (before, _) in zip(parts.g.size, parts.g.pads)]
    return f"y = y[{', '.join([':', *cuts] if last else [':', ':', *cuts])}]"


# ---- Forward


def _torch(parts: Parts) -> Snippet:
    g, lines, note = parts.g, [], ""
    if parts.symmetric is None:
        lines.append(f"x = F.pad(x, {_pads_last_first(g.pads)})")
        note = "torch has no asymmetric padding, so F.pad comes first"
    lines.append(
        "y = "
        + call(
            f"F.conv{parts.ndim}d", "x", "w", "b" if parts.bias else None,
            stride=short(g.stride, 1),
            padding=short(parts.symmetric or (0,), 0),
            dilation=short(g.dilation, 1),
            groups=short((g.groups,), 1),
        )
    )  # fmt: skip
    return Snippet("\n".join(lines), parts.first(False), parts.w_layout(last=False), note)


def _jax(parts: Parts) -> Snippet:
    g, x, w = parts.g, parts.first(False), parts.w_layout(last=False)
    padding = '"SAME"' if parts.is_same else '"VALID"' if not parts.padded else list(g.pads)
    text = "y = " + call(
        "lax.conv_general_dilated", "x", "w", g.stride, padding,
        rhs_dilation=None if not parts.dilated else g.dilation,
        dimension_numbers=(x, w, x),
        feature_group_count=short((g.groups,), 1),
    )  # fmt: skip
    return Snippet(text + _added_bias(parts), x, w)


def _added_bias(parts: Parts) -> str:
    return f"\ny = y + b.reshape({', '.join(['1', '-1', *['1'] * parts.ndim])})" if parts.bias else ""


def _tensorflow(parts: Parts) -> Snippet:
    g, lines, notes = parts.g, [], []
    if parts.ndim == 3 and g.groups > 1:
        return Snippet("", parts.first(True), parts.w_layout(last=True), "tf.nn.conv3d has no groups")
    apart = parts.strided and parts.dilated and parts.ndim != 2
    if parts.padded and (parts.ndim != 2 or apart) and not (parts.is_same and not apart):
        lines.append(f"x = tf.pad(x, {_around(g.pads, last=True)})")
        notes.append(f"tf.nn.conv{parts.ndim}d has no padding in numbers, so tf.pad comes first")
        padding: Any = '"VALID"'
    elif not parts.padded or (apart and lines):
        padding = '"VALID"'
    else:
        padding = '"SAME"' if parts.is_same else _around(g.pads, last=True)
    strides = short(g.stride) if parts.ndim == 1 or len(set(g.stride)) == 1 else list(g.stride)
    if parts.ndim == 3:
        strides = [1, *g.stride, 1]
    dilations = None if not parts.dilated else short(g.dilation) if parts.ndim == 1 else [1, *g.dilation, 1]
    if apart:
        lines.append("y = " + call("tf.nn.convolution", "x", "w", padding=padding, dilations=list(g.dilation)))
        lines.append(f"y = y[{', '.join([':', *(f'::{s}' for s in g.stride)])}]")
        notes.append("TensorFlow refuses a stride with a dilation here, so the outputs are picked afterwards")
    else:
        lines.append("y = " + call(f"tf.nn.conv{parts.ndim}d", "x", "w", strides, padding=padding, dilations=dilations))
    if parts.bias:
        lines.append("y = tf.nn.bias_add(y, b)")
    return Snippet("\n".join(lines), parts.first(True), parts.w_layout(last=True), "; ".join(notes))


def _keras(parts: Parts) -> Snippet:
    g, lines, note = parts.g, [], ""
    layouts = parts.first(True), parts.w_layout(last=True)
    if parts.strided and parts.dilated:
        return Snippet("", *layouts, "a Keras layer takes no stride with a dilation")
    if parts.ndim == 3 and g.groups > 1:
        return Snippet("", *layouts, "Keras on TensorFlow has no groups in 3-D")
    same = parts.is_same
    if parts.padded and not same:
        amounts: Any = short(parts.symmetric) if parts.symmetric else g.pads[0] if parts.ndim == 1 else g.pads
        lines.append(f"x = keras.layers.ZeroPadding{parts.ndim}D({amounts})(x)")
        note = "a Keras layer has no padding in numbers, so ZeroPadding comes first"
    lines += [
        "layer = "
        + call(
            f"keras.layers.Conv{parts.ndim}D", g.out_channels, short(g.kernel),
            strides=short(g.stride, 1),
            padding='"same"' if same else None,
            dilation_rate=short(g.dilation, 1),
            groups=short((g.groups,), 1),
            use_bias=None if parts.bias else False,
        ),
        "layer.build(x.shape)",
        "layer.set_weights([w, b])" if parts.bias else "layer.set_weights([w])",
        "y = layer(x)",
    ]  # fmt: skip
    return Snippet("\n".join(lines), *layouts, note)


def _mxnet(parts: Parts) -> Snippet:
    g, lines, note = parts.g, [], ""
    if parts.symmetric is None:
        widths = tuple(n for pair in _around(g.pads, last=False) for n in pair)
        note = "MXNet has no asymmetric padding, so nd.pad comes first"
        if parts.ndim == 1:  # nd.pad takes 4 or 5 axes
            widths = (0, 0, 0, 0, 0, 0, *g.pads[0])
            lines.append(f'x = nd.pad(x.expand_dims(2), mode="constant", pad_width={widths}).squeeze(2)')
            note += ", on an axis more, as it takes no 3 axes"
        else:
            lines.append(f'x = nd.pad(x, mode="constant", pad_width={widths})')
    lines.append(
        "y = "
        + call(
            "nd.Convolution", "x", "w", "b" if parts.bias else None,
            kernel=g.kernel,
            num_filter=g.out_channels,
            stride=g.stride if parts.strided else None,
            pad=parts.symmetric if parts.symmetric and parts.padded else None,
            dilate=g.dilation if parts.dilated else None,
            num_group=short((g.groups,), 1),
            no_bias=None if parts.bias else True,
        )
    )  # fmt: skip
    return Snippet("\n".join(lines), parts.first(False), parts.w_layout(last=False), note)


def _onnx(parts: Parts, kind: str = "Conv") -> Snippet:
    g = parts.g
    befores, afters = [before for before, _ in g.pads], [after for _, after in g.pads]
    adjoint = kind == "ConvTranspose"
    text = call(
        kind,
        kernel_shape=list(g.kernel),
        strides=list(g.stride) if parts.strided else None,
        pads=[*befores, *afters] if parts.padded else None,
        dilations=list(g.dilation) if parts.dilated else None,
        group=short((g.groups,), 1),
        output_padding=list(g.output_padding) if adjoint and any(g.output_padding) else None,
    )
    return Snippet(text, parts.first(False), parts.w_layout(last=False))


# ---- Transposed


def _torch_transposed(parts: Parts) -> Snippet:
    g = parts.g
    text = "y = " + call(
        f"F.conv_transpose{parts.ndim}d", "x", "w", "b" if parts.bias else None,
        stride=short(g.stride, 1),
        padding=short(parts.symmetric or (0,), 0),
        output_padding=short(g.output_padding, 0),
        groups=short((g.groups,), 1),
        dilation=short(g.dilation, 1),
    )  # fmt: skip
    note = "torch cuts the same off both ends, so the result is cut afterwards"
    cut = parts.symmetric is None
    text += f"\n{_cropped(parts, last=False)}" * cut
    return Snippet(text, parts.first(False), parts.w_layout(last=False), note * cut)


def _jax_transposed(parts: Parts) -> Snippet:
    g, x, w = parts.g, parts.first(False), parts.w_layout(last=False)
    pads = [
        (e - 1 - before, n + before - (o - 1) * s - 1)
        for e, (before, _), n, o, s in zip(g.extent, g.pads, g.size, g.out, g.stride)
    ]
    axes = tuple(range(2, 2 + parts.ndim))
    if g.groups == 1:
        swap = f"w = jnp.flip(w, {axes}).swapaxes(0, 1)"
    else:
        apart = (g.groups, g.out_channels // g.groups, g.in_channels // g.groups, *g.kernel)
        whole = (g.in_channels, g.out_channels // g.groups, *g.kernel)
        swap = f"w = jnp.flip(w, {axes}).reshape({apart}).swapaxes(1, 2).reshape({whole})"
    text = "y = " + call(
        "lax.conv_general_dilated", "x", "w", (1,) * parts.ndim, pads,
        lhs_dilation=g.stride if parts.strided else None,
        rhs_dilation=g.dilation if parts.dilated else None,
        dimension_numbers=(x, w, x),
        feature_group_count=short((g.groups,), 1),
    )  # fmt: skip
    note = "lax.conv_transpose has no groups and does not flip; this is the adjoint of the cross-correlation"
    return Snippet(f"{swap}\n{text}{_added_bias(parts)}", x, w, note)


def _tensorflow_transposed(parts: Parts) -> Snippet:
    g, layouts = parts.g, (parts.first(True), parts.w_layout(last=True))
    if g.groups > 1 or parts.dilated:
        name = "groups" if g.groups > 1 else "dilation"
        return Snippet("", *layouts, f"tf.nn.conv{parts.ndim}d_transpose has no {name}")
    same = parts.is_same
    size = g.size if same else g.padded
    strides: Any = short(g.stride) if len(set(g.stride)) == 1 else list(g.stride)
    function = call(
        f"tf.nn.conv{parts.ndim}d_transpose", "x", "w", (g.batch, *size, g.in_channels), strides,
        padding='"SAME"' if same else '"VALID"',
    )  # fmt: skip
    cut = parts.padded and not same
    lines = [f"y = {function}", *[_cropped(parts, last=True)] * cut, *["y = tf.nn.bias_add(y, b)"] * parts.bias]
    note = "TensorFlow cuts by words only, so the result is cut afterwards" * cut
    return Snippet("\n".join(lines), *layouts, note)


def _keras_transposed(parts: Parts) -> Snippet:
    g, layouts = parts.g, (parts.first(True), parts.w_layout(last=True))
    if g.groups > 1 or parts.dilated:
        name = "groups" if g.groups > 1 else "dilation on TensorFlow"
        return Snippet("", *layouts, f"a Keras transposed layer has no {name}")
    # Keras's word "same" always gives n * stride pixels.
    same = parts.is_same and g.size == tuple(o * s for o, s in zip(g.out, g.stride)) and not any(g.output_padding)
    lines = [
        "layer = "
        + call(
            f"keras.layers.Conv{parts.ndim}DTranspose", g.in_channels, short(g.kernel),
            strides=short(g.stride, 1),
            padding='"same"' if same else None,
            output_padding=None if same or not parts.strided else short(g.output_padding),
            use_bias=None if parts.bias else False,
        ),
        "layer.build(x.shape)",
        "layer.set_weights([w, b])" if parts.bias else "layer.set_weights([w])",
        "y = layer(x)",
    ]  # fmt: skip
    cut = parts.padded and not same
    if cut:
        amounts: Any = g.pads[0] if parts.ndim == 1 else g.pads
        lines.append(f"y = keras.layers.Cropping{parts.ndim}D({amounts})(y)")
    return Snippet("\n".join(lines), *layouts, "Keras cuts by words only, so Cropping comes after" * cut)


def _mxnet_transposed(parts: Parts) -> Snippet:
    g = parts.g
    text = "y = " + call(
        "nd.Deconvolution", "x", "w", "b" if parts.bias else None,
        kernel=g.kernel,
        num_filter=g.in_channels,
        stride=g.stride if parts.strided else None,
        pad=parts.symmetric if parts.symmetric and parts.padded else None,
        adj=g.output_padding if any(g.output_padding) else None,
        dilate=g.dilation if parts.dilated else None,
        num_group=short((g.groups,), 1),
        no_bias=False if parts.bias else None,
    )  # fmt: skip
    cut = parts.symmetric is None
    text += f"\n{_cropped(parts, last=False)}" * cut
    note = "MXNet cuts the same off both ends, so the result is cut afterwards"
    return Snippet(text, parts.first(False), parts.w_layout(last=False), note * cut)


def _onnx_transposed(parts: Parts) -> Snippet:
    return _onnx(parts, "ConvTranspose")


_FORWARD = {
    "torch": _torch,
    "jax": _jax,
    "tensorflow": _tensorflow,
    "keras": _keras,
    "mxnet": _mxnet,
    "onnx": _onnx,
}
_TRANSPOSED = {
    "torch": _torch_transposed,
    "jax": _jax_transposed,
    "tensorflow": _tensorflow_transposed,
    "keras": _keras_transposed,
    "mxnet": _mxnet_transposed,
    "onnx": _onnx_transposed,
}
