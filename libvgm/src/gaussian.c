#include "gaussian.h"

#include <math.h>
#include <string.h>

static const double MARGIN = 1e-6; /* voxels, and relative: which tiles are touched is rounded outwards */
static const double LARGE = 3.0; /* smallest standard deviation of a large Gaussian in steps of its grid */
/* Largest errors of midpoints for a weight of 1, from random Gaussians of all shapes (benchmarks/coarse_error.py): that of a kink goes with its
 * slope over the standard deviation, that of a smooth Gaussian with the sixth power of the distance of samples; and what binary32 loses. */
static const double KINK_ERROR = 0.22, SMOOTH_ERROR = 0.25, ARITHMETIC_ERROR = 2.5e-5;
static const int TILE[3] = {VGM_TILE_Z, VGM_TILE_Y, VGM_TILE_X};

double vgm_exp(double x)
{
    static const double coefficients[] = {1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880,
                                          1.0 / 40320,      1.0 / 5040,      1.0 / 720,      1.0 / 120,     1.0 / 24,
                                          1.0 / 6,          0.5,             1.0,            1.0};
    double n, r, p = 0.0, power;
    int64_t bits;
    if (!(x >= -708.0))
        return 0.0;
    if (x > 709.0)
        x = 709.0;
    n = (x * 1.4426950408889634 + 6755399441055744.0) - 6755399441055744.0;
    r = (x - n * 0x1.62e42fefa3800p-1) - n * 0x1.ef35793c76730p-45; /* ln 2 in two parts */
    for (unsigned k = 0; k < sizeof coefficients / sizeof coefficients[0]; k++)
        p = p * r + coefficients[k];
    bits = ((int64_t)n + 1023) * ((int64_t)1 << 52);
    memcpy(&power, &bits, 8);
    return p * power;
}

void vgm_rotation(const float quaternion[4], double r[3][3])
{
    double w = quaternion[0], i = quaternion[1], j = quaternion[2], k = quaternion[3];
    double length = sqrt(w * w + i * i + j * j + k * k);
    w /= length;
    i /= length;
    j /= length;
    k /= length;
    r[0][0] = 1 - 2 * (j * j + k * k);
    r[0][1] = 2 * (i * j - k * w);
    r[0][2] = 2 * (i * k + j * w);
    r[1][0] = 2 * (i * j + k * w);
    r[1][1] = 1 - 2 * (i * i + k * k);
    r[1][2] = 2 * (j * k - i * w);
    r[2][0] = 2 * (i * k - j * w);
    r[2][1] = 2 * (j * k + i * w);
    r[2][2] = 1 - 2 * (i * i + j * j);
}

double vgm_widen(const float scales[3], const vgm_grid *grid, double s[3])
{
    double factor = 1.0;
    for (int a = 0; a < 3; a++) {
        double plain = scales[a];
        s[a] = plain;
        if (grid->widening > 0.0) {
            s[a] = sqrt(plain * plain + grid->widening);
            factor *= plain / s[a];
        }
        s[a] /= grid->step;
    }
    return factor;
}

/* All without cancellation. */
void vgm_squares_of(const vgm_gaussian *g, vgm_squares *f)
{
    double zz = 0, zy = 0, zx = 0, yy = 0, yx = 0;   /* covariance */
    double block_zy = 0, block_zx = 0, block_yx = 0; /* determinants of its 2 x 2 blocks */
    double a1 = 0, a2 = 0, a3 = 0, a4 = 0, a5 = 0;   /* its inverse */
    double r[3][3];
    vgm_rotation(g->rotation, r);
    for (int e = 0; e < 3; e++) {
        double z = r[0][e], y = r[1][e], x = r[2][e];
        double square = (double)g->s[e] * g->s[e], others = (double)g->s[(e + 1) % 3] * g->s[(e + 2) % 3], inverse = 1.0 / square;
        zz += z * z * square;
        zy += z * y * square;
        zx += z * x * square;
        yy += y * y * square;
        yx += y * x * square;
        block_zy += (x * others) * (x * others);
        block_zx += (y * others) * (y * others);
        block_yx += (z * others) * (z * others);
        a1 += z * y * inverse;
        a2 += z * x * inverse;
        a3 += y * y * inverse;
        a4 += y * x * inverse;
        a5 += x * x * inverse;
    }
    f->iz = 1.0 / zz;
    f->iy = zz / block_zy;
    f->ix = a5;
    f->yz = zy / zz;
    f->xz = -a2 / a5;
    f->xy = -a4 / a5;
    f->jx = zz / block_zx;
    f->jy = a3;
    f->jxz = zx / zz;
    f->jyz = -a1 / a3;
    f->jyx = -a4 / a3;
    f->kx = yy / block_yx;
    f->kxy = yx / yy;
}

/* The fields that follow from an inverse covariance (zz, zy, zx, yy, yx, xx). */
static void fill(const double a[6], vgm_gaussian *g)
{
    g->azz = (float)a[0];
    g->azy = (float)a[1];
    g->azx = (float)a[2];
    g->ayy = (float)a[3];
    g->ayx = (float)a[4];
    g->axx = (float)a[5];
    g->czz = (float)vgm_exp(-a[0]);
    g->cyy = (float)vgm_exp(-a[3]);
    g->czy = (float)vgm_exp(a[1] < -88.0 ? 88.0 : -a[1]); /* a walk meets no larger one */
}

static void fill_rotated(double r[3][3], const double s[3], vgm_gaussian *g)
{
    double a[6] = {0, 0, 0, 0, 0, 0};
    for (int e = 0; e < 3; e++) {
        double z = r[0][e], y = r[1][e], x = r[2][e], inverse = 1.0 / (s[e] * s[e]);
        a[0] += z * z * inverse;
        a[1] += z * y * inverse;
        a[2] += z * x * inverse;
        a[3] += y * y * inverse;
        a[4] += y * x * inverse;
        a[5] += x * x * inverse;
    }
    fill(a, g);
}

double vgm_kink(double cutoff)
{
    double edge = vgm_exp(-0.5 * cutoff);
    return sqrt(cutoff) * edge / (1.0 - edge);
}

static double smallest(const float s[3])
{
    float least = s[0] < s[1] ? s[0] : s[1];
    return (double)(least < s[2] ? least : s[2]);
}

double vgm_coarse_error(const vgm_gaussian *g, double kink)
{
    double s = smallest(g->s) / (double)(1 << g->coarseness), square = s * s, weight = (double)g->weight;
    return (weight < 0.0 ? -weight : weight) * (KINK_ERROR * kink / s + SMOOTH_ERROR / (square * square * square) + ARITHMETIC_ERROR);
}

void vgm_coarsen(vgm_gaussian *g)
{
    double step = (double)(1 << g->coarseness), square = step * step, a[6] = {g->azz, g->azy, g->azx, g->ayy, g->ayx, g->axx};
    for (int k = 0; k < 6; k++)
        a[k] *= square;
    for (int k = 0; k < 3; k++) {
        g->m[k] /= step;
        g->h[k] /= (float)step;
        g->s[k] /= (float)step;
    }
    fill(a, g);
}

static int coarseness_of(const vgm_gaussian *g)
{
    double s = smallest(g->s);
    int coarseness = 0;
    while (coarseness < VGM_COARSEST && s >= LARGE * (double)(2 << coarseness))
        coarseness++;
    return coarseness;
}

/* Tiles of [first, stop) with a voxel in [lo, hi], the last plus one in `stop`; 0 where there is none. */
static int tile_range(double lo, double hi, int tile, int32_t *first, int32_t *stop)
{
    double a = ceil(lo), b = floor(hi), start = (double)*first * tile, end = (double)*stop * tile - 1;
    if (b < a || b < start || a > end)
        return 0;
    if (a > start)
        *first = (int32_t)((int64_t)a / tile);
    if (b < end)
        *stop = (int32_t)((int64_t)b / tile) + 1;
    return 1;
}

/* binary32, not less than the value. */
static float rounded_up(double v)
{
    float f = (float)v;
    return (double)f < v ? f * (1.0f + 0x1p-23f) : f;
}

/* How many tiles, or groups of them, are in the span of a Gaussian. */
static uint64_t touched_by(const vgm_gaussian *g)
{
    uint64_t n = 1;
    for (int a = 0; a < 3; a++)
        n *= (uint64_t)(g->coarseness > 0 ? ((g->span[2 * a + 1] - 1) >> 1) - (g->span[2 * a] >> 1) + 1 : g->span[2 * a + 1] - g->span[2 * a]);
    return n;
}

uint64_t vgm_gather(const vgm_primitives *p, const vgm_grid *grid, const int64_t lo[3], const int64_t hi[3], const int64_t first[3],
                    const int64_t last[3], vgm_gaussian *gaussians)
{
    int64_t of_groups[2][3], of_wanted[2][3]; /* tiles: first, last plus one */
    double norm = 1.0 / (1.0 - vgm_exp(-0.5 * grid->cutoff)), reach = sqrt(grid->cutoff);
    uint64_t entries = 0;
    vgm_gaussian round = {0}; /* the last round one: most follow others of their size */
    for (int a = 0; a < 3; a++) {
        int64_t start = first[a] / TILE[a], stop = last[a] / TILE[a] + 1;
        of_groups[0][a] = 2 * lo[a];
        of_groups[1][a] = 2 * hi[a];
        of_wanted[0][a] = start > 2 * lo[a] ? start : 2 * lo[a];
        of_wanted[1][a] = stop < 2 * hi[a] ? stop : 2 * hi[a];
    }
    for (size_t n = 0; n < p->count; n++) {
        vgm_gaussian *g = gaussians + n;
        const float *scales = p->scales + 3 * n;
        double s[3], r[3][3], half[3], largest, factor = vgm_widen(scales, grid, s);
        int inside = 1, is_round = scales[0] == scales[1] && scales[1] == scales[2];
        int64_t(*tiles)[3];
        for (int a = 0; a < 3; a++)
            g->s[a] = (float)s[a];
        g->coarseness = coarseness_of(g);
        tiles = g->coarseness > 0 ? of_groups : of_wanted;
        largest = s[0] > s[1] ? s[0] : s[1];
        largest = (largest > s[2] ? largest : s[2]) * reach * (1.0 + MARGIN);
        for (int a = 0; a < 3; a++) {
            g->m[a] = (p->means[3 * n + (size_t)a] - grid->origin) / grid->step;
            if (g->m[a] + largest < (double)(tiles[0][a] * TILE[a]) || g->m[a] - largest > (double)(tiles[1][a] * TILE[a] - 1))
                inside = 0;
        }
        g->span[0] = g->span[1] = 0;
        if (!inside)
            continue;
        if (is_round) {
            half[0] = half[1] = half[2] = s[0] * reach;
        } else {
            vgm_rotation(p->rotations + 4 * n, r);
            for (int a = 0; a < 3; a++) {
                double z = r[a][0] * s[0], y = r[a][1] * s[1], x = r[a][2] * s[2];
                half[a] = sqrt(grid->cutoff * (z * z + y * y + x * x));
            }
        }
        for (int a = 0; a < 3 && inside; a++) {
            g->h[a] = rounded_up(half[a]);
            g->span[2 * a] = (int32_t)tiles[0][a];
            g->span[2 * a + 1] = (int32_t)tiles[1][a];
            inside = tile_range(g->m[a] - g->h[a], g->m[a] + g->h[a], TILE[a], &g->span[2 * a], &g->span[2 * a + 1]);
        }
        if (!inside) {
            g->span[0] = g->span[1] = 0;
            continue;
        }
        g->weight = (float)((double)p->intensities[n] * norm * factor);
        for (int a = 0; a < 4; a++)
            g->rotation[a] = p->rotations[4 * n + (size_t)a];
        if (!is_round) {
            fill_rotated(r, s, g);
        } else {
            if (round.s[0] != g->s[0]) {
                double a = 1.0 / (s[0] * s[0]), inverse[6] = {a, 0, 0, a, 0, a};
                round.s[0] = g->s[0];
                fill(inverse, &round);
            }
            g->azz = g->ayy = g->axx = round.axx;
            g->azy = g->azx = g->ayx = 0.0f;
            g->czz = g->cyy = round.cyy;
            g->czy = 1.0f;
        }
        entries += touched_by(g);
    }
    return entries;
}

static double root(double v)
{
    return v > 0.0 ? sqrt(v) : 0.0;
}

/* How far an ellipse reaches along one axis (centre m, half width h) between the offsets d0 and d1 of another (half width hd), where
 * q = inv_d d^2 + inv (a - slope d)^2. */
static void slab_range(double m, double h, double d0, double d1, double hd, double slope, double inv_d, double inv, double cutoff,
                       double *lo, double *hi)
{
    double top = cutoff * slope / (inv_d * h); /* offset where the ellipse reaches furthest */
    double slack = MARGIN * (1.0 + h), up, low;
    if (d0 < -hd)
        d0 = -hd;
    if (d1 > hd)
        d1 = hd;
    up = top > d1 ? d1 : top < d0 ? d0 : top;
    low = -top > d1 ? d1 : -top < d0 ? d0 : -top;
    *hi = m + slope * up + root((cutoff - inv_d * up * up) / inv) + slack;
    *lo = m + slope * low - root((cutoff - inv_d * low * low) / inv) - slack;
}

/* Boxes of `edge` voxels, those from `lo` on numbered from `base`. */
typedef struct {
    int edge[3];
    int64_t lo[3], count[3];
    uint64_t base;
} boxes;

/* Pairs of one Gaussian, which touches boxes of `span` only. With `quick` there may be some that it does not touch, where it takes longer to find out
 * than to find nothing in them; which these are depends on the span. */
static uint64_t list_touched(const vgm_gaussian *g, uint32_t id, const int32_t span[6], const boxes *b, double cutoff, int quick,
                             vgm_pair *pairs, uint64_t *counts)
{
    uint64_t entries = 0;
    vgm_squares f;
    int few = quick && (span[1] - span[0]) * (int64_t)(span[3] - span[2]) * (span[5] - span[4]) <= 2;
    if (!few)
        vgm_squares_of(g, &f);
    for (int32_t z = span[0]; z < span[1]; z++) {
        int32_t ya = span[2], yb = span[3], xa = span[4], xb = span[5];
        double lo, hi;
        if (!few) {
            double d0 = (double)z * b->edge[0] - g->m[0], d1 = d0 + b->edge[0] - 1;
            slab_range(g->m[1], g->h[1], d0, d1, g->h[0], f.yz, f.iz, f.iy, cutoff, &lo, &hi);
            if (!tile_range(lo, hi, b->edge[1], &ya, &yb))
                continue;
            slab_range(g->m[2], g->h[2], d0, d1, g->h[0], f.jxz, f.iz, f.jx, cutoff, &lo, &hi);
            if (!tile_range(lo, hi, b->edge[2], &xa, &xb))
                continue;
        }
        for (int32_t y = ya; y < yb; y++) {
            int32_t from = xa, to = xb;
            uint64_t row;
            if (!few && !(quick && to - from <= 1)) {
                double d0 = (double)y * b->edge[1] - g->m[1], d1 = d0 + b->edge[1] - 1;
                slab_range(g->m[2], g->h[2], d0, d1, g->h[1], f.kxy, cutoff / ((double)g->h[1] * g->h[1]), f.kx, cutoff, &lo, &hi);
                if (!tile_range(lo, hi, b->edge[2], &from, &to))
                    continue;
            }
            row = b->base + (uint64_t)(((z - b->lo[0]) * b->count[1] + y - b->lo[1]) * b->count[2] - b->lo[2]);
            for (int32_t x = from; x < to; x++) {
                pairs[entries].tile = (uint32_t)(row + (uint64_t)x);
                pairs[entries++].gaussian = id;
                counts[row + (uint64_t)x]++;
            }
        }
    }
    return entries;
}

uint64_t vgm_list_pairs(const vgm_gaussian *gaussians, uint64_t first, uint64_t last, double cutoff, const int64_t lo[3],
                        const int64_t groups[3], vgm_pair *pairs, uint64_t *counts)
{
    uint64_t entries = 0;
    boxes single = {{0}, {0}, {0}, 0}, grouped = {{0}, {0}, {0}, 0};
    for (int a = 0; a < 3; a++) {
        single.edge[a] = TILE[a];
        single.lo[a] = 2 * lo[a];
        single.count[a] = 2 * groups[a];
        grouped.edge[a] = 2 * TILE[a];
        grouped.lo[a] = lo[a];
        grouped.count[a] = groups[a];
    }
    grouped.base = (uint64_t)(single.count[0] * single.count[1] * single.count[2]);
    for (uint64_t i = first; i < last; i++) {
        const vgm_gaussian *g = gaussians + i;
        int32_t span[6];
        if (g->span[0] == g->span[1])
            continue;
        if (g->coarseness == 0) {
            entries += list_touched(g, (uint32_t)i, g->span, &single, cutoff, 1, pairs + entries, counts);
            continue;
        }
        for (int a = 0; a < 3; a++) {
            span[2 * a] = g->span[2 * a] >> 1;
            span[2 * a + 1] = ((g->span[2 * a + 1] - 1) >> 1) + 1;
        }
        entries += list_touched(g, (uint32_t)i, span, &grouped, cutoff, 0, pairs + entries, counts);
    }
    return entries;
}

void vgm_sort_pairs(const vgm_pair *pairs, uint64_t count, uint64_t *cursor, uint32_t *gaussians)
{
    for (uint64_t e = 0; e < count; e++)
        gaussians[cursor[pairs[e].tile]++] = pairs[e].gaussian;
}
