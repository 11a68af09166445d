/* Passes over voxels that choose points: which blocks hold any, and each node's integer. What a choice costs are the bits of the models
 * of the points coding as they stand. */
#ifndef VGM_POINT_CHOICE_H
#define VGM_POINT_CHOICE_H

#include "points_encoder.h"

/* Bits of a symbol by its probability in 2^-16; the same on every machine, which a library's logarithm need not be. */
enum { VGM_PROBABILITIES = 1 << 16 };
void vgm_fill_bits(double bits[VGM_PROBABILITIES]);

/* What is missing of an image and what each voxel's squared error weighs (0: no point there), both of the same shape; and where the grid
 * begins in it. */
typedef struct {
    float *residual;
    const float *weight;
    int64_t shape[3], lo[3];
    double inverse;    /* of the step */
    double multiplier; /* squared steps that a bit may cost */
    double side;       /* what a point adds to each of the six voxels beside its own, over its height */
} vgm_missing;

/* Mark the blocks of plane `bz` that hold anything worth its bits, be it what points of the next blocks spill into them. */
void vgm_find_blocks(const vgm_missing *m, const int64_t nodes[3], const int64_t grid[3], uint8_t *blocks, int64_t bz);

/* Heights `now` that add up to `before` although each point spills `side` of its own into six voxels: sweeps of Gauss and Seidel's
 * iteration, each of which takes off nine tenths of the error or more. `now` starts as `before`. */
void vgm_sharpen(const float *before, float *now, const int64_t shape[3], float side, int sweeps);

/* Choose the integers in coding order; the residual loses what they add to it. `wanted` are the heights to be had, with a border before
 * the grid; `spent` gains the bits of each block. Returns how many are not 0. */
int64_t vgm_choose_points(const vgm_missing *m, const float *wanted, const int64_t wanted_shape[3], const int64_t border[3],
                          const double *bits, vgm_points *points, double *spent);

/* Clear the blocks that came to hold nothing; the bits of the others and of all flags. */
double vgm_clear_empty_blocks(vgm_points *points, const double *bits, const double *spent);

#endif
