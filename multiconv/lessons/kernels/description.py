"""The description of a kernel, as fields, as a sentence and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

from multiconv.lessons.kernels.entries import Number
from multiconv.lessons.kernels.structure import Factors

EDGE_DIRECTIONS = (
    "left to right",
    "bottom left to top right",
    "bottom to top",
    "bottom right to top left",
    "right to left",
    "top right to bottom left",
    "top to bottom",
    "top left to bottom right",
)
LINE_DIRECTIONS = ("along the rows", "along the rising diagonal", "along the columns", "along the falling diagonal")


@dataclass(frozen=True)
class KernelDescription:
    """The result of `multiconv.lessons.kernels.describe`. The defaults describe a kernel of zeros.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns; a kernel of one axis has one row.
    dc_gain : int, Fraction or float
        The sum of the entries: the response to a constant image of 1.
    band               : str
        ``"low-pass"``, ``"high-pass"``, ``"band-pass"``, ``"band-stop"``, ``"all-pass"``, or ``"none"`` for zeros.
    peak_gain, peak_frequency : float
        The largest magnitude of the frequency response on the circles, and the lowest frequency at which it occurs, in
        cycles per pixel.
    order : int or None
        Order of the first moment that is not zero, which is the order of the derivative that the kernel takes. 0 if it
        takes none; None for zeros.
    derivative         : str or None
        ``"first derivative"``; ``"second derivative"`` along a line; ``"Laplacian"``; ``"mixed second derivative"``
        (along a line minus across it); ``"unequal second derivatives"``; or ``"derivative of order 3"`` and so on.
    direction : float or None
        In degrees: the direction of a first derivative, in [0, 360), or the line of a second one, in [0, 180).
    derivative_gain : float or None
        Response to a slope or parabola, divided by its derivative.
    smoothing : bool
        Whether no entry is negative and more than one is not zero: a weighted mean, up to the gain.
    spread : (float, float) or None
        For a smoothing kernel, the standard deviations of its weights along the columns and along the rows, in pixels.
    sharpening : bool
        Whether it keeps the sign of the mean, passes every frequency at least as well as the mean and some better, and
        moves nothing.
    shift : (float, float) or None
        For a kernel with one nonzero entry, how far this entry is below and to the right of the middle. The image moves
        the opposite way.
    identity : bool
        Whether it returns the image unchanged.
    isotropic          : bool
        Whether a quarter turn and transposition leave it unchanged. A square grid allows no more.
    anisotropy : float
        How far the response is from round: the standard deviation of its magnitude on the circles, divided by its root
        mean square. 0 is round; the value is always below 1.
    separable          : bool
        Whether it is a column times a row: its rank is 1.
    factors : tuple of two tuples, or None
        The column and the row. If the entries are rational, the column consists of integers without a common factor.
    half_turn, left_right, up_down : str
        ``"symmetric"``, ``"antisymmetric"`` or ``"neither"``, under a turn by 180 degrees and the two mirrors.
    exact : bool
        Whether everything was decided without a tolerance for rounding.
    """

    shape: tuple[int, int]
    dc_gain: Number = 0
    band: str = "none"
    peak_gain: float = 0.0
    peak_frequency: float = 0.0
    order: int | None = None
    derivative: str | None = None
    direction: float | None = None
    derivative_gain: float | None = None
    smoothing: bool = False
    spread: tuple[float, float] | None = None
    sharpening: bool = False
    shift: tuple[float, float] | None = None
    identity: bool = False
    isotropic: bool = True
    anisotropy: float = 0.0
    separable: bool = False
    factors: Factors | None = None
    half_turn: str = "symmetric"
    left_right: str = "symmetric"
    up_down: str = "symmetric"
    exact: bool = True

    @property
    def sentence(self) -> str:
        """Return a description in one sentence.

        Examples
        --------
        >>> from multiconv.lessons.kernels import describe
        >>> print(describe([[1, 2, 1]]).sentence)
        A low-pass kernel of 1 x 3 that smooths (standard deviations 0 by 0.7071 pixels); DC gain 4; separable: the
        column (1) times the row (1, 2, 1); symmetric under a half turn, not isotropic (anisotropy 0.28).
        >>> print(describe([[0, 0], [0, 0]]).sentence)
        A kernel of 2 x 2 zeros: nothing passes.
        """
        size = f"{self.shape[0]} x {self.shape[1]}"
        if self.band == "none":
            return f"A kernel of {size} zeros: nothing passes."
        article = "An" if self.band == "all-pass" else "A"
        turned = f"{self.half_turn} under a half turn" if self.half_turn != "neither" else "no half-turn symmetry"
        parts = [
            f"{article} {self.band} kernel of {size} that {self._does()}",
            f"DC gain {_text(self.dc_gain)}",
            f"separable: the column {_list(self.factors[0])} times the row {_list(self.factors[1])}"
            if self.factors
            else "not separable",
            f"{turned}, {self._round()}",
        ]
        return "; ".join(parts) + "."

    @property
    def smooths_along(self) -> str | None:
        """Return along what a separable derivative smooths: ``"the columns"``, ``"the rows"``, or None.

        Examples
        --------
        >>> from multiconv.lessons.kernels import describe
        >>> describe([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]).smooths_along
        'the columns'
        >>> describe([[-1, 0, 1]]).smooths_along is None
        True
        """
        if not self.order or self.factors is None:
            return None
        column, row = map(_is_mean, self.factors)
        return "the columns" if column else "the rows" if row else None

    def _does(self) -> str:
        if self.identity:
            return "leaves the image unchanged"
        if self.shift is not None:
            return _shift_text(self.shift)
        if self.smoothing and self.spread:
            return f"smooths ({_spread_text(self.spread)})"
        if self.sharpening:
            return f"sharpens (gain {_text(self.dc_gain)} at the mean, {_text(self.peak_gain)} at most)"
        if self.derivative is not None:
            smooths = f", and smooths along {self.smooths_along}" if self.smooths_along else ""
            return f"takes {_derivative_text(self)}{smooths}"
        return f"has its largest gain, {_text(self.peak_gain)}, at {_text(self.peak_frequency)} cycles per pixel"

    def _round(self) -> str:
        return f"{'isotropic' if self.isotropic else 'not isotropic'} (anisotropy {self.anisotropy:.2f})"

    def asdict(self) -> dict[str, Any]:
        """Return a dictionary for :func:`json.dumps`, with fractions as `parse` reads them.

        Examples
        --------
        >>> from multiconv.lessons.kernels import describe, parse
        >>> describe(parse("[[1/3, 1/3, 1/3]]")).asdict()["factors"]
        [[1], ['1/3', '1/3', '1/3']]
        """
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


def table(description: KernelDescription) -> list[tuple[str, str]]:
    """Return the description as rows of a label and a value, for a terminal.

    Examples
    --------
    >>> from multiconv.lessons.kernels import describe
    >>> for label, value in table(describe([[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]])):
    ...     print(f"{label:<18} {value}")
    size               3 x 3
    DC gain            0
    band               band-pass, strongest (6) at 0.25 cycles per pixel
    derivative         the first derivative from left to right (0 degrees), times 6
    smooths            along the columns
    sharpens           no
    separable          the column (1, 1, 1) times the row (-1, 0, 1)
    isotropic          no (anisotropy 0.53)
    half turn          antisymmetric
    left-right mirror  antisymmetric
    up-down mirror     symmetric
    computed           exactly
    """
    d = description
    if d.band == "none":
        return [("size", f"{d.shape[0]} x {d.shape[1]}"), ("band", "none: all zeros")]
    rows = [
        ("size", f"{d.shape[0]} x {d.shape[1]}"),
        ("DC gain", _text(d.dc_gain)),
        ("band", f"{d.band}, strongest ({_text(d.peak_gain)}) at {_text(d.peak_frequency)} cycles per pixel"),
        ("derivative", "none" if d.derivative is None else _derivative_text(d)),
        ("smooths", _smoothing_text(d)),
        (
            "sharpens",
            f"yes, gain {_text(d.dc_gain)} at the mean, {_text(d.peak_gain)} at most" if d.sharpening else "no",
        ),
        ("separable", f"the column {_list(d.factors[0])} times the row {_list(d.factors[1])}" if d.factors else "no"),
        ("isotropic", f"{'yes' if d.isotropic else 'no'} (anisotropy {d.anisotropy:.2f})"),
        ("half turn", d.half_turn),
        ("left-right mirror", d.left_right),
        ("up-down mirror", d.up_down),
        ("computed", "exactly" if d.exact else "within the rounding of its entries, or the tolerance"),
    ]
    if d.shift is not None:
        rows.insert(3, ("shift", "none: the identity" if d.identity else _shift_text(d.shift)))
    return rows


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(element) for element in value]
    return str(value) if isinstance(value, Fraction) else value


def _text(value: Number) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _list(values: Sequence[Number]) -> str:
    return f"({', '.join(_text(value) for value in values)})"


def _is_mean(factor: Sequence[Number]) -> bool:
    """Return whether a factor averages: it has several entries that are not zero, all of one sign."""
    several = sum(k != 0 for k in factor) > 1
    return several and (all(k >= 0 for k in factor) or all(k <= 0 for k in factor))


def _smoothing_text(d: KernelDescription) -> str:
    if d.spread:
        return f"yes, {_spread_text(d.spread)}"
    return f"along {d.smooths_along}" if d.smooths_along else "no"


def _spread_text(spread: tuple[float, float]) -> str:
    return f"standard deviations {_text(spread[0])} by {_text(spread[1])} pixels"


def _shift_text(shift: tuple[float, float]) -> str:
    down, right = -shift[0], -shift[1]
    moves = [
        f"{_text(abs(by))} {forward if by > 0 else backward}"
        for by, forward, backward in ((down, "down", "up"), (right, "to the right", "to the left"))
        if by
    ]
    return f"moves the image {' and '.join(moves)}" if moves else "multiplies the image"


def _derivative_text(d: KernelDescription) -> str:
    """Describe the derivative with its direction and gain."""
    if d.direction is None:
        words = ""
    else:
        names = EDGE_DIRECTIONS if d.order == 1 else LINE_DIRECTIONS
        number, rest = divmod(d.direction, 45)
        known = abs(rest) < 1e-6
        name = names[int(number) % len(names)] if known else ""
        exact = f"{d.direction:.4g} degrees"
        named = f" from {name} ({exact})" if d.order == 1 else f" {name} ({exact})"
        words = named if known else f" at {exact}"
    times = "" if d.derivative_gain is None else f", times {_text(d.derivative_gain)}"
    article = "a" if d.derivative and d.derivative.startswith("derivative") else "the"
    return f"{article} {d.derivative}{words}{times}"
