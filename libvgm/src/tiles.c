#include "tiles.h"

#include <math.h>
#include <string.h>

#include "instructions.h"
#include "vgm.h"

static const double WALK_LIMIT = 80.0;    /* largest sum of magnitudes of the exponent's terms that a walk may meet */
static const double COLUMN_LIMIT = 400.0; /* largest offset, in conditional standard deviations, that a column may meet */
static const double STEP_LIMIT = 60.0;    /* largest power of two that a column may climb by multiplications */
static const float SLACK = 1e-3f;         /* voxels that a slice is taken to reach further, against rounding */
static const double HALF_LOG2E = 0.72134752044448170;
enum { FLUSH = 512, /* Gaussians summed in binary32 before the sum moves to binary64 */
       AHEAD = 6 };

/* A tile, and which part of it is wanted: planes [z_start, z_stop), rows [0, y_stop), lanes [x_start, x_stop). */
typedef struct {
    float *sum;
    double cutoff, edge, at[3];
    int z_start, z_stop, y_stop, x_start, x_stop;
} tile_part;

/* The voxels wanted of a tile, whose first voxel is `first`: numbers [from, to) on each axis. */
typedef struct {
    int64_t first[3], from[3], to[3];
} wanted;

#define INLINE static inline __attribute__((always_inline))

/* Voxels of [at, at + n) within [m - h, m + h], as offsets from `at`. */
INLINE void clip_span(double m, double h, double at, int n, int *first, int *stop)
{
    double a = ceil(m - h) - at, b = floor(m + h) + 1.0 - at;
    *first = a > 0.0 ? (a < n ? (int)a : n) : 0;
    *stop = b < n ? (b > 0.0 ? (int)b : 0) : n;
}

INLINE double farthest(double a, double b)
{
    a = fabs(a);
    b = fabs(b);
    return a > b ? a : b;
}

/* A whole number in low .. high, half to even. */
INLINE double whole(double v, double low, double high)
{
    v = v > low ? v : low;
    v = v < high ? v : high;
    return (v + 6755399441055744.0) - 6755399441055744.0; /* 1.5 * 2^52 */
}

INLINE float within(float v, float low, float high)
{
    v = v > low ? v : low;
    return v < high ? v : high;
}

/* Of v >= 0. */
INLINE int ceiling(float v)
{
    int whole_part = (int)v;
    return whole_part + ((float)whole_part < v);
}

/* For each plane of a tile: first and last-plus-one row, and lane. */
typedef struct {
    int rows[2][VGM_TILE_Z], lanes[2][VGM_TILE_Z];
} planes;

/* The slices of a Gaussian across z: q >= iz dz^2 + y^-2 (dy - yz dz)^2, and >= iz dz^2 + x^-2 (dx - xz dz)^2. */
typedef struct {
    float cutoff, iz, y, yz, x, xz;
} slices;

static slices slices_of(const vgm_gaussian *g, double cutoff)
{
    double zz = g->azz, zy = g->azy, zx = g->azx, yy = g->ayy, yx = g->ayx, xx = g->axx;
    double by = yy - yx * yx / xx, bz = zy - zx * yx / xx, jx = xx - yx * yx / yy, yz = -bz / by;
    slices f;
    f.cutoff = (float)cutoff;
    f.iz = (float)(zz - zx * zx / xx - bz * bz / by);
    f.y = (float)(1.0 / sqrt(by));
    f.yz = (float)yz;
    f.x = (float)(1.0 / sqrt(jx));
    f.xz = (float)((zy * yx / yy - zx) / jx);
    return f;
}

#define LANES static inline TARGET __attribute__((always_inline))
#define PART static inline TARGET __attribute__((always_inline))

#define TARGET
#define LANES_AVX 0
#define NAME(x) x##_generic
#include "tiles_template.h"
#undef TARGET
#undef LANES_AVX
#undef NAME

#if VGM_HAVE_AVX2
#define TARGET __attribute__((target("avx2")))
#define LANES_AVX 1
#define NAME(x) x##_avx2
#include "tiles_template.h"
#undef TARGET
#undef LANES_AVX
#undef NAME
#endif

typedef void tile_function(const vgm_block *block, uint64_t tile, const wanted *want, vgm_tile_room *room);

static tile_function *best_function(void)
{
#if VGM_HAVE_AVX2
    if (__builtin_cpu_supports("avx2"))
        return evaluate_tile_avx2;
#endif
    return evaluate_tile_generic;
}

const char *vgm_instructions(void)
{
    return best_function() == evaluate_tile_generic ? "generic" : "avx2";
}

/* Which of lo, lo + step, ... (`count` of them) lie in [first, first + n): numbers [from, to). */
static void wanted_of(int64_t lo, int64_t step, int64_t count, int64_t first, int64_t n, int64_t *from, int64_t *to)
{
    *from = first > lo ? (first - lo + step - 1) / step : 0;
    *to = first + n - 1 < lo ? 0 : (first + n - 1 - lo) / step + 1;
    if (*to > count)
        *to = count;
}

static void fill_row(const vgm_block *b, int64_t to, int64_t count)
{
    if (b->type == VGM_UINT8) {
        memset((uint8_t *)b->out + to, (uint8_t)whole(b->base, 0.0, 255.0), (size_t)count);
    } else if (b->type == VGM_UINT16) {
        uint16_t *out = (uint16_t *)b->out + to, value = (uint16_t)whole(b->base, 0.0, 65535.0);
        for (int64_t k = 0; k < count; k++)
            out[k] = value;
    } else if (b->type == VGM_INT16) {
        int16_t *out = (int16_t *)b->out + to, value = (int16_t)whole(b->base, -32768.0, 32767.0);
        for (int64_t k = 0; k < count; k++)
            out[k] = value;
    } else {
        float *out = (float *)b->out + to, value = (float)b->base;
        for (int64_t k = 0; k < count; k++)
            out[k] = value;
    }
}

void vgm_evaluate_tiles(const vgm_block *b, uint64_t first, uint64_t last, vgm_tile_room *room)
{
    static const int64_t size[3] = {VGM_TILE_Z, VGM_TILE_Y, VGM_TILE_X};
    tile_function *evaluate = best_function();
    for (uint64_t t = first, stop; t < last; t = stop) {
        uint64_t x = t % (uint64_t)b->tiles[2], y = t / (uint64_t)b->tiles[2] % (uint64_t)b->tiles[1];
        uint64_t z = t / (uint64_t)b->tiles[2] / (uint64_t)b->tiles[1];
        wanted want;
        want.first[0] = (b->tile_lo[0] + (int64_t)z) * size[0];
        want.first[1] = (b->tile_lo[1] + (int64_t)y) * size[1];
        want.first[2] = (b->tile_lo[2] + (int64_t)x) * size[2];
        stop = t + 1; /* neighbours along x that are empty too make longer rows */
        if (b->offsets[t + 1] == b->offsets[t])
            while (stop < last && stop - t < (uint64_t)b->tiles[2] - x && b->offsets[stop + 1] == b->offsets[t])
                stop++;
        for (int a = 0; a < 3; a++)
            wanted_of(b->lo[a], b->step[a], b->count[a], want.first[a], size[a] * (a == 2 ? (int64_t)(stop - t) : 1), &want.from[a],
                      &want.to[a]);
        if (want.from[0] >= want.to[0] || want.from[1] >= want.to[1] || want.from[2] >= want.to[2])
            continue;
        if (b->offsets[t + 1] > b->offsets[t]) {
            evaluate(b, t, &want, room);
            continue;
        }
        for (int64_t k = want.from[0]; k < want.to[0]; k++)
            for (int64_t i = want.from[1]; i < want.to[1]; i++)
                fill_row(b, b->pitch[2] + k * b->pitch[0] + i * b->pitch[1] + want.from[2], want.to[2] - want.from[2]);
    }
}
