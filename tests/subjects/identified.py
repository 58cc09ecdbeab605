"""What the tests of `mc.identify` share."""

from __future__ import annotations

import multiconv as mc
from multiconv.core.spec import ConvSpec
from multiconv.core.types import Host


def assert_is(found: mc.Identification, spec: ConvSpec, w: Host, bias: Host | None) -> None:
    """The same options, weights and bias to the bit, and the same first pixel and output at other sizes."""
    assert found.convolution, found.reason
    assert found.spec is not None
    assert found.exact
    kernel = w.shape[2:]
    stride, dilation = spec.each(len(kernel))
    assert found.spec.stride == stride
    assert found.spec.dilation == tuple(1 if k == 1 else d for k, d in zip(kernel, dilation))
    assert found.spec.groups == spec.groups
    assert found.w is not None
    assert (found.w.shape, found.w.tobytes()) == (w.shape, w.tobytes())
    if bias is None or not bias.any():
        assert found.bias is None
    else:
        assert found.bias is not None
        assert found.bias.tobytes() == bias.tobytes()
    for more in range(3):
        size = tuple((k - 1) * d + 1 + s * 2 + more for k, d, s in zip(kernel, dilation, stride))
        shape = (1, *size, w.shape[1] * spec.groups) if spec.channels_last else (1, w.shape[1] * spec.groups, *size)
        right, given = spec.resolve(shape, w.shape), found.spec.with_layout(
            len(kernel), channels_last=spec.channels_last
        ).resolve(shape, w.shape)  # fmt: skip
        assert [p[0] for p in given.pads] == [p[0] for p in right.pads]
        assert given.out == right.out
    assert len(found.proof) > 1
    assert all(p.exact for p in found.proof if p.must_be_exact)
