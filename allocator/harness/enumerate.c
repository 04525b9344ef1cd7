/* A heap is kept as the program that leads to it, a chain of operations back to the empty heap,
 * and as 128 bits of its contents.  Each operation is tried behind a program that is run anew: a
 * run costs some microseconds, and nothing has to be put back that could be forgotten. */
#include "enumerate.h"

#include <stdlib.h>
#include <string.h>

#include "operations.h"

enum { BEFORE = 16, BEHIND = 24 }; /* bytes of a header, its links, the footer below */
enum { NOBODY = 0, COMPARED = 1 << 20, LIVE_CAPACITY = 256, ROOM_AT_FIRST = 1 << 12 };

/* The operation that made a heap of its parent's. */
struct heap {
    uint32_t parent;
    uint32_t depth;
    struct op op;
};

struct digest {
    uint64_t low, high;
};

struct enumeration {
    struct choice *choices;
    size_t choice_count, most_live;
    struct heap *heaps; /* heap 0 is the empty one */
    uint64_t heap_count, heap_room;
    struct digest *seen; /* open addressing; all zero is an empty place */
    uint64_t seen_room;
    uint64_t operations, longest;
    int too_large;
    /* the heap whose operations are being tried */
    uint64_t current;
    size_t next_choice;
    uint32_t live[LIVE_CAPACITY];
    size_t live_count, next_live;
    /* a piece of memory while it is looked at */
    unsigned char *copy, *kept;
    uint32_t *waiting;
};

/* ---- what a heap is ---- */

static uint64_t mixed(uint64_t state, uint64_t word)
{
    state = (state ^ word) * UINT64_C(0xff51afd7ed558ccd);
    return state ^ (state >> 32);
}

static void digest_bytes(struct digest *digest, const unsigned char *at, size_t size)
{
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = 0;
        memcpy(&word, at + i, size - i < 8 ? size - i : 8);
        digest->low = mixed(digest->low, word);
        digest->high = mixed(digest->high, word + 0x9e37);
    }
    digest->low = mixed(digest->low, size);
}

/* ---- which words of a piece of memory something leads to ---- */

struct piece {
    const char *start;
    size_t size;
    unsigned char *kept; /* one byte a word */
    uint32_t *waiting;   /* kept words that have not been followed */
    size_t count;
};

/* Keeps a block's header that begins there, the links behind it, the footer before it. */
static void lead_to(struct piece *piece, uint64_t at)
{
    uint64_t low = (uint64_t)piece->start, high = low + piece->size;
    if (at < low || at > high)
        return;
    uint64_t first = at - low < BEFORE ? low : at - BEFORE;
    uint64_t last = high - at < BEHIND ? high : at + BEHIND;
    for (size_t word = (first - low) / 8; word < (last - low) / 8; word++)
        if (!piece->kept[word]) {
            piece->kept[word] = 1;
            piece->waiting[piece->count++] = (uint32_t)word;
        }
}

/* A word may be an address, or a size in bytes or in units of 16, its low bits flags. */
static void follow(struct piece *piece, const unsigned char *copy)
{
    while (piece->count) {
        size_t at = 8 * (size_t)piece->waiting[--piece->count];
        uint64_t word, here = (uint64_t)piece->start + at;
        if (at + 8 > piece->size)
            continue;
        memcpy(&word, copy + at, 8);
        lead_to(piece, word & ~UINT64_C(7));
        for (int shift = 0; shift <= 4; shift += 4) {
            uint64_t size = shift ? word << shift : word & ~UINT64_C(7);
            if (!size || size > piece->size)
                continue;
            lead_to(piece, here + size);
            lead_to(piece, here - size);
        }
    }
}

static void lead_from_segments(struct executor *ex, struct piece *piece)
{
    for (int i = 0; i < ex->snapshot.count; i++) {
        const struct segment *segment = &ex->snapshot.segments[i];
        for (size_t at = 0; at + 8 <= segment->copied + segment->dropped; at += 8) {
            uint64_t word;
            memcpy(&word, segment->start + at, 8);
            if (word - (uint64_t)piece->start <= piece->size)
                lead_to(piece, word & ~UINT64_C(7));
        }
    }
}

/* Of memory that the subject was given. */
static void digest_piece(struct executor *ex, struct digest *digest, const char *start, size_t size)
{
    struct enumeration *all = ex->enumeration;
    struct piece piece = { start, size, all->kept, all->waiting, 0 };
    uint64_t low = (uint64_t)start;
    if (size > COMPARED) {
        all->too_large = 1;
        return;
    }
    memcpy(all->copy, start, size);
    memset(all->kept, 0, size / 8 + 1);
    lead_to(&piece, low);
    lead_to(&piece, low + size);
    lead_from_segments(ex, &piece);
    for (uint32_t name = 0; name < ex->table.used; name++) {
        const struct block *block = &ex->table.blocks[name];
        if (block->state != BLOCK_LIVE || block->address < low
            || block->address + block->filled > low + size)
            continue;
        memset(all->copy + (block->address - low), 0, block->filled);
        lead_to(&piece, block->address);
        lead_to(&piece, (block->address + block->filled + 7) & ~UINT64_C(7));
    }
    follow(&piece, all->copy);
    for (size_t word = 0; word < size / 8; word++)
        if (!all->kept[word])
            memset(all->copy + 8 * word, 0, 8);
    digest_bytes(digest, all->copy, size);
}

static void digest_maps(struct executor *ex, struct digest *digest)
{
    const struct store *store = &ex->store;
    for (size_t page = 0, end; page < store->maps_end; page = end) {
        for (end = page + 1; end < store->maps_end && store->mapped[end] == store->mapped[page];)
            end++;
        digest->low = mixed(digest->low, page * 4 + store->mapped[page]);
        if (store->mapped[page] == PAGE_GRANTED)
            digest_piece(ex, digest, store->maps + page * PAGE, (end - page) * PAGE);
    }
}

/* The same whatever the names are: a sum over the blocks. */
static uint64_t digest_live(const struct executor *ex)
{
    uint64_t sum = 0;
    for (uint32_t name = 0; name < ex->table.used; name++) {
        const struct block *block = &ex->table.blocks[name];
        if (block->state == BLOCK_LIVE)
            sum += mixed(mixed(1, block->address), block->filled ? block->filled : block->size);
    }
    return sum;
}

static struct digest digest_heap(struct executor *ex)
{
    struct digest digest = { digest_live(ex), 1 };
    const struct store *store = &ex->store;
    digest_piece(ex, &digest, store->base, store->end);
    if (store->arena)
        digest_piece(ex, &digest, store->arena, store->arena_size);
    digest_maps(ex, &digest);
    for (int i = 0; i < ex->snapshot.count; i++) {
        const struct segment *segment = &ex->snapshot.segments[i];
        digest_bytes(&digest, (const unsigned char *)segment->start,
                     segment->copied + segment->dropped);
    }
    digest.high |= 1;
    return digest;
}

/* ---- which heaps there are ---- */

static struct digest *place_of(struct digest *seen, uint64_t room, struct digest digest)
{
    uint64_t at = digest.low & (room - 1);
    while (seen[at].high && (seen[at].low != digest.low || seen[at].high != digest.high))
        at = (at + 1) & (room - 1);
    return &seen[at];
}

static int grow_seen(struct enumeration *all)
{
    uint64_t room = all->seen_room ? 2 * all->seen_room : 2 * ROOM_AT_FIRST;
    struct digest *seen = calloc(room, sizeof *seen);
    if (!seen)
        return -1;
    for (uint64_t i = 0; i < all->seen_room; i++)
        if (all->seen[i].high)
            *place_of(seen, room, all->seen[i]) = all->seen[i];
    free(all->seen);
    all->seen = seen;
    all->seen_room = room;
    return 0;
}

static int grow_heaps(struct enumeration *all)
{
    uint64_t room = all->heap_room ? 2 * all->heap_room : ROOM_AT_FIRST;
    struct heap *heaps = realloc(all->heaps, room * sizeof *heaps);
    if (!heaps)
        return -1;
    all->heaps = heaps;
    all->heap_room = room;
    return 0;
}

/* Notes the heap that the program made, unless it is known. */
static void note(struct executor *ex, uint64_t parent, const struct op *op)
{
    struct enumeration *all = ex->enumeration;
    struct digest digest = digest_heap(ex);
    struct digest *place = place_of(all->seen, all->seen_room, digest);
    int is_full = 2 * all->heap_count >= all->seen_room || all->heap_count == all->heap_room;
    if (place->high)
        return;
    if (is_full && (grow_seen(all) || grow_heaps(all))) {
        all->too_large = 1;
        return;
    }
    *place_of(all->seen, all->seen_room, digest) = digest;
    uint32_t depth = all->heap_count ? all->heaps[parent].depth + 1 : 0;
    all->heaps[all->heap_count++] = (struct heap){ (uint32_t)parent, depth, *op };
    if (depth > all->longest)
        all->longest = depth;
}

/* ---- the operations of a heap ---- */

/* Runs the program that leads to the heap, and behind it the operation. */
static void run(struct executor *ex, uint64_t heap, const struct op *op)
{
    struct enumeration *all = ex->enumeration;
    uint32_t count = all->heaps[heap].depth;
    for (uint64_t at = heap, i = count; i > 0; at = all->heaps[at].parent)
        ex->ops[--i] = all->heaps[at].op;
    if (op)
        ex->ops[count] = *op;
    ex->run->op_count = count + (op != NULL);
    executor_run(ex);
}

/* Comes to a heap: which blocks live there? */
static void come_to(struct executor *ex, uint64_t heap)
{
    struct enumeration *all = ex->enumeration;
    all->current = heap;
    all->next_choice = all->next_live = all->live_count = 0;
    run(ex, heap, NULL);
    for (uint32_t name = 0; name < ex->table.used && all->live_count < LIVE_CAPACITY; name++)
        if (ex->table.blocks[name].state == BLOCK_LIVE)
            all->live[all->live_count++] = name;
}

static int takes_a_block(const struct choice *choice)
{
    return choice->kind == OP_FREE || (choice->kind == OP_REALLOC && choice->first != NIL);
}

/* The next operation to be tried on the current heap; 0 if there is none. */
static int next(struct enumeration *all, struct op *op)
{
    uint32_t made = all->heaps[all->current].depth; /* no operation before it made this name */
    while (all->next_choice < all->choice_count) {
        const struct choice *choice = &all->choices[all->next_choice];
        *op = (struct op){ .kind = (uint8_t)choice->kind,
                           .name = choice->kind == OP_FREE ? NO_NAME : made,
                           .first = choice->first,
                           .second = choice->second };
        if (!takes_a_block(choice)) {
            all->next_choice++;
            if (all->live_count < all->most_live)
                return 1;
            continue;
        }
        if (all->next_live < all->live_count) {
            op->first = all->live[all->next_live++];
            return 1;
        }
        all->next_live = 0;
        all->next_choice++;
    }
    return 0;
}

/* ---- the whole ---- */

int enumeration_start(struct executor *ex, const struct choice *choices, size_t count,
                      size_t most_live)
{
    enumeration_close(ex);
    struct enumeration *all = ex->enumeration = calloc(1, sizeof *all);
    if (!all)
        return -1;
    all->choices = malloc(count * sizeof *choices);
    all->copy = malloc(COMPARED);
    all->kept = malloc(COMPARED / 8 + 1);
    all->waiting = malloc(COMPARED / 8 * sizeof *all->waiting);
    if (!all->choices || !all->copy || !all->kept || !all->waiting)
        return -1;
    if (grow_seen(all) || grow_heaps(all))
        return -1;
    memcpy(all->choices, choices, count * sizeof *choices);
    all->choice_count = count;
    all->most_live = most_live;
    all->heaps[0] = (struct heap){ NOBODY, 0, { 0 } };
    ex->plain = 1;
    run(ex, 0, NULL);
    if (!ex->run->suspicious)
        note(ex, 0, &all->heaps[0].op);
    come_to(ex, 0);
    return 0;
}

void enumeration_go_on(struct executor *ex, uint64_t count, uint64_t most,
                       struct enumeration_tally *tally)
{
    struct enumeration *all = ex->enumeration;
    struct op op;
    ex->plain = 1;
    while (count && all->current < all->heap_count && all->heap_count < most && !all->too_large) {
        if (!next(all, &op)) {
            if (all->current + 1 == all->heap_count) {
                all->current++;
                break;
            }
            come_to(ex, all->current + 1);
            continue;
        }
        uint64_t from = all->current;
        run(ex, from, &op);
        count--;
        all->operations++;
        if (ex->run->outcome == OUTCOME_FINISHED)
            note(ex, from, &op);
        if (ex->run->suspicious)
            break;
    }
    ex->plain = 0;
    *tally = (struct enumeration_tally){ all->heap_count, all->heap_count - all->current,
                                         all->operations, (uint64_t)all->too_large, all->longest };
}

int executor_enumerate(struct executor *ex, void *area, size_t choices, uint64_t count,
                       uint64_t most)
{
    struct enumeration_tally tally;
    const struct choice *first = area;
    if (choices && enumeration_start(ex, first + 1, choices - 1, first->first))
        return 0;
    enumeration_go_on(ex, count, most, &tally);
    memcpy(area, &tally, sizeof tally);
    return 1;
}

void enumeration_close(struct executor *ex)
{
    struct enumeration *all = ex->enumeration;
    if (!all)
        return;
    free(all->choices);
    free(all->heaps);
    free(all->seen);
    free(all->copy);
    free(all->kept);
    free(all->waiting);
    free(all);
    ex->enumeration = NULL;
    ex->plain = 0;
}
