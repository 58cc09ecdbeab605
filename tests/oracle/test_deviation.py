"""The standard deviation of rounding errors, and when errors are too large for it, on numbers made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from multiconv.oracle.precision import MANY, ONE, deviation, independent, lost


def test_a_single_element_may_be_further_off():
    z = np.zeros((5, 5))
    for n, most in ((1, ONE), (4, MANY + (ONE - MANY) / 2), (25, MANY + (ONE - MANY) / 5)):
        counted = np.zeros((5, 5), bool)
        counted.flat[:n] = True
        for times, found in ((0.999 * most, False), (1.001 * most, True)):
            loss = lost(np.where(counted, times, 10**9) + z, counted)
            assert (loss is not None) == found
            if found and n != 4:
                assert (loss.times, loss.elements) == (pytest.approx(times), min(n, 25))


def test_equal_sums_count_as_one():
    z = np.full(100, 4.0)
    counted = np.ones(100, bool)
    assert lost(z, counted, 1.0).elements == 100
    assert lost(z, counted, 0.3) is not None
    assert lost(z, counted, 0.2) is None
    assert lost(z, ~counted) is None


def test_elements_that_do_not_count_hide_no_loss_beside_them():
    z, counted = np.ones((10, 10)), np.ones((10, 10), bool)
    z[:, 3] = 7.0
    counted[:, 0] = False
    z[:, 0] = np.nan
    assert lost(z, counted).where == "index 3 of axis 1"
    assert lost(z, counted).elements == 10


def test_a_single_element_counts_as_one_whatever_the_share_of_different_sums():
    assert lost(np.array([1.1 * ONE]), np.ones(1, bool), 0.1) is not None
    assert lost(np.array([0.9 * ONE]), np.ones(1, bool), 0.1) is None


def test_the_worst_slice_is_named():
    z = np.ones((3, 4, 5))
    z[:, 1] = 5.0
    z[2, 1] = 9.0
    loss = lost(z, np.ones(z.shape, bool))
    assert loss.where == "index 1 of axis 1"
    assert loss.times == pytest.approx(((2 * 25 + 81) / 3) ** 0.5)
    assert lost(np.full((3, 4), 9.0), np.ones((3, 4), bool)).where == "the whole result"


@pytest.mark.parametrize(
    ("n", "operands", "enough"),
    [
        (1, [np.ones(9)], True),
        (2, [np.ones(9)], False),
        (2, [np.array([1.0, -1.0])], False),
        (4, [np.array([1.0, 2.0]), np.array([3.0, 4.0])], True),
        (5, [np.array([1.0, 2.0]), np.array([3.0, 4.0])], False),
        (2, [None, np.array([3.0, 4.0])], True),
        (2, [np.array([3.0, 4.0]), None], True),
    ],
)
def test_as_many_products_as_a_sum_has_terms_must_be_different(n, operands, enough):
    assert independent(n, *operands) is enough


# ---- The deviation

ORDERS_OF_MAGNITUDE = [(2, 0), (3, 1), (9, 0), (50, 1), (400, 0), (400, 1)]


def model(products, u):
    """The variance, summed over the partial sums one by one, with all orders as likely."""
    n, squares, total = len(products), (products**2).sum(), products.sum()
    partial_sums = [k / n * squares + k * (k - 1) / (n * (n - 1)) * (total**2 - squares) for k in range(2, n)]
    return u**2 / 3 * (squares + sum(partial_sums) + total**2)


def example(n, sign):
    products = np.random.default_rng(n).standard_normal(n)
    return np.abs(products) if sign else products


@pytest.mark.parametrize(("n", "sign"), ORDERS_OF_MAGNITUDE)
def test_the_deviation_is_that_of_the_model(n, sign):
    """But for (S^2 - |p|^2) / 3 + |p|^2 / n, which is small against it where n is not."""
    products, u = example(n, sign), 2.0**-24
    squares, total = (products**2).sum(), products.sum()
    left_out = u**2 / 3 * ((total**2 - squares) / 3 + squares / n)
    got = float(deviation(squares, total, n, u))
    assert got**2 == pytest.approx(model(products, u) + left_out, rel=1e-9)
    assert got**2 == pytest.approx(model(products, u), rel=1.2 / n)


@pytest.mark.parametrize(("n", "sign"), [pair for pair in ORDERS_OF_MAGNITUDE if pair[0] > 3])
def test_the_model_is_that_of_sums_in_random_order(n, sign):
    products, u, rng = example(n, sign), 2.0**-10, np.random.default_rng(0)
    orders = rng.permuted(np.tile(products, (4000, 1)), axis=1).T
    errors = orders * u * rng.uniform(-1, 1, orders.shape)
    partial_sums = orders.cumsum(axis=0)[1:]
    errors = errors.sum(axis=0) + (partial_sums * u * rng.uniform(-1, 1, partial_sums.shape)).sum(axis=0)
    of_formula = float(deviation((products**2).sum(), products.sum(), n, u)) ** 2
    assert errors.var() == pytest.approx(of_formula, rel=0.05 + 1.2 / n)


@pytest.mark.parametrize(("n", "sign"), [pair for pair in ORDERS_OF_MAGNITUDE if pair[0] > 3])
def test_sums_in_float32_have_about_half_that_variance(n, sign):
    """Half a unit in the last place is at most u |v|, and less for all v but powers of two."""
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((2, n, 4000)).astype("float32")
    x, w = (np.abs(x), np.abs(w)) if sign else (x, w)
    exact = x.astype("float64") * w
    z = ((x * w).cumsum(axis=0)[-1] - exact.sum(axis=0)) / deviation(
        (exact**2).sum(axis=0), exact.sum(axis=0), n, 2.0**-24
    )
    assert 0.4 < (z**2).mean() < 1
