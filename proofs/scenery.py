"""What is known of a path beside its memory: the host's pages, the live blocks, the story so far.

It makes no claim, and asks nothing of the solver.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import z3

from proofs.engine import Engine
from proofs.host import ERRNO, NO_REQUESTS, STACK_END, STACK_FROM, Host, Pages, Requests
from proofs.ir import Module
from proofs.logic import Truth, at_most, equal, some
from proofs.memory import Write
from proofs.path import Path, Reasoning
from proofs.target import TARGET
from proofs.terms import WORD, constant_of, number, simplify, value_range

PTRDIFF_MAX = 2 ** (WORD - 1) - 1
ADDRESSES_BELOW = TARGET.objects  # what a study makes up lies in user space
HEAP = 0x1000  # where studies of arithmetic say that the heap structure lies
_ERRNO = (ERRNO, ERRNO)


@dataclass(frozen=True)
class Step:
    """One operation of a story: `verb` of the trace language, operands as terms.

    `block` is the number of the live block it takes, `made` the number it gives to its own.
    """

    verb: str
    operands: tuple[z3.BitVecRef, ...] = ()
    block: int | None = None
    made: int | None = None
    requests: Requests = NO_REQUESTS


@dataclass(frozen=True)
class Block:
    """A live block: the payload's address, the bytes asked for; held: no operation is about it."""

    number: int
    payload: z3.BitVecRef
    size: z3.BitVecRef
    held: bool = False


@dataclass(frozen=True)
class Scene:
    """What is known.

    gaps   how many times somebody else took memory below memory that was granted later
    calls  (name, arguments) of the functions that a study replaced, in order
    shape  the heap that an induction began with; built: the steps made up to lead to it
    """

    pages: Pages
    live: tuple[Block, ...] = ()
    story: tuple[Step, ...] = ()
    gaps: int = 0
    calls: tuple[tuple[str, tuple[z3.BitVecRef, ...]], ...] = ()
    shape: object = None
    built: int = 0

    @property
    def operands(self) -> tuple[Block, ...]:
        """The live blocks that an operation may be about."""
        return tuple(block for block in self.live if not block.held)

    def called(self, name: str) -> list[tuple[z3.BitVecRef, ...]]:
        """Arguments of each call of a replaced function."""
        return [arguments for called, arguments in self.calls if called == name]


def noted(path: Path, name: str, arguments: Sequence[z3.BitVecRef]) -> None:
    """Records a call of a replaced function."""
    path.scene = replace(path.scene, calls=(*path.scene.calls, (name, tuple(arguments))))


def told(path: Path, step: Step) -> Path:
    """Adds an operation to the path's story; what it writes and asks for is counted anew."""
    path.writes = ()
    scene = path.scene
    pages = replace(scene.pages, requests=NO_REQUESTS)
    path.scene = replace(scene, pages=pages, story=(*scene.story, step))
    return path


def concluded(path: Path) -> None:
    """Notes in the story which pages the operation under way asked for."""
    if path.scene.story:
        *before, step = path.scene.story
        step = replace(step, requests=path.scene.pages.requests)
        path.scene = replace(path.scene, story=(*before, step))


def lasting_writes(path: Path) -> list[Write]:
    """What the operation wrote, other than errno and its own locals."""
    ranges = [(write, value_range(write.address)) for write in path.writes]
    return [
        write
        for write, (low, high) in ranges
        if not (low >= STACK_FROM and high < STACK_END) and (low, high) != _ERRNO
    ]


def next_number(path: Path) -> int:
    """The number of the next block that is made."""
    return sum(step.made is not None for step in path.scene.story)


def without(live: tuple[Block, ...], block: Block) -> tuple[Block, ...]:
    """The live blocks but for one."""
    return tuple(other for other in live if other.number != block.number)


def apart(first, length, second, width) -> Truth:
    """[first, first + length) and [second, second + width) share no byte."""
    return some(at_most(simplify(first + length), second), at_most(simplify(second + width), first))


def writes_apart(write: Write, block: Block) -> Truth:
    """The write touches no byte of the block."""
    return some(
        equal(block.size, 0),
        apart(simplify(write.address), write.length, simplify(block.payload), block.size),
        equal(write.length, 0),
    )


def differing(engine: Engine, begun: Sequence[Path]) -> Iterator[Path]:
    """Of heaps that differ only in where the next pages will lie, the one with the fewest refusals.

    An initialisation that asks for pages, is refused some and gives all back ends in many of them.
    """
    known: set[object] = set()
    for path in sorted(begun, key=lambda one: one.scene.pages.requests.refusals):
        standing = _standing(engine, path) if len(begun) > 1 else None
        if standing is None or standing not in known:
            known.add(standing)
            yield path


def _standing(engine: Engine, path: Path) -> object:
    """What all variables hold, where all of them are plain and no page is granted; else None."""
    if path.scene.pages.pieces or path.scene.pages.maps:
        return None
    held = []
    for variable in engine.module.globals.values():
        if not variable.constant and variable.parts is not None and variable.size:
            at = number(engine.address_of(variable.name))
            held.append(constant_of(engine.load(path, at, variable.size)))
    return None if None in held else tuple(held)


def broken(rule: str) -> str:
    """What a claim says of the validity predicate's answer."""
    return f"the allocator's validity predicate says {rule}"


def make_engine(module: Module, reasoning: Reasoning, host: Host, **hooks) -> Engine:
    """An engine on that host; more hooks may replace functions of the module."""
    return Engine(module, reasoning, host.guard, {**host.hooks(), **hooks})


def make_free_engine(module: Module, reasoning: Reasoning, **hooks) -> Engine:
    """For studies of arithmetic: every access is allowed, every growth refused."""
    host = Host(0)
    return Engine(module, reasoning, lambda *_access: True, {**host.hooks(), **hooks})


def empty_world(engine: Engine, reasoning: Reasoning) -> Path:
    """The program as loaded, nothing allocated, errno anything."""
    return Host(0).started(engine, reasoning, Scene)
