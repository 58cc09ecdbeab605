"""Which kernels of the libraries compute an explained convolution on this machine."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from multiconv import registry
from multiconv.core.errors import UnsupportedError, UsageError
from multiconv.core.types import Progress, no_progress
from multiconv.running import available
from multiconv.testing.listening import computed_by, listening
from multiconv.testing.problem_values import with_values

if TYPE_CHECKING:
    from multiconv.subjects.explain import Explanation

MOST_ELEMENTS = 1 << 26
"""Number of elements of an array above which a convolution is not run."""


def kernels_of(of: Explanation, progress: Progress = no_progress) -> dict[str, list[str]]:
    """Run an explained convolution on each installed backend, and return the kernels that computed it.

    Parameters
    ----------
    of : Explanation
    progress : callable, optional

    Returns
    -------
    dict
        Labels of kernels, as in `multiconv.guest.kernels.Kernel`, by the name of the backend. A backend without the
        dtype is left out. The list is empty if the backend needed no call of its framework.

    Raises
    ------
    UsageError
        If an array has more than 2^26 elements.

    Examples
    --------
    >>> from multiconv.subjects.explain import explain
    >>> kernels_of(explain((1, 1, 4), (1, 1, 3)))["numpy"]
    ['numpy im2col']
    """
    g = of.geometry
    largest = max(map(prod, (g.x_shape, g.w_shape, g.y_shape)))
    if largest > MOST_ELEMENTS:
        raise UsageError(f"an array has {largest:,} elements: kernels are looked up for at most {MOST_ELEMENTS:,}")
    problem = with_values("explained", of.spec, g, of.dtype, bias=of.bias, values="integers", seed=0)

    def listen(name: str) -> list[str]:
        progress(name, 0, 1, "starting")
        with listening(name) as backend:
            if of.dtype not in backend.dtypes:
                raise UnsupportedError(f"{name} does not compute in {of.dtype}")
            heard = computed_by(backend, problem, [of.direction]).get(of.direction, ())
        progress(name, 1, 1, "")
        return [kernel.label for kernel in heard]

    found, _ = available(registry.names(), listen, required=False, threads=1)
    return dict(found)
