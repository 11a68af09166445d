/* Evaluation of tiles of voxels; a voxel never depends on what else was asked for.
 *
 * A tile is evaluated from its own first voxel whatever part of it is wanted, eight x lanes at a time, in one of four ways:
 *
 * product: a Gaussian of a few voxels whose axes are those of the grid is a product of three factors.
 *
 * walk: along y, and then z, the exponent is a quadratic, so each row follows from the last by two multiplications. No exponential in the
 * loops, and no mask: the kernel is zero at its cut-off; of each plane only the rows and blocks that a slice of the ellipsoid reaches.
 *
 * columns: where the terms of the exponent are so much larger than their sum that a walk in binary32 would lose it (needles, tilted
 * sheets): only the y that a slice of the ellipsoid reaches, with an exponential in each.
 *
 * rows: where even one slice would lose it: each row gets its limits and its peak in binary64. */
#ifndef VGM_TILES_H
#define VGM_TILES_H

#include "gaussian.h"

typedef struct {
    const uint64_t *offsets;   /* [tiles + 1]: where the Gaussians of each tile are in `ids` */
    const uint32_t *ids;
    const vgm_gaussian *gaussians;
    double cutoff;
    int64_t tile_lo[3], tiles[3];       /* first tile of the block, and how many there are */
    int64_t lo[3], step[3], count[3];   /* the voxels wanted: lo, lo + step, ... on each axis */
    int64_t pitch[3];                   /* in voxels of `out`: from plane to plane, from row to row, and where voxel (0, 0, 0) goes */
    double base, gain;
    int type;                           /* vgm_type */
    void *out;
} vgm_block;

enum { VGM_TILE_STRIDE = VGM_TILE_X + 8, /* so that the last eight lanes may hang over */
       VGM_TILE_FLOATS = VGM_TILE_Z * VGM_TILE_Y * VGM_TILE_STRIDE };

/* Room that one call of vgm_evaluate_tiles works in, aligned to 64 bytes. */
typedef struct {
    float sum[VGM_TILE_FLOATS];
    double total[VGM_TILE_FLOATS]; /* not touched unless a tile has many Gaussians */
} vgm_tile_room;

/* Write the wanted voxels of tiles [first, last) of a block. */
void vgm_evaluate_tiles(const vgm_block *block, uint64_t first, uint64_t last, vgm_tile_room *room);

/* Which instructions that uses here: "avx2", "generic". */
const char *vgm_instructions(void);

#endif
