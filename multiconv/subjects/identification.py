"""What was found of a black box, as an object, as text and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from multiconv.core.spec import ConvSpec
from multiconv.core.types import Host, Pads, Shape
from multiconv.subjects.proof import Proof


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
        How the kernel that a function was given is used: ``"as given"``, ``"flipped along ..."``, or in another way;
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
        f"  padding: {', '.join(of.rules if len(set(of.rules)) > 1 else of.rules[:1])}",
    ]
    if of.kernel:
        lines.append(f"  the kernel is used {of.kernel}")
    if of.rules and of.rules[0] in ("same_upper", "same_lower", "other"):
        lines += [f"    at {row.size}: {row.pads}, output {row.out}" for row in of.table]
    exact = sum(p.exact for p in of.proof)
    sizes = ", ".join("x".join(map(str, p.size)) for p in of.proof)
    within = "" if exact == len(of.proof) else ", all within rounding"
    lines.append(f"  proven on fresh inputs of {sizes}: {exact} of {len(of.proof)} equal to the bit{within}")
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
