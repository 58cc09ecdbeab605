"""A convolution in words, as ``multiconv explain`` takes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from multiconv.core.errors import UsageError, suggestion
from multiconv.subjects.explain import OPTIONS, Explanation, explain


def parse_words(text: str) -> dict[str, Any]:
    """Parse a convolution in words into the arguments of `explain`.

    Parameters
    ----------
    text : str
        ``"x=1,3,224,224 w=64,3,7,7 stride=2 padding=2:3,2:3 bias=true"``: numbers, or a number per axis, or for the
        padding a word, or before:after per axis. Or a layer as `multiconv.layers.parse_layer` takes it.

    Raises
    ------
    UsageError
        If a word is none of these.

    Examples
    --------
    >>> parse_words("x=1,3,8 w=4,3,3 padding=1:2")
    {'x_shape': (1, 3, 8), 'w_shape': (4, 3, 3), 'padding': ((1, 2),)}
    >>> parse_words("resnet50 conv1")["w_shape"]
    (64, 3, 7, 7)
    """
    if "=" not in text:
        from multiconv.layers import parse_layer

        layer = parse_layer(text)
        g = layer.geometry()
        options = {name: value for name, value in vars(layer.spec).items() if value is not None}
        return {"x_shape": g.x_shape, "w_shape": g.w_shape, "bias": layer.bias, **options}
    found: dict[str, Any] = {}
    known = ("x", "w", *OPTIONS)
    for word in text.split():
        name, equals, value = word.partition("=")
        if name not in known:
            raise UsageError(
                f"there is no option {name!r}{suggestion(name, known)}: a convolution is given as "
                f"x=1,3,224,224 w=64,3,7,7, with any of {', '.join(OPTIONS)}"
            )
        if not equals or not value:
            raise UsageError(f"{name} has no value: write {name}=..., without a space")
        key = f"{name}_shape" if name in "xw" else name
        if key in found:
            raise UsageError(f"{name} is given twice")
        found[key] = _value(name, value)
    for name in ("x", "w"):
        if f"{name}_shape" not in found:
            raise UsageError(f"the shape of {name} is missing: write {name}=... with a number per axis")
    return found


def _value(name: str, value: str) -> Any:
    if name == "bias":
        if value.lower() not in ("true", "false"):
            raise UsageError(f"bias must be true or false, not {value!r}")
        return value.lower() == "true"
    if name == "layout":
        return value.upper()
    if name == "dtype" or (name == "padding" and value.replace("_", "").isalpha()):
        return value.lower()
    parts: list[Any] = [_numbers(name, part.split(":") if name == "padding" else [part]) for part in value.split(",")]
    items = [part[0] if len(part) == 1 else part for part in parts]
    return tuple(items) if name in "xw" or len(items) > 1 or isinstance(items[0], tuple) else items[0]


def _numbers(name: str, texts: Sequence[str]) -> tuple[int, ...]:
    if not all(text.isdecimal() and text.isascii() and len(text) <= 12 for text in texts):
        raise UsageError(f"{name} must have whole numbers from 0, not {':'.join(texts)!r}")
    return tuple(map(int, texts))


def with_words(text: str, **given: Any) -> Explanation:
    """Return the explanation of a convolution in words, with arguments that the words don't have.

    Examples
    --------
    >>> with_words("x=1,1,4 w=1,1,3", direction="conv_transpose").y_shape
    (1, 1, 6)
    """
    return explain(**{**parse_words(text), **given})
