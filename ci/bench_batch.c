/* Times one trace on one subject: checked by the executor, and bare.
 *
 *      bench_batch SUBJECT.so REGION_FILE REPEATS
 *
 * The region file holds a region with its trace in place.  Both are run REPEATS times in turn, so
 * that they share what else the machine is doing; the best of each is printed, in operations a
 * second.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "executor.h"

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void run_bare(const struct subject *subject, const struct op *ops, uint32_t count,
                     void **blocks)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct op *op = &ops[i];
        if (op->kind == OP_MALLOC)
            blocks[op->name] = subject->malloc(op->first);
        else if (op->kind == OP_CALLOC)
            blocks[op->name] = subject->calloc(op->first, op->second);
        else if (op->kind == OP_REALLOC)
            blocks[op->name] = subject->realloc(blocks[op->first], op->second);
        else
            subject->free(blocks[op->first]);
    }
}

static struct run *read_region(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    void *region = aligned_alloc(4096, (size + 4095) & ~(size_t)4095);
    size_t got = fread(region, 1, size, file);
    fclose(file);
    return got == size ? region : NULL;
}

int main(int count, char **words)
{
    if (count < 4)
        return 2;
    void *library = dlopen(words[1], RTLD_NOW);
    struct subject *subject = library ? dlsym(library, "allocheck_subject") : NULL;
    struct run *run = read_region(words[2]);
    const char *error = "cannot be loaded";
    struct executor *executor = subject && run ? executor_open(run, subject, &error) : NULL;
    if (!executor) {
        fprintf(stderr, "%s: %s\n", words[1], error);
        return 2;
    }
    const struct op *ops = (const struct op *)((char *)run + REGION_HEADER);
    void **blocks = calloc(run->op_capacity, sizeof *blocks);
    double checked = 1e9, bare = 1e9;
    for (int i = atoi(words[3]); i > 0; i--) {
        double start = now();
        executor_run(executor);
        double middle = now();
        if (run->outcome != OUTCOME_FINISHED || run->suspicious || run->done != run->op_count)
            return 1;
        executor_begin(executor);
        double begun = now();
        run_bare(subject, ops, run->op_count, blocks);
        double stop = now();
        checked = middle - start < checked ? middle - start : checked;
        bare = stop - begun < bare ? stop - begun : bare;
    }
    printf("{\"checked\": %.0f, \"bare\": %.0f}\n", run->op_count / checked, run->op_count / bare);
    return 0;
}
