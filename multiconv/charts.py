"""Charts on HTML pages that need no network access: axes, figures, and the templates that draw them as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2

COLOURS = tuple(f"var(--series-{number})" for number in range(8))
"""The colours of the series, which `data/charts.jinja` defines for light and for dark pages."""
TOP, BOTTOM_MARGIN = 26, 44


@dataclass
class Scale:
    """A logarithmic axis that maps numbers to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        part = (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low))
        return round(self.start + part * (self.end - self.start), 2)

    def ticks(self) -> list[dict[str, Any]]:
        """Return ticks at 1, 2 and 5 times each power of ten; over many decades, at the powers only."""
        decades = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
        steps = (1, 2, 5) if len(decades) <= 4 else (1,)
        values = [step * 10.0**decade for decade in decades for step in steps]
        return [{"at": self(v), "label": f"{v:g}"} for v in values if self.low * 0.999 <= v <= self.high * 1.001]


def log_scale(values: Sequence[float], start: float, end: float) -> Scale:
    """Return a logarithmic axis that fits all values.

    Examples
    --------
    >>> scale = log_scale([0.5, 50.0], 0, 300)
    >>> scale(5.0), [tick["label"] for tick in scale.ticks()]
    (150.0, ['0.5', '1', '2', '5', '10', '20', '50'])
    """
    low, high = min(values) / 1.15, max(values) * 1.15
    return Scale(low, high, start, end)


@dataclass
class Figure:
    """A figure: its size, frame, axes and contents."""

    title: str
    width: float
    height: float
    left: float
    x_title: str
    y_title: str = ""
    x_ticks: list[dict[str, Any]] = field(default_factory=list)
    y_ticks: list[dict[str, Any]] = field(default_factory=list)
    points: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    one: float = 0.0
    noise: dict[str, float] = field(default_factory=dict)
    roof: str = ""
    diagonal: str = ""

    @property
    def right(self) -> float:
        """Return the x coordinate of the frame's right edge."""
        return self.width - 14

    @property
    def top(self) -> float:
        """Return the y coordinate of the frame's top edge."""
        return TOP

    @property
    def bottom(self) -> float:
        """Return the y coordinate of the frame's bottom edge, above the axis labels."""
        return self.height - BOTTOM_MARGIN


def polyline(points: Sequence[tuple[float, float]]) -> str:
    """Write points as the attribute of an SVG polyline.

    Examples
    --------
    >>> polyline([(0, 1.5), (2, 3)])
    '0,1.5 2,3'
    """
    return " ".join(f"{x},{y}" for x, y in points)


def line(title: str, colour: str, points: Sequence[tuple[float, float]], titles: Sequence[str] = ()) -> dict[str, Any]:
    """Return a line of a figure, with a mark at each point and a title for each mark.

    Examples
    --------
    >>> line("numpy", COLOURS[0], [(0, 1)], ["16 products: 0.4"])["marks"]
    [{'x': 0, 'y': 1, 'title': '16 products: 0.4'}]
    """
    marks = [{"x": x, "y": y, "title": titles[number] if titles else title} for number, (x, y) in enumerate(points)]
    return {"title": title, "colour": colour, "points": polyline(points), "marks": marks}


def page(name: str, **values: Any) -> str:
    """Return a page from the template ``data/NAME.html.jinja``."""
    return _templates().get_template(f"{name}.html.jinja").render(**values)


@cache
def _templates() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("multiconv", "data"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
