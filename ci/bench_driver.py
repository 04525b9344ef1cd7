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

from allocator import binding, catalogue  # noqa: E402 - after the path
from fuzz import worker  # noqa: E402
from fuzz.job import STATE_COUNTERS, Job  # noqa: E402
from fuzz.limits import limits_of  # noqa: E402
from fuzz.native import decoder_library, mutator_library  # noqa: E402


def main() -> None:
    """Loads as fuzz/worker.py does, then lets one of the two drivers run."""
    mode, program, runs = sys.argv[1], sys.argv[2], sys.argv[3]
    folder = Path(tempfile.mkdtemp(prefix="allocheck-"))
    subject = catalogue.resolve("best_fit", coverage=True)
    limits = limits_of(subject, ()).pack()
    job = Job(subject, limits, decoder_library(), mutator_library(), folder, folder / "journal")
    core = str(worker.atheris_core())
    binding.load_global(core)
    executor = worker.open_subject(job)
    counters = executor.state_counters(STATE_COUNTERS)
    binding.register_counters(core, counters, STATE_COUNTERS)
    words = [f"{sys.executable} {__file__}", "-timeout=0", f"-runs={runs}", program]
    if mode == "native":
        executor.drive(core, words)
    import atheris  # the core must be in place before

    search = worker.Search(job, executor, os.open(os.devnull, os.O_WRONLY))
    atheris.Setup(words, search.one_input, internal_libfuzzer=True)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
