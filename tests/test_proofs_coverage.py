"""No claim is proved of code that nobody executed: it is dead, or the claim is narrow."""

from __future__ import annotations

import pytest

from proofs.campaign import Campaign
from proofs.claims import NARROW, PROVED
from proofs.coverage import Looked, beyond, missed
from proofs.subjects import compiled, subject_of

POOL = """
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
static char pool[4096];
static size_t taken;
static int calls, mode;
int pool_mode(void) { return mode; }
void *odd_malloc(size_t size)
{
    if (size > sizeof pool - 16 - taken) {
        errno = ENOMEM;
        return NULL;
    }
    BODY
    char *block = pool + taken;
    taken += (size + 15) & ~(size_t)15;
    return block;
}
void odd_free(void *block) { (void)block; }
"""
# beyond two operations; never, for nobody writes `mode`; into abort alone
LATE = "if (++calls == 5) {\n        taken += 16;\n    }"
MODE = "if (mode == 2) {\n        taken += 16;\n    }"
ABORT = "if (taken > sizeof pool) {\n        calls++;\n        abort();\n    }"
WRITTEN = "int *end = size & 1 ? &mode : &calls;\n    *end = 2;\n    " + MODE


def written(tmp_path, body: str):
    path = tmp_path / "odd.c"
    path.write_text(POOL.replace("BODY", body))
    return subject_of(str(path))


def reports_of(subject, claim: str):
    campaign = Campaign({subject.name: subject}, claim, quick=True)
    campaign.run()
    return campaign.finished()[subject.name]


def test_code_beyond_the_bound_is_named_and_the_claim_is_narrow(tmp_path):
    for report in reports_of(written(tmp_path, LATE), "*.abort"):
        assert report.verdict == NARROW, report.reasons
        (place,) = report.uncovered
        assert place.startswith("odd_malloc (odd.c:16")


def test_what_is_dead_or_only_aborts_is_not_asked_for(tmp_path):
    for report in reports_of(written(tmp_path, f"{MODE}\n    {ABORT}"), "*.abort"):
        assert (report.verdict, report.uncovered) == (PROVED, ())


@pytest.mark.parametrize(("body", "missing"), [(MODE, 0), (ABORT, 0), (LATE, 1), (WRITTEN, 1)])
def test_a_variable_is_constant_only_if_no_pointer_may_write_it(body, missing, tmp_path):
    subject = written(tmp_path, body)
    module = compiled(subject)
    blocks = [
        (name, block) for name, one in module.functions.items() for block in one.blocks.values()
    ]
    lines = POOL.replace("BODY", body).splitlines()
    guarded = next(at for at, line in enumerate(lines, 1) if "taken += 16" in line or "calls++;"
                   in line)  # fmt: skip
    left_out = [place for place, where in module.places.items() if where == f"odd.c:{guarded}"]
    assert left_out
    executed = {(name, one.name) for name, one in blocks} - set(left_out)
    assert len(missed(module, subject, executed)) == missing


def looked(owner: str, study: str, executed: str, uncovered: str, family: str = "bounds") -> Looked:
    return Looked(owner, study, family, frozenset(executed.split()), tuple(uncovered.split()))


def test_another_exploration_covers_for_a_claim_of_the_same_family_alone():
    one = looked("x", "bounded", "f:a", "f:b f:c")
    same = looked("x", "inductive", "f:b", "")
    other = looked("x", "first", "f:c", "", family="product")
    assert beyond(one, [one, same, other]) == ("f:c",)
    assert beyond(one, [one, other]) == ("f:b",)  # nobody else claims it: all explorations count


def test_a_variant_covers_for_its_allocator_and_a_planted_bug_does_not():
    one = looked("x", "bounded", "f:a", "f:b")
    assert beyond(one, [one, looked("x+variant", "bounded", "f:b", "")]) == ()
    assert beyond(one, [one, looked("x+bugs/wrong", "bounded", "f:b", "")]) == ("f:b",)
