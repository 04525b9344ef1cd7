"""Dedicated traces for the rules that need many operations: reclaim, footprint, oom.

Made from a trace at hand; it runs and judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from models.judging.repetition import FALLS, STEADY, WARM_UP
from models.trace import ALLOCATING, DENY_ALL, MISUSES, NIL, Kind, Op, Trace

CYCLES = STEADY
EXHAUSTING_CYCLES = WARM_UP + FALLS + 2
STORE = 65536
ROUNDS = 16

# Kinds that keep pages away or are misuse: a cycle is closed and quiet without them.
_LEFT_OUT = MISUSES | {Kind.DENY, Kind.FOREIGN}
_MOST_PROBES = 1024
_LADDER = (15, 14, 12, 10, 8, 6, 4, 2, 1)  # sixteenths of the store


def cycle_trace(trace: Trace, cycles: int = CYCLES) -> Trace:
    """The trace, closed by free_all, `cycles` times over with fresh names: for `footprint`."""
    ops = [op for op in trace if op.kind not in _LEFT_OUT and op.kind is not Kind.FREE_ALL]
    return _made(trace, repeat([*_closed(ops), Op(Kind.FREE_ALL)], cycles), trace.store)


def exhaust(
    trace: Trace,
    probe: int,
    store: int = STORE,
    cycles: int = EXHAUSTING_CYCLES,
    rounds: int = ROUNDS,
) -> Trace:
    """For `reclaim`: in each cycle the trace `rounds` times, then mallocs of `probe` bytes.

    Each round frees what it made; then the probes ask for more than `store` bytes in all, so that
    the number of successes is what the heap can still give.  The rounds are there to lose at
    least one probe a cycle if anything is lost.  A probe is at least 1/1024 of the store, which
    keeps the trace within some 8,000 probes.
    """
    ops = [op for op in trace if op.kind not in _LEFT_OUT and op.kind is not Kind.FREE_ALL]
    ops = _closed(ops)
    ops += [Op(Kind.FREE, first=name) for name in _survivors(ops)]
    ops = list(repeat(ops, rounds))
    fresh = _next_name(ops)
    probe = max(probe, store // _MOST_PROBES, 1)
    count = store // probe + 1
    probes = [Op(Kind.MALLOC, fresh + number, probe) for number in range(count)]
    return _made(trace, repeat([*ops, *probes, Op(Kind.FREE_ALL)], cycles), store)


def largest_block(trace: Trace, store: int = STORE) -> Trace:
    """For `reclaim` where the heap coalesces: what is the largest block before and after?

    A ladder of sizes, the largest first, each tried on the empty heap, before and after the trace.
    """
    ops = _closed([op for op in trace if op.kind not in _LEFT_OUT])
    before = list(_ladder(_next_name(ops), store))
    after = list(_ladder(_next_name([*ops, *before]), store))
    return _made(trace, [*before, *ops, Op(Kind.FREE_ALL), *after], store)


def denials(trace: Trace, requests: int = 4) -> Iterator[Trace]:
    """For `oom`: the trace under refusals, with a chance to recover at the end of each.

    First the k-th request for pages is refused, for k = 1..requests; then all of them from the
    start, from the middle, and before each allocation in turn for as long as that one lasts.
    """
    ops = _closed([op for op in trace if op.kind is not Kind.DENY])
    allow = Op(Kind.DENY, first=0)
    tail = list(_recovery(ops))
    for count in range(1, requests + 1):
        yield _made(trace, [Op(Kind.DENY, first=count), *ops, allow, *tail], trace.store)
    refuse = Op(Kind.DENY, first=DENY_ALL)
    for start in dict.fromkeys((0, len(ops) // 2)):
        denied = [*ops[:start], refuse, *ops[start:], allow, *tail]
        yield _made(trace, denied, trace.store)
    for index, op in enumerate(ops):
        if op.kind in ALLOCATING:
            denied = [*ops[:index], refuse, op, allow, *ops[index + 1 :], *tail]
            yield _made(trace, denied, trace.store)


def _recovery(ops: list[Op]) -> Iterator[Op]:
    """Everything freed, then the largest plain requests of the trace once more, one at a time."""
    yield Op(Kind.FREE_ALL)
    fresh = _next_name(ops)
    sizes = {op.size for op in ops if op.kind in (Kind.MALLOC, Kind.CALLOC) and op.size < 2**64}
    for number, size in enumerate(sorted(sizes - {0}, reverse=True)[:4]):
        yield Op(Kind.MALLOC, fresh + number, size)
        yield Op(Kind.FREE, first=fresh + number)


def _ladder(fresh: int, store: int) -> Iterator[Op]:
    for number, sixteenths in enumerate(_LADDER):
        yield Op(Kind.MALLOC, fresh + number, max(store * sixteenths // 16, 1))
        yield Op(Kind.FREE, first=fresh + number)


def _made(trace: Trace, ops: Iterable[Op], store: int) -> Trace:
    """A new trace for the same subject; the original's comments and promise are not its own."""
    return replace(trace, ops=tuple(ops), store=store, expect=None, comments=())


def _closed(ops: list[Op]) -> list[Op]:
    """The operations without those on names that nothing makes."""
    made = {NIL}
    kept = []
    for op in ops:
        if op.block is None or op.block in made:
            kept.append(op)
            made.add(op.name)
    return kept


def _survivors(ops: list[Op]) -> list[int]:
    """Every name that may be live at the end: a realloc that failed keeps its block."""
    live: dict[int, None] = {}
    for op in ops:
        if op.kind is Kind.FREE:
            live.pop(op.first, None)
        elif op.kind in ALLOCATING:
            live[op.name] = None
    return list(live)


def _next_name(ops: Sequence[Op]) -> int:
    return 1 + max((op.name for op in ops if op.kind in ALLOCATING), default=-1)


def repeat(ops: Sequence[Op], times: int, first: int = 0) -> Iterator[Op]:
    """The operations `times` over, each time with names of its own, counted from `first` up.

    Operands that name nothing made within the operations are taken along as if they were.
    """
    step = _next_name(ops)
    for time in range(times):
        offset = first + time * step
        for op in ops:
            block = op.first if op.block in (None, NIL) else op.first + offset
            name = op.name + offset if op.kind in ALLOCATING else op.name
            yield Op(op.kind, name, block, op.second)
