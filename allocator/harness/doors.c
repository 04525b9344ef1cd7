/* For a subject that somebody else built: loads its library, fills the doors through which the
 * adapter calls it, and makes the library's own calls of the operating system go to the host.
 *
 * A library that the process had already, or that keeps what a restart cannot put back
 * (thread-local variables, work done by constructors), stays as it is: it gets real memory, and is
 * never restored. */
#define _GNU_SOURCE
#include "doors.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
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
    BOUND(posix_memalign),
};

static void *bound_to(const char *name)
{
    for (size_t i = 0; i < sizeof bound / sizeof *bound; i++)
        if (!strcmp(bound[i].name, name))
            return bound[i].function;
    return NULL;
}

struct dynamic {
    const ElfW(Sym) *symbols;
    const char *names;
    const ElfW(Rela) *relocations, *jumps;
    size_t relocation_bytes, jump_bytes, constructor_bytes;
};

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
        case DT_INIT_ARRAYSZ: all.constructor_bytes = entry->d_un.d_val; break;
        default: break;
        }
    }
    return all;
}

static int set_slot(void **slot, void *value)
{
    uintptr_t page = (uintptr_t)slot & ~(uintptr_t)4095;
    /* It may have been made read-only after relocation. */
    if (mprotect((void *)page, 4096, PROT_READ | PROT_WRITE))
        return -1;
    *slot = value;
    return 0;
}

static int bind_slots(const struct link_map *map, const struct dynamic *all,
                      const ElfW(Rela) *entries, size_t bytes)
{
    for (size_t i = 0; i < bytes / sizeof *entries; i++) {
        unsigned type = ELF64_R_TYPE(entries[i].r_info);
        const ElfW(Sym) *symbol = &all->symbols[ELF64_R_SYM(entries[i].r_info)];
        if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT && type != R_X86_64_64)
            continue;
        void *function = symbol->st_shndx ? NULL : bound_to(all->names + symbol->st_name);
        if (function && set_slot((void **)(map->l_addr + entries[i].r_offset), function))
            return -1;
    }
    return 0;
}

/* ---- loading ---- */

static int has_thread_locals(struct dl_phdr_info *info, size_t size, void *address)
{
    (void)size;
    if (info->dlpi_addr != *(ElfW(Addr) *)address)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_TLS)
            return 1;
    return 0;
}

/* Compilers add one constructor of their own. */
static int can_be_restored(struct link_map *map, const struct dynamic *all)
{
    return all->constructor_bytes <= sizeof(void *)
           && !dl_iterate_phdr(has_thread_locals, &map->l_addr);
}

/* Whether the whole process uses the library, as it does the C library, rather than one that was
 * opened for itself. */
static int is_global(void *library)
{
    void *here = dlsym(library, allocheck_door_names[0]);
    return here && here == dlsym(RTLD_DEFAULT, allocheck_door_names[0]);
}

/* The same file once more, with static data of its own.  The file descriptor stays open: the
 * loader would take another one of the same number for this library. */
static void *open_copy(void)
{
    int from = open(allocheck_library_path, O_RDONLY | O_CLOEXEC);
    int to = memfd_create("copy of a library", MFD_CLOEXEC);
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", to);
    ssize_t count = from < 0 || to < 0 ? -1 : 1;
    while (count > 0)
        count = sendfile(to, from, NULL, 1 << 30);
    if (from >= 0)
        close(from);
    return count ? NULL : dlopen(name, RTLD_NOW | RTLD_LOCAL);
}

static int fill_doors(void *library)
{
    for (size_t i = 0; i < allocheck_door_count; i++)
        if (!(allocheck_doors[i] = dlsym(library, allocheck_door_names[i])))
            return -1;
    return 0;
}

HIDDEN const char *allocheck_open_library(void)
{
    void *library = dlopen(allocheck_library_path, RTLD_NOW | RTLD_NOLOAD);
    if (library && is_global(library))
        return fill_doors(library) ? complain(dlerror()) : NULL;
    library = library ? open_copy() : dlopen(allocheck_library_path, RTLD_NOW | RTLD_LOCAL);
    struct link_map *map;
    if (!library || dlinfo(library, RTLD_DI_LINKMAP, &map) || fill_doors(library))
        return complain(dlerror());
    struct dynamic all = read_dynamic(map);
    if (!can_be_restored(map, &all))
        return NULL;
    allocheck_subject.inside = map->l_ld;
    if (bind_slots(map, &all, all.relocations, all.relocation_bytes)
        || bind_slots(map, &all, all.jumps, all.jump_bytes))
        return complain("its imports cannot be bound");
    return NULL;
}
