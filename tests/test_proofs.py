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
from proofs import invariants
from proofs.canaries import refuted_by
from proofs.claims import PROVED, REFUTED, UNKNOWN, Claim, Ledger
from proofs.compile_ir import SourceFile
from proofs.engine import Engine
from proofs.invariants import FreeNode, Row, RowBlock
from proofs.memory import Memory
from proofs.path import Path as ProgramPath
from proofs.path import Reasoning
from proofs.read_ir import UnsupportedIr, read_ir
from proofs.solver import Solver, Unknown
from proofs.sources import NoSubject, module_of
from proofs.verify import claims_matching, verify

ROOT = Path(__file__).resolve().parent.parent


def run_proofs(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "proofs/run.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def reports_of(spec: str, pattern: str):
    return {report.claim.name: report for report in verify(spec, pattern, quick=True)}


# ---- what holds ----


@pytest.mark.parametrize("pattern", ["size.block_size", "size.limit", "size.c*", "size.a*"])
def test_size_arithmetic_is_proved_for_all_inputs(pattern):
    for report in reports_of("best_fit", pattern).values():
        assert report.verdict == PROVED, report.reasons
        assert report.bound is None
        assert report.canary


def test_every_bounded_claim_is_proved_for_programs_of_two_operations():
    reports = reports_of("best_fit", "bounded.*")
    assert len(reports) >= 16
    for name, report in reports.items():
        assert report.verdict == PROVED, (name, report.reasons)
        assert report.bound == {"ops": 1 if name == "bounded.zeroed" else 2}


# ---- what must be refuted ----


@pytest.mark.parametrize(
    "name", ["size.block_size", "size.limit", "bounded.tags", "bounded.bounds", "bounded.free_list"]
)
def test_a_canary_is_refuted_afresh(name):
    (claim,) = claims_matching(name)
    assert refuted_by(claim, fresh=True).refuted


@pytest.mark.parametrize(
    ("bug", "claim", "judged"),
    [
        ("split-forgets-the-footer", "bounded.tags", "tags"),
        ("size-plus-tags-wraps", "size.limit", "refusal"),
        ("calloc-product-wraps", "size.calloc_product", "refusal"),
    ],
)
def test_a_counterexample_breaks_the_compiled_library_too(bug, claim, judged):
    report = reports_of(f"best_fit+bugs/{bug}", claim)[claim]
    assert report.verdict == REFUTED
    assert report.replayed.rule == judged, report.replayed.note


# ---- "proved" is hard to earn ----

CLAIM = Claim("study.family", "crash", "nothing", ("tested",), "none")


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


def test_a_study_whose_function_is_missing_is_unknown(tmp_path):
    source = (ROOT / "allocator/best_fit/best_fit.c").read_text()
    variant = tmp_path / "variant.c"
    variant.write_text(source.replace("block_size(", "size_of_block("))
    (report,) = verify(str(variant), "size.block_size")
    assert report.verdict == UNKNOWN
    assert "block_size" in report.reasons[0]


def test_an_instruction_without_a_meaning_is_named():
    text = "define double @f(double %a) {\n  %r = fadd double %a, %a\n  ret double %r\n}\n"
    engine = Engine(read_ir(text), Reasoning(Solver()), lambda *_: True)
    with pytest.raises(UnsupportedIr, match="fadd"):
        engine.call(ProgramPath(Memory()), "f", [z3.BitVec("a", 64)])


def test_c_that_does_not_compile_is_one_line():
    broken = SourceFile(Path("broken.c"), "int f( {", ())
    with pytest.raises(NoSubject) as caught:
        module_of(broken)
    assert "broken.c" in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- the invariants, on plain integers ----


def sound_row(**changes) -> Row:
    """used 32, free 48, used 32 from address 8 on; the free list holds the free one."""
    blocks = (RowBlock(8, 33, 33, True), RowBlock(40, 48, 48, False), RowBlock(88, 33, 33, True))
    nodes = (FreeNode(40, 0),)
    return replace(Row(120, 1, 1, blocks, nodes, 0), **changes)


def broken(row: Row) -> set[str]:
    return {family for family, _, truth in invariants.all_conjuncts(row) if not truth}


def test_a_sound_row_breaks_nothing():
    assert broken(sound_row()) == set()


@pytest.mark.parametrize(
    ("changes", "family"),
    [
        ({"fence_above": 0}, "tags"),
        ({"blocks": (RowBlock(8, 33, 49, True),), "nodes": ()}, "tags"),
        ({"blocks": (RowBlock(8, 17, 17, True),), "nodes": ()}, "tiling"),
        ({"blocks": (RowBlock(8, 129, 129, True),), "nodes": ()}, "tiling"),
        ({"list_end": 40}, "free_list"),
        ({"nodes": (FreeNode(88, 0),)}, "free_list"),
        ({"nodes": (FreeNode(40, 8),)}, "free_list"),
        (
            {
                "blocks": (RowBlock(8, 32, 32, False), RowBlock(40, 48, 48, False)),
                "nodes": (FreeNode(8, 0), FreeNode(40, 8)),
            },
            "adjacent_free",
        ),
    ],
)
def test_each_conjunct_objects_to_one_corruption(changes, family):
    assert family in broken(sound_row(**changes))


# ---- the command ----


def test_the_list_names_every_claim():
    done = run_proofs("--list")
    assert done.returncode == 0
    assert "size.block_size" in done.stdout
    assert "bounded.free_list" in done.stdout


def test_a_refuted_claim_is_exit_1_and_its_trace_parses(tmp_path):
    out = tmp_path / "report.json"
    done = run_proofs("best_fit+bugs/size-plus-tags-wraps", "--claim", "size.limit",
                      "--json", str(out))  # fmt: skip
    assert done.returncode == 1, done.stderr
    document = json.loads(out.read_text())
    assert (document["schema"], document["tool"]) == (1, "proofs")
    (claim,) = document["subjects"][0]["claims"]
    assert claim["verdict"] == REFUTED
    assert from_text(claim["trace"]).expect == "refusal"


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["best_fit+bugs/nonsense"], ["--claim", "nonsense"]]
)
def test_bad_input_is_one_line_and_exit_2(arguments):
    done = run_proofs(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "nonsense" in done.stderr


def test_ctrl_c_tells_what_is_done_and_leaves_the_rest_unknown(tmp_path):
    out = tmp_path / "report.json"
    command = [sys.executable, "proofs/run.py", "--json", str(out)]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(3)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode == 130
    (subject,) = json.loads(out.read_text())["subjects"]
    assert subject["verdict"] == UNKNOWN
    assert len(subject["claims"]) == len(claims_matching("*"))
