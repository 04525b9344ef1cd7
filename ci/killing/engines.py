"""The engines of the kill table: each searches one wrong allocator until it is killed.

They are the project's own engines with a budget in CPU time; none of them knows what the edit was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from allocator import description
from allocator.subject import Subject, SubjectError
from ci.killing.attempt import ERROR, KILLED, SURVIVED, UNSTABLE, Attempt, Terms, of_finding
from ci.killing.clock import Clock, Spent
from ci.killing.targets import find
from fuzz.bench import Bench
from fuzz.campaign import Campaign
from fuzz.options import CYCLES_SHARE, TRACES, Options
from models.trace import Trace, from_text

Engine = Callable[[str, Terms], Attempt]
TRIES = 3  # campaigns after one whose only finding did not show again


def attempt(engine: str, faces: Sequence[Path], terms: Terms) -> Attempt:
    """One engine on a target: its faces in turn, until one is killed."""
    clock, last = Clock(terms.cpu_seconds), Attempt(SURVIVED)
    for face in faces:
        try:
            find(str(face), looking=terms.looking)  # compiled before the clock starts
            tried = ENGINES[engine](str(face), terms)
        except SubjectError as error:
            tried = Attempt(ERROR, message=str(error))
        if tried.killed:
            last = replace(tried, face=face.stem)
            break
        last = tried.after(last)
    return replace(last, cpu=round(last.cpu, 2), spent=round(clock.elapsed, 2))


def bench_of(face: str, terms: Terms) -> Bench:
    """The face on the bench, with no exact model where the rule `model` is off."""
    bench = Bench(find(face, looking=terms.looking), terms.rules)
    if "model" not in terms.rules:
        bench.predict = None
    return bench


# ---- the campaign, whole and in parts ----


def _campaign(face: str, terms: Terms, *, share: float = 1.0, **phases: bool) -> Attempt:
    """A campaign that replays nothing saved; `share` is what its phases get of its seconds."""
    watch, tried = _Watch(terms), Attempt(SURVIVED)
    for turn in range(TRIES):
        options = Options(
            seconds=max(1.0, terms.cpu_seconds - watch.clock.elapsed) / share * stretch(),
            seed=terms.seed + turn,
            out=terms.folder / str(turn),
            findings=1,
            rules=terms.rules,
            saved=terms.folder / "nothing-saved",
            **phases,
        )
        built = watch.uncounted(partial(find, looking=terms.looking))
        spent = watch.spends(Campaign(face, options, watch, built))
        tried = watch.told().after(replace(tried, cpu=0.0))
        if tried.verdict != UNSTABLE or spent:
            break
    return tried if tried.killed else replace(tried, cpu=watch.clock.elapsed)


class _Watch:
    """Hears what a campaign tells, looks at the clock each time, and keeps the counts.

    The last thing that a campaign tells before its only finding is that it will confirm it.
    """

    def __init__(self, terms: Terms) -> None:
        self.clock = Clock(terms.cpu_seconds)

    def spends(self, campaign: Campaign) -> bool:
        """Runs it; whether it came to the end of the CPU time."""
        self._campaign, self._executions, self._cpu = campaign, 0, 0.0
        try:
            campaign.run()
        except Spent:
            return True
        return False

    def uncounted(self, built: Callable[..., Subject]) -> Callable[..., Subject]:
        """The same, with what the compiler takes left out."""

        def find_it(*words: object, **more: object) -> Subject:
            with self.clock.stopped():
                return built(*words, **more)

        return find_it

    def __call__(self, _text: str) -> None:
        self._cpu = self.clock.check()
        self._executions = self._campaign.result.executions

    def told(self) -> Attempt:
        """What the campaign has to say."""
        result = self._campaign.result
        if result.reports:
            finding = result.reports[0].finding
            # The guided search counts without its parent's checks, and not the program it died of.
            counted = result.executions - finding.executions
            executions = max(1, self._executions, counted)
            return of_finding(finding, executions, self._cpu)
        if result.error is not None:
            return Attempt(ERROR, result.executions, message=result.error)
        return Attempt(UNSTABLE if result.vanished else SURVIVED, result.executions)


def stretch() -> float:
    """Seconds that a second of CPU time may take while others use the machine too: 1 to 4.

    The phases of a campaign share out seconds; the clock ends it when the CPU time is spent.
    """
    return min(4.0, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


# ---- traces that are there already ----


def _saved(face: str, terms: Terms) -> Attempt:
    """Every saved trace, whatever allocator it was found on."""
    clock = Clock(terms.cpu_seconds)
    count = 0
    with bench_of(face, terms) as bench:
        for path in sorted(TRACES.rglob("*.trace")):
            saved = from_text(path.read_text())
            if _is_own(saved, face):
                continue
            trace = Trace(saved.ops, bench.subject.name, saved.store)
            count += 1
            if bench.judge(trace, bench.execute(trace)).ok:
                continue
            seen = clock.elapsed
            tried = of_finding(bench.check(trace), count, seen)
            if tried.killed:
                return tried
    return Attempt(SURVIVED, count, clock.elapsed)


def _is_own(saved: Trace, face: str) -> bool:
    """A planted bug must not be killed by the trace that was saved for it."""
    allocator, _, bug = (saved.subject or "").partition("+bugs/")
    return bool(bug) and Path(face).parent.name.startswith(f"{allocator}-{bug}-")


# ---- Hypothesis, which lives in tests/ ----


def _hypothesis(name: str) -> Engine:
    def engine(face: str, terms: Terms) -> Attempt:
        from tests import hypothesis_search  # Hypothesis takes a second to be imported

        clock = Clock(terms.cpu_seconds)
        with bench_of(face, terms) as bench:
            search = getattr(hypothesis_search, name)
            found = search(bench, terms.seed, clock.check, Spent)
            seen = clock.elapsed
            if found.trace is None:
                return Attempt(SURVIVED, found.executions, seen)
            return of_finding(bench.check(found.trace), found.executions, seen)

    return engine


# ---- what a header promises of misuse, beyond what the trace language can say ----


def _promises(face: str, terms: Terms) -> Attempt:
    """The cases of tests/best_fit_misuse.py; there are none for the other allocators."""
    from tests import best_fit_misuse

    clock = Clock(terms.cpu_seconds)
    if terms.layers != "all" or description.read(Path(face)).name != "best_fit":
        return Attempt(SURVIVED)
    wrong = best_fit_misuse.first_wrong(Path(face).parent)
    if wrong is None:
        return Attempt(SURVIVED, 0, clock.elapsed)
    return Attempt(KILLED, wrong[0], clock.elapsed, "misuse", wrong[1])


ENGINES: dict[str, Engine] = {
    "fuzz": _campaign,
    "dense": partial(_campaign, share=(1 - CYCLES_SHARE) / 2, cycles=False, guided=False),
    "cycles": partial(_campaign, share=CYCLES_SHARE / 2, dense=False, guided=False),
    "guided": partial(_campaign, share=1 - CYCLES_SHARE, dense=False, cycles=False),
    "stateful": _hypothesis("sessions"),
    "traces": _hypothesis("whole_traces"),
    "saved": _saved,
    "promises": _promises,
}
COVERED = ("fuzz", "guided")
