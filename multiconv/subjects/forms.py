"""The forms that a convolution comes in: a function, a layer, a compiled function, as one object on NumPy arrays."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from multiconv.core.dtypes import dtype_named
from multiconv.core.errors import UsageError, suggestion
from multiconv.core.spec import LAYOUTS
from multiconv.core.types import Host
from multiconv.subjects.readers import Reading, host, is_a, read

TAKEN = ("stride", "padding", "dilation", "groups", "kernel", "size", "batch", "in_channels", "out_channels", "ndim",
         "bias", "dtype", "layout", "kernel_layout", "arrays")  # fmt: skip
"""What a thing may take for granted, by the keyword that tells it."""
PARAMETERS = {
    "stride": ("stride", "strides", "window_strides"),
    "padding": ("padding", "pad", "pads"),
    "dilation": ("dilation", "dilations", "dilate", "dilation_rate", "rhs_dilation"),
    "groups": ("groups", "group", "num_group", "feature_group_count"),
}
"""The names of parameters that are options."""
UNBATCHED = {"CW": "NCW", "CHW": "NCHW", "CDHW": "NCDHW", "WC": "NWC", "HWC": "NHWC", "DHWC": "NDHWC"}
KERNEL_LAYOUTS = ("OIHW", "HWIO", "IOHW", "OHWI")
FRAMEWORKS = ("numpy", "torch", "jax", "tensorflow", "mxnet")


class WrongForm(UsageError):
    """A thing has the wrong signature, can't be called, or returns something else than one array."""


@dataclass(eq=False)
class Subject:
    """A thing that should be a convolution, called with NumPy arrays, channels first. `subject` creates it.

    Attributes
    ----------
    thing : object
    name, form : str
        The form is such as ``"function"`` or ``"torch.nn.Module"``.
    takes : tuple of str
        The arrays that it takes: ``"x"``, and for a function possibly ``"w"`` and ``"bias"``.
    options : dict of str to str
        The options that a function takes, each with the name of its parameter.
    fixed : dict
        What it takes for granted.
    known_by : dict of str to str
        For each name in `fixed`: ``"read"``, ``"told"`` or ``"tried"``.
    reading : Reading
        What was read from a layer, with its weights.
    """

    thing: Callable[..., Any]
    name: str
    form: str
    takes: tuple[str, ...]
    options: Mapping[str, str]
    fixed: dict[str, Any]
    known_by: dict[str, str]
    reading: Reading = field(default_factory=Reading)

    @property
    def layout(self) -> str:
        """Return the layout of x and of the result, such as ``"NHWC"``, or ``"HWC"`` without a batch."""
        return str(self.fixed.get("layout") or "NCHW")

    @property
    def channels_last(self) -> bool:
        """Return whether the channels are the last axis."""
        return self.layout.endswith("C")

    def answer(self, x: Host, w: Host | None = None, bias: Host | None = None, **options: Any) -> Host:
        """Call the thing.

        Parameters
        ----------
        x : array, shape (N, C_in, \\*spatial)
        w : array, shape (C_out, C_in / groups, \\*kernel), optional
        bias : array, shape (C_out,), optional
        **options
            ``stride``, ``padding``, ``dilation`` and ``groups``, for a function that takes them.

        Returns
        -------
        array, shape (N, C_out, \\*out)

        Raises
        ------
        WrongForm
            If the thing does not take such an argument, or does not return one array. Its own exceptions are passed on.

        Examples
        --------
        >>> import multiconv as mc
        >>> doubled = mc.subject(lambda x: 2 * x, layout="HWC")
        >>> doubled.answer(np.ones((1, 3, 2, 2), "float32")).shape
        (1, 3, 2, 2)
        """
        for name, array in (("w", w), ("bias", bias)):
            if array is not None and name not in self.takes:
                raise WrongForm(f"{self.name} takes {_signature(self)}, so it can't be given {name}")
        if w is None and "w" in self.takes:
            raise WrongForm(f"{self.name} takes {_signature(self)}, so it needs w")
        for name in options:
            if name not in self.options:
                raise WrongForm(
                    f"{self.name} has no parameter for {name!r}{suggestion(name, list(self.options))}: "
                    f"it takes {_signature(self)}"
                )
        given = {self.options[name]: value for name, value in options.items()}
        rest = [a for name, a in (("w", _kernel(w, self.fixed)), ("bias", bias)) if name in self.takes]
        if self.layout in UNBATCHED:
            images = [self._called(self._own(image[None])[0], rest, given)[None] for image in x]
            return np.concatenate([self._back(image) for image in images])
        parts = []
        for part in _batches(x, self.fixed.get("batch")):
            parts.append(self._back(self._called(self._own(part), rest, given)))
        return (parts[0] if len(parts) == 1 else np.concatenate(parts))[: len(x)]

    def _own(self, x: Host) -> Host:
        """Return x in the thing's layout."""
        return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if self.channels_last else x

    def _back(self, y: Host) -> Host:
        return np.moveaxis(y, -1, 1) if self.channels_last and y.ndim > 2 else y

    def _called(self, x: Host, rest: list[Host | None], options: dict[str, Any]) -> Host:
        convert = _converter(str(self.fixed.get("arrays", "numpy")))
        arrays = [None if a is None else convert(a) for a in (x, *rest)]
        if "bias" in self.takes and arrays[-1] is None and "optional bias" in self.known_by:
            arrays.pop()
        with _scope(self.form, x.dtype.name, self.fixed.get("arrays")):
            y = self.thing(*arrays, **options)
            return one_array(y, self.name)


def subject(thing: Any, *, name: str | None = None, **taken: Any) -> Subject:
    """Return one object for any form of a convolution: a function, a layer, a compiled function.

    Parameters
    ----------
    thing : callable
        A function of x, of (x, w) or of (x, w, bias), with or without options, on arrays of NumPy or of a framework; a
        jitted JAX function; a ``tf.function``; a ``torch.nn.Module``; a Keras layer or model; a Flax nnx module; a
        Gluon block.
    name : str, optional
        How messages name it.
    **taken
        What the thing takes for granted and what can't be read from it: ``stride``, ``padding``, ``dilation``,
        ``groups``, ``kernel``, ``size``, ``batch``, ``in_channels``, ``out_channels``, ``ndim``, ``bias``, ``dtype``;
        ``layout`` of x and of the result, such as ``"NHWC"``, or ``"HWC"`` for a function of one image;
        ``kernel_layout``: OIHW, HWIO, IOHW or OHWI; ``arrays``: the framework whose arrays a function takes.

    Raises
    ------
    UsageError
        If it can't be called, its signature is not that of a convolution, or an option does not exist.

    Examples
    --------
    >>> import multiconv as mc
    >>> def port(x, w, strides=1):
    ...     return mc.backend("numpy").cross_correlate(x, w, stride=strides)
    >>> of = mc.subject(port)
    >>> of.form, of.takes, dict(of.options)
    ('function', ('x', 'w'), {'stride': 'strides'})
    >>> of.answer(np.ones((1, 1, 5)), np.ones((1, 1, 2)), stride=2)
    array([[[2., 2.]]])
    """
    _check_taken(taken)
    form = form_of(thing)
    called = name or getattr(thing, "__name__", None) or type(thing).__name__
    reading = read(thing, form)
    fixed = reading.asdict()
    last = fixed.pop("channels_last", None)
    fixed.pop("direction", None)
    if last is not None:
        fixed["layout"] = _layout(fixed.get("ndim") or 2, last=last)
    if reading.w is not None:
        fixed["bias"] = reading.bias is not None
    known_by = dict.fromkeys(fixed, "read") | dict.fromkeys(taken, "told")
    for key, value in taken.items():
        if key in fixed and key in ("in_channels", "ndim") and fixed[key] != value:
            raise UsageError(f"{called} has {key}={fixed[key]}, not {value!r}")
    fixed |= taken
    if isinstance(fixed.get("layout"), str):
        fixed["layout"] = fixed["layout"].upper()
    if "ndim" not in fixed and "layout" in taken:
        fixed["ndim"] = len(fixed["layout"].replace("N", "")) - 1
        known_by["ndim"] = "told"
    if "arrays" not in fixed:
        fixed["arrays"], known_by["arrays"] = _arrays_of(form), "read"
    takes, options, optional = (("x",), {}, False) if form in LAYER_FORMS else _parameters(thing, called)
    if optional:
        known_by["optional bias"] = "read"
    return Subject(thing, str(called), form, takes, options, fixed, known_by, reading)


LAYER_FORMS = ("torch.nn.Module", "Keras layer", "Flax nnx module", "Gluon block", "multiconv layer")


def form_of(thing: Any) -> str:
    """Return which form a thing has, by its class alone.

    Raises
    ------
    WrongForm
        If it can't be called.

    Examples
    --------
    >>> form_of(np.tanh)
    'function'
    """
    if isinstance(thing, type):
        raise WrongForm(f"{thing.__name__} is a class, not an object: create one, and give that")
    if is_a(thing, "torch", "Module"):
        return "torch.nn.Module"
    if is_a(thing, "keras", "Layer", "Operation"):
        return "Keras layer"
    if is_a(thing, "flax", "Module"):
        return "Flax nnx module" if any("nnx" in k.__module__ for k in type(thing).__mro__) else "Flax linen module"
    if is_a(thing, "mxnet", "Block"):
        return "Gluon block"
    if is_a(thing, "multiconv", "RemoteLayer"):
        return "multiconv layer"
    if not callable(thing):
        raise WrongForm(f"{_short(thing)} is of type {type(thing).__name__}, which can't be called")
    root = type(thing).__module__.partition(".")[0]
    if root in ("jax", "jaxlib"):
        return "jitted JAX function"
    return "tf.function" if root == "tensorflow" else "function"


def one_array(value: Any, name: str) -> Host:
    """Convert a result to a NumPy array: an array of a framework, nested lists, or a tuple or list of one array.

    Raises
    ------
    WrongForm
        If it is not one array of numbers.

    Examples
    --------
    >>> one_array((np.ones(2),), "f")
    array([1., 1.])
    >>> one_array(None, "f")
    Traceback (most recent call last):
    multiconv.subjects.forms.WrongForm: f returned None, not an array
    """
    if isinstance(value, (tuple, list)) and len(value) == 1 and not isinstance(value[0], (int, float, list)):
        value = value[0]
    if value is None or isinstance(value, (str, bytes, dict)):
        raise WrongForm(f"{name} returned {_short(value)}, not an array")
    if isinstance(value, tuple):
        raise WrongForm(f"{name} returned a tuple of {len(value)}, not one array")
    try:
        array = host(value)
    except (TypeError, ValueError):
        raise WrongForm(f"{name} returned {type(value).__name__}, not an array") from None
    if array.dtype == object:
        raise WrongForm(f"{name} returned {type(value).__name__}, not an array of numbers")
    return array


def _check_taken(taken: Mapping[str, Any]) -> None:
    for key in taken:
        if key not in TAKEN:
            raise UsageError(
                f"there is no option {key!r}{suggestion(key, TAKEN)}. Say what the thing takes for granted by "
                f"{', '.join(TAKEN)}"
            )
    for key, possible in (
        ("layout", (*LAYOUTS, *UNBATCHED)),
        ("kernel_layout", KERNEL_LAYOUTS),
        ("arrays", FRAMEWORKS),
    ):
        value = taken.get(key)
        if value is not None and (not isinstance(value, str) or value.upper() not in map(str.upper, possible)):
            raise UsageError(f"{key} must be one of {', '.join(possible)}, not {value!r}{suggestion(value, possible)}")
    dtype = taken.get("dtype")
    if dtype is not None:
        try:
            dtype_named(dtype)
        except TypeError:
            raise UsageError(f"dtype must be the name of one, such as float32, not {dtype!r}") from None


def _parameters(function: Any, name: str) -> tuple[tuple[str, ...], dict[str, str], bool]:
    """Return the arrays and the options that a function takes, and whether its bias may be left out."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return ("x",), {}, False
    known = {spelling: option for option, spellings in PARAMETERS.items() for spelling in spellings}
    options = {known[p.name]: p.name for p in parameters if p.name in known}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        options = {option: options.get(option, option) for option in PARAMETERS}
    if any(p.kind is p.VAR_POSITIONAL for p in parameters) and not options:
        return ("x",), {}, False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    arrays = [p for p in parameters if p.kind in positional and p.name not in known]
    needed = [p for p in arrays if p.default is p.empty]
    others = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty and p.name not in known]
    if not arrays or len(needed) > 3 or others:
        raise WrongForm(
            f"the signature of {name} is not that of a convolution: {inspect.signature(function)}. It may take x, (x, "
            f"w) or (x, w, bias), and options named {', '.join(PARAMETERS)}"
        )
    named = [p.name for p in arrays[len(needed) :]]
    count = len(needed) + (len(needed) == 2 and bool(named) and named[0] in ("b", "bias"))
    optional = count > len(needed)
    return ("x", "w", "bias")[:count], options, optional


def _arrays_of(form: str) -> str:
    return {"torch.nn.Module": "torch", "Gluon block": "mxnet"}.get(form, "numpy")


def _converter(arrays: str) -> Callable[[Host], Any]:
    """Return a function from NumPy arrays to the framework's. The framework is imported already, or is asked for."""
    if arrays == "numpy":
        return lambda a: a
    from importlib import import_module

    module = import_module(arrays)
    if arrays == "torch":
        return lambda a: (
            module.from_numpy(a.astype(np.float32)).bfloat16()
            if a.dtype.name == "bfloat16"
            else module.from_numpy(np.array(a, order="C"))
        )
    if arrays == "jax":
        return lambda a: module.numpy.asarray(a)
    if arrays == "tensorflow":
        return lambda a: module.constant(a)
    return lambda a: module.nd.array(a, dtype=a.dtype)


def _scope(form: str, dtype: str, arrays: Any) -> Any:
    """Return the context that a call needs: no gradients in torch, 64-bit mode in JAX."""
    if arrays == "torch":
        return sys.modules["torch"].no_grad()
    of_jax = form in ("Flax nnx module", "jitted JAX function") or arrays == "jax"
    if of_jax and dtype == "float64":
        return sys.modules["jax"].enable_x64(True)
    return nullcontext()


def _kernel(w: Host | None, fixed: Mapping[str, Any]) -> Host | None:
    """Return the kernel, which is OIHW, in the thing's order."""
    if w is None:
        return None
    spatial = tuple(range(2, w.ndim))
    axes = {
        "OIHW": (0, 1, *spatial), "HWIO": (*spatial, 1, 0), "IOHW": (1, 0, *spatial), "OHWI": (0, *spatial, 1)
    }[str(fixed.get("kernel_layout", "OIHW")).upper()]  # fmt: skip
    return np.ascontiguousarray(w.transpose(axes))


def _batches(x: Host, batch: int | None) -> list[Host]:
    """Split x into batches of the only size that a thing takes, the last filled up with zeros."""
    if batch is None or len(x) == batch:
        return [x]
    missing = -len(x) % batch
    filled = np.concatenate([x, np.zeros((missing, *x.shape[1:]), x.dtype)])
    return [filled[start : start + batch] for start in range(0, len(filled), batch)]


def _signature(of: Subject) -> str:
    return f"({', '.join([*of.takes, *of.options])})"


def _layout(ndim: int, *, last: bool) -> str:
    return next(name for name, kind in LAYOUTS.items() if kind == (ndim, last))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
