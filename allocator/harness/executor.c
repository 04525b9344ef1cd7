/* One run: restore, init, the operations, the check at the end, all under the guard.  What an
 * operation does is in operations.c. */
#include "executor.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "enumerate.h"
#include "free_running.h"
#include "guard.h"
#include "operations.h"
#include "tripwire.h"

/* ---- a run ---- */

static void check_invariant(struct executor *ex)
{
    struct run *run = ex->run;
    if (!ex->subject->check || run->invariant[0])
        return;
    run->stage = STAGE_CALL;
    const char *broken = ex->subject->check();
    if (!broken)
        return;
    operation_note_damage(ex, DAMAGE_INVARIANT, NO_NAME);
    strncpy(run->invariant, broken, sizeof run->invariant - 1);
}

/* A library that starts itself may take a lot for that, and need not survive without: it has the
 * default at least. */
static uint64_t store_of(const struct executor *ex)
{
    uint64_t asked = ex->run->store_size, usual = ex->config->default_store;
    return !asked || (ex->subject->start && asked < usual) ? usual : asked;
}

static void begin(void *argument)
{
    struct executor *ex = argument;
    struct run *run = ex->run;
    run->stage = STAGE_RESTORE;
    guard_leave_copy();
    guard_forget_subject();
    threads_forget(&ex->threads);
    ex->thread = 0;
    snapshot_restore(&ex->snapshot);
    if (ex->dirty)
        store_scrub(&ex->store);
    ex->dirty = 1;
    store_reset(&ex->store, store_of(ex));
    block_table_reset(&ex->table);
    states_reset(&ex->states);
    ex->error = &errno;
    ex->largest = ex->largest_on_empty = 0;
    ex->was_refused = 0;
    ex->doubt = DOUBT_NONE;
    run->stage = STAGE_INIT;
    if (ex->subject->start)
        ex->subject->start();
    if (ex->subject->init)
        run->exit_status = ex->subject->init(ex->store.arena, ex->store.arena_size);
}

static void step(void *argument)
{
    struct executor *ex = argument;
    struct run *run = ex->run;
    const struct op *op = &ex->ops[run->done];
    struct observation *seen = &ex->observations[run->done];
    *seen = (struct observation){ 0 };
    ex->store.seen = 0;
    operation_run(ex, op, seen);
    seen->granted = ex->store.granted;
    tripwire_held(ex, op, seen);
    if (ex->states.counters)
        states_bump(&ex->states, op, seen);
    if (run->switches & RUN_CHECK_EACH)
        check_invariant(ex);
    guard_leave_copy();
    run->done++;
}

/* Takes over from one thread to the next: an operation that says where to go on is done here. */
static int is_for_us(const struct op *op)
{
    return op->kind == OP_THREAD || op->kind == OP_END_THREAD;
}

static void steps(void *argument)
{
    struct executor *ex = argument;
    const struct run *run = ex->run;
    ex->error = &errno;
    do
        step(ex);
    while (run->done < run->op_count && !is_for_us(&ex->ops[run->done]));
}

static void one_step(void *argument)
{
    struct executor *ex = argument;
    ex->error = &errno;
    step(ex);
}

/* Does a part on the thread whose turn it is. */
static void on_thread(struct executor *ex, void (*part)(void *))
{
    if (!ex->thread) {
        part(ex);
        return;
    }
    struct departure departure = threads_call(&ex->threads, ex->thread, part, ex);
    if (departure.outcome != OUTCOME_FINISHED)
        guard_leave_as(&departure);
}

static void step_on_thread(void *argument)
{
    struct executor *ex = argument;
    if (is_for_us(&ex->ops[ex->run->done]))
        step(ex);
    else
        on_thread(ex, one_step);
}

static void end_threads(struct executor *ex)
{
    ex->run->stage = STAGE_CALL;
    for (uint32_t number = 1; number < THREADS; number++)
        if (threads_alive(&ex->threads, number))
            operation_end_thread(ex, number);
}

static void end(void *argument)
{
    struct executor *ex = argument;
    end_threads(ex);
    operation_verify_all(ex);
    store_check_canaries(&ex->store);
    if (ex->store.damaged)
        operation_note_damage(ex, DAMAGE_OUTSIDE, NO_NAME)->offset = (uint64_t)ex->store.damaged;
    if (ex->run->switches & (RUN_CHECK_END | RUN_CHECK_EACH))
        check_invariant(ex);
    if (!ex->config->memory_known && !ex->subject->inside)
        operation_free_live(ex);
    ex->run->stage = STAGE_END;
    ex->dirty = ex->run->suspicious != 0;
}

static void whole(void *argument)
{
    struct executor *ex = argument;
    begin(ex);
    if (ex->subject->init && ex->run->exit_status)
        return;
    while (ex->run->done < ex->run->op_count)
        if (is_for_us(&ex->ops[ex->run->done]))
            step(ex);
        else
            on_thread(ex, steps);
    end(ex);
}

static void whole_race(void *argument)
{
    struct executor *ex = argument;
    begin(ex);
    if (!ex->subject->init || !ex->run->exit_status)
        free_running(ex);
}

/* Runs a part under the guard and writes down how it ended. */
static void guarded(struct executor *ex, void (*part)(void *))
{
    struct run *run = ex->run;
    struct departure departure = guard_call(part, ex, run->cpu_limit_ms, &ex->calls);
    if (departure.outcome == OUTCOME_FINISHED) {
        if (run->stage == STAGE_INIT && run->exit_status)
            departure.outcome = OUTCOME_INIT;
    } else if (departure.outcome == OUTCOME_ABORT && run->stage == STAGE_CALL
               && operation_may_abort(ex, &ex->ops[run->done])) {
        ex->observations[run->done].flags |= SEEN_LEFT;
        ex->dirty = run->suspicious != 0;
    } else {
        run->signal = departure.signal;
        run->fault = departure.fault;
        run->exit_status = departure.exit_status;
        if (run->done < run->op_capacity && run->stage != STAGE_INIT)
            ex->observations[run->done].flags |= SEEN_LEFT | ex->store.seen;
        run->suspicious = 1;
    }
    run->outcome = departure.outcome;
}

static void clear_result(struct executor *ex)
{
    struct run *run = ex->run;
    run->done = run->stage = run->outcome = run->damage_count = run->suspicious = 0;
    run->signal = run->exit_status = 0;
    run->fault = 0;
    run->invariant[0] = run->assertion[0] = 0;
    run->runs++;
    ex->observations[0] = (struct observation){ 0 };
}

static void run_as_child(struct executor *ex)
{
    guard_continue_in_copy();
    executor_confine(ex);
    guarded(ex, ex->run->switches & RUN_RACE ? whole_race : whole);
    _exit(0);
}

/* In a child made for this run, whose end is the run's.  This process must not be confined. */
static void run_forked(struct executor *ex)
{
    struct run *run = ex->run;
    pid_t child = fork();
    if (!child)
        run_as_child(ex);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || !run->outcome) {
        run->outcome = WIFEXITED(status) ? OUTCOME_EXIT : OUTCOME_SIGNAL;
        run->signal = WIFEXITED(status) ? 0 : WTERMSIG(status);
        run->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
        run->suspicious = 1;
        if (run->done < run->op_capacity)
            ex->observations[run->done].flags |= SEEN_LEFT;
    }
}

void executor_run(struct executor *ex)
{
    clear_result(ex);
    if (ex->config->forks)
        run_forked(ex);
    else
        guarded(ex, whole);
}

int executor_forks(const struct executor *ex)
{
    return ex->config->forks;
}

void executor_begin(struct executor *ex)
{
    clear_result(ex);
    guarded(ex, begin);
}

void executor_step(struct executor *ex)
{
    guarded(ex, step_on_thread);
}

void executor_end(struct executor *ex)
{
    guarded(ex, end);
}

/* ---- searching ---- */

uint32_t executor_run_bytes(struct executor *ex, const struct decoder *decoder,
                            const uint8_t *data, size_t size)
{
    struct run *run = ex->run;
    run->op_count = (uint32_t)decoder->ops(data, size, ex->ops, run->op_capacity, decoder->limits);
    run->store_size = decoder->store(data, size, decoder->limits);
    executor_run(ex);
    return run->suspicious;
}

static uint64_t mixed(uint64_t x) /* splitmix64 */
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* The state starts at a mixed seed: were it a multiple of the step, the next seed's program would
 * be this one's, eight bytes further on. */
static void random_bytes(uint8_t *out, size_t length, uint64_t seed)
{
    uint64_t state = mixed(seed + UINT64_C(0x9e3779b97f4a7c15));
    for (size_t i = 0; i < length; i += 8) {
        uint64_t x = mixed(state += UINT64_C(0x9e3779b97f4a7c15));
        memcpy(out + i, &x, length - i < 8 ? length - i : 8);
    }
}

uint64_t executor_search(struct executor *ex, const struct decoder *decoder, uint64_t seed,
                         uint64_t count, size_t length)
{
    if (length > ex->program_capacity) {
        free(ex->program);
        ex->program = malloc(length);
        ex->program_capacity = ex->program ? length : 0;
    }
    if (!ex->program)
        return 0;
    for (uint64_t i = 0; i < count; i++) {
        random_bytes(ex->program, length, seed + i);
        if (executor_run_bytes(ex, decoder, ex->program, length))
            return i + 1;
    }
    return count;
}

/* ---- opening and closing ---- */

static void subject_exit(void *context, int status)
{
    (void)context;
    guard_exit(status);
}

static void subject_abort(void *context)
{
    (void)context;
    guard_abort();
}

static void subject_assertion(void *context, const char *text, const char *file, unsigned line)
{
    struct executor *ex = (void *)((char *)context - offsetof(struct executor, store));
    const char *name = strrchr(file, '/');
    snprintf(ex->run->assertion, sizeof ex->run->assertion, "%s:%u: %s",
             name ? name + 1 : file, line, text);
}

static void subject_forbidden(void *context, long call)
{
    (void)context;
    guard_forbidden(call);
}

static int subject_action(void *context, int number, const struct sigaction *action,
                          struct sigaction *old)
{
    (void)context;
    return guard_subject_action(number, action, old);
}

static int subject_mask(void *context, int how, const sigset_t *set, sigset_t *old)
{
    (void)context;
    return guard_subject_mask(how, set, old);
}

static void locate(struct executor *ex)
{
    char *at = (char *)ex->run + REGION_HEADER;
    size_t capacity = ex->run->op_capacity;
    ex->ops = (struct op *)at;
    ex->observations = (struct observation *)(at + capacity * sizeof(struct op));
    ex->damages = (struct damage *)(ex->observations + capacity);
}

static const char *prepare(struct executor *ex)
{
    struct subject *subject = ex->subject;
    struct store *store = &ex->store;
    if (subject->version != SUBJECT_VERSION || ex->run->version != LAYOUT_VERSION)
        return "built for another version of the executor: clear the build cache";
    if (block_table_open(&ex->table, ex->run->op_capacity) || store_open(store, ex->config->arena))
        return "no memory for the executor";
    store->host.exit = subject_exit;
    store->host.abort = subject_abort;
    store->host.assertion = subject_assertion;
    store->host.forbidden = subject_forbidden;
    store->host.sigaction = subject_action;
    store->host.signal_mask = subject_mask;
    const char *problem = subject->bind ? subject->bind(&store->host) : NULL;
    if (problem)
        return problem;
    if (!subject->malloc)
        return "the subject has no malloc";
    if (snapshot_add(&ex->snapshot, subject, (char *)subject->counters_start,
                     (char *)subject->counters_end))
        return "the subject's writable segments cannot be copied";
    if (subject->inside && snapshot_add(&ex->snapshot, subject->inside, NULL, NULL))
        return "the library's writable segments cannot be copied";
    ex->run->memory_known = ex->config->memory_known;
    ex->run->store_base = (uint64_t)store->base;
    ex->run->maps_base = (uint64_t)store->maps;
    ex->run->arena_base = (uint64_t)store->arena;
    ex->run->arena_size = store->arena_size;
    return NULL;
}

struct executor *executor_open(struct run *region, struct subject *subject, const char **error)
{
    struct executor *ex = calloc(1, sizeof *ex);
    *error = "no memory for the executor";
    if (!ex)
        return NULL;
    ex->run = region;
    ex->config = (const struct config *)(region + 1);
    ex->subject = subject;
    locate(ex);
    *error = prepare(ex);
    if (*error) {
        free(ex);
        return NULL;
    }
    guard_bind(&ex->store.host);
    guard_install();
    return ex;
}

void executor_confine(struct executor *ex)
{
    struct code code[2];
    int count = snapshot_find_code(ex->subject, &code[0]);
    if (ex->subject->inside)
        count += snapshot_find_code(ex->subject->inside, &code[count]);
    confine_calls(code, count);
}

size_t executor_walk(struct executor *ex, struct heap_block *blocks, size_t capacity)
{
    return ex->subject->walk ? ex->subject->walk(blocks, capacity) : 0;
}

void executor_count_states(struct executor *ex, uint8_t *counters)
{
    ex->states.counters = counters;
}

void executor_close(struct executor *ex)
{
    enumeration_close(ex);
    threads_close(&ex->threads);
    block_table_close(&ex->table);
    store_close(&ex->store);
    snapshot_free(&ex->snapshot);
    free(ex->program);
    free(ex);
}
