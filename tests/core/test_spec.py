"""Shape arithmetic against counting, what the words for padding mean, and how options are put in order."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from multiconv.core.errors import ConvError
from multiconv.core.geometry import LARGEST, Geometry
from multiconv.core.option_values import PADDING_WORDS, SAME
from multiconv.core.spec import LAYOUTS, ConvSpec
from multiconv.testing.strategies import specs

AXIS = st.tuples(
    st.integers(1, 12), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(0, 6), st.integers(0, 6)
)
AXES = st.lists(AXIS, min_size=1, max_size=3)
EVERY_WORD = pytest.mark.parametrize("word", PADDING_WORDS)


def places(pixels, kernel, stride, dilation):
    """The pixels that the kernel's taps lie on, for each place of the kernel, found by stepping until it sticks out."""
    found, start = [], 0
    while (taps := [start + tap * dilation for tap in range(kernel)])[-1] < pixels:
        found.append(taps)
        start += stride
    return found


def resolved(spec, size, kernel, batch=1, channels=(1, 1)):
    return spec.resolve((batch, channels[1], *size), (*channels, *kernel))


# ---- Sizes


@given(AXES)
def test_there_are_as_many_outputs_as_places_of_the_kernel(axes):
    size, kernel, stride, dilation, before, after = zip(*axes)
    spec = ConvSpec(stride, tuple(zip(before, after)), dilation)
    counts = tuple(len(places(b + n + a, k, s, d)) for n, k, s, d, b, a in axes)
    if 0 in counts:
        with pytest.raises(ConvError, match="the kernel is larger than the padded input"):
            resolved(spec, size, kernel)
    else:
        g = resolved(spec, size, kernel)
        assert g.out == counts
        assert g.padded == tuple(b + n + a for n, _, _, _, b, a in axes)


@given(AXES)
def test_output_padding_is_what_no_output_sees_at_the_end(axes):
    size, kernel, stride, dilation, before, after = zip(*axes)
    seen = [places(b + n + a, k, s, d) for n, k, s, d, b, a in axes]
    assume(all(seen))
    g = resolved(ConvSpec(stride, tuple(zip(before, after)), dilation), size, kernel)
    assert g.extent == tuple(taps[0][-1] - taps[0][0] + 1 for taps in seen)
    assert g.output_padding == tuple(n - 1 - taps[-1][-1] for n, taps in zip(g.padded, seen))


# ---- Words


@pytest.mark.parametrize("word", SAME)
@given(n=st.integers(1, 20), k=st.integers(1, 6), s=st.integers(1, 5), d=st.integers(1, 4))
def test_same_gives_the_inputs_size_over_the_stride_rounded_up_with_no_zero_too_many(word, n, k, s, d):
    g = resolved(ConvSpec(s, word, d), (n,), (k,))
    ((before, after),) = g.pads
    assert g.out == (len(range(0, n, s)),)
    assert len(places(before + n + after, k, s, d)) == len(range(0, n, s))
    assert before + after == 0 or len(places(before + n + after - 1, k, s, d)) < len(range(0, n, s))


@pytest.mark.parametrize(("word", "longer"), [("same", 1), ("same_upper", 1), ("same_lower", 0)])
@given(n=st.integers(1, 20), k=st.integers(1, 6), s=st.integers(1, 5), d=st.integers(1, 4))
def test_the_odd_zero_of_same_is_at_the_end_and_that_of_same_lower_at_the_start(word, longer, n, k, s, d):
    (pads,) = resolved(ConvSpec(s, word, d), (n,), (k,)).pads
    assert pads[longer] - pads[1 - longer] == sum(pads) % 2


@pytest.mark.parametrize(
    ("word", "pads"), [("same", ((0, 1), (1, 2))), ("same_upper", ((0, 1), (1, 2))), ("same_lower", ((1, 0), (2, 1)))]
)
def test_same_with_even_kernels(word, pads):
    assert ConvSpec(padding=word).resolve((1, 1, 5, 5), (1, 1, 2, 4)).pads == pads


def test_same_with_stride_two_pads_as_tensorflow_and_jax_do():
    for word, pads in (("same", (0, 1)), ("same_lower", (1, 0))):
        assert ConvSpec(2, word).resolve((1, 1, 8), (1, 1, 3)).pads == (pads,)
    assert ConvSpec(2, "same").resolve((1, 1, 7), (1, 1, 3)).pads == ((1, 1),)


@given(n=st.integers(1, 12), k=st.integers(1, 5), s=st.integers(1, 4), d=st.integers(1, 3))
def test_full_gives_every_output_whose_window_touches_the_input(n, k, s, d):
    span = (k - 1) * d + 1
    touching = [start for start in range(1 - span, n + span, s) if start < n]
    assert resolved(ConvSpec(s, "full", d), (n,), (k,)).out == (len(touching),)


@given(n=st.integers(1, 12), k=st.integers(1, 5), s=st.integers(1, 4), d=st.integers(1, 3))
def test_valid_is_no_padding(n, k, s, d):
    assume(places(n, k, s, d))
    g = resolved(ConvSpec(s, "valid", d), (n,), (k,))
    assert g.pads == ((0, 0),)
    assert g == resolved(ConvSpec(s, 0, d), (n,), (k,))


@pytest.mark.parametrize("padding", [2, (2, 2), ((2, 2), 2), ((2, 2), (2, 2)), [2, 2], [[2, 2], (2, 2)], np.int64(2)])
def test_every_form_of_the_same_padding_is_the_same_convolution(padding):
    assert ConvSpec(padding=padding).resolve((1, 1, 3, 4), (1, 1, 5, 5)) == ConvSpec(padding=2).resolve(
        (1, 1, 3, 4), (1, 1, 5, 5)
    )


def test_a_number_and_a_pair_may_stand_side_by_side():
    assert ConvSpec(padding=(1, (0, 2))).resolve((1, 1, 3, 4), (1, 1, 2, 2)).pads == ((1, 1), (0, 2))


@EVERY_WORD
@given(k=st.integers(1, 5), s=st.integers(1, 3), d=st.integers(1, 3), sizes=st.lists(st.integers(1, 30), min_size=1))
def test_pads_that_are_fixed_are_those_of_every_size(word, k, s, d, sizes):
    spec = ConvSpec(s, word, d)
    fixed = spec.fixed_pads((k,))
    assert (fixed is None) <= (word in SAME and s > 1)
    for n in sizes:
        assert fixed in (None, spec.pads((n,), (k,)))


@EVERY_WORD
@given(kernel=st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_symmetric_padding_is_the_pads_in_one_number_an_axis_or_nothing(word, kernel):
    spec = ConvSpec(padding=word)
    pads = spec.pads(tuple(kernel), tuple(kernel))
    one_each = spec.symmetric_padding(tuple(kernel))
    assert (one_each is None) == any(before != after for before, after in pads)
    assert one_each is None or tuple((p, p) for p in one_each) == pads


# ---- The way back


@given(specs())
def test_a_transposed_convolution_gives_the_input_its_size_back(drawn):
    spec, x_shape, w_shape = drawn
    g = spec.resolve(x_shape, w_shape)
    if spec.padding in SAME:
        back = spec.resolve_transpose(g.y_shape, w_shape)
        stride, _ = spec.each(g.ndim)
        assert back.size == tuple(n * s for n, s in zip(g.out, stride))
        assert spec.resolve(back.x_shape, w_shape) == back
    else:
        assert spec.resolve_transpose(g.y_shape, w_shape, g.output_padding) == g


@given(specs())
def test_output_padding_names_each_size_that_comes_to_the_same_result_once(drawn):
    spec, x_shape, w_shape = drawn
    assume(spec.padding not in SAME)
    g = spec.resolve(x_shape, w_shape)
    least = tuple(n - extra for n, extra in zip(g.size, g.output_padding))
    assume(min(least) > 0)
    stride, _ = spec.each(g.ndim)
    for extra in range(max(stride)):
        each = tuple(min(extra, s - 1) for s in stride)
        back = spec.resolve_transpose(g.y_shape, w_shape, each)
        assert back.size == tuple(n + e for n, e in zip(least, each))
        assert spec.resolve(back.x_shape, w_shape).out == g.out


def test_the_channels_of_a_transposed_convolution_go_from_those_out_to_those_in():
    g = ConvSpec(groups=2, layout="NHWC").resolve_transpose((3, 4, 5, 6), (6, 2, 3, 3))
    assert (g.x_shape, g.y_shape) == ((3, 6, 7, 4), (3, 4, 5, 6))


# ---- Options in order


@pytest.mark.parametrize("integer", [np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64, np.intp])
def test_numpy_integers_count_as_integers(integer):
    given_numpys = ConvSpec(integer(2), (integer(1), (integer(0), integer(3))), [integer(1), integer(2)], integer(4))
    plain = ConvSpec(2, (1, (0, 3)), (1, 2), 4)
    assert given_numpys == plain
    assert repr(given_numpys) == repr(plain)


def test_lists_become_tuples():
    spec = ConvSpec([1, 2], [[0, 1], 2], [3, 4])
    assert (spec.stride, spec.padding, spec.dilation) == ((1, 2), ((0, 1), 2), (3, 4))


def test_specs_are_values():
    assert len({ConvSpec(2), ConvSpec(stride=2), ConvSpec(np.int64(2)), ConvSpec((2, 2))}) == 2
    with pytest.raises(FrozenInstanceError):
        ConvSpec().stride = 2


def test_shapes_may_be_lists():
    assert ConvSpec().resolve([1, 1, 3], [1, 1, 2]) == ConvSpec().resolve((1, 1, 3), (1, 1, 2))


@pytest.mark.parametrize("option", ["stride", "dilation"])
def test_one_number_is_for_every_axis(option):
    x_shape, w_shape = (1, 1, 7, 8, 9), (1, 1, 2, 3, 2)
    assert ConvSpec(**{option: 2}).resolve(x_shape, w_shape) == ConvSpec(**{option: (2, 2, 2)}).resolve(
        x_shape, w_shape
    )
    assert ConvSpec(**{option: (1, 2, 3)}).each(3)[option == "dilation"] == (1, 2, 3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_has_the_channels_where_it_says(layout):
    assert ConvSpec(layout=layout).channels_last == (layout[-1] == "C")
    axes = {"N": 2, "C": 3, "D": 5, "H": 6, "W": 7}
    spatial = [letter for letter in layout if letter not in "NC"]
    g = ConvSpec(layout=layout).resolve([axes[letter] for letter in layout], (4, 3, *[2] * len(spatial)))
    assert (g.batch, g.in_channels, g.size) == (2, 3, tuple(axes[letter] for letter in spatial))
    assert dict(zip(layout, g.y_shape)) == {"N": 2, "C": 4, **{letter: axes[letter] - 1 for letter in spatial}}


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_without_a_layout_the_channels_come_first(ndim):
    first = next(name for name, (axes, last) in LAYOUTS.items() if axes == ndim and not last)
    shapes = (2, 3, *[5] * ndim), (4, 3, *[2] * ndim)
    assert ConvSpec().resolve(*shapes) == ConvSpec(layout=first).resolve(*shapes)


# ---- Geometry


@given(specs())
def test_a_geometry_has_the_shapes_it_was_made_from(drawn):
    spec, x_shape, w_shape = drawn
    g = spec.resolve(x_shape, w_shape)
    assert (g.x_shape, g.w_shape, g.ndim) == (x_shape, w_shape, len(w_shape) - 2)
    channel = -1 if spec.channels_last else 1
    assert g.y_shape[channel] == g.out_channels == w_shape[0]
    assert np.moveaxis(np.empty(g.y_shape), channel, 1).shape == (x_shape[0], w_shape[0], *g.out)


@given(specs())
def test_an_input_that_holds_its_padding_gives_the_same_outputs(drawn):
    spec, x_shape, w_shape = drawn
    g = spec.resolve(x_shape, w_shape)
    bare = g.without_padding()
    assert (bare.y_shape, bare.size, bare.padded) == (g.y_shape, g.padded, g.padded)
    assert not any(map(any, bare.pads))
    assert bare.output_padding == g.output_padding


@given(specs())
def test_the_other_layout_is_the_same_convolution(drawn):
    spec, x_shape, w_shape = drawn
    g = spec.resolve(x_shape, w_shape)
    other = g.with_layout(channels_last=not g.channels_last)
    assert other.channels_last is not g.channels_last
    assert np.moveaxis(np.empty(other.x_shape), -1 if other.channels_last else 1, 1).shape == (
        g.batch,
        g.in_channels,
        *g.size,
    )
    assert (other.size, other.out, other.w_shape) == (g.size, g.out, g.w_shape)
    assert other.with_layout(channels_last=g.channels_last) == g


@given(AXES, st.sampled_from([1, 7, 2**15, LARGEST]))
def test_what_is_within_reach_sees_the_same_pixels(axes, factor):
    size, kernel, stride, dilation, before, after = zip(*axes)
    stride = tuple(min(s * factor, LARGEST) for s in stride)
    dilation = tuple(d if k > 1 else min(d * factor, LARGEST) for k, d in zip(kernel, dilation))
    padded = tuple(b + n + a for n, b, a in zip(size, before, after))
    seen = [places(*axis) for axis in zip(padded, kernel, stride, dilation)]
    assume(all(seen))
    g = resolved(ConvSpec(stride, tuple(zip(before, after)), dilation), size, kernel)
    near = g.within_reach()
    assert [places(*axis) for axis in zip(padded, kernel, near.stride, near.dilation)] == seen
    assert all(step <= n for step, n in zip((*near.stride, *near.dilation), (*padded, *padded)))
    assert (near.x_shape, near.w_shape, near.y_shape, near.pads) == (g.x_shape, g.w_shape, g.y_shape, g.pads)
    assert near.output_padding == g.output_padding


def test_within_reach_only_what_has_an_effect_is_left_of_stride_and_dilation():
    spec = ConvSpec(stride=(9, 3, 2), padding=(0, 1, 0), dilation=(5, 2, 7))
    g = spec.resolve((1, 1, 4, 5, 9), (1, 1, 1, 3, 2)).within_reach()
    assert g.padded == (4, 7, 9)
    assert (g.stride, g.dilation) == ((4, 3, 2), (1, 2, 7))


def test_a_geometry_has_its_channels_first_unless_it_says_otherwise():
    g = ConvSpec().resolve((2, 3, 5), (4, 3, 2))
    settled = {name: value for name, value in vars(g).items() if name in Geometry.__match_args__}
    del settled["channels_last"]
    assert Geometry(**settled).x_shape == (2, 3, 5)


def test_products_counts_the_multiplications_of_one_image():
    g = ConvSpec(stride=2, groups=2).resolve((5, 4, 7), (6, 2, 3))
    assert g.products == len([(o, i, c, j) for o in range(6) for i in range(3) for c in range(2) for j in range(3)])


@pytest.mark.parametrize(("padding", "symmetric"), [(1, True), (((1, 1), (0, 0)), True), (((1, 1), (0, 1)), False)])
def test_a_geometry_is_symmetric_if_every_axis_is(padding, symmetric):
    assert ConvSpec(padding=padding).resolve((1, 1, 3, 3), (1, 1, 2, 2)).symmetric is symmetric


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_a_kernel_has_one_two_or_three_spatial_axes(ndim):
    assert ConvSpec().check_kernel((2, 3, *[4] * ndim)) == ndim


def test_the_largest_result_has_one_element_less_than_two_to_the_31():
    w_shape = (1, 1, 1)
    assert ConvSpec().resolve((1, 1, LARGEST), w_shape).out == (LARGEST,)
    with pytest.raises(ConvError, match="would have 2147483648 elements"):
        ConvSpec(padding=((0, 1),)).resolve((1, 1, LARGEST), w_shape)
    with pytest.raises(ConvError, match="the result would have 4294967294 elements"):
        ConvSpec().resolve((1, 1, LARGEST), (2, 1, 1))


def test_the_largest_stride_and_dilation_are_two_to_the_31_less_one():
    spec = ConvSpec(stride=LARGEST, dilation=LARGEST)
    assert spec.resolve((1, 1, 5), (1, 1, 1)).out == (1,)
    with pytest.raises(ConvError, match=f"it spans {LARGEST + 1} pixels"):
        spec.resolve((1, 1, 5), (1, 1, 2))


# ---- What is refused, word by word


def refused(call):
    with pytest.raises(ConvError) as caught:
        call()
    assert type(caught.value) is ConvError
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stride": 0}, "stride must be at least 1, not 0"),
        ({"stride": (2, -1)}, "stride[1] must be at least 1, not -1"),
        ({"stride": 2**31}, "stride must be at most 2^31 - 1, not 2147483648"),
        ({"stride": 2**256}, "stride must be at most 2^31 - 1, not a number of 257 bits"),
        ({"stride": 2**256 - 1}, f"stride must be at most 2^31 - 1, not {2**256 - 1}"),
        ({"stride": -(2**256)}, "stride must be at least 1, not a number of 257 bits"),
        ({"stride": True}, "stride must be an int, not True (bool)"),
        ({"stride": np.True_}, "stride must be an int, not np.True_ (bool)"),
        ({"stride": np.array([2])}, "stride must be an int, not array([2]) (ndarray)"),
        ({"stride": 1.0}, "stride must be an int, not 1.0 (float)"),
        ({"stride": "x" * 78}, "stride must be an int, not " + repr("x" * 78) + " (str)"),
        ({"stride": "x" * 79}, "stride must be an int, not '" + "x" * 76 + "... (str)"),
        ({"dilation": 0}, "dilation must be at least 1, not 0"),
        ({"dilation": [1, None]}, "dilation[1] must be an int, not None (NoneType)"),
        ({"groups": 0}, "groups must be at least 1, not 0"),
        ({"groups": (1,)}, "groups must be an int, not (1,) (tuple)"),
        ({"padding": -1}, "padding must be at least 0, not -1"),
        ({"padding": (0, -1)}, "padding[1] must be at least 0, not -1"),
        ({"padding": ((0, -1),)}, "padding[0][1] must be at least 0, not -1"),
        ({"padding": ((-1, 0),)}, "padding[0][0] must be at least 0, not -1"),
        ({"padding": ((1, 2, 3),)}, "padding[0] must be a number or a (before, after) pair, not (1, 2, 3) (tuple)"),
        ({"padding": (1, ())}, "padding[1] must be a number or a (before, after) pair, not () (tuple)"),
        (
            {"padding": "SAME"},
            "padding must be a number, one number or (before, after) pair per axis, or one of valid, same, same_upper, "
            "same_lower, full, not 'SAME'",
        ),
        ({"layout": "CHWN"}, "layout must be one of NCW, NCHW, NCDHW, NWC, NHWC, NDHWC, not 'CHWN'"),
        ({"layout": ["NCW"]}, "layout must be one of NCW, NCHW, NCDHW, NWC, NHWC, NDHWC, not ['NCW']"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_options_that_are_invalid(options, words):
    assert refused(lambda: ConvSpec(**options)) == words


def test_the_largest_and_smallest_options_are_valid():
    ConvSpec(stride=LARGEST, padding=LARGEST, dilation=LARGEST, groups=LARGEST)
    ConvSpec(stride=1, padding=0, dilation=1, groups=1)
    ConvSpec(padding=((0, LARGEST), 0))


@pytest.mark.parametrize(
    ("options", "w_shape", "words"),
    [
        ({}, (2, 3), "w must have 3, 4 or 5 axes, (C_out, C_in/groups, *kernel), but its shape is (2, 3)"),
        ({}, (2,) * 6, f"w must have 3, 4 or 5 axes, (C_out, C_in/groups, *kernel), but its shape is {(2,) * 6}"),
        (
            {"layout": "NCW"},
            (2, 3, 1, 1),
            "layout NCW has 1 spatial axis, but w of shape (2, 3, 1, 1) has 2 spatial axes",
        ),
        ({}, (0, 3, 1), "w has no channels: C_out is 0 in its shape (0, 3, 1)"),
        ({}, (2, 0, 1), "w has no channels: C_in/groups is 0 in its shape (2, 0, 1)"),
        ({}, (2, 3, 1, 0), "w has a spatial axis of size 0: its shape is (2, 3, 1, 0)"),
        ({"groups": 3}, (2, 3, 1), "groups=3 does not divide the 2 output channels of w of shape (2, 3, 1)"),
        (
            {"stride": (1, 1)},
            (2, 3, 1),
            "stride=(1, 1) is for 2 spatial axes, but w of shape (2, 3, 1) has 1 spatial axis",
        ),
        (
            {"padding": (1,)},
            (2, 3, 1, 1),
            "padding=(1,) is for 1 spatial axis, but w of shape (2, 3, 1, 1) has 2 spatial axes",
        ),
        ({"dilation": ()}, (2, 3, 1), "dilation=() is for 0 spatial axes, but w of shape (2, 3, 1) has 1 spatial axis"),
    ],
    ids=str,
)
def test_kernels_that_are_invalid(options, w_shape, words):
    spec = ConvSpec(**options)
    for call in (
        lambda: spec.check_kernel(w_shape),
        lambda: spec.resolve((1, 3, 5), w_shape),
        lambda: spec.resolve_transpose((1, 2, 5), w_shape),
    ):
        assert refused(call) == words


@pytest.mark.parametrize(
    ("options", "x_shape", "w_shape", "words"),
    [
        (
            {},
            (1, 3),
            (2, 3, 1),
            "x must have 3 axes, (N, C, *spatial), as w of shape (2, 3, 1) has 1 spatial axis, but its shape is (1, 3)",
        ),
        (
            {"layout": "NWC"},
            (1, 3, 5, 5),
            (2, 3, 1),
            "x must have 3 axes, (N, *spatial, C), as w of shape (2, 3, 1) has 1 spatial axis, but its shape is "
            "(1, 3, 5, 5)",
        ),
        ({}, (1, 0, 5), (2, 3, 1), "x has no channels: its shape is (1, 0, 5), (N, C, *spatial)"),
        ({"layout": "NWC"}, (1, 5, 0), (2, 3, 1), "x has no channels: its shape is (1, 5, 0), (N, *spatial, C)"),
        ({}, (1, 3, 0), (2, 3, 1), "x has a spatial axis of size 0: its shape is (1, 3, 0), (N, C, *spatial)"),
        (
            {"groups": 2},
            (1, 3, 5),
            (2, 3, 1),
            "x of shape (1, 3, 5) has 3 channels, but w of shape (2, 3, 1) with groups=2 takes 3 * 2 = 6",
        ),
        (
            {"padding": (0, (1, 0)), "dilation": (1, 3)},
            (1, 3, 5, 5),
            (2, 3, 1, 3),
            "the kernel is larger than the padded input: along spatial axis 1 it spans 7 pixels "
            "(kernel 3, dilation 3), the input 6 (size 5, padding (1, 0))",
        ),
    ],
    ids=str,
)
def test_inputs_that_are_invalid(options, x_shape, w_shape, words):
    assert refused(lambda: ConvSpec(**options).resolve(x_shape, w_shape)) == words


@pytest.mark.parametrize(
    ("options", "x_shape", "w_shape", "output_padding", "words"),
    [
        (
            {},
            (1, 3, 5),
            (2, 3, 1),
            0,
            "x of shape (1, 3, 5) has 3 channels, but the transposed convolution with w of shape (2, 3, 1) takes 2: "
            "w is the kernel of the cross-correlation whose adjoint this is",
        ),
        (
            {},
            (1, 2, 5),
            (2, 3, 1),
            (0, 0),
            "output_padding=(0, 0) is for 2 spatial axes, but w of shape (2, 3, 1) has 1 spatial axis",
        ),
        ({}, (1, 2, 5), (2, 3, 1), -1, "output_padding must be at least 0, not -1"),
        (
            {"stride": (3, 2)},
            (1, 2, 5, 5),
            (2, 3, 1, 1),
            (2, 2),
            "output_padding must be less than the stride: along spatial axis 1 it is 2, the stride 2",
        ),
        (
            {"stride": 2, "padding": "same_lower"},
            (1, 2, 5, 5),
            (2, 3, 1, 1),
            (0, 1),
            "with padding='same_lower' the result has n * stride pixels, so output_padding must be 0",
        ),
        (
            {"padding": (0, (1, 3))},
            (1, 2, 5, 2),
            (2, 3, 1, 3),
            0,
            "the padding (1, 3) leaves nothing of the result: along spatial axis 1 its size would be 0",
        ),
    ],
    ids=str,
)
def test_transposed_convolutions_that_are_invalid(options, x_shape, w_shape, output_padding, words):
    assert refused(lambda: ConvSpec(**options).resolve_transpose(x_shape, w_shape, output_padding)) == words


def test_a_transposed_convolution_may_leave_one_pixel_and_pad_all_but_the_stride():
    assert ConvSpec(padding=((1, 2),)).resolve_transpose((1, 2, 2), (2, 3, 3)).size == (1,)
    assert ConvSpec(stride=3).resolve_transpose((1, 2, 2), (2, 3, 1), 2).size == (6,)


@pytest.mark.parametrize(
    ("what", "count", "options", "x_shape", "w_shape"),
    [
        ("the padded input", 2**31, {"padding": ((0, 1),)}, (1, 1, LARGEST), (1, 1, 2)),
        ("the padded input", 2**31, {}, (2, 2, 2**29), (1, 2, 2)),
        ("the padded input", 2**31, {"padding": ((2**30, 0), (0, 0))}, (0, 1, 2**30, 1), (1, 1, 1, 1)),
        ("the result", 2**31, {}, (2, 1, 2**28), (4, 1, 1)),
        ("the result", 2**31, {}, (0, 1, 2**29), (4, 1, 1)),
        ("w", 2**31, {}, (1, 2**15, 1), (2**16, 2**15, 1)),
    ],
)
def test_what_would_have_too_many_elements(what, count, options, x_shape, w_shape):
    said = refused(lambda: ConvSpec(**options).resolve(x_shape, w_shape))
    assert said == f"{what} would have {count} elements, more than 2^31 - 1"


def test_a_transposed_convolution_that_would_have_too_many_elements():
    said = refused(lambda: ConvSpec(stride=2**16).resolve_transpose((1, 1, 2**15 + 1), (1, 1, 1)))
    assert said == f"the padded input would have {2**31 + 1} elements, more than 2^31 - 1"
    assert ConvSpec(stride=2**16).resolve_transpose((1, 1, 2**15), (1, 1, 1)).size == (2**31 - 2**16 + 1,)
