/* libFuzzer: any bytes are rejected, or decode, in bounded memory and time. Seeds: the files of spec/vectors.
 *
 * The checksums would keep the fuzzer from all that lies behind them, so they are made right first: of the head, and of each chunk. */
#include <stdlib.h>
#include <string.h>

#include "../src/cursor.h"
#include "../src/codings.h"

enum { MAX_RECORDS = 1 << 16, EDGE = 24 };

static void put_u32(uint8_t *to, uint32_t v)
{
    for (int k = 0; k < 4; k++)
        to[k] = (uint8_t)(v >> 8 * k);
}

static uint32_t get_u32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void mend_head(uint8_t *data, size_t size)
{
    uint64_t body = size >= 32 ? (uint64_t)get_u32(data + 12) + get_u32(data + 16) : 0;
    if (size >= 32 && body <= size - 32)
        put_u32(data + 28, vgm_crc32(vgm_crc32(0, data, 28), data + 32, (size_t)body));
}

/* Write the right checksums of chunks into the index: its flags and the number of chunks come before them. */
static void mend_chunks(uint8_t *data, size_t size, const vgm_file *file)
{
    const vgm_info *info = vgm_get_info(file);
    size_t at = 32 + (size_t)info->metadata_length + 1;
    while (data[at++] & 128)
        ;
    for (uint64_t k = 0; k < info->chunks; k++) {
        vgm_chunk c;
        if (vgm_get_chunk(file, k, &c, NULL) == VGM_OK)
            put_u32(data + at + 4 * k, vgm_crc32(0, data + c.offset, (size_t)c.length));
    }
    mend_head(data, size);
}

static void decode(const vgm_file *file)
{
    const vgm_info *info = vgm_get_info(file);
    static uint8_t records[MAX_RECORDS * VGM_RECORD_BYTES];
    static float voxels[EDGE * EDGE * EDGE];
    uint64_t primitives = 0;
    for (uint64_t k = 0; k < info->chunks && k < 64; k++) {
        vgm_chunk c;
        vgm_get_chunk(file, k, &c, NULL);
        primitives += c.count;
        if (c.count <= MAX_RECORDS)
            vgm_read_records(file, k, records, NULL);
    }
    for (unsigned level = 0; level < 3 && primitives < 4096; level++) {
        uint64_t lo[3], hi[3], shape[3];
        vgm_get_grid(file, level, shape, NULL);
        for (int a = 0; a < 3; a++) {
            lo[a] = shape[a] / 3;
            hi[a] = lo[a] + EDGE < shape[a] ? lo[a] + EDGE : shape[a];
        }
        vgm_read(file, 0, 0, level, lo, hi, voxels, sizeof voxels, NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    uint8_t *data = malloc(size + 1);
    vgm_file *file;
    vgm_error error;
    if (data == NULL)
        return 0;
    memcpy(data, bytes, size);
    mend_head(data, size);
    if (vgm_open_memory(data, size, NULL, VGM_PREFIX, &file, &error) == VGM_OK) {
        mend_chunks(data, size, file);
        vgm_close(file);
        if (vgm_open_memory(data, size, NULL, VGM_PREFIX, &file, &error) == VGM_OK) {
            decode(file);
            vgm_close(file);
        }
    }
    free(data);
    return 0;
}
