"""Rules on a block that was granted: refusal oom bounds alignment overlap usable zero_size.

A NULL is never judged here.
"""

from __future__ import annotations

from models.contract import PTRDIFF_MAX
from models.heap import Block
from models.judging.case import NO_PAGES, OUTSIDE, Case, overflows
from models.observation import Observation
from models.trace import ALIGNING, Kind, Op, number_text

ADDRESS_SPACE = 2**56
ABSURD = 2**47
POINTER = 8


def judge_grant(case: Case, index: int, op: Op, seen: Observation) -> Block:
    """Judges a granted block and makes it live; `seen.address` is not 0."""
    block = _block(case, index, op, seen)
    if block.size:
        _judge_place(case, index, op, seen, block)
        _judge_alignment(case, index, op, block)
        _judge_usable(case, index, op, block)
    _judge_overlap(case, index, block)
    case.heap.grant(block)
    return block


def place_charges(
    case: Case, op: Op, seen: Observation, block: Block, trouble: str
) -> list[tuple[str, str]]:
    """What a block that is not wholly in memory may be called, the most telling name first."""
    charges = []
    told = f"{case.describe(block)} {trouble}"
    if block.span > block.size:
        told = f"{told} (with its usable size, {block.span} bytes)"
    if seen.flags & NO_PAGES:
        charges.append(("oom", f"{told}, and pages were refused during the request"))
    reason = _why_impossible(case, op, block) or _why_too_large(case, seen, block)
    if reason:
        charges.append(
            ("refusal", f"granted p{block.name} at {case.place(block.address)}: {reason}")
        )
    charges.append(("bounds", told))
    return charges


def valid_alignment(op: Op) -> bool:
    """A power of two, and for posix_memalign a multiple of a pointer's size."""
    power = op.alignment > 0 and not op.alignment & (op.alignment - 1)
    return power and (op.kind is not Kind.POSIX_MEMALIGN or op.alignment % POINTER == 0)


def _block(case: Case, index: int, op: Op, seen: Observation) -> Block:
    contract = case.contract
    size = 0 if overflows(op) else op.size
    span = size
    if contract.usable_writable and size:
        span = max(size, seen.usable)
    elif op.size == 0 and contract.malloc_zero == "unique":
        span = 1
    return Block(op.name, seen.address, op.size, seen.usable, span, op.kind, index)


def _judge_place(case: Case, index: int, op: Op, seen: Observation, block: Block) -> None:
    if seen.flags & OUTSIDE:
        trouble = "is not wholly inside the memory given to the allocator"
        charges = place_charges(case, op, seen, block, trouble)
        case.charge(index, *charges, blocks=(block.name,))
        return
    reason = _why_impossible(case, op, block)
    if reason:
        case.charge(index, ("refusal", _granted(case, block, reason)), blocks=(block.name,))


def _granted(case: Case, block: Block, reason: str) -> str:
    return f"granted p{block.name} at {case.place(block.address)}: {reason}"


def _why_impossible(case: Case, op: Op, block: Block) -> str:
    """Why no allocator under this contract may grant the request, or ""."""
    contract, size = case.contract, block.size
    if overflows(op):
        return f"{number_text(op.first)} x {number_text(op.second)} bytes overflow size_t"
    if contract.max_size is not None and size > contract.max_size:
        return f"{number_text(size)} bytes exceed max_size = {contract.max_size}"
    if contract.refuses_over_ptrdiff and size > PTRDIFF_MAX:
        return f"{number_text(size)} bytes exceed PTRDIFF_MAX"
    if size >= ABSURD and block.address + size > ADDRESS_SPACE:
        return f"no address space holds {number_text(size)} bytes there"
    return ""


def _why_too_large(case: Case, seen: Observation, block: Block) -> str:
    """Whether a block that runs out of memory is larger than all the memory there is."""
    held = seen.granted + case.run.arena_size
    if case.run.memory_known and 0 < held < block.size:
        return f"{number_text(block.size)} bytes, where the allocator holds {held} in all"
    return ""


def _judge_alignment(case: Case, index: int, op: Op, block: Block) -> None:
    contract = case.contract
    wanted = contract.promised_alignment(block.size)
    if op.kind in ALIGNING:
        if not valid_alignment(op):
            if contract.invalid_alignment:
                message = f"granted p{block.name} at an invalid alignment, {op.alignment}"
                case.charge(index, ("alignment", message), blocks=(block.name,))
            return
        # C23 7.24.3 speaks of aligned_alloc too; the other two promise only their argument.
        asked = op.alignment
        wanted = max(wanted, asked) if op.kind is Kind.ALIGNED_ALLOC else asked
    if block.address % wanted:
        message = (
            f"{case.describe(block)} is at {block.address % wanted} modulo {wanted}; "
            f"a multiple of {wanted} is promised"
        )
        case.charge(index, ("alignment", message), blocks=(block.name,))


def _judge_usable(case: Case, index: int, op: Op, block: Block) -> None:
    # 0 stands for "not asked", and a request that overflows is a matter of refusal.
    if 0 < block.usable < block.size and not overflows(op):
        message = f"usable_size(p{block.name}) is {block.usable}, {block.size} were requested"
        case.charge(index, ("usable", message), blocks=(block.name,))


def _judge_overlap(case: Case, index: int, block: Block) -> None:
    other = case.heap.sharing(block.address, block.span)
    if other is None:
        return
    blocks = (block.name, other.name)
    if not block.size or not other.size:
        message = (
            f"{case.describe(block)} is not apart from live {case.describe(other)}; "
            "a block of 0 bytes is promised to be one of its own"
        )
        case.charge(index, ("zero_size", message), blocks=blocks)
        return
    shared = min(block.end, other.end) - max(block.address, other.address)
    extent = " of their usable sizes" if case.contract.usable_writable else ""
    told = f"{case.describe(block)} shares {shared} bytes{extent} with live {case.describe(other)}"
    charges = [("overlap", told)]
    if other.name in case.heap.kept:
        kept = f"{told}: its realloc failed, so it must be live still"
        charges.insert(0, ("survival", kept))
    case.charge(index, *charges, blocks=blocks)
