"""Work shared among threads: as many as allowed, and a fork gets its own."""

from __future__ import annotations

import os
import threading

import pytest

from multiconv import threads


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    monkeypatch.setattr(threads, "count", threads.count.__wrapped__)
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    ("variables", "count"),
    [
        ({}, 4),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"OPENBLAS_NUM_THREADS": "64"}, 4),
        ({"OPENBLAS_NUM_THREADS": "0"}, 1),
    ],
    ids=str,
)
def test_as_many_as_the_environment_allows(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], count: int
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert threads.count() == count


@pytest.mark.parametrize("items", [0, 1, 3, 4, 5, 9])
@pytest.mark.parametrize("products", [0, threads.WORTH, 2 * threads.WORTH, 100 * threads.WORTH])
def test_every_item_is_in_one_share_and_each_share_is_worth_it(items: int, products: int) -> None:
    shares = threads.shares(items, products)
    assert [i for share in shares for i in range(share.start, share.stop)] == list(range(items))
    assert len(shares) == 1 or products // len(shares) >= threads.WORTH
    assert len(shares) <= 4


def test_each_share_has_a_thread_of_its_own_and_the_first_this_one() -> None:
    together = threading.Barrier(2, timeout=30)
    by: dict[int, int] = {}

    def note(share: slice) -> None:
        together.wait()
        by[share.start] = threading.get_ident()

    threads.in_parallel(note, [slice(0, 1), slice(1, 2)])
    assert by[0] == threading.get_ident() != by[1]


def test_an_error_in_another_thread_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError):
        threads.in_parallel(lambda share: 1 // (1 - share.start), [slice(0, 1), slice(1, 2)])


def test_a_fork_has_threads_of_its_own() -> None:
    shares = [slice(0, 1), slice(1, 2)]
    threads.in_parallel(lambda _: None, shares)
    child = os.fork()
    if not child:
        done = threading.Thread(target=threads.in_parallel, args=(lambda _: None, shares), daemon=True)
        done.start()
        done.join(30)
        os._exit(int(done.is_alive()))
    assert os.waitpid(child, 0)[1] == 0
