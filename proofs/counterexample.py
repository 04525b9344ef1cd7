"""From a refutation to a trace of the trace language.

It only decodes; replay.py runs the trace.
"""

from __future__ import annotations

from models.trace import NIL, NO_NAME, Kind, Op, Trace
from proofs.claims import Refutation
from proofs.scenery import Scene, Step
from proofs.solver import Model


def trace_of(refutation: Refutation, subject: str, rule: str, limit: int) -> Trace:
    """The story of the path, its operands as in the refuting state.

    What the host did becomes a `deny` before the operation that met it.  `limit` is the size of
    the store, in bytes: as much as the study's host grants, 0 for the default.
    """
    scene = refutation.path.scene
    assert isinstance(scene, Scene)
    ops: list[Op] = []
    for index, step in enumerate(scene.story):
        last = index == len(scene.story) - 1
        requests = scene.pages.requests if last else step.requests
        if requests.refused:
            ops.append(Op(Kind.DENY, NO_NAME, requests.refused))
        ops.append(_op(step, refutation.model))
        if requests.refused:
            ops.append(Op(Kind.DENY, NO_NAME, 0))
    return Trace(tuple(ops), subject, limit, rule, (refutation.what,))


def _op(step: Step, model: Model) -> Op:
    values = [model.value(operand) for operand in step.operands]
    if step.verb in ("free", "realloc"):
        values.insert(0, NIL if step.block is None else step.block)
    name = NO_NAME if step.made is None else step.made
    return Op(Kind[step.verb.upper()], name, *values)
