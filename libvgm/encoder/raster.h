/* The rasteriser of fits: Gaussians added into a box of voxels, their derivative along a direction, their moments under a residual.
 *
 * A box is cut into tiles, each with the list of the Gaussians whose support meets it; a call does a run of tiles, so that threads share a
 * box. Results depend on the tiles' shape, by rounding, and on nothing else: lanes, the order of sums and exp are fixed, and no
 * multiplication is contracted with an addition. Sizes are the caller's to check. */
#ifndef VGM_RASTER_H
#define VGM_RASTER_H

#include <stdint.h>

enum {
    VGM_FIT_PAD = 16,       /* lanes that a row of a tile is longer by: the last sixteen may hang over */
    VGM_FIT_MAX_PLANES = 256, /* of a tile */
    VGM_FIT_MOMENTS = 11,   /* sum r (k - edge), then sum r k (1, z, y, x, zz, zy, zx, yy, yx, xx), over the support */
    VGM_FIT_DIRECTION = 10, /* dw, then -dq/2 as a polynomial: z, y, x, zz, zy, zx, yy, yx, xx */
    VGM_FIT_BLACK = 1,      /* voxels that decoding cuts off below, */
    VGM_FIT_WHITE = 2       /* and above */
};

/* A Gaussian prepared for a box. */
typedef struct {
    double m[3];                                       /* centre, from the box's first voxel */
    float weight;                                      /* of exp(-q/2) - edge */
    float h[3];                                        /* how far the support reaches */
    float azz, azy, azx, ayy, ayx, axx;                /* the inverse covariance */
    float czz, cyy, czy;                               /* exp(-azz), exp(-ayy), exp(-azy): ratios of ratios of neighbouring rows */
    float iz, jx, jxz, jyz, jyx;                       /* q = iz z^2 + jx (x - jxz z)^2 + ayy (y - jyz z - jyx x)^2 */
    float yz, y;                                       /* rows of a plane: (y - yz z)^2 <= y^2 (cutoff - iz z^2) */
    float ix, zx, z, yx, w;                            /* at an x: (z - zx x)^2 <= z^2 (cutoff - ix x^2), (y - yx x)^2 <= w^2 (cutoff - ix x^2) */
    float highest[3];                                  /* the x at which z, the x at which y, and the z at which y reaches furthest */
} vgm_fit_gaussian;

/* A box, its tiles, and the lists of the tiles: ids[offsets[t]] to ids[offsets[t + 1] - 1], ascending. */
typedef struct {
    const vgm_fit_gaussian *gaussians;
    const int64_t *offsets, *ids;
    int64_t shape[3], tile[3], grid[3];
    double cutoff;
} vgm_fit_box;

/* Of means [n][3], covariances [n][6] (zz, zy, zx, yy, yx, xx) and weights [n]. */
void vgm_fit_pack(const double *means, const double *covariances, const double *weights, int64_t n, double cutoff, vgm_fit_gaussian *out);

/* For each Gaussian, by covariances [n][6], the last of some grids whose least widths [grids][3] (conditional standard deviations along z, y, x) it
 * has, 0 if none; and about how many voxels of a box it covers. */
void vgm_fit_grids(const double *covariances, int64_t n, double cutoff, const int64_t shape[3], const double *widths, int64_t grids, int64_t *which,
                   double *pairs);

/* Adds to counts [tiles + 1], shifted by one, how many Gaussians each tile gets. */
void vgm_fit_count(const vgm_fit_box *box, int64_t n, int64_t *counts);

/* Writes the lists; cursor [tiles] is where each begins. */
void vgm_fit_fill(const vgm_fit_box *box, int64_t n, int64_t *cursor, int64_t *ids);

/* The sum of the Gaussians in tiles [first, last), into `out` of the box's shape; on top of what is there with `over`. Room: a tile with its pad. */
void vgm_fit_render(const vgm_fit_box *box, int64_t first, int64_t last, int over, float *room, float *out);

/* The same of the derivative along directions [n][VGM_FIT_DIRECTION]. */
void vgm_fit_jvp(const vgm_fit_box *box, int64_t first, int64_t last, const float *directions, int over, float *room, float *out);

/* As vgm_fit_render, less `target`, and 0 where decoding clamps (`saturated`, or NULL); the sum of the squares of each tile into squares [tiles].
 * With `coarse`, of a grid twice as coarse along y and x (see vgm_prolong_yx), on top of its interpolation: tiles are then of even rows and
 * columns. Room: a tile with its pad and (rows / 2 + 7) columns. With `parts`, the moments of what is written to `out`, as of vgm_fit_moments, while
 * it is at hand. */
void vgm_fit_residual(const vgm_fit_box *box, int64_t first, int64_t last, const float *coarse, const float *target, const uint8_t *saturated,
                      float *room, float *out, double *squares, float *parts);

/* Takes the sum off a field; `coarse` and the room as for vgm_fit_residual. */
void vgm_fit_subtract(const vgm_fit_box *box, int64_t first, int64_t last, const float *coarse, float *room, float *field);

/* The sum of the squares of the derivative, 0 where decoding clamps; `coarse` and the room as for vgm_fit_residual. */
void vgm_fit_curvature(const vgm_fit_box *box, int64_t first, int64_t last, const float *directions, const float *coarse,
                       const float *residual, const uint8_t *saturated, float *room, double *squares);

/* The moments of `residual` under the Gaussian of each entry of the lists, parts [entries][VGM_FIT_MOMENTS]. */
void vgm_fit_moments(const vgm_fit_box *box, int64_t first, int64_t last, const float *residual, float *room, float *parts);

/* Sums entries into out [n][VGM_FIT_MOMENTS], in their order. */
void vgm_fit_gather(const int64_t *ids, int64_t entries, const float *parts, double *out);

/* Between a grid and one twice as coarse along y and x, or along z: six-point interpolation and its transpose. Node j of the coarse grid
 * lies at 2 (j - VGM_GRID_MARGIN) of the fine one. */
enum { VGM_GRID_MARGIN = 3 };

/* Adds planes [first, last) of the interpolation of coarse [nz][cy][cx] to fine [nz][ny][nx], or writes them; room [cy + 1][nx]. */
void vgm_prolong_yx(const float *coarse, float *fine, const int64_t shape[3], int64_t first, int64_t last, int over, float *room);
void vgm_prolong_z(const float *coarse, float *fine, const int64_t shape[3], int64_t first, int64_t last, int over);

/* Planes [first, last) of the transposes; room [3 nx + coarse nx + 6], and [nx]. */
void vgm_restrict_yx(const float *fine, float *coarse, const int64_t shape[3], int64_t first, int64_t last, float *room);
void vgm_restrict_z(const float *fine, float *coarse, const int64_t shape[3], int64_t first, int64_t last, float *room);

/* The most of the processor's instructions that may be used: 0 none, 1 AVX2, 2 AVX-512. For tests: results do not depend on it. */
void vgm_fit_limit_instructions(int most);

#endif
