"""The fast part of the proofs: every heap of the small rooms of all, and all claims of some.

The latter as one command, with all canaries; the nightly does so with everybody, in full rooms.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from allocator.catalogue import gallery
from proofs import inductive_claims
from proofs.claims import NARROW, PROVED, Ledger
from proofs.path import Reasoning
from proofs.solver import Solver
from proofs.subjects import compiled, subject_of

ROOT = Path(__file__).resolve().parent.parent
FAST = ("sbrk_list", "first_fit")
# Nobody sees from outside that a NULL for 0 bytes is no refusal.
UNSEEN = ("zero_size",)


def test_every_claim_is_proved_and_its_canary_refuted(tmp_path):
    out = tmp_path / "report.json"
    told = ("--quick", "--claim", "[sfb]*", "--json", str(out))
    command = [sys.executable, "proofs/run.py", *FAST, *told]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    subjects = {each["name"]: each["claims"] for each in json.loads(out.read_text())["subjects"]}
    assert set(subjects) == set(FAST)
    for name, claims in subjects.items():
        assert len(claims) >= 20, name
        for claim in claims:
            assert claim["verdict"] in (PROVED, NARROW), (name, claim["name"], claim["reasons"])
            assert bool(claim["uncovered"]) == (claim["verdict"] == NARROW)
            assert claim["canary"], (name, claim["name"])
            seen = claim["canary_replay"] and "nothing wrong" not in claim["canary_replay"]
            assert seen or claim["rule"] in UNSEEN, (name, claim["name"], claim["canary_replay"])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", gallery())
def test_every_operation_from_every_small_heap_keeps_the_contract(name):
    subject = subject_of(name)
    (study,) = inductive_claims.studies(subject, quick=True)
    ledger = Ledger(Reasoning(Solver(effort=study.effort)), study.claims, study.families)
    study.run(compiled(subject, flags=study.flags), ledger)
    assert not ledger.refuted
    assert {family for family, _ in ledger.reached} == study.families
    assert ledger.premises > 1
