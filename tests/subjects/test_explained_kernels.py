"""Which kernels compute an explained convolution here."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

import multiconv as mc
from multiconv.cli.main import main
from multiconv.subjects.kernels import MOST_ELEMENTS, kernels_of

pytestmark = pytest.mark.xdist_group("dispatch")


def test_every_backend_says_what_computed_it() -> None:
    arguments = ["explain", "x=1,8,16,16 w=16,8,3,3 padding=1", "--kernels"]
    result = CliRunner().invoke(main, [*arguments, "--json", "-"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["computed_by"]
    assert list(found) == ["numpy", "torch", "jax", "tensorflow", "mxnet"]
    assert all(found.values())
    for name in ("tensorflow", "mxnet"):
        assert any(label.startswith("oneDNN ") for label in found[name])
    assert found["torch"] == ["torch aten::_slow_conv2d_forward"]  # which it prefers to oneDNN for small images
    assert any("XLA" in label for label in found["jax"])
    assert found["numpy"] == ["numpy im2col"]


def test_a_transposed_convolution_is_run_as_one() -> None:
    forward = kernels_of(mc.explain((1, 8, 9), (16, 8, 3), dtype="float64"))
    transposed = kernels_of(mc.explain((1, 16, 7), (16, 8, 3), direction="conv_transpose", dtype="float64"))
    assert forward["mxnet"] == ["mxnet Convolution"]
    assert transposed["mxnet"] == ["mxnet Deconvolution"]


def test_a_backend_without_the_dtype_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiconv.registry.names", lambda: ["numpy", "torch"])
    assert list(kernels_of(mc.explain((1, 2, 9), (4, 2, 3), dtype="float16"))) == ["torch"]


def test_what_is_too_large_to_run_is_bad_usage() -> None:
    large = mc.explain((1, 1, MOST_ELEMENTS // 64, 65), (1, 1, 1, 1))
    with pytest.raises(mc.UsageError, match="kernels are looked up for at most 67,108,864"):
        kernels_of(large)


def test_kernels_are_shown_only_if_they_were_asked_for() -> None:
    of = mc.explain((1, 1, 4), (1, 1, 3))
    assert of.asdict()["computed_by"] is None
    assert "Computed here by" not in of.text()
    ran = replace(of, computed_by={"numpy": ["numpy im2col", "numpy taps"], "torch": []})
    assert ran.text().endswith(
        "\n\nComputed here by\n    numpy: numpy im2col, numpy taps\n    torch: no call of a library"
    )
