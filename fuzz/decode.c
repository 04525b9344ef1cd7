/* The decoder as a program, for whoever must not load C: reads programs, writes traces.
 *
 * Input, repeated: struct decode_limits, capacity, length (8 bytes each), the bytes.  Output for
 * each: how many operations, the store size (8 bytes each), the operations.
 */
#include <stdio.h>
#include <stdlib.h>

#include "decoder.h"

static int answer(const struct decode_limits *limits, const uint64_t lengths[2])
{
    uint64_t head[2] = { 0, 0 };
    uint8_t *data = malloc(lengths[1] + 1);
    struct op *ops = calloc(lengths[0] + 1, sizeof *ops);
    int done = 0;
    if (data && ops && fread(data, 1, lengths[1], stdin) == lengths[1]) {
        head[0] = allocheck_decode(data, lengths[1], ops, lengths[0], limits);
        head[1] = allocheck_decode_store(data, lengths[1], limits);
        done = fwrite(head, sizeof head, 1, stdout) == 1
            && fwrite(ops, sizeof *ops, head[0], stdout) == head[0] && !fflush(stdout);
    }
    free(data);
    free(ops);
    return done;
}

int main(void)
{
    struct decode_limits limits;
    uint64_t lengths[2];
    while (fread(&limits, sizeof limits, 1, stdin) && fread(lengths, sizeof lengths, 1, stdin))
        if (!answer(&limits, lengths))
            return 1;
    return 0;
}
