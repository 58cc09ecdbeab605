"""The search for the convolution that a black box computes, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from multiconv.core.spec import ConvSpec
from multiconv.core.types import Host, Mask, Shape
from multiconv.subjects.box import Box, Refused
from multiconv.subjects.fitting import AxisFit, Rule, fit_axis, missing_taps, named, rule_of, with_taps
from multiconv.subjects.identification import Identification, SizeRow
from multiconv.subjects.proof import border_mode, prove
from multiconv.subjects.weights import cover, groups_of, middle, of_groups, use_of_kernel

MOST_GROWTHS = 3
"""How often the image is doubled if it is too small for the kernel."""
MOST_SIZES = 16
"""The most sizes at which the padding is looked at."""


class Search:
    """One identification: the box, the size of its images, and what is known so far."""

    def __init__(self, box: Box, size: Shape) -> None:
        self.box, self.size = box, size
        self.sizes_fixed = bool(box.subject.fixed.get("size"))
        self.transposed = False
        self.masks: list[Mask] = []

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
        groups = groups_of(dense)
        w = of_groups(dense, groups)
        if self.transposed:
            w = of_groups(np.swapaxes(dense, 0, 1), groups)
        spec = replace(spec, groups=groups)
        bias = self.bias if self.bias.any() else None
        sizes = [tuple(f.out if self.transposed else f.size for f in row) for row in at_sizes]
        outs = [tuple(f.size if self.transposed else f.out for f in row) for row in at_sizes]
        proven = sizes[:1] if "other" in names else sizes
        try:
            proof = prove(box, spec, w, bias, proven, extra if self.transposed else None)
        except Refused as refused:
            raise self._at_border(fits, refused) from None
        kind = "transposed convolution" if self.transposed else "cross-correlation"
        kind, kernel = use_of_kernel(box.w, w, kind)
        rows = tuple(
            SizeRow(size, out, tuple((f.before, max(f.after, 0)) for f in row))
            for size, out, row in zip(sizes, outs, at_sizes)
        )
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
            if growth and not known and all(mask.all() for mask in self.masks):
                break  # every output sees every pixel, at two sizes
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
            if len(known) == len(fits) and all(fit.settled for fit in known) and growth > 1:
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
        fitted = [fit for fit in back if fit is not None and not fit.exceptions]
        if len(fitted) == len(back) and max(fit.stride for fit in fitted) > 1:
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
                raise _other_border(mode)
        self._not_equivariant()

    def _at_border(self, fits: Sequence[AxisFit], refused: Refused) -> Refused:
        """Return a better reason if only the outputs at the border are wrong."""
        wrong = refused.counterexample.get("wrong")
        if wrong is None or not wrong.any():
            return refused
        mode = "" if self.transposed else border_mode(self.box, fits, self.size, self.bias, self._weights)
        if mode:
            return _other_border(mode)
        middle: Any = tuple(slice(n // 4, n - n // 4) for n in wrong.shape[2:])
        if wrong[(slice(None), slice(None), *middle)].any():
            return refused
        return Refused(
            "other border", "within the image it is a convolution, but not at its border", **refused.counterexample
        )

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
            try:
                found = self._fits(size)
            except Refused as refused:
                if refused.kind == "raises":  # such as a size that is not a multiple of something
                    continue
                raise
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
            output = tuple(middle(f) for f in fits)
            y, exact = self.box.impulse_responses([(c, *output) for c in range(channels)], self.size, self.bias)
            index = np.ix_(*([i * f.stride - f.before + j * f.dilation for j in range(f.kernel)]
                             for i, f in zip(output, fits)))  # fmt: skip
            picked: Any = (slice(None), slice(None), *index)
            return np.moveaxis(y[picked], 0, 1), bool(np.broadcast_to(exact, y.shape)[picked].all())
        covers = [cover(f) for f in fits]
        pixels = list(product(*covers))
        y, exact = self.box.impulse_responses(
            [(c, *place) for c in range(channels) for place in pixels], self.size, self.bias
        )
        y = y.reshape(channels, len(pixels), *y.shape[1:])
        exact = np.broadcast_to(exact.reshape(y.shape) if exact.ndim else exact, y.shape)
        dense = np.empty((y.shape[2], channels, *(f.kernel for f in fits)), y.dtype)
        all_exact = True
        for tap in taps:
            chosen = [next(p for p, outputs in met.items() if j in outputs) for j, met in zip(tap, covers)]
            output = tuple(met[p][j] for j, p, met in zip(tap, chosen, covers))
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


def _other_border(mode: str) -> Refused:
    return Refused(
        "other border",
        f"it is a cross-correlation with {mode} padding instead of zeros: pad first, with that mode",
    )


def _transposed_pads(fits: Sequence[AxisFit]) -> tuple[tuple[int, int], int]:
    """Return what a transposed convolution cuts off, and its output padding, in the form that torch takes if it can."""
    fit = fits[0]
    cut = fit.after
    if any(f.after != cut or f.before != fit.before for f in fits):
        raise Refused("depends on the size", "what it cuts off its result depends on the size of the image")
    if cut <= fit.before and fit.before - cut < fit.stride:
        return (fit.before, fit.before), fit.before - cut
    return (fit.before, max(cut, 0)), max(-cut, 0)
