/* ---- the checks: the subject's blocks, and what is in them ---- */

/* Stands behind reproducer_ending.c, a main behind it: it is no program by itself.  Everything that
 * is checked here is checked in the plainest way. */

static struct repro_block {
    unsigned char *at;
    size_t size, usable;
    int live;
    unsigned fills;
    uint64_t seed;
} blocks[REPRODUCER_NAMES + 1];

static struct {
    size_t held[REPRODUCER_CYCLES + 1], capacity[REPRODUCER_CYCLES + 1];
    int count;
} cycles;

/* ---- blocks ---- */

static void fill(int name)
{
    struct repro_block *block = &blocks[name];
    block->seed = seed_of(name, block->fills++);
    for (size_t at = 0; at < block->usable; at = next_byte(at, block->usable))
        block->at[at] = pattern(block->seed, at);
}

/* Whether the first bytes of a block are those of the block `pattern_of`. */
static void verify(const char *rule, int name, int pattern_of, size_t size)
{
    for (size_t at = 0; at < size; at = next_byte(at, blocks[pattern_of].usable))
        if (blocks[name].at[at] != pattern(blocks[pattern_of].seed, at))
            violated(rule, "byte %zu of p%d is not what was written", at, name);
}

static void check(int name)
{
    if (blocks[name].live)
        verify("content", name, name, blocks[name].usable);
}

static int is_live(int name)
{
    return blocks[name].live;
}

/* A block of 0 bytes is one of its own where that is promised, and is no business elsewhere. */
static void check_empty_blocks(int name, const unsigned char *at, size_t size)
{
    for (int other = 0; other < REPRODUCER_NAMES && REPRODUCER_ZERO > 0; other++) {
        const struct repro_block *block = &blocks[other];
        if (!block->live || (size && block->size))
            continue;
        if (at == block->at || (at < block->at && (size_t)(block->at - at) < size)
            || (block->at < at && (size_t)(at - block->at) < block->size))
            violated("zero_size", "p%d and p%d are not apart", name, other);
    }
}

static void take_in(int name, void *address, size_t size, size_t alignment)
{
    unsigned char *at = address;
    check_empty_blocks(name, at, size);
    if (size > PTRDIFF_MAX)
        violated("refusal", "%zu bytes were granted", size);
    if ((is_rule("bounds") || is_rule("oom") || is_rule("refusal")) && !is_inside(at, size))
        violated(REPRODUCER_RULE, "%zu bytes at %p are not in given memory", size, address);
    if (alignment && (size_t)at % alignment)
        violated("alignment", "%p is not aligned to %zu", address, alignment);
    size_t usable = size;
#ifdef REPRODUCER_USABLE
    if (REPRODUCER_WRITABLE && REPRODUCER_USABLE(address) > size)
        usable = REPRODUCER_USABLE(address);
#endif
    for (int other = 0; other < REPRODUCER_NAMES; other++)
        if (blocks[other].live && size && blocks[other].size
            && at < blocks[other].at + blocks[other].usable && blocks[other].at < at + usable)
            violated("overlap", "p%d and p%d share bytes", name, other);
#ifdef REPRODUCER_USABLE
    if (REPRODUCER_USABLE(address) < size)
        violated("usable", "usable_size says %zu of %zu", REPRODUCER_USABLE(address), size);
#endif
    blocks[name] = (struct repro_block){ at, size, usable, 1, blocks[name].fills, 0 };
    cycles.capacity[cycles.count] += size;
}

/* A heap without a live block must give again what an empty heap gave before. */
static void note_recovery(const void *address, size_t size)
{
    static size_t largest;
    for (int name = 0; name < REPRODUCER_NAMES; name++)
        if (blocks[name].live)
            return;
    if (address && size > largest)
        largest = size;
    if (!address && size && size <= largest && !world.deny_all && !world.denied
        && (is_rule("reclaim") || (is_rule("oom") && world.denied_ever)))
        violated(REPRODUCER_RULE, "%zu bytes failed with nothing live, %zu were granted before",
                 size, largest);
}

/* A NULL that a malloc right behind it proves wrong; `size` 0: any malloc does. */
static struct {
    const char *rule;
    size_t size;
} doubt;

static void doubt_null(const char *rule, const void *address, size_t size)
{
    doubt.rule = address ? NULL : rule;
    doubt.size = size;
}

static void settle_doubt(const void *address, size_t size)
{
    if (doubt.rule && address && size && (!doubt.size || doubt.size == size))
        violated(doubt.rule, "NULL was returned, and malloc(%zu) right behind it succeeded", size);
    doubt.rule = NULL;
}

static void granted(int name, void *address, size_t size, size_t alignment)
{
    if (!size && REPRODUCER_ZERO && (REPRODUCER_ZERO > 0) == !address)
        violated("zero_size", "a request of 0 bytes gave %p", address);
    note_recovery(address, size);
    if (!address)
        return;
    take_in(name, address, size, alignment);
    fill(name);
}

static void cleared(int name, void *address, size_t count, size_t size, size_t alignment)
{
    size_t product;
    if (!address)
        return;
    if (__builtin_mul_overflow(count, size, &product))
        violated("refusal", "%zu * %zu bytes were granted", count, size);
    take_in(name, address, product, alignment);
    for (size_t at = 0; at < product; at = next_byte(at, product))
        if (blocks[name].at[at])
            violated("zeroed", "byte %zu of p%d is not zero", at, name);
    fill(name);
}

static void resized(int name, int old, void *address, size_t size, size_t alignment)
{
    size_t kept = blocks[old].size < size ? blocks[old].size : size;
    if (!address && size) {
        verify("survival", old, old, blocks[old].usable);
        return;
    }
    blocks[old].live = 0;
    if (!address)
        return;
    blocks[name].at = address;
    if (is_rule("prefix")) /* which tells more than what else may be wrong with the block */
        verify("prefix", name, old, kept);
    take_in(name, address, size, alignment);
    verify("prefix", name, old, kept);
    fill(name);
}

/* A subject that promises to hold no page for nobody. */
static void given_back(void)
{
    for (int name = 0; name < REPRODUCER_NAMES; name++)
        if (blocks[name].live)
            return;
    if (world.granted && !world.foreigners)
        violated("reclaim", "everything is freed, and %zu bytes are still held", world.granted);
}

static void invariant(void)
{
#ifdef REPRODUCER_CHECK /* where the rule is one that the predicate speaks of */
    const char *broken = REPRODUCER_CHECK();
    if (broken)
        violated(broken, "the allocator's own validity predicate objects");
#endif
}

/* ---- cycles: what is to be judged by their repetition ---- */

static void end_cycle(void)
{
    cycles.held[cycles.count] = world.granted;
    cycles.count += cycles.count < REPRODUCER_CYCLES;
    cycles.capacity[cycles.count] = 0;
}

static void compare_cycles(void)
{
#if REPRODUCER_CYCLES > 2
    int last = cycles.count - 1, half = cycles.count / 2;
    if (is_rule("footprint") && last > half && cycles.held[last] > cycles.held[half])
        violated("footprint", "%zu bytes held after cycle %d, %zu after cycle %d",
                 cycles.held[half], half, cycles.held[last], last);
    if (is_rule("reclaim") && last > 2 && cycles.capacity[last] < cycles.capacity[2])
        violated("reclaim", "%zu bytes granted in cycle 2, %zu in cycle %d", cycles.capacity[2],
                 cycles.capacity[last], last);
#endif
}

static int close_world(void)
{
    step++;
    for (int name = 0; name < REPRODUCER_NAMES; name++)
        check(name);
    check_canaries();
    compare_cycles();
    finished = 1;
    return write(1, "not reproduced\n", 15) < 0;
}
