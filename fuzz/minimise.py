"""Makes a subject's corpus as small as it can be without covering less; it searches nothing.

Traces of another corpus can be merged into it first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fuzz.bench import Bench, rules_on
from fuzz.campaign import Campaign
from fuzz.corpus import Corpus
from fuzz.guided_phase import job_of
from fuzz.limits import limits_of, probe_edges


@dataclass
class Minimise(Campaign):
    """A campaign that only looks at what is there; what its traces break is found again."""

    merge: Path | None = None

    def _run(self) -> None:
        subject = self.find(self.spec, **self.options.finding)
        self.result.rules_on = rules_on(subject, self.options.rules)
        with Bench(subject, self.options.rules) as self._bench:
            self._limits = limits_of(subject, probe_edges(self._bench.execute, subject))
            folder, kept = self._folder(), None
            job = job_of(subject, self._limits, folder, self.options, self.find)
            corpus = Corpus(folder / "corpus", job.limits)
            before = len(corpus.names())
            if self.merge:
                added = corpus.take(Corpus(self.merge, job.limits, corpus.notes).texts().values())
                self.result.notes.append(f"merged {len(added)} new trace(s) of {self.merge}")
            corpus.unpack(job.corpus)
            try:
                kept = self._survey(job)
            finally:
                corpus.settle(job.corpus, kept)
            self.result.notes += dict.fromkeys(corpus.notes)
            self.result.notes.append(f"corpus: {before} trace(s) before, {len(corpus.names())} now")
