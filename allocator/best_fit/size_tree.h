/* size_tree.h: the free blocks in an AVL tree, ordered by size and, among equals, by address.
 *
 * A node lies in the block that it stands for.  The heights of a node's two subtrees differ by one
 * at most, so that a tree of f nodes is at most 1.44 log2(f + 2) high; that also bounds the
 * recursion.  Every change returns the subtree's new root, which takes the old one's place; so no
 * node needs to know its parent.  It allocates nothing, and knows no heap.
 */
#ifndef SIZE_TREE_H
#define SIZE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parts/requests.h"

/* The header of a block; what follows its first two members is there only while it is free. */
struct mem_node {
    uint64_t checksum;
    size_t word;            /* the size, with flags in its lowest bits */
    struct mem_node *left;  /* a subtree of smaller blocks, or equal ones at lower addresses */
    struct mem_node *right; /* a subtree of larger blocks, or equal ones at higher addresses */
    size_t height;          /* of the subtree that starts here; 1 for a leaf */
};

static inline size_t size_of(const struct mem_node *block)
{
    return block->word & ~(size_t)(ALIGN - 1);
}

/* The order of the tree. */
static inline bool is_before(const struct mem_node *one, const struct mem_node *other)
{
    if (size_of(one) != size_of(other))
        return size_of(one) < size_of(other);
    return one < other;
}

/* ---- balance ---- */

static inline size_t height_of(const struct mem_node *tree)
{
    return tree ? tree->height : 0;
}

static inline void set_height(struct mem_node *node)
{
    size_t left = height_of(node->left);
    size_t right = height_of(node->right);
    node->height = (left > right ? left : right) + 1;
}

/*      node                  pivot
 *     /    \                /     \
 *    a    pivot    ==>   node      c      the order a, node, b, pivot, c stays
 *        /     \        /    \
 *       b       c      a      b
 */
static inline struct mem_node *rotate_left(struct mem_node *node)
{
    struct mem_node *pivot = node->right;
    node->right = pivot->left;
    pivot->left = node;
    set_height(node);
    set_height(pivot);
    return pivot;
}

static inline struct mem_node *rotate_right(struct mem_node *node)
{
    struct mem_node *pivot = node->left;
    node->left = pivot->right;
    pivot->right = node;
    set_height(node);
    set_height(pivot);
    return pivot;
}

/* Balances a node whose subtrees are balanced and differ by two at most.  A higher child that
 * leans inwards is turned outwards first: one rotation alone would only move the excess across. */
static inline struct mem_node *balance(struct mem_node *node)
{
    size_t left = height_of(node->left);
    size_t right = height_of(node->right);
    if (left > right + 1) {
        if (height_of(node->left->left) < height_of(node->left->right))
            node->left = rotate_left(node->left);
        return rotate_right(node);
    }
    if (right > left + 1) {
        if (height_of(node->right->right) < height_of(node->right->left))
            node->right = rotate_right(node->right);
        return rotate_left(node);
    }
    set_height(node);
    return node;
}

/* ---- changes: each returns the new root ---- */

static inline struct mem_node *tree_insert(struct mem_node *tree, struct mem_node *block)
{
    if (!tree) {
        block->left = block->right = NULL;
        block->height = 1;
        return block;
    }
    if (is_before(block, tree))
        tree->left = tree_insert(tree->left, block);
    else
        tree->right = tree_insert(tree->right, block);
    return balance(tree);
}

static inline struct mem_node *tree_first(struct mem_node *tree)
{
    while (tree->left)
        tree = tree->left;
    return tree;
}

/* Takes `block` out; a tree that does not hold it stays as it is. */
static inline struct mem_node *tree_remove(struct mem_node *tree, struct mem_node *block)
{
    if (!tree)
        return NULL;
    if (tree != block) {
        if (is_before(block, tree))
            tree->left = tree_remove(tree->left, block);
        else
            tree->right = tree_remove(tree->right, block);
        return balance(tree);
    }
    if (!block->left)
        return block->right;
    if (!block->right)
        return block->left;
    struct mem_node *next = tree_first(block->right); /* takes the block's place */
    next->right = tree_remove(block->right, next);
    next->left = block->left;
    return balance(next);
}

/* ---- looking ---- */

/* The first block in the order that spans at least `need` bytes, or NULL. */
static inline struct mem_node *tree_fit(struct mem_node *tree, size_t need)
{
    struct mem_node *best = NULL;
    while (tree) {
        if (size_of(tree) < need) {
            tree = tree->right;
        } else {
            best = tree;
            tree = tree->left;
        }
    }
    return best;
}

static inline bool tree_holds(const struct mem_node *tree, const struct mem_node *block)
{
    while (tree && tree != block)
        tree = is_before(block, tree) ? tree->left : tree->right;
    return tree != NULL;
}

#endif
