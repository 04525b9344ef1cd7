"""The guided search as a libFuzzer program of its own: target.py SUBJECT [libFuzzer's options].

For ClusterFuzzLite, OSS-Fuzz and whoever else drives libFuzzer himself; fuzz/run.py is for the
rest.  It ends with status 77 and a crash file on a program that breaks a rule, after the judge has
seen it break again in a fresh process, and never on suspicion alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not fuzz/: its files must not stand in for anybody's modules

from allocator import binding
from allocator.catalogue import resolve
from allocator.executor import InProcess
from allocator.subject import Subject, SubjectError
from fuzz.bench import Bench
from fuzz.job import MAX_PROGRAM, SEARCH_CPU_MS, STATE_COUNTERS
from fuzz.limits import limits_of, probe_edges
from fuzz.native import decoder_library, mutator_library
from fuzz.worker import RUN_CAPACITY, SIGNALS, atheris_core
from models.report import report
from models.trace import Trace

USAGE = "usage: python fuzz/target.py SUBJECT [libFuzzer's options] [corpus folders and programs]"


class RuleBroken(Exception):
    """A program breaks a rule; the text is the whole report."""


class Target:
    """One program after another, as libFuzzer hands them over."""

    def __init__(self, subject: Subject) -> None:
        self._executor = InProcess(subject, decoder_library(), RUN_CAPACITY)
        self._bench = Bench(subject)
        limits = limits_of(subject, probe_edges(self._bench.execute, subject))
        self._executor.set_limits(limits.pack())
        self._executor.region.write_request(0, 0, "end", SEARCH_CPU_MS)
        self._fresh = True
        self._known: set[str] = set()

    def state_counters(self) -> int:
        """The address of the heap-state counters."""
        return self._executor.state_counters(STATE_COUNTERS)

    def one_input(self, data: bytes) -> None:
        """Runs one program; raises RuleBroken."""
        suspicious = self._executor.run_bytes(data)
        if self._fresh:
            binding.install_guard()  # libFuzzer has taken the signals since it was opened
            self._fresh = False
        if suspicious:
            self._look(self._executor.last_trace())

    def _look(self, trace: Trace) -> None:
        rule = self._bench.glance(trace, self._executor.last_run()).rule
        if rule == "ok" or rule in self._known:
            return
        finding = self._bench.check(trace)
        if finding is None or not finding.reproduced:
            self._known.add(rule)  # strange or slow; not to be looked at again and again
            return
        raise RuleBroken("\n" + report(finding, self._bench.subject.contract))


def main(words: list[str]) -> int:
    """The program; libFuzzer ends it."""
    if len(words) < 2 or words[1].startswith("-"):
        print(USAGE, file=sys.stderr)
        return 2
    core = str(atheris_core())
    try:
        subject = resolve(words[1], coverage=True)
        binding.load_global(str(mutator_library()))
        binding.load_global(core)
        target = Target(subject)
    except SubjectError as error:
        print(f"fuzz/target.py: {error}", file=sys.stderr)
        return 2
    binding.register_counters(core, target.state_counters(), STATE_COUNTERS)
    import atheris  # the core must be in place before

    options = [*SIGNALS, "-detect_leaks=0", "-len_control=0", f"-max_len={MAX_PROGRAM}"]
    # A shell command, not a path: libFuzzer starts it again as one.
    program = f"{sys.executable} {__file__} {words[1]}"
    atheris.Setup([program, *options, *words[2:]], target.one_input, internal_libfuzzer=True)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
