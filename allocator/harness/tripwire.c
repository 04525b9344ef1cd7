/* See tripwire.h.  What the judge allows may trip; what it condemns must. */
#include "tripwire.h"

#include <errno.h>

void trip_if(struct executor *ex, int suspicious)
{
    if (suspicious)
        ex->run->suspicious = 1;
}

static uint64_t promised_alignment(const struct config *config, uint64_t size)
{
    if (config->alignment)
        return config->alignment;
    if (size >= 16)
        return 16;
    return size ? UINT64_C(1) << (63 - __builtin_clzll(size)) : 1;
}

/* One sum, one branch. */
void tripwire_grant(struct executor *ex, const struct op *op, const struct observation *seen,
                    uint64_t size)
{
    const struct config *config = ex->config;
    uint64_t wrong = seen->address & (promised_alignment(config, size) - 1);
    if (op->kind >= OP_ALIGNED_ALLOC && op->kind <= OP_POSIX_MEMALIGN) {
        wrong |= op->first & (op->first - 1);
        wrong |= seen->address & (op->first - 1);
        wrong |= op->kind == OP_POSIX_MEMALIGN && op->first < sizeof(void *);
    }
    wrong |= size > config->max_size;
    wrong |= size > ADDRESS_SPACE; /* an overflow, a size over PTRDIFF_MAX, too */
    wrong |= seen->address + size > ADDRESS_SPACE;
    wrong |= seen->flags & (SEEN_OUTSIDE | SEEN_SAME_START);
    wrong |= ex->subject->usable_size && seen->usable < size;
    wrong |= !size && config->malloc_zero == MALLOC_ZERO_NULL;
    trip_if(ex, wrong != 0);
}

void tripwire_failure(struct executor *ex, const struct op *op,
                      const struct observation *seen, uint64_t size)
{
    const struct config *config = ex->config;
    int posix = op->kind == OP_POSIX_MEMALIGN;
    int aligning = op->kind == OP_ALIGNED_ALLOC || op->kind == OP_MEMALIGN || posix;
    int valid = !aligning || (op->first && !(op->first & (op->first - 1))
                              && (!posix || op->first >= sizeof(void *)));
    int told = posix || (seen->flags & SEEN_ERRNO);
    if (!valid)
        trip_if(ex, posix && config->invalid_alignment && seen->error != EINVAL);
    else if (config->enomem && size)
        trip_if(ex, !told || (seen->error != ENOMEM && !(aligning && seen->error == EINVAL)));
    int plain = size && (op->kind == OP_MALLOC || op->kind == OP_CALLOC);
    if (!plain || !config->coalesces || ex->table.live || (seen->flags & SEEN_REFUSED))
        return;
    int recovers = ex->was_refused && !(seen->flags & SEEN_CAPPED);
    trip_if(ex, size <= (recovers ? ex->largest : ex->largest_on_empty));
}

void tripwire_held(struct executor *ex, const struct op *op, const struct observation *seen)
{
    int freeing = op->kind == OP_FREE || op->kind == OP_FREE_ALL;
    if (ex->config->gives_back && freeing && !ex->table.live)
        trip_if(ex, seen->granted && !ex->store.foreign_count);
}

/* Raises a doubt where nothing hints at a lack of memory. */
static void doubt(struct executor *ex, const struct op *op, const struct observation *seen)
{
    const struct config *config = ex->config;
    if (seen->address || (seen->flags & (SEEN_REFUSED | SEEN_CAPPED | SEEN_PAGES)))
        return;
    if (op->kind == OP_REALLOC && op->first == NIL && op->second)
        ex->doubt = DOUBT_THIS_SIZE;
    else if (op->kind == OP_MALLOC && !op->first && config->malloc_zero == MALLOC_ZERO_UNIQUE)
        ex->doubt = DOUBT_ANY_SIZE;
    else if (op->kind == OP_REALLOC && op->first != NIL && !op->second
             && config->realloc_zero == REALLOC_ZERO_UNIQUE)
        ex->doubt = DOUBT_ANY_SIZE;
    ex->doubt_size = op->second;
}

void tripwire_settle(struct executor *ex, const struct op *op, const struct observation *seen)
{
    if (seen->flags & SEEN_SKIPPED)
        return;
    if (ex->doubt && op->kind == OP_MALLOC && seen->address && op->first)
        trip_if(ex, ex->doubt == DOUBT_ANY_SIZE || ex->doubt_size == op->first);
    ex->doubt = DOUBT_NONE;
    doubt(ex, op, seen);
}
