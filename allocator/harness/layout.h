/* The memory layout that the executor shares with Python: operations in, observations out.
 *
 * One contiguous region holds a whole run: a struct run, a struct config, and from REGION_HEADER
 * on op_capacity operations, op_capacity observations, DAMAGE_CAPACITY damages.  models/trace.py,
 * models/observation.py and allocator/region.py mirror it; tests/test_layout.py compares every
 * offset.
 */
#ifndef ALLOCHECK_LAYOUT_H
#define ALLOCHECK_LAYOUT_H

#include <stdint.h>

enum { LAYOUT_VERSION = 4, DAMAGE_CAPACITY = 64, REGION_HEADER = 512 };

/* Thread numbers are below this; 0 is the thread that begins and ends the run. */
enum { THREADS = 16 };

/* Operands stand in the order of the text form: `p2 = realloc p0 128` has name 2, first 0,
 * second 128.  A block operand is the number of its name, or NIL for NULL. */
enum op_kind {
    OP_MALLOC = 1,          /* name = malloc first */
    OP_CALLOC = 2,          /* name = calloc first second */
    OP_REALLOC = 3,         /* name = realloc BLOCK first, second bytes */
    OP_ALIGNED_ALLOC = 4,   /* name = aligned_alloc first (alignment), second bytes */
    OP_MEMALIGN = 5,        /* the same operands */
    OP_POSIX_MEMALIGN = 6,  /* the same operands */
    OP_FREE = 7,            /* free BLOCK first */
    OP_WRITE = 8,           /* write BLOCK first: check the pattern, then write a new one */
    OP_DENY = 9,            /* the first-th request for pages from here on is refused;
                               NIL: all are, 0: none is */
    OP_FOREIGN = 10,        /* somebody else moves the program break up by first bytes */
    OP_DOUBLE_FREE = 11,    /* free BLOCK first again */
    OP_INTERIOR_FREE = 12,  /* free BLOCK first + second bytes */
    OP_FREE_ALL = 13,       /* free every live block, lowest name first */
    OP_THREAD = 14,         /* the operations that follow run on thread first */
    OP_END_THREAD = 15,     /* thread first ends; named again, it is a new one */
    OP_REALLOC_FREED = 16,  /* realloc BLOCK first, which is freed, second bytes */
};

#define NIL UINT64_MAX
#define NO_NAME UINT32_MAX

struct op {
    uint8_t kind;
    uint8_t reserved[3];
    uint32_t name; /* the name that an allocation makes, else NO_NAME */
    uint64_t first;
    uint64_t second;
};

enum observation_flag {
    SEEN_SKIPPED = 1,      /* not executed: a dead name, or nothing the contract allows */
    SEEN_RETURNED = 2,     /* the subject's function returned */
    SEEN_REFUSED = 4,      /* a request for pages was refused by a deny during the operation */
    SEEN_CAPPED = 8,       /* a request for pages exceeded the store during the operation */
    SEEN_OUTSIDE = 16,     /* the block granted is not wholly inside memory given to the subject
                              (a block of 0 bytes is never outside; only where memory is known) */
    SEEN_ERRNO = 32,       /* errno was written: `error` is its value */
    SEEN_PAGES = 64,       /* pages were requested during the operation, granted or not */
    SEEN_UNFILLED = 128,   /* the block was not filled with a pattern (outside, or 0 bytes) */
    SEEN_SAME_START = 256, /* it may share bytes, or its start, with a live block: a hint */
    SEEN_LEFT = 512,       /* the subject did not return: see the run's outcome */
    SEEN_BEGUN = 1024,     /* free-running threads: the subject was called */
};

struct observation {
    uint64_t address; /* the block granted, 0 for none (posix_memalign: what it stored) */
    uint64_t usable;  /* what usable_size said of it, 0 where not asked */
    uint64_t granted; /* bytes of pages that the subject holds after the operation */
    int32_t error;    /* errno after the call if SEEN_ERRNO; posix_memalign: its result */
    uint32_t flags;
};

enum damage_kind {
    DAMAGE_CONTENT = 1,   /* a live block's pattern changed */
    DAMAGE_ZEROED = 2,    /* calloc returned a non-zero byte */
    DAMAGE_PREFIX = 3,    /* realloc lost a byte of the prefix */
    DAMAGE_SURVIVAL = 4,  /* a failed realloc changed the block */
    DAMAGE_OUTSIDE = 5,   /* a byte just outside given memory changed; offset is its address */
    DAMAGE_INVARIANT = 6, /* the subject's own validity predicate objects: run.invariant */
};

struct damage {
    uint64_t offset; /* of the first wrong byte in the block */
    uint32_t op;     /* the operation that met it; op_count for the check at the end */
    uint32_t name;   /* the block, or NO_NAME */
    uint8_t kind;
    uint8_t expected;
    uint8_t seen;
    uint8_t reserved[5];
};

enum outcome {
    OUTCOME_NONE = 0,     /* still running: what a dead process leaves behind */
    OUTCOME_FINISHED = 1,
    OUTCOME_SIGNAL = 2,   /* SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP: run.signal, run.fault */
    OUTCOME_ABORT = 3,
    OUTCOME_HANG = 4,     /* one call used up the CPU time limit */
    OUTCOME_EXIT = 5,     /* exit or _exit was called: run.exit_status */
    OUTCOME_INIT = 6,     /* the subject's init reported failure: run.exit_status */
};

enum stage { STAGE_RESTORE = 0, STAGE_INIT, STAGE_CALL, STAGE_TOUCH, STAGE_END };

enum run_switch {
    RUN_CHECK_END = 1,  /* call the subject's validity predicate once, at the end */
    RUN_CHECK_EACH = 2, /* ... after every operation */
    RUN_RACE = 4,       /* all threads run at once, each its own operations: see race.c */
};

struct run {
    uint32_t version;
    uint32_t op_capacity;
    /* in */
    uint32_t op_count;
    uint32_t switches;
    uint64_t store_size;   /* bytes that the store may grant; 0 for the subject's default */
    uint64_t cpu_limit_ms; /* CPU time that one call of the subject may take */
    /* out: the journal */
    uint32_t done;         /* operations finished; the one at this index was under way */
    uint32_t stage;        /* what it was about to do */
    /* out: the result */
    uint32_t outcome;
    int32_t signal;
    uint64_t fault;        /* address of the faulting access, 0 if unknown */
    int32_t exit_status;
    uint32_t damage_count;
    uint32_t suspicious;   /* the tripwire: Python should judge this run */
    uint32_t memory_known; /* SEEN_OUTSIDE is meaningful */
    uint64_t store_base;   /* lowest address that the break can have, 0 without a store */
    uint64_t maps_base;    /* the same for mapped regions */
    uint64_t arena_base;   /* the arena handed to init, 0 if none */
    uint64_t arena_size;
    uint64_t runs;         /* runs begun in this region: with `done`, a sign of life; runs of
                              free-running threads bump it now and then */
    uint64_t race_seed;    /* in: what makes one free-running schedule unlike another */
    uint32_t race_rounds;  /* in: how often such a trace is repeated */
    uint32_t race_done;    /* out: rounds finished */
    char invariant[24];    /* first conjunct that the validity predicate named, NUL-terminated */
    char assertion[128];   /* what the subject's assert that failed had to say, NUL-terminated */
};

enum realloc_zero { REALLOC_ZERO_NEVER = 0, REALLOC_ZERO_FREE, REALLOC_ZERO_UNIQUE,
                    REALLOC_ZERO_KEEP };
enum malloc_zero { MALLOC_ZERO_ANY = 0, MALLOC_ZERO_NULL, MALLOC_ZERO_UNIQUE };

/* What the executor must know of the contract: what it may call, and what its tripwire watches. */
struct config {
    uint64_t alignment; /* 0: C23's rule */
    uint64_t max_size;  /* NIL: none promised */
    uint64_t arena;     /* bytes handed to init */
    uint64_t default_store;
    uint32_t malloc_zero;
    uint32_t realloc_zero;
    uint8_t free_null;
    uint8_t realloc_null;
    uint8_t refuses_over_ptrdiff;
    uint8_t enomem;
    uint8_t free_preserves_errno;
    uint8_t usable_writable;
    uint8_t coalesces;
    uint8_t foreign;
    uint8_t invalid_alignment;
    uint8_t detects_double_free;
    uint8_t detects_interior_free;
    uint8_t memory_known; /* the subject gets all its memory from the harness */
    uint8_t gives_back;
    uint8_t forks; /* each run is a process of its own */
    uint8_t threads; /* calls from several threads are promised to be safe */
    uint8_t detects_realloc_freed;
};

#endif
