/* Times what comes between two runs: memory put back, against a process for each run.
 *
 *      bench_restore SUBJECT.so REGION_FILE MICROSECONDS
 *
 * The region file holds a region with its trace in place.  Both take turns, for so long each in
 * all; microseconds of CPU time a run are printed, the best turn's, the run itself included.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "executor.h"

enum { TURNS = 5 };

static double microseconds(const struct timeval *time)
{
    return (double)time->tv_sec * 1e6 + (double)time->tv_usec;
}

/* CPU time of this process and of the children that it has waited for: a busy machine makes them
 * wait, not work. */
static double now(void)
{
    struct timespec own;
    struct rusage children;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    return (double)own.tv_sec * 1e6 + (double)own.tv_nsec * 1e-3
           + microseconds(&children.ru_utime) + microseconds(&children.ru_stime);
}

static struct run *map_region(const char *path)
{
    struct stat status;
    int file = open(path, O_RDWR);
    if (file < 0 || fstat(file, &status))
        return NULL;
    void *region = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    return region == MAP_FAILED ? NULL : region;
}

static double best(double before, double microseconds)
{
    return !before || microseconds < before ? microseconds : before;
}

/* Microseconds a run, over so many that they take `budget` microseconds or more. */
static double time_runs(struct executor *executor, double budget)
{
    for (int runs = 1;; runs *= 2) {
        double start = now();
        for (int i = 0; i < runs; i++)
            executor_run(executor);
        double taken = now() - start;
        if (taken >= budget)
            return taken / runs;
    }
}

int main(int count, char **words)
{
    if (count < 4)
        return 2;
    void *library = dlopen(words[1], RTLD_NOW);
    struct subject *subject = library ? dlsym(library, "allocheck_subject") : NULL;
    struct run *run = map_region(words[2]);
    const char *error = "cannot be loaded";
    struct executor *executor = subject && run ? executor_open(run, subject, &error) : NULL;
    if (!executor) {
        fprintf(stderr, "bench_restore: %s\n", error);
        return 2;
    }
    struct config *config = (struct config *)(run + 1);
    double restored = 0, forked = 0;
    for (int turn = 0; turn < TURNS; turn++) {
        config->forks = 0;
        restored = best(restored, time_runs(executor, atof(words[3]) / TURNS));
        config->forks = 1;
        forked = best(forked, time_runs(executor, atof(words[3]) / TURNS));
    }
    printf("{\"restored\": %.2f, \"forked\": %.2f}\n", restored, forked);
    return 0;
}
