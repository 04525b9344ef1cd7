"""The world around best_fit: where its few objects lie, and how the world answers its calls.

Flat addresses: the heap structure, the page source, errno and the pages are apart from each other.
It makes no claim.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

import z3

from proofs.engine import Engine, Hook, Outcome
from proofs.ir import Module
from proofs.logic import Truth, at_most, equal, every, negate, some
from proofs.memory import Memory, Word
from proofs.path import Path, Reasoning
from proofs.terms import WORD, number, simplify, value_range

HEAP, PAGE_SOURCE, ERRNO, PAGES = 0x1000, 0x2000, 0x3000, 0x10_0000
PAGE_SOURCE_BYTES, ERRNO_BYTES = 32, 4
STACK_FROM = 0x7FFE_0000_0000
GROW_HOOK = "page_source.grow"
ABORTS = "a valid call ends in abort"
ENOMEM, EINVAL = 12, 22
PTRDIFF_MAX = 2**63 - 1
ADDRESSES_BELOW = 2**47  # user space of x86-64

# Compiled together with the subject: the compiler says where the fields of its structures are.
_FIELDS = ("first", "end", "free_list")
LAYOUT_SYMBOL = "proofs_layout"
LAYOUT_PROBE = (
    "\n#include <stddef.h>\n"
    f"const size_t {LAYOUT_SYMBOL}[] = {{sizeof(struct mem_heap), "
    + ", ".join(f"offsetof(struct mem_heap, {field})" for field in _FIELDS)
    + ", offsetof(struct page_source, grow)};\n"
)


@dataclass(frozen=True)
class Requests:
    """The requests for pages of the operation under way.

    refused  which of them was refused, counted from 1; 0 for none
    gap      bytes that somebody else took before the first of them, None for none
    """

    granted: int = 0
    refused: int = 0
    gap: z3.BitVecRef | None = None


@dataclass(frozen=True)
class Step:
    """One operation of a story: `verb` of the trace language, operands as terms.

    `block` is the number of the live block it takes, `made` the number it gives to its own.
    """

    verb: str
    operands: tuple[z3.BitVecRef, ...] = ()
    block: int | None = None
    made: int | None = None
    requests: Requests = Requests()


@dataclass(frozen=True)
class Block:
    """A live block: the payload's address, the bytes asked for."""

    number: int
    payload: z3.BitVecRef
    size: z3.BitVecRef


@dataclass(frozen=True)
class Scene:
    """What the world knows besides memory.

    pieces   (start, bytes) of the memory handed out, from the lowest up; the page source goes on
             where the last one ends
    gaps     how many times somebody else took memory in between
    calls    (name, arguments) of the functions that a study replaced, in order
    """

    pieces: tuple[tuple[z3.BitVecRef, z3.BitVecRef], ...] = ()
    gaps: int = 0
    live: tuple[Block, ...] = ()
    story: tuple[Step, ...] = ()
    requests: Requests = Requests()
    calls: tuple[tuple[str, tuple[z3.BitVecRef, ...]], ...] = ()

    def called(self, name: str) -> list[tuple[z3.BitVecRef, ...]]:
        """Arguments of each call of a replaced function."""
        return [arguments for called, arguments in self.calls if called == name]


def inside(address, length, start, size) -> Truth:
    """[address, address + length) lies in [start, start + size); right even if sums wrap."""
    into = simplify(address - start)
    return every(
        at_most(start, address), at_most(into, size), at_most(length, simplify(size - into))
    )


def field_of(engine: Engine, name: str) -> z3.BitVecRef:
    """Address of a field of the heap structure."""
    return number(HEAP + _layout(engine)[1 + _FIELDS.index(name)])


def _layout(engine: Engine) -> tuple[int, ...]:
    """The numbers of LAYOUT_PROBE."""
    initial = engine.module.globals[LAYOUT_SYMBOL].initial
    return struct.unpack(f"<{len(initial) // 8}Q", initial)


def guard(
    engine: Engine, path: Path, address: z3.BitVecRef, length: z3.BitVecRef, writes: bool
) -> Truth:
    """The condition under which the program may touch [address, address + length)."""
    heap_bytes = number(_layout(engine)[0])
    areas = [(number(HEAP), heap_bytes), (number(ERRNO), number(ERRNO_BYTES))]
    areas += path.scene.pieces
    if not writes:
        areas.append((number(PAGE_SOURCE), number(PAGE_SOURCE_BYTES)))
    low, high = value_range(address)
    if low >= STACK_FROM:
        return True
    near = [
        inside(address, length, start, size)
        for start, size in areas
        if low < value_range(start)[1] + value_range(size)[1] and high >= value_range(start)[0]
    ]
    return some(*near)


def noted(path: Path, name: str, arguments: Sequence[z3.BitVecRef]) -> None:
    """Records a call of a replaced function."""
    path.scene = replace(path.scene, calls=(*path.scene.calls, (name, tuple(arguments))))


def told(path: Path, step: Step) -> Path:
    """Adds an operation to the path's story."""
    path.scene = replace(path.scene, story=(*path.scene.story, step), requests=Requests())
    return path


def concluded(path: Path) -> None:
    """Notes in the story which pages the operation under way asked for."""
    *before, step = path.scene.story
    step = replace(step, requests=path.scene.requests)
    path.scene = replace(path.scene, story=(*before, step))


def errno_cell(_engine: Engine, path: Path, _arguments: Sequence) -> list[Outcome]:
    """__errno_location: one cell of four bytes."""
    return [(path, number(ERRNO))]


def abort(engine: Engine, path: Path, _arguments: Sequence) -> list[Outcome]:
    """abort: no valid use of the allocator ends there."""
    engine.end(path, "abort", ABORTS)
    return []


# A gap is up to 255 bytes; of its residues modulo 16, one aligned and one not.
GAP_BITS, GAP_RESIDUES = 4, (0, 9)


@dataclass(frozen=True)
class PageSource:
    """A page source that may refuse any request, and refuses what goes beyond `limit` bytes.

    Where it grants it goes on where it ended; with `foreign` also behind a gap, once an operation:
    somebody else took what lay between.
    """

    limit: int
    foreign: bool = False

    def grow(self, engine: Engine, path: Path, arguments: Sequence) -> list[Outcome]:
        """The ways a request can be answered."""
        size = arguments[1]
        path.owe("bounds", "the page source is asked for nothing", negate(equal(size, 0)))
        outcomes: list[Outcome] = [(self._refused(path.fork()), number(0))]
        requests = path.scene.requests
        for beyond in GAP_RESIDUES if self.foreign and not requests.granted else ():
            lines = z3.ZeroExt(WORD - GAP_BITS, engine.reasoning.fresh("gap", GAP_BITS))
            gap = simplify(lines * 16 + beyond)
            apart = path.fork()
            apart.scene = replace(apart.scene, requests=replace(requests, gap=gap))
            if engine.reasoning.assume(apart, negate(equal(gap, 0))):
                outcomes += self._granted(engine, apart, size, gap)
        return outcomes + self._granted(engine, path, size, None)

    def _refused(self, path: Path) -> Path:
        requests = path.scene.requests
        requests = replace(requests, refused=requests.granted + 1)
        path.scene = replace(path.scene, requests=requests)
        return path

    def _granted(self, engine: Engine, path: Path, size, gap) -> list[Outcome]:
        scene = path.scene
        below, length = scene.pieces[-1] if scene.pieces else (number(PAGES), number(0))
        start = simplify(below + length + (0 if gap is None else gap))
        room = simplify(number(PAGES + self.limit) - start)
        if not engine.reasoning.assume(
            path, every(at_most(start, PAGES + self.limit), at_most(size, room))
        ):
            return []
        pieces = (*scene.pieces, (start, size))
        if gap is None and scene.pieces:
            pieces = (*scene.pieces[:-1], (below, simplify(length + size)))
        requests = replace(scene.requests, granted=scene.requests.granted + 1)
        inner = int(gap is not None and bool(scene.pieces))
        path.scene = replace(scene, pieces=pieces, requests=requests, gaps=scene.gaps + inner)
        return [(path, start)]


def empty_world(engine: Engine, reasoning: Reasoning) -> Path:
    """Nothing allocated, no page granted, errno anything; the page source stands ready."""
    memory = Memory()
    memory = memory.after(Word(number(ERRNO), reasoning.fresh("errno", 32)))
    grow_at = number(PAGE_SOURCE + _layout(engine)[-1])
    memory = memory.after(Word(grow_at, number(engine.address_of(GROW_HOOK))))
    return Path(memory, Scene())


def make_engine(
    module: Module, reasoning: Reasoning, pages: PageSource | None = None, **hooks: Hook
) -> Engine:
    """An engine in this world; more hooks may replace functions of the module.

    Without pages it is for studies of arithmetic: every access is allowed, every growth refused.
    """
    grow = (pages or PageSource(0)).grow
    allowed = guard if pages else _anything
    standing = {"__errno_location": errno_cell, "abort": abort, GROW_HOOK: grow}
    return Engine(module, reasoning, allowed, {**standing, **hooks})


def _anything(*_access: object) -> Truth:
    return True


def errno_of(engine: Engine, path: Path) -> z3.BitVecRef:
    """The value of errno."""
    return engine.load(path, number(ERRNO), ERRNO_BYTES)


def writes_beside_errno(path: Path) -> list:
    """What the operation wrote, other than errno and its own locals."""
    kept = []
    for write in path.writes:
        low, high = value_range(write.address)
        if low >= STACK_FROM or (low == high == ERRNO):
            continue
        kept.append(write)
    return kept
