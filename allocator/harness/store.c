/* Two reservations, one for the break and one for mapped regions, at fixed addresses where the
 * process has room there, so that a run shows the same addresses each time.  Fresh memory reads
 * zero, as the kernel's does: what an earlier run touched is cleared when it is granted again. */
#define _GNU_SOURCE
#include "store.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "direct.h"
#include "layout.h"
#include "pattern.h"

enum { CANARY_BYTE = 0xc5, FOREIGN_BYTE = 0xf0, DIRTY_BYTE = 0xa7, CLEAR_BY_WRITING = 1 << 18 };
#define PREFERRED_BASE ((char *)0x200000000000)
#define PREFERRED_MAPS ((char *)0x210000000000)
#define PREFERRED_ARENA ((char *)0x220000000000)

static size_t pages_up(size_t size)
{
    return (size + PAGE - 1) & ~(size_t)(PAGE - 1);
}

static char *reserve(char *preferred, size_t size)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char *start = mmap(preferred, size, PROT_NONE, flags | MAP_FIXED_NOREPLACE, -1, 0);
    if (start == MAP_FAILED)
        start = mmap(NULL, size, PROT_NONE, flags, -1, 0);
    return start == MAP_FAILED ? NULL : start;
}

/* ---- refusing ---- */

/* Whether `size` more bytes may be granted; notes what was seen of the request. */
static int may_grant(struct store *store, size_t size)
{
    store->seen |= SEEN_PAGES;
    int denied = store->deny_all;
    if (store->deny_countdown && --store->deny_countdown == 0)
        denied = 1;
    if (denied)
        store->seen |= SEEN_REFUSED;
    else if (size > store->cap - store->granted)
        store->seen |= SEEN_CAPPED;
    else
        return 1;
    errno = ENOMEM;
    return 0;
}

/* ---- the break ---- */

static size_t canary_room(const struct store *store)
{
    size_t room = store->opened - store->end;
    return room < CANARY ? room : CANARY;
}

static void note_damage(struct store *store, char *at)
{
    if (!store->damaged)
        store->damaged = at;
}

static void check_break_canary(struct store *store)
{
    unsigned char *start = (unsigned char *)store->base + store->end;
    size_t room = canary_room(store);
    size_t wrong = first_other_byte(start, room, CANARY_BYTE);
    if (wrong < room)
        note_damage(store, (char *)start + wrong);
}

/* Of many pages most may not be there at all: to write zeros would bring them. */
static void clear(char *start, char *end)
{
    char *first = (char *)pages_up((size_t)start);
    char *last = (char *)((size_t)end & ~(size_t)(PAGE - 1));
    if (end - start < CLEAR_BY_WRITING || first >= last) {
        memset(start, 0, (size_t)(end - start));
        return;
    }
    memset(start, 0, (size_t)(first - start));
    madvise(first, (size_t)(last - first), MADV_DONTNEED);
    memset(last, 0, (size_t)(end - last));
}

static void move_break(struct store *store, size_t end)
{
    size_t old = store->end;
    check_break_canary(store);
    if (end > old) {
        size_t dirty = end < store->touched ? end : store->touched;
        if (dirty > old)
            clear(store->base + old, store->base + dirty);
    }
    store->end = end;
    size_t room = canary_room(store);
    memset(store->base + end, CANARY_BYTE, room);
    if (end + room > store->touched)
        store->touched = end + room;
}

static void drop_foreign_above(struct store *store, size_t end)
{
    while (store->foreign_count) {
        struct span *last = &store->foreign[store->foreign_count - 1];
        if (last->start + last->size <= store->base + end)
            return;
        note_damage(store, last->start);
        store->granted += last->size;
        store->foreign_count--;
    }
}

static void *store_sbrk(void *context, intptr_t increment)
{
    struct store *store = context;
    char *old = store->base + store->end;
    if (increment > 0) {
        if (!may_grant(store, (size_t)increment))
            return (void *)-1;
        if ((size_t)increment > store->opened - store->end) {
            store->seen |= SEEN_CAPPED;
            errno = ENOMEM;
            return (void *)-1;
        }
        store->granted += (size_t)increment;
        move_break(store, store->end + (size_t)increment);
    } else if (increment < 0) {
        size_t decrement = (size_t)0 - (size_t)increment;
        if (decrement > store->end) {
            errno = ENOMEM;
            return (void *)-1;
        }
        drop_foreign_above(store, store->end - decrement);
        store->granted -= decrement;
        move_break(store, store->end - decrement);
    }
    return old;
}

static int store_brk(void *context, void *end)
{
    struct store *store = context;
    intptr_t increment = (char *)end - (store->base + store->end);
    if ((char *)end < store->base) {
        errno = ENOMEM;
        return -1;
    }
    return store_sbrk(store, increment) == (void *)-1 ? -1 : 0;
}

int store_foreign(struct store *store, size_t size)
{
    if (!size || size > store->opened - store->end || store->foreign_count == FOREIGN_CAPACITY)
        return 0;
    char *start = store->base + store->end;
    move_break(store, store->end + size);
    memset(start, FOREIGN_BYTE, size);
    store->foreign[store->foreign_count++] = (struct span){ start, size };
    return 1;
}

/* ---- mapped regions ---- */

static int page_range(const struct store *store, const void *address, size_t size, size_t *first)
{
    size_t offset = (size_t)((const char *)address - store->maps);
    *first = offset / PAGE;
    return (const char *)address >= store->maps && offset % PAGE == 0 && offset < STORE_RESERVE
           && size <= STORE_RESERVE - offset;
}

static int pages_free(const struct store *store, size_t first, size_t count)
{
    return first + count <= STORE_RESERVE / PAGE
           && first_other_byte(store->mapped + first, count, 0) == count;
}

static void take_pages(struct store *store, size_t first, size_t count, enum page_state state)
{
    memset(store->mapped + first, state, count);
    if (state == PAGE_GRANTED)
        store->granted += count * PAGE;
    if (first + count > store->maps_end)
        store->maps_end = first + count;
    if (state == PAGE_GRANTED)
        mprotect(store->maps + first * PAGE, count * PAGE, PROT_READ | PROT_WRITE);
}

static void grant_pages(struct store *store, size_t first, size_t count)
{
    take_pages(store, first, count, PAGE_GRANTED);
}

static void take_pages_back(struct store *store, size_t first, size_t count)
{
    for (size_t page = first; page < first + count; page++) {
        store->granted -= store->mapped[page] == PAGE_GRANTED ? PAGE : 0;
        store->mapped[page] = PAGE_FREE;
    }
    madvise(store->maps + first * PAGE, count * PAGE, MADV_DONTNEED);
    mprotect(store->maps + first * PAGE, count * PAGE, PROT_NONE);
}

/* How many of these pages would be granted by granting all of them. */
static size_t pages_not_granted(const struct store *store, size_t first, size_t count)
{
    size_t others = 0;
    for (size_t page = first; page < first + count; page++)
        others += store->mapped[page] != PAGE_GRANTED;
    return others;
}

/* Where the subject says: in its own mappings alone. */
static void *map_there(struct store *store, void *address, size_t bytes, enum page_state state)
{
    size_t first, count = bytes / PAGE;
    if (!page_range(store, address, bytes, &first)) {
        errno = EINVAL;
        return MAP_FAILED;
    }
    size_t more = state == PAGE_GRANTED ? pages_not_granted(store, first, count) * PAGE : 0;
    if (!may_grant(store, more))
        return MAP_FAILED;
    take_pages_back(store, first, count);
    take_pages(store, first, count, state);
    return address;
}

/* Address space that nobody can access (PROT_NONE) is not memory, and has no cap but its own. */
static void *store_mmap(void *context, void *address, size_t size, int protection, int flags,
                        int file, off_t offset)
{
    (void)file, (void)offset;
    struct store *store = context;
    size_t bytes = pages_up(size);
    enum page_state state = protection == PROT_NONE ? PAGE_RESERVED : PAGE_GRANTED;
    if (!size || !(flags & MAP_ANONYMOUS)) {
        errno = EINVAL;
        return MAP_FAILED;
    }
    if (flags & MAP_FIXED)
        return map_there(store, address, bytes < size ? SIZE_MAX : bytes, state);
    if (!may_grant(store, bytes < size ? SIZE_MAX : state == PAGE_GRANTED ? bytes : 0))
        return MAP_FAILED;
    size_t count = bytes / PAGE;
    for (size_t first = 0; first <= store->maps_end; first++)
        if (!store->mapped[first] && pages_free(store, first, count)) {
            take_pages(store, first, count, state);
            return store->maps + first * PAGE;
        }
    store->seen |= SEEN_CAPPED;
    errno = ENOMEM;
    return MAP_FAILED;
}

/* Granted pages stay so whatever their protection; reserved ones are granted when they open. */
static int store_mprotect(void *context, void *address, size_t size, int protection)
{
    struct store *store = context;
    size_t first, bytes = pages_up(size);
    if (page_range(store, address, bytes, &first)) {
        size_t more = pages_not_granted(store, first, bytes / PAGE);
        if (more && protection != PROT_NONE) {
            if (!may_grant(store, more * PAGE))
                return -1;
            store->granted += more * PAGE;
            memset(store->mapped + first, PAGE_GRANTED, bytes / PAGE);
        }
    } else if ((char *)address >= store->base && (char *)address < store->base + store->opened) {
        store->is_protected = 1;
    }
    return mprotect(address, size, protection);
}

static int store_munmap(void *context, void *address, size_t size)
{
    struct store *store = context;
    size_t first;
    if (!size || !page_range(store, address, pages_up(size), &first)) {
        errno = EINVAL;
        return -1;
    }
    take_pages_back(store, first, pages_up(size) / PAGE);
    return 0;
}

static void *store_mremap(void *context, void *address, size_t old_size, size_t new_size,
                          int flags, void *new_address)
{
    (void)new_address;
    struct store *store = context;
    size_t first, old_pages = pages_up(old_size) / PAGE, new_pages = pages_up(new_size) / PAGE;
    if (!new_size || (flags & ~MREMAP_MAYMOVE)
        || !page_range(store, address, old_pages * PAGE, &first)) {
        errno = EINVAL;
        return MAP_FAILED;
    }
    if (new_pages <= old_pages) {
        if (new_pages < old_pages)
            take_pages_back(store, first + new_pages, old_pages - new_pages);
        return address;
    }
    if (pages_free(store, first + old_pages, new_pages - old_pages)) {
        if (!may_grant(store, (new_pages - old_pages) * PAGE))
            return MAP_FAILED;
        grant_pages(store, first + old_pages, new_pages - old_pages);
        return address;
    }
    if (!(flags & MREMAP_MAYMOVE)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    void *moved = store_mmap(store, NULL, new_size, PROT_READ, MAP_ANONYMOUS, -1, 0);
    if (moved != MAP_FAILED) {
        memcpy(moved, address, old_pages * PAGE);
        take_pages_back(store, first, old_pages);
    }
    return moved;
}

static int store_madvise(void *context, void *address, size_t size, int advice)
{
    struct store *store = context;
    size_t first;
    char *start = address;
    int in_break = start >= store->base && start < store->base + store->end
                   && size <= (size_t)(store->base + store->end - start);
    if (advice != MADV_DONTNEED)
        return 0;
    if (!in_break && !page_range(store, address, pages_up(size), &first)) {
        errno = ENOMEM;
        return -1;
    }
    return madvise(address, size, advice);
}

/* ---- the whole ---- */

void store_scrub(struct store *store)
{
    madvise(store->base, store->ever_opened, MADV_DONTNEED);
    store->touched = 0;
}

static int open_arena(struct store *store, size_t size)
{
    size_t pages = pages_up(size + PAGE); /* room for a canary below */
    char *room = reserve(PREFERRED_ARENA, pages + 2 * PAGE);
    if (!room)
        return -1;
    mprotect(room + PAGE, pages, PROT_READ | PROT_WRITE);
    store->arena_room = (struct span){ room + PAGE, pages };
    store->arena = room + PAGE + pages - ((size + 15) & ~(size_t)15);
    store->arena_size = size;
    return 0;
}

int store_open(struct store *store, size_t arena_size)
{
    memset(store, 0, sizeof *store);
    store->host = (struct host){ .context = store,
                                 .sbrk = store_sbrk,
                                 .brk = store_brk,
                                 .mmap = store_mmap,
                                 .munmap = store_munmap,
                                 .mremap = store_mremap,
                                 .madvise = store_madvise,
                                 .mprotect = store_mprotect,
                                 .call = direct_call };
    char *area = reserve(PREFERRED_BASE, STORE_RESERVE + 2 * PAGE);
    store->maps = reserve(PREFERRED_MAPS, STORE_RESERVE + PAGE);
    store->mapped = mmap(NULL, STORE_RESERVE / PAGE + PAGE, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!area || !store->maps || store->mapped == MAP_FAILED)
        return -1;
    store->base = area + PAGE;
    return arena_size ? open_arena(store, arena_size) : 0;
}

/* Opens what the cap needs and shuts FENCE bytes behind it: moving a fence is cheap, opening and
 * shutting everything between two caps is not. */
static void set_cap(struct store *store, size_t cap)
{
    size_t opened = pages_up(cap < STORE_RESERVE - FENCE ? cap : STORE_RESERVE - FENCE);
    size_t ever = store->ever_opened;
    if (store->opened < ever)
        mprotect(store->base + store->opened, FENCE, PROT_READ | PROT_WRITE);
    if (opened + FENCE > ever) {
        mprotect(store->base + ever, opened + FENCE - ever, PROT_READ | PROT_WRITE);
        store->ever_opened = opened + FENCE;
    }
    mprotect(store->base + opened, FENCE, PROT_NONE);
    store->opened = opened;
    store->cap = cap < opened ? cap : opened;
    store->asked_cap = cap;
}

void store_reset(struct store *store, size_t cap)
{
    store->granted = store->end = 0;
    store->foreign_count = 0;
    store->deny_countdown = 0;
    store->deny_all = 0;
    store->seen = 0;
    if (cap != store->asked_cap)
        set_cap(store, cap);
    if (store->is_protected) {
        mprotect(store->base, store->opened, PROT_READ | PROT_WRITE);
        store->is_protected = 0;
    }
    if (store->maps_end) {
        take_pages_back(store, 0, store->maps_end);
        store->granted = store->maps_end = 0;
    }
    memset(store->base, CANARY_BYTE, canary_room(store));
    if (store->touched < CANARY)
        store->touched = CANARY;
    if (store->arena) {
        memset(store->arena, DIRTY_BYTE, store->arena_size);
        memset(store->arena - CANARY, CANARY_BYTE, CANARY);
        memset(store->arena + store->arena_size, CANARY_BYTE, -store->arena_size % 16);
    }
    store->damaged = NULL;
}

static int inside(const struct span *span, const char *start, size_t size)
{
    return start >= span->start && start < span->start + span->size
           && size <= (size_t)(span->start + span->size - start);
}

int store_contains(const struct store *store, const char *start, size_t size)
{
    struct span arena = { store->arena, store->arena_size };
    struct span below_break = { store->base, store->end };
    size_t first;
    if (inside(&below_break, start, size)) {
        for (int i = 0; i < store->foreign_count; i++)
            if (start < store->foreign[i].start + store->foreign[i].size
                && start + size > store->foreign[i].start)
                return 0;
        return 1;
    }
    if (arena.start && inside(&arena, start, size))
        return 1;
    if (!store->maps_end || !page_range(store, start - (uintptr_t)start % PAGE, size, &first))
        return 0;
    size_t count = ((uintptr_t)start % PAGE + size + PAGE - 1) / PAGE;
    return first_other_byte(store->mapped + first, count, 1) == count;
}

static void check_span(struct store *store, char *start, size_t size, unsigned char byte)
{
    size_t wrong = first_other_byte((unsigned char *)start, size, byte);
    if (wrong < size)
        note_damage(store, start + wrong);
}

void store_check_canaries(struct store *store)
{
    check_break_canary(store);
    for (int i = 0; i < store->foreign_count; i++)
        check_span(store, store->foreign[i].start, store->foreign[i].size, FOREIGN_BYTE);
    if (store->arena) {
        check_span(store, store->arena - CANARY, CANARY, CANARY_BYTE);
        check_span(store, store->arena + store->arena_size, -store->arena_size % 16, CANARY_BYTE);
    }
}

void store_close(struct store *store)
{
    munmap(store->base - PAGE, STORE_RESERVE + 2 * PAGE);
    munmap(store->maps, STORE_RESERVE + PAGE);
    munmap(store->mapped, STORE_RESERVE / PAGE + PAGE);
    if (store->arena)
        munmap(store->arena_room.start - PAGE, store->arena_room.size + 2 * PAGE);
}
