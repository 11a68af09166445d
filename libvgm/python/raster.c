/* volmicro_codec._raster: the rasteriser of fits, on the buffers of numpy arrays.
 *
 * The interpreter's lock is let go while a function works. Callers are the package's own: sizes of buffers
 * are checked here. */
#include "arrays.h"

#include "../encoder/raster.h"

static int64_t product(const int64_t n[3])
{
    return n[0] * n[1] * n[2];
}

/* A box of (gaussians, offsets, ids, shape, tile, cutoff), as `rasteriser.Packed` holds it. */
static int parse_box(PyObject *object, arrays *b, vgm_fit_box *box)
{
    PyObject *gaussians, *offsets, *ids;
    long long s[3], t[3];
    int64_t tiles;
    if (!PyArg_ParseTuple(object, "OOO(LLL)(LLL)d", &gaussians, &offsets, &ids, &s[0], &s[1], &s[2], &t[0], &t[1], &t[2], &box->cutoff))
        return 0;
    for (int a = 0; a < 3; a++) {
        if (s[a] < 0 || t[a] < 1 || (a == 0 && t[a] > VGM_FIT_MAX_PLANES)) {
            PyErr_SetString(PyExc_ValueError, "the shape of a box or of its tiles");
            return 0;
        }
        box->shape[a] = s[a];
        box->tile[a] = t[a];
        box->grid[a] = (s[a] + t[a] - 1) / t[a];
    }
    tiles = product(box->grid);
    if ((box->gaussians = take_items(b, gaussians, 0, sizeof(vgm_fit_gaussian), 0, "gaussians")) == NULL ||
        (box->offsets = take_items(b, offsets, tiles + 1, sizeof(int64_t), 0, "offsets")) == NULL)
        return 0;
    return (box->ids = take_items(b, ids, box->offsets[tiles], sizeof(int64_t), 0, "ids")) != NULL;
}

static int in_box(const vgm_fit_box *box, long long first, long long last)
{
    if (0 <= first && first <= last && last <= product(box->grid))
        return 1;
    PyErr_SetString(PyExc_ValueError, "tiles that are not in the box");
    return 0;
}

static int64_t coarse_length(int64_t n)
{
    return n / 2 + 2 * VGM_GRID_MARGIN + 1;
}

static int64_t count_of(const arrays *b)
{
    return (int64_t)(b->views[0].len / (Py_ssize_t)sizeof(vgm_fit_gaussian));
}

static int64_t room_of(const vgm_fit_box *box)
{
    return box->tile[0] * box->tile[1] * (box->tile[2] + VGM_FIT_PAD) + (box->tile[1] / 2 + 7) * box->tile[2];
}

/* A grid twice as coarse along y and x, or None; NULL, with an error set, where it is neither. */
static const float *take_coarse(arrays *b, PyObject *object, const vgm_fit_box *box)
{
    int64_t n[3] = {box->shape[0], coarse_length(box->shape[1]), coarse_length(box->shape[2])};
    if (object != Py_None && (box->tile[1] % 2 || box->tile[2] % 2)) {
        PyErr_SetString(PyExc_ValueError, "tiles over a coarse grid are of even rows and columns");
        return NULL;
    }
    return take_items(b, object, product(n), sizeof(float), OPTIONAL, "coarse");
}

static PyObject *pack(PyObject *module, PyObject *arguments)
{
    arrays b = {.taken = 0};
    PyObject *m, *c, *w, *g;
    const double *means, *covariances, *weights;
    vgm_fit_gaussian *out;
    double cutoff;
    long long n;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOOLdO", &m, &c, &w, &n, &cutoff, &g))
        return NULL;
    if ((means = take_items(&b, m, 3 * n, sizeof(double), 0, "means")) != NULL &&
        (covariances = take_items(&b, c, 6 * n, sizeof(double), 0, "covariances")) != NULL &&
        (weights = take_items(&b, w, n, sizeof(double), 0, "weights")) != NULL &&
        (out = take_items(&b, g, n, sizeof(vgm_fit_gaussian), WRITTEN, "gaussians")) != NULL) {
        Py_BEGIN_ALLOW_THREADS
        vgm_fit_pack(means, covariances, weights, n, cutoff, out);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&b, done);
}

static PyObject *grids(PyObject *module, PyObject *arguments)
{
    arrays b = {.taken = 0};
    PyObject *c, *w, *k, *p;
    const double *covariances, *widths;
    int64_t *which;
    double cutoff, *pairs;
    long long n, s[3], count;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OLd(LLL)OLOO", &c, &n, &cutoff, &s[0], &s[1], &s[2], &w, &count, &k, &p))
        return NULL;
    if ((covariances = take_items(&b, c, 6 * n, sizeof(double), 0, "covariances")) != NULL &&
        (widths = take_items(&b, w, 3 * count, sizeof(double), 0, "widths")) != NULL &&
        (which = take_items(&b, k, n, sizeof(int64_t), WRITTEN, "which")) != NULL &&
        (pairs = take_items(&b, p, n, sizeof(double), WRITTEN, "pairs")) != NULL) {
        const int64_t shape[3] = {s[0], s[1], s[2]};
        Py_BEGIN_ALLOW_THREADS
        vgm_fit_grids(covariances, n, cutoff, shape, widths, count, which, pairs);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&b, done);
}

/* Lists of a box whose offsets are zero, or whose lists are to be written. */
static PyObject *lists(PyObject *arguments, int fill)
{
    arrays b = {.taken = 0};
    vgm_fit_box box;
    PyObject *packed, *counts, *places = NULL;
    int64_t *numbers, *ids = NULL, n = 0;
    int done = 0;
    if (!PyArg_ParseTuple(arguments, fill ? "OOO" : "OO", &packed, &counts, &places))
        return NULL;
    if (parse_box(packed, &b, &box) &&
        (numbers = take_items(&b, counts, product(box.grid) + !fill, sizeof(int64_t), WRITTEN, "counts")) != NULL &&
        (!fill || (ids = take_items(&b, places, box.offsets[product(box.grid)], sizeof(int64_t), WRITTEN, "ids")) != NULL)) {
        n = count_of(&b);
        Py_BEGIN_ALLOW_THREADS
        if (fill)
            vgm_fit_fill(&box, n, numbers, ids);
        else
            vgm_fit_count(&box, n, numbers);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&b, done);
}

static PyObject *count(PyObject *module, PyObject *arguments)
{
    (void)module;
    return lists(arguments, 0);
}

static PyObject *fill(PyObject *module, PyObject *arguments)
{
    (void)module;
    return lists(arguments, 1);
}

static PyObject *render(PyObject *module, PyObject *arguments)
{
    arrays b = {.taken = 0};
    vgm_fit_box box;
    PyObject *packed, *scratch, *result;
    float *room, *out;
    long long first, last;
    int over, done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OLLpOO", &packed, &first, &last, &over, &scratch, &result))
        return NULL;
    if (parse_box(packed, &b, &box) && in_box(&box, first, last) &&
        (room = take_items(&b, scratch, room_of(&box), sizeof(float), WRITTEN, "room")) != NULL &&
        (out = take_items(&b, result, product(box.shape), sizeof(float), WRITTEN, "out")) != NULL) {
        Py_BEGIN_ALLOW_THREADS
        vgm_fit_render(&box, first, last, over, room, out);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&b, done);
}

static PyObject *jvp(PyObject *module, PyObject *arguments)
{
    arrays b = {.taken = 0};
    vgm_fit_box box;
    PyObject *packed, *table, *scratch, *result;
    const float *directions;
    float *room, *out;
    long long first, last;
    int over, done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OLLOpOO", &packed, &first, &last, &table, &over, &scratch, &result))
        return NULL;
    if (parse_box(packed, &b, &box) && in_box(&box, first, last) &&
        (directions = take_items(&b, table, VGM_FIT_DIRECTION * count_of(&b), sizeof(float), 0, "directions")) != NULL &&
        (room = take_items(&b, scratch, room_of(&box), sizeof(float), WRITTEN, "room")) != NULL &&
        (out = take_items(&b, result, product(box.shape), sizeof(float), WRITTEN, "out")) != NULL) {
        Py_BEGIN_ALLOW_THREADS
        vgm_fit_jvp(&box, first, last, directions, over, room, out);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&b, done);
}

static PyObject *residual(PyObject *module, PyObject *arguments)
{
    arrays b = {.taken = 0};
    vgm_fit_box box;
    PyObject *packed, *below, *goal, *cut, *scratch, *result, *sums, *moments;
    const float *coarse, *target;
    const uint8_t *saturated;
    float *room, *out, *parts;
    double *squares;
    long long first, last;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OLLOOOOOOO", &packed, &first, &last, &below, &goal, &cut, &scratch, &result, &sums, &moments))
        return NULL;
    if (parse_box(packed, &b, &box) && in_box(&box, first, last) &&
        (coarse = take_coarse(&b, below, &box)) != NULL &&
        (target = take_items(&b, goal, product(box.shape), sizeof(float), 0, "target")) != NULL &&
        (saturated = take_items(&b, cut, product(box.shape), 1, OPTIONAL, "saturated")) != NULL &&
        (room = take_items(&b, scratch, room_of(&box), sizeof(float), WRITTEN, "room")) != NULL &&
        (out = take_items(&b, result, product(box.shape), sizeof(float), WRITTEN, "out")) != NULL &&
        (squares = take_items(&b, sums, product(box.grid), sizeof(double), WRITTEN, "squares")) != NULL &&
        (parts = take_items(&b, moments, VGM_FIT_MOMENTS * box.offsets[product(box.grid)], sizeof(float), OPTIONAL | WRITTEN, "parts")) != NULL) {
        coarse = below == Py_None ? NULL : coarse;
        saturated = cut == Py_None ? NULL : saturated;
        parts = moments == Py_None ? NULL : parts;
        Py_BEGIN_ALLOW_THREADS
        vgm_fit_residual(&box, first, last, coarse, target, saturated, room, out, squares, parts);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&b, done);
}

static PyObject *subtract(PyObject *module, PyObject *arguments)
{
    arrays b = {.taken = 0};
    vgm_fit_box box;
    PyObject *packed, *below, *scratch, *result;
    const float *coarse;
    float *room, *field;
    long long first, last;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OLLOOO", &packed, &first, &last, &below, &scratch, &result))
        return NULL;
    if (parse_box(packed, &b, &box) && in_box(&box, first, last) && (coarse = take_coarse(&b, below, &box)) != NULL &&
        (room = take_items(&b, scratch, room_of(&box), sizeof(float), WRITTEN, "room")) != NULL &&
        (field = take_items(&b, result, product(box.shape), sizeof(float), WRITTEN, "field")) != NULL) {
        coarse = below == Py_None ? NULL : coarse;
        Py_BEGIN_ALLOW_THREADS
        vgm_fit_subtract(&box, first, last, coarse, room, field);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&b, done);
}

static PyObject *curvature(PyObject *module, PyObject *arguments)
{
    arrays b = {.taken = 0};
    vgm_fit_box box;
    PyObject *packed, *table, *below, *left, *cut, *scratch, *sums;
    const float *directions, *coarse, *rest;
    const uint8_t *saturated;
    float *room;
    double *squares;
    long long first, last;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OLLOOOOOO", &packed, &first, &last, &table, &below, &left, &cut, &scratch, &sums))
        return NULL;
    if (parse_box(packed, &b, &box) && in_box(&box, first, last) &&
        (directions = take_items(&b, table, VGM_FIT_DIRECTION * count_of(&b), sizeof(float), 0, "directions")) != NULL &&
        (coarse = take_coarse(&b, below, &box)) != NULL &&
        (rest = take_items(&b, left, product(box.shape), sizeof(float), 0, "residual")) != NULL &&
        (saturated = take_items(&b, cut, product(box.shape), 1, OPTIONAL, "saturated")) != NULL &&
        (room = take_items(&b, scratch, room_of(&box), sizeof(float), WRITTEN, "room")) != NULL &&
        (squares = take_items(&b, sums, product(box.grid), sizeof(double), WRITTEN, "squares")) != NULL) {
        coarse = below == Py_None ? NULL : coarse;
        saturated = cut == Py_None ? NULL : saturated;
        Py_BEGIN_ALLOW_THREADS
        vgm_fit_curvature(&box, first, last, directions, coarse, rest, saturated, room, squares);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&b, done);
}

static PyObject *moments(PyObject *module, PyObject *arguments)
{
    arrays b = {.taken = 0};
    vgm_fit_box box;
    PyObject *packed, *left, *scratch, *result;
    const float *rest;
    float *room, *parts;
    long long first, last;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OLLOOO", &packed, &first, &last, &left, &scratch, &result))
        return NULL;
    if (parse_box(packed, &b, &box) && in_box(&box, first, last) &&
        (rest = take_items(&b, left, product(box.shape), sizeof(float), 0, "residual")) != NULL &&
        (room = take_items(&b, scratch, room_of(&box), sizeof(float), WRITTEN, "room")) != NULL &&
        (parts = take_items(&b, result, VGM_FIT_MOMENTS * box.offsets[product(box.grid)], sizeof(float), WRITTEN, "parts")) != NULL) {
        Py_BEGIN_ALLOW_THREADS
        vgm_fit_moments(&box, first, last, rest, room, parts);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&b, done);
}

static PyObject *gather(PyObject *module, PyObject *arguments)
{
    arrays b = {.taken = 0};
    PyObject *numbers, *entries, *result;
    const int64_t *ids;
    const float *parts;
    double *out;
    long long n;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OLOO", &numbers, &n, &entries, &result))
        return NULL;
    if ((ids = take_items(&b, numbers, 0, sizeof(int64_t), 0, "ids")) != NULL) {
        int64_t count = (int64_t)(b.views[0].len / (Py_ssize_t)sizeof(int64_t));
        if ((parts = take_items(&b, entries, VGM_FIT_MOMENTS * count, sizeof(float), 0, "parts")) != NULL &&
            (out = take_items(&b, result, VGM_FIT_MOMENTS * n, sizeof(double), WRITTEN, "out")) != NULL) {
            Py_BEGIN_ALLOW_THREADS
            vgm_fit_gather(ids, count, parts, out);
            Py_END_ALLOW_THREADS
            done = 1;
        }
    }
    return answer(&b, done);
}

/* Between a fine grid of a shape and one that is coarser along z, or along y and x: down (restrict) or up (prolong). */
static PyObject *between(PyObject *arguments, int up)
{
    arrays b = {.taken = 0};
    PyObject *from, *to, *scratch;
    long long n[3], first, last;
    int along_z, over = 0, done = 0;
    float *source, *result, *room;
    if (!PyArg_ParseTuple(arguments, up ? "OO(LLL)pLLOp" : "OO(LLL)pLLO", &from, &to, &n[0], &n[1], &n[2], &along_z, &first, &last, &scratch, &over))
        return NULL;
    int64_t fine[3] = {n[0], n[1], n[2]}, coarse[3] = {n[0], n[1], n[2]};
    for (int a = along_z ? 0 : 1; a < (along_z ? 1 : 3); a++)
        coarse[a] = coarse_length(fine[a]);
    if (first < 0 || first > last || last > (up ? fine[0] : coarse[0])) {
        PyErr_SetString(PyExc_ValueError, "planes that are not in the grid");
        return NULL;
    }
    if ((source = take_items(&b, from, product(up ? coarse : fine), sizeof(float), 0, "from")) != NULL &&
        (result = take_items(&b, to, product(up ? fine : coarse), sizeof(float), WRITTEN, "to")) != NULL &&
        (room = take_items(&b, scratch, up ? (along_z ? 0 : (coarse[1] + 1) * fine[2]) : 3 * fine[2] + coarse[2] + 6, sizeof(float), WRITTEN, "room")) != NULL) {
        Py_BEGIN_ALLOW_THREADS
        if (up && along_z)
            vgm_prolong_z(source, result, fine, first, last, over);
        else if (up)
            vgm_prolong_yx(source, result, fine, first, last, over, room);
        else if (along_z)
            vgm_restrict_z(source, result, fine, first, last, room);
        else
            vgm_restrict_yx(source, result, fine, first, last, room);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&b, done);
}

static PyObject *prolong(PyObject *module, PyObject *arguments)
{
    (void)module;
    return between(arguments, 1);
}

static PyObject *restrict_(PyObject *module, PyObject *arguments)
{
    (void)module;
    return between(arguments, 0);
}

static PyObject *limit_instructions(PyObject *module, PyObject *arguments)
{
    (void)module;
    return limit(arguments, vgm_fit_limit_instructions);
}

static PyMethodDef methods[] = {
    {"pack", pack, METH_VARARGS, NULL},         {"grids", grids, METH_VARARGS, NULL},
    {"count", count, METH_VARARGS, NULL},
    {"fill", fill, METH_VARARGS, NULL},         {"render", render, METH_VARARGS, NULL},
    {"jvp", jvp, METH_VARARGS, NULL},           {"residual", residual, METH_VARARGS, NULL},
    {"curvature", curvature, METH_VARARGS, NULL}, {"moments", moments, METH_VARARGS, NULL},
    {"gather", gather, METH_VARARGS, NULL},     {"prolong", prolong, METH_VARARGS, NULL},
    {"restrict", restrict_, METH_VARARGS, NULL}, {"subtract", subtract, METH_VARARGS, NULL},
    {"limit_instructions", limit_instructions, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static int start(PyObject *module)
{
    return PyModule_AddIntConstant(module, "GAUSSIAN_BYTES", sizeof(vgm_fit_gaussian)) ||
           PyModule_AddIntConstant(module, "PAD", VGM_FIT_PAD) || PyModule_AddIntConstant(module, "MOMENTS", VGM_FIT_MOMENTS) ||
           PyModule_AddIntConstant(module, "DIRECTION", VGM_FIT_DIRECTION) || PyModule_AddIntConstant(module, "MARGIN", VGM_GRID_MARGIN);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, start}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_raster", "The rasteriser of fits.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__raster(void)
{
    return PyModuleDef_Init(&definition);
}
