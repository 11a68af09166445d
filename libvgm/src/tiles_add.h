/* Adding one Gaussian into a box of SIZE_Z x SIZE_Y x SIZE_X samples, rows STRIDE apart, in one of the ways of tiles.h. Included once for each
 * instruction set and each kind of box: SIZED gives the names of this one. */
/* Add one Gaussian into rows [za, zb) x [ya, yb) of a tile, row by row of the ellipsoid. */
PART void SIZED(add_rows)(const vgm_gaussian *g, const vgm_squares *f, const tile_part *t, int za, int zb, int ya, int yb)
{
    vec w = NAME(splat)(g->weight), cut = NAME(splat)((float)t->edge), bend = NAME(splat)((float)(-0.5 * f->ix));
    for (int z = za; z < zb; z++) {
        double dz = t->at[0] + z - g->m[0], left = t->cutoff - f->iz * dz * dz;
        int a, b;
        if (left <= 0.0)
            continue;
        clip_span(g->m[1] + f->yz * dz, sqrt(left / f->iy), t->at[1], yb, &a, &b);
        for (int y = a > ya ? a : ya; y < b; y++) {
            double dy = t->at[1] + y - g->m[1], u = dy - f->yz * dz, rest = left - f->iy * u * u, best;
            float *row = t->sum + (z * SIZE_Y + y) * STRIDE;
            vec peak, end;
            int xa, xb;
            if (rest <= 0.0)
                continue;
            best = g->m[2] + f->xz * dz + f->xy * dy;
            clip_span(best, sqrt(rest / f->ix), t->at[2], SIZE_X, &xa, &xb);
            peak = NAME(splat)((float)(0.5 * (rest - t->cutoff)));
            end = NAME(splat)((float)(t->at[2] + xb - 0.5 - best));
            for (int x = xa; x < xb; x += 8) {
                vec off = NAME(splat)((float)(t->at[2] + x - best)) + NAME(iota)(), k = NAME(exp)(peak + bend * off * off);
                k = NAME(keep)(end > off, w * NAME(larger)(k - cut, NAME(splat)(0.0f)));
                NAME(store)(row + x, NAME(load)(row + x) + k);
            }
        }
    }
}

/* Add one Gaussian into planes [za, zb) and rows [ya, yb) of a tile, by columns of y; rows from `y_stop` on are not wanted. */
PART void SIZED(add_columns)(const vgm_gaussian *g, const vgm_squares *f, const tile_part *t, int za, int zb, int ya, int yb, int y_stop)
{
    vec w = NAME(splat)(g->weight), cut = NAME(splat)((float)t->edge), zero = NAME(splat)(0.0f), one = NAME(splat)(1.0f);
    vec bend_x = NAME(splat)((float)(-HALF_LOG2E * f->jx)), bend_y = NAME(splat)((float)(-HALF_LOG2E * f->jy));
    vec tilt = NAME(splat)((float)f->jyx) * NAME(iota)(), cyy = NAME(splat)(g->cyy);
    double wide_x = 1.0 / sqrt(f->jx), wide_y = 1.0 / sqrt(f->jy), rise = 7.0 * f->jyx;
    for (int z = za; z < zb; z++) {
        double dz = t->at[0] + z - g->m[0], left = t->cutoff - f->iz * dz * dz, middle;
        int xa, xb;
        if (left <= 0.0)
            continue;
        middle = g->m[2] + f->jxz * dz;
        clip_span(middle, sqrt(left) * wide_x, t->at[2], SIZE_X, &xa, &xb);
        for (int x = xa; x < xb && x < t->x_stop; x += 8) {
            double u = t->at[2] + x - middle, near, rest, best, reach, d, first, last, far;
            int a, stop, b;
            vec du, dv, level;
            float *row;
            if (x + 8 <= t->x_start)
                continue;
            near = u > 0.0 ? u : 0.0;
            near = -u - 7.0 > near ? -u - 7.0 : near;
            rest = left - f->jx * near * near;
            if (rest <= 0.0)
                continue;
            best = g->m[1] + f->jyz * dz + f->jyx * (t->at[2] + x - g->m[2]);
            reach = sqrt(rest) * wide_y;
            first = ceil(best + (rise < 0.0 ? rise : 0.0) - reach) - t->at[1];
            last = floor(best + (rise > 0.0 ? rise : 0.0) + reach) - t->at[1] + 1;
            a = first > ya ? (first < yb ? (int)first : yb) : ya;
            stop = last < yb ? (last > a ? (int)last : a) : yb;
            b = stop < y_stop ? stop : y_stop;
            if (a >= b)
                continue;
            d = t->at[1] + a - best;
            du = NAME(splat)((float)u) + NAME(iota)();
            dv = NAME(splat)((float)d) - tilt;
            level = NAME(splat)((float)(HALF_LOG2E * (left - t->cutoff))) + du * du * bend_x;
            row = t->sum + (z * SIZE_Y + a) * STRIDE + x;
            far = d * d > (d - rise) * (d - rise) ? d * d : (d - rise) * (d - rise);
            if (stop - a > 2 && HALF_LOG2E * f->jy * far <= STEP_LIMIT) {
                vec k = NAME(exp2)(level + dv * dv * bend_y), r = NAME(exp2)((dv + dv + one) * bend_y);
                for (int y = a; y < b; y++, row += STRIDE) {
                    NAME(store)(row, NAME(load)(row) + w * NAME(larger)(k - cut, zero));
                    k = k * r;
                    r = r * cyy;
                }
            } else {
                for (int y = a; y < b; y++, row += STRIDE) {
                    vec k = NAME(exp2)(level + dv * dv * bend_y);
                    NAME(store)(row, NAME(load)(row) + w * NAME(larger)(k - cut, zero));
                    dv = dv + one;
                }
            }
        }
    }
}

/* Add rows [ya, y_stop) of one plane of a walk, `n` blocks of eight lanes side by side; k and r are those of row `y_walk`. */
PART void SIZED(walk_rows)(float *row, const vec *k_start, const vec *r_start, int n, int negative, int y_walk, int ya, int y_stop, vec cut,
                          vec cyy)
{
    vec k[4], r[4], zero = NAME(splat)(0.0f);
    for (int b = 0; b < n; b++) {
        k[b] = k_start[b];
        r[b] = r_start[b];
    }
    for (int y = y_walk; y < ya; y++)
        for (int b = 0; b < n; b++) {
            k[b] = k[b] * r[b];
            r[b] = r[b] * cyy;
        }
    row += ya * STRIDE;
    for (int y = ya; y < y_stop; y++, row += STRIDE)
        for (int b = 0; b < n; b++) {
            vec over = k[b] - cut;
            NAME(store)(row + 8 * b, NAME(load)(row + 8 * b) + (negative ? NAME(smaller)(over, zero) : NAME(larger)(over, zero)));
            k[b] = k[b] * r[b];
            r[b] = r[b] * cyy;
        }
}

PART void SIZED(walk_plane)(float *plane, const vec *k, const vec *r, int xa, int first, int last, int negative, int y_walk, int ya,
                           int y_stop, vec cut, vec cyy)
{
    int b = first;
    while (last - b >= 4) {
        SIZED(walk_rows)(plane + xa + 8 * b, k + b, r + b, 4, negative, y_walk, ya, y_stop, cut, cyy);
        b += 4;
    }
    for (; last - b >= 2; b += 2)
        SIZED(walk_rows)(plane + xa + 8 * b, k + b, r + b, 2, negative, y_walk, ya, y_stop, cut, cyy);
    if (b < last)
        SIZED(walk_rows)(plane + xa + 8 * b, k + b, r + b, 1, negative, y_walk, ya, y_stop, cut, cyy);
}

/* Which rows of [ya, y_stop) and lanes of [x_first, x_stop) from `xa` on a Gaussian reaches, at most, in each plane of a tile. */
PART void SIZED(reached)(const vgm_gaussian *g, const tile_part *t, int xa, int ya, int y_stop, int x_first, int x_stop, planes *p)
{
    slices f = slices_of(g, t->cutoff);
    float mz = (float)(g->m[0] - t->at[0]), my = (float)(g->m[1] - t->at[1]), mx = (float)(g->m[2] - t->at[2] - xa);
    for (int z = 0; z < SIZE_Z; z++) {
        float off = (float)z - mz, left = f.cutoff - f.iz * off * off, reach = sqrtf(left > 0.0f ? left : 0.0f);
        float y = my + f.yz * off, half_y = reach * f.y + SLACK, x = mx + f.xz * off, half_x = reach * f.x + SLACK;
        int first = ceiling(within(y - half_y, (float)ya, (float)y_stop)), from = (int)within(x - half_x, (float)x_first, (float)x_stop);
        int last = 1 + (int)within(y + half_y, (float)ya - 1.0f, (float)y_stop - 1.0f);
        int to = 1 + (int)within(x + half_x, (float)x_first - 1.0f, (float)x_stop - 1.0f);
        p->rows[0][z] = first;
        p->rows[1][z] = last < first ? first : last;
        p->lanes[0][z] = from;
        p->lanes[1][z] = to < from ? from : to;
    }
}

/* Add one Gaussian into planes [za, z_stop) and rows [ya, y_stop) of a tile, starting at its own first voxel there. */
PART void SIZED(add_walk)(const vgm_gaussian *g, const tile_part *t, int za, int zb, int z_stop, int ya, int yb, int y_stop, int xa, int xb)
{
    float dz = (float)(t->at[0] + za - g->m[0]), dy = (float)(t->at[1] + ya - g->m[1]);
    vec cut = NAME(splat)(g->weight * (float)t->edge), w = NAME(splat)(g->weight);
    vec cyy = NAME(splat)(g->cyy), czz = NAME(splat)(g->czz), czy = NAME(splat)(g->czy), k[8], r[8], s[8];
    float e0 = -0.5f * (g->azz * dz * dz + g->ayy * dy * dy) - g->azy * dz * dy, e1 = -(g->azx * dz + g->ayx * dy);
    float r0 = -(g->azy * dz + g->ayy * dy) - 0.5f * g->ayy, s0 = -(g->azz * dz + g->azy * dy) - 0.5f * g->azz;
    planes p;
    int narrow = (zb - za) * (yb - ya) > 20; /* else it is quicker to take all */
    int stop = xb < t->x_stop ? xb : t->x_stop, start = xa < t->x_start ? (t->x_start - xa) / 8 : 0, blocks = (stop - xa + 7) / 8;
    if (narrow)
        SIZED(reached)(g, t, xa, ya, y_stop, 8 * start, 8 * blocks, &p);
    for (int b = start; b < blocks; b++) {
        int x = xa + 8 * b;
        vec dx = NAME(splat)((float)(t->at[2] + x - g->m[2])) + NAME(iota)();
        k[b] = w * NAME(exp)(NAME(splat)(e0) + dx * (NAME(splat)(e1) - NAME(splat)(0.5f * g->axx) * dx));
        r[b] = NAME(exp)(NAME(splat)(r0) - NAME(splat)(g->ayx) * dx);
        s[b] = NAME(exp)(NAME(splat)(s0) - NAME(splat)(g->azx) * dx);
        if (x + 8 > xb) {
            ints inside = NAME(splat)((float)(t->at[2] + xb - 0.5 - g->m[2])) > dx;
            k[b] = NAME(keep)(inside, k[b]);
            r[b] = NAME(keep)(inside, r[b]);
            s[b] = NAME(keep)(inside, s[b]);
        }
    }
    for (int z = za; z < z_stop; z++) {
        if (z >= t->z_start) {
            int first = narrow ? p.rows[0][z] : ya, last = narrow ? p.rows[1][z] : y_stop;
            int from = narrow ? p.lanes[0][z] / 8 : start, to = narrow ? (p.lanes[1][z] + 7) / 8 : blocks;
            if (g->weight < 0.0f)
                SIZED(walk_plane)(t->sum + z * SIZE_Y * STRIDE, k, r, xa, from, to, 1, ya, first, last, cut, cyy);
            else
                SIZED(walk_plane)(t->sum + z * SIZE_Y * STRIDE, k, r, xa, from, to, 0, ya, first, last, cut, cyy);
        }
        for (int b = start; b < blocks; b++) {
            k[b] = k[b] * s[b];
            s[b] = s[b] * czz;
            r[b] = r[b] * czy;
        }
    }
}

/* Add one Gaussian whose axes are those of the grid, of at most four planes and rows in the tile. */
PART void SIZED(add_product)(const vgm_gaussian *g, const tile_part *t, int za, int z_first, int z_stop, int ya, int y_stop, int xa, int xb)
{
    float dz = (float)(t->at[0] + za - g->m[0]), dy = (float)(t->at[1] + ya - g->m[1]);
    vec off = {dy, dy + 1.0f, dy + 2.0f, dy + 3.0f, dz, dz + 1.0f, dz + 2.0f, dz + 3.0f};
    vec bend = {g->ayy, g->ayy, g->ayy, g->ayy, g->azz, g->azz, g->azz, g->azz};
    vec cut = NAME(splat)(g->weight * (float)t->edge), zero = NAME(splat)(0.0f);
    float factors[8], edge = (float)t->edge * 0.999f;
    NAME(store)(factors, NAME(exp)(off * off * bend * -0.5f));
    for (int x = xa; x < xb && x < t->x_stop; x += 8) {
        vec dx = NAME(splat)((float)(t->at[2] + x - g->m[2])) + NAME(iota)(), k;
        if (x + 8 <= t->x_start)
            continue;
        k = NAME(splat)(g->weight) * NAME(exp)(dx * dx * (-0.5f * g->axx));
        if (x + 8 > xb)
            k = NAME(keep)(NAME(splat)((float)(t->at[2] + xb - 0.5 - g->m[2])) > dx, k);
        for (int z = z_first; z < z_stop; z++)
            for (int y = ya; y < y_stop; y++) {
                float factor = factors[y - ya] * factors[4 + z - za], *row = t->sum + (z * SIZE_Y + y) * STRIDE + x;
                vec over = k * factor - cut;
                if (factor > edge) /* else the whole row is past the cut-off */
                    NAME(store)(row, NAME(load)(row) + (g->weight < 0.0f ? NAME(smaller)(over, zero) : NAME(larger)(over, zero)));
            }
    }
}

/* Add one Gaussian into a tile. What is written does not depend on which part of the tile is wanted. */
PART void SIZED(add)(const vgm_gaussian *g, const tile_part *t)
{
    int za, zb, ya, yb, xa, xb, z_first, z_stop, y_stop;
    double ez, ey, ex, terms;
    clip_span(g->m[0], g->h[0], t->at[0], SIZE_Z, &za, &zb);
    clip_span(g->m[1], g->h[1], t->at[1], SIZE_Y, &ya, &yb);
    clip_span(g->m[2], g->h[2], t->at[2], SIZE_X, &xa, &xb);
    z_first = za > t->z_start ? za : t->z_start;
    z_stop = zb < t->z_stop ? zb : t->z_stop;
    y_stop = yb < t->y_stop ? yb : t->y_stop;
    if (z_first >= z_stop || ya >= y_stop || xa >= xb || xa >= t->x_stop)
        return;
    ez = farthest(t->at[0] + za - g->m[0], t->at[0] + zb - 1 - g->m[0]);
    ey = farthest(t->at[1] + ya - g->m[1], t->at[1] + yb - 1 - g->m[1]);
    ex = farthest(t->at[2] + xa - g->m[2], t->at[2] + xb - 1 - g->m[2]);
    terms = 0.5 * (g->azz * ez * ez + g->ayy * ey * ey + g->axx * ex * ex) + fabs(g->azy) * ez * ey + fabs(g->azx) * ez * ex +
            fabs(g->ayx) * ey * ex;
    if (terms <= WALK_LIMIT) {
        if (zb - za <= 4 && yb - ya <= 4 && g->azy == 0.0f && g->azx == 0.0f && g->ayx == 0.0f)
            SIZED(add_product)(g, t, za, z_first, z_stop, ya, y_stop, xa, xb);
        else
            SIZED(add_walk)(g, t, za, zb, z_stop, ya, yb, y_stop, xa, xb);
    } else {
        vgm_squares f;
        double steep;
        vgm_squares_of(g, &f);
        steep = farthest(t->at[1] + ya - g->m[1], t->at[1] + yb - g->m[1]) + fabs(f.jyz) * ez + fabs(f.jyx) * (ex + 7.0);
        if (steep * steep * f.jy <= COLUMN_LIMIT * COLUMN_LIMIT && ex * ex * f.jx <= COLUMN_LIMIT * COLUMN_LIMIT)
            SIZED(add_columns)(g, &f, t, z_first, z_stop, ya, yb, y_stop);
        else
            SIZED(add_rows)(g, &f, t, z_first, z_stop, ya, y_stop);
    }
}
