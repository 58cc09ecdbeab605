"""On a CUDA device: the same problems, and TF32 off unless asked for. Run with ``pytest -m gpu``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from multiconv.backends.torch import TorchBackend, full_precision

from multiconv.core.spec import ConvSpec
from multiconv.oracle.judgement import judge
from multiconv.testing.strategies import draw_problems, with_values

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


@pytest.mark.gpu
@pytest.mark.parametrize("seed", range(4))
def test_torch_agrees_with_the_oracle_on_the_device(seed: int) -> None:
    backend = TorchBackend("cuda")
    for problem in draw_problems(100, seed):
        expected = problem.expectations()
        for direction, answer in problem.answers(backend):
            assert not isinstance(answer, Exception), answer
            judgement = judge(answer, expected[direction])
            assert judgement.fault is None, (problem.describe(), direction, judgement)


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
