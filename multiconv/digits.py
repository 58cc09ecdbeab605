"""Handwritten digits: scikit-learn's, enlarged, or MNIST's own files where somebody has them. Nothing is downloaded."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multiconv.errors import ConvError

SIZE = 28
COUNT = 256
IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@dataclass(frozen=True)
class Digits:
    """Images of digits and what they are.

    Attributes
    ----------
    images : array of float32, shape (N, 28, 28)
        From 0, the background, to 1.
    labels : array of int64, shape (N,)
    """

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]

    def save(self, path: Path) -> None:
        """Write both to a file that `numpy.load` reads."""
        np.savez(path, images=self.images, labels=self.labels)


def load(mnist: Path | None = None, count: int = COUNT) -> Digits:
    """The first digits of a collection.

    Parameters
    ----------
    mnist : Path, optional
        A folder with ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``, or the same with ``.gz``. Without it,
        scikit-learn's digits of 8x8 pixels, each pixel enlarged to 3x3, with a margin of 2.
    count : int
        How many.

    Raises
    ------
    ConvError
        If the folder has no such files, or they are not what they should be; or without scikit-learn.

    References
    ----------
    Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", for the format; E. Alpaydin and C. Kaynak,
    "Optical Recognition of Handwritten Digits", UCI, for scikit-learn's.

    Examples
    --------
    >>> digits = load(count=10)
    >>> digits.images.shape, digits.labels
    ((10, 28, 28), array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]))
    """
    if mnist is not None:
        images = read_idx(_found(mnist, "train-images-idx3-ubyte"))[:count]
        labels = read_idx(_found(mnist, "train-labels-idx1-ubyte"))[:count]
        if images.shape[1:] != (SIZE, SIZE) or images.dtype != np.uint8 or labels.shape != images.shape[:1]:
            raise ConvError(
                f"{mnist} has images of shape {images.shape} and labels of shape {labels.shape}, where MNIST has "
                f"(N, {SIZE}, {SIZE}) and (N,)"
            )
        return Digits(images.astype(np.float32) / np.float32(255), labels.astype(np.int64))
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ConvError("the digits come with scikit-learn: pip install 'multiconv[lessons]'") from None
    small, labels = load_digits(return_X_y=True)
    images = small[:count].reshape(-1, 8, 8).repeat(3, axis=1).repeat(3, axis=2) / 16
    return Digits(np.pad(images, ((0, 0), (2, 2), (2, 2))).astype(np.float32), labels[:count].astype(np.int64))


def read_idx(path: Path) -> npt.NDArray[Any]:
    """An array from a file in the IDX format, compressed or not.

    Two bytes of zero, a byte for the dtype, one for the number of axes, then their lengths as big-endian 32-bit integers,
    then the elements.

    Raises
    ------
    ConvError
        If the file is not that, or is cut off.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "labels")
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 7]))
    >>> read_idx(path)
    array([5, 7], dtype=uint8)
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise ConvError(f"{path} can't be read: {error}") from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in IDX_DTYPES or len(data) < 4 + 4 * data[3]:
        raise ConvError(f"{path} is not in the IDX format: it begins with {data[:4]!r}")
    dtype, axes = np.dtype(IDX_DTYPES[data[2]]), data[3]
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", axes, 4))
    elements = np.frombuffer(data, dtype, offset=4 + 4 * axes) if (len(data) - 4 - 4 * axes) % dtype.itemsize == 0 else ()
    if len(elements) != int(np.prod(shape)):
        raise ConvError(f"{path} says that its shape is {shape}, but has {len(data) - 4 - 4 * axes} bytes of elements")
    return np.asarray(elements).reshape(shape).astype(dtype.newbyteorder("="))


def _found(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz", folder / name.replace("-idx", ".idx")):
        if path.exists():
            return path
    raise ConvError(f"{folder} has no {name} or {name}.gz, which are MNIST's files")
