/* The range decoder of the lattice and points codings (vgm-1-lattice.md, 3.1 and 3.2). */
#ifndef VGM_RANGE_DECODER_H
#define VGM_RANGE_DECODER_H

#include <stddef.h>
#include <stdint.h>

#include "range_code.h"

typedef struct {
    uint64_t range, code;
    const uint8_t *at, *start, *end;
    uint64_t beyond; /* bytes of 0 taken after the end */
} vgm_decoder;

static inline uint64_t vgm_next_byte(vgm_decoder *d)
{
    if (d->at < d->end)
        return *d->at++;
    d->beyond++;
    return 0;
}

/* Whether the code can start like that. */
static inline int vgm_decoder_start(vgm_decoder *d, const uint8_t *data, size_t length)
{
    d->range = VGM_FULL;
    d->code = 0;
    d->start = d->at = data;
    d->end = data + length;
    d->beyond = 0;
    for (int k = 0; k < 5; k++)
        d->code = d->code << 8 | vgm_next_byte(d);
    return d->code < d->range;
}

/* Whether the code ends where its symbols do. */
static inline int vgm_decoder_ended(const vgm_decoder *d)
{
    return d->at == d->end && (d->beyond == 5 || (d->beyond == 4 && d->end > d->start && d->end[-1] != 0));
}

/* Whether so much was taken that it cannot end well. */
static inline int vgm_decoder_ran_out(const vgm_decoder *d)
{
    return d->beyond > 5;
}

static inline void vgm_renormalise(vgm_decoder *d)
{
    while (d->range < VGM_TOP) {
        d->range <<= 8;
        d->code = d->code << 8 | vgm_next_byte(d);
    }
}

static inline int vgm_decode_bit(vgm_decoder *d, uint32_t p)
{
    uint64_t bound = d->range * p >> 16;
    int bit = d->code < bound;
    if (bit) {
        d->range = bound;
    } else {
        d->code -= bound;
        d->range -= bound;
    }
    vgm_renormalise(d);
    return bit;
}

/* Which of 2^20 equal parts of the interval the code is in; then call vgm_take_part with the interval found. */
static inline int64_t vgm_decode_target(const vgm_decoder *d)
{
    uint64_t part = d->code / (d->range >> 20);
    return (int64_t)(part < VGM_TOTAL - 1 ? part : VGM_TOTAL - 1);
}

static inline void vgm_take_part(vgm_decoder *d, int64_t low, int64_t high)
{
    uint64_t part = d->range >> 20;
    d->code -= part * (uint64_t)low;
    d->range = high == VGM_TOTAL ? d->range - part * (uint64_t)low : part * (uint64_t)(high - low);
    vgm_renormalise(d);
}

static inline int64_t vgm_decode_uniform_16(vgm_decoder *d, uint64_t n)
{
    uint64_t part = d->range / n, value = d->code / part;
    if (value > n - 1)
        value = n - 1;
    d->code -= part * value;
    d->range = value == n - 1 ? d->range - part * value : part;
    vgm_renormalise(d);
    return (int64_t)value;
}

/* 0 .. n - 1, for 1 <= n < 2^48. */
static inline int64_t vgm_decode_uniform(vgm_decoder *d, int64_t n)
{
    int64_t sizes[3], value = 0;
    int depth = 0;
    if (n <= 1)
        return 0;
    for (sizes[0] = n; sizes[depth] > 65536; depth++)
        sizes[depth + 1] = (sizes[depth] + 65535) >> 16;
    for (; depth >= 0; depth--) {
        int64_t rest = sizes[depth] - (value << 16);
        value = (value << 16) + (rest > 1 ? vgm_decode_uniform_16(d, (uint64_t)(rest < 65536 ? rest : 65536)) : 0);
    }
    return value;
}

static inline int64_t vgm_decode_excess(vgm_decoder *d)
{
    int prefix = 0;
    while (prefix < 24 && vgm_decode_uniform_16(d, 2) == 1)
        prefix++;
    return ((int64_t)1 << prefix) - 1 + vgm_decode_uniform(d, (int64_t)1 << prefix);
}

static inline int vgm_decode_learned(vgm_decoder *d, vgm_bit_model *m)
{
    int bit = vgm_decode_bit(d, m->p);
    vgm_learn_bit(m, bit);
    return bit;
}

#endif
