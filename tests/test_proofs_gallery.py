"""The fast part of the proofs: every bundled allocator, one command, all claims proved.

Cold it takes minutes of CPU; a second run believes the verdicts of the first.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from allocator.catalogue import gallery
from proofs.claims import PROVED

ROOT = Path(__file__).resolve().parent.parent


def test_every_claim_of_every_bundled_allocator_is_proved_and_its_canary_refuted(tmp_path):
    out = tmp_path / "report.json"
    command = [sys.executable, "proofs/run.py", "--quick", "--claim", "[sfb]*", "--json", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    subjects = {each["name"]: each["claims"] for each in json.loads(out.read_text())["subjects"]}
    assert set(subjects) == set(gallery())
    for name, claims in subjects.items():
        assert len(claims) >= 20, name
        for claim in claims:
            assert claim["verdict"] == PROVED, (name, claim["name"], claim["reasons"])
            assert claim["canary"], (name, claim["name"])
    assert done.returncode == 0, done.stderr
