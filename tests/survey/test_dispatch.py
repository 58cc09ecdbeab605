"""Which kernels compute a problem: the readers on recorded lines, and what real frameworks are heard to run."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FIVE, ROOT
from rich.console import Console

import multiconv as mc
from multiconv.check.cases import Audience, Draws, turns_of
from multiconv.core.errors import BackendUnavailable, UnsupportedError
from multiconv.core.spec import ConvSpec
from multiconv.guest.hlo import read_programs
from multiconv.guest.kernels import (
    FORWARD,
    INPUT_GRADIENT,
    KERNEL_GRADIENT,
    SILENT,
    Kernel,
    kernels_by_direction,
    read_operators,
)
from multiconv.guest.listening import Capture
from multiconv.guest.verbose_lines import read_lines, read_versions
from multiconv.oracle.problem import Problem
from multiconv.survey.dispatch import BackendKernels, Dispatch, Use, dispatch
from multiconv.survey.dispatch_pages import markdown, print_dispatch, sentences, summary
from multiconv.survey.dispatch_problems import (
    SEARCH_PRODUCTS,
    Sketch,
    problems_of_check,
    problems_of_layers,
    problems_of_search,
    sketched,
)
from multiconv.testing.levels import DTYPES
from multiconv.testing.listening import computed_by, listening

pytestmark = pytest.mark.xdist_group("dispatch")

RECORDED = Path(__file__).parent / "recorded"
XLA = json.loads((RECORDED / "xla.json").read_text())
LINE = "onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx2,forward_training,src:f32,,alg:direct,mb1ic1,0.01"


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.txt").read_text()


def heard(library: str = "", written: str = "", **more: Any) -> list[dict[str, Any]]:
    return [{"library": library, "written": written, "operators": [], "programs": [], "algorithms": [], **more}]


# ---- Lines of oneDNN


@pytest.mark.parametrize(
    ("name", "version", "kernels"),
    [
        ("torch", "oneDNN v3.12.0", {
            ("jit:avx512_core", "convolution", FORWARD), ("jit:avx512_core", "convolution", INPUT_GRADIENT),
            ("jit:avx512_core", "convolution", KERNEL_GRADIENT), ("jit_1x1:avx512_core", "convolution", FORWARD),
            ("jit_dw:avx512_core", "convolution", FORWARD),
            ("brg_deconv:avx512_core+brgconv_strided:avx512_core", "deconvolution", FORWARD),
        }),
        ("tensorflow", "oneDNN v3.7.3", {
            ("brg_conv_fwd:avx512_core", "convolution", FORWARD),
            ("brg_conv_bwd:avx512_core+brg_conv_fwd:avx512_core", "convolution", INPUT_GRADIENT),
            ("jit:avx512_core", "convolution", KERNEL_GRADIENT), ("brgconv_1x1:avx512_core", "convolution", FORWARD),
            ("brdgmm_dw:avx512_core", "convolution", FORWARD),
            ("brgconv_strided:avx512_core", "convolution", INPUT_GRADIENT),
        }),
        ("mxnet", "oneDNN v2.4.4", {
            ("jit:avx2", "convolution", FORWARD), ("x64:gemm:jit", "convolution", INPUT_GRADIENT),
            ("jit:avx2", "convolution", KERNEL_GRADIENT), ("brgconv_1x1:avx512_core", "convolution", FORWARD),
            ("brdgmm_dw:avx512_core", "convolution", FORWARD), ("x64:gemm:jit", "deconvolution", FORWARD),
        }),
    ],
)  # fmt: skip
def test_recorded_lines_of_each_version_are_read(name: str, version: str, kernels: set[tuple[str, ...]]) -> None:
    found = read_lines(recorded(name))
    assert {(k.name, k.primitive, k.computes) for k in found} == kernels
    assert {(k.library, k.status) for k in found} == {("oneDNN", "known")}
    assert read_versions(recorded(name)) == [
        version, "Intel AVX-512 with Intel DL Boost and bfloat16 support",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["torch", "tensorflow", "mxnet"])
def test_the_problem_is_read_and_does_not_tell_kernels_apart(name: str) -> None:
    (first, *_) = read_lines(recorded(name))
    assert first.problem.startswith("mb2_ic3oc8_ih20oh18kh3")
    assert first == Kernel(**{**vars(first), "problem": "another"})


@pytest.mark.parametrize(
    "line",
    [
        "onednn_verbose,v2,primitive,ran,cpu,convolution,jit:avx9",  # another word for what is done
        "onednn_verbose,v1,primitive,exec,cpu,winograd_convolution,jit:avx2,forward_training,,,mb1",  # a new primitive
        "onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx2",  # too short
        "dnnl_verbose,",
    ],
)
def test_a_line_that_can_not_be_read_is_kept_as_it_is(line: str) -> None:
    (kernel,) = read_lines(f"something else\n{line}\n")
    assert (kernel.name, kernel.status, kernel.label) == (line, "unknown line", f"oneDNN {line}")
    assert kernels_by_direction(heard(written=line), "forward") == {"forward": (kernel,)}
    (timed,) = read_lines(f"{line.rstrip(',')},0.0129395")
    assert timed.name == line.rstrip(",")


def test_what_is_known_not_to_compute_a_convolution_is_left_out() -> None:
    for line in (
        LINE.replace("convolution", "reorder"),
        "onednn_verbose,v1,info,cpu,runtime:OpenMP,nthr:2",
        "onednn_verbose,v1,primitive,create:cache_miss,cpu,convolution,jit:avx2,forward_training,,,,mb1,0.1",
        "onednn_verbose,v1,graph,exec,cpu,100002,x",
        "a word",
        "",
    ):
        assert [k for k in read_lines(line) if k.status == "known"] == []
    assert read_lines(LINE.replace("convolution", "reorder")) == read_lines("a word") == []


@pytest.mark.parametrize("before", ["onednn_verbose,v1,1693.25,primitive,exec,gpu0", "dnnl_verbose,1693.25,exec,cpu"])
def test_a_time_stamp_and_an_engine_do_not_matter(before: str) -> None:
    rest = LINE.partition("exec,cpu,")[2]
    assert read_lines(f"{before},{rest}") == read_lines(LINE)


def test_a_matrix_product_is_kept_without_a_direction() -> None:
    line = "onednn_verbose,v1,primitive,exec,cpu,gemm_api,,undef,src_f32::blocked:ab:f0,,,336x144:144x16,14.615"
    (kernel,) = read_lines(line)
    assert (kernel.label, kernel.computes, kernel.problem) == ("oneDNN gemm_api", "", "336x144:144x16")


# ---- Operators and programs


def test_an_operator_counts_where_onednn_says_nothing() -> None:
    mkldnn = heard("torch", LINE, operators=["aten::mkldnn_convolution"])
    assert [k.label for k in kernels_by_direction(mkldnn, "forward")["forward"]] == ["oneDNN jit:avx2"]
    half = heard("tensorflow", LINE.replace("forward_training", "backward_data"),
                 operators=["Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter"])  # fmt: skip
    found = kernels_by_direction(half, "gradients")
    assert [k.label for k in found["input gradient"]] == ["oneDNN jit:avx2"]
    assert [k.label for k in found["kernel gradient"]] == ["tensorflow Conv2DBackpropFilter"]
    assert set(found) == {"input gradient", "kernel gradient"}


def test_a_function_that_tensorflow_traced_is_no_operator() -> None:
    assert read_operators("tensorflow", ["__inference__conv_xla_224", "Transpose"]) == []


def test_a_transposed_convolution_is_not_computed_by_what_runs_beside_it() -> None:
    beside = "\n".join(LINE.replace("forward_training", p) for p in ("forward_training", "backward_weights"))
    adjoint = LINE.replace("forward_training", "backward_data").replace("avx2", "avx512_core")
    found = kernels_by_direction(heard("tensorflow", f"{beside}\n{adjoint}"), "conv_transpose")
    assert [k.label for k in found["conv_transpose"]] == ["oneDNN jit:avx512_core"]
    own = LINE.replace("convolution", "deconvolution")
    (kernel,) = kernels_by_direction(heard("torch", own), "conv_transpose")["conv_transpose"]
    assert kernel.primitive == "deconvolution"


def test_silence_is_told_apart_from_a_line_that_is_not_known() -> None:
    assert kernels_by_direction(heard("mxnet"), "forward") == {"forward": (SILENT,)}
    assert kernels_by_direction(heard("mxnet"), "gradients") == dict.fromkeys(
        ("input gradient", "kernel gradient"), (SILENT,)
    )
    assert (SILENT.label, SILENT.status) == ("not known", "not known")


def test_recorded_programs_of_xla_are_read() -> None:
    labels = [k.label for k in read_programs(XLA["forward 1x1 f32"])]
    assert labels == ["XLA dot f32, runtime call"]
    for dtype, way in (("f32", "runtime call"), ("f64", "compiled loop")):
        found = kernels_by_direction(heard("jax", programs=XLA[f"gradients {dtype}"]), "gradients")
        for direction in ("input gradient", "kernel gradient"):
            (kernel,) = found[direction]
            assert (kernel.label, kernel.computes) == (f"XLA convolution {dtype}, {way}", direction)


def test_each_gradient_has_the_kernels_on_which_it_depends() -> None:
    """In a program that computes the input gradient by a dot and the kernel gradient by a convolution in a fusion."""
    hlo = """
%fused_computation (a: f32[4], b: f32[4]) -> f32[4] {
  %a = f32[4]{0} parameter(0)
  %b = f32[4]{0} parameter(1)
  ROOT %convolution.7 = f32[4]{0} convolution(%a, %b), window={size=1}, dim_labels=bf_io->bf
}

ENTRY %main (x: f32[4], dy: f32[4]) -> (f32[4], f32[4]) {
  %x = f32[4]{0} parameter(0)
  %dy = f32[4]{0} parameter(1)
  %dot = f32[4]{0} dot(%dy, %dy)
  %custom = f32[4]{0} custom-call(%x), custom_call_target="__onednn$convolution"
  %fusion = f32[4]{0} fusion(%x, %dy), kind=kLoop, calls=%fused_computation
  ROOT %tuple = (f32[4]{0}, f32[4]{0}) tuple(%dot, %fusion)
}
"""
    found = read_programs([{"hlo": hlo, "objects": []}], gradients=True)
    assert [(k.label, k.computes) for k in found] == [
        ("XLA dot f32, runtime call", "input gradient"),
        ("XLA convolution f32, compiled loop", "kernel gradient"),
    ]
    onednn = hlo.replace("tuple(%dot, %fusion)", "tuple(%custom, %fusion)")
    assert read_programs([{"hlo": onednn, "objects": []}], gradients=True)[0].label == (
        "XLA custom-call __onednn$convolution"
    )


def test_a_fusion_that_a_library_computes_is_named_and_not_what_is_in_it() -> None:
    hlo = """
%fused (a: f32[4]) -> f32[4] {
  %a = f32[4]{0} parameter(0)
  ROOT %convolution.7 = f32[4]{0} convolution(%a, %a), window={size=1}, dim_labels=bf_io->bf
}

ENTRY %main (x: f32[4]) -> f32[4] {
  %x = f32[4]{0} parameter(0)
  ROOT %own = f32[4]{0} fusion(%x), kind=kCustom, calls=%fused, backend_config={"fusion_config":{"kind":"__ynn_fusion"}}
}
"""
    assert [k.label for k in read_programs([{"hlo": hlo, "objects": []}])] == ["XLA fusion __ynn_fusion"]


def test_a_program_without_a_convolution_counts_only_if_no_other_has_one() -> None:
    plain = """ENTRY %main (x: f32[4]) -> f32[4] {
  %x = f32[4]{0} parameter(0)
  ROOT %multiply = f32[4]{0} multiply(%x, %x)
}"""
    programs = [{"hlo": plain, "objects": []}]
    assert [k.label for k in read_programs(programs)] == ["XLA neither a convolution nor a dot"]
    both = read_programs([*programs, *XLA["forward 1x1 f32"]])
    assert [k.label for k in both] == ["XLA dot f32, runtime call"]


def test_what_is_written_is_captured_and_the_descriptor_is_given_back(capfd: pytest.CaptureFixture[str]) -> None:
    capture = Capture([1, 2])
    os.write(1, b"before ")
    capture.start()
    os.write(1, b"out")
    os.write(2, b"err")
    assert capture.stop() == "outerr"
    assert capture.stop() == ""
    os.write(1, b"after")
    assert capfd.readouterr().out == "before after"


# ---- Problems


@pytest.mark.parametrize(("audience", "compiles"), [(Audience.EAGER, False), (Audience.COMPILING, True)])
def test_the_problems_are_those_of_the_check(audience: Audience, compiles: bool) -> None:
    cases = [turn.make() for turn in turns_of(Draws(examples=60, seed=3), {audience}) if audience in turn.audience]
    of_check = {Sketch.of(case) for case in cases if isinstance(case, Problem)}
    if compiles:
        of_check = {replace(sketch, memory="contiguous") for sketch in of_check}
    assert set(problems_of_check(60, 3, ("float32", "float64"), compiles=compiles)) == of_check


def test_the_check_reaches_every_algorithm_of_numpy_that_it_chooses_by_itself() -> None:
    numpy = mc.backend("numpy")
    chosen = {
        numpy.algorithm(sketch.x, sketch.w, **vars(sketch.spec))  # type: ignore[attr-defined]
        for sketch in problems_of_check(200, 0, DTYPES, compiles=False)
    }
    assert chosen == {"matmul", "im2col", "taps", "depthwise", "toeplitz"}


def test_the_default_number_of_problems_is_that_of_the_check() -> None:
    assert dispatch.__kwdefaults__["examples"] == Draws().examples


def test_a_sketch_makes_the_same_problem_after_json() -> None:
    for sketch in (*problems_of_layers("float32", compiles=False)[::40], *problems_of_search(20, 1, ("float64",))):
        again = sketched(json.loads(json.dumps(sketch.describe())))
        assert (again, again.source) == (sketch, sketch.source)
        assert Sketch.of(again.problem()) == sketch


def test_the_search_is_wide_and_its_problems_are_small() -> None:
    found = list(problems_of_search(300, 0, ("float32", "float64")))
    assert found == list(problems_of_search(300, 0, ("float32", "float64")))
    assert max(sketch.geometry.products for sketch in found) <= SEARCH_PRODUCTS
    for values in (
        {sketch.geometry.ndim for sketch in found} == {1, 2, 3},
        {sketch.dtype for sketch in found} == {"float32", "float64"},
        len({sketch.geometry.groups for sketch in found}) > 5,
        len({sketch.memory for sketch in found}) == 8,
        {sketch.geometry.channels_last for sketch in found} == {False, True},
    ):
        assert values


# ---- Real frameworks

PLAIN = Sketch("plain", ConvSpec(), (2, 3, 20, 20), (8, 3, 3, 3), "float32", bias=False)
LIBRARY = {"numpy": "numpy", "torch": "oneDNN", "jax": "XLA", "tensorflow": "oneDNN", "mxnet": "oneDNN"}
CALLS = ("forward", "gradients", "conv_transpose", "layer")


@pytest.fixture(scope="module", params=FIVE)
def backend(request: pytest.FixtureRequest) -> Iterator[Any]:
    with listening(request.param) as listens:
        yield listens


def test_a_plain_convolution_is_heard_on_every_backend_and_again(backend: Any) -> None:
    first = computed_by(backend, PLAIN.problem(), CALLS)
    assert set(first) - {"gradients"} == {"forward", "input gradient", "kernel gradient", "conv_transpose", "layer"}
    for kernels in first.values():
        assert {k.status for k in kernels} == {"known"}
    for direction in set(first) - {"gradients"}:
        libraries = {k.library for k in first[direction]}
        assert LIBRARY[backend.name] in libraries or os.uname().machine != "x86_64", (direction, libraries)
    again = computed_by(backend, sketched(PLAIN.describe()).problem(), CALLS)
    assert {d: {k.label for k in kernels} for d, kernels in again.items()} == {
        d: {k.label for k in kernels} for d, kernels in first.items()
    }


def test_a_call_that_fails_is_not_heard_and_the_next_one_is(backend: Any) -> None:
    dtype = "float16" if backend.name in ("numpy", "mxnet") else "complex64"
    x, w = np.ones((1, 1, 4, 4), dtype), np.ones((1, 1, 3, 3), dtype)
    with pytest.raises(Exception, match=r"dtype|float|complex"):
        backend.cross_correlate(x, w)
    assert computed_by(backend, PLAIN.problem(), ["forward"])["forward"][0].status == "known"


def test_float64_is_not_computed_by_onednn(backend: Any) -> None:
    double = Sketch("plain", ConvSpec(), (2, 3, 20, 20), (8, 3, 3, 3), "float64", bias=False)
    for direction, kernels in computed_by(backend, double.problem(), ("forward", "gradients")).items():
        assert {k.status for k in kernels} == {"known"}
        assert "oneDNN" not in {k.library for k in kernels}, direction
        assert direction != "gradients"


def test_an_empty_batch_needs_no_kernel(backend: Any) -> None:
    empty = Sketch("empty", ConvSpec(), (0, 3, 20, 20), (8, 3, 3, 3), "float32", bias=False)
    found = computed_by(backend, empty.problem(), ("forward",))
    assert {k.status for kernels in found.values() for k in kernels} <= {"known"}


def test_mxnet_leaves_no_profile_and_replaces_no_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its end, MXNet replaces the file that its profiler was given, whatever it is."""
    monkeypatch.chdir(tmp_path)
    with listening("mxnet") as mxnet:
        folder = Path(mxnet.worker.arguments[2])
        double = Sketch("plain", ConvSpec(), (1, 1, 4, 4), (1, 1, 3, 3), "float64", bias=False)
        assert computed_by(mxnet, double.problem(), ["forward"])["forward"][0].label == "mxnet Convolution"
        assert folder.is_dir()
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []
    assert Path(os.devnull).is_char_device()


# ---- The list


@pytest.fixture(scope="module")
def numpy_kernels() -> BackendKernels:
    (found,) = dispatch(["numpy"], examples=8, search=30, layers=False).backends
    return found


def test_numpy_is_listed_with_examples_that_run_again(numpy_kernels: BackendKernels) -> None:
    found = numpy_kernels
    assert all(use.again for use in found.uses)
    assert {"numpy im2col", "numpy matmul"} <= set(found.kernels)
    assert found.problems["search"] == 30
    assert {use.direction for use in found.uses} == {
        "forward", "input gradient", "kernel gradient", "convolve", "conv_transpose", "layer",
    }  # fmt: skip
    # One algorithm computes each problem, except the one with an empty batch, which is not computed.
    counted = sum(sum(use.problems.values()) for use in found.uses if use.direction == "forward")
    empty = [sketch for sketch in problems_of_check(8, 0, DTYPES, compiles=False) if sketch.geometry.batch == 0]
    assert counted == found.problems["check"] + found.problems["search"] - len(empty)


def use(name: str, check: int, search: int, *, again: bool = True, status: str = "known") -> Use:
    kernel = Kernel("oneDNN", name, computes=FORWARD, status=status)
    return Use("forward", kernel, {"check": check, "layers": 0, "search": search}, PLAIN, again)


def test_the_share_is_of_what_others_reach_and_the_rest_is_named() -> None:
    uses = [use("a", 1, 2), use("b", 0, 2), use("c", 3, 0), use("?", 0, 1, status="unknown line"), use("d", 1, 1)]
    found = BackendKernels("x", "1", [], {"check": 5, "layers": 0, "search": 6}, uses)
    assert [k.name for k in found.by_others] == ["a", "b", "d"]
    assert [u.kernel.name for u in found.unreached] == ["b"]
    assert found.share == pytest.approx(2 / 3)
    told = sentences(found)
    assert told[0].endswith("that were heard in the search, the check reaches 2 (66.7%).")
    assert summary(Dispatch([found], [])).endswith("The check reaches 2 of 3 that were heard elsewhere (66.7%).")
    page = markdown(Dispatch([found], []))
    assert "\n- Not reached: forward, oneDNN b: x=2,3,20,20 w=8,3,3,3 float32\n" in page
    assert told[1:] == ["Not reached: forward, oneDNN b: x=2,3,20,20 w=8,3,3,3 float32"]
    assert (found.asdict()["reached_by_others"], found.asdict()["reached_by_check"]) == (3, 2)
    assert BackendKernels("x", "1", uses=[use("c", 3, 0)]).share is None


def test_a_kernel_that_another_call_of_the_check_reached_counts_as_reached() -> None:
    first, second = use("a", 0, 2), use("a", 1, 0)
    second.direction = "layer"
    assert BackendKernels("x", "1", uses=[first, second]).unreached == []


def test_an_example_that_does_not_run_again_is_named() -> None:
    found = BackendKernels("x", "1", [], {"check": 5, "layers": 0, "search": 0}, [use("a", 1, 0, again=False)])
    assert sentences(found)[1:] == ["Not heard again: forward, oneDNN a: x=2,3,20,20 w=8,3,3,3 float32"]


@pytest.mark.parametrize("width", [80, 200])
def test_the_table_shows_kernels_and_examples_at_any_width(width: int) -> None:
    found = Dispatch([BackendKernels("x", "1", ["oneDNN v3"], dict.fromkeys(("check", "layers", "search"), 1))], [])
    found.backends[0].uses = [use("brg_conv_bwd:avx512_core+brg_conv_fwd:avx512_core", 1, 2), use("kept", 1, 0)]
    output = io.StringIO()
    print_dispatch(found, Console(file=output, width=width))
    table = output.getvalue().split("\n\n")[0]
    assert max(map(len, table.splitlines())) <= width
    assert "brg_conv_fwd:avx512_core" in table.replace("\n", "").replace(" ", "")
    assert summary(found).startswith("Kernels: x 2; 2 different ones.")


def test_the_page_has_a_table_for_each_backend_and_says_on_which_processor(numpy_kernels: BackendKernels) -> None:
    found = Dispatch([numpy_kernels], [], processor="a processor")
    page = markdown(found)
    assert "made on: a processor." in page
    assert f"## numpy {np.__version__}" in page
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(found.backends[0].uses)
    assert {row.count("|") for row in rows} == {5}


def test_the_written_page_has_all_five_and_at_least_ten_kernels_of_onednn() -> None:
    page = (ROOT / "docs" / "dispatch.md").read_text()
    for name in FIVE:
        assert f"\n## {name} " in page
    assert len({line.split("`")[1] for line in page.splitlines() if "| `oneDNN" in line}) >= 10


def test_progress_counts_every_problem_and_every_example() -> None:
    steps: list[tuple[str, int, int, str]] = []
    (found,) = dispatch(
        ["numpy"], examples=0, search=5, layers=False, dtypes=["float32"], progress=lambda *step: steps.append(step)
    ).backends
    total = found.problems["check"] + 5
    assert [step[1:3] for step in steps if step[3] in ("check", "search")] == [(n, total) for n in range(total)]
    assert sum(step[3] == "examples again" for step in steps) == len(found.uses)


def test_a_backend_without_the_dtype_is_named_or_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = "numpy does not compute in float16: it has float32, float64"
    with pytest.raises(UnsupportedError, match=sentence):
        dispatch(["numpy"], examples=0, layers=False, dtypes=["float16"])
    monkeypatch.setattr("multiconv.registry.names", lambda: ["numpy", "torch"])
    assert [m.reason for m in dispatch(examples=0, layers=False, dtypes=["float16"]).missing] == [sentence]


def test_a_named_backend_that_is_not_available_is_an_error() -> None:
    with pytest.raises(BackendUnavailable, match=r"torch@0\.0\.1 is not available"):
        dispatch(["torch@0.0.1"], examples=0, layers=False)
