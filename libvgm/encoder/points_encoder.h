/* Writes points chunks (vgm-1-points.md), but for their head. */
#ifndef VGM_POINTS_ENCODER_H
#define VGM_POINTS_ENCODER_H

#include "range_encoder.h"

/* Integers on the nodes of a grid, and which blocks of eight nodes a side may hold any (1, else 0). Around the blocks there is a border
 * of zeros; around the integers one before each axis, and one after y and x. */
typedef struct {
    uint8_t *blocks; /* [blocks + 2, ...] */
    int32_t *q;      /* [nodes + 1, nodes + 2, nodes + 2] */
    int64_t grid[3], nodes[3];
} vgm_points;

/* Write the code but for its end, or up to an integer that no decoder takes. */
void vgm_encode_points(vgm_encoder *e, const vgm_points *points);

#endif
