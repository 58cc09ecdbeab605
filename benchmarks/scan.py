"""Scan small geometries: compare every backend with the exact oracle on many combinations of small sizes and options.

``make scan`` runs it on the five backends. All values are small integers, so an answer must be exact to the bit
if its dtype holds every partial sum. Each geometry is tested forward, for its three gradients and transposed. One in
five is also tested as a strict convolution, and one in five as the framework's own layer.

The geometries come in chunks, each from a random seed of its own. A finished chunk is a line of JSON in the log for
each backend, so an interrupted run continues where it stopped. A crash or a timeout counts as a wrong answer, and the
run goes on with a new worker. The exit status is 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import combinations, islice
from pathlib import Path
from queue import Queue
from threading import Lock
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from threadpoolctl import threadpool_limits

from multiconv import registry
from multiconv.core.spec import ConvSpec
from multiconv.core.targets import ORDER
from multiconv.oracle.judgement import Expected, judge
from multiconv.oracle.problem import Problem
from multiconv.testing.problem_values import with_values
from multiconv.workers.process import FILLED_MEMORY, PATIENT_THREADS
from multiconv.workers.remote import RemoteBackend

LOG = Path(__file__).parent / "results" / "scan.jsonl"
VERSION = 1
"""The version of the drawing; lines of the log with another version are ignored."""
CHUNK = 5000
HALF_PRECISION_EVERY = 6
"""Every sixth geometry is in float16 or bfloat16, which not all backends compute."""
ONE_OF = {"jax": 8}
"""Backends that compile each geometry get one of so many: the one with the rarest pairs of levels."""
WORKERS = {"jax": 2}
ENVIRONMENT = {
    **PATIENT_THREADS,
    **FILLED_MEMORY,
    "OMP_NUM_THREADS": "1",  # the images are too small for more
    # On Linux, make the C library detect writes past the end of memory.
    "LD_PRELOAD": "libc_malloc_debug.so.0",
    "MALLOC_CHECK_": "3",
}
AHEAD = 64
TIMEOUT_SECONDS = 60.0
SHOWN_PER_CHUNK = 20

ALWAYS = ("forward", "input gradient", "kernel gradient", "bias gradient", "conv_transpose")
BESIDES = {0: ("convolve",), 1: ("layer",)}
"""More directions, by the number of the geometry modulo 5."""

# The levels of each option. A level that is listed twice is drawn twice as often.
NDIMS = (1, 2, 2, 2, 3, 3)
KERNELS = (1, 1, 2, 3, 3, 4, 5)
STRIDES = (1, 1, 1, 2, 2, 3, 4, 6)
DILATIONS = (1, 1, 1, 2, 3)
OUTPUTS = (1, 1, 1, 2, 2, 3, 4, 5, 9)
SIDES = ("none", "none", "equal", "equal", "within", "within", "before", "after", "both", "far")
WORDS = ("same", "same_lower", "full", "valid")
GROUPS = (1, 1, 1, 2, 3, 4)
IN_CHANNELS = (1, 1, 2, 3, 4, 8)
OUT_CHANNELS = (1, 2, 3, 4, 5, 8, 16)
BATCHES = (1, 1, 1, 2, 2, 3, 3)
WORD_SHARE, EMPTY_SHARE = 0.2, 0.01
MOST_PRODUCTS = 300_000


@dataclass(frozen=True)
class Axis:
    """One spatial axis of a geometry."""

    size: int
    kernel: int
    stride: int
    dilation: int
    pads: tuple[int, int]
    side: str
    outputs: int


@dataclass
class Tally:
    """The results of one backend in one chunk."""

    geometries: int = 0
    judged: int = 0
    wrong: int = 0
    seconds: float = 0.0
    shown: list[dict[str, Any]] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)


# ---- Drawing


def draw_axis(rng: random.Random, word: str | None, ndim: int) -> Axis:
    """Return a random axis with a given number of outputs, if the padding allows it."""
    kernel, stride, dilation = rng.choice(KERNELS), rng.choice(STRIDES), rng.choice(DILATIONS)
    outputs = min(rng.choice(OUTPUTS), 9 if ndim < 3 else 3)
    left_over = rng.choice((0, rng.randrange(stride)))
    extent = (kernel - 1) * dilation + 1
    side = word or rng.choice(SIDES)
    less, equal, more = rng.randrange(extent), rng.randint(1, 3), extent + rng.randrange(3)
    pads = {
        "none": (0, 0),
        "equal": (equal, equal),
        "within": (less, rng.randrange(extent)),
        "before": (more, less),
        "after": (less, more),
        "both": (more, extent + rng.randrange(3)),
        "far": (rng.choice((0, 7, 12)), rng.choice((0, 7, 12))),
        "full": (extent - 1, extent - 1),
    }.get(side, (0, 0))
    if side.startswith("same"):
        size = (outputs - 1) * stride + rng.randint(1, stride)
    else:
        size = max((outputs - 1) * stride + extent + left_over - sum(pads), 1)
    return Axis(size, kernel, stride, dilation, pads, side, outputs)


def draw(rng: random.Random, *, half: bool, seed: int) -> tuple[Problem, list[tuple[str, Any]]]:
    """Return a random problem of small integers and its levels."""
    while True:
        ndim = rng.choice(NDIMS)
        word = rng.choice(WORDS) if rng.random() < WORD_SHARE else None
        axes = [draw_axis(rng, word, ndim) for _ in range(ndim)]
        groups, batch = rng.choice(GROUPS), 0 if rng.random() < EMPTY_SHARE else rng.choice(BATCHES)
        in_group, out_group = rng.choice(IN_CHANNELS), rng.choice(OUT_CHANNELS)
        layout = rng.choice((None, {1: "NWC", 2: "NHWC", 3: "NDHWC"}[ndim]))
        spec = ConvSpec(
            tuple(axis.stride for axis in axes),
            word or tuple(axis.pads for axis in axes),
            tuple(axis.dilation for axis in axes),
            groups,
            layout,
        )
        size, kernel = tuple(axis.size for axis in axes), tuple(axis.kernel for axis in axes)
        x_shape = (batch, *size, groups * in_group) if layout else (batch, groups * in_group, *size)
        g = spec.resolve(x_shape, (groups * out_group, in_group, *kernel))
        if g.products <= MOST_PRODUCTS:
            break
    dtype = rng.choice(("float16", "bfloat16") if half else ("float32", "float32", "float64"))
    bias = rng.random() < 0.5
    of_axes = [
        (f"{name} of axis {number - ndim}", value)
        for number, (axis, out, over) in enumerate(zip(axes, g.out, g.output_padding))
        for name, value in (
            ("kernel", axis.kernel), ("stride", axis.stride), ("dilation", axis.dilation), ("side", axis.side),
            ("outputs", min(out, 4)), ("left over", over > 0),
        )
    ]  # fmt: skip
    of_all = {
        "ndim": ndim, "groups": groups, "C_in": in_group, "C_out": out_group, "batch": batch, "layout": layout,
        "dtype": dtype, "bias": bias,
    }  # fmt: skip
    problem = with_values("scan", spec, g, dtype, bias=bias, values="integers", seed=seed)
    return problem, [*of_axes, *of_all.items()]


def problems(seed: int, count: int, groups_of: set[int]) -> Iterator[tuple[int, Problem, set[int]]]:
    """Yield the problems of a chunk: the number, the problem, and the sizes of groups that it represents.

    For each size, problems are taken in groups of that size. The problem whose pairs of levels were chosen least often
    so far represents its group.
    """
    rng, seen = random.Random(seed), {size: Counter[Any]() for size in groups_of}
    numbered = (
        (number, *draw(rng, half=number % HALF_PRECISION_EVERY == 0, seed=seed * CHUNK + number))
        for number in range(count)
    )
    longest = max(groups_of, default=1)
    while together := list(islice(numbered, longest)):
        chosen: dict[int, set[int]] = {number: set() for number, *_ in together}
        for size, times in seen.items():
            for first in range(0, len(together), size):
                pairs = {n: list(combinations(levels, 2)) for n, _, levels in together[first : first + size]}
                rarest = max(pairs, key=lambda n: sum(1 / (1 + times[pair]) for pair in pairs[n]))
                times.update(pairs[rarest])
                chosen[rarest].add(size)
        yield from ((number, problem, chosen[number]) for number, problem, _ in together)


# ---- Running


def scan_chunk(
    seed: int, count: int, names: Sequence[str], progress: Progress, tasks: dict[str, Any]
) -> dict[str, Tally]:
    """Run a chunk on these backends, in new workers."""
    tallies = {name: Tally() for name in names}
    with ThreadPoolExecutor(sum(WORKERS.get(name, 1) for name in names)) as pool:
        each = [name for name in names for _ in range(WORKERS.get(name, 1))]
        workers = list(pool.map(lambda name: registry.new_worker(name, TIMEOUT_SECONDS, ENVIRONMENT), each))
        queues: dict[str, Queue[Any]] = {name: Queue(AHEAD) for name in names}

        def consume(name: str, worker: RemoteBackend) -> None:
            while (item := queues[name].get()) is not None:
                number, problem, directions, expected = item
                ask(worker, number, problem, directions, expected, tallies[name])
                progress.advance(tasks[name])

        done = [pool.submit(consume, name, worker) for name, worker in zip(each, workers)]
        try:
            with threadpool_limits(1):
                dtypes = {name: worker.dtypes for name, worker in zip(each, workers)}
                for number, problem, chosen in problems(
                    seed, count, {ONE_OF[name] for name in names if name in ONE_OF}
                ):
                    wanted = [
                        n for n in names if problem.dtype in dtypes[n] and (n not in ONE_OF or ONE_OF[n] in chosen)
                    ]
                    if wanted:
                        directions = (*ALWAYS, *BESIDES.get(number % 5, ()))
                        expected = problem.expectations(directions)
                        for name in wanted:
                            queues[name].put((number, problem, directions, expected))
        except BaseException:
            for worker in workers:
                worker.worker.interrupt()
            raise
        finally:
            for name in each:
                queues[name].put(None)
            for future in done:
                future.result()
            list(pool.map(RemoteBackend.close, workers))
    return tallies


def ask(
    worker: RemoteBackend,
    number: int,
    problem: Problem,
    directions: Sequence[str],
    expected: dict[str, Expected],
    tally: Tally,
) -> None:
    """Judge the answers of a backend to one problem."""
    began = time.perf_counter()
    faults, judged = {}, 0
    for direction, answer in problem.answers(worker, *directions):
        judged += 1
        if isinstance(answer, Exception):
            faults[direction] = f"{type(answer).__name__}: {answer}"[:2000]
        else:
            faults[direction] = judge(answer, expected[direction]).fault or ""
    with tally.lock:
        tally.geometries += 1
        tally.judged += judged
        tally.seconds += time.perf_counter() - began
        for direction, fault in faults.items():
            if fault:
                tally.wrong += 1
                if len(tally.shown) < SHOWN_PER_CHUNK:
                    described = {"number": number, "direction": direction, "fault": fault, **problem.describe()}
                    tally.shown.append(described)


def scan(names: Sequence[str], seeds: Sequence[int], count: int, log: Path) -> None:
    """Run the chunks that the log lacks, and add each to it."""
    have = {(r["backend"], r["seed"]) for r in finished(log, count)}
    todo = {seed: [name for name in names if (name, seed) not in have] for seed in seeds}
    columns = (
        TextColumn("{task.description:12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        tasks = {}
        for name in names:
            chunks = sum(name in wanted for wanted in todo.values())
            tasks[name] = progress.add_task(name, total=chunks * expected_count(name, count))
        for seed, wanted in todo.items():
            if not wanted:
                continue
            for name, tally in scan_chunk(seed, count, wanted, progress, tasks).items():
                line = {
                    "version": VERSION, "seed": seed, "count": count, "backend": name,
                    "geometries": tally.geometries, "judged": tally.judged, "wrong": tally.wrong,
                    "seconds": round(tally.seconds, 1), "shown": tally.shown,
                }  # fmt: skip
                with log.open("a") as file:
                    file.write(json.dumps(line) + "\n")


def expected_count(name: str, count: int) -> int:
    """Return the approximate number of a chunk's geometries that a backend gets."""
    if name in ONE_OF:
        return -(-count // ONE_OF[name])
    return count - -(-count // HALF_PRECISION_EVERY) if name in ("numpy", "mxnet") else count


# ---- Reporting


def finished(log: Path, count: int) -> list[dict[str, Any]]:
    """Return the chunks of this size in the log."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [r for r in lines if r["version"] == VERSION and r["count"] == count]


def report(records: Sequence[dict[str, Any]], names: Sequence[str], console: Console) -> bool:
    """Print the faults and a table, and return whether there were no faults."""
    table = Table("backend", "geometries", "directions judged", "wrong", "seconds", box=None)
    for name in names:
        own = [r for r in records if r["backend"] == name]
        for r in own:
            for shown in r["shown"]:
                described = ", ".join(
                    f"{key}={value!r}" for key, value in shown.items() if key not in ("fault", "source")
                )
                console.print(f"{name} is wrong (seed {r['seed']}): {described}\n    {shown['fault']}", markup=False)
        totals = [sum(r[key] for r in own) for key in ("geometries", "judged", "wrong", "seconds")]
        table.add_row(name, *(f"{total:,.0f}" for total in totals))
    console.print(table)
    return not any(r["wrong"] for r in records)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", default=list(ORDER), metavar="BACKEND", help="default: all five")
    parser.add_argument("--count", type=int, default=125_000, help="number of geometries; JAX is asked one of 8")
    parser.add_argument("--first-seed", type=int, default=0, help="random seed of the first chunk")
    parser.add_argument("--log", type=Path, default=LOG, help="where finished chunks are kept")
    asked = parser.parse_args()
    asked.log.parent.mkdir(parents=True, exist_ok=True)
    size = min(asked.count, CHUNK)
    seeds = range(asked.first_seed, asked.first_seed + -(-asked.count // CHUNK))
    scan(asked.names, seeds, size, asked.log)
    records = [r for r in finished(asked.log, size) if r["seed"] in seeds and r["backend"] in asked.names]
    clean = report(records, asked.names, Console(width=None if sys.stdout.isatty() else 200))
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
