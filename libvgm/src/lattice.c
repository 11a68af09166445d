/* The lattice coding (vgm-1-lattice.md). Names are those of the text. */
#include "codings.h"
#include "lattice_numbers.h"
#include "lattice_record.h"
#include "range_decoder.h"

enum { MAX_BRICK = 16384, MAX_MARGIN = 16384, MAX_CLASS = 40, CELL_FLOOR = 32768, SPLITS = 5, TABLED = 255, ONE = 4096, TABLED_BITS = 12 };
#define FARTHEST ((int64_t)1 << 34)
#define WIDE (4 * ONE)

struct vgm_lattice_tables {
    int32_t below[TABLED + 1][TABLED + 2][8]; /* C[s][n][k] of section 4.4 as [n][k][s] */
    uint32_t powers[1 << TABLED_BITS];        /* what exp2 of the highest bits of a fraction of 16 is */
    int32_t z[256];                           /* where the logistic function is about (k + 1/2) / 256 */
    int32_t rates[257];                       /* of a number seen so often */
};

/* exp2_fixed, with its first factors looked up; where a bit is not set, the factor is 1, which takes less time than to leave it out. */
static inline int64_t power_of(const vgm_lattice_tables *tables, int64_t e)
{
    int64_t r = tables->powers[(e & 65535) >> (16 - TABLED_BITS)], w = e >> 16;
    for (int b = 15 - TABLED_BITS; b >= 0; b--)
        r = (r * (e >> b & 1 ? EXP2[b] : 1 << 30) + (1 << 29)) >> 30;
    return w >= 0 ? r << w : r >> -w;
}

vgm_lattice_tables *vgm_new_lattice_tables(const vgm_allocator *allocator, vgm_error *error)
{
    static const int64_t spreads[SPLITS] = {1, 2, 4, 12, 60};
    vgm_lattice_tables *tables = vgm_take(allocator, 1, sizeof *tables, error);
    int32_t z = -12 * 65536;
    if (tables == NULL)
        return NULL;
    for (int k = 0; k < 1 << TABLED_BITS; k++)
        tables->powers[k] = (uint32_t)exp2_fixed(k << (16 - TABLED_BITS));
    for (int k = 0; k < 256; k++) {
        while (logistic(z) < (2 * k + 1) * 2048)
            z += 256;
        tables->z[k] = z;
    }
    for (int k = 0; k <= 256; k++)
        tables->rates[k] = 65536 / (k + 16);
    for (int s = 0; s < SPLITS; s++)
        for (int64_t n = 2; n <= TABLED; n++) {
            int64_t w[TABLED + 1], total = 0, below = 0, S = spreads[s];
            w[n >> 1] = 1 << 28;
            for (int64_t k = n >> 1; k > 0; k--)
                w[k - 1] = w[k] * k * (2 * (n - k) + S) / ((n - k + 1) * (2 * (k - 1) + S));
            for (int64_t k = n >> 1; k < n; k++)
                w[k + 1] = w[k] * (n - k) * (2 * k + S) / ((k + 1) * (2 * (n - k - 1) + S));
            for (int64_t k = 0; k <= n; k++)
                total += w[k];
            for (int64_t k = 0; k <= n; k++) {
                tables->below[n][k][s] = (int32_t)(k + below * (VGM_TOTAL - n - 1) / total);
                below += w[k];
            }
            tables->below[n][n + 1][s] = VGM_TOTAL;
        }
    return tables;
}

typedef struct {
    int64_t a[8], b[8];
    int64_t seen;
} number_model;

typedef struct {
    int64_t low[3], high[3];
} cell;

typedef struct {
    vgm_decoder code;
    const vgm_lattice_tables *tables;
    int64_t steps[MAX_CLASS + 1][3]; /* log, skew, position */
    double dc;
    int64_t mixture[4][SPLITS];
    number_model numbers[7]; /* class; log z, y, x; skew yz, xz, xy */
    int64_t sign[3];
    vgm_bit_model amplitudes[4][32];
} decoder;

static int64_t decode_split(decoder *d, int64_t n)
{
    int64_t *m = d->mixture[n < 4 ? 0 : n < 8 ? 1 : n < 32 ? 2 : 3];
    const int32_t(*below)[8];
    int64_t M = 0, target, bound, low = 0, high = n, g[SPLITS], G = 0, at[2];
    if (n > TABLED)
        return vgm_decode_uniform(&d->code, n + 1);
    below = d->tables->below[n];
    for (int s = 0; s < SPLITS; s++)
        M += m[s];
    target = vgm_decode_target(&d->code);
    bound = (target + 1) * M; /* mixed(k) <= target where the sum is below it */
    while (low < high) {
        int64_t middle = (low + high + 1) >> 1, sum = 0;
        for (int s = 0; s < SPLITS; s++)
            sum += m[s] * below[middle][s];
        if (sum < bound)
            low = middle;
        else
            high = middle - 1;
    }
    for (int e = 0; e < 2; e++) {
        int64_t sum = 0;
        for (int s = 0; s < SPLITS; s++)
            sum += m[s] * below[low + e][s];
        at[e] = sum / M;
    }
    vgm_take_part(&d->code, at[0], at[1]);
    for (int s = 0; s < SPLITS; s++) {
        g[s] = m[s] * (below[low + 1][s] - below[low][s]);
        G += g[s];
    }
    for (int s = 0; s < SPLITS; s++) {
        int64_t weight = g[s] * 65536 / G;
        m[s] = weight < 512 ? 512 : weight;
    }
    return low;
}

typedef struct {
    int64_t low[3], high[3];
    int64_t first, n;
} box;

/* Section 4.2: the cell of each primitive, in the order they are coded in; 0 where the counts cannot be. */
static int decode_cells(decoder *d, const int64_t half[3], const int64_t margins[6], int64_t count, int32_t (*cells)[6])
{
    box stack[256], b;
    int depth = 0;
    for (int a = 0; a < 3; a++) {
        b.low[a] = -half[a] - margins[a] * 65536;
        b.high[a] = half[a] + margins[3 + a] * 65536;
    }
    b.first = 0;
    b.n = count;
    for (int side = 0; side < 6; side++) {
        int axis = side % 3;
        int64_t wall = side < 3 ? -half[axis] : half[axis], outside;
        box part = b;
        if (margins[side] == 0)
            continue;
        outside = vgm_decode_excess(&d->code);
        if (outside > b.n)
            return 0;
        part.n = outside;
        if (side < 3) {
            part.high[axis] = wall;
            b.first += outside;
            b.low[axis] = wall;
        } else {
            part.first = b.first + b.n - outside;
            part.low[axis] = wall;
            b.high[axis] = wall;
        }
        b.n -= outside;
        stack[depth++] = part;
    }
    stack[depth++] = b;
    while (depth > 0) {
        int axis = 0;
        int64_t side, middle, left;
        b = stack[--depth];
        if (b.n == 0)
            continue;
        if (b.high[1] - b.low[1] > b.high[0] - b.low[0])
            axis = 1;
        if (b.high[2] - b.low[2] > b.high[axis] - b.low[axis])
            axis = 2;
        side = b.high[axis] - b.low[axis];
        if (b.n == 1 || side <= CELL_FLOOR) {
            for (int64_t i = b.first; i < b.first + b.n; i++)
                for (int a = 0; a < 3; a++) {
                    cells[i][a] = (int32_t)b.low[a];
                    cells[i][3 + a] = (int32_t)b.high[a];
                }
            continue;
        }
        middle = b.low[axis] + (side >> 1);
        left = decode_split(d, b.n);
        if (vgm_decoder_ran_out(&d->code))
            return 0;
        stack[depth] = b;
        stack[depth].low[axis] = middle;
        stack[depth].first = b.first + left;
        stack[depth++].n = b.n - left;
        stack[depth] = b;
        stack[depth].high[axis] = middle;
        stack[depth++].n = left;
    }
    return 1;
}

typedef struct {
    int64_t mean, inverse, width, start, first, room;
} bins;

/* Where a bin starts: the logistic function's argument, its value, and how many parts lie below. */
typedef struct {
    int64_t z, f, below;
} edge;

static inline edge edge_of(const bins *b, int64_t i)
{
    edge e;
    e.z = ((i * b->width - b->start - b->mean) * b->inverse) >> 24;
    e.f = logistic(e.z);
    e.below = ((e.f * (VGM_TOTAL - b->room)) >> 20) + i - b->first + 1;
    return e;
}

/* The last bin of [low, high] that starts at or below the target; that `low` does is known. */
static int64_t bisect(const bins *b, int64_t low, int64_t high, int64_t target)
{
    while (low < high) {
        int64_t middle = (low + high + 1) >> 1;
        if (edge_of(b, middle).below <= target)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* The bin that holds the target, with both its edges: most often the one guessed or its neighbour. */
static int64_t find_bin(const bins *b, int64_t guess, int64_t last, int64_t target, edge *start, edge *end)
{
    edge at = edge_of(b, guess), next;
    int64_t i;
    if (at.below <= target) {
        next = edge_of(b, guess + 1);
        if (next.below > target) {
            *start = at;
            *end = next;
            return guess;
        }
        i = bisect(b, guess + 1, last + 1, target);
    } else {
        next = edge_of(b, guess - 1);
        if (guess == b->first || next.below <= target) {
            *start = next;
            *end = at;
            return guess - 1;
        }
        i = bisect(b, b->first - 1, guess - 2, target);
    }
    *start = edge_of(b, i);
    *end = edge_of(b, i + 1);
    return i;
}

/* Section 3.3. */
static int64_t decode_number(decoder *d, number_model *model, const int64_t *x, int nx, const int64_t *y, int ny, int64_t step,
                             int64_t start)
{
    bins b;
    int64_t spread = 0, scale, reach, last, target, i, h, q, za, zb, da, db, pull, widen, rate;
    edge e, f;
    int fine = 0;
    b.mean = 0;
    for (int k = 0; k < nx; k++)
        b.mean += model->a[k] * x[k];
    b.mean = clip(b.mean >> 12, 64 * 65536);
    for (int k = 0; k < ny; k++)
        spread += model->b[k] * y[k];
    spread = limited(spread >> 12, -9 * 65536, 5 * 65536);
    scale = power_of(d->tables, spread) >> 14;
    b.inverse = ((int64_t)1 << 40) / scale;
    while (step << (fine + 4) < scale)
        fine++;
    b.width = step << fine;
    b.start = start;
    reach = 12 * scale / b.width + 2;
    b.first = floor_div(b.mean + start, b.width) - reach;
    b.room = 2 * reach + 3;
    last = b.first + 2 * reach;
    target = vgm_decode_target(&d->code);
    /* near where the logistic function alone would put it */
    i = limited(floor_div(((d->tables->z[target >> 12] * scale) >> 16) + b.mean + start, b.width), b.first, last);
    i = find_bin(&b, i, last, target, &e, &f);
    vgm_take_part(&d->code, i < b.first ? 0 : e.below, i > last ? VGM_TOTAL : f.below);
    h = i;
    if (i < b.first)
        h -= vgm_decode_excess(&d->code);
    else if (i > last)
        h += vgm_decode_excess(&d->code);
    q = h * ((int64_t)1 << fine) + vgm_decode_uniform(&d->code, (int64_t)1 << fine);

    za = clip(e.z, 16 * 65536); /* where the function has long reached its ends */
    zb = clip(f.z, 16 * 65536);
    pull = (3 * scale * (e.f + f.f - VGM_TOTAL)) >> 20;
    da = (e.f * (VGM_TOTAL - e.f)) >> 20;
    db = (f.f * (VGM_TOTAL - f.f)) >> 20;
    widen = limited(floor_div(za * da - zb * db, f.f - e.f > 1 ? f.f - e.f : 1), -65536, 3 * 65536);
    rate = d->tables->rates[model->seen < 256 ? model->seen : 256];
    model->seen++;
    model->a[0] += (pull * rate) >> 16;
    for (int k = 1; k < nx; k++)
        model->a[k] += (pull * x[k]) >> 19;
    model->b[0] += (widen * rate) >> 16;
    for (int k = 1; k < ny; k++)
        model->b[k] += (widen * y[k]) >> 20;
    return q;
}

static int decode_sign(decoder *d, const int64_t x[3])
{
    int64_t z = 0, p, e;
    int bit;
    for (int k = 0; k < 3; k++)
        z += d->sign[k] * x[k];
    p = limited(logistic(z >> 12) >> 4, 256, 65280);
    bit = vgm_decode_bit(&d->code, (uint32_t)p);
    e = bit * 65536 - p;
    for (int k = 0; k < 3; k++)
        d->sign[k] += (e * x[k]) >> 17;
    return bit;
}

static int64_t decode_amplitude(decoder *d, int64_t j)
{
    int context = j < 3 ? (int)j : 3, shift = (int)j - context, node = 1;
    int64_t t;
    for (int k = 0; k < 5; k++)
        node = 2 * node + vgm_decode_learned(&d->code, &d->amplitudes[context][node]);
    t = node - 32;
    if (t == 31)
        t += vgm_decode_excess(&d->code);
    if (t >> (53 - shift))
        return 0;
    return t * ((int64_t)1 << shift) + vgm_decode_uniform(&d->code, (int64_t)1 << shift);
}

/* Section 6: the factor and the lattice's vectors; 0 where a symbol is out of range. */
static int shape_geometry(const vgm_lattice_tables *tables, const int64_t log[3], const int64_t skew[3], int64_t step, int64_t factor[6], int64_t basis[6])
{
    for (int a = 0; a < 3; a++) {
        if (log[a] < -5 * 65536 || log[a] > 10 * 65536 || skew[a] < -64 * 65536 || skew[a] > 64 * 65536)
            return 0;
        factor[a] = power_of(tables, log[a]) >> 14;
    }
    factor[3] = (skew[0] * factor[1] + 32768) >> 16;
    factor[4] = (skew[1] * factor[2] + 32768) >> 16;
    factor[5] = (skew[2] * factor[2] + 32768) >> 16;
    for (int a = 0; a < 6; a++)
        basis[a] = (factor[a] * step + 32768) >> 16;
    for (int a = 0; a < 3; a++)
        if (basis[a] < 1)
            basis[a] = 1;
    return 1;
}

static int decode_centre(decoder *d, const int64_t basis[6], const int32_t c[6], int64_t centre[3])
{
    int64_t n[3];
    for (int a = 0; a < 3; a++) {
        int64_t offset = 0, side = basis[a], odd = 0, first, count, m;
        if (a == 1) {
            offset = n[0] * basis[3];
            if (offset > FARTHEST || offset < -FARTHEST)
                return 0;
        } else if (a == 2) {
            odd = (n[0] + n[1]) & 1;
            offset = n[0] * basis[4] + n[1] * basis[5] + odd * basis[2];
            side = 2 * basis[2];
        }
        first = ceil_div(c[a] - offset, side);
        count = ceil_div(c[3 + a] - offset, side) - first;
        if (count <= 0)
            return 0;
        m = first + vgm_decode_uniform(&d->code, count);
        n[a] = m;
        centre[a] = offset + m * side;
    }
    return 1;
}

/* Running means that outlive a primitive, in 2^-16. */
typedef struct {
    int64_t class_, sign, log[3], skew[3], size[3];
} of_late;

static void follow(int64_t *mean, int64_t value)
{
    *mean += (value - *mean) >> 2;
}

/* Section 5, for one primitive; 0 where it cannot be. */
static int decode_primitive(decoder *d, of_late *late, const int32_t c[6], vgm_lattice_batch *batch, int lane)
{
    int64_t extent = 0, room, strength, sign, j, k, x[8], y[8], log[3], skew[3], size[3], q, sum = 0, factor[6], basis[6], centre[3];
    for (int a = 0; a < 3; a++)
        extent += log2_fixed((int64_t)c[3 + a] - c[a]) - 16 * 65536;
    room = clip((floor_div(extent, 3) >> 4) - 6554, WIDE);
    x[0] = y[0] = ONE;
    x[1] = room;
    x[2] = clip((late->class_ >> 4) - 10240, WIDE);
    j = decode_number(d, &d->numbers[0], x, 3, y, 1, 65536, 32768);
    if (j < 0 || j > MAX_CLASS)
        return 0;
    follow(&late->class_, j * 65536);
    strength = clip(j * 4096 / 3 - 3277, WIDE);
    x[1] = strength;
    x[2] = late->sign >> 4;
    sign = decode_sign(d, x) ? 1 : -1;
    follow(&late->sign, sign * 65536);
    k = decode_amplitude(d, j);
    if (k < 1)
        return 0;

    for (int a = 0; a < 3; a++) {
        int64_t step = d->steps[j][0];
        x[1] = strength;
        x[2] = room;
        x[3] = clip((late->log[a] >> 4) - 2048, WIDE);
        x[4] = sign * ONE;
        for (int b = 0; b < a; b++)
            x[5 + b] = clip((log[b] >> 4) - 2048, WIDE);
        y[1] = strength;
        y[2] = room;
        q = decode_number(d, &d->numbers[1 + a], x, 5 + a, y, 3, step, step >> 1);
        sum += q;
        log[a] = q * step;
        follow(&late->log[a], clip(log[a], 16 * 65536));
    }
    for (int i = 0; i < 3; i++) {
        int64_t step = d->steps[j][1], row = i == 0 ? 1 : 2, column = i == 2 ? 1 : 0;
        x[1] = late->skew[i] >> 4;
        y[1] = strength;
        y[2] = clip((log[column] - log[row]) >> 4, WIDE);
        y[3] = clip((log[column] >> 4) - 2048, WIDE);
        y[4] = room;
        y[5] = (late->size[i] >> 4) + 2048;
        for (int h = 0; h < i; h++)
            y[6 + h] = (size[h] >> 4) + 2048;
        if (i < 2) {
            q = decode_number(d, &d->numbers[4 + i], x, 2, y, 6 + i, step, step >> 1);
            sum += q;
        } else {
            int64_t odd = sum & 1;
            x[2] = (clip(skew[0], 98304) * clip(skew[1], 131072)) >> 20;
            q = 2 * decode_number(d, &d->numbers[6], x, 3, y, 8, 2 * step, (1 - odd) * step) + odd;
        }
        skew[i] = q * step;
        size[i] = clip(log2_fixed((skew[i] < 0 ? -skew[i] : skew[i]) + 16384) - 16 * 65536, 131072);
        follow(&late->skew[i], clip(skew[i], 131072));
        follow(&late->size[i], size[i]);
    }
    if (!shape_geometry(d->tables, log, skew, d->steps[j][2], factor, basis) || !decode_centre(d, basis, c, centre))
        return 0;
    for (int a = 0; a < 6; a++)
        batch->factor[a][lane] = factor[a];
    for (int a = 0; a < 3; a++)
        batch->centre[a][lane] = centre[a];
    batch->amplitude[lane] = sign * k;
    return 1;
}

static vgm_status read_parameters(decoder *d, const vgm_payload *p, vgm_error *error)
{
    int dc_code;
    int64_t e;
    if (p->shared_length != 5)
        return vgm_fail(error, VGM_DAMAGED, "%s: lattice parameters of %llu bytes, expected 5", p->where,
                        (unsigned long long)p->shared_length);
    dc_code = p->shared[0] | p->shared[1] << 8;
    dc_code -= dc_code >= 32768 ? 65536 : 0;
    if (dc_code < -7680 || dc_code > 7680)
        return vgm_fail(error, VGM_DAMAGED, "%s: lattice parameters: amplitude step 2^(%d/256) is out of range", p->where, dc_code);
    e = (int64_t)dc_code * 256;
    d->dc = (double)exp2_fixed(e & 65535);
    for (int64_t w = (e >> 16) - 30; w != 0; w += w < 0 ? 1 : -1)
        d->dc *= w < 0 ? 0.5 : 2.0;
    for (int j = 0; j <= MAX_CLASS; j++)
        for (int k = 0; k < 3; k++) {
            int64_t power = ((int64_t)p->shared[2 + k] - 128) * 2048 - j * 65536, step;
            step = exp2_fixed(power < -20 * 65536 ? -20 * 65536 : power) >> 14;
            d->steps[j][k] = step < 1 ? 1 : step;
        }
    return VGM_OK;
}

static void fresh_models(decoder *d)
{
    for (int b = 0; b < 4; b++)
        for (int s = 0; s < SPLITS; s++)
            d->mixture[b][s] = 13107;
    for (int n = 0; n < 7; n++) {
        for (int k = 0; k < 8; k++) {
            d->numbers[n].a[k] = WEIGHTS[n][0][k];
            d->numbers[n].b[k] = WEIGHTS[n][1][k];
        }
        d->numbers[n].seen = 0;
    }
    d->sign[0] = d->sign[2] = 0;
    d->sign[1] = 19661;
    for (int c = 0; c < 4; c++)
        for (int k = 0; k < 32; k++) {
            d->amplitudes[c][k].p = (uint16_t)(AMPLITUDES[c][k] * 256);
            d->amplitudes[c][k].n = 10;
        }
}

static vgm_status decode_chunk(decoder *d, const vgm_payload *p, uint8_t *records, int32_t (*cells)[6], vgm_error *error)
{
    of_late late = {163840, 0, {32768, 32768, 32768}, {0, 0, 0}, {-32768, -32768, -32768}};
    vgm_lattice_batch batch;
    int64_t half[3], margins[6];
    if (!vgm_decoder_start(&d->code, p->payload, p->length))
        return vgm_fail(error, VGM_DAMAGED, "%s: its first bytes are not a range code", p->where);
    for (int a = 0; a < 6; a++) {
        margins[a] = vgm_decode_excess(&d->code);
        if (margins[a] > MAX_MARGIN)
            return vgm_fail(error, VGM_DAMAGED, "%s: centres %lld voxels outside of the brick", p->where, (long long)margins[a]);
    }
    for (int a = 0; a < 3; a++)
        half[a] = (int64_t)p->brick_shape[a] * 32768;
    if (!decode_cells(d, half, margins, (int64_t)p->count, cells))
        return vgm_fail(error, VGM_DAMAGED, "%s: the cells of its primitives cannot be: the payload is damaged", p->where);
    for (uint64_t first = 0; first < p->count; first += VGM_BATCH) {
        int bad;
        batch.filled = 0;
        for (uint64_t i = first; i < p->count && i < first + VGM_BATCH; i++, batch.filled++)
            if (!decode_primitive(d, &late, cells[i], &batch, batch.filled) || vgm_decoder_ran_out(&d->code))
                return vgm_fail(error, VGM_DAMAGED, "%s: primitive %llu of %llu cannot be: the payload is damaged", p->where,
                                (unsigned long long)i, (unsigned long long)p->count);
        bad = vgm_lattice_records(&batch, d->dc, records + first * VGM_RECORD_BYTES);
        if (bad >= 0)
            return vgm_fail(error, VGM_DAMAGED, "%s: primitive %llu is too large for binary16", p->where,
                            (unsigned long long)first + (unsigned)bad);
    }
    if (!vgm_decoder_ended(&d->code))
        return vgm_fail(error, VGM_DAMAGED, "%s: its code ends where the payload does not", p->where);
    return VGM_OK;
}

vgm_status vgm_decode_lattice(const vgm_payload *p, uint8_t *records, const vgm_allocator *allocator, vgm_error *error)
{
    decoder *d;
    int32_t(*cells)[6];
    vgm_status status;
    if (p->count > 1 << 20 || p->count > 8 * (uint64_t)p->length)
        return vgm_fail(error, VGM_DAMAGED, "%s: %llu primitives cannot be in %llu bytes", p->where, (unsigned long long)p->count,
                        (unsigned long long)p->length);
    for (int a = 0; a < 3; a++)
        if (p->brick_shape[a] < 1 || p->brick_shape[a] > MAX_BRICK)
            return vgm_fail(error, VGM_DAMAGED, "%s: expected a brick of sides 1..%d, got %llu", p->where, MAX_BRICK,
                            (unsigned long long)p->brick_shape[a]);
    d = vgm_take(allocator, 1, sizeof *d, error);
    cells = vgm_take(allocator, (size_t)p->count, sizeof *cells, error);
    status = d == NULL || cells == NULL ? VGM_MEMORY : read_parameters(d, p, error);
    if (status == VGM_OK) {
        d->tables = p->tables;
        fresh_models(d);
        status = decode_chunk(d, p, records, cells, error);
    }
    vgm_give(allocator, cells);
    vgm_give(allocator, d);
    return status;
}
