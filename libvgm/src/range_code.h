/* What reads and writes the range code of the lattice and points codings have in common (vgm-1-lattice.md, 3.1 and 3.2). */
#ifndef VGM_RANGE_CODE_H
#define VGM_RANGE_CODE_H

#include <stdint.h>

enum { VGM_TOTAL = 1 << 20, VGM_SLOWEST = 96 };
#define VGM_TOP ((uint64_t)1 << 32)
#define VGM_FULL (((uint64_t)1 << 40) - 1)

/* The probability of a 1 in 2^-16, and how many bits taught it, up to VGM_SLOWEST. */
typedef struct {
    uint16_t p, n;
} vgm_bit_model;

/* 131072 // (2 n + 3) for n = 0 .. VGM_SLOWEST. */
extern const uint16_t vgm_bit_rates[VGM_SLOWEST + 1];

static inline void vgm_learn_bit(vgm_bit_model *m, int bit)
{
    int32_t p = m->p;
    p += (int32_t)(((int64_t)(bit * 65536 - p) * vgm_bit_rates[m->n]) >> 16);
    m->p = (uint16_t)(p < 64 ? 64 : p > 65472 ? 65472 : p);
    if (m->n < VGM_SLOWEST)
        m->n++;
}

#endif
