/* The lattice coding (vgm-1-lattice.md). Names are those of the text. */
#include "lattice_model.h"
#include "lattice_record.h"
#include "range_decoder.h"

enum { MAX_BRICK = 16384 };

typedef struct {
    vgm_decoder code;
    const vgm_lattice_tables *tables;
    int64_t steps[MAX_CLASS + 1][3]; /* log, skew, position */
    double dc;
    lattice_models models;
} decoder;

static int64_t decode_split(decoder *d, int64_t n)
{
    int64_t *m, M, target, bound, low = 0, high = n;
    const int32_t(*below)[8];
    if (n > TABLED)
        return vgm_decode_uniform(&d->code, n + 1);
    m = mixture_for(&d->models, n);
    below = d->tables->below[n];
    M = mixture_total(m);
    target = vgm_decode_target(&d->code);
    bound = (target + 1) * M; /* mixed(k) <= target where the sum is below it */
    while (low < high) {
        int64_t middle = (low + high + 1) >> 1;
        if (mixed(m, below[middle]) < bound)
            low = middle;
        else
            high = middle - 1;
    }
    vgm_take_part(&d->code, mixed(m, below[low]) / M, mixed(m, below[low + 1]) / M);
    learn_split(m, below[low], below[low + 1]);
    return low;
}

/* Section 4.2: the cell of each primitive, in the order they are coded in; 0 where the counts cannot be. */
static int decode_cells(decoder *d, const int64_t half[3], const int64_t margins[6], int64_t count, int32_t (*cells)[6])
{
    box stack[256], b = domain_of(half, margins, count);
    int depth = 0;
    for (int side = 0; side < 6; side++) {
        int64_t outside;
        if (margins[side] == 0)
            continue;
        outside = vgm_decode_excess(&d->code);
        if (outside > b.n)
            return 0;
        stack[depth++] = cut_margin(&b, side, side < 3 ? -half[side] : half[side - 3], outside);
    }
    stack[depth++] = b;
    while (depth > 0) {
        int axis;
        int64_t side, left;
        b = stack[--depth];
        if (b.n == 0)
            continue;
        axis = longest_axis(&b);
        side = b.high[axis] - b.low[axis];
        if (b.n == 1 || side <= CELL_FLOOR) {
            for (int64_t i = b.first; i < b.first + b.n; i++)
                for (int a = 0; a < 3; a++) {
                    cells[i][a] = (int32_t)b.low[a];
                    cells[i][3 + a] = (int32_t)b.high[a];
                }
            continue;
        }
        left = decode_split(d, b.n);
        if (vgm_decoder_ran_out(&d->code))
            return 0;
        push_halves(stack, &depth, &b, axis, b.low[axis] + (side >> 1), left);
    }
    return 1;
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
static int64_t find_bin(const bins *b, int64_t guess, int64_t target, edge *start, edge *end)
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
        i = bisect(b, guess + 1, b->last + 1, target);
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
static int64_t decode_number(decoder *d, int kind, const number_context *c)
{
    number_model *model = &d->models.numbers[kind];
    bins b = predicted(d->tables, model, c);
    int64_t target = vgm_decode_target(&d->code), i, h;
    edge e, f;
    /* near where the logistic function alone would put it */
    i = limited(floor_div(((d->tables->z[target >> 12] * b.scale) >> 16) + b.mean + b.start, b.width), b.first, b.last);
    i = find_bin(&b, i, target, &e, &f);
    vgm_take_part(&d->code, i < b.first ? 0 : e.below, i > b.last ? VGM_TOTAL : f.below);
    h = i;
    if (i < b.first)
        h -= vgm_decode_excess(&d->code);
    else if (i > b.last)
        h += vgm_decode_excess(&d->code);
    learn_number(d->tables, model, c, &b, &e, &f);
    return h * ((int64_t)1 << b.fine) + vgm_decode_uniform(&d->code, (int64_t)1 << b.fine);
}

static int decode_sign(decoder *d, const int64_t x[3])
{
    int64_t p = sign_probability(d->models.sign, x);
    int bit = vgm_decode_bit(&d->code, (uint32_t)p);
    learn_sign(d->models.sign, x, p, bit);
    return bit;
}

static int64_t decode_amplitude(decoder *d, int64_t j)
{
    int context = j < 3 ? (int)j : 3, shift = (int)j - context, node = 1;
    int64_t t;
    for (int k = 0; k < 5; k++)
        node = 2 * node + vgm_decode_learned(&d->code, &d->models.amplitudes[context][node]);
    t = node - 32;
    if (t == 31)
        t += vgm_decode_excess(&d->code);
    if (t >> (53 - shift))
        return 0;
    return t * ((int64_t)1 << shift) + vgm_decode_uniform(&d->code, (int64_t)1 << shift);
}

static int decode_centre(decoder *d, const int64_t basis[6], const int32_t cell[6], int64_t centre[3])
{
    int64_t n[3];
    for (int a = 0; a < 3; a++) {
        lattice_row r;
        if (!find_row(&r, basis, cell, n, a))
            return 0;
        n[a] = r.first + vgm_decode_uniform(&d->code, r.count);
        centre[a] = r.offset + n[a] * r.side;
    }
    return 1;
}

/* Section 5, for one primitive; 0 where it cannot be. */
static int decode_primitive(decoder *d, of_late *late, const int32_t cell[6], vgm_lattice_batch *batch, int lane)
{
    primitive p;
    number_context c;
    int64_t j, k, x[3], factor[6], basis[6], centre[3];
    start_primitive(&p, &c, late, cell);
    j = decode_number(d, 0, &c);
    if (j < 0 || j > MAX_CLASS)
        return 0;
    sign_features(&p, x, late, j);
    p.sign = decode_sign(d, x) ? 1 : -1;
    follow(&late->sign, p.sign * 65536);
    k = decode_amplitude(d, j);
    if (k < 1)
        return 0;
    for (int a = 0; a < 3; a++) {
        log_context(&p, &c, late, a, d->steps[j][0]);
        take_log(&p, late, a, decode_number(d, 1 + a, &c), d->steps[j][0]);
    }
    for (int i = 0; i < 3; i++) {
        int64_t q;
        skew_context(&p, &c, late, i, d->steps[j][1]);
        q = decode_number(d, 4 + i, &c);
        take_skew(&p, late, i, i < 2 ? q : 2 * q + (p.sum & 1), d->steps[j][1]);
    }
    if (!shape_geometry(d->tables, p.log, p.skew, d->steps[j][2], factor, basis) || !decode_centre(d, basis, cell, centre))
        return 0;
    for (int a = 0; a < 6; a++)
        batch->factor[a][lane] = factor[a];
    for (int a = 0; a < 3; a++)
        batch->centre[a][lane] = centre[a];
    batch->amplitude[lane] = p.sign * k;
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

static vgm_status decode_chunk(decoder *d, const vgm_payload *p, uint8_t *records, int32_t (*cells)[6], vgm_error *error)
{
    of_late late = LATE_AT_FIRST;
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
        vgm_fresh_lattice_models(&d->models);
        status = decode_chunk(d, p, records, cells, error);
    }
    vgm_give(allocator, cells);
    vgm_give(allocator, d);
    return status;
}
