"""Records the allocations of a real program as a trace, which replays on any subject, checked.

It judges nothing: `python fuzz/run.py SUBJECT --replay FILE.trace` does.
"""

from __future__ import annotations

import argparse
import mmap
import struct
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not allocator/: its files must not stand in for anybody's modules
    from allocator import own_python

    own_python.need("elftools")

from allocator import preload
from allocator.command_line import BAD_INPUT, Parser
from allocator.region import DEFAULT_STORE
from allocator.subject import SubjectError
from models.trace import ALIGNING, ALLOCATING, NIL, Kind, Op, Trace, to_text

RECORD = struct.Struct("<IIQQQ")  # struct record of dropin/record.c
HEADER = struct.Struct("<QQI44x")  # struct recording
LIMIT = 1_000_000
SETTING = "ALLOCHECK_RECORD"
MOST_STORE = 1 << 30  # what the executor's store can hold
_OVERHEAD = 32
_ROOM = 2
_MIB = 1 << 20

_DESCRIPTION = """\
Runs a real program on the C library's own malloc and writes every allocation it makes, by all its
threads in order, as a trace: the text form that every part of allocheck reads."""

_EXAMPLES = """\
examples:
  python allocator/record.py -- ls -l                      writes ls.trace
  python allocator/record.py -o git.trace -- git log       one process; children are not followed
  PYTHONMALLOC=malloc python allocator/record.py -o py.trace --limit 20000 -- python3 -c 'print(1)'
  python fuzz/run.py tlsf --replay py.trace                the same calls on tlsf, fully checked

Addresses become names (p0, p1, ...); `thread N` stands where another thread goes on. Left out and
counted: requests that failed, and calls with a block that nobody saw made. realloc(p, 0), which
frees in glibc, becomes free. `# store:` is what an allocator with some waste needs.

A program that replaces itself (a script that ends in exec) is recorded from there on. What was
recorded is kept however the program ends.

exit status: the program's own, 128 + N when signal N ended it; 2 when there is no such program or
nothing could be recorded (a static or setuid program)."""


@dataclass(frozen=True)
class Call:
    """One call as recorded; blocks are addresses, operands stand as in models/trace.py's Op."""

    kind: Kind
    thread: int
    first: int
    second: int
    result: int


@dataclass
class LeftOut:
    """What a trace does not hold of a recording, in calls."""

    failed: int = 0
    unknown: int = 0
    over_limit: int = 0

    def __str__(self) -> str:
        told = {
            "failed": self.failed,
            "with an unknown block": self.unknown,
            "over the limit": self.over_limit,
        }
        return ", ".join(f"{count} {what}" for what, count in told.items() if count)


def read_calls(memory: bytes | memoryview | mmap.mmap) -> tuple[list[Call], int]:
    """The calls in a recording, and how many found it full; [] where nobody recorded."""
    count, dropped, _ = HEADER.unpack_from(memory, 0)
    end = min(len(memory), HEADER.size + count * RECORD.size)
    records = RECORD.iter_unpack(memory[HEADER.size : end])
    return [Call(Kind(kind), *rest) for kind, *rest in records], dropped


class Naming:
    """Turns calls into operations: addresses into names, a thread where it changes."""

    def __init__(self) -> None:
        self.left_out = LeftOut()
        self._names: dict[int, int] = {}
        self._made = 0
        self._thread = 0

    def ops(self, calls: Iterable[Call]) -> Iterator[Op]:
        """The operations of the calls, in order."""
        for call in calls:
            op = self._allocation(call) if call.kind in ALLOCATING else self._free(call.first)
            if op is None:
                continue
            if call.thread != self._thread:
                self._thread = call.thread
                yield Op(Kind.THREAD, first=call.thread)
            yield op

    def _allocation(self, call: Call) -> Op | None:
        is_realloc = call.kind is Kind.REALLOC
        if is_realloc and call.first and not call.second:
            return self._free(call.first)
        if not call.result:
            self.left_out.failed += 1
            return None
        first = call.first
        if is_realloc:
            first = self._names.pop(call.first, None) if call.first else NIL
            if first is None:
                self.left_out.unknown += 1
                return None
        name = self._names[call.result] = self._made
        self._made += 1
        return Op(call.kind, name, first, call.second)

    def _free(self, address: int) -> Op | None:
        if not address:
            return Op(Kind.FREE, first=NIL)
        name = self._names.pop(address, None)
        if name is None:
            self.left_out.unknown += 1
            return None
        return Op(Kind.FREE, first=name)


def store_needed(ops: Iterable[Op]) -> int:
    """Bytes of store for these operations: powers of two above the sizes, twice; in whole MiB.

    0 where the default is enough, MOST_STORE at most.
    """
    live: dict[int, int] = {}
    held = most = 0
    for op in ops:
        if op.block is not None:
            held -= live.pop(op.block, 0)
        if op.kind in ALLOCATING:
            wanted = op.size + _OVERHEAD + (op.alignment if op.kind in ALIGNING else 0)
            live[op.name] = 1 << (wanted - 1).bit_length()
            held += live[op.name]
            most = max(most, held)
    needed = -(-_ROOM * most // _MIB) * _MIB
    return min(needed, MOST_STORE) if needed > DEFAULT_STORE else 0


def trace_of(calls: Sequence[Call], program: str, subject: str | None) -> tuple[Trace, LeftOut]:
    """The trace of the calls that `program` made, and what it leaves out."""
    naming = Naming()
    ops = tuple(naming.ops(calls))
    threads = len({call.thread for call in calls})
    comment = f"Recorded: {program}, {threads} thread{'s' if threads > 1 else ''}."
    return Trace(ops, subject, store_needed(ops), "ok", (comment,)), naming.left_out


def record(words: Sequence[str], limit: int = LIMIT) -> tuple[int, list[Call], int]:
    """Runs the program: its exit status, its calls, how many came after `limit`."""
    library = preload.link("record", [preload.shim("record.c")])
    with tempfile.NamedTemporaryFile(prefix="allocheck-", suffix=".calls") as file:
        file.truncate(HEADER.size + limit * RECORD.size)
        settings = preload.preloading(library, {SETTING: file.name})
        status = preload.run_program(words, settings)
        with mmap.mmap(file.fileno(), 0) as memory:
            return status, *read_calls(memory)


def parser() -> Parser:
    """The command line in front of `--`."""
    usage = "%(prog)s [-o FILE.trace] [--limit N] -- PROGRAM [ARGUMENT ...]"
    it = Parser(__file__, _DESCRIPTION, _EXAMPLES, usage=usage)
    it.allow_abbrev = False
    it.add_argument("program", nargs="*", help=argparse.SUPPRESS)  # in the wrong place
    it.add_argument("-o", dest="file", type=Path, metavar="FILE", help="default: PROGRAM.trace")
    it.add_argument(
        "--limit", type=_count, default=LIMIT, metavar="N", help="calls at most (%(default)s)"
    )
    it.add_argument(
        "--subject", metavar="NAME", help="where --replay runs it unless told (explicit_list, ...)"
    )
    return it


def _count(word: str) -> int:
    value = int(word)
    if not 0 < value <= 100 * LIMIT:
        raise ValueError
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    own, program = preload.split(sys.argv[1:] if arguments is None else arguments)
    words = parser().parse_args(own)
    if words.program:
        parser().error(f"what is to be run goes behind --: -- {' '.join(words.program)}")
    try:
        found = preload.find_program(program)
        file = words.file or Path(f"{Path(found[0]).name}.trace")
        status, calls, over = record(found, words.limit)
        if not calls:
            raise SubjectError(f"{program[0]}: nothing was recorded: static, or setuid?")
        trace, left_out = trace_of(calls, Path(program[0]).name, words.subject)
        left_out.over_limit = over
        file.write_text(to_text(trace))
    except SubjectError as error:
        return _complain(str(error))
    except OSError as error:
        return _complain(f"{error.filename or words.file}: {error.strerror}")
    told = f"; left out: {left_out}" if str(left_out) else ""
    print(f"{file}: {len(trace)} operations{told}", file=sys.stderr)
    return status


def _complain(text: str) -> int:
    print(f"allocator/record.py: {text}", file=sys.stderr)
    return BAD_INPUT


if __name__ == "__main__":
    raise SystemExit(main())
