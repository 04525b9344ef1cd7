"""What is known of a path beside its memory: the host's pages, the live blocks, the story so far.

It makes no claim, and asks nothing of the solver.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import z3

from proofs.engine import Engine
from proofs.host import ERRNO, NO_REQUESTS, STACK_FROM, Host, Pages, Requests
from proofs.ir import Module
from proofs.memory import Write
from proofs.path import Path, Reasoning
from proofs.terms import value_range

PTRDIFF_MAX = 2**63 - 1
ADDRESSES_BELOW = 2**47  # user space of x86-64
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
    """A live block: the payload's address, the bytes asked for."""

    number: int
    payload: z3.BitVecRef
    size: z3.BitVecRef


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
    def next_number(self) -> int:
        """The number that the next block gets."""
        return sum(step.made is not None for step in self.story)

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
    return [write for write, (low, high) in ranges if low < STACK_FROM and (low, high) != _ERRNO]


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
