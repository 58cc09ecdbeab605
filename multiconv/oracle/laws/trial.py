"""Run a backend on a problem and on variants of it, and give each answer its error bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from multiconv.core.backend import Backend
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Host, Shape
from multiconv.oracle.judgement import Expected, Judgement, judge
from multiconv.oracle.laws.arrays import channels_first, channels_swapped, fresh_copy, laid_out, spatial_axes
from multiconv.oracle.laws.bounded import (
    Bounded,
    error_free,
    forward_bound,
    forward_magnitude,
    kernel_magnitude,
    sum_bound,
    widened,
)
from multiconv.oracle.problem import Problem


class WrongAnswer(Exception):
    """An answer is wrong by itself: it has the wrong shape or dtype, or it is infinite or NaN."""

    def __init__(self, judgement: Judgement) -> None:
        self.judgement = judgement


class Trial:
    """A backend run on a problem: arrays are channels first, padding is in pairs, and answers have their bounds."""

    def __init__(self, backend: Backend, problem: Problem) -> None:
        self.backend, self.problem = backend, problem
        self.g = g = problem.geometry.with_layout(channels_last=False).within_reach()
        self.spec = replace(problem.spec, stride=g.stride, padding=g.pads, dilation=g.dilation)
        self.x, self.dy = (channels_first(a, problem.spec) for a in (problem.x, problem.dy))
        self.w, self.bias, self.x_bias = problem.w, problem.bias, problem.x_bias

    @cached_property
    def y(self) -> Bounded:
        """Return the answer to the problem itself."""
        return self.cross_correlate(self.x, self.w, self.bias)

    def cross_correlate(
        self, x: Host | Bounded, w: Host | Bounded, bias: Host | None = None, **changes: Any
    ) -> Bounded:
        """Cross-correlate these arrays, with the problem's options except for the changes."""
        return self._weighted(self.backend.cross_correlate, x, w, bias, replace(self.spec, **changes))

    def convolve(self, x: Host | Bounded, w: Host | Bounded, bias: Host | None = None, **changes: Any) -> Bounded:
        """Convolve these arrays, with the problem's options except for the changes."""
        return self._weighted(self.backend.convolve, x, w, bias, replace(self.spec, **changes))

    def layer(self, x: Host, w: Host, bias: Host | None, spec: ConvSpec) -> Bounded:
        """Run a layer of the backend."""

        def call(x: Host, w: Host, bias: Host | None, **options: Any) -> Any:
            return self.backend.layer(w, bias, **options)(self.backend.asarray(x))

        return self._weighted(call, x, w, bias, spec)

    def conv_transpose(self, y: Host, w: Host, bias: Host | None = None) -> Bounded:
        """Run the transposed convolution with the problem's options."""
        g = self.g
        bound = forward_bound(y, channels_swapped(w, g.groups), bias, g.groups)
        answer = self.backend.conv_transpose(
            laid_out(y, self.spec), w, bias, **asdict(self.spec), output_padding=g.output_padding
        )
        return Bounded(self._checked(answer, g.x_shape, self.spec), bound)

    def gradients(self, dy: Host) -> tuple[Bounded, Bounded, Bounded]:
        """Return dx, dw and db; db is empty if there is no bias."""
        g, dtype, bias = self.g, self.problem.dtype, self.bias
        terms = g.batch * prod(g.out)
        dx_bound = forward_bound(dy, channels_swapped(self.w, g.groups), None, g.groups)
        dw_bound = sum_bound(terms, dtype, lambda dy, x: kernel_magnitude(dy, x, g), dy, self.x)
        db_bound = sum_bound(
            terms, dtype, lambda dy, ones: (dy * ones).sum(axis=(0, *spatial_axes(dy))), dy, np.ones(())
        )
        dx, dw, db = self.backend.cross_correlate_vjp(
            laid_out(self.x, self.spec), self.w, bias, laid_out(dy, self.spec), **asdict(self.spec)
        )
        return (
            Bounded(self._checked(dx, g.x_shape, self.spec), dx_bound),
            Bounded(self._checked(dw, g.w_shape), dw_bound),
            Bounded(np.zeros(0, dtype), np.zeros(0))
            if bias is None
            else Bounded(self._checked(db, bias.shape), db_bound),
        )

    def unbounded(self, x: Host) -> Host:
        """Return the answer to the problem with another input, which may be infinite or NaN."""
        answer = self.backend.cross_correlate(laid_out(x, self.spec), self.w, self.bias, **asdict(self.spec))
        return self._formed(answer, self.g.y_shape, self.spec)

    def _weighted(
        self, call: Callable[..., Any], x: Host | Bounded, w: Host | Bounded, bias: Host | None, spec: ConvSpec
    ) -> Bounded:
        """Return an answer with its bound: its own rounding plus the propagated errors of its operands."""
        pixels, taps = (a.map(lambda b: b) if isinstance(a, Bounded) else error_free(a) for a in (x, w))
        bound = forward_bound(pixels.value, taps.value, bias, spec.groups)
        if np.any(pixels.bound):
            bound = bound + forward_magnitude(pixels.bound, np.abs(widened(taps.value)), spec.groups)
        if np.any(taps.bound):
            bound = bound + forward_magnitude(np.abs(widened(pixels.value)) + pixels.bound, taps.bound, spec.groups)
        shape = replace(spec, layout=None).resolve(pixels.value.shape, taps.value.shape).y_shape
        answer = call(
            laid_out(pixels.value, spec),
            fresh_copy(taps.value),
            None if bias is None else fresh_copy(bias),
            **asdict(spec),
        )
        return Bounded(self._checked(answer, shape, spec), bound)

    def _checked(self, answer: Any, shape: Shape, spec: ConvSpec | None = None) -> Host:
        """Return the answer of `_formed` if it is finite, which it must be where no sum can overflow."""
        host = self._formed(answer, shape, spec)
        if not np.all(np.isfinite(host)):
            index = tuple(int(i) for i in np.argwhere(~np.isfinite(host))[0])
            fault = f"element {list(index)} is {host[index]!s}, but no sum can overflow"
            raise WrongAnswer(Judgement(np.inf, fault, index))
        return host

    def _formed(self, answer: Any, shape: Shape, spec: ConvSpec | None = None) -> Host:
        """Return the answer as a NumPy array, channels first, if it has this shape and the problem's dtype.

        `spec` gives the layout of a data array. It is None for weights.
        """
        host = self.backend.to_numpy(answer)
        if spec is not None and spec.channels_last:
            shape = (shape[0], *shape[2:], shape[1])
        if host.shape != shape or host.dtype.name != self.problem.dtype:
            raise WrongAnswer(judge(host, Expected(np.zeros(shape), np.zeros(()), self.problem.dtype)))
        return host if spec is None else channels_first(host, spec)
