#include "points_encoder.h"

#include "../src/points_model.h"

/* 0 where the integer is one that no decoder takes. */
static int encode_node(vgm_encoder *code, points_models *m, const int32_t *q, int64_t row, int64_t plane, int quiet)
{
    int64_t e = energy(q, q - plane, row), rest, high;
    int level = level_of(e), low = plain_bits(e);
    vgm_encode_learned(code, zero_model(m, level, quiet), *q != 0);
    if (*q == 0)
        return 1;
    vgm_encode_learned(code, &m->sign[sign_context(q, q - plane, row)], *q > 0);
    rest = (*q < 0 ? -(int64_t)*q : *q) - 1;
    high = rest >> low;
    for (int k = 0; k < UNARY && k <= high; k++)
        vgm_encode_learned(code, &m->magnitude[level][k], high > k);
    if (high >= UNARY)
        vgm_encode_excess(code, high - UNARY);
    vgm_encode_uniform(code, (int64_t)1 << low, rest & (((int64_t)1 << low) - 1));
    return rest < LARGEST;
}

void vgm_encode_points(vgm_encoder *code, const vgm_points *p)
{
    points_models m;
    int64_t block_row = p->grid[2] + 2, block_plane = block_row * (p->grid[1] + 2);
    int64_t row = p->nodes[2] + 2, plane = row * (p->nodes[1] + 2);
    fresh_models(&m);
    for (int64_t z = 1; z <= p->grid[0]; z++)
        for (int64_t y = 1; y <= p->grid[1]; y++)
            for (int64_t x = 1; x <= p->grid[2]; x++) {
                const uint8_t *b = p->blocks + z * block_plane + y * block_row + x;
                vgm_encode_learned(code, block_model(&m, b, block_row, block_plane), *b);
            }
    for (int64_t z = 0; z < p->nodes[0]; z++)
        for (int64_t y = 0; y < p->nodes[1]; y++)
            for (int64_t bx = 0; bx < p->grid[2]; bx++) {
                const uint8_t *b = p->blocks + (z / BLOCK + 1) * block_plane + (y / BLOCK + 1) * block_row + bx + 1;
                int quiet;
                if (!*b)
                    continue;
                quiet = quiet_kind(b, block_row, block_plane);
                for (int64_t x = bx * BLOCK; x < p->nodes[2] && x < (bx + 1) * BLOCK; x++)
                    if (!encode_node(code, &m, p->q + (z + 1) * plane + (y + 1) * row + x + 1, row, plane, quiet))
                        return;
            }
}
