"""What computed a convolution: the kernels that a framework's call was heard to run.

A call is heard in up to four ways: what oneDNN writes, the operators that the framework ran, the programs that XLA
compiled, and the algorithms that a backend says it chose. `kernels_by_direction` combines them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FORWARD, INPUT_GRADIENT, KERNEL_GRADIENT = "forward", "input gradient", "kernel gradient"
GRADIENTS = (INPUT_GRADIENT, KERNEL_GRADIENT)
CALLS = ("forward", "gradients", "convolve", "conv_transpose", "layer")
"""The calls of a backend in which kernels are heard. All gradients come from one call."""
KNOWN, UNKNOWN_LINE, NOT_KNOWN = "known", "unknown line", "not known"
CONVOLUTIONS = ("convolution", "deconvolution")
NAMES_A_CONVOLUTION = re.compile("conv", re.IGNORECASE)
OF_A_FUNCTION = "__"
"""How TensorFlow begins the name of a function that it has traced, which is numbered and runs other operators."""


@dataclass(frozen=True)
class Kernel:
    """A piece of code in a library that computes a convolution.

    Attributes
    ----------
    library : str
        ``"oneDNN"``, ``"XLA"``, the name of the framework or of the backend, or ``""`` if it is not known.
    name : str
        As the library prints it: an implementation such as ``"jit:avx512_core"``, an operator or an algorithm. For a
        line that could not be read, the whole line.
    primitive : str
        What the kernel computes for its library: ``"convolution"``, ``"deconvolution"``, ``"matmul"`` and so on.
    computes : str
        ``"forward"``, ``"input gradient"``, ``"kernel gradient"``, or ``""`` if the library does not say.
    status : str
        ``"known"``; ``"unknown line"`` if the library wrote a line that could not be read, which is then the name; or
        ``"not known"`` if nothing was heard.
    problem : str
        The problem as the library describes it; kernels are equal whatever their problem is.
    """

    library: str
    name: str
    primitive: str = "convolution"
    computes: str = ""
    status: str = KNOWN
    problem: str = field(default="", compare=False)

    @property
    def label(self) -> str:
        """Return the kernel's name for a table.

        Examples
        --------
        >>> Kernel("oneDNN", "jit:avx512_core").label, Kernel("oneDNN", "gemm:ref", "deconvolution").label
        ('oneDNN jit:avx512_core', 'oneDNN deconvolution gemm:ref')
        """
        said = self.primitive == "convolution" or self.name.startswith(self.primitive)
        primitive = "" if said else self.primitive
        return " ".join(word for word in (self.library, primitive, self.name) if word)


SILENT = Kernel("", NOT_KNOWN, "", status=NOT_KNOWN)
"""Stands for the kernel of a call in which nothing was heard."""


def read_operators(library: str, names: Sequence[str]) -> list[Kernel]:
    """Return the operators among these that compute convolutions, with the direction that their names tell.

    Examples
    --------
    >>> [k.computes for k in read_operators("tensorflow", ["Reshape", "Conv2D", "Conv2DBackpropFilter"])]
    ['forward', 'kernel gradient']
    >>> [k.computes for k in read_operators("torch", ["aten::_slow_conv2d_backward"])]
    ['input gradient', 'kernel gradient']
    """
    found = []
    for name in dict.fromkeys(names):
        if NAMES_A_CONVOLUTION.search(name) and not name.startswith(OF_A_FUNCTION):
            if "BackpropInput" in name:
                directions: Sequence[str] = (INPUT_GRADIENT,)
            elif "BackpropFilter" in name:
                directions = (KERNEL_GRADIENT,)
            else:
                directions = GRADIENTS if "backward" in name.lower() else (FORWARD,)
            found += [Kernel(library, name, computes=direction) for direction in directions]
    return found


def kernels_by_direction(heard: Sequence[Mapping[str, Any]], call: str) -> dict[str, tuple[Kernel, ...]]:
    """Return the kernels of a call, by the direction that they compute.

    An operator of the framework is left out where oneDNN says which kernel computes it.

    Parameters
    ----------
    heard : sequence of dict
        What `multiconv.guest.listening.Listening.heard` returned for each part of the call.
    call : str
        One of `CALLS`.

    Returns
    -------
    dict
        Kernels by direction: the call itself, or for the gradients ``"input gradient"``, ``"kernel gradient"``, and
        ``"gradients"`` for kernels of which the library does not say which gradient they compute. No direction is left
        empty: `SILENT` stands for what was not heard.

    Examples
    --------
    >>> line = "dnnl_verbose,exec,cpu,convolution,jit:avx2,forward_training,src_f32,,,mb2_ic3,0.01"
    >>> heard = {"library": "mxnet", "written": line, "operators": [], "programs": [], "algorithms": []}
    >>> kernels_by_direction([heard], "forward")["forward"][0].label
    'oneDNN jit:avx2'
    """
    from multiconv.guest.hlo import read_programs
    from multiconv.guest.verbose_lines import read_lines

    lines = [kernel for part in heard for kernel in read_lines(part["written"])]
    operators = [kernel for part in heard for kernel in read_operators(part["library"], part["operators"])]
    others = [kernel for part in heard for kernel in read_programs(part["programs"], gradients=call == "gradients")]
    others += [
        Kernel(part["library"], name, computes=computes) for part in heard for computes, name in part["algorithms"]
    ]
    if call != "gradients":
        convolutions = _of_this_call([k for k in lines if k.primitive in CONVOLUTIONS], call)
        rest = [k for k in lines if k.primitive not in CONVOLUTIONS]
        return {call: _each_once((convolutions or _of_this_call(operators, call)) + rest + others)}
    found = {}
    for direction in GRADIENTS:
        own = [k for k in lines if k.computes == direction and k.primitive in CONVOLUTIONS]
        own = own or [k for k in operators if k.computes == direction]
        found[direction] = _each_once(own + [k for k in others if k.computes == direction])
    unsaid = [k for k in lines + others if not k.computes]
    return {**found, **({"gradients": _each_once(unsaid)} if unsaid else {})}


def _of_this_call(kernels: list[Kernel], call: str) -> list[Kernel]:
    """Leave out what else ran where the transposed convolution is computed as the input gradient of a convolution."""
    adjoint = [k for k in kernels if k.computes == INPUT_GRADIENT or k.primitive == "deconvolution"]
    return adjoint if call == "conv_transpose" and adjoint else kernels


def _each_once(kernels: Sequence[Kernel]) -> tuple[Kernel, ...]:
    return tuple(dict.fromkeys(kernels)) or (SILENT,)
