/* Small segments are copied back: up to some 256 KiB that is cheaper than anything that asks the
 * kernel (ci/bench_restore.py).  Large ones are private mappings of their first contents, or of
 * nothing where those are zero, which the kernel is told to drop: that costs only what the run
 * touched. */
#define _GNU_SOURCE
#include "snapshot.h"

#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pattern.h"

enum { PAGE_BYTES = 4096, DROP_FROM = 1 << 17 };

struct search {
    struct snapshot *snapshot;
    const char *address;
    char *hole, *hole_end;
    int failed;
};

static char *page_up(char *address)
{
    return (char *)(((uintptr_t)address + PAGE_BYTES - 1) & ~(uintptr_t)(PAGE_BYTES - 1));
}

static char *page_down(char *address)
{
    return (char *)((uintptr_t)address & ~(uintptr_t)(PAGE_BYTES - 1));
}

/* `copied` bytes to be put back, and then `dropped` bytes in whole pages. */
static int push(struct snapshot *snapshot, char *start, size_t copied, size_t dropped)
{
    if (!copied && !dropped)
        return 0;
    if (snapshot->count == SEGMENT_CAPACITY)
        return -1;
    struct segment *segment = &snapshot->segments[snapshot->count++];
    *segment = (struct segment){ start, copied, dropped, malloc(copied + 1) };
    if (!segment->copy)
        return -1;
    memcpy(segment->copy, start, copied);
    return 0;
}

/* Puts a private mapping of their contents in the place of these pages: what is dropped comes back
 * from it. */
static int map_contents(char *start, size_t size)
{
    int file = memfd_create("first contents", MFD_CLOEXEC);
    int failed = file < 0 || write(file, start, size) != (ssize_t)size
                 || mmap(start, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file, 0)
                        == MAP_FAILED;
    if (file >= 0)
        close(file);
    return failed;
}

static int add_filled(struct snapshot *snapshot, char *start, char *end)
{
    char *first = page_up(start), *last = page_down(end);
    if (end - start < DROP_FROM || map_contents(first, (size_t)(last - first)))
        return push(snapshot, start, (size_t)(end - start), 0);
    return push(snapshot, start, (size_t)(first - start), (size_t)(last - first))
           | push(snapshot, last, (size_t)(end - last), 0);
}

/* `zero_from` is where the pages that no file backs begin. */
static int add_segment(struct snapshot *snapshot, char *start, char *end, char *zero_from)
{
    if (start >= end)
        return 0;
    char *drop = page_up(zero_from > start ? zero_from : start), *last = page_down(end);
    size_t room = drop < last ? (size_t)(last - drop) : 0;
    if (room < DROP_FROM || first_other_byte((unsigned char *)drop, room, 0) < room)
        return add_filled(snapshot, start, end);
    return add_filled(snapshot, start, drop) | push(snapshot, drop, 0, room)
           | push(snapshot, last, (size_t)(end - last), 0);
}

static int add_around_hole(struct search *search, char *start, char *end, char *zero_from)
{
    struct snapshot *snapshot = search->snapshot;
    if (snapshot->extent_count == SEGMENT_CAPACITY)
        return -1;
    snapshot->extents[snapshot->extent_count++] = (struct extent){ start, (size_t)(end - start) };
    if (!search->hole || search->hole >= end || search->hole_end <= start)
        return add_segment(snapshot, start, end, zero_from);
    return add_segment(snapshot, start, search->hole, zero_from)
           | add_segment(snapshot, search->hole_end, end, zero_from);
}

static int is_around(const struct dl_phdr_info *info, const char *address)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        const char *start = (const char *)(info->dlpi_addr + header->p_vaddr);
        if (header->p_type == PT_LOAD && address >= start && address < start + header->p_memsz)
            return 1;
    }
    return 0;
}

/* This thread's block of a library's thread-local variables, made if there is none yet. */
static char *thread_locals(size_t module)
{
    struct {
        size_t module, offset;
    } index = { module, 0 };
    extern void *__tls_get_addr(void *index);
    return __tls_get_addr(&index);
}

static int add_thread_locals(struct snapshot *snapshot, size_t module, size_t size)
{
    if (snapshot->local_count == SEGMENT_CAPACITY)
        return -1;
    snapshot->locals[snapshot->local_count].module = module;
    snapshot->locals[snapshot->local_count++].size = size;
    return push(snapshot, thread_locals(module), size, 0);
}

static int visit(struct dl_phdr_info *info, size_t size, void *argument)
{
    (void)size;
    struct search *search = argument;
    if (!is_around(info, search->address))
        return 0;
    char *relro = NULL, *relro_end = NULL; /* read-only after relocation */
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_GNU_RELRO) {
            relro = (char *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
            relro_end = page_up(relro + info->dlpi_phdr[i].p_memsz);
        }
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type == PT_TLS && header->p_memsz) {
            search->failed |= add_thread_locals(search->snapshot, info->dlpi_tls_modid,
                                                header->p_memsz);
        }
        if (header->p_type != PT_LOAD || !(header->p_flags & PF_W))
            continue;
        char *start = (char *)(info->dlpi_addr + header->p_vaddr);
        char *end = start + header->p_memsz;
        char *zero_from = start + header->p_filesz;
        if (relro && relro >= start && relro < end)
            start = relro_end;
        search->failed |= add_around_hole(search, start, end, zero_from);
    }
    return 1;
}

int snapshot_add(struct snapshot *snapshot, const void *address, char *hole, char *hole_end)
{
    struct search search = { snapshot, address, hole, hole_end, 0 };
    return dl_iterate_phdr(visit, &search) == 1 && !search.failed ? 0 : -1;
}

static int visit_code(struct dl_phdr_info *info, size_t size, void *argument)
{
    (void)size;
    struct code *found = argument;
    if (!is_around(info, found->start))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type != PT_LOAD || !(header->p_flags & PF_X))
            continue;
        found->start = (const char *)(info->dlpi_addr + header->p_vaddr);
        found->end = found->start + header->p_memsz;
        return 1;
    }
    return 0;
}

int snapshot_find_code(const void *address, struct code *found)
{
    found->start = address;
    return dl_iterate_phdr(visit_code, found);
}

void snapshot_restore(const struct snapshot *snapshot)
{
    for (int i = 0; i < snapshot->count; i++) {
        const struct segment *segment = &snapshot->segments[i];
        memcpy(segment->start, segment->copy, segment->copied);
        if (segment->dropped)
            madvise(segment->start + segment->copied, segment->dropped, MADV_DONTNEED);
    }
}

static int contains(const struct extent *extent, const char *start, size_t size)
{
    return start >= extent->start && start < extent->start + extent->size
           && size <= (size_t)(extent->start + extent->size - start);
}

int snapshot_contains(const struct snapshot *snapshot, const char *start, size_t size)
{
    for (int i = 0; i < snapshot->extent_count; i++)
        if (contains(&snapshot->extents[i], start, size))
            return 1;
    for (int i = 0; i < snapshot->local_count; i++) {
        struct extent own = { thread_locals(snapshot->locals[i].module), snapshot->locals[i].size };
        if (contains(&own, start, size))
            return 1;
    }
    return 0;
}

void snapshot_free(struct snapshot *snapshot)
{
    for (int i = 0; i < snapshot->count; i++)
        free(snapshot->segments[i].copy);
    snapshot->count = snapshot->extent_count = snapshot->local_count = 0;
}
