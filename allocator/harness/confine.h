/* Limits for a process that runs a subject: what that may take from the machine, and from its
 * harness.  None of them is needed for a subject that behaves. */
#ifndef ALLOCHECK_CONFINE_H
#define ALLOCHECK_CONFINE_H

/* Where instructions lie. */
struct code {
    const char *start, *end;
};

/* Memory, files and core dumps are limited, and the process dies with its parent. */
void confine_limits(void);

/* From here on the system calls of direct.h are SIGSYS where the subject's own code makes them, and
 * there is no second process, no other program (SIGSYS instead), and no signal to
 * anybody else; and the process dies with its parent.  For ever, so a process that forks must leave
 * this to its children. */
void confine_calls(const struct code *subject, int count);

/* A file descriptor for the same file that whoever closes 3, 4, 5 ... does not meet. */
int confine_file(int file);

#endif
