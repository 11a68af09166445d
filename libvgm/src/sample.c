#include "sample.h"

#include <math.h>

/* The whole part of `v`, brought into 0 .. last; NaN does not occur. */
static int64_t cell_of(double v, int64_t last)
{
    return v > 0.0 ? (v < (double)last ? (int64_t)v : last) : 0;
}

/* Cells of one axis within `half` of m: first and last-plus-one; 0 where there is none. */
static int cells_of(const vgm_cells *c, int axis, double m, double half, int64_t *first, int64_t *stop)
{
    double low = (m - half - c->first[axis]) / c->edge[axis], high = (m + half - c->first[axis]) / c->edge[axis];
    if (high < 0.0 || low >= (double)c->cells[axis])
        return 0;
    *first = cell_of(low, c->cells[axis] - 1);
    *stop = cell_of(high, c->cells[axis] - 1) + 1;
    return 1;
}

/* A primitive that a point is near, prepared for it. */
typedef struct {
    double weight, s[3], r[3][3];
    int ready;
} prepared;

static void prepare(const vgm_primitives *p, size_t n, const vgm_grid *grid, double norm, prepared *g)
{
    g->weight = (double)p->intensities[n] * norm * vgm_widen(p->scales + 3 * n, grid, g->s);
    vgm_rotation(p->rotations + 4 * n, g->r);
    g->ready = 1;
}

void vgm_add_to_points(const vgm_primitives *p, const vgm_grid *grid, const vgm_cells *c, int64_t z_lo, int64_t z_hi, double *sums)
{
    double edge = vgm_exp(-0.5 * grid->cutoff), norm = 1.0 / (1.0 - edge), reach = sqrt(grid->cutoff) * (1.0 + 1e-9);
    for (size_t n = 0; n < p->count; n++) {
        const float *scales = p->scales + 3 * n;
        double m[3], largest = scales[0] > scales[1] ? scales[0] : scales[1], ball;
        int64_t lo[3], hi[3];
        prepared g;
        int inside = 1;
        largest = largest > scales[2] ? largest : scales[2];
        ball = reach * sqrt(largest * largest + grid->widening) / grid->step;
        for (int a = 0; a < 3 && inside; a++) {
            m[a] = (p->means[3 * n + (size_t)a] - grid->origin) / grid->step;
            inside = cells_of(c, a, m[a], ball, &lo[a], &hi[a]);
            if (a == 0 && inside) {
                lo[0] = lo[0] > z_lo ? lo[0] : z_lo;
                hi[0] = hi[0] < z_hi ? hi[0] : z_hi;
                inside = lo[0] < hi[0];
            }
        }
        if (!inside)
            continue;
        g.ready = 0;
        for (int64_t z = lo[0]; z < hi[0]; z++)
            for (int64_t y = lo[1]; y < hi[1]; y++) {
                const int64_t *row = c->starts + (z * c->cells[1] + y) * c->cells[2];
                for (int64_t k = row[lo[2]]; k < row[hi[2]]; k++) { /* cells along x follow each other */
                    double dz = c->points[3 * k] - m[0], dy = c->points[3 * k + 1] - m[1], dx = c->points[3 * k + 2] - m[2], q = 0.0;
                    if (dz * dz + dy * dy + dx * dx > ball * ball) /* most: cells are larger than most primitives */
                        continue;
                    if (!g.ready)
                        prepare(p, n, grid, norm, &g);
                    for (int e = 0; e < 3; e++) {
                        double along = (dz * g.r[0][e] + dy * g.r[1][e] + dx * g.r[2][e]) / g.s[e];
                        q += along * along;
                    }
                    if (q < grid->cutoff)
                        sums[k] += g.weight * (vgm_exp(-0.5 * q) - edge);
                }
            }
    }
}
