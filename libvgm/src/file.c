#include "file.h"

#include <stdio.h>
#include <string.h>

enum { HEADER = 32 };
static const unsigned WITHIN = 1u << 31; /* of the flags: the overview of another file */

static uint64_t little_endian(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    while (bytes-- > 0)
        v = v << 8 | p[bytes];
    return v;
}

static vgm_status read_bytes(const vgm_file *f, uint64_t offset, size_t length, uint8_t *to, vgm_error *error)
{
    if (length > 0 && f->source.read(f->source.state, offset, length, to) != 0)
        return vgm_fail(error, VGM_READ, "bytes %llu to %llu cannot be read", (unsigned long long)offset,
                        (unsigned long long)(offset + length));
    return VGM_OK;
}

/* Sections 2 and 3: lengths first, then the checksum, then what it covers. */
static vgm_status read_head(vgm_file *f, unsigned flags, vgm_error *error)
{
    static const uint8_t magic[8] = {0x89, 'V', 'G', 'M', 0x0d, 0x0a, 0x1a, 0x0a};
    uint8_t header[HEADER];
    uint64_t size = f->source.size, start;
    size_t there = size < HEADER ? (size_t)size : HEADER, body;
    uint32_t crc;
    vgm_status status = read_bytes(f, 0, there, header, error);
    if (status != VGM_OK)
        return status;
    if (there == 0 || memcmp(header, magic, there < 8 ? there : 8) != 0)
        return vgm_fail(error, VGM_DAMAGED, "not a .vgm file");
    if (there < HEADER)
        return vgm_fail(error, VGM_DAMAGED, "cut short: %llu bytes, the header alone has 32", (unsigned long long)size);
    if (header[8] != 1)
        return vgm_fail(error, VGM_UNSUPPORTED, "format version %u.%u: this release reads 1.x", header[8], header[9]);
    f->info.metadata_length = little_endian(header + 12, 4);
    f->info.index_length = little_endian(header + 16, 4);
    f->info.payload_length = little_endian(header + 20, 8);
    if (f->info.payload_length > (uint64_t)1 << 62)
        return vgm_fail(error, VGM_DAMAGED, "header: payload length %llu is over the limit of 2^62",
                        (unsigned long long)f->info.payload_length);
    start = HEADER + f->info.metadata_length + f->info.index_length;
    if (size > start + f->info.payload_length)
        return vgm_fail(error, VGM_DAMAGED, "%llu bytes after the end at byte %llu",
                        (unsigned long long)(size - start - f->info.payload_length),
                        (unsigned long long)(start + f->info.payload_length));
    if (size < start || (size < start + f->info.payload_length && !(flags & VGM_PREFIX)))
        return vgm_fail(error, VGM_DAMAGED, "cut short: %llu bytes, expected %llu", (unsigned long long)size,
                        (unsigned long long)(start + f->info.payload_length));
    body = (size_t)(start - HEADER);
    f->head = vgm_take(&f->allocator, body, 1, error);
    if (f->head == NULL)
        return VGM_MEMORY;
    status = read_bytes(f, HEADER, body, f->head, error);
    if (status != VGM_OK)
        return status;
    crc = vgm_crc32(vgm_crc32(0, header, 28), f->head, body);
    if (crc != little_endian(header + 28, 4))
        return vgm_fail(error, VGM_CHECKSUM, "header, metadata and index: checksum %#010x, expected %#010x", (unsigned)crc,
                        (unsigned)little_endian(header + 28, 4));
    if (header[10] & 1)
        return vgm_fail(error, VGM_UNSUPPORTED, "a packed volume of many files, which this library does not read");
    if (header[10] != 0)
        return vgm_fail(error, VGM_UNSUPPORTED, "header: must-understand flags %#04x are not known to this release", header[10]);
    status = vgm_read_metadata(f, f->head, (size_t)f->info.metadata_length, error);
    if (status == VGM_OK)
        status = vgm_read_index(f, f->head + f->info.metadata_length, (size_t)f->info.index_length, start, error);
    return status;
}

static vgm_status new_file(const vgm_source *source, const uint8_t *memory, const vgm_lattice_tables *tables,
                           const vgm_allocator *allocator, unsigned flags, vgm_file **file, vgm_error *error);
static int copy_memory(void *state, uint64_t offset, size_t length, void *to);

/* Section 4.9: a file within, of the grid that it is said to be. */
static vgm_status open_overview(vgm_file *f, vgm_error *error)
{
    vgm_source source = {copy_memory, NULL, 0};
    const vgm_info *within;
    uint64_t shape[3], voxels = 1;
    int same;
    vgm_status status;
    source.size = f->info.overview_length;
    status = new_file(&source, f->overview_data, f->tables, &f->allocator, WITHIN, &f->overview, error);
    if (status != VGM_OK) {
        char text[sizeof error->text] = "";
        if (error != NULL)
            memcpy(text, error->text, sizeof text);
        return vgm_fail(error, status, "overview: %.200s", text);
    }
    within = &f->overview->info;
    vgm_get_grid(f, f->info.overview_grid, shape, NULL);
    same = within->type == f->info.type && within->has_t == f->info.has_t && within->has_c == f->info.has_c &&
           within->shape[0] == f->info.shape[0] && within->shape[1] == f->info.shape[1];
    for (int a = 0; a < 3; a++)
        same = same && within->shape[2 + a] == shape[a];
    if (!same)
        return vgm_fail(error, VGM_DAMAGED, "metadata: an overview that is not of grid %u of the volume", f->info.overview_grid);
    for (int a = 0; a < 3; a++) {
        if (shape[a] > VGM_MAX_OVERVIEW / voxels)
            return vgm_fail(error, VGM_DAMAGED, "metadata: an overview of images of more than %d voxels", VGM_MAX_OVERVIEW);
        voxels *= shape[a];
    }
    return VGM_OK;
}

static vgm_status open_source(vgm_file *f, unsigned flags, vgm_error *error)
{
    uint64_t all;
    int lattice = 0;
    vgm_status status = read_head(f, flags, error);
    if (status != VGM_OK)
        return status;
    all = f->info.chunks;
    while (f->info.chunks > 0 && f->chunks[f->info.chunks - 1].offset + f->chunks[f->info.chunks - 1].length > f->source.size)
        f->info.chunks--;
    f->info.chunks_missing = all - f->info.chunks;
    for (uint64_t i = 0; i < f->info.chunks; i++)
        lattice |= f->chunks[i].coding == VGM_CODING_LATTICE;
    if (lattice && f->tables == NULL) {
        f->tables = f->own_tables = vgm_new_lattice_tables(&f->allocator, error);
        if (f->tables == NULL)
            return VGM_MEMORY;
    }
    status = f->overview_data != NULL ? open_overview(f, error) : VGM_OK;
    return status == VGM_OK ? vgm_ok(error) : status;
}

static vgm_status new_file(const vgm_source *source, const uint8_t *memory, const vgm_lattice_tables *tables,
                           const vgm_allocator *allocator, unsigned flags, vgm_file **file, vgm_error *error)
{
    vgm_status status;
    vgm_file *f;
    *file = NULL;
    if (allocator == NULL)
        allocator = &vgm_malloc_allocator;
    f = vgm_take(allocator, 1, sizeof *f, error);
    if (f == NULL)
        return VGM_MEMORY;
    f->source = *source;
    f->allocator = *allocator;
    f->memory = memory;
    f->tables = tables;
    f->within = (flags & WITHIN) != 0;
    if (memory != NULL)
        f->source.state = f;
    status = open_source(f, flags, error);
    if (status == VGM_OK)
        *file = f;
    else
        vgm_close(f);
    return status;
}

vgm_status vgm_open(const vgm_source *source, const vgm_allocator *allocator, unsigned flags, vgm_file **file, vgm_error *error)
{
    return new_file(source, NULL, NULL, allocator, flags, file, error);
}

static int copy_memory(void *state, uint64_t offset, size_t length, void *to)
{
    const vgm_file *f = state;
    memcpy(to, f->memory + offset, length);
    return 0;
}

vgm_status vgm_open_with_tables(const void *data, size_t length, const vgm_lattice_tables *tables, const vgm_allocator *allocator,
                                unsigned flags, vgm_file **file, vgm_error *error)
{
    static const uint8_t nothing = 0;
    vgm_source source = {copy_memory, NULL, 0};
    source.size = length;
    return new_file(&source, length > 0 ? data : &nothing, tables, allocator, flags, file, error);
}

vgm_status vgm_open_memory(const void *data, size_t length, const vgm_allocator *allocator, unsigned flags, vgm_file **file,
                           vgm_error *error)
{
    return vgm_open_with_tables(data, length, NULL, allocator, flags, file, error);
}

void vgm_close(vgm_file *f)
{
    vgm_allocator allocator;
    if (f == NULL)
        return;
    allocator = f->allocator;
    vgm_close(f->overview);
    vgm_give(&allocator, f->own_tables);
    vgm_give(&allocator, f->chunks);
    vgm_give(&allocator, f->shared);
    vgm_give(&allocator, f->qualities);
    vgm_give(&allocator, f->channels);
    vgm_give(&allocator, f->noise);
    vgm_give(&allocator, f->images);
    vgm_give(&allocator, f->text);
    vgm_give(&allocator, f->head);
    vgm_give(&allocator, f);
}

const vgm_info *vgm_get_info(const vgm_file *f)
{
    return &f->info;
}

const vgm_file *vgm_get_overview(const vgm_file *f)
{
    return f->overview;
}

vgm_status vgm_get_chunk(const vgm_file *f, uint64_t chunk, vgm_chunk *into, vgm_error *error)
{
    if (chunk >= f->info.chunks)
        return vgm_fail(error, VGM_USAGE, "chunk %llu: the file has %llu chunks", (unsigned long long)chunk,
                        (unsigned long long)f->info.chunks);
    *into = f->chunks[chunk];
    return vgm_ok(error);
}

vgm_status vgm_get_image(const vgm_file *f, uint64_t t, uint64_t c, float *base, float *gain, vgm_error *error)
{
    if (t >= f->info.shape[0] || c >= f->info.shape[1])
        return vgm_fail(error, VGM_USAGE, "there is no image at time %llu, channel %llu", (unsigned long long)t, (unsigned long long)c);
    *base = f->images[2 * (t * f->info.shape[1] + c)];
    *gain = f->images[2 * (t * f->info.shape[1] + c) + 1];
    return vgm_ok(error);
}

vgm_status vgm_get_noise(const vgm_file *f, uint64_t t, uint64_t c, vgm_noise *into, vgm_error *error)
{
    if (!f->info.has_noise || t >= f->info.shape[0] || c >= f->info.shape[1])
        return vgm_fail(error, VGM_USAGE, "the file says nothing of noise at time %llu, channel %llu", (unsigned long long)t,
                        (unsigned long long)c);
    *into = f->noise[t * f->info.shape[1] + c];
    return vgm_ok(error);
}

const char *vgm_get_quality(const vgm_file *f, uint64_t number, float *value)
{
    if (number >= f->info.qualities)
        return NULL;
    *value = f->qualities[number].value;
    return f->qualities[number].name;
}

const uint8_t *vgm_get_shared(const vgm_file *f, uint64_t number, uint64_t *coding, size_t *length)
{
    if (number >= f->info.shared)
        return NULL;
    *coding = f->shared[number].coding;
    *length = f->shared[number].length;
    return f->shared[number].data;
}

int vgm_get_channel(const vgm_file *f, uint64_t number, const char **name, int64_t *color)
{
    if (number >= f->info.channels)
        return 0;
    *name = f->channels[number].name;
    *color = f->channels[number].color;
    return 1;
}

vgm_status vgm_read_records(const vgm_file *f, uint64_t chunk, uint8_t *records, vgm_error *error)
{
    const vgm_chunk *k;
    vgm_payload p = {0};
    uint8_t *copy = NULL;
    vgm_status status = VGM_OK;
    char where[32];
    if (chunk >= f->info.chunks)
        return vgm_fail(error, VGM_USAGE, "chunk %llu: the file has %llu chunks", (unsigned long long)chunk,
                        (unsigned long long)f->info.chunks);
    k = f->chunks + chunk;
    snprintf(where, sizeof where, "chunk %llu", (unsigned long long)chunk);
    if (k->length > SIZE_MAX)
        return vgm_fail(error, VGM_MEMORY, "%s: %llu bytes are more than this machine addresses", where, (unsigned long long)k->length);
    p.payload = f->memory != NULL ? f->memory + k->offset : NULL;
    if (p.payload == NULL) {
        p.payload = copy = vgm_take(&f->allocator, (size_t)k->length, 1, error);
        status = copy == NULL ? VGM_MEMORY : read_bytes(f, k->offset, (size_t)k->length, copy, error);
    }
    p.coding = k->coding;
    p.length = (size_t)k->length;
    p.count = k->count;
    p.tables = f->tables;
    p.where = where;
    for (int a = 0; a < 3; a++)
        p.brick_shape[a] = k->brick_shape[a];
    for (uint64_t s = 0; s < f->info.shared; s++)
        if (f->shared[s].coding == k->coding) {
            p.shared = f->shared[s].data;
            p.shared_length = f->shared[s].length;
        }
    if (status == VGM_OK && vgm_crc32(0, p.payload, p.length) != k->crc32)
        status = vgm_fail(error, VGM_CHECKSUM, "%s at byte %llu: another checksum than %#010x", where, (unsigned long long)k->offset,
                          (unsigned)k->crc32);
    if (status == VGM_OK)
        status = vgm_decode_payload(&p, records, &f->allocator, error);
    vgm_give(&f->allocator, copy);
    return status == VGM_OK ? vgm_ok(error) : status;
}
