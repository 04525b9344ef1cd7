"""The sizes that requests are made with: any number, in forms that show how large it is.

A form is worth many questions: where a term's range says which way a branch goes, nobody is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import z3

from proofs.logic import equal, every
from proofs.path import Path, Reasoning
from proofs.scenery import Scene
from proofs.terms import WORD, number, simplify

Size = z3.BitVecRef


def sizes(reasoning: Reasoning, state: Path, name: str, bits: int, most: int = 0):
    """(path, size): any size, split in two: those below 2**bits have a form that shows it.

    most: if it is not 0, there are no others.
    """
    yield state.fork(), simplify(z3.ZeroExt(WORD - bits, z3.BitVec(name, bits)))
    if most:
        return
    wide = z3.BitVec(f"{name}.wide", WORD)
    if reasoning.assume(state, z3.UGE(wide, 1 << bits)):
        yield state, wide


def by_power(name: str, bits: int = WORD) -> Iterator[Size]:
    """All numbers of so many bits, WORD wide: 0, 1, and from each power of two to the next.

    The largest come first: they are refused, and what is wrong with them shows at once.
    """
    yield number(0)
    yield number(1)
    for power in (bits - 1, *range(1, bits - 1)):
        above = z3.ZeroExt(WORD - power, z3.BitVec(f"{name}.{power}", power))
        yield simplify(above + (1 << power))


def name_in(scene: Scene) -> str:
    """What the size of the next operation is called: the same from every heap of an induction."""
    return f"size.{len(scene.story) - scene.built}"


def forked(state: Path, all_sizes: Iterable[Size]) -> Iterator[tuple[Path, Size]]:
    """Each of the sizes with a path of its own."""
    return ((state.fork(), size) for size in all_sizes)


def any_index(most: int) -> Size:
    """Any number of as many bits as `most` has; asked about at once, so that one name will do."""
    bits = most.bit_length()
    return z3.ZeroExt(WORD - bits, z3.BitVec("index", bits))


def factors(reasoning: Reasoning, state: Path, powers: bool) -> Iterator[tuple[Path, Size, Size]]:
    """(path, count, size): any two numbers; with `powers`, by the power below their product."""
    if not powers:
        yield state, *z3.BitVecs("count size", WORD)
        return
    for index, whole in enumerate(by_power("product")):
        count, size = z3.BitVecs(f"count.{index} size.{index}", WORD)
        path, product = state.fork(), simplify(count * size)
        exact = every(z3.BVMulNoOverflow(count, size, False), equal(product, whole))
        if reasoning.assume(path, exact):
            reasoning.names[product.get_id()] = (product, whole)
            yield path, count, size
    count, size = z3.BitVecs("count size", WORD)
    if reasoning.assume(state, z3.Not(z3.BVMulNoOverflow(count, size, False))):
        yield state, count, size
