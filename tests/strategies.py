"""Hypothesis strategies for whole traces: sizes that find bugs, operations the contract allows.

It judges nothing; a trace is complete before anybody sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import strategies as st

from allocator.subject import Subject
from fuzz import limits
from fuzz.bench import Bench
from fuzz.limits import FAR, FUNCTIONS, LARGE, NEAR, SIZE_MAX, Limits
from models.contract import PTRDIFF_MAX
from models.trace import DENY_ALL, MISUSES, NIL, Kind, Op, Trace

MAX_OPS = 40
# Operations of a program of the byte decoder, and how many are tried: some microseconds each.  What
# is deep shows in one long dense program of hundreds.
_TRIED = {8: 16, 24: 16, 64: 16, 256: 64, 1024: 256}
STORES = (0, 0, 0, 0, 4096, 8192, 16384, 65536)  # in small ones large blocks are not to be had
GRANTABLE = 2 * max(LARGE)  # bytes; what is more counts as refused
# How often a kind is drawn beside four mallocs and three frees; 2 where nothing is said.
_SHARES = {Kind.FREE_ALL: 1, Kind.DENY: 1, Kind.FOREIGN: 1, Kind.WRITE: 1} | dict.fromkeys(
    (Kind.DOUBLE_FREE, Kind.REALLOC_FREED, Kind.END_THREAD), 1
)

_NEAR = st.sampled_from(NEAR)
_TINY = st.integers(0, 64)
STEPS = st.integers(1, 64).map(lambda step: 16 * step - 8)
_EDGES = st.sampled_from([2**exponent for exponent in range(4, 14)])
_PAGES = st.integers(0, 12_000)
# The smallest is the simplest; the byte decoder has the same ones.
_LARGE = st.builds(int.__add__, st.sampled_from(sorted(LARGE)), st.sampled_from((*NEAR, *FAR)))


def _at_least_0(size: int, distance: int) -> int:
    return max(0, size + distance)


# What a size may be whatever was freed, and how Writer draws among these and what was: from
# strategies made once, because making them costs more than drawing from them.
_EDGED = st.builds(_at_least_0, _EDGES, _NEAR)
_FRESH = (_TINY, _TINY, STEPS, _PAGES, _EDGED, _LARGE)
_RECENT = 6
_CHOICES = st.integers(0, len(_FRESH) + 2)
_PICKS = st.integers(0, _RECENT - 1)
_ONE_IN_20 = st.integers(0, 19)
HUGE = st.builds(
    lambda base, distance: base - distance,
    st.sampled_from(limits.HUGE),
    st.integers(0, 64),
)
# Products a little above a multiple of 2**64 or of 2**32, and the largest of all; either way round.
OVERFLOWS = [
    pair
    for count, size in limits.PAIRS
    if count * size > GRANTABLE
    for pair in ((count, size), (size, count), (count - 1, size))
    if pair[0] * pair[1] > GRANTABLE
]
PRODUCTS = st.sampled_from(OVERFLOWS)
# The sizes that a header or a rounding turns into small ones.
LIMITS = [base - distance for base in (SIZE_MAX, PTRDIFF_MAX) for distance in (0, 7, 8, 15, 16, 31)]
COUNTS = st.sampled_from(sorted(limits.COUNTS))
ALIGNMENTS = st.sampled_from([2**exponent for exponent in sorted(limits.EXPONENTS) if exponent > 2])
FAR_ALIGNMENTS = st.sampled_from([2**exponent for exponent in limits.FAR_EXPONENTS])
# Where they may be given: a small power of two is one, what is none or too large is refused.
ODD_ALIGNMENTS = st.sampled_from((1, 2, 4, 0, 3, 24, 48, 2**61, 2**62, 2**63))
DENIALS = st.sampled_from((1, 1, 2, 3, DENY_ALL, 0))
# A row, as in fuzz/decoder_rows.h: blocks laid one behind another, some of which go.
ROW_LENGTHS = st.integers(3, 8)
_ROW_STEPS = st.integers(0, 3)
_CHURNS = st.integers(4, 16)
STEP = 16
MOVES = st.sampled_from((1, 8, 16, 24, 100, 4096, 4104))


def menu(subject: Subject) -> tuple[Kind, ...]:
    """The kinds that a subject has functions for and whose contract allows them."""
    contract = subject.contract
    allowed = {Kind.FOREIGN: contract.foreign, Kind.THREAD: contract.threads}
    allowed |= {Kind.END_THREAD: False}  # some of the THREADs drawn are
    allowed |= {kind: kind.name.lower() in contract.detects for kind in MISUSES}
    allowed |= {kind: name in subject.has for kind, name in FUNCTIONS.items()}
    return tuple(kind for kind in Kind if allowed.get(kind, True))


def combed(row: Sequence[int], odd: bool) -> tuple[Sequence[int], Sequence[int]]:
    """Of a row's names every other one, which goes, and the rest, which then lie between holes."""
    return row[odd::2], row[1 - odd :: 2]


def sizes(recent: list[int]) -> st.SearchStrategy[int]:
    """Sizes in bytes; those near a recently freed block's find more than uniform ones."""
    choices = list(_FRESH)
    if recent:
        freed = st.sampled_from(recent)
        choices += [st.builds(_at_least_0, freed, _NEAR)] * 2
        choices.append(st.builds(lambda one, other: one + other + 16, freed, freed))
    return st.one_of(*choices)


@st.composite
def traces(
    draw: Callable, subject: Subject, max_ops: int = MAX_OPS, edges: tuple[int, ...] = ()
) -> Trace:
    """Whole traces of 1 to `max_ops` operations that `subject` can be given.

    `edges` are those of its size classes, as fuzz.limits.probe_edges() learns them.  A trace takes
    part of the menu only: what is left out makes room for the rest.
    """
    whole = menu(subject)
    some = draw(st.lists(st.sampled_from(whole), min_size=1, max_size=5, unique=True))
    writer = Writer(
        draw, subject, [kind for kind in some for _ in range(_SHARES.get(kind, 2))], edges
    )
    length = draw(st.integers(1, max_ops))
    while len(writer.ops) < length:
        writer.write()
    return Trace(tuple(writer.ops[:length]), subject.name, draw(st.sampled_from(STORES)))


def whole(bench: Bench) -> st.SearchStrategy[Trace]:
    """Whole traces for a bench: those drawn here, and programs of the byte decoder.

    The decoder's take a tenth of the time to be made, so there are more of them.
    """
    edges = limits.probe_edges(bench.execute, bench.subject)
    return st.one_of(traces(bench.subject, edges=edges), *[programs(bench, edges)] * 3)


def programs(bench: Bench, edges: tuple[int, ...] = ()) -> st.SearchStrategy[Trace]:
    """What the fuzzer's generators make of a seed: dense programs, any, and rare ways.

    Each is the first suspicious one of a few, or the last: the tripwire chooses, and judges none.
    """
    every = limits.limits_of(bench.subject, edges)

    def decoded(seed: int, kind: Limits, length: int) -> Trace:
        size = limits.program_bytes(length)
        bench.executor.search(seed, _TRIED[length], size, kind.pack())
        return bench.executor.last_trace()

    kinds = st.sampled_from((every.dense(), every, every.rare()))
    return st.builds(decoded, st.integers(0, 2**62), kinds, st.sampled_from(tuple(_TRIED)))


class Writer:
    """A trace being drawn; it knows which names may be live, and guesses no addresses."""

    def __init__(
        self, draw: Callable, subject: Subject, kinds: list[Kind], edges: tuple[int, ...] = ()
    ) -> None:
        self.draw = draw
        self.edges = st.builds(_at_least_0, st.sampled_from(edges), _NEAR) if edges else _EDGED
        self.contract = subject.contract
        always: list[Kind | None] = [Kind.MALLOC] * 8
        always += ([Kind.FREE] * 6 + [_ROW]) * ("free" in subject.has)
        self.kinds = st.sampled_from([*always, *kinds, *kinds])
        self.resizes = "realloc" in subject.has
        self.ops: list[Op] = []
        self.live: dict[int, int] = {}
        self.freed: dict[int, int] = {}
        self.names = 0

    def write(self) -> None:
        """Appends one operation, a malloc where the kind drawn has nothing to act on; or a row."""
        kind = self.draw(self.kinds)
        if kind is _ROW:
            self.row()
            return
        op = _WRITERS[kind](self, kind)
        self.ops.append(op or self.malloc(Kind.MALLOC))

    def row(self) -> None:
        """Blocks one behind another: equal ones of which every other goes, or a churn among any."""
        churned = self.draw(_ROW_STEPS) == 3
        length, size = self.draw(ROW_LENGTHS), self.size()
        row = [self.put(self.size() if churned else size) for _ in range(length)]
        (self.churn if churned else self.comb)(row)

    def put(self, size: int) -> int:
        """A malloc; its name."""
        name = self.name(size)
        self.ops.append(Op(Kind.MALLOC, name, size))
        return name

    def drop(self, name: int) -> int:
        """A free of a block, if it is live; its size in bytes, 0 if it is not."""
        if name not in self.live:
            return 0
        self.ops.append(Op(Kind.FREE, first=name))
        self.freed[name] = self.live.pop(name)
        return self.freed[name]

    def comb(self, row: list[int]) -> None:
        """Every other block goes; of the rest some are resized to what they have, some go too."""
        gone, stay = combed(row, self.draw(st.booleans()))
        for name in gone:
            self.drop(name)
        for name in stay:
            step = self.draw(_ROW_STEPS)
            size = self.live.get(name)
            if step == 1:
                self.drop(name)
            elif step > 1 and size and self.resizes:
                self.freed[name] = self.live.pop(name)
                self.ops.append(Op(Kind.REALLOC, self.name(size), name, size))

    def churn(self, row: list[int]) -> None:
        """Again and again a block goes, and one of its size, or a step less, takes its place."""
        most = [self.live.get(name, 0) for name in row]
        for _ in range(self.draw(_CHURNS)):
            turn = self.draw(st.integers(0, 2 * len(row) - 1))
            place = turn // 2
            self.drop(row[place])
            row[place] = self.put(max(0, most[place] - STEP * (turn % 2)))

    def name(self, size: int) -> int:
        """A new name, of a block of `size` bytes if the request can be granted."""
        self.names += 1
        if size <= GRANTABLE:
            self.live[self.names - 1] = size
        return self.names - 1

    def size(self) -> int:
        """Mostly sizes that can be granted."""
        if self.draw(_ONE_IN_20) == 19:
            return self.draw(HUGE)
        recent = list(self.freed.values())[-_RECENT:]
        choice = self.draw(_CHOICES)
        if not recent or choice < len(_FRESH):
            fresh = _FRESH[choice % len(_FRESH)]
            return self.draw(self.edges if fresh is _EDGED else fresh)
        one = recent[self.draw(_PICKS) % len(recent)]
        if choice < len(_FRESH) + 2:
            return _at_least_0(one, self.draw(_NEAR))
        return one + recent[self.draw(_PICKS) % len(recent)] + 16

    def block(self, names: dict[int, int]) -> int | None:
        """One of `names`, None if there are none."""
        return sorted(names)[self.draw(st.integers(0, len(names) - 1))] if names else None

    def malloc(self, kind: Kind) -> Op:
        """An allocation by size."""
        size = self.size()
        return Op(kind, self.name(size), size)

    def calloc(self, kind: Kind) -> Op:
        """An allocation by count and size."""
        pair = (self.draw(COUNTS), self.size())
        if self.draw(st.integers(0, 9)) == 9:
            pair = self.draw(PRODUCTS)
        return Op(kind, self.name(pair[0] * pair[1]), *pair)

    def aligned(self, kind: Kind) -> Op:
        """An allocation by alignment and size; now and then they are equal."""
        alignment = self.draw(ALIGNMENTS)
        if self.contract.invalid_alignment and self.draw(st.integers(0, 9)) == 9:
            alignment = self.draw(ODD_ALIGNMENTS)
        elif self.draw(st.integers(0, 9)) == 9:
            alignment = self.draw(FAR_ALIGNMENTS)
        size = alignment if self.draw(st.integers(0, 4)) == 4 else self.size()
        return Op(kind, self.name(alignment + size), alignment, size)

    def realloc(self, kind: Kind) -> Op | None:
        """A change of size, of NULL now and then."""
        block = self.block(self.live)
        if self.contract.realloc_null and self.draw(st.integers(0, 9)) == 9:
            block = NIL
        if block is None:
            return None
        size = self.draw(HUGE) if self.draw(st.integers(0, 7)) == 7 else self.size()
        if size <= GRANTABLE and block in self.live:
            self.freed[block] = self.live.pop(block)
        return Op(kind, self.name(size), block, size)

    def free(self, kind: Kind) -> Op | None:
        """A free, of NULL now and then."""
        if self.contract.free_null and self.draw(st.integers(0, 19)) == 19:
            return Op(kind, first=NIL)
        block = self.block(self.live)
        if block is not None:
            self.freed[block] = self.live.pop(block)
        return None if block is None else Op(kind, first=block)

    def free_all(self, kind: Kind) -> Op:
        """Nothing is live behind it."""
        self.freed.update(self.live)
        self.live.clear()
        return Op(kind)

    def on_live(self, kind: Kind) -> Op | None:
        """write, or a free inside a block."""
        block = self.block(self.live)
        return None if block is None else Op(kind, first=block, second=_INSIDE.get(kind, 0))

    def double_free(self, kind: Kind) -> Op | None:
        """A second free of the last block freed."""
        return Op(kind, first=list(self.freed)[-1]) if self.freed else None

    def thread(self, kind: Kind) -> Op:
        """Another thread goes on; two of twelve end one instead."""
        drawn = self.draw(_NUMBERS[kind])
        return Op(Kind.END_THREAD if drawn >= 10 else kind, first=drawn % 3)

    def realloc_freed(self, kind: Kind) -> Op | None:
        """Another size for the last block freed."""
        if not self.freed:
            return None
        return Op(kind, first=list(self.freed)[-1], second=max(1, self.size()))

    def number(self, kind: Kind) -> Op:
        """An operation that takes nothing but a number."""
        return Op(kind, first=self.draw(_NUMBERS[kind]))


_ROW = None  # drawn like a kind
_INSIDE = {Kind.INTERIOR_FREE: 8}
_NUMBERS = {Kind.DENY: DENIALS, Kind.FOREIGN: MOVES, Kind.THREAD: st.integers(0, 11)}
_WRITERS: dict[Kind, Callable[[Writer, Kind], Op | None]] = {
    Kind.MALLOC: Writer.malloc,
    Kind.CALLOC: Writer.calloc,
    Kind.REALLOC: Writer.realloc,
    Kind.ALIGNED_ALLOC: Writer.aligned,
    Kind.MEMALIGN: Writer.aligned,
    Kind.POSIX_MEMALIGN: Writer.aligned,
    Kind.FREE: Writer.free,
    Kind.WRITE: Writer.on_live,
    Kind.DENY: Writer.number,
    Kind.FOREIGN: Writer.number,
    Kind.DOUBLE_FREE: Writer.double_free,
    Kind.INTERIOR_FREE: Writer.on_live,
    Kind.REALLOC_FREED: Writer.realloc_freed,
    Kind.FREE_ALL: Writer.free_all,
    Kind.THREAD: Writer.thread,
}
