"""Reads what a global variable holds before the program runs, from the module's text.

Parts that are zero are left out; it knows the constants that C code without floats makes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from proofs.ir import Expression, Number, Symbol, UnsupportedIr
from proofs.layout_ir import Layout, split_top_level
from proofs.operands_ir import read_constant

Part = tuple[int, Number | Symbol | Expression]  # (offset in bytes, value)
_ZERO = ("zeroinitializer", "null", "undef", "poison")


def parts_of(kind: str, value: str, layout: Layout, offset: int = 0) -> Iterator[Part]:
    """The non-zero scalars of a constant `value` of type `kind`; raises UnsupportedIr."""
    if value.startswith(_ZERO):
        return
    if value.startswith('c"'):
        yield from _characters(value, offset)
    elif value[0] in "[{<":
        yield from _elements(kind, value, layout, offset)
    elif kind == "i1":
        if value == "true":
            yield offset, Number(1, 8)
    else:
        part = read_constant(kind, value, layout)
        if not isinstance(part, Number | Symbol | Expression):
            raise UnsupportedIr(f"unsupported initial value: {kind} {value}")
        if part != Number(0, layout.bits(kind)):
            yield offset, part


def _characters(value: str, offset: int) -> Iterator[Part]:
    text = value[2 : value.rindex('"')]
    letters = re.findall(r"\\([0-9A-Fa-f]{2})|([^\\])", text)
    for index, (code, letter) in enumerate(letters):
        byte = int(code, 16) if code else ord(letter)
        if byte:
            yield offset + index, Number(byte, 8)


def _elements(kind: str, value: str, layout: Layout, offset: int) -> Iterator[Part]:
    brackets = 2 if value.startswith("<{") else 1
    body = value.strip()[brackets:-brackets].strip()
    is_array = kind.startswith("[")
    for index, entry in enumerate(split_top_level(body)):
        part_kind, part = layout.leading_type(entry)
        start = index * layout.size(part_kind) if is_array else layout.field(kind, index)[0]
        yield from parts_of(part_kind, part, layout, offset + start)
