"""Metamorphic laws: relations that must hold between a backend's own answers. They need no oracle.

A law runs a backend on a problem and on variants of it, and compares the answers. For example, a kernel with zeros
between its taps must give the same result as a dilation. The statements of the laws use these symbols:

- C is `cross_correlate`, K is `convolve` and T is `conv_transpose`.
- dx, dw and db are the results of `cross_correlate_vjp`.
- k is the kernel's size.
- s, d and p are the stride, the dilation and the number of zeros before the input.
- b is the bias. Where C has no b, it is called without a bias.

Each answer comes with the a-priori bound of `multiconv.core.bounds`. Two answers that should be equal may differ by the
sum of their bounds. A bound contains ``sum |x| |w|``. This sum is estimated from above, with NumPy alone, by the
largest pixel of each channel times the sum of its taps. Sums of integers that the format holds must be exact, so their
bound is zero.

References
----------
T. Y. Chen et al., "Metamorphic testing: a review of challenges and opportunities", ACM Computing Surveys 51(1), 2018.
"""

from __future__ import annotations

from multiconv.oracle.laws import channels, full_convolution, gradients, impulses, linearity, space
from multiconv.oracle.laws.law import ALWAYS, INTEGERS, Law
from multiconv.oracle.laws.nonfinite import NAN_STAYS_LOCAL

__all__ = ["ALWAYS", "INTEGERS", "LAWS", "NAN_STAYS_LOCAL", "Law"]

_FAMILIES = (impulses, full_convolution, linearity, gradients, space, channels)
LAWS: tuple[Law, ...] = tuple(law for family in _FAMILIES for law in vars(family).values() if isinstance(law, Law))
"""The laws of finite numbers, in the order in which their families define them."""
