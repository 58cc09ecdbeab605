"""Handwritten digits: scikit-learn's, enlarged, or MNIST's own files if provided. Nothing is downloaded."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multiconv.core.errors import UsageError

SIZE = 28
COUNT = 256
FILE = "digits.npz"  # the name that lessons read
CLASSES = 10
IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
LARGEST_FILE = 100_000_000  # bytes, decompressed
GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Digits:
    """Images of digits, and their labels.

    Attributes
    ----------
    images : array of float32, shape (N, 28, 28)
        From 0 (background) to 1.
    labels : array of int64, shape (N,)
    """

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]

    def save(self, path: Path) -> None:
        """Write images and labels to a file for `numpy.load`."""
        path.write_bytes(self.as_npz())

    def as_npz(self) -> bytes:
        """Return the contents of the file that `save` writes."""
        file = io.BytesIO()
        np.savez(file, images=self.images, labels=self.labels)
        return file.getvalue()


def load(mnist: Path | None = None, count: int = COUNT) -> Digits:
    """Load the first digits of a collection.

    Parameters
    ----------
    mnist : Path, optional
        Folder with ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``. The names may have ``.idx`` instead of
        ``-idx``, and may end with ``.gz``. The default is scikit-learn's digits of 8x8 pixels: each pixel is enlarged
        to 3x3, with a margin of 2.
    count : int
        Maximum number of digits, at least 1. The collection may have fewer.

    Raises
    ------
    UsageError
        If `count` is less than 1, if the files are missing or invalid, or if scikit-learn is needed but not installed.

    References
    ----------
    Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", for the format; E. Alpaydin and
    C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, for scikit-learn's.

    Examples
    --------
    >>> digits = load(count=10)
    >>> digits.images.shape, digits.labels
    ((10, 28, 28), array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]))
    """
    if count < 1:
        raise UsageError(f"count is {count}, but at least 1 digit must be asked for")
    return _enlarged(count) if mnist is None else _mnist(mnist, count)


def read_idx(path: Path) -> npt.NDArray[Any]:
    """Read an array from a file in the IDX format, which may be compressed by gzip.

    The format has two zero bytes, a byte for the dtype and a byte for the number of axes. The lengths of the axes
    follow as big-endian 32-bit integers, then the elements.

    Raises
    ------
    UsageError
        If the file can't be read, is not in this format, has the wrong number of elements, or is larger than
        `LARGEST_FILE`.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "labels")
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 7]))
    >>> read_idx(path)
    array([5, 7], dtype=uint8)
    """
    try:
        with path.open("rb") as file:
            # Detect gzip by content, not by name: browsers decompress a file and keep its .gz.
            compressed = file.peek(len(GZIP)).startswith(GZIP)
            data = (gzip.GzipFile(fileobj=file) if compressed else file).read(LARGEST_FILE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path} can't be read: {error}") from None
    if len(data) > LARGEST_FILE:
        raise UsageError(
            f"{path} has more than {LARGEST_FILE} bytes of data, where MNIST's files have at most 47040016"
        )
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in IDX_DTYPES:
        raise UsageError(f"{path} is not in the IDX format: it begins with {data[:4]!r}")
    dtype, axes = np.dtype(IDX_DTYPES[data[2]]), data[3]
    start = 4 + 4 * axes
    if len(data) < start:
        raise UsageError(f"{path} is cut off: its shape takes {4 * axes} bytes, but it has {len(data) - 4} for it")
    shape = tuple(int(length) for length in np.frombuffer(data, ">u4", axes, offset=4))
    size = math.prod(shape)
    if len(data) - start != size * dtype.itemsize:
        raise UsageError(
            f"{path} says that its shape is {shape}, which takes {size * dtype.itemsize} bytes, but it has "
            f"{len(data) - start} bytes of elements"
        )
    try:
        return np.frombuffer(data[start:], dtype).reshape(shape).astype(dtype.newbyteorder("="))
    except ValueError as error:
        raise UsageError(f"{path} says that its shape is {shape}, which no array can have: {error}") from None


def _mnist(folder: Path, count: int) -> Digits:
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: MNIST's files are looked for in one")
    images_file, labels_file = _found(folder, "train-images-idx3-ubyte"), _found(folder, "train-labels-idx1-ubyte")
    images, labels = read_idx(images_file), read_idx(labels_file)
    if images.dtype != np.uint8 or images.shape[1:] != (SIZE, SIZE) or not len(images):
        raise UsageError(
            f"{images_file} has {images.dtype} of shape {images.shape}, "
            f"where MNIST has uint8 of shape (N, {SIZE}, {SIZE})"
        )
    if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise UsageError(
            f"{labels_file} has {labels.dtype} of shape {labels.shape}, "
            f"where labels of {len(images)} images are uint8 of shape ({len(images)},)"
        )
    if labels.max() >= CLASSES:
        raise UsageError(f"{labels_file} has a label {labels.max()}, where MNIST's are from 0 to {CLASSES - 1}")
    return Digits(images[:count].astype(np.float32) / np.float32(255), labels[:count].astype(np.int64))


def _enlarged(count: int) -> Digits:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UsageError("the digits come with scikit-learn: pip install 'multiconv[lessons]'") from None
    small, labels = load_digits(return_X_y=True)
    images = small[:count].reshape(-1, 8, 8).repeat(3, axis=1).repeat(3, axis=2) / 16
    return Digits(np.pad(images, ((0, 0), (2, 2), (2, 2))).astype(np.float32), labels[:count].astype(np.int64))


def _found(folder: Path, name: str) -> Path:
    for spelled in (name, name.replace("-idx", ".idx")):
        for path in (folder / spelled, folder / f"{spelled}.gz"):
            if path.is_file():
                return path
    raise UsageError(f"{folder} has no {name} or {name}.gz, which are MNIST's files")
