/* volmicro_codec._native: the steps of libvgm that decoding in Python is made of, on the buffers of numpy arrays.
 *
 * The interpreter's lock is let go while a function works.
 * Callers are the package's own: sizes of buffers are checked here, what Gaussian numbers say is not. */
#include "arrays.h"

#include <stdlib.h>

#include "../src/codings.h"
#include "../src/grain.h"
#include "../src/sample.h"
#include "../src/tiles.h"

typedef struct {
    vgm_lattice_tables *tables;
} module_state;

/* Raises the package's error for a status. */
static PyObject *raise(const vgm_error *error)
{
    const char *name = error->status == VGM_UNSUPPORTED ? "UnsupportedFeatureError" : "FormatError";
    PyObject *module, *kind;
    if (error->status == VGM_MEMORY)
        return PyErr_NoMemory();
    module = PyImport_ImportModule("volmicro_codec.errors");
    if (module == NULL)
        return NULL;
    kind = PyObject_GetAttrString(module, name);
    Py_DECREF(module);
    if (kind != NULL) {
        PyErr_SetString(kind, error->text);
        Py_DECREF(kind);
    }
    return NULL;
}

static PyObject *decode_payload(PyObject *module, PyObject *arguments)
{
    module_state *state = PyModule_GetState(module);
    vgm_payload p;
    vgm_error error;
    vgm_status status = VGM_USAGE;
    Py_buffer payload, shared, records;
    unsigned long long count;
    long long brick[3];
    if (!PyArg_ParseTuple(arguments, "Iy*Ky*(LLL)sw*", &p.coding, &payload, &count, &shared, &brick[0], &brick[1], &brick[2], &p.where,
                          &records))
        return NULL;
    error.status = VGM_OK;
    if (p.coding == VGM_CODING_LATTICE && state->tables == NULL)
        state->tables = vgm_new_lattice_tables(&vgm_malloc_allocator, &error);
    if (error.status != VGM_OK) {
        raise(&error);
    } else if (fits(&records, (int64_t)count, VGM_RECORD_BYTES, "records")) {
        p.payload = payload.buf;
        p.length = (size_t)payload.len;
        p.shared = shared.buf;
        p.shared_length = (size_t)shared.len;
        p.count = count;
        p.tables = state->tables;
        for (int a = 0; a < 3; a++)
            p.brick_shape[a] = (uint64_t)brick[a];
        Py_BEGIN_ALLOW_THREADS
        status = vgm_decode_payload(&p, records.buf, &vgm_malloc_allocator, &error);
        Py_END_ALLOW_THREADS
        if (status != VGM_OK)
            raise(&error);
    }
    PyBuffer_Release(&payload);
    PyBuffer_Release(&shared);
    PyBuffer_Release(&records);
    return none(status == VGM_OK);
}

/* Centres, standard deviations, quaternions, weights, as numpy holds them. */
typedef struct {
    Py_buffer means, scales, rotations, intensities;
    vgm_primitives primitives;
} primitive_buffers;

static int primitives_of(primitive_buffers *b)
{
    int64_t n = b->intensities.len / (int64_t)sizeof(float);
    b->primitives.means = b->means.buf;
    b->primitives.scales = b->scales.buf;
    b->primitives.rotations = b->rotations.buf;
    b->primitives.intensities = b->intensities.buf;
    b->primitives.count = (size_t)n;
    return fits(&b->means, 3 * n, sizeof(double), "means") && fits(&b->scales, 3 * n, sizeof(float), "scales") &&
           fits(&b->rotations, 4 * n, sizeof(float), "rotations");
}

static void release_primitives(primitive_buffers *b)
{
    PyBuffer_Release(&b->means);
    PyBuffer_Release(&b->scales);
    PyBuffer_Release(&b->rotations);
    PyBuffer_Release(&b->intensities);
}

static PyObject *gather(PyObject *module, PyObject *arguments)
{
    primitive_buffers b;
    vgm_grid grid;
    Py_buffer gaussians;
    long long lo[3], hi[3], first[3], last[3];
    unsigned long long entries = 0;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*dddd(LLL)(LLL)(LLL)(LLL)w*", &b.means, &b.scales, &b.rotations, &b.intensities, &grid.cutoff,
                          &grid.origin, &grid.step, &grid.widening, &lo[0], &lo[1], &lo[2], &hi[0], &hi[1], &hi[2], &first[0],
                          &first[1], &first[2], &last[0], &last[1], &last[2], &gaussians))
        return NULL;
    if (primitives_of(&b) && fits(&gaussians, (int64_t)b.primitives.count, sizeof(vgm_gaussian), "gaussians")) {
        int64_t group_lo[3] = {lo[0], lo[1], lo[2]}, group_hi[3] = {hi[0], hi[1], hi[2]};
        int64_t from[3] = {first[0], first[1], first[2]}, to[3] = {last[0], last[1], last[2]};
        Py_BEGIN_ALLOW_THREADS
        entries = vgm_gather(&b.primitives, &grid, group_lo, group_hi, from, to, gaussians.buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    release_primitives(&b);
    PyBuffer_Release(&gaussians);
    return done ? PyLong_FromUnsignedLongLong(entries) : NULL;
}

static PyObject *list_pairs(PyObject *module, PyObject *arguments)
{
    Py_buffer gaussians, pairs, counts;
    double cutoff;
    long long lo[3], n[3];
    unsigned long long first, last, room, entries = 0;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*KKd(LLL)(LLL)Kw*w*", &gaussians, &first, &last, &cutoff, &lo[0], &lo[1], &lo[2], &n[0], &n[1], &n[2], &room,
                          &pairs, &counts))
        return NULL;
    if (fits(&pairs, (int64_t)room, sizeof(vgm_pair), "pairs") && fits(&counts, (VGM_GROUP_TILES + 1) * n[0] * n[1] * n[2], sizeof(uint64_t), "counts") &&
        fits(&gaussians, (int64_t)last, sizeof(vgm_gaussian), "gaussians")) {
        int64_t group_lo[3] = {lo[0], lo[1], lo[2]}, groups[3] = {n[0], n[1], n[2]};
        Py_BEGIN_ALLOW_THREADS
        entries = vgm_list_pairs(gaussians.buf, first, last, cutoff, group_lo, groups, pairs.buf, counts.buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    PyBuffer_Release(&gaussians);
    PyBuffer_Release(&pairs);
    PyBuffer_Release(&counts);
    return done ? PyLong_FromUnsignedLongLong(entries) : NULL;
}

static PyObject *sort_pairs(PyObject *module, PyObject *arguments)
{
    Py_buffer pairs, cursor, ids;
    unsigned long long count;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*Kw*w*", &pairs, &count, &cursor, &ids))
        return NULL;
    if (fits(&pairs, (int64_t)count, sizeof(vgm_pair), "pairs") && fits(&ids, (int64_t)count, sizeof(uint32_t), "ids")) {
        Py_BEGIN_ALLOW_THREADS
        vgm_sort_pairs(pairs.buf, count, cursor.buf, ids.buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    PyBuffer_Release(&pairs);
    PyBuffer_Release(&cursor);
    PyBuffer_Release(&ids);
    return none(done);
}

static PyObject *evaluate_tiles(PyObject *module, PyObject *arguments)
{
    Py_buffer offsets, ids, gaussians, out;
    unsigned long long first, last;
    long long lo[3], n[3], v[3], step[3], count[3], pitch[3];
    vgm_block b;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "KKy*y*y*d(LLL)(LLL)(LLL)(LLL)(LLL)ddiw*(LLL)", &first, &last, &offsets, &ids, &gaussians,
                          &b.cutoff, &lo[0], &lo[1], &lo[2], &n[0], &n[1], &n[2], &v[0], &v[1], &v[2], &step[0], &step[1], &step[2],
                          &count[0], &count[1], &count[2], &b.base, &b.gain, &b.type, &out, &pitch[0], &pitch[1], &pitch[2]))
        return NULL;
    for (int a = 0; a < 3; a++) {
        b.group_lo[a] = lo[a];
        b.groups[a] = n[a];
        b.lo[a] = v[a];
        b.step[a] = step[a];
        b.count[a] = count[a];
        b.pitch[a] = pitch[a];
    }
    if (fits(&offsets, (VGM_GROUP_TILES + 1) * n[0] * n[1] * n[2] + 1, sizeof(uint64_t), "offsets") &&
        fits(&offsets, VGM_GROUP_TILES * n[0] * n[1] * n[2] + (int64_t)last + 1, sizeof(uint64_t), "offsets") &&
        fits(&out, pitch[2] + (count[0] - 1) * pitch[0] + (count[1] - 1) * pitch[1] + count[2],
             b.type == VGM_UINT8 ? 1 : b.type == VGM_FLOAT32 ? 4 : 2, "out")) {
        vgm_tile_room *room = malloc(sizeof *room);
        if (room == NULL) {
            PyErr_NoMemory();
        } else {
            b.offsets = offsets.buf;
            b.ids = ids.buf;
            b.gaussians = gaussians.buf;
            b.out = out.buf;
            Py_BEGIN_ALLOW_THREADS
            vgm_evaluate_tiles(&b, first, last, room);
            Py_END_ALLOW_THREADS
            free(room);
            done = 1;
        }
    }
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&ids);
    PyBuffer_Release(&gaussians);
    PyBuffer_Release(&out);
    return none(done);
}

static PyObject *add_to_points(PyObject *module, PyObject *arguments)
{
    primitive_buffers b;
    vgm_grid grid;
    vgm_cells c;
    Py_buffer points, starts, sums;
    long long cells[3], z_lo, z_hi;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*ddddy*y*(ddd)(ddd)(LLL)LLw*", &b.means, &b.scales, &b.rotations, &b.intensities,
                          &grid.cutoff, &grid.origin, &grid.step, &grid.widening, &points, &starts, &c.first[0], &c.first[1],
                          &c.first[2], &c.edge[0], &c.edge[1], &c.edge[2], &cells[0], &cells[1], &cells[2], &z_lo, &z_hi, &sums))
        return NULL;
    if (primitives_of(&b) && fits(&points, 3 * (sums.len / (int64_t)sizeof(double)), sizeof(double), "points") &&
        fits(&starts, cells[0] * cells[1] * cells[2] + 1, sizeof(int64_t), "starts")) {
        for (int a = 0; a < 3; a++)
            c.cells[a] = cells[a];
        c.points = points.buf;
        c.starts = starts.buf;
        Py_BEGIN_ALLOW_THREADS
        vgm_add_to_points(&b.primitives, &grid, &c, z_lo, z_hi, sums.buf);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    release_primitives(&b);
    PyBuffer_Release(&points);
    PyBuffer_Release(&starts);
    PyBuffer_Release(&sums);
    return none(done);
}

static PyObject *add_grain(PyObject *module, PyObject *arguments)
{
    Py_buffer voxels;
    vgm_noise noise;
    vgm_grain g;
    vgm_error error;
    vgm_status status = VGM_USAGE;
    double background;
    long long lo[3], step[3], count[3], first, last;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "w*iddd(iii)III(LLL)(LLL)(LLL)LL", &voxels, &g.type, &background, &noise.sigma, &noise.gain,
                          &noise.correlation[0], &noise.correlation[1], &noise.correlation[2], &g.time, &g.channel, &g.seed, &lo[0],
                          &lo[1], &lo[2], &step[0], &step[1], &step[2], &count[0], &count[1], &count[2], &first, &last))
        return NULL;
    noise.background = (float)background;
    g.noise = &noise;
    g.voxels = voxels.buf;
    for (int a = 0; a < 3; a++) {
        g.lo[a] = lo[a];
        g.step[a] = step[a];
        g.count[a] = count[a];
    }
    if (fits(&voxels, count[0] * count[1] * count[2], g.type == VGM_UINT8 ? 1 : g.type == VGM_FLOAT32 ? 4 : 2, "voxels")) {
        Py_BEGIN_ALLOW_THREADS
        status = vgm_grain_planes(&g, first, last, &vgm_malloc_allocator, &error);
        Py_END_ALLOW_THREADS
        if (status != VGM_OK)
            raise(&error);
    }
    PyBuffer_Release(&voxels);
    return none(status == VGM_OK);
}

static PyObject *instructions(PyObject *module, PyObject *arguments)
{
    (void)module;
    (void)arguments;
    return PyUnicode_FromString(vgm_instructions());
}

static PyMethodDef methods[] = {
    {"decode_payload", decode_payload, METH_VARARGS, NULL}, {"gather", gather, METH_VARARGS, NULL},
    {"list_pairs", list_pairs, METH_VARARGS, NULL},         {"sort_pairs", sort_pairs, METH_VARARGS, NULL},
    {"evaluate_tiles", evaluate_tiles, METH_VARARGS, NULL}, {"add_to_points", add_to_points, METH_VARARGS, NULL},
    {"add_grain", add_grain, METH_VARARGS, NULL},           {"instructions", instructions, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static int start(PyObject *module)
{
    module_state *state = PyModule_GetState(module);
    state->tables = NULL;
    return PyModule_AddIntConstant(module, "GAUSSIAN_BYTES", sizeof(vgm_gaussian)) ||
           PyModule_AddIntConstant(module, "PAIR_BYTES", sizeof(vgm_pair)) ||
           PyModule_AddIntConstant(module, "GROUP_TILES", VGM_GROUP_TILES) || PyModule_AddIntConstant(module, "GROUP_Z", VGM_GROUP_Z) ||
           PyModule_AddIntConstant(module, "GROUP_Y", VGM_GROUP_Y) || PyModule_AddIntConstant(module, "GROUP_X", VGM_GROUP_X);
}

static void end(void *module)
{
    module_state *state = PyModule_GetState(module);
    if (state != NULL)
        vgm_give(&vgm_malloc_allocator, state->tables);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, start}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "libvgm, in the steps that decoding is made of.", sizeof(module_state), methods, slots, NULL, NULL, end,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
