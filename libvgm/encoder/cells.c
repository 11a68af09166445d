#include "cells.h"

#include <string.h>

#include "../src/instructions.h"

enum { PIECE = 512, ROWS_AHEAD = 6 };

#define PART static inline TARGET __attribute__((always_inline))

#define TARGET
#define NAME(x) x##_generic
#include "cells_template.h"
#undef TARGET
#undef NAME

#if VGM_HAVE_AVX2
#define TARGET __attribute__((target("avx2")))
#define NAME(x) x##_avx2
#include "cells_template.h"
#undef TARGET
#undef NAME
#endif

#if VGM_HAVE_AVX512
#define TARGET __attribute__((target("avx2,avx512f,avx512vl,avx512dq,avx512bw")))
#define NAME(x) x##_avx512
#include "cells_template.h"
#undef TARGET
#undef NAME
#endif

typedef struct {
    void (*normalise)(const vgm_stored *, float, float, float *restrict);
    void (*halved_row)(const float *const[2][2], const int[3], int64_t, float *restrict, float *restrict);
} passes;

static int most_instructions = 2;

void vgm_limit_cells(int most)
{
    most_instructions = most;
}

static passes best_passes(void)
{
#if VGM_HAVE_AVX512
    if (most_instructions >= 2 && vgm_has_avx512())
        return (passes){normalise_avx512, halved_row_avx512};
#endif
#if VGM_HAVE_AVX2
    if (most_instructions >= 1 && __builtin_cpu_supports("avx2"))
        return (passes){normalise_avx2, halved_row_avx2};
#endif
    return (passes){normalise_generic, halved_row_generic};
}

/* The row of cells that a row of voxels lies in. */
static size_t cell_row(const vgm_cells *c, int64_t z, int64_t y)
{
    return (size_t)(((c->origin[0] + z) / c->size[0] * c->shape[1] + (c->origin[1] + y) / c->size[1]) * c->shape[2]);
}

/* A row of voxel - origin, the last one repeated up to `wide`; planes and rows beyond the edge are the last. */
static void row_from(const vgm_stored *v, int64_t z, int64_t y, float origin, int64_t wide, float *restrict out)
{
    int64_t n = v->shape[2] < wide ? v->shape[2] : wide;
    read_row_generic(v, z < v->shape[0] ? z : v->shape[0] - 1, y < v->shape[1] ? y : v->shape[1] - 1, 0, n, out);
    for (int64_t x = n; x < wide; x++)
        out[x] = out[n - 1];
    for (int64_t x = 0; x < wide; x++)
        out[x] = out[x] - origin;
}

/* a = (a + b) / 2. */
static void halfway(float *restrict a, const float *restrict b, int64_t n)
{
    for (int64_t x = 0; x < n; x++)
        a[x] = (a[x] + b[x]) * 0.5f;
}

static void square_of(const float *restrict values, int64_t n, float *restrict out)
{
    for (int64_t x = 0; x < n; x++)
        out[x] = values[x] * values[x];
}

void vgm_cell_means(const vgm_stored *voxels, const int64_t size[3], float origin, const int64_t shape[3], float *room, float *means, float *squares)
{
    int64_t wide = shape[2] * size[2];
    float *sums[2] = {means, squares};
    for (int64_t row = 0; row < shape[0] * shape[1]; row++) {
        for (int64_t dy = 0; dy < size[1]; dy++) {
            float *value = room + 2 * dy * wide, *square = value + wide, *next = room + 4 * wide;
            int64_t z = row / shape[1] * size[0], y = row % shape[1] * size[1] + dy;
            row_from(voxels, z, y, origin, wide, value);
            square_of(value, wide, square);
            if (size[0] == 2) {
                row_from(voxels, z + 1, y, origin, wide, next);
                square_of(next, wide, next + wide);
                halfway(value, next, 2 * wide);
            }
        }
        if (size[1] == 2)
            halfway(room, room + 2 * wide, 2 * wide);
        for (int k = 0; k < 2; k++) {
            const float *from = room + k * wide;
            float *to = sums[k] + row * shape[2];
            for (int64_t x = 0; x < shape[2]; x++)
                to[x] = size[2] == 2 ? (from[2 * x] + from[2 * x + 1]) * 0.5f : from[x];
        }
    }
}

void vgm_box_sums(const vgm_stored *voxels, int64_t step, int64_t before, const int64_t shape[3], double *room, double *sums)
{
    int64_t width = voxels->shape[2];
    float part[PIECE];
    for (int64_t z = 0; z < voxels->shape[0]; z++)
        for (int64_t row = 0; row < shape[1]; row++) {
            double *to = sums + ((z + before) / step * shape[1] + row) * shape[2];
            for (int64_t x = 0; x < width; x++)
                room[x] = 0.0;
            for (int64_t y = row * step; y < (row + 1) * step && y < voxels->shape[1]; y++)
                for (int64_t x = 0; x < width; x += PIECE) {
                    int64_t n = width - x < PIECE ? width - x : PIECE;
                    read_row_generic(voxels, z, y, x, n, part);
                    for (int64_t k = 0; k < n; k++)
                        room[x + k] += (double)part[k];
                }
            for (int64_t cell = 0; cell < shape[2]; cell++) {
                double sum = 0.0;
                for (int64_t x = cell * step; x < (cell + 1) * step && x < width; x++)
                    sum += room[x];
                to[cell] += sum;
            }
        }
}

void vgm_normalise(const vgm_stored *voxels, float base, float scale, float *restrict out)
{
    best_passes().normalise(voxels, base, scale, out);
}

void vgm_halve(const float *from, const int64_t shape[3], const int halved[3], float *room, float *out)
{
    passes best = best_passes();
    int64_t n[3];
    for (int a = 0; a < 3; a++)
        n[a] = halved[a] ? (shape[a] + 1) / 2 : shape[a];
    for (int64_t row = 0; row < n[0] * n[1]; row++, out += n[2]) {
        int64_t z = row / n[1] * (1 + halved[0]), y = row % n[1] * (1 + halved[1]);
        const float *rows[2][2] = {{NULL, NULL}, {NULL, NULL}};
        for (int dy = 0; dy <= halved[1]; dy++)
            for (int dz = 0; dz <= halved[0]; dz++)
                if (y + dy < shape[1] && z + dz < shape[0])
                    rows[dy][dz] = from + ((z + dz) * shape[1] + y + dy) * shape[2];
        best.halved_row((const float *const(*)[2])rows, halved, shape[2], room, out);
    }
}

void vgm_noise_variance(const vgm_stored *voxels, const vgm_cells *level, const int64_t shape[3], float base, float scale, float gain, float least,
                        float *restrict out)
{
    float local[PIECE], half[PIECE];
    for (int64_t z = 0; z < shape[0]; z++)
        for (int64_t y = 0; y < shape[1]; y++, out += shape[2]) {
            const float *cells = (const float *)level->at + cell_row(level, z, y);
            for (int64_t x = 0; x < shape[2]; x += PIECE) {
                int64_t n = shape[2] - x < PIECE ? shape[2] - x : PIECE, cell = (level->origin[2] + x) / level->size[2];
                int64_t left = (cell + 1) * level->size[2] - (level->origin[2] + x);
                for (int64_t k = 0; k < n; k++, left--) {
                    if (left == 0) {
                        cell++;
                        left = level->size[2];
                    }
                    local[k] = cells[cell];
                }
                if (voxels != NULL) {
                    read_row_generic(voxels, z, y, x, n, half);
                    for (int64_t k = 0; k < n; k++) {
                        float middle = ((half[k] - base) * scale + local[k]) * 0.5f;
                        local[k] = middle > local[k] ? middle : local[k];
                    }
                }
                for (int64_t k = 0; k < n; k++) {
                    float light = local[k] * gain;
                    out[x + k] = (light > 0.0f ? light : 0.0f) + least;
                }
            }
        }
}

void vgm_spread(const vgm_cells *cells, const int64_t shape[3], uint8_t *restrict out)
{
    for (int64_t z = 0; z < shape[0]; z++)
        for (int64_t y = 0; y < shape[1]; y++, out += shape[2]) {
            const uint8_t *row = (const uint8_t *)cells->at + cell_row(cells, z, y);
            if (y > 0 && cell_row(cells, z, y - 1) == cell_row(cells, z, y)) {
                memcpy(out, out - shape[2], (size_t)shape[2]);
                continue;
            }
            int64_t cell = cells->origin[2] / cells->size[2], left = (cell + 1) * cells->size[2] - cells->origin[2];
            for (int64_t x = 0; x < shape[2]; x++, left--) {
                if (left == 0) {
                    cell++;
                    left = cells->size[2];
                }
                out[x] = row[cell];
            }
        }
}
