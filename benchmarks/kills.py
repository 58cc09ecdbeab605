"""Kill test: 500 random kills and stops, after each of which nothing is left behind and the next call is right.

Each trial starts something, sends a signal at a random moment, and looks. *Worker* kills or stops a worker while this
process starts it, calls it or closes it. *Program* ends a program that uses a worker. *Check*, *bench* and *env create*
end these commands; a benchmark is then run again from its journal, and an environment is created or absent.

``make kills`` runs 500 trials. Each is a line of JSON in the log, so an interrupted run continues where it stopped. The
exit status is 1 if there is a finding.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from multiconv import BackendCrashed, BackendTimeout, BackendUnavailable, registry

LOG = Path(__file__).parent / "results" / "kills.jsonl"
TRIALS = 500
MARK = "MULTICONV_KILLS"
"""An environment variable that every process of a trial inherits."""
LEFT_SECONDS = 10.0
"""Time in which the processes of a trial must have ended."""
X, W = np.arange(30.0).reshape(1, 1, 5, 6), np.ones((1, 1, 2, 2))
STOPPED_SECONDS = 1.5
"""How long a worker is stopped: longer than its time limit for a call."""
RIGHT = (X[..., :-1, :-1] + X[..., :-1, 1:] + X[..., 1:, :-1] + X[..., 1:, 1:]).tobytes()
PROGRAM = """
import sys
import numpy as np
from multiconv import registry
while True:
    worker = registry.new_worker("numpy", 60)
    for _ in range(50):
        worker.cross_correlate(np.ones((1, 1, 400, 400)), np.ones((1, 1, 2, 2)))
    worker.close()
"""
COMMAND = (sys.executable, "-m", "multiconv")
BENCH = ("bench", "numpy", "--layer", "x=1,1,8,8 w=1,1,3,3", "--rounds", "2", "--direction", "forward", "--resume")


class Finding(Exception):
    """What a trial found."""


def worker(rng: np.random.Generator, folder: Path) -> str:
    """Kill or stop a worker of this process at a random moment of its start, calls or end."""
    number = int(rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGINT, signal.SIGSTOP]))
    delay = float(rng.uniform(0, 0.6))
    descriptors = names("/proc/self/fd")
    parent, ended = os.getpid(), threading.Event()

    def kill() -> None:
        time.sleep(delay)
        stopped = children(parent)
        for each in (number, *[signal.SIGCONT] * (number == signal.SIGSTOP)):
            for child in stopped:
                with suppress(ProcessLookupError):
                    os.kill(child, each)
            time.sleep(STOPPED_SECONDS if number == signal.SIGSTOP else 0)
        ended.set()

    thread = threading.Thread(target=kill)
    thread.start()
    began = time.monotonic()
    with suppress(BackendUnavailable):  # it was killed while it started
        while not ended.is_set():
            backend = registry.new_worker("numpy", 1.0)
            with suppress(BackendCrashed, BackendTimeout):
                while time.monotonic() - began < delay + 0.1:
                    if np.asarray(backend.cross_correlate(X, W)).tobytes() != RIGHT:
                        raise Finding("a wrong answer")
            if backend.cross_correlate(X, W).tobytes() != RIGHT:
                raise Finding("the next call is wrong")
            backend.close()
    thread.join()
    if len(left := names("/proc/self/fd") - descriptors):
        raise Finding(f"{len(left)} descriptors are left")
    return f"{signal.Signals(number).name} after {delay:.2f} s"


def program(rng: np.random.Generator, folder: Path) -> str:
    """End a program that starts, calls and closes workers."""
    return ended_at_random([sys.executable, "-c", PROGRAM], rng, 2.0)[0]


def check(rng: np.random.Generator, folder: Path) -> str:
    """End a check."""
    return ended_at_random([*COMMAND, "check", "numpy", "--examples", "20"], rng, 5.0)[0]


def bench(rng: np.random.Generator, folder: Path) -> str:
    """End a benchmark, and run it again from its journal."""
    command = [*COMMAND, *BENCH, str(folder / "journal")]
    said, _ = ended_at_random(command, rng, 4.0)
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    if again.returncode:
        raise Finding(f"the benchmark can't continue: {again.stderr[-500:]}")
    return said


def environment(rng: np.random.Generator, folder: Path) -> str:
    """End the creation of an environment, which then exists whole or not at all."""
    os.environ["MULTICONV_HOME"] = str(folder / "home")
    try:
        said, _ = ended_at_random([*COMMAND, "env", "create", "numpy@2.3.5"], rng, 6.0)
        listed = subprocess.run([*COMMAND, "env", "list"], capture_output=True, text=True, check=False)
        if listed.returncode:
            raise Finding(f"environments can't be listed: {listed.stderr[-500:]}")
        if "numpy@2.3.5" in listed.stdout:
            worker = registry.new_worker("numpy@2.3.5", 60)
            if worker.cross_correlate(X, W).tobytes() != RIGHT:
                raise Finding("the environment is broken")
            worker.close()
    finally:
        del os.environ["MULTICONV_HOME"]
    return said


KINDS: dict[str, tuple[float, Callable[[np.random.Generator, Path], str]]] = {
    "worker": (0.5, worker),
    "program": (0.25, program),
    "check": (0.1, check),
    "bench": (0.1, bench),
    "env create": (0.05, environment),
}
"""The kinds of trials, each with its share."""


def ended_at_random(command: list[str], rng: np.random.Generator, seconds: float) -> tuple[str, int]:
    """Run a command, and send it a signal at a random moment."""
    number = int(rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP]))
    delay = float(rng.uniform(0, seconds))
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    time.sleep(delay)
    running.send_signal(number)
    try:
        status = running.wait(30)
    except subprocess.TimeoutExpired:
        running.kill()
        raise Finding(f"{signal.Signals(number).name} after {delay:.2f} s did not end it") from None
    return f"{signal.Signals(number).name} after {delay:.2f} s", status


def names(folder: str) -> set[str]:
    """Return the names of what is in a folder."""
    return {path.name for path in Path(folder).iterdir()}


def children(parent: int) -> list[int]:
    """Return the processes whose parent this is."""
    found: list[int] = []
    for task in Path(f"/proc/{parent}/task").iterdir():
        with suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


def marked(mark: str) -> list[str]:
    """Return the commands of the other processes that inherited the mark."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            with suppress(OSError):
                if f"{MARK}={mark}\0".encode() in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200])
    return found


@contextmanager
def nothing_left(folder: Path, *, files: bool) -> Iterator[None]:
    """Raise an exception if processes, temporary files or shared memory are left behind."""
    mark, memory = folder.name, names("/dev/shm")
    temporary = folder / "tmp"
    temporary.mkdir()
    kept = {name: os.environ.get(name) for name in (MARK, "TMPDIR")}
    os.environ |= {MARK: mark, "TMPDIR": str(temporary)}
    tempfile.tempdir = None
    try:
        yield
        deadline = time.monotonic() + LEFT_SECONDS
        while (left := marked(mark)) and time.monotonic() < deadline:
            time.sleep(0.05)
        if left:
            raise Finding(f"processes are left: {left}")
        if files and any(temporary.iterdir()):
            raise Finding(f"files are left: {[path.name for path in temporary.iterdir()]}")
        if left_memory := names("/dev/shm") - memory:
            raise Finding(f"shared memory is left: {left_memory}")
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        tempfile.tempdir = None


def trial(number: int) -> dict[str, Any]:
    """Run the trial of this number."""
    rng = np.random.default_rng(number)
    kind = str(rng.choice(list(KINDS), p=[share for share, _ in KINDS.values()]))
    said, finding, began = "", None, time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"kills-{number}-") as folder:
        try:
            # A program that is killed at once can't remove the folders that it or pip has made.
            with nothing_left(Path(folder), files=kind in ("worker", "program")):
                said = KINDS[kind][1](rng, Path(folder))
        except Exception as error:
            finding = str(error) if isinstance(error, Finding) else f"{type(error).__name__}: {error}"
    return {
        "trial": number, "kind": kind, "signal": said, "finding": finding,
        "seconds": round(time.monotonic() - began, 2),
    }  # fmt: skip


def finished(log: Path) -> list[dict[str, Any]]:
    """Return the trials in the log."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--log", type=Path, default=LOG)
    asked = parser.parse_args()
    for ignored in (signal.SIGINT, signal.SIGHUP):  # by the programs that a shell runs in the background
        signal.signal(ignored, signal.default_int_handler)
    done = {found["trial"] for found in finished(asked.log)}
    todo = [number for number in range(asked.first, asked.first + asked.trials) if number not in done]
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(
        *columns, TextColumn("{task.fields[last]}"), console=Console(stderr=True), disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task("trials", total=len(todo), last="")
        for number in todo:
            found = trial(number)
            with asked.log.open("a") as file:
                file.write(json.dumps(found) + "\n")
            bar.update(task, advance=1, last=f"{found['kind']}: {found['finding'] or 'nothing left'}")
    table = Table("kind", "trials", "findings", box=None)
    trials = finished(asked.log)
    findings = Counter(found["kind"] for found in trials if found["finding"])
    for kind, count in Counter(found["kind"] for found in trials).items():
        table.add_row(kind, str(count), str(findings[kind]))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
