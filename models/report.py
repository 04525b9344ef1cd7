"""The text report of a finding: the rule, the trace, the numbers, a picture, how to replay.

Text only; it judges nothing, and the machine-readable forms are made elsewhere.
"""

from __future__ import annotations

from models.check import Finding
from models.contract import Contract, has_no_description
from models.heap import Block, Heap
from models.judging.case import answer, origin
from models.observation import Run, Seen
from models.picture import draw, strip
from models.rules import RULES
from models.trace import ALLOCATING, NIL, NO_NAME, Trace, to_text
from models.verdict import Violation

_CONTEXT = 12


def report(finding: Finding, contract: Contract, trace_file: str = "") -> str:
    """The report, some twenty lines; `trace_file` is where the trace was saved."""
    rule = RULES[finding.rule]
    subject = finding.trace.subject or "SUBJECT"
    lines = [
        f"{finding.rule}: {rule.violation} ({rule.layer} rule; {rule.source})",
        f"  {subject}: {finding.message}",
        "",
        *_program(finding),
        "",
        *_heap(finding, contract),
        _standing(finding),
        f"replay: python fuzz/run.py {subject}{promise(subject, contract)} "
        f"--replay {trace_file or 'FILE'}",
    ]
    return "\n".join(lines) + "\n"


def promise(subject: str, contract: Contract) -> str:
    """The word with which the command line promises threads for who cannot; "" if not needed."""
    needed = contract.threads and has_no_description(subject)
    return " --threads 3" if needed else ""


def picture(finding: Finding, contract: Contract) -> str:
    """One line that shows the heap at the violation, the blocks it names marked with "!!"."""
    violation = finding.verdict.violation
    upto = violation.op if violation else len(finding.trace)
    blocks = live_blocks(finding.trace, finding.run, contract, upto)
    named = frozenset(violation.blocks if violation else ())
    return draw(blocks, origin(finding.run), named)


def thumbnail(trace: Trace, run: Run, contract: Contract, violation: Violation | None) -> str:
    """The heap in a few letters: at the violation, else when it was at its fullest."""
    at = violation.op if violation else _fullest(trace, run, contract)
    blocks = live_blocks(trace, run, contract, at)
    return strip(blocks, origin(run), in_question(trace, violation))


def in_question(trace: Trace, violation: Violation | None) -> frozenset[int]:
    """The blocks that a violation is about: those it names, else those of its operation."""
    if violation is None:
        return frozenset()
    if violation.blocks or violation.op >= len(trace):
        return frozenset(violation.blocks)
    op = trace.ops[violation.op]
    return frozenset(name for name in (op.block, op.name) if name not in (None, NIL, NO_NAME))


def _fullest(trace: Trace, run: Run, contract: Contract) -> int:
    """The operation after which most blocks were live."""
    heap, best, most = Heap(), 0, 0
    for index, (op, seen) in enumerate(zip(trace.ops, run.observations, strict=False)):
        if seen.flags & Seen.SKIPPED:
            continue
        granted = op.kind in ALLOCATING and bool(answer(op, seen))
        heap.release(op, granted, contract.realloc_zero)
        if granted and op.size < 2**64:
            heap.grant(Block(op.name, seen.address, op.size))
        live = len(heap.live)
        if live > most:
            best, most = index, live
    return best


def live_blocks(trace: Trace, run: Run, contract: Contract, upto: int) -> list[Block]:
    """The blocks live when operation `upto` had come back, in the order of their making.

    A block that this very operation released is among them: it is what the violation is about.
    """
    heap = Heap()
    pairs = zip(trace.ops[: upto + 1], run.observations, strict=False)
    for index, (op, seen) in enumerate(pairs):
        if seen.flags & Seen.SKIPPED:
            continue
        granted = op.kind in ALLOCATING and bool(answer(op, seen))
        if index < upto or granted:
            heap.release(op, granted, contract.realloc_zero)
        if granted and op.size < 2**64:
            heap.grant(Block(op.name, seen.address, op.size, seen.usable, op.size, op.kind))
    return list(heap.live.values())


def _program(finding: Finding) -> list[str]:
    """The trace with the violating operation marked; the middle of a long one is left out."""
    text = to_text(finding.trace).splitlines()
    head = [line for line in text if line.startswith("#")]
    ops = text[len(head) :]
    violation = finding.verdict.violation
    at = violation.op if violation else len(ops)
    lines = [f"  {line}" for line in head]
    shown = range(len(ops))
    if len(ops) > 4 * _CONTEXT:
        shown = [i for i in shown if i < _CONTEXT or abs(i - at) <= _CONTEXT]
    last = -1
    for index in shown:
        if index != last + 1:
            lines.append(f"  ... {index - last - 1} operations ...")
        mark = f"   <-- {finding.rule}" if index == at else ""
        lines.append(f"{'>' if mark else ' '} {ops[index]}{mark}")
        last = index
    if last + 1 < len(ops):
        lines.append(f"  ... {len(ops) - last - 1} operations ...")
    if at >= len(ops):
        lines.append(f"> (the check at the end)   <-- {finding.rule}")
    return lines


def _heap(finding: Finding, contract: Contract) -> list[str]:
    """Where threads ran freely no order of their operations tells what the heap was."""
    return [] if finding.shown else [f"  heap: {picture(finding, contract)}", ""]


def _standing(finding: Finding) -> str:
    if finding.shown:
        often, runs = finding.shown
        return f"free-running threads: shown in {often} of {runs} fresh processes"
    if finding.reproduced:
        return f"reproduced in a fresh process; {finding.executions} executions to find and shrink"
    return "NOT reproduced in a fresh process: the subject, or its surroundings, keep a state"
