/* Reads fields off bytes and never past their end (vgm-1.md, section 1). After a failure every read gives 0. */
#ifndef VGM_CURSOR_H
#define VGM_CURSOR_H

#include "memory.h"

typedef struct {
    const uint8_t *at, *end;
    const char *where; /* what the bytes are, for error texts */
    vgm_status status; /* VGM_OK, or that of the first failure */
    vgm_error *error;
} vgm_cursor;

static inline vgm_cursor vgm_cursor_of(const uint8_t *data, size_t length, const char *where, vgm_error *error)
{
    vgm_cursor c = {data, data + length, where, VGM_OK, error};
    return c;
}

static inline size_t vgm_left(const vgm_cursor *c)
{
    return (size_t)(c->end - c->at);
}

/* The next `length` bytes; NULL where they are not there. */
const uint8_t *vgm_take_bytes(vgm_cursor *c, uint64_t length);
uint8_t vgm_take_u8(vgm_cursor *c);
uint32_t vgm_take_u32(vgm_cursor *c);
float vgm_take_f32(vgm_cursor *c);
uint64_t vgm_take_varint(vgm_cursor *c);
double vgm_take_decimal(vgm_cursor *c);
/* A byte string, as a cursor of its own. */
vgm_cursor vgm_take_counted(vgm_cursor *c);

/* Whether `length` bytes are UTF-8 without U+0000. */
int vgm_is_text(const uint8_t *data, size_t length);

uint32_t vgm_crc32(uint32_t crc, const uint8_t *data, size_t length);

#endif
