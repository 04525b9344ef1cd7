"""Runs a real, unmodified program with a bundled allocator as its malloc, through LD_PRELOAD.

It checks nothing: no harness is in the program, and what it does is all that is seen.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not allocator/: its files must not stand in for anybody's modules
    from allocator import own_python

    own_python.need("elftools")

from allocator import build
from allocator.catalogue import BUG_MARK, gallery, resolve
from allocator.command_line import BAD_INPUT, Parser
from allocator.subject import SubjectError

DROPIN = Path(__file__).resolve().parent / "dropin"
STATS = "ALLOCHECK_STATS"
ARENA = 256 << 20  # bytes, for an allocator that lives in an array; untouched pages cost nothing
_SIGNAL_STATUS = 128
_NEEDED = {"malloc", "calloc", "realloc", "aligned_alloc", "free", "usable_size"}
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
# Sent by the terminal to the program as well: it decides what they mean.
_LEFT_TO_THE_PROGRAM = (signal.SIGINT, signal.SIGQUIT)

_DESCRIPTION = """\
Runs a real, unmodified program with a bundled allocator as its malloc, free, realloc, ... through
LD_PRELOAD. The program's children inherit it. Nothing is checked: what the program does is all
there is to see, so compare its output with what it prints on its own."""

_EXAMPLES = """\
examples:
  python allocator/preload.py explicit_list -- ls -l        ls on explicit_list
  python allocator/preload.py tlsf -- git gc                git, its threads and its children
  python allocator/preload.py --stats buddy -- sort FILE    what it asked for, told at its end
  PYTHONMALLOC=malloc python allocator/preload.py first_fit -- python3 -c 'print(1)'
                                       (Python has an allocator of its own in front of malloc;
                                       PYTHONMALLOC=malloc takes it away)
  python allocator/preload.py explicit_list+bugs/usable-over-reported -- ls -l
                                       a planted bug in a real program: it may die, or live
  python allocator/preload.py --list

--stats tells a line for each process that ends by itself: calls, the most usable bytes that were
live at once, the bytes never freed.

Not reached: static and setuid programs, programs with a malloc of their own (often: browsers, Go,
Rust with jemalloc), memory that a program maps itself. realloc(p, 0) frees p and gives NULL, as
glibc's does.

exit status: the program's own, 128 + N when signal N ended it; 2 for a name or program that is
not there."""


def parser() -> Parser:
    """The command line in front of `--`."""
    usage = "%(prog)s [--stats] NAME -- PROGRAM [ARGUMENT ...]"
    it = Parser(__file__, _DESCRIPTION, _EXAMPLES, usage=usage)
    it.allow_abbrev = False
    it.add_argument(
        "name", nargs="?", metavar="NAME", help="NAME, NAME+VARIANT or either with +bugs/BUG"
    )
    it.add_argument("program", nargs="*", help=argparse.SUPPRESS)  # that came without its --
    it.add_argument("--list", action="store_true", help="print the names and end")
    it.add_argument("--stats", action="store_true", help="tell calls and bytes when it ends")
    it.add_argument(
        "--stats-file", metavar="FILE", help="append them to FILE instead of standard error"
    )
    return it


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """What stands before the first `--`, and the program with its arguments behind it."""
    words = list(words)
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


def library(spec: str, *, counting: bool = False) -> Path:
    """The shared object that makes the bundled allocator `spec` a program's malloc.

    `counting` makes it tell calls and bytes at the end.  Raises SubjectError.
    """
    if "." in spec or "/" in spec.partition(BUG_MARK)[0]:
        raise SubjectError(f"{spec}: only bundled allocators: {', '.join(gallery())}")
    subject = resolve(spec)
    assert subject.adapter, "what is bundled is built from sources"
    assert subject.folder
    missing = sorted(_NEEDED - subject.has)
    if missing:
        raise SubjectError(f"{spec}: has no {missing[0]}, which programs need")
    flags = build.subject_flags(subject)
    units = [build.Unit(source, flags, subject.folder) for source in subject.sources]
    units.append(build.Unit(subject.adapter, (*flags, "-w"), subject.folder))
    units.append(shim("preload.c", _shim_flags(subject.contract.arena, counting)))
    return link(f"{spec}-preload", units)


def _shim_flags(arena: int, counting: bool) -> tuple[str, ...]:
    """An allocator in an array gets more than its contract says: real programs need it."""
    flags = (f"-DDROPIN_ARENA={ARENA}",) if arena else ()
    return (*flags, "-DDROPIN_COUNTS") if counting else flags


def shim(name: str, extra: tuple[str, ...] = ()) -> build.Unit:
    """A C file of dropin/; its functions are not what a compiler knows by their names."""
    flags = (*build.harness_flags(), "-fvisibility=hidden", "-fno-builtin", *extra)
    return build.Unit(DROPIN / name, flags, DROPIN)


def link(name: str, units: Sequence[build.Unit]) -> Path:
    """A shared object for LD_PRELOAD."""
    objects = [build.compile_object(unit) for unit in units]
    path = build.link(name, objects, ["-shared", "-Wl,-Bsymbolic", "-Wl,-z,defs", "-lpthread"])
    if set(" :") & set(str(path)):
        raise SubjectError(
            f"{path}: LD_PRELOAD takes no path with a space or a colon: set ALLOCHECK_CACHE"
        )
    return path


def preloading(path: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with the library at `path` first in LD_PRELOAD."""
    given = os.environ.get("LD_PRELOAD")
    first = f"{path}:{given}" if given else str(path)
    return {**os.environ, **settings, "LD_PRELOAD": first}


def environment(spec: str, *, stats: str = "") -> dict[str, str]:
    """What a program that shall run on `spec` needs; `stats` is a file name, "2" or nothing."""
    settings = {STATS: stats if stats in ("", "2") else os.path.abspath(stats)}
    return preloading(library(spec, counting=bool(stats)), settings if stats else {})


def find_program(words: Sequence[str]) -> list[str]:
    """The words with the program's path first; SubjectError when there is none to start."""
    if not words:
        raise SubjectError("which program? it stands behind --, as in: -- ls -l")
    path = shutil.which(words[0])
    if path is None:
        raise SubjectError(f"{words[0]}: {_why_not(Path(words[0]))}")
    return [path, *words[1:]]


def _why_not(path: Path) -> str:
    """Why there is no program of that name, and what to do."""
    here = path.is_file() and os.access(path, os.X_OK)
    if here:  # a shell does not look here either
        return f"no such program in PATH; the one in this folder is ./{path}"
    if path.is_dir():
        return "a folder, no program"
    if path.is_file():
        return f"a file that may not be run: chmod +x {path}"
    if "/" in str(path):
        return "no such program: there is no such file"
    return "no such program in PATH: correct the name, or give its path"


def run_program(words: Sequence[str], settings: Mapping[str, str]) -> int:
    """Runs the program to its end and gives its status, 128 + N when signal N ended it."""
    started: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def forward(number: int, _: object) -> None:
        if not started:
            early.append(number)
        for process in started:
            process.send_signal(number)

    for number in _LEFT_TO_THE_PROGRAM:
        signal.signal(number, lambda *_: None)
    for number in _FORWARDED:
        signal.signal(number, forward)
    try:
        with subprocess.Popen(words, env=settings) as process:
            started.append(process)
            for number in early:
                process.send_signal(number)
            status = process.wait()
    except OSError as error:
        raise SubjectError(f"{words[0]}: {error.strerror}") from None
    return status if status >= 0 else _SIGNAL_STATUS - status


def print_names() -> int:
    """The names, one a line."""
    print(f"each also with a planted bug: NAME{BUG_MARK}BUG", file=sys.stderr)
    try:
        print("\n".join(gallery()), flush=True)
    except BrokenPipeError:  # who reads us has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    own, program = split(sys.argv[1:] if arguments is None else arguments)
    words, unknown = parser().parse_known_args(own)
    if words.program:
        told = " ".join([words.name, "--", *own[own.index(words.program[0]) :]])
        parser().error(f"what is to be run goes behind --: {told}")
    if unknown:
        parser().error(f"unrecognized arguments: {' '.join(unknown)}")
    if words.list:
        return print_names()
    try:
        if words.name is None:
            raise SubjectError(f"on which allocator? {', '.join(gallery())}")
        found = find_program(program)
        stats = words.stats_file or ("2" if words.stats else "")
        return run_program(found, environment(words.name, stats=stats))
    except SubjectError as error:
        print(f"allocator/preload.py: {error}", file=sys.stderr)
        return BAD_INPUT


if __name__ == "__main__":
    raise SystemExit(main())
