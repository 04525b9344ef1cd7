"""Walks the symbolic heap of explicit_list, forking where a path leaves its shape open.

It looks; what must hold of what it sees is said in invariants.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import z3

from proofs.claims import Ledger
from proofs.engine import Engine
from proofs.invariants import (
    LINKS_AT,
    TAG,
    USED,
    FreeNode,
    Row,
    RowBlock,
    block_conjuncts,
    row_conjuncts,
)
from proofs.logic import Truth, at_most, equal, every, is_aligned, negate, some
from proofs.path import Path
from proofs.terms import number, simplify

# Compiled together with the subject: the compiler says where the fields of its structure are.
_FIELDS = ("first", "end", "free_list")
_SYMBOL = "proofs_layout"
PROBE = (
    '#include "explicit_list.h"\n#include <stddef.h>\n'
    f"extern const size_t {_SYMBOL}[];\nconst size_t {_SYMBOL}[] = {{"
    + ", ".join(f"offsetof(struct mem_heap, {field})" for field in _FIELDS)
    + "};\n"
)
TAGS_BYTES = 16
NO_HOLDER = "a live block has no used block that holds it"
NOBODYS = "a used block is nobody's"


@dataclass(frozen=True)
class Walker:
    """Walks on behalf of one exploration; the conjuncts it meets become obligations."""

    engine: Engine
    ledger: Ledger

    def look(self, path: Path) -> Iterator[Path]:
        """Every heap that the path may have, with all that its row owes."""
        for walked, row in self.rows(path):
            if row is not None:
                _owe_holders(walked, row)
            yield walked

    def rows(self, path: Path) -> list[tuple[Path, Row | None]]:
        """Every shape the heap may have on this path; None before the first growth."""
        first, end = self._field(path, "first"), self._field(path, "end")
        seen: list[tuple[Path, Row | None]] = []
        for empty, side in self._split(path, equal(first, 0)):
            if empty:
                head = self._field(side, "free_list")
                side.owe("free_list", "the free list of an empty heap is not empty", equal(head, 0))
                seen.append((side, None))
                continue
            seen += [
                (done, self._row(done, first, end, blocks))
                for done, blocks in self._blocks(side, first, end)
            ]
        return seen

    def _blocks(self, path: Path, first, end) -> list[tuple[Path, tuple[RowBlock, ...]]]:
        done, waiting = [], [(path, first, ())]
        while waiting:
            path, address, blocks = waiting.pop()
            for arrived, side in self._split(path, equal(address, end)):
                if arrived:
                    done.append((side, blocks))
                    continue
                for used, branch in self._split(side, self._used_at(side, address)):
                    block = self._block(branch, address, used)
                    for family, what, truth in block_conjuncts(block, end):
                        branch.owe(family, what, truth)
                    if self._may_go_on(branch, block, end):
                        above = simplify(address + block.size)
                        waiting.append((branch, above, (*blocks, block)))
        return done

    def _may_go_on(self, path: Path, block: RowBlock, end) -> bool:
        """Stepping over a block that may be impossible could go on for ever: settle first."""
        tiling = [truth for family, _, truth in block_conjuncts(block, end) if family == "tiling"]
        sound = every(*tiling)
        if self.engine.reasoning.certain(path, sound):
            return True
        return self.ledger.settle(path) and self.engine.reasoning.assume(path, sound)

    def _block(self, path: Path, address, used: bool) -> RowBlock:
        header = self._word(path, address)
        size = simplify(header - USED) if used else header
        footer = self._word(path, simplify(address + size - TAG))
        return RowBlock(address, header, footer, used)

    def _row(self, path: Path, first, end, blocks: Sequence[RowBlock]) -> Row:
        nodes, link = [], self._field(path, "free_list")
        for block in blocks:
            if block.used:
                continue
            previous = self._word(path, simplify(link + LINKS_AT["previous"]))
            nodes.append(FreeNode(link, previous))
            link = self._word(path, simplify(link + LINKS_AT["next"]))
        below = self._word(path, simplify(first - TAG))
        row = Row(end, below, self._word(path, end), blocks, nodes, link)
        for family, what, truth in row_conjuncts(row):
            path.owe(family, what, truth)
        return row

    def _used_at(self, path: Path, address) -> Truth:
        return negate(is_aligned(self._word(path, address), USED + 1))

    def _field(self, path: Path, name: str) -> z3.BitVecRef:
        variable = self.engine.module.globals[_SYMBOL]
        offsets = {at // TAG: part.value for at, part in variable.parts}
        offset = offsets.get(_FIELDS.index(name), 0)
        return self._word(path, number(self.engine.address_of("heap") + offset))

    def _word(self, path: Path, address) -> z3.BitVecRef:
        return self.engine.load(path, address, TAG)

    def _split(self, path: Path, truth):
        return self.engine.reasoning.split(path, truth)


def _owe_holders(path: Path, row: Row) -> None:
    """The used blocks of the row are exactly the live blocks, and large enough for them."""
    used = [block for block in row.blocks if block.used]
    for live in path.scene.live:
        held = some(
            *(
                every(
                    equal(live.payload, simplify(block.address + TAG)),
                    at_most(live.size, simplify(block.size - TAGS_BYTES)),
                )
                for block in used
            )
        )
        path.owe("usable", NO_HOLDER, held)
    gaps = max(len(path.scene.pages.pieces) - 1, 0)
    spare = len(used) <= len(path.scene.live) + gaps
    path.owe("reclaim", NOBODYS, spare)
