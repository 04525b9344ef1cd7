"""The rules: one name each, used in verdicts, traces, reports, planted bugs and proofs alike.

A table, nothing else: models/judge.py applies it.  A correct allocator never breaks a rule.
"""

from __future__ import annotations

from dataclasses import dataclass

BLACK_BOX, WHITE_BOX, MODEL = "black-box", "white-box", "model"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: what breaks it, where it is written, and the layer that judges it."""

    name: str
    layer: str
    violation: str
    source: str


# The order is the precedence: of the rules broken by one operation the first one is named.
_TABLE = (
    Rule("misuse", BLACK_BOX, "a promised detection of misuse did not happen", "contract: detects"),
    Rule("null", BLACK_BOX, "free(NULL) or realloc(NULL, n) failed", "C23 7.24.3.3, 7.24.3.7"),
    Rule("zero_size", BLACK_BOX, "a request of zero bytes is not answered as promised",
         "contract: malloc_zero, realloc_zero; C23 7.24.3"),
    Rule("oom", BLACK_BOX, "refused pages end in neither NULL nor a block in granted memory",
         "C23 7.24.3; POSIX malloc"),
    Rule("refusal", BLACK_BOX, "a request that cannot be met was granted",
         "C23 7.24.3.2 (calloc product), 7.24.3"),
    Rule("alignment", BLACK_BOX, "an address is not aligned as promised", "C23 7.24.3"),
    Rule("overlap", BLACK_BOX, "two live blocks share a byte", "C23 7.24.3"),
    Rule("bounds", BLACK_BOX, "a block, or a write, lies outside given memory", "C23 7.24.3"),
    Rule("prefix", BLACK_BOX, "realloc lost a byte of min(old, new)", "C23 7.24.3.7"),
    Rule("zeroed", BLACK_BOX, "calloc returned a non-zero byte", "C23 7.24.3.2"),
    Rule("survival", BLACK_BOX, "a failed request changed or freed a block", "C23 7.24.3.7"),
    Rule("usable", BLACK_BOX, "usable_size is below the request", "malloc_usable_size(3)"),
    Rule("content", BLACK_BOX, "a live block's bytes changed", "C23 6.2.4"),
    Rule("errno", BLACK_BOX, "errno is not as promised", "POSIX malloc, free"),
    Rule("hang", BLACK_BOX, "an operation used up the CPU time limit, or waits for ever",
         "termination"),
    Rule("race", BLACK_BOX, "two threads touch the same memory unordered, and one of them writes",
         "C23 5.1.2.5; contract: threads"),
    Rule("abort", BLACK_BOX, "an operation called abort", "termination"),
    Rule("exit", BLACK_BOX, "an operation ended the process, or started another one",
         "termination"),
    Rule("crash", BLACK_BOX, "an operation crashed", "termination"),
    Rule("reclaim", BLACK_BOX, "freed memory cannot be had again",
         "contract: reclaims, coalesces, gives_back"),
    Rule("footprint", BLACK_BOX, "a steady cycle grows the heap for ever", "contract: reclaims"),
    Rule("tiling", WHITE_BOX, "the blocks do not tile the heap", "the allocator's header"),
    Rule("tags", WHITE_BOX, "header and footer disagree", "the allocator's header"),
    Rule("adjacent_free", WHITE_BOX, "two neighbours are both free", "the allocator's header"),
    Rule("free_list", WHITE_BOX, "the free structure is not the set of free blocks",
         "the allocator's header"),
    Rule("checksum", WHITE_BOX, "a block's checksum is wrong", "the allocator's header"),
    Rule("model", MODEL, "the exact model predicts another address, size or layout",
         "the allocator's header"),
)  # fmt: skip

RULES = {rule.name: rule for rule in _TABLE}
PRECEDENCE = {rule.name: rank for rank, rule in enumerate(_TABLE)}
ALL = frozenset(RULES)
BLACK_BOX_RULES = frozenset(rule.name for rule in _TABLE if rule.layer == BLACK_BOX)
