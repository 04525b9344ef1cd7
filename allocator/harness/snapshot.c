/* Small segments are copied back; the zero pages of a large .bss are dropped instead, which costs
 * only what the run touched. */
#define _GNU_SOURCE
#include "snapshot.h"

#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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

/* `zero_from` is where the pages that no file backs begin. */
static int add_segment(struct snapshot *snapshot, char *start, char *end, char *zero_from)
{
    if (start >= end)
        return 0;
    if (snapshot->count == SEGMENT_CAPACITY)
        return -1;
    struct segment *segment = &snapshot->segments[snapshot->count++];
    char *drop = page_up(zero_from > start ? zero_from : start);
    size_t droppable = drop < end ? (size_t)(end - drop) & ~(size_t)(PAGE_BYTES - 1) : 0;
    int is_zero = first_other_byte((unsigned char *)drop, droppable, 0) == droppable;
    segment->start = start;
    segment->cleared = droppable >= DROP_FROM && is_zero ? droppable : 0;
    segment->copied = segment->cleared ? (size_t)(drop - start) : (size_t)(end - start);
    segment->copy = malloc(segment->copied + 1);
    if (!segment->copy)
        return -1;
    memcpy(segment->copy, start, segment->copied);
    char *rest = drop + droppable;
    return segment->cleared ? add_segment(snapshot, rest, end, end) : 0;
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
            char *start = thread_locals(info->dlpi_tls_modid);
            search->failed |= add_around_hole(search, start, start + header->p_memsz, start);
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
        if (segment->cleared)
            madvise(segment->start + segment->copied, segment->cleared, MADV_DONTNEED);
    }
}

int snapshot_contains(const struct snapshot *snapshot, const char *start, size_t size)
{
    for (int i = 0; i < snapshot->extent_count; i++) {
        const struct extent *extent = &snapshot->extents[i];
        if (start >= extent->start && start < extent->start + extent->size
            && size <= (size_t)(extent->start + extent->size - start))
            return 1;
    }
    return 0;
}

void snapshot_free(struct snapshot *snapshot)
{
    for (int i = 0; i < snapshot->count; i++)
        free(snapshot->segments[i].copy);
    snapshot->count = snapshot->extent_count = 0;
}
