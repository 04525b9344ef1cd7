"""`inductive.*`: what is claimed of every valid heap, where a walker says which heaps are valid.

The claims are those of program_claims.py, the walker's own rules, and the fit relation; how they
are explored is the business of induction.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from allocator.subject import Subject
from proofs import onlooker, opaque, program_claims
from proofs import programs as says
from proofs.claims import Claim, Ledger
from proofs.engine import Engine
from proofs.host import PAGE, Host
from proofs.induction import Induction, Room
from proofs.ir import Module
from proofs.menu import ODD, Menu
from proofs.oddities import OddExploration
from proofs.onlooker import NO_HOLDER, RECLAIM
from proofs.solver import BRISK, PATIENT
from proofs.study import Study
from proofs.target import NATIVE
from proofs.walks import Walker, flags_of, walker_of

NAME = "inductive"
GROWTH = 2 * PAGE  # what the host grants beyond the heap that an operation begins with
VERBS = ("free", "malloc", "realloc", "calloc", "aligned_alloc")
ALIGNMENTS = (32, 64)
ROOMS = (((), ()), ((128,), ()), ((160,), ()))
QUICK = (((), ()), ((96,), ()))
SHARES = 16  # of the heaps of full rooms
_LEFT_OUT = frozenset({"product"})  # of calloc's arithmetic the first request says it all
_OWN = {
    "usable": ("usable", "a used block as large as it holds each live block, and says so",
               (says.TOO_SMALL, NO_HOLDER)),
    "reclaim": RECLAIM,
    "fit": ("model", "NULL only if no request fits by the declared fit relation", (says.FITTED,)),
}  # fmt: skip


def studies(subject: Subject, quick: bool = False) -> tuple[Study, ...]:
    """The study of a subject with a walker; none of others."""
    walker = walker_of(subject)
    if walker is None or not NATIVE:
        return ()
    return (study(subject, walker, rooms_of(walker, quick), 1 if quick else SHARES),)


def rooms_of(walker: Walker, quick: bool = False) -> tuple[Room, ...]:
    """The memories whose every valid heap is looked at."""
    rooms = walker.told("QUICK", QUICK) if quick else walker.told("ROOMS", ROOMS)
    return tuple(Room(*room) for room in rooms)


def every_room(walker: Walker) -> tuple[Room, ...]:
    """Quick ones and full ones, each once."""
    return tuple(dict.fromkeys((*rooms_of(walker, quick=True), *rooms_of(walker))))


def host_of(walker: Walker, rooms: tuple[Room, ...]) -> Host:
    """The system under them: it grants these rooms, and a little more."""
    limit = max(room.bytes for room in rooms) + GROWTH
    return Host(limit, page=walker.told("PAGE", PAGE), joined=walker.told("JOINED", False))


def hunts(subject: Subject) -> tuple[Study, ...]:
    """Studies in which a planted bug may show, the cheap one first."""
    wide = [replace(study, effort=BRISK) for study in studies(subject)]
    return (*studies(subject, quick=True), *wide)


def study(subject: Subject, walker: Walker, rooms: tuple[Room, ...], shares: int = 1) -> Study:
    """All operations from all valid heaps of these rooms, in so many shares."""
    verbs = tuple(verb for verb in VERBS if verb in subject.has)
    menu = Menu(verbs, 1, ALIGNMENTS, most=walker.told("MOST", 0))
    assumptions = (
        f"every heap that {walker.path.name} allows, in "
        + ", or ".join(room.told() for room in rooms)
        + "; all other bytes unknown",
        f"at most {GROWTH} bytes more are granted; frees and resizes are valid",
        *opaque.told_of(subject, flags_of(walker)),
        f"{menu.told()}; from one heap of each memory {ODD}",
    )

    def share(module: Module, ledger: Ledger, indexes: Sequence[int]) -> Engine:
        host = host_of(walker, rooms)
        hooks = {**host.hooks(), **opaque.hooks_of(subject)}
        engine = Engine(module, ledger.reasoning, host.guard, hooks)
        engine.concrete = opaque.concrete_of(subject)
        exploration = OddExploration(engine, ledger, menu, host, subject.contract, subject.has)
        Induction(exploration, walker, rooms).run(indexes, shares)
        return engine

    def run(module: Module, ledger: Ledger) -> Engine:
        return share(module, ledger, range(shares))

    return Study(
        NAME, tuple(_claims(subject, walker)), assumptions, (), run,
        {"operation from each heap": 1}, effort=PATIENT * 8, flags=flags_of(walker),
        share=share, shares=shares,
    )  # fmt: skip


def _claims(subject: Subject, walker: Walker) -> Iterator[Claim]:
    for claim in program_claims.claims_of(NAME, subject, frozenset(VERBS), 2):
        if claim.family not in _LEFT_OUT and claim.family not in _OWN:
            yield claim
    for family, (rule, told, conclusions) in _OWN.items():
        if family == "fit" and walker.fits is None:
            continue
        if family == "usable" and "usable_size" not in subject.has:
            conclusions = (NO_HOLDER,)
        yield Claim(f"{NAME}.{family}", rule, told, conclusions)
    yield from onlooker.claims_of(NAME, subject, walker)
