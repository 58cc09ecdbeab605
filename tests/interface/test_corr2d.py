"""The book's nested loop in every framework's idiom, its numbers, what it refuses, and its gradient."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from test_refusals import refusal

from multiconv import oracle
from multiconv.core.errors import UnsupportedError
from multiconv.core.spec import ConvSpec
from multiconv.d2l import EXAMPLES

OPERATIONS = ("corr2d", "corr2d_multi_in", "corr2d_multi_in_out")
EVERY_OPERATION = pytest.mark.parametrize("operation", OPERATIONS)
EVERY_DTYPE = pytest.mark.parametrize("dtype", ["float32", "float64"])
DIFFERENTIATED = ("torch", "jax", "tensorflow", "mxnet")


X_AXES = {"corr2d": (), "corr2d_multi_in": (2,), "corr2d_multi_in_out": (2,)}
K_AXES = {"corr2d": (), "corr2d_multi_in": (2,), "corr2d_multi_in_out": (3, 2)}


def integers(*shape, dtype="float32", start=0):
    """From -3 to 3, in an order that no flip or shift leaves alone."""
    return np.array([pow(2, start + i, 101) % 7 - 3 for i in range(prod(shape))]).astype(dtype).reshape(shape)


def arguments(operation, dtype="float32", X_size=(4, 5), K_size=(2, 3)):
    X = integers(*X_AXES[operation], *X_size, dtype=dtype)
    return X, integers(*K_AXES[operation], *K_size, dtype=dtype, start=50)


def by_the_oracle(operation, X, K):
    """As a cross-correlation of one image: input, kernel and geometry there, and the shape of the result here."""
    x = X.reshape(1, -1, *X.shape[-2:])
    w = K.reshape(-1, x.shape[1], *K.shape[-2:])
    g = ConvSpec().resolve(x.shape, w.shape)
    return x, w, g, g.y_shape[1:] if operation == "corr2d_multi_in_out" else g.out


# ---- Its numbers


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_the_books_numbers(backend, example):
    result = backend.to_numpy(getattr(backend, example.operation)(*example.arrays, **example.options))
    assert result.shape == example.expected_shape
    assert result.dtype == np.float32
    if example.expected is not None:
        np.testing.assert_array_equal(result, example.expected)


@EVERY_OPERATION
@EVERY_DTYPE
def test_it_is_the_cross_correlation_of_one_image(backend, operation, dtype):
    X, K = arguments(operation, dtype)
    x, w, g, shape = by_the_oracle(operation, X, K)
    right = oracle.cross_correlate(x, w, None, g).reshape(shape).astype(dtype)
    np.testing.assert_array_equal(backend.to_numpy(getattr(backend, operation)(X, K)), right, strict=True)
    own = (backend.asarray(X), K), (X, backend.asarray(K))
    for arrays in own:
        result = getattr(backend, operation)(*arrays)
        assert backend.is_array(result)
        np.testing.assert_array_equal(backend.to_numpy(result), right, strict=True)


@pytest.mark.parametrize(("X_size", "K_size"), [((3, 4), (3, 4)), ((1, 4), (1, 1)), ((4, 1), (2, 1)), ((1, 1), (1, 1))])
@EVERY_OPERATION
def test_a_result_of_one_row_column_or_pixel_keeps_its_axes(backend, operation, X_size, K_size):
    X, K = arguments(operation, "float32", X_size, K_size)
    x, w, g, shape = by_the_oracle(operation, X, K)
    right = oracle.cross_correlate(x, w, None, g).reshape(shape)
    np.testing.assert_array_equal(backend.to_numpy(getattr(backend, operation)(X, K)), right, strict=True)


@pytest.mark.parametrize(
    "odd",
    [
        lambda array: np.asfortranarray(array),
        lambda array: array[..., ::-1, ::-1].copy()[..., ::-1, ::-1],
        lambda array: array.astype(">f4"),
        lambda array: np.broadcast_to(array, array.shape),  # read-only
    ],
    ids=["in Fortran's order", "backwards", "big-endian", "read-only"],
)
def test_arrays_that_are_stored_oddly_are_as_good_as_any(backend, odd):
    X, K = arguments("corr2d")
    right = backend.to_numpy(backend.corr2d(X, K))
    result = backend.to_numpy(backend.corr2d(odd(X), odd(K)))
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, right, strict=True)


# ---- What it refuses


@EVERY_OPERATION
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a.tolist(), "must be a NumPy array, not builtins.list"),
        (lambda a: None, "must be a NumPy array, not builtins.NoneType"),
        (lambda a: 1.0, "must be a NumPy array, not builtins.float"),
        (lambda a: np.ma.array(a), "is a masked array; its mask would be lost, so fill it first"),
        (lambda a: a[0], "axes, but its shape is"),
        (lambda a: a[None], "axes, but its shape is"),
        (lambda a: np.zeros((), a.dtype), "axes, but its shape is ()"),
        (lambda a: a[..., :0], "is empty: its shape is"),
        (lambda a: a[..., :0, :], "is empty: its shape is"),
        (lambda a: a.astype("float64"), "nothing is cast silently, so convert one of them"),
        (lambda a: a.astype("int32"), "nothing is cast silently, so convert one of them"),
    ],
)
def test_what_is_no_image_or_no_kernel_is_refused(five, operation, which, change, words):
    arrays = list(arguments(operation))
    arrays[which] = change(arrays[which])
    said = refusal(five, lambda backend: getattr(backend, operation)(*arrays))
    assert said.startswith("XK"[which]) or "cast" in said
    assert words in said


@EVERY_OPERATION
@pytest.mark.parametrize("size", [(5, 3), (2, 6), (5, 6)])
def test_a_kernel_larger_than_the_image_is_refused(five, operation, size):
    X, K = arguments(operation, K_size=size)
    said = refusal(five, lambda backend: getattr(backend, operation)(X, K))
    assert said == f"the kernel is larger than the input: K has the shape {K.shape}, X {X.shape}"


@pytest.mark.parametrize("operation", OPERATIONS[1:])
def test_a_kernel_of_other_channels_than_the_image_is_refused(five, operation):
    X, K = arguments(operation)
    for other in (X[:1], np.concatenate([X, X])):
        said = refusal(five, lambda backend, other=other: getattr(backend, operation)(other, K))
        assert said == f"X of shape {other.shape} has {other.shape[0]} channels, but K of shape {K.shape} has 2"


@EVERY_OPERATION
@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool", "complex64", "object"])
def test_a_dtype_that_a_backend_does_not_compute_is_unsupported(five, operation, dtype):
    said = refusal(five, lambda backend: getattr(backend, operation)(*arguments(operation, dtype)), UnsupportedError)
    assert said == f"X is {dtype}, which the backend does not compute: it has its dtypes"


# ---- Its gradient


@EVERY_DTYPE
@EVERY_OPERATION
@pytest.mark.parametrize("name", DIFFERENTIATED)
def test_the_frameworks_autodiff_goes_through_the_loop(five, name, operation, dtype):
    backend = five[name]
    X, K = arguments(operation, dtype)
    x, w, g, shape = by_the_oracle(operation, X, K)
    dY = integers(*shape, dtype=dtype)
    own = [backend.asarray(array) for array in (X, K, dY)]
    dX, dK = backend.vjp(getattr(backend, operation), own[:2], own[2])
    dy = dY.reshape(g.y_shape)
    right = oracle.input_gradient(dy, w, g).reshape(X.shape), oracle.kernel_gradient(x, dy, g).reshape(K.shape)
    np.testing.assert_array_equal(backend.to_numpy(dX), right[0], strict=True)
    np.testing.assert_array_equal(backend.to_numpy(dK), right[1], strict=True)


@EVERY_OPERATION
def test_numpy_has_no_autodiff_to_go_through_the_loop(five, operation):
    numpy = five["numpy"]
    X, K = arguments(operation)
    with pytest.raises(UnsupportedError, match="numpy has no autodiff"):
        numpy.vjp(getattr(numpy, operation), (X, K), getattr(numpy, operation)(X, K))


def test_a_function_of_this_process_can_not_be_given_to_a_worker(five):
    X, K = arguments("corr2d")
    for function in (lambda X, K: X, five["torch"].corr2d, five["mxnet"].cross_correlate):
        with pytest.raises(UnsupportedError, match="can't be given a function of this process"):
            five["mxnet"].vjp(function, (X, K), X)
