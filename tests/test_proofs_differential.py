"""The engine of proofs/ against the machine: what it computes is what the compiled library does.

Trust in a proof is trust in the engine; this is where it is earned.
"""

from __future__ import annotations

import operator
import os
import random
from collections.abc import Callable

import pytest
import z3

from allocator import catalogue
from allocator.executor import open_executor
from models.observation import Run, Seen
from models.trace import NO_NAME, Kind, Op, Trace
from proofs import constants
from proofs.engine import Engine, LoopLimit
from proofs.follow import FUNCTIONS, Broken, Follower
from proofs.host import ARENA
from proofs.integers import NoIntegerForm, Translation
from proofs.logic import compare
from proofs.memory import Memory, Word
from proofs.path import Path, Reasoning
from proofs.read_ir import read_ir
from proofs.solver import Solver
from proofs.subject_ir import FLAGS
from proofs.subjects import subject_of
from proofs.terms import as_sum, constant_of, number, simplify, value_range

STORE, MAPPED_STORE = 1 << 18, 1 << 26  # mapped regions are never used again by the executor
MAPS = frozenset(
    ("best_fit", "bump", "bump+marks", "first_fit+mmap", "mmap_heap", "mmap_heap+initialised")
)
PAGE = 4096
LENGTH = 90
# The nightly follows 10,000 operations, of all subjects together.
PROGRAMS = 8 if os.environ.get("ALLOCHECK_PROFILE") == "nightly" else 2
SIZES = (0, 1, 15, 16, 17, 31, 100, 1000, 4064, 4096, 9000, 2**20, 2**63 - 1, 2**63, 2**64 - 1)


def random_program(seed: int) -> tuple[Op, ...]:
    rng = random.Random(seed)
    ops: list[Op] = []
    live: list[int] = []
    for name in range(LENGTH):
        size = rng.choice(SIZES) if rng.random() < 0.4 else rng.randrange(600)
        kind = rng.choice(list(FUNCTIONS))
        if kind in (Kind.FREE, Kind.REALLOC):
            if not live:
                continue
            old = live.pop(rng.randrange(len(live)))
            ops.append(Op(kind, NO_NAME, old) if kind is Kind.FREE else Op(kind, name, old, size))
        elif kind is Kind.MALLOC:
            ops.append(Op(kind, name, size))
        else:
            first = rng.choice((1, 3, 8, 16, 32, 64, 256, 4096, 0, 2**62))
            ops.append(Op(kind, name, first, size))
        if kind is not Kind.FREE:
            live.append(name)
    return tuple(ops)


def shift(address: int, observed: int, run: Run, follower: Follower, regions) -> int:
    """How far from the executor's block the library must have its own.

    Below the break and in an arena that is fixed; a mapped region may lie at any page, but all of
    its blocks lie in it as they do here.
    """
    if address < follower.host.base:
        return run.arena_base - ARENA
    if address < follower.host.maps:
        return run.store_base - follower.host.base
    starts = [constant_of(start) for start, _ in follower.path.scene.pages.maps]
    start = max(each for each in starts if each <= address)
    pages = (observed - address) // PAGE * PAGE
    return regions.setdefault(start, pages)


def told_apart(subject: str, seed: int, executor) -> str:
    """The first operation of a program of which executor and library tell different things."""
    program, store = random_program(seed), MAPPED_STORE if subject in MAPS else STORE
    run = executor.run(Trace(program, store=store))
    follower = Follower(subject_of(subject), store)
    regions: dict[int, int] = {}
    for op, observed in zip(program, run.observations, strict=True):
        expected = follower.step(op).address
        if observed.flags & Seen.SKIPPED or op.kind is Kind.FREE:
            continue
        if expected and observed.address:
            expected += shift(expected, observed.address, run, follower, regions)
        if expected != observed.address:
            return f"{op}: {observed.address:#x}, not {expected:#x}"
    return ""


@pytest.mark.parametrize("subject", catalogue.gallery())
def test_executor_and_library_give_the_same_addresses(subject):
    with open_executor(catalogue.resolve(subject)) as executor:
        for seed in range(PROGRAMS):
            assert not told_apart(subject, seed, executor), f"seed {seed}"


@pytest.mark.parametrize("subject", catalogue.gallery())
def test_every_kind_of_ir_gives_the_same_addresses(subject):
    followers = [Follower(subject_of(subject), STORE, kind) for kind in FLAGS]
    for op in random_program(0)[:30]:
        assert len({follower.step(op).address for follower in followers}) == 1, str(op)


@pytest.mark.parametrize(
    ("where", "opcode", "wrong"),
    [
        (constants._ARITHMETIC, "sub", lambda a, b, _width: a - b + (b > 4000)),
        (constants._ARITHMETIC, "and", lambda a, b, _width: a & b | 16),
    ],
)
def test_a_wrong_meaning_gives_another_address(where, opcode, wrong, monkeypatch):
    monkeypatch.setitem(where, opcode, wrong)
    with open_executor(catalogue.resolve("explicit_list")) as executor:
        found = False
        for seed in range(5):
            try:
                found = found or bool(told_apart("explicit_list", seed, executor))
            except (Broken, LoopLimit):
                found = True
    assert found


# ---- instructions ----

WIDTHS = (8, 16, 32, 64)


def _signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> (width - 1) else value


def _divided(first: int, second: int) -> int:
    """Signed division as C does it: towards zero."""
    return abs(first) // abs(second) * (1 if (first < 0) == (second < 0) else -1)


BINARY: dict[str, Callable[[int, int, int], int]] = {
    "add": lambda a, b, w: a + b,
    "sub": lambda a, b, w: a - b,
    "mul": lambda a, b, w: a * b,
    "and": lambda a, b, w: a & b,
    "or": lambda a, b, w: a | b,
    "xor": lambda a, b, w: a ^ b,
    "shl": lambda a, b, w: a << (b % w),
    "lshr": lambda a, b, w: a >> (b % w),
    "ashr": lambda a, b, w: _signed(a, w) >> (b % w),
    "udiv": lambda a, b, w: a // (b or 1),
    "urem": lambda a, b, w: a % (b or 1),
    "sdiv": lambda a, b, w: _divided(_signed(a, w), _signed(b or 1, w)),
    "srem": lambda a, b, w: (
        _signed(a, w) - _signed(b or 1, w) * _divided(_signed(a, w), _signed(b or 1, w))
    ),
}
COMPARISONS = {
    "eq": operator.eq, "ne": operator.ne,
    "ult": operator.lt, "ule": operator.le, "ugt": operator.gt, "uge": operator.ge,
    "slt": operator.lt, "sle": operator.le, "sgt": operator.gt, "sge": operator.ge,
}  # fmt: skip


def interesting(rng: random.Random, width: int) -> int:
    edge = rng.choice((0, 1, 2, 1 << (width - 1), (1 << width) - 1, 15, 16, 0xF0))
    return (edge if rng.random() < 0.5 else rng.getrandbits(width)) % (1 << width)


def executed(text: str, arguments: list[int], widths: list[int]):
    """What a one-function module computes, of constants and of variables that have those values."""
    reasoning = Reasoning(Solver())
    engine = Engine(read_ir(text), reasoning, lambda *_: True)
    operands = [number(value, width) for value, width in zip(arguments, widths, strict=True)]
    ((_, result),) = engine.call(Path(Memory()), "f", operands)
    variables = [z3.BitVec(f"v{index}", width) for index, width in enumerate(widths)]
    same = tuple(variable == value for variable, value in zip(variables, operands, strict=True))
    ((path, term),) = engine.call(Path(Memory(), conditions=same), "f", variables)
    assert reasoning.model(path).value(term) == constant_of(simplify(result))
    return constant_of(result)


@pytest.mark.parametrize("verb", ["add", "sub", "mul"])
@pytest.mark.parametrize("sign", ["s", "u"])
def test_arithmetic_that_tells_of_overflow(verb, sign):
    rng = random.Random(verb)
    text = (
        "define i32 @f(i16 %a, i16 %b) {\n"
        f"  %p = call {{ i16, i1 }} @llvm.{sign}{verb}.with.overflow.i16(i16 %a, i16 %b)\n"
        "  %v = extractvalue { i16, i1 } %p, 0\n  %o = extractvalue { i16, i1 } %p, 1\n"
        "  %w = zext i16 %v to i32\n  %x = zext i1 %o to i32\n  %y = shl i32 %x, 16\n"
        "  %r = add i32 %w, %y\n  ret i32 %r\n}\n"
        f"declare {{ i16, i1 }} @llvm.{sign}{verb}.with.overflow.i16(i16, i16)\n"
    )
    for _ in range(12):
        first, second = interesting(rng, 16), interesting(rng, 16)
        one, other = (_signed(v, 16) if sign == "s" else v for v in (first, second))
        exact = BINARY[verb](one, other, 16)
        wrapped = exact % (1 << 16)
        overflows = exact != (_signed(wrapped, 16) if sign == "s" else wrapped)
        assert executed(text, [first, second], [16, 16]) == wrapped + (overflows << 16)


def test_a_truth_kept_as_a_byte_comes_back():
    text = (
        "define i32 @f(i64 %a) {\n  %c = icmp ult i64 %a, 7\n  %b = zext i1 %c to i8\n"
        "  %p = alloca i8, align 1\n  %t = alloca i64, align 8\n  store i8 %b, ptr %p, align 1\n"
        "  %l = load i8, ptr %p, align 1\n  %s = select i1 %c, i8 %l, i8 4\n"
        "  %d = trunc i8 %s to i1\n  %r = zext i1 %d to i32\n  ret i32 %r\n}\n"
    )
    assert [executed(text, [value], [64]) for value in (6, 7)] == [1, 0]


def test_a_choice_of_bytes_cut_to_fewer_bits():
    chosen = z3.If(z3.BitVec("a", 64) == 3, number(5, 8), number(2, 8))
    cut = simplify(z3.Extract(2, 0, chosen))
    assert cut.size() == 3
    assert Solver().model((cut == 5, z3.BitVec("a", 64) != 3)) is None


def test_equal_arguments_of_an_unknown_function_give_equal_results():
    word = z3.BitVecSort(64)
    unknown = z3.Function("unknown", word, word)
    a, b = z3.BitVecs("a b", 64)
    for solver in (Solver(), Solver(integers=False)):
        assert solver.model((a == b + 1, b + 1 == a, unknown(a) != unknown(b + 1))) is None
        assert solver.model((unknown(a) != unknown(b), z3.ULT(a, 9), z3.ULT(b, 9))) is not None


@pytest.mark.parametrize("opcode", sorted(BINARY))
def test_arithmetic_instructions(opcode):
    rng = random.Random(opcode)
    for width in WIDTHS:
        text = (
            f"define i{width} @f(i{width} %a, i{width} %b) {{\n"
            f"  %r = {opcode} i{width} %a, %b\n  ret i{width} %r\n}}\n"
        )
        for _ in range(8):
            first, second = interesting(rng, width), interesting(rng, width)
            if opcode in ("shl", "lshr", "ashr"):
                second %= width
            if opcode.endswith(("div", "rem")):
                second = second or 1
                if opcode[0] == "s" and (first, second) == (1 << (width - 1), (1 << width) - 1):
                    continue
            expected = BINARY[opcode](first, second, width) % (1 << width)
            assert executed(text, [first, second], [width, width]) == expected


@pytest.mark.parametrize("predicate", sorted(COMPARISONS))
def test_comparisons(predicate):
    rng = random.Random(predicate)
    text = (
        "define i32 @f(i64 %a, i64 %b) {\n"
        f"  %c = icmp {predicate} i64 %a, %b\n  %r = zext i1 %c to i32\n  ret i32 %r\n}}\n"
    )
    for _ in range(20):
        first, second = interesting(rng, 64), interesting(rng, 64)
        values = [_signed(v, 64) if predicate[0] == "s" else v for v in (first, second)]
        expected = int(COMPARISONS[predicate](*values))
        assert executed(text, [first, second], [64, 64]) == expected


@pytest.mark.parametrize(
    ("line", "argument", "expected"),
    [
        ("%r = sext i32 %x to i64", 0x8000_0000, 0xFFFF_FFFF_8000_0000),
        ("%r = zext i32 %x to i64", 0x8000_0000, 0x8000_0000),
    ],
)
def test_widening(line, argument, expected):
    text = f"define i64 @f(i32 %x) {{\n  {line}\n  ret i64 %r\n}}\n"
    assert executed(text, [argument], [32]) == expected


def test_getelementptr_steps_through_structures_and_arrays():
    text = (
        "%s = type { i8, [3 x { i32, ptr }], i16 }\n"
        "define ptr @f(ptr %p, i64 %i) {\n"
        "  %r = getelementptr %s, ptr %p, i64 1, i32 1, i64 %i, i32 1\n  ret ptr %r\n}\n"
    )
    # { i8, pad 7, 3 * 16, i16, pad 6 } is 64 bytes; the array starts at 8, the ptr at 8 in it.
    assert executed(text, [1000, 2], [64, 64]) == 1000 + 64 + 8 + 2 * 16 + 8


def test_memory_is_exact_to_the_byte():
    """Words, halves and bytes that overlay each other, against a plain bytearray."""

    class NoQuestions:
        """Concrete addresses leave nothing open: every question is answered by itself."""

        def state(self, truth):
            assert isinstance(truth, bool)
            return self if truth else None

    rng = random.Random(1)
    memory, plain = Memory(), bytearray(64)
    for _ in range(200):
        size = rng.choice((1, 2, 4, 8))
        at, value = rng.randrange(0, 64 - size), rng.getrandbits(8 * size)
        if rng.random() < 0.5:
            memory = memory.after(Word(number(at), number(value, 8 * size)))
            plain[at : at + size] = value.to_bytes(size, "little")
        else:
            seen = constant_of(simplify(memory.load(number(at), size, NoQuestions())))
            assert seen == int.from_bytes(plain[at : at + size], "little")


# ---- terms and their integer form ----


def random_term(rng: random.Random, variables, depth: int):
    if depth == 0 or rng.random() < 0.2:
        return rng.choice(variables) if rng.random() < 0.7 else number(interesting(rng, 16), 16)
    first, second = (random_term(rng, variables, depth - 1) for _ in range(2))
    return rng.choice(
        (
            lambda: first + second,
            lambda: first - second,
            lambda: number(rng.randrange(1, 9), 16) * first,
            lambda: z3.Concat(number(0, 4), z3.Extract(11, 0, first)),
            lambda: z3.Concat(z3.Extract(15, 4, first), number(0, 4)),
            lambda: z3.If(z3.ULT(first, second), first, second),
            lambda: ~first,
            lambda: z3.UDiv(first, number(rng.randrange(1, 50), 16)),
        )
    )()


def test_normal_forms_and_ranges_are_right():
    rng = random.Random(7)
    x, y = z3.BitVec("x", 16), z3.ZeroExt(8, z3.BitVec("y", 8))
    for _ in range(300):
        term = random_term(rng, (x, y), 3)
        values = [
            (x, number(interesting(rng, 16), 16)),
            (z3.BitVec("y", 8), number(rng.getrandbits(8), 8)),
        ]
        value = z3.simplify(z3.substitute(term, *values)).as_long()
        low, high = value_range(term)
        assert low <= value <= high
        assert z3.simplify(z3.substitute(simplify(term), *values)).as_long() == value
        assert as_sum(term).term().eq(simplify(term))


def test_comparisons_decided_by_ranges_are_right():
    rng = random.Random(8)
    x, y = z3.BitVec("x", 16), z3.ZeroExt(8, z3.BitVec("y", 8))
    decided = 0
    for _ in range(400):
        first, second = (random_term(rng, (x, y), 2) for _ in range(2))
        predicate = rng.choice(sorted(COMPARISONS))
        answer = compare(predicate, simplify(first), simplify(second))
        if not isinstance(answer, bool):
            continue
        decided += 1
        for _ in range(5):
            values = [
                (x, number(interesting(rng, 16), 16)),
                (z3.BitVec("y", 8), number(rng.getrandbits(8), 8)),
            ]
            numbers = [z3.simplify(z3.substitute(t, *values)).as_long() for t in (first, second)]
            if predicate[0] == "s":
                numbers = [_signed(n, 16) for n in numbers]
            assert COMPARISONS[predicate](*numbers) == answer
    assert decided > 30


def test_integer_form_agrees_with_bit_vectors():
    rng = random.Random(9)
    x, y = z3.BitVec("x", 16), z3.ZeroExt(8, z3.BitVec("y", 8))
    answers = {"sat": 0, "unsat": 0}
    for _ in range(120):
        conditions = [
            rng.choice((z3.ULE, z3.ULT, operator.eq))(
                *(random_term(rng, (x, y), 2) for _ in range(2))
            )
            for _ in range(rng.randrange(1, 4))
        ]
        try:
            query = Translation().query(conditions)
        except NoIntegerForm:
            continue
        integers, bits = z3.Solver(), z3.Solver()
        integers.add(*query.conditions, *(s for group in query.sides.values() for s in group))
        bits.add(*conditions)
        if integers.check() == z3.sat:  # with any numbers for its products
            integers.add(*(product.exact() for product in query.products))
        assert integers.check() == bits.check(), conditions
        answers[str(bits.check())] += 1
    assert min(answers.values()) > 10
