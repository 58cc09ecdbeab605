"""`mc.identify` on functions: transposed convolutions, rules of padding, and a reason for what is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import ROOT

import multiconv as mc
from multiconv.cli.main import main
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Host

NUMPY = mc.backend("numpy")

TRANSPOSED = [
    {"stride": 2, "padding": 1, "output_padding": 1},
    {"stride": 2, "padding": ((0, 1), (1, 0))},
    {"stride": (3, 2), "padding": 0},
    {"stride": 2, "padding": "same"},
    {"stride": 3, "dilation": 2, "padding": 1},
    {"stride": (2, 4), "groups": 2, "output_padding": (0, 1)},
]


@pytest.mark.parametrize("options", TRANSPOSED, ids=str)
def test_a_transposed_convolution_is_identified_to_the_bit(options: dict[str, Any]) -> None:
    rng = np.random.default_rng(3)
    w, bias = rng.standard_normal((4, 3, 3, 2)), rng.standard_normal(3 * options.get("groups", 1))
    w, bias = w.astype("float32"), bias.astype("float32")
    found = mc.identify(lambda x: NUMPY.conv_transpose(x, w, bias, **options), in_channels=4)
    assert (found.kind, found.exact, found.convolution) == ("transposed convolution", True, True)
    assert (found.w.tobytes(), found.bias.tobytes()) == (w.tobytes(), bias.tobytes())  # type: ignore[union-attr]
    x = rng.integers(-4, 5, (2, 4, 6, 5)).astype("float32")
    again = NUMPY.conv_transpose(
        x, found.w, found.bias, **{**vars(found.spec), "layout": None}, output_padding=found.output_padding
    )
    assert np.array_equal(again, NUMPY.conv_transpose(x, w, bias, **options))


def test_the_form_that_torch_takes_is_preferred_for_what_is_cut_off() -> None:
    w = np.ones((2, 3, 3), "float32")
    found = mc.identify(
        lambda x: NUMPY.conv_transpose(x, w, stride=2, padding=1, output_padding=1), in_channels=2, ndim=1
    )
    assert (found.spec.padding, found.output_padding) == (((1, 1),), (1,))  # type: ignore[union-attr]


# ---- The rule behind the padding


@pytest.mark.parametrize(
    ("options", "kernel", "rules"),
    [
        ({"padding": "same", "stride": 2}, 3, "same_upper"),
        ({"padding": "same_lower", "stride": 3}, 4, "same_lower"),
        ({"padding": "full"}, 3, "full"),
        ({"padding": "valid", "stride": 2}, 3, "valid"),
        ({"padding": ((4, 0),), "dilation": 2}, 3, "causal"),
        ({"padding": ((0, 3),), "stride": 2}, 3, "fixed"),
    ],
)
def test_the_rule_behind_the_padding_is_named(options: dict[str, Any], kernel: int, rules: str) -> None:
    w = np.random.default_rng(0).standard_normal((2, 3, kernel)).astype("float32")
    found = mc.identify(lambda x: NUMPY.cross_correlate(x, w, **options), in_channels=3, ndim=1)
    assert found.rules == (rules,)
    for row in found.table:
        g = ConvSpec(**options).resolve((1, 3, *row.size), w.shape)
        assert ((row.pads[0][0], row.out)) == (g.pads[0][0], g.out)


def test_another_rule_is_shown_as_a_table() -> None:
    w = np.random.default_rng(0).standard_normal((2, 1, 3)).astype("float32")

    def odd(x: Host) -> Host:
        before = x.shape[-1] % 2
        return np.asarray(NUMPY.cross_correlate(x, w, padding=((before, 1 - before),)))

    found = mc.identify(odd, in_channels=1, ndim=1)
    assert (found.convolution, found.rules) == (True, ("other",))
    assert {row.size[0] % 2: row.pads for row in found.table} == {0: ((0, 1),), 1: ((1, 0),)}
    assert len(found.proof) == 1


def test_a_kernel_with_zeros_at_its_edge_needs_no_negative_padding() -> None:
    w = np.zeros((1, 1, 5), "float32")
    w[0, 0, 2] = 3
    found = mc.identify(lambda x: NUMPY.cross_correlate(x, w), in_channels=1, ndim=1)
    assert found.spec.padding == ((0, 0),)  # type: ignore[union-attr]
    assert np.array_equal(found.w, w)  # type: ignore[arg-type]


# ---- Functions that are given a kernel


def of_kernel(change: Callable[[Host], Host], **options: Any) -> Callable[[Host, Host], Host]:
    return lambda x, w: np.asarray(NUMPY.cross_correlate(x, np.ascontiguousarray(change(w)), **options))


@pytest.mark.parametrize(
    ("change", "taken", "kind", "kernel"),
    [
        (lambda w: w, {}, "cross-correlation", "as given"),
        (lambda w: w[..., ::-1, ::-1], {}, "convolution", "flipped along spatial axis 0, 1"),
        (lambda w: w[..., ::-1], {}, "cross-correlation", "flipped along spatial axis 1"),
        (lambda w: w.swapaxes(0, 1), {"in_channels": 4, "out_channels": 4}, "cross-correlation",
         "as given, C_out and C_in swapped"),
        (lambda w: 2 * w, {}, "cross-correlation", "in another way than as it was given"),
        (lambda w: w.transpose(3, 2, 0, 1), {}, "cross-correlation", "as given"),
    ],
)  # fmt: skip
def test_how_a_given_kernel_is_used_is_said(change: Any, taken: Any, kind: str, kernel: str) -> None:
    found = mc.identify(of_kernel(change), **taken)
    assert (found.kind, found.kernel) == (kind, kernel)


def test_the_layout_of_a_kernel_is_found_by_trying() -> None:
    found = mc.identify(of_kernel(lambda w: w.transpose(3, 2, 0, 1)))
    assert (found.fixed["kernel_layout"], found.known_by["kernel_layout"]) == ("HWIO", "tried")


def test_a_kernel_that_is_misread_has_other_output_channels() -> None:
    """As WIO, the OIW kernel (4, 3, 2) would have 4 taps and 2 outputs, and work."""
    found = mc.identify(lambda x, w: NUMPY.cross_correlate(x, np.ascontiguousarray(w.transpose(2, 1, 0))), ndim=1)
    assert (found.fixed["kernel_layout"], found.kernel) == ("HWIO", "as given")


def test_options_and_a_bias_reach_the_function() -> None:
    def port(x: Host, w: Host, bias: Host | None, *, stride: Any, padding: Any, dilation: Any, groups: Any) -> Host:
        return np.asarray(
            NUMPY.cross_correlate(x, w, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)
        )

    found = mc.identify(port, stride=(2, 1), groups=2, padding=((1, 0), (2, 1)))
    assert found.spec == ConvSpec((2, 1), ((1, 0), (2, 1)), (1, 1), 2, "NCHW")
    assert found.kernel == "as given"
    assert found.bias is not None


# ---- What is no convolution

W = np.random.default_rng(5).standard_normal((4, 3, 3, 3)).astype("float32")


def conv(x: Host) -> Host:
    return np.asarray(NUMPY.cross_correlate(x, W, padding=1))


def padded_by(mode: str) -> Callable[[Host], Host]:
    def box(x: Host) -> Host:
        pads = [(0, 0), (0, 0), (1, 1), (1, 1)]
        return np.asarray(NUMPY.cross_correlate(np.pad(x, pads, mode=mode), W))  # type: ignore[call-overload]

    return box


class Counting:
    """Adds the number of the call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Host) -> Host:
        self.calls += 1
        return conv(x) + np.float32(self.calls)


def in_training(x: Host) -> Host:
    y = conv(x)
    return (y - y.mean((0, 2, 3), keepdims=True)) / (y.std((0, 2, 3), keepdims=True) + np.float32(1e-3))


def max_pool(x: Host) -> Host:
    return np.max([x[..., i : x.shape[2] - 1 + i, :] for i in range(2)], axis=0)


def dense(x: Host) -> Host:
    m = np.random.default_rng(0).standard_normal((x[0].size, x[0].size)).astype("float32")
    return (x.reshape(len(x), -1) @ m).reshape(x.shape)


def own_weight_everywhere(x: Host) -> Host:
    return x * np.arange(1, x.shape[-1] + 1, dtype="float32")


def noisy(x: Host) -> Host:
    return conv(x) + np.random.standard_normal(1).astype("float32")


def nan_at_a_border(x: Host) -> Host:
    y = conv(x)
    y[..., 0, 0] = np.nan
    return y


def upsampled(x: Host) -> Host:
    y = np.repeat(x, 2, axis=-1)
    y[..., 1:-1:2] = (x[..., :-1] + x[..., 1:]) / 2
    return y


REFUSED: list[tuple[str, Callable[..., Any], str, str]] = [
    ("relu", lambda x: np.maximum(conv(x), 0), "not linear", "with an input negated"),
    ("square", lambda x: conv(x) ** 2, "not linear", "with an input negated"),
    ("cube", lambda x: (conv(x) / 2**20) ** 3, "not linear", "with an input doubled"),
    ("tanh", lambda x: np.tanh(conv(x)), "not linear", "with an input doubled"),
    ("max pool", max_pool, "not linear", "with an input negated"),
    ("odd maximum", lambda x: np.where(abs(x) > abs(np.roll(x, 1, -1)), x, np.roll(x, 1, -1)), "not linear", "added"),
    ("batch norm in training", in_training, "depends on the batch", "the other images of its batch"),
    ("mean over the batch", lambda x: conv(x) + x.mean(0, keepdims=True).mean(1, keepdims=True),
     "depends on the batch", "the other images of its batch"),
    ("noise", noisy, "not deterministic", "the same input got different answers"),
    ("state", Counting(), "not deterministic", "the same input got different answers"),
    ("dense", dense, "not shift-equivariant", "every output sees every pixel"),
    ("global mean", lambda x: np.broadcast_to(x.mean((2, 3), keepdims=True), x.shape).copy(), "not shift-equivariant",
     "every output sees every pixel"),
    ("own weights", own_weight_everywhere, "not a convolution", "its answer is not that of the convolution"),
    ("sum so far", lambda x: np.cumsum(x, axis=-1), "not shift-equivariant", "no stride explains"),
    ("flipped image", lambda x: conv(x[..., ::-1].copy()), "not shift-equivariant", "no stride explains"),
    ("position added", lambda x: conv(x) + np.arange(x.shape[-1], dtype="float32"), "not shift-equivariant",
     "its answer to zeros is not the same at every position"),
    ("reflect", padded_by("reflect"), "other border", "with reflect padding"),
    ("circular", padded_by("wrap"), "other border", "with circular padding"),
    ("replicate", padded_by("edge"), "other border", "with replicate padding"),
    ("symmetric", lambda x: NUMPY.cross_correlate(np.pad(x, [(0, 0)] * 2 + [(2, 2)] * 2, mode="symmetric"), W),
     "other border", "with symmetric padding"),
    ("linear upsampling", upsampled, "other border", "but not at its border"),
    ("flatten", lambda x: x.reshape(len(x), -1), "wrong shape", "has the shape (1, 270), not (1, C_out, n, n)"),
    ("batch summed", lambda x: conv(x).sum(0, keepdims=True), "wrong shape", "has the shape (1, "),
    ("nan", nan_at_a_border, "not finite", "has NaN or infinity where x is finite"),
    ("integers", lambda x: conv(x).astype("int32"), "wrong dtype", "for x in float32 is in int32"),
    ("depends on the size", lambda x: NUMPY.cross_correlate(x, W, padding=1, stride=1 + (x.shape[-1] > 10)),
     "depends on the size", "it is another convolution for images of"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "box", "kind", "words"), REFUSED, ids=[r[0] for r in REFUSED])
def test_what_is_no_convolution_is_refused_for_the_right_reason(
    name: str, box: Callable[..., Any], kind: str, words: str
) -> None:
    found = mc.identify(box, in_channels=3)
    assert (found.convolution, found.kind) == (False, kind)
    assert words in found.reason
    assert found.text().splitlines()[0].endswith(f"is not a convolution: {kind}.")


def test_a_counterexample_shows_that_it_is_not_linear() -> None:
    def box(x: Host) -> Host:
        return np.maximum(x, 0)

    shown = mc.identify(box).counterexample
    x, negated = shown["x"], shown["x_changed"]
    assert np.array_equal(negated, -x)
    assert not np.array_equal(box(negated), -box(x))
    assert np.array_equal(shown["y"], box(x))


# ---- The command

FILE = """
import numpy as np
import multiconv as mc

w = np.float32([[[[1, 2, 0.5], [3, 4, -1], [5, 1, 7]]]])

def right(x):
    return mc.backend("numpy").cross_correlate(x, w, stride=2, padding="same")

def wrong(x):
    return np.maximum(right(x), 0)

def raises(x):
    raise RuntimeError("not today")

number = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "boxes.py"
    path.write_text(FILE)
    return path


def run(*words: str) -> tuple[int, str, str]:
    ran = CliRunner().invoke(main, ["identify", *words])
    assert ran.exception is None or isinstance(ran.exception, SystemExit)
    return ran.exit_code, ran.stdout, ran.stderr


def test_the_command_says_what_it_is(file: Path) -> None:
    status, text, _ = run(f"{file}:right", "in_channels=1")
    assert status == 0
    assert text.startswith(
        "right (function) is a cross-correlation: stride=2, padding=same_upper, dilation=1, groups=1\n"
        "  weights (1, 1, 3, 3) in float32, exact to the bit, and no bias\n"
    )
    assert "  proven on fresh inputs of 9x10, 10x11, 13x14: 3 of 3 equal to the bit\n" in text


def test_the_command_says_why_it_is_none(file: Path) -> None:
    status, text, _ = run(f"{file}:wrong", "in_channels=1")
    assert (status, text.splitlines()[0]) == (1, "wrong (function) is not a convolution: not linear.")


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (
            ("{}:raises",),
            2,
            "raises raised an exception for every input that was tried, at first RuntimeError: not today",
        ),
        (("{}:number",), 2, "3 is of type int, which can't be called"),
        (("{}:missing",), 3, "can't be imported: AttributeError: module 'boxes' has no attribute 'missing'"),
        (("{}x.py:f",), 2, "there is no file"),
        (("this.is.broken:f",), 3, "can't be imported: "),
        (("nowhere.py:f",), 2, "there is no file nowhere.py"),
        (("boxes",), 2, "a thing is named as package.module:object or path/file.py:object, not as 'boxes'"),
        (("{}:right", "in_chanels=1"), 2, "there is no option 'in_chanels' (did you mean 'in_channels'?)"),
        (("{}:right", "in_channels=x"), 2, "in_channels must be a whole number, or one per axis, not 'x'"),
        (("{}:right", "layout"), 2, "'layout' has no value: write layout=..., without a space"),
        (("{}:right", "layout=NHCW"), 2, "layout must be one of NCW, NCHW, "),
    ],
)
def test_wrong_words_get_one_sentence(file: Path, words: tuple[str, ...], status: int, sentence: str) -> None:
    found, _, errors = run(*(word.replace("{}", str(file)) for word in words))
    assert (found, sentence in errors) == (status, True)


@pytest.mark.parametrize("name", ["right", "wrong"])
def test_the_json_is_what_its_schema_says(file: Path, name: str) -> None:
    _, text, _ = run(f"{file}:{name}", "in_channels=1", "--json", "-")
    schema = json.loads((ROOT / "docs" / "schemas" / "identify.schema.json").read_text())
    jsonschema.validate(json.loads(text), schema)
    assert json.loads(text)["convolution"] is (name == "right")
