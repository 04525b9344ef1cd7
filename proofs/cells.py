"""Which writes at constant addresses a load can see: an index of memory by cells of eight bytes.

It holds no more than memory.py's list of writes does; a write that newer ones hide is dropped.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from immutables import Map

SHIFT = 3
CELL = 1 << SHIFT
LARGEST = 64  # bytes: longer writes are not indexed


class Entry(NamedTuple):
    """A write of `length` bytes at a constant address; `age` counts the writes before it."""

    age: int
    start: int
    end: int
    write: Any


Cells = Map  # number of the cell -> its entries, newest first
EMPTY: Cells = Map()


def with_entry(cells: Cells, entry: Entry) -> Cells:
    """The index with one more write."""
    _, start, end, _ = entry
    for cell in range(start >> SHIFT, (end - 1 >> SHIFT) + 1):
        low = cell << SHIFT
        known = cells.get(cell)
        if known is None or (start <= low and end >= low + CELL):
            cells = cells.set(cell, (entry,))
        else:
            rest = [old for old in known if not _hidden(old, start, end, low)]
            cells = cells.set(cell, (entry, *rest))
    return cells


def _hidden(old: Entry, start: int, end: int, low: int) -> bool:
    """Whether all that the old write has of the cell lies in [start, end)."""
    return max(old.start, low) >= start and min(old.end, low + CELL) <= end


def entries(cells: Cells, start: int, end: int) -> list[Entry]:
    """The writes that touch [start, end), newest first."""
    first, last = start >> SHIFT, end - 1 >> SHIFT
    if first == last:
        return [each for each in cells.get(first, ()) if each.start < end and start < each.end]
    if last - first < len(cells):
        several = [cells.get(cell, ()) for cell in range(first, last + 1)]
    else:
        several = cells.values()
    met = {
        each.age: each for own in several for each in own if each.start < end and start < each.end
    }
    return [met[age] for age in sorted(met, reverse=True)]
