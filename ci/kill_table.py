"""The kill table: which engine kills which wrong allocator, by which rule, at what cost.

See --help.  The command line only: ci/killing/ makes the mutants, runs the engines and
lays out the table.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    from allocator import own_python

    own_python.need("rich", "tree_sitter")

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from allocator import ctrl_c
from allocator.catalogue import bundled, planted_bugs
from allocator.command_line import Parser
from allocator.subject import SubjectError
from ci.killing import plan as plans
from ci.killing import proving, rules, schedule, summary, survivors, targets
from ci.killing.attempt import LAYERS, Attempt, Terms
from ci.killing.engines import ENGINES
from ci.killing.journal import Journal
from ci.killing.page import to_html
from ci.killing.plan import Plan
from ci.killing.schedule import Task
from ci.killing.table import WIDTH, Board, cell, to_json, to_text
from ci.killing.targets import Target
from fuzz.report.page import write as write_page

DEFAULT_MUTANTS = 40
DEFAULT_ENGINES = "fuzz,stateful"

_DESCRIPTION = """\
Sets the engines on wrong allocators: planted bugs, and automatic mutants of the allocators' C.  A
kill is a broken rule that shows again in a fresh process, within a budget of CPU time.  No engine
is told what is wrong, and none replays the saved traces, except the one that does nothing else."""

_EXAMPLES = """\
engines: fuzz (the whole campaign of fuzz/run.py), its parts dense, cycles and guided; stateful and
traces (Hypothesis: the state machine, whole traces); saved (the traces in tests/traces, without a
planted bug's own); promises (what best_fit's header says of misuse, as cases in C)

examples:
  python ci/kill_table.py explicit_list                    its planted bugs, and 40 mutants
  python ci/kill_table.py tlsf --mutants all --cpu-seconds 60 --jobs 8
  python ci/kill_table.py explicit_list --bugs --layers black --engines dense,guided,stateful
  python ci/kill_table.py buddy --mutants 60 --resume      goes on where it was interrupted
  python ci/kill_table.py sbrk_list --engines saved --prove-survivors 120
  python ci/kill_table.py --rules                          is every rule needed?

exit status: 0 every survivor is explained in ci/killing/survivors.toml; 1 one is not, or a rule has
no bug that needs it; 2 something could not run; 130 Ctrl-C (what was found so far is written)."""


def parser() -> Parser:
    """The command line."""
    it = Parser(__file__, _DESCRIPTION, _EXAMPLES)
    it.add_argument("subjects", nargs="*", metavar="SUBJECT", help="bundled name or .toml; all")
    it.add_argument("--bugs", action="store_true", help="planted bugs (default: both)")
    it.add_argument("--mutants", type=_count, metavar="N|all", help="a sample, for each SUBJECT")
    it.add_argument("--only", default="", metavar="TEXT", help="names that hold one of TEXT,TEXT")
    it.add_argument("--engines", type=_engines, default=_engines(DEFAULT_ENGINES), metavar="LIST",
                    help=f"of {','.join(ENGINES)} (default: {DEFAULT_ENGINES})")  # fmt: skip
    it.add_argument("--layers", choices=LAYERS, default="all",
                    help="black: neither white-box rules nor model; white: no model")  # fmt: skip
    it.add_argument("--cpu-seconds", type=_seconds, default=20.0, metavar="S",
                    help="for each engine on each target and variant (default: 20)")  # fmt: skip
    it.add_argument("--short", type=_seconds, default=3.0, metavar="S",
                    help="what is not killed in S gets the whole budget (default: 3)")  # fmt: skip
    it.add_argument("--first", action="store_true", help="one kill is enough: spare later engines")
    it.add_argument("--jobs", type=_positive, default=2, help="processes (default: 2)")
    it.add_argument("--seed", type=_positive, default=1, help="default: 1")
    it.add_argument("--resume", action="store_true", help="take what the journal in --out knows")
    it.add_argument("--out", type=Path, default=Path("out/kill_table"), help="default: %(default)s")
    it.add_argument("--write", action="store_true", help="put the figures into ci/KILLS.md")
    it.add_argument("--report", type=Path, metavar="FILE", help="write the page here too (HTML)")
    it.add_argument("--prove-survivors", type=_positive, default=0, metavar="S",
                    help="ask proofs/ if survivors are equivalent, S s of CPU each")  # fmt: skip
    it.add_argument("--rules", action="store_true", help="only ask whether every rule is needed")
    return it


def _positive(text: str) -> int:
    if not 0 < int(text) < 2**31:
        raise ValueError
    return int(text)


def _seconds(text: str) -> float:
    if not 0 < float(text) < 2**31:
        raise ValueError
    return float(text)


def _count(text: str) -> int:
    """-1 stands for all."""
    return -1 if text == "all" else _positive(text)


def _engines(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in ENGINES]
    if unknown:
        raise argparse.ArgumentTypeError(f"no engine {unknown[0]!r} (known: {', '.join(ENGINES)})")
    return names


def mutant_count(words: argparse.Namespace) -> int | None:
    """How many mutants are wanted of each subject; None for all."""
    if words.mutants is None:
        return 0 if words.bugs else DEFAULT_MUTANTS
    return None if words.mutants < 0 else words.mutants


class Session:
    """One run of the command: the plans are made, then the attempts, and all are written."""

    def __init__(self, words: argparse.Namespace, console: Console) -> None:
        self._words = words
        self._console = console
        terms = {
            "layers": words.layers,
            "CPU seconds": words.cpu_seconds,
            "seed": words.seed,
        }
        self.board = Board(terms, words.engines, [], survivors.read())
        self._journal = Journal(words.out / "journal.jsonl", words.resume)

    def run(self) -> None:
        """Everything, a short run first; Ctrl-C leaves what was found so far on the board."""
        words = self._words
        try:
            with self._progress("mutants") as tell:
                for spec in words.subjects or bundled():
                    self.board.plans = [*self.board.plans, self._plan(spec, tell)]
            rounds = [[engine] for engine in words.engines] if words.first else [words.engines]
            for seconds in sorted({min(words.short, words.cpu_seconds), words.cpu_seconds}):
                for engines in rounds:
                    self._attempts(engines, seconds)
        except KeyboardInterrupt:
            self.board.interrupted = True

    def prove(self) -> None:
        """Asks of each survivor that is not proved yet whether it can be told from the original."""
        known = self.board.known
        targets = [
            row.target
            for row in self.board.survivors
            if getattr(survivors.of(row.target, known), "word", "") != survivors.PROVED
        ]
        with self._progress("proofs") as tell:
            for proof in proving.proofs_of(targets, self._words.prove_survivors, tell):
                print(proof.told(), flush=True)

    def _plan(self, spec: str, tell: plans.Tell) -> Plan:
        words = self._words
        return plans.make(
            targets.origin(spec),
            bugs=words.bugs or words.mutants is None,
            mutants=mutant_count(words),
            seed=words.seed,
            jobs=words.jobs,
            known=self.board.known,
            only=words.only.split(","),
            tell=tell,
        )

    def _attempts(self, engines: Sequence[str], seconds: float) -> None:
        """All attempts of these engines that the journal does not know, within so many seconds."""
        tasks = [task for task in self._tasks(engines, seconds) if not self._known(task)]
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                   TimeElapsedColumn())  # fmt: skip
        with (
            Progress(*columns, console=self._console, transient=True) as progress,
            closing(schedule.run(tasks, self._words.jobs)) as made,
        ):
            bar = progress.add_task(", ".join(engines), total=len(tasks))
            for task, attempt in made:
                self._note(task, attempt)
                progress.advance(bar)
                self._say(progress.console, task, attempt)

    def _tasks(self, engines: Sequence[str], seconds: float) -> Iterator[Task]:
        words = self._words
        terms = Terms(words.layers, words.seed, seconds, words.out)
        for plan in self.board.plans:
            for target in plan.targets:
                if words.first and self._is_killed(target.name):
                    continue
                if seconds > words.short and self._is_settled(target):
                    continue
                for engine in engines:
                    made = self.board.attempts.get((target.name, engine))
                    if made is not None and made.killed:
                        continue
                    key = self._journal.key(target, engine, terms)
                    yield Task(key, target, engine, terms)

    def _is_settled(self, target: Target) -> bool:
        """It is known to be equivalent: a short run is enough to ask whether that is still so."""
        entry = survivors.of(target, self.board.known)
        return entry is not None and entry.word in survivors.SETTLED

    def _is_killed(self, name: str) -> bool:
        made = self.board.attempts.items()
        return any(attempt.killed for (target, _), attempt in made if target == name)

    def _known(self, task: Task) -> bool:
        known = self._journal.known(task.key)
        if known is not None:
            self.board.attempts[task.target.name, task.engine] = known
        return known is not None

    def _note(self, task: Task, attempt: Attempt) -> None:
        self._journal.add(task.key, attempt)
        self.board.attempts[task.target.name, task.engine] = attempt

    def _say(self, console: Console, task: Task, attempt: Attempt) -> None:
        line = f"{task.target.name}  {task.engine}: {cell(attempt)}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def _progress(self, title: str) -> Iterator[plans.Tell]:
        with self._console.status(title) as status:
            yield status.update

    def write(self) -> None:
        """The three files."""
        out = self._words.out
        out.mkdir(parents=True, exist_ok=True)
        (out / "kills.txt").write_text(to_text(self.board))
        (out / "kills.json").write_text(to_json(self.board))
        page = to_html(self.board)
        for file in filter(None, (out / "kills.html", self._words.report)):
            write_page(file, page)


def ask_rules(subjects: Sequence[str], console: Console, command: str = "") -> int:
    """Prints, for each rule, the bugs that need it; 1 if a rule has none.

    With a `command` the figures go into ci/KILLS.md under its name.
    """
    chosen = [bug for name in subjects or bundled() for bug in planted_bugs(name)]
    with console.status("rules") as status:
        found = rules.witnesses(chosen, status.update)
    table = Table("rule", "planted bug", "without the rule")
    for rule, seen in found.items():
        for row, each in enumerate(rules.best_first(seen)):
            table.add_row(rule if not row else "", each.bug.subject, each.told())
        if not seen:
            table.add_row(rule, "-", "no bug names it")
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
    if command:
        summary.write_rules(found, command)
    unneeded = rules.empty(found)
    for rule in unneeded:
        print(f"{rule}: no planted bug needs this rule")
    return 1 if unneeded else 0


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    words = parser().parse_args(arguments)
    console = Console(stderr=True)
    started = time.monotonic()
    # A CI that loses patience gets what was found so far, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    told = shlex.join(sys.argv[1:] if arguments is None else arguments)
    command = f"python ci/kill_table.py {told}"
    try:
        if words.rules:
            return ask_rules(words.subjects, console, command if words.write else "")
        session = Session(words, console)
        session.run()
        session.write()
        if words.prove_survivors and not session.board.interrupted:
            session.prove()
    except SubjectError as error:
        print(f"ci/kill_table.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(to_text(session.board))
    if words.write and not session.board.interrupted:
        summary.write(session.board, command)
    print(f"written: {words.out}/kills.txt, .json, .html ({time.monotonic() - started:.0f} s)")
    return session.board.status


if __name__ == "__main__":
    ctrl_c.insist()
    raise SystemExit(main())
