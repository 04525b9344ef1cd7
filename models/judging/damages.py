"""Rules on bytes: content zeroed prefix survival bounds, and the white-box rules.

The executor found the damage; here it gets its name.
"""

from __future__ import annotations

from models.judging.case import Case
from models.observation import Damage, DamageKind
from models.rules import RULES, WHITE_BOX
from models.trace import NO_NAME, Kind

_RULES = {
    DamageKind.CONTENT: "content",
    DamageKind.ZEROED: "zeroed",
    DamageKind.PREFIX: "prefix",
    DamageKind.SURVIVAL: "survival",
}
_TOLD = {
    DamageKind.CONTENT: "changed while the block was live",
    DamageKind.ZEROED: "is not zero",
    DamageKind.PREFIX: "did not survive realloc",
    DamageKind.SURVIVAL: "changed in a realloc that failed",
}


def judge_damages(case: Case) -> None:
    """Judges every damage that the executor recorded."""
    spoilt: dict[int, int] = {}
    for damage in case.run.damages:
        if damage.kind is DamageKind.CONTENT:
            spoilt[damage.name] = min(damage.op, spoilt.get(damage.name, damage.op))
    for damage in case.run.damages:
        if damage.kind is DamageKind.INVARIANT:
            _judge_invariant(case, damage)
        elif damage.kind is DamageKind.OUTSIDE:
            _judge_outside(case, damage)
        elif not _explained(case, damage, spoilt):
            _judge_bytes(case, damage)


def _explained(case: Case, damage: Damage, spoilt: dict[int, int]) -> bool:
    """The bytes had been spoilt before realloc was called, and `content` says so."""
    if damage.kind not in (DamageKind.PREFIX, DamageKind.SURVIVAL) or "content" not in case.rules:
        return False
    names = {damage.name}
    if damage.op < len(case.trace.ops) and case.trace.ops[damage.op].kind is Kind.REALLOC:
        names.add(case.trace.ops[damage.op].first)
    return any(spoilt.get(name, damage.op + 1) <= damage.op for name in names)


def _judge_bytes(case: Case, damage: Damage) -> None:
    block = case.heap.granted.get(damage.name)
    whose = case.describe(block) if block else f"p{damage.name}"
    at = f" ({case.place(block.address + damage.offset)})" if block else ""
    message = (
        f"byte {damage.offset}{at} of {whose} {_TOLD[damage.kind]}: "
        f"expected 0x{damage.expected:02x}, seen 0x{damage.seen:02x}"
    )
    case.charge(damage.op, (_RULES[damage.kind], message), blocks=(damage.name,))


def _judge_outside(case: Case, damage: Damage) -> None:
    message = (
        f"the byte at {case.place(damage.offset)}, just outside given memory, was written: "
        f"expected 0x{damage.expected:02x}, seen 0x{damage.seen:02x}"
    )
    blocks = () if damage.name == NO_NAME else (damage.name,)
    case.charge(damage.op, ("bounds", message), blocks=blocks)


def _judge_invariant(case: Case, damage: Damage) -> None:
    conjunct = case.run.invariant
    known = conjunct in RULES and RULES[conjunct].layer == WHITE_BOX
    rule = conjunct if known else "tiling"
    told = RULES[rule].violation if known else "the heap is not valid"
    message = f"the allocator's validity predicate objects: {conjunct or 'unnamed'} ({told})"
    case.charge(damage.op, (rule, message))
