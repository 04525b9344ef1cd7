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
from proofs.terms import number, simplify, value_range

HEAP, PAGE_SOURCE, ERRNO, PAGES = 0x1000, 0x2000, 0x3000, 0x10_0000
PAGE_SOURCE_BYTES, ERRNO_BYTES = 32, 4
STACK_FROM = 0x7FFE_0000_0000
GROW_HOOK = "page_source.grow"
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
class Step:
    """One operation of a story: `verb` of the trace language, operands as terms.

    `block` is the number of the live block it takes, `made` the number it gives to its own;
    `refused` that the page source refused it pages.
    """

    verb: str
    operands: tuple[z3.BitVecRef, ...] = ()
    block: int | None = None
    made: int | None = None
    refused: bool = False


@dataclass(frozen=True)
class Block:
    """A live block: the payload's address, the bytes asked for."""

    number: int
    payload: z3.BitVecRef
    size: z3.BitVecRef


@dataclass(frozen=True)
class Scene:
    """What the world knows besides memory.

    granted  bytes of pages handed out so far
    refused  the page source refused during the operation under way
    calls    (name, arguments) of the functions that a study replaced, in order
    """

    granted: z3.BitVecRef
    live: tuple[Block, ...] = ()
    story: tuple[Step, ...] = ()
    refused: bool = False
    calls: tuple[tuple[str, tuple[z3.BitVecRef, ...]], ...] = ()

    def called(self, name: str) -> list[tuple[z3.BitVecRef, ...]]:
        """Arguments of each call of a replaced function."""
        return [arguments for called, arguments in self.calls if called == name]


def inside(address, length, start: int, size) -> Truth:
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
    areas = [(PAGES, path.scene.granted), (HEAP, heap_bytes), (ERRNO, number(ERRNO_BYTES))]
    if not writes:
        areas.append((PAGE_SOURCE, number(PAGE_SOURCE_BYTES)))
    low, high = value_range(address)
    if low >= STACK_FROM:
        return True
    near = [
        inside(address, length, start, size)
        for start, size in areas
        if low < start + value_range(size)[1] and high >= start
    ]
    return some(*near)


def noted(path: Path, name: str, arguments: Sequence[z3.BitVecRef]) -> None:
    """Records a call of a replaced function."""
    path.scene = replace(path.scene, calls=(*path.scene.calls, (name, tuple(arguments))))


def told(path: Path, step: Step) -> Path:
    """Adds an operation to the path's story."""
    path.scene = replace(path.scene, story=(*path.scene.story, step), refused=False)
    return path


def errno_cell(_engine: Engine, path: Path, _arguments: Sequence) -> list[Outcome]:
    """__errno_location: one cell of four bytes."""
    return [(path, number(ERRNO))]


def abort(engine: Engine, path: Path, _arguments: Sequence) -> list[Outcome]:
    """abort: no valid use of the allocator ends there."""
    engine.end(path, "abort", "abort is called although every free is valid")
    return []


def page_source(limit: int) -> Hook:
    """A page source that may refuse any request and refuses all beyond `limit` bytes in total."""

    def grow(engine: Engine, path: Path, arguments: Sequence) -> list[Outcome]:
        size, reasoning = arguments[1], engine.reasoning
        path.owe("bounds", "the page source is asked for nothing", negate(equal(size, 0)))
        outcomes: list[Outcome] = []
        refused = path.fork()
        refused.scene = replace(path.scene, refused=True)
        outcomes.append((refused, number(0)))
        room = simplify(number(limit) - path.scene.granted)
        if reasoning.assume(path, at_most(size, room)):
            start = simplify(path.scene.granted + PAGES)
            granted = simplify(path.scene.granted + size)
            path.scene = replace(path.scene, granted=granted)
            outcomes.append((path, start))
        return outcomes

    return grow


def empty_world(engine: Engine, reasoning: Reasoning) -> Path:
    """Nothing allocated, no page granted, errno anything; the page source stands ready."""
    memory = Memory()
    memory = memory.after(Word(number(ERRNO), reasoning.fresh("errno", 32)))
    grow_at = number(PAGE_SOURCE + _layout(engine)[-1])
    memory = memory.after(Word(grow_at, number(engine.address_of(GROW_HOOK))))
    return Path(memory, Scene(granted=number(0)))


def make_engine(module: Module, reasoning: Reasoning, limit: int, **hooks: Hook) -> Engine:
    """An engine in this world; more hooks may replace functions of the module."""
    standing = {"__errno_location": errno_cell, "abort": abort, GROW_HOOK: page_source(limit)}
    return Engine(module, reasoning, guard, {**standing, **hooks})


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
