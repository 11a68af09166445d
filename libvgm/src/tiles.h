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
 * rows: where even one slice would lose it: each row gets its limits and its peak in binary64.
 *
 * Large Gaussians (vgm_coarseness) are evaluated at every second or fourth voxel of a group of 2 x 2 x 2 tiles, in the same ways, and
 * brought back by halving the distance of samples once or twice: along each axis those between get the midpoint of the polynomial of degree
 * five through the six around them (Deslauriers and Dubuc, Constr. Approx. 5, 1989). That is close where the kernel is smooth, but it has a
 * kink at its cut-off, and a Gaussian of |w| = 1 alone would go past the tolerance of section 8.5 there. So each is charged with what its
 * weight times the measured errors of a kink and of a smooth Gaussian of its size come to; a group takes them in the order of the file for
 * as long as the charges add up to no more than ERROR_ROOM, and evaluates the others at every voxel, and all where they are few. A group's samples reach over its edges
 * and are its own, so nothing depends on what else was asked for. */
#ifndef VGM_TILES_H
#define VGM_TILES_H

#include "gaussian.h"

typedef struct {
    const uint64_t *offsets;   /* [9 groups + 1]: where the Gaussians of each tile, and then the large ones of each group, are in `ids` */
    const uint32_t *ids;
    const vgm_gaussian *gaussians;
    double cutoff;
    int64_t group_lo[3], groups[3];     /* first group of tiles, and how many there are */
    int64_t lo[3], step[3], count[3];   /* the voxels wanted: lo, lo + step, ... on each axis */
    int64_t pitch[3];                   /* in voxels of `out`: from plane to plane, from row to row, and where voxel (0, 0, 0) goes */
    double base, gain;
    int type;                           /* vgm_type */
    void *out;
} vgm_block;

enum { VGM_TILE_STRIDE = VGM_TILE_X + 8, /* so that the last eight lanes may hang over */
       VGM_TILE_FLOATS = VGM_TILE_Z * VGM_TILE_Y * VGM_TILE_STRIDE,
       VGM_PATCH_Z = VGM_TILE_Z + 6, /* every second voxel of a group, and those around that midpoints need; an even number */
       VGM_PATCH_Y = VGM_TILE_Y + 6,
       VGM_PATCH_X = VGM_TILE_X + 6,
       VGM_PATCH_STRIDE = VGM_PATCH_X + 10, /* and what the last eight lanes may hang over */
       VGM_PATCH_FLOATS = VGM_PATCH_Z * VGM_PATCH_Y * VGM_PATCH_STRIDE };

/* The large Gaussians of a group of tiles, summed. */
typedef struct {
    float half[VGM_PATCH_FLOATS], quarter[VGM_PATCH_FLOATS]; /* at every second and fourth voxel */
    float rows[VGM_PATCH_Y * VGM_PATCH_STRIDE], planes[VGM_PATCH_FLOATS];
    double kink;        /* of the kernel at the cut-off, see vgm_coarse_error */
    uint64_t list;      /* which one they are in */
    int64_t at[3];      /* first voxel of the group */
    int filled, others; /* whether it holds any, and whether there are some that it does not hold */
} vgm_patch;

/* Room that one call of vgm_evaluate_tiles works in, aligned to 64 bytes. */
typedef struct {
    float sum[VGM_TILE_FLOATS];
    double total[VGM_TILE_FLOATS]; /* not touched unless a tile has many Gaussians */
    float rows[VGM_TILE_Y * VGM_TILE_STRIDE], planes[(VGM_TILE_Z / 2 + 5) * VGM_TILE_Y * VGM_TILE_STRIDE];
    vgm_patch patch;
} vgm_tile_room;

/* Write the wanted voxels of groups [first, last) of a block. */
void vgm_evaluate_tiles(const vgm_block *block, uint64_t first, uint64_t last, vgm_tile_room *room);

/* Which instructions that uses here: "avx512", "avx2", "generic". */
const char *vgm_instructions(void);

#endif
