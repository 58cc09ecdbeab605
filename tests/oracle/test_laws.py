"""The laws: right backends keep them, each is broken by a wrong one, and each is exact where it says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multiconv.backends.numpy import NumpyBackend

import multiconv as mc
from multiconv.core.geometry import Geometry
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Shape
from multiconv.oracle.judgement import judge
from multiconv.oracle.laws import ALWAYS, INTEGERS, LAWS, NAN_STAYS_LOCAL, Law
from multiconv.oracle.problem import Problem
from multiconv.testing.drawing import draw_problems
from multiconv.testing.problem_values import given_values, with_values
from multiconv.testing.strategies import specs

Host = npt.NDArray[Any]
Ask = Callable[..., Host]

NUMPY = mc.backend("numpy")
PROBLEMS = draw_problems(200, 0)
FEW = PROBLEMS[:60]
METHODS = {"cross_correlate", "convolve", "conv_transpose", "cross_correlate_vjp", "layer"}

BY_NAME = {law.name: law for law in LAWS}
each_law = pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)

SEE_A_FLIP = {
    "delta kernel",
    "impulse response",
    "convolution with a delta",
    "identity kernel",
    "transposed impulse",
    "gradients of one output",
    "input and kernel exchanged",
    "commutativity",
    "associativity",
    "associativity of correlation",
    "kernel gradient is a correlation",
    "zero tap",
}


def broken(law: Law, backend: mc.Backend, problems: list[Problem] = FEW) -> bool:
    judgements = (law.judge(backend, problem) for problem in problems)
    return any(judgement is not None and judgement.fault is not None for judgement in judgements)


def flipped(w: Host) -> Host:
    return np.flip(w, range(2, w.ndim)).copy()


# ---- What they say


def test_each_law_has_a_name_of_its_own_a_statement_and_methods_that_there_are():
    everything = (*LAWS, NAN_STAYS_LOCAL)
    assert len(LAWS) >= 24
    assert len({law.name for law in everything}) == len({law.statement for law in everything}) == len(everything)
    assert all(law.uses and law.uses <= METHODS and law.exact in (ALWAYS, INTEGERS) for law in everything)


class Recorder(NumpyBackend):
    """NumPy's backend, which notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def __getattribute__(self, name: str) -> Any:
        if name in METHODS:
            self.asked.add(name)
        return super().__getattribute__(name)


@each_law
def test_a_law_applies_to_some_problems_holds_there_and_uses_the_methods_that_it_says(law: Law) -> None:
    recorder = Recorder()
    judgements = [j for problem in PROBLEMS if (j := law.judge(recorder, problem)) is not None]
    assert judgements
    assert {j.fault for j in judgements} == {None}
    assert recorder.asked == law.uses


@each_law
@pytest.mark.parametrize("integers", [True, False], ids=["integers", "reals"])
def test_a_law_is_exact_where_it_says_so(law: Law, integers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds: list[Host] = []

    def noting(answer: Host, expected: Any) -> Any:
        bounds.append(np.broadcast_to(expected.bound, answer.shape))
        return judge(answer, expected)

    monkeypatch.setattr("multiconv.oracle.laws.law.judge", noting)
    for problem in PROBLEMS:
        if problem.values == ("integers" if integers else "normal") and problem.geometry.batch:
            law.judge(NUMPY, problem)
    exact = integers or law.exact == ALWAYS
    assert bounds
    assert exact != any(map(np.any, bounds))


# ---- Right backends keep them


@given(
    some=st.lists(st.sampled_from([*LAWS, NAN_STAYS_LOCAL]), min_size=12, max_size=12, unique=True),
    drawn=specs(),
    dtype=st.sampled_from(["float32", "float64"]),
    bias=st.booleans(),
    values=st.sampled_from(["integers", "normal", "wide", "subnormal"]),
    seed=st.integers(0, 2**32 - 1),
)
@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_the_laws_hold(
    name: str,
    some: list[Law],
    drawn: tuple[ConvSpec, Shape, Shape],
    dtype: str,
    bias: bool,
    values: str,
    seed: int,
) -> None:
    spec, x_shape, w_shape = drawn
    g = spec.resolve(x_shape, w_shape)
    problem = with_values("drawn", spec, g, dtype, bias=bias, values=values, seed=seed)
    for law in some:
        judgement = law.judge(mc.backend(name), problem)
        assert judgement is None or judgement.fault is None, law.name


SEEDED = [
    (ConvSpec(2, "same", 1, 2, "NHWC"), (2, 5, 4, 4), (4, 2, 2, 3), "float32", "integers"),
    (ConvSpec(1, ((1, 2),), 2), (2, 2, 6), (3, 2, 3), "float64", "normal"),
]


@pytest.mark.parametrize("name", ["jax", "tensorflow", "mxnet"])
def test_the_laws_hold_in_the_other_frameworks(name: str, five: dict[str, mc.Backend]) -> None:
    judged = set()
    for spec, x_shape, w_shape, dtype, values in SEEDED:
        g = spec.resolve(x_shape, w_shape)
        problem = with_values("seeded", spec, g, dtype, bias=True, values=values, seed=1)
        for law in LAWS:
            judgement = law.judge(five[name], problem)
            assert judgement is None or judgement.fault is None, law.name
            if judgement is not None:
                judged.add(law)
    assert judged == set(LAWS)


# ---- Wrong backends break them


class Wrong(NumpyBackend):
    """NumPy's backend, wrong in `cross_correlate`, and so in `convolve` and in layers, but not in any adjoint.

    It is a function of the geometry, of the right operation, and of what that is asked for, channels first.
    """

    def __init__(self, forward: Callable[..., Host]) -> None:
        super().__init__()
        self.forward = forward

    def cross_correlate(self, x: Host, w: Host, bias: Host | None = None, **options: Any) -> Host:
        spec = ConvSpec(**options)

        def right(x: Host, w: Host, bias: Host | None, **changes: Any) -> Host:
            laid_out = np.moveaxis(x, 1, -1) if spec.channels_last else x
            y = super(Wrong, self).cross_correlate(laid_out, w, bias, **options | changes)
            return np.moveaxis(y, -1, 1) if spec.channels_last else y

        first = np.moveaxis(x, -1, 1) if spec.channels_last else x
        g = spec.resolve(x.shape, w.shape)
        y = self.forward(spec, g, right, first, w, bias).astype(x.dtype)
        return np.moveaxis(y, 1, -1) if spec.channels_last else y

    def convolve(self, x: Host, w: Host, bias: Host | None = None, **options: Any) -> Host:
        return self.cross_correlate(x, flipped(w), bias, **options)


def kernel_flipped(spec: ConvSpec, g: Geometry, right: Ask, x: Host, w: Host, bias: Host | None) -> Host:
    return right(x, flipped(w), bias)


def input_without_sign(spec: ConvSpec, g: Geometry, right: Ask, x: Host, w: Host, bias: Host | None) -> Host:
    return right(np.abs(x), w, bias)


def input_squared(spec: ConvSpec, g: Geometry, right: Ask, x: Host, w: Host, bias: Host | None) -> Host:
    return right(x * x, w, bias)


def kernel_without_sign(spec: ConvSpec, g: Geometry, right: Ask, x: Host, w: Host, bias: Host | None) -> Host:
    return right(x, np.abs(w), bias)


def one_added(spec: ConvSpec, g: Geometry, right: Ask, x: Host, w: Host, bias: Host | None) -> Host:
    return right(x, w, bias) + 1


def bias_twice(spec: ConvSpec, g: Geometry, right: Ask, x: Host, w: Host, bias: Host | None) -> Host:
    y = right(x, w, bias)
    return y if bias is None else y + bias.reshape(-1, *[1] * g.ndim)


def last_column_zero(spec: ConvSpec, g: Geometry, right: Ask, x: Host, w: Host, bias: Host | None) -> Host:
    y = right(x, w, bias).copy()
    y[..., -1] = 0
    return y


def wrong_channels_last(spec: ConvSpec, g: Geometry, right: Ask, x: Host, w: Host, bias: Host | None) -> Host:
    y = right(x, w, bias)
    return np.flip(y, -1) if spec.channels_last else y


def mean_of_the_image_added(spec: ConvSpec, g: Geometry, right: Ask, x: Host, w: Host, bias: Host | None) -> Host:
    return right(x, w, bias) + x.mean(axis=tuple(range(1, x.ndim)), keepdims=True)


def first_image_added(spec: ConvSpec, g: Geometry, right: Ask, x: Host, w: Host, bias: Host | None) -> Host:
    y = right(x, w, bias)
    return y + y[:1]


def last_input_channel_dropped(spec: ConvSpec, g: Geometry, right: Ask, x: Host, w: Host, bias: Host | None) -> Host:
    fewer = x.copy()
    fewer[:, -1] = 0
    return right(fewer, w, bias)


def first_output_channel_twice(spec: ConvSpec, g: Geometry, right: Ask, x: Host, w: Host, bias: Host | None) -> Host:
    y = right(x, w, bias).copy()
    y[:, 0] *= 2
    return y


def groups_see_the_first(spec: ConvSpec, g: Geometry, right: Ask, x: Host, w: Host, bias: Host | None) -> Host:
    return right(np.concatenate([x[:, : w.shape[1]]] * g.groups, axis=1), w, bias)


def stride_a_pixel_late(spec: ConvSpec, g: Geometry, right: Ask, x: Host, w: Host, bias: Host | None) -> Host:
    late = np.roll(np.pad(x, ((0, 0), (0, 0), *g.pads)), [-(s > 1) for s in g.stride], range(2, x.ndim))
    return right(late, w, bias, padding=0)


def dilation_ignored(spec: ConvSpec, g: Geometry, right: Ask, x: Host, w: Host, bias: Host | None) -> Host:
    sizes = [n - e + k for n, e, k in zip(g.padded, g.extent, g.kernel)]
    padded = np.pad(x, ((0, 0), (0, 0), *g.pads))[(slice(None), slice(None), *map(slice, sizes))]
    return right(padded, w, bias, padding=0, dilation=1)


def padded_with_the_edge(spec: ConvSpec, g: Geometry, right: Ask, x: Host, w: Host, bias: Host | None) -> Host:
    return right(np.pad(x, ((0, 0), (0, 0), *g.pads), mode="edge"), w, bias, padding=0)


def words_for_same_confused(spec: ConvSpec, g: Geometry, right: Ask, x: Host, w: Host, bias: Host | None) -> Host:
    other = {"same": "same_lower", "same_upper": "same_lower", "same_lower": "same"}
    return right(x, w, bias, padding=other.get(str(spec.padding), spec.padding))


class ConvolveCorrelates(NumpyBackend):
    def convolve(self, x: Host, w: Host, bias: Host | None = None, **options: Any) -> Host:
        return self.cross_correlate(x, w, bias, **options)


class TransposedFlipped(NumpyBackend):
    def conv_transpose(self, x: Host, w: Host, bias: Host | None = None, **options: Any) -> Host:
        return super().conv_transpose(x, flipped(w), bias, **options)


class TransposedBiasDropped(NumpyBackend):
    def conv_transpose(self, x: Host, w: Host, bias: Host | None = None, **options: Any) -> Host:
        return super().conv_transpose(x, w, None, **options)


class GradientsDoubled(NumpyBackend):
    def cross_correlate_vjp(self, *arrays: Any, **options: Any) -> Any:
        return tuple(None if d is None else 2 * d for d in super().cross_correlate_vjp(*arrays, **options))


class LayerWithoutBias(NumpyBackend):
    def layer(self, w: Host, bias: Host | None = None, **options: Any) -> Any:
        return super().layer(w, None if bias is None else np.zeros_like(bias), **options)


BREAKS: dict[str, Callable[..., Host] | type[NumpyBackend]] = {
    "delta kernel": kernel_flipped,
    "identity kernel": kernel_flipped,
    "impulse response": kernel_flipped,
    "convolution with a delta": ConvolveCorrelates,
    "transposed impulse": TransposedFlipped,
    "gradients of one output": GradientsDoubled,
    "input and kernel exchanged": kernel_flipped,
    "commutativity": ConvolveCorrelates,
    "associativity": ConvolveCorrelates,
    "associativity of correlation": kernel_flipped,
    "convolution flips the kernel": ConvolveCorrelates,
    "additivity in the input": input_without_sign,
    "additivity in the kernel": kernel_without_sign,
    "homogeneity": input_squared,
    "power of two scaling": one_added,
    "sign symmetry": input_without_sign,
    "zero input": bias_twice,
    "zero kernel": bias_twice,
    "transposed zero input": TransposedBiasDropped,
    "bias added to each channel": bias_twice,
    "checksum": last_column_zero,
    "adjoint of the input gradient": GradientsDoubled,
    "adjoint of the kernel gradient": GradientsDoubled,
    "bias gradient": GradientsDoubled,
    "input gradient is the transposed convolution": TransposedFlipped,
    "kernel gradient is a correlation": GradientsDoubled,
    "transposition is the adjoint": TransposedFlipped,
    "translation by the stride": last_column_zero,
    "stride is subsampling": stride_a_pixel_late,
    "dilated kernel": dilation_ignored,
    "zero tap": kernel_flipped,
    "padded input": padded_with_the_edge,
    "padding in other words": words_for_same_confused,
    "full holds every padding": last_column_zero,
    "separable kernel": last_column_zero,
    "spatial transposition": last_column_zero,
    "reflection": stride_a_pixel_late,
    "locality": mean_of_the_image_added,
    "batch permutation": first_image_added,
    "one image alone": first_image_added,
    "input channel permutation": last_input_channel_dropped,
    "output channel permutation": first_output_channel_twice,
    "group permutation": groups_see_the_first,
    "one output channel alone": first_output_channel_twice,
    "groups are blocks": groups_see_the_first,
    "groups are apart": groups_see_the_first,
    "one pixel kernel": last_column_zero,
    "layout": wrong_channels_last,
    "layer": LayerWithoutBias,
}


def wrong_backend(how: Callable[..., Host] | type[NumpyBackend]) -> NumpyBackend:
    return how() if isinstance(how, type) else Wrong(how)


def test_there_is_a_wrong_backend_for_each_law():
    assert set(BREAKS) == set(BY_NAME)


@pytest.mark.parametrize("name", BREAKS)
def test_each_law_is_broken_by_a_wrong_backend(name: str) -> None:
    assert broken(BY_NAME[name], wrong_backend(BREAKS[name]))


def test_a_nan_that_spreads_breaks_its_law():
    assert broken(NAN_STAYS_LOCAL, Wrong(mean_of_the_image_added))


def test_a_nan_that_is_lost_breaks_its_law():
    def nan_as_zero(spec: ConvSpec, g: Geometry, right: Ask, x: Host, w: Host, bias: Host | None) -> Host:
        return right(np.nan_to_num(x), w, bias)

    assert broken(NAN_STAYS_LOCAL, Wrong(nan_as_zero))


class FlippedEverywhere(NumpyBackend):
    """Strict convolution by the name of cross-correlation, in every direction and with gradients to match."""

    def cross_correlate(self, x: Host, w: Host, bias: Host | None = None, **options: Any) -> Host:
        return super().cross_correlate(x, flipped(w), bias, **options)

    def convolve(self, x: Host, w: Host, bias: Host | None = None, **options: Any) -> Host:
        return super().convolve(x, flipped(w), bias, **options)

    def conv_transpose(self, x: Host, w: Host, bias: Host | None = None, **options: Any) -> Host:
        return super().conv_transpose(x, flipped(w), bias, **options)

    def cross_correlate_vjp(self, x: Host, w: Host, bias: Host | None, dy: Host, **options: Any) -> Any:
        dx, dw, db = super().cross_correlate_vjp(x, flipped(w), bias, dy, **options)
        return dx, flipped(dw), db


def test_only_these_laws_see_a_kernel_that_is_flipped_everywhere():
    assert {law.name for law in LAWS if broken(law, FlippedEverywhere())} == SEE_A_FLIP


class Answers(NumpyBackend):
    """NumPy's backend with something done to each answer."""

    def __init__(self, changed: Callable[[Host], Host]) -> None:
        super().__init__()
        self.changed = changed

    def to_numpy(self, array: Host) -> Host:
        return self.changed(array)


@each_law
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (lambda y: y[..., :-1], "its shape is"),
        (lambda y: y.astype("float64"), "its dtype is float64"),
        (lambda y: np.full_like(y, np.nan), "is nan, but no sum can overflow"),
    ],
    ids=["shape", "dtype", "nan"],
)
def test_an_answer_that_is_wrong_in_itself_breaks_every_law(
    law: Law, changed: Callable[[Host], Host], words: str
) -> None:
    spec = ConvSpec(2, 1, 2, 2)
    g = spec.resolve((2, 4, 7, 6), (4, 2, 2, 3))
    problem = with_values("one for all", spec, g, "float32", bias=True, values="integers", seed=0)
    judgement = law.judge(Answers(changed), problem)
    assert judgement is not None
    assert judgement.ratio == np.inf
    assert str(judgement.fault).startswith(law.statement)
    assert words in str(judgement.fault)


# ---- Where they say nothing


@each_law
@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_what_is_not_finite_or_could_overflow_is_not_judged_by_its_sums(law: Law, value: float) -> None:
    x, w = np.full((2, 4, 5, 5), value, "float32"), np.full((4, 2, 3, 3), value, "float32")
    problem = given_values("huge", ConvSpec(1, 1, 1, 2), x, w, bias=np.ones(4, "float32"))
    judgement = law.judge(NUMPY, problem)
    assert judgement is None or judgement.fault is None


def test_scaling_is_not_judged_where_sums_could_be_subnormal():
    x, w = np.full((1, 1, 3), 2.0**-70, "float32"), np.full((1, 1, 2), 2.0**-60, "float32")
    assert BY_NAME["power of two scaling"].judge(NUMPY, given_values("tiny", ConvSpec(), x, w)) is None
    assert BY_NAME["power of two scaling"].judge(NUMPY, given_values("small", ConvSpec(), x * 2**50, w)) is not None


def test_a_dropped_bit_in_the_input_is_seen_by_the_delta_kernel():
    def through_float16(spec: ConvSpec, g: Geometry, right: Ask, x: Host, w: Host, bias: Host | None) -> Host:
        return right(x.astype("float16").astype(x.dtype), w, bias)

    assert broken(BY_NAME["delta kernel"], Wrong(through_float16))


def test_jax_spreads_a_nan_to_the_other_groups(five: dict[str, mc.Backend]) -> None:
    spec = ConvSpec(groups=2)
    problem = with_values(
        "depthwise", spec, spec.resolve((1, 2, 4, 4), (2, 1, 2, 2)), "float64", bias=False, values="normal", seed=0
    )
    kept = {name: NAN_STAYS_LOCAL.judge(backend, problem).fault is None for name, backend in five.items()}
    assert kept == {"numpy": True, "torch": True, "jax": False, "tensorflow": True, "mxnet": True}
