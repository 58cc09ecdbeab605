"""Work shared among threads, for what NumPy does on one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

WORTH = 2**18
"""The fewest products for which it is worth it to wake another thread."""


@cache
def count() -> int:
    """How many threads NumPy's BLAS takes: one for each core, or as many as the environment allows.

    Examples
    --------
    >>> count() >= 1
    True
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        if os.environ.get(variable, "").isdigit():
            return max(1, min(cores, int(os.environ[variable])))
    return cores


def shares(items: int, products: int) -> list[slice]:
    """Items in as many runs as there are threads for so many products, the largest first.

    Examples
    --------
    >>> shares(5, 100)
    [slice(0, 5, None)]
    >>> sum(share.stop - share.start for share in shares(5, 2**30))
    5
    """
    runs = max(1, min(count(), items, products // WORTH))
    each = max(1, -(-items // runs))
    return [slice(begin, min(begin + each, items)) for begin in range(0, items, each)] or [slice(0, 0)]


def in_parallel(function: Callable[[slice], None], runs: Sequence[slice]) -> None:
    """Call a function with each of some runs, each in a thread of its own, the first in this one.

    Examples
    --------
    >>> seen = []
    >>> in_parallel(seen.append, [slice(0, 2), slice(2, 4)])
    >>> len(seen)
    2
    """
    others = [_pool().submit(function, run) for run in runs[1:]]
    function(runs[0])
    for other in others:
        other.result()


@cache
def _pool() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(count(), thread_name_prefix="multiconv")


os.register_at_fork(after_in_child=_pool.cache_clear)  # a fork has none of its parent's threads
