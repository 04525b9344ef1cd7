"""What page_source_system.c keeps: where the memory that grow() gave last began, and its end."""


def walk(heap):
    """The run of memory below the break since somebody else moved it last."""
    start = end = 0
    if heap.rows:
        start, size = heap.rows[-1]
        end = start + size
    heap.variable("start", [start], "tiling")
    heap.variable("end", [end], "tiling")
