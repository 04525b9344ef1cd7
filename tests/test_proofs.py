"""The proofs: what must be proved is, what must be refuted is, and "proved" is hard to earn."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import z3

from models.trace import from_text
from proofs.canaries import refuted_by
from proofs.claims import PROVED, REFUTED, UNKNOWN, Claim, Ledger
from proofs.engine import Engine
from proofs.ir import Number, Symbol
from proofs.memory import Memory
from proofs.path import Path as ProgramPath
from proofs.path import Reasoning
from proofs.read_ir import UnsupportedIr, read_ir
from proofs.solver import Solver, Unknown
from proofs.subjects import NoSubject, compiled, studies_of, subject_of
from proofs.verify import claims_matching, verify, verify_study

ROOT = Path(__file__).resolve().parent.parent


def run_proofs(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "proofs/run.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def reports_of(spec: str, pattern: str):
    return {report.claim.name: report for report in verify(subject_of(spec), pattern, quick=True)}


# ---- what holds ----


@pytest.mark.parametrize("pattern", ["size.block_size", "size.limit", "size.c*", "size.a*"])
def test_size_arithmetic_is_proved_for_all_inputs(pattern):
    for report in reports_of("explicit_list", pattern).values():
        assert report.verdict == PROVED, report.reasons
        assert report.bound is None
        assert report.canary


def test_every_bounded_claim_is_proved_for_programs_of_two_operations():
    reports = reports_of("explicit_list", "bounded.*")
    assert len(reports) >= 16
    for name, report in reports.items():
        assert report.verdict == PROVED, (name, report.reasons)
        assert report.bound == {"ops": 2}


# ---- what must be refuted ----


@pytest.mark.parametrize(
    "name", ["size.block_size", "size.limit", "bounded.tags", "bounded.bounds", "bounded.free_list"]
)
def test_a_canary_is_refuted_afresh(name):
    subject = subject_of("explicit_list")
    (claim,) = claims_matching(subject, name)
    assert refuted_by(subject, claim, since=time.time()).refuted


@pytest.mark.parametrize(
    ("bug", "claim", "judged"),
    [
        ("split-forgets-the-footer", "bounded.tags", "tags"),
        ("size-plus-tags-wraps", "size.limit", "refusal"),
        ("calloc-product-wraps", "size.calloc_product", "refusal"),
    ],
)
def test_a_counterexample_breaks_the_compiled_library_too(bug, claim, judged):
    report = reports_of(f"explicit_list+bugs/{bug}", claim)[claim]
    assert report.verdict == REFUTED
    assert report.replayed.rule == judged, report.replayed.note


# ---- "proved" is hard to earn ----

CLAIM = Claim("study.family", "crash", "nothing", ("tested",))


def ledger() -> Ledger:
    return Ledger(Reasoning(Solver()), (CLAIM,), frozenset({"family"}))


def test_a_premise_that_cannot_hold_is_noticed():
    books = ledger()
    x = z3.BitVec("x", 64)
    assert not books.premise(ProgramPath(Memory(), conditions=(z3.ULT(x, 1), z3.ULT(1, x))))
    assert books.premises == 0


def test_a_conclusion_never_reached_is_untested():
    books = ledger()
    path = ProgramPath(Memory())
    path.owe("family", "something else", True)
    assert books.settle(path)
    assert books.untested(CLAIM) == ["tested"]


def test_a_conclusion_owed_only_on_an_impossible_path_is_untested():
    books = ledger()
    path = ProgramPath(Memory(), conditions=(z3.BoolVal(False),))
    path.owe("family", "tested", True)
    assert not books.settle(path)
    assert books.untested(CLAIM) == ["tested"]


def test_a_failing_obligation_is_refuted_with_a_state():
    books, x = ledger(), z3.BitVec("x", 64)
    path = ProgramPath(Memory())
    path.owe("family", "tested", z3.ULT(x, 100))
    assert books.settle(path)
    refutation = books.refuted["study.family"]
    assert refutation.model.value(x) >= 100
    assert not books.reasoning.possible(path, z3.UGE(x, 100))


def test_a_solver_out_of_budget_says_unknown():
    x, y = (z3.ZeroExt(32, z3.BitVec(name, 32)) for name in "xy")
    factors = [x * y == 4294967291 * 4294967279, z3.UGT(x, 1), z3.UGT(y, 1), z3.ULT(x, y)]
    with pytest.raises(Unknown):
        Solver(integers=False, budget=1000).model(factors)


def test_a_study_whose_function_is_missing_is_unknown():
    subject = subject_of("explicit_list")
    module = compiled(subject)
    study = replace(studies_of(subject, module, quick=True)[0], entered=("no_such_function",))
    (report,) = verify_study(subject, module, study, study.claims[:1], "raw", lambda _text: None)
    assert report.verdict == UNKNOWN
    assert "no_such_function" in report.reasons[0]


def test_an_instruction_without_a_meaning_is_named():
    text = "define double @f(double %a) {\n  %r = fadd double %a, %a\n  ret double %r\n}\n"
    engine = Engine(read_ir(text), Reasoning(Solver()), lambda *_: True)
    with pytest.raises(UnsupportedIr, match="fadd"):
        engine.call(ProgramPath(Memory()), "f", [z3.BitVec("a", 64)])


def test_c_that_does_not_compile_is_one_line(tmp_path):
    (tmp_path / "broken.c").write_text("int f( {")
    with pytest.raises(NoSubject) as caught:
        subject_of(str(tmp_path / "broken.c"))
    assert "broken.c" in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- somebody else's allocator, without an annotation ----

HOMEWORK = ROOT / "tests" / "subjects" / "homework.c"


def test_the_first_request_of_a_homework_is_proved_for_every_size():
    reports = reports_of(str(HOMEWORK), "first.*")
    assert set(reports) >= {"first.bounds", "first.product", "first.no_undefined"}
    for report in reports.values():
        assert report.verdict == PROVED, (report.claim.name, report.reasons)
        assert "homework.c in " in report.canary


@pytest.mark.parametrize(
    "name",
    ["first.bounds", "first.alignment", "first.product", "bounded.overlap", "bounded.zeroed"],
)
def test_any_subject_is_refuted_in_a_wrapper_with_a_bug(name):
    subject = subject_of(str(HOMEWORK))
    (claim,) = claims_matching(subject, name)
    assert refuted_by(subject, claim, since=time.time()).refuted


def test_a_verdict_is_remembered_until_asked_afresh():
    subject = subject_of(str(HOMEWORK))
    (first,) = verify(subject, "first.abort", quick=True)
    (again,) = verify(subject, "first.abort", quick=True)
    (fresh,) = verify(subject, "first.abort", quick=True, fresh=True)
    assert (again.cached, fresh.cached) == (True, False)
    assert replace(first, cached=True, seconds=0) == replace(again, seconds=0)


def test_a_refutation_is_remembered_with_its_trace():
    spec = "explicit_list+bugs/size-plus-tags-wraps"
    first, again = (reports_of(spec, "size.limit")["size.limit"] for _ in range(2))
    assert again.cached
    assert (again.trace, again.replayed) == (first.trace, first.replayed)


def test_out_of_patience_is_unknown():
    subject = subject_of(str(HOMEWORK))
    module = compiled(subject)
    study = replace(studies_of(subject, module, quick=True)[0], effort=30)
    (report,) = verify_study(subject, module, study, study.claims[:1], "raw", lambda _text: None)
    assert report.verdict == UNKNOWN
    assert "patience" in report.reasons[0]


def test_a_wrap_in_somebody_elses_header_arithmetic_is_refuted_with_its_size(tmp_path):
    limit = "size == 0 || size > POOL_SIZE"
    text = HOMEWORK.read_text()
    assert limit in text
    path = tmp_path / "wraps.c"
    path.write_text(text.replace(limit, "size == 0"))
    report = reports_of(str(path), "first.bounds")["first.bounds"]
    assert report.verdict == REFUTED
    (op,) = report.trace.ops
    assert op.size > 2**64 - 16
    assert report.replayed.confirmed, report.replayed.note


@pytest.mark.parametrize("name", ["sbrk_list", "pool.toml"])
def test_short_programs_of_others_are_explored(name):
    spec = name if "." not in name else str(HOMEWORK.parent / name)
    reports = reports_of(spec, "bounded.overlap")
    assert reports["bounded.overlap"].verdict == PROVED, reports["bounded.overlap"].reasons


def test_a_library_without_sources_is_one_line():
    with pytest.raises(NoSubject, match="the proofs read C"):
        subject_of("libc.so.6")


# ---- what a program starts with ----

GLOBALS = """
%struct.table = type { i32, ptr, [2 x i16] }
@message = private constant [4 x i8] c"a\\0Ab\\00", align 1
@table = internal global %struct.table { i32 -1, ptr @message, [2 x i16] [i16 1, i16 0] }, align 8
@room = internal global [70000 x i8] zeroinitializer, align 16
@elsewhere = external global i64, align 8
define i32 @first() {
  %r = load i32, ptr @table, align 8
  ret i32 %r
}
define double @unread(double %a) {
  %r = call double @llvm.sqrt.f64(double %a)
  %s = shufflevector <2 x i32> zeroinitializer, <2 x i32> zeroinitializer, <2 x i32> <i32 0, i32 1>
  ret double %r
}
declare double @llvm.sqrt.f64(double)
"""


def test_global_variables_start_as_written():
    module = read_ir(GLOBALS)
    assert module.globals["message"].text == "a\nb"
    assert module.globals["message"].constant
    assert module.globals["table"].parts == (
        (0, Number(2**32 - 1, 32)),
        (8, Symbol("message")),
        (16, Number(1, 16)),
    )
    assert (module.globals["room"].size, module.globals["room"].parts) == (70000, ())
    assert module.globals["elsewhere"].parts is None
    engine = Engine(module, Reasoning(Solver()), lambda *_: True)
    path = ProgramPath(engine.loaded(Memory()))
    ((_, value),) = engine.call(path, "first", [])
    assert z3.simplify(value).as_long() == 2**32 - 1
    end_of_room = engine.address_of("room") + 70000
    assert all(not engine.address_of("room") <= engine.address_of(name) < end_of_room
               for name in ("table", "message", "first"))  # fmt: skip


@pytest.mark.parametrize(
    ("verb", "value", "count"),
    [
        *(("ctlz", 1, 63), ("ctlz", 2**40 + 5, 23), ("ctlz", 0, 64)),
        *(("cttz", 8, 3), ("cttz", 2**40, 40), ("cttz", 0, 64)),
    ],
)
def test_counting_zeros(verb, value, count):
    text = (
        f"define i64 @f(i64 %a) {{\n  %r = call i64 @llvm.{verb}.i64(i64 %a, i1 false)\n"
        f"  ret i64 %r\n}}\ndeclare i64 @llvm.{verb}.i64(i64, i1)\n"
    )
    engine = Engine(read_ir(text), Reasoning(Solver()), lambda *_: True)
    a = z3.BitVec("a", 64)
    outcomes = engine.call(ProgramPath(Memory()), "f", [a])
    found = [result for path, result in outcomes if engine.reasoning.possible(path, a == value)]
    assert [z3.simplify(result).as_long() for result in found] == [count]


# ---- the command ----


def test_the_list_names_every_claim():
    done = run_proofs("explicit_list", "--list")
    assert done.returncode == 0
    assert "size.block_size" in done.stdout
    assert "bounded.free_list" in done.stdout


def test_a_refuted_claim_is_exit_1_and_its_trace_parses(tmp_path):
    out = tmp_path / "report.json"
    done = run_proofs("explicit_list+bugs/size-plus-tags-wraps", "--claim", "size.limit",
                      "--json", str(out))  # fmt: skip
    assert done.returncode == 1, done.stderr
    document = json.loads(out.read_text())
    assert (document["schema"], document["tool"]) == (1, "proofs")
    (claim,) = document["subjects"][0]["claims"]
    assert claim["verdict"] == REFUTED
    assert from_text(claim["trace"]).expect == "refusal"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["explicit_list+bugs/nonsense"],
        ["sbrk_list", "--claim", "nonsense"],
        ["--nonsense"],
        ["bump", "--replay", "nonsense"],
        ["bump", "--report", "nonsense/page.html"],
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments):
    done = run_proofs(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "nonsense" in done.stderr


def test_ctrl_c_tells_what_is_done_and_leaves_the_rest_unknown(tmp_path):
    out = tmp_path / "report.json"
    command = [sys.executable, "proofs/run.py", "explicit_list", "--json", str(out)]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stderr.readline()  # a first sign of progress: the proofs are under way
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode == 130
    (subject,) = json.loads(out.read_text())["subjects"]
    assert subject["verdict"] == UNKNOWN
    assert len(subject["claims"]) == len(claims_matching(subject_of("explicit_list"), "*"))
