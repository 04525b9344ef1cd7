"""What page_source_array.c keeps: where the part of the array ends that has been handed out."""

ROWS = True
START, END, LIMIT = 40, 48, 56  # behind the five functions


def walk(heap):
    """One row from the array's start, as long as heap.rows says in a premise, else as it is."""
    at, _ = heap.places.variable("array")
    start, limit = heap.settings(at + START, 8), heap.settings(at + LIMIT, 8)
    heap.word(at + START, [start], "tiling")
    heap.word(at + LIMIT, [limit], "tiling")
    ends = [start + heap.rows[0][1]] if heap.rows else heap.between(start, limit)
    end = heap.word(at + END, ends, "tiling")
    heap.rows = ((start, end - start),)
