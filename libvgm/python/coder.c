/* volmicro_codec._coder: what the encoder does voxel by voxel and symbol by symbol, on numpy arrays.
 *
 * The interpreter's lock is let go while a function works. Callers are the package's own:
 * kinds and sizes of arrays are checked here, and what would lead out of them. */
#include "arrays.h"

#include <stdlib.h>

#include "../encoder/lattice_encoder.h"
#include "../encoder/peaks.h"
#include "../encoder/point_choice.h"
#include "../encoder/voxels.h"
#include "../src/lattice_numbers.h"
#include "../src/points_model.h"

typedef struct {
    vgm_lattice_tables *tables;
    double *bits; /* of probabilities */
} module_state;

static const vgm_lattice_tables *tables_of(PyObject *module)
{
    module_state *state = PyModule_GetState(module);
    vgm_error error;
    if (state->tables == NULL)
        state->tables = vgm_new_lattice_tables(&vgm_malloc_allocator, &error);
    if (state->tables == NULL)
        PyErr_NoMemory();
    return state->tables;
}

static const double *bits_of(PyObject *module)
{
    module_state *state = PyModule_GetState(module);
    if (state->bits == NULL) {
        state->bits = malloc(VGM_PROBABILITIES * sizeof *state->bits);
        if (state->bits != NULL)
            vgm_fill_bits(state->bits);
    }
    if (state->bits == NULL)
        PyErr_NoMemory();
    return state->bits;
}

static PyObject *code_of(const vgm_encoder *code)
{
    if (code->failed)
        return PyErr_NoMemory();
    return PyBytes_FromStringAndSize((const char *)code->bytes + 1, (Py_ssize_t)code->length - 1);
}

static PyObject *power_of_two(PyObject *module, PyObject *arguments)
{
    long long e;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "L", &e))
        return NULL;
    if (e < -30 * 65536 || e > 30 * 65536)
        return PyErr_Format(PyExc_ValueError, "an exponent of %lld / 65536 is out of range", e);
    return PyLong_FromLongLong(exp2_fixed(e));
}

static PyObject *lattice_geometry(PyObject *module, PyObject *arguments)
{
    PyObject *o[5];
    arrays a = {.taken = 0};
    const vgm_lattice_tables *tables = tables_of(module);
    const Py_buffer *steps, *classes, *shapes, *factors, *bases;
    long long bad = 0;
    int done = 0;
    if (tables == NULL || !PyArg_ParseTuple(arguments, "OOOOO", &o[0], &o[1], &o[2], &o[3], &o[4]))
        return NULL;
    if ((steps = take(&a, o[0], "steps", 'i', 8, 2, WHOLE)) && (classes = take(&a, o[1], "classes", 'i', 8, 1, WHOLE)) &&
        (shapes = take(&a, o[2], "shapes", 'i', 8, 2, WHOLE)) && (factors = take(&a, o[3], "factors", 'i', 8, 2, WHOLE | WRITTEN)) &&
        (bases = take(&a, o[4], "bases", 'i', 8, 2, WHOLE | WRITTEN)) && has_shape(steps, "steps", VGM_LATTICE_CLASSES, 3, 0) &&
        has_shape(shapes, "shapes", classes->shape[0], 6, 0) && has_shape(factors, "factors", classes->shape[0], 6, 0) &&
        has_shape(bases, "bases", classes->shape[0], 6, 0)) {
        Py_BEGIN_ALLOW_THREADS
        bad = vgm_lattice_geometry(tables, steps->buf, classes->shape[0], classes->buf, shapes->buf, factors->buf, bases->buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    release(&a);
    return done ? PyLong_FromLongLong(bad) : NULL;
}

static PyObject *lattice_records(PyObject *module, PyObject *arguments)
{
    PyObject *o[4];
    arrays a = {.taken = 0};
    const Py_buffer *factors, *centres, *amplitudes, *records;
    double dc;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOOdO", &o[0], &o[1], &o[2], &dc, &o[3]))
        return NULL;
    if ((factors = take(&a, o[0], "factors", 'i', 8, 2, WHOLE)) && (centres = take(&a, o[1], "centres", 'i', 8, 2, WHOLE)) &&
        (amplitudes = take(&a, o[2], "amplitudes", 'i', 8, 1, WHOLE)) && (records = take(&a, o[3], "records", 'u', 1, 2, WHOLE | WRITTEN)) &&
        has_shape(factors, "factors", amplitudes->shape[0], 6, 0) && has_shape(centres, "centres", amplitudes->shape[0], 3, 0) &&
        has_shape(records, "records", amplitudes->shape[0], VGM_RECORD_BYTES, 0)) {
        Py_BEGIN_ALLOW_THREADS
        vgm_lattice_canonical(amplitudes->shape[0], factors->buf, centres->buf, amplitudes->buf, dc, records->buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&a, done);
}

static PyObject *encode_lattice(PyObject *module, PyObject *arguments)
{
    PyObject *o[7], *payload = NULL;
    arrays a = {.taken = 0};
    const vgm_lattice_tables *tables = tables_of(module);
    const Py_buffer *steps, *classes, *amplitudes, *shapes, *lattice, *centres, *order;
    long long brick[3], margins[6], bad = 0;
    if (tables == NULL || !PyArg_ParseTuple(arguments, "(LLL)(LLLLLL)OOOOOOO", &brick[0], &brick[1], &brick[2], &margins[0], &margins[1],
                                            &margins[2], &margins[3], &margins[4], &margins[5], &o[0], &o[1], &o[2], &o[3], &o[4], &o[5],
                                            &o[6]))
        return NULL;
    if ((steps = take(&a, o[0], "steps", 'i', 8, 2, WHOLE)) && (classes = take(&a, o[1], "classes", 'i', 8, 1, WHOLE)) &&
        (amplitudes = take(&a, o[2], "amplitudes", 'i', 8, 1, WHOLE)) && (shapes = take(&a, o[3], "shapes", 'i', 8, 2, WHOLE)) &&
        (lattice = take(&a, o[4], "lattice", 'i', 8, 2, WHOLE)) && (centres = take(&a, o[5], "centres", 'i', 8, 2, WHOLE)) &&
        (order = take(&a, o[6], "order", 'i', 8, 1, WHOLE | WRITTEN)) && has_shape(steps, "steps", VGM_LATTICE_CLASSES, 3, 0) &&
        has_shape(amplitudes, "amplitudes", classes->shape[0], 0, 0) && has_shape(shapes, "shapes", classes->shape[0], 6, 0) &&
        has_shape(lattice, "lattice", classes->shape[0], 3, 0) && has_shape(centres, "centres", classes->shape[0], 3, 0) &&
        has_shape(order, "order", classes->shape[0], 0, 0)) {
        vgm_encoder code;
        vgm_lattice_symbols symbols = {classes->shape[0], classes->buf, amplitudes->buf, shapes->buf, lattice->buf, centres->buf};
        int64_t b[3], m[6];
        for (int k = 0; k < 6; k++) {
            b[k % 3] = brick[k % 3];
            m[k] = margins[k];
        }
        Py_BEGIN_ALLOW_THREADS
        vgm_encoder_start(&code);
        bad = vgm_encode_lattice(&code, tables, b, m, steps->buf, &symbols, order->buf);
        vgm_encoder_finish(&code);
        Py_END_ALLOW_THREADS
        payload = code_of(&code);
        vgm_encoder_free(&code);
    }
    release(&a);
    return payload == NULL ? NULL : Py_BuildValue("(NL)", payload, bad);
}

/* Blocks and integers with their borders. */
static int take_points(arrays *a, PyObject *blocks, PyObject *q, int how, vgm_points *points)
{
    const Py_buffer *b = take(a, blocks, "blocks", 'u', 1, 3, WHOLE | how), *i;
    if (b == NULL || (i = take(a, q, "integers", 'i', 4, 3, WHOLE | how)) == NULL)
        return 0;
    for (int k = 0; k < 3; k++) {
        points->nodes[k] = i->shape[k] - (k == 0 ? 1 : 2);
        points->grid[k] = (points->nodes[k] + BLOCK - 1) / BLOCK;
        if (points->nodes[k] < 1) {
            PyErr_SetString(PyExc_ValueError, "integers: expected a node along each axis");
            return 0;
        }
    }
    points->blocks = b->buf;
    points->q = i->buf;
    for (Py_ssize_t k = 0; k < b->len; k++)
        if (points->blocks[k] > 1) {
            PyErr_SetString(PyExc_ValueError, "blocks: expected 0 and 1");
            return 0;
        }
    return has_shape(b, "blocks", points->grid[0] + 2, points->grid[1] + 2, points->grid[2] + 2);
}

static PyObject *encode_points(PyObject *module, PyObject *arguments)
{
    PyObject *o[2], *payload = NULL;
    arrays a = {.taken = 0};
    vgm_points points;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OO", &o[0], &o[1]))
        return NULL;
    if (take_points(&a, o[0], o[1], 0, &points)) {
        vgm_encoder code;
        Py_BEGIN_ALLOW_THREADS
        vgm_encoder_start(&code);
        vgm_encode_points(&code, &points);
        vgm_encoder_finish(&code);
        Py_END_ALLOW_THREADS
        payload = code_of(&code);
        vgm_encoder_free(&code);
    }
    release(&a);
    return payload;
}

/* Residual and weights, with the grid's first voxel and how many nodes of it are inside of them. */
static int take_missing(arrays *a, PyObject *residual, PyObject *weight, int how, const long long lo[3], const int64_t nodes[3],
                        vgm_missing *missing)
{
    const Py_buffer *r = take(a, residual, "residual", 'f', 4, 3, WHOLE | how), *w;
    if (r == NULL || (w = take(a, weight, "weight", 'f', 4, 3, WHOLE)) == NULL || !alike(w, "weight", r))
        return 0;
    for (int k = 0; k < 3; k++) {
        missing->shape[k] = r->shape[k];
        missing->lo[k] = lo[k];
        if (lo[k] < 0 || lo[k] > r->shape[k] || nodes[k] > r->shape[k] - lo[k]) {
            PyErr_Format(PyExc_ValueError, "the grid is outside of the residual along axis %d", k);
            return 0;
        }
    }
    missing->residual = r->buf;
    missing->weight = w->buf;
    return 1;
}

static PyObject *find_blocks(PyObject *module, PyObject *arguments)
{
    PyObject *o[3];
    arrays a = {.taken = 0};
    vgm_missing missing;
    long long lo[3], n[3], plane;
    int64_t nodes[3], grid[3];
    const Py_buffer *blocks;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OO(LLL)(LLL)dddOL", &o[0], &o[1], &lo[0], &lo[1], &lo[2], &n[0], &n[1], &n[2], &missing.inverse,
                          &missing.multiplier, &missing.side, &o[2], &plane))
        return NULL;
    for (int k = 0; k < 3; k++) {
        nodes[k] = n[k];
        grid[k] = (nodes[k] + BLOCK - 1) / BLOCK;
    }
    if (take_missing(&a, o[0], o[1], 0, lo, nodes, &missing) && (blocks = take(&a, o[2], "blocks", 'u', 1, 3, WHOLE | WRITTEN)) &&
        has_shape(blocks, "blocks", grid[0] + 2, grid[1] + 2, grid[2] + 2)) {
        if (plane < 0 || plane >= grid[0]) {
            PyErr_Format(PyExc_ValueError, "plane %lld of blocks: expected 0..%lld", plane, (long long)grid[0] - 1);
        } else {
            Py_BEGIN_ALLOW_THREADS
            vgm_find_blocks(&missing, nodes, grid, blocks->buf, plane);
            Py_END_ALLOW_THREADS
            done = 1;
        }
    }
    return answer(&a, done);
}

static PyObject *sharpen(PyObject *module, PyObject *arguments)
{
    PyObject *o[2];
    arrays a = {.taken = 0};
    const Py_buffer *before, *now;
    float side;
    int sweeps, done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOfi", &o[0], &o[1], &side, &sweeps))
        return NULL;
    if ((before = take(&a, o[0], "before", 'f', 4, 3, WHOLE)) && (now = take(&a, o[1], "now", 'f', 4, 3, WHOLE | WRITTEN)) &&
        alike(now, "now", before)) {
        int64_t shape[3] = {before->shape[0], before->shape[1], before->shape[2]};
        Py_BEGIN_ALLOW_THREADS
        vgm_sharpen(before->buf, now->buf, shape, side, sweeps);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&a, done);
}

static PyObject *choose_points(PyObject *module, PyObject *arguments)
{
    PyObject *o[6];
    arrays a = {.taken = 0};
    vgm_missing missing;
    vgm_points points;
    const Py_buffer *wanted, *spent;
    const double *bits = bits_of(module);
    long long lo[3], border[3], count = 0;
    int done = 0;
    if (bits == NULL || !PyArg_ParseTuple(arguments, "OO(LLL)O(LLL)dddOOO", &o[0], &o[1], &lo[0], &lo[1], &lo[2], &o[2], &border[0],
                                          &border[1], &border[2], &missing.inverse, &missing.multiplier, &missing.side, &o[3], &o[4], &o[5]))
        return NULL;
    if (take_points(&a, o[3], o[4], WRITTEN, &points) && take_missing(&a, o[0], o[1], WRITTEN, lo, points.nodes, &missing) &&
        (wanted = take(&a, o[2], "wanted", 'f', 4, 3, WHOLE)) && (spent = take(&a, o[5], "spent", 'f', 8, 3, WHOLE | WRITTEN)) &&
        has_shape(spent, "spent", points.grid[0] + 2, points.grid[1] + 2, points.grid[2] + 2)) {
        int64_t shape[3], margin[3];
        done = 1;
        for (int k = 0; k < 3; k++) {
            shape[k] = wanted->shape[k];
            margin[k] = border[k];
            if (border[k] < 0 || border[k] > shape[k] || points.nodes[k] > shape[k] - border[k])
                done = 0;
        }
        if (!done) {
            PyErr_SetString(PyExc_ValueError, "wanted: it does not hold the grid and its border");
        } else {
            Py_BEGIN_ALLOW_THREADS
            count = vgm_choose_points(&missing, wanted->buf, shape, margin, bits, &points, spent->buf);
            Py_END_ALLOW_THREADS
        }
    }
    release(&a);
    return done ? PyLong_FromLongLong(count) : NULL;
}

static PyObject *clear_empty_blocks(PyObject *module, PyObject *arguments)
{
    PyObject *o[3];
    arrays a = {.taken = 0};
    vgm_points points;
    const Py_buffer *spent;
    const double *bits = bits_of(module);
    double total = 0.0;
    int done = 0;
    if (bits == NULL || !PyArg_ParseTuple(arguments, "OOO", &o[0], &o[1], &o[2]))
        return NULL;
    if (take_points(&a, o[0], o[1], WRITTEN, &points) && (spent = take(&a, o[2], "spent", 'f', 8, 3, WHOLE)) &&
        has_shape(spent, "spent", points.grid[0] + 2, points.grid[1] + 2, points.grid[2] + 2)) {
        Py_BEGIN_ALLOW_THREADS
        total = vgm_clear_empty_blocks(&points, bits, spent->buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    release(&a);
    return done ? PyFloat_FromDouble(total) : NULL;
}

static PyObject *find_peaks(PyObject *module, PyObject *arguments)
{
    static const char *const names[3] = {"norms of z", "norms of y", "norms of x"};
    PyObject *o[6];
    arrays a = {.taken = 0};
    const Py_buffer *correlation, *places, *gains;
    const double *norms[3];
    double floor;
    long long z0, z1, count = 0;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O(OOO)LLdOO", &o[0], &o[1], &o[2], &o[3], &z0, &z1, &floor, &o[4], &o[5]))
        return NULL;
    correlation = take(&a, o[0], "correlation", 'f', 4, 3, WHOLE);
    done = correlation != NULL;
    for (int k = 0; k < 3 && done; k++) {
        const Py_buffer *norm = take(&a, o[1 + k], names[k], 'f', 8, 1, WHOLE);
        done = norm != NULL && has_shape(norm, names[k], correlation->shape[k], 0, 0);
        if (done)
            norms[k] = norm->buf;
    }
    done = done && (places = take(&a, o[4], "places", 'i', 4, 2, WHOLE | WRITTEN)) && has_shape(places, "places", places->shape[0], 3, 0) &&
           (gains = take(&a, o[5], "gains", 'f', 8, 1, WHOLE | WRITTEN)) && has_shape(gains, "gains", places->shape[0], 0, 0);
    if (done && (z0 < 0 || z1 > correlation->shape[0])) {
        PyErr_Format(PyExc_ValueError, "planes %lld..%lld are not all there", z0, z1);
        done = 0;
    }
    if (done) {
        int64_t shape[3] = {correlation->shape[0], correlation->shape[1], correlation->shape[2]};
        Py_BEGIN_ALLOW_THREADS
        count = vgm_find_peaks(correlation->buf, shape, norms, z0, z1, floor, places->shape[0], places->buf, gains->buf);
        Py_END_ALLOW_THREADS
    }
    release(&a);
    return done ? PyLong_FromLongLong(count) : NULL;
}

static PyObject *uncovered(PyObject *module, PyObject *arguments)
{
    PyObject *o[5];
    arrays a = {.taken = 0};
    const Py_buffer *centres, *sigmas, *order, *taken, *kept;
    double step[3], reach;
    long long count = 0;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOO(ddd)dOO", &o[0], &o[1], &o[2], &step[0], &step[1], &step[2], &reach, &o[3], &o[4]))
        return NULL;
    if ((centres = take(&a, o[0], "centres", 'f', 8, 2, WHOLE)) && has_shape(centres, "centres", centres->shape[0], 3, 0) &&
        (sigmas = take(&a, o[1], "sigmas", 'f', 8, 2, WHOLE)) && has_shape(sigmas, "sigmas", centres->shape[0], 3, 0) &&
        (order = take(&a, o[2], "order", 'i', 8, 1, WHOLE)) && (taken = take(&a, o[3], "taken", 'u', 1, 3, WHOLE | WRITTEN)) &&
        (kept = take(&a, o[4], "kept", 'i', 8, 1, WHOLE | WRITTEN))) {
        int64_t cells[3] = {taken->shape[0], taken->shape[1], taken->shape[2]};
        const int64_t *which = order->buf;
        done = cells[0] > 0 && cells[1] > 0 && cells[2] > 0;
        for (Py_ssize_t k = 0; k < order->shape[0] && done; k++)
            done = which[k] >= 0 && which[k] < centres->shape[0];
        if (!done) {
            PyErr_SetString(PyExc_ValueError, "expected an order of the centres given, and cells");
        } else {
            Py_BEGIN_ALLOW_THREADS
            count = vgm_uncovered(centres->buf, sigmas->buf, which, order->shape[0], kept->shape[0], step, reach, taken->buf, cells, kept->buf);
            Py_END_ALLOW_THREADS
            if (count < 0) {
                PyErr_NoMemory();
                done = 0;
            }
        }
    }
    release(&a);
    return done ? PyLong_FromLongLong(count) : NULL;
}

static int take_field(arrays *a, PyObject *given, const char *name, int how, vgm_field *field, const vgm_field *like)
{
    const Py_buffer *v = take(a, given, name, 'f', 4, 3, how);
    if (v == NULL || (like != NULL && !has_shape(v, name, like->shape[0], like->shape[1], like->shape[2])))
        return 0;
    field->at = v->buf;
    for (int k = 0; k < 3; k++)
        field->shape[k] = v->shape[k];
    for (int k = 0; k < 2; k++)
        field->pitch[k] = v->strides[k] / (Py_ssize_t)sizeof(float);
    return 1;
}

static int take_marks(arrays *a, PyObject *given, const char *name, vgm_marks *marks, const vgm_field *like)
{
    const Py_buffer *v = take(a, given, name, 'u', 1, 3, 0);
    if (v == NULL || !has_shape(v, name, like->shape[0], like->shape[1], like->shape[2]))
        return 0;
    marks->at = v->buf;
    marks->pitch[0] = v->strides[0];
    marks->pitch[1] = v->strides[1];
    return 1;
}

static PyObject *dot(PyObject *module, PyObject *arguments)
{
    PyObject *o[2];
    arrays a = {.taken = 0};
    vgm_field f, g;
    double total = 0.0;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OO", &o[0], &o[1]))
        return NULL;
    if (take_field(&a, o[0], "the first", 0, &f, NULL) && take_field(&a, o[1], "the second", 0, &g, &f)) {
        Py_BEGIN_ALLOW_THREADS
        total = vgm_best_voxel_passes()->dot(&f, &g);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    release(&a);
    return done ? PyFloat_FromDouble(total) : NULL;
}

static PyObject *squares(PyObject *module, PyObject *arguments)
{
    PyObject *o[2];
    arrays a = {.taken = 0};
    vgm_field f;
    vgm_marks mask;
    double all = 0.0, marked = 0.0;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OO", &o[0], &o[1]))
        return NULL;
    if (take_field(&a, o[0], "field", 0, &f, NULL) && take_marks(&a, o[1], "mask", &mask, &f)) {
        Py_BEGIN_ALLOW_THREADS
        vgm_best_voxel_passes()->squares(&f, &mask, &all, &marked);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    release(&a);
    return done ? Py_BuildValue("(dd)", all, marked) : NULL;
}

static PyObject *mask_saturated(PyObject *module, PyObject *arguments)
{
    PyObject *o[3];
    arrays a = {.taken = 0};
    vgm_field f, residual;
    vgm_marks saturated;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOO", &o[0], &o[1], &o[2]))
        return NULL;
    if (take_field(&a, o[0], "field", WRITTEN, &f, NULL) && take_field(&a, o[1], "residual", 0, &residual, &f) &&
        take_marks(&a, o[2], "saturated", &saturated, &f)) {
        Py_BEGIN_ALLOW_THREADS
        vgm_best_voxel_passes()->mask_saturated(&f, &residual, &saturated);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&a, done);
}

/* Whether planes from z0 of a field, as many as `out` has, are there; rows and columns are the field's. */
static int has_planes(const vgm_field *field, const vgm_field *out, long long z0)
{
    if (z0 >= 0 && out->shape[0] <= field->shape[0] - z0 && out->shape[1] == field->shape[1] && out->shape[2] == field->shape[2])
        return 1;
    PyErr_SetString(PyExc_ValueError, "out: expected planes of the field");
    return 0;
}

static PyObject *metric(PyObject *module, PyObject *arguments)
{
    PyObject *o[3];
    arrays a = {.taken = 0};
    vgm_field f, weights, out;
    float differences;
    long long z0;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOfLO", &o[0], &o[1], &differences, &z0, &o[2]))
        return NULL;
    if (take_field(&a, o[0], "field", 0, &f, NULL) && (o[1] == Py_None || take_field(&a, o[1], "weights", 0, &weights, &f)) &&
        take_field(&a, o[2], "out", WRITTEN, &out, NULL) && has_planes(&f, &out, z0)) {
        Py_BEGIN_ALLOW_THREADS
        vgm_best_voxel_passes()->metric(&f, o[1] == Py_None ? NULL : &weights, differences, z0, &out);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&a, done);
}

static PyObject *correlate(PyObject *module, PyObject *arguments)
{
    PyObject *o[5];
    arrays a = {.taken = 0};
    vgm_field from, out;
    const float *taps[3];
    int64_t reach[3];
    long long z0, z1;
    int done;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O(OOO)LLO", &o[0], &o[1], &o[2], &o[3], &z0, &z1, &o[4]))
        return NULL;
    done = take_field(&a, o[0], "source", 0, &from, NULL) && take_field(&a, o[4], "out", WRITTEN, &out, &from);
    for (int k = 0; k < 3 && done; k++) {
        const Py_buffer *t = take(&a, o[1 + k], "taps", 'f', 4, 1, WHOLE);
        done = t != NULL;
        if (done) {
            taps[k] = t->buf;
            reach[k] = t->shape[0] / 2;
            done = t->shape[0] % 2 == 1;
            if (!done)
                PyErr_SetString(PyExc_ValueError, "taps: expected an odd number");
        }
    }
    if (done && (z0 < 0 || z1 > from.shape[0])) {
        PyErr_Format(PyExc_ValueError, "planes %lld..%lld are not all there", z0, z1);
        done = 0;
    }
    if (done) {
        size_t values = (size_t)from.shape[1] * (size_t)(from.shape[2] + 2 * reach[2]);
        float *room = malloc((values ? values : 1) * sizeof *room);
        if (room == NULL) {
            PyErr_NoMemory();
            done = 0;
        } else {
            Py_BEGIN_ALLOW_THREADS
            vgm_best_voxel_passes()->correlate(&from, taps, reach, z0, z1, &out, room);
            Py_END_ALLOW_THREADS
            free(room);
        }
    }
    return answer(&a, done);
}

static PyObject *supported(PyObject *module, PyObject *arguments)
{
    PyObject *o[3];
    arrays a = {.taken = 0};
    vgm_field values, variance;
    const Py_buffer *out;
    int64_t window[3];
    long long w[3], z0;
    float limit, most, sure, *room = NULL;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OO(LLL)fffLO", &o[0], &o[1], &w[0], &w[1], &w[2], &limit, &most, &sure, &z0, &o[2]))
        return NULL;
    if (take_field(&a, o[0], "values", 0, &values, NULL) && take_field(&a, o[1], "variance", 0, &variance, &values) &&
        (out = take(&a, o[2], "out", 'u', 1, 3, WHOLE | WRITTEN)) &&
        has_shape(out, "out", out->shape[0], values.shape[1], values.shape[2])) {
        done = z0 >= 0 && out->shape[0] <= values.shape[0] - z0;
        for (int k = 0; k < 3; k++) {
            window[k] = w[k];
            done = done && w[k] > 0 && w[k] <= values.shape[k];
        }
        if (!done) {
            PyErr_SetString(PyExc_ValueError, "expected planes of the values, and a window no wider than they are");
        } else {
            size_t plane = (size_t)values.shape[1] * (size_t)values.shape[2];
            room = malloc((((size_t)window[0] + 1) * plane + (size_t)(values.shape[2] + window[2])) * sizeof *room);
            if (room == NULL) {
                PyErr_NoMemory();
                done = 0;
            } else {
                Py_BEGIN_ALLOW_THREADS
                vgm_best_voxel_passes()->supported(&values, &variance, window, limit, most, sure, z0, z0 + out->shape[0], out->buf,
                                                    room);
                Py_END_ALLOW_THREADS
                free(room);
            }
        }
    }
    return answer(&a, done);
}

static PyObject *similarity(PyObject *module, PyObject *arguments)
{
    PyObject *o[2];
    arrays a = {.taken = 0};
    vgm_field x, y;
    vgm_similarity terms;
    int64_t window[3];
    long long w[3];
    float *room = NULL;
    double total = 0.0;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OO(LLL)ffff", &o[0], &o[1], &w[0], &w[1], &w[2], &terms.middle, &terms.c1, &terms.c2,
                          &terms.unbiased))
        return NULL;
    if (take_field(&a, o[0], "the first", 0, &x, NULL) && take_field(&a, o[1], "the second", 0, &y, &x)) {
        done = 1;
        for (int k = 0; k < 3; k++) {
            window[k] = w[k];
            done = done && w[k] > 0 && w[k] <= x.shape[k];
        }
        if (!done) {
            PyErr_SetString(PyExc_ValueError, "expected a window no wider than the blocks");
        } else if ((room = malloc(vgm_windows_room(x.shape[2], window) * sizeof *room)) == NULL) {
            PyErr_NoMemory();
            done = 0;
        } else {
            Py_BEGIN_ALLOW_THREADS
            total = vgm_best_voxel_passes()->similarity(&x, &y, window, &terms, room);
            Py_END_ALLOW_THREADS
            free(room);
        }
    }
    release(&a);
    return done ? PyFloat_FromDouble(total) : NULL;
}

static PyObject *limit_instructions(PyObject *module, PyObject *arguments)
{
    (void)module;
    return limit(arguments, vgm_limit_voxel_passes);
}

static PyMethodDef methods[] = {
    {"power_of_two", power_of_two, METH_VARARGS, NULL},
    {"lattice_geometry", lattice_geometry, METH_VARARGS, NULL},
    {"lattice_records", lattice_records, METH_VARARGS, NULL},
    {"encode_lattice", encode_lattice, METH_VARARGS, NULL},
    {"encode_points", encode_points, METH_VARARGS, NULL},
    {"find_blocks", find_blocks, METH_VARARGS, NULL},
    {"sharpen", sharpen, METH_VARARGS, NULL},
    {"choose_points", choose_points, METH_VARARGS, NULL},
    {"clear_empty_blocks", clear_empty_blocks, METH_VARARGS, NULL},
    {"find_peaks", find_peaks, METH_VARARGS, NULL},
    {"uncovered", uncovered, METH_VARARGS, NULL},
    {"dot", dot, METH_VARARGS, NULL},
    {"squares", squares, METH_VARARGS, NULL},
    {"mask_saturated", mask_saturated, METH_VARARGS, NULL},
    {"metric", metric, METH_VARARGS, NULL},
    {"correlate", correlate, METH_VARARGS, NULL},
    {"supported", supported, METH_VARARGS, NULL},
    {"similarity", similarity, METH_VARARGS, NULL},
    {"limit_instructions", limit_instructions, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static int start(PyObject *module)
{
    module_state *state = PyModule_GetState(module);
    state->tables = NULL;
    state->bits = NULL;
    return PyModule_AddIntConstant(module, "LATTICE_CLASSES", VGM_LATTICE_CLASSES) || PyModule_AddIntConstant(module, "BLOCK", BLOCK) ||
           PyModule_AddIntConstant(module, "LARGEST", LARGEST);
}

static void end(void *module)
{
    module_state *state = PyModule_GetState(module);
    if (state != NULL) {
        vgm_give(&vgm_malloc_allocator, state->tables);
        free(state->bits);
    }
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, start}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_coder", "The encoder's passes over voxels and symbols.", sizeof(module_state), methods, slots, NULL, NULL, end,
};

PyMODINIT_FUNC PyInit__coder(void)
{
    return PyModuleDef_Init(&definition);
}
