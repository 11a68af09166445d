/* What the extension modules share: arrays of numpy that their functions work on, by the buffer protocol, with kind, axes and sizes
 * checked, and what functions end with. The limited API of Python 3.11, so that one build serves every later Python. */
#ifndef VGM_ARRAYS_H
#define VGM_ARRAYS_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum { ARRAYS = 12 };

/* What an argument has to be. Rows are contiguous; with `WHOLE` all of it is. */
enum { WRITTEN = 1, WHOLE = 2, OPTIONAL = 4 };

typedef struct {
    Py_buffer views[ARRAYS];
    int taken;
} arrays;

static inline void release(arrays *a)
{
    while (a->taken > 0)
        PyBuffer_Release(&a->views[--a->taken]);
}

/* Whether a format of one item is of a kind: 'f' binary64 or binary32, 'i' signed, 'u' unsigned or bool. */
static inline int is_kind(const char *format, char kind)
{
    const char *all = kind == 'f' ? "fd" : kind == 'i' ? "bhilq" : "BHILQ?";
    if (format == NULL)
        return kind == 'u';
    if (*format == '@' || *format == '=' || *format == '<')
        format++;
    return *format != 0 && format[1] == 0 && strchr(all, *format) != NULL;
}

static inline int is_laid_out(const Py_buffer *v, int whole)
{
    Py_ssize_t expected = v->itemsize;
    if (v->len == 0)
        return 1;
    for (int k = v->ndim - 1; k >= 0; k--) {
        if (v->shape[k] > 1 && v->strides[k] != expected && (whole || k == v->ndim - 1))
            return 0;
        if (v->strides[k] % v->itemsize != 0)
            return 0;
        expected *= v->shape[k];
    }
    return 1;
}

/* Take an argument as an array; NULL, with an error set, where it is not what it has to be. */
static inline const Py_buffer *take(arrays *a, PyObject *given, const char *name, char kind, Py_ssize_t size, int axes, int how)
{
    Py_buffer *v = &a->views[a->taken];
    if (PyObject_GetBuffer(given, v, PyBUF_STRIDES | PyBUF_FORMAT | (how & WRITTEN ? PyBUF_WRITABLE : 0)) < 0)
        return NULL;
    a->taken++;
    if (v->ndim == axes && v->itemsize == size && is_kind(v->format, kind) && is_laid_out(v, how & WHOLE))
        return v;
    PyErr_Format(PyExc_ValueError, "%s: expected an array of %d axes of kind %c%zd, its rows in one piece%s; got %d axes of %s, %zd bytes each",
                 name, axes, (int)kind, size, how & WHOLE ? " and all of it" : "", v->ndim, v->format == NULL ? "B" : v->format, v->itemsize);
    return NULL;
}

/* Whether an array has the sizes given. */
static inline int has_shape(const Py_buffer *v, const char *name, int64_t n0, int64_t n1, int64_t n2)
{
    const int64_t n[3] = {n0, n1, n2};
    for (int k = 0; k < v->ndim; k++)
        if (v->shape[k] != n[k]) {
            PyErr_Format(PyExc_ValueError, "%s: expected %lld along axis %d, got %zd", name, (long long)n[k], k, v->shape[k]);
            return 0;
        }
    return 1;
}

static inline int alike(const Py_buffer *v, const char *name, const Py_buffer *other)
{
    return has_shape(v, name, other->shape[0], other->shape[1], other->shape[2]);
}

/* Whether a buffer holds at least so many items of a size. */
static inline int fits(const Py_buffer *v, int64_t items, size_t size, const char *name)
{
    if (items >= 0 && (uint64_t)v->len / size >= (uint64_t)items)
        return 1;
    PyErr_Format(PyExc_ValueError, "%s: %zd bytes, expected %lld x %zu", name, v->len, (long long)items, size);
    return 0;
}

/* Take an argument as at least so many items in one piece, of any kind and axes; NULL, with an error set, where it is not that. With
 * `OPTIONAL` None is one of no items. */
static inline void *take_items(arrays *a, PyObject *given, int64_t items, size_t size, int how, const char *name)
{
    Py_buffer *v = &a->views[a->taken];
    static double nothing;
    if (how & OPTIONAL && given == Py_None)
        return &nothing;
    if (PyObject_GetBuffer(given, v, how & WRITTEN ? PyBUF_WRITABLE : PyBUF_SIMPLE) < 0)
        return NULL;
    a->taken++;
    if (!fits(v, items, size, name))
        return NULL;
    return v->buf != NULL ? v->buf : &nothing;
}

/* None; NULL where an error is set. */
static inline PyObject *none(int done)
{
    if (!done)
        return NULL;
    Py_RETURN_NONE;
}

/* The same, and the arrays are let go. */
static inline PyObject *answer(arrays *a, int done)
{
    release(a);
    return none(done);
}

/* Let a function choose among the instructions of the processor up to a set, for tests. */
static inline PyObject *limit(PyObject *arguments, void (*most)(int))
{
    int instructions;
    if (!PyArg_ParseTuple(arguments, "i", &instructions))
        return NULL;
    most(instructions);
    Py_RETURN_NONE;
}

#endif
