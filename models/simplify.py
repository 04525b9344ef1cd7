"""What is simpler than an operation or a number, in the order in which the shrinker tries it.

It tries nothing itself: whoever calls it says which candidates still fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from models.trace import ALIGNING, NIL, Kind, Op

_LADDER = (1, 8, 16, 32, 64, 256, 1024, 4096, 16384, 65536, 2**20, 2**24, 2**28)
_HUGE = 2**31 - 4096
_LANDMARKS = (2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1)
_POWERS = tuple(2**exponent for exponent in (31, 32, 33, 40, 48, 56, 62, 63))
_OVERFLOWS = ((2, 2**63), (2**32, 2**32))
_LEAST_ALIGNMENT = 3  # as a power of two: a pointer's size
_LEAST_STORE, _LARGEST_STORE = 12, 30

Accept = Callable[[int], bool]

# The operands that are numbers, with the least value worth trying.
_NUMBERS = {
    Kind.MALLOC: (("first", 1),),
    Kind.CALLOC: (("first", 1), ("second", 1)),
    Kind.REALLOC: (("second", 1),),
    Kind.ALIGNED_ALLOC: (("second", 1),),
    Kind.MEMALIGN: (("second", 1),),
    Kind.POSIX_MEMALIGN: (("second", 1),),
    Kind.DENY: (("first", 1),),
    Kind.FOREIGN: (("first", 1),),
    Kind.INTERIOR_FREE: (("second", 1),),
    Kind.THREAD: (("first", 0),),
    Kind.END_THREAD: (("first", 1),),
    Kind.REALLOC_FREED: (("second", 1),),
}


def plainer_ops(op: Op) -> Iterator[Op]:
    """Operations that make the same name in a plainer way, the plainest first."""
    size = op.size
    if op.kind is Kind.CALLOC and size >= 2**64:
        for pair in _OVERFLOWS:
            if (op.first, op.second) == pair:
                return
            yield replace(op, first=pair[0], second=pair[1])
    elif op.kind is Kind.CALLOC:
        yield Op(Kind.MALLOC, op.name, size)
        if op.first != 1:
            yield replace(op, first=1, second=size)
    elif op.kind is Kind.REALLOC:
        yield Op(Kind.MALLOC, op.name, size)
        if op.first != NIL:
            yield replace(op, first=NIL)
    elif op.kind in ALIGNING:
        yield Op(Kind.MALLOC, op.name, size)
        if op.kind is not Kind.ALIGNED_ALLOC:
            yield replace(op, kind=Kind.ALIGNED_ALLOC)


def lower_numbers(op: Op, accept: Callable[[Op], bool]) -> None:
    """Lowers each number of the operation as far as `accept` takes it."""
    current = op

    def offer(field: str, value: int) -> bool:
        nonlocal current
        candidate = replace(current, **{field: value})
        if accept(candidate):
            current = candidate
            return True
        return False

    if op.kind in ALIGNING:
        lower_alignment(op.first, lambda value: offer("first", value))
    for field, least in _NUMBERS.get(op.kind, ()):
        lower(getattr(op, field), lambda value, field=field: offer(field, value), least)


def lower(value: int, accept: Accept, least: int = 1) -> None:
    """Tries values simpler than `value`: round ones from `least` up, then by bisection."""
    below = least - 1
    for candidate in sorted({least, *_LADDER}):
        if not least <= candidate < value:
            continue
        if accept(candidate):
            value = candidate
            break
        below = candidate
    if value >= _HUGE:
        _lower_huge(value, accept)
        return
    least_accepted(value, accept, below + 1)


def least_accepted(value: int, accept: Accept, low: int = 0) -> None:
    """Looks by bisection for the least number in low..value that is accepted."""
    while low < value:
        middle = (low + value) // 2
        if accept(middle):
            value = middle
        else:
            low = middle + 1


def lower_alignment(value: int, accept: Accept) -> None:
    """The same among powers of two; of the others 3 is the simplest."""
    if value & (value - 1) or not value:
        if value > 3:
            accept(3)
        return
    low, high = _LEAST_ALIGNMENT, value.bit_length() - 1
    while low < high:
        middle = (low + high) // 2
        if accept(1 << middle):
            high = middle
        else:
            low = middle + 1


def rungs(value: int) -> Iterator[int]:
    """The round values below `value`, from the lowest up."""
    return (rung for rung in _LADDER if rung < value)


def resized(op: Op, by: int) -> Op:
    """An allocation other than calloc that asks for `by` bytes more."""
    field = "first" if op.kind is Kind.MALLOC else "second"
    return replace(op, **{field: op.size + by})


def simpler_stores(store: int) -> Iterator[int]:
    """Stores worth trying instead of `store` bytes: the default, then powers of two."""
    if store:
        yield 0
        for exponent in range(_LEAST_STORE, _LARGEST_STORE):
            if 1 << exponent < store:
                yield 1 << exponent


def _lower_huge(value: int, accept: Accept) -> None:
    """A number beyond 31 bits: the nearer to a landmark the simpler, or else a power of two."""
    landmark = min(_LANDMARKS, key=lambda one: abs(one - value))
    distance = value - landmark
    if abs(distance) <= 4096:
        sign = 1 if distance >= 0 else -1
        if distance and not accept(landmark):
            lower(abs(distance), lambda near: accept(landmark + sign * near))
        return
    for candidate in (*_LANDMARKS, *_POWERS):
        if candidate != value and accept(candidate):
            return
