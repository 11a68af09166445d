#include "memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *take_malloc(void *state, size_t bytes)
{
    (void)state;
    return malloc(bytes);
}

static void give_free(void *state, void *block)
{
    (void)state;
    free(block);
}

const vgm_allocator vgm_malloc_allocator = {take_malloc, give_free, NULL};

vgm_status vgm_fail(vgm_error *error, vgm_status status, const char *format, ...)
{
    if (error != NULL) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error->text, sizeof error->text, format, arguments);
        va_end(arguments);
        error->status = status;
    }
    return status;
}

vgm_status vgm_ok(vgm_error *error)
{
    if (error != NULL) {
        error->status = VGM_OK;
        error->text[0] = 0;
    }
    return VGM_OK;
}

void *vgm_take(const vgm_allocator *allocator, size_t count, size_t size, vgm_error *error)
{
    void *block = NULL;
    if (count == 0)
        count = 1;
    if (count <= (size_t)PTRDIFF_MAX / size)
        block = allocator->take(allocator->state, count * size);
    if (block == NULL)
        vgm_fail(error, VGM_MEMORY, "no memory for %llu x %llu bytes", (unsigned long long)count, (unsigned long long)size);
    else
        memset(block, 0, count * size);
    return block;
}

void vgm_give(const vgm_allocator *allocator, void *block)
{
    if (block != NULL)
        allocator->give(allocator->state, block);
}
