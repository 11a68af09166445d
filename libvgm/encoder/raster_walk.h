/* Rows of Gaussians that ratios carry: the lanes of tiles_lanes.h, which is included before, once for each instruction set and number of lanes. */

/* The sum of eight lanes from lane `i` on. */
LANES float NAME(sum)(vec v, const int i)
{
    float a = v[i] + v[i + 4], b = v[i + 1] + v[i + 5], c = v[i + 2] + v[i + 6], d = v[i + 3] + v[i + 7];
    return (a + c) + (b + d);
}

/* Offsets of lanes from a centre, the first lane being at `at`; rounded for each eight, so that these are the same in sixteen. */
LANES vec NAME(offsets)(double at, double centre)
{
    float a = (float)(at - centre);
#if LANES_WIDE
    float b = (float)(at + 8.0 - centre);
    return (vec){a, a, a, a, a, a, a, a, b, b, b, b, b, b, b, b} + (vec){0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7};
#else
    return NAME(splat)(a) + NAME(iota)();
#endif
}

/* What is gathered of one Gaussian in one block of lanes. */
typedef struct {
    vec edge, t, tz, ty, tzz, tzy, tyy;
} NAME(sums);

/* Adds a row of lanes of a Gaussian k, or of its derivative. */
LANES void NAME(draw)(const int op, float *row, vec k, vec cut, vec w, vec poly, vec less)
{
    vec value = op == RENDER ? w * NAME(larger)(k - cut, NAME(splat)(0.0f)) : NAME(keep)(k > cut, k * poly - less);
    NAME(store)(row, NAME(load)(row) + value);
}

/* Adds a row's r, k r, k r y, k r y^2 within the support. */
LANES void NAME(gather)(const float *row, vec k, vec cut, vec y, vec sums[4])
{
    vec r = NAME(keep)(k > cut, NAME(load)(row)), t = k * r, ty = t * y;
    sums[0] = sums[0] + r;
    sums[1] = sums[1] + t;
    sums[2] = sums[2] + ty;
    sums[3] = sums[3] + ty * y;
}

/* Rows [a, b) of a plane of lanes, of which `k` is the first one's Gaussian and `r` the ratio of the next to it. */
PART void NAME(rows)(const int op, float *row, int64_t stride, int a, int b, vec k, vec r, vec cyy, vec cut, vec w, vec poly, vec step,
                     vec bend, vec less, float dy, float dz, NAME(sums) * s)
{
    vec zero = NAME(splat)(0.0f), next = k * r, q = r * cyy, four = cyy * cyy;
    /* Each second row follows from the one before the last: two chains, so that neither waits for the other. */
    r = r * q;
    q = q * q * cyy;
    four = four * four;
    if (op != MOMENTS) {
        for (; a + 1 < b; a += 2, row += 2 * stride) {
            NAME(draw)(op, row, k, cut, w, poly, less);
            poly = poly + step;
            step = step + bend;
            NAME(draw)(op, row + stride, next, cut, w, poly, less);
            poly = poly + step;
            step = step + bend;
            k = k * r;
            next = next * q;
            r = r * four;
            q = q * four;
        }
        if (a < b)
            NAME(draw)(op, row, k, cut, w, poly, less);
    } else {
        vec even[4] = {zero, zero, zero, zero}, odd[4] = {zero, zero, zero, zero}, two = NAME(splat)(2.0f), d = NAME(splat)(dz);
        vec off = NAME(splat)(dy), after = off + NAME(splat)(1.0f), a0, a1, td;
        for (; a + 1 < b; a += 2, row += 2 * stride) {
            NAME(gather)(row, k, cut, off, even);
            NAME(gather)(row + stride, next, cut, after, odd);
            k = k * r;
            next = next * q;
            r = r * four;
            q = q * four;
            off = off + two;
            after = after + two;
        }
        if (a < b)
            NAME(gather)(row, k, cut, off, even);
        a0 = even[1] + odd[1];
        a1 = even[2] + odd[2];
        s->edge = s->edge + (even[0] + odd[0]);
        s->t = s->t + a0;
        s->ty = s->ty + a1;
        s->tyy = s->tyy + (even[3] + odd[3]);
        td = a0 * d;
        s->tz = s->tz + td;
        s->tzz = s->tzz + td * d;
        s->tzy = s->tzy + a1 * d;
    }
}

/* Adds what was gathered to a Gaussian's moments: eight lanes after eight, however many there are at once. */
PART void NAME(add_moments)(const NAME(sums) * s, vec dx, vec cut, float *moments)
{
    vec all[VGM_FIT_MOMENTS] = {s->t - cut * s->edge, s->t,   s->tz,      s->ty,  s->t * dx,      s->tzz,
                                s->tzy,               s->tz * dx, s->tyy, s->ty * dx, s->t * dx * dx};
    for (int k = 0; k < VGM_FIT_MOMENTS; k++) {
        moments[k] += NAME(sum)(all[k], 0);
        if (LANES_WIDE)
            moments[k] += NAME(sum)(all[k], 8);
    }
}

/* One Gaussian in the box [from, to) of a tile, carried over rows and planes from its first row. */
PART void NAME(walk)(const int op, const vgm_fit_gaussian *g, const direction *d, const tile_place *t, const int from[3], const int to[3],
                     float *tile, float *moments)
{
    vec cut = NAME(splat)(t->edge), zero = NAME(splat)(0.0f), weight = NAME(splat)(g->weight), cyy = NAME(splat)(g->cyy);
    vec czz = NAME(splat)(g->czz), czy = NAME(splat)(g->czy), less = zero, bend = zero;
    int planes = to[0] - from[0], rows = to[1] - from[1];
    float dz0 = (float)(t->at[0] + from[0] - g->m[0]), dy0 = (float)(t->at[1] + from[1] - g->m[1]);
    float e0 = -0.5f * (g->azz * dz0 * dz0 + g->ayy * dy0 * dy0) - g->azy * dz0 * dy0, e1 = -(g->azx * dz0 + g->ayx * dy0);
    float r0 = -(g->azy * dz0 + g->ayy * dy0) - 0.5f * g->ayy, s0 = -(g->azz * dz0 + g->azy * dy0) - 0.5f * g->azz;
    int16_t stop[MAX_PLANES];
    for (int z = 0; z < planes; z++) { /* the last row that a plane reaches */
        float off = dz0 + (float)z, left = t->cutoff - g->iz * off * off;
        float last = g->yz * off + sqrtf(left > 0.0f ? left : 0.0f) * g->y + SLACK - dy0;
        int reached = 1 + (int)(last < 0.0f ? -1.0f : last < (float)rows ? last : (float)rows);
        stop[z] = (int16_t)(reached < rows ? reached : rows);
    }
    if (op == JVP) {
        less = NAME(splat)(d->w * t->edge);
        bend = NAME(splat)(2.0f * d->yy);
    }
    for (int x = from[2]; x < to[2]; x += LANES_WIDE ? 16 : 8) {
        vec dx = NAME(offsets)(t->at[2] + x, g->m[2]), k, r, s, px = zero, sx = zero;
        ints inside = NAME(splat)((float)(t->at[2] + to[2] - 0.5 - g->m[2])) > dx;
        NAME(sums) sums = {zero, zero, zero, zero, zero, zero, zero};
        k = NAME(keep)(inside, NAME(exp)(NAME(splat)(e0) + dx * (NAME(splat)(e1) - NAME(splat)(0.5f * g->axx) * dx)));
        r = NAME(keep)(inside, NAME(exp)(NAME(splat)(r0) - NAME(splat)(g->ayx) * dx));
        s = NAME(keep)(inside, NAME(exp)(NAME(splat)(s0) - NAME(splat)(g->azx) * dx));
        if (op == JVP) {
            px = NAME(splat)(d->w) + dx * (NAME(splat)(d->x) + NAME(splat)(d->xx) * dx);
            sx = NAME(splat)(d->y) + NAME(splat)(d->yx) * dx;
        }
        float *plane = tile + (from[0] * t->n[1] + from[1]) * t->stride + x;
        for (int z = 0; z < planes; z++, plane += t->n[1] * t->stride) {
            float dz = dz0 + (float)z;
            vec poly = zero, step = zero;
            if (op == JVP) {
                vec c0 = px + NAME(splat)(dz * (d->z + d->zz * dz)) + NAME(splat)(d->zx * dz) * dx, c1 = sx + NAME(splat)(d->zy * dz);
                poly = c0 + NAME(splat)(dy0) * (c1 + NAME(splat)(d->yy * dy0));
                step = c1 + NAME(splat)(d->yy * (2.0f * dy0 + 1.0f));
            }
            NAME(rows)(op, plane, t->stride, 0, stop[z], k, r, cyy, cut, weight, poly, step, bend, less, dy0, dz, &sums);
            k = k * s;
            s = s * czz;
            r = r * czy;
        }
        if (op == MOMENTS)
            NAME(add_moments)(&sums, dx, cut, moments);
    }
}
