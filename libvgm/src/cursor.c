#include "cursor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const uint8_t *vgm_take_bytes(vgm_cursor *c, uint64_t length)
{
    if (c->status != VGM_OK)
        return NULL;
    if (length > vgm_left(c)) {
        c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: needs %llu bytes, only %llu left", c->where, (unsigned long long)length,
                             (unsigned long long)vgm_left(c));
        return NULL;
    }
    c->at += length;
    return c->at - length;
}

uint8_t vgm_take_u8(vgm_cursor *c)
{
    const uint8_t *p = vgm_take_bytes(c, 1);
    return p != NULL ? p[0] : 0;
}

uint32_t vgm_take_u32(vgm_cursor *c)
{
    const uint8_t *p = vgm_take_bytes(c, 4);
    return p != NULL ? p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24 : 0;
}

float vgm_take_f32(vgm_cursor *c)
{
    uint32_t bits = vgm_take_u32(c);
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

uint64_t vgm_take_varint(vgm_cursor *c)
{
    uint64_t value = 0;
    for (int k = 0; k < 9; k++) {
        uint8_t byte = vgm_take_u8(c);
        value |= (uint64_t)(byte & 127) << (7 * k);
        if (c->status != VGM_OK)
            return 0;
        if (byte < 128) {
            if (byte != 0 || k == 0)
                return value;
            c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: a varint is longer than its value needs", c->where);
            return 0;
        }
    }
    c->status = vgm_fail(c->error, VGM_DAMAGED, "%s: a varint of more than 9 bytes", c->where);
    return 0;
}

double vgm_take_decimal(vgm_cursor *c)
{
    int exponent = vgm_take_u8(c);
    double value = 0.0;
    exponent -= exponent >= 128 ? 256 : 0;
    if (exponent == -128) {
        uint64_t bits = vgm_take_u32(c);
        bits |= (uint64_t)vgm_take_u32(c) << 32;
        memcpy(&value, &bits, 8);
    } else {
        char text[40]; /* read as text, which rounds once (section 1.3) */
        snprintf(text, sizeof text, "%llue%d", (unsigned long long)vgm_take_varint(c), exponent);
        value = strtod(text, NULL);
    }
    return c->status == VGM_OK ? value : 0.0;
}

vgm_cursor vgm_take_counted(vgm_cursor *c)
{
    uint64_t length = vgm_take_varint(c);
    const uint8_t *data = vgm_take_bytes(c, length);
    return data != NULL ? vgm_cursor_of(data, (size_t)length, c->where, c->error) : vgm_cursor_of(c->end, 0, c->where, c->error);
}

int vgm_is_text(const uint8_t *p, size_t length)
{
    size_t k = 0;
    while (k < length) {
        uint32_t v = p[k];
        int more = v < 0x80 ? 0 : v >= 0xc2 && v < 0xe0 ? 1 : v >= 0xe0 && v < 0xf0 ? 2 : v >= 0xf0 && v < 0xf5 ? 3 : -1;
        if (v == 0 || more < 0 || length - k <= (size_t)more)
            return 0;
        v &= more == 0 ? 0x7fu : 0x3fu >> more;
        for (int n = 1; n <= more; n++) {
            if ((p[k + (size_t)n] & 0xc0) != 0x80)
                return 0;
            v = v << 6 | (p[k + (size_t)n] & 0x3fu);
        }
        if ((more == 2 && (v < 0x800 || (v >= 0xd800 && v < 0xe000))) || (more == 3 && (v < 0x10000 || v > 0x10ffff)))
            return 0;
        k += (size_t)more + 1;
    }
    return 1;
}

uint32_t vgm_crc32(uint32_t crc, const uint8_t *data, size_t length)
{
    /* four bits at a time, so that the table is short enough to be written here */
    static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                       0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    crc = ~crc;
    for (size_t k = 0; k < length; k++) {
        crc ^= data[k];
        crc = table[crc & 15] ^ crc >> 4;
        crc = table[crc & 15] ^ crc >> 4;
    }
    return ~crc;
}
