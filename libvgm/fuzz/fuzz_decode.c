/* libFuzzer: any bytes are rejected, or decode, in bounded memory and time, and a part of a box has the bytes of the whole. Seeds: the
 * files of spec/vectors.
 *
 * The checksums would keep the fuzzer from all that lies behind them, so they are made right first: of the head, and of each chunk. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/file.h"
#include "counted.h"

enum { MAX_RECORDS = 1 << 14, MAX_EVALUATED = 1 << 9, MAX_CHUNKS = 32, EDGE = 20, INNER = 3 };

static void require(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

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

/* The same for an overview, wherever a file begins within the metadata. */
static void mend_overview(uint8_t *data, size_t size, const vgm_lattice_tables *tables)
{
    static const uint8_t magic[8] = {0x89, 'V', 'G', 'M', 0x0d, 0x0a, 0x1a, 0x0a};
    size_t end = size >= 32 && get_u32(data + 12) <= size - 32 ? 32 + (size_t)get_u32(data + 12) : 0;
    for (size_t at = 32; at + 32 <= end; at++) {
        uint64_t length = 32 + (uint64_t)get_u32(data + at + 12) + get_u32(data + at + 16) + get_u32(data + at + 20);
        vgm_file *file;
        if (memcmp(data + at, magic, sizeof magic) != 0 || length > end - at)
            continue;
        mend_head(data + at, (size_t)length);
        if (vgm_open_with_tables(data + at, (size_t)length, tables, NULL, 0, &file, NULL) == VGM_OK) {
            mend_chunks(data + at, (size_t)length, file);
            vgm_close(file);
        }
        return;
    }
}

static uint64_t decode_records(const vgm_file *file)
{
    static uint8_t records[MAX_RECORDS * VGM_RECORD_BYTES];
    const vgm_info *info = vgm_get_info(file);
    uint64_t primitives = 0;
    for (uint64_t k = 0; k < info->chunks; k++) {
        vgm_chunk c;
        vgm_get_chunk(file, k, &c, NULL);
        primitives += c.count;
        if (c.count <= MAX_RECORDS && k < MAX_CHUNKS)
            vgm_read_records(file, k, records, NULL);
    }
    return primitives;
}

/* One grid of the four finest is as good as another, and all four would take most of the time. */
static void read_box(const vgm_file *file, unsigned level)
{
    static uint8_t whole[EDGE * EDGE * EDGE * sizeof(float)], part[sizeof whole];
    static const size_t sizes[] = {0, 1, 2, 4, 2};
    size_t size = sizes[vgm_get_info(file)->type];
    uint64_t lo[3], hi[3], shape[3], in_lo[3], in_hi[3];
    vgm_get_grid(file, level, shape, NULL);
    for (int a = 0; a < 3; a++) {
        lo[a] = shape[a] / 3;
        hi[a] = lo[a] + EDGE < shape[a] ? lo[a] + EDGE : shape[a];
        in_lo[a] = hi[a] - lo[a] > 2 * INNER ? lo[a] + INNER : lo[a];
        in_hi[a] = hi[a] - lo[a] > 2 * INNER ? hi[a] - INNER + 1 : hi[a];
    }
    if (vgm_read(file, 0, 0, level, lo, hi, whole, sizeof whole, NULL) != VGM_OK)
        return;
    require(vgm_read(file, 0, 0, level, in_lo, in_hi, part, sizeof part, NULL) == VGM_OK, "a part of a box that could be read");
    for (uint64_t z = in_lo[0]; z < in_hi[0]; z++)
        for (uint64_t y = in_lo[1]; y < in_hi[1]; y++) {
            uint64_t n = in_hi[2] - in_lo[2];
            uint64_t from = ((z - lo[0]) * (hi[1] - lo[1]) + y - lo[1]) * (hi[2] - lo[2]) + in_lo[2] - lo[2];
            uint64_t to = ((z - in_lo[0]) * (in_hi[1] - in_lo[1]) + y - in_lo[1]) * n;
            require(memcmp(whole + from * size, part + to * size, (size_t)n * size) == 0, "a part has the bytes of the whole");
        }
    if (level == 0)
        vgm_add_grain(file, 0, 0, 1, lo, hi, whole, sizeof whole, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static vgm_lattice_tables *tables;
    counted count;
    vgm_allocator allocator = counted_allocator(&count);
    vgm_file *file;
    uint8_t *data = malloc(size + 1);
    if (tables == NULL)
        tables = vgm_new_lattice_tables(&vgm_malloc_allocator, NULL);
    if (data == NULL || tables == NULL)
        return 0;
    memcpy(data, bytes, size);
    mend_overview(data, size, tables);
    mend_head(data, size);
    if (vgm_open_with_tables(data, size, tables, &allocator, VGM_PREFIX, &file, NULL) == VGM_OK) {
        mend_chunks(data, size, file);
        vgm_close(file);
        require(count.now == 0, "all memory is given back");
        if (vgm_open_with_tables(data, size, tables, &allocator, VGM_PREFIX, &file, NULL) == VGM_OK) {
            const vgm_file *overview = vgm_get_overview(file);
            uint64_t primitives = decode_records(file) + (overview != NULL ? decode_records(overview) : 0);
            unsigned level = get_u32(data + 28) % 4, most = vgm_get_info(file)->overview_grid;
            require(count.peak <= COUNTED_RECORDS * size + COUNTED_FIXED + COUNTED_NODES, "memory for records follows the bytes");
            if (primitives <= MAX_EVALUATED) /* of an overview not many more voxels than of a box */
                read_box(file, most > 0 && level > most ? most + 1 : level);
            vgm_close(file);
        }
    }
    require(count.now == 0, "all memory is given back");
    require(count.peak <= COUNTED_VOXELS * size + COUNTED_FIXED + COUNTED_NODES + COUNTED_PASS, "memory follows the bytes");
    free(data);
    return 0;
}
