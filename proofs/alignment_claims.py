"""mem_alloc_aligned for all 2**64 sizes and alignments and any block that take may hand it.

take, occupy and release are replaced by what they promise: this is about the arithmetic between
them, not about the heap.
"""

from __future__ import annotations

from collections.abc import Sequence

import z3

from proofs.claims import Claim, Ledger
from proofs.engine import Engine, Hook, Outcome
from proofs.host import EINVAL
from proofs.ir import Module
from proofs.memory import Word
from proofs.path import Path
from proofs.scenery import (
    ADDRESSES_BELOW,
    HEAP,
    PTRDIFF_MAX,
    Step,
    empty_world,
    make_free_engine,
    noted,
    told,
)
from proofs.size_claims import ANY_ARGUMENTS, ANY_BLOCK_FROM, GRAIN, OVERHEAD, SMALLEST
from proofs.study import REFUSAL, Study, owe_refusal, settle_all
from proofs.terms import WORD, number

TAG = 8
ALIGNED = Claim(
    "size.alignment",
    "alignment",
    "mem_alloc_aligned refuses what is no power of two or absurd, and cuts its block right",
    (
        *REFUSAL,
        "an invalid alignment is not refused with EINVAL",
        "a small alignment is not an ordinary request",
        "an absurd alignment or size takes a block",
        "the block taken may be too small",
        "the address is not aligned",
        "the room below is neither empty nor a block",
        "the used block is too small for the request",
        "the parts do not make up the block taken",
    ),
)
(INVALID, SMALL, ABSURD, TOO_SMALL, MISALIGNED, ROOM, SHORT, PARTS) = ALIGNED.conclusions[3:]
FAMILY = ALIGNED.family


def _any_block(ledger: Ledger) -> Hook:
    """take: NULL, or any block of at least the size asked for; its tag stands in memory."""

    def take(_engine: Engine, path: Path, arguments: Sequence) -> list[Outcome]:
        noted(path, "take", arguments)
        granted = path.fork()
        lower = z3.Concat(z3.BitVec("lower", WORD - 4), number(TAG, 4))
        have = z3.Concat(z3.BitVec("have", WORD - 4), number(0, 4))
        promised = (
            z3.UGE(have, arguments[1]),
            z3.ULT(have, ADDRESSES_BELOW),
            z3.UGE(lower, ANY_BLOCK_FROM),
            z3.ULT(lower, ADDRESSES_BELOW),
        )
        outcomes: list[Outcome] = [(path, number(0))]
        if ledger.reasoning.assume(granted, z3.And(promised)):
            granted.memory = granted.memory.after(Word(lower, have))
            noted(granted, "taken", (lower, have))
            outcomes.append((granted, lower))
        return outcomes

    return take


def _recorded(name: str, *results: z3.BitVecRef | None) -> Hook:
    """A function replaced by a record of its call; it may return any of `results`."""

    def hook(_engine: Engine, path: Path, arguments: Sequence) -> list[Outcome]:
        noted(path, name, arguments)
        return [
            (path if index == 0 else path.fork(), result) for index, result in enumerate(results)
        ]

    return hook


def _study_aligned(module: Module, ledger: Ledger) -> Engine:
    hooks = {
        "take": _any_block(ledger),
        "occupy": _recorded("occupy", None),
        "release": _recorded("release", None),
        "mem_alloc": _recorded("mem_alloc", z3.BitVec("ordinary", WORD)),
    }
    engine = make_free_engine(module, ledger.reasoning, **hooks)
    alignment, size = z3.BitVecs("alignment size", WORD)
    path = empty_world(engine, ledger.reasoning)
    ledger.premise(told(path, Step("aligned_alloc", (alignment, size), made=0)))
    outcomes = []
    for returned, result in engine.call(path, "mem_alloc_aligned", [number(HEAP), alignment, size]):
        power = z3.And(alignment != 0, alignment & (alignment - 1) == 0)
        for valid, outcome in ledger.reasoning.split(returned, power):
            if valid:
                _owe_valid(engine, ledger, outcome, result, alignment, size)
            else:
                owe_refusal(engine, outcome, FAMILY, result, EINVAL)
                outcome.owe(FAMILY, INVALID, not outcome.scene.calls)
            outcomes.append((outcome, result))
    settle_all(engine, ledger, outcomes)
    return engine


def _owe_valid(engine: Engine, ledger: Ledger, path: Path, result, alignment, size) -> None:
    calls = path.scene.called
    if ledger.reasoning.certain(path, z3.ULE(alignment, GRAIN)):
        ((_, requested),) = calls("mem_alloc") or [(None, size + 1)]
        ordinary = len(path.scene.calls) == 1
        same = result == z3.BitVec("ordinary", WORD)
        path.owe(FAMILY, SMALL, z3.And(ordinary, requested == size, same))
        return
    if calls("take"):
        sane = z3.And(z3.ULE(size, PTRDIFF_MAX), z3.ULE(alignment, PTRDIFF_MAX // 2))
        path.owe(FAMILY, ABSURD, sane)
        asked = z3.ZeroExt(2, calls("take")[0][1])
        path.owe(FAMILY, TOO_SMALL, z3.UGE(asked, _widest_need(alignment, size)))
    if calls("taken"):
        _owe_cut(path, result, alignment, size)
    else:
        owe_refusal(engine, path, FAMILY, result)


def _widest_need(alignment, size):
    """What the worst placed block needs, in 66 bits: the room below, the payload, the tags."""
    wide = [z3.ZeroExt(2, term) for term in (alignment, size)]
    return wide[0] + wide[1] + number(OVERHEAD + GRAIN, WORD + 2)


def _owe_cut(path: Path, result, alignment, size) -> None:
    """The block taken is cut into room below, the used block, and what occupy frees above."""
    lower, have = path.scene.called("taken")[0]
    _, block, rest, need = path.scene.called("occupy")[0]
    room = block - lower
    path.owe(FAMILY, MISALIGNED, result & (alignment - 1) == 0)
    path.owe(FAMILY, ROOM, z3.Or(room == 0, z3.UGE(room, SMALLEST)))
    path.owe(FAMILY, SHORT, z3.And(z3.UGE(need, size + OVERHEAD), z3.UGE(rest, need)))
    path.owe(
        FAMILY,
        PARTS,
        z3.And(
            result == block + TAG,
            rest == have - room,
            z3.ULE(room, have),
            room & number(GRAIN - 1) == 0,
        ),
    )
    freed = path.scene.called("release")
    path.owe(
        FAMILY,
        PARTS,
        room == 0 if not freed else z3.And(freed[0][1] == lower, freed[0][2] == room, room != 0),
    )


STUDIES = (
    Study(
        "size.alignment",
        (ALIGNED,),
        (
            ANY_ARGUMENTS,
            "take returns NULL or any free block of the size asked for, "
            f"below {ADDRESSES_BELOW:#x}",
        ),
        ("mem_alloc_aligned", "block_size", "round_up", "payload_of"),
        _study_aligned,
    ),
)
