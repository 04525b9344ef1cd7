"""Rules on what is told rather than given: null zero_size errno misuse; recovery by oom, reclaim.

A NULL is an honest answer unless something else in the same trace proves that it was not.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from models.judging.case import CAPPED, ERRNO, NO_PAGES, PAGES, Case, is_null
from models.judging.grants import valid_alignment
from models.observation import Observation
from models.trace import ALIGNING, Kind, Op, number_text

_PLAIN = (Kind.MALLOC, Kind.CALLOC)


@dataclass(slots=True)
class Doubt:
    """A NULL that a successful malloc right behind it proves wrong.

    `size` is the malloc's size that proves it, None where any size but 0 does.
    """

    rule: str
    index: int
    message: str
    size: int | None = None


def doubt_of(case: Case, index: int, op: Op, seen: Observation) -> Doubt | None:
    """The doubt that a NULL raises, if any: nothing hints at a lack of memory."""
    if seen.flags & (NO_PAGES | PAGES):
        return None
    if op.kind is Kind.REALLOC and is_null(op) and op.size:
        message = f"returned NULL, and malloc({op.size}) right behind it succeeded"
        return Doubt("null", index, message, op.size)
    unique = "a block of its own is promised, and there is memory: the malloc behind it succeeded"
    if op.kind is Kind.MALLOC and not op.size and case.contract.malloc_zero == "unique":
        return Doubt("zero_size", index, f"returned NULL; {unique}")
    if _resizes_to_zero(op) and case.contract.realloc_zero == "unique":
        return Doubt("zero_size", index, f"returned NULL; {unique}")
    return None


def settle_doubt(case: Case, doubt: Doubt, op: Op, seen: Observation) -> None:
    """Charges the doubt if this operation, the next one executed, proves it."""
    if op.kind is not Kind.MALLOC or not seen.address or not op.size:
        return
    if seen.flags & NO_PAGES or doubt.size not in (None, op.size):
        return
    case.charge(doubt.index, (doubt.rule, doubt.message))


def judge_zero_answer(case: Case, index: int, op: Op, seen: Observation) -> None:
    """A block given for zero bytes where NULL is promised."""
    contract = case.contract
    if not seen.address:
        return
    given = f"returned {case.place(seen.address)}, where NULL is promised"
    if op.kind is Kind.MALLOC and not op.size and contract.malloc_zero == "null":
        case.charge(index, ("zero_size", f"{given} (malloc_zero = null)"))
    if _resizes_to_zero(op) and contract.realloc_zero in ("free", "keep"):
        case.charge(index, ("zero_size", f"{given} (realloc_zero = {contract.realloc_zero})"))


def judge_failure_errno(case: Case, index: int, op: Op, seen: Observation) -> None:
    """errno, or posix_memalign's result, after a request that failed."""
    posix = op.kind is Kind.POSIX_MEMALIGN
    if op.kind in ALIGNING and not valid_alignment(op):
        if posix and case.contract.invalid_alignment and seen.error != errno.EINVAL:
            told = f"returned {_error_text(seen.error)} for an invalid alignment, not EINVAL"
            case.charge(index, ("errno", told))
        return
    if not case.contract.enomem or not op.size:
        return
    # An alignment that is valid but not supported may be told as EINVAL (C23 7.24.3.1).
    allowed = (errno.ENOMEM, errno.EINVAL) if op.kind in ALIGNING else (errno.ENOMEM,)
    written = posix or seen.flags & ERRNO
    if not written or seen.error not in allowed:
        what = "the result" if posix else "errno"
        told = _error_text(seen.error) if written else "as it was"
        case.charge(index, ("errno", f"failed, and {what} is {told}, not ENOMEM"))


def judge_free_errno(case: Case, index: int, seen: Observation) -> None:
    """errno after free."""
    if case.contract.free_preserves_errno and seen.flags & ERRNO:
        case.charge(index, ("errno", f"free set errno to {_error_text(seen.error)}"))


def judge_misuse(case: Case, index: int, op: Op) -> None:
    """A misuse that came back to the caller."""
    misuse = op.kind.name.lower()
    promised = case.contract.detects.get(misuse)
    if promised:
        case.charge(index, ("misuse", f"returned, where {promised} is promised"))


class Recovery:
    """What a heap that was emptied must be able to give again, where it coalesces."""

    def __init__(self) -> None:
        self.largest = 0
        self.largest_on_empty = 0

    def granted(self, case: Case, op: Op, empty: bool) -> None:
        """Takes note of a request that was granted."""
        if op.kind in _PLAIN:
            self.largest = max(self.largest, op.size)
            if empty:
                self.largest_on_empty = max(self.largest_on_empty, op.size)

    def failed(self, case: Case, index: int, op: Op, seen: Observation) -> None:
        """Judges a request that failed while nothing was live."""
        if not case.contract.coalesces or case.foreign or case.blurred or case.deny:
            return
        if op.kind not in _PLAIN or not op.size or case.heap.live:
            return
        if case.refused and not seen.flags & NO_PAGES and op.size <= self.largest:
            told = f"{number_text(self.largest)} bytes were granted before pages were refused"
            message = f"failed with nothing live and nothing refused any more; {told}"
            case.charge(index, ("oom", message))
        elif not case.denied and op.size <= self.largest_on_empty:
            capped = " (the store is used up)" if seen.flags & CAPPED else ""
            told = f"{number_text(self.largest_on_empty)} bytes were granted before"
            message = f"failed with nothing live{capped}; {told} from an empty heap"
            case.charge(index, ("reclaim", message))


def _resizes_to_zero(op: Op) -> bool:
    return op.kind is Kind.REALLOC and not op.size and not is_null(op)


def _error_text(value: int) -> str:
    return errno.errorcode.get(value, str(value))
