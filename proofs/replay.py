"""Runs a counterexample on the compiled library and asks the judge of the whole project.

The one place where proofs/ meets the executor; it finds nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from allocator.executor import Executor, open_executor
from allocator.subject import Subject, SubjectError
from models.judge import judge
from models.trace import Trace
from proofs.engine import LoopLimit
from proofs.follow import NotFollowed, follow
from proofs.read_ir import UnsupportedIr
from proofs.target import NATIVE, TARGET


@dataclass(frozen=True)
class Replay:
    """What became of a counterexample on the compiled library.

    rule  the rule the judge names, "ok" when nothing was seen, "" when it could not be run
    note  one line for the report
    """

    rule: str
    note: str

    @property
    def confirmed(self) -> bool:
        """The compiled library breaks a rule on this trace."""
        return self.rule not in ("", "ok")


def replay(trace: Trace, subject: Subject, sandbox: bool | None = None) -> Replay:
    """Runs `trace` on the subject, its own check called after each operation.

    What was compiled for another machine is followed on its IR.
    """
    if not NATIVE:
        return _followed(trace, subject)
    try:
        with open_executor(subject, sandbox) as executor:
            return replayed_on(executor, trace, subject)
    except SubjectError as error:
        return Replay("", f"not replayed: {str(error).splitlines()[0]}")


def _followed(trace: Trace, subject: Subject) -> Replay:
    try:
        verdict = follow(trace, subject)
    except (NotFollowed, UnsupportedIr, LoopLimit) as error:
        return Replay("", f"not replayed: {error}")
    told = verdict.violation.message if verdict.violation else "nothing wrong"
    where = f"on the IR for {TARGET.bits} bits, not on a machine"
    return Replay(verdict.rule, f"replayed {where}: {verdict.rule}: {told}")


def replayed_on(executor: Executor, trace: Trace, subject: Subject) -> Replay:
    """The same on an executor that is open already."""
    verdict = judge(trace, executor.run(trace, check="each"), subject.contract)
    if verdict.violation is None:
        return Replay("ok", "replayed: the compiled library shows nothing wrong")
    return Replay(verdict.rule, f"replayed: {verdict.rule}: {verdict.violation.message}")
