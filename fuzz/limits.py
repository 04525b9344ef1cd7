"""What a subject has and its contract allows, as the byte decoder reads it.

Mirrors `struct decode_limits` of decoder.h; it decodes nothing and runs nothing but one probe.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntFlag
from itertools import pairwise

from allocator.region import DEFAULT_STORE
from allocator.subject import Subject
from models.contract import PTRDIFF_MAX
from models.observation import Run
from models.trace import MISUSES, Kind, Op, Trace

_RECORD = struct.Struct("<IIQII16Q16Q32b8Q32Q8B24B")
EDGE_CAPACITY = 16
# Where allocators change their ways with large blocks: map them, open a region, double the heap.
# The decoder takes LARGE[0] and [8] most often, [7] and [15] least.
LARGE = tuple(
    kib << 10 for kib in (32, 16, 64, 20, 128, 40, 256, 1024, 32, 48, 64, 24, 96, 192, 512, 768)
)
# Distances from an edge, a threshold, a freed block: allocators round to 8 or 16 and add a tag or
# two; a region has a head of its own, so the second half, for LARGE alone, is further away.
NEAR = (0, 0, 0, 1, -1, 8, -8, 16, -16, 7, -7, 15, -15, 24, -24, 32)
FAR = (-32, 40, -40, 48, -48, 64, -64, -31, -33, -47, -49, 17, -17, -25, -79, -80)
SIZE_MAX = 2**64 - 1
# Sizes that a header, a rounding or a cast turns into small ones, a little further down or up.
HUGE = (SIZE_MAX, SIZE_MAX, PTRDIFF_MAX, PTRDIFF_MAX + 1, 2**62, 2**32, 2**32 - 1, 2**31 - 1)
# Count and size whose product is at or just over a multiple of 2**64 or 2**32, just below, or none.
PAIRS = (
    (2**32, 2**32), (2**63, 2), (2**61, 8), (2**60, 16), (2**52, 4096), (2**62, 2),
    (2**64 // 3 + 1, 3), (2**64 // 24 + 1, 24), (2**64 // 40 + 1, 40), (2**31, 2), (2**29, 8),
    (2**16, 2**16), (2**32 + 1, 2**32 - 1), (SIZE_MAX, SIZE_MAX), (PTRDIFF_MAX, 2), (SIZE_MAX, 0),
)  # fmt: skip
COUNTS = (1, 2, 3, 4, 7, 8, 16, 0)  # of a calloc; 0: as many as there are bytes, or none
# Alignments are powers of two: these a heap can grant, those behind them it hardly can.
EXPONENTS = (3, 4, 5, 6, 7, 8, 12, 0, 4, 5, 6, 9, 10, 11, 13, 2)
FAR_EXPONENTS = (14, 16, 20, 31, 32, 47, 62, 63)
PROFILE_BYTES, OPERATION_BYTES = 8, 4
_PROBED = 1024

FUNCTIONS = {
    Kind.MALLOC: "malloc",
    Kind.CALLOC: "calloc",
    Kind.REALLOC: "realloc",
    Kind.ALIGNED_ALLOC: "aligned_alloc",
    Kind.MEMALIGN: "memalign",
    Kind.POSIX_MEMALIGN: "posix_memalign",
    Kind.FREE: "free",
    Kind.FREE_ALL: "free",
}


class Switch(IntFlag):
    """What else may appear in a program; `enum decode_switch` says what each means."""

    FREE_NULL = 1
    REALLOC_NULL = 2
    REALLOC_ZERO = 4
    INVALID_ALIGNMENT = 8
    DENSE = 16
    RARE = 32


@dataclass(frozen=True)
class Limits:
    """The programs that a subject may be given; sizes in bytes."""

    kinds: frozenset[Kind]
    switches: Switch
    heap_bytes: int = 0
    edges: tuple[int, ...] = ()

    def any(self) -> Limits:
        """These: programs of whatever kind their profile says."""
        return self

    def dense(self) -> Limits:
        """The same, with nothing but dense programs."""
        return replace(self, switches=self.switches | Switch.DENSE)

    def rare(self) -> Limits:
        """The same, with nothing but programs that meet refused pages and large blocks."""
        return replace(self, switches=self.switches | Switch.RARE)

    def pack(self) -> bytes:
        """The record of decoder.h."""
        kinds = sum(1 << kind for kind in self.kinds)
        edges = self.edges[:EDGE_CAPACITY]
        padded = (*edges, *[0] * (EDGE_CAPACITY - len(edges)))
        head = (kinds, self.switches, self.heap_bytes, len(edges), 0)
        factors = (factor for pair in PAIRS for factor in pair)
        tail = (*HUGE, *factors, *COUNTS, *EXPONENTS, *FAR_EXPONENTS)
        return _RECORD.pack(*head, *padded, *LARGE, *NEAR, *FAR, *tail)


def limits_of(subject: Subject, edges: Sequence[int] = ()) -> Limits:
    """The limits that a subject's functions and contract draw."""
    contract = subject.contract
    kinds = {kind for kind, name in FUNCTIONS.items() if name in subject.has}
    kinds |= {Kind.MALLOC, Kind.WRITE, Kind.DENY}
    kinds |= {Kind.FOREIGN} if contract.foreign else set()
    kinds |= {Kind.THREAD, Kind.END_THREAD} if contract.threads else set()
    if "free" in subject.has:
        kinds |= {kind for kind in MISUSES if kind.name.lower() in contract.detects}
    if "realloc" not in subject.has:
        kinds -= {Kind.REALLOC_FREED}
    chosen = {
        Switch.FREE_NULL: contract.free_null,
        Switch.REALLOC_NULL: contract.realloc_null,
        Switch.REALLOC_ZERO: contract.realloc_zero != "never",
        Switch.INVALID_ALIGNMENT: contract.invalid_alignment,
    }
    switches = Switch(0)
    for switch, on in chosen.items():
        switches |= switch if on else Switch(0)
    heap = contract.arena or (DEFAULT_STORE if subject.prebuilt is None else 0)
    return Limits(frozenset(kinds), switches, heap, tuple(edges))


def program_bytes(operations: int) -> int:
    """The length of a program of so many operations."""
    return PROFILE_BYTES + operations * OPERATION_BYTES


def probe_edges(run: Callable[[Trace], Run], subject: Subject) -> tuple[int, ...]:
    """The largest request of each size class, learned from usable_size; () where unknown.

    One malloc and free for every size up to 1024 bytes.  Usable sizes that go up in steps of the
    alignment are no classes; the widest steps are kept, up to EDGE_CAPACITY.
    """
    if not {"usable_size", "free"} <= subject.has:
        return ()
    pairs = ((Op(Kind.MALLOC, size, size), Op(Kind.FREE, first=size)) for size in range(_PROBED))
    observations = run(Trace(tuple(op for pair in pairs for op in pair))).observations
    usable = sorted({seen.usable for seen in observations[::2] if seen.address and seen.usable})
    steps = {high: high - low for low, high in pairwise(usable)}
    widest = sorted(steps, key=lambda edge: (-steps[edge], edge))[:EDGE_CAPACITY]
    return tuple(sorted(widest))
