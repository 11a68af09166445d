/* The functions of raster.h over tiles and grids, included once for each instruction set. */
#include "../src/tiles_lanes.h"

LANES float NAME(sum)(vec v)
{
    float a = v[0] + v[4], b = v[1] + v[5], c = v[2] + v[6], d = v[3] + v[7];
    return (a + c) + (b + d);
}

/* What is gathered of one Gaussian in one block of eight lanes. */
typedef struct {
    vec edge, t, tz, ty, tzz, tzy, tyy;
} NAME(sums);

/* Rows [a, b) of a plane of eight lanes, of which `k` is the first one's Gaussian and `r` the ratio of the next to it. */
PART void NAME(rows)(const int op, float *row, int64_t stride, int a, int b, vec k, vec r, vec cyy, vec cut, vec w, vec poly, vec step,
                     vec bend, vec less, float dy, float dz, NAME(sums) * s)
{
    vec zero = NAME(splat)(0.0f);
    if (op == RENDER) {
        for (int y = a; y < b; y++, row += stride) {
            NAME(store)(row, NAME(load)(row) + w * NAME(larger)(k - cut, zero));
            k = k * r;
            r = r * cyy;
        }
    } else if (op == JVP) {
        for (int y = a; y < b; y++, row += stride) {
            NAME(store)(row, NAME(load)(row) + NAME(keep)(k > cut, k * poly - less));
            k = k * r;
            r = r * cyy;
            poly = poly + step;
            step = step + bend;
        }
    } else {
        vec q0 = zero, a0 = zero, a1 = zero, a2 = zero, off = NAME(splat)(dy), one = NAME(splat)(1.0f), d = NAME(splat)(dz), td;
        for (int y = a; y < b; y++, row += stride) {
            vec rho = NAME(keep)(k > cut, NAME(load)(row)), t = k * rho;
            q0 = q0 + rho;
            a0 = a0 + t;
            td = t * off;
            a1 = a1 + td;
            a2 = a2 + td * off;
            k = k * r;
            r = r * cyy;
            off = off + one;
        }
        s->edge = s->edge + q0;
        s->t = s->t + a0;
        s->ty = s->ty + a1;
        s->tyy = s->tyy + a2;
        td = a0 * d;
        s->tz = s->tz + td;
        s->tzz = s->tzz + td * d;
        s->tzy = s->tzy + a1 * d;
    }
}

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

/* One Gaussian in a tile: added, its derivative added, or its moments of what is there. */
PART void NAME(apply)(const int op, const vgm_fit_gaussian *g, const float *d, const tile_place *t, float *tile, float *moments)
{
    int za, zb, ya, yb, xa, xb, walk;
    float edge = t->edge, w = g->weight;
    float lz = 0, ly = 0, lx = 0, qzz = 0, qzy = 0, qzx = 0, qyy = 0, qyx = 0, qxx = 0, dw = 0;
    vec cut = NAME(splat)(edge), zero = NAME(splat)(0.0f), weight = NAME(splat)(w), cyy = NAME(splat)(g->cyy), czz = NAME(splat)(g->czz);
    vec czy = NAME(splat)(g->czy), less = zero, bend = zero;
    if (op == MOMENTS)
        for (int k = 0; k < VGM_FIT_MOMENTS; k++)
            moments[k] = 0.0f;
    clip_span(g->m[0], g->h[0], t->at[0], t->n[0], &za, &zb);
    clip_span(g->m[1], g->h[1], t->at[1], t->n[1], &ya, &yb);
    clip_span(g->m[2], g->h[2], t->at[2], t->n[2], &xa, &xb);
    if (za >= zb || ya >= yb || xa >= xb)
        return;
    if (op == JVP) {
        dw = d[0] * t->norm;
        lz = w * d[1], ly = w * d[2], lx = w * d[3];
        qzz = w * d[4], qzy = w * d[5], qzx = w * d[6];
        qyy = w * d[7], qyx = w * d[8], qxx = w * d[9];
        less = NAME(splat)(dw * edge);
        bend = NAME(splat)(2.0f * qyy);
    }
    float dz0 = (float)(t->at[0] + za - g->m[0]), dy0 = (float)(t->at[1] + ya - g->m[1]);
    float e0 = -0.5f * (g->azz * dz0 * dz0 + g->ayy * dy0 * dy0) - g->azy * dz0 * dy0, e1 = -(g->azx * dz0 + g->ayx * dy0);
    float r0 = -(g->azy * dz0 + g->ayy * dy0) - 0.5f * g->ayy, s0 = -(g->azz * dz0 + g->azy * dy0) - 0.5f * g->azz;
    walk = walkable(g, dz0, dz0 + (float)(zb - za - 1), dy0, (float)(t->at[2] + xa - g->m[2]), (float)(t->at[2] + xb - 1 - g->m[2]));
    int16_t stop[MAX_PLANES];
    if (walk)
        for (int z = za; z < zb; z++) { /* the last row that a plane reaches */
            float off = dz0 + (float)(z - za), left = t->cutoff - g->iz * off * off;
            float last = g->yz * off + sqrtf(left > 0.0f ? left : 0.0f) * g->y + SLACK - dy0;
            int rows = 1 + (int)(last < 0.0f ? -1.0f : last < (float)(yb - ya) ? last : (float)(yb - ya));
            stop[z] = (int16_t)(rows < yb - ya ? ya + rows : yb);
        }
    for (int x = xa; x < xb; x += 8) {
        vec dx = NAME(splat)((float)(t->at[2] + x - g->m[2])) + NAME(iota)(), k = zero, r = zero, s = zero, px = zero, sx = zero;
        ints inside = NAME(splat)((float)(t->at[2] + xb - 0.5 - g->m[2])) > dx;
        NAME(sums) sums = {zero, zero, zero, zero, zero, zero, zero};
        if (walk) {
            k = NAME(keep)(inside, NAME(exp)(NAME(splat)(e0) + dx * (NAME(splat)(e1) - NAME(splat)(0.5f * g->axx) * dx)));
            r = NAME(keep)(inside, NAME(exp)(NAME(splat)(r0) - NAME(splat)(g->ayx) * dx));
            s = NAME(keep)(inside, NAME(exp)(NAME(splat)(s0) - NAME(splat)(g->azx) * dx));
        }
        if (op == JVP) {
            px = NAME(splat)(dw) + dx * (NAME(splat)(lx) + NAME(splat)(qxx) * dx);
            sx = NAME(splat)(ly) + NAME(splat)(qyx) * dx;
        }
        for (int z = za; z < zb; z++) {
            float dz = dz0 + (float)(z - za);
            int a = ya, b = walk ? stop[z] : yb, steep = 0;
            vec poly = zero, step = zero, level = zero, dv = zero, k_row = k, r_row = r;
            float dy = dy0;
            if (!walk) {
                float left = t->cutoff - g->iz * dz * dz, u = (float)(t->at[2] + x - g->m[2]) - g->jxz * dz, near, rest, best, reach, rise, first, last;
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
                a = ya + (first > 0.0f ? (first < (float)(yb - ya) ? ceiling(first) : yb - ya) : 0);
                b = ya + (last < 0.0f ? 0 : last < (float)(yb - ya - 1) ? (int)last + 1 : yb - ya);
                if (a >= b)
                    continue;
                dy = dy0 + (float)(a - ya);
                float off = dy - best, other = off - rise, far = off * off > other * other ? off * off : other * other;
                vec du = NAME(splat)(u) + NAME(iota)();
                dv = NAME(splat)(off) - NAME(splat)(g->jyx) * NAME(iota)();
                level = NAME(splat)(0.5f * (left - t->cutoff)) + du * du * NAME(splat)(-0.5f * g->jx);
                /* Lanes beyond the last one stay below the cut-off. */
                level = (vec)(((ints)level & inside) | ((ints)NAME(splat)(-86.0f) & ~inside));
                steep = 0.5f * g->ayy * far > STEEP;
                if (!steep) {
                    vec half = NAME(splat)(-0.5f * g->ayy);
                    k_row = NAME(exp)(level + dv * dv * half);
                    r_row = NAME(exp)((dv + dv + NAME(splat)(1.0f)) * half);
                }
            }
            if (op == JVP) {
                vec c0 = px + NAME(splat)(dz * (lz + qzz * dz)) + NAME(splat)(qzx * dz) * dx, c1 = sx + NAME(splat)(qzy * dz);
                poly = c0 + NAME(splat)(dy) * (c1 + NAME(splat)(qyy * dy));
                step = c1 + NAME(splat)(qyy * (2.0f * dy + 1.0f));
            }
            float *row = tile + (z * t->n[1] + a) * t->stride + x;
            if (steep)
                NAME(steep_rows)(op, row, t->stride, a, b, level, dv, NAME(splat)(-0.5f * g->ayy), cut, weight, poly, step, bend, less, dy, dz,
                                 &sums);
            else
                NAME(rows)(op, row, t->stride, a, b, k_row, r_row, cyy, cut, weight, poly, step, bend, less, dy, dz, &sums);
            if (walk) {
                k = k * s;
                s = s * czz;
                r = r * czy;
            }
        }
        if (op == MOMENTS) {
            moments[0] += NAME(sum)(sums.t - cut * sums.edge);
            moments[1] += NAME(sum)(sums.t);
            moments[2] += NAME(sum)(sums.tz);
            moments[3] += NAME(sum)(sums.ty);
            moments[4] += NAME(sum)(sums.t * dx);
            moments[5] += NAME(sum)(sums.tzz);
            moments[6] += NAME(sum)(sums.tzy);
            moments[7] += NAME(sum)(sums.tz * dx);
            moments[8] += NAME(sum)(sums.tyy);
            moments[9] += NAME(sum)(sums.ty * dx);
            moments[10] += NAME(sum)(sums.t * dx * dx);
        }
    }
}

/* out[x] (+)= near (a + b) + middle (c + d) + far (e + f) over a row. */
PART void NAME(between)(const float *const from[6], int64_t n, int over, float *out)
{
    for (int64_t x = 0; x < n; x++) {
        float v = NEAR * (from[2][x] + from[3][x]) + MIDDLE * (from[1][x] + from[4][x]) + FAR * (from[0][x] + from[5][x]);
        out[x] = over ? out[x] + v : v;
    }
}

PART void NAME(copy)(const float *from, int64_t n, int over, float *out)
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

/* model - target, 0 where decoding clamps. */
PART void NAME(differences)(const float *model, const float *target, const uint8_t *saturated, int64_t n, float *out)
{
    if (saturated == NULL || !any(saturated, n)) {
        for (int64_t x = 0; x < n; x++)
            out[x] = model[x] - target[x];
        return;
    }
    for (int64_t x = 0; x < n; x++) {
        float difference = model[x] - target[x];
        int beyond = (saturated[x] == VGM_FIT_BLACK && difference < 0.0f) | (saturated[x] == VGM_FIT_WHITE && difference > 0.0f);
        out[x] = beyond ? 0.0f : difference;
    }
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
        if (begin == end && (op == MOMENTS || (op == JVP && work->squares != NULL && work->coarse == NULL)))
            continue;
        for (int64_t z = 0; z < n[0]; z++)
            for (int64_t y = 0; y < n[1]; y++) {
                float *row = work->room + (z * n[1] + y) * t.stride;
                int64_t from = origin + z * plane + y * b->shape[2];
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
                if (op == RENDER && work->target != NULL)
                    NAME(differences)(row, work->target + from, work->saturated == NULL ? NULL : work->saturated + from, n[2], row);
                if (op == JVP && work->saturated != NULL && any(work->saturated + from, n[2]))
                    for (int64_t x = 0; x < n[2]; x++)
                        row[x] = work->saturated[from + x] != 0 && work->residual[from + x] == 0.0f ? 0.0f : row[x];
                if (work->squares != NULL)
                    sum = NAME(squares)(row, n[2], sum);
                if (work->out != NULL)
                    memcpy(work->out + from, row, (size_t)n[2] * sizeof(float));
                if (work->squares != NULL && y + 1 == n[1]) {
                    total += (double)NAME(sum)(sum);
                    sum = NAME(splat)(0.0f);
                }
            }
        if (work->squares != NULL)
            work->squares[tile] = total;
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
PART void NAME(gathered)(const float *at, const float *const from[6], int64_t n, float *out)
{
    for (int64_t x = 0; x < n; x++)
        out[x] = at[x] + NEAR * (from[2][x] + from[3][x]) + MIDDLE * (from[1][x] + from[4][x]) + FAR * (from[0][x] + from[5][x]);
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
