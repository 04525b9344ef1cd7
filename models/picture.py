"""The heap in ASCII, in one line or in a few letters: live blocks to scale, overlaps visible.

It draws what it is told; models/report.py decides what that is.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.heap import Block
from models.judging.case import place

WIDTH = 70
STRIP = 40
_LEAST = 3


def draw(blocks: Sequence[Block], base: int, marked: frozenset[int], width: int = WIDTH) -> str:
    """`+0x0 [p0 24][....free....][p2!! 16] +0x1000`.

    About `width` columns between the brackets; a block in `marked` bears "!!".  What blocks
    overlap is drawn as [##]; where there are dots nothing is known to be live (free, or the
    allocator's own), and never more of them than there are bytes in blocks.  Where there are too
    many blocks, neighbours are drawn as one with their number.
    """
    known = sorted(blocks, key=lambda block: (block.address, block.name))
    if not known:
        return "(nothing is live)"
    cells = _merge(_cells(known, marked), width)
    total = sum(size for _, size, _ in cells) or 1
    low = known[0].address
    start = base if base and 0 <= low - base <= total else low
    if start < low:
        cells.insert(0, ("", low - start, "."))
        total += low - start
    drawn = "".join(_cell(text, size, fill, total, width) for text, size, fill in cells)
    end = max(block.address + block.size for block in known)
    return f"{place(start, base)} {drawn} {place(end, base)}"


def strip(blocks: Sequence[Block], base: int, marked: frozenset[int], width: int = STRIP) -> str:
    """`[##..####..!!....]`: `#` live, `!` a block in `marked`, `X` what blocks share, `.` the rest.

    `width` letters between the brackets; every marked block and every overlap has one at least.
    """
    known = sorted(blocks, key=lambda block: (block.address, block.name))
    cells = _cells(known, marked) if known else []
    total = sum(size for _, size, _ in cells)
    if base and known and 0 < known[0].address - base <= total:
        cells.insert(0, ("", known[0].address - base, "."))
    total = sum(size for _, size, _ in cells)
    letters = ["."] * width
    for letter, span in sorted(_letters(cells), key=lambda pair: ".#!X".index(pair[0])):
        start, end = (width * at // max(total, 1) for at in span)
        start = min(start, width - 1)
        if letter != "." or end > start:
            letters[start : max(end, start + 1)] = letter * (max(end, start + 1) - start)
    return f"[{''.join(letters)}]"


def _letters(cells: Sequence[Cell]) -> list[tuple[str, tuple[int, int]]]:
    """The letter of each cell, and the bytes that it takes from where to where."""
    told, reached = [], 0
    for text, size, fill in cells:
        letter = "X" if fill == "#" else "!" if "!" in text else "#" if text else "."
        told.append((letter, (reached, reached + size)))
        reached += size
    return told


def beside(line: str, picture: str, columns: int) -> str:
    """The picture behind the line, or below it where the line leaves no room."""
    room = len(line) + 1 + len(picture) <= columns
    return f"{line} {picture}" if room else f"{line}\n  {picture}"


Cell = tuple[str, int, str]


def _cells(blocks: Sequence[Block], marked: frozenset[int]) -> list[Cell]:
    """(label, bytes, filling) from the lowest address up; an overlap is a cell of its own."""
    cells: list[Cell] = []
    reached = blocks[0].address
    widest = sum(block.size for block in blocks) or 1
    for block in blocks:
        start, end = block.address, block.address + block.size
        if start > reached:
            cells.append(("", min(start - reached, widest), "."))
        elif start < reached and block.size:
            cells.append(("##", min(reached, end) - start, "#"))
        mark = "!!" if block.name in marked else ""
        cells.append((f"p{block.name}{mark} {block.size}", max(end - max(start, reached), 0), " "))
        reached = max(reached, end)
    return cells


def _merge(cells: list[Cell], width: int) -> list[Cell]:
    """The cells with rows of unmarked ones drawn as one, until they fit."""
    while sum(len(text) + 2 for text, _, _ in cells) > width:
        place = _dullest(cells)
        if place is None:
            break
        (first, one, _), (second, two, _) = cells[place : place + 2]
        count = _count(first) + _count(second)
        text = f"{count} blocks" if count > 1 else first or second
        cells = [*cells[:place], (text, one + two, " "), *cells[place + 2 :]]
    return cells


def _dullest(cells: list[Cell]) -> int | None:
    """Where two neighbours may be drawn as one: the pair with the fewest bytes."""
    pairs = [
        (cells[i][1] + cells[i + 1][1], i)
        for i in range(len(cells) - 1)
        if not any("!" in text or "#" in text for text, _, _ in cells[i : i + 2])
    ]
    return min(pairs)[1] if pairs else None


def _count(text: str) -> int:
    if text.endswith(" blocks"):
        return int(text.split()[0])
    return 1 if text else 0


def _cell(text: str, size: int, fill: str, total: int, width: int) -> str:
    inner = max(round(width * size / total) - 2, _LEAST if not text else len(text))
    text = text or ("free" if inner >= len(".free.") else "")
    return f"[{text.center(inner, fill)}]"
