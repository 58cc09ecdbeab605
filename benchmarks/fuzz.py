"""Fuzz test: hostile calls of every public method, each of which must give the right answer or one clear error.

A call is a valid one with up to two of its arguments replaced: by another rank, size, dtype, memory layout or type, or
by a bad option. Some of its arrays are the framework's own. What a backend may answer follows from the call alone.
Where `multiconv.Backend` refuses it, every backend must refuse it with the same error. Otherwise the answer must be the
oracle's. Anything else is a finding: another error, a wrong answer, a crash, a hang.

``make fuzz`` makes 20,000 calls of each backend, 500 to a process. Each finished chunk is a line of JSON in the log, so
an interrupted run continues where it stopped. The exit status is 1 if there is a finding.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from multiconv import Backend, ConvSpec, backend
from multiconv.core.errors import ConvError, UnsupportedError
from multiconv.core.spec import LAYOUTS
from multiconv.core.targets import ORDER
from multiconv.core.types import Host
from multiconv.oracle.judgement import judge
from multiconv.testing.problem_values import given_values

LOG = Path(__file__).parent / "results" / "fuzz.jsonl"
CALLS = 500
"""Number of calls in a process."""
CALL_SECONDS = 60
PROCESS_SECONDS = 600
"""Time limit of a process, for a call that does not return to Python."""
SHOWN = 5
"""Number of findings of a chunk that the log describes."""
MOST_ELEMENTS = 10_000
"""Number of elements above which an array is not changed a second time, as it may be a view that fits no memory."""
COMPILED_SHAPES = 12
LOOPS = {"corr2d": (2, 2), "corr2d_multi_in": (3, 3), "corr2d_multi_in_out": (3, 4)}
"""d2l's loops, with the number of axes of X and K."""
OPERATIONS = ("cross_correlate", "convolve", "conv_transpose", "cross_correlate_vjp", "layer")
METHODS = (*OPERATIONS, *LOOPS, "asarray")
Call = tuple[str, dict[str, Any], dict[str, Any]]
"""A method, its arrays and its options."""


# ---- The calls


class Matrix(np.ndarray):
    """A subclass of NumPy's arrays that multiplies as matrices do."""

    def __mul__(self, other: Any) -> Any:
        return self @ other


ARRAYS: dict[str, Callable[[Host], Any]] = {
    "nothing": lambda a: None,
    "a list": lambda a: a.tolist(),
    "a number": lambda a: 1.0,
    "text": lambda a: "x",
    "no axes": lambda a: a.ravel()[:1].reshape(()),
    "an axis less": lambda a: a[0],
    "an axis more": lambda a: a[None],
    "four axes more": lambda a: a[None, None, None, None],
    "an empty first axis": lambda a: a[:0],
    "an empty last axis": lambda a: a[..., :0],
    "a longer first axis": lambda a: np.concatenate([a, a]),
    "a shorter last axis": lambda a: a[..., :1],
    "a longer last axis": lambda a: np.concatenate([a, a, a], axis=-1),
    "too many elements": lambda a: np.broadcast_to(a.ravel()[0], (*a.shape[:-1], 2**31)),
    **{
        f"{dtype} values": lambda a, dtype=dtype: a.astype(dtype)  # type: ignore[misc]
        for dtype in ("bool", "int8", "uint8", "int32", "int64", "float16", "float32", "float64", "complex64", "object")
    },
    "text values": lambda a: a.astype(str),
    "dates": lambda a: a.astype("int64").astype("datetime64[s]"),
    "records": lambda a: a.astype([("re", a.dtype), ("im", a.dtype)]),
    "a mask": lambda a: np.ma.masked_array(a, a > 0),
    "a subclass": lambda a: a.view(Matrix),
    "foreign byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "reversed memory": lambda a: np.flip(np.flip(a).copy()),
    "Fortran order": np.asfortranarray,
    "gaps": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "strides of zero": lambda a: np.broadcast_to(a[:1], a.shape),
    "unaligned memory": lambda a: unaligned(a),
    "read-only": lambda a: read_only(a),
    "NaN and infinities": lambda a: spoilt(a, (np.nan, np.inf, -np.inf)),
    "huge numbers": lambda a: spoilt(a, (np.finfo(a.dtype).max, -np.finfo(a.dtype).max)),
    "subnormal numbers": lambda a: spoilt(a, (np.finfo(a.dtype).smallest_subnormal, -0.0)),
}
NUMBERS = (
    0,
    -1,
    True,
    1.0,
    2.5,
    np.int64(2),
    np.float32(1),
    np.array(2),
    None,
    "1",
    2**31,
    2**70,
    (),
    (1, 2, 3, 4),
    [2, 2],
)
PADDINGS = (
    *NUMBERS,
    "valid",
    "same",
    "same_lower",
    "full",
    "SAME",
    "causal",
    ((0, 1), (2, 0)),
    ((1,),),
    ((-1, 0),),
    3,
    (2, 1),
)
OPTIONS: dict[str, tuple[Any, ...]] = {
    "stride": (*NUMBERS, 2, 7, (1, 2)),
    "padding": PADDINGS,
    "dilation": (*NUMBERS, 2, 9, (2, 1)),
    "groups": (*NUMBERS, 2, 3),
    "layout": (*LAYOUTS, "nchw", "NHCW", "", 3, None),
    "output_padding": (*NUMBERS, 1),
}


def unaligned(a: Host) -> Host:
    """Return a copy that begins one byte after an aligned address."""
    memory = np.empty(a.nbytes + 1, np.uint8)[1:]
    copy = memory.view(a.dtype).reshape(a.shape) if a.size else a
    copy[...] = a
    return copy


def read_only(a: Host) -> Host:
    """Return a copy that can't be written."""
    copy = a.copy()
    copy.flags.writeable = False
    return copy


def spoilt(a: Host, values: tuple[Any, ...]) -> Host:
    """Return a copy in which these values come now and then."""
    copy = a.copy()
    copy.reshape(-1)[:: max(a.size // 3, 1)] = np.resize(
        np.array(values, a.dtype), copy.reshape(-1)[:: max(a.size // 3, 1)].shape
    )
    return copy


def drawn(rng: np.random.Generator, compiles: bool) -> tuple[str, Call]:
    """Draw a call, and describe it."""
    method = METHODS[rng.choice(len(METHODS), p=[0.2, 0.1, 0.15, 0.15, 0.16, 0.06, 0.06, 0.06, 0.06])]
    shapes = np.random.default_rng(int(rng.integers(COMPILED_SHAPES))) if compiles else rng
    arrays, options = valid(method, shapes, rng)
    said = [method, f"{ {name: a.shape for name, a in arrays.items()} }", f"{options}"]
    for _ in range(rng.choice(3, p=[0.15, 0.6, 0.25])):
        allowed = [o for o in OPTIONS if o != "output_padding" or method == "conv_transpose"]
        if method in OPERATIONS and rng.random() < 0.45:
            name = allowed[rng.integers(len(allowed))]
            options[name] = OPTIONS[name][rng.integers(len(OPTIONS[name]))]
            said.append(f"{name}={options[name]!r}")
        else:
            name = list(arrays)[rng.integers(len(arrays))]
            how = list(ARRAYS)[rng.integers(len(ARRAYS))]
            known = isinstance(arrays[name], np.ndarray) and arrays[name].size <= MOST_ELEMENTS
            if known and not (method == "asarray" and how == "too many elements"):  # which would copy them
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    try:
                        arrays[name] = ARRAYS[how](arrays[name])
                    except (ValueError, TypeError, IndexError, OverflowError):  # two changes that don't go together
                        continue
                said.append(f"{name}: {how}")
    return "; ".join(said), (method, arrays, options)


def valid(
    method: str, shapes: np.random.Generator, values: np.random.Generator
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw a valid call. Its shapes and options, and its values, come from two generators."""
    dtype = ("float32", "float64")[shapes.integers(2)]

    def filled(*shape: int) -> Host:
        return values.integers(-3, 4, shape).astype(dtype)

    if method in LOOPS:
        channels, *size = (int(n) for n in shapes.integers((1, 3, 3), (4, 7, 7)))
        x_axes, k_axes = LOOPS[method]
        kernel = (2, channels, 2, 3)[-k_axes:]
        return {"X": filled(*(channels, *size)[-x_axes:]), "K": filled(*kernel)}, {}
    if method == "asarray":
        return {"array": filled(*shapes.integers(1, 5, shapes.integers(1, 5)))}, {}
    ndim = int(shapes.integers(1, 4))
    groups, ins, outs, batch = (int(n) for n in shapes.integers(1, 4, 4))
    kernel, extra = (tuple(int(n) for n in shapes.integers(low, 4, ndim)) for low in (1, 0))
    options: dict[str, Any] = {
        "stride": int(shapes.integers(1, 4)),
        "padding": (0, 1, "same", ((2, 0),) * ndim)[shapes.integers(4)],
        "dilation": int(shapes.integers(1, 3)),
        "groups": groups,
    }
    image = tuple((k - 1) * options["dilation"] + 1 + e for k, e in zip(kernel, extra))
    g = ConvSpec(**options).resolve((batch, ins * groups, *image), (outs * groups, ins, *kernel))
    x, w, y = filled(*g.x_shape), filled(*g.w_shape), filled(*g.y_shape)
    has_bias = bool(shapes.integers(2))
    if method == "conv_transpose":
        arrays = {"x": y, "w": w} | ({"bias": filled(g.in_channels)} if has_bias else {})
        if options["padding"] != "same":
            options["output_padding"] = g.output_padding
        return arrays, options
    arrays = {"x": x, "w": w} | ({"bias": filled(g.out_channels)} if has_bias else {})
    return arrays | ({"dy": y} if method == "cross_correlate_vjp" else {}), options


# ---- The judgement


class Reference(Backend):
    """Validates calls as every backend does, and returns what there would be to compute."""

    def __init__(self, of: Backend) -> None:
        super().__init__()
        self.name, self.dtypes = of.name, of.dtypes

    version = "0"

    def plan(self, operation: str, g: Any, dtype: str) -> Any:
        return lambda *arrays: (g, arrays)

    def build_layer(self, spec: ConvSpec, w: Host, bias: Host | None) -> Any:
        return lambda x: self.cross_correlate(x, w, bias, **vars(spec))

    def loop(self, operation: str, X: Host, K: Host) -> Any:
        return X, K

    def _prepare(self, operation: str, g: Any, dtype: str) -> Any:
        return self.plan(operation, g, dtype)


def made(on: Backend, call: Call) -> Any:
    """Make a call."""
    method, arrays, options = call
    if method == "layer":
        weights = {name: array for name, array in arrays.items() if name != "x"}
        return on.layer(**weights, **options)(arrays["x"])
    if method == "cross_correlate_vjp":
        return on.cross_correlate_vjp(arrays["x"], arrays["w"], arrays.get("bias"), arrays["dy"], **options)
    return getattr(on, method)(**arrays, **options)


def converted(tested: Backend, call: Call, rng: np.random.Generator) -> Call:
    """Return the call with all, some or none of its arrays as the framework's own."""
    method, arrays, options = call
    share = rng.choice([0.0, 0.5, 1.0])
    own = dict(arrays)
    for name, array in arrays.items():
        if type(array) is np.ndarray and array.size <= MOST_ELEMENTS and rng.random() < share:
            with suppress(ConvError):  # the call itself is to refuse this array
                own[name] = tested.asarray(array)
    return method, own, options


def finding(tested: Backend, reference: Reference, call: Call, own: Call) -> tuple[str, str | None]:
    """Make a call with its own arrays, and return whether it was answered or refused, and what is wrong with that."""
    method, arrays, _ = call
    refusal = answer = None
    try:
        wanted = made(reference, call)
    except (ConvError, UnsupportedError) as error:
        refusal = error
    try:
        answer = made(tested, own)
        answers = [
            None if a is None else tested.to_numpy(a) for a in (answer if isinstance(answer, tuple) else (answer,))
        ]
    except (ConvError, UnsupportedError) as error:
        if method == "asarray" and refusal is None and isinstance(error, UnsupportedError):
            return "refused", None if arrays["array"].dtype.name not in tested.dtypes else f"it refuses: {error}"
        if refusal is None:
            return "refused", f"it refuses what is valid: {type(error).__name__}: {error}"
        same = (type(error), str(error)) == (type(refusal), str(refusal))
        return "refused", None if same else f"it says {error!s}, not {refusal!s}"
    except Exception as error:
        return "raised", f"it raises {type(error).__name__}: {error}" + (f", not {refusal}" if refusal else "")
    if refusal is not None:
        return "answered", f"it answers, and does not refuse: {refusal}"
    if method == "asarray":
        given, result = arrays["array"], answers[0]
        assert result is not None
        same = result.dtype.name == given.dtype.name and result.tobytes() == np.asarray(given, result.dtype).tobytes()
        return "answered", None if same else f"it returns {result!r} for {given!r}"
    faults = (wrong(tested, direction, a, call, wanted) for direction, a in zip(directions(method), answers))
    return "answered", next((fault for fault in faults if fault), None)


def directions(method: str) -> tuple[str, ...]:
    if method == "cross_correlate_vjp":
        return "input gradient", "kernel gradient", "bias gradient"
    return (method if method in ("convolve", "conv_transpose") else "forward",)


def wrong(tested: Backend, direction: str, answer: Host | None, call: Call, wanted: Any) -> str | None:
    """Judge an answer by the oracle."""
    method, _, options = call
    if method in LOOPS:
        X, K = wanted
        x, w = X.reshape((1,) * (4 - X.ndim) + X.shape), K.reshape((1,) * (4 - K.ndim) + K.shape)
        problem, spec = given_values("fuzz", ConvSpec(), x, w), ConvSpec()
        expected = problem.expectations(["forward"])["forward"]
        assert answer is not None
        answer = answer[None] if method == "corr2d_multi_in_out" else answer[None, None]
        return judge(answer, expected, multiplies_zeros=tested.multiplies_zeros).fault
    g, (x, w, *rest) = wanted
    spec = ConvSpec(**{name: value for name, value in options.items() if name != "output_padding"})
    bias, dy = rest[0] if rest else None, rest[1] if len(rest) > 1 else None
    if method == "conv_transpose":
        channels = np.zeros(g.out_channels, x.dtype) if bias is not None else None
        problem = given_values("fuzz", spec, np.zeros(g.x_shape, x.dtype), w, x, channels, bias)
    else:
        problem = given_values("fuzz", spec, x, w, dy, bias)
    if direction == "bias gradient" and bias is None:
        return None if answer is None else "there is a bias gradient of no bias"
    if answer is None:
        return f"there is no {direction}"
    expected = problem.expectations([direction])[direction]
    return judge(answer, expected, multiplies_zeros=tested.multiplies_zeros).fault


# ---- The run


def make_calls(name: str, seed: int, start: int, stop: int) -> None:
    """Make calls in this process, and write a line of JSON before and after each."""
    tested = backend(name, worker=name == "mxnet")
    reference = Reference(tested)
    signal.signal(signal.SIGALRM, _too_late)
    for number in range(start, stop):
        rng = np.random.default_rng([seed, number])
        said, call = drawn(rng, tested.compiles)
        print(json.dumps({"number": number, "call": said}), flush=True)
        signal.alarm(CALL_SECONDS)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                outcome, fault = finding(tested, reference, call, converted(tested, call, rng))
            except TimeoutError as error:
                outcome, fault = "hung", str(error)
        signal.alarm(0)
        print(json.dumps({"outcome": outcome, "fault": fault}), flush=True)


def _too_late(*_: Any) -> None:
    raise TimeoutError(f"it takes more than {CALL_SECONDS} s")


def chunk(name: str, seed: int, calls: int) -> dict[str, Any]:
    """Make the calls of one seed. A crash is a finding, and the rest goes on in another process."""
    outcomes: Counter[str] = Counter()
    findings: list[str] = []
    start, began = 0, time.monotonic()
    while start < calls:
        command = [sys.executable, __file__, "--calls-of", name, str(seed), str(start), str(calls)]
        output, ending = ended(command)
        lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        for asked, answered in zip(lines[::2], lines[1::2]):
            outcomes[answered["outcome"]] += 1
            if answered["fault"]:
                findings.append(f"{asked['number']}: {asked['call']}: {answered['fault']}")
        start += len(lines) // 2
        if len(lines) % 2 or ending:
            call = lines[-1]["call"] if len(lines) % 2 else "before a call"
            outcomes["crashed"] += 1
            findings.append(f"{start}: {call}: {ending}")
            start += 1
    return {
        "backend": name, "seed": seed, "calls": calls, "outcomes": dict(outcomes),
        "findings": len(findings), "shown": findings[:SHOWN], "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip


def ended(command: list[str]) -> tuple[str, str]:
    """Run a program, and return its output, and how it ended unless it ended well."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        try:
            status = subprocess.run(
                command, stdout=output, stderr=errors, check=False, timeout=PROCESS_SECONDS
            ).returncode
            ending = f"the process ended with status {status}" if status else ""
        except subprocess.TimeoutExpired:
            ending = f"the process took more than {PROCESS_SECONDS} s"
        output.seek(0)
        errors.seek(0)
        return output.read(), ending and f"{ending}: {errors.read()[-500:]}"


def fuzz(names: list[str], seeds: range, calls: int, log: Path) -> None:
    """Run the chunks that the log lacks, and add each to it."""
    done = {(r["backend"], r["seed"], r["calls"]) for r in finished(log)}
    todo = [(name, seed) for seed in seeds for name in names if (name, seed, calls) not in done]
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[last]}"),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("chunks", total=len(todo), last="")
        for name, seed in todo:
            found = chunk(name, seed, calls)
            with log.open("a") as file:
                file.write(json.dumps(found) + "\n")
            bar.update(task, advance=1, last=f"{name}, seed {seed}: {found['findings']} findings")


def finished(log: Path) -> list[dict[str, Any]]:
    """Return the chunks in the log."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", default=list(ORDER), metavar="BACKEND")
    parser.add_argument("--chunks", type=int, default=40)
    parser.add_argument("--calls", type=int, default=CALLS, help="a chunk")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--log", type=Path, default=LOG)
    parser.add_argument("--calls-of", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.calls_of:
        name, *numbers = asked.calls_of
        make_calls(name, *map(int, numbers))
        return 0
    fuzz(asked.names, range(asked.first_seed, asked.first_seed + asked.chunks), asked.calls, asked.log)
    table = Table("backend", "calls", "answered", "refused", "findings", box=None)
    chunks = finished(asked.log)
    for name in dict.fromkeys(r["backend"] for r in chunks):
        own = [r for r in chunks if r["backend"] == name]
        counts = sum((Counter(r["outcomes"]) for r in own), Counter())
        numbers = (sum(r["calls"] for r in own), counts["answered"], counts["refused"], sum(r["findings"] for r in own))
        table.add_row(name, *(f"{number:,}" for number in numbers))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    return 1 if any(r["findings"] for r in chunks) else 0


if __name__ == "__main__":
    sys.exit(main())
