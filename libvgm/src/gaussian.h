/* Gaussians prepared for a grid of voxels, and which tiles each touches (vgm-1.md, section 8).
 *
 * Coordinates are those of the grid's voxels, never relative to a request, and tiles and groups are anchored at voxel 0: what is written for a
 * Gaussian or a tile follows from the file and the grid alone. */
#ifndef VGM_GAUSSIAN_H
#define VGM_GAUSSIAN_H

#include <stddef.h>
#include <stdint.h>

/* Tiles of voxels, and groups of 2 x 2 x 2 of them: those are evaluated as a whole, so that what is read for a voxel follows from its group. */
enum { VGM_TILE_Z = 16, VGM_TILE_Y = 16, VGM_TILE_X = 32, VGM_GROUP_Z = 32, VGM_GROUP_Y = 32, VGM_GROUP_X = 64, VGM_GROUP_TILES = 8 };

typedef struct {
    double m[3];                        /* centre */
    float h[3];                         /* half widths of the support, no less than they are */
    float weight;                       /* over 1 - exp(-C/2) */
    float azz, azy, azx, ayy, ayx, axx; /* inverse covariance */
    float czz, cyy, czy;                /* ratios of a walk (tiles.h) */
    float s[3], rotation[4];            /* standard deviations on the grid, quaternion */
    int32_t span[6];                    /* first and last-plus-one tile on z, y, x; empty on z where it touches none */
    int32_t coarseness;                 /* 0, or of a large one: every 2^coarseness-th voxel will do for it */
} vgm_gaussian;

enum { VGM_COARSEST = 2 };

/* The kernel's slope at its cut-off, over a standard deviation. */
double vgm_kink(double cutoff);

/* What bringing a large Gaussian back from its coarser grid does to a sum at most, as measured: in units of intensity. */
double vgm_coarse_error(const vgm_gaussian *gaussian, double kink);

/* Turn a large Gaussian into one of the grid of every 2^coarseness-th voxel; its span stays. */
void vgm_coarsen(vgm_gaussian *gaussian);

/* q as sums of squares, which lose nothing:
 *   q = iz dz^2 + iy (dy - yz dz)^2 + ix (dx - xz dz - xy dy)^2      along rows of x
 *   q = iz dz^2 + jx (dx - jxz dz)^2 + jy (dy - jyz dz - jyx dx)^2   along columns of y
 * and q >= jz dy^2 + kx (dx - kxy dy)^2, whatever dz. */
typedef struct {
    double iz, iy, ix, yz, xz, xy, jx, jy, jxz, jyz, jyx, kx, kxy;
} vgm_squares;

void vgm_squares_of(const vgm_gaussian *gaussian, vgm_squares *squares);

/* `count` primitives on the full grid: centres [3 count], standard deviations [3 count], quaternions [4 count], weights [count]. */
typedef struct {
    const double *means;
    const float *scales, *rotations, *intensities;
    size_t count;
} vgm_primitives;

typedef struct {
    double cutoff, origin, step, widening; /* of section 8.4: the centre of voxel 0, 2^n, (4^n - 1) / 12 */
} vgm_grid;

/* Prepare primitives for the groups [lo, hi), of which voxels [first, last] are wanted: small ones only for tiles that hold some. Returns how many
 * tiles, or for large ones groups, are in all their spans. */
uint64_t vgm_gather(const vgm_primitives *primitives, const vgm_grid *grid, const int64_t lo[3], const int64_t hi[3],
                    const int64_t first[3], const int64_t last[3], vgm_gaussian *gaussians);

/* A tile of a block, or (numbered after all tiles) a group, and a Gaussian that touches it. */
typedef struct {
    uint32_t tile, gaussian;
} vgm_pair;

/* Which tiles of the block of `groups` [3] from `lo` on the Gaussians [first, last) touch, more closely than their spans say, and which groups
 * the large ones among them: writes pairs in the order of the Gaussians, and adds to counts[tile] how many each has. Tiles are numbered along x, y, z over
 * the block, groups after all tiles likewise. Returns the number of pairs. */
uint64_t vgm_list_pairs(const vgm_gaussian *gaussians, uint64_t first, uint64_t last, double cutoff, const int64_t lo[3],
                        const int64_t groups[3], vgm_pair *pairs, uint64_t *counts);

/* The Gaussians of pairs, tile by tile, in order; `cursor` [tiles + groups]: where each one's start, and then where they end. */
void vgm_sort_pairs(const vgm_pair *pairs, uint64_t count, uint64_t *cursor, uint32_t *gaussians);

/* The matrix R of a quaternion, and standard deviations on a grid in its voxels; returns the factor on the weight. */
void vgm_rotation(const float quaternion[4], double r[3][3]);
double vgm_widen(const float scales[3], const vgm_grid *grid, double s[3]);

/* exp(x), within 1e-15 relative, the same bits on every machine; 0 below -708, and no more than at 709. */
double vgm_exp(double x);

#endif
