"""On a CUDA device: the same problems, what docs/gpu.md says of cuDNN, and TF32. Run with ``pytest -m gpu``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from multiconv.backends.torch import TorchBackend, full_precision

from multiconv.core.spec import ConvSpec
from multiconv.oracle.judgement import Expected, Judgement, judge
from multiconv.oracle.problem import Problem
from multiconv.oracle.values import ALL_VALUES
from multiconv.testing.drawing import draw_problems
from multiconv.testing.problem_values import with_values

SPEC = ConvSpec(padding=1)
LONG_SUM = with_values(
    "long sums", SPEC, SPEC.resolve((2, 512, 8, 8), (32, 512, 3, 3)), "float32", bias=False, values="normal", seed=0
)


def test_tf32_is_off_within_a_call_and_as_it_was_after_it() -> None:
    settings: Any = torch.backends.cudnn.conv
    before = settings.fp32_precision
    with full_precision():
        assert settings.fp32_precision == "ieee"
    assert settings.fp32_precision == before


def faults_on_the_device(problems: Iterable[Problem]) -> Iterator[tuple[str, Any, Expected, Judgement]]:
    """The wrong answers, with the layer in full precision, which torch leaves in TF32."""
    backend = TorchBackend("cuda")
    for problem in problems:
        expected = problem.expectations()
        with full_precision():
            answers = list(problem.answers(backend))
        for direction, answer in answers:
            assert not isinstance(answer, Exception), (problem.describe(), direction, answer)
            judgement = judge(answer, expected[direction])
            if judgement.fault is not None:
                yield f"{direction} of {problem.describe()}", answer, expected[direction], judgement


@pytest.mark.gpu
@pytest.mark.parametrize("seed", range(4))
def test_without_cudnn_torch_agrees_with_the_oracle_on_the_device(seed: int) -> None:
    problems = draw_problems(100, seed, TorchBackend.dtypes, values=ALL_VALUES)
    with torch.backends.cudnn.flags(enabled=False):
        assert [(what, judgement) for what, _, _, judgement in faults_on_the_device(problems)] == []


@pytest.mark.gpu
@pytest.mark.parametrize("seed", range(4))
def test_cudnn_is_wrong_only_as_docs_gpu_says(seed: int) -> None:
    for what, answer, expected, judgement in faults_on_the_device(
        draw_problems(100, seed, TorchBackend.dtypes, values=ALL_VALUES)
    ):
        below = (expected.dtype == "float16") & (expected.value < -65504)
        with np.errstate(invalid="ignore"):
            allowed = expected.bound if expected.fast is None else np.maximum(expected.bound, expected.fast())
            near = np.abs(answer.astype(expected.value.dtype) - expected.value) <= allowed
        assert (below | near | np.isnan(answer)).all(), (what, judgement)


@pytest.mark.gpu
def test_the_layer_is_in_tf32_as_torch_leaves_it() -> None:
    expected = LONG_SUM.expectations(["layer"])["layer"]
    (_, answer), *_ = LONG_SUM.answers(TorchBackend("cuda"), "layer")
    assert judge(answer, expected).symptom in ("precision", "values")
    with full_precision():
        (_, answer), *_ = LONG_SUM.answers(TorchBackend("cuda"), "layer")
    assert judge(answer, expected).fault is None


@pytest.mark.gpu
def test_tf32_is_off_by_default_and_raises_the_alarm_when_on() -> None:
    expected = LONG_SUM.expectations(["forward"])["forward"]
    (_, answer), *_ = LONG_SUM.answers(TorchBackend("cuda"), "forward")
    assert not judge(answer, expected).imprecise
    assert judge(in_tf32(), expected).imprecise


def in_tf32() -> Any:
    settings: Any = torch.backends.cudnn.conv
    before, settings.fp32_precision = settings.fp32_precision, "tf32"
    try:
        x, w = (torch.from_numpy(a).cuda() for a in (LONG_SUM.x, LONG_SUM.w))
        return F.conv2d(x, w, padding=1).cpu().numpy()
    finally:
        settings.fp32_precision = before


def test_operands_rounded_to_tf32_raise_the_alarm_on_any_machine() -> None:
    def tf32(array: Any) -> Any:
        bits = array.view(np.uint32)
        return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~np.uint32(0x1FFF)).view(np.float32)

    expected = LONG_SUM.expectations(["forward"])["forward"]
    answer = F.conv2d(*(torch.from_numpy(tf32(a)) for a in (LONG_SUM.x, LONG_SUM.w)), padding=1).numpy()
    judgement = judge(answer, expected)
    assert judgement.ratio <= 1
    assert judgement.imprecise
