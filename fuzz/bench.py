"""One subject on the bench: its executors, its exact model, and the check pipeline over them.

It searches nothing; campaign.py brings the traces.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from types import TracebackType
from typing import Any

from allocator import executor
from allocator.subject import Subject
from allocator.tsan import Sanitized
from fuzz.native import decoder_library
from models.check import CONFIRM_FACTOR, Finding, check
from models.judge import CannotJudge, Predict, judge
from models.observation import Run
from models.race import check_race
from models.rules import ALL, RULES, WHITE_BOX
from models.trace import Trace
from models.verdict import Verdict

# From here on looking at the whole heap after each operation would take longer than anybody waits.
LONG = 20_000
SANITIZED_ROUNDS, SANITIZED_BUDGET = 2, 50  # ... under ThreadSanitizer; runs to shrink
RACE_CPU_MS = 200  # of all threads together, in which none of them gets on
ROUNDS, PATIENCE = 6, 3  # of free-running threads; how much more to look again


class Bench:
    """A subject ready to be judged; always in the sandbox, so that nothing it does ends us.

    Of traces longer than LONG operations the validity predicate sees the end alone, and the exact
    model, which predicts each layout, is left out.  `noisy` is the same subject, built for threads
    that run freely.
    """

    def __init__(
        self, subject: Subject, rules: frozenset[str] = ALL, noisy: Subject | None = None
    ) -> None:
        self.subject = subject
        self._noisy = noisy or subject
        self.rules = rules
        self.executor = executor.open_executor(subject, sandbox=True, decoder=decoder_library())
        self.predict = exact_model(subject)
        self._racing: executor.Executor | None = None
        self._sanitized: Sanitized | None = None

    def execute(self, trace: Trace, *, cpu_limit_ms: int = executor.CPU_LIMIT_MS) -> Run:
        """Runs a trace, the validity predicate after each operation, the walk at the end."""
        return self.executor.run(trace, cpu_limit_ms=cpu_limit_ms, **self._looks(trace))

    def execute_fresh(self, trace: Trace, *, cpu_limit_ms: int = executor.CPU_LIMIT_MS) -> Run:
        """The same in a process of its own."""
        return executor.run_fresh(
            self.subject, trace, cpu_limit_ms=cpu_limit_ms, **self._looks(trace)
        )

    def race(self, trace: Trace, *, seed: int, patient: bool = False, brief: bool = False) -> Run:
        """Runs a laid-out trace's threads freely, in a process of its own."""
        if self._racing is None:
            forked = replace(self._noisy, forks=True)
            self._racing = executor.open_executor(forked, sandbox=True)
        limit = RACE_CPU_MS * (CONFIRM_FACTOR if patient else 1)
        rounds = 1 if brief else ROUNDS * (PATIENCE if patient else 1)
        return self._racing.race(trace, seed, rounds, cpu_limit_ms=limit)

    def sanitize(self, compiler: str = "") -> None:
        """Builds the subject with ThreadSanitizer; SubjectError where that cannot be."""
        self._sanitized = self._sanitized or Sanitized(self.subject, compiler)

    def sanitized(self, trace: Trace, *, seed: int, patient: bool, brief: bool) -> Run:
        """Runs a laid-out trace's threads freely under ThreadSanitizer; see sanitize."""
        assert self._sanitized, "sanitize() comes first"
        del patient, brief  # it need not meet the moment in which a race does harm
        return self._sanitized.run(trace, seed, SANITIZED_ROUNDS)

    @property
    def rounds(self) -> int:
        """Rounds that the last race took."""
        return self._racing.region.rounds if self._racing else 0

    def check_race(
        self, trace: Trace, *, sanitized: bool = False, **options: Any
    ) -> Finding | None:
        """What free-running threads show of a trace again and again: see models.race.

        `sanitized`: under ThreadSanitizer; see sanitize.
        """
        if sanitized:
            options = {"budget": SANITIZED_BUDGET, **options}
        race = self.sanitized if sanitized else self.race
        return check_race(
            trace, race, self.subject.contract, self.rules, subject=self.subject.name,
            **options,
        )  # fmt: skip

    def _looks(self, trace: Trace) -> dict[str, Any]:
        short = len(trace) <= LONG
        walk = short and self.predict is not None and "walk" in self.subject.has
        return {"check": "each" if short else "end", "walk": walk}

    def judge(self, trace: Trace, run: Run) -> Verdict:
        """The verdict on a run at hand, the exact model's word included; see glance."""
        try:
            return judge(trace, run, self.subject.contract, self.rules, self.predict)
        except CannotJudge:
            return Verdict()

    def glance(self, trace: Trace, run: Run) -> Verdict:
        """The verdict on a run at hand, without the exact model; ok when it cannot be judged."""
        try:
            return judge(trace, run, self.subject.contract, self.rules)
        except CannotJudge:
            return Verdict()

    def check(self, trace: Trace, budget: int | None = None) -> Finding | None:
        """Executes, judges, confirms and shrinks; None when no rule is broken.

        `budget` is the number of executions that shrinking may take.
        """
        named = replace(trace, subject=self.subject.name)
        options = {} if budget is None else {"budget": budget}
        return check(
            named,
            self.execute,
            self.subject.contract,
            self.rules,
            self.predict if len(trace) <= LONG else None,
            self.execute_fresh,
            subject=self.subject.name,
            **options,
        )

    def close(self) -> None:
        """Ends the sandbox."""
        self.executor.close()
        if self._racing:
            self._racing.close()

    def __enter__(self) -> Bench:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def rules_on(
    subject: Subject, rules: frozenset[str] = ALL, *, sanitized: bool = False
) -> tuple[str, ...]:
    """The rules that can fire: those of `rules` whose premise the subject fulfils.

    `sanitized`: ThreadSanitizer is asked too.
    """
    contract, has = subject.contract, subject.has
    premises = {
        "bounds": subject.memory_known,
        "oom": subject.memory_known,
        "null": contract.free_null or contract.realloc_null,
        "zero_size": contract.malloc_zero != "any" or contract.realloc_zero != "never",
        "usable": "usable_size" in has,
        "errno": contract.enomem or contract.free_preserves_errno,
        "reclaim": contract.reclaims or contract.coalesces or contract.gives_back,
        "footprint": contract.reclaims,
        "misuse": bool(contract.detects),
        "zeroed": "calloc" in has,
        "prefix": "realloc" in has,
        "survival": "realloc" in has,
        "model": subject.model is not None,
        "race": sanitized and contract.threads and subject.prebuilt is None,
    }
    white = {name for name, rule in RULES.items() if rule.layer == WHITE_BOX}
    premises |= dict.fromkeys(white, "check" in has)
    return tuple(name for name in RULES if name in rules and premises.get(name, True))


def exact_model(subject: Subject) -> Predict | None:
    """The exact model that the subject's description names, None where it names none.

    NAME is models/exact/NAME.py and its predict; NAME+VARIANT is predict_VARIANT there.
    """
    if not subject.model:
        return None
    name, _, variant = subject.model.partition("+")
    module = importlib.import_module(f"models.exact.{name}")
    predict: Predict = getattr(module, f"predict_{variant}" if variant else "predict")
    return predict
