"""Read the lines that oneDNN writes about each primitive that it runs, in the formats of its versions 0.x to 3.x.

    onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx512_core,forward_training,...,mb2_ic3...,0.01    3.2 to 3.12
    dnnl_verbose,exec,cpu,convolution,jit:avx2,forward_training,...,mb2_ic3...,0.01                          1.x and 2.x
    mkldnn_verbose,exec,convolution,jit:avx2,forward_training,...,mb2_ic3...,0.01                            0.x

The fields before ``exec`` differ between versions, so a line is read from there on. A line of oneDNN's that can't be
read is not lost: it becomes a kernel whose name is the line.
"""

from __future__ import annotations

import re

from multiconv.guest.kernels import FORWARD, INPUT_GRADIENT, KERNEL_GRADIENT, UNKNOWN_LINE, Kernel

PREFIXES = ("onednn_verbose,", "dnnl_verbose,", "mkldnn_verbose,")
VARIABLES = {"ONEDNN_VERBOSE": "1", "DNNL_VERBOSE": "1", "MKLDNN_VERBOSE": "1"}
"""The environment variables with which it writes, each for some of its versions. It reads them when it is loaded."""
COMPUTES = ("convolution", "deconvolution", "inner_product", "matmul", "gemm_api")
"""The kinds of primitive that can compute a convolution."""
DO_NOT = (
    "batch_normalization", "binary", "concat", "eltwise", "group_normalization", "layer_normalization", "logsoftmax",
    "lrn", "pooling", "pooling_v2", "prelu", "reduction", "reorder", "resampling", "rnn", "shuffle", "softmax",
    "softmax_v2", "sum", "zero_pad",
)  # fmt: skip
NOT_RUN = ("info", "create", "graph", "template", "profile")
PROPAGATION = {
    "forward": FORWARD,
    "forward_training": FORWARD,
    "forward_inference": FORWARD,
    "forward_scoring": FORWARD,
    "backward_data": INPUT_GRADIENT,
    "backward_weights": KERNEL_GRADIENT,
}
ENGINE = re.compile(r"[cg]pu[\d:]*$")
TIME = re.compile(r",\d[\d.e+-]*$")
BEFORE_EXEC = 6
"""The word ``exec`` is among this many first fields."""


def read_lines(written: str) -> list[Kernel]:
    """Return the kernels that may have computed a convolution, from everything that was written.

    Parameters
    ----------
    written : str
        The output of a process. Lines that are not oneDNN's are skipped.

    Examples
    --------
    >>> line = "mkldnn_verbose,exec,convolution,jit:avx2,backward_data,fsrc:nchw,alg:convolution_direct,mb2_ic3,0.01"
    >>> (kernel,) = read_lines(line)
    >>> kernel.name, kernel.computes, kernel.problem
    ('jit:avx2', 'input gradient', 'mb2_ic3')
    >>> read_lines("onednn_verbose,v9,ran,conv at twelve")[0].status
    'unknown line'
    """
    lines = (line.strip() for line in written.splitlines())
    return [kernel for line in lines if line.startswith(PREFIXES) for kernel in _read(line)]


def read_versions(written: str) -> list[str]:
    """Return what oneDNN writes of itself when it starts: its version, and the instructions that it may use.

    Examples
    --------
    >>> read_versions("dnnl_verbose,info,oneDNN v2.4.4 (commit 58)\\ndnnl_verbose,info,cpu,isa:Intel AVX-512")
    ['oneDNN v2.4.4', 'Intel AVX-512']
    """
    found = []
    for line in written.splitlines():
        if line.startswith(PREFIXES) and ",info," in line:
            last = line.rpartition("info,")[2].partition(" (commit")[0].removeprefix("cpu,")
            if re.match(r"isa:|(one|MKL-)?DNN v", last):
                found.append(last.removeprefix("isa:"))
    return found


def _read(line: str) -> list[Kernel]:
    """Return the kernel of a line, or nothing if it is known not to compute a convolution."""
    fields = line.split(",")
    start = fields[1:BEFORE_EXEC]
    if "exec" not in start:
        return [] if any(word.partition(":")[0] in NOT_RUN for word in start) else [_unread(line)]
    rest = fields[fields.index("exec") + 1 :]
    if rest and ENGINE.match(rest[0]):
        rest = rest[1:]
    if rest and rest[0] in DO_NOT:
        return []
    if len(rest) < 5 or rest[0] not in COMPUTES:
        return [_unread(line)]
    kind, name, propagation = rest[:3]
    problem = rest[-2] if TIME.search(line) else rest[-1]
    return [Kernel("oneDNN", name or kind, kind, PROPAGATION.get(propagation, ""), problem=problem)]


def _unread(line: str) -> Kernel:
    """Return a kernel for a line that can't be read, without the time at its end, which differs each time."""
    return Kernel("oneDNN", TIME.sub("", line), "", status=UNKNOWN_LINE)
