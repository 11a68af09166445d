/* Integer arithmetic of the lattice coding (vgm-1-lattice.md, section 1). */
#ifndef VGM_LATTICE_NUMBERS_H
#define VGM_LATTICE_NUMBERS_H

#include "lattice_tables.h"

#if defined(__GNUC__)
#define VGM_HIGHEST_BIT(v) (63 - __builtin_clzll((unsigned long long)(v)))
#else
static inline int vgm_highest_bit(uint64_t v)
{
    int n = 0;
    while (v >>= 1)
        n++;
    return n;
}
#define VGM_HIGHEST_BIT(v) vgm_highest_bit((uint64_t)(v))
#endif

static inline int64_t floor_div(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return q - (a % b < 0);
}

static inline int64_t ceil_div(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return q + (a % b > 0);
}

static inline int64_t limited(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

static inline int64_t clip(int64_t v, int64_t limit)
{
    return limited(v, -limit, limit);
}

/* 2^(e / 65536) in units of 2^-30, for |e| <= 30 * 65536. */
static inline int64_t exp2_fixed(int64_t e)
{
    int64_t r = (int64_t)1 << 30, w = e >> 16;
    for (unsigned bits = (unsigned)(e & 65535); bits != 0;) {
        int b = VGM_HIGHEST_BIT(bits);
        r = (r * EXP2[b] + (1 << 29)) >> 30;
        bits &= ~(1u << b);
    }
    return w >= 0 ? r << w : r >> -w;
}

/* log2(v) in 2^-16, for v >= 1. */
static inline int64_t log2_fixed(int64_t v)
{
    int n = VGM_HIGHEST_BIT(v);
    int64_t rest = v - ((int64_t)1 << n);
    return ((int64_t)n << 16) + (n >= 16 ? rest >> (n - 16) : rest << (16 - n));
}

/* 2^20 / (1 + exp(-z)), z in 2^-16. */
static inline int64_t logistic(int64_t z)
{
    int64_t a = z < 0 ? -z : z, f;
    if (a >= 12 * 65536) {
        f = LOGISTIC[192];
    } else {
        int i = (int)(a >> 12);
        f = LOGISTIC[i] + (((LOGISTIC[i + 1] - LOGISTIC[i]) * (a & 4095)) >> 12);
    }
    return z >= 0 ? f : (1 << 20) - f;
}

#endif
