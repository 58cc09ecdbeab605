"""An explanation as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from multiconv.subjects.pictures import as_lines

if TYPE_CHECKING:
    from multiconv.subjects.explain import Axis, Explanation

TITLES = {
    "torch": "PyTorch (import torch.nn.functional as F)",
    "jax": "JAX (from jax import lax, numpy as jnp)",
    "tensorflow": "TensorFlow (import tensorflow as tf)",
    "keras": "Keras",
    "mxnet": "MXNet (from mxnet import nd)",
    "onnx": "ONNX node",
}
MOST_RUNS = 4
"""The most runs of unseen pixels that a line lists."""


def as_text(of: Explanation) -> str:
    """Return an explanation as lines of text."""
    lines = [f"x {of.x_shape} and w {of.geometry.w_shape} give y {of.y_shape}."]
    for numbers, axis in _distinct(of.axes):
        lines += ["", *_axis_lines(of, numbers, axis)]
    return "\n".join([*lines, "", *_cost_lines(of), *_code_lines(of), *_kernel_lines(of)])


def _distinct(axes: Sequence[Axis]) -> list[tuple[list[int], Axis]]:
    """Return each different axis once, with the numbers of the axes like it."""
    found: list[tuple[list[int], Axis]] = []
    for number, axis in enumerate(axes):
        for numbers, known in found:
            if known == axis:
                numbers.append(number)
                break
        else:
            found.append(([number], axis))
    return found


def _axis_lines(of: Explanation, numbers: Sequence[int], axis: Axis) -> list[str]:
    transposed = of.direction == "conv_transpose"
    name = f"Spatial axis {numbers[0]}" if len(numbers) == 1 else f"Spatial axes {_and(list(map(str, numbers)))}"
    done = "cut off" if transposed else "padding"
    lines = [
        f"{name}: {axis.formula}",
        f"  {done}: {axis.pads[0]} before, {axis.pads[1]} after",
        f"  {'extent of the kernel' if transposed else 'receptive field'}: {_pixels(axis.extent)}"
        + (f" ({axis.kernel} taps, {axis.dilation} apart)" if axis.dilation > 1 else ""),
        f"  {_unseen(axis, transposed=transposed)}",
    ]
    if axis.sizes:
        lines += _size_lines(of, axis)
    elif not transposed and axis.stride == 1:
        lines.append("  the padding is the same at every size")
    return [*lines, "", *(f"  {line}" for line in as_lines(axis, transposed=transposed))]


def _unseen(axis: Axis, *, transposed: bool) -> str:
    count = axis.unseen_pixels
    if not count:
        return "every pixel of the result has a product" if transposed else "every pixel of the input is seen"
    runs = [str(a) if a == b else f"{a}-{b}" for a, b in axis.unseen[:MOST_RUNS]]
    more = ", ..." if len(axis.unseen) > MOST_RUNS else ""
    if transposed:
        said = f"of the result {'has' if count == 1 else 'have'} no product"
    else:
        said = f"of the input {'is' if count == 1 else 'are'} seen by no output"
    return f"{count} of {_pixels(axis.size)} {said}: {', '.join(runs)}{more}"


def _pixels(count: int) -> str:
    return f"{count} pixel{'s' * (count != 1)}"


def _size_lines(of: Explanation, axis: Axis) -> list[str]:
    if (
        len({row.pads for row in axis.sizes}) == 1
        and axis.symmetric is not None
        and not isinstance(of.spec.padding, str)
    ):
        left = [f"{row.size}: {row.left_over}" for row in axis.sizes]
        return [f"  pixels left over at the end, by size: {', '.join(left)}{_dots(axis)}"]
    rows = "; ".join(f"at {row.size}: {row.pads}" for row in axis.sizes)
    return [f"  padding by size: {rows}{_dots(axis)}", f"  {symmetric_sentence(axis)}"]


def _dots(axis: Axis) -> str:
    return ", ..." if len(axis.sizes) < axis.stride else ""


def symmetric_sentence(axis: Axis) -> str:
    """Say for which sizes one number of padding, as torch and MXNet take it, is right.

    Examples
    --------
    >>> from multiconv.subjects.explain import explain
    >>> symmetric_sentence(explain((1, 3, 224), (4, 3, 7), stride=2, padding="same").axes[0])
    'padding=3 in torch or MXNet is right for odd sizes only'
    """
    if axis.symmetric is None:
        return "no single number of padding, as torch and MXNet take it, is right at any size"
    start = f"padding={axis.symmetric} in torch or MXNet is right"
    if len(axis.right_for) >= axis.stride:
        return f"{start} at every size"
    if axis.stride == 2:
        return f"{start} for {('even', 'odd')[axis.right_for[0]]} sizes only"
    shown = [str(r) for r in axis.right_for[:MOST_RUNS]] + ["..."] * (len(axis.right_for) > MOST_RUNS)
    return f"{start} only for sizes n with n % {axis.stride} = {' or '.join(shown)}"


def _cost_lines(of: Explanation) -> list[str]:
    waste = of.multiply_adds - of.multiply_adds_on_pixels
    share = f", {waste / of.multiply_adds:.1%} of them with zeros of the padding" if waste else ""
    arrays = ", ".join(f"{name} {count:,}" for name, count in of.bytes.items() if count)
    return [
        f"Parameters: {of.parameters:,}",
        f"Multiply-adds: {of.multiply_adds:,}{share}",
        f"Bytes in {of.dtype}: {arrays}",
        f"Bytes of an im2col matrix: {of.im2col_bytes:,}",
    ]


def _code_lines(of: Explanation) -> list[str]:
    lines: list[str] = []
    for name, snippet in of.code.items():
        lines += ["", f"{TITLES[name]}, x {snippet.x_layout}, w {snippet.w_layout}"]
        lines += [f"    {line}" for line in snippet.code.splitlines()]
        if snippet.note:
            lines.append(f"    {'# ' if snippet.code else 'no equal: '}{snippet.note}")
    return lines


def _kernel_lines(of: Explanation) -> list[str]:
    if of.computed_by is None:
        return []
    kernels = [f"    {name}: {', '.join(labels) or 'no call of a library'}" for name, labels in of.computed_by.items()]
    return ["", "Computed here by", *kernels]


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
