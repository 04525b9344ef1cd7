"""Rules on a run that was cut short: misuse null oom refusal bounds survival hang abort exit crash.

What the finished operations showed is judged elsewhere.
"""

from __future__ import annotations

import signal

from models.heap import Block
from models.judging.case import NO_PAGES, RETURNED, Case, answer, is_null
from models.judging.grants import place_charges
from models.observation import Observation, Outcome, Run, Stage
from models.trace import MISUSES, Kind, Op

_RULES_OF = {
    Outcome.NONE: "crash",
    Outcome.SIGNAL: "crash",
    Outcome.ABORT: "abort",
    Outcome.HANG: "hang",
    Outcome.EXIT: "exit",
}
# x86-64's numbers of the system calls that make another process, or become another program.
_PROCESS_CALLS = {56: "clone", 57: "fork", 58: "vfork", 59: "execve", 322: "execveat"}
_NEAR_NULL = 65536
_MUCH, _MOST = 1 << 26, 1 << 40  # bytes; more than the second nobody grants


class CannotJudge(Exception):
    """The run says nothing about the subject: the harness itself failed; one line says where."""


def ending_rule(run: Run) -> str | None:
    """The rule that such an end breaks, None for one that breaks none."""
    rule = _RULES_OF.get(run.outcome)
    refused = rule == "crash" and run.signal == signal.SIGSYS  # a call that the confinement refuses
    return "exit" if refused else rule


def judge_ending(case: Case) -> None:
    """Judges how the run ended; raises CannotJudge when that was the harness's doing."""
    run = case.run
    rule = ending_rule(run)
    if rule is None:
        return
    if run.stage is Stage.RESTORE:
        raise CannotJudge(f"the harness ended with {run.outcome.name} while restoring the subject")
    if run.outcome is Outcome.HANG and run.stage not in (Stage.INIT, Stage.CALL):
        return  # the time went into the executor's own filling and checking
    if (
        run.outcome is Outcome.HANG
        and run.done < len(case.trace)
        and _is_much(case.trace.ops[run.done])
    ):
        return
    told = ending_text(case)
    if run.stage is Stage.INIT:
        case.charge(0, (rule, f"init {told}"))
    elif run.stage is Stage.CALL:
        _judge_call(case, rule, told)
    else:
        _judge_touch(case, rule, told)


def _is_much(op: Op) -> bool:
    """It clears or copies so much that the time may have gone there, page by page."""
    return op.kind in (Kind.CALLOC, Kind.REALLOC) and _MUCH <= op.size <= _MOST


def _judge_call(case: Case, rule: str, told: str) -> None:
    """One of the subject's functions did not come back."""
    index = case.run.done
    if index >= len(case.trace.ops):
        _judge_predicate(case, rule, told)
        return
    op, seen = case.trace.ops[index], _observation(case, index)
    # free_all calls the subject many times: it returned from one of them, that is all.
    if seen.flags & RETURNED and op.kind is not Kind.FREE_ALL:
        _judge_predicate(case, rule, told)
        return
    charges = [(rule, told)]
    if op.kind in MISUSES:
        promised = case.contract.detects.get(op.kind.name.lower())
        if promised == "abort" and case.run.outcome is Outcome.ABORT:
            return
        if promised:
            charges.insert(0, ("misuse", f"{told}, where {promised} is promised"))
    if _blames_null(case, op):
        charges.insert(0, ("null", told))
    if seen.flags & NO_PAGES:
        charges.insert(0, ("oom", f"{told} after pages were refused"))
    case.charge(index, *charges, blocks=_operand(op))


def _judge_predicate(case: Case, rule: str, told: str) -> None:
    """The call under way was none that the trace asks for.

    It is the validity predicate, what a thread does at its end or, where memory is unknown, the
    last free of what is live.  Time spent there tells nothing: the predicate may
    walk the whole heap after each operation.
    """
    if case.run.outcome is not Outcome.HANG:
        where = "outside the operation, in the validity predicate, a thread's end or a last free"
        case.charge(case.run.done, (rule, f"{told} {where}"))


def _blames_null(case: Case, op: Op) -> bool:
    """The NULL is to blame, rather than what malloc does for the same request."""
    if op.kind is Kind.FREE:
        return is_null(op)
    if op.kind is not Kind.REALLOC or not is_null(op):
        return False
    near = min(case.run.fault, 2**64 - case.run.fault) < _NEAR_NULL
    return case.run.outcome is not Outcome.SIGNAL or near


def _judge_touch(case: Case, rule: str, told: str) -> None:
    """The executor could not write or read a block that must be accessible, or ask for its size."""
    run, index = case.run, case.run.done
    if index < len(case.trace.ops):
        op, seen = case.trace.ops[index], _observation(case, index)
        block = case.heap.live.get(op.name)
        if block and answer(op, seen):
            charges = [(rule, told)]
            # An abort or an exit is usable_size's: the executor's own accesses end in signals.
            if run.outcome is Outcome.SIGNAL and _may_hold(block, run.fault):
                charges = [*place_charges(case, op, seen, block, "cannot be accessed"), *charges]
            elif seen.flags & NO_PAGES:
                # usable_size was asked first, and looked for a header in front of the block.
                charges.insert(0, ("oom", f"{told}, the block given after refused pages is none"))
            case.charge(index, *charges, blocks=(block.name,))
            return
    block = case.heap.at(run.fault) if run.fault else None
    if block is None:
        case.charge(index, (rule, told))
        return
    gone = f"live {case.describe(block)} cannot be accessed any more at {case.place(run.fault)}"
    case.charge(index, ("bounds", gone), (rule, told), blocks=(block.name,))


def _may_hold(block: Block, fault: int) -> bool:
    return not fault or block.address <= fault < block.address + max(block.size, block.span)


def _observation(case: Case, index: int) -> Observation:
    seen = case.run.observations
    return seen[index] if index < len(seen) else Observation()


def _operand(op: Op) -> tuple[int, ...]:
    return () if op.block is None or is_null(op) else (op.block,)


def ending_text(case: Case) -> str:
    """How the run ended, in words that follow the operation's."""
    run = case.run
    if run.outcome is Outcome.SIGNAL and run.signal == signal.SIGSYS:
        call = _PROCESS_CALLS.get(run.fault, "a forbidden system call")
        return f"started another process or program ({call})"
    if run.outcome is Outcome.SIGNAL:
        at = f" at {case.place(run.fault)}" if run.fault else ""
        return f"{_signal_name(run.signal)}{at}"
    if run.outcome is Outcome.EXIT:
        return f"called exit({run.exit_status})"
    if run.outcome is Outcome.HANG:
        if run.signal:
            return "waits and does not come back"
        return "used up the CPU time limit"
    if run.outcome is Outcome.ABORT:
        said = f": its own assertion failed, {run.assertion}" if run.assertion else ""
        return f"called abort{said}"
    return f"took the process down{f' ({_signal_name(run.signal)})' if run.signal else ''}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
