/* Means of cubes of voxels (vgm-1.md, section 8.4: grids coarser than that of an overview). */
#ifndef VGM_MEANS_H
#define VGM_MEANS_H

#include <vgm.h>

/* Planes first .. last of the means of cubes of `step` voxels a side, fewer at the far ends, of `voxels` of a size z, y, x; `out` begins with
 * plane 0. */
void vgm_means(vgm_type type, const void *voxels, const int64_t size[3], int64_t step, uint64_t first, uint64_t last, void *out);

#endif
