#include "peaks.h"

#include "voxels.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE = 64 }; /* voxels of a row that are looked at together, if the gain of any of them may be above the floor */

static double least_of(const double *values, int64_t count)
{
    double least = values[0];
    for (int64_t i = 1; i < count; i++)
        least = values[i] < least ? values[i] : least;
    return least;
}

/* A piece of a row of `end` voxels with its neighbours, 0 outside of the row. */
static void with_neighbours(const float *row, int64_t first, int64_t n, int64_t end, float *padded)
{
    padded[0] = first > 0 ? row[first - 1] : 0.0f;
    memcpy(padded + 1, row + first, (size_t)n * sizeof *padded);
    padded[n + 1] = first + n < end ? row[first + n] : 0.0f;
}

static int none_of_eight(const uint8_t *marks)
{
    uint64_t all;
    memcpy(&all, marks, sizeof all);
    return all == 0;
}

/* Whether no neighbour's square is larger. */
static int is_highest(const float *correlation, const int64_t shape[3], int64_t z, int64_t y, int64_t x)
{
    const float *at = correlation + (z * shape[1] + y) * shape[2] + x;
    float own = *at * *at;
    for (int dz = z > 0 ? -1 : 0; dz <= (z + 1 < shape[0] ? 1 : 0); dz++)
        for (int dy = y > 0 ? -1 : 0; dy <= (y + 1 < shape[1] ? 1 : 0); dy++)
            for (int dx = x > 0 ? -1 : 0; dx <= (x + 1 < shape[2] ? 1 : 0); dx++) {
                float q = at[(dz * shape[1] + dy) * shape[2] + dx];
                if (q * q > own)
                    return 0;
            }
    return 1;
}

int64_t vgm_find_peaks(const float *correlation, const int64_t shape[3], const double *const norms[3], int64_t z0, int64_t z1,
                       double floor, int64_t room, int32_t (*places)[3], double *gains)
{
    const vgm_voxel_passes *passes = vgm_best_voxel_passes();
    double narrowest = shape[2] > 0 ? least_of(norms[2], shape[2]) : 1.0;
    int64_t count = 0, plane = shape[1] * shape[2];
    for (int64_t z = z0; z < z1; z++)
        for (int64_t y = 0; y < shape[1]; y++) {
            const float *row = correlation + (z * shape[1] + y) * shape[2];
            double norm = norms[0][z] * norms[1][y];
            float least = (float)(floor * norm * narrowest * (1.0 - 1e-6)); /* less by more than the roundings */
            float padded[PIECE + 2];
            uint8_t peak[PIECE] = {0};
            for (int64_t first = 0; first < shape[2]; first += PIECE) {
                int64_t n = shape[2] - first < PIECE ? shape[2] - first : PIECE;
                /* Quotients rounded alike are in the order of what is divided: no gain of the piece is above this. */
                if (!((double)passes->largest_square(row + first, n) / (norm * narrowest) > floor))
                    continue;
                with_neighbours(row, first, n, shape[2], padded);
                const float *at = row + first, *own = padded + 1;
                const float *const beside[4] = {y > 0 ? at - shape[2] : own, y + 1 < shape[1] ? at + shape[2] : own,
                                                z > 0 ? at - plane : own, z + 1 < shape[0] ? at + plane : own};
                passes->row_peaks(padded, beside, n, least, peak);
                for (int64_t i = 0; i < n; i++) {
                    double gain;
                    if (i % 8 == 0 && i + 8 <= n && none_of_eight(peak + i)) {
                        i += 7;
                        continue;
                    }
                    if (!peak[i])
                        continue;
                    gain = (double)(row[first + i] * row[first + i]) / (norm * norms[2][first + i]);
                    if (gain > floor && count < room && is_highest(correlation, shape, z, y, first + i)) {
                        places[count][0] = (int32_t)z;
                        places[count][1] = (int32_t)y;
                        places[count][2] = (int32_t)(first + i);
                        gains[count++] = gain;
                    }
                }
            }
        }
    return count;
}

/* Cells [from, to) of `n` that are within r of cell c. */
static void span(int64_t c, double r, int64_t n, int64_t *from, int64_t *to)
{
    double low = (double)c - r, high = (double)c + r;
    *from = low > 0.0 ? (int64_t)low : 0;
    *to = high + 1.0 < (double)n ? (int64_t)high + 1 : n;
}

static double squared(double v)
{
    return v * v;
}

/* Mark what of the cells is inside of the ellipsoid around cell c; `far` has room for the squares along x. */
static void cover(uint8_t *taken, const int64_t cells[3], const int64_t c[3], const double r[3], double *far)
{
    int64_t from[3], to[3];
    for (int a = 0; a < 3; a++)
        span(c[a], r[a], cells[a], &from[a], &to[a]);
    for (int64_t x = from[2]; x < to[2]; x++)
        far[x] = squared((double)(x - c[2]) / r[2]);
    for (int64_t z = from[0]; z < to[0]; z++) {
        double far_z = squared((double)(z - c[0]) / r[0]);
        for (int64_t y = from[1]; y < to[1]; y++) {
            uint8_t *row = taken + (z * cells[1] + y) * cells[2];
            double far_y = far_z + squared((double)(y - c[1]) / r[1]);
            if (far_y > 1.0)
                continue;
            for (int64_t x = from[2]; x < to[2]; x++)
                row[x] |= far_y + far[x] <= 1.0;
        }
    }
}

int64_t vgm_uncovered(const double (*centres)[3], const double (*sigmas)[3], const int64_t *order, int64_t count, int64_t limit,
                      const double step[3], double reach, uint8_t *taken, const int64_t cells[3], int64_t *kept)
{
    int64_t found = 0;
    double *far = malloc((size_t)cells[2] * sizeof *far);
    if (far == NULL)
        return -1;
    for (int64_t k = 0; k < count && found < limit; k++) {
        int64_t i = order[k], c[3];
        double r[3];
        for (int a = 0; a < 3; a++) {
            double at = centres[i][a] / step[a];
            c[a] = at > 0.0 ? at < (double)(cells[a] - 1) ? (int64_t)at : cells[a] - 1 : 0;
            r[a] = reach * sigmas[i][a] / step[a];
        }
        if (taken[(c[0] * cells[1] + c[1]) * cells[2] + c[2]])
            continue;
        kept[found++] = i;
        cover(taken, cells, c, r, far);
    }
    free(far);
    return found;
}
