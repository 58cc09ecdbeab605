"""The catalogue of wrong convolutions: each is wrong where it says and nowhere else, and the oracle finds it."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from ml_dtypes import bfloat16
from multiconv.backends.numpy import NumpyBackend
from mutants import MUTANTS, SUBTLE, Mutant, as_function, right, wrong_directions

from multiconv.core.spec import ConvSpec
from multiconv.oracle.judgement import Expected, judge
from multiconv.oracle.problem import DIRECTIONS, Problem
from multiconv.testing.candidate import Candidate
from multiconv.testing.drawing import draw_problems

DEFAULT_EXAMPLES = 200
Host = npt.NDArray[Any]
Shape = tuple[int, ...]
Judged = list[tuple[Problem, dict[str, Expected]]]


@pytest.fixture(scope="module")
def drawn() -> Judged:
    """The drawn problems of a check with its defaults, and what each should come to."""
    return [(problem, problem.expectations()) for problem in draw_problems(DEFAULT_EXAMPLES, 0)]


def test_there_are_many_and_each_has_its_own_name() -> None:
    assert len(MUTANTS) >= 45
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert len({(mutant.says, mutant.directions) for mutant in MUTANTS}) == len(MUTANTS)
    assert all(mutant.directions for mutant in MUTANTS)
    assert {direction for mutant in MUTANTS for direction in mutant.directions} == set(DIRECTIONS)


@pytest.mark.parametrize(
    "backend", [NumpyBackend(), Mutant("none", "nothing", DIRECTIONS, right)], ids=lambda b: b.name
)
def test_what_is_right_is_found_right(backend: NumpyBackend, drawn: Judged) -> None:
    for problem, expected in drawn:
        assert list(wrong_directions(backend, problem, expected)) == []


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m not in SUBTLE], ids=lambda m: m.name)
def test_the_oracle_finds_a_mutant_in_every_direction_in_which_it_is_wrong(mutant: Mutant, drawn: Judged) -> None:
    mutant.reset()
    unseen = set(mutant.directions)
    for problem, expected in drawn:
        unseen -= set(wrong_directions(mutant, problem, expected))
        if not unseen:
            break
    assert not unseen


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_a_mutant_answers_always_and_is_right_in_all_other_directions(mutant: Mutant, drawn: Judged) -> None:
    mutant.reset()
    for problem, expected in drawn[::4]:
        for direction, answer in problem.answers(mutant):
            assert direction in mutant.directions or not isinstance(answer, Exception), answer
            if direction not in mutant.directions:
                assert judge(answer, expected[direction]).fault is None


# ---- The subtle ones, each on a problem made for it, and on a near one


def made(
    x: tuple[int, ...], w: tuple[int, ...], *, dtype: Any = "float32", bias: bool = True, **options: Any
) -> Problem:
    """A problem with these shapes, whose positive values have nothing in common."""
    spec = ConvSpec(**options)
    g = spec.resolve(x, w)
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(0.5, 1.5, shape) for shape in (x, w, g.y_shape, g.out_channels, g.in_channels)]
    x_, w_, dy, b, x_b = (a.astype(dtype) for a in arrays)
    return Problem("made", spec, x_, w_, dy, b if bias else None, x_b if bias else None)


def but(problem: Problem, **changes: Callable[[Host], Host]) -> Problem:
    """The problem with some arrays changed, which lie in memory as the change leaves them."""
    changed = copy(problem)
    for name, change in changes.items():
        object.__setattr__(changed, name, change(getattr(problem, name)))
    return changed


def put(value: float, *index: Any) -> Callable[[Host], Host]:
    """Put a value at an index, or everywhere, in a copy."""

    def change(array: Host) -> Host:
        array = array.copy()
        array[index or ...] = value
        return array

    return change


def gapped(axis: int) -> Callable[[Host], Host]:
    """Make the array every other element, along an axis, of a larger one."""

    def change(array: Host) -> Host:
        larger = np.full_like(np.repeat(array, 2, axis), 7)
        every_other = larger[(slice(None),) * (axis % array.ndim) + (slice(None, None, 2),)]
        every_other[...] = array
        return every_other

    return change


def cropped(array: Host) -> Host:
    """Make the array the left part of a wider one."""
    wider = np.concatenate([array, np.full_like(array, 7)], axis=-1)
    return wider[..., : array.shape[-1]]


def reversed_view(array: Host) -> Host:
    return np.ascontiguousarray(array[..., ::-1])[..., ::-1]


def unaligned(array: Host) -> Host:
    return np.frombuffer(bytearray(b"\0" + array.tobytes()), np.uint8)[1:].view(array.dtype).reshape(array.shape)


def byte_swapped(array: Host) -> Host:
    return array.astype(array.dtype.newbyteorder())


def repeated_view(array: Host) -> Host:
    return np.broadcast_to(array[:1], array.shape)


def repeated(array: Host) -> Host:
    return np.repeat(array[:1], len(array), axis=0)


def read_only(array: Host) -> Host:
    array = array.copy()
    array.flags.writeable = False
    return array


def identity(array: Host) -> Host:
    return np.eye(len(array), dtype=array.dtype).reshape(array.shape)


PLAIN = made((2, 3, 6, 7), (4, 3, 3, 3))
ONE_TAP = made((2, 3, 4), (4, 3, 1))
INF, NAN = np.inf, np.nan
TINY = float(np.finfo("float32").tiny)

WITNESSES: dict[str, tuple[Problem, list[Problem]]] = {
    # channels and groups
    "wrong for 5 channels": (made((1, 5, 6), (2, 5, 3)), [made((1, c, 6), (2, c, 3)) for c in (4, 6)]),
    "wrong for 4 to 14 channels": (made((1, 14, 6), (2, 14, 3)), [made((1, c, 6), (2, c, 3)) for c in (3, 15)]),
    "last 16 of 64 channels dropped": (
        made((1, 64, 4), (2, 64, 1)),
        [made((1, c, 4), (2, c, 1)) for c in (63, 65)] + [made((1, 64, 4), (2, 32, 1), groups=2)],
    ),
    "last 16 of 64 outputs rounded": (made((1, 2, 4), (64, 2, 1)), [made((1, 2, 4), (c, 2, 1)) for c in (63, 72)]),
    "first output of second block zero": (made((1, 2, 4), (33, 2, 1)), [made((1, 2, 4), (32, 2, 1))]),
    "bias twice for one output channel": (
        made((1, 2, 4), (1, 2, 1)),
        [made((1, 2, 4), (2, 2, 1)), made((1, 2, 4), (1, 2, 1), bias=False)],
    ),
    "last output of groups of 8 zero": (
        made((1, 4, 4), (16, 2, 1), groups=2),
        [made((1, 4, 4), (14, 2, 1), groups=2), made((1, 4, 4), (16, 4, 1))],
    ),
    "unequal groups interleaved": (
        made((1, 4, 4), (6, 2, 1), groups=2),
        [made((1, 4, 4), (4, 2, 1), groups=2), made((1, 4, 4), (6, 4, 1))],
    ),
    "channel multiplier 2 first": (
        made((1, 3, 4), (6, 1, 1), groups=3),
        [made((1, 3, 4), (9, 1, 1), groups=3), made((1, 6, 4), (6, 2, 1), groups=3)],
    ),
    "bias of first group": (
        made((1, 4, 4), (4, 2, 1), groups=2),
        [made((1, 4, 4), (4, 4, 1)), made((1, 4, 4), (4, 2, 1), groups=2, bias=False)],
    ),
    # batch
    "wrong for batch 8": (made((8, 1, 4), (2, 1, 1)), [made((n, 1, 4), (2, 1, 1)) for n in (7, 9, 16)]),
    "images after 16th zero": (made((17, 1, 4), (2, 1, 1)), [made((16, 1, 4), (2, 1, 1))]),
    "odd image zero": (made((3, 1, 4), (2, 1, 1)), [made((n, 1, 4), (2, 1, 1)) for n in (1, 2)]),
    "strided kernel gradient loses image": (
        made((3, 1, 5), (2, 1, 2), stride=2),
        [made((2, 1, 5), (2, 1, 2), stride=2), made((3, 1, 5), (2, 1, 2))],
    ),
    # size
    "vector tail loses channel": (
        made((1, 2, 13), (2, 2, 3)),
        [made((1, 2, n), (2, 2, 3)) for n in (9, 10, 18)],
    ),
    "wrong above width 32": (made((1, 2, 1, 33), (2, 2, 1, 1)), [made((1, 2, 33, 32), (2, 2, 1, 1))]),
    "first pixel of second block zero": (made((1, 1, 25, 41), (1, 1, 1, 1)), [made((1, 1, 32, 32), (1, 1, 1, 1))]),
    "height and width swapped": (
        made((1, 2, 4, 5), (2, 2, 3, 3)),
        [made((1, 2, 5, 5), (2, 2, 3, 3)), made((1, 2, 4, 5), (2, 2, 3, 2))],
    ),
    "depth and width swapped": (made((1, 1, 3, 3, 4), (2, 1, 2, 2, 2)), [made((1, 1, 3, 3, 3), (2, 1, 2, 2, 2))]),
    "reshaped from nwc": (
        made((1, 4, 2), (2, 2, 3), layout="NWC"),
        [made((1, 2, 4), (2, 2, 3)), made((1, 4, 4, 2), (2, 2, 3, 3), layout="NHWC")],
    ),
    "one row padded at end": (
        made((1, 2, 1, 5), (2, 2, 3, 3), padding=1),
        [made((1, 2, 2, 5), (2, 2, 3, 3), padding=1), made((1, 2, 1, 5), (2, 2, 1, 3), padding=(0, 1))],
    ),
    "bias gradient of other layout": (made((1, 4, 5, 2), (3, 2, 2, 2), layout="NHWC"), [PLAIN]),
    # kernels
    "eighth tap left out": (made((1, 1, 12), (1, 1, 8)), [made((1, 1, 12), (1, 1, 7))]),
    "large kernel wraps around": (
        made((1, 1, 5), (1, 1, 3), padding=1),
        [made((1, 1, 6), (1, 1, 3), padding=1), made((1, 1, 5), (1, 1, 3))],
    ),
    "one tap padding without bias": (
        made((1, 2, 4), (2, 2, 1), padding=1),
        [made((1, 2, 4), (2, 2, 1)), made((1, 2, 4), (2, 2, 3), padding=3)],
    ),
    "winograd last tile": (
        made((1, 2, 6, 7), (2, 2, 3, 3)),
        [
            made((1, 2, 6, 8), (2, 2, 3, 3)),
            made((1, 2, 7, 7), (2, 2, 3, 3), stride=2),
            made((1, 2, 6, 7), (2, 2, 3, 1)),
        ],
    ),
    # stride and dilation
    "unequal strides swapped": (
        made((1, 1, 7, 7), (1, 1, 2, 2), stride=(1, 2)),
        [made((1, 1, 7, 7), (1, 1, 2, 2), stride=2)],
    ),
    "unequal dilations swapped": (
        made((1, 1, 7, 7), (1, 1, 2, 2), dilation=(1, 2)),
        [made((1, 1, 7, 7), (1, 1, 2, 2), dilation=2)],
    ),
    "phase of stride 3": (made((1, 1, 8), (1, 1, 2), stride=3), [made((1, 1, 8), (1, 1, 2), stride=2)]),
    "dilation cut to 2": (made((1, 1, 8), (1, 1, 3), dilation=3), [made((1, 1, 8), (1, 1, 3), dilation=2)]),
    "only output at end": (
        made((1, 1, 4), (1, 1, 2), stride=3),
        [made((1, 1, n), (1, 1, 2), stride=3) for n in (2, 6)],
    ),
    "last column repeated at stride 2": (
        made((1, 1, 5), (1, 1, 2), stride=2),
        [made((1, 1, 6), (1, 1, 2), stride=2), made((1, 1, 5), (1, 1, 2)), made((1, 1, 3), (1, 1, 2), stride=2)],
    ),
    "padding skipped by large stride": (
        made((1, 1, 8), (1, 1, 2), stride=3, padding=1),
        [made((1, 1, 8), (1, 1, 2), stride=2, padding=1), made((1, 1, 8), (1, 1, 2), stride=3)],
    ),
    "kernel gradient exchanges stride and dilation": (
        made((1, 1, 9), (1, 1, 2), stride=2, dilation=3),
        [made((1, 1, 9), (1, 1, 2), stride=s, dilation=d) for s, d in ((2, 2), (1, 3), (2, 1))],
    ),
    # padding
    "padding before cut to kernel": (
        made((1, 1, 4), (1, 1, 2), padding=((2, 0),)),
        [made((1, 1, 4), (1, 1, 2), padding=((1, 2),))],
    ),
    "pixel lost before long padding": (
        made((1, 1, 4), (1, 1, 2), padding=((0, 2),)),
        [made((1, 1, 4), (1, 1, 2), padding=((2, 1),))],
    ),
    "one sided long padding swapped": (
        made((1, 1, 4), (1, 1, 2), padding=((2, 1),)),
        [made((1, 1, 4), (1, 1, 2), padding=((before, after),)) for before, after in ((3, 2), (1, 0))],
    ),
    "same ignores dilation": (
        made((1, 1, 6), (1, 1, 3), padding="same", dilation=2),
        [made((1, 1, 6), (1, 1, 3), padding="same"), made((1, 1, 6), (1, 1, 3), padding=2, dilation=2)],
    ),
    "garbage where only padding": (
        made((1, 1, 4), (1, 1, 2), padding=2),
        [made((1, 1, 4), (1, 1, 2), padding=1)],
    ),
    "error where tile sees only padding": (
        made((1, 1, 4), (1, 1, 2), padding=((3, 0),)),
        [made((1, 1, 4), (1, 1, 2), padding=((2, 0),))],
    ),
    "input gradient shifted by long padding": (
        made((1, 1, 5), (1, 1, 3), padding=((3, 1),)),
        [made((1, 1, 5), (1, 1, 3), padding=((before, after),)) for before, after in ((2, 1), (3, 2))],
    ),
    "transposed shifted by long padding": (
        made((1, 1, 5), (1, 1, 3), padding=((3, 1),)),
        [made((1, 1, 5), (1, 1, 3), padding=((before, after),)) for before, after in ((2, 1), (3, 2))],
    ),
    "input gradient garbage": (
        made((1, 1, 6), (1, 1, 2), stride=3),
        [made((1, 1, 6), (1, 1, 2), stride=2), made((1, 1, 6), (1, 1, 3), stride=3)],
    ),
    "transposed bias where reached only": (
        made((1, 1, 5), (1, 1, 2), stride=3),
        [made((1, 1, 5), (1, 1, 3), stride=2), made((1, 1, 5), (1, 1, 2), stride=3, bias=False)],
    ),
    "output padding without bias": (
        made((1, 1, 6), (1, 1, 3), stride=2),
        [made((1, 1, 5), (1, 1, 3), stride=2), made((1, 1, 6), (1, 1, 3), stride=2, bias=False)],
    ),
    # precision
    "tf32 from 128 channels": (made((1, 128, 2), (2, 128, 1)), [made((1, 127, 2), (2, 127, 1))]),
    "tf32 in kernel gradient": (PLAIN, [made((2, 3, 6, 7), (4, 3, 3, 3), dtype="float64")]),
    "float64 in float32 from 16 channels": (
        made((1, 16, 2), (2, 16, 1), dtype="float64"),
        [made((1, 15, 2), (2, 15, 1), dtype="float64"), made((1, 16, 2), (2, 16, 1))],
    ),
    "bfloat16 from 32nd channel": (made((1, 32, 2), (2, 32, 1)), [made((1, 31, 2), (2, 31, 1))]),
    "float16 in last channels": (made((1, 8, 2), (2, 8, 1)), [made((1, 7, 2), (2, 7, 1))]),
    "rounded after bias": (PLAIN, [made((2, 3, 6, 7), (4, 3, 3, 3), bias=False)]),
    "last bits cut off": (ONE_TAP, [made((2, 3, 4), (4, 3, 1), dtype="float64")]),
    "bfloat16 cut off": (
        made((1, 1, 64), (1, 1, 1), dtype=bfloat16, bias=False),
        [made((1, 1, 64), (1, 1, 1), dtype=dtype, bias=False) for dtype in ("float16", "float32")],
    ),
    "bias gradient in float16": (PLAIN, [but(PLAIN, dy=put(0.5))]),
    "shared exponent": (but(ONE_TAP, x=put(1e6, 0, 0, 0)), [but(ONE_TAP, x=put(0.5), w=put(0.5), bias=put(0.5))]),
    # values
    "nan weight dropped": (but(PLAIN, w=put(NAN, 1, 1, 1, 1)), [PLAIN, but(PLAIN, w=put(INF, 1, 1, 1, 1))]),
    "nan bias dropped": (
        but(PLAIN, bias=put(NAN, 1), x_bias=put(NAN, 1)),
        [PLAIN, but(PLAIN, bias=put(INF, 1), x_bias=put(INF, 1))],
    ),
    "nan pixel dropped": (
        but(PLAIN, x=put(NAN, 1, 1, 3, 3), dy=put(NAN, 1, 1, 3, 3)),
        [PLAIN, but(PLAIN, x=put(INF, 1, 1, 3, 3), dy=put(INF, 1, 1, 3, 3))],
    ),
    "nan gradient dropped": (but(PLAIN, dy=put(NAN, 1, 1, 3, 3)), [PLAIN, but(PLAIN, dy=put(INF, 1, 1, 3, 3))]),
    "zero weights skipped": (
        but(ONE_TAP, x=put(NAN, 0, 1, 2), w=put(0, slice(None), 1)),
        [but(ONE_TAP, x=put(NAN, 0, 1, 2)), but(ONE_TAP, w=put(0, slice(None), 1))],
    ),
    "infinity is largest": (
        but(PLAIN, x=put(-INF, 1, 1, 3, 3)),
        [PLAIN, but(PLAIN, x=put(NAN, 1, 1, 3, 3))],
    ),
    "overflow as in float16": (
        but(ONE_TAP, x=put(1e5), w=put(1.0)),
        [but(ONE_TAP, x=put(2e4), w=put(1.0))],
    ),
    "smallest normal flushed": (
        but(ONE_TAP, x=put(TINY), w=put(2.0**20), bias=put(0)),
        [but(ONE_TAP, x=put(2 * TINY), w=put(2.0**20), bias=put(0))],
    ),
    "small numbers flushed": (
        but(ONE_TAP, x=put(2.0**-25), bias=put(0)),
        [but(ONE_TAP, x=put(2.0**-24), bias=put(0))],
    ),
    # views
    "strides ignored": (but(PLAIN, x=gapped(0), w=gapped(1), dy=gapped(1)), [PLAIN]),
    "channel gaps ignored": (
        but(PLAIN, x=gapped(1)),
        [but(PLAIN, x=gapped(0)), but(PLAIN, x=cropped), but(PLAIN, w=gapped(1), dy=gapped(1))],
    ),
    "row pitch ignored": (but(PLAIN, x=cropped), [but(PLAIN, x=gapped(1)), but(PLAIN, x=gapped(-1))]),
    "reversed input read forwards": (but(PLAIN, x=reversed_view), [PLAIN, but(PLAIN, w=reversed_view)]),
    "reversed kernel read forwards": (but(PLAIN, w=reversed_view), [PLAIN, but(PLAIN, x=reversed_view)]),
    "fortran order ignored": (but(PLAIN, x=np.asfortranarray), [PLAIN, but(PLAIN, x=cropped)]),
    "unaligned input misread": (but(PLAIN, x=unaligned), [PLAIN, but(PLAIN, w=unaligned)]),
    "byte order ignored": (but(PLAIN, x=byte_swapped), [PLAIN, but(PLAIN, w=byte_swapped)]),
    "broadcast input misread": (but(PLAIN, x=repeated_view), [but(PLAIN, x=repeated)]),
    "read only input refused": (but(PLAIN, x=read_only), [PLAIN, but(PLAIN, w=read_only)]),
}
SERIES = {
    "second call wrong",
    "every 30th call wrong",
    "repeated call accumulates",
    "options of earlier call",
    "kernel of earlier call",
    "border of earlier call",
    "results share buffer",
    "identity returns input",
}
BY_NAME = {mutant.name: mutant for mutant in MUTANTS}


def found(mutant: Mutant, problem: Problem) -> set[str]:
    """The directions in which the oracle finds a mutant wrong on a problem that is asked once."""
    with np.errstate(all="ignore"):
        return set(wrong_directions(mutant, problem, problem.expectations(), again=False))


def test_each_subtle_mutant_has_a_witness() -> None:
    assert {mutant.name for mutant in SUBTLE} == set(WITNESSES) | SERIES


@pytest.mark.parametrize("name", WITNESSES)
def test_a_subtle_mutant_is_wrong_on_its_witness_and_right_on_near_problems(name: str) -> None:
    witness, near = WITNESSES[name]
    assert found(BY_NAME[name], witness) == set(BY_NAME[name].directions)
    for problem in near:
        assert found(BY_NAME[name], problem) == set()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("change", [np.asfortranarray, reversed_view, gapped(1), gapped(-1), cropped, repeated_view])
def test_a_mutant_that_ignores_strides_is_wrong_in_both_layouts(layout: str, change: Callable[[Host], Host]) -> None:
    shape = (2, 3, 4, 5) if layout == "NCHW" else (2, 4, 5, 3)
    problem = made(shape, (2, 3, 2, 2), layout=layout)
    assert found(BY_NAME["strides ignored"], problem) == set()
    assert found(BY_NAME["strides ignored"], but(problem, x=change)) >= {"forward", "kernel gradient"}


def test_gaps_between_channels_are_ignored_channels_last_too() -> None:
    problem = made((2, 4, 5, 3), (2, 3, 2, 2), layout="NHWC")
    assert found(BY_NAME["channel gaps ignored"], problem) == set()
    wrong = found(BY_NAME["channel gaps ignored"], but(problem, x=gapped(-1)))
    assert wrong == set(BY_NAME["channel gaps ignored"].directions)


def in_series(name: str, *problems: Problem) -> list[bool]:
    """Whether a mutant is found wrong on each of these problems in turn: in all its directions or in none."""
    mutant = BY_NAME[name]
    mutant.reset()
    wrong = [found(mutant, problem) for problem in problems]
    assert all(directions in (set(), set(mutant.directions)) for directions in wrong)
    mutant.reset()
    return [bool(directions) for directions in wrong]


def test_only_the_second_call_is_wrong() -> None:
    assert in_series("second call wrong", *[PLAIN] * 4) == [False, True, False, False]


def test_one_call_in_30_is_wrong() -> None:
    assert [n for n, wrong in enumerate(in_series("every 30th call wrong", *[ONE_TAP] * 61), 1) if wrong] == [30, 60]


def test_only_a_call_repeated_at_once_is_wrong() -> None:
    other = but(PLAIN, x=put(1.0))
    assert in_series("repeated call accumulates", PLAIN, other, PLAIN) == [False] * 3
    assert in_series("repeated call accumulates", PLAIN, PLAIN, other) == [False, True, False]


def test_only_other_options_with_the_same_shapes_are_wrong() -> None:
    before, after, longer = (
        made((1, 1, n), (1, 1, 2), padding=(pad,)) for n, pad in ((4, (1, 0)), (4, (0, 1)), (5, (0, 1)))
    )
    assert in_series("options of earlier call", before, longer, before, after) == [False, False, False, True]
    assert in_series("border of earlier call", before, longer, before, after) == [False, False, False, True]


def test_only_another_kernel_with_the_same_shapes_is_wrong() -> None:
    other = but(PLAIN, w=put(1.0))
    assert in_series("kernel of earlier call", PLAIN, but(PLAIN, x=put(1.0)), ONE_TAP, other) == [False] * 3 + [True]


def test_only_a_result_kept_until_the_next_call_is_wrong() -> None:
    mutant = BY_NAME["results share buffer"]
    assert in_series(mutant.name, PLAIN, ONE_TAP, PLAIN) == [False] * 3
    kept = mutant.cross_correlate(PLAIN.x, PLAIN.w)
    before = kept.copy()
    mutant.cross_correlate(ONE_TAP.x, ONE_TAP.w)
    assert not np.array_equal(kept, before)
    mutant.reset()


def test_only_the_identity_returns_its_input() -> None:
    mutant = BY_NAME["identity returns input"]
    square = made((2, 3, 4), (3, 3, 1), bias=False)
    problem = but(square, w=identity)
    assert found(mutant, problem) == found(mutant, square) == set()
    assert np.shares_memory(mutant.cross_correlate(problem.x, problem.w), problem.x)
    assert not np.shares_memory(mutant.cross_correlate(square.x, square.w), square.x)
    assert not np.shares_memory(mutant.cross_correlate(problem.x, problem.w, stride=2), problem.x)


def test_a_mutant_forgets_when_it_is_reset() -> None:
    mutant = BY_NAME["second call wrong"]
    mutant.reset()
    for _ in range(3):
        assert found(mutant, PLAIN) == set()
        mutant.reset()


# ---- As a candidate


def test_a_right_function_is_found_right() -> None:
    candidate = Candidate(as_function(Mutant("none", "nothing", DIRECTIONS, right)))
    assert candidate.name == "none"
    for problem in (PLAIN, ONE_TAP, made((1, 4, 6, 2), (4, 1, 3, 3), groups=2, layout="NHWC", padding="same")):
        assert "forward" not in found_forward(candidate, problem)


@pytest.mark.parametrize("name", ["wrong for 5 channels", "error where tile sees only padding", "nan bias dropped"])
def test_a_mutant_as_a_function_is_wrong_on_its_witness_and_right_on_near_problems(name: str) -> None:
    candidate = Candidate(as_function(BY_NAME[name]))
    witness, near = WITNESSES[name]
    assert found_forward(candidate, witness) == {"forward"}
    for problem in near:
        assert found_forward(candidate, problem) == set()


def found_forward(candidate: Candidate, problem: Problem) -> set[str]:
    expected = problem.expectations(["forward"])["forward"]
    for direction, answer in problem.answers(candidate, "forward"):
        if isinstance(answer, Exception) or judge(answer, expected).fault is not None:
            return {direction}
    return set()
