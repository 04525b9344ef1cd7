"""Reads what a global variable holds before the program runs, from the module's text.

Parts that are zero are left out; it knows the constants that C code without floats makes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from proofs.ir import POINTER_BITS, Number, Symbol
from proofs.layout_ir import Layout, split_top_level

Part = tuple[int, Number | Symbol]  # (offset in bytes, value)
_ZERO = ("zeroinitializer", "null", "undef", "poison")


class NoInitialValue(Exception):
    """A constant that is not understood: its text."""


def parts_of(kind: str, value: str, layout: Layout, offset: int = 0) -> Iterator[Part]:
    """The non-zero scalars of a constant `value` of type `kind`; raises NoInitialValue."""
    if value.startswith(_ZERO):
        return
    if value.startswith('c"'):
        yield from _characters(value, offset)
    elif value[0] in "[{<":
        yield from _elements(kind, value, layout, offset)
    elif kind == "ptr":
        yield offset, _address(value)
    elif re.fullmatch(r"-?\d+", value) and layout.bits(kind):
        width = layout.bits(kind)
        if int(value):
            yield offset, Number(int(value) % (1 << width), width)
    elif value in ("true", "false"):
        if value == "true":
            yield offset, Number(1, 8)
    else:
        raise NoInitialValue(f"{kind} {value}")


def _characters(value: str, offset: int) -> Iterator[Part]:
    text = value[2 : value.rindex('"')]
    letters = re.findall(r"\\([0-9A-Fa-f]{2})|([^\\])", text)
    for index, (code, letter) in enumerate(letters):
        byte = int(code, 16) if code else ord(letter)
        if byte:
            yield offset + index, Number(byte, 8)


def _elements(kind: str, value: str, layout: Layout, offset: int) -> Iterator[Part]:
    body = value.strip()[1:-1].strip()
    if body.startswith("{"):  # <{ packed }>
        body = body[1:-1]
    is_array = kind.startswith("[")
    for index, entry in enumerate(split_top_level(body)):
        part_kind, part = layout.leading_type(entry)
        start = index * layout.size(part_kind) if is_array else layout.field(kind, index)[0]
        yield from parts_of(part_kind, part, layout, offset + start)


def _address(value: str) -> Number | Symbol:
    plain = re.fullmatch(r'@"?([\w.$]+)"?', value)
    if plain:
        return Symbol(plain[1])
    inside = re.match(r"getelementptr [\w ]*\(i8, ptr @([\w.$]+), i\d+ (-?\d+)\)", value)
    if inside:
        return Symbol(inside[1], int(inside[2]))
    number = re.match(r"inttoptr \(i\d+ (-?\d+) to ptr\)", value)
    if number:
        return Number(int(number[1]) % (1 << POINTER_BITS), POINTER_BITS)
    raise NoInitialValue(value)
