"""Named mistakes: for each, the answer that it gives, computed by the oracle on an altered problem.

`multiconv.oracle.diagnosis` finds the mistake that reproduces a wrong answer.

>>> len(MISTAKES) >= 60
True
>>> MISTAKES["bias-dropped"].says
'the bias is dropped'
"""

from __future__ import annotations

from multiconv.oracle.mistakes.channels import CHANNELS
from multiconv.oracle.mistakes.kernels import KERNELS
from multiconv.oracle.mistakes.pads import PADS
from multiconv.oracle.mistakes.question import Mistake, Question, answer_of, question
from multiconv.oracle.mistakes.results import RESULTS
from multiconv.oracle.mistakes.roundings import ROUNDINGS
from multiconv.oracle.mistakes.steps import STEPS

MISTAKES: dict[str, Mistake] = {
    mistake.id: mistake for mistake in (*KERNELS, *PADS, *STEPS, *CHANNELS, *RESULTS, *ROUNDINGS)
}
"""Every mistake, by its id; the likelier come first."""

__all__ = ["MISTAKES", "Mistake", "Question", "answer_of", "question"]
