/* Principal axes of many 3 x 3 matrices. */
#ifndef VGM_AXES_H
#define VGM_AXES_H

#include <stdint.h>

/* Singular values (three each, in no order) and right singular vectors (three rows each) of `count` matrices, by Jacobi's rotations of
 * B'B: singular values under 1e-8 of the largest are not resolved. */
void vgm_principal_axes(int64_t count, const double *matrices, double *lengths, double *directions);

#endif
