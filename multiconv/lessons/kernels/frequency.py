"""The frequency response of a kernel: its band, its peak and how round it is."""

from __future__ import annotations

import numpy as np

from multiconv.lessons.kernels.entries import Floats, Rows

CIRCLES = 32
"""Number of frequency steps from 0 to 1/2 cycle per pixel, which is Nyquist for rows and columns."""
DIRECTIONS = 32
"""Number of directions on each circle of frequencies."""
HALF_POWER = 0.5
"""A frequency passes if its power is at least this share of the strongest circle's: -3 dB."""
TIE = 2.0**-30
"""Powers this close are equal: far above the float64 rounding of the sums, far below a real difference."""


def magnitudes(rows: Rows) -> Floats:
    """Return ``|H|`` by circle and direction; the first direction is x, the middle one is y."""
    kernel = np.array([[float(k) for k in row] for row in rows])
    radius = np.arange(CIRCLES + 1)[:, None] / (2 * CIRCLES)
    angle = np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    fx, fy = (radius * np.cos(angle)).ravel(), (radius * np.sin(angle)).ravel()
    height, width = kernel.shape
    by_row = np.exp(2j * np.pi * np.outer(fy, np.arange(height)))  # y points up
    by_column = np.exp(-2j * np.pi * np.outer(fx, np.arange(width)))
    magnitudes: Floats = np.abs(((by_row @ kernel) * by_column).sum(axis=1))
    return magnitudes.reshape(CIRCLES + 1, DIRECTIONS)


def power_profile(core: Rows, magnitudes: Floats) -> Floats:
    """Return the mean power of each circle; for a single row or column, the power along it."""
    if len(core) == 1:
        return magnitudes[:, 0] ** 2
    if len(core[0]) == 1:
        return magnitudes[:, DIRECTIONS // 2] ** 2
    power: Floats = np.mean(magnitudes**2, axis=1)
    return power


def band(profile: Floats) -> str:
    """Return the band that passes, from the power of each circle."""
    passes = profile >= HALF_POWER * profile.max() * (1 - TIE)
    if passes[0] and passes[-1]:
        return "all-pass" if passes.all() else "band-stop"
    if passes[0]:
        return "low-pass"
    return "high-pass" if passes[-1] else "band-pass"


def peak_frequency(magnitudes: Floats) -> float:
    """Return the lowest frequency at which the response is largest, in cycles per pixel."""
    circle = int(np.argmax((magnitudes >= magnitudes.max() * (1 - TIE)).any(axis=1)))
    return circle / (2 * CIRCLES)


def exceeds_mean(magnitudes: Floats) -> bool:
    """Return whether every frequency passes at least as well as the mean, and some pass better."""
    mean = magnitudes[0, 0]
    return bool(magnitudes.min() >= mean * (1 - TIE) and magnitudes.max() > mean * (1 + TIE))


def anisotropy(magnitudes: Floats) -> float:
    """Return the standard deviation of the magnitudes on their circles, divided by their root mean square."""
    differences = magnitudes - magnitudes.mean(axis=1, keepdims=True)
    return round(float(np.sqrt((differences**2).sum() / (magnitudes**2).sum())), 9)
