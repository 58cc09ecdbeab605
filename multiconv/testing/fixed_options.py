"""Options that are fixed instead of drawn, in the forms that users write."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from multiconv.core.errors import UsageError, suggestion
from multiconv.core.spec import ConvSpec

__tracebackhide__ = True  # as in multiconv.testing.conformance
NUMBERS = ("batch", "in_channels", "out_channels", "groups")
ALONG_AXES = ("stride", "dilation", "kernel", "size")
OPTIONS = (*NUMBERS, *ALONG_AXES, "padding", "layout", "ndim", "bias")


def settled(fixed: Mapping[str, Any], others: Collection[str] = ()) -> dict[str, Any]:
    """Return the fixed options, each as a number or a tuple.

    Parameters
    ----------
    fixed : mapping
        Options by name, as users write them: numbers, lists or tuples.
    others : collection of str
        Other options of the caller, which can be suggested for a misspelt name.

    Raises
    ------
    UsageError
        If an option does not exist, or its value is invalid.

    Examples
    --------
    >>> settled({"kernel": [3, 3], "padding": "SAME"})
    {'kernel': (3, 3), 'padding': 'same', 'ndim': 2}
    """
    for name in fixed:
        if name not in OPTIONS:
            raise UsageError(
                f"there is no option {name!r}{suggestion(name, (*OPTIONS, *others))}. "
                f"The options that can be fixed are {', '.join(OPTIONS)}"
            )
    settled_options = dict(fixed)
    for name in ("ndim", *NUMBERS):
        if name in fixed:
            most = 3 if name == "ndim" else 2**31 - 1
            settled_options[name] = _number(name, fixed[name], least=0 if name == "batch" else 1, most=most)
    for name in ALONG_AXES:
        if name in fixed:
            value = fixed[name]
            several = isinstance(value, (tuple, list))
            numbers = tuple(_number(name, n, least=1) for n in (value if several else [value]))
            settled_options[name] = numbers if several else numbers[0]
    if "bias" in fixed and not isinstance(fixed["bias"], bool):
        raise UsageError(f"bias must be True (with a bias) or False, not {fixed['bias']!r}")
    if fixed.get("layout") is not None:
        settled_options["layout"] = ConvSpec(layout=fixed["layout"]).layout
    if "padding" in fixed:
        padding = fixed["padding"]
        if isinstance(padding, str) and padding.lower() in ("valid", "same", "full"):
            padding = padding.lower()
        settled_options["padding"] = ConvSpec(padding=padding).padding
    axes = {
        name: len(settled_options[name])
        for name in (*ALONG_AXES, "padding")
        if isinstance(settled_options.get(name), tuple)
    }
    ndim = settled_options.setdefault("ndim", next(iter(axes.values()))) if axes else settled_options.get("ndim")
    for name, count in axes.items():
        if count != ndim:
            own = f"{name}={settled_options[name]} is for {count} spatial ax{'is' if count == 1 else 'es'}"
            raise UsageError(f"{own}, but ndim or another option has {ndim}")
    if ndim is not None and not 1 <= ndim <= 3:
        raise UsageError(f"{next(iter(axes))} must have 1, 2 or 3 axes, not {ndim}")
    return settled_options


def _number(name: str, value: Any, least: int, most: int = 2**31 - 1) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
        within = f"from {least} to {most}" if most < 2**31 - 1 else f"of at least {least}"
        raise UsageError(f"{name} must be an int {within}, not {value!r}")
    return int(value)


def some_of(name: str, given: Any, possible: Collection[str]) -> tuple[str, ...]:
    """Return the given words if all are possible and there is at least one.

    Parameters
    ----------
    name : str
        Name of the parameter, for the error message.
    given : str, dtype, or sequence of these
    possible : collection of str

    Raises
    ------
    UsageError
        If a word is not possible, or no word was given.

    Examples
    --------
    >>> some_of("dtypes", np.float32, ("float32", "float64"))
    ('float32',)
    """
    several = (given,) if isinstance(given, (str, type)) else tuple(given)
    words = tuple(np.dtype(word).name if isinstance(word, (type, np.dtype)) else word for word in several)
    expected = f"{name} must be one or more of {', '.join(possible)}"
    if not words:
        raise UsageError(f"{expected}, but it is empty")
    for word in words:
        if word not in possible:
            raise UsageError(f"{expected}, not {word!r}{suggestion(word, possible)}")
    return words
