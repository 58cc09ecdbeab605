"""Wrong convolutions that a person could write: NumPy's backend with one fault each.

They show how good the judgement is: `benchmarks/kill_matrix.py` runs the oracle, each law and the check on them.
A mutant is a function of a `Call`. What it does not spoil it leaves to `right`. Those in `SUBTLE` are right on nearly
every problem: only a rare shape, value, view or series of calls shows the fault.
"""

from mutants import plain, subtle_calls, subtle_shapes, subtle_values
from mutants.machinery import MUTANTS, Call, Mutant, as_function, right, wrong_directions

SUBTLE = tuple(m for m in MUTANTS if m.wrong.__module__ != plain.__name__)

OUT_OF_REACH = {
    "byte order ignored": "arrays of foreign byte order are not drawn: the interface makes them native first",
    "broadcast input misread": "views that repeat elements (strides of 0) are not drawn: their values would be equal",
    "bfloat16 cut off": "it is wrong in bfloat16 only, which is drawn where it is asked for",
}
"""Why the check does not find a mutant."""
NOT_ASKED_OF_CANDIDATES = {
    "same as in torch": "a candidate gets padding in pairs, not in words",
    "same lower is upper": "a candidate gets padding in pairs, not in words",
    "same is lower": "a candidate gets padding in pairs, not in words",
    "same ignores dilation": "a candidate gets padding in pairs, not in words",
    "full one short": "a candidate gets padding in pairs, not in words",
    "reshaped to channels last": "a candidate gets channels first",
    "reshaped from nwc": "a candidate gets channels first",
    "wrong channels last": "a candidate gets channels first",
    "empty batch of one": "a candidate is not asked about a batch of zero",
    "read only input refused": "a candidate may refuse a view, if it is right on a copy",
}
"""Why the check does not find a mutant as a candidate, though it does as a backend."""

__all__ = [
    "MUTANTS",
    "NOT_ASKED_OF_CANDIDATES",
    "OUT_OF_REACH",
    "SUBTLE",
    "Call",
    "Mutant",
    "as_function",
    "plain",
    "right",
    "subtle_calls",
    "subtle_shapes",
    "subtle_values",
    "wrong_directions",
]
