"""Writes a finding as one C file that needs nothing but the subject: its calls, checked, in order.

Text only; reproducer_store.c holds the pages, reproducer.c the checks, the subject's adapter the
calls.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from allocator.build import MEMLIB
from allocator.region import DEFAULT_STORE
from allocator.subject import Subject
from models.check import Finding
from models.contract import Contract
from models.observation import Seen
from models.rules import RULES, WHITE_BOX
from models.trace import ALLOCATING, NIL, Kind, Op

FOLDER = Path(__file__).resolve().parent
PAGES, CHECKS = FOLDER / "reproducer_store.c", FOLDER / "reproducer.c"
# What cannot be seen by a program that only calls: where another block would have been right.
NOT_REPRODUCIBLE = frozenset({"model"})


def reproducer(finding: Finding, subject: Subject, name: str) -> str | None:
    """The C file `name`; None where there is nothing to call or nothing that calls could show."""
    if subject.adapter is None or finding.rule in NOT_REPRODUCIBLE:
        return None
    calls = subject.adapter.read_text()
    parts = [
        _head(finding, subject, name),
        calls,
        _settings(finding, subject, calls),
        PAGES.read_text(),
        CHECKS.read_text(),
        _main(finding, subject.contract, "allocheck_init(" in calls),
    ]
    return "\n".join(parts)


def build_line(subject: Subject, name: str) -> str:
    """The command that builds it, for a shell."""
    files = [str(path) for path in subject.sources]
    files += [str(subject.prebuilt)] if subject.prebuilt else []
    folders = [f"-I{path}" for path in subject.include]
    folders += [f"-iquote{subject.folder}"] if subject.folder else []
    folders += [f"-idirafter{MEMLIB}"] if any(map(_wants_memlib, subject.sources)) else []
    flags = ["-g", "-O2", "-UNDEBUG", "-fno-builtin", *subject.flags, *folders]
    linked = [*files, "-lm", "-lpthread", "-o", name.removesuffix(".c")]
    return shlex.join(["cc", *flags, name, *linked])


def _wants_memlib(source: Path) -> bool:
    """Whether the malloc lab's headers, which may be ours, are asked for."""
    return bool(re.search(r'#\s*include\s+"(memlib|mm)\.h"', source.read_text(errors="replace")))


def _head(finding: Finding, subject: Subject, name: str) -> str:
    text = f"{subject.name} breaks `{finding.rule}`: {finding.message}".replace("*/", "* /")
    return (
        f"/* {text}\n *\n"
        f" *     {build_line(subject, name)} && ./{name.removesuffix('.c')}\n *\n"
        " * ends with 1 and a line that names the rule where it is broken, with 0 where not.\n"
        " * Nothing but the subject is needed; it gets its memory from a store in here.\n */\n"
        "#define _GNU_SOURCE"
    )


def _settings(finding: Finding, subject: Subject, calls: str) -> str:
    contract, trace = subject.contract, finding.trace
    names = max((op.name + 1 for op in trace if op.kind in ALLOCATING), default=0)
    cycles = sum(op.kind is Kind.FREE_ALL for op in trace)
    zero = {"null": -1, "any": 0, "unique": 1}[contract.malloc_zero]
    settings = {
        "RULE": f'"{finding.rule}"',
        "STORE": f"((size_t){trace.store or DEFAULT_STORE})",
        "NAMES": names,
        "CYCLES": cycles,
        "ZERO": f"({zero})",
        "WRITABLE": int(contract.usable_writable),
    }
    if contract.arena:
        settings["ARENA"] = contract.arena
    if "usable_size" in subject.has:
        settings["USABLE"] = "allocheck_usable_size"
    if "check" in subject.has and RULES[finding.rule].layer == WHITE_BOX:
        settings["CHECK"] = "allocheck_check"
    return "\n".join(f"#define REPRODUCER_{key} {value}" for key, value in settings.items())


def _main(finding: Finding, contract: Contract, has_init: bool) -> str:
    lines = ["int main(void)", "{", "    void *p = NULL;", "    (void)p;", "    open_world();"]
    if has_init:
        arena = "arena, sizeof arena" if contract.arena else "NULL, 0"
        lines.append(f'    if (allocheck_init({arena}))\n        violated("init", "it fails");')
    lines += _ops(finding, contract)
    return "\n".join([*lines, "    return close_world();", "}", ""])


def _ops(finding: Finding, contract: Contract) -> Iterator[str]:
    """Each operation that was executed, as C, under the line of the trace that it is."""
    observations = finding.run.observations
    for index, op in enumerate(finding.trace):
        if index < len(observations) and observations[index].flags & Seen.SKIPPED:
            continue
        yield f"\n    step = {index}; /* {op} */"
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
    yield f"p = allocheck_malloc({_number(op.first)});"
    yield f"settle_doubt(p, {_number(op.first)});"
    yield f"granted({op.name}, p, {_number(op.first)}, {contract.promised_alignment(op.size)});"


def _calloc(op: Op, contract: Contract) -> Iterator[str]:
    operands = f"{_number(op.first)}, {_number(op.second)}"
    yield "errno = 1234;"
    yield f"p = allocheck_calloc({operands});"
    yield f"cleared({op.name}, p, {operands}, {contract.promised_alignment(op.size)});"


def _realloc(op: Op, contract: Contract) -> Iterator[str]:
    alignment, size = contract.promised_alignment(op.second), _number(op.second)
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
    operands, valid = f"{_number(op.first)}, {_number(op.second)}", not op.first & (op.first - 1)
    wanted = max(op.first, contract.promised_alignment(op.size)) if op.first and valid else 0
    yield "errno = 1234;"
    if op.kind is Kind.POSIX_MEMALIGN:
        yield "p = NULL;"
        yield f"if (allocheck_posix_memalign(&p, {operands}))\n        p = NULL;"
    else:
        yield f"p = allocheck_{op.kind.name.lower()}({operands});"
    yield f"granted({op.name}, p, {_number(op.second)}, {_number(wanted)});"


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
    yield f"deny({_number(op.first)});"


def _foreign(op: Op, _contract: Contract) -> Iterator[str]:
    yield f"foreign({_number(op.first)});"


def _misuse(op: Op, _contract: Contract) -> Iterator[str]:
    offset = f" + {op.second}" if op.kind is Kind.INTERIOR_FREE else ""
    yield "expect_abort = 1;"
    if op.kind is Kind.REALLOC_FREED:
        yield f"p = allocheck_realloc(blocks[{op.first}].at, {_number(op.second)});"
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


def _thread(_op: Op, _contract: Contract) -> Iterator[str]:
    yield "/* everything runs on one thread */"


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
    Kind.THREAD: _thread,
    Kind.END_THREAD: _thread,
}


def _number(value: int) -> str:
    """A number as C: those near the ends as people read them."""
    for name, constant in (("SIZE_MAX", 2**64 - 1), ("PTRDIFF_MAX", 2**63 - 1)):
        if abs(value - constant) <= 4096:
            name = name if name == "SIZE_MAX" else f"(size_t){name}"
            return name if value == constant else f"{name} {value - constant:+d}"
    return str(value) if value < 2**31 else f"{value}u"
