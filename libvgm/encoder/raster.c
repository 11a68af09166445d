#include "raster.h"

#include <math.h>
#include <string.h>

#include "../src/gaussian.h"
#include "../src/instructions.h"
#include "../src/spans.h"

#if VGM_HAVE_AVX512
#include <immintrin.h>
#endif

static const float RANGE_LIMIT = -80.0f; /* smallest exponent that a walk by ratios may meet: binary32 ends near -87 */
static const float STEEP = 40.0f;        /* largest exponent that a column may climb by ratios */
static const float SLACK = 1e-3f;        /* rows that a plane is taken to reach further, against rounding */
static const float NEAR = 150.0f / 256.0f, MIDDLE = -25.0f / 256.0f, FAR = 3.0f / 256.0f;
enum { RENDER, JVP, MOMENTS, MAX_PLANES = VGM_FIT_MAX_PLANES, ROWS_AHEAD = 16 };
enum { COLUMNS = 16, LEAST_PLANES = 8 }; /* of a piece that ratios carry at once; so few planes are each begun anew rather than halved once more */

/* Where a tile lies, and what all its Gaussians share. */
typedef struct {
    double at[3];
    int n[3];
    int64_t stride;
    float cutoff, edge, norm;
} tile_place;

/* What is done in tiles: see raster.h; pointers that do not concern a function are NULL. */
typedef struct {
    const float *directions, *over, *coarse, *target, *residual;
    const uint8_t *saturated;
    float *room, *out, *parts, *field;
    double *squares;
} tile_work;

/* A step of a Gaussian: what is added to its value is (w + l d + d Q d) of it, at an offset d. */
typedef struct {
    float w, z, y, x, zz, zy, zx, yy, yx, xx;
} direction;

INLINE direction direction_of(const float *v, float weight, float norm)
{
    direction d = {v[0] * norm,   weight * v[1], weight * v[2], weight * v[3], weight * v[4],
                   weight * v[5], weight * v[6], weight * v[7], weight * v[8], weight * v[9]};
    return d;
}

/* -q/2 at an offset from the centre. */
INLINE float exponent(const vgm_fit_gaussian *g, float dz, float dy, float dx)
{
    return -0.5f * (g->azz * dz * dz + g->ayy * dy * dy + g->axx * dx * dx) - (g->azy * dz * dy + g->azx * dz * dx + g->ayx * dy * dx);
}

/* Whether ratios may carry a Gaussian from its first row over a box of offsets. The exponent is concave, so over the face of the first rows
 * it is smallest at a corner. */
INLINE int walkable(const vgm_fit_gaussian *g, float za, float zb, float y, float xa, float xb)
{
    return exponent(g, za, y, xa) >= RANGE_LIMIT && exponent(g, za, y, xb) >= RANGE_LIMIT && exponent(g, zb, y, xa) >= RANGE_LIMIT &&
           exponent(g, zb, y, xb) >= RANGE_LIMIT;
}

/* How far one coordinate of a support reaches where another is from a to b: at v, slope v -+ width sqrt(cutoff - inverse v^2), which is highest at
 * `highest` and lowest at -highest. Rows, or planes, of [from, to) that are `start` and more from the centre: those within, with SLACK. */
INLINE void narrow(float slope, float width, float inverse, float highest, float cutoff, float a, float b, float start, int *from, int *to)
{
    float up = highest < a ? a : highest > b ? b : highest, down = -highest < a ? a : -highest > b ? b : -highest;
    float above = cutoff - inverse * up * up, below = cutoff - inverse * down * down;
    float high = slope * up + width * sqrtf(above > 0.0f ? above : 0.0f) + SLACK - start;
    float low = slope * down - width * sqrtf(below > 0.0f ? below : 0.0f) - SLACK - start;
    if (high < (float)(*to - 1))
        *to = high < (float)*from ? *from : (int)high + 1;
    if (low > (float)*from)
        *from = low > (float)*to ? *to : ceiling(low);
}

/* Whether one of some bytes is not 0. */
INLINE int any(const uint8_t *bytes, int64_t n)
{
    uint64_t all = 0, eight;
    int64_t k = 0;
    for (; k + 8 <= n; k += 8) {
        memcpy(&eight, bytes + k, 8);
        all |= eight;
    }
    for (; k < n; k++)
        all |= bytes[k];
    return all != 0;
}

INLINE int64_t coarse_length(int64_t n)
{
    return n / 2 + 2 * VGM_GRID_MARGIN + 1;
}

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (ints){__VA_ARGS__})
#endif

#define LANES static inline TARGET __attribute__((always_inline))
#define PART static inline TARGET __attribute__((always_inline))

#define LANES_WIDE 0
#define TARGET
#define LANES_AVX 0
#define NAME(x) x##_generic
#define WALK NAME(walk)
#include "raster_template.h"
#undef WALK
#undef TARGET
#undef LANES_AVX
#undef NAME

#if VGM_HAVE_AVX2
#define TARGET __attribute__((target("avx2")))
#define LANES_AVX 1
#define NAME(x) x##_avx2
#define WALK NAME(walk)
#include "raster_template.h"
#undef WALK
#undef TARGET
#undef LANES_AVX
#undef NAME
#endif

#if VGM_HAVE_AVX512 /* Sixteen lanes walk, all else is of eight: more registers, and masks. */
#define TARGET __attribute__((target("avx2,avx512f,avx512vl,avx512dq,avx512bw")))
#define LANES_AVX 1
#undef LANES_WIDE
#define LANES_WIDE 1
#define NAME(x) x##_wide
#include "../src/tiles_lanes.h"

#include "raster_walk.h"
#undef LANES_WIDE
#define LANES_WIDE 0
#undef NAME
#undef vec
#undef ints
#define NAME(x) x##_avx512
#define WALK walk_wide
#include "raster_template.h"
#undef WALK
#undef TARGET
#undef LANES_AVX
#undef NAME
#endif

typedef void tiles_function(const vgm_fit_box *box, int64_t first, int64_t last, const tile_work *work);

typedef struct {
    tiles_function *render, *jvp, *moments;
    void (*prolong_yx)(const float *, float *, const int64_t *, int64_t, int64_t, int, float *);
    void (*prolong_z)(const float *, float *, const int64_t *, int64_t, int64_t, int);
    void (*restrict_yx)(const float *, float *, const int64_t *, int64_t, int64_t, float *);
    void (*restrict_z)(const float *, float *, const int64_t *, int64_t, int64_t, float *);
} functions;

#define FUNCTIONS(set) {render_##set, jvp_##set, moments_##set, prolong_yx_##set, prolong_z_##set, restrict_yx_##set, restrict_z_##set}

static int most_instructions = 2;

void vgm_fit_limit_instructions(int most)
{
    most_instructions = most;
}

static const functions *best_functions(void)
{
    static const functions generic = FUNCTIONS(generic);
#if VGM_HAVE_AVX2
    static const functions avx2 = FUNCTIONS(avx2);
#if VGM_HAVE_AVX512
    static const functions avx512 = FUNCTIONS(avx512);
    if (most_instructions >= 2 && vgm_has_avx512())
        return &avx512;
#endif
    if (most_instructions >= 1 && __builtin_cpu_supports("avx2"))
        return &avx2;
#endif
    return &generic;
}

void vgm_fit_pack(const double *means, const double *covariances, const double *weights, int64_t n, double cutoff, vgm_fit_gaussian *out)
{
    double norm = 1.0 / (1.0 - vgm_exp(-0.5 * cutoff));
    for (int64_t i = 0; i < n; i++) {
        const double *c = covariances + 6 * i;
        double zz = c[0], zy = c[1], zx = c[2], yy = c[3], yx = c[4], xx = c[5];
        double m0 = yy * xx - yx * yx, m1 = zx * yx - zy * xx, m2 = zy * yx - zx * yy, m3 = zz * xx - zx * zx;
        double inverse = 1.0 / (zz * m0 + zy * m1 + zx * m2), azy = m1 * inverse, ayy = m3 * inverse, ayx = (zx * zy - zz * yx) * inverse;
        vgm_fit_gaussian *g = out + i;
        memset(g, 0, sizeof *g); /* what lies between its fields too */
        for (int a = 0; a < 3; a++)
            g->m[a] = means[3 * i + a];
        g->azz = (float)(m0 * inverse);
        g->azy = (float)azy;
        g->azx = (float)(m2 * inverse);
        g->ayy = (float)ayy;
        g->ayx = (float)ayx;
        g->axx = (float)((zz * yy - zy * zy) * inverse);
        g->weight = (float)(weights[i] * norm);
        g->h[0] = (float)sqrt(cutoff * zz);
        g->h[1] = (float)sqrt(cutoff * yy);
        g->h[2] = (float)sqrt(cutoff * xx);
        g->czz = (float)vgm_exp(-(m0 * inverse));
        g->cyy = (float)vgm_exp(-ayy);
        g->czy = (float)vgm_exp(azy < -88.0 ? 88.0 : -azy); /* a walk meets no larger one */
        g->iz = (float)(1.0 / zz);
        g->jx = (float)(zz / m3);
        g->jxz = (float)(zx / zz);
        g->jyz = (float)(-azy / ayy);
        g->jyx = (float)(-ayx / ayy);
        g->yz = (float)(zy / zz);
        g->y = (float)sqrt(yy - zy * zy / zz);
        g->ix = (float)(1.0 / xx);
        g->zx = (float)(zx / xx);
        g->z = (float)sqrt(zz - zx * zx / xx);
        g->yx = (float)(yx / xx);
        g->w = (float)sqrt(yy - yx * yx / xx);
        g->highest[0] = (float)(zx * sqrt(cutoff / zz));
        g->highest[1] = (float)(yx * sqrt(cutoff / yy));
        g->highest[2] = (float)(zy * sqrt(cutoff / yy));
    }
}

void vgm_fit_grids(const double *covariances, int64_t n, double cutoff, const int64_t shape[3], const double *widths, int64_t grids, int64_t *which,
                   double *pairs)
{
    static const double SPHERE = 0.52359877559829882; /* pi / 6: of a cube */
    for (int64_t i = 0; i < n; i++) {
        const double *c = covariances + 6 * i;
        double zz = c[0], zy = c[1], zx = c[2], yy = c[3], yx = c[4], xx = c[5], own[3] = {zz, yy, xx}, covered = 1.0;
        double minors[3] = {yy * xx - yx * yx, zz * xx - zx * zx, zz * yy - zy * zy};
        double det = zz * minors[0] - zy * (zy * xx - zx * yx) + zx * (zy * yx - zx * yy);
        which[i] = 0;
        for (int a = 0; a < 3; a++) {
            double reach = 2.0 * sqrt(cutoff * own[a]);
            covered *= (reach < (double)shape[a] ? reach : (double)shape[a]) + 1.0;
            minors[a] = sqrt((det > 0.0 ? det : 0.0) / (minors[a] > 1e-300 ? minors[a] : 1e-300));
        }
        pairs[i] = covered * SPHERE;
        for (int64_t k = 0; k < grids; k++)
            if (minors[0] >= widths[3 * k] && minors[1] >= widths[3 * k + 1] && minors[2] >= widths[3 * k + 2])
                which[i] = k;
    }
}

/* First and last-plus-one tile that [m - h, m + h] meets on an axis of `size` voxels. */
static void tile_span(double m, double h, int64_t size, int64_t tile, int64_t *first, int64_t *stop)
{
    double lo = ceil(m - h), hi = floor(m + h);
    *first = *stop = 0;
    if (!(hi >= 0.0 && lo <= (double)(size - 1) && hi >= lo))
        return;
    *first = lo > 0.0 ? (int64_t)lo / tile : 0;
    *stop = (hi < (double)(size - 1) ? (int64_t)hi : size - 1) / tile + 1;
}

void vgm_fit_count(const vgm_fit_box *b, int64_t n, int64_t *counts)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t first[3], stop[3];
        for (int a = 0; a < 3; a++)
            tile_span(b->gaussians[i].m[a], b->gaussians[i].h[a], b->shape[a], b->tile[a], &first[a], &stop[a]);
        for (int64_t z = first[0]; z < stop[0]; z++)
            for (int64_t y = first[1]; y < stop[1]; y++)
                for (int64_t x = first[2]; x < stop[2]; x++)
                    counts[(z * b->grid[1] + y) * b->grid[2] + x + 1]++;
    }
}

void vgm_fit_fill(const vgm_fit_box *b, int64_t n, int64_t *cursor, int64_t *ids)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t first[3], stop[3];
        for (int a = 0; a < 3; a++)
            tile_span(b->gaussians[i].m[a], b->gaussians[i].h[a], b->shape[a], b->tile[a], &first[a], &stop[a]);
        for (int64_t z = first[0]; z < stop[0]; z++)
            for (int64_t y = first[1]; y < stop[1]; y++)
                for (int64_t x = first[2]; x < stop[2]; x++)
                    ids[cursor[(z * b->grid[1] + y) * b->grid[2] + x]++] = i;
    }
}

void vgm_fit_render(const vgm_fit_box *box, int64_t first, int64_t last, int over, float *room, float *out)
{
    tile_work work = {.over = over ? out : NULL, .room = room, .out = out};
    best_functions()->render(box, first, last, &work);
}

void vgm_fit_jvp(const vgm_fit_box *box, int64_t first, int64_t last, const float *directions, int over, float *room, float *out)
{
    tile_work work = {.directions = directions, .over = over ? out : NULL, .room = room, .out = out};
    best_functions()->jvp(box, first, last, &work);
}

void vgm_fit_residual(const vgm_fit_box *box, int64_t first, int64_t last, const float *coarse, const float *target,
                      const uint8_t *saturated, float *room, float *out, double *squares, float *parts)
{
    tile_work work = {.coarse = coarse, .target = target, .saturated = saturated, .room = room, .out = out, .squares = squares, .parts = parts};
    best_functions()->render(box, first, last, &work);
}

void vgm_fit_subtract(const vgm_fit_box *box, int64_t first, int64_t last, const float *coarse, float *room, float *field)
{
    tile_work work = {.coarse = coarse, .room = room, .field = field};
    best_functions()->render(box, first, last, &work);
}

void vgm_fit_curvature(const vgm_fit_box *box, int64_t first, int64_t last, const float *directions, const float *coarse,
                       const float *residual, const uint8_t *saturated, float *room, double *squares)
{
    tile_work work = {.directions = directions, .coarse = coarse, .residual = residual, .saturated = saturated, .room = room, .squares = squares};
    best_functions()->jvp(box, first, last, &work);
}

void vgm_fit_moments(const vgm_fit_box *box, int64_t first, int64_t last, const float *residual, float *room, float *parts)
{
    tile_work work = {.over = residual, .room = room, .parts = parts};
    best_functions()->moments(box, first, last, &work);
}

void vgm_fit_gather(const int64_t *ids, int64_t entries, const float *parts, double *out)
{
    for (int64_t e = 0; e < entries; e++)
        for (int k = 0; k < VGM_FIT_MOMENTS; k++)
            out[VGM_FIT_MOMENTS * ids[e] + k] += (double)parts[VGM_FIT_MOMENTS * e + k];
}

void vgm_prolong_yx(const float *coarse, float *fine, const int64_t shape[3], int64_t first, int64_t last, int over, float *room)
{
    best_functions()->prolong_yx(coarse, fine, shape, first, last, over, room);
}

void vgm_prolong_z(const float *coarse, float *fine, const int64_t shape[3], int64_t first, int64_t last, int over)
{
    best_functions()->prolong_z(coarse, fine, shape, first, last, over);
}

void vgm_restrict_yx(const float *fine, float *coarse, const int64_t shape[3], int64_t first, int64_t last, float *room)
{
    best_functions()->restrict_yx(fine, coarse, shape, first, last, room);
}

void vgm_restrict_z(const float *fine, float *coarse, const int64_t shape[3], int64_t first, int64_t last, float *room)
{
    best_functions()->restrict_z(fine, coarse, shape, first, last, room);
}
