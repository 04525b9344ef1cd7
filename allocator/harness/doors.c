/* For a subject that somebody else built: loads its library, fills the doors through which the
 * adapter calls it, and makes the library's own calls of the operating system go to the host.
 *
 * What is loaded is a copy whose constructors the loader does not find: they are called at the
 * start of each run, when all imports are bound, so that what they set up is in the store and
 * comes and goes with the run.  A library that the process had already stays as it is: it gets real
 * memory, and is never restored. */
#define _GNU_SOURCE
#include "bind.h"
#include "doors.h"

#include <assert.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define HIDDEN __attribute__((visibility("hidden")))

static char sentence[512];

static const char *complain(const char *why)
{
    snprintf(sentence, sizeof sentence, "does not load: %s", why ? why : "no copy can be made");
    return sentence;
}

/* ---- the library's imports ---- */

#define BOUND(name) { #name, (void *)name }

/* Hidden definitions of bind.c, but for those that the library has itself (see doors.h). */
static const struct {
    const char *name;
    void *function;
} bound[] = {
    BOUND(sbrk), BOUND(brk), BOUND(mmap), BOUND(mmap64), BOUND(munmap), BOUND(mremap),
    BOUND(madvise), BOUND(mprotect), BOUND(exit), BOUND(_exit), BOUND(_Exit), BOUND(quick_exit),
    BOUND(abort), BOUND(fork), BOUND(vfork), BOUND(alarm), BOUND(setitimer), BOUND(sigaction),
    BOUND(signal), BOUND(pthread_sigmask), BOUND(sigprocmask), BOUND(sigaltstack), BOUND(syscall),
    BOUND(malloc), BOUND(calloc), BOUND(realloc), BOUND(free), BOUND(aligned_alloc),
    BOUND(posix_memalign), BOUND(atexit), BOUND(__cxa_atexit), BOUND(__cxa_thread_atexit_impl),
    BOUND(__cxa_thread_atexit), BOUND(pthread_atfork), BOUND(__register_atfork),
    BOUND(pthread_key_create), BOUND(pthread_key_delete), BOUND(pthread_getspecific),
    BOUND(pthread_setspecific), BOUND(__assert_fail),
};

/* Functions of the same meaning under other names. */
static const struct {
    const char *name, *other;
} synonyms[] = {
    { "__sbrk", "sbrk" },         { "__mmap", "mmap" },          { "__munmap", "munmap" },
    { "__fork", "fork" },         { "_Znwm", "malloc" },         { "_Znam", "malloc" },
    { "_ZdlPv", "free" },         { "_ZdaPv", "free" },          { "_ZdlPvm", "free" },
    { "_ZdaPvm", "free" },        { "__sigaction", "sigaction" },
};

static void *bound_dlsym(void *library, const char *name);

static void *bound_to(const char *name)
{
    if (!strcmp(name, "dlsym"))
        return (void *)bound_dlsym;
    for (size_t i = 0; i < sizeof synonyms / sizeof *synonyms; i++)
        if (!strcmp(synonyms[i].name, name))
            name = synonyms[i].other;
    for (size_t i = 0; i < sizeof bound / sizeof *bound; i++)
        if (!strcmp(bound[i].name, name))
            return bound[i].function;
    return NULL;
}

static void *bound_dlsym(void *library, const char *name)
{
    void *function = bound_to(name);
    return function ? function : dlsym(library, name);
}

struct dynamic {
    const ElfW(Sym) *symbols;
    const char *names;
    const ElfW(Rela) *relocations, *jumps;
    size_t relocation_bytes, jump_bytes, constructor_bytes;
    ElfW(Addr) first_constructor, constructors; /* not relocated: the loader does not know them */
};

/* Tags that no loader knows, in the place of those that it must not see. */
enum { HIDDEN_TAGS = 0x60001000 };
#define IS_HIDDEN(tag)                                                                            \
    ((tag) == DT_INIT || (tag) == DT_INIT_ARRAY || (tag) == DT_INIT_ARRAYSZ || (tag) == DT_FINI   \
     || (tag) == DT_FINI_ARRAY || (tag) == DT_FINI_ARRAYSZ)

/* glibc has added the load address to the pointers already. */
static struct dynamic read_dynamic(const struct link_map *map)
{
    struct dynamic all = { 0 };
    for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
        void *pointer = (void *)entry->d_un.d_ptr;
        switch (entry->d_tag) {
        case DT_SYMTAB: all.symbols = pointer; break;
        case DT_STRTAB: all.names = pointer; break;
        case DT_RELA: all.relocations = pointer; break;
        case DT_RELASZ: all.relocation_bytes = entry->d_un.d_val; break;
        case DT_JMPREL: all.jumps = pointer; break;
        case DT_PLTRELSZ: all.jump_bytes = entry->d_un.d_val; break;
        case HIDDEN_TAGS + DT_INIT: all.first_constructor = entry->d_un.d_ptr; break;
        case HIDDEN_TAGS + DT_INIT_ARRAY: all.constructors = entry->d_un.d_ptr; break;
        case HIDDEN_TAGS + DT_INIT_ARRAYSZ: all.constructor_bytes = entry->d_un.d_val; break;
        default: break;
        }
    }
    return all;
}

static int system_open_page(uintptr_t page)
{
    return (int)allocheck_system_call(SYS_mprotect,
                                      (long[6]){ (long)page, 4096, PROT_READ | PROT_WRITE });
}

static int set_slot(void **slot, void *value)
{
    uintptr_t page = (uintptr_t)slot & ~(uintptr_t)4095;
    /* It may have been made read-only after relocation. */
    if (system_open_page(page))
        return -1;
    *slot = value;
    return 0;
}

static int is_door(const char *name)
{
    for (size_t i = 0; i < allocheck_door_count; i++)
        if (!strcmp(allocheck_door_names[i], name))
            return 1;
    return 0;
}

/* What an import is to be; NULL for what the loader has found.  That has found the C library's
 * malloc or mmap where the library has its own: as it was preloaded, it met its own. */
static void *value_of(const struct link_map *map, const ElfW(Sym) *symbol, const char *name)
{
    if (!symbol->st_shndx)
        return bound_to(name);
    int is_function = ELF64_ST_TYPE(symbol->st_info) == STT_FUNC;
    return is_function && (bound_to(name) || is_door(name))
               ? (void *)(map->l_addr + symbol->st_value) : NULL;
}

static int bind_slots(const struct link_map *map, const struct dynamic *all,
                      const ElfW(Rela) *entries, size_t bytes)
{
    for (size_t i = 0; i < bytes / sizeof *entries; i++) {
        unsigned type = ELF64_R_TYPE(entries[i].r_info);
        const ElfW(Sym) *symbol = &all->symbols[ELF64_R_SYM(entries[i].r_info)];
        if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT && type != R_X86_64_64)
            continue;
        void *function = value_of(map, symbol, all->names + symbol->st_name);
        if (function && set_slot((void **)(map->l_addr + entries[i].r_offset), function))
            return -1;
    }
    return 0;
}

/* ---- loading ---- */

/* Whether the whole process uses the library, as it does the C library, rather than one that was
 * opened for itself. */
static int is_global(void *library)
{
    void *here = dlsym(library, allocheck_door_names[0]);
    return here && here == dlsym(RTLD_DEFAULT, allocheck_door_names[0]);
}

/* The kernel's own: mmap is bound in this library too. */
static void *system_map(size_t size, int file)
{
    const long operands[6] = { 0, (long)size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0 };
    long result = allocheck_system_call(SYS_mmap, operands);
    return result < 0 && result > -4096 ? MAP_FAILED : (void *)result;
}

static void system_unmap(void *address, size_t size)
{
    allocheck_system_call(SYS_munmap, (long[6]){ (long)address, (long)size });
}

static int hide_constructors(char *file, size_t size)
{
    ElfW(Ehdr) *header = (ElfW(Ehdr) *)file;
    for (int i = 0; i < header->e_phnum; i++) {
        ElfW(Phdr) *part = (ElfW(Phdr) *)(file + header->e_phoff) + i;
        if (part->p_type != PT_DYNAMIC)
            continue;
        if (part->p_offset > size || part->p_filesz > size - part->p_offset)
            return -1;
        ElfW(Dyn) *entry = (ElfW(Dyn) *)(file + part->p_offset);
        for (size_t left = part->p_filesz / sizeof *entry; left && entry->d_tag; left--, entry++)
            if (IS_HIDDEN(entry->d_tag))
                entry->d_tag += HIDDEN_TAGS;
        return 0;
    }
    return -1;
}

static int copy_file(int from, int to)
{
    struct stat status;
    off_t offset = 0;
    if (fstat(from, &status))
        return -1;
    while (offset < status.st_size)
        if (sendfile(to, from, &offset, (size_t)(status.st_size - offset)) <= 0)
            return -1;
    size_t size = (size_t)status.st_size;
    char *file = (char *)system_map(size, to);
    if (file == MAP_FAILED)
        return -1;
    int failed = hide_constructors(file, size);
    system_unmap(file, size);
    return failed;
}

/* The same file once more, with static data of its own.  The file descriptor stays open: the
 * loader would take another one of the same number for this library. */
static void *open_copy(void)
{
    int from = open(allocheck_library_path, O_RDONLY | O_CLOEXEC);
    int to = memfd_create("copy of a library", MFD_CLOEXEC);
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", to);
    int failed = from < 0 || to < 0 || copy_file(from, to);
    if (from >= 0)
        close(from);
    return failed ? NULL : dlopen(name, RTLD_NOW | RTLD_LOCAL);
}

static int fill_doors(void *library)
{
    for (size_t i = 0; i < allocheck_door_count; i++)
        if (!(allocheck_doors[i] = dlsym(library, allocheck_door_names[i])))
            return -1;
    return 0;
}

/* ---- starting it ---- */

static struct {
    ElfW(Addr) base;
    struct dynamic dynamic;
} started;

typedef void constructor(int count, char **words, char **variables);

static void start_library(void)
{
    static char *no_words[] = { NULL };
    const struct dynamic *all = &started.dynamic;
    if (all->first_constructor)
        ((constructor *)(started.base + all->first_constructor))(0, no_words, environ);
    constructor **each = (constructor **)(started.base + all->constructors);
    for (size_t i = 0; i < all->constructor_bytes / sizeof *each; i++)
        if (each[i] && each[i] != (constructor *)-1)
            each[i](0, no_words, environ);
}

HIDDEN const char *allocheck_open_library(void)
{
    void *library = dlopen(allocheck_library_path, RTLD_NOW | RTLD_NOLOAD);
    if (library && is_global(library))
        return fill_doors(library) ? complain(dlerror()) : NULL;
    library = open_copy();
    struct link_map *map;
    if (!library || dlinfo(library, RTLD_DI_LINKMAP, &map) || fill_doors(library))
        return complain(dlerror());
    started.base = map->l_addr;
    started.dynamic = read_dynamic(map);
    const struct dynamic *all = &started.dynamic;
    allocheck_subject.inside = map->l_ld;
    allocheck_subject.start = start_library;
    if (bind_slots(map, all, all->relocations, all->relocation_bytes)
        || bind_slots(map, all, all->jumps, all->jump_bytes))
        return complain("its imports cannot be bound");
    return NULL;
}
