"""Which named mistakes are told apart from which: the table of docs/mistakes.md."""

from __future__ import annotations

from itertools import combinations, cycle, product

import numpy as np

from multiconv.core.spec import ConvSpec
from multiconv.core.types import Host, Padding
from multiconv.oracle.diagnosis import PAIRED
from multiconv.oracle.mistakes import MISTAKES, Mistake, Question, question
from multiconv.oracle.nearby import RINGS, nearby
from multiconv.oracle.problem import DIRECTIONS, Problem
from multiconv.testing.problem_values import with_values

PROBLEMS = 60
SHOWN = {"integers": "integers", "digits": "many digits"}
PADDINGS: tuple[Padding, ...] = (0, "same", "same_lower")
Answer = tuple[tuple[int, ...], bytes]


def _problems(values: str) -> list[Problem]:
    """Draw problems of one to three axes, with all options."""
    rng = np.random.default_rng(0)
    starts = []
    for ndim, padding, channels in product((1, 2, 3), PADDINGS, (2, 10)):
        spec = ConvSpec(2, padding, 1, 2)
        g = spec.resolve((2, 2 * channels, *[6] * ndim), (2 * channels, channels, *[3] * ndim))
        dtype = "float64" if values == "digits" and channels == 2 else "float32"
        starts.append(with_values("start", spec, g, dtype, bias=True, values="integers", seed=0))
    drawn: list[Problem] = []
    for start in cycle(starts):
        problem = nearby(start, rng, RINGS[2], values)
        drawn += [] if problem is None else [problem]
        if len(drawn) == PROBLEMS:
            return drawn
    raise AssertionError("cycle ends only where there are no problems to start from")


def told_apart(direction: str) -> dict[str, dict[str, int]]:
    """Count, for each two mistakes of a direction, the problems on which their answers differ.

    Mistakes that show on none of the problems are left out.

    Parameters
    ----------
    direction : str

    Returns
    -------
    dict
        For each mistake, the number of problems for each other one that is shown by the same kind of values.
    """
    counts: dict[str, dict[str, int]] = {}
    for values in SHOWN:
        mistakes = [m for m in MISTAKES.values() if direction in m.directions and m.values == values]
        questions = [question(problem, direction) for problem in _problems(values)]
        right = [_bits(q.right()) for q in questions]
        answers = {m.id: [_answer(m, q, known) for q, known in zip(questions, right)] for m in mistakes}
        answers = {name: given for name, given in answers.items() if given != right}
        counts |= {name: {} for name in answers}
        for one, other in combinations(answers, 2):
            differ = sum(a != b for a, b in zip(answers[one], answers[other]))
            counts[one][other] = counts[other][one] = differ
    return counts


def _answer(mistake: Mistake, q: Question, right: Answer) -> Answer:
    with np.errstate(all="ignore"):
        answer = mistake.answer(q)
    return right if answer is None else _bits(answer)


def _bits(y: Host) -> Answer:
    return y.shape, (y.astype(np.float64) + 0.0).tobytes()


def page() -> str:
    """Return docs/mistakes.md."""
    tables = {direction: told_apart(direction) for direction in DIRECTIONS if direction != "layer"}
    lines = [
        "# The mistakes that a diagnosis names",
        "",
        f"There are {len(MISTAKES)}, and pairs of {len(PAIRED)} of them. Each is a record in "
        "`multiconv.oracle.mistakes`.",
        f"The last column is measured on {PROBLEMS} problems a direction, with one to three axes and all options.",
        "",
        "`python benchmarks/mistakes.py` writes this page, and a test keeps it current.",
        "",
        "| mistake | what is done | shown by | directions | hardest to tell from |",
        "|---|---|---|---|---|",
    ]
    for mistake in MISTAKES.values():
        directions = ", ".join(d for d in tables if mistake.id in tables[d])
        cells = (f"`{mistake.id}`", mistake.says, SHOWN[mistake.values], directions, _hardest(mistake, tables))
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "## Not told apart",
        "",
        "These give the same answers to all problems of a direction, as where the pads after an axis do not matter, so "
        "a diagnosis names them together.",
        "",
    ]
    return "\n".join([*lines, *_never(tables), ""])


def _hardest(mistake: Mistake, tables: dict[str, dict[str, dict[str, int]]]) -> str:
    """Return the mistake that differs on the fewest problems, in the first direction that has it."""
    others = next((tables[d][mistake.id] for d in tables if mistake.id in tables[d]), None)
    if others is None:
        return "none of the problems shows it"
    name = min(others, key=lambda other: (others[other], other))
    return f"`{name}`: {others[name]} of {PROBLEMS} differ"


def _never(tables: dict[str, dict[str, dict[str, int]]]) -> list[str]:
    lines = []
    for direction, table in tables.items():
        alike = {frozenset({one, *(other for other, differ in table[one].items() if not differ)}) for one in table}
        groups = sorted(", ".join(f"`{name}`" for name in sorted(group)) for group in alike if len(group) > 1)
        lines += [f"- {direction}: {'; '.join(groups) if groups else 'all are told apart'}."]
    return lines
