/* The executor as a fuzz target in C: what libFuzzer calls when no Python is to be run for each
 * program.  The peer that the Python callback is measured against. */
#include "executor.h"

static struct executor *driven;
static const struct decoder *driving;

/* Sets what executor_drive_one runs. */
void executor_drive(struct executor *executor, const struct decoder *decoder)
{
    driven = executor;
    driving = decoder;
}

/* LLVMFuzzerTestOneInput */
int executor_drive_one(const uint8_t *data, size_t size)
{
    executor_run_bytes(driven, driving, data, size);
    return 0;
}
