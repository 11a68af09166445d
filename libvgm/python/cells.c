/* volmicro_codec._cells: voxels as a fit takes them and what coarse cells say of them, on numpy arrays.
 *
 * The interpreter's lock is let go while a function works. Kinds and sizes of arrays are
 * checked here; results may not share memory with arguments. */
#include <stdlib.h>

#include "arrays.h"

#include "../encoder/cells.h"

/* Voxels as they are stored: unsigned of one or two bytes, or binary32. */
static int take_voxels(arrays *a, PyObject *given, vgm_stored *out)
{
    static const struct {
        char kind;
        int bytes;
    } kinds[] = {{'u', 1}, {'u', 2}, {'f', 4}};
    for (int k = 0; k < 3; k++) {
        const Py_buffer *v;
        PyErr_Clear();
        v = take(a, given, "voxels", kinds[k].kind, kinds[k].bytes, 3, 0);
        if (v != NULL) {
            *out = (vgm_stored){v->buf, {v->strides[0], v->strides[1]}, {v->shape[0], v->shape[1], v->shape[2]}, kinds[k].bytes};
            return 1;
        }
    }
    return 0;
}

/* Cells and where a box of voxels lies in them. */
static int take_cells(arrays *a, PyObject *given, char kind, int bytes, const long long size[3], const long long origin[3], const Py_buffer *box,
                      vgm_cells *out)
{
    const Py_buffer *v = take(a, given, "cells", kind, bytes, 3, WHOLE);
    if (v == NULL)
        return 0;
    out->at = v->buf;
    for (int k = 0; k < 3; k++) {
        if (size[k] < 1 || origin[k] < 0 || (box->shape[k] > 0 && (origin[k] + box->shape[k] - 1) / size[k] >= v->shape[k])) {
            PyErr_Format(PyExc_ValueError, "cells: voxels %lld..%lld of axis %d are not all in them", origin[k], origin[k] + (long long)box->shape[k],
                         k);
            return 0;
        }
        out->shape[k] = v->shape[k];
        out->size[k] = size[k];
        out->origin[k] = origin[k];
    }
    return 1;
}

static PyObject *normalise(PyObject *module, PyObject *arguments)
{
    PyObject *o[2];
    arrays a = {.taken = 0};
    vgm_stored voxels;
    const Py_buffer *out;
    float base, scale;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OffO", &o[0], &base, &scale, &o[1]))
        return NULL;
    if (take_voxels(&a, o[0], &voxels) && (out = take(&a, o[1], "out", 'f', 4, 3, WHOLE | WRITTEN)) &&
        has_shape(out, "out", voxels.shape[0], voxels.shape[1], voxels.shape[2])) {
        Py_BEGIN_ALLOW_THREADS
        vgm_normalise(&voxels, base, scale, out->buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&a, done);
}

static PyObject *cell_means(PyObject *module, PyObject *arguments)
{
    PyObject *o[3];
    arrays a = {.taken = 0};
    vgm_stored voxels;
    const Py_buffer *means, *squares;
    long long size[3];
    float origin;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O(LLL)fOO", &o[0], &size[0], &size[1], &size[2], &origin, &o[1], &o[2]))
        return NULL;
    if (take_voxels(&a, o[0], &voxels) && (means = take(&a, o[1], "means", 'f', 4, 3, WHOLE | WRITTEN)) &&
        (squares = take(&a, o[2], "squares", 'f', 4, 3, WHOLE | WRITTEN)) &&
        has_shape(squares, "squares", means->shape[0], means->shape[1], means->shape[2])) {
        int64_t shape[3], each[3];
        done = 1;
        for (int k = 0; k < 3; k++) {
            shape[k] = means->shape[k];
            each[k] = size[k];
            done = done && (each[k] == 1 || each[k] == 2) && voxels.shape[k] > 0;
        }
        float *room = done ? malloc((size_t)(6 * shape[2] * each[2] + 1) * sizeof *room) : NULL;
        if (!done)
            PyErr_SetString(PyExc_ValueError, "expected voxels, and cells of one or two of them along each axis");
        else if ((done = room != NULL)) {
            Py_BEGIN_ALLOW_THREADS
            vgm_cell_means(&voxels, each, origin, shape, room, means->buf, squares->buf);
            Py_END_ALLOW_THREADS
            free(room);
        } else
            PyErr_NoMemory();
    }
    return answer(&a, done);
}

static PyObject *box_sums(PyObject *module, PyObject *arguments)
{
    PyObject *o[2];
    arrays a = {.taken = 0};
    vgm_stored voxels;
    const Py_buffer *sums;
    long long step, before;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OLLO", &o[0], &step, &before, &o[1]))
        return NULL;
    if (take_voxels(&a, o[0], &voxels) && (sums = take(&a, o[1], "sums", 'f', 8, 3, WHOLE | WRITTEN))) {
        int64_t shape[3] = {sums->shape[0], sums->shape[1], sums->shape[2]};
        double *room = NULL;
        if (step < 1 || before < 0 || (before + voxels.shape[0] + step - 1) / step > shape[0] || (voxels.shape[1] + step - 1) / step != shape[1] ||
            (voxels.shape[2] + step - 1) / step != shape[2])
            PyErr_SetString(PyExc_ValueError, "sums: expected those of boxes that the voxels lie in");
        else if ((room = malloc((size_t)(voxels.shape[2] + 1) * sizeof *room)) == NULL)
            PyErr_NoMemory();
        else {
            Py_BEGIN_ALLOW_THREADS
            vgm_box_sums(&voxels, step, before, shape, room, sums->buf);
            Py_END_ALLOW_THREADS
            done = 1;
        }
        free(room);
    }
    return answer(&a, done);
}

static PyObject *halve(PyObject *module, PyObject *arguments)
{
    PyObject *o[2];
    arrays a = {.taken = 0};
    const Py_buffer *from, *out;
    int halved[3], done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O(ppp)O", &o[0], &halved[0], &halved[1], &halved[2], &o[1]))
        return NULL;
    if ((from = take(&a, o[0], "field", 'f', 4, 3, WHOLE)) && (out = take(&a, o[1], "out", 'f', 4, 3, WHOLE | WRITTEN))) {
        int64_t shape[3], n[3];
        for (int k = 0; k < 3; k++) {
            shape[k] = from->shape[k];
            n[k] = halved[k] ? (shape[k] + 1) / 2 : shape[k];
        }
        if (has_shape(out, "out", n[0], n[1], n[2])) {
            float *room = malloc((size_t)(2 * shape[2] + 1) * sizeof *room);
            if (room == NULL)
                PyErr_NoMemory();
            else {
                Py_BEGIN_ALLOW_THREADS
                vgm_halve(from->buf, shape, halved, room, out->buf);
                Py_END_ALLOW_THREADS
                done = 1;
            }
            free(room);
        }
    }
    return answer(&a, done);
}

static PyObject *limit_instructions(PyObject *module, PyObject *arguments)
{
    (void)module;
    return limit(arguments, vgm_limit_cells);
}

static PyObject *noise_variance(PyObject *module, PyObject *arguments)
{
    PyObject *o[3];
    arrays a = {.taken = 0};
    vgm_stored voxels;
    vgm_cells level;
    const Py_buffer *out;
    long long size[3], origin[3];
    float base, scale, gain, least;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OO(LLL)(LLL)ffffO", &o[0], &o[1], &size[0], &size[1], &size[2], &origin[0], &origin[1], &origin[2], &base,
                          &scale, &gain, &least, &o[2]))
        return NULL;
    if ((out = take(&a, o[2], "out", 'f', 4, 3, WHOLE | WRITTEN)) && take_cells(&a, o[1], 'f', 4, size, origin, out, &level) &&
        (o[0] == Py_None || (take_voxels(&a, o[0], &voxels) && has_shape(out, "out", voxels.shape[0], voxels.shape[1], voxels.shape[2])))) {
        int64_t shape[3] = {out->shape[0], out->shape[1], out->shape[2]};
        Py_BEGIN_ALLOW_THREADS
        vgm_noise_variance(o[0] == Py_None ? NULL : &voxels, &level, shape, base, scale, gain, least, out->buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&a, done);
}

static PyObject *spread(PyObject *module, PyObject *arguments)
{
    PyObject *o[2];
    arrays a = {.taken = 0};
    vgm_cells cells;
    const Py_buffer *out;
    long long size[3], origin[3];
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O(LLL)(LLL)O", &o[0], &size[0], &size[1], &size[2], &origin[0], &origin[1], &origin[2], &o[1]))
        return NULL;
    if ((out = take(&a, o[1], "out", 'u', 1, 3, WHOLE | WRITTEN)) && take_cells(&a, o[0], 'u', 1, size, origin, out, &cells)) {
        int64_t shape[3] = {out->shape[0], out->shape[1], out->shape[2]};
        Py_BEGIN_ALLOW_THREADS
        vgm_spread(&cells, shape, out->buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&a, done);
}

static PyMethodDef methods[] = {
    {"normalise", normalise, METH_VARARGS, NULL},
    {"noise_variance", noise_variance, METH_VARARGS, NULL},
    {"cell_means", cell_means, METH_VARARGS, NULL},
    {"box_sums", box_sums, METH_VARARGS, NULL},
    {"halve", halve, METH_VARARGS, NULL},
    {"limit_instructions", limit_instructions, METH_VARARGS, NULL},
    {"spread", spread, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_cells", "Voxels as a fit takes them, and what coarse cells say of them.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__cells(void)
{
    return PyModuleDef_Init(&definition);
}
