"""Statistics of a benchmark: quartiles, ratios with intervals, means of ratios, and the noise floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
COVERAGE = 0.95
Samples = Sequence[Sequence[float]]
"""Seconds per call: for each process, one number per round."""


@dataclass(frozen=True)
class Ratio:
    """The speed of something relative to a reference.

    Attributes
    ----------
    value : float
        Above 1 if it is faster than the reference.
    low, high : float
        Ends of the bootstrap interval.
    """

    value: float
    low: float
    high: float

    def is_real(self, noise: float) -> bool:
        """Return whether the interval excludes 1 by more than the noise floor.

        Examples
        --------
        >>> Ratio(1.2, 1.1, 1.3).is_real(noise=0.05), Ratio(1.2, 1.01, 1.3).is_real(noise=0.05)
        (True, False)
        """
        return self.low > 1 + noise or self.high < 1 / (1 + noise)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile, interpolated linearly.

    Examples
    --------
    >>> quartiles([1.0, 2.0, 3.0, 4.0, 5.0])
    (2.0, 3.0, 4.0)
    """
    low, median, high = (float(q) for q in np.quantile(np.asarray(values), (0.25, 0.5, 0.75)))
    return low, median, high


def speed_ratio(reference: Samples, samples: Samples, seed: int = 0) -> Ratio:
    """Compute the speed relative to a reference, from pairs of times of the same round.

    The value is the median of the pairs' ratios. The interval is the 95 % percentile bootstrap interval of 2000
    resamples. Pairs are drawn within their process, so that each process keeps its weight.

    Parameters
    ----------
    reference, samples : sequence of sequence of float
        For each process, the seconds of each round. They are paired by position; times without a partner are ignored.
    seed : int
        Random seed of the resampling.

    Raises
    ------
    ValueError
        If there is no pair.

    References
    ----------
    B. Efron and R. Tibshirani, "An Introduction to the Bootstrap", 1993, sections 13.3 and 8.

    Examples
    --------
    >>> speed_ratio([[2.0, 4.0, 6.0]], [[1.0, 2.0, 3.0]])
    Ratio(value=2.0, low=2.0, high=2.0)
    """
    of_processes = []
    for before, after in zip(reference, samples):
        rounds = min(len(before), len(after))
        if rounds:
            of_processes.append(np.log(np.asarray(before[:rounds]) / np.asarray(after[:rounds])))
    if not of_processes:
        raise ValueError("there is no round in which both were measured")
    rng = np.random.default_rng(seed)
    resampled = np.concatenate(
        [logs[rng.integers(len(logs), size=(RESAMPLES, len(logs)))] for logs in of_processes], axis=1
    )
    tails = ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2)
    low, high = np.exp(np.quantile(np.median(resampled, axis=1), tails))
    return Ratio(float(np.exp(np.median(np.concatenate(of_processes)))), float(low), float(high))


def noise_floor(ratios: Sequence[Ratio]) -> float:
    """Return the largest deviation from 1 of ratios of equal entries; 0 without ratios.

    Examples
    --------
    >>> round(noise_floor([Ratio(1.02, 0.99, 1.03), Ratio(0.96, 0.9, 1.1)]), 4)
    0.0417
    """
    return max((max(r.value, 1 / r.value) - 1 for r in ratios), default=0.0)


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean.

    Examples
    --------
    >>> round(geometric_mean([0.5, 2.0, 8.0]), 6)
    2.0
    """
    return float(np.exp(np.mean(np.log(np.asarray(values)))))
