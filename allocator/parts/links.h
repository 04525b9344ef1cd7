/* links.h: a doubly linked list of free blocks, last in first out, ended by NULL at both ends.
 *
 * The links lie in the blocks themselves.  A list is its head, a pointer to the block pushed last;
 * the head's `previous` is NULL.  Who holds several lists says which head a block is under.
 */
#ifndef PARTS_LINKS_H
#define PARTS_LINKS_H

#include <stddef.h>

struct links {
    struct links *next;
    struct links *previous;
};

/* Puts `block`, which is in no list, at the head. */
static inline void links_push(struct links **head, struct links *block)
{
    block->next = *head;
    block->previous = NULL;
    if (*head)
        (*head)->previous = block;
    *head = block;
}

/* Takes `block` out of the list at `head`; its own links stay as they were. */
static inline void links_remove(struct links **head, struct links *block)
{
    if (block->previous)
        block->previous->next = block->next;
    else
        *head = block->next;
    if (block->next)
        block->next->previous = block->previous;
}

#endif
