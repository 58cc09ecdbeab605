"""Variants: backends with environment variables and options, in the check and by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import multiconv as mc
from multiconv import registry
from multiconv.check.run import check
from multiconv.cli.main import main
from multiconv.running import Workers
from multiconv.workers.remote import RemoteBackend


def variables(backend: RemoteBackend) -> dict[str, str]:
    """Return the environment of a worker's process."""
    text = Path(f"/proc/{backend.worker.hello['pid']}/environ").read_text()
    return dict(line.split("=", 1) for line in text.split("\0") if line)


def test_a_variant_has_its_environment_variables_before_the_ones_that_every_worker_has() -> None:
    name = "numpy+OMP_NUM_THREADS=3+MULTICONV_SAID=a:b"
    with Workers[RemoteBackend]() as workers:
        backend = workers.start(lambda: registry.new_worker(name, None, {"OMP_NUM_THREADS": "7", "MORE": "1"}))
        assert backend.name == name
        has = variables(backend)
        assert [has[v] for v in ("OMP_NUM_THREADS", "MULTICONV_SAID", "MORE")] == ["3", "a:b", "1"]


def test_an_option_of_a_variant_reaches_the_class_of_the_backend() -> None:
    """Winograd's algorithm can't compute a convolution with a stride."""
    x, w = np.ones((1, 1, 8, 8), "float32"), np.ones((1, 1, 3, 3), "float32")
    with Workers[RemoteBackend]() as workers:
        backend = workers.start(lambda: registry.new_worker("numpy+algorithm=winograd"))
        assert 0 < np.abs(backend.cross_correlate(x, w) - 9).max() < 1e-4  # a direct sum of ones is exact
        with pytest.raises(mc.MulticonvError, match="winograd"):
            backend.cross_correlate(x, w, stride=2)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("numpy+algorithm=fsat", "algorithm must be one of direct, fast, .*, not 'fsat'"),
        ("numpy+algoritm=fast", "no option 'algoritm' .did you mean 'algorithm'.."),
        ("nmupy+algorithm=fast", "there is no backend 'nmupy'"),
    ],
)
def test_a_wrong_variant_is_bad_usage_everywhere(name: str, words: str) -> None:
    for start in (registry.new_worker, mc.backend):
        with pytest.raises(mc.UsageError, match=words):
            start(name)
    result = CliRunner().invoke(main, ["check", name])
    assert result.exit_code == 2
    assert name.partition("=")[2] in result.output or "did you mean" in result.output


def test_in_this_process_a_variant_may_have_options_only() -> None:
    assert mc.backend("numpy+algorithm=fast") is mc.backend("numpy", algorithm="fast")
    with pytest.raises(mc.UsageError) as raised:
        mc.backend("numpy+OMP_NUM_THREADS=1")
    assert str(raised.value).startswith("OMP_NUM_THREADS of 'numpy+OMP_NUM_THREADS=1' can't be set for this process")


def test_a_fast_algorithm_is_judged_by_its_bound_and_on_finite_sums() -> None:
    report = check(["numpy", "numpy+algorithm=fast"], examples=60, seed=1, networks=False)
    direct, fast = report.backends
    assert (direct.verdict, fast.verdict, fast.name) == ("agrees", "agrees", "numpy+algorithm=fast")
    assert 0 < fast.problems < direct.problems


def test_torch_agrees_with_the_kernels_of_an_older_processor() -> None:
    report = check(["torch+ONEDNN_MAX_CPU_ISA=AVX2"], examples=20, seed=2, networks=False)
    assert [(b.name, b.verdict) for b in report.backends] == [("torch+ONEDNN_MAX_CPU_ISA=AVX2", "agrees")]


def test_what_a_variant_lacks_is_found() -> None:
    """TensorFlow computes dilation in 3-D by oneDNN only."""
    (without,) = check(["tensorflow+TF_ENABLE_ONEDNN_OPTS=0"], examples=20, seed=2, networks=False).backends
    assert without.disagreements
    for d in without.disagreements:
        assert len(d.problem["x"]) == 5
        assert "Conv3D" in d.fault
        assert "only supports dilated rates of 1" in d.fault


@pytest.mark.parametrize("command", ["capabilities", "properties", "dispatch"])
def test_a_command_that_runs_no_variants_says_so(command: str) -> None:
    result = CliRunner().invoke(main, [command, "numpy+algorithm=fast"])
    assert result.exit_code == 2
    assert "'numpy+algorithm=fast' is a variant, which only check and bench run" in " ".join(result.output.split())
