"""Functions made ready to run: operands looked up once, constants computed without terms.

A short cut past meaning.py where every operand is a literal, most of what a program does being
concrete; the tests hold the two against each other.  It executes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from proofs.constants import short_cut
from proofs.ir import (
    Aggregate,
    Expression,
    Function,
    Instruction,
    Number,
    Operand,
    Symbol,
    Undefined,
    UnsupportedIr,
    Variable,
)
from proofs.literals import number
from proofs.meaning import Value


@dataclass(slots=True, frozen=True)
class Ready:
    """An instruction with what is known of it before it runs.

    operands   the name of a register (str), or the operand itself: a value, a Label, an Undefined
    undefined  whether one of them is Undefined, or may have such a part
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
        return given.name if isinstance(given, Variable) else constant(given, address_of, width)

    return {name: _block(function, name, operand) for name in function.blocks}


def constant(given: Operand, address_of: Callable[[str], int], width: int) -> object:
    """The value of a constant, its symbols being where they are; anything else as it is."""
    if isinstance(given, Number):
        return bool(given.value) if given.width == 1 else number(given.value, given.width)
    if isinstance(given, Symbol):
        return number(address_of(given.name) + given.offset, width)
    if isinstance(given, Aggregate):
        return tuple(constant(part, address_of, width) for part in given.parts)
    if isinstance(given, Expression):
        values = [constant(each, address_of, width) for each in given.step.operands]
        if any(isinstance(each, Undefined) for each in values):
            raise UnsupportedIr(f"unsupported operand: {given.step.text}")
        return short_cut(given.step)(values)
    return given


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
    there = instruction.there
    verb = "writes" if opcode == "store" else "reads"
    places = (
        ("no_undefined", f"{function} {verb} at a misaligned address{there}"),
        ("bounds", f"{function} {verb} outside its memory{there}"),
    )
    undefined = any(isinstance(each, Undefined | tuple) for each in operands)
    short = None if undefined else short_cut(instruction)
    return Ready(instruction, opcode, instruction.result, operands, undefined, short, places)
