"""Describe a kernel in words and numbers: the frequencies it passes, its derivative, smoothing and structure.

A kernel is applied as in the frameworks, by cross-correlation: ``Y[i, j] = sum X[i + a, j + b] K[a, b]``. Its column
index ``b`` grows to the right (x), and its row index ``a`` downwards. Angles are in degrees, counter-clockwise from
"left to right", so that 90 is "bottom to top".

A kernel of rational numbers is described exactly: a sum vanishes only if it is exactly 0. A kernel of other floats is
treated as real numbers after a few roundings. Its sums vanish if they are at most ``gamma`` of `ROUNDINGS` times the
sum of the terms' magnitudes ([1]_, section 3.1).

References
----------
.. [1] N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., SIAM 2002.
.. [2] B. Jaehne, "Digital Image Processing", 6th ed., Springer 2005, chapters 11 (averaging) and 12 (edges).
.. [3] R. C. Gonzalez, R. E. Woods, "Digital Image Processing", 4th ed., Pearson 2018, sections 3.4-3.7.
.. [4] S. W. Smith, "The Scientist and Engineer's Guide to Digital Signal Processing", California Technical Publishing
   1997, chapter 14, for the four bands and their edge at -3 dB.
.. [5] W. T. Freeman, E. H. Adelson, "The design and use of steerable filters", IEEE Trans. Pattern Anal. Mach. Intell.
   13 (1991) 891-906.
"""

from __future__ import annotations

import json
import re
import reprlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from math import atan2, comb, cos, degrees, gcd, hypot, lcm, radians, sin, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from multiconv.core.errors import UsageError

Number = int | Fraction | float
Floats = npt.NDArray[np.float64]
Rows = list[list[Fraction]]
Factors = tuple[tuple[Number, ...], tuple[Number, ...]]

# Roundings of an entry computed by a formula: a function, a product, a sum and a quotient, times two.
ROUNDINGS = 8
# Largest allowed sum of a kernel's magnitudes, so that no moment overflows.
LARGEST_SUM = 10**300
# A frequency passes if its power is at least this share of the strongest circle's: -3 dB ([4]).
HALF_POWER = 0.5
# Frequency circles from 0 to 1/2 cycle per pixel (Nyquist for rows and columns), and directions on each.
CIRCLES = 32
DIRECTIONS = 32
# Powers closer than this are equal: far above the float64 rounding of the sums, far below a real difference.
TIE = 2.0**-30

TOWARDS = (
    "left to right",
    "bottom left to top right",
    "bottom to top",
    "bottom right to top left",
    "right to left",
    "top right to bottom left",
    "top to bottom",
    "top left to bottom right",
)
ALONG = ("along the rows", "along the rising diagonal", "along the columns", "along the falling diagonal")

NUMBER = re.compile(r"[+-]?(\d{1,400}/\d{1,400}|(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,3})?)")


@dataclass(frozen=True)
class KernelDescription:
    """The result of `describe`. The defaults describe a kernel of zeros.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns; a kernel of one axis has one row.
    dc_gain : int, Fraction or float
        The sum of the entries: the response to a constant image of 1.
    band : str
        ``"low-pass"``, ``"high-pass"``, ``"band-pass"``, ``"band-stop"``, ``"all-pass"``, or ``"none"`` for zeros.
    peak_gain, peak_frequency : float
        The largest magnitude of the frequency response on the circles, and the lowest frequency at which it occurs, in
        cycles per pixel.
    order : int or None
        Order of the first moment that is not zero, which is the order of the derivative that the kernel takes. 0 if it
        takes none; None for zeros.
    derivative : str or None
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
    isotropic : bool
        Whether a quarter turn and transposition leave it unchanged. A square grid allows no more.
    anisotropy : float
        How far the response is from round: the standard deviation of its magnitude on the circles, divided by its root
        mean square. 0 is round; the value is always below 1.
    separable : bool
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
        turned = (
            f"{self.half_turn} under a half turn" if self.half_turn != "neither" else "without symmetry of a half turn"
        )
        parts = [
            f"{article} {self.band} kernel of {size} that {self._does()}",
            f"DC gain {_text(self.dc_gain)}",
            f"separable: the column {_list(self.factors[0])} times the row {_list(self.factors[1])}"
            if self.factors
            else "not separable",
            f"{turned}, {self._round()}",
        ]
        return "; ".join(parts) + "."

    def _does(self) -> str:
        if self.identity:
            return "leaves the image as it is"
        if self.shift is not None:
            return _shift_text(self.shift)
        if self.smoothing and self.spread:
            return f"smooths ({_spread_text(self.spread)})"
        if self.sharpening:
            return f"sharpens (from {_text(self.dc_gain)} for the mean up to {_text(self.peak_gain)})"
        if self.derivative is not None:
            return f"takes {_derivative_text(self)}"
        return f"passes {_text(self.peak_gain)} at most, at {_text(self.peak_frequency)} cycles a pixel"

    def _round(self) -> str:
        return f"{'isotropic' if self.isotropic else 'not isotropic'} (anisotropy {self.anisotropy:.2f})"

    def asdict(self) -> dict[str, Any]:
        """Return a dictionary for :func:`json.dumps`, with fractions as `parse` reads them.

        Examples
        --------
        >>> describe(parse("[[1/3, 1/3, 1/3]]")).asdict()["factors"]
        [[1], ['1/3', '1/3', '1/3']]
        """
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


def describe(kernel: Any, *, tolerance: float = 0.0) -> KernelDescription:
    """Describe what a kernel does, from its numbers.

    **Band.** The frequency response is ``H(f) = sum K[a, b] exp(-2 pi i f . (x, y))``. The DFT of the zero-padded
    kernel samples it. It is computed in `DIRECTIONS` directions on `CIRCLES` circles around 0, out to 1/2 cycle per
    pixel. The power ``|H|^2`` is averaged over each circle. A kernel whose entries lie in one row or column is a filter
    along one axis, and its response is computed along this axis only. A circle passes if its power is at least
    `HALF_POWER` times the strongest circle's. The circles 0 and 1/2 decide the band [4]_. If both pass it is an
    all-pass, or a band-stop if a circle between them does not pass. If only 0 passes it is a low-pass; only 1/2, a
    high-pass; neither, a band-pass. So a central difference, such as Sobel's, is a band-pass: it stops 1/2 as well as 0
    ([2]_, section 12.2). A kernel that amplifies high frequencies (a high-boost filter, [3]_, section 3.6) is
    `sharpening`. By this rule it is also a high-pass if the mean is 3 dB below the strongest circle.

    **Derivative.** The order is ``p + q`` of the first moment ``sum K x^p y^q`` that is not zero. A Taylor series shows
    that the response to a polynomial of that degree depends only on these moments, wherever the origin is ([2]_,
    section 12.2). The first moments give the direction. The second moments form a symmetric matrix: a multiple of the
    identity is the Laplacian, rank 1 is a second derivative along a line, and trace 0 is a mixed one.

    **Structure.** Symmetries and isotropy are those of the kernel without the zero rows and columns at its edges. In
    rational arithmetic, its rank is 1 if every row is a multiple of the first row that is not zero. For floats, its
    rank is 1 if the second singular value is at most ``gamma`` of `ROUNDINGS` and the size, times the Frobenius norm
    ([1]_, section 6.2, Weyl's inequality).

    Parameters
    ----------
    kernel : array-like of real numbers, shape (w,) or (h, w)
        Integers, fractions and floats.
    tolerance : float
        For a measured or learned kernel: a sum also vanishes if it is at most this fraction of the sum of its terms'
        magnitudes.

    Returns
    -------
    KernelDescription

    Raises
    ------
    UsageError
        If `kernel` is not such an array, is empty, or has an element that is not finite; or if `tolerance` is not in
        [0, 1).

    Examples
    --------
    >>> sobel = describe([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    >>> sobel.band, sobel.order, sobel.direction, sobel.derivative_gain, sobel.dc_gain
    ('band-pass', 1, 0.0, 8.0, 0)
    >>> sobel.factors
    ((1, 2, 1), (-1, 0, 1))
    >>> describe([[0, 1, 0], [1, -4, 1], [0, 1, 0]]).derivative
    'Laplacian'
    """
    if not 0 <= tolerance < 1:
        raise UsageError(f"tolerance must be in [0, 1), not {tolerance!r}")
    given, u = _entries(kernel)
    slack = max(Fraction(tolerance), Fraction(ROUNDINGS * u / (1 - ROUNDINGS * u)))
    largest = max(abs(k) for row in given for k in row)
    shape = (len(given), len(given[0]))
    if largest == 0:
        return KernelDescription(shape)
    rows = [[k / largest for k in row] for row in given]
    core, (top, left) = _core(rows, slack)
    scale = float(largest)
    dc = sum((k for row in given for k in row), Fraction(0))
    magnitudes = _magnitudes(rows)
    profile = _profile(rows, core, magnitudes)
    alone = len(core) == len(core[0]) == 1
    shift = (float(top - Fraction(shape[0] - 1, 2)), float(left - Fraction(shape[1] - 1, 2))) if alone else None
    order, derivative, direction, gain = _derivative(rows, slack)
    half_turn, left_right, up_down = _symmetries(core, slack)
    smoothing = not alone and all(k >= -slack for row in rows for k in row)
    factors = _factors(given, slack)
    return KernelDescription(
        shape=shape,
        dc_gain=float(dc) if u else _number(dc),
        band=_band(profile),
        peak_gain=float(magnitudes.max()) * scale,
        peak_frequency=_peak_frequency(magnitudes),
        order=order,
        derivative=derivative,
        direction=direction,
        derivative_gain=None if gain is None else gain * scale,
        smoothing=smoothing,
        spread=_spread(rows) if smoothing else None,
        sharpening=order == 0 and dc > 0 and half_turn == "symmetric" and _sharpens(magnitudes),
        shift=shift,
        identity=shift == (0, 0) and abs(dc - 1) <= slack,
        isotropic=_isotropic(core, slack),
        anisotropy=_anisotropy(magnitudes),
        separable=factors is not None,
        factors=factors,
        half_turn=half_turn,
        left_right=left_right,
        up_down=up_down,
        exact=slack == 0,
    )


def describe_all(kernels: Any, *, tolerance: float = 0.0) -> list[KernelDescription]:
    """Describe each kernel of a stack, such as the weight of a layer.

    Parameters
    ----------
    kernels : array-like of real numbers, shape (..., h, w)
    tolerance : float
        As for `describe`.

    Raises
    ------
    UsageError
        If `kernels` has fewer than three axes or is empty, or if an element of the stack is not a valid kernel.

    Examples
    --------
    >>> [d.band for d in describe_all([[[1, 1]], [[-1, 1]]])]
    ['low-pass', 'high-pass']
    """
    stack = _array(kernels)
    if stack.ndim < 3 or stack.size == 0:
        raise UsageError(f"a stack of kernels has three axes or more and none empty, but its shape is {stack.shape}")
    return [describe(one, tolerance=tolerance) for one in stack.reshape(-1, *stack.shape[-2:])]


def table(description: KernelDescription) -> list[tuple[str, str]]:
    """Return the description as rows of a label and a value, for a terminal.

    Examples
    --------
    >>> for what, value in table(describe([[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]])):
    ...     print(f"{what:<15} {value}")
    size            3 x 3
    DC gain         0
    band            band-pass, strongest (6) at 0.25 cycles a pixel
    derivative      the first derivative from left to right (0 degrees), times 6
    smooths         no
    sharpens        no
    separable       the column (1, 1, 1) times the row (-1, 0, 1)
    isotropic       no (anisotropy 0.53)
    half turn       antisymmetric
    left to right   antisymmetric
    upside down     symmetric
    decided         exactly
    """
    d = description
    if d.band == "none":
        return [("size", f"{d.shape[0]} x {d.shape[1]}"), ("band", "none: all zeros")]
    rows = [
        ("size", f"{d.shape[0]} x {d.shape[1]}"),
        ("DC gain", _text(d.dc_gain)),
        ("band", f"{d.band}, strongest ({_text(d.peak_gain)}) at {_text(d.peak_frequency)} cycles a pixel"),
        ("derivative", "none" if d.derivative is None else _derivative_text(d)),
        ("smooths", f"yes, {_spread_text(d.spread)}" if d.spread else "no"),
        ("sharpens", f"yes, from {_text(d.dc_gain)} up to {_text(d.peak_gain)}" if d.sharpening else "no"),
        ("separable", f"the column {_list(d.factors[0])} times the row {_list(d.factors[1])}" if d.factors else "no"),
        ("isotropic", f"{'yes' if d.isotropic else 'no'} (anisotropy {d.anisotropy:.2f})"),
        ("half turn", d.half_turn),
        ("left to right", d.left_right),
        ("upside down", d.up_down),
        ("decided", "exactly" if d.exact else "within the rounding of its entries, or the tolerance"),
    ]
    if d.shift is not None:
        rows.insert(3, ("shift", "none: the identity" if d.identity else _shift_text(d.shift)))
    return rows


def parse(text: str) -> npt.NDArray[np.object_]:
    """Parse a kernel from nested JSON lists of numbers or fractions, with or without quotation marks.

    Decimals are exact: ``0.1`` is one tenth, not the nearest float.

    Returns
    -------
    array of Fraction
        ``.astype(float)`` converts it to floats.

    Raises
    ------
    UsageError
        If the text is not a list of numbers, or its rows have different lengths.

    Examples
    --------
    >>> parse("[[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]").astype(int)
    array([[-1,  0,  1],
           [-2,  0,  2],
           [-1,  0,  1]])
    >>> sum(parse('[1/9, "1/9", 0.1]'))
    Fraction(29, 90)
    >>> parse("[[1, 2], [3]]")
    Traceback (most recent call last):
    multiconv.UsageError: the rows of a kernel must be equally long: [[1, 2], [3]]
    """
    quoted = re.sub(r"[^\[\],\s][^\[\],]*", lambda m: json.dumps(m[0].strip()), text.replace('"', ""))
    try:
        lists = json.loads(quoted)
    except (json.JSONDecodeError, RecursionError):
        lists = None
    if not isinstance(lists, list):
        raise UsageError(f"a kernel is written as [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], not {reprlib.repr(text)}")
    try:
        words = np.array(lists, dtype=object)
    except ValueError:
        raise UsageError(f"the rows of a kernel must be equally long: {text.strip()}") from None
    if words.size == 0 or any(isinstance(word, list) for word in words.flat):
        raise UsageError(f"the rows of a kernel must be equally long, and not empty: {text.strip()}")
    numbers = np.array([_fraction(word) for word in words.flat], dtype=object)
    return numbers.reshape(words.shape)


def directional_edge(angle: float, size: int = 3) -> Floats:
    """Return the kernel of a first derivative in a direction, smoothed across it.

    Its response to a slope of 1 that rises in this direction is 1.

    The kernel is ``cos(angle) s d^T + sin(angle) d s^T``. Here ``s`` is the row of Pascal's triangle divided by its
    sum, and ``d`` the difference of the row before it. For size 3 these are Sobel's two kernels, steered as in [5]_ for
    a Gaussian's.

    Parameters
    ----------
    angle : float
        Direction in degrees, counter-clockwise from "left to right".
    size : int
        Length of both axes, at least 2.

    Raises
    ------
    UsageError
        If the size is not an integer of at least 2, or the angle is not finite.

    Examples
    --------
    >>> directional_edge(0) * 8
    array([[-1.,  0.,  1.],
           [-2.,  0.,  2.],
           [-1.,  0.,  1.]])
    >>> describe(directional_edge(30, size=5)).direction
    30.0
    """
    _require_size(size, 2)
    s, d = _binomial(size), np.convolve([-1.0, 1.0], _binomial(size - 1))
    along, up = _unit_vector(angle)
    return along * np.outer(s, d) + up * np.outer(-d, s)


def second_derivative(angle: float, size: int = 3) -> Floats:
    """Return the kernel of a second derivative along a line, smoothed across it.

    Its response to the parabola ``x^2 / 2`` along the line is 1.

    The kernel is ``cos^2 Kxx + 2 cos sin Kxy + sin^2 Kyy``. Its three kernels are built as in `directional_edge` and
    steered as in [5]_.

    Parameters
    ----------
    angle : float
        Angle of the line in degrees: 0 is along the rows (axis 1), 90 along the columns (axis 0).
    size : int
        Length of both axes, at least 3.

    Raises
    ------
    UsageError
        If the size is not an integer of at least 3, or the angle is not finite.

    Examples
    --------
    >>> second_derivative(90) * 4
    array([[ 1.,  2.,  1.],
           [-2., -4., -2.],
           [ 1.,  2.,  1.]])
    >>> describe(second_derivative(0) + second_derivative(90)).derivative
    'Laplacian'
    """
    _require_size(size, 3)
    s, d = _binomial(size), np.convolve([-1.0, 1.0], _binomial(size - 1))
    dd = np.convolve([1.0, -2.0, 1.0], _binomial(size - 2))
    along, up = _unit_vector(angle)
    return along**2 * np.outer(s, dd) + 2 * along * up * np.outer(-d, d) + up**2 * np.outer(dd, s)


def blur(size: int, sigma: float | None = None) -> Floats:
    """Return a weighted mean of the neighbours: binomial or sampled Gaussian weights, whose sum is 1.

    Binomial weights of ``size`` entries have variance ``(size - 1) / 4`` and approach a Gaussian ([2]_, section 11.4).

    Parameters
    ----------
    size : int
        Length of both axes, at least 1.
    sigma : float, optional
        Standard deviation of the Gaussian in pixels; default binomial weights.

    Raises
    ------
    UsageError
        If the size is not an integer of at least 1, or sigma is not positive and finite.

    Examples
    --------
    >>> blur(3) * 16
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    >>> blur(5, sigma=1)[2].round(3)
    array([0.022, 0.098, 0.162, 0.098, 0.022])
    """
    _require_size(size, 1)
    if sigma is None:
        return np.outer(_binomial(size), _binomial(size))
    if not 0 < sigma < float("inf"):
        raise UsageError(f"sigma must be positive and finite, not {sigma!r}")
    squares = (np.arange(size) - (size - 1) / 2) ** 2
    weights = np.exp((squares.min() - squares) / (2 * sigma**2))
    return np.outer(weights / weights.sum(), weights / weights.sum())


def _require_size(size: int, least: int) -> None:
    if not isinstance(size, int) or isinstance(size, bool) or size < least:
        raise UsageError(f"size must be an integer of {least} or more, not {size!r}")


def _binomial(size: int) -> Floats:
    """Return a row of Pascal's triangle divided by its sum."""
    return np.array([float(Fraction(comb(size - 1, k), 2 ** (size - 1))) for k in range(size)])


def _unit_vector(angle: float) -> tuple[float, float]:
    """Return the components to the right and up, exact for multiples of 90 degrees."""
    if not abs(angle) < float("inf"):
        raise UsageError(f"angle must be finite, not {angle!r}")
    quarters, rest = divmod(angle % 360, 90)
    right, up = cos(radians(rest)), sin(radians(rest))
    return [(right, up), (-up, right), (-right, -up), (up, -right)][int(quarters) % 4]


def _array(kernel: Any) -> npt.NDArray[Any]:
    if isinstance(kernel, (str, bytes)):
        raise UsageError(f"a kernel is rows of numbers, not the text {reprlib.repr(kernel)}: kernels.parse reads text")
    try:
        array = np.asarray(kernel)
    except ValueError:
        raise UsageError(f"the rows of a kernel must be equally long: {reprlib.repr(kernel)}") from None
    if array.dtype.kind not in "biufO":
        raise UsageError(f"a kernel is of real numbers, not of {array.dtype}: {reprlib.repr(array.tolist())}")
    return array


def _entries(kernel: Any) -> tuple[Rows, float]:
    """Return the rows unchanged, and the unit roundoff of their format; 0 for rational numbers."""
    array = _array(kernel)
    if array.ndim not in (1, 2):
        raise UsageError(
            f"a kernel has one or two axes, but the shape of this is {array.shape}: "
            "multiconv.lessons.kernels.describe_all takes a stack"
        )
    if array.size == 0:
        raise UsageError(f"a kernel has at least one element, but the shape of this is {array.shape}")
    rows = [[_fraction(value) for value in row] for row in np.atleast_2d(array).tolist()]
    if sum(abs(k) for row in rows for k in row) > LARGEST_SUM:
        raise UsageError(f"the entries of a kernel must not sum to more than 1e300: {reprlib.repr(array.tolist())}")
    if all(k.denominator == 1 for row in rows for k in row):
        return rows, 0.0
    if array.dtype.kind == "f":
        return rows, float(np.finfo(array.dtype).eps) / 2
    rounded = array.dtype.kind == "O" and any(isinstance(value, (float, np.floating)) for value in array.flat)
    return rows, sys.float_info.epsilon / 2 if rounded else 0.0


def _fraction(value: Any) -> Fraction:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, str) and not NUMBER.fullmatch(value):
        raise UsageError(f"{reprlib.repr(value)} is no number: 2, -0.5, 1e-3 and 1/9 are")
    try:
        return Fraction(value)
    except ZeroDivisionError:
        raise UsageError(f"{reprlib.repr(value)} divides by zero") from None
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"an entry of a kernel must be a finite real number, not {reprlib.repr(value)}") from None


def _core(rows: Rows, slack: Fraction) -> tuple[Rows, tuple[int, int]]:
    """Return the kernel without the zero rows and columns at its edges, and the position of its first entry."""
    inside = [(a, b) for a, row in enumerate(rows) for b, k in enumerate(row) if abs(k) > slack]
    top, bottom = min(a for a, _ in inside), max(a for a, _ in inside)
    left, right = min(b for _, b in inside), max(b for _, b in inside)
    return [row[left : right + 1] for row in rows[top : bottom + 1]], (top, left)


def _magnitudes(rows: Rows) -> Floats:
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


def _profile(rows: Rows, core: Rows, magnitudes: Floats) -> Floats:
    """Return the mean power of each circle; for a single row or column, the power along it."""
    if len(core) == 1:
        return magnitudes[:, 0] ** 2
    if len(core[0]) == 1:
        return magnitudes[:, DIRECTIONS // 2] ** 2
    power: Floats = np.mean(magnitudes**2, axis=1)
    return power


def _band(profile: Floats) -> str:
    passes = profile >= HALF_POWER * profile.max() * (1 - TIE)
    if passes[0] and passes[-1]:
        return "all-pass" if passes.all() else "band-stop"
    if passes[0]:
        return "low-pass"
    return "high-pass" if passes[-1] else "band-pass"


def _peak_frequency(magnitudes: Floats) -> float:
    circle = int(np.argmax((magnitudes >= magnitudes.max() * (1 - TIE)).any(axis=1)))
    return circle / (2 * CIRCLES)


def _sharpens(magnitudes: Floats) -> bool:
    mean = magnitudes[0, 0]
    return bool(magnitudes.min() >= mean * (1 - TIE) and magnitudes.max() > mean * (1 + TIE))


def _anisotropy(magnitudes: Floats) -> float:
    differences = magnitudes - magnitudes.mean(axis=1, keepdims=True)
    return round(float(np.sqrt((differences**2).sum() / (magnitudes**2).sum())), 9)


def _moment(rows: Rows, p: int, q: int) -> tuple[Fraction, Fraction]:
    """Return ``sum K x^p y^q`` about the middle, with y upwards, and the sum of the terms' magnitudes."""
    x0, y0 = Fraction(len(rows[0]) - 1, 2), Fraction(len(rows) - 1, 2)
    terms = [k * (b - x0) ** p * (y0 - a) ** q for a, row in enumerate(rows) for b, k in enumerate(row)]
    return sum(terms, Fraction(0)), sum(map(abs, terms), Fraction(0))


def _derivative(rows: Rows, slack: Fraction) -> tuple[int | None, str | None, float | None, float | None]:
    """Return the order, the name, the direction and the gain of the derivative."""
    for order in range(len(rows) + len(rows[0]) - 1):
        found = [_moment(rows, order - q, q) for q in range(order + 1)]
        moments = [m if abs(m) > slack * magnitude else Fraction(0) for m, magnitude in found]
        if any(moments):
            break
    else:
        return None, None, None, None
    if order == 0:
        return 0, None, None, None
    if order == 1:
        x, y = float(moments[0]), float(moments[1])
        return 1, "first derivative", round(degrees(atan2(y, x)), 9) % 360, hypot(x, y)
    if order == 2:
        return 2, *_second(moments, [magnitude for _, magnitude in found], slack)
    return order, f"derivative of order {order}", None, None


def _second(
    moments: Sequence[Fraction], magnitudes: Sequence[Fraction], slack: Fraction
) -> tuple[str, float | None, float]:
    """Classify a second derivative by the matrix of its second moments.

    The error of each moment is at most its magnitude times the slack.
    """
    xx, xy, yy = moments
    error_xx, error_xy, error_yy = (slack * magnitude for magnitude in magnitudes)
    if xy == 0 and abs(xx - yy) <= error_xx + error_yy:
        return "Laplacian", None, float(xx + yy) / 4
    values, vectors = np.linalg.eigh(np.array([[float(xx), float(xy)], [float(xy), float(yy)]]))
    if abs(xx * yy - xy * xy) <= error_xx * abs(yy) + error_yy * abs(xx) + 2 * error_xy * abs(xy):
        name, principal = "second derivative", int(np.argmax(np.abs(values)))
    elif abs(xx + yy) <= error_xx + error_yy:
        name, principal = "mixed second derivative", 1
    else:
        name, principal = "unequal second derivatives", int(np.argmax(np.abs(values)))
    line = degrees(atan2(vectors[1, principal], vectors[0, principal]))
    return name, round(line, 9) % 180, float(values[principal]) / 2


def _spread(rows: Rows) -> tuple[float, float]:
    total, x, y = (float(_moment(rows, p, q)[0]) for p, q in ((0, 0), (1, 0), (0, 1)))
    xx, yy = float(_moment(rows, 2, 0)[0]), float(_moment(rows, 0, 2)[0])
    return sqrt(max(0.0, yy / total - (y / total) ** 2)), sqrt(max(0.0, xx / total - (x / total) ** 2))


def _symmetries(core: Rows, slack: Fraction) -> tuple[str, str, str]:
    upside_down, mirrored = core[::-1], [row[::-1] for row in core]
    half_turned = [row[::-1] for row in upside_down]
    return _parity(core, half_turned, slack), _parity(core, mirrored, slack), _parity(core, upside_down, slack)


def _parity(core: Rows, other: Rows, slack: Fraction) -> str:
    if _same(core, other, slack):
        return "symmetric"
    return "antisymmetric" if _same(core, [[-k for k in row] for row in other], slack) else "neither"


def _isotropic(core: Rows, slack: Fraction) -> bool:
    transposed = [list(column) for column in zip(*core)]
    return _same(core, transposed, slack) and _same(core, transposed[::-1], slack)


def _same(one: Rows, other: Rows, slack: Fraction) -> bool:
    """Compare two kernels entry by entry; the largest magnitude of each is 1."""
    if (len(one), len(one[0])) != (len(other), len(other[0])):
        return False
    return all(abs(a - b) <= 2 * slack for row, column in zip(one, other) for a, b in zip(row, column))


def _factors(rows: Rows, slack: Fraction) -> Factors | None:
    """Return the column and the row whose product is the kernel; None if its rank is not 1."""
    if slack:
        return _nearest_factors(rows, float(slack))
    first = next(row for row in rows if any(row))
    pivot = next(b for b, k in enumerate(first) if k)
    column = [row[pivot] / first[pivot] for row in rows]
    if any(k != c * f for row, c in zip(rows, column) for k, f in zip(row, first)):
        return None
    common = Fraction(gcd(*(c.numerator for c in column)), lcm(*(c.denominator for c in column)))
    return tuple(_number(c / common) for c in column), tuple(_number(f * common) for f in first)


def _nearest_factors(rows: Rows, slack: float) -> Factors | None:
    kernel = np.array([[float(k) for k in row] for row in rows])
    u, values, v = np.linalg.svd(kernel)
    rounding = max(kernel.shape) * sys.float_info.epsilon
    if len(values) > 1 and values[1] > (slack + rounding) * np.linalg.norm(kernel):
        return None
    largest = u[np.argmax(np.abs(u[:, 0])), 0]
    column, row = u[:, 0] / largest, v[0] * values[0] * largest
    return _rounded_off(column, slack + rounding), _rounded_off(row, slack + rounding)


def _rounded_off(factor: Floats, slack: float) -> tuple[float, ...]:
    """Replace rounding errors by 0."""
    smallest = slack * np.abs(factor).max()
    return tuple(float(k) if abs(k) > smallest else 0.0 for k in factor)


def _number(value: Fraction) -> Number:
    """Convert a whole fraction to an int."""
    return int(value) if value.denominator == 1 else value


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(element) for element in value]
    return str(value) if isinstance(value, Fraction) else value


def _text(value: Number) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _list(values: Sequence[Number]) -> str:
    return f"({', '.join(_text(value) for value in values)})"


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
        names = TOWARDS if d.order == 1 else ALONG
        number, rest = divmod(d.direction, 45)
        known = abs(rest) < 1e-6
        name = names[int(number) % len(names)] if known else ""
        exact = f"{d.direction:.4g} degrees"
        named = f" from {name} ({exact})" if d.order == 1 else f" {name} ({exact})"
        words = named if known else f" at {exact}"
    times = "" if d.derivative_gain is None else f", times {_text(d.derivative_gain)}"
    article = "a" if d.derivative and d.derivative.startswith("derivative") else "the"
    return f"{article} {d.derivative}{words}{times}"
