"""The fast part of the proofs, as one command: all claims proved, all canaries refuted.

Of the gallery those that take seconds of CPU; the nightly proves them all.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from proofs.claims import NARROW, PROVED

ROOT = Path(__file__).resolve().parent.parent
FAST = ("sbrk_list", "bump", "first_fit")


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
    assert done.returncode == 0, done.stderr
