"""A picture, in text, of the elements of an array that are wrong."""

from __future__ import annotations

import numpy as np

from multiconv.core.types import Host, Mask

ROWS, COLUMNS = 16, 48
NAMES = {"kernel gradient": ("output channels", "input channels"), "bias gradient": ("channels",)}


def picture(wrong: Mask, direction: str = "forward") -> str:
    """Draw where an array is wrong: its spatial axes as a grid, and the indices of the other axes.

    Parameters
    ----------
    wrong : array of bool
        Channels first.
    direction : str

    Returns
    -------
    str
        A dot is right, ``+`` is partly wrong over the images and channels, and ``#`` is wrong in all of them. A large
        image is drawn in blocks.

    Examples
    --------
    >>> wrong = np.zeros((1, 2, 2, 5), bool)
    >>> wrong[:, 1, :, 4] = True
    >>> print(picture(wrong))
    2 of 20 elements are wrong: images: all; channels: 1 of 0-1
    ....+
    ....+
    """
    names = NAMES.get(direction, ("images", "channels"))
    said = f"{int(wrong.sum())} of {wrong.size} elements are wrong"
    places = [
        f"{name}: {_indices(np.asarray(wrong.any(axis=tuple(a for a in range(wrong.ndim) if a != axis))))}"
        for axis, name in enumerate(names)
    ]
    lines = [f"{said}: {'; '.join(places)}"]
    grid = wrong.mean(axis=tuple(range(len(names))))
    if grid.ndim == 0:
        return lines[0]
    if grid.ndim == 3:
        lines[0] += f"; depth: {_indices(np.asarray(grid.any(axis=(1, 2))))}"
        grid = grid.mean(axis=0)
    grid = np.atleast_2d(grid)
    drawn = _blocks(grid)
    if drawn.shape != grid.shape:
        lines[0] += f"; each sign stands for up to {_per(grid, drawn, 0)}x{_per(grid, drawn, 1)} pixels"
    lines += ["".join("." if share == 0 else "#" if share == 1 else "+" for share in row) for row in drawn]
    return "\n".join(lines)


def _per(grid: Host, drawn: Host, axis: int) -> int:
    return int(-(-grid.shape[axis] // drawn.shape[axis]))


def _blocks(grid: Host) -> Host:
    """Return the mean over blocks, so that the grid is small enough to print."""
    for axis, most in ((0, ROWS), (1, COLUMNS)):
        if grid.shape[axis] > most:
            parts = np.array_split(grid, most, axis=axis)
            grid = np.stack([part.mean(axis=axis) for part in parts], axis=axis)
    return grid


def _indices(where: Mask) -> str:
    """Return the indices as ranges.

    Examples
    --------
    >>> _indices(np.array([False, True, True, False, True]))
    '1-2, 4 of 0-4'
    """
    if where.all():
        return "all"
    edges = np.flatnonzero(np.diff(np.concatenate([[0], where.astype(np.int8), [0]])))
    ranges = [f"{a}" if b - a == 1 else f"{a}-{b - 1}" for a, b in zip(edges[::2], edges[1::2])]
    shown = ", ".join(ranges[:8]) + (", ..." if len(ranges) > 8 else "")
    return f"{shown} of 0-{where.size - 1}"
