"""Heap walks: each holds of real heaps, names what is broken, and counts the heaps that there are.

It proves nothing of an allocator: tests/test_proofs.py does.
"""

import random
from dataclasses import replace

import pytest

from models.trace import Kind, Op
from proofs import follow, walks
from proofs.glance import Glance, Unsound
from proofs.host import PAGE, Host
from proofs.subject_ir import module_of
from proofs.subjects import subject_of
from proofs.terms import constant_of, number

WALKED = (
    "explicit_list",
    "explicit_list+address_order",
    "implicit_list+next_fit",
    "implicit_list+deferred",
    "sbrk_list",
    "bump",
    "bump+marks",
    "mmap_heap",
    "first_fit",
    "first_fit+array",
    "first_fit+mmap",
    "tlsf",
    "buddy",
    "best_fit",
)
MASK = 2**64 - 1


def walker_of(name: str) -> walks.Walker:
    subject = subject_of(name)
    assert subject.walker
    return walks.load(subject.walker, subject.sources)


class Followed:
    """A subject on the executor of the IR, with all numbers known, and its walker."""

    def __init__(self, name: str, monkeypatch) -> None:
        self.walker = walker_of(name)
        flags, probe = self.walker.told("FLAGS", ()), walks.probe_of(self.walker)
        module = module_of(subject_of(name), "raw", probe, flags=flags)
        monkeypatch.setattr(follow, "compiled", lambda *_subject, **_flags: module)
        page = self.walker.told("PAGE", PAGE)
        monkeypatch.setattr(follow, "Host", lambda store: Host(store, page=page))
        self.follower = follow.Follower(subject_of(name), 1 << 16)
        address_of = self.follower.engine.address_of
        self.places = walks.places_of(self.walker, module, address_of)
        self.patched: dict[int, int] = {}

    def read(self, address: int, size: int) -> int:
        whole = constant_of(self.follower.engine.load(self.follower.path, number(address), size))
        assert whole is not None, f"what lies at {address:#x} is not known"
        for at, byte in self.patched.items():
            if address <= at < address + size:
                shift = 8 * (at - address)
                whole = whole & ~(0xFF << shift) | byte << shift
        return whole

    def rows(self) -> tuple[tuple, tuple]:
        pages = self.follower.path.scene.pages
        return tuple(
            tuple((constant_of(at), constant_of(size)) for at, size in pieces)
            for pieces in (pages.pieces, pages.maps)
        )

    def look(self) -> Glance:
        """Walks the heap as it is; raises Unsound."""
        return self.walked(*self.rows(), self.read)

    def walked(self, rows, maps, read) -> Glance:
        """Walks the heap that `read` tells of; raises Unsound."""
        seals = {"checksum_of": self.seal}
        view = Glance(self.places, self.read, rows, maps, read=read, seals=seals)
        self.walker.walk(view)
        return view

    def seal(self, heap: int, block: int, word: int) -> int:
        """What blocks.h of best_fit calculates."""
        mixed = (word ^ self.read(heap + 8, 8)) * 0x9E3779B97F4A7C15 & MASK
        mixed = (mixed ^ mixed >> 32 ^ block) * 0xD6E8FEB86659FD93 & MASK
        return mixed ^ mixed >> 32


def program(seed: int, length: int) -> list[Op]:
    """Random operations of small sizes, of which most take place."""
    chance, live, ops = random.Random(seed), [], []
    for name in range(length):
        kind = chance.choice(
            (Kind.MALLOC, Kind.MALLOC, Kind.ALIGNED_ALLOC, Kind.FREE, Kind.REALLOC)
        )
        if kind is Kind.MALLOC or not live:
            ops.append(Op(Kind.MALLOC, name, chance.choice((1, 24, 40, 100, 300))))
            live.append(name)
        elif kind is Kind.ALIGNED_ALLOC:
            ops.append(Op(kind, name, 64, chance.choice((1, 40))))
            live.append(name)
        elif kind is Kind.FREE:
            ops.append(Op(kind, first=live.pop(chance.randrange(len(live)))))
        else:
            old = live.pop(chance.randrange(len(live)))
            ops.append(Op(kind, name, old, chance.choice((8, 64, 200))))
            live.append(name)
    return ops


@pytest.mark.parametrize("name", WALKED)
def test_holds_after_every_operation_of_random_programs(name, monkeypatch):
    followed = Followed(name, monkeypatch)
    followed.look()
    for op in program(len(name), 25):
        followed.follower.step(op)
        used = {(one.payload, one.used) for one in followed.look().blocks}
        assert {(at, True) for at, _ in followed.follower.blocks.values()} <= used


@pytest.fixture
def explicit(monkeypatch):
    """explicit_list with a free block between two used ones and one behind."""
    followed = Followed("explicit_list", monkeypatch)
    for name in range(3):
        followed.follower.step(Op(Kind.MALLOC, name, 24))
    followed.follower.step(Op(Kind.FREE, first=1))
    return followed


@pytest.mark.parametrize(
    ("offset", "byte", "rule"),
    [
        (-8, 0x25, "tiling"),  # the size of a used block is no multiple of 16
        (-8, 0x30, "adjacent_free"),  # a used block says that it is free
        (32, 0x41, "tags"),  # a footer says another size
        (48, 0x10, "free_list"),  # a free block's link leads astray
        (56, 0x10, "free_list"),  # and the one back
    ],
)
def test_names_the_rule_that_a_broken_heap_breaks(explicit, offset, byte, rule):
    assert explicit.look()
    start = explicit.follower.blocks[0][0]
    if rule == "adjacent_free":  # the second block is free: the first one and its footer say so too
        explicit.patched[start + 32] = byte
    explicit.patched[start + offset] = byte
    with pytest.raises(Unsound) as raised:
        explicit.look()
    assert raised.value.rule == rule


@pytest.mark.parametrize(("size", "count"), [(96, 8), (144, 64)])
def test_counts_the_heaps_that_there_are(explicit, size, count):
    rows = ((explicit.follower.host.base, size),)
    found = list(walks.shapes(explicit.walker, explicit.places, explicit.read, rows))
    assert len(found) == count
    assert len({tuple(sorted(shape.words.items())) for shape in found}) == count


@pytest.mark.parametrize("name", ["explicit_list", "bump", "best_fit"])
def test_every_heap_that_is_counted_is_valid(name, monkeypatch):
    followed = Followed(name, monkeypatch)
    host, count = followed.follower.host, 0
    for rows, maps, *_ in followed.walker.module.QUICK:
        laid = tuple((host.base, size) for size in rows[:1])
        mapped = tuple((host.maps + sum(maps[:index]), size) for index, size in enumerate(maps))
        for shape in walks.shapes(followed.walker, followed.places, followed.read, laid, mapped):
            words = {
                at: value if isinstance(value, int) else followed.seal(*value.arguments)
                for (at, _), value in shape.words.items()
            }
            glance = followed.walked(laid, mapped, lambda at, _size, words=words: words[at])
            assert tuple(glance.blocks) == shape.blocks
            count += 1
    assert count > 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def wal(heap): pass", "walk.py: it has no function walk(heap)"),
        ("import nothing_of_that_name", "walk.py: ModuleNotFoundError: No module named"),
        ("def walk(heap) pass", "walk.py: SyntaxError: "),
    ],
)
def test_refuses_a_file_that_is_no_walk_in_one_line(tmp_path, text, said):
    path = tmp_path / "walk.py"
    path.write_text(text)
    with pytest.raises(walks.WalkError) as raised:
        walks.load(path)
    assert str(raised.value).startswith(said)
    assert len(str(raised.value).splitlines()) == 1


def test_refuses_a_walk_that_reads_a_byte_as_part_of_two_words(explicit):
    def walk(heap):
        heap.word(64, [0], "tiling")
        heap.word(68, [0], "tiling")

    walker = replace(explicit.walker, walk=walk)
    with pytest.raises(walks.WalkError, match="two words of the walk share the byte at 0x44"):
        list(walks.shapes(walker, explicit.places, explicit.read))


def test_refuses_names_that_the_subject_has_not(explicit):
    with pytest.raises(walks.WalkError, match="no field of the heap structure is called rover"):
        explicit.places.field("rover")
    with pytest.raises(walks.WalkError, match="the subject has no global variable rover"):
        explicit.places.variable("rover")
