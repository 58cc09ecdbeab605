"""Workers that crash, hang, lie and are killed, and what is left of them: a clear exception, and nothing else."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from conftest import TESTS

import multiconv as mc
from multiconv import registry
from multiconv.core import wire
from multiconv.workers.launch import KEPT_STDERR_BYTES
from multiconv.workers.process import Worker, source_places
from multiconv.workers.remote import RemoteBackend

sys.path.append(str(TESTS / "sixth"))
from multiconv_loops.trouble import Trouble

X = np.arange(16, dtype="float32").reshape(4, 4)
K = np.array([[0, -2], [3, 5]], "float32")
RIGHT = np.array([[35, 41, 47], [59, 65, 71], [83, 89, 95]], "float32")
SOON = 10.0


def start(python=sys.executable, timeout=60.0, target="multiconv_loops.trouble:TroubleBackend"):
    """The backend of ``tests/sixth`` that misbehaves when told to, in a worker."""
    return RemoteBackend(Worker("trouble", target, source_places(target), Path(python), timeout))


def ask(backend, trouble=0):
    """Have the backend compute what comes to `RIGHT`, but do first what `trouble` stands for."""
    asked = X.copy()
    asked[0, 0] = trouble  # where it is multiplied by 0
    return backend.corr2d(asked, K)


def ask_in_vain(backend, trouble):
    """In a daemon thread, whose traceback at the end of the process would end it with a fatal error."""
    with suppress(mc.BackendError):
        ask(backend, trouble)


def pid(backend):
    return backend.worker.hello["pid"]


def works(backend):
    return np.array_equal(ask(backend), RIGHT)


def gone(pids):
    """Whether these processes have ended, or do so soon."""

    def alive(pid):
        try:
            return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return False

    until = time.monotonic() + SOON
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.02)
    return not any(map(alive, pids))


@contextmanager
def within(seconds):
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(scope="module")
def trouble():
    backend = start()
    yield backend
    backend.close()


@pytest.fixture
def hasty():
    """One that is given one second."""
    backend = start(timeout=1)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def torch():
    backend = registry.new_worker("torch")
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def numpy():
    backend = registry.new_worker("numpy")
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """A Python that has nothing."""
    path = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", path], check=True)
    return path / "bin" / "python"


@pytest.fixture(scope="module")
def other_python(tmp_path_factory):
    """A Python that has NumPy."""
    path = tmp_path_factory.mktemp("other")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", path], check=True)
    (site,) = path.glob("lib/python*/site-packages")
    (site / "numpy.pth").write_text(str(Path(np.__file__).parents[1]))
    return path / "bin" / "python"


# ---- Crashes

DEATHS = {
    Trouble.SEGFAULT: "was killed by SIGSEGV",
    Trouble.KILL: "was killed by SIGKILL",
    Trouble.EXIT: "ended with exit status 7",
    Trouble.SEND_GARBAGE: "sent an invalid answer",
    Trouble.SEND_NO_ANSWER: "sent an invalid answer",
    Trouble.SEND_MALFORMED_ERROR: "sent an invalid answer .it does not describe its error: {'type': 'OSError'}",
    Trouble.SEND_AN_ANSWER_MORE: "sent an invalid answer .it does not answer request",
    Trouble.SIGNAL_35: "was killed by signal 35",
}


@pytest.mark.parametrize("death", DEATHS, ids=lambda t: t.name)
def test_a_crash_says_how_and_on_what_and_the_next_call_works(trouble, death):
    assert works(trouble)
    before = pid(trouble)
    with within(SOON), pytest.raises(mc.BackendCrashed, match=DEATHS[death]) as caught:
        ask(trouble, death)
    assert gone([before])
    problem = json.loads(json.dumps(caught.value.problem))
    x, k = problem["arrays"]
    assert (caught.value.backend, problem["backend"], problem["name"]) == ("trouble", "trouble", "corr2d")
    assert (x["dtype"], x["shape"], x["values"][0]) == ("float32", [4, 4], [death, 1, 2, 3])
    assert (k["dtype"], k["shape"], k["values"]) == ("float32", [2, 2], [[0, -2], [3, 5]])
    assert json.dumps(problem["arrays"]) in str(caught.value)
    assert works(trouble)
    assert pid(trouble) != before


def test_of_a_segfault_stderr_says_where(trouble):
    with pytest.raises(mc.BackendCrashed) as caught:
        ask(trouble, Trouble.SEGFAULT)
    assert "Fatal Python error: Segmentation fault" in caught.value.stderr
    assert "in native_corr2d" in caught.value.stderr
    assert caught.value.stderr in str(caught.value)


def test_a_kill_from_outside_ends_the_call_that_it_interrupts(trouble):
    assert works(trouble)
    threading.Timer(0.3, os.kill, (pid(trouble), signal.SIGKILL)).start()
    with within(SOON), pytest.raises(mc.BackendCrashed, match="was killed by SIGKILL"):
        ask(trouble, Trouble.HANG)
    assert works(trouble)


def test_a_kill_between_two_calls_shows_in_the_second(trouble):
    assert works(trouble)
    os.kill(pid(trouble), signal.SIGKILL)
    with within(SOON), pytest.raises(mc.BackendCrashed, match="was killed by SIGKILL"):
        ask(trouble)
    assert works(trouble)


def test_the_problem_of_a_convolution_is_the_geometry_and_few_values(numpy):
    x, w = np.ones((1, 1, 30, 30)), np.ones((2, 1, 3, 3))
    os.kill(pid(numpy), signal.SIGKILL)
    with pytest.raises(mc.BackendCrashed) as caught:
        numpy.cross_correlate(x, w, padding="same", dilation=2)
    problem = json.loads(json.dumps(caught.value.problem))
    assert (problem["method"], problem["operation"], problem["dtype"]) == ("compute", "cross_correlate", "float64")
    assert (problem["geometry"]["pads"], problem["geometry"]["dilation"]) == ([[2, 2], [2, 2]], [2, 2])
    assert problem["arrays"][0] == {"dtype": "float64", "shape": [1, 1, 30, 30]}
    assert problem["arrays"][1] == {"dtype": "float64", "shape": [2, 1, 3, 3], "values": w.tolist()}
    assert problem["arrays"][2] is None


@pytest.mark.parametrize("hang", [Trouble.HANG, Trouble.HANG_WITH_GIL, Trouble.SEND_HALF], ids=lambda t: t.name)
def test_a_hang_ends_with_the_timeout_and_the_next_call_works(hasty, hang):
    before = pid(hasty)
    with within(SOON), pytest.raises(mc.BackendTimeout, match="took longer than its 1 s and was killed") as caught:
        ask(hasty, hang)
    assert isinstance(caught.value, TimeoutError)
    assert (caught.value.backend, caught.value.problem["arrays"][0]["values"][0][0]) == ("trouble", hang)
    assert gone([before])
    assert works(hasty)


def test_noise_on_stdout_and_stderr_is_harmless(trouble):
    before = pid(trouble)
    for _ in range(3):
        assert np.array_equal(ask(trouble, Trouble.PRINT), RIGHT)
    assert os.fstat(trouble.worker._running._stderr.fileno()).st_size <= KEPT_STDERR_BYTES
    assert pid(trouble) == before
    with pytest.raises(mc.BackendCrashed) as caught:
        ask(trouble, Trouble.SEGFAULT)
    assert "\0" not in caught.value.stderr
    assert "Segmentation fault" in caught.value.stderr


# ---- Exceptions


@pytest.mark.parametrize(
    ("trouble_asked", "words"),
    [
        (Trouble.RAISE, "trouble raised RuntimeError: no such luck"),
        (Trouble.MEMORY_ERROR, "trouble raised MemoryError: none left"),
        (Trouble.NO_ARRAY, "trouble raised TypeError: .*its elements are Python objects"),
    ],
    ids=lambda t: getattr(t, "name", ""),
)
def test_an_exception_is_a_backend_error_and_the_worker_lives_on(trouble, trouble_asked, words):
    assert works(trouble)
    before = pid(trouble)
    with pytest.raises(mc.BackendError, match=words) as caught:
        ask(trouble, trouble_asked)
    assert type(caught.value) is mc.BackendError
    assert caught.value.backend == "trouble"
    assert json.loads(json.dumps(caught.value.problem))["arrays"][1]["shape"] == [2, 2]
    assert caught.value.stderr.startswith("Traceback")
    assert works(trouble)
    assert pid(trouble) == before


def test_a_conv_error_is_a_conv_error_on_this_side_too(trouble):
    assert works(trouble)
    before = pid(trouble)
    with pytest.raises(mc.ConvError, match=r"^no convolution$"):
        ask(trouble, Trouble.CONV_ERROR)
    assert pid(trouble) == before


def test_an_unsupported_gradient_is_an_unsupported_error(numpy, torch):
    Y = np.ones((3, 3), "float32")
    with pytest.raises(mc.UnsupportedError, match="numpy has no autodiff"):
        numpy.vjp(numpy.corr2d, (X, K), Y)
    with pytest.raises(mc.UnsupportedError, match="can't be given a function of this process"):
        torch.vjp(abs, (X,), X)


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_the_frameworks_own_exception(torch, dtype):
    before = pid(torch)
    x, w = np.ones((1, 3, 2, 2), dtype), np.ones((1, 2, 1, 1), "float32")
    unchecked = torch.plan("cross_correlate", mc.ConvSpec().resolve((1, 2, 2, 2), w.shape), "float32")
    with pytest.raises(mc.BackendError, match="torch raised RuntimeError: ") as caught:
        unchecked(x, w)
    assert type(caught.value) is mc.BackendError
    described, _ = json.loads(json.dumps(caught.value.problem))["arrays"]
    assert (described["dtype"], described["shape"]) == (dtype, [1, 3, 2, 2])
    assert ("values" in described) == (dtype == "float32")  # as JSON has no complex numbers
    assert pid(torch) == before


# ---- Layers


def a_layer(backend, weight):
    return backend.layer(np.full((1, 1, 1, 1), weight, "float32"))


ONE = np.ones((1, 1, 1, 1), "float32")


def test_a_layer_survives_a_crash(trouble):
    layer = a_layer(trouble, 7)
    for _ in range(2):
        with pytest.raises(mc.BackendCrashed):
            ask(trouble, Trouble.EXIT)
        assert layer(ONE) == 7


def test_a_layer_survives_a_crash_that_another_call_has_recovered_from(trouble):
    layer = a_layer(trouble, 7)
    with pytest.raises(mc.BackendCrashed):
        ask(trouble, Trouble.EXIT)
    other = a_layer(trouble, 8)
    assert [layer(ONE), other(ONE), layer(ONE)] == [7, 8, 7]


def test_dropped_layers_are_freed_in_the_worker(trouble):
    kept = a_layer(trouble, 1)
    before = ask(trouble, Trouble.COUNT_LAYERS)
    layers = [a_layer(trouble, weight) for weight in range(5)]
    assert ask(trouble, Trouble.COUNT_LAYERS) == before + 5
    del layers
    gc.collect()
    assert ask(trouble, Trouble.COUNT_LAYERS) == before
    assert kept(ONE) == 1


def test_a_layer_dropped_after_a_crash_frees_no_other(trouble):
    trouble.close()
    old = [a_layer(trouble, weight) for weight in range(5)]
    trouble.close()
    new = [a_layer(trouble, weight) for weight in range(5)]
    assert [layer(ONE) for layer in old] == [0, 1, 2, 3, 4]
    del old
    gc.collect()
    assert [layer(ONE) for layer in new] == [0, 1, 2, 3, 4]
    assert ask(trouble, Trouble.COUNT_LAYERS) == 5


# ---- Threads, signals, forks


def test_threads_get_their_own_answers(numpy):
    def squares(number):
        return all(numpy.corr2d(X * 0 + number, K)[0, 0] == 6 * number for _ in range(40))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(squares, range(1, 9)))


def test_a_crash_in_one_thread_leaves_the_others_calls_alone(trouble):
    layer = a_layer(trouble, 3)

    def crash(_):
        with pytest.raises(mc.BackendCrashed):
            ask(trouble, Trouble.EXIT)
        return True

    def compute(_):
        return works(trouble) and layer(ONE) == 3

    with ThreadPoolExecutor(4) as pool:
        outcomes = [pool.submit(function, i) for i in range(4) for function in (crash, compute, compute)]
        assert all(outcome.result() for outcome in outcomes)


def test_closing_waits_for_the_answer_to_a_call_in_another_thread(trouble):
    assert works(trouble)
    before = pid(trouble)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, trouble, Trouble.NAP)
        time.sleep(0.1)
        trouble.close()
        assert np.array_equal(answer.result(), RIGHT)
    assert gone([before])
    assert works(trouble)


@pytest.mark.parametrize("busy_with", [Trouble.NAP, Trouble.HANG_WITH_GIL], ids=lambda t: t.name)
def test_an_interrupt_leaves_a_backend_that_works(trouble, busy_with):
    def interrupt(number, frame):
        raise KeyboardInterrupt

    assert works(trouble)
    before = pid(trouble)
    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with within(SOON), pytest.raises(KeyboardInterrupt):
            ask(trouble, busy_with)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert gone([before])
    assert np.array_equal(trouble.corr2d(-X, K), -RIGHT)


def test_ctrl_c_does_not_reach_a_worker(trouble):
    assert works(trouble)
    assert os.getpgid(pid(trouble)) != os.getpgrp()


def script(text, tmp_path, **options):
    """Start a Python that runs this after all of this module's names."""
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.Popen(
        [sys.executable, "-c", f"from test_worker import *\n{text}"],
        env={**os.environ, "PYTHONPATH": f"{TESTS}:{Path(__file__).parent}", "TMPDIR": str(tmp_path)},
        text=True,
        **options,
    )


FORK = """
backend = start()
layer = a_layer(backend, 4)
assert works(backend)
before = pid(backend)
child = os.fork()
if child == 0:
    ok = works(backend) and layer(ONE) == 4 and pid(backend) != before
    print(pid(backend), flush=True)
    os._exit(not ok)
assert os.waitpid(child, 0)[1] == 0
assert works(backend) and layer(ONE) == 4 and pid(backend) == before
print(before, flush=True)
"""


def test_after_a_fork_each_process_has_a_worker_of_its_own(tmp_path):
    parent = script(FORK, tmp_path)
    output, _ = parent.communicate(timeout=60)
    assert parent.returncode == 0
    assert len(set(output.split())) == 2
    assert gone(output.split())


FORK_IN_A_CALL = """
backend = start()
threading.Thread(target=ask_in_vain, args=(backend, Trouble.HANG), daemon=True).start()
time.sleep(0.3)
child = os.fork()
if child == 0:
    os._exit(not works(backend))
assert os.waitpid(child, 0)[1] == 0
"""


def test_a_fork_during_a_call_in_another_thread_leaves_the_child_a_backend_that_works(tmp_path):
    assert script(FORK_IN_A_CALL, tmp_path).wait(60) == 0


# ---- Nothing is left

BUSY = """
idle, busy, stuck = backends = [start() for _ in range(3)]
idle.cross_correlate(np.ones((1, 1, 300, 300)), np.ones((1, 1, 3, 3)))
for backend, trouble in ((busy, Trouble.HANG), (stuck, Trouble.HANG_WITH_GIL)):
    threading.Thread(target=ask_in_vain, args=(backend, trouble), daemon=True).start()
time.sleep(0.5)
for backend in backends:
    os.kill(pid(backend), 0)
print(*map(pid, backends), flush=True)
"""
NAP_IN_A_FORK = """
child = os.fork()
if child == 0:
    time.sleep(60)
    os._exit(0)
print(child, flush=True)
time.sleep(60)
"""
ENDS = {
    "it comes to its end": ("", None, 0),
    "an exception": ("raise SystemError('as it should')", None, 1),
    "os._exit": ("os._exit(3)", None, 3),
    "Ctrl-C": ("time.sleep(60)", signal.SIGINT, -signal.SIGINT),
    "SIGTERM": ("time.sleep(60)", signal.SIGTERM, -signal.SIGTERM),
    "SIGKILL": ("time.sleep(60)", signal.SIGKILL, -signal.SIGKILL),
    "SIGKILL with a fork that lives on": (NAP_IN_A_FORK, signal.SIGKILL, -signal.SIGKILL),
}


def named_files(pids):
    """The files with names that these processes have open for writing in memory or among temporary files."""
    targets = set()
    for each in pids:
        for fd in Path(f"/proc/{each}/fd").iterdir():
            with suppress(OSError):
                targets.add(str(fd.readlink()))
    return {t for t in targets if t.startswith(("/dev/shm", "/tmp")) and not t.endswith(" (deleted)")}


@pytest.mark.parametrize(("end", "killed_by", "status"), ENDS.values(), ids=ENDS.keys())
def test_no_worker_and_no_file_outlives_its_parent(tmp_path, end, killed_by, status):
    errors = (tmp_path / "errors").open("w")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    parent = script(BUSY + end, temporary, stderr=errors)
    pids = parent.stdout.readline().split()
    assert len(pids) == 3
    fork = [int(parent.stdout.readline())] if end is NAP_IN_A_FORK else []
    try:
        if killed_by is not None:
            assert named_files(pids) == set()
            parent.send_signal(killed_by)
        assert parent.wait(SOON) == status
        assert gone(pids)
        assert list(temporary.iterdir()) == []
        assert all(Path(f"/proc/{each}").exists() for each in fork)
    finally:
        for each in fork:
            os.kill(each, signal.SIGKILL)


def test_a_worker_ends_with_the_last_reference_to_its_backend():
    backend = start()
    before = pid(backend)
    del backend
    gc.collect()
    assert gone([before])


def test_starting_again_and_again_leaks_no_file_descriptor(trouble):
    assert works(trouble)
    trouble.close()
    before = open_files()
    for i in range(20):
        if i % 4 == 0:
            with pytest.raises(mc.BackendCrashed):
                ask(trouble, Trouble.EXIT)
        else:
            trouble.cross_correlate(np.ones((1, 1, 100, 100)), np.ones((1, 1, 3, 3)))
            trouble.close()
        assert open_files() == before


@pytest.mark.parametrize("python", ["/nowhere/python", "/bin/false"])
def test_failing_to_start_leaks_no_file_descriptor(python):
    gc.collect()
    before = open_files()
    for _ in range(5):
        with pytest.raises(mc.BackendUnavailable):
            start(python)
    gc.collect()
    assert open_files() == before


# ---- Children, memory, interrupts, and what this process itself lacks


def child_of(written):
    return int(re.findall(r"child (\d+)", written)[-1])


def test_children_of_a_worker_end_with_it():
    backend = start()
    assert np.array_equal(ask(backend, Trouble.HAVE_A_CHILD), RIGHT)
    child = child_of(backend.worker._running.written())
    assert not gone_at_once(child)
    backend.close()
    assert gone([child])


PARENT_WITH_A_CHILD = """
backend = start()
assert np.array_equal(ask(backend, Trouble.HAVE_A_CHILD), RIGHT)
print(pid(backend), child_of(backend.worker._running.written()), flush=True)
time.sleep(60)
"""


def test_children_of_a_worker_end_with_its_parent(tmp_path):
    parent = script(PARENT_WITH_A_CHILD, tmp_path)
    pids = parent.stdout.readline().split()
    assert len(pids) == 2
    parent.kill()
    assert gone(pids)


def gone_at_once(pid):
    return not Path(f"/proc/{pid}").exists()


def test_programs_that_a_worker_runs_have_none_of_its_descriptors(trouble):
    assert np.array_equal(ask(trouble, Trouble.LIST_DESCRIPTORS), RIGHT)
    listed = trouble.worker._running.written()
    assert "/dev/null" in listed
    assert "socket:" not in listed
    assert "memfd:multiconv" not in listed


def test_a_crash_shows_at_once_though_a_child_has_the_connection(trouble):
    with within(SOON), pytest.raises(mc.BackendCrashed, match="was killed by SIGKILL") as caught:
        ask(trouble, Trouble.DIE_BEFORE_A_CHILD)
    assert gone([child_of(caught.value.stderr)])
    assert works(trouble)


def test_a_worker_can_not_shrink_the_shared_memory(trouble):
    large = np.ones((1, 1, 400, 400), "float32")
    trouble.cross_correlate(large, large[:, :, :1, :1])
    with pytest.raises(mc.BackendError, match="PermissionError") as caught:
        ask(trouble, Trouble.SHRINK_THE_SHARED_MEMORY)
    assert type(caught.value) is mc.BackendError
    np.testing.assert_array_equal(trouble.cross_correlate(large, large[:, :, :1, :1]), large)


def test_memory_is_given_back_after_a_large_call(monkeypatch, numpy):
    kept = 1 << 20
    monkeypatch.setattr(wire, "KEPT_BYTES", kept)
    large, delta = np.random.default_rng(0).random((1, 1, 1500, 1500)), np.ones((1, 1, 1, 1))
    for _ in range(2):
        np.testing.assert_array_equal(numpy.cross_correlate(large, delta), large)
        for arena in (numpy.worker._running.wire.mine, numpy.worker._running.wire.theirs):
            allocated = os.fstat(arena.fd).st_blocks * 512
            assert allocated <= kept < large.nbytes


def test_an_interrupt_while_closing_leaves_no_worker():
    backend = start()
    before = pid(backend)
    os.kill(before, signal.SIGSTOP)  # so that it does not end when it is asked to

    def interrupted(*_):
        raise KeyboardInterrupt

    handler = signal.signal(signal.SIGALRM, interrupted)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            backend.close()
    finally:
        signal.signal(signal.SIGALRM, handler)
    assert gone([before])
    assert works(backend)
    backend.close()


SLOW_TO_START = """
from multiconv_loops import LoopsBackend
import os, sys, time

class Slow(LoopsBackend):
    def __init__(self):
        super().__init__()
        print(os.getpid(), file=open(os.environ["NOTED"], "w"), flush=True)
        time.sleep(1.5)
"""
FORKS_AT_THE_START = """
import os, sys, threading, time
from pathlib import Path
from multiconv.workers.process import Worker, source_places

places = source_places("multiconv_loops:LoopsBackend") | {"slow": sys.argv[1]}
threading.Thread(target=lambda: Worker("slow", "slow:Slow", places, Path(sys.executable), 60.0), daemon=True).start()
noted = Path(os.environ["NOTED"])
while not (noted.exists() and noted.read_text().strip()):
    time.sleep(0.01)
child = os.fork()
if child == 0:
    time.sleep(60)
    os._exit(0)
print(noted.read_text().strip(), child, flush=True)
os._exit(0)
"""


def test_a_fork_while_a_worker_starts_does_not_keep_it_alive(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW_TO_START)
    environment = {**os.environ, "NOTED": str(tmp_path / "pid"), "PYTHONPATH": str(TESTS / "sixth")}
    command = [sys.executable, "-W", "ignore", "-c", FORKS_AT_THE_START, str(tmp_path / "slow.py")]
    output = tmp_path / "output"
    with output.open("w") as stdout:
        subprocess.run(command, stdout=stdout, stdin=subprocess.DEVNULL, env=environment, timeout=60)
    worker, child = map(int, output.read_text().split())
    try:
        assert gone([worker])
        assert not gone_at_once(child)
    finally:
        os.kill(child, signal.SIGKILL)


FORKS_IN_STARTS = """
def lines():
    targets = []
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            targets.append(str(fd.readlink()))
    return sum(target.startswith(("socket:", "pipe:", "/memfd:")) for target in targets)

before, statuses = lines(), []
def fork_again_and_again():
    for _ in range(100):
        child = os.fork()
        if child == 0:
            os._exit(lines() > before)
        statuses.append(os.waitpid(child, 0)[1])
forking = threading.Thread(target=fork_again_and_again)
forking.start()
while forking.is_alive():
    with suppress(mc.BackendUnavailable):
        start("/bin/false")
assert statuses == [0] * 100
"""


def test_a_fork_at_any_moment_of_a_start_has_no_line_to_the_worker(tmp_path):
    assert script(FORKS_IN_STARTS, tmp_path).wait(60) == 0


FORK_AFTER_A_CRASH = """
backend = start()
try:
    ask(backend, Trouble.EXIT)
except mc.BackendCrashed as error:
    kept = error  # and with it the process that it is about
files = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
child = os.fork()
if child == 0:
    for file in files:
        os.fstat(file)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


def test_a_fork_after_a_crash_closes_no_file_of_anyone_else(tmp_path):
    assert script(FORK_AFTER_A_CRASH, tmp_path).wait(60) == 0


@pytest.mark.parametrize("timeout", [float("inf"), 1e300, 2**31, 1e-9 + 100])
def test_any_timeout_above_0_is_one(timeout):
    before = open_files()
    backend = start(timeout=timeout)
    assert works(backend)
    backend.close()
    assert open_files() == before


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), True, "60", None])
def test_what_is_no_timeout(timeout):
    before = open_files()
    with pytest.raises(mc.UsageError, match="timeout must be a number of seconds above 0, not"):
        start(timeout=timeout)
    assert open_files() == before
    if timeout is not None:
        with pytest.raises(mc.UsageError, match="timeout must be a number of seconds above 0, not"):
            mc.backend("numpy", worker=True, timeout=timeout)


LIMITED = """
import os, resource, sys
from pathlib import Path
import numpy as np
import multiconv as mc
from multiconv import registry
from multiconv.workers.process import Worker, source_places

target = "multiconv.backends.numpy:NumpyBackend"
places = source_places(target)

def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))

backend = registry.new_worker("numpy")
large, delta = np.ones((1, 1, 1500, 1500)), np.ones((1, 1, 1, 1))
backend.cross_correlate(large[..., :500, :500], delta)
pid, files = backend.worker.hello["pid"], open_files()
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, unlimited))
try:
    backend.cross_correlate(large, delta)
except mc.MulticonvError as error:
    print(type(error).__name__, error)
print((backend.cross_correlate(large[..., :3], delta) == 1).all(), backend.worker.hello["pid"] == pid)
resource.setrlimit(resource.RLIMIT_FSIZE, (unlimited, unlimited))
print((backend.cross_correlate(large, delta) == 1).all(), open_files() == files)

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
for more in range(12):
    resource.setrlimit(resource.RLIMIT_NOFILE, (files + more, hard))
    try:
        Worker("numpy", target, places, Path(sys.executable), 60.0).stop()
    except mc.MulticonvError as error:
        print(type(error).__name__, error)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert open_files() == files, (more, files, open_files())
Worker("numpy", target, places, Path(sys.executable), 60.0).stop()
print("ends well")
"""


def test_what_this_process_lacks_is_not_the_backends_fault():
    ran = subprocess.run([sys.executable, "-W", "error", "-c", LIMITED], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    first, same, again, *starts, end = ran.stdout.splitlines()
    assert first == ("ResourceError the arrays for numpy can't be shared with its worker: [Errno 27] File too large")
    assert (same, again, end) == ("True True", "True True", "ends well")
    assert set(starts) == {"ResourceError a worker for numpy can't be started: Too many open files"}


UNMAPPABLE = """
import resource
from multiconv.core.errors import ResourceError

backend = registry.new_worker("numpy")
assert works(backend)
before = pid(backend)
mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (mapped + (16 << 20), hard))
with pytest.raises(ResourceError, match="bytes of an answer can't be mapped into memory: .*Cannot allocate memory"):
    backend.cross_correlate(np.ones((1, 1, 1, 1)), np.ones((1, 1, 1, 1)), padding=1000)
resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
assert works(backend) and pid(backend) == before
"""


def test_an_answer_that_this_process_can_not_map_leaves_the_worker_alone(tmp_path):
    assert script(UNMAPPABLE, tmp_path).wait(60) == 0


def test_too_many_arrays_for_a_request_leave_the_worker_alone(numpy):
    assert works(numpy)
    before = pid(numpy)
    with pytest.raises(ValueError, match=r"a frame of \d+ bytes can't be sent"):
        numpy.worker.compute("loop", *[np.zeros(1 << 16, "uint8")] * 257, name="corr2d")
    assert works(numpy)
    assert pid(numpy) == before


def test_a_python_with_a_null_character_in_its_name():
    with pytest.raises(mc.BackendUnavailable, match="can't run in"):
        start("/usr/bin/py\0thon")
    with pytest.raises(mc.BackendUnavailable, match="can't run in"):
        mc.backend("numpy@/usr/bin/py\0thon")


# ---- Pythons that won't do


def not_a_python(tmp_path, text, mode=0o755):
    path = tmp_path / "python"
    path.write_text(text)
    path.chmod(mode)
    return path


def refusals(name, python):
    """What `multiconv.backend` says of a Python, and what a worker that is started in it nonetheless does."""
    with pytest.raises(mc.BackendUnavailable) as first:
        mc.backend(f"{name}@{python}")
    with pytest.raises(mc.BackendUnavailable) as second:
        start(python)
    return str(first.value), str(second.value)


def test_a_python_that_does_not_exist():
    first, second = refusals("numpy", "/nowhere/python")
    assert first == "numpy can't run in /nowhere/python: No such file or directory"
    assert second == "trouble can't run in /nowhere/python: No such file or directory"


def test_a_python_that_is_not_executable(tmp_path):
    python = not_a_python(tmp_path, "", mode=0o644)
    first, second = refusals("numpy", python)
    assert first == f"numpy can't run in {python}: Permission denied"
    assert second == f"trouble can't run in {python}: Permission denied"


@pytest.mark.parametrize("status", [0, 1])
def test_a_python_that_is_none(tmp_path, status):
    python = not_a_python(tmp_path, f"#!/bin/sh\necho I am a teapot\nexit {status}\n")
    first, second = refusals("numpy", python)
    assert first == f"numpy can't run in {python}: it is not a working Python interpreter; it wrote: 'I am a teapot'"
    assert second == (
        f"trouble can't be loaded in {python}: the process ended with exit status {status}; it wrote:\nI am a teapot"
    )


@pytest.mark.parametrize(("minor", "refused"), [(7, True), (9, True), (10, False)])
def test_a_python_that_is_too_old_is_refused_before_it_loads_anything(tmp_path, minor, refused):
    """This Python, which says that it is an older one."""
    older = f'import sys; sys.version_info = (3, {minor}, 1, "final", 0); exec(sys.argv.pop(1))'
    python = not_a_python(tmp_path, f"#!/bin/sh\nshift 2\nexec {sys.executable} -I -c '{older}' \"$@\"\n")
    if not refused:
        assert registry.locate(f"numpy@{python}").version == np.__version__
        return
    with pytest.raises(mc.BackendUnavailable) as caught:
        mc.backend(f"numpy@{python}")
    assert str(caught.value) == f"numpy can't run in {python}: it is Python 3.{minor}, and a worker needs 3.10 or later"


def test_a_worker_that_does_not_describe_itself(tmp_path):
    text = json.dumps({"number": 0, "value": {"version": "1"}, "arrays": [], "arena": 0}).encode()
    frame = struct.pack("!i", 4 + len(text)) + struct.pack("<I", len(text)) + text
    greet = f"import json, os, sys\nos.write(json.loads(sys.argv[-1])['connection'], {frame!r})\n"
    python = not_a_python(tmp_path, f"#!{sys.executable}\n{greet}")
    with pytest.raises(mc.BackendUnavailable) as caught:
        start(python)
    assert str(caught.value) == (
        f"trouble can't be loaded in {python}: the process sent an invalid answer "
        "(it does not describe itself: {'version': '1'})"
    )


def test_a_python_without_numpy(bare_python):
    first, second = refusals("numpy", bare_python)
    assert first == f"numpy can't run in {bare_python}: that Python has no numpy"
    assert second.startswith(
        f"trouble can't be loaded in {bare_python}: the process ended with exit status 1; it wrote:"
    )
    assert second.endswith("No module named 'numpy'")


def test_a_backend_that_is_not_there():
    with pytest.raises(mc.BackendUnavailable, match=r"trouble can't be loaded in .*: AttributeError: .*'Missing'"):
        start(target="multiconv_loops.trouble:Missing")


def test_a_python_that_has_numpy_needs_nothing_else(other_python):
    backend = mc.backend(f"numpy@{other_python}")
    assert backend.python == other_python
    assert works(backend)
    layer = a_layer(start(other_python), 6)
    assert layer(ONE) == 6


def test_no_pythonpath_leaks_into_another_python(other_python, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('this is not the NumPy you are looking for')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert subprocess.run([other_python, "-c", "import numpy"], stderr=subprocess.DEVNULL, check=False).returncode == 1
    assert works(start(other_python))


# ---- Answers

OPTIONS = [
    {},
    {"stride": 2, "padding": ((0, 1), (2, 0)), "dilation": (1, 2), "groups": 2},
    {"padding": "same", "layout": "NHWC"},
]


def integers(shape, dtype, seed=0):
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)


def calls(backend, options, batch, size, dtype):
    """The answers of every method, as NumPy arrays."""
    groups, last = options.get("groups", 1), options.get("layout") == "NHWC"
    x = integers((batch, size, size, 4) if last else (batch, 4, size, size), dtype)
    w, bias, x_bias = integers((6, 4 // groups, 3, 3), dtype), integers((6,), dtype), integers((4,), dtype)
    y = backend.cross_correlate(x, w, bias, **options)
    yield y
    dy = integers(tuple(y.shape), dtype, seed=1)
    yield backend.convolve(x, w, **options)
    yield from backend.cross_correlate_vjp(x, w, bias, dy, **options)
    yield backend.conv_transpose(dy, w, x_bias, **options)
    if batch:
        yield backend.layer(w, bias, **options)(backend.asarray(x))
        yield backend.corr2d(x[0, 0], w[0, 0])
        yield backend.corr2d_multi_in(x[0, : w.shape[1]], w[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("batch", "size"), [(0, 5), (1, 5), (3, 9), (2, 64)])
@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "every option", "channels last"])
@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_answers_are_those_of_the_same_backend_in_this_process(request, name, options, batch, size, dtype):
    here, there = mc.backend(name), request.getfixturevalue(name)
    expected = [here.to_numpy(a) for a in calls(here, options, batch, size, dtype)]
    answers = list(calls(there, options, batch, size, dtype))
    assert len(answers) == len(expected)
    for answer, right in zip(answers, expected):
        np.testing.assert_array_equal(answer, right, strict=True)
        assert answer.flags.writeable


@pytest.mark.parametrize(
    "laid_out",
    [np.asfortranarray, lambda a: a[::-1], lambda a: a.astype(">f4"), lambda a: np.broadcast_to(a[:1], a.shape)],
    ids=["Fortran order", "backwards", "big-endian", "broadcast"],
)
def test_an_array_may_lie_in_memory_as_it_likes(numpy, laid_out):
    x, w = laid_out(integers((3, 2, 150, 150), "float32")), laid_out(integers((3, 2, 3, 3), "float32"))
    expected = numpy.cross_correlate(np.array(x, "float32", order="C"), np.array(w, "float32", order="C"))
    np.testing.assert_array_equal(numpy.cross_correlate(x, w), expected, strict=True)


@pytest.mark.parametrize("shape", [(), (0, 1, 4, 4), (2, 1, 1, 1)])
def test_a_layer_is_given_what_it_is_called_with(numpy, shape):
    layer = a_layer(numpy, 2)
    if shape == ():
        with pytest.raises(mc.ConvError, match=r"its shape is \(\)"):
            layer(np.ones((), "float32"))
    else:
        np.testing.assert_array_equal(layer(np.ones(shape, "float32")), np.full(shape, 2, "float32"), strict=True)


def test_an_answer_keeps_its_values_when_the_next_comes(numpy):
    x, w = np.ones((1, 1, 200, 200)), np.ones((1, 1, 1, 1))
    first = numpy.cross_correlate(x, w)
    numpy.cross_correlate(2 * x, w)
    assert np.all(first == 1)


def test_a_refusal_has_the_same_words_as_in_this_process(torch):
    def words(backend):
        said = []
        for x, w, options in [
            (np.ones(()), np.ones((1, 1, 1)), {}),
            (np.ones((1, 1, 2)), np.ones((1, 1, 3)), {}),
            (np.ones((1, 1, 2)), np.ones((1, 1, 1), "float32"), {}),
            (np.ones((1, 1, 2)), np.ones((1, 1, 1)), {"stride": True}),
        ]:
            with pytest.raises(mc.ConvError) as caught:
                backend.cross_correlate(x, w, **options)
            said.append(str(caught.value))
        return said

    assert words(torch) == words(mc.backend("torch"))


def test_the_frameworks_own_gradient_of_corr2d(torch):
    Y = np.ones((3, 3), "float32")
    here = mc.backend("torch")
    expected = here.vjp(here.corr2d, [here.asarray(a.copy()) for a in (X, K)], here.asarray(Y))
    for answer, right in zip(torch.vjp(torch.corr2d, (X, K), Y), expected, strict=True):
        np.testing.assert_array_equal(answer, here.to_numpy(right), strict=True)
