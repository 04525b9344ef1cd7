"""A refutation as a trace, and what the compiled library does with it.

It refutes nothing itself, and judges nothing: the judge of the whole project does.
"""

from __future__ import annotations

from allocator.subject import Subject
from models.trace import Trace
from proofs.claims import Claim, Refutation
from proofs.counterexample import trace_of
from proofs.rebuild import reached
from proofs.replay import Replay, replay
from proofs.study import Study


def shown(
    refutation: Refutation,
    claim: Claim,
    study: Study,
    built: Subject,
    name: str,
    sandbox: bool | None = None,
) -> tuple[Trace, Replay]:
    """The counterexample as a trace, and what the library did with it.

    built    the subject, compiled with what the study had; the trace calls it by `name`
    sandbox  whether it runs in a process of its own; None as for everybody
    """
    trace = trace_of(refutation, name, claim.rule, study.store)
    scene = refutation.path.scene
    if scene.shape is not None:
        return reached(trace, scene.built, built, sandbox)
    return trace, replay(trace, built, sandbox)
