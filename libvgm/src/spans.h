/* Where a Gaussian's reach meets a tile. */
#ifndef VGM_SPANS_H
#define VGM_SPANS_H

#include <math.h>

#define INLINE static inline __attribute__((always_inline))

/* Voxels of [at, at + n) within [m - h, m + h], as offsets from `at`. */
INLINE void clip_span(double m, double h, double at, int n, int *first, int *stop)
{
    double a = ceil(m - h) - at, b = floor(m + h) + 1.0 - at;
    *first = a > 0.0 ? (a < n ? (int)a : n) : 0;
    *stop = b < n ? (b > 0.0 ? (int)b : 0) : n;
}

/* Of v >= 0. */
INLINE int ceiling(float v)
{
    int whole_part = (int)v;
    return whole_part + ((float)whole_part < v);
}

#endif
