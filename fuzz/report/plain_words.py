"""Each rule in the words of somebody who uses malloc; the table of rules has the terse ones.

Texts only.
"""

from __future__ import annotations

PLAIN = {
    "misuse": "The allocator promised to notice this misuse (a second free, an address inside a "
    "block) and let it pass.",
    "null": "free(NULL) must do nothing, and realloc(NULL, n) must be malloc(n).",
    "zero_size": "What a request of zero bytes gives is the allocator's choice, but it promised "
    "one answer and gave another.",
    "oom": "When there are no more pages, a request must end in NULL, or in a block that lies "
    "wholly in memory the allocator has; and it must work again once there are pages.",
    "refusal": "A request that no memory can hold must be refused. Usually a sum or a product of "
    "sizes has wrapped around, and the block is far smaller than what was asked for.",
    "alignment": "The address is not a multiple of what was asked for or promised: an object "
    "placed there is misaligned.",
    "race": "Two threads touched the same bytes at the same time, one of them to write: what is "
    "read there depends on who was faster.",
    "overlap": "Two blocks in use at the same time share bytes: writing to one changes the other.",
    "bounds": "The block, or a byte that the allocator wrote, lies outside the memory that was "
    "given to it: it belongs to somebody else.",
    "prefix": "realloc must keep what the block held, up to the smaller of the old and the new "
    "size. A byte of it was lost.",
    "zeroed": "calloc must give memory that reads as zero. Recycled memory holds old bytes, and "
    "somebody forgot to clear one.",
    "survival": "A request that fails must leave everything as it was. This one changed or freed "
    "a block.",
    "usable": "The usable size that the allocator tells is smaller than what was asked for.",
    "content": "A block in use must hold what was last written to it. The allocator changed a "
    "byte of it, usually by placing its own records there.",
    "errno": "errno is not what was promised: ENOMEM after a failed request, untouched by free.",
    "hang": "The operation did not end within its CPU time, nor within ten times that.",
    "abort": "The operation called abort, and no misuse gave it a reason to.",
    "exit": "The operation ended the whole process.",
    "crash": "The operation crashed: a bad address, a division by zero, or an illegal instruction.",
    "reclaim": "What is freed must be there to be had again. Here the same cycle of requests "
    "gets less and less, or the pages are not given back as promised.",
    "footprint": "The same cycle of requests and frees, repeated, makes the heap grow for ever.",
    "tiling": "Walking from block to block must lead from the heap's start to its end without "
    "holes. It does not.",
    "tags": "A block's header and what mirrors it (footer, flag in the neighbour) disagree.",
    "adjacent_free": "Two neighbours are both free, although this allocator merges them.",
    "free_list": "The list or tree of free blocks is not the set of free blocks.",
    "checksum": "A block's checksum does not match its fields.",
    "model": "The address is allowed, but it is not the one that the allocator's own header "
    "says this request gets.",
}
