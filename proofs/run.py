"""Proves what an allocator promises, on the code as compiled: `python proofs/run.py --help`.

A command line and nothing else; verify.py has the work.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

# Python puts this folder first; the packages lie beside it, and its own files must shadow nothing.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from allocator import own_python

own_python.need("typer", "llvmlite", "z3", "immutables")

import typer
from rich.console import Console
from rich.markup import escape

from allocator import ctrl_c
from allocator.catalogue import gallery
from allocator.subject import Subject, SubjectError
from models.trace import from_text
from proofs import count
from proofs import report as reports
from proofs.campaign import PATIENCE, Campaign
from proofs.claims import NARROW, PROVED, REFUTED, Claim
from proofs.closure import Closure, closure
from proofs.engine import LoopLimit
from proofs.equivalence import DIFFERENT, EQUAL, compare
from proofs.follow import NotFollowed, follow
from proofs.read_ir import UnsupportedIr
from proofs.second import NoSecondSolver, Second
from proofs.subjects import NoSubject, compiled, subject_of, version_of
from proofs.target import TARGET, TARGETS, VARIABLE
from proofs.verify import Limits, Report, claims_matching

Wanted = dict[str, list[Claim]]
Quick = Annotated[
    bool | None,
    typer.Option("--quick/--deep", help="a smaller bound; the default for what is not bundled"),
]
Seconds = Annotated[
    int | None,
    typer.Option(min=0, help="CPU seconds a study, 0 for any number; default: 22 if not bundled"),
]
Bits = Annotated[int, typer.Option(help="64, or 32 for the code that a 32-bit x86 would run")]
Jobs = Annotated[int, typer.Option(min=0, help="studies at a time; 0: as many as there are cores")]
Optimised = Annotated[
    bool, typer.Option("--optimised", help="the code that -O2 made; bounded claims only")
]
Unoptimised = Annotated[
    bool, typer.Option("--unoptimised", help="the code of -O0, its locals in memory")
]
Replayed = Annotated[
    Path | None,
    typer.Option(help="follow a .trace file on the IR, number by number, instead of proving"),
]
Against = Annotated[
    str | None,
    typer.Option(help="another version, or a bug's TOML: do they agree on every valid heap?"),
]
Enumerated = Annotated[
    bool, typer.Option("--enumerate", help="level 2: every heap of a small memory, natively")
]
Bytes = Annotated[
    int, typer.Option(min=0, help="of that memory; default: the least that serves a request")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="believe no verdict of an earlier run")]
CrossCheck = Annotated[
    bool, typer.Option("--cross-check", help="ask bitwuzla too whatever a verdict rests on")
]
Counted = Annotated[bool, typer.Option("--count", help="lines of claim beside lines of C")]
OUT, ERR = Console(), Console(stderr=True)
ALL_PROVED, SOME_REFUTED, NOT_KNOWN, INTERRUPTED = 0, 1, 2, 130
# The base of all that can be wrong with the words; typer has moved it about.
_USAGE: type[Exception] = typer.BadParameter.__base__
A_MINUTE = 22  # seconds of CPU for each of two studies, and what it takes to begin
EPILOG = """\
examples:

python proofs/run.py explicit_list                   everything claimed of one allocator

python proofs/run.py mine.c                          yours: no annotation needed, a minute

python proofs/run.py mine.c --deep                   longer programs, any time it takes

python proofs/run.py --quick                         all bundled ones, shorter programs

python proofs/run.py explicit_list+bugs/no-back-link --claim bounded.free_list

python proofs/run.py mine.c --bits 32                for a 32-bit machine: sizes wrap at 4 GiB

python proofs/run.py mine.c --report proofs.html     a page with pictures

python proofs/run.py ONE --against OTHER             do two versions agree on every valid heap?

python proofs/run.py mine.c --enumerate             every heap of a small memory, natively

python proofs/run.py --list                          the claims, one a line

python proofs/run.py best_fit --replay found.trace   what another engine found, on the IR

exit status: 0 all proved (a quick look: or narrow), 1 a claim refuted, 2 unknown, narrow, or
could not run, 130 interrupted.
"""


def main(
    subjects: Annotated[
        list[str] | None,
        typer.Argument(help="bundled name, x.c, or x.toml with sources; default: all bundled"),
    ] = None,
    prefix: Annotated[str | None, typer.Option(help="how the functions of a .c start")] = None,
    claim: Annotated[str, typer.Option(help="only claims that match this glob")] = "*",
    quick: Quick = None,
    seconds: Seconds = None,
    jobs: Jobs = 0,
    optimised: Optimised = False,
    unoptimised: Unoptimised = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="write the report to this file, - for stdout")
    ] = None,
    page: Annotated[Path | None, typer.Option("--report", help="write a page (HTML)")] = None,
    replay: Replayed = None,
    against: Against = None,
    enumerated: Enumerated = False,
    memory: Bytes = 0,
    fresh: Fresh = False,
    cross_check: CrossCheck = False,
    bits: Bits = TARGET.bits,
    list_claims: Annotated[bool, typer.Option("--list", help="list the claims")] = False,
    counted: Counted = False,
) -> None:
    """Proves or refutes what the allocator promises, by symbolic execution of its LLVM IR.

    Every counterexample becomes a trace and is replayed on the compiled library.
    """
    _with_words_of(bits)
    if counted:
        print(count.told())
        raise typer.Exit(ALL_PROVED)
    kind = _kind(optimised, unoptimised)
    chosen = _subjects(subjects or gallery(), prefix, kind)
    _have_places(file for file in (json_file, page) if file and str(file) != "-")
    if replay:
        raise typer.Exit(_replay(replay, chosen))
    if against:
        raise typer.Exit(_against(chosen, against, bool(quick), seconds or 0, json_file))
    if enumerated:
        raise typer.Exit(_enumerate(chosen, memory, json_file))
    strange = not all(subject.bundled for subject in chosen.values())
    quick = strange if quick is None else quick
    wanted = _wanted(chosen, claim, quick, kind)
    if list_claims:
        raise typer.Exit(_list(wanted))
    seconds = A_MINUTE * strange if seconds is None else seconds
    if cross_check:
        _has_second_solver()
    limits = Limits(time.time() if fresh else 0.0, seconds, cross_check)
    workers = jobs or os.cpu_count() or 1
    campaign = Campaign(chosen, claim, quick, kind, limits, workers, _progress)
    raise typer.Exit(_found_out(campaign, json_file, page))


def _with_words_of(bits: int) -> None:
    """Starts again for another machine: how wide a word is must be known from the start."""
    if bits == TARGET.bits:
        return
    if str(bits) not in TARGETS:
        _stop(f"--bits {bits}: there are {' and '.join(TARGETS)}")
    os.environ[VARIABLE] = str(bits)
    os.execv(sys.executable, [sys.executable, *sys.argv])


def _found_out(campaign: Campaign, json_file: Path | None, page: Path | None) -> int:
    """Runs it and tells what came out; the exit code."""
    interrupted = _interrupted(campaign)
    done = campaign.finished()
    _tell(done, campaign.chosen, json_file, page)
    return INTERRUPTED if interrupted else _exit_code(done, campaign.quick)


def _kind(optimised: bool, unoptimised: bool) -> str:
    if optimised and unoptimised:
        _stop("--optimised or --unoptimised, not both")
    return "optimised" if optimised else "unoptimised" if unoptimised else "raw"


def _wanted(chosen: dict[str, Subject], claim: str, quick: bool, kind: str) -> Wanted:
    """The claims that match, of each subject; at least one."""
    try:
        wanted = {
            name: claims_matching(subject, claim, quick, kind) for name, subject in chosen.items()
        }
    except NoSubject as error:
        _stop(str(error))
    if not any(wanted.values()):
        _stop(f"no claim matches {claim!r}: python proofs/run.py --list")
    return wanted


def _list(wanted: Wanted) -> int:
    for name, entries in wanted.items():
        for entry in entries:
            print(f"{name:28} {entry.name:24} {entry.rule:14} {entry.says}")
    return ALL_PROVED


def _progress(line: str) -> None:
    ERR.print(f"[dim]{escape(line)}[/]", highlight=False, soft_wrap=True)


def _interrupted(campaign: Campaign) -> bool:
    """Runs it; True when Ctrl-C cut it short."""
    try:
        campaign.run()
    except KeyboardInterrupt:
        ERR.print("interrupted: what is done so far follows")
        return True
    return False


def _replay(file: Path, chosen: dict[str, Subject]) -> int:
    """Says of each subject what its IR does on a trace; a rule broken is a claim refuted."""
    status = ALL_PROVED
    try:
        trace = from_text(file.read_text())
        for name, subject in chosen.items():
            verdict = follow(trace, subject)
            status = status if verdict.ok else SOME_REFUTED
            told = verdict.violation.message if verdict.violation else "nothing wrong on this trace"
            OUT.print(f"{name}: {verdict.rule}: {told}", highlight=False, markup=False)
    except OSError as error:
        _stop(f"{file}: {error.strerror}: --replay takes a file that can be read")
    except UnicodeDecodeError:
        _stop(f"{file}: not text: --replay takes a .trace file")
    except UnsupportedIr as error:
        _stop(f"{file}: {error}; fuzz/run.py --replay runs it all the same")
    except (ValueError, NotFollowed, LoopLimit) as error:
        _stop(f"{file}: {error}")
    return status


def _against(
    chosen: dict[str, Subject], other: str, quick: bool, seconds: int, json_file: Path | None
) -> int:
    """Says whether another version does the same as the one subject that is chosen."""
    if len(chosen) != 1:
        _stop("--against compares one subject with another: name just one before it")
    (one,) = chosen.values()
    try:
        outcome = compare(
            one, version_of(other, one), quick=quick, seconds=seconds, progress=_now()
        )
    except NoSubject as error:
        _stop(str(error))
    except KeyboardInterrupt:
        _stop("interrupted", INTERRUPTED)
    line = f"{one.name} and {other}: {outcome.word}: {outcome.why} ({outcome.heaps} heaps)"
    _say([line], {"one": one.name, "other": other, **asdict(outcome)}, json_file)
    return {EQUAL: ALL_PROVED, DIFFERENT: SOME_REFUTED}.get(outcome.word, NOT_KNOWN)


def _enumerate(chosen: dict[str, Subject], memory: int, json_file: Path | None) -> int:
    """Tries every heap of a small memory of each subject, natively."""
    done: dict[str, Closure] = {}
    try:
        for name, subject in chosen.items():
            done[name] = closure(subject, memory=memory, progress=_now())
    except SubjectError as error:
        _stop(str(error))
    except KeyboardInterrupt:
        ERR.print("interrupted: what is done so far follows")
    lines = [line for name, found in done.items() for line in reports.of_closure(name, found)]
    told = [reports.closure_json(name, found) for name, found in done.items()]
    _say(lines, {"subjects": told}, json_file)
    if len(done) < len(chosen):
        return INTERRUPTED
    if any(found.finding for found in done.values()):
        return SOME_REFUTED
    return ALL_PROVED if all(found.closed for found in done.values()) else NOT_KNOWN


def _say(lines: list[str], document: dict, json_file: Path | None) -> None:
    """For people, or for a machine on stdout; for both where the machine has a file."""
    text = json.dumps({"schema": 1, "tool": "proofs", **document}, indent=1) + "\n"
    if json_file and str(json_file) == "-":
        print(text, end="")
        return
    for line in lines:
        OUT.print(line, highlight=False, markup=False, soft_wrap=True)
    if json_file:
        json_file.write_text(text)


def _now() -> Callable[[str], None]:
    """Progress, a line every two seconds at most."""
    told = time.monotonic()

    def tell(line: str) -> None:
        nonlocal told
        if line and time.monotonic() - told >= PATIENCE:
            told = time.monotonic()
            _progress(line)

    return tell


def _subjects(names: list[str], prefix: str | None, kind: str) -> dict[str, Subject]:
    """Finds and compiles all of them: what can be wrong is told before minutes of work."""
    chosen = {}
    try:
        for name in names:
            chosen[name] = subject_of(name, prefix)
            compiled(chosen[name], kind)
    except NoSubject as error:
        _stop(str(error))
    return chosen


def _has_second_solver() -> None:
    try:
        Second()
    except NoSecondSolver as error:
        _stop(str(error))


def _tell(
    done: dict[str, list[Report]],
    chosen: dict[str, Subject],
    json_file: Path | None,
    page: Path | None,
) -> None:
    if page:
        reports.write_page(page, done, chosen, sys.argv[1:])
        ERR.print(f"report: {page}", highlight=False, markup=False, soft_wrap=True)
    document = {
        "schema": 1,
        "tool": "proofs",
        "subjects": [reports.as_json(name, entries) for name, entries in done.items()],
    }
    text = json.dumps(document, indent=1) + "\n"
    if json_file and str(json_file) == "-":
        print(text, end="")
        return
    for name, entries in done.items():
        reports.show(OUT, chosen[name], entries)
    OUT.print(f"\n{reports.MEANING}")
    if json_file:
        json_file.write_text(text)


def _have_places(files: Iterable[Path]) -> None:
    """Whether reports can be written there is told before minutes of work."""
    for trouble in filter(None, map(reports.why_not_there, files)):
        _stop(trouble)


def _exit_code(done: dict[str, list[Report]], quick: bool) -> int:
    """A quick look may be narrow: that is what was asked for."""
    verdicts = {reports.worst(entries) for entries in done.values()}
    if REFUTED in verdicts:
        return SOME_REFUTED
    return ALL_PROVED if verdicts <= ({PROVED, NARROW} if quick else {PROVED}) else NOT_KNOWN


def _stop(message: str, status: int = NOT_KNOWN) -> NoReturn:
    ERR.print(f"proofs: {message}", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(status)


# typer's own completion knows installed programs alone; ci/completion.bash has these.
APP = typer.Typer(add_completion=False)
APP.command(epilog=EPILOG)(main)


def command_line() -> None:
    """Runs the words of the command line; what is wrong with them is one line."""
    try:
        status = APP(standalone_mode=False)
    except _USAGE as error:
        print(f"proofs: {error.format_message()} (see --help)", file=sys.stderr)
        status = NOT_KNOWN
    except typer.Abort:
        status = INTERRUPTED
    sys.exit(status)


if __name__ == "__main__":
    ctrl_c.insist()
    command_line()
