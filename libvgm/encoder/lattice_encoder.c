#include "lattice_encoder.h"

#include <stdlib.h>

#include "../src/lattice_model.h"
#include "../src/lattice_record.h"

#define LONGEST_EXCESS (((int64_t)1 << 25) - 2)

typedef struct {
    vgm_encoder *code;
    const vgm_lattice_tables *tables;
    lattice_models models;
} encoder;

/* How many of n are in the first half of their cell. */
static void encode_split(encoder *e, int64_t n, int64_t left)
{
    const int32_t(*below)[8];
    int64_t *m, M;
    if (n > TABLED) {
        vgm_encode_uniform(e->code, n + 1, left);
        return;
    }
    below = e->tables->below[n];
    m = mixture_for(&e->models, n);
    M = mixture_total(m);
    vgm_encode_part(e->code, mixed(m, below[left]) / M, mixed(m, below[left + 1]) / M);
    learn_split(m, below[left], below[left + 1]);
}

/* Bring those below `middle` to the front of a box's part of the order; how many they are. */
static int64_t partition(const int64_t *centres, int64_t *order, const box *b, int axis, int64_t middle)
{
    int64_t i = b->first, k = b->first + b->n;
    while (i < k) {
        if (centres[3 * order[i] + axis] < middle) {
            i++;
        } else {
            int64_t t = order[i];
            order[i] = order[--k];
            order[k] = t;
        }
    }
    return k - b->first;
}

/* Counts down a kd tree are the code of Devillers and Gandoin (IEEE Visualization 2000). */
static void encode_cells(encoder *e, const int64_t half[3], const int64_t margins[6], const vgm_lattice_symbols *s, int64_t *order,
                         int32_t (*cells)[6])
{
    box stack[256], b = domain_of(half, margins, s->count);
    int depth = 0;
    for (int side = 0; side < 6; side++) {
        int64_t wall = side < 3 ? -half[side] : half[side - 3], outside;
        if (margins[side] == 0)
            continue;
        outside = partition(s->centres, order, &b, side % 3, wall);
        if (side >= 3)
            outside = b.n - outside;
        vgm_encode_excess(e->code, outside);
        stack[depth++] = cut_margin(&b, side, wall, outside);
    }
    stack[depth++] = b;
    while (depth > 0) {
        int axis;
        int64_t side, middle, left;
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
        middle = b.low[axis] + (side >> 1);
        left = partition(s->centres, order, &b, axis, middle);
        encode_split(e, b.n, left);
        push_halves(stack, &depth, &b, axis, middle, left);
    }
}

static void encode_number(encoder *e, int kind, const number_context *c, int64_t value)
{
    number_model *model = &e->models.numbers[kind];
    bins b = predicted(e->tables, model, c);
    int64_t coarse = value >> b.fine, i = limited(coarse, b.first - 1, b.last + 1);
    edge low = edge_of(&b, i), high = edge_of(&b, i + 1);
    vgm_encode_part(e->code, i < b.first ? 0 : low.below, i > b.last ? VGM_TOTAL : high.below);
    if (i < b.first)
        vgm_encode_excess(e->code, i - coarse);
    else if (i > b.last)
        vgm_encode_excess(e->code, coarse - i);
    vgm_encode_uniform(e->code, (int64_t)1 << b.fine, value & (((int64_t)1 << b.fine) - 1));
    learn_number(e->tables, model, c, &b, &low, &high);
}

static void encode_sign(encoder *e, const int64_t x[3], int bit)
{
    int64_t p = sign_probability(e->models.sign, x);
    vgm_encode_bit(e->code, (uint32_t)p, bit);
    learn_sign(e->models.sign, x, p, bit);
}

/* The magnitude k of an amplitude of class j, near 2^j; 0 where it cannot be. */
static int encode_amplitude(encoder *e, int64_t j, int64_t k)
{
    int context = j < 3 ? (int)j : 3, shift = (int)j - context, node = 1;
    int64_t t = k >> shift, top = t < 31 ? t : 31;
    for (int b = 4; b >= 0; b--) {
        int bit = (int)(top >> b) & 1;
        vgm_encode_learned(e->code, &e->models.amplitudes[context][node], bit);
        node = 2 * node + bit;
    }
    if (top == 31) {
        if (t - 31 > LONGEST_EXCESS)
            return 0;
        vgm_encode_excess(e->code, t - 31);
    }
    if (t >> (53 - shift))
        return 0;
    vgm_encode_uniform(e->code, (int64_t)1 << shift, k & (((int64_t)1 << shift) - 1));
    return k >= 1;
}

static int encode_centre(encoder *e, const int64_t basis[6], const int32_t cell[6], const int64_t n[3])
{
    for (int a = 0; a < 3; a++) {
        lattice_row r;
        if (!find_row(&r, basis, cell, n, a))
            return 0;
        vgm_encode_uniform(e->code, r.count, (a < 2 ? n[a] : (n[a] - r.odd) >> 1) - r.first);
    }
    return 1;
}

/* 0 where the primitive cannot be. */
static int encode_primitive(encoder *e, of_late *late, const int64_t (*steps)[3], const int32_t cell[6], const vgm_lattice_symbols *s,
                            int64_t at)
{
    primitive p;
    number_context c;
    const int64_t *shape = s->shapes + 6 * at;
    int64_t j = s->classes[at], amplitude = s->amplitudes[at], x[3], factor[6], basis[6];
    start_primitive(&p, &c, late, cell);
    encode_number(e, 0, &c, j);
    if (j < 0 || j > MAX_CLASS)
        return 0;
    sign_features(&p, x, late, j);
    encode_sign(e, x, amplitude > 0);
    p.sign = amplitude > 0 ? 1 : -1;
    follow(&late->sign, p.sign * 65536);
    if (!encode_amplitude(e, j, amplitude < 0 ? -amplitude : amplitude))
        return 0;
    for (int a = 0; a < 3; a++) {
        log_context(&p, &c, late, a, steps[j][0]);
        encode_number(e, 1 + a, &c, shape[a]);
        take_log(&p, late, a, shape[a], steps[j][0]);
    }
    for (int i = 0; i < 3; i++) {
        int64_t q = shape[3 + i];
        skew_context(&p, &c, late, i, steps[j][1]);
        encode_number(e, 4 + i, &c, i < 2 ? q : (q - (p.sum & 1)) >> 1);
        take_skew(&p, late, i, q, steps[j][1]);
    }
    return shape_geometry(e->tables, p.log, p.skew, steps[j][2], factor, basis) && encode_centre(e, basis, cell, s->lattice + 3 * at);
}

int64_t vgm_encode_lattice(vgm_encoder *code, const vgm_lattice_tables *tables, const int64_t brick[3], const int64_t margins[6],
                           const int64_t (*steps)[3], const vgm_lattice_symbols *symbols, int64_t *order)
{
    encoder e;
    of_late late = LATE_AT_FIRST;
    int32_t(*cells)[6];
    int64_t half[3], bad = -1;
    e.code = code;
    e.tables = tables;
    vgm_fresh_lattice_models(&e.models);
    for (int64_t i = 0; i < symbols->count; i++)
        order[i] = i;
    for (int a = 0; a < 6; a++) {
        vgm_encode_excess(code, margins[a]);
        if (margins[a] > MAX_MARGIN)
            return 0;
    }
    for (int a = 0; a < 3; a++)
        half[a] = brick[a] * 32768;
    cells = calloc((size_t)(symbols->count > 0 ? symbols->count : 1), sizeof *cells);
    if (cells == NULL) {
        code->failed = 1;
        return -1;
    }
    encode_cells(&e, half, margins, symbols, order, cells);
    for (int64_t i = 0; i < symbols->count && bad < 0; i++)
        if (!encode_primitive(&e, &late, steps, cells[i], symbols, order[i]))
            bad = i;
    free(cells);
    return bad;
}

int64_t vgm_lattice_geometry(const vgm_lattice_tables *tables, const int64_t (*steps)[3], int64_t count, const int64_t *classes,
                             const int64_t *shapes, int64_t *factors, int64_t *bases)
{
    for (int64_t i = 0; i < count; i++) {
        int64_t j = classes[i], log[3], skew[3];
        if (j < 0 || j > MAX_CLASS)
            return i;
        for (int a = 0; a < 3; a++) {
            log[a] = shapes[6 * i + a] * steps[j][0];
            skew[a] = shapes[6 * i + 3 + a] * steps[j][1];
        }
        if (!shape_geometry(tables, log, skew, steps[j][2], factors + 6 * i, bases + 6 * i))
            return i;
    }
    return -1;
}

void vgm_lattice_canonical(int64_t count, const int64_t *factors, const int64_t *centres, const int64_t *amplitudes, double dc,
                           uint8_t *records)
{
    vgm_lattice_batch batch;
    for (int64_t first = 0; first < count; first += VGM_BATCH) {
        batch.filled = count - first < VGM_BATCH ? (int)(count - first) : VGM_BATCH;
        for (int i = 0; i < batch.filled; i++) {
            for (int a = 0; a < 6; a++)
                batch.factor[a][i] = factors[6 * (first + i) + a];
            for (int a = 0; a < 3; a++)
                batch.centre[a][i] = centres[3 * (first + i) + a];
            batch.amplitude[i] = amplitudes[first + i];
        }
        vgm_lattice_records(&batch, dc, records + first * VGM_RECORD_BYTES);
    }
}
