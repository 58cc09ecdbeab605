"""Read the programs that XLA compiled: which of their instructions compute a convolution, and how these run.

XLA turns a convolution into a call of its runtime, a loop that it compiles, a matrix product, or operations of other
kinds. The text of the program after all optimizations says which. The names of the object files that were compiled with
it tell a loop from a call.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multiconv.guest.kernels import GRADIENTS, Kernel

INSTRUCTION = re.compile(
    r"\s+(?P<root>ROOT )?%(?P<name>[\w.-]+) = (?P<type>\(.*?\)|\S+) (?P<opcode>[\w-]+)\((?P<rest>.*)"
)
COMPUTATION = re.compile(r"(?P<entry>ENTRY )?%(?P<name>[\w.-]+) \(.*\{$")
REFERENCE = re.compile(r"%([\w.-]+)")
TARGET = re.compile(r'custom_call_target="([^"]+)"')
CUSTOM_FUSION = re.compile(r'kind=kCustom.*?"kind":"([^"]+)"')
NEITHER = "neither a convolution nor a dot"


@dataclass
class _Instruction:
    """An instruction of a program."""

    name: str
    dtype: str
    opcode: str
    text: str
    is_root: bool

    @property
    def references(self) -> list[str]:
        """Return the names of its operands and of the computations that it calls."""
        return REFERENCE.findall(self.text)


def read_programs(programs: Sequence[Mapping[str, Any]], *, gradients: bool = False) -> list[Kernel]:
    """Return the kernels of the programs that were compiled for one call.

    Parameters
    ----------
    programs : sequence of dict
        For each program ``"hlo"``, its text after all optimizations, and ``"objects"``, the names of its object files.
    gradients : bool
        Whether the call computes gradients. The first result of a program with several is then the input gradient, and
        the second the kernel gradient.

    Examples
    --------
    >>> hlo = '''ENTRY %main (x: f32[8,4], w: f32[4,2]) -> f32[8,2] {
    ...   %x = f32[8,4]{1,0} parameter(0)
    ...   %w = f32[4,2]{1,0} parameter(1)
    ...   ROOT %dot = f32[8,2]{1,0} dot(%x, %w), lhs_contracting_dims={1}, rhs_contracting_dims={0}
    ... }'''
    >>> [kernel.label for kernel in read_programs([{"hlo": hlo, "objects": []}])]
    ['XLA dot f32, runtime call']
    """
    found: list[Kernel] = []
    for program in programs:
        computations, entry = _parsed(program["hlo"])
        root = next((i for i in computations.get(entry, ()) if i.is_root), None)
        if root is None:
            continue
        results = root.references if gradients and root.opcode == "tuple" else []
        if len(results) < len(GRADIENTS):
            found += [Kernel("XLA", name, kind) for kind, name in _reached(root.name, computations, program["objects"])]
        for direction, result in zip(GRADIENTS, results):
            reached = _reached(result, computations, program["objects"])
            found += [Kernel("XLA", name, kind, direction) for kind, name in reached]
    telling = [kernel for kernel in found if kernel.name != NEITHER or kernel.computes]
    return telling or found[:1]


def _parsed(hlo: str) -> tuple[dict[str, list[_Instruction]], str]:
    """Return the instructions of each computation, and the name of the one where the program begins."""
    computations: dict[str, list[_Instruction]] = {}
    current, entry = "", ""
    for line in hlo.splitlines():
        opening = COMPUTATION.match(line)
        if opening:
            current = opening["name"]
            computations[current] = []
            entry = current if opening["entry"] else entry
            continue
        found = INSTRUCTION.match(line)
        if found and current:
            dtype = found["type"].lstrip("(").partition("[")[0]
            read = _Instruction(found["name"], dtype, found["opcode"], found["rest"], bool(found["root"]))
            computations[current].append(read)
    return computations, entry


def _reached(
    result: str, computations: Mapping[str, list[_Instruction]], objects: Sequence[str]
) -> list[tuple[str, str]]:
    """Return primitive and name of each kernel on which a result of the program depends."""
    by_name = {i.name: i for instructions in computations.values() for i in instructions}
    inside = {i.name for name, instructions in computations.items() if "fused" in name for i in instructions}
    waiting, seen, found = [result], {result}, []
    while waiting:
        name = waiting.pop()
        more: Iterator[str] = iter(())
        if name in by_name:
            instruction = by_name[name]
            found += _kernel(instruction, objects, fused=name in inside)
            # A library computes a custom fusion as a whole, whatever the instructions in it.
            own = CUSTOM_FUSION.search(instruction.text)
            more = (r for r in instruction.references if not (own and r in computations))
        elif name in computations:
            more = (i.name for i in computations[name])
        for other in more:
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    return sorted(set(found)) or [("", NEITHER)]


def _kernel(instruction: _Instruction, objects: Sequence[str], *, fused: bool) -> list[tuple[str, str]]:
    """Return primitive and name of the kernel of an instruction, if it is one that can compute a convolution."""
    opcode, target, custom = (
        instruction.opcode, TARGET.search(instruction.text), CUSTOM_FUSION.search(instruction.text),
    )  # fmt: skip
    if opcode == "custom-call" and target:
        return [(opcode, target[1])]
    if opcode == "fusion" and custom:
        return [(opcode, custom[1])]
    if opcode in ("convolution", "dot"):
        stem = re.sub(r"\W", "_", instruction.name)
        compiled = fused or any(re.match(rf"{stem}(_elemental)?_kernel", re.sub(r"\W", "_", o)) for o in objects)
        return [(opcode, f"{opcode} {instruction.dtype}, {'compiled loop' if compiled else 'runtime call'}")]
    return []
