/* Errors and memory: how every part says what went wrong, and takes what it needs. */
#ifndef VGM_MEMORY_H
#define VGM_MEMORY_H

#include "vgm.h"

#if defined(__GNUC__)
#define VGM_PRINTF(text, first) __attribute__((__format__(__printf__, text, first)))
#else
#define VGM_PRINTF(text, first)
#endif

extern const vgm_allocator vgm_malloc_allocator;

/* Leaves a status and its text in `error`, where that is not NULL; returns the status. */
vgm_status vgm_fail(vgm_error *error, vgm_status status, const char *format, ...) VGM_PRINTF(3, 4);
vgm_status vgm_ok(vgm_error *error);

/* `count` items of `size` bytes, all 0; NULL with VGM_MEMORY in `error`. Never NULL for nothing. */
void *vgm_take(const vgm_allocator *allocator, size_t count, size_t size, vgm_error *error);
void vgm_give(const vgm_allocator *allocator, void *block);

#endif
