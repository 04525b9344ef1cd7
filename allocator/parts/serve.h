/* serve.h: mem_alloc and mem_alloc_aligned, where a request is served by cutting a free block.
 *
 * For the one source of an allocator that has, before it includes this, ALIGN and MIN_BLOCK and
 *   block_size(request)                what a request needs
 *   take(heap, need)                   a free block of at least so much, taken out; NULL if refused
 *   occupy(heap, block, have, need)    uses the lower part of a block taken out, frees the rest
 *   release(heap, block, size)         makes [block, block + size) a free block
 *   size_of(block), payload_of(block), node_at(address)
 */
#ifndef PARTS_SERVE_H
#define PARTS_SERVE_H

#include "mem.h"
#include "parts/requests.h"

void *mem_alloc(struct mem_heap *heap, size_t size)
{
    if (size > MAX_REQUEST)
        return fail(ENOMEM);
    size_t need = block_size(size);
    struct mem_node *block = take(heap, need);
    if (!block)
        return fail(ENOMEM);
    occupy(heap, block, size_of(block), need);
    return payload_of(block);
}

void *mem_alloc_aligned(struct mem_heap *heap, size_t alignment, size_t size)
{
    if (!is_power_of_two(alignment))
        return fail(EINVAL);
    if (alignment <= ALIGN)
        return mem_alloc(heap, size);
    if (size > MAX_REQUEST || alignment > MAX_REQUEST / 2)
        return fail(ENOMEM);
    size_t need = block_size(size);
    struct mem_node *lower = take(heap, need + alignment + ALIGN);
    if (!lower)
        return fail(ENOMEM);
    size_t have = size_of(lower);
    uintptr_t payload = (uintptr_t)payload_of(lower);
    size_t room = round_up(payload, alignment) - payload;
    if (room && room < MIN_BLOCK)
        room += alignment;
    struct mem_node *block = node_at((char *)lower + room);
    occupy(heap, block, have - room, need);
    if (room)
        release(heap, lower, room);
    return payload_of(block);
}

#endif
