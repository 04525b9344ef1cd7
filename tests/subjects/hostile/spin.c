/* The free list can end up pointing to itself, and the search then never ends. */
#include <stddef.h>

static struct node { struct node *next; size_t size; } ring = { &ring, 0 };

void *spin_malloc(size_t size)
{
    struct node *volatile node = &ring;
    while (node->size < size || size == 0)
        node = node->next;
    return node + 1;
}

void spin_free(void *block)
{
    (void)block;
}
