/* The range encoder of the lattice and points codings (vgm-1-lattice.md, 3.1 and 3.2; Martin, "Range encoding: an algorithm for
 * removing redundancy from a digitised message", 1979). */
#ifndef VGM_RANGE_ENCODER_H
#define VGM_RANGE_ENCODER_H

#include <stddef.h>
#include <stdint.h>

#include "../src/range_code.h"

/* The code is the bytes from the second on: the first is always 0. */
typedef struct {
    uint64_t low, range;
    uint64_t pending; /* bytes that a carry may still change: `cache`, then such of 255 */
    uint8_t cache;
    int failed; /* memory was refused: nothing more is kept */
    uint8_t *bytes;
    size_t length, room;
} vgm_encoder;

void vgm_encoder_start(vgm_encoder *e);
/* End the code, without the zero bytes that a decoder supplies. */
void vgm_encoder_finish(vgm_encoder *e);
void vgm_encoder_free(vgm_encoder *e);
void vgm_shift_low(vgm_encoder *e);

static inline void vgm_renormalise_encoder(vgm_encoder *e)
{
    while (e->range < VGM_TOP) {
        e->range <<= 8;
        vgm_shift_low(e);
    }
}

static inline void vgm_encode_bit(vgm_encoder *e, uint32_t p, int bit)
{
    uint64_t bound = e->range * p >> 16;
    if (bit) {
        e->range = bound;
    } else {
        e->low += bound;
        e->range -= bound;
    }
    vgm_renormalise_encoder(e);
}

static inline void vgm_encode_learned(vgm_encoder *e, vgm_bit_model *m, int bit)
{
    vgm_encode_bit(e, m->p, bit);
    vgm_learn_bit(m, bit);
}

/* Narrow the interval to parts low <= part < high of VGM_TOTAL; the last part takes the remainder. */
static inline void vgm_encode_part(vgm_encoder *e, int64_t low, int64_t high)
{
    uint64_t part = e->range >> 20;
    e->low += part * (uint64_t)low;
    e->range = high == VGM_TOTAL ? e->range - part * (uint64_t)low : part * (uint64_t)(high - low);
    vgm_renormalise_encoder(e);
}

static inline void vgm_encode_uniform_16(vgm_encoder *e, uint64_t n, uint64_t value)
{
    uint64_t part = e->range / n;
    e->low += part * value;
    e->range = value == n - 1 ? e->range - part * value : part;
    vgm_renormalise_encoder(e);
}

/* One of 0 .. n - 1, all as likely, for 1 <= n < 2^48. */
static inline void vgm_encode_uniform(vgm_encoder *e, int64_t n, int64_t value)
{
    int64_t sizes[3];
    int depth = 0;
    if (n <= 1)
        return;
    for (sizes[0] = n; sizes[depth] > 65536; depth++)
        sizes[depth + 1] = (sizes[depth] + 65535) >> 16;
    vgm_encode_uniform_16(e, (uint64_t)sizes[depth], (uint64_t)(value >> 16 * depth));
    while (depth-- > 0) {
        int64_t v = value >> 16 * depth, rest = sizes[depth] - (v & ~(int64_t)65535);
        if (rest > 1)
            vgm_encode_uniform_16(e, (uint64_t)(rest < 65536 ? rest : 65536), (uint64_t)v & 65535);
    }
}

/* value >= 0 as an exp-Golomb code (Teuhola, Information Processing Letters 7, 308, 1978) of at most 24 bits and their number. */
static inline void vgm_encode_excess(vgm_encoder *e, int64_t value)
{
    int prefix = 0;
    for (; prefix < 24; prefix++) {
        int more = (value + 1) >> (prefix + 1) > 0;
        vgm_encode_uniform_16(e, 2, (uint64_t)more);
        if (!more)
            break;
    }
    vgm_encode_uniform(e, (int64_t)1 << prefix, value + 1 - ((int64_t)1 << prefix));
}

#endif
