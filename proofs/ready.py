"""Functions made ready to run: operands looked up once, constants computed without terms.

A short cut past meaning.py where every operand is a literal, most of what a program does being
concrete; the tests hold the two against each other.  It executes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from proofs.constants import short_cut
from proofs.ir import Function, Instruction, Number, Operand, Symbol, Undefined, Variable
from proofs.literals import number
from proofs.meaning import Value


@dataclass(slots=True, frozen=True)
class Ready:
    """An instruction with what is known of it before it runs.

    operands   the name of a register (str), or the operand itself: a value, a Label, an Undefined
    undefined  whether one of them is Undefined
    short      what it computes of literals; None where it is not for literals alone to say
    places     what is owed at a load or a store, as Path.met has it: (misaligned, outside)
    """

    instruction: Instruction
    opcode: str
    result: str
    operands: tuple[object, ...]
    undefined: bool
    short: Callable[[Sequence], Value] | None
    places: tuple[tuple[str, str], tuple[str, str]]


@dataclass(slots=True, frozen=True)
class ReadyBlock:
    """A block: its phis by the block that the path comes from, and the rest."""

    phis: Mapping[str, tuple[tuple[str, object], ...]]
    steps: tuple[Ready, ...]


def ready(
    function: Function, address_of: Callable[[str], int], width: int
) -> dict[str, ReadyBlock]:
    """Its blocks; `width` is that of a pointer."""

    def operand(given: Operand) -> object:
        if isinstance(given, Variable):
            return given.name
        if isinstance(given, Number):
            return bool(given.value) if given.width == 1 else number(given.value, given.width)
        if isinstance(given, Symbol):
            return number(address_of(given.name) + given.offset, width)
        return given

    return {name: _block(function, name, operand) for name in function.blocks}


def _block(function: Function, name: str, operand: Callable[[Operand], object]) -> ReadyBlock:
    phis: dict[str, list] = {}
    steps = []
    for instruction in function.blocks[name].instructions:
        operands = tuple(operand(each) for each in instruction.operands)
        if instruction.opcode != "phi":
            steps.append(_step(function.name, instruction, operands))
            continue
        for source, value in zip(instruction.detail, operands, strict=True):
            phis.setdefault(source, []).append((instruction.result, value))
    return ReadyBlock({source: tuple(pairs) for source, pairs in phis.items()}, tuple(steps))


def _step(function: str, instruction: Instruction, operands: tuple[object, ...]) -> Ready:
    opcode = instruction.opcode
    verb = "writes" if opcode == "store" else "reads"
    places = (
        ("no_undefined", f"{function} {verb} at a misaligned address"),
        ("bounds", f"{function} {verb} outside its memory"),
    )
    undefined = any(isinstance(each, Undefined) for each in operands)
    short = None if undefined else short_cut(instruction)
    return Ready(instruction, opcode, instruction.result, operands, undefined, short, places)
