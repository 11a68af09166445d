/* Grain: noise of a file's model put back into decoded voxels (vgm-1.md, 8.6). */
#ifndef VGM_GRAIN_H
#define VGM_GRAIN_H

#include "memory.h"

/* Voxels lo, lo + step, ... of the full grid, `count` on each axis, in C order. */
typedef struct {
    const vgm_noise *noise;
    uint32_t time, channel, seed;
    int type; /* vgm_type */
    int64_t lo[3], step[3], count[3];
    void *voxels;
} vgm_grain;

/* Put grain into the planes [first, last) of the box, in place. */
vgm_status vgm_grain_planes(const vgm_grain *grain, int64_t first, int64_t last, const vgm_allocator *allocator, vgm_error *error);

#endif
