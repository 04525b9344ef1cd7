"""What instructions compute where every operand is a constant, in Python's integers.

A short cut past the terms, most of what a program does being concrete; meaning.py says the same
for all values, and the tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import z3

from proofs.ir import Instruction
from proofs.terms import constant_of, number, width_of


def constant_result(instruction: Instruction, values: Sequence) -> z3.BitVecRef | bool | None:
    """The result, a truth value for an i1; None where it is not for this module to say."""
    opcode = instruction.opcode
    compute = _ARITHMETIC.get(opcode)
    if compute is None and opcode != "getelementptr":
        return None
    constants = []
    for value in values:
        constant = constant_of(value) if isinstance(value, z3.BitVecRef) else None
        if constant is None:
            return None
        constants.append(constant)
    width = width_of(values[0])
    if compute is None:
        return number(_address(instruction.detail, constants, values) % (1 << width), width)
    result = compute(*constants, width)
    if result is None:
        return None
    width = instruction.width
    if width == 1:
        return result % 2 == 1
    return number(result % (1 << width), width)


def signed(value: int, width: int) -> int:
    """The two's complement reading of an unsigned value."""
    return value - (1 << width) if value >> (width - 1) else value


def _address(steps, constants: Sequence[int], values: Sequence[z3.BitVecRef]) -> int:
    total = constants[0] + steps.offset
    for stride, index, term in zip(steps.strides, constants[1:], values[1:], strict=True):
        total += stride * signed(index, width_of(term))
    return total


_ARITHMETIC: dict[str, Callable[..., int | None]] = {
    "add": lambda a, b, _width: a + b,
    "sub": lambda a, b, _width: a - b,
    "mul": lambda a, b, _width: a * b,
    "and": lambda a, b, _width: a & b,
    "or": lambda a, b, _width: a | b,
    "xor": lambda a, b, _width: a ^ b,
    "shl": lambda a, b, width: a << b if b < width else 0,
    "lshr": lambda a, b, width: a >> b if b < width else 0,
    "ashr": lambda a, b, width: signed(a, width) >> min(b, width),
    "udiv": lambda a, b, _width: a // b if b else None,
    "urem": lambda a, b, _width: a % b if b else None,
    "zext": lambda a, _width: a,
    "sext": signed,
    "trunc": lambda a, _width: a,
    "ptrtoint": lambda a, _width: a,
    "inttoptr": lambda a, _width: a,
    "bitcast": lambda a, _width: a,
    "freeze": lambda a, _width: a,
}
