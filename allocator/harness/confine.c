/* Resource limits, and a filter on system calls: whoever makes them, and however. */
#define _GNU_SOURCE
#include "confine.h"

#include "direct.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FIRST_FILE = 700, FILES = 1000, X32_CALLS = 0x40000000, CODES = 4 };
static const rlim_t ADDRESSES = (rlim_t)8 << 30, /* mostly reserved: the store, the shadow */
                    WRITABLE = (rlim_t)2560 << 20, WRITTEN = (rlim_t)64 << 20;

static void limit(int what, rlim_t value)
{
    struct rlimit both = { value, value };
    setrlimit((__rlimit_resource_t)what, &both);
}

void confine_limits(void)
{
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_AS, ADDRESSES);
    limit(RLIMIT_DATA, WRITABLE);
    limit(RLIMIT_FSIZE, WRITTEN);
    limit(RLIMIT_NOFILE, FILES);
    signal(SIGXFSZ, SIG_IGN); /* writing fails instead */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

int confine_file(int file)
{
    int far = fcntl(file, F_DUPFD_CLOEXEC, FIRST_FILE);
    if (far < 0)
        return file;
    close(file);
    return far;
}

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IF(value, then, otherwise) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), then, otherwise)
#define ANSWER(what) BPF_STMT(BPF_RET | BPF_K, (what))
#define REFUSE(error) ANSWER(SECCOMP_RET_ERRNO | (error))
/* Refuses the call of this number, and goes on otherwise. */
#define REFUSED(number, error) IF(number, 0, 1), REFUSE(error)
/* Ends the run: the guard catches SIGSYS.  For calls that nobody makes to be refused. */
#define FORBIDDEN(number) IF(number, 0, 1), ANSWER(SECCOMP_RET_TRAP)
/* ... unless its first operand is `self`. */
#define ONLY_SELF(number, self) \
    IF(number, 0, 4), LOAD(args[0]), IF(self, 0, 1), ANSWER(SECCOMP_RET_ALLOW), REFUSE(EPERM)

/* Answers `error` for standard input, output and error, and for what confine_file has moved. */
#define FILE_OF_ITS_OWN(number, operand, error)                                   \
    IF(number, 0, 5), LOAD(operand),                                              \
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FIRST_FILE, 2, 0),                    \
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, STDERR_FILENO + 1, 0, 1),             \
        ANSWER(SECCOMP_RET_ALLOW), REFUSE(error)

static const struct sock_filter rules[] = {
    LOAD(arch),
    IF(AUDIT_ARCH_X86_64, 1, 0), /* 32-bit code has numbers of its own */
    ANSWER(SECCOMP_RET_TRAP),
    LOAD(nr),
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_CALLS, 0, 1),
    ANSWER(SECCOMP_RET_TRAP),
    FORBIDDEN(SYS_fork),
    FORBIDDEN(SYS_vfork),
    FORBIDDEN(SYS_execve),
    FORBIDDEN(SYS_execveat),
    REFUSED(SYS_clone3, ENOSYS), /* the C library goes back to clone */
    REFUSED(SYS_close_range, ENOSYS),
    FILE_OF_ITS_OWN(SYS_close, args[0], 0), /* does nothing, and says that it went well */
    FILE_OF_ITS_OWN(SYS_dup2, args[1], EBADF),
    FILE_OF_ITS_OWN(SYS_dup3, args[1], EBADF),
    IF(SYS_clone, 0, 3),
    LOAD(args[0]),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0),
    ANSWER(SECCOMP_RET_TRAP),
    LOAD(nr),
};
enum { RULES = sizeof rules / sizeof *rules };

struct program {
    struct sock_filter steps[RULES + 64];
    unsigned short count;
};

static void add(struct program *program, struct sock_filter step)
{
    program->steps[program->count++] = step;
}

/* No signal to anybody else. */
static void add_only_self(struct program *program, uint32_t call)
{
    const struct sock_filter steps[] = { ONLY_SELF(call, (uint32_t)getpid()) };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        add(program, steps[i]);
}

/* SIGSYS for whatever gets here from the subject's code, of which the ends are never met: the jumps
 * do without a carry. */
static void add_code(struct program *program, const struct code *code)
{
    uint64_t start = (uint64_t)code->start, end = (uint64_t)code->end;
    if (start >> 32 != end >> 32)
        return;
    const size_t low = offsetof(struct seccomp_data, instruction_pointer);
    add(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low + 4));
    add(program, (struct sock_filter)IF((uint32_t)(start >> 32), 0, 4));
    add(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low));
    add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t)start, 0, 2));
    add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t)end, 1, 0));
    add(program, (struct sock_filter)ANSWER(SECCOMP_RET_TRAP));
}

void confine_calls(const struct code *subject, int count)
{
    struct program program = { 0 };
    memcpy(program.steps, rules, sizeof rules);
    program.count = RULES;
    add_only_self(&program, SYS_kill);
    add_only_self(&program, SYS_tgkill);
    for (int i = 0; i < DIRECT_CALLS; i++)
        add(&program, (struct sock_filter)IF((uint32_t)direct_numbers[i],
                                             (uint8_t)(DIRECT_CALLS - i), 0));
    add(&program, (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW));
    for (int i = 0; i < count && i < CODES; i++)
        add_code(&program, &subject[i]);
    add(&program, (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW));
    struct sock_fprog filter = { program.count, program.steps };
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter); /* where that exists */
}
