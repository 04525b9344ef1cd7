"""What a load takes from memory and a store puts there, structures field by field.

Whether it may is the engine's to ask.
"""

from __future__ import annotations

from collections.abc import Iterator

import z3

from proofs.ir import Access, Instruction
from proofs.meaning import Value, as_bits, lowest_bit
from proofs.memory import BYTE, Asker, Memory, Word
from proofs.terms import simplify


def taken(memory: Memory, address: z3.BitVecRef, load: Instruction, asker: Asker) -> Value:
    """The value that a load gives: of a structure, a tuple."""
    access = load.detail
    if not access.fields:
        return _scalar(memory, address, access.size, load.width, asker)
    return tuple(
        _scalar(memory, simplify(address + offset), -(-width // BYTE), width, asker)
        for offset, width in access.fields
    )


def put(value: Value, address: z3.BitVecRef, access: Access) -> Iterator[Word]:
    """The writes of a store."""
    if not access.fields:
        yield Word(address, as_bits(value, BYTE))
        return
    for (offset, _), part in zip(access.fields, value, strict=True):
        yield Word(simplify(address + offset), as_bits(part, BYTE))


def _scalar(memory: Memory, address, size: int, width: int, asker: Asker) -> Value:
    value = memory.load(address, size, asker)
    return lowest_bit(value) if width == 1 else value
