"""The workloads of the textbook comparison: generated programs after the literature, and recorded.

Each is a value, complete before it runs, the same each time; bench_textbook.py runs them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models.trace import ALLOCATING, NIL, Kind, Op, Trace, from_text

RECORDED = Path(__file__).resolve().parent.parent / "tests" / "traces" / "recorded"
GENERATED_FAMILY, RECORDED_FAMILY = "generated workloads", "recorded programs"
LIVE = 400
LARGEST = 4096
PLATEAUS = 8
BUFFERS = 64


@dataclass(frozen=True)
class Workload:
    """A program of mallocs, frees and so on in which every request can be met.

    Names are small numbers that are used again; `payload` is the most bytes that are requested and
    live at one time; `family` is GENERATED_FAMILY or RECORDED_FAMILY.
    """

    name: str
    story: str
    ops: tuple[Op, ...]
    payload: int
    family: str = GENERATED_FAMILY


class Program:
    """A workload in the making: what it does, and what is live."""

    def __init__(self, seed: int = 1) -> None:
        self.source = random.Random(seed)
        self.ops: list[Op] = []
        self.live: dict[int, int] = {}
        self.payload = 0
        self._held = self._names = 0
        self._unused: list[int] = []

    def __len__(self) -> int:
        return len(self.ops)

    def malloc(self, size: int) -> int:
        """Asks for a block and returns its name."""
        return self.allocate(Kind.MALLOC, size, 0, size)

    def allocate(self, kind: Kind, first: int, second: int, size: int) -> int:
        """The same by any function that makes a block out of nothing."""
        name = self._unused.pop() if self._unused else self._names
        self._names = max(self._names, name + 1)
        self.ops.append(Op(kind, name, first, second))
        self._hold(name, size)
        return name

    def resize(self, name: int, size: int) -> None:
        """Asks for another size; the block keeps its name."""
        self.ops.append(Op(Kind.REALLOC, name, name, size))
        self._hold(name, size)

    def free(self, name: int) -> None:
        """Frees the block; its name is used again."""
        self.ops.append(Op(Kind.FREE, first=name))
        self._held -= self.live.pop(name)
        self._unused.append(name)

    def free_all(self) -> None:
        """Frees what is live, the oldest name first."""
        for name in list(self.live):
            self.free(name)

    def _hold(self, name: int, size: int) -> None:
        self._held += size - self.live.get(name, 0)
        self.live[name] = size
        self.payload = max(self.payload, self._held)


def some_size(source: random.Random) -> int:
    """Small sizes are as frequent as large ones: each power of two up to LARGEST alike."""
    return int(2 ** source.uniform(3, LARGEST.bit_length() - 1))


def power_of_two(source: random.Random) -> int:
    """16 half of the time, each further power of two half as often, up to LARGEST."""
    bits = source.getrandbits(8) | 256
    return 16 * (bits & -bits)


def steady(program: Program, count: int, size: Callable[[random.Random], int] = some_size) -> None:
    """LIVE blocks; then a random one is freed and another made, again and again."""
    names = [program.malloc(size(program.source)) for _ in range(min(LIVE, count // 4))]
    while len(program) + len(names) < count:
        victim = program.source.randrange(len(names))
        program.free(names[victim])
        names[victim] = program.malloc(size(program.source))


def powers(program: Program, count: int) -> None:
    """The same with sizes that are powers of two."""
    steady(program, count, power_of_two)


def plateaus(program: Program, count: int) -> None:
    """A ramp, a peak that is torn down but for every fifth block, a plateau; PLATEAUS times."""
    share = count // PLATEAUS
    for _ in range(PLATEAUS):
        peak = [program.malloc(some_size(program.source)) for _ in range(share // 4)]
        for place, name in enumerate(peak):
            if place % 5:
                program.free(name)
        for _ in range(share // 4):
            program.free(program.malloc(some_size(program.source)))


def stack(program: Program, count: int) -> None:
    """The block made last is freed first, in runs of up to 40."""
    names: list[int] = []
    while len(program) + len(names) < count:
        for _ in range(program.source.randint(1, 40)):
            if len(names) < LIVE:
                names.append(program.malloc(some_size(program.source)))
        for _ in range(min(len(names), program.source.randint(1, 40))):
            program.free(names.pop())
    while names:
        program.free(names.pop())


def queue(program: Program, count: int) -> None:
    """The block made first is freed first, LIVE of them on the way."""
    names: list[int] = []
    while len(program) + len(names) < count:
        names.append(program.malloc(some_size(program.source)))
        if len(names) > min(LIVE, count // 4):
            program.free(names.pop(0))


def buffers(program: Program, count: int) -> None:
    """BUFFERS strings that grow by appending, up to LARGEST bytes, among small blocks."""
    sizes = {program.malloc(16): 16 for _ in range(BUFFERS)}
    small = [program.malloc(24) for _ in range(BUFFERS)]
    while len(program) + len(program.live) + 2 < count:
        name = program.source.choice(list(sizes))
        size = sizes.pop(name) + program.source.randint(1, 256)
        if size > LARGEST:
            program.free(name)
            name, size = program.malloc(16), 16
        else:
            program.resize(name, size)
        sizes[name] = size
        if program.source.random() < 0.25:
            program.free(small.pop(program.source.randrange(BUFFERS)))
            small.append(program.malloc(24))


def comb(program: Program, count: int) -> None:
    """64 and 448 bytes by turns; all the larger ones are freed, and 512 asked for; then anew."""
    while len(program) < count:
        pairs = min(LIVE, max(1, count // 6))
        rows = [(program.malloc(64), program.malloc(448)) for _ in range(pairs)]
        for _, larger in rows:
            program.free(larger)
        for _ in rows:
            program.malloc(512)
        program.free_all()


GENERATED = {
    "steady": (steady, "random sizes and lifetimes at a steady state (Knuth)"),
    "plateaus": (plateaus, "ramps, peaks and plateaus (Wilson et al.)"),
    "stack": (stack, "last in, first out"),
    "queue": (queue, "first in, first out"),
    "powers": (powers, "sizes that are powers of two, small ones mostly"),
    "buffers": (buffers, "strings that grow by realloc"),
    "comb": (comb, "holes that are a little too small (CS:APP's binary)"),
}


def generated(count: int) -> list[Workload]:
    """All generated workloads, of some `count` operations each, everything freed at the end."""
    made = []
    for seed, (name, (build, story)) in enumerate(GENERATED.items(), 1):
        program = Program(seed)
        build(program, count)
        program.free_all()
        made.append(Workload(name, story, tuple(program.ops), program.payload))
    return made


def recorded(folder: Path = RECORDED) -> list[Workload]:
    """The recorded traces in a folder, by name; none where there is no folder.

    OSError and TraceError where one cannot be read.
    """
    paths = sorted(folder.glob("*.trace"))
    return [replayed(from_text(path.read_text()), path.stem) for path in paths]


def replayed(trace: Trace, name: str) -> Workload:
    """A trace as a workload: what only a checker wants is left out, what is live is freed.

    A resize to 0 bytes, which may be a free or not, becomes one to 1 byte.
    """
    program = Program()
    names: dict[int, int] = {}
    for op in trace:
        if op.kind is Kind.REALLOC and op.first in names:
            names[op.name] = names.pop(op.first)
            program.resize(names[op.name], max(1, op.second))
        elif op.kind is Kind.REALLOC and op.first == NIL:
            names[op.name] = program.malloc(op.second)
        elif op.kind in ALLOCATING and op.kind is not Kind.REALLOC:
            names[op.name] = program.allocate(op.kind, op.first, op.second, op.size)
        elif op.kind is Kind.FREE and op.first in names:
            program.free(names.pop(op.first))
        elif op.kind is Kind.FREE_ALL:
            program.free_all()
            names.clear()
    program.free_all()
    story = trace.comments[0].rstrip(".").lower() if trace.comments else "recorded"
    return Workload(name, story, tuple(program.ops), program.payload, RECORDED_FAMILY)
