/* Steps of Gaussians under fit, each in its own whitened frame: gradients, closed-form Gauss-Newton blocks, bounds, moves.
 *
 * A Gaussian is (mu, B, w) with covariance B B'; matrices are rows of rows. A step is VGM_STEP numbers: dw, e (z, y, x), then a symmetric E
 * (zz, zy, zx, yy, yx, xx): mu += B e, B <- B exp(E), w += dw. The order of operations is fixed and nothing is contracted, so that every
 * processor takes the same steps. Results may not lie where arguments do. */
#ifndef VGM_STEPS_H
#define VGM_STEPS_H

#include <stdint.h>

enum { VGM_STEP = 10, VGM_STEP_MOMENTS = 11 };

#define VGM_DAMPING 0.02         /* of the diagonal of each Gauss-Newton block */
#define VGM_AT_LEAST 1.02        /* of a bound: an axis as close to the least width, */
#define VGM_AT_MOST 0.98         /* or to the most, is at it */
#define VGM_MAYBE_AT_BOUND 0.99  /* of a bound: what a matrix's norm must reach before its axes are looked at */
#define VGM_WORST_CONDITION 1e6
#define VGM_NOTHING 1e-9         /* of a gradient: what is rounding */

/* Bounds of the standard deviations along a Gaussian's axes. */
typedef struct {
    double least, most;
} vgm_widths;

/* zz, zy, zx, yy, yx, xx of each B B', [n][6]. */
void vgm_covariances(int64_t n, const double *b, double *covariances);

/* |det B| of each, [n]. */
void vgm_volumes(int64_t n, const double *b, double *volumes);

/* The sum of the products of two tables [n][VGM_STEP]: down each column, then of the columns' sums. */
double vgm_dot_steps(int64_t n, const double *one, const double *other);

/* The gradient [n][VGM_STEP] of half the squared residual, from the moments [n][VGM_STEP_MOMENTS] of the residual under each kernel, whose
 * value at the centre is `norm` times (1 - edge). */
void vgm_step_gradient(int64_t n, const double *b, const double *w, const double *moments, double norm, double *gradient);

/* The gradient times the inverse of each Gaussian's own Gauss-Newton block. `floor` is the amplitude that keeps the step of a Gaussian of
 * nearly no weight finite. Axes that are at a bound, and that the gradient does not take away from it, stay (widths NULL: there are none). */
void vgm_precondition(int64_t n, const double *b, const double *w, const double *gradient, double floor, const vgm_widths *widths, double *step);

/* The direction without what would take an axis past a bound that it is at. */
void vgm_hold_bounds(int64_t n, const double *b, const double *direction, const vgm_widths *widths, double *held);

/* Which Gaussians have an axis at a bound, rows [n], and these axes, [n][3][3], 0 for those that are at none; returns how many. */
int64_t vgm_bounded(int64_t n, const double *b, const vgm_widths *widths, int64_t *rows, double *axes);

/* Takes off steps what changes the width of such axes, either way; or off `gradients`, whose numbers off the diagonal are of both entries of E. */
void vgm_clear_bounded(int64_t count, const int64_t *rows, const double *axes, int gradients, double *steps);

/* The step that leads from Gaussians to others, to the second order of E. */
void vgm_step_between(int64_t n, const double *mu, const double *b, const double *w, const double *new_mu, const double *new_b,
                      const double *new_w, double *step);

/* A step as the table that the derivative of a sum takes (VGM_FIT_DIRECTION columns). */
void vgm_step_directions(int64_t n, const double *b, const double *step, float *directions);

/* The Gaussians after alpha times a step, each move capped to what its local model bears and each axis kept within the widths. `shapes`
 * [n][VGM_STEP] says in its fifth column whose B may move (NULL: all); with widths NULL none does. */
void vgm_move(int64_t n, const double *mu, const double *b, const double *w, const double *step, double alpha, const vgm_widths *widths,
              const uint8_t *shapes, double *new_mu, double *new_b, double *new_w);

/* Every axis of matrices within the widths; the unit matrix for one that is not finite, or so nearly singular that its axes are not resolved. */
void vgm_clamp_widths(int64_t n, const double *b, const vgm_widths *widths, double *clamped);

#endif
