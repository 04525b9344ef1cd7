"""Level 2: every heap that programs make of a small memory, on the compiled library.

Breadth first, each heap once (allocator/harness/enumerate.h says which are the same), until none
is left.  It asks no solver, and says nothing of other requests than those that it lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from allocator.executor import Executor, open_executor, run_fresh
from allocator.region import Choice, Tally
from allocator.subject import Subject, SubjectError
from models.check import CPU_LIMIT_MS, Finding, check
from models.judge import CannotJudge
from models.observation import Outcome
from models.trace import Kind, Op, Trace

BUDGET = 1_000_000  # operations, over all menus
MOST_HEAPS = 1 << 22
STINT = 20_000  # operations between two lines
MENUS = (2, 3, 4, 5)  # requests of about the memory's half, third ... and more of it
LIVE = 3
ALIGNMENT = 64
_MEMORIES = tuple(1 << power for power in range(8, 21))
_NONE = Tally(0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Menu:
    """Requests that were tried on every heap, and how far that went.

    sizes   bytes of the requests
    why     what is missing where it is neither closed nor broken
    """

    sizes: tuple[int, ...]
    tally: Tally = _NONE
    finding: Finding | None = None
    why: str = ""

    @property
    def closed(self) -> bool:
        """Every operation has been tried on every heap."""
        return not (self.tally.waiting or self.finding or self.why)

    def told(self) -> str:
        """One line."""
        tally = self.tally
        word = f"{self.finding.rule} broken" if self.finding else self.why or "closed"
        return (
            f"requests of {', '.join(map(str, self.sizes))} bytes: {word}: {tally.heaps} heaps, "
            f"{tally.operations} operations, programs of up to {tally.longest}"
        )


@dataclass(frozen=True)
class Closure:
    """What came of a subject in `memory` bytes, menu by menu, the coarse ones first."""

    memory: int
    menus: tuple[Menu, ...]

    @property
    def finding(self) -> Finding | None:
        """The rule that a program broke, if any."""
        return self.menus[-1].finding

    @property
    def closed(self) -> bool:
        """Nothing is wrong, and at least the coarsest menu has been tried to its end."""
        return not self.finding and self.menus[0].closed


def closure(
    subject: Subject,
    *,
    memory: int = 0,
    budget: int = BUDGET,
    progress: Callable[[str], None] = lambda _line: None,
) -> Closure:
    """Enumerates the heaps of a subject; raises SubjectError.

    memory  bytes that it may have: store, or arena; 0 for the least with which it serves requests
    budget  operations after which it gives up
    """
    for size in (memory,) if memory else _MEMORIES:
        arena = replace(subject.contract, arena=size) if subject.contract.arena else None
        with open_executor(replace(subject, contract=arena) if arena else subject) as executor:
            largest = _largest(executor, size)
            if largest:
                return Closure(size, tuple(_menus(executor, size, largest, budget, progress)))
    raise SubjectError(f"{subject.name}: it serves no request in {size} bytes: give it more memory")


def _menus(executor: Executor, memory: int, largest: int, budget: int, progress) -> Iterator[Menu]:
    """One menu after the other, up to the first that shows something."""
    for parts in MENUS:
        sizes = tuple(sorted(_sizes(executor, memory, largest, parts)))
        menu = _enumerated(executor, memory, sizes, budget // len(MENUS), progress)
        yield menu
        if menu.finding:
            return


# ---- which requests ----


def _served(executor: Executor, memory: int, *sizes: int) -> tuple:
    """What becomes of these requests, one after the other, in a fresh heap."""
    ops = tuple(Op(Kind.MALLOC, name, size) for name, size in enumerate(sizes))
    run = executor.run(Trace(ops, store=memory))
    if run.outcome is not Outcome.FINISHED:
        return ()
    return tuple((seen.address, seen.usable, seen.granted) for seen in run.observations)


def _largest(executor: Executor, memory: int) -> int:
    """The largest request that a fresh heap serves, in bytes; 0 for none."""
    return _last(1, memory, lambda size: any(seen[0] for seen in _served(executor, memory, size)))


def _last(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The last number for which it holds, if it does up to there; low - 1 where it never does."""
    if not holds(low):
        return low - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def _sizes(executor: Executor, memory: int, largest: int, parts: int) -> set[int]:
    """Both sides of the step at each part of the memory, and of the last below the whole."""
    sizes = {largest}
    for part in range(1, parts):
        last = _step(executor, memory, largest * part // parts, largest)
        sizes |= {last, last + 1}
    whole = _served(executor, memory, largest, 1)
    first = _last(0, largest - 1, lambda gap: _served(executor, memory, largest - gap, 1) == whole)
    return {size for size in {*sizes, largest - first, largest - first - 1} if size > 0}


def _step(executor: Executor, memory: int, size: int, largest: int) -> int:
    """The last request that is served as this one is."""
    same = _served(executor, memory, size, 1)
    return _last(size, largest, lambda one: _served(executor, memory, one, 1) == same)


# ---- the enumeration ----


def _choices(subject: Subject, sizes: tuple[int, ...]) -> list[Choice]:
    has, least = subject.has, sizes[0]
    choices = [Choice(Kind.FREE)] if "free" in has else []
    choices += [Choice(Kind.MALLOC, size) for size in sizes]
    if "realloc" in has:
        choices += [Choice(Kind.REALLOC, 0, size) for size in sizes]
    if "calloc" in has:
        choices.append(Choice(Kind.CALLOC, 1, least))
    if "aligned_alloc" in has:
        choices += [Choice(Kind.ALIGNED_ALLOC, ALIGNMENT, size) for size in (least, sizes[-1])]
    return choices


def _enumerated(
    executor: Executor, memory: int, sizes: tuple[int, ...], budget: int, progress
) -> Menu:
    choices = _choices(executor.subject, sizes)
    tally = Tally(0, 1, 0, 0, 0)
    while tally.waiting and tally.operations < budget and not tally.too_large:
        stint = min(STINT, budget - tally.operations)
        tally = executor.enumerate(choices, stint, MOST_HEAPS, live=LIVE, store=memory)
        choices = []
        run = executor.last_run()
        if run.suspicious:
            finding = _confirmed(executor, run, memory)
            if finding or run.outcome is not Outcome.FINISHED:
                return Menu(sizes, tally, finding, "" if finding else "nobody can judge a run")
        progress(
            f"{sizes[0]} to {sizes[-1]} bytes: {tally.heaps} heaps, {tally.waiting} to be done"
        )
    if tally.too_large:
        return Menu(sizes, tally, why="more memory is granted than is compared")
    return Menu(sizes, tally, why=f"not closed with {tally.waiting} to go" if tally.waiting else "")


def _confirmed(executor: Executor, run, memory: int) -> Finding | None:
    """What the judge says of a suspicious run; shrunk, and shown again in a fresh process."""
    subject, trace = executor.subject, executor.last_trace()
    trace = replace(trace, store=memory)

    def fresh(one: Trace, *, cpu_limit_ms: int = CPU_LIMIT_MS):
        return run_fresh(subject, one, check="each", cpu_limit_ms=cpu_limit_ms)

    try:
        return check(trace, fresh, subject.contract, subject=subject.name, seen=run, budget=200)
    except CannotJudge:
        return None
