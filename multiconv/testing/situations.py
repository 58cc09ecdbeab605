"""Situations: cases for which frameworks have special code, or which are easy to get wrong."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

_EVEN = {"kernel": st.sampled_from([2, 4]), "stride": st.just(1), "dilation": st.just(1)}
_ASYMMETRIC = st.sampled_from([(0, 1), (1, 0), (2, 1), (0, 3)])

SITUATIONS: dict[str, dict[str, Any]] = {
    "anything": {},
    "one row": {"batch": st.just(1), "out_group": st.integers(2, 3)},
    "many rows": {"batch": st.sampled_from([16, 17]), "extra": st.just(3)},
    "no rows": {"batch": st.just(0)},
    "one pixel in": {"extra": st.just(0), "padding": st.sampled_from(["same", "same_lower", "full"])},
    "one pixel out": {"extra": st.just(0), "padding": st.sampled_from([0, "valid"]), "kernel": st.integers(2, 3)},
    "one channel, full": {
        "groups": st.just(1),
        "in_group": st.just(1),
        "out_group": st.just(1),
        "kernel": st.integers(2, 4),
        "padding": st.just("full"),
        "ndim": st.just(2),
    },
    "depthwise": {"groups": st.sampled_from([3, 5]), "in_group": st.just(1), "out_group": st.just(1)},
    "depthwise, several out": {
        "groups": st.sampled_from([2, 3]),
        "in_group": st.just(1),
        "out_group": st.integers(2, 3),
    },
    "groups": {"groups": st.sampled_from([2, 3]), "in_group": st.integers(2, 3), "out_group": st.integers(2, 3)},
    "1x1 kernel, strided": {"kernel": st.just(1), "stride": st.just(2), "extra": st.just(5), "ndim": st.just(2)},
    "1x1 kernel, as many channels as columns": {
        "kernel": st.just(1),
        "stride": st.just(1),
        "padding": st.just("valid"),
        "groups": st.just(1),
        "in_group": st.just(3),
        "out_group": st.just(3),
        "extra": st.just(2),
    },
    "3x3 kernel, an odd number of outputs": {  # the last tile of Winograd's algorithm is not full
        "ndim": st.just(2),
        "kernel": st.just(3),
        "stride": st.just(1),
        "dilation": st.just(1),
        "groups": st.just(1),
        "padding": st.sampled_from([0, 1, "same"]),
        "extra": st.sampled_from([2, 4, 6]),
    },
    "even kernel, same": {**_EVEN, "padding": st.sampled_from(["same", "same_upper"])},
    "even kernel, same_lower": {**_EVEN, "padding": st.just("same_lower")},
    "strided, same": {
        "kernel": st.just(3),
        "stride": st.just(2),
        "dilation": st.just(1),
        "padding": st.just("same"),
        "extra": st.sampled_from([3, 5]),
        "ndim": st.just(2),
    },
    "asymmetric pads": {"pads": _ASYMMETRIC, "kernel": st.integers(2, 3)},
    "stride beyond the kernel": {"kernel": st.integers(1, 2), "stride": st.integers(3, 4), "extra": st.integers(4, 8)},
    "dilation beyond the input": {
        "kernel": st.integers(2, 3),
        "dilation": st.integers(3, 5),
        "extra": st.integers(0, 2),
        "padding": st.sampled_from(["same", "full"]),
    },
    "stride and dilation": {
        "kernel": st.integers(2, 3),
        "stride": st.just(2),
        "dilation": st.just(2),
        "extra": st.integers(3, 6),
    },
    "many channels": {
        "ndim": st.just(2),
        "groups": st.just(1),
        "in_group": st.sampled_from([15, 16, 17, 31, 32, 33]),
        "out_group": st.sampled_from([15, 16, 17, 31, 32, 33]),
        "batch": st.just(2),
    },
    "large image": {
        "ndim": st.just(2),
        "groups": st.just(1),
        "in_group": st.just(1),
        "batch": st.just(1),
        "kernel": st.just(3),
        "dilation": st.just(1),
        "extra": st.sampled_from([140, 142]),  # x has more or fewer elements than torch's threshold of 20480
    },
    "padding beyond the kernel before": {
        "ndim": st.just(2),
        "groups": st.just(1),
        "in_group": st.sampled_from([4, 8, 16]),
        "out_group": st.just(8),
        "kernel": (st.just(1), st.integers(2, 3)),
        "stride": st.just(1),
        "dilation": st.just(1),
        "pads": (st.sampled_from([(0, 0), (1, 1), (3, 0)]), st.sampled_from([(3, 0), (4, 0)])),
        "extra": st.integers(3, 8),
        "dtype": st.just(0),
    },
    "padding beyond the kernel before, on both axes": {
        "ndim": st.just(2),
        "groups": st.just(1),
        "in_group": st.sampled_from([4, 8, 16]),
        "out_group": st.just(8),
        "kernel": st.just(2),
        "stride": st.just(1),
        "dilation": st.just(1),
        "pads": st.sampled_from([(3, 0), (2, 0)]),
        "extra": st.integers(3, 8),
        "dtype": st.just(0),
    },
    "padding beyond the kernel after": {"kernel": st.integers(1, 3), "pads": st.sampled_from([(0, 3), (0, 4), (1, 5)])},
    "only padding seen": {
        "kernel": st.integers(1, 2),
        "stride": st.just(9),
        "dilation": st.just(1),
        "pads": st.sampled_from([(2, 2), (3, 2), (2, 3)]),
        "extra": st.just(0),
    },
    "one output, pixels left over": {
        "ndim": st.just(2),
        "batch": st.sampled_from([2, 3]),
        "groups": st.just(1),
        "in_group": st.just(1),
        "kernel": (st.integers(1, 3), st.integers(2, 3)),
        "stride": (st.just(1), st.just(3)),
        "dilation": st.just(1),
        "padding": st.just(0),
        "extra": (st.integers(1, 3), st.integers(1, 2)),
        "dtype": st.just(0),
    },
    "one output of three axes, pixels left over": {
        "ndim": st.just(3),
        "groups": st.sampled_from([1, 3]),
        "in_group": st.just(1),
        "kernel": (st.integers(1, 2), st.integers(1, 3), st.integers(2, 3)),
        "stride": (st.just(3), st.just(1), st.just(3)),
        "dilation": st.just(1),
        "padding": st.just(0),
        "extra": (st.integers(1, 2), st.integers(1, 3), st.integers(1, 2)),
        "dtype": st.just(0),
    },
    "one axis": {"ndim": st.just(1), "kernel": st.integers(2, 4)},
    "three axes": {"ndim": st.just(3), "kernel": st.integers(1, 3)},
    "channels last": {"layout": st.just("channels_last"), "in_group": st.integers(2, 3)},
}
"""For each named situation, the options that are not drawn as usual, with their strategies.

The options are `batch`, `ndim`, `groups`, `padding` and `layout`; the channels per group, `in_group` and `out_group`;
along each axis `kernel`, `stride`, `dilation`, `pads` and `extra`, the number of pixels beyond the smallest input; and
`dtype`, the number of a dtype. A tuple has one strategy per axis.
"""
