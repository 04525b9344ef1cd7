"""What a run showed from outside: one observation an operation, the damages, and how it ended.

Values only, parsed from the region of allocator/harness/layout.h; nothing here judges.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

VERSION = 4
DAMAGE_CAPACITY = 64
HEADER = struct.Struct("<IIIIQQIIIiQiIIIQQQQQQII24s128s")
OBSERVATION = struct.Struct("<QQQiI")
DAMAGE = struct.Struct("<QIIBBB5x")


class Seen(IntFlag):
    """Flags of an observation; `enum observation_flag` says what each means."""

    SKIPPED = 1
    RETURNED = 2
    REFUSED = 4
    CAPPED = 8
    OUTSIDE = 16
    ERRNO = 32
    PAGES = 64
    UNFILLED = 128
    SAME_START = 256
    LEFT = 512
    BEGUN = 1024


class Outcome(IntEnum):
    """How a run ended."""

    NONE = 0
    FINISHED = 1
    SIGNAL = 2
    ABORT = 3
    HANG = 4
    EXIT = 5
    INIT = 6


class DamageKind(IntEnum):
    """What was found damaged."""

    CONTENT = 1
    ZEROED = 2
    PREFIX = 3
    SURVIVAL = 4
    OUTSIDE = 5
    INVARIANT = 6


class Stage(IntEnum):
    """What the executor was about to do when a run was cut short."""

    RESTORE = 0
    INIT = 1
    CALL = 2
    TOUCH = 3
    END = 4


@dataclass(frozen=True, slots=True)
class Observation:
    """What one operation showed; addresses are absolute, sizes in bytes."""

    address: int = 0
    usable: int = 0
    granted: int = 0
    error: int = 0
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are not what they must be; `op` is the operation that met them."""

    offset: int
    op: int
    name: int
    kind: DamageKind
    expected: int = 0
    seen: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """A whole run: `done` operations finished; when cut short, observations[done] was under way.

    `assertion` is what the subject's own assert had to say, "file:line: text".
    `layout` is what the subject's walk showed at the end, (address, size, used) from the lowest
    block up; None where nobody walked.  `race` is what ThreadSanitizer told, in a sentence.
    """

    observations: tuple[Observation, ...]
    damages: tuple[Damage, ...] = ()
    outcome: Outcome = Outcome.FINISHED
    done: int = 0
    stage: Stage = Stage.END
    signal: int = 0
    fault: int = 0
    exit_status: int = 0
    suspicious: bool = False
    memory_known: bool = True
    store_base: int = 0
    maps_base: int = 0
    arena_base: int = 0
    arena_size: int = 0
    invariant: str = ""
    assertion: str = ""
    race: str = ""
    layout: tuple[tuple[int, int, int], ...] | None = field(default=None, compare=False)

    @property
    def base(self) -> int:
        """The address that offsets are told from: the arena's, else the store's, else 0."""
        return self.arena_base or self.store_base
