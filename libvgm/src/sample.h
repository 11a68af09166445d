/* Values at real coordinates: points sorted into cells, Gaussians summed in their order and in binary64. */
#ifndef VGM_SAMPLE_H
#define VGM_SAMPLE_H

#include "gaussian.h"

typedef struct {
    const double *points;  /* [M, 3], in order of their cells, z slowest */
    const int64_t *starts; /* [cells + 1]: first point of each cell */
    double first[3], edge[3];
    int64_t cells[3];
} vgm_cells;

/* Add primitives to the `sums` [M] of the points in layers [z_lo, z_hi) of cells. */
void vgm_add_to_points(const vgm_primitives *primitives, const vgm_grid *grid, const vgm_cells *cells, int64_t z_lo, int64_t z_hi,
                       double *sums);

#endif
