"""The memory of calls: a remembered call answers no other call, and old ones are forgotten."""

from __future__ import annotations

import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from multiconv.backends.numpy import NumpyBackend

import multiconv as mc
from multiconv.oracle.values import seeded

Call = dict[str, Any]


def integers(*shape: int, dtype: str = "float32", which: int = 0) -> Any:
    return seeded(shape, dtype, "integers", 0, which)


def masked(array: Any) -> Any:
    return np.ma.array(array)


X, W = integers(2, 4, 5, 4), integers(6, 4, 3, 2, which=1)
BIAS, DY, X_BIAS = integers(6, which=3), integers(2, 6, 3, 3, which=2), integers(4, which=4)
X64, W64, BIAS64, DY64 = (a.astype("float64") for a in (X, W, BIAS, DY))
X_INT, W_INT, DY_INT = (a.astype("int32") for a in (X, W, DY))

# The two calls of each pair differ in one thing, or in as little as possible.
OF_ARRAYS: dict[str, tuple[Call, Call]] = {
    "the class of x": ({}, {"x": masked(X)}),
    "the class of w": ({}, {"w": masked(W)}),
    "the number of images": ({}, {"x": X[:1], "dy": DY[:1]}),
    "the size of x": ({}, {"x": X[:, :, 1:], "dy": DY[:, :, 1:]}),
    "the number of input channels": ({}, {"x": X[:, :2]}),
    "the number of output channels": ({}, {"w": W[:5], "dy": DY[:, :5]}),
    "the size of w": ({}, {"w": W[:, :, 1:], "dy": integers(2, 6, 4, 3)}),
    "the number of axes": ({}, {"x": X[..., 0], "w": W[..., 0], "dy": DY[..., 0]}),
    "the dtype of x": ({}, {"x": X64}),
    "the dtype of w": ({}, {"w": W64}),
    "the dtype of x, with another of w": ({"w": W64, "x": X64, "dy": DY64}, {"w": W64, "dy": DY64}),
    "the dtype of x and w": ({}, {"x": X64, "w": W64, "dy": DY64}),
    "a dtype that is not computed": ({}, {"x": X_INT, "w": W_INT, "dy": DY_INT}),
    "the stride": ({}, {"stride": 2, "dy": DY[:, :, :2, :2]}),
    "the padding": ({}, {"padding": 1, "dy": integers(2, 6, 5, 5)}),
    "the dilation": ({}, {"dilation": 2, "dy": DY[:, :, :1, :2]}),
    "the groups": ({"w": W[:, :2], "groups": 2}, {"w": W[:, :2], "groups": 1}),
    "more groups": ({}, {"groups": 2}),
    "the layout": ({}, {"layout": "NHWC", "dy": integers(2, 2, 4, 6), "w": W}),
    "the layout, with shapes that do for both": (
        {"x": integers(2, 4, 5, 4), "w": integers(4, 4, 2, 2), "dy": integers(2, 4, 4, 3), "layout": "NCHW"},
        {"x": integers(2, 4, 5, 4), "w": integers(4, 4, 2, 2), "dy": integers(2, 3, 4, 4), "layout": "NHWC"},
    ),
    "the layout, with options that are the same": (
        {"x": integers(2, 4, 4, 4), "w": integers(4, 4, 1, 1), "dy": integers(2, 4, 4, 4), "layout": None},
        {"x": integers(2, 4, 4, 4), "w": integers(4, 4, 1, 1), "dy": integers(2, 4, 4, 4), "layout": "NHWC"},
    ),
    "a layout of another rank": ({"layout": None}, {"layout": "NCW"}),
    "the stride of one axis": ({"stride": (1, 1)}, {"stride": (1, 2), "dy": DY[..., :2]}),
    "a bool for the stride": ({"stride": 1}, {"stride": True}),
    "a bool in the stride": ({"stride": (1, 1)}, {"stride": (True, 1)}),
    "a bool in the stride, beside a tuple": (
        {"stride": (1, 1), "padding": (0, 0)},
        {"stride": (True, 1), "padding": (0, 0)},
    ),
    "a bool in the stride, beside two tuples": (
        {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)},
        {"stride": (True, 1), "padding": (0, 0), "dilation": (1, 1)},
    ),
    "a bool in the padding": ({"padding": (0, 0)}, {"padding": (0, False)}),
    "a bool in the dilation": ({"dilation": (1, 1)}, {"dilation": (1, True)}),
    "a float for the groups": ({"groups": np.int64(1)}, {"groups": 1.0}),
    "bools for all numbers": ({}, {"stride": True, "padding": False, "dilation": True, "groups": True}),
    "a bool for the groups": ({"groups": 1}, {"groups": True}),
    "a bool for the dilation": ({"dilation": 1}, {"dilation": True}),
    "a bool for the padding": ({"padding": 0}, {"padding": False}),
    "the padding of one axis": ({"padding": (0, 0)}, {"padding": (0, 1), "dy": integers(2, 6, 3, 5)}),
    "the padding of one side": ({"padding": 1, "dy": integers(2, 6, 5, 5)}, {"padding": ((1, 1), (1, 0))}),
    "the dilation of one axis": ({"dilation": (1, 1)}, {"dilation": (1, 2), "dy": DY[..., :2]}),
    "the word for the padding": (
        {"padding": "same", "dy": integers(2, 6, 5, 4)},
        {"padding": "same_lower", "dy": integers(2, 6, 5, 4)},
    ),
}
WITH_BIAS: dict[str, tuple[Call, Call]] = {
    "whether there is a bias": ({}, {"bias": BIAS}),
    "the class of the bias": ({"bias": BIAS}, {"bias": masked(BIAS)}),
    "the size of the bias": ({"bias": BIAS}, {"bias": BIAS[:1]}),
    "the axes of the bias": ({"bias": BIAS}, {"bias": BIAS[:, None, None]}),
    "the dtype of the bias": ({"bias": BIAS}, {"bias": BIAS64}),
}
OF_COTANGENT: dict[str, tuple[Call, Call]] = {
    "the class of dy": ({}, {"dy": masked(DY)}),
    "the size of dy": ({}, {"dy": DY[:, :, :1]}),
    "the channels of dy": ({}, {"dy": DY[:, :1]}),
    "the dtype of dy": ({}, {"dy": DY64}),
}
OF_TRANSPOSED: dict[str, tuple[Call, Call]] = {
    "the class of x": ({}, {"dy": masked(DY)}),
    "the class of w": ({}, {"w": masked(W)}),
    "the size of x": ({}, {"dy": DY[:, :, 1:]}),
    "the size of w": ({}, {"w": W[:, :, 1:]}),
    "the number of channels": ({}, {"w": W[:, :3]}),
    "the dtype of x": ({}, {"dy": DY64}),
    "the dtype of w": ({}, {"w": W64}),
    "a dtype that is not computed": ({}, {"w": W_INT, "dy": DY_INT}),
    "the stride": ({}, {"stride": 2}),
    "the padding": ({}, {"padding": 1}),
    "the dilation": ({}, {"dilation": 2}),
    "the groups": ({}, {"groups": 2}),
    "the layout": (
        {"dy": integers(2, 4, 3, 4), "w": integers(4, 4, 2, 2), "layout": "NCHW"},
        {"dy": integers(2, 4, 3, 4), "w": integers(4, 4, 2, 2), "layout": "NHWC"},
    ),
    "whether there is a bias": ({}, {"bias": X_BIAS}),
    "the size of the bias": ({"bias": X_BIAS}, {"bias": X_BIAS[:1]}),
    "the dtype of the bias": ({"bias": X_BIAS}, {"bias": X_BIAS.astype("float64")}),
    "the class of the bias": ({"bias": X_BIAS}, {"bias": masked(X_BIAS)}),
    "the output padding": ({"stride": 2}, {"stride": 2, "output_padding": 1}),
    "a bool for the output padding": ({"stride": 2, "output_padding": 1}, {"stride": 2, "output_padding": True}),
    "a bool in the output padding": (
        {"stride": 2, "output_padding": (0, 1)},
        {"stride": 2, "output_padding": (False, 1)},
    ),
    "the output padding of one axis": (
        {"stride": 2, "output_padding": (0, 1)},
        {"stride": 2, "output_padding": (1, 0)},
    ),
}


def bias_for(call: Call) -> Any:
    w = call.get("w", W)
    return np.resize(BIAS, len(w)).astype(w.dtype)


PAIRS = [
    *(
        (operation, what, *pair)
        for operation in ("cross_correlate", "convolve", "cross_correlate_vjp")
        for what, pair in (OF_ARRAYS | WITH_BIAS).items()
    ),
    # The plain call has a key of its own; with a bias a call has the general one.
    *(
        ("cross_correlate", f"{what}, beside a bias", *({**call, "bias": bias_for(call)} for call in pair))
        for what, pair in OF_ARRAYS.items()
    ),
    *(("cross_correlate_vjp", what, *pair) for what, pair in OF_COTANGENT.items()),
    *(("conv_transpose", what, *pair) for what, pair in OF_TRANSPOSED.items()),
]


def outcome(backend: mc.Backend, operation: str, call: Call) -> Any:
    """The arrays that come out, or the words in which the call is refused."""
    arrays = {"x": X, "w": W, "bias": None, "dy": DY}
    given = arrays | {name: a for name, a in call.items() if name in arrays}
    options = {name: value for name, value in call.items() if name not in arrays}
    x, w, bias, dy = given.values()
    try:
        if operation == "cross_correlate_vjp":
            return backend.cross_correlate_vjp(x, w, bias, dy, **options)
        if operation == "conv_transpose":
            return (backend.conv_transpose(dy, w, bias, **options),)
        return (getattr(backend, operation)(x, w, bias, **options),)
    except mc.ConvError as error:
        return str(error)


def assert_same(one: Any, other: Any) -> None:
    if isinstance(one, str) or isinstance(other, str):
        assert one == other
        return
    for a, b in zip(one, other, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.parametrize(("operation", "what", "first", "second"), PAIRS, ids=[f"{o}: {w}" for o, w, *_ in PAIRS])
def test_a_call_that_differs_in_one_thing_is_not_taken_for_one_that_is_remembered(
    operation: str, what: str, first: Call, second: Call
) -> None:
    for before, after in ((first, second), (second, first)):
        backend = NumpyBackend()
        right = outcome(NumpyBackend(), operation, after)
        for _ in range(2):
            outcome(backend, operation, before)
            assert_same(outcome(backend, operation, after), right)


@pytest.mark.parametrize(("operation", "what", "first", "second"), PAIRS, ids=[f"{o}: {w}" for o, w, *_ in PAIRS])
def test_the_two_calls_of_a_pair_give_different_results(operation: str, what: str, first: Call, second: Call) -> None:
    """Else the test before this one could not fail."""
    one, other = (outcome(NumpyBackend(), operation, call) for call in (first, second))
    with pytest.raises(AssertionError):
        assert_same(one, other)


@pytest.mark.parametrize("bias", [None, integers(4, which=3)], ids=["plain", "with a bias"])
def test_what_each_operation_remembers_answers_no_other_operation(bias: Any) -> None:
    """Of arrays that go with all of them, in any order."""
    x, w, dy = integers(2, 4, 5, 3), integers(4, 4, 1, 3, which=1), integers(2, 4, 5, 3, which=2)
    call = {"x": x, "w": w, "bias": bias, "dy": dy, "padding": (0, 1)}
    operations = ("cross_correlate", "convolve", "conv_transpose", "cross_correlate_vjp")
    right = {operation: outcome(NumpyBackend(), operation, call) for operation in operations}
    for first in operations:
        backend = NumpyBackend()
        for operation in (first, *operations):
            assert_same(outcome(backend, operation, call), right[operation])


class Counted(NumpyBackend):
    """The NumPy backend, counting the functions it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[weakref.ref[Any]] = []
        self.plans = 0
        self.used: list[str] = []

    def native_cross_correlate(self, g: mc.Geometry) -> Any:
        native = super().native_cross_correlate(g)
        self.made.append(weakref.ref(native))
        return native

    def plan(self, operation: str, g: mc.Geometry, dtype: str) -> Any:
        self.plans += 1
        return super().plan(operation, g, dtype)

    def stage(self, function: Any, dtype: str) -> Any:
        def staged(*arrays: Any) -> Any:
            self.used.append(dtype)
            return function(*arrays)

        return staged

    @property
    def alive(self) -> int:
        return sum(function() is not None for function in self.made)


def test_several_calls_are_remembered_side_by_side() -> None:
    backend, w = Counted(), np.ones((1, 1, 1), "float32")
    for size in (2, 3, 4) * 3:
        backend.cross_correlate(np.ones((1, 1, size), "float32"), w)
    assert (len(backend.made), backend.plans) == (3, 3)


def test_a_function_is_made_ready_for_each_dtype() -> None:
    backend = Counted()
    for dtype in ("float32", "float64") * 2:
        backend.cross_correlate(np.ones((1, 1, 4), dtype), np.ones((1, 1, 2), dtype))
    assert backend.used == ["float32", "float64"] * 2


def test_calls_of_one_geometry_have_one_function() -> None:
    """A stride past the end of the input is as good as any other."""
    backend, x, w = Counted(), np.ones((1, 1, 4), "float32"), np.ones((1, 1, 2), "float32")
    for stride in (4, 5, (6,), 2**31 - 1):
        assert backend.cross_correlate(x, w, stride=stride).tolist() == [[[2]]]
    assert (len(backend.made), backend.plans) == (1, 4)


@pytest.mark.parametrize("bias", [None, np.zeros(1, "float32")], ids=["plain", "with a bias"])
def test_a_function_is_made_once_for_calls_that_are_alike(bias: Any) -> None:
    backend = Counted()
    for value in range(5):
        x, w = np.full((1, 1, 4), value, "float32"), np.full((1, 1, 2), value + 1, "float32")
        backend.cross_correlate(x, w, bias)
        backend.cross_correlate(x, w, bias, stride=1, padding=0, dilation=1, groups=1)
    assert (len(backend.made), backend.plans) == (1, 1)


@pytest.mark.parametrize("bias", [None, np.zeros(1, "float32")], ids=["plain", "with a bias"])
def test_no_more_calls_are_remembered_than_there_is_room_for(bias: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner in (mc.Backend, mc.FrameworkBackend):  # of calls, and of plans
        monkeypatch.setattr(sys.modules[owner.__module__], "REMEMBERED", 8)
    backend, w = Counted(), np.ones((1, 1, 1), "float32")
    most = 0
    for size in range(1, 51):
        backend.cross_correlate(np.ones((1, 1, size), "float32"), w, bias)
        most = max(most, backend.alive)
    assert len(backend.made) == 50
    assert most == 8


def test_what_was_forgotten_is_worked_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[mc.Backend.__module__], "REMEMBERED", 2)
    backend, w = NumpyBackend(), integers(1, 1, 2, which=1)
    for _ in range(3):
        for size in range(2, 7):
            x = integers(1, 1, size)
            right = np.correlate(x[0, 0], w[0, 0], "valid")
            np.testing.assert_array_equal(backend.cross_correlate(x, w)[0, 0], right)


def test_threads_may_forget_each_others_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner in (mc.Backend, mc.FrameworkBackend):
        monkeypatch.setattr(sys.modules[owner.__module__], "REMEMBERED", 1)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    backend, w = NumpyBackend(), integers(1, 1, 2, which=1)

    def call(number: int) -> None:
        x = integers(1, 1, 2 + number % 5)
        right = np.correlate(x[0, 0], w[0, 0], "valid")
        np.testing.assert_array_equal(backend.cross_correlate(x, w)[0, 0], right)

    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(call, range(5000)))
    finally:
        sys.setswitchinterval(before)
