/* counts.h: what a process asked its heap for, told in one line when it ends; for preload.c.
 *
 * The line goes to the file that ALLOCHECK_STATS names (a line for each process, appended), or
 * to what file descriptor 2 was at the start where it says "2".  A process that is killed, or
 * leaves by _exit, says nothing.  All of it runs under preload.c's lock or at the end.
 */
#ifndef DROPIN_COUNTS_H
#define DROPIN_COUNTS_H

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COUNT_MALLOC, COUNT_CALLOC, COUNT_REALLOC, COUNT_ALIGNED, COUNT_FREE, COUNT_KINDS };

/* Out of the way of programs that close what they find, or count what is open. */
enum { SPARE_DESCRIPTOR = 200, LINE = 512 };

static struct {
    size_t calls[COUNT_KINDS];
    size_t live, peak; /* usable bytes */
    int descriptor;    /* a copy of 2: programs close their own before the end */
} counts;

static void count_call(int which)
{
    counts.calls[which]++;
}

static void count_gain(void *payload)
{
    if (!payload)
        return;
    counts.live += allocheck_usable_size(payload);
    if (counts.live > counts.peak)
        counts.peak = counts.live;
}

static void count_loss(void *payload)
{
    counts.live -= allocheck_usable_size(payload);
}

static char *put_text(char *at, const char *text)
{
    size_t length = strnlen(text, 64);
    memcpy(at, text, length);
    return at + length;
}

static char *put_number(char *at, size_t number)
{
    char digits[24];
    char *first = digits + sizeof digits;
    do {
        *--first = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    size_t length = (size_t)(digits + sizeof digits - first);
    memcpy(at, first, length);
    return at + length;
}

static char *put_counts(char *at)
{
    static const char *const names[COUNT_KINDS] = { "malloc", "calloc", "realloc", "aligned",
                                                    "free" };
    for (int which = 0; which < COUNT_KINDS; which++) {
        at = put_text(at, " ");
        at = put_text(at, names[which]);
        at = put_text(at, " ");
        at = put_number(at, counts.calls[which]);
    }
    at = put_text(at, " peak ");
    at = put_number(at, counts.peak);
    at = put_text(at, " left ");
    return put_number(at, counts.live);
}

__attribute__((constructor)) static void counts_begin(void)
{
    const char *where = getenv("ALLOCHECK_STATS");
    counts.descriptor = where && !strcmp(where, "2")
                            ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, SPARE_DESCRIPTOR)
                            : -1;
}

__attribute__((destructor)) static void counts_end(void)
{
    const char *where = getenv("ALLOCHECK_STATS");
    int descriptor = counts.descriptor;
    if (descriptor < 0 && where && *where)
        descriptor = open(where, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor < 0)
        return;
    char line[LINE];
    char *at = put_text(line, "allocheck: ");
    at = put_text(at, program_invocation_short_name);
    at = put_text(at, " ");
    at = put_number(at, (size_t)getpid());
    at = put_text(at, ":");
    at = put_counts(at);
    at = put_text(at, "\n");
    (void)!write(descriptor, line, (size_t)(at - line));
}

#endif
