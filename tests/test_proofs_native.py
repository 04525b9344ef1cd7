"""Each instruction that the executor gives a meaning to, against native code of the same IR.

Every function takes three numbers of 64 bits and gives one; clang compiles them all, unoptimised,
into one program, which is run once.  The executor computes them of constants and of variables.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import dataclass

import pytest
import z3

from proofs import constants, meaning
from proofs.engine import Engine
from proofs.memory import Memory
from proofs.path import Path, Reasoning
from proofs.read_ir import read_ir
from proofs.solver import Solver
from proofs.terms import constant_of, number, simplify

WIDTHS = (8, 16, 32, 64)
TIMES = 12
# Of variables every case is tried in the nightly, every fourth otherwise: that asks the solver.
STRIDE = 6 if os.environ.get("ALLOCHECK_PROFILE") == "nightly" else 4 * TIMES + 1
SHIFTS, DIVISIONS = ("shl", "lshr", "ashr"), ("udiv", "urem", "sdiv", "srem")
ARITHMETIC = ("add", "sub", "mul", "and", "or", "xor", *SHIFTS, *DIVISIONS)
PREDICATES = ("eq", "ne", "ult", "ule", "ugt", "uge", "slt", "sle", "sgt", "sge")
OVERFLOWING = tuple(sign + verb for sign in "us" for verb in ("add", "sub", "mul"))
EXTREMES = ("umin", "umax", "smin", "smax", "usub.sat", "uadd.sat")
MAIN = """
#include <stdint.h>
#include <stdio.h>
extern uint64_t (*const table[])(uint64_t, uint64_t, uint64_t);
int main(void)
{
    unsigned long long which, a, b, c;
    while (scanf("%llu %llu %llu %llu", &which, &a, &b, &c) == 4)
        printf("%llu\\n", (unsigned long long)table[which](a, b, c));
}
"""


@dataclass(frozen=True)
class Case:
    """A function body that uses %a, %b and %c and ends in %r, and what it must not be given."""

    name: str
    body: str
    width: int = 64
    kind: str = ""

    def text(self, name: str) -> str:
        """The function in IR."""
        return f"define i64 @{name}(i64 %a, i64 %b, i64 %c) {{\n{self.body}  ret i64 %r\n}}\n"

    def operands(self, rng: random.Random) -> list[int]:
        """Random operands and edges that the instruction has a meaning for."""
        a, b, c = (_interesting(rng, self.width) for _ in range(3))
        whole = 1 << self.width
        if self.kind in SHIFTS:
            b = b % self.width
        if self.kind in DIVISIONS:
            b = b if b % whole else 1
            if self.kind[0] == "s" and (a % whole, b % whole) == (whole >> 1, whole - 1):
                b = 1
        return [a, b, c]


def _interesting(rng: random.Random, width: int) -> int:
    if rng.random() < 0.4:
        return rng.getrandbits(64)
    half = 1 << (width - 1)
    return rng.choice((0, 1, 2, 7, 8, 15, 16, 0xF0, half - 1, half, 2 * half - 1)) % (1 << 64)


def _narrow(width: int, names: str = "ab") -> str:
    lines = [
        f"  %{name}n = trunc i64 %{name} to i{width}\n" if width < 64 else
        f"  %{name}n = freeze i64 %{name}\n"
        for name in names
    ]  # fmt: skip
    return "".join(lines)


def _widened(width: int, name: str = "x", how: str = "zext") -> str:
    return (
        f"  %r = {how} i{width} %{name} to i64\n" if width < 64 else f"  %r = freeze i64 %{name}\n"
    )


def _of_width(width: int):
    kind, ends = f"i{width}", _widened(width)
    for opcode in ARITHMETIC:
        body = f"{_narrow(width)}  %x = {opcode} {kind} %an, %bn\n{ends}"
        yield Case(f"{opcode}.{width}", body, width, opcode)
    for predicate in PREDICATES:
        body = f"{_narrow(width)}  %x = icmp {predicate} {kind} %an, %bn\n{_widened(1)}"
        yield Case(f"icmp.{predicate}.{width}", body, width)
    for verb in OVERFLOWING:
        pair = f"{{ {kind}, i1 }}"
        body = (
            f"{_narrow(width)}  %p = call {pair} @llvm.{verb}.with.overflow.{kind}({kind} %an, "
            f"{kind} %bn)\n  %v = extractvalue {pair} %p, 0\n  %o = extractvalue {pair} %p, 1\n"
            f"  %x = select i1 %o, {kind} 77, {kind} %v\n{ends}"
        )
        yield Case(f"{verb}.with.overflow.{width}", body, width)
    for verb in EXTREMES:
        body = f"{_narrow(width)}  %x = call {kind} @llvm.{verb}.{kind}({kind} %an, {kind} %bn)\n"
        yield Case(f"{verb}.{width}", body + ends, width)
    for verb in ("ctlz", "cttz", "abs"):
        body = (
            f"{_narrow(width, 'a')}  %x = call {kind} @llvm.{verb}.{kind}({kind} %an, i1 false)\n"
        )
        yield Case(f"{verb}.{width}", body + ends, width)
    body = f"{_narrow(width, 'a')}  %x = call {kind} @llvm.ctpop.{kind}({kind} %an)\n{ends}"
    yield Case(f"ctpop.{width}", body, width)
    yield Case(f"sext.{width}", _narrow(width, "a") + _widened(width, "an", "sext"), width)
    yield Case(f"zext.{width}", _narrow(width, "a") + _widened(width, "an"), width)
    for at in range(24 - width // 8 + 1):
        yield _memory(f"load.{width}.{at}", f"  %x = load {kind}, ptr %at, align 1\n{ends}", at)
    for at in range(0, 24 - width // 8 + 1, 3):
        store = f"{_narrow(width, 'c')}  store {kind} %cn, ptr %at, align 1\n{_FOLDED}"
        yield _memory(f"store.{width}.{at}", store, at)
    moving = "  %i = and i64 %c, 7\n  %m = getelementptr i8, ptr %at, i64 %i\n"
    load = f"{moving}  %x = load {kind}, ptr %m, align 1\n{ends}"
    yield _memory(f"load.somewhere.{width}", load, 5)
    store = f"{_narrow(width, 'a')}{moving}  store {kind} %an, ptr %m, align 1\n{_FOLDED}"
    yield _memory(f"store.somewhere.{width}", store, 5)


_FOLDED = (
    "  %g0 = load i64, ptr %p, align 1\n  %g1 = load i64, ptr %p8, align 1\n"
    "  %g2 = load i64, ptr %p16, align 1\n  %h = mul i64 %g1, 3\n  %k = mul i64 %g2, 5\n"
    "  %s = add i64 %g0, %h\n  %r = add i64 %s, %k\n"
)


def _memory(name: str, body: str, at: int) -> Case:
    """Works on 24 bytes at %p that hold %a, %b and a constant; %at is `at` bytes into them."""
    start = (
        "  %p = alloca [24 x i8], align 16\n  %p8 = getelementptr i8, ptr %p, i64 8\n"
        "  %p16 = getelementptr i8, ptr %p, i64 16\n  store i64 %a, ptr %p, align 1\n"
        "  store i64 %b, ptr %p8, align 1\n  store i64 1234605616436508552, ptr %p16, align 1\n"
        f"  %at = getelementptr i8, ptr %p, i64 {at}\n"
    )
    return Case(name, start + body)


_CALL = "  call void @llvm.{verb}.p0{source}.i64(ptr %{to}, {what}, i64 %n, i1 false)\n"
_SOME = "  %n = and i64 %c, 7\n"


def _others():
    fill = _CALL.format(verb="memset", source="", to="at", what="i8 -91")
    yield _memory("memset", _SOME + fill + _FOLDED, 6)
    for verb, to, source in (
        ("memcpy", "p16", "p"),
        ("memmove", "at", "p"),
        ("memmove", "p", "at"),
    ):
        move = _CALL.format(verb=verb, source=".p0", to=to, what=f"ptr %{source}")
        yield _memory(f"{verb}.{to}", _SOME + move + _FOLDED, 3)
    yield Case("inttoptr", "  %x = inttoptr i64 %a to ptr\n  %r = ptrtoint ptr %x to i64\n")
    narrow = "  %x = inttoptr i64 %a to ptr\n  %y = ptrtoint ptr %x to i32\n"
    yield Case("ptrtoint.32", narrow + _widened(32, "y"))
    yield Case("bitcast", "  %r = bitcast i64 %a to i64\n")
    step = "getelementptr { i8, [3 x { i32, ptr }], i16 }, ptr %x, i64 %b, i32 1, i64 %c, i32 1"
    yield Case(
        "getelementptr", f"  %x = inttoptr i64 %a to ptr\n  %y = {step}\n"
        "  %r = ptrtoint ptr %y to i64\n"
    )  # fmt: skip
    short = f"{_narrow(32, 'b')}  %y = getelementptr i16, ptr %x, i32 %bn\n"
    yield Case(
        "getelementptr.32",
        f"  %x = inttoptr i64 %a to ptr\n{short}  %r = ptrtoint ptr %y to i64\n",
    )
    flags = "  %f = icmp ult i64 %a, %b\n  %g = icmp ult i64 %b, %c\n"
    for opcode in ("and", "or", "xor"):
        yield Case(f"{opcode}.1", f"{flags}  %x = {opcode} i1 %f, %g\n{_widened(1)}")
    for predicate in ("eq", "ne"):
        yield Case(
            f"icmp.{predicate}.1", f"{flags}  %x = icmp {predicate} i1 %f, %g\n{_widened(1)}"
        )
    yield Case("select.1", f"{flags}  %x = select i1 %f, i1 %g, i1 true\n{_widened(1)}")
    yield Case("sext.1", f"{flags}{_widened(1, 'f', 'sext')}")
    yield Case("trunc.1", f"  %x = trunc i64 %a to i1\n{_widened(1)}")
    yield Case("freeze.1", f"{flags}  %x = freeze i1 %f\n{_widened(1)}")
    yield Case(
        "switch",
        "  %k = and i64 %a, 7\n  switch i64 %k, label %d [ i64 1, label %e\n i64 7, label %f ]\n"
        "e:\n  br label %f\nd:\n  br label %f\n"
        "f:\n  %r = phi i64 [ 5, %e ], [ %b, %d ], [ %c, %0 ]\n",
    )
    yield Case(
        "loop",
        "  %n = and i64 %a, 3\n  br label %l\n"
        "l:\n  %i = phi i64 [ 0, %0 ], [ %j, %l ]\n  %s = phi i64 [ %b, %0 ], [ %t, %l ]\n"
        "  %j = add i64 %i, 1\n  %t = add i64 %s, %c\n  %go = icmp ult i64 %i, %n\n"
        "  br i1 %go, label %l, label %f\nf:\n  %r = sub i64 %t, %i\n",
    )


CASES = [case for width in WIDTHS for case in _of_width(width)] + list(_others())


def _declared(texts: str) -> str:
    lines = []
    for width in WIDTHS:
        kind = f"i{width}"
        lines += [
            f"declare {{ {kind}, i1 }} @llvm.{verb}.with.overflow.{kind}({kind}, {kind})"
            for verb in OVERFLOWING
        ]
        lines += [f"declare {kind} @llvm.{verb}.{kind}({kind}, {kind})" for verb in EXTREMES]
        lines += [
            f"declare {kind} @llvm.{verb}.{kind}({kind}, i1)" for verb in ("ctlz", "cttz", "abs")
        ]
        lines.append(f"declare {kind} @llvm.ctpop.{kind}({kind})")
    lines.append("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
    lines += [
        f"declare void @llvm.{verb}.p0.p0.i64(ptr, ptr, i64, i1)" for verb in ("memcpy", "memmove")
    ]
    return texts + "\n".join(lines) + "\n"


MODULE = _declared("".join(case.text(f"f{index}") for index, case in enumerate(CASES)))


@pytest.fixture(scope="module")
def module():
    return read_ir(MODULE, promote=False)  # as it stands, so that memory is memory


@pytest.fixture(scope="module")
def tried() -> list[tuple[int, list[int]]]:
    """(case, operands), the same at every run."""
    rng = random.Random(1)
    return [(index, case.operands(rng)) for index, case in enumerate(CASES) for _ in range(TIMES)]


@pytest.fixture(scope="module")
def native(tried, tmp_path_factory) -> list[int]:
    """What the machine computes of each."""
    folder = tmp_path_factory.mktemp("native")
    names = ", ".join(f"ptr @f{index}" for index in range(len(CASES)))
    table = f"@table = constant [{len(CASES)} x ptr] [{names}]\n"
    (folder / "cases.ll").write_text(MODULE + table)
    (folder / "main.c").write_text(MAIN)
    compiler = [sys.executable, "-m", "ziglang", "cc", "-O0", "-w", "-fno-sanitize=all"]
    subprocess.run([*compiler, "cases.ll", "main.c", "-o", "cases"], cwd=folder, check=True)
    asked = "".join(f"{index} {a} {b} {c}\n" for index, (a, b, c) in tried)
    told = subprocess.run(
        [folder / "cases"], input=asked, capture_output=True, text=True, check=True
    )
    return [int(line) for line in told.stdout.split()]


def _of_numbers(engine: Engine, index: int, operands: list[int]) -> int:
    ((_, result),) = engine.call(Path(Memory()), f"f{index}", [number(each) for each in operands])
    return constant_of(simplify(result))


def _of_variables(engine: Engine, index: int, operands: list[int]) -> int:
    variables = z3.BitVecs("a b c", 64)
    same = tuple(one == number(other) for one, other in zip(variables, operands, strict=True))
    outcomes = engine.call(Path(Memory(), conditions=same), f"f{index}", variables)
    ((state, term),) = [
        (state, term) for path, term in outcomes if (state := engine.reasoning.model(path))
    ]
    return state.value(term)


def _differences(module, tried, native, compute, step: int = 1) -> list[str]:
    engine = Engine(module, Reasoning(Solver()), lambda *_: True)
    found = []
    for (index, operands), expected in list(zip(tried, native, strict=True))[::step]:
        actual = compute(engine, index, operands)
        if actual != expected:
            found.append(f"{CASES[index].name}{operands}: {actual}, natively {expected}")
    return found


def test_on_constants_each_instruction_is_the_machines(module, tried, native):
    assert not _differences(module, tried, native, _of_numbers)


def test_on_variables_each_instruction_is_the_machines(module, tried, native):
    assert not _differences(module, tried, native, _of_variables, STRIDE)


def test_every_meaning_is_tried():
    given = {*meaning._BINARY, *meaning._SHAPING, *constants._ARITHMETIC}
    names = " ".join(case.body for case in CASES)
    assert not [opcode for opcode in given if f" {opcode} " not in names]
    assert set(PREDICATES) == set(constants._COMPARISONS)


@pytest.mark.parametrize(
    ("where", "name", "wrong", "compute"),
    [
        (constants._ARITHMETIC, "ashr", lambda a, b, _width: a >> b, _of_numbers),
        (constants._COMPARISONS, "sle", lambda a, b: a < b, _of_numbers),
        (meaning._BINARY, "urem", lambda a, b: z3.SRem(a, b), _of_variables),
        (meaning._SHAPING, "sext", lambda value, width: z3.ZeroExt(width - value.size(), value),
         _of_variables),
    ],
)  # fmt: skip
def test_a_wrong_meaning_is_noticed(
    where, name, wrong, compute, monkeypatch, module, tried, native
):
    monkeypatch.setitem(where, name, wrong)
    chosen = [(one, other) for one, other in zip(tried, native, strict=True)
              if f" {name} " in CASES[one[0]].body]  # fmt: skip
    assert _differences(module, *zip(*chosen, strict=True), compute)
