"""One program again and again under libFuzzer, called from C or as fuzz/worker.py does it.

Started by bench.py: bench_driver.py {native|python} PROGRAM_FILE RUNS.  It searches nothing, and
libFuzzer ends the process, so bench.py takes the time from outside.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from allocator import binding, catalogue
from fuzz import worker
from fuzz.job import STATE_COUNTERS, Job
from fuzz.limits import limits_of
from fuzz.native import decoder_library, mutator_library


def main() -> None:
    """Loads as fuzz/worker.py does, then lets one of the two drivers run."""
    mode, program, runs = sys.argv[1], sys.argv[2], sys.argv[3]
    folder = Path(tempfile.mkdtemp(prefix="allocheck-"))
    subject = catalogue.resolve("explicit_list", coverage=True)
    limits = limits_of(subject, ()).pack()
    files = decoder_library(), mutator_library(), Path(program), folder / "journal"
    job = Job(subject, limits, *files, runs=int(runs))
    if mode == "python":
        worker.search(job, os.open(os.devnull, os.O_WRONLY))
        return
    core = str(worker.atheris_core())
    binding.load_global(str(job.mutator))
    binding.load_global(core)
    executor = worker.open_subject(job)
    binding.register_counters(core, executor.state_counters(STATE_COUNTERS), STATE_COUNTERS)
    executor.drive(core, worker.libfuzzer_options(job))


if __name__ == "__main__":
    main()
