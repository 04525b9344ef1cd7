"""What is claimed of any allocator, in its contract's words: level 0, without an annotation.

`first.*` speaks of the first request, for every size and with memory in plenty: no wrap grants too
little.  `bounded.*` speaks of every program of up to k operations, with little memory.  What an
operation owes is programs.py's business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from allocator.subject import Subject
from models.rules import RULES, WHITE_BOX
from models.trace import Op
from proofs import onlooker, opaque, walks
from proofs import programs as says
from proofs.c_library import ABORTS
from proofs.claims import Claim, Ledger
from proofs.engine import Engine, LoopLimit
from proofs.host import Host
from proofs.ir import Module
from proofs.menu import Menu
from proofs.oddities import OddExploration
from proofs.onlooker import Onlooker, left_by_init
from proofs.scenery import PTRDIFF_MAX, broken
from proofs.solver import BRISK, PATIENT, Unknown
from proofs.study import FellShort, Study
from proofs.target import NATIVE, TARGET

STUDIES = ("first", "bounded")
PLENTY = TARGET.plenty
LITTLE = 2**14
LITTLE_OF = {"mmap_heap": 2**18, "bump": 2**18, "first_fit+mmap": 2**16}
# Where the walk takes longer than all else, so that the layout is left to claims of one operation.
UNCHECKED = {"tlsf": True}
UNCHECKED_TOLD = ("its own word on the layout is not asked",)
# Where every size class is a path of its own, programs are made of small requests, and the first
# one, which may be of any size, finds less memory and fewer alignments.
CLASSED = {"tlsf": True, "buddy": True}
PLENTY_OF = {"tlsf": 2**20}
QUICK_PLENTY_OF = {"tlsf": 2**13}
MANY_OF = {"tlsf": (32, 64, 4096, *(2**power for power in (32, 62, 63) if power < TARGET.bits))}
MOST_OF = {"tlsf": 2**6 - 1, "buddy": 2**8 - 1, "bump+marks": 2**8 - 1}
EVERY_VERB = ("malloc", "free", "realloc", "calloc", "aligned_alloc")
_FEW, _MANY = (64, 4096), tuple(2**bit for bit in range(TARGET.bits))

# family -> (rule, what is claimed, conclusions)
_CLAIMED = {
    "no_undefined": ("crash", "no undefined behaviour, every access aligned", ()),
    "abort": ("abort", "no valid program ends in abort or exit", (ABORTS,)),
    "bounds": ("bounds", "no access, and no block, outside granted memory", (says.OUTSIDE,)),
    "alignment": ("alignment", "every block is aligned as promised", (says.MISALIGNED,)),
    "refusal": ("refusal", "no request over PTRDIFF_MAX is granted", (says.TOO_LARGE,)),
    "product": ("refusal", "calloc grants exact products only, and the whole of them",
                (says.OVERFLOWED, says.OUTSIDE)),
    "overlap": ("overlap", "no two live blocks share a byte", (says.OVERLAP,)),
    "content": ("content", "nothing is written into a live block", (says.WRITTEN,)),
    "prefix": ("prefix", "a resized block keeps its first min(old, new) bytes",
               (says.PREFIX_LOST,)),
    "zeroed": ("zeroed", "cleared memory reads zero", (says.NOT_ZERO,)),
    "zero_size": ("zero_size", "a request of 0 bytes is answered as promised", (says.NO_BLOCK,)),
    "usable": ("usable", "usable_size is at least the request", (says.TOO_SMALL,)),
    "survival": ("survival", "a failed request leaves live blocks alone", (says.CHANGED,)),
    "errno": ("errno", "ENOMEM on failure, free keeps errno, where promised", ()),
}  # fmt: skip
_FIRST = ("no_undefined", "abort", "bounds", "alignment", "refusal", "usable", "errno", "product")


@dataclass(frozen=True)
class Bound:
    """How far a study looks: its menus, the bytes that its host grants, its patience."""

    menus: tuple[Menu, ...]
    limit: int
    effort: int = PATIENT


def first(subject: Subject, quick: bool) -> Bound:
    """One request of any size; quick tries fewer alignments."""
    classed = opaque.of_name(subject, CLASSED, False)
    alignments = _FEW[:1] if quick and classed else _FEW if quick else _many(subject)
    verbs = ("malloc", "product", "aligned_alloc")
    menu = Menu(verbs, 1, alignments, by_powers=classed)
    brisk = 4 * BRISK if classed else BRISK
    return Bound((menu,), _plenty(subject, quick), brisk if quick else PATIENT)


def _many(subject: Subject) -> tuple[int, ...]:
    return opaque.of_name(subject, MANY_OF, _MANY)


def _plenty(subject: Subject, quick: bool) -> int:
    return opaque.of_name(subject, QUICK_PLENTY_OF if quick else PLENTY_OF, PLENTY)


def few(subject: Subject, quick: bool) -> Bound:
    """Short programs."""
    menus = [Menu(EVERY_VERB, 1 if quick else 2, _FEW)]
    menus.append(Menu(("odd",), 1))
    if quick:
        menus.append(Menu(("malloc", "free", "realloc"), 2))
    elif subject.contract.foreign:
        menus.insert(0, Menu(("malloc", "free"), 2, foreign=True))
    if NATIVE and is_reference(subject) and not quick:
        menus.append(Menu(("malloc", "free", "realloc"), 3))
    most, effort = opaque.of_name(subject, MOST_OF, 0), BRISK if quick else PATIENT
    return Bound(tuple(replace(menu, most=most) for menu in menus), _limit(subject), effort)


def _limit(subject: Subject) -> int:
    return opaque.of_name(subject, LITTLE_OF, LITTLE)


# Where a planted bug shows: for each family the menus to try, cheap ones first.
_ONE, _TWO = Menu(("malloc",), 1), Menu(("malloc",), 2)
_ALIGNED, _FREED = Menu(("aligned_alloc",), 1, _FEW), Menu(("malloc", "free"), 2)
_RESIZED = Menu(("malloc", "realloc"), 2)
_HUNTS = {
    "alignment": (_ONE, _ALIGNED, _TWO),
    "overlap": (_TWO, Menu(("malloc", "free"), 3)),
    "content": (_TWO, _FREED, _RESIZED),
    "prefix": (_RESIZED,),
    "zeroed": (
        Menu(("calloc",), 1),
        Menu(("aligned_alloc", "calloc"), 2, (64,)),
        Menu(("malloc", "free", "calloc"), 3),
    ),
    "survival": (_RESIZED,),
    "product": (Menu(("product",), 1),),
}
_LEFT_BELOW = Menu(("aligned_alloc", "free"), 2, (64,))
_NEXT = Menu(EVERY_VERB, 1, (64,))
_ANYWHERE = (_ONE, _ALIGNED, _FREED, _LEFT_BELOW, _RESIZED, Menu(("malloc", "free"), 3))


def hunts(
    name: str, claim: Claim, subject: Subject, module: Module, prefix: tuple[Op, ...] = ()
) -> list[Study]:
    """Studies of one menu each, for a planted bug; none for studies that are not ours.

    prefix: operations after which the bug shows at once.
    """
    if name not in STUDIES:
        return []
    limit = _plenty(subject, True) if name == "first" else _limit(subject)
    menus = (_NEXT,) if prefix else _HUNTS.get(claim.family, _ANYWHERE)
    depth = 1 if name == "first" else 3
    powers = name == "first" and opaque.of_name(subject, CLASSED, False)
    most = opaque.of_name(subject, MOST_OF, 0) if name == "bounded" else 0
    bounds = [
        Bound((replace(menu, most=most, prefix=prefix, by_powers=powers),), limit, BRISK // 4)
        for menu in menus
        if menu.depth <= depth
    ]
    return [study(name, subject, module, bound) for bound in bounds]


def white_box_rules(module: Module) -> frozenset[str]:
    """The rules that the subject's own validity predicate can name."""
    white = {name for name, rule in RULES.items() if rule.layer == WHITE_BOX}
    return frozenset(
        variable.text for variable in module.globals.values() if variable.text in white
    )


def studies(subject: Subject, module: Module, quick: bool = False) -> tuple[Study, ...]:
    """The studies of one subject."""
    return (
        study("first", subject, module, first(subject, quick)),
        study("bounded", subject, module, few(subject, quick)),
    )


def study(name: str, subject: Subject, module: Module, bound: Bound) -> Study:
    """One exploration for all claims that the subject's contract and functions call for."""
    walker = walks.plain_walker_of(subject) if name == "bounded" else None
    claims = tuple(_claims(name, subject, module, bound, walker))
    unchecked = name == "bounded" and opaque.of_name(subject, UNCHECKED, False)
    depth = max(menu.depth for menu in bound.menus)
    assumptions = (
        f"at most {bound.limit} bytes are granted below the break, and as many mapped",
        "frees and resizes are valid",
        *opaque.told_of(subject),
        *(UNCHECKED_TOLD if unchecked else ()),
        *(menu.told() for menu in bound.menus),
    )

    # What it says of one block in plenty of memory is nobody's claim, and its walk is long.
    has = subject.has if _is_checked(name, subject) else subject.has - {"check"}

    def run(module: Module, ledger: Ledger) -> Engine:
        covered: set[tuple[str, str]] = set()
        engine: Engine | None = None
        for index, menu in enumerate(bound.menus):
            before, reached, seen = engine, Counter(ledger.reached), set(covered)
            host = Host(bound.limit, joined=_joins(subject))
            hooks = {**host.hooks(), **opaque.hooks_of(subject)}
            engine = Engine(module, ledger.reasoning, host.guard, hooks, covered=covered)
            engine.concrete = opaque.concrete_of(subject)
            exploration = OddExploration(engine, ledger, menu, host, subject.contract, has)
            exploration.rules = white_box_rules(module)
            if walker is not None:
                held = left_by_init(engine, host, subject.contract.arena)
                exploration.look = Onlooker(walker, engine, held, ledger.settle).look
            try:
                exploration.run()
            except (Unknown, LoopLimit) as error:
                if before is None or ledger.refuted:
                    raise
                ledger.reached = reached  # what was half looked at has not been put to the test
                before.covered = seen
                done = max(each.depth for each in bound.menus[:index])
                raise FellShort(before, done, f"not finished: {menu.told()}: {error}") from None
            if ledger.refuted:
                break
        return engine

    store = bound.limit if bound.limit < PLENTY else 0
    return Study(
        name, claims, assumptions, (), run, {"ops": depth}, store=store, effort=bound.effort
    )


def _claims(
    name: str, subject: Subject, module: Module, bound: Bound, walker: walks.Walker | None
) -> Iterator[Claim]:
    verbs = frozenset(verb for menu in bound.menus for verb in menu.verbs)
    most = min(menu.most or PTRDIFF_MAX + 1 for menu in bound.menus)
    yield from claims_of(name, subject, verbs, max(menu.depth for menu in bound.menus), most)
    if name == "first":
        return
    if walker is not None:
        rule, told, conclusions = onlooker.RECLAIM
        yield Claim(f"{name}.{rule}", rule, told, conclusions)
        yield from onlooker.claims_of(name, subject, walker)
    elif "check" in subject.has and _is_checked(name, subject):
        for rule in sorted(white_box_rules(module)):
            told = f"the validity predicate finds nothing against {rule}"
            yield Claim(f"{name}.{rule}", rule, told, (broken(rule),))


def claims_of(
    name: str, subject: Subject, verbs: frozenset[str], depth: int, most: int = PTRDIFF_MAX + 1
) -> Iterator[Claim]:
    """The claims that the subject's contract and functions call for, seen from outside.

    most: the largest request; where none is over PTRDIFF_MAX, that claim is the first request's.
    """
    contract, verbs = subject.contract, verbs & subject.has
    premises = {
        "product": name == "first" and "calloc" in subject.has,
        "refusal": contract.refuses_over_ptrdiff and most > PTRDIFF_MAX,
        "overlap": depth > 1,
        "content": depth > 1,
        "prefix": "realloc" in verbs and depth > 1,
        "survival": "realloc" in verbs,
        "zeroed": "calloc" in verbs,
        "zero_size": contract.malloc_zero != "any",
        "usable": "usable_size" in subject.has,
        "errno": contract.enomem or contract.free_preserves_errno,
    }
    for family, (rule, told, conclusions) in _CLAIMED.items():
        if (name != "first" or family in _FIRST) and premises.get(family, True):
            yield Claim(f"{name}.{family}", rule, told, conclusions)


def _joins(subject: Subject) -> bool:
    """Whether it makes one of mappings that touch, as its walk says."""
    return bool(subject.walker) and walks.load(subject.walker).told("JOINED", False)


def _is_checked(name: str, subject: Subject) -> bool:
    return name == "bounded" and not opaque.of_name(subject, UNCHECKED, False)


def is_reference(subject: Subject) -> bool:
    """Whether it is explicit_list, which the studies of arithmetic are about."""
    return subject.bundled and subject.name.startswith("explicit_list")
