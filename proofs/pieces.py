"""What several processes can find out ahead of one study's verdict: its shares, and its canaries.

It judges nothing: what comes out is kept by shares.py and canaries.py, where verify.py finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from allocator.subject import Subject
from proofs.canaries import refuted_by
from proofs.claims import Claim, Ledger
from proofs.engine import LoopLimit
from proofs.path import Reasoning
from proofs.read_ir import UnsupportedIr
from proofs.shares import Shared
from proofs.solver import FAILURES, Solver, Unknown
from proofs.study import Study
from proofs.subjects import compiled
from proofs.walks import WalkError

Piece = int | str  # the index of a share, or the name of the claim whose canary it is


def pieces_of(study: Study, claims: Sequence[Claim]) -> list[Piece]:
    """None of a study that is looked at in one go; long ones first."""
    if study.shares == 1:
        return []
    return [*range(study.shares), *(claim.name for claim in claims)]


def prepare(
    subject: Subject,
    study: Study,
    claims: Sequence[Claim],
    piece: Piece,
    *,
    kind: str = "raw",
    since: float = 0.0,
    progress: Callable[[str], None] = lambda _text: None,
) -> None:
    """Finds one piece out; what goes wrong on the way is for the verdict to tell.

    since: outcomes from before are not believed (Unix time).
    """

    def poll() -> None:
        progress("")

    try:
        if isinstance(piece, int):
            ledger = Ledger(
                Reasoning(Solver(effort=study.effort, poll=poll)), claims, study.families,
                progress=progress,
            )  # fmt: skip
            module = compiled(subject, kind, flags=study.flags)
            Shared(subject, module, study, since).prepare(ledger, piece)
        else:
            claim = next(claim for claim in claims if claim.name == piece)
            progress(f"{piece}: looking for the planted bug")
            refuted_by(subject, claim, kind, since=since, poll=poll)
    except (Unknown, LoopLimit, UnsupportedIr, WalkError, *FAILURES):
        return
