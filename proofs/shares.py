"""A study of many heaps, share by share: what a share came to is kept, and the next run goes on.

A share has a solver of its own, so that what it finds depends on nothing else.  It judges nothing:
a share in which something was refuted is looked at again by whoever does.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace

from allocator.subject import Subject
from proofs import verdicts
from proofs.claims import Ledger
from proofs.engine import Engine
from proofs.ir import Module
from proofs.path import Reasoning
from proofs.remember import forget
from proofs.study import Study

KIND = "shares"


@dataclass(frozen=True)
class Shared:
    """A study of a subject, whose shares are looked at by whoever has time.

    since  outcomes from before are not believed (Unix time)
    """

    subject: Subject
    module: Module
    study: Study
    since: float = 0.0

    def run(self, ledger: Ledger) -> Engine:
        """Like Study.run: all shares, those with something refuted first, and what is kept."""
        assert self.study.share is not None
        engine = self.study.share(self.module, ledger, ())
        order = sorted(range(self.study.shares), key=lambda index: not self._is_bad(ledger, index))
        for index in order:
            if ledger.refuted:
                break
            self._put(ledger, engine, self._found(ledger, index))
        return engine

    def prepare(self, ledger: Ledger, index: int) -> None:
        """Looks at one share, unless another has refuted something already."""
        if not any(self._is_bad(ledger, each) for each in range(self.study.shares)):
            self._found(ledger, index)

    def _found(self, ledger: Ledger, index: int) -> dict:
        """What is kept of the share; else what comes out now."""
        known = verdicts.recalled(KIND, self._key(ledger, index), self.since)
        if known is not None and not known["refuted"]:
            ledger.ahead += known["seconds"]
            return known
        forget()
        started = time.process_time()
        own = _beside(ledger)
        patience = own.reasoning.solver.effort
        assert self.study.share is not None
        engine = self.study.share(self.module, own, (index,))
        found = {
            "refuted": sorted(own.refuted),
            "premises": own.premises,
            "paths": own.paths,
            "reached": [[*what, times] for what, times in sorted(own.reached.items())],
            "covered": sorted(engine.covered),
            "seconds": time.process_time() - started,
            "units": patience - own.reasoning.solver.effort,
        }
        verdicts.keep(KIND, self._key(ledger, index), found)
        return found

    @staticmethod
    def _put(ledger: Ledger, engine: Engine, found: dict) -> None:
        ledger.premises += found["premises"]
        ledger.paths += found["paths"]
        ledger.reached.update({(family, what): n for family, what, n in found["reached"]})
        engine.covered |= {(function, block) for function, block in found["covered"]}
        ledger.reasoning.solver.spend(found["units"])

    def _is_bad(self, ledger: Ledger, index: int) -> bool:
        known = verdicts.recalled(KIND, self._key(ledger, index), self.since)
        return known is not None and bool(known["refuted"])

    def _key(self, ledger: Ledger, index: int) -> str:
        walker = self.subject.walker
        rules = verdicts.digest_of([walker] if walker else [])
        told = (tuple(ledger.claims), self.study.assumptions, self.study.effort, rules)
        return verdicts.key(
            self.module.digest, self.subject.name, self.subject.contract, *told, index,
            self.study.shares,
        )  # fmt: skip


def _beside(ledger: Ledger) -> Ledger:
    """A ledger of the same kind for the same claims, with nothing in it and a new solver."""
    solver = ledger.reasoning.solver
    return replace(
        ledger, reasoning=Reasoning(solver.another()), reached=Counter(), premises=0, paths=0
    )
