/* volmicro_codec._steps: the steps of Gaussians under fit, on numpy arrays.
 *
 * The interpreter's lock is let go while a function works. Kinds and sizes of arrays are
 * checked here. Tables are binary64 but for the rasteriser's directions; results may not share memory with arguments. */
#include "arrays.h"

#include "../encoder/axes.h"
#include "../encoder/steps.h"

/* A table [n][columns] of binary64. */
static const Py_buffer *take_table(arrays *a, PyObject *given, const char *name, int64_t n, int64_t columns, int how)
{
    const Py_buffer *v = take(a, given, name, 'f', 8, 2, WHOLE | how);
    return v != NULL && has_shape(v, name, n, columns, 0) ? v : NULL;
}

/* Numbers [n] of binary64. */
static const Py_buffer *take_numbers(arrays *a, PyObject *given, const char *name, int64_t n, int how)
{
    const Py_buffer *v = take(a, given, name, 'f', 8, 1, WHOLE | how);
    return v != NULL && has_shape(v, name, n, 0, 0) ? v : NULL;
}

/* Matrices [n][3][3], as many as there are. */
static const Py_buffer *take_matrices(arrays *a, PyObject *given)
{
    const Py_buffer *v = take(a, given, "B", 'f', 8, 3, WHOLE);
    return v != NULL && has_shape(v, "B", v->shape[0], 3, 3) ? v : NULL;
}

static const Py_buffer *take_more_matrices(arrays *a, PyObject *given, const char *name, const Py_buffer *like)
{
    const Py_buffer *v = take(a, given, name, 'f', 8, 3, WHOLE | WRITTEN);
    return v != NULL && alike(v, name, like) ? v : NULL;
}

static PyObject *principal_axes(PyObject *module, PyObject *arguments)
{
    PyObject *o[3];
    arrays a = {.taken = 0};
    const Py_buffer *b, *lengths, *directions;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOO", &o[0], &o[1], &o[2]))
        return NULL;
    if ((b = take_matrices(&a, o[0])) && (lengths = take_table(&a, o[1], "lengths", b->shape[0], 3, WRITTEN)) &&
        (directions = take_more_matrices(&a, o[2], "directions", b))) {
        Py_BEGIN_ALLOW_THREADS
        vgm_principal_axes(b->shape[0], b->buf, lengths->buf, directions->buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&a, done);
}

static PyObject *covariances(PyObject *module, PyObject *arguments)
{
    PyObject *o[2];
    arrays a = {.taken = 0};
    const Py_buffer *b, *out;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OO", &o[0], &o[1]))
        return NULL;
    if ((b = take_matrices(&a, o[0])) && (out = take_table(&a, o[1], "covariances", b->shape[0], 6, WRITTEN))) {
        Py_BEGIN_ALLOW_THREADS
        vgm_covariances(b->shape[0], b->buf, out->buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&a, done);
}

static PyObject *volumes(PyObject *module, PyObject *arguments)
{
    PyObject *o[2];
    arrays a = {.taken = 0};
    const Py_buffer *b, *out;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OO", &o[0], &o[1]))
        return NULL;
    if ((b = take_matrices(&a, o[0])) && (out = take_numbers(&a, o[1], "volumes", b->shape[0], WRITTEN))) {
        Py_BEGIN_ALLOW_THREADS
        vgm_volumes(b->shape[0], b->buf, out->buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&a, done);
}

static PyObject *dot(PyObject *module, PyObject *arguments)
{
    PyObject *o[2];
    arrays a = {.taken = 0};
    const Py_buffer *one, *other;
    double sum = 0.0;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OO", &o[0], &o[1]))
        return NULL;
    if ((one = take(&a, o[0], "one", 'f', 8, 2, WHOLE)) && has_shape(one, "one", one->shape[0], VGM_STEP, 0) &&
        (other = take_table(&a, o[1], "other", one->shape[0], VGM_STEP, 0))) {
        Py_BEGIN_ALLOW_THREADS
        sum = vgm_dot_steps(one->shape[0], one->buf, other->buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    release(&a);
    return done ? PyFloat_FromDouble(sum) : NULL;
}

static PyObject *gradient(PyObject *module, PyObject *arguments)
{
    PyObject *o[4];
    arrays a = {.taken = 0};
    const Py_buffer *b, *w, *moments, *out;
    double norm;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOOdO", &o[0], &o[1], &o[2], &norm, &o[3]))
        return NULL;
    if ((b = take_matrices(&a, o[0])) && (w = take_numbers(&a, o[1], "w", b->shape[0], 0)) &&
        (moments = take_table(&a, o[2], "moments", b->shape[0], VGM_STEP_MOMENTS, 0)) &&
        (out = take_table(&a, o[3], "gradient", b->shape[0], VGM_STEP, WRITTEN))) {
        Py_BEGIN_ALLOW_THREADS
        vgm_step_gradient(b->shape[0], b->buf, w->buf, moments->buf, norm, out->buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&a, done);
}

static PyObject *precondition(PyObject *module, PyObject *arguments)
{
    PyObject *o[4];
    arrays a = {.taken = 0};
    const Py_buffer *b, *w, *slope, *out;
    vgm_widths widths;
    double floor;
    int held, done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOOdpddO", &o[0], &o[1], &o[2], &floor, &held, &widths.least, &widths.most, &o[3]))
        return NULL;
    if ((b = take_matrices(&a, o[0])) && (w = take_numbers(&a, o[1], "w", b->shape[0], 0)) &&
        (slope = take_table(&a, o[2], "gradient", b->shape[0], VGM_STEP, 0)) &&
        (out = take_table(&a, o[3], "step", b->shape[0], VGM_STEP, WRITTEN))) {
        Py_BEGIN_ALLOW_THREADS
        vgm_precondition(b->shape[0], b->buf, w->buf, slope->buf, floor, held ? &widths : NULL, out->buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&a, done);
}

static PyObject *hold_bounds(PyObject *module, PyObject *arguments)
{
    PyObject *o[3];
    arrays a = {.taken = 0};
    const Py_buffer *b, *direction, *out;
    vgm_widths widths;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOddO", &o[0], &o[1], &widths.least, &widths.most, &o[2]))
        return NULL;
    if ((b = take_matrices(&a, o[0])) && (direction = take_table(&a, o[1], "direction", b->shape[0], VGM_STEP, 0)) &&
        (out = take_table(&a, o[2], "held", b->shape[0], VGM_STEP, WRITTEN))) {
        Py_BEGIN_ALLOW_THREADS
        vgm_hold_bounds(b->shape[0], b->buf, direction->buf, &widths, out->buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&a, done);
}

static PyObject *bounded(PyObject *module, PyObject *arguments)
{
    PyObject *o[3];
    arrays a = {.taken = 0};
    const Py_buffer *b, *rows, *axes;
    vgm_widths widths;
    int64_t count = 0;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OddOO", &o[0], &widths.least, &widths.most, &o[1], &o[2]))
        return NULL;
    if ((b = take_matrices(&a, o[0])) && (rows = take(&a, o[1], "rows", 'i', 8, 1, WHOLE | WRITTEN)) &&
        has_shape(rows, "rows", b->shape[0], 0, 0) && (axes = take_more_matrices(&a, o[2], "axes", b))) {
        Py_BEGIN_ALLOW_THREADS
        count = vgm_bounded(b->shape[0], b->buf, &widths, rows->buf, axes->buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    release(&a);
    return done ? PyLong_FromLongLong(count) : NULL;
}

static PyObject *clear_bounded(PyObject *module, PyObject *arguments)
{
    PyObject *o[3];
    arrays a = {.taken = 0};
    const Py_buffer *rows, *axes, *table;
    int gradients, done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOpO", &o[0], &o[1], &gradients, &o[2]))
        return NULL;
    if ((axes = take_matrices(&a, o[1])) && (rows = take(&a, o[0], "rows", 'i', 8, 1, WHOLE)) &&
        has_shape(rows, "rows", axes->shape[0], 0, 0) && (table = take(&a, o[2], "steps", 'f', 8, 2, WHOLE | WRITTEN)) &&
        has_shape(table, "steps", table->shape[0], VGM_STEP, 0)) {
        const int64_t *row = rows->buf;
        done = 1;
        for (Py_ssize_t k = 0; k < rows->shape[0]; k++)
            done = done && 0 <= row[k] && row[k] < table->shape[0];
        if (!done)
            PyErr_SetString(PyExc_ValueError, "rows that the steps do not have");
        else {
            Py_BEGIN_ALLOW_THREADS
            vgm_clear_bounded(rows->shape[0], row, axes->buf, gradients, table->buf);
            Py_END_ALLOW_THREADS
        }
    }
    return answer(&a, done);
}

static PyObject *between(PyObject *module, PyObject *arguments)
{
    PyObject *o[7];
    arrays a = {.taken = 0};
    const Py_buffer *b, *mu, *w, *new_mu, *new_b, *new_w, *out;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOOOOOO", &o[0], &o[1], &o[2], &o[3], &o[4], &o[5], &o[6]))
        return NULL;
    if ((b = take_matrices(&a, o[1])) && (mu = take_table(&a, o[0], "mu", b->shape[0], 3, 0)) &&
        (w = take_numbers(&a, o[2], "w", b->shape[0], 0)) && (new_mu = take_table(&a, o[3], "new mu", b->shape[0], 3, 0)) &&
        (new_b = take_matrices(&a, o[4])) && alike(new_b, "new B", b) && (new_w = take_numbers(&a, o[5], "new w", b->shape[0], 0)) &&
        (out = take_table(&a, o[6], "step", b->shape[0], VGM_STEP, WRITTEN))) {
        Py_BEGIN_ALLOW_THREADS
        vgm_step_between(b->shape[0], mu->buf, b->buf, w->buf, new_mu->buf, new_b->buf, new_w->buf, out->buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&a, done);
}

static PyObject *directions(PyObject *module, PyObject *arguments)
{
    PyObject *o[3];
    arrays a = {.taken = 0};
    const Py_buffer *b, *step, *out;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOO", &o[0], &o[1], &o[2]))
        return NULL;
    if ((b = take_matrices(&a, o[0])) && (step = take_table(&a, o[1], "step", b->shape[0], VGM_STEP, 0)) &&
        (out = take(&a, o[2], "directions", 'f', 4, 2, WHOLE | WRITTEN)) && has_shape(out, "directions", b->shape[0], VGM_STEP, 0)) {
        Py_BEGIN_ALLOW_THREADS
        vgm_step_directions(b->shape[0], b->buf, step->buf, out->buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&a, done);
}

static PyObject *move(PyObject *module, PyObject *arguments)
{
    PyObject *o[8];
    arrays a = {.taken = 0};
    const Py_buffer *b, *mu, *w, *step, *free_ = NULL, *new_mu, *new_b, *new_w;
    vgm_widths widths;
    double alpha;
    int shapes, done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOOOdpddOOOO", &o[0], &o[1], &o[2], &o[3], &alpha, &shapes, &widths.least, &widths.most, &o[4], &o[5],
                          &o[6], &o[7]))
        return NULL;
    if ((b = take_matrices(&a, o[1])) && (mu = take_table(&a, o[0], "mu", b->shape[0], 3, 0)) &&
        (w = take_numbers(&a, o[2], "w", b->shape[0], 0)) && (step = take_table(&a, o[3], "step", b->shape[0], VGM_STEP, 0)) &&
        (o[4] == Py_None || ((free_ = take(&a, o[4], "free", 'u', 1, 2, WHOLE)) && has_shape(free_, "free", b->shape[0], VGM_STEP, 0))) &&
        (new_mu = take_table(&a, o[5], "new mu", b->shape[0], 3, WRITTEN)) && (new_b = take_more_matrices(&a, o[6], "new B", b)) &&
        (new_w = take_numbers(&a, o[7], "new w", b->shape[0], WRITTEN))) {
        Py_BEGIN_ALLOW_THREADS
        vgm_move(b->shape[0], mu->buf, b->buf, w->buf, step->buf, alpha, shapes ? &widths : NULL, free_ == NULL ? NULL : free_->buf,
                 new_mu->buf, new_b->buf, new_w->buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&a, done);
}

static PyObject *clamp_widths(PyObject *module, PyObject *arguments)
{
    PyObject *o[2];
    arrays a = {.taken = 0};
    const Py_buffer *b, *out;
    vgm_widths widths;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OddO", &o[0], &widths.least, &widths.most, &o[1]))
        return NULL;
    if ((b = take_matrices(&a, o[0])) && (out = take_more_matrices(&a, o[1], "clamped", b))) {
        Py_BEGIN_ALLOW_THREADS
        vgm_clamp_widths(b->shape[0], b->buf, &widths, out->buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return answer(&a, done);
}

static PyMethodDef methods[] = {
    {"principal_axes", principal_axes, METH_VARARGS, NULL}, {"covariances", covariances, METH_VARARGS, NULL},
    {"volumes", volumes, METH_VARARGS, NULL},               {"dot", dot, METH_VARARGS, NULL},
    {"gradient", gradient, METH_VARARGS, NULL},             {"precondition", precondition, METH_VARARGS, NULL},
    {"hold_bounds", hold_bounds, METH_VARARGS, NULL},       {"directions", directions, METH_VARARGS, NULL},
    {"move", move, METH_VARARGS, NULL},                     {"clamp_widths", clamp_widths, METH_VARARGS, NULL},
    {"bounded", bounded, METH_VARARGS, NULL},               {"clear_bounded", clear_bounded, METH_VARARGS, NULL},
    {"between", between, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static int add_number(PyObject *module, const char *name, double value)
{
    PyObject *number = PyFloat_FromDouble(value);
    int failed = number == NULL || PyModule_AddObjectRef(module, name, number);
    Py_XDECREF(number);
    return failed;
}

static int start(PyObject *module)
{
    return PyModule_AddIntConstant(module, "STEP", VGM_STEP) || PyModule_AddIntConstant(module, "MOMENTS", VGM_STEP_MOMENTS) ||
           add_number(module, "DAMPING", VGM_DAMPING) || add_number(module, "AT_LEAST", VGM_AT_LEAST) ||
           add_number(module, "AT_MOST", VGM_AT_MOST) || add_number(module, "MAYBE", VGM_MAYBE_AT_BOUND) ||
           add_number(module, "WORST_CONDITION", VGM_WORST_CONDITION) || add_number(module, "NOTHING", VGM_NOTHING);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, start}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_steps", "Steps of Gaussians under fit.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__steps(void)
{
    return PyModuleDef_Init(&definition);
}
