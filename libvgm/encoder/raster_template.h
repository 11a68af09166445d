/* The functions of raster.h over tiles and grids, included once for each instruction set. WALK is the walk of as many lanes as serve it best. */
#include "../src/tiles_lanes.h"

#include "raster_walk.h"

/* As rows, where ratios of rows would leave binary32: level - dv^2 ayy / 2 is each row's exponent. */
PART void NAME(steep_rows)(const int op, float *row, int64_t stride, int a, int b, vec level, vec dv, vec fall, vec cut, vec w, vec poly,
                           vec step, vec bend, vec less, float dy, float dz, NAME(sums) * s)
{
    vec one = NAME(splat)(1.0f);
    for (int y = a; y < b; y++, row += stride) {
        vec k = NAME(exp)(level + dv * dv * fall);
        NAME(rows)(op, row, stride, y, y + 1, k, one, one, cut, w, poly, step, bend, less, dy, dz, s);
        dv = dv + one;
        poly = poly + step;
        step = step + bend;
        dy = dy + 1.0f;
    }
}

/* One Gaussian in the box [from, to) of a tile whose ratios would leave binary32: each plane, or each row, is begun anew. */
PART void NAME(begin_anew)(const int op, const vgm_fit_gaussian *g, const direction *d, const tile_place *t, const int from[3],
                           const int to[3], float *tile, float *moments)
{
    vec cut = NAME(splat)(t->edge), zero = NAME(splat)(0.0f), weight = NAME(splat)(g->weight), cyy = NAME(splat)(g->cyy);
    vec less = zero, bend = zero;
    float dz0 = (float)(t->at[0] + from[0] - g->m[0]), dy0 = (float)(t->at[1] + from[1] - g->m[1]), rows = (float)(to[1] - from[1]);
    if (op == JVP) {
        less = NAME(splat)(d->w * t->edge);
        bend = NAME(splat)(2.0f * d->yy);
    }
    for (int x = from[2]; x < to[2]; x += 8) {
        vec dx = NAME(splat)((float)(t->at[2] + x - g->m[2])) + NAME(iota)(), px = zero, sx = zero;
        ints inside = NAME(splat)((float)(t->at[2] + to[2] - 0.5 - g->m[2])) > dx;
        NAME(sums) sums = {zero, zero, zero, zero, zero, zero, zero};
        if (op == JVP) {
            px = NAME(splat)(d->w) + dx * (NAME(splat)(d->x) + NAME(splat)(d->xx) * dx);
            sx = NAME(splat)(d->y) + NAME(splat)(d->yx) * dx;
        }
        for (int z = from[0]; z < to[0]; z++) {
            float dz = dz0 + (float)(z - from[0]), dy, near, rest, best, reach, rise, first, last;
            float left = t->cutoff - g->iz * dz * dz, u = (float)(t->at[2] + x - g->m[2]) - g->jxz * dz;
            int a, b;
            vec poly = zero, step = zero;
            if (left <= 0.0f)
                continue;
            near = u > 0.0f ? u : 0.0f;
            near = -u - 7.0f > near ? -u - 7.0f : near;
            rest = left - g->jx * near * near;
            if (rest <= 0.0f)
                continue;
            best = g->jyz * dz + g->jyx * (float)(t->at[2] + x - g->m[2]);
            reach = sqrtf(rest / g->ayy) + SLACK;
            rise = 7.0f * g->jyx;
            first = best + (rise < 0.0f ? rise : 0.0f) - reach - dy0;
            last = best + (rise > 0.0f ? rise : 0.0f) + reach - dy0;
            a = first > 0.0f ? (first < rows ? ceiling(first) : (int)rows) : 0;
            b = last < 0.0f ? 0 : last < rows - 1.0f ? (int)last + 1 : (int)rows;
            if (a >= b)
                continue;
            dy = dy0 + (float)a;
            float off = dy - best, other = off - rise, far = off * off > other * other ? off * off : other * other;
            vec du = NAME(splat)(u) + NAME(iota)(), dv = NAME(splat)(off) - NAME(splat)(g->jyx) * NAME(iota)();
            vec level = NAME(splat)(0.5f * (left - t->cutoff)) + du * du * NAME(splat)(-0.5f * g->jx), half = NAME(splat)(-0.5f * g->ayy);
            /* Lanes beyond the last one stay below the cut-off. */
            level = (vec)(((ints)level & inside) | ((ints)NAME(splat)(-86.0f) & ~inside));
            if (op == JVP) {
                vec c0 = px + NAME(splat)(dz * (d->z + d->zz * dz)) + NAME(splat)(d->zx * dz) * dx, c1 = sx + NAME(splat)(d->zy * dz);
                poly = c0 + NAME(splat)(dy) * (c1 + NAME(splat)(d->yy * dy));
                step = c1 + NAME(splat)(d->yy * (2.0f * dy + 1.0f));
            }
            float *row = tile + (z * t->n[1] + from[1] + a) * t->stride + x;
            if (0.5f * g->ayy * far > STEEP)
                NAME(steep_rows)(op, row, t->stride, a, b, level, dv, half, cut, weight, poly, step, bend, less, dy, dz, &sums);
            else
                NAME(rows)(op, row, t->stride, a, b, NAME(exp)(level + dv * dv * half), NAME(exp)((dv + dv + NAME(splat)(1.0f)) * half), cyy,
                           cut, weight, poly, step, bend, less, dy, dz, &sums);
        }
        if (op == MOMENTS)
            NAME(add_moments)(&sums, dx, cut, moments);
    }
}

/* One Gaussian in a tile: added, its derivative along a direction `v` added, or its moments of what is there. */
PART void NAME(apply)(const int op, const vgm_fit_gaussian *g, const float *v, const tile_place *t, float *tile, float *moments)
{
    int from[3], to[3];
    direction d = {0};
    if (op == MOMENTS)
        for (int k = 0; k < VGM_FIT_MOMENTS; k++)
            moments[k] = 0.0f;
    for (int a = 0; a < 3; a++) {
        clip_span(g->m[a], g->h[a], t->at[a], t->n[a], &from[a], &to[a]);
        if (from[a] >= to[a])
            return;
    }
    if (op == JVP)
        d = direction_of(v, g->weight, t->norm);
    /* Columns are taken in the same sixteens whatever the lanes, and of them the planes and rows that the support reaches; planes are halved until
     * ratios can carry it over what is left. */
    float dz = (float)(t->at[0] - g->m[0]), dy = (float)(t->at[1] - g->m[1]);
    for (int x = from[2]; x < to[2]; x += COLUMNS) {
        int stop = x + COLUMNS < to[2] ? x + COLUMNS : to[2], first = from[0], last = to[0];
        float xa = (float)(t->at[2] + x - g->m[2]), xb = (float)(t->at[2] + stop - 1 - g->m[2]);
        narrow(g->zx, g->z, g->ix, g->highest[0], t->cutoff, xa, xb, dz, &first, &last);
        for (int end = last; first < last; end = last)
            for (;; end = first + (end - first + 1) / 2) {
                int a = from[1], b = to[1];
                float za = dz + (float)first, zb = dz + (float)(end - 1);
                narrow(g->yx, g->w, g->ix, g->highest[1], t->cutoff, xa, xb, dy, &a, &b);
                narrow(g->yz, g->y, g->iz, g->highest[2], t->cutoff, za, zb, dy, &a, &b);
                int walks = a < b && walkable(g, za, zb, dy + (float)a, xa, xb);
                if (a < b && !walks && end - first > LEAST_PLANES)
                    continue;
                if (a < b) {
                    int low[3] = {first, a, x}, high[3] = {end, b, stop};
                    if (walks)
                        WALK(op, g, &d, t, low, high, tile, moments);
                    else
                        NAME(begin_anew)(op, g, &d, t, low, high, tile, moments);
                }
                first = end;
                break;
            }
    }
}

/* out[x] (+)= near (a + b) + middle (c + d) + far (e + f) over a row. */
PART void NAME(between)(const float *const from[6], int64_t n, int over, float *restrict out)
{
    const float *a = from[0], *b = from[1], *c = from[2], *d = from[3], *e = from[4], *f = from[5];
    for (int64_t x = 0; x < n; x++) {
        float v = NEAR * (c[x] + d[x]) + MIDDLE * (b[x] + e[x]) + FAR * (a[x] + f[x]);
        out[x] = over ? out[x] + v : v;
    }
}

PART void NAME(copy)(const float *from, int64_t n, int over, float *restrict out)
{
    for (int64_t x = 0; x < n; x++)
        out[x] = over ? out[x] + from[x] : from[x];
}

/* out[2 i] = even[i], out[2 i + 1] = odd[i], for i < n. */
PART void NAME(interleave)(const float *even, const float *odd, int64_t n, float *out)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        vec a = NAME(load)(even + i), b = NAME(load)(odd + i);
        NAME(store)(out + 2 * i, SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11));
        NAME(store)(out + 2 * i + 8, SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15));
    }
    for (; i < n; i++) {
        out[2 * i] = even[i];
        out[2 * i + 1] = odd[i];
    }
}

/* `n` columns of a row between grids, from an even one on: c is the first one's node. Room: n / 2. */
PART void NAME(widen)(const float *c, int64_t n, float *odd, float *out)
{
    const float *const from[6] = {c - 2, c - 1, c, c + 1, c + 2, c + 3};
    NAME(between)(from, n / 2, 0, odd);
    NAME(interleave)(c, odd, n / 2, out);
    if (n % 2)
        out[n - 1] = c[n / 2];
}

/* A tile of the interpolation of a grid that is coarser along y and x; it begins at an even row and column. */
PART void NAME(prolong_tile)(const vgm_fit_box *b, const int64_t at[3], const int64_t n[3], int64_t stride, const float *coarse, float *room,
                            float *tile)
{
    int64_t cy = coarse_length(b->shape[1]), cx = coarse_length(b->shape[2]), count = (n[1] - 1) / 2 + 6;
    float *odd = room + count * n[2];
    for (int64_t z = 0; z < n[0]; z++) {
        /* Two nodes before that of the first row, to three after that of the last. */
        const float *nodes = coarse + ((at[0] + z) * cy + at[1] / 2 + VGM_GRID_MARGIN - 2) * cx + at[2] / 2 + VGM_GRID_MARGIN;
        for (int64_t j = 0; j < count; j++)
            NAME(widen)(nodes + j * cx, n[2], odd, room + j * n[2]);
        for (int64_t y = 0; y < n[1]; y++) {
            const float *row = room + (y / 2) * n[2];
            const float *const from[6] = {row, row + n[2], row + 2 * n[2], row + 3 * n[2], row + 4 * n[2], row + 5 * n[2]};
            if (y % 2 == 0)
                memcpy(tile + (z * n[1] + y) * stride, row + 2 * n[2], (size_t)n[2] * sizeof *tile);
            else
                NAME(between)(from, n[2], 0, tile + (z * n[1] + y) * stride);
        }
    }
}

/* The sum of the squares of a row, in eight lanes. */
LANES vec NAME(squares)(const float *row, int64_t n, vec sum)
{
    int64_t x = 0;
    for (; x + 8 <= n; x += 8) {
        vec v = NAME(load)(row + x);
        sum = sum + v * v;
    }
    if (x < n) {
        float rest[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        vec v;
        for (int64_t k = x; k < n; k++)
            rest[k - x] = row[k];
        v = NAME(load)(rest);
        sum = sum + v * v;
    }
    return sum;
}

/* A row of model - target, 0 where decoding clamps, into `out`; adds its squares to eight lanes. */
LANES vec NAME(differences)(const float *model, const float *target, const uint8_t *saturated, int64_t n, float *out, vec sum)
{
    int64_t x = 0;
    if (saturated == NULL || !any(saturated, n)) {
        for (; x + 8 <= n; x += 8) {
            vec v = NAME(load)(model + x) - NAME(load)(target + x);
            NAME(store)(out + x, v);
            sum = sum + v * v;
        }
        for (int64_t k = x; k < n; k++)
            out[k] = model[k] - target[k];
        return NAME(squares)(out + x, n - x, sum);
    }
    for (; x < n; x++) {
        float difference = model[x] - target[x];
        int beyond = (saturated[x] == VGM_FIT_BLACK && difference < 0.0f) | (saturated[x] == VGM_FIT_WHITE && difference > 0.0f);
        out[x] = beyond ? 0.0f : difference;
    }
    return NAME(squares)(out, n, sum);
}

/* Have a row of a tile fetched into the second cache, to be read or written. */
LANES void NAME(fetch)(const float *row, int64_t n)
{
    for (int64_t x = 0; x < n; x += 16)
        __builtin_prefetch(row + x, 0, 2);
}

LANES void NAME(fetch_to_write)(float *row, int64_t n)
{
    for (int64_t x = 0; x < n; x += 16)
        __builtin_prefetch(row + x, 1, 2);
}

/* Tiles [first, last) of whatever `op` is. */
static TARGET void NAME(tiles)(const int op, const vgm_fit_box *b, int64_t first, int64_t last, const tile_work *work)
{
    tile_place t;
    t.cutoff = (float)b->cutoff;
    t.edge = (float)vgm_exp(-0.5 * b->cutoff);
    t.norm = (float)(1.0 / (1.0 - vgm_exp(-0.5 * b->cutoff)));
    t.stride = b->tile[2] + VGM_FIT_PAD;
    for (int64_t tile = first; tile < last; tile++) {
        int64_t at[3], n[3], begin = b->offsets[tile], end = b->offsets[tile + 1];
        vec sum = NAME(splat)(0.0f);
        double total = 0.0;
        at[2] = tile % b->grid[2] * b->tile[2];
        at[1] = tile / b->grid[2] % b->grid[1] * b->tile[1];
        at[0] = tile / b->grid[2] / b->grid[1] * b->tile[0];
        for (int a = 0; a < 3; a++) {
            int64_t left = b->shape[a] - at[a];
            n[a] = b->tile[a] < left ? b->tile[a] : left;
            t.at[a] = (double)at[a];
            t.n[a] = (int)n[a];
        }
        int64_t origin = (at[0] * b->shape[1] + at[1]) * b->shape[2] + at[2], plane = b->shape[1] * b->shape[2];
        if (work->squares != NULL)
            work->squares[tile] = 0.0;
        if (begin == end && (op == MOMENTS || (work->coarse == NULL && (work->field != NULL || (op == JVP && work->squares != NULL)))))
            continue;
        for (int64_t z = 0; z < n[0]; z++)
            for (int64_t y = 0; y < n[1]; y++) {
                int64_t at_row = z * n[1] + y, from = origin + z * plane + y * b->shape[2];
                float *row = work->room + at_row * t.stride;
                if (work->over != NULL && at_row + ROWS_AHEAD < n[0] * n[1]) {
                    int64_t ahead = at_row + ROWS_AHEAD;
                    NAME(fetch)(work->over + origin + ahead / n[1] * plane + ahead % n[1] * b->shape[2], n[2]);
                }
                if (work->field != NULL)
                    NAME(fetch_to_write)(work->field + from, n[2]);
                if (work->target != NULL) { /* wanted once the Gaussians are drawn */
                    NAME(fetch)(work->target + from, n[2]);
                    NAME(fetch_to_write)(work->out + from, n[2]);
                }
                if (work->over != NULL)
                    memcpy(row, work->over + from, (size_t)n[2] * sizeof(float));
                else if (work->coarse == NULL)
                    memset(row, 0, (size_t)n[2] * sizeof(float));
                memset(row + n[2], 0, VGM_FIT_PAD * sizeof(float));
            }
        if (work->coarse != NULL)
            NAME(prolong_tile)(b, at, n, t.stride, work->coarse, work->room + b->tile[0] * b->tile[1] * t.stride, work->room);
        for (int64_t e = begin; e < end; e++) {
            int64_t i = b->ids[e];
            if (e + 4 < end) {
                const char *next = (const char *)(b->gaussians + b->ids[e + 4]);
                __builtin_prefetch(next);
                __builtin_prefetch(next + 64);
            }
            NAME(apply)(op, b->gaussians + i, op == JVP ? work->directions + VGM_FIT_DIRECTION * i : NULL, &t, work->room,
                        op == MOMENTS ? work->parts + VGM_FIT_MOMENTS * e : NULL);
        }
        if (op == MOMENTS)
            continue;
        for (int64_t z = 0; z < n[0]; z++)
            for (int64_t y = 0; y < n[1]; y++) {
                float *row = work->room + (z * n[1] + y) * t.stride;
                int64_t from = origin + z * plane + y * b->shape[2];
                if (work->field != NULL) {
                    for (int64_t x = 0; x < n[2]; x++)
                        work->field[from + x] -= row[x];
                } else if (op == RENDER && work->target != NULL) {
                    const uint8_t *saturated = work->saturated == NULL ? NULL : work->saturated + from;
                    float *out = work->out + from;
                    sum = NAME(differences)(row, work->target + from, saturated, n[2], work->parts == NULL ? out : row, sum);
                    if (work->parts != NULL)
                        memcpy(out, row, (size_t)n[2] * sizeof(float));
                } else {
                    if (op == JVP && work->saturated != NULL && any(work->saturated + from, n[2]))
                        for (int64_t x = 0; x < n[2]; x++)
                            row[x] = work->saturated[from + x] != 0 && work->residual[from + x] == 0.0f ? 0.0f : row[x];
                    if (work->squares != NULL)
                        sum = NAME(squares)(row, n[2], sum);
                    if (work->out != NULL)
                        memcpy(work->out + from, row, (size_t)n[2] * sizeof(float));
                }
                if (work->squares != NULL && y + 1 == n[1]) {
                    total += (double)NAME(sum)(sum, 0);
                    sum = NAME(splat)(0.0f);
                }
            }
        if (work->squares != NULL)
            work->squares[tile] = total;
        if (op == RENDER && work->parts != NULL)
            for (int64_t e = begin; e < end; e++)
                NAME(apply)(MOMENTS, b->gaussians + b->ids[e], NULL, &t, work->room, work->parts + VGM_FIT_MOMENTS * e);
    }
}

static TARGET void NAME(render)(const vgm_fit_box *b, int64_t first, int64_t last, const tile_work *work)
{
    NAME(tiles)(RENDER, b, first, last, work);
}

static TARGET void NAME(jvp)(const vgm_fit_box *b, int64_t first, int64_t last, const tile_work *work)
{
    NAME(tiles)(JVP, b, first, last, work);
}

static TARGET void NAME(moments)(const vgm_fit_box *b, int64_t first, int64_t last, const tile_work *work)
{
    NAME(tiles)(MOMENTS, b, first, last, work);
}

/* The transpose: even[i] = in[2 i], odd[i] = in[2 i + 1]. */
PART void NAME(separate)(const float *in, int64_t n, float *even, float *odd)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        vec a = NAME(load)(in + 2 * i), b = NAME(load)(in + 2 * i + 8);
        NAME(store)(even + i, SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14));
        NAME(store)(odd + i, SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15));
    }
    for (; i < n; i++) {
        even[i] = in[2 * i];
        odd[i] = in[2 * i + 1];
    }
}

static TARGET void NAME(prolong_yx)(const float *coarse, float *fine, const int64_t shape[3], int64_t first, int64_t last, int over, float *room)
{
    int64_t ny = shape[1], nx = shape[2], cy = coarse_length(ny), cx = coarse_length(nx);
    for (int64_t z = first; z < last; z++) {
        for (int64_t j = 0; j < cy; j++) {
            const float *c = coarse + (z * cy + j) * cx + VGM_GRID_MARGIN;
            NAME(widen)(c, nx, room + cy * nx, room + j * nx);
        }
        for (int64_t y = 0; y < ny; y++) {
            const float *row = room + (y / 2 + VGM_GRID_MARGIN) * nx;
            const float *const from[6] = {row - 2 * nx, row - nx, row, row + nx, row + 2 * nx, row + 3 * nx};
            if (y % 2 == 0)
                NAME(copy)(row, nx, over, fine + (z * ny + y) * nx);
            else
                NAME(between)(from, nx, over, fine + (z * ny + y) * nx);
        }
    }
}

static TARGET void NAME(prolong_z)(const float *coarse, float *fine, const int64_t shape[3], int64_t first, int64_t last, int over)
{
    int64_t plane = shape[1] * shape[2];
    for (int64_t z = first; z < last; z++) {
        const float *c = coarse + (z / 2 + VGM_GRID_MARGIN) * plane;
        const float *const from[6] = {c - 2 * plane, c - plane, c, c + plane, c + 2 * plane, c + 3 * plane};
        if (z % 2 == 0)
            NAME(copy)(c, plane, over, fine + z * plane);
        else
            NAME(between)(from, plane, over, fine + z * plane);
    }
}

/* A row of the restriction: the fine one at a node, or none, and the six between nodes around it. Rows that are not there are `nothing`. */
PART void NAME(gathered)(const float *at, const float *const from[6], int64_t n, float *restrict out)
{
    const float *a = from[0], *b = from[1], *c = from[2], *d = from[3], *e = from[4], *f = from[5];
    for (int64_t x = 0; x < n; x++)
        out[x] = at[x] + NEAR * (c[x] + d[x]) + MIDDLE * (b[x] + e[x]) + FAR * (a[x] + f[x]);
}

static TARGET void NAME(restrict_yx)(const float *fine, float *coarse, const int64_t shape[3], int64_t first, int64_t last, float *room)
{
    int64_t ny = shape[1], nx = shape[2], cy = coarse_length(ny), cx = coarse_length(nx);
    float *row = room, *odd = row + nx, *even = odd + cx + 6, *nothing = even + nx;
    memset(odd, 0, (size_t)(cx + 6) * sizeof *odd);
    memset(nothing, 0, (size_t)nx * sizeof *nothing);
    for (int64_t z = first; z < last; z++)
        for (int64_t j = 0; j < cy; j++) {
            const float *plane = fine + z * ny * nx, *rows[7];
            float *out = coarse + (z * cy + j) * cx;
            int64_t y = 2 * (j - VGM_GRID_MARGIN);
            for (int k = 0; k < 7; k++) {
                int64_t at = k < 6 ? y - 5 + 2 * k : y;
                rows[k] = at >= 0 && at < ny ? plane + at * nx : nothing;
            }
            for (int64_t ahead = y + ROWS_AHEAD; ahead < y + ROWS_AHEAD + 2 && (z * ny + ahead + 1) * nx <= shape[0] * ny * nx; ahead++)
                if (ahead >= 0)
                    NAME(fetch)(plane + ahead * nx, nx);
            NAME(gathered)(rows[6], rows, nx, row);
            const float *const from[6] = {odd, odd + 1, odd + 2, odd + 3, odd + 4, odd + 5};
            NAME(separate)(row, nx / 2, even, odd + 2 * VGM_GRID_MARGIN);
            NAME(between)(from, cx, 0, out);
            if (nx % 2)
                even[nx / 2] = row[nx - 1];
            NAME(copy)(even, (nx + 1) / 2, 1, out + VGM_GRID_MARGIN);
        }
}

static TARGET void NAME(restrict_z)(const float *fine, float *coarse, const int64_t shape[3], int64_t first, int64_t last, float *room)
{
    int64_t nz = shape[0], plane = shape[1] * shape[2];
    memset(room, 0, (size_t)shape[2] * sizeof *room);
    for (int64_t j = first; j < last; j++) {
        int64_t z = 2 * (j - VGM_GRID_MARGIN);
        float *out = coarse + j * plane;
        for (int64_t row = 0; row < plane; row += shape[2]) {
            const float *rows[7];
            for (int k = 0; k < 7; k++) {
                int64_t at = k < 6 ? z - 5 + 2 * k : z;
                rows[k] = at >= 0 && at < nz ? fine + at * plane + row : room;
            }
            NAME(gathered)(rows[6], rows, shape[2], out + row);
        }
    }
}

#undef vec
#undef ints
