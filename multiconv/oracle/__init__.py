"""The oracle: convolution by its definition in the widest available format, and judgements based on it.

It is independent of every framework and of multiconv's own algorithms. You can call the definition directly:

>>> import numpy as np
>>> from multiconv import ConvSpec, oracle
>>> x, w = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[1.0, 10.0]]])
>>> oracle.cross_correlate(x, w, None, ConvSpec().resolve(x.shape, w.shape))
array([[[21., 32.]]])
"""

from __future__ import annotations

from multiconv.oracle.definition import (
    bias_gradient,
    contraction,
    conv_transpose,
    convolve,
    cross_correlate,
    input_gradient,
    kernel_gradient,
    widen,
)

__all__ = [
    "bias_gradient",
    "contraction",
    "conv_transpose",
    "convolve",
    "cross_correlate",
    "input_gradient",
    "kernel_gradient",
    "widen",
]
