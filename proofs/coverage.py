"""Whether every basic block of the functions that a proof entered was executed, or cannot be.

What a study's exploration has executed is held against the code, and against what the other
studies of the same subject have.  It explores nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from allocator.subject import Subject
from proofs import opaque
from proofs.c_library import ASSERTION
from proofs.dead import dead_blocks
from proofs.engine import Engine, LoopLimit
from proofs.host import Host
from proofs.ir import Block, Function, Instruction, Label, Module, Symbol
from proofs.onlooker import left_by_init
from proofs.path import Reasoning
from proofs.read_ir import UnsupportedIr
from proofs.solver import Solver, Unknown

Blocks = frozenset[tuple[str, str]]
ENDING = frozenset({"abort", "exit", "_exit", "_Exit", "quick_exit", ASSERTION})
# They judge the heap, or draw it: no claim is about their code.
_ORACLES = ("allocheck_check", "allocheck_walk")
_ENTRY = "allocheck_"
_AT_FIRST = 2**20  # bytes that are there for initialisation


def missed(module: Module, subject: Subject, executed: Iterable[tuple[str, str]]) -> Blocks:
    """Blocks of the functions entered that were not executed, though nothing says they cannot be.

    Left out is what can only end in abort or a trap, which the claims on these say is not reached;
    what no program reaches (dead.py); and the validity predicate.
    """
    executed = frozenset(executed)
    entered = {name for name, _ in executed} - _only_judging(module)
    ending = ENDING | opaque.aborting_of(subject)
    left = {
        (name, block)
        for name in entered
        for block in set(module.functions[name].blocks) - _doomed(module.functions[name], ending)
    } - executed
    return frozenset(left - _dead(module, subject)) if left else frozenset()


def told(blocks: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """In the form that reports have: function:block, in order."""
    return tuple(sorted(f"{name}:{block}" for name, block in blocks))


def places_of(module: Module) -> dict[str, str]:
    """function:block -> the same with the line of C that it begins with, where that is known."""
    return {
        f"{name}:{block}": f"{name} ({where})" for (name, block), where in module.places.items()
    }


def _only_judging(module: Module) -> set[str]:
    """The functions that serve the validity predicate alone."""
    entries = [name for name in module.functions if name.startswith(_ENTRY)]
    working = reachable(module, set(entries) - set(_ORACLES))
    return reachable(module, _ORACLES) - working


def reachable(module: Module, names: Iterable[str], ends: Iterable[str] = ()) -> set[str]:
    """These functions, and all that they name, as far as the `ends`, which are not among them."""
    found, waiting = set(), [name for name in names if name in module.functions]
    while waiting:
        name = waiting.pop()
        if name in found or name in ends:
            continue
        found.add(name)
        for block in module.functions[name].blocks.values():
            for instruction in block.instructions:
                waiting += [one for one in _named(instruction) if one in module.functions]
    return found


def _named(instruction: Instruction) -> set[str]:
    names = {each.name for each in instruction.operands if isinstance(each, Symbol)}
    return names | {instruction.detail} if instruction.opcode == "call" else names


def _doomed(function: Function, ending: frozenset[str]) -> set[str]:
    """Blocks from which every way leads into a trap, or a call that does not return."""
    doomed: set[str] = set()
    grown = True
    while grown:
        new = {
            name
            for name, block in function.blocks.items()
            if name not in doomed and _is_doomed(block, doomed, ending)
        }
        doomed |= new
        grown = bool(new)
    return doomed


def _is_doomed(block: Block, doomed: set[str], ending: frozenset[str]) -> bool:
    if block.trap or any(
        one.opcode == "call" and one.detail in ending for one in block.instructions
    ):
        return True
    last = block.instructions[-1]
    if last.opcode == "unreachable":
        return True
    following = successors(last)
    return bool(following) and following <= doomed


def successors(last: Instruction) -> set[str]:
    """The blocks that a block's last instruction may lead to."""
    if last.opcode not in ("br", "switch"):
        return set()
    labels = {each.name for each in last.operands if isinstance(each, Label)}
    return labels | {label for _, label in last.detail or ()}


# ---- over all studies ----


@dataclass(frozen=True)
class Looked:
    """What one exploration looked at on behalf of a claim, which it found to hold.

    owner     the subject; its variants are code that it has in common with them
    study     the exploration's name
    family    what is owed
    executed, uncovered   function:block
    """

    owner: str
    study: str
    family: str
    executed: frozenset[str]
    uncovered: tuple[str, ...]


def beyond(one: Looked, others: Iterable[Looked]) -> tuple[str, ...]:
    """The blocks that the claim does not speak of: nobody executed them who owed the same.

    Others are the same subject's claims of the same family in other explorations, and a variant's;
    where there are none of the subject's own, all that it and its variants have.
    """
    code = _code_of(one.owner)
    others = [each for each in others if _code_of(each.owner) == code]
    same = [each for each in others if each.family == one.family]
    if not any(each.owner == one.owner and each.study != one.study for each in same):
        same = others
    executed = frozenset().union(*(each.executed for each in same))
    return tuple(block for block in one.uncovered if block not in executed)


def _code_of(owner: str) -> str:
    """What variants have in common; a planted bug is code of its own."""
    return owner if "+bugs/" in owner else owner.partition("+")[0]


# ---- what no program reaches ----


def _dead(module: Module, subject: Subject) -> Blocks:
    """What no program reaches after initialisation."""
    host = Host(_AT_FIRST)
    reasoning = Reasoning(Solver())
    engine = Engine(module, reasoning, host.guard, {**host.hooks(), **opaque.hooks_of(subject)})
    entries = [
        name for name in module.functions if name.startswith(_ENTRY) and name != "allocheck_init"
    ]
    try:
        return dead_blocks(engine, entries, left_by_init(engine, host, subject.contract.arena))
    except (Unknown, UnsupportedIr, LoopLimit):
        return frozenset()
