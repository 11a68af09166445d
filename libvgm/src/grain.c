#include "grain.h"

#include <math.h>
#include <string.h>

#include "file.h"
#include "instructions.h"

enum { MOST_TAPS = 3, ROWS = 32, COLUMNS = 512, WORDS = 4, LANES = 8 };

static const double UNIT = 548360551354.3337; /* 2^30 times the standard deviation of a sum of four quantiles */
static const int16_t QUANTILES[128] = {
    1,   4,   6,   9,   11,  14,  16,  19,  21,  24,  26,  29,  31,  34,  36,  39,  42,  44,  47,  49,  52,  54,  57,  59,  62,  65,
    67,  70,  72,  75,  78,  80,  83,  86,  88,  91,  94,  96,  99,  102, 104, 107, 110, 113, 115, 118, 121, 124, 127, 129, 132, 135,
    138, 141, 144, 147, 150, 153, 156, 159, 162, 165, 168, 171, 174, 177, 181, 184, 187, 190, 194, 197, 200, 204, 207, 211, 214, 218,
    222, 225, 229, 233, 237, 240, 244, 248, 252, 256, 261, 265, 269, 274, 278, 283, 287, 292, 297, 302, 307, 312, 318, 323, 329, 334,
    340, 347, 353, 360, 366, 374, 381, 389, 397, 405, 414, 424, 434, 445, 457, 470, 484, 500, 518, 539, 565, 598, 645, 739};

/* A line of numbers along x, and of which row it is; a plane of sums over such rows, and of which plane. */
typedef struct {
    int64_t place;
    int32_t sums[COLUMNS];
} row;

typedef struct {
    int64_t place;
    int64_t sums[ROWS][COLUMNS];
} plane;

typedef struct {
    int16_t quantiles[256]; /* of a byte, signed */
    int taps[3];
    int64_t h[3][MOST_TAPS];
    int32_t white[COLUMNS + 2 * WORDS + MOST_TAPS];
    row rows[MOST_TAPS];
    plane planes[MOST_TAPS]; /* the last three, by their place modulo 3 */
} workroom;

static double root(double q)
{
    return (1.0 - sqrt(1.0 - 4.0 * q * q)) / (2.0 * q);
}

static int taps_of(int correlation, int64_t h[MOST_TAPS])
{
    double weights[MOST_TAPS] = {1.0, 0.0, 0.0}, sum = 0.0, r = (double)correlation / 100.0;
    int n = correlation == 0 ? 1 : correlation <= 50 ? 2 : 3;
    if (n == 2) {
        weights[1] = root(r);
    } else if (n == 3) {
        double u = 2.0 * r - 1.0, share = u / (1.0 - u), t = root(share < 0.5 ? share : 0.5);
        weights[1] = 1.0 + t;
        weights[2] = t;
    }
    for (int k = 0; k < n; k++)
        sum += weights[k] * weights[k];
    sum = sqrt(sum);
    for (int k = 0; k < n; k++)
        h[k] = (int64_t)((1024.0 * weights[k] / sum + 6755399441055744.0) - 6755399441055744.0); /* half to even */
    return n;
}

#define ANY_TARGET static inline __attribute__((always_inline))

/* Philox4x32-10 of eight counters that differ in their first word: words[k] are words k of each. */
ANY_TARGET void philox(uint32_t group, const uint32_t place[3], uint32_t seed, uint32_t channel, uint32_t words[WORDS][LANES])
{
    uint32_t c[WORDS][LANES], k0 = seed, k1 = channel;
    for (int i = 0; i < LANES; i++) {
        c[0][i] = group + (uint32_t)i;
        for (int a = 0; a < 3; a++)
            c[1 + a][i] = place[a];
    }
    for (int n = 0; n < 10; n++) {
        for (int i = 0; i < LANES; i++) {
            uint64_t p0 = (uint64_t)0xD2511F53u * c[0][i], p1 = (uint64_t)0xCD9E8D57u * c[2][i];
            c[0][i] = (uint32_t)(p1 >> 32) ^ c[1][i] ^ k0;
            c[1][i] = (uint32_t)p1;
            c[2][i] = (uint32_t)(p0 >> 32) ^ c[3][i] ^ k1;
            c[3][i] = (uint32_t)p0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    memcpy(words, c, sizeof c);
}

/* White numbers n(z, y, x .. x + count - 1). */
ANY_TARGET void white_row(const vgm_grain *g, workroom *w, int64_t z, int64_t y, int64_t x, int64_t count, int32_t *to)
{
    uint32_t place[3] = {(uint32_t)y, (uint32_t)z, g->time}, words[WORDS][LANES];
    for (int64_t group = x / WORDS; group * WORDS < x + count; group += LANES) {
        philox((uint32_t)group, place, g->seed, g->channel, words);
        for (int i = 0; i < LANES; i++)
            for (int k = 0; k < WORDS; k++) {
                int64_t at = (group + i) * WORDS + k - x;
                uint32_t word = words[k][i];
                if (at >= 0 && at < count)
                    to[at] = w->quantiles[word & 255] + w->quantiles[word >> 8 & 255] + w->quantiles[word >> 16 & 255] +
                             w->quantiles[word >> 24];
            }
    }
}

/* Numbers of one row brought together along x, for the wanted columns [first, first + n). */
ANY_TARGET const int32_t *x_sums(const vgm_grain *g, workroom *w, int64_t z, int64_t y, int64_t first, int64_t n)
{
    row *r = w->rows + y % MOST_TAPS;
    int64_t x = g->lo[2] + first * g->step[2];
    if (r->place == y)
        return r->sums;
    r->place = y;
    if (g->step[2] == 1) {
        white_row(g, w, z, y, x, n + w->taps[2] - 1, w->white);
        for (int64_t k = 0; k < n; k++)
            r->sums[k] = (int32_t)w->h[2][0] * w->white[k];
        for (int t = 1; t < w->taps[2]; t++)
            for (int64_t k = 0; k < n; k++)
                r->sums[k] += (int32_t)w->h[2][t] * w->white[k + t];
        return r->sums;
    }
    for (int64_t k = 0; k < n; k++) {
        white_row(g, w, z, y, x + k * g->step[2], w->taps[2], w->white);
        r->sums[k] = 0;
        for (int t = 0; t < w->taps[2]; t++)
            r->sums[k] += (int32_t)w->h[2][t] * w->white[t];
    }
    return r->sums;
}

/* A plane of the wanted rows [row_first, row_first + rows) and columns. */
ANY_TARGET const plane *yx_sums(const vgm_grain *g, workroom *w, int64_t z, int64_t row_first, int64_t rows, int64_t first, int64_t n)
{
    plane *p = w->planes + z % MOST_TAPS;
    if (p->place == z)
        return p;
    p->place = z;
    for (int k = 0; k < MOST_TAPS; k++)
        w->rows[k].place = -1;
    for (int64_t k = 0; k < rows; k++) {
        int64_t y = g->lo[1] + (row_first + k) * g->step[1];
        memset(p->sums[k], 0, sizeof p->sums[k]);
        for (int t = 0; t < w->taps[1]; t++) {
            const int32_t *sums = x_sums(g, w, z, y + t, first, n);
            for (int64_t i = 0; i < n; i++)
                p->sums[k][i] += w->h[1][t] * sums[i];
        }
    }
    return p;
}

ANY_TARGET double grained(double level, int64_t sum, const vgm_noise *noise, double rounding)
{
    double above = level - (double)noise->background, variance;
    variance = noise->sigma * noise->sigma + noise->gain * (above > 0.0 ? above : 0.0) - rounding;
    return level + (double)sum / UNIT * sqrt(variance > 0.0 ? variance : 0.0);
}

ANY_TARGET double rounded(double v, double least, double largest)
{
    v = v > least ? v : least;
    v = v < largest ? v : largest;
    return (v + 6755399441055744.0) - 6755399441055744.0; /* 1.5 * 2^52 */
}

#define PUT(kind, least, largest)                                                                                                    \
    for (int64_t k = 0; k < n; k++)                                                                                                  \
        ((kind *)g->voxels)[to + k] = (kind)rounded(grained((double)((kind *)g->voxels)[to + k], sums[k], g->noise, 1.0 / 12.0), least, largest)

ANY_TARGET void put_row(const vgm_grain *g, int64_t to, const int64_t *sums, int64_t n)
{
    if (g->type == VGM_UINT8)
        PUT(uint8_t, 0.0, 255.0);
    else if (g->type == VGM_UINT16)
        PUT(uint16_t, 0.0, 65535.0);
    else if (g->type == VGM_INT16)
        PUT(int16_t, -32768.0, 32767.0);
    else
        for (int64_t k = 0; k < n; k++)
            ((float *)g->voxels)[to + k] = (float)grained((double)((float *)g->voxels)[to + k], sums[k], g->noise, 0.0);
}

/* Rows and columns of the box some at a time, so that what voxels share is worked out once and stays near. */
ANY_TARGET void put_planes(const vgm_grain *g, int64_t first, int64_t last, workroom *w)
{
    for (int64_t y = 0; y < g->count[1]; y += ROWS)
        for (int64_t x = 0; x < g->count[2]; x += COLUMNS) {
            int64_t rows = g->count[1] - y < ROWS ? g->count[1] - y : ROWS, n = g->count[2] - x < COLUMNS ? g->count[2] - x : COLUMNS;
            for (int k = 0; k < MOST_TAPS; k++)
                w->planes[k].place = -1;
            for (int64_t z = first; z < last; z++) {
                const plane *p[MOST_TAPS];
                for (int t = 0; t < w->taps[0]; t++)
                    p[t] = yx_sums(g, w, g->lo[0] + z * g->step[0] + t, y, rows, x, n);
                for (int64_t k = 0; k < rows; k++) {
                    int64_t sums[COLUMNS];
                    for (int64_t i = 0; i < n; i++)
                        sums[i] = w->h[0][0] * p[0]->sums[k][i];
                    for (int t = 1; t < w->taps[0]; t++)
                        for (int64_t i = 0; i < n; i++)
                            sums[i] += w->h[0][t] * p[t]->sums[k][i];
                    put_row(g, (z * g->count[1] + y + k) * g->count[2] + x, sums, n);
                }
            }
        }
}

static void put_generic(const vgm_grain *g, int64_t first, int64_t last, workroom *w)
{
    put_planes(g, first, last, w);
}

#if VGM_HAVE_AVX2
__attribute__((target("avx2"))) static void put_avx2(const vgm_grain *g, int64_t first, int64_t last, workroom *w)
{
    put_planes(g, first, last, w);
}
#endif

vgm_status vgm_grain_planes(const vgm_grain *g, int64_t first, int64_t last, const vgm_allocator *allocator, vgm_error *error)
{
    workroom *w = vgm_take(allocator, 1, sizeof *w, error);
    if (w == NULL)
        return VGM_MEMORY;
    for (int k = 0; k < 128; k++) {
        w->quantiles[k] = QUANTILES[k];
        w->quantiles[128 + k] = (int16_t)-QUANTILES[k];
    }
    for (int a = 0; a < 3; a++)
        w->taps[a] = taps_of(g->noise->correlation[a], w->h[a]);
#if VGM_HAVE_AVX2
    if (__builtin_cpu_supports("avx2"))
        put_avx2(g, first, last, w);
    else
#endif
        put_generic(g, first, last, w);
    vgm_give(allocator, w);
    return vgm_ok(error);
}

vgm_status vgm_add_grain(const vgm_file *f, uint64_t t, uint64_t c, uint32_t seed, const uint64_t lo[3], const uint64_t hi[3], void *voxels,
                         size_t bytes, vgm_error *error)
{
    static const uint64_t sizes[] = {0, 1, 2, 4, 2};
    vgm_noise noise;
    vgm_grain g = {0};
    uint64_t room = bytes / sizes[f->info.type];
    vgm_status status = vgm_get_noise(f, t, c, &noise, error);
    if (status != VGM_OK)
        return status;
    g.noise = &noise;
    g.time = (uint32_t)t;
    g.channel = (uint32_t)c;
    g.seed = seed;
    g.type = f->info.type;
    g.voxels = voxels;
    for (int a = 0; a < 3; a++) {
        if (lo[a] >= hi[a] || hi[a] > f->info.shape[2 + a])
            return vgm_fail(error, VGM_USAGE, "box %llu to %llu on axis %d of a grid of %llu voxels", (unsigned long long)lo[a],
                            (unsigned long long)hi[a], a, (unsigned long long)f->info.shape[2 + a]);
        if (hi[a] - lo[a] > room)
            return vgm_fail(error, VGM_USAGE, "room for %llu bytes, the box has more", (unsigned long long)bytes);
        room /= hi[a] - lo[a];
        g.lo[a] = (int64_t)lo[a];
        g.step[a] = 1;
        g.count[a] = (int64_t)(hi[a] - lo[a]);
    }
    return vgm_grain_planes(&g, 0, g.count[0], &f->allocator, error);
}
