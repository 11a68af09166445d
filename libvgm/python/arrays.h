/* Arrays of numpy that functions of an extension module work on, by the buffer protocol: kind, axes and sizes are checked. */
#ifndef VGM_ARRAYS_H
#define VGM_ARRAYS_H

#include <stdint.h>
#include <string.h>

enum { ARRAYS = 12 };

/* What an argument has to be. Rows are contiguous; with `WHOLE` all of it is. */
enum { WRITTEN = 1, WHOLE = 2 };

typedef struct {
    Py_buffer views[ARRAYS];
    int taken;
} arrays;

static void release(arrays *a)
{
    while (a->taken > 0)
        PyBuffer_Release(&a->views[--a->taken]);
}

/* Whether a format of one item is of a kind: 'f' binary64 or binary32, 'i' signed, 'u' unsigned or bool. */
static int is_kind(const char *format, char kind)
{
    const char *all = kind == 'f' ? "fd" : kind == 'i' ? "bhilq" : "BHILQ?";
    if (format == NULL)
        return kind == 'u';
    if (*format == '@' || *format == '=' || *format == '<')
        format++;
    return *format != 0 && format[1] == 0 && strchr(all, *format) != NULL;
}

static int is_laid_out(const Py_buffer *v, int whole)
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
static const Py_buffer *take(arrays *a, PyObject *given, const char *name, char kind, Py_ssize_t size, int axes, int how)
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
static int has_shape(const Py_buffer *v, const char *name, int64_t n0, int64_t n1, int64_t n2)
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

#endif
