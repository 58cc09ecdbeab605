"""An assertion for your own tests: `assert_conforms` checks that a function is a cross-correlation.

It runs the function on drawn problems and on the layers of well-known networks. It judges the answers by the exact
oracle and by rounding bounds, so you need not choose a tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from multiconv.core.errors import UsageError, suggestion
from multiconv.core.memory import ARRANGEMENTS
from multiconv.core.spec import ConvSpec
from multiconv.oracle.diagnosis import Diagnosis
from multiconv.oracle.fast_bounds import ALGORITHMS
from multiconv.oracle.problem import Problem, first_fault
from multiconv.oracle.values import ALL_VALUES, values_for
from multiconv.testing.candidate import Candidate
from multiconv.testing.diagnosing import why_wrong
from multiconv.testing.drawing import draw_problems
from multiconv.testing.fixed_options import settled, some_of
from multiconv.testing.levels import CHANNELS_FIRST, DTYPES, FACTORS, NON_EMPTY_BATCHES
from multiconv.testing.network_layers import layer_problems
from multiconv.testing.problem_values import identity
from multiconv.testing.shrinking import Answered, Finding, reduced

__tracebackhide__ = True  # pytest shows the line of the calling test, and no line of this module
EXAMPLES = 400
SHRINK_SECONDS = 30.0
SHOWN_VALUES = 64
SETTINGS = ("examples", "seed", "dtypes", "values", "arrangements", "networks", "algorithm")


def assert_conforms(
    function: Callable[..., Any],
    *,
    examples: int = EXAMPLES,
    seed: int = 0,
    dtypes: Sequence[str] = DTYPES,
    values: Sequence[str] | None = None,
    arrangements: Sequence[str] | None = None,
    networks: bool = True,
    algorithm: str = "direct",
    **fixed: Any,
) -> None:
    """Assert that a function is a cross-correlation: exact where possible, and within rounding elsewhere.

    Parameters
    ----------
    function : callable
        ``f(x, w, bias, *, stride, padding, dilation, groups)``. The arrays x (N, C_in, \\*spatial), w (C_out, C_in /
        groups, \\*kernel) and bias (C_out,) or None are NumPy arrays of one dtype. Padding is one (before, after) pair
        per axis; stride and dilation are one int per axis. It must return a new NumPy array of that dtype.
    examples : int
        Number of problems to draw.
    seed : int
        Random seed.
    dtypes : sequence of str
        Any of ``"float16"``, ``"bfloat16"``, ``"float32"`` and ``"float64"``.
    values : sequence of str, optional
        Kinds of values, as in `multiconv.oracle.values.seeded`. By default all kinds; if the algorithm is not direct,
        all but ``"largest"`` and ``"nonfinite"``.
    arrangements : sequence of str, optional
        Memory layouts of the arrays: names of `multiconv.core.memory.ARRANGEMENTS`. By default all are used, and the
        function may raise an exception for arrays that are not contiguous. It must accept each layout named here.
    networks : bool
        Whether to run the layers of well-known networks too, on smaller images. Only layers that match the fixed
        options are run.
    algorithm : str
        ``"direct"`` for a function that sums the products of the definition. ``"fft"`` or ``"winograd"`` for a function
        that uses such an algorithm: its errors are small only relative to the largest elements
        (`multiconv.core.bounds.normwise`).
    **fixed
        Options for which the function supports only this value, as a layer does. They are not drawn. The names are
        ``stride``, ``padding``, ``dilation``, ``groups``, ``kernel`` and ``size``, as one number or one per axis;
        ``batch``, ``in_channels`` and ``out_channels``; ``ndim``, the number of spatial axes; and ``bias``, whether
        there is one. ``padding="same"`` reaches the function as pairs.

    Raises
    ------
    AssertionError
        If an answer is wrong, changes from call to call or has lost precision. The message shows the smallest problem
        found, as Python text, and says what is wrong.
    UsageError
        If an option does not exist or its value is invalid.

    Examples
    --------
    >>> import multiconv as mc
    >>> assert_conforms(mc.backend("numpy").cross_correlate)
    >>> def flipped(x, w, bias, **options):
    ...     return mc.backend("numpy").convolve(x, w, bias, **options)
    >>> assert_conforms(flipped, padding="same", ndim=2)
    Traceback (most recent call last):
    AssertionError: flipped is not a cross-correlation. The smallest problem found that shows it:
    ...
    >>> assert_conforms(flipped, strides=2)
    Traceback (most recent call last):
    multiconv.UsageError: there is no option 'strides' (did you mean 'stride'?). The options ...
    """
    fixed = settled(fixed, others=SETTINGS)
    if fixed.get("layout") is not None and ConvSpec(layout=fixed["layout"]).channels_last:
        raise UsageError(
            f"the function gets its input channels first, so layout={fixed['layout']!r} can't be tested: "
            "transpose the input and the result within the function, and leave layout out"
        )
    if isinstance(examples, bool) or not isinstance(examples, int) or examples < 1:
        raise UsageError(
            f"examples must be an int of at least 1, not {examples!r}: without a problem, nothing would be tested"
        )
    dtypes = some_of("dtypes", dtypes, FACTORS["dtype"])
    candidate = Candidate(function, takes_views=arrangements is not None)
    arrangements = some_of("arrangements", arrangements or tuple(ARRANGEMENTS), tuple(ARRANGEMENTS))
    if algorithm not in ALGORITHMS:
        raise UsageError(
            f"algorithm must be one of {', '.join(ALGORITHMS)}, not {algorithm!r}{suggestion(algorithm, ALGORITHMS)}"
        )
    values = some_of("values", values_for(algorithm) if values is None else values, ALL_VALUES)

    def ask(problem: Problem) -> Answered:
        return first_fault(problem, candidate, "forward", algorithm)

    asked = draw_problems(
        examples, seed, dtypes, values=values, fixed=fixed, arrangements=arrangements,
        layouts=CHANNELS_FIRST, batches=NON_EMPTY_BATCHES,
    )  # fmt: skip
    if not fixed and "integers" in values:
        asked.append(identity(dtypes[0]))
    if networks:
        asked += layer_problems(dtypes[0], values, seed, fixed)
    for problem in asked:
        answered = ask(problem)
        if answered[1].fault is not None:
            break
    else:
        return
    found = reduced(problem, answered, ask, seed=seed, seconds=SHRINK_SECONDS, fixed=fixed, values=values)
    cause = found.answer if isinstance(found.answer, Exception) else None
    why = why_wrong(candidate, "forward", found, seed=seed, fixed=fixed, values=values)
    raise AssertionError(_words(candidate.name, found, why)) from cause


def _words(name: str, found: Finding, why: Diagnosis | None) -> str:
    """Return the error message: the problem as Python text, channels first, the answer, and the correct result."""
    problem, answer = found.problem, found.answer
    g = problem.geometry
    right = problem.expectations(["forward"])["forward"].value
    called = f"{name}(x, w, bias, stride={g.stride}, padding={g.pads}, dilation={g.dilation}, groups={g.groups})"
    gives = "raises" if isinstance(answer, Exception) else f"gives {_shown(answer)}"
    arranged = ARRANGEMENTS[problem.arrangement]
    views = [f"    {a} = {arranged.format(a)}" for a in ("x", "w") if problem.arrangement != "contiguous"]
    says = "loses precision" if found.judgement.imprecise else "is not a cross-correlation"
    with np.errstate(over="ignore"):
        rounded = right.astype(problem.dtype)
    return "\n".join(
        [
            f"{name} {says}. The smallest problem found that shows it:",
            *(["    import ml_dtypes"] if problem.dtype == "bfloat16" else []),
            f"    x = {_shown(problem.x)}",
            f"    w = {_shown(problem.w)}",
            f"    bias = {None if problem.bias is None else _shown(problem.bias)}",
            *views,
            f"    {called}",
            f"{gives}",
            f"but the correct result is {_shown(rounded)}",
            found.fault,
            *([] if why is None else [f"why: {why}", *(f"    {name}: {line}" for name, line in why.code.items())]),
        ]
    )


def _shown(array: Any) -> str:
    """Return the array as Python text if it is small, and otherwise its shape and dtype."""
    array = np.asarray(array)
    if array.size > SHOWN_VALUES:
        return f"an array of shape {array.shape}, {array.dtype.name}"
    if not array.size:
        return f"np.zeros({array.shape}, {_dtype(array)})"
    values = np.array2string(array, separator=", ", floatmode="unique", max_line_width=10**6).replace("\n", "")
    values = values.replace("nan", "np.nan").replace("inf", "np.inf")
    return f"np.array({values}, {_dtype(array)})"


def _dtype(array: Any) -> str:
    return "ml_dtypes.bfloat16" if array.dtype.name == "bfloat16" else repr(array.dtype.name)
