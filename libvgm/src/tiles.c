#include "tiles.h"

#include <math.h>
#include <string.h>

#include "instructions.h"
#include "spans.h"
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

static const float MIDDLE_0 = 150.0f / 256.0f, MIDDLE_1 = -25.0f / 256.0f, MIDDLE_2 = 3.0f / 256.0f;
static const double ERROR_ROOM = 4e-5; /* of 1e-4: what midpoints may add to a sum */
enum { WORTH_A_PATCH = 8 };            /* Gaussians that take longer at every voxel than a patch and the way back */

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

/* For each plane of a tile: first and last-plus-one row, and lane. */
typedef struct {
    int rows[2][VGM_PATCH_Z], lanes[2][VGM_PATCH_Z];
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

/* Whether what midpoints do to a large Gaussian still fits; takes it off the room that is left. */
static int takes_room(const vgm_gaussian *g, double kink, double *room)
{
    double error = vgm_coarse_error(g, kink);
    if (error > *room)
        return 0;
    *room -= error;
    return 1;
}

/* Have the memory of a plane that a tile is written to fetched ahead: rows are far apart, and nothing foresees them. */
static void fetch_plane(const vgm_block *b, const wanted *want, int64_t z)
{
    int64_t size = b->type == VGM_UINT8 ? 1 : b->type == VGM_FLOAT32 ? 4 : 2, length = (want->to[2] - want->from[2]) * size;
    for (int64_t y = want->from[1]; y < want->to[1]; y++) {
        const char *row = (const char *)b->out + (b->pitch[2] + z * b->pitch[0] + y * b->pitch[1] + want->from[2]) * size;
        for (int64_t at = 0; at < length; at += 64)
            __builtin_prefetch(row + at, 1);
        __builtin_prefetch(row + length - 1, 1);
    }
}

#define LANES static inline TARGET __attribute__((always_inline))
#define PART static inline TARGET __attribute__((always_inline))

#define LANES_WIDE 0
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

#if VGM_HAVE_AVX512 /* with vectors of eight lanes still: more registers, and masks */
#define TARGET __attribute__((target("avx2,avx512f,avx512vl,avx512dq,avx512bw")))
#define LANES_AVX 1
#define NAME(x) x##_avx512
#include "tiles_template.h"
#undef TARGET
#undef LANES_AVX
#undef NAME
#endif

typedef struct {
    void (*tile)(const vgm_block *block, uint64_t tile, const wanted *want, const vgm_patch *patch, vgm_tile_room *room);
    void (*patch)(const vgm_block *block, const int first[3], const int stop[3], vgm_patch *patch);
    const char *name;
} functions;

static const functions *best_functions(void)
{
    static const functions generic = {evaluate_tile_generic, fill_patch_generic, "generic"};
#if VGM_HAVE_AVX2
    static const functions avx2 = {evaluate_tile_avx2, fill_patch_avx2, "avx2"};
#if VGM_HAVE_AVX512
    static const functions avx512 = {evaluate_tile_avx512, fill_patch_avx512, "avx512"};
    if (vgm_has_avx512())
        return &avx512;
#endif
    if (__builtin_cpu_supports("avx2"))
        return &avx2;
#endif
    return &generic;
}

const char *vgm_instructions(void)
{
    return best_functions()->name;
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

static const int64_t SIZE[3] = {VGM_TILE_Z, VGM_TILE_Y, VGM_TILE_X};

/* Tiles [x, x_stop) of one row of tiles. */
static void evaluate_row(const vgm_block *b, const functions *f, int64_t z, int64_t y, int64_t x, int64_t x_stop, const vgm_patch *patch,
                         vgm_tile_room *room)
{
    uint64_t row = (uint64_t)(((z - 2 * b->group_lo[0]) * 2 * b->groups[1] + y - 2 * b->group_lo[1]) * 2 * b->groups[2] - 2 * b->group_lo[2]);
    for (int64_t stop; x < x_stop; x = stop) {
        uint64_t t = row + (uint64_t)x;
        int64_t tile[3] = {z, y, x};
        wanted want;
        stop = x + 1; /* neighbours that are empty too make longer rows */
        if (patch == NULL && b->offsets[t + 1] == b->offsets[t])
            while (stop < x_stop && b->offsets[row + (uint64_t)stop + 1] == b->offsets[t])
                stop++;
        for (int a = 0; a < 3; a++) {
            want.first[a] = tile[a] * SIZE[a];
            wanted_of(b->lo[a], b->step[a], b->count[a], want.first[a], SIZE[a] * (a == 2 ? stop - x : 1), &want.from[a], &want.to[a]);
        }
        if (want.from[0] >= want.to[0] || want.from[1] >= want.to[1] || want.from[2] >= want.to[2])
            continue;
        if (patch != NULL || b->offsets[t + 1] > b->offsets[t]) {
            f->tile(b, t, &want, patch, room);
            continue;
        }
        for (int64_t k = want.from[0]; k < want.to[0]; k++)
            for (int64_t i = want.from[1]; i < want.to[1]; i++)
                fill_row(b, b->pitch[2] + k * b->pitch[0] + i * b->pitch[1] + want.from[2], want.to[2] - want.from[2]);
    }
}

/* Sort out which large Gaussians of a list go into the patch of the group that starts at voxel `at`. */
static void begin_patch(const vgm_block *b, uint64_t list, const int64_t at[3], vgm_patch *p)
{
    double room = ERROR_ROOM;
    uint64_t taken = 0, all = b->offsets[list + 1] - b->offsets[list];
    for (uint64_t e = b->offsets[list]; e < b->offsets[list + 1]; e++)
        taken += (uint64_t)takes_room(b->gaussians + b->ids[e], p->kink, &room);
    p->list = list;
    p->filled = taken >= WORTH_A_PATCH;
    p->others = !p->filled || taken < all;
    for (int a = 0; a < 3; a++)
        p->at[a] = at[a];
}

void vgm_evaluate_tiles(const vgm_block *b, uint64_t first, uint64_t last, vgm_tile_room *room)
{
    const functions *f = best_functions();
    uint64_t wide = (uint64_t)b->groups[2], high = (uint64_t)b->groups[1], tiles = VGM_GROUP_TILES * (uint64_t)b->groups[0] * high * wide;
    room->patch.kink = vgm_kink(b->cutoff);
    for (uint64_t n = first, stop; n < last; n = stop) {
        uint64_t place[3] = {n / wide / high, n / wide % high, n % wide};
        int64_t tile[3], at[3], from, to;
        int begin[3], end[3], any = 1;
        const vgm_patch *patch = NULL;
        for (int a = 0; a < 3; a++) {
            tile[a] = 2 * (b->group_lo[a] + (int64_t)place[a]);
            at[a] = tile[a] * SIZE[a];
        }
        stop = n + 1; /* neighbours along x without large Gaussians are one longer group */
        if (b->offsets[tiles + n + 1] == b->offsets[tiles + n])
            while (stop < last && stop - n < wide - place[2] && b->offsets[tiles + stop + 1] == b->offsets[tiles + n])
                stop++;
        for (int a = 0; a < 3; a++) {
            wanted_of(b->lo[a], b->step[a], b->count[a], at[a], 2 * SIZE[a] * (a == 2 ? (int64_t)(stop - n) : 1), &from, &to);
            any = any && from < to;
            begin[a] = (int)(b->lo[a] + from * b->step[a] - at[a]);
            end[a] = (int)(b->lo[a] + (to - 1) * b->step[a] - at[a]) + 1;
        }
        if (!any)
            continue;
        if (b->offsets[tiles + n + 1] > b->offsets[tiles + n]) {
            begin_patch(b, tiles + n, at, &room->patch);
            if (room->patch.filled)
                f->patch(b, begin, end, &room->patch);
            patch = &room->patch;
        }
        for (int64_t z = tile[0]; z < tile[0] + 2; z++)
            for (int64_t y = tile[1]; y < tile[1] + 2; y++)
                evaluate_row(b, f, z, y, tile[2], tile[2] + 2 * (int64_t)(stop - n), patch, room);
    }
}
