/* Runs one trace on an allocator and on the C library's malloc, with no checks.
 *
 *      bench_textbook {SUBJECT.so | -} TRACE ARENA PAIRS SECONDS
 *
 * The trace is a file of struct op whose names number a small table of blocks; a name may be made
 * again.  A subject gets ARENA bytes of arena, and its pages from bench_pages.h.  Each run is
 * a process of its own, so that each heap starts empty and nothing has to be put back.  First the
 * subject is weighed; then it and the C library are timed by turns, at most PAIRS times and, after
 * the first time, at most SECONDS.  A run that takes over two seconds is given up.  A run's seconds
 * are CPU time.
 *
 * Pages are there when a timed run begins, see bench_pages.h: those that the subject held when it
 * was weighed, and for the C library a heap as large, which it is told not to trim.
 *
 * It prints {"heap": bytes, "requests": n, "subject": [seconds, ...], "peer": [seconds, ...]}; heap
 * is the most that the page source had granted at any time, requests how often it was called.  For
 * "-" heap is what the C library held, by mallinfo, and there is nothing else.  Where a run does
 * not come to its end it prints {"error": "..."} and ends with status 1; 2 is for what is wrong
 * with the words.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench_pages.h"
#include "layout.h"

enum { PAIRS_MOST = 1000, RUN_SECONDS = 2, STATUS_REFUSED = 3, STATUS_INIT = 4 };

struct trace {
    const struct op *ops;
    size_t count;
    size_t names;
};

/* What a run leaves behind; shared with the process that it runs in. */
struct result {
    double seconds;
    struct peak peak;
};

static struct pages pages;
static char *arena;
static size_t arena_size;
static struct result *result;

static double now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* ---- a run ---- */

static void leave(void *context, int status)
{
    (void)context;
    _exit(status);
}

static void *allocate(const struct subject *subject, const struct op *op, void **blocks)
{
    switch (op->kind) {
    case OP_MALLOC:
        return subject->malloc(op->first);
    case OP_CALLOC:
        return subject->calloc(op->first, op->second);
    case OP_REALLOC:
        return subject->realloc(blocks[op->first], op->second);
    default:
        return subject->aligned_alloc(op->first, op->second);
    }
}

/* Blocks are touched where they start, as whoever asked for one would. */
static void run_trace(const struct subject *subject, const struct trace *trace, void **blocks)
{
    for (const struct op *op = trace->ops; op < trace->ops + trace->count; op++) {
        if (op->kind == OP_FREE) {
            subject->free(blocks[op->first]);
            continue;
        }
        char *block = allocate(subject, op, blocks);
        if (!block)
            _exit(STATUS_REFUSED);
        *block = 1;
        blocks[op->name] = block;
    }
}

/* The same on the C library, which is asked after each operation what it holds. */
static void weigh_library(const struct subject *library, const struct trace *trace, void **blocks)
{
    for (size_t i = 0; i < trace->count; i++) {
        run_trace(library, &(struct trace){ trace->ops + i, 1, trace->names }, blocks);
        struct mallinfo info = mallinfo();
        size_t held = (size_t)(unsigned)info.arena + (size_t)(unsigned)info.hblkhd;
        result->peak.granted = larger(result->peak.granted, held);
    }
}

/* ---- pages that are there ---- */

static void ready_subject(const struct peak *weighed)
{
    make_ready(pages.base, weighed->break_at);
    make_ready(pages.maps, weighed->maps_at);
    make_ready(arena, arena_size);
}

static void ready_library(const struct peak *weighed)
{
    size_t size = larger(weighed->granted, arena_size) + ((size_t)1 << 20);
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    char *all = malloc(size);
    if (!all)
        _exit(STATUS_INIT);
    make_ready(all, size);
    free(all);
}

/* ---- a run in a process of its own ---- */

struct plan {
    const struct subject *subject;
    void (*run)(const struct subject *, const struct trace *, void **);
    void (*ready)(const struct peak *weighed); /* NULL: as it comes */
};

static _Noreturn void run_here(const struct plan *plan, const struct trace *trace)
{
    struct peak weighed = result->peak;
    result->peak = (struct peak){ 0 };
    setitimer(ITIMER_PROF, &(struct itimerval){ .it_value.tv_sec = RUN_SECONDS }, NULL);
    size_t size = (trace->names + 1) * sizeof(void *);
    void **blocks = mmap(NULL, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (plan->ready)
        plan->ready(&weighed);
    const struct subject *subject = plan->subject;
    if (blocks == MAP_FAILED || (subject->init && subject->init(arena, arena_size)))
        _exit(STATUS_INIT);
    double start = now(CLOCK_THREAD_CPUTIME_ID);
    plan->run(subject, trace, blocks);
    result->seconds = now(CLOCK_THREAD_CPUTIME_ID) - start;
    _exit(0);
}

/* NULL, or why the trace did not come to its end. */
static const char *run_alone(const struct plan *plan, const struct trace *trace)
{
    fflush(stdout);
    pid_t child = fork();
    if (child < 0)
        return "no process to run in";
    if (!child)
        run_here(plan, trace);
    int status;
    if (waitpid(child, &status, 0) != child)
        return "the process it ran in is gone";
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGPROF ? "too slow" : "crashed";
    if (WEXITSTATUS(status) == STATUS_REFUSED)
        return "a request was refused";
    return WEXITSTATUS(status) ? "did not start, or left" : NULL;
}

/* ---- what is run ---- */

static bool read_trace(const char *path, struct trace *trace)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END))
        return false;
    size_t size = (size_t)ftell(file);
    rewind(file);
    struct op *ops = mmap(NULL, size + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                          0);
    bool whole = ops != MAP_FAILED && fread(ops, 1, size, file) == size;
    fclose(file);
    *trace = (struct trace){ ops, size / sizeof(struct op), 0 };
    for (size_t i = 0; whole && i < trace->count; i++)
        if (ops[i].kind != OP_FREE && ops[i].name >= trace->names)
            trace->names = (size_t)ops[i].name + 1;
    return whole;
}

static const struct subject library = {
    .malloc = malloc,
    .calloc = calloc,
    .realloc = realloc,
    .aligned_alloc = aligned_alloc,
    .free = free,
};

static const char *load(const char *path, const struct subject **subject)
{
    static struct host host;
    void *loaded = dlopen(path, RTLD_NOW);
    *subject = loaded ? dlsym(loaded, "allocheck_subject") : NULL;
    if (!*subject)
        return "cannot be loaded";
    if (!pages_open(&pages, &result->peak, &host) || !(arena = reserve(arena_size + 1)))
        return "no address space";
    host.exit = leave;
    return (*subject)->bind(&host);
}

static void print_list(const char *name, const double *seconds, size_t count)
{
    printf(", \"%s\": [", name);
    for (size_t i = 0; i < count; i++)
        printf("%s%.9f", i ? ", " : "", seconds[i]);
    printf("]");
}

static int refuse(const char *why)
{
    printf("{\"error\": \"%s\"}\n", why);
    return 1;
}

static int weigh(const struct trace *trace)
{
    const char *why = run_alone(&(struct plan){ &library, weigh_library, NULL }, trace);
    if (why)
        return refuse(why);
    printf("{\"heap\": %zu}\n", result->peak.granted);
    return 0;
}

static int compare(const struct subject *subject, const struct trace *trace, size_t pairs,
                   double seconds)
{
    static double ours[PAIRS_MOST], peers[PAIRS_MOST];
    struct plan weighing = { subject, run_trace, NULL };
    struct plan own = { subject, run_trace, ready_subject };
    struct plan peer = { &library, run_trace, ready_library };
    double end = now(CLOCK_MONOTONIC) + seconds;
    size_t count = 0;
    const char *why = run_alone(&weighing, trace);
    struct peak weighed = result->peak;
    while (!why && count < pairs && (!count || now(CLOCK_MONOTONIC) < end)) {
        result->peak = weighed;
        why = run_alone(&own, trace);
        ours[count] = result->seconds;
        result->peak = weighed;
        if (!why)
            why = run_alone(&peer, trace);
        peers[count++] = result->seconds;
    }
    if (why)
        return refuse(why);
    printf("{\"heap\": %zu, \"requests\": %zu", weighed.granted, weighed.requests);
    print_list("subject", ours, count);
    print_list("peer", peers, count);
    printf("}\n");
    return 0;
}

int main(int count, char **words)
{
    struct trace trace;
    if (count < 6 || !read_trace(words[2], &trace))
        return 2;
    result = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    size_t pairs = (size_t)atol(words[4]);
    if (result == MAP_FAILED || !pairs || pairs > PAIRS_MOST)
        return 2;
    if (!strcmp(words[1], "-"))
        return weigh(&trace);
    arena_size = (size_t)atoll(words[3]);
    const struct subject *subject;
    const char *why = load(words[1], &subject);
    return why ? refuse(why) : compare(subject, &trace, pairs, atof(words[5]));
}
