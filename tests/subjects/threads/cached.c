/* A small allocator with a cache for each thread, as the large ones have it.
 *
 * A block of up to 1024 bytes is a cell of a slab, a page cut into cells of one class, which belongs
 * to the heap of the thread that cut it.  That thread takes and gives cells of its own without a
 * lock; others put them on the heap's `remote` stack, which its owner empties when it runs out.  The
 * heap of a thread that ends is adopted by one that begins.  Larger blocks are spans of pages of
 * their own, a few of which are kept.  Where both locks are held, `large_lock` was taken first.
 */
#include "cached.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, HEAD = 64, CLASSES = 7, SMALLEST = 16, LARGE = CLASSES, KEPT = 4 };

struct cell {
    struct cell *next;
};

struct heap {
    struct cell *local[CLASSES];
    _Atomic(struct cell *) remote;
    struct heap *next; /* among the orphans */
};

/* At the start of a slab, and of a large span. */
struct page {
    struct heap *owner;
    size_t class;
    size_t span;       /* bytes of a large one */
    struct page *next; /* among those kept */
};

static pthread_mutex_t orphan_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t large_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t count_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static struct heap *orphans;
static struct page *kept;
static size_t kept_count, large_bytes;
static _Atomic unsigned long calls;
static __thread struct heap *mine;

/* ---- pages ---- */

static void *map(size_t size)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

static struct page *page_of(const void *block)
{
    return (struct page *)((uintptr_t)block & ~(uintptr_t)(PAGE - 1));
}

static size_t cell_size(size_t class)
{
    return (size_t)SMALLEST << class;
}

static void count_large(size_t more, size_t less)
{
    pthread_mutex_lock(&count_lock);
    large_bytes += more - less;
    pthread_mutex_unlock(&count_lock);
}

/* ---- heaps ---- */

static void give_up(void *heap)
{
    struct heap *dead = heap;
    pthread_mutex_lock(&orphan_lock);
    dead->next = orphans;
    orphans = dead;
    pthread_mutex_unlock(&orphan_lock);
    mine = NULL;
}

static void make_key(void)
{
    pthread_key_create(&key, give_up);
}

static struct heap *adopt(void)
{
    pthread_mutex_lock(&orphan_lock);
    struct heap *heap = orphans;
    if (heap)
        orphans = heap->next;
    pthread_mutex_unlock(&orphan_lock);
    return heap;
}

static struct heap *my_heap(void)
{
    if (mine)
        return mine;
    pthread_once(&once, make_key);
    struct heap *heap = adopt();
    if (!heap)
        heap = map(PAGE);
    if (heap)
        pthread_setspecific(key, heap);
    return mine = heap;
}

/* ---- cells ---- */

static void take_back(struct heap *heap)
{
    struct cell *cell = atomic_exchange_explicit(&heap->remote, NULL, memory_order_acquire);
    while (cell) {
        struct cell *next = cell->next;
        size_t class = page_of(cell)->class;
        cell->next = heap->local[class];
        heap->local[class] = cell;
        cell = next;
    }
}

static void cut(struct heap *heap, size_t class)
{
    char *slab = map(PAGE);
    if (!slab)
        return;
    *(struct page *)slab = (struct page){ .owner = heap, .class = class };
    for (size_t at = HEAD; at + cell_size(class) <= PAGE; at += cell_size(class)) {
        struct cell *cell = (struct cell *)(slab + at);
        cell->next = heap->local[class];
        heap->local[class] = cell;
    }
}

static void *take_cell(size_t class)
{
    struct heap *heap = my_heap();
    if (!heap)
        return NULL;
    if (!heap->local[class])
        take_back(heap);
    if (!heap->local[class])
        cut(heap, class);
    struct cell *cell = heap->local[class];
    if (cell)
        heap->local[class] = cell->next;
    return cell;
}

static void give_cell(struct page *slab, struct cell *cell)
{
    struct heap *owner = slab->owner;
    if (owner == mine) {
        cell->next = owner->local[slab->class];
        owner->local[slab->class] = cell;
        return;
    }
    struct cell *head = atomic_load_explicit(&owner->remote, memory_order_relaxed);
    do
        cell->next = head;
    while (!atomic_compare_exchange_weak_explicit(&owner->remote, &head, cell,
                                                  memory_order_release, memory_order_relaxed));
}

/* ---- large blocks ---- */

static struct page *take_kept(size_t span)
{
    for (struct page **link = &kept; *link; link = &(*link)->next)
        if ((*link)->span == span) {
            struct page *page = *link;
            *link = page->next;
            kept_count--;
            return page;
        }
    return NULL;
}

static void *take_large(size_t size)
{
    if (size > PTRDIFF_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    size_t span = (size + HEAD + PAGE - 1) & ~(size_t)(PAGE - 1);
    pthread_mutex_lock(&large_lock);
    struct page *page = take_kept(span);
    if (!page)
        page = map(span);
    if (!page) {
        pthread_mutex_unlock(&large_lock);
        return NULL;
    }
    *page = (struct page){ .class = LARGE, .span = span };
    count_large(span, 0);
    pthread_mutex_unlock(&large_lock);
    return (char *)page + HEAD;
}

static void give_large(struct page *page)
{
    pthread_mutex_lock(&large_lock);
    count_large(0, page->span);
    if (kept_count < KEPT) {
        page->next = kept;
        kept = page;
        kept_count++;
        page = NULL;
    }
    pthread_mutex_unlock(&large_lock);
    if (page)
        munmap(page, page->span);
}

/* ---- the functions ---- */

void *cached_malloc(size_t size)
{
    atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
    size_t class = 0;
    while (class < CLASSES && cell_size(class) < size)
        class++;
    return class < CLASSES ? take_cell(class) : take_large(size);
}

void cached_free(void *block)
{
    if (!block)
        return;
    struct page *page = page_of(block);
    if (page->class == LARGE)
        give_large(page);
    else
        give_cell(page, block);
}

size_t cached_usable_size(const void *block)
{
    const struct page *page = page_of(block);
    return page->class == LARGE ? page->span - HEAD : cell_size(page->class);
}

void *cached_calloc(size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    void *block = cached_malloc(total);
    return block ? memset(block, 0, total) : NULL;
}

void *cached_realloc(void *block, size_t size)
{
    if (!block)
        return cached_malloc(size);
    size_t usable = cached_usable_size(block);
    if (size <= usable)
        return block;
    void *moved = cached_malloc(size);
    if (moved) {
        memcpy(moved, block, usable);
        cached_free(block);
    }
    return moved;
}

size_t cached_large_bytes(void)
{
    pthread_mutex_lock(&count_lock);
    size_t bytes = large_bytes;
    pthread_mutex_unlock(&count_lock);
    return bytes;
}
