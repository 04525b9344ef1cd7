"""Every call that is made from a valid heap when two versions of an allocator are compared.

It says which calls, with which arguments under which conditions; it makes none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import z3

from proofs.logic import every, less
from proofs.menu import GAPS
from proofs.oddities import MANY, TOO_MANY
from proofs.scenery import PTRDIFF_MAX, Block
from proofs.terms import WORD, number, simplify
from proofs.walks import Shape

VERBS = ("malloc", "calloc", "realloc", "aligned_alloc", "free", "usable_size")
ALIGNMENTS = (8, 32, 64)
HUGE = (2**61, 2**62, 2**63)  # no block is so aligned; NO_POWER: they must be refused
NO_POWER = (0, 24)


@dataclass(frozen=True)
class Call:
    """One call with any arguments that satisfy the premise.

    taken   the number of the block that it takes, None for none
    kept    upper ends, all of which the index of a byte that stays must be below; None for none
    misuse  it must end in abort
    gap     bytes that others have taken behind the break
    """

    verb: str
    arguments: tuple
    premise: tuple = ()
    taken: int | None = None
    kept: tuple | None = None
    misuse: bool = False
    gap: int = 0


@dataclass(frozen=True)
class Calls:
    """The calls of a subject that has these functions, on a host with `limit` bytes.

    most  the largest request below PTRDIFF_MAX, 0 for all: each size class is a path of its own
    """

    has: frozenset[str]
    limit: int
    most: int = 0

    def of(self, live: tuple[Block, ...]) -> Iterator[Call]:
        """The valid ones, where these blocks live."""
        for size, premise in self._sizes():
            yield from self._requests(size, premise)
            for block in live if "realloc" in self.has else ():
                kept = (size, block.size)
                yield Call("realloc", (block.payload, size), premise, block.number, kept)
        yield from self._odd()
        for block in live:
            yield Call("free", (block.payload,), taken=block.number)
            if "usable_size" in self.has:
                yield Call("usable_size", (block.payload,))

    def behind_gaps(self, live: tuple[Block, ...]) -> Iterator[Call]:
        """Requests of any size that the host has, others having taken memory behind the heap."""
        for call in self.of(live):
            wanted = call.verb == "malloc" or (call.verb == "realloc" and call.taken is not None)
            if wanted and not call.premise:
                yield from (replace(call, gap=gap) for gap in GAPS)

    def _sizes(self) -> tuple:
        """(size, premise) of those that the host has, and of larger ones."""
        bits = (self.most or self.limit).bit_length()
        low = simplify(z3.ZeroExt(WORD - bits, z3.BitVec("size", bits)))
        wide = z3.BitVec("size.wide", WORD)
        beyond = PTRDIFF_MAX + 1 if self.most else 1 << bits
        return (low, ()), (wide, (z3.UGE(wide, beyond),))

    def _requests(self, size, premise) -> Iterator[Call]:
        yield Call("malloc", (size,), premise)
        if "calloc" in self.has:
            yield Call("calloc", (number(1), size), premise, kept=(size,))
        if "realloc" in self.has:
            yield Call("realloc", (number(0), size), premise)
        for alignment in ALIGNMENTS if "aligned_alloc" in self.has else ():
            yield Call("aligned_alloc", (number(alignment), size), premise)

    def _odd(self) -> Iterator[Call]:
        """Those that no size makes."""
        size = z3.BitVec("size.odd", WORD)
        for alignment in (*HUGE, *NO_POWER) if "aligned_alloc" in self.has else ():
            yield Call("aligned_alloc", (number(alignment), size))
        if "calloc" in self.has:
            yield Call("calloc", (number(MANY), size), (z3.UGE(size, TOO_MANY),))
        yield Call("free", (number(0),))

    def aligned(self) -> Iterator[Call]:
        """Requests at every power of two that is not among those, and at any other number."""
        if "aligned_alloc" not in self.has:
            return
        for size, premise in self._sizes():
            for alignment in (2**bit for bit in range(WORD)):
                if alignment not in ALIGNMENTS:
                    yield Call("aligned_alloc", (number(alignment), size), premise)
        alignment, size = z3.BitVec("alignment.none", WORD), z3.BitVec("size.odd", WORD)
        none = z3.Or(alignment == 0, alignment & (alignment - 1) != 0)
        yield Call("aligned_alloc", (alignment, size), (none,))

    def misuse(self, shape: Shape, live: tuple[Block, ...], detects: Mapping) -> Iterator[Call]:
        """The misuse that must end in abort: of free blocks, and of addresses inside live ones."""
        size, _ = self._sizes()[0]
        for block in shape.blocks:
            if block.used:
                continue
            if "double_free" in detects:
                yield Call("free", (number(block.payload),), misuse=True)
            if "realloc_freed" in detects:
                yield Call("realloc", (number(block.payload), size), misuse=True)
        into = z3.BitVec("into", WORD)
        for block in live if "interior_free" in detects else ():
            inside = every(less(0, into), less(into, block.size))
            address = simplify(block.payload + into)
            yield Call("free", (address,), (inside,), misuse=True)
