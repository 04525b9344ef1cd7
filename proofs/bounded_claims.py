"""Everything best_fit promises, for every program of up to k operations from the empty heap.

Sizes are symbolic, the page source may refuse at any time, and a client writes what it likes into
its blocks.  The claims share one exploration; operations.py says what an operation is.
"""

from __future__ import annotations

from proofs import invariants as heap
from proofs import operations as says
from proofs.claims import Claim, Ledger
from proofs.engine import Engine
from proofs.ir import Module
from proofs.operations import LIMIT, Exploration, Menu
from proofs.scenery import ABORTS, PageSource, make_engine
from proofs.study import Study

CLAIMS = (
    Claim("bounded.no_undefined", "crash", "no undefined behaviour, every access aligned", (),
          "bounded.no_undefined"),
    Claim("bounded.abort", "abort", "no valid program ends in abort", (ABORTS,),
          "abort-on-huge-request"),
    Claim("bounded.bounds", "bounds", "no access, and no block, outside granted memory",
          (says.OUTSIDE,), "fence-past-the-end"),
    Claim("bounded.alignment", "alignment", "every block is aligned as promised",
          (says.MISALIGNED,), "aligns-the-header"),
    Claim("bounded.overlap", "overlap", "no two live blocks share a byte",
          (says.OVERLAP,), "bounded.overlap"),
    Claim("bounded.content", "content", "nothing is written into a live block",
          (says.WRITTEN,), "bounded.content"),
    Claim("bounded.prefix", "prefix", "a resized block keeps its first min(old, new) bytes",
          (says.PREFIX_LOST,), "copies-too-little"),
    Claim("bounded.zeroed", "zeroed", "cleared memory reads zero",
          (says.NOT_ZERO,), "clears-without-tail"),
    Claim("bounded.usable", "usable", "every live block is a used block that holds its request",
          (says.NO_HOLDER,), "bounded.usable"),
    Claim("bounded.survival", "survival", "a failed request changes nothing",
          (says.FAILURE_WRITES,), "failed-realloc-frees"),
    Claim("bounded.errno", "errno", "ENOMEM on failure; free keeps errno",
          (says.NO_ENOMEM, says.FREE_SETS_ERRNO), "free-clobbers-errno"),
    Claim("bounded.reclaim", "reclaim", "there is no used block that nobody holds",
          (says.NOBODYS,), "moved-block-leaks"),
    Claim("bounded.tiling", "tiling", "the blocks tile the heap", heap.TILING,
          "small-rest-lost"),
    Claim("bounded.tags", "tags", "headers, footers and fences agree", heap.TAGS,
          "split-forgets-the-footer"),
    Claim("bounded.adjacent_free", "adjacent_free", "no two neighbours are free", heap.ADJACENT,
          "bounded.adjacent_free"),
    Claim("bounded.free_list", "free_list", "the free list is the set of free blocks",
          heap.FREE_LIST, "no-back-link"),
)  # fmt: skip
PUBLIC = ("mem_open", "mem_alloc", "mem_alloc_clear", "mem_alloc_aligned", "mem_resize", "mem_free")
ENTERED = (
    *PUBLIC,
    *("take", "best_fit", "grow", "occupy", "release", "link_free", "unlink_free", "set_tags"),
)
ASSUMPTIONS = (
    f"the page source grants at most {LIMIT} bytes, the first from a page boundary",
    "frees and resizes are valid",
)
_ALIGNMENTS = (64, 4096)
_EVERY_VERB = ("malloc", "free", "realloc", "calloc", "aligned_alloc")
_GAPS = Menu(("malloc", "free"), 2, foreign=True)
FULL = (_GAPS, Menu(_EVERY_VERB, 2, _ALIGNMENTS), Menu(("malloc", "free", "realloc"), 3))
QUICK = (Menu(_EVERY_VERB, 1, _ALIGNMENTS), Menu(("malloc", "free", "realloc"), 2))
# Where each canary dies: the shortest programs that show its bug.
_ONE, _TWO = Menu(("malloc",), 1), Menu(("malloc",), 2)
HUNTS = {
    "bounded.alignment": Menu(("aligned_alloc",), 1, (64,)),
    "bounded.free_list": Menu(("aligned_alloc",), 1, (64,)),
    "bounded.zeroed": Menu(("aligned_alloc", "calloc"), 2, (64,)),
    "bounded.overlap": _TWO,
    "bounded.content": _TWO,
    "bounded.adjacent_free": Menu(("malloc", "free"), 2),
    "bounded.errno": Menu(("malloc", "free"), 2),
    "bounded.prefix": Menu(("malloc", "realloc"), 2),
    "bounded.survival": Menu(("malloc", "realloc"), 2),
    "bounded.reclaim": Menu(("malloc", "realloc"), 2),
}


def hunt(claim: Claim) -> Study:
    """The study in which the claim's canary must die."""
    return study((HUNTS.get(claim.name, _ONE),))


def study(menus: tuple[Menu, ...]) -> Study:
    """The bounded check over some menus; its bound is the length of the longest program."""

    def run(module: Module, ledger: Ledger) -> Engine:
        covered: set[tuple[str, str]] = set()
        for menu in menus:
            pages = PageSource(LIMIT, menu.foreign)
            engine = make_engine(module, ledger.reasoning, pages)
            engine.covered = covered
            Exploration(engine, ledger, menu).run()
            if ledger.refuted:
                break
        return engine

    depth = max(menu.depth for menu in menus)
    told = tuple(menu.told() for menu in menus)
    clearing = max((menu.depth for menu in menus if "calloc" in menu.verbs), default=0)
    bounds = {"bounded.zeroed": {"ops": clearing}}
    return Study("bounded", CLAIMS, (*ASSUMPTIONS, *told), ENTERED, run, {"ops": depth}, bounds)
