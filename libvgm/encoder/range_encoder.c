#include "range_encoder.h"

#include <stdlib.h>

enum { WORD = 5 }; /* bytes of the interval's registers, and the most zero bytes that a decoder supplies */

void vgm_encoder_start(vgm_encoder *e)
{
    e->low = 0;
    e->range = VGM_FULL;
    e->pending = 1;
    e->cache = 0;
    e->failed = 0;
    e->bytes = NULL;
    e->length = e->room = 0;
}

void vgm_encoder_free(vgm_encoder *e)
{
    free(e->bytes);
    e->bytes = NULL;
}

static void put(vgm_encoder *e, uint8_t byte)
{
    if (e->length == e->room && !e->failed) {
        size_t room = e->room ? 2 * e->room : 4096;
        uint8_t *more = room > e->room ? realloc(e->bytes, room) : NULL;
        if (more == NULL) {
            e->failed = 1;
        } else {
            e->bytes = more;
            e->room = room;
        }
    }
    if (!e->failed)
        e->bytes[e->length++] = byte;
}

void vgm_shift_low(vgm_encoder *e)
{
    if (e->low < 255 * VGM_TOP || e->low > VGM_FULL) {
        uint8_t carry = (uint8_t)(e->low >> 8 * WORD), byte = e->cache;
        for (; e->pending > 0; e->pending--) {
            put(e, (uint8_t)(byte + carry));
            byte = 0xff;
        }
        e->cache = (uint8_t)(e->low >> 8 * (WORD - 1));
    }
    e->pending++;
    e->low = (e->low & (VGM_TOP - 1)) << 8;
}

void vgm_encoder_finish(vgm_encoder *e)
{
    uint64_t high = e->low + e->range - 1;
    /* of all numbers in the interval, the one with the most zeros at its end */
    for (int bits = 8 * WORD; bits > 0; bits--) {
        uint64_t mask = ((uint64_t)1 << bits) - 1, value = (e->low + mask) & ~mask;
        if (value <= high) {
            e->low = value;
            break;
        }
    }
    for (int k = 0; k <= WORD; k++)
        vgm_shift_low(e);
    for (int k = 0; k < WORD && e->length > 1 && e->bytes[e->length - 1] == 0; k++)
        e->length--;
}
