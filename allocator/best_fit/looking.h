/* looking.h: the walk over a heap and its validity predicate; for best_fit.c.
 *
 * Both change nothing.  The predicate follows no size, no link and no node before it has looked
 * whether it can be one.
 */
#ifndef LOOKING_H
#define LOOKING_H

#include "blocks.h"

enum { MAX_HEIGHT = 96 }; /* no tree of blocks in 64 bits of addresses is higher */

static inline bool size_can_be(const struct mem_row *row, const struct mem_node *block)
{
    return size_of(block) >= MIN_BLOCK && size_of(block) <= (size_t)(row->end - (char *)block);
}

/* ---- the walk ---- */

struct view {
    struct mem_block *blocks;
    size_t capacity;
    size_t count;
};

static inline void show(struct view *view, char *address, size_t size, bool used)
{
    if (view->count < view->capacity)
        view->blocks[view->count] = (struct mem_block){ address, size, used };
    view->count++;
}

static inline void show_row(struct view *view, const struct mem_row *row)
{
    struct mem_node *block = first_of(row);
    for (; size_can_be(row, block); block = after(block))
        show(view, (char *)block, size_of(block), is_used(block));
}

size_t mem_walk(const struct mem_heap *heap, struct mem_block *blocks, size_t capacity)
{
    struct view view = { blocks, capacity, 0 };
    const struct mem_row *row = heap->rows;
    struct mem_region *region = heap->regions;
    while (row || region) {
        if (row && (!region || (uintptr_t)row < (uintptr_t)region)) {
            show_row(&view, row);
            row = row->above;
        } else {
            show(&view, start_of(region), size_of(header_of(region)), true);
            region = region->next;
        }
    }
    return view.count;
}

/* ---- the validity predicate ---- */

/* A block whose size can be, above one that is free or not. */
static inline const char *check_block(const struct mem_heap *heap, const struct mem_node *block,
                                      bool below_free)
{
    if (!is_sound(heap, block))
        return "checksum";
    if ((block->word & FLAGS & ~USED) != (below_free ? BELOW_FREE : 0))
        return "tags";
    if (is_used(block))
        return NULL;
    if (*footer_of(block) != size_of(block))
        return "tags";
    return below_free ? "adjacent_free" : NULL;
}

/* Adds the row's free blocks to `free_blocks`. */
static inline const char *check_row(const struct mem_heap *heap, const struct mem_row *row,
                                    size_t *free_blocks)
{
    bool below_free = false;
    const struct mem_node *block = first_of(row);
    for (; (const char *)block != row->end; block = after(block)) {
        if (!size_can_be(row, block))
            return "tiling";
        const char *broken = check_block(heap, block, below_free);
        if (broken)
            return broken;
        below_free = !is_used(block);
        *free_blocks += below_free;
    }
    if (size_of(block) || (row->above && (char *)row->above <= row->end))
        return "tiling";
    return is_used(block) ? check_block(heap, block, below_free) : "tags";
}

static inline const char *end_of(const struct mem_region *region)
{
    return start_of(region) + (region->word & ~FLAGS);
}

static inline const char *check_region(const struct mem_heap *heap, struct mem_region *region,
                                       const struct mem_region *below)
{
    const struct mem_node *header = header_of(region);
    if (!is_sound(heap, header))
        return "checksum";
    if ((header->word & FLAGS) != (USED | REGION))
        return "tags";
    if (region->lead < REGION_START || region->lead % ALIGN || region->lead >= size_of(header))
        return "tiling";
    if ((uintptr_t)start_of(region) % PAGE || size_of(header) % PAGE)
        return "tiling";
    return below && start_of(region) < end_of(below) ? "tiling" : NULL;
}

/* What may lie between `low` and `high` (NULL: no bound) and be `height` high at most. */
struct bounds {
    const struct mem_node *low, *high;
    size_t height;
};

/* Whether `tree` is a search tree of free blocks, balanced as declared; adds them to `nodes`. */
static inline bool check_tree(const struct mem_heap *heap, const struct mem_node *tree,
                              struct bounds bounds, size_t *nodes)
{
    if (!tree)
        return true;
    if ((uintptr_t)tree % ALIGN || !row_of(heap, tree) || !is_sound(heap, tree) || is_used(tree))
        return false;
    if (!tree->height || tree->height > bounds.height)
        return false;
    if (bounds.low && !is_before(bounds.low, tree))
        return false;
    if (bounds.high && !is_before(tree, bounds.high))
        return false;
    ++*nodes;
    struct bounds below = { bounds.low, tree, tree->height - 1 };
    struct bounds above = { tree, bounds.high, tree->height - 1 };
    if (!check_tree(heap, tree->left, below, nodes) || !check_tree(heap, tree->right, above, nodes))
        return false;
    size_t left = height_of(tree->left), right = height_of(tree->right);
    size_t higher = left > right ? left : right, lower = left > right ? right : left;
    return tree->height == higher + 1 && higher - lower <= 1;
}

/* Whether each free block of the rows, which tile, is in the tree, which is one. */
static inline bool check_membership(const struct mem_heap *heap)
{
    for (const struct mem_row *row = heap->rows; row; row = row->above) {
        const struct mem_node *block = first_of(row);
        for (; (const char *)block != row->end; block = after(block))
            if (!is_used(block) && !tree_holds(heap->tree, block))
                return false;
    }
    return true;
}

const char *mem_check(const struct mem_heap *heap)
{
    const char *broken = NULL;
    size_t free_blocks = 0, nodes = 0;
    for (const struct mem_row *row = heap->rows; row && !broken; row = row->above)
        broken = check_row(heap, row, &free_blocks);
    const struct mem_region *below = NULL;
    for (struct mem_region *region = heap->regions; region && !broken; region = region->next) {
        broken = check_region(heap, region, below);
        below = region;
    }
    if (broken)
        return broken;
    struct bounds all = { NULL, NULL, MAX_HEIGHT };
    bool is_tree = check_tree(heap, heap->tree, all, &nodes);
    return is_tree && nodes == free_blocks && check_membership(heap) ? NULL : "free_list";
}

#endif
