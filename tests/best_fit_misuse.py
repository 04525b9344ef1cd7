"""What best_fit promises to say of misuse, case by case, as a program that shows it; no tests.

Each case is a few lines of C in a process of its own, on a page source that shuts all memory that
is not granted: what is followed where it should not be crashes.
"""

from __future__ import annotations

import functools
import signal
import subprocess
from pathlib import Path

from allocator import artifacts, build
from allocator.build import Unit
from allocator.catalogue import HERE

SECONDS = 20.0  # that a case may take
FOLDER = HERE / "best_fit"
FOREIGN, DOUBLE = "interior or foreign pointer", "double free of"
HEADER, FOOTER = "smashed header of", "smashed footer below"

PROGRAM = r"""
#define _GNU_SOURCE
#include "best_fit.c"

#include <stdio.h>
#include <sys/mman.h>

enum { ROOM = 1 << 24 };

static char *row_memory, *region_memory; /* reserved, and shut but for what is granted */
static size_t row_used, region_used;

static char *reserve(void)
{
    char *room = mmap(NULL, ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        exit(2);
    return room;
}

static void *open_pages(char *start, size_t size)
{
    return mprotect(start, size, PROT_READ | PROT_WRITE) ? NULL : start;
}

static void *row_grow(struct page_source *self, size_t size)
{
    (void)self;
    row_used += size;
    return open_pages(row_memory + row_used - size, size);
}

static bool row_shrink(struct page_source *self, size_t size)
{
    (void)self;
    row_used -= size;
    return !mprotect(row_memory + row_used, size, PROT_NONE);
}

/* A shut page stays between two regions. */
static void *region_map(struct page_source *self, size_t size)
{
    (void)self;
    char *start = region_memory + region_used;
    region_used += size + PAGE;
    return open_pages(start, size);
}

static bool region_extend(struct page_source *self, void *region, size_t size, size_t new_size)
{
    (void)self, (void)region, (void)size, (void)new_size;
    return false;
}

static void region_unmap(struct page_source *self, void *region, size_t size)
{
    (void)self;
    mprotect(region, size, PROT_NONE);
}

static struct page_source pages = { row_grow, row_shrink, region_map, region_extend,
                                    region_unmap };
static struct mem_heap heap;

static void *get(size_t size)
{
    return mem_alloc(&heap, size);
}

static void drop(void *payload)
{
    mem_free(&heap, payload);
}

/* What lies at `offset` from a payload, as the program is about to name it. */
static char *told(void *payload, ptrdiff_t offset)
{
    printf("0x%lx\n", (unsigned long)((char *)payload + offset));
    fflush(stdout);
    return (char *)payload + offset;
}

static void check(const char *conjunct)
{
    const char *broken = mem_check(&heap);
    printf("%s\n", broken ? broken : "valid");
    exit(!broken || strcmp(broken, conjunct));
}

static void quiet(void)
{
    puts("valid");
    exit(mem_check(&heap) != NULL);
}

static int by_value(const void *one, const void *other)
{
    uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;
    return (a > b) - (a < b);
}

int main(int count, char **words)
{
    row_memory = reserve();
    region_memory = reserve();
    mem_open(&heap, &pages);
    char *a = get(100), *b = get(100), *c = get(100), *d = get(100), *e = get(100);
    char *large = get(100000);
    const char *wanted = count > 1 ? words[1] : "";
    (void)a, (void)b, (void)c, (void)d, (void)e, (void)large;
@CASES@
    return 2;
}
"""

# Name: (the program, what it must say of the pointer last told).
MISUSES = {
    "an address on the stack": (
        "_Alignas(16) char room[64] = { 0 }; drop(told(room, 32));",
        FOREIGN,
    ),
    "an address in a static array": (
        "static _Alignas(16) char room[64]; drop(told(room, 16));",
        FOREIGN,
    ),
    "a static array behind a copied header": (
        "static _Alignas(16) char room[64]; memcpy(room, a - 16, 16); drop(told(room, 16));",
        FOREIGN,
    ),
    "the lowest aligned address but NULL": ("drop(told((void *)16, 0));", FOREIGN),
    "an address in the NULL page": ("drop(told((void *)8, 0));", FOREIGN),
    "the highest aligned address": ("drop(told((void *)-16, 0));", FOREIGN),
    "shut memory": ("drop(told(row_memory, ROOM - 4096));", FOREIGN),
    "the words of a row": ("drop(told(heap.rows, 0));", FOREIGN),
    "the fence of a row": ("drop(told(heap.top_row->end, 16));", FOREIGN),
    "a gap between rows": (
        "row_used += 65536; get(20000); drop(told(heap.rows->end, 32768));",
        FOREIGN,
    ),
    "where a region starts": ("drop(told(large, -32));", FOREIGN),
    "inside a region": ("drop(told(large, 16));", FOREIGN),
    "a page further in a region": ("drop(told(large, 4096));", FOREIGN),
    "one past a region": ("drop(told(large, (ptrdiff_t)mem_usable_size(&heap, large)));", FOREIGN),
    "one header past a region": (
        "drop(told(large, 16 + (ptrdiff_t)mem_usable_size(&heap, large)));",
        FOREIGN,
    ),
    "one byte into a block": ("drop(told(b, 1));", FOREIGN),
    "8 bytes into a block": ("drop(told(b, 8));", FOREIGN),
    "16 bytes into a block": ("drop(told(b, 16));", FOREIGN),
    "behind a copy of a header inside its block": (
        "memcpy(b + 16, b - 16, 16); drop(told(b, 32));",
        FOREIGN,
    ),
    "where a block was, inside one that is live": (
        "drop(b); drop(c); b = get(200); drop(told(c, 0));",
        FOREIGN,
    ),
    "inside a free block": ("drop(b); drop(told(b, 48));", FOREIGN),
    "a resize inside a block": ("mem_resize(&heap, told(b, 32), 10);", FOREIGN),
    "a free block": ("drop(b); drop(told(b, 0));", DOUBLE),
    "a block merged with the one below": ("drop(b); drop(c); drop(told(c, 0));", DOUBLE),
    "a block merged with the one above": ("drop(c); drop(b); drop(told(b, 0));", DOUBLE),
    "the upper one of two merged": ("drop(c); drop(b); drop(told(c, 0));", DOUBLE),
    "the middle one of three merged": ("drop(b); drop(d); drop(c); drop(told(c, 0));", DOUBLE),
    "the rest of a split, merged": (
        "drop(b); drop(c); drop(d); b = get(100); drop(told(d, 0));",
        DOUBLE,
    ),
    "a block cut off by a resize": (
        "drop(c); b = mem_resize(&heap, b, 180); drop(d); drop(told(d, 0));",
        DOUBLE,
    ),
    "a resize of a free block": ("drop(b); mem_resize(&heap, told(b, 0), 10);", DOUBLE),
    "the size of a free block": ("drop(b); mem_usable_size(&heap, told(b, 0));", DOUBLE),
    "a region that was freed": ("drop(large); drop(told(large, 0));", FOREIGN),
    "a row that was given back": (
        "drop(a); drop(b); drop(c); drop(d); drop(e); drop(told(c, 0));",
        FOREIGN,
    ),
    "8 bytes over, then its own free": ("memset(b + 112, 7, 8); told(c, 0); drop(b);", HEADER),
    "8 bytes over, then the neighbour's free": ("memset(b + 112, 7, 8); drop(told(c, 0));", HEADER),
    "16 bytes over that look like a free block": (
        "memset(b + 112, 6, 16); told(c, 0); drop(b);",
        HEADER,
    ),
    "one byte of a size": ("((struct mem_node *)(c - 16))->word ^= 16; drop(told(c, 0));", HEADER),
    "a flag": ("((struct mem_node *)(c - 16))->word ^= 2; drop(told(c, 0));", HEADER),
    "another block's header": ("memcpy(c - 16, b - 16, 16); drop(told(c, 0));", HEADER),
    "over, then a resize": (
        "memset(b + 112, 7, 16); told(c, 0); mem_resize(&heap, b, 150);",
        HEADER,
    ),
    "over into a free block, then an allocation": (
        "drop(c); memset(b + 112, 7, 16); told(c, 0); get(100);",
        HEADER,
    ),
    "over into a free block, then the upper one's free": (
        "drop(c); memset(b + 112, 7, 8); told(c, 0); drop(d);",
        HEADER,
    ),
    "a header below an interior pointer": (
        "memset(b - 16, 7, 16); told(b, 0); drop(c + 16);",
        HEADER,
    ),
    "the header of another key": ("told(a, 0); heap.key ^= 1; drop(b);", HEADER),
    "8 bytes below a region": ("memset(large - 8, 7, 8); drop(told(large, 0));", HEADER),
    "a region on the way to another": (
        "char *next = get(100000); memset(large - 8, 7, 8); told(large, 0); drop(next);",
        HEADER,
    ),
    "a footer that leads into its block": (
        "drop(b); *(size_t *)(b + 104) = 64; told(c, 0); drop(c);",
        FOOTER,
    ),
    "the last word of a free block": (
        "drop(b); memset(b + 104, 7, 8); told(c, 0); drop(c);",
        FOOTER,
    ),
}

# Name: (what is corrupted, the conjunct that mem_check must name).
CORRUPTIONS = {
    "a checksum": ("((struct mem_node *)(b - 16))->checksum ^= 1;", "checksum"),
    "a flag": ("((struct mem_node *)(b - 16))->word ^= BELOW_FREE;", "checksum"),
    "a size": ("((struct mem_node *)(b - 16))->word = USED;", "tiling"),
    "a size, sealed": ("set_header(&heap, block_of(e), 1 << 20 | USED);", "tiling"),
    "a fence": ("((struct mem_node *)heap.rows->end)->checksum ^= 1;", "checksum"),
    "a flag, sealed": ("set_header(&heap, block_of(b), block_of(b)->word ^ BELOW_FREE);", "tags"),
    "a state, sealed": ("set_header(&heap, block_of(b), block_of(b)->word ^ REGION);", "tags"),
    "a footer": ("drop(b); *footer_of(block_of(b)) += 16;", "tags"),
    "neighbours left apart": (
        "drop(b); struct mem_node *n = block_of(c); set_header(&heap, n, size_of(n) | BELOW_FREE);"
        " *footer_of(n) = size_of(n); tell_upper(&heap, n, BELOW_FREE);",
        "adjacent_free",
    ),
    "a node that is not there": ("drop(b); heap.tree = heap.tree->left;", "free_list"),
    "a height": ("drop(b); heap.tree->height++;", "free_list"),
    "a node of no row": ("drop(b); heap.tree->left = (void *)large;", "free_list"),
    "a circle": ("drop(b); heap.tree->right = heap.tree;", "free_list"),
    "an order": (
        "drop(b); heap.tree->right = heap.tree->left; heap.tree->left = NULL;",
        "free_list",
    ),
    "a tree that leans": (
        "drop(b); drop(d); struct mem_node *low = block_of(b), *high = block_of(d);"
        " struct mem_node *top = (struct mem_node *)((char *)block_of(e) + 128);"
        " *low = (struct mem_node){ low->checksum, low->word, NULL, high, 2 };"
        " *high = (struct mem_node){ high->checksum, high->word, NULL, NULL, 1 };"
        " *top = (struct mem_node){ top->checksum, top->word, low, NULL, 3 }; heap.tree = top;",
        "free_list",
    ),
    "a region's checksum": ("((struct mem_node *)(large - 16))->checksum ^= 1;", "checksum"),
    "a region's lead": ("region_of(block_of(large))->lead += 16;", "tiling"),
    "a region's state, sealed": (
        "set_header(&heap, block_of(large), block_of(large)->word ^ REGION);",
        "tags",
    ),
    "regions out of order": (
        "get(50000); struct mem_region *low = heap.regions, *high = low->next;"
        " heap.regions = high; high->next = low; low->next = NULL;",
        "tiling",
    ),
}

# Name: what must go on without a word.
QUIET = {
    "right use": "drop(NULL); drop(b); drop(large); quiet();",
    "every bit that a checksum covers": (
        "struct mem_node *node = block_of(b); uint64_t sum = node->checksum, word = node->word;"
        " for (int bit = 0; bit < 64; bit++) {"
        "  uint64_t one = (uint64_t)1 << bit;"
        "  char *other = (char *)((uintptr_t)node ^ one);"
        "  struct mem_heap same = { .key = heap.key ^ one };"
        "  if (checksum_of(&heap, node, word ^ one) == sum || checksum_of(&same, node, word) == sum"
        "      || checksum_of(&heap, (struct mem_node *)other, word) == sum) exit(1); }"
        " quiet();"
    ),
    "a checksum of its own for each word": (
        "static uint64_t sums[1 << 16];"
        " for (size_t i = 0; i < 1 << 16; i++) sums[i] = checksum_of(&heap, block_of(b), i << 4);"
        " qsort(sums, 1 << 16, sizeof *sums, by_value);"
        " for (size_t i = 1; i < 1 << 16; i++) if (sums[i] == sums[i - 1]) exit(1);"
        " quiet();"
    ),
}


def source() -> str:
    """The program: one case a branch, chosen by the first argument."""
    cases = {name: body for name, (body, _) in MISUSES.items()}
    cases |= {f"corrupt {name}": f'{body} check("{conjunct}");'
              for name, (body, conjunct) in CORRUPTIONS.items()}  # fmt: skip
    cases |= QUIET
    branches = [f'    if (!strcmp(wanted, "{name}")) {{\n        {body}\n    }}'
                for name, body in cases.items()]  # fmt: skip
    return PROGRAM.replace("@CASES@", "\n".join(branches))


@functools.cache
def program(folder: Path) -> Path:
    """The program with the allocator in `folder`, built."""
    text = artifacts.written("best_fit-misuse", ".c", source())
    flags = ("-O1", "-g", "-DNDEBUG", "-w", f"-iquote{folder}", f"-I{HERE}")
    unit = Unit(text, flags, text.parent)
    return build.link("best_fit-misuse", [build.compile_object(unit)], [], suffix="")


def ended(built: Path, case: str) -> subprocess.CompletedProcess[str]:
    """One run of one case."""
    return subprocess.run(
        [built, case], capture_output=True, text=True, timeout=SECONDS, check=False
    )


def is_told(built: Path, case: str) -> bool:
    """One of MISUSES ends as the header promises, with the address that the program named."""
    done = ended(built, case)
    told = f"best_fit: {MISUSES[case][1]} {done.stdout.strip()}\n"
    return (done.returncode, done.stderr) == (-signal.SIGABRT, told)


def is_quiet(built: Path, case: str) -> bool:
    """One of QUIET goes on to its end."""
    done = ended(built, case)
    return (done.returncode, done.stdout, done.stderr) == (0, "valid\n", "")


def first_wrong(folder: Path) -> tuple[int, str] | None:
    """The first case that the allocator in `folder` gets wrong, with how many were tried."""
    cases = [*((is_quiet, case) for case in QUIET), *((is_told, case) for case in MISUSES)]
    built = program(folder)
    for count, (is_right, case) in enumerate(cases, 1):
        try:
            if is_right(built, case):
                continue
        except subprocess.TimeoutExpired:
            pass
        return count, case
    return None
