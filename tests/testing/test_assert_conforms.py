"""What `assert_conforms` takes, asks and says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import multiconv as mc
from multiconv.core.memory import ARRANGEMENTS
from multiconv.testing import assert_conforms

NUMPY = mc.backend("numpy")


def right(x: Any, w: Any, bias: Any, **options: Any) -> Any:
    return NUMPY.cross_correlate(x, w, bias, **options)


# ---- Options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"strides": 2},
            r"no option 'strides' \(did you mean 'stride'\?\). The options that can be fixed are batch, ",
        ),
        ({"kernel_size": 3}, r"no option 'kernel_size' \(did you mean 'kernel'\?\)"),
        ({"padding_mode": "circular"}, "no option 'padding_mode'"),
        ({"examples": 0}, "examples must be an int of at least 1, not 0: without a problem, nothing would be tested"),
        ({"examples": True}, "examples must be an int of at least 1, not True"),
        ({"examples": 2.5}, r"examples must be an int of at least 1, not 2\.5"),
        ({"values": ["gaussian"]}, "values must be one or more of integers, zeros, normal.*, not 'gaussian'"),
        ({"values": ["normals"]}, r"values must be one or more of .*, not 'normals' \(did you mean 'normal'\?\)"),
        ({"values": []}, r"values must be one or more of integers, .*, but it is empty"),
        ({"dtypes": []}, "dtypes must be one or more of float16, bfloat16, float32, float64, but it is empty"),
        ({"dtypes": ["int8"]}, "dtypes must be one or more of .*, not 'int8'"),
        ({"dtypes": ["complex64"]}, "dtypes must be one or more of .*, not 'complex64'"),
        ({"arrangements": ["backwards"]}, "arrangements must be one or more of .*, not 'backwards'"),
        (
            {"algorithm": "ftt"},
            r"algorithm must be one of direct, fft, winograd, not 'ftt' \(did you mean 'fft'\?\)",
        ),
        ({"layout": "NHWC"}, "gets its input channels first, so layout='NHWC' can't be tested"),
        ({"layout": "NHCW"}, "layout must be one of"),
        ({"padding": "sam"}, "padding must be a number"),
        ({"padding": ((1, 2, 3),)}, "must be a number or a .* pair"),
        ({"ndim": 4}, "ndim must be an int from 1 to 3, not 4"),
        ({"stride": 0}, "stride must be an int of at least 1, not 0"),
        ({"stride": 1.5}, r"stride must be an int of at least 1, not 1\.5"),
        ({"groups": "2"}, "groups must be an int of at least 1, not '2'"),
        ({"batch": -1}, "batch must be an int of at least 0, not -1"),
        ({"bias": 1}, r"bias must be True \(with a bias\) or False, not 1"),
        ({"kernel": (3, 3), "stride": (1, 1, 1)}, "but ndim or another option has [23]"),
        ({"kernel": (3, 3), "ndim": 3}, r"kernel=\(3, 3\) is for 2 spatial axes, but ndim or another option has 3"),
        ({"kernel": (3, 3, 3, 3)}, "must have 1, 2 or 3 axes, not 4"),
        (
            {"kernel": 5, "size": 2, "padding": 0, "ndim": 1},
            "no convolution found with .*larger than the padded",
        ),
        ({"in_channels": 3, "groups": 2}, "no convolution found with in_channels=3, groups=2"),
    ],
    ids=str,
)
def test_a_mistake_in_the_options_is_said_in_a_sentence(options: dict[str, Any], words: str) -> None:
    with pytest.raises(mc.UsageError, match=words):
        assert_conforms(right, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": (3, 3)},
        {"kernel": [3, 2], "ndim": 2},
        {"stride": (2, 2)},
        {"padding": (1, 1)},
        {"padding": ((1, 1), (0, 2))},
        {"padding": "SAME"},
        {"dtypes": "float32"},
        {"dtypes": [np.float64]},
        {"batch": 2, "in_channels": 4, "out_channels": 6, "size": (9, 7), "kernel": 3, "bias": True},
        {"in_channels": 12, "out_channels": 8},
        {"size": 20, "ndim": 1, "kernel": np.int64(3)},
        {"values": ["normal"], "arrangements": ["reversed"]},
        {"layout": None},
        {"layout": "NCHW"},
    ],
    ids=str,
)
def test_options_are_taken_as_people_write_them(options: dict[str, Any]) -> None:
    seen: list[tuple[Any, ...]] = []

    def watched(x: Any, w: Any, bias: Any, **given: Any) -> Any:
        seen.append((x.shape, w.shape, x.dtype.name, bias is not None, given))
        return right(x, w, bias, **given)

    assert_conforms(watched, examples=30, **options)
    for x, w, dtype, bias, given in seen:
        ndim = len(x) - 2
        own = {"batch": x[0], "in_channels": x[1], "out_channels": w[0], "size": x[2:], "kernel": w[2:], "bias": bias}
        own["ndim"] = ndim
        for name in set(options) & set(own):
            fixed = options[name]
            several = tuple(fixed) if isinstance(fixed, (tuple, list)) else (fixed,) * ndim
            assert own[name] == (several if isinstance(own[name], tuple) else fixed)
        if "dtypes" in options:
            assert dtype == np.dtype(np.atleast_1d(options["dtypes"])[0]).name
        if options.get("padding") == ((1, 1), (0, 2)):
            assert given["padding"] in (((1, 1), (0, 2)), ((1, 1), (2, 0)))  # swapped, to see whether anything is kept
        if options.get("stride") == (2, 2):
            assert all(s == 2 or s >= n for s, n in zip(given["stride"], x[2:]))  # a stride past the image is cut to it


# ---- What is asked


def test_networks_layers_are_asked_unless_they_are_not_wanted_or_have_not_what_is_fixed() -> None:
    def shapes(**options: Any) -> set[tuple[int, ...]]:
        seen = set()

        def watched(x: Any, w: Any, bias: Any, **given: Any) -> Any:
            seen.add(w.shape)
            return right(x, w, bias, **given)

        assert_conforms(watched, examples=20, **options)
        return seen

    assert (64, 3, 7, 7) in shapes()
    assert (64, 3, 7, 7) in shapes(kernel=7, stride=2, ndim=2, dilation=1)
    assert (64, 3, 7, 7) not in shapes(networks=False)
    assert {w[2:] for w in shapes(kernel=3, ndim=2)} == {(3, 3)}


def test_views_of_every_kind_are_asked() -> None:
    """By what their strides show; a copy could not tell."""
    seen = set()

    def watched(x: Any, w: Any, bias: Any, **given: Any) -> Any:
        if x.size > 1 and w.size > 1:
            seen.add(("reversed", min(x.strides) < 0 and min(w.strides) < 0))
            seen.add(("unaligned", not x.flags.aligned and not w.flags.aligned))
            seen.add(("read_only", not x.flags.writeable and x.flags.aligned and not w.flags.writeable))
            seen.add(("Fortran", x.flags.f_contiguous and not x.flags.c_contiguous and x.ndim == 5))
            seen.add(("gaps", x.strides[1] == 2 * x.itemsize * int(np.prod(x.shape[2:])) and x.shape[1] > 1))
            seen.add(("cropped", x.ndim == 4 and x.strides[2] == (x.shape[3] + 2) * x.itemsize))
            seen.add(("channels_last", x.strides[1] == x.itemsize and x.shape[1] > 1 and min(x.shape[2:]) > 1))
        return right(x, w, bias, **given)

    assert_conforms(watched)
    assert {name for name, found in seen if found} == set(ARRANGEMENTS) - {"contiguous"}


def refuses_views(x: Any, w: Any, bias: Any, **given: Any) -> Any:
    if min(x.strides) < 0:
        raise ValueError("at least one stride is negative")
    return right(x, w, bias, **given)


def test_a_function_may_refuse_a_view_unless_the_caller_says_that_it_takes_them() -> None:
    assert_conforms(refuses_views, examples=60)
    with pytest.raises(AssertionError, match="ValueError: at least one stride is negative"):
        assert_conforms(refuses_views, examples=60, arrangements=["reversed"])


def test_a_function_that_ignores_strides_is_shown_with_the_view_that_it_gets_wrong() -> None:
    def by_pointer(x: Any, w: Any, bias: Any, **given: Any) -> Any:
        return right(np.ravel(x, order="K").reshape(x.shape), w, bias, **given)

    with pytest.raises(AssertionError, match="not a cross-correlation") as caught:
        assert_conforms(by_pointer)
    lines = [line.strip() for line in str(caught.value).splitlines() if line.startswith("    ")]
    namespace: dict[str, Any] = {"np": np, "by_pointer": by_pointer, "right": right}
    exec("\n".join([*lines[:-1], f"wrong = {lines[-1]}", f"y = {lines[-1].replace('by_pointer', 'right')}"]), namespace)
    assert (namespace["wrong"] != namespace["y"]).any()


# ---- What is found


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda x, w, y, call: y + (call == 2), "the answer changes from call to call"),
        (lambda x, w, y, call: y + (call % 20 == 0), "the answer changes from call to call"),
        (lambda x, w, y, call: x if y.shape == x.shape and (y == x).all() else y, "its result shares memory with its"),
        (lambda x, w, y, call: np.zeros_like(y) if np.isnan(w).any() else y, "is 0.0, but"),
        (
            lambda x, w, y, call: np.nan_to_num(y, posinf=np.finfo(y.dtype).max),
            r"(beyond float(32|64),|inf) is right",
        ),
    ],
    ids=["second call", "one call in 20", "alias", "NaN weights", "saturated"],
)
def test_rare_faults_are_found(spoil: Any, words: str) -> None:
    calls = [0]

    def conv(x: Any, w: Any, bias: Any, **given: Any) -> Any:
        calls[0] += 1
        return spoil(x, w, right(x, w, bias, **given), calls[0])

    with pytest.raises(AssertionError, match=words):
        assert_conforms(conv)


def test_a_counterexample_has_values_of_the_kind_that_was_asked() -> None:
    seen = []

    def off(x: Any, w: Any, bias: Any, **given: Any) -> Any:
        seen.append(bool((x == np.rint(x)).all()))
        return right(x, w, bias, **given) + np.ones((), x.dtype)

    with pytest.raises(AssertionError, match="is not a cross-correlation"):
        assert_conforms(off, values=["normal"], networks=False)
    assert not any(seen)


def test_a_wrong_function_is_told_why() -> None:
    def flipped(x: Any, w: Any, bias: Any, **given: Any) -> Any:
        return right(x, w[:, :, ::-1, ::-1].copy(), bias, **given)

    said = "why: the kernel is flipped along every spatial axis: equal to the bit on 40 of 40 problems"
    with pytest.raises(AssertionError) as raised:
        assert_conforms(flipped, ndim=2, kernel=3, networks=False)
    assert said in str(raised.value)
    assert "    torch: w = w.flip(tuple(range(2, w.ndim)))" in str(raised.value)


def test_one_buffer_for_all_results_is_found() -> None:
    buffer = np.zeros(2**20, np.uint8)

    def conv(x: Any, w: Any, bias: Any, **given: Any) -> Any:
        y = right(x, w, bias, **given)
        into = buffer[: y.nbytes].view(y.dtype).reshape(y.shape)
        into[:] = y
        return into

    with pytest.raises(AssertionError, match="changed the result of an earlier call"):
        assert_conforms(conv)


def test_a_loss_of_precision_is_a_failure_with_words_of_its_own() -> None:
    def narrow(a: Any) -> Any:
        bits = np.ascontiguousarray(a).view(np.uint32)
        return (bits & 0xFFFFFC00).view(np.float32)  # 13 of the 23 bits of its mantissa

    def narrowed(x: Any, w: Any, bias: Any, **given: Any) -> Any:
        return right(narrow(x), narrow(w), bias, **given)

    options: dict[str, Any] = {"in_channels": 128, "kernel": 3, "size": 8, "groups": 1, "ndim": 2, "batch": 2}
    with pytest.raises(
        AssertionError, match=r"(?s)narrowed loses precision.*it lost precision: its errors are within"
    ) as caught:
        assert_conforms(narrowed, dtypes=["float32"], values=["normal"], examples=3, **options)
    assert "as large as rounding explains" in str(caught.value)
    assert_conforms(right, dtypes=["float32"], values=["normal"], examples=3, **options)


def test_a_counterexample_of_an_empty_result_or_in_bfloat16_can_be_typed_in() -> None:
    def short(x: Any, w: Any, bias: Any, **given: Any) -> Any:
        return right(x, w, bias, **given)[..., :0]

    with pytest.raises(AssertionError, match=r"gives np\.zeros\(\(1, 1, 0\), 'float32'\)"):
        assert_conforms(short, ndim=1, dtypes=["float32"])

    def off(x: Any, w: Any, bias: Any, **given: Any) -> Any:
        wide = [None if a is None else a.astype("float32") for a in (x, w, bias)]
        return right(*wide, **given).astype(x.dtype) + np.ones((), x.dtype)

    with pytest.raises(AssertionError, match="import ml_dtypes") as caught:
        assert_conforms(off, dtypes=["bfloat16"])
    lines = [line.strip() for line in str(caught.value).splitlines() if line.startswith("    ")]
    namespace: dict[str, Any] = {"np": np, "off": off}
    exec("\n".join([*lines[:-1], f"y = {lines[-1]}"]), namespace)
    assert namespace["y"].dtype.name == "bfloat16"
