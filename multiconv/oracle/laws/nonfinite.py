"""The law of NaN."""

from __future__ import annotations

import numpy as np

from multiconv.oracle.laws.arrays import index_of_largest, outputs_that_see
from multiconv.oracle.laws.bounded import Bounded, Comparisons, equal, identical
from multiconv.oracle.laws.law import INTEGERS, Law, has_images
from multiconv.oracle.laws.trial import Trial


def _nan_stays_local(t: Trial) -> Comparisons:
    place = index_of_largest(t.x)
    poisoned = t.x.copy()
    poisoned[place] = np.nan
    seeing = outputs_that_see(t.g, place)
    y, plain = t.unbounded(poisoned), t.y
    yield identical(np.isnan(y).astype(y.dtype), seeing)
    yield equal(Bounded(y, plain.bound).map(lambda a: a[~seeing]), plain.map(lambda a: a[~seeing]))


NAN_STAYS_LOCAL = Law(
    "nan stays local",
    "C(x with one NaN, w) is NaN where it sees that pixel, and C(x, w) elsewhere",
    frozenset({"cross_correlate"}),
    INTEGERS,
    has_images,
    _nan_stays_local,
)
"""The law of NaN. It is not one of `LAWS`, since a correct algorithm that works in tiles may break it."""
