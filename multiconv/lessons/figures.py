"""Pictures of lessons, as SVG that is readable on light and on dark pages.

Lines and letters take the colour of the surrounding text if the SVG is part of a page; in a file of its own they are
grey. The same values give the same bytes.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np

from multiconv.core.errors import UsageError
from multiconv.core.targets import plain_name
from multiconv.core.types import Host
from multiconv.lessons.run import BACKENDS, REFERENCE, Tab
from multiconv.lessons.text import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


INK = "#767676"
COLOURS = dict(zip(BACKENDS, ("#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7")))
MARKERS = dict(zip(BACKENDS, "osD^v"))
WIDTH = 7.2
PANEL = 1.6
FEW_PANELS = {1: 2.4, 2: 2.4}
MOST_COLUMNS = 6
TITLE_CHARACTERS = 21
"""Characters of a title that fit above an image; a longer title wraps."""
SETTINGS: Any = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "figure.facecolor": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
}


def draw(picture: Picture, tabs: Mapping[str, Tab]) -> str:
    """Draw a picture of a lesson as SVG.

    Images show the values of the reference, or of the first tab if the reference is missing. They are grey from 0 up if
    no value is negative. Otherwise they go from blue to red, with white at 0. Under its title, each image has its
    smallest and largest value. Curves and bars show all tabs together. Curves that coincide are drawn as bands.

    Parameters
    ----------
    picture : Picture
    tabs : mapping of str to Tab
        Tabs by backend. Pass only one for a picture of that backend.

    Returns
    -------
    str
        SVG, from ``<svg`` to ``</svg>``.

    Raises
    ------
    UsageError
        If the kind of picture is unknown, there is no tab, the titles are not one for each value, or a value has the
        wrong shape for the kind.

    Examples
    --------
    >>> tab = Tab("numpy", values={"X": np.eye(3), "edges": np.array([[1.0, -1.0]])})
    >>> draw(Picture(("X", "edges"), "images"), {"numpy": tab}).count("<image")
    2
    """
    if picture.kind not in KINDS:
        raise UsageError(f"there is no picture of kind {picture.kind!r}: the kinds are {', '.join(KINDS)}")
    if picture.titles and len(picture.titles) != len(picture.values):
        raise UsageError(f"{len(picture.titles)} titles for the {len(picture.values)} values: give each value one")
    if not tabs:
        raise UsageError("a picture needs the values of a backend, and there are none")
    for backend, tab in tabs.items():
        if missing := [name for name in picture.values if name not in tab.values]:
            raise UsageError(f"{backend} has no value {', '.join(missing)} to draw")
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("pictures are drawn by matplotlib: pip install 'multiconv[lessons]'") from None
    with mpl.rc_context():
        mpl.rcdefaults()  # ignore the user's matplotlibrc
        mpl.rcParams.update(SETTINGS)
        mpl.rcParams["svg.hashsalt"] = " ".join((picture.kind, *picture.values))
        figure = Figure(layout="constrained")
        KINDS[picture.kind](figure, picture, tabs)
        svg = StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return _embeddable(svg.getvalue(), picture.caption or ", ".join(picture.values))


def _images(figure: Figure, picture: Picture, tabs: Mapping[str, Tab]) -> None:
    """Draw single images side by side, and each stack in rows of its own."""
    tab = tabs.get(REFERENCE) or next(iter(tabs.values()))
    rows: list[list[tuple[str, Host, Host]]] = [[]]
    for number, name in enumerate(picture.values):
        value = tab.values[name].astype(np.float64)
        stack = _stack(name, value)
        several = len(stack) > 1
        title = picture.title(number, stacked=several)
        for index, image in enumerate(stack):
            if len(rows[-1]) == MOST_COLUMNS or (several and index == 0 and rows[-1]):
                rows.append([])
            rows[-1].append((title.replace("{}", str(index)), image, value))
        if several:
            rows.append([])
    rows = [row for row in rows if row]
    columns = max(map(len, rows))
    tallest = [max(min(image.shape[0] / image.shape[1], 2.0) for _, image, _ in row) for row in rows]
    size = min(FEW_PANELS.get(columns, PANEL), WIDTH / columns)
    figure.set_size_inches(size * columns, sum(size * t + 0.45 for t in tallest))
    axes = figure.subplots(len(rows), columns, squeeze=False, height_ratios=tallest)
    for row_of_axes, row in zip(axes, rows):
        for ax in row_of_axes[len(row) :]:
            ax.set_axis_off()
        for ax, (title, image, value) in zip(row_of_axes, row):
            _image(ax, title, image, value)


def _stack(name: str, value: Host) -> Host:
    """Return the images of a value of shape (h, w), (n, h, w) or (n, c, h, w) as one stack."""
    if value.ndim not in (2, 3, 4) or value.size == 0:
        raise UsageError(
            f"{name} of shape {value.shape} is no image: it must have the axes (h, w), (n, h, w) or (n, c, h, w)"
        )
    return value.reshape(-1, *value.shape[-2:])


def _image(ax: Axes, title: str, image: Host, value: Host) -> None:
    """Draw an image, with the colour scale of the whole value."""
    lowest, highest = float(value.min()), float(value.max())
    most = max(abs(lowest), abs(highest)) or 1.0
    colours, least = ("gray", 0.0) if lowest >= 0 else ("RdBu_r", -most)
    ax.imshow(image, colours, vmin=least, vmax=most, interpolation="none")
    smallest_to_largest = f"{_number(float(image.min()))} to {_number(float(image.max()))}"
    ax.set_title("\n".join([*textwrap.wrap(title, TITLE_CHARACTERS), smallest_to_largest]), fontsize=8)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_anchor("N")


def _curves(figure: Figure, picture: Picture, tabs: Mapping[str, Tab]) -> None:
    """Draw each value in its own axes.

    A later backend's line is thinner, so that it does not hide the earlier ones.
    """
    figure.set_size_inches(WIDTH, 3.2)
    axes = figure.subplots(1, len(picture.values), squeeze=False)[0]
    for panel, (ax, name) in enumerate(zip(axes, picture.values)):
        for number, (backend, tab) in enumerate(tabs.items()):
            value = _row(name, tab.values[name])
            ax.plot(
                value,
                color=_of(COLOURS, backend),
                linewidth=1.4 * (len(tabs) - number),
                marker=_of(MARKERS, backend),
                markevery=(min(number, len(value) - 1), len(tabs)),
                markersize=1.4 * (len(tabs) - number) + 4,
                label=backend,
            )
        ax.set_title(picture.title(panel))
        ax.xaxis.get_major_locator().set_params(integer=True)
        _plain(ax)
    _legend(figure, axes[0], len(tabs))


def _bars(figure: Figure, picture: Picture, tabs: Mapping[str, Tab]) -> None:
    """Draw each value in its own axes, with a bar for each element and backend.

    If all values are scalars, they share one panel.
    """
    figure.set_size_inches(WIDTH, 3.2)
    names, titles = picture.values, [picture.title(number) for number in range(len(picture.values))]
    if all(tab.values[name].ndim == 0 for tab in tabs.values() for name in names):
        panels = [("", titles, {b: np.array([tab.values[name] for name in names]) for b, tab in tabs.items()})]
    else:
        panels = []
        for name, title in zip(names, titles):
            rows = {backend: _row(name, np.atleast_1d(tab.values[name])) for backend, tab in tabs.items()}
            panels.append((title, [str(i) for i in range(max(map(len, rows.values())))], rows))
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (title, labels, values) in zip(axes, panels):
        width = 0.8 / len(tabs)
        for number, (backend, heights) in enumerate(values.items()):
            places = np.arange(len(heights)) + (number - (len(tabs) - 1) / 2) * width
            ax.bar(places, heights, width, color=_of(COLOURS, backend), label=backend)
        ax.set_title(title)
        ax.set_xticks(range(len(labels)), labels)
        _plain(ax)
    _legend(figure, axes[0], len(tabs))


KINDS: dict[str, Callable[[Figure, Picture, Mapping[str, Tab]], None]] = {
    "images": _images,
    "curves": _curves,
    "bars": _bars,
}


def _row(name: str, value: Host) -> Host:
    if value.ndim != 1 or value.size == 0:
        raise UsageError(f"{name} of shape {value.shape} is no row of numbers: it must have one axis")
    return value.astype(np.float64)


def _of(styles: Mapping[str, str], backend: str) -> str:
    """Return the style of a backend or of a version of it; an unknown backend has the first style."""
    return styles.get(plain_name(backend)) or next(iter(styles.values()))


def _plain(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure, ax: Axes, backends: int) -> None:
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=backends)


def _number(value: float) -> str:
    """Format a number for the title of a small image."""
    whole = abs(value) >= 100 or value.is_integer()
    text = f"{value:.0f}" if whole and abs(value) < 1e6 else f"{value:.{2 if abs(value) < 1 else 3}g}"
    return text.replace("-", "\N{MINUS SIGN}")


def _embeddable(svg: str, label: str) -> str:
    """Return the ``<svg>`` element in the text's colour, without ids that a second picture would repeat."""
    svg = svg[svg.index("<svg") :].rstrip("\n")
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = svg.replace(INK, "currentColor")
    escaped = label.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escaped}" color="{INK}" ', 1)
