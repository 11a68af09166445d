/* The models of the lattice coding, which reading and writing have in common (vgm-1-lattice.md). Names are those of the text. */
#ifndef VGM_LATTICE_MODEL_H
#define VGM_LATTICE_MODEL_H

#include "codings.h"
#include "lattice_numbers.h"
#include "range_code.h"

enum { MAX_MARGIN = 16384, MAX_CLASS = 40, CELL_FLOOR = 32768, SPLITS = 5, TABLED = 255, ONE = 4096, TABLED_BITS = 12, FEATURES = 8 };
#define FARTHEST ((int64_t)1 << 34)
#define WIDE (4 * ONE)

struct vgm_lattice_tables {
    int32_t below[TABLED + 1][TABLED + 2][8]; /* C[s][n][k] of section 4.4 as [n][k][s] */
    uint32_t powers[1 << TABLED_BITS];        /* what exp2 of the highest bits of a fraction of 16 is */
    int32_t z[256];                           /* where the logistic function is about (k + 1/2) / 256 */
    int32_t rates[257];                       /* of a number seen so often */
};

typedef struct {
    int64_t a[FEATURES], b[FEATURES];
    int64_t seen;
} number_model;

typedef struct {
    int64_t mixture[4][SPLITS];
    number_model numbers[7]; /* class; log z, y, x; skew yz, xz, xy */
    int64_t sign[3];
    vgm_bit_model amplitudes[4][32];
} lattice_models;

void vgm_fresh_lattice_models(lattice_models *m);

/* exp2_fixed, with its first factors looked up; where a bit is not set, the factor is 1, which takes less time than to leave it out. */
static inline int64_t power_of(const vgm_lattice_tables *tables, int64_t e)
{
    int64_t r = tables->powers[(e & 65535) >> (16 - TABLED_BITS)], w = e >> 16;
    for (int b = 15 - TABLED_BITS; b >= 0; b--)
        r = (r * (e >> b & 1 ? EXP2[b] : 1 << 30) + (1 << 29)) >> 30;
    return w >= 0 ? r << w : r >> -w;
}

/* --- Cells: sections 4.2 and 4.4 */

typedef struct {
    int64_t low[3], high[3];
    int64_t first, n;
} box;

static inline box domain_of(const int64_t half[3], const int64_t margins[6], int64_t count)
{
    box b;
    for (int a = 0; a < 3; a++) {
        b.low[a] = -half[a] - margins[a] * 65536;
        b.high[a] = half[a] + margins[3 + a] * 65536;
    }
    b.first = 0;
    b.n = count;
    return b;
}

/* The part of the box beyond the wall of a side, which holds the `outside` first or last; the box loses it. */
static inline box cut_margin(box *b, int side, int64_t wall, int64_t outside)
{
    int axis = side % 3;
    box part = *b;
    part.n = outside;
    if (side < 3) {
        part.high[axis] = wall;
        b->first += outside;
        b->low[axis] = wall;
    } else {
        part.first = b->first + b->n - outside;
        part.low[axis] = wall;
        b->high[axis] = wall;
    }
    b->n -= outside;
    return part;
}

static inline int longest_axis(const box *b)
{
    int axis = 0;
    if (b->high[1] - b->low[1] > b->high[0] - b->low[0])
        axis = 1;
    if (b->high[2] - b->low[2] > b->high[axis] - b->low[axis])
        axis = 2;
    return axis;
}

/* Put both halves of a box, the first of which holds `left`, where the first is taken next. */
static inline void push_halves(box *stack, int *depth, const box *b, int axis, int64_t middle, int64_t left)
{
    box *half = stack + *depth;
    half[0] = half[1] = *b;
    half[0].low[axis] = middle;
    half[0].first = b->first + left;
    half[0].n = b->n - left;
    half[1].high[axis] = middle;
    half[1].n = left;
    *depth += 2;
}

static inline int64_t *mixture_for(lattice_models *m, int64_t n)
{
    return m->mixture[n < 4 ? 0 : n < 8 ? 1 : n < 32 ? 2 : 3];
}

static inline int64_t mixed(const int64_t m[SPLITS], const int32_t below[8])
{
    int64_t sum = 0;
    for (int s = 0; s < SPLITS; s++)
        sum += m[s] * below[s];
    return sum;
}

static inline int64_t mixture_total(const int64_t m[SPLITS])
{
    int64_t M = 0;
    for (int s = 0; s < SPLITS; s++)
        M += m[s];
    return M;
}

static inline void learn_split(int64_t m[SPLITS], const int32_t low[8], const int32_t high[8])
{
    int64_t g[SPLITS], G = 0;
    for (int s = 0; s < SPLITS; s++) {
        g[s] = m[s] * (high[s] - low[s]);
        G += g[s];
    }
    for (int s = 0; s < SPLITS; s++) {
        int64_t weight = g[s] * 65536 / G;
        m[s] = weight < 512 ? 512 : weight;
    }
}

/* --- Numbers with a predicted distribution: section 3.3 */

/* What a number is predicted from, and what a step of it is. */
typedef struct {
    int64_t x[FEATURES], y[FEATURES]; /* of the mean and of the spread */
    int nx, ny;
    int64_t step, start;
} number_context;

typedef struct {
    int64_t mean, scale, inverse, width, start, first, last, room;
    int fine;
} bins;

static inline bins predicted(const vgm_lattice_tables *tables, const number_model *model, const number_context *c)
{
    bins b;
    int64_t spread = 0, reach;
    b.mean = 0;
    for (int k = 0; k < c->nx; k++)
        b.mean += model->a[k] * c->x[k];
    b.mean = clip(b.mean >> 12, 64 * 65536);
    for (int k = 0; k < c->ny; k++)
        spread += model->b[k] * c->y[k];
    spread = limited(spread >> 12, -9 * 65536, 5 * 65536);
    b.scale = power_of(tables, spread) >> 14;
    b.inverse = ((int64_t)1 << 40) / b.scale;
    b.fine = 0;
    while (c->step << (b.fine + 4) < b.scale)
        b.fine++;
    b.width = c->step << b.fine;
    b.start = c->start;
    reach = 12 * b.scale / b.width + 2;
    b.first = floor_div(b.mean + c->start, b.width) - reach;
    b.last = b.first + 2 * reach;
    b.room = 2 * reach + 3;
    return b;
}

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

/* Learn from a number in the bin between two edges. */
static inline void learn_number(const vgm_lattice_tables *tables, number_model *model, const number_context *c, const bins *b,
                                const edge *e, const edge *f)
{
    int64_t za = clip(e->z, 16 * 65536), zb = clip(f->z, 16 * 65536); /* where the function has long reached its ends */
    int64_t pull = (3 * b->scale * (e->f + f->f - VGM_TOTAL)) >> 20;
    int64_t da = (e->f * (VGM_TOTAL - e->f)) >> 20, db = (f->f * (VGM_TOTAL - f->f)) >> 20;
    int64_t widen = limited(floor_div(za * da - zb * db, f->f - e->f > 1 ? f->f - e->f : 1), -65536, 3 * 65536);
    int64_t rate = tables->rates[model->seen < 256 ? model->seen : 256];
    model->seen++;
    model->a[0] += (pull * rate) >> 16;
    for (int k = 1; k < c->nx; k++)
        model->a[k] += (pull * c->x[k]) >> 19;
    model->b[0] += (widen * rate) >> 16;
    for (int k = 1; k < c->ny; k++)
        model->b[k] += (widen * c->y[k]) >> 20;
}

/* --- Signs: section 3.4 */

static inline int64_t sign_probability(const int64_t model[3], const int64_t x[3])
{
    int64_t z = 0;
    for (int k = 0; k < 3; k++)
        z += model[k] * x[k];
    return limited(logistic(z >> 12) >> 4, 256, 65280);
}

static inline void learn_sign(int64_t model[3], const int64_t x[3], int64_t p, int bit)
{
    for (int k = 0; k < 3; k++)
        model[k] += ((bit * 65536 - p) * x[k]) >> 17;
}

/* --- Primitives: section 5 */

/* Running means that outlive a primitive, in 2^-16. */
typedef struct {
    int64_t class_, sign, log[3], skew[3], size[3];
} of_late;

static const of_late LATE_AT_FIRST = {163840, 0, {32768, 32768, 32768}, {0, 0, 0}, {-32768, -32768, -32768}};

static inline void follow(int64_t *mean, int64_t value)
{
    *mean += (value - *mean) >> 2;
}

/* What is known of a primitive while its symbols come one by one. */
typedef struct {
    int64_t room, strength, sign, log[3], skew[3], size[3];
    int64_t sum; /* of the symbols of its shape */
} primitive;

static inline void start_primitive(primitive *p, number_context *c, const of_late *late, const int32_t cell[6])
{
    int64_t extent = 0;
    for (int a = 0; a < 3; a++)
        extent += log2_fixed((int64_t)cell[3 + a] - cell[a]) - 16 * 65536;
    p->room = clip((floor_div(extent, 3) >> 4) - 6554, WIDE);
    p->sum = 0;
    c->x[0] = c->y[0] = ONE;
    c->x[1] = p->room;
    c->x[2] = clip((late->class_ >> 4) - 10240, WIDE);
    c->nx = 3;
    c->ny = 1;
    c->step = 65536;
    c->start = 32768;
}

static inline void sign_features(primitive *p, int64_t x[3], of_late *late, int64_t j)
{
    follow(&late->class_, j * 65536);
    p->strength = clip(j * 4096 / 3 - 3277, WIDE);
    x[0] = ONE;
    x[1] = p->strength;
    x[2] = late->sign >> 4;
}

static inline void log_context(const primitive *p, number_context *c, const of_late *late, int a, int64_t step)
{
    c->x[1] = p->strength;
    c->x[2] = p->room;
    c->x[3] = clip((late->log[a] >> 4) - 2048, WIDE);
    c->x[4] = p->sign * ONE;
    for (int b = 0; b < a; b++)
        c->x[5 + b] = clip((p->log[b] >> 4) - 2048, WIDE);
    c->y[1] = p->strength;
    c->y[2] = p->room;
    c->nx = 5 + a;
    c->ny = 3;
    c->step = step;
    c->start = step >> 1;
}

static inline void take_log(primitive *p, of_late *late, int a, int64_t q, int64_t step)
{
    p->sum += q;
    p->log[a] = q * step;
    follow(&late->log[a], clip(p->log[a], 16 * 65536));
}

/* Of the last of the shape's symbols only half is coded: the six sum to an even number. */
static inline void skew_context(const primitive *p, number_context *c, const of_late *late, int i, int64_t step)
{
    int row = i == 0 ? 1 : 2, column = i == 2 ? 1 : 0;
    c->x[1] = late->skew[i] >> 4;
    c->y[1] = p->strength;
    c->y[2] = clip((p->log[column] - p->log[row]) >> 4, WIDE);
    c->y[3] = clip((p->log[column] >> 4) - 2048, WIDE);
    c->y[4] = p->room;
    c->y[5] = (late->size[i] >> 4) + 2048;
    for (int h = 0; h < i; h++)
        c->y[6 + h] = (p->size[h] >> 4) + 2048;
    c->nx = 2;
    c->ny = 6 + i;
    c->step = step;
    c->start = step >> 1;
    if (i == 2) {
        c->x[2] = (clip(p->skew[0], 98304) * clip(p->skew[1], 131072)) >> 20;
        c->nx = 3;
        c->step = 2 * step;
        c->start = (1 - (p->sum & 1)) * step;
    }
}

static inline void take_skew(primitive *p, of_late *late, int i, int64_t q, int64_t step)
{
    p->sum += q;
    p->skew[i] = q * step;
    p->size[i] = clip(log2_fixed((p->skew[i] < 0 ? -p->skew[i] : p->skew[i]) + 16384) - 16 * 65536, 131072);
    follow(&late->skew[i], clip(p->skew[i], 131072));
    follow(&late->size[i], p->size[i]);
}

/* Section 6: the factor and the lattice's vectors; 0 where a symbol is out of range. */
static inline int shape_geometry(const vgm_lattice_tables *tables, const int64_t log[3], const int64_t skew[3], int64_t step, int64_t factor[6],
                                 int64_t basis[6])
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

/* Where the lattice's points of one axis are: at `offset` + m `side` for whole m. */
typedef struct {
    int64_t offset, side, odd;
    int64_t first, count; /* the m inside of the cell */
} lattice_row;

/* The row along axis `a` that the coordinates before it lead to; 0 where none of it can be in the cell. */
static inline int find_row(lattice_row *r, const int64_t basis[6], const int32_t cell[6], const int64_t n[3], int a)
{
    r->offset = 0;
    r->side = basis[a];
    r->odd = 0;
    if (a == 1) {
        r->offset = n[0] * basis[3];
        if (r->offset > FARTHEST || r->offset < -FARTHEST)
            return 0;
    } else if (a == 2) {
        r->odd = (n[0] + n[1]) & 1;
        r->offset = n[0] * basis[4] + n[1] * basis[5] + r->odd * basis[2];
        r->side = 2 * basis[2];
    }
    r->first = ceil_div(cell[a] - r->offset, r->side);
    r->count = ceil_div(cell[3 + a] - r->offset, r->side) - r->first;
    return r->count > 0;
}

#endif
