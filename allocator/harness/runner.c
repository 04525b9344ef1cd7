/* The sandbox's child: loads one subject and runs what the parent asks for, until the parent goes
 * away.  Operations and observations lie in memory shared with the parent, so that a child that
 * dies leaves its journal behind.
 *
 *      runner SUBJECT.so REGION_FD COMMAND_FD REPLY_FD [DECODER.so]
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <unistd.h>

#include "confine.h"
#include "enumerate.h"
#include "executor.h"

enum command_kind { COMMAND_RUN = 1, COMMAND_BEGIN, COMMAND_STEP, COMMAND_END, COMMAND_WALK,
                    COMMAND_SEARCH, COMMAND_ENUMERATE };
enum { LIMITS_CAPACITY = 1024 };
/* The exit status that says: the subject has closed our line to the parent. */
enum { LINE_CUT = 117 };

/* allocator/sandbox.py packs it. */
struct command {
    uint32_t kind;
    uint32_t length; /* search: bytes a program; walk: blocks at most; enumerate: choices, 0 to
                        go on */
    uint64_t seed;   /* ... heaps at most */
    uint64_t count;
    uint8_t limits[LIMITS_CAPACITY];
};

static struct run *map_region(int file, size_t *size)
{
    struct stat status;
    if (fstat(file, &status))
        return NULL;
    *size = (size_t)status.st_size;
    void *region = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    return region == MAP_FAILED ? NULL : region;
}

static int read_whole(int file, void *into, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = read(file, (char *)into + done, size - done);
        if (got <= 0)
            return 0;
        done += (size_t)got;
    }
    return 1;
}

static int reply(int file, uint64_t value)
{
    return write(file, &value, sizeof value) == sizeof value;
}

static struct heap_block *walk_area(struct run *run)
{
    size_t record = sizeof(struct op) + sizeof(struct observation);
    return (struct heap_block *)((char *)run + REGION_HEADER + run->op_capacity * record
                                 + DAMAGE_CAPACITY * sizeof(struct damage));
}

static uint64_t obey(struct executor *executor, struct run *run, const struct command *command,
                     struct decoder *decoder)
{
    switch (command->kind) {
    case COMMAND_RUN:
        executor_run(executor);
        return 1;
    case COMMAND_BEGIN:
        executor_begin(executor);
        return 1;
    case COMMAND_STEP:
        executor_step(executor);
        return 1;
    case COMMAND_END:
        executor_end(executor);
        return 1;
    case COMMAND_WALK:
        return executor_walk(executor, walk_area(run), command->length);
    case COMMAND_SEARCH:
        decoder->limits = command->limits;
        return executor_search(executor, decoder, command->seed, command->count, command->length);
    case COMMAND_ENUMERATE:
        return executor_enumerate(executor, walk_area(run), command->length, command->count,
                                  command->seed);
    default:
        return 0;
    }
}

static const char *load_decoder(const char *path, struct decoder *decoder)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return dlerror();
    *(void **)&decoder->ops = dlsym(library, "allocheck_decode");
    *(void **)&decoder->store = dlsym(library, "allocheck_decode_store");
    return decoder->ops && decoder->store ? NULL : "the decoder lacks its functions";
}

static struct executor *load(struct run *run, const char *subject, const char **error)
{
    void *library = dlopen(subject, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        *error = dlerror();
        return NULL;
    }
    struct subject *table = dlsym(library, "allocheck_subject");
    if (!table) {
        *error = "the library has no allocheck_subject";
        return NULL;
    }
    return executor_open(run, table, error);
}

/* Starts over with every library at the place where it always is: a subject whose blocks lie in its
 * static data shows the same addresses in each process.  Where that is not allowed, it does not. */
static void lie_still(char **words)
{
    int before = personality(0xffffffff);
    if (before < 0 || before & ADDR_NO_RANDOMIZE || personality(before | ADDR_NO_RANDOMIZE) < 0)
        return;
    execv("/proc/self/exe", words);
}

int main(int count, char **words)
{
    if (count < 5)
        return 2;
    lie_still(words);
    int commands = confine_file(atoi(words[3])), replies = confine_file(atoi(words[4]));
    size_t size;
    struct run *run = map_region(atoi(words[2]), &size);
    if (!run)
        return 2;
    confine_limits();
    const char *error = NULL;
    struct decoder decoder = { 0 };
    if (count > 5)
        error = load_decoder(words[5], &decoder);
    struct executor *executor = error ? NULL : load(run, words[1], &error);
    if (!executor)
        snprintf((char *)run + REGION_HEADER, size - REGION_HEADER, "%s", error);
    if (!reply(replies, executor != NULL) || !executor)
        return 2;
    if (!executor_forks(executor))
        executor_confine(executor);
    struct command command;
    errno = 0;
    while (read_whole(commands, &command, sizeof command))
        if (!reply(replies, obey(executor, run, &command, &decoder)))
            break;
    /* No exit: the subject's libraries may want to clean up, and may be in no state for it. */
    _exit(errno == EBADF ? LINE_CUT : 0);
}
