"""Options, Hypothesis profiles, and how a broken rule is shown: a trace, not a Python traceback.

It tests nothing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.conjecture import providers

from allocator.catalogue import gallery, resolve, threaded
from allocator.subject import Subject, SubjectError
from fuzz.bench import Bench
from tests.verdicts import RuleBroken

CONFORMANCE = "test_conformance.py"
BAD_SUBJECT = 2

# In the background a shell has us ignore Ctrl-C, and all that we start; but that it is heard is one
# of the things that are tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The trace shrinker takes over where Hypothesis stops: it is faster and knows what a trace is.
_SEARCH = settings(
    deadline=None,
    report_multiple_bugs=False,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
)
settings.register_profile("dev", _SEARCH, max_examples=100, stateful_step_count=30)
# The same examples each time, whatever the machine: a pull request must not fail by chance.
settings.register_profile(
    "ci", _SEARCH, max_examples=60, stateful_step_count=30, derandomize=True, database=None
)
# Only whether everything works together.
settings.register_profile("quick", _SEARCH, max_examples=5, stateful_step_count=10)
settings.register_profile("nightly", _SEARCH, max_examples=5000, stateful_step_count=60)
PROFILE = os.environ.get("ALLOCHECK_PROFILE", "ci" if "CI" in os.environ else "dev")
settings.load_profile(PROFILE)
if PROFILE == "ci":
    # Hypothesis also draws the numbers it reads in modules imported so far, which depends on the
    # tests that this process happened to run before.
    providers._get_local_constants = providers.Constants

_subject = pytest.StashKey[Subject]()


def pytest_configure(config: pytest.Config) -> None:
    """Finds and builds the subject before anything is collected: a wrong one ends here."""
    chosen = config.getoption("--allocator")
    if chosen:
        try:
            config.stash[_subject] = resolve(chosen, **_words(config))
        except SubjectError as error:
            pytest.exit(str(error), returncode=BAD_SUBJECT)


def _words(config: pytest.Config) -> dict[str, Any]:
    """How the subject that was chosen is resolved."""
    return {"prefix": config.getoption("--prefix"), "threads": config.getoption("--threads")}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With --allocator the conformance suite alone runs: the rest speaks of our own code."""
    if not config.getoption("--allocator") or collection_path.is_dir():
        return None
    return collection_path.name != CONFORMANCE or None


def pytest_report_header(config: pytest.Config) -> str:
    chosen = config.stash.get(_subject, None)
    return f"allocator: {chosen.name if chosen else 'all bundled ones'}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo) -> Iterator[None]:
    """A broken rule is told by the shrunk trace, the rule and a picture."""
    report = yield
    if call.excinfo and isinstance(call.excinfo.value, RuleBroken):
        report.longrepr = call.excinfo.value.told()
    return report


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes a bench runs on the allocator that --allocator names, else on all ours."""
    if metafunc.definition.path.name == CONFORMANCE and "subject" in metafunc.fixturenames:
        chosen = metafunc.config.stash.get(_subject, None)
        ours = threaded() if "threads" in metafunc.function.__name__ else gallery()
        names = [chosen.name] if chosen else ours
        metafunc.parametrize("subject", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def subject(request: pytest.FixtureRequest) -> Subject:
    """An allocator under check: see pytest_generate_tests."""
    return request.config.stash.get(_subject, None) or resolve(request.param)


@pytest.fixture(scope="session")
def bench(subject: Subject) -> Iterator[Bench]:
    """That allocator in a sandbox, with its exact model if it has one."""
    with Bench(subject) as opened:
        yield opened


@pytest.fixture(scope="session")
def racing(request: pytest.FixtureRequest, subject: Subject) -> Iterator[Bench]:
    """The same, built for threads that run freely; skipped where threads are not promised."""
    if not subject.contract.threads:
        pytest.skip("threads are not promised")
    words = _words(request.config) if request.config.stash.get(_subject, None) else {}
    noisy = subject if subject.prebuilt else resolve(subject.name, noise=True, **words)
    with Bench(subject, noisy=noisy) as opened:
        yield opened
