"""Backends that are started, found missing and stopped together."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from multiconv import registry
from multiconv.core.errors import BackendUnavailable, UnsupportedError
from multiconv.running import Missing, Workers, available


class Worker:
    """A worker that only knows whether it was stopped."""

    def __init__(self, barrier: threading.Barrier | None = None) -> None:
        self.closed, self.barrier = 0, barrier

    def close(self) -> None:
        if self.barrier is not None:
            self.barrier.wait(timeout=30)
        self.closed += 1


def find(name: str) -> str:
    if name == "mxnet":
        raise BackendUnavailable("mxnet is not installed")
    if name in ("jax", "os:getcwd"):
        raise UnsupportedError(f"{name} does not compute in int8")
    return name.upper()


def test_what_is_missing_is_reported_in_the_order_of_the_names() -> None:
    found, missing = available(["mxnet", "numpy", "jax", "torch", "numpy", "os:getcwd"], find, required=False)
    assert found == [("numpy", "NUMPY"), ("torch", "TORCH")]
    assert missing == [
        Missing("mxnet", "mxnet is not installed", "multiconv env create mxnet"),
        Missing("jax", "jax does not compute in int8"),
        Missing("os:getcwd", "os:getcwd does not compute in int8"),
    ]


def test_an_install_command_is_that_of_the_backend_and_not_of_its_variant() -> None:
    def fail(name: str) -> None:
        if name != "numpy":
            raise BackendUnavailable("it is not there")

    _, missing = available(["numpy", "torch@0.1+OMP_NUM_THREADS=1"], fail, required=False)
    assert missing[0].install == "multiconv env create torch@0.1"


@pytest.mark.parametrize(
    ("names", "required", "error"),
    [
        (["numpy", "jax"], True, UnsupportedError),
        (["numpy", "mxnet"], True, BackendUnavailable),
        (["jax", "mxnet"], True, BackendUnavailable),
        (["jax", "os:getcwd"], False, UnsupportedError),
        (["mxnet"], False, BackendUnavailable),
    ],
)
def test_what_is_required_raises_and_so_does_nothing_at_all(
    names: list[str], required: bool, error: type[Exception]
) -> None:
    with pytest.raises(error) as raised:
        available(names, find, required=required)
    assert raised.type is error
    reasons = [f"{n} does not compute in int8" if n != "mxnet" else "mxnet is not installed" for n in names]
    assert str(raised.value) == "; ".join(r for r, n in zip(reasons, names) if n != "numpy")


def test_backends_are_found_in_parallel_unless_it_says_otherwise() -> None:
    both = threading.Barrier(2)
    found, _ = available(["a", "b"], lambda name: both.wait(timeout=30), required=True)
    assert sorted(place for _, place in found) == [0, 1]
    running: list[str] = []

    def alone(name: str) -> int:
        running.append(name)
        count = len(running)
        running.remove(name)
        return count

    assert available("abcdef", alone, required=True, threads=1)[0] == [(name, 1) for name in "abcdef"]


def test_another_error_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        available(["numpy"], lambda name: 1 // 0, required=False)


@pytest.mark.parametrize("ending", [None, KeyboardInterrupt, BackendUnavailable])
def test_every_worker_is_stopped_in_parallel_whatever_ends_the_context(ending: type[BaseException] | None) -> None:
    barrier = threading.Barrier(2)
    started: list[Worker] = []
    try:
        with Workers[Worker]() as workers:
            started += [workers.start(lambda: Worker(barrier)) for _ in range(2)]
            if ending is not None:
                raise ending("stopped")
    except (KeyboardInterrupt, BackendUnavailable):
        assert ending is not None
    assert [worker.closed for worker in started] == [1, 1]


def test_workers_are_stopped_although_another_one_can_not_start() -> None:
    """The one that starts is slower, so that it is registered after the other has failed."""
    failed = threading.Event()
    started: list[Worker] = []

    def start(name: str) -> Worker:
        if name == "fails":
            failed.set()
            raise BackendUnavailable("it can't be imported")
        failed.wait(timeout=30)
        started.append(workers.start(Worker))
        return started[-1]

    with pytest.raises(BackendUnavailable, match="it can't be imported"), Workers[Worker]() as workers:
        available(["fails", "starts"], start, required=True)
    assert [worker.closed for worker in started] == [1]


def test_a_real_worker_has_ended_after_its_context() -> None:
    with Workers() as workers:
        backend = workers.start(lambda: registry.new_worker("numpy"))
        folder = Path("/proc") / str(backend.worker.hello["pid"])
        assert folder.exists()
    assert not folder.exists()
