"""The heap over time as a plain value: what lay where, from which operation to which.

Computed from a trace, its run and the verdict on it; nothing here knows a page or draws.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from models.contract import Contract
from models.heap import Block, Heap
from models.judging.case import answer, origin
from models.observation import Observation, Run, Seen
from models.report import in_question
from models.trace import ALLOCATING, Kind, Op, Trace
from models.verdict import Verdict, Violation

LIVE, FREE, OWN = "live", "free", "own"
HEADER, PAYLOAD, SLACK = "header", "payload", "slack"
Layout = Sequence[tuple[int, int, int]]  # blocks from the lowest up: (offset, size, used)

_LARGEST = 1 << 32  # a block that claims more is no block: a grant by mistake
_CLIPPED = 1 << 12
_WINDOW = 300
_LIVES = 1500


@dataclass(frozen=True, slots=True)
class Life:
    """Bytes [low, high), offsets from the timeline's origin, in the states born <= s < died.

    kind   live: a block somebody holds; free: one the allocator may give; own: neither
    name   of the live block, None for the others; `size` is what was asked for, in bytes
    parts  (low, high, what) of a live block from the lowest up: header, payload, slack
    """

    kind: str
    low: int
    high: int
    born: int
    died: int
    name: int | None = None
    size: int = 0
    parts: tuple[tuple[int, int, str], ...] = ()

    def seen(self, state: int) -> bool:
        """It is there when so many operations are done."""
        return self.born <= state < self.died


@dataclass(frozen=True, slots=True)
class Step:
    """One operation: its text, what came of it in words, whether it asked for pages, and on which
    thread it ran (None where the trace knows one alone)."""

    index: int
    text: str
    answer: str
    asked_pages: bool = False
    refused: bool = False
    thread: int | None = None


@dataclass(frozen=True)
class Timeline:
    """A run as a picture needs it.

    State s is the heap after s operations; states run from `first` to `last`.  `held` and
    `in_use` are bytes by state, from `first` on: pages granted (0 where that is unknown), and
    bytes asked for by live blocks.  `named` are the blocks in question; `left_out` counts blocks
    too small to be drawn among so many; `source` says in words who knew the layout, "" where
    nobody did.
    """

    steps: tuple[Step, ...]
    lives: tuple[Life, ...]
    held: tuple[int, ...]
    in_use: tuple[int, ...]
    origin: int
    first: int
    last: int
    violation: Violation | None = None
    named: frozenset[int] = frozenset()
    left_out: int = 0
    source: str = ""

    @property
    def broken(self) -> int | None:
        """The state in which the violation shows; None without one."""
        return None if self.violation is None else min(self.violation.op + 1, self.last)

    def at(self, state: int) -> list[Life]:
        """What is there in a state."""
        return [life for life in self.lives if life.seen(state)]


def timeline(
    trace: Trace,
    run: Run,
    verdict: Verdict,
    contract: Contract,
    layouts: Sequence[Layout | None] = (),
    source: str = "",
) -> Timeline:
    """The heap over time; `layouts[s]` are the blocks in state s, as `source` knows them.

    A trace of more than 300 operations is shown from 300 before the violation (or the end) on.
    """
    last = min(len(trace), run.done + (run.done < len(trace)))
    blocks, held, in_use = _follow(trace, run, contract, last)
    base = origin(run)
    lives = [_live(block, base, born, died, layouts) for block, born, died in blocks]
    lives += _spaces(layouts, lives, last)
    steps = tuple(_steps(trace, run, base, last))
    source = source if any(layout is not None for layout in layouts) else ""
    violation = verdict.violation
    named = in_question(trace, violation)
    whole = Timeline(steps, tuple(lives), held, in_use, base, 0, last, violation, named, 0, source)
    return _thinned(_windowed(whole))


# ---- blocks that somebody holds ----


def _follow(trace: Trace, run: Run, contract: Contract, last: int):
    """(block, born, died) of all live blocks; bytes held and in use by state."""
    heap, born, ended = Heap(), {}, []
    held, in_use, used = [0], [0], 0
    pairs = zip(trace.ops[:last], run.observations, strict=False)
    for state, (op, seen) in enumerate(pairs, 1):
        before = _concerned(op, heap)
        granted = _step(heap, op, seen, contract) if _came_back(run, state - 1, seen) else None
        for block in before:
            if block.name not in heap.live:
                ended.append((block, born.pop(block.name), state))
                used -= block.size
        if granted:
            born[granted.name] = state
            used += granted.size
        held.append(seen.granted)
        in_use.append(used)
    states = last + 1 - len(held)  # those of an operation that told nothing
    held += held[-1:] * states
    in_use += in_use[-1:] * states
    ended += [(block, born[name], last + 1) for name, block in heap.live.items()]
    return ended, tuple(held), tuple(in_use)


def _concerned(op: Op, heap: Heap) -> list[Block]:
    """The live blocks that an operation may end."""
    if op.kind is Kind.FREE_ALL:
        return list(heap.live.values())
    block = heap.live.get(op.first) if op.kind in (Kind.FREE, Kind.REALLOC) else None
    return [block] if block else []


def _step(heap: Heap, op: Op, seen: Observation, contract: Contract) -> Block | None:
    """Takes an operation that was observed; the block that it granted, if any."""
    if seen.flags & Seen.SKIPPED:
        return None
    granted = op.kind in ALLOCATING and bool(answer(op, seen))
    heap.release(op, granted, contract.realloc_zero)
    if not granted:
        return None
    size = op.size if op.size <= _LARGEST else _CLIPPED
    block = Block(op.name, seen.address, size, seen.usable, size, op.kind)
    heap.grant(block)
    return block


def _came_back(run: Run, index: int, seen: Observation) -> bool:
    return index < run.done or bool(seen.flags & Seen.RETURNED)


def _live(block: Block, base: int, born: int, died: int, layouts: Sequence[Layout | None]) -> Life:
    low = block.address - base
    end = low + block.size
    room = _around(low, layouts[born] if born < len(layouts) else None)
    if room is None or end > room[1]:
        usable = block.usable if block.usable < _LARGEST else 0
        room = (low, max(low + usable, end))
    cuts = ((room[0], low, HEADER), (low, end, PAYLOAD), (end, room[1], SLACK))
    parts = tuple(part for part in cuts if part[0] < part[1])
    return Life(LIVE, room[0], room[1], born, died, block.name, block.size, parts)


def _around(low: int, layout: Layout | None) -> tuple[int, int] | None:
    """Start and end of the used block that offset `low` lies in."""
    if not layout:
        return None
    at = bisect_right(layout, low, key=lambda block: block[0]) - 1
    start, size, used = layout[at]
    return (start, start + size) if at >= 0 and used and low < start + size else None


# ---- what the allocator keeps ----


def _spaces(layouts: Sequence[Layout | None], lives: Sequence[Life], last: int) -> Iterator[Life]:
    """A life for each space of a layout that no live block takes."""
    open_since: dict[tuple[int, int, str], int] = {}
    for state in range(last + 2):
        layout = layouts[state] if state < min(len(layouts), last + 1) else None
        there = set(_unheld(layout or (), [life for life in lives if life.seen(state)]))
        for space in [space for space in open_since if space not in there]:
            low, high, kind = space
            yield Life(kind, low, high, open_since.pop(space), state)
        for space in there:
            open_since.setdefault(space, state)


def _unheld(layout: Layout, lives: Sequence[Life]) -> Iterator[tuple[int, int, str]]:
    taken = sorted((life.low, life.high) for life in lives)
    for start, size, used in layout:
        at = bisect_right(taken, (start + size - 1, 2**64)) - 1
        held = at >= 0 and taken[at][1] > start
        if size and not (used and held):
            yield start, start + size, OWN if used else FREE


# ---- operations in words ----


def _steps(trace: Trace, run: Run, base: int, last: int) -> Iterator[Step]:
    seen_of = dict(enumerate(run.observations))
    thread = 0 if any(op.kind is Kind.THREAD for op in trace) else None
    for index, op in enumerate(trace.ops[:last]):
        if op.kind is Kind.THREAD and not seen_of.get(index, Observation()).flags & Seen.SKIPPED:
            thread = op.first
        elif op.kind is Kind.END_THREAD and thread == op.first:
            thread = 0
        seen = seen_of.get(index, Observation())
        refused = bool(seen.flags & (Seen.REFUSED | Seen.CAPPED))
        told = _told(op, seen, base) if _came_back(run, index, seen) else "did not come back"
        yield Step(index, str(op), told, bool(seen.flags & Seen.PAGES), refused, thread)


def _told(op: Op, seen: Observation, base: int) -> str:
    if seen.flags & Seen.SKIPPED:
        return "skipped"
    if op.kind not in ALLOCATING:
        return ""
    return place_text(seen.address - base) if answer(op, seen) else "NULL"


def place_text(offset: int) -> str:
    """An offset from the origin as reports write it."""
    return f"{'-' if offset < 0 else '+'}0x{abs(offset):x}"


# ---- what is too much for a picture ----


def _windowed(whole: Timeline) -> Timeline:
    """The states up to the one that matters, 300 of them at most."""
    end = whole.last if whole.broken is None else min(whole.last, whole.broken + 20)
    first = max(0, end - _WINDOW)
    if not first and end == whole.last:
        return whole
    lives = [life for life in whole.lives if life.born <= end and life.died > first]
    return replace(
        whole,
        steps=whole.steps[first:end],
        lives=tuple(replace(life, born=max(life.born, first)) for life in lives),
        held=whole.held[first : end + 1],
        in_use=whole.in_use[first : end + 1],
        first=first,
        last=end,
    )


def _thinned(whole: Timeline) -> Timeline:
    """The largest lives and those that the violation names."""
    if len(whole.lives) <= _LIVES:
        return whole
    named = whole.named
    by_size = sorted(whole.lives, key=lambda life: (life.name not in named, life.low - life.high))
    return replace(whole, lives=tuple(by_size[:_LIVES]), left_out=len(whole.lives) - _LIVES)
