/* The points coding (vgm-1-points.md). Names are those of the text. */
#include <string.h>

#include "codings.h"
#include "half.h"
#include "points_model.h"
#include "range_decoder.h"

enum { HEAD = 5, MAX_NODES = 1 << 21 };

/* The integer of one node; beyond +-LARGEST where it cannot be. */
static int64_t decode_node(vgm_decoder *d, points_models *m, const int32_t *q, const int32_t *p, ptrdiff_t row, int kind)
{
    int64_t e = energy(q, p, row), high = 0, rest;
    int level = level_of(e), low = plain_bits(e), positive;
    if (!vgm_decode_learned(d, zero_model(m, level, kind)))
        return 0;
    positive = vgm_decode_learned(d, &m->sign[sign_context(q, p, row)]);
    while (high < UNARY && vgm_decode_learned(d, &m->magnitude[level][high]))
        high++;
    if (high == UNARY)
        high += vgm_decode_excess(d);
    rest = high * ((int64_t)1 << low) + vgm_decode_uniform(d, (int64_t)1 << low);
    return positive ? rest + 1 : -rest - 1;
}

typedef struct {
    int64_t spacing, nodes[3], blocks[3];
    uint16_t scale;
    double step;
} grid;

static vgm_status read_head(grid *g, const vgm_payload *p, vgm_error *error)
{
    uint64_t nodes = 1;
    uint16_t step;
    if (p->length < HEAD)
        return vgm_fail(error, VGM_DAMAGED, "%s: expected %d bytes and a code, got %llu bytes", p->where, HEAD,
                        (unsigned long long)p->length);
    g->spacing = p->payload[0];
    if (g->spacing < 1 || g->spacing > 16)
        return vgm_fail(error, VGM_DAMAGED, "%s: expected a spacing of 1..16, got %lld", p->where, (long long)g->spacing);
    g->scale = (uint16_t)(p->payload[1] | p->payload[2] << 8);
    step = (uint16_t)(p->payload[3] | p->payload[4] << 8);
    if (g->scale == 0 || g->scale >= 0x7c00u || step == 0 || step >= 0x7c00u)
        return vgm_fail(error, VGM_DAMAGED, "%s: expected a positive scale and step", p->where);
    g->step = (double)vgm_half_to_float(step);
    for (int a = 0; a < 3; a++) {
        uint64_t n = p->brick_shape[a] / (uint64_t)g->spacing;
        if (n < 1 || n > MAX_NODES || nodes * n > MAX_NODES)
            return vgm_fail(error, VGM_DAMAGED, "%s: expected 1..%d nodes, got a brick of %llu x %llu x %llu at spacing %lld", p->where,
                            MAX_NODES, (unsigned long long)p->brick_shape[0], (unsigned long long)p->brick_shape[1],
                            (unsigned long long)p->brick_shape[2], (long long)g->spacing);
        nodes *= n;
        g->nodes[a] = (int64_t)n;
        g->blocks[a] = ((int64_t)n + BLOCK - 1) / BLOCK;
    }
    if (p->count > nodes)
        return vgm_fail(error, VGM_DAMAGED, "%s: %llu primitives cannot be on %llu nodes", p->where, (unsigned long long)p->count,
                        (unsigned long long)nodes);
    return VGM_OK;
}

static int write_half(uint8_t *to, double value)
{
    uint16_t half = vgm_half_of_double(value);
    if ((half & 0x7c00u) == 0x7c00u)
        return 0;
    if (half == 0x8000u)
        half = 0;
    to[0] = (uint8_t)half;
    to[1] = (uint8_t)(half >> 8);
    return 1;
}

static vgm_status write_record(const vgm_payload *p, const grid *g, const int64_t node[3], int64_t v, uint8_t *record,
                               vgm_error *error)
{
    for (int a = 0; a < 3; a++) {
        double middle = ((double)p->brick_shape[a] - 1.0) / 2.0;
        if (!write_half(record + 2 * a, (double)(node[a] * g->spacing) + (double)(g->spacing - 1) / 2.0 - middle))
            return vgm_fail(error, VGM_DAMAGED, "%s: a position is too large for binary16", p->where);
        record[6 + 2 * a] = (uint8_t)g->scale;
        record[7 + 2 * a] = (uint8_t)(g->scale >> 8);
    }
    memset(record + 12, 0, 8);
    record[13] = 0x3c; /* w = 1 */
    if (!write_half(record + 20, (double)v * g->step))
        return vgm_fail(error, VGM_DAMAGED, "%s: an intensity is too large for binary16", p->where);
    return VGM_OK;
}

static void decode_blocks(vgm_decoder *d, points_models *m, const grid *g, uint8_t *blocks)
{
    int64_t row = g->blocks[2] + 2, plane = row * (g->blocks[1] + 2);
    for (int64_t z = 1; z <= g->blocks[0]; z++)
        for (int64_t y = 1; y <= g->blocks[1]; y++)
            for (int64_t x = 1; x <= g->blocks[2]; x++) {
                uint8_t *b = blocks + z * plane + y * row + x;
                b[0] = (uint8_t)vgm_decode_learned(d, block_model(m, b, row, plane));
                if (vgm_decoder_ran_out(d))
                    return;
            }
}

/* `planes`: the integers of this plane and of the one before, each with a border of 0. */
static vgm_status decode_nodes(vgm_decoder *d, points_models *m, const grid *g, const uint8_t *blocks, int32_t *const planes[2],
                               const vgm_payload *p, uint8_t *records, vgm_error *error)
{
    int64_t block_row = g->blocks[2] + 2, block_plane = block_row * (g->blocks[1] + 2);
    int64_t row = g->nodes[2] + 2;
    uint64_t found = 0;
    vgm_status status;
    for (int64_t z = 0; z < g->nodes[0]; z++) {
        int32_t *q = planes[z & 1], *before = planes[~z & 1];
        memset(q, 0, (size_t)(row * (g->nodes[1] + 2)) * sizeof *q);
        for (int64_t y = 0; y < g->nodes[1] && !vgm_decoder_ran_out(d); y++)
            for (int64_t bx = 0; bx < g->blocks[2]; bx++) {
                const uint8_t *b = blocks + (z / BLOCK + 1) * block_plane + (y / BLOCK + 1) * block_row + bx + 1;
                int kind;
                if (!b[0])
                    continue;
                kind = quiet_kind(b, block_row, block_plane);
                for (int64_t x = bx * BLOCK; x < g->nodes[2] && x < (bx + 1) * BLOCK; x++) {
                    int64_t at = (y + 1) * row + x + 1, v = decode_node(d, m, q + at, before + at, row, kind), node[3];
                    if (v == 0)
                        continue;
                    if (v > LARGEST || v < -LARGEST || found == p->count)
                        return vgm_fail(error, VGM_DAMAGED, "%s: expected %llu primitives, found %s: the payload is damaged", p->where,
                                        (unsigned long long)p->count, found == p->count ? "more" : "a number too large");
                    q[at] = (int32_t)v;
                    node[0] = z;
                    node[1] = y;
                    node[2] = x;
                    status = write_record(p, g, node, v, records + found++ * VGM_RECORD_BYTES, error);
                    if (status != VGM_OK)
                        return status;
                }
            }
        if (vgm_decoder_ran_out(d))
            break;
    }
    if (!vgm_decoder_ended(d))
        return vgm_fail(error, VGM_DAMAGED, "%s: its code ends where the payload does not", p->where);
    if (found != p->count)
        return vgm_fail(error, VGM_DAMAGED, "%s: expected %llu primitives, found %llu: the payload is damaged", p->where,
                        (unsigned long long)p->count, (unsigned long long)found);
    return VGM_OK;
}

vgm_status vgm_decode_points(const vgm_payload *p, uint8_t *records, const vgm_allocator *allocator, vgm_error *error)
{
    grid g = {0};
    points_models m;
    vgm_decoder d;
    uint8_t *blocks;
    int32_t *planes[2];
    size_t plane;
    vgm_status status = read_head(&g, p, error);
    if (status != VGM_OK)
        return status;
    if (!vgm_decoder_start(&d, p->payload + HEAD, p->length - HEAD))
        return vgm_fail(error, VGM_DAMAGED, "%s: its first bytes are not a range code", p->where);
    fresh_models(&m);
    plane = (size_t)((g.nodes[1] + 2) * (g.nodes[2] + 2));
    blocks = vgm_take(allocator, (size_t)((g.blocks[0] + 2) * (g.blocks[1] + 2) * (g.blocks[2] + 2)), 1, error);
    planes[0] = vgm_take(allocator, plane, sizeof *planes[0], error);
    planes[1] = vgm_take(allocator, plane, sizeof *planes[1], error);
    status = VGM_MEMORY;
    if (blocks != NULL && planes[0] != NULL && planes[1] != NULL) {
        decode_blocks(&d, &m, &g, blocks);
        status = decode_nodes(&d, &m, &g, blocks, planes, p, records, error);
    }
    vgm_give(allocator, planes[1]);
    vgm_give(allocator, planes[0]);
    vgm_give(allocator, blocks);
    return status;
}
