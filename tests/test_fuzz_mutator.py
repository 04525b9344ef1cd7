"""The mutator: whole operations in, whole operations out, each kind of mutation does what it says.

It runs alone here, without libFuzzer's byte mutations, in a C program that traps undefined
behaviour and guards the end of its buffer.
"""

from __future__ import annotations

import random
import re
import struct
import subprocess
from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest

from fuzz.limits import OPERATION_BYTES as OPERATION
from fuzz.limits import PROFILE_BYTES as PROFILE
from fuzz.native import FOLDER, decode_program, mutate_program, mutate_request
from models.contract import PTRDIFF_MAX
from models.trace import ALIGNING, ALLOCATING, Kind
from tests.decoding import EVERYTHING, TRAPS, Decoder, check_valid, programs

HEADER = (FOLDER / "mutator.h").read_text()
MUTATIONS = re.findall(r"^    M_(\w+),", HEADER, re.M)
CROSSINGS = re.findall(r"^    C_(\w+),", HEADER, re.M)
MUTATOR, CROSSOVER = (len(MUTATIONS) + len(CROSSINGS) + entry for entry in (0, 1))
LENGTH = 40
PROGRAM = PROFILE + LENGTH * OPERATION
ROOM = 8 * PROGRAM
SEEDS = range(300)


class Mutator:
    """The mutator in a process of its own."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=-1
        )

    def __call__(self, what: int, one: bytes, other=b"", seed: int = 1, room: int = ROOM) -> bytes:
        pipe, answer = self._process.stdin, self._process.stdout
        assert pipe
        assert answer
        pipe.write(mutate_request(what, seed, room, one, other))
        pipe.flush()
        head = answer.read(4)
        assert len(head) == 4, f"the mutator died of {what}, seed {seed}, {one.hex()}"
        return answer.read(struct.unpack("<I", head)[0])

    def close(self) -> int:
        assert self._process.stdin
        self._process.stdin.close()
        return self._process.wait()


@pytest.fixture(scope="module")
def mutate():
    mutator = Mutator(mutate_program(TRAPS))
    yield mutator
    assert mutator.close() == 0


@pytest.fixture(scope="module")
def decode():
    decoder = Decoder(decode_program(TRAPS))
    yield decoder
    assert decoder.close() == 0


def operations(program: bytes) -> list[bytes]:
    body = program[PROFILE:]
    assert len(body) % OPERATION == 0
    return [body[at : at + OPERATION] for at in range(0, len(body), OPERATION)]


def is_within(some: list[bytes], whole: list[bytes]) -> bool:
    """`some` is `whole` with operations left out."""
    rest = iter(whole)
    return all(each in rest for each in some)


def changed(before: list[bytes], after: list[bytes]) -> list[tuple[bytes, bytes]]:
    return [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]


def only_fields(*fields: int):
    """One operation differs, in these of its bytes."""

    def holds(before: list[bytes], after: list[bytes]) -> bool:
        differences = changed(before, after)
        places = {
            place
            for one, other in differences
            for place in range(OPERATION)
            if one[place] != other[place]
        }
        return len(before) == len(after) and len(differences) <= 1 and places <= set(fields)

    return holds


def one_step(before: list[bytes], after: list[bytes]) -> bool:
    (((one, other)),) = changed(before, after)
    steps = [(new - old) % 256 for old, new in zip(one, other, strict=True)]
    return [step in allowed for step, allowed in zip(steps, STEPS, strict=True)] == [True] * 4


STEPS = ({0}, {0, 1, 255}, {0, 16, 240}, {0, 1, 255})


def same_size(before: list[bytes], after: list[bytes]) -> bool:
    sizes = {(one[2], one[3] + off & 255) for one in before for off in (-1, 0, 1)}
    return only_fields(2, 3)(before, after) and {(op[2], op[3]) for op in after} <= sizes


def looped(before: list[bytes], after: list[bytes]) -> bool:
    """What came in repeats what stands behind it: the new program is periodic there."""
    added = len(after) - len(before)
    periods = range(1, 17)
    return added > 0 and any(
        after[at : at + added] == after[at + period : at + period + added]
        for period in periods
        for at in range(len(before))
    )


def new_tail(before: list[bytes], after: list[bytes]) -> bool:
    kept = next((at for at, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    tail, old = after[kept:], set(before)
    return len(tail) > 0 and sum(op in old for op in tail) <= 1


# What each mutation of a program does to its operations; the profile stays unless it says so.
DOES = {
    "INSERT": lambda a, b: 1 <= len(b) - len(a) <= 4 and is_within(a, b),
    "DELETE": lambda a, b: 1 <= len(a) - len(b) <= 16 and is_within(b, a),
    "SWAP": lambda a, b: Counter(a) == Counter(b) and len(changed(a, b)) in (0, 2),
    "MOVE": lambda a, b: Counter(a) == Counter(b),
    "DUPLICATE": lambda a, b: 1 <= len(b) - len(a) <= 16 and set(a) == set(b) and is_within(a, b),
    "LOOP": lambda a, b: set(b) == set(a) and looped(a, b),
    "ACTION": only_fields(0),
    "BLOCK": only_fields(1),
    "SIZE": only_fields(2, 3),
    "ONE_OFF": one_step,
    "SAME_SIZE": same_size,
    "EXTREME": lambda a, b: only_fields(0, 1, 2, 3)(a, b) and any(op[2] == 0xFF for op in b),
    "PROFILE": lambda a, b: a == b,
    "REGROW": new_tail,
    "ANEW": lambda a, b: len(set(a) & set(b)) <= 1,
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_each_mutation_does_what_it_says(mutate, name):
    """...and nothing else; and hardly ever nothing."""
    same = 0
    for seed, program in zip(SEEDS, programs(len(SEEDS), PROGRAM), strict=True):
        after = mutate(MUTATIONS.index(name), program, seed=seed)
        assert DOES[name](operations(program), operations(after)), (name, seed)
        if name not in ("PROFILE", "ANEW"):
            assert after[:PROFILE] == program[:PROFILE]
        same += after == program
    assert same < 0.1 * len(SEEDS), "a mutation that changes nothing wastes an execution"


def test_each_crossing_does_what_it_says(mutate):
    seen = Counter()
    pairs = zip(programs(200, PROGRAM), programs(200, PROGRAM // 2, seed=2), strict=True)
    for seed, (one, other) in enumerate(pairs):
        mine, theirs = operations(one), operations(other[: PROFILE + LENGTH // 2 * OPERATION])
        for number, name in enumerate(CROSSINGS, len(MUTATIONS)):
            both = mutate(number, one, other, seed=seed)
            assert both[:PROFILE] == one[:PROFILE]
            whose = ["mine" if op in mine else "theirs" for op in operations(both)]
            assert set(operations(both)) <= {*mine, *theirs}
            turns = [whom for whom, _ in groupby(whose)]
            assert len(turns) <= (2 if name == "SPLICE" else 3)
            if name == "OVERLAY":
                assert len(whose) >= len(mine)
            if name == "GRAFT":
                assert is_within(mine, operations(both))
            seen[name] += {"mine", "theirs"} == set(whose)
    assert min(seen[name] for name in CROSSINGS) > 100, seen


def sizes_of_programs(count: int):
    """Sizes and rooms at and around what is whole, none of them long."""
    source = random.Random(3)
    for _ in range(count):
        room = source.randrange(PROFILE + OPERATION, 300)
        yield source.randrange(room + 1), room


@pytest.mark.parametrize("what", range(CROSSOVER + 1))
def test_whatever_goes_in_a_whole_program_comes_out(mutate, decode, what):
    source = random.Random(what)
    for seed, (size, room) in enumerate(sizes_of_programs(150)):
        one, other = source.randbytes(size), source.randbytes(source.randrange(300))
        out = mutate(what, one, other, seed, room)
        if not out:
            assert what >= len(MUTATIONS), "a mutation always has a result"
            continue
        assert len(out) <= room
        trace, _store = decode(out)
        assert len(trace) == len(operations(out))
        check_valid(trace, EVERYTHING)


@pytest.mark.parametrize("what", range(CROSSOVER + 1))
def test_a_seed_reproduces(mutate, what):
    one, other = programs(2, PROGRAM)
    first = [mutate(what, one, other, seed) for seed in SEEDS]
    assert [mutate(what, one, other, seed) for seed in SEEDS] == first
    assert len(set(first)) > 20


def test_every_seed_draws(mutate):
    """The largest one too: a generator that starts at zero stays there."""
    one = programs(1, PROGRAM)[0]
    assert len({mutate(MUTATOR, one, seed=2**32 - 1 - seed) for seed in range(50)}) > 40


def test_libfuzzer_is_given_every_kind(mutate):
    """What the entry does to a program shows which mutation it was, for those that leave a mark."""
    marks = Counter()
    for seed, program in enumerate(programs(3000, PROGRAM)):
        before, after = operations(program), operations(mutate(MUTATOR, program, seed=seed))
        fresh = set(after) - set(before)
        marks["grown"] += len(after) > len(before)
        marks["shrunk"] += len(after) < len(before)
        marks["reordered"] += Counter(after) == Counter(before) and after != before
        marks["looped"] += any(count > 3 for count in Counter(after).values())
        marks["extreme"] += any(op[2] == 0xFF for op in fresh)
        marks["anew"] += len(set(before) & set(after)) <= 1
        marks["tail"] += after[:2] == before[:2] and len(fresh) > 8
        marks["one field"] += len(fresh) == 1 and len(after) == len(before)
    assert len(marks) == 8
    assert min(marks.values()) >= 15, marks


def test_crossings_are_the_smaller_part(mutate):
    """libFuzzer asks for one every other time; zero says that it should ask for another."""
    one, other = programs(2, PROGRAM)
    crossed = sum(mutate(CROSSOVER, one, other, seed) != b"" for seed in range(1000))
    assert 150 < crossed < 400


def test_one_off_is_mostly_one_byte_of_size(mutate, decode):
    """...or the neighbour among the blocks; larger steps are those of the sizes' own grid."""
    steps = Counter()
    for seed, program in enumerate(programs(400, PROGRAM)):
        pairs = zip(
            decode(program)[0],
            decode(mutate(MUTATIONS.index("ONE_OFF"), program, seed=seed))[0],
            strict=True,
        )
        steps.update(
            abs(two.size - one.size)
            for one, two in pairs
            if {one.kind, two.kind} <= ALLOCATING and one.size != two.size
        )
    assert steps[1] > 0.2 * steps.total(), steps.most_common(8)


def test_extremes_come_to_dense_programs_too(mutate, decode):
    """Sizes, counts and alignments that their profile has none of; but not where all are dense."""
    ops = []
    for seed, program in enumerate(programs(1500, PROGRAM)):
        dense = bytes([0, 0, program[2] | 0x80]) + program[3:]
        dense = mutate(MUTATIONS.index("EXTREME"), dense, seed=seed)
        check_valid(decode(dense)[0], EVERYTHING)
        ops += decode(dense)[0]
        assert max(op.size for op in decode(dense, EVERYTHING.dense())[0]) <= 2**20
    kinds = Counter(op.kind for op in ops if op.kind in ALLOCATING and op.size > PTRDIFF_MAX)
    assert set(kinds) >= {Kind.MALLOC, Kind.REALLOC, Kind.CALLOC, *ALIGNING}, kinds
    assert any(op.kind in ALIGNING and op.alignment > 2**32 for op in ops)
    assert any(op.kind is Kind.CALLOC and op.size >= 2**64 for op in ops)
