#include "counted.h"

#include <stdlib.h>

/* The size of a block lies before it; as large as the alignment that malloc gives. */
enum { BEFORE = 16 };

static void *take(void *state, size_t bytes)
{
    counted *count = state;
    char *block = bytes <= SIZE_MAX - BEFORE ? malloc(bytes + BEFORE) : NULL;
    if (block == NULL)
        return NULL;
    *(size_t *)(void *)block = bytes;
    count->now += bytes;
    if (count->now > count->peak)
        count->peak = count->now;
    return block + BEFORE;
}

static void give(void *state, void *block)
{
    counted *count = state;
    char *whole = (char *)block - BEFORE;
    if (block == NULL)
        return;
    count->now -= *(size_t *)(void *)whole;
    free(whole);
}

vgm_allocator counted_allocator(counted *count)
{
    vgm_allocator allocator = {take, give, count};
    count->now = count->peak = 0;
    return allocator;
}
