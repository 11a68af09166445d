// The packed primitive that all kernels read, and the arithmetic they share. No headers are needed.
//
// anchors int32 [N, 3]         nearest voxel to the centre (z, y, x), relative to the box
// table   float32 [N, COLUMNS] what is left of the centre, the factor T, weight, half-widths
//
// With d the offset from the centre, q(d) log2(e) / 2 = |T d|^2 for an upper triangular T (rows z, y, x):
//   u = tzz dz + tzy dy + tzx dx,   v = tyy dy + tyx dx,   t = txx dx,   g = exp(-q/2) = 2^-(u u + v v + t t)
// Only u depends on z, so a column along z shares v and t. Against the polynomial in d, needles lose nothing.
// "reach" is C log2(e) / 2 (the cut-off in these units) and "edge" is 2^-reach = exp(-C/2).
// The column weight holds w / (1 - edge), so that w k(q) = weight max(g - edge, 0).   (spec, section 8.1)
#ifndef VGM_PRIMITIVE_CUH
#define VGM_PRIMITIVE_CUH

typedef long long i64;
typedef unsigned long long u64;

enum { FZ, FY, FX, TZZ, TZY, TZX, TYY, TYX, TXX, WEIGHT, HZ, HY, HX, RATIO, COLUMNS = 16 };

#define ALL_LANES 0xffffffffu
#define HALF_LOG2E 0.72134752044448170368

// First and last-plus-one voxel of [0, size) that a support (widened by margin) meets on an axis; 0 and 0 for none.
__device__ __forceinline__ void voxel_span(int anchor, float rest, float half, int size, float margin, int* first,
                                           int* stop) {
    float reach = half + margin;
    i64 lo = (i64)anchor + (i64)ceilf(rest - reach);
    i64 hi = (i64)anchor + (i64)floorf(rest + reach) + 1;
    if (lo < 0) lo = 0;
    if (hi > size) hi = size;
    *first = lo < hi ? (int)lo : 0;
    *stop = lo < hi ? (int)hi : 0;
}

// The run that holds an item: largest i of [0, n) with offsets[i] <= item; offsets ascend from 0, offsets[n] > item.
__device__ __forceinline__ i64 owner(const i64* __restrict__ offsets, i64 n, i64 item) {
    i64 lo = 0, hi = n;
    while (hi - lo > 1) {
        i64 mid = lo + (hi - lo) / 2;
        if (offsets[mid] <= item)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

// Sum over the 32 lanes, in lane 0; always added in the same order.
__device__ __forceinline__ float warp_sum(float value) {
    for (int step = 16; step > 0; step >>= 1) value += __shfl_down_sync(ALL_LANES, value, step);
    return value;
}

#endif
