"""Parts of the prover by themselves: sizes, products, mappings, modules that are read once.

Whole claims are the business of tests/test_proofs.py.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
import z3

from proofs import sizes, subject_ir
from proofs.claims import Ledger
from proofs.engine import Engine
from proofs.host import UNMAPPED, Host, Pages
from proofs.memory import Memory
from proofs.menu import Menu
from proofs.path import Path, Reasoning
from proofs.program_claims import studies
from proofs.programs import Exploration
from proofs.scenery import Scene
from proofs.solver import Solver
from proofs.subjects import CANARIES, compiled, subject_of
from proofs.terms import WORD, number, value_range


def test_sizes_by_power_are_every_number_once_and_show_it():
    ends = sorted(value_range(size) for size in sizes.by_power("size"))
    assert ends[0] == (0, 0)
    assert ends[-1][1] == 2**WORD - 1
    for (_, high), (low, _) in pairwise(ends):
        assert low == high + 1
    assert all(low.bit_length() == high.bit_length() for low, high in ends)


def linear(monkeypatch) -> Solver:
    """A solver that gives up where a question is not linear, or has no integer form."""

    def give_up(*_anything):
        raise AssertionError("asked of a solver for what is not linear")

    monkeypatch.setattr(Solver, "_check", give_up)
    return Solver()


def test_products_need_no_solver_for_what_is_not_linear(monkeypatch):
    solver, most = linear(monkeypatch), 2**WORD - 1
    count, size = z3.BitVecs("count size", WORD)
    exact = z3.BVMulNoOverflow(count, size, False)
    fits = z3.ULE(count, z3.UDiv(z3.BitVecVal(most, WORD), size))
    large = z3.UGE(count * size, z3.BitVecVal(2**40, WORD))
    found = solver.model((size != 0, fits, large, exact))
    assert found is not None
    assert 2**40 <= found.value(count) * found.value(size) <= most
    assert solver.model((size != 0, fits, z3.Not(exact))) is None
    assert solver.model((size != 0, z3.Not(fits), exact)) is None


def test_a_product_that_no_factor_of_one_makes_is_found_all_the_same():
    count, size = z3.BitVecs("count size", WORD)
    odd = (z3.UGE(count, 3), z3.ULE(count, 5), z3.UGE(size, 3), z3.ULE(size, 5))
    found = Solver().model((*odd, count * size == 15))
    assert found is not None
    assert found.value(count) * found.value(size) == 15
    assert Solver().model((*odd, count * size == 17)) is None


@pytest.mark.parametrize("joined", [False, True])
def test_one_call_unmaps_two_mappings_only_where_they_may_be_joined(joined):
    host, page = Host(2**16, joined=joined), 4096
    engine = studied("sbrk_list").engine
    maps = tuple((number(host.maps + at), number(page)) for at in (0, page))
    pages = Pages(number(host.base), number(host.maps + 2 * page), maps=maps, joined=joined)
    whole = Path(engine.loaded(Memory()), Scene(pages))
    left = host.munmap(engine, whole.fork(), (maps[0][0], number(2 * page)))
    assert [path.scene.pages.maps for path, _ in left] == ([()] if joined else [])
    assert [owed.what for path in engine.ended for owed in path.owed] == [UNMAPPED] * (not joined)
    engine.ended.clear()
    ((upper, _),) = host.munmap(engine, whole.fork(), (maps[1][0], number(page)))
    assert upper.scene.pages.maps == maps[:1]


def studied(name: str) -> Exploration:
    """An exploration of the subject that has not begun."""
    subject = subject_of(name)
    module = compiled(subject)
    ledger = Ledger(Reasoning(Solver()), (), frozenset())
    host = Host(2**18)
    engine = Engine(module, ledger.reasoning, host.guard, host.hooks())
    return Exploration(engine, ledger, Menu(("malloc",), 1), host, subject.contract, subject.has)


def test_an_initialisation_that_gives_all_back_leaves_one_heap():
    (begun,) = studied("bump+marks").opened()
    assert begun.scene.pages.requests.refusals == 0
    assert begun.scene.pages.requests.granted > 1


def test_what_two_wrappings_share_is_read_once():
    subject = subject_of("sbrk_list")
    plain = compiled(subject)
    wrapped = compiled(subject, wrapper=CANARIES / "any" / "overlap.c")
    assert wrapped.functions["grow"] is plain.functions["grow"]
    assert wrapped.functions["sound_malloc"].blocks.keys() == (
        plain.functions["allocheck_malloc"].blocks.keys()
    )
    assert wrapped.digest != plain.digest


def test_what_was_read_before_has_no_part_in_a_modules_digest():
    subject = subject_of("sbrk_list")
    first = compiled(subject).digest
    compiled(subject_of("bump"))
    subject_ir._linked.cache_clear()
    assert compiled(subject).digest == first


def test_a_claim_on_sizes_over_the_limit_is_not_made_where_none_is_asked_for():
    for name, made in (("buddy", False), ("sbrk_list", True)):
        subject = subject_of(name)
        first, bounded = studies(subject, compiled(subject), quick=True)
        assert any(claim.family == "refusal" for claim in first.claims)
        assert any(claim.family == "refusal" for claim in bounded.claims) is made
