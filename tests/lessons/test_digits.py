"""Handwritten digits: scikit-learn's as they are enlarged, and files in MNIST's format, whole and spoiled."""

from __future__ import annotations

import gzip
import os
import re
import struct
import sys
import tracemalloc

import numpy as np
import pytest

from multiconv.core.errors import UsageError
from multiconv.lessons import digits

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}
DTYPES = pytest.mark.parametrize("dtype", CODES)
NAMINGS = pytest.mark.parametrize("naming", ["-idx", ".idx"])
COMPRESSIONS = pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gz"])


def idx(array):
    """The bytes of a file in the IDX format."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[array.dtype.name], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def written(folder, images=None, labels=None):
    """A folder with the two files of MNIST, of seven images unless given."""
    images = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8) if images is None else images
    labels = np.arange(7, dtype=np.uint8) if labels is None else labels
    (folder / IMAGES).write_bytes(idx(images))
    (folder / LABELS).write_bytes(idx(labels))
    return folder


def refused(path, data, reason):
    path.write_bytes(data)
    with pytest.raises(UsageError, match=reason) as refusal:
        digits.read_idx(path)
    assert str(path) in str(refusal.value)


# ---- scikit-learn's


def test_the_pixels_of_scikit_learn_are_blocks_of_three_by_three_within_a_dark_margin():
    loaded = digits.load(count=3)
    assert loaded.images.shape == (3, 28, 28)
    assert loaded.images.dtype == np.float32
    assert loaded.labels.dtype == np.int64
    inside = loaded.images[:, 2:-2, 2:-2].reshape(3, 8, 3, 8, 3)
    assert (inside == inside[:, :, :1, :, :1]).all()
    assert loaded.images.sum() == inside.sum()
    sixteenths = inside[:, :, 0, :, 0] * 16
    assert (sixteenths == sixteenths.round()).all()
    assert sixteenths.min() == 0
    assert sixteenths.max() == 16


def test_the_first_digits_are_the_same_however_many_are_loaded():
    few, many = digits.load(count=2), digits.load(count=5)
    assert (few.images == many.images[:2]).all()
    assert (few.labels == many.labels[:2]).all()


def test_as_many_as_there_are_is_all_that_come():
    assert len(digits.load(count=10**6).labels) == 1797


@pytest.mark.parametrize("count", [0, -1])
def test_a_count_below_one_is_refused(count, tmp_path):
    for mnist in (None, written(tmp_path)):
        with pytest.raises(UsageError, match=f"count is {count}, but at least 1"):
            digits.load(mnist, count)


def test_without_scikit_learn_it_says_what_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UsageError, match=re.escape("pip install 'multiconv[lessons]'")):
        digits.load()


def test_scikit_learn_is_not_needed_for_mnist(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert digits.load(written(tmp_path)).labels.tolist() == list(range(7))


def test_what_is_saved_is_what_numpy_loads(tmp_path):
    loaded = digits.load(count=4)
    loaded.save(tmp_path / "digits.npz")
    with np.load(tmp_path / "digits.npz") as saved:
        assert sorted(saved) == ["images", "labels"]
        assert (saved["images"] == loaded.images).all()
        assert (saved["labels"] == loaded.labels).all()
        assert saved["images"].dtype == np.float32


# ---- MNIST's files


@NAMINGS
@COMPRESSIONS
def test_mnist_is_read_by_either_name_and_either_way(naming, compressed, tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    labels = np.array([3, 1, 4, 1, 5], np.uint8)
    for name, array in ((IMAGES, images), (LABELS, labels)):
        path = tmp_path / (name.replace("-idx", naming) + ".gz" * compressed)
        path.write_bytes(gzip.compress(idx(array)) if compressed else idx(array))
    loaded = digits.load(tmp_path)
    assert loaded.images.dtype == np.float32
    assert loaded.labels.dtype == np.int64
    assert loaded.images.shape == (5, 28, 28)
    assert ((loaded.images * 255).round() == images).all()
    assert loaded.labels.tolist() == labels.tolist()


def test_the_two_files_need_not_be_named_alike(tmp_path):
    written(tmp_path)
    (tmp_path / LABELS).rename(tmp_path / "train-labels.idx1-ubyte")
    assert len(digits.load(tmp_path).labels) == 7


def test_pixels_are_from_zero_to_one(tmp_path):
    images = np.zeros((1, 28, 28), np.uint8)
    images[0, 0, :3] = 255, 128, 1
    loaded = digits.load(written(tmp_path, images, np.zeros(1, np.uint8))).images[0]
    assert loaded[0, :4].tolist() == [1.0, np.float32(128) / np.float32(255), np.float32(1) / np.float32(255), 0.0]
    assert loaded.max() == 1
    assert loaded.min() == 0


@pytest.mark.parametrize(("count", "comes"), [(1, 1), (6, 6), (7, 7), (8, 7)])
def test_count_is_a_limit(count, comes, tmp_path):
    loaded = digits.load(written(tmp_path), count)
    assert len(loaded.images) == comes
    assert loaded.labels.tolist() == list(range(comes))


def test_a_folder_that_is_not_there_or_is_a_file_is_no_folder(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for path in (tmp_path / "nowhere", file):
        with pytest.raises(UsageError, match=re.escape(f"{path} is not a folder")):
            digits.load(path)


@pytest.mark.parametrize("missing", [IMAGES, LABELS])
def test_a_file_that_is_missing_is_named(missing, tmp_path):
    (written(tmp_path) / missing).unlink()
    with pytest.raises(UsageError, match=re.escape(f"{tmp_path} has no {missing} or {missing}.gz")):
        digits.load(tmp_path)


def test_a_folder_by_the_name_of_a_file_is_not_the_file(tmp_path):
    (written(tmp_path) / IMAGES).rename(tmp_path / "moved")
    (tmp_path / IMAGES).mkdir()
    with pytest.raises(UsageError, match=f"has no {IMAGES}"):
        digits.load(tmp_path)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((7, 27, 28), np.uint8),
        np.zeros((7, 784), np.uint8),
        np.zeros((7, 28, 28, 1), np.uint8),
        np.zeros((7, 28, 28), np.float32),
        np.zeros((7, 28, 28), np.int8),
        np.zeros((0, 28, 28), np.uint8),
        np.array(7, np.uint8),
    ],
    ids=lambda images: f"{images.dtype}{list(images.shape)}",
)
def test_images_of_another_shape_or_dtype_are_refused(images, tmp_path):
    has = re.escape(f"{IMAGES} has {images.dtype} of shape {images.shape}, where MNIST has uint8")
    with pytest.raises(UsageError, match=has):
        digits.load(written(tmp_path, images))


@pytest.mark.parametrize(
    "labels",
    [
        np.zeros(6, np.uint8),
        np.zeros(8, np.uint8),
        np.zeros((7, 1), np.uint8),
        np.zeros(7, np.int32),
        np.array(7, np.uint8),
    ],
    ids=lambda labels: f"{labels.dtype}{list(labels.shape)}",
)
@pytest.mark.parametrize("count", [3, 256])
def test_labels_that_are_not_one_for_each_image_are_refused_however_few_are_asked_for(labels, count, tmp_path):
    has = re.escape(f"{LABELS} has {labels.dtype} of shape {labels.shape}, where labels of 7 images are")
    with pytest.raises(UsageError, match=has):
        digits.load(written(tmp_path, labels=labels), count)


def test_a_label_that_is_no_digit_is_refused(tmp_path):
    with pytest.raises(UsageError, match="a label 10, where MNIST's are from 0 to 9"):
        digits.load(written(tmp_path, labels=np.arange(4, 11, dtype=np.uint8)))


# ---- The IDX format


@DTYPES
@COMPRESSIONS
@pytest.mark.parametrize("shape", [(), (3,), (2, 1, 3), (0, 28, 28), (1,) * 32], ids=lambda shape: f"{len(shape)} axes")
def test_an_array_comes_back_as_it_was_written(dtype, compressed, shape, tmp_path):
    array = np.random.default_rng(2).uniform(-100, 100, shape)
    array = np.asarray(np.abs(array) if dtype == "uint8" else array).astype(dtype)
    path = tmp_path / "array"
    path.write_bytes(gzip.compress(idx(array)) if compressed else idx(array))
    read = digits.read_idx(path)
    assert read.dtype == array.dtype
    assert read.dtype.isnative
    assert read.shape == array.shape
    assert (read == array).all()
    assert read.flags.writeable


@DTYPES
@pytest.mark.parametrize("off", [-1, 1])
def test_more_or_fewer_bytes_than_its_shape_takes_are_refused(dtype, off, tmp_path):
    data = idx(np.ones((2, 3), dtype))
    size = 6 * np.dtype(dtype).itemsize
    reason = re.escape(f"its shape is (2, 3), which takes {size} bytes, but it has {size + off} bytes of elements")
    refused(tmp_path / "array", (data + b"\0")[: len(data) + off], reason)


@pytest.mark.parametrize("length", range(16))
def test_a_file_cut_off_in_its_header_is_refused(length, tmp_path):
    reason = "is cut off: its shape takes 12 bytes" if length >= 4 else "is not in the IDX format"
    refused(tmp_path / "array", idx(np.ones((2, 3, 1), np.uint8))[:length], reason)


@pytest.mark.parametrize(
    "begins",
    [
        b"\x01\x00\x08\x01",
        b"\x00\x01\x08\x01",
        b"\x00\x00\x07\x01",
        b"\x00\x00\x0a\x01",
        b"\x00\x00\xff\x01",
        b"PK\x03\x04",
    ],
    ids=repr,
)
def test_another_magic_or_dtype_is_refused(begins, tmp_path):
    refused(tmp_path / "array", begins + bytes([0, 0, 0, 1, 5]), re.escape(f"it begins with {begins!r}"))


@pytest.mark.parametrize(
    ("axes", "lengths", "elements"),
    [(65, bytes([0, 0, 0, 1]) * 65, b"\x05"), (4, bytes(4) + b"\xff" * 12, b"")],
    ids=["65 axes", "no elements, but lengths too large"],
)
def test_a_shape_that_no_array_can_have_is_refused(axes, lengths, elements, tmp_path):
    refused(tmp_path / "array", bytes([0, 0, 8, axes]) + lengths + elements, "which no array can have")


def test_a_shape_of_more_elements_than_64_bits_count_is_refused(tmp_path):
    # 2 ** 93 elements: 64 bits would count none, and there are none in the file.
    refused(tmp_path / "array", bytes([0, 0, 8, 3]) + bytes([128, 0, 0, 0]) * 3, f"which takes {2**93} bytes")


def test_broken_gzip_is_refused(tmp_path):
    data = gzip.compress(idx(np.random.default_rng(3).integers(0, 256, 1000, dtype=np.uint8)))
    path = tmp_path / "array.gz"
    for cut_off in (data[:2], data[:10], data[: len(data) // 2], data[:-1]):
        refused(path, cut_off, "can't be read: ")
    refused(path, data[:-8] + bytes(4) + data[-4:], "can't be read: CRC check failed")
    refused(path, data[:10] + b"\xff" * 20 + data[30:], "can't be read: ")
    refused(path, data + b"more", "can't be read: ")


@pytest.mark.parametrize("compressed", [True, False])
def test_a_file_that_grows_beyond_any_of_mnists_is_refused(compressed, tmp_path):
    path = tmp_path / "images"
    size = 300 * 1024 * 1024
    header = b"\0\0\x08\x01" + size.to_bytes(4, "big")
    if compressed:
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(header)
            for _ in range(300):
                file.write(bytes(1024 * 1024))
    else:
        path.write_bytes(header)
        os.truncate(path, 8 + size)
    tracemalloc.start()
    with pytest.raises(UsageError, match="has more than 100000000 bytes of data"):
        digits.read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < size


def test_what_gz_promises_and_is_not_compressed_is_read_as_it_is(tmp_path):
    path = tmp_path / "array.gz"
    path.write_bytes(idx(np.arange(3, dtype=np.uint8)))
    assert digits.read_idx(path).tolist() == [0, 1, 2]


def test_what_can_not_be_opened_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(UsageError, match=re.escape(f"{path} can't be read: ")):
            digits.read_idx(path)
