/* zstd frames whose content size is known and allowed before memory is taken (vgm-1.md, 1.5). */
#ifndef VGM_FRAME_H
#define VGM_FRAME_H

#include "memory.h"

/* The content size that a frame says; VGM_DAMAGED where it says none, or is not the one frame of section 1.5. */
vgm_status vgm_frame_size(const uint8_t *data, size_t length, const char *where, uint64_t *size, vgm_error *error);

/* Decompress a frame of exactly `size` bytes. */
vgm_status vgm_frame_read(const uint8_t *data, size_t length, const char *where, uint8_t *to, size_t size,
                          const vgm_allocator *allocator, vgm_error *error);

#endif
