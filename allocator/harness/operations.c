/* The operations on a subject.  Nothing here survives a crash by itself: executor.c runs it under
 * the guard. */
#include "operations.h"

#include <string.h>

#include "pattern.h"
#include "tripwire.h"

enum { ERRNO_UNTOUCHED = 0x5eed, WIPED = 0x5a };
#define OVERFLOWED UINT64_MAX

/* ---- noting ---- */

struct damage *operation_note_damage(struct executor *ex, enum damage_kind kind, uint32_t name)
{
    static struct damage beyond_capacity;
    struct run *run = ex->run;
    run->suspicious = 1;
    struct damage *damage = &beyond_capacity;
    if (run->damage_count < DAMAGE_CAPACITY)
        damage = &ex->damages[run->damage_count++];
    *damage = (struct damage){ .op = run->done, .name = name, .kind = (uint8_t)kind };
    return damage;
}

static void note_bytes(struct executor *ex, enum damage_kind kind, uint32_t name, uint64_t offset,
                       uint8_t expected, uint8_t seen)
{
    struct block *block = &ex->table.blocks[name];
    if (block->damaged & (1u << kind))
        return;
    block->damaged |= 1u << kind;
    struct damage *damage = operation_note_damage(ex, kind, name);
    damage->offset = offset;
    damage->expected = expected;
    damage->seen = seen;
}

/* ---- touching blocks ---- */

static void verify(struct executor *ex, uint32_t name, enum damage_kind kind)
{
    struct block *block = &ex->table.blocks[name];
    if (!block->filled)
        return;
    ex->run->stage = STAGE_TOUCH;
    const unsigned char *bytes = (const unsigned char *)block->address;
    size_t wrong = pattern_check(bytes, block->filled, block->filled, block->seed);
    if (wrong < block->filled)
        note_bytes(ex, kind, name, wrong, pattern_byte(block->seed, wrong), bytes[wrong]);
}

static void verify_prefix(struct executor *ex, uint32_t name, const struct block *old)
{
    struct block *block = &ex->table.blocks[name];
    size_t length = old->size < block->size ? old->size : block->size;
    if (!old->filled || !block->filled)
        return;
    const unsigned char *bytes = (const unsigned char *)block->address;
    size_t wrong = pattern_check(bytes, old->filled, length, old->seed);
    if (wrong < length)
        note_bytes(ex, DAMAGE_PREFIX, name, wrong, pattern_byte(old->seed, wrong), bytes[wrong]);
}

static void verify_zero(struct executor *ex, uint32_t name)
{
    struct block *block = &ex->table.blocks[name];
    const unsigned char *bytes = (const unsigned char *)block->address;
    size_t tail = block->size > PATTERN_WHOLE ? block->size - PATTERN_END : 0;
    size_t head = tail ? PATTERN_END : block->size;
    size_t wrong = first_other_byte(bytes, head, 0);
    if (wrong == head && tail)
        wrong = tail + first_other_byte(bytes + tail, PATTERN_END, 0);
    if (wrong < block->size && block->filled)
        note_bytes(ex, DAMAGE_ZEROED, name, wrong, 0, bytes[wrong]);
}

static void fill(struct executor *ex, uint32_t name)
{
    struct block *block = &ex->table.blocks[name];
    if (!block->filled)
        return;
    block->seed = ex->plain ? 0 : pattern_seed(name, block->generation++);
    pattern_fill((unsigned char *)block->address, block->filled, block->seed);
}

/* ---- granting ---- */

static int in_memory(const struct executor *ex, uint64_t address, uint64_t size)
{
    return store_contains(&ex->store, (const char *)address, size)
           || snapshot_contains(&ex->snapshot, (const char *)address, size);
}

/* Takes a granted block into the table: asks for its usable size, decides what may be written. */
static void admit(struct executor *ex, const struct op *op, struct observation *seen,
                  void *address, uint64_t size)
{
    struct block *block = &ex->table.blocks[op->name];
    seen->address = (uint64_t)address;
    if (ex->subject->usable_size)
        seen->usable = ex->subject->usable_size(address);
    *block = (struct block){ .address = (uint64_t)address, .size = size };
    int outside = size && ex->config->memory_known && !in_memory(ex, block->address, size);
    if (outside)
        seen->flags |= SEEN_OUTSIDE;
    if (!size || outside || size > ADDRESS_SPACE || block->address + size > ADDRESS_SPACE)
        seen->flags |= SEEN_UNFILLED;
    else
        block->filled = ex->config->usable_writable && seen->usable > size ? seen->usable : size;
    if (block->filled > size && ex->config->memory_known
        && !in_memory(ex, block->address, block->filled)) {
        seen->flags |= SEEN_OUTSIDE;
        block->filled = size;
    }
    if (block_table_add(&ex->table, block))
        seen->flags |= SEEN_SAME_START;
    tripwire_grant(ex, op, seen, size);
    if (size != OVERFLOWED && size > ex->largest)
        ex->largest = size;
    if (ex->table.live == 1 && size != OVERFLOWED && size > ex->largest_on_empty)
        ex->largest_on_empty = size;
}

/* ---- calling the subject ---- */

static void before_call(struct executor *ex)
{
    ex->run->stage = STAGE_CALL;
    *ex->error = ERRNO_UNTOUCHED;
}

static void after_call(struct executor *ex, struct observation *seen)
{
    int error = *ex->error;
    ex->calls++;
    ex->run->stage = STAGE_TOUCH;
    seen->flags |= SEEN_RETURNED | ex->store.seen;
    if (error != ERRNO_UNTOUCHED) {
        seen->flags |= SEEN_ERRNO;
        seen->error = error;
    }
}

static void skip(struct observation *seen)
{
    seen->flags |= SEEN_SKIPPED;
}

/* Bytes that an allocating operation asks for; UINT64_MAX when a calloc product overflows. */
static uint64_t requested_bytes(const struct op *op)
{
    uint64_t size;
    if (op->kind == OP_MALLOC)
        return op->first;
    if (op->kind == OP_CALLOC)
        return __builtin_mul_overflow(op->first, op->second, &size) ? OVERFLOWED : size;
    return op->second;
}

/* Calls the function of an allocation that takes no block; 0 if the subject has not got it. */
static int call_allocation(struct executor *ex, const struct op *op, void **address, int *result)
{
    const struct subject *subject = ex->subject;
    before_call(ex);
    switch (op->kind) {
    case OP_MALLOC:
        *address = subject->malloc(op->first);
        return 1;
    case OP_CALLOC:
        return subject->calloc ? (*address = subject->calloc(op->first, op->second), 1) : 0;
    case OP_ALIGNED_ALLOC:
        if (!subject->aligned_alloc)
            return 0;
        *address = subject->aligned_alloc(op->first, op->second);
        return 1;
    case OP_MEMALIGN:
        if (!subject->memalign)
            return 0;
        *address = subject->memalign(op->first, op->second);
        return 1;
    default:
        if (!subject->posix_memalign)
            return 0;
        *result = subject->posix_memalign(address, op->first, op->second);
        if (*result)
            *address = NULL;
        return 1;
    }
}

static void run_allocation(struct executor *ex, const struct op *op, struct observation *seen)
{
    void *address = NULL;
    int result = 0;
    uint64_t size = requested_bytes(op);
    if (!call_allocation(ex, op, &address, &result)) {
        skip(seen);
        return;
    }
    after_call(ex, seen);
    if (op->kind == OP_POSIX_MEMALIGN)
        seen->error = result;
    if (!address) {
        tripwire_failure(ex, op, seen, size);
        return;
    }
    admit(ex, op, seen, address, size);
    if (op->kind == OP_CALLOC)
        verify_zero(ex, op->name);
    fill(ex, op->name);
}

static struct block *live_block(struct executor *ex, uint64_t name)
{
    if (name >= ex->table.capacity || ex->table.blocks[name].state != BLOCK_LIVE)
        return NULL;
    return &ex->table.blocks[name];
}

static void drop(struct executor *ex, struct block *block, enum block_state state)
{
    if (ex->states.counters)
        states_freed(&ex->states, block->address, block->size);
    block_table_remove(&ex->table, block, state);
}

static void run_realloc_of_null(struct executor *ex, const struct op *op, struct observation *seen)
{
    before_call(ex);
    void *address = ex->subject->realloc(NULL, op->second);
    after_call(ex, seen);
    if (!address) {
        tripwire_failure(ex, op, seen, op->second);
        return;
    }
    admit(ex, op, seen, address, op->second);
    fill(ex, op->name);
}

/* What became of the old block when realloc returned NULL. */
static void after_failed_realloc(struct executor *ex, const struct op *op,
                                 const struct observation *seen, struct block *old)
{
    uint32_t zero = ex->config->realloc_zero;
    if (op->second == 0 && (zero == REALLOC_ZERO_FREE || zero == REALLOC_ZERO_UNIQUE)) {
        drop(ex, old, BLOCK_DEAD);
        return;
    }
    if (op->second)
        tripwire_failure(ex, op, seen, op->second);
    verify(ex, (uint32_t)op->first, DAMAGE_SURVIVAL);
}

static void run_realloc(struct executor *ex, const struct op *op, struct observation *seen)
{
    const struct config *config = ex->config;
    struct block *old = live_block(ex, op->first);
    int from_null = op->first == NIL;
    if (!ex->subject->realloc || (!from_null && !old) || (from_null && !config->realloc_null)
        || (op->second == 0 && config->realloc_zero == REALLOC_ZERO_NEVER)) {
        skip(seen);
        return;
    }
    if (from_null) {
        run_realloc_of_null(ex, op, seen);
        return;
    }
    verify(ex, (uint32_t)op->first, DAMAGE_CONTENT);
    before_call(ex);
    void *address = ex->subject->realloc((void *)old->address, op->second);
    after_call(ex, seen);
    if (!address) {
        after_failed_realloc(ex, op, seen, old);
        return;
    }
    struct block before = *old;
    drop(ex, old, BLOCK_DEAD);
    trip_if(ex, !op->second && config->realloc_zero != REALLOC_ZERO_UNIQUE);
    admit(ex, op, seen, address, op->second);
    if (!before.damaged)
        verify_prefix(ex, op->name, &before);
    fill(ex, op->name);
}

static void free_block(struct executor *ex, uint32_t name, struct observation *seen)
{
    struct block *block = &ex->table.blocks[name];
    verify(ex, name, DAMAGE_CONTENT);
    if (ex->plain)
        memset((void *)block->address, WIPED, block->filled);
    before_call(ex);
    ex->subject->free((void *)block->address);
    after_call(ex, seen);
    trip_if(ex, ex->config->free_preserves_errno && (seen->flags & SEEN_ERRNO));
    drop(ex, block, BLOCK_FREED);
}

static void run_free(struct executor *ex, const struct op *op, struct observation *seen)
{
    if (op->first == NIL && ex->config->free_null && ex->subject->free) {
        before_call(ex);
        ex->subject->free(NULL);
        after_call(ex, seen);
        trip_if(ex, ex->config->free_preserves_errno && (seen->flags & SEEN_ERRNO));
    } else if (ex->subject->free && live_block(ex, op->first)) {
        free_block(ex, (uint32_t)op->first, seen);
    } else {
        skip(seen);
    }
}

static void run_free_all(struct executor *ex, struct observation *seen)
{
    if (!ex->subject->free) {
        skip(seen);
        return;
    }
    for (uint32_t name = 0; name < ex->table.used; name++)
        if (ex->table.blocks[name].state == BLOCK_LIVE)
            free_block(ex, name, seen);
    seen->flags |= SEEN_RETURNED;
}

static void run_write(struct executor *ex, const struct op *op, struct observation *seen)
{
    if (!live_block(ex, op->first)) {
        skip(seen);
        return;
    }
    verify(ex, (uint32_t)op->first, DAMAGE_CONTENT);
    fill(ex, (uint32_t)op->first);
    seen->flags |= SEEN_RETURNED;
}

/* The misuses run only where detection is promised, and a return is what the rule forbids.  What
 * lies behind a block, or at its start, may be the address of a block. */
static int misuse_is_detected(const struct executor *ex, const struct op *op,
                              const struct block *block)
{
    const struct config *config = ex->config;
    int is_gone = block->state == BLOCK_FREED && block->freed_at == ex->table.granted;
    if (op->kind == OP_DOUBLE_FREE)
        return config->detects_double_free && ex->subject->free && is_gone;
    if (op->kind == OP_REALLOC_FREED)
        return config->detects_realloc_freed && ex->subject->realloc && is_gone
               && (op->second || config->realloc_zero != REALLOC_ZERO_NEVER);
    return config->detects_interior_free && ex->subject->free && block->state == BLOCK_LIVE
           && op->second && op->second < block->size;
}

static void run_misuse(struct executor *ex, const struct op *op, struct observation *seen)
{
    int named = op->first < ex->table.capacity;
    const struct block *block = named ? &ex->table.blocks[op->first] : NULL;
    if (!block || !misuse_is_detected(ex, op, block)) {
        skip(seen);
        return;
    }
    before_call(ex);
    if (op->kind == OP_REALLOC_FREED)
        ex->subject->realloc((void *)block->address, op->second);
    else
        ex->subject->free((char *)block->address + op->second);
    after_call(ex, seen);
    ex->run->suspicious = 1;
}

static void run_deny(struct executor *ex, const struct op *op, struct observation *seen)
{
    ex->store.deny_all = op->first == NIL;
    ex->store.deny_countdown = op->first == NIL ? 0 : op->first;
    seen->flags |= SEEN_RETURNED;
}

static void run_thread(struct executor *ex, const struct op *op, struct observation *seen)
{
    if (!ex->config->threads || op->first >= THREADS) {
        skip(seen);
        return;
    }
    ex->thread = (uint32_t)op->first;
    seen->flags |= SEEN_RETURNED;
}

static void run_end_thread(struct executor *ex, const struct op *op, struct observation *seen)
{
    if (!threads_alive(&ex->threads, op->first)) {
        skip(seen);
        return;
    }
    ex->run->stage = STAGE_CALL;
    operation_end_thread(ex, (uint32_t)op->first);
    ex->calls++;
    ex->run->stage = STAGE_TOUCH;
    seen->flags |= SEEN_RETURNED | ex->store.seen;
}

void operation_end_thread(struct executor *ex, uint32_t number)
{
    if (ex->thread == number)
        ex->thread = 0;
    struct departure departure = threads_end(&ex->threads, number, ex->subject->thread_ends);
    if (departure.outcome != OUTCOME_FINISHED)
        guard_leave_as(&departure);
}

static void execute(struct executor *ex, const struct op *op, struct observation *seen)
{
    if (op->name != NO_NAME) {
        if (op->name >= ex->table.capacity) {
            skip(seen);
            return;
        }
        if (op->name >= ex->table.used)
            ex->table.used = op->name + 1;
    }
    switch (op->kind) {
    case OP_MALLOC:
    case OP_CALLOC:
    case OP_ALIGNED_ALLOC:
    case OP_MEMALIGN:
    case OP_POSIX_MEMALIGN:
        run_allocation(ex, op, seen);
        break;
    case OP_REALLOC:
        run_realloc(ex, op, seen);
        break;
    case OP_FREE:
        run_free(ex, op, seen);
        break;
    case OP_WRITE:
        run_write(ex, op, seen);
        break;
    case OP_DENY:
        run_deny(ex, op, seen);
        break;
    case OP_FOREIGN:
        if (ex->config->foreign && store_foreign(&ex->store, op->first))
            seen->flags |= SEEN_RETURNED;
        else
            skip(seen);
        break;
    case OP_FREE_ALL:
        run_free_all(ex, seen);
        break;
    case OP_DOUBLE_FREE:
    case OP_INTERIOR_FREE:
    case OP_REALLOC_FREED:
        run_misuse(ex, op, seen);
        break;
    case OP_THREAD:
        run_thread(ex, op, seen);
        break;
    case OP_END_THREAD:
        run_end_thread(ex, op, seen);
        break;
    default:
        skip(seen);
    }
}

void operation_run(struct executor *ex, const struct op *op, struct observation *seen)
{
    execute(ex, op, seen);
    ex->was_refused |= (ex->store.seen & SEEN_REFUSED) != 0;
    tripwire_settle(ex, op, seen);
}

int operation_may_abort(const struct executor *ex, const struct op *op)
{
    return (op->kind == OP_DOUBLE_FREE && ex->config->detects_double_free)
           || (op->kind == OP_INTERIOR_FREE && ex->config->detects_interior_free)
           || (op->kind == OP_REALLOC_FREED && ex->config->detects_realloc_freed);
}

void operation_verify_all(struct executor *ex)
{
    for (uint32_t name = 0; name < ex->table.used; name++)
        if (ex->table.blocks[name].state == BLOCK_LIVE)
            verify(ex, name, DAMAGE_CONTENT);
}

void operation_free_live(struct executor *ex)
{
    ex->run->stage = STAGE_CALL;
    for (uint32_t name = 0; name < ex->table.used; name++) {
        struct block *block = &ex->table.blocks[name];
        if (ex->subject->free && block->state == BLOCK_LIVE) {
            block_table_remove(&ex->table, block, BLOCK_FREED);
            ex->subject->free((void *)block->address);
        }
    }
}
