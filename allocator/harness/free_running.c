/* A thread that does not come back ends the process: what it left behind is in the region. */
#define _GNU_SOURCE
#include "free_running.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guard.h"
#include "pattern.h"
#include "race.h"

/* ---- the store, for one thread at a time ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct host bare;

#define LOCKED(type, call)             \
    do {                               \
        pthread_mutex_lock(&lock);     \
        type result = bare.call;       \
        pthread_mutex_unlock(&lock);   \
        return result;                 \
    } while (0)

static void *locked_sbrk(void *context, intptr_t increment)
{
    LOCKED(void *, sbrk(context, increment));
}

static int locked_brk(void *context, void *end)
{
    LOCKED(int, brk(context, end));
}

static void *locked_mmap(void *context, void *address, size_t size, int protection, int flags,
                         int file, off_t offset)
{
    LOCKED(void *, mmap(context, address, size, protection, flags, file, offset));
}

static int locked_munmap(void *context, void *address, size_t size)
{
    LOCKED(int, munmap(context, address, size));
}

static void *locked_mremap(void *context, void *address, size_t old_size, size_t new_size,
                           int flags, void *new_address)
{
    LOCKED(void *, mremap(context, address, old_size, new_size, flags, new_address));
}

static int locked_madvise(void *context, void *address, size_t size, int advice)
{
    LOCKED(int, madvise(context, address, size, advice));
}

static int locked_mprotect(void *context, void *address, size_t size, int protection)
{
    LOCKED(int, mprotect(context, address, size, protection));
}

static void lock_store(struct store *store)
{
    bare = store->host;
    store->host.sbrk = locked_sbrk;
    store->host.brk = locked_brk;
    store->host.mmap = locked_mmap;
    store->host.munmap = locked_munmap;
    store->host.mremap = locked_mremap;
    store->host.madvise = locked_madvise;
    store->host.mprotect = locked_mprotect;
}

/* ---- what the race asks of us ---- */

static int inside(void *context, uint64_t address, uint64_t size)
{
    struct executor *ex = context;
    pthread_mutex_lock(&lock);
    int answer = store_contains(&ex->store, (const char *)address, size)
                 || snapshot_contains(&ex->snapshot, (const char *)address, size);
    pthread_mutex_unlock(&lock);
    return answer;
}

static void deny(void *context, uint64_t count)
{
    struct executor *ex = context;
    pthread_mutex_lock(&lock);
    ex->store.deny_all = count == NIL;
    ex->store.deny_countdown = count == NIL ? 0 : count;
    pthread_mutex_unlock(&lock);
}

static int foreign(void *context, uint64_t size)
{
    struct executor *ex = context;
    pthread_mutex_lock(&lock);
    int answer = store_foreign(&ex->store, size);
    pthread_mutex_unlock(&lock);
    return answer;
}

/* Who departs first is written down, and ends the process. */
static void live(void *context, void (*part)(void *), void *argument, const uint32_t *at)
{
    struct executor *ex = context;
    static _Atomic int gone;
    guard_use_signal_stack(NULL);
    struct departure departure = guard_part(part, argument);
    if (departure.outcome == OUTCOME_FINISHED)
        return;
    while (atomic_exchange(&gone, 1))
        pause();
    struct run *run = ex->run;
    run->signal = departure.signal;
    run->fault = departure.fault;
    run->exit_status = departure.exit_status;
    run->suspicious = 1;
    if (*at < run->op_count)
        ex->observations[*at].flags |= SEEN_LEFT;
    run->outcome = departure.outcome;
    _exit(0);
}

/* What the sandbox would find out too, later. */
static void stuck(void *context)
{
    struct executor *ex = context;
    ex->run->signal = SIGKILL;
    ex->run->suspicious = 1;
    ex->run->outcome = OUTCOME_HANG;
    _exit(0);
}

/* What happened in the order of its stamps, once more: does a block share bytes with a live one? */
static int any_overlap(struct executor *ex)
{
    const struct run *run = ex->run;
    uint32_t *events = calloc(2 * (size_t)run->op_count + 2, sizeof *events);
    int found = 0;
    for (uint32_t i = 0; events && i < run->op_count; i++) {
        uint64_t stamps = ex->observations[i].granted;
        if ((uint32_t)stamps)
            events[(uint32_t)stamps] = i + 1;
        if (stamps >> 32)
            events[stamps >> 32] = i + 1;
    }
    block_table_reset(&ex->table);
    for (uint32_t at = 1; events && at < 2 * run->op_count + 2; at++) {
        if (!events[at])
            continue;
        const struct op *op = &ex->ops[events[at] - 1];
        const struct observation *seen = &ex->observations[events[at] - 1];
        if (seen->granted >> 32 == at) {
            struct block *old = &ex->table.blocks[op->first];
            if (old->state == BLOCK_LIVE)
                block_table_remove(&ex->table, old, BLOCK_FREED);
        } else if (!(seen->flags & SEEN_UNFILLED)) {
            struct block *block = &ex->table.blocks[op->name];
            uint64_t size = op->kind == OP_MALLOC ? op->first : op->second;
            size = op->kind == OP_CALLOC ? op->first * op->second : size;
            *block = (struct block){ .address = seen->address, .size = size };
            found |= block_table_add(&ex->table, block);
            if (op->name >= ex->table.used)
                ex->table.used = op->name + 1;
        }
    }
    free(events);
    return found;
}

static void quiet(struct race *race)
{
    struct executor *ex = race->context;
    struct run *run = race->run;
    if (any_overlap(ex))
        run->suspicious = 1;
    store_check_canaries(&ex->store);
    if (ex->store.damaged)
        race_note(race, DAMAGE_OUTSIDE, run->op_count, NO_NAME)->offset =
            (uint64_t)ex->store.damaged;
    const char *broken = ex->subject->check ? ex->subject->check() : NULL;
    if (!broken)
        return;
    race_note(race, DAMAGE_INVARIANT, run->op_count, NO_NAME);
    strncpy(run->invariant, broken, sizeof run->invariant - 1);
}

void free_running(struct executor *ex)
{
    struct race race = {
        .run = ex->run, .config = ex->config, .ops = ex->ops, .observations = ex->observations,
        .damages = ex->damages, .subject = ex->subject, .calls = &ex->calls, .context = ex,
        .inside = inside, .deny = deny, .foreign = foreign, .live = live, .stuck = stuck,
        .quiet = quiet,
        .disturbed = 1,
    };
    if (race_names(&race) > ex->table.capacity)
        abort();
    lock_store(&ex->store);
    ex->run->stage = STAGE_CALL;
    ex->run->done = ex->run->op_count;
    race_run(&race);
    ex->run->stage = STAGE_END;
}
