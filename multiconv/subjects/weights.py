"""The weights of a black box: which pixels show them, their groups, and how a given kernel is used."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np

from multiconv.core.types import Host
from multiconv.subjects.fitting import AxisFit


def middle(fit: AxisFit) -> int:
    """Return an output in the middle whose whole window lies within the image."""
    first = -(-max(fit.before, 0) // fit.stride)
    last = min(fit.out - 1, (fit.size + fit.before - fit.extent) // fit.stride)
    return (first + last) // 2


def cover(fit: AxisFit) -> dict[int, dict[int, int]]:
    """Return a few pixels that all taps meet, each with its taps and, for each tap, the output."""
    met: dict[int, dict[int, int]] = {}
    for tap in range(fit.kernel):
        for output in range(fit.out):
            pixel = output * fit.stride + tap * fit.dilation - fit.before
            if 0 <= pixel < fit.size:
                met.setdefault(pixel, {})[tap] = output
    chosen: dict[int, dict[int, int]] = {}
    left = set(range(fit.kernel))
    while left:
        # In the middle, a pixel is seen once by each tap even if the border is a mirror.
        best = max(met, key=lambda pixel: (len(left & met[pixel].keys()), -abs(2 * pixel - fit.size)))
        chosen[best] = met[best]
        left -= met[best].keys()
    return chosen


def groups_of(dense: Host) -> int:
    """Return the largest number of groups outside of which a kernel (C_out, C_in, \\*kernel) is zero."""
    out, channels = dense.shape[:2]
    used = (dense != 0).reshape(out, channels, -1).any(axis=-1)
    for groups in range(min(out, channels), 1, -1):
        if out % groups == 0 and channels % groups == 0:
            mask = np.kron(np.eye(groups, dtype=bool), np.ones((out // groups, channels // groups), bool))
            if not (used & ~mask).any():
                return groups
    return 1


def of_groups(dense: Host, groups: int) -> Host:
    """Return a dense kernel without the zeros between groups."""
    out, channels = dense.shape[0] // groups, dense.shape[1] // groups
    parts = [dense[g * out : (g + 1) * out, g * channels : (g + 1) * channels] for g in range(groups)]
    return np.ascontiguousarray(np.concatenate(parts))


def use_of_kernel(given: Host | None, found: Host, kind: str) -> tuple[str, str]:
    """Say how the kernel that a function was given is used."""
    if given is None:
        return kind, ""
    axes = range(2, given.ndim)
    for flipped in chain.from_iterable(combinations(axes, count) for count in range(given.ndim - 1)):
        for swapped, name in ((given, ""), (np.swapaxes(given, 0, 1), ", C_out and C_in swapped")):
            if swapped.shape == found.shape and np.array_equal(np.flip(swapped, flipped), found):
                if not flipped:
                    return kind, f"as given{name}"
                whole = len(flipped) == given.ndim - 2 and kind == "cross-correlation"
                along = f"flipped along spatial axis {', '.join(str(a - 2) for a in flipped)}{name}"
                return ("convolution" if whole else kind), along
    return kind, "in another way than as it was given"
