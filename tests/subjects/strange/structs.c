/* Structures handed over and returned, small ones in registers and large ones as copies. */
#include <assert.h>
#include <stddef.h>

struct span { char *at; size_t size; };
struct state { size_t used, limit, calls, spare; };
union unit { long double widest; struct { size_t size; unsigned a : 3, b : 5; double weight; } head; };

static union unit pool[64];
static struct state now = { 0, sizeof pool, 0, 7 };

static struct span cut(struct span whole, size_t size)
{
    struct span none = { NULL, 0 };
    return whole.size < size ? none : (struct span){ whole.at, size };
}

static size_t spoils_its_copy(struct state copy)
{
    copy.used = copy.limit = 0;
    return copy.used + copy.spare;
}

static struct state counted(struct state before)
{
    before.calls++;
    return before;
}

void *structs_malloc(size_t size)
{
    _Static_assert(sizeof(union unit) == 32, "a long double takes 16, the structure 24");
    assert(spoils_its_copy(now) == 7 && now.limit == sizeof pool);
    size_t calls = now.calls;
    now = counted(now);
    assert(now.calls == calls + 1 && now.spare == 7);
    struct span block = cut((struct span){ (char *)pool + now.used, now.limit - now.used }, size);
    if (!block.at)
        return NULL;
    assert(block.size == size);
    pool->head.a = 5;
    pool->head.b = 9;
    assert(pool->head.a == 5 && pool->head.b == 9);
    now.used += (block.size + 31) & ~(size_t)31;
    return block.at;
}

void structs_free(void *block) { (void)block; }
