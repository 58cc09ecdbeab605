"""Lost precision is told from rounding: right sums raise no alarm, and narrower operands or sums do.

Every answer here is within its a-priori bound where it is said to be imprecise: it is not wrong, but worse than its
format explains.
"""

from __future__ import annotations

from functools import cache, partial
from itertools import product

import numpy as np
import pytest
from orders import pairwise, sequential

from multiconv import oracle
from multiconv.core import bounds
from multiconv.core.spec import ConvSpec
from multiconv.oracle import precision
from multiconv.oracle.judgement import judge
from multiconv.oracle.precision import lost
from multiconv.oracle.values import VALUES, W, X, seeded
from multiconv.testing.problem_values import given_values, with_values

ROWS, COLUMNS = 40, 50
WIDER = {"float16": "float32", "bfloat16": "float32", "float32": "float64", "float64": "longdouble"}
N = (1, 2, 3, 9, 25, 100, 576, 2000)


def sums_of(x, w):
    """A problem whose result is x @ w.T, as a convolution with a kernel of one tap, and the products, one a row."""
    problem = given_values("sums", ConvSpec(), x[:, :, None], w[:, :, None])
    with np.errstate(all="ignore"):
        return problem, x.T[:, :, None] * w.T[:, None, :]


def judged(problem, answer):
    return judge(answer.reshape(problem.dy.shape), expectation(problem))


@cache
def expectation(problem):
    return problem.expectations(["forward"])["forward"]


# ---- What has lost nothing


def blocked(terms, size):
    """Partial sums by the remainder of the index, as a processor's vectors add, then those one after the other."""
    return sequential(np.stack([sequential(terms[first::size]) for first in range(min(size, len(terms)))]))


def fused(x, w):
    """A multiply-add that rounds once."""
    wide = WIDER[x.dtype.name]
    x, w, dtype = x.T.astype(wide), w.T.astype(wide), x.dtype
    total = np.zeros((x.shape[1], w.shape[1]), dtype)
    for a, b in zip(x, w):
        total = (np.multiply.outer(a, b) + total).astype(dtype)
    return total


def in_wider_sums(x, w):
    wide = WIDER[x.dtype.name]
    return (x.astype(wide) @ w.astype(wide).T).astype(x.dtype)


ORDERS = {
    "sequential": sequential,
    "reversed": lambda terms: sequential(terms[::-1]),
    "pairwise": pairwise,
    "blocked by 8": partial(blocked, size=8),
    "blocked by 16": partial(blocked, size=16),
}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("dtype", WIDER)
def test_right_sums_raise_no_alarm(dtype, kind):
    tried = 0
    for n in N:
        x, w = seeded((ROWS, n), dtype, kind, n, X), seeded((COLUMNS, n), dtype, kind, n, W)
        problem, products = sums_of(x, w)
        if n * bounds.unit_roundoff(dtype) >= 1:
            continue
        with np.errstate(all="ignore"):
            answers = {name: order(products) for name, order in ORDERS.items()}
            answers |= {"fused": fused(x, w), "in wider sums": in_wider_sums(x, w)}
        for name, answer in answers.items():
            judgement = judged(problem, answer)
            assert judgement.fault is None, (n, name)
            assert not judgement.imprecise
        tried += expectation(problem).rounding is not None
    assert tried >= 2 or kind in ("integers", "zeros")


@pytest.mark.parametrize("n", [9, 100, 576])
@pytest.mark.parametrize("dtype", WIDER)
def test_positive_numbers_raise_no_alarm(dtype, n):
    """Their partial sums only grow."""
    x, w = (np.abs(seeded((rows, n), dtype, "normal", n, which)) for rows, which in ((ROWS, X), (COLUMNS, W)))
    if n * bounds.unit_roundoff(dtype) >= 1:
        return
    problem, products = sums_of(x, w)
    for answer in (sequential(products), pairwise(products), blocked(products, 8), fused(x, w)):
        assert judged(problem, answer).fault is None


@pytest.mark.parametrize("n", [9, 64, 576, 2304])
@pytest.mark.parametrize("many", [1, 2, 3])
def test_equal_products_raise_no_alarm(n, many):
    """A sum of equal numbers is rounded in one direction again and again, and has lost nothing by that."""
    rng = np.random.default_rng(n)
    some = rng.uniform(0.05, 0.2, 4).astype("float32")
    for x_values, w_values in ((some[:1], some[1 : 1 + many]), (some[:many], some[3:])):
        x, w = rng.choice(x_values, (ROWS, n)), rng.choice(w_values, (COLUMNS, n))
        problem, products = sums_of(x, w)
        for answer in (sequential(products), pairwise(products), blocked(products, 8)):
            assert judged(problem, answer).fault is None


def test_sums_of_equal_products_would_raise_one_if_they_counted():
    x, w = np.full((ROWS, 2304), 0.1, "float32"), np.full((COLUMNS, 2304), 0.1, "float32")
    problem, products = sums_of(x, w)
    rounding, value = expectation(problem).rounding(), expectation(problem).value
    z = (sequential(products).reshape(value.shape) - value) / rounding.deviation
    assert rounding.variety() == 0
    assert lost(z, rounding.counted) is not None


# ---- What has lost precision


def with_bits(array, bits):
    """Rounded to nearest with so many bits of the mantissa, as the multipliers of a fast mode read it."""
    words = array.view("uint32").astype("uint64")
    half = np.uint64(2 ** (22 - bits))
    return ((words + half) & np.uint64(2**32 - 2 ** (23 - bits))).astype("uint32").view("float32")


def in_tf32(x, w):
    return in_wider_sums(with_bits(x, 10), with_bits(w, 10))


def in_bfloat16(x, w):
    return in_wider_sums(with_bits(x, 7), with_bits(w, 7))


def kernel_alone_in_tf32(x, w):
    return in_wider_sums(x, with_bits(w, 10))


def last_quarter_in_float16(x, w):
    products = sums_of(x, w)[1]
    first = len(products) - max(len(products) // 4, 2)
    return sequential(products[:first]) + sequential(products[first:].astype("float16")).astype("float32")


def truncated(x, w):
    """Each sum rounded towards zero."""
    total = np.zeros((len(x), len(w)), "float32")
    for term in sums_of(x, w)[1]:
        exact = total.astype("float64") + term
        total = exact.astype("float32")
        total = np.where(np.abs(total) > np.abs(exact), np.nextafter(total, np.float32(0)), total)
    return total


LOSSES = [in_tf32, in_bfloat16, kernel_alone_in_tf32, last_quarter_in_float16, truncated]
# So few roundings towards zero, of either sign, are not told from rounding to nearest.
UNTOLD = {(truncated, 9, "normal"), (truncated, 9, "positive"), (truncated, 64, "normal")}
LOST = [c for c in product(LOSSES, (9, 64, 576, 2304), ("normal", "positive")) if c not in UNTOLD]


@cache
def usual(n, kind):
    return seeded((ROWS, n), "float32", kind, n, X), seeded((COLUMNS, n), "float32", kind, n, W)


@pytest.mark.parametrize(("loss", "n", "kind"), LOST, ids=lambda value: getattr(value, "__name__", str(value)))
def test_a_loss_raises_an_alarm_and_is_no_wrong_value(loss, n, kind):
    x, w = usual(n, "normal")
    if kind == "positive":
        x, w = np.abs(x), np.abs(w)
    problem, _ = sums_of(x, w)
    judgement = judged(problem, loss(x, w))
    if judgement.ratio <= 1:
        assert judgement.symptom == "precision"
        assert judgement.imprecise
        assert "it lost precision: its errors are within the bound" in judgement.fault
        assert "the whole result" in judgement.fault or " of axis " in judgement.fault
    else:
        assert judgement.symptom == "values"


@pytest.mark.parametrize(("n", "bits"), [(64, 17), (576, 15)])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("index", [0, 17, -1])
def test_a_loss_in_one_channel_or_in_one_row_is_found_there(index, axis, n, bits):
    x, w = usual(n, "normal")
    problem, products = sums_of(x, w)
    answer = sequential(products)
    where = (slice(None),) * axis + (index,)
    answer[where] = in_wider_sums(with_bits(x, bits), with_bits(w, bits))[where]
    judgement = judged(problem, answer)
    assert judgement.symptom == "precision"
    assert f"index {index % answer.shape[axis]} of axis {axis}" in judgement.fault
    assert f"{answer.size // answer.shape[axis]} elements" in judgement.fault


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loss_in_the_last_column_of_an_image_is_found_there(dtype):
    spec = ConvSpec(padding=1)
    g = spec.resolve((1, 16, 12, 12), (8, 16, 3, 3))
    problem = with_values("image", spec, g, dtype, bias=True, values="normal", seed=0)
    expected = problem.expectations(["forward"])["forward"]
    answer = expected.value.astype(dtype)
    assert judge(answer, expected).fault is None
    narrow = answer.astype("float16" if dtype == "float32" else "float32")
    wide = expected.value.dtype
    few_bits = {"float32": 2.0**-17, "float64": 2.0**-46}[dtype]
    signs = np.where(np.arange(answer[..., -1].size).reshape(answer[..., -1].shape) % 2, 1, -1)
    answer[..., -1] = (expected.value[..., -1] * (1 + signs * wide.type(few_bits))).astype(dtype)
    judgement = judge(answer, expected)
    assert judgement.symptom == "precision"
    assert "index 11 of axis 3" in judgement.fault
    assert judge(narrow.astype(dtype), expected).symptom == "values"


@pytest.mark.parametrize("direction", ["input gradient", "kernel gradient", "bias gradient", "conv_transpose"])
@pytest.mark.parametrize("layout", [None, "NHWC"])
def test_every_direction_tells_a_loss_from_rounding(direction, layout):
    spec = ConvSpec(padding=1, layout=layout)
    x_shape = (4, 12, 12, 16) if layout else (4, 16, 12, 12)
    g = spec.resolve(x_shape, (20, 16, 3, 3))
    problem = with_values("long", spec, g, "float32", bias=True, values="normal", seed=0)
    expected = problem.expectations([direction])[direction]
    right = judge(expected.value.astype("float32"), expected)
    assert (right.fault, right.imprecise) == (None, False)
    noise = np.random.default_rng(0).choice([-40.0, 40.0], expected.value.shape) * expected.rounding().deviation
    lossy = judge((expected.value + noise).astype("float32"), expected)
    assert lossy.imprecise or lossy.ratio > 1


def test_what_is_flushed_to_zero_raises_no_alarm():
    for n in (9, 100, 576):
        for kind in ("subnormal", "smallest"):
            x, w = seeded((ROWS, n), "float32", kind, 0, X), seeded((COLUMNS, n), "float32", kind, 0, W)
            problem, products = sums_of(np.where(np.abs(x) < 2.0**-126, 0, x), w)
            answer = sequential(np.where(np.abs(products) < 2.0**-126, 0, products))
            answer = np.where(np.abs(answer) < 2.0**-126, 0, answer)
            problem, _ = sums_of(x, w)
            assert judged(problem, answer).fault is None


def test_flushed_operands_of_large_factors_raise_no_alarm():
    """All of the sum is lost, far more than rounding takes."""
    rng = np.random.default_rng(0)
    x = (rng.uniform(0.1, 0.9, (ROWS, 100)) * 2.0**-126).astype("float32")
    w = (rng.uniform(1, 2, (COLUMNS, 100)) * 2.0**40).astype("float32")
    problem, products = sums_of(x, w)
    assert judged(problem, products.sum(axis=0)).fault is None
    assert judged(problem, np.zeros((ROWS, COLUMNS), "float32")).fault is None


def test_elements_in_which_underflow_outweighs_rounding_do_not_count():
    x = np.float32([[1.0] * 9, [2.0**-120] * 9])
    problem, _ = sums_of(x, np.float32(np.arange(1, 10)[None]))
    rounding = expectation(problem).rounding()
    assert rounding.counted.ravel().tolist() == [True, False]
    assert precision.deviation(np.array(0.0), np.array(0.0), 9, 1.0) == 0
    squares, value = oracle.widen(problem.x) ** 2, expectation(problem).value
    assert rounding.deviation.shape == value.shape
    assert np.isfinite(squares).all()
