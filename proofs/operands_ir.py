"""Reads the constants of LLVM IR: numbers, addresses, and what the linker computes of them.

The same text stands for an operand and for what a variable holds at first; nothing is computed
that takes the place of a symbol, for the engine alone knows that.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

from proofs.constants import signed
from proofs.ir import (
    POINTER_BITS,
    AddressSteps,
    Aggregate,
    Expression,
    Instruction,
    Number,
    Operand,
    Symbol,
    Undefined,
    UnsupportedIr,
)
from proofs.layout_ir import Layout, split_top_level

_FLAGS = r"(?:(?:inbounds|nuw|nusw|nsw|exact|inrange\([^)]*\)) )*"
_CASTS = frozenset({"ptrtoint", "ptrtoaddr", "inttoptr", "bitcast", "trunc"})
_SAME = frozenset({"ptrtoint", "inttoptr", "bitcast"})
_COMPUTED = frozenset({"add", "sub", "mul", "xor", "and", "or"})
_NOTHING = ("null", "zeroinitializer", "false")


def read_constant(kind: str, value: str, layout: Layout) -> Operand:
    """The constant `value` of type `kind`; raises UnsupportedIr."""
    if layout.fields(kind) and value[0] in "{uzp":
        return _aggregate(kind, value, layout)
    width = layout.bits(kind)
    if value in ("undef", "poison"):
        return Undefined(width)
    if width and value in _NOTHING:
        return Number(0, width)
    if width and value == "true":
        return Number(1, 1)
    if width and re.fullmatch(r"-?\d+", value):
        return Number(int(value) % (1 << width), width)
    if width and kind in ("float", "double"):
        return Number(_bits_of(kind, value), width)
    symbol = re.fullmatch(r'(?:dso_local_equivalent |no_cfi )?@"?([^"()]+)"?', value)
    if symbol:
        return Symbol(symbol[1])
    computed = re.fullmatch(rf"(\w+) {_FLAGS}\((.*)\)", value)
    if computed and width:
        return _expression(computed[1], split_top_level(computed[2]), width, layout)
    raise UnsupportedIr(f"unsupported operand: {kind} {value}")


def typed(text: str, layout: Layout) -> Operand:
    """A constant with its type in front."""
    return read_constant(*layout.leading_type(text), layout)


def address_steps(element: str, indexes: Sequence[Operand], layout: Layout) -> AddressSteps:
    """What a getelementptr adds to its base."""
    offset, strides = 0, []
    for position, index in enumerate(indexes):
        if position == 0:
            stride = layout.size(element)
        elif element.startswith("["):
            element = layout.element(element)
            stride = layout.size(element)
        else:
            start, element = layout.field(element, index.value)
            offset, stride = offset + start, 0
        strides.append(stride)
    return AddressSteps(offset, tuple(strides))


def _bits_of(kind: str, value: str) -> int:
    """Those of a floating-point number, which is written in decimal or as the bits of a double."""
    if value.startswith("0x"):
        (exact,) = struct.unpack("<d", int(value, 16).to_bytes(8, "little"))
    else:
        exact = float(value)
    return int.from_bytes(struct.pack("<f" if kind == "float" else "<d", exact), "little")


def _aggregate(kind: str, value: str, layout: Layout) -> Aggregate:
    kinds = [part for _, part in layout.fields(kind)]
    if value[0] != "{":
        return Aggregate(tuple(read_constant(part, value, layout) for part in kinds))
    return Aggregate(tuple(typed(part, layout) for part in split_top_level(value[1:-1].strip())))


def _expression(opcode: str, parts: list[str], width: int, layout: Layout) -> Operand:
    detail = None
    if opcode == "getelementptr":
        element, *parts = parts
        operands = [typed(part, layout) for part in parts]
        detail = address_steps(element, operands[1:], layout)
    elif opcode in _CASTS and len(parts) == 1:
        operands = [typed(parts[0].rpartition(" to ")[0], layout)]
        opcode = "ptrtoint" if opcode == "ptrtoaddr" else opcode
    elif opcode in _COMPUTED and len(parts) == 2:
        operands = [typed(part, layout) for part in parts]
    else:
        raise UnsupportedIr(f"unsupported constant expression: {opcode}")
    text = f"{opcode} ({', '.join(parts)})"
    whole = Expression(Instruction(opcode, "", width, tuple(operands), detail, text))
    return _folded(whole)


def _folded(whole: Expression) -> Operand:
    """A place in a variable is a symbol with an offset, as before it was computed."""
    step = whole.step
    base = step.operands[0]
    whole_base = isinstance(base, Symbol) or getattr(base, "width", 0) == POINTER_BITS
    if step.opcode in _SAME and step.width == POINTER_BITS and whole_base:
        return base
    indexes = step.operands[1:]
    if step.opcode == "getelementptr" and all(isinstance(each, Number) for each in indexes):
        moved = step.detail.offset + sum(
            stride * signed(index.value, index.width)
            for stride, index in zip(step.detail.strides, indexes, strict=True)
        )
        if isinstance(base, Symbol):
            return Symbol(base.name, base.offset + moved)
        if isinstance(base, Number):
            return Number((base.value + moved) % (1 << POINTER_BITS), POINTER_BITS)
    return whole
