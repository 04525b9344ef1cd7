"""What instructions compute where every operand is a literal, in Python's integers.

A short cut past the terms; meaning.py says the same for all values, and the tests hold the two
against each other and against native code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from proofs.ir import AddressSteps, Instruction
from proofs.literals import Literal, number

Short = Callable[[Sequence[Literal]], "Literal | bool | None"]


def short_cut(instruction: Instruction) -> Short | None:
    """The instruction on literals: a literal, or a truth value for an i1.

    None where it is not for this module to say; a short cut gives None for a division by zero.
    """
    opcode, width = instruction.opcode, instruction.width
    if opcode == "getelementptr":
        return _stepping(instruction.detail)
    if opcode == "icmp":
        return _comparing(instruction.detail)
    compute = _ARITHMETIC.get(opcode)
    if compute is None:
        return None

    def short(values: Sequence[Literal]) -> Literal | bool | None:
        result = compute(*[each.value for each in values], values[0].width)
        if result is None:
            return None
        return result % 2 == 1 if width == 1 else number(result % (1 << width), width)

    return short


def signed(value: int, width: int) -> int:
    """The two's complement reading of an unsigned value."""
    return value - (1 << width) if value >> (width - 1) else value


def _stepping(steps: AddressSteps) -> Short:
    def step(values: Sequence[Literal]) -> Literal:
        total = values[0].value + steps.offset
        for stride, index in zip(steps.strides, values[1:], strict=True):
            total += stride * signed(index.value, index.width)
        width = values[0].width
        return number(total % (1 << width), width)

    return step


def _comparing(predicate: str) -> Short:
    compute = _COMPARISONS[predicate]
    if predicate[0] == "s":
        return lambda values: compute(*[signed(each.value, each.width) for each in values])
    return lambda values: compute(values[0].value, values[1].value)


_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    **{f"{sign}lt": lambda a, b: a < b for sign in "us"},
    **{f"{sign}le": lambda a, b: a <= b for sign in "us"},
    **{f"{sign}gt": lambda a, b: a > b for sign in "us"},
    **{f"{sign}ge": lambda a, b: a >= b for sign in "us"},
}
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
