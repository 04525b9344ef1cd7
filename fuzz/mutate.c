/* The mutator as a program, for whoever must not load C: programs in, what becomes of them out.
 *
 * Input, repeated: struct request, then its two programs.  Output for each: the size (4 bytes) and
 * the bytes.  It ends with status 1 where more was written than there is room for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mutator.h"

enum { GUARD_BYTES = 64, GUARD = 0xA5 };

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t one_size, const uint8_t *other,
                                 size_t other_size, uint8_t *out, size_t max_size, unsigned seed);

/* fuzz/native.py packs it. */
struct request {
    uint32_t what; /* a mutation, a crossing behind them, behind those libFuzzer's two entries */
    uint32_t seed;
    uint32_t max_size, size, other_size;
};

static size_t made(const struct request *r, const uint8_t *one, const uint8_t *other, uint8_t *out)
{
    uint32_t crossing = r->what - MUTATIONS;
    if (r->what < MUTATIONS || crossing == CROSSINGS)
        memcpy(out, one, r->size);
    if (r->what < MUTATIONS)
        return mutator_apply(r->what, out, r->size, r->max_size, r->seed);
    if (crossing < CROSSINGS)
        return mutator_cross(crossing, one, r->size, other, r->other_size, out, r->max_size,
                             r->seed);
    if (crossing == CROSSINGS)
        return LLVMFuzzerCustomMutator(out, r->size, r->max_size, r->seed);
    return LLVMFuzzerCustomCrossOver(one, r->size, other, r->other_size, out, r->max_size, r->seed);
}

static int is_whole(const uint8_t *guard)
{
    for (int i = 0; i < GUARD_BYTES; i++)
        if (guard[i] != GUARD)
            return 0;
    return 1;
}

static int answer(const struct request *r)
{
    uint8_t *one = malloc(r->size + 1), *other = malloc(r->other_size + 1);
    uint8_t *out = malloc(r->max_size + GUARD_BYTES);
    int done = 0;
    if (one && other && out && fread(one, 1, r->size, stdin) == r->size
        && fread(other, 1, r->other_size, stdin) == r->other_size) {
        memset(out + r->max_size, GUARD, GUARD_BYTES);
        uint32_t size = (uint32_t)made(r, one, other, out);
        done = size <= r->max_size && is_whole(out + r->max_size)
            && fwrite(&size, sizeof size, 1, stdout) == 1
            && fwrite(out, 1, size, stdout) == size && !fflush(stdout);
    }
    free(one);
    free(other);
    free(out);
    return done;
}

int main(void)
{
    struct request request;
    while (fread(&request, sizeof request, 1, stdin))
        if (!answer(&request))
            return 1;
    return 0;
}
