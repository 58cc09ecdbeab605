"""Problems for kernels of the libraries that no network's layer and few drawn problems reach.

`multiconv dispatch` lists which kernel computes a problem, and found these: the smallest shapes of a random search on a
processor with AVX-512 that ran a kernel which nothing else in the check ran.
"""

from __future__ import annotations

from multiconv.core.spec import ConvSpec
from multiconv.core.types import Shape
from multiconv.oracle.problem import Problem
from multiconv.testing.problem_values import with_values

SHAPES: tuple[tuple[str, ConvSpec, Shape, Shape], ...] = (
    ("one pixel, 8 channels", ConvSpec(), (2, 8, 5, 6), (8, 8, 1, 1)),  # MXNet: jit_1x1:avx2
    ("depthwise, 8 channels", ConvSpec(padding=1, groups=8), (2, 8, 6, 7), (8, 1, 3, 3)),  # MXNet: jit_dw:avx2
    # Where nothing is dilated, TensorFlow and MXNet compute depthwise by brdgmm_dw, and else by jit_dw.
    ("depthwise, dilated", ConvSpec(padding=2, dilation=2, groups=16), (2, 16, 9, 10), (16, 1, 3, 3)),
    ("large kernel", ConvSpec(), (1, 1, 40, 40), (1, 1, 9, 9)),  # NumPy: toeplitz; MXNet: ref
    # torch: jit_uni_ncsp:conv+ref in the kernel gradient
    ("larger kernel, channels last", ConvSpec(padding=8, layout="NHWC"), (1, 20, 20, 1), (1, 1, 17, 17)),
    # torch: brgconv_strided:avx2 in the gradient and the transposed convolution
    ("groups of 72 channels, strided", ConvSpec(2, 0, 2, 2), (2, 144, 9), (32, 72, 1)),
    # torch: jit_uni_ncsp:conv+x64:gemm:jit in the gradients
    ("63 channels to one", ConvSpec(padding=((0, 0), (1, 1)), layout="NHWC"), (2, 1, 1, 63), (1, 63, 1, 1)),
    ("strided and dilated groups", ConvSpec((3, 2), 2, (3, 2), 3), (2, 6, 8, 8), (24, 2, 3, 3)),  # torch: jit:avx2
)
"""Name, options, and the shapes of the input and of the kernel."""


def kernel_problems(dtype: str, seed: int) -> list[Problem]:
    """Return the problems, with small integers as values.

    Examples
    --------
    >>> kernel_problems("float32", 0)[0].source
    'kernels: one pixel, 8 channels'
    """
    return [
        with_values(f"kernels: {name}", spec, spec.resolve(x, w), dtype, bias=False, values="integers", seed=seed)
        for name, spec, x, w in SHAPES
    ]
