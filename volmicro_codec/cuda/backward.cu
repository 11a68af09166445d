// What the fit needs of a box of voxels, one primitive at a time: moments of a residual.
//
// A primitive's support is cut into items of whole rows (about ITEM_VOXELS voxels); a warp takes an item, a lane every
// 32nd column along z of it, and the lanes are added in a fixed order. Items are added in order too: no float atomics.
#include "primitive.cuh"

#ifndef ITEM_VOXELS
#define ITEM_VOXELS 16384
#endif
#define MOMENTS 11  // kernel, 1, z, y, x, zz, zy, zx, yy, yx, xx

struct Support {
    int lo[3], hi[3], rows;
};

__device__ __forceinline__ i64 support_items(const int* anchor, const float* row, const int* shape, Support* s) {
    i64 area = 1;
    for (int k = 0; k < 3; k++) {
        voxel_span(anchor[k], row[FZ + k], row[HZ + k], shape[k], 0.0f, &s->lo[k], &s->hi[k]);
        if (s->hi[k] <= s->lo[k]) return 0;
        if (k != 1) area *= s->hi[k] - s->lo[k];
    }
    // So an item has at most ITEM_VOXELS columns, or those of one row: fewer than 2^31.
    i64 rows = area < ITEM_VOXELS ? ITEM_VOXELS / area : 1, all = s->hi[1] - s->lo[1];
    s->rows = (int)(rows < all ? rows : all);
    return (all + s->rows - 1) / s->rows;
}

// Items of each primitive: counts int64 [n]. One thread a primitive. shape: the first 3 of layout int32 [12].
extern "C" __global__ void __launch_bounds__(256)
count_items(const int* __restrict__ anchors, const float* __restrict__ table, i64 n, const int* __restrict__ layout,
            i64* __restrict__ counts) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    Support s;
    if (i < n) counts[i] = support_items(anchors + i * 3, table + i * COLUMNS, layout, &s);
}

// A column along z: offsets of it from the centre, and the part of the exponent that is the same all along it.
struct Span {
    float dy, dx, u, step, flat, dz;  // u and dz at the first voxel
    int first, stop;                  // voxels of the box along z, all of the column that g > edge can hold for
};

__device__ __forceinline__ bool open_column(const int* anchor, const float* p, const Support& s, int y, int x, float reach,
                                            Span* c) {
    c->dy = (float)(y - anchor[1]) - p[FY];
    c->dx = (float)(x - anchor[2]) - p[FX];
    float v = p[TYY] * c->dy + p[TYX] * c->dx, t = p[TXX] * c->dx;
    c->flat = v * v + t * t;
    if (!(c->flat < reach)) return false;
    float across = p[TZY] * c->dy + p[TZX] * c->dx;
    float centre = p[FZ] - across / p[TZZ], half = sqrtf(reach - c->flat) / p[TZZ];
    i64 lo = (i64)anchor[0] + (i64)ceilf(centre - half - 0.01f), hi = (i64)anchor[0] + (i64)floorf(centre + half + 0.01f) + 1;
    c->first = (int)(lo > s.lo[0] ? (lo < s.hi[0] ? lo : s.hi[0]) : s.lo[0]);
    c->stop = (int)(hi < s.hi[0] ? (hi > s.lo[0] ? hi : s.lo[0]) : s.hi[0]);
    c->dz = (float)(c->first - anchor[0]) - p[FZ];
    c->step = p[TZZ];
    c->u = across + p[TZZ] * c->dz;
    return c->first < c->stop;
}

// Moments of a residual under each primitive (gradient of half the squared error; k of spec, section 8.1).
// One warp an item, blocks of 128, any number of blocks.
//   first_item int64 [n + 1]; residual float32 [Z, Y, X]; parts float32 [capacity, 11]: sum r (g - edge), then
//   sum r g (1, z, y, x, zz, zy, zx, yy, yx, xx) over the voxels with g > edge, offsets from the centre.
extern "C" __global__ void __launch_bounds__(128)
moments(const int* __restrict__ anchors, const float* __restrict__ table, i64 n, const i64* __restrict__ first_item,
        const int* __restrict__ layout, i64 capacity, float reach, float edge, const float* __restrict__ residual,
        float* __restrict__ parts) {
    const int lane = threadIdx.x & 31;
    const i64 items = first_item[n] < capacity ? first_item[n] : capacity;
    const i64 warps = ((i64)gridDim.x * blockDim.x) >> 5;
    const i64 row = layout[2], plane = row * layout[1];
    for (i64 item = ((i64)blockIdx.x * blockDim.x + threadIdx.x) >> 5; item < items; item += warps) {
        i64 i = owner(first_item, n, item);
        const int* anchor = anchors + i * 3;
        const float* p = table + i * COLUMNS;
        Support s;
        support_items(anchor, p, layout, &s);
        i64 top = s.lo[1] + (item - first_item[i]) * s.rows;
        int width = s.hi[2] - s.lo[2], rows = (int)(s.hi[1] - top < s.rows ? s.hi[1] - top : s.rows);
        float m[MOMENTS];
#pragma unroll
        for (int k = 0; k < MOMENTS; k++) m[k] = 0.0f;
        for (int c = lane; c < rows * width; c += 32) {
            int y = (int)top + c / width, x = s.lo[2] + c % width;
            Span col;
            if (!open_column(anchor, p, s, y, x, reach, &col)) continue;
            const float* r = residual + col.first * plane + y * row + x;
            float kernel = 0.0f, a0 = 0.0f, a1 = 0.0f, a2 = 0.0f, u = col.u, dz = col.dz;
            for (int z = col.first; z < col.stop; z++, r += plane) {
                float g = exp2f(-(col.flat + u * u));
                if (g > edge) {
                    float rho = *r, t = g * rho, tz = t * dz;
                    kernel += rho * (g - edge);
                    a0 += t;
                    a1 += tz;
                    a2 += tz * dz;
                }
                u += col.step;
                dz += 1.0f;
            }
            float ay = a0 * col.dy, ax = a0 * col.dx;
            m[0] += kernel;
            m[1] += a0;
            m[2] += a1;
            m[3] += ay;
            m[4] += ax;
            m[5] += a2;
            m[6] += a1 * col.dy;
            m[7] += a1 * col.dx;
            m[8] += ay * col.dy;
            m[9] += ay * col.dx;
            m[10] += ax * col.dx;
        }
#pragma unroll
        for (int k = 0; k < MOMENTS; k++) {
            float total = warp_sum(m[k]);
            if (lane == 0) parts[item * MOMENTS + k] = total;
        }
    }
}

// Adds the items of each primitive, in order: parts float32 [capacity, columns] to out float64 [n, columns].
// One thread a primitive and column.
extern "C" __global__ void __launch_bounds__(256)
sum_items(const i64* __restrict__ first_item, i64 n, int columns, i64 capacity, const float* __restrict__ parts,
          double* __restrict__ out) {
    i64 k = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= n * columns) return;
    i64 i = k / columns, stop = first_item[i + 1] < capacity ? first_item[i + 1] : capacity;
    double sum = 0.0;
    for (i64 e = first_item[i]; e < stop; e++) sum += (double)parts[e * columns + k % columns];
    out[k] = sum;
}
