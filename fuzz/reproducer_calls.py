"""A trace's operations as C, in the order of the trace: on one thread, or on several in turn.

Text only; what the calls of it do is in reproducer.c and reproducer_turns.c.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from models.check import Finding
from models.contract import Contract
from models.observation import Seen
from models.trace import ALLOCATING, NIL, Kind, Op


def on_one_thread(finding: Finding, contract: Contract, begin: Sequence[str]) -> str:
    """The main of a trace that names no thread."""
    lines = ["int main(void)", "{", "    void *p = NULL;", "    (void)p;", *begin]
    for index, op in _executed(finding):
        lines += [f"\n    step = {index}; /* {op} */", *_operation(finding, op, contract)]
    return "\n".join([*lines, "    return close_world();", "}", ""])


def in_turn(finding: Finding, contract: Contract, begin: Sequence[str]) -> str:
    """A function for each operation, and the main that has them done, each on its thread."""
    functions, turns, thread = [], [], 0
    for index, op in _executed(finding):
        if op.kind is Kind.THREAD:
            thread = op.first
        elif op.kind is Kind.END_THREAD:
            turns += [f"    step = {index};", f"    end_thread({op.first});"]
        else:
            functions += [f"static void operation_{index}(void) /* {op} */", "{"]
            functions += ["    void *p = NULL;", "    (void)p;", f"    step = {index};"]
            functions += [*_operation(finding, op, contract), "}", ""]
            turns.append(f"    on_thread({thread}, operation_{index}); /* {op} */")
    ending = ["    end_all_threads();", "    return close_world();", "}", ""]
    main = ["int main(void)", "{", *begin, *turns, *ending]
    return "\n".join([*functions, *main])


def _executed(finding: Finding) -> Iterator[tuple[int, Op]]:
    """The operations that were not skipped, by their place in the trace."""
    observations = finding.run.observations
    for index, op in enumerate(finding.trace):
        if index >= len(observations) or not observations[index].flags & Seen.SKIPPED:
            yield index, op


def _operation(finding: Finding, op: Op, contract: Contract) -> Iterator[str]:
    """One operation as C, and what is checked behind it."""
    for line in _CALLS[op.kind](op, contract):
        yield f"    {line}"
    if finding.rule == "errno" and op.kind in (ALLOCATING | _FREEING):
        yield from _errno_check(op)
    if finding.rule == "reclaim" and contract.gives_back and op.kind in _FREEING:
        yield "    given_back();"
    yield "    invariant();"


def _errno_check(op: Op) -> Iterator[str]:
    broken = "errno != 1234" if op.kind in _FREEING else "!p && errno != ENOMEM"
    yield f'    if ({broken})\n        violated("errno", "errno is %d", errno);'


def _malloc(op: Op, contract: Contract) -> Iterator[str]:
    yield "errno = 1234;"
    yield f"p = allocheck_malloc({number(op.first)});"
    yield f"settle_doubt(p, {number(op.first)});"
    yield f"granted({op.name}, p, {number(op.first)}, {contract.promised_alignment(op.size)});"


def _calloc(op: Op, contract: Contract) -> Iterator[str]:
    operands = f"{number(op.first)}, {number(op.second)}"
    yield "errno = 1234;"
    yield f"p = allocheck_calloc({operands});"
    yield f"cleared({op.name}, p, {operands}, {contract.promised_alignment(op.size)});"


def _realloc(op: Op, contract: Contract) -> Iterator[str]:
    alignment, size = contract.promised_alignment(op.second), number(op.second)
    yield "errno = 1234;"
    if op.first == NIL:
        yield f"p = allocheck_realloc(NULL, {size});"
        yield f'doubt_null("null", p, {size});'
        yield f"granted({op.name}, p, {size}, {alignment});"
        return
    yield f"check({op.first});"
    yield f"p = allocheck_realloc(blocks[{op.first}].at, {size});"
    if not op.second and contract.realloc_zero == "unique":
        yield 'doubt_null("zero_size", p, 0);'
    yield f"resized({op.name}, {op.first}, p, {size}, {alignment});"


def _aligned(op: Op, contract: Contract) -> Iterator[str]:
    operands, valid = f"{number(op.first)}, {number(op.second)}", not op.first & (op.first - 1)
    wanted = max(op.first, contract.promised_alignment(op.size)) if op.first and valid else 0
    yield "errno = 1234;"
    if op.kind is Kind.POSIX_MEMALIGN:
        yield "p = NULL;"
        yield f"if (allocheck_posix_memalign(&p, {operands}))\n        p = NULL;"
    else:
        yield f"p = allocheck_{op.kind.name.lower()}({operands});"
    yield f"granted({op.name}, p, {number(op.second)}, {number(wanted)});"


def _free(op: Op, _contract: Contract) -> Iterator[str]:
    yield "errno = 1234;"
    if op.first == NIL:
        yield "allocheck_free(NULL);"
        return
    yield f"if (is_live({op.first})) {{"
    yield f"    check({op.first});"
    yield f"    blocks[{op.first}].live = 0;"
    yield "    errno = 1234;"
    yield f"    allocheck_free(blocks[{op.first}].at);"
    yield "}"


def _write(op: Op, _contract: Contract) -> Iterator[str]:
    yield f"check({op.first});"
    yield f"fill({op.first});"


def _deny(op: Op, _contract: Contract) -> Iterator[str]:
    yield f"deny({number(op.first)});"


def _foreign(op: Op, _contract: Contract) -> Iterator[str]:
    yield f"foreign({number(op.first)});"


def _misuse(op: Op, _contract: Contract) -> Iterator[str]:
    offset = f" + {op.second}" if op.kind is Kind.INTERIOR_FREE else ""
    yield "expect_abort = 1;"
    if op.kind is Kind.REALLOC_FREED:
        yield f"p = allocheck_realloc(blocks[{op.first}].at, {number(op.second)});"
    else:
        yield f"allocheck_free(blocks[{op.first}].at{offset});"
    yield 'violated("misuse", "it was not detected");'


def _free_all(_op: Op, _contract: Contract) -> Iterator[str]:
    yield "errno = 1234;"
    yield "for (int name = 0; name < REPRODUCER_NAMES; name++) {"
    yield "    check(name);"
    yield "    if (blocks[name].live) {"
    yield "        blocks[name].live = 0;"
    yield "        allocheck_free(blocks[name].at);"
    yield "    }"
    yield "}"
    yield "end_cycle();"


_FREEING = frozenset({Kind.FREE, Kind.FREE_ALL})
_CALLS = {
    Kind.MALLOC: _malloc,
    Kind.CALLOC: _calloc,
    Kind.REALLOC: _realloc,
    Kind.ALIGNED_ALLOC: _aligned,
    Kind.MEMALIGN: _aligned,
    Kind.POSIX_MEMALIGN: _aligned,
    Kind.FREE: _free,
    Kind.WRITE: _write,
    Kind.DENY: _deny,
    Kind.FOREIGN: _foreign,
    Kind.DOUBLE_FREE: _misuse,
    Kind.INTERIOR_FREE: _misuse,
    Kind.REALLOC_FREED: _misuse,
    Kind.FREE_ALL: _free_all,
}


def number(value: int) -> str:
    """A number as C: those near the ends as people read them."""
    for name, constant in (("SIZE_MAX", 2**64 - 1), ("PTRDIFF_MAX", 2**63 - 1)):
        if abs(value - constant) <= 4096:
            name = name if name == "SIZE_MAX" else f"(size_t){name}"
            return name if value == constant else f"{name} {value - constant:+d}"
    return str(value) if value < 2**31 else f"{value}u"
