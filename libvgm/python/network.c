/* volmicro_codec._network: the occupancy gate's network, on numpy arrays.
 *
 * The interpreter's lock is let go while a function works. Kinds and sizes of arrays are
 * checked here; results may not share memory with arguments. */
#include "arrays.h"

#include "../encoder/network.h"

/* Numbers of binary32, as many as the network has weights. */
static const Py_buffer *take_weights(arrays *a, PyObject *given, const char *name, int how)
{
    const Py_buffer *v = take(a, given, name, 'f', 4, 1, WHOLE | how);
    return v != NULL && has_shape(v, name, VGM_NET_WEIGHTS, 0, 0) ? v : NULL;
}

static const Py_buffer *take_rows(arrays *a, PyObject *given, const char *name)
{
    const Py_buffer *v = take(a, given, name, 'f', 4, 2, WHOLE);
    return v != NULL && has_shape(v, name, v->shape[0], VGM_NET_INPUTS, 0) ? v : NULL;
}

/* Which rows of a table are meant. */
static const Py_buffer *take_picked(arrays *a, PyObject *given, const char *name, const Py_buffer *rows)
{
    const Py_buffer *v = take(a, given, name, 'i', 8, 1, WHOLE);
    for (Py_ssize_t i = 0; v != NULL && i < v->shape[0]; i++) {
        int64_t k = ((const int64_t *)v->buf)[i];
        if (k < 0 || k >= rows->shape[0]) {
            PyErr_Format(PyExc_ValueError, "%s: row %lld of %zd", name, (long long)k, rows->shape[0]);
            return NULL;
        }
    }
    return v;
}

static PyObject *network_step(PyObject *module, PyObject *arguments)
{
    PyObject *o[7];
    arrays a = {.taken = 0};
    const Py_buffer *empty, *occupied, *one, *two, *weights, *first, *second;
    double rate;
    long long step;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOOOdLOOO", &o[0], &o[1], &o[2], &o[3], &rate, &step, &o[4], &o[5], &o[6]))
        return NULL;
    if ((empty = take_rows(&a, o[0], "empty")) && (occupied = take_rows(&a, o[1], "occupied")) &&
        (one = take_picked(&a, o[2], "picked of the empty", empty)) && (two = take_picked(&a, o[3], "picked of the occupied", occupied)) &&
        alike(two, "picked of the occupied", one) && (weights = take_weights(&a, o[4], "weights", WRITTEN)) &&
        (first = take_weights(&a, o[5], "first moments", WRITTEN)) && (second = take_weights(&a, o[6], "second moments", WRITTEN))) {
        Py_BEGIN_ALLOW_THREADS
        vgm_network_step(empty->buf, occupied->buf, one->buf, two->buf, one->shape[0], rate, step, weights->buf, first->buf, second->buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&a, done);
}

static PyObject *network_answer(PyObject *module, PyObject *arguments)
{
    PyObject *o[4];
    arrays a = {.taken = 0};
    const Py_buffer *local, *places, *weights, *out;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOOO", &o[0], &o[1], &o[2], &o[3]))
        return NULL;
    if ((out = take(&a, o[3], "out", 'u', 1, 3, WHOLE | WRITTEN)) && (local = take(&a, o[0], "local", 'f', 4, 2, WHOLE)) &&
        has_shape(local, "local", VGM_NET_LOCAL, out->shape[0] * out->shape[1] * out->shape[2], 0) &&
        (places = take(&a, o[1], "places", 'f', 4, 2, WHOLE)) &&
        has_shape(places, "places", out->shape[0] + out->shape[1] + out->shape[2], VGM_NET_PLACE, 0) &&
        (weights = take_weights(&a, o[2], "weights", 0))) {
        int64_t shape[3] = {out->shape[0], out->shape[1], out->shape[2]};
        float *room = PyMem_Malloc((size_t)(vgm_network_room(shape) + 1) * sizeof *room);
        if (room == NULL)
            PyErr_NoMemory();
        else {
            Py_BEGIN_ALLOW_THREADS
            vgm_network_answer(local->buf, places->buf, shape, weights->buf, room, out->buf);
            Py_END_ALLOW_THREADS
            PyMem_Free(room);
            done = 1;
        }
    }
    return answer(&a, done);
}

static PyObject *limit_instructions(PyObject *module, PyObject *arguments)
{
    (void)module;
    return limit(arguments, vgm_network_limit_instructions);
}

static PyMethodDef methods[] = {
    {"step", network_step, METH_VARARGS, NULL},
    {"answer", network_answer, METH_VARARGS, NULL},
    {"limit_instructions", limit_instructions, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static int start(PyObject *module)
{
    return PyModule_AddIntConstant(module, "LOCAL", VGM_NET_LOCAL) || PyModule_AddIntConstant(module, "PLACE", VGM_NET_PLACE) ||
           PyModule_AddIntConstant(module, "INPUTS", VGM_NET_INPUTS) || PyModule_AddIntConstant(module, "HIDDEN", VGM_NET_HIDDEN) ||
           PyModule_AddIntConstant(module, "WEIGHTS", VGM_NET_WEIGHTS);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, start}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_network", "The occupancy gate's network.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__network(void)
{
    return PyModuleDef_Init(&definition);
}
