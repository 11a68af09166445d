#include "point_choice.h"

#include <math.h>
#include <string.h>

#include "../src/points_model.h"

#define SPILL_SEEN 0.25 /* steps that a point spills into the next block from which on that counts there */

/* For finite v > 0; within 1e-15 of a bit or two units of the last place, of operations that are the same everywhere. */
static double log2_of(double v)
{
    double s, square, sum = 0.0, whole;
    uint64_t b;
    memcpy(&b, &v, sizeof b);
    whole = (double)((int64_t)(b >> 52) - 1023);
    b = (b & 0xfffffffffffffu) | (uint64_t)1023 << 52;
    memcpy(&v, &b, sizeof v);
    if (v > 1.4142135623730951) {
        v *= 0.5;
        whole += 1.0;
    }
    s = (v - 1.0) / (v + 1.0); /* ln v = 2 (s + s^3 / 3 + s^5 / 5 + ...) */
    square = s * s;
    for (int k = 23; k > 1; k -= 2)
        sum = (sum + 1.0 / (double)k) * square;
    return whole + 2.8853900817779268 * (s + s * sum);
}

void vgm_fill_bits(double bits[VGM_PROBABILITIES])
{
    bits[0] = 16.0;
    for (int p = 1; p < VGM_PROBABILITIES; p++)
        bits[p] = -log2_of((double)p / 65536.0);
}

static inline double bits_of(const double *bits, const vgm_bit_model *m, int bit)
{
    return bits[bit ? m->p : 65536 - m->p];
}

static inline int floor_log2(int64_t v)
{
    return 63 - __builtin_clzll((unsigned long long)v);
}

static double magnitude_bits(const double *bits, const vgm_bit_model m[UNARY], int low, int64_t size)
{
    int64_t high = (size - 1) >> low;
    double sum = (double)low;
    int n = 0;
    for (; n < UNARY && n < high; n++)
        sum += bits_of(bits, m + n, 1);
    return sum + (n < UNARY ? bits_of(bits, m + n, 0) : 1.0 + 2.0 * (double)floor_log2(high - UNARY + 1));
}

/* A box of voxels [lo, hi). */
typedef struct {
    int64_t lo[3], hi[3];
} voxels;

static inline const float *at(const vgm_missing *m, const float *field, int64_t z, int64_t y, int64_t x)
{
    return field + (z * m->shape[1] + y) * m->shape[2] + x;
}

/* Sum of what is missing in those face neighbours of a voxel that are outside of its block. */
static float beside(const vgm_missing *m, const voxels *b, const int64_t v[3])
{
    const int64_t step[3] = {m->shape[1] * m->shape[2], m->shape[2], 1};
    const float *r = at(m, m->residual, v[0], v[1], v[2]);
    float total = 0.0f;
    for (int a = 0; a < 3; a++) {
        if (v[a] == b->lo[a] && v[a] > 0)
            total += r[-step[a]];
        if (v[a] == b->hi[a] - 1 && b->hi[a] < m->shape[a])
            total += r[step[a]];
    }
    return total;
}

/* Whether more than `limit` is missing in a voxel of a box, of what of it there is. */
static int any_above(const vgm_missing *m, voxels b, double limit)
{
    for (int a = 0; a < 3; a++) {
        b.lo[a] = b.lo[a] > 0 ? b.lo[a] : 0;
        b.hi[a] = b.hi[a] < m->shape[a] ? b.hi[a] : m->shape[a];
    }
    for (int64_t z = b.lo[0]; z < b.hi[0]; z++)
        for (int64_t y = b.lo[1]; y < b.hi[1]; y++)
            for (int64_t x = b.lo[2]; x < b.hi[2]; x++)
                if ((double)fabsf(*at(m, m->residual, z, y, x)) > limit)
                    return 1;
    return 0;
}

/* Whether more than `limit` is missing in a voxel that shares a face with the block. */
static int spilt_into(const vgm_missing *m, const voxels *b, double limit)
{
    for (int a = 0; a < 3; a++) {
        voxels below = *b, above = *b;
        below.lo[a] = b->lo[a] - 1;
        below.hi[a] = b->lo[a];
        above.lo[a] = b->hi[a];
        above.hi[a] = b->hi[a] + 1;
        if (any_above(m, below, limit) || any_above(m, above, limit))
            return 1;
    }
    return 0;
}

static int is_active(const vgm_missing *m, const voxels *b)
{
    double gain = -6.0 * m->multiplier;
    int spilt = m->side > 0.0 && spilt_into(m, b, SPILL_SEEN / m->inverse / m->side);
    for (int64_t z = b->lo[0]; z < b->hi[0]; z++)
        for (int64_t y = b->lo[1]; y < b->hi[1]; y++)
            for (int64_t x = b->lo[2]; x < b->hi[2]; x++) {
                const int64_t v[3] = {z, y, x};
                double missing = (double)*at(m, m->residual, z, y, x), a;
                if (spilt)
                    missing -= m->side * (double)beside(m, b, v);
                a = fabs(missing) * m->inverse;
                if (a > 0.75) {
                    double k = floor(a + 0.5), g = (a * a - (a - k) * (a - k)) * (double)*at(m, m->weight, z, y, x);
                    g -= m->multiplier * (5.0 + 2.0 * log2_of(k > 1.0 ? k : 1.0));
                    if (g > 0.0)
                        gain += g;
                    if (gain > 0.0)
                        return 1;
                }
            }
    return 0;
}

void vgm_find_blocks(const vgm_missing *m, const int64_t nodes[3], const int64_t grid[3], uint8_t *blocks, int64_t bz)
{
    for (int64_t by = 0; by < grid[1]; by++)
        for (int64_t bx = 0; bx < grid[2]; bx++) {
            const int64_t block[3] = {bz, by, bx};
            voxels b;
            for (int a = 0; a < 3; a++) {
                int64_t end = (block[a] + 1) * BLOCK;
                b.lo[a] = m->lo[a] + block[a] * BLOCK;
                b.hi[a] = m->lo[a] + (end < nodes[a] ? end : nodes[a]);
            }
            blocks[((bz + 1) * (grid[1] + 2) + by + 1) * (grid[2] + 2) + bx + 1] = (uint8_t)is_active(m, &b);
        }
}

enum { PIECE = 256 }; /* voxels of a row that are worked on at once */

static void add_row(float *restrict sum, const float *restrict row, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        sum[i] += row[i];
}

/* A piece of a row that a sweep goes over: what is around its voxels but for those along x, in two parts. */
typedef struct {
    const float *before;
    float *now;
    float left;          /* the voxel that was done last */
    float around[PIECE]; /* z before and after, then y before (and after, where it is known) */
    float after[PIECE];  /* what is added to that where the row before has been done */
} swept;

/* `n` voxels of a row; `right` is next to the last one. */
static void sweep_row(swept *s, int64_t n, float right, float side)
{
    float left = s->left, *restrict now = s->now;
    for (int64_t x = 0; x < n; x++) {
        left = s->before[x] - side * (s->around[x] + left + (x + 1 < n ? now[x + 1] : right));
        now[x] = left;
    }
    s->left = left;
}

/* `n` voxels of two rows, the second one voxel behind the first, which are two sums at a time and come out as one row after the other. */
static void sweep_two(swept *a, swept *b, int64_t n, const float right[2], float side)
{
    const float *restrict before_a = a->before, *restrict before_b = b->before;
    float *restrict now_a = a->now, *restrict now_b = b->now;
    float left_a = a->left, left_b = b->left;
    left_a = before_a[0] - side * (a->around[0] + left_a + (n > 1 ? now_a[1] : right[0]));
    now_a[0] = left_a;
    for (int64_t x = 1; x < n; x++) {
        float above = left_a;
        left_a = before_a[x] - side * (a->around[x] + left_a + (x + 1 < n ? now_a[x + 1] : right[0]));
        left_b = before_b[x - 1] - side * (b->around[x - 1] + above + b->after[x - 1] + left_b + now_b[x]);
        now_a[x] = left_a;
        now_b[x - 1] = left_b;
    }
    left_b = before_b[n - 1] - side * (b->around[n - 1] + left_a + b->after[n - 1] + left_b + right[1]);
    now_b[n - 1] = left_b;
    a->left = left_a;
    b->left = left_b;
}

/* One sweep over rows y and, where there is one, y + 1. */
static void sweep_pair(const float *before, float *now, const int64_t shape[3], int64_t z, int64_t y, float side)
{
    int64_t ny = shape[1], nx = shape[2], plane = ny * nx;
    int rows = y + 1 < ny ? 2 : 1;
    swept s[2];
    s[0].left = s[1].left = 0.0f;
    for (int64_t x = 0; x < nx; x += PIECE) {
        int64_t n = nx - x < PIECE ? nx - x : PIECE;
        float right[2];
        for (int k = 0; k < rows; k++) {
            int64_t at = (z * ny + y + k) * nx + x;
            s[k].before = before + at;
            s[k].now = now + at;
            memset(s[k].around, 0, sizeof s[k].around);
            memset(s[k].after, 0, sizeof s[k].after);
            if (z > 0)
                add_row(s[k].around, s[k].now - plane, n);
            if (z + 1 < shape[0])
                add_row(s[k].around, s[k].now + plane, n);
            if (k == 0 && y > 0)
                add_row(s[k].around, s[k].now - nx, n);
            if (y + k + 1 < ny)
                add_row(k == 0 ? s[k].around : s[k].after, s[k].now + nx, n);
            right[k] = x + n < nx ? s[k].now[n] : 0.0f;
        }
        if (rows == 2)
            sweep_two(&s[0], &s[1], n, right, side);
        else
            sweep_row(&s[0], n, right[0], side);
    }
}

void vgm_sharpen(const float *before, float *now, const int64_t shape[3], float side, int sweeps)
{
    for (int sweep = 0; sweep < sweeps; sweep++)
        for (int64_t z = 0; z < shape[0]; z++)
            for (int64_t y = 0; y < shape[1]; y += 2)
                sweep_pair(before, now, shape, z, y, side);
}

/* The residual loses a point of height d at a voxel. */
static void take_off(const vgm_missing *m, const int64_t v[3], float d)
{
    const int64_t step[3] = {m->shape[1] * m->shape[2], m->shape[2], 1};
    float *r = m->residual + v[0] * step[0] + v[1] * step[1] + v[2];
    *r -= d;
    if (!(m->side > 0.0))
        return;
    d *= (float)m->side;
    for (int a = 0; a < 3; a++) {
        if (v[a] > 0)
            r[-step[a]] -= d;
        if (v[a] + 1 < m->shape[a])
            r[step[a]] -= d;
    }
}

typedef struct {
    points_models models;
    const double *bits;
    int64_t row, plane; /* of integers */
} chooser;

/* The integer of a node that wants `real`, of a voxel of some weight: the one of least squared error and cost of its bits, which
 * `spent` gains. */
static int32_t choose_node(chooser *c, const vgm_missing *m, float real, float weight, const int32_t *q, int quiet, double *spent)
{
    int64_t e = energy(q, q - c->plane, c->row), most, best = 0;
    int level = level_of(e), low = plain_bits(e), positive = real > 0.0f;
    vgm_bit_model *zero = zero_model(&c->models, level, quiet), *magnitude = c->models.magnitude[level];
    vgm_bit_model *sign = &c->models.sign[sign_context(q, q - c->plane, c->row)];
    double a = (double)fabsf(real) * m->inverse, paid = bits_of(c->bits, zero, 0);
    most = !(weight > 0.0f) || !(a + 0.5 >= 1.0) ? 0 : a + 0.5 < LARGEST - 1 ? (int64_t)(a + 0.5) : LARGEST - 1;
    if (most > 0) {
        double head = bits_of(c->bits, zero, 1) + bits_of(c->bits, sign, positive);
        double multiplier = m->multiplier / (double)weight, least = a * a + multiplier * paid;
        for (int64_t k = most > 1 ? most - 1 : 1; k <= most; k++) {
            double taken = head + magnitude_bits(c->bits, magnitude, low, k);
            double off = a - (double)k, cost = off * off + multiplier * taken;
            if (cost < least) {
                least = cost;
                best = k;
                paid = taken;
            }
        }
    }
    *spent += paid;
    vgm_learn_bit(zero, best != 0);
    if (best != 0) {
        int64_t high = (best - 1) >> low;
        vgm_learn_bit(sign, positive);
        for (int k = 0; k < UNARY && k <= high; k++)
            vgm_learn_bit(magnitude + k, high > k);
    }
    return (int32_t)(positive ? best : -best);
}

int64_t vgm_choose_points(const vgm_missing *m, const float *wanted, const int64_t wanted_shape[3], const int64_t border[3],
                          const double *bits, vgm_points *p, double *spent)
{
    chooser c;
    double step = 1.0 / m->inverse;
    int64_t block_row = p->grid[2] + 2, block_plane = block_row * (p->grid[1] + 2), count = 0;
    c.bits = bits;
    c.row = p->nodes[2] + 2;
    c.plane = c.row * (p->nodes[1] + 2);
    fresh_models(&c.models);
    for (int64_t z = 0; z < p->nodes[0]; z++)
        for (int64_t y = 0; y < p->nodes[1]; y++) {
            const float *want = wanted + ((z + border[0]) * wanted_shape[1] + y + border[1]) * wanted_shape[2] + border[2];
            const float *weight = at(m, m->weight, m->lo[0] + z, m->lo[1] + y, m->lo[2]);
            int32_t *q = p->q + (z + 1) * c.plane + (y + 1) * c.row + 1;
            for (int64_t bx = 0; bx < p->grid[2]; bx++) {
                int64_t block = (z / BLOCK + 1) * block_plane + (y / BLOCK + 1) * block_row + bx + 1;
                double here = 0.0;
                int quiet;
                if (!p->blocks[block])
                    continue;
                quiet = quiet_kind(p->blocks + block, block_row, block_plane);
                for (int64_t x = bx * BLOCK; x < p->nodes[2] && x < (bx + 1) * BLOCK; x++) {
                    q[x] = choose_node(&c, m, want[x], weight[x], q + x, quiet, &here);
                    if (q[x] != 0) {
                        const int64_t v[3] = {m->lo[0] + z, m->lo[1] + y, m->lo[2] + x};
                        take_off(m, v, (float)((double)q[x] * step));
                        count++;
                    }
                }
                spent[block] += here;
            }
        }
    return count;
}

static int holds_any(const vgm_points *p, int64_t bz, int64_t by, int64_t bx)
{
    int64_t row = p->nodes[2] + 2, plane = row * (p->nodes[1] + 2);
    for (int64_t z = bz * BLOCK; z < p->nodes[0] && z < (bz + 1) * BLOCK; z++)
        for (int64_t y = by * BLOCK; y < p->nodes[1] && y < (by + 1) * BLOCK; y++)
            for (int64_t x = bx * BLOCK; x < p->nodes[2] && x < (bx + 1) * BLOCK; x++)
                if (p->q[(z + 1) * plane + (y + 1) * row + x + 1] != 0)
                    return 1;
    return 0;
}

double vgm_clear_empty_blocks(vgm_points *p, const double *bits, const double *spent)
{
    points_models models;
    int64_t row = p->grid[2] + 2, plane = row * (p->grid[1] + 2);
    double total = 0.0;
    fresh_models(&models);
    for (int64_t z = 0; z < p->grid[0]; z++)
        for (int64_t y = 0; y < p->grid[1]; y++)
            for (int64_t x = 0; x < p->grid[2]; x++) {
                int64_t block = (z + 1) * plane + (y + 1) * row + x + 1;
                uint8_t *b = p->blocks + block;
                vgm_bit_model *m;
                if (*b) {
                    *b = (uint8_t)holds_any(p, z, y, x);
                    if (*b)
                        total += spent[block];
                }
                m = block_model(&models, b, row, plane);
                total += bits_of(bits, m, *b);
                vgm_learn_bit(m, *b);
            }
    return total;
}
