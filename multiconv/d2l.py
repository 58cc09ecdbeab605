"""Worked examples of Dive into Deep Learning, sections 7.2 to 7.4, with the numbers that the book prints.

In some examples, the book draws random numbers and then prints only a shape, or compares two of its own results. Here,
such arrays hold small integers, so that every result is exact in float32 and can be compared bit for bit.

References
----------
A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", https://d2l.ai.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

Array32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Example:
    """One of the book's examples: a call of a backend's operation, and the result that the book gives.

    Attributes
    ----------
    name : str
        The section of the book and the topic of the example.
    operation : str
        The method of `multiconv.core.backend.Backend`: ``"corr2d"``, ``"corr2d_multi_in"``, ``"corr2d_multi_in_out"``
        or ``"cross_correlate"``.
    arrays : tuple of numpy.ndarray
        Input and kernel: read-only arrays of integers in float32.
    options : mapping
        The keyword arguments of ``cross_correlate``; empty for the other operations.
    expected : numpy.ndarray or None
        The exact result, or None where the book prints only a shape.
    expected_shape : tuple of int
        The shape of the result, which every example has. For ``cross_correlate``, it begins with a batch size of 1 and
        one channel, which the book leaves out.

    Examples
    --------
    >>> from multiconv.d2l import EXAMPLES
    >>> EXAMPLES[0].name, EXAMPLES[0].operation
    ('7.2.1 cross-correlation', 'corr2d')
    >>> EXAMPLES[0].expected
    array([[19., 25.],
           [37., 43.]], dtype=float32)
    """

    name: str
    operation: str
    arrays: tuple[Array32, Array32]
    expected_shape: tuple[int, ...]
    expected: Array32 | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def _array(values: Any) -> Array32:
    array = np.array(values, np.float32)
    array.flags.writeable = False
    return array


def _computes(name: str, operation: str, X: Any, K: Any, expected: Any, **options: Any) -> Example:
    """Create an example whose result is known."""
    Y = _array(expected)
    return Example(name, operation, (_array(X), _array(K)), Y.shape, Y, options)


def _has_shape(name: str, kernel: tuple[int, int], printed: tuple[int, int], **options: Any) -> Example:
    """Create an example of 7.3's `comp_conv2d`: a kernel of this size on an 8x8 input, with the shape in the book."""
    X, K = _integers(1, 1, 8, 8), _integers(1, 1, *kernel)
    return Example(name, "cross_correlate", (_array(X), _array(K)), (1, 1, *printed), options=options)


def _integers(*shape: int) -> Any:
    """Return integers from -3 to 3, in an order that every flip or shift changes."""
    return np.array([pow(2, i, 101) % 7 - 3 for i in range(prod(shape))]).reshape(shape)


def _examples() -> tuple[Example, ...]:
    X, K = np.arange(9).reshape(3, 3), np.arange(4).reshape(2, 2)
    figure = X[None, None], K[None, None]
    X2, K2 = np.stack([X, X + 1]), np.stack([K, K + 1])
    image = np.ones((6, 8))
    image[:, 2:6] = 0
    edges = np.zeros((6, 7))
    edges[:, 1], edges[:, 5] = 1, -1
    pixels, weights = _integers(3, 3, 3), _integers(2, 3, 1, 1)
    product = (weights.reshape(2, 3) @ pixels.reshape(3, 9)).reshape(2, 3, 3)
    return (
        _computes("7.2.1 cross-correlation", "corr2d", X, K, [[19, 25], [37, 43]]),
        _computes("7.2.3 edges", "corr2d", image, [[1, -1]], edges),
        _computes("7.2.3 edges, the image transposed", "corr2d", image.T, [[1, -1]], np.zeros((8, 5))),
        _computes(
            "7.3.1 padding, the figure", "cross_correlate", *figure,
            [[[[0, 3, 8, 4], [9, 19, 25, 10], [21, 37, 43, 16], [6, 7, 8, 0]]]], padding=1,
        ),
        _has_shape("7.3.1 padding 1, a 3x3 kernel", (3, 3), (8, 8), padding=1),
        _has_shape("7.3.1 padding (2, 1), a 5x3 kernel", (5, 3), (8, 8), padding=(2, 1)),
        _computes(
            "7.3.2 strides 3 and 2, the figure", "cross_correlate", *figure,
            [[[[0, 8], [6, 8]]]], padding=1, stride=(3, 2),
        ),
        _has_shape("7.3.2 stride 2", (3, 3), (4, 4), padding=1, stride=2),
        _has_shape("7.3.2 stride (3, 4), padding (0, 1)", (3, 5), (2, 2), padding=(0, 1), stride=(3, 4)),
        _computes("7.4.1 two input channels", "corr2d_multi_in", X2, K2, [[56, 72], [104, 120]]),
        _computes(
            "7.4.2 three output channels", "corr2d_multi_in_out", X2, np.stack([K2, K2 + 1, K2 + 2]),
            [[[56, 72], [104, 120]], [[76, 100], [148, 172]], [[96, 128], [192, 224]]],
        ),
        _computes("7.4.3 a 1x1 kernel as a matrix product", "corr2d_multi_in_out", pixels, weights, product),
    )  # fmt: skip


EXAMPLES = _examples()
"""The examples, in the book's order."""
