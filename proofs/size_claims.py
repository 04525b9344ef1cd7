"""The arithmetic on sizes, for all 2**64 values of every argument: no bound, any heap.

Each study runs one function of explicit_list; those that walk the heap are replaced by what they
promise.  It says nothing of the heap itself: program_claims.py does.
"""

from __future__ import annotations

from collections.abc import Sequence

import z3

from proofs.claims import Claim, Ledger
from proofs.engine import Engine, Outcome
from proofs.ir import Module
from proofs.memory import Fill, Word
from proofs.path import Path
from proofs.scenery import (
    ADDRESSES_BELOW,
    HEAP,
    PTRDIFF_MAX,
    Step,
    empty_world,
    lasting_writes,
    make_free_engine,
    noted,
    told,
)
from proofs.study import REFUSAL, Study, owe_refusal, settle_all
from proofs.terms import WORD, number, simplify

OVERHEAD, GRAIN, SMALLEST = 16, 16, 32
ANY_BLOCK_FROM = 0x100_0000

BLOCK_SIZE = Claim(
    "size.block_size",
    "refusal",
    "a block is a multiple of 16, at least 32, and holds request + 16 without waste or wrap",
    (
        "a block is not a multiple of 16",
        "a block is smaller than 32",
        "a block is smaller than request + 16",
        "a block wastes 16 bytes or more",
    ),
)
LIMIT = Claim(
    "size.limit",
    "refusal",
    "mem_alloc and mem_resize refuse more than PTRDIFF_MAX, and take no block for it",
    (*REFUSAL, "a block is taken too small", "a request over PTRDIFF_MAX takes a block"),
)
PRODUCT = Claim(
    "size.calloc_product",
    "refusal",
    "mem_alloc_clear asks for exactly count * size and clears exactly that, or refuses",
    (
        *REFUSAL,
        "a product that does not overflow is refused",
        "an overflowing product is allocated",
        "another size than count * size is allocated",
        "other bytes than the block's count * size are cleared",
    ),
)


# ---- block_size ----


def _study_block_size(module: Module, ledger: Ledger) -> Engine:
    engine = make_free_engine(module, ledger.reasoning)
    path = empty_world(engine, ledger.reasoning)
    request = z3.BitVec("request", WORD)
    ledger.reasoning.assume(path, z3.ULE(request, PTRDIFF_MAX))
    ledger.premise(told(path, Step("malloc", (request,), made=0)))
    outcomes = engine.call(path, "block_size", [request])
    for outcome, size in outcomes:
        _owe_block_size(outcome, request, size)
    settle_all(engine, ledger, outcomes)
    return engine


def _owe_block_size(path: Path, request, size) -> None:
    multiple, smallest, holds, tight = BLOCK_SIZE.conclusions
    family = BLOCK_SIZE.family
    path.owe(family, multiple, size & number(GRAIN - 1) == 0)
    path.owe(family, smallest, z3.UGE(size, SMALLEST))
    path.owe(family, holds, z3.UGE(size, request + OVERHEAD))
    path.owe(family, tight, z3.Or(size == SMALLEST, z3.ULT(size - OVERHEAD - request, GRAIN)))


# ---- PTRDIFF_MAX ----


def _study_limit(module: Module, ledger: Ledger) -> Engine:
    def take(_engine: Engine, path: Path, arguments: Sequence) -> list[Outcome]:
        noted(path, "take", arguments)
        return [(path, number(0))]

    engine = make_free_engine(module, ledger.reasoning, take=take)
    request = z3.BitVec("request", WORD)
    path = told(empty_world(engine, ledger.reasoning), Step("malloc", (request,), made=0))
    _request_any_size(engine, ledger, path, "mem_alloc", [number(HEAP), request])
    path = empty_world(engine, ledger.reasoning)
    payload = _used_block(ledger, told(path, Step("malloc", (number(8),), made=0)))
    told(path, Step("realloc", (request,), block=0, made=1))
    _request_any_size(engine, ledger, path, "mem_resize", [number(HEAP), payload, request])
    return engine


def _request_any_size(engine: Engine, ledger: Ledger, path: Path, name: str, arguments) -> None:
    family, request = LIMIT.family, arguments[-1]
    ledger.premise(path)
    outcomes = []
    for returned, result in engine.call(path, name, arguments):
        for over, outcome in ledger.reasoning.split(returned, z3.UGT(request, PTRDIFF_MAX)):
            taken = outcome.scene.called("take")
            if over:
                owe_refusal(engine, outcome, family, result)
                outcome.owe(family, LIMIT.conclusions[4], not taken)
            for _, need in taken:
                enough = z3.And(z3.UGE(need, OVERHEAD), z3.UGE(need - OVERHEAD, request))
                outcome.owe(family, LIMIT.conclusions[3], enough)
            outcomes.append((outcome, result))
    settle_all(engine, ledger, outcomes)


def _used_block(ledger: Ledger, path: Path) -> z3.BitVecRef:
    """The payload of a used block of the smallest size, anywhere, between used neighbours."""
    payload = z3.Concat(z3.BitVec("payload", WORD - 4), number(0, 4))
    apart = z3.And(z3.UGE(payload, ANY_BLOCK_FROM), z3.ULT(payload, ADDRESSES_BELOW))
    ledger.reasoning.assume(path, apart)
    for tag in (payload - 8, payload - 8 + SMALLEST):
        path.memory = path.memory.after(Word(simplify(tag), number(SMALLEST | 1)))
    return payload


# ---- count * size ----


def _study_product(module: Module, ledger: Ledger) -> Engine:
    def mem_alloc(_engine: Engine, path: Path, arguments: Sequence) -> list[Outcome]:
        noted(path, "mem_alloc", arguments)
        granted, block = path.fork(), z3.BitVec("block", WORD)
        ledger.reasoning.assume(granted, block != 0)
        return [(path, number(0)), (granted, block)]

    engine = make_free_engine(module, ledger.reasoning, mem_alloc=mem_alloc)
    count, size = z3.BitVecs("count size", WORD)
    path = told(empty_world(engine, ledger.reasoning), Step("calloc", (count, size), made=0))
    ledger.premise(path)
    outcomes = engine.call(path, "mem_alloc_clear", [number(HEAP), count, size])
    for outcome, result in outcomes:
        _owe_product(engine, outcome, result, count, size)
    settle_all(engine, ledger, outcomes)
    return engine


def _owe_product(engine: Engine, path: Path, result, count, size) -> None:
    family, exact = PRODUCT.family, z3.BVMulNoOverflow(count, size, False)
    refused, overflowing, other_size, other_bytes = PRODUCT.conclusions[len(REFUSAL) :]
    asked = path.scene.called("mem_alloc")
    for _, requested in asked:
        path.owe(family, overflowing, exact)
        path.owe(family, other_size, requested == count * size)
    if not asked:
        path.owe(family, refused, z3.Not(exact))
        owe_refusal(engine, path, family, result)
    elif z3.is_bv_value(result):
        path.owe(family, REFUSAL[2], not lasting_writes(path))
    else:
        path.owe(family, other_bytes, _clears(path, result, count * size))


def _clears(path: Path, start, length) -> z3.BoolRef | bool:
    """Whether all the path wrote is zero bytes, `length` of them from `start`."""
    writes = lasting_writes(path)
    if len(writes) != 1 or not isinstance(writes[0], Fill):
        return False
    fill = writes[0]
    return z3.And(fill.address == start, fill.length == length, fill.byte == 0)


ANY_ARGUMENTS = f"every {WORD}-bit argument"
STUDIES = (
    Study(
        "size.block_size",
        (BLOCK_SIZE,),
        (f"{ANY_ARGUMENTS} up to PTRDIFF_MAX",),
        ("block_size", "round_up"),
        _study_block_size,
    ),
    Study(
        "size.limit",
        (LIMIT,),
        (ANY_ARGUMENTS, "take returns NULL", "the block resized is used and valid"),
        ("mem_alloc",),
        _study_limit,
    ),
    Study(
        "size.calloc_product",
        (PRODUCT,),
        (ANY_ARGUMENTS, "mem_alloc returns NULL or any address"),
        ("mem_alloc_clear",),
        _study_product,
    ),
)
