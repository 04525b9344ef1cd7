"""Marks, rewinds and resets of bump, in lock step with its exact model; and its validity predicate.

A program of its own runs them, from one more page source: traces have no operation for a mark.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from allocator import bugs, build
from allocator.catalogue import HERE, planted_bugs
from models.contract import Contract
from models.exact.bump import Block, Exact
from models.exact.store import PAGE, Store

BUMP = HERE / "bump"
PAGES = 24
REWINDING = [bug for bug in planted_bugs("bump") if bug.variant == "marks"]

PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bump.c"

enum { MOST = 256, PAGES = @PAGES@ };
static _Alignas(65536) char room[PAGES * PAGE];
static char mapped[PAGES];
static int downward;

/* The lowest pages that are free, or the highest. */
static void *map(struct page_source *self, size_t size)
{
    (void)self;
    size_t count = size / PAGE;
    for (size_t i = 0; size <= sizeof room && i + count <= PAGES; i++) {
        size_t first = downward ? PAGES - count - i : i;
        if (!memchr(mapped + first, 1, count)) {
            memset(mapped + first, 1, count);
            return memset(room + first * PAGE, 0, size);
        }
    }
    return NULL;
}

static void unmap(struct page_source *self, void *region, size_t size)
{
    (void)self;
    memset(mapped + ((char *)region - room) / PAGE, 0, size / PAGE);
    memset(region, 0xdd, size);
}

static struct page_source source = { .map = map, .unmap = unmap };
static struct mem_heap heap;

static size_t held(void)
{
    size_t pages = 0;
    for (int i = 0; i < PAGES; i++)
        pages += mapped[i] != 0;
    return pages * PAGE;
}

static const char *checked(void)
{
    const char *broken = mem_check(&heap);
    return broken ? broken : "valid";
}

static void show_layout(void)
{
    static struct mem_block blocks[4 * MOST];
    size_t count = mem_walk(&heap, blocks, 4 * MOST);
    for (size_t i = 0; i < count; i++)
        printf("%td %zu %zu\n", blocks[i].address - room, blocks[i].size, blocks[i].used);
}

/* One step a line; answers one line: the payload's offset or -1, the check, the bytes held. */
static void follow(void)
{
    static char *blocks[MOST];
    static struct mem_mark marks[MOST];
    int made = 0, marked = 0;
    char step;
    size_t one, other;
    while (scanf(" %c %zu %zu", &step, &one, &other) == 3) {
        char *given = NULL;
        switch (step) {
        case 'a': given = mem_alloc(&heap, one); break;
        case 'g': given = mem_alloc_aligned(&heap, one, other); break;
        case 'r': given = mem_resize(&heap, blocks[one], other); break;
        case 'f': mem_free(&heap, blocks[one]); break;
        case 'm': marks[marked++] = mem_mark(&heap); break;
        case 'w': mem_rewind(&heap, marks[one]); break;
        case 'z': mem_reset(&heap); break;
        }
        if (strchr("agr", step))
            blocks[made++] = given;
        if (given)
            memset(given, made, mem_usable_size(&heap, given));
        printf("%td %s %zu\n", given ? given - room : (ptrdiff_t)-1, checked(), held());
    }
    show_layout();
}

static void corrupt(const char *what)
{
    mem_alloc(&heap, 24);
    mem_alloc_aligned(&heap, 256, 24);
    mem_free(&heap, mem_alloc(&heap, 9000));
    struct bump_arena *arena = heap.newest;
@CORRUPTIONS@
    puts(checked());
}

int main(int count, char **arguments)
{
    alarm(1);
    mem_open(&heap, &source);
    downward = count > 1 && !strcmp(arguments[1], "downward");
    if (count > 2)
        corrupt(arguments[2]);
    else
        follow();
    return 0;
}
"""

CORRUPTIONS = {
    "nothing": (";", "valid"),
    "size": ("arena->last->tag += 64;", "tiling"),
    "odd size": ("arena->last->tag += 8;", "tiling"),
    "size of a used block": ("arena->last->tag -= 16;", "tiling"),
    "current": ("arena->current += 16;", "tiling"),
    "current past the end": ("arena->current = arena->end + 16;", "tiling"),
    "current below the start": ("arena->current = (char *)arena;", "tiling"),
    "below": ("arena->last->below = NULL;", "tags"),
    "last": ("arena->last = arena->last->below;", "tags"),
    "last of none": ("arena->last = NULL;", "tags"),
    "used": ("arena->last->tag &= ~USED;", "adjacent_free"),
    "no block": ("arena->last = NULL; arena->current = start_of(arena);", "adjacent_free"),
    "below in an older arena": (
        "mem_alloc(&heap, 20000); arena->last->below = NULL;",
        "tags",
    ),
}  # fmt: skip


class Downward(Store):
    """A store whose regions are taken from the upper end, as mmap does."""

    def map(self, size: int) -> int | None:
        """The highest run of free pages, None when there is none."""
        for first in range((self.size - size) // PAGE, -1, -1):
            pages = set(range(first, first + size // PAGE))
            if not pages & self._pages:
                return self._take(first, size // PAGE)
        return None


STORES = {"upward": Store, "downward": Downward}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bump")


def program(place: Path, folder: Path = BUMP) -> Path:
    """The program with the bump.c in `folder`, built."""
    branches = [
        f'    if (!strcmp(what, "{name}")) {{ {text} }}' for name, (text, _) in CORRUPTIONS.items()
    ]
    text = PROGRAM.replace("@CORRUPTIONS@", "\n".join(branches)).replace("@PAGES@", str(PAGES))
    source = place / "marks.c"
    source.write_text(text)
    flags = ("-O1", "-g", "-w", "-DNDEBUG", f"-iquote{folder}", f"-I{folder}", f"-I{HERE}")
    return build.link("marks", [build.compile_object(build.Unit(source, flags, place))], [], "")


def told(built: Path, *arguments: str, script: str = "") -> list[str]:
    """What the program prints, line by line."""
    done = subprocess.run(
        [built, *arguments], input=script, capture_output=True, text=True, timeout=20, check=False
    )
    return done.stdout.splitlines() + ([f"ended with {done.returncode}"] * bool(done.returncode))


@dataclass
class Session:
    """The model's side of one script: what is live, which marks are good, what must be printed."""

    model: Exact
    blocks: list[Block | None] = field(default_factory=list)
    marks: list[Block | None] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def row(self) -> list[Block]:
        """All blocks in the order of their allocation."""
        return [block for arena in self.model.arenas for block in arena.blocks]

    def allocate(self, size: int, alignment: int) -> None:
        """A request, aligned or not."""
        if alignment > 16:
            given = self.model.allocate_aligned(alignment, size)
            self._tell(f"g {alignment} {size}", given, made=True)
        else:
            self._tell(f"a {size} 0", self.model.allocate(size), made=True)

    def resize(self, pick: int, size: int) -> None:
        """One of the live blocks changes its size."""
        for index in self._live(pick):
            given = self.model.resize(self.blocks[index], size)
            if given is not None:
                self.blocks[index] = None
            self._tell(f"r {index} {size}", given, made=True)

    def free(self, pick: int) -> None:
        """One of the live blocks is freed."""
        for index in self._live(pick):
            self.model.release(self.blocks[index])
            self._tell(f"f {index} 0")

    def mark(self) -> None:
        """A mark is taken."""
        self.marks.append(self.model.mark())
        self._tell("m 0 0")

    def rewind(self, pick: int) -> None:
        """To one of the good marks; see MARKS for which are."""
        row = self.row()
        good = [index for index, mark in enumerate(self.marks) if mark is None or mark in row]
        for index in good[pick % len(good) :][:1] if good else ():
            self.model.rewind(self.marks[index])
            self._tell(f"w {index} 0")

    def reset(self) -> None:
        """All blocks are freed."""
        self.model.rewind(None)
        self._tell("z 0 0")

    def _live(self, pick: int) -> list[int]:
        """The number of one live block, in a list; none where there is none."""
        row = self.row()
        live = [n for n, block in enumerate(self.blocks) if block in row and block.used]
        return [live[pick % len(live)]] if live else []

    def _tell(self, step: str, given: Block | None = None, made: bool = False) -> None:
        if made:
            self.blocks.append(given)
        self.steps.append(step)
        offset = given.payload if given else -1
        self.expected.append(f"{offset} valid {self.model.store.granted}")

    def outcome(self) -> list[str]:
        """All that the program must print."""
        return self.expected + [" ".join(map(str, block)) for block in self.model.layout()]


SIZES = st.one_of(st.integers(0, 200), st.sampled_from([2000, 6000, 16336, 16337, 20000, 65536]))
STEPS = st.one_of(
    st.tuples(st.just("allocate"), SIZES, st.sampled_from([1, 1, 1, 64, 256, 8192])),
    st.tuples(st.just("resize"), st.integers(0, 255), SIZES),
    st.tuples(st.just("free"), st.integers(0, 255)),
    st.tuples(st.just("mark")),
    st.tuples(st.just("mark")),
    st.tuples(st.just("rewind"), st.integers(0, 255)),
    st.tuples(st.just("rewind"), st.integers(0, 255)),
    st.tuples(st.just("reset")),
)
SCRIPTS = st.lists(STEPS, max_size=40)


def differs(built: Path, direction: str, script: list[tuple]) -> str:
    """What is wrong with the program's answers to a script, "" where nothing is."""
    session = Session(Exact(Contract(), STORES[direction](PAGES * PAGE)))
    for name, *operands in script:
        getattr(session, name)(*operands)
    lines = "".join(f"{step}\n" for step in session.steps)
    seen = told(built, direction, script=lines)
    expected = session.outcome()
    return "" if seen == expected else f"{lines}\nexpected {expected}\nseen     {seen}"


@pytest.mark.parametrize("direction", STORES)
def test_rewinds_do_what_the_model_says(place: Path, direction: str) -> None:
    built = program(place)

    @settings(suppress_health_check=[HealthCheck.too_slow])
    @given(SCRIPTS)
    def check(script: list[tuple]) -> None:
        wrong = differs(built, direction, script)
        assert not wrong, wrong

    check()


@pytest.mark.parametrize("bug", REWINDING, ids=lambda bug: bug.name)
def test_a_broken_rewind_is_found(place: Path, bug: bugs.PlantedBug) -> None:
    built = program(place, bugs.plant(bug, BUMP))
    search = settings(
        max_examples=500,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
    )
    try:
        find(SCRIPTS, lambda script: bool(differs(built, "upward", script)), settings=search)
    except NoSuchExample:
        pytest.fail(f"{bug.name} was not found")


def test_a_rewind_leaves_no_trace(place: Path) -> None:
    """Whatever lies between mark and rewind, the next block lies where it would have."""
    between = "a 100 0\na 20000 0\ng 8192 1\na 16000 0\n"
    again = f"{between}w 0 0\na 24 0\n"
    lines = told(program(place), "upward", script=f"a 24 0\nm 0 0\n{again}{again}")
    answers = [line.split()[0] for line in lines]
    assert [answers[0], answers[7], answers[13]] == ["48", "96", "96"]


def test_a_reset_gives_all_pages_back(place: Path) -> None:
    steps = "a 24 0\na 20000 0\na 20000 0\nz 0 0\n"
    assert told(program(place), "upward", script=steps)[-1] == "-1 valid 0"


@pytest.mark.parametrize("what", CORRUPTIONS)
def test_the_predicate_names_what_is_corrupt(place: Path, what: str) -> None:
    assert told(program(place), "upward", what) == [CORRUPTIONS[what][1]]
