"""Diagnosis: the named mistake that reproduces a wrong answer.

On integers the mistake has to give the wrong answer to the bit, or it is not named. `diagnose` explains one answer.
`diagnose_over` asks a function for more answers, to problems drawn near the first one, and drops each mistake that
fails to give one of them. So it tells mistakes apart that are equal on the first problem.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import numpy as np

from multiconv.core.types import Host
from multiconv.oracle.evidence import Answered, answered, one_image, refuted, shows
from multiconv.oracle.mistakes import MISTAKES, Mistake, Question
from multiconv.oracle.nearby import RINGS, nearby
from multiconv.oracle.problem import Problem

Ask = Callable[[Problem], Any]
"""Returns the answer to a problem, in the problem's layout, or the exception raised instead."""

PAIRED = (
    "kernel-flipped", "kernel-flipped-first-axis", "kernel-flipped-last-axis", "kernel-transposed",
    "kernel-channels-swapped", "kernel-hwio-read-as-oihw", "kernel-oihw-read-as-hwio", "kernel-input-channels-reversed",
    "pads-swapped", "pads-symmetric", "padding-ignored", "pads-axes-reversed", "padding-twice", "padding-replicate",
    "stride-ignored", "stride-axes-reversed", "stride-phase-one-late", "dilation-ignored", "dilation-axes-reversed",
    "output-padding-ignored", "output-padding-at-start", "bias-dropped", "bias-twice", "bias-subtracted",
    "depthwise-multiplier-order", "output-channels-interleaved", "input-channels-dealt", "input-channels-reversed",
    "output-channels-reversed", "nhwc-read-as-nchw", "nchw-read-as-nhwc", "output-axes-reversed", "last-column-zero",
    "last-row-zero", "last-output-channel-zero", "negated", "relu-left-in", "mean-over-batch",
)  # fmt: skip
"""The mistakes of which two are tried together, where no single one gives the answer."""
PAIR_ELEMENTS = 20_000
"""Number of elements of the answer up to which pairs are tried."""
SECONDS = 10.0
OTHERS = 3
"""Number of other mistakes that a sentence names."""


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The mistake that gives a wrong answer.

    Attributes
    ----------
    mistakes : tuple of str
        The id of the mistake, or the ids of two made together.
    says : str
        What is done, as a sentence without a full stop.
    fix : str
        What to do instead.
    code : dict
        The fix in the code of a framework, by its name.
    exact, problems : int
        Number of problems on which the mistake gives the answer to the bit, and number of those on which it was tried:
        all whose answer is wrong, or would be with the mistake.
    scope : str
        The problems: ``"this problem"``, or how those drawn near it vary.
    others : tuple of str
        The ids of mistakes that give the same answers.
    within_rounding : bool
        Whether the values are real, so that the mistake can be equal within rounding only.
    """

    mistakes: tuple[str, ...]
    says: str
    fix: str
    code: dict[str, str] = field(default_factory=dict)
    exact: int = 1
    problems: int = 1
    scope: str = "this problem"
    others: tuple[str, ...] = ()
    within_rounding: bool = False

    def __str__(self) -> str:
        also = f" (so is {', '.join(self.others[:OTHERS])})" if self.others else ""
        return f"{self.says}: {self.evidence}{also}. {self.fix}"

    @property
    def evidence(self) -> str:
        """Return what shows that it is this mistake.

        Examples
        --------
        >>> Diagnosis(("bias-dropped",), "no bias", "Add it.", exact=40, problems=40, scope="near it").evidence
        'equal to the bit on 40 of 40 problems'
        """
        if self.within_rounding:
            return "equal within rounding on this problem"
        if self.scope == "this problem":
            return "equal to the bit on this problem"
        return f"equal to the bit on {self.exact} of {self.problems} problems" + (
            "" if self.scope == RINGS[-1] else f" {self.scope}"
        )

    def asdict(self) -> dict[str, Any]:
        """Return the diagnosis as a dictionary for JSON."""
        return {
            "mistakes": list(self.mistakes), "says": self.says, "fix": self.fix, "code": dict(self.code),
            "exact": self.exact, "problems": self.problems, "scope": self.scope, "others": list(self.others),
            "within_rounding": self.within_rounding,
        }  # fmt: skip


def diagnose(
    problem: Problem, answer: Host, direction: str = "forward", *, seconds: float = SECONDS
) -> Diagnosis | None:
    """Return the mistake that gives this wrong answer, or None if none of them does.

    Parameters
    ----------
    problem : Problem
    answer : array
        In the problem's layout.
    direction : str
    seconds : float
        Time limit, in seconds.

    Returns
    -------
    Diagnosis or None
        None if the answer is right too. If the problem has integers, the mistake gives the answer to the bit. If it has
        real numbers, it does so within the bound of rounding, and the diagnosis says so.

    Examples
    --------
    >>> from multiconv import ConvSpec
    >>> from multiconv.testing.problem_values import given_values
    >>> problem = given_values("mine", ConvSpec(), np.array([[[1.0, 2.0, 4.0]]]), np.array([[[1.0, 10.0]]]))
    >>> found = diagnose(problem, np.array([[[12.0, 24.0]]]))
    >>> print(found)
    the kernel is flipped along every spatial axis: equal to the bit on this problem... Flip the kernel once more, ...
    >>> diagnose(problem, np.array([[[21.0, 42.0]]])) is None
    True
    """
    until = time.monotonic() + seconds
    asked = answered(problem, answer, direction)
    if asked is None or (asked.exact and not asked.wrong):
        return None
    probe = one_image(asked)
    survivors: list[tuple[Mistake, ...]] = []
    for mistake in _known(direction, ("integers",) if asked.exact else ("integers", "digits")):
        if time.monotonic() > until:
            break
        if probe is not None and refuted(mistake, probe):
            continue
        if asked.explained_by((mistake,)):
            survivors.append((mistake,))
    if not survivors and asked.exact:
        survivors = _pairs([asked], direction, until)
    return _diagnosis(survivors, [asked], "this problem")


def diagnose_over(
    ask: Ask,
    direction: str,
    problem: Problem,
    *,
    count: int = 40,
    seed: int = 0,
    fixed: Mapping[str, Any] | None = None,
    seconds: float = SECONDS,
) -> Diagnosis | None:
    """Return the mistake that a function makes, from its answers to integer problems drawn near one that it fails.

    The first problems drawn have the shapes and options of the given one and new values, the next ones vary the sizes,
    and the last ones vary the options too. A mistake must give every answer to the bit. If none gives those to the last
    problems, the diagnosis says of which it does.

    Parameters
    ----------
    ask : callable
        Returns the answer to a problem, or the exception raised instead.
    direction : str
    problem : Problem
        A problem on which the answer is wrong.
    count : int
        Number of problems to draw.
    seed : int
    fixed : mapping, optional
        Options to keep, as in `multiconv.testing.assert_conforms`.
    seconds : float
        Time limit, in seconds.

    Returns
    -------
    Diagnosis or None
        None if no mistake gives the answers.

    Examples
    --------
    >>> from multiconv import ConvSpec, oracle
    >>> from multiconv.testing.problem_values import given_values
    >>> problem = given_values("mine", ConvSpec(), np.array([[[1.0, 2.0, 4.0]]]), np.array([[[1.0, 10.0]]]))
    >>> def flipped(p):
    ...     return oracle.convolve(p.x, p.w, p.bias, p.geometry)
    >>> print(diagnose_over(flipped, "forward", problem).evidence)
    equal to the bit on ... of ... problems
    """
    until = time.monotonic() + seconds
    for values in ("integers", "digits"):
        found = _over(ask, direction, problem, values, count, seed, fixed or {}, until)
        if found is not None:
            return found
    return None


def _over(
    ask: Ask,
    direction: str,
    problem: Problem,
    values: str,
    count: int,
    seed: int,
    fixed: Mapping[str, Any],
    until: float,
) -> Diagnosis | None:
    rng = np.random.default_rng(seed)
    survivors: list[tuple[Mistake, ...]] = [(mistake,) for mistake in _known(direction, (values,))]
    seen: list[Answered] = []
    scope = ""
    for ring, number in zip(RINGS, (count // 4, count // 4, count - count // 2)):
        new = []
        for _ in range(number):
            if time.monotonic() > until and seen:
                break
            drawn = nearby(problem, rng, ring, values, fixed)
            asked = None if drawn is None else answered(drawn, ask(drawn), direction, exact=True)
            if asked is not None:
                new.append(asked)
        if scope and not new:
            continue
        remaining = _surviving(survivors, new)
        if not scope:
            if not any(asked.wrong for asked in new):
                return None
            if not remaining and values == "integers":
                remaining = _pairs(new, direction, until)
        elif not remaining and ring == RINGS[1] and values == "integers":
            remaining = _pairs([*new, *seen], direction, until)
        if not remaining:
            break
        survivors, scope = remaining, ring
        seen += new
    return _diagnosis(survivors, seen, scope) if scope else None


def _known(direction: str, values: tuple[str, ...]) -> Iterator[Mistake]:
    return (m for m in MISTAKES.values() if direction in m.directions and m.values in values)


def _surviving(mistakes: Sequence[tuple[Mistake, ...]], seen: Sequence[Answered]) -> list[tuple[Mistake, ...]]:
    """Return the mistakes that give every answer, and at least one wrong one."""
    kept = []
    for made in mistakes:
        useful = False
        for asked in sorted(seen, key=lambda a: not a.wrong):
            explains = asked.explained_by(made)
            if explains is False:
                break
            useful = useful or bool(explains)
        else:
            if useful or not seen:
                kept.append(made)
    return kept


def _pairs(seen: Sequence[Answered], direction: str, until: float) -> list[tuple[Mistake, ...]]:
    """Return the pairs of mistakes that give every answer."""
    wrong = [asked for asked in seen if asked.wrong]
    if not wrong or wrong[0].given.size > PAIR_ELEMENTS:
        return []
    able = [
        MISTAKES[name]
        for name in PAIRED
        if direction in MISTAKES[name].directions and any(shows(MISTAKES[name], asked) for asked in wrong)
    ]
    found: list[tuple[Mistake, ...]] = []
    for pair in permutations(able, 2):
        if time.monotonic() > until:
            break
        if wrong[0].explained_by(pair) and _surviving([pair], seen):
            found.append(pair)
    return found


def _consistent(mistakes: tuple[Mistake, ...], q: Question) -> bool:
    """Return whether the size of the result is the one that the altered options give."""
    for mistake in mistakes:
        q = mistake.alter(q) or q
    g = q.g
    return all((n - e) // s + 1 == o for n, e, s, o in zip(g.padded, g.extent, g.stride, g.out))


def _diagnosis(survivors: Sequence[tuple[Mistake, ...]], seen: Sequence[Answered], scope: str) -> Diagnosis | None:
    if not survivors:
        return None
    wrong = [asked.q for asked in seen if asked.wrong or not asked.exact]
    natural = [made for made in survivors if all(_consistent(made, q) for q in wrong)]
    made, *others = natural or survivors
    explained = [asked.explained_by(made) for asked in seen]
    q = next(asked.q for asked, explains in zip(seen, explained) if explains)
    names = tuple(mistake.id for mistake in made)
    code = {framework: line for mistake in made for framework, line in mistake.code_for(q).items()}
    same = {tuple(sorted(m.id for m in other)): " and ".join(m.id for m in other) for other in others}
    same.pop(tuple(sorted(names)), None)
    return Diagnosis(
        names,
        ", and ".join(mistake.sentence(q) for mistake in made),
        " ".join(mistake.fix for mistake in made),
        code,
        exact=sum(explains is True for explains in explained),
        problems=sum(explains is not None for explains in explained),
        scope=scope,
        others=tuple(same.values()),
        within_rounding=not seen[0].exact,
    )
