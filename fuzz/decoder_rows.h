/* Rows: blocks laid one behind another, of which some go, so that holes come to lie where the
 * program says, between blocks that live and beside others that are free.
 *
 * Part of decoder.c.  Left to chance, a heap that has run for a while holds hardly a block whose
 * neighbours are both free and of one size, and hardly a hole that is filled exactly.
 *
 *      a comb    | free | used | free | used | free |   equal blocks; those left are resized, freed
 *      a churn   | used | used | hole | used | used |   any sizes; a hole opens, and is filled at
 *                                                       once, by as much or by a step less
 */
#ifndef ALLOCHECK_DECODER_ROWS_H
#define ALLOCHECK_DECODER_ROWS_H

#include "decoder_sizes.h"

enum { SHORTEST_ROW = 3, SHORT_CHURN = 16, LONG_CHURN = 64,
       ODD_ONES = 1, LONG = 0x10, SAME_ORDER = 0x40, CHURNED = 0x80 }; /* bits of a row's shape */

static struct op put(struct decoder *d, uint32_t place, uint64_t size)
{
    uint32_t name = d->row.at[place].name = make(d, size);
    return made(OP_MALLOC, name, size, 0);
}

static struct op free_at(struct decoder *d, uint32_t index)
{
    return plain(OP_FREE, release(d, index).name, 0);
}

static struct op resize_at(struct decoder *d, uint32_t index, uint64_t size)
{
    uint32_t old = d->live[index].name;
    if (!hopeless(d, size))
        release(d, index);
    return made(OP_REALLOC, make(d, size), old, size);
}

/* One in four is resized instead; what was refused, or freed with everything else, is asked for
 * again. */
static struct op churn(struct decoder *d, const uint8_t *bytes)
{
    struct row *row = &d->row;
    if (row->hole < row->count) {
        uint32_t place = row->hole;
        uint64_t most = row->at[place].size;
        row->hole = row->count;
        return put(d, place, most - (bytes[3] & 1 && most >= STEP ? STEP : 0));
    }
    uint32_t place = bytes[1] % row->count;
    uint32_t index = place_of(d, row->at[place].name);
    if (index == d->live_count)
        return put(d, place, row->at[place].size);
    if (bytes[0] % 4 == 0 && allowed(d->limits, OP_REALLOC)) {
        row->at[place].name = d->names;
        return resize_at(d, index, realloc_size(d, bytes, d->live[index].size));
    }
    row->hole = place;
    return free_at(d, index);
}

/* Half of those that stay are resized, a half of these to what they have. */
static struct op comb(struct decoder *d, const uint8_t *bytes, uint32_t step)
{
    struct row *row = &d->row;
    uint32_t parity = row->shape & ODD_ONES, holes = (row->count + 1 - parity) / 2;
    int opening = step < holes;
    if (!opening) {
        step -= holes;
        parity = !parity;
    } else if (!(row->shape & SAME_ORDER)) {
        step = holes - 1 - step;
    }
    uint32_t index = place_of(d, row->at[parity + 2 * step].name);
    if (index == d->live_count)
        return put(d, 0, palette_size(d, bytes));
    if (opening || bytes[0] & 1 || !allowed(d->limits, OP_REALLOC))
        return free_at(d, index);
    uint64_t size = d->live[index].size;
    return resize_at(d, index, size && bytes[0] & 2 ? size : realloc_size(d, bytes, size));
}

static int in_row(const struct decoder *d)
{
    return d->row.step < d->row.end;
}

static struct op decode_row(struct decoder *d, const uint8_t *bytes)
{
    struct row *row = &d->row;
    uint32_t step = row->step++;
    int churned = row->shape & CHURNED;
    if (step < row->count) {
        row->at[step].size = churned ? palette_size(d, bytes) : row->at[0].size;
        return put(d, step, row->at[step].size);
    }
    return churned ? churn(d, bytes) : comb(d, bytes, step - row->count);
}

/* Its first operation; where rows are clean that empties the heap. */
static struct op start_row(struct decoder *d, const uint8_t *bytes)
{
    struct row *row = &d->row;
    row->shape = bytes[1];
    row->count = SHORTEST_ROW + (bytes[1] >> 1 & 7) % (ROW_CAPACITY - SHORTEST_ROW + 1);
    row->hole = row->count;
    row->step = 0;
    row->end = row->count + (row->shape & CHURNED
                             ? row->shape & LONG ? LONG_CHURN : SHORT_CHURN : row->count);
    row->at[0].size = palette_size(d, bytes);
    return row->clean && allowed(d->limits, OP_FREE_ALL) ? free_everything(d)
                                                         : decode_row(d, bytes);
}

#endif
