"""How far the harness reaches into a prebuilt library: whether all of its memory is the harness's.

It looks at the library's imports and runs one short trace; it changes nothing.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from allocator import elf
from allocator.executor import Sandboxed
from allocator.subject import Subject, SubjectError
from models.observation import Outcome, Seen
from models.trace import from_text

# What doors.c binds, of the calls that bring memory.
BOUND = frozenset({"sbrk", "brk", "mmap", "mmap64", "munmap", "mremap", "madvise", "mprotect",
                   "syscall", "__sbrk", "__mmap", "__munmap", "exit", "_exit", "abort",
                   "malloc", "calloc", "realloc", "free", "aligned_alloc", "posix_memalign",
                   "_Znwm", "_Znam", "_ZdlPv", "_ZdaPv", "_ZdlPvm", "_ZdaPvm"})  # fmt: skip
# Memory that comes past it.
_ELSEWHERE = frozenset(
    {
        "memalign",
        "valloc",
        "pvalloc",
        "reallocarray",
        "shmat",
        "dlopen",
        "_ZnwmRKSt9nothrow_t",
        "_ZnwmSt11align_val_t",
        "_ZnamSt11align_val_t",
    }
)
_PLAIN = re.compile(r"(lib(c|m|pthread|dl|rt|gcc_s|stdc\+\+|atomic)|ld-linux-x86-64)\.so")
_PROBE = from_text(
    "p0 = malloc 16\np1 = malloc 100\np2 = malloc 3000\np3 = malloc 70000\np4 = malloc 2000000\n"
    "free p1\nfree p3\nfree p4\np5 = malloc 50\np6 = malloc 300000\n"
)


def examined(subject: Subject) -> Subject:
    """The subject of a prebuilt library, with what can be known of its memory, and a note on it."""
    assert subject.prebuilt
    imports = elf.imports(subject.prebuilt)
    reason = _past_us(imports, subject.prebuilt) or _seen_outside(subject)
    if reason:
        note = f"its memory is not the harness's ({reason}): rules bounds and oom are off"
    else:
        names = sorted(name for name in imports.names & BOUND if not name.startswith("_Z"))
        note = f"bound to the harness: {', '.join(names) or 'nothing, it asks for nothing'}"
    return replace(subject, memory_known=not reason, notes=(*subject.notes, note))


def _past_us(imports: elf.Imports, path: Path) -> str:
    others = [name for name in imports.libraries if not _PLAIN.match(name)]
    if others:
        return f"it may get some from {', '.join(others)}"
    past = sorted(imports.names & _ELSEWHERE)
    return f"it calls {', '.join(past)}" if past else ""


def _seen_outside(subject: Subject) -> str:
    """Why a short run says that memory comes from elsewhere; "" when it does not."""
    try:
        with Sandboxed(replace(subject, memory_known=True), capacity=64) as executor:
            run = executor.run(_PROBE, cpu_limit_ms=1000)
    except SubjectError:
        return ""  # whoever runs it will be told
    if any(seen.flags & Seen.OUTSIDE for seen in run.observations):
        return "the process had it already, or it makes system calls of its own"
    blocks = [seen.address for seen in run.observations if seen.address]
    if run.outcome is not Outcome.FINISHED or not blocks:
        return "a first run of it gave no block"
    return ""
