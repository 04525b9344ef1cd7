"""From the words of the command to targets that compile: bugs, and a sample of mutants.

It compiles for comparison only; the engines build what they run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from ci.killing import survivors, targets
from ci.killing.mutants import Mutant, drawn
from ci.killing.targets import Origin, Sorted, Target

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is to be killed of one allocator.

    made     how many mutants its source has
    sorted   those drawn, after compilation
    stale    entries of survivors.toml for mutants that are no more
    """

    origin: Origin
    bugs: tuple[Target, ...]
    made: int
    sorted: Sorted
    stale: tuple[str, ...]

    @property
    def targets(self) -> tuple[Target, ...]:
        """All of them, bugs first."""
        return (*self.bugs, *self.sorted.living)


def make(
    of: Origin, *, bugs: bool, mutants: int | None, seed: int, jobs: int,
    known: survivors.Known, only: Sequence[str] = ("",), tell: Tell = lambda _text: None,
) -> Plan:  # fmt: skip
    """The plan for one allocator: its planted bugs if `bugs`, and `mutants` (None: all) that live.

    `only` keeps those targets alone whose names hold one of its texts.
    """
    every = targets.mutants(of)
    planted = targets.planted_bugs(of)
    identities = [each.identity for each in every]
    identities += [targets.bug_identity(bug) for bug in planted]
    chosen = [mutant for mutant in every if _chosen(mutant.name, only)]
    living = _living(of, chosen, mutants, seed, jobs, tell)
    return Plan(
        of,
        tuple(targets.bug_target(of, bug) for bug in planted if bugs and _chosen(bug.name, only)),
        len(every),
        living,
        tuple(survivors.stale(known, of.name, identities)),
    )


def _chosen(name: str, only: Sequence[str]) -> bool:
    return any(text in name for text in only)


def _living(
    of: Origin, mutants: Sequence[Mutant], count: int | None, seed: int, jobs: int, tell: Tell
) -> Sorted:
    """Draws mutants until `count` of them live, and sorts out what was drawn."""
    waiting = drawn(mutants, seed)
    wanted = len(waiting) if count is None else count
    taken: list[Target] = []
    objects: dict[str, tuple[str, ...]] = {}
    result = Sorted((), (), (), ())
    while waiting and len(result.living) < wanted:
        missing = wanted - len(result.living)
        more, waiting = waiting[:missing], waiting[missing:]
        for target, made in _compiled(of, more, jobs):
            objects[target.name] = made
            taken.append(target)
            tell(f"{of.name}: {len(taken)} mutants compiled")
        result = targets.sort_out(of, taken, objects)
    place = {mutant.identity: number for number, mutant in enumerate(mutants)}
    in_order = sorted(result.living, key=lambda target: place[target.identity])
    return replace(result, living=tuple(in_order))


def _compiled(
    of: Origin, mutants: Sequence[Mutant], jobs: int
) -> Iterator[tuple[Target, tuple[str, ...]]]:
    """Each mutant written out, with digests of its object code; compilers run side by side."""

    def one(mutant: Mutant) -> tuple[Target, tuple[str, ...]]:
        target = targets.mutant_target(of, mutant)
        return target, targets.objects_of(target.faces[0], target.in_header)

    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield from pool.map(one, mutants)
        finally:
            pool.shutdown(cancel_futures=True)
