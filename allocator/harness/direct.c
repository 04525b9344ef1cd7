/* The kernel's conventions on one side, the host's functions on the other. */
#define _GNU_SOURCE
#include "direct.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

const int direct_numbers[DIRECT_CALLS] = { SYS_mmap,    SYS_munmap,   SYS_mremap,
                                           SYS_madvise, SYS_mprotect, SYS_brk };

static long move_break(const struct host *host, void *end)
{
    if (end)
        host->brk(host->context, end);
    return (long)host->sbrk(host->context, 0);
}

static long carry_out(const struct host *host, long number, const long *of)
{
    void *context = host->context, *address = (void *)of[0];
    size_t size = (size_t)of[1];
    switch (number) {
    case SYS_mmap:
        return (long)host->mmap(context, address, size, (int)of[2], (int)of[3], (int)of[4], of[5]);
    case SYS_munmap: return host->munmap(context, address, size);
    case SYS_mremap:
        return (long)host->mremap(context, address, size, (size_t)of[2], (int)of[3],
                                  (void *)of[4]);
    case SYS_madvise: return host->madvise(context, address, size, (int)of[2]);
    case SYS_mprotect: return host->mprotect(context, address, size, (int)of[2]);
    default: return move_break(host, address);
    }
}

int direct_call(const struct host *host, long number, const long *operands, long *result)
{
    int is_bound = 0;
    for (int i = 0; i < DIRECT_CALLS; i++)
        is_bound |= direct_numbers[i] == number;
    if (!is_bound)
        return 0;
    int before = errno;
    *result = carry_out(host, number, operands);
    if (*result == -1)
        *result = -errno;
    errno = before;
    return 1;
}
