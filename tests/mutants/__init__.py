"""Wrong convolutions that a person could write: NumPy's backend with one fault each.

They show how good the judgement is: `benchmarks/kill_matrix.py` runs the oracle, each law and the check on them.
A mutant is a function of a `Call`. What it does not spoil it leaves to `right`. Those in `SUBTLE` are right on nearly
every problem: only a rare shape, value, view or series of calls shows the fault.
"""

from mutants import plain, subtle_calls, subtle_shapes, subtle_values
from mutants.machinery import MUTANTS, Call, Mutant, as_function, right, wrong_directions

SUBTLE = tuple(m for m in MUTANTS if m.wrong.__module__ != plain.__name__)

__all__ = [
    "MUTANTS",
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
