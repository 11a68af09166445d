// Voxels from tile lists: the sum of the primitives, mapped and rounded, and its derivative along a direction.
//
// A block of 256 threads is a tile of 8 x 16 x 16 voxels; a warp is 4 x 8 columns of it, a thread one column of 8 voxels
// along z, in registers. Primitives go through shared memory in batches of BATCH; each warp leaves out those that cannot
// reach it, which adds nothing to no voxel, so what a voxel gets never depends on the box that was asked for.
// Along z the exponent is a quadratic: two exponentials seed a column, then g *= r, r *= c. Where the seed would leave
// float32's range each voxel takes its own exponential.
#include "primitive.cuh"

#define TILE_Z 8
#define TILE_Y 16
#define TILE_X 16
#define THREADS 256
#ifndef BATCH
#define BATCH 128
#endif
#define SEED_LIMIT 118.0f  // a seed of 2^-118 is still a normal float32

struct Box {
    int size[3], phase[3], grid[3];
};

struct Column {
    int y, x, tile[3];  // column inside the tile; first voxel of the tile in the box
};

__device__ __forceinline__ Box read_box(const int* __restrict__ layout) {
    Box box;
    for (int k = 0; k < 3; k++) {
        box.size[k] = layout[k];
        box.phase[k] = layout[6 + k];
        box.grid[k] = layout[9 + k];
    }
    return box;
}

__device__ __forceinline__ Column my_column(const Box& box) {
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    unsigned tile = blockIdx.x, across = (unsigned)box.grid[2], down = (unsigned)box.grid[1];
    Column c;
    c.y = (warp >> 1) * 4 + (lane >> 3);
    c.x = (warp & 1) * 8 + (lane & 7);
    c.tile[2] = (int)(tile % across) * TILE_X - box.phase[2];
    c.tile[1] = (int)(tile / across % down) * TILE_Y - box.phase[1];
    c.tile[0] = (int)(tile / across / down) * TILE_Z - box.phase[0];
    return c;
}

// Sum over a tile's list into the eight voxels of this thread's column.
template <bool SLOPE>
__device__ __forceinline__ void gather(float* sum, const Column& col, const int* __restrict__ anchors,
                                       const float* __restrict__ table, const float* __restrict__ direction,
                                       const int* __restrict__ ids, i64 first, i64 stop, float reach, float edge,
                                       float norm) {
    __shared__ float4 bounds[BATCH];  // y and x that the support spans: y lo, y hi, x lo, x hi
    __shared__ float4 part_a[BATCH];  // centre y, centre x, u at the tile's first plane, tzz
    __shared__ float4 part_b[BATCH];  // tzy, tzx, tyy, tyx
    __shared__ float4 part_c[BATCH];  // txx, weight, ratio, centre z
    __shared__ float4 way[SLOPE ? 3 * BATCH : 1];
    const int lane = threadIdx.x & 31;
    const float warp_y = (float)(col.y & ~3), warp_x = (float)(col.x & ~7);
    const float at_y = (float)col.y, at_x = (float)col.x;

    for (i64 start = first; start < stop; start += BATCH) {
        int count = (int)(stop - start < BATCH ? stop - start : BATCH);
        __syncthreads();
        for (int k = threadIdx.x; k < count; k += THREADS) {
            i64 i = ids[start + k];
            const int* anchor = anchors + i * 3;
            const float* p = table + i * COLUMNS;
            float cz = (float)(anchor[0] - col.tile[0]) + p[FZ];
            float cy = (float)(anchor[1] - col.tile[1]) + p[FY];
            float cx = (float)(anchor[2] - col.tile[2]) + p[FX];
            bounds[k] = make_float4(cy - p[HY], cy + p[HY], cx - p[HX], cx + p[HX]);
            part_a[k] = make_float4(cy, cx, -p[TZZ] * cz, p[TZZ]);
            part_b[k] = make_float4(p[TZY], p[TZX], p[TYY], p[TYX]);
            part_c[k] = make_float4(p[TXX], p[WEIGHT], p[RATIO], cz);
            if (SLOPE) {
                const float* d = direction + i * 10;
                float w = p[WEIGHT];
                way[3 * k] = make_float4(d[0] * norm, w * d[1], w * d[2], w * d[3]);
                way[3 * k + 1] = make_float4(w * d[4], w * d[5], w * d[6], w * d[7]);
                way[3 * k + 2] = make_float4(w * d[8], w * d[9], 0.0f, 0.0f);
            }
        }
        __syncthreads();
        for (int base = 0; base < count; base += 32) {
            bool meets = false;
            if (base + lane < count) {
                float4 b = bounds[base + lane];
                meets = b.y >= warp_y && b.x <= warp_y + 3.0f && b.w >= warp_x && b.z <= warp_x + 7.0f;
            }
            unsigned todo = __ballot_sync(ALL_LANES, meets);
            while (todo) {
                int k = base + __ffs((int)todo) - 1;
                todo &= todo - 1;
                float4 a = part_a[k], b = part_b[k], c = part_c[k];
                float dy = at_y - a.x, dx = at_x - a.y;
                float v = b.z * dy + b.w * dx, t = c.x * dx;
                float u = a.z + b.x * dy + b.y * dx;
                float flat = v * v + t * t;
                float best = fmaxf(u, fminf(u + (TILE_Z - 1) * a.w, 0.0f));
                if (!(flat + best * best < reach)) continue;
                float p0 = 0.0f, p1 = 0.0f, p2 = 0.0f, fall = 0.0f;
                if (SLOPE) {
                    float4 d = way[3 * k], e = way[3 * k + 1], f = way[3 * k + 2];
                    p0 = d.x + dy * (d.z + e.w * dy) + dx * (d.w + f.x * dy + f.y * dx);
                    p1 = d.y + e.y * dy + e.z * dx;
                    p2 = e.x;
                    fall = d.x * edge;
                }
                float low = flat + u * u;
                if (low <= SEED_LIMIT) {
                    float g = exp2f(-low), r = exp2f(-a.w * (u + u + a.w));
#pragma unroll
                    for (int z = 0; z < TILE_Z; z++) {
                        if (SLOPE) {
                            float dz = (float)z - c.w;
                            sum[z] += g > edge ? g * (p0 + dz * (p1 + p2 * dz)) - fall : 0.0f;
                        } else {
                            sum[z] += c.y * fmaxf(g - edge, 0.0f);
                        }
                        g *= r;
                        r *= c.z;
                    }
                } else {
#pragma unroll
                    for (int z = 0; z < TILE_Z; z++) {
                        float g = exp2f(-(flat + u * u));
                        if (SLOPE) {
                            float dz = (float)z - c.w;
                            sum[z] += g > edge ? g * (p0 + dz * (p1 + p2 * dz)) - fall : 0.0f;
                        } else {
                            sum[z] += c.y * fmaxf(g - edge, 0.0f);
                        }
                        u += a.w;
                    }
                }
            }
        }
    }
}

__device__ __forceinline__ void store(float value, float* out) { *out = value; }
__device__ __forceinline__ void store(float value, unsigned char* out) {
    *out = (unsigned char)(int)fminf(fmaxf(rintf(value), 0.0f), 255.0f);
}
__device__ __forceinline__ void store(float value, unsigned short* out) {
    *out = (unsigned short)(int)fminf(fmaxf(rintf(value), 0.0f), 65535.0f);
}
__device__ __forceinline__ void store(float value, short* out) {
    *out = (short)(int)fminf(fmaxf(rintf(value), -32768.0f), 32767.0f);
}

template <bool SLOPE, typename T>
__device__ __forceinline__ void tile_voxels(const int* anchors, const float* table, const float* direction,
                                            const i64* offsets, const int* ids, const int* layout, i64 capacity,
                                            float reach, float edge, float norm, float base, float gain, T* out) {
    const Box box = read_box(layout);
    const Column col = my_column(box);
    float sum[TILE_Z];
#pragma unroll
    for (int z = 0; z < TILE_Z; z++) sum[z] = 0.0f;
    i64 first = offsets[blockIdx.x], stop = offsets[blockIdx.x + 1];
    if (stop > capacity) stop = capacity;
    gather<SLOPE>(sum, col, anchors, table, direction, ids, first, stop, reach, edge, norm);
    int y = col.tile[1] + col.y, x = col.tile[2] + col.x;
    if (y < 0 || y >= box.size[1] || x < 0 || x >= box.size[2]) return;
#pragma unroll
    for (int k = 0; k < TILE_Z; k++) {
        int z = col.tile[0] + k;
        if (z >= 0 && z < box.size[0])
            store(fmaf(gain, sum[k], base), out + ((i64)z * box.size[1] + y) * box.size[2] + x);
    }
}

// Voxels of a box (spec, sections 8.2 and 8.3): base + gain * sum, rounded half to even and limited to the dtype.
// One block of 256 a tile.
//   anchors int32 [N, 3], table float32 [N, 16], offsets int64 [tiles + 1], ids int32 [capacity] ascending in each tile,
//   layout int32 [12]: shape, tile (8, 16, 16), phase, grid; out [Z, Y, X].
#define RENDER(NAME, T)                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                            \
    NAME(const int* __restrict__ anchors, const float* __restrict__ table, const i64* __restrict__ offsets,          \
         const int* __restrict__ ids, const int* __restrict__ layout, i64 capacity, float reach, float edge,         \
         float base, float gain, T* __restrict__ out) {                                                              \
        tile_voxels<false, T>(anchors, table, (const float*)0, offsets, ids, layout, capacity, reach, edge, 0.0f,    \
                              base, gain, out);                                                                      \
    }
RENDER(render_uint8, unsigned char)
RENDER(render_uint16, unsigned short)
RENDER(render_int16, short)
RENDER(render_float32, float)

// Derivative of the sum along a direction of the parameters, J p (for the fit; k of spec, section 8.1). One block of 256 a tile.
//   direction float32 [N, 10]: dw, then -dq/2 = l.d + d'Q d as lz, ly, lx, zz, zy, zx, yy, yx, xx; norm: 1 / (1 - edge);
//   out float32 [Z, Y, X].
extern "C" __global__ void __launch_bounds__(THREADS)
slope(const int* __restrict__ anchors, const float* __restrict__ table, const i64* __restrict__ offsets,
      const int* __restrict__ ids, const int* __restrict__ layout, i64 capacity, float reach, float edge, float norm,
      const float* __restrict__ direction, float* __restrict__ out) {
    tile_voxels<true, float>(anchors, table, direction, offsets, ids, layout, capacity, reach, edge, norm, 0.0f, 1.0f,
                             out);
}
