"""`window.*`: what is claimed of one operation in a heap of any size, where a walker has windows.

No bound on the heap, on its blocks, or on what happened before; functions that search the heap are
replaced by what they promise.  That windows add up to heaps is argued in README.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from allocator.subject import Subject
from proofs import inductive_claims, onlooker, opaque, program_claims, promises
from proofs.claims import Claim, Ledger
from proofs.engine import Engine
from proofs.host import Host
from proofs.ir import Module
from proofs.menu import Menu
from proofs.onlooker import NO_HOLDER, RECLAIM
from proofs.programs import Exploration
from proofs.solver import BRISK, PATIENT
from proofs.study import Study
from proofs.target import NATIVE, TARGET
from proofs.walks import Walker, flags_of, walker_of
from proofs.windows import Windows, guard_of

NAME = "window"
MOST = 2**61 - 1  # no block of a window is as large
QUICK_VERBS, QUICK_BLOCKS = ("free", "malloc"), 2
FAMILIES = ("no_undefined", "abort", "alignment", "prefix")
_OWN = {
    "bounds": ("bounds", "nothing is touched but the window", ()),
    "usable": ("usable", "a used block as large as it holds each live block", (NO_HOLDER,)),
    "reclaim": RECLAIM,
}


def studies(subject: Subject, quick: bool = False) -> tuple[Study, ...]:
    """The study of a subject whose walker has windows; none of others."""
    walker = walker_of(subject)
    if walker is None or not NATIVE or not windows_of(walker, subject):
        return ()
    return (study(subject, walker, windows_of(walker, subject, quick)),)


def hunts(subject: Subject) -> tuple[Study, ...]:
    """Studies in which a planted bug may show, the cheap one first."""
    walker = walker_of(subject)
    every, few = windows_of(walker, subject), windows_of(walker, subject, quick=True)
    rest = {
        verb: tuple(window for window in windows if window not in few.get(verb, ()))
        for verb, windows in every.items()
    }
    left = [{verb: windows} for verb, windows in rest.items() if windows]
    return tuple(replace(study(subject, walker, windows), effort=BRISK) for windows in (few, *left))


def windows_of(walker: Walker, subject: Subject, quick: bool = False) -> dict[str, tuple]:
    """The windows by the verb that they are of."""
    others = walker.told("WINDOWS_OF", {}).items()
    own = [windows for variant, windows in others if subject.name.startswith(variant)]
    windows = own[0] if own else walker.told("WINDOWS", {})
    if not quick:
        return windows
    few = {verb: windows[verb] for verb in QUICK_VERBS if verb in windows}
    return {
        verb: tuple(each for each in every if len(each[0]) <= QUICK_BLOCKS)
        for verb, every in few.items()
    }


def study(subject: Subject, walker: Walker, windows: dict[str, tuple]) -> Study:
    """All operations on these windows."""
    verbs = tuple(verb for verb in windows if verb in subject.has)
    menu = Menu(verbs, 1, inductive_claims.ALIGNMENTS, most=MOST)
    assumptions = (
        "an arena of any size at any address, blocks of up to 2^60 bytes; what holds of every "
        "window holds of the heap: proofs/README.md, Windows",
        *promises.told_of(walker),
        "a resize stays in its place: one that moves is a request and a free",
        *opaque.told_of(subject, flags_of(walker)),
        menu.told(),
    )

    def run(module: Module, ledger: Ledger) -> Engine:
        host = Host(TARGET.plenty)
        hooks = {**host.hooks(), **opaque.hooks_of(subject), **promises.promises_of(walker)}
        engine = Engine(module, ledger.reasoning, guard_of(host), hooks)
        exploration = Exploration(engine, ledger, menu, host, subject.contract, subject.has)
        Windows(exploration, walker, (), windows={verb: windows[verb] for verb in verbs}).run()
        return engine

    return Study(
        NAME, tuple(_claims(subject, walker, verbs)), assumptions, (), run,
        effort=PATIENT, flags=flags_of(walker),
    )  # fmt: skip


def _claims(subject: Subject, walker: Walker, verbs: tuple[str, ...]) -> Iterator[Claim]:
    for claim in program_claims.claims_of(NAME, subject, frozenset(verbs), 2):
        if claim.family in FAMILIES:
            yield claim
    for family, (rule, told, conclusions) in _OWN.items():
        yield Claim(f"{NAME}.{family}", rule, told, conclusions)
    for claim in onlooker.claims_of(NAME, subject, walker):
        yield replace(claim, says=claim.says.replace("heap", "window"))
