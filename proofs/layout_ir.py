"""Sizes and offsets of LLVM types, read from the module's text.

Only the types that C code without vectors needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from proofs.ir import POINTER_BITS, UnsupportedIr

_FLOATS = {"half": 2, "bfloat": 2, "float": 4, "double": 8, "x86_fp80": 16, "fp128": 16}


@dataclass(frozen=True)
class Layout:
    """The named structure types of a module, as text, and to how many bytes an i64 is aligned."""

    structures: Mapping[str, str]
    alignment_of_i64: int = 8

    def __hash__(self) -> int:
        return hash(tuple(self.structures.items()))

    @staticmethod
    def of(module_text: str) -> Layout:
        """The layout of the module printed as `module_text`."""
        found = re.findall(r"^(%[\w.\"]+) = type (.*)$", module_text, re.MULTILINE)
        told = re.search(r'^target datalayout = "(.*)"', module_text, re.MULTILINE)
        wide = re.search(r"-i64:(\d+)", told[1]) if told else None
        return Layout(dict(found), 8 if told is None else int(wide[1]) // 8 if wide else 4)

    def bits(self, kind: str) -> int:
        """Bits of a register of this type; 0 for void, labels and aggregates.

        A double is its 64 bits: it can be moved, and nothing computes with it.
        """
        if kind == "ptr":
            return POINTER_BITS
        if kind in ("float", "double"):
            return 8 * _FLOATS[kind]
        return int(kind[1:]) if re.fullmatch(r"i\d+", kind) else 0

    def fields(self, kind: str) -> list[tuple[int, str]]:
        """Offset and type of each field of a structure; none for any other type."""
        is_structure = re.match(r"[{%]|<{", kind)
        return self._fields(kind) if is_structure else []

    def size(self, kind: str) -> int:
        """Bytes of an object of this type, padding included."""
        return self._measure(kind)[0]

    def element(self, array: str) -> str:
        """The element type of an array type."""
        return re.match(r"\[\d+ x (.*)\]$", array)[1]

    def field(self, kind: str, index: int) -> tuple[int, str]:
        """Offset in bytes and type of a structure's field."""
        offset = 0
        for position, (start, part) in enumerate(self._fields(kind)):
            if position == index:
                return start, part
            offset = start
        raise IndexError(f"{kind} has no field {index} (the last starts at {offset})")

    def leading_type(self, text: str) -> tuple[str, str]:
        """The type at the start of `text`, and what follows it."""
        if text[0] in "[{<":
            depth = 0
            for end, letter in enumerate(text):
                depth += (letter in "[{<(") - (letter in "]}>)")
                if depth == 0:
                    return text[: end + 1], text[end + 1 :].strip()
        kind, _, rest = text.partition(" ")
        return kind.rstrip(","), rest

    def _measure(self, kind: str) -> tuple[int, int]:
        """(size, alignment) in bytes."""
        bits = self.bits(kind)
        if kind in _FLOATS:
            wide = self.alignment_of_i64 == 8
            size = 12 if kind == "x86_fp80" and not wide else _FLOATS[kind]
            return size, size if wide else min(size, 4)
        if bits:
            size = (bits + 7) // 8
            return size, self.alignment_of_i64 if bits == 64 and kind != "ptr" else min(size, 16)
        if kind.startswith("["):
            size, alignment = self._measure(self.element(kind))
            return size * int(re.match(r"\[(\d+)", kind)[1]), alignment
        end, widest = 0, 1
        packed = self._body(kind).startswith("<")
        for start, part in self._fields(kind):
            size, alignment = self._measure(part)
            end, widest = start + size, max(widest, 1 if packed else alignment)
        return -(-end // widest) * widest, widest

    def _fields(self, kind: str) -> list[tuple[int, str]]:
        body = self._body(kind)
        packed = body.startswith("<")
        offset, fields = 0, []
        for part in split_top_level(body.strip("<>").strip()[1:-1]):
            size, alignment = self._measure(part)
            start = offset if packed else -(-offset // alignment) * alignment
            fields.append((start, part))
            offset = start + size
        return fields

    def _body(self, kind: str) -> str:
        body = self.structures.get(kind, kind)
        if not re.match(r"{|<{", body):
            raise UnsupportedIr(f"unsupported type: {kind}")
        return body


def split_top_level(text: str) -> list[str]:
    """The comma-separated parts of `text`, commas inside brackets and strings left alone."""
    parts, depth, start, quoted = [], 0, 0, False
    for position, letter in enumerate(text):
        quoted ^= letter == '"'
        if quoted:
            continue
        depth += (letter in "[{<(") - (letter in "]}>)")
        if letter == "," and depth == 0:
            parts.append(text[start:position].strip())
            start = position + 1
    parts.append(text[start:].strip())
    return [part for part in parts if part]
