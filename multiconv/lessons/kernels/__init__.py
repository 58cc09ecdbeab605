"""Describe a kernel in words and numbers: the frequencies it passes, its derivative, smoothing and structure.

A kernel is applied as in the frameworks, by cross-correlation: ``Y[i, j] = sum X[i + a, j + b] K[a, b]``. Its column
index ``b`` grows to the right (x), and its row index ``a`` downwards. Angles are in degrees, counter-clockwise from
"left to right", so that 90 is "bottom to top".

A kernel of rational numbers is described exactly: a sum vanishes only if it is exactly 0. A kernel of other floats is
treated as real numbers after a few roundings. Its sums vanish if they are at most ``gamma`` of 8 roundings times the
sum of the terms' magnitudes ([1]_, section 3.1).

**Band.** The frequency response is ``H(f) = sum K[a, b] exp(-2 pi i f . (x, y))``. The DFT of the zero-padded kernel
samples it. It is computed in 32 directions on 32 circles around 0, out to 1/2 cycle per pixel. The power ``|H|^2`` is
averaged over each circle. A kernel whose entries lie in one row or column is a filter along one axis, and its response
is computed along this axis only. A circle passes if its power is at least half of the strongest circle's. The circles 0
and 1/2 decide the band [4]_. If both pass it is an all-pass, or a band-stop if a circle between them does not pass. If
only 0 passes it is a low-pass; only 1/2, a high-pass; neither, a band-pass. So a central difference, such as Sobel's,
is a band-pass: it stops 1/2 as well as 0 ([2]_, section 12.2). A kernel that amplifies high frequencies (a high-boost
filter, [3]_, section 3.6) is sharpening. By this rule it is also a high-pass if the mean is 3 dB below the strongest
circle.

**Derivative.** The order is ``p + q`` of the first moment ``sum K x^p y^q`` that is not zero. A Taylor series shows
that the response to a polynomial of that degree depends only on these moments, wherever the origin is ([2]_,
section 12.2). The first moments give the direction. The second moments form a symmetric matrix: a multiple of the
identity is the Laplacian, rank 1 is a second derivative along a line, and trace 0 is a mixed one.

**Structure.** Symmetries and isotropy are those of the kernel without the zero rows and columns at its edges. In
rational arithmetic, its rank is 1 if every row is a multiple of the first row that is not zero. For floats, its
rank is 1 if the second singular value is at most ``gamma`` of 8 roundings and the size, times the Frobenius norm
([1]_, section 6.2, Weyl's inequality).

References
----------
.. [1] N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., SIAM 2002.
.. [2] B. Jaehne, "Digital Image Processing", 6th ed., Springer 2005, chapters 11 (averaging) and 12 (edges).
.. [3] R. C. Gonzalez, R. E. Woods, "Digital Image Processing", 4th ed., Pearson 2018, sections 3.4-3.7.
.. [4] S. W. Smith, "The Scientist and Engineer's Guide to Digital Signal Processing", California Technical Publishing
   1997, chapter 14, for the four bands and their edge at -3 dB.
.. [5] W. T. Freeman, E. H. Adelson, "The design and use of steerable filters", IEEE Trans. Pattern Anal. Mach. Intell.
   13 (1991) 891-906.
"""

from __future__ import annotations

from multiconv.lessons.kernels.analysis import describe, describe_all
from multiconv.lessons.kernels.description import KernelDescription, table
from multiconv.lessons.kernels.design import blur, directional_edge, second_derivative
from multiconv.lessons.kernels.entries import parse

__all__ = [
    "KernelDescription",
    "blur",
    "describe",
    "describe_all",
    "directional_edge",
    "parse",
    "second_derivative",
    "table",
]
