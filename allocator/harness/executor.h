/* The executor: runs a whole trace on a subject in one call and writes down what it saw.
 *
 * It judges nothing.  Its tripwire (run.suspicious) is cheap and may be wrong in one direction
 * only: whatever breaks a rule that one operation can break is suspicious.
 */
#ifndef ALLOCHECK_EXECUTOR_H
#define ALLOCHECK_EXECUTOR_H

#include <stddef.h>
#include <stdint.h>

#include "layout.h"
#include "subject.h"

struct executor;

/* Prepares a subject.  `region` is laid out as layout.h says, its run.op_capacity and config
 * filled in; `object` is an address inside the subject's own library, whose writable segments
 * will be restored.  NULL on failure, with a sentence in *error. */
struct executor *executor_open(struct run *region, struct subject *subject, const char **error);

/* Limits the process for ever, see confine_calls: it must have one subject, and fork no more. */
void executor_confine(struct executor *executor);

/* Runs the region's operations from a restored subject and an empty store. */
void executor_run(struct executor *executor);

/* The same in steps: begin, one operation at a time (the one at run.done), end. */
void executor_begin(struct executor *executor);
void executor_step(struct executor *executor);
void executor_end(struct executor *executor);

/* Blocks as the subject's own walk shows them; returns how many there are, 0 without a walk. */
size_t executor_walk(struct executor *executor, struct heap_block *blocks, size_t capacity);

/* Turns bytes into a program: see fuzz/decoder.h. */
struct decoder {
    size_t (*ops)(const uint8_t *data, size_t size, struct op *ops, size_t capacity,
                  const void *limits);
    uint64_t (*store)(const uint8_t *data, size_t size, const void *limits);
    const void *limits;
};

/* Decodes and runs one program; returns run.suspicious. */
uint32_t executor_run_bytes(struct executor *executor, const struct decoder *decoder,
                            const uint8_t *data, size_t size);

/* Programs of `length` random bytes, one from each of the seeds seed, seed + 1, ... seed + count
 * - 1, until one is suspicious; returns how many were run. */
uint64_t executor_search(struct executor *executor, const struct decoder *decoder, uint64_t seed,
                         uint64_t count, size_t length);

/* A libFuzzer target that runs programs on this executor: see drive.c. */
void executor_drive(struct executor *executor, const struct decoder *decoder);
int executor_drive_one(const uint8_t *data, size_t size);

/* A table of STATE_COUNT counters (states.h) to be bumped at the state of the heap after every
 * operation; NULL turns that off. */
void executor_count_states(struct executor *executor, uint8_t *counters);

void executor_close(struct executor *executor);

#endif
