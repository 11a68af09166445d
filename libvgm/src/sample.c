#include "sample.h"

#include <math.h>

/* `v` brought into 0 .. last; NaN does not occur. */
static int64_t cell_of(double v, int64_t last)
{
    return v > 0.0 ? (v < (double)last ? (int64_t)v : last) : 0;
}

void vgm_add_to_points(const vgm_primitives *p, const vgm_grid *grid, const vgm_cells *c, int64_t z_lo, int64_t z_hi, double *sums)
{
    double edge = vgm_exp(-0.5 * grid->cutoff), norm = 1.0 / (1.0 - edge);
    for (size_t n = 0; n < p->count; n++) {
        double s[3], r[3][3], m[3], weight = (double)p->intensities[n] * norm * vgm_widen(p->scales + 3 * n, grid, s);
        int64_t lo[3], hi[3];
        int inside = 1;
        vgm_rotation(p->rotations + 4 * n, r);
        for (int a = 0; a < 3; a++) {
            double spread = 0.0, half, low, high;
            m[a] = (p->means[3 * n + (size_t)a] - grid->origin) / grid->step;
            for (int e = 0; e < 3; e++)
                spread += (r[a][e] * s[e]) * (r[a][e] * s[e]);
            half = sqrt(grid->cutoff * spread) * (1.0 + 1e-9);
            low = floor((m[a] - half - c->first[a]) / c->edge[a]);
            high = floor((m[a] + half - c->first[a]) / c->edge[a]);
            if (high < 0.0 || low > (double)(c->cells[a] - 1))
                inside = 0;
            lo[a] = cell_of(low, c->cells[a] - 1);
            hi[a] = cell_of(high, c->cells[a] - 1) + 1;
        }
        if (!inside)
            continue;
        for (int64_t z = lo[0] > z_lo ? lo[0] : z_lo; z < hi[0] && z < z_hi; z++)
            for (int64_t y = lo[1]; y < hi[1]; y++) {
                const int64_t *row = c->starts + (z * c->cells[1] + y) * c->cells[2];
                for (int64_t k = row[lo[2]]; k < row[hi[2]]; k++) { /* cells along x follow each other */
                    double dz = c->points[3 * k] - m[0], dy = c->points[3 * k + 1] - m[1], dx = c->points[3 * k + 2] - m[2], q = 0.0;
                    for (int e = 0; e < 3; e++) {
                        double along = (dz * r[0][e] + dy * r[1][e] + dx * r[2][e]) / s[e];
                        q += along * along;
                    }
                    if (q < grid->cutoff)
                        sums[k] += weight * (vgm_exp(-0.5 * q) - edge);
                }
            }
    }
}
