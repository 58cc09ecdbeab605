"""What `Backend` adds to a framework: the order of the axes, padding, empty batches, refusals, and nothing else.

Of frameworks made up for it, which differ in the axes and in the padding that they take, and refuse anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import multiconv as mc
from multiconv import oracle
from multiconv.core.framework import FrameworkBackend
from multiconv.core.geometry import Geometry
from multiconv.core.spec import ConvSpec
from multiconv.oracle.judgement import judge
from multiconv.oracle.problem import Problem
from multiconv.oracle.values import seeded
from multiconv.testing.problem_values import with_values

LAYOUTS = [("channels_first",), ("channels_last",), ("channels_first", "channels_last")]
PADS = ("none", "symmetric", "any")


class Framework(FrameworkBackend):
    """The oracle as a framework, with arrays of its own kind, that takes no others.

    Parameters
    ----------
    layouts, kernel_layout
        As in `FrameworkBackend`.
    pads : str
        Which padding its own calls take: one of `PADS`.
    """

    name = "made up"
    version = "1"
    dtypes = ("float32", "float64")

    def __init__(self, layouts: tuple[str, ...] = LAYOUTS[0], kernel_layout: str = "OIHW", pads: str = "any") -> None:
        super().__init__()
        self.layouts, self.kernel_layout, self.pads = layouts, kernel_layout, pads  # type: ignore[misc]
        self.within: list[str] = []
        self.scopes: list[str] = []
        self.staged: list[tuple[str, int]] = []
        self.calls = 0
        self.weights: list[Any] = []

    def is_array(self, value: Any) -> bool:
        return type(value) is Own

    def from_numpy(self, host: Any) -> Any:
        assert type(host) is np.ndarray
        assert host.flags.c_contiguous
        assert host.flags.writeable
        assert host.dtype.isnative
        assert min(host.strides, default=0) >= 0
        return host.copy().view(Own)

    def to_numpy(self, array: Any) -> Any:
        assert self.is_array(array)
        return np.array(array)

    def transpose(self, array: Any, axes: Sequence[int]) -> Any:
        assert self.is_array(array)
        return np.transpose(array, axes)

    def flip(self, array: Any, axes: Sequence[int]) -> Any:
        assert self.is_array(array)
        return np.flip(array, tuple(axes))

    def pad(self, array: Any, widths: Sequence[tuple[int, int]]) -> Any:
        assert self.is_array(array)
        return np.pad(array, widths).view(Own)

    def stack(self, arrays: Sequence[Any]) -> Any:
        return np.stack(arrays).view(Own)

    def native_corr2d(self, X: Any, K: Any) -> Any:
        self.within.append("".join(self.scopes))
        h, w = K.shape
        shape = X.shape[0] - h + 1, X.shape[1] - w + 1
        return np.array(
            [[(X[i : i + h, j : j + w] * K).sum() for j in range(shape[1])] for i in range(shape[0])], X.dtype
        ).view(Own)

    def pads_natively(self, g: Geometry) -> bool:
        assert ("channels_last" if g.channels_last else "channels_first") in self.layouts
        return {"none": not any(map(any, g.pads)), "symmetric": g.symmetric, "any": True}[self.pads]

    def _axes(self, g: Geometry, *arrays: Any) -> Iterator[Any]:
        """Check that arrays are as it wants them, and bring them to the oracle's order of axes."""
        assert self.pads_natively(g)
        assert g.batch
        self.calls += 1
        for array in arrays:
            assert self.is_array(array)
            yield np.array(array, "float64")

    def _kernel(self, g: Geometry, w: Any) -> Any:
        if self.kernel_layout == "HWIO":
            w = w.transpose(-1, -2, *range(g.ndim))
        assert w.shape == g.w_shape
        return w

    def native_cross_correlate(self, g: Geometry) -> Callable[..., Any]:
        def cross_correlate(x: Any, w: Any, bias: Any = None) -> Any:
            dtype = x.dtype
            x, w, *biases = self._axes(g, x, w, *([] if bias is None else [bias]))
            assert x.shape == g.x_shape
            x = np.moveaxis(x, -1, 1) if g.channels_last else x
            y = oracle.cross_correlate(x, self._kernel(g, w), biases[0] if biases else None, g)
            return (np.moveaxis(y, 1, -1) if g.channels_last else y).astype(dtype).view(Own)

        return cross_correlate

    def native_conv_transpose(self, g: Geometry) -> Callable[..., Any]:
        def conv_transpose(y: Any, w: Any, bias: Any = None) -> Any:
            dtype = y.dtype
            y, w, *biases = self._axes(g, y, w, *([] if bias is None else [bias]))
            assert y.shape == g.y_shape
            y = np.moveaxis(y, -1, 1) if g.channels_last else y
            x = oracle.conv_transpose(y, self._kernel(g, w), biases[0] if biases else None, g)
            return (np.moveaxis(x, 1, -1) if g.channels_last else x).astype(dtype).view(Own)

        return conv_transpose

    def native_layer(self, spec: ConvSpec, w: Any, bias: Any) -> Callable[[Any], Any]:
        self.weights += [w, bias]
        options = {name: getattr(spec, name) for name in ("stride", "padding", "dilation", "groups", "layout")}
        return lambda x: self.cross_correlate(x, w, bias, **options)

    def vjp(self, function: Any, primals: Sequence[Any], cotangent: Any) -> tuple[Any, ...]:
        """By the definition: the result is linear in each argument, so each unit array is tried."""
        assert all(map(self.is_array, (*primals, cotangent)))
        zeros = [np.zeros_like(primal) for primal in primals]
        gradients = []
        for which, primal in enumerate(primals):
            gradient = np.zeros_like(primal)
            for at in np.ndindex(primal.shape):
                unit = np.zeros_like(primal)
                unit[at] = 1
                others = list(zeros) if which > 1 else [*primals[:2], *zeros[2:]]
                others[which] = unit
                gradient[at] = (np.asarray(function(*others)) * np.asarray(cotangent)).sum()
            gradients.append(gradient)
        return tuple(gradients)

    @contextmanager
    def scope(self, dtype: str) -> Iterator[None]:
        self.scopes.append(dtype)
        yield
        self.scopes.pop()

    def stage(self, function: Any, dtype: str) -> Any:
        number = len(self.staged)
        self.staged.append((dtype, number))
        return function

    def block(self, array: Any) -> Any:
        return array

    def devices(self) -> list[str]:
        return ["cpu"]


class Own(np.ndarray):
    """The framework's arrays."""


SPECS = [
    ConvSpec(),
    ConvSpec(2, 1, 1, 2),
    ConvSpec(1, ((1, 2), (0, 1), (2, 0)), 2),
    ConvSpec(2, "same_lower", 1, 2),
    ConvSpec(1, "full"),
]


def problem(spec: ConvSpec, ndim: int, last: bool, dtype: str = "float32", batch: int = 2) -> Problem:
    """Small, with as many channels in as out, so that mixed-up axes show in the numbers and not in the shapes."""
    padding = spec.padding[:ndim] if isinstance(spec.padding, tuple) else spec.padding
    layout = (("NCW", "NCHW", "NCDHW"), ("NWC", "NHWC", "NDHWC"))[last][ndim - 1]
    spec = ConvSpec(spec.stride, padding, spec.dilation, spec.groups, layout)
    size = (4, 3, 3)[:ndim]
    x_shape = (batch, *size, 2) if last else (batch, 2, *size)
    g = spec.resolve(x_shape, (2, 2 // spec.groups, *(2, 2, 2)[:ndim]))
    return with_values("small", spec, g, dtype, bias=True, values="integers", seed=1)


@pytest.mark.parametrize("pads", PADS)
@pytest.mark.parametrize("kernel_layout", ["OIHW", "HWIO"])
@pytest.mark.parametrize("layouts", LAYOUTS, ids=str)
@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_every_order_of_axes_and_every_padding_is_made_of_what_the_framework_takes(
    ndim: int, last: bool, layouts: tuple[str, ...], kernel_layout: str, pads: str
) -> None:
    backend = Framework(layouts, kernel_layout, pads)
    for spec in SPECS if ndim < 3 else SPECS[1:4]:
        p = problem(spec, ndim, last)
        directions = ("forward", "convolve", "conv_transpose", "layer")
        if ndim == 1 or (ndim == 2 and spec is SPECS[2]):
            directions += ("input gradient", "kernel gradient", "bias gradient")
        expected = p.expectations(directions)
        for direction in directions:
            ((_, answer),) = p.answers(backend, direction)
            assert not isinstance(answer, Exception), (spec, direction, answer)
            assert judge(answer, expected[direction]).fault is None, (spec, direction)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("layouts", LAYOUTS, ids=str)
def test_a_call_without_a_bias_is_right_too(layouts: tuple[str, ...], last: bool) -> None:
    backend = Framework(layouts, "HWIO", "none")
    for spec in SPECS:
        p = problem(spec, 2, last)
        without = Problem("small", p.spec, p.x, p.w, p.dy, None, None, "integers")
        for direction, right in without.expectations().items():
            ((_, answer),) = without.answers(backend, direction)
            assert judge(answer, right).fault is None, (spec, direction)


# ---- An empty batch


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_framework_is_not_asked_about_an_empty_batch_unless_it_is_right_on_one(
    spec: ConvSpec, last: bool, dtype: str
) -> None:
    backend, p = Framework(), problem(spec, 2, last, dtype, batch=0)
    expected = p.expectations()
    del expected["layer"]
    for direction, right in expected.items():
        ((_, answer),) = p.answers(backend, direction)
        assert type(answer) is np.ndarray
        assert judge(answer, right).fault is None, direction
    assert backend.calls == 0
    dx, dw, dbias = backend.cross_correlate_vjp(p.x, p.w, None, p.dy, **p.options)
    assert (dx.shape, dw.shape, dbias) == (p.x.shape, p.w.shape, None)
    assert backend.is_array(dx)


def test_a_framework_that_is_right_on_an_empty_batch_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Framework, "empty_batch", True)
    p = problem(SPECS[0], 2, False, batch=0)
    ((_, answer),) = p.answers(Framework(), "forward")
    assert isinstance(answer, AssertionError)


# ---- What is made ready, and when


def test_a_direction_is_staged_once_and_what_convolution_flips_apart_from_what_it_correlates() -> None:
    backend, p = Framework(), problem(SPECS[1], 2, False)
    for _ in range(2):
        backend.cross_correlate(p.x, p.w, p.bias, **p.options)
    assert len(backend.staged) == 1
    backend.convolve(p.x, p.w, p.bias, **p.options)
    assert len(backend.staged) == 2
    backend.conv_transpose(p.dy, p.w, p.x_bias, **p.options)
    backend.cross_correlate_vjp(p.x, p.w, p.bias, p.dy, **p.options)
    assert [dtype for dtype, _ in backend.staged] == ["float32"] * 4


def test_the_loops_over_channels_run_within_the_scope_of_their_dtype() -> None:
    backend, X, K = Framework(), np.ones((2, 3, 3)), np.ones((2, 2, 2, 2))
    assert np.asarray(backend.corr2d_multi_in(X, K[0])).tolist() == [[8, 8], [8, 8]]
    assert backend.within == ["float64"] * 2
    assert np.asarray(backend.corr2d_multi_in_out(X, K)).shape == (2, 2, 2)
    assert backend.within[2:] == ["float64" * 2] * 4
    assert backend.scopes == []


# ---- Arrays


def strange_arrays() -> Iterator[tuple[str, Any]]:
    x = seeded((2, 3, 4), "float32", "integers", 0, 0)
    read_only = x.copy()
    read_only.flags.writeable = False
    yield "as it is", x
    yield "read-only", read_only
    yield "of the other byte order", x.astype(x.dtype.newbyteorder())
    yield "reversed", np.ascontiguousarray(x[::-1])[::-1]
    yield "reversed along an axis of one", np.ones((1, 3, 4), "float32")[::-1]
    yield "of no axes", np.array(1, "float32")
    yield "empty", np.zeros((2, 0), "float32")
    yield "Fortran", np.asfortranarray(x)
    yield "strided", np.repeat(x, 2, axis=2)[..., ::2]
    yield "of a subclass", x.view(np.memmap)


@pytest.mark.parametrize(("how", "array"), list(strange_arrays()), ids=[how for how, _ in strange_arrays()])
def test_any_array_of_numpy_reaches_the_framework_as_a_plain_one(how: str, array: Any) -> None:
    made = Framework().asarray(array)
    assert type(made) is Own
    assert made.tolist() == array.tolist()
    assert made.dtype == "float32"


def test_an_array_of_the_framework_is_returned_unchanged() -> None:
    backend = Framework()
    backwards = backend.asarray(np.ones((3, 2), "float32"))[::-1]
    assert backend.is_array(backend.asarray(backwards))
    with pytest.raises(mc.ConvError, match=r"array must be a NumPy array or an array of made up, not builtins\.object"):
        backend.asarray(object())


@pytest.mark.parametrize("own", [False, True])
def test_a_layer_gets_copies_of_its_weights_in_plain_numpy(own: bool) -> None:
    backend, w, bias = Framework(), np.asfortranarray(np.ones((2, 3, 2), ">f4")), np.ones(2, ">f4")
    given = [backend.asarray(a) if own else a for a in (w, bias)]
    backend.layer(*given)
    for array, copy in zip(given, backend.weights):
        assert type(copy) is np.ndarray
        assert copy.dtype.isnative
        assert copy.flags.c_contiguous
        assert not np.shares_memory(copy, array)
        assert copy.tolist() == np.asarray(array).tolist()


def test_a_layer_may_have_no_bias() -> None:
    backend = Framework()
    layer = backend.layer(np.ones((2, 1, 2), "float32"))
    assert backend.weights[1] is None
    assert np.asarray(layer(np.ones((1, 1, 3), "float32"))).tolist() == [[[2, 2], [2, 2]]]


# ---- Refusals, word by word

X, W = np.ones((1, 2, 5), "float32"), np.ones((4, 2, 2), "float32")
BIAS, DY, X_BIAS = np.ones(4, "float32"), np.ones((1, 4, 4), "float32"), np.ones(2, "float32")


def refused(call: Callable[[], Any], error: type[Exception] = mc.ConvError) -> str:
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    return str(caught.value)


CALLS: dict[str, Callable[..., Any]] = {
    "cross_correlate": lambda backend, x=X, w=W, bias=BIAS, dy=DY: backend.cross_correlate(x, w, bias),
    "convolve": lambda backend, x=X, w=W, bias=BIAS, dy=DY: backend.convolve(x, w, bias),
    "cross_correlate_vjp": lambda backend, x=X, w=W, bias=BIAS, dy=DY: backend.cross_correlate_vjp(x, w, bias, dy),
    "conv_transpose": lambda backend, x=X, w=W, bias=X_BIAS, dy=DY: backend.conv_transpose(dy, w, bias),
    "layer": lambda backend, x=X, w=W, bias=BIAS, dy=DY: backend.layer(w, bias),
}
EVERY_CALL = pytest.mark.parametrize("operation", CALLS)


@EVERY_CALL
def test_a_bias_of_another_shape(operation: str) -> None:
    for shape in ((), (1,), (3,), (4, 1), (1, 4), (0,)):
        channels = 2 if operation == "conv_transpose" else 4
        said = refused(lambda shape=shape: CALLS[operation](Framework(), bias=np.ones(shape, "float32")))
        assert said == f"bias must have the shape ({channels},), one number per output channel, not {shape}"


def test_a_cotangent_of_another_shape() -> None:
    for shape in ((1, 4, 3), (1, 4, 5), (2, 4, 4), (1, 2, 4), (4, 4)):
        said = refused(lambda shape=shape: CALLS["cross_correlate_vjp"](Framework(), dy=np.ones(shape, "float32")))
        assert said == f"dy must have the shape of the result, (1, 4, 4), not {shape}"


@EVERY_CALL
def test_arrays_of_two_dtypes(operation: str) -> None:
    said = refused(lambda: CALLS[operation](Framework(), bias=np.ones(4)))
    first = "w" if operation == "layer" else "x"
    assert said == f"bias is float64 but {first} is float32: nothing is cast silently, so convert one of them"
    if operation not in ("layer", "conv_transpose"):
        said = refused(lambda: CALLS[operation](Framework(), x=X.astype("float64")))
        assert said == "w is float32 but x is float64: nothing is cast silently, so convert one of them"


@EVERY_CALL
def test_a_dtype_that_the_framework_lacks(operation: str) -> None:
    given = {name: a.astype("int16") for name, a in (("x", X), ("w", W), ("dy", DY))} | {"bias": None}
    said = refused(lambda: CALLS[operation](Framework(), **given), mc.UnsupportedError)
    first = "w" if operation == "layer" else "x"
    assert said == f"{first} is int16, which the made up backend does not compute: it has float32, float64"


@EVERY_CALL
def test_what_is_no_array(operation: str) -> None:
    words = "must be a NumPy array or an array of made up, not"
    assert refused(lambda: CALLS[operation](Framework(), w=[1.0])) == f"w {words} builtins.list"
    assert refused(lambda: CALLS[operation](Framework(), bias=1.0)) == f"bias {words} builtins.float"
    assert refused(lambda: CALLS[operation](Framework(), w=None)) == f"w {words} builtins.NoneType"
    said = refused(lambda: CALLS[operation](Framework(), w=np.ma.array(W)))
    assert said == "w is a masked array; its mask would be lost, so fill it first"


class NoShape:
    """As a tensor whose number of axes is not known."""

    dtype = np.dtype("float32")

    @property
    def shape(self) -> Any:
        raise ValueError("no shape")


@EVERY_CALL
def test_what_has_no_shape_or_no_hash_is_refused_in_the_same_words(operation: str) -> None:
    for name in ("w", "dy" if operation == "conv_transpose" else "w"):
        said = refused(lambda name=name: CALLS[operation](Framework(), **{name: NoShape()}))
        assert said.endswith(f"must be a NumPy array or an array of made up, not {__name__}.NoShape")
    for bias in (None, BIAS):
        said = refused(lambda bias=bias: Framework().cross_correlate(X, W, bias, layout=["NCW"]))  # type: ignore[arg-type]
        assert said == "layout must be one of NCW, NCHW, NCDHW, NWC, NHWC, NDHWC, not ['NCW']"
        said = refused(lambda bias=bias: Framework().cross_correlate(NoShape(), W, bias))
        assert said.endswith(f"must be a NumPy array or an array of made up, not {__name__}.NoShape")


def test_the_numpy_backend_has_no_arrays_but_numpys() -> None:
    said = refused(lambda: mc.backend("numpy").cross_correlate([1.0], W))
    assert said == "x must be a NumPy array, not builtins.list"


@pytest.mark.parametrize(
    ("method", "x_shape", "k_shape", "words"),
    [
        ("corr2d", (3,), (2, 2), "X must have 2 axes, but its shape is (3,)"),
        ("corr2d", (3, 3), (2, 2, 2), "K must have 2 axes, but its shape is (2, 2, 2)"),
        ("corr2d", (0, 3), (1, 2), "X is empty: its shape is (0, 3)"),
        ("corr2d", (3, 3), (2, 0), "K is empty: its shape is (2, 0)"),
        ("corr2d", (3, 3), (4, 1), "the kernel is larger than the input: K has the shape (4, 1), X (3, 3)"),
        ("corr2d", (3, 5), (4, 1), "the kernel is larger than the input: K has the shape (4, 1), X (3, 5)"),
        ("corr2d", (5, 3), (1, 4), "the kernel is larger than the input: K has the shape (1, 4), X (5, 3)"),
        ("corr2d", (3, 3), (1, 4), "the kernel is larger than the input: K has the shape (1, 4), X (3, 3)"),
        ("corr2d_multi_in", (3, 3), (2, 2), "X must have 3 axes, but its shape is (3, 3)"),
        ("corr2d_multi_in", (2, 3, 3), (2, 2), "K must have 3 axes, but its shape is (2, 2)"),
        (
            "corr2d_multi_in",
            (2, 3, 3),
            (3, 2, 2),
            "X of shape (2, 3, 3) has 2 channels, but K of shape (3, 2, 2) has 3",
        ),
        ("corr2d_multi_in_out", (2, 3, 3), (2, 2, 2), "K must have 4 axes, but its shape is (2, 2, 2)"),
        ("corr2d_multi_in_out", (3, 3), (2, 2, 2, 2), "X must have 3 axes, but its shape is (3, 3)"),
        (
            "corr2d_multi_in_out",
            (2, 3, 3),
            (2, 3, 2, 2),
            "X of shape (2, 3, 3) has 2 channels, but K of shape (2, 3, 2, 2) has 3",
        ),
        (
            "corr2d_multi_in_out",
            (2, 3, 3),
            (4, 2, 1, 4),
            "the kernel is larger than the input: K has the shape (4, 2, 1, 4), X (2, 3, 3)",
        ),
    ],
)
def test_the_loops_refuse(method: str, x_shape: tuple[int, ...], k_shape: tuple[int, ...], words: str) -> None:
    backend = Framework()
    assert refused(lambda: getattr(backend, method)(np.ones(x_shape), np.ones(k_shape))) == words
    assert backend.within == []


def test_the_loops_refuse_arrays_of_two_dtypes() -> None:
    said = refused(lambda: Framework().corr2d_multi_in(np.ones((1, 2, 2)), np.ones((1, 1, 1), "float32")))
    assert said == "K is float32 but X is float64: nothing is cast silently, so convert one of them"


def test_the_loops_take_a_kernel_as_large_as_the_input_and_different_channels_in_and_out() -> None:
    backend, X = Framework(), seeded((3, 2, 4), "float64", "integers", 0, 0)
    K = seeded((2, 3, 2, 4), "float64", "integers", 0, 1)
    got = np.asarray(backend.corr2d_multi_in_out(X, K))
    assert got.tolist() == np.einsum("chw,ochw->o", X, K).reshape(2, 1, 1).tolist()
    assert np.asarray(backend.corr2d_multi_in(X, K[1])).tolist() == [[got[1, 0, 0]]]


def test_a_backend_says_what_it_is() -> None:
    assert repr(Framework()) == "<multiconv backend made up 1, in this process>"
    assert Framework().dtype(np.ones(1, "float32")) == "float32"
    assert FrameworkBackend.pads_natively(Framework(), ConvSpec(padding=1).resolve((1, 1, 3), (1, 1, 2)))
    assert not FrameworkBackend.pads_natively(Framework(), ConvSpec(padding=((0, 1),)).resolve((1, 1, 3), (1, 1, 2)))


def test_a_backend_must_write_all_that_differs_between_frameworks() -> None:
    arrays = {"version", "is_array", "from_numpy", "to_numpy", "transpose", "flip", "pad", "stack"}
    convolution = {"native_corr2d", "native_cross_correlate", "native_conv_transpose", "native_layer"}
    assert FrameworkBackend.__abstractmethods__ == arrays | convolution | {"vjp", "block", "devices"}


@pytest.mark.parametrize(
    ("options", "shape", "words"),
    [
        ({}, (2, 3), "w must have 3, 4 or 5 axes, (C_out, C_in/groups, *kernel), but its shape is (2, 3)"),
        ({"groups": 3}, (4, 1, 2), "groups=3 does not divide the 4 output channels of w of shape (4, 1, 2)"),
        ({"stride": 0}, (4, 1, 2), "stride must be at least 1, not 0"),
        ({"layout": "NHWC"}, (4, 1, 2), "layout NHWC has 2 spatial axes, but w of shape (4, 1, 2) has 1 spatial axis"),
    ],
    ids=str,
)
def test_a_layer_is_refused_before_it_has_an_input(options: dict[str, Any], shape: tuple[int, ...], words: str) -> None:
    backend = Framework()
    assert refused(lambda: backend.layer(np.ones(shape, "float32"), **options)) == words
    assert backend.weights == []


def test_a_backend_promises_nothing_that_it_does_not_state() -> None:
    of_backend = FrameworkBackend
    assert (of_backend.layouts, of_backend.kernel_layout) == (("channels_first",), "OIHW")
    promises = ("empty_batch", "strided", "compiles", "multiplies_zeros")
    assert [getattr(of_backend, name) for name in promises] == [False] * 4
