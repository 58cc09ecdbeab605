"""Check PyTorch and JAX on a CUDA device against the exact oracle, in every dtype and with every kind of values.

``python benchmarks/on_gpu.py torch`` prints the faults by dtype, direction and symptom, each with its first problem;
``--json FILE`` writes them. Errors that the bound of a fast algorithm allows are counted apart, because cuDNN may
choose Winograd or FFT. The figures of docs/gpu.md are from this script.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from multiconv.core.framework import FrameworkBackend
from multiconv.oracle.judgement import Expected, Judgement, judge
from multiconv.oracle.problem import Problem
from multiconv.oracle.values import ALL_VALUES
from multiconv.testing.drawing import draw_problems

DTYPES = ("float16", "bfloat16", "float32", "float64")
SHAPES = 40  # for JAX, which compiles each shape


def on_device(name: str) -> tuple[FrameworkBackend, str]:
    """Return the backend with its arrays on the first CUDA device, and a description of versions and device."""
    if name == "torch":
        import torch
        from multiconv.backends.torch import TorchBackend

        return TorchBackend("cuda"), f"torch {torch.__version__} on {torch.cuda.get_device_name()}"
    import jax
    from multiconv.backends.jax import JaxBackend

    device = jax.devices()[0]
    if device.platform != "gpu":
        raise SystemExit(f"JAX has no GPU here, only {device}")
    return JaxBackend(), f"jax {jax.__version__} on {device.device_kind}"


def run(backend: FrameworkBackend, problems: list[Problem], seconds: float) -> dict[str, Any]:
    """Put the problems to the backend until the time is up, and count what came out."""
    end, done, answers = time.monotonic() + seconds, 0, 0
    kinds: dict[str, dict[str, Any]] = {}
    for problem in problems:
        if time.monotonic() > end:
            break
        expected = problem.expectations()
        for direction, answer in problem.answers(backend):
            answers += 1
            judgement = judged(answer, expected[direction], backend.multiplies_zeros)
            if judgement.fault is None:
                continue
            fast = judgement.symptom == "values" and within_fast(answer, expected[direction])
            what = f"{problem.dtype}, {direction}: {'values, as a fast algorithm may' if fast else judgement.symptom}"
            kind = kinds.setdefault(
                what, {"count": 0, "worst": 0.0, "first": problem.describe(), "fault": judgement.fault}
            )
            kind["count"] += 1
            kind["worst"] = max(kind["worst"], min(judgement.ratio, 1e300))
        done += 1
    return {"problems": done, "answers": answers, "faults": kinds}


def judged(answer: Any, expected: Expected, multiplies_zeros: bool) -> Judgement:
    """Judge an answer or the exception raised instead."""
    if isinstance(answer, Exception):
        return Judgement.of_error(answer)
    return judge(answer, expected, multiplies_zeros=multiplies_zeros)


def within_fast(answer: Any, expected: Expected) -> bool:
    """Return whether the error is within the bound of an FFT or Winograd algorithm."""
    if expected.fast is None or not np.isfinite(answer).all():
        return False
    return bool((np.abs(answer.astype(expected.value.dtype) - expected.value) <= expected.fast()).all())


def main() -> None:
    """Check one backend, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backend", choices=["torch", "jax"])
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    backend, described = on_device(given.backend)
    shapes = SHAPES if backend.compiles else None
    problems = draw_problems(given.problems, given.seed, DTYPES, shapes=shapes, values=ALL_VALUES)
    found = {"what": described, "seed": given.seed, **run(backend, problems, given.seconds)}
    print(f"{described}: {found['problems']} problems, {found['answers']} answers")
    for what, kind in sorted(found["faults"].items()):
        print(f"  {kind['count']:4d} {what}, worst {kind['worst']:.3g}: {kind['fault']}\n       {kind['first']}")
    if not found["faults"]:
        print("  all correct")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
