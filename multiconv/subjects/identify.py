"""What convolution is a black box? Found by impulses, and proven on fresh inputs against the exact oracle."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, combinations, product
from typing import Any

import numpy as np

from multiconv.core.spec import ConvSpec
from multiconv.core.types import Host, Pads, Shape
from multiconv.subjects.box import Box, Refused
from multiconv.subjects.fitting import AxisFit, Rule, fit_axis, missing_taps, named, rule_of, with_taps
from multiconv.subjects.forms import subject
from multiconv.subjects.proof import Proof, border_mode, prove
from multiconv.subjects.trying import settle

MOST_GROWTHS = 3
"""How often the image is doubled if it is too small for the kernel."""
MOST_SIZES = 6
"""The most sizes at which the padding is looked at."""


@dataclass(frozen=True)
class SizeRow:
    """The padding at one size.

    Attributes
    ----------
    size, out : tuple of int
    pads : tuple of (int, int)
        The number after is the least that gives this output; up to stride - 1 more change nothing.
    """

    size: Shape
    out: Shape
    pads: Pads


@dataclass(frozen=True, eq=False)
class Identification:
    """What a black box computes. `identify` creates it.

    Attributes
    ----------
    name, form : str
    convolution : bool
        Whether it is a convolution that a `multiconv.ConvSpec` describes.
    kind : str
        ``"cross-correlation"``, ``"convolution"`` (the kernel given to the function is flipped), ``"transposed
        convolution"``, or why it is none, such as ``"not linear"``.
    reason : str
        What was found, in a sentence, if it is none.
    spec : ConvSpec or None
    output_padding : tuple of int
        Of a transposed convolution.
    w, bias : array or None
        The weights in OIHW; for a transposed convolution (C_in, C_out / groups, \\*kernel).
    exact : bool
        Whether the weights are exact to the bit.
    rules : tuple of str
        Per axis, the rules that give the padding at every size: such as ``"valid"``, ``"fixed"``, ``"causal"``,
        ``"same_upper"``, or ``"other"``.
    table : tuple of SizeRow
        The padding at each size that was looked at.
    kernel : str
        How the kernel that a function was given is used: ``"as given"``, ``"flipped along ..."``, ``"otherwise"``;
        empty for a thing that has its own.
    fixed, known_by : dict
        As in `multiconv.subjects.forms.Subject`.
    proof : tuple of Proof
        Fresh inputs of several sizes, and how the answers compare with the oracle.
    counterexample : dict of str to array
        Inputs and answers that show the reason.
    calls : int
    seconds : float
    """

    name: str
    form: str
    convolution: bool
    kind: str
    reason: str = ""
    spec: ConvSpec | None = None
    output_padding: Shape = ()
    w: Host | None = None
    bias: Host | None = None
    exact: bool = False
    rules: tuple[str, ...] = ()
    table: tuple[SizeRow, ...] = ()
    kernel: str = ""
    fixed: dict[str, Any] = field(default_factory=dict)
    known_by: dict[str, str] = field(default_factory=dict)
    proof: tuple[Proof, ...] = ()
    counterexample: dict[str, Any] = field(default_factory=dict)
    calls: int = 0
    seconds: float = 0.0

    def text(self) -> str:
        """Return what was found as lines of text."""
        return "\n".join(_lines(self))

    def asdict(self) -> dict[str, Any]:
        """Return everything as a dict for JSON."""
        arrays = {
            name: None if a is None else {"shape": list(a.shape), "dtype": a.dtype.name, "values": _plain(a)}
            for name, a in (("w", self.w), ("bias", self.bias))
        }
        return {
            "schema": 1,
            "name": self.name,
            "form": self.form,
            "convolution": self.convolution,
            "kind": self.kind,
            "reason": self.reason,
            "options": None if self.spec is None else asdict(self.spec),
            "output_padding": list(self.output_padding),
            **arrays,
            "exact": self.exact,
            "rules": list(self.rules),
            "table": [asdict(row) for row in self.table],
            "kernel": self.kernel,
            "known": [
                {"name": k, "value": _simple(self.fixed[k]), "by": by}
                for k, by in self.known_by.items()
                if k in self.fixed
            ],
            "proof": [asdict(p) for p in self.proof],
            "counterexample": {
                name: {"shape": list(a.shape), "dtype": a.dtype.name, "values": _plain(a)}
                for name, a in self.counterexample.items()
            },
            "calls": self.calls,
            "seconds": round(self.seconds, 3),
        }


def identify(thing: Any, **taken: Any) -> Identification:
    """Find out which convolution a black box computes, and prove it.

    A few images with random numbers on one line show which outputs see which pixels: stride, dilation, kernel and
    padding. Impulses show the weights. The result is proven on fresh inputs of several sizes against the exact oracle.

    Parameters
    ----------
    thing : callable
        Any form that `multiconv.subject` takes.
    **taken
        What it takes for granted, as in `multiconv.subject`.

    Returns
    -------
    Identification
        If the thing is not a convolution, `Identification.reason` says why, with a counterexample.

    Raises
    ------
    UsageError
        If it can't be called, or an option does not exist.

    Examples
    --------
    >>> import multiconv as mc
    >>> w = np.float32([[[[1, 2], [3, 4]]]])
    >>> def box(x):
    ...     return mc.backend("numpy").cross_correlate(x, w, stride=2, padding="same")
    >>> found = mc.identify(box, in_channels=1)
    >>> found.kind, found.spec.stride, found.rules, bool((found.w == w).all())
    ('cross-correlation', (2, 2), ('same_upper', 'same_upper'), True)
    >>> mc.identify(lambda x: np.maximum(x, 0)).kind
    'not linear'
    """
    start = time.perf_counter()
    of = subject(thing, **taken)
    box, size = settle(of)
    try:
        found = _Search(box, size).identification()
    except Refused as refused:
        found = Identification(
            of.name, of.form, False, refused.kind, str(refused), counterexample=refused.counterexample
        )
    return replace(found, fixed=of.fixed, known_by=of.known_by, calls=box.calls, seconds=time.perf_counter() - start)


class _Search:
    """One identification: the box, the size of its images, and what is known so far."""

    def __init__(self, box: Box, size: Shape) -> None:
        self.box, self.size = box, size
        self.sizes_fixed = bool(box.subject.fixed.get("size"))
        self.transposed = False

    def identification(self) -> Identification:
        """Run all steps."""
        box = self.box
        self.bias = box.bias_at(self.size)
        box.check_repeats(self.size)
        box.check_linear(self.size, self.bias)
        fits = self._grown()
        self._check_fits(fits)
        at_sizes = self._at_sizes(fits)
        taps = [missing_taps([row[axis] for row in at_sizes]) for axis in range(len(fits))]
        at_sizes = [[with_taps(fit, *t) for fit, t in zip(row, taps)] for row in at_sizes]
        rules = [rule_of([row[axis] for row in at_sizes]) for axis in range(len(fits))]
        fits = at_sizes[0]
        dense, exact = self._weights(fits)
        spec, extra, names = self._spec(fits, rules, at_sizes)
        groups = _groups(dense)
        w = _of_groups(dense, groups)
        if self.transposed:
            w = _of_groups(np.swapaxes(dense, 0, 1), groups)
        spec = replace(spec, groups=groups)
        bias = self.bias if self.bias.any() else None
        sizes = [tuple(f.size for f in row) for row in at_sizes]
        proof = prove(
            box, spec, w, bias, sizes if "other" not in names else sizes[:1], extra if self.transposed else None
        )
        kind = "transposed convolution" if self.transposed else "cross-correlation"
        kind, kernel = _use_of_kernel(box.w, w, kind)
        rows = tuple(SizeRow(s, tuple(f.out for f in r), tuple((f.before, f.after) for f in r))
                     for s, r in zip(sizes, at_sizes))  # fmt: skip
        return Identification(
            box.subject.name, box.subject.form, True, kind, "", spec, extra, w, bias, bool(exact), names, rows, kernel,
            proof=proof,
        )  # fmt: skip

    def _grown(self) -> list[AxisFit]:
        """Fit each axis at a size that is large enough."""
        for growth in range(MOST_GROWTHS + 1):
            fits = self._fits(self.size)
            known = [fit for fit in fits if fit is not None]
            if len(known) == len(fits) and all(fit.settled and not fit.exceptions for fit in known):
                return known
            if self.sizes_fixed or growth == MOST_GROWTHS or max(self.size) > 100:
                break
            larger = tuple(
                n if fit is not None and fit.settled and not fit.exceptions else 2 * n + 1
                for n, fit in zip(self.size, fits)
            )
            try:
                self.box.bias_at(larger)
            except Refused:
                break
            if len(known) == len(fits) and all(fit.settled for fit in known) and growth:
                break
            self.size = larger
        if len(known) < len(fits):
            self._not_equivariant()
        return known

    def _fits(self, size: Shape) -> list[AxisFit | None]:
        masks = self.box.seen(size, self.bias)
        forward = [fit_axis(mask) for mask in masks]
        clean = [fit is not None and not fit.exceptions for fit in forward]
        if all(clean):
            self.transposed = False
            return forward
        back = [fit_axis(mask.T) for mask in masks]
        if all(fit is not None and not fit.exceptions for fit in back):
            self.transposed = True
            return back
        self.transposed = False
        self.masks = masks
        return forward

    def _check_fits(self, fits: Sequence[AxisFit]) -> None:
        """Refuse what sees other pixels at its border, or at some place within."""
        bad = [axis for axis, fit in enumerate(fits) if fit.exceptions]
        if not bad:
            return
        if not any(fit.interior for fit in fits):
            mode = border_mode(self.box, fits, self.size, self.bias, self._weights)
            if mode:
                raise Refused(
                    "other border", f"it is a cross-correlation with {mode} padding instead of zeros: pad first, by "
                    f"np.pad or the framework's own"
                )  # fmt: skip
        self._not_equivariant()

    def _not_equivariant(self) -> None:
        everything = all(mask.all() for mask in self.masks)
        x, shifted = self.box.zeros(2, self.size)
        middle = tuple(n // 2 for n in self.size)
        x[(slice(None), *middle)] = shifted[(slice(None), *middle[:-1], middle[-1] + 1)] = 1
        y = self.box(np.stack([x, shifted]))
        what = "every output sees every pixel" if everything else "no stride explains which outputs see which pixels"
        raise Refused("not shift-equivariant", what, x=x, y=y[0], x_shifted=shifted, y_shifted=y[1])

    def _at_sizes(self, fits: Sequence[AxisFit]) -> list[list[AxisFit]]:
        """Fit the axes at a few more sizes, so that each remainder modulo the stride is among them."""
        rows = [list(fits)]
        if self.sizes_fixed:
            return rows
        most = 2 if self.transposed else min(max(fit.stride for fit in fits), MOST_SIZES)
        for more in [*range(1, max(most, 2)), most + 2]:
            size = tuple(n + more for n in self.size)
            found = self._fits(size)
            same = all(
                f is not None and not f.exceptions
                and (f.stride, f.dilation, f.kernel) == (g.stride, g.dilation, g.kernel)
                for f, g in zip(found, fits)
            )  # fmt: skip
            if not same:
                raise Refused(
                    "depends on the size", f"it is another convolution for images of {size} than of {self.size}"
                )
            rows.append([f for f in found if f is not None])
        return rows

    def _weights(self, fits: Sequence[AxisFit]) -> tuple[Host, bool]:
        """Return the dense kernel (C_out, C_in, \\*kernel), and whether it is exact."""
        channels, taps = self.box.channels, list(product(*(range(f.kernel) for f in fits)))
        if self.transposed:
            output = tuple(_middle(f) for f in fits)
            y, exact = self.box.impulse_responses([(c, *output) for c in range(channels)], self.size, self.bias)
            index = np.ix_(*([i * f.stride - f.before + j * f.dilation for j in range(f.kernel)]
                             for i, f in zip(output, fits)))  # fmt: skip
            picked: Any = (slice(None), slice(None), *index)
            return np.moveaxis(y[picked], 0, 1), bool(np.broadcast_to(exact, y.shape)[picked].all())
        covers = [_cover(f) for f in fits]
        pixels = list(product(*(cover for cover in covers)))
        y, exact = self.box.impulse_responses(
            [(c, *place) for c in range(channels) for place in pixels], self.size, self.bias
        )
        y = y.reshape(channels, len(pixels), *y.shape[1:])
        exact = np.broadcast_to(exact.reshape(y.shape) if exact.ndim else exact, y.shape)
        dense = np.empty((y.shape[2], channels, *(f.kernel for f in fits)), y.dtype)
        all_exact = True
        for tap in taps:
            chosen = [next(p for p, outputs in cover.items() if j in outputs) for j, cover in zip(tap, covers)]
            output = tuple(cover[p][j] for j, p, cover in zip(tap, chosen, covers))
            here: Any = (slice(None), pixels.index(tuple(chosen)), slice(None), *output)
            place: Any = (slice(None), slice(None), *tap)
            dense[place] = y[here].T
            all_exact = all_exact and bool(exact[here].all())
        return dense, all_exact

    def _spec(
        self, fits: Sequence[AxisFit], rules: Sequence[Rule], at_sizes: Sequence[Sequence[AxisFit]]
    ) -> tuple[ConvSpec, Shape, tuple[str, ...]]:
        """Return the options, the output padding, and the rule of each axis."""
        stride, dilation = tuple(f.stride for f in fits), tuple(f.dilation for f in fits)
        layout = self.box.subject.layout if "N" in self.box.subject.layout else None
        if self.transposed:
            pads, extra = zip(*(_transposed_pads([row[axis] for row in at_sizes]) for axis in range(len(fits))))
            return ConvSpec(stride, tuple(pads), dilation, layout=layout), tuple(extra), ("fixed",) * len(fits)
        word = next((w for w in ("same_upper", "same_lower") if all(w in rule.words for rule in rules)), None)
        padding: Any
        symmetric = all(rule.pads is not None and rule.pads[0] == rule.pads[1] for rule in rules)
        if word is not None and max(stride) > 1 and not symmetric:
            padding, names = word, (word,) * len(fits)
        elif all(rule.pads is not None for rule in rules):
            padding = tuple(rule.pads for rule in rules)
            names = tuple(named(rule.pads, f.kernel, f.dilation) for rule, f in zip(rules, fits) if rule.pads)
        else:
            padding = tuple((f.before, max(f.after, 0)) for f in fits)
            names = tuple("other" if not rule.words else rule.words[0] for rule in rules)
            names = names if "other" in names else ("other",) * len(fits)
        return ConvSpec(stride, padding, dilation, layout=layout), (0,) * len(fits), names


def _middle(fit: AxisFit) -> int:
    """Return an output in the middle whose whole window lies within the image."""
    first = -(-max(fit.before, 0) // fit.stride)
    last = min(fit.out - 1, (fit.size + fit.before - fit.extent) // fit.stride)
    return (first + last) // 2


def _cover(fit: AxisFit) -> dict[int, dict[int, int]]:
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
        best = max(met, key=lambda pixel: len(left & met[pixel].keys()))
        chosen[best] = met[best]
        left -= met[best].keys()
    return chosen


def _transposed_pads(fits: Sequence[AxisFit]) -> tuple[tuple[int, int], int]:
    """Return what a transposed convolution cuts off, and its output padding, in the form that torch takes if it can."""
    fit = fits[0]
    cut = fit.after
    if any(f.after != cut or f.before != fit.before for f in fits):
        raise Refused("depends on the size", "what it cuts off its result depends on the size of the image")
    if cut <= fit.before and fit.before - cut < fit.stride:
        return (fit.before, fit.before), fit.before - cut
    return (fit.before, max(cut, 0)), max(-cut, 0)


def _groups(dense: Host) -> int:
    """Return the largest number of groups outside of which a kernel (C_out, C_in, \\*kernel) is zero."""
    out, channels = dense.shape[:2]
    used = (dense != 0).reshape(out, channels, -1).any(axis=-1)
    for groups in range(min(out, channels), 1, -1):
        if out % groups == 0 and channels % groups == 0:
            mask = np.kron(np.eye(groups, dtype=bool), np.ones((out // groups, channels // groups), bool))
            if not (used & ~mask).any():
                return groups
    return 1


def _of_groups(dense: Host, groups: int) -> Host:
    """Return a dense kernel without the zeros between groups."""
    out, channels = dense.shape[0] // groups, dense.shape[1] // groups
    parts = [dense[g * out : (g + 1) * out, g * channels : (g + 1) * channels] for g in range(groups)]
    return np.ascontiguousarray(np.concatenate(parts))


def _use_of_kernel(given: Host | None, found: Host, kind: str) -> tuple[str, str]:
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
    return kind, "otherwise"


def _plain(array: Host) -> Any:
    return array.astype(np.float64).tolist()


def _simple(value: Any) -> Any:
    return list(map(_simple, value)) if isinstance(value, (tuple, list)) else value


def _lines(of: Identification) -> list[str]:
    if not of.convolution:
        return [f"{of.name} ({of.form}) is not a convolution: {of.kind}.", f"  {of.reason}", *_known(of)]
    assert of.spec is not None
    assert of.w is not None
    options = [
        f"{name}={_short(value)}" for name, value in vars(of.spec).items() if value is not None and name != "layout"
    ]
    if any(of.output_padding):
        options.append(f"output_padding={_short(of.output_padding)}")
    bias = "no bias" if of.bias is None else f"a bias {of.bias.shape}"
    lines = [
        f"{of.name} ({of.form}) is a {of.kind}: {', '.join(options)}",
        f"  weights {of.w.shape} in {of.w.dtype.name}, {'exact to the bit' if of.exact else 'rounded'}, and {bias}",
        f"  padding: {', '.join(dict.fromkeys(of.rules))}"
        + ("" if len(set(of.rules)) < 2 and "other" not in of.rules else f" ({', '.join(of.rules)})"),
    ]
    if of.kernel:
        lines.append(f"  the kernel is used {of.kernel}")
    if of.rules and of.rules[0] in ("same_upper", "same_lower", "other"):
        lines += [f"    at {row.size}: {row.pads}, output {row.out}" for row in of.table]
    exact = sum(p.exact for p in of.proof)
    sizes = ", ".join("x".join(map(str, p.size)) for p in of.proof)
    lines.append(
        f"  proven on fresh inputs of {sizes}: {exact} of {len(of.proof)} equal to the bit"
        + ("" if exact == len(of.proof) else ", the others within rounding")
    )
    return [*lines, *_known(of), f"  {of.calls} calls, {of.seconds:.1f} s"]


def _known(of: Identification) -> list[str]:
    names: dict[str, list[str]] = {}
    for name, by in of.known_by.items():
        if name in of.fixed and name in ("in_channels", "ndim", "layout", "dtype", "size", "arrays", "kernel_layout"):
            names.setdefault(by, []).append(f"{name}={of.fixed[name]}")
    words = {"read": "read from it", "told": "told", "tried": "found by trying"}
    return [f"  {words[by]}: {', '.join(what)}" for by, what in names.items()]


def _short(value: Any) -> str:
    if isinstance(value, tuple) and value and all(v == value[0] for v in value):
        value = value[0] if not isinstance(value[0], tuple) or value[0][0] != value[0][1] else value[0][0]
        return str(value) if not isinstance(value, tuple) else f"{value} on each axis"
    return str(value)
