"""What is refused, in which words, and what is not: the same on all five."""

from __future__ import annotations

import contextlib
import math
import random
import warnings

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from multiconv.backends.torch import TorchBackend

from multiconv.core.errors import ConvError, UnsupportedError
from multiconv.core.spec import ConvSpec
from multiconv.oracle.judgement import judge
from multiconv.testing.problem_values import given_values, with_values

CALLED = ("cross_correlate", "convolve", "conv_transpose", "cross_correlate_vjp")
EVERY = (*CALLED, "layer")
EVERY_OPERATION = pytest.mark.parametrize("operation", EVERY)
EVERY_CALLED = pytest.mark.parametrize("operation", CALLED)

SPEC = ConvSpec(groups=2)
SHAPES = {"x": (2, 4, 5, 6), "w": (6, 2, 3, 2), "bias": (6,), "dy": (2, 6, 3, 5), "x_bias": (4,)}


def arrays(dtype="float32", **instead):
    """Arrays that go together, but for those given instead by shape or as they are."""
    made = {}
    for name, shape in {**SHAPES, **instead}.items():
        made[name] = np.resize(np.arange(-2, 3).astype(dtype), shape) if isinstance(shape, tuple) else shape
    return made


def call(backend, operation, given, **options):
    """An operation on those of the arrays that it takes; the transposed convolution is one of dy."""
    x, w, bias, dy, x_bias = (given[name] for name in ("x", "w", "bias", "dy", "x_bias"))
    options = {"groups": 2, **options}
    if operation == "conv_transpose":
        return backend.conv_transpose(dy, w, x_bias, **options)
    if operation == "cross_correlate_vjp":
        return backend.cross_correlate_vjp(x, w, bias, dy, **options)
    if operation == "layer":
        return backend.layer(w, bias, **options)
    return getattr(backend, operation)(x, w, bias, **options)


def refusal(five, refused, error=ConvError):
    """The words in which all five refuse a call, which must be the same."""
    said = set()
    for name, backend in five.items():
        with pytest.raises(ConvError) as caught:
            refused(backend)
        assert type(caught.value) is error
        own = str(caught.value).replace(f" or an array of {name}", "").replace(", ".join(backend.dtypes), "its dtypes")
        said.add(own.replace(f"the {name} backend", "the backend"))
    (words,) = said
    return words


# ---- Options

NO_INTEGERS = [
    (True, "not True (bool)"),
    (False, "not False (bool)"),
    (np.True_, "not np.True_ (bool)"),
    (np.array(True), "not array(True) (ndarray)"),
    (1.0, "not 1.0 (float)"),
    (np.float32(1), "not np.float32(1.0) (float32)"),
    (math.nan, "not nan (float)"),
    (1j, "not 1j (complex)"),
    ("1", "not '1' (str)"),
    (b"1", "not b'1' (bytes)"),
    (None, "not None (NoneType)"),
    ({}, "not {} (dict)"),
    ({1}, "not {1} (set)"),
    (range(2), "not range(0, 2) (range)"),
    (np.array([1, 1]), "not array([1, 1]) (ndarray)"),
]
HUGE = [2**31, 2**63 - 1, 2**63, 2**64, 10**30]
AT_LEAST_ONE = ["stride", "dilation", "groups"]
EVERY_NUMBER = ["stride", "dilation", "groups", "padding"]


@EVERY_OPERATION
@pytest.mark.parametrize("option", EVERY_NUMBER)
@pytest.mark.parametrize(("value", "words"), NO_INTEGERS, ids=[repr(value) for value, _ in NO_INTEGERS])
def test_what_is_no_int_is_refused(five, operation, option, value, words):
    said = refusal(five, lambda backend: call(backend, operation, arrays(), **{option: value}))
    if option == "padding" and isinstance(value, str):
        assert said.startswith("padding must be a number, one number or ")
    else:
        assert said == f"{option} must be an int, {words}"


@EVERY_OPERATION
@pytest.mark.parametrize("option", ["stride", "dilation", "padding"])
@pytest.mark.parametrize("value", [True, 1.0, np.True_, "1", None, 1j])
def test_what_is_no_int_is_refused_within_a_tuple_and_a_list(five, operation, option, value):
    for form in (tuple, list):
        said = refusal(
            five, lambda backend, form=form: call(backend, operation, arrays(), **{option: form([1, value])})
        )
        assert said == f"{option}[1] must be an int, not {value!r} ({type(value).__name__})"


@EVERY_OPERATION
@pytest.mark.parametrize("option", AT_LEAST_ONE)
@pytest.mark.parametrize("value", [0, -1, np.int64(-3), -(10**30)])
def test_what_is_below_one_is_refused(five, operation, option, value):
    said = refusal(five, lambda backend: call(backend, operation, arrays(), **{option: value}))
    assert said == f"{option} must be at least 1, not {int(value)}"
    if option != "groups":
        said = refusal(five, lambda backend: call(backend, operation, arrays(), **{option: (1, value)}))
        assert said == f"{option}[1] must be at least 1, not {int(value)}"


@EVERY_OPERATION
@pytest.mark.parametrize("option", EVERY_NUMBER)
@pytest.mark.parametrize("value", HUGE)
def test_what_is_past_31_bits_is_refused(five, operation, option, value):
    said = refusal(five, lambda backend: call(backend, operation, arrays(), **{option: value}))
    assert said == f"{option} must be at most 2^31 - 1, not {value}"
    if option != "groups":
        said = refusal(five, lambda backend: call(backend, operation, arrays(), **{option: (value, 1)}))
        assert said == f"{option}[0] must be at most 2^31 - 1, not {value}"


@EVERY_OPERATION
@pytest.mark.parametrize("option", EVERY_NUMBER)
def test_a_number_too_long_to_print_is_refused(five, operation, option):
    for value in (10**5000, -(10**5000)):
        assert refusal(five, lambda backend, v=value: call(backend, operation, arrays(), **{option: v}))
        if option != "groups":
            assert refusal(five, lambda backend, v=value: call(backend, operation, arrays(), **{option: (1, v)}))


@EVERY_OPERATION
def test_a_bool_of_a_framework_is_no_int(five, operation):
    for value in (torch.tensor(True), jnp.array(True), tf.constant(True)):
        said = refusal(five, lambda backend, v=value: call(backend, operation, arrays(), stride=v))
        assert said.startswith("stride must be an int, not ")


@EVERY_OPERATION
@pytest.mark.parametrize("option", ["stride", "dilation", "padding"])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_entries_is_refused(five, operation, option, count):
    said = refusal(five, lambda backend: call(backend, operation, arrays(), **{option: (1,) * count}))
    axes = {0: "0 spatial axes", 1: "1 spatial axis", 3: "3 spatial axes"}[count]
    assert said == f"{option}={(1,) * count} is for {axes}, but w of shape (6, 2, 3, 2) has 2 spatial axes"


@EVERY_OPERATION
def test_groups_are_one_number(five, operation):
    said = refusal(five, lambda backend: call(backend, operation, arrays(), groups=(2, 2)))
    assert said == "groups must be an int, not (2, 2) (tuple)"


@EVERY_OPERATION
@pytest.mark.parametrize("word", ["SAME", "Same", "VALID", "", "reflect", "same ", "0", "1"])
def test_an_unknown_word_for_padding_is_refused(five, operation, word):
    said = refusal(five, lambda backend: call(backend, operation, arrays(), padding=word))
    assert said.endswith(f" one of valid, same, same_upper, same_lower, full, not {word!r}")


@EVERY_OPERATION
@pytest.mark.parametrize(
    ("padding", "words"),
    [
        (-1, "padding must be at least 0, not -1"),
        ((1, -2), "padding[1] must be at least 0, not -2"),
        (((0, 0), (-1, 0)), "padding[1][0] must be at least 0, not -1"),
        (((0, 2**31), 0), "padding[0][1] must be at most 2^31 - 1, not 2147483648"),
        (((1, True), 0), "padding[0][1] must be an int, not True (bool)"),
        (((1, 1.0), 0), "padding[0][1] must be an int, not 1.0 (float)"),
        (((1, (1, 1)), 0), "padding[0][1] must be an int, not (1, 1) (tuple)"),
        (((1, 2, 3), 0), "padding[0] must be a number or a (before, after) pair, not (1, 2, 3) (tuple)"),
        (((1,), 0), "padding[0] must be a number or a (before, after) pair, not (1,) (tuple)"),
        (([], []), "padding[0] must be a number or a (before, after) pair, not [] (list)"),
        (("same", "same"), "padding[0] must be an int, not 'same' (str)"),
    ],
)
def test_padding_that_is_none_is_refused(five, operation, padding, words):
    assert refusal(five, lambda backend: call(backend, operation, arrays(), padding=padding)) == words


@EVERY_OPERATION
@pytest.mark.parametrize(
    "layout", ["nchw", "NCHWD", "", "CHWN", "HWIO", 3, True, ["NCHW"], ("N", "C"), b"NCHW", np.array(["NCHW", "NCW"])]
)
def test_an_unknown_layout_is_refused(five, operation, layout):
    said = refusal(five, lambda backend: call(backend, operation, arrays(), layout=layout))
    assert said == f"layout must be one of NCW, NCHW, NCDHW, NWC, NHWC, NDHWC, not {layout!r}"


@EVERY_OPERATION
@pytest.mark.parametrize("layout", ["NCW", "NWC", "NCDHW", "NDHWC"])
def test_a_layout_of_another_rank_is_refused(five, operation, layout):
    said = refusal(five, lambda backend: call(backend, operation, arrays(), layout=layout))
    axes = "1 spatial axis" if len(layout) == 3 else "3 spatial axes"
    assert said == f"layout {layout} has {axes}, but w of shape (6, 2, 3, 2) has 2 spatial axes"


# ---- Shapes


@EVERY_OPERATION
@pytest.mark.parametrize("shape", [(), (6,), (6, 2), (6, 2, 3, 2, 1, 1)])
def test_a_kernel_of_wrong_rank_is_refused(five, operation, shape):
    said = refusal(five, lambda backend: call(backend, operation, arrays(w=shape)))
    assert said == f"w must have 3, 4 or 5 axes, (C_out, C_in/groups, *kernel), but its shape is {shape}"


@EVERY_CALLED
@pytest.mark.parametrize("shape", [(), (4,), (4, 5), (4, 5, 6), (2, 4, 5, 6, 1)])
def test_an_input_of_wrong_rank_is_refused(five, operation, shape):
    said = refusal(five, lambda backend: call(backend, operation, arrays(x=shape, dy=shape)))
    assert said.startswith("x must have 4 axes, (N, C, *spatial), as w of shape (6, 2, 3, 2) has 2 spatial axes")
    assert said.endswith(f"its shape is {shape}")
    said = refusal(five, lambda backend: call(backend, operation, arrays(x=shape, dy=shape), layout="NHWC"))
    assert said.startswith("x must have 4 axes, (N, *spatial, C), ")


@EVERY_OPERATION
def test_a_kernel_of_another_rank_than_the_input_is_refused(five, operation):
    for shape in ((6, 2, 3), (6, 2, 3, 2, 1)):
        given = arrays(w=shape)
        if operation == "layer":
            assert five["numpy"].layer(given["w"], given["bias"], groups=2) is not None  # it has no input yet
        else:
            said = refusal(five, lambda backend, given=given: call(backend, operation, given))
            assert said.startswith(f"x must have {len(shape)} axes, ")


@EVERY_CALLED
@pytest.mark.parametrize("channels", [1, 2, 3, 5, 8])
def test_an_input_with_other_channels_than_the_kernel_takes_is_refused(five, operation, channels):
    given = arrays(x=(2, channels, 5, 6), dy=(2, channels, 3, 5))
    said = refusal(five, lambda backend: call(backend, operation, given))
    assert f"has {channels} channels, but " in said
    last = arrays(x=(2, 5, 6, channels), dy=(2, 3, 5, channels))
    assert f"has {channels} channels, but " in refusal(
        five, lambda backend: call(backend, operation, last, layout="NHWC")
    )


@EVERY_OPERATION
def test_groups_that_do_not_divide_are_refused(five, operation):
    for groups in (4, 5, 7, 12, 2**31 - 1):
        said = refusal(five, lambda backend, n=groups: call(backend, operation, arrays(), groups=n))
        assert said == f"groups={groups} does not divide the 6 output channels of w of shape (6, 2, 3, 2)"


@EVERY_CALLED
def test_groups_other_than_the_channels_ask_for_are_refused(five, operation):
    given = arrays(dy=(2, 5, 3, 5))
    for groups in (1, 3, 6):
        said = refusal(five, lambda backend, n=groups: call(backend, operation, given, groups=n))
        assert "channels, but " in said


@EVERY_OPERATION
@pytest.mark.parametrize("shape", [(0, 2, 3, 2), (6, 0, 3, 2)])
def test_a_kernel_without_channels_is_refused(five, operation, shape):
    said = refusal(five, lambda backend: call(backend, operation, arrays(w=shape, bias=(shape[0],))))
    assert said.startswith("w has no channels: ")
    assert said.endswith(f" is 0 in its shape {shape}")


@EVERY_OPERATION
@pytest.mark.parametrize("shape", [(6, 2, 0, 2), (6, 2, 3, 0)])
def test_a_kernel_without_a_size_is_refused(five, operation, shape):
    said = refusal(five, lambda backend: call(backend, operation, arrays(w=shape)))
    assert said == f"w has a spatial axis of size 0: its shape is {shape}"


@EVERY_CALLED
def test_an_input_without_channels_is_refused(five, operation):
    given = arrays(x=(2, 0, 5, 6), dy=(2, 0, 3, 5))
    assert refusal(five, lambda backend: call(backend, operation, given)).startswith("x has no channels: ")


@EVERY_CALLED
@pytest.mark.parametrize("padding", [0, 1, "same", "full"])
def test_an_input_without_a_size_is_refused_even_if_padded(five, operation, padding):
    given = arrays(x=(2, 4, 0, 6), dy=(2, 6, 3, 0))
    said = refusal(five, lambda backend: call(backend, operation, given, padding=padding))
    assert said.startswith("x has a spatial axis of size 0: ")


@pytest.mark.parametrize("operation", ["cross_correlate", "convolve", "cross_correlate_vjp"])
def test_a_kernel_larger_than_the_input_is_refused(five, operation):
    beyond = "the kernel is larger than the padded input: along spatial axis "
    said = refusal(five, lambda backend: call(backend, operation, arrays(x=(2, 4, 2, 6))))
    assert said == f"{beyond}0 it spans 3 pixels (kernel 3, dilation 1), the input 2 (size 2, padding (0, 0))"
    said = refusal(five, lambda backend: call(backend, operation, arrays(), dilation=(1, 6)))
    assert said == f"{beyond}1 it spans 7 pixels (kernel 2, dilation 6), the input 6 (size 6, padding (0, 0))"
    said = refusal(five, lambda backend: call(backend, operation, arrays(), padding=((0, 0), (1, 2)), dilation=(1, 9)))
    assert said == f"{beyond}1 it spans 10 pixels (kernel 2, dilation 9), the input 9 (size 6, padding (1, 2))"
    said = refusal(five, lambda backend: call(backend, operation, arrays(), dilation=2**31 - 1))
    assert said.startswith(f"{beyond}0 it spans 4294967295 pixels")


@EVERY_CALLED
@pytest.mark.parametrize("padding", [40_000, (2**31 - 1, 0), 2**31 - 1])
def test_padding_that_makes_too_many_elements_is_refused(five, operation, padding):
    given = arrays(x=(1, 4, 5, 6), dy=(1, 6, 3, 5))
    said = refusal(five, lambda backend: call(backend, operation, given, padding=padding))
    if operation == "conv_transpose":
        assert " leaves nothing of the result: " in said
    else:
        assert said.endswith(" elements, more than 2^31 - 1")


def test_arrays_that_no_memory_holds_are_refused_before_they_are_copied(five):
    """Views of one number."""
    w, X = np.broadcast_to(np.float32(1), (4, 2, 1, 2**31)), np.broadcast_to(np.float32(1), (3, 2**31))
    assert refusal(five, lambda backend: backend.layer(w)) == f"w would have {2**34} elements, more than 2^31 - 1"
    K = np.ones((2, 2), "float32")
    assert (
        refusal(five, lambda backend: backend.corr2d(X, K)) == f"X would have {3 * 2**31} elements, more than 2^31 - 1"
    )
    assert (
        refusal(five, lambda backend: backend.corr2d(K, X)) == f"K would have {3 * 2**31} elements, more than 2^31 - 1"
    )


@EVERY_CALLED
def test_padding_past_the_shapes_of_numpy_is_refused_in_a_batch_of_zero_too(five, operation):
    given = arrays(x=(0, 4, 5, 6), dy=(0, 6, 3, 5))
    assert refusal(five, lambda backend: call(backend, operation, given, padding=2**31 - 1))


def test_a_stride_that_makes_too_many_elements_is_refused(five):
    given = arrays()
    for options in ({"stride": 2**31 - 1}, {"stride": 2**31 - 1, "padding": "same"}, {"stride": (1, 2**28)}):
        said = refusal(five, lambda backend, options=options: call(backend, "conv_transpose", given, **options))
        assert said.endswith(" elements, more than 2^31 - 1")


@EVERY_OPERATION
@pytest.mark.parametrize("shape", [(), (1,), (2,), (5,), (6, 1), (1, 6), (1, 6, 1, 1), (0,)])
def test_a_bias_of_another_shape_is_refused(five, operation, shape):
    said = refusal(five, lambda backend: call(backend, operation, arrays(bias=shape, x_bias=shape)))
    channels = 4 if operation == "conv_transpose" else 6
    assert said == f"bias must have the shape ({channels},), one number per output channel, not {shape}"


def test_the_bias_of_a_transposed_convolution_is_not_that_of_the_forward_one(five):
    said = refusal(five, lambda backend: call(backend, "conv_transpose", arrays(x_bias=(6,))))
    assert said == "bias must have the shape (4,), one number per output channel, not (6,)"


@pytest.mark.parametrize(
    "shape", [(), (2, 6, 3), (2, 6, 3, 4), (2, 6, 5, 3), (1, 6, 3, 5), (2, 3, 5, 6), (2, 6, 3, 5, 1)]
)
def test_a_cotangent_of_another_shape_than_the_result_is_refused(five, shape):
    said = refusal(five, lambda backend: call(backend, "cross_correlate_vjp", arrays(dy=shape)))
    assert said == f"dy must have the shape of the result, (2, 6, 3, 5), not {shape}"


# ---- output_padding


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"output_padding": 1}, "less than the stride: along spatial axis 0 it is 1, the stride 1"),
        ({"output_padding": 2, "stride": 2}, "less than the stride: along spatial axis 0 it is 2, the stride 2"),
        (
            {"output_padding": (2, 2), "stride": (3, 2)},
            "less than the stride: along spatial axis 1 it is 2, the stride 2",
        ),
        ({"output_padding": -1, "stride": 2}, "output_padding must be at least 0, not -1"),
        ({"output_padding": (0, -1), "stride": 2}, "output_padding[1] must be at least 0, not -1"),
        ({"output_padding": True, "stride": 2}, "output_padding must be an int, not True (bool)"),
        ({"output_padding": (1, True), "stride": 2}, "output_padding[1] must be an int, not True (bool)"),
        ({"output_padding": 1.0, "stride": 2}, "output_padding must be an int, not 1.0 (float)"),
        ({"output_padding": "1", "stride": 2}, "output_padding must be an int, not '1' (str)"),
        ({"output_padding": None, "stride": 2}, "output_padding must be an int, not None (NoneType)"),
        (
            {"output_padding": (1,), "stride": 2},
            "output_padding=(1,) is for 1 spatial axis, but w of shape (6, 2, 3, 2) has 2",
        ),
        ({"output_padding": 2**31, "stride": 2}, "output_padding must be at most 2^31 - 1, not 2147483648"),
        ({"output_padding": 1, "stride": 2, "padding": "same"}, "so output_padding must be 0"),
        ({"output_padding": (0, 1), "stride": 2, "padding": "same_lower"}, "so output_padding must be 0"),
    ],
)
def test_output_padding_that_names_no_size_is_refused(five, options, words):
    assert words in refusal(five, lambda backend: call(backend, "conv_transpose", arrays(), **options))


@pytest.mark.parametrize("padding", [3, (0, 3), ((5, 0), (0, 0)), ((0, 0), (2, 4))])
def test_a_transposed_convolution_of_which_the_padding_leaves_nothing_is_refused(five, padding):
    said = refusal(five, lambda backend: call(backend, "conv_transpose", arrays(dy=(2, 6, 3, 5)), padding=padding))
    assert " leaves nothing of the result: along spatial axis " in said


# ---- Arrays


@EVERY_OPERATION
@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        ("longdouble", np.dtype("longdouble").name), ("int8", "int8"), ("uint8", "uint8"),
        ("int32", "int32"), ("int64", "int64"), ("bool", "bool"), ("complex64", "complex64"), ("object", "object"),
        ("complex128", "complex128"), ("U3", "str96"), ("S3", "bytes24"), ("M8[s]", "datetime64[s]"),
    ],
)  # fmt: skip
def test_a_dtype_that_a_backend_does_not_compute_is_unsupported(five, operation, dtype, name):
    given = {key: np.zeros(shape, dtype) for key, shape in SHAPES.items()}
    said = refusal(five, lambda backend: call(backend, operation, given), UnsupportedError)
    first = "w" if operation == "layer" else "x"
    assert said == f"{first} is {name}, which the backend does not compute: it has its dtypes"


@EVERY_OPERATION
def test_float16_is_unsupported_where_it_is_not_computed(five, operation):
    given = {key: np.zeros(shape, "float16") for key, shape in SHAPES.items()}
    lacking = {name: backend for name, backend in five.items() if "float16" not in backend.dtypes}
    assert set(lacking) == {"numpy", "mxnet"}
    said = refusal(lacking, lambda backend: call(backend, operation, given), UnsupportedError)
    assert "is float16, which the backend does not compute" in said


@EVERY_OPERATION
def test_a_structured_array_is_unsupported(five, operation):
    given = {key: np.zeros(shape, [("real", "f4")]) for key, shape in SHAPES.items()}
    assert "is void32, which" in refusal(five, lambda backend: call(backend, operation, given), UnsupportedError)


TAKES = {
    "cross_correlate": ("x", "w", "bias"),
    "convolve": ("x", "w", "bias"),
    "conv_transpose": ("dy", "w", "x_bias"),
    "cross_correlate_vjp": ("x", "w", "bias", "dy"),
    "layer": ("w", "bias"),
}
ITS_NAME = {"conv_transpose": {"dy": "x", "x_bias": "bias"}}
EACH = [(operation, name) for operation, names in TAKES.items() for name in names]
EVERY_ARGUMENT = pytest.mark.parametrize(("operation", "name"), EACH)


def shown(operation, name):
    """What an operation calls the argument."""
    return ITS_NAME.get(operation, {}).get(name, name)


@EVERY_ARGUMENT
@pytest.mark.parametrize(
    "dtypes", [("float32", "float64"), ("float64", "float32"), ("float32", "int64"), ("float32", "float16")]
)
def test_arrays_of_two_dtypes_are_refused(five, operation, name, dtypes):
    most, one = dtypes
    given = {**arrays(most), name: np.zeros(SHAPES[name], one)}
    said = refusal(five, lambda backend: call(backend, operation, given))
    assert said.endswith(": nothing is cast silently, so convert one of them")
    assert f"is {one}" in said
    assert f"is {most}" in said
    assert shown(operation, name) in (said.split()[0], said.split(" but ")[1].split()[0])


@EVERY_ARGUMENT
def test_a_masked_array_is_refused(five, operation, name):
    for mask in (False, True):
        given = {**arrays(), name: np.ma.array(np.zeros(SHAPES[name], "float32"), mask=mask)}
        said = refusal(five, lambda backend, given=given: call(backend, operation, given))
        assert said == f"{shown(operation, name)} is a masked array; its mask would be lost, so fill it first"


@EVERY_ARGUMENT
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.zeros((2, 4, 5, 6)).tolist(), "builtins.list"),
        ((1.0, 2.0), "builtins.tuple"),
        (1.0, "builtins.float"),
        (0, "builtins.int"),
        (False, "builtins.bool"),
        (np.float32(1), "numpy.float32"),
        ("x", "builtins.str"),
        (memoryview(b"1234"), "builtins.memoryview"),
        ({}, "builtins.dict"),
        (np.ndarray, "builtins.type"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_array_is_refused(five, operation, name, value, kind):
    said = refusal(five, lambda backend: call(backend, operation, {**arrays(), name: value}))
    assert said == f"{shown(operation, name)} must be a NumPy array, not {kind}"


@EVERY_ARGUMENT
def test_none_is_no_array_unless_it_is_the_bias(five, operation, name):
    given = {**arrays(), name: None}
    if "bias" in name:
        for backend in five.values():
            assert call(backend, operation, given) is not None
    else:
        said = refusal(five, lambda backend: call(backend, operation, given))
        assert said == f"{shown(operation, name)} must be a NumPy array, not builtins.NoneType"


@EVERY_ARGUMENT
@pytest.mark.parametrize("framework", ["torch", "jax", "tensorflow"])
def test_the_array_of_another_framework_is_refused(five, operation, name, framework):
    given = {**arrays(), name: five[framework].asarray(np.zeros(SHAPES[name], "float32"))}
    others = {other: backend for other, backend in five.items() if other != framework}
    said = refusal(others, lambda backend: call(backend, operation, given))
    kind = type(given[name])
    assert said == f"{shown(operation, name)} must be a NumPy array, not {kind.__module__}.{kind.__qualname__}"


@EVERY_CALLED
def test_an_array_of_the_framework_in_a_dtype_that_is_not_computed_is_unsupported(five, operation):
    for name, make in {
        "torch": lambda shape: torch.zeros(shape, dtype=torch.int32),
        "jax": lambda shape: jnp.zeros(shape, jnp.int32),
        "tensorflow": lambda shape: tf.zeros(shape, tf.int32),
    }.items():
        given = {key: make(shape) for key, shape in SHAPES.items()}
        with pytest.raises(UnsupportedError, match=f"x is int32, which the {name} backend does not compute"):
            call(five[name], operation, given)


@EVERY_CALLED
def test_an_array_of_the_framework_that_holds_no_numbers_is_refused(five, operation):
    with pytest.raises(ConvError):
        call(five["jax"], operation, {**arrays(), "w": jax.random.key(0)})
    with pytest.raises(ConvError):
        call(five["tensorflow"], operation, {**arrays(), "w": tf.constant(["w"])})


# ---- Where arrays are, and how they are stored


STORED = {
    "sparse_coo": torch.Tensor.to_sparse,
    "mkldnn": torch.Tensor.to_mkldnn,
    "nested": lambda array: torch.nested.nested_tensor(list(array)),
    "jagged": lambda array: torch.nested.nested_tensor(list(array), layout=torch.jagged),
}


@pytest.fixture
def torch_alone():
    """torch's backend without any remembered call."""
    return TorchBackend()


@pytest.mark.parametrize("remembered", [False, True])
@pytest.mark.parametrize(
    ("operation", "name"), [each for each in EACH if each[0] != "layer" and each[1] in ("w", "bias", "x_bias")]
)
def test_torchs_weights_without_values_are_refused(torch_alone, operation, name, remembered):
    given = {key: torch.from_numpy(array) for key, array in arrays().items()}
    if remembered:
        call(torch_alone, operation, given)
    with pytest.raises(
        ConvError, match=f"^{shown(operation, name)} is on meta but x is on cpu: nothing is moved silently"
    ):
        call(torch_alone, operation, {**given, name: given[name].to("meta")})
    assert call(torch_alone, operation, {key: a.to("meta") for key, a in given.items()}) is not None


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("remembered", [False, True])
@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("operation", CALLED)
def test_torchs_tensors_that_are_not_dense_are_refused(torch_alone, operation, stored, remembered):
    given = {key: torch.from_numpy(array) for key, array in arrays().items()}
    if remembered:
        call(torch_alone, operation, given)
    name = "dy" if stored in ("nested", "jagged") and operation == "conv_transpose" else "w"
    name = "x" if stored in ("nested", "jagged") and operation != "conv_transpose" else name
    shown_name = shown(operation, name)
    kind = "nested" if stored == "jagged" else stored
    with pytest.raises(ConvError, match=f"^{shown_name} is a {kind} array; convert it to a dense one first"):
        call(torch_alone, operation, {**given, name: STORED[stored](given[name])})


def test_a_layer_without_values_refuses_an_input_with_some(five):
    layer = five["torch"].layer(np.ones(SHAPES["w"], "float32"), groups=2).to("meta")
    with pytest.raises(ConvError, match="w is on meta but x is on cpu"):
        layer(torch.ones(SHAPES["x"]))
    assert layer(torch.ones(SHAPES["x"], device="meta")).device.type == "meta"


@pytest.mark.parametrize("dtype", ["int64", "uint64", "complex128", "object", "U3", "M8[s]", "longdouble"])
def test_an_array_keeps_its_dtype_or_is_refused(backend, dtype):
    array = np.zeros(2, dtype)
    if array.dtype.kind in "iu":
        array += np.iinfo(dtype).max
    with contextlib.suppress(UnsupportedError):
        own = backend.asarray(array)
        np.testing.assert_array_equal(backend.to_numpy(own), array)
        assert backend.dtype(own) == array.dtype.name


def test_some_arrays_are_refused_by_those_that_would_cast_them(five):
    refusing = {}
    for name, backend in five.items():
        try:
            backend.asarray(np.array([2**40]))
        except UnsupportedError as error:
            refusing[name] = str(error)
    assert refusing == {
        "jax": "array is int64, and the jax backend has no int64 arrays: nothing is cast silently, so convert it"
    }


@pytest.mark.parametrize(
    ("value", "kind"), [([1.0], "builtins.list"), (None, "builtins.NoneType"), (1, "builtins.int")]
)
def test_what_is_no_array_does_not_become_one(five, value, kind):
    said = refusal(five, lambda backend: backend.asarray(value))
    assert said == f"array must be a NumPy array, not {kind}"


def test_an_array_with_a_mask_does_not_lose_it(five):
    said = refusal(five, lambda backend: backend.asarray(np.ma.array([1.0, 2.0], mask=[True, False])))
    assert said == "array is a masked array; its mask would be lost, so fill it first"


# ---- The input of a layer

LAYERS = {
    "plain": ({"groups": 2}, (2, 4, 5, 6)),
    "channels last": ({"groups": 2, "layout": "NHWC"}, (2, 5, 6, 4)),
    "padded on one side": ({"groups": 2, "padding": ((0, 1), (2, 0)), "layout": "NHWC"}, (2, 5, 6, 4)),
    "same with a stride": ({"groups": 2, "padding": "same", "stride": 2}, (2, 4, 5, 6)),
    "1x1 with a stride": ({"groups": 2, "stride": 2, "layout": "NHWC"}, (2, 5, 6, 4)),
}
INVALID_INPUTS = {
    "another dtype": lambda x: x.astype("float64"),
    "integers": lambda x: x.astype("int32"),
    "half precision": lambda x: x.astype("float16"),
    "complex": lambda x: x.astype("complex64"),
    "a list": lambda x: x.tolist(),
    "nothing": lambda x: None,
    "a masked array": lambda x: np.ma.array(x, mask=x > 0),
    "no batch axis": lambda x: x[0],
    "two batch axes": lambda x: x[np.newaxis],
    "other channels": lambda x: np.concatenate([x, x], 1 if x.shape[1] == 4 else -1),
    "no channels": lambda x: x[:, :0] if x.shape[1] == 4 else x[..., :0],
    "no pixels": lambda x: x[:, :, :0] if x.shape[1] == 4 else x[:, :0],
}


def layer_and_operation(backend, options, pointwise=False):
    """A layer, and the operation with the same weights."""
    w = np.ones((6, 2, 1, 1) if pointwise else SHAPES["w"], "float32")
    return backend.layer(w, **options), lambda x: backend.cross_correlate(x, w, **options)


@pytest.mark.parametrize("invalid", INVALID_INPUTS)
@pytest.mark.parametrize("which", LAYERS)
def test_a_layer_refuses_what_the_operation_refuses_in_the_same_words(five, which, invalid):
    options, x_shape = LAYERS[which]
    x = INVALID_INPUTS[invalid](np.ones(x_shape, "float32"))

    def refused(backend, called):
        return backend.layer(np.ones(SHAPES["w"], "float32"), **options)(x) if called == "layer" else (
            backend.cross_correlate(x, np.ones(SHAPES["w"], "float32"), **options)
        )  # fmt: skip

    assert refusal(five, lambda b: refused(b, "layer")) == refusal(five, lambda b: refused(b, "operation"))


@pytest.mark.parametrize("which", ["plain", "channels last", "1x1 with a stride"])
def test_a_layer_refuses_a_kernel_larger_than_its_input(five, which):
    options, x_shape = LAYERS[which]
    x = np.ones([n if n == 4 else min(n, 2) for n in x_shape], "float32")
    said = refusal(five, lambda b: layer_and_operation(b, options)[0](x))
    assert said == refusal(five, lambda b: layer_and_operation(b, options)[1](x))
    assert said.startswith("the kernel is larger than the padded input")


@pytest.mark.parametrize("which", LAYERS)
def test_a_layer_gives_a_batch_of_zero_its_shape(backend, which):
    options, x_shape = LAYERS[which]
    layer, operation = layer_and_operation(backend, options, pointwise=which.startswith("1x1"))
    for x in (np.ones(x_shape, "float32")[:0], np.ones(x_shape, "float32")):
        assert tuple(layer(x).shape) == tuple(operation(x).shape)


def test_a_layer_takes_numpy_arrays_and_returns_the_backends_own(backend):
    layer, _ = layer_and_operation(backend, {"groups": 2})
    for x in arrays()["x"], np.asfortranarray(arrays()["x"]), arrays()["x"].astype(">f4"):
        assert backend.is_array(layer(x))
        assert backend.dtype(layer(x)) == "float32"


def test_a_layer_whose_weights_were_converted_takes_inputs_of_their_dtype(five):
    layer = five["torch"].layer(np.ones(SHAPES["w"], "float32"), groups=2).double()
    assert layer(np.ones(SHAPES["x"])).dtype == torch.float64
    with pytest.raises(ConvError, match="w is float64 but x is float32"):
        layer(np.ones(SHAPES["x"], "float32"))


def test_under_autocast_torchs_layer_takes_what_it_casts(five):
    layer = five["torch"].layer(np.ones(SHAPES["w"], "float32"), groups=2)
    x = torch.ones(SHAPES["x"], dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    with pytest.raises(ConvError, match="w is float32 but x is bfloat16"):
        layer(x)


def test_a_keras_model_that_is_built_of_an_invalid_layer_is_refused(five):
    layer = five["tensorflow"].layer(np.ones(SHAPES["w"], "float32"), groups=2, layout="NHWC")
    assert layer(keras.Input((None, None, 4))).shape == (None, None, None, 6)
    with pytest.raises(ConvError, match="channels"):
        layer(keras.Input((None, None, 3)))
    with pytest.raises(ConvError, match="the kernel is larger than the padded input"):
        layer(keras.Input((2, None, 4)))


# ---- What is remembered lets nothing through


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"stride": 1}, {"stride": True}),
        ({"stride": 1}, {"stride": 1.0}),
        ({"stride": 1}, {"stride": np.True_}),
        ({"stride": 1}, {"stride": np.float64(1)}),
        ({"stride": 1}, {"stride": "1"}),
        ({"stride": (1, 1)}, {"stride": (True, 1)}),
        ({"stride": (1, 1)}, {"stride": (1, 1.0)}),
        ({"stride": (1, 1)}, {"stride": "(1, 1)"}),
        ({"dilation": 1}, {"dilation": True}),
        ({"dilation": 1}, {"dilation": 1.0}),
        ({"dilation": (1, 1)}, {"dilation": (1, True)}),
        ({"dilation": [1, 1]}, {"dilation": [1, np.True_]}),
        ({"padding": 0}, {"padding": False}),
        ({"padding": 0}, {"padding": 0.0}),
        ({"padding": 0}, {"padding": -0.0}),
        ({"padding": 0}, {"padding": None}),
        ({"padding": 0}, {"padding": ""}),
        ({"padding": (0, 0)}, {"padding": (0, False)}),
        ({"padding": ((0, 0), (0, 0))}, {"padding": ((0, 0), (0, 0.0))}),
        ({"padding": "valid"}, {"padding": b"valid"}),
        ({"padding": "valid"}, {"padding": "'valid'"}),
        ({"groups": 2}, {"groups": 2.0}),
        ({"groups": 2}, {"groups": "2"}),
        ({"layout": None}, {"layout": ""}),
        ({"layout": "NCHW"}, {"layout": b"NCHW"}),
        ({"layout": "NCHW"}, {"layout": "nchw"}),
    ],
)
@EVERY_CALLED
def test_what_is_refused_is_refused_after_its_like_was_remembered(backend, operation, good, bad):
    own = {name: backend.asarray(array) for name, array in arrays().items()}
    for _ in range(2):
        assert call(backend, operation, own, **good) is not None
        with pytest.raises(ConvError):
            call(backend, operation, own, **bad)


def test_output_padding_that_is_refused_is_refused_after_its_like_was_remembered(backend):
    own = {name: backend.asarray(array) for name, array in arrays().items()}
    for good, bad in ((0, False), (0, 0.0), ((0, 0), (0, False)), ((0, 0), (0.0, 0)), (0, None)):
        for _ in range(2):
            assert call(backend, "conv_transpose", own, output_padding=good) is not None
            with pytest.raises(ConvError):
                call(backend, "conv_transpose", own, output_padding=bad)


@EVERY_CALLED
def test_an_array_that_is_refused_is_refused_after_its_like_was_remembered(backend, operation):
    given = arrays()
    own = {name: backend.asarray(array) for name, array in given.items()}
    for name in TAKES[operation]:
        array = given[name]
        for _ in range(2):
            assert call(backend, operation, own) is not None
            assert call(backend, operation, given) is not None
            for bad in (
                np.ma.array(array),
                array.tolist(),
                array.astype("float64"),
                array.view("int32"),
                array[..., :0],
            ):
                with pytest.raises(ConvError):
                    call(backend, operation, {**given, name: bad})
                with pytest.raises(ConvError):
                    call(backend, operation, {**own, name: bad})


# ---- What simply works


def everything(backend, given, **options):
    """The result of every operation, in NumPy."""
    layer = call(backend, "layer", given, **options)
    results = {
        "forward": call(backend, "cross_correlate", given, **options),
        "convolve": call(backend, "convolve", given, **options),
        "conv_transpose": call(backend, "conv_transpose", given, **options),
        "layer": layer(backend.asarray(np.array(given["x"], given["x"].dtype.newbyteorder("="), subok=False))),
    }
    gradients = call(backend, "cross_correlate_vjp", given, **options)
    results |= dict(zip(("input gradient", "kernel gradient", "bias gradient"), gradients))
    return {name: backend.to_numpy(result) for name, result in results.items()}


class Subclass(np.ndarray):
    """An array that is none of NumPy's own."""


def backwards(array):
    """The same values, with every axis stored backwards."""
    everywhere = (slice(None, None, -1),) * array.ndim
    return np.ascontiguousarray(array[everywhere])[everywhere]


def sliced(array):
    """The same values, among others that are skipped."""
    wide = np.full([2 * n + 1 for n in array.shape], 99, array.dtype)
    inside = wide[(slice(1, None, 2),) * array.ndim]
    inside[...] = array
    return inside


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def unaligned(array):
    buffer = bytearray(array.nbytes + 1)
    moved = np.frombuffer(buffer, array.dtype, array.size, 1).reshape(array.shape)
    moved[...] = array
    assert not moved.flags.aligned
    return moved


ODD = {
    "with negative strides": backwards,
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "read-only": read_only,
    "read-only and big-endian": lambda array: read_only(array.astype(array.dtype.newbyteorder(">"))),
    "in Fortran's order": lambda array: np.asfortranarray(array),
    "transposed": lambda array: np.ascontiguousarray(array.T).T,
    "sliced": sliced,
    "of a subclass": lambda array: array.view(Subclass),
    "unaligned": unaligned,
    "broadcast": lambda array: np.broadcast_to(array[:1], array.shape),
}


def test_a_kernel_of_one_pixel_may_be_flipped(backend):
    """NumPy takes such an array for contiguous, though its strides are negative; torch would refuse it."""
    x, w = np.arange(9, dtype="float32").reshape(1, 1, 3, 3), np.full((1, 1, 1, 1), 2, "float32")
    assert min(np.flip(w, (2, 3)).strides) < 0
    assert (backend.to_numpy(backend.cross_correlate(x, np.flip(w, (2, 3)))) == 2 * x).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("odd", ODD)
def test_an_array_that_is_stored_oddly_is_as_good_as_any(backend, odd, dtype):
    plain = arrays(dtype)
    if odd == "broadcast":
        plain = {name: np.array(ODD[odd](array)) for name, array in plain.items()}
    strange = {name: ODD[odd](array) for name, array in plain.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        right = everything(backend, plain)
        for _ in range(2):
            for name, result in everything(backend, strange).items():
                assert result.dtype.isnative
                np.testing.assert_array_equal(result, right[name], strict=True)
    for name, array in plain.items():
        np.testing.assert_array_equal(strange[name], array)


@pytest.mark.parametrize("odd", ODD)
def test_any_array_can_be_made_the_backends_own_which_stays_as_it_is(backend, odd):
    strange = ODD[odd](arrays()["x"])
    own = backend.asarray(strange)
    assert backend.is_array(own)
    assert backend.asarray(own) is own
    host = backend.to_numpy(own)
    assert host.dtype.isnative
    np.testing.assert_array_equal(host, strange)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_input_is_modified_and_no_result_changes_with_an_input(backend, dtype):
    given, before = arrays(dtype), arrays(dtype)
    for options in ({}, {"padding": 1}, {"padding": ((0, 1), (1, 0))}, {"padding": "same", "stride": 2}):
        g = ConvSpec(groups=2, **options).resolve(SHAPES["x"], SHAPES["w"])
        given["dy"] = before["dy"] = np.ones(g.y_shape, dtype)
        results = everything(backend, given, **options)
        for name in given:
            np.testing.assert_array_equal(given[name], before[name])
        assert not any(np.shares_memory(r, a) for r in results.values() for a in given.values())


def aligned(array):
    """As frameworks like arrays that they take over without a copy."""
    buffer = np.empty(array.nbytes + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    moved = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


def test_a_result_stays_what_it_is_when_its_input_changes_meanwhile(backend):
    """Some frameworks are still computing when a call returns."""
    x, w = (np.resize(np.float32([1, 2, -1, 3, -2]), shape) for shape in ((1, 32, 96, 96), (32, 32, 3, 3)))
    right = backend.to_numpy(backend.cross_correlate(x, w))
    for _ in range(3):
        given = aligned(x), aligned(w)
        result = backend.cross_correlate(*given)
        for array in given:
            array[...] = 99
        np.testing.assert_array_equal(backend.to_numpy(result), right)


# ---- A batch of zero


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "spec",
    [
        ConvSpec(groups=2),
        ConvSpec(groups=2, padding="same", stride=2),
        ConvSpec(groups=2, padding=((0, 2), (1, 0)), dilation=2, layout="NHWC"),
    ],
)
def test_a_batch_of_zero_gives_nothing_in_the_right_shape_and_gradients_of_zero(backend, spec, dtype):
    x_shape = (0, 5, 6, 4) if spec.channels_last else (0, 4, 5, 6)
    g = spec.resolve(x_shape, SHAPES["w"])
    problem = with_values("empty", spec, g, dtype, bias=True, values="integers", seed=0)
    answers = dict(problem.answers(backend))
    expected = problem.expectations()
    assert set(answers) == set(expected) - {"layer"}
    for direction, answer in answers.items():
        assert judge(answer, expected[direction]).fault is None
        assert not answer.any()
    assert answers["forward"].shape == g.y_shape
    assert answers["kernel gradient"].shape == SHAPES["w"]


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_a_batch_of_zero_is_the_backends_own(backend, ndim):
    x, w = backend.asarray(np.zeros((0, 1, *[3] * ndim), "float32")), np.ones((2, 1, *[2] * ndim), "float32")
    y = backend.cross_correlate(x, w)
    assert type(y) is type(x)
    assert tuple(y.shape) == (0, 2, *[2] * ndim)


def test_a_batch_of_zero_is_refused_what_others_are(five):
    given = arrays(x=(0, 4, 2, 6))
    assert "the kernel is larger" in refusal(five, lambda backend: call(backend, "cross_correlate", given))


EMPTY, KERNEL = np.zeros((0, 4, 5, 6), "float32"), np.ones((6, 2, 3, 2), "float32")


def test_torchs_autodiff_goes_through_a_batch_of_zero(five):
    w = torch.nn.Parameter(torch.from_numpy(KERNEL.copy()))
    five["torch"].cross_correlate(EMPTY, w, groups=2).sum().backward()
    np.testing.assert_array_equal(w.grad, np.zeros_like(KERNEL))


def test_jaxs_transformations_go_through_a_batch_of_zero(five):
    dw = jax.grad(lambda w: five["jax"].cross_correlate(EMPTY, w, groups=2).sum())(jnp.array(KERNEL))
    np.testing.assert_array_equal(dw, np.zeros_like(KERNEL))


# ---- The backend's own arrays

OWN = {"numpy": np.ndarray, "torch": torch.Tensor, "jax": jax.Array, "tensorflow": tf.Tensor, "mxnet": np.ndarray}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("which", [{"x", "bias"}, {"w", "dy", "x_bias"}, set(SHAPES)])
def test_the_backends_own_arrays_and_numpys_may_be_mixed_and_results_are_its_own(backend, which, dtype):
    given = arrays(dtype)
    right = everything(backend, given)
    mixed = {name: backend.asarray(array) if name in which else array for name, array in given.items()}
    assert isinstance(mixed["bias" if "bias" in which else "w"], OWN[backend.name])
    results = {operation: call(backend, operation, mixed) for operation in CALLED}
    results["forward"] = results.pop("cross_correlate")
    gradients = ("input gradient", "kernel gradient", "bias gradient")
    results |= dict(zip(gradients, results.pop("cross_correlate_vjp")))
    results["layer"] = call(backend, "layer", mixed)(backend.asarray(given["x"]))
    for name, result in results.items():
        assert isinstance(result, OWN[backend.name])
        np.testing.assert_array_equal(backend.to_numpy(result), right[name], strict=True)


PROBLEMS = [
    given_values("groups", ConvSpec(groups=2), *(arrays()[name] for name in ("x", "w", "dy", "bias", "x_bias"))),
    *(
        with_values(source, spec, spec.resolve(x_shape, w_shape), dtype, bias=True, values="integers", seed=1)
        for source, spec, x_shape, w_shape, dtype in [
            ("asymmetric", ConvSpec(padding=((0, 2), (1, 0)), stride=2), (2, 3, 6, 7), (4, 3, 3, 2), "float32"),
            (
                "channels last",
                ConvSpec(padding="same", dilation=2, layout="NHWC"),
                (2, 6, 7, 3),
                (4, 3, 2, 3),
                "float32",
            ),
            ("float64", ConvSpec(padding=1, groups=2, dilation=2, stride=2), (2, 4, 9), (4, 2, 3), "float64"),
        ]
    ),
]
EVERY_PROBLEM = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.source)
GRADIENTS = ("input gradient", "kernel gradient", "bias gradient")


def assert_gradients(got, problem):
    """By somebody's own autodiff, through `cross_correlate`."""
    expected = problem.expectations()
    for name, gradient in zip(GRADIENTS, got):
        assert judge(np.asarray(gradient), expected[name]).fault is None


@EVERY_PROBLEM
def test_torchs_autodiff_goes_through(five, problem):
    be, p = five["torch"], problem
    leaves = [torch.from_numpy(a.copy()).requires_grad_() for a in (p.x, p.w, p.bias)]
    be.cross_correlate(*leaves, **p.options).backward(torch.from_numpy(p.dy))
    assert_gradients([leaf.grad for leaf in leaves], p)
    y = torch.from_numpy(p.dy.copy()).requires_grad_()
    be.conv_transpose(y, p.w, **p.options, output_padding=p.output_padding).sum().backward()
    once = be.cross_correlate(np.ones(p.transposed.x_shape, p.dtype), p.w, **p.options)
    np.testing.assert_array_equal(y.grad, once)


@EVERY_PROBLEM
def test_torchs_gradients_are_given_with_and_without_grad_mode(five, problem):
    p = problem
    for mode in (torch.no_grad, torch.enable_grad):
        with mode():
            assert_gradients(five["torch"].cross_correlate_vjp(p.x, p.w, p.bias, p.dy, **p.options), p)


@EVERY_PROBLEM
def test_tensorflows_tape_goes_through(five, problem):
    be, p = five["tensorflow"], problem
    variables = [tf.Variable(a) for a in (p.x, p.w, p.bias)]
    with tf.GradientTape() as tape:
        y = be.cross_correlate(*variables, **p.options)
    assert_gradients(tape.gradient(y, variables, p.dy), p)
    assert_gradients(be.cross_correlate_vjp(*variables, p.dy, **p.options), p)
    y = tf.Variable(p.dy)
    with tf.GradientTape() as tape:
        x = be.conv_transpose(y, p.w, **p.options, output_padding=p.output_padding)
    once = be.cross_correlate(np.ones(p.transposed.x_shape, p.dtype), p.w, **p.options)
    np.testing.assert_array_equal(tape.gradient(x, y), once)


@EVERY_PROBLEM
def test_tensorflows_functions_may_hold_it(five, problem):
    p = problem
    traced = tf.function(lambda x, w, bias: five["tensorflow"].cross_correlate(x, w, bias, **p.options))
    y = traced(*(tf.constant(a) for a in (p.x, p.w, p.bias)))
    assert judge(y.numpy(), p.expectations()["forward"]).fault is None


@EVERY_PROBLEM
def test_jaxs_transformations_go_through(five, problem):
    be, p = five["jax"], problem
    with jax.enable_x64(p.dtype == "float64"):

        def loss(x, w, bias):
            return (be.cross_correlate(x, w, bias, **p.options) * p.dy).sum()

        primals = [jnp.asarray(a) for a in (p.x, p.w, p.bias)]
        y = jax.jit(lambda *primals: be.cross_correlate(*primals, **p.options))(*primals)
        assert judge(np.asarray(y), p.expectations()["forward"]).fault is None
        assert_gradients(jax.grad(loss, (0, 1, 2))(*primals), p)
        assert_gradients(jax.jit(jax.grad(loss, (0, 1, 2)))(*primals), p)


def test_a_refusal_under_jit_is_the_same(five):
    given = arrays()

    def refused(x):
        return five["jax"].cross_correlate(x, given["w"], groups=2, stride=True)

    with pytest.raises(ConvError, match="stride must be an int, not True"):
        jax.jit(refused)(given["x"])


# ---- Nothing of a framework's is left changed


def flags():
    return {
        "x64": jax.config.jax_enable_x64,
        "jax precision": jax.config.jax_default_matmul_precision,
        "jax of float64": jnp.asarray(np.ones(2)).dtype.name,
        "jax of float32": (jnp.ones(2) * 2.0).dtype.name,
        "torch dtype": torch.get_default_dtype(),
        "torch grad": torch.is_grad_enabled(),
        "torch tf32": (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32),
        "torch mkldnn": torch.backends.mkldnn.enabled,
        "torch threads": torch.get_num_threads(),
        "torch deterministic": torch.are_deterministic_algorithms_enabled(),
        "keras dtype": tf.keras.config.floatx(),
        "tf tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
        "tf eager": tf.executing_eagerly(),
        "numpy errors": np.geterr(),
    }


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_no_flag_of_a_framework_is_changed(backend, dtype):
    before = flags()
    assert before["x64"] is False
    assert before["jax of float32"] == "float32"
    everything(backend, arrays(dtype))
    backend.corr2d(np.ones((3, 3), dtype), np.ones((2, 2), dtype))
    assert flags() == before
    with pytest.raises(ConvError):
        call(backend, "cross_correlate", arrays(dtype, x=(2, 3, 5, 6)))
    assert flags() == before


def test_no_generator_of_random_numbers_is_drawn_from(backend):
    def seed():
        for seeded in (random.seed, np.random.seed, torch.manual_seed, tf.random.set_seed):
            seeded(0)

    def drawn():
        return random.random(), np.random.random(), torch.rand(()).item(), tf.random.uniform(()).numpy()

    seed()
    undisturbed = drawn()
    seed()
    everything(backend, arrays())
    assert drawn() == undisturbed


def test_jax_gives_float64_to_those_who_ask_and_float32_to_the_next(five):
    y = five["jax"].cross_correlate(np.ones((1, 1, 3)), np.ones((1, 1, 2)))
    assert y.dtype == jnp.float64
    assert jnp.zeros(2).dtype == jnp.float32
    assert five["jax"].cross_correlate(jnp.ones((1, 1, 3)), jnp.ones((1, 1, 2))).dtype == jnp.float32
