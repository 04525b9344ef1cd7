"""From a refutation to a trace of the trace language.

It only decodes; replay.py runs the trace.
"""

from __future__ import annotations

from models.trace import NIL, NO_NAME, Kind, Op, Trace
from proofs.claims import Refutation
from proofs.operations import LIMIT
from proofs.scenery import Scene, Step
from proofs.solver import Model


def trace_of(refutation: Refutation, subject: str, rule: str) -> Trace:
    """The story of the path, its operands as in the refuting state.

    What the page source did becomes a `foreign` or a `deny` before the operation that met it.
    """
    scene = refutation.path.scene
    assert isinstance(scene, Scene)
    ops: list[Op] = []
    for index, step in enumerate(scene.story):
        last = index == len(scene.story) - 1
        requests = scene.requests if last else step.requests
        if requests.gap is not None:
            ops.append(Op(Kind.FOREIGN, NO_NAME, refutation.model.value(requests.gap)))
        if requests.refused:
            ops.append(Op(Kind.DENY, NO_NAME, requests.refused))
        ops.append(_op(step, refutation.model))
        if requests.refused:
            ops.append(Op(Kind.DENY, NO_NAME, 0))
    return Trace(tuple(ops), subject, LIMIT, rule, (refutation.what,))


def _op(step: Step, model: Model) -> Op:
    values = [model.value(operand) for operand in step.operands]
    if step.verb in ("free", "realloc"):
        values.insert(0, NIL if step.block is None else step.block)
    name = NO_NAME if step.made is None else step.made
    return Op(Kind[step.verb.upper()], name, *values)
