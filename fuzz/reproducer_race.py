"""A trace whose threads run freely as C: a function for each thread, which does its part of a lap.

Text only; what the calls of it do is in reproducer_race.c, how often in reproducer_rounds.c.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from fuzz.reproducer_calls import number
from models.contract import Contract
from models.race import MOST_LAPS, OPERATIONS, laps
from models.trace import NIL, Kind, Op, Trace

Part = list[tuple[int, Op]]


def settings(trace: Trace, contract: Contract, has_free: bool) -> dict[str, object]:
    """What reproducer_race.c and reproducer_rounds.c ask for."""
    numbers = sorted(_parts(trace))
    return {
        "LAPS": min(MOST_LAPS, max(1, OPERATIONS // max(1, len(trace)))),
        "THREADS": len(numbers),
        "PARTS": ", ".join(f"thread_{each}" for each in numbers),
        "KEEPS": int(contract.realloc_zero == "keep"),
        "FREE(at)": "allocheck_free(at)" if has_free else "(void)(at)",
    }


def threads(trace: Trace, contract: Contract, begin: Sequence[str]) -> str:
    """The functions of all threads, and `begin`, which comes before any of them."""
    lines = ["static void begin(void)", "{", *begin, "}", ""]
    for thread, part in sorted(_parts(trace).items()):
        lines += [f"static int thread_{thread}(struct place *own, int at)", "{"]
        lines += ["    (void)own;", "    switch (at) {", "    case 0:"]
        lines += _body(part, contract)
        lines += ["    }", "    return 0;", "}", ""]
    return "\n".join(lines)


def _parts(trace: Trace) -> dict[int, Part]:
    """The operations of each thread, by their place in the trace; END_THREAD is the ended one's."""
    found: dict[int, Part] = defaultdict(list)
    laid, current = laps(trace, 1), 0
    for index, op in zip(laid.origin, laid.trace.ops, strict=True):
        if op.kind is Kind.THREAD:
            current = op.first
        else:
            found[op.first if op.kind is Kind.END_THREAD else current].append((index, op))
    return found


def _body(part: Part, contract: Contract) -> Iterator[str]:
    ends = 0
    for index, op in part:
        yield f"        step = {index}; /* {op} */"
        if op.kind is Kind.END_THREAD:
            ends += 1
            yield f"        return {ends};"
            yield f"    case {ends}:"
            continue
        for line in _CALLS[op.kind](op, contract):
            yield f"        {line}"
    yield "        break;"


def _malloc(op: Op, contract: Contract) -> Iterator[str]:
    size = number(op.first)
    yield f"granted(&own[{op.name}], allocheck_malloc({size}), {size}, {_promised(op, contract)});"


def _calloc(op: Op, contract: Contract) -> Iterator[str]:
    operands = f"{number(op.first)}, {number(op.second)}"
    yield f"cleared(&own[{op.name}], allocheck_calloc({operands}), {operands},"
    yield f"        {_promised(op, contract)});"


def _realloc(op: Op, contract: Contract) -> Iterator[str]:
    size, new = number(op.second), f"&own[{op.name}]"
    checked = f"{size}, {_promised(op, contract)}"
    if op.first == NIL:
        yield f"granted({new}, allocheck_realloc(NULL, {size}), {checked});"
        return
    old = f"&own[{op.first}]"
    yield f"if (take({old}))"
    yield f"    resized({new}, {old}, allocheck_realloc(releasing({old}), {size}), {checked});"
    yield "else"
    yield f"    leave({new}, GONE);"


def _aligned(op: Op, contract: Contract) -> Iterator[str]:
    operands, valid = f"{number(op.first)}, {number(op.second)}", not op.first & (op.first - 1)
    wanted = max(op.first, contract.promised_alignment(op.size)) if op.first and valid else 0
    call = f"allocheck_{op.kind.name.lower()}({operands})"
    yield "{"
    if op.kind is Kind.POSIX_MEMALIGN:
        yield "    void *p = NULL;"
        yield f"    if (allocheck_posix_memalign(&p, {operands}))\n                p = NULL;"
        call = "p"
    yield f"    granted(&own[{op.name}], {call}, {number(op.second)}, {number(wanted)});"
    yield "}"


def _free(op: Op, _contract: Contract) -> Iterator[str]:
    if op.first == NIL:
        yield "allocheck_free(NULL);"
        return
    yield f"if (take(&own[{op.first}])) {{"
    yield f"    allocheck_free(releasing(&own[{op.first}]));"
    yield f"    leave(&own[{op.first}], GONE);"
    yield "}"


def _write(op: Op, _contract: Contract) -> Iterator[str]:
    yield f"if (take(&own[{op.first}])) {{"
    yield f"    check(&own[{op.first}]);"
    yield f"    fill(&own[{op.first}]);"
    yield f"    leave(&own[{op.first}], LIVE);"
    yield "}"


def _deny(op: Op, _contract: Contract) -> Iterator[str]:
    yield f"deny({number(op.first)});"


def _foreign(op: Op, _contract: Contract) -> Iterator[str]:
    yield f"foreign({number(op.first)});"


def _promised(op: Op, contract: Contract) -> int:
    return contract.promised_alignment(op.size)


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
}
