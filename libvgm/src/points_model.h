/* The models of the points coding and what chooses among them (vgm-1-points.md). Names are those of the text. */
#ifndef VGM_POINTS_MODEL_H
#define VGM_POINTS_MODEL_H

#include <stddef.h>

#include "range_code.h"

enum { BLOCK = 8, LARGEST = 1 << 20, CAP = 1023, LEVELS = 14, UNARY = 14 };

typedef struct {
    vgm_bit_model block[4], quiet[3], busy[13], sign[5], magnitude[LEVELS][UNARY];
} points_models;

static inline void fresh_bits(vgm_bit_model *m, const uint16_t *p, int n)
{
    for (int k = 0; k < n; k++) {
        m[k].p = p[k];
        m[k].n = 8;
    }
}

static inline void fresh_models(points_models *m)
{
    static const uint16_t block[4] = {300, 16000, 44000, 56000}, quiet[3] = {200, 400, 2000};
    static const uint16_t busy[13] = {2000, 4000, 8500, 10000, 14500, 22500, 31000, 38500, 45000, 51000, 56000, 58000, 60000};
    static const uint16_t sign[5] = {20000, 22000, 32768, 43536, 45536};
    static const uint16_t first[LEVELS] = {900, 1400, 1100, 1200, 1400, 1800, 3500, 8500, 16500, 28000, 38000, 47000, 52000, 56000};
    static const uint16_t more[LEVELS] = {5500,  6500,  8000,  9000,  10000, 12000, 16000,
                                          19500, 23000, 28000, 34500, 42000, 46000, 50000};
    fresh_bits(m->block, block, 4);
    fresh_bits(m->quiet, quiet, 3);
    fresh_bits(m->busy, busy, 13);
    fresh_bits(m->sign, sign, 5);
    for (int e = 0; e < LEVELS; e++)
        for (int k = 0; k < UNARY; k++)
            fresh_bits(&m->magnitude[e][k], k == 0 ? &first[e] : &more[e], 1);
}

static inline int64_t size_of(int32_t v)
{
    int32_t a = v < 0 ? -v : v;
    return a < CAP ? a : CAP;
}

/* `q` is the node of this plane, `p` that of the plane before; rows are `row` apart. */
static inline int64_t energy(const int32_t *q, const int32_t *p, ptrdiff_t row)
{
    int64_t faces = size_of(q[-1]) + size_of(q[-row]) + size_of(p[0]);
    int64_t edges = size_of(q[-row - 1]) + size_of(q[-row + 1]) + size_of(p[-1]) + size_of(p[1]) + size_of(p[-row]) + size_of(p[row]);
    int64_t corners = size_of(p[-row - 1]) + size_of(p[-row + 1]) + size_of(p[row - 1]) + size_of(p[row + 1]);
    return 4 * faces + 2 * edges + corners;
}

static inline int level_of(int64_t e)
{
    static const int16_t thresholds[13] = {1, 2, 4, 6, 9, 14, 20, 28, 40, 60, 90, 140, 220};
    int n = 0;
    while (n < 13 && e >= thresholds[n])
        n++;
    return n;
}

/* How many low bits of a magnitude are plain. */
static inline int plain_bits(int64_t e)
{
    int n = 0;
    while (e >> (n + 8))
        n++;
    return n;
}

/* Of a block, by its six neighbours; rows and planes of blocks are `row` and `plane` apart. */
static inline int quiet_kind(const uint8_t *b, int64_t row, int64_t plane)
{
    int around = b[-plane] + b[plane] + b[-row] + b[row] + b[-1] + b[1];
    return around <= 1 ? 0 : around <= 4 ? 1 : 2;
}

static inline vgm_bit_model *zero_model(points_models *m, int level, int quiet)
{
    return level == 0 ? &m->quiet[quiet] : &m->busy[level - 1];
}

static inline vgm_bit_model *block_model(points_models *m, const uint8_t *b, int64_t row, int64_t plane)
{
    return &m->block[b[-plane] + b[-row] + b[-1]];
}

static inline int sign_context(const int32_t *q, const int32_t *p, ptrdiff_t row)
{
    int64_t s = (int64_t)q[-1] + q[-row] + p[0];
    return s < -2 ? 0 : s < 0 ? 1 : s == 0 ? 2 : s <= 2 ? 3 : 4;
}

#endif
