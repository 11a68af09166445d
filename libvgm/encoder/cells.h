/* Voxels of an image as a fit takes them, and what coarse cells say voxel by voxel: the same bytes whatever the machine. */
#ifndef VGM_CELLS_H
#define VGM_CELLS_H

#include <stddef.h>
#include <stdint.h>

/* Voxels [z, y, x] as stored: unsigned of 1 or 2 bytes, or binary32 (4); pitches in bytes, rows in one piece. */
typedef struct {
    const void *at;
    ptrdiff_t pitch[2];
    int64_t shape[3];
    int bytes;
} vgm_stored;

/* Cells [z, y, x] of `size` voxels along each axis; voxel 0 of a box is voxel `origin` of the cells' image. */
typedef struct {
    const void *at;
    int64_t shape[3], size[3], origin[3];
} vgm_cells;

/* Means of voxel - origin over cells [shape] of one or two voxels along each axis, and of its square; cells over the edge repeat the last
 * voxels. Pairs along z are averaged first, then along y, then along x. `room`: 6 rows of shape[2] cells' voxels. */
void vgm_cell_means(const vgm_stored *voxels, const int64_t size[3], float origin, const int64_t shape[3], float *room, float *means, float *squares);

/* Adds planes of voxels to sums [shape] over boxes of `step` voxels a side, plane z to that of voxel z + `before`; row by row, then along each
 * row. `room`: a row. */
void vgm_box_sums(const vgm_stored *voxels, int64_t step, int64_t before, const int64_t shape[3], double *room, double *sums);

/* (voxel - base) * scale. */
void vgm_normalise(const vgm_stored *voxels, float base, float scale, float *out);

/* Means over pairs of a field along the axes that are `halved` (0 or 1), z first, then y, then x; an odd last one counts half. `room`: 2 rows. */
void vgm_halve(const float *from, const int64_t shape[3], const int halved[3], float *room, float *out);

/* The variance of noise that goes with the light: max(0, gain * level) + least, where the level is that of a voxel's cell, or halfway to the
 * voxel, (voxel - base) * scale, if that is more. Voxels NULL: the cell's alone. `out` is [shape]. */
void vgm_noise_variance(const vgm_stored *voxels, const vgm_cells *level, const int64_t shape[3], float base, float scale, float gain, float least,
                        float *out);

/* The most of the processor's instructions that may be used: 0 none, 1 AVX2, 2 AVX-512. For tests: results do not depend on it. */
void vgm_limit_cells(int most);

/* Each voxel's cell, of bytes. */
void vgm_spread(const vgm_cells *cells, const int64_t shape[3], uint8_t *out);

#endif
