"""Arrays as people pass them: each arrangement has its strides and flags, and copies lie as the original does."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from multiconv.core import memory
from multiconv.core.memory import ALIGNMENT_BYTES, ARRANGEMENTS, arranged, copied, described, is_plain, placed

DTYPES = [np.dtype("float16"), np.dtype(ml_dtypes.bfloat16), np.dtype("float64")]
SHAPES = [(5,), (2, 3), (2, 3, 4), (3, 2, 4, 5), (2, 3, 2, 4, 3), (1,), (1, 1, 1), (1, 3, 1, 2)]
EMPTY = [(0,), (0, 2, 3), (2, 0, 3)]


def numbers(shape, dtype):
    return np.resize(np.arange(-5, 250, 7), shape).astype(dtype)


def last_varies_fastest(shape, itemsize):
    return np.zeros(shape, np.dtype(f"V{itemsize}")).strides


def claimed(array, arrangement):
    """The strides that an arrangement must have, by arithmetic."""
    shape, size = array.shape, array.itemsize
    plain = last_varies_fastest(shape, size)
    if arrangement == "Fortran":
        return last_varies_fastest(shape[::-1], size)[::-1]
    if arrangement == "channels_last" and array.ndim > 1:
        batch, channels, *spatial = shape
        first, *others, last = last_varies_fastest((batch, *spatial, channels), size)
        return first, last, *others
    if arrangement == "reversed":
        return tuple(-step for step in plain)
    if arrangement == "cropped":
        return last_varies_fastest([n + 2 for n in shape], size)
    if arrangement == "gaps":
        channels = min(1, array.ndim - 1)
        doubled = [2 * n if axis == channels else n for axis, n in enumerate(shape)]
        return tuple(
            2 * step if axis == channels else step for axis, step in enumerate(last_varies_fastest(doubled, size))
        )
    return plain


def told_apart(array):
    """The strides of the axes with more than one index: NumPy may report any number for the others."""
    return [step for step, n in zip(array.strides, array.shape) if n > 1]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_an_arrangement_keeps_the_values_and_has_the_strides_that_it_claims(arrangement, shape, dtype):
    array = numbers(shape, dtype)
    got = arranged(array, arrangement)
    assert got.dtype == dtype
    assert got.shape == shape
    assert got.tobytes() == array.tobytes()
    claim = claimed(array, arrangement)
    assert told_apart(got) == [step for step, n in zip(claim, shape) if n > 1]
    assert got.flags.aligned == (arrangement != "unaligned")
    assert got.flags.writeable == (arrangement not in ("unaligned", "read_only"))


@pytest.mark.parametrize("shape", EMPTY)
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_an_empty_array_can_be_arranged_and_copied(arrangement, shape):
    got = arranged(np.zeros(shape, "float32"), arrangement)
    assert got.shape == copied(got).shape == shape
    assert copied(got).dtype == "float32"
    assert copied(got).flags.writeable == got.flags.writeable


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (2, 3, 4, 5), (2, 3, 2, 4, 3)])
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_the_expression_makes_the_same_strides_as_the_function(arrangement, shape):
    array = numbers(shape, "float32")
    by_text = eval(ARRANGEMENTS[arrangement].format("array"), {"np": np, "array": array})
    got = arranged(array, arrangement)
    assert by_text.tobytes() == array.tobytes()
    assert by_text.strides == got.strides
    for flag in ("c_contiguous", "f_contiguous", "aligned", "writeable"):
        assert getattr(by_text.flags, flag) == getattr(got.flags, flag)


def test_what_is_arranged_does_not_depend_on_how_the_original_lies():
    array = numbers((2, 3, 4), "float32")
    for first in ARRANGEMENTS:
        for second in ARRANGEMENTS:
            got = arranged(arranged(array, first), second)
            assert got.tobytes() == array.tobytes()
            if second not in ("cropped", "gaps"):
                assert got.strides == arranged(array, second).strides


def test_a_contiguous_array_is_returned_unchanged():
    array = numbers((2, 3), "float32")
    assert arranged(array, "contiguous") is array


def test_an_unknown_arrangement_is_refused():
    with pytest.raises(KeyError, match="diagonal"):
        arranged(np.zeros(3), "diagonal")


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_only_a_contiguous_aligned_and_writable_array_is_plain(arrangement):
    assert is_plain(arranged(numbers((2, 3, 4), "float32"), arrangement)) == (arrangement == "contiguous")
    read_only = numbers((2, 3), "float32")
    read_only.flags.writeable = False
    assert not is_plain(read_only)
    unaligned = np.frombuffer(bytearray(13), "float32", offset=1)
    assert unaligned.flags.writeable
    assert not is_plain(unaligned)


# ---- Copies

VIEWS = {
    **{name: lambda a, name=name: arranged(a, name) for name in ARRANGEMENTS},
    "one axis reversed": lambda a: a[:, ::-1],
    "every third": lambda a: a[..., ::3],
    "transposed": lambda a: a.swapaxes(0, -1),
    "a row of a larger array": lambda a: a[1:2],
    "from the fourth element on": lambda a: a.ravel()[3:],
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_copy_lies_as_the_original_and_shares_no_memory_with_it(view, dtype):
    original = view(numbers((3, 4, 5), dtype))
    copy = copied(original)
    assert copy.dtype == dtype
    assert copy.shape == original.shape
    assert copy.tobytes() == original.tobytes()
    assert copy.strides == original.strides
    assert copy.ctypes.data % ALIGNMENT_BYTES == original.ctypes.data % ALIGNMENT_BYTES
    assert copy.flags.aligned == original.flags.aligned
    assert copy.flags.writeable == original.flags.writeable
    assert not np.may_share_memory(copy, original)


@pytest.mark.parametrize("offset", [0, 1, 2, 8, 63])
@pytest.mark.parametrize("steps", [(40, 8), (-40, 8), (40, -16), (-48, -16), (8, 16)])
def test_what_is_placed_lies_where_it_is_told_to(steps, offset):
    array = numbers((2, 3), "float64")
    got = placed(array, {"strides": steps, "offset": offset, "writeable": True})
    assert got.strides == steps
    assert got.ctypes.data % ALIGNMENT_BYTES == offset
    assert got.tobytes() == array.tobytes()
    assert described(got) == {"strides": steps, "offset": offset, "writeable": True}


@pytest.mark.parametrize("step", [24, -24])
def test_what_is_placed_stays_within_its_memory(step):
    for offset in range(ALIGNMENT_BYTES):
        got = placed(numbers((40,), "float64"), {"strides": (step,), "offset": offset, "writeable": True})
        owner = got
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        low, high = sorted([got.ctypes.data, got.ctypes.data + 39 * step])
        assert owner.ctypes.data <= low
        assert high + 8 <= owner.ctypes.data + owner.nbytes


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_bytes_between_the_elements_are_nan(dtype):
    copy = copied(np.zeros((3, 8), dtype)[:, ::2])
    between = np.lib.stride_tricks.as_strided(copy, (3, 7), (copy.strides[0], copy.itemsize))
    assert np.isnan(between[:, 1::2]).all()
    assert (between[:, ::2] == 0).all()


def test_strides_of_another_number_of_axes_are_refused():
    with pytest.raises(
        ValueError, match=r"strides must have one number per axis, but an array of shape \(3,\) got \(8, 8\)"
    ):
        placed(np.zeros(3), {"strides": (8, 8), "offset": 0, "writeable": True})


@pytest.mark.parametrize("strides", [(2**60, 8), (8, -(2**60)), (2**33, 2**33)])
def test_strides_that_reach_over_more_than_any_memory_are_refused(strides):
    with pytest.raises(ValueError, match=r"strides of .* span .* bytes, more than 17179869184"):
        placed(np.zeros((3, 3)), {"strides": strides, "offset": 0, "writeable": True})


def test_the_description_of_an_empty_array_has_no_offset():
    assert described(np.zeros((0, 3))[:, ::2])["offset"] == 0


def test_the_arrangements_are_those_that_are_described():
    names = {"contiguous", "Fortran", "channels_last", "reversed", "cropped", "gaps", "unaligned", "read_only"}
    assert set(ARRANGEMENTS) == names
    for arrangement in ARRANGEMENTS:
        assert f'``"{arrangement}"``' in memory.arranged.__doc__
