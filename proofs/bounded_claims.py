"""Everything best_fit promises, for every program of up to k operations from the empty heap.

Sizes are symbolic, the page source may refuse at any time, and a client writes what it likes into
its blocks.  The claims share one exploration; operations.py says what an operation is.
"""

from __future__ import annotations

from proofs import invariants as heap
from proofs.claims import Claim, Ledger
from proofs.engine import Engine
from proofs.ir import Module
from proofs.operations import LIMIT, Exploration, Menu
from proofs.scenery import make_engine
from proofs.study import Study

CLAIMS = (
    Claim("bounded.no_undefined", "crash",
          "no undefined behaviour, and every access aligned", ()),
    Claim("bounded.abort", "abort", "no valid program ends in abort", ()),
    Claim("bounded.bounds", "bounds", "no access, and no block, outside granted memory",
          ("a block lies outside granted memory",)),
    Claim("bounded.alignment", "alignment", "every block is aligned as promised",
          ("a block is misaligned",)),
    Claim("bounded.overlap", "overlap", "no two live blocks share a byte",
          ("two live blocks overlap",)),
    Claim("bounded.content", "content", "nothing is written into a live block",
          ("a live block is written to",)),
    Claim("bounded.usable", "usable", "every live block is a used block that holds its request",
          ("a live block has no used block that holds it",)),
    Claim("bounded.survival", "survival", "a failed request changes nothing",
          ("a failed request writes to the heap",)),
    Claim("bounded.errno", "errno", "ENOMEM on failure; free keeps errno",
          ("errno is not ENOMEM", "free writes to errno")),
    Claim("bounded.reclaim", "reclaim", "a used block that nobody holds does not exist",
          ("a used block is nobody's",)),
    Claim("bounded.tiling", "tiling", "the blocks tile the heap", heap.TILING),
    Claim("bounded.tags", "tags", "headers, footers and fences agree", heap.TAGS),
    Claim("bounded.adjacent_free", "adjacent_free", "no two neighbours are free", heap.ADJACENT),
    Claim("bounded.free_list", "free_list", "the free list is the set of free blocks",
          heap.FREE_LIST),
)  # fmt: skip
ENTERED = ("mem_open", "mem_alloc", "mem_free", "mem_resize", "take", "best_fit", "occupy", "release")
ASSUMPTIONS = (
    f"the page source grants at most {LIMIT} bytes, contiguous, from a page boundary",
    "frees and resizes are valid",
)
MENUS = {
    "quick": (Menu(("malloc", "free", "realloc"), 2),),
    "full": (
        Menu(("malloc", "free", "realloc"), 3),
        Menu(("malloc", "free", "realloc", "calloc", "aligned_alloc"), 2, (16, 32, 64, 4096)),
    ),
}


def study(menus: tuple[Menu, ...]) -> Study:
    """The bounded check over some menus; its bound is the length of the longest program."""

    def run(module: Module, ledger: Ledger) -> Engine:
        engine = make_engine(module, ledger.reasoning, LIMIT)
        for menu in menus:
            Exploration(engine, ledger, menu).run()
        return engine

    depth = max(menu.depth for menu in menus)
    return Study("bounded", CLAIMS, ASSUMPTIONS, ENTERED, run, {"ops": depth})
