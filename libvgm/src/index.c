/* The index (vgm-1.md, section 5). */
#include "file.h"
#include "frame.h"

static const uint64_t COLUMN_LIMIT = (uint64_t)1 << 33;

static int64_t unzigzag(uint64_t u)
{
    return (int64_t)(u >> 1) ^ -(int64_t)(u & 1);
}

static vgm_status reject(vgm_error *error, uint64_t chunk, const char *what)
{
    return vgm_fail(error, VGM_DAMAGED, "index: chunk %llu: %s is outside of what there can be", (unsigned long long)chunk, what);
}

/* Column k of the chunks, added up where the text says "difference", goes into one field of each. */
static vgm_status read_column(vgm_file *f, uint64_t n, int k, vgm_cursor *c, int stored)
{
    int64_t sum = k >= 9 && k < 12 ? (int64_t)f->info.shape[k - 7] : 0;
    int axis = k % 3;
    for (uint64_t i = 0; i < n; i++) {
        vgm_chunk *chunk = f->chunks + i;
        uint64_t u = stored ? vgm_take_varint(c) : 0;
        int64_t v = unzigzag(u), size;
        if (c->status != VGM_OK)
            return c->status;
        if (k > 0 && u >= COLUMN_LIMIT)
            return vgm_fail(c->error, VGM_DAMAGED, "index: column %d holds %llu, expected less than 2^33", k, (unsigned long long)u);
        sum += v; /* below 2^32 x 2^32: every value was checked before the next is added */
        size = k >= 6 ? (int64_t)f->info.shape[2 + axis] : 0;
        switch (k) {
        case 0:
            if (u >= f->info.payload_length)
                return reject(c->error, i, "length");
            chunk->length = u + 1;
            break;
        case 1:
            if (u / 8 >= chunk->length)
                return reject(c->error, i, "count");
            chunk->count = u + 1;
            break;
        case 2:
            if (sum < 0 || sum > 255)
                return reject(c->error, i, "coding");
            chunk->coding = (uint32_t)sum;
            break;
        case 3:
            if (sum < 0 || (uint64_t)sum >= f->info.shape[0])
                return reject(c->error, i, "time point");
            chunk->t = (uint32_t)sum;
            break;
        case 4:
            if (sum < 0 || (uint64_t)sum >= f->info.shape[1])
                return reject(c->error, i, "channel");
            chunk->c = (uint32_t)sum;
            break;
        case 5:
            if (sum < 0 || sum > 255 || v < 0)
                return reject(c->error, i, "level");
            chunk->level = (uint32_t)sum;
            break;
        case 6:
        case 7:
        case 8:
            if (sum < 0 || sum >= size)
                return reject(c->error, i, "brick");
            chunk->brick_lo[axis] = (uint64_t)sum;
            break;
        case 9:
        case 10:
        case 11:
            if (sum < 1 || (int64_t)chunk->brick_lo[axis] + sum > size)
                return reject(c->error, i, "brick");
            chunk->brick_shape[axis] = (uint64_t)sum;
            break;
        case 12:
        case 13:
        case 14:
            v = (int64_t)chunk->brick_lo[axis] - v;
            if (v < 0 || v > size)
                return reject(c->error, i, "support box");
            chunk->support_lo[axis] = (uint64_t)v;
            break;
        default:
            v += (int64_t)(chunk->brick_lo[axis] + chunk->brick_shape[axis]);
            if (v < (int64_t)chunk->support_lo[axis] || v > size)
                return reject(c->error, i, "support box");
            chunk->support_hi[axis] = (uint64_t)v;
        }
    }
    return VGM_OK;
}

static vgm_status read_columns(vgm_file *f, uint64_t n, const uint8_t *data, size_t length, vgm_error *error)
{
    vgm_cursor c = vgm_cursor_of(data, length, "index", error);
    uint64_t mask;
    vgm_status status;
    if (n == 0)
        return VGM_OK;
    mask = vgm_take_varint(&c);
    if (c.status == VGM_OK && mask >> VGM_COLUMNS)
        return vgm_fail(error, VGM_DAMAGED, "index: column mask %#llx, expected at most %d bits", (unsigned long long)mask, VGM_COLUMNS);
    for (int k = 0; k < VGM_COLUMNS; k++) {
        status = read_column(f, n, k, &c, (int)(mask >> k & 1));
        if (status != VGM_OK)
            return status;
    }
    if (vgm_left(&c) > 0)
        return vgm_fail(error, VGM_DAMAGED, "index: %llu bytes too many", (unsigned long long)vgm_left(&c));
    return VGM_OK;
}

static vgm_status read_block(vgm_file *f, uint64_t n, unsigned flags, vgm_cursor *c, vgm_error *error)
{
    uint64_t size;
    uint8_t *block;
    vgm_status status;
    if (!flags)
        return read_columns(f, n, c->at, vgm_left(c), error);
    status = vgm_frame_size(c->at, vgm_left(c), "index", &size, error);
    if (status != VGM_OK)
        return status;
    if (size > 3 + 94 * n)
        return vgm_fail(error, VGM_DAMAGED, "index: zstd frame says %llu bytes, expected at most %llu", (unsigned long long)size,
                        (unsigned long long)(3 + 94 * n));
    block = vgm_take(&f->allocator, (size_t)size, 1, error);
    if (block == NULL)
        return VGM_MEMORY;
    status = vgm_frame_read(c->at, vgm_left(c), "index", block, (size_t)size, &f->allocator, error);
    if (status == VGM_OK)
        status = read_columns(f, n, block, (size_t)size, error);
    vgm_give(&f->allocator, block);
    return status;
}

vgm_status vgm_read_index(vgm_file *f, const uint8_t *data, size_t length, uint64_t payload_start, vgm_error *error)
{
    vgm_cursor c = vgm_cursor_of(data, length, "index", error);
    unsigned flags = vgm_take_u8(&c);
    uint64_t n = vgm_take_varint(&c), left = f->info.payload_length;
    vgm_status status;
    if (c.status != VGM_OK)
        return c.status;
    if (flags > 1)
        return vgm_fail(error, VGM_DAMAGED, "index: flags %u, expected 0 or 1", flags);
    if (n > vgm_left(&c) / 4 || n > f->info.payload_length)
        return vgm_fail(error, VGM_DAMAGED, "index: %llu chunks cannot be in %llu bytes of index and %llu of payload",
                        (unsigned long long)n, (unsigned long long)vgm_left(&c), (unsigned long long)f->info.payload_length);
    if (n == 0 && (flags || vgm_left(&c) > 0 || f->info.payload_length > 0))
        return vgm_fail(error, VGM_DAMAGED, "index: no chunks, but flags, columns or a payload");
    f->chunks = vgm_take(&f->allocator, (size_t)n, sizeof *f->chunks, error);
    if (f->chunks == NULL)
        return VGM_MEMORY;
    for (uint64_t i = 0; i < n; i++)
        f->chunks[i].crc32 = vgm_take_u32(&c);
    status = read_block(f, n, flags, &c, error);
    if (status != VGM_OK)
        return status;
    for (uint64_t i = 0; i < n; i++) {
        f->chunks[i].offset = payload_start + (f->info.payload_length - left);
        if (f->chunks[i].length > left)
            return reject(error, i, "length");
        left -= f->chunks[i].length;
    }
    if (left > 0)
        return vgm_fail(error, VGM_DAMAGED, "index: chunks have %llu bytes less than the payload section", (unsigned long long)left);
    f->info.chunks = n;
    return VGM_OK;
}
