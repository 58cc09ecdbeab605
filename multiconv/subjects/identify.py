"""What convolution is a black box? Found by impulses, and proven on fresh inputs against the exact oracle."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from multiconv.subjects.box import Refused
from multiconv.subjects.forms import subject
from multiconv.subjects.identification import Identification
from multiconv.subjects.search import Search
from multiconv.subjects.trying import settle


def identify(thing: Any, **taken: Any) -> Identification:
    """Find out which convolution a black box computes, and prove it.

    A few images with random numbers on one line show which outputs see which pixels: stride, dilation, kernel and
    padding. Impulses show the weights. The result is proven on fresh inputs of several sizes against the exact oracle.

    Parameters
    ----------
    thing : callable
        Any form that `multiconv.subject` takes.
    **taken
        What it takes for granted, as in `multiconv.subject`.

    Returns
    -------
    Identification
        If the thing is not a convolution, `Identification.reason` says why, with a counterexample.

    Raises
    ------
    UsageError
        If it can't be called, or an option does not exist.

    Examples
    --------
    >>> import multiconv as mc, numpy as np
    >>> w = np.float32([[[[1, 2], [3, 4]]]])
    >>> def box(x):
    ...     return mc.backend("numpy").cross_correlate(x, w, stride=2, padding="same")
    >>> found = mc.identify(box, in_channels=1)
    >>> found.kind, found.spec.stride, found.rules, bool((found.w == w).all())
    ('cross-correlation', (2, 2), ('same_upper', 'same_upper'), True)
    >>> mc.identify(lambda x: np.maximum(x, 0)).kind
    'not linear'
    """
    start = time.perf_counter()
    of = subject(thing, **taken)
    box, size = settle(of)
    try:
        found = Search(box, size).identification()
    except Refused as refused:
        found = Identification(
            of.name, of.form, False, refused.kind, str(refused), counterexample=refused.counterexample
        )
    return replace(found, fixed=of.fixed, known_by=of.known_by, calls=box.calls, seconds=time.perf_counter() - start)
