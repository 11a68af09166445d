// Values at arbitrary points: over a tile's list, or over the primitives nearest to each point.
#include "primitive.cuh"

__device__ __forceinline__ float term(const int* __restrict__ anchors, const float* __restrict__ table, i64 i,
                                      const int* whole, const float* rest, float reach, float edge) {
    const int* anchor = anchors + i * 3;
    const float* p = table + i * COLUMNS;
    float dz = (float)((i64)whole[0] - anchor[0]) + (rest[0] - p[FZ]);
    float dy = (float)((i64)whole[1] - anchor[1]) + (rest[1] - p[FY]);
    float dx = (float)((i64)whole[2] - anchor[2]) + (rest[2] - p[FX]);
    float u = p[TZZ] * dz + p[TZY] * dy + p[TZX] * dx, v = p[TYY] * dy + p[TYX] * dx, t = p[TXX] * dx;
    float q = u * u + v * v + t * t;
    return q < reach ? p[WEIGHT] * fmaxf(exp2f(-q) - edge, 0.0f) : 0.0f;
}

__device__ __forceinline__ void split(const double* point, int* whole, float* rest) {
    for (int k = 0; k < 3; k++) {
        double nearest = fmin(fmax(rint(point[k]), -2147483647.0), 2147483647.0);
        whole[k] = (int)nearest;
        rest[k] = (float)(point[k] - nearest);
    }
}

// base + gain * sum at points (spec, section 8.2), in the order of the primitives. One thread a point.
//   points float64 [m, 3]: relative to the box; layout int32 [12]: shape, tile, phase, grid, binned with a margin of 1;
//   offsets int64 [tiles + 1], ids int32; out float32 [m]. A point outside the grid has no primitives.
extern "C" __global__ void __launch_bounds__(128)
sample_tiles(const int* __restrict__ anchors, const float* __restrict__ table, const i64* __restrict__ offsets,
             const int* __restrict__ ids, const int* __restrict__ layout, i64 capacity, float reach, float edge,
             float base, float gain, const double* __restrict__ points, i64 m, float* __restrict__ out) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= m) return;
    int whole[3];
    float rest[3], sum = 0.0f;
    split(points + i * 3, whole, rest);
    i64 tile = 0;
    bool inside = true;
    for (int k = 0; k < 3; k++) {
        i64 at = (i64)whole[k] + layout[6 + k];
        inside = inside && at >= 0 && at < (i64)layout[3 + k] * layout[9 + k];
        tile = tile * layout[9 + k] + at / layout[3 + k];
    }
    if (inside) {
        i64 stop = offsets[tile + 1] < capacity ? offsets[tile + 1] : capacity;
        for (i64 e = offsets[tile]; e < stop; e++) sum += term(anchors, table, ids[e], whole, rest, reach, edge);
    }
    out[i] = fmaf(gain, sum, base);
}

// As sample_tiles, over the k primitives given for each point. One thread a point.
//   nearest int64 [m, k]: primitive numbers, -1 for none.
extern "C" __global__ void __launch_bounds__(128)
sample_nearest(const int* __restrict__ anchors, const float* __restrict__ table, const i64* __restrict__ nearest, int k,
               float reach, float edge, float base, float gain, const double* __restrict__ points, i64 m,
               float* __restrict__ out) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= m) return;
    int whole[3];
    float rest[3], sum = 0.0f;
    split(points + i * 3, whole, rest);
    for (int j = 0; j < k; j++) {
        i64 at = nearest[i * k + j];
        if (at >= 0) sum += term(anchors, table, at, whole, rest, reach, edge);
    }
    out[i] = fmaf(gain, sum, base);
}
