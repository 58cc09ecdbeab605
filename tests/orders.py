"""Orders in which the terms of a sum can be added, along the first axis."""

from __future__ import annotations

import numpy as np


def sequential(terms):
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def pairwise(terms):
    while len(terms) > 1:
        odd = terms[len(terms) // 2 * 2 :]
        terms = np.concatenate([terms[: len(terms) // 2 * 2 : 2] + terms[1::2], odd])
    return terms[0]
