/* A program of one subject and free-running threads, both compiled with ThreadSanitizer: it runs the
 * trace in a region's file.  The operating system is the real one: what TSan knows of memory, it
 * knows of the process's own.
 *
 *      program REGION_FILE
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "race.h"

static void *map_file(const char *path)
{
    struct stat status;
    int file = open(path, O_RDWR);
    if (file < 0 || fstat(file, &status))
        return MAP_FAILED;
    return mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
}

static int start_subject(const struct config *config)
{
    void *arena = config->arena ? calloc(1, config->arena) : NULL;
    return allocheck_subject.init && allocheck_subject.init(arena, config->arena);
}

int main(int count, char **words)
{
    struct run *run = count > 1 ? map_file(words[1]) : MAP_FAILED;
    volatile uint32_t calls = 0;
    if (run == MAP_FAILED || run->version != LAYOUT_VERSION)
        return 2;
    char *at = (char *)run + REGION_HEADER;
    struct race race = { .run = run, .config = (const struct config *)(run + 1),
                         .ops = (const struct op *)at, .subject = &allocheck_subject,
                         .calls = &calls };
    race.observations = (struct observation *)(at + run->op_capacity * sizeof(struct op));
    race.damages = (struct damage *)(race.observations + run->op_capacity);
    run->done = run->damage_count = run->suspicious = 0;
    run->stage = STAGE_INIT;
    if (start_subject(race.config))
        return 2;
    run->done = run->op_count;
    run->stage = STAGE_CALL;
    race_run(&race);
    run->stage = STAGE_END;
    run->outcome = OUTCOME_FINISHED;
    return 0;
}
