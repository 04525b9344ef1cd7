"""Searches for a program that makes an allocator break a rule; see --help and fuzz/README.md.

The command line only: campaign.py does the work on each subject.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not fuzz/: its files must not stand in for anybody's modules
    from allocator import own_python

    own_python.need("rich", "elftools")

from rich.console import Console
from rich.status import Status

from allocator import artifacts, ctrl_c
from allocator.catalogue import gallery, threaded
from allocator.command_line import Parser
from allocator.subject import SubjectError
from fuzz.campaign import Campaign, Options
from fuzz.census import census
from fuzz.crew import Crew, outcome_of
from fuzz.hands import ClusterHands, Hands, HandsLost, LocalHands
from fuzz.ledger import BEGIN, END, FINDING, Ledger
from fuzz.minimise import Minimise
from fuzz.options import THREADS as USUAL
from fuzz.options import TRACES
from fuzz.pages import replay_page, search_page
from fuzz.replay import read_trace, replay
from fuzz.results import ERROR, OK, UNSTABLE, VIOLATION, Report, Result, pulse_of, to_json
from models.picture import beside
from models.rep import to_rep
from models.report import report
from models.trace import THREADS, TraceError, to_text

DEFAULT_SECONDS = 40.0  # shared among the subjects, at least 2 each
MEANING = (
    "A pass means: the programs that were run broke no rule that is on. It does not mean that no "
    "program does; proofs/ speaks of all of them."
)

COLD_WORDS = """\
compiling for the first time here: the C compiler builds its own libraries and our harness, which
takes up to a few minutes, once"""
FIRST_WORDS = """\
searching the {count} bundled allocators, one after the other, for a program that breaks a rule
(each verdict with a picture of a heap: # in use, ! in question, X shared, . free)"""
LAST_WORDS = """\

what next:
  python fuzz/run.py explicit_list+bugs/copies-too-little    what a broken rule looks like
  python fuzz/run.py mine.c                                  yours: FIVE_MINUTES.md has examples
  python fuzz/run.py --help                                  all there is"""

_DESCRIPTION = """\
Searches for a short program of malloc, free, realloc, ... that makes an allocator break a rule.
Each subject is searched by random dense programs, by cycles and refused pages, and by atheris on
C coverage and heap states; what is found is confirmed in a fresh process, shrunk and written."""

_EXAMPLES = """\
examples:
  python fuzz/run.py                              every bundled allocator, some two minutes
  python fuzz/run.py best_fit --seconds 600       ten minutes on one of them
  python fuzz/run.py mine.c --runs 100000         a source of yours (.c, .so, .toml), by count
  python fuzz/run.py pool.c --prefix pool_        its functions are called pool_malloc, ...
  python fuzz/run.py mine.c --replay out/fuzz/mine.c/overlap-1a2b3c4d.trace
  python fuzz/run.py mine.c --replay short1.rep   a trace of the malloc lab
  python fuzz/run.py --replay found.trace --export found.rep       and one for it
  python fuzz/run.py --json result.json           what was found, for a machine to read
  python fuzz/run.py tlsf --jobs 4 --seconds 600  four workers with one corpus
  python fuzz/run.py --resume --out out/fuzz      go on with what Ctrl-C or a crash cut short
  python fuzz/run.py tlsf --cluster tcp://10.0.0.5:8786 --seconds 3600
  python fuzz/run.py tlsf --minimise --merge their/corpus
  python fuzz/run.py libmine.so --threads 4       it promises threads: four of them race
  python fuzz/run.py mine.toml --replay found.trace --race
  python fuzz/run.py mine.toml --tsan             data races, by ThreadSanitizer
  python fuzz/run.py mine.c --report mine.html    a page with pictures of the heap, for a person

exit status: 0 nothing found; 1 a rule was broken; 2 a subject could not be searched, or a finding
did not show again; 130 Ctrl-C (what was found so far is written)."""


def parser() -> Parser:
    """The command line."""
    it = Parser(__file__, _DESCRIPTION, _EXAMPLES)
    it.add_argument("subjects", nargs="*", metavar="SUBJECT", help="bundled name, .c, .so or .toml")
    it.add_argument("--seconds", type=_positive(float), help="time for each subject; "
                    "what it takes to build it and to start processes comes on top")  # fmt: skip
    it.add_argument("--runs", type=_positive(int), help="executions for each subject, instead")
    it.add_argument("--seed", type=_positive(int), help="the same seed, the same random programs")
    it.add_argument("--out", type=Path, default=Path("out/fuzz"), help="default: %(default)s")
    it.add_argument("--json", type=_output, metavar="FILE", help="write the results as JSON")
    it.add_argument(
        "--report", type=_output, metavar="FILE", help="write a page (HTML) with pictures"
    )
    it.add_argument("--replay", type=Path, metavar="FILE", help="run a .trace or .rep file instead")
    it.add_argument("--race", action="store_true",
                    help="with --replay: all threads of the trace run at once, freely")  # fmt: skip
    it.add_argument("--threads", type=_count, metavar="N",
                    help="threads that run freely, where they are promised (default: 3, 0: none); "
                    "given for a .c or .so, it promises them")  # fmt: skip
    it.add_argument("--tsan", nargs="?", const="", metavar="CC",
                    help="free-running threads under ThreadSanitizer too, of this compiler "
                    "(default: gcc, clang or ziglang)")  # fmt: skip
    it.add_argument("--export", type=_output, metavar="FILE",
                    help="with --replay: write it as .rep or .trace, run nothing")  # fmt: skip
    it.add_argument(
        "--findings", type=_positive(int), default=4, help="stop after so many (default: 4)"
    )
    it.add_argument("--jobs", type=_positive(int), help="workers on this machine (default: 1)")
    it.add_argument("--cluster", metavar="ADDRESS", help="workers of a Dask cluster, tcp://...")
    it.add_argument("--resume", action="store_true", help="go on with the campaign in --out")
    it.add_argument("--minimise", action="store_true", help="only make the corpus smaller")
    it.add_argument("--merge", type=Path, metavar="FOLDER", help="with traces from there as well")
    it.add_argument("--prefix", help="how the functions of a .c or .so start")
    it.add_argument("--no-edges", action="store_true", help="build without C coverage")
    it.add_argument("--no-states", action="store_true", help="no heap-state counters")
    it.add_argument("--no-dense", action="store_true", help="no random programs before the search")
    it.add_argument("--no-guided", action="store_true", help="random programs and cycles alone")
    return it


def _positive(kind: type) -> type:
    def convert(text: str) -> float:
        value = kind(text)
        if not 0 < value < 2**40:
            raise ValueError
        return value  # type: ignore[no-any-return]

    convert.__name__ = f"positive {kind.__name__}"
    return convert  # type: ignore[return-value]


def _count(text: str) -> int:
    value = int(text)
    if not 0 <= value <= THREADS:
        raise argparse.ArgumentTypeError(f"{text}: 0 to {THREADS} threads")
    return value


def _output(text: str) -> Path:
    """A file that can be written: not known only when the work is done."""
    path = Path(text)
    folder = next(each for each in path.absolute().parents if each.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text}: cannot be written")
    return path


def options_of(words: argparse.Namespace, seed: int, subjects: int) -> Options:
    """What the words mean for each campaign."""
    seconds = words.seconds or (0 if words.runs else max(2.0, DEFAULT_SECONDS / max(1, subjects)))
    return Options(
        seconds=seconds,
        runs=words.runs or 0,
        seed=seed,
        out=words.out,
        prefix=words.prefix,
        findings=words.findings,
        edges=not words.no_edges,
        states=not words.no_states,
        dense=not words.no_dense,
        guided=not words.no_guided,
        threads=USUAL if words.threads is None else words.threads,
        promised=bool(words.threads and words.subjects),
        tsan=words.tsan,
    )


# What --resume takes from the command line that it goes on with.
LASTING = ("seconds", "runs", "seed", "findings", "prefix",
           "threads", "tsan", "no_edges", "no_states", "no_dense", "no_guided", "jobs")  # fmt: skip


def lasting(words: argparse.Namespace) -> dict[str, object]:
    """The words that a campaign is resumed with."""
    return {name: getattr(words, name) for name in LASTING}


def recall_words(words: argparse.Namespace) -> list[str]:
    """The subjects; for --resume those, and the words, of the campaign that is gone on with."""
    if not words.resume:
        return words.subjects or ([] if words.replay else [*gallery(), *threaded()])
    session = Ledger(words.out).session()
    if not session:
        raise SubjectError(f"{words.out}: no campaign to resume (see --out)")
    jobs = words.jobs
    vars(words).update(session[0]["words"])
    words.jobs = jobs or words.jobs
    return words.subjects or list(session[0]["specs"])


class Session:
    """The subjects of one command, and what is known of them at any time."""

    def __init__(self, options: Options, console: Console) -> None:
        self.options = options
        self._console = console
        self.results: list[Result] = []

    def search(self, specs: list[str], ledger: Ledger, hands: Hands | None) -> None:
        """A campaign for each subject; one that cannot be searched does not stop the next."""
        for spec in specs:

            def note(report: Report, spec: str = spec) -> None:
                ledger.add(FINDING, subject=spec, trace=to_text(report.finding.trace))

            with self._console.status(spec) as status:
                words = (spec, self.options, _teller(status, spec))
                if hands:
                    campaign = Crew(*words, note=note, hands=hands, ledger=ledger)
                else:
                    campaign = Campaign(*words, note=note)
                self._run(campaign)
            if campaign.result.error is None:
                ledger.add(END, subject=spec, outcome=asdict(outcome_of(campaign.result)))

    def minimise(self, specs: list[str], merge: Path | None) -> None:
        """Each subject's corpus, made smaller."""
        for spec in specs:
            with self._console.status(spec) as status:
                self._run(Minimise(spec, self.options, _teller(status, spec), merge=merge))

    def _run(self, campaign: Campaign) -> None:
        campaign.tell = pulse_of(campaign.result, campaign.tell)
        self.results.append(campaign.result)
        campaign.run()
        self.say(campaign.result)

    def replay(self, path: Path, specs: list[str], free_running: bool = False) -> None:
        """The trace at `path` on each subject, or on the one that it names."""
        trace = read_trace(path)
        if free_running or self.options.tsan is not None:
            trace = replace(trace, free_running=True)
        if not specs and not trace.subject:
            raise TraceError(f"{path}: names no subject: say on which one it is to be replayed")
        for spec in specs or [str(trace.subject)]:
            self.results.append(replay(trace, path, spec, self.options))
            self.say(self.results[-1])

    def status(self, text: str) -> Status:
        """A line that changes, on a terminal."""
        return self._console.status(text)

    def say(self, result: Result) -> None:
        """Prints a result: its findings, its notes, its line."""
        for each in result.reports:
            print(report(each.finding, each.contract, str(each.trace_file or "")))
            if each.reproducer:
                print(f"reproducer: {each.reproducer}\n")
        for note in result.notes:
            print(f"{result.name}: {note}")
        heap = result.heap()
        columns = shutil.get_terminal_size().columns
        print(beside(result.line(), heap, columns) if heap else result.line(), flush=True)


def write_page(words: argparse.Namespace, session: Session, given: list[str], seed: int) -> None:
    """The page that --report asks for; looking at what was run takes a few seconds a subject."""
    if words.replay:
        trace = read_trace(words.replay)
        replay_page(words.report, trace, session.results, given, session.options)
        return
    censuses = {}
    with session.status("report") as status:
        for result in session.results:
            status.update(f"report: looking at what ran on {result.name}")
            if result.error is None:
                place = (words.prefix, words.out, TRACES, seed, result.seconds)
                censuses[result.name] = census(result.name, *place)
    search_page(words.report, session.results, censuses, given, seed, session.options, MEANING)


def export(words: argparse.Namespace) -> int:
    """Writes the trace of --replay in the form that the name of --export asks for."""
    if not words.replay:
        raise TraceError("--export writes the trace of --replay FILE: which one?")
    trace = read_trace(words.replay)
    words.export.parent.mkdir(parents=True, exist_ok=True)
    words.export.write_text(to_rep(trace) if words.export.suffix == ".rep" else to_text(trace))
    print(f"{words.export}: {len(trace):,} operations")
    return 0


def _teller(status: Status, spec: str):
    return lambda text: status.update(f"{spec}: {text}")


def exit_code(results: list[Result]) -> int:
    """1 for a finding, else 2 for whatever could not be settled, else 0."""
    verdicts = {result.verdict for result in results}
    if VIOLATION in verdicts:
        return 1
    return 2 if verdicts & {ERROR, UNSTABLE} else 0


def carry_out(session: Session, words: argparse.Namespace, specs: list[str]) -> None:
    """Does what the words say."""
    if words.replay:
        session.replay(words.replay, specs, words.race)
        return
    if words.merge and not words.merge.is_dir():
        raise SubjectError(f"{words.merge}: no such folder")
    ledger = Ledger(words.out)
    if words.minimise or words.merge:
        session.minimise(specs, words.merge)
        return
    if not words.resume:
        ledger.add(BEGIN, words=lasting(words), specs=specs)
    jobs = words.jobs or 1
    hands = ClusterHands(words.cluster) if words.cluster else None
    hands = hands or (LocalHands(jobs) if words.resume or jobs > 1 else None)
    try:
        session.search(specs, ledger, hands)
    finally:
        if hands:
            hands.close()


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    words = parser().parse_args(arguments)
    results: list[Result] = []
    first_day = not words.subjects and not words.replay and not words.resume
    try:
        if words.export:
            return export(words)
        specs = recall_words(words)
        words.seed = words.seed or time.time_ns() // 1000 % 1_000_000_007
        if not words.replay:
            print(f"seed {words.seed}", flush=True)
        if first_day:
            print(FIRST_WORDS.format(count=len(specs)), flush=True)
        if artifacts.is_empty():
            print(COLD_WORDS, file=sys.stderr, flush=True)
        session = Session(options_of(words, words.seed, len(specs)), Console(stderr=True))
        results = session.results
        carry_out(session, words, specs)
        code = exit_code(results)
    except (SubjectError, TraceError, HandsLost) as error:
        code = _complain(str(error), results)
    except BrokenPipeError:  # who reads us has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = exit_code(results)
    except OSError as error:
        code = _complain(f"{error.filename or words.out}: {error.strerror}", results)
    except KeyboardInterrupt:
        more = "" if words.replay else f"; --resume --out {words.out} goes on"
        print(f"interrupted: what was found so far is written{more}", file=sys.stderr)
        code = 130
    if words.json:
        written = _write_json(words, results)
        code = code or written
    if words.report and results:
        write_page(words, session, sys.argv[1:] if arguments is None else arguments, words.seed)
        print(f"report: {words.report}")
    if not words.replay and any(result.verdict == OK for result in results):
        print(MEANING)
    if first_day:
        print(LAST_WORDS)
    return code


def _complain(text: str, results: list[Result]) -> int:
    print(f"fuzz/run.py: {text}", file=sys.stderr)
    return exit_code(results) or 2


def _write_json(words: argparse.Namespace, results: list[Result]) -> int:
    try:
        words.json.parent.mkdir(parents=True, exist_ok=True)
        words.json.write_text(to_json(words.seed or 0, results, words.out))
    except OSError as error:
        print(f"fuzz/run.py: {words.json}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    ctrl_c.insist()
    raise SystemExit(main())
